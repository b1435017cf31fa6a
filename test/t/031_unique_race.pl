# Sixteen sessions enqueue jobs of a few unique keys as fast as they can, in all modes, some in transactions that roll back, and some
# delete jobs, while workers run them. A key never has two unfinished jobs: each job tries to lock its key, and a session reads
# bgjob.jobs again and again. No job is lost: each id that a call has returned is that of a job that has ended, with one effect if it
# has succeeded.
#
# BGJOB_RACE is how many calls each session makes (400).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $calls = $ENV{BGJOB_RACE} // 400;
my $sessions = 16;
my $node = bgjob_cluster('race', 'bgjob.workers' => 4, max_connections => 60, deadlock_timeout => '200ms');

$node->safe_psql('postgres', q{
	CREATE TABLE effect (job bigint, key text, label text, began timestamptz, ended timestamptz);
	CREATE TABLE call (session int, key text, mode text, made text, id bigint, began timestamptz, answered timestamptz);
	CREATE TABLE deleted (id bigint, answer boolean);
	CREATE TABLE violation (what text, key text, at timestamptz DEFAULT clock_timestamp());
	CREATE TABLE looked (n bigint);
	CREATE TABLE over ();

	-- The job of a key: no other of that key may be at it. The lock is let go before the end, since locks are released
	-- after a commit can be seen.
	CREATE FUNCTION work(key text, label text) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		began timestamptz := clock_timestamp();
	BEGIN
		IF NOT pg_try_advisory_lock(hashtext(key)) THEN
			RAISE EXCEPTION 'another job of key % is running', key;
		END IF;
		IF random() < 0.3 THEN
			PERFORM pg_sleep(random() * 0.01);
		END IF;
		INSERT INTO effect VALUES (bgjob_current_id(), key, label, began, clock_timestamp());
		PERFORM pg_advisory_unlock(hashtext(key));
	END $$;

	-- One call by a session, as it comes.
	CREATE PROCEDURE enqueue(session int, keys int) LANGUAGE plpgsql AS $$
	DECLARE
		key text := 'key ' || floor(random() * keys);
		mode text := (ARRAY['skip', 'skip', 'skip', 'error', 'replace', 'reschedule'])[1 + floor(random() * 6)];
		delay interval := CASE WHEN random() < 0.3 THEN random() * interval '20 ms' END;
		queue text := CASE WHEN random() < 0.3 THEN 'g' END;
		began timestamptz := clock_timestamp();
		answered timestamptz;
		back boolean := random() < 0.1;
		job bigint;
	BEGIN
		BEGIN
			job := bgjob_enqueue('work', jsonb_build_array(key, session), unique_key => key, on_duplicate => mode, delay => delay, queue => queue, max_retries => 0);
			IF back AND random() < 0.5 THEN
				RAISE EXCEPTION USING ERRCODE = 'P9999';
			END IF;
		EXCEPTION
			WHEN unique_violation THEN job := NULL;
			WHEN SQLSTATE 'P9999' THEN job := NULL; mode := 'rolled back to a savepoint';
		END;
		answered := clock_timestamp();
		IF back AND mode <> 'rolled back to a savepoint' THEN
			ROLLBACK;
			job := NULL;
			mode := 'rolled back';
		END IF;
		INSERT INTO call VALUES (session, key, mode, CASE WHEN job IS NULL THEN 'nothing' ELSE 'id' END, job, began, answered);
		COMMIT;
		IF job IS NOT NULL AND random() < 0.05 THEN
			INSERT INTO deleted SELECT job, bgjob_delete(job, s) FROM unnest('{enqueued,scheduled,processing}'::text[]) s;
			COMMIT;
		END IF;
	END $$;

	CREATE PROCEDURE look() LANGUAGE plpgsql AS $$
	DECLARE
		n bigint := 0;
	BEGIN
		LOOP
			INSERT INTO violation SELECT format('%s unfinished jobs: %s', count(*), string_agg(id || ' ' || state, ', ')), unique_key
			FROM bgjob.jobs WHERE state NOT IN ('succeeded', 'failed', 'deleted') AND unique_key IS NOT NULL GROUP BY unique_key HAVING count(*) > 1;
			n := n + 1;
			COMMIT;
			EXIT WHEN EXISTS (SELECT FROM over);
		END LOOP;
		INSERT INTO looked VALUES (n);
	END $$;
	SELECT bgjob_queue('g', group_size => 20);
});

# value QUERY is its one value.
sub value { return $node->safe_psql('postgres', $_[0]) }

