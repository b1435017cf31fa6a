// Actions on many jobs: the bar below a list with a selection, the dialog that asks, and the progress of what is under way.
//
// <BulkBar rows everything query state …/>   what can be done with the rows that are selected, or with all that match
// <BulkButton action query fromState …/>     a button that asks, and then acts on all jobs that match a query
// <BulkProgress/>                            stands once, in the shell: so it survives that the viewer goes to another page
//
// The program does the work in the background, in transactions of some hundred jobs (src/dashboard/bulk.c). Each request says in which
// state the jobs are expected to be: a page that is out of date changes nothing that it did not show. Rows in several states make one
// request each, one after the other.

import { html, useEffect, useRef, useState } from './lib.js';
import { bulk, bulkList, bulkPreview, bulkStop, readOnly } from './api.js';
import { useRoute } from './router.js';
import { num, plural } from './format.js';
import { isWaiting } from './jobrow.js';
import { Bar, Code, CopyButton, Dialog, ErrorBox, Field, Icon, toast } from './ui.js';

const ACTIONS = {
	requeue: { label: 'Requeue', doing: 'Requeueing', icon: 'requeue', title: 'Requeue jobs', text: 'They run again as soon as a worker is free. Running ones are canceled first.' },
	reschedule: { label: 'Reschedule', doing: 'Rescheduling', icon: 'clock', title: 'Reschedule jobs', text: 'They wait, and run at the time that you give.' },
	change: { label: 'Change', doing: 'Changing', icon: 'edit', title: 'Change queue or priority', text: 'Only jobs that wait are changed.' },
	delete: { label: 'Delete', doing: 'Deleting', icon: 'trash', title: 'Delete jobs', text: 'Running ones are canceled, and jobs that await them may be deleted with them. Deleted jobs can be requeued until they are removed.', danger: true }
};
const FUNCTIONS = { requeue: 'bgjob_requeue', delete: 'bgjob_delete', reschedule: 'bgjob_reschedule', change: 'bgjob_change' };

const literal = (text) => `'${String(text).replace(/'/g, '\'\'')}'`;

// sqlOf writes what an order does as a statement that can be run by hand. The program takes the jobs in portions.
function sqlOf(order) {
	const options = Object.entries({ from_state: order.action === 'change' ? null : order.from_state, run_at: order.run_at, delay: order.delay, queue: order.queue })
		.filter(([, v]) => v).map(([name, v]) => `, ${name} => ${literal(v)}`).join('') + (order.priority !== undefined ? `, priority => ${order.priority}` : '');
	const call = `${FUNCTIONS[order.action]}(id => job${options})`;
	return order.query !== undefined ? `SELECT job, ${call}\nFROM bgjob_search(query => ${literal(order.query)}, max_rows => 500), unnest(ids) AS job;`
		: `SELECT job, ${call}\nFROM unnest(ARRAY[${order.ids.length > 20 ? `${order.ids.slice(0, 20).join(', ')}, …` : order.ids.join(', ')}]::bigint[]) AS job;`;
}

// begin sends orders one after the other. The program takes only a few at a time (429): then the next one waits.
async function begin(orders) {
	for (const order of orders) {
		for (;;) {
			try {
				await bulk(order);
				document.dispatchEvent(new CustomEvent('bgjob:bulk'));
				break;
			} catch (error) {
				if (error.status !== 429) throw error;
				await new Promise((resolve) => setTimeout(resolve, 1500));
			}
		}
	}
}

const DELAYS = ['1 minute', '5 minutes', '1 hour', '6 hours', '1 day'];

// How many jobs an order would change, counted by the server. Given ids are known.
function usePreview(orders) {
	const [state, set] = useState({ count: null });
	const key = JSON.stringify(orders.map(({ action, query, ids, from_state }) => [action, query, ids, from_state]));
	useEffect(() => {
		let gone = false;
		set({ count: null });
		Promise.all(orders.map((order) => bulkPreview(order))).then((answers) => gone || set({
			count: answers.reduce((sum, a) => sum + Number(a.count), 0), complete: answers.every((a) => a.complete), looked: answers.reduce((sum, a) => sum + Number(a.looked_through ?? 0), 0)
		}), (error) => gone || set({ count: null, error }));
		return () => { gone = true; };
	}, [key]);
	return state;
}

