-- 29_servers.sql
--
-- What this file proves about servers (bgjob_server() and its kin, bgjob.servers):
--   * the signatures; names, queues and numbers that are not allowed raise 22023, and change nothing; who may call the functions;
--   * a server takes its queues in the order of the array, and no others; '*' stands for those that are not named;
--   * bgjob.servers, bgjob.workers, bgjob.jobs, bgjob.job_states and bgjob.stats show the real server;
--   * a pause and a removal let running jobs end and start no new ones; a paused server stays paused when it is configured again;
--   * "default" can be overridden, paused, and reverted;
--   * a rollback leaves everything as it was; a change in a savepoint counts if the savepoint does;
--   * bgjob_why() tells of a queue that no server takes, and of paused servers.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser. Workers come and go: do not run it beside other files.

\ir lib/session.sql

ALTER SYSTEM SET bgjob.workers = 3;
SELECT pg_reload_conf() AS reloaded \gset

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap29_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap29_' \gexec
CREATE ROLE tap29_plain LOGIN;
CREATE ROLE tap29_ops LOGIN;
GRANT USAGE ON SCHEMA bgjob TO tap29_plain, tap29_ops;
GRANT EXECUTE ON FUNCTION bgjob_server, bgjob_server_pause, bgjob_server_resume, bgjob_server_remove TO tap29_ops;

\ir lib/wait.sql
\ir lib/states.sql
\ir lib/errors.sql

CREATE TABLE t_ran (n serial, label text, pid int DEFAULT pg_backend_pid());
GRANT INSERT, SELECT ON t_ran TO PUBLIC;
GRANT USAGE ON SEQUENCE t_ran_n_seq TO PUBLIC;
CREATE FUNCTION t_run(label text) RETURNS text LANGUAGE sql AS $$ INSERT INTO public.t_ran (label) VALUES (label) RETURNING label $$;
-- Waits until the session of the tests releases the lock.
CREATE FUNCTION t_hold(lock int) RETURNS void LANGUAGE plpgsql AS
	$$ BEGIN PERFORM pg_advisory_lock_shared(lock); PERFORM pg_advisory_unlock_shared(lock); END $$;
CREATE FUNCTION t_bad() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'bad'; END $$;

CREATE FUNCTION tap_servers() RETURNS text[] LANGUAGE sql AS
	$$ SELECT array_agg(format('%s %s %s %s %s', s.name, s.kind, array_to_string(s.queues, '+'), s.workers, s.paused) ORDER BY s.name) FROM bgjob.servers s $$;
-- The servers that jobs with these labels ran in.
CREATE FUNCTION tap_ran_in(prefix text) RETURNS text[] LANGUAGE sql AS
	$$ SELECT array_agg(DISTINCT j.server ORDER BY j.server) FROM bgjob.jobs j WHERE starts_with(j.args ->> 0, prefix) $$;
CREATE FUNCTION tap_why(id bigint) RETURNS text[] LANGUAGE sql AS
	$$ SELECT array_agg(format('%s: %s', w.reason, w.detail)) FROM bgjob_why(id) w $$;

-- The scheduler goes through all servers: when it has started a worker of another server, it would have started one that may start.
CREATE PROCEDURE tap_pass() LANGUAGE plpgsql AS $$
DECLARE
	marker bigint;
BEGIN
	PERFORM bgjob_server('zz', '{marker}', 1);
	marker := bgjob_enqueue('SELECT 1', kind => 'sql', queue => 'marker');
	COMMIT;
	CALL tap_state_is(marker, 'succeeded');
	PERFORM bgjob_server_remove('zz');
END $$;

SELECT * FROM no_plan();

CALL tap_wait_setting('bgjob.workers', '3');
CALL tap_wait_until('SELECT count(*) = 1 FROM bgjob.servers');

----------------------------------------------------------------------------------------------------
-- The functions
----------------------------------------------------------------------------------------------------

