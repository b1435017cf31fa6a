# on_duplicate 'supersede' under load: eight sessions supersede the jobs of a few keys, while workers run them. The last one that was
# committed runs, two of a key never run at once (each tries to lock its key), each other one says by which it was superseded, no
# job awaits for ever, and no key is left. So it is with limits and sequences, while jobs are deleted, workers ended and killed, and
# after a crash of the server. A prepared transaction cancels the job that runs when it is committed, and not before, also if the
# server crashes in between.
#
# BGJOB_SUPERSEDES is how many calls each session makes (125).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $calls    = $ENV{BGJOB_SUPERSEDES} // 125;
my $sessions = 8;
my $node     = bgjob_cluster('supersede', 'bgjob.workers' => 4, max_connections => 40, deadlock_timeout => '200ms', restart_after_crash => 'on', 'bgjob.max_crashes' => 100);

$node->safe_psql('postgres', q{
	CREATE TABLE effect (job bigint, key text, began timestamptz, ended timestamptz);
	CREATE TABLE call (n bigint, key text, job bigint);
	CREATE SEQUENCE call_n;

	-- The job of a key: no other of that key may be at it. The lock is let go before the end, since locks are released
	-- after a commit can be seen.
	CREATE FUNCTION work(key text, seconds float8) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		began timestamptz := clock_timestamp();
	BEGIN
		IF NOT pg_try_advisory_lock(hashtext(key)) THEN
			RAISE EXCEPTION 'another job of key % is running', key;
		END IF;
		PERFORM pg_sleep(seconds);
		INSERT INTO effect VALUES (bgjob_current_id(), key, began, clock_timestamp());
		PERFORM pg_advisory_unlock(hashtext(key));
	END $$;
	CREATE PROCEDURE work_and_commit(key text, seconds float8) LANGUAGE plpgsql AS $$
	DECLARE
		began timestamptz := clock_timestamp();
	BEGIN
		IF NOT pg_try_advisory_lock(hashtext(key)) THEN
			RAISE EXCEPTION 'another job of key % is running', key;
		END IF;
		COMMIT;
		PERFORM pg_sleep(seconds);
		INSERT INTO effect VALUES (bgjob_current_id(), key, began, clock_timestamp());
		PERFORM pg_advisory_unlock(hashtext(key));
	END $$;

	-- One call by a session, as it comes. What has the key has it until the commit, so the numbers are in the order of the commits.
	CREATE PROCEDURE supersede(keys int, seconds float8, meddle float8, gated float8) LANGUAGE plpgsql AS $$
	DECLARE
		this text := 'key ' || floor(random() * keys);
		delay interval := CASE WHEN random() < 0.2 THEN random() * interval '20 ms' END;
		what text := CASE WHEN random() < 0.3 THEN 'work_and_commit' ELSE 'work' END;
		job bigint;
	BEGIN
		job := bgjob_enqueue(what, jsonb_build_array(this, random() * seconds), unique_key => this, on_duplicate => 'supersede', delay => delay, max_retries => 0,
			queue => CASE WHEN random() < 0.3 THEN 'g' END, limits => CASE WHEN random() < gated THEN '{two}'::text[] END, sequence_key => CASE WHEN random() < gated THEN this END);
		INSERT INTO call VALUES (nextval('call_n'), this, job);
		IF random() < 0.1 THEN
			PERFORM pg_sleep(random() * 0.01);
		END IF;
		IF random() < 0.1 THEN
			ROLLBACK;
		ELSE
			COMMIT;
		END IF;
		IF random() < meddle THEN
			PERFORM bgjob_delete(c.job) FROM call c WHERE c.key = this ORDER BY n DESC LIMIT 1;
			COMMIT;
		END IF;
	END $$;
	SELECT bgjob_queue('g', group_size => 20), bgjob_limit('two', max_running => 2);
});

# value QUERY is its one value.
sub value { return ask($node, $_[0]) }

