// What a list shows of a job: the columns of the page Jobs, used for other lists of jobs, too.

import { html } from './lib.js';
import { bytes, now } from './format.js';
import { href } from './router.js';
import { Bar, Badge, Duration, State, Time, useNow } from './ui.js';

// shortName leaves out the types of a function's arguments, and the schema pg_catalog.
export const shortName = (job) => String(job ?? '').replace(/\([^()"]*\)$/, '').replace(/^pg_catalog\./, '');

export const isWaiting = (state) => state === 'enqueued' || state === 'scheduled' || state === 'awaiting';

// attempts says which attempt a job is at, or waits for, of how many: "2 of 4". It is null for one that has needed no second one.
export function attempts(job) {
	const retries = Number(job.retries);
	if (!retries && job.state !== 'failed') return null;
	return `${retries + 1} of ${Number(job.max_retries) + 1}`;
}

// whenOf returns the time that matters in a job's state, and its name.
export function whenOf(job) {
	if (job.state === 'scheduled') return ['due', job.run_at];
	if (job.state === 'processing') return ['started', job.started_at];
	if (isWaiting(job.state)) return ['created', job.created_at];
	return ['ended', job.finished_at ?? job.created_at];
}

// Running shows how long a job has run, and goes on counting.
export function Running({ since }) {
	useNow(1000);
	return html`<${Duration} ms=${Math.max(0, now() - Date.parse(since))} />`;
}

export const Took = ({ job }) => (job.state === 'processing' && job.started_at ? html`<${Running} since=${job.started_at} />` : html`<${Duration} ms=${job.duration_ms} />`);

// noteOf returns the second line of a row: the error, what holds the job up, or how far it is.
function noteOf(job) {
	if (job.state === 'failed') return html`<span class="note bad">${job.sqlstate && html`<code>${job.sqlstate}</code> `}${job.error ?? job.reason}</span>`;
	if (job.state === 'processing' && (job.progress !== null || job.progress_message)) {
		return html`<span class="note progress-note">${job.progress !== null && html`<${Bar} value=${job.progress} max=${100} label=${`Progress of job ${job.id}`} text=${`${Math.round(job.progress)} %`} />`}
			<span class="clip">${job.progress_message}</span></span>`;
	}
	if (job.reason && job.reason !== job.state && job.state !== 'succeeded') return html`<span class="note">${job.reason}</span>`;
	return null;
}

export function JobCell({ job }) {
	const name = job.kind === 'sql' ? job.job.replace(/\s+/g, ' ') : shortName(job.job);
	return html`<div class="job-cell"><div class="job-line"><a class=${`job-name ${job.kind === 'sql' ? 'mono' : ''}`} href=${href('job', {}, job.id)} title=${job.job}><bdi>${name}</bdi></a>
		${job.args !== null && job.args !== undefined ? html`<span class="job-args mono" dir="ltr"><bdi>${job.args}</bdi></span>`
			: job.args_bytes > 0 ? html`<span class="job-size faint">${bytes(job.args_bytes)} of arguments</span>` : null}
		${job.recurring && html`<${Badge} icon="recurring"><span class="clip" title=${job.recurring}>${job.recurring}</span></${Badge}>`}
		${(job.tags ?? []).slice(0, 3).map((t) => html`<span class="tag" key=${t} title=${t}><bdi>${t}</bdi></span>`)}</div>${noteOf(job)}</div>`;
}

export const COLUMNS = [
	{ name: 'state', label: 'State', class: 'col-state', render: (job) => (job.gone ? html`<span class="faint">removed</span>` : html`<${State} s=${job.state} />`) },
	{ name: 'job', label: 'Job', class: 'main col-job', render: (job) => html`<${JobCell} job=${job} />` },
	{ name: 'id', label: 'Number', class: 'right col-id', render: (job) => html`<span class="number faint">${job.id}</span>` },
	{ name: 'queue', label: 'Queue', class: 'col-queue', render: (job) => html`<span class="clip" title=${job.priority ? `priority ${job.priority}` : null}>${job.queue}${job.priority ? html` <span class="faint">${job.priority > 0 ? '+' : ''}${job.priority}</span>` : ''}</span>` },
	{ name: 'attempts', label: 'Attempt', class: 'right col-attempts', render: (job) => html`<span class="number">${attempts(job) ?? html`<span class="faint">–</span>`}</span>` },
	{ name: 'when', label: 'When', class: 'right col-when', render: (job) => { const [name, t] = whenOf(job); return html`<span class="when"><span class="faint">${name}</span> <${Time} t=${t} /></span>`; } },
	{ name: 'took', label: 'Took', class: 'right col-took', render: (job) => html`<${Took} job=${job} />` }
];
