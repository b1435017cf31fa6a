# check.sh: crashes expected
# External workers, tested from the contract alone (api.md, "External workers"; the texts on the protocol): what needs several sessions,
# time or crashes. Sessions that end, leases that end, late answers, time-outs, bgjob_await, workers in a pool of connections,
# concurrent workers, restarts, dump and restore, a standby. What one session sees is in pgtap/34_external_spec.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use BgjobFlow;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils qw(slurp_file command_ok);
use Test::More;
use Time::HiRes qw(time usleep);

my $node = bgjob_cluster('external', allows_streaming => 1, restart_after_crash => 'on', 'bgjob.workers' => 4, max_connections => 100,
	max_prepared_transactions => 10, log_statement => 'none');
flow_on($node);
value(q{
	CREATE ROLE app LOGIN; CREATE ROLE stranger LOGIN; GRANT USAGE ON SCHEMA bgjob TO app, stranger;
	CREATE FUNCTION ext(queue text, options jsonb = '{}') RETURNS bigint LANGUAGE sql AS $$
		SELECT bgjob_enqueue('work', options -> 'args', 'external', queue => queue, timeout => (options ->> 'timeout')::interval, max_retries => (options ->> 'max_retries')::int,
			delay => (options ->> 'delay')::interval, retry_delays => ARRAY[coalesce(options ->> 'retry', '1 hour')]::interval[],
			limits => CASE WHEN options ? 'limit' THEN ARRAY[options ->> 'limit'] END, sequence_key => options ->> 'key') $$;
	CREATE TABLE result (job bigint, who text, n int);
	GRANT ALL ON result TO PUBLIC});

