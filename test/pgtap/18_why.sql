-- 18_why.sql
--
-- What this file proves (api.md, "bgjob_why"; doc/manual.md):
--   * each reason, with its detail, hint and until, the most important first; no row where nothing holds the job up;
--   * the jobs before a job are counted in the order of taking, up to 1,000; jobs of paused queues, deleted and running jobs do
--     not count;
--   * which roles may ask; errors; bgjob.jobs.reason shows the first row's reason, and a reason of the job itself before that;
--   * it reads a bounded number of blocks;
--   * bgjob.recurring_jobs: last_state is that of bgjob.jobs, and null for a job that the reader may not see; descriptions;
--   * every function and view of the extension has a comment.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser. It changes settings with ALTER SYSTEM and resets them at
-- its end: do not run it beside other files.

\ir lib/session.sql

-- Set before CREATE EXTENSION, so that the scheduler of the database starts with it.
ALTER SYSTEM SET bgjob.workers = 1;
SELECT pg_reload_conf() AS reloaded \gset

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap18_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap18_' \gexec
CREATE ROLE tap18_a LOGIN;
CREATE ROLE tap18_b LOGIN;
CREATE ROLE tap18_monitor LOGIN IN ROLE pg_monitor;
CREATE ROLE tap18_stranger LOGIN;
GRANT USAGE ON SCHEMA bgjob TO tap18_a, tap18_b;

----------------------------------------------------------------------------------------------------
-- Helpers
----------------------------------------------------------------------------------------------------

\ir lib/wait.sql
\ir lib/states.sql
\ir lib/errors.sql

-- What bgjob_why returns, one text for each row.
CREATE FUNCTION tap_why(id bigint) RETURNS text[] LANGUAGE sql AS
	$$ SELECT coalesce(array_agg(w.reason || ': ' || w.detail), '{}') FROM bgjob_why($1) w $$;
