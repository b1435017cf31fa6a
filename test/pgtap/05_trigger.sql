-- 05_trigger.sql
--
-- What this file proves about bgjob_enqueue_trigger:
--   * a row trigger on INSERT, UPDATE and DELETE passes the row (NEW; OLD on DELETE) as named arguments, all of
--     it or the columns named, and a json-only function gets it whole;
--   * options (queue, delay, priority, max_retries) reach the job;
--   * a statement trigger with a transition table enqueues one job per row;
--   * invalid options, functions and columns raise their SQLSTATE and fail the statement;
--   * jobs belong to the transaction of the statement that fired the trigger.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser.

\ir lib/session.sql

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

----------------------------------------------------------------------------------------------------
-- Helpers
----------------------------------------------------------------------------------------------------

\ir lib/wait.sql

----------------------------------------------------------------------------------------------------
-- What the jobs of this file call
----------------------------------------------------------------------------------------------------

CREATE TABLE t_got (n serial, what text, doc jsonb);
CREATE FUNCTION t_by_id(id int) RETURNS void LANGUAGE sql AS
	$$ INSERT INTO t_got (what, doc) VALUES ('by id', to_jsonb(id)) $$;
CREATE FUNCTION t_by_row(id int, body text, at timestamptz) RETURNS void LANGUAGE sql AS
	$$ INSERT INTO t_got (what, doc) VALUES ('by row', jsonb_build_object('id', id, 'body', body, 'epoch', extract(epoch FROM at))) $$;
CREATE FUNCTION t_whole(doc jsonb) RETURNS void LANGUAGE sql AS
	$$ INSERT INTO t_got (what, doc) VALUES ('whole', doc) $$;

SELECT plan(45);

----------------------------------------------------------------------------------------------------
-- Row triggers
----------------------------------------------------------------------------------------------------

CREATE TABLE t_comment (id int, body text, at timestamptz, old_stuff int);
ALTER TABLE t_comment DROP COLUMN old_stuff;	-- a dropped column is no argument
CREATE TRIGGER ins AFTER INSERT ON t_comment FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('t_by_id', 'columns=id');
INSERT INTO t_comment VALUES (1, 'one', '2024-01-01 00:00+00'), (2, 'two', NULL);
CALL tap_idle();
SELECT results_eq('SELECT what, doc FROM t_got ORDER BY doc', $$ VALUES ('by id', '1'::jsonb), ('by id', '2') $$,
	'INSERT: one job for each row, with the column named');
SELECT is((SELECT array_agg(args ORDER BY id) FROM bgjob.jobs), ARRAY['{"id": 1}', '{"id": 2}']::jsonb[], 'the column is a named argument');
SELECT is((SELECT array_agg(DISTINCT format('%s %s %s %s', kind, queue, priority, state)) FROM bgjob.jobs),
	'{function default 0 succeeded}'::text[], 'the jobs have the default options');
TRUNCATE t_got;
DROP TRIGGER ins ON t_comment;

CREATE TRIGGER upd AFTER UPDATE ON t_comment FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('t_by_row');
SET datestyle = 'German, DMY';
SET timezone = 'Asia/Kathmandu';
UPDATE t_comment SET body = 'new "body"', at = '2024-03-02 01:02:03.000004+00' WHERE id = 1;
RESET datestyle;
RESET timezone;
CALL tap_idle();
SELECT is((SELECT array_agg(doc) FROM t_got), ARRAY['{"id": 1, "body": "new \"body\"", "epoch": 1709341323.000004}']::jsonb[],
	'UPDATE: the new row, every column a named argument, values exact under any DateStyle and TimeZone');
TRUNCATE t_got;
UPDATE t_comment SET body = NULL, at = 'infinity' WHERE id = 2;
CALL tap_idle();
SELECT is((SELECT array_agg(doc) FROM t_got), ARRAY['{"id": 2, "body": null, "epoch": "Infinity"}']::jsonb[],
	'NULL and infinity arrive');
