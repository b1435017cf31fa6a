-- 11_recurring.sql
--
-- What this file proves about recurring jobs:
--   * an invalid schedule, zone, option or job is an error of the call, which stores nothing;
--   * names are unique for each owner; which roles may remove which; the columns of the view;
--   * pause, resume, trigger and bounds set next_run_at as documented;
--   * each occurrence enqueues exactly one job, with the options and settings of the call;
--   * overlap and jitter; a missing function or right is shown, delays no other recurring job, and may come back.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser. Roles are named tap11_*.

\ir lib/session.sql

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

-- Roles belong to the cluster and may be left from an earlier run that failed.
SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap11_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap11_' \gexec
CREATE ROLE tap11_app LOGIN;
CREATE ROLE tap11_other LOGIN;
CREATE ROLE tap11_nobody LOGIN;			-- has no USAGE
GRANT USAGE ON SCHEMA bgjob TO tap11_app, tap11_other;

----------------------------------------------------------------------------------------------------
-- Helpers
----------------------------------------------------------------------------------------------------

\ir lib/wait.sql

-- tap_try_message runs a query as the current role and returns its one value as text, 'NULL', or SQLSTATE and message.
CREATE FUNCTION tap_try_message(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE query INTO answer;
	RETURN coalesce(answer, 'NULL');
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;

----------------------------------------------------------------------------------------------------
-- What the jobs of this file call
----------------------------------------------------------------------------------------------------

CREATE FUNCTION t_nothing() RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION t_int(n int) RETURNS int LANGUAGE sql AS 'SELECT n';
CREATE TABLE t_ran (name text, scheduled_for timestamptz, began timestamptz, ended timestamptz);
CREATE FUNCTION t_slow(name text, seconds float8) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	began timestamptz := clock_timestamp();
BEGIN
	PERFORM pg_sleep(seconds);
	INSERT INTO t_ran VALUES (name, (SELECT (j.parameters->>'scheduled_for')::timestamptz FROM bgjob.jobs j WHERE j.id = bgjob_current_id()), began, clock_timestamp());
END $$;
CREATE FUNCTION t_settings() RETURNS jsonb LANGUAGE sql AS
	$$ SELECT jsonb_build_array(current_setting('DateStyle'), current_setting('TimeZone'), current_setting('tap11.own', true), session_user) $$;

-- The jobs of recurring jobs, with the occurrence of each.
CREATE VIEW t_jobs AS
	SELECT *, (parameters->>'scheduled_for')::timestamptz AS scheduled_for FROM bgjob.jobs WHERE recurring_name IS NOT NULL;

-- As results_eq() of pgTAP, which cannot compare text of different collations.
CREATE FUNCTION t_rows(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE 'SELECT string_agg(x::text, chr(10)) FROM (' || query || ') x' INTO answer;
	RETURN answer;
END $$;
CREATE FUNCTION t_same(have text, want text, what text) RETURNS text LANGUAGE sql AS $$ SELECT is(t_rows(have), t_rows(want), what) $$;

SELECT * FROM no_plan();

----------------------------------------------------------------------------------------------------
-- Errors
----------------------------------------------------------------------------------------------------

SELECT matches(tap_try_message(format('SELECT bgjob_recurring(%L, %L, %L)', 'bad', schedule, 't_nothing')), '^22023 .*' || field,
	format('the schedule %L is refused, and the message names the %s', schedule, field))
FROM (VALUES ('61 * * * *', 'minute'), ('* 25 * * *', 'hour'), ('* * 32 * *', 'day.of.month'), ('* * * 13 *', 'month'),
	('* * * * 9', 'day.of.week'), ('61 * * * * *', 'second')) v(schedule, field);
SELECT matches(tap_try_message(format('SELECT bgjob_recurring(%L, %L, %L)', 'bad', schedule, 't_nothing')), '^22023 ',
	format('the schedule %L is refused', schedule))
FROM unnest('{"", "*", "* * * *", "* * * * * * *", "@never", "0 seconds", "-5 minutes", "*/0 * * * *", "10 parsecs"}'::text[]) schedule;
SELECT matches(tap_try_message(format($$SELECT bgjob_recurring('bad', '@daily', 't_nothing', %s)$$, options)), '^' || code || ' ', what)
FROM (VALUES
	($$time_zone => 'Mars/Phobos'$$, '22023', 'an unknown time zone is refused'),
	($$time_zone => ''$$, '22023', 'an empty time zone is refused'),
	($$misfire => 'twice'$$, '22023', 'an unknown misfire is refused'),
	($$overlap => 'never'$$, '22023', 'an unknown overlap is refused'),
	($$day_match => 'some'$$, '22023', 'an unknown day_match is refused'),
	($$jitter => '-1 s'$$, '22023', 'a negative jitter is refused'),
	($$starts_at => '2100-01-02', ends_at => '2100-01-01'$$, '22023', 'ends_at before starts_at is refused'),
	($$queue => 'Not a queue!'$$, '22023', 'an impossible queue is refused'),
	($$priority => 40000$$, '22023', 'an impossible priority is refused'),
	($$args => '[1]'$$, '22023', 'arguments that the function does not have are refused'),
	($$run_as => 'tap11_missing'$$, '42704', 'a role that does not exist is refused'),
	($$limits => '{k}'$$, '22023', 'a limit that does not exist')) v(options, code, what);
SELECT matches(tap_try_message($$SELECT bgjob_recurring('', '@daily', 't_nothing')$$), '^22023 ', 'an empty name raises 22023');
SELECT matches(tap_try_message($$SELECT bgjob_recurring(NULL, '@daily', 't_nothing')$$), '^22004 ', 'a null name raises 22004');
SELECT matches(tap_try_message($$SELECT bgjob_recurring('bad', NULL, 't_nothing')$$), '^22004 ', 'a null schedule of a new one raises 22004');
SELECT matches(tap_try_message($$SELECT bgjob_recurring('bad', '@daily', NULL)$$), '^22004 ', 'a null job of a new one raises 22004');
SELECT matches(tap_try_message($$SELECT bgjob_recurring('bad', '@never', 't_nothing', active => false)$$), '^22023 ', 'the schedule of a paused one is checked');
SELECT matches(tap_try_message($$SELECT bgjob_recurring('bad', '@daily', 't_missing')$$), '^42883 ', 'an unknown function raises 42883');
SELECT matches(tap_try_message($$SELECT bgjob_recurring('bad', '@daily', 't_int', '["x"]')$$), '^22', 'an argument of a wrong type raises an error');
SELECT matches(tap_try_message($$SELECT bgjob_recurring('bad', '@daily', 'SELEC 1', kind => 'sql')$$), '^42601 ', 'a command with a syntax error raises 42601');
SET ROLE tap11_app;
SELECT tap_try_message($$SELECT bgjob_recurring('bad', '@daily', 't_nothing', run_as => 'tap11_other')$$) AS stranger \gset
SET ROLE tap11_nobody;
SELECT tap_try_message($$SELECT bgjob_recurring('bad', '@daily', 't_nothing')$$) AS nobody,
	tap_try_message($$SELECT bgjob_recurring_remove('bad')$$) AS nobody_remove \gset
RESET ROLE;
SELECT matches(:'stranger'::text, '^42501 ', 'run_as another role raises 42501');
SELECT matches(:'nobody'::text, '^42501 ', 'a role without USAGE on schema bgjob cannot add a recurring job');
SELECT matches(:'nobody_remove'::text, '^42501 ', 'a role without USAGE on schema bgjob cannot remove a recurring job');
SELECT is((SELECT count(*) FROM bgjob.recurring_jobs), 0::bigint, 'refused calls leave no recurring job');

BEGIN;
SELECT bgjob_recurring('rolled back', '@every_second', 't_nothing') \g /dev/null
SELECT is((SELECT count(*) FROM bgjob.recurring_jobs), 1::bigint, 'the transaction that adds a recurring job sees it');
ROLLBACK;
SELECT is((SELECT count(*) FROM bgjob.recurring_jobs), 0::bigint, 'a rolled-back recurring job does not exist');

----------------------------------------------------------------------------------------------------
-- The view, updates
----------------------------------------------------------------------------------------------------

SELECT is((SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'bgjob.recurring_jobs'::regclass AND attnum > 0),
	'{name,owner,schedule,time_zone,description,job,args,queue,next_run_at,last_run_at,last_job_id,last_state,misfire,overlap,active,error,created_at,'
	'kind,run_as,priority,max_retries,timeout,unique_key,on_duplicate,start_within,sequence_key,limits,fairness_key,tags,parameters,settings,jitter,starts_at,ends_at,day_match,given,retry_delays}'::text[],
	'the columns of bgjob.recurring_jobs are those promised');
SELECT bgjob_recurring('yearly', '30 2 1 1 *', 't_int', '[7]', queue => 'mail', time_zone => 'Europe/Berlin',
	misfire => 'all', overlap => 'skip', day_match => 'all') \g /dev/null
SELECT t_same($$SELECT name, owner::text, schedule, time_zone, args, queue, last_job_id, last_state, misfire, overlap, active, error, created_at <= now()
		FROM bgjob.recurring_jobs$$,
	$$VALUES ('yearly', current_user::text, '30 2 1 1 *', 'Europe/Berlin', '[7]'::jsonb, 'mail', NULL::bigint, NULL, 'all', 'skip', true, NULL, true)$$,
	'the view shows what was given');
SELECT is((SELECT description FROM bgjob.recurring_jobs), bgjob_cron_describe('30 2 1 1 *'), 'the description is that of bgjob_cron_describe()');
SELECT is((SELECT next_run_at FROM bgjob.recurring_jobs), bgjob_cron_next('30 2 1 1 *', now(), 'Europe/Berlin', 'all'),
	'next_run_at is what bgjob_cron_next() says');
SELECT bgjob_recurring('yearly', '0 4 1 7 *', 't_int', '[8]') \g /dev/null
SELECT t_same('SELECT schedule, time_zone, args, queue, misfire, overlap, next_run_at FROM bgjob.recurring_jobs',
	$$VALUES ('0 4 1 7 *', 'Europe/Berlin', '[8]'::jsonb, 'mail', 'all', 'skip', bgjob_cron_next('0 4 1 7 *', now(), 'Europe/Berlin'))$$,
	'a second call of that name updates the one row, which keeps what the call leaves out');
SELECT bgjob_recurring('yearly', NULL, NULL, time_zone => 'UTC', day_match => 'any') \g /dev/null

----------------------------------------------------------------------------------------------------
-- Pause, resume, trigger, remove
----------------------------------------------------------------------------------------------------

SELECT ok(bgjob_recurring_pause('yearly'), 'bgjob_recurring_pause returns true for an active recurring job');
SELECT ok(NOT bgjob_recurring_pause('yearly'), 'bgjob_recurring_pause returns false for a paused one');
SELECT t_same('SELECT active, next_run_at FROM bgjob.recurring_jobs', 'VALUES (false, NULL::timestamptz)', 'paused, it has no next run');
SELECT ok(bgjob_recurring_resume('yearly'), 'bgjob_recurring_resume returns true for a paused recurring job');
SELECT ok(NOT bgjob_recurring_resume('yearly'), 'bgjob_recurring_resume returns false for an active one');
SELECT t_same('SELECT active, next_run_at FROM bgjob.recurring_jobs', $$VALUES (true, bgjob_cron_next('0 4 1 7 *'))$$, 'resumed, it has its next run');
SELECT is(ARRAY[bgjob_recurring_pause('none'), bgjob_recurring_resume('none'), bgjob_recurring_remove('none')], '{f,f,f}'::boolean[],
	'there is nothing to pause, resume or remove where there is none of that name');
SELECT is(bgjob_recurring_trigger('none'), NULL, 'bgjob_recurring_trigger returns null for an unknown name');
SELECT clock_timestamp() AS before, next_run_at AS next FROM bgjob.recurring_jobs \gset
SELECT bgjob_recurring_trigger('yearly') AS job \gset
SELECT is(bgjob_wait(:job, '30 s'), 'succeeded', 'a triggered recurring job runs now');
SELECT is(bgjob_result(:job), '8', 'the triggered job has its arguments');
SELECT ok((SELECT scheduled_for BETWEEN :'before'::timestamptz - interval '1 s' AND clock_timestamp() FROM t_jobs WHERE id = :job),
	'its scheduled_for is the time of the call');
SELECT is((SELECT recurring_name FROM bgjob.jobs WHERE id = :job), 'yearly', 'recurring_name of the job is the name of the recurring job');
SELECT is((SELECT next_run_at FROM bgjob.recurring_jobs), :'next'::timestamptz, 'triggering does not change next_run_at');
SELECT t_same('SELECT last_job_id, last_state FROM bgjob.recurring_jobs', format('VALUES (%s::bigint, %L)', :job, 'succeeded'), 'the view shows it as the last one');
SELECT ok(bgjob_recurring_remove('yearly'), 'a recurring job can be removed');
SELECT is((SELECT count(*) FROM bgjob.recurring_jobs), 0::bigint, 'the removed recurring job is not shown');
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :job), 'succeeded', 'the jobs of the removed recurring job stay');
SELECT bgjob_recurring('asleep', '@every_second', 't_nothing', active => false) \g /dev/null
SELECT t_same($$SELECT active, next_run_at FROM bgjob.recurring_jobs WHERE name = 'asleep'$$, 'VALUES (false, NULL::timestamptz)', 'one can be added paused');