CREATE FUNCTION tap_reason(id bigint) RETURNS text LANGUAGE sql AS $$ SELECT j.reason FROM bgjob.jobs j WHERE j.id = $1 $$;
-- The blocks that a query reads.
CREATE FUNCTION tap_blocks(query text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	plan jsonb;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) ' || query INTO plan;
	RETURN (plan #>> '{0,Plan,Shared Hit Blocks}')::int + (plan #>> '{0,Plan,Shared Read Blocks}')::int;
END $$;

----------------------------------------------------------------------------------------------------
-- What the jobs of this file call
----------------------------------------------------------------------------------------------------

CREATE FUNCTION t_run(label text) RETURNS text LANGUAGE sql AS $$ SELECT label $$;
CREATE FUNCTION t_bad() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken'; END $$;
-- Waits until this session releases the lock.
CREATE FUNCTION t_block() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_advisory_xact_lock_shared(1818);
END $$;

SELECT * FROM no_plan();

CALL tap_wait_setting('bgjob.workers', '1');
CALL tap_wait_until('SELECT count(*) = 1 FROM bgjob.workers');

----------------------------------------------------------------------------------------------------
-- Arguments, rights, and jobs that have ended
----------------------------------------------------------------------------------------------------

SELECT is(tap_why(NULL), '{}', 'a null id has no reason');
SELECT is(tap_error('SELECT bgjob_why(0)'), '22023', 'an unknown job is an error');
SELECT is(tap_lacks('SELECT bgjob_why(0)'), '', 'the error has message, detail and hint');

SELECT bgjob_enqueue('t_run', '["good"]') AS good \gset
SELECT bgjob_enqueue('t_bad', max_retries => 0) AS bad \gset
SELECT bgjob_enqueue('SELECT bgjob_discard(''unwanted'')', kind => 'sql') AS unwanted \gset
CALL tap_idle();
SELECT matches(tap_why(:good)::text, '^\{"finished: It succeeded at 20[^"]*\."\}$', 'a job that has succeeded is finished');
SELECT matches(tap_why(:bad)::text, '^\{"finished: It failed at 20[^"]*: broken"\}$', 'a job that has failed shows the error');
SELECT matches(tap_why(:unwanted)::text, '^\{"finished: It was deleted at 20[^"]*: unwanted"\}$', 'a job that was deleted shows the reason');
SELECT is((SELECT hint FROM bgjob_why(:bad)), 'bgjob_requeue() makes it run again.', 'the hint says how to run it again');
SELECT is(tap_reason(:good), NULL, 'bgjob.jobs shows no reason of a job that has succeeded');

SELECT is(tap_try(format('SELECT reason FROM bgjob_why(%s)', :good), 'tap18_monitor'), 'finished', 'a member of pg_monitor may ask');
SELECT is(tap_try(format('SELECT reason FROM bgjob_why(%s)', :good), 'tap18_a'), 'ERROR 42501', 'a role that may not see the job may not ask');
SELECT is(tap_try(format('SELECT reason FROM bgjob_why(%s)', :good), 'tap18_stranger'), 'ERROR 42501', 'a role without USAGE may not ask');

----------------------------------------------------------------------------------------------------
-- Scheduled, and in a paused queue
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('t_run', '["later"]', run_at => '2100-01-01') AS later \gset
SELECT is((SELECT array_agg(w::text) FROM bgjob_why(:later) w),
	ARRAY[ROW('scheduled', 'Its time has not come.', 'bgjob_requeue() and bgjob_reschedule() make it run earlier.', '2100-01-01'::timestamptz)::text],
	'a job that waits for its time shows that time in until');
SELECT is(tap_reason(:later), 'scheduled', 'bgjob.jobs shows the reason of the first row');
SELECT bgjob_enqueue('t_bad') AS retry \gset
CALL tap_state_is(:retry, 'scheduled');
SELECT is(tap_why(:retry), '{"scheduled: Retry attempt 1 of 10: broken"}', 'the detail of a retry has the last error');
SELECT is((SELECT until FROM bgjob_why(:retry)), (SELECT run_at FROM bgjob.jobs WHERE id = :retry), 'until is the time of the retry');
SELECT is(tap_reason(:retry), 'Retry attempt 1 of 10: broken', 'bgjob.jobs shows the reason of the job itself');

SELECT bgjob_queue_pause('paused') AS x \gset
SELECT bgjob_enqueue('t_run', '["paused"]', queue => 'paused') AS paused \gset
SELECT bgjob_enqueue('t_run', '["paused later"]', queue => 'paused', run_at => '2100-01-01') AS paused_later \gset
SELECT is(tap_why(:paused), '{"queue paused: Queue \"paused\" is paused."}', 'a job in a paused queue has that reason');
SELECT is(tap_reason(:paused), 'queue paused', 'bgjob.jobs shows the reason of the first row');
SELECT is(tap_why(:paused_later), '{"scheduled: Its time has not come.","queue paused: Queue \"paused\" is paused."}', 'a scheduled job in a paused queue has two reasons');
SELECT is(tap_reason(:paused_later), 'scheduled', 'bgjob.jobs shows the first of two reasons');
SELECT bgjob_queue_resume('paused') AS x \gset
SELECT is(bgjob_wait(:paused, '60 s'), 'succeeded', 'a job of a resumed queue runs');
SELECT is(tap_why(:paused_later), '{"scheduled: Its time has not come."}', 'a scheduled job of a resumed queue only waits for its time');
SELECT bgjob_delete(:paused_later), bgjob_delete(:later), bgjob_delete(:retry) \g /dev/null

BEGIN;
SELECT bgjob_enqueue('t_run', '["new"]') AS new \gset
SELECT is((tap_why(:new))[1], 'no worker: This transaction has written it, and not committed.', 'a job of this transaction waits for the commit');
SELECT is((SELECT reason FROM bgjob_why(bgjob_enqueue('t_run', '["new"]')) LIMIT 1), 'no worker', 'a job of this very statement can be asked for');
ROLLBACK;

----------------------------------------------------------------------------------------------------
-- Behind others, and all workers busy
----------------------------------------------------------------------------------------------------

SELECT pg_advisory_lock(1818) AS x \gset
SELECT bgjob_enqueue('t_block') AS running \gset
CALL tap_held(1818);
SELECT is(tap_why(:running), '{}', 'nothing holds up a running job');
SELECT is(tap_reason(:running), NULL, 'bgjob.jobs shows no reason of a running job');

SELECT bgjob_enqueue('t_run', '["a"]') AS a \gset
CALL tap_wait_until(format('SELECT tap_why(%s) <> ''{}''', :a));
SELECT bgjob_enqueue('t_run', '["b"]') AS b \gset
SELECT bgjob_enqueue('t_run', '["c"]', queue => 'other') AS c \gset
SELECT is(tap_why(:a), ARRAY[format('no worker: The worker of role "%s" is busy.', current_user)], 'the first job waits for the worker');
SELECT is((SELECT hint FROM bgjob_why(:a)), 'Increase bgjob.workers (1), or make the jobs shorter.', 'the hint names the setting');
SELECT is(tap_why(:b), ARRAY['behind: 1 job stands before it.', format('no worker: The worker of role "%s" is busy.', current_user)], 'the second job is behind the first');
SELECT is((tap_why(:c))[1], 'behind: 2 jobs stand before it.', 'a job of another queue of the same level is behind older ones');
SELECT is(ARRAY[tap_reason(:a), tap_reason(:b), tap_reason(:c)], '{no worker,behind,behind}', 'bgjob.jobs shows the first reason of each');

SELECT bgjob_enqueue('t_run', '["first"]', priority => 5) AS first \gset
SELECT is((tap_why(:first))[1], format('no worker: The worker of role "%s" is busy.', current_user), 'a higher priority goes before them');
SELECT is((tap_why(:a))[1], 'behind: 1 job stands before it.', 'jobs are behind one of a higher priority');
SELECT is((tap_why(:c))[1], 'behind: 3 jobs stand before it.', 'jobs of another queue are behind one of a higher priority, too');
SELECT bgjob_enqueue('t_run', '["last"]', priority => -5) AS last \gset
SELECT is((tap_why(:last))[1], 'behind: 4 jobs stand before it.', 'a job of a lower priority is behind all others');
SELECT is((tap_why(:a))[1], 'behind: 1 job stands before it.', 'jobs are not behind one of a lower priority');
SELECT bgjob_delete(:b) AS x \gset
SELECT is((tap_why(:c))[1], 'behind: 2 jobs stand before it.', 'a deleted job does not count');
SELECT bgjob_queue_pause('default') AS x \gset
SELECT is(tap_why(:c), ARRAY[format('no worker: The worker of role "%s" is busy.', current_user)], 'jobs of a paused queue do not count');
SELECT is(tap_why(:a), '{"queue paused: Queue \"default\" is paused."}', 'a job of a paused queue has no other reason');
SELECT is(ARRAY[tap_reason(:a), tap_reason(:c)], '{queue paused,no worker}', 'bgjob.jobs shows the same reason');
SELECT bgjob_queue_resume('default') AS x \gset

-- The order of bgjob.queues counts before the priority.
ALTER SYSTEM SET bgjob.queues = 'other, *';
SELECT pg_reload_conf() AS x \gset
\set condition 'current_setting(''bgjob.queues'') = ''other, *'''
\ir lib/wait_here.sql
SELECT is((tap_why(:c))[1], format('no worker: The worker of role "%s" is busy.', current_user), 'a queue that is named before the others goes first');
SELECT is((tap_why(:first))[1], 'behind: 1 job stands before it.', 'a preferred queue goes before a higher priority');
ALTER SYSTEM SET bgjob.queues = 'default';
SELECT pg_reload_conf() AS x \gset
\set condition 'current_setting(''bgjob.queues'') = ''default'''
\ir lib/wait_here.sql
SELECT is(tap_why(:c), '{"no worker: bgjob.queues does not name queue \"other\"."}', 'no worker takes a queue that is not named');
SELECT is(tap_reason(:c), 'no worker', 'bgjob.jobs shows the same reason');
ALTER SYSTEM RESET bgjob.queues;
SELECT pg_reload_conf() AS x \gset
\set condition 'current_setting(''bgjob.queues'') = ''*'''
\ir lib/wait_here.sql

-- Other roles neither count nor are shown.
SET ROLE tap18_a;
SELECT bgjob_enqueue('SELECT pg_advisory_xact_lock_shared(1818)', kind => 'sql') AS of_a \gset
SELECT bgjob_enqueue('SELECT 1', kind => 'sql') AS second_of_a \gset
RESET ROLE;
CALL tap_wait_until('SELECT count(*) = 2 FROM pg_locks WHERE locktype = ''advisory'' AND objid = 1818 AND NOT granted');
SELECT is(tap_why(:second_of_a), '{"no worker: The worker of role \"tap18_a\" is busy."}', 'jobs of other roles stand before no job');
SELECT is((tap_why(:last))[1], 'behind: 3 jobs stand before it.', 'a job of another role is not counted');
SELECT is(tap_try(format('SELECT reason FROM bgjob_why(%s)', :second_of_a), 'tap18_b'), 'ERROR 42501', 'another role may not ask');
SELECT is(tap_try(format('SELECT reason FROM bgjob_why(%s)', :second_of_a), 'tap18_a'), 'no worker', 'the role of the job may ask');
SELECT is(tap_try(format('SELECT reason FROM bgjob.jobs WHERE id = %s', :second_of_a), 'tap18_a'), 'no worker', 'the role of the job sees the reason in bgjob.jobs');

-- More than 1,000.
CREATE TABLE t_many AS SELECT id FROM bgjob_enqueue_many('t_run', array_fill('["many"]'::jsonb, ARRAY[1500])) id;
SELECT min(id) AS first_of_many, max(id) AS last_of_many FROM t_many \gset
SELECT is((tap_why(:first_of_many + 900))[1], 'behind: 903 jobs stand before it.', '903 jobs before a job are counted');
SELECT is((tap_why(:last_of_many))[1], 'behind: More than 1,000 jobs stand before it.', 'more than 1,000 jobs are not counted');
SELECT cmp_ok(tap_blocks(format('SELECT * FROM bgjob_why(%s)', :last_of_many)), '<=', 500, 'the count reads at most 500 blocks');
SELECT is((SELECT array_agg(DISTINCT reason) FROM bgjob.jobs JOIN t_many USING (id)), '{behind}', 'bgjob.jobs shows for 1,500 jobs that they are behind');

-- A role with many lanes: at least so many, within the bound.
SELECT count(*) AS n FROM (SELECT bgjob_enqueue('t_run', '["lane"]', queue => 'q' || i, priority => i % 50) FROM generate_series(1, 1000) i) x \gset
SELECT matches((tap_why(:last_of_many))[1], '^behind: (At least \d+|More than 1,000) jobs stand before it.$', 'the count of a role with a thousand queues is a lower bound');
SELECT cmp_ok(tap_blocks(format('SELECT * FROM bgjob_why(%s)', :last_of_many)), '<=', 500, 'the count of a role with a thousand queues reads at most 500 blocks');

----------------------------------------------------------------------------------------------------
-- Settings: no worker
----------------------------------------------------------------------------------------------------

ALTER SYSTEM SET bgjob.enabled = off;
SELECT pg_reload_conf() AS x \gset
\set condition 'current_setting(''bgjob.enabled'') = ''off'''
\ir lib/wait_here.sql
SELECT is((tap_why(:a))[1], 'no worker: bgjob.enabled is off.', 'bgjob.enabled = off is a reason');
SELECT is((SELECT hint FROM bgjob_why(:a) LIMIT 1), 'Change the setting and reload the configuration.', 'the hint says what to do');
SELECT is(tap_reason(:a), 'no worker', 'bgjob.jobs shows that before the jobs that stand before it');
ALTER SYSTEM SET bgjob.databases = 'elsewhere';
SELECT pg_reload_conf() AS x \gset
\set condition 'current_setting(''bgjob.databases'') = ''elsewhere'''
\ir lib/wait_here.sql
SELECT is((tap_why(:a))[1:2], ARRAY['no worker: bgjob.enabled is off.', format('no worker: bgjob.databases does not name database "%s".', current_database())], 'bgjob.databases and bgjob.enabled have a row each');
ALTER SYSTEM RESET bgjob.databases;
ALTER SYSTEM RESET bgjob.enabled;
ALTER SYSTEM SET bgjob.workers = 0;
SELECT pg_reload_conf() AS x \gset
\set condition '(tap_why(' :a '))[1] = ''no worker: bgjob.workers is 0.'''
\ir lib/wait_here.sql
SELECT is((tap_why(:a))[1], 'no worker: bgjob.workers is 0.', 'bgjob.workers = 0 is a reason');
ALTER SYSTEM SET bgjob.workers = 1;
SELECT pg_reload_conf() AS x \gset
\set condition 'current_setting(''bgjob.workers'') = ''1'''
\ir lib/wait_here.sql

SELECT pg_advisory_unlock(1818) AS x \gset
CALL tap_idle(120);
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE state IN ('enqueued', 'processing')), 0::bigint, 'all jobs run in the end');

