// Page data that keeps itself fresh without moving what the viewer is about to click.
//
// useData(page, params, {refresh, order, every}) → {data, ms, error, loading, held, reload}
//   reload   fetches again and shows the answer, whatever is in use: for the viewer's own actions
//   refresh  true: fetches again when the live stream says that something changed, at most every two seconds, and every 15 s
//            anyway; not while the tab is hidden. 'always': every two seconds, whether something changed or not
//   order    (data) → text: the order of its rows. While a row is under the mouse or focused, an answer with another order is
//            held back, and shown when the pointer leaves. By default the ids or names of data.rows
// While other parameters are fetched, the old data stays, with loading true. A page that is null is not fetched.

import { useCallback, useEffect, useReducer, useRef } from './lib.js';
import { get } from './api.js';
import { useRoute } from './router.js';
import { onLive } from './live.js';

const PERIOD = 2000;
const REST = 15000;

const rowsOf = (data) => JSON.stringify((data?.rows ?? []).map((row) => row.id ?? row.name ?? row.queue));
const rowIsInUse = () => Boolean(document.querySelector('[data-row]:hover, [data-row]:focus-within, [data-row]:focus'));

export function useData(page, params, { refresh = false, order = rowsOf } = {}) {
	const { db } = useRoute();
	const key = JSON.stringify([db, page, params]);
	const [, render] = useReducer((n) => n + 1, 0);
	const ref = useRef(null);
	const state = ref.current ??= { key: null, data: null, ms: null, error: null, loading: true, waiting: null, abort: null, at: 0, changes: null };

	const show = (answer) => {
		Object.assign(state, { data: answer.data, ms: answer.ms, error: null, waiting: null });
		render();
	};
	const load = useCallback(async (quiet, asked) => {
		if (!page) return;
		state.abort?.abort();
		const abort = state.abort = new AbortController();
		const mine = state.key;
		state.at = Date.now();
		if (!quiet) { state.loading = true; render(); }
		try {
			const answer = await get(page, params, abort.signal);
			if (mine !== state.key || abort.signal.aborted) return;
			state.loading = false;
			if (quiet && !asked && state.data && order(answer.data) !== order(state.data) && rowIsInUse()) {
				state.waiting = answer;
				render();
			} else show(answer);
		} catch (error) {
			if (error.name === 'AbortError' || mine !== state.key) return;
			Object.assign(state, { error, loading: false });
			render();
		}
	}, [key]);

	if (state.key !== key) {
		const samePage = state.key && JSON.parse(state.key).slice(0, 2).join() === [db, page].join();
		Object.assign(state, { key, error: null, loading: true, waiting: null, changes: null }, samePage ? {} : { data: null, ms: null });
	}
	useEffect(() => { load(false); return () => state.abort?.abort(); }, [key]);

	useEffect(() => {
		if (!refresh) return undefined;
		let timer = null;
		const soon = () => {
			if (timer || document.hidden) return;
			timer = setTimeout(() => { timer = null; load(true); }, Math.max(0, state.at + PERIOD - Date.now()));
		};
		const stop = onLive((event) => {
			const changed = state.changes !== null && event.changes !== state.changes;
			state.changes = event.changes;
			if (changed || refresh === 'always' || Date.now() - state.at > REST) soon();
		});
		const release = () => { if (state.waiting && !rowIsInUse()) show(state.waiting); };
		document.addEventListener('pointermove', release, { passive: true });
		document.addEventListener('focusout', release);
		const retry = setInterval(() => { if (state.error && !document.hidden) load(true); }, 5000);
		return () => {
			stop();
			clearTimeout(timer);
			clearInterval(retry);
			document.removeEventListener('pointermove', release);
			document.removeEventListener('focusout', release);
		};
	}, [key, refresh]);

	return {
		data: state.data, ms: state.ms, error: state.error, loading: state.loading, held: Boolean(state.waiting),
		reload: () => load(true, true), showHeld: () => state.waiting && show(state.waiting)
	};
}

// useSteadyRows returns rows that come with every event of the live stream, but in their former order while one of them is under
// the mouse or focused: their values go on changing, and none moves or leaves until then.
export function useSteadyRows(rows, keyOf = (row) => row.id) {
	const shown = useRef(rows);
	if (rowIsInUse()) {
		const fresh = new Map(rows.map((row) => [keyOf(row), row]));
		shown.current = shown.current.map((row) => fresh.get(keyOf(row)) ?? row);
	} else {
		shown.current = rows;
	}
	return shown.current;
}

// useEvery calls a function every so many milliseconds while "on" is true and the tab is visible: for what is dear, or changes little.
export function useEvery(call, ms, on = true) {
	const latest = useRef(call);
	latest.current = call;
	useEffect(() => {
		if (!on) return undefined;
		const timer = setInterval(() => { if (!document.hidden) latest.current(); }, ms);
		return () => clearInterval(timer);
	}, [ms, on]);
}
