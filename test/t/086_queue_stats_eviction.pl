# The statistics of queues have a bounded number of entries (src/base/queuestatstable.h). With more roles and queues than there is room
# for, nothing that was counted is lost, and sums agree with the jobs: what has no entry of its own is counted as "*" of its role, or of
# the database. An entry in which nothing was counted for a day makes room for another queue of its role; one with numbers that
# are not in the history yet does not. A queue that has lost its entry and comes back goes on. A role with ever new queues takes no
# entry of another one. The clock is set (FakeClock).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use FakeClock;
use Test::More;

use constant { OF_ROLE => 256, WHEN_FULL => 32, DAY => 86400, HOUR => 3600 };

my $node = clock_cluster('eviction', 0, 'bgjob.retention' => '30d', 'bgjob.workers' => 1, 'bgjob.worker_idle_timeout' => '1h');
my $jobs = 0;
sub sql { return $node->safe_psql('postgres', $_[0]) }

sql(q{CREATE FUNCTION work() RETURNS void LANGUAGE sql AS '';
	DO $$ BEGIN
		FOR i IN 1..4 LOOP EXECUTE format('CREATE ROLE big%s LOGIN', i); END LOOP;
		FOR i IN 1..30 LOOP EXECUTE format('CREATE ROLE small%s LOGIN', i); END LOOP;
		FOR i IN 1..150 LOOP EXECUTE format('CREATE ROLE tiny%s LOGIN', i); END LOOP;
		GRANT USAGE ON SCHEMA bgjob TO PUBLIC; END $$});

# put ROLE, QUEUE, N [, ROLE, QUEUE, N…] enqueues a job in each of so many queues of a role, to run much later.
sub put
{
	my @what = @_;
	my $script = '';

	while (my ($role, $queue, $n) = splice @what, 0, 3)
	{
		$script .= "SET ROLE $role; SELECT count(bgjob_enqueue('work', queue => '$queue' || n, delay => '1 year')) FROM generate_series(1, $n) n;\n";
		$jobs += $n;
	}
	return sql($script);
}

# run_in ROLE, QUEUE has a worker perform a job, and returns its pid when it has counted what it used.
sub run_in
{
	my ($role, $queue) = @_;
	my $id = sql("SET ROLE $role; SELECT bgjob_enqueue('work', queue => '$queue')");

	$jobs++;
	sql("SELECT bgjob_wait($id, '60 s')");
	wait_until($node, q{SELECT state = 'idle' FROM pg_stat_activity WHERE backend_type = 'bgjob worker'}, "$queue of $role: the worker is idle");
	return sql('SELECT pid FROM bgjob.workers');
}

