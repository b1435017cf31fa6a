# check.sh: crashes expected
# External workers and crashes between any two lines: workers fetch, beat, log, complete, fail, release, roll back and prepare under load,
# beside deletes, requeues, limits and sequences, while backends, the scheduler, internal workers and the postmaster are killed. What a
# worker does it writes into a table in the transaction that completes the job. In the end no job is lost, none has effects twice, none
# has succeeded without them, no order is broken, and all counters are right.
#
# BGJOB_SEED is the seed of the load, BGJOB_JOBS its number of jobs (4000), BGJOB_ROUNDS the number of crashes (5).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use IPC::Run ();
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use Time::HiRes qw(time usleep);

my $seed   = $ENV{BGJOB_SEED} // 77;
my $jobs   = $ENV{BGJOB_JOBS} // 4000;
my $rounds = $ENV{BGJOB_ROUNDS} // 5;
my $node = bgjob_cluster('external_crash', 'bgjob.workers' => 3, max_connections => 40, max_prepared_transactions => 20, restart_after_crash => 'on',
	'bgjob.max_crashes' => 1000, fsync => 'off', log_statement => 'none', 'bgjob.shutdown_timeout' => '2s');
sub value { return $node->safe_psql('postgres', $_[0]) }

value(q{
	CREATE TABLE ran (n bigserial, job bigint, attempt int, key text, who text);
	SELECT bgjob_limit('two', max_running => 2), bgjob_queue('narrow', max_running => 3);
	CREATE FUNCTION internal(i int) RETURNS void LANGUAGE sql AS $$ INSERT INTO ran (job, who) VALUES (bgjob_current_id(), 'internal') $$;
	CREATE PROCEDURE load(n int, seed float, who int) LANGUAGE plpgsql AS $$
	DECLARE
		key text;
		limited boolean;
		id bigint;
	BEGIN
		PERFORM setseed(seed);
		FOR i IN 1 .. n LOOP
			key := CASE WHEN random() < 0.3 THEN format('%s.%s', who, floor(random() * 5)) END;
			limited := random() < 0.2;
			id := bgjob_enqueue('work', jsonb_build_object('key', key, 'limited', limited), 'external', queue => CASE WHEN random() < 0.2 THEN 'narrow' WHEN random() < 0.5 THEN 'default' ELSE 'q' || floor(random() * 3) END,
				sequence_key => key, limits => CASE WHEN limited THEN '{two}'::text[] END, priority => CASE WHEN key IS NULL AND random() < 0.1 THEN 5 ELSE 0 END,
				retry_delays => '{0.05 s}', max_retries => 50, delay => CASE WHEN key IS NULL AND random() < 0.1 THEN random() * interval '1 s' END,
				timeout => CASE WHEN random() < 0.1 THEN interval '2 s' END);
			IF random() < 0.1 THEN PERFORM bgjob_enqueue('internal', jsonb_build_array(i), after => ARRAY[id], condition => 'finished'); END IF;
			IF random() < 0.2 THEN COMMIT; END IF;
			IF random() < 0.05 THEN ROLLBACK; END IF;
		END LOOP;
	END $$;
	-- worker: takes jobs until it is killed. Its effects are in the transaction that completes the job.
	CREATE PROCEDURE worker(who text, seconds float, n int) LANGUAGE plpgsql AS $$
	DECLARE
		stop timestamptz := clock_timestamp() + make_interval(secs => seconds);
		ids bigint[];
		attempts int[];
		keys text[];
		r float;
		done boolean;
	BEGIN
		IF random() < 0.5 THEN SET bgjob.bind_leases = off; END IF;
		WHILE clock_timestamp() < stop LOOP
			SELECT array_agg(f.id), array_agg(f.attempt), array_agg(f.args ->> 'key') INTO ids, attempts, keys
			FROM bgjob_fetch('{default,narrow,*}', who, n, CASE WHEN random() < 0.05 THEN interval '5 ms' WHEN random() < 0.1 THEN interval '0.2 s' ELSE interval '3 s' END) f;
			IF random() < 0.02 THEN ROLLBACK; CONTINUE; END IF;
			COMMIT;
			IF ids IS NULL THEN PERFORM pg_sleep(0.01); CONTINUE; END IF;
			FOR i IN 1 .. cardinality(ids) LOOP
				IF random() < 0.2 THEN PERFORM bgjob_heartbeat(who, ids, '1 s'); END IF;
				IF random() < 0.2 THEN PERFORM bgjob_external_log(ids[i], who, 'at it'); COMMIT; END IF;
				IF random() < 0.2 THEN PERFORM bgjob_external_progress(ids[i], who, 50); END IF;
				r := random();
				IF r < 0.08 THEN
					PERFORM bgjob_fail(ids[i], who, 'no');
				ELSIF r < 0.14 THEN
					PERFORM bgjob_release(ids[i], who, CASE WHEN r < 0.1 THEN interval '20 ms' END);
				ELSIF r < 0.16 THEN
					NULL; -- forgotten: the lease ends
				ELSE
					BEGIN
						INSERT INTO ran (job, attempt, key, who) VALUES (ids[i], attempts[i], keys[i], who);
						done := bgjob_complete(ids[i], who, to_jsonb(who));
						IF NOT done THEN RAISE EXCEPTION 'late' USING ERRCODE = 'P7777'; END IF;
						IF r > 0.97 THEN RAISE EXCEPTION 'changed its mind' USING ERRCODE = 'P7777'; END IF;
					EXCEPTION WHEN SQLSTATE 'P7777' THEN
						PERFORM bgjob_release(ids[i], who);
					END;
				END IF;
				IF random() < 0.03 THEN ROLLBACK; ELSE COMMIT; END IF;
			END LOOP;
		END LOOP;
	END $$;
	CREATE FUNCTION meddle() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		id bigint;
		seen text;
	BEGIN
		PERFORM bgjob_limit('two', max_running => 1 + floor(random() * 2)::int);
		-- Only from the state that was seen: a job that has succeeded meanwhile must not run again.
		FOR id, seen IN SELECT j.id, j.state FROM bgjob.jobs j WHERE j.kind = 'external' AND state IN ('enqueued', 'processing', 'scheduled') AND sequence_key IS NULL AND random() < 0.05 LIMIT 5 LOOP
			CASE floor(random() * 4)
				WHEN 0 THEN PERFORM bgjob_requeue(id, seen);
				WHEN 1 THEN PERFORM bgjob_reschedule(id, delay => '50 ms', from_state => seen);
				WHEN 2 THEN PERFORM bgjob_change(id, queue => 'q1');
				ELSE PERFORM bgjob_delete(id, seen);
			END CASE;
		END LOOP;
		IF random() < 0.2 THEN RAISE EXCEPTION 'rolled back'; END IF;
	END $$});

