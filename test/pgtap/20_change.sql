-- 20_change.sql
--
-- What this file proves about bgjob_change() (doc/manual.md):
--   * a waiting job gets another queue and priority, and keeps its age: it runs before younger jobs of that priority;
--   * what is null stays; jobs that do not wait, unknown jobs, jobs of others and invalid values;
--   * a rollback, a savepoint and a prepared transaction take it back or keep it; 10,000 jobs in one statement;
--   * keys, retries and the history stay, and the counts of queues follow.
-- And about bgjob_recurring() for a recurring job that exists:
--   * what is null stays, of each parameter; a repeated call moves nothing, and does not resume a paused one;
--   * how each option is taken away again; options that were never given follow the configuration of the function;
--   * another job takes the arguments that are there, or is refused; settings are captured again; a rollback; a run that is going.
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
CREATE FUNCTION t_self() RETURNS boolean LANGUAGE sql AS $$ SELECT bgjob_change(bgjob_current_id(), 'other', 3) $$;
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
SELECT is((SELECT id FROM bgjob_list(queue => 'other')), :job::bigint, 'bgjob_list() finds it there');
SELECT is((SELECT reason FROM bgjob_why(:job)), 'queue paused', 'bgjob_why() looks there');
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

SELECT bgjob_enqueue('t_run', '["parent"]', queue => 'paused') AS parent \gset
SELECT bgjob_enqueue('t_run', '["child"]', queue => 'paused', after => ARRAY[:parent]) AS child \gset
BEGIN;
SELECT is(bgjob_change(:child, 'other', 8), true, 'a job that awaits another is changed');
ROLLBACK;
SELECT is((SELECT state || queue || priority FROM bgjob.jobs WHERE id = :child), 'awaitingpaused0', 'the rollback takes it back');
SELECT is(bgjob_change(:child, 'other', 8), true, 'it is changed again');
SELECT is((SELECT state || queue || priority FROM bgjob.jobs WHERE id = :child), 'awaitingother8', 'it still awaits it');
SELECT is(bgjob_change(:parent, 'default'), true, 'what it awaits is moved to where it runs');
CALL tap_state_is(:child, 'enqueued');
SELECT is(tap_at(:child), 'other 8 enqueued other 8', 'released, it is in its new queue');
SELECT bgjob_delete(:child) AS x \gset
TRUNCATE ran;

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
SELECT bgjob_enqueue('t_self') AS self \gset
SELECT is(bgjob_wait(:self, '60 s') || ' ' || bgjob_result(:self), 'succeeded false', 'a job does not wait while it runs');
SELECT bgjob_enqueue('t_self', queue => 'paused') AS self \gset
SELECT is(bgjob_run(:self), 'false', 'nor while bgjob_run() performs it');
SELECT is(bgjob_change(:self, queue => 'other'), false, 'nor after that');
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

----------------------------------------------------------------------------------------------------
-- bgjob_recurring() keeps what is not given
----------------------------------------------------------------------------------------------------