----------------------------------------------------------------------------------------------------
-- The role
----------------------------------------------------------------------------------------------------

SELECT bgjob_queue_pause('default') AS x \gset
SET ROLE tap18_b;
SELECT bgjob_enqueue('SELECT 1', kind => 'sql') AS of_b \gset
RESET ROLE;
ALTER ROLE tap18_b NOLOGIN;
SELECT is(tap_why(:of_b), '{"queue paused: Queue \"default\" is paused.","no worker: Role \"tap18_b\" is not permitted to log in."}', 'a role that may not log in is a reason');
ALTER ROLE tap18_b LOGIN;
SELECT format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', current_database()) \gexec
SELECT is((tap_why(:of_b))[2], format('no worker: Role "tap18_b" may not connect to database "%s".', current_database()), 'a role that may not connect is a reason');
SELECT is((SELECT hint FROM bgjob_why(:of_b) WHERE reason = 'no worker'), 'Grant it CONNECT. A worker tries again within a minute.', 'the hint says what to do');
SELECT format('GRANT CONNECT ON DATABASE %I TO PUBLIC', current_database()) \gexec
SELECT bgjob_queue_resume('default') AS x \gset
SELECT is(bgjob_wait(:of_b, '60 s'), 'succeeded', 'the job runs when its role is allowed to connect again');

