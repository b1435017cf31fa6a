-- 34_external_spec.sql
--
-- External workers, tested from the contract alone (api.md, "External workers"; the texts on the protocol): the functions as a
-- client calls them, in one session.
--   * signatures, names of parameters, defaults, comments; each wrong argument and its SQLSTATE;
--   * jobs of kind external from each function that creates jobs, with any name and any JSON;
--   * one job's life through fetch, heartbeat, log, progress, complete, fail, release; what each view shows of it meanwhile;
--   * the order of taking; rollbacks, savepoints, fetch and complete in one transaction;
--   * each option and feature: retries, unique_key, supersede, sequences, limits, rates, fairness, max_running, batches,
--     continuations, signals, start_within, filters, recurring jobs, triggers;
--   * delete, requeue, reschedule, change and run of a leased job; a paused queue; paused and removed workers;
--   * who may take and answer; large and strange values.
-- What needs several sessions, time or crashes is in t/076_external_spec.pl.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser. It changes settings with ALTER SYSTEM and resets them at
-- its end: do not run it beside other files.

\ir lib/session.sql

ALTER SYSTEM SET bgjob.workers = 2;
SELECT pg_reload_conf() AS reloaded \gset

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap34_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap34_' \gexec
CREATE ROLE tap34_app LOGIN;
CREATE ROLE tap34_a LOGIN IN ROLE tap34_app;
CREATE ROLE tap34_b LOGIN IN ROLE tap34_app;
CREATE ROLE tap34_other LOGIN;
CREATE ROLE tap34_monitor LOGIN IN ROLE pg_monitor;
CREATE ROLE tap34_stranger LOGIN;
GRANT USAGE ON SCHEMA bgjob TO tap34_app, tap34_other, tap34_monitor;

----------------------------------------------------------------------------------------------------
-- Helpers
----------------------------------------------------------------------------------------------------

\ir lib/wait.sql
\ir lib/states.sql
\ir lib/errors.sql

CREATE FUNCTION t_fetch(queues text[], worker text, max_jobs int = 1, lease interval = '5 min') RETURNS bigint[] LANGUAGE sql AS
	$$ SELECT coalesce(array_agg(f.id), '{}') FROM bgjob_fetch(queues, worker, max_jobs, lease) f $$;
-- The commands of a heartbeat, in order.
CREATE FUNCTION t_beat(worker text, ids bigint[], lease interval = '5 min') RETURNS text[] LANGUAGE sql AS
	$$ SELECT coalesce(array_agg(concat_ws(' ', h.id, h.command)), '{}') FROM bgjob_heartbeat(worker, ids, lease) h $$;
-- The states of a job, without notes of answers that came too late, which are added a moment afterwards.
CREATE FUNCTION t_states(id bigint) RETURNS text[] LANGUAGE sql AS
	$$ SELECT array_agg(s.state ORDER BY s.seq) FROM bgjob.job_states s WHERE s.job_id = $1 AND coalesce(s.reason, '') NOT LIKE 'Late answer of worker %' $$;
-- An external job in a queue.
CREATE FUNCTION t_job(queue text, args jsonb = NULL, job text = 'work') RETURNS bigint LANGUAGE sql AS
	$$ SELECT bgjob_enqueue(job, args, kind => 'external', queue => queue) $$;
CREATE FUNCTION t_is(id bigint) RETURNS text LANGUAGE sql AS $$ SELECT concat_ws(' ', j.state, j.reason) FROM bgjob.jobs j WHERE j.id = $1 $$;

-- Takes jobs until there are so many, and as many as come; for what becomes ready a moment later.
CREATE TABLE t_got (n serial, worker text, id bigint, attempt int);
GRANT ALL ON t_got, t_got_n_seq TO PUBLIC;
CREATE PROCEDURE t_take(queues text[], worker_ text, wanted int, deadline float8 = 20) LANGUAGE plpgsql AS $$
DECLARE
	stop timestamptz := clock_timestamp() + make_interval(secs => deadline);
BEGIN
	DELETE FROM t_got;
	COMMIT;
	LOOP
		INSERT INTO t_got (worker, id, attempt) SELECT worker_, f.id, f.attempt FROM bgjob_fetch(queues, worker_, 10000) f;
		COMMIT;
		EXIT WHEN (SELECT count(*) >= wanted FROM t_got) OR clock_timestamp() >= stop;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
CREATE FUNCTION t_taken() RETURNS bigint[] LANGUAGE sql AS $$ SELECT coalesce(array_agg(id ORDER BY n), '{}') FROM t_got $$;
CREATE FUNCTION t_complete_taken() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM t_got WHERE bgjob_complete(id, worker) $$;
-- What an administrator sees of the jobs of a queue.
CREATE FUNCTION t_counts(queue text) RETURNS text LANGUAGE sql AS
	$$ SELECT format('%s enqueued, %s processing, %s scheduled, %s failed', q.enqueued, q.processing, q.scheduled, q.failed) FROM bgjob.queues q WHERE q.queue = $1 $$;

CREATE FUNCTION t_fine() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION t_antecedents() RETURNS jsonb LANGUAGE sql AS 'SELECT bgjob_antecedents()';

SELECT * FROM no_plan();

CALL tap_wait_setting('bgjob.workers', '2');

----------------------------------------------------------------------------------------------------
-- The functions
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('resize', '{"w": 10}', 'external', queue => 'sig') AS j \gset
SELECT is((SELECT array_agg(format('%s %s', t.name, t.type)) FROM (SELECT unnest(proallargtypes)::regtype::text, unnest(proargnames), unnest(proargmodes) FROM pg_proc WHERE proname = 'bgjob_fetch') t (type, name, mode)
	WHERE mode = 't'), ARRAY['id bigint', 'job text', 'args jsonb', 'queue text', 'attempt integer', 'lease_until timestamp with time zone', 'parameters jsonb'], 'bgjob_fetch returns these columns');
SELECT is((SELECT array_agg(t.name || ' ' || t.type) FROM (SELECT unnest(proallargtypes)::regtype::text, unnest(proargnames), unnest(proargmodes) FROM pg_proc WHERE proname = 'bgjob_heartbeat') t (type, name, mode)
	WHERE mode = 't'), ARRAY['id bigint', 'command text'], 'bgjob_heartbeat returns these columns');
SELECT is((SELECT array_agg(format('%s %s %s', proname, prokind, prorettype::regtype) ORDER BY proname) FROM pg_proc
		WHERE proname ~ '^bgjob_(fetch|await|heartbeat|release|external_log|external_progress|complete|fail|protocol)$'),
	ARRAY['bgjob_await p void', 'bgjob_complete f boolean', 'bgjob_external_log f boolean', 'bgjob_external_progress f boolean', 'bgjob_fail f boolean', 'bgjob_fetch f record',
		'bgjob_heartbeat f record', 'bgjob_protocol f integer', 'bgjob_release f boolean'], 'the nine functions, and what they return');
SELECT is((SELECT array_agg(proname) FROM pg_proc WHERE proname ~ '^bgjob_(fetch|await|heartbeat|release|external_log|external_progress|complete|fail|protocol)$'
	AND (prosecdef OR obj_description(oid) IS NULL)), NULL, 'none is SECURITY DEFINER, each has a comment');
SELECT is(bgjob_protocol(), 1, 'the version of the protocol');
SELECT is((SELECT id FROM bgjob_fetch(queues => '{sig}', worker => 's', max_jobs => 1, lease => '1 min')), :j::bigint, 'fetch by names of parameters');
SELECT is((SELECT format('%s %s', worker_pid, server) FROM bgjob.jobs WHERE id = :j), pg_backend_pid() || ' s', 'bgjob.jobs shows the session that the lease is bound to');
SELECT is((SELECT workers FROM bgjob.servers WHERE name = 's'), 1, 'bgjob.servers says that its jobs are bound to its session');
SELECT is((SELECT command FROM bgjob_heartbeat(worker => 's', ids => ARRAY[:j], lease => '1 min')), 'continue', 'heartbeat by names');
SELECT is(bgjob_external_log(id => :j, worker => 's', message => 'm', level => 'info'), true, 'external_log by names');
SELECT is(bgjob_external_progress(id => :j, worker => 's', percent => 1, message => 'm'), true, 'external_progress by names');
SELECT is(bgjob_release(id => :j, worker => 's', delay => NULL), true, 'release by names');
SELECT id FROM bgjob_fetch('{sig}', 's') \g /dev/null
SELECT is(bgjob_fail(id => :j, worker => 's', error => 'e', detail => NULL, retry => true), true, 'fail by names');
SELECT bgjob_requeue(:j) \g /dev/null
SELECT id FROM bgjob_fetch('{sig}', 's') \g /dev/null
SELECT is(bgjob_complete(id => :j, worker => 's', result => NULL), true, 'complete by names');
CALL bgjob_await('{sig}', '10 ms');
CALL bgjob_await(queues => '{sig}', timeout => '10 ms');
SELECT pass('await by position and by names');

----------------------------------------------------------------------------------------------------
-- Wrong arguments
----------------------------------------------------------------------------------------------------

SELECT t_job('wrong') AS held \gset
SELECT t_fetch('{wrong}', 'w') \g /dev/null
SELECT t_job('wrong') AS waits \gset
CREATE TABLE t_wrong (n serial, call text, code text, what text);
INSERT INTO t_wrong (call, code, what) VALUES
	($$bgjob_fetch(NULL, 'w')$$, '22023', 'fetch: null queues'),
	($$bgjob_fetch('{wrong}', NULL)$$, '22023', 'fetch: a null worker'),
	($$bgjob_fetch('{wrong}', 'w', NULL)$$, '22023', 'fetch: a null max_jobs'),
	($$bgjob_fetch('{wrong}', 'w', 1, NULL)$$, '22023', 'fetch: a null lease'),
	($$bgjob_fetch('{}', 'w')$$, '22023', 'fetch: no queue'),
	($$bgjob_fetch('{NULL}', 'w')$$, '22023', 'fetch: a null queue'),
	($$bgjob_fetch('{wrong,NULL}', 'w')$$, '22023', 'fetch: a null queue after another'),
	($$bgjob_fetch('{""}', 'w')$$, '22023', 'fetch: an empty name of a queue'),
	($$bgjob_fetch('{Wrong}', 'w')$$, '22023', 'fetch: a capital letter'),
	($$bgjob_fetch('{"a b"}', 'w')$$, '22023', 'fetch: a space'),
	($$bgjob_fetch('{"wrong,x"}', 'w')$$, '22023', 'fetch: a comma in a name'),
	($$bgjob_fetch('{ä}', 'w')$$, '22023', 'fetch: a letter that is none of a-z'),
	($$bgjob_fetch('{**}', 'w')$$, '22023', 'fetch: two asterisks'),
	($$bgjob_fetch(ARRAY[repeat('q', 64)], 'w')$$, '22023', 'fetch: a name of 64'),
	($$bgjob_fetch('{{wrong,a},{b,c}}', 'w')$$, '22023', 'fetch: two dimensions'),
	($$bgjob_fetch('{wrong}', '')$$, '22023', 'fetch: an empty worker'),
	($$bgjob_fetch('{wrong}', repeat('w', 64))$$, '22023', 'fetch: a worker of 64 bytes'),
	($$bgjob_fetch('{wrong}', repeat('ä', 32))$$, '22023', 'fetch: a worker of 64 bytes in 32 characters'),
	($$bgjob_fetch('{wrong}', E'a\nb')$$, '22023', 'fetch: a line end in the worker'),
	($$bgjob_fetch('{wrong}', E'\t')$$, '22023', 'fetch: a tab as worker'),
	($$bgjob_fetch('{wrong}', E'a\x7f')$$, '22023', 'fetch: DEL in the worker'),
	($$bgjob_fetch('{wrong}', E'a\x1b[31m')$$, '22023', 'fetch: an escape sequence in the worker'),
	($$bgjob_fetch('{wrong}', 'w', 0)$$, '22023', 'fetch: no job'),
	($$bgjob_fetch('{wrong}', 'w', -1)$$, '22023', 'fetch: -1 jobs'),
	($$bgjob_fetch('{wrong}', 'w', 10001)$$, '22023', 'fetch: 10,001 jobs'),
	($$bgjob_fetch('{wrong}', 'w', 2147483647)$$, '22023', 'fetch: very many jobs'),
	($$bgjob_fetch('{wrong}', 'w', 1, '0')$$, '22023', 'fetch: a lease of 0'),
	($$bgjob_fetch('{wrong}', 'w', 1, '-1 s')$$, '22023', 'fetch: a negative lease'),
	($$bgjob_fetch('{wrong}', 'w', 1, '1 day -25 hours')$$, '22023', 'fetch: a lease whose sum is negative'),
	($$bgjob_fetch('{wrong}', 'w', 1, '1 mon -30 days')$$, '22023', 'fetch: a lease whose sum is 0'),
	($$bgjob_fetch('{wrong}', 'w', 1, '2 years')$$, '22023', 'fetch: a lease of two years'),
	($$bgjob_fetch('{wrong}', 'w', 1, '170000000 years')$$, '22023', 'fetch: the longest lease'),
	($$bgjob_heartbeat(NULL, '{1}')$$, '22023', 'heartbeat: a null worker'),
	($$bgjob_heartbeat('', '{1}')$$, '22023', 'heartbeat: an empty worker'),
	($$bgjob_heartbeat(repeat('w', 64), '{1}')$$, '22023', 'heartbeat: a long worker'),
	($$bgjob_heartbeat('w', '{1}', NULL)$$, '22023', 'heartbeat: a null lease'),
	($$bgjob_heartbeat('w', '{1}', '0')$$, '22023', 'heartbeat: a lease of 0'),
	($$bgjob_heartbeat('w', '{1}', '-1 s')$$, '22023', 'heartbeat: a negative lease'),
	($$bgjob_heartbeat('w', '{1}', '2 years')$$, '22023', 'heartbeat: a long lease'),
	($$bgjob_complete(:held, NULL)$$, '22023', 'complete: a null worker'),
	($$bgjob_complete(:held, '')$$, '22023', 'complete: an empty worker'),
	($$bgjob_complete(:held, E'w\n')$$, '22023', 'complete: a line end in the worker'),
	($$bgjob_fail(:held, NULL, 'e')$$, '22023', 'fail: a null worker'),
	($$bgjob_fail(:held, repeat('w', 64), 'e')$$, '22023', 'fail: a long worker'),
	($$bgjob_fail(:held, 'w', NULL)$$, '22023', 'fail: no error'),
	($$bgjob_release(:held, NULL)$$, '22023', 'release: a null worker'),
	($$bgjob_release(:held, '')$$, '22023', 'release: an empty worker'),
	($$bgjob_release(:held, 'w', '-1 s')$$, '22023', 'release: a negative delay'),
	($$bgjob_release(:held, 'w', '170000000 years')$$, '22023', 'release: the longest delay'),
	($$bgjob_external_log(:held, NULL, 'm')$$, '22023', 'external_log: a null worker'),
	($$bgjob_external_log(:held, '', 'm')$$, '22023', 'external_log: an empty worker'),
	($$bgjob_external_log(:held, 'w', 'm', '')$$, '22023', 'external_log: an empty level'),
	($$bgjob_external_log(:held, 'w', 'm', repeat('x', 32))$$, '22023', 'external_log: a level of 32 bytes'),
	($$bgjob_external_progress(:held, NULL, 1)$$, '22023', 'external_progress: a null worker'),
	($$bgjob_external_progress(:held, '', 1)$$, '22023', 'external_progress: an empty worker'),
	($$bgjob_external_progress(:held, 'w', -1)$$, '22023', 'external_progress: less than 0'),
	($$bgjob_external_progress(:held, 'w', 100.01)$$, '22023', 'external_progress: more than 100'),
	($$bgjob_external_progress(:held, 'w', 'NaN')$$, '22023', 'external_progress: no number');