srand($seed);
note("seed $seed");
sub started { my (@c) = @_; my ($o, $e) = ('', ''); return { err => \$e, run => IPC::Run::start([ 'psql', '-Xq', '-d', $node->connstr('postgres'), @c ], '<', \undef, '>', \$o, '2>', \$e, IPC::Run::timeout(300)) } }
my @kinds = ('a worker', 'the scheduler', 'the postmaster', 'a prepared transaction', 'an internal worker');
for my $round (1 .. $rounds)
{
	my $kind = $kinds[ ($round - 1) % @kinds ];
	my @running = map { started('-c', sprintf 'CALL load(%d, %f, %d)', $jobs / $rounds / 2, rand, $round * 10 + $_) } 1 .. 2;
	push @running, map { started('-c', sprintf(q{SELECT setseed(%f)}, rand), '-c', sprintf q{CALL worker('w%d', 300, %d)}, $_, 1 + ($_ % 3) * 4) } 1 .. 6;
	for my $step (1 .. 15)
	{
		$node->psql('postgres', 'SELECT meddle()', timeout => 30, on_error_stop => 0, stderr => \my $refused);
		$node->psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL worker%' ORDER BY random() LIMIT 1}, timeout => 20, on_error_stop => 0) if rand() < 0.3;
		push @running, started('-c', sprintf q{CALL worker('w%d', 300, 3)}, 1 + int rand 6) if rand() < 0.3;
		usleep(50_000);
	}
	if ($kind eq 'a prepared transaction')
	{
		# Some complete in transactions that are prepared over the crash.
		for my $p (1 .. 5)
		{
			$node->psql('postgres', qq{SET bgjob.bind_leases = off; SELECT id, args ->> 'key' AS key FROM bgjob_fetch('{*}', 'prepares', 1, '1 hour') \\gset
				BEGIN; INSERT INTO ran (job, key, who) VALUES (:id, nullif(:'key', ''), 'prepares'); SELECT bgjob_complete(:id, 'prepares'); PREPARE TRANSACTION 'p$p'}, timeout => 30, on_error_stop => 0, stderr => \my $e);
		}
	}
	note("round $round, $kind: " . ask($node, q{SELECT string_agg(format('%s %s', state, n), ', ') FROM (SELECT state, count(*) n FROM bgjob.jobs GROUP BY 1) x}));
	if ($kind eq 'the postmaster' || $kind eq 'a prepared transaction')
	{
		my $postmaster = $node->{_pid};
		kill 'KILL', $postmaster;
		until_gone($postmaster);
		$node->{_pid} = undef;
		start_again($node);
	}
	else
	{
		my $where = $kind eq 'a worker' ? q{query LIKE 'CALL worker%'} : $kind eq 'the scheduler' ? q{backend_type = 'bgjob scheduler' AND datname = 'postgres'} : q{backend_type LIKE 'bgjob worker%'};
		my $pid = ask($node, "SELECT pid FROM pg_stat_activity WHERE $where ORDER BY random() LIMIT 1");
		kill 'KILL', $pid if $pid =~ /^\d+$/;
		usleep(200_000);
	}
	ask($node, 'SELECT 1');
	ask($node, q{SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'CALL %' AND pid <> pg_backend_pid()});
	for my $r (@running)
	{
		eval { $r->{run}->finish };
		unlike(${ $r->{err} }, qr/XX\d{3}|PANIC|could not find/, 'no internal error') if ${ $r->{err} } =~ /XX\d{3}|PANIC|could not find/;
	}
	if ($kind eq 'a prepared transaction')
	{
		for my $p (1 .. 5) { $node->psql('postgres', ($p % 2 ? 'COMMIT' : 'ROLLBACK') . " PREPARED 'p$p'", timeout => 60, on_error_stop => 0, stderr => \my $e) }
	}
}
ask($node, q{SELECT bgjob_limit('two', max_running => 2)});
my $began = time;
my @workers = map { started('-c', sprintf q{CALL worker('last %d', 300, 5)}, $_) } 1 .. 4;
wait_until($node, q{SELECT (SELECT count(bgjob_requeue(id, 'failed')) = 0 FROM bgjob.jobs WHERE state = 'failed') AND NOT EXISTS (SELECT FROM bgjob.jobs WHERE state NOT IN ('succeeded', 'deleted'))}, 'each job is over', 240)
	or diag($node->safe_psql('postgres', q{SELECT j.id, j.state, j.reason, j.queue, j.limits, j.sequence_key, j.server, w.reason, w.detail FROM bgjob.jobs j LEFT JOIN LATERAL bgjob_why(j.id) w ON true WHERE state NOT IN ('succeeded', 'deleted') LIMIT 10}));