----------------------------------------------------------------------------------------------------
-- Recurring jobs
----------------------------------------------------------------------------------------------------

SELECT bgjob_queue_pause('paused') AS x \gset
SELECT bgjob_recurring('good', '0 3 * * *', 't_run', '["x"]', time_zone => 'UTC'),
	bgjob_recurring('bad', '0 3 * * *', 't_bad', max_retries => 0),
	bgjob_recurring('waits', '0 3 * * *', 't_run', '["x"]', queue => 'paused'),
	bgjob_recurring('never', '0 3 * * *', 't_run', '["x"]'),
	bgjob_recurring('runs', 'H 3 * * *', 't_block'),
	bgjob_recurring('hashed', 'H 3 * * *', 't_run', '["x"]') \g /dev/null
SELECT pg_advisory_lock(1818) AS x \gset
SELECT bgjob_recurring_trigger('good') AS g, bgjob_recurring_trigger('bad') AS b, bgjob_recurring_trigger('waits') AS w \gset
SELECT bgjob_wait(:g, '60 s'), bgjob_wait(:b, '60 s') \g /dev/null
SELECT bgjob_recurring_trigger('runs') AS r \gset
CALL tap_held(1818);
SELECT is((SELECT array_agg(name || ' ' || coalesce(last_state, '-') ORDER BY name) FROM bgjob.recurring_jobs),
	'{bad failed,good succeeded,hashed -,never -,runs processing,waits enqueued}', 'bgjob.recurring_jobs shows the state of each last job');
