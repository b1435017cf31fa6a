-- 03_states.sql
--
-- What this file proves:
--   * the history (bgjob.job_states) has every transition with its reason and the data that api.md names;
--   * a failed attempt with a retry left goes processing → failed → scheduled with the default back-off, one
--     without ends as 'failed' with the whole error;
--   * bgjob_delete, bgjob_requeue, bgjob_reschedule and their from_state; a running job is canceled;
--   * time-outs end an attempt with 57014;
--   * bgjob_wait: the state, NULL on time-out, 55000 in the enqueuing transaction;
--   * bgjob_purge deletes finished jobs, and finished jobs have an expiry.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser.

\ir lib/session.sql

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

----------------------------------------------------------------------------------------------------
-- Helpers
----------------------------------------------------------------------------------------------------

\ir lib/wait.sql
\ir lib/states.sql

-- tap_keys returns the sorted keys of the data of a job's last history entry of a state.
CREATE FUNCTION tap_keys(id bigint, wanted text) RETURNS text[] LANGUAGE sql AS $$
	SELECT ARRAY(SELECT k FROM jsonb_object_keys(s.data) k ORDER BY k)
	FROM bgjob.job_states s WHERE s.job_id = $1 AND s.state = wanted ORDER BY s.seq DESC LIMIT 1 $$;

