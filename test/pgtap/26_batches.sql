-- 26_batches.sql
--
-- What this file proves about batches (doc/manual.md):
--   * filled in the transaction that creates them, later, from inside their own jobs; empty; reopened; nested; rolled back;
--   * continued by a job, by the jobs of another batch, with each condition; a job that would await itself is refused;
--   * cancelled, with jobs in each state; retried: failed, unsuccessful, all, with what awaited them, and nested ones;
--   * unique_key, parameters; bgjob_current_batch(); the figures of bgjob.batches at each step; bgjob_why();
--   * rights, and wrong values; retention spares what is needed, and removes it afterwards.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser. It changes settings with ALTER SYSTEM and resets them at
-- its end: do not run it beside other files.

\ir lib/session.sql

-- Set before CREATE EXTENSION, so that the scheduler of the database starts with it.
ALTER SYSTEM SET bgjob.workers = 3;
SELECT pg_reload_conf() AS reloaded \gset

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap26_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap26_' \gexec
CREATE ROLE tap26_a LOGIN;
CREATE ROLE tap26_b LOGIN;
GRANT USAGE ON SCHEMA bgjob TO tap26_a, tap26_b;

----------------------------------------------------------------------------------------------------
-- Helpers, and what the jobs of this file call
----------------------------------------------------------------------------------------------------

\ir lib/wait.sql
\ir lib/states.sql
\ir lib/errors.sql

-- Ends as it is told.
CREATE FUNCTION t_end(how text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	IF how = 'failed' THEN RAISE EXCEPTION 'told to fail'; END IF;
	IF how = 'deleted' THEN PERFORM bgjob_discard('told to'); END IF;
	RETURN how;
END $$;
-- Ends as the table says at that time.
CREATE TABLE told (how text);
INSERT INTO told VALUES ('failed');
CREATE FUNCTION t_told() RETURNS text LANGUAGE sql AS $$ SELECT t_end(how) FROM told $$;
-- Waits until this session releases the lock.
CREATE FUNCTION t_block() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(2026); END $$;
-- Puts so many generations of two jobs each into its batch.
CREATE FUNCTION t_split(n int) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	IF n > 0 THEN
		PERFORM bgjob_enqueue('t_split', jsonb_build_array(n - 1), batch => bgjob_current_batch()) FROM generate_series(1, 2);
	END IF;
	RETURN bgjob_current_batch();
END $$;
CREATE FUNCTION t_batch() RETURNS bigint LANGUAGE sql AS $$ SELECT bgjob_current_batch() $$;
-- A batch: state, total, pending, processing, succeeded, failed, deleted.
CREATE FUNCTION tap_batch(id bigint) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', b.state, b.total, b.pending, b.processing, b.succeeded, b.failed, b.deleted) FROM bgjob.batches b WHERE b.id = $1 $$;
CREATE PROCEDURE tap_batch_is(id bigint, wanted text) LANGUAGE plpgsql AS $$ BEGIN CALL tap_wait_until(format('SELECT tap_batch(%s) = %L', id, wanted)); END $$;
CREATE FUNCTION tap_end(id bigint) RETURNS text LANGUAGE sql AS $$ SELECT bgjob_wait($1, '60 s') $$;
CREATE FUNCTION t_in(how text, batch bigint, queue text = NULL) RETURNS bigint LANGUAGE sql AS
	$$ SELECT bgjob_enqueue('t_end', jsonb_build_array(how), max_retries => 0, batch => batch, queue => queue) $$;

SELECT * FROM no_plan();

CALL tap_wait_setting('bgjob.workers', '3');
SELECT bgjob_queue_pause('held') AS x \gset

----------------------------------------------------------------------------------------------------
-- Filled at once, later, from inside; empty; reopened
----------------------------------------------------------------------------------------------------

BEGIN;
SELECT bgjob_batch('first', parameters => '{"a": 1}') AS b \gset
SELECT is(tap_batch(:b), 'succeeded 0 0 0 0 0 0', 'an empty batch has no jobs');
SELECT count(*) FROM bgjob_enqueue_many('t_end', ARRAY['["ok"]', '["ok"]', '["ok"]']::jsonb[], batch => :b) \g /dev/null
SELECT bgjob_enqueue('t_batch', batch => :b) AS j, bgjob_enqueue('t_batch', after_batch => :b) AS after \gset
SELECT is(tap_batch(:b), 'processing 4 4 0 0 0 0', 'a batch within its transaction');
COMMIT;
SELECT is(tap_end(:after), 'succeeded', 'a job after the batch');
SELECT is(tap_batch(:b), 'succeeded 4 0 0 4 0 0', 'its figures are right when that runs');
SELECT is((SELECT row(description, parent_id, parameters, role::text, unique_key, finished_at >= created_at)::text FROM bgjob.batches WHERE id = :b), '(first,,"{""a"": 1}",postgres,,t)', 'the other columns of bgjob.batches');
SELECT is(ARRAY[bgjob_result(:j), bgjob_result(:after)], ARRAY[to_jsonb(:b), NULL], 'bgjob_current_batch() in a job of the batch, and in one of none');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE batch_id = :b), 4::bigint, 'bgjob.jobs has the batch');
SELECT is((SELECT after_batch FROM bgjob.jobs WHERE id = :after), :b::bigint, 'and what a job is after');

