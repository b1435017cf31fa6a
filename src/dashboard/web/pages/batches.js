// The pages Batches (those in no other one, each with the tree of batches in it; and signals) and Batch (one of them).
//
// A bar has a part for each state. Counts are those of a batch together with the batches in it, as bgjob.batches has them.

import { html, useState } from '../lib.js';
import { ActionButton, ActionDialog, Badge, Card, Code, Empty, ErrorBox, Field, Held, Icon, Loading, Num, PageHead, Pager, State, Table, Tabs, Time, useData } from '../ui.js';
import { href } from '../router.js';
import { duration, num, plural } from '../format.js';
import { readOnly } from '../api.js';

const STATES = ['processing', 'failed', 'deleted', 'succeeded'];
const PARTS = ['succeeded', 'processing', 'failed', 'deleted', 'pending'];
const PART_STATE = { pending: 'enqueued' };

// Share returns how much of a batch has ended, in percent, rounded down so that 100 means all.
const percent = (batch) => batch.total ? Math.floor((batch.total - batch.pending - batch.processing) * 100 / batch.total) : 100;

// Parts is the bar of a batch.
function Parts({ batch }) {
	const label = `${percent(batch)} % ended: ${PARTS.filter((p) => batch[p]).map((p) => `${num(batch[p])} ${p}`).join(', ') || 'no jobs'}`;
	return html`<span class="parts" role="img" aria-label=${label} title=${label}>${PARTS.filter((p) => batch[p] > 0).map((p) => html`<span key=${p} class=${`part ${p}`} style=${{ flexGrow: batch[p] }}></span>`)}</span>`;
}

function Progress({ batch }) {
	return html`<span class="parts-box"><${Parts} batch=${batch} /><span class="number parts-text">${percent(batch)} %</span></span>`;
}

const Count = ({ n, kind }) => n > 0 ? html`<span class=${`number ${kind ?? ''}`}>${num(n)}</span>` : html`<span class="faint number">0</span>`;
const nameOf = (batch) => batch.description || `Batch ${batch.id}`;

const ended = (batch) => batch.finished_at ? html`<${Time} t=${batch.finished_at} />` : html`<span class="faint">–</span>`;

const columns = [
	{ name: 'description', label: 'Batch', class: 'main', render: (b) => html`<span class=${`tree depth-${Math.min(8, b.depth)}`}>${b.depth > 0 && html`<span class="branch" aria-hidden="true">└</span>`}
		<span><a class=${b.depth ? '' : 'strong'} href=${href('batch', {}, b.id)}>${nameOf(b)}</a><span class="sub">${b.id}${b.depth ? '' : ` · ${b.role}`}</span></span></span>` },
	{ name: 'state', label: 'State', render: (b) => html`<${State} s=${b.state} />` },
	{ name: 'progress', label: 'Progress', class: 'full progress-cell', render: (b) => html`<${Progress} batch=${b} />` },
	{ name: 'total', label: 'Jobs', align: 'right', render: (b) => html`<${Num} n=${b.total} />` },
	{ name: 'failed', label: 'Failed', align: 'right', render: (b) => html`<${Count} n=${b.failed} kind="bad" />` },
	{ name: 'created_at', label: 'Created', render: (b) => html`<${Time} t=${b.created_at} />` },
	{ name: 'finished_at', label: 'Finished', render: ended }
];

function Batches({ route }) {
	const { state, before_id: before } = route.params;
	const { data, ms, error, loading, held, showHeld } = useData('batches', { state, before_id: before }, { refresh: true });
	return html`<${PageHead} title="Batches" ms=${ms} actions=${html`<${Held} held=${held} show=${showHeld} />`} />
		<${Tabs} label="Batches by state" items=${[{ label: 'All', href: href('batches'), current: !state },
			...STATES.map((s) => ({ label: s[0].toUpperCase() + s.slice(1), href: href('batches', { state: s }), current: state === s, icon: s })),
			{ label: 'Signals', href: href('batches', { view: 'signals' }), current: false }]} />
		${error && html`<${ErrorBox} error=${error} />`}
		<div class="card">${!data && loading ? html`<${Loading} />` : html`<${Table} label="Batches" columns=${columns} rows=${data?.rows} rowHref=${(b) => href('batch', {}, b.id)}
				empty=${html`<${Empty} icon="batches" title=${!state ? 'No batches yet' : data?.next_before_id ? `None of the 1 000 looked at is ${state}` : `No batch is ${state}`} hint="bgjob_batch() makes one; bgjob_enqueue(…, batch => id) puts jobs into it." />`} />
			${(before || data?.next_before_id) && html`<${Pager} newest=${before && href('batches', { state })} older=${data?.next_before_id && href('batches', { state, before_id: data.next_before_id })} />`}`}</div>`;
}

