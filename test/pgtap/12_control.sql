-- 12_control.sql
--
-- What this file proves about the functions for use inside a job (api.md, "Inside a job"):
--   * outside of a job all but bgjob_current_id() raise 55000; invalid arguments inside of a job change nothing;
--   * sessions that may see the job see bgjob_progress and bgjob_log at once, whether its transaction commits or not; both are
--     removed with the job; a log is in order, continues over attempts, and is bounded;
--   * bgjob_set_parameter is part of the job's transaction;
--   * bgjob_cancel_requested is true when the job is to end;
--   * bgjob_snooze and bgjob_discard end the attempt, roll it back and use no retry, also if the job traps errors;
--   * all of this in groups, in procedures that commit, in commands, and under other isolation levels and settings of roles.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser; needs dblink for sessions beside this one.
-- It changes settings with ALTER SYSTEM and resets them at its end: do not run it beside other files.

\ir lib/session.sql

-- Set before CREATE EXTENSION, so that the scheduler of the database starts with it.
ALTER SYSTEM SET bgjob.workers = 1;
SELECT pg_reload_conf() AS reloaded \gset

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap12_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap12_' \gexec
CREATE ROLE tap12_plain LOGIN;
CREATE ROLE tap12_other LOGIN;
CREATE ROLE tap12_boss LOGIN;			-- is a member of tap12_plain
CREATE ROLE tap12_monitor LOGIN;
CREATE ROLE tap12_nobody LOGIN;			-- has no USAGE
CREATE ROLE tap12_readonly LOGIN;
CREATE ROLE tap12_repeatable LOGIN;
CREATE ROLE tap12_serializable LOGIN;
ALTER ROLE tap12_readonly SET default_transaction_read_only = on;
ALTER ROLE tap12_repeatable SET default_transaction_isolation = 'repeatable read';
ALTER ROLE tap12_serializable SET default_transaction_isolation = 'serializable';
GRANT tap12_plain TO tap12_boss;
GRANT pg_monitor TO tap12_monitor;
GRANT USAGE ON SCHEMA bgjob TO tap12_plain, tap12_other, tap12_boss, tap12_monitor, tap12_readonly, tap12_repeatable, tap12_serializable;

----------------------------------------------------------------------------------------------------
-- Helpers
----------------------------------------------------------------------------------------------------

\ir lib/wait.sql
\ir lib/states.sql
\ir lib/errors.sql
\ir lib/elsewhere.sql

CREATE FUNCTION tap_progress(id bigint) RETURNS text LANGUAGE sql AS
	$$ SELECT format('%s/%s', trim_scale(j.progress::numeric), j.progress_message) FROM bgjob.jobs j WHERE j.id = $1 $$;
CREATE FUNCTION tap_log(id bigint) RETURNS text[] LANGUAGE sql AS
	$$ SELECT array_agg(l.message ORDER BY l.seq) FROM bgjob.job_logs l WHERE l.job_id = $1 $$;

