# check.sh: crashes expected
# Chunks, one call for several jobs, whose worker or server is lost, whose call is a victim of a deadlock, or whose arguments are
# large: each job takes effect exactly once, the job that is to blame is found, and no other job is blamed.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = bgjob_cluster('chunks', restart_after_crash => 'on', 'bgjob.workers' => 4, max_prepared_transactions => 5, 'bgjob.shutdown_timeout' => '2s');
$node->safe_psql('postgres', q{
	CREATE EXTENSION crashme;
	CREATE TABLE effect (job bigint, size int);
	CREATE INDEX ON effect (job);
	-- The element is {"do": what, "n": number}.
	CREATE FUNCTION work(items jsonb[]) RETURNS jsonb[] LANGUAGE plpgsql AS $$
	DECLARE
		item jsonb;
	BEGIN
		INSERT INTO effect SELECT (i ->> 'n')::bigint, cardinality(items) FROM unnest(items) i;
		PERFORM pg_sleep(CASE WHEN cardinality(items) > 1 THEN 0.1 ELSE 0.002 END);
		FOREACH item IN ARRAY items LOOP
			CASE item ->> 'do'
				WHEN 'segv' THEN PERFORM crashme_segv();
				WHEN 'fatal' THEN PERFORM crashme_fatal();
				WHEN 'fail' THEN RAISE EXCEPTION 'failed';
				WHEN 'sleep' THEN PERFORM pg_sleep(60);
				WHEN 'trap' THEN
					FOR i IN 1 .. 600 LOOP
						BEGIN PERFORM pg_sleep(0.1); EXCEPTION WHEN query_canceled THEN NULL; END;
					END LOOP;
				ELSE NULL;
			END CASE;
		END LOOP;
		RETURN items;
	END $$;
	SELECT bgjob_configure('work', chunk_size => 50, max_retries => 0);
});

# put N, WHAT, AT enqueues N jobs of which those at the places AT do something else.
my $next = 0;
sub put
{
	my ($n, $what, @at) = @_;
	my $from = $next;
	my $list = join ',', @at, -1;

	$next += $n;
	# The answer may be lost in a crash; then the jobs are there or not.
	for (1 .. 50)
	{
		return if ask($node, "SELECT count(*) FROM bgjob.jobs WHERE (args ->> 'n')::int >= $from") eq $n;
		eval { $node->psql('postgres', qq{
			SELECT count(*) FROM bgjob_enqueue_many('work', ARRAY(
				SELECT jsonb_build_object('n', $from + g, 'do', CASE WHEN g IN ($list) THEN '$what' ELSE 'nothing' END) FROM generate_series(0, $n - 1) g))}) };
	}
}

