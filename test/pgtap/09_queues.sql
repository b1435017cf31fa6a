-- 09_queues.sql
--
-- What this file proves (doc/manual.md, "bgjob_queue"):
--   * which roles may configure queues, and the valid values; a null argument changes nothing;
--   * bgjob.queues shows configured queues, also without jobs, and the defaults of all others;
--   * jobs of a paused queue do not start, however they were enqueued, and can be controlled; they delay no other
--     jobs; after a resume they run in order;
--   * a pause takes effect at its commit, also for jobs enqueued right after it; a pause or resume that is rolled
--     back has no effect;
--   * bgjob_queue_remove restores the defaults; the retention of a queue;
--   * DROP EXTENSION removes the configuration.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser. It changes bgjob.workers with ALTER
-- SYSTEM and resets it at its end: do not run it beside other files. It drops and creates the extension.

\ir lib/session.sql

-- Set before CREATE EXTENSION, so that the scheduler of the database starts with it.
ALTER SYSTEM SET bgjob.workers = 1;
SELECT pg_reload_conf() AS reloaded \gset

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap09_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap09_' \gexec
CREATE ROLE tap09_plain LOGIN;
GRANT USAGE ON SCHEMA bgjob TO tap09_plain;

----------------------------------------------------------------------------------------------------
-- Helpers
----------------------------------------------------------------------------------------------------

\ir lib/wait.sql
\ir lib/states.sql
\ir lib/errors.sql

CREATE FUNCTION tap_queue(name text) RETURNS text LANGUAGE sql AS
	$$ SELECT coalesce((SELECT format('%s/%s', paused, group_size) FROM bgjob.queues WHERE queue = name), 'not shown') $$;

----------------------------------------------------------------------------------------------------
-- What the jobs of this file call
----------------------------------------------------------------------------------------------------

