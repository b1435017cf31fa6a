-- 33_external_calls.sql
--
-- What this file proves about the calls of external workers beside fetching and ending jobs, and about bgjob.servers:
--   * the signatures; arguments that are not allowed raise 22023 or 22004; who may call the functions; nothing in a read-only transaction;
--   * bgjob_await() returns when there is a job, or at its timeout; not in a transaction block, a function or an exception block;
--   * a heartbeat extends leases, in the order of the ids, and says continue, cancel or lost; commands for the worker have no id;
--   * lines of the log and progress are seen and kept; those of others, and of attempts that are over, are refused; the log is bounded;
--   * a late answer is noted once, before the entry of the present state;
--   * bgjob.servers shows workers to who may see their jobs; pausing, resuming and removing them is part of the transaction.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser.

\ir lib/session.sql

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap33_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap33_' \gexec
CREATE ROLE tap33_app LOGIN;
CREATE ROLE tap33_other LOGIN;
CREATE ROLE tap33_stranger LOGIN;
GRANT USAGE ON SCHEMA bgjob TO tap33_app, tap33_other;

\ir lib/wait.sql
\ir lib/states.sql
\ir lib/errors.sql

CREATE FUNCTION tap_job(queue text, timeout interval DEFAULT NULL) RETURNS bigint LANGUAGE sql AS
	$$ SELECT bgjob_enqueue('work', '{"a": 1}', kind => 'external', queue => queue, timeout => timeout) $$;
CREATE FUNCTION tap_beat(worker text, ids bigint[]) RETURNS text LANGUAGE sql AS
	$$ SELECT string_agg(coalesce(array_position(ids, h.id)::text, '-') || h.command, ' ' ORDER BY n) FROM ROWS FROM (bgjob_heartbeat(worker, ids)) WITH ORDINALITY h (id, command, n) $$;
CREATE FUNCTION tap_workers() RETURNS text LANGUAGE sql AS
	$$ SELECT string_agg(format('%s %s %s %s %s', s.name, array_to_string(s.queues, '+'), s.workers, s.busy, s.paused), ', ' ORDER BY s.name) FROM bgjob.servers s WHERE s.kind = 'external' $$;


SELECT * FROM no_plan();
\o

-- Arguments and rights.
SELECT is(tap_error(q), '22023', q || ' raises 22023, with message, detail and hint') FROM unnest(ARRAY[
	$$CALL bgjob_await(NULL)$$, $$CALL bgjob_await('{}')$$, $$CALL bgjob_await('{a,a}')$$, $$CALL bgjob_await('{A}')$$, $$CALL bgjob_await('{NULL}')$$,
	$$CALL bgjob_await('{a}', NULL)$$, $$CALL bgjob_await('{a}', '0')$$,
	$$CALL bgjob_await('{a}', '-1 s')$$, $$CALL bgjob_await('{a}', '1 h 1 s')$$,
	$$SELECT bgjob_heartbeat(NULL)$$, $$SELECT bgjob_heartbeat('')$$, $$SELECT bgjob_heartbeat(repeat('x', 64))$$, $$SELECT bgjob_heartbeat(E'a\tb')$$,
	$$SELECT bgjob_heartbeat('w', '{1,NULL}')$$, $$SELECT bgjob_heartbeat('w', '{1}', NULL)$$, $$SELECT bgjob_heartbeat('w', '{1}', '0')$$, $$SELECT bgjob_heartbeat('w', '{1}', '2 years')$$,
	$$SELECT bgjob_external_log(1, '', 'x')$$, $$SELECT bgjob_external_log(1, 'w', 'x', '')$$, $$SELECT bgjob_external_progress(1, 'w', 101)$$, $$SELECT bgjob_external_progress(1, 'w', 'NaN')$$]) q;
SELECT is(tap_error(q), '22004', q || ' raises 22004') FROM unnest(ARRAY[$$SELECT bgjob_external_log(1, 'w', NULL)$$, $$SELECT bgjob_external_progress(1, 'w', NULL)$$]) q;
SELECT is(tap_try(q, 'tap33_stranger'), 'ERROR 42501', q || ' by a role without USAGE') FROM unnest(ARRAY[$$CALL bgjob_await('{a}', '1 s')$$, $$SELECT bgjob_heartbeat('w')$$,
	$$SELECT bgjob_external_log(1, 'w', 'x')$$, $$SELECT bgjob_external_progress(1, 'w', 1)$$]) q;
SELECT is(ARRAY[bgjob_external_log(NULL, 'w', 'x'), bgjob_external_log(-1, 'w', 'x'), bgjob_external_progress(-1, 'w', 1)], '{f,f,f}'::boolean[], 'of jobs that the worker does not have nothing is taken');