SELECT t_in('ok', :b, 'held') AS j, bgjob_enqueue('t_batch', after_batch => :b) AS after \gset
SELECT is(tap_batch(:b), 'processing 5 1 0 4 0 0', 'another job opens it again');
SELECT is((SELECT finished_at FROM bgjob.batches WHERE id = :b), NULL, 'it has not finished');
SELECT is(tap_state(:after), 'awaiting', 'and is awaited');
SELECT is((SELECT reason || (detail ~ :'b') FROM bgjob_why(:after)), 'awaitingtrue', 'bgjob_why() names the batch');
SELECT bgjob_run(:j) \g /dev/null
SELECT is(tap_end(:after), 'succeeded', 'until it has finished');
SELECT is(bgjob_requeue(:j), true, 'a job of it is requeued');
SELECT is(tap_batch(:b), 'processing 5 1 0 4 0 0', 'which opens it, and counts nothing twice');
SELECT bgjob_run(:j) \g /dev/null
SELECT is(tap_batch(:b), 'succeeded 5 0 0 5 0 0', 'until the job has ended');

SELECT bgjob_batch() AS b \gset
SELECT bgjob_enqueue('t_split', '[5]', batch => :b) AS j \gset
SELECT bgjob_enqueue('t_batch', after_batch => :b) AS after \gset
SELECT is(tap_end(:after), 'succeeded', 'a batch that its jobs fill');
SELECT is(tap_batch(:b), 'succeeded 63 0 0 63 0 0', 'ends after the last of them');

SELECT bgjob_batch() AS empty \gset
SELECT bgjob_enqueue('t_batch', after_batch => :empty) AS after, bgjob_enqueue('t_batch', after_batch => :empty, condition => 'failed') AS never \gset
SELECT is(ARRAY[tap_end(:after), tap_end(:never)], '{succeeded,deleted}', 'an empty batch has succeeded');
SELECT is((SELECT reason FROM bgjob.jobs WHERE id = :never), 'Cannot run: batch ' || :empty || ' succeeded', 'the reason names it');
BEGIN;
SELECT bgjob_batch() AS empty \gset
SELECT bgjob_enqueue('t_batch', after_batch => :empty) AS after \gset
SELECT is(tap_state(:after), 'awaiting', 'it is unfinished within its transaction');
COMMIT;
SELECT is(tap_end(:after), 'succeeded', 'and has succeeded at its commit');
BEGIN;
SELECT bgjob_batch() AS gone \gset
SELECT t_in('ok', :gone), t_in('ok', :b) \g /dev/null
SAVEPOINT s;
SELECT t_in('ok', :b) \g /dev/null
ROLLBACK TO s;
SELECT is(tap_batch(:b), 'processing 64 1 0 63 0 0', 'a savepoint takes a job back');
ROLLBACK;
SELECT is(ARRAY[tap_batch(:gone), tap_batch(:b)], '{NULL,succeeded 63 0 0 63 0 0}', 'a rollback leaves nothing');