CREATE TABLE t_ran (n serial, label text, at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION t_run(label text) RETURNS text LANGUAGE sql AS $$ INSERT INTO t_ran (label) VALUES (label) RETURNING label $$;
CREATE FUNCTION t_bad(label text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '%', label; END $$;
CREATE FUNCTION t_slow(label text) RETURNS void LANGUAGE plpgsql AS
	$$ BEGIN PERFORM pg_sleep(0.005); INSERT INTO t_ran (label) VALUES (label); END $$;
-- Waits until this session releases the lock.
CREATE FUNCTION t_block(label text) RETURNS void LANGUAGE sql AS $$
	SELECT pg_advisory_xact_lock(9009);
	INSERT INTO t_ran (label) VALUES (label) $$;
CREATE FUNCTION t_order() RETURNS text[] LANGUAGE sql AS $$ SELECT array_agg(label ORDER BY n) FROM t_ran $$;

-- With one worker: when the last job with the lowest priority has ended, all jobs that may start have started.
CREATE PROCEDURE tap_pass() LANGUAGE plpgsql AS $$
DECLARE
	marker bigint := bgjob_enqueue('SELECT 1', kind => 'sql', queue => 'marker', priority => -32768);
BEGIN
	COMMIT;
	CALL tap_state_is(marker, 'succeeded');
END $$;

SELECT * FROM no_plan();

CALL tap_wait_setting('bgjob.workers', '1');
CALL tap_wait_until('SELECT count(*) = 1 FROM bgjob.workers');
SELECT is((SELECT count(*) FROM bgjob.workers), 1::bigint, 'there is one worker');

----------------------------------------------------------------------------------------------------
-- Arguments and rights
----------------------------------------------------------------------------------------------------

CREATE TABLE t_wrong (n serial, call text, code text, what text);
INSERT INTO t_wrong (call, code, what) VALUES
	($$bgjob_queue('')$$, '22023', 'an empty name'),
	($$bgjob_queue('Mail')$$, '22023', 'a name with a capital letter'),
	($$bgjob_queue('two words')$$, '22023', 'a name with a blank'),
	($$bgjob_queue('mäil')$$, '22023', 'a name with another letter'),
	($$bgjob_queue('*')$$, '22023', 'the name *'),
	($$bgjob_queue(E'mail\n')$$, '22023', 'a name with a newline at its end'),
	($$bgjob_queue(repeat('q', 64))$$, '22023', 'a name of 64 characters'),
	($$bgjob_queue('wrong', group_size => 0)$$, '22023', 'group_size 0'),
	($$bgjob_queue('wrong', group_size => -1)$$, '22023', 'group_size -1'),
	($$bgjob_queue('wrong', group_size => 1001)$$, '22023', 'group_size 1001'),
	($$bgjob_queue('wrong', group_size => 2147483647)$$, '22023', 'the largest integer as group_size'),
	($$bgjob_queue('wrong', retention => '-1 s')$$, '22023', 'a negative retention'),
	($$bgjob_queue('wrong', retention => '-1 month')$$, '22023', 'a negative retention in months'),
	($$bgjob_queue('wrong', retention => '1 day -25 hours')$$, '22023', 'a retention whose sum is negative'),
	($$bgjob_queue('wrong', paused => true, retention => '-1 s')$$, '22023', 'a right option beside a wrong one'),
	($$bgjob_queue('wrong', max_running => -2)$$, '22023', 'max_running -2'),
	($$bgjob_queue('wrong', max_length => -2, paused => true)$$, '22023', 'max_length -2 beside another option'),
	($$bgjob_queue_pause('No')$$, '22023', 'pause: a wrong name'),
	($$bgjob_queue_resume('No')$$, '22023', 'resume: a wrong name'),
	($$bgjob_queue_remove('No')$$, '22023', 'remove: a wrong name'),
	($$bgjob_queue_pause('')$$, '22023', 'pause: an empty name'),
	($$bgjob_queue_pause(repeat('q', 100000))$$, '22023', 'pause: a very long name'),
	($$bgjob_queue(NULL)$$, '22004', 'a null name'),
	($$bgjob_queue(NULL, paused => true)$$, '22004', 'a null name, and an option'),
	($$bgjob_queue_pause(NULL)$$, '22004', 'pause: a null name'),
	($$bgjob_queue_resume(NULL)$$, '22004', 'resume: a null name'),
	($$bgjob_queue_remove(NULL)$$, '22004', 'remove: a null name');
SELECT is(tap_try('SELECT ' || call), 'ERROR ' || code, what || ' is refused with ' || code) FROM t_wrong ORDER BY n;
SELECT is(tap_lacks('SELECT ' || call), '', what || ': the error has message, detail and hint') FROM t_wrong ORDER BY n;
SELECT is_empty($$ SELECT * FROM bgjob.queues WHERE queue NOT IN ('default', 'marker') $$, 'refused calls leave no configuration');

SELECT is(tap_try(call, 'tap09_plain'), 'ERROR 42501', call || ' is not for everybody')
FROM unnest(ARRAY[$$SELECT bgjob_queue('mail')$$, $$SELECT bgjob_queue('mail', group_size => 10)$$, $$SELECT bgjob_queue('mail', paused => true)$$,
	$$SELECT bgjob_queue('mail', retention => '1 s')$$, $$SELECT bgjob_queue_pause('mail')$$, $$SELECT bgjob_queue_resume('mail')$$,
	$$SELECT bgjob_queue_remove('mail')$$]) AS call;
SELECT is(tap_try($$SELECT paused FROM bgjob.queues WHERE queue = 'default'$$, 'tap09_plain'), 'false', 'every role can read bgjob.queues');
SELECT is(tap_queue('mail'), 'not shown', 'denied calls configure nothing');

----------------------------------------------------------------------------------------------------
-- Configurations, as bgjob.queues shows them
----------------------------------------------------------------------------------------------------

SELECT is(tap_queue('default'), 'f/1', 'the queue default has the defaults: not paused, groups of 1');
SELECT is((SELECT pg_typeof(bgjob_queue('mail', group_size => 10))::text), 'void', 'bgjob_queue returns void');
SELECT is(tap_queue('mail'), 'f/10', 'a configured queue without jobs is shown');
SELECT is((SELECT ROW(enqueued, processing, scheduled, failed, oldest_enqueued_at, max_running)::text FROM bgjob.queues WHERE queue = 'mail'), '(0,0,0,0,,)',
	'with all its numbers at 0');
SELECT bgjob_queue('mail', paused => true);
SELECT is(tap_queue('mail'), 't/10', 'group_size is unchanged when paused is set');
SELECT bgjob_queue('mail', group_size => 20);
SELECT is(tap_queue('mail'), 't/20', 'paused is unchanged when group_size is set');
SELECT bgjob_queue('mail', retention => '2 hours');
SELECT is(tap_queue('mail'), 't/20', 'both are unchanged when retention is set');
SELECT bgjob_queue('mail');
SELECT is(tap_queue('mail'), 't/20', 'a call without options changes nothing');
SELECT bgjob_queue('mail', paused => false, group_size => 1000);
SELECT is(tap_queue('mail'), 'f/1000', 'group_size 1000 and a second option can be set at once');
SELECT is(bgjob_queue_pause('mail'), true, 'pausing an active queue returns true');
SELECT is(tap_queue('mail'), 't/1000', 'pausing leaves group_size unchanged');
SELECT is(bgjob_queue_resume('mail'), true, 'resuming a paused queue returns true');
SELECT is(tap_queue('mail'), 'f/1000', 'resuming leaves group_size unchanged');
SELECT bgjob_queue('mail', group_size => 1);
SELECT is(tap_queue('mail'), 'f/1', 'group_size can be set to 1 again');
SELECT lives_ok($$ SELECT bgjob_queue(repeat('q', 63)), bgjob_queue('0'), bgjob_queue('_'), bgjob_queue('-') $$,
	'names of 63 characters, of a digit, an underscore and a dash are right');
SELECT is((SELECT count(*) FROM unnest(ARRAY[repeat('q', 63), '0', '_', '-']) q WHERE bgjob_queue_remove(q)), 4::bigint,
	'a queue that was configured with nothing can be removed');
SELECT is(tap_queue('0'), 'not shown', 'the removed queue is not shown');

SELECT bgjob_enqueue('t_run', '["u"]', queue => 'unconfigured') AS u \gset
SELECT is(bgjob_wait(:u, '60 s'), 'succeeded', 'jobs run in a queue that is not configured');
SELECT bgjob_enqueue('t_run', '["u"]', queue => 'unconfigured', delay => '1 hour') AS u \gset
SELECT is(tap_queue('unconfigured'), 'f/1', 'an unconfigured queue with jobs is shown with the defaults');
SELECT is(bgjob_queue_remove('unconfigured'), false, 'removing the configuration of an unconfigured queue returns false');

SELECT is(bgjob_queue_resume('never-seen'), false, 'resuming an unknown queue returns false');
SELECT is(bgjob_queue_pause('never-seen'), true, 'pausing an unknown queue returns true');
SELECT is(bgjob_queue_pause('never-seen'), false, 'pausing it again returns false');
SELECT is(tap_queue('never-seen'), 't/1', 'the unknown queue is shown as paused');
SELECT is(bgjob_queue_remove('never-seen'), true, 'removing its configuration returns true');
SELECT is(bgjob_queue_remove('never-seen'), false, 'removing it again returns false');
SELECT is(bgjob_queue_resume('never-seen'), false, 'it is not paused after the removal');

TRUNCATE t_ran RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- A paused queue
----------------------------------------------------------------------------------------------------

SELECT is(bgjob_queue_pause('p'), true, 'queue p is paused');
SELECT bgjob_enqueue('t_run', '["p1"]', queue => 'p', priority => 100) AS p1 \gset
SELECT bgjob_enqueue('t_run', '["p2"]', queue => 'p') AS p2 \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_run', ARRAY(SELECT jsonb_build_array('p' || i) FROM generate_series(3, 20) i), queue => 'p') \gset
SELECT bgjob_enqueue('t_run', '["p scheduled"]', queue => 'p', delay => '300 ms') AS due \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_run', ARRAY(SELECT jsonb_build_array('other' || i) FROM generate_series(1, 100) i), queue => 'other') \gset
CALL tap_wait_until($$ SELECT count(*) = 100 FROM t_ran WHERE label LIKE 'other%' $$);
SELECT is((SELECT count(*) FROM t_ran WHERE label LIKE 'other%'), 100::bigint, 'a hundred jobs of another queue run although paused ones are before them');
CALL tap_state_is(:due, 'enqueued');
SELECT is(tap_state(:due), 'enqueued', 'a delayed job of a paused queue becomes enqueued when it is due');
SELECT is(tap_states(:due), '{scheduled,enqueued}'::text[], 'the history of the delayed job: scheduled, enqueued');
CALL tap_pass();
SELECT is((SELECT count(*) FROM t_ran WHERE label LIKE 'p%'), 0::bigint, 'no job of the paused queue has run');
SELECT is((SELECT array_agg(DISTINCT state) FROM bgjob.jobs WHERE queue = 'p'), '{enqueued}'::text[], 'all jobs of the paused queue are enqueued');
SELECT is((SELECT array_agg(DISTINCT s.state) FROM bgjob.job_states s JOIN bgjob.jobs j ON j.id = s.job_id WHERE j.queue = 'p' AND j.id <> :due),
	'{enqueued}'::text[], 'their histories have no other state');
SELECT is((SELECT format('%s/%s/%s/%s', paused, enqueued, processing, scheduled) FROM bgjob.queues WHERE queue = 'p'), 't/21/0/0',
	'bgjob.queues counts them');

SELECT is(bgjob_delete(:p2), true, 'a job of a paused queue can be deleted');
SELECT is(tap_state(:p2), 'deleted', 'the job of the paused queue is deleted');
SELECT is(bgjob_requeue(:p2), true, 'the deleted job can be requeued');
SELECT is(tap_state(:p2), 'enqueued', 'the requeued job of the paused queue is enqueued');
SELECT is(bgjob_requeue(:p1), true, 'an enqueued job of a paused queue can be requeued');
SELECT id AS p3 FROM bgjob.jobs WHERE args = '["p3"]' \gset
SELECT is(bgjob_delete(:p3, 'enqueued'), true, 'an enqueued job can be deleted with from_state enqueued');
SELECT is(bgjob_delete(:p3, 'processing'), false, 'it cannot be deleted with from_state processing');
SELECT is(bgjob_reschedule(:due, delay => '1 hour'), true, 'a job of a paused queue can be rescheduled');
CALL tap_pass();
SELECT is((SELECT array_agg(DISTINCT state ORDER BY state) FROM bgjob.jobs WHERE queue = 'p'), '{deleted,enqueued,scheduled}'::text[],
	'none of this has started one');
SELECT is((SELECT count(*) FROM t_ran WHERE label LIKE 'p%'), 0::bigint, 'no job of the paused queue has an effect');
SELECT is(bgjob_wait(:p1, '100 ms'), NULL, 'bgjob_wait goes on waiting for a job of a paused queue');

-- A session that waits for a job of a paused queue is woken when the job ends.
SELECT is(bgjob_queue_resume('p'), true, 'queue p is resumed');
SELECT is(bgjob_wait(:p1, '60 s'), 'succeeded', 'the first job of the resumed queue runs');
CALL tap_wait_until($$ SELECT count(*) = 19 FROM t_ran WHERE label LIKE 'p%' $$);
SELECT is((SELECT array_agg(label ORDER BY n) FROM t_ran WHERE label LIKE 'p%'),
	ARRAY['p1'] || ARRAY(SELECT 'p' || i FROM generate_series(4, 20) i) || ARRAY['p2'],
	'the others run, too, in order: by priority, first in, first out, the requeued ones at the end of their line');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE queue = 'p' AND state = 'succeeded'), 19::bigint, 'all enqueued jobs of the resumed queue have succeeded');
