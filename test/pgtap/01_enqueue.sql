-- 01_enqueue.sql
--
-- What this file proves:
--   * bgjob_enqueue and bgjob_enqueue_many have the signature that api.md fixes;
--   * a job exists if and only if its transaction and its savepoint commit (promise 1);
--   * arguments arrive as api.md says: positional, named, defaulted, whole (json), NULL, VARIADIC;
--   * the function is found through the caller's search_path, an explicit signature chooses an overload;
--   * each invalid input raises an error with its SQLSTATE, a detail and a hint, and enqueues nothing
--     (promise 9); options of later versions raise 0A000.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser. Each invalid call
-- runs in a subtransaction that is always rolled back, so that a wrongly accepted job cannot disturb later tests.

\ir lib/session.sql

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

-- The role may be left from an earlier run that failed.
SELECT 'DROP OWNED BY tap01_plain' FROM pg_roles WHERE rolname = 'tap01_plain' \gexec
DROP ROLE IF EXISTS tap01_plain;
CREATE ROLE tap01_plain LOGIN;
GRANT USAGE ON SCHEMA bgjob TO tap01_plain;

----------------------------------------------------------------------------------------------------
-- Helpers
----------------------------------------------------------------------------------------------------

\ir lib/wait.sql

CREATE TABLE tap_refusal (n serial, command text, sqlstate text, message text, detail text, hint text);

