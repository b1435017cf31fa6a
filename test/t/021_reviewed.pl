# check.sh: crashes expected
# Faults found by a hostile review of the engine.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use BgjobTest;

my $node = bgjob_cluster('reviewed', restart_after_crash => 'on', max_parallel_workers_per_gather => 2);
sub sql { return $node->safe_psql('postgres', $_[0]) }

# Enqueues and waits in separate sessions, since a crash may end either.
sub result { my ($id) = @_; sql("SELECT bgjob_wait($id, '60 s')"); return sql("SELECT state || ' ' || coalesce(error->>'sqlstate', '-') FROM bgjob.jobs WHERE id = $id") }

# A session caches ids of settings, whose table may be dropped.
is($node->safe_psql('postgres', q{
	CREATE FUNCTION path() RETURNS text LANGUAGE sql AS $$SELECT current_setting('IntervalStyle')$$;
	SET IntervalStyle = 'sql_standard';
	SELECT bgjob_enqueue('path') > 0;
	DROP EXTENSION bgjob;
	CREATE EXTENSION bgjob;
	SELECT bgjob_enqueue('path') > 0}), "t\nt", 'the extension is made anew in a session that has enqueued');
wait_until($node, q{SELECT count(*) = 1 FROM bgjob.jobs WHERE state = 'succeeded' AND result = '"sql_standard"'},
	'its next job has the settings of the session');

# CREATE EXTENSION again while its scheduler exits.
for my $round (1 .. 15)
{
	$node->safe_psql('postgres', q{DROP EXTENSION bgjob; CREATE EXTENSION bgjob;});
	my $id = sql(q{SELECT bgjob_enqueue('path')});
	my $state = sql("SELECT bgjob_wait($id, '60 s')");
	next if $state eq 'succeeded' && $round < 15;
	is($state, 'succeeded', "dropped and made again $round times, jobs run");
	last;
}

# A table that differs from the library's.
my ($out, $err);
$node->psql('postgres', q{BEGIN; ALTER TABLE bgjob_internal.job ADD another integer; SELECT bgjob_enqueue('path')}, stdout => \$out, stderr => \$err);
like($err, qr/ERROR: .*"bgjob_internal\.job".*columns, not \d+\..*The library and the extension's script/s, 'a table with another column is refused');

# The counts of a dropped extension are forgotten, also if no scheduler saw the drop.
is(sql('SELECT succeeded FROM bgjob.stats'), '1', 'jobs that have succeeded are counted');
set_and_reload($node, 'bgjob.enabled', 'off');
wait_until($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler'}, 'no scheduler is there');
is(sql('DROP EXTENSION bgjob; CREATE EXTENSION bgjob; SELECT succeeded FROM bgjob.stats'), '0', 'after CREATE EXTENSION they are zero');
set_and_reload($node, 'bgjob.enabled', 'on');

# A signal that the server turns into an error fails only the job.
sql('CREATE EXTENSION crashme');
my $started = sql('SELECT pg_postmaster_start_time()::text || (SELECT max(backend_start) FROM pg_stat_activity WHERE backend_type = $$checkpointer$$)');
is(result(sql(q{SELECT bgjob_enqueue('crashme_sigfpe', max_retries => 0)})), 'failed 22P01', 'a floating-point exception fails the job');
is(sql('SELECT pg_postmaster_start_time()::text || (SELECT max(backend_start) FROM pg_stat_activity WHERE backend_type = $$checkpointer$$)'),
	$started, 'the server does not restart');

# A job cannot wait for its own end.
sql('CREATE DATABASE elsewhere');
for my $command ('DROP EXTENSION bgjob', 'CREATE DATABASE copy TEMPLATE postgres')
{
	my $id = sql("SELECT bgjob_enqueue('$command', kind => 'sql', max_retries => 0)");

	is(result($id), 'failed 55006', "a job that gives $command fails");
	is(sql("SELECT interruptions FROM bgjob.jobs WHERE id = $id"), '0', 'at once');
}

# bgjob_adopt() while jobs run.
sql(q{
	CREATE TABLE effect (job bigint);
	CREATE FUNCTION work() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(0.01); INSERT INTO effect VALUES (bgjob_current_id()); END$$;
	CREATE PROCEDURE work_committing() LANGUAGE plpgsql AS $$BEGIN COMMIT; PERFORM pg_sleep(0.2); INSERT INTO effect VALUES (bgjob_current_id()); END$$;
	SELECT count(bgjob_enqueue('work')) FROM generate_series(1, 300);
	SELECT count(bgjob_enqueue('work_committing')) FROM generate_series(1, 20);
});
my $adopted = 0;
$adopted += sql('SELECT bgjob_adopt()') for 1 .. 40;
is($adopted, 0, 'there is nothing to adopt where all is in its place');
wait_until($node, q{SELECT count(*) = 320 FROM bgjob.jobs WHERE job ~ '^work' AND state = 'succeeded'}, 'all jobs end');
is(sql('SELECT count(*) || $$ $$ || count(DISTINCT job) FROM effect'), '320 320', 'each with its effects once');
is(sql('SELECT count(*) FROM bgjob_internal.queue'), '0', 'the queue is empty');

# A crash in a parallel worker counts for its job.
sql(q{
	CREATE TABLE big AS SELECT i FROM generate_series(1, 20000) i;
	ALTER TABLE big SET (parallel_workers = 2);
	CREATE FUNCTION in_parallel() RETURNS void LANGUAGE plpgsql SET parallel_setup_cost = 0 SET parallel_tuple_cost = 0
		SET min_parallel_table_scan_size = 0 SET parallel_leader_participation = off AS $$BEGIN PERFORM count(*) FROM big WHERE crashme_in_parallel(i); END$$;
	CREATE FUNCTION bystander() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(1); INSERT INTO effect VALUES (-1); END$$;
	TRUNCATE effect;
	ALTER SYSTEM SET bgjob.enabled = off;
	SELECT pg_reload_conf();
});
wait_until($node, q{SELECT count(*) = 0 FROM bgjob.workers}, 'no worker is left');
sql(q{SELECT bgjob_enqueue('bystander'), bgjob_enqueue('in_parallel')});
sql('ALTER SYSTEM RESET bgjob.enabled');
$node->reload;
wait_until($node, q{SELECT count(*) = 1 FROM bgjob.jobs WHERE job = 'in_parallel' AND state = 'failed'},
	'a job that crashes the server in a parallel worker fails', 120);
is(sql(q{SELECT reason FROM bgjob.jobs WHERE job = 'in_parallel'}), 'Crashed the server 3 times', 'the reason of the failed job is the crash');
wait_until($node, q{SELECT count(*) = 1 FROM effect WHERE job = -1}, 'the one beside it runs to its end, once');
is(sql(q{SELECT r.crashes IS NULL FROM bgjob.jobs JOIN bgjob_internal.job r USING (id) WHERE jobs.job = 'bystander'}), 't', 'no crash is counted for the bystander');
check_counters($node);
$node->stop('immediate');
done_testing();
