# check.sh: crashes expected
# Recurring jobs over stops, crashes, dumps and DROP DATABASE: one job for each occurrence, and missed ones by misfire.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $node = bgjob_cluster('recurring', restart_after_crash => 'on', 'bgjob.workers' => 4);
$node->safe_psql('postgres', q{
	CREATE FUNCTION nothing() RETURNS void LANGUAGE plpgsql AS 'BEGIN END';
	CREATE VIEW runs AS SELECT id, recurring_name AS name, state, created_at,
		extract(epoch FROM (parameters->>'scheduled_for')::timestamptz)::numeric AS at FROM bgjob.jobs WHERE recurring_name IS NOT NULL});

sub value { my ($query, $db) = @_; return $node->safe_psql($db // 'postgres', $query) }

# scheduler [PID] is the pid of the database's scheduler; waits until it is there and another than that.
sub scheduler
{
	my ($not) = @_;
	return pid_of($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = 'postgres' AND pid <> } . ($not // 0));
}

# goes_on NAME, HOW_MANY waits until that many more jobs of a recurring job have succeeded.
sub goes_on
{
	my ($name, $many, $what, $db) = @_;
	my $last = value(q{SELECT coalesce(max(id), 0) FROM bgjob.jobs}, $db);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_until($node, "SELECT count(*) >= $many FROM bgjob.jobs WHERE recurring_name = '$name' AND id > $last AND state = 'succeeded'", $what, 60, $db);
}

# until_after SECONDS, PHASE sleeps to the next time that is PHASE seconds after a multiple of SECONDS.
sub until_after
{
	my ($every, $phase) = @_;
	my $now  = time;
	my $wake = (int($now / $every)) * $every + $phase;
	$wake += $every if $wake < $now;
	usleep(1_000_000 * ($wake - time)) if $wake > time;
}

#
# A stop of the server, from about one second after a multiple of five to one second after the second next.
#
for my $misfire (qw(once all skip))
{
	value("SELECT bgjob_recurring('second $misfire', '\@every_second', 'nothing', misfire => '$misfire'),
		bgjob_recurring('five $misfire', '5 seconds', 'nothing', misfire => '$misfire')");
}
value(q{SELECT bgjob_recurring('reboot', '@reboot', 'nothing')});
wait_until($node, q{SELECT count(DISTINCT name) = 6 FROM runs}, 'all recurring jobs run');
is(value(q{SELECT count(*) FROM runs WHERE name = 'reboot'}), '0', '@reboot does not, since the server has been running');
until_after(5, 1);
$node->stop;
my $stopped = time;
usleep(6_500_000);    # what passes meanwhile is what is tested
until_after(5, 1);
my $started = time;
$node->start;
goes_on("second $_", 2, "after the start, misfire $_ goes on every second") for qw(once all skip);
goes_on("five $_", 1, "after the start, misfire $_ continues every five seconds") for qw(once all skip);

# Occurrences and jobs in the down time.
my $five = int($started / 5) - int($stopped / 5);
my $second = int($started) - int($stopped);
my $down = "at > $stopped AND at <= $started";
cmp_ok($five, '>=', 1, "the server was down for $five occurrences of '5 seconds'");
is(value("SELECT count(*) FROM runs WHERE name = 'five all' AND $down"), $five, "misfire all: '5 seconds' has a job for each of them");
is(value("SELECT count(*) FROM runs WHERE name = 'second all' AND $down"), $second, 'misfire all: every second has a job for each');
is(value("SELECT string_agg(at::bigint::text, ' ') FROM runs WHERE name = 'five once' AND $down"), 5 * int($started / 5),
	"misfire once: '5 seconds' has one, for the last");
cmp_ok(value("SELECT count(*) FROM runs WHERE name = 'second once' AND $down"), '<=', 1, 'misfire once: every second has no more than one');
cmp_ok(value("SELECT coalesce(min(at), 0) FROM runs WHERE name = 'second once' AND created_at >= to_timestamp($started)"), '>=', int($started), 'misfire once: the job is for the last missed occurrence');
cmp_ok(
	value("SELECT min(extract(epoch FROM created_at) - at) FROM (SELECT * FROM runs WHERE name = 'second once' AND created_at >= to_timestamp($started) ORDER BY at LIMIT 1) x"),
	'>', 0, 'misfire once: that occurrence was missed');
is(value("SELECT count(*) FROM runs WHERE name IN ('five skip', 'second skip') AND $down"), '0', 'misfire skip: missed occurrences have no jobs');
is(value(q{SELECT count(*) - count(DISTINCT (name, at)) FROM runs}), '0', 'no occurrence has two jobs');
is(value(q{SELECT count(*) FROM (SELECT name FROM runs WHERE name LIKE '% all' GROUP BY name
	HAVING max(at) - min(at) <> (count(*) - 1) * CASE WHEN name LIKE 'five%' THEN 5 ELSE 1 END) x}), '0', 'misfire all: every occurrence has a job');

#
# @reboot
#
wait_until($node, q{SELECT count(*) = 1 FROM runs WHERE name = 'reboot' AND state = 'succeeded'}, '@reboot has run at the start of the server');
for my $round (1, 2)
{
	my $pid = scheduler();
	value("SELECT pg_terminate_backend($pid)");
	scheduler($pid);
	goes_on('second skip', 3, 'the scheduler was ended and is there again');
}
is(value(q{SELECT count(*) FROM runs WHERE name = 'reboot'}), '1', '@reboot has not run for that');
$node->restart;
wait_until($node, q{SELECT count(*) = 2 FROM runs WHERE name = 'reboot' AND state = 'succeeded'}, '@reboot runs once more at the next start');
goes_on('second skip', 3, 'time passes');
is(value(q{SELECT count(*) FROM runs WHERE name = 'reboot'}), '2', 'the recurring job of @reboot has not run again');

#
# Crashes
#
for my $round (1 .. 6)
{
	my $pid = scheduler();
	usleep(int(rand(900_000)));    # anywhere in its second
	kill 'KILL', $pid;
	until_gone($pid);
	scheduler($pid);
	goes_on('second all', 1, "kill -9 of the scheduler, round $round: jobs go on");
}
is(value(q{SELECT count(*) - count(DISTINCT (name, at)) FROM runs WHERE name <> 'reboot'}), '0', 'no occurrence had two jobs for that');
is(value(q{SELECT count(*) FROM (SELECT name FROM runs WHERE name LIKE '% all' GROUP BY name
	HAVING max(at) - min(at) <> (count(*) - 1) * CASE WHEN name LIKE 'five%' THEN 5 ELSE 1 END) x}), '0', 'misfire all: no occurrence was lost');
value(q{SELECT bgjob_recurring_remove(name) FROM bgjob.recurring_jobs});

#
# Many in one second
#
my $due = int(time) + 25;
my ($s, $m, $h) = gmtime $due;
value("SELECT bgjob_recurring('many ' || i, '$s $m $h * * *', 'nothing') FROM generate_series(1, 2000) i");
cmp_ok(time, '<', $due, '2,000 recurring jobs are added before they are due') or diag('too slow: what follows cannot be right');
is(value("SELECT count(*) FROM bgjob.recurring_jobs WHERE name LIKE 'many %' AND extract(epoch FROM next_run_at) = $due"), '2000', '2,000 recurring jobs are due in the same second');
wait_until($node, q{SELECT count(*) >= 2000 FROM runs WHERE name LIKE 'many %' AND state = 'succeeded'}, 'all have run', 120);
is(value(q{SELECT count(*), count(DISTINCT name), min(at), max(at) FROM runs WHERE name LIKE 'many %'}) =~ s/\.0+(?=\||$)//gr,
	"2000|2000|$due|$due", 'each has exactly one job, for that second');
is(value(q{SELECT count(*) FROM bgjob.recurring_jobs WHERE name LIKE 'many %' AND next_run_at > now()}), '2000', 'their next run is tomorrow');
value(q{SELECT bgjob_recurring_remove(name) FROM bgjob.recurring_jobs});
is(value(q{SELECT count(*) FROM bgjob.recurring_jobs}), '0', 'all recurring jobs can be removed at once');

#
# Dump and restore
#
value(q{SELECT bgjob_recurring('dumped', '@every_second', 'nothing', '[]', queue => 'mail', misfire => 'all', overlap => 'queue',
		tags => '{a}', parameters => '{"k": 1}', time_zone => 'Asia/Tokyo'),
	bgjob_recurring('dumped yearly', '@yearly', 'nothing'), bgjob_recurring('dumped asleep', '@every_second', 'nothing', active => false)});
goes_on('dumped', 2, 'recurring jobs run where they are dumped');
my $columns = q{SELECT name, owner, schedule, time_zone, description, job, args, queue, misfire, overlap, active, created_at FROM bgjob.recurring_jobs ORDER BY name};
my $before = value($columns);
my $file = "$PostgreSQL::Test::Utils::tmp_check/recurring.sql";
command_ok([ 'pg_dump', '-f', $file, '-d', $node->connstr('postgres') ], 'pg_dump');
value('CREATE DATABASE restored');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $file, '-d', $node->connstr('restored') ], 'psql restores it');
is(value($columns, 'restored'), $before, 'the recurring jobs are there');
my $last = value(q{SELECT coalesce(max(id), 0) FROM bgjob.jobs}, 'restored');
value(q{SELECT bgjob_recurring('new', '@every_second', 'nothing')}, 'restored');
goes_on('new', 4, 'a new one runs in the restored database', 'restored');
is(value("SELECT count(*) FROM bgjob.jobs WHERE recurring_name LIKE 'dumped%' AND id > $last AND state IN ('processing', 'succeeded')", 'restored'), '0', 'the restored ones do not, before bgjob_adopt()');
is(value(q{SELECT DISTINCT error FROM bgjob.recurring_jobs WHERE name LIKE 'dumped%'}, 'restored'), 'Not adopted: run bgjob_adopt()', 'bgjob.recurring_jobs shows the reason');
value('SELECT bgjob_adopt()', 'restored');
goes_on('dumped', 3, 'after it they run', 'restored');
is(value("SELECT DISTINCT queue, tags, parameters->>'k' FROM bgjob.jobs WHERE recurring_name = 'dumped' AND id > $last", 'restored'), 'mail|{a}|1',
	'with what was given');
is(value("SELECT count(*) FROM bgjob.jobs WHERE recurring_name = 'dumped asleep'", 'restored'), '0', 'a paused recurring job does not run in the restored database');
is(value(q{SELECT next_run_at = bgjob_cron_next('@yearly') FROM bgjob.recurring_jobs WHERE name = 'dumped yearly'}, 'restored'), 't',
	'and the yearly one has its next run');
goes_on('dumped', 2, 'the recurring jobs continue in the dumped database');

#
# DROP DATABASE
#
my ($status, $out, $err) = $node->psql('postgres', 'DROP DATABASE restored');
is($status, 0, 'a database with recurring jobs can be dropped') or diag($err);
goes_on('dumped', 2, 'recurring jobs of the other database continue');

is(scalar(() = slurp_file($node->logfile) =~ /was terminated by signal (?:4|6|7|8|11):|PANIC:|TRAP:/g), 0, 'no process crashed by itself');
check_counters($node);
$node->stop;
done_testing();
