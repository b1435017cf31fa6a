# Too few background worker slots: one warning, and all jobs run.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;

# The launcher, the scheduler and the logical replication launcher leave one slot.
my $node = bgjob_cluster('slots', max_worker_processes => 4, 'bgjob.worker_idle_timeout' => '1h');

$node->safe_psql('postgres', 'CREATE TABLE done (n int, who name);
	GRANT ALL ON done TO PUBLIC;
	CREATE FUNCTION work(n int) RETURNS void LANGUAGE sql AS $$INSERT INTO done VALUES (n, session_user)$$;
	CREATE PROCEDURE step(n int) LANGUAGE plpgsql AS $$BEGIN INSERT INTO done VALUES (n, session_user); COMMIT; END$$;
	CREATE ROLE app1 LOGIN; CREATE ROLE app2 LOGIN; CREATE ROLE app3 LOGIN;
	GRANT USAGE ON SCHEMA bgjob TO app1, app2, app3');

# Slow jobs first: the others would wait for all of them if roles did not take turns.
$node->safe_psql('postgres', q(SELECT bgjob_enqueue_many('pg_sleep', array_fill('[0.1]'::jsonb, ARRAY[100]))));
for my $role ('app1', 'app2', 'app3')
{
	$node->safe_psql('postgres', qq(SET SESSION AUTHORIZATION $role;
		SELECT bgjob_enqueue_many('work', (SELECT array_agg(to_jsonb(ARRAY[n])) FROM generate_series(1, 20) n));
		SELECT bgjob_enqueue('step', '[21]');
		SELECT bgjob_enqueue('INSERT INTO done VALUES (22, session_user)', kind => 'sql');
		SELECT bgjob_enqueue('work', '[23]', delay => '2 s');));
}
wait_until($node, 'SELECT count(*) = 3 * 23 FROM done', 'jobs of other roles run');
is($node->safe_psql('postgres', q(SELECT string_agg(who || ' ' || n, ', ' ORDER BY who)
	FROM (SELECT who, count(DISTINCT n) AS n FROM done GROUP BY 1) d)), 'app1 23, app2 23, app3 23', 'all jobs ran, as their roles');
cmp_ok($node->safe_psql('postgres', q(SELECT count(*) FROM bgjob.jobs WHERE job = 'pg_sleep' AND state = 'succeeded')),
	'<', 100, 'before the slow jobs end') or diag('all slow jobs ran first');
wait_until($node, q(SELECT count(*) = 0 FROM bgjob.jobs WHERE state <> 'succeeded'), 'all jobs succeed');
is($node->safe_psql('postgres', 'SELECT count(*) FROM bgjob.jobs WHERE retries + interruptions > 0'), 0, 'all jobs succeed at the first attempt');

my $log = slurp_file($node->logfile);
is(scalar(() = $log =~ /WARNING:  out of background worker slots for database "postgres"$/mg), 1, 'one warning about missing slots');
like($log, qr/HINT: .*max_worker_processes/, 'the warning has a hint');

# The scheduler of a second database starts when a slot is free; without one nothing fails.
$node->safe_psql('postgres', 'CREATE DATABASE second');
$node->safe_psql('second', 'CREATE EXTENSION bgjob');
is($node->safe_psql('second', q(SELECT bgjob_enqueue('pg_sleep', '[0]'))), 1, 'a job in a database without a scheduler can be enqueued');
$node->append_conf('postgresql.conf', 'max_worker_processes = 8');
$node->restart;
wait_until($node, q(SELECT state = 'succeeded' FROM bgjob.jobs WHERE id = 1), 'and runs when there are slots', 60, 'second');
check_counters($node);
check_counters($node, 'second');
$node->stop;
done_testing();