SELECT matches(tap_error('SELECT ' || replace(call, ':held', :'held')), '^' || code || '$', format('%s is refused with %s; message, detail and hint are sentences', what, code)) FROM t_wrong ORDER BY n;
-- NULL where the existing functions take 22004; either is an error of the caller.
SELECT matches(tap_error('SELECT ' || replace(call, ':held', :'held')), '^220(23|04)$', what || ' is refused') FROM (VALUES
	($$bgjob_external_log(:held, 'w', NULL)$$, 'external_log: no message'), ($$bgjob_external_log(:held, 'w', 'm', NULL)$$, 'external_log: a null level'),
	($$bgjob_external_progress(:held, 'w', NULL)$$, 'external_progress: no percentage')) v (call, what);
SELECT matches(tap_error(call), code, what) FROM (VALUES
	($$CALL bgjob_await('{wrong}', '1 s')$$, '^2D000$', 'await: in a function'),
	($$CALL bgjob_await(NULL, '1 s')$$, '^(2D000|22023)$', 'await: null queues')) v (call, code, what);
\set VERBOSITY sqlstate
\set ON_ERROR_STOP off
CALL bgjob_await(NULL, '1 s') \g /dev/null
SELECT is(:'SQLSTATE'::text, '22023', 'await: null queues');
CALL bgjob_await('{}', '1 s') \g /dev/null
SELECT is(:'SQLSTATE'::text, '22023', 'await: no queue');
CALL bgjob_await('{A}', '1 s') \g /dev/null
SELECT is(:'SQLSTATE'::text, '22023', 'await: a malformed queue');
CALL bgjob_await('{a}', '0') \g /dev/null
SELECT is(:'SQLSTATE'::text, '22023', 'await: a time of 0');
CALL bgjob_await('{a}', '-1 s') \g /dev/null
SELECT is(:'SQLSTATE'::text, '22023', 'await: a negative time');
CALL bgjob_await('{a}', '3601 s') \g /dev/null
SELECT is(:'SQLSTATE'::text, '22023', 'await: more than an hour');
CALL bgjob_await('{a}', NULL) \g /dev/null
SELECT is(:'SQLSTATE'::text, '22023', 'await: a null time');
BEGIN;
CALL bgjob_await('{a}', '1 s') \g /dev/null
\set state :SQLSTATE
ROLLBACK;
SELECT is(:'state'::text, '2D000', 'await: in a transaction');
\set ON_ERROR_STOP on
\set VERBOSITY default

SELECT is(t_is(:held), 'processing', 'nothing of that has ended the job that w holds');
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :waits), 'enqueued', 'nor taken the one that waits');
SELECT is(ARRAY(SELECT count(*)::int FROM bgjob.job_logs WHERE job_id = :held), '{0}', 'nor logged a line');
SELECT is((SELECT coalesce(array_agg(name), '{}') FROM bgjob.servers WHERE kind = 'external' AND name NOT IN ('s', 'w')), '{}', 'nor made a worker');

SELECT is(bgjob_complete(0, 'w'), false, 'complete: an unknown job');
SELECT is(bgjob_fail(9223372036854775807, 'w', 'e'), false, 'fail: an unknown job');
SELECT is(bgjob_fail(-1, 'w', 'e'), false, 'fail: a negative id');
SELECT is(bgjob_release(0, 'w'), false, 'release: an unknown job');
SELECT is(bgjob_external_log(0, 'w', 'm'), false, 'external_log: an unknown job');
SELECT is(bgjob_external_progress(0, 'w', 1), false, 'external_progress: an unknown job');
SELECT is(coalesce(bgjob_complete(NULL, 'w'), false), false, 'complete: a null id');
SELECT is(coalesce(bgjob_fail(NULL, 'w', 'e'), false), false, 'fail: a null id');
SELECT is(coalesce(bgjob_release(NULL, 'w'), false), false, 'release: a null id');
SELECT is(ARRAY[bgjob_complete(:held, 'x'), bgjob_fail(:held, 'x', 'e'), bgjob_release(:held, 'x'), bgjob_external_log(:held, 'x', 'm'), bgjob_external_progress(:held, 'x', 1)],
	'{f,f,f,f,f}'::boolean[], 'another worker may do nothing with it');
SELECT is(ARRAY[bgjob_complete(:waits, 'w'), bgjob_fail(:waits, 'w', 'e'), bgjob_release(:waits, 'w'), bgjob_external_log(:waits, 'w', 'm'), bgjob_external_progress(:waits, 'w', 1)],
	'{f,f,f,f,f}'::boolean[], 'nor may anybody with a job that waits');
SELECT is((SELECT string_agg(state, ' ' ORDER BY id) FROM bgjob.jobs WHERE id IN (:held, :waits)), 'processing enqueued', 'both are as before');
SELECT bgjob_enqueue('t_fine') AS f \gset
SELECT is(bgjob_wait(:f, '60 s'), 'succeeded', 'a function runs');
SELECT is(ARRAY[bgjob_complete(:f, 'w'), bgjob_fail(:f, 'w', 'e'), bgjob_release(:f, 'w')], '{f,f,f}'::boolean[], 'a job that is no external one cannot be answered for');

SELECT is((SELECT count(*) FROM bgjob_fetch('{unknown-queue}', 'w')), 0::bigint, 'a queue that is not there has no jobs');
SELECT is((SELECT count(*) FROM bgjob_fetch(ARRAY[repeat('q', 63)], repeat('w', 63), 10000, '1 year')), 0::bigint, 'the longest names, most jobs, the longest lease');
SELECT is((SELECT count(*) FROM bgjob_fetch('{unknown}', repeat('ä', 31) || 'x', 1, '1 microsecond')), 0::bigint, 'a name of 63 bytes, the shortest lease');
SELECT is((SELECT count(*) FROM bgjob_fetch('{unknown}', 'host 1/"q", it''s {1} \ %s ☃')), 0::bigint, 'a name of any other characters');
SELECT bgjob_delete(:held), bgjob_delete(:waits) \g /dev/null

----------------------------------------------------------------------------------------------------
-- Jobs of kind external, from each function that creates some
----------------------------------------------------------------------------------------------------

CREATE TABLE t_json (n serial, args jsonb);
INSERT INTO t_json (args) VALUES (NULL), ('null'), ('1'), ('-1.50'), ('"text"'), ('true'), ('[]'), ('{}'), ('[1, [2, {"a": null}]]'), ('{"a": {"b": [1, "☃ 😀 \u00e4 \\ \" \n"]}, "": 0}');
SELECT count(bgjob_enqueue('any name, at all: λ ☃ (int)', args, 'external', queue => 'json')) AS x FROM (SELECT args FROM t_json ORDER BY n OFFSET 0) j \gset
SELECT results_eq($$ SELECT args, job FROM bgjob_fetch('{json}', 'json', 100) $$, $$ SELECT args, 'any name, at all: λ ☃ (int)'::text FROM t_json ORDER BY n $$, 'args of any kind, and the name, come as they were given');
SELECT is((SELECT array_agg(DISTINCT format('%s %s %s', kind, state, run_as)) FROM bgjob.jobs WHERE queue = 'json'), ARRAY['external processing ' || current_user], 'their kind is external');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE queue = 'json' AND bgjob_complete(id, 'json', args)), 10::bigint, 'each is completed with its args as the result');
SELECT results_eq($$ SELECT coalesce(result, 'null') FROM bgjob.jobs WHERE queue = 'json' ORDER BY id $$, $$ SELECT coalesce(args, 'null') FROM t_json ORDER BY n $$, 'the results are what was given');

SELECT is(tap_error($$SELECT bgjob_enqueue(NULL, kind => 'external')$$) ~ '^220(04|23)$', true, 'a null name is refused');
SELECT is(tap_error($$SELECT bgjob_enqueue('', kind => 'external')$$) ~ '^22023$|^42602$', true, 'an empty name is refused');
SELECT is(tap_error($$SELECT bgjob_enqueue('x', kind => 'External')$$) ~ '^22023', true, 'an unknown kind is refused');

SELECT array_agg(id) AS many FROM bgjob_enqueue_many('many', ARRAY['[1]', '{"a": 2}', '3', NULL]::jsonb[], kind => 'external', queue => 'ways', priority => 7, tags => '{t}', parameters => '{"p": 1}') id \gset
SELECT is((SELECT array_agg(format('%s %s %s %s %s %s', id, job, args, queue, attempt, parameters)) FROM bgjob_fetch('{ways}', 'ways', 10)),
	(SELECT array_agg(format('%s many %s ways 1 {"p": 1}', id, args)) FROM unnest(:'many'::bigint[], ARRAY['[1]', '{"a": 2}', '3', NULL]::jsonb[]) u (id, args)), 'jobs of bgjob_enqueue_many');
SELECT count(bgjob_complete(id, 'ways')) AS x FROM unnest(:'many'::bigint[]) id \gset

CREATE TABLE t_row (id int, name text);
CREATE TRIGGER t_row AFTER INSERT ON t_row FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('on_row', 'kind=external', 'queue=ways', 'columns=id');
CREATE TRIGGER t_rows AFTER INSERT ON t_row REFERENCING NEW TABLE AS new FOR EACH STATEMENT EXECUTE FUNCTION bgjob_enqueue_trigger('on_statement', 'kind=external', 'queue=ways');
INSERT INTO t_row VALUES (1, 'one'), (2, 'two');
CALL t_take('{ways}', 'ways', 4);
SELECT is((SELECT array_agg(format('%s %s', job, args) ORDER BY job, args) FROM bgjob.jobs WHERE id = ANY (t_taken())),
	ARRAY['on_row {"id": 1}', 'on_row {"id": 2}', 'on_statement {"id": 1, "name": "one"}', 'on_statement {"id": 2, "name": "two"}'], 'jobs of triggers');
SELECT is(t_complete_taken(), 4::bigint, 'they are completed');
DROP TABLE t_row;

