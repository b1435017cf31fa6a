// The overview: counts by state, throughput as it happens, what needs attention, what runs, the queues, history, latency.
//
// Counts, running jobs and throughput come from the live stream; the rest from sql/overview.sql and sql/history.sql.

import { html, useEffect, useMemo } from '../lib.js';
import { href, jobsOf, setParams } from '../router.js';
import { liveSamples, useLive, useLiveState } from '../live.js';
import { Attention, AttentionBadge, attentionCount } from '../attention.js';
import { TimeChart } from '../chart.js';
import { filled, rates } from '../series.js';
import { compact, duration, num, plural } from '../format.js';
import { Badge, Bar, Card, Empty, ErrorBox, Icon, Loading, PageHead, Segments, Table, Time, useData, useSteadyRows } from '../ui.js';

const STATES = ['enqueued', 'scheduled', 'awaiting', 'processing', 'succeeded', 'failed', 'deleted'];
const WORDS = { enqueued: 'Enqueued', scheduled: 'Scheduled', awaiting: 'Awaiting', processing: 'Processing', succeeded: 'Succeeded', failed: 'Failed', deleted: 'Deleted' };

// The numbers of succeeded and deleted jobs are those that are kept, as the list has them; the note says how many there ever were.
function Stat({ state, stats }) {
	const ever = { succeeded: stats?.succeeded, deleted: stats?.deleted }[state] ?? null;
	const count = { succeeded: stats?.kept_succeeded, deleted: stats?.kept_deleted }[state] ?? stats?.[state] ?? null;
	// What waits, runs or has failed is counted for the roles that the viewer sees; the rest is not.
	const ofAll = stats && !stats.sees_all && ['awaiting', 'succeeded', 'deleted'].includes(state);
	const note = ofAll ? 'of all roles' : state === 'scheduled' && stats?.retries > 0 && stats.sees_all ? plural(stats.retries, 'retry', 'retries') : ever !== null && ever !== count ? `${compact(ever)} ever` : '';
	return html`<a class="stat" href=${href('jobs', { state })}><span class=${`stat-name ${state}`}><${Icon} name=${state} />${WORDS[state]}</span>
		<span class="stat-value number" title=${stats && count === null ? 'Not counted yet' : num(count)}>${count === null ? '–' : count < 100000 ? num(count) : compact(count)}</span>
		<span class="stat-note" title=${ever === null ? null : num(ever)}>${note}</span></a>`;
}

const States = ({ stats }) => html`<nav class="card states" aria-label="Jobs by state">${STATES.map((s) => html`<${Stat} key=${s} state=${s} stats=${stats} />`)}</nav>`;

const LINES = [{ label: 'Succeeded', colour: '--good', fill: true }, { label: 'Failed attempts', colour: '--bad', dash: [5, 3] }];

function Throughput({ live }) {
	const state = useLiveState();
	const data = useMemo(() => rates(liveSamples()), [live]);
	const last = (list) => list.findLast((v) => v !== null);
	const label = `Jobs per second in the last five minutes. Now ${compact(last(data[1]) ?? 0)} succeeded, ${compact(last(data[2]) ?? 0)} failed.`;
	return html`<${Card} class="two-thirds" title="Throughput" actions=${html`<span class="faint small-text">per second, last 5 minutes${state === 'open' ? '' : ', paused'}</span>`}>
		<div class="card-body"><${TimeChart} label=${label} data=${data} series=${LINES} height=${250} format=${(v) => (v === null ? '–' : compact(v))} /></div></${Card}>`;
}

function Running({ live }) {
	const rows = useSteadyRows(live?.running?.slice(0, 20) ?? []);
	const total = live?.stats?.processing ?? rows.length;
	const columns = [
		{ name: 'job', label: 'Job', class: 'main', render: (r) => html`<a class="job-link" href=${href('job', {}, r.id)}>${r.job}</a>` },
		{ name: 'queue', label: 'Queue', render: (r) => html`<span class="muted">${r.queue}</span>` },
		{ name: 'progress', label: 'Progress', class: 'progress-column', render: (r) => (r.progress === null || r.progress === undefined ? null : html`<${Bar} value=${r.progress} max=${100} label=${`Progress of job ${r.id}`} text=${`${Math.floor(r.progress)} %`} />`) },
		{ name: 'message', label: 'Says', class: 'note-column', render: (r) => r.progress_message && html`<span class="clip muted" title=${r.progress_message}>${r.progress_message}</span>` },
		{ name: 'server', label: 'Server', class: 'server-column wide-only', render: (r) => html`<span class="muted nowrap">${r.server}</span>` },
		{ name: 'started_at', label: 'Started', align: 'right', render: (r) => html`<span class="muted"><${Time} t=${r.started_at} /></span>` }
	];
	return html`<${Card} class="two-thirds" title=${html`Running now <span class="count">${live ? num(total) : ''}</span>`} actions=${total > rows.length && html`<a href=${href('jobs', { state: 'processing' })}>All ${num(total)}</a>`}>
		<${Table} class="compact" label="Jobs that run now" columns=${columns} rows=${rows} rowHref=${(r) => href('job', {}, r.id)}
			empty=${live ? html`<${Empty} icon="processing" title="No job runs" hint="A job starts as soon as one is enqueued." />` : html`<${Loading} />`} /></${Card}>`;
}

