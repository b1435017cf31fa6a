// The form of a recurring job: what its schedule means, and its next five runs, while it is being written.
//
// When one is edited, only what was changed is sent: bgjob_recurring() leaves as it is what is null. So arguments that the
// dashboard hides are not overwritten. The name cannot be changed: it is the identity. A field that is emptied takes its option
// back where the function has a value that means so (CLEARED); the other options need one (KEPT).

import { html, useEffect, useRef, useState } from '../lib.js';
import { get } from '../api.js';
import { relative } from '../format.js';
import { ActionDialog, ErrorBox, Field } from '../ui.js';

const CLEARED = { args: '[]', timeout: '0', jitter: '0', starts_at: '-infinity', ends_at: 'infinity', unique_key: '', sequence_key: '', limits: [], tags: [] };
const KEPT = { schedule: 'Needs an expression.', job: 'Needs a function or command.', time_zone: 'Needs a zone, such as UTC.', queue: 'Needs a queue, such as default.', priority: 'Needs a number; 0 is usual.', max_retries: 'Needs a number; 0 is none.' };
const LISTS = ['limits', 'tags'];
const TIMES = ['starts_at', 'ends_at'];
const EXAMPLES = ['*/15 * * * *', '30 2 * * *', '0 9 * * MON-FRI', '0 6 LW * *', '@hourly', '30 seconds'];
const FIELDS = ['schedule', 'time_zone', 'job', 'kind', 'args', 'queue', 'priority', 'max_retries', 'timeout', 'misfire', 'overlap', 'day_match', 'jitter', 'starts_at', 'ends_at', 'unique_key',
	'sequence_key', 'limits', 'tags'];
const NEW = { ...Object.fromEntries(FIELDS.map((name) => [name, ''])), name: '', schedule: '0 * * * *', kind: 'function', misfire: 'once', overlap: 'allow', day_match: 'any' };

