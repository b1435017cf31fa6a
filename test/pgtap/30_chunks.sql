-- 30_chunks.sql
--
-- What this file proves (doc/manual.md, "Chunks"):
--   * a function with a chunk_size is called once for the jobs that wait, and each has its own result; without, for one job;
--   * what bgjob_configure() refuses; what bgjob.functions shows;
--   * an element that fails, results of another number, a snooze: only the job that is to blame has them, the others succeed;
--   * jobs that differ in what the function could ask for are never in one call;
--   * a job of a chunk is shown as running, and can be deleted, requeued and rescheduled;
--   * chunk_wait: enough jobs start at once, fewer at the end of the wait, together; who does not wait.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser. It changes bgjob.workers with ALTER SYSTEM and resets
-- it at its end: do not run it beside other files.

\ir lib/session.sql

ALTER SYSTEM SET bgjob.workers = 1;
SELECT pg_reload_conf() AS reloaded \gset

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap30_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap30_' \gexec
CREATE ROLE tap30_one LOGIN;
CREATE ROLE tap30_two LOGIN;
GRANT USAGE ON SCHEMA bgjob TO tap30_one, tap30_two;

\ir lib/wait.sql
\ir lib/states.sql

----------------------------------------------------------------------------------------------------
-- What the jobs of this file call
----------------------------------------------------------------------------------------------------

-- One row for each call that has committed.
CREATE TABLE t_call (n serial, items jsonb[], job bigint DEFAULT bgjob_current_id(), batch bigint DEFAULT bgjob_current_batch(),
	role name DEFAULT current_user, zone text DEFAULT current_setting('TimeZone'), parameter jsonb DEFAULT bgjob_parameter('p'),
	at timestamptz DEFAULT clock_timestamp());
