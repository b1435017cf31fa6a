// What each worker did in the last minutes, as strips: a lane for each process, a bar for each attempt.
//
// An SVG, scaled to its width; bars that are closer than a pixel are drawn as one. The state of a bar is its colour and, where it
// failed, a notch as well. A table of the same is beneath it, for who cannot see it.

import { html, useEffect, useRef, useState } from './lib.js';
import { href } from './router.js';
import { clock, duration, num, plural } from './format.js';
import { merged, ticks } from './lanes.js';
import { State, Table } from './ui.js';

const LANE = 22;
const AXIS = 22;

const describe = (b) => (b.n > 1 ? `${num(b.n)} attempts, ${b.state}, ${duration(b.sum)} in all` : `${b.job} · job ${b.id}, ${b.state}, ${duration(b.to - b.from)}`);

export function Strips({ lanes, end, span }) {
	const box = useRef(null);
	const [width, setWidth] = useState(0);
	const [over, setOver] = useState(null);
	useEffect(() => {
		const resize = new ResizeObserver(() => setWidth(box.current.clientWidth));
		resize.observe(box.current);
		return () => resize.disconnect();
	}, []);
	const label = width < 520 ? 84 : 148;
	const inner = Math.max(10, width - label - 12);
	const x = (t) => label + Math.max(0, (t - (end - span)) / span * inner);
	const height = AXIS + lanes.length * LANE + 6;
	let server = null;
	const busy = lanes.reduce((n, l) => n + l.bars.length, 0);
	return html`<div class="strips" ref=${box}>
		${width > 0 && html`<svg width=${width} height=${height} viewBox=${`0 0 ${width} ${height}`} role="img" aria-label=${`${plural(busy, 'attempt')} of ${plural(lanes.length, 'worker')} in the last ${duration(span)}. A table of them follows.`}>
			${ticks(end, span).map((t) => html`<g key=${t}><line class="tick" x1=${x(t)} x2=${x(t)} y1=${AXIS - 4} y2=${height} />${x(t) > label + 24 && x(t) < width - 16 && html`<text class="tick-text" x=${x(t)} y="12" text-anchor="middle">${clock(t).slice(0, 5)}</text>`}</g>`)}
			${lanes.map((lane, i) => {
				const y = AXIS + i * LANE;
				const first = lane.server !== server;
				server = lane.server;
				return html`<g key=${lane.key}>${first && i > 0 && html`<line class="rule" x1="0" x2=${width} y1=${y} y2=${y} />`}
					<text class="lane-text" x="16" y=${y + 15}>${first ? html`<tspan class="lane-server">${lane.server}</tspan>` : ''}${lane.pid !== null && label > 100 && html`<tspan x=${label - 12} text-anchor="end">${lane.name}</tspan>`}</text>
					<line class="lane" x1=${label} x2=${label + inner} y1=${y + LANE / 2} y2=${y + LANE / 2} />
					${merged(lane.bars, span / inner).map((b) => html`<rect key=${`${b.id}${b.from}`} class=${`strip ${b.state}`} x=${x(b.from)} y=${y + (b.state === 'failed' ? 3 : 5)} width=${Math.max(1.5, x(b.to) - x(b.from) - 0.5)} height=${LANE - (b.state === 'failed' ? 6 : 10)} rx="2"
						onMouseEnter=${() => setOver({ text: describe(b), x: x(b.from), y })} onMouseLeave=${() => setOver(null)} />`)}</g>`;
			})}</svg>`}
		${over && html`<div class="tip" style=${{ left: `${Math.min(over.x, Math.max(0, width - 260))}px`, top: `${over.y + LANE + 2}px` }}>${over.text}</div>`}</div>`;
}

// StripTable says the same in words: for each worker how many attempts, and the last one.
export function StripTable({ lanes, end, span }) {
	const rows = lanes.map((lane) => {
		const busy = lane.bars.reduce((sum, b) => sum + b.to - Math.max(b.from, end - span), 0);
		return { key: lane.key, lane, busy: Math.min(1, busy / span), last: lane.bars.reduce((a, b) => (!a || b.from > a.from ? b : a), null), failed: lane.bars.filter((b) => b.state === 'failed').length };
	});
	const columns = [
		{ name: 'worker', label: 'Worker', class: 'main', render: (r) => html`${r.lane.server}${r.lane.pid !== null && html` <span class="faint number">${r.lane.pid}</span>`}` },
		{ name: 'attempts', label: 'Attempts', align: 'right', render: (r) => num(r.lane.bars.length) },
		{ name: 'failed', label: 'Failed', align: 'right', render: (r) => num(r.failed) },
		{ name: 'busy', label: 'Busy', align: 'right', render: (r) => `${Math.round(r.busy * 100)} %` },
		{ name: 'last', label: 'Last job', render: (r) => (r.last ? html`<span class="row tight"><${State} s=${r.last.state} /><a href=${href('job', {}, r.last.id)}>${r.last.job}</a></span>` : html`<span class="faint">none</span>`) }
	];
	return html`<details class="strip-table"><summary>As a table</summary><${Table} label="What each worker did" columns=${columns} rows=${rows} rowKey=${(r) => r.key} /></details>`;
}
