-- 22_run.sql
--
-- What this file proves (bgjob_run):
--   * a waiting job is performed in the caller's transaction, and is succeeded there with result, history, log, parameters and
--     statistics; a rollback, also to a savepoint, lets it wait again, and a worker finds it;
--   * an error of the job is raised as it is, and leaves nothing of the job; the same for its timeout and a cancel;
--   * snooze, discard, deletion of itself, filters and start_within have the outcome that they have in a worker;
--   * captured settings hold while the job runs, and the caller's own afterwards, also after an error;
--   * what cannot run there is refused: procedures that commit, VACUUM, jobs that do not wait, calls inside a job or a filter;
--   * the example of the manual for pgTAP runs as it is.
-- (test/security/50_run.pl has roles, races, crashes, standbys, and a server without workers.)
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser.

\ir lib/session.sql

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

\ir lib/wait.sql
\ir lib/errors.sql

SELECT * FROM no_plan();

----------------------------------------------------------------------------------------------------
-- What the jobs of this file do. No worker takes them: their queue is paused.
----------------------------------------------------------------------------------------------------

SELECT bgjob_queue('held', paused => true), bgjob_queue('groups', paused => true, group_size => 10) \g /dev/null

CREATE TABLE t_log (what text);
CREATE FUNCTION t_double(a int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO t_log VALUES (format('double %s', a));
	PERFORM bgjob_log('doubling'), bgjob_progress(50, 'half'), bgjob_set_parameter('a', to_jsonb(a));
	IF a < 0 THEN RAISE division_by_zero USING MESSAGE = 'negative', DETAIL = 'It is ' || a || '.', HINT = 'Use another.'; END IF;
	RETURN 2 * (bgjob_parameter('a'))::int;
END $$;
CREATE FUNCTION t_settings() RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	seen jsonb := jsonb_build_object('zone', current_setting('TimeZone'), 'tenant', current_setting('app.tenant', true), 'mem', current_setting('work_mem'));
BEGIN
	SET work_mem = '77MB';
	SET LOCAL DateStyle = 'German';
	SET ROLE pg_monitor;
	PERFORM set_config('TimeZone', 'Asia/Tokyo', false), set_config('app.tenant', 'of the job', false), set_config('app.new', 'of the job', false);
	IF current_setting('app.fails', true) = 'yes' THEN RAISE 'fails'; END IF;
	RETURN seen;
END $$;
CREATE FUNCTION t_calls(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	INSERT INTO t_log VALUES (call);
	PERFORM bgjob_log('before ' || call);
	EXECUTE call INTO answer;
	RETURN answer;
END $$;
CREATE FUNCTION t_stubborn() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM bgjob_discard('caught');
	RETURN 'not reached';
EXCEPTION WHEN query_canceled THEN RETURN 'goes on';
END $$;
CREATE PROCEDURE t_counts(INOUT n int, commits boolean = false) LANGUAGE plpgsql AS $$
BEGIN
	n := n + 1;
	IF commits THEN COMMIT; END IF;
END $$;
-- t_held enqueues a call for no worker to take; t_of returns a job as one text.
CREATE FUNCTION t_held(call text, delay interval = NULL) RETURNS bigint LANGUAGE sql AS $$ SELECT bgjob_enqueue('t_calls', jsonb_build_array(call), queue => 'held', delay => delay) $$;
CREATE FUNCTION t_of(the_id bigint) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', state, result, retries, (SELECT string_agg(s.state, '-' ORDER BY seq) FROM bgjob.job_states s WHERE s.job_id = the_id), reason) FROM bgjob.jobs WHERE id = the_id $$;
CREATE TABLE letter AS SELECT i AS id, NULL::timestamptz AS sent_at FROM generate_series(1, 10) i;
CREATE FUNCTION send_letter(id int) RETURNS timestamptz LANGUAGE sql AS 'UPDATE letter SET sent_at = clock_timestamp() WHERE letter.id = send_letter.id RETURNING sent_at';

----------------------------------------------------------------------------------------------------
-- Success
----------------------------------------------------------------------------------------------------

BEGIN;
SELECT bgjob_enqueue('t_double', '[21]') AS id \gset
SELECT is(bgjob_run(:id), '42', 'a job of this transaction returns its result');
SELECT is(t_of(:id), 'succeeded 42 0 enqueued-processing-succeeded', 'it is succeeded, with its history');
SELECT is(bgjob_result(:id), '42', 'bgjob_result() has the result');
SELECT is((SELECT concat_ws(' ', progress, progress_message, parameters) FROM bgjob.jobs WHERE id = :id), '50 half {"a": 21}', 'progress and parameters are kept');
SELECT is((SELECT string_agg(message, ' ') FROM bgjob.job_logs WHERE job_id = :id), 'doubling', 'so is the log');
SELECT is((SELECT (data ->> 'worker_pid')::int FROM bgjob.job_states WHERE job_id = :id AND state = 'processing'), pg_backend_pid(), 'the history has the process');
SELECT is(bgjob_current_id(), NULL, 'afterwards, the session is at no job');
SELECT is(tap_try(format('SELECT bgjob_run(%s)', :id)), 'ERROR 55000', 'it does not wait any more');
ROLLBACK;
SELECT is((SELECT count(*) FROM t_log) + (SELECT count(*) FROM bgjob.jobs WHERE id = :id), 0::bigint, 'a rollback takes all of it back');

BEGIN;
SELECT bgjob_enqueue('t_double', '[4]', tags => '{counted}') AS id \gset
SELECT bgjob_run(:id) \g /dev/null
COMMIT;
SELECT is((SELECT concat_ws(' ', jobs, attempts, failures) FROM bgjob.function_stats WHERE job = 't_double(integer)' OR job = 'public.t_double(integer)'), '1 1 0', 'the statistics have what was committed, and nothing else');
SELECT is(bgjob_wait(:id, '0'), 'succeeded', 'bgjob_wait() knows it');

-- A committed job: rolled back, rolled back to a savepoint, performed.
SELECT bgjob_enqueue('t_double', '[5]', queue => 'held', unique_key => 'five') AS id \gset
TRUNCATE t_log;
BEGIN;
SELECT bgjob_run(:id) \g /dev/null
ROLLBACK;
SELECT is(t_of(:id), 'enqueued 0 enqueued queue paused', 'after a rollback the job waits');
BEGIN;
SAVEPOINT s;
SELECT bgjob_run(:id) \g /dev/null
ROLLBACK TO s;
SELECT is(t_of(:id), 'enqueued 0 enqueued queue paused', 'after a rollback to a savepoint as well');
SELECT is(bgjob_run(:id), '10', 'and is performed again');
COMMIT;
SELECT is(t_of(:id), 'succeeded 10 0 enqueued-processing-succeeded', 'the commit keeps it');
SELECT isnt(bgjob_enqueue('t_double', '[6]', queue => 'held', unique_key => 'five', on_duplicate => 'error'), :id::bigint, 'its unique_key is free');
SELECT is((SELECT count(*) FROM t_log), 1::bigint, 'its effects are there once');

-- A worker finds a job that was taken and given back.
SELECT bgjob_queue_pause('found') \g /dev/null
CALL tap_wait_stopped('found');
SELECT bgjob_enqueue('SELECT 7', kind => 'sql', queue => 'found') AS id \gset
BEGIN;
SELECT is(bgjob_run(:id), '[{"?column?": 7}]', 'a command returns its rows');
ROLLBACK;
SELECT bgjob_queue_resume('found') \g /dev/null
SELECT is(bgjob_wait(:id, '60 s'), 'succeeded', 'a worker performs it after the rollback');

-- A scheduled job; in a group's queue; a set, a domain, 10 MB.
SELECT bgjob_enqueue('t_double', '[8]', delay => '1 year', queue => 'held') AS id \gset
BEGIN;
SELECT is(bgjob_run(:id), '16', 'a scheduled job is performed now');
SELECT is(t_of(:id), 'succeeded 16 0 scheduled-enqueued-processing-succeeded', 'it became due');
SELECT is((SELECT reason FROM bgjob.job_states WHERE job_id = :id AND state = 'enqueued'), 'Run by bgjob_run()', 'its history says why');
ROLLBACK;
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :id), 'scheduled', 'after a rollback it is scheduled');
SELECT is(bgjob_run(:id), '16', 'and is performed again');
SELECT is(bgjob_run(bgjob_enqueue('generate_series(int, int)', '[1, 3]', queue => 'groups')), '[1, 2, 3]', 'a set, in a queue with groups');
SELECT is(bgjob_run(bgjob_enqueue('length(text)', jsonb_build_array(repeat('x', 10000000)), queue => 'held')), '10000000', 'an argument of 10 MB');
SELECT is(length(bgjob_run(bgjob_enqueue('repeat', '["x", 10000000]', queue => 'held'))::text), 10000002, 'a result of 10 MB');
SELECT is(bgjob_run(NULL), NULL, 'no id, no result');

