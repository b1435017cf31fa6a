// The limits: how much of each is in use, who holds it and who waits; closing, overriding, removing.
//
// Without an id the list, a page of 100 by name; /limits/<name> is one limit with its holders and waiters.

import { html, useState } from '../lib.js';
import { href, setParams } from '../router.js';
import { compact, num, plural, spanText } from '../format.js';
import { ActionButton, ActionDialog, Badge, Bar, Button, Card, Empty, ErrorBox, Field, Filter, Held, Loading, PageHead, Pager, Table, Time, mayAny, readOnly, useData } from '../ui.js';

const ALGORITHMS = [{ value: 'sliding_window', label: 'Sliding window' }, { value: 'fixed_window', label: 'Fixed window' }, { value: 'token_bucket', label: 'Token bucket' }];
const CLOSINGS = [{ value: '10 minutes', label: '10 minutes' }, { value: '1 hour', label: '1 hour' }, { value: '1 day', label: '1 day' }, { value: '7 days', label: '7 days' }];

const isPattern = (limit) => limit.name.endsWith('*');

// Use shows what is taken of a limit: places of those that may run, units of its rate.
function Use({ limit: l }) {
	const part = (value, max, text, label) => html`<${Bar} value=${value ?? 0} max=${max || 1} text=${text} label=${label} kind=${max === 0 || value >= max ? 'warn' : ''} />`;
	return html`<div class="use">
		${l.max_running !== null && (isPattern(l) ? html`<span class="muted">${num(l.max_running)} running, each key</span>`
			: part(l.running, l.max_running, html`<b>${num(l.running)}</b> of ${num(l.max_running)} running`, `Running under ${l.name}`))}
		${l.rate !== null && (isPattern(l) ? html`<span class="muted">${num(l.rate)} per ${spanText(l.per)}, each key</span>`
			: part(l.used, l.rate, html`<b>${compact(l.used)}</b> of ${compact(l.rate)} per ${spanText(l.per)}`, `Units of ${l.name} that are spent`))}</div>`;
}

function Signs({ limit: l }) {
	return html`${l.closed_until && html`<${Badge} kind="bad" icon="lock">${l.closed_for_ever ? 'Closed' : html`Closed, opens <${Time} t=${l.closed_until} />`}</${Badge}>`}
		${l.max_running === 0 && html`<${Badge} kind="bad" icon="lock">None may run</${Badge}>`}
		${isPattern(l) && html`<${Badge}>Pattern</${Badge}>`}${l.on_limit === 'delete' && html`<${Badge} kind="warn">Deletes what does not fit</${Badge}>`}`;
}

// Edit is the dialog that adds a limit, changes one, or gives a key of a pattern a limit of its own.
function Edit({ limit, onClose, onDone }) {
	const [name, setName] = useState(limit?.name ?? '');
	const [running, setRunning] = useState(limit?.max_running ?? '');
	const [rate, setRate] = useState(limit?.rate ?? '');
	const [per, setPer] = useState(limit?.per ? spanText(limit.per).replace(/^(?=[a-z])/, '1 ') : '');
	const [algorithm, setAlgorithm] = useState(limit?.algorithm ?? 'sliding_window');
	const [onLimit, setOnLimit] = useState(limit?.on_limit ?? 'wait');
	const number = (text) => (String(text).trim() === '' ? null : Number(text));
	const params = { name: name.trim(), max_running: number(running), rate: number(rate), per: number(rate) === null ? null : per.trim() || null, algorithm, on_limit: onLimit };
	return html`<${ActionDialog} action="limit_set" params=${params} title=${limit ? `Limit ${limit.name}` : 'Add a limit'} label="Save" done=${`Limit ${params.name} is in force`}
		disabled=${!params.name || (params.max_running === null && (params.rate === null || !params.per))} onClose=${onClose} onDone=${onDone}>
		${limit ? html`<p class="muted">Replaces the limit as a whole. For a key of a pattern, this name goes before the pattern.</p>`
			: html`<${Field} label="Name" value=${name} onInput=${setName} hint="“tenant:*” covers every name with that prefix, each for itself." required autofocus />`}
		<div class="fields"><${Field} label="Running at a time" type="number" min="0" value=${running} onInput=${setRunning} placeholder="no limit" />
		<${Field} label="Units of the rate" type="number" min="1" value=${rate} onInput=${setRate} placeholder="no rate" />
		<${Field} label="In each" value=${per} onInput=${setPer} placeholder="1 minute" /></div>
		<div class="fields"><${Field} label="The rate counts by" options=${ALGORITHMS} value=${algorithm} onInput=${setAlgorithm} />
		<${Field} label="A job that does not fit" options=${[{ value: 'wait', label: 'Waits' }, { value: 'delete', label: 'Is deleted' }]} value=${onLimit} onInput=${setOnLimit} /></div></${ActionDialog}>`;
}

