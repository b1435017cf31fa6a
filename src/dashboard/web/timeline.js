// The states that a job has been in, as cards one below the other, with the time between them.
//
// The entries are those of bgjob.job_states. Of a long history the page gets the first 20 and the last 180 entries; of these the middle is folded.

import { html, useState } from './lib.js';
import { clock, day, duration, now, num } from './format.js';
import { Code, Icon, Time, useNow } from './ui.js';

const FOLD = 12;
const HEAD = 3;
const TAIL = 7;

// What the time after an entry is called.
const BETWEEN = { enqueued: 'waited', scheduled: 'waited for its time', awaiting: 'awaited others', processing: 'ran', failed: 'then', succeeded: 'then', deleted: 'then' };

// Moment shows a time of day, with the date if it is another day than that of the entry before.
function Moment({ at, before }) {
	const dated = !before || day(before) !== day(at);
	return html`<span class="faint small-text nowrap"><${Time} t=${at} exactly=${false} /> · <span class="number">${dated ? `${day(at)} ` : ''}${clock(at)}</span></span>`;
}

function facts(e) {
	const list = [];
	if (e.queue && (e.state === 'enqueued')) list.push(['queue', e.queue]);
	if (e.attempt) list.push(['attempt', e.attempt]);
	if (e.server) list.push(['server', e.server]);
	if (e.worker_pid) list.push(['pid', e.worker_pid]);
	return list;
}

// Failure shows an error: its message, and the rest folded; brief: all but the beginning of the message folded.
export function Failure({ error, brief }) {
	const { sqlstate, message, detail, hint, context } = error;
	const most = brief ? { lines: 3, characters: 240 } : { lines: 8, characters: 900 };
	const text = String(message ?? '');
	const lines = text.split('\n');
	const long = lines.length > most.lines || text.length > most.characters;
	const [whole, setWhole] = useState(false);
	const shown = long && !whole ? `${lines.slice(0, most.lines).join('\n').slice(0, most.characters)} …` : text;
	const rest = html`${detail && html`<p class="small-text break" dir="auto">${whole || detail.length <= 800 ? detail : `${detail.slice(0, 800)} …`}</p>`}
		${hint && html`<p class="small-text break hint-line" dir="auto"><${Icon} name="info" size=${13} /> ${hint}</p>`}`;
	const more = long && html`<button type="button" class="link" onClick=${() => setWhole(!whole)}>${whole ? 'Show less' : lines.length > most.lines ? `Show all ${num(lines.length)} lines` : 'Show all'}</button>`;
	const code = context && html`<${Code} text=${context} language="text" label="Context of the error" />`;
	return html`<div class="failure"><p class="failure-message" dir="auto">${shown}${sqlstate && html` <code class="faint">${sqlstate}</code>`}</p>${more}
		${brief ? (detail || hint || context) && html`<details><summary class="small-text">Details</summary>${rest}${code}</details>`
			: html`${rest}${context && html`<details><summary class="small-text">Context</summary>${code}</details>`}`}</div>`;
}

// shortReason leaves the message of the failed attempt out of the reason for the next one: it stands in the entry above.
const shortReason = (reason, message) => (message && reason.endsWith(`: ${message}`) ? reason.slice(0, -message.length - 2) : reason);

// spentIn returns for how long a state lasted. A success knows it to the microsecond.
function spentIn(e, next, success) {
	if (success && e.state === 'processing') return success.duration_ms;
	if (success && next.state === 'processing' && success.latency_ms !== null) return success.latency_ms;
	return Math.max(0, (next ? Date.parse(next.at) : now()) - Date.parse(e.at));
}

function Entry({ e, before, last, next, success }) {
	useNow(last ? 1000 : 60000);
	const spent = spentIn(e, next, success);
	const over = last && (e.state === 'succeeded' || e.state === 'deleted' || e.state === 'failed');
	const data = facts(e);
	return html`<li class=${`step ${e.state}`}><span class="step-dot"><${Icon} name=${e.state} size=${16} /></span>
		<div class="step-body"><div class="step-head"><strong class=${e.state}>${e.state}</strong><${Moment} at=${e.at} before=${before?.at} /></div>
			${e.state === 'failed' && e.message ? html`<${Failure} error=${e} brief />` : e.reason && html`<p class="small-text break" dir="auto">${before?.state === 'failed' ? shortReason(e.reason, before.message) : e.reason}</p>`}
			${last && e.state === 'scheduled' && e.run_at && html`<p class="small-text muted">due <${Time} t=${e.run_at} /></p>`}
			${data.length > 0 && html`<p class="small-text muted step-facts">${data.map(([name, value]) => html`<span key=${name}>${name} <span class="number value">${value}</span></span>`)}</p>`}
			${!over && !(e.state === 'failed' && spent < 1) && html`<p class="step-gap small-text">${next ? BETWEEN[e.state] : e.state === 'processing' ? 'running for' : 'waiting for'} <span class="number">${duration(spent)}</span></p>`}</div></li>`;
}

export function Timeline({ states, total }) {
	const [whole, setWhole] = useState(false);
	const list = states ?? [];
	const fold = list.length > FOLD && !whole;
	const head = fold ? list.slice(0, HEAD) : list;
	const tail = fold ? list.slice(-TAIL) : [];
	const hidden = Number(total) - head.length - tail.length;
	const successOf = (i) => (list[i + 1]?.state === 'succeeded' ? list[i + 1] : list[i + 1]?.state === 'processing' && list[i + 2]?.state === 'succeeded' ? list[i + 2] : null);
	const entry = (e, i, all, offset) => html`<${Entry} key=${e.seq} e=${e} before=${list[offset + i - 1]} next=${list[offset + i + 1]} success=${successOf(offset + i)} last=${offset + i === list.length - 1} />`;
	if (!list.length) return html`<p class="muted card-body">This job has no history yet.</p>`;
	return html`<ol class="timeline">${head.map((e, i, all) => entry(e, i, all, 0))}
		${fold ? html`<li class="step-fold"><button type="button" class="button small" onClick=${() => setWhole(true)}>Show ${num(hidden)} more</button></li>`
			: hidden > 0 && html`<li class="step-fold muted small-text">${num(hidden)} entries in the middle are left out</li>`}
		${tail.map((e, i, all) => entry(e, i, all, list.length - TAIL))}</ol>`;
}