TRUNCATE t_got;
UPDATE t_comment SET body = 'nobody' WHERE false;
SELECT is((SELECT count(*) FROM bgjob.jobs), 4::bigint, 'a statement without rows enqueues no job');
DROP TRIGGER upd ON t_comment;

CREATE TRIGGER del AFTER DELETE ON t_comment FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('t_by_id', 'columns=id');
DELETE FROM t_comment WHERE id = 2;
CALL tap_idle();
SELECT is((SELECT array_agg(doc) FROM t_got), ARRAY['2']::jsonb[], 'DELETE: the job gets the old row');
TRUNCATE t_got;
DROP TRIGGER del ON t_comment;

CREATE TRIGGER whole AFTER INSERT OR UPDATE OR DELETE ON t_comment FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('t_whole');
INSERT INTO t_comment VALUES (3, 'three', '2024-01-01 00:00+00');
CALL tap_idle();
UPDATE t_comment SET body = 'drei' WHERE id = 3;
CALL tap_idle();
DELETE FROM t_comment WHERE id = 3;
CALL tap_idle();
SELECT is((SELECT array_agg(doc - 'at' ORDER BY n) FROM t_got),
	ARRAY['{"id": 3, "body": "three"}', '{"id": 3, "body": "drei"}', '{"id": 3, "body": "drei"}']::jsonb[],
	'a jsonb-only function gets the whole row, on INSERT, UPDATE and DELETE');
SELECT is((SELECT count(*) FROM t_got WHERE (doc ->> 'at')::timestamptz = '2024-01-01 00:00+00'), 3::bigint, 'the row has every column');
TRUNCATE t_got;
DROP TRIGGER whole ON t_comment;

CREATE TRIGGER whole AFTER INSERT ON t_comment FOR EACH ROW
	EXECUTE FUNCTION bgjob_enqueue_trigger('t_whole', 'columns=id,body');
INSERT INTO t_comment VALUES (4, 'four', now());
CALL tap_idle();
SELECT is((SELECT array_agg(doc) FROM t_got), ARRAY['{"id": 4, "body": "four"}']::jsonb[],
	'or, of the row, the columns that are named');
TRUNCATE t_got;
DROP TRIGGER whole ON t_comment;

-- WHEN, a qualified name with a signature, and a column name with a capital letter.
CREATE TABLE t_odd ("Id" int, important boolean);
CREATE FUNCTION t_odd_job("Id" int) RETURNS void LANGUAGE sql AS $$ INSERT INTO t_got (what, doc) VALUES ('odd', to_jsonb($1)) $$;
CREATE TRIGGER t AFTER INSERT ON t_odd FOR EACH ROW WHEN (NEW.important)
	EXECUTE FUNCTION bgjob_enqueue_trigger('public.t_odd_job(int)', 'columns=Id');
INSERT INTO t_odd VALUES (1, true), (2, false), (3, NULL), (4, true);
CALL tap_idle();
SELECT is((SELECT array_agg(doc ORDER BY doc) FROM t_got), '{1,4}'::jsonb[], 'WHEN of the trigger is respected; column names are case-sensitive');
TRUNCATE t_got;
DROP TABLE t_odd;

-- Names with blanks, commas and quotes, and a column whose name is the beginning of such a name.
CREATE TABLE t_blanks ("user" int, "user id" int, "a,b" int, "say ""x""" int);
CREATE TRIGGER t AFTER INSERT ON t_blanks FOR EACH ROW
	EXECUTE FUNCTION bgjob_enqueue_trigger('t_whole', 'columns= user id , "a,b","user","say ""x""" ');
INSERT INTO t_blanks VALUES (1, 2, 3, 4);
CALL tap_idle();
SELECT is((SELECT doc FROM t_got), '{"user": 1, "user id": 2, "a,b": 3, "say \"x\"": 4}'::jsonb, 'column names may contain blanks, commas and quotes');
TRUNCATE t_got;
DROP TABLE t_blanks;

