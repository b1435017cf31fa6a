-- 10_groups.sql
--
-- What this file proves (doc/manual.md, "Groups"):
--   * in a queue with a group_size several jobs are performed in one transaction; each has its effects exactly once
--     or not at all, its own result, error, history and settings, and they keep their order;
--   * a job that fails, also at the commit, exceeds its time limit or is deleted while it runs takes no other with it;
--   * nothing of one job's session is found by the next one of its group;
--   * procedures, commands that may not be in a transaction and jobs under repeatable read work in such a queue:
--     every job ends as it does in a queue without groups;
--   * jobs that control, enqueue and wait for others; locks, and deadlocks that only groups can have.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser; needs dblink for sessions beside this one.
-- It changes bgjob.workers with ALTER SYSTEM and resets it at its end: do not run it beside other files.

\set QUIET 1
\pset format unaligned
\pset tuples_only true
\pset pager off
SET client_min_messages = warning;

-- Set before the extension is there, so that the database's scheduler starts with it.
ALTER SYSTEM SET bgjob.workers = 1;
SELECT pg_reload_conf() AS reloaded \gset

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;
CREATE EXTENSION dblink;

SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap10_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap10_' \gexec
CREATE ROLE tap10_plain LOGIN;
CREATE ROLE tap10_repeatable LOGIN;
ALTER ROLE tap10_repeatable SET default_transaction_isolation = 'repeatable read';
CREATE ROLE tap10_serializable LOGIN;
ALTER ROLE tap10_serializable SET default_transaction_isolation = 'serializable';
GRANT USAGE ON SCHEMA bgjob TO tap10_plain, tap10_repeatable, tap10_serializable;

----------------------------------------------------------------------------------------------------
-- Helpers
----------------------------------------------------------------------------------------------------

-- tap_wait_until sleeps until a query returns true, or the deadline (seconds) has passed. It commits
-- between looks, so that neither a snapshot nor statistics of an earlier look are seen again.
CREATE PROCEDURE tap_wait_until(condition text, deadline float8 = 60) LANGUAGE plpgsql AS $$
DECLARE
	stop timestamptz := clock_timestamp() + make_interval(secs => deadline);
	met boolean;
BEGIN
	LOOP
		EXECUTE condition INTO met;
		COMMIT;
		EXIT WHEN met OR clock_timestamp() >= stop;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;

-- tap_wait_setting waits until jobs run under a setting: a session sees a reload only between its own commands,
-- so the worker is asked.
CREATE PROCEDURE tap_wait_setting(name text, wanted text) LANGUAGE plpgsql AS $$
DECLARE
	stop timestamptz := clock_timestamp() + interval '60 s';
	probe bigint;
BEGIN
	LOOP
		probe := bgjob_enqueue('pg_catalog.current_setting(text)', jsonb_build_array(name));
		COMMIT;
		PERFORM bgjob_wait(probe, '5 s');
		COMMIT;
		EXIT WHEN bgjob_result(probe) = to_jsonb(wanted) OR clock_timestamp() >= stop;
	END LOOP;
END $$;

-- Nothing waits and nothing runs, but for what is scheduled.
CREATE PROCEDURE tap_idle(deadline float8 = 60) LANGUAGE plpgsql AS $$
BEGIN
	CALL tap_wait_until('SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE state IN (''enqueued'', ''processing''))', deadline);
END $$;
CREATE FUNCTION tap_state(id bigint) RETURNS text LANGUAGE sql AS
	$$ SELECT j.state FROM bgjob.jobs j WHERE j.id = $1 $$;
CREATE FUNCTION tap_states(id bigint) RETURNS text[] LANGUAGE sql AS
	$$ SELECT array_agg(s.state ORDER BY s.seq) FROM bgjob.job_states s WHERE s.job_id = $1 $$;