----------------------------------------------------------------------------------------------------
-- Nested; conditions; chains of batches
----------------------------------------------------------------------------------------------------

SELECT bgjob_batch('top') AS top \gset
SELECT bgjob_batch('middle', :top) AS middle \gset
SELECT bgjob_batch('leaf', parent => :middle) AS leaf \gset
SELECT t_in('ok', :top, 'held') AS a, t_in('failed', :middle, 'held') AS b, t_in('deleted', :leaf, 'held') AS c \gset
SELECT is((SELECT array_agg(tap_batch(i)) FROM unnest(ARRAY[:top, :middle, :leaf]) i), '{processing 3 3 0 0 0 0,processing 2 2 0 0 0 0,processing 1 1 0 0 0 0}', 'jobs count in each batch above');
CREATE TABLE follower AS SELECT b, c AS condition, bgjob_enqueue('t_batch', after_batch => b, condition => c) AS id
	FROM unnest(ARRAY[:top, :middle, :leaf]) b, unnest('{succeeded,finished,failed,deleted,any}'::text[]) c;
SELECT bgjob_queue_resume('held') AS x \gset
SELECT tap_end(id) FROM follower \g /dev/null
SELECT is((SELECT array_agg(tap_batch(i)) FROM unnest(ARRAY[:top, :middle, :leaf]) i), '{failed 3 0 0 1 1 1,failed 2 0 0 0 1 1,deleted 1 0 0 0 0 1}', 'state and figures of nested batches');
SELECT is((SELECT string_agg(CASE b WHEN :top THEN 'top ' WHEN :middle THEN 'middle ' ELSE 'leaf ' END || follower.condition, ',' ORDER BY b, follower.condition) FROM follower JOIN bgjob.jobs USING (id) WHERE jobs.state = 'succeeded'),
	'top failed,top finished,middle failed,middle finished,leaf deleted,leaf finished', 'each condition for a batch that has failed, or was deleted');
SELECT bgjob_queue_pause('held') AS x \gset

BEGIN;
SELECT bgjob_batch() AS one, bgjob_batch() AS two, bgjob_batch() AS three \gset
SELECT count(*) FROM bgjob_enqueue_many('t_end', array_fill('["ok"]'::jsonb, '{20}'), batch => :one) \g /dev/null
SELECT count(*) FROM bgjob_enqueue_many('t_end', array_fill('["ok"]'::jsonb, '{20}'), batch => :two, after_batch => :one) \g /dev/null
SELECT array_agg(id) AS last FROM bgjob_enqueue_many('t_end', array_fill('["ok"]'::jsonb, '{20}'), batch => :three, after_batch => :two) AS id \gset
COMMIT;
SELECT bgjob_enqueue('t_batch', after_batch => :three) AS after \gset
SELECT is(tap_end(:after), 'succeeded', 'a chain of batches ends');
SELECT is((SELECT min(started_at) FROM bgjob.jobs WHERE batch_id = :two) >= (SELECT max(finished_at) FROM bgjob.jobs WHERE batch_id = :one), true, 'in order');
SELECT is((SELECT array_agg(tap_batch(i)) FROM unnest(ARRAY[:one, :two, :three]) i), '{succeeded 20 0 0 20 0 0,succeeded 20 0 0 20 0 0,succeeded 20 0 0 20 0 0}', 'each has all its jobs');

