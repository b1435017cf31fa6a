-- 19_function_stats.sql
--
-- What this file proves (doc/manual.md, "bgjob.function_stats"):
--   * the view has its columns, each with a comment;
--   * its counts and times are those of the history, for functions, procedures and commands, single and in groups,
--     with failures, retries, snoozes, discards; the moments are those that the server's aggregates compute;
--   * jobs that never ran are not counted, nor are attempts of a savepoint that was rolled back;
--   * the last error is cut between two characters;
--   * a role sees the statistics of the roles whose jobs it sees, and each role has a row of its own;
--   * bgjob_function_stats_reset begins one function anew, or all, for roles with EXECUTE.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser.

\ir lib/session.sql

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap19_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap19_' \gexec
CREATE ROLE tap19_app LOGIN;
CREATE ROLE tap19_other LOGIN;
CREATE ROLE tap19_monitor LOGIN;
GRANT pg_monitor TO tap19_monitor;
GRANT USAGE ON SCHEMA bgjob TO tap19_app, tap19_other;

----------------------------------------------------------------------------------------------------
-- Helpers
----------------------------------------------------------------------------------------------------

\ir lib/wait.sql
\ir lib/errors.sql

-- The name of a job's row in the view: the signature of the function t_…, or the kind of the command.
CREATE FUNCTION tap_row(j bgjob.jobs) RETURNS text LANGUAGE sql AS $$
	SELECT CASE j.kind WHEN 'function' THEN (SELECT 'public.' || oid::regprocedure FROM pg_proc WHERE proname = j.job)
		ELSE upper(split_part(j.job, ' ', 1)) END $$;

-- What the view should say by the history: an attempt is an entry "processing" and the one after it.
CREATE VIEW tap_attempt AS
SELECT tap_row(j) AS job, j.run_as::text AS run_as, s.next AS became,
	EXTRACT(epoch FROM s.until - s.at) * 1000 AS run, EXTRACT(epoch FROM s.at - s.since) * 1000 AS wait, s.at,
	j.state IN ('succeeded', 'failed', 'deleted') AND row_number() OVER (PARTITION BY j.id ORDER BY s.seq DESC) = 1 AS is_last
FROM bgjob.jobs j
JOIN (SELECT job_id, seq, state, at, lead(state) OVER w AS next, lead(at) OVER w AS until, lag(at) OVER w AS since
	FROM bgjob.job_states WINDOW w AS (PARTITION BY job_id ORDER BY seq)) s ON s.job_id = j.id AND s.state = 'processing' AND s.next IS NOT NULL;
CREATE VIEW tap_expected AS
SELECT job, run_as, count(*) FILTER (WHERE is_last) AS jobs, count(*) AS attempts, count(*) FILTER (WHERE became = 'failed') AS failures,
	count(*) FILTER (WHERE became = 'failed' AND NOT is_last) AS retries,
	sum(run) AS total_run, min(run) AS min_run, max(run) AS max_run, avg(run) AS mean_run, stddev_pop(run) AS stddev_run,
	sum(wait) AS total_wait, min(wait) AS min_wait, max(wait) AS max_wait, avg(wait) AS mean_wait, stddev_pop(wait) AS stddev_wait, max(at) AS last_run_at
FROM tap_attempt GROUP BY 1, 2;

CREATE FUNCTION tap_near(a double precision, b numeric) RETURNS boolean LANGUAGE sql AS
	$$ SELECT abs(a - b::double precision) <= 0.001 + 1e-6 * abs(b::double precision) $$;

