-- 17_list.sql
--
-- What this file proves about bgjob_list():
--   * for hundreds of random filters it returns the same rows, in the same order, as bgjob.jobs with these conditions, for a
--     superuser and for roles that see some of the jobs;
--   * pages to the end return each job once;
--   * a function is found by each spelling of its name, a command by its text, words in each of the texts of a job;
--   * it sees the transaction's own jobs, keeps to the snapshot of a repeatable read, works in read-only transactions and within
--     security definer functions, whatever the search_path;
--   * wrong values raise an error with a detail and a hint.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser; needs dblink for sessions beside this one.

\ir lib/session.sql

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap17_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap17_' \gexec
CREATE ROLE tap17_part LOGIN;
CREATE ROLE tap17_other LOGIN;
CREATE ROLE tap17_boss LOGIN;			-- is a member of tap17_part
CREATE ROLE tap17_monitor LOGIN;
CREATE ROLE tap17_nobody LOGIN;			-- has no USAGE
GRANT tap17_part TO tap17_boss;
GRANT pg_monitor TO tap17_monitor;
GRANT USAGE ON SCHEMA bgjob TO tap17_part, tap17_other, tap17_boss;

----------------------------------------------------------------------------------------------------
-- Helpers
----------------------------------------------------------------------------------------------------

\ir lib/wait.sql
\ir lib/errors.sql
\ir lib/elsewhere.sql

CREATE FUNCTION tap_work(i int) RETURNS int LANGUAGE sql AS 'SELECT i';
CREATE SCHEMA tap_s;
CREATE FUNCTION tap_s.tap_work(i int) RETURNS int LANGUAGE sql AS 'SELECT -i';
CREATE FUNCTION tap_s."Tap Work"(t text) RETURNS text LANGUAGE sql AS 'SELECT t';
CREATE FUNCTION tap_fail(i int) RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE 'the Moon is too far for %', i; END$$;
GRANT USAGE ON SCHEMA tap_s TO PUBLIC;

-- tap_ids returns the ids of a listing, in its order.
CREATE FUNCTION tap_ids(state text = NULL, queue text = NULL, job text = NULL, tag text = NULL, search text = NULL, run_as text = NULL,
	since timestamptz = NULL, before_id bigint = NULL, max_rows int = 20) RETURNS bigint[] LANGUAGE sql AS $$
	SELECT coalesce(array_agg(l.id), '{}') FROM bgjob_list($1, $2, $3, $4, $5, $6, $7, $8, $9) l
$$;

-- tap_truth returns the same from the view.
CREATE FUNCTION tap_truth(state text = NULL, queue text = NULL, job text = NULL, tag text = NULL, search text = NULL, run_as text = NULL,
	since timestamptz = NULL, before_id bigint = NULL, max_rows int = 20) RETURNS bigint[] LANGUAGE sql AS $$
	SELECT coalesce(array_agg(s.id ORDER BY s.id DESC), '{}') FROM (
		SELECT j.id FROM bgjob.jobs j
		WHERE ($1 IS NULL OR j.state = $1) AND ($2 IS NULL OR j.queue = $2) AND ($4 IS NULL OR $4 = ANY (j.tags))
			AND ($3 IS NULL OR j.job = $3 OR j.kind = 'function' AND split_part(j.job, '.', 2) = $3)
			AND ($6 IS NULL OR j.run_as::text = $6) AND ($7 IS NULL OR j.created_at >= $7) AND ($8 IS NULL OR j.id < $8)
			AND NOT EXISTS (SELECT FROM regexp_split_to_table(lower($5), '\s+') word WHERE word <> ''
				AND position(word IN lower(concat_ws(' ', j.job, j.args, j.tags, j.reason, j.error))) = 0)
		ORDER BY j.id DESC LIMIT $9) s
$$;

