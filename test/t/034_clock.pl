# The clock is set while the server runs (test/t/lib/fakeclock.c): skipped occurrences count as missed, and times
# computed while the clock was ahead are recomputed.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use FakeClock;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = clock_cluster('clock', 0);
sub value { my ($query) = @_; return $node->safe_psql('postgres', $query) }

value(q{CREATE FUNCTION nothing() RETURNS void LANGUAGE plpgsql AS 'BEGIN END';
	CREATE VIEW runs AS SELECT id, recurring_name AS name, (parameters->>'scheduled_for')::timestamptz AS at FROM bgjob.jobs WHERE recurring_name IS NOT NULL});
value(qq{SELECT bgjob_recurring('$_', '10 minutes', 'nothing', misfire => '$_')}) for qw(once all skip);
value(q{SELECT bgjob_recurring('second', '@every_second', 'nothing', misfire => 'skip')});
value(q{SELECT bgjob_enqueue('nothing', delay => '30 minutes', tags => '{delayed}')});
wait_until($node, q{SELECT count(*) >= 3 FROM runs WHERE name = 'second'}, 'the cluster runs under the false clock');
is(value(q{SELECT count(*) FROM runs WHERE name <> 'second' AND at > now()}), 0, 'recurring jobs of every ten minutes are not due');

# Forward by 65 minutes: each recurring job has missed six or seven occurrences.
my $before = value('SELECT clock_timestamp()');
my $start  = value(q{SELECT to_timestamp(ceil(extract(epoch FROM clock_timestamp()) / 600) * 600)});
set_clock(65 * 60);
my $after = value('SELECT clock_timestamp()');
is(value(qq{SELECT '$after'::timestamptz - '$before' > '64 min'}), 't', 'the clock of the server is set forward');
wait_until($node, qq{SELECT count(*) >= 1 FROM runs WHERE name = 'once' AND at > '$before'}, 'misfire once: one job runs');
wait_until($node, qq{SELECT count(*) >= 3 FROM runs WHERE name = 'second' AND at > '$after'}, 'a recurring job of every second continues by the new time');
is(value(qq{SELECT string_agg(at::text, ' ' ORDER BY at) FROM runs WHERE name = 'all' AND at BETWEEN '$start' AND '$after'}),
	value(qq{SELECT string_agg(at::text, ' ' ORDER BY at) FROM generate_series('$start', '$after'::timestamptz, '10 min') at}), 'misfire all: each missed occurrence has a job');
is(value(qq{SELECT string_agg(at::text, ' ') FROM runs WHERE name = 'once' AND at BETWEEN '$start' AND '$after'}),
	value(qq{SELECT max(at)::text FROM generate_series('$start', '$after'::timestamptz, '10 min') at}), 'misfire once: only the last missed occurrence has a job');
is(value(qq{SELECT count(*) FROM runs WHERE name = 'skip' AND at BETWEEN '$before' AND '$after'}), 0, 'misfire skip: missed occurrences have no jobs');
is(value(qq{SELECT count(*) FROM runs WHERE name = 'second' AND at BETWEEN '$before'::timestamptz + interval '2 s' AND '$after'::timestamptz - interval '2 s'}), 0,
	'and none of every second, either');
wait_until($node, q{SELECT state = 'succeeded' FROM bgjob.jobs WHERE tags = '{delayed}'}, 'a delayed job that the clock went over runs');
like(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/clock was set forward by about 3(?:89|90)\d s/, 'the log says that the clock was set');

# Back by 30 minutes: all recurring jobs follow the new time.
is(value('SELECT count(*) FROM (SELECT name, at FROM runs GROUP BY 1, 2 HAVING count(*) > 1) x'), 0, 'no occurrence has run twice');
my $last = value(q{SELECT max(id) FROM runs WHERE name = 'second'});
set_clock(35 * 60);
value(q{SELECT bgjob_enqueue('nothing', delay => '2 s', tags => '{later}')});
wait_until($node, q{SELECT state = 'succeeded' FROM bgjob.jobs WHERE tags = '{later}'}, 'a job that was delayed after the clock was set back is on time');
wait_until($node, qq{SELECT count(*) >= 3 FROM runs WHERE name = 'second' AND id > $last AND at <= now()}, 'a recurring job of every second does not wait for the false time');
like(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/clock was set back by about 1(?:79|80)\d s/, 'the log says so');
my $later = value(q{SELECT max(id) FROM runs});
set_clock(66 * 60);
wait_until($node, qq{SELECT count(*) >= 3 FROM runs WHERE name = 'second' AND id > $later}, 'the recurring job continues when the clock is set forward again');

set_clock(0);
check_counters($node);
$node->stop;
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nothing has crashed');
done_testing();
