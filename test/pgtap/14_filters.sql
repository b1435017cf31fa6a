-- 14_filters.sql
--
-- What this file proves (doc/manual.md, "bgjob_filter"):
--   * which roles may add filters, with which functions, and the errors for all others;
--   * each of the seven events is called, in the right transaction, with the right context, in order;
--   * patterns match the function's signature, the name that the caller gave, or the command;
--   * creating changes or cancels jobs, singly and in bulk; its changes are checked like the caller's options;
--   * performing cancels; electing chooses another state, but only one that the state machine allows;
--   * filters run as their owner with a pinned search_path, and leave no session state, also after an error;
--   * an error of a filter fails the statement or the attempt, but never the recording of a failure;
--   * a job that a filter enqueues calls no filter; a filter cannot change the job that it is called for;
--   * procedures and groups of jobs call filters likewise;
--   * the changing transaction sees changes of filters; after a rollback they are gone.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser. It changes bgjob.workers with ALTER
-- SYSTEM and resets it at its end: do not run it beside other files. It drops and creates the extension.

\ir lib/session.sql

ALTER SYSTEM SET bgjob.workers = 2;
SELECT pg_reload_conf() AS reloaded \gset

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap14_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap14_' \gexec
CREATE ROLE tap14_app LOGIN;
CREATE ROLE tap14_auditor;
CREATE ROLE tap14_admin;
GRANT USAGE ON SCHEMA bgjob TO tap14_app, tap14_auditor, tap14_admin;

----------------------------------------------------------------------------------------------------
-- Helpers
----------------------------------------------------------------------------------------------------

\ir lib/wait.sql
\ir lib/states.sql
\ir lib/errors.sql

CREATE FUNCTION tap_reason(id bigint) RETURNS text LANGUAGE sql AS $$ SELECT j.reason FROM bgjob.jobs j WHERE j.id = $1 $$;
CREATE FUNCTION tap_remove_all() RETURNS bigint LANGUAGE sql AS
	$$ SELECT count(bgjob_filter_remove(name)) FROM bgjob.filters $$;

----------------------------------------------------------------------------------------------------
-- Functions of the jobs, and filters
----------------------------------------------------------------------------------------------------

CREATE SCHEMA app;
GRANT USAGE ON SCHEMA app TO tap14_app;
CREATE TABLE app.ran (n serial, label text, at timestamptz DEFAULT clock_timestamp());
GRANT ALL ON app.ran, app.ran_n_seq TO tap14_app;
CREATE FUNCTION app.run(label text) RETURNS text LANGUAGE sql AS $$ INSERT INTO app.ran (label) VALUES (label) RETURNING label $$;
CREATE FUNCTION app.other(label text) RETURNS text LANGUAGE sql AS $$ INSERT INTO app.ran (label) VALUES (label) RETURNING label $$;
CREATE FUNCTION app.bad(label text) RETURNS void LANGUAGE plpgsql AS
	$$ BEGIN INSERT INTO app.ran (label) VALUES (label); RAISE EXCEPTION '%', label USING ERRCODE = 'P1414'; END $$;
CREATE PROCEDURE app.proc(label text) LANGUAGE plpgsql AS
	$$ BEGIN INSERT INTO app.ran (label) VALUES (label); COMMIT; END $$;

-- The calls of filters. Only their owner has rights on the table.
CREATE SCHEMA audit;
CREATE TABLE audit.seen (n serial, filter text, event text, job bigint, context jsonb, who name, session name, path text, pid int, xid text);
CREATE FUNCTION audit.see(filter text, context jsonb) RETURNS void LANGUAGE sql AS $$
	INSERT INTO audit.seen (filter, event, job, context, who, session, path, pid, xid)
	VALUES (filter, context ->> 'event', (context ->> 'id')::bigint, context, current_user, session_user, current_setting('search_path'),
		pg_backend_pid(), pg_current_xact_id()::text) $$;
