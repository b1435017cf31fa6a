// What can be done with one job: the buttons of its page. Each asks with the statement that it runs, and sends the state that the page shows.

import { html, useState } from './lib.js';
import { isWaiting } from './jobrow.js';
import { ActionButton, Field } from './ui.js';

const DELAYS = ['1 minute', '5 minutes', '1 hour', '6 hours', '1 day'];

function Reschedule({ job, onDone }) {
	const [form, setForm] = useState({ when: 'delay', delay: '5 minutes', at: '' });
	const set = (name) => (value) => setForm({ ...form, [name]: value });
	const time = form.at && !Number.isNaN(Date.parse(form.at)) ? new Date(form.at).toISOString() : null;
	const params = { id: job.id, from_state: job.state, ...(form.when === 'delay' ? { delay: form.delay } : { run_at: time }) };
	return html`<${ActionButton} icon="clock" label="Reschedule" title=${`Reschedule job ${job.id}`} action="reschedule" params=${params} disabled=${false} done="Rescheduled" onDone=${onDone}>
		<${Field} label="Run" value=${form.when} onInput=${set('when')} options=${[{ value: 'delay', label: 'after a delay' }, { value: 'at', label: 'at a time' }]} />
		${form.when === 'delay' ? html`<${Field} label="Delay" value=${form.delay} onInput=${set('delay')} list="delays" hint="As PostgreSQL reads intervals: 90 seconds, 2 h, 1 day." /><datalist id="delays">${DELAYS.map((d) => html`<option key=${d} value=${d}></option>`)}</datalist>`
			: html`<${Field} label="Time" type="datetime-local" value=${form.at} onInput=${set('at')} hint=${`In ${Intl.DateTimeFormat().resolvedOptions().timeZone}`} />`}</${ActionButton}>`;
}

function Change({ job, onDone }) {
	const [queue, setQueue] = useState(job.queue);
	const [priority, setPriority] = useState(String(job.priority));
	const params = { id: job.id, queue: queue.trim() || null, priority: priority === '' ? null : Number(priority) };
	return html`<${ActionButton} icon="edit" label="Change" title=${`Change job ${job.id}`} action="change" params=${params} done="Changed" onDone=${onDone}>
		<${Field} label="Queue" value=${queue} onInput=${setQueue} /><${Field} label="Priority" type="number" min="-32768" max="32767" value=${priority} onInput=${setPriority} hint="Higher ones run first." /></${ActionButton}>`;
}

function Copy({ job, onCopy }) {
	const editable = !job.hidden && job.args !== null && job.args.length < 65536;
	const [args, setArgs] = useState(job.args);
	const params = { id: job.id, ...(editable && args !== job.args && { args }) };
	return html`<${ActionButton} icon="copy" label="Enqueue a copy" title=${`Enqueue a copy of job ${job.id}`} action="copy_job" params=${params} done="Enqueued" onDone=${onCopy}
		confirm="The copy has the call and the options of this job. It awaits nothing, and is in no batch.">
		${editable && html`<div class="field"><label for="copy-args">Arguments</label><textarea id="copy-args" class="mono" rows=${Math.min(14, args.split('\n').length + 1)} spellcheck="false" value=${args} onInput=${(event) => setArgs(event.target.value)}></textarea></div>`}</${ActionButton}>`;
}

export function JobActions({ job, onDone, onCopy }) {
	const waits = isWaiting(job.state);
	const ended = job.state === 'failed' || job.state === 'succeeded' || job.state === 'deleted';
	const params = { id: job.id, from_state: job.state };
	return html`${ended && html`<${ActionButton} icon="requeue" label="Requeue" title=${`Requeue job ${job.id}`} action="requeue" params=${params} done="Requeued" onDone=${onDone}
			confirm=${job.state === 'succeeded' ? 'This job has succeeded. It will do its work once more.' : 'It runs again as soon as a worker is free, with all of its retries.'} />`}
		${(job.state === 'scheduled' || job.state === 'awaiting') && html`<${ActionButton} icon="play" label="Run now" title=${`Run job ${job.id} now`} action="requeue" params=${params} done="Enqueued" onDone=${onDone}
			confirm=${job.state === 'awaiting' ? 'It will not wait for what it awaits.' : 'It does not wait for its time.'} />`}
		${job.state === 'processing' && html`<${ActionButton} icon="requeue" label="Restart" title=${`Restart job ${job.id}`} action="requeue" params=${params} danger done="Canceled and enqueued again" onDone=${onDone}
			confirm="The attempt is canceled, its effects are rolled back, and the job runs again." />`}
		${waits && html`<${Reschedule} key=${job.state} job=${job} onDone=${onDone} /><${Change} key=${`${job.queue}${job.priority}`} job=${job} onDone=${onDone} />`}
		<${Copy} key=${`copy${job.id}`} job=${job} onCopy=${onCopy} />
		${job.state !== 'deleted' && html`<${ActionButton} icon=${job.state === 'processing' ? 'close' : 'trash'} label=${job.state === 'processing' ? 'Cancel' : 'Delete'} title=${job.state === 'processing' ? `Cancel job ${job.id}` : `Delete job ${job.id}`}
			action="delete" params=${params} danger done=${job.state === 'processing' ? 'Canceled' : 'Deleted'} onDone=${onDone}
			confirm=${job.state === 'processing' ? 'The attempt is canceled and its effects are rolled back. The job ends as deleted.' : 'Jobs that await this one may be deleted with it. It can be requeued until it is removed.'} />`}`;
}
