-- 10_groups.sql
--
-- What this file proves (doc/manual.md, "Groups"):
--   * in a queue with a group_size several jobs run in one transaction; each takes effect exactly once or not at all,
--     has its own result, error, history and settings, and keeps its order;
--   * a job that fails, also at commit, exceeds its time limit or is deleted while it runs affects no other job;
--   * no session state of a job is visible to the next job of its group;
--   * procedures, commands that may not be in a transaction and jobs under repeatable read work in such a queue:
--     every job ends as it does in a queue without groups;
--   * jobs that control, enqueue and wait for others; locks, and deadlocks that only groups can have.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser; needs dblink for sessions beside this one.
-- It changes bgjob.workers with ALTER SYSTEM and resets it at its end: do not run it beside other files.

\ir lib/session.sql

-- Set before CREATE EXTENSION, so that the scheduler of the database starts with it.
ALTER SYSTEM SET bgjob.workers = 1;
SELECT pg_reload_conf() AS reloaded \gset

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

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

\ir lib/wait.sql
\ir lib/states.sql
\ir lib/elsewhere.sql

CREATE FUNCTION tap_count(queue text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(state || ' ' || n, ', ' ORDER BY state) FROM (
		SELECT state, count(*) AS n FROM bgjob.jobs j WHERE j.queue = $1 GROUP BY 1) x $$;

----------------------------------------------------------------------------------------------------
-- What the jobs of this file call
----------------------------------------------------------------------------------------------------

-- xid is the top-level transaction id: jobs with the same xid ran in one group.
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
-- Waits until this session releases the lock.
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
-- Returns how often each label with a prefix exists: '1' if each exists once.
CREATE FUNCTION t_times(prefix text, OUT labels bigint, OUT often text) LANGUAGE sql AS $$
	SELECT count(*), string_agg(DISTINCT n::text, ',') FROM (SELECT count(*) AS n FROM t_ran WHERE label LIKE prefix || '%' GROUP BY label) x $$;

SELECT plan(272);

CALL tap_wait_setting('bgjob.workers', '1');
CALL tap_wait_until('SELECT count(*) = 1 FROM bgjob.workers');
SELECT is((SELECT count(*) FROM bgjob.workers), 1::bigint, 'there is one worker');
SELECT bgjob_queue('g', group_size => 100);
SELECT bgjob_queue('single', group_size => 1);

----------------------------------------------------------------------------------------------------
-- A thousand jobs
----------------------------------------------------------------------------------------------------

SELECT succeeded AS before FROM bgjob.stats \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_run', t_labels('m', 1, 1000), queue => 'g') \gset
CALL tap_wait_until($$ SELECT count(*) = 1000 FROM t_ran $$);
CALL tap_idle();
SELECT is(tap_count('g'), 'succeeded 1000', 'a thousand jobs in groups succeed');
SELECT is(t_times('m')::text, '(1000,1)', 'each of the thousand jobs has its effect once');
SELECT is(t_order(), ARRAY(SELECT 'm' || i FROM generate_series(1, 1000) i), 'the thousand jobs ran first in, first out');
SELECT cmp_ok((SELECT count(DISTINCT xid) FROM t_ran), '<', 1000::bigint, 'jobs shared transactions');
SELECT cmp_ok((SELECT max(n) FROM (SELECT count(*) AS n FROM t_ran GROUP BY xid) x), '<=', 64::bigint,
	'a group ends after 64 jobs that have written something');
SELECT is((SELECT count(*) FROM (SELECT FROM t_ran GROUP BY xid HAVING count(DISTINCT began) <> 1) x), 0::bigint,
	'now() is the same for all jobs of a group');
SELECT is((SELECT count(*) FROM t_ran r JOIN bgjob.jobs j ON j.id = r.job WHERE j.args ->> 0 <> r.label), 0::bigint,
	'bgjob_current_id() returns the id of each job');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE queue = 'g' AND result = args -> 0), 1000::bigint, 'each job of a group has its own result');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE queue = 'g' AND retries = 0 AND interruptions = 0 AND error IS NULL AND reason IS NULL
	AND worker_pid IS NOT NULL AND server = 'default'), 1000::bigint, 'no retries, interruptions or errors; server and worker_pid');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE queue = 'g' AND created_at <= started_at AND started_at <= finished_at), 1000::bigint,
	'created_at, started_at and finished_at follow each other in each job');
SELECT is((SELECT count(*) FROM (SELECT started_at, lag(started_at) OVER (ORDER BY id) AS before FROM bgjob.jobs WHERE queue = 'g') x
	WHERE started_at < before), 0::bigint, 'started_at follows the order');
SELECT is((SELECT count(*) FROM t_ran r JOIN bgjob.jobs j ON j.id = r.job WHERE NOT r.at BETWEEN j.started_at AND j.finished_at), 0::bigint,
	'each ran between its own started_at and finished_at');
SELECT is((SELECT array_agg(DISTINCT tap_states(id)::text) FROM bgjob.jobs WHERE queue = 'g'), ARRAY['{enqueued,processing,succeeded}'],
	'each has the whole history');
SELECT is((SELECT count(*) FROM bgjob.jobs j JOIN bgjob.job_states p ON p.job_id = j.id AND p.state = 'processing' WHERE j.queue = 'g'
	AND p.data = jsonb_build_object('server', 'default', 'worker_pid', j.worker_pid, 'attempt', 1) AND p.at = j.started_at), 1000::bigint,
	'data of processing: server, worker_pid, attempt');
SELECT is((SELECT count(*) FROM bgjob.jobs j JOIN bgjob.job_states s ON s.job_id = j.id AND s.state = 'succeeded' WHERE j.queue = 'g'
	AND (s.data ->> 'duration_ms')::numeric >= 0 AND (s.data ->> 'latency_ms')::numeric >= 0 AND s.at = j.finished_at), 1000::bigint,
	'data of succeeded: duration_ms, latency_ms');
SELECT is((SELECT succeeded - :before FROM bgjob.stats), 1000::bigint, 'bgjob.stats counts each job of a group');
TRUNCATE t_ran RESTART IDENTITY;

