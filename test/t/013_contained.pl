# check.sh: crashes expected
# A poisonous job may crash while innocent jobs run beside it, crash in other kinds of jobs and at commit,
# crash together with a second one, or end its own worker without a crash.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = bgjob_cluster('contained', restart_after_crash => 'on', 'bgjob.workers' => 6);
$node->safe_psql('postgres', q{
	CREATE EXTENSION crashme;
	CREATE ROLE app LOGIN; CREATE ROLE other LOGIN;
	GRANT USAGE ON SCHEMA bgjob TO app, other;
	CREATE TABLE effect (job bigint);
	GRANT INSERT ON effect TO PUBLIC;
	CREATE TABLE gate (id int);
	CREATE FUNCTION bystander() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO effect VALUES (bgjob_current_id());
		WHILE NOT EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.02); END LOOP;
	END $$;
	-- crashes only when three others are seen to run beside it
	CREATE FUNCTION poison_beside_three() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		WHILE (SELECT count(*) FROM bgjob.workers WHERE job_id IS NOT NULL) < 4 LOOP PERFORM pg_sleep(0.01); END LOOP;
		PERFORM crashme_abort();
	END $$;
	CREATE FUNCTION innocent() RETURNS void LANGUAGE sql AS 'INSERT INTO effect VALUES (bgjob_current_id())';
	CREATE PROCEDURE poison_after_commit() LANGUAGE plpgsql AS $$BEGIN COMMIT; PERFORM crashme_abort(); END$$;
	CREATE TABLE t (i int);
	CREATE FUNCTION crash_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM crashme_abort(); RETURN NULL; END$$;
	CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION crash_at_commit();
	CREATE FUNCTION poison_at_commit() RETURNS void LANGUAGE sql AS 'INSERT INTO t VALUES (1)';
	CREATE FUNCTION mended() RETURNS void LANGUAGE sql AS 'SELECT crashme_abort()';
	CREATE FUNCTION leave() RETURNS void LANGUAGE sql AS 'SELECT pg_terminate_backend(pg_backend_pid()); SELECT pg_sleep(60)';
});

# enqueue SQL runs statements in one transaction. A crash that they cause may lose the answer.
sub enqueue
{
	# psql may exit before it has read all input.
	eval { $node->psql('postgres', "BEGIN; $_[0]; COMMIT") };
}

# sleeps ID returns a query for whether that job sleeps.
sub sleeps
{
	return "SELECT count(*) = 1 FROM bgjob.workers w JOIN pg_stat_activity a USING (pid) WHERE w.job_id = $_[0] AND a.wait_event = 'PgSleep'";
}

sub fails_for_crashes
{
	my ($where, $what, $crashes) = @_;

	wait_until($node, "SELECT count(*) > 0 AND bool_and(state = 'failed') FROM bgjob.jobs WHERE $where", "$what: failed", 120);
	is(ask($node, "SELECT count(*) FROM bgjob.jobs WHERE $where AND (reason IS NULL OR reason !~* 'crash|worker')"), 0, 'the reason names the crash');
	# An attempt between the end of the worker and that of the server is not counted as a crash.
	is(ask($node, "SELECT DISTINCT count(*) FROM bgjob.job_states s JOIN bgjob.jobs j ON j.id = s.job_id
		WHERE s.reason ~ '^(Crashed the server|Ended its worker)' AND ($where) GROUP BY j.id"), $crashes, "after $crashes");
}

sub effects_once
{
	wait_until($node, q{SELECT bool_and(state = 'succeeded') FROM bgjob.jobs WHERE job IN ('innocent', 'bystander')}, 'all others succeed', 120);
	is(ask($node, q{SELECT count(*) FROM bgjob.jobs j WHERE job IN ('innocent', 'bystander')
		AND (SELECT count(*) FROM effect WHERE job = j.id) <> 1}), 0, 'each innocent job has taken effect once');
}

# The bystanders are in flight in each of the three crashes: as often as the culprit itself.
enqueue(q{SELECT count(*) FROM bgjob_enqueue_many('bystander', array_fill(NULL::jsonb, ARRAY[3]))});
wait_until($node, q{SELECT count(*) = 3 FROM bgjob.jobs WHERE job = 'bystander' AND state = 'processing'}, 'three bystanders run');
enqueue(q{SELECT bgjob_enqueue('poison_beside_three')});
fails_for_crashes(q{job = 'poison_beside_three'}, 'a job that crashes beside three others', 3);
wait_until($node, q{SELECT count(*) = 3 FROM bgjob.jobs WHERE job = 'bystander' AND state = 'processing'}, 'the bystanders run again');
# The culprit fails when its worker is lost; the server and the bystanders may end a moment later.
wait_until($node, q{SELECT string_agg(interruptions || ' ' || retries, ', ') = '3 0, 3 0, 3 0' FROM bgjob.jobs WHERE job = 'bystander'},
	'each was interrupted three times and has used no retry');
$node->safe_psql('postgres', 'INSERT INTO gate VALUES (1)');
effects_once();

# Two at once, each the other's bystander.
enqueue(q{SELECT bgjob_enqueue('crashme_abort', queue => 'a'); SELECT bgjob_enqueue('crashme_abort', queue => 'b');
	SELECT count(*) FROM bgjob_enqueue_many('innocent', array_fill(NULL::jsonb, ARRAY[50]))});
wait_until($node, q{SELECT count(*) = 2 FROM bgjob.jobs WHERE job = 'crashme_abort' AND state = 'failed'}, 'two poisonous jobs at once fail', 120);
effects_once();

# Other kinds of jobs, and a crash at commit.
for my $case ([ 'SELECT crashme_abort()', q(, kind => 'sql'), 'a command' ], [ 'poison_after_commit', '', 'a procedure after its COMMIT' ],
	[ 'poison_at_commit', '', 'a deferred trigger at the commit of the job' ])
{
	my ($job, $options, $what) = @$case;
	enqueue("SELECT bgjob_enqueue('$job'$options); SELECT count(*) FROM bgjob_enqueue_many('innocent', array_fill(NULL::jsonb, ARRAY[10]))");
	fails_for_crashes("job = '$job'", $what, 3);
	effects_once();
}
is(ask($node, 'SELECT count(*) FROM t'), 0, 'the job with the trigger has left no row');

# bgjob.max_crashes, and requeueing.
set_and_reload($node, 'bgjob.max_crashes' => 1);
my $id = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('mended', delay => '300 ms')});
fails_for_crashes("id = $id", 'bgjob.max_crashes = 1', 1);
$node->safe_psql('postgres', q{CREATE OR REPLACE FUNCTION mended() RETURNS void LANGUAGE sql AS 'SELECT 1'});
is($node->safe_psql('postgres', "SELECT bgjob_requeue($id)"), 't', 'a job whose function is repaired can be requeued');
is($node->safe_psql('postgres', "SELECT bgjob_wait($id, '60 s')"), 'succeeded', 'the requeued job succeeds');
set_and_reload($node, 'bgjob.max_crashes' => 3);

