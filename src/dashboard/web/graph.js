// What a job awaits and what awaits it, as a graph in columns: awaited jobs to the left, continuations to the right.
//
// The nodes are links and buttons in the order of reading, over a drawing of the edges; so the Tab key reaches them, the arrow keys go from
// one to its neighbours, and a screen reader has their text. The same is there as a list; on a narrow screen the list comes first. layout.js folds and
// places. Data: sql/job_graph.sql.

import { html, useEffect, useMemo, useRef, useState } from './lib.js';
import { compact, num } from './format.js';
import { href } from './router.js';
import { NODE, fold, place } from './layout.js';
import { useEvery } from './data.js';
import { isWaiting, shortName } from './jobrow.js';
import { Card, ErrorBox, Icon, State, useData } from './ui.js';

const ORDER = ['failed', 'processing', 'enqueued', 'scheduled', 'awaiting', 'succeeded', 'deleted', 'removed'];
const SHOWN = 60;

const sorted = (counts) => ORDER.filter((s) => counts[s]).map((s) => [s, counts[s]]);
const nameOf = (node) => (node.others ? 'others' : node.label === null ? 'removed' : shortName(node.label));

// summary says a group's states in words: "3 failed, 995 succeeded".
const summary = (counts) => sorted(counts).map(([s, n]) => `${num(n)} ${s}`).join(', ');

function StateBar({ counts, total }) {
	return html`<span class="state-bar" aria-hidden="true">${sorted(counts).map(([s, n]) => html`<span key=${s} class=${`seg ${s}`} style=${{ flexGrow: Math.max(n, total / 40) }}></span>`)}</span>`;
}

function Node({ node, width, current, open, onOpen }) {
	const style = { left: `${node.x}px`, top: `${node.y}px`, width: `${width}px`, height: `${NODE.height}px` };
	const common = { class: `node ${node.kind} ${node.state ?? ''}`, style, 'data-node': node.key };
	if (node.kind === 'signal') return html`<span ...${common} tabindex="0"><span class="node-name"><${Icon} name="link" size=${13} /> <bdi>${node.label}</bdi></span><span class="node-sub faint">signal</span></span>`;
	if (node.kind === 'more') return html`<span ...${common} tabindex="0"><span class="node-name">${node.atLeast ? 'at least ' : ''}${num(node.missing)} more</span><span class="node-sub faint">not drawn</span></span>`;
	if (node.kind === 'batch') return html`<a ...${common} href=${href('batch', {}, node.id)}><span class="node-name"><${Icon} name="batches" size=${13} /> Batch ${node.label}</span><span class="node-sub faint">all of its jobs</span></a>`;
	if (node.kind === 'group') {
		const total = node.members.length;
		const bad = node.counts.failed ?? 0;
		return html`<button type="button" ...${common} aria-expanded=${open} onClick=${onOpen} title=${summary(node.counts)}>
			<span class="node-name"><span class="number">${num(total)} ×</span> <bdi>${nameOf(node)}</bdi></span>
			<span class="node-sub"><${StateBar} counts=${node.counts} total=${total} />${bad ? html`<span class="bad nowrap">${num(bad)} failed</span>` : html`<span class="faint nowrap">${sorted(node.counts)[0][0]}</span>`}</span></button>`;
	}
	return html`<a ...${common} class=${`${common.class} ${node.id === current ? 'this' : ''}`} href=${node.id === current ? null : href('job', {}, node.id)} tabindex="0" aria-current=${node.id === current ? 'true' : null}>
		<span class="node-name" title=${node.label}><bdi>${nameOf(node)}</bdi></span><span class="node-sub">${node.state ? html`<${State} s=${node.state} />` : html`<span class="faint">no more</span>`} <span class="number faint">${node.id}</span></span></a>`;
}

