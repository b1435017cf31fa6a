// The page Jobs: all jobs by state and search, with selection and bulk actions.
//
// The address has everything that is shown: state, q (the search), before (the page). So each view is a link. The pages go by id, newest first;
// the way back is remembered for the tab alone, since the server lists in one direction.

import { html, useEffect, useState } from '../lib.js';
import { readOnly } from '../api.js';
import { go, href, setParams } from '../router.js';
import { num, plural } from '../format.js';
import { useLive } from '../live.js';
import { BulkBar } from '../bulk.js';
import { COLUMNS } from '../jobrow.js';
import { useJobs } from '../joblist.js';
import { QUALIFIERS, STATES, join, terms, without } from '../query.js';
import { Card, Empty, ErrorBox, Icon, Loading, PageHead, Table, Tabs, useData } from '../ui.js';

const title = (state) => state[0].toUpperCase() + state.slice(1);

// The page before each page that was left for the next one.
const pagesBefore = new Map();

function StateTabs({ state, q }) {
	const { data } = useData('job_counts', {}, { refresh: true });
	const filtered = Boolean(q);
	// On a narrow screen the tabs scroll: the current one is brought into view.
	useEffect(() => { document.querySelector('main .tabs [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' }); }, [state, Boolean(data)]);
	return html`<${Tabs} label="Jobs by state" items=${[
		{ label: 'All', href: href('jobs', { q }), current: !state },
		...STATES.map((s) => ({ label: title(s), icon: s, href: href('jobs', { state: s, q }), current: s === state,
			count: filtered || data?.[s] === null || data?.[s] === undefined ? undefined : num(data[s]) }))]} />`;
}

// Filters shows the terms of the search; each can be taken out.
function Filters({ q, state }) {
	const list = terms(q);
	if (!list.length) return null;
	const known = (t) => QUALIFIERS.find((x) => x.name === t.qualifier?.split('.')[0]);
	return html`<div class="terms" aria-label="Search terms">${list.map((t, i) => html`<span class="term" key=${`${i}${t.text}`}>
			<span class="term-text"><bdi>${known(t) ? html`<span class="muted">${t.negated ? 'not ' : ''}${t.qualifier}</span> ${t.value}` : t.text}</bdi></span>
			<a class="term-out" href=${href('jobs', { state, q: without(q, i) })} aria-label=${`Remove ${t.text}`} title="Remove"><${Icon} name="close" size=${12} /></a></span>`)}
		${list.length > 1 && html`<a class="small-text" href=${href('jobs', { state })}>Clear all</a>`}</div>`;
}

// Foot says how far the list goes, and leads on.
function Foot({ jobs, params }) {
	const { state, q, before } = params;
	const here = JSON.stringify([state ?? '', q ?? '', before ?? '']);
	const more = jobs.next !== null;
	const cutShort = more && jobs.rows.length < 50;
	const back = before ? pagesBefore.get(here) : undefined;
	const onOlder = () => pagesBefore.set(JSON.stringify([state ?? '', q ?? '', jobs.next]), before ?? '');
	const shown = jobs.rows.length ? `${plural(jobs.rows.length, 'job')} shown` : 'None found so far';
	return html`<nav class="pager" aria-label="Pages of the list">
		${before && html`<a class="button small" href=${href('jobs', { state, q })}><${Icon} name="left" /> Newest</a>`}
		${back !== undefined && back !== '' && html`<a class="button small" href=${href('jobs', { state, q, before: back })}><${Icon} name="left" /> Newer</a>`}
		<span class="muted" role="status">${cutShort ? html`${shown}. Looked through the newest <span class="number">${num(jobs.looked)}</span> jobs.`
			: more ? `${shown}; there are older ones.` : before ? `${shown}; these are the oldest.` : `${shown}; these are all.`}</span>
		${cutShort ? html`<button type="button" class="button small" disabled=${jobs.loading} onClick=${jobs.goOn}>${jobs.loading ? 'Looking…' : 'Look further'}</button>`
			: more && html`<a class="button small" href=${href('jobs', { state, q, before: jobs.next })} onClick=${onOlder}>Older <${Icon} name="right" /></a>`}</nav>`;
}

