# Stale hints: tids in the queue and in shared memory, and remembered rows, may be outdated after VACUUM FULL, CLUSTER,
# REINDEX, TRUNCATE or a rollback. Jobs still run, and none is taken for another.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use PostgreSQL::Test::Utils;
use Test::More;
use BgjobTest;

my $node = bgjob_cluster('hints', 'bgjob.workers' => 2);
$node->safe_psql('postgres', q{
	CREATE TABLE effect (k int);
	CREATE FUNCTION act(k int) RETURNS int LANGUAGE sql AS 'INSERT INTO effect VALUES (k) RETURNING k';
});

my $number = 0;

# after_rewriting WHAT, SQL… enqueues jobs at the end of a table, runs commands that shorten the table, and tests that these
# jobs and a new one run, each once.
sub after_rewriting
{
	my ($what, $queue, @sql) = @_;
	my $first = $number + 1;

	$number += 4;
	$node->safe_psql('postgres', $_) for
		"SELECT bgjob_queue('$queue', paused => true)",
		"SELECT count(*) FROM bgjob_enqueue_many('act', array_fill('[0]'::jsonb, ARRAY[2000]), queue => '$queue')",
		"SELECT count(*) FROM bgjob_enqueue_many('act', ARRAY['[$first]', jsonb_build_array($first + 1), jsonb_build_array($first + 2)]::jsonb[], queue => '$queue')",
		"SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE args = '[0]' AND state = 'enqueued'",
		"SELECT bgjob_purge('deleted')",
		@sql,
		"SELECT bgjob_queue_resume('$queue')",
		"SELECT bgjob_enqueue('act', jsonb_build_array($number), queue => '$queue')";
	wait_until($node, "SELECT count(*) = 4 FROM effect WHERE k BETWEEN $first AND $number", "$what: what waited is performed", 30);
	is($node->safe_psql('postgres', "SELECT string_agg(k::text, ' ' ORDER BY k) FROM effect WHERE k BETWEEN $first AND $number"), join(' ', $first .. $number), "$what: each job has run once");
}

$node->safe_psql('postgres', q{SELECT bgjob_queue('groups', group_size => 20)});
for my $queue ('default', 'groups')
{
	after_rewriting("VACUUM FULL of job ($queue)", $queue, 'VACUUM FULL bgjob_internal.job');
	after_rewriting("VACUUM FULL of queue ($queue)", $queue, 'VACUUM FULL bgjob_internal.queue');
	after_rewriting("VACUUM FULL of both ($queue)", $queue, 'VACUUM FULL bgjob_internal.queue', 'VACUUM FULL bgjob_internal.job');
	after_rewriting("CLUSTER ($queue)", $queue, 'CLUSTER bgjob_internal.job USING job_pkey', 'CLUSTER bgjob_internal.queue USING queue_pkey');
	after_rewriting("REINDEX ($queue)", $queue, 'REINDEX SCHEMA bgjob_internal', 'REINDEX TABLE CONCURRENTLY bgjob_internal.job');
	after_rewriting("VACUUM ($queue)", $queue, 'VACUUM bgjob_internal.job', 'VACUUM bgjob_internal.queue');
}

# ---- every table, under load ----