----------------------------------------------------------------------------------------------------
-- Owners
----------------------------------------------------------------------------------------------------

SET ROLE tap11_app;
SELECT bgjob_recurring('same', '@yearly', 't_nothing') \g /dev/null
SET ROLE tap11_other;
SELECT bgjob_recurring('same', '@monthly', 't_nothing') \g /dev/null
SELECT tap_try_message('SELECT string_agg(schedule, $$,$$) FROM bgjob.recurring_jobs') AS seen \gset
RESET ROLE;
SELECT is((SELECT count(*) FROM bgjob.recurring_jobs WHERE name = 'same'), 2::bigint, 'two roles can have recurring jobs of the same name');
SELECT is(:'seen'::text, '@monthly', 'each role sees its own recurring job');
SELECT matches(tap_try_message($$SELECT bgjob_recurring_remove('same')$$), '^42725 ', 'removing an ambiguous name raises 42725');
SELECT matches(tap_try_message($$SELECT bgjob_recurring_pause('same')$$), '^42725 ', 'pausing an ambiguous name raises 42725');
SELECT matches(tap_try_message($$SELECT bgjob_recurring_trigger('same')$$), '^42725 ', 'triggering an ambiguous name raises 42725');
SET ROLE tap11_app;
SELECT bgjob_recurring_remove('same') AS removed, bgjob_recurring_remove('same') AS again \gset
RESET ROLE;
SELECT is(:'removed' || :'again', 'tf', 'a role removes its own recurring job, not that of another role');
SELECT is((SELECT string_agg(owner::text, ',') FROM bgjob.recurring_jobs WHERE name = 'same'), 'tap11_other', 'which is there still');
SELECT is(tap_try_message($$SELECT bgjob_recurring_remove('same')$$), 'true', 'a superuser removes the remaining recurring job');

