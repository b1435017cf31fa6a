# Groups of jobs in one transaction: the rest of a failed group is found at once, whatever its positions; and a group ends
# before its subtransactions overflow the server's cache, however many each job has.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use Test::More;

my $node = bgjob_cluster('group_places', 'bgjob.workers' => 1, 'bgjob.worker_idle_timeout' => '10min', fsync => 'off');
sub sql { return $node->safe_psql('postgres', $_[0]) }

sql(q{
	CREATE TABLE done (n bigserial, what text, xid xid8 DEFAULT pg_current_xact_id());
	CREATE TABLE written (xid xid8 DEFAULT pg_current_xact_id(), what int);
	CREATE FUNCTION work(what text, seconds float8 DEFAULT 0) RETURNS void LANGUAGE sql AS 'INSERT INTO done (what) VALUES (what); SELECT pg_sleep(seconds)';
	CREATE FUNCTION wait_for(what int) RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_xact_lock(what)';
	CREATE FUNCTION many(n int) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. n LOOP
			BEGIN INSERT INTO written (what) VALUES (i); EXCEPTION WHEN division_by_zero THEN NULL; END;
		END LOOP;
		INSERT INTO done (what) VALUES (n);
	END $$;
	SELECT bgjob_queue('g', group_size => 100)});

my $holder = $node->background_psql('postgres', on_error_stop => 1);

# hold: the only worker runs a job that does not end before release.
sub hold
{
	$holder->query_safe('SELECT pg_advisory_lock(7)');
	sql(q{SELECT bgjob_enqueue('wait_for', '[7]')});
	wait_until($node, q{SELECT count(*) = 1 FROM bgjob.jobs WHERE state = 'processing'}, 'the only worker is at something long');
}

sub release { $holder->query_safe('SELECT pg_advisory_unlock(7)') }

# ---- a position below the first positions of a group ----

# The session has drawn its position between the fifth and the sixth job, and commits when these are in the lane. The
# group pops them, scans the queue for more, and finds the session's job last. It ends early, at a slow job. The
# scheduler is stopped, so it cannot find the rest.
my $first = sql(q{SELECT bgjob_enqueue('work', '["first"]', queue => 'g')});
is(sql("SELECT bgjob_wait($first, '20 s')"), 'succeeded', 'the queue is known');
wait_until($node, q{SELECT state = 'idle' FROM pg_stat_activity WHERE backend_type = 'bgjob worker'}, 'the workers of the empty queue are idle');
sql('TRUNCATE done');
hold();
my $late = $node->background_psql('postgres', on_error_stop => 1);
sql("SELECT bgjob_enqueue('work', '[\"$_\"]', queue => 'g')") for 1 .. 5;
$late->query_safe(q{BEGIN; SELECT bgjob_enqueue('work', '["late"]', queue => 'g')});
sql("SELECT bgjob_enqueue('work', '[\"$_\"" . ($_ == 10 ? ', 0.5' : '') . "]', queue => 'g')") for 6 .. 40;
$late->query_safe('COMMIT');
my $scheduler = pid_of($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler'});
kill 'STOP', $scheduler or die;
END { kill 'CONT', $scheduler if $scheduler }
release();
wait_until($node, q{SELECT count(*) = 41 FROM done}, 'the rest of a group is found, also below the position where the group ended', 20);
is(sql(q{SELECT string_agg(what, ' ' ORDER BY n) FROM done}), join(' ', 1 .. 10, 'late', 11 .. 40), 'in the order of the places');
cmp_ok(sql(q{SELECT count(DISTINCT xid) FROM done}), '<', 10, 'by groups');
kill 'CONT', $scheduler;
$late->quit;

# ---- jobs with many subtransactions ----

# A process caches 64 subtransactions (PGPROC_MAX_CACHED_SUBXIDS). Each job is one of them.
for my $case ([ 20, 60, 3 ], [ 31, 30, 2 ], [ 40, 20, 1 ], [ 100, 10, 1 ], [ 0, 300, 64 ])
{
	my ($n, $jobs, $most) = @$case;

	sql('TRUNCATE done, written');
	hold();
	sql("SELECT count(*) FROM bgjob_enqueue_many('many', array_fill('[$n]'::jsonb, ARRAY[$jobs]), queue => 'g')");
	release();
	wait_until($node, "SELECT count(*) = $jobs FROM done", "$jobs jobs with $n subtransactions each are performed");
	is(sql("SELECT max(n) <= $most AND max(n) > $most / 2 FROM (SELECT count(*) AS n FROM done GROUP BY xid) x"), 't', "at most $most in a transaction")
		or diag(sql('SELECT array_agg(n) FROM (SELECT count(*) AS n FROM done GROUP BY xid) x'));
}

$holder->quit;
check_counters($node);
$node->stop;
done_testing();