-- Everything about the recurring job "r" but what its runs change.
CREATE VIEW r AS SELECT to_jsonb(v) - '{description,last_run_at,last_job_id,last_state,created_at,settings}'::text[] AS v FROM bgjob.recurring_jobs v WHERE name = 'r';
CREATE TABLE r_table ();
-- tap_changes makes a call, and returns what it has changed.
CREATE FUNCTION tap_changes(arguments text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	before jsonb := v FROM r;
BEGIN
	EXECUTE format('SELECT bgjob_recurring(''r'', %s)', arguments);
	RETURN (SELECT coalesce(jsonb_object_agg(n.key, n.value), '{}') FROM r, jsonb_each(r.v) n WHERE n.value IS DISTINCT FROM before -> n.key);
END $$;
CREATE FUNCTION t_two(a int, b text = 'b') RETURNS void LANGUAGE sql AS $$ SELECT $$;
CREATE FUNCTION t_other(a int, b text) RETURNS void LANGUAGE sql AS $$ SELECT $$;
CREATE FUNCTION t_none() RETURNS void LANGUAGE sql AS $$ SELECT $$;

SELECT is(tap_error($$SELECT bgjob_recurring('r', NULL, 't_none')$$), '22004', 'a new one needs a schedule');
SELECT is(tap_error($$SELECT bgjob_recurring('r', '@daily', NULL)$$), '22004', 'a new one needs a job');
SELECT bgjob_recurring('r', '3 4 * * *', 't_two', '[1, "x"]', kind => 'function', queue => 'bulk', priority => 3, max_retries => 4, retry_delays => '{1 s,1 min}', timeout => '5 min', unique_key => 'k',
	on_duplicate => 'replace', start_within => '1 h', run_as => 'tap20_a', tags => '{t}', parameters => '{"p": 1}', time_zone => 'Asia/Tokyo', misfire => 'all', overlap => 'queue',
	jitter => '7 s', starts_at => '2001-01-01 00:00+00', ends_at => '2999-01-01 00:00+00', day_match => 'all', active => true) \g /dev/null
SET TIME ZONE 'UTC';
SELECT is((SELECT v - 'next_run_at' FROM r), jsonb_build_object('name', 'r', 'owner', current_user, 'schedule', '3 4 * * *', 'time_zone', 'Asia/Tokyo', 'job', 't_two', 'args', '[1, "x"]'::jsonb,
	'queue', 'bulk', 'misfire', 'all', 'overlap', 'queue', 'active', true, 'error', NULL, 'kind', 'function', 'run_as', 'tap20_a', 'priority', 3, 'max_retries', 4, 'timeout', '00:05:00',
	'unique_key', 'k', 'on_duplicate', 'replace', 'start_within', '01:00:00', 'tags', '{t}'::text[], 'parameters', '{"p": 1}'::jsonb, 'jitter', '00:00:07',
	'starts_at', '2001-01-01T00:00:00+00:00', 'ends_at', '2999-01-01T00:00:00+00:00', 'day_match', 'all',
	'retry_delays', '{1 s,1 min}'::interval[], 'sequence_key', NULL, 'limits', NULL, 'fairness_key', NULL,
	'given', '{queue,priority,max_retries,retry_delays,timeout,unique_key,on_duplicate,start_within,tags,parameters,kind}'::text[]), 'the view shows everything that was given');
SELECT is(tap_changes($$'3 4 * * *', 't_two'$$), '{}', 'a call that gives only what is required changes nothing');
SELECT is(tap_changes('NULL, NULL'), '{}', 'a call that gives nothing changes nothing');
SELECT is(tap_changes(arguments), wanted, format('%s is changed, and nothing else', arguments)) FROM (VALUES
	($$NULL, NULL, args => '[2]'$$, '{"args": [2]}'::jsonb),
	($$NULL, NULL, queue => 'slow'$$, '{"queue": "slow"}'),
	($$NULL, NULL, priority => -1$$, '{"priority": -1}'),
	($$NULL, NULL, max_retries => 0$$, '{"max_retries": 0}'),
	($$NULL, NULL, timeout => '1 min'$$, '{"timeout": "00:01:00"}'),
	($$NULL, NULL, unique_key => 'l'$$, '{"unique_key": "l"}'),
	($$NULL, NULL, on_duplicate => 'error'$$, '{"on_duplicate": "error"}'),
	($$NULL, NULL, start_within => '2 h'$$, '{"start_within": "02:00:00"}'),
	($$NULL, NULL, run_as => current_user$$, jsonb_build_object('run_as', current_user)),
	($$NULL, NULL, tags => '{}'$$, '{"tags": []}'),
	($$NULL, NULL, parameters => '{}'$$, '{"parameters": {}}'),
	($$NULL, NULL, misfire => 'skip'$$, '{"misfire": "skip"}'),
	($$NULL, NULL, overlap => 'cancel'$$, '{"overlap": "cancel"}'),
	($$NULL, NULL, jitter => '0'$$, '{"jitter": "00:00:00"}'),
	($$NULL, NULL, starts_at => '2002-01-01 00:00+00'$$, '{"starts_at": "2002-01-01T00:00:00+00:00"}'),
	($$NULL, NULL, ends_at => '2998-01-01 00:00+00'$$, '{"ends_at": "2998-01-01T00:00:00+00:00"}'),
	($$NULL, NULL, day_match => 'any'$$, '{"day_match": "any"}'),
	($$NULL, NULL, active => false$$, '{"active": false, "next_run_at": null}'),
	($$NULL, NULL, retry_delays => '{2 s}'$$, '{"retry_delays": ["00:00:02"]}'),
	-- taken away again
	($$NULL, NULL, starts_at => '-infinity', ends_at => 'infinity'$$, '{"starts_at": null, "ends_at": null}'),
	($$NULL, NULL, timeout => '0', args => '[3]'$$, '{"timeout": "00:00:00", "args": [3]}'),
	($$NULL, NULL, unique_key => ''$$, '{"unique_key": null, "given": ["queue", "priority", "max_retries", "retry_delays", "timeout", "on_duplicate", "start_within", "tags", "parameters", "kind"]}')) v (arguments, wanted);

-- A deployment repeats its call each day: a pause stays, an occurrence is not moved.
SELECT is(tap_changes($$'3 4 * * *', 't_two', '[1]', queue => 'bulk'$$), '{"args": [1], "queue": "bulk"}', 'a repeated call does not resume a paused one');
SELECT is(tap_changes($$NULL, NULL, active => true$$) ->> 'active', 'true', 'active => true resumes it');
SELECT bgjob_recurring('r', 'H H * * *', NULL, jitter => '10 h') \g /dev/null
SELECT is(tap_changes($$'H H * * *', 't_two', time_zone => 'Asia/Tokyo'$$), '{}', 'the next occurrence stays, also with jitter and H');
SELECT bgjob_recurring('r', '5 hours', NULL) \g /dev/null
SELECT is(tap_changes($$'5 hours', NULL$$), '{}', 'so does that of an interval');
SELECT ok(tap_changes($$'@yearly', NULL$$) ?& '{schedule,next_run_at}', 'another schedule has another next occurrence');
SELECT ok(tap_changes($$NULL, NULL, time_zone => 'UTC'$$) ?& '{time_zone,next_run_at}', 'and so has another zone');
SELECT is(tap_error($$SELECT bgjob_recurring('r', NULL, NULL, ends_at => '2000-01-01'), bgjob_recurring('r', NULL, NULL, starts_at => '2000-01-02')$$), '22023', 'one bound is compared with the other');
SELECT is(tap_error($$SELECT bgjob_recurring('r', NULL, NULL, starts_at => 'infinity')$$), '22023', 'a bound that excludes everything is refused');
SELECT is(tap_error($$SELECT bgjob_recurring('r', '61 * * * *', NULL)$$), '22023', 'a schedule is checked');

-- Another job.
SELECT is(tap_changes($$NULL, 't_other', args => '[1, "y"]'$$), '{"job": "t_other", "args": [1, "y"]}', 'another function with its arguments');
SELECT is(tap_changes($$NULL, 't_two'$$), '{"job": "t_two"}', 'another function that takes the arguments that are there');
SELECT is(tap_error($$SELECT bgjob_recurring('r', NULL, 't_none')$$), '22023', 'one that does not take them is refused');
DO $$
DECLARE
	c text;
BEGIN
	PERFORM bgjob_recurring('r', NULL, 't_none');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS c = PG_EXCEPTION_CONTEXT;
	PERFORM set_config('tap.context', c, false);
END $$;
SELECT matches(current_setting('tap.context'), '^arguments of recurring job "r", which stay because none are given', 'the error says whose arguments these are');
SELECT is(tap_changes($$NULL, 't_none', args => '[]'$$), '{"job": "t_none", "args": []}', 'an empty list takes them away');
SELECT is(tap_try($$SELECT bgjob_recurring('r', NULL, NULL, kind => 'sql')$$), 'ERROR 42601', 'a function is no command');
SELECT is(tap_changes($$NULL, 'VACUUM r_table', kind => 'sql'$$), '{"job": "VACUUM r_table", "kind": "sql"}', 'a command');
SELECT is(tap_changes($$NULL, 'ANALYZE r_table'$$), '{"job": "ANALYZE r_table"}', 'the kind that was given stays');
SELECT is(tap_try($$SELECT bgjob_recurring('r', NULL, 'ANALYZ r_table')$$), 'ERROR 42601', 'a command is checked');

SELECT bgjob_recurring_remove('r') AS x \gset
SELECT bgjob_recurring('r', '@daily', 'VACUUM r_table') \g /dev/null
SELECT is(tap_changes($$NULL, NULL, priority => 1$$), '{"priority": 1, "given": ["priority"]}', 'a command that was taken for one stays one');
SELECT is(tap_changes($$NULL, 't_none'$$), '{"job": "t_none", "kind": "function"}', 'a kind that no call has given follows the text of the job');

-- Options that no call has given follow the configuration.
SELECT bgjob_recurring_remove('r') AS x \gset
SELECT bgjob_configure('t_two', queue => 'configured', priority => 9, unique_key => 'two {a}', tags => '{c}') AS x \gset
SELECT bgjob_recurring('r', '@daily', 't_two', '[1]', priority => 1) \g /dev/null
SELECT is((SELECT concat_ws(' ', v ->> 'queue', v ->> 'priority', v ->> 'unique_key', v ->> 'given') FROM r), 'configured 1 two 1 ["priority"]', 'a new one has the configured options');
SELECT is(tap_changes($$'@daily', 't_two', '[2]'$$), '{"args": [2], "unique_key": "two 2"}', 'a configured key follows the arguments');
SELECT bgjob_configure('t_two', queue => 'changed', priority => 8) AS x \gset
SELECT is(tap_changes($$'@daily', 't_two'$$), '{"queue": "changed", "unique_key": null, "tags": null}', 'options that were never given follow a change of the configuration');
SELECT is(tap_changes($$'@daily', 't_other', '[2, "x"]'$$), '{"job": "t_other", "args": [2, "x"], "queue": "default"}', 'and a change of the function');

-- Settings, transactions, a run that is going.
SET tap.mine = 'one';
SELECT bgjob_recurring('r', '@daily', 't_other') \g /dev/null
SELECT is((SELECT settings ->> 'tap.mine' FROM bgjob.recurring_jobs WHERE name = 'r'), 'one', 'settings are captured again');
BEGIN;
SELECT is(tap_changes($$'@yearly', NULL, queue => 'back'$$) - 'next_run_at', '{"schedule": "@yearly", "queue": "back", "given": ["queue", "priority"]}', 'changed in a transaction');
ROLLBACK;
SELECT is((SELECT concat_ws(' ', v ->> 'schedule', v ->> 'queue') FROM r), '@daily default', 'the rollback takes it back');
SELECT pg_advisory_lock(2020) AS x \gset
SELECT bgjob_recurring('r', NULL, 't_block', '[]') \g /dev/null
SELECT bgjob_recurring_trigger('r') AS going \gset
CALL tap_held(2020);
SELECT is(tap_changes($$NULL, 't_none', queue => 'other'$$), '{"job": "t_none", "queue": "other", "given": ["queue", "priority"]}', 'changed while its job runs');
SELECT is(tap_state(:going), 'processing', 'that job goes on');
SELECT pg_advisory_unlock(2020) AS x \gset
SELECT is(bgjob_wait(:going, '60 s'), 'succeeded', 'and ends');
SELECT is((SELECT last_job_id FROM bgjob.recurring_jobs WHERE name = 'r'), :going::bigint, 'it is still the last job');

-- Occurrences that wait for the last job are dropped by a pause, in either way.
SELECT bgjob_recurring('r', '@every_second', 't_block', '[]', queue => 'default', overlap => 'queue') \g /dev/null
SELECT pg_advisory_lock(2020) AS x \gset
CALL tap_wait_until($$ SELECT queued IS NOT NULL FROM bgjob_internal.recurring WHERE name = 'r' $$);
SELECT bgjob_recurring('r', active => false) \g /dev/null
SELECT is((SELECT queued IS NULL FROM bgjob_internal.recurring WHERE name = 'r'), true, 'a pause drops the occurrences that wait');
SELECT pg_advisory_unlock(2020) AS x \gset
SELECT bgjob_recurring_remove('r') AS x \gset

CALL tap_idle();
\ir lib/check_counters.sql
SELECT * FROM finish();

ALTER SYSTEM RESET bgjob.workers;
SELECT pg_reload_conf() AS reloaded \gset