CREATE FUNCTION tap_count(queue text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(state || ' ' || n, ', ' ORDER BY state) FROM (
		SELECT state, count(*) AS n FROM bgjob.jobs j WHERE j.queue = $1 GROUP BY 1) x $$;

-- tap_elsewhere runs a query in a session of its own, which commits at once, and returns its value, or 'ERROR …'.
-- It gives up after five seconds: what the session waits for may be the caller.
CREATE FUNCTION tap_elsewhere(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	name text := format('elsewhere %s', pg_backend_pid());
	answer text;
BEGIN
	PERFORM public.dblink_connect(name, format('dbname=%s host=%s port=%s user=%s options=''-c statement_timeout=5s''', current_database(),
		split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), session_user));
	BEGIN
		SELECT * FROM public.dblink(name, query) AS d (a text) INTO answer;
	EXCEPTION WHEN OTHERS OR query_canceled THEN
		answer := 'ERROR ' || SQLSTATE;
	END;
	PERFORM public.dblink_disconnect(name);
	RETURN answer;
END $$;

----------------------------------------------------------------------------------------------------
-- What the jobs of this file call
----------------------------------------------------------------------------------------------------

-- xid is that of the whole transaction, not of the job's part of it: jobs with the same one were in one group.
CREATE TABLE t_ran (n serial, label text, job bigint DEFAULT bgjob_current_id(), xid text DEFAULT pg_current_xact_id()::text,
	began timestamptz DEFAULT now(), at timestamptz DEFAULT clock_timestamp());
CREATE INDEX t_ran_label ON t_ran (label);
GRANT INSERT, SELECT ON t_ran TO PUBLIC;
GRANT USAGE ON SEQUENCE t_ran_n_seq TO PUBLIC;
CREATE FUNCTION t_run(label text) RETURNS text LANGUAGE sql AS $$ INSERT INTO public.t_ran (label) VALUES (label) RETURNING label $$;
CREATE FUNCTION t_read(label text) RETURNS text LANGUAGE sql AS $$ SELECT label || '/' || pg_current_xact_id() $$;
CREATE FUNCTION t_slow(label text, seconds float8) RETURNS void LANGUAGE plpgsql AS
	$$ BEGIN INSERT INTO t_ran (label) VALUES (label); PERFORM pg_sleep(seconds); END $$;
CREATE FUNCTION t_bad(label text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO t_ran (label) VALUES (label);
	RAISE EXCEPTION 'broken: %', label USING ERRCODE = 'P1234', DETAIL = 'detail of ' || label, HINT = 'hint of ' || label;
END $$;
-- Goes on when this session lets go of the lock.
CREATE FUNCTION t_block(label text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO t_ran (label) VALUES (label);
	SELECT pg_advisory_lock_shared(1010); SELECT pg_advisory_unlock_shared(1010) $$;
CREATE PROCEDURE t_committing(label text) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO t_ran (label) VALUES (label || ' a');
	COMMIT;
	INSERT INTO t_ran (label) VALUES (label || ' b');
END $$;
CREATE FUNCTION t_order() RETURNS text[] LANGUAGE sql AS $$ SELECT array_agg(label ORDER BY n) FROM t_ran $$;
CREATE FUNCTION t_labels(prefix text, lo int, hi int) RETURNS jsonb[] LANGUAGE sql AS
	$$ SELECT ARRAY(SELECT jsonb_build_array(prefix || i) FROM generate_series(lo, hi) i) $$;
-- How often each label of a prefix is there: '1' if each is there once.
CREATE FUNCTION t_times(prefix text, OUT labels bigint, OUT often text) LANGUAGE sql AS $$
	SELECT count(*), string_agg(DISTINCT n::text, ',') FROM (SELECT count(*) AS n FROM t_ran WHERE label LIKE prefix || '%' GROUP BY label) x $$;

SELECT * FROM no_plan();

CALL tap_wait_setting('bgjob.workers', '1');
CALL tap_wait_until('SELECT count(*) = 1 FROM bgjob.workers');
SELECT is((SELECT count(*) FROM bgjob.workers), 1::bigint, 'there is one worker');
SELECT bgjob_queue('g', group_size => 100);
SELECT bgjob_queue('single', group_size => 1);

----------------------------------------------------------------------------------------------------
-- Jobs that enqueue and control others
----------------------------------------------------------------------------------------------------

CREATE FUNCTION t_parent_job(label text, fails boolean = false) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	child bigint;
BEGIN
	INSERT INTO t_ran (label) VALUES (label);
	child := bgjob_enqueue('t_run', jsonb_build_array('child of ' || label), queue => 'g');
	IF fails THEN
		RAISE EXCEPTION 'no children';
	END IF;
	RETURN child;
END $$;
SELECT count(*) AS n FROM generate_series(1, 100) i, LATERAL bgjob_enqueue('t_parent_job', jsonb_build_array('parent' || i, i % 4 = 0), queue => 'g', max_retries => 0) \gset
CALL tap_idle();
SELECT is(t_times('parent')::text, '(75,1)', 'jobs of groups enqueue others');
SELECT is(t_times('child')::text, '(75,1)', 'which run once each, and none is there of those that failed');
SELECT is((SELECT count(*) FROM bgjob.jobs p JOIN bgjob.jobs c ON c.id = p.result::bigint WHERE p.job ~ 't_parent_job' AND c.args ->> 0 = 'child of ' || (p.args ->> 0)), 75::bigint,
	'the id that they got is that of their job');
TRUNCATE t_ran RESTART IDENTITY;

-- Something that happens to the other jobs of a group while it is going, by a session elsewhere or by a job of it. In the
-- query %1$s is the job before, %2$s the one after it, %3$s itself.
CREATE FUNCTION t_control(label text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	me bigint := bgjob_current_id();
BEGIN
	INSERT INTO t_ran (label) VALUES (label);
	RETURN tap_elsewhere(format(query, me - 1, me + 1, me));
END $$;
CREATE FUNCTION t_control_inside(label text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	me bigint := bgjob_current_id();
	answer text;
BEGIN
	INSERT INTO t_ran (label) VALUES (label);
	EXECUTE format(query, me - 1, me + 1, me) INTO answer;
	RETURN left(answer, 1);
END $$;
-- t_controlled enqueues 'before', a job that runs a query, and 'after'; returns their ids.
CREATE FUNCTION t_controlled(what text, query text, by text = 't_control') RETURNS bigint[] LANGUAGE plpgsql AS $$
BEGIN
	RETURN ARRAY[bgjob_enqueue('t_run', jsonb_build_array('before ' || what), queue => 'g'),
		bgjob_enqueue(by, jsonb_build_array('control ' || what, query), queue => 'g', max_retries => 0),
		bgjob_enqueue('t_run', jsonb_build_array('after ' || what), queue => 'g')];
END $$;
CREATE FUNCTION t_outcome(what text, ids bigint[]) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s, %s (%s), %s; %s', tap_state(ids[1]), tap_state(ids[2]), (SELECT coalesce(result #>> '{}', error ->> 'sqlstate') FROM bgjob.jobs WHERE id = ids[2]), tap_state(ids[3]),
		(SELECT string_agg(split_part(label, ' ', 1), ' ' ORDER BY n) FROM t_ran WHERE label LIKE '% ' || what)) $$;

SELECT t_controlled('deleted', 'SELECT bgjob_delete(%2$s)') AS x \gset
CALL tap_idle();
SELECT is(t_outcome('deleted', :'x'), 'succeeded, succeeded (t), deleted; before control', 'a job is deleted while its group is going, before it has been started');
SELECT t_controlled('put off', 'SELECT bgjob_reschedule(%2$s, delay => ''1 hour'')') AS x \gset
CALL tap_idle();
SELECT is(t_outcome('put off', :'x'), 'succeeded, succeeded (t), scheduled; before control', 'a job is put off while its group is going');
SELECT t_controlled('paused', 'SELECT bgjob_queue_pause(''g'')') AS x \gset
CALL tap_wait_until(format($$ SELECT state = 'succeeded' FROM bgjob.jobs WHERE id = %s $$, (:'x'::bigint[])[2]));
SELECT bgjob_enqueue('t_run', '["marker"]', priority => -100) AS marker \gset
SELECT is(bgjob_wait(:marker, '60 s'), 'succeeded', 'a queue is paused while a group of it is going');
SELECT is(t_outcome('paused', :'x'), 'succeeded, succeeded (t), enqueued; before control', 'the next job of the group is not started');
SELECT bgjob_queue_resume('g') AS resumed \gset
CALL tap_idle();
SELECT is(t_outcome('paused', :'x'), 'succeeded, succeeded (t), succeeded; before control after', 'until the queue is resumed');
SELECT is((SELECT count(DISTINCT xid) FROM t_ran WHERE label IN ('before paused', 'control paused')), 1::bigint, 'this was really a group');

SELECT t_controlled('deleted inside', 'SELECT bgjob_delete(%2$s)', 't_control_inside') AS x \gset
CALL tap_idle();
SELECT is(t_outcome('deleted inside', :'x'), 'succeeded, succeeded (t), deleted; before control', 'a job deletes the next one of its own group');
SELECT t_controlled('put off inside', 'SELECT bgjob_reschedule(%2$s, delay => ''1 hour'')', 't_control_inside') AS x \gset
CALL tap_idle();
SELECT is(t_outcome('put off inside', :'x'), 'succeeded, succeeded (t), scheduled; before control', 'a job puts off the next one of its own group');
SELECT t_controlled('in vain', 'SELECT bgjob_delete(%2$s) AND 1 / 0 = 0', 't_control_inside') AS x \gset
CALL tap_idle();
SELECT is(t_outcome('in vain', :'x'), 'succeeded, failed (22012), succeeded; before after', 'a job that fails has not deleted the next one');
SELECT t_controlled('requeued inside', 'SELECT bgjob_requeue(%2$s)', 't_control_inside') AS x \gset
CALL tap_idle();
SELECT is(t_outcome('requeued inside', :'x'), 'succeeded, succeeded (t), succeeded; before control after', 'a job requeues the next one of its own group, which runs once');
SELECT t_controlled('itself', 'SELECT bgjob_delete(bgjob_current_id())', 't_control_inside') AS x \gset
CALL tap_idle();
SELECT is((SELECT array_agg(state ORDER BY state) FROM bgjob.jobs WHERE id = ANY (:'x'::bigint[])), '{deleted,succeeded,succeeded}', 'a job of a group deletes itself, and no other');
-- The one before has ended, but its group has not: by itself it would have succeeded, and run once more.
SELECT t_controlled('again', 'SELECT bgjob_requeue(%1$s)', 't_control_inside') AS x \gset
CALL tap_idle();
SELECT matches(t_outcome('again', :'x'), '^succeeded, (succeeded \(t\), succeeded; before control (after before|before after)|succeeded \(f\), succeeded; before control after|failed \([0-9A-Z]{5}\), succeeded; before after)$',
	'a job that requeues the one before it of its own group has it run twice, or is told that it cannot');
SELECT t_controlled('wait', 'SELECT bgjob_wait(%1$s, ''3 s'')', 't_control_inside') AS x \gset
CALL tap_idle();
SELECT matches(t_outcome('wait', :'x'), '^succeeded, (succeeded \(s\), succeeded; before control after|failed \(55000\), succeeded; before after)$',
	'a job that waits for the one before it of its own group is told that it has succeeded, or that this cannot be');
TRUNCATE t_ran RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- Time limits, and jobs that are deleted while they run
----------------------------------------------------------------------------------------------------

-- With 'what' at its place among twenty others.
CREATE FUNCTION t_among(what text, place int, OUT sleeper bigint, OUT others bigint[], seconds float8 = 600, timeout interval = NULL) LANGUAGE plpgsql AS $$
BEGIN
	others := ARRAY(SELECT bgjob_enqueue_many('t_run', t_labels(what || ' before ', 1, place), queue => 'g', max_retries => 0));
	sleeper := bgjob_enqueue('t_slow', jsonb_build_array(what || ' itself', seconds), queue => 'g', max_retries => 0, timeout => timeout);
	others := others || ARRAY(SELECT bgjob_enqueue_many('t_run', t_labels(what || ' behind ', place + 1, 20), queue => 'g', max_retries => 0));
END $$;
CREATE FUNCTION t_ended(what text, sleeper bigint, others bigint[]) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s %s, %s succeeded; %s', (SELECT concat_ws(' ', state, error ->> 'sqlstate') FROM bgjob.jobs WHERE id = sleeper), tap_states(sleeper),
		(SELECT count(*) FROM bgjob.jobs WHERE id = ANY (others) AND state = 'succeeded' AND retries = 0), t_times(what)) $$;
CREATE TABLE t_places (n serial, place int);
INSERT INTO t_places (place) VALUES (0), (10), (20);
CREATE TABLE t_ends (n serial, what text, expected text, ended text, said text);
CREATE PROCEDURE tap_end(how text, place int) LANGUAGE plpgsql AS $$
DECLARE
	what text := format('%s (%s before)', how, place);
	a record;
	said text;
BEGIN
	SELECT * FROM t_among(what, place, timeout => CASE WHEN how = 'timeout' THEN interval '400 ms' END) INTO a;
	COMMIT;
	IF how <> 'timeout' THEN
		CALL tap_wait_until(format($w$ SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND pid <> pg_backend_pid()) AND state = 'processing' FROM bgjob.jobs WHERE id = %s $w$, a.sleeper));
		CASE how
		WHEN 'delete' THEN said := bgjob_delete(a.sleeper);
		WHEN 'reschedule' THEN said := bgjob_reschedule(a.sleeper, delay => '1 hour');
		WHEN 'cancel' THEN said := pg_cancel_backend(worker_pid) FROM bgjob.jobs WHERE id = a.sleeper;
		WHEN 'terminate' THEN said := bgjob_reschedule(a.sleeper, delay => '1 hour');
		END CASE;
		COMMIT;
	END IF;
	CALL tap_idle();
	INSERT INTO t_ends (what, ended, said) VALUES (what, t_ended(what, a.sleeper, a.others), said);
	COMMIT;
END $$;
DO $$
DECLARE
	how text;
	place int;
BEGIN
	FOREACH how IN ARRAY ARRAY['timeout', 'delete', 'reschedule', 'cancel'] LOOP
		FOREACH place IN ARRAY ARRAY[0, 10, 20] LOOP
			CALL tap_end(how, place);
		END LOOP;
	END LOOP;
END $$;
SELECT is(ended, (CASE split_part(what, ' ', 1) WHEN 'delete' THEN 'deleted {enqueued,processing,deleted}' WHEN 'reschedule' THEN 'scheduled {enqueued,processing,scheduled}'
	ELSE 'failed 57014 {enqueued,processing,failed}' END) || ', 20 succeeded; (20,1)', what || ': that job alone, and its neighbours succeed once') FROM t_ends ORDER BY n;
SELECT is_empty($$ SELECT * FROM t_ends WHERE said <> 'true' $$, 'bgjob_delete and bgjob_reschedule answer true for them');
TRUNCATE t_ran RESTART IDENTITY;

-- A time limit is that of one job, not of its group.
SELECT count(*) AS n FROM generate_series(1, 20) i, LATERAL bgjob_enqueue('t_slow', jsonb_build_array('limited' || i, 0.06), queue => 'g', timeout => '5 s', max_retries => 0) \gset
SELECT count(*) AS n FROM generate_series(1, 3) i, LATERAL bgjob_enqueue('t_slow', jsonb_build_array('over' || i, 60), queue => 'g', timeout => '200 ms', max_retries => 0) \gset
CALL tap_idle();
SELECT is(t_times('limited')::text, '(20,1)', 'jobs within their time limits succeed, however long their group is');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE args ->> 0 LIKE 'over%' AND state = 'failed' AND error ->> 'sqlstate' = '57014'), 3::bigint, 'and each one over it fails');
TRUNCATE t_ran RESTART IDENTITY;