sub race
{
	my ($keys) = @_;
	my $script = "$PostgreSQL::Test::Utils::tmp_check/race.sql";

	value('TRUNCATE effect, call, deleted, violation, looked, over');
	value(q{SELECT bgjob_purge(s) FROM unnest('{succeeded,failed,deleted}'::text[]) s});
	append_to_file($script, "CALL enqueue(:client_id, $keys);\n");
	my ($in, $out, $err) = ('', '', '');
	my $watcher = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'CALL look()' ], \$in, \$out, \$err, IPC::Run::timeout(400));
	command_ok([ 'timeout', 300, 'pgbench', '-n', '-c', $sessions, '-j', 2, '-t', $calls, '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ],
		"$keys keys: $sessions sessions of $calls calls");
	unlink $script;
	wait_until($node, q{SELECT count(*) = 0 FROM bgjob.jobs WHERE state NOT IN ('succeeded', 'failed', 'deleted')}, "$keys keys: all jobs have ended", 120)
		or diag(value('SELECT state, queue, count(*) FROM bgjob.jobs GROUP BY 1, 2'));
	value('INSERT INTO over DEFAULT VALUES');
	$watcher->finish;
	is($err, '', "$keys keys: a session has watched");
	cmp_ok(value('SELECT n FROM looked'), '>', 20, "$keys keys: the watching session has read often");

	is(value('SELECT count(*) FROM call'), $sessions * $calls, "$keys keys: every call has returned");
	is(value('SELECT coalesce(string_agg(key || what, chr(10)), $$none$$) FROM (SELECT * FROM violation LIMIT 5) x'), 'none',
		"$keys keys: there were never two unfinished jobs of one key");
	is(value(q{SELECT count(*) FROM bgjob.jobs WHERE state = 'failed'}), '0', "$keys keys: no job has met another one of its key")
		or diag(value(q{SELECT id, error FROM bgjob.jobs WHERE state = 'failed' LIMIT 3}));
	is(value(q{SELECT count(*) FROM effect a JOIN effect b ON a.key = b.key AND a.job < b.job AND a.began < b.ended AND b.began < a.ended}), '0',
		"$keys keys: no two of one key were at work at the same time");
	is(value(q{SELECT count(*) FROM call c WHERE id IS NOT NULL AND NOT EXISTS (SELECT FROM bgjob.jobs j WHERE j.id = c.id AND j.unique_key = c.key)}), '0',
		"$keys keys: each id that was returned is a job of that key");
	is(value(q{SELECT count(*) FROM bgjob.jobs j WHERE j.job = 'work' AND NOT EXISTS (SELECT FROM call c WHERE c.id = j.id)}), '0',
		"$keys keys: and each job was returned by a call");
	is(value(q{SELECT count(*) FROM bgjob.jobs j WHERE job = 'work' AND (SELECT count(*) FROM effect e WHERE e.job = j.id AND e.key = j.unique_key) <> (state = 'succeeded')::int}), '0',
		"$keys keys: each job that succeeded has had one effect, the deleted ones none");
	is(value(q{SELECT count(*) FROM bgjob.jobs WHERE state = 'deleted' AND id NOT IN (SELECT id FROM deleted WHERE answer)}), '0',
		"$keys keys: no other job was deleted");
	# A skipped call returns no job that had ended long before; a job's end time is set a little before its commit.
	is(value(q{SELECT count(*) FROM call c JOIN bgjob.jobs j USING (id) WHERE j.finished_at < c.began - interval '2 s'}), '0',
		"$keys keys: no call has returned a job that had ended long before");
	is(value(q{SELECT count(*) FROM call c WHERE mode = 'error' AND made = 'id' AND EXISTS (SELECT FROM call d WHERE d.id = c.id AND d.mode = 'error' AND d.ctid <> c.ctid)}), '0',
		"$keys keys: with 'error' no two calls got the same job");
	is(value(q{SELECT count(*) FROM call WHERE made = 'nothing' AND mode IN ('skip', 'replace', 'reschedule')}), '0', "$keys keys: skip, replace and reschedule always return an id");
	for my $mode ('skip', 'replace', 'reschedule')
	{
		cmp_ok(value("SELECT count(*) - count(DISTINCT id) FROM call WHERE mode IN ('$mode', 'error')"), '>', 0, "$keys keys: '$mode' has met jobs that were there");
	}
	cmp_ok(value(q{SELECT count(*) FROM bgjob.jobs WHERE state = 'succeeded'}), '>', $keys, "$keys keys: keys were used several times");
	note(value(q{SELECT format('%s jobs of %s calls, %s succeeded, %s deleted', count(*), (SELECT count(*) FROM call), count(*) FILTER (WHERE state = 'succeeded'),
		count(*) FILTER (WHERE state = 'deleted')) FROM bgjob.jobs}));
}

race(1);
race(5);
race(40);
# The log has no errors of its own: deadlocks would be in it.
is(scalar(grep { /deadlock detected|PANIC|could not/ } split /\n/, slurp_file($node->logfile)), 0, 'no deadlocks');
check_counters($node);
$node->stop;
done_testing();