-- tap_refused runs a command that must fail, and asserts the SQLSTATE.
CREATE FUNCTION tap_refused(command text, expected text, description text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	got text;
	message text;
	detail text;
	hint text;
BEGIN
	BEGIN
		EXECUTE command;
		RAISE EXCEPTION 'accepted' USING ERRCODE = 'TAP00';
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS got = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
			detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	END;
	IF got = 'TAP00' THEN
		got := 'no error';
	ELSE
		INSERT INTO tap_refusal (command, sqlstate, message, detail, hint)
		VALUES (command, got, message, detail, hint);
	END IF;
	IF got = expected THEN
		RETURN pass(description);
	END IF;
	RETURN fail(description) || E'\n'
		|| diag(format('wanted %s, got %s (%s) from: %s', expected, got, message, command));
END $$;

-- Jobs with their expected results; tap_run_functions enqueues each in its own transaction.
CREATE TABLE tap_case (n serial, job text, args jsonb, expected jsonb, description text, id bigint, error text);

CREATE PROCEDURE tap_run_functions() LANGUAGE plpgsql AS $$
DECLARE
	c tap_case;
	new_id bigint;
	message text;
BEGIN
	FOR c IN SELECT * FROM tap_case WHERE id IS NULL AND error IS NULL ORDER BY n LOOP
		new_id := NULL;
		message := NULL;
		BEGIN
			new_id := bgjob_enqueue(c.job, c.args, max_retries => 0);
		EXCEPTION WHEN OTHERS THEN
			message := SQLSTATE || ' ' || SQLERRM;
		END;
		UPDATE tap_case SET id = new_id, error = message WHERE n = c.n;
		COMMIT;
	END LOOP;
	FOR c IN SELECT * FROM tap_case WHERE id IS NOT NULL ORDER BY n LOOP
		PERFORM bgjob_wait(c.id, '20 s');
		COMMIT;
	END LOOP;
END $$;

----------------------------------------------------------------------------------------------------
-- What the jobs of this file call
----------------------------------------------------------------------------------------------------

CREATE TABLE t_ran (label text, at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION t_note(label text) RETURNS void LANGUAGE sql AS
	$$ INSERT INTO public.t_ran (label) VALUES ($1) $$;
CREATE FUNCTION t_add(a int, b int) RETURNS int LANGUAGE sql AS $$ SELECT a + b $$;
CREATE FUNCTION t_unnamed(int, int) RETURNS int LANGUAGE sql AS $$ SELECT $1 * 10 + $2 $$;
CREATE FUNCTION t_greet(name text, greeting text = 'hello', mark text = '!') RETURNS text LANGUAGE sql AS
	$$ SELECT coalesce(greeting, '<null>') || ' ' || name || mark $$;
CREATE FUNCTION t_all_default(a int = 40, b int = 2) RETURNS int LANGUAGE sql AS $$ SELECT a + b $$;
CREATE FUNCTION t_nothing() RETURNS text LANGUAGE sql AS $$ SELECT 'called'::text $$;
CREATE FUNCTION t_over(int) RETURNS text LANGUAGE sql AS $$ SELECT 'integer'::text $$;
CREATE FUNCTION t_over(text) RETURNS text LANGUAGE sql AS $$ SELECT 'text'::text $$;
CREATE FUNCTION t_over(double precision) RETURNS text LANGUAGE sql AS $$ SELECT 'double precision'::text $$;
CREATE FUNCTION t_whole_jsonb(doc jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_object('got', doc) $$;
CREATE FUNCTION t_whole_json(doc json) RETURNS text LANGUAGE sql AS $$ SELECT json_typeof(doc) $$;
CREATE FUNCTION t_part_jsonb(a int, doc jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT doc -> 'k' -> a $$;
CREATE FUNCTION t_is_null(a text) RETURNS boolean LANGUAGE sql AS $$ SELECT a IS NULL $$;
CREATE FUNCTION t_strict(a int) RETURNS text STRICT LANGUAGE plpgsql AS
	$$ BEGIN INSERT INTO public.t_ran (label) VALUES ('strict was called'); RETURN 'called'; END $$;
CREATE FUNCTION t_variadic(label text, VARIADIC numbers int[]) RETURNS text LANGUAGE sql AS
	$$ SELECT label || ' ' || array_to_string(numbers, '+') $$;
CREATE FUNCTION t_array(a int[], b text[]) RETURNS text LANGUAGE sql AS
	$$ SELECT array_length(a, 1) || ':' || array_to_string(b, '|', 'NULL') $$;
CREATE FUNCTION t_out(a int, OUT twice int, OUT half numeric) LANGUAGE sql AS $$ SELECT a * 2, a / 2.0 $$;
CREATE TYPE t_pair AS (x int, y text);
CREATE FUNCTION t_composite(p t_pair) RETURNS text LANGUAGE sql AS $$ SELECT (p).y || (p).x $$;
CREATE DOMAIN t_positive AS int CHECK (VALUE > 0);
CREATE FUNCTION t_domain(p t_positive) RETURNS int LANGUAGE sql AS $$ SELECT p::int $$;
CREATE FUNCTION t_when(at timestamptz, day date, span interval, exact numeric) RETURNS text LANGUAGE sql AS
	$$ SELECT format('%s %s %s %s', extract(epoch FROM at), day - '2000-01-01', extract(epoch FROM span), exact) $$;
CREATE FUNCTION t_private() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$;
REVOKE EXECUTE ON FUNCTION t_private() FROM PUBLIC;
CREATE AGGREGATE t_aggregate(int) (SFUNC = int4pl, STYPE = int);
CREATE PROCEDURE t_procedure(label text) LANGUAGE sql AS $$ INSERT INTO public.t_ran (label) VALUES (label) $$;
CREATE SCHEMA t_first;
CREATE SCHEMA t_second;
CREATE FUNCTION t_first.same() RETURNS text LANGUAGE sql AS $$ SELECT 'first'::text $$;
CREATE FUNCTION t_second.same() RETURNS text LANGUAGE sql AS $$ SELECT 'second'::text $$;
CREATE FUNCTION t_second."Odd (name)"("The Arg" text) RETURNS text LANGUAGE sql AS $$ SELECT upper($1) $$;

SELECT plan(135);

----------------------------------------------------------------------------------------------------
-- The signature; its options are in 15_options.sql
----------------------------------------------------------------------------------------------------

SELECT is((SELECT (pronargs - pronargdefaults)::int FROM pg_proc WHERE proname = 'bgjob_enqueue'), 1,
	'only the job has no default in bgjob_enqueue');
SELECT is((SELECT (pronargs - pronargdefaults)::int FROM pg_proc WHERE proname = 'bgjob_enqueue_many'), 2,
	'only the job and args have no default in bgjob_enqueue_many');
SELECT is((SELECT array_agg(DISTINCT format('%s %s %s', prorettype::regtype, proretset, provolatile)) FROM pg_proc
		WHERE proname = 'bgjob_enqueue'), ARRAY['bigint f v'],
	'bgjob_enqueue returns one bigint, is volatile and not overloaded');
SELECT is((SELECT array_agg(DISTINCT format('%s %s %s', prorettype::regtype, proretset, provolatile)) FROM pg_proc
		WHERE proname = 'bgjob_enqueue_many'), ARRAY['bigint t v'],
	'bgjob_enqueue_many returns a set of bigint, is volatile and not overloaded');

----------------------------------------------------------------------------------------------------
-- Transactions
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('t_note', '["plain"]') AS plain \gset
SELECT is(bgjob_wait(:plain, '20 s'), 'succeeded', 'a committed job runs');
SELECT is((SELECT count(*) FROM t_ran WHERE label = 'plain'), 1::bigint, 'the committed job ran once');

SELECT bgjob_enqueue('t_note', '["next"]') AS next \gset
SELECT cmp_ok(:next::bigint, '>', :plain::bigint, 'later ids of one session are greater');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE id IN (:plain, :next)), 2::bigint,
	'the returned ids are the ids in bgjob.jobs');

BEGIN;
SELECT bgjob_enqueue('t_note', '["in transaction"]') AS held \gset
SELECT state AS held_state FROM bgjob.jobs WHERE id = :held \gset
SELECT clock_timestamp() AS before_commit \gset
COMMIT;
SELECT is(:'held_state'::text, 'enqueued', 'the enqueuing transaction sees its job as enqueued');
SELECT is(bgjob_wait(:held, '20 s'), 'succeeded', 'the job runs after the commit');
SELECT ok((SELECT at >= :'before_commit' FROM t_ran WHERE label = 'in transaction'), 'the job does not run before the commit');
SELECT ok((SELECT at < :'before_commit'::timestamptz + interval '1 s' FROM t_ran WHERE label = 'in transaction'),
	'but at once: within a second of it');

BEGIN;
SELECT bgjob_enqueue('t_note', '["rolled back"]') AS gone \gset
ROLLBACK;
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE id = :gone), 0::bigint, 'a rolled-back job does not exist');
SELECT is((SELECT count(*) FROM bgjob.job_states WHERE job_id = :gone), 0::bigint, 'a rolled-back job has no history');