-- Who would await itself.
SELECT bgjob_batch() AS a, bgjob_batch() AS b \gset
SELECT bgjob_batch(parent => :a) AS a_in \gset
SELECT is(tap_try(format('SELECT bgjob_enqueue(%L, batch => %s, after_batch => %s)', 't_batch', :a, :a)), 'ERROR 22023', 'a job after its own batch');
SELECT is(tap_try(format('SELECT bgjob_enqueue(%L, batch => %s, after_batch => %s)', 't_batch', :a_in, :a)), 'ERROR 22023', 'or after one above it');
SELECT bgjob_enqueue('t_batch', batch => :a, after_batch => :b, after_signal => '{circle}') AS j \gset
SELECT is(tap_try(format('SELECT bgjob_enqueue(%L, batch => %s, after_batch => %s)', 't_batch', :b, :a)), 'ERROR 22023', 'a circle over two batches');
SELECT is(tap_try(format('SELECT bgjob_enqueue(%L, batch => %s, after => ARRAY[%s])', 't_batch', :b, :j)), 'ERROR 22023', 'over a job');
SELECT is(tap_try(format('SELECT bgjob_batch(parent => %s)', :j)), 'ERROR 22023', 'the id of a job is no batch');
SELECT bgjob_signal('circle') AS x \gset
SELECT is(tap_end(:j), 'succeeded', 'the job that has closed no circle runs');

----------------------------------------------------------------------------------------------------
-- Cancel and retry
----------------------------------------------------------------------------------------------------

SELECT bgjob_batch() AS b \gset
SELECT bgjob_batch(parent => :b) AS sub \gset
SELECT pg_advisory_lock(2026) AS x \gset
SELECT bgjob_enqueue('t_block', batch => :sub) AS runs, t_in('ok', :b) AS done, t_in('failed', :b) AS bad, t_in('ok', :sub, 'held') AS waits \gset
SELECT bgjob_enqueue('t_batch', batch => :b, delay => '1 h') AS later, bgjob_enqueue('t_batch', batch => :b, after => ARRAY[:waits]) AS awaits,
	bgjob_enqueue('t_batch', after_batch => :b, condition => 'finished') AS report, bgjob_enqueue('t_batch', after_batch => :sub) AS never \gset
CALL tap_held(2026);
CALL tap_batch_is(:b, 'processing 6 3 1 1 1 0');
SELECT is(tap_batch(:b), 'processing 6 3 1 1 1 0', 'a batch with jobs in each state');
SELECT is(bgjob_batch_cancel(:b), 4::bigint, 'bgjob_batch_cancel() returns the number of unfinished ones');
SELECT is(tap_end(:runs), 'deleted', 'the running one is interrupted');
SELECT is(tap_end(:report), 'succeeded', 'what awaits the end of the batch runs');
SELECT is(tap_end(:never), 'deleted', 'what awaits its success does not');
SELECT is((SELECT array_agg(tap_batch(i)) FROM unnest(ARRAY[:b, :sub]) i), '{failed 6 0 0 1 1 4,deleted 2 0 0 0 0 2}', 'its figures');
SELECT is(bgjob_batch_cancel(:b), 0::bigint, 'a second time, there is nothing to cancel');
SELECT pg_advisory_unlock(2026) AS x \gset

-- failed: with what could not run because of it.
SELECT bgjob_batch('retried') AS b \gset
SELECT bgjob_batch(parent => :b) AS sub \gset
SELECT bgjob_enqueue('t_told', batch => :sub, max_retries => 0) AS bad, t_in('ok', :sub) AS good, t_in('deleted', :sub) AS gone \gset
SELECT bgjob_enqueue('t_batch', batch => :b, after => ARRAY[:bad]) AS child \gset
SELECT bgjob_enqueue('t_batch', after => ARRAY[:child]) AS outside, bgjob_enqueue('t_batch', after_batch => :b, condition => 'succeeded') AS next, bgjob_enqueue('t_batch', after_batch => :b, condition => 'failed') AS alarm \gset
SELECT is(ARRAY[tap_end(:outside), tap_end(:next), tap_end(:alarm)], '{deleted,deleted,succeeded}', 'a batch that has failed');
SELECT is(tap_batch(:b), 'failed 4 0 0 1 1 2', 'its figures');
UPDATE told SET how = 'ok';
BEGIN;
SELECT bgjob_batch_retry(:b) AS n \gset
SELECT is(tap_batch(:b), 'processing 4 2 0 1 0 1', 'after a retry, what has failed and what it held up is pending');
ROLLBACK;
SELECT is(tap_batch(:b), 'failed 4 0 0 1 1 2', 'a rollback takes it back');
SELECT is(bgjob_batch_retry(:b), 4::bigint, 'it counts the failed one, and those that could not run because of it: in the batch, beside it, after it');
SELECT is(ARRAY[tap_end(:bad), tap_end(:child), tap_end(:outside)], '{succeeded,succeeded,succeeded}', 'they run');
SELECT is(tap_batch(:b), 'deleted 4 0 0 3 0 1', 'the batch has one that was deleted');
SELECT is(tap_end(:next), 'deleted', 'so what awaits its success is deleted again');
SELECT is(bgjob_batch_retry(:b), 0::bigint, 'nothing has failed any more');
SELECT is((SELECT count(*) FROM bgjob.job_states WHERE job_id = :alarm AND state = 'processing'), 1::bigint, 'what has run after the batch does not run again');