-- Requeued while it runs.
SELECT pg_advisory_lock(1010) AS locked \gset
BEGIN;
SELECT count(*) AS n FROM bgjob_enqueue_many('t_run', t_labels('requeue a', 1, 10), queue => 'g') \gset
SELECT bgjob_enqueue('t_block', '["requeue itself"]', queue => 'g') AS blocked \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_run', t_labels('requeue b', 1, 10), queue => 'g') \gset
COMMIT;
CALL tap_wait_until(format($$ SELECT state = 'processing' FROM bgjob.jobs WHERE id = %s $$, :blocked));
CALL tap_wait_until($$ SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 1010 AND NOT granted) $$);
SELECT is(bgjob_requeue(:blocked), true, 'a running job of a group can be requeued');
SELECT pg_advisory_unlock(1010) AS unlocked \gset
CALL tap_idle();
SELECT is(t_times('requeue')::text, '(21,1)', 'it and its neighbours end with their effects once');
SELECT is((SELECT label FROM t_ran ORDER BY n DESC LIMIT 1), 'requeue itself', 'it went to the end of the line');
TRUNCATE t_ran RESTART IDENTITY;

-- Jobs that wait, or have ended, in a group whose next job takes long.
SELECT pg_advisory_lock(1010) AS locked \gset
BEGIN;
SELECT bgjob_enqueue('t_run', '["long ended"]', queue => 'g') AS ended \gset
SELECT bgjob_enqueue('t_block', '["long itself"]', queue => 'g') AS blocked \gset
SELECT bgjob_enqueue('t_run', '["long behind 1"]', queue => 'g') AS behind1 \gset
SELECT bgjob_enqueue('t_run', '["long behind 2"]', queue => 'g') AS behind2 \gset
SELECT bgjob_enqueue('t_run', '["long behind 3"]', queue => 'g') AS behind3 \gset
COMMIT;
CALL tap_wait_until($$ SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 1010 AND NOT granted) $$);
SELECT is((SELECT string_agg(tap_state(id), ' ' ORDER BY id) FROM unnest(ARRAY[:blocked, :behind1]::bigint[]) id), 'processing enqueued',
	'the job that a group is at is processing, those behind it are enqueued');
