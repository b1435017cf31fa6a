// The search box: one field for everything, which completes qualifiers and their values from what there is.
//
// A combobox after the pattern of WAI-ARIA: the field keeps the focus, the arrow keys choose in the list below it, Enter takes
// what is chosen or searches, Escape closes the list. A number alone opens that job. What can be completed is fetched when the box is first
// used (sql/suggest.sql), and again after a minute.
//
// Before the list is opened, the server says whether it understands the query (sql/query_check.sql). If not, the error stands below the
// box, and what was typed can be corrected there.

import { html, useEffect, useRef, useState } from './lib.js';
import { currentSession, get } from './api.js';
import { go } from './router.js';
import { QUALIFIERS, join, quote, quotePath, stateOf, terms } from './query.js';
import { Icon, Kbd } from './ui.js';

const MOST = 9;
const FRESH = 60000;
const RECENT = 'bgjob.searches';
let known = { at: 0, db: null, values: {} };

// suggestions fetches the values that there are, at most once a minute.
async function suggestions(db) {
	if (known.db === db && Date.now() - known.at < FRESH) return known.values;
	known = { at: Date.now(), db, values: known.db === db ? known.values : {} };
	const { data } = await get('suggest');
	known.values = data ?? {};
	return known.values;
}

// The last searches are kept for the tab alone: they may contain what the next user of the browser should not see.
const recent = () => { try { return JSON.parse(sessionStorage.getItem(RECENT)) ?? []; } catch { return []; } };
const remember = (query) => { try { sessionStorage.setItem(RECENT, JSON.stringify([query, ...recent().filter((r) => r !== query)].slice(0, 5))); } catch { /* not allowed to store: then not */ } };

const offered = () => QUALIFIERS.filter((q) => !q.hidden && !(q.name === 'args' && currentSession()?.hide_arguments));

// best returns the values that contain a text, those that begin with it first.
function best(values, text) {
	const wanted = text.toLowerCase();
	const at = (value) => value.toLowerCase().indexOf(wanted);
	return values.filter((v) => at(v) >= 0 && v.toLowerCase() !== wanted).sort((a, b) => (at(a) > 0) - (at(b) > 0)).slice(0, MOST);
}

