// The page Recurring: every recurring job with its schedule in words and its last and next runs on a strip of one day; and the page of one
// of them, /recurring/<name>?owner=<role>, with its options, next times and latest runs.
//
// The words and the times are the server's (bgjob_cron_describe, bgjob_cron_occurrences). The strip is the same day for all rows,
// so that what comes together is seen at a glance.

import { html, useState } from '../lib.js';
import { ActionButton, Badge, Card, Code, Duration, Empty, ErrorBox, Held, Icon, Loading, PageHead, State, Table, Time, useData } from '../ui.js';
import { go, href, setParams } from '../router.js';
import { exact, now, plural, relative } from '../format.js';
import { currentSession, readOnly } from '../api.js';
import { join, term } from '../query.js';
import { RecurringForm } from './recurringform.js';
import { Strip, StripAxis, usePast } from './recurringstrip.js';

const keyOf = (row) => `${row.owner}/${row.name}`;
const linkTo = (row) => href('recurring', { owner: row.owner }, row.name);

// Names are unique per owner, and the functions take a name: the caller's own recurring job goes before that of another role. So an own
// one of the same name hides the others' controls, and bgjob_recurring() would add an own one instead of changing another role's.
//
// Controls are what can be done to a recurring job. compact: icons alone; hidden: the role has an own one with its name.
function Controls({ row, reload, compact, hidden }) {
	const [editing, edit] = useState(false);
	const own = row.owner === currentSession()?.user;
	if (readOnly() || hidden && !own) return null;
	const look = { small: compact, quiet: compact, hideLabel: compact, params: { name: row.name }, onDone: reload };
	return html`<span class="actions">
		<${ActionButton} ...${look} icon="bolt" action="recurring_trigger" label="Trigger now" title=${`Trigger ${row.name}`} done="Enqueued"
			confirm="Enqueues the job now. The schedule stays as it is." />
		${row.active ? html`<${ActionButton} ...${look} icon="pause" action="recurring_pause" label="Pause" title=${`Pause ${row.name}`} done="Paused" />`
			: html`<${ActionButton} ...${look} icon="play" action="recurring_resume" label="Resume" title=${`Resume ${row.name}`} done="Resumed" />`}
		${own && html`<button type="button" class=${`button ${compact ? 'ghost small square' : ''}`} aria-label=${compact ? 'Edit' : null} title=${compact ? 'Edit' : null} aria-haspopup="dialog"
			onClick=${() => edit(true)}><${Icon} name="edit" />${!compact && html` <span>Edit</span>`}</button>`}
		${!compact && html`<${ActionButton} ...${look} icon="trash" action="recurring_remove" label="Remove" danger title=${`Remove ${row.name}`} done="Removed"
			confirm="It runs no more. The jobs that it has enqueued stay." onDone=${() => go('recurring')} />`}
		${editing && html`<${RecurringForm} of=${row} onClose=${() => edit(false)} onDone=${reload} />`}</span>`;
}

function Name({ row }) {
	return html`<a class="strong" href=${linkTo(row)}>${row.name}</a>
		<div class="sub">${row.owner} · <span class="mono">${row.job}</span>${row.queue !== 'default' && ` · ${row.queue}`}</div>
		${row.error && html`<div class="note-bad"><${Icon} name="warning" size=${13} /> ${row.error}</div>`}`;
}

const Schedule = ({ row }) => html`<div>${row.description ?? row.schedule}</div><div class="sub"><span class="mono">${row.schedule}</span> · ${row.time_zone}</div>`;

function Last({ row }) {
	if (!row.last_run_at) return html`<span class="faint">not yet</span>`;
	const state = row.last_state ? html`<${State} s=${row.last_state} />` : html`<span class="faint">removed</span>`;
	return html`${row.last_job_id && row.last_state ? html`<a href=${href('job', {}, row.last_job_id)}>${state}</a>` : state}<div class="sub"><${Time} t=${row.last_run_at} /></div>`;
}