SELECT isnt(tap_state(:ended), 'succeeded', 'one that has been performed has not succeeded before the group ends');
SELECT is((SELECT array_agg(DISTINCT job_id) FROM bgjob.workers), ARRAY[:blocked]::bigint[], 'bgjob.workers shows the job that the group is at');
SELECT is(tap_elsewhere(format('SELECT bgjob_delete(%s)', :behind1)), 't', 'a job behind it can be deleted at once');
SELECT is(tap_elsewhere(format('SELECT bgjob_requeue(%s)', :behind2)), 't', 'one can be requeued at once');
SELECT is(tap_state(:behind1), 'deleted', 'the deleted one is deleted');
SELECT tap_elsewhere(format('SELECT bgjob_delete(%s)', :ended)) AS answer \gset
SELECT is(:'answer'::text, 'ERROR 57014', 'bgjob_delete of one that has been performed waits for the end of its group');
SELECT pg_advisory_unlock(1010) AS unlocked \gset
CALL tap_idle();
SELECT is((SELECT array_agg(label ORDER BY n) FROM t_ran WHERE label LIKE 'long%' AND label <> 'long ended'), '{long itself,long behind 3,long behind 2}',
	'when it has ended the others run, in order, each once');
SELECT is((SELECT format('%s %s %s', :'answer', (SELECT count(*) FROM t_ran WHERE label = 'long ended'), tap_state(:ended))),
	CASE :'answer'::text WHEN 't' THEN format('t %s deleted', (SELECT count(*) FROM t_ran WHERE label = 'long ended'))
		ELSE :'answer' || ' 1 succeeded' END, 'the one that was to be deleted ended as bgjob_delete said');
