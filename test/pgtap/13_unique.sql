-- 13_unique.sql
--
-- What this file proves (api.md, "Jobs"):
--   * unique_key: at most one unfinished job per role and key; the effect of on_duplicate 'skip', 'error', 'replace' and 'reschedule'
--     while that job waits and runs; when the key is free again; transactions, savepoints, many jobs in a statement, recurring jobs
--     and triggers;
--   * bgjob_configure and bgjob_unconfigure: rights, values, affected jobs, and precedence; retry_delays, retry_on, no_retry_on,
--     on_exhausted, retention, and keys with placeholders for arguments;
--   * invalid values raise errors with SQLSTATE, message, detail and hint, and store nothing.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser. It changes settings with ALTER SYSTEM and resets them at
-- its end: do not run it beside other files. It drops and creates the extension.

\ir lib/session.sql

-- Set before CREATE EXTENSION, so that the scheduler of the database starts with it.
ALTER SYSTEM SET bgjob.workers = 1;
SELECT pg_reload_conf() AS reloaded \gset

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap13_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap13_' \gexec
CREATE ROLE tap13_a LOGIN;
CREATE ROLE tap13_b LOGIN;
GRANT USAGE ON SCHEMA bgjob TO tap13_a, tap13_b;

----------------------------------------------------------------------------------------------------
-- Helpers
----------------------------------------------------------------------------------------------------

\ir lib/wait.sql
\ir lib/states.sql
\ir lib/errors.sql

-- No job waits or runs, except for scheduled jobs and those of the paused queue.
CREATE PROCEDURE tap_idle_but_paused(deadline float8 = 60) LANGUAGE plpgsql AS $$
BEGIN
	CALL tap_wait_until('SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE state IN (''enqueued'', ''processing'') AND queue <> ''paused'')', deadline);
END $$;

-- The arguments of many jobs, each with one text.
CREATE FUNCTION tap_args(VARIADIC labels text[]) RETURNS jsonb[] LANGUAGE sql AS $$ SELECT ARRAY(SELECT jsonb_build_array(l) FROM unnest(labels) l) $$;
-- The columns that tell jobs apart.
CREATE FUNCTION tap_job(id bigint) RETURNS text LANGUAGE sql AS
	$$ SELECT format('%s %s %s %s %s %s', j.state, j.job, j.args, j.queue, j.priority, j.max_retries) FROM bgjob.jobs j WHERE j.id = $1 $$;
-- How many unfinished jobs have a key.
CREATE FUNCTION tap_unfinished(key text) RETURNS bigint LANGUAGE sql AS
	$$ SELECT count(*) FROM bgjob.jobs WHERE unique_key = key AND state NOT IN ('succeeded', 'failed', 'deleted') $$;

----------------------------------------------------------------------------------------------------
-- What the jobs of this file call
----------------------------------------------------------------------------------------------------

