-- 31_supersede.sql
--
-- What this file proves (api.md, "Jobs"): on_duplicate 'supersede'.
--   * A job that waits (enqueued, scheduled, awaiting, retrying) is deleted by the new one with its key, which is enqueued anew.
--   * One that runs is canceled, its effects are rolled back, and the new one follows it: never beside it, and at once. Of many,
--     only the newest follows. That is so in every function that has the option, for functions and procedures.
--   * A rollback takes all of it back. A job may supersede itself. The key is never free while a job that had it runs.
--   * delay makes it a debounce. after, filters, batches, limits, sequence_key and start_within keep their meaning.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser. It changes settings with ALTER SYSTEM and resets them at
-- its end: do not run it beside other files.

\ir lib/session.sql

ALTER SYSTEM SET bgjob.workers = 3;
SELECT pg_reload_conf() AS reloaded \gset

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap31_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap31_' \gexec
CREATE ROLE tap31_a LOGIN;
GRANT USAGE ON SCHEMA bgjob TO tap31_a;

----------------------------------------------------------------------------------------------------
-- Helpers
----------------------------------------------------------------------------------------------------

\ir lib/wait.sql
\ir lib/states.sql
\ir lib/errors.sql

-- What became of a job.
CREATE FUNCTION t_job(id bigint) RETURNS text LANGUAGE sql AS
	$$ SELECT concat_ws(' ', j.state, j.reason) FROM bgjob.jobs j WHERE j.id = $1 $$;
CREATE FUNCTION t_by(id bigint) RETURNS text LANGUAGE sql AS $$ SELECT 'deleted Superseded by job ' || id $$;
-- Which unfinished jobs have a key.
CREATE FUNCTION t_unfinished(key text) RETURNS bigint[] LANGUAGE sql AS
	$$ SELECT coalesce(array_agg(j.id ORDER BY j.id), '{}') FROM bgjob.jobs j WHERE unique_key = key AND state NOT IN ('succeeded', 'failed', 'deleted') $$;
-- The job that has the key.
CREATE FUNCTION t_holder(key_ text) RETURNS bigint LANGUAGE sql AS $$ SELECT job FROM bgjob_internal.unique_key WHERE key = key_ $$;
-- Whether a job began when another one had ended, and not later than a moment after that.
CREATE FUNCTION t_follows(follower bigint, other bigint) RETURNS boolean LANGUAGE sql AS
	$$ SELECT f.started_at >= o.finished_at AND f.started_at < o.finished_at + interval '1 s' FROM bgjob.jobs f, bgjob.jobs o WHERE f.id = follower AND o.id = other $$;

----------------------------------------------------------------------------------------------------
-- What the jobs of this file call
----------------------------------------------------------------------------------------------------

CREATE TABLE t_effect (n serial, label text, job bigint DEFAULT bgjob_current_id());
GRANT INSERT, SELECT ON t_effect TO PUBLIC;
GRANT USAGE ON SEQUENCE t_effect_n_seq TO PUBLIC;
CREATE FUNCTION t_effects() RETURNS text[] LANGUAGE sql AS $$ SELECT coalesce(array_agg(label ORDER BY n), '{}') FROM t_effect $$;
CREATE FUNCTION t_run(label text) RETURNS text LANGUAGE sql AS $$ INSERT INTO public.t_effect (label) VALUES (label) RETURNING label $$;
CREATE FUNCTION t_fail(label text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'failed %', label; END $$;
-- Has an effect, then waits for an advisory lock.
CREATE FUNCTION t_block(label text, lock int = 31) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.t_effect (label) VALUES (label);
	PERFORM pg_advisory_xact_lock(lock);
	RETURN label;
END $$;
CREATE PROCEDURE t_proc(label text, lock int = 31) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.t_effect (label) VALUES (label);
	COMMIT;
	PERFORM pg_advisory_xact_lock(lock);
	INSERT INTO public.t_effect (label) VALUES (label || ' again');
END $$;
-- Does not end when it is canceled, but when it gets a second lock; its worker is ended after 3 s otherwise.
CREATE FUNCTION t_stubborn(label text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		PERFORM pg_advisory_xact_lock(31);
	EXCEPTION WHEN query_canceled THEN
		PERFORM pg_advisory_xact_lock(3131);
	END;
	RETURN label;
END $$;

SELECT * FROM no_plan();

----------------------------------------------------------------------------------------------------
-- A job that waits
----------------------------------------------------------------------------------------------------

SELECT bgjob_queue('idle', paused => true) AS queue \gset

SELECT bgjob_enqueue('t_run', '["old"]', unique_key => 'w', queue => 'idle', priority => 3, tags => '{old}') AS a \gset
SELECT bgjob_enqueue('t_run', '["new"]', unique_key => 'w', queue => 'idle', on_duplicate => 'supersede') AS b \gset
SELECT isnt(:b::bigint, :a::bigint, 'enqueued: the new job has an id of its own');
SELECT is(t_job(:a), t_by(:b), 'enqueued: the old job is deleted, and the reason names the new one');
SELECT is(tap_states(:a), '{enqueued,deleted}', 'enqueued: its history has the end');
SELECT is((SELECT format('%s %s %s %s', state, args, priority, tags) FROM bgjob.jobs WHERE id = :b), 'enqueued ["new"] 0 ', 'enqueued: the new job is as it was enqueued');
SELECT is(t_unfinished('w'), ARRAY[:b::bigint], 'enqueued: it is the only one that is unfinished');
SELECT is(t_holder('w'), :b::bigint, 'enqueued: it has the key');
SELECT is(bgjob_enqueue('t_run', '["skipped"]', unique_key => 'w'), :b::bigint, 'skip: it is the job that others are told of');

SELECT bgjob_enqueue('t_run', '["c"]', unique_key => 'w', on_duplicate => 'supersede', delay => '1 hour') AS c \gset
SELECT is(t_job(:b), t_by(:c), 'the second is superseded, too');
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :c), 'scheduled', 'the new job may be scheduled');
SELECT bgjob_enqueue('t_run', '["d"]', unique_key => 'w', on_duplicate => 'supersede', after_signal => '{t31}') AS d \gset
SELECT is(t_job(:c), t_by(:d), 'scheduled: superseded');
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :d), 'awaiting', 'the new job may await something');
SELECT bgjob_enqueue('t_run', '["e"]', unique_key => 'w', on_duplicate => 'supersede') AS e \gset
SELECT is(t_job(:d), t_by(:e), 'awaiting: superseded');
SELECT is((SELECT count(*) FROM bgjob_internal.edge WHERE dependant = :d), 0::bigint, 'awaiting: it awaits nothing any more');
SELECT is(bgjob_wait(:e, '60 s'), 'succeeded', 'the last one runs');
SELECT is(t_effects(), '{e}'::text[], 'none of the others has');
SELECT is(t_holder('w'), NULL, 'the key is free afterwards');