SELECT count(*) AS n FROM bgjob_enqueue_many('t_read', t_labels('r', 1, 1000), queue => 'g') \gset
CALL tap_idle();
CREATE TABLE t_groups AS SELECT split_part(result #>> '{}', '/', 2) AS xid, count(*) AS n FROM bgjob.jobs WHERE job ~ 't_read' AND state = 'succeeded' GROUP BY 1;
SELECT is((SELECT sum(n) FROM t_groups), 1000::numeric, 'a thousand jobs that only read succeed');
SELECT cmp_ok((SELECT max(n) FROM t_groups), '<=', 100::bigint, 'no group is larger than group_size');
SELECT cmp_ok((SELECT max(n) FROM t_groups), '>', 1::bigint, 'some jobs ran in groups');
SELECT bgjob_queue('g', group_size => 1);
SELECT count(*) AS n FROM bgjob_enqueue_many('t_run', t_labels('s', 1, 100), queue => 'g') \gset
CALL tap_idle();
SELECT is((SELECT count(DISTINCT xid) FROM t_ran), 100::bigint, 'with group_size 1 each job has a transaction of its own');
SELECT bgjob_queue('g', group_size => 100);
TRUNCATE t_ran RESTART IDENTITY;

-- Several jobs in one statement with different priorities, and one that another session enqueues while a group runs.
CREATE FUNCTION t_push(label text, queue text) RETURNS text LANGUAGE sql AS $$
	INSERT INTO t_ran (label) VALUES (label);
	SELECT tap_elsewhere(format('SELECT bgjob_enqueue(%L, %L, queue => %L, priority => 5)', 't_run', jsonb_build_array('pushed'), queue)) $$;
CREATE FUNCTION t_some_urgent(queue text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM bgjob_enqueue('t_run', '["low"]', queue => queue, priority => -5);
	PERFORM bgjob_enqueue('t_run', '["1"]', queue => queue);
	PERFORM bgjob_enqueue('t_push', jsonb_build_array('2', queue), queue => queue);
	PERFORM bgjob_enqueue_many('t_run', t_labels('', 3, 20), queue => queue);
	PERFORM bgjob_enqueue('t_run', '["high"]', queue => queue, priority => 7);
END $$;
SELECT t_some_urgent('single');
CALL tap_idle();
SELECT is(t_order(), ARRAY['high', '1', '2', 'pushed'] || ARRAY(SELECT i::text FROM generate_series(3, 20) i) || ARRAY['low'],
	'without groups an urgent job that comes late is the very next one');
TRUNCATE t_ran RESTART IDENTITY;
SELECT t_some_urgent('g');
CALL tap_idle();
SELECT is(array_remove(t_order(), 'pushed'), ARRAY['high', '1', '2'] || ARRAY(SELECT i::text FROM generate_series(3, 20) i) || ARRAY['low'],
	'in groups jobs are in the order of their priorities, and first in, first out');
SELECT is((SELECT n FROM t_ran WHERE label = 'pushed'), 4, 'an urgent job enqueued while a group runs is the very next one');
TRUNCATE t_ran RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- Failures
----------------------------------------------------------------------------------------------------

SELECT id AS last_before FROM bgjob.jobs ORDER BY id DESC LIMIT 1 \gset
SELECT count(CASE WHEN i % 7 = 0 THEN bgjob_enqueue('t_bad', jsonb_build_array('bad' || i), queue => 'g', max_retries => 0)
	WHEN i % 11 = 0 THEN bgjob_enqueue('t_bad', jsonb_build_array('retried' || i), queue => 'g', max_retries => 3)
	ELSE bgjob_enqueue('t_run', jsonb_build_array('good' || i), queue => 'g') END) AS n FROM generate_series(1, 300) i \gset
CALL tap_idle();
CREATE TABLE t_some AS SELECT j.*, regexp_replace(args ->> 0, '\d', '', 'g') AS sort FROM bgjob.jobs j WHERE id > :last_before;
SELECT is((SELECT string_agg(format('%s %s %s', sort, state, n), ', ' ORDER BY sort, state) FROM (SELECT sort, state, count(*) AS n FROM t_some GROUP BY 1, 2) x),
	'bad failed 42, good succeeded 234, retried scheduled 24', 'jobs that fail in groups are failed or retried, and all others succeed');
SELECT is(t_times('good')::text, '(234,1)', 'the succeeded jobs have their effects once');
SELECT is((SELECT array_agg(substr(label, 5)::int ORDER BY n) FROM t_ran WHERE label LIKE 'good%'),
	ARRAY(SELECT i FROM generate_series(1, 300) i WHERE i % 7 > 0 AND i % 11 > 0), 'and in order');
SELECT is((SELECT count(*) FROM t_ran WHERE label LIKE 'bad%' OR label LIKE 'retried%'), 0::bigint, 'the failed jobs have no effects');
SELECT is((SELECT count(*) FROM t_some WHERE sort <> 'good' AND error - 'context' = jsonb_build_object('sqlstate', 'P1234',
		'message', 'broken: ' || (args ->> 0), 'detail', 'detail of ' || (args ->> 0), 'hint', 'hint of ' || (args ->> 0))
		AND error ->> 'context' LIKE '%t_bad%'), 66::bigint, 'each has its own error, with all its parts');
SELECT is((SELECT array_agg(DISTINCT format('%s %s %s', sort, retries, tap_states(id)) ORDER BY format('%s %s %s', sort, retries, tap_states(id))) FROM t_some),
	ARRAY['bad 0 {enqueued,processing,failed}', 'good 0 {enqueued,processing,succeeded}', 'retried 1 {enqueued,processing,failed,scheduled}'],
	'each has its own history and retries');
SELECT is((SELECT count(*) FROM t_some WHERE sort = 'retried' AND reason = 'Retry attempt 1 of 3: broken: ' || (args ->> 0)), 24::bigint,
	'and its own reason');
SELECT is((SELECT count(*) FROM t_some WHERE interruptions > 0), 0::bigint, 'the failures interrupt no job');
SELECT cmp_ok((SELECT count(DISTINCT xid) FROM t_ran), '<', 234::bigint, 'there were groups in spite of the failures');
SELECT is((SELECT count(*) FROM t_some WHERE sort = 'retried' AND bgjob_reschedule(id, delay => '0')), 24::bigint, 'the retries are rescheduled to now');
CALL tap_wait_until(format($$ SELECT count(*) = 24 FROM bgjob.jobs WHERE id > %s AND state = 'scheduled' AND retries = 2 $$, :last_before));
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE id > :last_before AND state = 'scheduled' AND retries = 2), 24::bigint, 'the retried jobs fail again, in groups');
SELECT is((SELECT count(*) FROM t_some WHERE sort = 'retried' AND bgjob_delete(id)), 24::bigint, 'the retried jobs are deleted');
DROP TABLE t_some;
TRUNCATE t_ran RESTART IDENTITY;

-- All jobs of a group fail.
SELECT count(*) AS n FROM bgjob_enqueue_many('t_bad', t_labels('all', 1, 150), queue => 'g', max_retries => 0) \gset
CALL tap_idle();
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE job ~ 't_bad' AND args ->> 0 LIKE 'all%' AND state = 'failed' AND error ->> 'message' = 'broken: ' || (args ->> 0)),
	150::bigint, 'groups in which every job fails: each has its own error');

----------------------------------------------------------------------------------------------------
-- Errors at commit
----------------------------------------------------------------------------------------------------

CREATE TABLE t_parent (id int PRIMARY KEY);
CREATE TABLE t_child (parent int REFERENCES t_parent DEFERRABLE INITIALLY DEFERRED);
INSERT INTO t_parent VALUES (1);
CREATE FUNCTION t_adopt(label text, parent int) RETURNS text LANGUAGE sql AS $$
	INSERT INTO t_child VALUES (parent);
	INSERT INTO t_ran (label) VALUES (label) RETURNING label $$;
CREATE TABLE t_late (label text, fails boolean);
CREATE FUNCTION t_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO t_ran (label) VALUES (NEW.label || ' at commit');
	IF NEW.fails THEN
		RAISE EXCEPTION 'too late: %', NEW.label USING ERRCODE = 'P4321';
	END IF;
	RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON t_late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION t_at_commit();
CREATE FUNCTION t_be_late(label text, fails boolean) RETURNS text LANGUAGE sql AS $$
	INSERT INTO t_ran (label) VALUES (label);
	INSERT INTO t_late VALUES (label, fails) RETURNING label $$;

CREATE TABLE t_ids AS SELECT i, CASE WHEN i = 25 THEN bgjob_enqueue('t_adopt', jsonb_build_array('orphan' || i, 99), queue => 'g', max_retries => 0)
	WHEN i % 10 = 0 THEN bgjob_enqueue('t_adopt', jsonb_build_array('d' || i, 1), queue => 'g', max_retries => 0)
	ELSE bgjob_enqueue('t_run', jsonb_build_array('d' || i), queue => 'g', max_retries => 0) END AS id FROM generate_series(1, 50) i;
CALL tap_idle();
SELECT is((SELECT format('%s %s', state, error ->> 'sqlstate') FROM bgjob.jobs JOIN t_ids USING (id) WHERE i = 25), 'failed 23503',
	'a job that violates a deferred constraint fails by it');
SELECT is((SELECT tap_states(id) FROM t_ids WHERE i = 25), '{enqueued,processing,failed}'::text[], 'the job that violates a deferred constraint has one attempt');
SELECT is((SELECT string_agg(format('%s: %s', i, state), ', ') FROM bgjob.jobs JOIN t_ids USING (id) WHERE i <> 25 AND state <> 'succeeded'), NULL,
	'all others of its group succeed');
