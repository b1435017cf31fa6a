// What needs attention: the list on the overview, made from sql/overview.sql. The worst comes first; each entry has a link or an action.

import { html } from './lib.js';
import { href, jobsOf } from './router.js';
import { num, plural } from './format.js';
import { ActionButton, Badge, Empty, Icon, Time } from './ui.js';

const SCHEDULER = {
	missing: ['No scheduler serves this database', 'No job starts here. Is the library in shared_preload_libraries, and the database in bgjob.databases?'],
	disabled: ['bgjob is switched off', 'bgjob.enabled is off: jobs that run end, no others start.'],
	silent: ['The scheduler has not been seen for two minutes', 'The server’s log may say why.'],
	standby: ['This server is a standby', 'Jobs run on the primary server. What is shown here is read only.']
};

// itemsOf turns the answer into entries: {key, kind, icon, title, text, href, action}.
function itemsOf(a, reload) {
	const items = [];
	const add = (kind, icon, key, title, text, rest = {}) => items.push({ kind, icon, key, title, text, ...rest });
	const each = (list, call) => (list ?? []).forEach(call);

	if (a.scheduler) add(a.scheduler === 'standby' ? 'info' : 'bad', 'servers', 'scheduler', ...SCHEDULER[a.scheduler], { href: href('servers') });
	// without a scheduler no queue moves: that is said once
	if (!a.scheduler) each(a.stuck, (s) => add('bad', 'queues', `stuck ${s.queue}`, html`${plural(s.enqueued, 'job')} in <b>${s.queue}</b> cannot start`, [s.detail, s.hint].filter(Boolean).join(' '),
		{ href: jobsOf(s.queue, 'enqueued') }));
	each(a.failures, (f) => add('bad', 'failed', `failed ${f.query}`, html`<span class="number">${num(f.jobs)}${f.complete ? '' : '+'}</span> × <b>${f.job}</b> failed`,
		html`${f.sqlstate && html`<code>${f.sqlstate}</code> `}${f.message} <span class="faint">· <${Time} t=${f.last} /></span>`, { href: href('jobs', { q: f.query }) }));
	each(a.sequences, (s) => add('warn', 'awaiting', `sequence ${s.key} ${s.id}`, html`Sequence <b>${s.key}</b> is blocked`,
		html`Job ${s.id} failed <${Time} t=${s.since} />${s.waiting > 0 ? `; at least ${plural(s.waiting, 'job')} behind it` : ''}. Requeue or delete it.`, { href: href('job', {}, s.id) }));
	each(a.recurring, (r) => add('warn', 'recurring', `recurring ${r.name} ${r.owner}`, r.error ? html`Recurring <b>${r.name}</b> has an error` : html`Recurring <b>${r.name}</b> is overdue`,
		r.error ?? html`It was due <${Time} t=${r.next_run_at} />.`, { href: href('recurring') }));
	each(a.limits, (l) => add('warn', 'limits', `limit ${l.name}`, html`Limit <b>${l.name}</b> is closed`,
		html`${l.closed_until && l.closed_until !== 'infinity' ? html`Opens <${Time} t=${l.closed_until} />` : 'Until it is opened'}${l.waiting > 0 ? `; ${plural(l.waiting, 'job waits', 'jobs wait')}` : ''}.`,
		{ href: href('limits', {}, l.name) }));
	each(a.full_queues, (q) => add('warn', 'queues', `full ${q.queue}`, html`Queue <b>${q.queue}</b> is full`, `${num(q.enqueued)} wait, ${num(q.max_length)} may. Enqueueing fails.`, { href: href('queues') }));
	each(a.paused_queues, (q) => add('info', 'pause', `paused ${q.queue}`, html`Queue <b>${q.queue}</b> is paused`, q.enqueued > 0 ? `${plural(q.enqueued, 'job waits', 'jobs wait')}.` : 'No job waits.',
		{ href: href('queues'), action: html`<${ActionButton} small quiet action="queue_resume" params=${{ name: q.queue }} label="Resume" title=${`Resume queue ${q.queue}`} done=${`Queue ${q.queue} is resumed`} onDone=${reload} />` }));
	each(a.paused_servers, (name) => add('info', 'pause', `server ${name}`, html`Server <b>${name}</b> is paused`, 'It starts no jobs.',
		{ href: href('servers'), action: html`<${ActionButton} small quiet action="server_resume" params=${{ name }} label="Resume" title=${`Resume server ${name}`} done=${`Server ${name} is resumed`} onDone=${reload} />` }));
	return items;
}

const WORDS = { bad: 'Broken', warn: 'Blocked', info: 'Note' };

export function Attention({ attention, reload }) {
	const items = itemsOf(attention, reload);
	if (!items.length) return html`<${Empty} title="Nothing needs you" hint="No failed jobs, no blocked sequences, nothing closed or paused." />`;
	return html`<ul class="attention">${items.map((i) => html`<li key=${i.key} class=${i.kind} data-row=${i.key}>
		<${Icon} name=${i.icon} label=${WORDS[i.kind]} /><div class="attention-text"><a href=${i.href}>${i.title}</a><p class="muted">${i.text}</p></div>${i.action}</li>`)}</ul>`;
}

export const attentionCount = (attention) => (attention ? itemsOf(attention, () => {}).length : 0);

// AttentionBadge shows how many entries there are.
export const AttentionBadge = ({ n }) => n ? html`<${Badge} kind="bad">${n}</${Badge}>` : null;