SELECT is((SELECT array_agg(pg_get_function_arguments(oid) || ' ' || pg_get_function_result(oid) ORDER BY proname) FROM pg_proc WHERE proname ~ '^bgjob_server'),
	ARRAY[$$name text, queues text[] DEFAULT '{*}'::text[], workers integer DEFAULT NULL::integer void$$, 'name text boolean', 'name text boolean', 'name text boolean'],
	'the signatures are as documented');
SELECT is(tap_servers(), '{"default internal * 3 f"}'::text[], 'without a configuration there is server default');
SELECT is((SELECT servers FROM bgjob.stats), 1::bigint, 'bgjob.stats counts one server');

SELECT is(tap_error(q), '22023', q || ' raises 22023, with message, detail and hint') FROM unnest(ARRAY[
	$$SELECT bgjob_server('')$$, $$SELECT bgjob_server('Mail')$$, $$SELECT bgjob_server('a b')$$, $$SELECT bgjob_server(repeat('s', 64))$$, $$SELECT bgjob_server('ä')$$,
	$$SELECT bgjob_server('s', NULL)$$, $$SELECT bgjob_server('s', '{}')$$, $$SELECT bgjob_server('s', '{NULL}')$$, $$SELECT bgjob_server('s', '{a,NULL}')$$,
	$$SELECT bgjob_server('s', '{a,A}')$$, $$SELECT bgjob_server('s', '{""}')$$, $$SELECT bgjob_server('s', '{a,"b,c"}')$$, $$SELECT bgjob_server('s', '{**}')$$,
	$$SELECT bgjob_server('s', '{a,a}')$$, $$SELECT bgjob_server('s', '{*,a,*}')$$, $$SELECT bgjob_server('s', '{{a,b},{c,d}}')$$,
	$$SELECT bgjob_server('s', ARRAY(SELECT 'q' || i FROM generate_series(1, 65) i))$$,
	$$SELECT bgjob_server('s', workers => 0)$$, $$SELECT bgjob_server('s', workers => -1)$$, $$SELECT bgjob_server('s', workers => 1001)$$,
	$$SELECT bgjob_server_pause('')$$, $$SELECT bgjob_server_resume(E'a\nb')$$, $$SELECT bgjob_server_remove(repeat('s', 64))$$]) q;
SELECT is(tap_error(q), '22004', q || ' raises 22004') FROM unnest(ARRAY[
	$$SELECT bgjob_server(NULL)$$, $$SELECT bgjob_server_pause(NULL)$$, $$SELECT bgjob_server_resume(NULL)$$, $$SELECT bgjob_server_remove(NULL)$$]) q;
SELECT is(tap_try(q, 'tap29_plain'), 'ERROR 42501', q || ' by a role without EXECUTE') FROM unnest(ARRAY[
	$$SELECT bgjob_server('s')$$, $$SELECT bgjob_server_pause('default')$$, $$SELECT bgjob_server_resume('default')$$, $$SELECT bgjob_server_remove('default')$$]) q;
SELECT is(tap_servers(), '{"default internal * 3 f"}'::text[], 'nothing of that has changed anything');
SELECT is((SELECT count(*) FROM bgjob_internal.server_conf), 0::bigint, 'nothing is configured');

SELECT is(ARRAY[bgjob_server_pause('none'), bgjob_server_resume('none'), bgjob_server_remove('none')], '{f,f,f}'::boolean[], 'functions for a server that does not exist return false');
SELECT is(ARRAY[bgjob_server_resume('default'), bgjob_server_remove('default')], '{f,f}'::boolean[], 'so do they for default, which is neither paused nor configured');
SELECT is((SELECT count(*) FROM bgjob_internal.server_conf), 0::bigint, 'and leave nothing');

