// The strip of a recurring job: a day on a line, with what it has done, now, and the planned runs.
//
// The window is the same for all rows: eight hours back, sixteen ahead, from the time at which the server answered (runmarks.js). A run
// that has not succeeded has the shape of its state as well as its colour. A run beyond the window is named at the edge.
//
// The past is fetched apart from the list (sql/recurring_past.sql), since it takes a search for each job: a few jobs at a time, those that have run since.

import { html, useEffect, useReducer, useRef } from '../lib.js';
import { clock, coarse, exact, plural } from '../format.js';
import { get } from '../api.js';
import { BACK, arrayOf, bands, counted, marks, moved, place, seenOf, ticks, wanted } from '../runmarks.js';

const PAUSE = 400;
const AHEAD = 16 * 3600e3;

// The shapes of the states, on a grid of 10.
const SHAPES = { failed: 'M1.5 1.5l7 7M8.5 1.5l-7 7', deleted: 'M1 5h8', processing: 'M2.5 1l6 4-6 4z' };
const WAITS = 'M5 1.5a3.5 3.5 0 1 1 0 7a3.5 3.5 0 1 1 0-7';

const percent = (minutes) => `${(place(minutes) * 100).toFixed(2)}%`;

// usePast returns the past of the rows by key: {since, runs, at}, at being the server's time that it counts from.
export function usePast(data, keyOf) {
	const [, render] = useReducer((n) => n + 1, 0);
	const known = useRef(new Map()).current;
	const latest = useRef(null);
	latest.current = data;
	const busy = useRef(false);
	useEffect(() => {
		let gone = false;
		let timer = null;
		const ask = async () => {
			timer = null;
			const rows = latest.current?.rows ?? [];
			const next = wanted(rows, known, keyOf, { at: Date.parse(latest.current?.at), now: Date.now() });
			if (gone || busy.current || document.hidden || !next.length) return;
			busy.current = true;
			try {
				const { data: answer } = await get('recurring_past', { owners: arrayOf(next.map((r) => r.owner)), names: arrayOf(next.map((r) => r.name)) });
				const seen = new Map(next.map((row) => [keyOf(row), seenOf(row)]));
				for (const row of answer.rows) known.set(keyOf(row), { ...row, seen: seen.get(keyOf(row)), at: Date.now(), from: Date.parse(answer.at) });
				if (!gone && answer.rows.length) { render(); timer = setTimeout(ask, PAUSE); }
			} catch { /* the list says what is wrong, and asks again */ } finally { busy.current = false; }
		};
		ask();
		return () => { gone = true; clearTimeout(timer); };
	}, [data]);
	return known;
}

// StripAxis is the head of the column: a few hours, and now.
export function StripAxis({ at }) {
	if (!at) return 'Runs';
	const from = Date.parse(at);
	return html`<span class="visually-hidden">Runs from eight hours ago to in sixteen hours</span><span class="runs-axis" aria-hidden="true">
		${[0, ...ticks(from)].map((m) => html`<span key=${m} style=${{ left: percent(m) }}>${m === 0 ? 'now' : clock(from + m * 60e3).slice(0, 5)}</span>`)}</span>`;
}

// words says what the strip shows.
function words(planned, past, row, at) {
	const last = row.last_run_at ? `last run ${exact(row.last_run_at)}${row.last_state ? `, ${row.last_state}` : ''}` : 'has not run yet';
	const before = past?.runs.length ? `${past.since === null ? 'In the last eight hours' : 'Latest runs'}: ${counted(past)}; ` : '';
	if (!row.active) return `${before}Paused; ${last}`;
	if (!row.next_run_at) return `${before}No next run; ${last}`;
	const close = planned.some((t, i) => i && t - planned[i - 1] <= 16);
	return `${before}${close ? 'Many runs' : plural(planned.length, 'run')} until ${exact(at + AHEAD)}; next ${exact(row.next_run_at)}; ${last}`;
}

const Band = ({ from, to, n, class: kind }) => html`<span class=${`${n > 1 ? 'runs-band' : 'runs-run'} ${kind}`} style=${{ left: percent(from), width: n > 1 ? `max(3px, ${((place(to) - place(from)) * 100).toFixed(2)}%)` : null }}></span>`;

const Mark = ({ at, state }) => html`<svg class=${`runs-mark ${state}`} style=${{ left: percent(at) }} width="10" height="10" viewBox="0 0 10 10" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round"
	stroke-linejoin="round" aria-hidden="true" focusable="false"><path d=${SHAPES[state] ?? WAITS} /></svg>`;

export function Strip({ at, row, past }) {
	const from = Date.parse(at);
	const planned = row.planned ?? [];
	const beyond = row.active && row.next_run_at && !planned.length ? coarse(Date.parse(row.next_run_at) - from) : null;
	const last = row.last_run_at ? (Date.parse(row.last_run_at) - from) / 60e3 : null;
	const known = past && moved(past, (from - past.from) / 60e3);
	// Until its runs are there, the row itself knows the last one.
	const shown = known ?? (last !== null && last > -BACK ? { since: null, runs: [[Math.min(last, 0), row.last_state ?? 'deleted']] } : { since: null, runs: [] });
	const { succeeded, others, unknown } = marks(shown, (Date.parse(row.created_at) - from) / 60e3);
	const label = words(planned, known, row, from);
	return html`<span class="runs-box" role="img" title=${label} aria-label=${label}><span class=${`runs-line ${row.active ? '' : 'off'}`}></span>
		${unknown && html`<${Band} ...${unknown} n=${2} class="past unknown" />`}
		${succeeded.map((g) => html`<${Band} key=${`s${g.from}`} ...${g} class="past" />`)}
		${bands(planned).map((g) => html`<${Band} key=${`p${g.from}`} ...${g} class="" />`)}
		<span class="runs-now" style=${{ left: percent(0) }}></span>
		${others.map((m, i) => html`<${Mark} key=${`o${i}`} ...${m} />`)}
		${beyond && html`<span class="runs-beyond">in ${beyond} →</span>`}</span>`;
}
