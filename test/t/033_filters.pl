# Filters with several sessions: other sessions see changes of filters; filters that raise errors, hang or leave state behind do
# not harm the scheduler or workers; dumps contain filters. Also hooks in C, from another library.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = bgjob_cluster('filters', 'bgjob.workers' => 4);

sub value { my ($query, $db) = @_; return $node->safe_psql($db // 'postgres', $query) }

value(q{
	CREATE EXTENSION crashme;
	CREATE ROLE auditor;
	CREATE SCHEMA audit;
	CREATE TABLE audit.seen (n serial, event text, job bigint, state text, reason text, pid int DEFAULT pg_backend_pid(), who name DEFAULT current_user);
	CREATE FUNCTION audit.note(c jsonb) RETURNS jsonb LANGUAGE sql AS $$
		INSERT INTO audit.seen (event, job, state, reason) VALUES (c ->> 'event', (c ->> 'id')::bigint, c ->> 'state', c ->> 'reason') RETURNING NULL::jsonb $$;
	-- what a filter does at the moment when a job is due; by the job's argument
	CREATE TABLE audit.deferred (x int);
	CREATE FUNCTION audit.hijack() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit.seen (event) VALUES ('hijacked'); RETURN NULL; END $$;
	CREATE CONSTRAINT TRIGGER late AFTER INSERT ON audit.deferred DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit.hijack();
	CREATE FUNCTION audit.misbehave(c jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		IF c ->> 'state' <> 'enqueued' OR c ->> 'from' IS DISTINCT FROM 'scheduled' THEN RETURN NULL; END IF;
		INSERT INTO audit.seen (event, job) VALUES ('tries', (c ->> 'id')::bigint);
		CASE c -> 'args' ->> 0
			WHEN 'raise' THEN RAISE EXCEPTION 'refused' USING ERRCODE = 'P1933';
			WHEN 'hang' THEN PERFORM pg_sleep(300);
			WHEN 'loop' THEN LOOP NULL; END LOOP;
			WHEN 'defer' THEN INSERT INTO audit.deferred VALUES (1);
			WHEN 'temp' THEN CREATE TEMP TABLE leaked (x int);
			WHEN 'hold' THEN EXECUTE 'DECLARE leaked CURSOR WITH HOLD FOR SELECT 1';
			WHEN 'role' THEN EXECUTE 'RESET ROLE; SET SESSION AUTHORIZATION DEFAULT';
			WHEN 'create' THEN EXECUTE 'CREATE ROLE by_filter SUPERUSER';
			WHEN 'lock' THEN PERFORM pg_advisory_lock(3333), set_config('lock_timeout', '7s', false);
			WHEN 'itself' THEN PERFORM public.bgjob_delete((c ->> 'id')::bigint);
			WHEN 'gone' THEN RETURN '{"state": "succeeded"}';
			ELSE NULL;
		END CASE;
		RETURN NULL;
	END $$;
	CREATE FUNCTION audit.delete_others(c jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		IF c ->> 'from' = 'scheduled' AND c -> 'args' ->> 0 = 'others' THEN
			PERFORM public.bgjob_delete(id) FROM bgjob.jobs WHERE args ->> 0 = 'victim' AND state = 'scheduled' AND queue = 'later';
		END IF;
		IF c ->> 'from' = 'scheduled' AND c -> 'args' ->> 0 = 'unique' THEN
			PERFORM public.bgjob_enqueue('public.plain', '["other"]', unique_key => 'k', on_duplicate => 'replace', run_at => '2100-01-01');
		END IF;
		RETURN NULL;
	END $$;
	ALTER SCHEMA audit OWNER TO auditor;
	ALTER TABLE audit.seen OWNER TO auditor;
	ALTER TABLE audit.deferred OWNER TO auditor;
	ALTER FUNCTION audit.note(jsonb) OWNER TO auditor;
	ALTER FUNCTION audit.misbehave(jsonb) OWNER TO auditor;
	GRANT USAGE ON SCHEMA bgjob TO auditor;
	CREATE FUNCTION plain(x text) RETURNS text LANGUAGE sql AS 'SELECT x';
	CREATE FUNCTION bad(x text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'bad'; END $$;
});

# ---- other sessions see a change right after its commit

my $other = 'psql -X -q -At -d \'' . $node->connstr('postgres') . '\'';
is( value(qq{
	SELECT bgjob_enqueue('plain', '["x"]') > 0;
	SELECT count(*) FROM audit.seen;
	\\! $other -c "SELECT bgjob_filter('note', 'created', 'audit.note')" > /dev/null
	SELECT bgjob_enqueue('plain', '["x"]') > 0;
	SELECT count(*) FROM audit.seen;
	\\! $other -c "SELECT bgjob_filter_remove('note')" > /dev/null
	SELECT bgjob_enqueue('plain', '["x"]') > 0;
	SELECT count(*) FROM audit.seen;
	\\! $other -c "BEGIN" -c "SELECT bgjob_filter('note', 'created', 'audit.note')" -c "ROLLBACK" > /dev/null
	SELECT bgjob_enqueue('plain', '["x"]') > 0;
	SELECT count(*) FROM audit.seen;
	}), "t\n0\nt\n1\nt\n1\nt\n1", 'a session calls a filter as soon as another has added it, and no more when it is removed');
is( value(qq{
	\\! $other -c "BEGIN" -c "SELECT bgjob_filter('note', 'created', 'audit.note')" -c "PREPARE TRANSACTION 'f'" > /dev/null
	SELECT bgjob_enqueue('plain', '["x"]') > 0;
	SELECT count(*) FROM audit.seen;
	COMMIT PREPARED 'f';
	SELECT bgjob_enqueue('plain', '["x"]') > 0;
	SELECT count(*) FROM audit.seen;
	SELECT bgjob_filter_remove('note');
	}), "t\n1\nt\n2\nt", 'a session calls the filter after COMMIT PREPARED');

# ---- events that the scheduler leaves to workers, since it calls no filters

my $scheduler = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = 'postgres'};
my $pid = value($scheduler);

# All jobs are due at the same time, with harmless ones before, between and after.
my @kinds = qw(raise hang loop defer temp hold role create lock others itself gone);
sub due
{
	my (@args) = @_;
	my $list = join ', ', map { "'$_'" } @args;
	value(q{TRUNCATE audit.seen});
	value(qq{SELECT count(bgjob_enqueue('plain', jsonb_build_array(a), run_at => now() + interval '1 s', max_retries => 0)) FROM unnest(ARRAY[$list]) WITH ORDINALITY u(a, n)});
}
value(q{SELECT bgjob_filter('m', 'electing', 'audit.misbehave'), bgjob_filter('n', 'electing', 'audit.delete_others')});
value(q{SELECT count(bgjob_enqueue('plain', '["victim"]', delay => '1 hour', queue => 'later')) FROM generate_series(1, 3)});
due('harmless', 'others', (map { ($_, 'harmless') } grep { $_ ne 'hang' && $_ ne 'loop' && $_ ne 'others' } @kinds), 'harmless');
wait_until($node, q{SELECT bool_and(state IN ('succeeded', 'failed', 'deleted')) FROM bgjob.jobs WHERE args ->> 0 <> 'x'}, 'all jobs end');
is(value(q{SELECT count(*), min(state), max(state) FROM bgjob.jobs WHERE args ->> 0 = 'harmless'}), '11|succeeded|succeeded', 'the harmless ones succeed');
is(value(q{SELECT string_agg(DISTINCT state, ',') FROM bgjob.jobs WHERE args ->> 0 = 'victim'}), 'deleted', 'a filter may delete other jobs');
my %error = (raise => 'P1933', defer => '42501', temp => '42501', hold => '42501', role => '42501', create => '42501', itself => '55000', gone => '22023');
for my $kind (sort keys %error)
{
	is(value(qq{SELECT state, error ->> 'sqlstate' FROM bgjob.jobs WHERE args ->> 0 = '$kind'}), "failed|$error{$kind}", "the job of a filter that tries \"$kind\" fails when it is due");
}
is(value(q{SELECT reason, error ->> 'message' FROM bgjob.jobs WHERE args ->> 0 = 'raise'}), 'refused|refused', 'the failed job has the message of the filter');
is(value(q{SELECT string_agg(state, ',' ORDER BY seq) FROM bgjob.job_states WHERE job_id = (SELECT id FROM bgjob.jobs WHERE args ->> 0 = 'raise')}), 'scheduled,failed', 'the history of the failed job');
is(value(q{SELECT count(*) FROM bgjob.jobs WHERE args ->> 0 IN ('lock', 'others') AND state = 'succeeded'}), '2', 'the jobs of the other filters succeed');
is(value(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), '0', 'no advisory lock is left');
is(value(q{SELECT count(*) FROM audit.seen WHERE event = 'hijacked'}), '0', 'no deferred trigger ran');
is(value(q{SELECT count(*) FROM audit.seen WHERE job IN (SELECT id FROM bgjob.jobs WHERE state = 'failed')}), '0', 'the effects of the failing filters are rolled back');
is(value(q{SELECT string_agg(DISTINCT who, ',') FROM audit.seen}), 'auditor', 'the filters ran as their owner');
is(value("SELECT count(*) FROM audit.seen WHERE pid = $pid"), '0', 'no filter ran in the scheduler');
is(value($scheduler), $pid, 'the scheduler is the same process');

# A filter might change its own job through its unique_key.
my $unique = value(q{SELECT bgjob_enqueue('plain', '["unique"]', unique_key => 'k', delay => '200 ms')});
is(value("SELECT bgjob_wait($unique, '60 s')"), 'succeeded', 'a filter that replaces its own job');
is(value("SELECT args, state, result FROM bgjob.jobs WHERE id = $unique"), '["unique"]|succeeded|"unique"', 'does nothing to it, which a worker has');
is(value($scheduler), $pid, 'the scheduler is not harmed');

my $began = time;
due('hang', 'harmless', 'loop', 'harmless');
wait_until($node, q{SELECT bool_and(state IN ('succeeded', 'failed')) FROM bgjob.jobs WHERE args ->> 0 <> 'x' AND state <> 'deleted'}, 'filters that do not end are canceled', 60);
cmp_ok(time - $began, '<', 30, 'after five seconds each');
is(value(q{SELECT string_agg(state || ' ' || (error ->> 'sqlstate') || ' ' || (error ->> 'message'), ',') FROM bgjob.jobs WHERE args ->> 0 IN ('hang', 'loop')}),
	'failed 57014 canceling filter "m" after 5 s,failed 57014 canceling filter "m" after 5 s', 'the jobs of canceled filters fail with that error');
is(value(q{SELECT count(*) FROM bgjob.jobs WHERE args ->> 0 = 'harmless' AND state = 'succeeded'}), '13', 'all other jobs succeed');
is(value($scheduler), $pid, 'the scheduler is the same process');

# A job that is changed while a filter is called for it has not been started.
for my $case ([ 'bgjob_delete(%d)', 'deleted', 'Deleted' ], [ q{bgjob_reschedule(%d, delay => '1 hour')}, 'scheduled', 'Rescheduled' ])
{
	my ($call, $state, $done) = @$case;
	my ($change) = $call =~ m{^(\w+)};
	my $job = value(q{SELECT bgjob_enqueue('plain', '["hang"]', delay => '100 ms')});
	wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'bgjob worker' AND wait_event = 'PgSleep'}, "$change: a filter sleeps");
	value('SELECT ' . sprintf($call, $job));
	wait_until($node, "SELECT state = '$state' FROM bgjob.jobs WHERE id = $job", "$change is honored");
	is(value("SELECT string_agg(state || coalesce(' ' || reason, ''), ',' ORDER BY seq) FROM bgjob.job_states WHERE job_id = $job"),
		"enqueued,$state $done while its filters were called", "$change: the history shows no attempt");
	is(value("SELECT started_at IS NULL AND worker_pid IS NULL FROM bgjob.jobs WHERE id = $job"), 't', "$change: and neither does the job");
	value("SELECT bgjob_delete($job)");
}

# A shutdown waits for a filter no longer than for a job, and counts no retry or crash for the job.
$node->append_conf('postgresql.conf', 'bgjob.shutdown_timeout = 1s');
$node->reload;
due('hang');
wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'bgjob worker' AND wait_event = 'PgSleep'}, 'a filter sleeps in a worker');
value(q{SELECT bgjob_filter_remove('m'), bgjob_filter_remove('n')});
$began = time;
$node->restart;
cmp_ok(time - $began, '<', 4, 'a restart does not wait for it');
wait_until($node, q{SELECT count(*) = 1 FROM bgjob.jobs WHERE args ->> 0 = 'hang' AND state = 'succeeded'}, 'the job is performed after the restart');