SELECT bgjob_recurring('ext', '@yearly', 'report', '{"n": 1}', kind => 'external', queue => 'ways', parameters => '{"x": "y"}') \g /dev/null
SELECT bgjob_recurring_trigger('ext') AS r \gset
CALL t_take('{ways}', 'ways', 1);
SELECT is(t_taken(), ARRAY[:r::bigint], 'a job of a recurring one');
SELECT is((SELECT format('%s %s %s %s', kind, job, args, recurring_name) FROM bgjob.jobs WHERE id = :r), 'external report {"n": 1} ext', 'as it was given');
SELECT is(bgjob_complete(:r, 'ways'), true, 'it is completed');
SELECT is((SELECT kind || ' ' || last_state FROM bgjob.recurring_jobs WHERE name = 'ext'), 'external succeeded', 'bgjob.recurring_jobs shows it');
SELECT bgjob_recurring('often', '@every_second', 'tick', kind => 'external', queue => 'often', overlap => 'skip') \g /dev/null
CALL t_take('{often}', 'often', 1);
SELECT is((SELECT count(*) FROM t_got), 1::bigint, 'the schedule makes jobs');
SELECT is((SELECT args IS NULL AND parameters ? 'scheduled_for' FROM bgjob.jobs WHERE id = (t_taken())[1]), true, 'with the time of the occurrence in their parameters');
CALL tap_wait_until($$SELECT error IS NOT NULL OR next_run_at > (SELECT started_at FROM bgjob.jobs WHERE queue = 'often' AND state = 'processing') + interval '2.5 s' FROM bgjob.recurring_jobs WHERE name = 'often'$$, 10);
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE queue = 'often'), 1::bigint, 'overlap skip: while it is leased there is no other');
SELECT bgjob_recurring_remove('often'), bgjob_recurring_remove('ext') \g /dev/null
SELECT is(t_complete_taken(), 1::bigint, 'the job of a schedule is completed');

----------------------------------------------------------------------------------------------------
-- The life of a job, and what the views show
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('life', '{"k": "v"}', 'external', queue => 'life', priority => 3, max_retries => 4, timeout => '1 hour', tags => '{a,b}', parameters => '{"traceparent": "x"}') AS j \gset
SELECT is(t_is(:j), 'enqueued no worker', 'it waits for an external worker');
SELECT is((SELECT count(*) FROM bgjob_why(:j) WHERE reason = 'no worker'), 1::bigint, 'bgjob_why() says that there is none');
SELECT is(t_counts('life'), '1 enqueued, 0 processing, 0 scheduled, 0 failed', 'bgjob.queues counts it');
SELECT is((SELECT workers FROM bgjob.stats), (SELECT count(*) FROM bgjob.workers), 'internal workers are those of bgjob.workers');
SELECT processing AS before FROM bgjob.stats \gset
SELECT clock_timestamp() AS began \gset
SELECT * FROM bgjob_fetch('{life}', 'life worker', 1, '10 min') \gset f_
SELECT clock_timestamp() AS after \gset
SELECT is(format('%s %s %s %s %s %s', :f_id, :'f_job', :'f_args', :'f_queue', :'f_attempt', :'f_parameters'), format('%s life {"k": "v"} life 1 {"traceparent": "x"}', :j), 'fetch returns it');
SELECT ok(:'f_lease_until'::timestamptz BETWEEN :'began'::timestamptz + interval '10 min' AND :'after'::timestamptz + interval '10 min', 'its lease is ten minutes by the clock of the server');
SELECT is(t_fetch('{life}', 'life worker'), '{}', 'nobody gets it a second time');
SELECT is(t_fetch('{*}', 'another'), '{}', 'nor another worker');
SELECT is((SELECT concat_ws(' ', state, reason, server, retries, interruptions, finished_at) FROM bgjob.jobs WHERE id = :j), 'processing life worker 0 0', 'bgjob.jobs: the worker');
-- This session has served several workers, as one of a pool of connections does.
SELECT is((SELECT worker_pid FROM bgjob.jobs WHERE id = :j), NULL, 'its session counts no more');
SELECT ok(started_at BETWEEN :'began' AND :'after', 'when it started') FROM bgjob.jobs WHERE id = :j;
SELECT is(t_states(:j), '{enqueued,processing}', 'bgjob.job_states: it is being processed');
SELECT is((SELECT data FROM bgjob.job_states WHERE job_id = :j AND state = 'processing'), jsonb_build_object('server', 'life worker', 'worker_pid', NULL, 'attempt', 1), 'and by whom');
SELECT is(t_counts('life'), '0 enqueued, 1 processing, 0 scheduled, 0 failed', 'bgjob.queues');
SELECT is((SELECT processing FROM bgjob.stats), :before + 1::bigint, 'bgjob.stats');
SELECT is((SELECT array_agg(id) FROM bgjob_list(state => 'processing', queue => 'life')), ARRAY[:j::bigint], 'bgjob_list() finds it in state processing');
SELECT is((SELECT count(*) FROM bgjob_list(state => 'enqueued', queue => 'life')), 0::bigint, 'and not in state enqueued');
SELECT is((SELECT array_agg(id) FROM bgjob_list(job => 'life', tag => 'b', search => 'v')), ARRAY[:j::bigint], 'bgjob_list() finds it by name, tag and arguments');
SELECT is((SELECT count(*) FROM bgjob_why(:j)), 0::bigint, 'bgjob_why(): nothing holds it up');
SELECT is((SELECT format('%s %s %s %s %s', kind, queues, workers, busy, paused) FROM bgjob.servers WHERE name = 'life worker'), 'external {life} 0 1 f', 'bgjob.servers shows the worker, and that the lease alone counts');
SELECT ok(started_at BETWEEN :'began' AND :'after' AND heartbeat_at BETWEEN started_at AND clock_timestamp(), 'when it began, and was heard of') FROM bgjob.servers WHERE name = 'life worker';
SELECT is((SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'bgjob.servers'::regclass AND attnum > 0),
	'{name,kind,queues,workers,busy,started_at,heartbeat_at,paused}'::text[], 'the columns of bgjob.servers');
SELECT is(bgjob_wait(:j, '10 ms'), NULL, 'bgjob_wait() waits for it');
SELECT is(bgjob_result(:j), NULL, 'there is no result yet');

SELECT heartbeat_at AS seen FROM bgjob.servers WHERE name = 'life worker' \gset
SELECT is(t_beat('life worker', ARRAY[:j]), ARRAY[:j || ' continue'], 'heartbeat: go on');
SELECT ok(heartbeat_at > :'seen', 'it was heard of') FROM bgjob.servers WHERE name = 'life worker';
SELECT is(bgjob_external_progress(:j, 'life worker', 12.5, 'a ☃ part'), true, 'progress');
SELECT is((SELECT format('%s %s', round(progress, 1), progress_message) FROM bgjob.jobs WHERE id = :j), '12.5 a ☃ part', 'bgjob.jobs shows it');
SELECT is(bgjob_external_log(:j, 'life worker', 'line one'), true, 'a line');
SELECT is(bgjob_external_log(:j, 'life worker', 'zwei ☃' || E'\n' || 'lines', 'warning'), true, 'another, with a level');
SELECT is(bgjob_external_log(:j, 'life worker', ''), true, 'an empty one');
SELECT is((SELECT array_agg(format('%s %s %s', seq, level, message) ORDER BY seq) FROM bgjob.job_logs WHERE job_id = :j), ARRAY['1 info line one', '2 warning zwei ☃' || E'\n' || 'lines', '3 info '], 'bgjob.job_logs shows them');
SELECT is(bgjob_complete(:j, 'life worker', '{"size": 12}'), true, 'complete');
SELECT is(t_is(:j), 'succeeded', 'it has succeeded');
SELECT is(bgjob_result(:j), '{"size": 12}', 'with that result');
SELECT is(bgjob_wait(:j, '60 s'), 'succeeded', 'bgjob_wait() says so');
SELECT is(t_states(:j), '{enqueued,processing,succeeded}', 'its history');
SELECT ok((data ->> 'duration_ms')::float >= 0 AND (data ->> 'latency_ms')::float >= 0, 'duration and latency') FROM bgjob.job_states WHERE job_id = :j AND state = 'succeeded';
SELECT is((SELECT format('%s %s %s', server, round(progress, 1), finished_at BETWEEN started_at AND clock_timestamp()) FROM bgjob.jobs WHERE id = :j), 'life worker 12.5 t', 'bgjob.jobs keeps by whom, and how far');
SELECT is((SELECT count(*) FROM bgjob.job_logs WHERE job_id = :j), 3::bigint, 'the lines stay');
SELECT is(t_counts('life'), NULL, 'bgjob.queues counts it no more');
SELECT is((SELECT busy FROM bgjob.servers WHERE name = 'life worker'), 0, 'the worker is not busy');
SELECT is(ARRAY[bgjob_complete(:j, 'life worker', '1'), bgjob_fail(:j, 'life worker', 'e'), bgjob_release(:j, 'life worker'), bgjob_external_log(:j, 'life worker', 'm'), bgjob_external_progress(:j, 'life worker', 99)],
	'{f,f,f,f,f}'::boolean[], 'all further answers are too late');
SELECT is(format('%s %s %s', t_is(:j), bgjob_result(:j), (SELECT round(progress, 1) FROM bgjob.jobs WHERE id = :j)), 'succeeded {"size": 12} 12.5', 'and change nothing');
SELECT is(t_beat('life worker', ARRAY[:j]), ARRAY[:j || ' lost'], 'heartbeat: it has succeeded');
CALL tap_wait_until($$SELECT count(*) = 1 FROM bgjob.function_stats WHERE job = 'life'$$, 10);
SELECT is((SELECT concat_ws(' ', kind, run_as, jobs, attempts, failures, retries, interruptions, total_run_time >= 0, last_run_at IS NOT NULL) FROM bgjob.function_stats WHERE job = 'life'),
	format('external %s 1 1 0 0 0 t t', current_user), 'bgjob.function_stats counts it by its name');
SELECT is(bgjob_requeue(:j), true, 'it can be requeued');
SELECT is(t_fetch('{life}', 'life worker'), ARRAY[:j::bigint], 'and is fetched again');
SELECT is(bgjob_complete(:j, 'life worker'), true, 'complete without a result');
SELECT is((SELECT coalesce(result, 'null') FROM bgjob.jobs WHERE id = :j), 'null', 'the old result is gone');
SELECT is(bgjob_purge('succeeded') > 0, true, 'finished jobs are purged');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE id = :j), 0::bigint, 'also this one');
SELECT is(bgjob_complete(:j, 'life worker'), false, 'an answer for a job that was removed');

----------------------------------------------------------------------------------------------------
-- Whose turn it is
----------------------------------------------------------------------------------------------------

SELECT t_job('o-a') AS a1, t_job('o-b') AS b1, t_job('o-a') AS a2, t_job('o-c') AS c1, t_job('o-b') AS b2 \gset
SELECT bgjob_enqueue('work', kind => 'external', queue => 'o-a', priority => 5) AS a3 \gset
SELECT bgjob_enqueue('work', kind => 'external', queue => 'o-c', priority => -5) AS c0 \gset
SELECT bgjob_enqueue('t_fine', queue => 'o-b') AS fn, bgjob_enqueue('SELECT 1', queue => 'o-b') AS sq \gset
BEGIN;
SELECT is(t_fetch('{o-b,*,o-c}', 'o', 100), ARRAY[:b1, :b2, :a3, :a1, :a2, :c1, :c0]::bigint[], 'queues in the order of the array, * all others, then priority, then age; no job of another kind');
ROLLBACK;
BEGIN;
SELECT is(t_fetch('{o-c,o-a}', 'o', 100), ARRAY[:c1, :c0, :a3, :a1, :a2]::bigint[], 'no jobs of other queues');
ROLLBACK;
BEGIN;
SELECT is(t_fetch('{*}', 'o', 100), ARRAY[:a3, :a1, :b1, :a2, :c1, :b2, :c0]::bigint[], 'all queues: priority, then age');
ROLLBACK;
SELECT is(t_fetch('{o-a}', 'o', 2), ARRAY[:a3, :a1]::bigint[], 'no more than were asked for');
SELECT is(t_fetch('{o-b}', 'o'), ARRAY[:b1]::bigint[], 'one by default');
SELECT is((SELECT queues::text FROM bgjob.servers WHERE name = 'o'), '{o-b}', 'bgjob.servers has the queues of the last fetch');
SELECT is((SELECT busy FROM bgjob.servers WHERE name = 'o'), 3, 'and how many it holds');
SELECT is(bgjob_wait(:fn, '60 s') || bgjob_wait(:sq, '60 s'), 'succeededsucceeded', 'functions and commands of these queues are performed by internal workers');
CALL t_take('{*}', 'o', 4);
SELECT is(t_complete_taken(), 4::bigint, 'the rest');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE id IN (:a3, :a1, :b1) AND bgjob_complete(id, 'o')), 3::bigint, 'all are completed, in another order');

SELECT bgjob_enqueue('work', kind => 'external', queue => 'late', delay => '1 hour') AS j \gset
SELECT is(t_fetch('{late}', 'o'), '{}', 'a scheduled job is not fetched');
SELECT is(bgjob_reschedule(:j, delay => '50 ms'), true, 'it is due soon');
CALL t_take('{late}', 'o', 1);
SELECT is(t_taken(), ARRAY[:j::bigint], 'then it is');
SELECT is(t_complete_taken(), 1::bigint, 'and completed');

----------------------------------------------------------------------------------------------------
-- Transactions
----------------------------------------------------------------------------------------------------