# load KEYS, SECONDS, MEDDLE, CALLS, GATED starts the sessions.
sub load
{
	my ($keys, $seconds, $meddle, $n, $gated) = @_;
	my $script = "$PostgreSQL::Test::Utils::tmp_check/supersede.sql";
	my ($in, $out) = ('', '');

	unlink $script;
	$gated //= 0;
	append_to_file($script, "CALL supersede($keys, $seconds, $meddle, $gated);\n");
	return IPC::Run::start([ 'timeout', 300, 'pgbench', '-n', '-c', $sessions, '-j', 1, '-t', $n // $calls, '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ],
		\$in, '>&', \$out, IPC::Run::timeout(400));
}

# ended WHAT waits until all jobs have ended, and checks what has become of them.
sub ended
{
	my ($what, $meddled) = @_;

	wait_until($node, q{SELECT count(*) = 0 FROM bgjob.jobs WHERE state NOT IN ('succeeded', 'failed', 'deleted')}, "$what: all jobs have ended", 90)
		or diag(value('SELECT id, state, reason, unique_key FROM bgjob.jobs WHERE state NOT IN (\'succeeded\', \'deleted\') LIMIT 10'));
	is(value(q{SELECT string_agg(error ->> 'message', ', ') FROM (SELECT * FROM bgjob.jobs WHERE state = 'failed' LIMIT 3) j}), '', "$what: no job has met another one of its key");
	is(value(q{SELECT count(*) FROM effect a JOIN effect b ON a.key = b.key AND a.job < b.job AND a.began < b.ended AND b.began < a.ended}), '0',
		"$what: no two of one key were at work at the same time");
	is(value(q{SELECT string_agg(j.id || ' ' || j.state || ' ' || coalesce(j.reason, ''), ', ') FROM (SELECT DISTINCT ON (key) job FROM call ORDER BY key, n DESC) c JOIN bgjob.jobs j ON j.id = c.job
		WHERE j.state <> 'succeeded'}), '', "$what: the last one that was committed has succeeded")
		if !$meddled;
	is(value(q{SELECT count(*) FROM bgjob.jobs j JOIN call c ON c.job = j.id WHERE state = 'deleted' AND NOT EXISTS (
		SELECT FROM call d WHERE j.reason = 'Superseded by job ' || d.job AND d.key = c.key AND d.n > c.n)}), '0', "$what: each other one was superseded by a later one")
		if !$meddled;
	is(value(q{SELECT count(*) FROM call c WHERE NOT EXISTS (SELECT FROM bgjob.jobs j WHERE j.id = c.job AND j.unique_key = c.key)}), '0', "$what: none is missing");
	is(value(q{SELECT count(*) FROM bgjob.jobs j LEFT JOIN effect e ON e.job = j.id WHERE j.state = 'succeeded' AND e.job IS NULL}), '0', "$what: each that succeeded has had its effect");
	is(value(q{SELECT count(*) FROM bgjob_internal.edge}), '0', "$what: nobody awaits anybody");
	is(value(q{SELECT (SELECT count(*) FROM bgjob_internal.gate) + (SELECT count(*) FROM bgjob_internal.sequence)}), '0', "$what: nobody waits at a gate");
	# The row of a key may outlive its job, if another transaction had it; the next call removes it.
	is(value(q{SELECT count(*) FROM bgjob_internal.unique_key k JOIN bgjob.jobs j ON j.id = k.job WHERE j.state NOT IN ('succeeded', 'failed', 'deleted')}), '0', "$what: no key is taken");
	note(value(q{SELECT format('%s jobs, %s succeeded, %s deleted, %s of them had started', count(*), count(*) FILTER (WHERE state = 'succeeded'), count(*) FILTER (WHERE state = 'deleted'),
		count(*) FILTER (WHERE state = 'deleted' AND started_at IS NOT NULL)) FROM bgjob.jobs}));
}

# clear forgets the jobs.
sub clear
{
	value('TRUNCATE effect, call');
	value(q{SELECT count(bgjob_purge(s)) FROM unnest('{succeeded,failed,deleted}'::text[]) s});
}

# One key, and three: short jobs, and jobs that are always canceled but for the last.
foreach my $load ([ 1, 0.01 ], [ 1, 30 ], [ 3, 0.02 ], [ 3, 0.02, 0.05 ], [ 6, 0.02, 0, 0.5 ])
{
	my ($keys, $seconds, $meddle, $gated) = @$load;
	my $what = "$keys key(s), jobs of up to $seconds s" . ($meddle ? ', with deletions' : $gated ? ', with limits and sequences' : '');
	my $h    = load($keys, $seconds, $meddle // 0, $calls, $gated);

	ok($h->finish, "$what: " . $sessions * $calls . ' calls');
	# The last job need not take half a minute.
	value(q{SELECT bgjob_enqueue('work', '["key 0", 0]', unique_key => 'key 0', on_duplicate => 'supersede') AS job}) if $seconds > 1;
	if ($seconds > 1)
	{
		wait_until($node, q{SELECT count(*) = 0 FROM bgjob.jobs WHERE state NOT IN ('succeeded', 'failed', 'deleted')}, "$what: a last call ends them all", 60);
		value(q{INSERT INTO call SELECT nextval('call_n'), 'key 0', max(id) FROM bgjob.jobs});
	}
	ended($what, $meddle);
	clear();
}

# Workers are ended, and the scheduler: what had been asked of them is done by others.
{
	my $h = load(3, 0.05, 0, $calls * 2);

	for (1 .. 10)
	{
		usleep(50_000);
		value(q{SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob worker' ORDER BY random() LIMIT 2) w});
		value(q{SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND random() < 0.3});
	}
	ok($h->finish, 'processes ended: all calls return');
	ended('processes ended');
	clear();
}

# Workers are killed, and then the whole server. A crash ends all sessions.
for my $how ('worker', 'worker', 'postmaster', 'worker')
{
	my $h = load(3, 0.1, 0, $calls * 20, 0.3);

	wait_until($node, q{SELECT count(*) > 100 FROM call}, "$how killed: calls are made");
	if ($how eq 'worker')
	{
		my $pid = pid_of($node, q{SELECT worker_pid FROM bgjob.jobs WHERE state = 'processing' AND worker_pid IS NOT NULL LIMIT 1});

		kill 'KILL', $pid;
		until_gone($pid);
	}
	else
	{
		$node->kill9;
		start_again($node);
	}
	eval { $h->finish };
	ended("$how killed");
	clear();
}

# Prepared transactions: the job that runs is canceled by COMMIT PREPARED.
for my $restart (0, 1)
{
	my $when = $restart ? 'prepared, and a crash' : 'prepared';
	my %id;

	for my $end ('COMMIT', 'ROLLBACK')
	{
		$id{$end} = value(qq{SELECT bgjob_enqueue('SELECT pg_sleep(600)', unique_key => '$end $restart')});
		wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $id{$end}", "$when, $end: a job runs");
		value(qq{BEGIN; SELECT bgjob_enqueue('SELECT 1', unique_key => '$end $restart', on_duplicate => 'supersede'); PREPARE TRANSACTION '$end'});
	}
	if ($restart)
	{
		$node->kill9;
		start_again($node);
		wait_until($node, "SELECT count(*) = 2 FROM bgjob.jobs WHERE id IN ($id{COMMIT}, $id{ROLLBACK}) AND state = 'processing'", "$when: the jobs run again");
	}
	is(value("SELECT string_agg(state, ' ') FROM bgjob.jobs WHERE id IN ($id{COMMIT}, $id{ROLLBACK})"), 'processing processing', "$when: the jobs go on");
	value("$_ PREPARED '$_'") for 'COMMIT', 'ROLLBACK';
	wait_until($node, "SELECT state = 'succeeded' FROM bgjob.jobs WHERE unique_key = 'COMMIT $restart' AND id <> $id{COMMIT}", "$when: COMMIT PREPARED: the new job runs");
	like(value("SELECT state || reason FROM bgjob.jobs WHERE id = $id{COMMIT}"), qr/^deletedSuperseded by job \d+$/, "$when: COMMIT PREPARED: the other one was canceled");
	is(value("SELECT state FROM bgjob.jobs WHERE id = $id{ROLLBACK}"), 'processing', "$when: ROLLBACK PREPARED: it goes on");
	is(value("SELECT count(*) FROM bgjob.jobs WHERE unique_key = 'ROLLBACK $restart'"), '1', "$when: ROLLBACK PREPARED: there is no new job");
	is(value("SELECT bgjob_enqueue('SELECT 1', unique_key => 'ROLLBACK $restart')"), $id{ROLLBACK}, "$when: ROLLBACK PREPARED: it has its key");
	value("SELECT bgjob_delete($id{ROLLBACK})");
	wait_until($node, q{SELECT count(*) = 0 FROM bgjob.jobs WHERE state NOT IN ('succeeded', 'failed', 'deleted')}, "$when: all have ended");
}

is(scalar(grep { /deadlock detected|PANIC|could not serialize|cannot happen|TRAP/ } split /\n/, slurp_file($node->logfile)), 0, 'no deadlocks, and no internal errors');
check_counters($node);
$node->stop;
done_testing();
