-- 23_names.sql
--
-- What this file proves (doc/manual.md, "bgjob_enqueue", "Functions and commands"):
--   * a job without a kind is a function if its text can be the name of one, else a command; the syntax alone decides, so no role
--     can have a text taken for something else; kind 'function' never takes a text for a command;
--   * a text that is neither raises 42601, and its hint says what to write; a name that is also a command raises 42883;
--   * the same in bgjob_enqueue_many, bgjob_recurring and bgjob_enqueue_trigger;
--   * an argument that cannot be converted is named, when the job is enqueued and when it runs;
--   * columns of one name are all in the result of a command;
--   * the configuration of a function that has gone is removed by any spelling of its name;
--   * the extension's functions cannot be in the schemas of its views and tables.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser. It drops and creates the extension.

\ir lib/session.sql

CREATE EXTENSION IF NOT EXISTS pgtap;
DROP EXTENSION IF EXISTS bgjob;

SELECT * FROM no_plan();

-- The schemas of the views and tables are created, so the functions cannot be in one of them.
CREATE SCHEMA bgjob;
SELECT throws_ok('CREATE EXTENSION bgjob SCHEMA bgjob', '42P06');
DROP SCHEMA bgjob;
SELECT throws_ok('CREATE EXTENSION bgjob SCHEMA bgjob', '3F000');
SELECT throws_ok('CREATE EXTENSION bgjob SCHEMA bgjob_internal', '3F000');
CREATE EXTENSION bgjob;

\ir lib/wait.sql
\ir lib/errors.sql

----------------------------------------------------------------------------------------------------
-- A function or a command
----------------------------------------------------------------------------------------------------

CREATE TABLE t_row (id int);
CREATE SCHEMA t_schema;
CREATE FUNCTION send_mail(number bigint, subject text = '') RETURNS bigint LANGUAGE sql AS 'SELECT number';
CREATE FUNCTION t_schema."Größe"() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE t_clean() LANGUAGE sql AS 'DELETE FROM t_row';
-- Bait: functions and types whose names are commands.
CREATE FUNCTION "SELECT 1"() RETURNS text LANGUAGE sql AS $$ SELECT 'bait'::text $$;
CREATE FUNCTION "VACUUM t_row"() RETURNS text LANGUAGE sql AS $$ SELECT 'bait'::text $$;
CREATE DOMAIN "13" AS int;

