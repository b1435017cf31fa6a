// What the strip of a recurring job shows: bands of runs that stand close together, and marks of the others. Pure functions.
//
// Times are minutes from the server's now. A run is [minutes, state] in the past, minutes alone in the future.

export const BACK = 8 * 60;
export const AHEAD = 16 * 60;

// Runs that are no further apart than this become a band.
const CLOSE = 16;

// Only so often are the runs of a job fetched that has new ones all the time, in milliseconds, and those that there was no time to look for.
const FRESH = 15000;
const AGAIN = 60000;

// So many runs the server looks for.
const WHOLE = 32;

// The most jobs of which runs are asked for at once; sql/recurring_past.sql takes no more.
const MOST = 40;

// place returns where a time stands on the strip, from 0 to 1.
export const place = (minutes) => Math.min(1, Math.max(0, (minutes + BACK) / (BACK + AHEAD)));

// bands joins times that stand close together: [{from, to, n}].
export function bands(times) {
	const list = [];
	for (const t of times) {
		const last = list.at(-1);
		if (last && t - last.to <= CLOSE) Object.assign(last, { to: t, n: last.n + 1 });
		else list.push({ from: t, to: t, n: 1 });
	}
	return list.flatMap((g) => g.n > 2 ? [g] : g.n === 2 ? [{ ...g, to: g.from, n: 1 }, { ...g, from: g.to, n: 1 }] : [g]);
}

// marks takes the past apart: bands of runs that have succeeded, a mark for each other run, and between which times the runs are not all
// known (null: they are). There was no run before "created".
export function marks({ since, runs }, created = -BACK) {
	const begin = Math.max(-BACK, created);
	const seen = runs.filter(([at]) => at >= -BACK);
	return {
		succeeded: bands(seen.filter(([, state]) => state === 'succeeded').map(([at]) => at)),
		others: seen.filter(([, state]) => state !== 'succeeded').map(([at, state]) => ({ at, state })),
		unknown: since !== null && since > begin ? { from: begin, to: since } : null
	};
}

// counted says in words what a job has done: "5 succeeded, 1 failed".
export function counted({ runs }) {
	const counts = new Map();
	for (const [, state] of runs) counts.set(state, (counts.get(state) ?? 0) + 1);
	return [...counts].sort(([a], [b]) => (a < b ? 1 : -1)).map(([state, n]) => `${n} ${state}`).join(', ');
}

// seenOf returns what tells whether a row has run since its runs were fetched.
export const seenOf = (row) => `${row.last_job_id} ${row.last_state}`;

const cutShort = ({ since, runs }) => since !== null && runs.length < WHOLE;

// wanted returns the rows of which runs are to be fetched: first those of which none are known. known has {seen, at, since, runs} by key.
export function wanted(rows, known, keyOf, { at, now }) {
	const lately = rows.filter((row) => row.last_run_at && Date.parse(row.last_run_at) > at - BACK * 60e3);
	return lately.map((row) => ({ row, has: known.get(keyOf(row)) }))
		.filter(({ row, has }) => !has || now - has.at >= (has.seen !== seenOf(row) ? FRESH : cutShort(has) ? AGAIN : Infinity))
		.sort((a, b) => (a.has?.at ?? 0) - (b.has?.at ?? 0)).slice(0, MOST).map(({ row }) => row);
}

// moved returns a strip as of a later time, so many minutes later.
export const moved = ({ since, runs }, minutes) => ({ since: since === null ? null : since - minutes, runs: runs.map(([at, state]) => [at - minutes, state]) });

// ticks returns the times of day that an axis names: each six hours in the viewer's zone, but not beside now. In minutes from "at".
export function ticks(at) {
	const list = [];
	const time = new Date(at - BACK * 60e3);
	time.setMinutes(0, 0, 0);
	for (; time.getTime() < at + AHEAD * 60e3; time.setHours(time.getHours() + 1)) {
		const minutes = (time.getTime() - at) / 60e3;
		if (time.getHours() % 6 === 0 && minutes > -BACK + 60 && minutes < AHEAD - 60 && Math.abs(minutes) > 150) list.push(minutes);
	}
	return list;
}

// arrayOf writes texts as an array of PostgreSQL.
export const arrayOf = (texts) => `{${texts.map((t) => `"${t.replace(/["\\]/g, '\\$&')}"`).join()}}`;
