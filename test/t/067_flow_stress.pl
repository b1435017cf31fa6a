# check.sh: crashes expected
# A random load on everything that makes jobs wait for others: limits, sequences, fair turns, queues and pools with their own numbers, retries, delays,
# continuations; rollbacks, savepoints, prepared transactions; jobs that are deleted, requeued, rescheduled, changed; limits, weights, queues and servers that are changed all the
# time; workers, the scheduler, sessions and the whole server that are killed. No limit is ever exceeded, no order broken, no effect is there twice, and in the end each
# job is over, and no place is taken.
#
# BGJOB_FLOW is the number of rounds of two seconds each (8; 0: there is none), BGJOB_SEED the seed.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use BgjobFlow;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $rounds = $ENV{BGJOB_FLOW} // 8;
my $seed = $ENV{BGJOB_SEED} // 18;
my $node = bgjob_cluster('flow', 'bgjob.workers' => 6, max_connections => 60, max_prepared_transactions => 60, restart_after_crash => 'on', 'bgjob.max_crashes' => 50, log_statement => 'none');
my $tmp = $PostgreSQL::Test::Utils::tmp_check;

flow_on($node);
value(q{
	CREATE TABLE effect (n bigserial, job bigint, own text);
	CREATE TABLE meddled (id bigint, what text);
	CREATE TABLE problem (sqlstate text, message text, what text);
	-- A job takes a place of each of its limits, by name and number, and of its sequence, and fails if there is none: with an SQLSTATE of its own.
	CREATE FUNCTION work(own text, names text[], places int[], ms float, bad float) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		deadline timestamptz := clock_timestamp() + interval '0.3 s';
		taken int[] := '{}';
		place int;
	BEGIN
		INSERT INTO effect (job, own) VALUES (bgjob_current_id(), own);
		FOR i IN 1 .. cardinality(names) LOOP
			LOOP
				SELECT p INTO place FROM generate_series(1, places[i]) p WHERE pg_try_advisory_lock(hashtext(names[i]), p) LIMIT 1;
				EXIT WHEN place IS NOT NULL;
				IF clock_timestamp() > deadline THEN
					RAISE EXCEPTION 'more than % at once: %', places[i], names[i] USING ERRCODE = 'XX998';
				END IF;
				PERFORM pg_sleep(0.002);
			END LOOP;
			taken := taken || place;
		END LOOP;
		IF ms > 0 THEN PERFORM pg_sleep(ms / 1000); END IF;
		FOR i IN 1 .. cardinality(names) LOOP
			PERFORM pg_advisory_unlock(hashtext(names[i]), taken[i]);
		END LOOP;
		IF random() < bad THEN RAISE EXCEPTION 'bad luck'; END IF;
	END $$;
	CREATE FUNCTION pick(of text[]) RETURNS text LANGUAGE sql AS 'SELECT of[1 + floor(random() * cardinality(of))::int]';
	-- The places that a job can count on: those of the limit at its greatest.
	CREATE FUNCTION greatest_of(name text) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT CASE WHEN name = 'one' OR name LIKE 'key:%' OR name LIKE 'seq %' THEN 1 WHEN name = 'two' THEN 2 WHEN name = 'three' THEN 3 WHEN name = 'queue narrow' THEN 2 ELSE 1000 END $$;
	-- make enqueues n jobs; "own" is the key of the session.
	CREATE FUNCTION make(n int, seed float, own text, prepares boolean) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		l text[];
		names text[];
		key text;
		queue text;
		fair text;
		j bigint;
		before bigint;
		lasting float;
	BEGIN
		PERFORM setseed(seed);
		FOR i IN 1 .. n LOOP
			l := '{}';
			FOR m IN 1 .. CASE WHEN random() < 0.3 THEN 0 WHEN random() < 0.7 THEN 1 ELSE 3 END LOOP
				l := l || pick(ARRAY['one', 'two', 'two', 'three', 'three', 'free', 'fast', 'key:' || floor(random() * 5)]);
			END LOOP;
			SELECT coalesce(array_agg(DISTINCT x), '{}') INTO l FROM unnest(l) x;
			queue := pick('{default,default,narrow,wide,g}'::text[]);
			key := CASE WHEN random() < 0.15 AND NOT prepares THEN own WHEN random() < 0.2 THEN 'shared' || floor(random() * 10) END;
			fair := CASE WHEN random() < 0.3 THEN 'fair' || floor(random() * 10) END;
			names := l || CASE WHEN key IS NOT NULL THEN ARRAY['seq ' || key] ELSE '{}' END || CASE WHEN queue = 'narrow' THEN ARRAY['queue narrow'] ELSE '{}' END;
			lasting := CASE WHEN random() < 0.5 THEN 0 WHEN random() < 0.98 THEN random() * 4 ELSE 350 END;
			BEGIN
				j := bgjob_enqueue('work', jsonb_build_object('own', CASE WHEN key = own THEN own END, 'names', names,
						'places', (SELECT coalesce(array_agg(greatest_of(x) ORDER BY o), '{}') FROM unnest(names) WITH ORDINALITY u (x, o)), 'ms', lasting, 'bad', CASE WHEN random() < 0.1 THEN 0.5 ELSE 0 END),
					queue => queue, priority => floor(random() * 3)::int, limits => CASE WHEN cardinality(l) > 0 THEN l END, sequence_key => key, fairness_key => fair,
					max_retries => CASE WHEN random() < 0.8 THEN 10 ELSE 0 END, retry_delays => '{0.1 s}',
					delay => CASE WHEN random() < 0.05 AND key IS DISTINCT FROM own THEN interval '0.3 s' END,
					start_within => CASE WHEN random() < 0.02 AND key IS DISTINCT FROM own THEN interval '0.5 s' END,
					after => CASE WHEN random() < 0.05 AND before IS NOT NULL AND key IS DISTINCT FROM own THEN ARRAY[before] END, condition => 'succeeded');
				IF random() < 0.02 THEN RAISE EXCEPTION 'undone' USING ERRCODE = 'XX001'; END IF;
				before := j;
			EXCEPTION
				WHEN SQLSTATE 'XX001' THEN NULL;
			END;
		END LOOP;
	END $$;
	-- meddle does something to a job that is not of a session's own sequence.
	CREATE FUNCTION meddle(seed float) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		j bigint;
		x float;
		what text;
	BEGIN
		PERFORM setseed(seed);
		x := random();
		SELECT id INTO j FROM bgjob.jobs WHERE state = pick('{enqueued,enqueued,enqueued,processing,scheduled,failed}') AND sequence_key LIKE 'own%' IS NOT TRUE
			ORDER BY id DESC OFFSET floor(random() * 20)::int LIMIT 1;
		IF j IS NULL THEN
			RETURN;
		END IF;
		what := CASE WHEN x < 0.3 THEN 'delete' WHEN x < 0.5 THEN 'requeue' WHEN x < 0.7 THEN 'reschedule' WHEN x < 0.85 THEN 'priority' ELSE 'queue' END;
		BEGIN
			CASE what
				WHEN 'delete' THEN PERFORM bgjob_delete(j);
				WHEN 'requeue' THEN PERFORM bgjob_requeue(j);
				WHEN 'reschedule' THEN PERFORM bgjob_reschedule(j, delay => '0.2 s');
				WHEN 'priority' THEN PERFORM bgjob_change(j, priority => floor(random() * 3)::int);
				WHEN 'queue' THEN PERFORM bgjob_change(j, queue => pick('{default,wide,g}')) FROM bgjob.jobs WHERE id = j AND queue <> 'narrow';
			END CASE;
			INSERT INTO meddled VALUES (j, what);
		EXCEPTION WHEN OTHERS THEN INSERT INTO problem VALUES (SQLSTATE, SQLERRM, what);
		END;
	END $$;
	-- change changes what is configured, but never above what greatest_of says.
	CREATE FUNCTION change(seed float) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		what int;
	BEGIN
		PERFORM setseed(seed);
		what := floor(random() * 12)::int;
		CASE what
			WHEN 0 THEN PERFORM bgjob_limit('one', max_running => floor(random() * 2)::int);
			WHEN 1 THEN PERFORM bgjob_limit('two', max_running => floor(random() * 3)::int);
			WHEN 2 THEN PERFORM bgjob_limit('three', max_running => 1 + floor(random() * 3)::int, rate => 50, per => '0.1 s', algorithm => pick('{fixed_window,sliding_window,token_bucket}'));
			WHEN 3 THEN PERFORM bgjob_limit('free', max_running => 1000);
			WHEN 4 THEN PERFORM bgjob_limit_remove('free'), bgjob_limit('free', rate => 1000, per => '1 s');
			WHEN 5 THEN PERFORM bgjob_limit('fast', rate => 20 + floor(random() * 50)::int, per => '0.1 s', algorithm => pick('{fixed_window,sliding_window,token_bucket}'));
			WHEN 6 THEN PERFORM bgjob_weight('fair' || floor(random() * 10), CASE WHEN random() < 0.3 THEN NULL ELSE (0.1 + random() * 5)::real END);
			WHEN 7 THEN PERFORM bgjob_queue('narrow', max_running => 1 + floor(random() * 2)::int);
			WHEN 8 THEN PERFORM bgjob_queue('wide', max_running => 3 + floor(random() * 100)::int);
			WHEN 9 THEN PERFORM bgjob_limit_close('fast', delay => '0.1 s');
			WHEN 10 THEN PERFORM CASE WHEN random() < 0.5 THEN bgjob_queue_pause(q) ELSE bgjob_queue_resume(q) END FROM pick('{wide,narrow,g}') q;
			WHEN 11 THEN PERFORM bgjob_limit(CASE WHEN random() < 0.5 THEN 'key:*' ELSE 'key:1*' END, max_running => 1);
		END CASE;
	EXCEPTION WHEN OTHERS THEN INSERT INTO problem VALUES (SQLSTATE, SQLERRM, 'change ' || what);
	END $$;
	CREATE FUNCTION open_all() RETURNS void LANGUAGE sql AS $$
		SELECT bgjob_limit('one', max_running => 1), bgjob_limit('two', max_running => 2), bgjob_limit('three', max_running => 3), bgjob_limit('free', max_running => 1000),
			bgjob_limit('fast', rate => 100, per => '0.1 s'), bgjob_limit('key:*', max_running => 1), bgjob_queue('narrow', max_running => 2), bgjob_queue('wide', max_running => 100), bgjob_queue('g', group_size => 10);
		SELECT bgjob_queue_resume(q) FROM unnest('{wide,narrow,g}'::text[]) q $$;
	SELECT open_all()});
