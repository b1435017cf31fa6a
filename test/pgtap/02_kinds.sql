-- 02_kinds.sql
--
-- What this file proves:
--   * a job may be a function of any language (SQL, PL/pgSQL, internal, C) or a procedure, also one that
--     commits or rolls back inside, or has INOUT parameters;
--   * kind 'sql' runs any single command with parameters, also commands that cannot run in a transaction block
--     (VACUUM, CREATE INDEX CONCURRENTLY); an unparsable command or several commands raise 42601;
--   * results are kept as jsonb: void null, a scalar, an object of a composite, an array of a set;
--   * bgjob_current_id is the job's id inside of a job and NULL outside.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser. Needs contrib's fuzzystrmatch for a
-- function in C; without it that one test is skipped.

\ir lib/session.sql

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

----------------------------------------------------------------------------------------------------
-- Helpers
----------------------------------------------------------------------------------------------------

\ir lib/wait.sql

-- Jobs with their expected results; tap_run_kinds enqueues each in its own transaction and waits.
CREATE TABLE tap_case (n serial, kind text, job text, args jsonb, expected jsonb, description text, id bigint, error text);

CREATE PROCEDURE tap_run_kinds() LANGUAGE plpgsql AS $$
DECLARE
	c tap_case;
	new_id bigint;
	message text;
BEGIN
	FOR c IN SELECT * FROM tap_case WHERE id IS NULL AND error IS NULL ORDER BY n LOOP
		new_id := NULL;
		message := NULL;
		BEGIN
			new_id := bgjob_enqueue(c.job, c.args, kind => c.kind, max_retries => 0);
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

