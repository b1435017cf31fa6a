// Starts the page: asks for the session, then shows the sign-in page or the shell with the page that the address names.

import { html, render, useEffect, useRef, useState } from './lib.js';
import { currentSession, onSignedOut, session } from './api.js';
import { go, useRoute } from './router.js';
import { pageNamed } from './pages.js';
import { Shell } from './shell.js';
import { Empty, ErrorBox, Loading, PageHead } from './ui.js';
import SignIn from './pages/signin.js';
import { applyTheme } from './theme.js';

applyTheme();

// Page loads the module of the route's page, and shows it. It is made anew for another page or database.
function Page({ route }) {
	const page = pageNamed(route.page);
	const [loaded, set] = useState({});
	useEffect(() => {
		let gone = false;
		if (page) page.load().then((module) => gone || set({ name: page.name, component: module.default }), (error) => gone || set({ name: page.name, error }));
		return () => { gone = true; };
	}, [page]);
	useEffect(() => { if (page) document.title = `${page.title}${route.id ? ` ${route.id}` : ''} · ${currentSession()?.title || route.db}`; }, [page, route.id, route.db]);
	const arrived = useRef(false);
	useEffect(() => {
		// who does not see the page is told of a new one by the focus
		if (arrived.current) document.getElementById('content')?.focus({ preventScroll: true });
		arrived.current = true;
	}, [page, route.id]);
	if (!page) return html`<${PageHead} title="Not found" /><${Empty} icon="info" title="There is no such page" hint="The address may be incomplete. The navigation leads to all pages." />`;
	if (loaded.name !== page.name) return html`<${Loading} />`;
	if (loaded.error) return html`<${PageHead} title=${page.title} /><${ErrorBox} error=${{ message: 'could not load this page', detail: loaded.error.message, hint: 'Reload the tab: the program may have been updated.' }} />`;
	return html`<${loaded.component} key=${`${route.db}/${page.name}`} route=${route} />`;
}

function App() {
	const route = useRoute();
	const [state, set] = useState({ session: null, error: null, loading: true });
	const load = () => session().then((s) => set({ session: s, loading: false, error: null }), (error) => set({ session: null, loading: false, error }));
	useEffect(() => { load(); return onSignedOut(() => set({ session: null, loading: false, error: null })); }, []);
	useEffect(() => { if (state.session && !route.db && state.session.databases.length) go('overview', {}, null, { db: state.session.databases[0], replace: true }); }, [state.session, route.db]);
	if (state.loading) return html`<div class="center"><${Loading} /></div>`;
	if (state.error) return html`<main class="center"><${ErrorBox} error=${state.error} /><button class="button" onClick=${load}>Try again</button></main>`;
	if (!state.session) return html`<${SignIn} onSignedIn=${(s) => set({ session: s, loading: false, error: null })} />`;
	if (!route.db) return state.session.databases.length ? null : html`<main class="center"><${Empty} icon="database" title="No database has the extension bgjob" hint="Create it with CREATE EXTENSION bgjob." /></main>`;
	return html`<${Shell} route=${route} session=${state.session}><${Page} route=${route} /></${Shell}>`;
}

render(html`<${App} />`, document.getElementById('app'));