SELECT bgjob_enqueue('t_fail', '["r"]', unique_key => 'w', retry_delays => '{1 hour}') AS a \gset
CALL tap_state_is(:a, 'scheduled');
SELECT bgjob_enqueue('t_fail', '["f"]', unique_key => 'w', on_duplicate => 'supersede', max_retries => 0) AS b \gset
SELECT is(t_job(:a), t_by(:b), 'retrying: superseded');
SELECT is(tap_states(:a), '{enqueued,processing,failed,scheduled,deleted}', 'retrying: its history is whole');
SELECT is(bgjob_wait(:b, '60 s'), 'failed', 'the new job fails for good');
TRUNCATE t_effect RESTART IDENTITY;
SELECT bgjob_enqueue('t_run', '["g"]', unique_key => 'w', on_duplicate => 'supersede') AS c \gset
SELECT is(bgjob_wait(:c, '60 s'), 'succeeded', 'a failed job has no key');
SELECT is(t_job(:b), 'failed failed f', 'and is left as it is');
SELECT is(bgjob_requeue(:a), true, 'a superseded job can be requeued when the key is free');
SELECT is(bgjob_delete(:a), true, 'and deleted');

-- In one transaction, and with savepoints.
BEGIN;
SELECT bgjob_enqueue('t_run', '["1"]', unique_key => 't', on_duplicate => 'supersede') AS a \gset
SELECT bgjob_enqueue('t_run', '["2"]', unique_key => 't', on_duplicate => 'supersede') AS b \gset
SAVEPOINT s;
SELECT bgjob_enqueue('t_run', '["3"]', unique_key => 't', on_duplicate => 'supersede') AS c \gset
SELECT is(t_job(:b), t_by(:c), 'a job of the same transaction is superseded');
ROLLBACK TO s;
SELECT is(t_job(:b), 'enqueued', 'a savepoint that is rolled back takes it back');
COMMIT;
SELECT is(bgjob_wait(:b, '60 s'), 'succeeded', 'the last one that was committed runs');
SELECT is(t_job(:a), t_by(:b), 'the one before it is deleted');
BEGIN;
SELECT bgjob_enqueue('t_run', '["4"]', unique_key => 't', queue => 'idle') AS a \gset
COMMIT;
BEGIN;
SELECT bgjob_enqueue('t_run', '["5"]', unique_key => 't', on_duplicate => 'supersede') AS b \gset
ROLLBACK;
SELECT is(t_job(:a) ~ '^enqueued', true, 'a rollback takes it back');
SELECT is(t_holder('t'), :a::bigint, 'and the old job has its key');
SELECT is(bgjob_delete(:a), true, 'which it loses at its end');

-- The key belongs to a role.
SELECT bgjob_enqueue('t_run', '["super"]', unique_key => 'role', delay => '1 hour') AS a \gset
SET ROLE tap31_a;
SELECT bgjob_enqueue('t_run', '["a"]', unique_key => 'role', delay => '1 hour', on_duplicate => 'supersede') AS b \gset
RESET ROLE;
SELECT is((SELECT array_agg(state) FROM bgjob.jobs WHERE id IN (:a, :b)), '{scheduled,scheduled}'::text[], 'the job of another role is not superseded');
SELECT bgjob_enqueue('t_run', '["run_as"]', unique_key => 'role', delay => '1 hour', on_duplicate => 'supersede', run_as => 'tap31_a') AS c \gset
SELECT is(t_job(:b), t_by(:c), 'the key is that of run_as');
SELECT count(bgjob_delete(id)) AS n FROM bgjob.jobs WHERE unique_key = 'role' \gset
TRUNCATE t_effect RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- A job that runs
----------------------------------------------------------------------------------------------------