SELECT t_job('tx') AS j1, t_job('tx') AS j2 \gset
BEGIN;
SELECT is(t_fetch('{tx}', 'tx'), ARRAY[:j1]::bigint[], 'fetch in a transaction');
SELECT is(t_is(:j1), 'processing', 'it is shown as leased there');
SELECT is(t_beat('tx', ARRAY[:j1]), ARRAY[:j1 || ' continue'], 'heartbeat there');
ROLLBACK;
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :j1), 'enqueued', 'a rollback gives it back');
SELECT is((SELECT concat_ws(' ', retries, interruptions) FROM bgjob.jobs WHERE id = :j1), '0 0', 'as if nothing had been');
SELECT is(t_states(:j1), '{enqueued}', 'nor does the history know of it');
SELECT is(bgjob_complete(:j1, 'tx'), false, 'it is not leased');
SELECT is(t_fetch('{tx}', 'tx'), ARRAY[:j1]::bigint[], 'it is the first again');
SELECT is(bgjob_release(:j1, 'tx'), true, 'and released');

BEGIN;
SAVEPOINT a;
SELECT is(t_fetch('{tx}', 'tx'), ARRAY[:j1]::bigint[], 'fetch in a savepoint');
ROLLBACK TO a;
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :j1), 'enqueued', 'rolled back: it waits');
SELECT is(t_fetch('{tx}', 'tx'), ARRAY[:j1]::bigint[], 'and is fetched by the same transaction again');
SAVEPOINT b;
SELECT is(t_fetch('{tx}', 'tx'), ARRAY[:j2]::bigint[], 'then the next');
SELECT is(bgjob_complete(:j1, 'tx', '1'), true, 'completed in a savepoint');
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :j1), 'succeeded', 'it has succeeded there');
ROLLBACK TO b;
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :j1), 'processing', 'rolled back: it is leased');
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :j2), 'enqueued', 'the other is not');
SELECT is(bgjob_fail(:j1, 'tx', 'e'), true, 'it may fail instead');
ROLLBACK TO b;
SELECT is(bgjob_release(:j1, 'tx'), true, 'or be released');
ROLLBACK TO b;
SAVEPOINT c;
SELECT is(bgjob_complete(:j1, 'tx', '2'), true, 'or be completed');
RELEASE c;
RELEASE b;
RELEASE a;
COMMIT;
SELECT is(t_is(:j1) || bgjob_result(:j1), 'succeeded2', 'fetch and complete in one transaction');
SELECT is(t_states(:j1), '{enqueued,processing,enqueued,processing,succeeded}', 'its history has the release and the end, and nothing that was rolled back');

SELECT is(t_fetch('{tx}', 'tx'), ARRAY[:j2]::bigint[], 'the second job');
CREATE TABLE t_result (job bigint, v int);
BEGIN;
INSERT INTO t_result VALUES (:j2, 1);
SELECT is(bgjob_complete(:j2, 'tx', '1'), true, 'complete beside a result of the own');
ROLLBACK;
SELECT is(t_is(:j2), 'processing', 'rolled back: it is leased as before');
SELECT is(t_beat('tx', ARRAY[:j2]), ARRAY[:j2 || ' continue'], 'its worker goes on');
BEGIN;
INSERT INTO t_result VALUES (:j2, 2);
SELECT is(bgjob_complete(:j2, 'tx', '2'), true, 'again');
SELECT is(bgjob_complete(:j2, 'tx', '3'), false, 'only once');
COMMIT;
SELECT is((SELECT array_agg(v) FROM t_result), '{2}'::int[], 'both are there, once');

SELECT t_job('tx') AS j \gset
BEGIN;
SELECT is(t_fetch('{tx}', 'tx'), ARRAY[:j]::bigint[], 'a transaction fetches');
SELECT is(bgjob_complete(:j, 'tx'), true, 'and completes');
ROLLBACK;
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :j), 'enqueued', 'rolled back: it waits');
\set ON_ERROR_STOP off
\set VERBOSITY sqlstate
BEGIN;
SELECT t_fetch('{tx}', 'tx') \g /dev/null
PREPARE TRANSACTION 'tap34' \g /dev/null
\set state :SQLSTATE
ROLLBACK;
SELECT is(:'state'::text, '0A000', 'a transaction that has fetched cannot be prepared');
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :j), 'enqueued', 'the job waits');
BEGIN READ ONLY;
SELECT t_fetch('{tx}', 'tx') \g /dev/null
\set state :SQLSTATE
ROLLBACK;
SELECT is(:'state'::text, '25006', 'nor may one that is read-only fetch');
SELECT t_fetch('{tx}', 'tx') \g /dev/null
BEGIN READ ONLY;
SELECT bgjob_complete(:j, 'tx') \g /dev/null
\set state :SQLSTATE
ROLLBACK;
SELECT is(:'state'::text, '25006', 'or complete');
BEGIN READ ONLY;
SELECT bgjob_fail(:j, 'tx', 'e') \g /dev/null
\set state :SQLSTATE
ROLLBACK;
SELECT is(:'state'::text, '25006', 'or fail');
BEGIN READ ONLY;
SELECT bgjob_release(:j, 'tx') \g /dev/null
\set state :SQLSTATE
ROLLBACK;
SELECT is(:'state'::text, '25006', 'or release');
\set ON_ERROR_STOP on
\set VERBOSITY default
-- pgTAP has temporary tables, so a transaction that calls it cannot be prepared.
BEGIN;
SELECT bgjob_complete(:j, 'tx', '"prepared"') AS completed \gset
PREPARE TRANSACTION 'tap34';
SELECT is(:'completed'::boolean, true, 'completed');
SELECT is(bgjob_complete(:j, 'other'), false, 'meanwhile another worker has no answer');
COMMIT PREPARED 'tap34';
SELECT is(t_is(:j) || bgjob_result(:j), 'succeeded"prepared"', 'by a prepared transaction');
CALL tap_wait_until($$SELECT busy = 0 FROM bgjob.servers WHERE name = 'tx'$$, 20);
SELECT is((SELECT busy FROM bgjob.servers WHERE name = 'tx'), 0, 'the worker holds nothing any more');
SELECT t_job('tx') AS j \gset
SELECT t_fetch('{tx}', 'tx') \g /dev/null
BEGIN;
SELECT bgjob_fail(:j, 'tx', 'no', retry => false) AS failed \gset
PREPARE TRANSACTION 'tap34';
ROLLBACK PREPARED 'tap34';
SELECT is(:'failed'::boolean, true, 'failed');
SELECT is(t_is(:j), 'processing', 'a prepared transaction that is rolled back changes nothing');
SELECT is(bgjob_complete(:j, 'tx'), true, 'and it can be completed');

SELECT t_job('tx') AS j \gset
SELECT t_fetch('{tx}', 'tx') \g /dev/null
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT count(*) AS x FROM bgjob.jobs \gset
SELECT is(bgjob_complete(:j, 'tx'), true, 'complete in a serializable transaction');
COMMIT;
SELECT is(t_is(:j), 'succeeded', 'it has succeeded');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) AS x FROM bgjob.jobs \gset
SELECT t_job('tx') AS j \gset
SELECT is(t_fetch('{tx}', 'tx'), '{}', 'a job of this transaction is not there yet');
COMMIT;
SELECT is(t_fetch('{tx}', 'tx'), ARRAY[:j]::bigint[], 'after its commit it is');
SELECT is(bgjob_complete(:j, 'tx'), true, 'completed');
-- Many subtransactions.
SELECT count(t_job('tx')) AS x FROM generate_series(1, 200) \gset
CREATE FUNCTION t_storm() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	kept int := 0;
	job bigint;
BEGIN
	FOR i IN 1 .. 400 LOOP
		BEGIN
			SELECT f.id INTO STRICT job FROM bgjob_fetch('{tx}', 'storm') f;
			IF i % 2 = 0 THEN
				BEGIN
					PERFORM bgjob_complete(job, 'storm', to_jsonb(i));
					IF i % 4 = 0 THEN RAISE EXCEPTION 'inner'; END IF;
				EXCEPTION WHEN raise_exception THEN
					PERFORM bgjob_complete(job, 'storm', '"again"');
				END;
				kept := kept + 1;
			ELSE
				RAISE EXCEPTION 'outer';
			END IF;
		EXCEPTION WHEN raise_exception THEN NULL;
		END;
	END LOOP;
	RETURN kept;
END $$;
SELECT is(t_storm(), '200', 'a storm of subtransactions takes each job once');
SELECT is((SELECT format('%s %s', count(*), count(*) FILTER (WHERE result = '"again"')) FROM bgjob.jobs WHERE queue = 'tx' AND server = 'storm' AND state = 'succeeded'), '200 100', 'and each has the result that was not rolled back');
SELECT is(t_fetch('{tx}', 'tx'), '{}', 'none is left');

----------------------------------------------------------------------------------------------------
-- Failures and retries
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('flaky', kind => 'external', queue => 'fail', max_retries => 2, retry_delays => '{20 ms,30 ms}') AS j \gset
CALL t_take('{fail}', 'f', 1);
SELECT is((SELECT attempt FROM t_got), 1, 'the first attempt');
SELECT is(bgjob_fail(:j, 'f', 'it broke', '{"sqlstate": "22012", "detail": "a detail", "hint": "a hint", "context": "line 7"}'), true, 'it fails');
SELECT is(bgjob_complete(:j, 'f'), false, 'and the lease is over');
SELECT is((SELECT error @> '{"sqlstate": "22012", "message": "it broke", "detail": "a detail", "hint": "a hint", "context": "line 7"}' FROM bgjob.jobs WHERE id = :j), true, 'bgjob.jobs.error has it');
SELECT is((t_states(:j))[1:4], '{enqueued,processing,failed,scheduled}', 'processing, failed, scheduled');
SELECT is((SELECT data @> '{"sqlstate": "22012", "message": "it broke"}' FROM bgjob.job_states WHERE job_id = :j AND state = 'failed' AND data IS NOT NULL), true, 'the history has the error');
SELECT is((SELECT reason FROM bgjob.job_states WHERE job_id = :j AND state = 'scheduled' AND reason NOT LIKE 'Late%'), 'Retry attempt 1 of 2: it broke', 'and the reason');
CALL t_take('{fail}', 'f', 1);
SELECT is((SELECT attempt FROM t_got), 2, 'the second attempt');
SELECT is((SELECT retries FROM bgjob.jobs WHERE id = :j), 1, 'a retry is used');
SELECT is(bgjob_fail(:j, 'f', 'again'), true, 'it fails again');
CALL t_take('{fail}', 'f', 1);
SELECT is((SELECT attempt FROM t_got), 3, 'the third attempt');
SELECT is(bgjob_fail(:j, 'f', 'at last'), true, 'it fails again');
SELECT is(t_is(:j), 'failed at last', 'the retries are exhausted');
SELECT is(bgjob_wait(:j, '1 s'), 'failed', 'bgjob_wait() says so');
SELECT is(t_counts('fail'), '0 enqueued, 0 processing, 0 scheduled, 1 failed', 'bgjob.queues, too');
SELECT is(t_beat('f', ARRAY[:j]), ARRAY[:j || ' cancel'], 'heartbeat: it has failed');
SELECT is((SELECT format('%s %s %s %s %s', jobs, attempts, failures, retries, last_error) FROM bgjob.function_stats WHERE job = 'flaky'), '1 3 3 2 at last', 'bgjob.function_stats counts the attempts');
SELECT is(bgjob_requeue(:j), true, 'requeued it begins anew');
SELECT is((SELECT attempt FROM bgjob_fetch('{fail}', 'f')), 1, 'with the first attempt');
SELECT is(bgjob_complete(:j, 'f'), true, 'and succeeds');
SELECT is((SELECT error IS NULL FROM bgjob.jobs WHERE id = :j), (SELECT error IS NULL FROM bgjob.jobs WHERE id = :j AND state = 'succeeded'), 'as a job of an internal worker does');

SELECT t_job('fail') AS j \gset
SELECT t_fetch('{fail}', 'f') \g /dev/null
SELECT is(bgjob_fail(:j, 'f', 'hopeless', retry => false), true, 'a failure that is not to be retried');
SELECT is(t_is(:j) || (SELECT ' ' || retries FROM bgjob.jobs WHERE id = :j), 'failed hopeless 0', 'fails for good');
SELECT bgjob_enqueue('t', kind => 'external', queue => 'fail', max_retries => 0) AS j \gset
SELECT t_fetch('{fail}', 'f') \g /dev/null
SELECT is(bgjob_fail(:j, 'f', '', retry => true), true, 'a failure without a text, of a job without retries');
SELECT is((SELECT state || (error ->> 'message') FROM bgjob.jobs WHERE id = :j), 'failed', 'fails for good');
SELECT t_job('fail') AS j \gset
SELECT t_fetch('{fail}', 'f') \g /dev/null
SELECT is(bgjob_fail(:j, 'f', 'default back-off'), true, 'without retry_delays');
SELECT ok(run_at - (SELECT at FROM bgjob.job_states WHERE job_id = :j AND state = 'failed') BETWEEN '14.9 s' AND '45 s', 'the back-off is the default one') FROM bgjob.jobs WHERE id = :j;
SELECT bgjob_delete(:j) \g /dev/null

