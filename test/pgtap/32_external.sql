-- 32_external.sql
--
-- What this file proves (api.md, "External workers"): bgjob_fetch, bgjob_complete, bgjob_fail, bgjob_release.
--   * Order: queues as listed, then priority, then first in, first out, also across queues of '*' and with many at a time.
--   * Only the worker that has the job ends it; any other answer is false and changes nothing.
--   * Retries, policies, time-outs, start_within, leases that are over, losses in a row; results, errors, history.
--   * Limits, sequences, paused queues, fairness keys; batches and continuations; unique keys, supersede, delete, requeue, reschedule, change.
--   * Rollbacks and savepoints. Views, counts, bgjob_why(), statistics. Filters. Configuration, recurring jobs, triggers, roles without login.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser.

\ir lib/session.sql

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap32_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap32_' \gexec
CREATE ROLE tap32_nologin;
CREATE ROLE tap32_app LOGIN;
GRANT USAGE ON SCHEMA bgjob TO tap32_app;

\ir lib/wait.sql

-- An external job.
CREATE FUNCTION t_new(queue text, name text = 'work', args jsonb = NULL) RETURNS bigint LANGUAGE sql AS
	$$ SELECT bgjob_enqueue(name, args, kind => 'external', queue => queue) $$;
CREATE FUNCTION t_state(id bigint) RETURNS text LANGUAGE sql AS $$ SELECT j.state FROM bgjob.jobs j WHERE j.id = $1 $$;
-- The ids that a fetch gives, in its order.
CREATE FUNCTION t_fetch(queues text[], worker text = 'w', n int = 1, lease interval = '5 min') RETURNS bigint[] LANGUAGE sql VOLATILE AS
	$$ SELECT coalesce(array_agg(f.id), '{}') FROM (SELECT id FROM bgjob_fetch(queues, worker, n, lease)) f $$;

SELECT * FROM no_plan();

SELECT is(bgjob_protocol(), 1, 'the version of the protocol is 1');

----------------------------------------------------------------------------------------------------
-- One job
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('resize', '{"file": "a.png"}', kind => 'external', queue => 'one', parameters => '{"p": 1}', timeout => '1 h') AS j \gset
SELECT results_eq(format('SELECT reason FROM bgjob_why(%s)', :j), ARRAY['no worker'], 'bgjob_why() says that a worker is lacking');
SELECT matches((SELECT detail FROM bgjob_why(:j)), 'No external worker has asked for jobs of queue "one"', 'and that it is an external one');
SELECT is((SELECT reason FROM bgjob.jobs WHERE id = :j), 'no worker', 'so does the view');
SELECT is(t_fetch('{other}'), '{}', 'a fetch from another queue gives nothing');
SELECT results_eq($$ SELECT id, job, args, queue, attempt, lease_until - now() BETWEEN '4 min' AND '6 min', parameters FROM bgjob_fetch('{one}', 'w') $$,
	format($$ SELECT %s::bigint, 'resize', '{"file": "a.png"}'::jsonb, 'one', 1, true, '{"p": 1}'::jsonb $$, :j), 'a fetch gives the job with all that it needs');
SELECT results_eq(format('SELECT state, server, worker_pid, started_at IS NOT NULL, reason FROM bgjob.jobs WHERE id = %s', :j),
	$$ SELECT 'processing', 'w', pg_backend_pid(), true, NULL::text $$, 'the view shows it as processing, with its worker and session');