-- Waiting.
SELECT clock_timestamp() AS began \gset
CALL bgjob_await('{none}', '200 ms');
SELECT cmp_ok(clock_timestamp(), '>=', :'began'::timestamptz + interval '200 ms', 'without a job the wait lasts to its timeout');
SELECT tap_job('await') AS job \gset
CALL bgjob_await('{other,await}', '5 min');
SELECT pass('with a job it does not wait');
SELECT is((SELECT id FROM bgjob_fetch('{await}', 'waits')), :job::bigint, 'the job is there');
SELECT is(bgjob_complete(:job, 'waits'), true, 'it is done');
SELECT is(tap_error($q$DO $d$ BEGIN BEGIN CALL bgjob_await('{a}', '1 s'); EXCEPTION WHEN division_by_zero THEN NULL; END; END $d$ $q$), '2D000', 'it cannot be called in an exception block');
CREATE PROCEDURE tap_waits() LANGUAGE plpgsql AS $$
BEGIN
	FOR n IN 1 .. 3 LOOP
		CALL bgjob_await('{none}', '10 ms');
		PERFORM set_config('tap.at', now()::text, false);
	END LOOP;
END $$;
CALL tap_waits();
SELECT isnt(current_setting('tap.at'), '', 'a procedure can call it again and again');

-- Heartbeats.
SELECT tap_job('beat') AS one, tap_job('beat') AS two, tap_job('beat') AS three \gset
SELECT is((SELECT count(*) FROM bgjob_fetch('{beat}', 'w', 2, '1 min')), 2::bigint, 'a worker fetches two jobs');
SELECT is((SELECT count(*) FROM bgjob_fetch('{beat}', 'v', 2, '1 min')), 1::bigint, 'another one fetches one');
SELECT is(tap_beat('w', ARRAY[:two, :one]), '1continue 2continue', 'both are its');
SELECT is(tap_beat('w', ARRAY[:three, :one, 0, -1]), '1lost 2continue 3cancel 4cancel', 'the other one is not, and unknown ids are to be canceled');
SELECT is(tap_try(format('SELECT tap_beat(%L, ARRAY[%s]::bigint[])', 'w', :one), 'tap33_other'), '1cancel', 'a stranger of that name is told nothing');
SELECT is(bgjob_delete(:one), true, 'a job is deleted');
SELECT is(bgjob_requeue(:two), true, 'another one is requeued');
SELECT is(tap_beat('w', ARRAY[:one, :two]), '1cancel 2cancel', 'the worker is told to stop both');
SELECT is(bgjob_complete(:three, 'v'), true, 'the third succeeds');
SELECT is(tap_beat('v', ARRAY[:three]), '1lost', 'after its success a job is lost');
SELECT is((SELECT count(*) FROM bgjob_fetch('{beat}', 'w')), 1::bigint, 'the requeued job is fetched again');
SELECT is(bgjob_complete(:two, 'w'), true, 'and succeeds');

-- Lines of the log, and progress.
SELECT tap_job('log') AS job \gset
SELECT is((SELECT id FROM bgjob_fetch('{log}', 'logs')), :job::bigint, 'a worker has a job');
SELECT is(ARRAY[bgjob_external_progress(:job, 'logs', 12.5, repeat('ä', 200)), bgjob_external_log(:job, 'logs', 'one'), bgjob_external_log(:job, 'logs', 'two', 'warning')], '{t,t,t}'::boolean[], 'it tells of it');
SELECT is((SELECT format('%s %s', progress, progress_message) FROM bgjob.jobs WHERE id = :job), '12.5 ' || repeat('ä', 127), 'its progress is seen; the message is cut between characters');
SELECT is((SELECT string_agg(format('%s %s %s', seq, level, message), ', ' ORDER BY seq) FROM bgjob.job_logs WHERE job_id = :job), '1 info one, 2 warning two', 'so are the lines');
SELECT is(ARRAY[bgjob_external_log(:job, 'other', 'x'), bgjob_external_progress(:job, 'other', 1)], '{f,f}'::boolean[], 'another worker cannot');
SELECT is(bgjob_fail(:job, 'logs', 'bad', retry => false), true, 'the job fails');
SELECT is(ARRAY[bgjob_external_log(:job, 'logs', 'x'), bgjob_external_progress(:job, 'logs', 1)], '{f,f}'::boolean[], 'after its end nothing is taken');
SELECT is(bgjob_requeue(:job), true, 'it is requeued');
SELECT is((SELECT id FROM bgjob_fetch('{log}', 'logs')), :job::bigint, 'and fetched again');
SELECT is((SELECT count(*) FROM generate_series(1, 300) WHERE bgjob_external_log(:job, 'logs', repeat('x', 10000))), 300::bigint, 'it logs 3 MB');
SELECT cmp_ok((SELECT sum(length(message)) FROM bgjob.job_logs WHERE job_id = :job), '<', 2100000::bigint, 'two are kept');
SELECT is((SELECT message FROM bgjob.job_logs WHERE job_id = :job ORDER BY seq DESC LIMIT 1), 'more was logged than is kept; the rest is left out', 'the last line says so');
SELECT is((SELECT min(seq) FROM bgjob.job_logs WHERE job_id = :job AND message LIKE 'xx%'), 3, 'the lines of attempts are numbered on');
SELECT is(bgjob_complete(:job, 'logs'), true, 'the job succeeds');