-- Many, by one statement, each with a log.
SELECT count(*) AS n FROM bgjob_enqueue_many('t_double', (SELECT array_agg(to_jsonb(ARRAY[i])) FROM generate_series(1, 1000) i), queue => 'held', tags => '{many}') \gset
SELECT is((SELECT sum(bgjob_run(id)::int) FROM (SELECT id FROM bgjob.jobs WHERE tags = '{many}' ORDER BY id) x), 1001000::bigint, 'a thousand jobs in one statement');
SELECT is((SELECT count(*) FROM bgjob.jobs JOIN bgjob.job_logs ON job_id = id WHERE tags = '{many}' AND state = 'succeeded'), 1000::bigint, 'all have succeeded, and logged');

-- The log is bounded as in a worker.
SELECT bgjob_run(t_held($$SELECT count(*) FROM (SELECT bgjob_log(repeat('é', 500000)) FROM generate_series(1, 10)) x$$)) \g /dev/null
SELECT is((SELECT concat_ws(' ', count(*), sum(octet_length(message)) BETWEEN 2000000 AND 2200000, max(message) FILTER (WHERE level = 'warning'))
	FROM bgjob.job_logs WHERE job_id = (SELECT max(id) FROM bgjob.jobs)), '5 t more was logged than is kept; the rest is left out', 'a job logs 2 MB and no more');

