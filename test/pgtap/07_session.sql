-- 07_session.sql
--
-- What this file proves (promise 5 and "Settings of the caller"):
--   * TimeZone, DateStyle, IntervalStyle, search_path and every custom setting of the enqueuing session are in
--     force in the job; other settings are not;
--   * no session state of a job is visible to the next job of the same process: settings, role, temporary
--     tables, prepared statements, advisory locks, LISTEN, cursors WITH HOLD, currval, transaction defaults,
--     whether the first job is a function, a command, a procedure that commits, or a job that fails.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser. It sets bgjob.workers to 1 with ALTER
-- SYSTEM, so that one process runs everything, and resets it at its end: do not run it beside other files.

\ir lib/session.sql

-- Set before CREATE EXTENSION, so that the scheduler of the database starts with it.
ALTER SYSTEM SET bgjob.workers = 1;
SELECT pg_reload_conf() AS reloaded \gset

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

SELECT 'DROP OWNED BY tap07_plain' FROM pg_roles WHERE rolname = 'tap07_plain' \gexec
DROP ROLE IF EXISTS tap07_plain;
CREATE ROLE tap07_plain LOGIN;

----------------------------------------------------------------------------------------------------
-- Helpers
----------------------------------------------------------------------------------------------------

\ir lib/wait.sql

----------------------------------------------------------------------------------------------------
-- What the jobs of this file call
----------------------------------------------------------------------------------------------------

CREATE SEQUENCE t_sequence;
CREATE TABLE t_log (label text);
CREATE SCHEMA t_path;
CREATE FUNCTION t_path.where_am_i() RETURNS text LANGUAGE sql AS $$ SELECT 'in t_path'::text $$;

CREATE FUNCTION t_settings() RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_object_agg(n, current_setting(n, true)) FROM unnest(ARRAY['TimeZone', 'DateStyle', 'IntervalStyle', 'search_path',
		'app.tenant', 'app.person', 'app.late', 'work_mem', 'lc_messages', 'lc_monetary']) n $$;
CREATE FUNCTION t_plain_text() RETURNS text LANGUAGE sql AS
	$$ SELECT format('%s|%s', '2024-02-03 12:00:00+00'::timestamptz, interval '1 day 2 hours') $$;

-- Leaves all state behind that a session can have.
CREATE FUNCTION t_dirty(fails boolean = false) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	SET work_mem = '77MB';
	SET search_path = pg_catalog;
	SET TimeZone = 'Asia/Tokyo';
	SET statement_timeout = '1234s';
	SET lock_timeout = '77s';
	SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY;
	SET ROLE tap07_plain;
	RESET ROLE;
	PERFORM set_config('app.secret', 'of the job before', false);
	CREATE TEMPORARY TABLE t_leftover (x int);
	CREATE FUNCTION pg_temp.leftover() RETURNS int LANGUAGE sql AS 'SELECT 1';
	EXECUTE 'PREPARE leftover_statement AS SELECT 1';
	EXECUTE 'DECLARE leftover_cursor CURSOR WITH HOLD FOR SELECT 1';
	PERFORM pg_advisory_lock(7007);
	PERFORM pg_advisory_lock_shared(7007, 2);
	PERFORM nextval('public.t_sequence');
	BEGIN
		LISTEN leftover_channel;	-- the server refuses it in background processes; if it ever does not, it must not stay
	EXCEPTION WHEN OTHERS THEN
		NULL;
	END;
	IF fails THEN
		RAISE EXCEPTION 'failed on purpose';
	END IF;
	SET ROLE tap07_plain;
	RETURN pg_backend_pid();
END $$;
CREATE PROCEDURE t_dirty_procedure() LANGUAGE plpgsql AS $$
BEGIN
	PERFORM public.t_dirty();
	RESET ROLE;
	SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE;
	COMMIT;
	SET default_transaction_read_only = on;
	SET ROLE tap07_plain;
END $$;