SELECT is(t_times('d')::text, '(49,1)', 'the other jobs of the group have their effects once');
SELECT is((SELECT count(*) FROM t_child) || ' ' || (SELECT count(*) FROM t_ran WHERE label LIKE 'orphan%'), '5 0', 'the failed job has no effects');
SELECT is((SELECT sum(retries + interruptions) FROM bgjob.jobs JOIN t_ids USING (id)), 0::bigint, 'the failure uses no retry and counts no interruption');
SELECT is((SELECT array_agg(DISTINCT tap_states(id)::text) FROM t_ids WHERE i <> 25), ARRAY['{enqueued,processing,succeeded}'], 'the other jobs have the usual history');
SELECT is((SELECT count(*) FROM bgjob.jobs JOIN t_ids USING (id) WHERE i <> 25 AND result = args -> 0), 49::bigint, 'the other jobs have their own results');
DROP TABLE t_ids;

CREATE TABLE t_ids AS SELECT i, bgjob_enqueue('t_be_late', jsonb_build_array('late' || i || '.', i % 9 = 0), queue => 'g', max_retries => 0) AS id FROM generate_series(1, 90) i;
CALL tap_idle();
SELECT is((SELECT string_agg(i::text, ' ' ORDER BY i) FROM bgjob.jobs JOIN t_ids USING (id) WHERE state = 'failed'), '9 18 27 36 45 54 63 72 81 90',
	'jobs fail whose deferred triggers fail');
SELECT is((SELECT count(*) FROM bgjob.jobs JOIN t_ids USING (id) WHERE state = 'failed' AND error ->> 'sqlstate' = 'P4321'
	AND error ->> 'message' = 'too late: ' || (args ->> 0)), 10::bigint, 'each by its own error');
SELECT is((SELECT count(*) FROM bgjob.jobs JOIN t_ids USING (id) WHERE state = 'succeeded'), 80::bigint, 'the jobs without failing deferred triggers succeed');
SELECT is(t_times('late')::text, '(160,1)', 'they and their deferred triggers have their effects once');
SELECT is((SELECT count(*) FROM t_ran WHERE label LIKE 'late%commit' AND job IS DISTINCT FROM (SELECT r.job FROM t_ran r WHERE r.label = replace(t_ran.label, ' at commit', ''))),
	0::bigint, 'in a deferred trigger bgjob_current_id() is the job that caused it');
DROP TABLE t_ids;

-- Each job is checked by itself: the next job cannot satisfy its deferred constraint.
BEGIN;
SELECT bgjob_enqueue('t_adopt', '["healed?", 7]', queue => 'g', max_retries => 0) AS child \gset
SELECT bgjob_enqueue('INSERT INTO t_parent VALUES (7)', kind => 'sql', queue => 'g', max_retries => 0) AS parent \gset
COMMIT;
CALL tap_idle();
SELECT is(ARRAY[tap_state(:child), tap_state(:parent)], '{failed,succeeded}'::text[],
	'a violation of a deferred constraint is not healed by the next job of the group');
-- Deferred work of a job does not affect the next.
BEGIN;
SELECT bgjob_enqueue('t_adopt', '["child", 1]', queue => 'g', max_retries => 0) AS a \gset
SELECT bgjob_enqueue('ALTER TABLE t_child ADD COLUMN note text', kind => 'sql', queue => 'g', max_retries => 0) AS b \gset
SELECT bgjob_enqueue('t_adopt', '["child", 1]', queue => 'g', max_retries => 0) AS c \gset
SELECT bgjob_enqueue('TRUNCATE t_child', kind => 'sql', queue => 'g', max_retries => 0) AS d \gset
COMMIT;
CALL tap_idle();
SELECT is((SELECT string_agg(concat_ws(' ', state, error ->> 'message'), ', ' ORDER BY id) FROM bgjob.jobs WHERE id IN (:a, :b, :c, :d)),
	'succeeded, succeeded, succeeded, succeeded', 'a table can be altered right after a job that deferred a check of it');
TRUNCATE t_ran RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- Nothing leaks
----------------------------------------------------------------------------------------------------

CREATE SEQUENCE t_sequence;
CREATE TABLE t_unique (id int UNIQUE DEFERRABLE INITIALLY IMMEDIATE);
INSERT INTO t_unique VALUES (1);
SELECT lo_create(10101) AS lo \gset
SELECT setseed(0.25) AS seeded \gset
SELECT random() AS seeded \gset

-- The kinds of state that t_dirty can leave behind, each with a name.
CREATE FUNCTION t_dirty(what text, fails boolean = false) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	fd int;
	c refcursor := 'leftover_refcursor';
BEGIN
	INSERT INTO public.t_ran (label) VALUES ('dirty ' || what);
	CASE what
	WHEN 'SET' THEN
		SET work_mem = '77MB';
		SET TimeZone = 'Asia/Tokyo';
		SET DateStyle = 'German';
		SET app.secret = 'of the job before';
	WHEN 'SET LOCAL' THEN
		SET LOCAL work_mem = '77MB';
		SET LOCAL TimeZone = 'Asia/Tokyo';
		SET LOCAL DateStyle = 'German';
		SET LOCAL app.secret = 'of the job before';
	WHEN 'set_config' THEN
		PERFORM set_config('app.secret', 'x', true), set_config('app.other', 'y', false), set_config('statement_timeout', '1234s', false);
	WHEN 'search_path' THEN SET search_path = pg_catalog;
	WHEN 'SET LOCAL search_path' THEN SET LOCAL search_path = pg_catalog;
	WHEN 'timeouts' THEN
		SET statement_timeout = '1ms';
		SET lock_timeout = '1ms';
		SET idle_in_transaction_session_timeout = '1ms';
	WHEN 'read only' THEN SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY;
	WHEN 'SET TRANSACTION READ ONLY' THEN SET TRANSACTION READ ONLY;
	WHEN 'transaction_read_only' THEN PERFORM set_config('transaction_read_only', 'on', false);
	WHEN 'isolation' THEN SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE;
	WHEN 'transaction_deferrable' THEN SET SESSION CHARACTERISTICS AS TRANSACTION DEFERRABLE;
	WHEN 'synchronous_commit' THEN SET synchronous_commit = off;
	WHEN 'session_replication_role' THEN SET session_replication_role = replica;
	WHEN 'SET ROLE' THEN SET ROLE tap10_plain;
	WHEN 'SET LOCAL ROLE' THEN SET LOCAL ROLE tap10_plain;
	WHEN 'SET SESSION AUTHORIZATION' THEN SET SESSION AUTHORIZATION tap10_plain;
	WHEN 'prepared statement' THEN EXECUTE 'PREPARE leftover AS SELECT 1';
	WHEN 'temporary table' THEN
		CREATE TEMPORARY TABLE t_leftover (x int);
		INSERT INTO t_leftover VALUES (1);
	WHEN 'temporary table ON COMMIT DROP' THEN CREATE TEMPORARY TABLE t_leftover ON COMMIT DROP AS SELECT 1 AS x;
	WHEN 'temporary table that hides another' THEN CREATE TEMPORARY TABLE t_ran (label text);
	WHEN 'temporary function' THEN CREATE FUNCTION pg_temp.leftover() RETURNS int LANGUAGE sql AS 'SELECT 1';
	WHEN 'cursor' THEN EXECUTE 'DECLARE leftover CURSOR FOR SELECT 1';
	WHEN 'cursor WITH HOLD' THEN EXECUTE 'DECLARE leftover CURSOR WITH HOLD FOR SELECT i FROM generate_series(1, 3) i';
	WHEN 'refcursor' THEN OPEN c FOR SELECT label FROM public.t_ran;
	WHEN 'advisory locks' THEN
		PERFORM pg_advisory_lock(1011), pg_advisory_lock_shared(1012), pg_advisory_lock(1, 2);
	WHEN 'currval' THEN PERFORM nextval('public.t_sequence');
	WHEN 'setseed' THEN PERFORM setseed(0.25);
	WHEN 'SET seed' THEN SET seed = 0.25;
	WHEN 'SET CONSTRAINTS' THEN SET CONSTRAINTS ALL DEFERRED;
	WHEN 'large object' THEN fd := lo_open(10101, 131072);
	WHEN 'FOUND and notices' THEN
		SET client_min_messages = error;
		SET plpgsql.variable_conflict = use_column;
	WHEN 'application_name' THEN SET application_name = 'dirty';
	END CASE;
	IF fails THEN
		RAISE EXCEPTION 'failed on purpose';
	END IF;
	RETURN what;
