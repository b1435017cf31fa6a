# check.sh: crashes expected
# Groups of jobs in one transaction whose worker or server is lost: each job takes effect exactly once, no job is
# counted for another job's crash, and a slow job does not delay the rest of its group.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = bgjob_cluster('groups', restart_after_crash => 'on', 'bgjob.workers' => 4, 'bgjob.shutdown_timeout' => '2s');
$node->safe_psql('postgres', q{
	CREATE EXTENSION crashme;
	CREATE TABLE effect (job bigint, step int, xid text DEFAULT pg_current_xact_id()::text);
	CREATE FUNCTION work() RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO effect VALUES (bgjob_current_id(), 1);
		PERFORM pg_sleep(random() * 0.004);
		INSERT INTO effect VALUES (bgjob_current_id(), 2);
		RETURN 'done ' || bgjob_current_id();
	END $$;
	CREATE FUNCTION slow(seconds float8) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO effect VALUES (bgjob_current_id(), 1);
		PERFORM pg_sleep(seconds);
		INSERT INTO effect VALUES (bgjob_current_id(), 2);
	END $$;
	CREATE FUNCTION late_crash() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM pg_sleep(0.1);
		PERFORM crashme_segv();
	END $$;
	CREATE FUNCTION crash_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM crashme_segv(); RETURN NULL; END $$;
	CREATE TABLE doomed (x int);
	CREATE CONSTRAINT TRIGGER t AFTER INSERT ON doomed DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION crash_at_commit();
	CREATE FUNCTION commit_crash() RETURNS void LANGUAGE sql AS $$ INSERT INTO doomed VALUES (1) $$;
	SELECT bgjob_queue('g', group_size => 100);
});