-- unsuccessful, all
UPDATE told SET how = 'failed';
SELECT bgjob_batch() AS b \gset
SELECT bgjob_enqueue('t_told', batch => :b, max_retries => 0) AS bad, t_in('ok', :b) AS good, t_in('ok', :b, 'held') AS gone \gset
SELECT bgjob_enqueue('t_batch', batch => :b, after => ARRAY[:gone]) AS child, bgjob_enqueue('t_batch', after_batch => :b) AS next \gset
SELECT is(bgjob_delete(:gone), true, 'one job is deleted');
SELECT is(tap_end(:next), 'deleted', 'a batch with one failed, two deleted');
SELECT is(tap_batch(:b), 'failed 4 0 0 1 1 2', 'its figures');
UPDATE told SET how = 'ok';
SELECT bgjob_queue_resume('held') AS x \gset
SELECT is(bgjob_batch_retry(:b, 'unsuccessful'), 4::bigint, 'unsuccessful: those that have failed or were deleted, and what awaits them');
SELECT is(tap_end(:next), 'succeeded', 'what awaits the batch runs now');
SELECT is(tap_batch(:b), 'succeeded 4 0 0 4 0 0', 'all have succeeded');
SELECT is(bgjob_batch_retry(:b, 'unsuccessful'), 0::bigint, 'none is left');
SELECT is(bgjob_batch_retry(:b, 'all'), 4::bigint, 'all: those that have succeeded, too');
CALL tap_batch_is(:b, 'succeeded 4 0 0 4 0 0');
SELECT is(tap_batch(:b), 'succeeded 4 0 0 4 0 0', 'they have run again, and are counted once');
SELECT is((SELECT array_agg(DISTINCT n) FROM (SELECT count(*) AS n FROM bgjob.job_states s JOIN bgjob.jobs j ON j.id = s.job_id WHERE j.batch_id = :b AND j.id IN (:bad, :good) AND s.state = 'succeeded' GROUP BY j.id) s), '{2}', 'each has succeeded twice');

----------------------------------------------------------------------------------------------------
-- unique_key, rights, wrong values
----------------------------------------------------------------------------------------------------

BEGIN;
SELECT bgjob_batch('nightly', unique_key => 'night') AS b \gset
SELECT is(bgjob_batch(unique_key => 'night'), :b::bigint, 'the same transaction gets the batch with the key');
SELECT bgjob_enqueue('t_batch', batch => :b, after_signal => '{morning}') AS j \gset
COMMIT;
SELECT is(bgjob_batch('another', unique_key => 'night'), :b::bigint, 'so does a later one while it is unfinished');
SELECT is((SELECT description || unique_key FROM bgjob.batches WHERE id = :b), 'nightlynight', 'and it stays as it is');
SET ROLE tap26_a;
SELECT isnt(bgjob_batch(unique_key => 'night'), :b::bigint, 'another role gets another one');
RESET ROLE;
SELECT bgjob_signal('morning') AS x \gset
CALL tap_batch_is(:b, 'succeeded 1 0 0 1 0 0');
SELECT isnt(bgjob_batch(unique_key => 'night'), :b::bigint, 'when it has finished, there is a new one');