GRANT INSERT, SELECT ON t_call TO PUBLIC;
GRANT USAGE ON SEQUENCE t_call_n_seq TO PUBLIC;
CREATE FUNCTION t_load(items jsonb[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.t_call (items) VALUES (items);
	IF '"bad"' = ANY (items) THEN RAISE EXCEPTION 'broken' USING ERRCODE = 'P1234'; END IF;
	IF '"snooze"' = ANY (items) THEN PERFORM public.bgjob_snooze('1 hour'); END IF;
	IF '"discard"' = ANY (items) THEN PERFORM public.bgjob_discard('not wanted'); END IF;
	IF '"slow"' = ANY (items) THEN PERFORM pg_sleep(60); END IF;
END $$;
CREATE FUNCTION t_double(items jsonb[]) RETURNS jsonb[] LANGUAGE sql AS $$
	INSERT INTO t_call (items) VALUES (items);
	SELECT array_agg(CASE WHEN i = '"none"' THEN NULL ELSE to_jsonb(i::int * 2) END ORDER BY o) FROM unnest(items) WITH ORDINALITY u (i, o) $$;
CREATE FUNCTION t_short(items jsonb[]) RETURNS jsonb[] LANGUAGE sql AS $$ SELECT items[2:] $$;
CREATE FUNCTION t_single(items jsonb[]) RETURNS int LANGUAGE sql AS $$ SELECT cardinality(items) $$;
CREATE FUNCTION t_count(item jsonb) RETURNS void LANGUAGE sql AS $$ SELECT $$;
CREATE FUNCTION t_rest(VARIADIC items jsonb[]) RETURNS void LANGUAGE sql AS $$ SELECT $$;
CREATE FUNCTION t_set(items jsonb[]) RETURNS SETOF jsonb[] LANGUAGE sql AS $$ SELECT items $$;
CREATE PROCEDURE t_procedure(items jsonb[]) LANGUAGE sql AS $$ SELECT $$;
-- Fails at commit.
CREATE TABLE t_late (x int);
CREATE FUNCTION t_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.x = 7 THEN RAISE EXCEPTION 'not seven'; END IF; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON t_late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION t_refuse();
CREATE FUNCTION t_deferred(items jsonb[]) RETURNS void LANGUAGE sql AS $$ INSERT INTO t_late SELECT i::int FROM unnest(items) i $$;

-- tap_go lets the jobs of queue q run that have been enqueued while it was paused, and waits for them.
CREATE PROCEDURE tap_go(queue text = 'q') LANGUAGE plpgsql AS $$
BEGIN
	PERFORM bgjob_queue_resume(queue);
	COMMIT;
	CALL tap_idle();
	PERFORM bgjob_queue_pause(queue);
	COMMIT;
END $$;
-- tap_calls describes the calls since the last look: how many jobs each had.
CREATE FUNCTION tap_calls() RETURNS text LANGUAGE sql AS $$
	WITH gone AS (DELETE FROM t_call RETURNING *) SELECT string_agg(cardinality(items)::text, ' ' ORDER BY n) FROM gone $$;
SELECT bgjob_queue('q', paused => true) AS q \gset
SELECT bgjob_configure('t_load', chunk_size => 100, max_retries => 0) AS x \gset
SELECT bgjob_configure('t_double', chunk_size => 100, max_retries => 0) AS x \gset
SELECT bgjob_configure('t_short', chunk_size => 100, max_retries => 0) AS x \gset
SELECT bgjob_configure('t_deferred', chunk_size => 5, max_retries => 0) AS x \gset

SELECT plan(61);

----------------------------------------------------------------------------------------------------
-- Configuration
----------------------------------------------------------------------------------------------------

SELECT throws_ok(format('SELECT bgjob_configure(%L, chunk_size => 10)', f), '22023', NULL, 'no chunks of ' || f)
FROM unnest('{t_count,t_rest,t_set,t_single,t_procedure}'::text[]) f;
SELECT throws_ok(format('SELECT bgjob_configure(''t_load'', chunk_size => %s)', n), '22023', format('chunk_size %s is out of range', n), 'chunk_size ' || n)
FROM unnest('{0,-1,1001}'::int[]) n;
SELECT throws_ok($$SELECT bgjob_configure('t_load', chunk_wait => '1 s')$$, '22023', 'chunk_wait needs chunk_size', 'chunk_wait alone');
SELECT throws_ok($$SELECT bgjob_configure('t_load', chunk_size => 10, chunk_wait => '-1 s')$$, '22023', NULL, 'a negative chunk_wait');
SELECT lives_ok($$SELECT bgjob_configure('t_double', chunk_size => 1000, chunk_wait => '0')$$, 'the largest size, and no wait');
SELECT results_eq($$SELECT chunk_size, chunk_wait FROM bgjob.functions WHERE job ~ 't_double'$$, $$VALUES (1000, NULL::interval)$$, 'bgjob.functions shows the size');
SELECT bgjob_configure('t_double', chunk_size => 20, chunk_wait => '1 min 0.5 s') AS x \gset
SELECT results_eq($$SELECT chunk_size, chunk_wait FROM bgjob.functions WHERE job ~ 't_double'$$, $$VALUES (20, interval '60.5 s')$$, 'and the wait');
SELECT bgjob_configure('t_double', chunk_size => 100, max_retries => 0) AS x \gset

----------------------------------------------------------------------------------------------------
-- Calls and results
----------------------------------------------------------------------------------------------------

SELECT count(*) AS n FROM bgjob_enqueue_many('t_double', ARRAY(SELECT to_jsonb(g) FROM generate_series(1, 250) g), queue => 'q') \gset
CALL tap_go();
SELECT is(tap_calls(), '100 100 50', 'one call for as many as are configured');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE job = 't_double' AND state = 'succeeded' AND result::int = args::int * 2), 250::bigint, 'each job has its own result');
SELECT is((SELECT count(DISTINCT (started_at, worker_pid)) FROM bgjob.jobs WHERE job = 't_double'), 3::bigint, 'the jobs of a call have started together');
SELECT is((SELECT string_agg(state, ' ' ORDER BY seq) FROM bgjob.job_states WHERE job_id = (SELECT max(id) FROM bgjob.jobs WHERE job = 't_double')),
	'enqueued processing succeeded', 'the history of each is that of any job');