BEGIN;
SELECT bgjob_enqueue('t_note', '["before savepoint"]') AS sp_a \gset
SAVEPOINT s;
SELECT bgjob_enqueue('t_note', '["in savepoint"]') AS sp_b \gset
ROLLBACK TO SAVEPOINT s;
SELECT bgjob_enqueue('t_note', '["after savepoint"]') AS sp_c \gset
SAVEPOINT s2;
SELECT bgjob_enqueue('t_note', '["released"]') AS sp_d \gset
RELEASE SAVEPOINT s2;
COMMIT;
SELECT is(ARRAY[bgjob_wait(:sp_a, '20 s'), bgjob_wait(:sp_c, '20 s'), bgjob_wait(:sp_d, '20 s')],
	'{succeeded,succeeded,succeeded}'::text[], 'jobs outside of a rolled-back savepoint run');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE id = :sp_b), 0::bigint,
	'a job of a rolled back savepoint never existed');

DO $$
BEGIN
	BEGIN
		PERFORM bgjob_enqueue('t_note', '["in exception block"]');
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN
		PERFORM bgjob_enqueue('t_note', '["in handler"]');
	END;
END $$;
CALL tap_wait_until($$ SELECT EXISTS (SELECT FROM t_ran WHERE label = 'in handler') $$);
SELECT set_eq('SELECT label FROM t_ran',
	ARRAY['plain', 'next', 'in transaction', 'before savepoint', 'after savepoint', 'released', 'in handler'],
	'exactly the committed jobs have run: nothing of a rolled back transaction, savepoint or exception block');