-- Returns all state that is left, as one object; a clean session returns t_clean.
CREATE FUNCTION t_found() RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	value text;
BEGIN
	BEGIN
		value := currval('public.t_sequence')::text;
	EXCEPTION
		WHEN object_not_in_prerequisite_state THEN
			value := 'undefined';
		WHEN insufficient_privilege THEN	-- under the role that a dirty job has set
			value := 'forbidden';
	END;
	RETURN jsonb_build_object(
		'role', current_user = session_user,
		'settings', (SELECT coalesce(jsonb_agg(name ORDER BY name), '[]') FROM pg_settings
			WHERE name IN ('work_mem', 'statement_timeout', 'lock_timeout', 'default_transaction_read_only') AND source = 'session'),
		'search_path', current_setting('search_path'),
		'timezone', current_setting('TimeZone') = 'Asia/Tokyo',
		'secret', coalesce(current_setting('app.secret', true), ''),
		'temporary objects', (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema())
			+ (SELECT count(*) FROM pg_proc WHERE pronamespace = pg_my_temp_schema()),
		'prepared', (SELECT count(*) FROM pg_prepared_statements),
		'cursors', (SELECT count(*) FROM pg_cursors WHERE is_holdable),
		'advisory locks', (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
		'listening', (SELECT count(*) FROM pg_listening_channels()),
		'currval', value);
END $$;
CREATE FUNCTION t_pid() RETURNS int LANGUAGE sql AS $$ SELECT pg_backend_pid() $$;
CREATE FUNCTION t_write(label text) RETURNS text LANGUAGE sql AS $$ INSERT INTO t_log VALUES (label) RETURNING t_log.label $$;

CREATE TABLE t_clean AS SELECT '{"role": true, "settings": [], "search_path": "\"$user\", public", "timezone": false, "secret": "",
	"temporary objects": 0, "prepared": 0, "cursors": 0, "advisory locks": 0, "listening": 0, "currval": "undefined"}'::jsonb AS doc;

-- t_after enqueues a job, then t_found, a write and the process id, all in one transaction, so that the only worker
-- runs them in this order. Returns their ids.
CREATE FUNCTION t_after(job text, args jsonb, kind text) RETURNS bigint[] LANGUAGE sql AS $$
	SELECT ARRAY[bgjob_enqueue(job, args, kind => kind, max_retries => 0),
		bgjob_enqueue('public.t_found', max_retries => 0),
		bgjob_enqueue('public.t_write', '["written"]', max_retries => 0),
		bgjob_enqueue('public.t_pid', max_retries => 0)] $$;

SELECT plan(49);

CALL tap_wait_setting('bgjob.workers', '1');
CALL tap_wait_until('SELECT count(*) = 1 FROM bgjob.workers');

----------------------------------------------------------------------------------------------------
-- Captured settings
----------------------------------------------------------------------------------------------------

SELECT current_setting('work_mem') AS work_mem \gset
SET timezone = 'Pacific/Auckland';
SET datestyle = 'German, DMY';
SET intervalstyle = 'iso_8601';
SET search_path = t_path, public;
SET app.tenant = 'acme; "x" ''y''';
SELECT set_config('app.person', '', false) AS set_user \gset
SET work_mem = '55MB';
SELECT bgjob_enqueue('t_settings') AS captured, bgjob_enqueue('t_plain_text') AS printed, bgjob_enqueue('where_am_i') AS here \gset
SET app.tenant = 'another';
SET app.late = 'set after the enqueue';
RESET timezone;
RESET datestyle;
RESET intervalstyle;
RESET search_path;
RESET work_mem;
SELECT is(ARRAY[bgjob_wait(:captured, '20 s'), bgjob_wait(:printed, '20 s'), bgjob_wait(:here, '20 s')],
	'{succeeded,succeeded,succeeded}'::text[], 'jobs with captured settings succeed');
SELECT is(bgjob_result(:captured) ->> 'TimeZone', 'Pacific/Auckland', 'TimeZone is captured');
SELECT is(bgjob_result(:captured) ->> 'DateStyle', 'German, DMY', 'DateStyle is captured');
SELECT is(bgjob_result(:captured) ->> 'IntervalStyle', 'iso_8601', 'IntervalStyle is captured');
SELECT is(bgjob_result(:captured) ->> 'search_path', 't_path, public', 'search_path is captured');
SELECT is(bgjob_result(:captured) ->> 'app.tenant', 'acme; "x" ''y''', 'a custom setting is captured as it was at the enqueue');
SELECT is(bgjob_result(:captured) ->> 'app.person', '', 'an empty custom setting is captured');
SELECT is(coalesce(bgjob_result(:captured) ->> 'app.late', ''), '', 'a setting of after the enqueue is not captured');
SELECT is(bgjob_result(:captured) ->> 'work_mem', :'work_mem', 'work_mem is not captured');
SELECT is(bgjob_result(:printed), '"04.02.2024 01:00:00 NZDT|P1DT2H"', 'the job prints times with the settings of the caller');
SELECT is(bgjob_result(:here), '"in t_path"', 'a function in the search_path of the caller is found');
SELECT ok((SELECT settings::text LIKE '%Pacific/Auckland%' FROM bgjob.jobs WHERE id = :captured), 'bgjob.jobs shows the captured settings');