-- Late answers.
SELECT is(ARRAY[bgjob_complete(:job, 'logs'), bgjob_fail(:job, 'logs', 'late'), bgjob_complete(:job, 'logs')], '{f,f,f}'::boolean[], 'late answers do not count');
SELECT format('SELECT count(*) = 1 FROM bgjob.job_states WHERE job_id = %s AND reason = ''Late answer of worker "logs" ignored''', :job) AS noted \gset
CALL tap_wait_until(:'noted');
SELECT is(bgjob_complete(:job, 'late 2'), false, 'nor does that of another worker');
SELECT format('SELECT count(*) = 1 FROM bgjob.job_states WHERE job_id = %s AND reason = ''Late answer of worker "late 2" ignored''', :job) AS noted \gset
CALL tap_wait_until(:'noted');
SELECT is((SELECT count(*) FROM bgjob.job_states WHERE job_id = :job AND reason LIKE 'Late answer%'), 2::bigint, 'each worker is noted once');
SELECT is((SELECT state FROM bgjob.job_states WHERE job_id = :job ORDER BY seq DESC LIMIT 1), 'succeeded', 'the last entry is the state of the job');
SELECT is((SELECT count(DISTINCT seq) FROM bgjob.job_states WHERE job_id = :job), (SELECT max(seq)::bigint FROM bgjob.job_states WHERE job_id = :job), 'the entries are numbered without gaps');

-- bgjob.servers, and commands.
SELECT matches(tap_workers(), 'logs log 0 0 f.*v beat 0 0 f.*w beat 0 0 f', 'several workers in one session are bound to none');
SET ROLE tap33_app;
SELECT is(tap_workers(), NULL, 'a role does not see the workers of others');
SELECT is((SELECT count(*) FROM bgjob_fetch('{app}', 'mine')), 0::bigint, 'it has one itself');
SELECT matches(tap_workers(), '^mine app [01] 0 f$', 'which it sees');
RESET ROLE;
SELECT is((SELECT servers FROM bgjob.stats), 1::bigint, 'bgjob.stats counts pools alone');
SELECT is(tap_try($$SELECT bgjob_server_pause('mine')$$, 'tap33_app'), 'ERROR 42501', 'pausing needs EXECUTE');
BEGIN;
SELECT is(ARRAY[bgjob_server_pause('w'), bgjob_server_pause('w'), bgjob_server_pause('no such')], '{t,f,f}'::boolean[], 'a worker is paused');
ROLLBACK;
SELECT is(tap_beat('w', '{}'), NULL, 'a rollback leaves nothing');
BEGIN;
SELECT bgjob_server_pause('v') AS paused \gset
SAVEPOINT a;
SELECT bgjob_server_pause('w') AS paused \gset
ROLLBACK TO a;
COMMIT;
SELECT is(ARRAY[tap_beat('v', '{}'), tap_beat('w', '{}')], '{-quiet,NULL}'::text[], 'nor does that of a savepoint');
SELECT tap_job('quiet') AS job \gset
SELECT is((SELECT count(*) FROM bgjob_fetch('{quiet}', 'v')), 0::bigint, 'a paused worker gets nothing');
SELECT is(bgjob_server_resume('v'), true, 'it is resumed');
SELECT is((SELECT count(*) FROM bgjob_fetch('{quiet}', 'v')), 1::bigint, 'and gets the job');
SELECT is(bgjob_server_remove('v'), true, 'it is asked to leave');
SELECT is(tap_beat('v', ARRAY[:job]), '1continue -terminate', 'its heartbeat says so, and its jobs are still its');
SELECT is(ARRAY[bgjob_server_resume('v'), bgjob_server_remove('v')], '{f,f}'::boolean[], 'that is not taken back');
SELECT is(bgjob_release(:job, 'v'), true, 'it gives the job back');

SELECT bgjob_delete(id) AS deleted FROM bgjob.jobs WHERE state = 'enqueued' \gset
DROP OWNED BY tap33_app, tap33_other, tap33_stranger CASCADE;
\ir lib/check_counters.sql
SELECT * FROM finish();