END $$;

-- Returns all state that is left, as one object; a clean session returns {}.
CREATE FUNCTION t_found(seeded float8) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	answer jsonb := '{}';
	value text;
BEGIN
	IF random() = seeded THEN answer := answer || '{"seed": true}'; END IF;
	IF current_user <> session_user THEN answer := answer || jsonb_build_object('role', current_user); END IF;
	IF session_user = 'tap10_plain' THEN answer := answer || '{"session_user": true}'; END IF;
	answer := answer || coalesce((SELECT jsonb_object_agg(name, setting) FROM pg_settings WHERE source = 'session'
		AND name IN ('work_mem', 'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'default_transaction_read_only',
			'default_transaction_isolation', 'default_transaction_deferrable', 'synchronous_commit', 'session_replication_role', 'client_min_messages')), '{}');
	answer := answer || coalesce((SELECT jsonb_object_agg(n, current_setting(n, true)) FROM unnest(ARRAY['app.secret', 'app.other']) n
		WHERE current_setting(n, true) <> ''), '{}');
	answer := answer || coalesce((SELECT jsonb_object_agg(n, current_setting(n, true)) FROM unnest(ARRAY['TimeZone', 'DateStyle', 'search_path', 'application_name',
		'plpgsql.variable_conflict']) n
		WHERE current_setting(n) IN ('Asia/Tokyo', 'German, DMY', 'pg_catalog', 'dirty', 'use_column')), '{}');
	IF current_setting('transaction_read_only')::boolean THEN answer := answer || '{"read only": true}'; END IF;
	IF current_setting('transaction_isolation') <> 'read committed' THEN answer := answer || '{"isolation": true}'; END IF;
	IF (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()) + (SELECT count(*) FROM pg_proc WHERE pronamespace = pg_my_temp_schema()) > 0 THEN
		answer := answer || '{"temporary objects": true}';
	END IF;
	answer := answer || coalesce((SELECT jsonb_object_agg('prepared ' || name, true) FROM pg_prepared_statements), '{}');
	answer := answer || coalesce((SELECT jsonb_object_agg('cursor ' || name, true) FROM pg_cursors WHERE name LIKE 'leftover%'), '{}');
	IF EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) THEN answer := answer || '{"advisory locks": true}'; END IF;
	BEGIN
		value := currval('public.t_sequence');
		answer := answer || '{"currval": true}';
	EXCEPTION WHEN OTHERS THEN NULL;
	END;
	BEGIN
		value := lastval();
		answer := answer || '{"lastval": true}';
	EXCEPTION WHEN OTHERS THEN NULL;
	END;
	BEGIN
		value := lo_tell(0);
		answer := answer || '{"large object": true}';
	EXCEPTION WHEN OTHERS THEN NULL;
	END;
	BEGIN
		INSERT INTO public.t_unique VALUES (1);
		answer := answer || '{"constraints deferred": true}';
		DELETE FROM public.t_unique WHERE ctid <> (SELECT min(ctid) FROM public.t_unique);
	EXCEPTION
		WHEN unique_violation THEN NULL;
		WHEN read_only_sql_transaction OR insufficient_privilege THEN NULL;
	END;
	RETURN answer || jsonb_build_object('xid', pg_current_xact_id()::text);
END $$;
CREATE FUNCTION t_xid() RETURNS text LANGUAGE sql AS $$ SELECT pg_catalog.pg_current_xact_id()::text $$;

CREATE TABLE t_leaks (n serial, what text, fails boolean, ids bigint[]);
INSERT INTO t_leaks (what, fails) SELECT w, f FROM (VALUES (false), (true)) AS v (f), unnest(ARRAY['SET', 'SET LOCAL', 'set_config', 'search_path', 'SET LOCAL search_path', 'timeouts', 'read only',
	'SET TRANSACTION READ ONLY', 'transaction_read_only', 'isolation', 'transaction_deferrable', 'synchronous_commit', 'session_replication_role',
	'SET ROLE', 'SET LOCAL ROLE', 'SET SESSION AUTHORIZATION', 'prepared statement',
	'temporary table', 'temporary table ON COMMIT DROP', 'temporary table that hides another', 'temporary function', 'cursor', 'cursor WITH HOLD', 'refcursor',
	'advisory locks', 'currval', 'setseed', 'SET seed', 'SET CONSTRAINTS', 'large object', 'FOUND and notices', 'application_name']) w;

-- The check itself detects state left in the same job.
CREATE TABLE t_seen AS SELECT what, bgjob_enqueue('SELECT public.t_dirty($1), public.t_found($2) AS found', jsonb_build_array(what, :seeded), kind => 'sql',
	queue => 'single', max_retries => 0) AS id FROM t_leaks WHERE NOT fails AND what NOT IN ('setseed', 'SET seed', 'FOUND and notices');
CALL tap_idle();
SELECT is_empty($$ SELECT what, state, result, error FROM t_seen JOIN bgjob.jobs USING (id) WHERE (SELECT count(*) FROM jsonb_object_keys(result -> 0 -> 'found')) < 2
		AND what NOT IN ('read only', 'isolation', 'transaction_deferrable', 'SET SESSION AUTHORIZATION') OR state <> 'succeeded' AND what <> 'SET SESSION AUTHORIZATION'$$,
	'the check sees what a job has done to its session');

TRUNCATE t_ran RESTART IDENTITY;

-- Each kind in its own transaction, so that the only worker runs the four one after the other.
DO $$
DECLARE
	l t_leaks;
	seeded float8;
BEGIN
	PERFORM setseed(0.25);
	seeded := random();
	FOR l IN SELECT * FROM t_leaks ORDER BY n LOOP
		UPDATE t_leaks SET ids = ARRAY[bgjob_enqueue('public.t_xid', queue => 'g', max_retries => 0),
			bgjob_enqueue('public.t_dirty', jsonb_build_array(l.what, l.fails), queue => 'g', max_retries => 0),
			bgjob_enqueue('public.t_found', jsonb_build_array(seeded), queue => 'g', max_retries => 0),
			bgjob_enqueue('public.t_run', jsonb_build_array('after ' || l.what || l.fails), queue => 'g', max_retries => 0)] WHERE n = l.n;
		COMMIT;
		CALL tap_idle();
	END LOOP;
END $$;
SELECT is((SELECT format('%s %s', (j).state, coalesce((j).result - 'xid', '{}')) FROM (SELECT j FROM bgjob.jobs j WHERE id = ids[3]) x), 'succeeded {}',
	format('nothing of %s is left for the next job of the group%s', what, CASE WHEN fails THEN ', when the job failed' ELSE '' END)) FROM t_leaks ORDER BY n;
SELECT is_empty($$ SELECT what, fails, j.state, j.error FROM t_leaks JOIN bgjob.jobs j ON j.id = ids[2] WHERE state <> CASE WHEN fails THEN 'failed' ELSE 'succeeded' END
		AND what <> 'SET SESSION AUTHORIZATION'$$, 'the jobs that leave something end as they should');
SELECT is_empty($$ SELECT what, fails, j.state, j.error FROM t_leaks JOIN bgjob.jobs j ON j.id = ids[4] WHERE state <> 'succeeded' $$, 'after each of them a job can write');
SELECT is(t_times('after ')::text, '(64,1)', 'each of these jobs writes once');
SELECT is((SELECT count(*) FROM t_ran WHERE label LIKE 'dirty%'), 32 - (SELECT count(*) FROM t_leaks JOIN bgjob.jobs j ON j.id = ids[2] WHERE NOT fails AND state = 'failed'),
	'and those that succeeded have their effects once');