TRUNCATE t_ran RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- Locks
----------------------------------------------------------------------------------------------------

CREATE TABLE t_row_lock (id int PRIMARY KEY, x int DEFAULT 0);
INSERT INTO t_row_lock (id) SELECT generate_series(1, 20);
CREATE FUNCTION t_update(label text, id int) RETURNS text LANGUAGE sql AS $$
	UPDATE t_row_lock SET x = x + 1 WHERE t_row_lock.id = $2;
	INSERT INTO t_ran (label) VALUES (label) RETURNING label $$;
CREATE FUNCTION t_connection() RETURNS text LANGUAGE sql AS $$ SELECT format('dbname=%s host=%s port=%s user=%s', current_database(),
	split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), session_user) $$;

-- A row that somebody else has locked.
SELECT dblink_connect('holder', t_connection()) AS x \gset
SELECT dblink_exec('holder', 'BEGIN') AS x, dblink_exec('holder', 'UPDATE t_row_lock SET x = x + 100 WHERE id = 3') AS y \gset
SELECT count(*) AS n FROM generate_series(1, 20) i, LATERAL bgjob_enqueue('t_update', jsonb_build_array('lock' || i, i), queue => 'g', max_retries => 0) \gset
SELECT id AS waiting FROM bgjob.jobs WHERE args ->> 0 = 'lock3' \gset
CALL tap_wait_until($$ SELECT EXISTS (SELECT FROM pg_locks l JOIN bgjob.workers w USING (pid) WHERE NOT l.granted) $$);
SELECT is((SELECT j.id FROM bgjob.workers w JOIN bgjob.jobs j ON j.id = w.job_id), :waiting::bigint, 'a job of a group waits for a row that another session has locked');
SELECT is(tap_state(:waiting), 'processing', 'it is processing');
SELECT dblink_exec('holder', 'COMMIT') AS x \gset
CALL tap_idle();
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE args ->> 0 ~ '^lock\d+$' AND state = 'succeeded'), 20::bigint, 'when that has committed all of the group succeed');
SELECT is((SELECT format('%s %s', sum(x), max(x)) FROM t_row_lock), '120 101', 'upon what it has committed, each once');
TRUNCATE t_ran RESTART IDENTITY;

