# A job that traps cancels is ended by force if it is deleted, requeued or rescheduled, if it exceeds its time
# limit, if its worker is terminated, its database dropped or the server stopped. Code at its commit (deferred
# triggers, held cursors) is part of the job: the job can be ended there, and fails by an error there.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use POSIX ();
use Test::More;
use Time::HiRes qw(time usleep);

# The longest wait, in seconds. After one failure the other waits are shorter.
my $patience = 60;
my $node = bgjob_cluster('unkillable', 'bgjob.workers' => 16, 'bgjob.shutdown_timeout' => '1s');
my $functions = q{
	CREATE EXTENSION crashme;
	CREATE TABLE effect (job bigint);
	-- The first call never ends by being canceled; a later one returns. The sequence tells how far it is.
	CREATE FUNCTION trap(run regclass) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		IF nextval(run) > 1 THEN
			RETURN;
		END IF;
		LOOP
			BEGIN
				LOOP
					PERFORM nextval(run);
					PERFORM pg_sleep(0.1);
				END LOOP;
			EXCEPTION WHEN query_canceled THEN
				NULL;
			END;
		END LOOP;
	END $$;
	CREATE FUNCTION traps(run regclass) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO effect VALUES (bgjob_current_id());
		PERFORM trap(run);
	END $$;
	-- A function in C may swallow everything, however often it is canceled.
	CREATE FUNCTION traps_in_c(run regclass) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO effect VALUES (bgjob_current_id());
		IF nextval(run) = 1 THEN
			PERFORM nextval(run);
			PERFORM crashme_trap();
		END IF;
	END $$;
	CREATE PROCEDURE traps_after_commit(run regclass) LANGUAGE plpgsql AS $$
	BEGIN
		COMMIT;
		INSERT INTO effect VALUES (bgjob_current_id());
		PERFORM trap(run);
	END $$;

	CREATE TABLE late (command text);
	CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN EXECUTE NEW.command; RETURN NULL; END$$;
	CREATE CONSTRAINT TRIGGER late AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION at_commit();
	CREATE FUNCTION trigger_at_commit(command text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO effect VALUES (bgjob_current_id());
		INSERT INTO late VALUES (command);
	END $$;
	CREATE FUNCTION cursor_at_commit(command text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO effect VALUES (bgjob_current_id());
		EXECUTE 'DECLARE held CURSOR WITH HOLD FOR ' || command;
	END $$;
	CREATE FUNCTION traps_in_trigger(run regclass) RETURNS void LANGUAGE sql
		AS $$SELECT trigger_at_commit(format('SELECT trap(%L)', run))$$;
	CREATE FUNCTION traps_in_cursor(run regclass) RETURNS void LANGUAGE sql
		AS $$SELECT cursor_at_commit(format('SELECT trap(%L)', run))$$;
	CREATE FUNCTION raises() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		RAISE EXCEPTION 'too late' USING ERRCODE = 'AP002';
	END $$;
};
my $runs = 0;

$node->safe_psql('postgres', $functions);
$node->safe_psql('postgres', q(SELECT bgjob_queue('group', group_size => 10)));

# enqueue JOB, OPTIONS [, DATABASE] enqueues one of the jobs that trap, with a sequence of its own.
sub enqueue
{
	my ($job, $options, $db) = @_;
	my $run = 'run' . ++$runs;
	my $id = $node->safe_psql($db // 'postgres', "CREATE SEQUENCE $run; SELECT bgjob_enqueue('$job', '[\"$run\"]' $options)");

	return { id => $id, run => $run, job => $job };
}

# is_trapped JOB [, DATABASE] waits until a job runs and traps every cancel.
sub is_trapped
{
	my ($job, $db) = @_;
	wait_until($node, "SELECT last_value > 1 FROM $job->{run}", "a job that traps cancellations runs: $job->{job}", 60, $db);
}

# comes_to JOB, CONDITION, WHAT waits for a condition on a row of bgjob.jobs.
sub comes_to
{
	my ($job, $condition, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return if wait_until($node, "SELECT $condition FROM bgjob.jobs WHERE id = $job->{id}", $what, $patience);
	diag($node->safe_psql('postgres', "SELECT state, reason, retries, interruptions FROM bgjob.jobs WHERE id = $job->{id}"));
	$patience = 5;
}

# answers SQL, ANSWER, WHAT tests the answer of a query, with a deadline.
sub answers
{
	my ($sql, $answer, $what) = @_;
	my ($out, $err) = ('', '');
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$node->psql('postgres', "SET statement_timeout = '${patience}s'; $sql", stdout => \$out, stderr => \$err);
	return if is($out, $answer, $what);
	diag($err);
	$patience = 5;
}

sub effects_are
{
	my ($job, $number, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($node->safe_psql('postgres', "SELECT count(*) FROM effect WHERE job = $job->{id}"), $number, $what);
}

sub history_is
{
	my ($job, $history) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($node->safe_psql('postgres', "SELECT string_agg(state, ' ' ORDER BY seq) FROM bgjob.job_states WHERE job_id = $job->{id}"),
		$history, 'the history shows the end of the job');
}

# stops_fast WHAT tests that a fast shutdown ends in time, and starts the server again.
sub stops_fast
{
	my $what = shift;
	local $ENV{PGCTLTIMEOUT} = $patience < 60 ? 15 : 60;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	ok($node->stop('fast', fail_ok => 1), $what) or $node->stop('immediate');
	$node->start;
}

# All requests for a job, at the same time, as each takes a while.
my @cases = (
	map({ [ $_, '', 'SELECT bgjob_delete(%d)', q(state = 'deleted'), 'deleted', 0, 'enqueued processing deleted' ] }
		qw(traps traps_in_c traps_after_commit traps_in_trigger traps_in_cursor)),
	map({ [ $_, q(, queue => 'group'), 'SELECT bgjob_delete(%d)', q(state = 'deleted'), 'deleted', 0, 'enqueued processing deleted' ] } qw(traps traps_in_trigger)),
	[ 'traps_in_trigger', q(, queue => 'group', max_retries => 0, timeout => '200 ms'), '', q(state = 'failed'), 'failed by its time limit', 0, 'enqueued processing failed' ],
	[ 'traps', '', 'SELECT bgjob_requeue(%d)', q(state = 'succeeded' AND retries = 0), 'requeued', 1,
		'enqueued processing enqueued processing succeeded' ],
	[ 'traps', '', q(SELECT bgjob_reschedule(%d, delay => '1 hour')), q(state = 'scheduled' AND retries = 0 AND run_at > now() + interval '50 min'),
		'rescheduled', 0, 'enqueued processing scheduled' ],
	[ 'traps_after_commit', '', q(SELECT bgjob_reschedule(%d, delay => '1 hour')), q(state = 'scheduled' AND retries = 0),
		'rescheduled', 0, 'enqueued processing scheduled' ],
	[ 'traps', '', 'SELECT pg_terminate_backend(worker_pid) FROM bgjob.jobs WHERE id = %d',
		q(state = 'succeeded' AND retries = 0 AND interruptions = 1), 'performed again after its worker was terminated', 1,
		'enqueued processing enqueued processing succeeded' ],
	[ 'traps_in_trigger', '', 'SELECT pg_terminate_backend(worker_pid) FROM bgjob.jobs WHERE id = %d',
		q(state = 'succeeded' AND retries = 0 AND interruptions = 1), 'performed again after its worker was terminated', 1,
		'enqueued processing enqueued processing succeeded' ],
	map({ [ $_, q(, max_retries => 0, timeout => '200 ms'), '', q(state = 'failed'), 'failed by its time limit', 0, 'enqueued processing failed' ] }
		qw(traps traps_after_commit traps_in_trigger)),
	[ 'traps', q(, timeout => '200 ms'), '',
		q(state = 'scheduled' AND retries = 1 AND reason ~ '^Retry attempt 1 of 10: .*timeout'), 'to be retried after its time limit', 0,
		'enqueued processing failed scheduled' ]);
my @jobs = map { enqueue($_->[0], $_->[1]) } @cases;

is_trapped($_) for @jobs;
my $pids = $node->safe_psql('postgres', 'SELECT array_agg(pid) FROM bgjob.workers');
for my $i (0 .. $#cases)
{
	my (undef, undef, $command, undef, $becomes) = @{ $cases[$i] };
	answers(sprintf($command, $jobs[$i]{id}), 't', "$jobs[$i]{job}, to be $becomes: accepted") if $command;
}
for my $i (0 .. $#cases)
{
	my (undef, undef, undef, $condition, $becomes, $effects, $history) = @{ $cases[$i] };
	comes_to($jobs[$i], $condition, "$jobs[$i]{job}: the job is $becomes");
	effects_are($jobs[$i], $effects, $effects ? 'with the effects of one attempt' : 'without effects');
	history_is($jobs[$i], $history);
}
is($node->safe_psql('postgres', q(SELECT string_agg(DISTINCT concat_ws(' ', error ->> 'sqlstate', error ->> 'message'), ', ')
	FROM bgjob.jobs WHERE timeout IS NOT NULL)), '57014 canceling job due to its timeout of 200 ms', 'the errors name the time limit');
wait_until($node, "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = ANY ('$pids') AND pid IN (SELECT pid FROM bgjob.workers WHERE job_id IS NOT NULL)",
	'none of the workers is still at them', $patience);
my $next = $node->safe_psql('postgres', q(SELECT bgjob_enqueue('pg_sleep', '[0]')));
is($node->safe_psql('postgres', "SELECT bgjob_wait($next, '${patience}s')"), 'succeeded', 'the next job runs');

# A job that waits at commit and traps no cancel ends at once when canceled.
for my $job ('trigger_at_commit', 'cursor_at_commit')
{
	my $deleted = { id => $node->safe_psql('postgres', "SELECT bgjob_enqueue('$job', '[\"SELECT pg_sleep(600)\"]')") };
	wait_until($node, qq(SELECT count(*) = 1 FROM bgjob.workers w JOIN pg_stat_activity a USING (pid) WHERE wait_event = 'PgSleep'
		AND job_id = $deleted->{id}), "a job sleeps in its commit: $job");
	answers("SELECT bgjob_delete($deleted->{id})", 't', 'the deletion of the job is accepted');
	comes_to($deleted, q(state = 'deleted'), 'the job is deleted');
	my $of_group = { id => $node->safe_psql('postgres', "SELECT bgjob_enqueue('$job', '[\"SELECT pg_sleep(600)\"]', queue => 'group')") };
	wait_until($node, qq(SELECT count(*) = 1 FROM bgjob.workers w JOIN pg_stat_activity a USING (pid) WHERE wait_event = 'PgSleep'
		AND job_id = $of_group->{id}), "a job of a group sleeps in its commit: $job");
	answers("SELECT bgjob_delete($of_group->{id})", 't', 'the deletion of a job in a group is accepted');
	comes_to($of_group, q(state = 'deleted'), 'the job of the group is deleted');
	effects_are($of_group, 0, 'the job of the group has no effects');
	my $limited = { id => $node->safe_psql('postgres',
		"SELECT bgjob_enqueue('$job', '[\"SELECT pg_sleep(600)\"]', max_retries => 0, timeout => '200 ms')") };
	comes_to($limited, q(state = 'failed' AND reason ~ 'timeout of 200 ms'), 'another job is ended by its time limit');
	effects_are($_, 0, 'the ended jobs have no effects') for $deleted, $limited;
}

# An error at commit is a failure of that job only.
for my $job ('trigger_at_commit', 'cursor_at_commit')
{
	my ($failed, $retried) = map { { id => $node->safe_psql('postgres', "SELECT bgjob_enqueue('$job', '[\"SELECT raises()\"]', max_retries => $_)") } } 0, 1;
	comes_to($failed, q(state = 'failed' AND reason = 'too late' AND error ->> 'sqlstate' = 'AP002'), "$job raises an error: the job fails");
	comes_to($retried, q(state = 'scheduled' AND reason = 'Retry attempt 1 of 1: too late'), 'a job with a retry left is scheduled');
	effects_are($_, 0, 'the failed jobs have no effects') for $failed, $retried;
	is($node->safe_psql('postgres', qq(SELECT count(*) FROM bgjob.workers WHERE pid IN (SELECT (data ->> 'worker_pid')::int
		FROM bgjob.job_states WHERE job_id = $failed->{id} AND state = 'processing'))), 1, 'the worker of the failed job continues');
}

# All jobs end. A process that waits for the last one must not use CPU time meanwhile.
sub processor_time
{
	open(my $stat, '<', "/proc/$_[0]/stat") or return;
	my @fields = split(' ', (<$stat> // '') =~ s/^.*\) //r);
	return @fields > 12 ? ($fields[11] + $fields[12]) / POSIX::sysconf(POSIX::_SC_CLK_TCK()) : undef;
}
SKIP:
{
	my $last = enqueue('traps_in_c', '');
	is_trapped($last);
	my $scheduler = $node->safe_psql('postgres', q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler'));
	my $before = processor_time($scheduler);
	skip('there is no /proc', 3) unless defined $before;
	my ($end, $used) = (time + $patience, $before);
	set_and_reload($node, 'bgjob.enabled' => 'off');
	while (time < $end && defined(my $now = processor_time($scheduler)))
	{
		$used = $now;
		usleep(20_000);
	}
	ok(time < $end, 'bgjob.enabled = off ends such a job') or $patience = 5;
	cmp_ok($used - $before, '<', 1, 'no process busy-waits for it');
	set_and_reload($node, 'bgjob.enabled' => 'on');
	comes_to($last, q(state = 'succeeded' AND retries = 0 AND interruptions = 1), 'the job runs again afterwards');
}

# DROP DATABASE.
$node->safe_psql('postgres', 'CREATE DATABASE doomed');
$node->safe_psql('doomed', "CREATE EXTENSION bgjob; $functions");
is_trapped($_, 'doomed') for map { enqueue($_, '', 'doomed') } 'traps', 'traps_in_c', 'traps_after_commit', 'traps_in_trigger';
answers(q(DROP DATABASE doomed; SELECT count(*) FROM pg_database WHERE datname = 'doomed'), 0, 'DROP DATABASE while such jobs run');

# The server is stopped; so would be a job that is left from above.
if ($patience < 60)
{
	$node->stop('immediate');
	$node->start;
}
for my $job ('traps', 'traps_in_c', 'traps_after_commit', 'traps_in_trigger', 'traps_in_cursor')
{
	my $left = enqueue($job, '');
	is_trapped($left);
	stops_fast("a fast stop while such a job runs: $job");
	comes_to($left, q(state = 'succeeded' AND retries = 0 AND interruptions = 1), 'the job runs again after the start');
	effects_are($left, 1, 'the job has the effects of one attempt');
}
check_counters($node);
stops_fast('a fast stop when no such job is left');
like(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/LOG:  job (\d+) did not end when it was canceled\n.*DETAIL:  Its worker, with PID [1-9]\d*, is terminated\.\n.*CONTEXT:  bgjob job \g1 \(traps\w*\), role "\w+", database "\w+"\n/,
	'the log says whose jobs had to be ended so');
$node->stop('immediate');
done_testing();