SELECT is(t_fetch('{one}', 'other'), '{}', 'nobody else is given it');
SELECT is((SELECT worker_pid FROM bgjob.jobs WHERE id = :j), NULL, 'the session is not that of one worker then, and the job no longer bound to it');
SELECT is((SELECT string_agg(state, ' ' ORDER BY seq) FROM bgjob.job_states WHERE job_id = :j), 'enqueued processing', 'so does its history');
SELECT is((SELECT processing FROM bgjob.stats), 1::bigint, 'it is counted as processing');
SELECT is((SELECT processing FROM bgjob.queues WHERE queue = 'one'), 1::bigint, 'and by its queue');
SELECT is_empty(format('SELECT * FROM bgjob_why(%s)', :j), 'nothing holds it up');
SELECT ok(bgjob_external_deadline(:j, 'w') BETWEEN now() + '50 min' AND now() + '70 min', 'its deadline is known to its worker');
SELECT is(bgjob_external_deadline(:j, 'v'), NULL, 'and to no other');
SELECT is(bgjob_complete(:j, 'v', '1'), false, 'another worker cannot complete it');
SELECT is(bgjob_fail(:j, 'v', 'no'), false, 'nor fail it');
SELECT is(bgjob_release(:j, 'v'), false, 'nor give it back');
SELECT is(bgjob_complete(987654321, 'w'), false, 'an unknown job is completed by nobody');
SELECT is(bgjob_complete(NULL, 'w'), false, 'nor is null');
SELECT is(t_state(:j), 'processing', 'all that has changed nothing');
SELECT is(bgjob_complete(:j, 'w', '{"width": 100}'), true, 'its worker completes it');
SELECT is((SELECT concat_ws(' ', state, result, server, retries) FROM bgjob.jobs WHERE id = :j), 'succeeded {"width": 100} w 0', 'it has succeeded with the result');
SELECT is((SELECT string_agg(state, ' ' ORDER BY seq) FROM bgjob.job_states WHERE job_id = :j AND coalesce(reason, '') NOT LIKE 'Late answer of worker "v"%'),
	'enqueued processing succeeded', 'its history has the attempt');
SELECT is(bgjob_complete(:j, 'w'), false, 'it cannot be completed twice');
SELECT is((SELECT kind || ' ' || attempts || ' ' || jobs FROM bgjob.function_stats WHERE job = 'resize'), 'external 1 1', 'the statistics have it by its name');

----------------------------------------------------------------------------------------------------
-- Order
----------------------------------------------------------------------------------------------------

SELECT array_agg(t_new(CASE i % 3 WHEN 0 THEN 'a' WHEN 1 THEN 'b' ELSE 'c' END)) AS ids FROM generate_series(1, 120) i \gset
SELECT is(t_fetch('{*}', 'w', 50), (:'ids'::bigint[])[1:50], 'jobs of several queues come first in, first out');
SELECT is(t_fetch('{b}', 'w', 5), ARRAY(SELECT id FROM unnest(:'ids'::bigint[]) WITH ORDINALITY u (id, n) WHERE n % 3 = 1 AND n > 50 ORDER BY n LIMIT 5), 'a queue alone, too');
SELECT is(t_fetch('{c,*}', 'w', 30), ARRAY(SELECT id FROM unnest(:'ids'::bigint[]) WITH ORDINALITY u (id, n) WHERE n > 50 AND (n % 3 = 2 OR n % 3 <> 1 OR n > 65)
	ORDER BY n % 3 <> 2, n LIMIT 30), 'a queue that is named goes before the others');
SELECT bgjob_enqueue('work', kind => 'external', queue => 'a', priority => 7) AS first \gset
SELECT is(t_fetch('{*}'), ARRAY[:first]::bigint[], 'a higher priority goes first');
SELECT is(cardinality(t_fetch('{*}', 'w', 10000)), 35, 'a fetch gives fewer if there are fewer');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE state = 'processing'), 121::bigint, 'all are being processed');
SELECT is((SELECT count(*) FILTER (WHERE bgjob_complete(id, 'w')) FROM bgjob.jobs WHERE state = 'processing'), 121::bigint, 'one statement completes many');

----------------------------------------------------------------------------------------------------
-- Failure, retry, release
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('work', kind => 'external', queue => 'f', max_retries => 1, retry_delays => '{0}') AS j \gset
SELECT t_fetch('{f}') \g /dev/null
SELECT is(bgjob_fail(:j, 'w', 'boom', '{"sqlstate": "22012", "hint": "h", "detail": "d"}'), true, 'a worker reports a failure');
SELECT is((SELECT data FROM bgjob.job_states WHERE job_id = :j AND state = 'failed'),
	'{"sqlstate": "22012", "message": "boom", "detail": "d", "hint": "h", "context": null}', 'the history has the error');
CALL tap_wait_until(format('SELECT t_fetch(''{f}'') = ARRAY[%s]::bigint[]', :j));
SELECT is(t_state(:j), 'processing', 'it is tried again');
SELECT is((SELECT retries FROM bgjob.jobs WHERE id = :j), 1, 'which is a retry');
SELECT is(bgjob_fail(:j, 'w', 'again', '[1, 2]'), true, 'and fails again');
SELECT is((SELECT concat_ws(' ', state, reason, error -> 'data', error ->> 'sqlstate') FROM bgjob.jobs WHERE id = :j), 'failed again [1, 2] 38000',
	'without a retry left it has failed, with a detail that is kept as it is');