// optionsFor returns what can stand where the cursor is: [{insert, label, hint, from, to, go}].
function optionsFor(text, cursor, values) {
	const all = terms(text);
	const current = all.find((t) => t.from < cursor && cursor <= t.to);
	const replace = { from: current?.from ?? cursor, to: current?.to ?? cursor };
	const minus = current?.negated ? '-' : '';
	if (current?.qualifier) {
		const [name] = current.qualifier.split('.');
		const qualifier = offered().find((q) => q.name === name);
		if (!qualifier || qualifier.path) return [];
		const given = qualifier.list ? current.value.split(',') : [current.value];
		const head = given.slice(0, -1).map((v) => `${v},`).join('');
		return best(qualifier.values ?? values[qualifier.from] ?? [], given.at(-1).replace(/"/g, ''))
			.map((v) => ({ ...replace, insert: `${minus}${name}:${head}${quote(v)} `, label: v, hint: qualifier.hint }));
	}
	const word = (current?.text ?? '').replace(/^-/, '').toLowerCase();
	const options = [];
	if (/^#?\d+$/.test(text.trim())) options.push({ go: text.trim().replace('#', ''), label: `Job ${text.trim().replace('#', '')}`, hint: 'open it' });
	if (word.startsWith('args.')) {
		const path = word.slice(5);
		return best(values.args ?? [], path).map((v) => ({ ...replace, insert: `${minus}args.${quotePath(v)}:`, label: `args.${v}:`, hint: 'value in the arguments', stay: true }));
	}
	for (const q of offered()) {
		if (!q.name.startsWith(word) || all.some((t) => t.qualifier === q.name && !t.negated) && !q.path) continue;
		options.push({ ...replace, insert: `${minus}${q.name}${q.path ? '.' : ':'}`, label: `${q.name}${q.path ? '.' : ':'}`, hint: q.hint, example: q.example, stay: true });
	}
	if (word && options.length < MOST) {
		for (const from of ['jobs', 'queues', 'tags']) {
			const q = QUALIFIERS.find((x) => x.from === from);
			for (const v of best(values[from] ?? [], word).slice(0, 3)) options.push({ ...replace, insert: `${minus}${q.name}:${quote(v)} `, label: v, hint: q.hint });
		}
	}
	if (!text.trim()) return [...recent().map((r) => ({ from: 0, to: 0, insert: r, label: r, hint: 'searched before', run: true })).slice(0, 3), ...options.slice(0, MOST)];
	return options.slice(0, MOST + 2);
}

// search opens what a text asks for: a job by its number, or the list of the jobs that match. The tab of the list stays, unless the text names a state.
function search(text, route) {
	const query = text.trim();
	if (/^#?\d+$/.test(query)) { go('job', {}, query.replace('#', '')); return; }
	if (query) remember(query);
	const only = stateOf(query);
	const state = route.page === 'jobs' && !terms(query).some((t) => t.qualifier === 'state') ? route.params.state : null;
	if (only) go('jobs', { state: only, q: join(...terms(query).filter((t) => t.qualifier !== 'state' || t.negated).map((t) => t.text)) });
	else go('jobs', { state, q: query });
}

export function SearchBox({ route }) {
	const box = useRef(null);
	const [text, setText] = useState('');
	const [options, setOptions] = useState(null);
	const [at, setAt] = useState(-1);
	const [values, setValues] = useState({});
	const [error, setError] = useState(null);
	const asked = useRef(0);
	const shown = route.page === 'jobs' ? route.params.q ?? '' : '';
	useEffect(() => { setText(shown); setOptions(null); setError(null); }, [shown, route.page]);

	const offer = (value, all = values) => {
		setOptions(optionsFor(value, box.current.selectionStart ?? value.length, all));
		setAt(-1);
	};
	const onFocus = () => {
		offer(text);
		suggestions(route.db).then((all) => { setValues(all); if (document.activeElement === box.current) offer(box.current.value, all); }, () => {});
	};
	const close = () => { setOptions(null); setAt(-1); };
	const leave = async (value) => {
		const mine = ++asked.current;
		close();
		setError(null);
		try {
			if (value.trim()) await get('query_check', { q: value });
		} catch (e) {
			// what is not about the query, the page will say
			if (mine === asked.current && e.status === 400) { setError(e); return; }
		}
		if (mine !== asked.current) return;
		search(value, route);
		box.current?.blur();
	};
	const take = (option) => {
		if (option.go) { leave(option.go); return; }
		if (option.run) { setText(option.insert); leave(option.insert); return; }
		const value = text.slice(0, option.from) + option.insert + text.slice(option.to).replace(/^ /, '');
		setText(value);
		requestAnimationFrame(() => {
			const cursor = option.from + option.insert.length;
			box.current.setSelectionRange(cursor, cursor);
			offer(value);
		});
	};
	const onKeyDown = (event) => {
		if (event.isComposing) return;
		const n = options?.length ?? 0;
		if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
			if (!n) { offer(text); return; }
			const step = event.key === 'ArrowDown' ? 1 : -1;
			setAt(at < 0 ? (step > 0 ? 0 : n - 1) : (at + step + n) % n);
			event.preventDefault();
		} else if (event.key === 'Enter' && at >= 0 && options) {
			take(options[at]);
			event.preventDefault();
		} else if (event.key === 'Escape' && options?.length) {
			close();
			event.preventDefault();
			event.stopPropagation();
		}
	};
	useEffect(() => { if (at >= 0) document.getElementById(`search-${at}`)?.scrollIntoView({ block: 'nearest' }); }, [at]);
	const open = Boolean(options?.length) && !error;
	return html`<form class="search" role="search" onSubmit=${(event) => { event.preventDefault(); leave(text); }}><${Icon} name="search" />
		<input ref=${box} data-search type="search" name="q" value=${text} placeholder="Search jobs: words, queue:mail, args.tenant_id:7, or a number" aria-label="Search jobs"
			role="combobox" aria-expanded=${open} aria-controls="search-list" aria-autocomplete="list" aria-activedescendant=${at >= 0 ? `search-${at}` : null}
			autocomplete="off" autocapitalize="off" spellcheck="false" onFocus=${onFocus} onBlur=${close} onKeyDown=${onKeyDown}
			aria-invalid=${error ? 'true' : null} aria-describedby=${error ? 'search-error' : null}
			onInput=${(event) => { asked.current++; setError(null); setText(event.target.value); offer(event.target.value); }} onClick=${() => offer(text)} /><${Kbd}>/</${Kbd}>
		<ul class="search-list" id="search-list" role="listbox" aria-label="Suggestions" hidden=${!open}>
			${open && options.map((o, i) => html`<li key=${`${i}${o.label}`} id=${`search-${i}`} role="option" aria-selected=${i === at} class=${i === at ? 'active' : ''}
				onMouseDown=${(event) => { event.preventDefault(); take(o); }}><span class="search-label mono">${o.label}</span><span class="search-hint">${o.hint}</span></li>`)}</ul>
		${error && html`<div class="search-error" id="search-error" role="alert"><p><strong>${error.detail?.replace(/^At character \d+: /, '') ?? error.message}</strong></p>${error.hint && html`<p class="muted">${error.hint}</p>`}</div>`}</form>`;
}