SELECT is((SELECT count(*) FROM bgjob.recurring_jobs r LEFT JOIN bgjob.jobs j ON j.id = r.last_job_id WHERE j.state IS DISTINCT FROM r.last_state), 0::bigint, 'bgjob.recurring_jobs shows the same states as bgjob.jobs');
SELECT is((SELECT array_agg(name ORDER BY name) FROM bgjob.recurring_jobs WHERE description IS DISTINCT FROM bgjob_cron_describe(schedule, name => name)), NULL,
	'each recurring job has its own description, also if several have the same schedule');
SELECT isnt((SELECT description FROM bgjob.recurring_jobs WHERE name = 'runs'), (SELECT description FROM bgjob.recurring_jobs WHERE name = 'hashed'), 'the description of H depends on the name');
UPDATE bgjob_internal.recurring SET schedule = 'nonsense' WHERE name = 'never';
SELECT is((SELECT array_agg(name ORDER BY name) FROM bgjob.recurring_jobs WHERE description IS NULL), '{never}', 'a damaged schedule has no description, and hides no other');
SELECT pg_advisory_unlock(1818) AS x \gset
SELECT is(bgjob_wait(:r, '60 s'), 'succeeded', 'the running job ends');

-- The owner of a recurring job that runs as another role may not see its jobs any more.
GRANT tap18_b TO tap18_a;
SET ROLE tap18_a;
SELECT bgjob_recurring('as b', '@daily', 'SELECT 1', kind => 'sql', run_as => 'tap18_b') \g /dev/null
SELECT bgjob_recurring_trigger('as b') AS as_b \gset
RESET ROLE;
SELECT bgjob_wait(:as_b, '60 s') \g /dev/null
SELECT is(tap_try($$SELECT last_state FROM bgjob.recurring_jobs WHERE name = 'as b'$$, 'tap18_a'), 'succeeded', 'a member of its role sees the state');
REVOKE tap18_b FROM tap18_a;
SELECT is(tap_try($$SELECT coalesce(last_state, '-') FROM bgjob.recurring_jobs WHERE name = 'as b'$$, 'tap18_a'), '-', 'a role that is no longer a member sees no state');
SELECT is(tap_try($$SELECT last_job_id IS NOT NULL FROM bgjob.recurring_jobs WHERE name = 'as b'$$, 'tap18_a'), 'true', 'a role that is no longer a member still sees the recurring job');