SELECT is((SELECT pg_typeof(bgjob_server(repeat('s', 63), ARRAY(SELECT 'q' || i FROM generate_series(1, 64) i), 1000))::text), 'void', 'the longest name, 64 queues, 1000 workers');
SELECT is((SELECT cardinality(queues) FROM bgjob.servers WHERE name = repeat('s', 63)), 64, 'the view shows 64 queues');
SELECT is(bgjob_server_remove(repeat('s', 63)), true, 'it is removed');

SET ROLE tap29_ops;
SELECT lives_ok($$ SELECT bgjob_server('ops', '{o,*}', 2) $$, 'a role with EXECUTE adds a server');
SELECT is(ARRAY[bgjob_server_pause('ops'), bgjob_server_pause('ops')], '{t,f}'::boolean[], 'it pauses it, once');
RESET ROLE;
SELECT is(tap_servers(), '{"default internal * 3 f","ops internal o+* 2 t"}'::text[], 'the view shows both');
SELECT is((SELECT servers FROM bgjob.stats), 2::bigint, 'bgjob.stats counts two');
SELECT bgjob_server('ops', '{p}');
SELECT is(tap_servers(), '{"default internal * 3 f","ops internal p 3 t"}'::text[], 'configured again it is replaced, without a number it follows bgjob.workers, and it stays paused');
SET ROLE tap29_plain;
SELECT is(tap_servers(), '{"default internal * 3 f","ops internal p 3 t"}'::text[], 'every role sees the servers');
RESET ROLE;
SELECT is(ARRAY[bgjob_server_resume('ops'), bgjob_server_resume('ops'), bgjob_server_remove('ops'), bgjob_server_remove('ops')], '{t,f,t,f}'::boolean[], 'it is resumed once, and removed once');

----------------------------------------------------------------------------------------------------
-- Who takes what
----------------------------------------------------------------------------------------------------

SELECT bgjob_server('default', '{default}'), bgjob_server('mail', '{mail}', 2);
SELECT is(tap_servers(), '{"default internal default 3 f","mail internal mail 2 f"}'::text[], 'default can be overridden');
SELECT count(*) AS n FROM bgjob_enqueue_many('t_run', ARRAY(SELECT jsonb_build_array('mail' || i) FROM generate_series(1, 40) i), queue => 'mail') \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('t_run', ARRAY(SELECT jsonb_build_array('default' || i) FROM generate_series(1, 40) i)) \gset
SELECT bgjob_enqueue('t_run', '["nobody"]', queue => 'nobody') AS nobody \gset
CALL tap_wait_until($$ SELECT count(*) = 80 FROM t_ran $$);
CALL tap_wait_until($$ SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE queue IN ('mail', 'default') AND state <> 'succeeded') $$);
SELECT is(tap_ran_in('mail'), '{mail}'::text[], 'the jobs of queue mail ran in server mail');
SELECT is(tap_ran_in('default'), '{default}'::text[], 'those of queue default in server default');
SELECT is((SELECT array_agg(DISTINCT s.data ->> 'server') FROM bgjob.job_states s JOIN bgjob.jobs j ON j.id = s.job_id WHERE j.queue = 'mail' AND s.state = 'processing'),
	'{mail}'::text[], 'the history says so, too');
SELECT is((SELECT count(*) FROM bgjob.workers WHERE server = 'mail' AND pid IN (SELECT pid FROM t_ran WHERE label LIKE 'mail%')) > 0, true, 'bgjob.workers shows the server of its workers');
SELECT is(tap_state(:nobody), 'enqueued', 'the job of a queue that no server takes waits');
SELECT is(tap_why(:nobody), '{"no worker: No server takes queue \"nobody\"."}'::text[], 'bgjob_why() says that no server takes the queue');
SELECT is((SELECT reason FROM bgjob.jobs WHERE id = :nobody), 'no worker', 'bgjob.jobs says no worker');
SELECT bgjob_server('rest', '{*}', 1);
SELECT is(bgjob_wait(:nobody, '60 s'), 'succeeded', 'a new server with a star takes it');
SELECT is((SELECT server FROM bgjob.jobs WHERE id = :nobody), 'rest', 'and ran it');
SELECT is(bgjob_server_remove('rest'), true, 'the server is removed');
CALL tap_wait_until($$ SELECT NOT EXISTS (SELECT FROM bgjob.workers WHERE server = 'rest') $$);
SELECT is((SELECT count(*) FROM bgjob.workers WHERE server = 'rest'), 0::bigint, 'its workers leave');