function Edges({ edges, nodeWidth, width, height }) {
	return html`<svg class="edges" width=${width} height=${height} viewBox=${`0 0 ${width} ${height}`} aria-hidden="true" focusable="false">${edges.map((e) => {
		const x1 = e.from.x + nodeWidth;
		const y1 = e.from.y + NODE.height / 2;
		const x2 = e.to.x;
		const y2 = e.to.y + NODE.height / 2;
		const bend = Math.max(16, (x2 - x1) / 2);
		const mark = e.failed ? 'bad' : e.done === e.count ? 'good' : 'open';
		return html`<g key=${e.key} class=${`edge ${mark} ${e.kind}`}><path d=${`M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2 - 5} ${y2}`} /><path class="arrow" d=${`M${x2 - 6} ${y2 - 3.5}L${x2} ${y2}L${x2 - 6} ${y2 + 3.5}z`} />
			${e.count > 1 && html`<text x=${(x1 + x2) / 2} y=${(y1 + y2) / 2 - 5}>${compact(e.count)}</text>`}</g>`;
	})}</svg>`;
}

// Members lists the jobs of a group, failed ones first.
function Members({ node, onClose }) {
	const list = [...node.members].sort((a, b) => ORDER.indexOf(a.state ?? 'removed') - ORDER.indexOf(b.state ?? 'removed'));
	return html`<div class="members"><p><strong>${num(list.length)} × ${nameOf(node)}</strong> <span class="muted">${summary(node.counts)}</span>
			<a class="small-text" href=${href('jobs', { q: `id:${list.slice(0, 200).map((m) => m.id).join()}` })}>${list.length > 200 ? 'The first 200 as a list' : 'As a list'}</a>
			<button type="button" class="button ghost square small" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button></p>
		<ul>${list.slice(0, SHOWN).map((m) => html`<li key=${m.id}><a class=${m.state ?? ''} href=${href('job', {}, m.id)} title=${m.state ?? 'removed'}><${Icon} name=${m.state ?? 'info'} size=${13} label=${m.state ?? 'removed'} /><span class="number">${m.id}</span></a></li>`)}
			${list.length > SHOWN && html`<li class="faint">and ${num(list.length - SHOWN)} more</li>`}</ul></div>`;
}

// AsList is the graph in words: a section for each step, the same groups.
function AsList({ columns, current }) {
	const heading = (level) => (level === 0 ? 'This job' : level === -1 ? 'It awaits' : level === 1 ? 'Awaiting it' : level < 0 ? `${-level} steps before` : `${level} steps behind`);
	return html`<div class="graph-list">${columns.map((column) => html`<section key=${column[0].level}><h3>${heading(column[0].level)}</h3><ul>${column.map((n) => html`<li key=${n.key}>
		${n.kind === 'group' ? html`<details><summary>${num(n.members.length)} × <bdi>${nameOf(n)}</bdi> <span class="muted">${summary(n.counts)}</span></summary>
				<ul class="member-list">${n.members.slice(0, SHOWN).map((m) => html`<li key=${m.id}><${State} s=${m.state} /> <a href=${href('job', {}, m.id)}>${m.id}</a></li>`)}${n.members.length > SHOWN && html`<li class="faint">and ${num(n.members.length - SHOWN)} more</li>`}</ul></details>`
			: n.kind === 'signal' ? html`signal <bdi>${n.label}</bdi>` : n.kind === 'more' ? `${num(n.missing)} more` : n.kind === 'batch' ? html`<a href=${href('batch', {}, n.id)}>Batch ${n.label}</a>`
			: html`<span class="list-node">${n.state && html`<${State} s=${n.state} />`} ${n.id === current ? html`<strong>${nameOf(n)}</strong>` : html`<a href=${href('job', {}, n.id)}><bdi>${nameOf(n)}</bdi></a>`} <span class="faint number">${n.id}</span></span>`}</li>`)}</ul></section>`)}</div>`;
}