----------------------------------------------------------------------------------------------------
-- Errors
----------------------------------------------------------------------------------------------------

TRUNCATE t_log;
SELECT bgjob_enqueue('t_double', '[-1]', queue => 'held') AS id \gset
CREATE FUNCTION t_caught(job bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m text; d text; h text; c text;
BEGIN
	PERFORM bgjob_run(job);
	RETURN 'no error';
EXCEPTION WHEN OTHERS OR query_canceled THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT, c = PG_EXCEPTION_CONTEXT;
	RETURN concat_ws('|', SQLSTATE, m, d, h, substring(c FROM 'bgjob job .*bgjob_run\(\)'));
END $$;
SELECT is(t_caught(:id), format('22012|negative|It is -1.|Use another.|bgjob job %s (t_double), performed by bgjob_run()', :id), 'the error is the job''s, and its context names the job');
SELECT is(t_of(:id), 'enqueued 0 enqueued queue paused', 'no retry is used, and the job waits');
SELECT is((SELECT count(*) FROM t_log) + (SELECT count(*) FROM bgjob.job_logs WHERE job_id = :id), 0::bigint, 'nothing remains of it');
SELECT is(bgjob_current_id(), NULL, 'nor is the session at a job');
SELECT is(bgjob_run(bgjob_enqueue('t_double', '[1]', queue => 'held')), '2', 'the next job runs');
BEGIN;
SELECT tap_try('SELECT bgjob_run((SELECT max(id) FROM bgjob.jobs WHERE state = ''enqueued''))') \g /dev/null
COMMIT;
SELECT is(t_of(:id), 'enqueued 0 enqueued queue paused', 'the same where the caller handles the error and commits');
SELECT is(t_caught(bgjob_enqueue('SELECT no_such', kind => 'sql', queue => 'held')) ~ '^42703\|column "no_such" does not exist', true, 'an error of a command');
SELECT is(t_caught(bgjob_enqueue('SELECT pg_sleep(60)', kind => 'sql', queue => 'held', timeout => '20 ms')) ~ '^57014\|canceling job due to its timeout of 20 ms', true, 'the timeout of a job');
SET statement_timeout = '50 ms';
SELECT is(t_caught(bgjob_enqueue('SELECT pg_sleep(60)', kind => 'sql', queue => 'held')) ~ '^57014\|canceling statement due to statement timeout', true, 'the timeout of the statement');
RESET statement_timeout;
SELECT is(bgjob_run(bgjob_enqueue('t_double', '[1]', queue => 'held', timeout => '1 hour')), '2', 'a job that keeps its time');

----------------------------------------------------------------------------------------------------
-- Settings
----------------------------------------------------------------------------------------------------

SET TimeZone = 'Europe/Berlin';
SET app.tenant = 'of the caller';
SELECT bgjob_enqueue('t_settings', queue => 'held') AS id \gset
SET TimeZone = 'UTC';
SET app.tenant = 'later';
SET work_mem = '33MB';
SELECT is(bgjob_run(:id), '{"zone": "Europe/Berlin", "tenant": "of the caller", "mem": "33MB"}', 'captured settings hold in the job; others are those of the session');
SELECT is(concat_ws(' ', current_setting('TimeZone'), current_setting('app.tenant'), current_setting('work_mem'), current_setting('DateStyle'), current_setting('app.new'), current_user),
	'UTC later 33MB ISO, MDY  postgres', 'the session has its own settings again');
SET app.fails = 'yes';
SELECT bgjob_enqueue('t_settings', queue => 'held') AS id \gset
SELECT is(tap_try(format('SELECT bgjob_run(%s)', :id)), 'ERROR P0001', 'the job fails');
SELECT is(concat_ws(' ', current_setting('TimeZone'), current_setting('app.tenant'), current_setting('work_mem'), current_setting('DateStyle'), current_setting('app.new'), current_user),
	'UTC later 33MB ISO, MDY  postgres', 'also after an error');
BEGIN;
SET LOCAL app.tenant = 'local';
SELECT bgjob_run(bgjob_enqueue('t_double', '[1]')) \g /dev/null
SELECT is(current_setting('app.tenant'), 'local', 'SET LOCAL of the caller stays');
ROLLBACK;
RESET app.fails;
RESET app.tenant;
RESET work_mem;
RESET TimeZone;

----------------------------------------------------------------------------------------------------
-- Attempts that end in another way than by success
----------------------------------------------------------------------------------------------------

TRUNCATE t_log;
SELECT t_held($$SELECT bgjob_snooze('1 hour')$$) AS snoozes, t_held($$SELECT bgjob_discard('no use')$$) AS discards, t_held('SELECT bgjob_delete(bgjob_current_id())') AS deletes,
	t_held('SELECT bgjob_requeue(bgjob_current_id())') AS requeues, t_held($$SELECT bgjob_reschedule(bgjob_current_id(), delay => '1 day')$$) AS reschedules,
	t_held($$SELECT bgjob_delete(bgjob_current_id(), 'enqueued')$$) AS keeps, bgjob_enqueue('t_stubborn', queue => 'held') AS stubborn \gset
SELECT is(bgjob_run(:snoozes), NULL, 'a job that snoozes has no result');
SELECT is(t_of(:snoozes), 'scheduled 0 enqueued-processing-scheduled Snoozed for 01:00:00', 'it is scheduled');
SELECT is((SELECT string_agg(message, ' ') FROM bgjob.job_logs WHERE job_id = :snoozes), 'before SELECT bgjob_snooze(''1 hour'')', 'its log is kept');
SELECT is(bgjob_run(:snoozes), NULL, 'it snoozes again');
SELECT is((SELECT count(*) FROM bgjob.job_logs WHERE job_id = :snoozes), 2::bigint, 'and logs again');
SELECT bgjob_run(:discards), bgjob_run(:deletes), bgjob_run(:requeues), bgjob_run(:reschedules), bgjob_run(:stubborn) \g /dev/null
SELECT is(t_of(:discards), 'deleted 0 enqueued-processing-deleted no use', 'a job that discards itself');
SELECT is(t_of(:deletes), 'deleted 0 enqueued-processing-deleted Deleted while it was performed', 'a job that deletes itself');
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :requeues), 'enqueued', 'a job that requeues itself');
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :reschedules), 'scheduled', 'a job that reschedules itself');
SELECT is(t_of(:stubborn), 'deleted 0 enqueued-processing-deleted caught', 'a job that catches the error of its discard ends all the same');
SELECT is(bgjob_run(:keeps), '"false"', 'it is processing for its own code');
SELECT is(bgjob_run(t_held('SELECT bgjob_change(bgjob_current_id(), priority => 5)')), '"false"', 'and so does not wait');
SELECT is((SELECT string_agg(what, ', ') FROM t_log), 'SELECT bgjob_delete(bgjob_current_id(), ''enqueued''), SELECT bgjob_change(bgjob_current_id(), priority => 5)', 'the effects of the others are rolled back');
BEGIN;
SELECT bgjob_run(:requeues) \g /dev/null
ROLLBACK;
SELECT is(tap_try(format('SELECT bgjob_run(%s)', t_held('SELECT bgjob_cancel_requested()'))), '"false"', 'no cancel is requested');
-- The job takes its own key over: that is no attempt's end.
SELECT is(tap_try(format('SELECT bgjob_run(%s)', bgjob_enqueue('t_calls', jsonb_build_array($$SELECT bgjob_enqueue('t_double', '[1]', unique_key => 'own', on_duplicate => 'replace')$$), queue => 'held', unique_key => 'own'))),
	'ERROR 55000', 'a job that replaces itself is refused');