CALL tap_wait_until($$SELECT jobs = 250 FROM bgjob.function_stats WHERE job ~ 't_double'$$);
SELECT ok((SELECT jobs = 250 AND attempts = 250 AND failures = 0 FROM bgjob.function_stats WHERE job ~ 't_double'), 'the statistics have each job');
SELECT ok((SELECT s.total_run_time <= x.ms * 1.01 FROM bgjob.function_stats s, (
	SELECT sum(ms) AS ms FROM (SELECT DISTINCT ON (started_at) extract(epoch FROM finished_at - started_at) * 1000 AS ms
		FROM bgjob.jobs WHERE job = 't_double' ORDER BY started_at, finished_at DESC) y) x
	WHERE s.job ~ 't_double'), 'the jobs share the time of the call');

SELECT bgjob_enqueue('t_double', '"none"', queue => 'q') AS none, bgjob_enqueue('t_load', queue => 'q') AS noargs \gset
SELECT bgjob_enqueue('t_single', '[1, 2, 3]', queue => 'q') AS single, bgjob_enqueue('t_double', '5', queue => 'q') AS five \gset
CALL tap_go();
SELECT is(tap_state(:none) || ' ' || coalesce(bgjob_result(:none)::text, 'null'), 'succeeded null', 'a result may be null');
SELECT is((SELECT items::text FROM t_call WHERE job = :noargs), '{NULL}', 'a job without arguments is an element that is null');
SELECT is(bgjob_result(:single), '1', 'a function that is not configured gets an array of one');
SELECT is(bgjob_result(:five), '10', 'a job by itself gets an array of one, and its result is the element');
DELETE FROM t_call;
BEGIN;
SELECT bgjob_enqueue('t_double', '21', queue => 'q') AS own \gset
SELECT is(bgjob_run(:own), '42', 'bgjob_run() performs such a job, by itself');
COMMIT;
DELETE FROM t_call;

----------------------------------------------------------------------------------------------------
-- Failures
----------------------------------------------------------------------------------------------------

SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', ARRAY(SELECT CASE g WHEN 30 THEN '"bad"' ELSE to_jsonb(g) END FROM generate_series(1, 60) g), queue => 'q', tags => '{bad}') \gset
CALL tap_go();
SELECT is((SELECT string_agg(DISTINCT state || ' ' || args::text, '' ORDER BY state || ' ' || args::text) FROM bgjob.jobs WHERE 'bad' = ANY (tags) AND state <> 'succeeded'), 'failed "bad"', 'the element that fails is the only job that fails');
SELECT is((SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE args = '"bad"'), 'P1234', 'with its error');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE 'bad' = ANY (tags) AND (retries > 0 OR interruptions > 0)), 0::bigint, 'nothing is held against the others');
SELECT is((SELECT count(*) FROM t_call WHERE cardinality(items) = 1), 59::bigint, 'each was performed by itself, once');
DELETE FROM t_call;

SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{1,"\"snooze\"","\"discard\"",4}', queue => 'q', tags => '{end}') \gset
CALL tap_go();
SELECT is((SELECT string_agg(args::text || ' ' || state, ', ' ORDER BY id) FROM bgjob.jobs WHERE 'end' = ANY (tags)),
	'1 succeeded, "snooze" scheduled, "discard" deleted, 4 succeeded', 'snooze and discard concern the job alone');
DELETE FROM t_call;

SELECT count(*) AS n FROM bgjob_enqueue_many('t_short', '{1,2,3}', queue => 'q') \gset
CALL tap_go();
SELECT is((SELECT string_agg(DISTINCT state || ': ' || reason, '; ') FROM bgjob.jobs WHERE job = 't_short'), 'failed: t_short(jsonb[]) returned 0 results for 1 jobs', 'results of another number are an error');
SELECT is((SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE job = 't_short' LIMIT 1), '22023', 'with SQLSTATE 22023');