function Nothing({ state, q }) {
	if (q) return html`<${Empty} icon="search" title="No job matches" hint="Words are looked for in name, arguments, tags, reason and error. Fewer terms find more."><a class="button small" href=${href('jobs', { state })}>Clear the search</a></${Empty}>`;
	const hints = {
		failed: ['Nothing has failed', 'Jobs that fail with no retry left stay here until somebody acts.', 'check'], processing: ['Nothing is running', 'Workers are waiting for jobs.', 'clock'],
		enqueued: ['Nothing is waiting', 'Jobs start as soon as they are enqueued.', 'check'], scheduled: ['Nothing is scheduled', 'Jobs with a delay and retries wait here for their time.', 'clock'],
		awaiting: ['Nothing awaits another job', 'Continuations wait here for the jobs, batches and signals before them.', 'link']
	};
	const [name, hint, icon] = hints[state] ?? [state ? `No job is ${state}` : 'There are no jobs yet', state ? 'Ended jobs are removed after the time that bgjob.retention sets.' : 'SELECT bgjob_enqueue(\'my_function\', \'{"argument": 1}\');', 'info'];
	return html`<${Empty} icon=${icon} title=${name} hint=${hint} />`;
}

export default function Page({ route }) {
	const { q, before } = route.params;
	// a state that there is not is refused by the server
	const known = route.params.state || undefined;
	const [selection, setSelection] = useState(new Set());
	const [everything, setEverything] = useState(false);
	const jobs = useJobs({ state: known, q, before, selected: selection.size > 0 || everything });
	const live = useLive();
	const query = join(known && `state:${known}`, q);
	useEffect(() => { setSelection(new Set()); setEverything(false); }, [known, q, before]);
	const onSelect = (next) => { setSelection(next); setEverything(false); };
	const rows = jobs.rows;
	const chosen = rows.filter((row) => selection.has(row.id));
	// The rows that another page had are gone from the list, so they are none of the selection.
	useEffect(() => { if (chosen.length < selection.size) setSelection(new Set(chosen.map((r) => r.id))); }, [jobs.ids.join()]);
	return html`<${PageHead} title="Jobs" ms=${jobs.ms} />
		<${StateTabs} state=${known} q=${q} />
		<${Filters} q=${q} state=${known} />
		<${ErrorBox} error=${jobs.error} />
		${jobs.newer > 0 && html`<div class="newer"><button type="button" class="button small" onClick=${jobs.showNewer}><${Icon} name="up" /> ${jobs.newer >= 100 ? '100 or more new jobs' : plural(jobs.newer, 'new job')}</button></div>`}
		${!jobs.error && html`<${Card} class="jobs-card"><div data-jobs>
			${jobs.loading && !rows.length ? html`<${Loading} lines=${10} />`
				: html`<${Table} label="Jobs" class="jobs" columns=${COLUMNS} rows=${rows} rowHref=${(row) => href('job', {}, row.id)} onOpen=${(row) => go('job', {}, row.id)}
					rowClass=${(row) => (row.gone ? 'left' : known && row.state !== known ? 'left' : row.state === 'failed' ? 'is-failed' : '')}
					selection=${readOnly() ? null : everything ? new Set(jobs.ids) : selection} onSelect=${onSelect}
					empty=${jobs.next === null ? html`<${Nothing} state=${known} q=${q} />` : null} />`}
			${(rows.length > 0 || jobs.next !== null) && html`<${Foot} jobs=${jobs} params=${{ state: known, q, before }} />`}</div></${Card}>`}
		<${BulkBar} rows=${chosen} everything=${everything} onEverything=${() => setEverything(true)} onClear=${() => onSelect(new Set())} query=${query} state=${known}
			whole=${rows.length > 0 && chosen.length === rows.length} more=${jobs.next !== null || Boolean(before)} live=${live} onDone=${jobs.reload} />`;
}