# Lost workers, whose jobs the scheduler returns.
value(q{
	TRUNCATE audit.seen;
	CREATE FUNCTION audit.lost(c jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		IF c ->> 'reason' LIKE 'Ended its worker%' THEN
			IF c ->> 'queue' = 'raise' THEN RAISE EXCEPTION 'no'; END IF;
			RETURN jsonb_build_object('state', 'deleted', 'reason', c ->> 'reason');
		END IF;
		RETURN NULL;
	END $$;
	ALTER FUNCTION audit.lost(jsonb) OWNER TO auditor;
	SELECT bgjob_filter('lost', 'electing', 'audit.lost')});
my $lost = value(q{SELECT bgjob_enqueue('crashme_exit', '[1]')});
is(value("SELECT bgjob_wait($lost, '60 s')"), 'deleted', 'a job that has ended its worker is deleted where a filter wants that');
is(value("SELECT reason FROM bgjob.jobs WHERE id = $lost"), 'Ended its worker, 1 of 3 times', 'the reason is the end of its worker');
is(value('SELECT count(*) FROM bgjob_internal.queue'), '0', 'the queue is empty');
$lost = value(q{SELECT bgjob_enqueue('crashme_exit', '[1]', queue => 'raise')});
is(value("SELECT bgjob_wait($lost, '60 s')"), 'failed', 'a lost job fails if its filter raises an error');
is(value("SELECT reason || (SELECT count(*) FROM bgjob_internal.queue) FROM bgjob.jobs WHERE id = $lost"), 'no0', 'the lost job has the error of the filter');
# In a paused queue, no worker takes the job.
value(q{CREATE FUNCTION exit_when_paused() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		WHILE NOT (SELECT paused FROM bgjob.queues WHERE queue = 'held') LOOP PERFORM pg_sleep(0.02); END LOOP;
		PERFORM crashme_exit(1);
	END $$;
	SELECT bgjob_queue('held')});
$lost = value(q{SELECT bgjob_enqueue('exit_when_paused', queue => 'held')});
wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $lost", 'a job is performed whose queue is about to be paused');
is(value(q{SELECT bgjob_queue_pause('held')}), 't', 'the queue is paused');
wait_until($node, "SELECT state = 'enqueued' FROM bgjob.jobs WHERE id = $lost", 'the job ends its worker, and waits for one that calls its filters');
is(value(q{SELECT bgjob_queue_resume('held')}), 't', 'when the queue goes on');
is(value("SELECT bgjob_wait($lost, '60 s')"), 'deleted', 'the lost job is deleted by its filter');
is(value("SELECT count(*) FROM bgjob_internal.queue WHERE coalesce(job, pos) = $lost"), '0', 'the row of the lost job in the queue is removed');
value(q{SELECT bgjob_filter_remove('lost')});

# ---- workers

value(q{
	CREATE FUNCTION audit.sleepy(c jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(300); RETURN NULL; END $$;
	CREATE FUNCTION audit.defers(c jsonb) RETURNS jsonb LANGUAGE sql AS 'INSERT INTO audit.deferred VALUES (1) RETURNING NULL::jsonb';
	ALTER FUNCTION audit.sleepy(jsonb) OWNER TO auditor;
	ALTER FUNCTION audit.defers(jsonb) OWNER TO auditor});
value(q{SELECT bgjob_filter('s', 'performing', 'audit.sleepy')});
my $job = value(q{SELECT bgjob_enqueue('plain', '["y"]', timeout => '1 s', max_retries => 0)});
is(value("SELECT bgjob_wait($job, '60 s')"), 'failed', 'a filter that takes longer than its job may');
is(value("SELECT state, error ->> 'message' FROM bgjob.jobs WHERE id = $job"), 'failed|canceling job due to its timeout of 1000 ms', 'is canceled with it');
$job = value(q{SELECT bgjob_enqueue('plain', '["y"]')});
wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $job", 'a job whose filter sleeps is processing');
is(value("SELECT bgjob_delete($job)"), 't', 'the job whose filter sleeps can be deleted');
is(value("SELECT bgjob_wait($job, '20 s')"), 'deleted', 'at once');
value(q{SELECT bgjob_filter('s', 'performed', 'audit.sleepy')});
$job = value(q{SELECT bgjob_enqueue('bad', '["y"]', max_retries => 0)});
is(value("SELECT bgjob_wait($job, '60 s')"), 'failed', 'a filter that sleeps when a failure is recorded is canceled');
is(value("SELECT error ->> 'message' FROM bgjob.jobs WHERE id = $job"), 'bad', 'the failure is recorded without the canceled filter');
value(q{SELECT bgjob_filter('s', 'performed', 'audit.defers')});
$job = value(q{SELECT bgjob_enqueue('bad', '["y"]', max_retries => 0)});
is(value("SELECT bgjob_wait($job, '60 s')"), 'failed', 'the failure is recorded without a filter that defers a trigger');
value(q{SELECT bgjob_filter('s', 'performed', 'audit.note')});
$job = value(q{SELECT bgjob_enqueue('bad', '["noted"]', max_retries => 0)});
is(value("SELECT bgjob_wait($job, '60 s')"), 'failed', 'another one');
is(value("SELECT event FROM audit.seen WHERE job = $job"), 'performed', 'has its effects with the failure');
my $log = slurp_file($node->logfile);
like($log, qr/WARNING:  a filter of job \d+ \(bad\) raised an error: canceling filter "s" after 5 s/, 'the server\'s log says what was canceled');

# ---- a dump takes filters along, and sessions of the restored database call them

my $dump = $node->basedir . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('postgres') ], 'a dump');
value('CREATE DATABASE copy');
value('CREATE EXTENSION bgjob', 'copy');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('copy'), $dump ], 'is restored');
is(value('SELECT name, event, function FROM bgjob.filters', 'copy'), 's|performed|audit.note(pg_catalog.jsonb)', 'the restored database has the filter');
value('TRUNCATE audit.seen', 'copy');
$job = value(q{SELECT bgjob_enqueue('bad', '["copied"]', max_retries => 0)}, 'copy');
is(value("SELECT bgjob_wait($job, '60 s')", 'copy'), 'failed', 'a job in the copy');
is(value("SELECT count(*) FROM audit.seen WHERE job = $job", 'copy'), '1', 'calls it');
value(q{SELECT bgjob_filter_remove('s')});

