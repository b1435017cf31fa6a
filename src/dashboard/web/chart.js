// Charts over time, drawn by uPlot on a canvas. The library is loaded with the first chart.
//
// <TimeChart label data series height bars format/>
//   data    [times in seconds, values, values, …]; null is a gap
//   series  [{label, colour (a custom property), dash, fill, dots}] for each row of values. With bars, a series is drawn over the one
//           before it: give sums first, and "shown" (values → text) for what the legend says
//   scale   (value → text) writes the axis, format the legend. An axis of durations is logarithmic: waits differ by orders of magnitude
//   dots    of a series: shows values that no line connects
//   label   says in words what the chart shows, for who cannot see it
// The legend above the canvas shows the values under the pointer, else the last ones. Colours follow the theme.

import { html, useEffect, useRef, useState } from './lib.js';
import { clock, compact, day, duration } from './format.js';

let library = null;
const uPlotModule = () => library ??= import('./vendor/uPlot.esm.js').then((module) => module.default);

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const FONT = '11.5px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

// Lines of an axis of milliseconds, each some ten times the one before, which people find round.
const MILLISECONDS = [0.001, 0.01, 0.1, 1, 10, 100, 1000, 10000, 60000, 600000, 3600000, 36000000, 86400000, 864000000, 8640000000];

// around returns the lines next to the lowest and the highest value, at least two.
function around(low, high) {
	const from = Math.max(0, MILLISECONDS.findLastIndex((m) => m <= low));
	const to = MILLISECONDS.findIndex((m) => m >= high);
	return MILLISECONDS.slice(from, Math.max(from + 2, (to < 0 ? MILLISECONDS.length : to) + 1));
}

function axes(scale) {
	const line = { stroke: colour('--line'), width: 1 };
	const common = { stroke: colour('--faint'), font: FONT, ticks: { show: false } };
	return [
		{ ...common, grid: { show: false }, size: 26, gap: 6, space: 70, values: (u, splits, i, space, step) => splits.map((t) => (step >= 86400 ? day(t * 1000) : clock(t * 1000).slice(0, step >= 60 ? 5 : 8))) },
		{ ...common, grid: line, size: scale === compact ? 44 : 58, gap: 8, space: 34, ...(scale === duration ? { filter: (u, splits) => splits, splits: (u, axis, min, max) => MILLISECONDS.filter((m) => m >= min && m <= max) } : {}), values: (u, splits) => splits.map((v) => (v === null ? '' : scale(v))) }
	];
}

// ofTimes is the range of an axis of milliseconds.
function ofTimes(u, min, max) {
	const lines = around(min || 1, max || 1000);
	return [lines[0], lines.at(-1)];
}

// wholeBars leaves room for half a bar before the first one and after the last.
function wholeBars(u, min, max) {
	const times = u.data[0];
	const half = times.length > 1 ? (times[1] - times[0]) * 0.6 : 1800;
	return [min - half, max + half];
}

function options(uPlot, { series, bars, scale, width, height, onHover }) {
	return {
		width, height, padding: [8, 20, 0, 0], legend: { show: false }, axes: axes(scale),
		cursor: { y: false, drag: { setScale: false, x: false, y: false }, points: { show: !bars, size: 7 } },
		scales: { x: { time: true, range: bars ? wholeBars : undefined }, y: scale === duration ? { distr: 3, range: ofTimes } : { range: (u, min, max) => [0, Math.max(bars ? 4 : 1, (max || 0) * 1.12)] } },
		series: [{}, ...series.map((s) => ({
			label: s.label, stroke: bars ? null : colour(s.colour), width: bars ? 0 : 1.75, dash: s.dash, spanGaps: false,
			fill: bars ? colour(s.colour) : s.fill ? `${colour(s.colour)}1c` : null,
			paths: bars ? uPlot.paths.bars({ size: [0.72, 28], radius: 0.12 }) : uPlot.paths.linear(), points: { show: (u, i) => Boolean(s.dots) && u.data[i].filter((v) => v !== null).length <= 2, size: 5, width: 0, fill: colour(s.colour) }
		}))],
		hooks: { setCursor: [(u) => onHover(u.cursor.idx ?? null)] }
	};
}

export function TimeChart({ label, data, series, height = 190, bars, format = compact, scale = compact, empty }) {
	const box = useRef(null);
	const plot = useRef(null);
	const latest = useRef(data);
	const [at, setAt] = useState(null);
	latest.current = data;
	const points = data?.[0]?.length ?? 0;

	useEffect(() => {
		let gone = false;
		let resize = null;
		const make = (uPlot) => {
			if (gone) return;
			plot.current?.destroy();
			plot.current = new uPlot(options(uPlot, { series, bars, scale, width: box.current.clientWidth || 300, height, onHover: setAt }), latest.current, box.current);
		};
		const remake = () => uPlotModule().then(make);
		remake();
		resize = new ResizeObserver(() => plot.current?.setSize({ width: box.current.clientWidth, height }));
		resize.observe(box.current);
		document.addEventListener('bgjob:theme', remake);
		return () => {
			gone = true;
			resize.disconnect();
			document.removeEventListener('bgjob:theme', remake);
			plot.current?.destroy();
			plot.current = null;
		};
	}, [bars, height, series.length]);
	useEffect(() => { plot.current?.setData(data); }, [data]);

	const lastKnown = () => { let i = points - 1; while (i > 0 && data[1][i] === null) i--; return i; };
	const index = at !== null && at < points ? at : lastKnown();
	const order = series.map((s, i) => [s, i]);
	if (bars) order.reverse();
	const moment = points ? data[0][index] * 1000 : null;
	return html`<figure class="chart"><figcaption class="legend">
			${order.map(([s, i]) => html`<span class="legend-item" key=${s.label}><span class=${`swatch ${s.colour.slice(2)} ${s.dash ? 'dashed' : ''}`} aria-hidden="true"></span>${s.label}
				<strong class="number">${points ? (s.shown ? s.shown(index) : format(data[i + 1][index])) : '–'}</strong></span>`)}
			<span class="legend-at faint number">${at !== null && moment ? (bars && data[0][1] - data[0][0] >= 86400 ? day(moment) : clock(moment)) : ''}</span></figcaption>
		<div class="chart-box" ref=${box} role="img" aria-label=${label} style=${{ height: `${height}px` }}></div>
		${!points && empty && html`<p class="chart-empty muted">${empty}</p>`}</figure>`;
}