CREATE TABLE t_effect (n serial, label text, job bigint DEFAULT bgjob_current_id());
GRANT INSERT, SELECT ON t_effect TO PUBLIC;
GRANT USAGE ON SEQUENCE t_effect_n_seq TO PUBLIC;
CREATE FUNCTION t_run(label text) RETURNS text LANGUAGE sql AS $$ INSERT INTO public.t_effect (label) VALUES (label) RETURNING label $$;
CREATE FUNCTION t_other(label text, n int = 0) RETURNS text LANGUAGE sql AS $$ INSERT INTO public.t_effect (label) VALUES ('other ' || label) RETURNING label $$;
CREATE FUNCTION t_bad(code text = 'P1234') RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken' USING ERRCODE = code; END $$;
CREATE FUNCTION t_sleep() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(120); END $$;
CREATE PROCEDURE t_proc(label text) LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t_effect (label) VALUES (label); COMMIT; END $$;
-- Waits until this session releases the lock.
CREATE FUNCTION t_block(label text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO t_effect (label) VALUES (label);
	PERFORM pg_advisory_lock_shared(1313); PERFORM pg_advisory_unlock_shared(1313);
	RETURN label;
END $$;
CREATE FUNCTION t_effects() RETURNS text[] LANGUAGE sql AS $$ SELECT array_agg(label ORDER BY n) FROM t_effect $$;

SELECT * FROM no_plan();

CALL tap_wait_setting('bgjob.workers', '1');
CALL tap_wait_until('SELECT count(*) = 1 FROM bgjob.workers');
SELECT is((SELECT count(*) FROM bgjob.workers), 1::bigint, 'there is one worker');
SELECT bgjob_queue_pause('paused') AS paused \gset
-- A call that finds a running job with its key must not wait for the job, which waits for this session.
SET statement_timeout = '30 s';

----------------------------------------------------------------------------------------------------
-- on_duplicate => 'skip'
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('t_run', '["first"]', unique_key => 'skip', delay => '1 hour') AS a \gset
SELECT count(*) AS jobs FROM bgjob.jobs \gset
SELECT is((SELECT unique_key FROM bgjob.jobs WHERE id = :a), 'skip', 'bgjob.jobs shows the key');
SELECT is(bgjob_enqueue('t_run', '["second"]', unique_key => 'skip'), :a::bigint, 'by default a second job with the key is not enqueued: the call returns the first id');
SELECT is(bgjob_enqueue('t_run', '["third"]', unique_key => 'skip', on_duplicate => 'skip', priority => 5, queue => 'other', max_retries => 1, tags => '{x}'), :a::bigint,
	'neither is one with on_duplicate skip and other options');
SELECT is(bgjob_enqueue('t_other', '["fourth"]', unique_key => 'skip'), :a::bigint, 'neither is one of another function: a key belongs to the role');
SELECT is(bgjob_enqueue('SELECT 1', kind => 'sql', unique_key => 'skip'), :a::bigint, 'neither is a command with the key');
SELECT is((SELECT count(*) FROM bgjob.jobs), :jobs::bigint, 'skipped calls enqueue no job');
SELECT is(tap_job(:a), 'scheduled t_run ["first"] default 0 10', 'skipped calls leave the first job unchanged');
SELECT is(tap_states(:a), '{scheduled}'::text[], 'skipped calls leave the history unchanged');
SELECT isnt(bgjob_enqueue('t_run', '["Skip"]', unique_key => 'Skip', delay => '1 hour'), :a::bigint, 'keys are case-sensitive');
SELECT isnt(bgjob_enqueue('t_run', '["skip "]', unique_key => 'skip ', delay => '1 hour'), :a::bigint, 'a trailing blank makes another key');
SELECT isnt(bgjob_enqueue('t_run', '["no key"]', delay => '1 hour'), bgjob_enqueue('t_run', '["no key"]', delay => '1 hour'), 'jobs without a key are not compared');
SELECT isnt(bgjob_enqueue('t_run', '["null"]', unique_key => NULL, delay => '1 hour'), bgjob_enqueue('t_run', '["null"]', unique_key => NULL, delay => '1 hour'), 'null is no key');
-- Invalid calls raise errors, also if they would be skipped.
SELECT is(tap_error($$SELECT bgjob_enqueue('t_run', '[1, 2, 3]', unique_key => 'skip')$$), '22023', 'wrong arguments raise an error, also in a skipped call');
SELECT is(tap_try($$SELECT bgjob_enqueue('t_missing', unique_key => 'skip')$$), 'ERROR 42883', 'an unknown function raises an error, also in a skipped call');

SELECT bgjob_requeue(:a) AS x \gset
SELECT is(bgjob_wait(:a, '60 s'), 'succeeded', 'the first job runs');
SELECT is(t_effects(), '{first}'::text[], 'only the first job ran, with its own arguments');
SELECT bgjob_enqueue('t_run', '["again"]', unique_key => 'skip') AS a2 \gset
SELECT isnt(:a2, :a, 'the key is free after a success');
SELECT is(bgjob_wait(:a2, '60 s'), 'succeeded', 'the next job with the key runs');
TRUNCATE t_effect RESTART IDENTITY;

-- Enqueued, in a queue that is paused.
SELECT bgjob_enqueue('t_run', '["waits"]', unique_key => 'enqueued', queue => 'paused') AS a \gset
SELECT is(bgjob_enqueue('t_run', '["second"]', unique_key => 'enqueued'), :a::bigint, 'an enqueued job holds its key');
SELECT bgjob_delete(:a) AS x \gset
SELECT bgjob_enqueue('t_run', '["new"]', unique_key => 'enqueued') AS a2 \gset
SELECT isnt(:a2, :a, 'a deleted job does not hold its key');
SELECT is(bgjob_wait(:a2, '60 s'), 'succeeded', 'the next job after the deletion runs');

-- Failed: with a retry left the job has not ended.
SELECT bgjob_enqueue('t_bad', unique_key => 'bad', max_retries => 1) AS a \gset
CALL tap_state_is(:a, 'scheduled');
SELECT is(bgjob_enqueue('t_run', '["second"]', unique_key => 'bad'), :a::bigint, 'a job that waits for its retry holds its key');
SELECT bgjob_reschedule(:a, delay => '0') AS x \gset
SELECT is(bgjob_wait(:a, '60 s'), 'failed', 'the retried job fails for good');
SELECT bgjob_enqueue('t_run', '["after a failure"]', unique_key => 'bad') AS a2 \gset
SELECT isnt(:a2, :a, 'the key is free after the last failure');
SELECT is(bgjob_wait(:a2, '60 s'), 'succeeded', 'the next job after the failure runs');
SELECT bgjob_enqueue('SELECT bgjob_discard(''no'')', kind => 'sql', unique_key => 'bad') AS a \gset
SELECT is(bgjob_wait(:a, '60 s'), 'deleted', 'a job with the key discards itself');
SELECT bgjob_enqueue('SELECT bgjob_snooze(''1 hour'')', kind => 'sql', unique_key => 'bad') AS a2 \gset
SELECT isnt(:a2, :a, 'the key is free after a discard');
CALL tap_state_is(:a2, 'scheduled');
SELECT is(bgjob_enqueue('t_run', '["second"]', unique_key => 'bad'), :a2::bigint, 'a snoozed job holds its key');
SELECT is(bgjob_delete(:a2), true, 'the snoozed job is deleted');
SELECT isnt(bgjob_enqueue('t_run', '["third"]', unique_key => 'bad'), :a2::bigint, 'the key is free after that deletion');
CALL tap_idle_but_paused();
TRUNCATE t_effect RESTART IDENTITY;

-- Running.
SELECT pg_advisory_lock(1313) AS locked \gset
SELECT bgjob_enqueue('t_block', '["runs"]', unique_key => 'running') AS a \gset
CALL tap_held(1313);
SELECT is(bgjob_enqueue('t_run', '["second"]', unique_key => 'running'), :a::bigint, 'a running job holds its key, and the call does not wait');
SELECT is(bgjob_enqueue('t_run', '["third"]', unique_key => 'running', delay => '1 hour'), :a::bigint, 'a call with a delay does not wait either');
SELECT pg_advisory_unlock(1313) AS unlocked \gset
SELECT is(bgjob_wait(:a, '60 s'), 'succeeded', 'the running job succeeds');
SELECT is(t_effects(), '{runs}'::text[], 'only the running job has run');
SELECT isnt(bgjob_enqueue('t_run', '["next"]', unique_key => 'running'), :a::bigint, 'the key is free after the running job');
CALL tap_idle_but_paused();
SELECT is(t_effects(), '{runs,next}'::text[], 'the next job after the running one runs');
TRUNCATE t_effect RESTART IDENTITY;

-- A job that is deleted while it runs, and ends.
SELECT pg_advisory_lock(1313) AS locked \gset
SELECT bgjob_enqueue('t_block', '["canceled"]', unique_key => 'running') AS a \gset
CALL tap_held(1313);
SELECT bgjob_delete(:a) AS x \gset
SELECT is(bgjob_wait(:a, '60 s'), 'deleted', 'a running job with a key is deleted');
SELECT pg_advisory_unlock(1313) AS unlocked \gset
SELECT bgjob_enqueue('t_run', '["after it"]', unique_key => 'running') AS a2 \gset
SELECT isnt(:a2, :a, 'the key is free after the deletion of the running job');
SELECT is(bgjob_wait(:a2, '60 s'), 'succeeded', 'the next job after that deletion runs');

-- A job that enqueues its own key.
CREATE FUNCTION t_again(mode text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN tap_try(format('SELECT bgjob_enqueue(''t_run'', ''["by itself"]'', unique_key => ''again'', on_duplicate => %L) = bgjob_current_id()', mode));
END $$;
CREATE TABLE t_agains AS SELECT mode, queue, NULL::bigint AS id FROM unnest('{skip,replace,reschedule,error}'::text[]) mode, unnest('{default,g}'::text[]) queue;
SELECT bgjob_queue('g', group_size => 100);
CREATE PROCEDURE tap_agains() LANGUAGE plpgsql AS $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT * FROM t_agains LOOP
		UPDATE t_agains t SET id = bgjob_enqueue('t_again', jsonb_build_array(r.mode), unique_key => 'again', queue => r.queue) WHERE t.mode = r.mode AND t.queue = r.queue;
		COMMIT;
		CALL tap_idle_but_paused();
	END LOOP;
END $$;
TRUNCATE t_effect RESTART IDENTITY;
CALL tap_agains();
SELECT is(tap_state(id), 'succeeded', format('in queue %s a job enqueues its own key with %s, and succeeds', queue, mode)) FROM t_agains ORDER BY queue, mode;
SELECT is(bgjob_result(id) #>> '{}', CASE mode WHEN 'error' THEN 'ERROR 23505' ELSE 'true' END, format('in queue %s, with %s: it is running, so it is left alone', queue, mode))
FROM t_agains ORDER BY queue, mode;
SELECT is(t_effects(), NULL, 'jobs that enqueue their own key create no other job');
SELECT is(tap_unfinished('again'), 0::bigint, 'their key is free afterwards');

-- A procedure that has committed something and goes on.
CREATE PROCEDURE t_proc_block(label text) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO t_effect (label) VALUES (label || ' a');
	COMMIT;
	PERFORM pg_advisory_lock_shared(1313); PERFORM pg_advisory_unlock_shared(1313);
	INSERT INTO t_effect (label) VALUES (label || ' b');
END $$;
SELECT pg_advisory_lock(1313) AS locked \gset
SELECT bgjob_enqueue('t_proc_block', '["proc"]', unique_key => 'proc') AS a \gset
CALL tap_held(1313);
SELECT is(bgjob_enqueue('t_run', '["second"]', unique_key => 'proc', on_duplicate => mode, delay => d), :a::bigint, format('a procedure that runs has its key: on_duplicate %s, delay %s', mode, d))
FROM unnest('{skip,replace,reschedule}'::text[]) mode, unnest('{NULL,1 hour}'::interval[]) d;
SELECT is(tap_error($$SELECT bgjob_enqueue('t_run', '["second"]', unique_key => 'proc', on_duplicate => 'error')$$), '23505', 'with on_duplicate error, the running procedure causes 23505');
SELECT is(tap_job(:a), 'processing t_proc_block ["proc"] default 0 10', 'the running procedure is unchanged');
SELECT pg_advisory_unlock(1313) AS unlocked \gset
SELECT is(bgjob_wait(:a, '60 s'), 'succeeded', 'the procedure succeeds');
SELECT isnt(bgjob_enqueue('t_run', '["after it"]', unique_key => 'proc'), :a::bigint, 'the key is free after the procedure');
CALL tap_idle_but_paused();
SELECT is(t_effects(), '{proc a,proc b,after it}'::text[], 'the procedure and the next job have run once');
TRUNCATE t_effect RESTART IDENTITY;

-- A job's enqueued jobs are rolled back with it: if it fails, the key is free, also for the next job of its group.
CREATE FUNCTION t_enqueues(label text, fails boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM bgjob_enqueue('t_run', jsonb_build_array(label), unique_key => 'by a job', on_duplicate => 'error', queue => 'paused');
	IF fails THEN
		RAISE EXCEPTION 'after the call';
	END IF;
END $$;
SELECT bgjob_queue_pause('g') AS x \gset
SELECT bgjob_enqueue('t_enqueues', '["of a failed one", true]', queue => 'g', max_retries => 0) AS a, bgjob_enqueue('t_enqueues', '["good", false]', queue => 'g', max_retries => 0) AS b,
	bgjob_enqueue('t_enqueues', '["too many", false]', queue => 'g', max_retries => 0) AS c \gset
SELECT bgjob_queue_resume('g') AS x \gset
CALL tap_idle_but_paused();
SELECT is(ARRAY[tap_state(:a), tap_state(:b), tap_state(:c)], '{failed,succeeded,failed}'::text[], 'of three jobs in a group that enqueue a key, one fails, one gets it, one raises an error');
SELECT is((SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE id = :c), '23505', 'that error is 23505');
SELECT is((SELECT array_agg(args ->> 0) FROM bgjob.jobs WHERE unique_key = 'by a job'), '{good}'::text[], 'one job has the key');
SELECT count(bgjob_delete(id)) AS n FROM bgjob.jobs WHERE unique_key = 'by a job' \gset

-- Many jobs of many keys in groups.
SELECT count(*) AS n FROM (SELECT bgjob_enqueue('t_run', jsonb_build_array('group ' || i % 50), queue => 'g', unique_key => 'group ' || i % 50, delay => '1 hour') FROM generate_series(1, 500) i) x \gset
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE queue = 'g' AND state = 'scheduled'), 50::bigint, 'five hundred calls for fifty keys make fifty jobs');
SELECT count(bgjob_requeue(id)) AS n FROM bgjob.jobs WHERE queue = 'g' AND state = 'scheduled' \gset
CALL tap_idle_but_paused();
SELECT is((SELECT count(DISTINCT label) || ' ' || count(*) FROM t_effect WHERE label ~ '^group'), '50 50', 'the fifty jobs run in groups, each once');
SELECT count(*) AS n FROM (SELECT bgjob_enqueue('t_run', jsonb_build_array('group ' || i), queue => 'g', unique_key => 'group ' || i) FROM generate_series(0, 49) i) x \gset
CALL tap_idle_but_paused();
SELECT is((SELECT count(DISTINCT label) || ' ' || count(*) FROM t_effect WHERE label ~ '^group'), '50 100', 'the fifty keys are free afterwards');
TRUNCATE t_effect RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- on_duplicate => 'error'
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('t_run', '["first"]', unique_key => 'error', on_duplicate => 'error', delay => '1 hour') AS a \gset
SELECT count(*) AS jobs FROM bgjob.jobs \gset
SELECT is(tap_state(:a), 'scheduled', 'with on_duplicate error, the first job of a key is enqueued');
SELECT is(tap_error($$SELECT bgjob_enqueue('t_run', '["second"]', unique_key => 'error', on_duplicate => 'error')$$), '23505',
	'with on_duplicate error, a second job raises 23505, with message, detail and hint');
SELECT is(tap_error($$SELECT bgjob_enqueue_many('t_run', tap_args('second'), unique_key => 'error', on_duplicate => 'error')$$), '23505', 'bgjob_enqueue_many raises 23505 as well');
SELECT is((SELECT count(*) FROM bgjob.jobs), :jobs::bigint, 'the failed calls enqueue no job');
SELECT is(tap_job(:a), 'scheduled t_run ["first"] default 0 10', 'the failed calls leave the first job unchanged');
SELECT is(bgjob_enqueue('t_run', '["third"]', unique_key => 'error'), :a::bigint, 'on_duplicate is that of the call, not of the existing job');
BEGIN;
SAVEPOINT s;
SELECT tap_error($$SELECT bgjob_enqueue('t_run', '["second"]', unique_key => 'error', on_duplicate => 'error')$$) AS x \gset
ROLLBACK TO s;
SELECT bgjob_enqueue('t_run', '["in the same transaction"]') AS b \gset
COMMIT;
SELECT is(bgjob_wait(:b, '60 s'), 'succeeded', 'the transaction can go on after the error');
SELECT bgjob_delete(:a) AS x \gset
SELECT bgjob_enqueue('t_run', '["after it"]', unique_key => 'error', on_duplicate => 'error') AS a2 \gset
SELECT is(bgjob_wait(:a2, '60 s'), 'succeeded', 'after the end of the first job, on_duplicate error enqueues again');
SELECT pg_advisory_lock(1313) AS locked \gset
SELECT bgjob_enqueue('t_block', '["runs"]', unique_key => 'error') AS a \gset
CALL tap_held(1313);
SELECT is(tap_error($$SELECT bgjob_enqueue('t_run', '["second"]', unique_key => 'error', on_duplicate => 'error')$$), '23505', 'a running job causes 23505 at once');
SELECT pg_advisory_unlock(1313) AS unlocked \gset
SELECT is(bgjob_wait(:a, '60 s'), 'succeeded', 'the running job continues');
TRUNCATE t_effect RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- on_duplicate => 'replace'
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('t_run', '["first"]', unique_key => 'replace', on_duplicate => 'replace', delay => '1 hour') AS a \gset
SELECT count(*) AS jobs FROM bgjob.jobs \gset
SELECT created_at AS created FROM bgjob.jobs WHERE id = :a \gset
SELECT is(bgjob_enqueue('t_run', '["second"]', unique_key => 'replace', on_duplicate => 'replace', delay => '2 hours', queue => 'mail', priority => 7, max_retries => 3, timeout => '5 min',
	tags => '{a,b}', parameters => '{"p": 1}'), :a::bigint, 'with on_duplicate replace a second call returns the id of the waiting job');
SELECT is((SELECT count(*) FROM bgjob.jobs), :jobs::bigint, 'a replacement enqueues no other job');
SELECT is(tap_job(:a), 'scheduled t_run ["second"] mail 7 3', 'the replaced job has the new arguments, queue, priority and retries');
SELECT is((SELECT format('%s %s %s', timeout, tags, parameters) FROM bgjob.jobs WHERE id = :a), '00:05:00 {a,b} {"p": 1}', 'the replaced job has the new timeout, tags and parameters');
SELECT ok((SELECT run_at BETWEEN now() + '119 min' AND now() + '2 hours' FROM bgjob.jobs WHERE id = :a), 'the replaced job has the new time');
SELECT is((SELECT unique_key FROM bgjob.jobs WHERE id = :a), 'replace', 'the replaced job keeps its key');
SELECT is(bgjob_enqueue('t_run', '["third"]', unique_key => 'replace', on_duplicate => 'replace', delay => '3 hours'), :a::bigint, 'the job is replaced again');
SELECT is((SELECT format('%s %s %s %s', tap_job(:a), timeout, tags, parameters) FROM bgjob.jobs WHERE id = :a), 'scheduled t_run ["third"] default 0 10   ',
	'options omitted in the new call have their defaults');
SELECT is(bgjob_enqueue('t_other', '{"label": "fourth", "n": 5}', unique_key => 'replace', on_duplicate => 'replace', delay => '1 hour'), :a::bigint, 'replaced by another function');
SELECT is(tap_job(:a), 'scheduled t_other {"n": 5, "label": "fourth"} default 0 10', 'the job calls the new function');
SELECT is(bgjob_enqueue('INSERT INTO t_effect (label) VALUES ($1)', '["fifth"]', kind => 'sql', unique_key => 'replace', on_duplicate => 'replace'), :a::bigint,
	'replaced by a command, without a delay');
SELECT is(bgjob_wait(:a, '60 s'), 'succeeded', 'the replaced job runs now');
SELECT is((SELECT kind FROM bgjob.jobs WHERE id = :a), 'sql', 'the replaced job runs as a command');
SELECT is(t_effects(), '{fifth}'::text[], 'the replaced contents have not run');
SELECT is((SELECT count(*) FROM bgjob.jobs), :jobs::bigint, 'it is the same job after all replacements');
TRUNCATE t_effect RESTART IDENTITY;

-- The settings are those of the replacing call.
SET timezone = 'Asia/Kathmandu';
SELECT bgjob_enqueue('pg_catalog.current_setting(text)', '["TimeZone"]', unique_key => 'replace', delay => '1 hour') AS a \gset
SET timezone = 'Asia/Tokyo';
SELECT bgjob_enqueue('pg_catalog.current_setting(text)', '["TimeZone"]', unique_key => 'replace', on_duplicate => 'replace') AS x \gset
RESET timezone;
SELECT is(bgjob_wait(:a, '60 s'), 'succeeded', 'a job is replaced under other settings');
SELECT is(bgjob_result(:a), '"Asia/Tokyo"', 'the replaced job runs under the new settings');

-- Enqueued: its position in the queue follows the new options; with a delay it is scheduled.
SELECT bgjob_enqueue('t_run', '["first"]', unique_key => 'replace', queue => 'paused') AS a \gset
SELECT is(bgjob_enqueue('t_run', '["second"]', unique_key => 'replace', on_duplicate => 'replace', queue => 'paused', delay => '1 hour'), :a::bigint, 'an enqueued job is replaced by one with a delay');
SELECT is(tap_state(:a), 'scheduled', 'the replaced job is scheduled');
SELECT is(bgjob_enqueue('t_run', '["third"]', unique_key => 'replace', on_duplicate => 'replace', queue => 'paused', priority => 3), :a::bigint, 'the scheduled job is replaced by one without a delay');
SELECT is(tap_job(:a), 'enqueued t_run ["third"] paused 3 10', 'the replaced job is enqueued again');
SELECT is(bgjob_enqueue('t_run', '["fourth"]', unique_key => 'replace', on_duplicate => 'replace'), :a::bigint, 'the enqueued job is replaced by one of an active queue');
SELECT is(bgjob_wait(:a, '60 s'), 'succeeded', 'the job of the active queue runs');
SELECT is(t_effects(), '{fourth}'::text[], 'it runs once, with the last arguments');
TRUNCATE t_effect RESTART IDENTITY;
-- In the order of the new priority.
SELECT bgjob_queue('line', paused => true);
SELECT bgjob_enqueue('t_run', '["low"]', queue => 'line', unique_key => 'low') AS low \gset
SELECT bgjob_enqueue('t_run', '["middle"]', queue => 'line', priority => 5) AS middle \gset
SELECT is(bgjob_enqueue('t_run', '["high"]', queue => 'line', priority => 9, unique_key => 'low', on_duplicate => 'replace'), :low::bigint, 'an enqueued job gets a higher priority');
SELECT bgjob_queue('line', paused => false);
SELECT is(bgjob_wait(:middle, '60 s'), 'succeeded', 'the queue of the replaced job is resumed');
CALL tap_idle_but_paused();
SELECT is(t_effects(), '{high,middle}'::text[], 'the job with the higher priority runs first');
TRUNCATE t_effect RESTART IDENTITY;

-- Running: not replaced.
SELECT pg_advisory_lock(1313) AS locked \gset
SELECT bgjob_enqueue('t_block', '["runs"]', unique_key => 'replace') AS a \gset
CALL tap_held(1313);
SELECT is(bgjob_enqueue('t_run', '["second"]', unique_key => 'replace', on_duplicate => 'replace', queue => 'mail', priority => 7), :a::bigint, 'a running job is not replaced, its id is returned at once');
SELECT is(tap_job(:a), 'processing t_block ["runs"] default 0 10', 'the running job is unchanged');
SELECT pg_advisory_unlock(1313) AS unlocked \gset
SELECT is(bgjob_wait(:a, '60 s'), 'succeeded', 'the running job succeeds');
CALL tap_idle_but_paused();
SELECT is(t_effects(), '{runs}'::text[], 'it has run once, and no other job');
SELECT is(tap_job(:a), 'succeeded t_block ["runs"] default 0 10', 'the contents of the running job are unchanged');

-- Waiting for its retry.
SELECT bgjob_enqueue('t_bad', unique_key => 'replace', max_retries => 2) AS a \gset
CALL tap_state_is(:a, 'scheduled');
SELECT is(bgjob_enqueue('t_run', '["mended"]', unique_key => 'replace', on_duplicate => 'replace'), :a::bigint, 'a job that waits for its retry is replaced');
SELECT is(bgjob_wait(:a, '60 s'), 'succeeded', 'the replaced retry succeeds');
SELECT is(t_effects(), '{runs,mended}'::text[], 'the replaced retry has run with the new contents');
-- An invalid call replaces nothing.
SELECT bgjob_enqueue('t_run', '["good"]', unique_key => 'replace', delay => '1 hour') AS a \gset
SELECT is(tap_error($$SELECT bgjob_enqueue('t_run', '[1, 2, 3]', unique_key => 'replace', on_duplicate => 'replace')$$), '22023', 'a replacement with wrong arguments raises an error');
SELECT is(tap_error($$SELECT bgjob_enqueue('t_run', '["x"]', queue => 'No Queue', unique_key => 'replace', on_duplicate => 'replace')$$), '22023', 'a replacement with wrong options raises an error');
SELECT is(tap_job(:a), 'scheduled t_run ["good"] default 0 10', 'failed replacements leave the job unchanged');
SELECT bgjob_delete(:a) AS x \gset
TRUNCATE t_effect RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- on_duplicate => 'reschedule'
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('t_run', '["first"]', unique_key => 'later', on_duplicate => 'reschedule', delay => '1 hour', priority => 4, max_retries => 2) AS a \gset
SELECT is(bgjob_enqueue('t_run', '["second"]', unique_key => 'later', on_duplicate => 'reschedule', delay => '2 hours', queue => 'mail', priority => 7), :a::bigint,
	'with on_duplicate reschedule a second call returns the id of the waiting job');
SELECT is(tap_job(:a), 'scheduled t_run ["first"] default 4 2', 'a reschedule keeps arguments and options');
SELECT ok((SELECT run_at BETWEEN now() + '119 min' AND now() + '2 hours' FROM bgjob.jobs WHERE id = :a), 'a reschedule sets the new time');
SELECT is(bgjob_enqueue('t_run', '["third"]', unique_key => 'later', on_duplicate => 'reschedule', run_at => '2999-01-01 00:00+00'), :a::bigint, 'the job is rescheduled to a point in time');
SELECT is((SELECT run_at FROM bgjob.jobs WHERE id = :a), '2999-01-01 00:00+00'::timestamptz, 'the job has that run_at');
SELECT is(tap_unfinished('later'), 1::bigint, 'one job has the key after the reschedules');
SELECT is(bgjob_enqueue('t_other', '["fourth"]', unique_key => 'later', on_duplicate => 'reschedule'), :a::bigint, 'the job is rescheduled without a time');
SELECT is(bgjob_wait(:a, '60 s'), 'succeeded', 'the job rescheduled without a time runs now');
SELECT is(t_effects(), '{first}'::text[], 'the rescheduled job runs with the first arguments');
TRUNCATE t_effect RESTART IDENTITY;
SELECT bgjob_enqueue('t_run', '["enqueued"]', unique_key => 'later', queue => 'paused') AS a \gset
SELECT is(bgjob_enqueue('t_run', '["second"]', unique_key => 'later', on_duplicate => 'reschedule', delay => '1 hour'), :a::bigint, 'an enqueued job is rescheduled');
SELECT is(tap_job(:a), 'scheduled t_run ["enqueued"] paused 0 10', 'the rescheduled job waits for its time');
SELECT is(bgjob_enqueue('t_run', '["third"]', unique_key => 'later', on_duplicate => 'reschedule', run_at => now() - interval '1 hour'), :a::bigint, 'the job is rescheduled to a past time');
SELECT is(tap_job(:a), 'enqueued t_run ["enqueued"] paused 0 10', 'a past time makes the job enqueued');
SELECT bgjob_delete(:a) AS x \gset
-- The usual use: the last of many calls counts.
DO $$ BEGIN FOR i IN 1 .. 20 LOOP PERFORM bgjob_enqueue('t_run', '["calm"]', unique_key => 'calm', on_duplicate => 'reschedule', delay => '300 ms'); COMMIT; END LOOP; END $$;
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE unique_key = 'calm'), 1::bigint, 'twenty calls one after the other make one job');
CALL tap_wait_until($$ SELECT tap_unfinished('calm') = 0 $$);
SELECT is(t_effects(), '{calm}'::text[], 'the job of twenty calls runs once');
SELECT pg_advisory_lock(1313) AS locked \gset
SELECT bgjob_enqueue('t_block', '["runs"]', unique_key => 'later') AS a \gset
CALL tap_held(1313);
SELECT is(bgjob_enqueue('t_run', '["second"]', unique_key => 'later', on_duplicate => 'reschedule', delay => '1 hour'), :a::bigint, 'a running job is not rescheduled, its id is returned at once');
SELECT is(tap_job(:a), 'processing t_block ["runs"] default 0 10', 'the running job is not rescheduled');
SELECT pg_advisory_unlock(1313) AS unlocked \gset
SELECT is(bgjob_wait(:a, '60 s'), 'succeeded', 'the running job succeeds after the call');
TRUNCATE t_effect RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- Roles
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('t_run', '["super"]', unique_key => 'role', delay => '1 hour') AS s \gset
SET ROLE tap13_a;
SELECT bgjob_enqueue('t_run', '["a"]', unique_key => 'role', delay => '1 hour') AS a \gset
RESET ROLE;
SET ROLE tap13_b;
SELECT bgjob_enqueue('t_run', '["b"]', unique_key => 'role', delay => '1 hour', on_duplicate => 'error') AS b \gset
RESET ROLE;
SELECT is((SELECT count(DISTINCT x) FROM unnest(ARRAY[:s, :a, :b]) x), 3::bigint, 'a key belongs to a role: three roles have a job of the same key');
SELECT is(tap_unfinished('role'), 3::bigint, 'three jobs have the same key');
SELECT is(bgjob_enqueue('t_run', '["by another"]', unique_key => 'role', run_as => 'tap13_a'), :a::bigint, 'the key belongs to run_as, not to the caller');
SELECT is(bgjob_enqueue('t_run', '["by another"]', unique_key => 'role', run_as => 'tap13_b', on_duplicate => 'replace', delay => '1 hour'), :b::bigint, 'a replacement is for the key of run_as');
SELECT is((SELECT format('%s %s', run_as, args) FROM bgjob.jobs WHERE id = :b), 'tap13_b ["by another"]', 'the job of run_as is replaced');
SELECT is((SELECT array_agg(args ->> 0 ORDER BY id) FROM bgjob.jobs WHERE id IN (:s, :a)), '{super,a}'::text[], 'the jobs of other roles are unchanged');
SELECT count(bgjob_delete(id)) AS n FROM bgjob.jobs WHERE unique_key = 'role' \gset