-- After COMMIT PREPARED a scan finds the job.
SELECT current_setting('max_prepared_transactions')::int > 0 AS two_phase \gset
\if :two_phase
BEGIN;
SELECT bgjob_enqueue('t_note', '["prepared"]') AS prepared \gset
PREPARE TRANSACTION 'tap01';
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE id = :prepared), 0::bigint,
	'a job of a prepared transaction does not exist yet');
COMMIT PREPARED 'tap01';
SELECT is(bgjob_wait(:prepared, '40 s'), 'succeeded', 'the prepared job runs after COMMIT PREPARED');
\else
SELECT skip('max_prepared_transactions is 0', 2);
\endif

----------------------------------------------------------------------------------------------------
-- Arguments and lookup: each case is a job, run in the background; its result is compared
----------------------------------------------------------------------------------------------------

INSERT INTO tap_case (job, args, expected, description) VALUES
	('t_add', '[2, 3]', '5', 'an array gives positional arguments'),
	('t_add', '{"b": 1, "a": 10}', '11', 'an object gives named arguments, in any order'),
	('t_add', '["2", "3"]', '5', 'strings that are valid for the type are accepted'),
	('t_unnamed', '[4, 2]', '42', 'a function without parameter names takes positional arguments'),
	('t_greet', '["Ann"]', '"hello Ann!"', 'missing positional arguments take their defaults'),
	('t_greet', '{"name": "Ann", "mark": "?"}', '"hello Ann?"', 'missing named arguments take their defaults'),
	('t_greet', '["Ann", null]', '"<null> Ann!"', 'a JSON null is NULL, not the default'),
	('t_all_default', NULL, '42', 'args NULL: every argument takes its default'),
	('t_all_default', '[]', '42', 'an empty array: every argument takes its default'),
	('t_all_default', '{}', '42', 'an empty object: every argument takes its default'),
	('t_nothing', NULL, '"called"', 'args NULL for a function without parameters'),
	('t_nothing', '[]', '"called"', 'an empty array for a function without parameters'),
	('t_nothing', '{}', '"called"', 'an empty object for a function without parameters'),
	('t_is_null', '[null]', 'true', 'a positional JSON null is an SQL NULL'),
	('t_is_null', '{"a": null}', 'true', 'a named JSON null is an SQL NULL'),
	('t_is_null', '["null"]', 'false', 'the string "null" is not NULL'),
	('t_is_null', '[""]', 'false', 'the empty string is not NULL'),
	('t_whole_jsonb', '{"a": 1, "doc": 2}', '{"got": {"a": 1, "doc": 2}}', 'a jsonb-only function gets an object whole'),
	('t_whole_jsonb', '[1, 2, 3]', '{"got": [1, 2, 3]}', 'a jsonb-only function gets an array whole'),
	('t_whole_jsonb', '"scalar"', '{"got": "scalar"}', 'a jsonb-only function gets a scalar whole'),
	('t_whole_json', '{"a": 1}', '"object"', 'a json-only function gets an object whole'),
	('t_part_jsonb', '[1, {"k": ["no", "yes"]}]', '"yes"', 'one jsonb parameter among others is bound like any other'),
	('t_variadic', '["sum", 1, 2, 3]', '"sum 1+2+3"', 'further positional arguments go to the VARIADIC parameter'),
	('t_variadic', '{"label": "sum", "numbers": [4, 5]}', '"sum 4+5"', 'a named VARIADIC parameter takes an array'),
	('t_array', '[[1, 2, 3], ["x, y", null]]', '"3:x, y|NULL"', 'JSON arrays become SQL arrays'),
	('t_out', '[5]', '{"twice": 10, "half": 2.5}', 'OUT parameters are not asked for'),
	('t_composite', '[{"x": 7, "y": "nr "}]', '"nr 7"', 'a JSON object becomes a composite value'),
	('t_domain', '[3]', '3', 'a value that a domain allows'),
	('t_when', '["2024-02-29 12:00:00.000001+00", "2000-01-31", "1 hour", 12345678901234567890.123456789]',
		'"1709208000.000001 30 3600.000000 12345678901234567890.123456789"',
		'times, intervals and long numbers arrive exactly'),
	('t_greet', '["''; DROP TABLE t_ran; --"]', '"hello ''; DROP TABLE t_ran; --!"', 'quotes and semicolons are only data'),
	('t_greet', '["Zoë ☃ \u0041 \\"]', '"hello Zoë ☃ A \\!"', 'any text arrives unchanged'),
	('public.t_add', '[1, 1]', '2', 'a schema-qualified name'),
	('t_add(int, int)', '[1, 2]', '3', 'a name with its signature'),
	('  public.t_add ( integer , int4 )', '[1, 3]', '4', 'a signature may have spaces and other names of the types'),
	('t_over(int)', '[1]', '"integer"', 'a signature chooses the overload'),
	('t_over(text)', '["1"]', '"text"', 'another signature chooses the other overload'),
	('t_over(double precision)', '[1]', '"double precision"', 'a type name of two words'),
	('t_nothing()', NULL, '"called"', 'an empty signature'),
	('T_ADD', '[1, 4]', '5', 'unquoted names fold to lower case'),
	('t_second."Odd (name)"', '{"The Arg": "abc"}', '"ABC"', 'quoted function and argument names'),
	('t_second."Odd (name)"(text)', '["abc"]', '"ABC"', 'a quoted name with a signature'),
	('pg_catalog.upper(text)', '["abc"]', '"ABC"', 'a built-in function');
