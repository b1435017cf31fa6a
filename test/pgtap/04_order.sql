-- 04_order.sql
--
-- What this file proves, with one worker, where order is exact (promise 8):
--   * a higher priority goes first, at once, also before jobs that were enqueued long before;
--   * within a priority it is first in, first out, in the order of the commits' ids;
--   * queues are taken in the order of bgjob.queues, before any priority; other queues are not taken;
--   * a delayed job starts when it is due: never before, and less than 500 ms later.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser. It changes bgjob.workers and
-- bgjob.queues with ALTER SYSTEM and resets them at its end: do not run it beside other files.

\ir lib/session.sql

-- Set before CREATE EXTENSION, so that the scheduler of the database starts with it.
ALTER SYSTEM SET bgjob.workers = 1;
ALTER SYSTEM RESET bgjob.queues;
SELECT pg_reload_conf() AS reloaded \gset

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

----------------------------------------------------------------------------------------------------
-- Helpers
----------------------------------------------------------------------------------------------------

\ir lib/wait.sql

----------------------------------------------------------------------------------------------------
-- What the jobs of this file call
----------------------------------------------------------------------------------------------------

CREATE TABLE t_ran (n serial, label text, pid int DEFAULT pg_backend_pid(), at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION t_run(label text) RETURNS void LANGUAGE sql AS $$ INSERT INTO t_ran (label) VALUES (label) $$;
-- Occupies the only worker until this session releases the lock.
CREATE FUNCTION t_block() RETURNS void LANGUAGE sql AS $$ SELECT pg_advisory_xact_lock(4004) $$;
-- Enqueues another job, of a higher priority or a better queue, which must be the next one.
CREATE FUNCTION t_push(label text, queue text, priority int) RETURNS void LANGUAGE sql AS $$
	INSERT INTO t_ran (label) VALUES (label);
	SELECT bgjob_enqueue('t_run', jsonb_build_array('pushed by ' || label), queue => queue, priority => priority) $$;
CREATE FUNCTION t_order() RETURNS text[] LANGUAGE sql AS $$ SELECT array_agg(label ORDER BY n) FROM t_ran $$;

CREATE PROCEDURE t_take_worker() LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_advisory_lock(4004);
	PERFORM bgjob_enqueue('t_block', queue => 'default', priority => 32767);
	COMMIT;
	CALL tap_wait_until($w$ SELECT EXISTS (SELECT FROM bgjob.jobs WHERE job LIKE '%t_block%' AND state = 'processing') $w$);
END $$;

SELECT plan(25);

CALL tap_wait_setting('bgjob.workers', '1');
CALL tap_wait_until('SELECT count(*) = 1 FROM bgjob.workers');
SELECT is((SELECT count(*) FROM bgjob.workers), 1::bigint, 'there is one worker');

----------------------------------------------------------------------------------------------------
-- First in, first out
----------------------------------------------------------------------------------------------------

SELECT count(*) AS many FROM bgjob_enqueue_many('t_run', ARRAY(SELECT jsonb_build_array(i) FROM generate_series(1, 1000) i)) \gset
CALL tap_wait_until('SELECT count(*) = 1000 FROM t_ran');
SELECT is((SELECT count(*) FROM t_ran), 1000::bigint, '1000 jobs have run');
SELECT is((SELECT count(*) FROM t_ran WHERE label <> n::text), 0::bigint, 'the jobs run in the order in which they were enqueued');
TRUNCATE t_ran RESTART IDENTITY;

CALL t_take_worker();
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE state = 'processing'), 1::bigint, 'the one worker runs a job');
SELECT bgjob_enqueue('t_run', '["first"]') AS a \gset
SELECT bgjob_enqueue('t_run', '["second"]') AS b \gset
SELECT bgjob_enqueue('t_run', '["third"]') AS c \gset
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE id IN (:a, :b, :c) AND state = 'enqueued'), 3::bigint,
	'meanwhile three jobs are enqueued');
SELECT pg_advisory_unlock(4004) AS unlocked \gset
CALL tap_idle();
SELECT is(t_order(), '{first,second,third}'::text[], 'the jobs run in the order of their commits');
TRUNCATE t_ran RESTART IDENTITY;