----------------------------------------------------------------------------------------------------
-- Requeue and reschedule of a job that has ended
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('t_run', '["old"]', unique_key => 'taken') AS old \gset
SELECT is(bgjob_wait(:old, '60 s'), 'succeeded', 'the first job with the key succeeds');
SELECT bgjob_enqueue('t_run', '["young"]', unique_key => 'taken', delay => '1 hour') AS young \gset
SELECT is(bgjob_requeue(:old), false, 'a finished job cannot be requeued while another job has its key');
SELECT is(bgjob_requeue(:old, 'succeeded'), false, 'it cannot be requeued from its state either');
SELECT is(bgjob_reschedule(:old, delay => '1 hour'), false, 'it cannot be rescheduled either');
SELECT is(tap_states(:old), '{enqueued,processing,succeeded}'::text[], 'the refused calls leave its history unchanged');
SELECT is(bgjob_requeue(:old, 'failed'), false, 'with another from_state the result is false');
SELECT is(bgjob_delete(:old), true, 'the finished job can be deleted');
SELECT is(bgjob_requeue(:old), false, 'the deleted job cannot be requeued while another job has its key');
SELECT is(bgjob_requeue(:young), true, 'the job that has the key can be requeued');
SELECT is(bgjob_wait(:young, '60 s'), 'succeeded', 'the job that has the key succeeds');
SELECT is(bgjob_reschedule(:old, delay => '1 hour'), true, 'the finished job can be rescheduled when the key is free');
SELECT is(bgjob_enqueue('t_run', '["third"]', unique_key => 'taken'), :old::bigint, 'the rescheduled job holds its key again');
SELECT is(bgjob_requeue(:young), false, 'the other job cannot be requeued now');
SELECT is(bgjob_requeue(:old), true, 'the job with the key is requeued');
SELECT is(bgjob_wait(:old, '60 s'), 'succeeded', 'the requeued job succeeds');
SELECT is(tap_states(:old), '{enqueued,processing,succeeded,deleted,scheduled,enqueued,processing,succeeded}'::text[], 'its history has all these states');
SELECT bgjob_enqueue('t_bad', unique_key => 'taken', max_retries => 0) AS bad \gset
SELECT is(bgjob_wait(:bad, '60 s'), 'failed', 'a job with the key fails');
SELECT bgjob_enqueue('t_run', '["young"]', unique_key => 'taken', delay => '1 hour') AS young \gset
SELECT is(bgjob_requeue(:bad), false, 'the failed job cannot be requeued while another job has its key');
SELECT is(tap_state(:bad), 'failed', 'the failed job stays failed');
SELECT bgjob_delete(:young) AS x \gset
-- A running job keeps its key when it is requeued.
TRUNCATE t_effect RESTART IDENTITY;
SELECT pg_advisory_lock(1313) AS locked \gset
SELECT bgjob_enqueue('t_block', '["runs"]', unique_key => 'taken') AS a \gset
CALL tap_held(1313);
SELECT is(bgjob_requeue(:a), true, 'a running job is requeued');
SELECT is(bgjob_enqueue('t_run', '["second"]', unique_key => 'taken'), :a::bigint, 'the requeued running job holds its key');
SELECT pg_advisory_unlock(1313) AS unlocked \gset
SELECT is(bgjob_wait(:a, '60 s'), 'succeeded', 'the requeued running job runs again');
SELECT is(t_effects(), '{runs}'::text[], 'the requeued running job has one effect');
-- Two ended jobs in one statement: one of them gets the key.
SELECT is((SELECT count(*) FILTER (WHERE requeued) FROM (SELECT bgjob_requeue(id) AS requeued FROM bgjob.jobs WHERE unique_key = 'taken' OFFSET 0) r), 1::bigint, 'of several finished jobs with one key only one is requeued');
SELECT count(bgjob_wait(id, '60 s')) AS x FROM bgjob.jobs WHERE unique_key = 'taken' \gset
SELECT is(tap_unfinished('taken'), 0::bigint, 'the requeued one runs');
TRUNCATE t_effect RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- Transactions and savepoints
----------------------------------------------------------------------------------------------------