SELECT count(*) AS n FROM bgjob_enqueue_many('t_deferred', ARRAY(SELECT to_jsonb(g) FROM generate_series(1, 10) g), queue => 'q') \gset
CALL tap_go();
SELECT is((SELECT string_agg(args::text, '' ORDER BY id) FROM bgjob.jobs WHERE job = 't_deferred' AND state = 'failed'), '7', 'a deferred trigger fails the job that it is of');
SELECT is((SELECT string_agg(x::text, ' ' ORDER BY x) FROM t_late), '1 2 3 4 5 6 8 9 10', 'the others have taken effect, once');

SELECT bgjob_configure('t_load', chunk_size => 100, max_retries => 5, retry_delays => '{0}') AS x \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{1,"\"bad\"",3}', queue => 'q', tags => '{retry}') \gset
CALL tap_go();
SELECT bgjob_queue_resume('q') AS x \gset
CALL tap_wait_until($$SELECT bool_and(state IN ('succeeded', 'failed')) FROM bgjob.jobs WHERE 'retry' = ANY (tags)$$);
SELECT is((SELECT string_agg(args::text || ' ' || state || ' ' || retries, ', ' ORDER BY id) FROM bgjob.jobs WHERE 'retry' = ANY (tags)),
	'1 succeeded 0, "bad" failed 5, 3 succeeded 0', 'only the job that failed is retried');
DELETE FROM t_call;

----------------------------------------------------------------------------------------------------
-- What is in one call
----------------------------------------------------------------------------------------------------

SELECT bgjob_queue_pause('q') AS x \gset
SELECT bgjob_batch('a') AS a, bgjob_batch('b') AS b \gset
SET TimeZone = 'Asia/Tokyo';
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{1,2}', queue => 'q') \gset
RESET TimeZone;
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{3,4,5}', queue => 'q') \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{6,7}', queue => 'q', batch => :a) \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{8}', queue => 'q', batch => :b) \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{9,10}', queue => 'q', parameters => '{"p": 1}') \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{11,12}', queue => 'q', parameters => '{"p": 2}') \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{13,14}', queue => 'q', timeout => '1 min') \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{15,16}', queue => 'q', timeout => '2 min') \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{17,18,19}', queue => 'q', unique_key => NULL, tags => '{x}') \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{20}', queue => 'q', tags => '{y}') \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{21,22}', queue => 'q', start_within => '1 hour') \gset
CALL tap_go();
SELECT is((SELECT string_agg(array_to_string(items, ',') || CASE zone WHEN 'Asia/Tokyo' THEN ' Tokyo' ELSE '' END || CASE batch WHEN :a THEN ' a' WHEN :b THEN ' b' ELSE '' END ||
		coalesce(' ' || parameter::text, ''), '; ' ORDER BY n) FROM t_call),
	'1,2 Tokyo; 3,4,5; 6,7 a; 8 b; 9,10 1; 11,12 2; 13,14; 15,16; 17,18,19,20,21,22',
	'jobs in one call have the same settings, batch, parameters and timeout');
DELETE FROM t_call;
SELECT is((SELECT string_agg(state, ' ' ORDER BY id) FROM bgjob.batches WHERE id IN (:a, :b)), 'succeeded succeeded', 'batches succeed by chunks');

-- roles, priorities, queues, functions
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{1,2}', queue => 'q', run_as => 'tap30_one') \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{3}', queue => 'q', run_as => 'tap30_two') \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{4}', queue => 'q', run_as => 'tap30_one') \gset
SET SESSION AUTHORIZATION tap30_one;
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{5}', queue => 'q') \gset
RESET SESSION AUTHORIZATION;
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{6}', queue => 'q', priority => 5) \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{7}', queue => 'q') \gset
SELECT bgjob_enqueue('t_single', '1', queue => 'q') AS x \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{8}', queue => 'q') \gset
CALL tap_go();
SELECT is((SELECT string_agg(role || ' ' || array_to_string(items, ','), '; ' ORDER BY role, n) FROM t_call),
	'postgres 6; postgres 7; postgres 8; tap30_one 1,2,4; tap30_one 5; tap30_two 3',
	'no call has the jobs of two roles, of two who enqueued them, or of two priorities; jobs of another function end it');