CALL tap_run_functions();
SELECT is(coalesce(to_jsonb('refused: ' || c.error), to_jsonb(j.error), j.result), c.expected, c.description)
FROM tap_case c LEFT JOIN bgjob.jobs j USING (id) ORDER BY c.n;

SELECT bgjob_enqueue('t_strict', '[null]') AS strict \gset
SELECT is(bgjob_wait(:strict, '20 s'), 'succeeded', 'a STRICT function with a NULL argument succeeds');
SELECT is((SELECT count(*) FROM t_ran WHERE label = 'strict was called'), 0::bigint, 'the STRICT function was not called');

SET search_path = t_second, t_first, public;
SELECT bgjob_enqueue('same') AS same2 \gset
SET search_path = t_first, t_second, public;
SELECT bgjob_enqueue('same') AS same1 \gset
RESET search_path;
SELECT is(ARRAY[bgjob_wait(:same2, '20 s'), bgjob_wait(:same1, '20 s')], '{succeeded,succeeded}'::text[],
	'functions of the same name in two schemas of the path are not ambiguous');
SELECT is(ARRAY[bgjob_result(:same2), bgjob_result(:same1)], ARRAY['"second"', '"first"']::jsonb[],
	'the caller''s search_path decides which one is meant');

----------------------------------------------------------------------------------------------------
-- Options are kept
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue(job => 't_note', args => '{"label": "later"}', kind => 'function', queue => 'mail_2-x', priority => -32768,
	delay => '1 hour', max_retries => 3, timeout => '90 s', tags => '{a,"b c"}', parameters => '{"k": [1]}') AS opt \gset
SELECT is((SELECT to_jsonb(j) FROM (SELECT kind, args, queue, priority, state, max_retries, timeout, tags, parameters, retries,
			started_at, finished_at, result, error FROM bgjob.jobs WHERE id = :opt) j),
	'{"kind": "function", "args": {"label": "later"}, "queue": "mail_2-x", "priority": -32768, "state": "scheduled",
	  "max_retries": 3, "timeout": "00:01:30", "tags": ["a", "b c"], "parameters": {"k": [1]}, "retries": 0,
	  "started_at": null, "finished_at": null, "result": null, "error": null}'::jsonb,
	'every option given by name is kept, and a delayed job is scheduled');