-- Blocks: those of the rows, of the last jobs' rows, and a few.
SELECT count(*) AS n FROM (SELECT bgjob_recurring('r' || i, '0 4 * * *', 't_run', '["x"]', queue => 'paused') FROM generate_series(1, 1000) i) x \gset
SELECT count(bgjob_recurring_trigger('r' || i)) AS n FROM generate_series(1, 1000) i \gset
ANALYZE bgjob_internal.recurring, bgjob_internal.job;
SELECT cmp_ok(tap_blocks('SELECT * FROM bgjob.recurring_jobs'), '<=', 500 + 1000 * 5 + (pg_relation_size('bgjob_internal.recurring') / 8192)::int,
	'1,000 recurring jobs: at most 5 blocks for the last job of each');
SELECT bgjob_recurring_remove(name) FROM bgjob.recurring_jobs WHERE owner = current_user::regrole \g /dev/null
SET ROLE tap18_a;
SELECT bgjob_recurring_remove('as b') AS x \gset
RESET ROLE;
SELECT bgjob_queue_resume('paused') AS x \gset

----------------------------------------------------------------------------------------------------
-- Gates
----------------------------------------------------------------------------------------------------

SELECT bgjob_limit('tap18 closed', max_running => 0), bgjob_limit('tap18 rate', rate => 1, per => '1 hour'), bgjob_queue('tap18', max_running => 0) \g /dev/null
CREATE FUNCTION tap18_fails() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'fails'; END $$;
SELECT bgjob_enqueue('pg_sleep', '[0]', limits => '{tap18 closed}') AS closed, bgjob_enqueue('pg_sleep', '[0]', queue => 'tap18') AS queued,
	bgjob_enqueue('pg_sleep', '[0]', limits => '{tap18 rate}') AS spends \gset