# ---- hooks in C, whichever library comes first

for my $libraries ('bgjob,hookme', 'hookme,bgjob')
{
	$node->append_conf('postgresql.conf', "shared_preload_libraries = '$libraries'");
	my $from = -s $node->logfile;
	$node->restart;
	my ($status, $out, $err) = $node->psql('postgres', q{SELECT bgjob_enqueue('plain', '["z"]', queue => 'c-cancel') IS NULL});
	is($out, 't', "$libraries: a hook cancels a job that is created");
	like($err, qr/C does not want it/, "$libraries: the caller gets the reason");
	$job = value(q{SELECT bgjob_enqueue('plain', '["z"]', queue => 'c-change')});
	is(value("SELECT bgjob_wait($job, '60 s')"), 'succeeded', "$libraries: a job that a hook has changed succeeds");
	is(value("SELECT queue, priority FROM bgjob.jobs WHERE id = $job"), 'c-changed|7', "$libraries: the job has the changes of the hook");
	($status, $out, $err) = $node->psql('postgres', q{SELECT bgjob_enqueue('plain', '["z"]', queue => 'c-wrong')});
	like($err, qr/invalid name of a queue: "No Good"/, "$libraries: the answer of a hook is checked");
	($status, $out, $err) = $node->psql('postgres', q{SELECT bgjob_enqueue('plain', '["z"]', queue => 'c-raise')});
	like($err, qr/ERROR:  C says no/, "$libraries: the error of a hook fails the call");
	$job = value(q{SELECT bgjob_enqueue('plain', '["z"]', queue => 'c-stop')});
	is(value("SELECT bgjob_wait($job, '60 s')"), 'deleted', "$libraries: a hook cancels a job that is to be performed");
	is(value("SELECT reason FROM bgjob.jobs WHERE id = $job"), 'C stops it', "$libraries: the canceled job has the reason of the hook");
	$job = value(q{SELECT bgjob_enqueue('bad', '["z"]', queue => 'c-elect', max_retries => 0)});
	is(value("SELECT bgjob_wait($job, '60 s')"), 'deleted', "$libraries: a hook chooses another state");
	is(value("SELECT reason FROM bgjob.jobs WHERE id = $job"), 'C prefers that', "$libraries: for its reason");
	$job = value(q{SELECT bgjob_enqueue('plain', '["z"]', queue => 'c-calls', delay => '100 ms')});
	is(value("SELECT bgjob_wait($job, '60 s')"), 'succeeded', "$libraries: a delayed job succeeds");
	my @calls = slurp_file($node->logfile, $from) =~ /hookme: (.* in c-calls: .*)/g;
	my $without = 'without outcome, with id';
	is_deeply(\@calls, [
		'creating plain in c-calls: scheduled from nothing to nothing, without outcome, without id',
		"electing plain in c-calls: scheduled from nothing to nothing, $without",
		"applied plain in c-calls: scheduled from nothing to nothing, $without",
		"created plain in c-calls: scheduled from nothing to nothing, $without",
		"electing plain in c-calls: enqueued from scheduled to nothing, $without",
		"unapplied plain in c-calls: scheduled from nothing to enqueued, $without",
		"applied plain in c-calls: enqueued from scheduled to nothing, $without",
		"electing plain in c-calls: processing from enqueued to nothing, $without",
		"unapplied plain in c-calls: enqueued from nothing to processing, $without",
		"applied plain in c-calls: processing from enqueued to nothing, $without",
		"performing plain in c-calls: processing from nothing to nothing, $without",
		'performed plain in c-calls: processing from nothing to nothing, with a result, with id',
		"electing plain in c-calls: succeeded from processing to nothing, $without",
		"unapplied plain in c-calls: processing from nothing to succeeded, $without",
		"applied plain in c-calls: succeeded from processing to nothing, $without"],
		"$libraries: all seven hooks are called, in every process, in their order");
}
check_counters($node);
$node->stop;
done_testing();