-- tap_wrong returns the rows of the view that are not as the history has it.
CREATE FUNCTION tap_wrong() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' ', coalesce(e.job, s.job), coalesce(e.run_as, s.run_as::text), 'counts', s.jobs, s.attempts, s.failures, s.retries, 'instead of', e.jobs, e.attempts, e.failures, e.retries,
		'times', s.total_run_time, s.mean_run_time, s.stddev_run_time, s.total_wait_time, 'instead of', e.total_run, e.mean_run, e.stddev_run, e.total_wait)
	FROM tap_expected e FULL JOIN bgjob.function_stats s ON s.job = e.job AND s.run_as::text = e.run_as
	WHERE ((s.jobs, s.attempts, s.failures, s.retries, s.interruptions) IS NOT DISTINCT FROM (e.jobs, e.attempts, e.failures, e.retries, 0::bigint)
		AND tap_near(s.total_run_time, e.total_run) AND tap_near(s.min_run_time, e.min_run) AND tap_near(s.max_run_time, e.max_run)
		AND tap_near(s.mean_run_time, e.mean_run) AND tap_near(s.stddev_run_time, e.stddev_run)
		AND tap_near(s.total_wait_time, e.total_wait) AND tap_near(s.min_wait_time, e.min_wait) AND tap_near(s.max_wait_time, e.max_wait)
		AND tap_near(s.mean_wait_time, e.mean_wait) AND tap_near(s.stddev_wait_time, e.stddev_wait)) IS NOT TRUE $$;

-- tap_counted waits until no job runs, and the view agrees with the history: it is counted just after the commit.
CREATE PROCEDURE tap_counted() LANGUAGE plpgsql AS $$
BEGIN
	CALL tap_idle();
	CALL tap_wait_until('SELECT NOT EXISTS (SELECT FROM tap_wrong())', 20);
END $$;

CREATE FUNCTION tap_stats(name text) RETURNS bgjob.function_stats LANGUAGE sql AS
	$$ SELECT s FROM bgjob.function_stats s WHERE s.job = name $$;
-- Rows that a role sees, by name and role.
CREATE FUNCTION tap_seen_by(role name) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
	seen text[];
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', role);
	seen := ARRAY(SELECT job || ' ' || run_as::text FROM bgjob.function_stats ORDER BY job COLLATE "C", run_as::text COLLATE "C");
	RESET ROLE;
	RETURN seen;
END $$;

----------------------------------------------------------------------------------------------------
-- What the jobs of this file call
----------------------------------------------------------------------------------------------------

CREATE TABLE t_effect (n int);
CREATE FUNCTION t_work(n int) RETURNS void LANGUAGE sql AS $$ INSERT INTO t_effect VALUES (n) $$;
CREATE FUNCTION t_sleep(seconds float8) RETURNS void LANGUAGE sql AS $$ SELECT pg_sleep(seconds) $$;
CREATE FUNCTION t_divide(n int) RETURNS int LANGUAGE sql AS $$ SELECT 10 / n $$;
CREATE FUNCTION t_loud() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '%', 'x' || repeat('ä', 10000) USING ERRCODE = 'ABCDE'; END $$;
CREATE FUNCTION t_snooze() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF (SELECT count(*) = 1 FROM bgjob.job_states WHERE job_id = bgjob_current_id() AND state = 'processing') THEN
		PERFORM bgjob_snooze('10 ms');
	END IF;
END $$;
CREATE FUNCTION t_discard() RETURNS void LANGUAGE sql AS $$ SELECT bgjob_discard('of no use') $$;
CREATE FUNCTION t_never() RETURNS void LANGUAGE sql AS $$ $$;
CREATE FUNCTION t_whoever() RETURNS text LANGUAGE sql AS $$ SELECT current_user::text $$;
CREATE PROCEDURE t_commits(n int) LANGUAGE plpgsql AS $$ BEGIN COMMIT; INSERT INTO t_effect VALUES (100 / n); COMMIT; END $$;

SELECT plan(35);

----------------------------------------------------------------------------------------------------
-- The view
----------------------------------------------------------------------------------------------------

SELECT is((SELECT array_agg(attname || ' ' || format_type(atttypid, NULL) ORDER BY attnum) FROM pg_attribute
		WHERE attrelid = 'bgjob.function_stats'::regclass AND attnum > 0),
	ARRAY['job text', 'kind text', 'run_as regrole', 'jobs bigint', 'attempts bigint', 'failures bigint', 'retries bigint', 'interruptions bigint',
		'total_run_time double precision', 'min_run_time double precision', 'max_run_time double precision', 'mean_run_time double precision', 'stddev_run_time double precision',
		'total_wait_time double precision', 'min_wait_time double precision', 'max_wait_time double precision', 'mean_wait_time double precision', 'stddev_wait_time double precision',
		'last_run_at timestamp with time zone', 'last_failed_at timestamp with time zone', 'last_sqlstate text', 'last_error text', 'stats_since timestamp with time zone'],
	'the columns of bgjob.function_stats, in order');