----------------------------------------------------------------------------------------------------
-- Bounds
----------------------------------------------------------------------------------------------------

SELECT bgjob_recurring('later', '@daily', 't_nothing', starts_at => '2100-01-01 00:00+00') \g /dev/null
SELECT is((SELECT next_run_at FROM bgjob.recurring_jobs WHERE name = 'later'), '2100-01-01 00:00+00', 'an occurrence at starts_at counts');
SELECT bgjob_recurring('later', '@daily', 't_nothing', starts_at => '2100-01-01 00:00:01+00') \g /dev/null
SELECT is((SELECT next_run_at FROM bgjob.recurring_jobs WHERE name = 'later'), '2100-01-02 00:00+00', 'no occurrence before starts_at counts');
SELECT bgjob_recurring('over', '@every_second', 't_nothing', ends_at => '2000-01-01') \g /dev/null
SELECT is((SELECT next_run_at FROM bgjob.recurring_jobs WHERE name = 'over'), NULL, 'a recurring job that has ended has no next run');
SELECT clock_timestamp() + interval '4 s' AS ends \gset
SELECT bgjob_recurring('ending', '@every_second', 't_nothing', ends_at => :'ends') \g /dev/null
CALL tap_wait_until($$ SELECT next_run_at IS NULL FROM bgjob.recurring_jobs WHERE name = 'ending' $$);
SELECT is((SELECT next_run_at FROM bgjob.recurring_jobs WHERE name = 'ending'), NULL, 'after ends_at there is no next run');
SELECT is((SELECT max(scheduled_for) FROM t_jobs WHERE recurring_name = 'ending'), date_trunc('second', :'ends'::timestamptz), 'the last run is the last occurrence until ends_at');