SELECT t_new('f') AS j \gset
SELECT t_fetch('{f}') \g /dev/null
SELECT is(bgjob_fail(:j, 'w', 'never', retry => false), true, 'a worker can say that no retry helps');
SELECT is(t_state(:j), 'failed', 'then there is none');
SELECT t_new('f') AS j \gset
SELECT t_new('f') AS behind \gset
SELECT t_fetch('{f}') \g /dev/null
SELECT is(bgjob_release(:j, 'w'), true, 'a worker gives a job back');
SELECT is((SELECT concat_ws(' ', state, reason, retries) FROM bgjob.jobs WHERE id = :j), 'enqueued Released by worker "w" 0', 'it waits again, and no retry is used');
SELECT is(t_fetch('{f}', 'w', 2), ARRAY[:j, :behind]::bigint[], 'at the head of its queue');
SELECT is(bgjob_release(:j, 'w', '1 h'), true, 'or for later');
SELECT is(t_state(:j), 'scheduled', 'then it is scheduled');
SELECT is(bgjob_delete(:j), true, 'it is deleted');
SELECT is(bgjob_complete(:behind, 'w'), true, 'the other one is done');

----------------------------------------------------------------------------------------------------
-- Leases that are over, time-outs
----------------------------------------------------------------------------------------------------

SELECT t_new('l') AS j \gset
SELECT is(t_fetch('{l}', 'w', 1, '10 ms'), ARRAY[:j]::bigint[], 'a job is fetched for 10 ms');
CALL tap_wait_until(format('SELECT t_state(%s) = ''enqueued''', :j));
SELECT ok(t_state(:j) = 'enqueued', 'when its lease is over it goes back');
SELECT is((SELECT concat_ws(' ', reason, retries, interruptions) FROM bgjob.jobs WHERE id = :j), 'Lost by worker "w": its lease has expired 0 1',
	'with the reason, and no retry is used');
SELECT is(bgjob_complete(:j, 'w'), false, 'a late answer does not count');
SELECT is(t_fetch('{l}', 'w', 1, '10 ms'), ARRAY[:j]::bigint[], 'it is fetched again');
CALL tap_wait_until(format('SELECT t_state(%s) = ''enqueued''', :j));
SELECT ok(t_state(:j) = 'enqueued', 'and lost again');
SELECT is(t_fetch('{l}', 'w', 1, '10 ms'), ARRAY[:j]::bigint[], 'and once more');
CALL tap_wait_until(format('SELECT t_state(%s) = ''scheduled''', :j));
SELECT ok(t_state(:j) = 'scheduled', 'the third loss in a row is a failure');
SELECT is((SELECT retries FROM bgjob.jobs WHERE id = :j), 1, 'which uses a retry');
SELECT is(bgjob_delete(:j), true, 'the job is deleted');
SELECT bgjob_enqueue('work', kind => 'external', queue => 'l', timeout => '20 ms', max_retries => 0) AS j \gset
SELECT is(t_fetch('{l}'), ARRAY[:j]::bigint[], 'a job with a timeout is fetched');
CALL tap_wait_until(format('SELECT t_state(%s) = ''failed''', :j));
SELECT ok(t_state(:j) = 'failed', 'when the timeout has passed the attempt has failed');
SELECT is((SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE id = :j), '57014', 'as one of a worker of the server would');
SELECT is(bgjob_complete(:j, 'w'), false, 'the worker is too late');
SELECT bgjob_enqueue('work', kind => 'external', queue => 'l', start_within => '1 ms') AS j \gset
SELECT pg_sleep(0.01) \g /dev/null
SELECT is(t_fetch('{l}'), '{}', 'a job that was to be started earlier is not given');
SELECT is((SELECT state || ' ' || reason FROM bgjob.jobs WHERE id = :j), 'deleted Expired', 'it is deleted');

----------------------------------------------------------------------------------------------------
-- What others do to a job that a worker has
----------------------------------------------------------------------------------------------------