SELECT is((SELECT array_agg(attname) FROM pg_attribute WHERE attrelid = 'bgjob.function_stats'::regclass AND attnum > 0
		AND col_description(attrelid, attnum) IS NULL), NULL, 'each column of the view has a comment');
SELECT isnt(obj_description('bgjob.function_stats'::regclass), NULL, 'the view has a comment');
SELECT is((SELECT count(*) FROM bgjob.function_stats), 0::bigint, 'in a new database the view has no rows');

----------------------------------------------------------------------------------------------------
-- Functions, procedures, commands
----------------------------------------------------------------------------------------------------

SELECT count(bgjob_enqueue('t_sleep', '[0.01]')) AS enqueued FROM generate_series(1, 5) \gset
CALL tap_counted();
SELECT is(ARRAY(SELECT tap_wrong()), '{}', 'the statistics of a function are those of its jobs in the history');
SELECT is((SELECT array_agg(format('%s %s %s %s %s', job, kind, run_as, jobs, failures)) FROM bgjob.function_stats),
	ARRAY[format('public.t_sleep(double precision) function %s 5 0', current_user)], 'a function has one row, named by its signature');
SELECT ok(total_run_time >= 50 AND min_run_time BETWEEN 10 AND mean_run_time AND max_run_time >= mean_run_time AND stddev_run_time >= 0
		AND min_wait_time BETWEEN 0 AND mean_wait_time AND max_wait_time >= mean_wait_time
		AND abs(mean_run_time * attempts - total_run_time) < 0.001 AND abs(mean_wait_time * attempts - total_wait_time) < 0.001,
	'the times are sound') FROM bgjob.function_stats;
SELECT ok((tap_stats('public.t_sleep(double precision)')).last_run_at IN (SELECT started_at FROM bgjob.jobs), 'the last run is the start of a job');
SELECT ok(last_failed_at IS NULL AND last_sqlstate IS NULL AND last_error IS NULL AND stats_since <= clock_timestamp()
	AND stats_since >= (SELECT min(created_at) FROM bgjob.jobs), 'a function without failures has no last error') FROM bgjob.function_stats;

-- A procedure, and a command that cannot run in a transaction, commit their claims first.
SELECT bgjob_enqueue('t_commits', '[5]'), bgjob_enqueue('t_commits', '[10]'), bgjob_enqueue('t_commits', '[0]', max_retries => 0),
	bgjob_enqueue('SELECT 1', kind => 'sql'), bgjob_enqueue('INSERT INTO t_effect VALUES ($1)', '[3]', kind => 'sql'), bgjob_enqueue('VACUUM t_effect', kind => 'sql'),
	bgjob_enqueue('SELECT 1 / 0', kind => 'sql', max_retries => 0) \gset ignored_
CALL tap_counted();
SELECT is(ARRAY(SELECT tap_wrong()), '{}', 'the statistics of procedures and commands are those of the history');
SELECT is((SELECT array_agg(format('%s %s %s %s', job, kind, jobs, failures) ORDER BY job COLLATE "C") FROM bgjob.function_stats WHERE job !~ 't_sleep'),
	'{"INSERT sql 1 0","SELECT sql 2 1","VACUUM sql 1 0","public.t_commits(integer) function 3 1"}', 'each kind of command has a row');
SELECT is((tap_stats('SELECT')).last_error || ' ' || (tap_stats('SELECT')).last_sqlstate, 'division by zero 22012', 'a command has its last error');

----------------------------------------------------------------------------------------------------
-- Failures, retries, and other ends
----------------------------------------------------------------------------------------------------

