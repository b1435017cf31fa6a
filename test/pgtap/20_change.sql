-- 20_change.sql
--
-- What this file proves about bgjob_change() (doc/manual.md):
--   * a waiting job gets another queue and priority, and keeps its age: it runs before younger jobs of that priority;
--   * what is null stays; jobs that do not wait, unknown jobs, jobs of others and invalid values;
--   * a rollback, a savepoint and a prepared transaction take it back or keep it; 10,000 jobs in one statement;
--   * keys, retries and the history stay, and the counts of queues follow.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser. It changes settings with ALTER SYSTEM and resets them at
-- its end: do not run it beside other files.

\ir lib/session.sql

-- Set before CREATE EXTENSION, so that the scheduler of the database starts with it.
ALTER SYSTEM SET bgjob.workers = 1;
SELECT pg_reload_conf() AS reloaded \gset

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap20_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap20_' \gexec
CREATE ROLE tap20_a LOGIN;
CREATE ROLE tap20_stranger LOGIN;
GRANT USAGE ON SCHEMA bgjob TO tap20_a;

----------------------------------------------------------------------------------------------------
-- Helpers, and what the jobs of this file call
----------------------------------------------------------------------------------------------------

\ir lib/wait.sql
\ir lib/states.sql
\ir lib/errors.sql

-- Queue and priority of a job, in its row and where it waits.
CREATE FUNCTION tap_at(id bigint) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s %s %s', j.queue, j.priority, coalesce((SELECT 'enqueued ' || q.queue || ' ' || q.priority FROM bgjob_internal.queue q WHERE coalesce(q.job, q.pos) = j.id),
		(SELECT 'scheduled ' || s.queue FROM bgjob_internal.schedule s WHERE s.job = j.id)))
	FROM bgjob.jobs j WHERE j.id = $1 $$;
-- The counts of a queue.
CREATE FUNCTION tap_queue(queue text) RETURNS text LANGUAGE sql AS
	$$ SELECT format('%s enqueued, %s scheduled', q.enqueued, q.scheduled) FROM bgjob.queues q WHERE q.queue = $1 $$;

CREATE TABLE ran (n serial, label text);
CREATE FUNCTION t_run(label text) RETURNS void LANGUAGE sql AS $$ INSERT INTO ran (label) VALUES (label) $$;
CREATE FUNCTION t_bad() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken'; END $$;
-- Waits until this session releases the lock.
CREATE FUNCTION t_block() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(2020); END $$;

SELECT * FROM no_plan();

CALL tap_wait_setting('bgjob.workers', '1');
CALL tap_wait_until('SELECT count(*) = 1 FROM bgjob.workers');
SELECT bgjob_queue_pause('paused') AS x \gset
SELECT bgjob_queue_pause('other') AS x \gset

----------------------------------------------------------------------------------------------------
-- Queue and priority
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('t_run', '["x"]', queue => 'paused', priority => 3, unique_key => 'key') AS job \gset
SELECT is(tap_at(:job), 'paused 3 enqueued paused 3', 'a job waits in its queue');
SELECT is(bgjob_change(:job, queue => 'other'), true, 'a waiting job is moved to another queue');
SELECT is(tap_at(:job), 'other 3 enqueued other 3', 'its priority stays');
SELECT is(ARRAY[tap_queue('paused'), tap_queue('other')], '{"0 enqueued, 0 scheduled","1 enqueued, 0 scheduled"}', 'bgjob.queues follows');
SELECT is(bgjob_change(:job, priority => -32768), true, 'it gets another priority');
SELECT is(tap_at(:job), 'other -32768 enqueued other -32768', 'its queue stays');
SELECT is(bgjob_change(:job, 'paused', 32767), true, 'both at once');
SELECT is(tap_at(:job), 'paused 32767 enqueued paused 32767', 'both are changed');
SELECT is(bgjob_change(:job, 'paused', 32767), true, 'a change to what it has is true');
SELECT is(tap_states(:job), '{enqueued}', 'the history does not show it');
SELECT is(bgjob_enqueue('t_run', '["y"]', unique_key => 'key'), :job::bigint, 'its unique_key stays');