SELECT pg_advisory_lock(31) AS locked \gset
SELECT bgjob_enqueue('t_block', '["a"]', unique_key => 'r') AS a \gset
CALL tap_held(31);
BEGIN;
SELECT bgjob_enqueue('t_run', '["b"]', unique_key => 'r', on_duplicate => 'supersede') AS b \gset
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :a), 'processing', 'before the commit the old job runs');
SELECT is(t_job(:b), format('awaiting Follows job %s, which it supersedes', :a), 'the new one awaits it');
SELECT is((SELECT format('%s: %s %s', reason, detail, hint) FROM bgjob_why(:b) LIMIT 1),
	format('awaiting: It awaits job %s, which is processing. It starts when the job has ended that it supersedes.', :a), 'bgjob_why() says so');
COMMIT;
SELECT is(bgjob_wait(:b, '60 s'), 'succeeded', 'after it the new job runs');
SELECT is(t_job(:a), t_by(:b), 'the old job has been canceled');
SELECT is(tap_states(:a), '{enqueued,processing,deleted}', 'its history shows it');
SELECT is(tap_states(:b), '{awaiting,enqueued,processing,succeeded}', 'so does that of the new one');
SELECT is(t_follows(:b, :a), true, 'the new job began when the old one had ended, and at once');
SELECT is(t_effects(), '{b}'::text[], 'the effects of the old job were rolled back');
SELECT is(t_holder('r'), NULL, 'the key is free afterwards');
SELECT is((SELECT count(*) FROM bgjob_internal.edge), 0::bigint, 'nobody awaits anybody');
TRUNCATE t_effect RESTART IDENTITY;

-- A rollback: the old job knows nothing of it.
SELECT bgjob_enqueue('t_block', '["a"]', unique_key => 'r') AS a \gset
CALL tap_held(31);
BEGIN;
SELECT bgjob_enqueue('t_run', '["b"]', unique_key => 'r', on_duplicate => 'supersede') AS b \gset
ROLLBACK;
SELECT is(bgjob_enqueue('t_run', '["c"]', unique_key => 'r'), :a::bigint, 'rolled back: the old job has its key');
SELECT pg_advisory_unlock(31) AS unlocked \gset
SELECT is(bgjob_wait(:a, '60 s'), 'succeeded', 'rolled back: it succeeds');
SELECT is(t_holder('r'), NULL, 'rolled back: and gives up the key');

-- The old job ends by itself before the commit.
SELECT pg_advisory_lock(31) AS locked \gset
SELECT bgjob_enqueue('t_block', '["a"]', unique_key => 'r') AS a \gset
CALL tap_held(31);
BEGIN;
SELECT bgjob_enqueue('t_run', '["b"]', unique_key => 'r', on_duplicate => 'supersede') AS b \gset
SELECT pg_advisory_unlock(31) AS unlocked \gset
SELECT bgjob_wait(:a, '60 s') AS ended \gset
COMMIT;
SELECT is(:'ended'::text, 'succeeded', 'the old job may succeed until the commit');
SELECT is(bgjob_wait(:b, '60 s'), 'succeeded', 'then the new job runs all the same');

-- It fails with a retry left before the commit.
SELECT pg_advisory_lock(31) AS locked \gset
CREATE FUNCTION t_block_and_fail() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(31); RAISE EXCEPTION 'failed'; END $$;
SELECT bgjob_enqueue('t_block_and_fail', unique_key => 'r', retry_delays => '{1 hour}') AS a \gset
CALL tap_held(31);
BEGIN;
SELECT bgjob_enqueue('t_run', '["b"]', unique_key => 'r', on_duplicate => 'supersede') AS b \gset
SELECT pg_advisory_unlock(31) AS unlocked \gset
SELECT is(bgjob_wait(:a, '200 ms'), NULL, 'the old job is not over when it waits for a retry');
COMMIT;
SELECT is(bgjob_wait(:b, '60 s'), 'succeeded', 'retrying: the new job does not wait for the retry');
SELECT is(t_job(:a), t_by(:b), 'retrying: the old job is superseded');
TRUNCATE t_effect RESTART IDENTITY;