SELECT bgjob_batch() AS root \gset
SET ROLE tap26_a;
SELECT bgjob_batch() AS own \gset
SELECT bgjob_enqueue('SELECT 1', kind => 'sql', batch => :own) AS j \gset
SELECT is(tap_try(call), 'ERROR 42501', call) FROM unnest(ARRAY[format('SELECT bgjob_batch(parent => %s)', :root), format('SELECT bgjob_batch_cancel(%s)', :root), format('SELECT bgjob_batch_retry(%s)', :root),
	format($$SELECT bgjob_enqueue('SELECT 1', kind => 'sql', batch => %s)$$, :root), format($$SELECT bgjob_enqueue('SELECT 1', kind => 'sql', after_batch => %s)$$, :root)]) AS call;
SELECT is((SELECT count(*) FROM bgjob.batches WHERE id = :root), 0::bigint, 'a batch of another role is not seen');
RESET ROLE;
SELECT is((SELECT count(*) FROM bgjob.batches WHERE id IN (:root, :own)), 2::bigint, 'an administrator sees all');

SELECT is(tap_try(call), 'ERROR ' || code, call) FROM (VALUES
	('SELECT bgjob_batch(parent => 0)', '22023'), ('SELECT bgjob_batch(parent => -1)', '22023'), ($$SELECT bgjob_batch(parameters => '[]')$$, '22023'), ($$SELECT bgjob_batch(parameters => '1')$$, '22023'),
	($$SELECT bgjob_batch(unique_key => '')$$, '22023'), ($$SELECT bgjob_batch(unique_key => repeat('x', 1001))$$, '22023'), ($$SELECT bgjob_batch(unique_key => repeat('x', 10240))$$, '22023'),
	('SELECT bgjob_batch_cancel(0)', '22023'), ('SELECT bgjob_batch_retry(0)', '22023'), ('SELECT bgjob_batch_retry(9223372036854775807)', '22023'),
	(format($$SELECT bgjob_batch_retry(%s, '')$$, :root), '22023'), (format($$SELECT bgjob_batch_retry(%s, 'Failed')$$, :root), '22023'), (format($$SELECT bgjob_batch_retry(%s, NULL)$$, :root), '22004'),
	('SELECT bgjob_current_batch()', '55000')) AS v (call, code);
SELECT is(ARRAY[bgjob_batch_cancel(NULL), bgjob_batch_retry(NULL)], '{0,0}', 'null is no batch, as with the functions of jobs');
SELECT is(bgjob_batch(parameters => '{}', unique_key => repeat('ä', 500)) > 0, true, 'a key of 1000 bytes');

----------------------------------------------------------------------------------------------------
-- A batch that runs again keeps its order
----------------------------------------------------------------------------------------------------

SELECT bgjob_batch() AS b \gset
SELECT bgjob_enqueue('SELECT 1', batch => :b) AS x \gset
SELECT bgjob_enqueue('SELECT 2', batch => :b, after => ARRAY[:x]) AS y \gset
SELECT bgjob_enqueue('SELECT 3', batch => :b, after => ARRAY[:y]) AS z \gset
SELECT is(tap_end(:z), 'succeeded', 'a chain in a batch');
SELECT bgjob_queue_pause('default') AS paused \gset
SELECT is(bgjob_batch_retry(:b, 'all'), 3::bigint, 'all of it runs again');
SELECT is(ARRAY(SELECT state FROM bgjob.jobs WHERE id IN (:x, :y, :z) ORDER BY id), '{enqueued,awaiting,awaiting}', 'each job awaits the one before it');
SELECT bgjob_queue_resume('default') AS resumed \gset
SELECT is(tap_end(:z), 'succeeded', 'and runs after it');
SELECT ok((SELECT min(started_at) FROM bgjob.jobs WHERE id = :y) >= (SELECT finished_at FROM bgjob.jobs WHERE id = :x), 'not before its end');