-- An attempt that has failed is in the history with its server, also when another one makes the next attempt.
SELECT bgjob_enqueue('t_bad', queue => 'mail', max_retries => 1, retry_delays => '{0}') AS bad \gset
CALL tap_state_is(:bad, 'failed');
SELECT is((SELECT array_agg(data ->> 'server') FROM bgjob.job_states WHERE job_id = :bad AND state = 'processing'), '{mail,mail}'::text[], 'both attempts were in server mail');
SELECT bgjob_change(:bad, queue => 'mail') AS changed \gset
SELECT bgjob_delete(:bad) AS deleted \gset

-- The order of the list. The one worker is held while the jobs are enqueued.
SELECT bgjob_server('ordered', '{first,*,last}', 1), bgjob_server('default', '{default}');
SELECT pg_advisory_lock(291);
SELECT bgjob_enqueue('t_hold', '[291]', queue => 'first') AS held \gset
CALL tap_held(291);
SELECT bgjob_enqueue('t_run', '["o last"]', queue => 'last', priority => 9), bgjob_enqueue('t_run', '["o other"]', queue => 'other', priority => 9),
	bgjob_enqueue('t_run', '["o first"]', queue => 'first'), bgjob_enqueue('t_run', '["o first+"]', queue => 'first', priority => 1);
SELECT is((SELECT server FROM bgjob.jobs WHERE id = :held), 'ordered', 'the running job shows its server');
SELECT is((SELECT format('%s %s', busy, workers) FROM bgjob.servers WHERE name = 'ordered'), '1 1', 'the server has one worker, which is busy');
SELECT is((SELECT array_agg(DISTINCT w.reason) FROM bgjob.jobs j, bgjob_why(j.id) w WHERE j.args ->> 0 = 'o first'), '{behind,"no worker"}'::text[], 'bgjob_why() tells of the job before it and of the busy worker');
SELECT matches((SELECT hint FROM bgjob.jobs j, bgjob_why(j.id) w WHERE j.args ->> 0 = 'o first' AND w.reason = 'no worker'), '^Increase the workers \(1\) of a server', 'and of the number of the server');
SELECT pg_advisory_unlock(291);
CALL tap_wait_until($$ SELECT count(*) = 4 FROM t_ran WHERE label LIKE 'o %' $$);
SELECT is((SELECT array_agg(label ORDER BY n) FROM t_ran WHERE label LIKE 'o %'), '{"o first+","o first","o other","o last"}'::text[],
	'the order of the queues goes before priority, a star stands where it stands');
SELECT bgjob_server_remove('ordered');

----------------------------------------------------------------------------------------------------
-- Pause, change and removal while jobs run
----------------------------------------------------------------------------------------------------