SELECT bgjob_enqueue('tap18_fails', max_retries => 0, sequence_key => 'tap18') AS failing \gset
SELECT ok(bgjob_wait(:spends) = 'succeeded' AND bgjob_wait(:failing) = 'failed', 'a job has used what its limit allows, another one has failed');
SELECT bgjob_enqueue('pg_sleep', '[0]', limits => '{tap18 rate}') AS rated, bgjob_enqueue('pg_sleep', '[0]', sequence_key => 'tap18') AS behind \gset
SELECT is(tap_why(:closed), '{"limit: Limit \"tap18 closed\" is closed: its max_running is 0."}', 'a limit that lets nothing run');
SELECT is(tap_why(:queued), '{"limit: Queue \"tap18\" is closed: its max_running is 0."}', 'a queue that lets nothing run');
SELECT is(tap_why(:rated), '{"limit: Limit \"tap18 rate\": 1 of 1 units are used."}', 'a rate that has been used');
SELECT ok(until BETWEEN now() + interval '50 min' AND now() + interval '1 hour 1 s', 'the time at which it allows another start') FROM bgjob_why(:rated);
SELECT is(tap_why(:behind), ARRAY['sequence: In its sequence, job ' || :failing || ', which is failed, comes before it.'], 'a failed job before it in its sequence');
SELECT is(ARRAY[tap_reason(:closed), tap_reason(:queued), tap_reason(:rated), tap_reason(:behind)], '{limit,limit,limit,sequence}', 'bgjob.jobs shows these reasons');
SELECT set_eq($$SELECT id FROM bgjob.jobs WHERE state = 'enqueued' AND reason IN ('limit', 'sequence')$$, ARRAY[:closed, :queued, :rated, :behind]::bigint[], 'and finds them by their state');
SELECT is((SELECT count(*)::int FROM bgjob_list(state => 'enqueued') WHERE id IN (:closed, :queued, :rated, :behind)), 4, 'as bgjob_list does');
SELECT bgjob_limit('tap18 closed', max_running => 1), bgjob_limit_remove('tap18 rate'), bgjob_queue_remove('tap18'), bgjob_delete(:failing) \g /dev/null
SELECT is(ARRAY[bgjob_wait(:closed), bgjob_wait(:queued), bgjob_wait(:rated), bgjob_wait(:behind)], '{succeeded,succeeded,succeeded,succeeded}',
	'they run when the limit is changed, removed, the queue is, and the failed job is deleted');
SELECT bgjob_limit_remove('tap18 closed') AS x \gset

----------------------------------------------------------------------------------------------------
-- Comments
----------------------------------------------------------------------------------------------------

SELECT is((SELECT array_agg(pg_describe_object(d.classid, d.objid, 0)) FROM pg_depend d
		WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'bgjob') AND d.deptype = 'e'
			AND (d.classid = 'pg_proc'::regclass OR d.classid = 'pg_class'::regclass AND EXISTS (SELECT FROM pg_class c WHERE c.oid = d.objid AND c.relkind = 'v'))
			AND obj_description(d.objid, d.classid::regclass::name) IS NULL),
	NULL, 'every function and view has a comment');

CALL tap_idle();
\ir lib/check_counters.sql
SELECT * FROM finish();

ALTER SYSTEM RESET bgjob.workers;
ALTER SYSTEM RESET bgjob.queues;
ALTER SYSTEM RESET bgjob.enabled;
ALTER SYSTEM RESET bgjob.databases;
SELECT pg_reload_conf() AS reloaded \gset