-- Many, while one runs.
SELECT pg_advisory_lock(31) AS locked \gset
SELECT bgjob_enqueue('t_block', '["a"]', unique_key => 'r') AS a \gset
CALL tap_held(31);
BEGIN;
SELECT array_agg(id ORDER BY id) AS ids, max(id) AS last FROM (SELECT bgjob_enqueue('t_run', jsonb_build_array(i), unique_key => 'r', on_duplicate => 'supersede') AS id FROM generate_series(1, 50) i) s \gset
COMMIT;
SELECT is(bgjob_wait(:last, '60 s'), 'succeeded', 'many: the newest runs');
SELECT is((SELECT count(*) FROM unnest(:'ids'::bigint[]) i WHERE t_job(i) = t_by(i + 1)), 49::bigint, 'many: each other one is superseded by the next');
SELECT is(t_effects(), '{50}'::text[], 'many: none of them has run');
SELECT is(t_job(:a), t_by(:last), 'many: the one that ran is superseded by the newest');
SELECT is(t_follows(:last, :a), true, 'many: and followed by it');
SELECT pg_advisory_unlock(31) AS unlocked \gset
TRUNCATE t_effect RESTART IDENTITY;

-- A procedure whose claim is committed.
SELECT pg_advisory_lock(31) AS locked \gset
SELECT bgjob_enqueue('t_proc', '["p"]', unique_key => 'r') AS a \gset
CALL tap_held(31);
SELECT bgjob_enqueue('t_proc', '["q"]', unique_key => 'r', on_duplicate => 'supersede') AS b \gset
CALL tap_wait_until(format('SELECT state = ''processing'' FROM bgjob.jobs WHERE id = %s', :b));
CALL tap_held(31);
SELECT is(t_job(:a), t_by(:b), 'a procedure is canceled');
SELECT bgjob_enqueue('t_run', '["c"]', unique_key => 'r', on_duplicate => 'supersede') AS c \gset
SELECT is(bgjob_wait(:c, '60 s'), 'succeeded', 'and followed');
SELECT is(t_effects(), '{p,q,c}'::text[], 'what a procedure has committed stays');
SELECT is(t_follows(:b, :a) AND t_follows(:c, :b), true, 'one after the other');
TRUNCATE t_effect RESTART IDENTITY;

-- A command that is not one of a transaction.
CREATE TABLE t_locked ();
SELECT bgjob_enqueue('SELECT pg_advisory_xact_lock(31)', unique_key => 'r', kind => 'sql') AS a \gset
CALL tap_held(31);
SELECT bgjob_enqueue('VACUUM t_locked', unique_key => 'r', on_duplicate => 'supersede') AS b \gset
SELECT is(bgjob_wait(:b, '60 s'), 'succeeded', 'a command follows a command');
SELECT is(t_job(:a), t_by(:b), 'which it has superseded');
SELECT pg_advisory_unlock(31) AS unlocked \gset

-- In a group of jobs.
SELECT bgjob_queue('grouped', group_size => 10) AS queue \gset
SELECT pg_advisory_lock(31) AS locked \gset
SELECT bgjob_enqueue('t_block', '["a"]', unique_key => 'r', queue => 'grouped') AS a \gset
CALL tap_held(31);
SELECT bgjob_enqueue('t_run', '["b"]', unique_key => 'r', queue => 'grouped', on_duplicate => 'supersede') AS b \gset
SELECT is(bgjob_wait(:b, '60 s'), 'succeeded', 'group: the new job runs');
SELECT is(t_job(:a), t_by(:b), 'group: the old one is canceled');
SELECT is(t_effects(), '{b}'::text[], 'group: its effects were rolled back');
SELECT pg_advisory_unlock(31) AS unlocked \gset
TRUNCATE t_effect RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- The key, while a job that had it runs
----------------------------------------------------------------------------------------------------

SELECT pg_advisory_lock(31) AS locked, pg_advisory_lock(3131) AS locked_too \gset
SELECT bgjob_enqueue('t_stubborn', '["a"]', unique_key => 'k') AS a \gset
CALL tap_held(31);
SELECT bgjob_enqueue('t_run', '["b"]', unique_key => 'k', on_duplicate => 'supersede') AS b \gset
CALL tap_held(3131);
SELECT is(t_holder('k'), :b::bigint, 'the follower has the key');
SELECT is(t_unfinished('k'), ARRAY[:a, :b]::bigint[], 'two jobs are unfinished while the first one ends');
SELECT is(bgjob_enqueue('t_run', '["c"]', unique_key => 'k', on_duplicate => 'replace'), :b::bigint, 'a follower is not replaced');
SELECT is(bgjob_enqueue('t_run', '["c"]', unique_key => 'k', on_duplicate => 'reschedule'), :b::bigint, 'nor rescheduled');
SELECT is(t_job(:b), format('awaiting Follows job %s, which it supersedes', :a), 'it is as it was');
SELECT is(bgjob_delete(:b), true, 'it can be deleted');
SELECT is(t_holder('k'), :a::bigint, 'then the job that ends has the key again');
BEGIN;
SELECT bgjob_enqueue('t_run', '["d"]', unique_key => 'k', on_duplicate => 'supersede') AS d \gset
SELECT is(t_job(:d), format('awaiting Follows job %s, which it supersedes', :a), 'and the next one follows it');
COMMIT;
SELECT pg_advisory_unlock(3131) AS unlocked \gset
SELECT is(bgjob_wait(:d, '60 s'), 'succeeded', 'which runs');
SELECT is(t_job(:a) IN (t_by(:b), t_by(:d)), true, 'after the other was canceled');
SELECT is(t_follows(:d, :a), true, 'after it');
SELECT is(bgjob_requeue(:b), true, 'the deleted follower can be requeued');
SELECT is(bgjob_wait(:b, '60 s'), 'succeeded', 'and runs');
SELECT pg_advisory_unlock(31) AS unlocked \gset
TRUNCATE t_effect RESTART IDENTITY;