SELECT is(tap_state(:p3), 'deleted', 'the deleted job of the resumed queue stays deleted');
SELECT is(tap_queue('p'), 'f/1', 'the resumed queue is not paused');
TRUNCATE t_ran RESTART IDENTITY;

-- A job that runs when its queue is paused continues; the next job does not start.
SELECT pg_advisory_lock(9009) AS locked \gset
BEGIN;
SELECT bgjob_enqueue('t_block', '["running"]', queue => 'p') AS running \gset
SELECT bgjob_enqueue('t_run', '["next"]', queue => 'p') AS next \gset
COMMIT;
CALL tap_state_is(:running, 'processing');
SELECT is(bgjob_queue_pause('p'), true, 'queue p is paused while a job of it runs');
SELECT is(tap_state(:running), 'processing', 'the running job of the paused queue continues');
SELECT pg_advisory_unlock(9009) AS unlocked \gset
SELECT is(bgjob_wait(:running, '60 s'), 'succeeded', 'the running job of the paused queue succeeds');
CALL tap_pass();
SELECT is(tap_states(:next), '{enqueued}'::text[], 'the next job of the paused queue is not started');

-- A failed job requeued in a paused queue, and a retry that becomes due there.
SELECT is(bgjob_queue_resume('p'), true, 'queue p is resumed');
SELECT is(bgjob_wait(:next, '60 s'), 'succeeded', 'the next job runs after the resume');
SELECT bgjob_enqueue('t_bad', '["bad"]', queue => 'p', max_retries => 0) AS bad \gset
SELECT bgjob_enqueue('t_bad', '["retried"]', queue => 'p', max_retries => 1) AS retried \gset
SELECT is(bgjob_wait(:bad, '60 s'), 'failed', 'a job of queue p fails');
CALL tap_state_is(:retried, 'scheduled');
SELECT bgjob_queue('p', paused => true);
SELECT is(bgjob_requeue(:bad), true, 'the failed job is requeued after its queue was paused');
SELECT is(bgjob_reschedule(:retried, delay => '0'), true, 'a retry becomes due in the paused queue');
CALL tap_state_is(:retried, 'enqueued');
CALL tap_pass();
SELECT is(ARRAY[tap_state(:bad), tap_state(:retried)], '{enqueued,enqueued}'::text[], 'neither the requeued job nor the retry is started');
SELECT is(bgjob_delete(:retried), true, 'the retry is deleted');
SELECT bgjob_queue('p', paused => false);
SELECT is(bgjob_wait(:bad, '60 s'), 'failed', 'the requeued job runs when the queue is resumed');
SELECT is(tap_states(:bad), '{enqueued,processing,failed,enqueued,processing,failed}'::text[], 'the requeued job runs once');
TRUNCATE t_ran RESTART IDENTITY;

