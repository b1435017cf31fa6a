// The components that all pages are built of. Pages import from here alone; table.js, dialog.js, data.js and icons.js are its parts.
//
//   <State s/>  <Time t/>  <Duration ms/>  <Num n/>  <Code text/>  <Bar value max/>  <Spark points/>  <Badge>  <Kbd>
//   <Card title actions>  <PageHead title actions ms/>  <Empty title hint/>  <ErrorBox error/>  <Loading/>  <Pager/>  <Tabs/>  <Field/>
//   <Table/>  <ActionButton/>  <ActionDialog/>  <Dialog/>  <CopyButton/>  toast(text)  useData(page, params, options)  useNow(ms)

import { html, useEffect, useState } from './lib.js';
import { Icon } from './icons.js';
import { duration, exact, num, relative } from './format.js';

export { Icon } from './icons.js';
export { Table } from './table.js';
export { useData, useSteadyRows } from './data.js';
export { readOnly } from './api.js';

// mayAny tells whether a role may do any of some actions: {function: granted}.
export const mayAny = (may) => Object.values(may).some(Boolean);
export { ActionButton, ActionDialog, CopyButton, Dialog, Toasts, copy, toast } from './dialog.js';

// useNow renders again every so often, so that relative times move. One timer for each period serves all components.
const clocks = new Map();
export function useNow(ms = 1000) {
	const [, set] = useState(0);
	useEffect(() => {
		let clock = clocks.get(ms);
		if (!clock) {
			clock = { users: new Set() };
			clock.timer = setInterval(() => { if (!document.hidden) for (const user of clock.users) user(Date.now()); }, ms);
			clocks.set(ms, clock);
		}
		clock.users.add(set);
		return () => {
			clock.users.delete(set);
			if (!clock.users.size) { clearInterval(clock.timer); clocks.delete(ms); }
		};
	}, [ms]);
}

const STATES = ['enqueued', 'scheduled', 'awaiting', 'processing', 'succeeded', 'failed', 'deleted'];

// State shows a state as icon and word. With "as" another word stands there, in the state's colour.
export function State({ s, as }) {
	const known = STATES.includes(s);
	return html`<span class=${`state ${known ? s : 'unknown'}`}><${Icon} name=${known ? s : 'info'} />${as ?? s ?? 'unknown'}</span>`;
}

// Time shows how long ago, and exactly when on hover. exactly: the other way round.
export function Time({ t, exactly }) {
	useNow(1000);
	if (!t) return html`<span class="faint">–</span>`;
	const moment = exact(t);
	return html`<time datetime=${t} title=${exactly ? relative(t) : moment}>${exactly ? moment : relative(t)}</time>`;
}

export const Duration = ({ ms }) => html`<span class="number" title=${ms === null || ms === undefined ? null : `${num(ms)} ms`}>${duration(ms)}</span>`;
export const Num = ({ n }) => html`<span class="number">${num(n)}</span>`;
export const Kbd = ({ children }) => html`<kbd>${children}</kbd>`;
export const Badge = ({ kind = '', icon, children }) => html`<span class=${`badge ${kind}`}>${icon && html`<${Icon} name=${icon} size=${12} />`}${children}</span>`;

// The tokens of JSON and of SQL. Text between them is shown as it is, so nothing is lost where it is neither.
const TOKENS = {
	json: /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|\b(true|false|null)\b/g,
	sql: /('(?:[^']|'')*')()|\b(\d+(?:\.\d+)?)\b|\b(SELECT|FROM|WHERE|AND|NULL|TRUE|FALSE|CALL|AS|true|false|null)\b/g
};

// Code shows text with its tokens coloured. Numbers are never parsed. language: 'json', 'sql', or 'text'.
export function Code({ text, language = 'json', class: extra = '', label }) {
	if (text === null || text === undefined) return html`<span class="faint">none</span>`;
	text = String(text);
	const parts = [];
	let at = 0;
	if (TOKENS[language] && text.length < 200000) {
		for (const match of text.matchAll(TOKENS[language])) {
			if (match.index > at) parts.push(text.slice(at, match.index));
			const [whole, string, colon, number] = match;
			if (string && colon) parts.push(html`<span class="t-key">${string}</span>`, colon);
			else parts.push(html`<span class=${string ? 't-string' : number ? 't-number' : 't-word'}>${whole}</span>`);
			at = match.index + whole.length;
		}
	}
	parts.push(text.slice(at));
	return html`<pre class=${`code ${extra}`} tabindex="0" role="region" aria-label=${label ?? 'Code'}><code>${parts}</code></pre>`;
}

