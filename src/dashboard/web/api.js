// Requests to the program. Each function returns a promise, and throws ApiError with what the server said.
//
// The program checks the session, the CSRF token and the rights of the role. Nothing here decides what is allowed: readOnly()
// only hides buttons.

import { base, query, route } from './router.js';

export class ApiError extends Error {
	constructor(status, { sqlstate, message, detail, hint } = {}) {
		super(message ?? `the server answered with status ${status}`);
		Object.assign(this, { status, sqlstate: sqlstate ?? null, detail: detail ?? null, hint: hint ?? null });
	}
}

let current = null;
const signedOut = new Set();

// onSignedOut registers a function that is called when the session has ended.
export function onSignedOut(listener) {
	signedOut.add(listener);
	return () => signedOut.delete(listener);
}

async function request(method, path, { body, signal, query: params } = {}) {
	const headers = { Accept: 'application/json' };
	if (body !== undefined) headers['Content-Type'] = 'application/json';
	if (method !== 'GET' && current?.csrf) headers['X-CSRF-Token'] = current.csrf;
	let response;
	try {
		response = await fetch(base + path + query(params), {
			method, headers, signal, credentials: 'same-origin', cache: 'no-store',
			body: body === undefined ? undefined : JSON.stringify(body)
		});
	} catch (error) {
		if (error.name === 'AbortError') throw error;
		throw new ApiError(0, { message: 'could not reach the dashboard\'s program', hint: 'It may be restarting. The page tries again by itself.' });
	}
	const answer = await response.json().catch(() => null);
	if (response.ok) return answer;
	if (response.status === 401 && path !== '/api/session') {
		current = null;
		for (const listener of signedOut) listener();
	}
	throw new ApiError(response.status, answer?.error ?? {});
}

const inDatabase = (path) => `/api/d/${encodeURIComponent(route().db)}/${path}`;

// get fetches a page's data: {data, ms}.
export const get = (page, params, signal) => request('GET', inDatabase(page), { query: params, signal });

// act performs an action: {result, sql}.
export const act = (action, params) => request('POST', inDatabase(`do/${action}`), { body: params ?? {} });

// previewSql returns the statement that an action would run, without running it.
export const previewSql = async (action, params) =>
	(await request('POST', inDatabase(`do/${action}`), { body: params ?? {}, query: { preview: 1 } })).sql;

// Bulk actions: start one, count what it would change, list those that run, stop one.
export const bulk = (body) => request('POST', inDatabase('bulk'), { body });
export const bulkPreview = (body) => request('POST', inDatabase('bulk'), { body, query: { preview: 1 } });
export const bulkList = () => request('GET', inDatabase('bulk'));
export const bulkStop = (n) => request('DELETE', inDatabase(`bulk/${encodeURIComponent(n)}`));

// session returns {user, csrf, title, colour, read_only, hide_arguments, databases, version}, or null without one.
export async function session() {
	try {
		current = await request('GET', '/api/session');
	} catch (error) {
		if (error.status !== 401) throw error;
		current = null;
		for (const listener of signedOut) listener();
	}
	return current;
}

export async function signIn(user, password) {
	await request('POST', '/api/session', { body: { user, password } });
	return session();
}

export async function signOut() {
	await request('DELETE', '/api/session');
	current = null;
	for (const listener of signedOut) listener();
}

export const currentSession = () => current;
export const readOnly = () => Boolean(current?.read_only);