-- A queue that is paused while many of its jobs run, singly and in groups.
CREATE TABLE t_middle (n serial, size int, before bigint, started_after bigint, left_over bigint, at timestamptz);
CREATE PROCEDURE t_pause_in_middle(size int) LANGUAGE plpgsql AS $$
DECLARE
	name text := 'middle' || size;
	began bigint := nextval('t_ran_n_seq');
	m t_middle;
BEGIN
	PERFORM bgjob_queue(name, group_size => size);
	COMMIT;
	PERFORM bgjob_enqueue_many('t_slow', ARRAY(SELECT jsonb_build_array(name || '/' || i) FROM generate_series(1, 1000) i), queue => name);
	COMMIT;
	-- The sequence is visible without a commit.
	CALL tap_wait_until(format('SELECT last_value >= %s FROM t_ran_n_seq', began + 20));
	PERFORM bgjob_queue_pause(name);
	COMMIT;
	m.at := clock_timestamp();
	CALL tap_pass();
	SELECT count(*), count(*) FILTER (WHERE started_at > m.at) FROM bgjob.jobs WHERE queue = name AND state = 'succeeded'
		INTO m.before, m.started_after;
	SELECT count(*) FROM bgjob.jobs WHERE queue = name AND state = 'enqueued' INTO m.left_over;
	INSERT INTO t_middle (size, before, started_after, left_over, at) VALUES (size, m.before, m.started_after, m.left_over, m.at);
	COMMIT;
	PERFORM bgjob_queue_resume(name);
	COMMIT;
	CALL tap_wait_until(format($w$ SELECT count(*) = 1000 FROM bgjob.jobs WHERE queue = %L AND state = 'succeeded' $w$, name));