-- A superseded job is not requeued.
SELECT pg_advisory_lock(31) AS locked, pg_advisory_lock(3131) AS locked_too \gset
SELECT bgjob_enqueue('t_stubborn', '["a"]', unique_key => 'k') AS a \gset
CALL tap_held(31);
SELECT bgjob_enqueue('t_block', '["b"]', unique_key => 'k', on_duplicate => 'supersede') AS b \gset
CALL tap_held(3131);
SELECT pg_advisory_unlock(3131) AS unlocked \gset
SELECT is(bgjob_requeue(:a), false, 'a superseded job is not requeued: another one has its key');
SELECT is(t_job(:a), t_by(:b), 'it is deleted');
SELECT pg_advisory_unlock(31) AS unlocked \gset
SELECT is(bgjob_wait(:b, '60 s'), 'succeeded', 'the other one runs');
TRUNCATE t_effect RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- A job that supersedes itself
----------------------------------------------------------------------------------------------------

CREATE FUNCTION t_self(n int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	IF n < 3 THEN
		PERFORM bgjob_enqueue('t_self', jsonb_build_array(n + 1), unique_key => 'self', on_duplicate => 'supersede');
	END IF;
	INSERT INTO public.t_effect (label) VALUES (n);
	RETURN n;
END $$;
SELECT bgjob_enqueue('t_self', '[1]', unique_key => 'self') AS a \gset
CALL tap_wait_until($$ SELECT t_unfinished('self') = '{}' $$);
SELECT is(t_effects(), '{1,2,3}'::text[], 'itself: each job goes on, and the next one follows');
SELECT is((SELECT array_agg(state) FROM bgjob.jobs WHERE unique_key = 'self'), '{succeeded,succeeded,succeeded}'::text[], 'itself: all of them succeed');
TRUNCATE t_effect RESTART IDENTITY;

CREATE PROCEDURE t_self_proc(n int) LANGUAGE plpgsql AS $$
BEGIN
	IF n < 3 THEN
		PERFORM bgjob_enqueue('t_self_proc', jsonb_build_array(n + 1), unique_key => 'self', on_duplicate => 'supersede');
		COMMIT;
		PERFORM pg_sleep(0.1);
	END IF;
	INSERT INTO public.t_effect (label) VALUES (n);
END $$;
SELECT bgjob_enqueue('t_self_proc', '[1]', unique_key => 'self') AS a \gset
CALL tap_wait_until($$ SELECT t_unfinished('self') = '{}' $$);
SELECT is(t_effects(), '{1,2,3}'::text[], 'itself, a procedure: it goes on after its commit');
SELECT is((SELECT count(*) FROM bgjob.jobs j, bgjob.jobs k WHERE j.job LIKE '%t_self_proc%' AND k.job LIKE '%t_self_proc%' AND k.id > j.id AND k.started_at < j.finished_at), 0::bigint,
	'itself, a procedure: the next one follows it');
TRUNCATE t_effect RESTART IDENTITY;

-- In a session.
SELECT bgjob_enqueue('t_self', '[2]', unique_key => 'self', queue => 'idle') AS a \gset
SELECT is(bgjob_run(:a), '"2"', 'itself, by bgjob_run(): it ends');
CALL tap_wait_until($$ SELECT t_unfinished('self') = '{}' $$);
SELECT is(t_effects(), '{2,3}'::text[], 'itself, by bgjob_run(): and the next one follows');
TRUNCATE t_effect RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- delay, after, start_within
----------------------------------------------------------------------------------------------------

DO $$ BEGIN FOR i IN 1 .. 20 LOOP PERFORM bgjob_enqueue('t_run', jsonb_build_array('key ' || i), unique_key => 'search', on_duplicate => 'supersede', delay => '300 ms'); COMMIT; END LOOP; END $$;
CALL tap_wait_until($$ SELECT t_unfinished('search') = '{}' $$);
SELECT is(t_effects(), '{key 20}'::text[], 'delay: of twenty calls only the last one is performed');
TRUNCATE t_effect RESTART IDENTITY;

SELECT pg_advisory_lock(31) AS locked \gset
SELECT bgjob_enqueue('t_block', '["a"]', unique_key => 'search') AS a \gset
CALL tap_held(31);
SELECT bgjob_enqueue('t_run', '["b"]', unique_key => 'search', on_duplicate => 'supersede', delay => '1 s') AS b \gset
SELECT is(bgjob_wait(:a, '60 s'), 'deleted', 'delay: one that runs is canceled at once');
SELECT is(bgjob_wait(:b, '60 s'), 'succeeded', 'delay: the new one runs');
SELECT is((SELECT started_at >= run_at AND run_at > created_at + interval '0.9 s' FROM bgjob.jobs WHERE id = :b), true, 'delay: when its time has come');
SELECT is(tap_states(:b), '{awaiting,scheduled,enqueued,processing,succeeded}', 'delay: it is scheduled when the other one has ended');
TRUNCATE t_effect RESTART IDENTITY;

SELECT bgjob_enqueue('t_block', '["a"]', unique_key => 'aft') AS a \gset
CALL tap_held(31);
SELECT bgjob_enqueue('t_run', '["p"]', delay => '1 hour') AS p \gset
SELECT bgjob_enqueue('t_run', '["b"]', unique_key => 'aft', on_duplicate => 'supersede', after => ARRAY[:p::bigint], after_signal => '{aft}') AS b \gset
SELECT is(bgjob_wait(:a, '60 s'), 'deleted', 'after: one that runs is canceled at once');
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :b), 'awaiting', 'after: the new one awaits its parent');
SELECT is((SELECT after FROM bgjob.jobs WHERE id = :b), ARRAY[:p::bigint], 'after: which is all that is shown');
SELECT is((SELECT detail ~ format('^It awaits job %s, .* 3 prerequisites', :p) FROM bgjob_why(:b)), true, 'after: bgjob_why() names the parent');
SELECT is(bgjob_requeue(:p), true, 'after: the parent runs');
SELECT is(bgjob_wait(:p, '60 s'), 'succeeded', 'after: and succeeds');
SELECT is((SELECT detail ~ '^It awaits signal "aft"' FROM bgjob_why(:b)), true, 'after: bgjob_why() names the signal');
SELECT is(bgjob_signal('aft'), 1::bigint, 'after: the signal releases the new one');
SELECT is(bgjob_wait(:b, '60 s'), 'succeeded', 'after: it succeeds');
SELECT is(bgjob_signal_remove('aft'), true, 'after: the signal is removed');