BEGIN;
SET LOCAL timezone = 'Asia/Kolkata';
SET LOCAL app.tenant = 'local';
SELECT bgjob_enqueue('t_settings') AS locally \gset
COMMIT;
SELECT bgjob_wait(:locally, '20 s') AS locally_state \gset
SELECT is(format('%s %s', bgjob_result(:locally) ->> 'TimeZone', bgjob_result(:locally) ->> 'app.tenant'), 'Asia/Kolkata local',
	'settings of SET LOCAL are captured, too');

-- A library is loaded whose settings are set already: one is superuser-only, and unknown ones are removed.
SET auto_explain.no_such_thing = 'x';
SET auto_explain.log_format = 'json';
SELECT bgjob_enqueue('t_settings') AS before_load \gset
SET client_min_messages = error;
LOAD 'auto_explain';
RESET client_min_messages;
SET app.person = 'after';
SELECT bgjob_enqueue('t_settings') AS after_load \gset
SELECT is(ARRAY(SELECT concat_ws(' ', settings ->> 'auto_explain.no_such_thing', settings ->> 'auto_explain.log_format', settings ->> 'app.tenant',
	settings ->> 'app.person') FROM bgjob.jobs WHERE id IN (:before_load, :after_load) ORDER BY id), '{"x json another ",another after}'::text[],
	'custom settings are captured before and after a library takes over some of them');

-- Captured settings stay with their job.
RESET app.tenant;
RESET app.person;
RESET app.late;
SELECT bgjob_enqueue('t_settings') AS plain \gset
SELECT bgjob_wait(:plain, '20 s') AS plain_state \gset
SELECT is(bgjob_result(:plain) ->> 'TimeZone', current_setting('TimeZone'), 'the next job has its own TimeZone');
SELECT is(bgjob_result(:plain) ->> 'search_path', current_setting('search_path'), 'the next job has its own search_path');
SELECT is(coalesce(bgjob_result(:plain) ->> 'app.tenant', ''), '', 'the next job does not have the custom setting');

-- Retried and requeued jobs keep their settings.
SELECT bgjob_requeue(:captured) AS requeued \gset
SELECT bgjob_wait(:captured, '20 s') AS captured_again \gset
SELECT is(format('%s %s', bgjob_result(:captured) ->> 'TimeZone', bgjob_result(:captured) ->> 'app.tenant'),
	'Pacific/Auckland acme; "x" ''y''', 'a requeued job runs with the settings of its enqueue');

----------------------------------------------------------------------------------------------------
-- Nothing leaks
----------------------------------------------------------------------------------------------------

-- The check itself: an untouched session is clean, a dirty one is not.
SELECT bgjob_enqueue('t_found') AS found \gset
SELECT bgjob_wait(:found, '20 s') AS found_state \gset
SELECT is(bgjob_result(:found), (SELECT doc FROM t_clean), 'an untouched session is clean');
SELECT bgjob_enqueue('SELECT t_dirty(), t_found() AS found', kind => 'sql', max_retries => 0) AS both \gset
SELECT bgjob_wait(:both, '20 s') AS both_state \gset
SELECT is(bgjob_result(:both) -> 0 -> 'found', '{"role": false,
	"settings": ["default_transaction_read_only", "lock_timeout", "statement_timeout", "work_mem"], "search_path": "pg_catalog",
	"timezone": true, "secret": "of the job before", "temporary objects": 2, "prepared": 1, "cursors": 1, "advisory locks": 2,
	"listening": 0, "currval": "forbidden"}'::jsonb, 'and the check sees what a dirty job leaves');

SELECT t_after('t_dirty', NULL, 'function') AS f \gset
SELECT t_after('t_dirty', '[true]', 'function') AS e \gset
SELECT t_after('t_dirty_procedure', NULL, 'function') AS p \gset
CALL tap_wait_until(format($$ SELECT bool_and(state IN ('succeeded', 'failed')) FROM bgjob.jobs WHERE id = ANY (%L) $$,
	:'f'::bigint[] || :'e'::bigint[] || :'p'::bigint[]));