END $$;
CALL t_pause_in_middle(1);
CALL t_pause_in_middle(100);
SELECT ok(before >= 20 AND left_over > 0 AND before + left_over = 1000,
	format('groups of %s: a queue can be paused in the middle of its jobs (%s had run, %s had not)', size, before, left_over)) FROM t_middle ORDER BY n;
-- One job may be starting when the pause commits.
SELECT cmp_ok(started_after, '<=', 1::bigint, format('groups of %s: no job is started after the pause', size)) FROM t_middle ORDER BY n;
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE queue = 'middle' || size AND state = 'succeeded'), 1000::bigint,
	format('groups of %s: resumed, all of them run', size)) FROM t_middle ORDER BY n;
SELECT is((SELECT array_agg(split_part(label, '/', 2)::int ORDER BY t.n) FROM t_ran t WHERE label LIKE 'middle' || size || '/%'),
	ARRAY(SELECT generate_series(1, 1000)), format('groups of %s: each once, in order', size)) FROM t_middle ORDER BY n;
TRUNCATE t_ran RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- Pauses and transactions
----------------------------------------------------------------------------------------------------

BEGIN;
SELECT is(bgjob_queue_pause('tx'), true, 'pausing in a transaction returns true');
SELECT is(tap_queue('tx'), 't/1', 'the transaction sees the paused queue');
ROLLBACK;
SELECT is(tap_queue('tx'), 'not shown', 'the rolled-back pause has no effect');
SELECT bgjob_enqueue('t_run', '["tx"]', queue => 'tx') AS tx \gset
SELECT is(bgjob_wait(:tx, '60 s'), 'succeeded', 'a job of that queue runs after the rollback');

BEGIN;
SAVEPOINT s;
SELECT bgjob_queue_pause('tx') AS paused \gset
SELECT bgjob_queue('tx', group_size => 7);
ROLLBACK TO s;
SELECT bgjob_enqueue('t_run', '["tx"]', queue => 'tx') AS tx \gset
COMMIT;
SELECT is(bgjob_wait(:tx, '60 s'), 'succeeded', 'a job runs after a pause in a rolled-back savepoint');
SELECT is(tap_queue('tx'), 'not shown', 'the pause in the savepoint has left no configuration');

BEGIN;
SAVEPOINT s;
SELECT bgjob_queue_pause('tx') AS paused \gset
RELEASE s;
SELECT bgjob_enqueue('t_run', '["tx"]', queue => 'tx') AS tx \gset
COMMIT;
CALL tap_pass();
SELECT is(tap_states(:tx), '{enqueued}'::text[], 'a job enqueued in the transaction that pauses its queue is not started');

BEGIN;
SELECT bgjob_queue_resume('tx') AS resumed \gset
ROLLBACK;
CALL tap_pass();
SELECT is(tap_state(:tx), 'enqueued', 'a rolled-back resume starts no job');
BEGIN;
SELECT bgjob_queue_resume('tx') AS resumed \gset
SAVEPOINT s;
SELECT bgjob_queue_remove('tx') AS removed \gset
ROLLBACK TO s;
SELECT bgjob_queue_pause('tx') AS paused \gset
COMMIT;
CALL tap_pass();
SELECT is(tap_state(:tx), 'enqueued', 'a resume undone in the same transaction starts no job');
SELECT is(tap_queue('tx'), 't/1', 'the queue is paused after that transaction');
BEGIN;
SELECT bgjob_queue_remove('tx') AS removed \gset
ROLLBACK;
CALL tap_pass();
SELECT is(tap_state(:tx), 'enqueued', 'a rolled-back remove starts no job');
BEGIN;
SELECT bgjob_queue_resume('tx') AS resumed \gset
SAVEPOINT s;
SELECT bgjob_queue_pause('tx') AS paused \gset
ROLLBACK TO s;
COMMIT;
SELECT is(bgjob_wait(:tx, '60 s'), 'succeeded', 'a resume before a rolled-back pause is in force');
SELECT is(bgjob_queue_remove('tx'), true, 'queue tx is removed');

