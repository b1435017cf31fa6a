// The series of the overview's charts, made from counters and from rows of the history. Pure functions.

const WINDOW = 300;

// rates turns counters of each second into rates: [times, succeeded per second, failures per second], over the last five minutes.
// A gap of more than three seconds, as while the tab was hidden, is shown as one.
export function rates(samples, now = Date.now()) {
	const end = Math.floor((samples.at(-1)?.at ?? now) / 1000);
	const times = Array.from({ length: WINDOW }, (_, i) => end - WINDOW + 1 + i);
	const succeeded = Array(WINDOW).fill(null);
	const failed = Array(WINDOW).fill(null);
	for (let i = 1; i < samples.length; i++) {
		const [a, b] = [samples[i - 1], samples[i]];
		const seconds = (b.at - a.at) / 1000;
		const slot = Math.floor(b.at / 1000) - end + WINDOW - 1;
		if (slot < 0 || seconds > 3.5 || seconds <= 0) continue;
		if (a.succeeded !== null && b.succeeded !== null) succeeded[slot] = Math.max(0, b.succeeded - a.succeeded) / seconds;
		if (a.failures !== null && b.failures !== null) failed[slot] = Math.max(0, b.failures - a.failures) / seconds;
		if (slot > 0 && succeeded[slot - 1] === null && seconds < 3.5) [succeeded[slot - 1], failed[slot - 1]] = [succeeded[slot], failed[slot]];
	}
	return [times, succeeded, failed];
}

// filled spreads the rows of the history over all buckets of the span, so that an hour without jobs shows as one.
export function filled(rows, { bucket, buckets }, now = Date.now()) {
	const step = bucket === 'day' ? 86400 : 3600;
	// buckets begin where the server has them begin
	const offset = rows.length ? Date.parse(rows[0].at) / 1000 % step : 0;
	const byTime = new Map(rows.map((r) => [Math.round((Date.parse(r.at) / 1000 - offset) / step), r]));
	const end = Math.floor((now / 1000 - offset) / step);
	const times = Array.from({ length: buckets }, (_, i) => end - buckets + 1 + i);
	const value = (name) => times.map((t) => Number(byTime.get(t)?.[name] ?? 0));
	return { times: times.map((t) => t * step + offset), succeeded: value('succeeded'), failed: value('failed'), of: (name) => times.map((t) => byTime.get(t)?.[name] ?? null) };
}
