// The language of searches, as far as the page must know it: terms of a query, their qualifiers, and quoting.
//
// The server reads queries (src/rules/query.h has the grammar). Here they are only taken apart to complete and to change them;
// a text that the server would refuse passes unharmed. Pure functions.

export const STATES = ['enqueued', 'scheduled', 'awaiting', 'processing', 'succeeded', 'failed', 'deleted'];

// The qualifiers, with what the search box says about each. "from" is where sql/suggest.sql has its values.
export const QUALIFIERS = [
	{ name: 'job', hint: 'function or command', from: 'jobs', example: 'job:send_mail' },
	{ name: 'queue', hint: 'queue', from: 'queues', list: true, example: 'queue:mail' },
	{ name: 'state', hint: 'state', values: STATES, list: true, example: 'state:failed' },
	{ name: 'error', hint: 'words of the error', example: 'error:timeout' },
	{ name: 'args', hint: 'value in the arguments', path: true, from: 'args', example: 'args.tenant_id:7' },
	{ name: 'tag', hint: 'tag', from: 'tags', example: 'tag:vip' },
	{ name: 'since', hint: 'created since', values: ['5m', '1h', '24h', '7d'], example: 'since:1h' },
	{ name: 'until', hint: 'created before', values: ['5m', '1h', '24h', '7d'], example: 'until:2026-01-31' },
	{ name: 'role', hint: 'role that it runs as', from: 'roles', list: true, example: 'role:app' },
	{ name: 'id', hint: 'numbers', list: true, example: 'id:12,13' },
	{ name: 'batch', hint: 'number of the batch', list: true, example: 'batch:12' },
	{ name: 'recurring', hint: 'recurring job', from: 'recurring', example: 'recurring:nightly' },
	{ name: 'sqlstate', hint: 'code of the error', from: 'sqlstates', list: true, example: 'sqlstate:40001' },
	{ name: 'limit', hint: 'limit that it is under', from: 'limits', example: 'limit:smtp' },
	{ name: 'sequence', hint: 'sequence key', example: 'sequence:order-7' },
	{ name: 'unique', hint: 'unique key', example: 'unique:user-7' },
	{ name: 'server', hint: 'pool of workers', from: 'servers', example: 'server:default' },
	{ name: 'failure', hint: 'group of failures', hidden: true }
];

const TERM = /(?:"(?:[^"\\]|\\.)*"?|\S)+/g;

// terms takes a query apart: [{text, from, to, negated, qualifier, value}]. qualifier is null for a word; of arguments it has the path.
export function terms(query) {
	return [...String(query ?? '').matchAll(TERM)].map((match) => {
		const text = match[0];
		const [, minus, qualifier, value] = /^(-?)(?:([a-z_]+(?:\.(?:"(?:[^"\\]|\\.)*"|[^".:\s]+))*):)?([^]*)$/i.exec(text);
		return { text, from: match.index, to: match.index + text.length, negated: minus === '-', qualifier: qualifier?.toLowerCase() ?? null, value };
	});
}

// quote writes a value so that the server reads it as one: in quotes where that is needed. A comma separates values in some qualifiers.
export const quote = (value) => (/^[^\s",\\]+$/.test(value) ? String(value) : `"${String(value).replace(/["\\]/g, '\\$&')}"`);

// quotePath writes an element of a path into arguments.
export const quotePath = (element) => (/^[^\s".:\\]+$/.test(element) ? String(element) : `"${String(element).replace(/["\\]/g, '\\$&')}"`);

// term writes a term of a qualifier and a value.
export const term = (qualifier, value) => `${qualifier}:${quote(value)}`;

// without returns a query less its n-th term.
export const without = (query, n) => terms(query).filter((_, i) => i !== n).map((t) => t.text).join(' ');

// join puts terms together to a query; null and '' are left out.
export const join = (...parts) => parts.map((p) => String(p ?? '').trim()).filter(Boolean).join(' ');

// stateOf returns the one state that a query asks for, or null; one that there is not is left to the server, which refuses it.
export function stateOf(query) {
	const found = terms(query).filter((t) => t.qualifier === 'state' && !t.negated);
	return found.length === 1 && STATES.includes(found[0].value) ? found[0].value : null;
}
