# Functions shared by the tests of limits, sequences and fairness: sessions that idle in a transaction, jobs that occupy a place or
# wait for the test, and checks of what has run at the same time and how often jobs were started.
#
# A test calls flow_on NODE first. The functions that it creates in database postgres:
#   hold(what, places, ms)          takes one of so many places named so for ms milliseconds, and fails if all are taken
#   fine()                          does nothing
#   bad()                           fails
#   block(n)                        waits while the test holds back(n)
package BgjobFlow;
use strict;
use warnings;
use Exporter 'import';
use BgjobTest;
use IPC::Run ();
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(flow_on value refused session say leave becomes state_of reasons_of hold_back let_go blocked scheduler
	most_at_once crowd started_once soon_after all_over nothing_left in_background);

my ($node, $holder, %held);

sub flow_on
{
	($node) = @_;
	$holder = undef;
	value(q{
		CREATE FUNCTION fine() RETURNS int LANGUAGE sql AS 'SELECT 1';
		CREATE FUNCTION bad() RETURNS void LANGUAGE sql AS 'SELECT 1 / 0';
		CREATE FUNCTION block(n int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(64, n); END $$;
		-- The place is given back before the transaction ends, since a limit lets the next job go in the commit, before the server
		-- releases locks. A job that was canceled or terminated may do that a little later, hence the patience.
		CREATE FUNCTION hold(what text, places int, ms float DEFAULT 0) RETURNS void LANGUAGE plpgsql AS $$
		DECLARE
			place int;
			deadline timestamptz := clock_timestamp() + interval '0.3 s';
		BEGIN
			LOOP
				SELECT i INTO place FROM generate_series(1, places) i WHERE pg_try_advisory_lock(hashtext(what), i) LIMIT 1;
				EXIT WHEN place IS NOT NULL;
				IF clock_timestamp() > deadline THEN
					RAISE EXCEPTION 'more than % at once: %', places, what USING ERRCODE = 'XX998';
				END IF;
				PERFORM pg_sleep(0.002);
			END LOOP;
			IF ms > 0 THEN
				PERFORM pg_sleep(ms / 1000);
			END IF;
			PERFORM pg_advisory_unlock(hashtext(what), place);
		END $$;
		-- The attempts of jobs, from the history: when each began and how it ended.
		CREATE VIEW attempt AS SELECT job_id, began, ended, how FROM (
			SELECT job_id, state, at AS began, lead(at) OVER w AS ended, lead(state) OVER w AS how FROM bgjob.job_states WINDOW w AS (PARTITION BY job_id ORDER BY seq)) s
			WHERE state = 'processing'});
}

sub value { return $node->safe_psql('postgres', $_[0]) }

# refused SQL returns the SQLSTATE of its error, '' if there is none.
sub refused
{
	my ($sql) = @_;
	my (undef, undef, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\n$sql");

	return $err =~ /ERROR:\s+(\w{5})/ ? $1 : $err;
}

# session starts a psql that stays in its transaction between two calls of say(); leave() ends it.
sub session
{
	my %s = (in => '', out => '', err => '');

	$s{run} = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=0', '-d', $node->connstr('postgres') ],
		\$s{in}, \$s{out}, \$s{err}, IPC::Run::timeout(900));
	return \%s;
}

# say SESSION, SQL… returns what the session has answered.
sub say
{
	my ($s, @queries) = @_;

	$s->{out} = $s->{err} = '';
	$s->{in} .= join(";\n", @queries) . ";\n\\echo done\n\\warn done\n";
	$s->{run}->pump until $s->{out} =~ /^done\n/m && $s->{err} =~ /^done\n/m;
	(my $answer = $s->{out}) =~ s/^done\n//m;
	(my $error = $s->{err}) =~ s/^done\n//m;
	diag("session: $error") if $error ne '';
	$answer =~ s/\n$//;
	return $answer;
}

sub leave
{
	for my $s (@_)
	{
		eval { $s->{in} .= "\\q\n"; $s->{run}->finish };
	}
}

# in_background PROGRAM, ARGUMENT… starts a program for the node; the caller finishes {run} and looks at {out} and {err}.
sub in_background
{
	my ($program, @arguments) = @_;
	my %s = (in => '', out => '', err => '');

	$s{run} = IPC::Run::start([ $program, @arguments, '-h', $node->host, '-p', $node->port, 'postgres' ], \$s{in}, \$s{out}, \$s{err}, IPC::Run::timeout(900));
	return \%s;
}

# hold_back N has jobs block(N) wait until let_go(N). let_go() without a number ends the session that holds them back,
# as has to be done after the server was lost.
sub hold_back
{
	$holder //= session();
	say($holder, map { "DO 'BEGIN PERFORM pg_advisory_lock(64, $_); END'" } grep { !$held{$_}++ } @_);
}

sub let_go
{
	say($holder, map { "DO 'BEGIN PERFORM pg_advisory_unlock(64, $_); END'" } grep { delete $held{$_} } @_) if $holder && @_;
	return if @_ || !$holder;
	leave($holder);
	$holder = undef;
	%held = ();
}

# blocked OPTIONS enqueues block(1), waits until it runs, and returns its id.
sub blocked
{
	my ($options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $job = value("SELECT bgjob_enqueue('block', '[1]', $options)");

	my ($true, $last) = BgjobTest::becomes_true($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $job", 30, 'postgres');
	ok(0, "a job that blocks runs: $options") || diag(value("SELECT state, reason, (SELECT string_agg(w.reason || ' ' || coalesce(w.detail, ''), ', ') FROM bgjob_why($job) w) FROM bgjob.jobs WHERE id = $job")) unless $true;
	return $job;
}

sub state_of { return value("SELECT state FROM bgjob.jobs WHERE id = $_[0]") }
sub reasons_of { return value("SELECT string_agg(reason, ', ') FROM bgjob_why($_[0])") }
sub scheduler { return pid_of($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = 'postgres'}) }

# becomes JOB, STATE, WHAT [, SECONDS]
sub becomes
{
	my ($job, $state, $what, $seconds) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return wait_until($node, "SELECT state = '$state' FROM bgjob.jobs WHERE id = $job", $what, $seconds // 30)
		|| diag(value("SELECT seq, state, reason, at FROM bgjob.job_states WHERE job_id = $job ORDER BY seq; SELECT reason, detail FROM bgjob_why($job)"));
}

# soon_after JOB, INSTANT, WHAT tests that a job's last attempt began at most a second after an instant.
sub soon_after
{
	my ($job, $instant, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $late = value("SELECT round(extract(epoch FROM started_at - '$instant'::timestamptz), 3) FROM bgjob.jobs WHERE id = $job");

	return cmp_ok($late eq '' ? 'infinity' : $late, '<=', 1, "$what: within a second ($late s)");
}

# most_at_once KEY, WHERE returns the greatest number of attempts that overlap, over the keys (an expression over bgjob.jobs j). An attempt that
# was lost ends before the history says so, hence only those count that came to an end themselves.
sub most_at_once
{
	my ($key, $where) = @_;

	return value(qq{
		WITH a AS (SELECT $key AS key, a.began, a.ended FROM attempt a JOIN bgjob.jobs j ON j.id = a.job_id
				WHERE a.ended IS NOT NULL AND a.how <> 'enqueued' AND ($where)),
			e AS (SELECT key, began AS at, 1 AS step FROM a UNION ALL SELECT key, ended, -1 FROM a)
		SELECT coalesce(max(n), 0) FROM (SELECT sum(step) OVER (PARTITION BY key ORDER BY at, step ROWS UNBOUNDED PRECEDING) AS n FROM e) x});
}

# crowd WHERE, MOST lists attempts that began while MOST others went on, and those.
sub crowd
{
	my ($where, $most) = @_;

	return value(qq{
		WITH a AS MATERIALIZED (SELECT a.*, j.worker_pid FROM attempt a JOIN bgjob.jobs j ON j.id = a.job_id WHERE a.ended IS NOT NULL AND a.how <> 'enqueued' AND ($where)),
			c AS (SELECT x.began FROM a x JOIN a y ON y.began <= x.began AND y.ended > x.began GROUP BY x.job_id, x.began HAVING count(*) > $most LIMIT 3)
		SELECT DISTINCT a.* FROM c JOIN a ON a.began <= c.began AND a.ended > c.began ORDER BY a.began LIMIT 20});
}

# started_once WHERE, WHAT tests that each of the jobs has been enqueued, started and succeeded, once each.
sub started_once
{
	my ($where, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is(value(qq{SELECT count(*), min(states) FROM (SELECT j.id, string_agg(s.state, ' ' ORDER BY seq) AS states FROM bgjob.jobs j JOIN bgjob.job_states s ON s.job_id = j.id
			WHERE $where GROUP BY 1) x WHERE states <> 'enqueued processing succeeded'}), '0|', $what)
		|| diag(value(qq{SELECT id, state, reason, retries, interruptions, error ->> 'message' FROM bgjob.jobs j WHERE ($where) AND (state <> 'succeeded' OR retries + interruptions > 0) LIMIT 5}));
}

# all_over WHAT [, SECONDS] waits until no job is left that can run.
sub all_over
{
	my ($what, $seconds) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return wait_until($node, q{SELECT count(*) = 0 FROM bgjob.jobs WHERE state IN ('enqueued', 'processing', 'scheduled')}, $what, $seconds // 120)
		|| diag(value(q{SELECT j.id, j.state, j.queue, j.limits, j.sequence_key, j.fairness_key, w.reason, w.detail FROM bgjob.jobs j LEFT JOIN LATERAL bgjob_why(j.id) w ON true
			WHERE j.state IN ('enqueued', 'processing', 'scheduled') ORDER BY j.id LIMIT 10; SELECT * FROM bgjob.limits LIMIT 20}));
}

# nothing_left WHAT tests that no place of a limit is taken and nobody waits for one.
sub nothing_left
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return wait_until($node, q{SELECT count(*) = 0 FROM bgjob.limits WHERE running <> 0 OR waiting <> 0}, $what, 20)
		|| diag(value(q{SELECT * FROM bgjob.limits WHERE running <> 0 OR waiting <> 0 LIMIT 10}));
}

1;
