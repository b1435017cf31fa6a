// Times, durations and numbers as text. Pure, but for the offset between the server's clock and the browser's.
//
// Times come as ISO text of timestamptz, and are shown in the viewer's zone. Counts may come as strings: a bigint beyond 2^53
// is exact only so, and is never turned into a number here.

let offset = 0;

// setServerTime notes how far the server's clock is ahead of the browser's, if that is more than a second.
export function setServerTime(at) {
	const difference = at - Date.now();
	if (Number.isFinite(difference)) offset = Math.abs(difference) > 1000 ? difference : 0;
}

// now returns the server's time in milliseconds.
export const now = () => Date.now() + offset;

const UNITS = [['d', 86400], ['h', 3600], ['m', 60], ['s', 1]];

// duration writes milliseconds in at most two units: "840 µs", "12 ms", "3.2 s", "4 m 10 s", "2 d 3 h".
export function duration(ms) {
	if (ms === null || ms === undefined || ms === '' || !Number.isFinite(Number(ms))) return '–';
	ms = Number(ms);
	if (ms < 0) return `−${duration(-ms)}`;
	if (ms === 0) return '0 ms';
	if (ms < 1) return `${Math.max(1, Math.round(ms * 1000))} µs`;
	if (ms < 10) return `${trim(ms.toFixed(1))} ms`;
	if (ms < 999.5) return `${Math.round(ms)} ms`;
	if (ms < 59950) return `${trim((ms / 1000).toFixed(1))} s`;
	let seconds = Math.round(ms / 1000);
	const first = UNITS.findIndex(([, size]) => seconds >= size);
	const [unit, size] = UNITS[first];
	const whole = Math.floor(seconds / size);
	if (unit === 'd' && whole >= 100) return `${num(whole)} d`;
	seconds -= whole * size;
	const [nextUnit, nextSize] = UNITS[first + 1];
	const rest = Math.floor(seconds / nextSize);
	return rest ? `${whole} ${unit} ${rest} ${nextUnit}` : `${whole} ${unit}`;
}

const trim = (text) => text.replace(/\.0$/, '');

// relative writes a time as a distance from now: "12 s ago", "in 3 m".
export function relative(at, from = now()) {
	const time = Date.parse(at);
	if (Number.isNaN(time)) return String(at ?? '–');
	const difference = time - from;
	if (Math.abs(difference) < 1000) return 'now';
	const text = coarse(Math.abs(difference));
	return difference < 0 ? `${text} ago` : `in ${text}`;
}

// coarse writes milliseconds in one unit, which is what a glance needs.
export function coarse(ms) {
	const seconds = Math.floor(ms / 1000);
	for (const [unit, size] of UNITS) {
		if (seconds >= size) return `${num(Math.floor(seconds / size))} ${unit}`;
	}
	return '0 s';
}

const exactFormat = new Intl.DateTimeFormat(undefined, {
	year: 'numeric', month: 'short', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3,
	hourCycle: 'h23', timeZoneName: 'short'
});
const clockFormat = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const dayFormat = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric' });

function dated(format, at) {
	const date = new Date(at);
	return Number.isNaN(date.getTime()) ? String(at ?? '–') : format.format(date);
}

// exact writes a time to the millisecond, with its zone. clock and day write parts of it.
export const exact = (at) => dated(exactFormat, at);
export const clock = (at) => dated(clockFormat, at);
export const day = (at) => dated(dayFormat, at);

// num writes a whole number with separators, exactly, also if it comes as text. Other numbers get up to two digits.
export function num(n) {
	if (n === null || n === undefined || n === '') return '–';
	const text = String(n);
	if (/^-?\d+$/.test(text)) return text.replace(/\B(?=(\d{3})+$)/g, '\u202f').replace(/^-/, '−');
	return Number.isFinite(Number(n)) ? trim(Number(n).toFixed(2).replace(/0$/, '')) : text;
}

// compact writes a number in at most four characters: 950, 1.2k, 38k, 4.1M.
export function compact(n) {
	n = Number(n);
	if (!Number.isFinite(n)) return '–';
	for (const [size, unit] of [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']]) {
		if (Math.abs(n) >= size * 0.9995) return `${trim((n / size).toFixed(Math.abs(n) < size * 9.995 ? 1 : 0))}${unit}`;
	}
	return trim(n.toFixed(n !== 0 && Math.abs(n) < 9.95 && !Number.isInteger(n) ? 1 : 0));
}

// bytes writes a size in binary units.
export function bytes(n) {
	n = Number(n);
	if (!Number.isFinite(n)) return '–';
	let unit = 0;
	while (n >= 1023.5 && unit < 4) { n /= 1024; unit++; }
	return `${trim(n.toFixed(unit && n < 9.95 ? 1 : 0))} ${['B', 'kB', 'MB', 'GB', 'TB'][unit]}`;
}

// plural writes a count with its noun: "1 job", "12 jobs".
export const plural = (n, one, many = `${one}s`) => `${num(n)} ${String(n) === '1' ? one : many}`;

// spanText writes an interval as people say it: 00:01:00 is "minute", 00:00:30 "30 s".
export function spanText(per) {
	const clockLike = /^(\d+):(\d\d):(\d\d(?:\.\d+)?)$/.exec(per ?? '');
	if (!clockLike) return per ?? '';
	const seconds = Number(clockLike[1]) * 3600 + Number(clockLike[2]) * 60 + Number(clockLike[3]);
	for (const [size, one, many] of [[86400, 'day', 'days'], [3600, 'hour', 'hours'], [60, 'minute', 'minutes'], [1, 'second', 'seconds']]) {
		if (seconds >= size && seconds % size === 0) return seconds === size ? one : `${seconds / size} ${many}`;
	}
	return `${seconds} s`;
}
