// The page Failures: failed jobs, grouped by what went wrong. A group is requeued or deleted as a whole.
//
// A group has a query, which finds all of its jobs: also those behind the newest ones, which alone are counted here.

import { html } from '../lib.js';
import { readOnly } from '../api.js';
import { num, plural } from '../format.js';
import { go, href } from '../router.js';
import { BulkButton } from '../bulk.js';
import { shortName } from '../jobrow.js';
import { stateOf, terms } from '../query.js';
import { Card, Empty, ErrorBox, Icon, Loading, PageHead, Spark, Table, Tabs, Time, useData } from '../ui.js';

// listOf returns the address of the list of a group's jobs.
function listOf(group) {
	const q = terms(group.query).filter((t) => t.qualifier !== 'state' || t.negated).map((t) => t.text).join(' ');
	return href('jobs', { state: stateOf(group.query) ?? 'failed', q });
}

function What({ group }) {
	const first = group.message.split('\n')[0];
	const sample = group.sample.split('\n')[0];
	return html`<div class="group-cell"><a class="group-message mono" href=${listOf(group)} dir="auto">${first || 'no message'}</a>
		<p class="group-sub"><code class="faint">${group.sqlstate}</code><span class="group-job clip" title=${group.job}><bdi>${shortName(group.job)}</bdi></span>
			${group.queues.map((q) => html`<a class="tag" key=${q} href=${href('jobs', { state: 'failed', q: `queue:${q}` })} title=${`Failed jobs of queue ${q}`}>${q}</a>`)}<a class="group-sample" href=${href('job', {}, group.sample_id)}>newest: <span class="number">${group.sample_id}</span></a></p>
		${sample !== first && html`<p class="group-sub faint"><span class="clip" dir="auto"><bdi>${sample}</bdi></span></p>`}</div>`;
}

const COLUMNS = [
	{ name: 'what', label: 'Error', class: 'main col-what', render: (g) => html`<${What} group=${g} />` },
	{ name: 'jobs', label: 'Jobs', class: 'right col-jobs', render: (g) => html`<strong class="number group-count">${num(g.jobs)}</strong>` },
	{ name: 'spark', label: 'Last 24 hours', class: 'col-spark', render: (g) => html`<${Spark} points=${g.histogram} bars kind="bad" width=${120} height=${26} label=${`Failures in each of the last 24 hours: ${g.histogram.join(', ')}`} />` },
	{ name: 'first', label: 'First', class: 'right col-time', render: (g) => html`<${Time} t=${g.first_at} />` },
	{ name: 'last', label: 'Last', class: 'right col-time', render: (g) => html`<${Time} t=${g.last_at} />` },
	{ name: 'actions', title: 'Actions', class: 'right col-actions', render: (g) => (readOnly() ? null : html`<span class="actions">
		<${BulkButton} action="requeue" query=${g.query} fromState="failed" title=${`Requeue ${plural(g.jobs, 'failed job')}`} />
		<${BulkButton} action="delete" query=${g.query} fromState="failed" title=${`Delete ${plural(g.jobs, 'failed job')}`} quiet hideLabel label="Delete the group" /></span>`) }
];

export default function Page({ route }) {
	const sort = route.params.sort === 'last' ? 'last' : 'jobs';
	const { data, ms, error } = useData('failures', { sort }, { refresh: true });
	const rows = data?.rows;
	return html`<${PageHead} title="Failures" ms=${ms} sub=${data && data.rows.length > 0 && html`<span>${data.complete ? '' : 'The newest '}${plural(data.jobs, 'failed job')} in ${plural(data.groups, 'group')}${!data.complete && '; older ones are not counted, but a group is requeued and deleted as a whole'}</span>`} />
		<${ErrorBox} error=${error} />
		${rows?.length > 1 && html`<${Tabs} label="Order" items=${[{ label: 'Most jobs first', href: href('failures'), current: sort === 'jobs' }, { label: 'Failed last first', href: href('failures', { sort: 'last' }), current: sort === 'last' }]} />`}
		${!data && !error ? html`<${Loading} lines=${8} />` : data && html`<${Card}><${Table} label="Groups of failures" class="groups" columns=${COLUMNS} rows=${rows} onOpen=${(g) => go('jobs', { state: 'failed', q: terms(g.query).filter((t) => t.qualifier !== 'state').map((t) => t.text).join(' ') })}
			empty=${html`<${Empty} icon="check" title="Nothing has failed" hint="Jobs that fail with no retry left are listed here, grouped by their errors, until somebody requeues or deletes them." />`} /></${Card}>`}
		${data && data.groups > 200 && html`<p class="faint small-text group-foot"><${Icon} name="info" size=${13} /> ${num(data.groups - 200)} smaller groups are not shown.</p>`}`;
}