----------------------------------------------------------------------------------------------------
-- A revived job that would await itself
----------------------------------------------------------------------------------------------------

-- W awaits batch B; M in B awaits R, while that is deleted because its culprit failed; R awaits W. R is in no batch, and awaits none.
SELECT bgjob_batch() AS b, bgjob_batch() AS f \gset
SELECT bgjob_enqueue('SELECT 1', delay => '1 h') AS open, bgjob_enqueue('SELECT 1', delay => '1 h', batch => :b) AS member \gset
SELECT bgjob_enqueue('SELECT 1/0', max_retries => 0, batch => :f) AS culprit \gset
SELECT is(bgjob_wait(:culprit, '20 s'), 'failed', 'a job of another batch fails');
SELECT bgjob_enqueue('SELECT 1', after_batch => :b, condition => 'finished') AS w \gset
SELECT bgjob_enqueue('SELECT 1', after => ARRAY[:w, :culprit]) AS r \gset
SELECT bgjob_enqueue('SELECT 1', after => ARRAY[:r, :open], batch => :b, condition => 'finished') AS m \gset
SELECT bgjob_batch_retry(:f) AS retried, bgjob_delete(:open) AS x, bgjob_delete(:member) AS y \gset
SELECT is(tap_end(:m), 'succeeded', 'what awaited the revived job runs');
SELECT is(tap_end(:w), 'succeeded', 'so the batch ends, and what awaited that runs');
SELECT is((SELECT reason FROM bgjob.jobs WHERE id = :r), 'Cannot run: it would await itself', 'the revived job does not');
SELECT is(bgjob_wait(:culprit, '20 s'), 'failed', 'the culprit has failed again');

----------------------------------------------------------------------------------------------------
-- Retention
----------------------------------------------------------------------------------------------------

SELECT bgjob_batch() AS b, bgjob_batch() AS waits \gset
SELECT t_in('ok', :b) AS p, bgjob_signal('kept', '7') AS x, bgjob_signal('unused') AS y \gset
SELECT is(tap_end(:p), 'succeeded', 'a parent that retention is going to remove');
SELECT bgjob_enqueue('SELECT (bgjob_antecedents())::text', kind => 'sql', after => ARRAY[:p], after_batch => :b, after_signal => '{kept,now}') AS child \gset
ALTER SYSTEM SET bgjob.retention = '1s';
SELECT pg_reload_conf() AS reloaded \gset
CALL tap_wait_until($$ SELECT NOT EXISTS (SELECT FROM bgjob.signals WHERE name = 'unused') $$);
SELECT is((SELECT count(*) FROM bgjob.signals WHERE name = 'unused'), 0::bigint, 'a signal that nobody awaits is removed');
SELECT is(ARRAY[(SELECT count(*) FROM bgjob.signals WHERE name = 'kept'), (SELECT count(*) FROM bgjob.batches WHERE id = :b)], '{1,1}', 'what an unfinished job awaits is kept');
SELECT bgjob_signal('now') AS x \gset
SELECT is(tap_end(:child), 'succeeded', 'so it runs');
CALL tap_wait_until(format('SELECT NOT EXISTS (SELECT FROM bgjob.signals) AND NOT EXISTS (SELECT FROM bgjob.batches WHERE id = %s) AND NOT EXISTS (SELECT FROM bgjob.jobs WHERE id IN (%s, %s))', :b, :p, :child));
SELECT is(ARRAY[(SELECT count(*) FROM bgjob.signals), (SELECT count(*) FROM bgjob.batches WHERE id = :b), (SELECT count(*) FROM bgjob.jobs WHERE id IN (:p, :child))], '{0,0,0}', 'and afterwards they are removed');

CALL tap_idle();
\ir lib/check_counters.sql
SELECT * FROM finish();

ALTER SYSTEM RESET bgjob.workers;
ALTER SYSTEM RESET bgjob.retention;
SELECT pg_reload_conf() AS reloaded \gset
