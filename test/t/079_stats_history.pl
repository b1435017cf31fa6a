# check.sh: crashes expected
# The history of queues: written once a second, kept over a clean shutdown to the last job, over a crash but for the last second, and
# counted once whatever happens to the scheduler and the file. Hours are added to their days, also if the clock was set back; old ones are
# removed, a day at a time. A role with ten thousand queues takes no other role's room. Counts and rights of the view are in
# pgtap/35_stats_history.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use File::Copy qw(copy);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = bgjob_cluster('stats_history', restart_after_crash => 'on', 'bgjob.workers' => 4, 'bgjob.worker_idle_timeout' => '1s');
my $file = $node->data_dir . '/pg_stat/bgjob_queue_stats.stat';
sub sql { return ask($node, $_[0]) }

sql(q{
	CREATE ROLE app LOGIN; CREATE ROLE greedy LOGIN; GRANT USAGE ON SCHEMA bgjob TO app, greedy;
	CREATE FUNCTION work(n int) RETURNS int LANGUAGE sql AS 'SELECT 10 / n';
	CREATE FUNCTION sleepy() RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(600)'});

# jobs N [, QUEUE] has so many jobs run and waits until they have succeeded.
sub jobs
{
	my ($n, $queue) = (@_, 'default');
	my $last = sql("SELECT max(id) FROM bgjob_enqueue_many('work', ARRAY(SELECT '[1]'::jsonb FROM generate_series(1, $n)), queue => '$queue') e (id)");

	return becomes_true_or_diag("SELECT count(*) = 0 FROM bgjob.jobs WHERE queue = '$queue' AND state IN ('enqueued', 'processing')");
}
sub becomes_true_or_diag { my ($true, $last) = BgjobTest::becomes_true($node, $_[0], 60, 'postgres'); diag("not true: $_[0]: $last") unless $true; return $true }

# told QUEUE returns what the history has of a queue by hours, and by days.
sub told
{
	my ($queue) = @_;
	return sql("SELECT string_agg(format('%s %s %s', enqueued, succeeded, deleted), '|' ORDER BY bucket DESC)
		FROM (SELECT bucket, sum(enqueued) AS enqueued, sum(succeeded) AS succeeded, sum(deleted) AS deleted FROM bgjob.stats_history WHERE queue = '$queue' GROUP BY 1) s");
}

# is_told QUEUE, COUNTS, WHAT waits until hours and days of a queue have these counts.
sub is_told
{
	my ($queue, $counts, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return wait_until($node, "SELECT coalesce((SELECT string_agg(format('%s %s %s', enqueued, succeeded, deleted), '|' ORDER BY bucket)
		FROM (SELECT bucket, sum(enqueued) AS enqueued, sum(succeeded) AS succeeded, sum(deleted) AS deleted FROM bgjob.stats_history WHERE queue = '$queue' GROUP BY 1) s), '') = '$counts|$counts'", $what)
	  || diag(told($queue));
}

# replace_scheduler ends the scheduler and waits for another one.
sub replace_scheduler
{
	my $of = q{FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = 'postgres'};
	my $pid = pid_of($node, "SELECT pid $of");

	sql("SELECT pg_terminate_backend($pid)");
	until_gone($pid);
	return pid_of($node, "SELECT pid $of");
}

# ---- flushing ----

jobs(100);
is_told('default', '100 100 0', 'a hundred jobs are in the history soon');
jobs(50);
is_told('default', '150 150 0', 'further jobs are added to the row of the hour');
cmp_ok(sql('SELECT count(*) FROM bgjob_internal.stats_hour'), '<=', 2, 'which is one, or that of the next hour');
my $updates = q{pg_stat_get_tuples_updated('bgjob_internal.stats_hour'::regclass)};
my $before = sql("SELECT $updates");
sleep 3; # nothing happens
is(sql("SELECT $updates"), $before, 'while nothing happens nothing is written');
replace_scheduler();
jobs(10);
is_told('default', '160 160 0', 'a scheduler that takes over goes on');

# ---- an old snapshot ----

my $old = $node->background_psql('postgres');
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
my $lookups = q{(SELECT coalesce(sum(idx_scan), 0) FROM pg_stat_all_indexes WHERE indexrelname = 'stats_hour_pkey')};
jobs(1, 'old');
is_told('old', '1 1 0', 'with an old snapshot, the row of a new queue is written');
my ($from, $written) = (sql("SELECT $lookups"), sql("SELECT $updates"));
for my $n (2 .. 6)
{
	jobs(1, 'old');
	becomes_true_or_diag("SELECT sum(succeeded) = $n FROM bgjob_internal.stats_hour WHERE queue = 'old'");
}
# The index is scanned as the view is read, and that is not above. The scheduler reports its statistics before it sleeps.
becomes_true_or_diag("SELECT $updates >= $written + 5");
cmp_ok(sql("SELECT $lookups") - $from, '<=', 1, 'five more versions of it are written without a look into the index, but for a new hour');
$old->query_safe('COMMIT');
$old->quit;
sql('VACUUM FULL bgjob_internal.stats_hour');
jobs(1, 'old');
is_told('old', '7 7 0', 'a row that is at another place is found');

# ---- a clean shutdown ----

for my $round (1 .. 3)
{
	jobs(200, 'stop');
	$node->stop; # at once after the last job
	$node->start;
	my $counts = sprintf '%d %d 0', (200 * $round) x 2;
	is_told('stop', $counts, "shutdown $round loses nothing");
}
ok(!-e $file, 'a running server has no file');
$node->append_conf('postgresql.conf', 'bgjob.enabled = off');
$node->reload;
wait_until($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler'}, 'without a scheduler');
sql(q{SELECT count(bgjob_delete(bgjob_enqueue('work', '[1]', queue => 'idle'))) FROM generate_series(1, 7)});
is(told('idle'), '', 'what sessions do is not in the history');
$node->stop;
ok(-s $file, 'a shutdown keeps it in a file');
copy($file, "$file.kept") or die $!;
$node->append_conf('postgresql.conf', 'bgjob.enabled = on');
$node->start;
is_told('idle', '7 0 7', 'from which the next scheduler takes it');
ok(!-e $file, 'the start removes the file');

# The file of an earlier shutdown, as after a crash of the operating system.
$node->stop;
copy("$file.kept", $file) or die $!;
my $logged = -s $node->logfile;
$node->start;
like(slurp_file($node->logfile, $logged), qr{LOG:  ignoring invalid data in file "pg_stat/bgjob_queue_stats.stat"}, 'a file of an earlier shutdown is not read');
jobs(1, 'idle');
is_told('idle', '8 1 7', 'so nothing is counted twice');

# ---- a crash ----

jobs(100, 'crash');
is_told('crash', '100 100 0', 'what was counted is in the history');
my $id = sql(q{SELECT bgjob_enqueue('sleepy', queue => 'lost')});
my $pid = pid_of($node, "SELECT worker_pid FROM bgjob.jobs WHERE id = $id AND state = 'processing'");
wait_until($node, q{SELECT sum(enqueued) = 1 FROM bgjob.stats_history WHERE queue = 'lost' AND bucket = 'hour'}, 'so is the job that runs');
kill 'KILL', $pid;
until_gone($pid);
is_told('crash', '100 100 0', 'a crash of the server loses nothing of it');
jobs(10, 'crash');
is_told('crash', '110 110 0', 'and counting goes on');
wait_until($node, q{SELECT sum(lost) = 1 AND sum(interrupted) = 1 FROM bgjob.stats_history WHERE queue = 'lost' AND bucket = 'hour'}, 'the attempt of the killed worker is counted as lost');
$pid = pid_of($node, "SELECT worker_pid FROM bgjob.jobs WHERE id = $id AND state = 'processing'");
sql("SELECT pg_terminate_backend($pid)");
wait_until($node, q{SELECT sum(lost) = 1 AND sum(interrupted) = 2 FROM bgjob.stats_history WHERE queue = 'lost' AND bucket = 'hour'}, 'that of a worker that was terminated is interrupted, and not lost');
sql("SELECT bgjob_delete($id)");
wait_until($node, q{SELECT sum(deleted) = 1 AND sum(lost) = 1 AND sum(interrupted) = 2 FROM bgjob.stats_history WHERE queue = 'lost' AND bucket = 'hour'}, 'a deletion is none of that');

# ---- hours and days ----

# shifted BY moves all rows of hours in time, and has the next scheduler tidy up.
sub shifted { my ($by) = @_; sql("UPDATE bgjob_internal.stats_hour SET at = at + interval '$by'"); replace_scheduler(); return jobs(1, 'tick') }
my $open = 'SELECT count(*) = 0 FROM bgjob_internal.stats_hour WHERE NOT in_day AND at < date_trunc(\'hour\', now(), \'UTC\')';
my $sums = q{SELECT coalesce(sum(enqueued), 0), coalesce(sum(succeeded), 0), coalesce(sum(run_time), 0), coalesce(sum(wal_bytes), 0) FROM};
jobs(20, 'hours');
is_told('hours', '20 20 0', 'jobs of an hour');
shifted('-1 day');
wait_until($node, $open, 'when an hour is over its rows are added to their days');
is(sql("$sums bgjob_internal.stats_day"), sql("$sums bgjob_internal.stats_hour WHERE in_day"), 'which have what the hours have');
is(sql(q{SELECT count(*) FROM bgjob_internal.stats_day d FULL JOIN (SELECT date_trunc('day', at, 'UTC') AS at, role, queue,
		bgjob_internal.histogram_sum(run_histogram) AS runs, bgjob_internal.histogram_sum(wait_histogram) AS waits
	FROM bgjob_internal.stats_hour WHERE in_day GROUP BY 1, 2, 3) h USING (at, role, queue) WHERE (d.run_histogram, d.wait_histogram) IS DISTINCT FROM (h.runs, h.waits)}), 0, 'and the same histograms');
is_told('hours', '20 20 0', 'in the view, days are the same as before');

# The clock is set back: the hour that goes on is in its day already.
wait_until($node, q{SELECT sum(succeeded) >= 1 FROM bgjob.stats_history WHERE queue = 'tick' AND bucket = 'hour'}, 'the present hour has begun');
sql(q{DELETE FROM bgjob_internal.stats_hour WHERE NOT in_day; UPDATE bgjob_internal.stats_hour SET at = at + interval '1 day'; UPDATE bgjob_internal.stats_day SET at = at + interval '1 day'});
jobs(5, 'hours');
is_told('hours', '25 25 0', 'what is added to an hour that is in its day is added to the day, too');
is(sql("$sums bgjob_internal.stats_day"), sql("$sums bgjob_internal.stats_hour WHERE in_day"), 'which stays the sum of its hours');

# ---- retention ----

sql(q{INSERT INTO bgjob_internal.stats_hour SELECT date_trunc('day', now(), 'UTC') - make_interval(days => d, hours => -h), 'app', 'past', 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '', '', true
	FROM generate_series(30, 40) d, generate_series(0, 23) h;
	INSERT INTO bgjob_internal.stats_day SELECT date_trunc('day', now(), 'UTC') - make_interval(days => d), 'app', 'past', 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '', '' FROM generate_series(1000, 1120) d});
replace_scheduler();
jobs(1, 'tick');
my $past = q{FROM bgjob_internal.stats_hour WHERE queue = 'past'};
wait_until($node, "SELECT count(*) = 24 * 10 $past", 'one look removes the oldest day of hours, and no more');
for my $look (2 .. 6)
{
	my $most = $look < 6 ? 24 * (11 - $look) : 24 * 6 - 1;
	replace_scheduler();
	jobs(1, 'tick');
	becomes_true_or_diag("SELECT count(*) <= $most $past");
}
wait_until($node, "SELECT min(at) >= now() - interval '35 days 1 hour' $past", 'in the end hours are kept for 35 days');
is(sql("SELECT count(*) > 24 * 5 $past"), 't', 'younger ones stay');
wait_until($node, q{SELECT min(at) >= now() - interval '1099 days' FROM bgjob_internal.stats_day WHERE queue = 'past'}, 'days are kept for three years');
sql(q{DELETE FROM bgjob_internal.stats_hour WHERE queue = 'past'; DELETE FROM bgjob_internal.stats_day WHERE queue = 'past'});

# ---- a greedy role ----

sql(q{SET ROLE greedy; SELECT count(bgjob_enqueue('work', '[1]', queue => 'g' || n, delay => '1 day')) FROM generate_series(1, 10000) n});
jobs(3, 'late');
is_told('late', '3 3 0', 'beside a role with ten thousand queues others are counted by themselves');
wait_until($node, q{SELECT sum(enqueued) = 10000 FROM bgjob_internal.stats_hour WHERE role = 'greedy'::regrole}, 'of that role nothing is lost');
cmp_ok(sql(q{SELECT count(*) FROM (SELECT DISTINCT queue FROM bgjob_internal.stats_hour WHERE role = 'greedy'::regrole) q}), '<=', 257, 'its queues have a bounded number of rows');
cmp_ok(sql(q{SELECT sum(enqueued) FROM bgjob.stats_history WHERE queue = '*' AND bucket = 'hour'}), '>=', 9744, 'the rest is counted as one');
sql(q{SET ROLE app; SELECT count(bgjob_enqueue('work', '[1]', queue => 'a' || n, delay => '1 day')) FROM generate_series(1, 10) n});
wait_until($node, q{SELECT count(DISTINCT queue) = 10 FROM bgjob_internal.stats_hour WHERE role = 'app'::regrole}, 'another role finds room for all of its queues');

# ---- dumps, and the extension dropped ----

my $all = q{SELECT md5(string_agg(s::text, E'\n' ORDER BY bucket, at, queue)) FROM bgjob.stats_history s};
my $dump = PostgreSQL::Test::Utils::tempdir() . '/history.dump';
wait_until($node, q{SELECT count(*) = 0 FROM bgjob.jobs WHERE state IN ('enqueued', 'processing')}, 'nothing runs');
set_and_reload($node, 'bgjob.enabled' => 'off');
wait_until($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler'}, 'and nothing is written');
command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('postgres') ], 'pg_dump');
sql('CREATE DATABASE restored');
command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $dump ], 'pg_restore');
is($node->safe_psql('restored', $all), sql($all), 'a dump has the history');
set_and_reload($node, 'bgjob.enabled' => 'on');
is($node->safe_psql('restored', q{SELECT bgjob_adopt() >= 0}), 't', 'the restored database is adopted');
$node->safe_psql('restored', q{SELECT bgjob_enqueue('work', '[1]', queue => 'late')});
wait_until($node, q{SELECT sum(succeeded) = 4 FROM bgjob.stats_history WHERE queue = 'late' AND bucket = 'hour'}, 'and goes on there', 60, 'restored');
check_counters($node, 'restored');
check_counters($node);
sql('DROP EXTENSION bgjob; CREATE EXTENSION bgjob');
is(sql('SELECT count(*) FROM bgjob.stats_history'), 0, 'a new extension begins anew');
jobs(2, 'late');
is_told('late', '2 2 0', 'with nothing of the old one');
check_counters($node);

done_testing();