SELECT bgjob_enqueue('t_run', '["later"]', queue => 'paused', run_at => '2100-01-01') AS later \gset
SELECT is(bgjob_change(:later, 'other', 5), true, 'a scheduled job is changed');
SELECT is(tap_at(:later), 'other 5 scheduled other', 'it stays scheduled');
SELECT is((SELECT run_at FROM bgjob.jobs WHERE id = :later), '2100-01-01', 'its time stays');
SELECT is(ARRAY[tap_queue('paused'), tap_queue('other')], '{"1 enqueued, 0 scheduled","0 enqueued, 1 scheduled"}', 'bgjob.queues follows');
SELECT bgjob_configure('t_bad', retry_delays => '{1 hour}') AS x \gset
SELECT bgjob_enqueue('t_bad', max_retries => 3) AS retry \gset
CALL tap_state_is(:retry, 'scheduled');
SELECT is(bgjob_change(:retry, 'other'), true, 'a job that waits for a retry is changed');
SELECT is((SELECT concat_ws(' ', state, retries, reason, queue) FROM bgjob.jobs WHERE id = :retry), 'scheduled 1 Retry attempt 1 of 3: broken other', 'it still waits for the retry');
SELECT is(bgjob_requeue(:retry), true, 'it is requeued');
SELECT is(tap_at(:retry), 'other 0 enqueued other 0', 'into its new queue');

----------------------------------------------------------------------------------------------------
-- Its age decides, not the time of the change
----------------------------------------------------------------------------------------------------

SELECT pg_advisory_lock(2020) AS x \gset
SELECT bgjob_enqueue('t_block') AS block \gset
CALL tap_held(2020);
SELECT bgjob_enqueue('t_run', '["low"]', priority => -1) AS low \gset
SELECT bgjob_enqueue('t_run', '["moved"]', queue => 'paused') AS moved \gset
SELECT bgjob_enqueue('t_run', '["first"]') AS first \gset
SELECT bgjob_enqueue('t_run', '["second"]') AS second \gset
SELECT is(bgjob_change(:moved, queue => 'default'), true, 'a job is moved from a paused queue');
SELECT is(bgjob_change(:second, priority => 1), true, 'a job gets a higher priority');
SELECT is(bgjob_change(:low, priority => 0), true, 'an old job gets the priority of younger ones');
SELECT is(bgjob_change(:block, priority => 7), false, 'a running job does not wait');
SELECT pg_advisory_unlock(2020) AS x \gset
CALL tap_wait_until('SELECT count(*) >= 4 FROM ran');
SELECT is((SELECT array_agg(label ORDER BY n) FROM ran), '{second,low,moved,first}', 'a changed job runs before younger ones of its priority');

----------------------------------------------------------------------------------------------------
-- Jobs that do not wait, rights, errors
----------------------------------------------------------------------------------------------------

SELECT is(bgjob_wait(:block, '60 s'), 'succeeded', 'the running job has ended');
SELECT is(bgjob_change(:block, priority => 7), false, 'a job that has succeeded does not wait');
SELECT bgjob_enqueue('t_bad', max_retries => 0) AS bad \gset
SELECT is(bgjob_wait(:bad, '60 s'), 'failed', 'a job fails');
SELECT is(bgjob_change(:bad, queue => 'other'), false, 'a failed job does not wait');
SELECT bgjob_enqueue('t_run', '["gone"]', queue => 'paused') AS gone \gset
SELECT bgjob_delete(:gone) AS x \gset
SELECT is(bgjob_change(:gone, queue => 'other'), false, 'a deleted job does not wait');
SELECT is(bgjob_change(0, queue => 'other'), false, 'there is no such job');
SELECT is(bgjob_change(NULL, queue => 'other'), false, 'null is no job');
SELECT is(tap_error(format('SELECT bgjob_change(%s)', :job)), '22023', 'nothing to change is an error');
SELECT is(tap_lacks(format('SELECT bgjob_change(%s)', :job)), '', 'the error has message, detail and hint');
SELECT is(tap_error(format('SELECT bgjob_change(%s, %L)', :job, v)), '22023', format('"%s" is no queue', left(v, 10)))
FROM unnest(ARRAY['', 'Mail', 'a b', repeat('x', 64)]) v;
SELECT is(tap_error(format('SELECT bgjob_change(%s, priority => %s)', :job, v)), '22023', format('priority %s is out of range', v))
FROM unnest(ARRAY[32768, -32769]) v;
SELECT is(tap_at(:job), 'paused 32767 enqueued paused 32767', 'an error changes nothing');
SELECT is(tap_try(format('SELECT bgjob_change(%s, ''other'')', :job), 'tap20_a'), 'ERROR 42501', 'a job of another role');
SELECT is(tap_try(format('SELECT bgjob_change(%s, ''other'')', :block), 'tap20_a'), 'ERROR 42501', 'a finished job of another role');
SELECT is(tap_try('SELECT bgjob_change(0, ''other'')', 'tap20_stranger'), 'ERROR 42501', 'a role without USAGE');