----------------------------------------------------------------------------------------------------
-- Every second
----------------------------------------------------------------------------------------------------

SET DateStyle = 'German, DMY';
SET TimeZone = 'Asia/Tokyo';
SET tap11.own = 'mine';
SELECT bgjob_recurring('ticking', '@every_second', 't_settings', queue => 'ticks', priority => 3, max_retries => 2,
	tags => '{a,b}', parameters => '{"color": "red"}') \g /dev/null
RESET DateStyle;
RESET TimeZone;
RESET tap11.own;
SELECT bgjob_recurring('command', '@every_second', 'SELECT $1::int + 1', '[41]', kind => 'sql', run_as => 'tap11_app') \g /dev/null
CALL tap_wait_until($$ SELECT count(*) >= 6 FROM t_jobs WHERE recurring_name = 'ticking' AND state = 'succeeded' $$);
CALL tap_wait_until($$ SELECT count(*) >= 3 FROM t_jobs WHERE recurring_name = 'command' AND state = 'succeeded' $$);
SELECT bgjob_recurring_pause('ticking') AS paused \gset
CALL tap_wait_until($$ SELECT count(*) = 0 FROM t_jobs WHERE recurring_name = 'ticking' AND state IN ('enqueued', 'processing') $$);
SELECT count(*) AS ticks FROM t_jobs WHERE recurring_name = 'ticking' \gset
SELECT cmp_ok(:ticks, '>=', 6, 'a recurring job enqueues a job every second');
SELECT is((SELECT count(DISTINCT scheduled_for) FROM t_jobs WHERE recurring_name = 'ticking'), :ticks::bigint, 'each occurrence has one job');
SELECT is((SELECT extract(epoch FROM max(scheduled_for) - min(scheduled_for))::bigint + 1 FROM t_jobs WHERE recurring_name = 'ticking'), :ticks::bigint,
	'none is left out');
