# check.sh: crashes expected
# A job that crashes the server, or ends its worker, fails after three crashes; other jobs in flight are not counted as crashed.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Utils;
use Test::More;
use BgjobTest;

my $node = bgjob_cluster('poison', restart_after_crash => 'on');
$node->safe_psql('postgres', q{
	CREATE EXTENSION crashme;
	CREATE TABLE ran (job bigint);
	CREATE FUNCTION innocent() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO ran VALUES (bgjob_current_id());
		PERFORM pg_sleep(0.3);
	END $$;
	CREATE FUNCTION late_crash() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM pg_sleep(0.2);
		PERFORM crashme_segv();
	END $$;
});

for my $poison ('crashme_abort', 'crashme_segv', 'crashme_stack', 'late_crash', 'crashme_fatal')
{
	# One transaction: all jobs exist before the first crash, which may end this session.
	eval { $node->psql('postgres', qq{
		BEGIN;
		SELECT count(*) FROM bgjob_enqueue_many('innocent', array_fill(NULL::jsonb, ARRAY[6]));
		SELECT bgjob_enqueue('$poison');
		SELECT count(*) FROM bgjob_enqueue_many('innocent', array_fill(NULL::jsonb, ARRAY[6]));
		COMMIT;
	}) };
	wait_until($node, qq{SELECT count(*) = 1 FROM bgjob.jobs WHERE job = '$poison' AND state = 'failed'}, "$poison: the job has failed", 120);
	my $id = $node->safe_psql('postgres', qq{SELECT id FROM bgjob.jobs WHERE job = '$poison'});
	is($node->safe_psql('postgres', qq{SELECT reason FROM bgjob.jobs WHERE id = $id}), 
		$poison eq 'crashme_fatal' ? 'Ended its worker 3 times' : 'Crashed the server 3 times', 'the reason of the failed job is the crash');
	is($node->safe_psql('postgres', qq{SELECT retries FROM bgjob.jobs WHERE id = $id}), '0', 'no retry was used');
	like(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/LOG:  job $id \($poison\) of role "\w+" is not retried\n.*DETAIL:  .* 3 times\.\n.*HINT:  Requeue/,
		'the log says that it is not retried, and whose it is');
	is($node->safe_psql('postgres', qq{SELECT count(*) FROM bgjob.job_states WHERE job_id = $id AND state = 'processing'}), '3',
		'its history has three attempts');
	wait_until($node, qq{SELECT bool_and(state = 'succeeded') FROM bgjob.jobs WHERE id <> $id AND job = 'innocent'},
		'all others succeed', 120);
	is($node->safe_psql('postgres', q{SELECT count(*) FROM (SELECT job FROM ran GROUP BY job HAVING count(*) <> 1) x}), '0',
		'each has taken effect once');
}
is($node->safe_psql('postgres', q{SELECT count(*) > 0, count(*) FILTER (WHERE r.crashes > 0) FROM bgjob.jobs JOIN bgjob_internal.job r USING (id) WHERE jobs.job = 'innocent'}), 't|0', 'no other job has a crash counted');
# Rolled back: a requeued job would crash the server again.
is($node->safe_psql('postgres', q{BEGIN; SELECT bgjob_requeue(id) FROM bgjob.jobs WHERE job = 'crashme_abort'; ROLLBACK}), 't',
	'the job can be requeued');
check_counters($node);
$node->stop('immediate');
done_testing();
