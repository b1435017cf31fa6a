// The queues: depth, oldest job, rates of the last day, pausing and configuring.
//
// A page of 100 by name; the rates and times of each come from sql/queue_history.sql. Rows do not change their places.

import { html, useEffect, useMemo, useState } from '../lib.js';
import { href, jobsOf, setParams } from '../router.js';
import { bytes, duration, num } from '../format.js';
import { ActionDialog, ActionButton, Badge, Bar, Button, Card, Empty, ErrorBox, Field, Filter, Held, Loading, PageHead, Pager, Spark, Table, Time, mayAny, readOnly, useData } from '../ui.js';

// Configure is the dialog of a queue's numbers. An empty field means "any number", which the function takes as -1.
function Configure({ row, onClose, onDone }) {
	const [name, setName] = useState(row?.queue ?? '');
	const [running, setRunning] = useState(row?.max_running ?? '');
	const [length, setLength] = useState(row?.max_length ?? '');
	const [group, setGroup] = useState(row?.group_size ?? 1);
	const number = (text) => (String(text).trim() === '' ? -1 : Number(text));
	const params = { name: name.trim(), max_running: number(running), max_length: number(length), group_size: number(group) === -1 ? 1 : number(group) };
	return html`<${ActionDialog} action="queue_configure" params=${params} title=${row ? `Configure queue ${row.queue}` : 'Configure a queue'} label="Save" done=${`Queue ${params.name} is configured`}
		disabled=${!params.name} onClose=${onClose} onDone=${onDone}>
		${!row && html`<${Field} label="Queue" value=${name} onInput=${setName} hint="Lower-case letters, digits, _ and -." required pattern="[a-z0-9_\\-]{1,63}" autofocus />`}
		<div class="fields"><${Field} label="Running at a time" type="number" min="0" value=${running} onInput=${setRunning} placeholder="any number" hint="Of all roles; 0: none." />
		<${Field} label="May wait at most" type="number" min="0" value=${length} onInput=${setLength} placeholder="any number" hint="More are refused." />
		<${Field} label="Jobs in a transaction" type="number" min="1" max="1000" value=${group} onInput=${setGroup} hint="1 to 1000." /></div></${ActionDialog}>`;
}

// configured says whether a queue has a configuration of its own, as far as the view tells.
const configured = (row) => row.paused || row.max_running !== null || row.max_length !== null || row.group_size > 1;

function Actions({ row, may, reload, onConfigure }) {
	const common = { small: true, quiet: true, onDone: reload, params: { name: row.queue } };
	return html`<div class="actions">
		${row.paused ? may.bgjob_queue_resume && html`<${ActionButton} ...${common} icon="play" label="Resume" title=${`Resume queue ${row.queue}`} action="queue_resume" done=${`Queue ${row.queue} is resumed`} />`
			: may.bgjob_queue_pause && html`<${ActionButton} ...${common} icon="pause" label="Pause" title=${`Pause queue ${row.queue}`} action="queue_pause" confirm="Jobs that run go on. No others of this queue start until it is resumed." done=${`Queue ${row.queue} is paused`} />`}
		${may.bgjob_queue && html`<${Button} small quiet icon="edit" label=${`Configure queue ${row.queue}`} hideLabel onClick=${() => onConfigure(row)} />`}
		${may.bgjob_queue_remove && !configured(row) && html`<span class="action-space"></span>`}
		${may.bgjob_queue_remove && configured(row) && html`<${ActionButton} ...${common} icon="trash" danger label=${`Remove the configuration of queue ${row.queue}`} hideLabel title=${`Remove the configuration of queue ${row.queue}`} action="queue_remove"
			confirm="The queue has the defaults again, and is not paused. Its jobs stay." done=${`Queue ${row.queue} has the defaults`} />`}</div>`;
}

// lastDay sums the hours of a queue.
function lastDay(hours) {
	const step = 3600;
	const end = Math.floor(Date.now() / 1000 / step);
	const by = new Map((hours ?? []).map((h) => [Math.floor(Date.parse(h.at) / 1000 / step), h]));
	const slots = Array.from({ length: 24 }, (_, i) => by.get(end - 23 + i) ?? null);
	const current = slots.at(-1) ?? slots.at(-2);
	const sum = (name) => slots.reduce((n, h) => n + Number(h?.[name] ?? 0), 0);
	return {
		bars: slots.map((h) => Number(h?.succeeded ?? 0) + Number(h?.failed ?? 0)), succeeded: sum('succeeded'),
		failed: sum('failed'), cpu: sum('cpu_ms'), wal: sum('wal_bytes'), wait: current?.p95_latency_ms ?? null, run: current?.p95_duration_ms ?? null
	};
}

// pair writes two values that belong together, or a dash where there is none.
const pair = (a, b, writeA, writeB) => (a === null && b === null ? '–' : `${writeA(a)} · ${writeB(b)}`);