SELECT ok((SELECT bool_and(scheduled_for = date_trunc('second', scheduled_for)) FROM t_jobs WHERE recurring_name = 'ticking'), 'scheduled_for is a whole second');
SELECT ok((SELECT bool_and(created_at >= scheduled_for) FROM t_jobs WHERE recurring_name = 'ticking'), 'no job is created before its occurrence');
SELECT is((SELECT array_agg(DISTINCT result) FROM t_jobs WHERE recurring_name = 'ticking'),
	ARRAY[jsonb_build_array('German, DMY', 'Asia/Tokyo', 'mine', current_user)], 'the settings of the call are in force in every one');
SELECT t_same($$SELECT DISTINCT queue, priority, max_retries, tags, parameters->>'color' FROM t_jobs WHERE recurring_name = 'ticking'$$,
	$$VALUES ('ticks', 3, 2, '{a,b}'::text[], 'red')$$, 'so are queue, priority, retries, tags and parameters');
SELECT t_same($$SELECT DISTINCT kind, result, run_as::text FROM t_jobs WHERE recurring_name = 'command' AND state = 'succeeded'$$,
	$$VALUES ('sql', '[{"?column?": 42}]'::jsonb, 'tap11_app')$$, 'a command runs with its parameters, as the role given');
SELECT count(*) AS others FROM t_jobs WHERE recurring_name = 'command' \gset
CALL tap_wait_until(format('SELECT count(*) >= %s + 3 FROM t_jobs WHERE recurring_name = %L', :others, 'command'));
SELECT is((SELECT count(*) FROM t_jobs WHERE recurring_name = 'ticking'), :ticks::bigint, 'a paused recurring job enqueues no jobs, another one continues');
SELECT ok((SELECT last_run_at IS NOT NULL AND last_state IS NOT NULL FROM bgjob.recurring_jobs WHERE name = 'command'), 'the view shows the last run');
SELECT bgjob_recurring_pause('command') AS paused \gset
SELECT is(bgjob_recurring_remove('ticking') AND bgjob_recurring_remove('command'), true, 'both recurring jobs can be removed');

----------------------------------------------------------------------------------------------------
-- Overlap, jitter
----------------------------------------------------------------------------------------------------