SELECT pg_advisory_lock(292);
SELECT bgjob_enqueue('t_hold', '[292]', queue => 'mail') AS runs \gset
CALL tap_held(292);
SELECT is(bgjob_server_pause('mail'), true, 'a server is paused while a job runs');
SELECT bgjob_enqueue('t_run', '["paused"]', queue => 'mail') AS waits \gset
SELECT is((SELECT array_agg(w.reason || ' ' || w.detail) FROM bgjob_why(:waits) w), '{"server paused Server \"mail\" is paused."}'::text[], 'bgjob_why() says that the server is paused');
SELECT is((SELECT reason FROM bgjob.jobs WHERE id = :waits), 'server paused', 'bgjob.jobs, too');
CALL tap_pass();
SELECT is(tap_state(:runs), 'processing', 'the running job goes on');
SELECT is(tap_state(:waits), 'enqueued', 'the new one waits');
SELECT pg_advisory_unlock(292);
SELECT is(bgjob_wait(:runs, '60 s'), 'succeeded', 'the running job ends');
CALL tap_wait_until($$ SELECT NOT EXISTS (SELECT FROM bgjob.workers WHERE server = 'mail') $$);
CALL tap_pass();
SELECT is(tap_state(:waits), 'enqueued', 'the other one still waits, after the workers have left');
SELECT bgjob_server('also', '{mail}', 1);
SELECT is(bgjob_wait(:waits, '60 s'), 'succeeded', 'another server that takes the queue is not paused');
SELECT bgjob_server_pause('also');
SELECT bgjob_enqueue('t_run', '["paused"]', queue => 'mail') AS waits \gset
SELECT is(tap_why(:waits), '{"server paused: All servers that take queue \"mail\" are paused."}'::text[], 'bgjob_why() with two paused servers');
SELECT bgjob_server_remove('also');
SELECT is(bgjob_server_resume('mail'), true, 'the server is resumed');
SELECT is(bgjob_wait(:waits, '60 s'), 'succeeded', 'its jobs run');

SELECT pg_advisory_lock(293);
SELECT bgjob_enqueue('t_hold', '[293]', queue => 'mail') AS runs \gset
CALL tap_held(293);
SELECT bgjob_server('mail', '{post}', 2);
SELECT bgjob_enqueue('t_run', '["mail"]', queue => 'mail') AS waits, bgjob_enqueue('t_run', '["post"]', queue => 'post') AS post \gset
SELECT is(bgjob_wait(:post, '60 s'), 'succeeded', 'a changed list is in force at once');
SELECT is(tap_state(:waits), 'enqueued', 'for the queue that it no longer names, too');
SELECT is(bgjob_server_remove('mail'), true, 'a server is removed while a job runs');
SELECT pg_advisory_unlock(293);
SELECT is(bgjob_wait(:runs, '60 s'), 'succeeded', 'the running job ends');
SELECT is((SELECT server FROM bgjob.jobs WHERE id = :runs), 'mail', 'its server is remembered');
CALL tap_wait_until($$ SELECT NOT EXISTS (SELECT FROM bgjob.workers WHERE server = 'mail') $$);
SELECT is(tap_state(:waits), 'enqueued', 'the job stays in its queue');
SELECT is(bgjob_server_remove('default'), true, 'default follows the settings again');
SELECT is(bgjob_wait(:waits, '60 s'), 'succeeded', 'and takes the job');
SELECT is(tap_servers(), '{"default internal * 3 f"}'::text[], 'there is default alone');
SELECT is((SELECT server FROM bgjob.jobs WHERE id = :waits), 'default', 'it ran in default');

----------------------------------------------------------------------------------------------------
-- default
----------------------------------------------------------------------------------------------------