-- tap_pick returns one of the values by chance; null more often than not.
CREATE FUNCTION tap_pick(VARIADIC options text[]) RETURNS text LANGUAGE sql VOLATILE AS
	$$ SELECT CASE WHEN random() < 0.4 THEN options[1 + floor(random() * cardinality(options))::int] END $$;

-- tap_compare compares n random filters with the view, and returns the first that differs.
CREATE FUNCTION tap_compare(n int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	f record;
BEGIN
	FOR f IN SELECT tap_pick('enqueued', 'scheduled', 'awaiting', 'processing', 'succeeded', 'failed', 'deleted') AS state,
			tap_pick('default', 'tap_wait', 'tap_a', 'tap_b', 'tap_none') AS queue,
			tap_pick('tap_work', 'tap_s.tap_work', 'tap_fail', 'SELECT 17', 'SELECT 18', 'tap_none') AS job,
			tap_pick('even', 'odd', 'Rare', 'none') AS tag,
			CASE WHEN random() < 0.2 THEN tap_pick('MOON', '7', 'odd 3', 'work', 'select', 'nothing at all') END AS search,
			tap_pick('tap17_part', 'tap17_other', current_user::text) AS run_as,
			CASE WHEN random() < 0.2 THEN (SELECT min(created_at) + random() * (max(created_at) - min(created_at)) FROM bgjob.jobs) END AS since,
			CASE WHEN random() < 0.3 THEN (random() * 5000)::bigint END AS before_id,
			(1 + random() ^ 4 * 2000)::int AS max_rows
		FROM generate_series(1, n)
	LOOP
		IF tap_ids(f.state, f.queue, f.job, f.tag, f.search, f.run_as, f.since, f.before_id, f.max_rows)
			IS DISTINCT FROM tap_truth(f.state, f.queue, f.job, f.tag, f.search, f.run_as, f.since, f.before_id, f.max_rows) THEN
			RETURN f::text;
		END IF;
	END LOOP;
	RETURN NULL;
END $$;

SELECT no_plan();

----------------------------------------------------------------------------------------------------
-- Jobs of all kinds: in ten batches some thousand of them, a tenth of which are a role's
----------------------------------------------------------------------------------------------------

SELECT setseed(0.17);
SELECT bgjob_queue_pause('tap_wait'), bgjob_configure('tap_fail', retry_delays => '{1 day}');
CREATE PROCEDURE tap_jobs() LANGUAGE plpgsql AS $$
DECLARE
	role text;
	queue text;
	id bigint;
BEGIN
	FOR batch IN 1 .. 40 LOOP
		role := CASE batch % 10 WHEN 3 THEN 'tap17_part' WHEN 7 THEN 'tap17_other' END;
		queue := (ARRAY['default', 'tap_wait', 'tap_a', 'tap_b'])[1 + batch % 4];
		PERFORM bgjob_enqueue_many(CASE WHEN batch % 3 = 0 THEN 'tap_s.tap_work' ELSE 'tap_work' END,
			ARRAY(SELECT to_jsonb(ARRAY[i]) FROM generate_series(1, 60) i),
			queue => queue, tags => CASE batch % 3 WHEN 1 THEN '{odd}' WHEN 2 THEN '{even,Rare}'::text[] END, run_as => role,
			delay => CASE WHEN batch % 5 = 0 THEN interval '1 day' END);
		FOR i IN 1 .. 5 LOOP
			PERFORM bgjob_enqueue('tap_fail', to_jsonb(ARRAY[i]), max_retries => 0, run_as => role, tags => ARRAY['odd', batch::text]);
			PERFORM bgjob_enqueue('tap_fail', to_jsonb(ARRAY[i]), max_retries => 1, run_as => role);
			PERFORM bgjob_enqueue('SELECT ' || 10 + i * 2, kind => 'sql', run_as => role);
			id := bgjob_enqueue('SELECT 17', kind => 'sql', queue => 'tap_wait', run_as => role);
			PERFORM bgjob_delete(id) FROM generate_series(1, i % 2);
		END LOOP;
		COMMIT;
	END LOOP;
END $$;
CALL tap_jobs();
CALL tap_wait_until($$SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE queue <> 'tap_wait' AND state IN ('enqueued', 'processing'))$$);
SELECT is((SELECT string_agg(state, ' ' ORDER BY state) FROM (SELECT DISTINCT state FROM bgjob.jobs) s), 'deleted enqueued failed scheduled succeeded', 'there are jobs in five states');