note(sprintf '%.1f s after the last crash; %s', time - $began, value(q{SELECT string_agg(format('%s %s', state, n), ', ') FROM (SELECT state, count(*) n FROM bgjob.jobs GROUP BY 1) x}));
value(q{SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'CALL %' AND pid <> pg_backend_pid()});
eval { $_->{run}->finish } for @workers;
unlike(${ $_->{err} }, qr/XX\d{3}|could not/, 'no internal error') for @workers;

is(value(q{SELECT string_agg(job::text, ' ') FROM (SELECT job FROM ran GROUP BY job HAVING count(*) > 1 LIMIT 5) x}), '', 'no job has effects twice');
is(value(q{SELECT string_agg(id::text, ' ') FROM (SELECT id FROM bgjob.jobs j WHERE state = 'succeeded' AND NOT EXISTS (SELECT FROM ran r WHERE r.job = j.id) LIMIT 5) x}), '', 'none has succeeded without its effects');
is(value(q{SELECT string_agg(concat_ws(' ', job, state, reason), ', ') FROM (SELECT r.job, j.state, j.reason FROM ran r LEFT JOIN bgjob.jobs j ON j.id = r.job WHERE j.state IS DISTINCT FROM 'succeeded' LIMIT 5) x}), '', 'none has effects without having succeeded');
is(value(q{SELECT string_agg(job::text, ' ') FROM (SELECT r.job FROM ran r JOIN bgjob.jobs j ON j.id = r.job WHERE j.kind = 'external' AND who <> 'prepares' AND j.result IS DISTINCT FROM to_jsonb(r.who) LIMIT 5) x}), '', 'the result is that of the worker whose effects are there');
is(value(q{SELECT key, job, before FROM (SELECT key, job, lag(job) OVER (PARTITION BY key ORDER BY n) AS before FROM ran WHERE key IS NOT NULL) x WHERE before > job LIMIT 5}), '', 'each sequence ran in order');
is(value(q{SELECT count(*) FROM bgjob.job_states s WHERE state = 'succeeded' AND coalesce(reason, '') NOT LIKE 'Late answer%' GROUP BY job_id HAVING count(*) > 1 LIMIT 1}), '', 'no job has succeeded twice in its history');
is(value(q{SELECT concat_ws(' ', (SELECT count(*) FROM bgjob_internal.gate), (SELECT count(*) FROM bgjob_internal.sequence), (SELECT count(*) FROM bgjob_internal.lease), (SELECT count(*) FROM pg_prepared_xacts))}), '0 0 0 0', 'no line, sequence, lease or transaction is left');
is(value(q{SELECT string_agg(concat_ws(' ', name, running, waiting), ', ') FROM bgjob.limits WHERE running <> 0 OR waiting <> 0}), '', 'no place is taken');
wait_until($node, q{SELECT coalesce(sum(busy), 0) = 0 FROM bgjob.servers}, 'no worker holds anything', 20);
check_counters($node);
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal (?:6|11)|XX000/, 'nothing has crashed but what was killed');
done_testing();