-- tap_text returns the kind of a job that is enqueued without one, or the SQLSTATE of the error.
CREATE FUNCTION tap_text(job text, args jsonb = NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	new_id bigint;
BEGIN
	new_id := bgjob_enqueue(job, args, queue => 'held');
	RETURN (SELECT kind FROM bgjob.jobs WHERE id = new_id);
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
SELECT bgjob_queue('held', paused => true);

SELECT is(tap_text(job, args), 'function', format('a function: %s', job)) FROM (VALUES
	('send_mail', '[13]'::jsonb), ('SEND_MAIL', '[13]'), ('public.send_mail', '[13]'), ('send_mail(bigint, text)', '[13]'), (' send_mail (int8,text) ', '[13]'),
	('t_schema."Größe"', NULL), ('t_schema."Größe"()', NULL), ('t_clean', NULL), ('"SELECT 1"', NULL), ('"SELECT 1"()', NULL), ('now()', NULL)) t (job, args);
SELECT is(tap_text(job, args), 'sql', format('a command: %s', left(job, 40))) FROM (VALUES
	('SELECT 1', NULL::jsonb), ('select 1;', NULL), ('  SELECT 1  ', NULL), ('VACUUM t_row', NULL), ('VACUUM (ANALYZE) t_row', NULL), ('CALL t_clean()', NULL),
	('SELECT send_mail(13)', NULL), ('SELECT(1)', NULL), ('VALUES (1)', NULL), ('DO $$ BEGIN COMMIT; END $$', NULL),
	(E'-- a comment\nSELECT 1 /* (a) */', NULL), ('WITH a AS (SELECT 1) TABLE a', NULL), ('SELECT ''größe'' AS "größe"', NULL),
	('SELECT $1::int', '[1]'), ('DELETE FROM t_row WHERE id = $1', '[1]'), ('REFRESH MATERIALIZED VIEW gone', NULL),
	('SELECT ' || repeat('1, ', 100000) || '1', NULL)) t (job, args);
SELECT is(tap_text(job), '42601', format('neither: %s', left(job, 40))) FROM (VALUES
	('SELEC 1'), ('SELECT 1; SELECT 2'), ('send_mail(13)'), ('send_mail("13", 1)'), ('send mail'), ('send_mail('), ('send_mail(int'), ('send_mail(int))'), (''), (' '), (';'), ('f(int) IS NULL --)'), ('["a"]'),
	('-- nothing'), ('"open'), ('SELECT ''open'), ('send_mail(int) IS NULL; DROP TABLE t_row'), (repeat('(', 100) || '1')) t (job);
SELECT is(tap_text(job), '42883', format('the name of no function: %s', job)) FROM (VALUES
	('VACUUM'), ('checkpoint'), ('COMMIT'), ('VACUUM (FULL)'), ('VALUES (a)'), ('SELECT (send_mail(13))'), ('gone'), ('t_schema.gone'), ('t_schema.gone(int)'), ('send_mail(text)'), ('send_mail()')) t (job);
SELECT is(tap_text('COMMIT AND CHAIN'), '0A000', 'a transaction command');
SELECT is(tap_text('SELECT 1', '{"a": 1}'), '22023', 'a command has no named arguments');
SELECT is((SELECT count(*) FROM t_row), 0::bigint, 'the table is still there');

SELECT is(tap_error(format('SELECT bgjob_enqueue(%L, kind => ''function'')', job)), '42602', format('kind function: %s is no name', job))
FROM unnest('{SELECT 1,VACUUM t_row}'::text[]) job;
SELECT bgjob_enqueue('CHECKPOINT', kind => 'sql', queue => 'held') AS checkpoint \gset
SELECT is(kind, 'sql', 'a command that is also a name needs its kind') FROM bgjob.jobs WHERE id = :checkpoint;

-- The hints.
CREATE FUNCTION tap_hint(job text, args jsonb = NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	h text;
BEGIN
	PERFORM bgjob_enqueue(job, args);
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS h = PG_EXCEPTION_HINT;
	RETURN h;
END $$;
SELECT matches(tap_hint('checkpoint'), 'kind => ''sql''', 'a name that is also a command: the hint has the kind');
SELECT matches(tap_hint('VACUUM (FULL)'), 'kind => ''sql''', 'also with something in parentheses');
SELECT doesnt_match(tap_hint('gone'), 'sql', 'another name: it has not');
SELECT matches(tap_hint('send_mail(13)'), 'SELECT send_mail\(13\)', 'a call: the hint has the command');
SELECT matches(tap_hint('SELECT (1 +)'), 'Write a function', 'a command in parentheses that does not parse is no call');
SELECT matches(tap_hint('SELEC 1'), 'send_mail', 'a typing error: the hint says how a function is written');
SELECT is(tap_error(format('SELECT bgjob_enqueue(%L)', job)), '42601', format('the style of the error: %s', job)) FROM unnest('{SELEC 1,send_mail(13),""}'::text[]) job;

-- The other ways to enqueue.
SELECT is(count(*), 2::bigint, 'bgjob_enqueue_many enqueues commands') FROM bgjob_enqueue_many('SELECT $1::int', '{[1],[2]}', queue => 'held') id;
SELECT is(tap_error($$SELECT bgjob_enqueue_many('SELEC $1', '{[1],[2]}')$$), '42601', 'bgjob_enqueue_many says that a text is neither');
SELECT lives_ok($$SELECT bgjob_recurring('r', '@yearly', 'VACUUM t_row')$$, 'bgjob_recurring takes a command');
SELECT bgjob_recurring_trigger('r') AS triggered \gset
SELECT is(kind, 'sql', 'and enqueues it') FROM bgjob.jobs WHERE id = :triggered;
SELECT is(tap_error($$SELECT bgjob_recurring('r', '@yearly', 'VACUM t_row')$$), '42601', 'bgjob_recurring says that a text is neither');
CREATE TRIGGER t AFTER INSERT ON t_row FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('SELECT 1');
SELECT is(tap_error('INSERT INTO t_row VALUES (1)'), '22023', 'a trigger cannot enqueue a command');
DROP TRIGGER t ON t_row;
CREATE TRIGGER t AFTER INSERT ON t_row FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('SELECT 1', 'kind=function');
SELECT is(tap_error('INSERT INTO t_row VALUES (1)'), '42602', 'nor is it taken for one with kind=function');
DROP TRIGGER t ON t_row;

----------------------------------------------------------------------------------------------------
-- Arguments that cannot be converted
----------------------------------------------------------------------------------------------------

CREATE TYPE t_pair AS (x int, y text);
CREATE DOMAIN t_positive AS int CHECK (value > 0);
CREATE FUNCTION t_types(a int[] = '{}', b t_pair = NULL, c t_positive = 1, VARIADIC d int[] = '{}') RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION t_unnamed(int, date) RETURNS int LANGUAGE sql AS 'SELECT 1';

-- tap_context returns the SQLSTATE of a query's error, and the line of its context that names an argument or a parameter.
CREATE FUNCTION tap_context(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	c text;
BEGIN
	EXECUTE query;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS c = PG_EXCEPTION_CONTEXT;
	RETURN SQLSTATE || ' ' || coalesce(array_to_string(ARRAY(SELECT l FROM regexp_split_to_table(c, '\n') l WHERE l ~ '^(argument|parameter|element)'), ', '), '');
END $$;
SELECT is(tap_context(format('SELECT bgjob_enqueue(%L, %L)', job, args)), said, format('the argument is named: %s %s', job, args)) FROM (VALUES
	('send_mail', '["abc"]', '22P02 argument "number" (1), type bigint, of send_mail(bigint,text)'),
	('send_mail', '{"subject": "x", "number": "abc"}', '22P02 argument "number" (1), type bigint, of send_mail(bigint,text)'),
	('t_types', '[[1, "x"]]', '22P02 argument "a" (1), type integer[], of t_types(integer[],t_pair,t_positive,integer[])'),
	('t_types', '["{1,x}"]', '22P02 argument "a" (1), type integer[], of t_types(integer[],t_pair,t_positive,integer[])'),
	('t_types', '{"b": {"x": "z"}}', '22P02 argument "b" (2), type t_pair, of t_types(integer[],t_pair,t_positive,integer[])'),
	('t_types', '{"c": -1}', '23514 argument "c" (3), type t_positive, of t_types(integer[],t_pair,t_positive,integer[])'),
	('t_types', '[[1], null, 1, 4, "u"]', '22P02 argument "d" (5), type integer[], of t_types(integer[],t_pair,t_positive,integer[])'),
	('t_unnamed', '[1, "2024-13-01"]', '22008 argument 2, type date, of t_unnamed(integer,date)'),
	('SELECT $1::text, $2::int', '["x", "y"]', '22P02 parameter $2 of the command')) t (job, args, said);
SELECT is(tap_context($$SELECT bgjob_enqueue_many('send_mail', '{[1],"[\"x\"]"}')$$),
	'22P02 argument "number" (1), type bigint, of send_mail(bigint,text), element 2 of args', 'bgjob_enqueue_many names the element, too');

-- What the server says of a value inside of an array does not name a key that nobody wrote.
SELECT is(tap_hint('t_types', '{"a": [[1], 2]}'), 'See the array element [1] of key "value".', 'an element of an array is named');

-- The type has changed since the job was enqueued.
SELECT bgjob_enqueue('t_types', '{"c": 5}', max_retries => 0, delay => '1 hour') AS tightened \gset
ALTER DOMAIN t_positive ADD CONSTRAINT small CHECK (value < 5);
SELECT bgjob_requeue(:tightened);
SELECT is(bgjob_wait(:tightened, '20 s'), 'failed', 'a value that the type no longer allows');
SELECT matches(error ->> 'context', 'argument "c" \(3\), type t_positive', 'the argument is named in the error of the job') FROM bgjob.jobs WHERE id = :tightened;

-- Several functions of one name: the first element chooses.
CREATE FUNCTION t_two(a int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION t_two(a int, b int) RETURNS int LANGUAGE sql AS 'SELECT 2';
SELECT is(tap_context($$SELECT bgjob_enqueue_many('t_two', '{[1],"[1,2]"}')$$), '22023 element 2 of args', 'an element that fits another function is refused');
SELECT is(tap_error($$SELECT bgjob_enqueue_many('t_two', '{[1],"[1,2]"}')$$), '22023', 'in good style');

----------------------------------------------------------------------------------------------------
-- Columns of one name
----------------------------------------------------------------------------------------------------

-- tap_result returns the result of a command.
CREATE PROCEDURE tap_result(command text, INOUT result text) LANGUAGE plpgsql AS $$
DECLARE
	new_id bigint := bgjob_enqueue(command, kind => 'sql', max_retries => 0);
BEGIN
	COMMIT;
	PERFORM bgjob_wait(new_id, '20 s');
	COMMIT;
	result := bgjob_result(new_id);
END $$;
CALL tap_result('SELECT 1 AS name, 2 AS name, 3 AS other, 4 AS name', NULL) \gset
SELECT is(:'result'::jsonb, '[{"name": 1, "name_1": 2, "other": 3, "name_2": 4}]', 'columns of one name are numbered');
CALL tap_result('SELECT 1 AS name, 2 AS name, 3 AS name_1, 4 AS name_2', NULL) \gset
SELECT is(:'result'::jsonb, '[{"name": 1, "name_3": 2, "name_1": 3, "name_2": 4}]', 'a name that another column has is not taken');
CALL tap_result('VALUES (1, 2), (3, 4)', NULL) \gset
SELECT is(:'result'::jsonb, '[{"column1": 1, "column2": 2}, {"column1": 3, "column2": 4}]', 'other columns keep their names');
CALL tap_result('SELECT 1, 2', NULL) \gset
SELECT is(:'result'::jsonb, '[{"?column?": 1, "?column?_1": 2}]', 'columns without a name, too');
CALL tap_result(format('SELECT 1 AS %1$s, 2 AS %1$s, 3 AS %1$s', repeat('ö', 31)), NULL) \gset
SELECT is(:'result'::jsonb, format('[{"%s": 1, "%2$s_1": 2, "%2$s_2": 3}]', repeat('ö', 31), repeat('ö', 30))::jsonb, 'a long name is cut between two characters');
CALL tap_result('SELECT 1' || repeat(', 1', 1599), NULL) \gset
SELECT is((SELECT count(*) FROM jsonb_object_keys(:'result'::jsonb -> 0)), 1600::bigint, 'as many as a row can have');

----------------------------------------------------------------------------------------------------
-- The configuration of functions that have gone
----------------------------------------------------------------------------------------------------

CREATE TYPE t_schema.kind AS ENUM ('a');
CREATE FUNCTION "T f"(a varchar(3), b numeric, c date[], d t_schema.kind) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION t_renamed(a int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION t_gone(a int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION t_gone(a int, b int) RETURNS int LANGUAGE sql AS 'SELECT 1';
SELECT bgjob_configure('"T f"'), bgjob_configure('t_renamed'), bgjob_configure('t_gone(int)'), bgjob_configure('t_gone(int, int)');
SELECT is(tap_try($$SELECT bgjob_unconfigure('t_gone(text)')$$), 'ERROR 42883', 'there never was such a function');
DROP FUNCTION "T f";
DROP FUNCTION t_gone(int);
DROP FUNCTION t_gone(int, int);
ALTER FUNCTION t_renamed RENAME TO t_new;
SELECT is(array_agg(job ORDER BY job COLLATE "C"), '{"public.\"T f\"(character varying,numeric,pg_catalog.date[],t_schema.kind)",public.t_gone(integer),"public.t_gone(integer,integer)",public.t_renamed(integer)}',
	'functions that have gone are shown') FROM bgjob.functions;
SELECT is(tap_try($$SELECT bgjob_unconfigure('t_gone')$$), 'ERROR 42725', 'a name that two of them had');
CREATE ROLE tap23 LOGIN;
GRANT USAGE ON SCHEMA bgjob TO tap23;
SELECT is(tap_try($$SELECT bgjob_unconfigure('t_renamed')$$, 'tap23'), 'ERROR 42883', 'a role without the right learns nothing, and removes nothing');
SELECT ok(bgjob_unconfigure('"T f"(varchar, decimal(4,2), _date, t_schema.kind)'), 'other names of the types');
SELECT ok(bgjob_unconfigure('public.t_gone(int)'), 'an alias of the type');
SELECT ok(bgjob_unconfigure('t_gone'), 'the name alone, now that it is unique');
SELECT ok(bgjob_unconfigure(' public . t_renamed ( pg_catalog.int4 ) '), 'the old name of a function that was renamed');
SELECT is((SELECT count(*) FROM bgjob.functions), 0::bigint, 'none is left');
DROP OWNED BY tap23;
DROP ROLE tap23;

SELECT bgjob_recurring_remove('r');
SELECT bgjob_delete(id) FROM bgjob.jobs WHERE queue = 'held';
SELECT bgjob_queue_remove('held');

\ir lib/check_counters.sql
SELECT * FROM finish();
