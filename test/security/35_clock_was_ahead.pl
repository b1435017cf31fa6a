# A clock that was ahead is corrected: recurring jobs follow the present time, whether the server ran meanwhile or not,
# and an occurrence that ran a little too early does not run again.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use FakeClock;
use PostgreSQL::Test::Utils;
use Test::More;

my $year = 400 * 86400;
my $node = clock_cluster('ahead', $year, 'bgjob.worker_idle_timeout' => 3);
sub value { my ($query) = @_; return $node->safe_psql('postgres', $query) }
sub log_from { my ($offset) = @_; return substr slurp_file($node->logfile), $offset }
sub next_of { my ($name) = @_; return value("SELECT next_run_at AT TIME ZONE 'UTC' FROM bgjob.recurring_jobs WHERE name = '$name'") }

my $true_now = "(now() - interval '$year s')";
value(qq{CREATE FUNCTION nothing() RETURNS void LANGUAGE plpgsql AS 'BEGIN END';
	SELECT bgjob_recurring('second', '\@every_second', 'nothing', misfire => 'skip'), bgjob_recurring('daily', '\@daily', 'nothing'),
		bgjob_recurring('hours', '2 hours', 'nothing', jitter => '10 min'), bgjob_recurring('paused', '\@daily', 'nothing', active => false),
		bgjob_recurring('starts', '\@daily', 'nothing', starts_at => $true_now + interval '10 days'),
		bgjob_recurring('over', '\@hourly', 'nothing', ends_at => $true_now + interval '300 days'),
		bgjob_recurring('never', '0 0 30 2 *', 'nothing'), bgjob_recurring('reboot', '\@reboot', 'nothing');
	SELECT bgjob_recurring('many ' || i, '\@daily', 'nothing') FROM generate_series(1, 450) i;});
wait_until($node, q{SELECT count(*) >= 3 FROM bgjob.jobs WHERE recurring_name = 'second' AND state = 'succeeded'}, 'recurring jobs run while the clock is a year ahead');
value(q{SELECT bgjob_enqueue('nothing', run_at => now() + interval '1 day', tags => '{asked}');
	SELECT bgjob_enqueue('SELECT 1/0', kind => 'sql', tags => '{retry}'), bgjob_enqueue('SELECT bgjob_snooze(''1 min'')', kind => 'sql', tags => '{snooze}'),
		bgjob_recurring('late', '@every_second', 'nothing', jitter => '30 min', overlap => 'skip');});
wait_until($node, q{SELECT count(*) = 3 FROM bgjob.jobs WHERE state = 'scheduled' AND (tags <> '{asked}' OR recurring_name = 'late')}, 'jobs wait for a retry, after a snooze, and for a random while');

#
# The clock is set right while the server runs.
#
my $right = q{SELECT bool_and(next_run_at IS NOT DISTINCT FROM bgjob_cron_next(schedule)) FROM bgjob.recurring_jobs WHERE name IN ('daily', 'hours', 'over') OR name LIKE 'many %'};
my $others = q{SELECT string_agg(name, ' ' ORDER BY name) FROM bgjob.recurring_jobs WHERE next_run_at IS NULL};
is(next_of('over'), '', 'by the false clock one is over');
my $last = value('SELECT max(id) FROM bgjob.jobs');
my $from = -s $node->logfile;
set_clock(0);
wait_until($node, $right, 'each is due when its schedule says, by the true clock');
wait_until($node, qq{SELECT count(*) >= 3 FROM bgjob.jobs WHERE recurring_name = 'second' AND id > $last AND state = 'succeeded'}, 'a recurring job of every second runs every second');
is(value(q{SELECT next_run_at = bgjob_cron_next('@daily', now() + interval '10 days' - interval '1 min') FROM bgjob.recurring_jobs WHERE name = 'starts'}),
	't', 'starts_at is respected');
is(value($others), 'never paused reboot', 'paused recurring jobs and those without a next run are unchanged');
is(value(q{SELECT state, run_at > now() + interval '1 year' FROM bgjob.jobs WHERE tags = '{asked}'}), 'scheduled|t', 'a time that was asked for stays');
is(value(q{SELECT string_agg(coalesce(tags[1], recurring_name) || ' ' || retries || ' ' || (run_at < now() + interval '30 min') || ' ' || left(coalesce(reason, 'none'), 5), ', ' ORDER BY id) FROM bgjob.jobs
	WHERE state = 'scheduled' AND (tags <> '{asked}' OR recurring_name = 'late')}), 'retry 1 true Retry, snooze 0 true Snooz, late 0 true sched', 'retries and snoozes wait their full time');