----------------------------------------------------------------------------------------------------
-- The same as the view
----------------------------------------------------------------------------------------------------

SELECT results_eq('SELECT * FROM bgjob_list(max_rows => 10000)', 'SELECT * FROM bgjob.jobs ORDER BY id DESC', 'without a filter it returns the rows of the view, newest first');
SELECT is(tap_ids(), tap_truth(), 'twenty of them if max_rows is not given');
SELECT is(tap_compare(300), NULL, 'a superuser gets what the view shows, by any filter');
SELECT is(count(*) FILTER (WHERE tap_ids(state => s) <> tap_truth(state => s)), 0::bigint, 'in each state')
	FROM unnest('{enqueued,scheduled,awaiting,processing,succeeded,failed,deleted}'::text[]) s;

SELECT is(tap_try('SELECT tap_compare(100)', 'tap17_part'), 'NULL', 'a role that sees a tenth gets what it sees');
SELECT isnt(tap_try('SELECT tap_ids(state => ''failed'')', 'tap17_part'), '{}', 'which is not nothing');
SELECT is(tap_try('SELECT tap_ids(run_as => ''tap17_other'')', 'tap17_part'), '{}', 'and nothing of another role');
SELECT is(tap_try('SELECT tap_compare(50)', 'tap17_boss'), 'NULL', 'so does a member of the role');
SELECT is(tap_try('SELECT tap_compare(50)', 'tap17_monitor'), 'NULL', 'a member of pg_monitor gets all');
SELECT is(tap_try('SELECT count(*) FROM bgjob_list()', 'tap17_nobody'), 'ERROR 42501', 'a role without USAGE gets an error');

-- Paging to the end, by different steps.
CREATE FUNCTION tap_pages(step int, wanted text) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
	page bigint[];
	all_ids bigint[] := '{}';
BEGIN
	LOOP
		page := tap_ids(state => wanted, before_id => all_ids[cardinality(all_ids)], max_rows => step);
		EXIT WHEN page = '{}';
		all_ids := all_ids || page;
	END LOOP;
	RETURN all_ids;
END $$;
SELECT is(tap_pages(97, NULL), tap_truth(max_rows => 10000), 'pages return each job once');
SELECT is(tap_pages(10, 'failed'), tap_truth(state => 'failed', max_rows => 10000), 'so do those of a state');
SELECT is(tap_ids(before_id => 0) || tap_ids(before_id => -1), '{}', 'there is nothing before the first');

----------------------------------------------------------------------------------------------------
-- Running jobs
----------------------------------------------------------------------------------------------------

SELECT pg_advisory_lock(17);
SELECT bgjob_enqueue('SELECT pg_advisory_xact_lock(17)', kind => 'sql', queue => 'tap_run') AS run \gset
CREATE PROCEDURE tap_commits() LANGUAGE plpgsql AS $$BEGIN COMMIT; PERFORM pg_advisory_xact_lock(17); END$$;
SELECT bgjob_enqueue('tap_commits', queue => 'tap_run') AS commits \gset
CALL tap_wait_until('SELECT count(*) = 2 FROM pg_locks WHERE locktype = ''advisory'' AND objid = 17 AND NOT granted');
SELECT is(tap_ids(state => 'processing'), ARRAY[:commits, :run]::bigint[], 'running jobs are processing, whether their claim is committed or not');
SELECT is(tap_ids(state => 'enqueued', queue => 'tap_run'), '{}', 'and not enqueued');
SELECT is(tap_ids(queue => 'tap_run'), ARRAY[:commits, :run]::bigint[], 'they are among those of their queue');
SELECT pg_advisory_unlock(17);
CALL tap_wait_until('SELECT count(*) = 2 FROM bgjob.jobs WHERE queue = ''tap_run'' AND state = ''succeeded''');
SELECT is(tap_ids(state => 'succeeded', max_rows => 2), ARRAY[:commits, :run]::bigint[], 'afterwards they have succeeded');