-- Details of any kind.
CREATE TABLE t_detail (n serial, detail jsonb, job bigint);
INSERT INTO t_detail (detail) VALUES (NULL), ('null'), ('1'), ('"a string"'), ('[1, 2]'), ('{}'), ('{"code": 17, "stack": ["a", "b"]}'), ('{"sqlstate": null, "detail": 5, "hint": {"x": 1}, "context": []}'),
	('{"message": "of the detail", "sqlstate": "P0001"}'), ('{"sqlstate": "ZZ999"}');
UPDATE t_detail SET job = bgjob_enqueue('d', kind => 'external', queue => 'detail', max_retries => 0);
SELECT count(*) AS x FROM bgjob_fetch('{detail}', 'f', 100) \gset
SELECT is((SELECT count(*) FROM t_detail WHERE bgjob_fail(job, 'f', 'e', detail)), 10::bigint, 'any detail is taken');
SELECT is((SELECT count(*) FROM t_detail d JOIN bgjob.jobs j ON j.id = d.job WHERE j.state = 'failed' AND j.error ->> 'message' = 'e'), 10::bigint, 'the message is that of the call');
SELECT t_job('detail') AS j \gset
SELECT t_fetch('{detail}', 'f') \g /dev/null
SELECT is(tap_error(format('SELECT bgjob_fail(%s, ''f'', ''e'', %L)', :j, detail)), '22023', 'a malformed SQLSTATE is refused: ' || detail)
	FROM unnest(ARRAY['{"sqlstate": "x"}', '{"sqlstate": "toolong"}', '{"sqlstate": "☃☃☃☃☃"}', '{"sqlstate": ""}', '{"sqlstate": "ab''; "}']) detail;
SELECT is(t_is(:j), 'processing', 'and changes nothing');
SELECT is(bgjob_complete(:j, 'f'), true, 'completed');
SELECT is((SELECT error::text LIKE '%["a", "b"]%' FROM t_detail d JOIN bgjob.jobs j ON j.id = d.job WHERE detail ? 'code'), true, 'what is no part of an error of SQL is kept whole');
SELECT is((SELECT count(*) FROM t_detail d JOIN bgjob.job_states s ON s.job_id = d.job WHERE s.state = 'failed' AND s.data ? 'message'), 10::bigint, 'the history has them');
SELECT is((SELECT count(*) FROM bgjob_list(state => 'failed', queue => 'detail', max_rows => 100)), 10::bigint, 'bgjob_list() lists them');

----------------------------------------------------------------------------------------------------
-- Release
----------------------------------------------------------------------------------------------------

SELECT t_job('rel') AS j1, t_job('rel') AS j2 \gset
SELECT is(t_fetch('{rel}', 'r'), ARRAY[:j1]::bigint[], 'the first is fetched');
SELECT is(bgjob_external_log(:j1, 'r', 'kept'), true, 'it logs');
SELECT is(bgjob_release(:j1, 'r'), true, 'and is given back');
SELECT is((SELECT format('%s %s %s', state, reason, retries) FROM bgjob.jobs WHERE id = :j1), 'enqueued Released by worker "r" 0', 'it waits, says why, and has used no retry');
SELECT is(t_states(:j1), '{enqueued,processing,enqueued}', 'its history');
SELECT is((SELECT reason FROM bgjob.job_states WHERE job_id = :j1 AND seq = 3), 'Released by worker "r"', 'the history says why');
SELECT is(t_beat('r', ARRAY[:j1]), ARRAY[:j1 || ' cancel'], 'heartbeat: it was given back');
SELECT is((SELECT format('%s %s', id, attempt) FROM bgjob_fetch('{rel}', 'r2')), :j1 || ' 1', 'it is the first of the queue again, in the same attempt');
SELECT is(t_beat('r', ARRAY[:j1]), ARRAY[:j1 || ' lost'], 'heartbeat of the first worker: another has it');
SELECT is(bgjob_release(:j1, 'r'), false, 'it cannot be released twice');
SELECT is((SELECT array_agg(message) FROM bgjob.job_logs WHERE job_id = :j1), '{kept}'::text[], 'its lines stay');
SELECT clock_timestamp() AS began \gset
SELECT is(bgjob_release(:j1, 'r2', '1 hour'), true, 'given back with a delay');
SELECT ok(state = 'scheduled' AND retries = 0 AND run_at BETWEEN :'began'::timestamptz + interval '1 hour' AND clock_timestamp() + interval '1 hour' AND reason = 'Released by worker "r2"', 'it is scheduled, and has used no retry') FROM bgjob.jobs WHERE id = :j1;
SELECT is((t_states(:j1))[4:], '{processing,scheduled}'::text[], 'the history');
SELECT is((SELECT retries FROM bgjob.stats), 0::bigint, 'it is no retry');
SELECT is(t_fetch('{rel}', 'r', 10), ARRAY[:j2]::bigint[], 'others go on');
SELECT is(bgjob_release(:j2, 'r', '10 ms'), true, 'a short delay');
CALL t_take('{rel}', 'r', 1);
SELECT is(t_taken(), ARRAY[:j2]::bigint[], 'it is back after it');
SELECT is(bgjob_release(:j2, 'r', '0'), true, 'a delay of 0');
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :j2), 'enqueued', 'is none');
SELECT bgjob_delete(:j1), bgjob_delete(:j2) \g /dev/null
SELECT bgjob_enqueue('w', kind => 'external', queue => 'rel', max_retries => 1, retry_delays => '{1 ms}') AS j \gset
SELECT t_fetch('{rel}', 'r') \g /dev/null
SELECT bgjob_fail(:j, 'r', 'e') \g /dev/null
CALL t_take('{rel}', 'r', 1);
SELECT is((SELECT attempt FROM t_got), 2, 'a job in its second attempt');
SELECT is(bgjob_release(:j, 'r'), true, 'is released');
SELECT is((SELECT attempt FROM bgjob_fetch('{rel}', 'r')), 2, 'and stays in it');
SELECT is(bgjob_fail(:j, 'r', 'e2'), true, 'it fails');
SELECT is(t_is(:j), 'failed e2', 'for good');

----------------------------------------------------------------------------------------------------
-- Heartbeats
----------------------------------------------------------------------------------------------------

SELECT t_job('hb') AS j1, t_job('hb') AS j2, t_job('hb') AS j3, t_job('hb') AS j4 \gset
SELECT is(t_beat('h', NULL), '{}', 'a worker without jobs gives a sign of life');
SELECT t_fetch('{hb}', 'h', 3, '2 s') AS f1 \gset
SELECT t_fetch('{hb}', 'h2') \g /dev/null
SELECT is(t_beat('h', '{}'), '{}', 'no ids');
SELECT is(t_beat('h', ARRAY[:j3, :j1, 0, :j2, :j4, :j1]::bigint[]), ARRAY[:j3 || ' continue', :j1 || ' continue', '0 cancel', :j2 || ' continue', :j4 || ' lost', :j1 || ' continue'], 'in the order given: its own, an unknown one, another''s, one twice');
SELECT is((SELECT count(*) FROM bgjob_heartbeat('h', ARRAY[:j1]::bigint[], '1 hour')), 1::bigint, 'a heartbeat extends the lease');
SELECT is(bgjob_delete(:j1), true, 'a job is deleted');
SELECT is(bgjob_requeue(:j2), true, 'another is requeued');
SELECT is(t_beat('h', ARRAY[:j1, :j2, :j3]::bigint[]), ARRAY[:j1 || ' cancel', :j2 || ' cancel', :j3 || ' continue'], 'its worker is told to stop');
SELECT is(ARRAY[bgjob_complete(:j1, 'h'), bgjob_complete(:j2, 'h'), bgjob_complete(:j3, 'h')], '{f,f,t}'::boolean[], 'and its answers do not count');
SELECT is(t_beat('h', ARRAY[:j1, :j3]::bigint[]), ARRAY[:j1 || ' cancel', :j3 || ' lost'], 'deleted and succeeded');
BEGIN;
SELECT t_beat('h2', ARRAY[:j4]) \g /dev/null
SELECT is(pg_current_xact_id_if_assigned(), NULL, 'and takes no transaction id');
ROLLBACK;
SELECT is((SELECT count(*) FROM bgjob_heartbeat('h2', ARRAY(SELECT generate_series(1000000, 1009999)))), 10000::bigint, 'ten thousand ids');
SELECT is(bgjob_complete(:j4, 'h2'), true, 'completed');
CALL t_take('{hb}', 'h2', 1);
SELECT is(t_taken(), ARRAY[:j2]::bigint[], 'the requeued one is fetched by another');
SELECT is(t_beat('h', ARRAY[:j2]), ARRAY[:j2 || ' lost'], 'then the first has lost it');
SELECT is(t_complete_taken(), 1::bigint, 'completed');

----------------------------------------------------------------------------------------------------
-- Delete, requeue, reschedule, change, run
----------------------------------------------------------------------------------------------------

SELECT t_job('ctl') AS j \gset
SELECT is(tap_try(format('SELECT bgjob_run(%s)', :j)), 'ERROR 0A000', 'bgjob_run() cannot perform an external job');
SELECT is(bgjob_change(:j, 'ctl2', 9), true, 'a waiting job is changed');
SELECT is(t_fetch('{ctl}', 'c'), '{}', 'it is not in its old queue');
SELECT is(t_fetch('{ctl2}', 'c'), ARRAY[:j]::bigint[], 'but in the new one');
SELECT is(bgjob_change(:j, priority => 1), false, 'a leased one does not wait');
SELECT is(tap_try(format('SELECT bgjob_run(%s)', :j)) ~ 'ERROR (0A000|55000)', true, 'bgjob_run() of a leased job');
SELECT is(bgjob_delete(:j, from_state => 'enqueued'), false, 'it is not enqueued');
SELECT is(bgjob_delete(:j, from_state => 'processing'), true, 'but processing: it is deleted');
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :j), 'deleted', 'at once');
SELECT is(t_states(:j), '{enqueued,processing,deleted}', 'its history has the attempt');
SELECT is(bgjob_complete(:j, 'c', '1'), false, 'its worker has nothing to say');
SELECT is((SELECT format('%s %s', state, result) FROM bgjob.jobs WHERE id = :j), 'deleted ', 'nor changes it');
SELECT is((SELECT busy FROM bgjob.servers WHERE name = 'c'), 0, 'and holds nothing');
SELECT is(bgjob_requeue(:j), true, 'it is requeued');
SELECT is(t_fetch('{ctl2}', 'c'), ARRAY[:j]::bigint[], 'and fetched');
SELECT is(bgjob_requeue(:j), true, 'a leased job is requeued');
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :j), 'enqueued', 'it waits at once');
SELECT is((SELECT format('%s %s', id, attempt) FROM bgjob_fetch('{ctl2}', 'c3')), :j || ' 1', 'another worker gets it');
SELECT is(bgjob_complete(:j, 'c'), false, 'the first one does not complete it');
SELECT is(bgjob_reschedule(:j, delay => '1 hour'), true, 'a leased job is rescheduled');
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :j), 'scheduled', 'at once');
SELECT is(t_beat('c3', ARRAY[:j]), ARRAY[:j || ' cancel'], 'its worker is told');
SELECT is(bgjob_requeue(:j), true, 'it is requeued');
SELECT is((SELECT id FROM bgjob_fetch('{ctl2}', 'c')), :j::bigint, 'and fetched');
BEGIN;
SELECT is(bgjob_delete(:j), true, 'deleted in a transaction');
ROLLBACK;
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :j), 'processing', 'a rollback undoes it');
SELECT is(t_beat('c', ARRAY[:j]), ARRAY[:j || ' continue'], 'its worker goes on');
BEGIN;
SAVEPOINT s;
SELECT is(bgjob_requeue(:j), true, 'requeued in a savepoint');
ROLLBACK TO s;
SELECT is(bgjob_complete(:j, 'c', '5'), true, 'completed after all');
COMMIT;
SELECT is(t_is(:j) || bgjob_result(:j), 'succeeded5', 'as the last one said');

SELECT bgjob_queue_pause('pq') \g /dev/null
SELECT t_job('pq') AS j \gset
SELECT is(t_fetch('{pq}', 'c') || t_fetch('{*}', 'c'), '{}', 'a paused queue gives nothing');
SELECT is((SELECT reason FROM bgjob_why(:j) LIMIT 1), 'queue paused', 'and bgjob_why() says so');
SELECT bgjob_queue_resume('pq') \g /dev/null
CALL t_take('{pq}', 'c', 1);
SELECT is(t_taken(), ARRAY[:j]::bigint[], 'until it is resumed');
SELECT bgjob_queue_pause('pq') \g /dev/null
SELECT is(t_beat('c', ARRAY[:j]), ARRAY[:j || ' continue'], 'a job that is leased goes on');
SELECT is(t_complete_taken(), 1::bigint, 'and is completed');
SELECT bgjob_queue_remove('pq') \g /dev/null