SELECT t_new('o') AS j \gset
SELECT t_fetch('{o}') \g /dev/null
SELECT is(bgjob_change(:j, queue => 'p'), false, 'a job that is processed is not moved');
SELECT is(bgjob_delete(:j, 'enqueued'), false, 'it is not enqueued');
SELECT is(bgjob_delete(:j, 'processing'), true, 'it is deleted while it is processed');
SELECT is((SELECT state || ' ' || reason FROM bgjob.jobs WHERE id = :j), 'deleted Deleted while it was performed', 'at once');
SELECT is(bgjob_complete(:j, 'w'), false, 'its worker is too late');
SELECT is(bgjob_requeue(:j), true, 'it is requeued');
SELECT is(t_fetch('{o}'), ARRAY[:j]::bigint[], 'and fetched');
SELECT is(bgjob_requeue(:j), true, 'and requeued while it is processed');
SELECT is(t_fetch('{o}', 'v'), ARRAY[:j]::bigint[], 'so another worker has it');
SELECT is(bgjob_complete(:j, 'w'), false, 'the first one is too late');
SELECT is(bgjob_reschedule(:j, delay => '1 h'), true, 'it is rescheduled while it is processed');
SELECT is(t_state(:j), 'scheduled', 'and waits for its time');
SELECT is(bgjob_delete(:j), true, 'and is deleted');
SELECT bgjob_enqueue('work', kind => 'external', queue => 'o', unique_key => 'k') AS j \gset
SELECT t_fetch('{o}') \g /dev/null
SELECT is(bgjob_enqueue('work', kind => 'external', queue => 'o', unique_key => 'k'), :j::bigint, 'its key is taken');
SELECT bgjob_enqueue('work', kind => 'external', queue => 'o', unique_key => 'k', on_duplicate => 'supersede') AS new \gset
CALL tap_wait_until(format('SELECT t_state(%s) = ''deleted''', :j));
SELECT ok(t_state(:j) = 'deleted', 'one that supersedes it has it canceled');
CALL tap_wait_until(format('SELECT t_fetch(''{o}'') = ARRAY[%s]::bigint[]', :new));
SELECT is(t_state(:new), 'processing', 'and follows');
SELECT is(bgjob_complete(:new, 'w'), true, 'and is done');
SELECT bgjob_batch('b') AS b \gset
SELECT bgjob_enqueue('work', kind => 'external', queue => 'o', batch => :b) AS j \gset
SELECT bgjob_enqueue('work', kind => 'external', queue => 'o', after => ARRAY[:j]::bigint[]) AS next \gset
SELECT is(t_fetch('{o}', 'w', 5), ARRAY[:j]::bigint[], 'a job of a batch is fetched, and not what awaits it');
SELECT is((SELECT processing FROM bgjob.batches WHERE id = :b), 1::bigint, 'its batch counts it');
SELECT is(bgjob_complete(:j, 'w', '"r"'), true, 'it succeeds');
SELECT is((SELECT state FROM bgjob.batches WHERE id = :b), 'succeeded', 'and so does its batch');
SELECT is(t_fetch('{o}', 'w', 5), ARRAY[:next]::bigint[], 'and what awaited it can be fetched');
SELECT is(bgjob_complete(:next, 'w'), true, 'and is done');
SELECT bgjob_batch('c') AS b \gset
SELECT bgjob_enqueue('work', kind => 'external', queue => 'o', batch => :b) AS j \gset
SELECT t_fetch('{o}') \g /dev/null
SELECT is(bgjob_batch_cancel(:b), 1::bigint, 'the batch of a job that is processed is canceled');
SELECT is(t_state(:j), 'deleted', 'so the job is deleted');

----------------------------------------------------------------------------------------------------
-- Gates
----------------------------------------------------------------------------------------------------