-- The job that it supersedes is one of those that it awaits.
SELECT bgjob_enqueue('t_block', '["a"]', unique_key => 'aft') AS a \gset
CALL tap_held(31);
SELECT bgjob_enqueue('t_run', '["b"]', unique_key => 'aft', on_duplicate => 'supersede', after => ARRAY[:a::bigint], condition => 'finished') AS b \gset
SELECT is(bgjob_wait(:b, '60 s'), 'succeeded', 'after: the superseded job itself may be awaited');
SELECT is(t_job(:a), t_by(:b), 'after: it is canceled');
SELECT is((SELECT count(*) FROM bgjob_internal.edge), 0::bigint, 'after: and awaited no more');

-- The new job can never run: the old one has its key again, and goes on.
SELECT bgjob_enqueue('t_fail', '["p"]', max_retries => 0) AS p \gset
SELECT is(bgjob_wait(:p, '60 s'), 'failed', 'hopeless: the parent has failed');
SELECT bgjob_enqueue('t_block', '["a"]', unique_key => 'aft') AS a \gset
CALL tap_held(31);
SELECT bgjob_enqueue('t_run', '["b"]', unique_key => 'aft', on_duplicate => 'supersede', after => ARRAY[:p::bigint]) AS b \gset
SELECT is(t_job(:b), format('deleted Cannot run: job %s failed', :p), 'hopeless: the new job is deleted');
SELECT is(t_holder('aft'), :a::bigint, 'hopeless: the old one has its key');
SELECT pg_advisory_unlock(31) AS unlocked \gset
SELECT is(bgjob_wait(:a, '60 s'), 'succeeded', 'hopeless: and goes on');

-- What others await of a superseded job.
SELECT pg_advisory_lock(31) AS locked \gset
SELECT bgjob_batch('t31') AS batch \gset
SELECT bgjob_enqueue('t_block', '["a"]', unique_key => 'aft', batch => :batch) AS a \gset
SELECT bgjob_enqueue('t_run', '["good"]', after => ARRAY[:a::bigint]) AS good \gset
SELECT bgjob_enqueue('t_run', '["any"]', after => ARRAY[:a::bigint], condition => 'finished') AS any \gset
CALL tap_held(31);
SELECT bgjob_enqueue('t_run', '["b"]', unique_key => 'aft', on_duplicate => 'supersede') AS b \gset
SELECT is(bgjob_wait(:b, '60 s'), 'succeeded', 'continuations: the new job runs');
SELECT is(bgjob_wait(:any, '60 s'), 'succeeded', 'continuations: what awaits the end of the old one, too');
SELECT is(t_job(:good), format('deleted Cannot run: job %s was deleted', :a), 'continuations: what awaits its success is deleted');
SELECT is((SELECT format('%s %s', state, deleted) FROM bgjob.batches WHERE id = :batch), 'deleted 1', 'batch: a superseded job counts as deleted');
TRUNCATE t_effect RESTART IDENTITY;

-- start_within counts from the release.
SELECT pg_advisory_lock(3131) AS locked \gset
SELECT bgjob_enqueue('t_stubborn', '["a"]', unique_key => 'within') AS a \gset
CALL tap_held(31);
SELECT bgjob_enqueue('t_run', '["b"]', unique_key => 'within', on_duplicate => 'supersede', start_within => '500 ms') AS b \gset
CALL tap_held(3131);
SELECT pg_sleep(0.7) AS slept \gset
SELECT pg_advisory_unlock(3131) AS unlocked \gset
SELECT is(bgjob_wait(:b, '60 s'), 'succeeded', 'start_within: the end of the old job is awaited without it');
SELECT pg_advisory_unlock(31) AS unlocked \gset
TRUNCATE t_effect RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- Limits and sequences
----------------------------------------------------------------------------------------------------