SELECT cmp_ok((SELECT count(*) FROM t_leaks JOIN bgjob.jobs a ON a.id = ids[1] JOIN bgjob.jobs b ON b.id = ids[3] WHERE a.result #>> '{}' = b.result ->> 'xid'), '>', 32::bigint,
	'most of this was really one transaction');
SELECT is((SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND (classid, objid) IN ((0, 1011), (0, 1012), (1, 2))), 0::bigint, 'no advisory lock is left');
SELECT is((SELECT count(*) FROM pg_class WHERE relname = 't_leftover'), 0::bigint, 'no temporary table is left');

-- Jobs that all use the same names.
CREATE FUNCTION t_same_names(label text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	total bigint;
BEGIN
	CREATE TEMPORARY TABLE t_work ON COMMIT DROP AS SELECT i FROM generate_series(1, 10) i;
	CREATE TEMPORARY TABLE t_keep (i int);
	INSERT INTO t_keep SELECT * FROM t_work;
	EXECUTE 'PREPARE s AS SELECT 1';
	EXECUTE 'DECLARE c CURSOR FOR SELECT 1';
	EXECUTE 'DECLARE h CURSOR WITH HOLD FOR SELECT * FROM t_keep';
	PERFORM set_config('app.count', coalesce(nullif(current_setting('app.count', true), '')::int, 0) + 1 || '', false);
	INSERT INTO t_ran (label) VALUES (label || '/' || current_setting('app.count'));
	SELECT sum(i) FROM t_keep INTO total;
	RETURN total;
END $$;
TRUNCATE t_ran RESTART IDENTITY;
SELECT count(*) AS n FROM bgjob_enqueue_many('t_same_names', t_labels('n', 1, 100), queue => 'g', max_retries => 0) \gset
CALL tap_idle();
SELECT is_empty($$ SELECT state, result, error ->> 'message', count(*) FROM bgjob.jobs WHERE job ~ 't_same_names' AND (state <> 'succeeded' OR result <> '55') GROUP BY 1, 2, 3 $$,
	'a hundred jobs in groups can use the same names of temporary tables, statements, cursors');
SELECT is((SELECT count(*) FROM t_ran WHERE label LIKE 'n%/1'), 100::bigint, 'a hundred jobs in groups can use the same settings');
-- The worker cleans up after its commit.
CALL tap_wait_until($$ SELECT NOT EXISTS (SELECT FROM pg_class WHERE relpersistence = 't' AND relkind = 'r' AND relname !~ '^__t') $$, 20);
SELECT is_empty($$ SELECT relnamespace::regnamespace, relname FROM pg_class WHERE relpersistence = 't' AND relkind = 'r' AND relname !~ '^__t' $$, 'no temporary table is left');
TRUNCATE t_ran RESTART IDENTITY;

-- Captured settings, and roles, of each job.
CREATE FUNCTION t_who() RETURNS text LANGUAGE sql AS $$
	INSERT INTO public.t_ran (label) VALUES (current_user) RETURNING concat_ws('|', session_user, current_user, current_setting('TimeZone'),
		current_setting('search_path'), current_setting('app.tenant', true)) $$;
CREATE TABLE t_expected (id bigint, expected text);
DO $$
DECLARE
	r text;
BEGIN
	FOR i IN 1 .. 60 LOOP
		PERFORM set_config('TimeZone', (ARRAY['UTC', 'Asia/Tokyo', 'Europe/Berlin'])[1 + i % 3], true);
		PERFORM set_config('search_path', (ARRAY['public', 'public, pg_catalog'])[1 + i % 2], true);
		PERFORM set_config('app.tenant', 'tenant ' || i, true);
		r := (ARRAY['postgres', 'tap10_plain', 'tap10_repeatable'])[1 + i / 2 % 3];
		IF i / 2 % 3 = 0 THEN r := current_user; END IF;
		INSERT INTO t_expected SELECT bgjob_enqueue('public.t_who', queue => 'g', max_retries => 0, run_as => r),
			concat_ws('|', r, r, current_setting('TimeZone'), current_setting('search_path'), 'tenant ' || i);
	END LOOP;
END $$;
CALL tap_idle();
SELECT is_empty($$ SELECT expected, state, result, error FROM t_expected JOIN bgjob.jobs USING (id) WHERE result IS DISTINCT FROM to_jsonb(expected) $$,
	'each job of a group has its own captured settings and its own role');
SELECT is((SELECT count(DISTINCT label) FROM t_ran GROUP BY xid ORDER BY 1 DESC LIMIT 1), 1::bigint, 'jobs of two roles share no transaction');
TRUNCATE t_ran RESTART IDENTITY;

-- A later job sees the effects of an earlier one, and changes that other sessions have committed meanwhile.
CREATE TABLE t_seen_by (label text, rows bigint);
CREATE FUNCTION t_see(label text) RETURNS bigint LANGUAGE sql AS $$
	INSERT INTO t_ran (label) VALUES (label);
	SELECT tap_elsewhere(format('INSERT INTO t_ran (label) VALUES (%L) RETURNING label', 'elsewhere ' || label));
	SELECT count(*) FROM t_ran $$;
SELECT count(*) AS n FROM bgjob_enqueue_many('t_see', t_labels('see', 1, 5), queue => 'g', max_retries => 0) \gset
CALL tap_idle();
SELECT is((SELECT array_agg(coalesce(result::int, -1) ORDER BY id) FROM bgjob.jobs WHERE job ~ 't_see'), '{2,4,6,8,10}',
	'a job of a group sees the effects of those before it, and what other sessions have committed since');
TRUNCATE t_ran RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- Every job ends as it does without groups
----------------------------------------------------------------------------------------------------

CREATE TABLE t_busy (id int PRIMARY KEY, x int);
INSERT INTO t_busy SELECT i, i FROM generate_series(1, 100) i;
CREATE MATERIALIZED VIEW t_view AS SELECT * FROM t_busy;
CREATE UNIQUE INDEX t_view_id ON t_view (id);
CREATE TYPE t_enum AS ENUM ('a');
CREATE FUNCTION t_export() RETURNS boolean LANGUAGE sql AS $$ SELECT pg_export_snapshot() IS NOT NULL $$;
CREATE FUNCTION t_in_tx(label text) RETURNS boolean LANGUAGE sql AS $$ SELECT now() <= clock_timestamp() $$;
CREATE FUNCTION t_set(label text) RETURNS SETOF int LANGUAGE sql AS $$ SELECT generate_series(1, 3) $$;
CREATE FUNCTION t_row(OUT a int, OUT b text) LANGUAGE sql AS $$ SELECT 1, 'b'::text $$;
CREATE FUNCTION t_caught(label text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 3 LOOP
		BEGIN
			INSERT INTO t_busy VALUES (1, 1);
		EXCEPTION WHEN unique_violation THEN
			INSERT INTO t_busy VALUES (nextval('t_sequence') + 1000, i);
		END;
	END LOOP;
	RETURN label;
END $$;
CREATE FUNCTION t_deep(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN CASE WHEN n = 0 THEN 1 / n ELSE t_deep(n - 1) END; END $$;
CREATE FUNCTION t_set_isolation() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
	RETURN current_setting('transaction_isolation');
END $$;
CREATE FUNCTION t_reads_settings() RETURNS text LANGUAGE sql AS
	$$ SELECT concat_ws('|', current_setting('transaction_isolation'), current_setting('transaction_read_only'), current_setting('transaction_deferrable')) $$;

CREATE TABLE t_case (n serial, kind text, job text, args jsonb, single bigint, g bigint);
INSERT INTO t_case (kind, job, args) VALUES
	('function', 't_in_tx', '["x"]'), ('function', 't_set', '["x"]'), ('function', 't_row', NULL), ('function', 't_caught', '["x"]'),
	('function', 't_bad', '["x"]'), ('function', 't_deep', '[3]'), ('function', 't_set_isolation', NULL), ('function', 't_reads_settings', NULL),
	('function', 't_export', NULL), ('function', 'pg_sleep', '[0.01]'), ('function', 't_committing', '["proc"]'),
	('sql', 'SELECT $1 + $2 AS sum', '[1, 2]'), ('sql', 'SELECT 1 / $1::int', '[0]'), ('sql', 'INSERT INTO t_busy SELECT max(id) + 1, $1::int FROM t_busy RETURNING x', '[5]'),
	('sql', 'UPDATE t_busy SET x = x + 1 WHERE id = 1', NULL), ('sql', 'WITH d AS (DELETE FROM t_busy WHERE id = 2 RETURNING 1) SELECT 1', NULL),
	('sql', 'CREATE TABLE t_made (x int); ', NULL), ('sql', 'ALTER TABLE t_made ADD y int', NULL), ('sql', 'INSERT INTO t_made VALUES (1, 2) RETURNING *', NULL), ('sql', 'DROP TABLE t_made', NULL),
	('sql', 'CREATE TABLE t_made AS SELECT 1 AS x', NULL), ('sql', 'TRUNCATE t_made', NULL), ('sql', 'DROP TABLE t_made', NULL),
	('sql', 'VACUUM t_busy', NULL), ('sql', 'VACUUM FULL t_busy', NULL), ('sql', 'ANALYZE t_busy', NULL), ('sql', 'CLUSTER t_busy USING t_busy_pkey', NULL),
	('sql', 'CREATE INDEX CONCURRENTLY t_busy_x ON t_busy (x)', NULL), ('sql', 'REINDEX TABLE CONCURRENTLY t_busy', NULL), ('sql', 'REINDEX SCHEMA public', NULL),
	('sql', 'DROP INDEX CONCURRENTLY t_busy_x', NULL), ('sql', 'REFRESH MATERIALIZED VIEW CONCURRENTLY t_view', NULL), ('sql', 'CHECKPOINT', NULL),
	('sql', 'DISCARD ALL', NULL), ('sql', 'DISCARD TEMP', NULL), ('sql', 'DISCARD PLANS', NULL), ('sql', 'ALTER SYSTEM SET bgjob.max_retries = 10', NULL), ('sql', 'ALTER SYSTEM RESET bgjob.max_retries', NULL),
	('sql', 'ALTER TYPE t_enum ADD VALUE IF NOT EXISTS ''b''', NULL), ('sql', 'SELECT ''b''::t_enum', NULL),
	('sql', 'DO $do$ BEGIN INSERT INTO t_ran (label) VALUES (''do''); END $do$', NULL),
	('sql', 'DO $do$ BEGIN INSERT INTO t_ran (label) VALUES (''do 1''); COMMIT; INSERT INTO t_ran (label) VALUES (''do 2''); ROLLBACK; END $do$', NULL),
	('sql', 'CALL t_committing(''call'')', NULL), ('sql', 'EXPLAIN (COSTS off) SELECT 1', NULL), ('sql', 'EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) INSERT INTO t_ran (label) VALUES (''explained'')', NULL),
	('sql', 'DECLARE c CURSOR FOR SELECT 1', NULL), ('sql', 'DECLARE c CURSOR WITH HOLD FOR SELECT 1', NULL), ('sql', 'FETCH c', NULL), ('sql', 'CLOSE ALL', NULL),
	('sql', 'LOCK TABLE t_busy IN ACCESS EXCLUSIVE MODE', NULL), ('sql', 'SET CONSTRAINTS ALL IMMEDIATE', NULL), ('sql', 'SET CONSTRAINTS ALL DEFERRED', NULL),
	('sql', 'SET TRANSACTION READ ONLY', NULL), ('sql', 'SET TRANSACTION ISOLATION LEVEL SERIALIZABLE', NULL), ('sql', 'SET LOCAL work_mem = ''7MB''', NULL),
	('sql', 'SET work_mem = ''7MB''', NULL), ('sql', 'SHOW work_mem', NULL), ('sql', 'SET ROLE tap10_plain', NULL), ('sql', 'RESET ALL', NULL),
	('sql', 'NOTIFY tap10, ''x''', NULL), ('sql', 'UNLISTEN *', NULL), ('sql', 'PREPARE s AS SELECT 1', NULL), ('sql', 'EXECUTE s', NULL), ('sql', 'DEALLOCATE ALL', NULL),
	('sql', 'LOAD ''plpgsql''', NULL), ('sql', 'COMMENT ON TABLE t_busy IS ''busy''', NULL), ('sql', 'VALUES (1), (2)', NULL), ('sql', 'TABLE t_view LIMIT 1', NULL),
	('sql', 'CREATE TEMPORARY TABLE t_tmp (x int) ON COMMIT DROP', NULL), ('sql', 'SELECT * FROM t_nowhere', NULL), ('sql', 'SELECT pg_cancel_backend(pg_backend_pid())', NULL),
	('sql', 'SELECT set_config(''statement_timeout'', ''50ms'', false), pg_sleep(0.1)', NULL), ('sql', 'SELECT pg_sleep(0.2)', NULL);
-- tap_cases enqueues each case, in order, each followed by a plain job.
CREATE PROCEDURE tap_cases(q text) LANGUAGE plpgsql AS $$
DECLARE
	c t_case;
	new bigint;
BEGIN
	-- Paused meanwhile, so that groups reach their full size.
	PERFORM bgjob_queue_pause(q);
	FOR c IN SELECT * FROM t_case ORDER BY n LOOP
		new := NULL;
		BEGIN
			new := bgjob_enqueue(c.job, c.args, kind => c.kind, queue => q, max_retries => 0, tags => ARRAY['case']);
		EXCEPTION WHEN OTHERS THEN
			NULL;
		END;
		EXECUTE format('UPDATE t_case SET %I = %s WHERE n = %s', q, coalesce(new, -1), c.n);
		PERFORM bgjob_enqueue('public.t_run', jsonb_build_array(format('behind %s in %s', c.n, q)), queue => q, max_retries => 0);
	END LOOP;
	COMMIT;
	PERFORM bgjob_queue_resume(q);
	COMMIT;
	CALL tap_idle();
END $$;
CALL tap_cases('single');
CREATE TABLE t_effects AS SELECT 'single' AS q, label, n FROM t_ran;
DROP TABLE IF EXISTS t_made;
DROP TYPE t_enum;
CREATE TYPE t_enum AS ENUM ('a');
TRUNCATE t_ran, t_busy RESTART IDENTITY;
INSERT INTO t_busy SELECT i, i FROM generate_series(1, 100) i;
CALL tap_cases('g');
INSERT INTO t_effects SELECT 'g', label, n FROM t_ran;
SELECT cmp_ok((SELECT count(*) FROM t_case WHERE single > 0), '>', 65::bigint, 'more than 65 cases were tried');
SELECT is((SELECT concat_ws(' ', state, error ->> 'sqlstate', error ->> 'message', result) FROM bgjob.jobs WHERE id = g),
	(SELECT concat_ws(' ', state, error ->> 'sqlstate', error ->> 'message', result) FROM bgjob.jobs WHERE id = single),
	'in a group as without: ' || job) FROM t_case WHERE single > 0 ORDER BY n;
SELECT is((SELECT count(*) FROM t_case WHERE (single > 0) <> (g > 0)), 0::bigint, 'the same cases raise errors at enqueue in both queues');
SELECT is((SELECT array_agg(replace(label, 'in g', '') ORDER BY n) FROM t_effects WHERE q = 'g'),
	(SELECT array_agg(replace(label, 'in single', '') ORDER BY n) FROM t_effects WHERE q = 'single'), 'with the same effects, in the same order');
SELECT is((SELECT count(DISTINCT label) FROM t_effects WHERE label LIKE 'behind % in g'), (SELECT count(*) FROM t_case), 'the plain jobs between the cases succeed');
SELECT is((SELECT string_agg(format('%s: %s', id, state), ', ') FROM bgjob.jobs WHERE args ->> 0 LIKE 'behind % in g' AND (state <> 'succeeded' OR retries + interruptions > 0)), NULL,
	'at their first attempt');
SELECT is((SELECT string_agg(format('%s: %s', job, interruptions), ', ') FROM t_case JOIN bgjob.jobs j USING (job) WHERE j.id IN (single, g) AND interruptions > 0), NULL, 'no job was interrupted');
DROP INDEX IF EXISTS t_busy_x;
TRUNCATE t_ran RESTART IDENTITY;

-- Many procedures among many plain jobs: with one worker the order is exact.
SELECT count(CASE WHEN i % 5 = 0 THEN bgjob_enqueue('t_committing', jsonb_build_array(i), queue => 'g')
	WHEN i % 7 = 0 THEN bgjob_enqueue('VACUUM t_busy', kind => 'sql', queue => 'g')
	ELSE bgjob_enqueue('t_run', jsonb_build_array(i), queue => 'g') END) AS n FROM generate_series(1, 200) i \gset
CALL tap_idle();
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE job ~ 't_committing|VACUUM t_busy' AND state <> 'succeeded'), 0::bigint, 'procedures and VACUUM in a grouped queue succeed');
SELECT is(t_order(), (SELECT array_agg(l ORDER BY i, l) FROM generate_series(1, 200) i,
	LATERAL unnest(CASE WHEN i % 5 = 0 THEN ARRAY[i || ' a', i || ' b'] WHEN i % 7 = 0 THEN '{}' ELSE ARRAY[i::text] END) l), 'in order, among plain jobs, each once');
TRUNCATE t_ran RESTART IDENTITY;

-- Under repeatable read and serializable.
SELECT count(*) AS n FROM generate_series(1, 40) i, unnest(ARRAY['tap10_repeatable', 'tap10_serializable']) r,
	LATERAL bgjob_enqueue('public.t_run', jsonb_build_array(r || i), queue => 'g', run_as => r) \gset
SELECT bgjob_enqueue('public.t_reads_settings', queue => 'g', run_as => 'tap10_repeatable') AS repeatable,
	bgjob_enqueue('public.t_reads_settings', queue => 'g', run_as => 'tap10_serializable') AS serializable \gset
CALL tap_idle();
SELECT is(t_times('tap10_')::text, '(80,1)', 'jobs of roles with another default_transaction_isolation run once');
SELECT is(bgjob_result(:repeatable) #>> '{}' || ', ' || (bgjob_result(:serializable) #>> '{}'), 'repeatable read|off|off, serializable|off|off', 'the jobs run under the isolation of their roles');
SELECT is((SELECT count(DISTINCT xid) FROM t_ran WHERE label LIKE 'tap10_%'), 80::bigint, 'each of these jobs has a transaction of its own');
TRUNCATE t_ran RESTART IDENTITY;

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
SELECT is(t_times('parent')::text, '(75,1)', 'jobs in groups can enqueue jobs');
SELECT is(t_times('child')::text, '(75,1)', 'the jobs enqueued by succeeded jobs run once, those of failed jobs do not exist');
SELECT is((SELECT count(*) FROM bgjob.jobs p JOIN bgjob.jobs c ON c.id = p.result::bigint WHERE p.job ~ 't_parent_job' AND c.args ->> 0 = 'child of ' || (p.args ->> 0)), 75::bigint,
	'the id that they got is that of their job');
TRUNCATE t_ran RESTART IDENTITY;

-- Another session, or a job of the group, acts on the group's jobs while the group runs. In the query %1$s is the job
-- before, %2$s the job after, %3$s the job itself.
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
SELECT is(t_outcome('deleted', :'x'), 'succeeded, succeeded (t), deleted; before control', 'a job of a running group is deleted before its start');
SELECT t_controlled('put off', 'SELECT bgjob_reschedule(%2$s, delay => ''1 hour'')') AS x \gset
CALL tap_idle();
SELECT is(t_outcome('put off', :'x'), 'succeeded, succeeded (t), scheduled; before control', 'a job of a running group is rescheduled before its start');
SELECT t_controlled('paused', 'SELECT bgjob_queue_pause(''g'')') AS x \gset
CALL tap_state_is((:'x'::bigint[])[2], 'succeeded');
SELECT bgjob_enqueue('t_run', '["marker"]', priority => -100) AS marker \gset
SELECT is(bgjob_wait(:marker, '60 s'), 'succeeded', 'a queue is paused while its group runs');
SELECT is(t_outcome('paused', :'x'), 'succeeded, succeeded (t), enqueued; before control', 'the next job of the group is not started after the pause');
SELECT bgjob_queue_resume('g') AS resumed \gset
CALL tap_idle();
SELECT is(t_outcome('paused', :'x'), 'succeeded, succeeded (t), succeeded; before control after', 'the next job of the group runs after the resume');
SELECT is((SELECT count(DISTINCT xid) FROM t_ran WHERE label IN ('before paused', 'control paused')), 1::bigint, 'the first two jobs ran in one group');

SELECT t_controlled('deleted inside', 'SELECT bgjob_delete(%2$s)', 't_control_inside') AS x \gset
CALL tap_idle();
SELECT is(t_outcome('deleted inside', :'x'), 'succeeded, succeeded (t), deleted; before control', 'a job deletes the next job of its group');
SELECT t_controlled('put off inside', 'SELECT bgjob_reschedule(%2$s, delay => ''1 hour'')', 't_control_inside') AS x \gset
CALL tap_idle();
SELECT is(t_outcome('put off inside', :'x'), 'succeeded, succeeded (t), scheduled; before control', 'a job reschedules the next job of its group');
SELECT t_controlled('in vain', 'SELECT bgjob_delete(%2$s) AND 1 / 0 = 0', 't_control_inside') AS x \gset
CALL tap_idle();
SELECT is(t_outcome('in vain', :'x'), 'succeeded, failed (22012), succeeded; before after', 'a failed job does not delete the next job of its group');
SELECT t_controlled('requeued inside', 'SELECT bgjob_requeue(%2$s)', 't_control_inside') AS x \gset
CALL tap_idle();
SELECT is(t_outcome('requeued inside', :'x'), 'succeeded, succeeded (t), succeeded; before control after', 'a job requeues the next job of its group, which runs once');
SELECT t_controlled('itself', 'SELECT bgjob_delete(bgjob_current_id())', 't_control_inside') AS x \gset
CALL tap_idle();
SELECT is((SELECT array_agg(state ORDER BY state) FROM bgjob.jobs WHERE id = ANY (:'x'::bigint[])), '{deleted,succeeded,succeeded}', 'a job of a group deletes itself and no other job');
-- The job before has ended, but not its group: outside of a group it would have succeeded, and run once more.
SELECT t_controlled('again', 'SELECT bgjob_requeue(%1$s)', 't_control_inside') AS x \gset
CALL tap_idle();
SELECT matches(t_outcome('again', :'x'), '^succeeded, (succeeded \(t\), succeeded; before control (after before|before after)|succeeded \(f\), succeeded; before control after|failed \([0-9A-Z]{5}\), succeeded; before after)$',
	'a job requeues the previous job of its group, which runs twice, or the call returns false or fails');
SELECT t_controlled('wait', 'SELECT bgjob_wait(%1$s, ''3 s'')', 't_control_inside') AS x \gset
CALL tap_idle();
SELECT matches(t_outcome('wait', :'x'), '^succeeded, (succeeded \(s\), succeeded; before control after|failed \(55000\), succeeded; before after)$',
	'a job that waits for the previous job of its group gets succeeded, or an error');
TRUNCATE t_ran RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- Time limits, and jobs that are deleted while they run
----------------------------------------------------------------------------------------------------

-- With 'what' at a position among twenty others.
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
	ELSE 'failed 57014 {enqueued,processing,failed}' END) || ', 20 succeeded; (20,1)', what || ': that job alone, and its neighbors succeed once') FROM t_ends ORDER BY n;
SELECT is_empty($$ SELECT * FROM t_ends WHERE said <> 'true' $$, 'bgjob_delete and bgjob_reschedule return true for these jobs');
TRUNCATE t_ran RESTART IDENTITY;

-- A time limit is that of one job, not of its group.
SELECT count(*) AS n FROM generate_series(1, 20) i, LATERAL bgjob_enqueue('t_slow', jsonb_build_array('limited' || i, 0.06), queue => 'g', timeout => '5 s', max_retries => 0) \gset
SELECT count(*) AS n FROM generate_series(1, 3) i, LATERAL bgjob_enqueue('t_slow', jsonb_build_array('over' || i, 60), queue => 'g', timeout => '200 ms', max_retries => 0) \gset
CALL tap_idle();
SELECT is(t_times('limited')::text, '(20,1)', 'jobs within their timeouts succeed, however long their group is');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE args ->> 0 LIKE 'over%' AND state = 'failed' AND error ->> 'sqlstate' = '57014'), 3::bigint, 'jobs over their timeouts fail');
TRUNCATE t_ran RESTART IDENTITY;