SELECT bgjob_limit('tap32', 2) \g /dev/null
SELECT array_agg(bgjob_enqueue('work', kind => 'external', queue => 'g', limits => '{tap32}')) AS ids FROM generate_series(1, 5) \gset
SELECT is(t_fetch('{g}', 'w', 10), (:'ids'::bigint[])[1:2], 'a limit lets as many be fetched as it has places');
SELECT is(t_fetch('{g}', 'w', 10), '{}', 'and no more');
SELECT is((SELECT running || ' ' || waiting FROM bgjob.limits WHERE name = 'tap32'), '2 3', 'its view counts them');
SELECT is((SELECT array_agg(DISTINCT reason) FROM bgjob_why((:'ids'::bigint[])[4]) WHERE reason = 'limit'), ARRAY['limit'], 'bgjob_why() names it');
SELECT is(bgjob_complete((:'ids'::bigint[])[1], 'w'), true, 'one is done');
SELECT is(t_fetch('{g}', 'w', 10), (:'ids'::bigint[])[3:3], 'the next one comes at once');
SELECT is(bgjob_release((:'ids'::bigint[])[3], 'w'), true, 'one is given back');
CALL tap_wait_until(format('SELECT t_fetch(''{g}'', ''w'', 10) = ARRAY[%s]::bigint[]', (:'ids'::bigint[])[3]));
SELECT is(t_state((:'ids'::bigint[])[3]), 'processing', 'and is the first again');
SELECT is((SELECT count(*) FILTER (WHERE bgjob_delete(id)) FROM unnest(:'ids'::bigint[]) id), 5::bigint, 'all are deleted');
SELECT is((SELECT running || ' ' || waiting FROM bgjob.limits WHERE name = 'tap32'), '0 0', 'no place is held then');
SELECT array_agg(bgjob_enqueue('work', kind => 'external', queue => 'g', sequence_key => 's')) AS ids FROM generate_series(1, 3) \gset
SELECT is(t_fetch('{g}', 'w', 10), (:'ids'::bigint[])[1:1], 'of a sequence the first is fetched');
SELECT is(bgjob_fail((:'ids'::bigint[])[1], 'w', 'no', retry => false), true, 'it fails');
SELECT is(t_fetch('{g}', 'w', 10), '{}', 'and holds the others up');
SELECT is(bgjob_requeue((:'ids'::bigint[])[1]), true, 'it is requeued');
SELECT is(t_fetch('{g}', 'w', 10), (:'ids'::bigint[])[1:1], 'and goes first');
SELECT is(bgjob_complete((:'ids'::bigint[])[1], 'w'), true, 'it is done');
SELECT is(t_fetch('{g}', 'w', 10), (:'ids'::bigint[])[2:2], 'the second follows');
SELECT is(bgjob_complete((:'ids'::bigint[])[2], 'w'), true, 'it is done');
SELECT is(t_fetch('{g}', 'w', 10), (:'ids'::bigint[])[3:3], 'and the third');
SELECT is(bgjob_complete((:'ids'::bigint[])[3], 'w'), true, 'it is done, too');
SELECT bgjob_queue('g', max_running => 1) \g /dev/null
SELECT array_agg(t_new('g')) AS ids FROM generate_series(1, 2) \gset
SELECT is(t_fetch('{g}', 'w', 10), (:'ids'::bigint[])[1:1], 'the max_running of a queue holds');
SELECT is(bgjob_complete((:'ids'::bigint[])[1], 'w'), true, 'one is done');
SELECT is(bgjob_queue_pause('g'), true, 'the queue is paused');
SELECT is(t_fetch('{g}', 'w', 10), '{}', 'and gives nothing');
SELECT is(bgjob_queue_resume('g'), true, 'it is resumed');
CALL tap_wait_until(format('SELECT t_fetch(''{g}'', ''w'', 10) = ARRAY[%s]::bigint[]', (:'ids'::bigint[])[2]));
SELECT is(t_state((:'ids'::bigint[])[2]), 'processing', 'and gives the second');
SELECT is(bgjob_complete((:'ids'::bigint[])[2], 'w'), true, 'which is done');
SELECT is(bgjob_queue_remove('g'), true, 'the queue is as before');
SELECT array_agg(bgjob_enqueue('work', kind => 'external', queue => 'g', fairness_key => k)) AS ids FROM (SELECT 'many' AS k FROM generate_series(1, 100) UNION ALL SELECT 'few' FROM generate_series(1, 5)) x \gset
CREATE TABLE t_turns (n serial, id bigint);
CREATE PROCEDURE t_one_by_one(jobs int) LANGUAGE plpgsql AS $$
DECLARE
	job bigint;
	done int := 0;
	until timestamptz := clock_timestamp() + '1 min';
BEGIN
	WHILE done < jobs AND clock_timestamp() < until LOOP
		SELECT f.id INTO job FROM bgjob_fetch('{g}', 'w') f;
		COMMIT;
		IF job IS NOT NULL AND bgjob_complete(job, 'w') THEN
			INSERT INTO t_turns (id) VALUES (job);
			done := done + 1;
		END IF;
		COMMIT;
	END LOOP;