----------------------------------------------------------------------------------------------------
-- Names and words
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('tap_s."Tap Work"', '["x"]', queue => 'tap_wait', tags => '{"two words"}') AS quoted \gset
SELECT bgjob_enqueue('TAP_S.Tap_Work(int)', '[5]', queue => 'tap_wait') AS folded \gset
SELECT is(tap_ids(job => n), ARRAY[:quoted]::bigint[], format('%s is found', n))
	FROM unnest('{"\"Tap Work\"", "tap_s.\"Tap Work\"", "tap_s.\"Tap Work\"(text)", " TAP_S . \"Tap Work\" ( TEXT )"}'::text[]) n;
SELECT is(tap_ids(job => n), '{}', format('%s is not', n))
	FROM unnest('{"\"tap work\"", "Tap Work", "public.\"Tap Work\"", "tap_s.\"Tap Work\"(integer)", "a.b.c", "\"", "", "tap_s.\"Tap Work\"("}'::text[]) n;
SELECT is((tap_ids(job => n, max_rows => 1))[1], :folded::bigint, format('%s is found', n))
	FROM unnest('{tap_work, TAP_WORK, tap_s.tap_work, tap_s.tap_work(integer), TAP_S.Tap_Work(int)}'::text[]) n;
SELECT is(tap_ids(job => 'public.tap_work(integer)', max_rows => 10000),
	ARRAY(SELECT id FROM bgjob.jobs WHERE job = 'tap_work' ORDER BY id DESC), 'a schema is told apart from others');
SELECT is(tap_ids(tag => 'two words'), ARRAY[:quoted]::bigint[], 'a tag is compared as a whole');
SELECT is(tap_ids(tag => 'two'), '{}', 'not in part');

SELECT bgjob_enqueue('SELECT ''Ärger''', kind => 'sql', queue => 'tap_wait', args => NULL) AS umlaut \gset
SELECT is(tap_ids(search => 'ÄRGER'), ARRAY[:umlaut]::bigint[], 'words are found in a command, in any case');
SELECT is(tap_ids(search => ' work	TWO  tap '), ARRAY[:quoted]::bigint[], 'all words must be there, but not in one place');
SELECT is(tap_ids(search => 'two nowhere'), '{}', 'one that is missing is enough');
SELECT is(tap_ids(search => '  '), tap_ids(), 'no words are no condition');
SELECT is(tap_ids(search => 'moon', max_rows => 10000), tap_truth(search => 'moon', max_rows => 10000), 'words are found in errors and reasons');

-- Values of 10 MB are listed, and not searched.
SELECT bgjob_enqueue('tap_s."Tap Work"', to_jsonb(ARRAY[repeat('long ', 2000000)]), queue => 'tap_wait', tags => '{big}') AS big \gset
SELECT is((SELECT octet_length(args::text) FROM bgjob_list(tag => 'big')), 10000004, 'a job with 10 MB of arguments is listed');
SELECT is(tap_ids(search => 'long'), '{}', 'but they are not searched');

----------------------------------------------------------------------------------------------------
-- Transactions
----------------------------------------------------------------------------------------------------