BEGIN;
SELECT bgjob_enqueue('t_run', '["rolled back"]', unique_key => 'tx') AS a \gset
SELECT is(bgjob_enqueue('t_run', '["second"]', unique_key => 'tx'), :a::bigint, 'a job holds its key in the transaction that enqueued it');
SELECT is(tap_error($$SELECT bgjob_enqueue('t_run', '["third"]', unique_key => 'tx', on_duplicate => 'error')$$), '23505', 'on_duplicate error raises 23505 in that transaction');
ROLLBACK;
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE unique_key = 'tx'), 0::bigint, 'after the rollback the job does not exist');
SELECT bgjob_enqueue('t_run', '["new"]', unique_key => 'tx', on_duplicate => 'error', delay => '1 hour') AS a \gset
SELECT is(tap_state(:a), 'scheduled', 'after the rollback the key is free');
SELECT is(bgjob_delete(:a), true, 'the job with the key is deleted');

BEGIN;
SAVEPOINT s;
SELECT bgjob_enqueue('t_run', '["in a savepoint"]', unique_key => 'tx') AS a \gset
ROLLBACK TO s;
SELECT bgjob_enqueue('t_run', '["after a savepoint"]', unique_key => 'tx', on_duplicate => 'error') AS b \gset
SAVEPOINT s;
SELECT bgjob_enqueue('t_run', '["skipped"]', unique_key => 'tx') AS c \gset
RELEASE s;
COMMIT;
SELECT isnt(:b, :a, 'a rolled-back savepoint frees the key for the same transaction');
SELECT is(:c, :b, 'a call skipped in a savepoint returns the first id');
SELECT is(bgjob_wait(:b, '60 s'), 'succeeded', 'the job of that transaction runs');
SELECT is(t_effects(), '{"after a savepoint"}'::text[], 'only that job has run');
TRUNCATE t_effect RESTART IDENTITY;

BEGIN;
SELECT bgjob_enqueue('t_run', '["first"]', unique_key => 'tx') AS a \gset
SELECT bgjob_enqueue('t_run', '["second"]', unique_key => 'tx', on_duplicate => 'replace', priority => 3) AS b \gset
SAVEPOINT s;
SELECT bgjob_enqueue('t_run', '["third"]', unique_key => 'tx', on_duplicate => 'replace', delay => '1 hour') AS c \gset
ROLLBACK TO s;
COMMIT;
SELECT is(ARRAY[:b, :c], ARRAY[:a, :a], 'a job is replaced in the transaction that enqueued it');
SELECT is(bgjob_wait(:a, '60 s'), 'succeeded', 'the job replaced in its transaction runs after the commit');
SELECT is(t_effects(), '{second}'::text[], 'it runs with the last arguments that were not rolled back');
TRUNCATE t_effect RESTART IDENTITY;

BEGIN;
SELECT bgjob_enqueue('t_run', '["first"]', unique_key => 'tx', queue => 'paused') AS a \gset
SELECT bgjob_delete(:a) AS x \gset
SELECT bgjob_enqueue('t_run', '["second"]', unique_key => 'tx', on_duplicate => 'error', queue => 'paused') AS b \gset
COMMIT;
SELECT is(ARRAY[tap_state(:a), tap_state(:b)], '{deleted,enqueued}'::text[], 'a job deleted in the transaction that enqueued it frees its key');
BEGIN;
SELECT bgjob_delete(:b) AS x \gset
SELECT bgjob_enqueue('t_run', '["third"]', unique_key => 'tx', queue => 'paused') AS c \gset
ROLLBACK;
SELECT isnt(:c, :b, 'a transaction that deletes a job can use its key');
SELECT is(tap_state(:b), 'enqueued', 'after the rollback the deleted job is there');
SELECT is(bgjob_enqueue('t_run', '["fourth"]', unique_key => 'tx'), :b::bigint, 'after the rollback the deleted job holds its key');
BEGIN;
SELECT bgjob_enqueue('t_run', '["replaced"]', unique_key => 'tx', on_duplicate => 'replace', queue => 'mail', priority => 5, delay => '1 hour') AS x \gset
ROLLBACK;
SELECT is(tap_job(:b), 'enqueued t_run ["second"] paused 0 10', 'a rolled-back replacement changes nothing');
BEGIN;
SELECT bgjob_enqueue('t_run', '["later"]', unique_key => 'tx', on_duplicate => 'reschedule', delay => '1 hour') AS x \gset
ROLLBACK;
SELECT is(tap_job(:b), 'enqueued t_run ["second"] paused 0 10', 'a rolled-back reschedule changes nothing');
SELECT is(tap_states(:b), '{enqueued}'::text[], 'rolled-back changes are not in the history');
SELECT bgjob_queue_resume('paused') AS x \gset
SELECT is(bgjob_wait(:b, '60 s'), 'succeeded', 'the job runs after the rollbacks');
SELECT bgjob_queue_pause('paused') AS x \gset
SELECT is(t_effects(), '{second}'::text[], 'the job runs with its own arguments');
-- A prepared transaction has the key until it ends.
BEGIN;
SELECT bgjob_enqueue('t_run', '["prepared"]', unique_key => 'tx') AS a \gset
PREPARE TRANSACTION 'tap13';
SET statement_timeout = '300 ms';
SELECT is((SELECT CASE WHEN tap_unfinished('tx') = 0 THEN 'not seen' END), 'not seen', 'the job of a prepared transaction is invisible');
CREATE FUNCTION tap_blocks(query text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN EXECUTE query; RETURN 'does not wait'; EXCEPTION WHEN query_canceled THEN RETURN 'waits'; END $$;
SELECT is(tap_blocks($$SELECT bgjob_enqueue('t_run', '["second"]', unique_key => 'tx')$$), 'waits', 'a call with its key waits for the prepared transaction');
SET statement_timeout = '30 s';
COMMIT PREPARED 'tap13';
CALL tap_state_is(:a, 'succeeded', 90);
SELECT is(tap_state(:a), 'succeeded', 'the job runs after COMMIT PREPARED');
TRUNCATE t_effect RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- bgjob_enqueue_many
----------------------------------------------------------------------------------------------------

CREATE TABLE t_many AS SELECT mode, NULL::bigint[] AS ids FROM unnest('{skip,replace,reschedule}'::text[]) mode;
UPDATE t_many SET ids = ARRAY(SELECT bgjob_enqueue_many('t_run', tap_args('one', 'two', 'three'), unique_key => 'many ' || mode, on_duplicate => mode, delay => '1 hour'));
SELECT is(cardinality(ids), 3, mode || ': bgjob_enqueue_many with equal keys returns an id for each element') FROM t_many;
SELECT is((SELECT count(DISTINCT i) FROM unnest(ids) i), 1::bigint, mode || ': all elements have the same id') FROM t_many;
SELECT is(tap_unfinished('many ' || mode), 1::bigint, mode || ': one job has the key') FROM t_many;
SELECT is((SELECT args ->> 0 FROM bgjob.jobs WHERE id = ids[1]), CASE mode WHEN 'replace' THEN 'three' ELSE 'one' END, mode || ': the job has the arguments of the first element, or of the last for replace') FROM t_many;
SELECT is(tap_error($$SELECT count(*) FROM bgjob_enqueue_many('t_run', tap_args('one', 'two'), unique_key => 'many error', on_duplicate => 'error')$$), '23505', 'error: equal keys raise 23505');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE unique_key = 'many error'), 0::bigint, 'error: no job is enqueued');
SELECT is(ARRAY(SELECT bgjob_enqueue_many('t_run', tap_args('four', 'five'), unique_key => 'many skip')), ids[1:2], 'skip: the ids are that of the existing job') FROM t_many WHERE mode = 'skip';
SELECT is((SELECT count(*) FROM bgjob_enqueue_many('t_run', '{}', unique_key => 'many none')), 0::bigint, 'bgjob_enqueue_many without elements returns no id');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE unique_key = 'many none'), 0::bigint, 'bgjob_enqueue_many without elements takes no key');
SELECT count(bgjob_requeue(ids[1])) AS n FROM t_many \gset
CALL tap_idle_but_paused();
SELECT is((SELECT array_agg(label ORDER BY label) FROM t_effect), '{one,one,three}'::text[], 'each job of bgjob_enqueue_many runs once');
TRUNCATE t_effect RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- Triggers
----------------------------------------------------------------------------------------------------