# put N, OPTIONS enqueues N jobs in one statement. ask() may repeat the statement.
sub put
{
	my ($n, $options) = @_;
	return ask($node, "SELECT count(*) FROM bgjob_enqueue_many('work', array_fill(NULL::jsonb, ARRAY[$n]), queue => 'g'" . ($options // '') . ")");
}

# exactly_once WHAT tests the effects, retries, results and history of all jobs enqueued so far that are named work or slow.
sub exactly_once
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_until($node, q{SELECT bool_and(state = 'succeeded') FROM bgjob.jobs WHERE job IN ('work', 'slow')}, "$what: all jobs succeed", 180)
		or diag(ask($node, q{SELECT state, count(*), min(reason) FROM bgjob.jobs WHERE job = 'work' GROUP BY 1}));
	is(ask($node, q{SELECT count(*) FROM (SELECT job FROM effect GROUP BY job HAVING count(*) <> 2 OR count(DISTINCT step) <> 2) x}), '0',
		"$what: every effect is there exactly once");
	is(ask($node, q{SELECT count(*) FROM bgjob.jobs j WHERE job IN ('work', 'slow') AND NOT EXISTS (SELECT FROM effect e WHERE e.job = j.id)}), '0',
		"$what: no effect is missing");
	is(ask($node, q{SELECT count(*) FROM bgjob.jobs WHERE job IN ('work', 'slow') AND retries > 0}), '0', "$what: no retry was used");
	is(ask($node, q{SELECT count(*) FROM bgjob.jobs WHERE job = 'work' AND result <> to_jsonb('done ' || id)}), '0', "$what: each has its own result");
	is(ask($node, q{SELECT count(*) FROM bgjob.jobs j WHERE job = 'work' AND (SELECT count(*) FROM bgjob.job_states s WHERE s.job_id = j.id AND s.state = 'succeeded') <> 1}), '0',
		"$what: its history shows one success");
}

sub fresh
{
	ask($node, q{TRUNCATE effect});
	ask($node, q{SELECT bgjob_purge('succeeded')});
	ask($node, q{SELECT bgjob_purge('failed')});
	ask($node, q{SELECT bgjob_purge('deleted')});
}

# Workers are killed or terminated within a group.
my $busy = q{SELECT pid FROM bgjob.workers WHERE job_id IS NOT NULL ORDER BY job_id LIMIT 1};
for my $how ('KILL', 'TERM')
{
	my $hit = 0;
	my $until = time + 120;
	put(600);
	for my $round (1 .. 20)
	{
		# The jobs are short: none may be left.
		put(600) if ask($node, q{SELECT count(*) FROM bgjob.jobs WHERE state <> 'succeeded'}) < 400;
		my $pid = ask($node, $busy);
		redo if $pid !~ /^\d+$/ && time < $until;
		last if $pid !~ /^\d+$/;
		kill $how, $pid;
		until_gone($pid);
		$hit++;
	}
	is($hit, 20, "SIG$how: twenty workers were hit while they ran a group");
	exactly_once("SIG$how");
	cmp_ok(ask($node, q{SELECT count(DISTINCT xid) FROM effect}), '<', ask($node, q{SELECT count(*) FROM bgjob.jobs}), "SIG$how: there were groups");
	fresh();
}

# A sleeping job within a group, after ten others.
for my $how ('KILL', 'TERM')
{
	my $id = ask($node, q{
		WITH a AS (SELECT count(*) FROM bgjob_enqueue_many('work', array_fill(NULL::jsonb, ARRAY[10]), queue => 'g', priority => 1))
		SELECT bgjob_enqueue('slow', '[3]', queue => 'g') FROM a, LATERAL (SELECT 1 FROM a OFFSET 0) x});
	put(50);
	my $pid = pid_of($node, "SELECT worker_pid FROM bgjob.jobs WHERE id = $id AND state = 'processing'");
	kill $how, $pid;
	until_gone($pid);
	exactly_once("SIG$how at the eleventh job of a group");
	is(ask($node, "SELECT interruptions FROM bgjob.jobs WHERE id = $id"), '1', "SIG$how: the interruption of the job that was running is counted");
	fresh();
}

# A poisonous job in the middle of a group of innocent ones.
for my $poison ('crashme_abort', 'crashme_segv', 'late_crash', 'commit_crash', 'crashme_fatal')
{
	# One transaction: all jobs exist before the first crash, which may end this session.
	eval { $node->psql('postgres', qq{
		BEGIN;
		SELECT count(*) FROM bgjob_enqueue_many('work', array_fill(NULL::jsonb, ARRAY[20]), queue => 'g');
		SELECT bgjob_enqueue('$poison', queue => 'g');
		SELECT count(*) FROM bgjob_enqueue_many('work', array_fill(NULL::jsonb, ARRAY[40]), queue => 'g');
		COMMIT;
	}) };
	wait_until($node, qq{SELECT count(*) = 1 FROM bgjob.jobs WHERE job = '$poison' AND state = 'failed'}, "$poison: the job has failed", 180)
		or diag(ask($node, q{SELECT job, state, reason, interruptions, count(*) FROM bgjob.jobs GROUP BY 1, 2, 3, 4}));
	is(ask($node, qq{SELECT reason FROM bgjob.jobs WHERE job = '$poison'}),
		$poison eq 'crashme_fatal' ? 'Ended its worker 3 times' : 'Crashed the server 3 times', "$poison: the reason of the failed job is the crash");
	is(ask($node, qq{SELECT retries FROM bgjob.jobs WHERE job = '$poison'}), '0', "$poison: no retry was used");
	is(ask($node, qq{SELECT count(*) FROM bgjob.job_states s JOIN bgjob.jobs j ON j.id = s.job_id WHERE j.job = '$poison' AND s.state = 'processing'}), '3',
		"$poison: it had three attempts");
	is(ask($node, q{SELECT count(*) FROM bgjob.jobs WHERE job = 'work'}), '60', "$poison: all sixty other jobs of the group have run");
	exactly_once($poison);
	fresh();
}

# Two poisonous jobs in one group.
eval { $node->psql('postgres', q{
	BEGIN;
	SELECT count(*) FROM bgjob_enqueue_many('work', array_fill(NULL::jsonb, ARRAY[5]), queue => 'g');
	SELECT bgjob_enqueue('crashme_abort', queue => 'g');
	SELECT bgjob_enqueue('crashme_segv', queue => 'g');
	SELECT count(*) FROM bgjob_enqueue_many('work', array_fill(NULL::jsonb, ARRAY[5]), queue => 'g');
	COMMIT;
}) };
wait_until($node, q{SELECT count(*) = 2 FROM bgjob.jobs WHERE job LIKE 'crashme%' AND state = 'failed'}, 'two poisonous jobs side by side have failed', 180);
exactly_once('beside two poisonous jobs');
fresh();

# A slow job at the head of a group, and one within a group.
for my $before (0, 50)
{
	my $began = time;
	ask($node, qq{SELECT count(*) FROM bgjob_enqueue_many('work', array_fill(NULL::jsonb, ARRAY[$before]), queue => 'g')}) if $before;
	my $slow = ask($node, qq{
		DO \$\$ BEGIN
			PERFORM bgjob_enqueue('slow', '[20]', queue => 'g');
			PERFORM bgjob_enqueue_many('work', array_fill(NULL::jsonb, ARRAY[199]), queue => 'g');
		END \$\$;
		SELECT id FROM bgjob.jobs WHERE job = 'slow'});
	wait_until($node, qq{SELECT count(*) = 199 FROM bgjob.jobs WHERE job = 'work' AND id > $slow AND state = 'succeeded'},
		"a slow job with $before before it: the 199 behind it have succeeded", 12);
	is(ask($node, "SELECT state FROM bgjob.jobs WHERE id = $slow"), 'processing', "a slow job with $before before it: while it is still running");
	exactly_once("a slow job with $before before it");
	fresh();
}

# Shutdowns within groups. Running jobs get two seconds; then the slow job is canceled and returns to its queue.
for my $mode ('fast', 'immediate')
{
	put(2000);
	my $slow = ask($node, q{SELECT bgjob_enqueue('slow', '[4]', queue => 'g', priority => 1)});
	wait_until($node, qq{SELECT state = 'processing' FROM bgjob.jobs WHERE id = $slow}, "$mode stop: a slow job runs among many");
	$node->stop($mode);
	start_again($node);
	exactly_once("$mode stop");
	is(ask($node, "SELECT interruptions FROM bgjob.jobs WHERE id = $slow"), '1', "$mode stop: the slow job was interrupted once");
	is(ask($node, q{SELECT group_size FROM bgjob.queues WHERE queue = 'g'}), '100', "$mode stop: the queue is configured as before");
	fresh();
}

# A queue stays paused after its worker is lost and after a restart.
my $slow = ask($node, q{SELECT bgjob_enqueue('slow', '[3]', queue => 'g')});
my $pid = pid_of($node, "SELECT worker_pid FROM bgjob.jobs WHERE id = $slow AND state = 'processing'");
is(ask($node, q{SELECT bgjob_queue_pause('g')}), 't', 'the queue is paused while a job of it runs');
kill 'TERM', $pid;
until_gone($pid);
wait_until($node, qq{SELECT state = 'enqueued' FROM bgjob.jobs WHERE id = $slow}, 'the job is in its queue again after its worker was terminated');
$node->restart;
my $marker = ask($node, q{SELECT bgjob_enqueue('work', priority => -100)});
is(ask($node, "SELECT bgjob_wait($marker, '60 s')"), 'succeeded', 'after a restart a job of another queue runs');
is(ask($node, "SELECT state, interruptions FROM bgjob.jobs WHERE id = $slow"), 'enqueued|1', 'the job of the paused queue is not started');
is(ask($node, q{SELECT paused FROM bgjob.queues WHERE queue = 'g'}), 't', 'the queue is still paused');
is(ask($node, q{SELECT bgjob_queue_resume('g')}), 't', 'the queue is resumed');
is(ask($node, "SELECT bgjob_wait($slow, '60 s')"), 'succeeded', 'the job of the resumed queue succeeds');

# Many queues: a rolled-back configuration takes no room; beyond the limit there is an error.
my ($status, $out, $err) = $node->psql('postgres', q{
	DO $$ BEGIN FOR i IN 1 .. 1500 LOOP
		BEGIN PERFORM bgjob_queue_pause('r' || i); RAISE EXCEPTION USING ERRCODE = 'P9999'; EXCEPTION WHEN SQLSTATE 'P9999' THEN NULL; END;
	END LOOP; END $$;
	SELECT bgjob_queue('one_more')});
is($status, 0, 'queues whose configuration was rolled back take no room') or diag($err);
($status, $out, $err) = $node->psql('postgres', q{
	\set VERBOSITY verbose
	DO $$ BEGIN FOR i IN 1 .. 1100 LOOP PERFORM bgjob_queue_pause('q' || i); COMMIT; END LOOP; END $$});
like($err, qr/53400/, 'the number of configured queues is limited');
my $job = ask($node, q{SELECT bgjob_enqueue('work', queue => 'q1')});
my $other = ask($node, q{SELECT bgjob_enqueue('work', queue => 'unconfigured')});
is(ask($node, "SELECT bgjob_wait($other, '60 s')"), 'succeeded', 'at the limit, jobs of other queues run');
is(ask($node, "SELECT state FROM bgjob.jobs WHERE id = $job"), 'enqueued', 'jobs of paused queues do not');
ask($node, q{SELECT count(*) FROM (SELECT bgjob_queue_remove(queue) FROM bgjob.queues WHERE queue ~ '^q') x});
is(ask($node, "SELECT bgjob_wait($job, '60 s')"), 'succeeded', 'the job runs when the configuration is removed');
is(ask($node, q{SELECT count(*) FROM bgjob.queues WHERE queue ~ '^q'}), '0', 'no configured queue is left');
($status, $out, $err) = $node->psql('postgres', q{SELECT bgjob_queue('and_again')});
is($status, 0, 'another queue can be configured then') or diag($err);
check_counters($node);
$node->stop;
done_testing();