like(log_from($from), qr/clock was set back by about 345(?:60000|59\d\d\d) s\n.*DETAIL:  The next occurrences of 45[3-6] recurring jobs and the times of 3 waiting jobs were recomputed/, 'one line of the log has the difference and the numbers');

#
# The clock was corrected while the server was down, or unnoticed by the server.
#
my $ahead = q{UPDATE bgjob_internal.recurring SET next_at = next_at + interval '1 year' WHERE name IN ('daily', 'hours', 'over') OR name LIKE 'many %'};
value($ahead);
$from = -s $node->logfile;
with_clock(sub { $node->restart });
wait_until($node, $right, 'a scheduler that starts sets right what lies too late');
like(log_from($from), qr/next occurrences of 45\d recurring jobs were too late/, 'the correction at the start is logged');
$from = -s $node->logfile;
value($ahead);
value(q{SELECT bgjob_recurring(name, schedule, 'nothing') FROM bgjob.recurring_jobs WHERE name = 'daily' OR name LIKE 'many %'});
is(value(q{SELECT bool_and(next_run_at = bgjob_cron_next('@daily')) FROM bgjob.recurring_jobs WHERE name = 'daily' OR name LIKE 'many %'}), 't', 'bgjob_recurring corrects the next run as well');

# A session locks one of the rows to be corrected.
value($ahead);
$from = -s $node->logfile;
my $holder = $node->background_psql('postgres', on_error_stop => 0);
$holder->query(q{BEGIN; UPDATE bgjob_internal.recurring SET tags = NULL WHERE name = 'many 7'});
set_clock(60);
wait_until($node, qq{SELECT count(*) >= 1 FROM regexp_matches(substr(pg_read_file('}.$node->logfile.qq{'), $from), 'clock was set forward by about (59|60|61) s')}, 'the clock is set forward');
set_clock(0);
wait_until($node, q{SELECT bool_and(next_run_at = bgjob_cron_next('@daily')) FROM bgjob.recurring_jobs WHERE name LIKE 'many %' AND name <> 'many 7'}, 'a locked row delays no other');
$holder->query('COMMIT');
$holder->quit;
wait_until($node, $right, 'the locked row is corrected later');

#
# Occurrences that ran too early.
#
value(q{CREATE TABLE soon AS SELECT date_trunc('second', now() + interval '50 s') AS at;
	SELECT bgjob_recurring('at a time', to_char(at AT TIME ZONE 'UTC', 'SS MI HH24') || ' * * *', 'nothing') FROM soon});
for my $case ([ 60, 0, 'an hour of the day that came a minute too early' ], [ 86400 + 60, 1, 'one that came a day too early' ])
{
	my ($seconds, $days, $what) = @$case;
	set_clock($seconds);
	wait_until($node, qq{SELECT (parameters->>'scheduled_for')::timestamptz = at + interval '$days days' FROM bgjob.jobs, soon
		WHERE recurring_name = 'at a time' ORDER BY id DESC LIMIT 1}, "$what: the recurring job runs");
	set_clock(0);
	wait_until($node, q{SELECT next_run_at = at + interval '1 day' FROM bgjob.recurring_jobs, soon WHERE name = 'at a time'},
		"$what: it counts for the occurrence next to the time that it really was");
}

#
# The duration of a wait does not depend on the clock.
#
value(q{SELECT count(bgjob_recurring_remove(name)) FROM bgjob.recurring_jobs});
set_clock($year);
my $waits = $node->background_psql('postgres', on_error_stop => 0);
$waits->query(q{SELECT bgjob_enqueue('nothing', run_at => clock_timestamp() + interval '10 years', tags => '{late}')});
my $done = value(q{SELECT bgjob_enqueue('nothing')});
wait_until($node, qq{SELECT state = 'succeeded' FROM bgjob.jobs WHERE id = $done}, 'a worker is there, and will wait for work');
$waits->query_until(qr/waiting/, "\\echo waiting\nSELECT coalesce(bgjob_wait(id, '4 s'), 'in vain') FROM bgjob.jobs WHERE tags = '{late}';\n");
wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '%in vain%' AND pid <> pg_backend_pid() AND wait_event_type IS NOT NULL}, 'a session waits for a job');
set_clock(0);
wait_until($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'bgjob worker'}, 'the worker leaves when it has waited long enough', 30);
like($waits->query('SELECT 1'), qr/in vain/, 'the wait of the session ends');
$waits->quit;

check_counters($node);
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nothing has crashed');
done_testing();
