-- 21_retry_delays.sql
--
-- What this file proves (api.md, "Jobs"): retry_delays of a job is in force however the job was enqueued, also for commands and
-- in groups; null: as configured; empty: the default back-off. The rest of the function's policy stays in force. Jobs with
-- delays of their own leave no shared rows behind. on_duplicate null is that of the configuration, else 'skip'.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser. It drops and creates the extension.

\ir lib/session.sql

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

\ir lib/wait.sql
\ir lib/states.sql
\ir lib/errors.sql

SELECT * FROM no_plan();

CREATE FUNCTION t_bad(code text = 'P1234') RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = code; END $$;
CREATE FUNCTION t_configured(code text = 'P1234') RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = code; END $$;
CREATE PROCEDURE t_proc() LANGUAGE plpgsql AS $$ BEGIN COMMIT; RAISE EXCEPTION 'no'; END $$;
CREATE FUNCTION t_snoozes() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM bgjob_snooze('5 hours'); END $$;
-- The seconds from the last failure of a job to its next attempt.
CREATE FUNCTION tap_delay(id bigint) RETURNS int LANGUAGE sql AS $$
	SELECT round(extract(epoch FROM j.run_at - s.at))::int FROM bgjob.jobs j JOIN bgjob.job_states s ON s.job_id = j.id AND s.state = 'failed'
	WHERE j.id = $1 AND j.state = 'scheduled' ORDER BY s.seq DESC LIMIT 1 $$;