BEGIN;
SELECT bgjob_enqueue('tap_work', '[1]', queue => 'tap_mine', tags => '{mine}') AS mine \gset
SELECT is(tap_ids(queue => 'tap_mine'), ARRAY[:mine]::bigint[], 'a transaction sees its own job');
SELECT is(tap_ids(state => 'enqueued', tag => 'mine'), ARRAY[:mine]::bigint[], 'by any filter');
SELECT is(tap_elsewhere('SELECT count(*) FROM bgjob_list(queue => ''tap_mine'')'), '0', 'another does not');
SAVEPOINT s;
SELECT bgjob_delete(:mine);
SELECT is(tap_ids(state => 'deleted', queue => 'tap_mine'), ARRAY[:mine]::bigint[], 'it sees what it has changed');
ROLLBACK TO s;
SELECT is(tap_ids(state => 'enqueued', queue => 'tap_mine'), ARRAY[:mine]::bigint[], 'and what it has rolled back');
ROLLBACK;
SELECT is(tap_ids(queue => 'tap_mine'), '{}', 'afterwards there is no such job');

BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT is(tap_ids(queue => 'tap_later'), '{}', 'a repeatable read begins');
SELECT tap_elsewhere('SELECT bgjob_enqueue(''tap_work'', ''[2]'', queue => ''tap_later'', delay => ''1 day'')') AS later \gset
SELECT is(tap_ids(queue => 'tap_later'), '{}', 'and does not see what others commit');
SELECT is(tap_ids(max_rows => 10000), tap_truth(max_rows => 10000), 'but the same as the view');
COMMIT;
SELECT is(tap_ids(queue => 'tap_later'), ARRAY[:later]::bigint[], 'the next transaction does');

-- What an old snapshot sees is found after everybody has changed it.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT is(tap_ids(state => 'scheduled', queue => 'tap_later'), ARRAY[:later]::bigint[], 'a job is scheduled');
SELECT is(tap_elsewhere(format('SELECT bgjob_delete(%s)', :later)), 't', 'and deleted by another session');
SELECT is(tap_elsewhere('SELECT count(*) FROM (SELECT bgjob_list(state => s, max_rows => 10000) FROM unnest(''{enqueued,scheduled,failed,awaiting}''::text[]) s) l') IS NULL, false, 'which then lists');
SELECT is(tap_ids(state => 'scheduled', queue => 'tap_later'), ARRAY[:later]::bigint[], 'the old snapshot still has it as it was');
COMMIT;
SELECT is(tap_ids(state => 'scheduled', queue => 'tap_later'), '{}', 'a new one has not');

BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY;
SELECT is(tap_ids(state => 'failed'), tap_truth(state => 'failed'), 'it works in a serializable read-only transaction');
COMMIT;

CREATE FUNCTION tap_definer() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$ SELECT count(*) FROM bgjob_list(state => 'failed', run_as => 'tap17_other') $$;
SELECT ok(tap_try('SELECT tap_definer()', 'tap17_part')::int > 0, 'in a security definer function its owner''s rights count');

CREATE FUNCTION tap_s.is(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'called'; END$$;
CREATE OPERATOR tap_s.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = tap_s.is);
SET search_path = tap_s, pg_catalog, public;
SELECT count(*) AS listed FROM public.bgjob_list(state => 'failed') \gset
RESET search_path;
SELECT is(:listed, 20, 'no operator of the search_path is called');

----------------------------------------------------------------------------------------------------
-- Errors
----------------------------------------------------------------------------------------------------

SELECT is(tap_error('SELECT bgjob_list(state => ''broken'')'), '22023', 'there is no such state');
SELECT is(tap_error('SELECT bgjob_list(max_rows => 0)'), '22023', 'no rows are no page');
SELECT is(tap_error('SELECT bgjob_list(max_rows => 10001)'), '22023', 'nor is everything');
SELECT is(tap_error('SELECT bgjob_list(max_rows => NULL)'), '22004', 'nor nothing');
SELECT is(tap_error('SELECT bgjob_list(search => repeat(''a '', 33))'), '22023', 'a search has few words');
SELECT is(tap_try('SELECT count(*) FROM bgjob_list(run_as => ''tap17_none'')'), 'ERROR 42704', 'there is no such role');

SELECT bgjob_delete(id) FROM bgjob.jobs WHERE state IN ('enqueued', 'scheduled');
\ir lib/check_counters.sql
SELECT finish();