-- tap_traces returns the number of rows in the extension's tables that contain a text.
CREATE FUNCTION tap_traces(marker text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	place regclass;
	n bigint;
	total bigint := 0;
BEGIN
	FOR place IN SELECT oid FROM pg_class WHERE relnamespace = 'bgjob_internal'::regnamespace AND relkind = 'r' LOOP
		EXECUTE format('SELECT count(*) FROM %s t WHERE strpos(t::text, %L) > 0', place, marker) INTO n;
		total := total + n;
	END LOOP;
	RETURN total;
END $$;

----------------------------------------------------------------------------------------------------
-- What the jobs of this file call
----------------------------------------------------------------------------------------------------

-- xid is the top-level transaction id: jobs with the same xid ran in one group.
CREATE TABLE t_effect (n serial, label text, job bigint DEFAULT bgjob_current_id(), xid text DEFAULT pg_current_xact_id()::text);
GRANT INSERT, SELECT ON t_effect TO PUBLIC;
GRANT USAGE ON SEQUENCE t_effect_n_seq TO PUBLIC;
CREATE FUNCTION t_effects(prefix text) RETURNS text[] LANGUAGE sql AS
	$$ SELECT array_agg(label ORDER BY n) FROM t_effect WHERE starts_with(label, prefix) $$;
CREATE FUNCTION t_run(label text) RETURNS text LANGUAGE sql AS $$ INSERT INTO public.t_effect (label) VALUES (label) RETURNING label $$;
CREATE FUNCTION t_bad(label text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken: %', label USING ERRCODE = 'P1234'; END $$;
-- Waits until the session of the tests releases the lock.
CREATE FUNCTION t_hold() RETURNS void LANGUAGE plpgsql AS
	$$ BEGIN PERFORM pg_advisory_lock_shared(1212); PERFORM pg_advisory_unlock_shared(1212); END $$;
-- The number of attempts of a job: nextval() is not rolled back.
CREATE SEQUENCE t_tries;
GRANT USAGE, UPDATE ON SEQUENCE t_tries TO PUBLIC;

-- Runs invalid calls, and returns the error of each.
CREATE FUNCTION t_errors(queries text[]) RETURNS text[] LANGUAGE sql AS $$ SELECT array_agg(public.tap_error(q) ORDER BY i) FROM unnest(queries) WITH ORDINALITY u(q, i) $$;

SELECT * FROM no_plan();

CALL tap_wait_setting('bgjob.workers', '1');
CALL tap_wait_until('SELECT count(*) = 1 FROM bgjob.workers');
SELECT is((SELECT count(*) FROM bgjob.workers), 1::bigint, 'there is one worker');
SELECT bgjob_queue('g', group_size => 100);

----------------------------------------------------------------------------------------------------
-- Outside of a job
----------------------------------------------------------------------------------------------------

SELECT count(*) AS jobs FROM bgjob.jobs \gset
CREATE TABLE t_calls (n serial, call text);
INSERT INTO t_calls (call) VALUES
	($$bgjob_progress(50)$$), ($$bgjob_progress(50, 'half')$$), ($$bgjob_progress(percent => 50, message => 'half')$$),
	($$bgjob_log('line')$$), ($$bgjob_log('line', 'warning')$$), ($$bgjob_log(message => 'line', level => 'info')$$),
	($$bgjob_cancel_requested()$$),
	($$bgjob_parameter('name')$$), ($$bgjob_parameter(name => 'name')$$),
	($$bgjob_set_parameter('name', '1')$$), ($$bgjob_set_parameter(name => 'name', value => '1')$$), ($$bgjob_set_parameter('name', NULL)$$),
	($$bgjob_snooze('1 hour')$$), ($$bgjob_snooze(delay => '1 hour')$$),
	($$bgjob_discard()$$), ($$bgjob_discard('why')$$), ($$bgjob_discard(reason => 'why')$$);
SELECT is(tap_error('SELECT ' || call), '55000', 'outside of a job: ' || call || ' raises 55000, with message, detail and hint') FROM t_calls ORDER BY n;
SELECT is(tap_try('SELECT ' || call, 'tap12_plain'), 'ERROR 55000', 'outside of a job, by another role: ' || call) FROM t_calls ORDER BY n;
SELECT matches(tap_try('SELECT ' || call, 'tap12_nobody'), '^ERROR (42501|55000)$', 'without USAGE on schema bgjob: ' || call) FROM t_calls ORDER BY n;
SELECT is(bgjob_current_id(), NULL, 'bgjob_current_id() returns null outside of a job');
SELECT is((SELECT count(*) FROM bgjob.jobs), :jobs::bigint, 'calls outside of a job create no job');
SELECT is((SELECT count(*) FROM bgjob.job_logs), 0::bigint, 'calls outside of a job write no log line');

-- A session that a job opens is not in a job.
SELECT bgjob_enqueue('tap_elsewhere', $$["SELECT bgjob_log('from elsewhere')"]$$) AS j \gset
SELECT is(bgjob_wait(:j, '60 s'), 'succeeded', 'a job can open a session by dblink');
SELECT is(bgjob_result(:j), '"ERROR 55000"', 'the session that a job opens is outside of the job');
SELECT is(tap_log(:j), NULL, 'the session that a job opens writes nothing to its log');

SELECT columns_are('bgjob', 'job_logs', ARRAY['job_id', 'seq', 'at', 'level', 'message'], 'the columns of bgjob.job_logs');
SELECT is((SELECT array_agg(format('%s %s', proname, pg_get_function_result(oid)) ORDER BY proname) FROM pg_proc
		WHERE proname IN ('bgjob_progress', 'bgjob_log', 'bgjob_cancel_requested', 'bgjob_parameter', 'bgjob_set_parameter', 'bgjob_snooze', 'bgjob_discard')),
	'{"bgjob_cancel_requested boolean","bgjob_discard void","bgjob_log void","bgjob_parameter jsonb","bgjob_progress void","bgjob_set_parameter void","bgjob_snooze void"}'::text[],
	'the functions have the documented result types');

----------------------------------------------------------------------------------------------------
-- Wrong arguments inside a job
----------------------------------------------------------------------------------------------------

CREATE TABLE t_wrong (n serial, call text, code text, what text);
INSERT INTO t_wrong (call, code, what) VALUES
	($$bgjob_progress(-1)$$, '22023', 'less than 0 per cent'),
	($$bgjob_progress(-0.01, 'message')$$, '22023', 'a little less than 0'),
	($$bgjob_progress(100.01)$$, '22023', 'a little more than 100'),
	($$bgjob_progress(101, 'message')$$, '22023', 'more than 100'),
	($$bgjob_progress('NaN')$$, '22023', 'NaN per cent'),
	($$bgjob_progress('Infinity')$$, '22023', 'Infinity per cent'),
	($$bgjob_progress('-Infinity')$$, '22023', '-Infinity per cent'),
	($$bgjob_progress(1e300)$$, '22023', 'a very large percentage'),
	($$bgjob_progress(NULL)$$, '22004', 'no percentage'),
	($$bgjob_progress(NULL, 'message')$$, '22004', 'a message without a percentage'),
	($$bgjob_log(NULL)$$, '22004', 'no line'),
	($$bgjob_log(NULL, 'info')$$, '22004', 'a level without a line'),
	($$bgjob_log('line', NULL)$$, '22004', 'a line without a level'),
	($$bgjob_log('line', repeat('l', 32))$$, '22023', 'a level of 32 bytes'),
	($$bgjob_log('line', repeat('ä', 16))$$, '22023', 'a level of 16 characters, but 32 bytes'),
	($$bgjob_set_parameter(NULL, '1')$$, '22004', 'a parameter without a name is set'),
	($$bgjob_snooze('-1 s')$$, '22023', 'a negative delay'),
	($$bgjob_snooze('-1 month')$$, '22023', 'a delay of negative months'),
	($$bgjob_snooze('1 day -25 hours')$$, '22023', 'a delay whose sum is negative'),
	($$bgjob_snooze(NULL)$$, '22004', 'no delay');
SELECT bgjob_enqueue('t_errors', (SELECT jsonb_build_array(jsonb_agg('SELECT ' || call ORDER BY n)) FROM t_wrong), max_retries => 0) AS wrong \gset
SELECT is(bgjob_wait(:wrong, '60 s'), 'succeeded', 'a job can trap the errors of wrong calls');
SELECT is(bgjob_result(:wrong) ->> (n - 1), code, format('inside: %s (%s) is refused with %s, message, detail and hint', call, what, code)) FROM t_wrong ORDER BY n;
SELECT is(tap_progress(:wrong), '/', 'a refused bgjob_progress sets no progress');
SELECT is(tap_log(:wrong), NULL, 'a refused bgjob_log writes no line');
SELECT is((SELECT coalesce(parameters, '{}') FROM bgjob.jobs WHERE id = :wrong), '{}'::jsonb, 'a refused bgjob_set_parameter sets no parameter');
SELECT is(tap_states(:wrong), '{enqueued,processing,succeeded}'::text[], 'a refused bgjob_snooze does not snooze the job');
SELECT bgjob_enqueue('t_errors', $$[["SELECT bgjob_snooze('170000000 years')"]]$$, max_retries => 0) AS far \gset
SELECT is(bgjob_wait(:far, '60 s'), 'succeeded', 'a delay beyond the range of timestamps is an error');
SELECT matches(bgjob_result(:far) ->> 0, '^22', 'its SQLSTATE is of class 22');

-- Without a trap, an invalid call fails the job like any error.
SELECT bgjob_enqueue('SELECT bgjob_progress(200)', kind => 'sql', max_retries => 0) AS j \gset
SELECT is(bgjob_wait(:j, '60 s'), 'failed', 'a wrong call that is not trapped fails the job');
SELECT is((SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE id = :j), '22023', 'the job has the SQLSTATE of the wrong call');
SELECT bgjob_enqueue('SELECT bgjob_snooze(''-1 s'')', kind => 'sql', max_retries => 0) AS j \gset
SELECT is(bgjob_wait(:j, '60 s'), 'failed', 'a wrong bgjob_snooze fails the job');

----------------------------------------------------------------------------------------------------
-- bgjob_progress
----------------------------------------------------------------------------------------------------

CREATE FUNCTION t_progress(percent numeric, message text, more numeric, more_message text, error boolean = false) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.t_effect (label) VALUES ('progress');
	PERFORM public.bgjob_progress(percent, message);
	PERFORM public.t_hold();
	PERFORM public.bgjob_progress(more, more_message);
	IF error THEN
		RAISE EXCEPTION 'after the progress';
	END IF;
END $$;

SELECT pg_advisory_lock(1212) AS locked \gset
SELECT bgjob_enqueue('t_progress', '[42.5, "about hälf", 99, "nearly"]', delay => '1 hour') AS p \gset
SELECT is(tap_progress(:p), '/', 'a new job has no progress');
SELECT bgjob_requeue(:p) AS x \gset
CALL tap_held(1212);
-- No waiting from here: the job has set its progress before it waits for the lock.
SELECT is(tap_progress(:p), '42.5/about hälf', 'another session sees progress and message while the job runs');
SELECT is(tap_state(:p), 'processing', 'the job with progress is processing');
SELECT is(t_effects('progress'), NULL, 'the transaction of the job with progress is open');
SELECT is(tap_elsewhere(format('SELECT tap_progress(%s)', :p)), '42.5/about hälf', 'a third session sees the same progress');
SELECT pg_advisory_unlock(1212) AS unlocked \gset
SELECT is(bgjob_wait(:p, '60 s'), 'succeeded', 'the job with progress succeeds');
SELECT is(tap_progress(:p), '99/nearly', 'the last progress is kept after the end');

SELECT bgjob_enqueue('t_progress', '[10, "ten", 20, "twenty", true]', max_retries => 0) AS p \gset
SELECT is(bgjob_wait(:p, '60 s'), 'failed', 'a job with progress fails');
SELECT is(tap_progress(:p), '20/twenty', 'the progress of the failed job is kept');
SELECT is(t_effects('progress'), '{progress}'::text[], 'the effects of the failed job are rolled back');

SELECT pg_advisory_lock(1212) AS locked \gset
SELECT bgjob_enqueue('t_progress', '[30, "thirty", 40, "forty"]') AS p \gset
CALL tap_held(1212);
SELECT is(bgjob_delete(:p), true, 'a job with progress is deleted while it runs');
SELECT is(bgjob_wait(:p, '60 s'), 'deleted', 'the job with progress ends as deleted');
SELECT is(tap_progress(:p), '30/thirty', 'the progress of the deleted job is kept');
SELECT pg_advisory_unlock(1212) AS unlocked \gset

CREATE TABLE t_edge (id bigint, percent numeric);
INSERT INTO t_edge SELECT bgjob_enqueue(format('SELECT bgjob_progress(%s)', p), kind => 'sql'), p FROM unnest('{0,100,33.3,99.9}'::numeric[]) p;
CALL tap_idle();
SELECT is(tap_progress(id), percent || '/', format('%s per cent, without a message', percent)) FROM t_edge ORDER BY id;
SELECT bgjob_enqueue('SELECT bgjob_progress(message => ''named'', percent => 7)', kind => 'sql') AS p \gset
SELECT is(bgjob_wait(:p, '60 s'), 'succeeded', 'bgjob_progress takes named arguments');
SELECT is(tap_progress(:p), '7/named', 'named arguments of bgjob_progress are stored');
SELECT bgjob_enqueue('SELECT bgjob_progress(i % 101, ''step '' || i) FROM generate_series(1, 100000) i', kind => 'sql') AS p \gset
SELECT is(bgjob_wait(:p, '60 s'), 'succeeded', 'a job may report its progress a hundred thousand times');
SELECT is(tap_progress(:p), '10/step 100000', 'the last of many reports is kept');
SELECT bgjob_enqueue('SELECT bgjob_progress(p) FROM unnest(ARRAY[80, 20]) p', kind => 'sql') AS p \gset
SELECT is(bgjob_wait(:p, '60 s'), 'succeeded', 'progress may go back');
SELECT is(tap_progress(:p), '20/', 'the lower progress is shown');

-- A long message may be shortened, but to whole characters.
CREATE FUNCTION t_long() RETURNS void LANGUAGE plpgsql AS $$
BEGIN PERFORM bgjob_progress(50, 'x' || repeat('€', 400000)); PERFORM t_hold(); END $$;
SELECT pg_advisory_lock(1212) AS locked \gset
SELECT bgjob_enqueue('t_long') AS p \gset
CALL tap_held(1212);
SELECT matches(tap_progress(:p), '^50/x€€€€€€€€€€', 'a message of a megabyte is seen, maybe cut, while the job runs');
SELECT pg_advisory_unlock(1212) AS unlocked \gset
SELECT is(bgjob_wait(:p, '60 s'), 'succeeded', 'the job with the long message succeeds');
SELECT matches(tap_progress(:p), '^50/x€€€€€€€€€€', 'the cut message is kept after the end');

-- The rollback of a subtransaction does not take back progress.
CREATE FUNCTION t_sub_progress() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM bgjob_progress(10, 'before');
	BEGIN
		PERFORM bgjob_progress(60, 'inside');
		RAISE EXCEPTION 'back';
	EXCEPTION WHEN OTHERS THEN NULL;
	END;
	PERFORM t_hold();
END $$;
SELECT pg_advisory_lock(1212) AS locked \gset
SELECT bgjob_enqueue('t_sub_progress') AS p \gset
CALL tap_held(1212);
SELECT is(tap_progress(:p), '60/inside', 'progress reported in a rolled-back subtransaction stays');
SELECT pg_advisory_unlock(1212) AS unlocked \gset
SELECT is(bgjob_wait(:p, '60 s'), 'succeeded', 'the job with the subtransaction succeeds');
SELECT is(tap_progress(:p), '60/inside', 'the progress of the subtransaction is kept after the end');

-- The next job of the same worker begins without progress.
SELECT bgjob_enqueue('t_run', '["no progress"]') AS p \gset
SELECT is(bgjob_wait(:p, '60 s'), 'succeeded', 'another job runs in the same worker');
SELECT is(tap_progress(:p), '/', 'it has no progress of the job before it');
TRUNCATE t_effect RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- bgjob_log
----------------------------------------------------------------------------------------------------

CREATE FUNCTION t_log(lines text[], after text[] = NULL, error boolean = false) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	INSERT INTO public.t_effect (label) VALUES ('log');
	FOREACH line IN ARRAY lines LOOP
		PERFORM public.bgjob_log(line);
	END LOOP;
	PERFORM public.t_hold();
	FOREACH line IN ARRAY coalesce(after, '{}') LOOP
		PERFORM public.bgjob_log(line, 'warning');
	END LOOP;
	IF error THEN
		RAISE EXCEPTION 'after the log';
	END IF;
END $$;

SELECT clock_timestamp() AS t0 \gset
SELECT pg_advisory_lock(1212) AS locked \gset
SELECT bgjob_enqueue('t_log', '[["one", "zwei: ä€😀", "", "with\nnewline and ''quotes'' \\ \""], ["last"]]') AS l \gset
CALL tap_held(1212);
SELECT is(tap_log(:l), ARRAY['one', 'zwei: ä€😀', '', E'with\nnewline and ''quotes'' \\ "'], 'another session sees log lines while the job runs');
SELECT is(t_effects('log'), NULL, 'the transaction of the logging job is open');
SELECT is(tap_elsewhere(format('SELECT tap_log(%s)', :l))::text[], tap_log(:l), 'a third session sees the same log lines');
SELECT is((SELECT array_agg(DISTINCT level) FROM bgjob.job_logs WHERE job_id = :l), '{info}'::text[], 'the default level is info');
SELECT is((SELECT bool_and(at BETWEEN :'t0' AND clock_timestamp()) FROM bgjob.job_logs WHERE job_id = :l), true, 'at is the time of the call of bgjob_log');
SELECT pg_advisory_unlock(1212) AS unlocked \gset
SELECT is(bgjob_wait(:l, '60 s'), 'succeeded', 'the logging job succeeds');
SELECT is(tap_log(:l), ARRAY['one', 'zwei: ä€😀', '', E'with\nnewline and ''quotes'' \\ "', 'last'], 'the log is kept after the end');
SELECT is((SELECT level FROM bgjob.job_logs WHERE job_id = :l ORDER BY seq DESC LIMIT 1), 'warning', 'the given level is stored');
SELECT is((SELECT count(DISTINCT seq) FROM bgjob.job_logs WHERE job_id = :l), 5::bigint, 'each log line has a seq of its own');
SELECT is((SELECT bool_and(at >= before) FROM (SELECT at, lag(at, 1, :'t0') OVER (ORDER BY seq) AS before FROM bgjob.job_logs WHERE job_id = :l) x),
	true, 'times never go back along seq');

-- Times are those of the calls, not of the transaction.
SELECT bgjob_enqueue('SELECT bgjob_log(''a''), pg_sleep(0.05), bgjob_log(''b'')', kind => 'sql') AS l \gset
SELECT is(bgjob_wait(:l, '60 s'), 'succeeded', 'a command writes to its log');
SELECT is(tap_log(:l), '{a,b}'::text[], 'the lines of a command are in order');
SELECT cmp_ok((SELECT max(at) - min(at) FROM bgjob.job_logs WHERE job_id = :l), '>=', interval '45 ms', 'each line of a command has the time of its call');

-- Levels, by position and by name.
SELECT bgjob_enqueue($$SELECT bgjob_log('i', 'info'), bgjob_log('w', 'warning'), bgjob_log(level => 'error', message => 'e'), bgjob_log('x', repeat('l', 31))$$, kind => 'sql') AS l \gset
SELECT is(bgjob_wait(:l, '60 s'), 'succeeded', 'levels info, warning, error, and another word');
SELECT is((SELECT array_agg(message || ' ' || level ORDER BY seq) FROM bgjob.job_logs WHERE job_id = :l), ARRAY['i info', 'w warning', 'e error', 'x ' || repeat('l', 31)], 'bgjob.job_logs shows these levels');

-- Attempts that fail.
CREATE FUNCTION t_log_and_fail(fails int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	try bigint := nextval('public.t_tries');
BEGIN
	PERFORM public.bgjob_log(format('try %s begins', try));
	INSERT INTO public.t_effect (label) VALUES ('try ' || try);
	IF try <= fails THEN
		PERFORM public.bgjob_log(format('try %s fails', try), 'error');
		RAISE EXCEPTION 'try %', try;
	END IF;
	PERFORM public.bgjob_log(format('try %s is good', try));
END $$;
SELECT setval('t_tries', 1, false) AS x \gset
SELECT bgjob_enqueue('t_log_and_fail', '[2]', max_retries => 5) AS l \gset
CALL tap_wait_until(format($$ SELECT state = 'scheduled' AND retries = 1 FROM bgjob.jobs WHERE id = %s $$, :l));
SELECT is(tap_log(:l), '{try 1 begins,try 1 fails}'::text[], 'the log of a failed attempt is kept');
SELECT bgjob_reschedule(:l, delay => '0') AS x \gset
CALL tap_wait_until(format($$ SELECT state = 'scheduled' AND retries = 2 FROM bgjob.jobs WHERE id = %s $$, :l));
SELECT bgjob_reschedule(:l, delay => '0') AS x \gset
SELECT is(bgjob_wait(:l, '60 s'), 'succeeded', 'the third attempt succeeds');
SELECT is(tap_log(:l), '{try 1 begins,try 1 fails,try 2 begins,try 2 fails,try 3 begins,try 3 is good}'::text[], 'the log has the lines of all attempts');
SELECT is((SELECT count(DISTINCT seq) FROM bgjob.job_logs WHERE job_id = :l), 6::bigint, 'seq increases over all attempts');
SELECT is(t_effects('try'), '{try 3}'::text[], 'only the effects of the last attempt are there');
SELECT bgjob_requeue(:l) AS x \gset
SELECT is(bgjob_wait(:l, '60 s'), 'succeeded', 'a requeued job runs again');
SELECT is((tap_log(:l))[7:], '{try 4 begins,try 4 is good}'::text[], 'the log continues after the requeue');

SELECT bgjob_enqueue('t_log', '[["a"], ["b"], true]', max_retries => 0) AS l \gset
SELECT is(bgjob_wait(:l, '60 s'), 'failed', 'a job that logs fails for good');
SELECT is(tap_log(:l), '{a,b}'::text[], 'the log of the failed job is kept');

SELECT pg_advisory_lock(1212) AS locked \gset
SELECT bgjob_enqueue('t_log', '[["before it is deleted"], ["never"]]') AS l \gset
CALL tap_held(1212);
SELECT is(bgjob_delete(:l), true, 'a job that logs is deleted while it runs');
SELECT is(bgjob_wait(:l, '60 s'), 'deleted', 'the job that logs ends as deleted');
SELECT is(tap_log(:l), '{before it is deleted}'::text[], 'the log of the deleted job is kept');
SELECT bgjob_enqueue('t_log', '[["before the time-out"], ["never"]]', timeout => '200 ms', max_retries => 0) AS l \gset
SELECT is(bgjob_wait(:l, '60 s'), 'failed', 'a job that logs exceeds its timeout');
SELECT is(tap_log(:l), '{before the time-out}'::text[], 'the log of the timed-out job is kept');
SELECT pg_advisory_unlock(1212) AS unlocked \gset

-- An error at commit.
CREATE TABLE t_parent (id int PRIMARY KEY);
CREATE TABLE t_child (parent int REFERENCES t_parent DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION t_orphan() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM bgjob_log('fine so far'); INSERT INTO t_child VALUES (99); END $$;
SELECT bgjob_enqueue('t_orphan', max_retries => 0) AS l \gset
SELECT is(bgjob_wait(:l, '60 s'), 'failed', 'a job that logs fails at its commit');
SELECT is(tap_log(:l), '{fine so far}'::text[], 'the log of a job that fails at its commit is kept');

-- Subtransactions.
CREATE FUNCTION t_sub_log() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM bgjob_log('before');
	FOR i IN 1 .. 3 LOOP
		BEGIN
			PERFORM bgjob_log('inside ' || i);
			INSERT INTO t_effect (label) VALUES ('sub ' || i);
			PERFORM 1 / (i - 2);
		EXCEPTION WHEN division_by_zero THEN
			PERFORM bgjob_log('trapped ' || i);
		END;
	END LOOP;
	PERFORM bgjob_log('after');
END $$;
SELECT bgjob_enqueue('t_sub_log') AS l \gset
SELECT is(bgjob_wait(:l, '60 s'), 'succeeded', 'a job with a rolled-back subtransaction succeeds');
SELECT is(tap_log(:l), '{before,inside 1,inside 2,trapped 2,inside 3,after}'::text[], 'the lines written in the rolled-back subtransaction are kept, in order');
SELECT is(t_effects('sub'), '{sub 1,sub 3}'::text[], 'the effects of the rolled-back subtransaction are gone');

-- Many lines.
CREATE FUNCTION t_many(n int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. n LOOP PERFORM bgjob_log('line ' || i); END LOOP;
	PERFORM t_hold();
END $$;
SELECT pg_advisory_lock(1212) AS locked \gset
SELECT bgjob_enqueue('t_many', '[10000]') AS l \gset
CALL tap_held(1212);
SELECT is((SELECT count(*) FROM bgjob.job_logs WHERE job_id = :l), 10000::bigint, '10,000 lines are seen while the job runs');
SELECT is(tap_log(:l), ARRAY(SELECT 'line ' || i FROM generate_series(1, 10000) i), 'the 10,000 lines are in order');
SELECT pg_advisory_unlock(1212) AS unlocked \gset
SELECT is(bgjob_wait(:l, '60 s'), 'succeeded', 'the job with 10,000 lines succeeds');
SELECT is(tap_log(:l), ARRAY(SELECT 'line ' || i FROM generate_series(1, 10000) i), 'all 10,000 lines are kept, in order');
SELECT is((SELECT count(DISTINCT seq) FROM bgjob.job_logs WHERE job_id = :l), 10000::bigint, 'each of the 10,000 lines has a seq of its own');

-- Too many lines: the log is cut, the job continues.
CREATE FUNCTION t_flood(lines int, size int, fails int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	try bigint := nextval('public.t_tries');
BEGIN
	IF try > 1 THEN
		PERFORM bgjob_log('try ' || try);
		RETURN;
	END IF;
	FOR i IN 1 .. lines LOOP
		PERFORM bgjob_log(lpad(i::text, 10, '0') || repeat('ä', size / 2));
	END LOOP;
	INSERT INTO t_effect (label) VALUES ('flood');
	IF try <= fails THEN
		RAISE EXCEPTION 'flooded';
	END IF;
END $$;
SELECT setval('t_tries', 1, false) AS x \gset
SELECT bgjob_enqueue('t_flood', '[20000, 1000, 1]', max_retries => 1) AS l \gset
CALL tap_state_is(:l, 'scheduled');
SELECT is((SELECT error ->> 'message' FROM bgjob.jobs WHERE id = :l), 'flooded', 'a job that logs 20,000 lines of 20 MB runs to its end');
SELECT cmp_ok((SELECT sum(octet_length(message)) FROM bgjob.job_logs WHERE job_id = :l), '<', 8000000::bigint, 'less than 8 MB of the 20 MB are kept');
SELECT cmp_ok((SELECT sum(octet_length(message)) FROM bgjob.job_logs WHERE job_id = :l), '>', 200000::bigint, 'more than the minimum of the 20 MB is kept');
SELECT matches((SELECT message FROM bgjob.job_logs WHERE job_id = :l ORDER BY seq DESC LIMIT 1), '(?i)\mcut\M|truncated|left out', 'the last line says that the log was cut');
SELECT is((SELECT count(*) FROM bgjob.job_logs WHERE job_id = :l AND message ~* '\mcut\M|truncated|left out'), 1::bigint, 'only the last line says that the log was cut');
SELECT is((SELECT array_agg(left(message, 10) ORDER BY seq) FROM (SELECT * FROM bgjob.job_logs WHERE job_id = :l ORDER BY seq LIMIT 100) x),
	ARRAY(SELECT lpad(i::text, 10, '0') FROM generate_series(1, 100) i), 'its beginning is there');
SELECT bgjob_reschedule(:l, delay => '0') AS x \gset
SELECT is(bgjob_wait(:l, '60 s'), 'succeeded', 'the next attempt succeeds');
SELECT is((SELECT message FROM bgjob.job_logs WHERE job_id = :l ORDER BY seq DESC LIMIT 1), 'try 2', 'the next attempt has a limit of its own');

SELECT setval('t_tries', 1, false) AS x \gset
SELECT bgjob_enqueue('t_flood', '[1, 20000000, 0]') AS l \gset
SELECT is(bgjob_wait(:l, '60 s'), 'succeeded', 'a job that writes one line of 20 MB succeeds');
SELECT cmp_ok((SELECT sum(octet_length(message)) FROM bgjob.job_logs WHERE job_id = :l), '<', 8000000::bigint, 'less than 8 MB of it are kept');
SELECT matches((SELECT right(message, 500) FROM bgjob.job_logs WHERE job_id = :l ORDER BY seq DESC LIMIT 1), '(?i)\mcut\M|truncated|left out', 'the last line says that the log of one line was cut');
SELECT is(t_effects('flood'), '{flood}'::text[], 'the result of the job was not cut');
TRUNCATE t_effect RESTART IDENTITY;

-- The next job of the same worker begins without lines.
SELECT bgjob_enqueue('t_run', '["no lines"]') AS l \gset
SELECT is(bgjob_wait(:l, '60 s'), 'succeeded', 'a job without log runs in the same worker');
SELECT is(tap_log(:l), NULL, 'it has no log line of the job before it');

----------------------------------------------------------------------------------------------------
-- Which roles see logs and progress
----------------------------------------------------------------------------------------------------

SELECT pg_advisory_lock(1212) AS locked \gset
SET ROLE tap12_plain;
SELECT bgjob_enqueue('t_log', '[["secret marker 4711"], ["more"]]') AS s \gset
SELECT bgjob_enqueue('SELECT bgjob_progress(12, ''secret progress''), bgjob_log(''by a command'')', kind => 'sql') AS s2 \gset
RESET ROLE;
CALL tap_held(1212);
CREATE FUNCTION t_sees(role text, id bigint) RETURNS text LANGUAGE sql AS
	$$ SELECT tap_try(format('SELECT string_agg(message, '','' ORDER BY seq) FROM bgjob.job_logs WHERE job_id = %s', id), role) $$;
SELECT is(t_sees('tap12_plain', :s), 'secret marker 4711', 'a role sees the log of its job, while it runs');
SELECT is(t_sees('tap12_boss', :s), 'secret marker 4711', 'a member of the role sees the log');
SELECT is(t_sees('tap12_monitor', :s), 'secret marker 4711', 'a member of pg_monitor sees the log');
SELECT is(t_sees(NULL, :s), 'secret marker 4711', 'a superuser sees the log');
SELECT is(t_sees('tap12_other', :s), 'NULL', 'another role does not see the log');
SELECT is(t_sees('tap12_nobody', :s), 'ERROR 42501', 'a role without USAGE cannot read the view');
SELECT is(tap_try('SELECT count(*) FROM bgjob.job_logs', 'tap12_other'), '0', 'another role sees no log lines');
SELECT pg_advisory_unlock(1212) AS unlocked \gset
SELECT is(bgjob_wait(:s, '60 s'), 'succeeded', 'the job of a plain role succeeds');
SELECT is(bgjob_wait(:s2, '60 s'), 'succeeded', 'the command of the plain role succeeds');
SELECT is(tap_progress(:s2), '12/secret progress', 'the command of the plain role has reported its progress');
SELECT is(t_sees('tap12_plain', :s), 'secret marker 4711,more', 'after the end, the role sees its log');
SELECT is(t_sees('tap12_boss', :s), 'secret marker 4711,more', 'after the end, a member of the role sees the log');
SELECT is(t_sees('tap12_monitor', :s), 'secret marker 4711,more', 'after the end, a member of pg_monitor sees the log');
SELECT is(t_sees('tap12_other', :s), 'NULL', 'after the end, another role does not see the log');
SELECT is(tap_try('SELECT count(*) FROM bgjob.job_logs', 'tap12_other'), '0', 'after the end, another role sees no log lines');

-- A leaky function that reports its arguments, at almost no cost, so that the planner calls it first; also while a job runs that has logged.
CREATE TABLE t_leaked (what text, message text);
GRANT INSERT ON t_leaked TO PUBLIC;
CREATE FUNCTION t_leak(what text, message text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
	$$ BEGIN INSERT INTO public.t_leaked VALUES (what, message); RETURN true; END $$;
CREATE TABLE t_look AS SELECT row_number() OVER () AS n, view, method, replace(query, 'WHAT', quote_literal(view || ' ' || method)) AS query, NULL::text AS sees
FROM (VALUES ('job_logs', 'SELECT count(*) FROM bgjob.job_logs WHERE t_leak(WHAT, message)'), ('jobs', 'SELECT count(*) FROM bgjob.jobs WHERE t_leak(WHAT, progress_message)'),
	('job_states', 'SELECT count(*) FROM bgjob.job_states WHERE t_leak(WHAT, state)')) v(view, query), unnest('{hashjoin,nestloop,mergejoin}'::text[]) method;
CREATE PROCEDURE tap_look() LANGUAGE plpgsql AS $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT * FROM t_look LOOP
		PERFORM set_config('enable_' || m, CASE WHEN m = r.method THEN 'on' ELSE 'off' END, true) FROM unnest('{hashjoin,nestloop,mergejoin}'::text[]) m;
		UPDATE t_look SET sees = tap_try(r.query, 'tap12_other') WHERE n = r.n;
	END LOOP;
END $$;
SELECT pg_advisory_lock(1212) AS locked \gset
SELECT bgjob_enqueue('t_log', '[["secret of a job that runs"]]') AS s3 \gset
CALL tap_held(1212);
CALL tap_look();
SELECT pg_advisory_unlock(1212) AS unlocked \gset
SELECT is(bgjob_wait(:s3, '60 s'), 'succeeded', 'the checked job ran and had output');
SELECT is(sees, '0', format('another role sees no row of bgjob.%s (%s)', view, method)) FROM t_look ORDER BY n;
SELECT is((SELECT left(string_agg(message, ','), 100) FROM t_leaked WHERE what = view || ' ' || method), NULL, format('bgjob.%s shows nothing of others to a leaky function (%s)', view, method))
FROM t_look ORDER BY n;
-- The objects behind the views are private and cannot be written to.
SELECT is((SELECT string_agg(relname, ',') FROM pg_class c WHERE relnamespace IN ('bgjob'::regnamespace, 'bgjob_internal'::regnamespace) AND relkind IN ('r', 'v', 'p', 'm')
		AND (has_table_privilege('tap12_other', oid, 'INSERT') OR has_table_privilege('tap12_other', oid, 'UPDATE') OR has_table_privilege('tap12_other', oid, 'DELETE')
			OR relkind <> 'v' AND has_table_privilege('tap12_other', oid, 'SELECT'))), NULL, 'a role has only SELECT on the views');
SELECT matches(tap_try('INSERT INTO bgjob.job_logs (job_id, seq, at, level, message) VALUES (1, 1, now(), ''info'', ''x'')', 'tap12_plain'), '^ERROR (42501|55000)$',
	'bgjob.job_logs cannot be written to');

-- In a SECURITY DEFINER function the lines still belong to the job.
CREATE FUNCTION t_definer() RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
	$$ BEGIN PERFORM bgjob_log('as ' || current_user); PERFORM bgjob_progress(5, current_user); PERFORM bgjob_set_parameter('who', to_jsonb(session_user)); RETURN 'done'; END $$;
SET ROLE tap12_plain;
SELECT bgjob_enqueue('t_definer') AS d \gset
RESET ROLE;
SELECT is(bgjob_wait(:d, '60 s'), 'succeeded', 'a function with its owner''s rights runs in the job of a plain role');
SELECT is(t_sees('tap12_plain', :d), 'as ' || current_user, 'the line of the SECURITY DEFINER function is in the log of the job');
SELECT is(tap_progress(:d), '5/' || current_user, 'the progress of the SECURITY DEFINER function is that of the job');
SELECT is((SELECT parameters ->> 'who' FROM bgjob.jobs WHERE id = :d), 'tap12_plain', 'the parameter of the SECURITY DEFINER function is that of the job');

-- With settings of roles that could interfere.
CREATE FUNCTION t_role() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM public.bgjob_progress(77, 'seven');
	PERFORM public.bgjob_log('line');
	PERFORM public.t_hold();
	RETURN current_setting('transaction_read_only') || ' ' || current_setting('transaction_isolation');
END $$;
CREATE TABLE t_roles (role text, mode text, id bigint, early text, early_log text[]);
INSERT INTO t_roles VALUES ('tap12_readonly', 'on read committed'), ('tap12_repeatable', 'off repeatable read'), ('tap12_serializable', 'off serializable');
CREATE PROCEDURE tap_role(name text) LANGUAGE plpgsql AS $$
DECLARE
	job bigint;
BEGIN
	PERFORM pg_advisory_lock(1212);
	job := bgjob_enqueue('t_role', run_as => name);
	UPDATE t_roles SET id = job WHERE role = name;
	COMMIT;
	CALL tap_held(1212);
	UPDATE t_roles SET early = tap_progress(id), early_log = tap_log(id) WHERE role = name;
	COMMIT;
	PERFORM pg_advisory_unlock(1212);
	CALL tap_idle();
END $$;
CALL tap_role('tap12_readonly');
CALL tap_role('tap12_repeatable');
CALL tap_role('tap12_serializable');
SELECT is((SELECT result #>> '{}' FROM bgjob.jobs j WHERE j.id = r.id), mode, format('a job of %s runs %s', role, mode)) FROM t_roles r ORDER BY role;
SELECT is(early, '77/seven', role || ': progress is seen at once') FROM t_roles ORDER BY role;
SELECT is(early_log, '{line}'::text[], role || ': the log is seen at once') FROM t_roles ORDER BY role;
SELECT is(tap_progress(id), '77/seven', role || ': the progress is kept') FROM t_roles ORDER BY role;
SELECT is(tap_log(id), '{line}'::text[], role || ': the log is kept') FROM t_roles ORDER BY role;

----------------------------------------------------------------------------------------------------
-- The log goes with the job
----------------------------------------------------------------------------------------------------

CALL tap_idle();
SELECT bgjob_enqueue('t_log', '[["marker of a job that stays"]]', queue => 'stays') AS stays \gset
SELECT bgjob_wait(:stays, '60 s') AS x \gset
SELECT count(*) AS n, count(DISTINCT job_id) AS n_jobs FROM bgjob.job_logs WHERE job_id IN (SELECT id FROM bgjob.jobs WHERE state = 'failed') \gset
SELECT cmp_ok(:n, '>', 0, 'failed jobs have log lines');
SELECT cmp_ok(bgjob_purge('failed'), '>=', :n_jobs::bigint, 'the failed jobs are purged');
SELECT is((SELECT count(*) FROM bgjob.job_logs WHERE job_id NOT IN (SELECT id FROM bgjob.jobs)), 0::bigint, 'the log lines of purged jobs are removed');
SELECT is(tap_log(:stays), '{marker of a job that stays}'::text[], 'the log lines of other jobs are kept');
BEGIN;
SELECT bgjob_purge('succeeded') AS x \gset
SELECT is(tap_log(:stays), NULL, 'the log of a job purged in the transaction is not visible');
ROLLBACK;
SELECT is(tap_log(:stays), '{marker of a job that stays}'::text[], 'the log is there again after the rollback');
SELECT is(bgjob_purge('succeeded') > 0 AND bgjob_purge('deleted') > 0, true, 'all finished jobs are purged');
SELECT is((SELECT count(*) FROM bgjob.job_logs), 0::bigint, 'no log line of a purged job is left in the view');
SELECT is(tap_traces('marker of a job that stays') + tap_traces('secret marker 4711'), 0::bigint, 'no row of a purged job is left in any table');
-- The log is removed also by retention.
SELECT bgjob_queue('short', retention => '0');
SELECT bgjob_enqueue('t_log', '[["marker of a short life"]]', queue => 'short') AS short \gset
CALL tap_wait_until(format('SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE id = %s)', :short), 120);
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE id = :short), 0::bigint, 'an expired job is removed');
SELECT is((SELECT count(*) FROM bgjob.job_logs WHERE job_id = :short), 0::bigint, 'the log of an expired job is removed');
SELECT is(tap_traces('marker of a short life'), 0::bigint, 'no row of an expired job is left in any table');
SELECT bgjob_queue_remove('short') AS x \gset
TRUNCATE t_effect RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- Logs and progress of procedures, and of commands
----------------------------------------------------------------------------------------------------

CREATE PROCEDURE t_proc(error boolean) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM bgjob_progress(10, 'a');
	PERFORM bgjob_log('a');
	INSERT INTO t_effect (label) VALUES ('proc a');
	COMMIT;
	PERFORM bgjob_progress(20, 'b');
	PERFORM bgjob_log('b');
	INSERT INTO t_effect (label) VALUES ('proc b');
	ROLLBACK;
	PERFORM bgjob_log('c');
	INSERT INTO t_effect (label) VALUES ('proc c');
	COMMIT;
	PERFORM bgjob_log('d');
	INSERT INTO t_effect (label) VALUES ('proc d');
	PERFORM t_hold();
	IF error THEN
		RAISE EXCEPTION 'in the end';
	END IF;
END $$;
SELECT pg_advisory_lock(1212) AS locked \gset
SELECT bgjob_enqueue('t_proc', '[true]', max_retries => 0) AS l \gset
CALL tap_held(1212);
SELECT is(tap_log(:l), '{a,b,c,d}'::text[], 'the log of a procedure is seen while it runs, across its commits and rollbacks');
SELECT is(tap_progress(:l), '20/b', 'the progress of the procedure is seen while it runs');
SELECT is(t_effects('proc'), '{proc a,proc c}'::text[], 'the committed effects of the procedure are seen while it runs');
SELECT pg_advisory_unlock(1212) AS unlocked \gset
SELECT is(bgjob_wait(:l, '60 s'), 'failed', 'the procedure fails');
SELECT is(tap_log(:l), '{a,b,c,d}'::text[], 'the log of the failed procedure is kept');
SELECT is(tap_progress(:l), '20/b', 'the progress of the failed procedure is kept');
SELECT is(t_effects('proc'), '{proc a,proc c}'::text[], 'only the committed effects of the failed procedure are kept');
SELECT bgjob_enqueue('t_proc', '[false]', max_retries => 0) AS l \gset
SELECT is(bgjob_wait(:l, '60 s'), 'succeeded', 'a procedure that logs succeeds');
SELECT is(tap_log(:l), '{a,b,c,d}'::text[], 'the succeeded procedure has the same log, each line once');
SELECT is((SELECT count(DISTINCT seq) FROM bgjob.job_logs WHERE job_id = :l), 4::bigint, 'each line of the procedure has a seq of its own');
SELECT bgjob_enqueue('t_proc', '[false]', max_retries => 0, queue => 'g') AS l \gset
SELECT is(bgjob_wait(:l, '60 s'), 'succeeded', 'a procedure in a queue with groups succeeds');
SELECT is(tap_log(:l), '{a,b,c,d}'::text[], 'the procedure in a queue with groups has the same log');

SELECT bgjob_enqueue('DO $$ BEGIN FOR i IN 1 .. 3 LOOP PERFORM bgjob_log(''do '' || i); PERFORM bgjob_progress(i, ''do''); COMMIT; END LOOP; END $$', kind => 'sql') AS l \gset
SELECT is(bgjob_wait(:l, '60 s'), 'succeeded', 'a DO command with COMMIT succeeds');
SELECT is(tap_log(:l), '{do 1,do 2,do 3}'::text[], 'the DO command writes to its log');
SELECT is(tap_progress(:l), '3/do', 'the DO command reports its progress');
SELECT bgjob_enqueue('WITH x AS (INSERT INTO t_effect (label) VALUES (''command'') RETURNING label) SELECT bgjob_log(label || $1) FROM x', '[" in a CTE"]', kind => 'sql') AS l \gset
SELECT is(bgjob_wait(:l, '60 s'), 'succeeded', 'a command with parameters succeeds');
SELECT is(tap_log(:l), '{command in a CTE}'::text[], 'the command with parameters writes to its log');
-- A trigger that runs at the commit is still in the job.
CREATE FUNCTION t_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM bgjob_log('at the commit of ' || bgjob_current_id()); PERFORM bgjob_progress(100, 'at the commit'); RETURN NULL; END $$;
CREATE TABLE t_deferred (id int);
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON t_deferred DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION t_at_commit();
SELECT bgjob_enqueue('INSERT INTO t_deferred VALUES (1)', kind => 'sql', max_retries => 0) AS l \gset
SELECT is(bgjob_wait(:l, '60 s'), 'succeeded', 'a deferred trigger writes to the log');
SELECT is(tap_log(:l), ARRAY['at the commit of ' || :l], 'the line of the deferred trigger is in the log of its job');
SELECT is(tap_progress(:l), '100/at the commit', 'the deferred trigger reports progress of its job');
TRUNCATE t_effect RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- Logs and progress in groups
----------------------------------------------------------------------------------------------------

CREATE FUNCTION t_member(i int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM bgjob_log(format('%s begins', i));
	PERFORM bgjob_progress(i, 'job ' || i);
	INSERT INTO t_effect (label) VALUES ('member ' || i);
	IF i % 7 = 0 THEN
		RAISE EXCEPTION 'seven';
	END IF;
	PERFORM bgjob_log(format('%s ends', i));
END $$;
SELECT bgjob_queue_pause('g') AS x \gset
CREATE TABLE t_members AS SELECT row_number() OVER (ORDER BY id) AS i, id
	FROM bgjob_enqueue_many('t_member', ARRAY(SELECT jsonb_build_array(i) FROM generate_series(1, 50) i), queue => 'g', max_retries => 0) AS id;
SELECT bgjob_queue_resume('g') AS x \gset
CALL tap_idle();
SELECT is((SELECT count(*) FROM t_members WHERE tap_state(id) = CASE WHEN i % 7 = 0 THEN 'failed' ELSE 'succeeded' END), 50::bigint, 'fifty jobs in groups end, every seventh failed');
SELECT cmp_ok((SELECT count(DISTINCT xid) FROM t_effect), '<', 43::bigint, 'the fifty jobs ran in groups');
SELECT is((SELECT array_agg(i) FROM t_members WHERE tap_progress(id) IS DISTINCT FROM format('%s/job %s', i, i)), NULL, 'each of the fifty jobs has its own progress');
SELECT is((SELECT array_agg(i) FROM t_members
		WHERE tap_log(id) IS DISTINCT FROM CASE WHEN i % 7 = 0 THEN ARRAY[i || ' begins'] ELSE ARRAY[i || ' begins', i || ' ends'] END), NULL,
	'each of the fifty jobs has its own lines once, failed ones included');
-- Seen at once, in the middle of a group.
TRUNCATE t_effect RESTART IDENTITY;
SELECT pg_advisory_lock(1212) AS locked \gset
SELECT bgjob_queue_pause('g') AS x \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_member', '{[1],[2],[3]}', queue => 'g') \gset
SELECT bgjob_enqueue('t_log', '[["in a group"], ["after"]]', queue => 'g') AS l, bgjob_enqueue('t_progress', '[61, "in a group", 62, "later"]', queue => 'g') AS p \gset
SELECT bgjob_queue_resume('g') AS x \gset
CALL tap_held(1212);
SELECT is(tap_log(:l), '{in a group}'::text[], 'a line of a job in a group is seen at once');
SELECT is(t_effects(''), NULL, 'the transaction of the group is open');
SELECT pg_advisory_unlock(1212) AS unlocked \gset
SELECT is(bgjob_wait(:p, '60 s'), 'succeeded', 'the last job of the group succeeds');
SELECT is(tap_log(:l), '{in a group,after}'::text[], 'the log of the job in the group is kept');
SELECT is(tap_progress(:p), '62/later', 'the progress of the job in the group is kept');
SELECT pg_advisory_lock(1212) AS locked \gset
SELECT bgjob_enqueue('t_progress', '[61, "in a group", 62, "later"]', queue => 'g') AS p \gset
CALL tap_held(1212);
SELECT is(tap_progress(:p), '61/in a group', 'progress in a queue with groups is seen at once');
SELECT pg_advisory_unlock(1212) AS unlocked \gset
SELECT is(bgjob_wait(:p, '60 s'), 'succeeded', 'the job in the queue with groups succeeds');

-- A job that logs too much takes no room from other jobs of its group.
SELECT setval('t_tries', 1, false) AS x \gset
SELECT bgjob_queue_pause('g') AS x \gset
SELECT bgjob_enqueue('t_member', '[1]', queue => 'g') AS a, bgjob_enqueue('t_flood', '[5000, 1000, 0]', queue => 'g') AS f, bgjob_enqueue('t_member', '[2]', queue => 'g') AS b \gset
SELECT bgjob_queue_resume('g') AS x \gset
CALL tap_idle();
SELECT is(ARRAY[tap_state(:a), tap_state(:f), tap_state(:b)], '{succeeded,succeeded,succeeded}'::text[], 'one job in a group writes 5 MB to its log');
SELECT matches((SELECT message FROM bgjob.job_logs WHERE job_id = :f ORDER BY seq DESC LIMIT 1), '(?i)\mcut\M|truncated|left out', 'the log of that job is cut');
SELECT is(tap_log(:a) || tap_log(:b), '{1 begins,1 ends,2 begins,2 ends}'::text[], 'the logs of the other jobs of the group are whole');
TRUNCATE t_effect RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- Parameters
----------------------------------------------------------------------------------------------------

CREATE FUNCTION t_parameters(id bigint) RETURNS jsonb LANGUAGE sql AS $$ SELECT coalesce(parameters, '{}') FROM bgjob.jobs j WHERE j.id = $1 $$;
-- Sets the first parameter, after the lock the second, and returns its reads in between.
CREATE FUNCTION t_set(name text, value jsonb, error boolean = false) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	before jsonb := public.bgjob_parameter(name);
BEGIN
	PERFORM public.bgjob_set_parameter(name, value);
	PERFORM public.t_hold();
	IF error THEN
		RAISE EXCEPTION 'after the parameter';
	END IF;
	RETURN jsonb_build_object('before', before, 'after', public.bgjob_parameter(name), 'a', public.bgjob_parameter('a'), 'none', public.bgjob_parameter('none'));
END $$;
SELECT pg_advisory_lock(1212) AS locked \gset
SELECT bgjob_enqueue('t_set', '["b", {"x": [1, "ä"]}]', parameters => '{"a": 1, "b": 2}') AS p \gset
CALL tap_held(1212);
SELECT is(t_parameters(:p), '{"a": 1, "b": 2}'::jsonb, 'a parameter set by a running job is invisible to other sessions');
SELECT pg_advisory_unlock(1212) AS unlocked \gset
SELECT is(bgjob_wait(:p, '60 s'), 'succeeded', 'the job that sets parameters succeeds');
SELECT is(bgjob_result(:p), '{"before": 2, "after": {"x": [1, "ä"]}, "a": 1, "none": null}'::jsonb, 'the job reads given parameters, its own new ones, and null for missing ones');
SELECT is(t_parameters(:p), '{"a": 1, "b": {"x": [1, "ä"]}}'::jsonb, 'bgjob.jobs shows the new value and the unchanged ones');
SELECT bgjob_enqueue('t_set', '["new", "value"]') AS p \gset
SELECT is(bgjob_wait(:p, '60 s'), 'succeeded', 'a job without parameters sets one');
SELECT is(t_parameters(:p), '{"new": "value"}'::jsonb, 'bgjob.jobs shows that parameter');
SELECT bgjob_requeue(:p) AS x \gset
SELECT is(bgjob_wait(:p, '60 s'), 'succeeded', 'the job is requeued');
SELECT is(bgjob_result(:p) ->> 'before', 'value', 'the requeued job reads the parameter of its last run');
SELECT bgjob_enqueue('SELECT bgjob_set_parameter(''a'', NULL)', kind => 'sql', parameters => '{"a": 1, "b": 2}') AS p \gset
SELECT is(bgjob_wait(:p, '60 s'), 'succeeded', 'a command sets a parameter to null');
SELECT is(t_parameters(:p), '{"b": 2}'::jsonb, 'a parameter set to null is removed');
SELECT bgjob_enqueue('SELECT bgjob_set_parameter(''none'', NULL)', kind => 'sql', parameters => '{"b": 2}') AS p \gset
SELECT is(bgjob_wait(:p, '60 s'), 'succeeded', 'a missing parameter can be set to null');
SELECT is(t_parameters(:p), '{"b": 2}'::jsonb, 'setting a missing parameter to null changes nothing');
SELECT bgjob_enqueue('SELECT bgjob_set_parameter(name => ''odd "name" ä'', value => ''[]''), bgjob_set_parameter(''odd "name" ä'', bgjob_parameter(name => ''odd "name" ä'') || ''[1]'')', kind => 'sql') AS p \gset
SELECT is(bgjob_wait(:p, '60 s'), 'succeeded', 'a parameter with an unusual name is set twice');
SELECT is(t_parameters(:p), '{"odd \"name\" ä": [1]}'::jsonb, 'the second value is kept');
SELECT bgjob_enqueue('SELECT bgjob_set_parameter(''big'', to_jsonb(repeat(md5(i::text), 10000))) FROM generate_series(1, 5) i', kind => 'sql') AS p \gset
SELECT is(bgjob_wait(:p, '60 s'), 'succeeded', 'a large parameter is set');
SELECT is(t_parameters(:p) ->> 'big', repeat(md5('5'), 10000), 'the large parameter is stored whole');

-- An attempt that fails.
SELECT bgjob_enqueue('t_set', '["a", "of a failed attempt", true]', max_retries => 0, parameters => '{"a": 1}') AS p \gset
SELECT is(bgjob_wait(:p, '60 s'), 'failed', 'a job sets a parameter and fails');
SELECT is(t_parameters(:p), '{"a": 1}'::jsonb, 'the parameter is rolled back with the failed attempt');
CREATE FUNCTION t_set_and_fail() RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	seen jsonb := bgjob_parameter('tries');
BEGIN
	PERFORM bgjob_set_parameter('tries', to_jsonb(coalesce(seen::int, 0) + 1));
	IF nextval('t_tries') = 1 THEN
		RAISE EXCEPTION 'the first try';
	END IF;
	RETURN coalesce(seen, '"none"');
END $$;
SELECT setval('t_tries', 1, false) AS x \gset
SELECT bgjob_enqueue('t_set_and_fail', max_retries => 1) AS p \gset
CALL tap_state_is(:p, 'scheduled');
SELECT is(t_parameters(:p), '{}'::jsonb, 'nothing is left of a failed attempt');
SELECT bgjob_reschedule(:p, delay => '0') AS x \gset
SELECT is(bgjob_wait(:p, '60 s'), 'succeeded', 'the retry succeeds');
SELECT is(bgjob_result(:p), '"none"'::jsonb, 'the retry does not see the value of the first attempt');
SELECT is(t_parameters(:p), '{"tries": 1}'::jsonb, 'the value of the retry is stored');
SELECT pg_advisory_lock(1212) AS locked \gset
SELECT bgjob_enqueue('t_set', '["a", 2]', parameters => '{"a": 1}') AS p \gset
CALL tap_held(1212);
SELECT is(bgjob_delete(:p), true, 'a job is deleted after it has set a parameter');
SELECT is(bgjob_wait(:p, '60 s'), 'deleted', 'the job with a parameter ends as deleted');
SELECT is(t_parameters(:p), '{"a": 1}'::jsonb, 'the parameter of the deleted job is rolled back');
SELECT pg_advisory_unlock(1212) AS unlocked \gset

-- Subtransactions.
CREATE FUNCTION t_sub_set() RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	inside jsonb;
BEGIN
	PERFORM bgjob_set_parameter('a', '"outer"');
	BEGIN
		PERFORM bgjob_set_parameter('a', '"inner"');
		PERFORM bgjob_set_parameter('b', '"inner"');
		inside := bgjob_parameter('a');
		RAISE EXCEPTION 'back';
	EXCEPTION WHEN OTHERS THEN NULL;
	END;
	BEGIN
		PERFORM bgjob_set_parameter('c', '"kept"');
	EXCEPTION WHEN OTHERS THEN NULL;
	END;
	RETURN jsonb_build_array(inside, bgjob_parameter('a'), bgjob_parameter('b'), bgjob_parameter('c'));
END $$;
SELECT bgjob_enqueue('t_sub_set') AS p \gset
SELECT is(bgjob_wait(:p, '60 s'), 'succeeded', 'a job sets parameters in subtransactions');
SELECT is(bgjob_result(:p), '["inner", "outer", null, "kept"]'::jsonb, 'a parameter set in a rolled-back subtransaction is not set');
SELECT is(t_parameters(:p), '{"a": "outer", "c": "kept"}'::jsonb, 'it is not set after the end either');

-- Procedures.
CREATE PROCEDURE t_proc_set(error boolean) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM bgjob_set_parameter('a', '1');
	PERFORM bgjob_set_parameter('b', '1');
	COMMIT;
	PERFORM bgjob_set_parameter('b', '2');
	PERFORM bgjob_set_parameter('c', '2');
	ROLLBACK;
	PERFORM bgjob_set_parameter('d', jsonb_build_array(bgjob_parameter('a'), bgjob_parameter('b'), bgjob_parameter('c')));
	COMMIT;
	PERFORM bgjob_set_parameter('e', '5');
	PERFORM t_hold();
	IF error THEN
		RAISE EXCEPTION 'in the end';
	END IF;
END $$;
SELECT pg_advisory_lock(1212) AS locked \gset
SELECT bgjob_enqueue('t_proc_set', '[true]', max_retries => 0, parameters => '{"z": 0}') AS p \gset
CALL tap_held(1212);
SELECT is(t_parameters(:p), '{"a": 1, "b": 1, "d": [1, 1, null], "z": 0}'::jsonb, 'a parameter committed by a procedure is seen while it runs');
SELECT pg_advisory_unlock(1212) AS unlocked \gset
SELECT is(bgjob_wait(:p, '60 s'), 'failed', 'the procedure fails');
SELECT is(t_parameters(:p), '{"a": 1, "b": 1, "d": [1, 1, null], "z": 0}'::jsonb, 'only the committed parameters of the failed procedure are kept');
SELECT bgjob_enqueue('t_proc_set', '[false]') AS p \gset
SELECT is(bgjob_wait(:p, '60 s'), 'succeeded', 'the procedure without failure succeeds');
SELECT is(t_parameters(:p), '{"a": 1, "b": 1, "d": [1, 1, null], "e": 5}'::jsonb, 'its parameters are kept, except rolled-back ones');

-- Groups.
CREATE FUNCTION t_set_member(i int) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO t_effect (label) VALUES ('member ' || i);
	PERFORM bgjob_set_parameter('own', to_jsonb(i));
	IF i % 7 = 0 THEN
		RAISE EXCEPTION 'seven';
	END IF;
	RETURN bgjob_parameter('given');
END $$;
SELECT bgjob_queue_pause('g') AS x \gset
CREATE TABLE t_set_members AS SELECT i, bgjob_enqueue('t_set_member', jsonb_build_array(i), queue => 'g', max_retries => 0, parameters => jsonb_build_object('given', i)) AS id
	FROM generate_series(1, 50) i;
SELECT bgjob_queue_resume('g') AS x \gset
CALL tap_idle();
SELECT is((SELECT count(*) FROM t_set_members WHERE tap_state(id) = CASE WHEN i % 7 = 0 THEN 'failed' ELSE 'succeeded' END), 50::bigint, 'fifty jobs in groups set parameters');
SELECT cmp_ok((SELECT count(DISTINCT xid) FROM t_effect), '<', 43::bigint, 'the fifty jobs ran in groups');
SELECT is((SELECT array_agg(i) FROM t_set_members WHERE i % 7 <> 0 AND bgjob_result(id) <> to_jsonb(i)), NULL, 'each job of the groups reads its own parameter');
SELECT is((SELECT array_agg(i) FROM t_set_members
		WHERE t_parameters(id) <> jsonb_build_object('given', i) || CASE WHEN i % 7 = 0 THEN '{}' ELSE jsonb_build_object('own', i) END), NULL,
	'each job of the groups has set its own parameter, failed ones none');
TRUNCATE t_effect RESTART IDENTITY;

SELECT bgjob_enqueue('t_set', '["a", 5]', run_as => 'tap12_plain') AS p \gset
SELECT is(bgjob_wait(:p, '60 s'), 'succeeded', 'a job of a plain role sets a parameter');
SELECT is(t_parameters(:p), '{"a": 5}'::jsonb, 'the parameter of the plain role is kept');

----------------------------------------------------------------------------------------------------
-- bgjob_cancel_requested
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('SELECT bgjob_cancel_requested()', kind => 'sql') AS c \gset
SELECT is(bgjob_wait(:c, '60 s'), 'succeeded', 'bgjob_cancel_requested');
SELECT is(bgjob_result(:c) #>> '{0,bgjob_cancel_requested}', 'false', 'bgjob_cancel_requested is false without a request');
-- Traps the cancel, reports bgjob_cancel_requested(), and ends.
CREATE FUNCTION t_aware(obeys boolean = true) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO t_effect (label) VALUES ('aware');
	PERFORM bgjob_log('before: ' || bgjob_cancel_requested());
	BEGIN
		PERFORM t_hold();
	EXCEPTION WHEN query_canceled THEN
		PERFORM bgjob_log('interrupted: ' || bgjob_cancel_requested());
		IF obeys THEN
			RAISE;
		END IF;
	END;
END $$;
SELECT pg_advisory_lock(1212) AS locked \gset
SELECT bgjob_enqueue('t_aware') AS c \gset
CALL tap_held(1212);
SELECT is(bgjob_delete(:c), true, 'a job that traps the cancellation is deleted');
SELECT is(bgjob_wait(:c, '60 s'), 'deleted', 'the trapping job ends as deleted');
SELECT is(tap_log(:c), '{before: false,interrupted: true}'::text[], 'bgjob_cancel_requested is true after bgjob_delete');
SELECT bgjob_enqueue('t_aware', '[false]') AS c \gset
CALL tap_held(1212);
SELECT is(bgjob_delete(:c), true, 'a job that traps the cancellation and returns is deleted');
SELECT is(bgjob_wait(:c, '60 s'), 'deleted', 'the returning job ends as deleted');
SELECT is(tap_log(:c), '{before: false,interrupted: true}'::text[], 'bgjob_cancel_requested was true in the returning job');
SELECT is(t_effects('aware'), NULL, 'the deleted jobs have no effects');
SELECT bgjob_enqueue('t_aware', timeout => '200 ms', max_retries => 0) AS c \gset
SELECT is(bgjob_wait(:c, '60 s'), 'failed', 'a job exceeds its timeout');
SELECT is(tap_log(:c), '{before: false,interrupted: true}'::text[], 'bgjob_cancel_requested is true after a time-out');
SELECT bgjob_enqueue('t_aware') AS c \gset
CALL tap_held(1212);
SELECT is(bgjob_requeue(:c), true, 'a job is requeued while it runs');
CALL tap_wait_until(format('SELECT count(*) >= 2 FROM bgjob.job_logs WHERE job_id = %s', :c));
SELECT is((tap_log(:c))[:2], '{before: false,interrupted: true}'::text[], 'bgjob_cancel_requested is true after bgjob_requeue');
SELECT pg_advisory_unlock(1212) AS unlocked \gset
SELECT is(bgjob_wait(:c, '60 s'), 'succeeded', 'the requeued job runs again');
SELECT is((tap_log(:c))[3:], '{before: false}'::text[], 'bgjob_cancel_requested is false in the second run');
SELECT is(t_effects('aware'), '{aware}'::text[], 'the second run has its effect');
TRUNCATE t_effect RESTART IDENTITY;

-- A shutdown of bgjob only.
SELECT pg_advisory_lock(1212) AS locked \gset
SELECT bgjob_enqueue('t_aware') AS c \gset
CALL tap_held(1212);
ALTER SYSTEM SET bgjob.shutdown_timeout = '100ms';
ALTER SYSTEM SET bgjob.enabled = off;
SELECT pg_reload_conf() AS reloaded \gset
CALL tap_wait_until(format('SELECT count(*) >= 2 FROM bgjob.job_logs WHERE job_id = %s', :c));
CALL tap_state_is(:c, 'enqueued');
SELECT is(tap_log(:c), '{before: false,interrupted: true}'::text[], 'bgjob_cancel_requested is true at a shutdown');
SELECT is(tap_state(:c), 'enqueued', 'after the shutdown the job is in its queue');
ALTER SYSTEM RESET bgjob.enabled;
ALTER SYSTEM RESET bgjob.shutdown_timeout;
SELECT pg_reload_conf() AS reloaded \gset
SELECT pg_advisory_unlock(1212) AS unlocked \gset
SELECT is(bgjob_wait(:c, '60 s'), 'succeeded', 'after the restart the job runs again');
SELECT is((tap_log(:c))[3:], '{before: false}'::text[], 'the log continues after the restart');
SELECT is(t_effects('aware'), '{aware}'::text[], 'the restarted job has its effect once');
TRUNCATE t_effect RESTART IDENTITY;

-- In a group.
SELECT pg_advisory_lock(1212) AS locked \gset
SELECT bgjob_queue_pause('g') AS x \gset
SELECT bgjob_enqueue('t_run', '["aware a"]', queue => 'g') AS a, bgjob_enqueue('t_aware', '[false]', queue => 'g') AS c, bgjob_enqueue('SELECT bgjob_cancel_requested() AS r', kind => 'sql', queue => 'g') AS b \gset
SELECT bgjob_queue_resume('g') AS x \gset
CALL tap_held(1212);
SELECT is(bgjob_delete(:c), true, 'a job of a group is deleted while it runs');
SELECT is(bgjob_wait(:c, '60 s'), 'deleted', 'the job of the group ends as deleted');
CALL tap_idle();
SELECT is(tap_log(:c), '{before: false,interrupted: true}'::text[], 'bgjob_cancel_requested was true in the deleted job of the group');
SELECT is(ARRAY[tap_state(:a), tap_state(:b)], '{succeeded,succeeded}'::text[], 'the other jobs of the group succeed');
SELECT is(bgjob_result(:b) #>> '{0,r}', 'false', 'bgjob_cancel_requested is false in the next job of the group');
SELECT is(t_effects('aware'), '{aware a}'::text[], 'the deleted job of the group has no effect');
SELECT pg_advisory_unlock(1212) AS unlocked \gset
TRUNCATE t_effect RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- bgjob_snooze
----------------------------------------------------------------------------------------------------

-- Its first attempt snoozes or discards after some effects; the second one succeeds. The variants trap errors in different
-- ways.
CREATE FUNCTION t_leave(how text, label text, trap text = 'nothing', times int = 1) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	try bigint := nextval('public.t_tries');
BEGIN
	INSERT INTO public.t_effect (label) VALUES (format('%s try %s', label, try));
	PERFORM public.bgjob_log('try ' || try);
	PERFORM public.bgjob_progress(try);
	PERFORM public.bgjob_set_parameter('try', to_jsonb(try));
	IF try <= times THEN
		IF trap = 'nothing' THEN
			EXECUTE 'SELECT ' || how;
		ELSIF trap = 'others' THEN
			BEGIN EXECUTE 'SELECT ' || how; EXCEPTION WHEN OTHERS THEN NULL; END;
		ELSIF trap = 'canceled' THEN
			BEGIN EXECUTE 'SELECT ' || how; EXCEPTION WHEN query_canceled THEN NULL; END;
		ELSIF trap = 'all' THEN
			BEGIN EXECUTE 'SELECT ' || how; EXCEPTION WHEN OTHERS OR query_canceled OR assert_failure THEN NULL; END;
		ELSIF trap = 'nested' THEN
			BEGIN
				BEGIN EXECUTE 'SELECT ' || how; EXCEPTION WHEN OTHERS OR query_canceled THEN INSERT INTO public.t_effect (label) VALUES (label || ' inner'); END;
				INSERT INTO public.t_effect (label) VALUES (label || ' outer');
			EXCEPTION WHEN OTHERS OR query_canceled THEN INSERT INTO public.t_effect (label) VALUES (label || ' trapped');
			END;
		ELSIF trap = 'again' THEN
			FOR i IN 1 .. 5 LOOP
				BEGIN EXECUTE 'SELECT ' || how; EXCEPTION WHEN OTHERS OR query_canceled THEN PERFORM pg_sleep(0.01); END;
			END LOOP;
		END IF;
		INSERT INTO public.t_effect (label) VALUES (label || ' after');
	END IF;
	RETURN try;
END $$;

CREATE TABLE t_trap (n int, trap text, id bigint, queue text, before timestamptz, snoozed text, run_in interval, effects text[], log text[], states text[]);
INSERT INTO t_trap SELECT row_number() OVER (), trap, NULL, queue FROM unnest('{default,g}'::text[]) queue, unnest('{nothing,others,canceled,all,nested,again}'::text[]) trap;
CREATE PROCEDURE tap_leave(how text, wanted text) LANGUAGE plpgsql AS $$
DECLARE
	r record;
	made bigint;
BEGIN
	TRUNCATE t_effect RESTART IDENTITY;
	FOR r IN SELECT * FROM t_trap ORDER BY n LOOP
		PERFORM setval('t_tries', 1, false);
		COMMIT;
		UPDATE t_trap SET before = clock_timestamp() WHERE n = r.n;
		made := bgjob_enqueue('t_leave', jsonb_build_array(how, 'leave ' || r.n, r.trap), max_retries => 0, queue => r.queue);
		COMMIT;
		-- Whatever becomes of it.
		CALL tap_wait_until(format($w$ SELECT state NOT IN ('enqueued', 'processing') FROM bgjob.jobs WHERE id = %s $w$, made));
		UPDATE t_trap t SET id = made, snoozed = format('%s retries %s of %s', j.state, j.retries, j.max_retries), run_in = j.run_at - t.before,
			effects = t_effects('leave ' || r.n || ' '), log = tap_log(made), states = tap_states(made)
		FROM bgjob.jobs j WHERE j.id = made AND n = r.n;
		COMMIT;
		IF wanted = 'scheduled' THEN
			PERFORM bgjob_reschedule(made, delay => '0');
			COMMIT;
			PERFORM bgjob_wait(made, '60 s');
		END IF;
	END LOOP;
END $$;
CALL tap_leave($$bgjob_snooze('1 hour')$$, 'scheduled');
CREATE FUNCTION t_name(t t_trap) RETURNS text LANGUAGE sql AS $$ SELECT format('in queue %s, %s trapped: ', t.queue, t.trap) $$;
SELECT is(snoozed, 'scheduled retries 0 of 0', t_name(t) || 'a snoozed job is scheduled without using a retry') FROM t_trap t ORDER BY n;
SELECT ok(run_in BETWEEN '1 hour' AND '1 hour 10 s', t_name(t) || format('for the time that it asked for (%s)', run_in)) FROM t_trap t ORDER BY n;
SELECT is(effects, NULL, t_name(t) || 'the effects of the snoozed attempt are rolled back') FROM t_trap t ORDER BY n;
SELECT is(log, '{try 1}'::text[], t_name(t) || 'the log of the snoozed attempt is kept') FROM t_trap t ORDER BY n;
SELECT is(states, '{enqueued,processing,scheduled}'::text[], t_name(t) || 'its history: enqueued, processing, scheduled') FROM t_trap t ORDER BY n;
SELECT is((SELECT format('%s %s %s %s', state, retries, result, error) FROM bgjob.jobs j WHERE j.id = t.id), 'succeeded 0 2 ', t_name(t) || 'the second run of the snoozed job succeeds') FROM t_trap t ORDER BY n;
SELECT is(t_effects('leave ' || n || ' '), ARRAY[format('leave %s try 2', n)], t_name(t) || 'only the effects of the second run are there') FROM t_trap t ORDER BY n;
SELECT is(t_parameters(id), '{"try": 2}'::jsonb, t_name(t) || 'the parameter of the second run is there') FROM t_trap t ORDER BY n;
SELECT is(tap_log(id), '{try 1,try 2}'::text[], t_name(t) || 'the log has the lines of both runs') FROM t_trap t ORDER BY n;
SELECT is((tap_states(id))[cardinality(tap_states(id)) - 1:], '{processing,succeeded}'::text[], t_name(t) || 'the history of the snoozed job ends with processing, succeeded') FROM t_trap t ORDER BY n;

-- Parameters and progress of the snoozed attempt.
SELECT setval('t_tries', 1, false) AS x \gset
SELECT bgjob_enqueue('t_leave', $$["bgjob_snooze(delay => '1 hour')", "snooze"]$$, parameters => '{"try": 0}') AS s \gset
CALL tap_state_is(:s, 'scheduled');
SELECT is(t_parameters(:s), '{"try": 0}'::jsonb, 'a parameter of a snoozed attempt is rolled back with its effects');
SELECT is(tap_progress(:s), '1/', 'the progress of a snoozed attempt is kept');
SELECT is((SELECT format('%s %s', error, result) FROM bgjob.jobs WHERE id = :s), ' ', 'a snoozed job has neither error nor result');
SELECT is((SELECT expires_at FROM bgjob.jobs WHERE id = :s), NULL::timestamptz, 'a snoozed job does not expire');
SELECT is((SELECT (data ->> 'run_at')::timestamptz FROM bgjob.job_states WHERE job_id = :s AND state = 'scheduled'), (SELECT run_at FROM bgjob.jobs WHERE id = :s),
	'the history has the time of the next run');
SELECT is(bgjob_wait(:s, '200 ms'), NULL, 'bgjob_wait goes on waiting for a snoozed job');
SELECT is(bgjob_delete(:s, 'scheduled'), true, 'a snoozed job can be deleted');
SELECT is(tap_state(:s), 'deleted', 'the deleted snoozed job has state deleted');

-- It runs again by itself, any number of times.
SELECT setval('t_tries', 1, false) AS x \gset
SELECT bgjob_enqueue('t_leave', $$["bgjob_snooze('100 ms')", "soon"]$$, max_retries => 0) AS s \gset
SELECT is(bgjob_wait(:s, '60 s'), 'succeeded', 'a job that snoozes for a tenth of a second runs again by itself');
SELECT is(t_effects('soon'), '{soon try 2}'::text[], 'the job that snoozed briefly has its effect once');
SELECT is((SELECT array_agg(state) FROM (SELECT state FROM bgjob.job_states WHERE job_id = :s AND state <> 'enqueued' ORDER BY seq) x),
	'{processing,scheduled,processing,succeeded}'::text[], 'the history shows the snooze');
SELECT cmp_ok((SELECT max(at) - min(at) FROM bgjob.job_logs WHERE job_id = :s), '>=', interval '95 ms', 'the second run is not before its time');
SELECT setval('t_tries', 1, false) AS x \gset
SELECT bgjob_enqueue('t_leave', $$["bgjob_snooze('0')", "zero", "nothing", 30]$$, max_retries => 0) AS s \gset
SELECT is(bgjob_wait(:s, '60 s'), 'succeeded', 'a job that snoozes thirty times for no time succeeds');
SELECT is((SELECT format('%s %s %s', result, retries, interruptions) FROM bgjob.jobs WHERE id = :s), '31 0 0', 'its 31st run succeeds, without a retry');
SELECT is(t_effects('zero'), '{zero try 31}'::text[], 'the job that snoozed thirty times has its effect once');
SELECT setval('t_tries', 1, false) AS x \gset
SELECT bgjob_enqueue('t_leave', $$["bgjob_snooze('0')", "zero g", "all", 30]$$, max_retries => 0, queue => 'g') AS s \gset
SELECT is(bgjob_wait(:s, '60 s'), 'succeeded', 'a job in a queue with groups that traps the snooze succeeds');
SELECT is(t_effects('zero g'), '{zero g try 31}'::text[], 'the trapping job has its effect once');

-- Used retries stay used.
CREATE FUNCTION t_fail_snooze_succeed() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	try bigint := nextval('t_tries');
BEGIN
	IF try = 1 THEN RAISE EXCEPTION 'the first'; END IF;
	IF try = 2 THEN PERFORM bgjob_snooze('1 hour'); END IF;
	IF try = 3 THEN RAISE EXCEPTION 'the third'; END IF;
	RETURN try;
END $$;
SELECT setval('t_tries', 1, false) AS x \gset
SELECT bgjob_enqueue('t_fail_snooze_succeed', max_retries => 1) AS s \gset
CALL tap_state_is(:s, 'scheduled');
SELECT bgjob_reschedule(:s, delay => '0') AS x \gset
CALL tap_wait_until(format($$ SELECT run_at > now() + interval '30 min' FROM bgjob.jobs WHERE id = %s $$, :s));
SELECT is((SELECT format('%s %s of %s', state, retries, max_retries) FROM bgjob.jobs WHERE id = :s), 'scheduled 1 of 1', 'a job that snoozes in its retry has used one retry');
SELECT bgjob_reschedule(:s, delay => '0') AS x \gset
SELECT is(bgjob_wait(:s, '60 s'), 'failed', 'the next error fails the job for good');

-- In a group.
CREATE FUNCTION t_odd(i int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO t_effect (label) VALUES ('odd ' || i);
	CASE i % 10
		WHEN 1 THEN PERFORM bgjob_snooze('1 hour');
		WHEN 2 THEN BEGIN PERFORM bgjob_snooze('1 hour'); EXCEPTION WHEN OTHERS OR query_canceled THEN NULL; END;
		WHEN 3 THEN PERFORM bgjob_discard('of a group');
		WHEN 4 THEN BEGIN PERFORM bgjob_discard('of a group'); EXCEPTION WHEN OTHERS OR query_canceled THEN NULL; END;
		WHEN 5 THEN RAISE EXCEPTION 'five';
		ELSE NULL;
	END CASE;
	RETURN i;
END $$;
TRUNCATE t_effect RESTART IDENTITY;
SELECT bgjob_queue_pause('g') AS x \gset
CREATE TABLE t_odds AS SELECT i, bgjob_enqueue('t_odd', jsonb_build_array(i), queue => 'g', max_retries => 0) AS id FROM generate_series(1, 100) i;
SELECT bgjob_queue_resume('g') AS x \gset
CALL tap_idle();
SELECT is((SELECT array_agg(DISTINCT format('%s %s', i % 10, tap_state(id)) ORDER BY format('%s %s', i % 10, tap_state(id))) FROM t_odds),
	'{"0 succeeded","1 scheduled","2 scheduled","3 deleted","4 deleted","5 failed","6 succeeded","7 succeeded","8 succeeded","9 succeeded"}'::text[],
	'a hundred jobs in groups end as they should: snoozed, discarded, failed or succeeded');
SELECT is((SELECT array_agg(split_part(label, ' ', 2)::int ORDER BY n) FROM t_effect), ARRAY(SELECT i FROM t_odds WHERE i % 10 NOT BETWEEN 1 AND 5 ORDER BY i),
	'the effects of the succeeded jobs are there once, in order, and no others');
SELECT cmp_ok((SELECT count(DISTINCT xid) FROM t_effect), '<', 50::bigint, 'the hundred jobs ran in groups');
SELECT is((SELECT count(*) FROM t_odds JOIN bgjob.jobs USING (id) WHERE retries <> 0 OR interruptions <> 0), 0::bigint, 'snoozes and discards use no retry and count no interruption');
SELECT is((SELECT array_agg(DISTINCT j.reason) FROM t_odds JOIN bgjob.jobs j USING (id) WHERE j.state = 'deleted'), '{of a group}'::text[], 'each snoozed or discarded job has its reason');
SELECT count(bgjob_delete(id)) AS n FROM t_odds WHERE i % 10 IN (1, 2) \gset

-- Procedures: the committed part stays.
CREATE PROCEDURE t_proc_leave(how text, trap boolean) LANGUAGE plpgsql AS $$
DECLARE
	try bigint := nextval('t_tries');
BEGIN
	INSERT INTO t_effect (label) VALUES (format('proc try %s a', try));
	PERFORM bgjob_set_parameter('a', to_jsonb(try));
	COMMIT;
	INSERT INTO t_effect (label) VALUES (format('proc try %s b', try));
	PERFORM bgjob_set_parameter('b', to_jsonb(try));
	IF try = 1 THEN
		IF trap THEN
			BEGIN EXECUTE 'SELECT ' || how; EXCEPTION WHEN OTHERS OR query_canceled THEN NULL; END;
		ELSE
			EXECUTE 'SELECT ' || how;
		END IF;
	END IF;
END $$;
CREATE TABLE t_procs (n int, how text, trap boolean, queue text, id bigint, left_as text, effects text[], parameters jsonb);
INSERT INTO t_procs SELECT row_number() OVER (), how, trap, queue
	FROM unnest(ARRAY['bgjob_snooze(''1 hour'')', 'bgjob_discard(''by a procedure'')']) how, unnest('{f,t}'::boolean[]) trap, unnest('{default,g}'::text[]) queue;
CREATE PROCEDURE tap_procs() LANGUAGE plpgsql AS $$
DECLARE
	r record;
	made bigint;
BEGIN
	FOR r IN SELECT * FROM t_procs ORDER BY n LOOP
		TRUNCATE t_effect RESTART IDENTITY;
		PERFORM setval('t_tries', 1, false);
		made := bgjob_enqueue('t_proc_leave', jsonb_build_array(r.how, r.trap), max_retries => 0, queue => r.queue);
		COMMIT;
		CALL tap_wait_until(format($w$ SELECT state NOT IN ('enqueued', 'processing') FROM bgjob.jobs WHERE id = %s $w$, made));
		UPDATE t_procs p SET id = made, left_as = format('%s %s', j.state, j.retries), effects = t_effects('proc'), parameters = t_parameters(made)
		FROM bgjob.jobs j WHERE j.id = made AND n = r.n;
		COMMIT;
	END LOOP;
END $$;
CALL tap_procs();
CREATE FUNCTION t_name(t t_procs) RETURNS text LANGUAGE sql AS $$ SELECT format('a procedure in queue %s, %s%s: ', t.queue, t.how, CASE WHEN t.trap THEN ', trapped' END) $$;
SELECT is(left_as, CASE WHEN how ~ 'snooze' THEN 'scheduled 0' ELSE 'deleted 0' END, t_name(p) || 'a snoozed procedure is scheduled, without a retry') FROM t_procs p ORDER BY n;
SELECT is(effects, '{proc try 1 a}'::text[], t_name(p) || 'the committed effects of the snoozed procedure are kept, the rest is rolled back') FROM t_procs p ORDER BY n;
SELECT is(parameters, '{"a": 1}'::jsonb, t_name(p) || 'the committed parameter of the snoozed procedure is kept') FROM t_procs p ORDER BY n;
SELECT count(bgjob_requeue(id)) AS n FROM t_procs WHERE how ~ 'snooze' \gset
CALL tap_idle();
SELECT is(tap_state(id), 'succeeded', t_name(p) || 'the second run of the procedure succeeds') FROM t_procs p WHERE how ~ 'snooze' ORDER BY n;

-- Commands.
SELECT bgjob_enqueue('WITH x AS (INSERT INTO t_effect (label) VALUES (''command'') RETURNING n) SELECT bgjob_snooze(''1 hour'') FROM x', kind => 'sql', max_retries => 0) AS s \gset
CALL tap_wait_until(format($$ SELECT state NOT IN ('enqueued', 'processing') FROM bgjob.jobs WHERE id = %s $$, :s));
SELECT is((SELECT format('%s %s', state, retries) FROM bgjob.jobs WHERE id = :s), 'scheduled 0', 'a command snoozes');
SELECT is(t_effects('command'), NULL, 'the effect of the snoozed command is rolled back');
SELECT bgjob_delete(:s) AS x \gset
SELECT bgjob_enqueue('DO $$ BEGIN INSERT INTO t_effect (label) VALUES (''do''); COMMIT; INSERT INTO t_effect (label) VALUES (''lost''); PERFORM bgjob_snooze(''1 hour''); END $$', kind => 'sql', max_retries => 0) AS s \gset
CALL tap_wait_until(format($$ SELECT state NOT IN ('enqueued', 'processing') FROM bgjob.jobs WHERE id = %s $$, :s));
SELECT is((SELECT format('%s %s', state, retries) FROM bgjob.jobs WHERE id = :s), 'scheduled 0', 'a DO command snoozes after a COMMIT');
SELECT is(t_effects('do') || coalesce(t_effects('lost'), '{}'), '{do}'::text[], 'the effects before the COMMIT stay');
SELECT bgjob_delete(:s) AS x \gset
SELECT bgjob_enqueue('t_leave', $$["bgjob_snooze('1 hour')", "plain"]$$, run_as => 'tap12_plain', max_retries => 0) AS s \gset
SELECT setval('t_tries', 1, false) AS x \gset
CALL tap_wait_until(format($$ SELECT state NOT IN ('enqueued', 'processing') FROM bgjob.jobs WHERE id = %s $$, :s));
SELECT matches(tap_state(:s), '^(scheduled|succeeded)$', 'a job of a plain role may snooze');

-- A snoozed job leaves no session state.
CREATE FUNCTION t_litter() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	SET application_name = 'litter';
	CREATE TEMPORARY TABLE litter ();
	PERFORM pg_advisory_lock(1213);
	PERFORM bgjob_snooze('1 hour');
END $$;
SELECT bgjob_enqueue('t_litter') AS s \gset
SELECT bgjob_enqueue('SELECT current_setting(''application_name'') AS a, to_regclass(''pg_temp.litter'') AS t, (SELECT count(*) FROM pg_locks WHERE locktype = ''advisory'' AND objid = 1213) AS l', kind => 'sql') AS c \gset
SELECT is(bgjob_wait(:c, '60 s'), 'succeeded', 'the job after a snoozed one runs');
SELECT is(bgjob_result(:c) #>> '{0,t}', NULL, 'it finds no temporary table of the snoozed job');
SELECT is(bgjob_result(:c) #>> '{0,l}', '0', 'it finds no advisory lock of the snoozed job');
SELECT isnt(bgjob_result(:c) #>> '{0,a}', 'litter', 'it finds no setting of the snoozed job');
SELECT is(bgjob_delete(:s), true, 'the next job is deleted');
TRUNCATE t_effect RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- bgjob_discard
----------------------------------------------------------------------------------------------------

CALL tap_idle();
SELECT deleted AS deleted_before FROM bgjob.stats \gset
CALL tap_leave($$bgjob_discard('not needed: ä')$$, 'deleted');
SELECT is(snoozed, 'deleted retries 0 of 0', t_name(t) || 'a job that discards itself is deleted, without using a retry') FROM t_trap t ORDER BY n;
SELECT is((SELECT reason FROM bgjob.jobs j WHERE j.id = t.id), 'not needed: ä', t_name(t) || 'the discarded job has its reason') FROM t_trap t ORDER BY n;
SELECT is((SELECT reason FROM bgjob.job_states s WHERE s.job_id = t.id AND s.state = 'deleted'), 'not needed: ä', t_name(t) || 'the history of the discarded job has the reason') FROM t_trap t ORDER BY n;
SELECT is(effects, NULL, t_name(t) || 'the effects of the discarded attempt are rolled back') FROM t_trap t ORDER BY n;
SELECT is(log, '{try 1}'::text[], t_name(t) || 'the log of the discarded attempt is kept') FROM t_trap t ORDER BY n;
SELECT is(states, '{enqueued,processing,deleted}'::text[], t_name(t) || 'its history: enqueued, processing, deleted') FROM t_trap t ORDER BY n;
SELECT is(t_parameters(id), '{}'::jsonb, t_name(t) || 'the discarded attempt has set no parameter') FROM t_trap t ORDER BY n;
SELECT is((SELECT format('%s %s %s %s', expires_at - finished_at = '24 hours', finished_at >= started_at, result, error) FROM bgjob.jobs j WHERE j.id = t.id), 't t  ',
	t_name(t) || 'it has ended, and expires') FROM t_trap t ORDER BY n;
SELECT is((SELECT deleted - :deleted_before FROM bgjob.stats), (SELECT count(*) FROM t_trap), 'bgjob.stats counts the discarded jobs as deleted');
SELECT is(nextval('t_tries'), 2::bigint, 'no discarded job is retried');

SELECT setval('t_tries', 1, false) AS x \gset
SELECT bgjob_enqueue('t_leave', '["bgjob_discard()", "discard"]', max_retries => 5) AS d \gset
SELECT is(bgjob_wait(:d, '60 s'), 'deleted', 'bgjob_wait returns deleted for a discarded job with retries left');
SELECT is(tap_states(:d), '{enqueued,processing,deleted}'::text[], 'bgjob_discard works without a reason');
SELECT is(bgjob_result(:d), NULL, 'a discarded job has no result');
SELECT is(bgjob_requeue(:d), true, 'a job that discarded itself can be requeued');
SELECT is(bgjob_wait(:d, '60 s'), 'succeeded', 'the requeued discarded job succeeds');
SELECT is(t_effects('discard'), '{discard try 2}'::text[], 'it has its effects');
SELECT is((SELECT reason FROM bgjob.jobs WHERE id = :d), NULL, 'it has no reason');
SELECT bgjob_enqueue('SELECT bgjob_discard(NULL)', kind => 'sql') AS d \gset
SELECT is(bgjob_wait(:d, '60 s'), 'deleted', 'the reason of bgjob_discard may be null');
SELECT bgjob_enqueue('SELECT bgjob_discard(reason => ''named'')', kind => 'sql') AS d \gset
SELECT is(bgjob_wait(:d, '60 s'), 'deleted', 'the reason can be a named argument');
SELECT is((SELECT reason FROM bgjob.jobs WHERE id = :d), 'named', 'a command can discard itself');
SELECT is((SELECT array_agg(DISTINCT reason) FROM t_procs p JOIN bgjob.jobs USING (id) WHERE how ~ 'discard'), '{by a procedure}'::text[], 'a procedure can discard itself');
SET ROLE tap12_plain;
SELECT bgjob_enqueue('SELECT bgjob_discard(''plain'')', kind => 'sql') AS d \gset
RESET ROLE;
SELECT is(bgjob_wait(:d, '60 s'), 'deleted', 'a job of a plain role may discard itself');

----------------------------------------------------------------------------------------------------
-- Several workers: progress and logs belong to their jobs
----------------------------------------------------------------------------------------------------

ALTER SYSTEM SET bgjob.workers = 4;
SELECT pg_reload_conf() AS reloaded \gset
CALL tap_wait_setting('bgjob.workers', '4');
CREATE FUNCTION t_mixed(i int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	PERFORM bgjob_log(i || ' a');
	PERFORM bgjob_progress(i % 100, 'job ' || i);
	PERFORM bgjob_set_parameter('i', to_jsonb(i));
	INSERT INTO t_effect (label) VALUES ('mixed ' || i);
	PERFORM pg_sleep(random() * 0.002);
	PERFORM bgjob_log(i || ' b');
	CASE WHEN i % 50 = 1 THEN RAISE EXCEPTION 'fails';
		WHEN i % 50 = 2 THEN PERFORM bgjob_discard('job ' || i);
		WHEN i % 50 = 3 THEN PERFORM bgjob_snooze('1 hour');
		ELSE NULL;
	END CASE;
	RETURN i;
END $$;
TRUNCATE t_effect RESTART IDENTITY;
CREATE TABLE t_mix AS SELECT i, bgjob_enqueue('t_mixed', jsonb_build_array(i), queue => CASE WHEN i % 2 = 0 THEN 'g' END, max_retries => 0) AS id FROM generate_series(1, 4000) i;
CALL tap_idle(120);
SELECT is((SELECT count(*) FROM t_mix WHERE tap_state(id) <>
		CASE i % 50 WHEN 1 THEN 'failed' WHEN 2 THEN 'deleted' WHEN 3 THEN 'scheduled' ELSE 'succeeded' END), 0::bigint, 'four thousand jobs on four workers end as they should');
SELECT is((SELECT count(*) FROM t_mix WHERE tap_log(id) IS DISTINCT FROM ARRAY[i || ' a', i || ' b']), 0::bigint, 'each concurrent job has its own log');
SELECT is((SELECT count(*) FROM t_mix WHERE tap_progress(id) IS DISTINCT FROM format('%s/job %s', i % 100, i)), 0::bigint, 'each concurrent job has its own progress');
SELECT is((SELECT count(*) FROM t_mix WHERE t_parameters(id) <> CASE WHEN i % 50 BETWEEN 1 AND 3 THEN '{}' ELSE jsonb_build_object('i', i) END), 0::bigint, 'each concurrent job has its own parameter');
SELECT is((SELECT count(*) FROM (SELECT count(*) FROM t_effect WHERE label ~ 'mixed' GROUP BY label HAVING count(*) = 1) x), 4000::bigint - 240, 'each succeeded concurrent job has its effects once, the others none');

\ir lib/check_counters.sql
SELECT * FROM finish();

ALTER SYSTEM RESET bgjob.workers;
SELECT pg_reload_conf() AS reloaded \gset
SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap12_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap12_' \gexec