SELECT bgjob_configure('t_divide', retry_delays => '{10 ms}'), bgjob_configure('t_loud', retry_delays => '{10 ms}', on_exhausted => 'delete') \gset ignored_
SELECT bgjob_enqueue('t_divide', '[0]', max_retries => 2), bgjob_enqueue('t_divide', '[5]'), bgjob_enqueue('t_snooze'), bgjob_enqueue('t_discard') \gset ignored_
CALL tap_wait_until($$ SELECT count(*) = 4 FROM bgjob.jobs WHERE job IN ('t_divide', 't_snooze', 't_discard') AND state IN ('succeeded', 'failed', 'deleted') $$);
CALL tap_counted();
SELECT is(ARRAY(SELECT tap_wrong()), '{}', 'retries, a snooze and a discard are counted as in the history');
SELECT is(format('%s %s %s %s', s.jobs, s.attempts, s.failures, s.retries), '2 4 3 2', 'of three failures, two are followed by a retry')
FROM tap_stats('public.t_divide(integer)') s;
SELECT ok(s.last_failed_at = (SELECT max(at) FROM bgjob.job_states JOIN bgjob.jobs j ON j.id = job_id WHERE j.job = 't_divide' AND job_states.state = 'failed'),
	'the last failure is the latest of the history') FROM tap_stats('public.t_divide(integer)') s;
SELECT is(format('%s %s %s', s.jobs, s.attempts, s.failures), '1 2 0', 'a snooze is an attempt, and no failure') FROM tap_stats('public.t_snooze()') s;
SELECT is(format('%s %s %s', s.jobs, s.attempts, s.failures), '1 1 0', 'a discard ends the job, and is no failure') FROM tap_stats('public.t_discard()') s;

SELECT bgjob_enqueue('t_loud', max_retries => 1) AS id \gset
SELECT bgjob_wait(:id, '20 s') AS loud \gset
CALL tap_wait_until($$ SELECT jobs = 1 FROM bgjob.function_stats WHERE job = 'public.t_loud()' $$);
SELECT is(format('%s %s %s %s %s', :'loud', s.jobs, s.attempts, s.failures, s.retries), 'deleted 1 2 2 1', 'a failure that deletes the job is a failure')
FROM tap_stats('public.t_loud()') s;
SELECT is(s.last_sqlstate || ' ' || s.last_error, 'ABCDE x' || repeat('ä', 127), 'the message is cut between two characters') FROM tap_stats('public.t_loud()') s;
SELECT bgjob_function_stats_reset('public.t_loud()') AS reset \gset
SELECT bgjob_purge('deleted') AS purged \gset
SELECT bgjob_function_stats_reset('public.t_discard()') AS reset \gset

-- Jobs that never run.
SELECT bgjob_queue('held', paused => true) \gset ignored_
SELECT bgjob_enqueue('t_never', queue => 'held'), bgjob_enqueue('t_never', delay => '1 day'), bgjob_enqueue('t_never', queue => 'held', start_within => '1 ms') \gset ignored_
SELECT count(bgjob_delete(id)) AS deleted FROM bgjob.jobs WHERE job = 't_never' AND state = 'scheduled' \gset
SELECT pg_sleep(0.01) AS slept \gset
SELECT bgjob_delete(id) FROM bgjob.jobs WHERE job = 't_never' ORDER BY id LIMIT 1 \gset ignored_
SELECT bgjob_queue('held', paused => false) \gset ignored_
CALL tap_wait_until($$ SELECT count(*) = 3 FROM bgjob.jobs WHERE job = 't_never' AND state = 'deleted' $$);
SELECT is((SELECT count(*) FROM bgjob.function_stats WHERE job = 'public.t_never()'), 0::bigint, 'jobs that were deleted or expired before they ran are not counted');

----------------------------------------------------------------------------------------------------
-- Groups
----------------------------------------------------------------------------------------------------