// SendSignal is the dialog that sends one.
function SendSignal({ onClose, onDone }) {
	const [name, setName] = useState('');
	const [payload, setPayload] = useState('');
	return html`<${ActionDialog} action="signal" params=${{ name, ...(payload.trim() ? { payload } : {}) }} title="Send a signal" label="Send" done="Sent" disabled=${!name} onClose=${onClose} onDone=${onDone}>
		<p class="muted">Jobs that await it go on. It is kept, so a job may come to await it later.</p>
		<${Field} label="Name" value=${name} onInput=${setName} required /><${Field} label="Payload (JSON)" value=${payload} onInput=${setPayload} placeholder="none" /></${ActionDialog}>`;
}

function Signals() {
	const { data, ms, error, loading, reload } = useData('signals', {}, { refresh: true });
	const [sending, send] = useState(false);
	const list = [
		{ name: 'name', label: 'Signal', class: 'main', render: (s) => html`<span class="strong">${s.name}</span>` },
		{ name: 'role', label: 'Sent by', render: (s) => s.role },
		{ name: 'at', label: 'Sent', render: (s) => html`<${Time} t=${s.at} />` },
		{ name: 'payload', label: 'Payload', class: 'full', render: (s) => s.payload ? html`<code class="break">${s.payload}</code>` : html`<span class="faint">none</span>` },
		{ name: 'actions', title: 'Actions', class: 'right', render: (s) => html`<span class="actions"><${ActionButton} small quiet hideLabel icon="trash" danger action="signal_remove" label="Remove" params=${{ name: s.name }}
			title=${`Remove ${s.name}`} confirm="Jobs that come to await it later will wait." done="Removed" onDone=${reload} /></span>` }
	];
	return html`<${PageHead} title="Signals" ms=${ms} actions=${!readOnly() && html`<button type="button" class="button primary" aria-haspopup="dialog" onClick=${() => send(true)}><${Icon} name="plus" /> Send a signal</button>`} />
		<${Tabs} label="Batches and signals" items=${[{ label: 'Batches', href: href('batches'), current: false }, { label: 'Signals', href: href('batches', { view: 'signals' }), current: true }]} />
		${error && html`<${ErrorBox} error=${error} />`}
		<div class="card">${!data && loading ? html`<${Loading} />` : html`<${Table} label="Signals" columns=${list} rows=${data?.rows}
			empty=${html`<${Empty} icon="awaiting" title="No signals are kept" hint="bgjob_signal(name) sends one; bgjob_enqueue(…, after_signal => '{name}') awaits it." />`} />`}</div>
		${sending && html`<${SendSignal} onClose=${() => send(false)} onDone=${reload} />`}`;
}

function BatchActions({ batch, reload }) {
	const params = { id: batch.id };
	return html`${batch.failed > 0 && html`<${ActionButton} icon="requeue" action="batch_retry" label="Retry failed" title=${`Retry ${plural(batch.failed, 'failed job')}`} params=${params} done="They run again" onDone=${reload} />`}
		${batch.deleted > 0 && html`<${ActionButton} icon="requeue" action="batch_retry" label="Retry unsuccessful" params=${{ ...params, which: 'unsuccessful' }} done="They run again" onDone=${reload}
			confirm="Failed and deleted jobs run again, and what awaited them." />`}
		${batch.state === 'processing' && html`<${ActionButton} icon="close" danger action="batch_cancel" label="Cancel" title=${`Cancel ${nameOf(batch)}`} params=${params} done="Canceled" onDone=${reload}
			confirm=${`Deletes the ${plural(batch.pending + batch.processing, 'job')} that ${batch.pending + batch.processing === 1 ? 'has' : 'have'} not finished, also those of batches in it. Jobs that run are canceled.`} />`}`;
}

const NAMES = { pending: 'Waiting', processing: 'Processing', succeeded: 'Succeeded', failed: 'Failed', deleted: 'Deleted' };
const SEARCHED = { processing: 'processing', succeeded: 'succeeded', failed: 'failed', deleted: 'deleted' };