function Preview({ preview, state }) {
	if (preview.error) return html`<${ErrorBox} error=${preview.error} />`;
	return html`<p class="bulk-preview" role="status">${preview.count === null ? html`<span class="muted">Counting…</span>`
		: html`<strong class="number">${preview.complete ? '' : 'at least '}${num(preview.count)}</strong> ${preview.count === 1 ? 'job' : 'jobs'}${state ? ` in state ${state}` : ''}
			${!preview.complete && html`<span class="muted"> among the newest ${num(preview.looked)}; older ones that match are changed, too</span>`}`}</p>`;
}

// BulkDialog asks. what: {query} or {groups: [{state, ids}]}, with fromState for a query.
export function BulkDialog({ action, what, fromState, title, onClose, onStarted }) {
	const kind = ACTIONS[action];
	const [form, setForm] = useState({ when: 'delay', delay: '5 minutes', run_at: '', queue: '', priority: '' });
	const [error, setError] = useState(null);
	const [busy, setBusy] = useState(false);
	const [agreed, setAgreed] = useState(false);
	const set = (name) => (value) => setForm({ ...form, [name]: value });
	const extra = action === 'reschedule' ? (form.when === 'delay' ? { delay: form.delay } : { run_at: form.run_at ? new Date(form.run_at).toISOString() : '' })
		: action === 'change' ? { ...(form.queue.trim() && { queue: form.queue.trim() }), ...(form.priority !== '' && { priority: Number(form.priority) }) } : {};
	const orders = what.query !== undefined ? [{ action, query: what.query, ...(fromState && { from_state: fromState }), ...extra }]
		: what.groups.filter((g) => action !== 'change' || isWaiting(g.state)).map((g) => ({ action, ids: g.ids, from_state: g.state, ...extra }));
	const complete = Object.keys(extra).length > 0 && Object.values(extra).every((v) => v !== '') || !(action === 'reschedule' || action === 'change');
	// The count needs neither time nor place; where there is none yet, the server gets one that it takes.
	const preview = usePreview(orders.map((o) => ({ ...o, ...(action === 'reschedule' && { run_at: undefined, delay: '1 hour' }), ...(action === 'change' && { queue: undefined, priority: 0 }) })));
	const many = kind.danger && what.query !== undefined;
	const submit = async (event) => {
		event.preventDefault();
		setBusy(true);
		try {
			const started = begin(orders);
			// the first order is answered at once; those that wait for their turn go on without the dialog
			await Promise.race([started, new Promise((resolve) => document.addEventListener('bgjob:bulk', resolve, { once: true }))]);
			started.catch((e) => toast(e.message, { kind: 'error' }));
			onStarted?.();
			onClose();
		} catch (e) {
			setError(e);
			setBusy(false);
		}
	};
	const states = what.query !== undefined ? fromState : what.groups.length === 1 ? what.groups[0].state : null;
	return html`<${Dialog} title=${title ?? kind.title} onClose=${onClose}><form onSubmit=${submit}>
		<${Preview} preview=${preview} state=${states} />
		<p class="muted">${kind.text}</p>
		${action === 'reschedule' && html`<${Field} label="Run" value=${form.when} onInput=${set('when')} options=${[{ value: 'delay', label: 'after a delay' }, { value: 'run_at', label: 'at a time' }]} />
			${form.when === 'delay' ? html`<${Field} label="Delay" value=${form.delay} onInput=${set('delay')} list="delays" hint="As PostgreSQL reads intervals: 90 seconds, 2 h, 1 day." /><datalist id="delays">${DELAYS.map((d) => html`<option value=${d}></option>`)}</datalist>`
				: html`<${Field} label="Time" type="datetime-local" value=${form.run_at} onInput=${set('run_at')} hint=${`In ${Intl.DateTimeFormat().resolvedOptions().timeZone}`} />`}`}
		${action === 'change' && html`<${Field} label="Queue" value=${form.queue} onInput=${set('queue')} hint="Empty: stays as it is." />
			<${Field} label="Priority" type="number" min="-32768" max="32767" value=${form.priority} onInput=${set('priority')} hint="Higher ones run first. Empty: stays as it is." />`}
		${many && html`<label class="inline-check"><input type="checkbox" checked=${agreed} onChange=${(event) => setAgreed(event.target.checked)} /> Delete all jobs that match</label>`}
		<div class="sql"><div class="sql-head"><span>Runs as your role, in the background</span><${CopyButton} text=${orders.map(sqlOf).join('\n')} label="Copy as SQL" /></div>
			<${Code} text=${orders.slice(0, 3).map(sqlOf).join('\n')} language="sql" label="Statement" /></div>
		<${ErrorBox} error=${error} />
		<footer><button type="button" class="button" autofocus=${kind.danger} onClick=${onClose}>Cancel</button>
			<button class=${`button ${kind.danger ? 'danger' : 'primary'}`} disabled=${busy || !complete || many && !agreed || orders.length === 0 || Boolean(preview.error) && preview.error.status !== 504}>${busy ? 'Starting…' : kind.label}${preview.count !== null && preview.complete ? ` ${num(preview.count)}` : ''}</button></footer>
	</form></${Dialog}>`;
}