-- No other session sees a pause before it commits: another session's job would run.
BEGIN;
SELECT bgjob_queue_pause('prepared') AS paused \gset
SELECT tap_try($$SELECT 1$$) AS x \gset
PREPARE TRANSACTION 'tap09';
SELECT bgjob_enqueue('t_run', '["prepared"]', queue => 'prepared') AS p \gset
SELECT is(bgjob_wait(:p, '60 s'), 'succeeded', 'a prepared pause is not in force');
COMMIT PREPARED 'tap09';
SELECT is(tap_queue('prepared'), 't/1', 'the pause is there after COMMIT PREPARED');
CALL tap_wait_stopped('prepared'); -- the scheduler reads it after the commit
SELECT bgjob_enqueue('t_run', '["prepared"]', queue => 'prepared') AS p \gset
CALL tap_pass();
SELECT is(tap_states(:p), '{enqueued}'::text[], 'the next job of the paused queue is not started');
SELECT is(bgjob_queue_remove('prepared'), true, 'the configuration of the paused queue is removed');
SELECT is(bgjob_wait(:p, '60 s'), 'succeeded', 'removing the configuration starts the job');
TRUNCATE t_ran RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- A pause and, right after it, a job
----------------------------------------------------------------------------------------------------

-- Fifty queues, with one idle worker.
DO $$
BEGIN
	FOR i IN 1 .. 50 LOOP
		PERFORM bgjob_queue_pause('idle' || i);
		COMMIT;
		PERFORM bgjob_enqueue('t_run', '["idle"]', queue => 'idle' || i);
		COMMIT;
	END LOOP;
END $$;
CALL tap_pass();
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE queue LIKE 'idle%' AND state = 'enqueued'), 50::bigint,
	'fifty times: a job that is enqueued right after a pause is not started');

-- Fifty more, with four busy workers.
ALTER SYSTEM SET bgjob.workers = 4;
SELECT pg_reload_conf() AS reloaded \gset
CALL tap_wait_setting('bgjob.workers', '4');
DO $$
BEGIN
	FOR i IN 1 .. 50 LOOP
		PERFORM bgjob_enqueue_many('t_run', ARRAY(SELECT jsonb_build_array('load' || i || '/' || k) FROM generate_series(1, 40) k), queue => 'load' || i % 3);
		PERFORM bgjob_queue_pause('busy' || i);
		COMMIT;
		PERFORM bgjob_enqueue('t_run', '["busy"]', queue => 'busy' || i, priority => i % 3 - 1);
		COMMIT;
	END LOOP;
END $$;
CALL tap_wait_until($$ SELECT count(*) = 2000 FROM t_ran WHERE label LIKE 'load%' $$);
SELECT is((SELECT count(DISTINCT label) FROM t_ran WHERE label LIKE 'load%'), 2000::bigint, 'four workers have done 2000 jobs meanwhile');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE queue LIKE 'busy%' AND state = 'enqueued'), 50::bigint,
	'fifty times: a job that is enqueued right after a pause is not started, under load');

-- The same queue, repeatedly.
CREATE TABLE t_again (n int, ran bigint);
DO $$
DECLARE
	id bigint;
BEGIN
	FOR i IN 1 .. 50 LOOP
		PERFORM bgjob_queue_pause('again');
		COMMIT;
		id := bgjob_enqueue('t_run', '["again"]', queue => 'again');
		COMMIT;
		CALL tap_pass();
		INSERT INTO t_again SELECT i, count(*) FROM t_ran WHERE label = 'again';
		PERFORM bgjob_queue_resume('again');
		COMMIT;
		CALL tap_state_is(id, 'succeeded');
	END LOOP;
END $$;
SELECT is_empty($$ SELECT * FROM t_again WHERE ran <> n - 1 $$, 'fifty times: a job of a paused queue runs after the resume, and not before');

SELECT is((SELECT count(*) FROM t_ran WHERE label IN ('idle', 'busy')), 0::bigint, 'none of the hundred jobs has an effect');
SELECT is((SELECT count(*) FROM bgjob.job_states s JOIN bgjob.jobs j ON j.id = s.job_id WHERE j.queue ~ '^(idle|busy)' AND s.state <> 'enqueued'),
	0::bigint, 'nor a history');
