# Gates under attack: sessions that take waiters and idle, roll back or prepare; limits that need each other's places; queues that get
# and lose max_running; bgjob_run(). Then a random load over limits, sequences, a bounded queue and fairness keys, while limits change,
# jobs are deleted and requeued, and workers, the scheduler and the whole server are killed. A job fails if too many hold a place at once:
# it tries advisory locks, which go when its transaction ends. In the end each job is over, none has run twice, and no order is broken.
#
# BGJOB_SEED is the seed of the load, BGJOB_JOBS its number of jobs (16000).
# check.sh: crashes expected
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $seed = $ENV{BGJOB_SEED} // 68;
my $jobs = $ENV{BGJOB_JOBS} // 16_000;
my $node = bgjob_cluster('gates', 'bgjob.workers' => 8, max_connections => 40, max_prepared_transactions => 10,
	restart_after_crash => 'on', 'bgjob.max_crashes' => 20, fsync => 'off', log_statement => 'none');

sub value { return $node->safe_psql('postgres', $_[0]) }

# session starts a psql that stays in its transaction between two calls of say().
sub session
{
	my %s = (in => '', out => '', err => '');

	$s{run} = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=0', '-d', $node->connstr('postgres') ],
		\$s{in}, \$s{out}, \$s{err}, IPC::Run::timeout(300));
	return \%s;
}

# say SESSION, SQL… returns what the session has answered.
sub say
{
	my ($s, @queries) = @_;

	$s->{out} = $s->{err} = '';
	$s->{in} .= join(";\n", @queries) . ";\n\\echo done\n\\warn done\n";
	$s->{run}->pump until $s->{out} =~ /^done$/m && $s->{err} =~ /^done$/m;
	(my $answer = $s->{out}) =~ s/^done\n//m;
	(my $error = $s->{err}) =~ s/^done\n//m;
	diag("session: $error") if $error ne '';
	$answer =~ s/\n$//;
	return $answer;
}