END$$;
CALL t_one_by_one(105);
SELECT is((SELECT count(DISTINCT id) FROM t_turns), 105::bigint, 'all jobs with fairness keys are fetched, each once');
SELECT cmp_ok((SELECT max(n) FROM t_turns WHERE id = ANY ((:'ids'::bigint[])[101:105])), '<', 60, 'those of the key with few jobs do not wait for all of the other one');

----------------------------------------------------------------------------------------------------
-- Transactions
----------------------------------------------------------------------------------------------------

SELECT t_new('t') AS j \gset
BEGIN;
SELECT is(t_fetch('{t}'), ARRAY[:j]::bigint[], 'a transaction fetches');
ROLLBACK;
SELECT is(t_state(:j), 'enqueued', 'a rollback gives the job back');
SELECT is((SELECT interruptions FROM bgjob.jobs WHERE id = :j), 0, 'as if nothing had been');
BEGIN;
SAVEPOINT s;
SELECT is(t_fetch('{t}'), ARRAY[:j]::bigint[], 'a savepoint fetches');
ROLLBACK TO s;
SELECT is(t_fetch('{t}', 'v'), ARRAY[:j]::bigint[], 'rolled back, the same transaction fetches the job for another worker');
COMMIT;
CREATE TABLE t_effects (job bigint);
BEGIN;
INSERT INTO t_effects VALUES (:j);
SELECT is(bgjob_complete(:j, 'w'), false, 'the first worker has nothing');
SELECT is(bgjob_complete(:j, 'v'), true, 'the other one completes it in a transaction with its effects');
ROLLBACK;
SELECT is(t_state(:j), 'processing', 'rolled back, it has the job as before');
BEGIN;
SAVEPOINT s;
SELECT is(bgjob_complete(:j, 'v'), true, 'it completes it in a savepoint');
ROLLBACK TO s;
INSERT INTO t_effects VALUES (:j);
SELECT is(bgjob_complete(:j, 'v'), true, 'and again when that is rolled back');
COMMIT;
SELECT is((SELECT count(*) FROM t_effects) || t_state(:j), '1succeeded', 'effects and success are there together');
BEGIN;
SELECT t_new('t') AS j \gset
SELECT is(t_fetch('{t}'), '{}', 'a job of the same transaction cannot be fetched');
COMMIT;
BEGIN;
SELECT is(t_fetch('{t}'), ARRAY[:j]::bigint[], 'after the commit it can');
SELECT is(bgjob_complete(:j, 'w'), true, 'and be completed in the same transaction');
COMMIT;
SELECT is(t_state(:j), 'succeeded', 'it has succeeded');
SELECT t_new('t') AS j \gset
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT is(t_fetch('{t}'), ARRAY[:j]::bigint[], 'a serializable transaction fetches');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT is(bgjob_delete(:j), true, 'another one deletes');
COMMIT;

----------------------------------------------------------------------------------------------------
-- Filters
----------------------------------------------------------------------------------------------------