CREATE FUNCTION t_by_id(id int) RETURNS void LANGUAGE sql AS $$ INSERT INTO t_effect (label) VALUES ('id ' || id) $$;
CREATE TABLE t_row (id int);
CREATE TRIGGER t AFTER INSERT ON t_row FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('t_by_id', 'columns=id', 'unique_key=trigger', 'delay=1 hour');
INSERT INTO t_row VALUES (1), (2);
INSERT INTO t_row VALUES (3);
SELECT is((SELECT array_agg(args) FROM bgjob.jobs WHERE unique_key = 'trigger'), ARRAY['{"id": 1}']::jsonb[], 'three rows of a trigger with a unique key make one job, for the first');
DROP TRIGGER t ON t_row;
CREATE TRIGGER t AFTER INSERT ON t_row FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('t_by_id', 'columns=id', 'unique_key=trigger', 'on_duplicate=replace', 'delay=1 hour');
INSERT INTO t_row VALUES (4), (5);
SELECT is((SELECT array_agg(args) FROM bgjob.jobs WHERE unique_key = 'trigger'), ARRAY['{"id": 5}']::jsonb[], 'with on_duplicate=replace, the job is that of the last row');
DROP TRIGGER t ON t_row;
CREATE TRIGGER t AFTER INSERT ON t_row FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('t_by_id', 'columns=id', 'unique_key=trigger', 'on_duplicate=error');
SELECT is(tap_error('INSERT INTO t_row VALUES (6)'), '23505', 'with on_duplicate=error, the second row raises 23505');
SELECT is((SELECT count(*) FROM t_row WHERE id = 6), 0::bigint, 'the row with the error is not inserted');
DROP TRIGGER t ON t_row;
CREATE TRIGGER t AFTER INSERT ON t_row FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('t_by_id', 'columns=id', 'unique_key=trigger', 'on_duplicate=reschedule');
INSERT INTO t_row VALUES (7);
CALL tap_wait_until($$ SELECT tap_unfinished('trigger') = 0 $$);
SELECT is(t_effects(), '{id 5}'::text[], 'with on_duplicate=reschedule, the waiting job runs now');
DROP TRIGGER t ON t_row;
CREATE TRIGGER t AFTER INSERT ON t_row REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION bgjob_enqueue_trigger('t_by_id', 'columns=id', 'unique_key=statement', 'delay=1 hour');
INSERT INTO t_row SELECT generate_series(10, 20);
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE unique_key = 'statement'), 1::bigint, 'a statement trigger with a unique key makes one job');
DROP TRIGGER t ON t_row;
SELECT is((SELECT string_agg(tap_error(format('CREATE TRIGGER t AFTER INSERT ON t_row FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger(''t_by_id'', ''columns=id'', %L)', o)), ',') FROM unnest('{unique_key=k}'::text[]) o),
	'no error', 'triggers with valid options can be created');
DROP TRIGGER t ON t_row;
CREATE FUNCTION tap_trigger(option1 text, option2 text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE format('CREATE TRIGGER t AFTER INSERT ON t_row FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger(''t_by_id'', ''columns=id'', %L, %L)', option1, option2);
	answer := tap_error('INSERT INTO t_row VALUES (99)');
	DROP TRIGGER t ON t_row;
	RETURN answer;
END $$;
SELECT is(tap_trigger('unique_key=k', 'on_duplicate=twice'), '22023', 'a row trigger with a wrong on_duplicate raises 22023');
SELECT is(tap_trigger('unique_key=', 'on_duplicate=skip'), '22023', 'a row trigger with an empty key raises 22023');
SELECT is(tap_trigger('unique_key=' || repeat('k', 10000), 'on_duplicate=skip'), '22023', 'a row trigger with a very long key raises 22023');
SELECT is((SELECT count(*) FROM t_row WHERE id = 99), 0::bigint, 'no row of the failed triggers is inserted');
TRUNCATE t_effect RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- Recurring jobs
----------------------------------------------------------------------------------------------------

SELECT bgjob_recurring('r', '@yearly', 't_run', '["recurring"]', unique_key => 'recurring', queue => 'paused');
SELECT bgjob_recurring_trigger('r') AS a \gset
SELECT is((SELECT format('%s %s', unique_key, recurring_name) FROM bgjob.jobs WHERE id = :a), 'recurring r', 'the job of a recurring job has its unique_key');
SELECT is(bgjob_recurring_trigger('r'), :a::bigint, 'while that job waits, the next occurrence is skipped');
SELECT is(bgjob_enqueue('t_run', '["by hand"]', unique_key => 'recurring'), :a::bigint, 'while that job waits, a call with the key is skipped');
SELECT bgjob_recurring('r', '@yearly', 't_run', '["replaced"]', unique_key => 'recurring', on_duplicate => 'replace', queue => 'paused');
SELECT is(bgjob_recurring_trigger('r'), :a::bigint, 'with on_duplicate replace, the next occurrence returns the waiting job');
SELECT is((SELECT args FROM bgjob.jobs WHERE id = :a), '["replaced"]', 'the next occurrence has replaced the waiting job');
SELECT is(tap_error($$SELECT bgjob_recurring('bad', '@yearly', 't_run', '["x"]', unique_key => 'recurring', on_duplicate => 'twice')$$), '22023', 'bgjob_recurring with a wrong on_duplicate raises 22023');
SELECT is(tap_error($$SELECT bgjob_recurring('bad', '@yearly', 't_run', '["x"]', unique_key => '')$$), '22023', 'bgjob_recurring with an empty key raises 22023');
SELECT is(tap_error($$SELECT bgjob_recurring('bad', '@yearly', 't_run', '["x"]', unique_key => repeat('k', 10000))$$), '22023', 'bgjob_recurring with a very long key raises 22023');
SELECT is((SELECT array_agg(name) FROM bgjob.recurring_jobs), '{r}'::name[]::text[], 'the failed calls add no recurring job');
SELECT bgjob_delete(:a) AS x \gset
SELECT bgjob_recurring('r', '@every_second', 't_run', '["tick"]', unique_key => 'tick', queue => 'paused');
SELECT next_run_at AS first FROM bgjob.recurring_jobs WHERE name = 'r' \gset
CALL tap_wait_until(format($$ SELECT next_run_at >= %L::timestamptz + interval '3 s' FROM bgjob.recurring_jobs WHERE name = 'r' $$, :'first'));
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE unique_key = 'tick'), 1::bigint, 'three occurrences and more create one job while it waits');
SELECT is((SELECT error FROM bgjob.recurring_jobs WHERE name = 'r')::text, NULL, 'skipped occurrences are no error');
SELECT bgjob_recurring('r', '@every_second', 't_run', '["tick"]', unique_key => 'tick');
SELECT bgjob_queue_resume('paused') AS x \gset
CALL tap_wait_until($$ SELECT count(*) >= 3 FROM t_effect WHERE label = 'tick' $$);
SELECT cmp_ok((SELECT count(*) FROM t_effect WHERE label = 'tick'), '>=', 3::bigint, 'after that job has run, the next occurrences run');
SELECT bgjob_recurring_remove('r') AS x \gset
CALL tap_idle_but_paused();
SELECT bgjob_queue_pause('paused') AS x \gset
TRUNCATE t_effect RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- Invalid values
----------------------------------------------------------------------------------------------------

SELECT count(*) AS jobs FROM bgjob.jobs \gset
CREATE TABLE t_wrong (n serial, call text, code text, what text);
INSERT INTO t_wrong (call, code, what) VALUES
	($$bgjob_enqueue('t_run', '["x"]', unique_key => '')$$, '22023', 'an empty key'),
	($$bgjob_enqueue('t_run', '["x"]', unique_key => repeat('k', 1001))$$, '22023', 'a key of 1001 bytes'),
	($$bgjob_enqueue('t_run', '["x"]', unique_key => repeat('€', 334))$$, '22023', 'a key of 334 characters, but 1002 bytes'),
	($$bgjob_enqueue('t_run', '["x"]', unique_key => repeat('k', 10000))$$, '22023', 'a key of 10,000 characters'),
	($$bgjob_enqueue('t_run', '["x"]', unique_key => repeat('k', 1000000))$$, '22023', 'a key of a million characters'),
	($$bgjob_enqueue('t_run', '["x"]', unique_key => 'k', on_duplicate => 'twice')$$, '22023', 'on_duplicate => ''twice'''),
	($$bgjob_enqueue('t_run', '["x"]', unique_key => 'k', on_duplicate => 'SKIP')$$, '22023', 'on_duplicate in capitals'),
	($$bgjob_enqueue('t_run', '["x"]', unique_key => 'k', on_duplicate => '')$$, '22023', 'an empty on_duplicate'),
	($$bgjob_enqueue('t_run', '["x"]', on_duplicate => 'twice')$$, '22023', 'a wrong on_duplicate without a key'),
	($$bgjob_enqueue_many('t_run', tap_args('x'), unique_key => '')$$, '22023', 'many: an empty key'),
	($$bgjob_enqueue_many('t_run', tap_args('x'), unique_key => repeat('k', 10000))$$, '22023', 'many: a key of 10,000 characters'),
	($$bgjob_enqueue_many('t_run', tap_args('x'), unique_key => 'k', on_duplicate => 'twice')$$, '22023', 'many: a wrong on_duplicate'),
	($$bgjob_enqueue_many('t_run', ARRAY['["x"]', '[1, 2]']::jsonb[], unique_key => 'k')$$, '22023', 'many: an element with wrong arguments that would be skipped');
SELECT is(tap_error('SELECT ' || call), code, format('%s is refused with %s, message, detail and hint', what, code)) FROM t_wrong ORDER BY n;
SELECT is((SELECT count(*) FROM bgjob.jobs), :jobs::bigint, 'the refused calls leave no job');
SELECT is((SELECT count(*) FROM unnest(ARRAY['k', repeat('k', 1000), 'ä €😀', E'new\nline', '{"a": 1}', '%s', ' ']) key WHERE bgjob_enqueue('t_run', '["x"]', unique_key => key, delay => '1 hour') > 0), 7::bigint,
	'keys of 1 to 1000 characters of all kinds are accepted');
SELECT is((SELECT count(*) FROM unnest(ARRAY['k', repeat('k', 1000), 'ä €😀', E'new\nline', '{"a": 1}', '%s', ' ']) key WHERE tap_unfinished(key) = 1), 7::bigint, 'the accepted keys are stored unchanged');
SELECT count(bgjob_delete(id)) AS n FROM bgjob.jobs WHERE state = 'scheduled' \gset

RESET statement_timeout;

----------------------------------------------------------------------------------------------------
-- bgjob_configure: rights and invalid values
----------------------------------------------------------------------------------------------------

SELECT is(tap_try(call, 'tap13_a'), 'ERROR 42501', call || ' is not for everybody')
FROM unnest(ARRAY[$$SELECT bgjob_configure('t_run', queue => 'mine')$$, $$SELECT bgjob_configure('t_run')$$, $$SELECT bgjob_unconfigure('t_run')$$]) call;
SET ROLE tap13_a;
SELECT tap_error($$SELECT bgjob_configure('t_run', queue => 'mine')$$) AS denied \gset
RESET ROLE;
SELECT is(:'denied'::text, '42501', 'the error has message, detail and hint');
-- Only the owner of the function.
CREATE SCHEMA tap13_own AUTHORIZATION tap13_a;
CREATE FUNCTION tap13_own.f() RETURNS void LANGUAGE sql AS '';
ALTER FUNCTION tap13_own.f() OWNER TO tap13_a;
SELECT is(tap_try($$SELECT bgjob_configure('tap13_own.f', queue => 'mine')$$, 'tap13_a'), '', 'the owner of a function configures it');
SELECT is(bgjob_unconfigure('tap13_own.f'), true, 'the configuration of the owner can be removed');
SELECT is(bgjob_unconfigure('t_run'), false, 'the refused calls have configured nothing');

