// The page Job: one job, its call, its history and its console, what it awaits, why it waits, and what can be done with it.
//
// The row is asked for again while the job can change; the console, the graph and the earlier runs keep themselves up to date.

import { html, useState } from '../lib.js';
import { get, readOnly } from '../api.js';
import { bytes, num } from '../format.js';
import { go, href } from '../router.js';
import { Console } from '../console.js';
import { Graph } from '../graph.js';
import { JobActions } from '../jobactions.js';
import { attempts, isWaiting, shortName, Took } from '../jobrow.js';
import { Runs } from '../runs.js';
import { Failure, Timeline } from '../timeline.js';
import { Badge, Bar, Card, Code, CopyButton, Empty, ErrorBox, Icon, Loading, PageHead, State, Time, useData } from '../ui.js';

// Value shows a value of JSON, and has it fetched whole where it was too large for the page.
function Value({ id, name, text, size, empty }) {
	const [whole, setWhole] = useState(null);
	const [error, setError] = useState(null);
	const [busy, setBusy] = useState(false);
	const load = async () => {
		setBusy(true);
		try { setWhole((await get('job_value', { id, name })).data); } catch (e) { setError(e); }
		setBusy(false);
	};
	if (whole) return html`<${Code} text=${whole.text} label=${name} />${Number(whole.characters) > whole.text.length && html`<p class="faint small-text">cut at ${num(whole.text.length)} of ${num(whole.characters)} characters</p>`}`;
	if (text === null && size > 0) return html`<${ErrorBox} error=${error} /><button type="button" class="button small" disabled=${busy} onClick=${load}>${busy ? 'Loading…' : `Show ${bytes(size)}`}</button>`;
	if (text === null || text === undefined) return html`<span class="faint">${empty}</span>`;
	return html`<${Code} text=${text} label=${name} />${text.length >= 65536 && html`<p class="small-text"><span class="faint">cut after 64 kB</span> <button type="button" class="link" onClick=${load}>Show all</button></p>`}`;
}

function Call({ job }) {
	const long = job.kind === 'sql';
	return html`<${Card} title=${{ function: 'Call', sql: 'Command', external: 'External call' }[job.kind]} actions=${job.args && html`<${CopyButton} text=${job.args} label="Copy arguments" />`}>
		<div class="card-body">${long ? html`<${Code} text=${job.job} language="sql" label="Command" />` : html`<p class="call-name mono break"><bdi>${job.job}</bdi></p>`}
		${job.hidden ? html`<p class="faint"><${Icon} name="lock" size=${13} /> Arguments are hidden in this dashboard.</p>`
			: html`<${Value} id=${job.id} name="args" text=${job.args} size=${job.args_bytes} empty=${long ? 'no parameters' : 'no arguments'} />`}</div></${Card}>`;
}

function Result({ job }) {
	if (job.hidden || (job.result === null && !(job.result_bytes > 0))) return null;
	return html`<${Card} title="Result" actions=${job.result && html`<${CopyButton} text=${job.result} />`}><div class="card-body"><${Value} id=${job.id} name="result" text=${job.result} size=${job.result_bytes} empty="none" /></div></${Card}>`;
}

// Why answers what holds a waiting job up, the most important thing first.
function Why({ job }) {
	if (!isWaiting(job.state)) return null;
	const list = job.why ?? [];
	return html`<${Card} title="Why it waits" class="why-card">${list.length ? html`<ol class="why">${list.map((w, i) => html`<li key=${i}><span class="why-reason">${w.reason}</span>
			<div><p class="break">${w.detail}${w.until && html` <span class="nowrap muted">(<${Time} t=${w.until} />)</span>`}</p>${w.hint && html`<p class="muted small-text break">${w.hint}</p>`}</div></li>`)}</ol>`
		: html`<p class="card-body muted">Nothing holds it up: it is next.</p>`}</${Card}>`;
}

function Progress({ job }) {
	if (job.state !== 'processing') return null;
	const known = job.progress !== null;
	return html`<${Card} class="progress-card"><div class="progress-big"><div class="row"><${State} s="processing" as=${known ? `${Number(job.progress).toFixed(job.progress % 1 ? 1 : 0)} %` : 'running'} />
			<span class="break" dir="auto">${job.progress_message}</span><span class="push number"><${Took} job=${job} /></span></div>
		${known && html`<${Bar} value=${job.progress} max=${100} label="Progress" />`}</div></${Card}>`;
}

const list = (values) => html`<span class="tags">${values.map((v) => html`<span class="tag" key=${v} title=${v}><bdi>${v}</bdi></span>`)}</span>`;

function Batch({ id }) {
	const { data } = useData('job_batch', { id }, { refresh: true, order: () => '' });
	return html`<a href=${href('batch', {}, id)}>${data?.description ? html`<bdi>${data.description}</bdi>` : id}</a>${data && html` <${State} s=${data.state} />
		<${Bar} value=${data.ended} max=${data.total} kind=${data.failed > 0 ? 'bad' : 'good'} label="Progress of the batch" text=${`${num(data.ended)} of ${num(data.total)}`} />`}`;
}