// local writes a time as a field of type datetime-local has it, in the viewer's zone; '' for none.
function local(time) {
	const at = new Date(time ?? NaN);
	return Number.isNaN(at.getTime()) ? '' : new Date(at.getTime() - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

// read fills the form from a recurring job as the pages have it.
const read = (row) => Object.fromEntries(FIELDS.map((name) => [name, LISTS.includes(name) ? (row[name] ?? []).join(', ') : TIMES.includes(name) ? local(row[name]) : String(row[name] ?? '')]));

// written returns the parameter of a field that has a text.
function written(name, text) {
	if (LISTS.includes(name)) return text.split(',').map((t) => t.trim()).filter(Boolean);
	return TIMES.includes(name) ? new Date(text).toISOString() : text;
}

// changes returns the parameters of the action: what differs from before; of a new one, what is not empty.
function changes(value, before) {
	const params = { name: value.name.trim() };
	for (const name of FIELDS) {
		const text = value[name].trim();
		if (text === (before ? before[name].trim() : '')) continue;
		if (text !== '') params[name] = written(name, text);
		else if (name in CLEARED) params[name] = CLEARED[name];
	}
	return params;
}

// missing returns the fields that were emptied and need a value.
const missing = (value, before) => Object.keys(KEPT).filter((name) => before?.[name].trim() && !value[name].trim());

// usePreview asks the server what the schedule means, a moment after the last key.
function usePreview({ schedule, time_zone, day_match, name }) {
	const [state, set] = useState({ data: null, error: null });
	const abort = useRef(null);
	useEffect(() => {
		if (!schedule.trim()) { set({ data: null, error: null }); return undefined; }
		const timer = setTimeout(() => {
			abort.current?.abort();
			abort.current = new AbortController();
			get('recurring_preview', { schedule, time_zone, day_match, name }, abort.current.signal)
				.then(({ data }) => set({ data, error: null }), (error) => error.name === 'AbortError' || set({ data: null, error }));
		}, 200);
		return () => clearTimeout(timer);
	}, [schedule, time_zone, day_match, name]);
	useEffect(() => () => abort.current?.abort(), []);
	return state;
}

function Preview({ data, error }) {
	return html`<div class="schedule-preview" role="status">
		${error ? html`<${ErrorBox} error=${error} />` : !data ? html`<p class="faint">…</p>` : html`<p class="lead">${data.description}</p>
			${data.next.length ? html`<ol class="times">${data.next.map((t) => html`<li key=${t.at}><span>${t.local}</span><span class="muted">${relative(t.at)}</span></li>`)}</ol><p class="muted small-text">In ${data.time_zone}</p>`
				: html`<p class="warn-text">It has no next run.</p>`}`}</div>`;
}

export function RecurringForm({ of: row, onClose, onDone }) {
	const [before, setBefore] = useState(null);
	const [value, setValue] = useState(row ? { name: row.name, ...read(row) } : NEW);
	const [error, setError] = useState(null);
	const [more, setMore] = useState(false);
	// The list has not all options: they are read when the form opens.
	useEffect(() => {
		if (!row) return;
		get('recurring_job', { name: row.name, owner: row.owner }).then(({ data }) => {
			if (!data) return;
			setBefore(read(data));
			setValue({ name: row.name, ...read(data) });
		}, setError);
	}, []);
	const preview = usePreview(value);
	const empty = missing(value, before);
	const field = (name, label, rest = {}) => html`<${Field} label=${label} value=${value[name]} ...${empty.includes(name) ? { error: KEPT[name] } : {}} onInput=${(text) => setValue((v) => ({ ...v, [name]: text }))} ...${rest} />`;
	const params = changes(value, before);
	const complete = params.name && (row ? before && Object.keys(params).length > 1 : params.schedule && params.job) && !preview.error && !empty.length;
	return html`<${ActionDialog} action="recurring_save" params=${params} title=${row ? `Edit ${row.name}` : 'New recurring job'} label=${row ? 'Save' : 'Add'} wide
		done=${row ? 'Saved' : 'Added'} disabled=${!complete} onClose=${onClose} onDone=${onDone}>
		${error && html`<${ErrorBox} error=${error} />`}
		<div class="form-columns"><div>
			${!row && field('name', 'Name', { required: true, maxlength: 200 })}
			${field('schedule', 'Schedule', { required: true, class: 'mono', hint: html`Five fields (minute, hour, day, month, weekday), six with the second first, or an interval. ${EXAMPLES.map((e) => html`<button type="button" class="example mono" key=${e} onClick=${() => setValue((v) => ({ ...v, schedule: e }))}>${e}</button> `)}` })}
			${field('time_zone', 'Time zone', { placeholder: 'as bgjob.time_zone says' })}
			${field('job', value.kind === 'sql' ? 'Command' : 'Function', { required: true, class: 'mono' })}
			${field('args', 'Arguments (JSON)', { class: 'mono', placeholder: row && before && !before.args ? 'as they are' : '{"name": value}' })}
		</div><div><h3 class="above">What it means</h3><${Preview} ...${preview} /></div></div>
		<button type="button" class="button ghost small above" aria-expanded=${more} onClick=${() => setMore(!more)}>${more ? 'Fewer options' : 'More options'}</button>
		${more && html`<div class="form-columns"><div>
			${field('kind', 'Kind', { options: ['function', 'sql', 'external'] })}${field('queue', 'Queue')}${field('priority', 'Priority', { inputmode: 'numeric' })}${field('max_retries', 'Retries', { inputmode: 'numeric' })}${field('timeout', 'Time-out', { placeholder: '10 minutes' })}
		</div><div>
			${field('misfire', 'Runs that were missed', { options: [{ value: 'once', label: 'run once' }, { value: 'all', label: 'run each' }, { value: 'skip', label: 'are skipped' }] })}
			${field('overlap', 'If the last one still runs', { options: [{ value: 'allow', label: 'run beside it' }, { value: 'skip', label: 'skip' }, { value: 'queue', label: 'run after it' }, { value: 'cancel', label: 'cancel it' }] })}
			${field('day_match', 'Day of month and weekday', { options: [{ value: 'any', label: 'either matches' }, { value: 'all', label: 'both match' }] })}
			${field('jitter', 'Jitter', { placeholder: '30 seconds' })}${field('starts_at', 'From', { type: 'datetime-local' })}${field('ends_at', 'Until', { type: 'datetime-local', hint: `In ${Intl.DateTimeFormat().resolvedOptions().timeZone}` })}
		</div><div>
			${field('unique_key', 'Unique key')}${field('sequence_key', 'Sequence key')}
		</div><div>
			${field('limits', 'Limits', { hint: 'Separated by commas.' })}${field('tags', 'Tags', { hint: 'Separated by commas.' })}
		</div></div>`}
	</${ActionDialog}>`;
}