SELECT ok((SELECT run_at - created_at BETWEEN '59 min 59 s' AND '60 min 1 s' FROM bgjob.jobs WHERE id = :opt),
	'delay counts from now');
SELECT bgjob_enqueue('t_note', '["later"]', run_at => '2999-12-31 23:59:59.5+00') AS opt2 \gset
SELECT is((SELECT run_at FROM bgjob.jobs WHERE id = :opt2), '2999-12-31 23:59:59.5+00'::timestamptz, 'run_at is kept exactly');
SELECT is((SELECT format('%s %s %s %s', queue, priority, max_retries, run_as) FROM bgjob.jobs WHERE id = :opt2),
	format('default 0 10 %s', current_user), 'defaults: queue default, priority 0, 10 retries, run_as the current user');
SELECT bgjob_enqueue('t_nothing', run_at => now() - interval '1 day') AS past \gset
SELECT is(bgjob_wait(:past, '20 s'), 'succeeded', 'a job with a past run_at runs at once');
SELECT bgjob_enqueue('t_nothing', queue => repeat('q', 63), priority => 32767, delay => '0') AS edge \gset
SELECT is(bgjob_wait(:edge, '20 s'), 'succeeded', 'the longest queue name, the highest priority and a delay of zero are accepted');
SELECT bgjob_enqueue('t_nothing', NULL, queue => NULL, priority => NULL, delay => NULL, run_at => NULL, max_retries => NULL,
	timeout => NULL, unique_key => NULL, sequence_key => NULL, limits => NULL, fairness_key => NULL, after => NULL, after_batch => NULL,
	batch => NULL, run_as => NULL, tags => NULL, parameters => NULL) AS nulls \gset
SELECT is(bgjob_wait(:nulls, '20 s'), 'succeeded', 'an option that is null counts as omitted');

----------------------------------------------------------------------------------------------------
-- bgjob_enqueue_many
----------------------------------------------------------------------------------------------------

CREATE TABLE t_many AS
	SELECT ord, id FROM bgjob_enqueue_many('t_add',
		ARRAY(SELECT jsonb_build_array(i, 1000) FROM generate_series(1, 500) i)) WITH ORDINALITY AS m (id, ord);
SELECT is((SELECT count(DISTINCT id) FROM t_many), 500::bigint, 'enqueue_many returns one id for each element');
CALL tap_wait_until($$ SELECT count(*) = 500 FROM bgjob.jobs JOIN t_many USING (id) WHERE state = 'succeeded' $$);
SELECT is((SELECT count(*) FROM bgjob.jobs j JOIN t_many USING (id) WHERE j.result = to_jsonb(ord + 1000)), 500::bigint,
	'and all of them run, the ids in the order of the elements');
SELECT is((SELECT count(*) FROM bgjob_enqueue_many('t_add', ARRAY[]::jsonb[])), 0::bigint, 'enqueue_many with an empty array enqueues no job');
SELECT is((SELECT array_agg(id ORDER BY ord) = array_agg(id ORDER BY id) FROM t_many), true,
	'ids of one enqueue_many grow, so that first in is first out');
SELECT array_agg(id) AS some FROM bgjob_enqueue_many('t_all_default', ARRAY[NULL, '[1]', '{"b": 1}']::jsonb[],
	queue => 'bulk', priority => 5, delay => '1 day', tags => '{bulk}') AS id \gset
SELECT is((SELECT array_agg(format('%s %s %s %s %s', args, queue, priority, state, tags) ORDER BY array_position(:'some'::bigint[], id))
		FROM bgjob.jobs WHERE id = ANY (:'some'::bigint[])),
	ARRAY[' bulk 5 scheduled {bulk}', '[1] bulk 5 scheduled {bulk}', '{"b": 1} bulk 5 scheduled {bulk}'],
	'options hold for every job of enqueue_many, and an element may be NULL');