SELECT is(ARRAY[bgjob_server_pause('default'), bgjob_server_pause('default')], '{t,f}'::boolean[], 'default can be paused');
SELECT is(tap_servers(), '{"default internal * 3 t"}'::text[], 'the view says so');
SELECT bgjob_enqueue('t_run', '["d"]') AS d \gset
CALL tap_pass();
SELECT is(tap_state(:d), 'enqueued', 'no job starts');
SELECT is(tap_why(:d), '{"server paused: Server \"default\" is paused."}'::text[], 'bgjob_why() says so');
SELECT is(bgjob_server_resume('default'), true, 'it is resumed');
SELECT is(bgjob_wait(:d, '60 s'), 'succeeded', 'the job runs');
SELECT is((SELECT count(*) FROM bgjob_internal.server_conf), 0::bigint, 'nothing is left of the pause');
SELECT bgjob_server('default', workers => 1);
CALL tap_wait_until($$ SELECT tap_servers() = '{"default internal * 1 f"}'::text[] $$);
SELECT is(tap_servers(), '{"default internal * 1 f"}'::text[], 'the number of default can be overridden');
SELECT pg_advisory_lock(294);
SELECT bgjob_enqueue('t_hold', '[294]') AS runs \gset
CALL tap_held(294);
SELECT bgjob_enqueue('t_run', '["e"]') AS e \gset
CALL tap_pass();
SELECT is(tap_state(:e), 'enqueued', 'with one worker a second job of the role waits');
SELECT bgjob_server('default', workers => 2);
SELECT is(bgjob_wait(:e, '60 s'), 'succeeded', 'with two it runs beside the first');
SELECT pg_advisory_unlock(294);
SELECT is(bgjob_wait(:runs, '60 s'), 'succeeded', 'which ends');
SELECT bgjob_server_pause('default'), bgjob_server_remove('default');
SELECT is(tap_servers(), '{"default internal * 3 f"}'::text[], 'removing the configuration of default ends its pause');

----------------------------------------------------------------------------------------------------
-- Transactions
----------------------------------------------------------------------------------------------------

BEGIN;
SELECT bgjob_server('gone', '{g}', 1), bgjob_server_pause('default');
ROLLBACK;
SELECT is(tap_servers(), '{"default internal * 3 f"}'::text[], 'a rollback leaves nothing');
BEGIN;
SELECT bgjob_server('kept', '{k}', 1);
SAVEPOINT s;
SELECT bgjob_server('kept', '{x}', 2), bgjob_server('gone', '{g}', 1), bgjob_server_pause('default');
ROLLBACK TO s;
SAVEPOINT t;
SELECT bgjob_server('more', '{m}', 1);
RELEASE t;
COMMIT;
SELECT is(tap_servers(), '{"default internal * 3 f","kept internal k 1 f","more internal m 1 f"}'::text[], 'what was done in a savepoint that was rolled back does not count');
SELECT bgjob_enqueue('t_run', '["k"]', queue => 'k') AS k, bgjob_enqueue('t_run', '["m"]', queue => 'm') AS m, bgjob_enqueue('t_run', '["g"]', queue => 'g') AS g \gset
SELECT is(ARRAY[bgjob_wait(:k, '60 s'), bgjob_wait(:m, '60 s'), bgjob_wait(:g, '60 s')], '{succeeded,succeeded,succeeded}'::text[], 'the servers serve');
SELECT is((SELECT server FROM bgjob.jobs WHERE id = :g), 'default', 'default took the job of the queue that has no server');
BEGIN;
SELECT bgjob_server('brief', '{b}', 1), bgjob_server_remove('brief'), bgjob_server_remove('kept'), bgjob_server('kept', '{z}', 1), bgjob_server_remove('more');
COMMIT;
SELECT is(tap_servers(), '{"default internal * 3 f","kept internal z 1 f"}'::text[], 'what was added and removed in one transaction is as its end says');
SELECT bgjob_enqueue('t_run', '["z"]', queue => 'z') AS z \gset
SELECT is(bgjob_wait(:z, '60 s'), 'succeeded', 'the server that was removed and added again serves');
SELECT is(bgjob_server_remove('kept'), true, 'it is removed');

SELECT columns_are('bgjob', 'servers', ARRAY['name', 'kind', 'queues', 'workers', 'busy', 'started_at', 'heartbeat_at', 'paused'], 'the columns of bgjob.servers');

CALL tap_idle();
\ir lib/check_counters.sql
SELECT * FROM finish();

ALTER SYSTEM RESET bgjob.workers;
SELECT pg_reload_conf() AS reloaded \gset
SELECT 'DROP OWNED BY tap29_plain, tap29_ops' \gexec
DROP ROLE tap29_plain, tap29_ops;