function columns({ history, may, reload, onConfigure, deepest }) {
	return [
		{ name: 'queue', label: 'Queue', class: 'main', render: (r) => html`<span class="row tight"><a class="job-link" href=${jobsOf(r.queue)}>${r.queue}</a>
			${r.paused && html`<${Badge} kind="warn" icon="pause">Paused</${Badge}>`}
			${r.enqueued > 0 && !r.servers && html`<${Badge} kind="bad" icon="warning">No server</${Badge}>`}
			${r.max_length !== null && r.enqueued >= r.max_length && html`<${Badge} kind="bad" icon="warning">Full</${Badge}>`}
			${r.group_size > 1 && html`<${Badge}>${r.group_size} at once</${Badge}>`}</span>` },
		{ name: 'enqueued', label: 'Waiting', class: 'depth', render: (r) => html`<${Bar} value=${r.enqueued ?? 0} max=${r.max_length ?? deepest} kind=${r.paused ? 'warn' : ''} label=${`Jobs that wait in ${r.queue}`}
			text=${html`<a class=${r.enqueued ? '' : 'faint'} href=${jobsOf(r.queue, 'enqueued')}>${num(r.enqueued)}</a>${r.max_length !== null && html`<span class="faint"> of ${num(r.max_length)}</span>`}`} />` },
		{ name: 'oldest', label: 'Oldest', align: 'right', render: (r) => html`<span class="muted"><${Time} t=${r.oldest_enqueued_at} /></span>` },
		{ name: 'processing', label: 'Running', align: 'right', render: (r) => html`${num(r.processing)}${r.max_running !== null && html`<span class="faint"> of ${num(r.max_running)}</span>`}` },
		{ name: 'scheduled', label: 'Scheduled', align: 'right', render: (r) => (r.scheduled ? html`<a class="quiet-link" href=${jobsOf(r.queue, 'scheduled')}>${num(r.scheduled)}</a>` : html`<span class="faint">${num(r.scheduled)}</span>`) },
		{ name: 'failed', label: 'Failed', align: 'right', render: (r) => (r.failed ? html`<a class="bad" href=${jobsOf(r.queue, 'failed')}>${num(r.failed)}</a>` : html`<span class="faint">${num(r.failed)}</span>`) },
		{ name: 'day', label: 'Last 24 hours', render: (r) => { const d = history[r.queue]; return d ? html`<span class="row tight nowrap"><${Spark} bars points=${d.bars} width=${72} label=${`${num(d.succeeded)} succeeded and ${num(d.failed)} failed in the last 24 hours`} /><span class="muted number">${num(d.succeeded)}</span></span>` : html`<span class="faint">–</span>`; } },
		{ name: 'p95', label: 'Waits · runs (95 %)', align: 'right', class: 'medium-only wide-only', render: (r) => { const d = history[r.queue]; return d ? html`<span class="muted">${pair(d.wait, d.run, duration, duration)}</span>` : html`<span class="faint">–</span>`; } },
		{ name: 'cost', label: 'CPU · WAL', align: 'right', class: 'roomy-only', render: (r) => { const d = history[r.queue]; return d ? html`<span class="muted">${pair(d.cpu || null, d.wal || null, duration, bytes)}</span>` : html`<span class="faint">–</span>`; } },
		{ name: 'actions', title: 'Actions', align: 'right', class: 'corner', render: (r) => html`<${Actions} row=${r} may=${may} reload=${reload} onConfigure=${onConfigure} />` }
	];
}

export default function Queues({ route }) {
	const { after, find } = route.params;
	const { data, ms, error, loading, held, reload, showHeld } = useData('queues', { after, find }, { refresh: true, order: (d) => (d.rows ?? []).map((r) => r.queue).join() });
	const names = (data?.rows ?? []).map((r) => r.queue);
	const past = useData(names.length ? 'queue_history' : null, { queues: `{${names.join(',')}}` });
	useEffect(() => { const timer = setInterval(() => document.hidden || past.reload(), 60000); return () => clearInterval(timer); }, [names.join()]);
	const [configured, setConfigured] = useState(null);
	const history = useMemo(() => Object.fromEntries(Object.entries(past.data?.rows ?? {}).map(([name, hours]) => [name, lastDay(hours)])), [past.data]);
	const rows = data?.rows ?? [];
	const may = readOnly() ? {} : data?.may ?? {};
	const deepest = Math.max(1, ...rows.filter((r) => r.max_length === null).map((r) => r.enqueued ?? 0));
	return html`<${PageHead} title="Queues" ms=${ms} actions=${html`<${Held} held=${held} show=${showHeld} /><${Filter} label="Find a queue" value=${find} onInput=${(text) => setParams({ find: text })} />
			${may.bgjob_queue && html`<${Button} icon="plus" label="Configure a queue" onClick=${() => setConfigured({})} />`}`} />
		${error && html`<${ErrorBox} error=${error} />`}
		<${Card}>${!data && loading ? html`<${Loading} lines=${8} />` : html`<${Table} label="Queues" columns=${columns({ history, may, reload, onConfigure: setConfigured, deepest }).filter((c) => c.name !== 'actions' || mayAny(may))} rows=${rows} rowKey=${(r) => r.queue}
			empty=${html`<${Empty} icon="queues" title=${find ? 'No queue has such a name' : 'No queue yet'} hint="A queue appears with its first job." />`} />`}
			${(after || data?.next) && html`<${Pager} newest=${after && href('queues', { find })} newestLabel="First" older=${data?.next && href('queues', { find, after: data.next })} olderLabel="Next">${num(data?.total)} queues, by name</${Pager}>`}</${Card}>
		${configured && html`<${Configure} row=${configured.queue ? configured : null} onClose=${() => setConfigured(null)} onDone=${reload} />`}`;
}