SELECT is((SELECT state FROM bgjob.jobs WHERE unique_key = 'own'), 'enqueued', 'and waits as before');

-- start_within
BEGIN;
SELECT bgjob_enqueue('t_double', '[1]', queue => 'held', start_within => '1 ms') AS id \gset
SELECT pg_sleep(0.01) \g /dev/null
SELECT is(bgjob_run(:id), NULL, 'a job that has expired is not performed');
SELECT is((SELECT state || ' ' || reason FROM bgjob.jobs WHERE id = :id), 'deleted Expired', 'but deleted');
ROLLBACK;

-- Filters
CREATE FUNCTION t_filter(context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	IF context ->> 'event' = 'performing' AND context #>> '{args,0}' = '99' THEN RETURN '{"cancel": "not this one"}'; END IF;
	IF context ->> 'event' = 'performing' AND context #>> '{args,0}' = '98' THEN PERFORM public.bgjob_run(public.bgjob_enqueue('public.t_double', '[1]')); END IF;
	IF context ->> 'event' = 'electing' AND context ->> 'state' = 'succeeded' AND context #>> '{args,0}' = '97' THEN RETURN '{"state": "scheduled", "delay": "1 hour"}'; END IF;
	INSERT INTO public.t_log VALUES (concat_ws(' ', context ->> 'event', context ->> 'from', context ->> 'state'));
	RETURN NULL;
END $$;
SELECT bgjob_filter('seen ' || e, e, 't_filter', jobs => 't_double') FROM unnest('{performing,performed,electing,applied}'::text[]) e \g /dev/null
TRUNCATE t_log;
BEGIN;
SELECT bgjob_enqueue('t_double', '[1]', queue => 'held') AS id \gset
TRUNCATE t_log;
SELECT is(bgjob_run(:id), '2', 'a job with filters');
SELECT is((SELECT string_agg(what, ', ') FROM t_log), 'electing enqueued processing, applied enqueued processing, performing processing, double 1, performed processing, electing processing succeeded, applied processing succeeded', 'they are called as in a worker');
SELECT is(bgjob_run(bgjob_enqueue('t_double', '[99]')), NULL, 'a filter cancels a job');
SELECT is((SELECT state || ' ' || reason FROM bgjob.jobs WHERE args = '[99]' AND tags IS NULL AND job = 't_double'), 'deleted not this one', 'which is deleted');
SELECT is(bgjob_run(bgjob_enqueue('t_double', '[97]')), NULL, 'a filter wants another state');
SELECT is((SELECT state FROM bgjob.jobs WHERE args = '[97]' AND tags IS NULL AND job = 't_double'), 'scheduled', 'which the job gets');
SELECT is(tap_try($$SELECT bgjob_run(bgjob_enqueue('t_double', '[98]'))$$), 'ERROR 0A000', 'a filter performs no job');
ROLLBACK;
SELECT bgjob_filter_remove('seen ' || e) FROM unnest('{performing,performed,electing,applied}'::text[]) e \g /dev/null

----------------------------------------------------------------------------------------------------
-- What runs there, and what does not
----------------------------------------------------------------------------------------------------

SELECT is(bgjob_run(bgjob_enqueue('t_counts', '[1]', queue => 'held')), '{"n": 2}', 'a procedure that does not commit');
SELECT is(tap_error($$SELECT bgjob_run(bgjob_enqueue('t_counts', '[1, true]', queue => 'held'))$$), '0A000', 'a procedure that commits');
SELECT is(tap_error($$SELECT bgjob_run(bgjob_enqueue('VACUUM t_log', kind => 'sql', queue => 'held'))$$), '0A000', 'VACUUM');
SELECT is(tap_error($$SELECT bgjob_run(bgjob_enqueue('CREATE INDEX CONCURRENTLY ON t_log (what)', kind => 'sql', queue => 'held'))$$), '0A000', 'CREATE INDEX CONCURRENTLY');
SELECT is(tap_error($$SELECT bgjob_run(bgjob_enqueue('DO $x$BEGIN COMMIT; END$x$', kind => 'sql', queue => 'held'))$$), '0A000', 'a block that commits');
SELECT is(tap_try($$SELECT bgjob_run(bgjob_enqueue('CREATE TABLE t_made (a int)', kind => 'sql', queue => 'held'))$$), 'NULL', 'DDL');
SELECT is(tap_try($$SELECT bgjob_run(bgjob_enqueue('INSERT INTO t_made VALUES ($1) RETURNING a', '[5]', kind => 'sql', queue => 'held'))$$), '[{"a": 5}]', 'a command with parameters');
SELECT is(tap_error(format('SELECT bgjob_run(%s)', t_held('SELECT bgjob_run(1)'))), '0A000', 'inside a job of the session');
SELECT bgjob_enqueue('SELECT bgjob_run(1)', kind => 'sql', max_retries => 0) AS id \gset
SELECT is(bgjob_wait(:id, '60 s'), 'failed', 'inside a job of a worker');
SELECT is(error ->> 'sqlstate', '0A000', 'which fails with that') FROM bgjob.jobs WHERE id = :id;
SELECT is(tap_error('SELECT bgjob_run(0)'), '22023', 'a job that is not there');
SELECT is(tap_error(format('SELECT bgjob_run(%s)', :id)), '55000', 'a failed job');
BEGIN READ ONLY;
SELECT is(tap_try('SELECT bgjob_run(1)'), 'ERROR 25006', 'a read-only transaction');
ROLLBACK;
CREATE FUNCTION t_indexed(a int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT 1 FROM (SELECT public.bgjob_run(1)) x $$;
SELECT is(tap_try('CREATE INDEX ON letter (t_indexed(id))'), 'ERROR 42501', 'within a security-restricted operation');
CREATE FUNCTION t_gone() RETURNS int LANGUAGE sql AS 'SELECT 1';
SELECT bgjob_enqueue('t_gone', queue => 'held') AS id \gset
DROP FUNCTION t_gone;
SELECT is(tap_error(format('SELECT bgjob_run(%s)', :id)), '42883', 'a function that was dropped');
CREATE FUNCTION t_gone() RETURNS text LANGUAGE sql AS $$ SELECT 'replaced' $$;
SELECT is(bgjob_run(:id), '"replaced"', 'a function that was replaced');
SELECT bgjob_recurring('r', '@yearly', 't_double', '[3]', queue => 'held') \g /dev/null
SELECT is(bgjob_run(bgjob_recurring_trigger('r')), '6', 'the job of a recurring one');
SELECT is((SELECT last_state FROM bgjob.recurring_jobs WHERE name = 'r'), 'succeeded', 'which knows how it ended');
SELECT bgjob_recurring_remove('r') \g /dev/null

-- In each isolation level; a cursor of the caller stays open, one of the job as well.
BEGIN ISOLATION LEVEL SERIALIZABLE;
DECLARE c CURSOR FOR SELECT generate_series(1, 3);
SELECT is(bgjob_run(t_held('SELECT 1')), '"1"', 'in a serializable transaction');
SELECT is(bgjob_run(bgjob_enqueue('DECLARE d CURSOR FOR SELECT 2 AS two', kind => 'sql')), NULL, 'a job that opens a cursor');
FETCH c \gset
FETCH d \gset
SELECT is(ARRAY[:generate_series, :two]::text, '{1,2}', 'the cursors of the caller and of the job are open');
COMMIT;

-- Deferred constraints are the caller's.
CREATE TABLE t_parent (id int PRIMARY KEY);
CREATE TABLE t_child (id int REFERENCES t_parent DEFERRABLE INITIALLY DEFERRED);
BEGIN;
SELECT bgjob_run(bgjob_enqueue('INSERT INTO t_child VALUES (1)', kind => 'sql')) \g /dev/null
SELECT is(tap_try('SET CONSTRAINTS ALL IMMEDIATE'), 'ERROR 23503', 'a deferred constraint is checked when the caller wants it');
ROLLBACK;

-- A continuation is released at the commit.
SELECT bgjob_enqueue('t_double', '[40]', queue => 'held') AS first \gset
SELECT bgjob_enqueue('t_double', '[41]', queue => 'held', after => ARRAY[:first]) AS second \gset
SELECT is(tap_try(format('SELECT bgjob_run(%s)', :second)), 'ERROR 55000', 'a job that awaits another does not run');
SELECT is(bgjob_run(:first), '80', 'the other one does');
SELECT is(bgjob_run(:second), '82', 'and releases its continuation at the commit');

-- At the commit, by a deferred trigger; and in a loop that commits.
CREATE TABLE t_late (a int);
CREATE FUNCTION t_runs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM bgjob_run(bgjob_enqueue('t_double', jsonb_build_array(NEW.a), queue => 'held', tags => '{late}')); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER t_late AFTER INSERT ON t_late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION t_runs();
INSERT INTO t_late VALUES (11), (12);
SELECT is((SELECT string_agg(state || result, ' ' ORDER BY id) FROM bgjob.jobs WHERE tags = '{late}'), 'succeeded22 succeeded24', 'a deferred trigger performs jobs at the commit');
DO $$
DECLARE
	job bigint;
BEGIN
	FOR job IN SELECT bgjob_enqueue('t_double', jsonb_build_array(i), queue => 'held', tags => '{loop}') FROM generate_series(1, 20) i LOOP
		PERFORM bgjob_run(job);
		IF job % 3 = 0 THEN COMMIT; END IF;
	END LOOP;
END $$;
SELECT is((SELECT string_agg(DISTINCT state, ' ') || sum(result::int) FROM bgjob.jobs WHERE tags = '{loop}'), 'succeeded420', 'a loop performs jobs, and commits in between');

-- Two-phase commit is not for every server.
SELECT current_setting('max_prepared_transactions')::int > 0 AS two_phase \gset
\if :two_phase
SELECT bgjob_enqueue('t_double', '[30]', queue => 'held') AS id \gset
BEGIN;
SELECT bgjob_run(:id) \g /dev/null
PREPARE TRANSACTION 'tap22';
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :id), 'enqueued', 'a prepared transaction has the job');
SELECT is(tap_try(format('SELECT bgjob_run(%s)', :id)), 'ERROR 55000', 'which no other session performs');
COMMIT PREPARED 'tap22';
SELECT is(t_of(:id), 'succeeded 60 0 enqueued-processing-succeeded', 'and commits it');
\endif

----------------------------------------------------------------------------------------------------
-- The example of the manual, unchanged
----------------------------------------------------------------------------------------------------

BEGIN;
SELECT bgjob_enqueue('send_letter', '[7]') AS id \gset
SELECT isnt(bgjob_run(:id), NULL, 'the job returns when the letter was sent');
SELECT ok(EXISTS (SELECT FROM letter WHERE letter.id = 7 AND sent_at IS NOT NULL), 'the letter is sent');
SELECT is(state, 'succeeded', 'the job has succeeded') FROM bgjob.jobs WHERE id = :id;
SELECT bgjob_enqueue('SELECT 1 / 0', kind => 'sql') AS id \gset
SELECT throws_ok(format('SELECT bgjob_run(%s)', :id), '22012', NULL, 'a job that fails raises its error');
SELECT is(state, 'enqueued', 'and waits as before') FROM bgjob.jobs WHERE id = :id;
COMMIT;
SELECT bgjob_delete(id) FROM bgjob.jobs WHERE job = 'SELECT 1 / 0' \g /dev/null

SELECT bgjob_delete(id) FROM bgjob.jobs WHERE state = 'enqueued' \g /dev/null
\ir lib/check_counters.sql
SELECT * FROM finish();