SELECT is((SELECT state FROM bgjob.jobs WHERE id = (:'f'::bigint[])[1]), 'succeeded', 'a function that leaves everything behind succeeds');
SELECT is((SELECT result FROM bgjob.jobs WHERE id = (:'f'::bigint[])[2]), (SELECT doc FROM t_clean), 'after the function the session is clean');
SELECT is((SELECT result FROM bgjob.jobs WHERE id = (:'f'::bigint[])[3]), '"written"', 'after the function a job can write');
SELECT is((SELECT result FROM bgjob.jobs WHERE id = (:'f'::bigint[])[4]), (SELECT result FROM bgjob.jobs WHERE id = (:'f'::bigint[])[1]),
	'all this was the same process');

SELECT is((SELECT state FROM bgjob.jobs WHERE id = (:'e'::bigint[])[1]), 'failed', 'a function that leaves everything behind and raises an error fails');
SELECT is((SELECT result FROM bgjob.jobs WHERE id = (:'e'::bigint[])[2]), (SELECT doc FROM t_clean),
	'after it the session is clean, also of advisory locks, which an abort alone keeps');
SELECT is((SELECT result FROM bgjob.jobs WHERE id = (:'e'::bigint[])[3]), '"written"', 'after the error a job can write');
SELECT is((SELECT result FROM bgjob.jobs WHERE id = (:'e'::bigint[])[4]), (SELECT result FROM bgjob.jobs WHERE id = (:'f'::bigint[])[1]),
	'all this was the same process');

SELECT is((SELECT state FROM bgjob.jobs WHERE id = (:'p'::bigint[])[1]), 'succeeded', 'a procedure that commits and leaves everything behind succeeds');
SELECT is((SELECT result FROM bgjob.jobs WHERE id = (:'p'::bigint[])[2]), (SELECT doc FROM t_clean), 'after the procedure the session is clean');
SELECT is((SELECT result FROM bgjob.jobs WHERE id = (:'p'::bigint[])[3]), '"written"', 'after the procedure a job can write');
SELECT is((SELECT result FROM bgjob.jobs WHERE id = (:'p'::bigint[])[4]), (SELECT result FROM bgjob.jobs WHERE id = (:'f'::bigint[])[1]),
	'all this was the same process');

-- Commands: each leaves one thing, at the top level of the session.
CREATE TABLE t_command (n serial, command text, ids bigint[]);
INSERT INTO t_command (command) VALUES
	('SET work_mem = ''99MB'''), ('SET search_path = pg_catalog'), ('SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY'),
	('SET ROLE tap07_plain'), ('SET app.secret = ''of a command'''), ('CREATE TEMPORARY TABLE t_leftover (x int)'),
	('PREPARE leftover AS SELECT 1'), ('DECLARE leftover CURSOR WITH HOLD FOR SELECT 1'), ('SELECT pg_advisory_lock(7008)'),
	('SELECT nextval(''public.t_sequence'')'), ('SET statement_timeout = ''1ms''');
UPDATE t_command SET ids = t_after(command, NULL, 'sql');
CALL tap_wait_until($$ SELECT bool_and(state IN ('succeeded', 'failed')) FROM bgjob.jobs, t_command WHERE id = ANY (ids) $$);
SELECT is((SELECT jsonb_agg(jsonb_build_array(j.state, j.result) ORDER BY j.id) - 3 - 0 FROM bgjob.jobs j WHERE j.id = ANY (c.ids)),
	jsonb_build_array(jsonb_build_array('succeeded', (SELECT doc FROM t_clean)), '["succeeded", "written"]'::jsonb),
	'nothing is left of ' || c.command)
FROM t_command c ORDER BY n;
SELECT is_empty($$ SELECT command, j.error FROM t_command c JOIN bgjob.jobs j ON j.id = c.ids[1] WHERE j.state <> 'succeeded' $$,
	'each of these commands succeeded by itself');
SELECT is((SELECT array_agg(DISTINCT result) FROM t_command c JOIN bgjob.jobs j ON j.id = c.ids[4]),
	(SELECT ARRAY[result] FROM bgjob.jobs WHERE id = (:'f'::bigint[])[1]), 'all this was the same process');

SELECT is((SELECT count(*) FROM pg_class WHERE relname = 't_leftover'), 0::bigint, 'the temporary tables are dropped');
SELECT is((SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid IN (7007, 7008)), 0::bigint, 'the advisory locks are released');
SELECT is((SELECT count(*) FROM t_log), 14::bigint, 'each write between the commands happened once');

\ir lib/check_counters.sql
SELECT * FROM finish();

ALTER SYSTEM RESET bgjob.workers;
SELECT pg_reload_conf() AS reloaded \gset
SELECT 'DROP OWNED BY tap07_plain' \gexec
DROP ROLE tap07_plain;