# external QUEUE [, OPTIONS] enqueues an external job and returns its id.
sub external { my ($queue, $options) = @_; return value(sprintf q{SELECT ext('%s', '%s')}, $queue, $options // '{}') }
sub fetched { my ($s, $queue, $worker, $n, $lease) = @_; return say($s, sprintf q{SELECT string_agg(id::text, ' ') FROM bgjob_fetch('{%s}', '%s', %d, '%s')}, $queue, $worker, $n // 1, $lease // '5 min') }
sub shown { my ($job) = @_; return value("SELECT concat_ws(' ', state, 'retries', retries, 'interruptions', interruptions) FROM bgjob.jobs WHERE id = $job") }
sub history { my ($job) = @_; return value("SELECT string_agg(state, ' ' ORDER BY seq) FROM bgjob.job_states WHERE job_id = $job") }
sub beats { my ($s, $worker, @ids) = @_; return say($s, sprintf q{SELECT string_agg(concat_ws(' ', id, command), ', ') FROM bgjob_heartbeat('%s', '{%s}')}, $worker, join ',', @ids) }
# bound WORKER returns 1 if its jobs are bound to its session, 0 if the lease alone counts.
sub bound { my ($worker) = @_; return value("SELECT workers FROM bgjob.servers WHERE kind = 'external' AND name = '$worker'") }
sub pid { my ($s) = @_; return say($s, 'SELECT pg_backend_pid()') }
# cleared QUEUE deletes its jobs. A fetch afterwards finds that there are none: bgjob_await returns when there may be some.
sub cleared { my ($queue) = @_; value("SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE queue = '$queue' AND state NOT IN ('succeeded', 'deleted'); SELECT count(*) FROM bgjob_fetch('{$queue}', 'nobody')") }

# back JOB, WHAT [, SECONDS]: the job waits again, soon.
sub back
{
	my ($job, $what, $seconds) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $began = time;
	my $ok = becomes($job, 'enqueued', $what, $seconds // 10);

	note(sprintf '%s: after %.2f s', $what, time - $began);
	return $ok;
}

my $other = session();

# ---- a session that ends ----
{
	my ($first, $second) = (external('bound'), external('bound'));
	my $s = session();
	my $pid = pid($s);
	is(fetched($s, 'bound', 'b'), $first, 'a worker fetches a job');
	is(bound('b'), 1, 'bgjob.servers says that it is bound to its session');
	is(value("SELECT worker_pid FROM bgjob.jobs WHERE id = $first"), $pid, 'bgjob.jobs shows which');
	my $began = value('SELECT clock_timestamp()');
	leave($s);
	back($first, 'when its session ends, the job is back, hours before the end of its lease');
	cmp_ok(value("SELECT extract(epoch FROM max(at) - '$began') FROM bgjob.job_states WHERE job_id = $first AND state = 'enqueued'"), '<', 2, 'at once');
	is(shown($first), 'enqueued retries 0 interruptions 1', 'it has used no retry, and was interrupted');
	is(history($first), 'enqueued processing enqueued', 'its history has the attempt');
	is(fetched($other, 'bound', 'b2'), $first, 'it is the first of its queue again');
	is(say($other, "SELECT bgjob_complete($first, 'b2', '1')"), 't', 'another worker completes it');
	wait_until($node, q{SELECT count(*) = 0 FROM bgjob.servers WHERE name = 'b' AND busy > 0}, 'the first worker holds nothing');

	$s = session();
	$pid = pid($s);
	is(fetched($s, 'bound', 'b3'), $second, 'a worker in a session that is terminated');
	value("SELECT pg_terminate_backend($pid)");
	back($second, 'its job is back');
	leave($s);

	$s = session();
	say($s, 'BEGIN');
	is(fetched($s, 'bound', 'b4'), $second, 'a fetch that is never committed');
	is(value("SELECT state FROM bgjob.jobs WHERE id = $second") =~ /^(enqueued|processing)$/, 1, 'others see it wait, or taken');
	is(fetched($other, 'bound', 'b2'), '', 'nobody else gets it meanwhile');
	leave($s);
	my ($got, $until) = ('', time + 10);
	$got = fetched($other, 'bound', 'b2') until $got || time > $until;
	is($got, $second, 'when the session ends, others do');
	is(shown($second), 'processing retries 0 interruptions 1', 'it was not interrupted by that');

	$s = session();
	my $third = external('bound');
	is(fetched($s, 'bound', 'b5'), $third, 'a worker');
	say($s, 'BEGIN', "INSERT INTO result VALUES ($third, 'b5', 1)", "SELECT bgjob_complete($third, 'b5')");
	leave($s);
	back($third, 'that is gone before it has committed its completion: the job is back');
	is(value("SELECT count(*) FROM result WHERE job = $third"), 0, 'and its result is not there');

	say($other, "SELECT bgjob_complete($second, 'b2')");
	is(fetched($other, 'bound', 'b2'), $third, 'it is fetched');
	is(say($other, "SELECT bgjob_complete($third, 'b2')"), 't', 'and completed');

	# With all that a job has.
	value(q{SELECT bgjob_limit('mutex', max_running => 1)});
	my @gated = map { external('bound', '{"limit": "mutex", "key": "k"}') } 1 .. 2;
	$s = session();
	is(fetched($s, 'bound', 'b6', 5), $gated[0], 'a worker has the place of a limit, and of a sequence');
	is(say($s, "SELECT bgjob_external_log($gated[0], 'b6', 'before'), bgjob_external_progress($gated[0], 'b6', 40, 'm')"), 't|t', 'it logs');
	leave($s);
	back($gated[0], 'it is gone');
	wait_until($node, q{SELECT running = 0 FROM bgjob.limits WHERE name = 'mutex'}, 'the place is free');
	is(value("SELECT message FROM bgjob.job_logs WHERE job_id = $gated[0]"), 'before', 'its line stays');
	for my $job (@gated)
	{
		my $until = time + 10;
		my $got = '';
		$got = fetched($other, 'bound', 'b2', 5) until $got || time > $until;
		is($got, $job, 'one after the other');
		is(say($other, "SELECT bgjob_complete($job, 'b2')"), 't', 'is completed');
	}
}

# ---- workers whose connections are pooled ----
{
	my $job = external('pool');
	my $s = session();
	say($s, 'SET bgjob.bind_leases = off');
	is(fetched($s, 'pool', 'p off'), $job, 'bgjob.bind_leases = off');
	is(bound('p off'), 0, 'the worker is bound to no session');
	is(value("SELECT worker_pid FROM bgjob.jobs WHERE id = $job"), '', 'nor is its job');
	leave($s);
	usleep(1_500_000);
	is(shown($job), 'processing retries 0 interruptions 0', 'the end of the session ends no lease');
	is(beats($other, 'p off', $job), "$job continue", 'the worker goes on in another');
	is(say($other, "SELECT bgjob_complete($job, 'p off')"), 't', 'and completes it');

	my ($one, $two) = (session(), session());
	my @jobs = map { external('pool') } 1 .. 3;
	is(fetched($one, 'pool', 'pooled'), $jobs[0], 'a worker fetches in one session');
	is(bound('pooled'), 1, 'and is bound to it');
	is(beats($two, 'pooled', $jobs[0]), "$jobs[0] continue", 'it calls from another, while that one lives');
	is(bound('pooled'), 0, 'so its connections are pooled');
	is(value("SELECT worker_pid FROM bgjob.jobs WHERE id = $jobs[0]"), '', 'what it had is not bound any more');
	is(fetched($two, 'pool', 'pooled'), $jobs[1], 'it fetches there');
	is(bound('pooled'), 0, 'and stays unbound');
	leave($one, $two);
	usleep(1_500_000);
	is(value("SELECT string_agg(state, ' ') FROM bgjob.jobs WHERE id IN ($jobs[0], $jobs[1])"), 'processing processing', 'the end of both sessions ends no lease');
	is(say($other, "SELECT bgjob_complete($jobs[0], 'pooled'), bgjob_complete($jobs[1], 'pooled')"), 't|t', 'it completes both in a third');

	$one = session();
	is(fetched($one, 'pool', 'alpha'), $jobs[2], 'one session serves a worker');
	my $fourth = external('pool');
	is(fetched($one, 'pool', 'beta'), $fourth, 'and another');
	is(bound('alpha') . bound('beta'), '00', 'so it belongs to a pool, and neither is bound');
	leave($one);
	usleep(1_000_000);
	is(say($other, "SELECT bgjob_complete($jobs[2], 'alpha'), bgjob_complete($fourth, 'beta')"), 't|t', 'both are completed elsewhere');

	# A pool that closes a connection first, and is noticed by what the worker says afterwards.
	my $fifth = external('pool');
	$one = session();
	is(fetched($one, 'pool', 'closes'), $fifth, 'a worker behind a pool');
	leave($one);
	back($fifth, 'that closes the connection: its job is back');
	is(beats($other, 'closes', $fifth), "$fifth lost", 'the worker has lost it');
	$two = session();
	is(fetched($two, 'pool', 'closes'), $fifth, 'it fetches again');
	is(bound('closes'), 0, 'and is not bound from then on');
	leave($two);
	usleep(1_000_000);
	is(say($other, "SELECT bgjob_complete($fifth, 'closes')"), 't', 'so it completes the job in another session');
}

# ---- leases that end ----
{
	my $job = external('lease');
	value("SELECT bgjob_enqueue('work', kind => 'external', queue => 'lease')");
	is(fetched($other, 'lease', 'short', 1, '300 ms'), $job, 'a lease of 0.3 s');
	back($job, 'ends');
	is(shown($job), 'enqueued retries 0 interruptions 1', 'no retry is used');
	is(history($job), 'enqueued processing enqueued', 'the history has the attempt');
	is(beats($other, 'short', $job), "$job lost", 'its worker has lost it');
	is(say($other, "SELECT bgjob_complete($job, 'short', '1')"), 'f', 'a late answer is false');
	is(say($other, "SELECT bgjob_complete($job, 'short', '1')"), 'f', 'and again');
	is(say($other, "SELECT bgjob_fail($job, 'short', 'e')"), 'f', 'and again');
	wait_until($node, "SELECT count(*) = 1 FROM bgjob.job_states WHERE job_id = $job AND reason = 'Late answer of worker \"short\" ignored'", 'it is noted in the history', 10);
	is(value("SELECT state FROM bgjob.job_states WHERE job_id = $job AND reason LIKE 'Late%'"), 'enqueued', 'beside the state of the job');
	is(shown($job), 'enqueued retries 0 interruptions 1', 'the job is as it was');
	is(fetched($other, 'lease', 'long'), $job, 'it was at the head of its queue');
	is(value("SELECT data ->> 'attempt' FROM bgjob.job_states WHERE job_id = $job AND state = 'processing' ORDER BY seq DESC LIMIT 1"), 1, 'and is in its first attempt');
	is(say($other, "SELECT bgjob_complete($job, 'short', '2')"), 'f', 'the late answer does not end the attempt of another');
	is(say($other, "SELECT bgjob_complete($job, 'long', '3')"), 't', 'whose answer counts');
	is(value("SELECT result FROM bgjob.jobs WHERE id = $job"), 3, 'its result is kept');
	is(say($other, "SELECT bgjob_complete($job, 'short', '4')"), 'f', 'late after the end');
	usleep(500_000);
	cmp_ok(value("SELECT count(*) FROM bgjob.job_states WHERE job_id = $job AND reason LIKE 'Late%'"), '<=', 2, 'the history is not filled by repetitions');
	like(slurp_file($node->logfile), qr/LOG: .*worker "short".*late/, 'the server log has a line');

	# Late although nobody has it yet: within the same millisecond the clock decides.
	my $second = fetched($other, 'lease', 'short', 1, '20 ms');
	is(say($other, 'SELECT pg_sleep(0.05)', "SELECT bgjob_complete($second, 'short')"), "\nf", 'an answer after lease_until is late, even if nobody else has the job');
	back($second, 'the job waits');
	is(fetched($other, 'lease', 'beats', 1, '3 s'), $second, 'a lease of 3 s');
	for (1 .. 10)
	{
		usleep(700_000);
		say($other, "SELECT * FROM bgjob_heartbeat('beats', '{$second}', '3 s')");
	}
	is(shown($second), 'processing retries 0 interruptions 1', 'heartbeats keep it for more than two leases');
	is(say($other, "SELECT bgjob_complete($second, 'beats')"), 't', 'and it is completed');

	# A completion that is not committed when the lease ends counts.
	my $third = external('lease');
	my $s = session();
	is(fetched($s, 'lease', 'slow', 1, '2 s'), $third, 'a worker');
	is(say($s, 'BEGIN', "SELECT bgjob_complete($third, 'slow', '\"in time\"')"), 't', 'answers in time');
	usleep(2_500_000);
	is(fetched($other, 'lease', 'x'), '', 'and has not committed when its lease ends: nobody else gets the job');
	say($s, 'COMMIT');
	is(value("SELECT state || result FROM bgjob.jobs WHERE id = $third"), 'succeeded"in time"', 'its answer counts');
	$third = external('lease');
	is(fetched($s, 'lease', 'slow', 1, '2 s'), $third, 'another one');
	is(say($s, 'BEGIN', "SELECT bgjob_complete($third, 'slow')"), 't', 'answers in time');
	usleep(2_500_000);
	say($s, 'ROLLBACK');
	back($third, 'and rolls back after the end of its lease: the job is back');
	cleared('lease');
	leave($s);

	# A job that kills its workers.
	my $killer = external('lease', '{"max_retries": 1, "retry": "0.1 s"}');
	my @seen;
	for my $n (1 .. 8)
	{
		my ($got, $until) = ('', time + 15);
		until ($got || time > $until || value("SELECT state FROM bgjob.jobs WHERE id = $killer") eq 'failed')
		{
			$got = say($other, q{SELECT string_agg(format('%s/%s', id, attempt), ' ') FROM bgjob_fetch('{lease}', 'victim', 1, '50 ms')});
			usleep(50_000) unless $got;
		}
		last unless $got;
		push @seen, $got;
		wait_until($node, "SELECT state <> 'processing' FROM bgjob.jobs WHERE id = $killer", "loss $n");
	}
	becomes($killer, 'failed', 'a job that its workers lose again and again fails');
	note("attempts of the killer: @seen");
	cmp_ok(scalar @seen, '<=', 6, 'after a bounded number of losses');
	cmp_ok(scalar @seen, '>=', 3, 'but not before bgjob.max_crashes');
	is(value("SELECT retries FROM bgjob.jobs WHERE id = $killer"), 1, 'the losses from bgjob.max_crashes on used its retry');

	# Release is no loss.
	my $given = external('lease');
	for (1 .. 6)
	{
		is(fetched($other, 'lease', 'gives'), $given, 'a job is fetched');
		is(say($other, "SELECT bgjob_release($given, 'gives')"), 't', 'and released');
	}
	like(shown($given), qr/^enqueued retries 0 /, 'a job that is released again and again does not fail, and uses no retry');
	cleared('lease');

	# The longest.
	my $year = external('lease');
	is(fetched($other, 'lease', 'year', 1, '1 year'), $year, 'a lease of a year');
	my $quick = external('lease');
	is(fetched($other, 'lease', 'year', 1, '1 ms'), $quick, 'and one of 1 ms');
	back($quick, 'the short one ends');
	is(value("SELECT state FROM bgjob.jobs WHERE id = $year"), 'processing', 'the long one does not');
	is(say($other, "SELECT bgjob_complete($year, 'year')"), 't', 'it is completed');
	cleared('lease');
}

# ---- the time-out of an attempt ----
{
	my $job = external('time', '{"timeout": "0.5 s", "max_retries": 1, "retry": "0.1 s"}');
	is(fetched($other, 'time', 't'), $job, 'an attempt of half a second');
	my $began = time;
	wait_until($node, "SELECT state <> 'processing' FROM bgjob.jobs WHERE id = $job", 'is out of time', 10);
	cmp_ok(time - $began, '<', 3, 'at once');
	is(value("SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE id = $job"), '57014', 'it fails like an internal one');
	is(beats($other, 't', $job), "$job cancel", 'its worker is to stop');
	is(say($other, "SELECT bgjob_complete($job, 't')"), 'f', 'and cannot complete it');
	becomes($job, 'enqueued', 'it is tried again');
	is(say($other, q{SELECT attempt FROM bgjob_fetch('{time}', 't')}), 2, 'in its second attempt');
	# Heartbeats do not help against the time-out.
	for (1 .. 4) { usleep(250_000); beats($other, 't', $job) }
	becomes($job, 'failed', 'heartbeats do not extend its time');
	is(value("SELECT retries FROM bgjob.jobs WHERE id = $job"), 1, 'after its one retry');
	my $default = external('time');
	set_and_reload($node, 'bgjob.job_timeout' => '500ms');
	my $deadline = time + 60; # a session learns of a reload between two statements, when the signal has reached it
	usleep(10_000) until say($other, 'SHOW bgjob.job_timeout') eq '500ms' || time > $deadline;
	is(fetched($other, 'time', 't2'), $default, 'bgjob.job_timeout') or diag(shown($default));
	wait_until($node, "SELECT error ->> 'sqlstate' = '57014' FROM bgjob.jobs WHERE id = $default", 'holds for external jobs, too', 10)
		or diag('the setting counts when a job is enqueued, perhaps');
	set_and_reload($node, 'bgjob.job_timeout' => '0');
	cleared('time');
}

# ---- bgjob_await ----
sub waiting { my ($n) = @_; return wait_until($node, "SELECT count(*) = $n FROM pg_stat_activity WHERE query LIKE 'CALL bgjob_await%' AND state = 'active' AND wait_event_type IS NOT NULL", "$n wait", 20) || diag(value(q{SELECT pid, state, query, wait_event FROM pg_stat_activity WHERE query <> ''})) }
sub awaits
{
	my ($queues, $timeout, $role, $then) = @_;
	my %s = (in => '', out => '', err => '');

	$s{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), $role ? ('-c', "SET ROLE $role") : (), '-c', "CALL bgjob_await('{$queues}', '$timeout')", '-c', $then // 'SELECT clock_timestamp()' ],
		'<', \undef, '>', \$s{out}, '2>', \$s{err}, IPC::Run::timeout(60));
	return \%s;
}
# ended WAITERS returns how many have returned.
sub ended { my (@waiters) = @_; return scalar grep { my $r = $_->{run}; eval { $r->pump_nb if $r->pumpable; 1 }; !$r->pumpable } @waiters }
sub woken
{
	my ($waiter, $what, $seconds) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $until = time + ($seconds // 10);

	usleep(5_000) until ended($waiter) || time > $until;
	ok(ended($waiter) && $waiter->{out} =~ /^\d{4}-/, "awake: $what") || diag($waiter->{err});
	$waiter->{run}->kill_kill unless ended($waiter);
	eval { $waiter->{run}->finish };
}
sub asleep
{
	my ($waiter, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	usleep(300_000);
	is(ended($waiter), 0, "asleep: $what") || diag($waiter->{err});
}
{
	my $began = time;
	say($other, "CALL bgjob_await('{await}', '300 ms')");
	ok(time - $began > 0.29 && time - $began < 5, 'bgjob_await returns after its time');
	my $job = external('await');
	$began = time;
	say($other, "CALL bgjob_await('{await}', '20 s')");
	cmp_ok(time - $began, '<', 2, 'where there is work it returns at once');
	cleared('await');

	my $w = awaits('await', '50 s');
	waiting(1);
	is(value(q{SELECT concat_ws(' ', backend_xid IS NULL, backend_xmin IS NULL, xact_start IS NULL, wait_event_type) FROM pg_stat_activity WHERE query LIKE 'CALL bgjob_await%' AND state = 'active'}), 't t t Extension',
		'it holds neither a transaction nor a snapshot');
	is(value(q{SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.query LIKE 'CALL bgjob_await%' AND a.state = 'active'}), 0, 'nor a lock');
	external('elsewhere');
	value(q{SELECT bgjob_enqueue('fine', queue => 'await')});
	asleep($w, 'a job of another queue, and a function in this one');
	value(q{BEGIN; SELECT ext('await'); ROLLBACK});
	value(q{SELECT ext('await', '{"delay": "1 hour"}')});
	asleep($w, 'a job that was rolled back, and one that is scheduled');
	say($other, 'BEGIN', q{SELECT ext('await')});
	asleep($w, 'a job that is not committed');
	say($other, 'COMMIT');
	woken($w, 'it is committed');
	cleared('await');
	cleared('elsewhere');

	# What else makes a job ready.
	my %event = (
		'its time has come' => [ q{SELECT ext('await', '{"delay": "1 s"}')}, '' ],
		'a retry is due' => [ q{SELECT ext('await', '{"retry": "1 s"}'); SELECT bgjob_fail(id, 'e', 'no') FROM bgjob_fetch('{await}', 'e')}, '' ],
		'it is released' => [ q{SELECT ext('await')}, q{SELECT bgjob_release(id, 'e') FROM bgjob.jobs WHERE queue = 'await' AND state = 'processing'}, 1 ],
		'it is requeued' => [ q{SELECT ext('await')}, q{SELECT bgjob_requeue(id) FROM bgjob.jobs WHERE queue = 'await' AND state = 'processing'}, 1 ],
		'its worker is gone' => [ q{SELECT ext('await')}, q{SELECT pg_terminate_backend(worker_pid) FROM bgjob.jobs WHERE queue = 'await' AND state = 'processing'}, 1 ],
		'what it awaited has succeeded' => [ q{SELECT bgjob_enqueue('c', kind => 'external', queue => 'await', after => ARRAY[bgjob_enqueue('block', '[7]')])}, 'let go' ],
		'its queue is resumed' => [ q{SELECT bgjob_queue_pause('await'); SELECT ext('await')}, q{SELECT bgjob_queue_resume('await')} ],
		'it is moved here' => [ q{SELECT ext('apart')}, q{SELECT bgjob_change(id, queue => 'await') FROM bgjob.jobs WHERE queue = 'apart' AND state = 'enqueued'} ],
		'a place of its limit is free' => [ q{SELECT ext('apart', '{"limit": "mutex"}'); SELECT id FROM bgjob_fetch('{apart}', 'e'); SELECT ext('await', '{"limit": "mutex"}'); SELECT count(*) FROM bgjob_fetch('{await}', 'e2')},
			q{SELECT bgjob_complete(id, 'e') FROM bgjob.jobs WHERE queue = 'apart' AND state = 'processing'} ],
		'a prepared transaction is committed' => [ q{BEGIN; SELECT ext('await'); PREPARE TRANSACTION 'a'}, q{COMMIT PREPARED 'a'} ],
	);
	for my $what (sort keys %event)
	{
		my ($before, $then, $leased) = @{ $event{$what} };
		my $holder = session();
		hold_back(7) if $then eq 'let go';
		say($holder, 'SET bgjob.bind_leases = off') unless $leased && $what =~ /gone/;
		say($holder, $before);
		say($holder, sprintf q{SELECT id FROM bgjob_fetch('{await}', '%s')}, $what =~ /gone/ ? 'leaves' : 'e') if $leased;
		my $w = awaits('await', '40 s');
		waiting(1);
		asleep($w, "until $what") unless $then eq '';
		$then eq 'let go' ? let_go(7) : $then ne '' ? value($then) : 0;
		woken($w, $what, 20);
		eval { leave($holder) };
		cleared('await');
		cleared('apart');
		value(q{SELECT bgjob_queue_remove('await')});
	}

	# Whose work it is.
	$w = awaits('await', '30 s', 'app');
	waiting(1);
	external('await');
	asleep($w, 'a job of a role that the caller does not control');
	value(q{SET ROLE app; SELECT bgjob_enqueue('w', kind => 'external', queue => 'await')});
	woken($w, 'a job of its own');
	cleared('await');

	# As many as there are jobs.
	my @waiters = map { awaits('await', '40 s', undef, "SET bgjob.bind_leases = off; SELECT id FROM bgjob_fetch('{await}', 'woken $_')") } 1 .. 20;
	waiting(20);
	external('await');
	my $until = time + 10;
	usleep(20_000) until ended(@waiters) || time > $until;
	usleep(700_000);
	is(ended(@waiters), 1, 'of twenty that wait, one job wakes one');
	is(value(q{SELECT count(*) FROM bgjob.jobs WHERE queue = 'await' AND state = 'processing'}), 1, 'which takes it');
	value(q{SELECT count(*) FROM bgjob_enqueue_many('w', array_fill(NULL::jsonb, ARRAY[5]), kind => 'external', queue => 'await')});
	$until = time + 10;
	usleep(20_000) until ended(@waiters) >= 6 || time > $until;
	usleep(700_000);
	is(ended(@waiters), 6, 'five jobs wake five');
	is(value(q{SELECT count(*) FROM bgjob.jobs WHERE queue = 'await' AND state = 'processing'}), 6, 'and each takes one');
	value(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL bgjob_await%' AND pid <> pg_backend_pid() AND state = 'active' LIMIT 1});
	$until = time + 10;
	usleep(20_000) until ended(@waiters) >= 7 || time > $until;
	is(ended(@waiters), 7, 'one that waits can be canceled');
	is(scalar(grep { $_->{err} =~ /canceling statement due to user request/ } @waiters), 1, 'and says so');
	value(q{SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'CALL bgjob_await%' AND pid <> pg_backend_pid() AND state = 'active'});
	$until = time + 10;
	usleep(20_000) until ended(@waiters) >= 20 || time > $until;
	is(ended(@waiters), 20, 'the rest can be terminated');
	eval { $_->{run}->finish } for @waiters;
	cleared('await');
	# One that was woken and is gone before it fetches: its wake-up is not lost.
	@waiters = map { awaits('await', '30 s') } 1 .. 2;
	waiting(2);
	external('await');
	$until = time + 20;
	usleep(20_000) until ended(@waiters) == 2 || time > $until;
	is(ended(@waiters), 2, 'a client that was woken and left without fetching passes its turn on');
	eval { $_->{run}->finish } for @waiters;
	cleared('await');
	is(refused(q{BEGIN; CALL bgjob_await('{await}', '1 s')}), '2D000', 'within a transaction it is refused');
	my (undef, undef, $timeout) = $node->psql('postgres', q{SET statement_timeout = '200ms'; CALL bgjob_await('{await}', '20 s')});
	like($timeout, qr/statement timeout|cannot be executed/, 'statement_timeout ends it');
}

# ---- workers side by side ----
{
	my ($clients, $each) = (6, 200);
	value(qq{SELECT count(*) FROM bgjob_enqueue_many('many', ARRAY(SELECT to_jsonb(i) FROM generate_series(1, $clients * $each) i), kind => 'external', queue => 'side')});
	value(q{
		TRUNCATE result;
		CREATE PROCEDURE works(who text, n int, rolls float) LANGUAGE plpgsql AS $$
		DECLARE
			empty int := 0;
			j record;
			done boolean;
		BEGIN
			WHILE empty < 50 LOOP
				empty := empty + 1;
				FOR j IN SELECT f.id FROM bgjob_fetch('{side}', who, n) f LOOP
					empty := 0;
					BEGIN
						done := bgjob_complete(j.id, who, to_jsonb(who));
						IF NOT done THEN RAISE EXCEPTION 'not its own'; END IF;
						INSERT INTO result VALUES (j.id, who, 1);
						IF random() < rolls THEN RAISE EXCEPTION 'rolled back' USING ERRCODE = 'P7676'; END IF;
					EXCEPTION WHEN SQLSTATE 'P7676' THEN
						PERFORM bgjob_release(j.id, who);
					END;
				END LOOP;
				COMMIT;
				IF empty > 0 THEN PERFORM pg_sleep(0.01); END IF;
			END LOOP;
		END $$});
	my @workers = map { in_background('psql', '-Xq', '-c', "CALL works('side $_', $_, 0.2)") } 1 .. $clients;
	wait_until($node, q{SELECT count(*) = 0 FROM bgjob.jobs WHERE queue = 'side' AND state <> 'succeeded'}, 'workers side by side complete all jobs', 120)
		or diag(value(q{SELECT state, count(*) FROM bgjob.jobs WHERE queue = 'side' GROUP BY 1}));
	$_->{run}->finish for @workers;
	is(join('', map { $_->{err} } @workers), '', 'without an error');
	is(value('SELECT count(*), count(DISTINCT job) FROM result'), $clients * $each . '|' . $clients * $each, 'each has its effects once');
	is(value(q{SELECT count(*) FROM bgjob.jobs j JOIN result r ON r.job = j.id WHERE j.result <> to_jsonb(r.who)}), 0, 'and the result of the worker that had them');
	is(value(q{SELECT sum(retries) FROM bgjob.jobs WHERE queue = 'side'}), 0, 'no retry is used');
}

# ---- restarts ----
{
	my ($bound, $free, $pending) = map { external($_) } qw(r1 r2 r3);
	my $s = session();
	say($s, 'SET bgjob.bind_leases = off');
	is(fetched($s, 'r2', 'free', 1, '1 hour'), $free, 'a lease that is not bound');
	leave($s);
	$s = session();
	is(fetched($s, 'r1', 'bound', 1, '1 hour'), $bound, 'one that is');
	my $third = session();
	say($third, 'BEGIN');
	is(fetched($third, 'r3', 'pending'), $pending, 'and a fetch that is not committed');
	eval { $other->{run}->kill_kill };
	$node->restart;
	eval { leave($s, $third) };
	$other = session();
	back($bound, 'after a restart, what was bound is back');
	is(value("SELECT state FROM bgjob.jobs WHERE id = $pending"), 'enqueued', 'what was not committed, too');
	is(shown($free), 'processing retries 0 interruptions 0', 'what was not bound is leased');
	is(value("SELECT server FROM bgjob.jobs WHERE id = $free"), 'free', 'by the same worker');
	is(beats($other, 'free', $free), "$free continue", 'which goes on');
	is(say($other, "SELECT bgjob_complete($free, 'free', '7')"), 't', 'and completes it');
	is(value("SELECT state || result FROM bgjob.jobs WHERE id = $free"), 'succeeded7', 'it has succeeded');
	cleared('r1');
	cleared('r3');

	my ($one, $two, $three) = map { external($_) } qw(r1 r2 r3);
	say($other, 'SET bgjob.bind_leases = off');
	is(fetched($other, 'r1', 'free', 1, '3 s'), $one, 'a lease of 3 s before a crash');
	is(fetched($other, 'r2', 'free', 1, '1 hour'), $two, 'and one of an hour');
	is(say($other, "SELECT bgjob_external_log($two, 'free', 'before the crash')"), 't', 'with a line');
	is(fetched($other, 'r3', 'free', 1, '1 hour'), $three, 'and one that is completed just before');
	is(say($other, "SELECT bgjob_complete($three, 'free', '3')"), 't', 'completed');
	my $victim = pid($other);
	kill 'KILL', $victim;
	eval { $other->{run}->kill_kill };
	until_gone($victim);
	ask($node, 'SELECT 1');
	$other = session();
	is(ask($node, "SELECT state FROM bgjob.jobs WHERE id = $three"), 'succeeded', 'after the crash what was completed is');
	wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $two", 'the long lease holds');
	is(value("SELECT message FROM bgjob.job_logs WHERE job_id = $two"), 'before the crash', 'its line is there');
	is(say($other, "SELECT bgjob_complete($two, 'free')"), 't', 'and it is completed');
	back($one, 'the short one ends', 20);
	is(fetched($other, 'r1', 'free'), $one, 'and the job is fetched again');
	is(say($other, "SELECT bgjob_complete($one, 'free')"), 't', 'and completed');

	# Limits after a crash.
	my @gated = map { external('r4', '{"limit": "mutex"}') } 1 .. 2;
	say($other, 'SET bgjob.bind_leases = off');
	is(fetched($other, 'r4', 'free', 5, '1 hour'), $gated[0], 'a lease with the place of a limit');
	value('CREATE TABLE flushed ()'); # A fetch alone is not flushed: a crash may have forgotten it, and the job waits.
	$victim = pid($other);
	kill 'KILL', $victim;
	eval { $other->{run}->kill_kill };
	until_gone($victim);
	ask($node, 'SELECT 1');
	$other = session();
	wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $gated[0]", 'is there after a crash');
	is(fetched($other, 'r4', 'x', 5), '', 'and holds its place');
	is(value(q{SELECT running FROM bgjob.limits WHERE name = 'mutex'}), 1, 'bgjob.limits says so');
	is(say($other, "SELECT bgjob_complete($gated[0], 'free')"), 't', 'completed');
	my ($got, $until) = ('', time + 10);
	$got = fetched($other, 'r4', 'x') until $got || time > $until;
	is($got, $gated[1], 'the next follows');
	is(say($other, "SELECT bgjob_complete($gated[1], 'x')"), 't', 'completed');
}

# ---- dump and restore, a copy of the database ----
{
	my $file = "$PostgreSQL::Test::Utils::tmp_check/external.custom";
	my ($leased, $waits, $done) = map { external('dump') } 1 .. 3;
	is(fetched($other, 'dump', 'd', 1, '1 hour'), $leased, 'a leased job');
	value("SELECT bgjob_delete($done)");
	command_ok([ 'pg_dump', '-Fc', '-f', $file, '-d', $node->connstr('postgres') ], 'is dumped');
	value('CREATE DATABASE restored');
	command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $file ], 'and restored');
	my $there = sub { return $node->safe_psql('restored', $_[0]) };
	is($there->("SELECT string_agg(concat_ws(' ', state, retries), ', ' ORDER BY id) FROM bgjob.jobs WHERE id IN ($leased, $waits, $done)"), 'enqueued 0, enqueued 0, deleted 0', 'there nobody has it');
	is($there->(q{SELECT count(*) FROM bgjob_fetch('{dump}', 'd')}), 0, 'and it is not fetched before it is adopted');
	is($there->("SELECT bgjob_complete($leased, 'd')"), 'f', 'nor completed by the worker of the original');
	cmp_ok($there->('SELECT bgjob_adopt()'), '>=', 2, 'it is adopted');
	is($there->(q{SELECT string_agg(id::text, ' ') FROM bgjob_fetch('{dump}', 'there', 5)}), "$leased $waits", 'then it is fetched');
	wait_until($node, q{SELECT count(*) = 2 FROM bgjob.jobs WHERE queue = 'dump' AND state = 'enqueued'}, 'the sessions of that worker have ended', 20, 'restored');
	is($there->(q{SELECT count(*) FROM bgjob_fetch('{dump}', 'there', 5) f WHERE bgjob_complete(f.id, 'there')}), 2, 'and completed');
	check_counters($node, 'restored');
	is(value("SELECT state FROM bgjob.jobs WHERE id = $leased"), 'processing', 'the original is leased as before');
	value('DROP DATABASE restored');
	is(say($other, "SELECT bgjob_complete($leased, 'd')"), 't', 'and is completed');
	cleared('dump');

	value('CREATE DATABASE dropped');
	$node->safe_psql('dropped', q{CREATE EXTENSION bgjob; SET bgjob.bind_leases = off; SELECT bgjob_enqueue('x', kind => 'external') FROM generate_series(1, 5); SELECT count(*) FROM bgjob_fetch('{*}', 'd', 3)});
	$node->safe_psql('dropped', q{DROP EXTENSION bgjob; CREATE EXTENSION bgjob; SELECT bgjob_enqueue('x', kind => 'external') FROM generate_series(1, 5)});
	is($node->safe_psql('dropped', q{SELECT count(*), min(id) FROM bgjob_fetch('{*}', 'd', 10)}), '5|1', 'DROP EXTENSION with leased jobs leaves none of their leases');
	is($node->safe_psql('dropped', q{BEGIN; DROP EXTENSION bgjob; ROLLBACK; SELECT count(*) FROM bgjob.jobs}), '5', 'if it is rolled back, all is as before');
	value('ALTER DATABASE dropped RENAME TO renamed');
	value('DROP DATABASE renamed');
	pass('a database with leased jobs can be dropped');
	value(q{CREATE ROLE gone LOGIN; GRANT USAGE ON SCHEMA bgjob TO gone});
	my $orphan = value(q{SET ROLE gone; SET bgjob.bind_leases = off; SELECT bgjob_enqueue('x', kind => 'external', queue => 'gone')});
	is(value(q{SET ROLE gone; SET bgjob.bind_leases = off; SELECT id FROM bgjob_fetch('{gone}', 'g', 1, '1 s')}), $orphan, 'a role has a job');
	value(q{DROP OWNED BY gone; DROP ROLE gone});
	wait_until($node, "SELECT state <> 'processing' FROM bgjob.jobs WHERE id = $orphan", 'the role is dropped: the lease ends all the same', 20);
	value("SELECT bgjob_delete($orphan)");
}

# ---- a standby ----
{
	check_counters($node);
	leave($other);
	$node->backup('base');
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($node, 'base', has_streaming => 1);
	$standby->start;
	set_and_reload($node, synchronous_standby_names => '*');
	wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'}, 'a synchronous standby follows');
	my @jobs = map { external('fail-over') } 1 .. 4;
	$other = session();
	is(fetched($other, 'fail-over', 'bound'), $jobs[0], 'a bound worker');
	my $s = session();
	say($s, 'SET bgjob.bind_leases = off');
	is(fetched($s, 'fail-over', 'free', 1, '1 hour'), $jobs[1], 'one that is not');
	is(fetched($s, 'fail-over', 'free', 1, '2 s'), $jobs[2], 'with a second job and a short lease');
	$node->wait_for_catchup($standby, 'replay');
	for my $call ("bgjob_fetch('{fail-over}', 'x')", "bgjob_complete($jobs[0], 'bound')", "bgjob_fail($jobs[0], 'bound', 'e')", "bgjob_release($jobs[0], 'bound')")
	{
		my (undef, undef, $err) = $standby->psql('postgres', "\\set VERBOSITY sqlstate\nSELECT $call");
		like($err, qr/25006/, "on the standby: $call");
	}
	my (undef, undef, $err) = $standby->psql('postgres', "\\set VERBOSITY verbose\nCALL bgjob_await('{fail-over}', '1 s')");
	like($err, qr/ERROR: +(55000|25006|0A000)/, 'on the standby: bgjob_await is refused, since no work comes there');
	like($standby->safe_psql('postgres', "SELECT state FROM bgjob.jobs WHERE id = $jobs[3]"), qr/^enqueued$/, 'its views show the jobs');
	$node->stop('immediate');
	$standby->promote;
	eval { leave($other, $s) };
		my $done = sub { return $standby->safe_psql('postgres', $_[0]) };
	wait_until($standby, "SELECT state = 'enqueued' FROM bgjob.jobs WHERE id = $jobs[0]", 'after the fail-over, what was bound is back', 20);
	is($done->("SELECT bgjob_complete($jobs[1], 'free', '1')"), 't', 'what was not is completed by its worker');
	wait_until($standby, "SELECT state = 'enqueued' FROM bgjob.jobs WHERE id = $jobs[2]", 'or goes back when its lease ends', 30);
	is($done->("SELECT bgjob_complete($jobs[0], 'bound')"), 'f', 'the bound worker is late');
	is($done->(q{SELECT count(*) FROM bgjob_fetch('{fail-over}', 'new', 10) f WHERE bgjob_complete(f.id, 'new')}), 3, 'the rest is fetched and completed');
	is($done->(q{SELECT string_agg(DISTINCT state, ' ') FROM bgjob.jobs WHERE queue = 'fail-over'}), 'succeeded', 'nothing is lost');
	check_counters($standby);
	$standby->stop;
	unlike(slurp_file($standby->logfile), qr/PANIC|TRAP|terminated by signal (?:6|11)|XX000/, 'nothing has crashed there');
}
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal (?:6|11)|XX000/, 'nothing has crashed but what was killed');
done_testing();