function Close({ limit, onClose, onDone }) {
	const [delay, setDelay] = useState('1 hour');
	return html`<${ActionDialog} action="limit_close" params=${{ name: limit.name, delay }} title=${`Close limit ${limit.name}`} label="Close" done=${`Limit ${limit.name} is closed`} onClose=${onClose} onDone=${onDone}>
		<p class="muted">Jobs that run go on. No others under it start until then.</p><${Field} label="For" options=${CLOSINGS} value=${delay} onInput=${setDelay} /></${ActionDialog}>`;
}

function Actions({ limit, may, reload, onEdit, onClose, words }) {
	const common = { small: true, quiet: true, hideLabel: !words, onDone: reload };
	const { name } = limit;
	return html`<div class="actions">
		${(may.bgjob_limit_close || may.bgjob_limit) && (limit.closed_until ? html`<${ActionButton} ...${common} icon="play" label="Open" title=${`Open limit ${name}`} action="limit_close" params=${{ name, delay: '0' }} done=${`Limit ${name} is open`} />`
			: html`<${Button} ...${common} icon="lock" label=${words ? 'Close' : `Close limit ${name}`} onClick=${() => onClose(limit)} />`)}
		${may.bgjob_limit && html`<${Button} ...${common} icon="edit" label=${words ? 'Change' : `Change limit ${name}`} onClick=${() => onEdit(limit)} />`}
		${may.bgjob_limit_remove && html`<${ActionButton} ...${common} icon="trash" label="Remove" title=${`Remove limit ${name}`} danger action="limit_remove" params=${{ name }} confirm="Jobs that name this limit are no longer held up by it." done=${`Limit ${name} is removed`} />`}</div>`;
}

// useDialogs keeps which dialog is open; returns its element and the functions that open one.
function useDialogs(reload) {
	const [open, set] = useState(null);
	const close = () => set(null);
	const element = open && (open.kind === 'close' ? html`<${Close} limit=${open.limit} onClose=${close} onDone=${reload} />` : html`<${Edit} limit=${open.limit} onClose=${close} onDone=${reload} />`);
	return { element, onEdit: (limit) => set({ kind: 'edit', limit }), onClose: (limit) => set({ kind: 'close', limit }) };
}

function List({ route }) {
	const { after, find } = route.params;
	const { data, ms, error, loading, held, reload, showHeld } = useData('limits', { after, find }, { refresh: 'always' });
	const dialogs = useDialogs(reload);
	const may = readOnly() ? {} : data?.may ?? {};
	const columns = [
		{ name: 'name', label: 'Limit', class: 'main', render: (l) => html`<span class="row tight"><a class="job-link" href=${href('limits', {}, l.name)}>${l.name}</a><${Signs} limit=${l} /></span>` },
		{ name: 'use', label: 'In use', class: 'use-column', render: (l) => html`<${Use} limit=${l} />` },
		{ name: 'waiting', label: 'Waiting', align: 'right', render: (l) => (l.waiting > 0 ? html`<a href=${href('limits', {}, l.name)}>${num(l.waiting)}</a>` : html`<span class="faint">${l.waiting === null ? '–' : num(l.waiting)}</span>`) },
		{ name: 'algorithm', label: 'Counts by', class: 'wide-only', render: (l) => html`<span class="muted">${ALGORITHMS.find((a) => a.value === l.algorithm)?.label ?? 'Places'}</span>` },
		{ name: 'actions', title: 'Actions', align: 'right', class: 'corner', render: (l) => html`<${Actions} limit=${l} may=${may} reload=${reload} ...${dialogs} />` }
	];
	return html`<${PageHead} title="Limits" ms=${ms} actions=${html`<${Held} held=${held} show=${showHeld} /><${Filter} label="Find a limit" value=${find} onInput=${(text) => setParams({ find: text })} />
			${may.bgjob_limit && html`<${Button} icon="plus" label="Add a limit" onClick=${() => dialogs.onEdit(null)} />`}`} />
		${error && html`<${ErrorBox} error=${error} />`}
		<${Card}>${!data && loading ? html`<${Loading} lines=${8} />` : html`<${Table} label="Limits" columns=${columns.filter((c) => c.name !== 'actions' || mayAny(may))} rows=${data?.rows ?? []} rowHref=${(l) => href('limits', {}, l.name)}
			empty=${html`<${Empty} icon="limits" title=${find ? 'No limit has such a name' : 'No limits'} hint="A limit bounds how many jobs run at a time, or how many start in a span of time." />`} />`}
			${(after || data?.next) && html`<${Pager} newest=${after && href('limits', { find })} newestLabel="First" older=${data?.next && href('limits', { find, after: data.next })} olderLabel="Next">${num(data?.total)} limits, by name</${Pager}>`}</${Card}>
		${dialogs.element}`;
}