CREATE TABLE t_seen (n serial, event text, state text, result jsonb);
CREATE FUNCTION t_filter(context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.t_seen (event, state, result) VALUES (context ->> 'event', context ->> 'state', context -> 'result');
	RETURN NULL;
END$$;
SELECT bgjob_filter('tap32_' || e, e, 't_filter', 'filtered%') FROM unnest('{performing,performed,applied}'::text[]) e \g /dev/null
SELECT t_new('x', 'filtered') AS j \gset
SELECT is(t_fetch('{x}'), ARRAY[:j]::bigint[], 'a job with filters is fetched');
SELECT is(bgjob_complete(:j, 'w', '5'), true, 'and completed');
SELECT is((SELECT string_agg(event, ' ' ORDER BY n) FROM t_seen), 'applied applied performing performed applied', 'its filters were called as for any job');
SELECT is((SELECT result FROM t_seen WHERE event = 'performed'), '5', 'and told the result');
CREATE FUNCTION t_cancel(context jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{"cancel": "not today"}'::jsonb $$;
SELECT bgjob_filter('tap32_cancel', 'performing', 't_cancel', 'canceled%') \g /dev/null
CREATE FUNCTION t_raise(context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'filter'; END$$;
SELECT bgjob_filter('tap32_raise', 'performing', 't_raise', 'raising%') \g /dev/null
SELECT t_new('x', 'canceled') AS j \gset
SELECT bgjob_enqueue('raising', kind => 'external', queue => 'x', max_retries => 0) AS k \gset
SELECT t_new('x') AS l \gset
SELECT is(t_fetch('{x}', 'w', 5), ARRAY[:l]::bigint[], 'jobs that filters do not want performed are not given, others are');
SELECT is((SELECT state || ' ' || reason FROM bgjob.jobs WHERE id = :j), 'deleted not today', 'one that a filter cancels is deleted');
SELECT is((SELECT state || ' ' || reason FROM bgjob.jobs WHERE id = :k), 'failed filter', 'the error of a filter is that of its job');
SELECT is(bgjob_complete(:l, 'w'), true, 'the other one is done');
SELECT bgjob_filter_remove('tap32_' || e) FROM unnest('{performing,performed,applied,cancel,raise}'::text[]) e \g /dev/null

----------------------------------------------------------------------------------------------------
-- Enqueueing in other ways
----------------------------------------------------------------------------------------------------

SELECT is((SELECT count(*) FROM bgjob_enqueue_many('work', array_fill('{"a": 1}'::jsonb, '{1000}'), kind => 'external', queue => 'm')), 1000::bigint, 'a thousand are enqueued at once');
SELECT is(cardinality(t_fetch('{m}', 'w', 1000)), 1000, 'and fetched at once');
SELECT is((SELECT count(*) FILTER (WHERE bgjob_complete(id, 'w')) FROM bgjob.jobs WHERE queue = 'm'), 1000::bigint, 'and completed at once');
CREATE TABLE t_rows (id int);
CREATE TRIGGER t AFTER INSERT ON t_rows FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('row came', 'kind=external', 'queue=r');
INSERT INTO t_rows VALUES (5);
SELECT is((SELECT job || args FROM bgjob_fetch('{r}', 'w')), 'row came{"id": 5}', 'a trigger enqueues for external workers');
SELECT is((SELECT bgjob_complete(id, 'w') FROM bgjob.jobs WHERE queue = 'r'), true, 'which is done');
SELECT bgjob_recurring('tap32', '@yearly', 'yearly', '{"y": 1}', kind => 'external', queue => 'r') \g /dev/null
SELECT bgjob_recurring_trigger('tap32') AS j \gset
SELECT is((SELECT job || args FROM bgjob_fetch('{r}', 'w')), 'yearly{"y": 1}', 'so does a recurring job');
SELECT is(bgjob_complete(:j, 'w'), true, 'which is done');
SELECT is((SELECT kind FROM bgjob.recurring_jobs WHERE name = 'tap32'), 'external', 'its view says so');
SELECT is(bgjob_recurring_remove('tap32'), true, 'it is removed');
SELECT bgjob_configure('configured', kind => 'external', queue => 'r', max_retries => 0, unique_key => 'u:{a}') \g /dev/null
SELECT is((SELECT kind || ' ' || queue FROM bgjob.functions WHERE job = 'configured'), 'external r', 'jobs of a name are configured');
SELECT bgjob_enqueue('configured', '{"a": "x"}', kind => 'external') AS j \gset
SELECT is((SELECT queue || ' ' || unique_key || ' ' || max_retries FROM bgjob.jobs WHERE id = :j), 'r u:x 0', 'which is in force for those that are enqueued later');
SELECT is(bgjob_delete(:j), true, 'the job is deleted');
SELECT is(bgjob_unconfigure('configured'), true, 'the configuration is removed');
SELECT bgjob_enqueue('work', '{"t": 7}', kind => 'external', queue => 'r', sequence_key => 's:{t}') AS j \gset
SELECT is((SELECT sequence_key FROM bgjob.jobs WHERE id = :j), 's:7', 'a placeholder is filled from the arguments');
SELECT is(bgjob_delete(:j), true, 'the job is deleted');
SELECT throws_ok($$ SELECT bgjob_run(bgjob_enqueue('work', kind => 'external', queue => 'r')) $$, '0A000', NULL, 'bgjob_run() is not for them');
SELECT bgjob_enqueue('work', kind => 'external', queue => 'r', run_as => 'tap32_nologin') AS j \gset
SELECT is((SELECT run_as::text FROM bgjob.jobs WHERE id = :j), 'tap32_nologin', 'a role without login can have external jobs');
SELECT is(t_fetch('{r}'), ARRAY[:j]::bigint[], 'they are fetched by a role that controls it');
SELECT is(bgjob_complete(:j, 'w'), true, 'and completed');

\ir lib/check_counters.sql
SELECT * FROM finish();