SELECT bgjob_queue('len', max_length => 2) \g /dev/null
SELECT t_job('len'), t_job('len') \g /dev/null
SELECT is(tap_try($$SELECT t_job('len')$$), 'ERROR 53400', 'max_length refuses external jobs, too');
SELECT t_fetch('{len}', 'c') \g /dev/null
SELECT is(tap_try($$SELECT t_job('len') IS NULL$$), 'false', 'one that is leased does not wait');
SELECT bgjob_queue_remove('len') \g /dev/null
CALL t_take('{len}', 'c', 2);
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE queue = 'len' AND bgjob_complete(id, 'c')), 3::bigint, 'all three are completed');

----------------------------------------------------------------------------------------------------
-- Unique keys
----------------------------------------------------------------------------------------------------

CREATE FUNCTION t_unique(on_duplicate text, args jsonb = NULL, key text = 'k') RETURNS bigint LANGUAGE sql AS
	$$ SELECT bgjob_enqueue('u', args, 'external', queue => 'uni', unique_key => key, on_duplicate => on_duplicate) $$;
SELECT t_unique('skip', '1') AS j \gset
SELECT is(t_unique('skip', '2'), :j::bigint, 'skip: the job that waits');
SELECT is(t_unique('replace', '3'), :j::bigint, 'replace: the same job');
SELECT is((SELECT args FROM bgjob_fetch('{uni}', 'u')), '3', 'with new arguments');
SELECT is(t_unique('skip'), :j::bigint, 'skip: the leased one');
SELECT is(tap_try($$SELECT t_unique('error')$$), 'ERROR 23505', 'error: it is leased');
SET client_min_messages = error;
SELECT is(t_unique('replace', '4'), :j::bigint, 'replace: a leased one is not changed');
SELECT is(t_unique('reschedule'), :j::bigint, 'reschedule: nor is it');
SET client_min_messages = warning;
SELECT is((SELECT format('%s %s', state, args) FROM bgjob.jobs WHERE id = :j), 'processing 3', 'it is as it was');
SELECT t_unique('supersede', '5') AS k \gset
SELECT isnt(:k::bigint, :j::bigint, 'supersede: another job');
CALL tap_state_is(:j, 'deleted', 10);
SELECT is(t_is(:j), 'deleted Superseded by job ' || :k, 'the leased one is deleted');
SELECT is(t_beat('u', ARRAY[:j]), ARRAY[:j || ' cancel'], 'its worker is told');
SELECT is(bgjob_complete(:j, 'u'), false, 'its answer does not count');
CALL t_take('{uni}', 'u', 1);
SELECT is(t_taken(), ARRAY[:k]::bigint[], 'the new one is fetched');
SELECT is(bgjob_fail(:k, 'u', 'e'), true, 'it fails, with retries left');
SELECT is(t_unique('skip'), :k::bigint, 'it keeps the key');
SELECT t_unique('supersede', '6') AS l \gset
SELECT is(t_is(:k), 'deleted Superseded by job ' || :l, 'and is superseded');
CALL t_take('{uni}', 'u', 1);
BEGIN;
SELECT is(bgjob_complete(:l, 'u'), true, 'completed');
SELECT t_unique('error', '7') AS m \gset
COMMIT;
SELECT isnt(:m::bigint, :l::bigint, 'the key is free in the completing transaction');
CALL t_take('{uni}', 'u', 1);
SELECT is(t_complete_taken(), 1::bigint, 'the next is completed');
SELECT is((SELECT count(*) FROM bgjob_internal.unique_key), 0::bigint, 'no key is left');

----------------------------------------------------------------------------------------------------
-- Sequences, limits, rates, max_running, fairness, start_within
----------------------------------------------------------------------------------------------------

CREATE FUNCTION t_gated(queue text, how_many int, sequence_key text = NULL, limits text[] = NULL, fairness_key text = NULL, max_retries int = 3) RETURNS bigint[] LANGUAGE sql AS $$
	SELECT array_agg(id) FROM bgjob_enqueue_many('g', ARRAY(SELECT to_jsonb(i) FROM generate_series(1, how_many) i), kind => 'external', queue => queue, sequence_key => sequence_key, limits => limits,
		fairness_key => fairness_key, max_retries => max_retries, retry_delays => '{1 hour}') id $$;

SELECT t_gated('seq', 4, 'key') AS s \gset
SELECT is(t_fetch('{seq}', 'g', 10), (:'s'::bigint[])[1:1], 'sequence_key: only the first of four');
SELECT is((SELECT reason FROM bgjob_why((:'s'::bigint[])[2]) LIMIT 1), 'sequence', 'the second waits for it');
SELECT is(bgjob_release((:'s'::bigint[])[1], 'g'), true, 'released');
CALL t_take('{seq}', 'g', 1);
SELECT is(t_taken(), (:'s'::bigint[])[1:1], 'it is still the first');
SELECT is(t_complete_taken(), 1::bigint, 'completed');
CALL t_take('{seq}', 'g', 1);
SELECT is(t_taken(), (:'s'::bigint[])[2:2], 'then the second');
SELECT is(bgjob_fail((:'s'::bigint[])[2], 'g', 'e'), true, 'it fails, and waits for a retry');
SELECT is(t_fetch('{seq}', 'g', 10), '{}', 'it keeps the others back');
SELECT is(bgjob_requeue((:'s'::bigint[])[2]), true, 'requeued');
CALL t_take('{seq}', 'g', 1);
SELECT is(t_taken(), (:'s'::bigint[])[2:2], 'it is the next');
SELECT is(bgjob_fail((:'s'::bigint[])[2], 'g', 'e', retry => false), true, 'it fails for good');
SELECT is(t_fetch('{seq}', 'g', 10), '{}', 'and blocks the key');
SELECT is(bgjob_delete((:'s'::bigint[])[2]), true, 'deleted');
CALL t_take('{seq}', 'g', 1);
SELECT is(t_taken(), (:'s'::bigint[])[3:3], 'the third');
SELECT is(bgjob_delete((:'s'::bigint[])[3]), true, 'deleted while it is leased');
CALL t_take('{seq}', 'g', 1);
SELECT is(t_taken(), (:'s'::bigint[])[4:4], 'the fourth');
SELECT is(t_complete_taken(), 1::bigint, 'completed');
SELECT is((SELECT count(*) FROM bgjob_internal.sequence), 0::bigint, 'the sequence is over');

SELECT bgjob_limit('two', max_running => 2) \g /dev/null
SELECT t_gated('lim', 5, limits => '{two}') AS s \gset
SELECT is(t_fetch('{lim}', 'g', 10), (:'s'::bigint[])[1:2], 'max_running 2: two of five');
SELECT is((SELECT format('%s %s', running, waiting) FROM bgjob.limits WHERE name = 'two'), '2 3', 'bgjob.limits shows them');
SELECT is((SELECT reason FROM bgjob_why((:'s'::bigint[])[3]) LIMIT 1), 'limit', 'the third waits for the limit');
SELECT bgjob_enqueue('t_fine', limits => '{two}') AS fn \gset
SELECT is(bgjob_wait(:fn, '300 ms'), NULL, 'a function under the limit waits for external jobs');
BEGIN;
SELECT is(bgjob_complete((:'s'::bigint[])[1], 'g'), true, 'one is completed');
SELECT is(t_fetch('{lim}', 'g', 10), '{}', 'before the commit the place is not free');
ROLLBACK;
SELECT is(t_fetch('{lim}', 'g', 10), '{}', 'rolled back: nor after it');
SELECT is((SELECT running FROM bgjob.limits WHERE name = 'two'), 2, 'both places are taken');
SELECT is(bgjob_fail((:'s'::bigint[])[1], 'g', 'e', retry => false), true, 'one fails');
CALL t_take('{lim}', 'g', 1);
SELECT is(t_taken(), (:'s'::bigint[])[3:3], 'the third takes its place');
SELECT is(bgjob_delete((:'s'::bigint[])[2]), true, 'another is deleted while it is leased');
CALL t_take('{lim}', 'g', 1);
SELECT is(t_taken(), (:'s'::bigint[])[4:4], 'the fourth takes its place');
SELECT is(bgjob_release((:'s'::bigint[])[4], 'g', '1 hour'), true, 'one is released');
CALL t_take('{lim}', 'g', 1);
SELECT is(t_taken(), (:'s'::bigint[])[5:5], 'the fifth takes its place');
BEGIN;
SELECT is(t_complete_taken(), 1::bigint, 'completed');
COMMIT;
SELECT is(bgjob_wait(:fn, '20 s'), 'succeeded', 'the function runs');
SELECT is(bgjob_complete((:'s'::bigint[])[3], 'g'), true, 'the third is completed');
SELECT bgjob_delete((:'s'::bigint[])[4]) \g /dev/null
CALL tap_wait_until($$SELECT running = 0 AND waiting = 0 FROM bgjob.limits WHERE name = 'two'$$, 10);
SELECT is((SELECT format('%s %s', running, waiting) FROM bgjob.limits WHERE name = 'two'), '0 0', 'nobody is left at the limit');
BEGIN;
SELECT t_gated('lim', 3, limits => '{two}') AS s \gset
COMMIT;
BEGIN;
SELECT is(t_fetch('{lim}', 'g', 10), (:'s'::bigint[])[1:2], 'a transaction takes both places');
ROLLBACK;
CALL t_take('{lim}', 'g', 2);
SELECT is(t_taken(), (:'s'::bigint[])[1:2], 'after its rollback they are free');
SELECT is(t_complete_taken(), 2::bigint, 'completed');
CALL t_take('{lim}', 'g', 1);
SELECT is(t_complete_taken(), 1::bigint, 'the last');

SELECT bgjob_limit('del', max_running => 1, on_limit => 'delete') \g /dev/null
SELECT t_gated('lim', 3, limits => '{del}') AS s \gset
SELECT is(t_fetch('{lim}', 'g', 10), (:'s'::bigint[])[1:1], 'on_limit delete: one of three');
SELECT is((SELECT array_agg(state ORDER BY id) FROM bgjob.jobs WHERE id = ANY (:'s'::bigint[])), '{processing,deleted,deleted}', 'the others are deleted');
SELECT is(bgjob_complete((:'s'::bigint[])[1], 'g'), true, 'completed');
SELECT bgjob_limit('hourly', rate => 3, per => '1 hour') \g /dev/null
SELECT t_gated('lim', 5, limits => '{hourly}') AS s \gset
SELECT is(t_fetch('{lim}', 'g', 10), (:'s'::bigint[])[1:3], 'a rate of 3: three of five');
SELECT is((SELECT used FROM bgjob.limits WHERE name = 'hourly'), 3, 'bgjob.limits shows what is spent');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE id = ANY ((:'s'::bigint[])[1:3]) AND bgjob_complete(id, 'g')), 3::bigint, 'completed');
SELECT is(t_fetch('{lim}', 'g', 10), '{}', 'no more within the hour');
SELECT is(bgjob_change((:'s'::bigint[])[4], priority => 1), true, 'a job that waits there is changed');
SELECT bgjob_limit_remove('hourly') \g /dev/null
CALL t_take('{lim}', 'g', 2);
SELECT is(t_taken(), (:'s'::bigint[])[4:5], 'without the limit the rest is taken');
SELECT is(t_complete_taken(), 2::bigint, 'completed');
SELECT t_gated('lim', 3, limits => '{two}') AS s \gset
SELECT bgjob_limit_close('two', delay => '1 hour') \g /dev/null
SELECT is(t_fetch('{lim}', 'g', 10), '{}', 'a closed limit gives nothing');
SELECT bgjob_limit_close('two', delay => '0') \g /dev/null
CALL t_take('{lim}', 'g', 2);
SELECT is(t_taken(), (:'s'::bigint[])[1:2], 'opened it does');
SELECT is(t_complete_taken(), 2::bigint, 'completed');
CALL t_take('{lim}', 'g', 1);
SELECT is(t_complete_taken(), 1::bigint, 'the third');
SELECT bgjob_limit('t:*', max_running => 1) \g /dev/null
SELECT bgjob_enqueue('g', '{"tenant": 7}', 'external', queue => 'lim', limits => '{"t:{tenant}"}', sequence_key => 's{tenant}', fairness_key => 'f{tenant}', unique_key => 'u') AS j \gset
SELECT is((SELECT format('%s %s %s %s', limits, sequence_key, fairness_key, unique_key) FROM bgjob.jobs WHERE id = :j), '{t:7} s7 f7 u', 'members of args are placeholders');
CALL t_take('{lim}', 'g', 1);
SELECT is(t_complete_taken(), 1::bigint, 'all gates at once');

SELECT bgjob_queue('narrow', max_running => 2) \g /dev/null
SELECT t_gated('narrow', 4) AS s \gset
SELECT is(t_fetch('{narrow}', 'g', 10), (:'s'::bigint[])[1:2], 'max_running of the queue: two of four');
SELECT is(bgjob_complete((:'s'::bigint[])[1], 'g'), true, 'one is completed');
CALL t_take('{narrow}', 'g', 1);
SELECT is(t_taken(), (:'s'::bigint[])[3:3], 'the next');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE id = ANY ((:'s'::bigint[])[2:3]) AND bgjob_complete(id, 'g')), 2::bigint, 'completed');
CALL t_take('{narrow}', 'g', 1);
SELECT is(t_complete_taken(), 1::bigint, 'the last');
SELECT bgjob_queue_remove('narrow') \g /dev/null

