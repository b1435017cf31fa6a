# The pure modules of the dashboard's page, run by node: how times, durations and numbers are written, the series of the charts,
# the lanes and marks of the strips. A browser is not needed for these, nor a server.
use strict;
use warnings;
use Cwd 'abs_path';
use File::Basename 'dirname';
use File::Copy 'copy';
use PostgreSQL::Test::Utils;
use Test::More;

my $web = abs_path(dirname(__FILE__) . '/../../src/dashboard/web');
my $folder = PostgreSQL::Test::Utils::tempdir();

# node takes files as modules where package.json says so
append_to_file("$folder/package.json", '{"type": "module"}');
copy("$web/$_.js", "$folder/$_.js") or die "$_: $!" for qw(format series lanes runmarks);
append_to_file("$folder/test.js", do { local $/; <DATA> });

my ($out, $err) = run_command([ 'env', 'TZ=UTC', 'LC_ALL=C', 'node', "$folder/test.js" ]);
is($err, '', 'the modules run without a message');
my $tests = 0;
for (split /\n/, $out)
{
	my ($got, $wanted, $name) = split /\t/;
	is($got, $wanted, $name);
	$tests++;
}
cmp_ok($tests, '>', 40, 'all of the modules\' tests have run');
done_testing();

__DATA__
import * as format from './format.js';
import { filled, rates } from './series.js';
import { lanesOf, merged, shownOf, ticks } from './lanes.js';
import * as strip from './runmarks.js';

// narrow spaces are shown as _
const show = (value) => (typeof value === 'string' ? value : JSON.stringify(value)).replaceAll('\u202f', '_');
const is = (got, wanted, name) => console.log([show(got), show(wanted), name].join('\t'));

for (const [ms, text] of [[null, '–'], ['', '–'], ['x', '–'], [0, '0 ms'], [0.0004, '1 µs'], [0.84, '840 µs'], [1.25, '1.3 ms'], [3, '3 ms'], [12.4, '12 ms'],
	[999.4, '999 ms'], [999.6, '1 s'], [3210, '3.2 s'], [59949, '59.9 s'], [59951, '1 m'], [250000, '4 m 10 s'], [3600000, '1 h'], [90061000, '1 d 1 h'],
	[86400000 * 400, '400 d'], [-1500, '−1.5 s'], ['1500', '1.5 s']])
	is(format.duration(ms), text, `a duration of ${ms} ms`);

for (const [n, text] of [[null, '–'], [0, '0'], [999, '999'], [1234, '1_234'], [-1234567, '−1_234_567'], ['9223372036854775807', '9_223_372_036_854_775_807'],
	['9007199254740993', '9_007_199_254_740_993'], [0.5, '0.5'], [12.345, '12.35'], ['a', 'a']])
	is(format.num(n), text, `the number ${n}, exactly`);

for (const [n, text] of [[0, '0'], [7, '7'], [0.25, '0.3'], [950, '950'], [1234, '1.2k'], [38000, '38k'], [4100000, '4.1M'], [999999, '1M'], ['x', '–']])
	is(format.compact(n), text, `the number ${n}, in short`);

for (const [n, text] of [[0, '0 B'], [1023, '1023 B'], [1536, '1.5 kB'], [5242880, '5 MB'], [12345678901, '11 GB'], [undefined, '–']])
	is(format.bytes(n), text, `a size of ${n} bytes`);

const noon = Date.parse('2026-01-02T12:00:00Z');
for (const [at, text] of [['2026-01-02T11:59:59.5Z', 'now'], ['2026-01-02T11:59:48Z', '12 s ago'], ['2026-01-02T12:03:01Z', 'in 3 m'], ['2025-12-31T12:00:00Z', '2 d ago'],
	['infinity', 'infinity'], [null, '–']])
	is(format.relative(at, noon), text, `how long ago ${at} is`);

for (const [per, text] of [['00:01:00', 'minute'], ['00:00:30', '30 seconds'], ['02:00:00', '2 hours'], ['1 day', '1 day'], ['00:00:00.5', '0.5 s'], [null, '']])
	is(format.spanText(per), text, `the interval ${per}`);
is(format.plural('1', 'job'), '1 job', 'one is singular, also as text');
is(format.plural(2000, 'retry', 'retries'), '2_000 retries', 'a plural of its own');

const start = Date.parse('2026-01-02T12:00:00Z');
const sample = (second, succeeded, failures) => ({ at: start + second * 1000, succeeded, failures });
let [times, succeeded, failed] = rates([sample(0, 10, 0), sample(1, 14, 1), sample(2, 14, 1), sample(20, 100, 9), sample(21, 103, 9), sample(22, 50, 9)]);
is(times.length, 300, 'the rates are those of five minutes');
is(times.at(-1), start / 1000 + 22, 'the last rate is that of the last event');
is(succeeded.slice(-22, -19), [4, 0, null], 'rates are differences of counters, and a gap begins where the events ended');
is(failed.slice(-22, -20), [1, 0], 'so are failures');
is(succeeded.slice(-3), [3, 3, 0], 'after a gap rates go on; a counter that was reset is no negative rate');
is(rates([], start)[1].every((v) => v === null), true, 'without events there are no rates');
[times, succeeded] = rates([sample(0, null, 0), sample(1, null, 0)]);
is(succeeded.at(-1), null, 'what is not counted yet has no rate');

