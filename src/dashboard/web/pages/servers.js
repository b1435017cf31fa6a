// Servers and workers: the pools and the external workers, the processes with their jobs, and what each did in the last minutes.

import { html, useEffect, useMemo, useState } from '../lib.js';
import { href, jobsOf, setParams } from '../router.js';
import { bytes, num, plural } from '../format.js';
import { lanesOf, shownOf } from '../lanes.js';
import { Strips, StripTable } from '../strip.js';
import { ActionButton, ActionDialog, Badge, Bar, Button, Card, Empty, ErrorBox, Field, Loading, PageHead, Segments, State, Table, Time, mayAny, readOnly, useData } from '../ui.js';

const MINUTES = [1, 5, 15];

function Edit({ server, onClose, onDone }) {
	const [name, setName] = useState(server?.name ?? '');
	const [queues, setQueues] = useState(server ? server.queues.join(', ') : '*');
	const [workers, setWorkers] = useState(server?.workers ?? '');
	const list = queues.split(/[\s,]+/).filter(Boolean);
	const params = { name: name.trim(), queues: list, workers: String(workers).trim() === '' ? null : Number(workers) };
	return html`<${ActionDialog} action="server_set" params=${params} title=${server ? `Server ${server.name}` : 'Add a server'} label="Save" done=${`Server ${params.name} is configured`}
		disabled=${!params.name || !list.length} onClose=${onClose} onDone=${onDone}>
		${!server && html`<${Field} label="Name" value=${name} onInput=${setName} hint="Lower-case letters, digits, _ and -." required autofocus />`}
		<${Field} label="Queues" value=${queues} onInput=${setQueues} hint="In the order of taking, separated by commas. * stands for all others." required />
		<${Field} label="Workers" type="number" min="1" max="1000" value=${workers} onInput=${setWorkers} placeholder="as bgjob.workers says" /></${ActionDialog}>`;
}

function Actions({ server: s, may, reload, onEdit }) {
	const internal = s.kind === 'internal';
	const common = { small: true, quiet: true, onDone: reload, params: { name: s.name } };
	return html`<div class="actions">
		${s.paused ? may.bgjob_server_resume && html`<${ActionButton} ...${common} icon="play" label="Resume" title=${`Resume ${s.name}`} action="server_resume" done=${`${s.name} is resumed`} />`
			: may.bgjob_server_pause && html`<${ActionButton} ...${common} icon="pause" label="Pause" title=${`Pause ${s.name}`} action="server_pause" confirm=${internal ? 'Jobs that run end. No others start on this server, and its workers leave.' : 'The worker is told to fetch no more jobs. Those that it has go on.'} done=${`${s.name} is paused`} />`}
		${internal && may.bgjob_server && html`<${Button} small quiet icon="edit" hideLabel label=${`Change server ${s.name}`} onClick=${() => onEdit(s)} />`}
		${may.bgjob_server_remove && html`<${ActionButton} ...${common} hideLabel icon="trash" label=${internal ? `Remove server ${s.name}` : `End worker ${s.name}`} title=${internal ? `Remove server ${s.name}` : `End worker ${s.name}`} danger action="server_remove"
			confirm=${internal ? 'Its workers leave after their jobs. Its queues wait for another server. “default” follows the settings again.' : 'The worker is told to end.'} done=${`${s.name} is removed`} />`}</div>`;
}

function Servers({ data, may, reload, onEdit }) {
	const columns = [
		{ name: 'name', label: 'Server', class: 'main', render: (s) => html`<span class="row tight"><b class="job-link">${s.name}</b>${s.kind === 'external' && html`<${Badge}>External</${Badge}>`}
			${s.paused && html`<${Badge} kind="warn" icon="pause">Paused</${Badge}>`}${!s.started_at && html`<${Badge}>Rests</${Badge}>`}</span>` },
		{ name: 'queues', label: 'Queues, in order', class: 'full', render: (s) => html`<span class="row tight">${s.queues.map((q) => (q === '*' ? html`<${Badge} key=${q}>all others</${Badge}>` : html`<a key=${q} class="chip" href=${jobsOf(q)}>${q}</a>`))}</span>` },
		{ name: 'busy', label: 'Busy', class: 'depth', render: (s) => (s.kind === 'internal' ? html`<${Bar} value=${s.busy} max=${s.workers || 1} label=${`Busy workers of ${s.name}`} text=${html`<b>${num(s.busy)}</b> of ${num(s.workers)}`} />` : html`${plural(s.busy, 'job')}`) },
		{ name: 'started_at', label: 'Started', align: 'right', render: (s) => html`<span class="muted"><${Time} t=${s.started_at} /></span>` },
		{ name: 'heartbeat_at', label: 'Seen', align: 'right', render: (s) => html`<span class="muted"><${Time} t=${s.heartbeat_at} /></span>` },
		{ name: 'actions', title: 'Actions', align: 'right', class: 'full', render: (s) => html`<${Actions} server=${s} may=${may} reload=${reload} onEdit=${onEdit} />` }
	];
	return html`<${Card} title=${html`Servers <span class="count">${num(data.rows?.length ?? 0)}</span>`}><${Table} label="Servers" columns=${columns.filter((c) => c.name !== 'actions' || mayAny(may))} rows=${data.rows ?? []} rowKey=${(s) => `${s.kind} ${s.name}`}
		empty=${html`<${Empty} icon="servers" title="No server serves this database" hint=${data.standby ? 'This is a standby: jobs run on the primary server.' : data.enabled === 'off' ? 'bgjob.enabled is off.' : 'Is the library in shared_preload_libraries, and the database in bgjob.databases?'} />`} /></${Card}>`;
}