CREATE FUNCTION t_over(a int) RETURNS text LANGUAGE sql AS $$ SELECT 'int' $$;
CREATE FUNCTION t_over(a text) RETURNS text LANGUAGE sql AS $$ SELECT 'text' $$;
CREATE FUNCTION t_order(id int, note text = 'none', VARIADIC more int[] = '{}') RETURNS text LANGUAGE sql AS $$ SELECT note $$;
CREATE FUNCTION t_pair(a int, b text = 'default') RETURNS text LANGUAGE sql AS $$ SELECT a || b $$;
TRUNCATE t_wrong RESTART IDENTITY;
INSERT INTO t_wrong (call, code, what) VALUES
	($$bgjob_configure('t_missing', queue => 'x')$$, '42883', 'an unknown function'),
	($$bgjob_configure('t_run(int)', queue => 'x')$$, '42883', 'a function of other arguments'),
	($$bgjob_configure('', queue => 'x')$$, '22023|42602|42883|42601', 'an empty name'),
	($$bgjob_configure('t_over', queue => 'x')$$, '42725', 'an ambiguous name'),
	($$bgjob_configure(NULL, queue => 'x')$$, '22004', 'a null name'),
	($$bgjob_configure('t_run', queue => 'No Queue')$$, '22023', 'a wrong queue'),
	($$bgjob_configure('t_run', queue => '')$$, '22023', 'an empty queue'),
	($$bgjob_configure('t_run', priority => 32768)$$, '22023', 'a priority too high'),
	($$bgjob_configure('t_run', priority => -32769)$$, '22023', 'a priority too low'),
	($$bgjob_configure('t_run', max_retries => -1)$$, '22023', 'negative retries'),
	($$bgjob_configure('t_run', timeout => '-1 s')$$, '22023', 'a negative timeout'),
	($$bgjob_configure('t_run', unique_key => '')$$, '22023', 'an empty key'),
	($$bgjob_configure('t_run', unique_key => repeat('k', 10000))$$, '22023', 'a key of 10,000 characters'),
	($$bgjob_configure('t_run', unique_key => 'k:{nosuch}')$$, '22023', 'a key with a place for an argument that the function does not have'),
	($$bgjob_configure('t_run', unique_key => 'k:{label}:{nosuch}')$$, '22023', 'a key with a right place and a wrong one'),
	($$bgjob_configure('t_run', unique_key => 'k:{}')$$, '22023', 'a key with an empty place'),
	($$bgjob_configure('t_run', unique_key => 'k:{Label}')$$, '22023', 'a key with a place in capitals'),
	($$bgjob_configure('t_run', unique_key => 'k', on_duplicate => 'twice')$$, '22023', 'a wrong on_duplicate'),
	($$bgjob_configure('t_run', on_duplicate => 'twice')$$, '22023', 'a wrong on_duplicate without a key'),
	($$bgjob_configure('t_run', parameters => '[1]')$$, '22023', 'parameters that are no object'),
	($$bgjob_configure('t_run', retry_delays => '{}')$$, '22023', 'no retry_delays'),
	($$bgjob_configure('t_run', retry_delays => '{-1 s}')$$, '22023', 'a negative retry delay'),
	($$bgjob_configure('t_run', retry_delays => '{1 s,-1 month}')$$, '22023', 'a negative one behind a right one'),
	($$bgjob_configure('t_run', retry_delays => '{1 s,NULL}')$$, '22004', 'a null among the retry delays'),
	($$bgjob_configure('t_run', retry_on => '{400}')$$, '22023', 'retry_on with three characters'),
	($$bgjob_configure('t_run', retry_on => '{4000}')$$, '22023', 'with four'),
	($$bgjob_configure('t_run', retry_on => '{400011}')$$, '22023', 'with six'),
	($$bgjob_configure('t_run', retry_on => '{4}')$$, '22023', 'with one'),
	($$bgjob_configure('t_run', retry_on => '{""}')$$, '22023', 'with none'),
	($$bgjob_configure('t_run', retry_on => '{unique_violation}')$$, '22023', 'with the name of a condition'),
	($$bgjob_configure('t_run', retry_on => '{40-01}')$$, '22023', 'with a character that no SQLSTATE has'),
	($$bgjob_configure('t_run', retry_on => '{40,ä1}')$$, '22023', 'with a letter that no SQLSTATE has, behind a right one'),
	($$bgjob_configure('t_run', retry_on => '{40,NULL}')$$, '22004', 'with a null'),
	($$bgjob_configure('t_run', no_retry_on => '{400}')$$, '22023', 'no_retry_on with three characters'),
	($$bgjob_configure('t_run', no_retry_on => '{division_by_zero}')$$, '22023', 'with the name of a condition'),
	($$bgjob_configure('t_run', no_retry_on => '{NULL}')$$, '22004', 'with a null'),
	($$bgjob_configure('t_run', on_exhausted => 'explode')$$, '22023', 'a wrong on_exhausted'),
	($$bgjob_configure('t_run', on_exhausted => '')$$, '22023', 'an empty on_exhausted'),
	($$bgjob_configure('t_run', retention => '-1 s')$$, '22023', 'a negative retention'),
	($$bgjob_configure('t_run', retention => '1 day -25 hours')$$, '22023', 'a retention whose sum is negative'),
	($$bgjob_configure('t_run', sequence_key => '')$$, '22023', 'an empty sequence_key'),
	($$bgjob_configure('t_run', limits => '{l=0}')$$, '22023', 'a limit with no units'),
	($$bgjob_configure('t_run', queue => 'right', fairness_key => '{none}')$$, '22023', 'a placeholder of no argument beside a right option'),
	($$bgjob_configure('t_run', queue => 'right', priority => 99999)$$, '22023', 'a right option beside a wrong one'),
	($$bgjob_unconfigure(NULL)$$, '22004', 'unconfigure: a null name');
SELECT matches(tap_error('SELECT ' || call), '^(' || code || ')$', format('%s is refused with %s, message, detail and hint (%s)', what, code, call)) FROM t_wrong ORDER BY n;
SELECT is(bgjob_unconfigure('t_run'), false, 'refused calls leave no configuration');
SELECT bgjob_enqueue('t_run', '["x"]', delay => '1 hour') AS a \gset
SELECT is(tap_job(:a), 'scheduled t_run ["x"] default 0 10', 'refused calls do not affect jobs');
SELECT bgjob_delete(:a) AS x \gset

----------------------------------------------------------------------------------------------------
-- Configurations and their precedence
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('t_run', '["before"]', delay => '1 hour') AS before \gset
SELECT lives_ok($$ SELECT bgjob_configure('t_run', queue => 'mail', priority => 7, max_retries => 3, timeout => '5 min', tags => '{a,b}', parameters => '{"p": 1}') $$, 'bgjob_configure succeeds');
CREATE FUNCTION tap_all(id bigint) RETURNS text LANGUAGE sql AS
	$$ SELECT format('%s %s %s %s %s %s %s', j.queue, j.priority, j.max_retries, j.timeout, j.tags, j.parameters, j.unique_key) FROM bgjob.jobs j WHERE j.id = $1 $$;
SELECT bgjob_enqueue('t_run', '["x"]', delay => '1 hour') AS a \gset
SELECT is(tap_all(:a), 'mail 7 3 00:05:00 {a,b} {"p": 1} ', 'a job of the function has the configured queue, priority, retries, timeout, tags and parameters');
SELECT is(tap_all(:before), 'default 0 10    ', 'a job enqueued before has the defaults');
SELECT bgjob_enqueue('t_run', '["x"]', queue => 'other', priority => -1, max_retries => 0, timeout => '1 hour', tags => '{c}', parameters => '{"p": 2}', delay => '1 hour') AS b \gset
SELECT is(tap_all(:b), 'other -1 0 01:00:00 {c} {"p": 2} ', 'options of the call have precedence');
SELECT bgjob_enqueue('t_run', '["x"]', priority => 0, delay => '1 hour') AS b \gset
SELECT is(tap_all(:b), 'mail 0 3 00:05:00 {a,b} {"p": 1} ', 'each option of the call has precedence, also with the value of the default');
SELECT bgjob_enqueue('public.t_run(text)', '["x"]', delay => '1 hour') AS b \gset
SELECT is(tap_all(:b), 'mail 7 3 00:05:00 {a,b} {"p": 1} ', 'the spelling of the function name does not matter');
SELECT bgjob_enqueue('t_other', '["x"]', delay => '1 hour') AS b \gset
SELECT is(tap_all(:b), 'default 0 10    ', 'another function has the defaults');
SELECT bgjob_enqueue('SELECT t_run(''x'')', kind => 'sql', delay => '1 hour') AS b \gset
SELECT is(tap_all(:b), 'default 0 10    ', 'a command that calls the function has the defaults');
SET ROLE tap13_a;
SELECT bgjob_enqueue('t_run', '["x"]', delay => '1 hour') AS b \gset
RESET ROLE;
SELECT is(tap_all(:b), 'mail 7 3 00:05:00 {a,b} {"p": 1} ', 'jobs of all roles have the configured options');
SELECT is((SELECT array_agg(DISTINCT tap_all(id)) FROM bgjob_enqueue_many('t_run', tap_args('x', 'y'), delay => '1 hour') id), ARRAY['mail 7 3 00:05:00 {a,b} {"p": 1} '], 'jobs of bgjob_enqueue_many have the configured options');
SELECT bgjob_recurring('conf', '@yearly', 't_run', '["x"]');
SELECT bgjob_queue_pause('mail') AS x \gset
SELECT bgjob_recurring_trigger('conf') AS b \gset
SELECT matches(tap_all(:b), '^mail 7 3 00:05:00 \{a,b\} ', 'jobs of recurring jobs have the configured options');
SELECT bgjob_recurring_remove('conf') AS x \gset
CREATE TABLE t_label (label text);
CREATE TRIGGER t AFTER INSERT ON t_label FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('t_run');
INSERT INTO t_label VALUES ('by a trigger');
SELECT is((SELECT tap_all(id) FROM bgjob.jobs WHERE args = '{"label": "by a trigger"}'), 'mail 7 3 00:05:00 {a,b} {"p": 1} ', 'jobs of triggers have the configured options');
DROP TABLE t_label;

-- Not visible to others before commit, and to no session after a rollback.
BEGIN;
SELECT bgjob_configure('t_run', queue => 'rolled');
SELECT bgjob_enqueue('t_run', '["x"]', delay => '1 hour') AS b \gset
SELECT is(tap_all(:b), 'rolled 0 10    ', 'a transaction sees its own configuration');
ROLLBACK;
SELECT bgjob_enqueue('t_run', '["x"]', delay => '1 hour') AS b \gset
SELECT is(tap_all(:b), 'mail 7 3 00:05:00 {a,b} {"p": 1} ', 'after the rollback the old configuration is in force');
BEGIN;
SELECT is(bgjob_unconfigure('t_run'), true, 'the function is unconfigured in a transaction');
SAVEPOINT s;
SELECT bgjob_configure('t_run', queue => 'savepoint');
ROLLBACK TO s;
SELECT bgjob_enqueue('t_run', '["x"]', delay => '1 hour') AS b \gset
SELECT is(tap_all(:b), 'default 0 10    ', 'a configuration in a rolled-back savepoint is not in force');
ROLLBACK;