CREATE FUNCTION audit.note(context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM audit.see('note', context); RETURN NULL; END $$;
CREATE FUNCTION audit.note_b(context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM audit.see('b', context); RETURN NULL; END $$;
CREATE FUNCTION audit.note_c(context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM audit.see('c', context); RETURN NULL; END $$;
CREATE FUNCTION audit.fails(context jsonb) RETURNS jsonb LANGUAGE plpgsql AS
	$$ BEGIN PERFORM audit.see('fails', context); RAISE EXCEPTION 'filter says no' USING ERRCODE = 'P1999'; END $$;
-- Returns the answer that the test has stored.
CREATE TABLE audit.answer (event text PRIMARY KEY, answer jsonb, when_state text);
CREATE FUNCTION audit.answers(context jsonb) RETURNS jsonb LANGUAGE sql STABLE AS $$
	SELECT a.answer FROM audit.answer a
	WHERE a.event = context ->> 'event' AND (a.when_state IS NULL OR a.when_state = context ->> 'state') $$;
ALTER SCHEMA audit OWNER TO tap14_auditor;
SELECT format('ALTER TABLE audit.%I OWNER TO tap14_auditor', relname) FROM pg_class WHERE relnamespace = 'audit'::regnamespace AND relkind = 'r' \gexec
SELECT format('ALTER FUNCTION %s OWNER TO tap14_auditor', oid::regprocedure) FROM pg_proc WHERE pronamespace = 'audit'::regnamespace \gexec

CREATE FUNCTION tap_seen(id bigint) RETURNS text[] LANGUAGE sql AS
	$$ SELECT array_agg(filter || ':' || event || coalesce(':' || (context ->> 'state'), '') ORDER BY n) FROM audit.seen WHERE job = id $$;
CREATE FUNCTION tap_answer(event text, answer jsonb, when_state text = NULL) RETURNS void LANGUAGE sql AS
	$$ INSERT INTO audit.answer VALUES (event, answer, when_state)
	ON CONFLICT ON CONSTRAINT answer_pkey DO UPDATE SET answer = EXCLUDED.answer, when_state = EXCLUDED.when_state $$;

-- Functions that cannot be filters.
CREATE FUNCTION app.no_args() RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
CREATE FUNCTION app.two_args(a jsonb, b jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT a';
CREATE FUNCTION app.takes_json(a json) RETURNS jsonb LANGUAGE sql AS 'SELECT a::jsonb';
CREATE FUNCTION app.takes_int(a int) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(a)';
CREATE FUNCTION app.returns_text(a jsonb) RETURNS text LANGUAGE sql AS 'SELECT a::text';
CREATE FUNCTION app.returns_set(a jsonb) RETURNS SETOF jsonb LANGUAGE sql AS 'SELECT a';
CREATE PROCEDURE app.is_procedure(a jsonb) LANGUAGE sql AS 'SELECT a';
CREATE FUNCTION app.overloaded(a jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT a';
CREATE FUNCTION app.overloaded(a json) RETURNS jsonb LANGUAGE sql AS 'SELECT a::jsonb';
CREATE FUNCTION app.secret(a jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT a';
REVOKE ALL ON FUNCTION app.secret(jsonb) FROM PUBLIC;

SELECT * FROM no_plan();

----------------------------------------------------------------------------------------------------
-- Arguments and rights
----------------------------------------------------------------------------------------------------

CREATE TABLE t_wrong (n serial, call text, code text, what text);
INSERT INTO t_wrong (call, code, what) VALUES
	($$bgjob_filter(NULL, 'creating', 'audit.note')$$, '22004', 'a null name'),
	($$bgjob_filter('x', NULL, 'audit.note')$$, '22004', 'a null event'),
	($$bgjob_filter('x', 'creating', NULL)$$, '22004', 'a null function'),
	($$bgjob_filter('x', 'creating', 'audit.note', NULL)$$, '22004', 'null jobs'),
	($$bgjob_filter('x', 'creating', 'audit.note', ordering => NULL)$$, '22004', 'a null ordering'),
	($$bgjob_filter_remove(NULL)$$, '22004', 'remove: a null name'),
	($$bgjob_filter('', 'creating', 'audit.note')$$, '22023', 'an empty name'),
	($$bgjob_filter(repeat('x', 256), 'creating', 'audit.note')$$, '22023', 'a name that is too long'),
	($$bgjob_filter('x', 'Creating', 'audit.note')$$, '22023', 'an event with a capital letter'),
	($$bgjob_filter('x', 'processing', 'audit.note')$$, '22023', 'an event that there is not'),
	($$bgjob_filter('x', '', 'audit.note')$$, '22023', 'an empty event'),
	($$bgjob_filter('x', 'creating', 'audit.note', '%\')$$, '22025', 'a pattern that ends with an escape character'),
	($$bgjob_filter('x', 'creating', 'app.no_args')$$, '22023', 'a function without parameter'),
	($$bgjob_filter('x', 'creating', 'app.two_args')$$, '22023', 'a function of two parameters'),
	($$bgjob_filter('x', 'creating', 'app.takes_json')$$, '22023', 'a function of json'),
	($$bgjob_filter('x', 'creating', 'app.takes_int')$$, '22023', 'a function of another type'),
	($$bgjob_filter('x', 'creating', 'app.returns_text')$$, '22023', 'a function that returns another type'),
	($$bgjob_filter('x', 'creating', 'app.returns_set')$$, '22023', 'a function that returns a set'),
	($$bgjob_filter('x', 'creating', 'app.is_procedure')$$, '22023', 'a procedure'),
	($$bgjob_filter('x', 'creating', 'audit.no_such')$$, '42883', 'an unknown function'),
	($$bgjob_filter('x', 'creating', 'no_such.note')$$, '42883', 'a function in an unknown schema'),
	($$bgjob_filter('x', 'creating', 'audit.note(int)')$$, '42883', 'a function with other types'),
	($$bgjob_filter('x', 'creating', 'app.overloaded')$$, '42725', 'a name that two functions have');
SELECT is(tap_try('SELECT ' || call), 'ERROR ' || code, what || ' is refused with ' || code) FROM t_wrong ORDER BY n;
SELECT is(tap_lacks('SELECT ' || call), '', what || ': the error has message, detail and hint') FROM t_wrong WHERE code NOT IN ('42883', '42725') ORDER BY n;
SELECT is_empty('SELECT * FROM bgjob.filters', 'refused calls leave no filter');
SELECT is(tap_try($$SELECT bgjob_filter('x', 'creating', 'app.overloaded(jsonb)')$$), '', 'a function can be given with its argument types');
SELECT is(bgjob_filter_remove('x'), true, 'a filter can be removed');
SELECT is(bgjob_filter_remove('x'), false, 'removing a filter again returns false');

SELECT is(tap_try($$SELECT bgjob_filter('x', 'creating', 'audit.note')$$, 'tap14_app'), 'ERROR 42501', 'EXECUTE on bgjob_filter is not granted to PUBLIC');
SELECT is(tap_try($$SELECT bgjob_filter_remove('x')$$, 'tap14_app'), 'ERROR 42501', 'EXECUTE on bgjob_filter_remove is not granted to PUBLIC');
SELECT is(tap_try('SELECT count(*) FROM bgjob.filters', 'tap14_app'), '0', 'every role can read bgjob.filters');
SELECT is(tap_try('SELECT count(*) FROM bgjob_internal.filter', 'tap14_app'), 'ERROR 42501', 'no role may read the table behind it');
BEGIN READ ONLY;
SELECT is(tap_try($$SELECT bgjob_filter('x', 'creating', 'audit.note')$$), 'ERROR 25006', 'a read-only transaction cannot change filters');
ROLLBACK;

-- An administrator that is no superuser: a member of the extension's owner.
CREATE ROLE tap14_owner;
SELECT nspowner::regrole AS former FROM pg_namespace WHERE nspname = 'bgjob' \gset
ALTER SCHEMA bgjob OWNER TO tap14_owner;
GRANT EXECUTE ON FUNCTION bgjob_filter, bgjob_filter_remove TO tap14_owner; -- the owner of the extension would own them
GRANT tap14_owner TO tap14_admin;
GRANT USAGE ON SCHEMA app, audit TO tap14_admin;
SELECT is(tap_try($$SELECT bgjob_filter('x', 'creating', 'app.secret')$$, 'tap14_admin'), 'ERROR 42501', 'a role needs EXECUTE to add a filter');
GRANT EXECUTE ON FUNCTION app.secret(jsonb) TO tap14_admin;
SELECT is(tap_try($$SELECT bgjob_filter('x', 'creating', 'app.secret')$$, 'tap14_admin'), 'ERROR 42501', 'it needs membership in the owner of the function');
SELECT is(tap_try($$SELECT bgjob_filter('x', 'creating', 'audit.note')$$, 'tap14_admin'), 'ERROR 42501', 'it needs membership to remove the filter of another role');
GRANT tap14_auditor TO tap14_admin;
SELECT is(tap_try($$SELECT bgjob_filter('x', 'creating', 'audit.note')$$, 'tap14_admin'), '', 'after GRANT of the membership it can add the filter');
SELECT is(tap_try($$SELECT bgjob_filter_remove('x')$$, 'tap14_admin'), 'true', 'after GRANT of the membership it can remove the filter');
ALTER SCHEMA bgjob OWNER TO :"former";

----------------------------------------------------------------------------------------------------
-- What the view shows; replacing
----------------------------------------------------------------------------------------------------

SELECT bgjob_filter('first', 'creating', 'audit.note', '%app.run%', 5);
SELECT is((SELECT ROW(name, event, function, jobs, ordering)::text FROM bgjob.filters), '(first,creating,"audit.note(pg_catalog.jsonb)",%app.run%,5)',
	'bgjob.filters shows the filter, with the function by its signature');
SELECT ok((SELECT created_at BETWEEN now() - interval '1 min' AND now() + interval '1 min' FROM bgjob.filters), 'bgjob.filters shows the time of the registration');
SELECT bgjob_filter('first', 'created', 'audit.note_b');
SELECT is((SELECT array_agg(ROW(name, event, function, jobs, ordering)::text) FROM bgjob.filters), ARRAY['(first,created,"audit.note_b(pg_catalog.jsonb)",%,0)'],
	'a filter of the same name is replaced, omitted options have their defaults');
SELECT tap_remove_all() AS x \gset

----------------------------------------------------------------------------------------------------
-- The seven events of a job that succeeds
----------------------------------------------------------------------------------------------------

SELECT bgjob_filter('note ' || event, event, 'audit.note', '%run%')
FROM unnest('{creating,created,performing,performed,electing,applied,unapplied}'::text[]) event \g /dev/null

SET SESSION AUTHORIZATION tap14_app;
SELECT bgjob_enqueue('app.run', '{"label": "hello"}', queue => 'q1', priority => 3, max_retries => 4, tags => '{red,green}', parameters => '{"p": 1}') AS id \gset
RESET SESSION AUTHORIZATION;
SELECT is(bgjob_wait(:id, '60 s'), 'succeeded', 'a job with filters for all events succeeds');
SELECT is(tap_seen(:id), '{note:electing:enqueued,note:applied:enqueued,note:created:enqueued,note:electing:processing,note:unapplied:enqueued,note:applied:processing,note:performing:processing,note:performed:processing,note:electing:succeeded,note:unapplied:processing,note:applied:succeeded}'::text[],
	'the filters are called in the documented order');
SELECT is((SELECT count(*) FROM audit.seen WHERE event = 'creating'), 1::bigint, 'creating is called first');
SELECT is((SELECT min(n) FROM audit.seen), (SELECT n FROM audit.seen WHERE event = 'creating'), 'the call of creating is the first one');
SELECT is((SELECT context - 'run_as' FROM audit.seen WHERE event = 'creating'),
	'{"event": "creating", "id": null, "job": "app.run", "function": "app.run(pg_catalog.text)", "kind": "function", "args": {"label": "hello"}, "queue": "q1", "priority": 3, "state": "enqueued", "max_retries": 4, "retries": 0, "run_at": null, "tags": ["red", "green"], "parameters": {"p": 1}}'::jsonb,
	'the context of creating');
SELECT is((SELECT array_agg(DISTINCT context ->> 'run_as') FROM audit.seen), '{tap14_app}'::text[], 'run_as of all contexts is the role of the job');
SELECT is((SELECT context -> 'result' FROM audit.seen WHERE event = 'performed'), '"hello"'::jsonb, 'the context of performed has the result');
SELECT ok((SELECT NOT context ? 'error' FROM audit.seen WHERE event = 'performed'), 'the context of performed has no error after a success');
SELECT is((SELECT array_agg(context ->> 'to' ORDER BY n) FROM audit.seen WHERE event = 'unapplied'), '{processing,succeeded}'::text[], 'the context of unapplied has the next state');
SELECT is((SELECT array_agg(coalesce(context ->> 'from', 'new') ORDER BY n) FROM audit.seen WHERE event = 'applied'), '{new,enqueued,processing}'::text[], 'the context of applied has the previous state');
SELECT is((SELECT array_agg(coalesce(context ->> 'from', 'new') ORDER BY n) FROM audit.seen WHERE event = 'electing'), '{new,enqueued,processing}'::text[], 'the context of electing has the previous state');
SELECT is((SELECT array_agg(DISTINCT who::text) FROM audit.seen), '{tap14_auditor}'::text[], 'all filters run as the owner of the function');
SELECT is((SELECT array_agg(DISTINCT session::text) FROM audit.seen), '{tap14_app}'::text[], 'session_user is the role of the session or of the worker');
SELECT is((SELECT array_agg(DISTINCT path) FROM audit.seen), '{"pg_catalog, pg_temp"}'::text[], 'the search_path of filters is pinned');
SELECT is((SELECT count(DISTINCT xid) FROM audit.seen), 2::bigint, 'the filters run in two transactions: that of the call and that of the job');
SELECT is((SELECT count(DISTINCT xid) FROM audit.seen WHERE event IN ('creating', 'created')), 1::bigint, 'creating and created run in the first transaction');
SELECT is((SELECT count(DISTINCT xid) FROM audit.seen WHERE event IN ('performing', 'performed')), 1::bigint, 'performing and performed run in the second transaction');

TRUNCATE audit.seen;
SELECT bgjob_enqueue('app.other', '["x"]') AS id \gset
SELECT is(bgjob_wait(:id, '60 s'), 'succeeded', 'a job that does not match the pattern succeeds');
SELECT is_empty('SELECT * FROM audit.seen', 'a job that does not match the pattern calls no filter');

----------------------------------------------------------------------------------------------------
-- A job that fails and is retried
----------------------------------------------------------------------------------------------------

SELECT tap_remove_all() AS x \gset
SELECT bgjob_filter('note ' || event, event, 'audit.note')
FROM unnest('{performing,performed,electing,applied,unapplied}'::text[]) event \g /dev/null
SELECT bgjob_enqueue('app.bad', '["ouch"]', max_retries => 1) AS id \gset
CALL tap_state_is(:id, 'scheduled');
SELECT is(tap_seen(:id), '{note:electing:enqueued,note:applied:enqueued,note:performed:processing,note:electing:scheduled,note:unapplied:processing,note:applied:scheduled}'::text[],
	'calls within a failed attempt are rolled back with it, later ones are in the transaction that records it');
SELECT is((SELECT context -> 'error' ->> 'sqlstate' FROM audit.seen WHERE event = 'performed'), 'P1414', 'the context of performed has the error');
SELECT ok((SELECT NOT context ? 'result' FROM audit.seen WHERE event = 'performed'), 'the context of performed has no result after a failure');
SELECT is((SELECT ARRAY[context ->> 'from', context -> 'error' ->> 'message', context ->> 'reason'] FROM audit.seen WHERE event = 'electing' AND context ->> 'state' = 'scheduled'),
	'{processing,ouch,ouch}'::text[], 'the context of electing has the previous state, the error and the reason');
SELECT ok((SELECT (context ->> 'run_at')::timestamptz > now() FROM audit.seen WHERE event = 'electing' AND context ->> 'state' = 'scheduled'), 'the context of electing has run_at');
SELECT is((SELECT context ->> 'reason' FROM audit.seen WHERE event = 'applied' AND context ->> 'state' = 'scheduled'), 'Retry attempt 1 of 1: ouch', 'the context of applied has the reason that bgjob.jobs shows');
TRUNCATE audit.seen;
SELECT is(bgjob_requeue(:id), true, 'the retried job is requeued');
SELECT is(bgjob_wait(:id, '60 s'), 'failed', 'the requeued job fails for good');
SELECT is(tap_seen(:id), '{note:electing:enqueued,note:unapplied:scheduled,note:applied:enqueued,note:performed:processing,note:electing:failed,note:unapplied:processing,note:applied:failed}'::text[],
	'electing and applied are called for both failures');

-- Delayed: a worker calls them.
TRUNCATE audit.seen;
SELECT bgjob_enqueue('app.run', '["later"]', delay => '200 ms') AS id \gset
SELECT is(bgjob_wait(:id, '60 s'), 'succeeded', 'a delayed job succeeds');
SELECT is((tap_seen(:id))[1:5], '{note:electing:scheduled,note:applied:scheduled,note:electing:enqueued,note:unapplied:scheduled,note:applied:enqueued}'::text[], 'filters are called for each state of a delayed job');
SELECT is((SELECT backend_type FROM pg_stat_activity a JOIN audit.seen s ON s.pid = a.pid WHERE s.event = 'unapplied' AND s.context ->> 'state' = 'scheduled'),
	'bgjob worker', 'the filters of a due job are called by a worker');
SELECT is((SELECT array_agg(DISTINCT who::text) FROM audit.seen), '{tap14_auditor}'::text[], 'in the worker they run as their owner');

----------------------------------------------------------------------------------------------------
-- Order and patterns
----------------------------------------------------------------------------------------------------

SELECT tap_remove_all() AS x \gset
TRUNCATE audit.seen;
SELECT bgjob_filter('z', 'created', 'audit.note', ordering => -1), bgjob_filter('b', 'created', 'audit.note_b', ordering => 7),
	bgjob_filter('c', 'created', 'audit.note_c', ordering => 7) \g /dev/null
SELECT bgjob_enqueue('app.run', '["x"]') AS id \gset
SELECT is((SELECT array_agg(filter ORDER BY n) FROM audit.seen), '{note,b,c}'::text[], 'filters of an event are called by ordering, then by name');
SELECT tap_remove_all() AS x \gset

CREATE TABLE t_pattern (n serial, pattern text, job text, kind text, fits boolean);
INSERT INTO t_pattern (pattern, job, kind, fits) VALUES
	('%', 'app.run', 'function', true), ('app.run', 'app.run', 'function', true), ('app.run(pg_catalog.text)', 'app.run', 'function', true),
	('app.%', 'app.run', 'function', true), ('%.run%', 'app.run', 'function', true), ('run', 'app.run', 'function', false),
	('APP.RUN', 'app.run', 'function', false), ('app_run', 'app.run', 'function', true), ('app\_run', 'app.run', 'function', false),
	('app.other%', 'app.run', 'function', false), ('', 'app.run', 'function', false), ('app.run( text )', 'app.run( text )', 'function', true),
	('SELECT%', 'SELECT 1', 'sql', true), ('app.%', 'SELECT 1', 'sql', false), ('SELECT 1', 'SELECT 1', 'sql', true), ('%1', 'SELECT 1', 'sql', true);
DO $$
DECLARE
	t t_pattern;
	called bigint;
BEGIN
	CREATE TEMP TABLE pattern_result (n int, ok boolean, pattern text, job text);
	FOR t IN SELECT * FROM t_pattern LOOP
		PERFORM bgjob_filter('pattern', 'created', 'audit.note', t.pattern);
		DELETE FROM audit.seen;
		PERFORM bgjob_enqueue(t.job, CASE WHEN t.kind = 'function' THEN '["p"]'::jsonb END, kind => t.kind, delay => '1 hour');
		SELECT count(*) INTO called FROM audit.seen;
		INSERT INTO pattern_result VALUES (t.n, called = t.fits::int, t.pattern, t.job);
	END LOOP;
END $$;
SELECT ok(p.ok, format('pattern %s and job %s', p.pattern, p.job)) FROM pattern_result p ORDER BY n;
SELECT tap_remove_all() AS x \gset

----------------------------------------------------------------------------------------------------
-- creating changes a job
----------------------------------------------------------------------------------------------------

SELECT bgjob_filter('answers', 'creating', 'audit.answers') \g /dev/null
SELECT tap_answer('creating', '{"args": ["changed"], "queue": "other", "priority": -7, "max_retries": 2, "timeout": "3 min", "tags": ["a", "b c"], "parameters": {"x": [1]}}');
SELECT bgjob_enqueue('app.run', '["given"]', queue => 'mine', priority => 1, tags => '{old}') AS id \gset
SELECT is(bgjob_wait(:id, '60 s'), 'succeeded', 'a job changed by creating succeeds');
SELECT is((SELECT ROW(args, queue, priority, max_retries, timeout, tags, parameters)::text FROM bgjob.jobs WHERE id = :id),
	ROW('["changed"]'::jsonb, 'other'::text, -7, 2, '3 min'::interval, '{a,"b c"}'::text[], '{"x": [1]}'::jsonb)::text, 'the job has all options that creating returned');
SELECT is(bgjob_result(:id), '"changed"'::jsonb, 'the job ran with the changed arguments');
SELECT tap_answer('creating', '{"delay": "1 hour"}');
SELECT bgjob_enqueue('app.run', '["given"]') AS id \gset
SELECT is(tap_state(:id), 'scheduled', 'a delay returned by creating makes the job scheduled');
SELECT ok((SELECT run_at BETWEEN now() + interval '59 min' AND now() + interval '61 min' FROM bgjob.jobs WHERE id = :id), 'run_at is the time of the returned delay');
SELECT tap_answer('creating', '{"run_at": "2001-01-01"}');
SELECT bgjob_enqueue('app.run', '["given"]', delay => '1 hour') AS id \gset
SELECT is(bgjob_wait(:id, '60 s'), 'succeeded', 'a past run_at returned by creating makes a delayed job run now');
SELECT tap_answer('creating', '{"queue": null, "args": null, "cancel": null}');
SELECT bgjob_enqueue('app.run', '["given"]', queue => 'mine') AS id \gset
SELECT is((SELECT queue || args::text FROM bgjob.jobs WHERE id = :id), 'mine["given"]', 'a null member of the answer changes nothing');
SELECT tap_answer('creating', 'null');
SELECT isnt(bgjob_enqueue('app.run', '["given"]'), NULL, 'the answer null changes nothing');
SELECT tap_answer('creating', '{}');
SELECT isnt(bgjob_enqueue('app.run', '["given"]'), NULL, 'an empty object changes nothing');

-- A second filter sees what the first one has changed.
SELECT tap_answer('creating', '{"queue": "seen", "args": ["seen"]}');
SELECT bgjob_filter('zz', 'creating', 'audit.note_b') \g /dev/null
TRUNCATE audit.seen;
SELECT bgjob_enqueue('app.run', '["given"]') AS id \gset
SELECT is((SELECT context ->> 'queue' || (context -> 'args')::text FROM audit.seen), 'seen["seen"]', 'the next filter receives the changed job');
SELECT bgjob_filter_remove('zz') AS x \gset

CREATE TABLE t_answer (n serial, answer jsonb, code text, what text);
INSERT INTO t_answer (answer, code, what) VALUES
	('{"args": [1, 2]}', '22023', 'arguments that do not fit'), ('{"args": {"no": 1}}', '22023', 'arguments of another name'),
	('{"queue": "No Good"}', '22023', 'a wrong queue'), ('{"queue": 5}', '22023', 'a queue that is no text'),
	('{"priority": 40000}', '22023', 'a priority out of range'), ('{"priority": "x"}', '22023', 'a priority that is no number'), ('{"priority": 1.5}', '22P02', 'a priority that is no integer'),
	('{"max_retries": -1}', '22023', 'negative max_retries'), ('{"delay": "-1 s"}', '22023', 'a negative delay'), ('{"delay": "long"}', '22007', 'a delay that is none'),
	('{"delay": "1 s", "run_at": "2030-01-01"}', '22023', 'delay and run_at'), ('{"run_at": "infinity"}', '22023', 'no end'),
	('{"timeout": "-1 s"}', '22023', 'a negative timeout'), ('{"tags": "x"}', '22023', 'tags that are no array'), ('{"tags": [1]}', '22023', 'tags that are no texts'),
	('{"parameters": []}', '22023', 'parameters that are no object'), ('{"parameters": 1}', '22023', 'parameters that are a number'), ('{"cancel": true}', '22023', 'cancel without a reason'),
	('{"state": "deleted"}', '22023', 'an unknown key'), ('{"job": "x"}', '22023', 'another job'), ('[]', '22023', 'an array'), ('"x"', '22023', 'a text'), ('true', '22023', 'a boolean');
CREATE FUNCTION tap_answered(wanted jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM tap_answer('creating', wanted);
	RETURN tap_try($q$SELECT bgjob_enqueue('app.run', '["wrong"]')$q$);
END $$;
SELECT is(tap_answered(answer), 'ERROR ' || code, 'creating: ' || what || ' is refused with ' || code) FROM t_answer ORDER BY n;
SELECT is_empty($$ SELECT * FROM bgjob.jobs WHERE args = '["wrong"]' $$, 'refused answers leave no job');

-- Canceling.
SELECT tap_answer('creating', '{"cancel": "not today"}');
SELECT count(*) AS before FROM bgjob.jobs \gset
SELECT is(bgjob_enqueue('app.run', '["x"]'), NULL, 'creating cancels: bgjob_enqueue returns null');
SELECT is((SELECT count(*) FROM bgjob.jobs), :before::bigint, 'creating cancels: the job does not exist');
CREATE FUNCTION audit.odd(context jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT CASE WHEN (context -> 'args' ->> 0)::int % 2 = 1 THEN '{"cancel": "odd"}'::jsonb
		WHEN (context -> 'args' ->> 0)::int % 4 = 0 THEN '{"queue": "fourth", "priority": 9, "delay": "1 hour"}' END $$;
SELECT bgjob_filter('answers', 'creating', 'audit.odd') \g /dev/null
CREATE TABLE t_many AS SELECT id FROM bgjob_enqueue_many('app.run', ARRAY(SELECT jsonb_build_array(i::text) FROM generate_series(1, 2000) i), queue => 'rest') id;
SELECT is((SELECT count(*) FROM t_many), 1000::bigint, 'bgjob_enqueue_many leaves out the canceled ones of 2000 jobs');
SELECT is((SELECT array_agg(DISTINCT ROW(j.queue, j.priority, (j.args ->> 0)::int % 4, j.state = 'scheduled')::text ORDER BY ROW(j.queue, j.priority, (j.args ->> 0)::int % 4, j.state = 'scheduled')::text) FROM bgjob.jobs j JOIN t_many USING (id)),
	'{"(fourth,9,0,t)","(rest,0,2,f)"}'::text[], 'a change by creating concerns one job of the bulk');
CALL tap_wait_until($$ SELECT count(*) = 500 FROM bgjob.jobs JOIN t_many USING (id) WHERE state = 'succeeded' $$);
SELECT is((SELECT count(*) FROM app.ran WHERE label ~ '^\d+$'), 500::bigint, 'the jobs of the bulk that were not delayed run once');
SELECT count(bgjob_delete(id)) AS x FROM bgjob.jobs WHERE queue = 'fourth' \gset
-- From a trigger.
CREATE TABLE app.source (label text);
CREATE TRIGGER t AFTER INSERT ON app.source REFERENCING NEW TABLE AS new FOR EACH STATEMENT EXECUTE FUNCTION bgjob_enqueue_trigger('app.run');
CREATE FUNCTION audit.no_x(context jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{"cancel": "x"}'::jsonb WHERE context #>> '{args,label}' LIKE 'x%' $$;
SELECT bgjob_filter('answers', 'creating', 'audit.no_x') \g /dev/null
INSERT INTO app.source VALUES ('x1'), ('y1'), ('x2'), ('y2');
CALL tap_wait_until($$ SELECT count(*) = 2 FROM app.ran WHERE label IN ('y1', 'y2') $$);
SELECT is((SELECT array_agg(label ORDER BY label) FROM app.ran WHERE label ~ '^[xy]\d'), '{y1,y2}'::text[], 'filters are called for jobs of row triggers');
SELECT tap_remove_all() AS x \gset

----------------------------------------------------------------------------------------------------
-- created
----------------------------------------------------------------------------------------------------

CREATE FUNCTION audit.look(context jsonb) RETURNS jsonb LANGUAGE sql AS $$
	INSERT INTO audit.seen (filter, event, job, context) SELECT 'look', 'created', id, to_jsonb(state) FROM bgjob.jobs WHERE id = (context ->> 'id')::bigint
	RETURNING '{"nonsense": 1}'::jsonb $$;
SELECT bgjob_filter('look', 'created', 'audit.look') \g /dev/null
TRUNCATE audit.seen;
SELECT bgjob_enqueue('app.run', '["x"]', delay => '1 hour') AS id \gset
SELECT is((SELECT job || (context #>> '{}') FROM audit.seen), :'id' || 'scheduled', 'created sees the job, and what it answers does not matter');
SELECT count(*) AS n FROM bgjob_enqueue_many('app.run', ARRAY(SELECT jsonb_build_array('m' || i) FROM generate_series(1, 10) i), delay => '1 hour') \gset
SELECT is((SELECT count(*) FROM audit.seen), 11::bigint, 'filters are called for jobs of statement triggers');
BEGIN;
SELECT bgjob_enqueue('app.run', '["x"]', delay => '1 hour') AS id \gset
ROLLBACK;
SELECT is((SELECT count(*) FROM audit.seen), 11::bigint, 'effects of filters are part of the transaction');
SELECT tap_remove_all() AS x \gset

----------------------------------------------------------------------------------------------------
-- performing
----------------------------------------------------------------------------------------------------

SELECT bgjob_filter('answers', 'performing', 'audit.answers'), bgjob_filter('note', 'performed', 'audit.note'),
	bgjob_filter('note2', 'applied', 'audit.note'), bgjob_filter('zlast', 'performing', 'audit.note_c') \g /dev/null
SELECT tap_answer('performing', '{"cancel": "no need"}');
TRUNCATE audit.seen, app.ran;
SELECT bgjob_enqueue('app.run', '["never"]') AS id \gset
SELECT is(bgjob_wait(:id, '60 s'), 'deleted', 'performing cancels: the job ends deleted');
SELECT is(tap_reason(:id), 'no need', 'the deleted job has the returned reason');
SELECT is_empty('SELECT * FROM app.ran', 'the canceled job has not run');
SELECT is(tap_states(:id), '{enqueued,processing,deleted}'::text[], 'the history of the canceled job');
SELECT is(tap_seen(:id), '{note:applied:enqueued,note:applied:processing,note:applied:deleted}'::text[], 'electing and applied are called; performed and later performing filters are not');
SELECT bgjob_enqueue('app.proc', '["never"]') AS id \gset
SELECT is(bgjob_wait(:id, '60 s') || ' ' || tap_reason(:id), 'deleted no need', 'performing cancels a procedure');
SELECT bgjob_enqueue('INSERT INTO app.ran (label) VALUES ($1)', '["never"]', kind => 'sql') AS id \gset
SELECT is(bgjob_wait(:id, '60 s') || ' ' || tap_reason(:id), 'deleted no need', 'performing cancels a command');
SELECT is_empty('SELECT * FROM app.ran', 'the canceled procedure and command have not run');
SELECT tap_answer('performing', '{"queue": "x"}');
SELECT bgjob_enqueue('app.run', '["never"]', max_retries => 0) AS id \gset
SELECT is(bgjob_wait(:id, '60 s'), 'failed', 'an invalid answer of performing fails the attempt');
SELECT is((SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE id = :id), '22023', 'the failed attempt has the error of the answer');
SELECT tap_answer('performing', 'null');
SELECT bgjob_enqueue('app.run', '["runs"]') AS id \gset
SELECT is(bgjob_wait(:id, '60 s'), 'succeeded', 'the job runs if performing returns null');

-- The job's settings are in force.
CREATE FUNCTION audit.zone(context jsonb) RETURNS jsonb LANGUAGE sql AS $$
	INSERT INTO audit.seen (filter, event, job) VALUES (current_setting('timezone') || ' ' || current_setting('my.setting', true), 'zone', (context ->> 'id')::bigint) RETURNING NULL::jsonb $$;
SELECT bgjob_filter('answers', 'performing', 'audit.zone') \g /dev/null
SET timezone = 'Asia/Tokyo';
SET my.setting = 'mine';
SELECT bgjob_enqueue('app.run', '["runs"]') AS id \gset
RESET timezone;
RESET my.setting;
SELECT is(bgjob_wait(:id, '60 s'), 'succeeded', 'a job with captured settings runs');
SELECT is((SELECT filter FROM audit.seen WHERE job = :id AND event = 'zone'), 'Asia/Tokyo mine', 'performing runs under the captured settings');
SELECT tap_remove_all() AS x \gset

----------------------------------------------------------------------------------------------------
-- electing
----------------------------------------------------------------------------------------------------

SELECT bgjob_filter('answers', 'electing', 'audit.answers'), bgjob_filter('note', 'applied', 'audit.note') \g /dev/null
TRUNCATE audit.seen, app.ran;
-- elect(state, answer) enqueues a job whose candidate "state" gets that answer.
CREATE PROCEDURE tap_elect(state text, answer jsonb, job text, INOUT id bigint, options text = '') LANGUAGE plpgsql AS $$
BEGIN
	PERFORM tap_answer('electing', answer, state);
	EXECUTE format('SELECT bgjob_enqueue(%L, %L%s)', job, '["elected"]', options) INTO id;
	COMMIT;
	CALL tap_wait_until(format($q$ SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE id = %s AND state IN ('enqueued', 'processing')) $q$, id));
END $$;
CALL tap_elect('enqueued', '{"state": "scheduled", "delay": "1 hour", "reason": "not now"}', 'app.run', NULL) \gset
SELECT is(tap_state(:id) || ' ' || tap_reason(:id), 'scheduled not now', 'a new job is scheduled instead of enqueued');
CALL tap_elect('scheduled', '{"state": "enqueued"}', 'app.run', NULL, $$, delay => '1 hour'$$) \gset
SELECT is(tap_state(:id), 'succeeded', 'a new job is enqueued instead of scheduled');
CALL tap_elect('processing', '{"state": "deleted", "reason": "unwanted"}', 'app.run', NULL) \gset
SELECT is(tap_state(:id) || ' ' || tap_reason(:id), 'deleted unwanted', 'a job is deleted instead of performed');
SELECT is((SELECT context ->> 'from' FROM audit.seen WHERE job = :id AND context ->> 'state' = 'deleted'), 'enqueued', 'the deleted job was never processing');
CALL tap_elect('processing', '{"state": "failed"}', 'app.proc', NULL) \gset
SELECT is(tap_state(:id) || ' ' || tap_reason(:id), 'failed Failed by filter "answers"', 'a procedure fails instead of being performed');
SELECT is((SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE id = :id), 'P0001', 'the failed procedure has an error');
CALL tap_elect('processing', '{"state": "scheduled", "run_at": "2100-01-01"}', 'app.proc', NULL) \gset
SELECT is((SELECT state || ' ' || run_at::date FROM bgjob.jobs WHERE id = :id), 'scheduled 2100-01-01', 'electing makes the job scheduled instead');
SELECT is((SELECT count(*) FROM app.ran WHERE label = 'elected'), 1::bigint, 'one of these jobs has run');
CALL tap_elect('succeeded', '{"state": "deleted"}', 'app.run', NULL) \gset
SELECT is(tap_state(:id) || bgjob_result(:id)::text, NULL, 'a job that has succeeded is deleted, and has no result');
SELECT is(tap_states(:id), '{enqueued,processing,deleted}'::text[], 'the history of the deleted job');
SELECT is((SELECT count(*) FROM app.ran WHERE label = 'elected'), 2::bigint, 'the effects of the deleted job are kept');
CALL tap_elect('succeeded', '{"state": "failed", "reason": "the result is wrong"}', 'app.run', NULL) \gset
SELECT is((SELECT state || ' ' || reason || ' ' || (error ->> 'message') FROM bgjob.jobs WHERE id = :id), 'failed the result is wrong the result is wrong', 'or fails');
CALL tap_elect('scheduled', '{"state": "failed"}', 'app.bad', NULL) \gset
SELECT is((SELECT state || ' ' || reason || ' ' || (error ->> 'sqlstate') || ' ' || retries FROM bgjob.jobs WHERE id = :id), 'failed elected P1414 0', 'electing makes a job that would be retried fail at once, with its own error');
CALL tap_elect('scheduled', '{"run_at": "2100-01-01", "reason": "much later"}', 'app.bad', NULL) \gset
SELECT is((SELECT state || ' ' || reason || ' ' || run_at::date || ' ' || retries FROM bgjob.jobs WHERE id = :id), 'scheduled much later 2100-01-01 1', 'electing chooses another time for the retry');
CALL tap_elect('failed', '{"state": "scheduled", "delay": "1 day"}', 'app.bad', NULL, ', max_retries => 0') \gset
SELECT is((SELECT state || ' ' || (error ->> 'message') FROM bgjob.jobs WHERE id = :id), 'scheduled elected', 'a job that would fail is tried again');
SELECT is(tap_states(:id), '{enqueued,processing,failed,scheduled}'::text[], 'the failure is in the history');
CALL tap_elect('failed', '{"state": "deleted", "reason": "never mind"}', 'app.bad', NULL, ', max_retries => 0') \gset
SELECT is(tap_state(:id) || ' ' || tap_reason(:id), 'deleted never mind', 'electing makes a failed job deleted');
CALL tap_elect('failed', '{"reason": "well"}', 'app.bad', NULL, ', max_retries => 0') \gset
SELECT is(tap_state(:id) || ' ' || tap_reason(:id), 'failed well', 'electing changes the reason of a failed job');
-- In control functions.
DELETE FROM audit.answer WHERE event = 'electing';
SELECT bgjob_enqueue('app.run', '["kept"]', delay => '1 hour') AS id \gset
SELECT tap_answer('electing', '{"state": "scheduled", "run_at": "2100-01-01", "reason": "keep it"}', 'deleted');
SELECT is(bgjob_delete(:id), true, 'bgjob_delete');
SELECT is((SELECT state || ' ' || reason || ' ' || run_at::date FROM bgjob.jobs WHERE id = :id), 'scheduled keep it 2100-01-01', 'bgjob_delete makes the job what the filter chooses');
DELETE FROM audit.answer WHERE event = 'electing';
-- Due jobs.
SELECT tap_answer('electing', '{"state": "deleted", "reason": "too late"}', 'enqueued');
SELECT bgjob_filter('answers', 'electing', 'audit.answers', 'app.other%') \g /dev/null
SELECT bgjob_filter_remove('answers') AS x \gset
SELECT bgjob_enqueue('app.other', '["due"]', delay => '300 ms') AS id \gset
SELECT bgjob_filter('answers', 'electing', 'audit.answers', 'app.other%') \g /dev/null
SELECT is(bgjob_wait(:id, '60 s') || ' ' || tap_reason(:id), 'deleted too late', 'electing deletes a due job');
DELETE FROM audit.answer WHERE event = 'electing';

SELECT bgjob_filter('answers', 'electing', 'audit.answers') \g /dev/null
CREATE TABLE t_election (n serial, candidate text, answer jsonb, what text);
INSERT INTO t_election (candidate, answer, what) VALUES
	('enqueued', '{"state": "succeeded"}', 'succeeded'), ('enqueued', '{"state": "processing"}', 'processing'), ('enqueued', '{"state": "awaiting"}', 'awaiting'),
	('enqueued', '{"state": "deleted"}', 'deleted, for a new one'), ('enqueued', '{"state": "failed"}', 'failed, for a new one'), ('enqueued', '{"state": "no such"}', 'no state'),
	('enqueued', '{"state": "scheduled"}', 'scheduled without a time'), ('enqueued', '{"state": 1}', 'a number'), ('enqueued', '{"cancel": "x"}', 'an unknown key'),
	('enqueued', '{"state": "scheduled", "run_at": "infinity"}', 'never'), ('enqueued', '{"state": "scheduled", "run_at": "2100-01-01", "delay": "1 s"}', 'two times');
CREATE FUNCTION tap_elected(candidate text, wanted jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM tap_answer('electing', wanted, candidate);
	RETURN tap_try($q$SELECT bgjob_enqueue('app.run', '["wrong"]')$q$);
END $$;
SELECT is(tap_elected(candidate, answer), 'ERROR 22023', 'electing: ' || what || ' is refused') FROM t_election ORDER BY n;
DELETE FROM audit.answer WHERE event = 'electing';
SELECT tap_remove_all() AS x \gset

----------------------------------------------------------------------------------------------------
-- Errors
----------------------------------------------------------------------------------------------------

CREATE FUNCTION tap_message(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	c text;
BEGIN
	EXECUTE query;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS c = PG_EXCEPTION_CONTEXT;
	RETURN SQLSTATE || ' ' || SQLERRM || CASE WHEN c ~ 'bgjob filter "fails"' THEN ' in it' ELSE '' END;
END $$;
SELECT bgjob_filter('fails', 'creating', 'audit.fails') \g /dev/null
SELECT is(tap_message($$SELECT bgjob_enqueue('app.run', '["x"]')$$), 'P1999 filter says no in it', 'creating raises: bgjob_enqueue fails with its error, and the context names the filter');
SELECT is(current_user::text || current_setting('search_path'), 'postgres"$user", public', 'the session has its user and search_path after the error');
SELECT is(tap_message($$SELECT count(*) FROM bgjob_enqueue_many('app.run', ARRAY['["x"]', '["y"]']::jsonb[])$$), 'P1999 filter says no in it', 'creating raises: bgjob_enqueue_many fails with its error');
SELECT bgjob_filter('fails', 'created', 'audit.fails') \g /dev/null
SELECT is(tap_message($$SELECT bgjob_enqueue('app.run', '["x"]')$$), 'P1999 filter says no in it', 'created raises: bgjob_enqueue fails with its error');
SELECT bgjob_filter('fails', 'applied', 'audit.fails') \g /dev/null
SELECT is(tap_message($$SELECT bgjob_enqueue('app.run', '["x"]')$$), 'P1999 filter says no in it', 'applied raises: bgjob_enqueue fails with its error');
SELECT bgjob_filter_remove('fails') AS x \gset
SELECT bgjob_enqueue('app.run', '["x"]', delay => '1 hour') AS id \gset
SELECT bgjob_filter('fails', 'unapplied', 'audit.fails') \g /dev/null
SELECT is(tap_message(format('SELECT bgjob_delete(%s)', :id)), 'P1999 filter says no in it', 'unapplied raises: bgjob_delete fails');
SELECT is(tap_state(:id), 'scheduled', 'unapplied raises: the job is unchanged');
SELECT is((SELECT count(*) FROM audit.seen WHERE filter = 'fails'), 0::bigint, 'unapplied raises: the effects of the filter are rolled back');

-- In a worker it is an error of the attempt.
SELECT bgjob_filter_remove('fails') AS x \gset
CREATE TABLE t_raise (event text, id bigint);
CREATE PROCEDURE tap_raise(event text, job text, INOUT id bigint) LANGUAGE plpgsql AS $$
BEGIN
	id := bgjob_enqueue(job, '["raise"]', max_retries => 0, delay => '1 hour');
	PERFORM bgjob_filter('fails', event, 'audit.fails', 'app.%');
	UPDATE audit.answer SET answer = NULL;
	COMMIT;
	PERFORM bgjob_filter_remove('fails');
	PERFORM bgjob_requeue(id);
	PERFORM bgjob_filter('fails', event, 'audit.fails', 'app.%');
	COMMIT;
	PERFORM bgjob_wait(id, '60 s');
	PERFORM bgjob_filter_remove('fails');
	COMMIT;
END $$;
TRUNCATE app.ran;
CALL tap_raise('performing', 'app.run', NULL) \gset
SELECT is((SELECT state || ' ' || (error ->> 'sqlstate') || ' ' || (error ->> 'message') FROM bgjob.jobs WHERE id = :id), 'failed P1999 filter says no', 'performing raises: the attempt fails');
CALL tap_raise('performed', 'app.run', NULL) \gset
SELECT is((SELECT state || ' ' || (error ->> 'sqlstate') FROM bgjob.jobs WHERE id = :id), 'failed P1999', 'performed raises after a success: the attempt fails; that it raises again when the failure is recorded does not matter');
CALL tap_raise('electing', 'app.run', NULL) \gset
SELECT is((SELECT state || ' ' || (error ->> 'sqlstate') FROM bgjob.jobs WHERE id = :id), 'failed P1999', 'electing raises, likewise');
CALL tap_raise('applied', 'app.run', NULL) \gset
SELECT is((SELECT state || ' ' || (error ->> 'sqlstate') FROM bgjob.jobs WHERE id = :id), 'failed P1999', 'applied raises, likewise');
CALL tap_raise('unapplied', 'app.proc', NULL) \gset
SELECT is((SELECT state || ' ' || (error ->> 'sqlstate') FROM bgjob.jobs WHERE id = :id), 'failed P1999', 'unapplied raises for a procedure');
SELECT is_empty('SELECT * FROM app.ran', 'the effects of these jobs are rolled back');
CALL tap_raise('performed', 'app.bad', NULL) \gset
SELECT is((SELECT state || ' ' || (error ->> 'sqlstate') FROM bgjob.jobs WHERE id = :id), 'failed P1414', 'performed raises after a failure: the job fails with its own error');

-- A dropped function.
CREATE FUNCTION audit.short_lived(context jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
SELECT bgjob_filter('short', 'creating', 'audit.short_lived') \g /dev/null
SELECT isnt(bgjob_enqueue('app.run', '["x"]'), NULL, 'creating calls the filter');
DROP FUNCTION audit.short_lived(jsonb);
SELECT throws_like($$SELECT bgjob_enqueue('app.run', '["x"]')$$, '%audit.short_lived%filter "short" does not exist', 'its function is dropped: the error names the filter');
SELECT is(tap_try($$SELECT bgjob_enqueue('app.run', '["x"]')$$), 'ERROR 42883', 'a filter with a dropped function raises 42883');
CREATE FUNCTION audit.short_lived(context jsonb) RETURNS text LANGUAGE sql AS $$SELECT 'x'$$;
SELECT is(tap_try($$SELECT bgjob_enqueue('app.run', '["x"]')$$), 'ERROR 42883', 'a function of another result type does not replace the dropped one');
DROP FUNCTION audit.short_lived(jsonb);
CREATE FUNCTION audit.short_lived(context jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
SELECT isnt(bgjob_enqueue('app.run', '["x"]'), NULL, 'a function created again is called');
SELECT tap_remove_all() AS x \gset

----------------------------------------------------------------------------------------------------
-- As its owner
----------------------------------------------------------------------------------------------------

-- The caller has neither EXECUTE nor USAGE; its own names have no effect; the function's SET clause applies.
CREATE TABLE audit.path (at serial, path text, work_mem text, who name);
CREATE FUNCTION audit.own_path(context jsonb) RETURNS jsonb LANGUAGE sql SET search_path = audit, pg_catalog AS
	$$ INSERT INTO path (path, work_mem, who) VALUES (current_setting('search_path'), current_setting('work_mem'), current_user) RETURNING NULL::jsonb $$;
CREATE FUNCTION audit.sets(context jsonb) RETURNS jsonb LANGUAGE plpgsql AS
	$$ BEGIN PERFORM set_config('work_mem', '123kB', false), set_config('my.leak', 'leaked', false); RETURN NULL; END $$;
REVOKE ALL ON FUNCTION audit.own_path(jsonb), audit.sets(jsonb) FROM PUBLIC;
ALTER FUNCTION audit.own_path(jsonb) OWNER TO tap14_auditor;
ALTER FUNCTION audit.sets(jsonb) OWNER TO tap14_auditor;
ALTER TABLE audit.path OWNER TO tap14_auditor;
SELECT bgjob_filter('own', 'creating', 'audit.own_path'), bgjob_filter('sets', 'creating', 'audit.sets') \g /dev/null
SET SESSION AUTHORIZATION tap14_app;
SET search_path = app, public;
SELECT bgjob_enqueue('run', '["x"]') AS id \gset
SELECT bgjob_enqueue('run', '["x"]') AS id \gset
RESET SESSION AUTHORIZATION;
RESET search_path;
SELECT is((SELECT array_agg(DISTINCT ROW(path, work_mem, who)::text) FROM audit.path), ARRAY[format('("audit, pg_catalog",%s,tap14_auditor)', current_setting('work_mem'))],
	'a SET search_path of the function is in force');
SELECT is(current_setting('my.leak', true), '', 'settings changed by a filter are reset');
CREATE FUNCTION audit.becomes(context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'SET ROLE tap14_app'; RETURN NULL; END $$;
SELECT bgjob_filter('sets', 'creating', 'audit.becomes') \g /dev/null
SELECT is(tap_try($$SELECT bgjob_enqueue('app.run', '["x"]')$$), 'ERROR 42501', 'a filter cannot SET ROLE');
SELECT tap_remove_all() AS x \gset

----------------------------------------------------------------------------------------------------
-- No recursion
----------------------------------------------------------------------------------------------------

CREATE FUNCTION audit.enqueues(context jsonb) RETURNS jsonb LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
	IF context -> 'args' IN ('["first"]', '["by filter"]') THEN -- and not for those of before, which may end meanwhile
		PERFORM bgjob_enqueue('app.run', '["by filter"]', delay => '1 hour', run_as => 'postgres');
	END IF;
	RETURN NULL;
END $$;
SELECT bgjob_filter('enq ' || event, event, 'audit.enqueues') FROM unnest('{creating,created,applied}'::text[]) event \g /dev/null
SELECT bgjob_enqueue('app.run', '["first"]', delay => '1 hour') AS id \gset
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE args = '["by filter"]'), 3::bigint, 'no filter is called for jobs that a filter enqueues');
CREATE FUNCTION audit.deletes(context jsonb) RETURNS jsonb LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
	PERFORM bgjob_delete((context ->> 'id')::bigint);
	RETURN NULL;
END $$;
SELECT tap_remove_all() AS x \gset
SELECT bgjob_filter('deletes', 'applied', 'audit.deletes') \g /dev/null
SELECT is(tap_try($$SELECT bgjob_enqueue('app.run', '["x"]')$$), 'ERROR 55000', 'a filter cannot change the job that it is called for');
SELECT bgjob_filter('deletes', 'created', 'audit.deletes') \g /dev/null
SELECT bgjob_enqueue('app.run', '["x"]') AS id \gset
SELECT is(tap_state(:id), 'deleted', 'at created a filter can change the new job');
SELECT tap_remove_all() AS x \gset

-- Filters may change the job as the job itself may, unless its row is being written.
CREATE FUNCTION audit.marks(context jsonb) RETURNS jsonb LANGUAGE sql SET search_path = public AS
	$$ SELECT bgjob_set_parameter('marked', context -> 'event'); SELECT NULL::jsonb $$;
CREATE FUNCTION audit.snoozes(context jsonb) RETURNS jsonb LANGUAGE sql SET search_path = public AS
	$$ SELECT bgjob_snooze('1 hour'); SELECT NULL::jsonb $$;
CREATE FUNCTION tap_marked(event text, job text, retries int = 0) RETURNS bigint LANGUAGE sql AS $$
	SELECT bgjob_filter('marks', event, 'audit.marks');
	SELECT bgjob_enqueue(job, '["marked"]', max_retries => retries) $$;
CREATE FUNCTION tap_mark(id bigint) RETURNS text LANGUAGE sql AS $$ SELECT j.parameters ->> 'marked' FROM bgjob.jobs j WHERE j.id = $1 $$;
SELECT tap_marked('performing', 'app.run') AS id \gset
SELECT is(bgjob_wait(:id, '60 s') || tap_mark(:id), 'succeededperforming', 'performing can set a parameter of the job');
SELECT tap_marked('performed', 'app.run') AS id \gset
SELECT is(bgjob_wait(:id, '60 s') || tap_mark(:id), 'succeededperformed', 'performed can set a parameter of the job');

-- A worker may run the job before it receives the invalidation of the same commit.
CREATE PROCEDURE tap_mark_often(times int, INOUT wrong int) LANGUAGE plpgsql AS $$
DECLARE
	event text;
	id bigint;
BEGIN
	FOR i IN 1..times LOOP
		event := (ARRAY['performing', 'performed'])[1 + i % 2];
		id := tap_marked(event, 'app.run');
		COMMIT;
		wrong := wrong + (bgjob_wait(id, '60 s') || tap_mark(id) IS DISTINCT FROM 'succeeded' || event)::int;
		COMMIT;
	END LOOP;
END $$;
CALL tap_mark_often(1000, 0) \gset
SELECT is(:wrong, 0, 'a job is performed with the filters committed together with it');
SELECT tap_marked('performed', 'app.bad') AS id \gset
SELECT is(bgjob_wait(:id, '60 s'), 'failed', 'performed cannot set a parameter when a failure is recorded');
SELECT is((SELECT error ->> 'sqlstate' || coalesce(parameters::text, '') FROM bgjob.jobs WHERE id = :id), 'P1414', 'the failure is recorded with the error of the job');
SELECT bgjob_filter_remove('marks') AS x \gset
CREATE FUNCTION audit.marks_late(context jsonb) RETURNS jsonb LANGUAGE plpgsql SET search_path = public AS
	$$ BEGIN IF context ->> 'state' IN ('succeeded', 'failed') THEN PERFORM bgjob_set_parameter('marked', 'true'); END IF; RETURN NULL; END $$;
SELECT bgjob_filter('marks', 'applied', 'audit.marks_late') \g /dev/null
SELECT bgjob_enqueue('app.run', '["x"]', max_retries => 0) AS id \gset
SELECT is(bgjob_wait(:id, '60 s'), 'failed', 'applied cannot set a parameter: the attempt fails, and that is recorded');
SELECT is((SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE id = :id), '55000', 'the recorded error is that of the filter');
SELECT bgjob_filter('marks', 'performing', 'audit.snoozes') \g /dev/null
SELECT bgjob_enqueue('app.run', '["x"]', max_retries => 0) AS id \gset
CALL tap_state_is(:id, 'scheduled');
SELECT is((SELECT state || retries FROM bgjob.jobs WHERE id = :id), 'scheduled0', 'performing can snooze the job');
SELECT tap_remove_all() AS x \gset

----------------------------------------------------------------------------------------------------
-- Groups of jobs
----------------------------------------------------------------------------------------------------

CREATE FUNCTION audit.third(context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	i int := substr(context -> 'args' ->> 0, 2);
BEGIN
	PERFORM audit.see('third', context);
	IF i % 3 = 0 THEN RETURN '{"cancel": "third"}'; END IF;
	IF i % 3 = 1 THEN RAISE EXCEPTION 'one'; END IF;
	RETURN NULL;
END $$;
-- A filter's deferred trigger must have run when the group goes on.
CREATE TABLE audit.deferred (job bigint);
CREATE FUNCTION audit.late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit.seen (filter, job) VALUES ('late', NEW.job); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON audit.deferred DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit.late();
CREATE FUNCTION audit.defers(context jsonb) RETURNS jsonb LANGUAGE sql AS $$
	INSERT INTO audit.deferred SELECT (context ->> 'id')::bigint WHERE context ->> 'state' = 'succeeded' RETURNING NULL::jsonb $$;
SELECT bgjob_queue('g', group_size => 50), bgjob_queue_pause('g') \g /dev/null
SELECT bgjob_filter('third', 'performing', 'audit.third'), bgjob_filter('note', 'performed', 'audit.note'), bgjob_filter('defers', 'applied', 'audit.defers') \g /dev/null
TRUNCATE audit.seen, app.ran;
CREATE TABLE t_group AS SELECT id FROM bgjob_enqueue_many('app.run', ARRAY(SELECT jsonb_build_array('g' || i) FROM generate_series(1, 60) i), queue => 'g', max_retries => 0) id;
SELECT bgjob_queue_resume('g') AS x \gset
CALL tap_wait_until($$ SELECT count(*) = 60 FROM bgjob.jobs JOIN t_group USING (id) WHERE state IN ('succeeded', 'failed', 'deleted') $$);
SELECT is((SELECT array_agg(DISTINCT ROW(substr(args ->> 0, 2)::int % 3, state, coalesce(reason, ''))::text ORDER BY ROW(substr(args ->> 0, 2)::int % 3, state, coalesce(reason, ''))::text) FROM bgjob.jobs JOIN t_group USING (id)),
	'{"(0,deleted,third)","(1,failed,one)","(2,succeeded,\"\")"}'::text[], 'in a group, a third of the jobs is canceled, a third fails, a third succeeds');
SELECT is((SELECT count(*) FROM app.ran), 20::bigint, 'the succeeded jobs of the group have their effects once');
SELECT is((SELECT count(*) FROM audit.seen WHERE filter = 'third'), 40::bigint, 'effects of performing are rolled back for failed jobs');
SELECT is((SELECT count(*) FROM audit.seen WHERE event = 'performed'), 40::bigint, 'performed is called for succeeded and failed jobs');
SELECT ok((SELECT count(DISTINCT xid) < 10 FROM audit.seen), 'the jobs ran in few transactions');
SELECT is((SELECT count(*) FROM audit.seen WHERE filter = 'late'), 20::bigint, 'deferred triggers of filters have run');
SELECT bgjob_filter('fails', 'electing', 'audit.fails', 'app.other%') \g /dev/null
SELECT bgjob_filter_remove('third') AS x \gset
SELECT bgjob_filter_remove('fails') AS x \gset
SELECT bgjob_queue_pause('g') AS x \gset
TRUNCATE t_group, app.ran;
INSERT INTO t_group SELECT id FROM bgjob_enqueue_many('app.run', ARRAY(SELECT jsonb_build_array('h' || i) FROM generate_series(1, 20) i), queue => 'g', max_retries => 0) id;
SELECT bgjob_enqueue('app.other', '["bad one"]', queue => 'g', max_retries => 0) AS id \gset
INSERT INTO t_group SELECT id FROM bgjob_enqueue_many('app.run', ARRAY(SELECT jsonb_build_array('h' || i) FROM generate_series(21, 40) i), queue => 'g', max_retries => 0) id;
SELECT bgjob_filter('fails', 'applied', 'audit.fails', 'app.other%') \g /dev/null
SELECT bgjob_queue_resume('g') AS x \gset
SELECT is(bgjob_wait(:id, '60 s'), 'failed', 'a filter called after the success fails its job of the group');
CALL tap_wait_until($$ SELECT count(*) = 40 FROM bgjob.jobs JOIN t_group USING (id) WHERE state = 'succeeded' $$);
SELECT is((SELECT count(*) FROM app.ran WHERE label LIKE 'h%'), 40::bigint, 'the other jobs of the group succeed');
SELECT tap_remove_all() AS x \gset

----------------------------------------------------------------------------------------------------
-- Recurring jobs
----------------------------------------------------------------------------------------------------

SELECT bgjob_recurring('often', '@yearly', 'app.run', '["recurring"]') \g /dev/null
SELECT bgjob_filter('answers', 'creating', 'audit.answers'), bgjob_filter('note', 'created', 'audit.note') \g /dev/null
SELECT tap_answer('creating', '{"queue": "changed", "args": ["changed"]}');
TRUNCATE audit.seen;
SELECT bgjob_recurring_trigger('often') AS id \gset
SELECT is((SELECT queue || args::text || recurring_name FROM bgjob.jobs WHERE id = :id), 'changed["changed"]often', 'creating changes the job of a recurring job');
SELECT is(tap_seen(:id), '{note:created:enqueued}'::text[], 'created is called for the job of a recurring job');
SELECT tap_answer('creating', '{"cancel": "on holiday"}');
SELECT is(bgjob_recurring_trigger('often'), NULL, 'creating cancels the job of a recurring job');
SELECT is((SELECT error FROM bgjob.recurring_jobs WHERE name = 'often'), 'A filter refused the job: on holiday', 'the recurring job shows the reason of the cancellation');
SELECT bgjob_recurring_remove('often') AS x \gset
-- From the scheduler: an error makes a failed job, and the recurring job continues.
SELECT bgjob_filter('answers', 'creating', 'audit.fails', 'app.other%') \g /dev/null
SELECT bgjob_recurring('failing', '1 second', 'app.other', '["recurring"]'), bgjob_recurring('going', '1 second', 'app.run', '["recurring"]') \g /dev/null
CALL tap_wait_until($$ SELECT count(*) >= 2 FROM bgjob.jobs WHERE recurring_name = 'failing' AND state = 'failed' $$);
SELECT bgjob_recurring_remove(n) AS x FROM unnest('{failing,going}'::text[]) n \g /dev/null
SELECT is((SELECT array_agg(DISTINCT state || ' ' || (error ->> 'sqlstate')) FROM bgjob.jobs WHERE recurring_name = 'failing'), '{failed P1999}'::text[],
	'a filter that raises makes the job of each occurrence failed');
SELECT ok((SELECT count(*) >= 1 FROM bgjob.jobs WHERE recurring_name = 'going' AND state <> 'failed'), 'another recurring job creates its jobs');
SELECT is((SELECT count(*) FROM app.ran WHERE label = 'recurring' ) > 0, true, 'the jobs of the other recurring job run');
SELECT tap_remove_all() AS x \gset

----------------------------------------------------------------------------------------------------
-- When a change is seen
----------------------------------------------------------------------------------------------------

TRUNCATE audit.seen;
BEGIN;
SELECT bgjob_filter('note', 'created', 'audit.note') \g /dev/null
SELECT bgjob_enqueue('app.run', '["x"]', delay => '1 hour') AS id \gset
SELECT is((SELECT count(*) FROM audit.seen), 1::bigint, 'a filter is called in the transaction that adds it');
SELECT bgjob_filter_remove('note') AS x \gset
SELECT bgjob_enqueue('app.run', '["x"]', delay => '1 hour') AS id \gset
SELECT is((SELECT count(*) FROM audit.seen), 1::bigint, 'a filter is not called after its removal in the transaction');
SAVEPOINT s;
SELECT bgjob_filter('note', 'created', 'audit.note') \g /dev/null
SELECT bgjob_enqueue('app.run', '["x"]', delay => '1 hour') AS id \gset
SELECT is((SELECT count(*) FROM audit.seen), 2::bigint, 'a filter is called in the savepoint that adds it');
ROLLBACK TO s;
SELECT bgjob_enqueue('app.run', '["x"]', delay => '1 hour') AS id \gset
SELECT is((SELECT count(*) FROM audit.seen), 1::bigint, 'a filter is not called after the rollback to the savepoint');
SELECT bgjob_filter('note', 'created', 'audit.note') \g /dev/null
ROLLBACK;
SELECT bgjob_enqueue('app.run', '["x"]', delay => '1 hour') AS id \gset
SELECT is((SELECT count(*) FROM audit.seen), 0::bigint, 'a filter is not called after the rollback of the transaction');
SELECT bgjob_filter('note', 'created', 'audit.note') \g /dev/null
BEGIN;
SELECT bgjob_filter_remove('note') AS x \gset
ROLLBACK;
SELECT bgjob_enqueue('app.run', '["x"]', delay => '1 hour') AS id \gset
SELECT is((SELECT count(*) FROM audit.seen), 1::bigint, 'a rolled-back removal has no effect');

-- Rows that SQL writes, as a restore does.
UPDATE bgjob_internal.filter SET func = 'audit.note_b(pg_catalog.jsonb)';
SELECT bgjob_enqueue('app.run', '["x"]', delay => '1 hour') AS id \gset
SELECT is((SELECT array_agg(filter ORDER BY n) FROM audit.seen), '{note,b}'::text[], 'a filter inserted by SQL is called');
SELECT is((SELECT count(*) FROM bgjob.filters), 1::bigint, 'one filter is registered');
BEGIN;
DROP EXTENSION bgjob CASCADE;
CREATE EXTENSION bgjob;
SELECT bgjob_enqueue('app.run', '["x"]', delay => '1 hour') AS id \gset
SELECT is((SELECT count(*) FROM audit.seen), 2::bigint, 'after DROP and CREATE EXTENSION no filter is called');
SELECT bgjob_filter('note', 'created', 'audit.note') \g /dev/null
SELECT bgjob_enqueue('app.run', '["x"]', delay => '1 hour') AS id \gset
SELECT is((SELECT count(*) FROM audit.seen), 3::bigint, 'a filter added to the new extension is called');
ROLLBACK;
SELECT bgjob_enqueue('app.run', '["x"]', delay => '1 hour') AS id \gset
SELECT is((SELECT array_agg(filter ORDER BY n) FROM audit.seen), '{note,b,b}'::text[], 'after the rollback the old filters are called');
SELECT tap_remove_all() AS x \gset

----------------------------------------------------------------------------------------------------
-- The examples of the manual
----------------------------------------------------------------------------------------------------

CREATE SCHEMA ops;
CREATE TABLE ops.job_times (job bigint, name text, ended timestamptz, error text);
CREATE FUNCTION ops.night_only(context jsonb) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('queue', 'night', 'priority', -10)
    WHERE context -> 'tags' ? 'heavy'
$$;
CREATE FUNCTION ops.note_end(context jsonb) RETURNS jsonb LANGUAGE sql AS $$
    INSERT INTO ops.job_times VALUES ((context ->> 'id')::bigint, context ->> 'job', now(), context #>> '{error,message}')
    RETURNING NULL::jsonb
$$;
CREATE FUNCTION ops.give_up_early(context jsonb) RETURNS jsonb LANGUAGE sql AS $$
    SELECT '{"state": "failed"}'::jsonb
    WHERE context ->> 'state' = 'scheduled' AND context #>> '{error,sqlstate}' LIKE '22%'
$$;
SELECT bgjob_filter('heavy jobs', 'creating', 'ops.night_only') \g /dev/null
SELECT bgjob_filter('times', 'performed', 'ops.note_end', jobs => 'app.%') \g /dev/null
SELECT bgjob_filter('bad data', 'electing', 'ops.give_up_early') \g /dev/null
CREATE FUNCTION app.divide(n int) RETURNS int LANGUAGE sql AS 'SELECT 1 / n';
SELECT bgjob_enqueue('app.run', '["x"]', tags => '{heavy}') AS id \gset
SELECT bgjob_enqueue('app.divide', '[0]') AS id2 \gset
SELECT is(bgjob_wait(:id, '60 s'), 'succeeded', 'example of the manual: the heavy job succeeds');
SELECT is((SELECT queue || priority FROM bgjob.jobs WHERE id = :id), 'night-10', 'example of the manual: the heavy job is in queue night');
SELECT is(bgjob_wait(:id2, '60 s'), 'failed', 'example of the manual: bad data are not retried');
SELECT is((SELECT array_agg(coalesce(error, 'none') ORDER BY job) FROM ops.job_times), '{none,"division by zero"}'::text[], 'example of the manual: the end times are stored');
SELECT tap_remove_all() AS x \gset

\ir lib/check_counters.sql
SELECT * FROM finish();

ALTER SYSTEM RESET bgjob.workers;
SELECT pg_reload_conf() AS reloaded \gset
SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap14_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap14_' \gexec
