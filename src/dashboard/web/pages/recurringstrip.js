// The strip of a recurring job: a day on a line, with the last run, now, and the planned ones.
//
// The window is the same for all rows: four hours back, twenty ahead, from the time at which the server answered. Runs that stand
// close together become a band. A run beyond the window is named at the edge.

import { html } from '../lib.js';
import { clock, coarse, exact, plural } from '../format.js';

const BACK = 4 * 3600e3;
const AHEAD = 20 * 3600e3;
const WIDTH = 240;
const HEIGHT = 22;

// Runs that are no further apart than this become a band.
const CLOSE = 16 * 60e3;

// x returns where a time stands, given in milliseconds from the server's.
const x = (t) => (t + BACK) / (BACK + AHEAD) * WIDTH;

// StripAxis is the head of the column: a few hours, and now.
export function StripAxis({ at }) {
	if (!at) return 'Runs';
	const from = Date.parse(at);
	const hours = [0, 6, 12, 18];
	return html`<span class="visually-hidden">Runs from four hours ago to in twenty hours</span><span class="runs-axis" aria-hidden="true">
		${hours.map((h) => html`<span key=${h} style=${{ left: `${x(h * 3600e3) / WIDTH * 100}%` }}>${h === 0 ? 'now' : clock(from + h * 3600e3).slice(0, 5)}</span>`)}</span>`;
}

// groups joins runs that stand close together: [{from, to, n}] in milliseconds from the server's time.
function groups(planned) {
	const list = [];
	for (const minutes of planned) {
		const last = list.at(-1);
		const t = minutes * 60e3;
		if (last && t - last.to <= CLOSE) Object.assign(last, { to: t, n: last.n + 1 });
		else list.push({ from: t, to: t, n: 1 });
	}
	return list.flatMap((g) => g.n > 2 ? [g] : g.n === 2 ? [{ ...g, to: g.from, n: 1 }, { ...g, from: g.to, n: 1 }] : [g]);
}

// words says what the strip shows.
function words(planned, row, at) {
	const last = row.last_run_at ? `last run ${exact(row.last_run_at)}${row.last_state ? `, ${row.last_state}` : ''}` : 'has not run yet';
	if (!row.active) return `Paused; ${last}`;
	if (!row.next_run_at) return `No next run; ${last}`;
	const close = planned.some((t, i) => i && (t - planned[i - 1]) * 60e3 <= CLOSE);
	return `${close ? 'Many runs' : plural(planned.length, 'run')} until ${exact(at + AHEAD)}; next ${exact(row.next_run_at)}; ${last}`;
}

export function Strip({ at, row }) {
	const from = Date.parse(at);
	const planned = row.planned ?? [];
	const last = row.last_run_at ? Date.parse(row.last_run_at) - from : null;
	const beyond = row.active && row.next_run_at && !planned.length ? coarse(Date.parse(row.next_run_at) - from) : null;
	const label = words(planned, row, from);
	return html`<span class="runs-box" title=${label}><svg class=${`runs-strip ${row.active ? '' : 'off'}`} viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label=${label}>
		<line class="runs-line" x1="0" x2=${WIDTH} y1=${HEIGHT / 2} y2=${HEIGHT / 2} />
		${groups(planned).map((g) => html`<rect key=${g.from} class=${g.n > 1 ? 'runs-band' : 'runs-run'} x=${x(g.from) - 1} y=${HEIGHT / 2 - (g.n > 1 ? 4 : 5)} width=${x(g.to) - x(g.from) + 2} height=${g.n > 1 ? 8 : 10} rx="1" />`)}
		${last !== null && last > -BACK && html`<rect class=${`runs-last ${row.last_state ?? 'deleted'}`} x=${Math.min(WIDTH - 3, x(last) - 1.5)} y=${HEIGHT / 2 - 6} width="3" height="12" rx="1" />`}
		<line class="runs-now" x1=${x(0)} x2=${x(0)} y1="1" y2=${HEIGHT - 1} /></svg>
		${beyond && html`<span class="runs-beyond">in ${beyond} →</span>`}</span>`;
}