const hours = filled([{ at: '2026-01-02T10:00:00Z', succeeded: 5, failed: '2', p95_latency_ms: 7 }], { bucket: 'hour', buckets: 4 }, start + 60000);
is(hours.times.map((t) => new Date(t * 1000).getUTCHours()), [9, 10, 11, 12], 'the history has all hours up to now');
is(hours.succeeded, [0, 5, 0, 0], 'an hour without a row has no jobs');
is(hours.failed, [0, 2, 0, 0], 'counts may come as text');
is(hours.of('p95_latency_ms'), [null, 7, null, null], 'an hour without jobs has no percentile');
const days = filled([{ at: '2026-01-01T23:00:00Z', succeeded: 5 }], { bucket: 'day', buckets: 2 }, start);
is(days.times.map((t) => new Date(t * 1000).toISOString().slice(0, 13)), ['2025-12-31T23', '2026-01-01T23'], 'days begin when the server\'s do');
is(days.succeeded, [0, 5], 'and have their counts');

const row = (id, state, server, pid, from, to) => [id, 'f', state, server, pid, new Date(start + from).toISOString(), to === null ? null : new Date(start + to).toISOString()];
const lanes = lanesOf([row('1', 'succeeded', 'b', 20, 0, 1000), row('2', 'processing', 'b', 3, 500, null), row('3', 'succeeded', 'gpu', null, -900000, -800000), row('4', 'failed', 'a', 9, 0, 10)],
	[{ server: 'a', pid: 7 }], start + 60000, 300000);
is(lanes.map((l) => l.key), ['a/7', 'a/9', 'b/3', 'b/20'], 'lanes are those of workers that live or did something lately, by server and process');
is(lanes[2].bars[0].to, start + 60000, 'what runs lasts until now');
is(lanes[0].bars, [], 'a worker that did nothing has an empty lane');
const bars = merged([{ id: '1', state: 'succeeded', from: 0, to: 1 }, { id: '2', state: 'succeeded', from: 1.5, to: 2 }, { id: '3', state: 'failed', from: 1.6, to: 2 }, { id: '4', state: 'succeeded', from: 50, to: 90 }], 2);
is(bars.map((b) => [b.id, b.n]), [['1', 2], ['3', 1], ['4', 1]], 'bars closer than a pixel are joined with those of their state alone');
is(shownOf(Array.from({ length: 70 }, (_, i) => ({ key: i, bars: Array(i) }))).length, 60, 'at most 60 lanes are drawn');
is(shownOf(Array.from({ length: 70 }, (_, i) => ({ key: i, bars: Array(i) })))[0].key, 10, 'those that did most, in their order');
is(ticks(start, 300000).length, 6, 'five minutes have six ticks, if they end on one');

// the strips of recurring jobs
is(strip.bands([]), [], 'no runs are no bands');
is(strip.bands([0, 15, 30, 100, 115, 300]), [{ from: 0, to: 30, n: 3 }, { from: 100, to: 100, n: 1 }, { from: 115, to: 115, n: 1 }, { from: 300, to: 300, n: 1 }], 'three runs that stand close together are a band, two are not');
is([strip.place(-1000), strip.place(-480), strip.place(0), strip.place(960), strip.place(5000)], [0, 0, 1 / 3, 1, 1], 'places are within the strip');
const past = { since: null, runs: [[-600, 'failed'], [-90, 'succeeded'], [-60, 'failed'], [-30, 'succeeded'], [-15, 'succeeded'], [0, 'succeeded']] };
is(strip.marks(past), { succeeded: [{ from: -90, to: -90, n: 1 }, { from: -30, to: 0, n: 3 }], others: [{ at: -60, state: 'failed' }], unknown: null },
	'runs that have succeeded are bands, the others marks; what is older than the strip is left out');
is(strip.marks({ ...past, since: -100 }).unknown, { from: -480, to: -100 }, 'what is not all known is a band of its own');
is(strip.marks({ ...past, since: -100 }, -200).unknown, { from: -200, to: -100 }, 'it begins when the recurring job was added');
is(strip.marks({ ...past, since: -500 }).unknown, null, 'beyond the strip it is none');
is(strip.counted(past), '4 succeeded, 2 failed', 'runs are counted in words');
is(strip.moved({ since: -10, runs: [[-5, 'failed']] }, 2), { since: -12, runs: [[-7, 'failed']] }, 'a strip moves with the time');
is(strip.moved({ since: null, runs: [] }, 2), { since: null, runs: [] }, 'an empty one, too');
is(strip.arrayOf(['a', 'b "c"\\d', '{e,f}']), '{"a","b \\"c\\"\\\\d","{e,f}"}', 'names become an array');
const at = Date.parse('2026-11-30T12:00:00Z');
const job = (name, minutes, last_state = 'succeeded') => ({ name, last_state, last_job_id: name, last_run_at: new Date(at - minutes * 60e3).toISOString() });
const list = [job('a', 1), job('b', 2), job('c', 3), job('old', 500), { name: 'never', last_run_at: null }];
const known = new Map([['a', { seen: 'a succeeded', at: 500, since: -20, runs: [[-20, 'failed']] }], ['b', { seen: 'b processing', at: 1000, since: null, runs: [] }]]);
const asked = (now) => strip.wanted(list, known, (r) => r.name, { at, now }).map((r) => r.name);
is(asked(10000), ['c'], 'runs are asked for where none are known');
is(asked(20000), ['c', 'b'], 'and after a while where the job has run since');
is(asked(61000), ['c', 'a', 'b'], 'and later where there was no time to look for all');
is(strip.wanted(Array.from({ length: 60 }, (_, i) => job(String(i), 1)), new Map(), (r) => r.name, { at, now: 0 }).length, 40, 'not of all at once');
is(strip.ticks(at), [-360, 360, 720], 'the axis names each sixth hour');
is(strip.ticks(Date.parse('2026-11-30T13:20:00Z')), [280, 640], 'but none beside now, nor at the edge');