// Bar shows a share: value of max (1). It says its percentage to a screen reader; text stands beside it.
export function Bar({ value, max = 1, label, kind = '', text }) {
	const share = Math.max(0, Math.min(1, Number(value) / (Number(max) || 1))) || 0;
	const percent = Math.round(share * 100);
	return html`<span class="bar-box"><span class=${`bar ${kind}`} role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow=${percent}
		aria-label=${label ?? 'Progress'}><span class="bar-fill" style=${{ width: `${share * 100}%` }}></span></span>
		${text !== undefined && html`<span class="bar-text number">${text}</span>`}</span>`;
}

// Spark draws a small line of numbers, or bars where bars is true. label says in words what it shows.
export function Spark({ points, width = 96, height = 22, bars, label, kind = '' }) {
	const values = (points ?? []).map((p) => Number(p) || 0);
	if (!values.length) return html`<span class="faint">–</span>`;
	const top = Math.max(1e-9, ...values);
	const x = (i) => (values.length === 1 ? width / 2 : 1 + i * (width - 2) / (values.length - 1));
	const y = (v) => height - 1.5 - v / top * (height - 3);
	const step = width / values.length;
	return html`<svg class=${`spark ${kind}`} width=${width} height=${height} viewBox=${`0 0 ${width} ${height}`} role="img" aria-label=${label ?? `${values.length} values, highest ${num(top)}, last ${num(values.at(-1))}`}>
		${bars ? values.map((v, i) => html`<rect x=${i * step + 0.5} y=${v ? Math.min(y(v), height - 3) : height - 1.5} width=${Math.max(1, step - 1)} height=${v ? height - Math.min(y(v), height - 3) : 1.5} rx="1" class=${v ? '' : 'zero'} />`)
			: html`<polyline points=${values.map((v, i) => `${x(i).toFixed(1)},${y(v).toFixed(1)}`).join(' ')} />`}</svg>`;
}

export function Card({ title, actions, children, class: extra = '', id }) {
	return html`<section class=${`card ${extra}`} id=${id}>
		${(title || actions) && html`<header class="card-head"><h2>${title}</h2>${actions && html`<div class="actions">${actions}</div>`}</header>`}
		${children}</section>`;
}

// PageHead is the title of a page with its actions. ms is the time of the page's own query; the shell shows it in the footer.
export function PageHead({ title, crumb, sub, actions, ms, children }) {
	useEffect(() => { document.dispatchEvent(new CustomEvent('bgjob:ms', { detail: ms ?? null })); }, [ms]);
	return html`<header class="page-head"><div class="page-title">${crumb && html`<p class="crumb">${crumb}</p>`}<h1>${title}</h1>${sub && html`<p class="muted">${sub}</p>`}</div>
		${actions && html`<div class="actions">${actions}</div>`}${children}</header>`;
}

export const Empty = ({ title, hint, icon = 'check', children }) => html`<div class="empty"><${Icon} name=${icon} size=${22} /><p class="empty-title">${title}</p>
	${hint && html`<p class="muted">${hint}</p>`}${children}</div>`;

export function ErrorBox({ error }) {
	if (!error) return null;
	return html`<div class="error-box" role="alert"><${Icon} name="warning" /><div><p><strong>${error.message}</strong>${error.sqlstate && html` <code>${error.sqlstate}</code>`}</p>
		${error.detail && html`<p>${error.detail}</p>`}${error.hint && html`<p class="muted">${error.hint}</p>`}</div></div>`;
}

export const Loading = ({ lines = 4 }) => html`<div class="loading" role="status"><span class="visually-hidden">Loading…</span>
	${Array.from({ length: lines }, (_, i) => html`<span class="line" key=${i}></span>`)}</div>`;