----------------------------------------------------------------------------------------------------
-- Options
----------------------------------------------------------------------------------------------------

CREATE TABLE t_options (id int);
CREATE TRIGGER t AFTER INSERT ON t_options FOR EACH ROW
	EXECUTE FUNCTION bgjob_enqueue_trigger('t_by_id', 'columns=id', 'queue=mail', 'delay=5 min', 'priority=-7', 'max_retries=2');
INSERT INTO t_options VALUES (10);
SELECT is((SELECT format('%s %s %s %s %s', state, queue, priority, max_retries, args) FROM bgjob.jobs ORDER BY id DESC LIMIT 1),
	'scheduled mail -7 2 {"id": 10}', 'queue, delay, priority and max_retries reach the job');
SELECT ok((SELECT run_at - created_at BETWEEN '299 s' AND '301 s' FROM bgjob.jobs ORDER BY id DESC LIMIT 1), 'the delay is five minutes');
SELECT is((SELECT bgjob_delete(max(id)) FROM bgjob.jobs), true, 'a job of a trigger can be deleted');

----------------------------------------------------------------------------------------------------
-- Transactions
----------------------------------------------------------------------------------------------------

SELECT count(*) AS jobs FROM bgjob.jobs \gset
BEGIN;
INSERT INTO t_options VALUES (11);
SELECT count(*) - :jobs AS inside FROM bgjob.jobs \gset
ROLLBACK;
SELECT is(:inside, 1, 'the transaction of the statement sees the job');
SELECT is((SELECT count(*) FROM bgjob.jobs), :jobs::bigint, 'a rolled-back row leaves no job');
BEGIN;
SAVEPOINT s;
INSERT INTO t_options VALUES (12);
ROLLBACK TO SAVEPOINT s;
COMMIT;
SELECT is((SELECT count(*) FROM bgjob.jobs), :jobs::bigint, 'a rolled-back savepoint leaves no job');

----------------------------------------------------------------------------------------------------
-- Statement triggers
----------------------------------------------------------------------------------------------------

CREATE TABLE t_bulk (id int, body text);
CREATE TRIGGER ins AFTER INSERT ON t_bulk REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT
	EXECUTE FUNCTION bgjob_enqueue_trigger('t_by_id', 'columns=id', 'queue=bulk');
INSERT INTO t_bulk SELECT i, 'row ' || i FROM generate_series(1, 300) i;
CALL tap_idle();
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE queue = 'bulk'), 300::bigint, 'a statement trigger enqueues one job for each row');
SELECT is((SELECT array_agg(DISTINCT state) FROM bgjob.jobs WHERE queue = 'bulk'), '{succeeded}'::text[], 'all jobs of the statement trigger run');
SELECT results_eq('SELECT doc::int FROM t_got ORDER BY 1', 'SELECT generate_series(1, 300)', 'each row has one job');
TRUNCATE t_got;
INSERT INTO t_bulk SELECT 1, 'none' WHERE false;
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE queue = 'bulk'), 300::bigint, 'a statement without rows enqueues nothing');
DROP TRIGGER ins ON t_bulk;

CREATE TRIGGER upd AFTER UPDATE ON t_bulk REFERENCING NEW TABLE AS "Fresh Rows" FOR EACH STATEMENT
	EXECUTE FUNCTION bgjob_enqueue_trigger('t_whole');
UPDATE t_bulk SET body = 'updated' WHERE id IN (5, 6);
CALL tap_idle();
SELECT is((SELECT array_agg(doc ORDER BY doc) FROM t_got),
	ARRAY['{"id": 5, "body": "updated"}', '{"id": 6, "body": "updated"}']::jsonb[],
	'UPDATE with a NEW TABLE of any name: whole rows for a jsonb-only function');
TRUNCATE t_got;
DROP TRIGGER upd ON t_bulk;