-- Requeued while it runs.
SELECT pg_advisory_lock(1010) AS locked \gset
BEGIN;
SELECT count(*) AS n FROM bgjob_enqueue_many('t_run', t_labels('requeue a', 1, 10), queue => 'g') \gset
SELECT bgjob_enqueue('t_block', '["requeue itself"]', queue => 'g') AS blocked \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_run', t_labels('requeue b', 1, 10), queue => 'g') \gset
COMMIT;
CALL tap_state_is(:blocked, 'processing');
CALL tap_wait_until($$ SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 1010 AND NOT granted) $$);
SELECT is(bgjob_requeue(:blocked), true, 'a running job of a group can be requeued');
SELECT pg_advisory_unlock(1010) AS unlocked \gset
CALL tap_idle();
SELECT is(t_times('requeue')::text, '(21,1)', 'the requeued job and the other jobs of the group have their effects once');
SELECT is((SELECT label FROM t_ran ORDER BY n DESC LIMIT 1), 'requeue itself', 'the requeued job runs last');
TRUNCATE t_ran RESTART IDENTITY;

-- Jobs that wait, or have ended, in a group with a slow job.
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
SELECT isnt(tap_state(:ended), 'succeeded', 'a finished job of a group has not succeeded before the group ends');
SELECT is((SELECT array_agg(DISTINCT job_id) FROM bgjob.workers), ARRAY[:blocked]::bigint[], 'bgjob.workers shows the running job of the group');
SELECT is(tap_elsewhere(format('SELECT bgjob_delete(%s)', :behind1)), 't', 'a job of the group that has not started can be deleted at once');
SELECT is(tap_elsewhere(format('SELECT bgjob_requeue(%s)', :behind2)), 't', 'a job of the group that has not started can be requeued at once');
SELECT is(tap_state(:behind1), 'deleted', 'the job deleted in the group has state deleted');
SELECT tap_elsewhere(format('SELECT bgjob_delete(%s)', :ended)) AS answer \gset
SELECT is(:'answer'::text, 'ERROR 57014', 'bgjob_delete of a finished job waits for the end of the group');
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