-- A second call replaces the first one.
SELECT bgjob_configure('t_run', priority => 9, tags => '{z}');
SELECT bgjob_enqueue('t_run', '["x"]', delay => '1 hour') AS b \gset
SELECT is(tap_all(:b), 'default 9 10  {z}  ', 'a second bgjob_configure replaces the whole configuration');
SELECT is(tap_all(:a), 'mail 7 3 00:05:00 {a,b} {"p": 1} ', 'existing jobs keep their options');
SELECT bgjob_configure('t_run');
SELECT bgjob_enqueue('t_run', '["x"]', delay => '1 hour') AS b \gset
SELECT is(tap_all(:b), 'default 0 10    ', 'a bgjob_configure without options removes all options');
SELECT bgjob_configure('public.t_run(text)', priority => 5);
SELECT is(bgjob_unconfigure('t_run'), true, 'bgjob_unconfigure returns true for a configured function, for any spelling of its name');
SELECT is(bgjob_unconfigure('t_run'), false, 'bgjob_unconfigure returns false for one that is not configured');
SELECT bgjob_enqueue('t_run', '["x"]', delay => '1 hour') AS b \gset
SELECT is(tap_all(:b), 'default 0 10    ', 'after bgjob_unconfigure the defaults are in force');
SELECT bgjob_configure('t_over(int)', priority => 1);
SELECT bgjob_configure('t_over(text)', priority => 2);
SELECT bgjob_enqueue('t_over(int)', '[1]', delay => '1 hour') AS a, bgjob_enqueue('t_over(text)', '["x"]', delay => '1 hour') AS b \gset
SELECT is((SELECT array_agg(priority ORDER BY id) FROM bgjob.jobs WHERE id IN (:a, :b)), '{1,2}'::int[], 'overloaded functions are configured separately');
SELECT is(bgjob_unconfigure('t_over(int)'), true, 'overloaded functions are unconfigured separately');
SELECT is(bgjob_unconfigure('t_over(text)'), true, 'the other overloaded function stays configured');
SELECT bgjob_configure('t_proc', queue => 'procs');
SELECT bgjob_enqueue('t_proc', '["proc"]') AS a \gset
SELECT is(bgjob_wait(:a, '60 s'), 'succeeded', 'a configured procedure runs');
SELECT is((SELECT queue FROM bgjob.jobs WHERE id = :a), 'procs', 'the procedure runs in its configured queue');
SELECT bgjob_unconfigure('t_proc') AS x \gset

-- The setting has the lowest precedence.
SET bgjob.max_retries = 4;
SELECT bgjob_enqueue('t_run', '["x"]', delay => '1 hour') AS a \gset
SELECT bgjob_configure('t_run', max_retries => 2);
SELECT bgjob_enqueue('t_run', '["x"]', delay => '1 hour') AS b, bgjob_enqueue('t_run', '["x"]', delay => '1 hour', max_retries => 1) AS c \gset
SELECT is((SELECT array_agg(max_retries ORDER BY id) FROM bgjob.jobs WHERE id IN (:a, :b, :c)), '{4,2,1}'::int[], 'max_retries is that of the call, else of the function, else of the setting');
RESET bgjob.max_retries;
SELECT bgjob_unconfigure('t_run') AS x \gset

-- A configured time limit ends a job.
SELECT bgjob_configure('t_sleep', timeout => '200 ms', max_retries => 0);
SELECT bgjob_enqueue('t_sleep') AS a \gset
SELECT is(bgjob_wait(:a, '60 s'), 'failed', 'a configured timeout is in force');
SELECT is((SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE id = :a), '57014', 'the timed-out job has SQLSTATE 57014');
SELECT bgjob_unconfigure('t_sleep') AS x \gset

----------------------------------------------------------------------------------------------------
-- Keys with placeholders for arguments
----------------------------------------------------------------------------------------------------

CREATE FUNCTION tap_key(id bigint) RETURNS text LANGUAGE sql AS $$ SELECT unique_key FROM bgjob.jobs j WHERE j.id = $1 $$;
SELECT bgjob_configure('t_pair', unique_key => 'pair:{a}');
SELECT bgjob_enqueue('t_pair', '{"a": 7, "b": "x"}', delay => '1 hour') AS a \gset
SELECT is(tap_key(:a), 'pair:7', 'a named argument is inserted into the key');
SELECT is(bgjob_enqueue('t_pair', '[7, "other"]', delay => '1 hour'), :a::bigint, 'a positional argument makes the same key');
SELECT is(bgjob_enqueue('t_pair', '[7]', delay => '1 hour'), :a::bigint, 'other arguments do not change the key');
SELECT bgjob_enqueue('t_pair', '[8]', delay => '1 hour') AS b \gset
SELECT is(tap_key(:b), 'pair:8', 'another value makes another key');
SELECT isnt(:b, :a, 'another key makes another job');
SELECT is((ARRAY(SELECT bgjob_enqueue_many('t_pair', ARRAY['[7]', '{"a": 8}', '[9]', '{"a": 9, "b": "z"}']::jsonb[], delay => '1 hour')))[1:2], ARRAY[:a, :b]::bigint[], 'bgjob_enqueue_many: each element has the key of its arguments');
SELECT is(tap_unfinished('pair:9'), 1::bigint, 'equal keys of the elements make one job');
SELECT is(tap_key(bgjob_enqueue('t_pair', '[7]', unique_key => 'own', delay => '1 hour')), 'own', 'a key of the call replaces the configured one');
SELECT bgjob_configure('t_pair', unique_key => '{b}/{a}/{b}', on_duplicate => 'error');
SELECT bgjob_enqueue('t_pair', '{"a": 7, "b": "with {a} and \"quotes\" ä"}', delay => '1 hour') AS a \gset
SELECT is(tap_key(:a), 'with {a} and "quotes" ä/7/with {a} and "quotes" ä', 'a key may have several placeholders; braces in values are not expanded');
SELECT is(tap_error($$SELECT bgjob_enqueue('t_pair', '[7, "with {a} and \"quotes\" ä"]')$$), '23505', 'the configured on_duplicate is in force');
SELECT is(bgjob_enqueue('t_pair', '[7, "with {a} and \"quotes\" ä"]', on_duplicate => 'replace', delay => '1 hour', priority => 2), :a::bigint, 'on_duplicate of the call has precedence');
SELECT is((SELECT priority FROM bgjob.jobs WHERE id = :a), 2, 'the call with replace replaces the job');
SELECT is(tap_try($$SELECT bgjob_enqueue('t_pair', '[7, "with {a} and \"quotes\" ä"]', on_duplicate => 'skip')$$), :'a', 'the call with skip skips');
SELECT is(tap_error(format($$SELECT bgjob_enqueue('t_pair', '[7, "%s"]')$$, repeat('v', 100000))), '22023', 'a key that becomes too long raises 22023');
SELECT bgjob_configure('t_pair', unique_key => '{{{1}}}:{2}');
SELECT is(tap_key(bgjob_enqueue('t_pair', '{"b": "x", "a": 1}', delay => '1 hour')), '{1}:x', 'placeholders may be numbers; double braces are literal');
SELECT is(tap_key(bgjob_enqueue('t_pair', '[2, null]', delay => '1 hour')), '{2}:null', 'a null argument is null in the key');
SELECT is(tap_key(bgjob_enqueue('t_pair', '[3]', delay => '1 hour')), '{3}:null', 'an omitted argument is null in the key');
SELECT is((SELECT unique_key FROM bgjob.functions WHERE job ~ 't_pair'), '{{{1}}}:{2}', 'bgjob.functions shows the configured key');
-- A placeholder whose argument no longer exists must not give different jobs the same key.
CREATE FUNCTION t_renamed(old int) RETURNS void LANGUAGE sql AS '';
SELECT bgjob_configure('t_renamed', unique_key => 'renamed:{old}');
DROP FUNCTION t_renamed(int);
CREATE FUNCTION t_renamed(new int) RETURNS void LANGUAGE sql AS '';
SELECT ok(tap_try($$SELECT bgjob_enqueue('t_renamed', '[3]', delay => '1 hour')$$) = 'ERROR 22023'
	OR tap_try($$SELECT bgjob_enqueue('t_renamed', '[4]', delay => '1 hour')$$) <> tap_try($$SELECT bgjob_enqueue('t_renamed', '[5]', delay => '1 hour')$$),
	'the name of an argument changes after the function was configured: calls are refused with 22023, or different jobs have different keys');
SELECT bgjob_unconfigure('t_renamed') AS x \gset
-- The row of a trigger.
SELECT bgjob_configure('t_by_id', unique_key => 'row:{id}', on_duplicate => 'skip');
CREATE TRIGGER t AFTER INSERT ON t_row FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('t_by_id', 'columns=id', 'delay=1 hour');
INSERT INTO t_row VALUES (1), (2), (1), (2), (3);
SELECT is((SELECT array_agg(unique_key ORDER BY unique_key) FROM bgjob.jobs WHERE unique_key LIKE 'row:%'), '{row:1,row:2,row:3}'::text[], 'a trigger enqueues one job for each distinct row');
DROP TRIGGER t ON t_row;
SELECT is(bgjob_unconfigure('t_by_id'), true, 'the function of the trigger is unconfigured');
SELECT is(bgjob_unconfigure('t_pair'), true, 'the function with two parameters is unconfigured');
SELECT is(tap_key(bgjob_enqueue('t_pair', '[7]', delay => '1 hour')), NULL, 'jobs of an unconfigured function have no key');
SELECT bgjob_configure('t_run', unique_key => 'fixed', on_duplicate => 'replace');
SELECT bgjob_enqueue('t_run', '["first"]', delay => '1 hour') AS a \gset
SELECT is(bgjob_enqueue('t_run', '["second"]', delay => '1 hour'), :a::bigint, 'a key without placeholders and on_duplicate replace return the waiting job');
SELECT is((SELECT args FROM bgjob.jobs WHERE id = :a), '["second"]', 'the waiting job is replaced');
SELECT bgjob_configure('t_run', on_duplicate => 'error');
SELECT bgjob_enqueue('t_run', '["x"]', unique_key => 'by the call', delay => '1 hour') AS a \gset
SELECT is(tap_error($$SELECT bgjob_enqueue('t_run', '["x"]', unique_key => 'by the call')$$), '23505', 'a configured on_duplicate applies to keys of calls');
SELECT bgjob_unconfigure('t_run') AS x \gset
SELECT count(bgjob_delete(id)) AS n FROM bgjob.jobs WHERE state IN ('scheduled', 'enqueued') \gset
SELECT bgjob_queue_resume('mail') AS x \gset

----------------------------------------------------------------------------------------------------
-- Retries
----------------------------------------------------------------------------------------------------

-- tap_delays lets a job fail until it has failed for good, and returns the delays of its retries in seconds.
CREATE TABLE t_delay (id bigint, n int, seconds numeric);
CREATE PROCEDURE tap_delays(job bigint) LANGUAGE plpgsql AS $$
DECLARE
	stop timestamptz := clock_timestamp() + interval '60 s';
	j record;
	n int := 0;
BEGIN
	LOOP
		SELECT * INTO j FROM bgjob.jobs b WHERE b.id = tap_delays.job;
		IF j.state = 'scheduled' AND j.retries = n + 1 THEN
			n := n + 1;
			INSERT INTO t_delay SELECT j.id, n, extract(epoch FROM j.run_at - s.at) FROM bgjob.job_states s WHERE s.job_id = j.id AND s.state = 'failed' ORDER BY s.seq DESC LIMIT 1;
			PERFORM bgjob_reschedule(j.id, delay => '0');
		END IF;
		COMMIT;
		EXIT WHEN j.state IN ('failed', 'deleted', 'succeeded') OR clock_timestamp() > stop;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