CREATE TABLE t_log (label text, number int, job_id bigint, at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION t_void() RETURNS void LANGUAGE sql AS $$ INSERT INTO t_log (label) VALUES ('void') $$;
CREATE FUNCTION t_sql(a int) RETURNS int LANGUAGE sql AS $$ SELECT a + 1 $$;
CREATE FUNCTION t_plpgsql(a int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN a + 2; END $$;
CREATE FUNCTION t_internal(int4) RETURNS int4 STRICT LANGUAGE internal AS 'int4abs';
CREATE FUNCTION t_text() RETURNS text LANGUAGE sql AS $$ SELECT E'line\n"quoted"'::text $$;
CREATE FUNCTION t_null() RETURNS int LANGUAGE sql AS $$ SELECT NULL::int $$;
CREATE FUNCTION t_boolean() RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;
CREATE FUNCTION t_numeric() RETURNS numeric LANGUAGE sql AS $$ SELECT 12345678901234567890.12345 $$;
CREATE FUNCTION t_timestamp() RETURNS timestamptz LANGUAGE sql SET timezone = 'UTC' AS
	$$ SELECT '2024-02-29 12:34:56.789+00'::timestamptz $$;
CREATE FUNCTION t_array() RETURNS int[] LANGUAGE sql AS $$ SELECT ARRAY[1, NULL, 3] $$;
CREATE FUNCTION t_jsonb() RETURNS jsonb LANGUAGE sql AS $$ SELECT '{"a": [1, null]}'::jsonb $$;
CREATE FUNCTION t_json() RETURNS json LANGUAGE sql AS $$ SELECT '{"b":  2}'::json $$;
CREATE TYPE t_pair AS (x int, y text);
CREATE FUNCTION t_composite() RETURNS t_pair LANGUAGE sql AS $$ SELECT 1, 'one'::text $$;
CREATE FUNCTION t_out(OUT a int, OUT b text) LANGUAGE sql AS $$ SELECT 2, 'two'::text $$;
CREATE FUNCTION t_set() RETURNS SETOF int LANGUAGE sql AS $$ SELECT generate_series(1, 3) $$;
CREATE FUNCTION t_set_plpgsql() RETURNS SETOF text LANGUAGE plpgsql AS
	$$ BEGIN RETURN NEXT 'a'; RETURN NEXT NULL; RETURN NEXT 'c'; END $$;
CREATE FUNCTION t_empty_set() RETURNS SETOF int LANGUAGE sql AS $$ SELECT 1 WHERE false $$;
CREATE FUNCTION t_one_row_set() RETURNS SETOF int LANGUAGE sql AS $$ SELECT 1 $$;
CREATE FUNCTION t_table() RETURNS TABLE (x int, y text) LANGUAGE sql AS $$ VALUES (1, 'one'), (2, NULL) $$;
CREATE FUNCTION t_current() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN bgjob_current_id(); END $$;

CREATE PROCEDURE t_simple(label text, number int = 5) LANGUAGE sql AS
	$$ INSERT INTO t_log (label, number) VALUES (label, number) $$;
CREATE PROCEDURE t_inout(INOUT a int, INOUT b text) LANGUAGE plpgsql AS
	$$ BEGIN a := a * 2; b := b || '!'; END $$;
-- Commits after each row, and rolls one back.
CREATE PROCEDURE t_committing(rows int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. rows LOOP
		INSERT INTO t_log (label, number, job_id) VALUES ('committed', i, bgjob_current_id());
		COMMIT;
	END LOOP;
	INSERT INTO t_log (label) VALUES ('rolled back');
	ROLLBACK;
	INSERT INTO t_log (label, job_id) VALUES ('last', bgjob_current_id());
END $$;
-- Commits once, then fails: the committed part stays.
CREATE PROCEDURE t_commit_and_fail() LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO t_log (label) VALUES ('kept by commit');
	COMMIT;
	INSERT INTO t_log (label) VALUES ('lost by error');
	RAISE EXCEPTION 'after the commit';
END $$;
-- A function named like a command: kinds 'sql' and 'function' must not be confused.
CREATE FUNCTION "SELECT 1"() RETURNS text LANGUAGE sql AS $$ SELECT 'the function'::text $$;

CREATE TABLE t_big (id int PRIMARY KEY, body text);
INSERT INTO t_big SELECT i, 'row ' || i FROM generate_series(1, 1000) i;
DELETE FROM t_big WHERE id > 500;

SELECT plan(75);

----------------------------------------------------------------------------------------------------
-- Functions and procedures, and their results
----------------------------------------------------------------------------------------------------

INSERT INTO tap_case (kind, job, args, expected, description) VALUES
	('function', 't_sql', '[1]', '2', 'a function in SQL'),
	('function', 't_plpgsql', '[1]', '3', 'a function in PL/pgSQL'),
	('function', 't_internal', '[-7]', '7', 'a function of language internal'),
	('function', 'pg_catalog.int4pl', '[2, 3]', '5', 'a built-in C function'),
	('function', 't_text', NULL, '"line\n\"quoted\""', 'text becomes a JSON string'),
	('function', 't_null', NULL, 'null', 'NULL becomes null'),
	('function', 't_boolean', NULL, 'true', 'boolean becomes true'),
	('function', 't_numeric', NULL, '12345678901234567890.12345', 'numeric is kept exactly'),
	('function', 't_timestamp', NULL, '"2024-02-29T12:34:56.789+00:00"', 'a time becomes an ISO 8601 string'),
	('function', 't_array', NULL, '[1, null, 3]', 'an array becomes a JSON array'),
	('function', 't_jsonb', NULL, '{"a": [1, null]}', 'jsonb is kept as it is'),
	('function', 't_json', NULL, '{"b": 2}', 'json is kept as it is'),
	('function', 't_composite', NULL, '{"x": 1, "y": "one"}', 'a composite becomes an object'),
	('function', 't_out', NULL, '{"a": 2, "b": "two"}', 'OUT parameters become an object'),
	('function', 't_set', NULL, '[1, 2, 3]', 'a set becomes an array'),
	('function', 't_set_plpgsql', NULL, '["a", null, "c"]', 'a set from PL/pgSQL becomes an array, NULLs included'),
	('function', 't_empty_set', NULL, '[]', 'an empty set becomes an empty array'),
	('function', 't_one_row_set', NULL, '[1]', 'a set of one row is still an array'),
	('function', 't_table', NULL, '[{"x": 1, "y": "one"}, {"x": 2, "y": null}]', 'a table function becomes an array of objects'),
	('function', 't_inout', '[21, "hey"]', '{"a": 42, "b": "hey!"}', 'INOUT parameters of a procedure become an object'),
	('function', '"SELECT 1"', NULL, '"the function"', 'kind function never takes the job for a command'),
	('sql', 'SELECT 1 AS one, ''x''::text AS two', NULL, '[{"one": 1, "two": "x"}]', 'SELECT: an array with one object for each row'),
	('sql', 'SELECT i FROM generate_series(1, 3) i', NULL, '[{"i": 1}, {"i": 2}, {"i": 3}]', 'SELECT of several rows'),
	('sql', 'SELECT 1 AS one WHERE false', NULL, '[]', 'SELECT of no row'),
	('sql', 'SELECT $1::int + $2::int AS sum', '[40, 2]', '[{"sum": 42}]', 'parameters with a cast'),
	('sql', 'SELECT id FROM t_big WHERE id = $1', '[3]', '[{"id": 3}]', 'a parameter whose type follows from the column'),
	('sql', 'SELECT $1::text IS NULL AS isnull', '[null]', '[{"isnull": true}]', 'a NULL parameter'),
	('sql', 'SELECT $1::text AS same', '["''; DROP TABLE t_log; --"]', '[{"same": "''; DROP TABLE t_log; --"}]', 'a parameter is only data'),
	('sql', 'SELECT $1::jsonb -> ''a'' AS a', '[{"a": [1]}]', '[{"a": [1]}]', 'a jsonb parameter'),
	('sql', 'INSERT INTO t_log (label, number) VALUES ($1, $2) RETURNING number', '["returning", 9]', '[{"number": 9}]', 'INSERT … RETURNING'),
	('sql', 'WITH d AS (DELETE FROM t_big WHERE id = 500 RETURNING 1) SELECT count(*) AS n FROM d', NULL, '[{"n": 1}]', 'a command with a writing WITH'),
	('sql', 'VALUES (1), (2)', NULL, '[{"column1": 1}, {"column1": 2}]', 'VALUES'),
	('sql', 'SELECT 1 AS one; ', NULL, '[{"one": 1}]', 'a semicolon at the end is no second command'),
	('sql', 'SELECT '';'' AS semicolon -- ; SELECT 2', NULL, '[{"semicolon": ";"}]', 'semicolons in strings and comments separate nothing');
CALL tap_run_kinds();
SELECT is(coalesce(to_jsonb('refused: ' || c.error), to_jsonb(j.error), j.result, 'null'), c.expected, c.description)
FROM tap_case c LEFT JOIN bgjob.jobs j USING (id) ORDER BY c.n;

SELECT is((SELECT array_agg(DISTINCT j.kind ORDER BY j.kind) FROM bgjob.jobs j), '{function,sql}'::text[], 'bgjob.jobs shows the kinds of the jobs');
SELECT is(bgjob_result(id), '[1, 2, 3]', 'bgjob_result gives the result of a finished job')
FROM tap_case WHERE job = 't_set';

SELECT bgjob_enqueue('t_void') AS void \gset
SELECT is(bgjob_wait(:void, '20 s'), 'succeeded', 'a void function succeeds');
SELECT is(coalesce(bgjob_result(:void), 'null'), 'null'::jsonb, 'the result of a void function is null');
SELECT is((SELECT count(*) FROM t_log WHERE label = 'void'), 1::bigint, 'the void function ran once');

SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'fuzzystrmatch') AS contrib \gset
\if :contrib
CREATE EXTENSION IF NOT EXISTS fuzzystrmatch;
SELECT bgjob_enqueue('levenshtein(text, text)', '["kitten", "sitting"]', max_retries => 0) AS c \gset
SELECT bgjob_wait(:c, '20 s') AS c_state \gset
SELECT is(bgjob_result(:c), '3', 'a function in C returns its result');
\else
SELECT skip('no fuzzystrmatch');
\endif

----------------------------------------------------------------------------------------------------
-- Procedures
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('t_simple', '{"label": "simple"}') AS simple \gset
SELECT is(bgjob_wait(:simple, '20 s'), 'succeeded', 'a procedure succeeds');
SELECT is((SELECT array_agg(number) FROM t_log WHERE label = 'simple'), '{5}'::int[], 'the procedure has the default of its parameter');
SELECT is(coalesce(bgjob_result(:simple), 'null'), 'null'::jsonb, 'the procedure has no result');

SELECT bgjob_enqueue('t_committing', '[3]') AS committing \gset
SELECT is(bgjob_wait(:committing, '20 s'), 'succeeded', 'a procedure that commits and rolls back inside succeeds');
SELECT results_eq($$ SELECT label, number FROM t_log WHERE label IN ('committed', 'rolled back', 'last') ORDER BY at $$,
	$$ VALUES ('committed', 1), ('committed', 2), ('committed', 3), ('last', NULL) $$,
	'what it committed is there, what it rolled back is not');
SELECT is((SELECT array_agg(DISTINCT job_id) FROM t_log WHERE label IN ('committed', 'last')), ARRAY[:committing::bigint],
	'bgjob_current_id holds in each of its transactions');
SELECT is((SELECT array_agg(state ORDER BY seq) FROM bgjob.job_states WHERE job_id = :committing),
	'{enqueued,processing,succeeded}'::text[], 'its history is that of any other job');

SELECT bgjob_enqueue('t_commit_and_fail', max_retries => 0) AS commit_and_fail \gset
SELECT is(bgjob_wait(:commit_and_fail, '20 s'), 'failed', 'a procedure that fails after its commit is failed');
SELECT is((SELECT array_agg(label) FROM t_log WHERE label IN ('kept by commit', 'lost by error')), '{kept by commit}'::text[],
	'what it had committed stays, the rest is undone');

----------------------------------------------------------------------------------------------------
-- Commands
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('INSERT INTO t_log (label, number) VALUES ($1, $2), ($1, $2 + 1)', '["inserted", 1]', kind => 'sql') AS ins \gset
SELECT is(bgjob_wait(:ins, '20 s'), 'succeeded', 'an INSERT with parameters succeeds');
SELECT is((SELECT array_agg(number ORDER BY number) FROM t_log WHERE label = 'inserted'), '{1,2}'::int[], 'the INSERT has inserted its rows');

SELECT bgjob_enqueue('CALL t_committing(2)', kind => 'sql') AS sql_call \gset
SELECT is(bgjob_wait(:sql_call, '20 s'), 'succeeded', 'a CALL of a procedure that commits succeeds');

SELECT bgjob_enqueue('CREATE TABLE t_made AS SELECT 1 AS x', kind => 'sql') AS ddl \gset
SELECT is(bgjob_wait(:ddl, '20 s'), 'succeeded', 'CREATE TABLE AS');
SELECT has_table('t_made', 'CREATE TABLE AS has created the table');

SELECT bgjob_enqueue('VACUUM (ANALYZE) t_big', kind => 'sql', max_retries => 0) AS vacuum \gset
SELECT is(bgjob_wait(:vacuum, '20 s'), 'succeeded', 'VACUUM ANALYZE');
SELECT is((SELECT reltuples::int FROM pg_class WHERE relname = 't_big'), 499, 'VACUUM ANALYZE has counted the rows');

SELECT bgjob_enqueue('CREATE INDEX CONCURRENTLY t_big_body ON t_big (body)', kind => 'sql', max_retries => 0) AS cic \gset
-- Not by bgjob_wait: CREATE INDEX CONCURRENTLY would wait for the snapshot of the waiting statement.
CALL tap_wait_until(format($$ SELECT state IN ('succeeded', 'failed') FROM bgjob.jobs WHERE id = %s $$, :cic));
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :cic), 'succeeded', 'CREATE INDEX CONCURRENTLY');
SELECT is((SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('t_big_body')), true, 'CREATE INDEX CONCURRENTLY has created a valid index');