SELECT t_gated('fair', 30, fairness_key => 'heavy') AS h \gset
SELECT t_gated('fair', 5, fairness_key => 'light') AS l \gset
CREATE TABLE t_fair (n serial, id bigint);
CREATE PROCEDURE t_fairly() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 35 LOOP
		INSERT INTO t_fair (id) SELECT f.id FROM bgjob_fetch('{fair}', 'g') f;
		COMMIT;
		PERFORM pg_sleep(0.005);
		PERFORM bgjob_complete(id, 'g') FROM t_fair ORDER BY n DESC LIMIT 1;
		COMMIT;
	END LOOP;
END $$;
CALL t_fairly();
SELECT is((SELECT count(DISTINCT id) FROM t_fair), 35::bigint, 'fairness_key: all are taken');
SELECT is((SELECT array_agg(id ORDER BY n) FROM t_fair WHERE id = ANY (:'l'::bigint[])), :'l'::bigint[], 'so is the other');
SELECT is((SELECT array_agg(id ORDER BY n) FROM t_fair WHERE id = ANY (:'h'::bigint[])), :'h'::bigint[], 'a key is taken in order');

SELECT bgjob_enqueue('x', kind => 'external', queue => 'exp', start_within => '20 ms') AS j \gset
SELECT bgjob_enqueue('x', kind => 'external', queue => 'exp', start_within => '1 hour') AS k \gset
SELECT pg_sleep(0.05) \g /dev/null
CALL t_take('{exp}', 'g', 1);
SELECT is(t_taken(), ARRAY[:k]::bigint[], 'start_within: the one whose time is over is not fetched');
SELECT is(t_is(:j), 'deleted Expired', 'but deleted');
SELECT is(bgjob_release(:k, 'g'), true, 'the other is released');
CALL t_take('{exp}', 'g', 1);
SELECT is(t_complete_taken(), 1::bigint, 'and completed');

----------------------------------------------------------------------------------------------------
-- Continuations, batches, signals
----------------------------------------------------------------------------------------------------

SELECT t_job('co') AS a, t_job('co') AS b \gset
SELECT bgjob_enqueue('t_antecedents', after => ARRAY[:a, :b]) AS f \gset
SELECT bgjob_enqueue('next', kind => 'external', queue => 'co', after => ARRAY[:a], parameters => '{"step": 2}') AS c \gset
SELECT bgjob_enqueue('sorry', kind => 'external', queue => 'co', after => ARRAY[:a], condition => 'failed') AS d \gset
SELECT bgjob_enqueue('fn_then', kind => 'external', queue => 'co', after => ARRAY[:f]) AS e \gset
SELECT is(t_fetch('{co}', 'k', 10), ARRAY[:a, :b]::bigint[], 'what awaits others is not fetched');
SELECT is((SELECT reason FROM bgjob_why(:c) LIMIT 1), 'awaiting', 'it awaits them');
SELECT is(bgjob_complete(:a, 'k', '{"pages": 3}'), true, 'the first has a result');
CALL t_take('{co}', 'k', 1);
SELECT is(t_taken(), ARRAY[:c]::bigint[], 'its continuation is fetched');
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :d), 'deleted', 'the one for its failure is deleted');
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :f), 'awaiting', 'the one of both awaits the second');
SELECT is(bgjob_complete(:b, 'k', '[1]'), true, 'which is completed');
SELECT is(bgjob_wait(:f, '20 s'), 'succeeded', 'a function continues external jobs');
SELECT is(bgjob_result(:f), jsonb_build_object(:a, '{"state": "succeeded", "result": {"pages": 3}}'::jsonb, :b, '{"state": "succeeded", "result": [1]}'::jsonb), 'bgjob_antecedents() has their results');
SELECT is(t_complete_taken(), 1::bigint, 'completed');
CALL t_take('{co}', 'k', 1);
SELECT is(t_taken(), ARRAY[:e]::bigint[], 'an external job continues a function');
SELECT is(t_complete_taken(), 1::bigint, 'completed');
SELECT t_job('co') AS a \gset
SELECT bgjob_enqueue('after', kind => 'external', queue => 'co', after => ARRAY[:a]) AS c \gset
SELECT bgjob_enqueue('sorry', kind => 'external', queue => 'co', after => ARRAY[:a], condition => 'failed') AS d \gset
CALL t_take('{co}', 'k', 1);
BEGIN;
SELECT is(bgjob_complete(:a, 'k'), true, 'completed');
ROLLBACK;
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :c), 'awaiting', 'rolled back: its continuation awaits it');
SELECT is(bgjob_fail(:a, 'k', 'no', retry => false), true, 'it fails');
CALL t_take('{co}', 'k', 1);
SELECT is(t_taken(), ARRAY[:d]::bigint[], 'condition failed: fetched');
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :c), 'deleted', 'condition succeeded: deleted');
SELECT is(t_complete_taken(), 1::bigint, 'completed');

SELECT bgjob_enqueue('s', kind => 'external', queue => 'co', after_signal => '{go34}') AS j \gset
SELECT is(t_fetch('{co}', 'k'), '{}', 'a job that awaits a signal');
SELECT is(bgjob_signal('go34', '{"by": "me"}'), 1::bigint, 'the signal releases it');
CALL t_take('{co}', 'k', 1);
SELECT is(t_taken(), ARRAY[:j]::bigint[], 'it is fetched');
SELECT is(t_complete_taken(), 1::bigint, 'completed');

BEGIN;
SELECT bgjob_batch('external') AS batch \gset
SELECT bgjob_batch('inner', parent => :batch) AS inner \gset
SELECT bgjob_enqueue('b', kind => 'external', queue => 'ba', batch => :batch) AS a, bgjob_enqueue('b', kind => 'external', queue => 'ba', batch => :inner) AS b, bgjob_enqueue('b', kind => 'external', queue => 'ba', batch => :inner) AS c \gset
SELECT bgjob_enqueue('end', kind => 'external', queue => 'ba', after_batch => :batch, condition => 'finished') AS e \gset
COMMIT;
CREATE FUNCTION t_batch(id bigint) RETURNS text LANGUAGE sql AS $$ SELECT format('%s: %s pending, %s processing, %s succeeded, %s failed, %s deleted', state, pending, processing, succeeded, failed, deleted) FROM bgjob.batches b WHERE b.id = $1 $$;
SELECT is(t_fetch('{ba}', 'k', 2), ARRAY[:a, :b]::bigint[], 'two jobs of a batch are fetched');
SELECT is(t_batch(:batch), 'processing: 1 pending, 2 processing, 0 succeeded, 0 failed, 0 deleted', 'bgjob.batches shows them');
SELECT is(bgjob_complete(:a, 'k'), true, 'one is completed');
SELECT is(bgjob_fail(:b, 'k', 'no', retry => false), true, 'one fails');
SELECT is(t_fetch('{ba}', 'k', 2), ARRAY[:c]::bigint[], 'the third');
SELECT is(t_batch(:batch), 'processing: 0 pending, 1 processing, 1 succeeded, 1 failed, 0 deleted', 'bgjob.batches');
SELECT is(bgjob_batch_cancel(:batch), 1::bigint, 'the batch is canceled');
SELECT is(t_beat('k', ARRAY[:c]), ARRAY[:c || ' cancel'], 'the worker of the third is told');
SELECT is(t_batch(:batch), 'failed: 0 pending, 0 processing, 1 succeeded, 1 failed, 1 deleted', 'it has finished');
CALL t_take('{ba}', 'k', 1);
SELECT is(t_taken(), ARRAY[:e]::bigint[], 'what awaited it is fetched');
SELECT is(t_complete_taken(), 1::bigint, 'completed');
SELECT is(bgjob_batch_retry(:batch, 'unsuccessful') >= 2, true, 'the rest is tried again');
CALL t_take('{ba}', 'k', 2);
SELECT is((SELECT array_agg(id ORDER BY id) FROM t_got), ARRAY[:b, :c]::bigint[], 'both are fetched');
SELECT is(t_complete_taken(), 2::bigint, 'and completed');
SELECT is(t_batch(:batch) || '; ' || t_batch(:inner), 'succeeded: 0 pending, 0 processing, 3 succeeded, 0 failed, 0 deleted; succeeded: 0 pending, 0 processing, 2 succeeded, 0 failed, 0 deleted', 'both batches have succeeded');

----------------------------------------------------------------------------------------------------
-- Configuration by name, filters
----------------------------------------------------------------------------------------------------

CREATE TABLE t_seen (n serial, event text, job bigint, context jsonb);
CREATE FUNCTION t_filter(context jsonb) RETURNS jsonb LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
	INSERT INTO t_seen (event, job, context) VALUES (context ->> 'event', (context ->> 'id')::bigint, context);
	RETURN NULL;