CREATE TRIGGER del AFTER DELETE ON t_bulk REFERENCING OLD TABLE AS gone FOR EACH STATEMENT
	EXECUTE FUNCTION bgjob_enqueue_trigger('t_by_id', 'columns=id');
DELETE FROM t_bulk WHERE id > 298;
CALL tap_idle();
SELECT is((SELECT array_agg(doc ORDER BY doc) FROM t_got), '{299,300}'::jsonb[], 'DELETE with an OLD TABLE enqueues one job for each row');
TRUNCATE t_got;
DROP TRIGGER del ON t_bulk;

----------------------------------------------------------------------------------------------------
-- Wrong use: the statement fails and stores no row
----------------------------------------------------------------------------------------------------

SELECT count(*) AS jobs FROM bgjob.jobs \gset
CREATE TABLE t_wrong (id int, body text);

-- tap_wrong creates a trigger with these arguments and asserts the error of an INSERT.
CREATE FUNCTION tap_wrong(arguments text, expected text, description text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	got text := 'no error';
	message text;
BEGIN
	BEGIN
		EXECUTE format('CREATE TRIGGER t AFTER INSERT ON t_wrong FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger(%s)', arguments);
		INSERT INTO t_wrong VALUES (1, 'x');
		RAISE EXCEPTION 'accepted' USING ERRCODE = 'TAP00';
	EXCEPTION WHEN OTHERS THEN
		IF SQLSTATE <> 'TAP00' THEN
			got := SQLSTATE;
			message := SQLERRM;
		END IF;
	END;
	IF got = expected THEN
		RETURN pass(description);
	END IF;
	RETURN fail(description) || E'\n' || diag(format('wanted %s, got %s (%s)', expected, got, message));
END $$;

SELECT tap_wrong(arguments, expected, description) FROM (VALUES
	('', '22023', 'no function'),
	($$'t_no_such_function'$$, '42883', 'an unknown function'),
	($$'t_by_id', 'columns=id', 'colour=red'$$, '22023', 'an unknown option'),
	($$'t_by_id', 'columns=id', 'queue'$$, '22023', 'an option without a value'),
	($$'t_by_id', 'columns=id', 'queue=No Queue'$$, '22023', 'a wrong queue name'),
	($$'t_by_id', 'columns=id', 'priority=100000'$$, '22023', 'a priority out of range'),
	($$'t_by_id', 'columns=nosuch'$$, '22023', 'a column that the table does not have'),
	($$'t_by_id', 'columns=id x'$$, '22023', 'a name whose beginning is one'),
	($$'t_by_id', 'columns="id'$$, '22023', 'a quote that does not end'),
	($$'t_by_id', 'columns="id"x'$$, '22023', 'something behind a quoted name'),
	($$'t_by_id', 'columns=id,'$$, '22023', 'a comma at the end'),
	($$'t_by_id', 'columns=""'$$, '22023', 'an empty name'),
	($$'t_by_id'$$, '22023', 'the whole row for a function that does not have all of its columns'),
	($$'t_by_row', 'columns=id,body'$$, '22023', 'too few columns'),
	($$'t_by_id', 'columns=id', 'delay=soon'$$, '22007', 'a delay that is no interval'),
	($$'t_by_id', 'columns=id', 'batch=1'$$, '22023', 'an unknown batch'),
	($$'t_by_id', 'columns=id', 'kind=internal'$$, '22023', 'a kind that does not exist')
) AS v (arguments, expected, description);

SELECT is((SELECT count(*) FROM bgjob.jobs), :jobs::bigint, 'failed triggers leave no job');
SELECT is((SELECT count(*) FROM t_wrong), 0::bigint, 'failed triggers leave no row');
SELECT throws_ok('SELECT bgjob_enqueue_trigger()', NULL, NULL, 'the trigger function cannot be called directly');

\ir lib/check_counters.sql
SELECT * FROM finish();