-- A row that another session has locked.
SELECT dblink_connect('holder', t_connection()) AS x \gset
SELECT dblink_exec('holder', 'BEGIN') AS x, dblink_exec('holder', 'UPDATE t_row_lock SET x = x + 100 WHERE id = 3') AS y \gset
SELECT count(*) AS n FROM generate_series(1, 20) i, LATERAL bgjob_enqueue('t_update', jsonb_build_array('lock' || i, i), queue => 'g', max_retries => 0) \gset
SELECT id AS waiting FROM bgjob.jobs WHERE args ->> 0 = 'lock3' \gset
CALL tap_wait_until($$ SELECT EXISTS (SELECT FROM pg_locks l JOIN bgjob.workers w USING (pid) WHERE NOT l.granted) $$);
SELECT is((SELECT j.id FROM bgjob.workers w JOIN bgjob.jobs j ON j.id = w.job_id), :waiting::bigint, 'a job of a group waits for a row that another session has locked');
SELECT is(tap_state(:waiting), 'processing', 'the waiting job is processing');
SELECT dblink_exec('holder', 'COMMIT') AS x \gset
CALL tap_idle();
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE args ->> 0 ~ '^lock\d+$' AND state = 'succeeded'), 20::bigint, 'after the other session has committed, all jobs of the group succeed');
SELECT is((SELECT format('%s %s', sum(x), max(x)) FROM t_row_lock), '120 101', 'each of these jobs has its effect once, on the committed row');
TRUNCATE t_ran RESTART IDENTITY;