END $$;
CREATE FUNCTION t_cancel(context jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{"cancel": "not today"}'::jsonb WHERE context -> 'args' = '"stop"' $$;
CREATE FUNCTION t_elect(context jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{"state": "deleted", "reason": "elected"}'::jsonb WHERE context ->> 'state' = 'scheduled' AND context #>> '{error,message}' = 'hopeless' $$;
CREATE FUNCTION t_create(context jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{"queue": "filtered"}'::jsonb $$;
SELECT bgjob_filter(e, e, 't_filter', jobs => 'filt%') FROM unnest('{creating,created,performing,performed,electing,applied,unapplied}'::text[]) e \g /dev/null
SELECT bgjob_enqueue('filtme', '"go"', 'external', queue => 'filt') AS j \gset
SELECT t_fetch('{filt}', 'k') \g /dev/null
SELECT is(bgjob_complete(:j, 'k', '8'), true, 'a job with filters is completed');
SELECT is((SELECT array_agg(DISTINCT event ORDER BY event) FROM t_seen), '{applied,created,creating,electing,performed,performing,unapplied}'::text[], 'each event has called its filters');
SELECT is((SELECT context ->> 'kind' FROM t_seen WHERE event = 'performing'), 'external', 'they are told the kind');
SELECT is((SELECT context -> 'result' FROM t_seen WHERE event = 'performed'), '8', 'and the result');
SELECT is((SELECT format('%s %s', count(*) FILTER (WHERE event = 'performing'), count(*) FILTER (WHERE event = 'performed')) FROM t_seen), '1 1', 'each once');
TRUNCATE t_seen;
SELECT bgjob_enqueue('filtme', '"fails"', 'external', queue => 'filt', max_retries => 0) AS j \gset
SELECT t_fetch('{filt}', 'k') \g /dev/null
SELECT is(bgjob_fail(:j, 'k', 'oh'), true, 'another fails');
SELECT is((SELECT context #>> '{error,message}' FROM t_seen WHERE event = 'performed'), 'oh', 'performed is told the error');
SELECT bgjob_filter('cancel', 'performing', 't_cancel', jobs => 'filt%'), bgjob_filter('elect', 'electing', 't_elect', jobs => 'filt%') \g /dev/null
SELECT bgjob_enqueue('filtme', '"stop"', 'external', queue => 'filt') AS j, bgjob_enqueue('filtme', '"on"', 'external', queue => 'filt') AS k \gset
CALL t_take('{filt}', 'k', 1);
SELECT is(t_taken(), ARRAY[:k]::bigint[], 'performing cancels the first, fetch returns the second');
SELECT is(t_is(:j), 'deleted not today', 'it is deleted');
SELECT is(bgjob_fail(:k, 'k', 'hopeless'), true, 'the second fails');
SELECT is(t_is(:k), 'deleted elected', 'electing chooses another state');
SELECT bgjob_filter_remove(name) FROM bgjob.filters \g /dev/null
SELECT bgjob_filter('c', 'creating', 't_create', jobs => 'filt%') \g /dev/null
SELECT bgjob_enqueue('filtme', kind => 'external', queue => 'filt') AS j \gset
SELECT is(t_fetch('{filt}', 'k'), '{}', 'creating has moved it');
SELECT is(t_fetch('{filtered}', 'k'), ARRAY[:j]::bigint[], 'to another queue');
SELECT is(bgjob_complete(:j, 'k'), true, 'completed');
SELECT bgjob_filter_remove('c') \g /dev/null
CREATE FUNCTION t_breaks(context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'filter says no' USING ERRCODE = 'P3434'; END $$;
SELECT bgjob_filter('breaks', 'performing', 't_breaks', jobs => 'filt%') \g /dev/null
SELECT bgjob_enqueue('filtme', kind => 'external', queue => 'filt', max_retries => 0) AS j, bgjob_enqueue('other', kind => 'external', queue => 'filt') AS k \gset
CALL t_take('{filt}', 'k', 1);
SELECT is(t_taken(), ARRAY[:k]::bigint[], 'an error of a filter is no error of the fetch: others are taken');
SELECT is((SELECT state || ' ' || (error ->> 'sqlstate') FROM bgjob.jobs WHERE id = :j), 'failed P3434', 'the attempt has failed with it');
SELECT is(t_complete_taken(), 1::bigint, 'completed');
SELECT bgjob_filter_remove('breaks'), bgjob_filter('breaks', 'performed', 't_breaks', jobs => 'filt%') \g /dev/null
SELECT bgjob_enqueue('filtme', kind => 'external', queue => 'filt') AS j \gset
SELECT t_fetch('{filt}', 'k') \g /dev/null
SELECT is(tap_try(format('SELECT bgjob_complete(%s, ''k'')', :j)), 'ERROR P3434', 'an error at performed is an error of the completion');
SELECT is(t_is(:j), 'processing', 'the job is leased as before');
SELECT bgjob_filter_remove('breaks') \g /dev/null
SELECT is(bgjob_complete(:j, 'k'), true, 'and can be completed');

----------------------------------------------------------------------------------------------------
-- Workers that an administrator stops
----------------------------------------------------------------------------------------------------

SELECT t_job('adm') AS a, t_job('adm') AS b \gset
SELECT is(t_fetch('{adm}', 'adm 1'), ARRAY[:a]::bigint[], 'a worker has a job');
SELECT is(tap_try($$SELECT bgjob_server_pause('adm 1')$$, 'tap34_a'), 'ERROR 42501', 'not everybody may pause it');
SELECT is(ARRAY[bgjob_server_pause('adm 1'), bgjob_server_pause('adm 1')], '{t,f}'::boolean[], 'an administrator pauses it, once');
SELECT is((SELECT paused FROM bgjob.servers WHERE name = 'adm 1'), true, 'bgjob.servers shows it');
SELECT is(t_beat('adm 1', ARRAY[:a]), ARRAY[:a || ' continue', 'quiet'], 'its job goes on, itself is to fetch no more');
SELECT is(t_beat('adm 1', NULL), '{quiet}', 'also without jobs');
SELECT is(t_fetch('{adm}', 'adm 1'), '{}', 'it gets nothing');
SELECT is(bgjob_complete(:a, 'adm 1'), true, 'it completes its job');
SELECT is(t_fetch('{adm}', 'adm 2'), ARRAY[:b]::bigint[], 'another worker gets some');
SELECT is(t_beat('adm 2', NULL), '{}', 'and is told nothing');
SELECT is(ARRAY[bgjob_server_resume('adm 1'), bgjob_server_resume('adm 1')], '{t,f}'::boolean[], 'it is resumed, once');
SELECT is(t_beat('adm 1', NULL), '{}', 'and told nothing any more');
SELECT t_job('adm') AS c \gset
SELECT is(t_fetch('{adm}', 'adm 1'), ARRAY[:c]::bigint[], 'it gets jobs again');
SELECT is(bgjob_server_remove('adm 1'), true, 'it is removed');
SELECT is(t_beat('adm 1', ARRAY[:c]), ARRAY[:c || ' continue', 'terminate'], 'it is to end');
SELECT t_job('adm') AS d \gset
SELECT is(t_fetch('{adm}', 'adm 1'), '{}', 'and gets nothing');
SELECT is(bgjob_complete(:c, 'adm 1'), true, 'what it holds it may complete');
SELECT is(ARRAY[bgjob_server_pause('nobody 34'), bgjob_server_resume('nobody 34'), bgjob_server_remove('nobody 34')], '{f,f,f}'::boolean[], 'a worker that is not there');
SELECT is(bgjob_complete(:b, 'adm 2'), true, 'completed');
BEGIN;
SELECT bgjob_server_pause('adm 2') \g /dev/null
ROLLBACK;
SELECT is(t_fetch('{adm}', 'adm 2'), ARRAY[:d]::bigint[], 'a pause that is rolled back is none');
SELECT is(bgjob_complete(:d, 'adm 2'), true, 'completed');

----------------------------------------------------------------------------------------------------
-- Who may
----------------------------------------------------------------------------------------------------

SELECT t_job('who') AS s \gset
SET ROLE tap34_other;
SELECT t_job('who') AS o \gset
SET ROLE tap34_a;
SELECT t_job('who') AS a \gset
SELECT bgjob_enqueue('w', kind => 'external', queue => 'who', run_as => 'tap34_app') AS g \gset x_
RESET ROLE;
SELECT is(tap_try($$SELECT bgjob_enqueue('w', kind => 'external', queue => 'who', run_as => 'tap34_other')$$, 'tap34_a'), 'ERROR 42501', 'run_as needs membership');
SET ROLE tap34_a;
SELECT is(t_fetch('{who}', 'w', 10), ARRAY[:a, :x_g]::bigint[], 'a role takes its own jobs and those of roles that it is a member of');
SELECT is((SELECT array_agg(id ORDER BY id) FROM bgjob.jobs WHERE queue = 'who'), ARRAY[:a, :x_g]::bigint[], 'it sees no others');
SELECT is((SELECT array_agg(name) FROM bgjob.servers WHERE kind = 'external' AND name = 'w'), '{w}'::text[], 'it sees its worker') WHERE EXISTS (SELECT FROM bgjob.servers WHERE name = 'w');
SELECT is(ARRAY[bgjob_complete(:o, 'w'), bgjob_fail(:s, 'w', 'e'), bgjob_release(:o, 'w'), bgjob_external_log(:o, 'w', 'm'), bgjob_external_progress(:s, 'w', 1)], '{f,f,f,f,f}'::boolean[], 'for those of others its answer is false');
SELECT is(t_beat('w', ARRAY[:s, :o, 999999999]::bigint[]), ARRAY[:s || ' cancel', :o || ' cancel', '999999999 cancel'], 'heartbeat tells no more of them than of an unknown one');
SET ROLE tap34_b;
SELECT is(t_fetch('{who}', 'w', 10), '{}', 'b has no job');
SELECT is(ARRAY[bgjob_complete(:a, 'w'), bgjob_complete(:x_g, 'w'), bgjob_fail(:x_g, 'w', 'e'), bgjob_release(:x_g, 'w'), bgjob_external_log(:x_g, 'w', 'm'), bgjob_external_progress(:x_g, 'w', 1)], '{f,f,f,f,f,f}'::boolean[],
	'and is another worker than a of the same name, also for a job of a role that both are members of');
SELECT is(t_beat('w', ARRAY[:x_g]), ARRAY[:x_g || ' lost'], 'it is a''s');
SET ROLE tap34_monitor;
SELECT is(ARRAY[bgjob_complete(:a, 'w'), bgjob_release(:x_g, 'w')], '{f,f}'::boolean[], 'pg_monitor does not help');
SELECT is(t_fetch('{who}', 'w', 10), '{}', 'nor does it with fetching');
SELECT is((SELECT server FROM bgjob.jobs WHERE id = :a), 'w', 'but with seeing');
RESET ROLE;
SELECT is(tap_try(call, 'tap34_stranger'), 'ERROR 42501', 'without USAGE on schema bgjob: ' || call) FROM unnest(ARRAY[$$SELECT bgjob_fetch('{who}', 'w')$$, $$SELECT bgjob_heartbeat('w', '{1}')$$, $$SELECT bgjob_complete(1, 'w')$$,
	$$SELECT bgjob_fail(1, 'w', 'e')$$, $$SELECT bgjob_release(1, 'w')$$, $$SELECT bgjob_external_log(1, 'w', 'm')$$, $$SELECT bgjob_external_progress(1, 'w', 1)$$]) call;
\set ON_ERROR_STOP off
\set VERBOSITY sqlstate
SET ROLE tap34_stranger;
CALL bgjob_await('{who}', '1 s') \g /dev/null
\set state :SQLSTATE
RESET ROLE;
\set ON_ERROR_STOP on
\set VERBOSITY default
SELECT is(:'state'::text, '42501', 'without USAGE on schema bgjob: CALL bgjob_await');
SELECT is((SELECT array_agg(state ORDER BY id) FROM bgjob.jobs WHERE id IN (:a, :x_g)), '{processing,processing}', 'both are leased as before');
REVOKE tap34_app FROM tap34_a;
GRANT USAGE ON SCHEMA bgjob TO tap34_a;
SET ROLE tap34_a;
SELECT is(ARRAY[bgjob_complete(:x_g, 'w'), bgjob_complete(:a, 'w')], '{f,t}'::boolean[], 'rights are asked for again when a job ends');
RESET ROLE;
GRANT tap34_app TO tap34_a;
SET ROLE tap34_a;
SELECT is(bgjob_complete(:x_g, 'w'), true, 'with the membership it is completed');
RESET ROLE;
SELECT is(t_fetch('{who}', 'w', 10), ARRAY[:s, :o]::bigint[], 'a superuser takes all');
SET ROLE tap34_other;
SELECT is(bgjob_complete(:o, 'w'), false, 'the job''s own role is not its worker');
SELECT is(bgjob_delete(:o), true, 'but may delete it');
RESET ROLE;
SELECT is(t_beat('w', ARRAY[:s, :o]::bigint[]), ARRAY[:s || ' continue', :o || ' cancel'], 'its worker hears of it');
SELECT is(bgjob_complete(:s, 'w'), true, 'completed');

----------------------------------------------------------------------------------------------------
-- Sizes
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('big', jsonb_build_object('s', repeat('☃x', 2500000)), 'external', queue => 'big', parameters => jsonb_build_object('p', repeat('p', 1000000))) AS j \gset
SELECT is((SELECT format('%s %s', length(args ->> 's'), length(parameters ->> 'p')) FROM bgjob_fetch('{big}', 'big')), '5000000 1000000', 'arguments of 10 MB');
SELECT is(bgjob_external_progress(:j, 'big', 50, repeat('ä', 5000)), true, 'a long message');
SELECT ok(octet_length(progress_message) <= 255 AND progress_message LIKE 'ää%', 'is cut at a character') FROM bgjob.jobs WHERE id = :j;
SELECT is(bgjob_complete(:j, 'big', jsonb_build_object('r', repeat('☃y', 2500000))), true, 'a result of 10 MB');
SELECT is(length(bgjob_result(:j) ->> 'r'), 5000000, 'is kept whole');
SELECT t_job('big') AS j \gset
SELECT t_fetch('{big}', 'big') \g /dev/null
SELECT is(bgjob_fail(:j, 'big', repeat('e☃', 2500000), jsonb_build_object('d', repeat('d', 5000000)), false), true, 'an error of 10 MB');
SELECT is((SELECT state || (error ->> 'message' LIKE 'e☃e☃%')::text FROM bgjob.jobs WHERE id = :j), 'failedtrue', 'is recorded');
SELECT t_job('big', job => repeat('n', 100000)) AS j \gset
SELECT is((SELECT length(job) FROM bgjob_fetch('{big}', 'big')), 100000, 'a name of 100,000 characters');
SELECT is(bgjob_complete(:j, 'big'), true, 'completed');
SELECT is((SELECT count(*) FROM bgjob_enqueue_many('m', array_fill('{"a": 1}'::jsonb, ARRAY[10000]), kind => 'external', queue => 'big')), 10000::bigint, 'ten thousand jobs');
CREATE TABLE t_big AS SELECT id, attempt, args FROM bgjob_fetch('{big}', 'big', 10000);
SELECT cmp_ok((SELECT count(DISTINCT id) FROM t_big), '<=', 10000::bigint, 'a fetch of all of them');
SELECT is((SELECT count(*) FROM t_big WHERE bgjob_complete(id, 'big', '1')), (SELECT count(*) FROM t_big), 'what was fetched is completed in one statement');
CREATE PROCEDURE t_rest() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 100 LOOP
		PERFORM bgjob_complete(id, 'big') FROM bgjob_fetch('{big}', 'big', 1000);
		EXIT WHEN NOT FOUND;
		COMMIT;
	END LOOP;
END $$;
CALL t_rest();
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE queue = 'big' AND job = 'm' AND state = 'succeeded'), 10000::bigint, 'all have succeeded');
SELECT t_job('big') AS j \gset
SELECT t_fetch('{big}', 'big') \g /dev/null
SELECT is((SELECT count(*) FROM generate_series(1, 3000) i WHERE bgjob_external_log(:j, 'big', repeat('l', 10000))), (SELECT 3000::bigint), 'thirty megabytes of lines');
SELECT cmp_ok((SELECT sum(length(message))::numeric FROM bgjob.job_logs WHERE job_id = :j), '<=', 2200000::numeric, 'an attempt logs two megabytes');
SELECT is(bgjob_complete(:j, 'big'), true, 'completed');

----------------------------------------------------------------------------------------------------
-- The end
----------------------------------------------------------------------------------------------------

SELECT is((SELECT string_agg(format('%s %s %s %s', id, queue, state, reason), ', ') FROM bgjob.jobs WHERE kind = 'external' AND state IN ('enqueued', 'processing', 'scheduled', 'awaiting')), NULL, 'no external job is left');
SELECT is((SELECT sum(busy) FROM bgjob.servers WHERE kind = 'external'), 0::bigint, 'no worker holds anything');

ALTER SYSTEM RESET bgjob.workers;
SELECT pg_reload_conf() AS reloaded \gset

\ir lib/check_counters.sql
SELECT * FROM finish();