-- tap_data returns the data of a job's last history entry of a state.
CREATE FUNCTION tap_data(id bigint, wanted text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT s.data FROM bgjob.job_states s WHERE s.job_id = $1 AND s.state = wanted ORDER BY s.seq DESC LIMIT 1 $$;

----------------------------------------------------------------------------------------------------
-- What the jobs of this file call
----------------------------------------------------------------------------------------------------

CREATE TABLE t_effect (label text, pid int DEFAULT pg_backend_pid(), at timestamptz DEFAULT clock_timestamp());
CREATE TABLE t_switch (sleeps boolean);
INSERT INTO t_switch VALUES (true);

CREATE FUNCTION t_good(label text = 'good') RETURNS text LANGUAGE sql AS
	$$ INSERT INTO t_effect (label) VALUES ($1) RETURNING t_effect.label $$;
CREATE FUNCTION t_bad(message text = 'it broke') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO t_effect (label) VALUES ('of a failed attempt');
	RAISE EXCEPTION '%', message USING ERRCODE = 'P1234', DETAIL = 'The detail.', HINT = 'The hint.';
END $$;
CREATE FUNCTION t_divide() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1 / 0; END $$;
CREATE FUNCTION t_sleep(label text = 'slept') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO t_effect (label) VALUES (label);
	IF (SELECT sleeps FROM t_switch) THEN
		PERFORM pg_sleep(120);
	END IF;
END $$;
-- Continues after every error that WHEN OTHERS traps; a cancel must end it anyway.
CREATE FUNCTION t_unresponsive() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 1200 LOOP
		BEGIN
			PERFORM pg_sleep(0.1);
		EXCEPTION WHEN OTHERS THEN
			NULL;
		END;
	END LOOP;
END $$;
-- A deferred constraint that fails at commit, after the function has succeeded.
CREATE TABLE t_parent (id int PRIMARY KEY);
CREATE TABLE t_child (parent int REFERENCES t_parent DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION t_orphan() RETURNS text LANGUAGE sql AS $$ INSERT INTO t_child VALUES (99) RETURNING 'fine so far'::text $$;
CREATE FUNCTION t_dropped() RETURNS void LANGUAGE sql AS $$ SELECT $$;

SELECT plan(118);

----------------------------------------------------------------------------------------------------
-- Success
----------------------------------------------------------------------------------------------------

SELECT clock_timestamp() AS t0 \gset
SELECT bgjob_enqueue('t_good', queue => 'mail') AS good \gset
SELECT is(bgjob_wait(:good, '20 s'), 'succeeded', 'a good job succeeds');
SELECT is(tap_states(:good), '{enqueued,processing,succeeded}'::text[], 'the history of a succeeded job: enqueued, processing, succeeded');
SELECT is((SELECT count(DISTINCT seq) FROM bgjob.job_states WHERE job_id = :good), 3::bigint, 'each entry has a seq of its own');
SELECT is((SELECT bool_and(at >= before) FROM (SELECT at, lag(at, 1, :'t0') OVER (ORDER BY seq) AS before
		FROM bgjob.job_states WHERE job_id = :good) s), true, 'times never go back along seq');
SELECT is(tap_data(:good, 'enqueued'), '{"queue": "mail"}'::jsonb, 'data of enqueued: the queue');
SELECT is(tap_keys(:good, 'processing'), '{attempt,server,worker_pid}'::text[], 'data of processing: server, worker_pid, attempt');
SELECT is(tap_data(:good, 'processing') - 'worker_pid', '{"server": "default", "attempt": 1}'::jsonb, 'first attempt, on server default');
SELECT is((tap_data(:good, 'processing') ->> 'worker_pid')::int, (SELECT pid FROM t_effect WHERE label = 'good'),
	'worker_pid is the process that ran it');
SELECT is(tap_keys(:good, 'succeeded'), '{duration_ms,latency_ms}'::text[], 'data of succeeded: duration_ms and latency_ms');
SELECT ok((tap_data(:good, 'succeeded') ->> 'duration_ms')::numeric BETWEEN 0 AND 20000, 'duration_ms is a number of milliseconds');
SELECT ok((tap_data(:good, 'succeeded') ->> 'latency_ms')::numeric BETWEEN 0 AND 20000, 'latency_ms is a number of milliseconds');
SELECT ok(created_at >= :'t0' AND started_at >= created_at AND finished_at >= started_at AND finished_at <= clock_timestamp(),
	'created_at, started_at and finished_at follow each other')
FROM bgjob.jobs WHERE id = :good;
SELECT is((SELECT format('%s/%s/%s', retries, interruptions, error) FROM bgjob.jobs WHERE id = :good), '0/0/',
	'no retries, no interruptions, no error');
SELECT ok((SELECT expires_at - finished_at BETWEEN '23:59' AND '24:01' FROM bgjob.jobs WHERE id = :good),
	'a succeeded job expires after 24 hours');

SELECT bgjob_enqueue('t_good', '["later"]', delay => '1 s') AS delayed \gset
SELECT is(tap_data(:delayed, 'scheduled'), (SELECT jsonb_build_object('run_at', run_at) FROM bgjob.jobs WHERE id = :delayed),
	'data of scheduled: run_at');
SELECT is(bgjob_wait(:delayed, '20 s'), 'succeeded', 'a delayed job succeeds');
SELECT is(tap_states(:delayed), '{scheduled,enqueued,processing,succeeded}'::text[],
	'its history: scheduled, enqueued, processing, succeeded');

----------------------------------------------------------------------------------------------------
-- Failure for good
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('t_bad', max_retries => 0) AS bad \gset
SELECT is(bgjob_wait(:bad, '20 s'), 'failed', 'a failing job without retries fails');
SELECT is(tap_states(:bad), '{enqueued,processing,failed}'::text[], 'the history of a failed job: enqueued, processing, failed');
SELECT is(tap_keys(:bad, 'failed'), '{context,detail,hint,message,sqlstate}'::text[],
	'data of failed: sqlstate, message, detail, hint, context');
SELECT is(tap_data(:bad, 'failed') - 'context',
	'{"sqlstate": "P1234", "message": "it broke", "detail": "The detail.", "hint": "The hint."}'::jsonb, 'the whole error is kept');
SELECT matches(tap_data(:bad, 'failed') ->> 'context', 't_bad.*RAISE', 'the error has its context');
SELECT is((SELECT error - 'context' FROM bgjob.jobs WHERE id = :bad),
	'{"sqlstate": "P1234", "message": "it broke", "detail": "The detail.", "hint": "The hint."}'::jsonb, 'bgjob.jobs.error has the whole error');
SELECT is((SELECT count(*) FROM t_effect WHERE label = 'of a failed attempt'), 0::bigint, 'the effects of a failed attempt are undone');
SELECT is((SELECT format('%s/%s/%s', retries, max_retries, result) FROM bgjob.jobs WHERE id = :bad), '0/0/', 'the failed job has no retry and no result');
SELECT is((SELECT expires_at FROM bgjob.jobs WHERE id = :bad), NULL::timestamptz, 'a failed job does not expire');
SELECT isnt((SELECT finished_at FROM bgjob.jobs WHERE id = :bad), NULL::timestamptz, 'a failed job has finished_at');

SELECT bgjob_enqueue('t_divide', max_retries => 0) AS divide \gset
SELECT is(bgjob_wait(:divide, '20 s'), 'failed', 'an error of the server fails the job');
SELECT is((SELECT format('%s %s', error ->> 'sqlstate', error ->> 'message') FROM bgjob.jobs WHERE id = :divide),
	'22012 division by zero', 'an error of the server keeps its SQLSTATE and message');

SELECT bgjob_enqueue('t_orphan', max_retries => 0) AS orphan \gset
SELECT is(bgjob_wait(:orphan, '20 s'), 'failed', 'an error at the commit, of a deferred constraint, fails the job');
SELECT is((SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE id = :orphan), '23503', 'an error at commit keeps the SQLSTATE of the constraint');
SELECT is(tap_states(:orphan), '{enqueued,processing,failed}'::text[], 'the history of a job that fails at commit has no success');

SELECT bgjob_enqueue('t_dropped', delay => '1 hour', max_retries => 0) AS dropped \gset
DROP FUNCTION t_dropped();
SELECT bgjob_requeue(:dropped) AS dropped_requeued \gset
SELECT is(bgjob_wait(:dropped, '20 s'), 'failed', 'a function dropped meanwhile fails its job');
SELECT is((SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE id = :dropped), '42883', 'a dropped function gives 42883');

----------------------------------------------------------------------------------------------------
-- Retries
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('t_bad', '["first try"]', max_retries => 3) AS retried \gset
CALL tap_state_is(:retried, 'scheduled');
SELECT is(tap_states(:retried), '{enqueued,processing,failed,scheduled}'::text[],
	'a failed attempt with a retry left: processing, failed, scheduled');
SELECT is((SELECT array_agg(reason ORDER BY seq) FROM bgjob.job_states WHERE job_id = :retried AND state = 'scheduled'),
	'{Retry attempt 1 of 3: first try}'::text[], 'the reason names the attempt and the message');
SELECT is((SELECT format('%s/%s/%s', state, reason, retries) FROM bgjob.jobs WHERE id = :retried),
	'scheduled/Retry attempt 1 of 3: first try/1', 'bgjob.jobs shows state, reason and the one retry');
SELECT is((SELECT error ->> 'message' FROM bgjob.jobs WHERE id = :retried), 'first try', 'bgjob.jobs shows the last error of a retried job');
SELECT is((SELECT expires_at FROM bgjob.jobs WHERE id = :retried), NULL::timestamptz, 'a job that waits for its retry does not expire');
SELECT is((tap_data(:retried, 'scheduled') ->> 'run_at')::timestamptz, (SELECT run_at FROM bgjob.jobs WHERE id = :retried),
	'run_at of the history is that of the job');

-- Runs the retry early: the second failure is followed by retry 2, with its longer back-off.
SELECT is(bgjob_reschedule(:retried, run_at => now()), true, 'a retry can be brought forward');
CALL tap_wait_until(format($$ SELECT retries = 2 AND state = 'scheduled' FROM bgjob.jobs WHERE id = %s $$, :retried));
SELECT is((SELECT reason FROM bgjob.jobs WHERE id = :retried), 'Retry attempt 2 of 3: first try', 'the next retry is attempt 2');
SELECT is((tap_data(:retried, 'processing') ->> 'attempt')::int, 2, 'the history counts the attempts');
SELECT ok(extract(epoch FROM j.run_at - s.at) BETWEEN 15 AND 75,
		format('retry 2 comes after 16 to 74 seconds (%s)', j.run_at - s.at))
FROM bgjob.jobs j JOIN bgjob.job_states s ON s.job_id = j.id AND s.state = 'failed'
WHERE j.id = :retried ORDER BY s.seq DESC LIMIT 1;

-- The default back-off of the first retry: 15 + random(0..29) seconds.
CREATE TABLE t_backoff AS SELECT * FROM bgjob_enqueue_many('t_bad', ARRAY(SELECT '[]'::jsonb FROM generate_series(1, 40))) AS id;
CALL tap_wait_until($$ SELECT count(*) = 40 FROM bgjob.jobs JOIN t_backoff USING (id) WHERE state = 'scheduled' AND retries = 1 $$);
CREATE TABLE t_delay AS
	SELECT id, extract(epoch FROM j.run_at - s.at) AS seconds
	FROM bgjob.jobs j JOIN t_backoff USING (id) JOIN bgjob.job_states s ON s.job_id = j.id AND s.state = 'failed';
SELECT is((SELECT count(*) FROM t_delay WHERE seconds BETWEEN 14 AND 45), 40::bigint, 'the first retry comes after 15 to 44 seconds');
SELECT cmp_ok((SELECT count(DISTINCT round(seconds)) FROM t_delay), '>=', 5::bigint, 'the delays of retries differ');
SELECT is((SELECT array_agg(DISTINCT reason) FROM bgjob.jobs JOIN t_backoff USING (id)), '{Retry attempt 1 of 10: it broke}'::text[],
	'there are ten retries by default');
SELECT is((SELECT count(*) FROM t_backoff WHERE bgjob_delete(id)), 40::bigint, 'scheduled retries can be deleted');

-- A wait does not end with an attempt that failed but will be retried.
SELECT bgjob_enqueue('t_bad', '["again"]', max_retries => 1) AS waited \gset
SELECT is(bgjob_wait(:waited, '1500 ms'), NULL, 'bgjob_wait goes on waiting after a failed attempt');
SELECT is(tap_state(:waited), 'scheduled', 'the job with a failed attempt waits for its retry');
SELECT bgjob_reschedule(:waited, delay => '0') AS waited_forward \gset
SELECT is(bgjob_wait(:waited, '20 s'), 'failed', 'after its last retry the job fails');
SELECT is(tap_states(:waited) = '{enqueued,processing,failed,scheduled}'::text[] || (tap_states(:waited))[5:], true,
	'its history goes on from the first attempt');
SELECT is((tap_states(:waited))[array_upper(tap_states(:waited), 1) - 1:], '{processing,failed}'::text[], 'the history of the retried job ends with processing, failed');
SELECT is((SELECT format('%s of %s', retries, max_retries) FROM bgjob.jobs WHERE id = :waited), '1 of 1', 'the job has used its one retry');

----------------------------------------------------------------------------------------------------
-- bgjob_delete
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('t_good', '["never"]', delay => '1 hour') AS del \gset
SELECT is(bgjob_delete(:del, 'succeeded'), false, 'delete with another from_state returns false');
SELECT is(tap_states(:del), '{scheduled}'::text[], 'a refused delete leaves the history unchanged');
SELECT is(bgjob_delete(:del, 'scheduled'), true, 'delete with the right from_state returns true');
SELECT is(tap_state(:del), 'deleted', 'the job is deleted');
SELECT is(tap_states(:del), '{scheduled,deleted}'::text[], 'the history has the deletion');
SELECT is(tap_data(:del, 'deleted'), '{}'::jsonb, 'data of deleted: an empty object');
SELECT is(bgjob_wait(:del, '5 s'), 'deleted', 'bgjob_wait on a deleted job returns at once');
SELECT ok((SELECT expires_at BETWEEN now() + interval '23:59' AND now() + interval '24:01' FROM bgjob.jobs WHERE id = :del),
	'a deleted job expires after 24 hours');
SELECT is(bgjob_delete(-1), false, 'delete of a missing job returns false');
SELECT is(bgjob_delete(9223372036854775807), false, 'delete of the largest id returns false');
SELECT is(bgjob_delete(:bad, 'failed'), true, 'a failed job can be deleted');

BEGIN;
SELECT bgjob_enqueue('t_good', '["never"]', delay => '1 hour') AS back \gset
COMMIT;
BEGIN;
SELECT bgjob_delete(:back) AS back_deleted \gset
ROLLBACK;
SELECT is(tap_states(:back), '{scheduled}'::text[], 'a rolled-back delete changes nothing');

-- Running jobs.
SELECT bgjob_enqueue('t_sleep', '["canceled"]') AS running \gset
CALL tap_state_is(:running, 'processing');
SELECT is(tap_state(:running), 'processing', 'a running job is shown as processing');
SELECT ok((SELECT server = 'default' AND started_at IS NOT NULL AND worker_pid IN (SELECT pid FROM pg_stat_activity)
	FROM bgjob.jobs WHERE id = :running), 'a running job has server, worker_pid and started_at');
SELECT is(bgjob_delete(:running, 'enqueued'), false, 'a running job is not in state enqueued');
SELECT clock_timestamp() AS deleted_at \gset
SELECT is(bgjob_delete(:running, 'processing'), true, 'a running job can be deleted');
SELECT is(bgjob_wait(:running, '10 s'), 'deleted', 'the running job is canceled and ends as deleted');
SELECT cmp_ok(clock_timestamp() - :'deleted_at', '<', interval '5 s', 'the cancellation takes a few seconds at most');
SELECT is(tap_states(:running), '{enqueued,processing,deleted}'::text[], 'the history of the canceled job: enqueued, processing, deleted');
SELECT is((SELECT count(*) FROM t_effect WHERE label = 'canceled'), 0::bigint, 'the effects of the canceled job are rolled back');
SELECT is((SELECT retries FROM bgjob.jobs WHERE id = :running), 0, 'the canceled job has no retry');

SELECT bgjob_enqueue('t_unresponsive') AS unresponsive \gset
CALL tap_state_is(:unresponsive, 'processing');
SELECT bgjob_delete(:unresponsive) AS unresponsive_deleted \gset
SELECT is(bgjob_wait(:unresponsive, '10 s'), 'deleted', 'a job that traps errors is canceled as well');

----------------------------------------------------------------------------------------------------
-- bgjob_requeue
----------------------------------------------------------------------------------------------------

SELECT is(bgjob_requeue(:good, 'failed'), false, 'requeue with another from_state returns false');
SELECT is(tap_states(:good), '{enqueued,processing,succeeded}'::text[], 'a refused requeue leaves the history unchanged');
SELECT is(bgjob_requeue(:good, 'succeeded'), true, 'requeue of a succeeded job returns true');
SELECT is(bgjob_wait(:good, '20 s'), 'succeeded', 'the requeued job runs again');
SELECT is(tap_states(:good), '{enqueued,processing,succeeded,enqueued,processing,succeeded}'::text[], 'the history of the requeued job continues');
SELECT is((SELECT count(*) FROM t_effect WHERE label = 'good'), 2::bigint, 'the requeued job has run twice');
SELECT is(bgjob_requeue(-1), false, 'requeue of a missing job returns false');
SELECT is(bgjob_requeue(:del, 'deleted'), true, 'a deleted job can be requeued');
SELECT is(bgjob_wait(:del, '20 s'), 'succeeded', 'the requeued deleted job succeeds');
SELECT is(bgjob_requeue(:back), true, 'a scheduled job can be requeued');
SELECT is(bgjob_wait(:back, '20 s'), 'succeeded', 'the requeued scheduled job runs before it was due');
SELECT is(bgjob_requeue(:divide), true, 'a failed job can be requeued');
SELECT is(bgjob_wait(:divide, '20 s'), 'failed', 'the requeued failed job fails again');
SELECT is(tap_states(:divide), '{enqueued,processing,failed,enqueued,processing,failed}'::text[], 'the history has both failures');

SELECT bgjob_enqueue('t_sleep', '["requeued"]') AS rerun \gset
CALL tap_state_is(:rerun, 'processing');
UPDATE t_switch SET sleeps = false;
SELECT is(bgjob_requeue(:rerun), true, 'a running job can be requeued');
SELECT is(bgjob_wait(:rerun, '20 s'), 'succeeded', 'the requeued running job is canceled and runs again');
SELECT is((SELECT count(*) FROM t_effect WHERE label = 'requeued'), 1::bigint, 'the requeued running job has the effects of one run');
UPDATE t_switch SET sleeps = true;

----------------------------------------------------------------------------------------------------
-- bgjob_reschedule
----------------------------------------------------------------------------------------------------

SELECT is(bgjob_reschedule(:good, run_at => '2999-01-01 00:00+00', from_state => 'failed'), false,
	'reschedule: false where from_state is another one');
SELECT is(bgjob_reschedule(:good, run_at => '2999-01-01 00:00+00', from_state => 'succeeded'), true, 'reschedule of a finished job returns true');
SELECT is((SELECT format('%s %s %s', state, run_at = '2999-01-01 00:00+00', expires_at IS NULL) FROM bgjob.jobs WHERE id = :good),
	'scheduled t t', 'a rescheduled finished job is scheduled and does not expire');
SELECT is(bgjob_reschedule(:good, delay => '0'), true, 'a job is rescheduled to now');
SELECT is(bgjob_wait(:good, '20 s'), 'succeeded', 'the job rescheduled to now runs');
SELECT is(bgjob_reschedule(-1, delay => '1 s'), false, 'reschedule of a missing job returns false');
SELECT throws_ok(format('SELECT bgjob_reschedule(%s, now(), ''1 s'')', :good), '22023', NULL, 'run_at together with delay raises 22023');
SELECT throws_ok(format('SELECT bgjob_reschedule(%s)', :good), '22023', NULL, 'reschedule without run_at and delay raises 22023');

----------------------------------------------------------------------------------------------------
-- Time-outs
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('t_sleep', '["timed out"]', timeout => '300 ms', max_retries => 0) AS timed \gset
SELECT is(bgjob_wait(:timed, '20 s'), 'failed', 'a job over its timeout fails');
SELECT is((SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE id = :timed), '57014', 'the timed-out job has SQLSTATE 57014');
SELECT ok((tap_data(:timed, 'failed') ->> 'message') ILIKE '%time%', 'the message of the timed-out job names the timeout');
SELECT ok((SELECT finished_at - started_at BETWEEN '250 ms' AND '5 s' FROM bgjob.jobs WHERE id = :timed), 'the timed-out job ends after its timeout');

----------------------------------------------------------------------------------------------------
-- bgjob_wait
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('t_good', '["far"]', delay => '1 hour') AS far \gset
SELECT clock_timestamp() AS wait_from \gset
SELECT is(bgjob_wait(:far, '300 ms'), NULL, 'bgjob_wait returns null after its timeout');
SELECT ok(clock_timestamp() - :'wait_from'::timestamptz BETWEEN '300 ms' AND '5 s', 'bgjob_wait waits for its whole timeout');
SELECT throws_ok($$ SELECT bgjob_wait(bgjob_enqueue('t_good'), '1 s') $$, '55000', NULL,
	'bgjob_wait is refused in the transaction that enqueued the job');

----------------------------------------------------------------------------------------------------
-- bgjob_purge
----------------------------------------------------------------------------------------------------

CALL tap_idle();
SELECT count(*) FILTER (WHERE state = 'succeeded') AS succeeded, count(*) FILTER (WHERE state = 'deleted') AS deleted,
	count(*) FILTER (WHERE state = 'failed') AS failed FROM bgjob.jobs \gset
SELECT is(bgjob_purge('succeeded', '1 hour'), 0::bigint, 'purge removes no job younger than older_than');
SELECT is(bgjob_purge('succeeded'), :succeeded::bigint, 'purge returns the number of removed succeeded jobs');
SELECT is(bgjob_purge('deleted', '0'), :deleted::bigint, 'purge returns the number of removed deleted jobs');
SELECT is(bgjob_purge('failed'), :failed::bigint, 'purge returns the number of removed failed jobs');
SELECT is((SELECT array_agg(DISTINCT state) FROM bgjob.jobs), '{scheduled}'::text[], 'only unfinished jobs are left');
SELECT is((SELECT count(*) FROM bgjob.job_states WHERE job_id = :good), 0::bigint, 'the history of a purged job is removed');
SELECT throws_ok($$ SELECT bgjob_purge('enqueued') $$, '22023', NULL, 'purge of unfinished jobs raises 22023');
SELECT throws_ok($$ SELECT bgjob_purge('nonsense') $$, '22023', NULL, 'purge of an unknown state raises 22023');
SELECT is(bgjob_delete(:far), true, 'an unfinished job stays after the purge');

\ir lib/check_counters.sql
SELECT * FROM finish();
