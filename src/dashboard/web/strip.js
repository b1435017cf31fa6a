// The strip of a recurring job: a day on a line, with the last run, now, and the planned ones.
//
// The window is the same for all rows: four hours back, twenty ahead, from the time at which the server answered. Many runs
// that stand close together become one band. A run beyond the window is named at the edge.

import { html } from './lib.js';
import { clock, coarse, exact, plural } from './format.js';

const BACK = 4 * 3600e3;
const AHEAD = 20 * 3600e3;
const WIDTH = 240;
const HEIGHT = 22;

const x = (t, at) => (t - at + BACK) / (BACK + AHEAD) * WIDTH;

// StripAxis is the head of the column: a few hours, and now.
export function StripAxis({ at }) {
	if (!at) return 'Runs';
	const from = Date.parse(at);
	const hours = [0, 6, 12, 18].map((h) => ({ h, t: from + h * 3600e3 }));
	return html`<span class="visually-hidden">Runs from four hours ago to in twenty hours</span><span class="strip-axis" aria-hidden="true">
		${hours.map(({ h, t }) => html`<span key=${h} style=${{ left: `${x(t, from) / WIDTH * 100}%` }}>${h === 0 ? 'now' : clock(t).slice(0, 5)}</span>`)}</span>`;
}

// words says what the strip shows.
function words(planned, row, at) {
	const last = row.last_run_at ? `last run ${exact(row.last_run_at)}${row.last_state ? `, ${row.last_state}` : ''}` : 'has not run yet';
	if (!row.active) return `Paused; ${last}`;
	if (!row.next_run_at) return `No next run; ${last}`;
	const many = planned.length >= 49 ? 'more than 48 runs' : plural(planned.length, 'run');
	return `${many} until ${exact(at + AHEAD)}; next ${exact(row.next_run_at)}; ${last}`;
}

export function Strip({ at, row }) {
	const from = Date.parse(at);
	const planned = (row.planned ?? []).map((t) => Date.parse(t));
	const last = row.last_run_at ? Date.parse(row.last_run_at) : null;
	const dense = planned.length >= 49;
	const first = planned.length ? x(planned[0], from) : null;
	const beyond = row.active && row.next_run_at && !planned.length ? coarse(Date.parse(row.next_run_at) - from) : null;
	const label = words(planned, row, from);
	return html`<span class="strip-box" title=${label}><svg class=${`strip ${row.active ? '' : 'off'}`} viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label=${label}>
		<line class="strip-line" x1="0" x2=${WIDTH} y1=${HEIGHT / 2} y2=${HEIGHT / 2} />
		${dense ? html`<rect class="strip-band" x=${first} y=${HEIGHT / 2 - 4} width=${Math.max(2, WIDTH - first)} height="8" rx="2" />`
			: planned.map((t) => html`<rect key=${t} class="strip-run" x=${x(t, from) - 1} y=${HEIGHT / 2 - 5} width="2" height="10" rx="1" />`)}
		${last !== null && last > from - BACK && html`<rect class=${`strip-last ${row.last_state ?? 'deleted'}`} x=${Math.min(WIDTH - 3, x(last, from) - 1.5)} y=${HEIGHT / 2 - 6} width="3" height="12" rx="1" />`}
		<line class="strip-now" x1=${x(from, from)} x2=${x(from, from)} y1="1" y2=${HEIGHT - 1} /></svg>
		${beyond && html`<span class="strip-beyond">in ${beyond} →</span>`}</span>`;
}