export function BulkButton({ action, query, fromState, title, label, small = true, quiet, hideLabel }) {
	const [open, set] = useState(false);
	if (readOnly()) return null;
	const kind = ACTIONS[action];
	const name = label ?? kind.label;
	return html`<button type="button" class=${`button ${small ? 'small' : ''} ${quiet ? 'ghost' : ''} ${kind.danger ? 'warn' : ''} ${hideLabel ? 'square' : ''}`} aria-haspopup="dialog" aria-label=${hideLabel ? name : null} title=${hideLabel ? name : null}
			onClick=${() => set(true)}><${Icon} name=${kind.icon} />${!hideLabel && html` ${name}`}</button>
		${open && html`<${BulkDialog} action=${action} what=${{ query }} fromState=${fromState} title=${title} onClose=${() => set(false)} />`}`;
}

export function BulkBar({ rows, everything, onEverything, onClear, query, state, whole, more, onDone }) {
	const [action, setAction] = useState(null);
	if (!rows.length && !everything) return null;
	const groups = [...new Map(rows.map((r) => [r.state, null])).keys()].map((s) => ({ state: s, ids: rows.filter((r) => r.state === s).map((r) => r.id) }));
	const what = everything ? { query } : { groups };
	const waits = everything ? !state || isWaiting(state) : groups.some((g) => isWaiting(g.state));
	const button = (name) => html`<button type="button" class=${`button small ${ACTIONS[name].danger ? 'warn' : ''}`} aria-haspopup="dialog" onClick=${() => setAction(name)}><${Icon} name=${ACTIONS[name].icon} /> ${ACTIONS[name].label}</button>`;
	return html`<div class="bulk-bar" role="region" aria-label="Selection">
		<span class="bulk-count" role="status">${everything ? 'All jobs that match' : `${plural(rows.length, 'job')} selected`}</span>
		${!everything && whole && more && query && html`<button type="button" class="button small ghost accent" onClick=${onEverything}>Select all that match</button>`}
		<span class="bulk-actions">${button('requeue')}${waits && button('reschedule')}${waits && button('change')}${button('delete')}</span>
		<button type="button" class="button ghost small square" aria-label="Clear the selection" title="Clear the selection" onClick=${onClear}><${Icon} name="close" /></button>
		${action && html`<${BulkDialog} action=${action} what=${what} fromState=${everything ? state : null} onClose=${() => setAction(null)} onStarted=${() => { onClear(); setTimeout(onDone, 800); }} />`}</div>`;
}