SELECT bgjob_limit('t31', max_running => 1) AS limited \gset
SELECT pg_advisory_lock(31) AS locked \gset
SELECT bgjob_enqueue('t_block', '["a"]', unique_key => 'g', limits => '{t31}', sequence_key => 's') AS a \gset
CALL tap_held(31);
SELECT bgjob_enqueue('t_run', '["b"]', unique_key => 'g', limits => '{t31}', sequence_key => 's', on_duplicate => 'supersede') AS b \gset
SELECT is(bgjob_wait(:b, '60 s'), 'succeeded', 'limits: the new job gets the place of the one that it supersedes');
SELECT is(t_job(:a), t_by(:b), 'limits: which was canceled');
SELECT is(t_follows(:b, :a), true, 'limits: and which it follows at once');
SELECT bgjob_enqueue('t_block', '["holder"]', limits => '{t31}') AS h \gset
CALL tap_held(31);
SELECT bgjob_enqueue('t_run', '["c"]', unique_key => 'g', limits => '{t31}', sequence_key => 's') AS c \gset
SELECT is(t_job(:c), 'enqueued limit', 'limits: a job waits for a place');
SELECT bgjob_enqueue('t_run', '["d"]', unique_key => 'g', limits => '{t31}', sequence_key => 's', on_duplicate => 'supersede') AS d \gset
SELECT is(t_job(:c), t_by(:d), 'limits: it is superseded where it waits');
SELECT bgjob_enqueue('t_run', '["e"]', sequence_key => 's') AS e \gset
SELECT pg_advisory_unlock(31) AS unlocked \gset
SELECT is(bgjob_wait(:d, '60 s'), 'succeeded', 'limits: the new job gets the place');
SELECT is(bgjob_wait(:e, '60 s'), 'succeeded', 'sequence: the next one follows');
SELECT is(t_effects(), '{b,holder,d,e}'::text[], 'sequence: in order');
SELECT bgjob_enqueue('t_run', '["f"]', unique_key => 'g', sequence_key => 's', queue => 'idle') AS f \gset
SELECT is(bgjob_enqueue('t_run', '["g"]', unique_key => 'g', sequence_key => 'other', on_duplicate => 'replace'), :f::bigint, 'sequence: a job that is replaced');
SELECT is(bgjob_wait(:f, '60 s'), 'succeeded', 'sequence: may get another one');
SELECT is((SELECT count(*) FROM bgjob_internal.gate) + (SELECT count(*) FROM bgjob_internal.sequence), 0::bigint, 'limits: nothing is left in a line');
SELECT is(bgjob_limit_remove('t31'), true, 'limits: the limit is removed');
TRUNCATE t_effect RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- The other functions
----------------------------------------------------------------------------------------------------

SELECT bgjob_configure('t_run(text)', unique_key => 'c:{label}', on_duplicate => 'supersede');
SELECT is((SELECT on_duplicate FROM bgjob.functions WHERE job ~ 't_run'), 'supersede', 'bgjob.functions shows it');
SELECT array_agg(id ORDER BY id) AS ids FROM bgjob_enqueue_many('t_run', ARRAY['["x"]', '["y"]', '["x"]']::jsonb[], queue => 'idle') id \gset
SELECT is((SELECT array_agg(state ORDER BY id) FROM bgjob.jobs WHERE id = ANY (:'ids')), '{deleted,enqueued,enqueued}'::text[], 'bgjob_enqueue_many(): a later element supersedes an earlier one');
SELECT count(bgjob_delete(id)) AS n FROM bgjob.jobs WHERE queue = 'idle' AND state = 'enqueued' \gset
SELECT bgjob_unconfigure('t_run(text)') AS gone \gset

CREATE TABLE t_doc (id int, label text);
CREATE TRIGGER t AFTER INSERT OR UPDATE ON t_doc FOR EACH ROW
	EXECUTE FUNCTION bgjob_enqueue_trigger('t_run', 'columns=label', 'unique_key=doc', 'on_duplicate=supersede', 'delay=200 ms');
INSERT INTO t_doc VALUES (1, 'first');
UPDATE t_doc SET label = 'second';
UPDATE t_doc SET label = 'third';
CALL tap_wait_until($$ SELECT t_unfinished('doc') = '{}' $$);
SELECT is(t_effects(), '{third}'::text[], 'trigger: only the last change is worked on');
DROP TABLE t_doc;
TRUNCATE t_effect RESTART IDENTITY;