----------------------------------------------------------------------------------------------------
-- Wrong input
----------------------------------------------------------------------------------------------------

SELECT count(*) AS jobs_before FROM bgjob.jobs \gset
SELECT count(*) AS states_before FROM bgjob.job_states \gset

SELECT tap_refused(format('SELECT bgjob_enqueue(%s)', arguments), expected, description) FROM (VALUES
	($$'t_no_such_function'$$, '42883', 'an unknown function'),
	($$'t_no_such_schema.t_add', '[1, 2]'$$, '42883', 'an unknown schema'),
	($$'same'$$, '42883', 'a function that is not in the search_path'),
	($$'t_add(text)', '["x"]'$$, '42883', 'a signature that no function has'),
	($$'t_over', '[1]'$$, '42725', 'a bare name that several functions have'),
	($$'public.t_over', '[1]'$$, '42725', 'a qualified name that several functions have'),
	($$'t_add', '[1]'$$, '22023', 'too few arguments'),
	($$'t_add', '[1, 2, 3]'$$, '22023', 'too many arguments'),
	($$'t_add'$$, '22023', 'no arguments where some are needed'),
	($$'t_nothing', '[1]'$$, '22023', 'an argument for a function that has no parameter'),
	($$'t_add', '{"a": 1}'$$, '22023', 'a named argument is missing'),
	($$'t_add', '{"a": 1, "c": 2}'$$, '22023', 'a wrong name instead of a right one'),
	($$'t_add', '{"a": 1, "b": 2, "c": 3}'$$, '22023', 'a name too many'),
	($$'t_add', '{"a": 1, "B": 2}'$$, '22023', 'names of arguments are not folded'),
	($$'t_unnamed', '{"a": 1, "b": 2}'$$, '22023', 'named arguments for a function without names'),
	($$'t_out', '{"a": 1, "twice": 2}'$$, '22023', 'a value for an OUT parameter'),
	($$'t_add', '5'$$, '22023', 'args that are neither an array nor an object'),
	($$'t_add', '["one", 2]'$$, '22P02', 'a value of the wrong type'),
	($$'t_add', '{"a": 1, "b": "two"}'$$, '22P02', 'a named value of the wrong type'),
	($$'t_add', '[3000000000, 1]'$$, '22003', 'a value out of the range of the type'),
	($$'t_when', '["2024-02-30", "2000-01-01", "1 s", 1]'$$, '22008', 'a day that does not exist'),
	($$'t_domain', '[-1]'$$, '23514', 'a value that the domain forbids'),
	($$'t_nothing', queue => 'Mail'$$, '22023', 'a queue name with a capital letter'),
	($$'t_nothing', queue => ''$$, '22023', 'an empty queue name'),
	($$'t_nothing', queue => 'a b'$$, '22023', 'a queue name with a space'),
	($$'t_nothing', queue => E'mail\n'$$, '22023', 'a queue name that ends with a new line'),
	($$'t_nothing', queue => repeat('q', 64)$$, '22023', 'a queue name of 64 characters'),
	($$'t_nothing', priority => 32768$$, '22023', 'a priority above 32767'),
	($$'t_nothing', priority => -32769$$, '22023', 'a priority below -32768'),
	($$'t_nothing', delay => '1 s', run_at => now()$$, '22023', 'delay and run_at together'),
	($$'t_nothing', max_retries => -1$$, '22023', 'negative max_retries'),
	($$'t_nothing', timeout => '-1 s'$$, '22023', 'a negative timeout'),
	($$'t_nothing', kind => 'magic'$$, '22023', 'an unknown kind'),
	($$'t_nothing', unique_key => ''$$, '22023', 'an empty unique_key'),
	($$'t_nothing', sequence_key => ''$$, '22023', 'an empty sequence_key'),
	($$'t_nothing', limits => '{l}'$$, '22023', 'a limit that does not exist'),
	($$'t_nothing', after => ARRAY[987654321::bigint]$$, '22023', 'an unknown job to await'),
	($$'t_nothing', after_batch => 987654321$$, '22023', 'an unknown batch to await'),
	($$'t_nothing', batch => 987654321$$, '22023', 'an unknown batch'),
	($$'', kind => 'external'$$, '22023', 'a job for external workers without a name')
) AS v (arguments, expected, description);