-- Given up by lock_timeout: that job alone.
CREATE FUNCTION t_impatient(label text, id int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	SET LOCAL lock_timeout = '100ms';
	RETURN t_update(label, id);
END $$;
SELECT dblink_exec('holder', 'BEGIN') AS x, dblink_exec('holder', 'UPDATE t_row_lock SET x = 0 WHERE id IN (3, 4)') AS y \gset
SELECT count(*) AS n FROM generate_series(1, 20) i, LATERAL bgjob_enqueue('t_impatient', jsonb_build_array('impatient' || i, i), queue => 'g', max_retries => 0) \gset
CALL tap_idle();
SELECT dblink_exec('holder', 'ROLLBACK') AS x \gset
SELECT is((SELECT string_agg(args ->> 0, ' ' ORDER BY id) FROM bgjob.jobs WHERE args ->> 0 ~ '^impatient' AND state = 'failed' AND error ->> 'sqlstate' = '55P03'),
	'impatient3 impatient4', 'jobs that give up waiting for a lock fail');
SELECT is(t_times('impatient')::text, '(18,1)', 'and their neighbours succeed once');
TRUNCATE t_ran RESTART IDENTITY;

-- pg_advisory_xact_lock() is held to the end of the group, and no longer.
CREATE FUNCTION t_lock(label text, key int) RETURNS text LANGUAGE sql AS $$
	SELECT pg_advisory_xact_lock(2020, key);
	INSERT INTO t_ran (label) VALUES (label) RETURNING xid $$;
CREATE FUNCTION t_locks_held() RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_array(pg_current_xact_id()::text, (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 2020 AND pid = pg_backend_pid() AND granted)) $$;
DO $$
BEGIN
	FOR i IN 1 .. 10 LOOP
		PERFORM bgjob_enqueue('t_lock', jsonb_build_array('xact lock' || i, i), queue => 'g'), bgjob_enqueue('t_locks_held', queue => 'g');
		COMMIT;
	END LOOP;
END $$;
CALL tap_idle();
SELECT is((SELECT count(*) FROM bgjob.jobs h WHERE job ~ 't_locks_held' AND (result ->> 1)::int <>
	(SELECT count(*) FROM t_ran r WHERE r.xid = h.result ->> 0 AND r.label LIKE 'xact lock%' AND r.job < h.id)), 0::bigint,
	'a transaction-level advisory lock is held to the end of its group');
SELECT is((SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 2020), 0::bigint, 'and no longer');
-- A failed job's locks are released with it.
CREATE FUNCTION t_lock_and_fail(label text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(2020, 99); RAISE EXCEPTION 'no'; END $$;
BEGIN;
SELECT bgjob_enqueue('t_lock_and_fail', '["x"]', queue => 'g', max_retries => 0) AS x \gset
SELECT bgjob_enqueue('t_control', jsonb_build_array('other session', 'SELECT pg_try_advisory_lock(2020, 99)'), queue => 'g', max_retries => 0) AS try \gset
COMMIT;
CALL tap_idle();
SELECT is(bgjob_result(:try), '"t"', 'the locks of a job that failed are released before the next one starts');
TRUNCATE t_ran RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- Several workers
----------------------------------------------------------------------------------------------------

ALTER SYSTEM SET bgjob.workers = 4;
SELECT pg_reload_conf() AS reloaded \gset
CALL tap_wait_setting('bgjob.workers', '4');
SELECT count(*) AS n FROM bgjob_enqueue_many('t_run', t_labels('w', 1, 4000), queue => 'g') \gset
CALL tap_idle();
SELECT is(t_times('w')::text, '(4000,1)', 'four workers do four thousand jobs in groups, each once');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE args ->> 0 ~ '^w\d' AND state = 'succeeded'), 4000::bigint, 'all succeed');
TRUNCATE t_ran RESTART IDENTITY;