-- A failing job neither delays nor reorders the others.
BEGIN;
SELECT bgjob_enqueue('t_run', '["before"]') AS a \gset
SELECT bgjob_enqueue('SELECT 1 / 0', kind => 'sql', max_retries => 0) AS b \gset
SELECT bgjob_enqueue('t_run', '["after"]') AS c \gset
COMMIT;
CALL tap_idle();
SELECT is(t_order(), '{before,after}'::text[], 'a failing job does not disturb the order');
SELECT is((SELECT bool_and(x.finished_at <= y.finished_at) FROM bgjob.jobs x JOIN bgjob.jobs y ON x.id < y.id
		WHERE x.id IN (:a, :b, :c) AND y.id IN (:a, :b, :c)), true, 'and finishes between its neighbors');
TRUNCATE t_ran RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- Priorities
----------------------------------------------------------------------------------------------------

BEGIN;
SELECT bgjob_enqueue('t_run', '["low"]', priority => -5) AS x \gset
SELECT bgjob_enqueue('t_run', '["normal 1"]') AS x \gset
SELECT bgjob_enqueue('t_run', '["lowest"]', priority => -32768) AS x \gset
SELECT bgjob_enqueue('t_run', '["high 1"]', priority => 5) AS x \gset
SELECT bgjob_enqueue('t_run', '["normal 2"]', priority => 0) AS x \gset
SELECT bgjob_enqueue('t_run', '["highest"]', priority => 32767) AS x \gset
SELECT bgjob_enqueue('t_run', '["high 2"]', priority => 5) AS x \gset
COMMIT;
CALL tap_idle();
SELECT is(t_order(), '{highest,high 1,high 2,normal 1,normal 2,low,lowest}'::text[],
	'higher priorities first, and first in, first out within one');
TRUNCATE t_ran RESTART IDENTITY;

-- The tenth of 100 jobs enqueues an urgent one: no job claimed ahead may run before it.
BEGIN;
SELECT count(*) AS n FROM bgjob_enqueue_many('t_run', ARRAY(SELECT jsonb_build_array(i) FROM generate_series(1, 9) i)) \gset
SELECT bgjob_enqueue('t_push', '["10", "default", 1]') AS x \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_run', ARRAY(SELECT jsonb_build_array(i) FROM generate_series(11, 100) i)) \gset
COMMIT;
CALL tap_idle();
SELECT is((t_order())[9:12], '{9,10,pushed by 10,11}'::text[], 'an urgent job that is enqueued late is the very next one');
SELECT is((SELECT count(*) FROM t_ran), 101::bigint, 'all other jobs run as well');
TRUNCATE t_ran RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- Queues
----------------------------------------------------------------------------------------------------

ALTER SYSTEM SET bgjob.queues = 'critical, default, *';
SELECT pg_reload_conf() AS reloaded \gset
CALL tap_wait_setting('bgjob.queues', 'critical, default, *');

BEGIN;
SELECT bgjob_enqueue('t_run', '["other"]', queue => 'other', priority => 1000) AS x \gset
SELECT bgjob_enqueue('t_run', '["default, low"]', priority => -1) AS x \gset
SELECT bgjob_enqueue('t_run', '["default, high"]', priority => 1) AS x \gset
SELECT bgjob_enqueue('t_run', '["critical, low"]', queue => 'critical', priority => -100) AS x \gset
SELECT bgjob_enqueue('t_run', '["critical, high"]', queue => 'critical') AS x \gset
COMMIT;
CALL tap_idle();
SELECT is(t_order(), ARRAY['critical, high', 'critical, low', 'default, high', 'default, low', 'other'],
	'queues in the order of bgjob.queues, then priorities, all other queues last');
TRUNCATE t_ran RESTART IDENTITY;