-- A recurring job: the scheduler enqueues, and never waits.
SELECT pg_advisory_lock(31) AS locked \gset
SELECT bgjob_recurring('t31', '1 second', 't_block', '["a"]', unique_key => 'rec', on_duplicate => 'supersede') AS recurring \gset
SELECT is((SELECT on_duplicate FROM bgjob.recurring_jobs WHERE name = 't31'), 'supersede', 'bgjob.recurring_jobs shows it');
CALL tap_wait_until($$ SELECT count(*) >= 2 FROM bgjob.jobs WHERE unique_key = 'rec' AND state = 'deleted' $$);
SELECT is(bgjob_recurring_pause('t31'), true, 'recurring: it is paused');
SELECT is((SELECT count(*) FROM bgjob.jobs j WHERE unique_key = 'rec' AND state = 'deleted' AND reason <> (SELECT 'Superseded by job ' || min(k.id) FROM bgjob.jobs k WHERE k.unique_key = 'rec' AND k.id > j.id)), 0::bigint,
	'recurring: each job is superseded by the next');
SELECT is(cardinality(t_unfinished('rec')), 1, 'recurring: the last one runs');
SELECT bgjob_recurring_trigger('t31') AS b \gset
SELECT pg_advisory_unlock(31) AS unlocked \gset
SELECT is(bgjob_wait(:b, '60 s'), 'succeeded', 'bgjob_recurring_trigger(): the new job supersedes it');
SELECT is((SELECT error FROM bgjob.recurring_jobs WHERE name = 't31'), NULL, 'recurring: no occurrence was left out');
TRUNCATE t_effect RESTART IDENTITY;

----------------------------------------------------------------------------------------------------
-- Filters
----------------------------------------------------------------------------------------------------

CREATE TABLE t_told (n serial, job bigint, event text, state text);
GRANT ALL ON t_told, t_told_n_seq TO PUBLIC;
CREATE FUNCTION t_keep(context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	RETURN CASE WHEN context ->> 'state' = 'deleted' THEN '{"state": "scheduled", "delay": "1 hour"}'::jsonb END;
END $$;
CREATE FUNCTION t_tell(context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.t_told (job, event, state) VALUES ((context ->> 'id')::bigint, context ->> 'event', context ->> 'state');
	RETURN NULL;
END $$;
SELECT bgjob_filter('t_keep', 'electing', 't_keep') AS filter, bgjob_filter('t_tell', 'applied', 't_tell') AS filter_too \gset
SELECT bgjob_enqueue('t_run', '["a"]', unique_key => 'fil', delay => '1 hour') AS a \gset
SELECT bgjob_enqueue('t_run', '["b"]', unique_key => 'fil', on_duplicate => 'supersede') AS b \gset
SELECT is(bgjob_wait(:b, '60 s'), 'succeeded', 'filters: the new job runs');
SELECT is(t_job(:a), t_by(:b), 'filters: none of them can keep a superseded job that waits');
SELECT is((SELECT array_agg(state ORDER BY n) FROM t_told WHERE job = :a), '{scheduled,deleted}'::text[], 'filters: they are told of it');
SELECT pg_advisory_lock(31) AS locked \gset
SELECT bgjob_enqueue('t_block', '["a"]', unique_key => 'fil') AS a \gset
CALL tap_held(31);
SELECT bgjob_enqueue('t_run', '["b"]', unique_key => 'fil', on_duplicate => 'supersede') AS b \gset
SELECT is(bgjob_wait(:b, '60 s'), 'succeeded', 'filters: the new job follows');
SELECT is(t_job(:a), t_by(:b), 'filters: nor one that runs');
SELECT is((SELECT array_agg(state ORDER BY n) FROM t_told WHERE job = :b), '{awaiting,enqueued,processing,succeeded}'::text[], 'filters: they are told of the follower');
SELECT is(bgjob_recurring_resume('t31'), true, 'filters: the recurring job goes on');
SELECT coalesce(max(id), 0) AS last FROM bgjob.jobs \gset
CALL tap_wait_until(format('SELECT count(*) >= 2 FROM bgjob.jobs WHERE unique_key = ''rec'' AND state = ''deleted'' AND id > %s', :last));
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE unique_key = 'rec' AND state = 'deleted' AND id > :last AND reason !~ '^Superseded by job'), 0::bigint,
	'filters: those of a recurring job are superseded, too');
SELECT is(bgjob_recurring_remove('t31'), true, 'filters: the recurring job is removed');
SELECT is(bgjob_filter_remove('t_keep') AND bgjob_filter_remove('t_tell'), true, 'filters: they are removed');
SELECT pg_advisory_unlock(31) AS unlocked \gset
CALL tap_wait_until($$ SELECT t_unfinished('rec') = '{}' $$);
SELECT is(t_unfinished('rec'), '{}'::bigint[], 'filters: the last job of the recurring one ends');

----------------------------------------------------------------------------------------------------
-- The end
----------------------------------------------------------------------------------------------------

SELECT is((SELECT count(*) FROM bgjob_internal.unique_key), 0::bigint, 'no key is left');
SELECT is((SELECT count(*) FROM bgjob_internal.awaiting), 0::bigint, 'no job awaits anything');

\ir lib/check_counters.sql
SELECT * FROM finish();

ALTER SYSTEM RESET bgjob.workers;
SELECT pg_reload_conf() AS reloaded \gset
SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap31_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap31_' \gexec