function Next({ row }) {
	if (!row.active) return html`<${Badge} icon="pause">Paused</${Badge}>`;
	if (!row.next_run_at) return html`<span class="faint">never</span>`;
	return Date.parse(row.next_run_at) <= now() ? html`<span>due</span>` : html`<${Time} t=${row.next_run_at} />`;
}

function List({ route }) {
	const { search } = route.params;
	const { data, ms, error, loading, reload, held, showHeld } = useData('recurring', { search }, { refresh: true });
	const [adding, add] = useState(false);
	const rows = data?.rows ?? [];
	const past = usePast(data, keyOf);
	const paused = rows.filter((row) => !row.active).length;
	const mine = new Set(rows.filter((row) => row.owner === currentSession()?.user).map((row) => row.name));
	const failing = rows.filter((row) => row.error).length;
	const columns = [
		{ name: 'name', label: 'Name', class: 'main', render: (row) => html`<${Name} row=${row} />` },
		{ name: 'schedule', label: 'Schedule', class: 'full schedule', render: (row) => html`<${Schedule} row=${row} />` },
		{ name: 'strip', label: 'Runs', head: html`<${StripAxis} at=${data?.at} />`, class: 'full runs-cell', render: (row) => html`<${Strip} at=${data.at} row=${row} past=${past.get(keyOf(row))} />` },
		{ name: 'last', label: 'Last run', render: (row) => html`<${Last} row=${row} />` },
		{ name: 'next', label: 'Next run', render: (row) => html`<${Next} row=${row} />` },
		{ name: 'actions', title: 'Actions', class: 'right full', render: (row) => html`<${Controls} row=${row} reload=${reload} compact hidden=${mine.has(row.name)} />` }
	];
	const sub = data && [plural(rows.length, 'recurring job'), paused && `${paused} paused`, failing && `${failing} with an error`].filter(Boolean).join(' · ');
	return html`<${PageHead} title="Recurring" sub=${sub} ms=${ms} actions=${html`<${Held} held=${held} show=${showHeld} />
			<input class="input filter" type="search" aria-label="Filter by name" placeholder="Filter by name" value=${search ?? ''} onInput=${(event) => setParams({ search: event.target.value })} />
			${!readOnly() && html`<button type="button" class="button primary" aria-haspopup="dialog" onClick=${() => add(true)}><${Icon} name="plus" /> New</button>`}`} />
		${error && html`<${ErrorBox} error=${error} />`}
		<div class="card">${!data && loading ? html`<${Loading} />` : html`<${Table} label="Recurring jobs" columns=${columns} rows=${rows} rowKey=${keyOf} rowHref=${linkTo}
			empty=${html`<${Empty} icon="recurring" title=${search ? 'No recurring job has such a name' : 'No recurring jobs yet'} hint=${search ? null : 'bgjob_recurring(name, schedule, job) adds one.'} />`} />`}</div>
		${data?.more && html`<p class="muted small-text below">Only the first 200 are shown.</p>`}
		${adding && html`<${RecurringForm} onClose=${() => add(false)} onDone=${reload} />`}`;
}