-- One that takes long holds up nobody, before or behind it, nor does one that waits for a lock.
SELECT pg_advisory_lock(1010) AS locked \gset
BEGIN;
SELECT count(*) AS n FROM bgjob_enqueue_many('t_run', t_labels('c', 1, 50), queue => 'g') \gset
SELECT bgjob_enqueue('t_block', '["c itself"]', queue => 'g') AS blocked \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_run', t_labels('c', 51, 200), queue => 'g') \gset
COMMIT;
CALL tap_wait_until($$ SELECT count(*) = 150 FROM t_ran WHERE label ~ '^c\d+$' AND substr(label, 2)::int > 50 $$);
SELECT is((SELECT count(*) FROM t_ran WHERE label ~ '^c\d+$' AND substr(label, 2)::int > 50), 150::bigint, 'jobs behind one that is stuck in a group are performed by other workers');
SELECT is(tap_state(:blocked), 'processing', 'while it is still stuck');
SELECT pg_advisory_unlock(1010) AS unlocked \gset
CALL tap_idle();
SELECT is(t_times('c')::text, '(201,1)', 'in the end each has run once');
TRUNCATE t_ran RESTART IDENTITY;

-- Each of these jobs takes one lock, so alone they can have no deadlock. Groups hold their locks, and can.
CREATE FUNCTION t_update_slowly(label text, id int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	UPDATE t_row_lock SET x = x + 1 WHERE t_row_lock.id = $2;
	INSERT INTO t_ran (label) VALUES (label);
	PERFORM pg_sleep(0.01);
END $$;
UPDATE t_row_lock SET x = 0;
SELECT setseed(0.5) AS seed \gset
SELECT count(*) AS n FROM (SELECT i, 1 + floor(random() * 8)::int AS row FROM generate_series(1, 300) i OFFSET 0) x,
	LATERAL bgjob_enqueue('t_update_slowly', jsonb_build_array('dead' || i, row), queue => 'g', max_retries => 0) \gset
CALL tap_idle(240);
-- A deadlock aborts a group, whose jobs are then performed by themselves; one that is by itself can still fall victim to other groups' locks.
SELECT cmp_ok((SELECT count(*) FROM bgjob.jobs WHERE args ->> 0 ~ '^dead\d' AND state = 'succeeded'), '>=', 290::bigint, 'deadlocks that are due to groups alone fail next to no job');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE args ->> 0 ~ '^dead\d' AND state <> 'succeeded' AND error ->> 'sqlstate' <> '40P01'), 0::bigint, 'and nothing else does');
SELECT is((SELECT sum(x) FROM t_row_lock), (SELECT count(*) FROM bgjob.jobs WHERE args ->> 0 ~ '^dead\d' AND state = 'succeeded'), 'each that succeeded has its effects once');

SELECT * FROM finish();
ALTER SYSTEM RESET bgjob.workers; SELECT pg_reload_conf();
