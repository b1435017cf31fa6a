// The lanes of the strips: whose attempts they are, which are drawn, which bars are joined. Pure functions; strip.js draws them.

// The lanes that are drawn at most.
const MOST = 60;

// lanesOf sorts the attempts by worker: [{key, server, name, bars: [{id, job, state, from, to}]}].
export function lanesOf(rows, workers, end, span) {
	const lanes = new Map();
	const lane = (server, pid) => {
		const key = `${server}/${pid ?? ''}`;
		if (!lanes.has(key)) lanes.set(key, { key, server, name: pid === null ? server : String(pid), pid, bars: [] });
		return lanes.get(key);
	};
	for (const w of workers) lane(w.server, w.pid).alive = true;
	for (const [id, job, state, server, pid, started, finished] of rows) {
		const from = Date.parse(started);
		const to = finished ? Date.parse(finished) : end;
		if (to >= end - span) lane(server, pid).bars.push({ id, job, state, from, to });
	}
	return [...lanes.values()].filter((l) => l.alive || l.bars.length)
		.sort((a, b) => (a.server < b.server ? -1 : a.server > b.server ? 1 : (a.pid ?? 0) - (b.pid ?? 0)));
}

// shownOf returns the lanes that are drawn: all, or those that did most where there are too many.
export function shownOf(lanes) {
	if (lanes.length <= MOST) return lanes;
	const busiest = new Set([...lanes].sort((a, b) => b.bars.length - a.bars.length).slice(0, MOST));
	return lanes.filter((lane) => busiest.has(lane));
}

// merged joins neighbouring bars of a state that are less than a pixel apart. A joined one knows how many it holds.
export function merged(bars, pixel) {
	const out = [];
	const last = new Map();
	for (const bar of [...bars].sort((a, b) => a.from - b.from)) {
		const before = last.get(bar.state);
		if (before && bar.from - before.to < pixel && bar.to - bar.from < pixel * 3 && before.small) {
			before.to = Math.max(before.to, bar.to);
			before.n++;
			before.sum += bar.to - bar.from;
		} else {
			const fresh = { ...bar, n: 1, sum: bar.to - bar.from, small: bar.to - bar.from < pixel * 3 };
			out.push(fresh);
			last.set(bar.state, fresh);
		}
	}
	return out;
}

// ticks returns round moments of the span: every minute, 15 seconds of a short one, 5 minutes of a long one.
export function ticks(end, span) {
	const step = span <= 90000 ? 15000 : span <= 600000 ? 60000 : 300000;
	const first = Math.ceil((end - span) / step) * step;
	return Array.from({ length: Math.floor((end - first) / step) + 1 }, (_, i) => first + i * step);
}