SELECT is((SELECT count(*) FROM generate_series(1, 50) i WHERE bgjob_queue_resume('idle' || i) AND bgjob_queue_remove('busy' || i)), 50::bigint,
	'the hundred queues are resumed or removed');
CALL tap_wait_until($$ SELECT count(*) = 100 FROM t_ran WHERE label IN ('idle', 'busy') $$);
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE queue ~ '^(idle|busy)' AND state = 'succeeded'), 100::bigint, 'all hundred jobs succeed after that');
SELECT is((SELECT count(*) FROM t_ran WHERE label IN ('idle', 'busy')), 100::bigint, 'each of the hundred jobs runs once');
SELECT is((SELECT count(*) FROM generate_series(1, 50) i WHERE bgjob_queue_remove('idle' || i)), 50::bigint, 'a resumed queue can be removed');
TRUNCATE t_ran RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- Remove
----------------------------------------------------------------------------------------------------

SELECT bgjob_queue('gone', group_size => 50, paused => true, retention => '1 s');
SELECT bgjob_enqueue('t_run', '["gone"]', queue => 'gone') AS g \gset
SELECT is(tap_queue('gone'), 't/50', 'a queue is configured and has a job');
SELECT is(bgjob_queue_remove('gone'), true, 'bgjob_queue_remove returns true for a configured queue');
SELECT is(bgjob_wait(:g, '60 s'), 'succeeded', 'the job of the removed queue stays and runs');
SELECT bgjob_enqueue('t_run', '["gone"]', queue => 'gone', delay => '1 hour') AS g2 \gset
SELECT is(tap_queue('gone'), 'f/1', 'the removed queue has the defaults again');
SELECT is((SELECT expires_at - finished_at FROM bgjob.jobs WHERE id = :g), current_setting('bgjob.retention')::interval, 'the removed queue has the default retention');
SELECT bgjob_queue('gone', paused => true);
SELECT is(tap_queue('gone'), 't/1', 'a queue configured again has no options of before');
SELECT is(bgjob_queue_remove('gone'), true, 'the queue is removed again');

----------------------------------------------------------------------------------------------------
-- Retention
----------------------------------------------------------------------------------------------------

SELECT bgjob_queue('short', retention => '1 s'), bgjob_queue('none', retention => '0'), bgjob_queue('long', retention => '2 hours');
SELECT count(*) AS n FROM unnest(ARRAY['short', 'none', 'long', 'usual']) q, generate_series(1, 5) i,
	LATERAL bgjob_enqueue('t_run', jsonb_build_array(q), queue => q, tags => ARRAY[i::text]) \gset
SELECT count(*) AS n FROM unnest(ARRAY['short', 'none', 'long', 'usual']) q, LATERAL bgjob_enqueue('t_bad', jsonb_build_array(q), queue => q, max_retries => 0) \gset
SELECT count(bgjob_delete(id)) AS n FROM (
	SELECT bgjob_enqueue('t_run', '["never"]', queue => q, delay => '1 hour') AS id FROM unnest(ARRAY['short', 'none', 'long', 'usual']) q) x \gset
CALL tap_wait_until($$ SELECT count(*) = 20 FROM t_ran WHERE label IN ('short', 'none', 'long', 'usual') $$);
CALL tap_wait_until($$ SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE queue IN ('short', 'none') AND state IN ('succeeded', 'deleted')) $$, 120);
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE queue = 'short' AND state IN ('succeeded', 'deleted')), 0::bigint,
	'finished jobs of a queue with a retention of a second vanish');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE queue = 'none' AND state IN ('succeeded', 'deleted')), 0::bigint, 'jobs with a retention of 0 in the queue are removed');
SELECT is((SELECT count(*) FROM t_ran WHERE label IN ('short', 'none')), 10::bigint, 'they were removed after they had run');
SELECT is((SELECT array_agg(format('%s %s %s', queue, state, n) ORDER BY queue, state) FROM (
		SELECT queue, state, count(*) AS n FROM bgjob.jobs WHERE queue IN ('short', 'none', 'long', 'usual') GROUP BY 1, 2) x),
	ARRAY['long deleted 1', 'long failed 1', 'long succeeded 5', 'none failed 1', 'short failed 1', 'usual deleted 1', 'usual failed 1', 'usual succeeded 5'],
	'those of other queues stay, and all that have failed');
SELECT is((SELECT array_agg(DISTINCT expires_at - finished_at) FROM bgjob.jobs WHERE queue = 'long' AND state IN ('succeeded', 'deleted')), '{02:00:00}'::interval[],
	'expires_at follows the retention of the queue');
SELECT is((SELECT array_agg(DISTINCT expires_at - finished_at) FROM bgjob.jobs WHERE queue = 'usual' AND state IN ('succeeded', 'deleted')), '{24:00:00}'::interval[],
	'and is a day elsewhere');