-- Two functions and a command by turns, some of which fail: each job is counted once, in whichever transaction.
SELECT bgjob_queue('group', group_size => 100, paused => true) \gset ignored_
SELECT count(CASE n % 3 WHEN 0 THEN bgjob_enqueue('t_work', jsonb_build_array(n), queue => 'group')
	WHEN 1 THEN bgjob_enqueue('t_divide', jsonb_build_array(n % 10), queue => 'group', max_retries => 0)
	ELSE bgjob_enqueue('SELECT $1::int / $2::int', jsonb_build_array(n, n % 4), kind => 'sql', queue => 'group', max_retries => 0) END) AS enqueued
FROM generate_series(1, 300) n \gset
SELECT bgjob_queue_resume('group') AS resumed \gset
CALL tap_wait_until($$ SELECT count(*) = 300 FROM bgjob.jobs WHERE queue = 'group' AND state IN ('succeeded', 'failed') $$);
CALL tap_counted();
SELECT is(ARRAY(SELECT tap_wrong()), '{}', 'jobs in groups are counted as in the history');
SELECT is((SELECT array_agg(format('%s %s %s', job, jobs, failures) ORDER BY job COLLATE "C") FROM bgjob.function_stats WHERE job IN ('SELECT', 'public.t_work(integer)')),
	'{"SELECT 102 26","public.t_work(integer) 100 0"}', 'no job of a group is missing');

----------------------------------------------------------------------------------------------------
-- Roles
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('t_whoever', run_as => 'tap19_app'), bgjob_enqueue('t_whoever', run_as => 'tap19_other'), bgjob_enqueue('t_whoever') \gset ignored_
CALL tap_wait_until($$ SELECT count(*) = 3 FROM bgjob.function_stats WHERE job = 'public.t_whoever()' $$);
SELECT is(tap_seen_by('tap19_app'), '{"public.t_whoever() tap19_app"}', 'a role sees its own row alone');
SELECT is(tap_seen_by('tap19_other'), '{"public.t_whoever() tap19_other"}', 'another role sees its own row alone');
SELECT is(tap_seen_by('tap19_monitor'), ARRAY(SELECT job || ' ' || run_as::text FROM bgjob.function_stats ORDER BY job COLLATE "C", run_as::text COLLATE "C"),
	'a member of pg_monitor sees all');
GRANT tap19_other TO tap19_app;
SELECT is(tap_seen_by('tap19_app'), '{"public.t_whoever() tap19_app","public.t_whoever() tap19_other"}', 'a member of a role sees the rows of both');
REVOKE tap19_other FROM tap19_app;
SELECT is(tap_try('SELECT bgjob_internal.function_stats()', 'tap19_app'), 'ERROR 42501', 'the function behind the view is private');
SELECT is(tap_try('SELECT bgjob_function_stats_reset()', r), 'ERROR 42501', format('%s has no EXECUTE to reset them', r)) FROM unnest('{tap19_app,tap19_monitor}'::text[]) r;

----------------------------------------------------------------------------------------------------
-- Resetting
----------------------------------------------------------------------------------------------------

SELECT count(*) AS rows FROM bgjob.function_stats \gset
SELECT is(bgjob_function_stats_reset('public.no_such()'), 0::bigint, 'a reset of a function without statistics finds no row');
GRANT EXECUTE ON FUNCTION bgjob_function_stats_reset TO tap19_app;
SELECT is(tap_try($$SELECT bgjob_function_stats_reset('public.t_whoever()')$$, 'tap19_app'), '3', 'a role with EXECUTE resets a function, for all roles');
SELECT is((SELECT count(*) FROM bgjob.function_stats), :rows - 3::bigint, 'a reset of one function leaves the other rows');
SELECT is(bgjob_function_stats_reset(), :rows - 3::bigint, 'a reset without a name removes all rows');
SELECT bgjob_enqueue('t_whoever') AS id \gset
SELECT bgjob_wait(:id, '20 s') AS state \gset
CALL tap_wait_until($$ SELECT count(*) = 1 FROM bgjob.function_stats $$);
SELECT ok(jobs = 1 AND attempts = 1 AND last_run_at >= stats_since AND total_run_time = mean_run_time, 'after a reset a function is counted anew') FROM bgjob.function_stats;

\ir lib/check_counters.sql
SELECT * FROM finish();
