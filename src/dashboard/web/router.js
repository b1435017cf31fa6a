// The address bar is the state of the page: /d/<database>/<page>[/<id>]?<parameters>, below the base path.
//
// useRoute() re-renders a component whenever the address changes. Links are plain <a href=${href(…)}>: one listener on the
// document turns a click on a link of ours into a change of route, so that a middle click or "copy link" work as everywhere.

import { useEffect, useState } from './lib.js';

export const base = (document.querySelector('meta[name=base]')?.content ?? '').replace(/\/+$/, '');

const listeners = new Set();
let current = parse();

// parse reads the route from the address: {db, page, id, params}. Unknown parts are null.
function parse() {
	const parts = location.pathname.slice(base.length).split('/').filter(Boolean).map(decode);
	const inDatabase = parts[0] === 'd';
	return {
		db: inDatabase ? parts[1] ?? null : null,
		page: inDatabase ? parts[2] ?? 'overview' : parts[0] ?? null,
		id: inDatabase ? parts[3] ?? null : null,
		params: Object.fromEntries(new URLSearchParams(location.search))
	};
}

function decode(part) {
	try { return decodeURIComponent(part); } catch { return part; }
}

function changed() {
	current = parse();
	for (const listener of listeners) listener(current);
}

// route returns the current route.
export const route = () => current;

// useRoute returns the current route, and renders again when it changes.
export function useRoute() {
	const [value, set] = useState(current);
	useEffect(() => {
		listeners.add(set);
		set(current);
		return () => listeners.delete(set);
	}, []);
	return value;
}

// query writes parameters as a query string. Null, undefined and '' are left out.
export function query(params) {
	const text = new URLSearchParams(Object.entries(params ?? {}).filter(([, v]) => v !== null && v !== undefined && v !== '')
		.map(([k, v]) => [k, String(v)])).toString();
	return text ? `?${text}` : '';
}

// href returns the address of a page of the current database, or of db.
export function href(page, params, id, db = current.db) {
	const path = ['d', db, page, ...(id === undefined || id === null ? [] : [id])].map((x) => encodeURIComponent(String(x))).join('/');
	return `${base}/${path}${query(params)}`;
}

// jobsOf returns the address of the jobs of a queue, in one state or in all.
export const jobsOf = (queue, state) => href('jobs', { state, q: `queue:${queue}` });

// go opens a page; replace: in place of the current entry of the history.
export function go(page, params, id, { db, replace } = {}) {
	open(href(page, params, id, db ?? current.db), replace);
}

// setParams replaces the query string. By default that makes no new entry in the history.
export function setParams(params, { push = false } = {}) {
	open(location.pathname + query(params), !push, true);
}

function open(address, replace, samePlace) {
	if (address === location.pathname + location.search) return;
	history[replace ? 'replaceState' : 'pushState'](null, '', address);
	changed();
	if (!samePlace) scrollTo(0, 0);
}

addEventListener('popstate', changed);
document.addEventListener('click', (event) => {
	const link = event.target.closest?.('a[href]');
	if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
	if (link.target || link.hasAttribute('download') || link.origin !== location.origin || !link.pathname.startsWith(`${base}/d/`)) return;
	event.preventDefault();
	open(link.pathname + link.search);
});