$node->safe_psql('postgres', q{
	CREATE PROCEDURE load(n int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. n LOOP
			PERFORM bgjob_enqueue('act', jsonb_build_array(1000000 + i), unique_key => 'k' || i, tags => ARRAY['t' || i],
				queue => CASE WHEN i % 2 = 0 THEN 'groups' ELSE 'default' END, delay => CASE WHEN i % 3 = 0 THEN interval '0.1 s' END);
			COMMIT;
		END LOOP;
	END $$});
my ($out, $err) = ('', '');
my $load = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'CALL load(3000)' ], '>', \$out, '2>', \$err);
my @tables = split /\n/, $node->safe_psql('postgres', q{SELECT relname FROM pg_class WHERE relnamespace = 'bgjob_internal'::regnamespace AND relkind = 'r' ORDER BY 1});
for my $table (@tables)
{
	my $index = $node->safe_psql('postgres', "SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'bgjob_internal.$table'::regclass AND indisprimary");

	for my $sql ("VACUUM FULL bgjob_internal.$table", "REINDEX TABLE bgjob_internal.$table", $index ne '' ? "REINDEX INDEX CONCURRENTLY $index" : (), $index ne '' ? "CLUSTER bgjob_internal.$table USING " . ($index =~ s/.*\.//r) : ())
	{
		my ($status, $o, $e) = $node->psql('postgres', "SET lock_timeout = '20s'; $sql");
		# REINDEX CONCURRENTLY and another session may deadlock.
		is($status, 0, "$sql, under load") or diag($e);
	}
}
$load->finish;
is($err, '', 'enqueueing went on');
wait_until($node, q{SELECT count(*) = 3000 FROM effect WHERE k > 1000000}, 'all jobs are performed', 60);
is($node->safe_psql('postgres', 'SELECT count(DISTINCT k) FROM effect WHERE k > 1000000'), 3000, 'each once');
check_counters($node);

# ---- rows without their jobs ----

# The table of jobs is truncated while other tables have rows of them: these are removed, and later jobs run.
$node->safe_psql('postgres', q{
	SELECT bgjob_queue('default', paused => true);
	SELECT bgjob_enqueue('act', '[1]', unique_key => 'waits') FROM generate_series(1, 20);
	SELECT bgjob_enqueue('act', '[1]', delay => '1 s', unique_key => 'later');
	TRUNCATE bgjob_internal.job;
	SELECT bgjob_queue_resume('default');
	SELECT bgjob_enqueue('act', '[2000001]');
});
wait_until($node, q{SELECT count(*) = 1 FROM effect WHERE k = 2000001}, 'TRUNCATE of the jobs: a new one is performed', 30);
wait_until($node, q{SELECT NOT EXISTS (SELECT FROM bgjob_internal.queue)}, 'and what waited for nothing has gone from the queue', 30);
wait_until($node, q{SELECT NOT EXISTS (SELECT FROM bgjob_internal.schedule)}, 'and from the schedule', 30);
is($node->safe_psql('postgres', q{SELECT bgjob_enqueue('act', '[2000002]', unique_key => 'waits') > 0}), 't', 'the key of the waiting job is free');
wait_until($node, q{SELECT count(*) = 1 FROM effect WHERE k = 2000002}, 'and the next job with it is performed', 30);

# The queue is truncated: bgjob_adopt() inserts the jobs again.
$node->safe_psql('postgres', q{
	SELECT bgjob_queue('default', paused => true);
	SELECT bgjob_enqueue('act', '[2000003]');
	TRUNCATE bgjob_internal.queue;
	SELECT bgjob_queue_resume('default');
	SELECT bgjob_enqueue('act', '[2000004]')});
wait_until($node, q{SELECT count(*) = 1 FROM effect WHERE k = 2000004}, 'TRUNCATE of the queue: a new job is performed', 30);
$node->safe_psql('postgres', 'SELECT bgjob_adopt()');
wait_until($node, q{SELECT count(*) = 1 FROM effect WHERE k = 2000003}, 'and the old one after bgjob_adopt()', 30);

# Rows that are stored once and cached by id: truncated while sessions and workers cache them.
$node->safe_psql('postgres', q{
	SELECT bgjob_enqueue('act', '[2000005]');
	SELECT bgjob_wait(max(id), '20 s') FROM bgjob.jobs;
	TRUNCATE bgjob_internal.settings;
	SELECT bgjob_enqueue('act', '[2000006]');
});
wait_until($node, q{SELECT count(*) = 1 FROM effect WHERE k = 2000006}, 'TRUNCATE of what jobs call: it is stored again', 30);

my $log = slurp_file($node->logfile);
unlike($log, qr/could not read block|could not open|XX\d\d\d/, 'no complaint in the log');
unlike($log, qr/has gone/, 'no message about missing jobs in the log');
$node->stop;
done_testing();