SELECT tap_refused(format('SELECT * FROM bgjob_enqueue_many(%s)', arguments), expected, description) FROM (VALUES
	($$'t_add', ARRAY['[1, 2]', '[1]', '[3, 4]']::jsonb[]$$, '22023', 'one wrong element of enqueue_many refuses them all'),
	($$'t_add', ARRAY['[1, 2]', '["x", 1]']::jsonb[]$$, '22P02', 'one element of a wrong type refuses them all'),
	($$'t_no_such_function', ARRAY['[1]']::jsonb[]$$, '42883', 'enqueue_many with an unknown function'),
	($$'t_nothing', ARRAY[NULL]::jsonb[], queue => 'No'$$, '22023', 'enqueue_many with a wrong queue name'),
	($$'', ARRAY[NULL]::jsonb[], kind => 'external'$$, '22023', 'enqueue_many for external workers without a name')
) AS v (arguments, expected, description);

SELECT throws_ok($$ SELECT bgjob_enqueue('t_aggregate', '[1]') $$, NULL, NULL, 'an aggregate raises an error');
SELECT throws_ok($$ SELECT bgjob_enqueue(NULL) $$, NULL, NULL, 'a null job raises an error');
SELECT throws_ok($$ SELECT bgjob_enqueue('bgjob_enqueue_trigger') $$, NULL, NULL, 'a trigger function raises an error');
SELECT throws_ok($$ SELECT bgjob_enqueue('t_nothing(') $$, NULL, NULL, 'a malformed signature raises an error');

-- No EXECUTE. pgTAP's tables belong to the superuser, so the role only calls, and the superuser asserts.
CREATE FUNCTION tap_state_of(command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE command;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
SET ROLE tap01_plain;
SELECT tap_state_of($$ SELECT bgjob_enqueue('t_private') $$) AS private \gset
SELECT tap_state_of($$ SELECT bgjob_enqueue('t_private()') $$) AS private_signature \gset
RESET ROLE;
SELECT is(:'private'::text, '42501', 'a function without EXECUTE raises 42501');
SELECT is(:'private_signature'::text, '42501', 'a signature of a function without EXECUTE raises 42501');

SELECT is_empty($$ SELECT command, message FROM tap_refusal
		WHERE sqlstate IN ('42883', '42725', '22023', '0A000') AND (detail = '' OR hint = '' OR detail IS NULL OR hint IS NULL) $$,
	'every refusal of bgjob itself has a detail and a hint');
SELECT is_empty($$ SELECT command, message FROM tap_refusal
		WHERE sqlstate IN ('42883', '42725', '22023', '0A000') AND (message ~ '^[A-Z][a-z]' OR message ~ '\.$') $$,
	'messages begin in lower case and have no full stop at the end');
SELECT is_empty($$ SELECT command, detail, hint FROM tap_refusal
		WHERE sqlstate IN ('42883', '42725', '22023', '0A000') AND (detail !~ '[.?)]$' OR hint !~ '[.?)]$') $$,
	'details and hints are sentences');

SELECT is((SELECT count(*) FROM bgjob.jobs), :jobs_before::bigint, 'refused calls leave no job');
SELECT is((SELECT count(*) FROM bgjob.job_states), :states_before::bigint, 'refused calls leave no history');
SELECT bgjob_enqueue('t_note', '["after the errors"]') AS after_errors \gset
SELECT is(bgjob_wait(:after_errors, '20 s'), 'succeeded', 'the next valid job runs');

\ir lib/check_counters.sql
SELECT * FROM finish();

SELECT 'DROP OWNED BY tap01_plain' \gexec
DROP ROLE tap01_plain;