SELECT bgjob_enqueue('INSERT INTO t_big VALUES (1, ''duplicate'')', kind => 'sql', max_retries => 0) AS duplicate \gset
SELECT is(bgjob_wait(:duplicate, '20 s'), 'failed', 'a command with an error fails');
SELECT is((SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE id = :duplicate), '23505', 'the failed command has its SQLSTATE');

SELECT count(*) AS jobs_before FROM bgjob.jobs \gset
SELECT throws_ok($$ SELECT bgjob_enqueue('SELEKT 1', kind => 'sql') $$, '42601', NULL, 'a syntax error raises 42601');
SELECT throws_ok($$ SELECT bgjob_enqueue('SELECT 1; SELECT 2', kind => 'sql') $$, '42601', NULL, 'two commands raise 42601');
SELECT throws_ok($$ SELECT bgjob_enqueue('', kind => 'sql') $$, '42601', NULL, 'an empty command raises 42601');
SELECT throws_ok($$ SELECT bgjob_enqueue('SELECT $1::int', '["abc"]', kind => 'sql') $$, '22P02', NULL,
	'a parameter of a wrong type is refused');
SELECT throws_ok($$ SELECT bgjob_enqueue('SELECT $1::int + $2::int', '[1]', kind => 'sql') $$, '22023', NULL,
	'too few parameters are refused');