function Queues({ data }) {
	const rows = data.queues ?? [];
	const deepest = Math.max(1, ...rows.map((r) => r.enqueued ?? 0));
	const columns = [
		{ name: 'queue', label: 'Queue', class: 'main', render: (r) => html`<a class="job-link" href=${jobsOf(r.queue)}>${r.queue}</a>${r.paused && html` <${Badge} kind="warn" icon="pause">paused</${Badge}>`}` },
		{ name: 'enqueued', label: 'Waiting', class: 'depth-column', render: (r) => html`<${Bar} value=${r.enqueued ?? 0} max=${deepest} label=${`Jobs that wait in ${r.queue}`} text=${num(r.enqueued)} kind=${r.paused ? 'warn' : ''} />` },
		{ name: 'oldest', label: 'Oldest', align: 'right', render: (r) => (r.oldest_enqueued_at ? html`<span class="muted"><${Time} t=${r.oldest_enqueued_at} /></span>` : html`<span class="faint">–</span>`) }
	];
	return html`<${Card} class="third" title="Queues" actions=${html`<a href=${href('queues')}>${data.queues_total > rows.length ? `All ${num(data.queues_total)}` : 'All'}</a>`}>
		<${Table} class="compact" label="The deepest queues" columns=${columns} rows=${rows} rowKey=${(r) => r.queue} empty=${html`<${Empty} icon="queues" title="No queue has jobs" />`} /></${Card}>`;
}

const SPANS = { day: { bucket: 'hour', buckets: 24, title: 'Day' }, week: { bucket: 'hour', buckets: 168, title: 'Week' }, months: { bucket: 'day', buckets: 60, title: '60 days' } };

const PERCENTS = ['50', '95', '99'];

function History({ span, percent }) {
	const chosen = SPANS[span];
	const { data, error, reload } = useData('history', { bucket: chosen.bucket, buckets: chosen.buckets });
	useEffect(() => { const timer = setInterval(() => document.hidden || reload(), 60000); return () => clearInterval(timer); }, [span]);
	const h = useMemo(() => filled(data?.rows ?? [], chosen), [data, span]);
	const sum = (list) => list.reduce((a, b) => a + b, 0);
	const counts = useMemo(() => [h.times, h.succeeded.map((v, i) => v + h.failed[i]), h.succeeded], [h]);
	const times = useMemo(() => [h.times, h.of(`p${percent}_latency_ms`), h.of(`p${percent}_duration_ms`)], [h, percent]);
	const series = [
		{ label: 'Failed', colour: '--bad', shown: (i) => num(h.failed[i]) },
		{ label: 'Succeeded', colour: '--good', shown: (i) => num(h.succeeded[i]) }
	];
	const choose = (change) => setParams({ span: span === 'day' ? null : span, percent: percent === '95' ? null : percent, ...change });
	const tabs = html`<${Segments} label="Time span" items=${Object.entries(SPANS).map(([value, s]) => ({ value, label: s.title }))} value=${span} onChange=${(v) => choose({ span: v === 'day' ? null : v })} />`;
	const percents = html`<${Segments} label="Percentile" items=${PERCENTS.map((value) => ({ value, label: `${value} %` }))} value=${percent} onChange=${(v) => choose({ percent: v === '95' ? null : v })} />`;
	return html`<${Card} class="two-thirds" title="History" actions=${tabs}><div class="card-body">${error ? html`<${ErrorBox} error=${error} />`
			: html`<${TimeChart} key=${span} bars label=${`Jobs by ${chosen.bucket}: ${num(sum(h.succeeded))} succeeded, ${num(sum(h.failed))} failed in all.`} data=${counts} series=${series} height=${202} />`}</div></${Card}>
		<${Card} class="third" title="Latency" actions=${percents}><div class="card-body">${error ? html`<p class="muted">Not known.</p>`
			: html`<${TimeChart} key=${span} label=${`The ${percent}th percentile of waiting and of running in the slowest queue, by ${chosen.bucket}.`} data=${times} series=${LATENCY} height=${180} scale=${duration} format=${(v) => (v === null ? '–' : duration(v))} /><p class="faint chart-note">${percent} % are quicker, in the slowest queue of each ${chosen.bucket}.</p>`}</div></${Card}>`;
}

const LATENCY = [{ label: 'Waited', colour: '--warn', dash: [5, 3], dots: true }, { label: 'Ran', colour: '--accent', dots: true }];

// placesOf tells which rows stand where, so that none moves under the mouse.
const placesOf = (d) => JSON.stringify([d.queues, ...Object.values(d.attention)].map((list) => (Array.isArray(list) ? list.map((r) => r.queue ?? r.query ?? r.key ?? r.name ?? r) : list)));

export default function Overview({ route }) {
	const live = useLive();
	const { data, ms: took, error, loading, reload } = useData('overview', {}, { refresh: true, order: placesOf });
	const n = attentionCount(data?.attention);
	return html`<${PageHead} title="Overview" ms=${took} />
		${error && html`<${ErrorBox} error=${error} />`}
		${(data || loading) && html`<div class="grid"><${States} stats=${live?.stats} /><${Throughput} live=${live} />
			<${Card} class="third" title=${html`Needs attention <${AttentionBadge} n=${n} />`}>${data ? html`<${Attention} attention=${data.attention} reload=${reload} />` : loading && html`<${Loading} />`}</${Card}>
			<${History} span=${SPANS[route.params.span] ? route.params.span : 'day'} percent=${PERCENTS.includes(route.params.percent) ? route.params.percent : '95'} />
			<${Running} live=${live} />${data ? html`<${Queues} data=${data} />` : html`<${Card} class="third" title="Queues"><${Loading} /></${Card}>`}</div>`}`;
}