export function Graph({ id, show }) {
	const { data, error, reload } = useData('job_graph', { id }, { order: () => '' });
	const [view, setView] = useState(matchMedia('(max-width: 760px)').matches ? 'list' : 'graph');
	const [opened, setOpened] = useState(null);
	const box = useRef(null);
	const [room, setRoom] = useState(700);
	const graph = useMemo(() => {
		if (!data) return null;
		const folded = fold(data, id);
		return { ...folded, ...place(folded, room) };
	}, [data, id, room]);
	useEvery(reload, 10000, Boolean(data?.nodes?.some(([, , , state]) => state === 'processing' || isWaiting(state))));
	const drawn = Boolean(graph) && graph.nodes.length > 1 && view === 'graph';
	useEffect(() => {
		if (!drawn || !box.current) return undefined;
		const observer = new ResizeObserver(() => box.current && setRoom(box.current.clientWidth - 36));
		observer.observe(box.current);
		return () => observer.disconnect();
	}, [drawn]);
	useEffect(() => {
		const own = graph?.nodes.find((n) => n.id === id);
		if (own && box.current) box.current.scrollLeft = own.x - (box.current.clientWidth - graph.nodeWidth) / 2;
	}, [id, drawn, room]);
	if (error) return html`<${Card} title="Antecedents and continuations"><div class="card-body"><${ErrorBox} error=${error} /></div></${Card}>`;
	if (!graph || graph.nodes.length < 2) return show ? html`<${Card} title="Antecedents and continuations"><p class="card-body muted">${data ? 'They have been removed, or have ended long ago.' : 'Loading…'}</p></${Card}>` : null;
	const onKeyDown = (event) => {
		const key = event.target.closest('[data-node]')?.dataset.node;
		const column = graph.columns.findIndex((c) => c.some((n) => n.key === key));
		if (column < 0) return;
		const row = graph.columns[column].findIndex((n) => n.key === key);
		const from = graph.columns[column][row];
		const near = (c) => c && c.reduce((a, b) => (Math.abs(b.y - from.y) < Math.abs(a.y - from.y) ? b : a));
		const next = { ArrowUp: graph.columns[column][row - 1], ArrowDown: graph.columns[column][row + 1], ArrowLeft: near(graph.columns[column - 1]), ArrowRight: near(graph.columns[column + 1]) }[event.key];
		if (!next) return;
		event.preventDefault();
		[...box.current.querySelectorAll('[data-node]')].find((e) => e.dataset.node === next.key)?.focus();
	};
	const group = graph.nodes.find((n) => n.kind === 'group' && n.key === opened);
	const count = (side) => graph.nodes.filter((n) => Math.sign(n.level) === side).reduce((sum, n) => sum + (n.missing ?? (n.members.length || 1)), 0);
	const atLeast = graph.nodes.some((n) => n.atLeast);
	const before = count(-1);
	const after = count(1);
	return html`<${Card} title="Antecedents and continuations" actions=${html`<span class="faint small-text">${before ? `${num(before)} before` : ''}${before && after ? ' · ' : ''}${after ? `${atLeast ? 'at least ' : ''}${num(after)} after` : ''}</span>
			<span class="switch" role="group" aria-label="View">${[['graph', 'Graph'], ['list', 'List']].map(([v, label]) => html`<button key=${v} type="button" class="button small" aria-pressed=${view === v} onClick=${() => setView(v)}>${label}</button>`)}</span>`}>
		${view === 'list' ? html`<${AsList} columns=${graph.columns} current=${id} />`
			: html`<div class="graph-box" ref=${box} onKeyDown=${onKeyDown}><div class="graph" style=${{ width: `${graph.width}px`, height: `${graph.height}px` }}><${Edges} ...${graph} />
				${graph.columns.flat().map((n) => html`<${Node} key=${n.key} node=${n} width=${graph.nodeWidth} current=${id} open=${opened === n.key} onOpen=${() => setOpened(opened === n.key ? null : n.key)} />`)}</div></div>
			${group && html`<${Members} node=${group} onClose=${() => setOpened(null)} />`}`}</${Card}>`;
}
