// What stands around every page: navigation, search box, database switcher, theme, sign-out, footer, help, toasts.
//
// The navigation is a column at the side; on a narrow screen a bar at the bottom with a drawer for the rest. Its counts come
// from the live stream.

import { html, useEffect, useState } from './lib.js';
import { signOut } from './api.js';
import { go, href } from './router.js';
import { useLive, useLiveState } from './live.js';
import { pageNamed, pages } from './pages.js';
import { compact, duration } from './format.js';
import { installKeys, setShortcuts, shortcutsOn } from './keys.js';
import { nextTheme, theme } from './theme.js';
import { BulkProgress } from './bulk.js';
import { SearchBox } from './search.js';
import { Badge, Dialog, Icon, Kbd, Toasts } from './ui.js';

const inBar = ['overview', 'jobs', 'failures', 'queues'];

// countOf returns what stands beside an entry of the navigation.
function countOf(name, live) {
	const stats = live?.stats;
	if (!stats) return null;
	switch (name) {
		case 'jobs': return stats.processing || null;
		case 'failures': return stats.failed || null;
		default: return null;
	}
}

function NavLink({ page, current, live, onClick }) {
	const count = countOf(page.name, live);
	return html`<a class="nav-link" href=${href(page.name)} aria-current=${current ? 'page' : null} onClick=${onClick}><${Icon} name=${page.icon} />
		<span class="nav-title">${page.title}</span>${count !== null && html`<span class=${`count ${page.name === 'failures' ? 'bad' : ''}`}>${compact(count)}</span>`}</a>`;
}

function LiveSign() {
	const state = useLiveState();
	const text = { open: 'Live', connecting: 'Connecting', broken: 'Reconnecting', paused: 'Paused', closed: 'Off' }[state];
	return html`<span class=${`live ${state}`} title="Changes appear by themselves while this is live"><span class="live-dot" aria-hidden="true"></span>${text}</span>`;
}

function Controls({ route, session }) {
	const [shown, set] = useState(theme());
	return html`<div class="controls">
		<label class="database"><${Icon} name="database" /><span class="visually-hidden">Database</span>
			<select value=${route.db} onChange=${(event) => go(route.page === 'job' || route.page === 'batch' ? 'overview' : route.page, {}, null, { db: event.target.value })}>
				${[...new Set([...session.databases, route.db])].map((d) => html`<option key=${d} value=${d} selected=${d === route.db}>${d}</option>`)}</select></label>
		<div class="who"><${Icon} name="user" /><span class="who-name" title=${session.user}>${session.user}</span>
			<button type="button" class="button ghost square" onClick=${() => set(nextTheme())} aria-label=${`Theme: ${shown}. Change`} title=${`Theme: ${shown}`}>
				<${Icon} name=${{ light: 'sun', dark: 'moon', system: 'screen' }[shown]} /></button>
			<button type="button" class="button ghost square" onClick=${() => signOut()} aria-label="Sign out" title="Sign out"><${Icon} name="out" /></button></div></div>`;
}

function Help({ onClose }) {
	const [on, set] = useState(shortcutsOn());
	const line = (keys, text) => html`<tr><td>${keys.map((k) => html`<${Kbd}>${k}</${Kbd}> `)}</td><td>${text}</td></tr>`;
	return html`<${Dialog} title="Keyboard" onClose=${onClose}><div class="help">
		<table><caption>Everywhere</caption><tbody>${line(['/'], 'Search')}${line(['?'], 'This help')}${line(['Esc'], 'Leaves a field, closes a dialog')}</tbody></table>
		<table><caption>In a list</caption><tbody>${line(['j', 'k'], 'Next, previous row')}${line(['x'], 'Selects the row')}${line(['X'], 'Selects all rows up to this one')}${line(['Enter'], 'Opens the row')}</tbody></table>
		<table><caption>Pages</caption><tbody>${pages.filter((p) => p.key).map((p) => line(['g', p.key], p.title))}</tbody></table></div>
		<label class="inline-check"><input type="checkbox" checked=${on} onChange=${(event) => { setShortcuts(event.target.checked); set(event.target.checked); }} /> Single-key shortcuts are on</label>
	</${Dialog}>`;
}

export function Shell({ route, session, children }) {
	const live = useLive();
	const [help, setHelp] = useState(false);
	const [drawer, setDrawer] = useState(false);
	const [ms, setMs] = useState(null);
	const marked = pageNamed(route.page)?.parent ?? route.page;
	useEffect(() => installKeys(() => setHelp(true)), []);
	useEffect(() => {
		const onMs = (event) => setMs(event.detail);
		document.addEventListener('bgjob:ms', onMs);
		return () => document.removeEventListener('bgjob:ms', onMs);
	}, []);
	useEffect(() => { if (session.colour) document.documentElement.style.setProperty('--stripe', session.colour); }, [session.colour]);
	useEffect(() => setDrawer(false), [route]);
	useEffect(() => {
		if (!drawer) return undefined;
		const onKeyDown = (event) => event.key === 'Escape' && setDrawer(false);
		document.addEventListener('keydown', onKeyDown);
		return () => document.removeEventListener('keydown', onKeyDown);
	}, [drawer]);
	const shown = pages.filter((p) => p.nav !== false);
	return html`<div class="shell">
		<a class="skip" href="#content" onClick=${(event) => { event.preventDefault(); document.getElementById('content').focus(); }}>Skip to the content</a>
		<aside class=${`side ${drawer ? 'open' : ''}`} id="side" aria-label="Navigation and account">
			<a class="brand" href=${href('overview')}><img src=${new URL('icon.svg', import.meta.url).pathname} width="24" height="24" alt="" /><span>${session.title || 'bgjob'}</span></a>
			<nav aria-label="Pages">${shown.map((p) => html`<${NavLink} key=${p.name} page=${p} current=${p.name === marked} live=${live} />`)}</nav>
			<${Controls} route=${route} session=${session} />
		</aside>
		<div class="column">
			<header class="top"><${SearchBox} route=${route} />${session.read_only && html`<${Badge} kind="quiet" icon="lock">Read only</${Badge}>`}
				${session.hide_arguments && html`<${Badge} kind="quiet" icon="lock">Arguments hidden</${Badge}>`}<${LiveSign} />
				<button type="button" class="button ghost square help-button" aria-label="Keyboard shortcuts" title="Keyboard shortcuts" onClick=${() => setHelp(true)}><${Icon} name="keyboard" /></button></header>
			<main id="content" tabindex="-1">${children}</main>
			<footer class="foot"><span>bgjob ${session.version}</span>${ms !== null && html`<span>This page’s query took <span class="number">${duration(ms)}</span></span>`}
				<span>Times in ${Intl.DateTimeFormat().resolvedOptions().timeZone}</span></footer>
		</div>
		<nav class="bar-nav" aria-label="Main pages">${shown.filter((p) => inBar.includes(p.name)).map((p) => html`<${NavLink} key=${p.name} page=${p} current=${p.name === marked && !drawer} live=${live} />`)}
			<button type="button" class="nav-link" aria-expanded=${drawer} aria-controls="side" onClick=${() => setDrawer(!drawer)}><${Icon} name=${drawer ? 'close' : 'more'} /><span class="nav-title">More</span></button></nav>
		${help && html`<${Help} onClose=${() => setHelp(false)} />`}
		<${Toasts} /><${BulkProgress} /></div>`;
}