// Counts are the jobs of a batch by state, each with a link to them.
function Counts({ batch }) {
	return html`<div class="counts">${['pending', 'processing', 'succeeded', 'failed', 'deleted'].map((p) => {
		const state = PART_STATE[p] ?? p;
		return html`<a key=${p} class="count-link" href=${href('jobs', { q: `batch:${batch.id}${SEARCHED[p] ? ` state:${SEARCHED[p]}` : ''}` })}>
			<span class="count-number number">${num(batch[p])}</span><span class=${`state ${state}`}><${Icon} name=${state} size=${14} />${NAMES[p]}</span></a>`;
	})}</div>`;
}

function Jobs({ batch }) {
	const { data, error } = useData('batch_jobs', { id: batch.id }, { refresh: true });
	const list = [
		{ name: 'job', label: 'Job', class: 'main', render: (j) => html`<a class="mono break" href=${href('job', {}, j.id)}>${j.job}</a> <span class="sub-inline number">${j.id}</span>` },
		{ name: 'state', label: 'State', render: (j) => html`<${State} s=${j.state} />` },
		{ name: 'reason', label: 'Reason', class: 'full', render: (j) => j.reason ? html`<span class="clip-2">${j.reason}</span>` : null },
		{ name: 'created_at', label: 'Created', render: (j) => html`<${Time} t=${j.created_at} />` }
	];
	return html`<${Card} title="Jobs" actions=${html`<a class="button small ghost" href=${href('jobs', { q: `batch:${batch.id}` })}>All of them</a>`}>
		${error ? html`<div class="card-body"><${ErrorBox} error=${error} /></div>` : html`<${Table} label="Jobs of the batch" columns=${list} rows=${data?.rows} rowHref=${(j) => href('job', {}, j.id)}
			empty=${html`<p class="card-body muted">${data ? 'It has no jobs of its own that are kept.' : 'Looking…'}</p>`} />`}</${Card}>`;
}

function One({ route }) {
	const { data: batch, ms, error, loading, reload } = useData('batch', { id: route.id }, { refresh: true });
	if (error) return html`<${PageHead} title=${`Batch ${route.id}`} /><${ErrorBox} error=${error} />`;
	if (!batch) return loading ? html`<${PageHead} title=${`Batch ${route.id}`} /><${Loading} />` : html`<${PageHead} title=${`Batch ${route.id}`} ms=${ms} />
		<div class="card"><${Empty} icon="batches" title="There is no such batch" hint="It may have expired, or belongs to a role that yours is not a member of." /></div>`;
	const path = html`<a href=${href('batches')}>Batches</a>${(batch.above ?? []).map((b) => html` › <a key=${b.id} href=${href('batch', {}, b.id)}>${nameOf(b)}</a>`)} › ${batch.id}`;
	const took = batch.finished_at && Date.parse(batch.finished_at) - Date.parse(batch.created_at);
	return html`<${PageHead} title=${nameOf(batch)} sub=${path} ms=${ms} actions=${html`<${BatchActions} batch=${batch} reload=${reload} />`} />
		<${Card}><div class="card-body batch-head"><div class="row"><${State} s=${batch.state} /><span class="muted">${plural(batch.total, 'job')} of ${batch.role} · created <${Time} t=${batch.created_at} />
				${batch.finished_at ? html` · finished <${Time} t=${batch.finished_at} />, after ${duration(took)}` : ''}</span>${batch.unique_key && html`<${Badge}>${batch.unique_key}</${Badge}>`}</div>
			<${Progress} batch=${batch} /><${Counts} batch=${batch} /></div></${Card}>
		${batch.rows.length > 0 && html`<${Card} title="Batches in it"><${Table} label="Batches in it" columns=${columns} rows=${batch.rows} rowHref=${(b) => href('batch', {}, b.id)} /></${Card}>`}
		${batch.parameters && html`<${Card} title="Parameters"><div class="card-body"><${Code} text=${batch.parameters} label="Parameters of the batch" /></div></${Card}>`}
		<${Jobs} batch=${batch} />`;
}

export default function Page({ route }) {
	if (route.page === 'batch' && route.id) return html`<${One} key=${route.id} route=${route} />`;
	return route.params.view === 'signals' ? html`<${Signals} />` : html`<${Batches} route=${route} />`;
}