SELECT is((SELECT array_agg(DISTINCT expires_at) FROM bgjob.jobs WHERE queue = 'long' AND state = 'failed'), '{NULL}'::timestamptz[],
	'a failed job does not expire');
SELECT is_empty($$ SELECT * FROM bgjob.job_states s WHERE NOT EXISTS (SELECT FROM bgjob.jobs j WHERE j.id = s.job_id) $$,
	'what has vanished left no history');
SELECT bgjob_queue('long', group_size => 2);
SELECT is((SELECT min(expires_at - finished_at) FROM bgjob.jobs WHERE queue = 'long' AND state = 'succeeded'), '2 hours',
	'retention stays as it was when something else is set');
SELECT bgjob_queue('long', retention => '3 days');
SELECT is((SELECT min(expires_at - finished_at) FROM bgjob.jobs WHERE queue = 'long' AND state = 'succeeded'), '3 days',
	'a new retention holds for jobs that had ended before');
SELECT is(bgjob_queue_remove('long'), true, 'the configuration with retention is removed');
SELECT is((SELECT min(expires_at - finished_at) FROM bgjob.jobs WHERE queue = 'long' AND state = 'succeeded'), '24:00:00', 'jobs of the queue expire after a day then');
SELECT bgjob_queue('usual', retention => '0');
CALL tap_wait_until($$ SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE queue = 'usual' AND state IN ('succeeded', 'deleted')) $$, 120);
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE queue = 'usual' AND state IN ('succeeded', 'deleted')), 0::bigint,
	'a retention that is made shorter removes jobs that had ended before');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE queue = 'long' AND state = 'succeeded'), 5::bigint, 'jobs of another queue are kept');
-- A job in a grouped queue with a retention.
SELECT bgjob_queue('short', group_size => 10);
SELECT count(*) AS n FROM bgjob_enqueue_many('t_run', array_fill('["short group"]'::jsonb, ARRAY[50]), queue => 'short') \gset
CALL tap_wait_until($$ SELECT count(*) = 50 FROM t_ran WHERE label = 'short group' $$);
CALL tap_wait_until($$ SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE queue = 'short' AND state = 'succeeded') $$, 120);
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE queue = 'short' AND state <> 'failed'), 0::bigint, 'jobs that ran in groups expire in the same way');

----------------------------------------------------------------------------------------------------
-- DROP EXTENSION removes the configuration
----------------------------------------------------------------------------------------------------

SELECT bgjob_queue('kept', group_size => 9, paused => true, retention => '1 s');
SELECT bgjob_queue('default', paused => true, group_size => 3);
SELECT is(tap_queue('default'), 't/3', 'the queue default can be configured, too');
SELECT bgjob_enqueue('t_run', '["lost"]') AS lost \gset
SELECT is(tap_state(:lost), 'enqueued', 'the queue default can be paused');
TRUNCATE t_ran RESTART IDENTITY;
DROP EXTENSION bgjob;
CREATE EXTENSION bgjob;
SELECT is((SELECT array_agg(format('%s/%s/%s', queue, paused, group_size)) FROM bgjob.queues), '{default/f/1}'::text[],
	'after DROP and CREATE EXTENSION no queue is configured');
SELECT bgjob_enqueue('t_run', '["new"]') AS a, bgjob_enqueue('t_run', '["new"]', queue => 'kept') AS b \gset
SELECT is(ARRAY[bgjob_wait(:a, '60 s'), bgjob_wait(:b, '60 s')], '{succeeded,succeeded}'::text[], 'jobs of queues that were paused before run');
SELECT is((SELECT array_agg(DISTINCT expires_at - finished_at) FROM bgjob.jobs), '{24:00:00}'::interval[], 'they expire after a day');
SELECT is(t_order(), '{new,new}'::text[], 'a job dropped with the extension does not run');
SELECT is(bgjob_queue_remove('kept'), false, 'no configuration is left after DROP EXTENSION');

BEGIN;
SELECT bgjob_queue('default', paused => true);
SELECT bgjob_queue_pause('kept') AS x \gset
DROP EXTENSION bgjob;
ROLLBACK;
SELECT is(tap_queue('default'), 'f/1', 'a rolled-back DROP EXTENSION, with a pause before it, changes nothing');
SELECT bgjob_enqueue('t_run', '["new"]') AS a, bgjob_enqueue('t_run', '["new"]', queue => 'kept') AS b \gset
SELECT is(ARRAY[bgjob_wait(:a, '60 s'), bgjob_wait(:b, '60 s')], '{succeeded,succeeded}'::text[], 'jobs run after the rolled-back DROP EXTENSION');

\ir lib/check_counters.sql
SELECT * FROM finish();

ALTER SYSTEM RESET bgjob.workers;
SELECT pg_reload_conf() AS reloaded \gset
SELECT 'DROP OWNED BY tap09_plain' \gexec
DROP ROLE tap09_plain;