# all_told WHAT waits until the history has as many jobs as there are, and nothing is pending, and tests that it has none of them
# in the wrong place. The scheduler marks an entry as written after that has committed, so it is waited for, too.
sub all_told
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	wait_until($node, "SELECT coalesce(sum(enqueued), 0) = $jobs FROM bgjob_internal.stats_hour", "$what: the history has all jobs")
	  || diag(sql('SELECT sum(enqueued) FROM bgjob_internal.stats_hour') . " instead of $jobs");
	wait_until($node, q{
		SELECT (SELECT ARRAY[sum(enqueued), sum(succeeded), sum(cpu_time), sum(wal_bytes)] FROM bgjob_internal.stats_hour)
			= (SELECT array_agg(total ORDER BY n) FROM (SELECT n, sum(round(value::numeric * scale)) AS total
				FROM (VALUES (1, 'bgjob_jobs_enqueued_total', 1), (2, 'bgjob_jobs_finished_total', 1), (3, 'bgjob_job_cpu_seconds_total', 1000000), (4, 'bgjob_job_wal_bytes_total', 1)) m (n, name, scale)
				JOIN bgjob.metrics USING (name) GROUP BY n) s)}, "$what: and all that was counted");
	wait_until($node, q{SELECT state = 'idle' FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler'}, "$what: nothing is pending");
	is(sql(q{SELECT sum(enqueued) FROM bgjob.stats_history WHERE bucket = 'hour'}), $jobs, "$what: so has the view");
	# A queue of a role has at most what was enqueued there, and a role all of it unless roles share an entry.
	return is(sql(q{
		WITH told AS (SELECT role, queue::text AS queue, sum(enqueued) AS n FROM bgjob_internal.stats_hour GROUP BY 1, 2),
			there AS (SELECT run_as::regrole::oid AS role, queue, count(*) AS n FROM bgjob.jobs GROUP BY 1, 2)
		SELECT (SELECT count(*) FROM told LEFT JOIN there USING (role, queue) WHERE told.queue <> '*' AND told.n > coalesce(there.n, 0))
			+ (SELECT count(*) FROM (SELECT role, sum(n) AS n FROM told WHERE role <> 0 GROUP BY 1) t JOIN (SELECT role, sum(n) AS n FROM there GROUP BY 1) j USING (role)
				WHERE t.n > j.n OR t.n < j.n AND role NOT IN (SELECT oid FROM pg_roles WHERE rolname LIKE 'tiny%'))}), 0, "$what: none in another queue or role");
}

# own_rows ROLE [, PREFIX] returns how many queues of a role the history has by themselves.
sub own_rows
{
	my ($role, $prefix) = @_;
	return sql(q{SELECT count(DISTINCT queue) FROM bgjob_internal.stats_hour WHERE queue <> '*' AND role = '} . $role . q{'::regrole AND queue LIKE '} . ($prefix // '') . q{%'});
}

# counted_of ROLE returns what its entries have, as that role sees them.
sub counted_of { my ($role) = @_; return sql("SET ROLE $role; SELECT string_agg(concat_ws(' ', labels ->> 'queue', value), ', ' ORDER BY labels ->> 'queue') FROM bgjob.metrics WHERE name = 'bgjob_jobs_enqueued_total'") }
sub counted_in_all { return sql(q{SELECT sum(value) FROM bgjob.metrics WHERE name = 'bgjob_jobs_enqueued_total'}) }

# told ROLE, QUEUE returns how many jobs of a queue the history has: of up to a day ago, and of later.
sub told { my ($role, $queue) = @_; return sql("SELECT concat_ws(' ', sum(enqueued) FILTER (WHERE at < now() - interval '1 day'), sum(enqueued) FILTER (WHERE at >= now() - interval '1 day')) FROM bgjob_internal.stats_hour WHERE role = '$role'::regrole AND queue = '$queue'") }

# ---- more roles and queues than there is room for ----

put('small1', 'q', WHEN_FULL);
put(map { ("big$_", 'q', 300) } 1 .. 4);
put(map { ("small$_", 'q', 40) } 2 .. 30);
put(map { ("tiny$_", 'q', 1) } 1 .. 150);
all_told('no room');
is(own_rows("big$_"), OF_ROLE, "big$_ has as many entries as a role may have") for 1 .. 3;
is(own_rows("small$_"), WHEN_FULL, "small$_ has as many as it may have in a table that is half full") for 10, 20;
is(own_rows('small30'), 0, 'the last entries are for those of several queues');
is(told('small30', '*'), 40, 'which have the jobs of roles that came late');
cmp_ok(sql('SELECT sum(enqueued) FROM bgjob_internal.stats_hour WHERE role = 0'), '>', 0, 'in the end, roles share one');
cmp_ok(sql('SELECT count(*) FROM (SELECT DISTINCT role, queue FROM bgjob_internal.stats_hour) s'), '<=', 2048, 'there are no more rows than entries');
is(counted_in_all(), $jobs, 'the metrics have all jobs');

# ---- numbers that are not in the history yet keep their entry ----

set_and_reload($node, 'bgjob.enabled' => 'off');
wait_until($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler'}, 'without a scheduler');
put('big1', 'q', OF_ROLE);
set_clock(DAY + HOUR);
put('big1', 'pending', 10);
set_and_reload($node, 'bgjob.enabled' => 'on');
my $worker = run_in('small1', 'q1');
all_told('pending');
is(own_rows('big1', 'pending'), 0, 'a queue whose numbers are pending for a day makes no room');
is(sql(q{SELECT count(*) FROM (SELECT queue FROM bgjob_internal.stats_hour WHERE role = 'big1'::regrole AND queue <> '*' GROUP BY 1 HAVING sum(enqueued) = 2) q}), OF_ROLE, 'and what was pending is there');

# ---- an entry that is idle makes room ----

set_clock(2 * DAY + 2 * HOUR);
my $before = counted_of('small2');
put('big1', 'new', 10);
all_told('idle');
is(own_rows('big1', 'new'), 10, 'new queues of a role have the entries of those that are idle');
put('big1', 'more', 2000);
all_told('greedy');
cmp_ok(own_rows('big1', 'more'), '<=', OF_ROLE - 10, 'a role with ever new queues has no more entries than before');
cmp_ok(own_rows('big1', 'more'), '>', OF_ROLE - 20, 'but as many');
is(counted_of('small2'), $before, 'and took none of another role');
is(counted_in_all(), $jobs, 'the metrics still have all jobs');

# The worker remembers the entry of a queue, which is another one's by now.
put('small1', 'x', 40);
all_told('forgotten');
is(own_rows('small1', 'x'), WHEN_FULL, 'a queue of a worker has lost its entry');
is(run_in('small1', 'q1'), $worker, 'the worker performs another job of it');
all_told('remembered');
wait_until($node, q{SELECT string_agg(queue || ' ' || succeeded, ', ' ORDER BY queue) = '* 1, q1 1' FROM bgjob_internal.stats_hour WHERE role = 'small1'::regrole AND succeeded > 0}, 'which counts in no other queue');

# ---- a queue that comes back ----

set_clock(4 * DAY);
put('big1', 'q', 5);
all_told('back');
is(told('big1', 'q1'), '2 1', 'a queue that has lost its entry goes on when it comes back');
set_clock(0);
put('big1', 'q', 300);
all_told('set back');
is(sql('SELECT count(*) FROM (SELECT at, role, queue FROM bgjob_internal.stats_hour GROUP BY 1, 2, 3 HAVING count(*) > 1) d'), 0, 'with the clock set back to hours that are there, too, each has one row');

# ---- a restart ----

$before = counted_of('small2');
with_clock(sub { $node->restart });
put('big1', 'q', 20, 'small2', 'q', 40);
all_told('restart');
is(counted_in_all(), $jobs, 'a restart keeps all numbers');
isnt(counted_of('small2'), $before, 'and counting goes on');
check_counters($node);

done_testing();