# A job that ends its own worker without a crash of the server: exit(0), exit(1), a termination. In each case
# other jobs run, and the job can be deleted.
for my $case ([ 'crashme_exit', '[0]', 'exit(0)' ], [ 'crashme_exit', '[1]', 'exit(1)' ], [ 'leave', 'null', 'a job that terminates its own worker' ])
{
	my ($job, $args, $what) = @$case;
	# One worker: no other worker could run the other jobs.
	for my $workers (6, 1)
	{
		set_and_reload($node, 'bgjob.workers' => $workers);
		my $lost = $node->safe_psql('postgres', "SET ROLE app; SELECT public.bgjob_enqueue('public.$job', nullif('$args', 'null')::jsonb)");
		my $same = $node->safe_psql('postgres', q{SET ROLE app; SELECT public.bgjob_enqueue('public.innocent')});
		my $else = $node->safe_psql('postgres', q{SET ROLE other; SELECT public.bgjob_enqueue('public.innocent')});
		wait_until($node, "SELECT interruptions > 0 OR state = 'failed' FROM bgjob.jobs WHERE id = $lost", "$what, $workers workers: the loss of the worker is recorded");
		is($node->safe_psql('postgres', "SELECT bgjob_wait($else, '30 s')"), 'succeeded', "a job of another role runs");
		is($node->safe_psql('postgres', "SELECT bgjob_wait($same, '30 s')"), 'succeeded', "a job of the same role runs");
		note("after that: " . ask($node, "SELECT state, reason, interruptions, retries FROM bgjob.jobs WHERE id = $lost"));
		wait_until($node, "SELECT state = 'deleted' FROM (SELECT bgjob_delete($lost)) d, bgjob.jobs WHERE id = $lost",
			'it can be deleted', 30);
	}
}
effects_once();

# An accepted deletion takes effect even if the worker that accepted it is lost.
set_and_reload($node, 'bgjob.workers' => 6);
for my $way ('crashme_exit(1)', 'pg_terminate_backend(pg_backend_pid())', 'crashme_abort()')
{
	$node->safe_psql('postgres', "CREATE OR REPLACE FUNCTION defiant() RETURNS void LANGUAGE plpgsql AS \$\$
		BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN PERFORM $way; PERFORM pg_sleep(600); END\$\$");
	$id = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('defiant')});
	wait_until($node, sleeps($id), "a job that answers a cancel by $way");
	if ($way eq 'crashme_abort()')
	{
		# The crash may precede the answer.
		eval { $node->psql('postgres', "SELECT bgjob_delete($id)") };
		last;
	}
	is($node->safe_psql('postgres', "SELECT bgjob_delete($id)"), 't', 'the deletion of the job is accepted');
	wait_until($node, "SELECT state = 'deleted' FROM bgjob.jobs WHERE id = $id", 'and holds', 20);
}

# A crash of the server loses the request, as it is in no table yet. If the request is repeated, the job ends
# anyway: as deleted, or because it has crashed the server too often.
wait_until($node, "SELECT interruptions > 0 OR state = 'failed' FROM bgjob.jobs WHERE id = $id", 'the job crashes the server instead');
for (1 .. 3)
{
	wait_until($node, "SELECT state = 'failed' OR (" . sleeps($id) . ") FROM bgjob.jobs WHERE id = $id", 'the job runs again, or has failed');
	last if ask($node, "SELECT state = 'failed' FROM bgjob.jobs WHERE id = $id") eq 't';
	eval { $node->psql('postgres', "SELECT bgjob_delete($id, 'processing')") };
	# Until the server is down.
	wait_until($node, "SELECT state <> 'processing' OR interruptions > $_ FROM bgjob.jobs WHERE id = $id", 'deleted again, it crashes again');
}
is(ask($node, "SELECT state FROM bgjob.jobs WHERE id = $id"), 'failed', 'the job has failed in the end');
is($node->safe_psql('postgres', "SELECT bgjob_delete($id)"), 't', 'the failed job can be deleted');

# Any other exit status is a crash of the server. Last: a server that did not count these crashes would never be idle.
enqueue(q{SELECT bgjob_enqueue('crashme_exit', '[3]'); SELECT count(*) FROM bgjob_enqueue_many('innocent', array_fill(NULL::jsonb, ARRAY[10]))});
fails_for_crashes(q{job = 'crashme_exit' AND args = '[3]'}, 'exit(3)', 3);
effects_once();
check_counters($node);
$node->stop('immediate');
done_testing();
