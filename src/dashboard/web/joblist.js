// The rows of the list of jobs: fetched by pages, kept up to date in place, never moved under the mouse.
//
// useJobs(params) → {rows, ids, looked, next, newer, loading, error, ms, goOn(), showNewer(), reload()}
//
// When the live stream says that something changed, and at most every two seconds:
//   - while the viewer does nothing in the list (no pointer over it, no focus in it, nothing selected, not scrolled, no look further), the first page is fetched
//     anew, so that new rows appear by themselves;
//   - otherwise the rows that are shown are brought up to date where they stand (sql/jobs_now.sql), also those that have left the state of the
//     list, and newer ones are counted.

import { useEffect, useReducer, useRef } from './lib.js';
import { get } from './api.js';
import { onLive } from './live.js';

const PERIOD = 2000;
export const PAGE = 50;

const digest = ({ at, running, ...rest }) => JSON.stringify(rest);

// isAtRest returns whether nobody would be disturbed by rows that move.
function isAtRest(selected) {
	return !selected && scrollY < 40 && !document.querySelector('[data-jobs]:hover, [data-jobs]:focus-within');
}

export function useJobs({ state, q, before, selected }) {
	const [, render] = useReducer((n) => n + 1, 0);
	const ref = useRef(null);
	const list = ref.current ??= { key: null, rows: new Map(), ids: [], looked: 0, next: null, newer: 0, loading: true, error: null, ms: null, at: 0, round: 0 };
	const key = JSON.stringify([state ?? '', q ?? '', before ?? '']);
	list.selected = selected;

	const load = async ({ quiet = false, from = null } = {}) => {
		const round = ++list.round;
		list.at = Date.now();
		if (!quiet) { list.loading = true; render(); }
		try {
			const { data, ms } = await get('jobs', { state, q, before: from ?? before, rows: PAGE });
			if (round !== list.round) return;
			if (from === null) { list.rows = new Map(); list.looked = 0; }
			list.extended = from !== null;
			for (const row of data.rows) list.rows.set(row.id, row);
			Object.assign(list, {
				ids: [...list.rows.keys()], looked: list.looked + Number(data.looked_through), next: data.next, newer: from === null ? 0 : list.newer,
				loading: false, error: null, ms
			});
		} catch (error) {
			if (round !== list.round) return;
			Object.assign(list, { error, loading: false });
		}
		render();
	};
	const follow = async () => {
		const round = list.round;
		list.at = Date.now();
		try {
			const { data } = await get('jobs_now', { ids: `{${list.ids.slice(0, 200).join()}}`, state, q, newest: before ? null : list.ids[0] ?? 0 });
			if (round !== list.round) return;
			const found = new Map(data.rows.map((row) => [row.id, row]));
			for (const id of list.ids.slice(0, 200)) list.rows.set(id, { ...list.rows.get(id), ...(found.get(id) ?? { gone: true }) });
			Object.assign(list, { newer: data.newer, error: null });
			render();
		} catch { /* the next round tries again; the page says nothing, since its rows are still right as of then */ }
	};

	if (list.key !== key) Object.assign(list, { key, rows: new Map(), ids: [], looked: 0, next: null, newer: 0, extended: false, loading: true, error: null });
	useEffect(() => { load(); return () => { list.round++; }; }, [key]);
	useEffect(() => {
		let timer = null;
		let last = null;
		const round = () => {
			timer = null;
			if (document.hidden || list.loading) return;
			if (!before && !list.extended && isAtRest(list.selected)) load({ quiet: true });
			else if (list.ids.length || !before) follow();
		};
		const stop = onLive((event) => {
			const seen = digest(event);
			const changed = last !== null && seen !== last;
			last = seen;
			if ((changed || event.busy > 0) && !timer && !document.hidden) timer = setTimeout(round, Math.max(0, list.at + PERIOD - Date.now()));
		});
		return () => { stop(); clearTimeout(timer); };
	}, [key]);

	return {
		...list, rows: list.ids.map((id) => list.rows.get(id)),
		goOn: () => load({ from: list.next }), showNewer: () => { scrollTo(0, 0); load(); }, reload: () => load({ quiet: true })
	};
}