-- lock_timeout fails only that job.
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
SELECT is(t_times('impatient')::text, '(18,1)', 'the other jobs of the group have their effects once');
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
SELECT is((SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 2020), 0::bigint, 'the advisory lock is released after the group');
-- A failed job's locks are released with it.
CREATE FUNCTION t_lock_and_fail(label text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(2020, 99); RAISE EXCEPTION 'no'; END $$;
BEGIN;
SELECT bgjob_enqueue('t_lock_and_fail', '["x"]', queue => 'g', max_retries => 0) AS x \gset
SELECT bgjob_enqueue('t_control', jsonb_build_array('other session', 'SELECT pg_try_advisory_lock(2020, 99)'), queue => 'g', max_retries => 0) AS try \gset
COMMIT;
CALL tap_idle();
SELECT is(bgjob_result(:try), '"t"', 'the locks of a failed job are released before the next job starts');
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
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE args ->> 0 ~ '^w\d' AND state = 'succeeded'), 4000::bigint, 'all four thousand jobs succeed');
TRUNCATE t_ran RESTART IDENTITY;

-- A slow job, or one that waits for a lock, delays no other job of its group.
SELECT pg_advisory_lock(1010) AS locked \gset
BEGIN;
SELECT count(*) AS n FROM bgjob_enqueue_many('t_run', t_labels('c', 1, 50), queue => 'g') \gset
SELECT bgjob_enqueue('t_block', '["c itself"]', queue => 'g') AS blocked \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_run', t_labels('c', 51, 200), queue => 'g') \gset
COMMIT;
CALL tap_wait_until($$ SELECT count(*) = 150 FROM t_ran WHERE label ~ '^c\d+$' AND substr(label, 2)::int > 50 $$);
SELECT is((SELECT count(*) FROM t_ran WHERE label ~ '^c\d+$' AND substr(label, 2)::int > 50), 150::bigint, 'other workers perform the jobs after one that is stuck in a group');
SELECT is(tap_state(:blocked), 'processing', 'the stuck job is processing meanwhile');
SELECT pg_advisory_unlock(1010) AS unlocked \gset
CALL tap_idle();
SELECT is(t_times('c')::text, '(201,1)', 'all jobs have run once in the end');
TRUNCATE t_ran RESTART IDENTITY;

-- Each of these jobs takes one lock, so single jobs cannot deadlock. Groups keep their locks, so they can.
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
SELECT is((SELECT string_agg(concat_ws(' ', state, sqlstate, n), ', ' ORDER BY state) FROM (
	SELECT state, error ->> 'sqlstate' AS sqlstate, count(*) AS n FROM bgjob.jobs WHERE args ->> 0 ~ '^dead\d' GROUP BY 1, 2) x), 'succeeded 300',
	'a deadlock that is due to groups alone fails no job');
SELECT is((SELECT sum(x) FROM t_row_lock), (SELECT count(*) FROM bgjob.jobs WHERE args ->> 0 ~ '^dead\d' AND state = 'succeeded'), 'each succeeded job has its effect once');

\ir lib/check_counters.sql
SELECT * FROM finish();

ALTER SYSTEM RESET bgjob.workers;
SELECT pg_reload_conf() AS reloaded \gset
SELECT dblink_disconnect('holder') AS x \gset
SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap10_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap10_' \gexec