----------------------------------------------------------------------------------------------------
-- Transactions
----------------------------------------------------------------------------------------------------

BEGIN;
SELECT is(bgjob_change(:job, 'other', 1), true, 'changed in a transaction');
ROLLBACK;
SELECT is(tap_at(:job), 'paused 32767 enqueued paused 32767', 'the rollback takes it back');

BEGIN;
SELECT bgjob_change(:job, 'other', 1) AS x \gset
SAVEPOINT s;
SELECT bgjob_change(:job, 'paused', 2) AS x \gset
SELECT bgjob_change(:job, 'default', 3) AS x \gset
ROLLBACK TO s;
SELECT bgjob_change(:job, 'paused', 1) AS x \gset
SELECT bgjob_change(:job, 'other', 1) AS x \gset
COMMIT;
SELECT is(tap_at(:job), 'other 1 enqueued other 1', 'forth and back in a transaction with a savepoint');

BEGIN;
SELECT bgjob_enqueue('t_run', '["own"]', queue => 'paused') AS own \gset
SELECT is(bgjob_change(:own, 'default', 4), true, 'a job of the same transaction');
COMMIT;
SELECT is(bgjob_wait(:own, '60 s'), 'succeeded', 'it runs from its new queue');

SELECT bgjob_enqueue('t_run', '["prepared"]', queue => 'paused') AS prepared \gset
BEGIN;
SELECT bgjob_change(:prepared, 'default') AS x \gset
PREPARE TRANSACTION 'tap20';
SELECT is((SELECT queue FROM bgjob.jobs WHERE id = :prepared), 'paused', 'a prepared transaction is not in force');
COMMIT PREPARED 'tap20';
SELECT is(bgjob_wait(:prepared, '60 s'), 'succeeded', 'it runs when the transaction is committed');
BEGIN;
SELECT bgjob_change(:job, 'default') AS x \gset
PREPARE TRANSACTION 'tap20';
ROLLBACK PREPARED 'tap20';
SELECT is(tap_at(:job), 'other 1 enqueued other 1', 'a prepared transaction that is rolled back leaves it where it was');

----------------------------------------------------------------------------------------------------
-- Many
----------------------------------------------------------------------------------------------------

SELECT count(*) AS n FROM bgjob_enqueue_many('t_run', array_fill('["many"]'::jsonb, ARRAY[10000]), queue => 'paused') \gset
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE queue = 'paused' AND bgjob_change(id, 'other', (id % 3)::int)), 10000::bigint, '10,000 jobs in one statement');
SELECT is(tap_queue('other'), '10002 enqueued, 1 scheduled', 'they are counted in their new queue');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE queue = 'other' AND job = 't_run' AND bgjob_change(id, 'default')), 10002::bigint, 'moved again, to where they run');
SELECT bgjob_delete(:later) AS x \gset
CALL tap_wait_until('SELECT count(*) = 10000 FROM ran WHERE label = ''many''');
SELECT is((SELECT count(*) FROM ran WHERE label = 'many'), 10000::bigint, 'each of them runs once');
SELECT bgjob_delete(:retry) AS x \gset

CALL tap_idle();
\ir lib/check_counters.sql
SELECT * FROM finish();

ALTER SYSTEM RESET bgjob.workers;
SELECT pg_reload_conf() AS reloaded \gset