SELECT bgjob_recurring('skip', '@every_second', 't_slow', '["skip", 1.3]', max_retries => 0, overlap => 'skip') \g /dev/null
SELECT bgjob_recurring('queue', '@every_second', 't_slow', '["queue", 1.3]', max_retries => 0, overlap => 'queue') \g /dev/null
SELECT bgjob_recurring('cancel', '@every_second', 't_slow', '["cancel", 600]', overlap => 'cancel') \g /dev/null
SELECT bgjob_recurring('jitter', '@every_second', 't_nothing', jitter => '1 hour') \g /dev/null
CALL tap_wait_until($$ SELECT count(*) >= 3 FROM t_ran WHERE name = 'skip' $$);
CALL tap_wait_until($$ SELECT count(*) >= 4 FROM t_jobs WHERE recurring_name = 'cancel' $$);
CALL tap_wait_until($$ SELECT count(*) >= 5 FROM t_jobs WHERE recurring_name = 'jitter' $$);
SELECT count(*) AS n FROM bgjob.recurring_jobs r, bgjob_recurring_pause(r.name) WHERE r.name IN ('skip', 'queue', 'cancel', 'jitter') \gset
CALL tap_wait_until($$ SELECT count(*) = 0 FROM t_jobs WHERE recurring_name IN ('skip', 'queue') AND state NOT IN ('succeeded', 'failed', 'deleted') $$, 60);
SELECT cmp_ok((SELECT count(*) FROM t_ran WHERE name = 'skip'), '>=', 3::bigint, 'overlap skip: jobs run');
SELECT cmp_ok((SELECT count(*) FROM t_ran WHERE name = 'queue'), '>=', 3::bigint, 'overlap queue: jobs run');
SELECT is((SELECT count(*) FROM t_ran a JOIN t_ran b ON a.name = b.name AND a.scheduled_for < b.scheduled_for WHERE a.name = 'skip' AND a.ended > b.began),
	0::bigint, 'overlap skip: never two at once');
SELECT ok((SELECT count(*) < extract(epoch FROM max(scheduled_for) - min(scheduled_for)) + 1 FROM t_ran WHERE name = 'skip'),
	'overlap skip: some are left out');
SELECT is((SELECT count(*) FROM t_ran a JOIN t_ran b ON a.name = b.name AND a.scheduled_for < b.scheduled_for WHERE a.name = 'queue' AND a.ended > b.began),
	0::bigint, 'overlap queue: one after the other, in order');
SELECT is((SELECT count(*) FROM t_ran WHERE name = 'queue'),
	(SELECT extract(epoch FROM max(scheduled_for) - min(scheduled_for))::bigint + 1 FROM t_ran WHERE name = 'queue'), 'overlap queue: none is left out');
CALL tap_wait_until($$ SELECT count(*) = 1 FROM t_jobs WHERE recurring_name = 'cancel' AND state <> 'deleted' $$);
SELECT is((SELECT count(*) FROM t_jobs WHERE recurring_name = 'cancel' AND state <> 'deleted'), 1::bigint, 'overlap cancel: one job is not deleted');
SELECT is((SELECT scheduled_for FROM t_jobs WHERE recurring_name = 'cancel' AND state <> 'deleted'),
	(SELECT max(scheduled_for) FROM t_jobs WHERE recurring_name = 'cancel'), 'overlap cancel: the last job is not deleted');
SELECT count(*) AS n FROM t_jobs j, bgjob_delete(j.id) WHERE recurring_name = 'cancel' AND state <> 'deleted' \gset
SELECT ok((SELECT bool_and(run_at BETWEEN scheduled_for AND scheduled_for + interval '1 hour') FROM t_jobs WHERE recurring_name = 'jitter' AND state = 'scheduled'),
	'jitter: each is to run within an hour from its time');
SELECT cmp_ok((SELECT count(DISTINCT run_at - scheduled_for) FROM t_jobs WHERE recurring_name = 'jitter' AND state = 'scheduled'), '>=', 2::bigint,
	'jitter: not always the same');
SELECT is((SELECT count(*) FROM t_jobs WHERE recurring_name = 'jitter'), (SELECT count(DISTINCT scheduled_for) FROM t_jobs WHERE recurring_name = 'jitter'),
	'jitter: one for each occurrence');