function One({ name }) {
	const { data, ms, error, reload } = useData('limit', { name }, { refresh: 'always', order: (d) => JSON.stringify([d.holders, d.waiters].map((l) => (l ?? []).map((r) => r.id))) });
	const dialogs = useDialogs(reload);
	const may = readOnly() ? {} : data?.may ?? {};
	const limit = data?.limit;
	const job = { name: 'job', label: 'Job', class: 'main', render: (r) => html`<a class="job-link" href=${href('job', {}, r.id)}>${r.job}</a> <span class="faint number">${r.id}</span>` };
	const common = [{ name: 'queue', label: 'Queue', render: (r) => html`<span class="muted">${r.queue}</span>` }, { name: 'run_as', label: 'Role', render: (r) => html`<span class="muted">${r.run_as}</span>` }];
	const holders = [job, ...common, { name: 'progress', label: 'Progress', render: (r) => (r.progress === null ? html`<span class="faint">–</span>` : html`<${Bar} value=${r.progress} max=${100} label=${`Progress of job ${r.id}`} text=${`${Math.floor(r.progress)} %`} />`) },
		{ name: 'started_at', label: 'Holds it since', align: 'right', render: (r) => html`<${Time} t=${r.started_at} />` }];
	const waiters = [job, ...common, { name: 'priority', label: 'Priority', align: 'right', render: (r) => num(r.priority) }, { name: 'created_at', label: 'Enqueued', align: 'right', render: (r) => html`<${Time} t=${r.created_at} />` }];
	const shown = (n, total) => (total > n ? `${num(n)} of ${num(total)}` : num(total ?? n));
	return html`<${PageHead} title=${name} ms=${ms} crumb=${html`<a href=${href('limits')}>Limits</a>`} actions=${limit && html`<${Actions} words limit=${limit} may=${may} reload=${reload} ...${dialogs} />`} />
		${error && html`<${ErrorBox} error=${error} />`}
		${!data ? !error && html`<${Card}><${Loading} /></${Card}>` : !limit ? html`<${Card}><${Empty} icon="limits" title="This limit is not in use" hint="A key of a pattern is shown while its jobs run or wait, or while what they have spent counts." /></${Card}>`
			: html`<${Card} class="limit-head"><div class="card-body"><div class="row"><${Use} limit=${limit} /><${Signs} limit=${limit} /></div></div></${Card}>
			<${Card} title=${html`Holders <span class="count">${shown(data.holders?.length ?? 0, limit.running)}</span>`}><${Table} label="Jobs that hold the limit" columns=${holders} rows=${data.holders ?? []} rowHref=${(r) => href('job', {}, r.id)}
				empty=${html`<${Empty} icon="processing" title=${isPattern(limit) ? 'A pattern is held by none' : 'No job holds it'} hint=${isPattern(limit) ? 'Each of its keys is a limit of its own.' : null} />`} /></${Card}>
			<${Card} title=${html`Waiting <span class="count">${shown(data.waiters?.length ?? 0, limit.waiting)}</span>`} actions=${html`<a href=${href('jobs', { q: `limit:"${name.replace(/["\\]/g, '\\$&')}"` })}>All jobs under it</a>`}><${Table} label="Jobs that wait for the limit" columns=${waiters} rows=${data.waiters ?? []} rowHref=${(r) => href('job', {}, r.id)}
				empty=${html`<${Empty} title=${limit.waiting > 0 ? `${plural(limit.waiting, 'job waits', 'jobs wait')}, none among the newest` : 'No job waits for it'} />`} /></${Card}>`}
		${dialogs.element}`;
}

export default function Limits({ route }) {
	return route.id ? html`<${One} key=${route.id} name=${route.id} />` : html`<${List} route=${route} />`;
}