SELECT throws_ok($$ SELECT bgjob_enqueue('SELECT $1::int', '[1, 2]', kind => 'sql') $$, '22023', NULL,
	'too many parameters are refused');
SELECT throws_ok($$ SELECT bgjob_enqueue('SELECT 1', '{"a": 1}', kind => 'sql') $$, '22023', NULL,
	'an object as the parameters of a command is refused');
SELECT is((SELECT count(*) FROM bgjob.jobs), :jobs_before::bigint, 'refused commands leave no job');

----------------------------------------------------------------------------------------------------
-- bgjob_current_id
----------------------------------------------------------------------------------------------------

SELECT is(bgjob_current_id(), NULL::bigint, 'bgjob_current_id() returns null outside of a job');
SELECT bgjob_enqueue('t_current') AS current \gset
SELECT bgjob_wait(:current, '20 s') AS current_state \gset
SELECT is(bgjob_result(:current), to_jsonb(:current::bigint), 'bgjob_current_id() returns the id of the job');
SELECT bgjob_enqueue('SELECT bgjob_current_id() AS me', kind => 'sql') AS sql_current \gset
SELECT bgjob_wait(:sql_current, '20 s') AS sql_current_state \gset
SELECT is(bgjob_result(:sql_current), jsonb_build_array(jsonb_build_object('me', :sql_current::bigint)),
	'also in a command');

-- With rules, one command may return several result sets of different types.
CREATE TABLE t_ruled (n int);
CREATE RULE one AS ON INSERT TO t_ruled DO ALSO SELECT 1 AS n;
CREATE RULE two AS ON INSERT TO t_ruled DO ALSO SELECT 'x'::text AS a, 2 AS n;
SELECT bgjob_enqueue('INSERT INTO t_ruled VALUES (7)', kind => 'sql', max_retries => 0) AS ruled \gset
SELECT is(bgjob_wait(:ruled, '20 s'), 'succeeded', 'a command with rules succeeds');
SELECT is(bgjob_result(:ruled), '[{"n": 1}, {"a": "x", "n": 2}]', 'the result has the rows of all rules, each with its columns');

-- The check of a command leaves no locks in the session.
BEGIN;
SELECT bgjob_enqueue('SELECT body FROM t_big WHERE id = $1', '[1]', kind => 'sql') AS locked \gset
SELECT is((SELECT count(*) FROM pg_locks WHERE relation = 't_big'::regclass AND pid = pg_backend_pid()), 0::bigint,
	'enqueuing a command locks nothing that it names');
ROLLBACK;

\ir lib/check_counters.sql
SELECT * FROM finish();