# blamed WHAT, ENDS: the jobs that do WHAT have ended as ENDS says, all others have succeeded, with their results, exactly once, and are not blamed.
sub blamed
{
	my ($what, $ends) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	wait_until($node, q{SELECT bool_and(state IN ('succeeded', 'failed', 'deleted')) FROM bgjob.jobs}, "$what: all jobs have ended", 180)
		or diag(ask($node, q{SELECT string_agg(x::text, E'\n') FROM (SELECT state, count(*), min(reason) FROM bgjob.jobs GROUP BY 1) x}));
	is(ask($node, q{SELECT string_agg(DISTINCT state || coalesce(' ' || reason, ''), '; ') FROM bgjob.jobs WHERE args ->> 'do' <> 'nothing'}) // '', $ends, "$what: how those that do it end");
	is(ask($node, q{SELECT count(*) FROM bgjob.jobs WHERE args ->> 'do' = 'nothing' AND (state <> 'succeeded' OR result <> args OR retries > 0)}), '0', "$what: all others have succeeded");
	is(ask($node, q{SELECT count(*) FROM bgjob_internal.job WHERE args ->> 'do' = 'nothing' AND crashes > 0}), '0', "$what: none of them is blamed");
	is(ask($node, q{SELECT count(*) FROM bgjob.jobs j WHERE args ->> 'do' = 'nothing' AND (SELECT count(*) FROM effect WHERE job = (j.args ->> 'n')::bigint) <> 1}), '0',
		"$what: each has taken effect once");
	is(ask($node, q{SELECT count(*) FROM effect e JOIN bgjob.jobs j ON e.job = (j.args ->> 'n')::bigint WHERE args ->> 'do' <> 'nothing'}), '0', "$what: those that do it have not");
}

sub fresh
{
	ask($node, q{TRUNCATE effect});
	ask($node, qq{SELECT bgjob_purge('$_')}) for qw(succeeded failed deleted);
	$next = 0;
}

# Elements that crash the server, end their worker, or fail: two in one chunk, one in another, among many.
for ([ segv => 'failed Crashed the server 3 times' ], [ fatal => 'failed Ended its worker 3 times' ], [ fail => 'failed failed' ])
{
	my ($what, $ends) = @$_;

	put(300, $what, 17, 31, 222);
	blamed($what, $ends);
	ok(ask($node, q{SELECT max(size) > 1 FROM effect}) eq 't', "$what: there were chunks");
	fresh();
}

# A call that does not end when it is canceled for its timeout: its worker is ended by force, and the job is found.
ask($node, q{SELECT bgjob_configure('work', chunk_size => 50, max_retries => 0, timeout => '500 ms')});
put(20, 'trap', 7);
blamed('trap', 'failed canceling job due to its timeout of 500 ms');
fresh();
ask($node, q{SELECT bgjob_configure('work', chunk_size => 50, max_retries => 0)});

# Workers are killed or terminated, and the server is killed, in the middle of calls.
my $busy = q{SELECT pid FROM bgjob.workers WHERE job_id IS NOT NULL ORDER BY random() LIMIT 1};
for my $how ('KILL', 'TERM')
{
	my $hit = 0;
	my $until = time + 120;

	while ($hit < 8 && time < $until)
	{
		put(500, 'nothing') if ask($node, q{SELECT count(*) FROM bgjob.jobs WHERE state <> 'succeeded'}) < 200;
		my $pid = ask($node, $busy);
		next if $pid !~ /^\d+$/; # it has just ended
		kill $how, $pid;
		until_gone($pid);
		$hit++;
	}
	ok($hit == 8, "workers are hit by SIG$how");
	blamed("SIG$how", '');
	fresh();
}
for (1 .. 3)
{
	put(800, 'nothing');
	wait_until($node, q{SELECT count(*) > 0 FROM effect}, 'some calls have been committed');
	$node->stop('immediate');
	start_again($node);
}
blamed('immediate shutdown', '');
fresh();

# A request for a job of a chunk, and a worker that is lost before it could carry it out.
put(10, 'trap', 3);
wait_until($node, q{SELECT count(*) = 10 FROM bgjob.jobs WHERE state = 'processing'}, 'a chunk runs');
is(ask($node, q{SELECT bgjob_delete(id) FROM bgjob.jobs WHERE args ->> 'n' = '3'}), 't', 'one of its jobs is deleted');
blamed('a request', 'deleted Deleted while it was performed');
fresh();

# Shutdown: the jobs of a call go back, and run after the start.
put(10, 'sleep', 4);
wait_until($node, q{SELECT count(*) = 10 FROM bgjob.jobs WHERE state = 'processing'}, 'a chunk runs');
$node->restart;
wait_until($node, q{SELECT count(*) >= 1 FROM bgjob.jobs WHERE state = 'processing'}, 'it runs again');
ask($node, q{SELECT bgjob_delete(id) FROM bgjob.jobs WHERE args ->> 'n' = '4'});
blamed('a restart', 'deleted Deleted while it was performed');
fresh();

# A call that is the victim of a deadlock.
$node->safe_psql('postgres', q{
	CREATE TABLE row_lock (x int PRIMARY KEY, n int DEFAULT 0);
	INSERT INTO row_lock SELECT g FROM generate_series(1, 10) g;
	CREATE FUNCTION lock_rows(items jsonb[]) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		i jsonb;
	BEGIN
		FOREACH i IN ARRAY items LOOP
			UPDATE row_lock SET n = n + 1 WHERE x = i::int;
			PERFORM pg_sleep(0.002);
		END LOOP;
	END $$;
	SELECT bgjob_configure('lock_rows', chunk_size => 10, max_retries => 0);
	ALTER SYSTEM SET deadlock_timeout = '50 ms';
	SELECT pg_reload_conf();
});
ask($node, q{SELECT count(*) FROM bgjob_enqueue_many('lock_rows', ARRAY(SELECT to_jsonb(CASE WHEN g / 10 % 2 = 0 THEN 1 + g % 10 ELSE 10 - g % 10 END) FROM generate_series(0, 199) g))});
wait_until($node, q{SELECT bool_and(state IN ('succeeded', 'failed')) FROM bgjob.jobs WHERE job = 'lock_rows'}, 'chunks that lock each other end', 120);
is(ask($node, q{SELECT count(*) FROM bgjob.jobs WHERE job = 'lock_rows' AND state = 'succeeded'}), '200', 'a deadlock that is due to chunks alone fails no job');
is(ask($node, q{SELECT sum(n) FROM row_lock}), '200', 'each has taken effect once');
fresh();

# Large arguments: a call has as many as it can bear.
$node->safe_psql('postgres', q{
	CREATE TABLE size (n int, bytes bigint);
	CREATE FUNCTION measure(items jsonb[]) RETURNS void LANGUAGE sql AS $$
		INSERT INTO size SELECT cardinality(items), (SELECT sum(length(i ->> 'text')) FROM unnest(items) i) $$;
	SELECT bgjob_configure('measure', chunk_size => 100, max_retries => 0);
	SELECT bgjob_queue('large', paused => true);
	SELECT count(*) FROM bgjob_enqueue_many('measure', ARRAY(SELECT jsonb_build_object('text', repeat(g::text, 10000000)) FROM generate_series(1, 8) g), queue => 'large');
	SELECT bgjob_queue_resume('large');
});
wait_until($node, q{SELECT bool_and(state = 'succeeded') FROM bgjob.jobs WHERE job = 'measure'}, 'jobs with 10 MB of arguments succeed', 120);
is(ask($node, q{SELECT sum(n) || ' ' || sum(bytes) || ' ' || (max(bytes) <= 32 * 1024 * 1024) FROM size}), '8 80000000 true', 'and are in several calls');
fresh();

# chunk_wait: nothing is lost by a crash, a prepared transaction or a long one.
ask($node, q{SELECT bgjob_configure('work', chunk_size => 50, chunk_wait => '3 s', max_retries => 0)});
$node->safe_psql('postgres', q{
	SELECT count(bgjob_enqueue('work', jsonb_build_object('n', g, 'do', 'nothing'))) FROM generate_series(0, 29) g;
	BEGIN;
	SELECT count(bgjob_enqueue('work', jsonb_build_object('n', g, 'do', 'nothing'))) FROM generate_series(30, 49) g;
	PREPARE TRANSACTION 'chunk';
});
is(ask($node, q{SELECT count(*) FROM bgjob.jobs WHERE state = 'scheduled'}), '30', 'jobs wait for others');
$node->stop('immediate');
start_again($node);
ask($node, q{COMMIT PREPARED 'chunk'});
blamed('chunk_wait', '');
is(ask($node, q{SELECT count(*) FROM effect}), '50', 'all of them have run');
check_counters($node);
$node->stop;
done_testing();
