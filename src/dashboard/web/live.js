// What changes from second to second: one event stream for all components of the page.
//
// The stream of the current database is open while a component uses it and the tab is visible. Each event is the result of
// sql/live.sql. The last five minutes of counters are kept, so the overview's graph is filled as soon as it is opened.

import { useEffect, useState } from './lib.js';
import { base, useRoute } from './router.js';
import { session } from './api.js';
import { setServerTime } from './format.js';

const KEEP_MS = 5 * 60 * 1000 + 5000;
const listeners = new Set();
let source = null;
let database = null;
let last = null;
let state = 'closed';
let samples = [];

function tell() {
	for (const listener of listeners) listener({ data: last, state });
}

// sync opens or closes the stream to fit what is wanted now.
function sync() {
	const wanted = listeners.size > 0 && database !== null && !document.hidden;
	if (wanted && !source) {
		state = 'connecting';
		source = new EventSource(`${base}/api/d/${encodeURIComponent(database)}/live`);
		source.onmessage = receive;
		source.addEventListener('problem', () => { state = 'broken'; tell(); });
		source.addEventListener('end', () => session());
		source.onerror = () => {
			state = 'broken';
			if (source?.readyState === EventSource.CLOSED) {
				// refused: because the session is over, or the program is not ready
				source = null;
				session().catch(() => null).then(() => setTimeout(sync, 5000));
			}
			tell();
		};
	} else if (!wanted && source) {
		source.close();
		source = null;
		state = document.hidden ? 'paused' : 'closed';
		tell();
	}
}

const pick = (stats) => ({ succeeded: stats?.succeeded ?? null, failures: stats?.failures ?? null });

function receive(event) {
	let data;
	try { data = JSON.parse(event.data); } catch { return; }
	if (!data) return;
	last = data;
	state = 'open';
	const at = Date.parse(data.at);
	setServerTime(at);
	samples.push({ at, ...pick(data.stats) });
	while (samples.length && samples[0].at < at - KEEP_MS) samples.shift();
	tell();
}

function setDatabase(name) {
	if (name === database) return;
	database = name;
	last = null;
	samples = [];
	if (source) { source.close(); source = null; }
	sync();
}

document.addEventListener('visibilitychange', sync);

function useStream() {
	const { db } = useRoute();
	const [value, set] = useState({ data: last, state });
	useEffect(() => {
		listeners.add(set);
		setDatabase(db);
		sync();
		set({ data: last, state });
		return () => { listeners.delete(set); sync(); };
	}, [db]);
	return value;
}

// useLive returns the last event's data, null at first: {at, changes, stats, busy, queues, running}.
export const useLive = () => useStream().data;

// useLiveState returns how the stream is: 'open', 'connecting', 'broken', 'paused', 'closed'.
export const useLiveState = () => useStream().state;

// liveSamples returns the events of the last five minutes, the oldest first; at is in milliseconds.
export const liveSamples = () => samples;

// onLive calls a function with each event, outside of rendering; returns a function that ends this.
export function onLive(call) {
	const listener = ({ data }) => data && call(data);
	listeners.add(listener);
	sync();
	return () => { listeners.delete(listener); sync(); };
}