const WORKER_STATES = { busy: ['processing', 'Busy'], idle: ['enqueued', 'Idle'], leaving: ['deleted', 'Leaving'] };

function Workers({ workers, total }) {
	const columns = [
		{ name: 'pid', label: 'Process', class: 'main', render: (w) => html`<span class="number">${w.pid}</span>` },
		{ name: 'server', label: 'Server', render: (w) => w.server },
		{ name: 'role', label: 'Role', render: (w) => html`<span class="muted">${w.role}</span>` },
		{ name: 'state', label: 'State', render: (w) => { const [s, word] = WORKER_STATES[w.state] ?? ['unknown', w.state]; return html`<${State} s=${s} as=${word} />`; } },
		{ name: 'job', label: 'Job', class: 'full', render: (w) => (w.job_id ? html`<a class="job-link" href=${href('job', {}, w.job_id)}>${w.job ?? `Job ${w.job_id}`}</a>${w.job_started_at && html` <span class="faint">· started <${Time} t=${w.job_started_at} /></span>`}` : html`<span class="faint">–</span>`) },
		{ name: 'jobs_done', label: 'Done', align: 'right', render: (w) => num(w.jobs_done) },
		{ name: 'memory', label: 'Memory', align: 'right', class: 'wide-only', render: (w) => html`<span class="muted">${bytes(w.memory_bytes)}</span>` },
		{ name: 'started_at', label: 'Started', align: 'right', class: 'wide-only', render: (w) => html`<span class="muted"><${Time} t=${w.started_at} /></span>` }
	];
	return html`<${Card} title=${html`Workers <span class="count">${total > workers.length ? `${num(workers.length)} of ${num(total)}` : num(total)}</span>`}><${Table} label="Worker processes" columns=${columns} rows=${workers} rowKey=${(w) => String(w.pid)}
		empty=${html`<${Empty} icon="servers" title="No worker process" hint="Workers start with the first job, and leave when there is nothing to do." />`} /></${Card}>`;
}

function Activity({ workers, minutes }) {
	const { data, error, reload } = useData('worker_strip', { minutes });
	useEffect(() => { const timer = setInterval(() => document.hidden || reload(), 4000); return () => clearInterval(timer); }, [minutes]);
	const span = minutes * 60000;
	const end = data ? Date.parse(data.at) : 0;
	const all = useMemo(() => (data ? lanesOf(data.rows ?? [], workers, end, span) : []), [data, minutes]);
	const lanes = shownOf(all);
	const tabs = html`<${Segments} label="Time span" items=${MINUTES.map((value) => ({ value, label: `${value} min` }))} value=${minutes} onChange=${(v) => setParams({ minutes: v === 5 ? null : v })} />`;
	return html`<${Card} title="Activity" actions=${html`<span class="strip-legend"><${State} s="processing" as="Running" /><${State} s="succeeded" as="Succeeded" /><${State} s="failed" as="Failed" /><${State} s="deleted" as="Deleted" /></span>${tabs}`}>
		${error ? html`<div class="card-body"><${ErrorBox} error=${error} /></div>` : !data ? html`<${Loading} />`
			: lanes.length ? html`<${Strips} lanes=${lanes} end=${end} span=${span} />${(data.newest || all.length > lanes.length) && html`<p class="strip-note muted">${all.length > lanes.length && `The ${num(lanes.length)} busiest of ${num(all.length)} workers. `}${data.newest && `Of the jobs of each queue the newest ${num(data.newest)} are shown.`}</p>`}<${StripTable} lanes=${lanes} end=${end} span=${span} />` : html`<${Empty} icon="servers" title="No worker was busy" />`}</${Card}>`;
}

export default function Page({ route }) {
	const { data, ms, error, reload } = useData('servers', {}, { refresh: true, order: (d) => JSON.stringify([(d.rows ?? []).map((s) => s.name), (d.workers ?? []).map((w) => w.pid)]) });
	const [edited, setEdited] = useState(null);
	const may = readOnly() ? {} : data?.may ?? {};
	const minutes = MINUTES.includes(Number(route.params.minutes)) ? Number(route.params.minutes) : 5;
	const workers = data?.workers ?? [];
	return html`<${PageHead} title="Servers and workers" ms=${ms} actions=${may.bgjob_server && html`<${Button} icon="plus" label="Add a server" onClick=${() => setEdited({})} />`} />
		${error && html`<${ErrorBox} error=${error} />`}
		${!data ? !error && html`<${Card}><${Loading} lines=${8} /></${Card}>` : html`<${Servers} data=${data} may=${may} reload=${reload} onEdit=${setEdited} />
			<${Activity} workers=${workers} minutes=${minutes} /><${Workers} workers=${workers} total=${data.workers_total} />`}
		${edited && html`<${Edit} server=${edited.name ? edited : null} onClose=${() => setEdited(null)} onDone=${reload} />`}`;
}