// Held says that fresh rows wait until the pointer leaves the table.
export const Held = ({ held, show }) => held ? html`<button type="button" class="button small held" onClick=${show}><${Icon} name="pause" size=${12} /> Newer rows wait · show</button>` : null;

// Tabs are links that differ in one parameter. items: [{label, href, current, count}].
export const Tabs = ({ items, label }) => html`<nav class="tabs" aria-label=${label}>${items.map((t) => html`<a key=${t.label} href=${t.href} aria-current=${t.current ? 'page' : null}>
	${t.icon && html`<${Icon} name=${t.icon} class=${t.icon} />`}${t.label}${t.count !== undefined && html` <span class="count">${t.count}</span>`}</a>`)}</nav>`;

// Segments are a few buttons of which one is chosen.
export const Segments = ({ label, items, value, onChange }) => html`<div class="segments" role="group" aria-label=${label}>${items.map((item) => html`<button type="button" key=${item.value}
	aria-pressed=${item.value === value} onClick=${() => onChange(item.value)}>${item.label}</button>`)}</div>`;

// Field is a labelled input of a form. hint explains it; error says what is wrong with its value.
let fields = 0;
export function Field({ label, hint, error, value, onInput, type = 'text', options, ...rest }) {
	const [id] = useState(() => `field-${++fields}`);
	const described = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(' ') || null;
	if (error) rest['aria-invalid'] = 'true';
	const change = (event) => onInput(type === 'checkbox' ? event.target.checked : event.target.value);
	return html`<div class=${`field ${type === 'checkbox' ? 'inline' : ''}`}><label for=${id}>${label}</label>
		${options ? html`<select id=${id} value=${value} onChange=${change} aria-describedby=${described} ...${rest}>${options.map((o) => html`<option value=${o.value ?? o} selected=${(o.value ?? o) === value}>${o.label ?? o}</option>`)}</select>`
			: type === 'checkbox' ? html`<input id=${id} type="checkbox" checked=${value} onChange=${change} aria-describedby=${described} ...${rest} />`
			: html`<input id=${id} type=${type} value=${value ?? ''} onInput=${change} aria-describedby=${described} autocomplete="off" spellcheck="false" ...${rest} />`}
		${error && html`<p class="field-error" id=${`${id}-error`} role="alert">${error}</p>`}${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}</div>`;
}

// Pager leads to older rows and back to the newest. older: the address, or null at the end.
export const Pager = ({ newest, older, newestLabel = 'Newest', olderLabel = 'Older', children }) => html`<nav class="pager" aria-label="Newer and older rows">
	${newest && html`<a class="button small" href=${newest}><${Icon} name="left" /> ${newestLabel}</a>`}<span class="muted">${children}</span>
	${older && html`<a class="button small" href=${older}>${olderLabel} <${Icon} name="right" /></a>`}</nav>`;

// Button is a plain one, with an icon, a label, or both.
export const Button = ({ icon, label, hideLabel, small, quiet, primary, class: extra = '', ...rest }) => html`<button type="button" aria-label=${hideLabel ? label : null} title=${hideLabel ? label : null}
	class=${`button ${quiet ? 'ghost' : ''} ${small ? 'small' : ''} ${primary ? 'primary' : ''} ${hideLabel ? 'square' : ''} ${extra}`} ...${rest}>${icon && html`<${Icon} name=${icon} />`}${!hideLabel && html` <span>${label}</span>`}</button>`;

// Filter is a box that narrows a list by name; onInput is called when typing rests.
export function Filter({ label, value, onInput }) {
	const [text, set] = useState(value ?? '');
	useEffect(() => set(value ?? ''), [value]);
	useEffect(() => {
		if (text === (value ?? '')) return undefined;
		const timer = setTimeout(() => onInput(text), 250);
		return () => clearTimeout(timer);
	}, [text]);
	return html`<label class="filter"><span class="visually-hidden">${label}</span><${Icon} name="search" /><input type="search" placeholder=${label} value=${text} onInput=${(event) => set(event.target.value)} autocomplete="off" spellcheck="false" /></label>`;
}