my $servers = value(q{SELECT count(*) FROM pg_proc WHERE proname = 'bgjob_server'});
value($servers ? q{
	CREATE FUNCTION serve(seed float) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		s text;
	BEGIN
		PERFORM setseed(seed);
		s := pick('{pool1,pool2}');
		CASE floor(random() * 4)::int
			WHEN 0 THEN PERFORM bgjob_server(s, queues => CASE WHEN random() < 0.5 THEN '{narrow,g}' ELSE '{wide,*}' END::text[], workers => 1 + floor(random() * 3)::int);
			WHEN 1 THEN PERFORM bgjob_server_pause(s);
			WHEN 2 THEN PERFORM bgjob_server_resume(s);
			ELSE PERFORM bgjob_server_remove(s);
		END CASE;
	EXCEPTION WHEN OTHERS THEN INSERT INTO problem VALUES (SQLSTATE, SQLERRM, 'serve');
	END $$} : q{CREATE FUNCTION serve(seed float) RETURNS void LANGUAGE sql AS ''});

append_to_file("$tmp/make.pgb", q{\set n random(1, 8)
\set s random(1, 1000000000)
\set r random(1, 20)
\set z random(0, 30)
BEGIN;
SELECT make(:n, :s / 1e9, 'own' || :client_id, false);
\if :r = 1
ROLLBACK;
\elif :r < 4
\sleep :z ms
COMMIT;
\else
COMMIT;
\endif
\sleep :z ms
});
append_to_file("$tmp/meddle.pgb", q{\set s random(1, 1000000000)
\set r random(1, 10)
\set z random(0, 20)
BEGIN;
SELECT meddle(:s / 1e9);
\sleep :z ms
\if :r = 1
ROLLBACK;
\else
COMMIT;
\endif
});
append_to_file("$tmp/change.pgb", q{\set s random(1, 1000000000)
\set r random(1, 10)
BEGIN;
SELECT change(:s / 1e9);
\if :r = 1
ROLLBACK;
\else
COMMIT;
\endif
\if :r > 8
SELECT serve(:s / 1e9);
\endif
\sleep 20 ms
});
append_to_file("$tmp/prepare.pgb", q{\set s random(1, 1000000000)
\set r random(1, 3)
\set z random(0, 50)
BEGIN;
SELECT make(3, :s / 1e9, 'none', true);
SELECT meddle(:s / 1e9);
PREPARE TRANSACTION 'p:s';
\sleep :z ms
\if :r = 1
COMMIT PREPARED 'p:s';
\elif :r = 2
ROLLBACK PREPARED 'p:s';
\endif
\sleep 100 ms
});