-- Lets a job fail n times, and returns the delays before its retries.
CREATE TABLE t_delays (id bigint, n int, seconds int);
CREATE PROCEDURE tap_fail(id bigint, n int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. n LOOP
		IF i > 1 THEN
			PERFORM bgjob_reschedule(tap_fail.id, delay => '0');
		END IF;
		COMMIT;
		CALL tap_wait_until(format($w$ SELECT count(*) >= %s FROM bgjob.job_states s WHERE s.job_id = %s AND s.state = 'failed' $w$, i, tap_fail.id));
		INSERT INTO t_delays VALUES (tap_fail.id, i, tap_delay(tap_fail.id));
		COMMIT;
	END LOOP;
END $$;
CREATE FUNCTION tap_delays(id bigint) RETURNS int[] LANGUAGE sql AS $$ SELECT array_agg(seconds ORDER BY n) FROM t_delays d WHERE d.id = $1 $$;

----------------------------------------------------------------------------------------------------
-- However it is enqueued
----------------------------------------------------------------------------------------------------

SELECT bgjob_configure('t_configured', retry_delays => '{500 s}', no_retry_on => '{22}') AS x \gset
SELECT bgjob_queue('group', group_size => 10) AS x \gset
CREATE TABLE t_job (who text, id bigint, wanted int);
INSERT INTO t_job VALUES
	('a function', bgjob_enqueue('t_bad', retry_delays => '{100 s,200 s}'), 100),
	('a command', bgjob_enqueue('SELECT 1 / 0', retry_delays => '{110 s}'), 110),
	('a command that commits', bgjob_enqueue('VACUUM nosuch', retry_delays => '{120 s}'), 120),
	('a procedure', bgjob_enqueue('t_proc', retry_delays => '{130 s}'), 130),
	('a group', bgjob_enqueue('t_bad', queue => 'group', retry_delays => '{140 s}'), 140),
	('a month', bgjob_enqueue('t_bad', retry_delays => '{1 month}'), 30 * 86400),
	('the configuration', bgjob_enqueue('t_configured'), 500),
	('the call rather than the configuration', bgjob_enqueue('t_configured', retry_delays => '{150 s}'), 150);
INSERT INTO t_job SELECT 'many', id, 160 FROM bgjob_enqueue_many('t_bad', array_fill('[]'::jsonb, '{2}'), retry_delays => '{160 s}') id;
SELECT bgjob_recurring('r', '@yearly', 't_bad', retry_delays => '{170 s}') AS x \gset
INSERT INTO t_job VALUES ('a recurring job', bgjob_recurring_trigger('r'), 170);
CREATE TABLE t_row (code text);
CREATE TRIGGER t AFTER INSERT ON t_row FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('t_bad', 'retry_delays={180 s,1 s}');
INSERT INTO t_row VALUES ('P0001');
INSERT INTO t_job SELECT 'a trigger', max(id), 180 FROM bgjob.jobs;
SELECT bgjob_enqueue('t_bad', unique_key => 'k', delay => '1 hour', retry_delays => '{1 s}') AS k \gset
INSERT INTO t_job VALUES ('a replacement', bgjob_enqueue('t_bad', unique_key => 'k', on_duplicate => 'replace', retry_delays => '{190 s}'), 190);
CREATE FUNCTION t_filter(context jsonb) RETURNS jsonb LANGUAGE sql AS
	$$ SELECT jsonb_build_object('retry_delays', CASE WHEN context ? 'retry_delays' THEN context -> 'retry_delays' || '["9 s"]' ELSE '["210 s"]' END) $$;
SELECT bgjob_filter('t', 'creating', 't_filter', jobs => '%t_bad%') AS x \gset
INSERT INTO t_job VALUES ('a filter', bgjob_enqueue('t_bad'), 210), ('a filter that knows the delays', bgjob_enqueue('t_bad', retry_delays => '{220 s}'), 220);
SELECT is((SELECT retry_delays FROM bgjob.jobs JOIN t_job t USING (id) WHERE who ~ 'knows'), '{220 s,9 s}'::interval[], 'filters receive retry_delays and change it');
CREATE OR REPLACE FUNCTION t_filter(context jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{"retry_delays": "1 s"}'::jsonb $$;
SELECT is(tap_error('SELECT bgjob_enqueue(''t_bad'')'), '22023', 'a filter must return an array');
CREATE OR REPLACE FUNCTION t_filter(context jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{"retry_delays": ["-1 s"]}'::jsonb $$;
SELECT is(tap_error('SELECT bgjob_enqueue(''t_bad'')'), '22023', 'the array of a filter is checked');
SELECT bgjob_filter_remove('t') AS x \gset
CALL tap_wait_until($$ SELECT bool_and(tap_delay(id) IS NOT NULL) FROM t_job $$);
SELECT is(tap_delay(id), wanted, 'the first delay of ' || who) FROM t_job ORDER BY id, who;
SELECT is((SELECT retry_delays FROM bgjob.jobs WHERE id = (SELECT id FROM t_job WHERE who = 'a function')), '{100 s,200 s}'::interval[], 'bgjob.jobs shows its own delays');
SELECT is((SELECT retry_delays FROM bgjob.jobs WHERE id = (SELECT id FROM t_job WHERE who = 'the configuration')), NULL, 'not configured ones');
SELECT is((SELECT retry_delays FROM bgjob.recurring_jobs), '{170 s}'::interval[], 'bgjob.recurring_jobs shows them');

----------------------------------------------------------------------------------------------------
-- Which delay, and the rest of the policy
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('t_bad', max_retries => 3, retry_delays => '{100 s,1000 s}') AS more, bgjob_enqueue('t_bad', max_retries => 1, retry_delays => '{100 s,1000 s}') AS fewer,
	bgjob_enqueue('t_configured', retry_delays => '{}') AS empty, bgjob_enqueue('t_configured', '["22012"]', retry_delays => '{100 s}') AS no_retry,
	bgjob_enqueue('t_snoozes', retry_delays => '{100 s}') AS snoozes \gset
CALL tap_fail(:more, 4);
SELECT is(tap_delays(:more), '{100,1000,1000,NULL}'::int[], 'the last delay repeats, max_retries ends it');
CALL tap_fail(:fewer, 2);
SELECT is(tap_delays(:fewer), '{100,NULL}'::int[], 'max_retries may be smaller than the number of delays');
SELECT is(bgjob_requeue(:more), true, 'the failed job is requeued');
CALL tap_wait_until(format($$ SELECT count(*) = 5 FROM bgjob.job_states WHERE job_id = %s AND state = 'failed' $$, :more));
SELECT is(tap_delay(:more), 100, 'it begins with the first delay again');
CALL tap_fail(:empty, 1);
SELECT ok((tap_delays(:empty))[1] BETWEEN 14 AND 45, 'an empty array is the default back-off, whatever is configured');
SELECT is(bgjob_wait(:no_retry, '60 s'), 'failed', 'no_retry_on of the configuration stays in force');
CALL tap_state_is(:snoozes, 'scheduled');
SELECT is((SELECT format('%s %s', retries, run_at > now() + interval '4 hours') FROM bgjob.jobs WHERE id = :snoozes), '0 t', 'a snooze uses no retry and no delay');
CREATE FUNCTION t_elects(context jsonb) RETURNS jsonb LANGUAGE sql AS
	$$ SELECT '{"state": "scheduled", "delay": "7 hours"}'::jsonb WHERE context -> 'error' ->> 'sqlstate' = 'P1234' $$;
SELECT bgjob_filter('e', 'electing', 't_elects', jobs => '%t_bad%') AS x \gset
SELECT bgjob_enqueue('t_bad', retry_delays => '{100 s}') AS elected \gset
CALL tap_state_is(:elected, 'scheduled');
SELECT is((SELECT format('%s %s', retries, run_at > now() + interval '6 hours') FROM bgjob.jobs WHERE id = :elected), '1 t', 'an electing filter has precedence');
SELECT bgjob_filter_remove('e') AS x \gset

----------------------------------------------------------------------------------------------------
-- Bounds
----------------------------------------------------------------------------------------------------

SELECT is(tap_error(format('SELECT bgjob_enqueue(''t_bad'', retry_delays => %s)', v)), wanted, 'retry_delays ' || v)
FROM (VALUES ($$'{-1 s}'$$, '22023'), ($$'{1 s,-1 month}'$$, '22023'), ($$'{200000 years}'$$, '22023'), ($$'{{1 s},{2 s}}'$$, '22023'), ($$array_fill('1 s'::interval, '{101}')$$, '22023'),
	($$'{NULL}'$$, '22004')) v (v, wanted);
SELECT is(tap_error($$SELECT bgjob_recurring('wrong', '@daily', 't_bad', retry_delays => '{-1 s}')$$), '22023', 'bgjob_recurring checks retry_delays');
SELECT is(tap_error($$SELECT bgjob_configure('t_bad', retry_delays => array_fill('1 s'::interval, '{101}'))$$), '22023', 'bgjob_configure bounds their number');
-- A greedy role: each job has other delays.
SELECT count(*) AS shared FROM bgjob_internal.settings \gset
SELECT count(bgjob_enqueue('t_bad', delay => '1 day', retry_delays => array_fill(make_interval(secs => g), '{100}'))) AS n FROM generate_series(1, 2000) g \gset
SELECT is((SELECT count(*) FROM bgjob_internal.settings) - :shared, 0::bigint, 'jobs with delays of their own store nothing that is shared');

----------------------------------------------------------------------------------------------------
-- on_duplicate
----------------------------------------------------------------------------------------------------

SELECT bgjob_configure('t_bad', unique_key => 'configured') AS x \gset
SELECT is((SELECT format('%s/%s', unique_key, on_duplicate) FROM bgjob.functions WHERE job ~ 't_bad'), 'configured/', 'on_duplicate is not configured by itself');
SELECT bgjob_enqueue('t_bad', delay => '1 day') AS a \gset
SELECT is(bgjob_enqueue('t_bad', delay => '2 days'), :a::bigint, 'then it is skip');
SELECT is(tap_error($$SELECT bgjob_enqueue('t_bad', on_duplicate => 'error')$$), '23505', 'unless the call has another');
SELECT bgjob_configure('t_bad', unique_key => 'configured', on_duplicate => 'error') AS x \gset
SELECT is(tap_error('SELECT ' || call), '23505', 'on_duplicate of the configuration: ' || call)
FROM unnest(ARRAY[$$bgjob_enqueue('t_bad')$$, $$bgjob_enqueue('t_bad', on_duplicate => NULL)$$, $$bgjob_enqueue_many('t_bad', '{NULL}')$$]) call;
CREATE OR REPLACE TRIGGER t AFTER INSERT ON t_row FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('t_bad');
SELECT is(tap_error($$INSERT INTO t_row VALUES ('x')$$), '23505', 'also in a trigger');
SELECT is(bgjob_enqueue('t_bad', on_duplicate => 'skip'), :a::bigint, 'the call has precedence');
SELECT bgjob_recurring('d', '@yearly', 't_bad') AS x \gset
SELECT is((SELECT on_duplicate FROM bgjob.recurring_jobs WHERE name = 'd'), 'error', 'a recurring job has that of the configuration');

\ir lib/check_counters.sql
SELECT * FROM finish();