BEGIN;
SELECT bgjob_enqueue('t_run', '["1"]', queue => 'other') AS x \gset
SELECT bgjob_enqueue('t_push', '["2", "critical", -50]', queue => 'other') AS x \gset
SELECT bgjob_enqueue('t_push', '["3", "default", -50]', queue => 'other') AS x \gset
SELECT bgjob_enqueue('t_run', '["4"]', queue => 'other') AS x \gset
COMMIT;
CALL tap_idle();
SELECT is(t_order(), '{1,2,pushed by 2,3,pushed by 3,4}'::text[], 'a late job of a preferred queue is the very next one');
TRUNCATE t_ran RESTART IDENTITY;

ALTER SYSTEM SET bgjob.queues = 'critical, default';
SELECT pg_reload_conf() AS reloaded \gset
CALL tap_wait_setting('bgjob.queues', 'critical, default');
SELECT bgjob_enqueue('t_run', '["nobody takes it"]', queue => 'other') AS untaken \gset
SELECT bgjob_enqueue('t_run', '["taken"]') AS taken \gset
SELECT is(bgjob_wait(:taken, '20 s'), 'succeeded', 'jobs of a queue in bgjob.queues run');
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :untaken), 'enqueued', 'jobs of a queue that is not in bgjob.queues stay enqueued');
ALTER SYSTEM RESET bgjob.queues;
SELECT pg_reload_conf() AS reloaded \gset
SELECT is(bgjob_wait(:untaken, '20 s'), 'succeeded', 'after a reload with bgjob.queues = * they run');
CALL tap_wait_setting('bgjob.queues', '*');
TRUNCATE t_ran RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- Delayed jobs
----------------------------------------------------------------------------------------------------

-- The scheduler sleeps until the first of them, and is woken for each earlier one.
SELECT bgjob_enqueue('t_run', '["in an hour"]', delay => '1 hour') AS hour \gset
SELECT bgjob_enqueue('t_run', '["1600 ms"]', delay => '1600 ms') AS d3 \gset
SELECT bgjob_enqueue('t_run', '["800 ms"]', delay => '800 ms') AS d1 \gset
SELECT bgjob_enqueue('t_run', '["1200 ms"]', run_at => clock_timestamp() + interval '1200 ms') AS d2 \gset
SELECT is((SELECT array_agg(DISTINCT state) FROM bgjob.jobs WHERE id IN (:hour, :d1, :d2, :d3)), '{scheduled}'::text[],
	'delayed jobs are scheduled');
SELECT is(ARRAY[bgjob_wait(:d1, '20 s'), bgjob_wait(:d2, '20 s'), bgjob_wait(:d3, '20 s')], '{succeeded,succeeded,succeeded}'::text[],
	'and run when they are due');
SELECT is(t_order(), '{800 ms,1200 ms,1600 ms}'::text[], 'delayed jobs run in the order of their times, not of their ids');
SELECT is((SELECT count(*) FROM bgjob.jobs j JOIN t_ran r ON j.args ->> 0 = r.label WHERE r.at < j.run_at), 0::bigint,
	'none of them before it is due');
SELECT is_empty($$ SELECT r.label, r.at - j.run_at FROM bgjob.jobs j JOIN t_ran r ON j.args ->> 0 = r.label
		WHERE r.at - j.run_at >= interval '500 ms' $$, 'each less than 500 ms after it is due');
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :hour), 'scheduled', 'a job due in an hour stays scheduled');
TRUNCATE t_ran RESTART IDENTITY;

-- Many jobs due at the same time.
SELECT count(*) AS n FROM bgjob_enqueue_many('t_run', ARRAY(SELECT jsonb_build_array(i) FROM generate_series(1, 200) i), delay => '700 ms') \gset
CALL tap_wait_until('SELECT count(*) = 200 FROM t_ran');
SELECT is((SELECT count(*) FROM t_ran WHERE label = n::text), 200::bigint, '200 jobs due at one time run in the order of their ids');

SELECT is((SELECT count(DISTINCT worker_pid) FROM (
		SELECT (data ->> 'worker_pid')::int AS worker_pid FROM bgjob.job_states WHERE state = 'processing') s), 1::bigint,
	'all of this was done by one process');

\ir lib/check_counters.sql
SELECT * FROM finish();

ALTER SYSTEM RESET bgjob.workers;
ALTER SYSTEM RESET bgjob.queues;
SELECT pg_reload_conf() AS reloaded \gset
