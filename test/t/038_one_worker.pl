# The views never show a job at two workers. The slots of the workers are read one after the other, and a job may move meanwhile:
# three running jobs are requeued again and again, while a session reads the views.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = bgjob_cluster('one_worker', 'bgjob.workers' => 8);
my $script = "$PostgreSQL::Test::Utils::tmp_check/requeue.sql";

$node->safe_psql('postgres', q{
	CREATE TABLE looked (times bigint, working bigint, twice bigint);
	CREATE TABLE over ();
	CREATE PROCEDURE look() LANGUAGE plpgsql AS $$
	DECLARE
		seen looked;
		now looked;
	BEGIN
		seen := (0, 0, 0);
		LOOP
			SELECT 1, count(job_id), count(job_id) - count(DISTINCT job_id) INTO now FROM bgjob.workers;
			seen := (seen.times + 1, seen.working + now.working, seen.twice + now.twice);
			SELECT 1, 0, count(*) - count(DISTINCT id) INTO now FROM bgjob.jobs;
			seen.twice := seen.twice + now.twice;
			COMMIT;
			EXIT WHEN EXISTS (SELECT FROM over);
		END LOOP;
		INSERT INTO looked SELECT seen.*;
	END $$;
	SELECT bgjob_enqueue('pg_sleep', '[600]') FROM generate_series(1, 3);
});
append_to_file($script, "SELECT bgjob_requeue(:client_id + 1, 'processing');\n");
wait_until($node, q{SELECT count(*) = 3 FROM bgjob.jobs WHERE id IN (1, 2, 3) AND state = 'processing'}, 'three jobs are running');
my ($in, $out, $err) = ('', '', '');
my $watcher = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'CALL look()' ], \$in, \$out, \$err, IPC::Run::timeout(200));
command_ok([ 'timeout', 150, 'pgbench', '-n', '-c', 3, '-t', 4000, '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ], 'the jobs are requeued many times');
$node->safe_psql('postgres', 'INSERT INTO over DEFAULT VALUES');
$watcher->finish;
is($err, '', 'a session has watched');
is($node->safe_psql('postgres', 'SELECT times > 500, working > 500, twice FROM looked'), 't|t|0', 'the watching session has seen running jobs often, never one in two workers');
is($node->safe_psql('postgres', q{SELECT count(*) > 1000, count(DISTINCT data->>'worker_pid') > 3 FROM bgjob.job_states WHERE state = 'processing'}), 't|t', 'the jobs moved from worker to worker');
is($node->safe_psql('postgres', 'SELECT count(*) FROM bgjob.jobs WHERE NOT bgjob_delete(id)'), '0', 'the jobs can be deleted');
check_counters($node);
$node->stop;
done_testing();