// What a bulk has done, in words.
function outcome(b) {
	const parts = [`${num(b.changed)} changed`];
	if (Number(b.refused)) parts.push(`${num(b.refused)} left alone, since they are in another state or yours to see only`);
	if (Number(b.errors)) parts.push(plural(b.errors, 'error'));
	return parts.join(', ');
}

function BulkItem({ b, onDismiss }) {
	const [stopping, setStopping] = useState(false);
	const runs = b.state === 'running' || b.state === 'stopping';
	const kind = ACTIONS[b.action] ?? { doing: b.action, label: b.action, icon: 'jobs' };
	const total = b.total === null || b.total === undefined ? null : Number(b.total);
	const head = runs ? `${kind.doing} jobs` : b.state === 'done' ? `${kind.label}: done` : b.state === 'stopped' ? `${kind.label}: stopped` : `${kind.label}: failed`;
	return html`<div class=${`bulk-item ${b.state}`}><${Icon} name=${runs ? kind.icon : b.state === 'done' ? 'check' : 'warning'} />
		<div class="bulk-text"><p><strong>${head}</strong> <span class="muted">${outcome(b)}</span></p>
			${b.query && html`<p class="faint mono clip" title=${b.query}>${b.query}</p>`}
			${runs && html`<${Bar} value=${total === null ? 1 : Number(b.looked_at)} max=${total ?? 1} label=${head} kind=${total === null ? 'unsure' : ''} text=${total === null ? `${num(b.looked_at)} looked at` : `${num(b.looked_at)} of ${num(total)}`} />`}
			${b.last_error && html`<p class="bad break small-text">${typeof b.last_error === 'string' ? b.last_error : b.last_error.message}</p>`}</div>
		${runs ? html`<button type="button" class="button small" disabled=${stopping || b.state === 'stopping'} onClick=${() => { setStopping(true); bulkStop(b.bulk).catch((e) => { setStopping(false); toast(e.message, { kind: 'error' }); }); }}>${stopping || b.state === 'stopping' ? 'Stopping…' : 'Stop'}</button>`
			: html`<button type="button" class="button ghost square small" aria-label="Dismiss" onClick=${onDismiss}><${Icon} name="close" /></button>`}</div>`;
}

// BulkProgress asks for the bulks while one is under way, and shows those that this visit has seen running.
export function BulkProgress() {
	const { db } = useRoute();
	const [list, setList] = useState([]);
	const [dismissed, setDismissed] = useState(new Set());
	const seen = useRef(new Set());
	useEffect(() => {
		let timer = null;
		let gone = false;
		const ask = async (eager) => {
			clearTimeout(timer);
			let bulks = [];
			try { bulks = (await bulkList()).bulks ?? []; } catch { return; }
			if (gone) return;
			const running = bulks.filter((b) => b.state === 'running' || b.state === 'stopping');
			for (const b of running) seen.current.add(b.bulk);
			if (eager && bulks[0]) seen.current.add(bulks[0].bulk);
			setList(bulks.filter((b) => seen.current.has(b.bulk)));
			if (running.length) timer = setTimeout(() => ask(false), 1000);
		};
		const onBulk = () => ask(true);
		setList([]);
		ask(false);
		document.addEventListener('bgjob:bulk', onBulk);
		return () => { gone = true; clearTimeout(timer); document.removeEventListener('bgjob:bulk', onBulk); };
	}, [db]);
	const done = list.filter((b) => b.state === 'done' && !dismissed.has(b.bulk)).map((b) => b.bulk).join();
	useEffect(() => {
		if (!done) return undefined;
		const timer = setTimeout(() => setDismissed((old) => new Set([...old, ...done.split(',')])), 10000);
		return () => clearTimeout(timer);
	}, [done]);
	const shown = list.filter((b) => !dismissed.has(b.bulk)).slice(0, 4);
	if (!shown.length) return null;
	return html`<div class="bulk-progress" role="status" aria-label="Bulk actions">${shown.map((b) => html`<${BulkItem} key=${b.bulk} b=${b} onDismiss=${() => setDismissed(new Set([...dismissed, b.bulk]))} />`)}</div>`;
}