DELETE FROM t_call;

-- a filter sees each job
CREATE FUNCTION t_filter(context jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT NULL::jsonb $$;
SELECT bgjob_filter('f30', 'performing', 't_filter') AS x \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{1,2,3}', queue => 'q') \gset
CALL tap_go();
SELECT is(tap_calls(), '1 1 1', 'jobs with filters are performed by themselves');
SELECT bgjob_filter_remove('f30') AS x \gset

-- gates
SELECT bgjob_limit('l30', 10) AS x \gset
SELECT bgjob_queue('narrow', max_running => 1) AS x \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{1,2}', queue => 'q') \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{3,4}', queue => 'q', limits => '{l30}') \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{5}', queue => 'q', sequence_key => 's') \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{6,7,8}', queue => 'q') \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{9,10}', queue => 'narrow') \gset
CALL tap_go();
SELECT is((SELECT string_agg(array_to_string(items, ','), '; ' ORDER BY items) FROM t_call), '1,2; 3; 4; 5; 6,7,8; 9; 10',
	'jobs with a limit, a sequence_key or max_running are performed by themselves, those beside them are not');
DELETE FROM t_call;
SELECT bgjob_limit_remove('l30') AS x, bgjob_queue_remove('narrow') AS y \gset

-- in a queue with groups
SELECT bgjob_queue('grouped', group_size => 3, paused => true) AS x \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', ARRAY(SELECT to_jsonb(g) FROM generate_series(1, 120) g), queue => 'grouped') \gset
SELECT bgjob_enqueue('t_single', '1', queue => 'grouped') AS x \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{1,2,3,4,5}', queue => 'grouped') \gset
CALL tap_go('grouped');
SELECT is(tap_calls(), '100 20 5', 'group_size does not matter');

----------------------------------------------------------------------------------------------------
-- Running
----------------------------------------------------------------------------------------------------

SELECT bgjob_configure('t_load', chunk_size => 100, max_retries => 0) AS x \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{1,2,"\"slow\"",4,5}', queue => 'q', tags => '{run}') \gset
SELECT min(id) AS first, min(id) + 1 AS second, min(id) + 2 AS slow, min(id) + 3 AS fourth, min(id) + 4 AS fifth FROM bgjob.jobs WHERE 'run' = ANY (tags) \gset
SELECT bgjob_queue_resume('q') AS x \gset
CALL tap_wait_until($$SELECT count(*) = 5 FROM bgjob.jobs WHERE 'run' = ANY (tags) AND state = 'processing'$$);
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE 'run' = ANY (tags) AND state = 'processing' AND worker_pid IS NOT NULL AND started_at IS NOT NULL), 5::bigint, 'all jobs of the call are shown as running');
SELECT is((SELECT processing FROM bgjob.stats), 5::bigint, 'and counted');
SELECT is((SELECT count(*) FROM bgjob_list(state => 'processing')), 5::bigint, 'and listed');
SELECT ok(bgjob_delete(:fourth), 'one of them is deleted');
CALL tap_wait_until(format('SELECT count(*) = 4 FROM bgjob.jobs WHERE %L = ANY (tags) AND state = %L', 'run', 'processing'));
SELECT is(tap_state(:fourth), 'deleted', 'it is');
SELECT ok(bgjob_reschedule(:second, delay => '1 hour'), 'another one is rescheduled');
CALL tap_wait_until(format('SELECT count(*) = 3 FROM bgjob.jobs WHERE %L = ANY (tags) AND state = %L', 'run', 'processing'));
SELECT is(tap_state(:second), 'scheduled', 'it is');
SELECT ok(bgjob_delete(:slow), 'and the one that takes long');
CALL tap_idle();
SELECT is((SELECT string_agg(state, ' ' ORDER BY id) FROM bgjob.jobs WHERE 'run' = ANY (tags)), 'succeeded scheduled deleted deleted succeeded', 'the others succeed');
SELECT is(tap_calls(), '2', 'in one call');