// The facts about a job: [label, value], those without a value are left out.
function factsOf(job) {
	const search = (q, text) => html`<a href=${href('jobs', { q })}><bdi>${text}</bdi></a>`;
	const quoted = (name, value) => search(`${name}:"${String(value).replace(/["\\]/g, '\\$&')}"`, value);
	return [
		['Queue', quoted('queue', job.queue)], ['Priority', job.priority ? num(job.priority) : null], ['Role', quoted('role', job.run_as)],
		['Attempt', attempts(job)], ['Interrupted', job.interruptions ? `${num(job.interruptions)} times` : null],
		['Server', job.server && html`${job.server}${job.worker_pid ? html` <span class="faint">pid ${job.worker_pid}</span>` : ''}`],
		['Timeout', job.timeout], ['Retries after', job.retry_delays?.join(', ')],
		['Tags', job.tags?.length ? html`<span class="tags">${job.tags.map((t) => html`<a key=${t} class="tag" title=${t} href=${href('jobs', { q: `tag:"${t.replace(/["\\]/g, '\\$&')}"` })}><bdi>${t}</bdi></a>`)}</span>` : null],
		['Recurring job', job.recurring && html`<a href=${href('recurring')}><bdi>${job.recurring}</bdi></a>`],
		['Batch', job.batch_id && html`<${Batch} id=${job.batch_id} />`],
		['Limits', job.limits?.length ? list(job.limits) : null], ['Sequence', job.sequence_key && quoted('sequence', job.sequence_key)], ['Fairness', job.fairness_key],
		['Unique key', job.unique_key && quoted('unique', job.unique_key)],
		['Awaits', job.after ? `${num(job.after)} ${job.after === 1 ? 'job' : 'jobs'}, until ${job.condition === 'any' ? 'one has succeeded' : `each has ${job.condition}`}` : job.after_batch ? html`batch <a href=${href('batch', {}, job.after_batch)}>${job.after_batch}</a>, until it has ${job.condition}` : null],
		['Signals', job.after_signal?.length ? list(job.after_signal) : null], ['Awaits at most', job.await_timeout],
		['Created', html`<${Time} t=${job.created_at} />`], ['Due', job.state === 'scheduled' && html`<${Time} t=${job.run_at} />`], ['Removed', job.expires_at && html`<${Time} t=${job.expires_at} />`]
	].filter(([, value]) => value !== null && value !== undefined && value !== false && value !== '');
}

function Facts({ job }) {
	const extra = [['parameters', 'Parameters'], ['settings', 'Settings']].filter(([name]) => job[name] && job[name] !== '{}' || job[`${name}_bytes`] > 0 && !job[name]);
	return html`<${Card} title="Details"><dl class="job-facts">${factsOf(job).map(([label, value]) => html`<div key=${label}><dt>${label}</dt><dd class="break">${value}</dd></div>`)}</dl>
		${extra.map(([name, label]) => html`<details class="fold" key=${name}><summary>${label}</summary><${Value} id=${job.id} name=${name} text=${job[name]} size=${job[`${name}_bytes`]} empty="none" /></details>`)}</${Card}>`;
}

export default function Page({ route }) {
	const id = String(route.id ?? '');
	const valid = /^\d{1,19}$/.test(id);
	const { data: job, ms, error, loading, reload } = useData('job', { id: valid ? id : '0' }, { refresh: true, order: () => '' });
	if (!valid) return html`<${Empty} icon="info" title="This is no number of a job" hint="A job's number has digits only." />`;
	if (error) return html`<${PageHead} title=${`Job ${id}`} /><${ErrorBox} error=${error} />`;
	if (job === null && !loading) return html`<${PageHead} title=${`Job ${id}`} ms=${ms} /><${Card}><${Empty} icon="search" title="There is no such job, or it is not yours to see" hint="Jobs that have ended are removed after the time that bgjob.retention sets." /></${Card}>`;
	if (!job || job.id !== id) return html`<${Loading} lines=${8} />`;
	const name = job.kind === 'sql' ? job.job.replace(/\s+/g, ' ').slice(0, 120) : shortName(job.job);
	const running = job.state === 'processing';
	return html`<nav class="crumbs small-text" aria-label="Where this is"><a href=${href('jobs')}>Jobs</a> <span aria-hidden="true">/</span> <a href=${href('jobs', { state: job.state })}>${job.state}</a></nav>
		<${PageHead} ms=${ms} title=${html`<bdi class=${`break job-title ${job.kind === 'sql' ? 'mono' : ''}`}>${name}</bdi>`}
			sub=${html`<span class="job-sub"><${State} s=${job.state} /><span class="number">${job.id}</span>${job.kind !== 'function' && html`<${Badge}>${job.kind}</${Badge}>`}
				<span>${running ? html`running for <${Took} job=${job} />` : job.finished_at ? html`ended <${Time} t=${job.finished_at} />, took <${Took} job=${job} />` : job.state === 'scheduled' ? html`due <${Time} t=${job.run_at} />` : html`created <${Time} t=${job.created_at} />`}</span></span>`}
			actions=${!readOnly() && job.may_change && html`<${JobActions} job=${job} onDone=${reload} onCopy=${(copy) => go('job', {}, copy)} />`} />
		<div class="job-page"><div class="job-main stack">
			${job.state === 'failed' && html`<${Card} class="error-card" title="Error"><div class="card-body"><${Failure} error=${job.error ?? { message: job.reason }} /></div></${Card}>`}
			${job.state === 'deleted' && job.reason && html`<${Card} title="Why it was deleted"><p class="card-body break" dir="auto">${job.reason}</p></${Card}>`}
			<${Why} job=${job} />
			${job.state === 'scheduled' && job.error && html`<${Card} class="error-card" title="The last attempt failed"><div class="card-body"><${Failure} error=${job.error} /></div></${Card}>`}
			<${Progress} job=${job} />
			<${Call} job=${job} />
			<${Result} job=${job} />
			<${Graph} id=${job.id} show=${Boolean(job.after || job.after_batch)} />
			<${Console} key=${job.id} id=${job.id} running=${running} />
			<${Runs} id=${job.id} />
		</div><div class="job-side stack">
			<${Card} title="History"><${Timeline} states=${job.states} total=${job.states_total} /></${Card}>
			<${Facts} job=${job} />
		</div></div>`;
}