srand($seed);
note("seed $seed, $rounds rounds");

# end_prepared AGE ends prepared transactions that are older.
sub end_prepared
{
	my ($age) = @_;

	for my $gid (split /\n/, ask($node, "SELECT gid FROM pg_prepared_xacts WHERE prepared < clock_timestamp() - '$age s'::interval"))
	{
		my $how = rand() < 0.5 ? 'COMMIT' : 'ROLLBACK';
		$node->psql('postgres', "$how PREPARED '$gid'");
	}
}

# harm HOW harms the running cluster.
sub harm
{
	my ($how) = @_;
	my %of = (
		worker    => q{SELECT worker_pid FROM bgjob.jobs WHERE state = 'processing' AND worker_pid IS NOT NULL ORDER BY random() LIMIT 1},
		scheduler => q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = 'postgres'},
		session   => q{SELECT pid FROM pg_stat_activity WHERE application_name = 'pgbench' ORDER BY random() LIMIT 1});

	if ($how eq 'server')
	{
		$node->kill9;
		start_again($node);
		return;
	}
	my ($signal, $whom) = split / /, $how;
	my ($status, $pid) = $node->psql('postgres', $of{$whom});
	return unless defined $pid && $pid =~ /^\d+$/;
	kill $signal, $pid;
	return unless $signal eq 'STOP';
	usleep(300_000);
	kill 'CONT', $pid;
}