-- the timeout of a call
SELECT bgjob_configure('t_load', chunk_size => 100, max_retries => 0, timeout => '300 ms') AS x \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{1,"\"slow\"",3}', queue => 'q', tags => '{timeout}') \gset
CALL tap_idle();
SELECT is((SELECT string_agg(state, ' ' ORDER BY id) FROM bgjob.jobs WHERE 'timeout' = ANY (tags)), 'succeeded failed succeeded', 'the job that exceeds the timeout fails');
DELETE FROM t_call;

----------------------------------------------------------------------------------------------------
-- chunk_wait
----------------------------------------------------------------------------------------------------

SELECT bgjob_configure('t_load', chunk_size => 4, chunk_wait => '1 hour') AS x \gset
SELECT bgjob_enqueue('t_load', '1') AS one \gset
SELECT is((SELECT state || ': ' || reason FROM bgjob.jobs WHERE id = :one), 'scheduled: Waits for others of its chunk', 'a job waits for others');
BEGIN;
SELECT count(bgjob_enqueue('t_load', '"rolled back"')) AS n FROM generate_series(1, 3) \gset
ROLLBACK;
SELECT bgjob_enqueue('t_load', '2') AS two \gset
SELECT is((SELECT count(*) FROM t_call), 0::bigint, 'what was rolled back does not count');
SELECT bgjob_configure('t_load', chunk_size => 4, chunk_wait => '2 s') AS x \gset
SELECT count(bgjob_enqueue('t_load', to_jsonb(g))) AS n FROM generate_series(10, 13) g \gset
CALL tap_wait_until('SELECT count(*) = 1 FROM t_call');
SELECT is((SELECT array_to_string(items, ',') FROM t_call), '10,11,12,13', 'enough start together');
SELECT ok((SELECT c.at - j.created_at < interval '1.9 s' FROM t_call c JOIN bgjob.jobs j ON j.id = c.job), 'without waiting');
SELECT is((SELECT string_agg(state, ' ' ORDER BY seq) FROM bgjob.job_states WHERE job_id = (SELECT job FROM t_call)), 'scheduled enqueued processing succeeded', 'their history');
SELECT tap_calls() AS x \gset
SELECT bgjob_enqueue('t_load', '20') AS x \gset
SELECT bgjob_enqueue('t_load', '21') AS x \gset
CALL tap_wait_until('SELECT count(*) = 1 FROM t_call');
SELECT is(tap_calls(), '2', 'fewer start together at the end of the wait');
SELECT count(*) AS n FROM bgjob_enqueue_many('t_load', '{1,2,3,4,5}') \gset
SELECT bgjob_enqueue('t_load', '30', delay => '0.01 s') AS x \gset
CALL tap_idle();
CALL tap_wait_until('SELECT sum(cardinality(items)) = 6 FROM t_call');
SELECT ok((SELECT bool_and(c.at - j.created_at < interval '1.9 s') FROM t_call c JOIN bgjob.jobs j ON j.id = c.job), 'neither enough jobs that are enqueued together wait, nor a delayed one');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE id IN (:one, :two) AND state = 'scheduled'), 2::bigint, 'jobs wait as it was configured when they were enqueued');
SELECT bgjob_delete(:one) AND bgjob_requeue(:two) AS x \gset
CALL tap_state_is(:two, 'succeeded');
SELECT is(tap_state(:two), 'succeeded', 'a job that waits can be requeued');

\ir lib/check_counters.sql
SELECT * FROM finish();

ALTER SYSTEM RESET bgjob.workers;
SELECT pg_reload_conf() AS reloaded \gset
SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap30_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap30_' \gexec