# all_over WHAT [, SECONDS]: all jobs have succeeded, and nobody stands at a gate or in a sequence.
sub all_over
{
	my ($what, $seconds) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	wait_until($node, q{SELECT count(*) = 0 FROM bgjob_internal.job WHERE state NOT IN ('k', 'd')}, $what, $seconds // 30)
		or diag(value(q{SELECT id, state, reason, limits, error FROM bgjob.jobs WHERE state NOT IN ('succeeded', 'deleted') LIMIT 5}));
	is(value(q{SELECT (SELECT count(*) FROM bgjob_internal.gate), (SELECT count(*) FROM bgjob_internal.sequence)}), '0|0', "$what: no line, no sequence");
}

value(q{
	CREATE FUNCTION fine() RETURNS int LANGUAGE sql AS 'SELECT 1';
	CREATE FUNCTION block(n int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(64, n); END $$;
	-- The numbers are drawn while the job has its places.
	CREATE TABLE ran (n bigserial, job bigint, key text);
	-- place takes one of so many places, or fails.
	CREATE FUNCTION place(what text, places int) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. places LOOP
			IF pg_try_advisory_xact_lock(hashtext(what), i) THEN RETURN; END IF;
		END LOOP;
		RAISE EXCEPTION 'more than % at once: %', places, what USING ERRCODE = 'XX998';
	END $$;
	CREATE FUNCTION work(places jsonb, key text DEFAULT NULL, fails float DEFAULT 0, ms float DEFAULT 0) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM place(p.key, p.value::int) FROM jsonb_each_text(places) p;
		IF random() < fails THEN RAISE EXCEPTION 'failed'; END IF;
		IF ms > 0 THEN PERFORM pg_sleep(ms / 1000); END IF;
		INSERT INTO ran (job, key) VALUES (bgjob_current_id(), work.key);
	END $$;
	SELECT bgjob_limit('a', max_running => 1), bgjob_limit('b', max_running => 1), bgjob_limit('t:*', max_running => 1)});

my $holder = session();
my $idle   = session();

# blocked: a job holds the mutex "a" until release().
sub blocked
{
	say($holder, 'SELECT pg_advisory_lock(64, 1)');
	my $id = value(q{SELECT bgjob_enqueue('block', '[1]', limits => '{a}')});
	wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $id", 'a job holds the mutex');
	return $id;
}
sub release { say($holder, 'SELECT pg_advisory_unlock(64, 1)') }
sub waiters { my ($n) = @_; value(qq{SELECT count(*) FROM bgjob_enqueue_many('fine', array_fill(NULL::jsonb, ARRAY[$n]), limits => '{a}')}) }
my $heads = q{(SELECT id FROM bgjob_internal.job WHERE state = 'e' AND gate IS NOT NULL ORDER BY id LIMIT 100) x};

# ---- two full lines whose jobs need both gates ----
value(q{SELECT count(bgjob_enqueue('work', jsonb_build_object('places', p), limits => l, max_retries => 0))
	FROM generate_series(1, 1500) i, LATERAL (SELECT (ARRAY['{"a": 1}', '{"a": 1, "b": 1}', '{"b": 1, "a": 1}', '{"b": 1}'])[1 + i % 4]::jsonb p,
		CASE i % 4 WHEN 0 THEN '{a}' WHEN 1 THEN '{a,b}' WHEN 2 THEN '{b,a}' ELSE '{b}' END::text[] l) x});
all_over('jobs of two mutexes, of one or both, in either order');

# ---- what has taken waiters, and is not over ----
for my $end ('COMMIT', 'ROLLBACK', 'ROLLBACK TO s', 'PREPARE, COMMIT', 'PREPARE, ROLLBACK')
{
	blocked();
	waiters(300);
	say($idle, 'BEGIN', 'SAVEPOINT s', "SELECT count(bgjob_delete(id)) FROM $heads");
	say($idle, q{PREPARE TRANSACTION 'p'}) if $end =~ /PREPARE/;
	release();
	wait_until($node, q{SELECT count(*) = 100 FROM bgjob_internal.job WHERE state = 'e'}, "$end: others go on while 100 waiters are being deleted");
	say($idle, $end =~ /PREPARE, (.*)/ ? "$1 PREPARED 'p'" : $end);
	say($idle, 'COMMIT') if $end =~ /TO/;
	all_over("$end: the rest goes on");
	is(value(q{SELECT count(*) FROM bgjob_internal.job WHERE state = 'd'}), $end =~ /COMMIT/ ? 100 : 0, "$end: as many were deleted");
	value(q{SELECT bgjob_purge(s) FROM unnest('{succeeded,deleted}'::text[]) s});
}

# ---- what was filed late: by a session that idles, before those that stand there already; by a prepared transaction ----
blocked();
say($idle, 'BEGIN', q{SELECT bgjob_enqueue('fine', limits => '{a}', tags => '{late}')});
say($idle, q{PREPARE TRANSACTION 'late'}, 'BEGIN', q{SELECT bgjob_enqueue('fine', limits => '{a}', tags => '{late}')});
waiters(200);
release();
wait_until($node, q{SELECT count(*) = 2 FROM bgjob_internal.job WHERE state <> 'k' OR tags IS NOT NULL} =~ s/count\(\*\) = 2/count(*) = 0/r, 'waiters that came later have gone on');
say($idle, 'COMMIT', q{COMMIT PREPARED 'late'});
all_over('and those that were committed last');

# ---- a line that is known to be empty: nobody looks at it, and whoever comes is found ----
my $looks = q{SELECT coalesce(sum(idx_scan), 0) FROM pg_stat_all_indexes WHERE indexrelid = 'bgjob_internal.gate_pkey'::regclass};
my $ended = q{SELECT n_tup_upd FROM pg_stat_all_tables WHERE relid = 'bgjob_internal.job'::regclass};
value(q{SELECT bgjob_limit('wide', max_running => 1000)});
my ($looked, $were) = (value($looks), value($ended));
value(q{SELECT count(*) FROM bgjob_enqueue_many('fine', array_fill(NULL::jsonb, ARRAY[500]), limits => '{wide}')});
all_over('a limit that never binds');
wait_until($node, "SELECT ($ended) >= $were + 500", 'each worker has reported what it did');
cmp_ok(value($looks) - $looked, '<', 100, 'the jobs of a limit that never binds do not look for others in its line');
for my $end ('COMMIT', q{PREPARE TRANSACTION 'p'})
{
	value(q{SELECT bgjob_enqueue('fine', limits => '{a}')});
	all_over("$end: the line is empty");
	blocked();
	say($idle, 'BEGIN', q{SELECT bgjob_enqueue('fine', limits => '{a}')}, $end);
	release();
	say($idle, q{COMMIT PREPARED 'p'}) if $end =~ /PREPARE/;
	all_over("$end: who came into an empty line has gone on");
}
value(q{SELECT bgjob_enqueue($$SELECT bgjob_enqueue('fine', limits => '{a}') FROM generate_series(1, 3)$$, limits => '{a}')});
all_over('jobs that a job has put into the line of its own mutex go on');

# ---- bgjob_run() takes a place, or refuses ----
blocked();
my $waits = value(q{SELECT bgjob_enqueue('fine', limits => '{a}')});
my (undef, undef, $refused) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT bgjob_run($waits)");
like($refused, qr/55000: .*Limit "a" has no room/s, 'bgjob_run() of a job whose mutex is held is refused');
release();
all_over('it was not lost by that');
is(value(q{SELECT bgjob_run(one), bgjob_run(two) FROM (SELECT bgjob_enqueue('fine', limits => '{a}', sequence_key => 'run') AS one,
	bgjob_enqueue('fine', limits => '{a}', sequence_key => 'run') AS two OFFSET 0) x}), '1|1', 'two jobs of a sequence and a mutex, one after the other in a transaction');
all_over('bgjob_run() has given its places back');

# ---- a job that was let through, and is deleted before a worker has it ----
value(q{SELECT bgjob_queue_pause('p')});
my $passed = value(q{SELECT bgjob_enqueue('fine', limits => '{a}', queue => 'p')});
$waits = value(q{SELECT bgjob_enqueue('fine', limits => '{a}')});
value("SELECT bgjob_delete($passed)");
all_over('the one behind it goes on');
value(q{SELECT bgjob_queue_remove('p')});

# ---- max_running of a queue with many jobs ----
value(q{SELECT count(*) FROM bgjob_enqueue_many('work', array_fill('{"places": {"q": 8}, "ms": 1}'::jsonb, ARRAY[3000]), queue => 'q', max_retries => 0)});
value(q{SELECT bgjob_queue('q', max_running => 2)});
wait_until($node, q{SELECT count(*) > 100 FROM bgjob_internal.gate}, 'a queue is given max_running: its jobs wait at its gate when they are claimed');
value(q{SELECT bgjob_queue_pause('q')});
value(q{SELECT bgjob_queue_remove('q')});
all_over('max_running, a pause, and neither');

# ---- a random load ----
value(q{
	SELECT bgjob_limit('b', max_running => 2), bgjob_queue('q', max_running => 3);
	TRUNCATE ran;
	CREATE PROCEDURE load(n int, seed float, who int) LANGUAGE plpgsql AS $$
	DECLARE
		places jsonb;
		l text[];
		key text;
		t int;
	BEGIN
		PERFORM setseed(seed);
		FOR i IN 1 .. n LOOP
			places := '{}';
			l := '{}';
			key := CASE WHEN random() < 0.4 THEN format('%s.%s', who, floor(random() * 8)) END;
			t := floor(random() * 50);
			IF random() < 0.4 THEN l := l || 'a'::text; places := places || '{"a": 1}'; END IF;
			IF random() < 0.4 THEN l := ARRAY['b'] || l; places := places || '{"b": 2}'; END IF;
			IF random() < 0.4 THEN l := l || format('t:%s', t); places := places || jsonb_build_object(format('t:%s', t), 1); END IF;
			IF key IS NOT NULL THEN places := places || jsonb_build_object('key ' || key, 1); END IF;
			IF random() < 0.1 THEN
				BEGIN
					PERFORM bgjob_enqueue('fine', limits => nullif(l, '{}'), sequence_key => 'gone');
					RAISE EXCEPTION 'gone';
				EXCEPTION WHEN raise_exception THEN NULL;
				END;
			END IF;
			PERFORM bgjob_enqueue('work', jsonb_build_object('places', places, 'key', key, 'fails', CASE WHEN random() < 0.1 THEN 0.5 ELSE 0 END, 'ms', CASE WHEN random() < 0.05 THEN random() * 10 END),
				limits => nullif(l, '{}'), sequence_key => key, fairness_key => CASE WHEN random() < 0.2 THEN format('f%s', t % 3) END,
				queue => CASE WHEN random() < 0.2 THEN 'q' ELSE 'default' END, priority => CASE WHEN key IS NULL AND random() < 0.1 THEN 5 ELSE 0 END,
				retry_delays => '{0.02 s}', max_retries => CASE WHEN random() < 0.8 THEN 30 ELSE 1 END,
				delay => CASE WHEN key IS NULL AND random() < 0.1 THEN random() * interval '0.5 s' END);
			IF random() < 0.1 THEN COMMIT; END IF;
			IF random() < 0.002 THEN PERFORM pg_sleep(0.02); END IF;
		END LOOP;
	END $$;
	-- meddle changes one limit and some jobs.
	CREATE FUNCTION meddle() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		id bigint;
	BEGIN
		PERFORM bgjob_limit('b', max_running => floor(random() * 3)::int);
		IF random() < 0.3 THEN PERFORM bgjob_limit('a', max_running => floor(random() * 2)::int, rate => 500, per => interval '1 s'); END IF;
		IF random() < 0.3 THEN PERFORM bgjob_queue('q', max_running => floor(random() * 4)::int, paused => random() < 0.2); END IF;
		FOR id IN SELECT j.id FROM bgjob_internal.job j WHERE state IN ('e', 's', 'f') AND random() < 0.05 LIMIT 5 LOOP
			IF random() < 0.5 THEN PERFORM bgjob_delete(id, 'enqueued');
			ELSE PERFORM bgjob_requeue(id, 'failed');
			END IF;
		END LOOP;
		IF random() < 0.2 THEN RAISE EXCEPTION 'rolled back'; END IF;
	END $$});
for my $s ($holder, $idle) { $s->{in} .= "\\q\n"; $s->{run}->finish }

srand($seed);
note("seed $seed");
my @kills = (q{backend_type = 'bgjob worker'}, q{backend_type = 'bgjob worker'}, q{backend_type = 'bgjob scheduler' AND datname = 'postgres'});
for my $round (1 .. 3)
{
	my @loaders = map { IPC::Run::start([ 'psql', '-Xq', '-d', $node->connstr('postgres'), '-c', sprintf('CALL load(%d, %f, %d)', $jobs / 12, rand, $round * 10 + $_) ],
		'<', \undef, '>', \my $out, '2>', \my $err, IPC::Run::timeout(120)) } 1 .. 4;

	for my $step (1 .. 12)
	{
		$node->psql('postgres', 'SELECT meddle()', timeout => 20, on_error_stop => 0, stderr => \my $refused);
		$node->psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE $kills[0] ORDER BY random() LIMIT 1", timeout => 20, on_error_stop => 0) if rand() < 0.5;
	}
	ask($node, q{SELECT bgjob_limit('a', max_running => 1), bgjob_limit('b', max_running => 2)});
	note("round $round: " . ask($node, q{SELECT string_agg(format('%s %s', state, n), ', ') FROM (SELECT state, count(*) n FROM bgjob_internal.job GROUP BY 1) x}) . ' when it is killed');
	my $pid = ask($node, "SELECT pid FROM pg_stat_activity WHERE $kills[$round - 1] ORDER BY random() LIMIT 1");
	if ($round == 2)
	{
		my $postmaster = $node->{_pid};
		kill 'KILL', $postmaster;
		until_gone($postmaster);
		$node->{_pid} = undef;
		start_again($node);
	}
	elsif ($pid =~ /^\d+$/)
	{
		kill 'KILL', $pid;
	}
	eval { $_->finish } for @loaders;
	ask($node, 'SELECT 1');
}
ask($node, q{SELECT bgjob_limit('a', max_running => 1), bgjob_limit('b', max_running => 2), bgjob_queue('q', max_running => 3, paused => false)});
my $began = time;
wait_until($node, q{SELECT (SELECT count(bgjob_requeue(id, 'failed')) = 0 FROM bgjob_internal.job WHERE state = 'f')
		AND NOT EXISTS (SELECT FROM bgjob_internal.job WHERE state NOT IN ('k', 'd'))},
	'each job is over; what has failed is requeued', 60)
	or diag(value(q{SELECT id, state, reason, limits, sequence_key, queue FROM bgjob.jobs WHERE state NOT IN ('succeeded', 'deleted') LIMIT 5}));
all_over('the random load');
note(sprintf('%.1f s after the last kill; ', time - $began) . value(q{SELECT string_agg(format('%s %s', state, n), ', ') FROM (SELECT state, count(*) n FROM bgjob.jobs GROUP BY 1) x}));
is(value(q{SELECT count(*) FROM bgjob.job_states WHERE data ->> 'sqlstate' = 'XX998'}), '0', 'never were there more at once than there are places');
is(value(q{SELECT count(*) FROM ran GROUP BY job HAVING count(*) > 1}), '', 'no job has run twice');
is(value(q{SELECT key, job, before FROM (SELECT key, job, lag(job) OVER (PARTITION BY key ORDER BY n) AS before FROM ran WHERE key IS NOT NULL) x WHERE before > job LIMIT 5}), '', 'each sequence ran in order');
is(value(q{SELECT count(*) FROM bgjob.jobs j WHERE state = 'succeeded' AND queue IN ('q', 'default') AND job LIKE '%work%' AND id > (SELECT min(job) FROM ran) AND NOT EXISTS (SELECT FROM ran r WHERE r.job = j.id)}), '0', 'what has succeeded has run');
check_counters($node);
$node->stop;
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal (?:6|11)|XX000/, 'nothing has crashed but what was killed');
done_testing();