CREATE FUNCTION tap_rounded(id bigint) RETURNS int[] LANGUAGE sql AS $$ SELECT array_agg(round(seconds)::int ORDER BY n) FROM t_delay d WHERE d.id = $1 $$;

SELECT bgjob_enqueue('t_bad', max_retries => 1, delay => '1 hour') AS before \gset
SELECT bgjob_configure('t_bad', max_retries => 5, retry_delays => '{100 s,20 min,3 hours}');
SELECT bgjob_enqueue('t_bad') AS a \gset
CALL tap_delays(:a);
SELECT is(tap_state(:a), 'failed', 'a job with retry_delays fails');
SELECT is(tap_rounded(:a), '{100,1200,10800,10800,10800}'::int[], 'the retries come after these delays, the last of which repeats');
SELECT is((SELECT format('%s of %s', retries, max_retries) FROM bgjob.jobs WHERE id = :a), '5 of 5', 'the job uses all five retries');
SELECT bgjob_requeue(:before) AS x \gset
CALL tap_delays(:before);
SELECT is(tap_state(:before), 'failed', 'a job enqueued before the configuration fails');
SELECT ok((SELECT count(*) = 1 AND bool_and(seconds BETWEEN 14 AND 45) FROM t_delay WHERE id = :before), 'it has its own number of retries and the default delay');
SELECT bgjob_enqueue('t_bad', max_retries => 1, delay => '1 hour') AS after \gset
SELECT bgjob_unconfigure('t_bad') AS x \gset
SELECT bgjob_requeue(:after) AS x \gset
CALL tap_delays(:after);
SELECT is(tap_rounded(:after), '{100}'::int[], 'a job enqueued under the configuration keeps its delays afterwards');
SELECT bgjob_enqueue('t_bad', max_retries => 1) AS a \gset
CALL tap_delays(:a);
SELECT ok((SELECT count(*) = 1 AND bool_and(seconds BETWEEN 14 AND 45) FROM t_delay WHERE id = :a), 'a job enqueued afterwards has the default delay');
-- Short delays run without help.
SELECT bgjob_configure('t_bad', max_retries => 3, retry_delays => '{0,50 ms}');
SELECT bgjob_enqueue('t_bad') AS a, bgjob_enqueue('t_bad', queue => 'g') AS b \gset
SELECT is(ARRAY[bgjob_wait(:a, '60 s'), bgjob_wait(:b, '60 s')], '{failed,failed}'::text[], 'retries without a delay and with a short one happen without help');
SELECT is((SELECT array_agg(retries) FROM bgjob.jobs WHERE id IN (:a, :b)), '{3,3}'::int[], 'both jobs use all three retries');
SELECT is((SELECT count(*) FROM bgjob.job_states WHERE job_id = :a AND state = 'failed'), 4::bigint, 'the history has four failures');
SELECT bgjob_unconfigure('t_bad') AS x \gset

-- Retried errors: configuration, error, number of retries.
CREATE TABLE t_policy (n serial, retry_on text[], no_retry_on text[], code text, retries int, id bigint, ended text);
INSERT INTO t_policy (retry_on, no_retry_on, code, retries) VALUES
	(NULL, NULL, 'P1234', 2),
	('{P1}', NULL, 'P1234', 2),
	('{P1234}', NULL, 'P1234', 2),
	('{P1235}', NULL, 'P1234', 0),
	('{40,08006}', NULL, 'P1234', 0),
	('{40,08006}', NULL, '40001', 2),
	('{40,08006}', NULL, '40P01', 2),
	('{40,08006}', NULL, '08006', 2),
	('{40,08006}', NULL, '08001', 0),
	(NULL, '{22}', '22012', 0),
	(NULL, '{22}', '22P02', 0),
	(NULL, '{22}', 'P1234', 2),
	(NULL, '{22012,23}', '22012', 0),
	(NULL, '{22012,23}', '22003', 2),
	(NULL, '{22012,23}', '23505', 0),
	('{22}', '{22012}', '22012', 0),
	('{22}', '{22012}', '22003', 2),
	('{22}', '{22012}', '23505', 0);
CREATE PROCEDURE tap_policies(in_queue text) LANGUAGE plpgsql AS $$
DECLARE
	p record;
BEGIN
	FOR p IN SELECT * FROM t_policy ORDER BY n LOOP
		PERFORM bgjob_configure('t_bad', max_retries => 2, retry_delays => '{0}', retry_on => p.retry_on, no_retry_on => p.no_retry_on);
		UPDATE t_policy t SET id = bgjob_enqueue('t_bad', jsonb_build_array(p.code), queue => in_queue) WHERE t.n = p.n;
		COMMIT;
	END LOOP;
	PERFORM bgjob_unconfigure('t_bad');
	COMMIT;
	CALL tap_wait_until($w$ SELECT bool_and(j.state = 'failed') FROM t_policy p JOIN bgjob.jobs j USING (id) $w$);
	UPDATE t_policy SET ended = (SELECT format('%s %s %s', state, j.retries, error ->> 'sqlstate') FROM bgjob.jobs j WHERE j.id = t_policy.id);
	COMMIT;
END $$;
CALL tap_policies('default');
SELECT is(ended, format('failed %s %s', retries, code), format('retry_on %s, no_retry_on %s: %s is retried %s times', coalesce(retry_on::text, 'null'), coalesce(no_retry_on::text, 'null'), code, retries))
FROM t_policy ORDER BY n;
SELECT is(tap_states(id), '{enqueued,processing,failed}'::text[], format('retry_on %s, no_retry_on %s: %s ends at its first failure', coalesce(retry_on::text, 'null'), coalesce(no_retry_on::text, 'null'), code))
FROM t_policy WHERE retries = 0 ORDER BY n;
CALL tap_policies('g');
SELECT is(ended, format('failed %s %s', retries, code), format('the same in a group: retry_on %s, no_retry_on %s, %s', coalesce(retry_on::text, 'null'), coalesce(no_retry_on::text, 'null'), code))
FROM t_policy ORDER BY n;
SELECT bgjob_configure('t_sleep', timeout => '100 ms', max_retries => 5, retry_delays => '{0}', no_retry_on => '{57014}');
SELECT bgjob_enqueue('t_sleep') AS a \gset
SELECT is(bgjob_wait(:a, '60 s'), 'failed', 'a timed-out job fails');
SELECT is((SELECT retries FROM bgjob.jobs WHERE id = :a), 0, 'with no_retry_on 57014 a timed-out job is not retried');
SELECT bgjob_unconfigure('t_sleep') AS x \gset

-- on_exhausted.
SELECT bgjob_configure('t_bad', max_retries => 1, retry_delays => '{0}', on_exhausted => 'delete');
SELECT deleted AS deleted_before FROM bgjob.stats \gset
SELECT bgjob_enqueue('t_bad') AS a, bgjob_enqueue('t_bad', max_retries => 0) AS b, bgjob_enqueue('t_bad', queue => 'g', unique_key => 'exhausted') AS c \gset
SELECT is(ARRAY[bgjob_wait(:a, '60 s'), bgjob_wait(:b, '60 s'), bgjob_wait(:c, '60 s')], '{deleted,deleted,deleted}'::text[], 'on_exhausted delete: after its last retry a job is deleted, also in a group');
SELECT is((SELECT array_agg(retries ORDER BY id) FROM bgjob.jobs WHERE id IN (:a, :b, :c)), '{1,0,1}'::int[], 'the retries are used before');
SELECT is((tap_states(:b))[:2], '{enqueued,processing}'::text[], 'the history begins with enqueued, processing');
SELECT is((tap_states(:b))[cardinality(tap_states(:b))], 'deleted', 'the history ends with deleted');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE id IN (:a, :b, :c) AND expires_at IS NOT NULL), 3::bigint, 'the deleted jobs expire');
SELECT is((SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE id = :b), 'P1234', 'the deleted jobs keep their error');
SELECT is((SELECT deleted - :deleted_before FROM bgjob.stats), 3::bigint, 'bgjob.stats counts the jobs as deleted');
SELECT isnt(bgjob_enqueue('t_run', '["x"]', unique_key => 'exhausted', delay => '1 hour'), :c::bigint, 'the key of the deleted job is free');
SELECT bgjob_configure('t_bad', max_retries => 0, on_exhausted => 'fail');
SELECT bgjob_enqueue('t_bad') AS a \gset
SELECT is(bgjob_wait(:a, '60 s'), 'failed', 'on_exhausted fail: the job fails');
SELECT bgjob_unconfigure('t_bad') AS x \gset

-- Retention.
SELECT bgjob_queue('kept', retention => '2 hours');
SELECT bgjob_configure('t_run', retention => '3 hours');
SELECT bgjob_enqueue('t_run', '["function"]') AS a, bgjob_enqueue('t_run', '["function and queue"]', queue => 'kept') AS b, bgjob_enqueue('t_other', '["queue"]', queue => 'kept') AS c,
	bgjob_enqueue('t_other', '["setting"]') AS d, bgjob_enqueue('t_run', '["deleted"]', delay => '1 hour') AS e, bgjob_enqueue('t_run', '["group"]', queue => 'g') AS f \gset
SELECT bgjob_delete(:e) AS x \gset
CALL tap_idle_but_paused();
SELECT is((SELECT array_agg(extract(epoch FROM expires_at - finished_at)::int / 3600 ORDER BY array_position(ARRAY[:a, :b, :c, :d, :e, :f]::bigint[], id)) FROM bgjob.jobs WHERE id IN (:a, :b, :c, :d, :e, :f)),
	'{3,3,2,24,3,3}'::int[], 'retention is that of the function, else of the queue, else of the setting; also in groups and for deleted jobs');
SELECT bgjob_configure('t_run', retention => '1 hour');
SELECT is((SELECT extract(epoch FROM expires_at - finished_at)::int / 3600 FROM bgjob.jobs WHERE id = :a), 3, 'a changed retention applies to later jobs');
SELECT bgjob_configure('t_run', retention => '0');
SELECT bgjob_enqueue('t_run', '["gone"]') AS a \gset
CALL tap_wait_until(format('SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE id = %s)', :a), 120);
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE id = :a), 0::bigint, 'a job with a retention of 0 is removed');
SELECT is((SELECT count(*) FROM t_effect WHERE label = 'gone'), 1::bigint, 'it was removed after it had run');
SELECT bgjob_unconfigure('t_run') AS x, bgjob_queue_remove('kept') AS y \gset

----------------------------------------------------------------------------------------------------
-- DROP EXTENSION removes the configuration
----------------------------------------------------------------------------------------------------

SELECT bgjob_configure('t_run', queue => 'conf', unique_key => 'kept');
SELECT bgjob_enqueue('t_run', '["lost"]', delay => '1 hour') AS a \gset
DROP EXTENSION bgjob CASCADE;
CREATE EXTENSION bgjob;
SELECT bgjob_enqueue('t_other', '["new"]', delay => '1 hour', unique_key => 'kept') AS a \gset
SELECT is(bgjob_enqueue('t_other', '["new"]', unique_key => 'kept'), :a::bigint, 'after DROP and CREATE EXTENSION unique keys work');
SELECT bgjob_enqueue('t_other', '["new"]') AS b \gset
SELECT is(tap_job(:b) ~ ' default 0 10$', true, 'after DROP and CREATE EXTENSION options are the defaults');
SELECT is(bgjob_unconfigure('t_run'), false, 'after DROP and CREATE EXTENSION no function is configured');

\ir lib/check_counters.sql
SELECT * FROM finish();

ALTER SYSTEM RESET bgjob.workers;
SELECT pg_reload_conf() AS reloaded \gset
SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap13_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap13_' \gexec