const Facts = ({ items }) => html`<dl class="facts">${items.filter(([, value]) => value !== null && value !== undefined && value !== '' && value !== false)
	.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;

// Runs are the latest jobs of a recurring job.
function Runs({ row }) {
	const query = join(term('recurring', row.name), row.run_as && term('role', row.run_as));
	const { data, error } = useData('recurring_runs', { query }, { refresh: true });
	const columns = [
		{ name: 'id', label: 'Job', class: 'main', render: (job) => html`<a class="number" href=${href('job', {}, job.id)}>${job.id}</a>` },
		{ name: 'state', label: 'State', render: (job) => html`<${State} s=${job.state} />` },
		{ name: 'created_at', label: 'Enqueued', render: (job) => html`<${Time} t=${job.created_at} />` },
		{ name: 'took', label: 'Took', align: 'right', render: (job) => html`<${Duration} ms=${job.duration_ms} />` }
	];
	return html`<${Card} title="Latest runs" actions=${html`<a class="button small ghost" href=${href('jobs', { q: query })}>All runs</a>`}>
		${error ? html`<div class="card-body"><${ErrorBox} error=${error} /></div>` : html`<${Table} label="Latest runs" columns=${columns} rows=${data?.rows} rowHref=${(job) => href('job', {}, job.id)}
			empty=${html`<p class="card-body muted">${data ? 'None is kept.' : 'Looking…'}</p>`} />`}</${Card}>`;
}

function One({ route }) {
	const { data: row, ms, error, loading, reload } = useData('recurring_job', { name: route.id, owner: route.params.owner }, { refresh: true });
	if (error) return html`<${PageHead} title=${route.id} /><${ErrorBox} error=${error} />`;
	if (!row) return loading ? html`<${PageHead} title=${route.id} /><${Loading} />` : html`<${PageHead} title=${route.id} ms=${ms} />
		<div class="card"><${Empty} icon="recurring" title="There is no such recurring job" hint="It may have been removed, or belongs to a role that yours is not a member of." /></div>`;
	const sub = html`<a href=${href('recurring')}>Recurring</a> · ${row.owner}`;
	return html`<${PageHead} title=${row.name} sub=${sub} ms=${ms} actions=${html`<${Controls} row=${row} reload=${reload} hidden=${row.hidden} />`} />
		${row.error && html`<${ErrorBox} error=${{ message: row.error }} />`}
		<div class="grid">
			<div class="two-thirds stack">
				<${Card} title="Schedule"><div class="card-body"><p class="lead">${row.description ?? row.schedule}</p>
					<${Facts} items=${[['Expression', html`<code>${row.schedule}</code>`], ['Time zone', row.time_zone], ['State', row.active ? 'active' : html`<${Badge} icon="pause">Paused</${Badge}>`],
						['Missed runs', row.misfire], ['If the last one still runs', row.overlap], ['Days', row.day_match === 'all' ? 'day of month and day of week' : null], ['Jitter', row.jitter],
						['From', row.starts_at && html`<${Time} t=${row.starts_at} exactly />`], ['Until', row.ends_at && html`<${Time} t=${row.ends_at} exactly />`]]} /></div></${Card}>
				<${Runs} row=${row} />
			</div>
			<div class="third stack">
				<${Card} title="Next runs"><div class="card-body">${row.next?.length ? html`<ol class="times">${row.next.map((t) => html`<li key=${t}><span>${exact(t).replace(/\.000/, '')}</span><span class="muted">${relative(t)}</span></li>`)}</ol>`
					: html`<p class="muted">${row.active ? 'It has no next run.' : 'Paused: it does not run.'}</p>`}</div></${Card}>
				<${Card} title="Job"><div class="card-body"><div class="row"><code class="break">${row.job}</code>${row.kind !== 'function' && html`<${Badge}>${row.kind}</${Badge}>`}</div>
					<${Facts} items=${[['Queue', row.queue], ['Priority', row.priority || null], ['Retries', row.max_retries], ['Time-out', row.timeout], ['Runs as', row.run_as], ['Sequence', row.sequence_key],
						['Limits', row.limits?.join(', ')], ['Fairness', row.fairness_key], ['Unique key', row.unique_key], ['Tags', row.tags?.map((t) => html`<${Badge} key=${t}>${t}</${Badge}> `)]]} />
					${row.args && html`<h3 class="above">Arguments</h3><${Code} text=${row.args} label="Arguments of the job" />`}
					${row.parameters && html`<h3 class="above">Parameters</h3><${Code} text=${row.parameters} label="Parameters of the job" />`}</div></${Card}>
			</div></div>`;
}

export default function Page({ route }) {
	return route.id ? html`<${One} key=${`${route.id}/${route.params.owner}`} route=${route} />` : html`<${List} route=${route} />`;
}
