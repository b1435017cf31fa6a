// The last runs of what a job calls, as a strip: a bar for each job, as high as it took long (on a root scale, so that one slow run does not flatten the rest).
//
// The colour says the state, and so does the foot of the bar: a cross for a failed one, a ring for one that has not run. One stop of the
// Tab key; the arrow keys go from bar to bar, Enter opens the job.

import { html, useRef, useState } from './lib.js';
import { duration, num, now } from './format.js';
import { href } from './router.js';
import { useEvery } from './data.js';
import { shortName } from './jobrow.js';
import { Card, Duration, State, Time, useData } from './ui.js';

const HEIGHT = 64;

const took = (run) => (run.state === 'processing' && run.started_at ? Math.max(0, now() - Date.parse(run.started_at)) : run.duration_ms === null ? null : Number(run.duration_ms));

function percentile(values, p) {
	const sorted = [...values].sort((a, b) => a - b);
	return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(p * sorted.length))] : null;
}

export function Runs({ id }) {
	const { data, error, reload } = useData('job_runs', { id }, { order: () => '' });
	useEvery(reload, 10000);
	const [at, setAt] = useState(null);
	const strip = useRef(null);
	if (error || !data || data.rows.length < 2) return null;
	const runs = [...data.rows].reverse();
	const longest = Math.max(1, ...runs.map((r) => took(r) ?? 0));
	const ended = runs.filter((r) => r.state === 'succeeded' && r.duration_ms !== null).map((r) => Number(r.duration_ms));
	const failed = runs.filter((r) => r.state === 'failed').length;
	const shown = at === null ? null : runs[at];
	const here = runs.findIndex((r) => r.id === id);
	const onKeyDown = (event) => {
		const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
		if (!step) return;
		const next = Math.max(0, Math.min(runs.length - 1, (at ?? here) + step));
		strip.current.children[next]?.focus();
		event.preventDefault();
	};
	const stop = here >= 0 ? here : runs.length - 1;
	return html`<${Card} title=${`The last ${num(runs.length)} runs`} actions=${html`<a class="small-text" href=${href('jobs', { q: `job:"${shortName(data.job).replace(/["\\]/g, '\\$&')}"` })}>All of them</a>`}>
		<div class="card-body"><div class="history" ref=${strip} role="group" aria-label=${`Durations of the last ${runs.length} runs, the oldest first`} onKeyDown=${onKeyDown} onMouseLeave=${() => setAt(null)}>
			${runs.map((r, i) => {
				const ms = took(r);
				const height = ms === null ? 3 : Math.max(4, Math.sqrt(ms / longest) * HEIGHT);
				return html`<a key=${r.id} class=${`hist ${r.state} ${r.id === id ? 'this' : ''}`} href=${href('job', {}, r.id)} tabindex=${i === stop ? 0 : -1} aria-label=${`Job ${r.id}, ${r.state}, ${ms === null ? 'has not run' : duration(ms)}`} aria-current=${r.id === id ? 'true' : null}
					onMouseEnter=${() => setAt(i)} onFocus=${() => setAt(i)} onBlur=${() => setAt(null)}><span class="hist-bar" style=${{ height: `${height}px` }}></span><span class="hist-foot" aria-hidden="true">${r.state === 'failed' ? '×' : r.state === 'succeeded' ? '' : r.state === 'deleted' ? '–' : '○'}</span></a>`;
			})}</div>
		<p class="history-note small-text">${shown ? html`<a class="number" href=${href('job', {}, shown.id)} tabindex="-1">${shown.id}</a> <${State} s=${shown.state} /> <${Duration} ms=${took(shown)} /> <span class="faint"><${Time} t=${shown.finished_at ?? shown.started_at ?? shown.created_at} /></span>${shown.error && html` <span class="bad clip">${shown.error}</span>`}`
			: html`<span class="muted">median <${Duration} ms=${percentile(ended, 0.5)} /> · 95 % within <${Duration} ms=${percentile(ended, 0.95)} /> · ${failed ? html`<span class="bad">${num(failed)} failed</span>` : 'none failed'}</span>`}</p></div></${Card}>`;
}