SELECT count(tap_try_message(format('SELECT bgjob_recurring_pause(%L)', name))) AS n FROM bgjob.recurring_jobs \gset
SELECT count(tap_try_message(format('SELECT bgjob_recurring_remove(%L)', name))) AS n FROM bgjob.recurring_jobs \gset
SELECT count(*) AS n FROM t_jobs j, bgjob_delete(j.id) WHERE recurring_name = 'jitter' AND state = 'scheduled' \gset

----------------------------------------------------------------------------------------------------
-- Missing functions and rights
----------------------------------------------------------------------------------------------------

CREATE FUNCTION t_gone() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION t_secret() RETURNS void LANGUAGE sql AS '';
REVOKE EXECUTE ON FUNCTION t_secret() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION t_secret() TO tap11_app;
SELECT bgjob_recurring('gone', '@every_second', 't_gone', max_retries => 0) \g /dev/null
SELECT bgjob_recurring('stays', '@every_second', 't_nothing') \g /dev/null
SET ROLE tap11_app;
SELECT bgjob_recurring('secret', '@every_second', 't_secret', max_retries => 0) \g /dev/null
RESET ROLE;
CALL tap_wait_until($$ SELECT count(DISTINCT recurring_name) = 3 FROM t_jobs WHERE recurring_name IN ('gone', 'stays', 'secret') AND state = 'succeeded' $$);
SELECT is((SELECT count(*) FROM bgjob.recurring_jobs WHERE error IS NOT NULL), 0::bigint, 'working recurring jobs show no error');
DROP FUNCTION t_gone();
REVOKE EXECUTE ON FUNCTION t_secret() FROM tap11_app;
CALL tap_wait_until($$ SELECT count(*) = 2 FROM bgjob.recurring_jobs WHERE error IS NOT NULL $$);
SELECT is((SELECT array_agg(name ORDER BY name) FROM bgjob.recurring_jobs WHERE error IS NOT NULL), '{gone,secret}'::text[],
	'a function that has gone and a right that has gone are shown as errors');
SELECT ok((SELECT bool_and(active AND next_run_at IS NOT NULL) FROM bgjob.recurring_jobs WHERE name IN ('gone', 'secret')), 'recurring jobs with an error stay active');
SELECT max(id) AS last FROM bgjob.jobs \gset
CALL tap_wait_until(format('SELECT count(*) >= 3 FROM t_jobs WHERE recurring_name = %L AND id > %s AND state = %L', 'stays', :last, 'succeeded'));
SELECT cmp_ok((SELECT count(*) FROM t_jobs WHERE recurring_name = 'stays' AND id > :last AND state = 'succeeded'), '>=', 3::bigint, 'other recurring jobs run meanwhile');
CREATE FUNCTION t_gone() RETURNS int LANGUAGE sql AS 'SELECT 2';
GRANT EXECUTE ON FUNCTION t_secret() TO tap11_app;
CALL tap_wait_until(format('SELECT count(DISTINCT recurring_name) = 2 FROM t_jobs WHERE recurring_name IN (%L, %L) AND id > %s AND state = %L', 'gone', 'secret', :last, 'succeeded'));
SELECT is((SELECT count(DISTINCT recurring_name) FROM t_jobs WHERE recurring_name IN ('gone', 'secret') AND id > :last AND state = 'succeeded'), 2::bigint,
	'what is there again runs again');
CALL tap_wait_until('SELECT count(*) = 0 FROM bgjob.recurring_jobs WHERE error IS NOT NULL');
SELECT is((SELECT count(*) FROM bgjob.recurring_jobs WHERE error IS NOT NULL), 0::bigint, 'the error is cleared after a run');
SELECT is((SELECT count(*) FROM t_jobs WHERE recurring_name = 'stays'), (SELECT count(DISTINCT scheduled_for) FROM t_jobs WHERE recurring_name = 'stays'),
	'no occurrence had two jobs');

\ir lib/check_counters.sql
SELECT * FROM finish();

SELECT count(tap_try_message(format('SELECT bgjob_recurring_pause(%L)', name))) AS n FROM bgjob.recurring_jobs \gset
SELECT count(tap_try_message(format('SELECT bgjob_recurring_remove(%L)', name))) AS n FROM bgjob.recurring_jobs \gset
CALL tap_idle();
SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap11_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap11_' \gexec