my @harms = ('TERM scheduler', 'STOP scheduler', 'INT worker', 'TERM worker', 'TERM session', 'KILL worker', 'KILL scheduler', 'server');
my ($made, %harmed) = (0);
for my $round (1 .. $rounds)
{
	my @load = map { in_background('pgbench', '-n', '-c', $_->[1], '-T', 2, '--random-seed=' . ($seed * 100 + $round), '-f', "$tmp/$_->[0].pgb") } [ 'make', 3 ], [ 'meddle', 2 ], [ 'prepare', 2 ], [ 'change', 1 ];

	# One harm that ends all, in most rounds, and smaller ones before it.
	for my $how ((map { $harms[ rand 5 ] } 1 .. 3), $round % 4 > 0 ? $harms[ 4 + $round % 4 ] : ())
	{
		usleep(200_000 + rand 300_000);
		harm($how);
		$harmed{$how}++;
		end_prepared(1);
	}
	while (grep { $_->{run}->pumpable } @load)
	{
		$_->{run}->pumpable && $_->{run}->pump_nb for @load;
		end_prepared(0.5);
		usleep(50_000);
	}
	$_->{run}->finish for @load;
	ask($node, 'SELECT 1');
	my @unexpected = grep { /ERROR|FATAL|PANIC/ && !/terminat|crash|shut ?down|starting up|recovery mode|canceling statement|deadlock|could not serialize/ } split /\n/, join("\n", map { $_->{err} } @load);
	is(join("\n", @unexpected), '', "round $round: no error that was not to be expected") if @unexpected;

	# Everything is opened; what has failed is deleted, since it blocks its sequence; then all that is there is over soon.
	end_prepared(0);
	ask($node, 'SELECT open_all()');
	ask($node, q{SELECT bgjob_server_resume(s) FROM unnest('{pool1,pool2}'::text[]) s}) if $servers;
	my $until = time + 120;
	while (time < $until && ask($node, q{SELECT count(*) FROM bgjob.jobs WHERE state IN ('enqueued', 'processing', 'scheduled', 'awaiting')}) > 0)
	{
		ask($node, q{WITH f AS MATERIALIZED (SELECT id FROM bgjob.jobs WHERE state = 'failed') INSERT INTO meddled SELECT id, 'failed' FROM f WHERE bgjob_delete(id)});
		usleep(100_000);
	}
	all_over("round $round: all that can run has run", 1) or last;
	nothing_left("round $round: no place is taken");
	is(value(q{SELECT count(*) FROM bgjob_internal.sequence s JOIN bgjob.jobs j ON j.id = s.job WHERE j.state IN ('succeeded', 'deleted')}), '0', "round $round: nothing is kept of a sequence that is over");
	is(value(q{SELECT id, error ->> 'message', reason FROM bgjob.jobs WHERE error ->> 'sqlstate' = 'XX998' UNION ALL
		SELECT job_id, data ->> 'message', reason FROM bgjob.job_states WHERE data ->> 'sqlstate' = 'XX998' LIMIT 5}), '', "round $round: no job has met one too many");
	# An attempt whose worker was killed ends in the history when the scheduler has noticed, also if it was to be deleted or rescheduled.
	my $ended = q{a.how IN ('succeeded', 'failed')};
	for my $name ('one', 'two', 'three')
	{
		cmp_ok(most_at_once('1', "$ended AND '$name' = ANY (limits)"), '<=', value("SELECT greatest_of('$name')"), "round $round: limit $name was never exceeded")
			or diag(crowd("$ended AND '$name' = ANY (limits)", value("SELECT greatest_of('$name')")));
	}
	is(most_at_once(q{(SELECT l FROM unnest(j.limits) l WHERE l LIKE 'key:%' LIMIT 1)}, "$ended AND (SELECT count(*) FROM unnest(j.limits) l WHERE l LIKE 'key:%') = 1"), 1, "round $round: nor that of a key");
	is(most_at_once(q{j.run_as || ' ' || j.sequence_key}, "$ended AND j.sequence_key IS NOT NULL"), 1, "round $round: never two of a sequence at once");
	is(value(q{SELECT count(*) FROM (SELECT job, lag(job) OVER (PARTITION BY own ORDER BY n) AS before FROM effect WHERE own IS NOT NULL AND job NOT IN (SELECT id FROM meddled)) x WHERE job <= before}), '0',
		"round $round: the jobs of a session's sequence have run in order")
		or diag(value(q{SELECT own, job, before FROM (SELECT own, job, lag(job) OVER (PARTITION BY own ORDER BY n) AS before FROM effect WHERE own IS NOT NULL AND job NOT IN (SELECT id FROM meddled)) x WHERE job <= before LIMIT 5}));
	is(value(q{SELECT count(*) FROM bgjob.jobs j WHERE state = 'succeeded' AND id NOT IN (SELECT id FROM meddled) AND (SELECT count(*) FROM effect WHERE job = j.id) <> 1}), '0', "round $round: each job has had its effect once");
	$made += value('SELECT count(*) FROM bgjob.jobs');
	note("round $round: " . value(q{SELECT string_agg(format('%s %s', state, n), ', ') FROM (SELECT state, count(*) n FROM bgjob.jobs GROUP BY 1 ORDER BY 1) x}));
	check_counters($node);
	value(q{SELECT bgjob_purge(s) FROM unnest('{succeeded,deleted}'::text[]) s; TRUNCATE effect, meddled});
}
note(sprintf '%d jobs; %s', $made, join(', ', map { "$_ $harmed{$_}" } sort keys %harmed));
is(value(q{SELECT sqlstate, what, message, count(*) FROM problem WHERE sqlstate NOT IN ('40P01', '40001') GROUP BY 1, 2, 3 LIMIT 10}), '', 'no error that was not to be expected');
check_counters($node);
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal (?:6|11)|XX000/, 'nothing has crashed but what was killed');
done_testing();
