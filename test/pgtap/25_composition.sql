-- 25_composition.sql
--
-- What this file proves about continuations and signals (doc/manual.md):
--   * each condition for each end of a parent, which has ended before the call, or ends after it; two parents of each end;
--   * chains, diamonds, parents of the same transaction; the reason names the first culprit, over any number of jobs;
--   * bgjob_enqueue_many() and bgjob_enqueue_trigger(); delay, run_at, start_within, await_timeout, unique_key;
--   * delete, requeue, reschedule, change, run and purge of parents and children, in each state;
--   * bgjob_antecedents(): results of 10 kB and 10 MB, of a thousand parents, of signals;
--   * signals before and after the job, with a payload, twice, of other roles, removed; bgjob.signals;
--   * wrong values; where the options do not exist.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser. It changes settings with ALTER SYSTEM and resets them at
-- its end: do not run it beside other files.

\ir lib/session.sql

-- Set before CREATE EXTENSION, so that the scheduler of the database starts with it.
ALTER SYSTEM SET bgjob.workers = 2;
SELECT pg_reload_conf() AS reloaded \gset

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap25_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap25_' \gexec
CREATE ROLE tap25_a LOGIN;
CREATE ROLE tap25_b LOGIN;
CREATE ROLE tap25_both LOGIN IN ROLE tap25_a, tap25_b;
GRANT USAGE ON SCHEMA bgjob TO tap25_a, tap25_b, tap25_both;

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
CREATE FUNCTION t_big(n int) RETURNS text LANGUAGE sql AS $$ SELECT repeat('x', n) $$;
CREATE FUNCTION t_seen() RETURNS jsonb LANGUAGE sql AS $$ SELECT bgjob_antecedents() $$;
-- How many jobs it has awaited, and the length of their results.
CREATE FUNCTION t_measure() RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_array(count(*), sum(length(value ->> 'result'))) FROM jsonb_each(bgjob_antecedents()) $$;
-- Waits until this session releases the lock.
CREATE FUNCTION t_block() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(2025); END $$;
-- State and reason of a job.
CREATE FUNCTION tap_is(id bigint) RETURNS text LANGUAGE sql AS $$ SELECT concat_ws(': ', j.state, j.reason) FROM bgjob.jobs j WHERE j.id = $1 $$;
-- The state in which a wait for the job ends.
CREATE FUNCTION tap_end(id bigint) RETURNS text LANGUAGE sql AS $$ SELECT bgjob_wait($1, '60 s') $$;
-- A job that fails for good; deleted; succeeded.
CREATE FUNCTION t_ended(how text, queue text = NULL) RETURNS bigint LANGUAGE sql AS $$ SELECT bgjob_enqueue('t_end', jsonb_build_array(how), max_retries => 0, queue => queue) $$;

SELECT * FROM no_plan();

CALL tap_wait_setting('bgjob.workers', '2');
SELECT bgjob_queue_pause('hold') AS x \gset

----------------------------------------------------------------------------------------------------
-- Conditions
----------------------------------------------------------------------------------------------------

CREATE TABLE ends (how text, condition text, runs boolean);
INSERT INTO ends VALUES
	('succeeded', 'succeeded', true), ('succeeded', 'finished', true), ('succeeded', 'failed', false), ('succeeded', 'deleted', false), ('succeeded', 'any', true),
	('failed', 'succeeded', false), ('failed', 'finished', true), ('failed', 'failed', true), ('failed', 'deleted', false), ('failed', 'any', false),
	('deleted', 'succeeded', false), ('deleted', 'finished', true), ('deleted', 'failed', false), ('deleted', 'deleted', true), ('deleted', 'any', false);

-- The parents of "early" have ended when their children are enqueued; those of "late" wait in a paused queue.
CREATE TABLE parent AS SELECT how, late, t_ended(how, CASE WHEN late THEN 'hold' END) AS id
	FROM (VALUES ('succeeded'), ('failed'), ('deleted')) AS h (how), (VALUES (false), (true)) AS l (late);
CALL tap_wait_until('SELECT bool_and(bgjob.jobs.state = how) FROM bgjob.jobs JOIN parent USING (id) WHERE NOT late');
CREATE TABLE child AS SELECT how, condition, runs, late, parent.id AS parent, bgjob_enqueue('t_end', '["ran"]', after => ARRAY[parent.id], condition => condition) AS id
	FROM ends JOIN parent USING (how);
SELECT is((SELECT count(*) FROM bgjob.jobs JOIN child USING (id) WHERE late AND state = 'awaiting' AND after = ARRAY[child.parent]), 15::bigint, 'children of parents that have not ended are awaiting; bgjob.jobs has the parents');
SELECT is((SELECT awaiting FROM bgjob.stats), 15::bigint, 'bgjob.stats counts them');
SELECT is((SELECT count(*) FROM bgjob_list(state => 'awaiting')), 15::bigint, 'and bgjob_list() has them');
SELECT is((SELECT count(*) FROM child, bgjob_why(child.id) AS w WHERE late AND w.reason = 'awaiting' AND w.detail LIKE '%' || child.parent || '%' AND w.until IS NULL), 15::bigint, 'bgjob_why() names the parent');
SELECT bgjob_queue_resume('hold') AS x \gset
SELECT tap_end(id) FROM child \g /dev/null
SELECT is((SELECT string_agg(DISTINCT concat_ws(' ', how, child.condition, late, state), ', ') FROM bgjob.jobs JOIN child USING (id) WHERE (state = 'succeeded') <> runs OR state NOT IN ('succeeded', 'deleted')),
	NULL, 'each condition for each end of a parent, before the call and after it');
SELECT is((SELECT string_agg(reason, ', ') FROM bgjob.jobs JOIN child USING (id) WHERE NOT runs AND reason <> format('Cannot run: job %s %s', child.parent, CASE how WHEN 'deleted' THEN 'was deleted' WHEN 'failed' THEN 'failed' ELSE 'succeeded' END)),
	NULL, 'the reason names the parent and its end');
SELECT is((SELECT count(*) FROM bgjob.job_states s JOIN child ON s.job_id = child.id WHERE runs AND s.state = 'processing'), 14::bigint, 'each child that may run has started once');
SELECT is((SELECT count(*) FROM bgjob.job_states s JOIN child ON s.job_id = child.id WHERE NOT runs AND s.state = 'processing'), 0::bigint, 'no other has started');

-- Two parents: both ends of each pair, which have ended, and one that ends later.
CREATE TABLE pair AS SELECT a.how AS one, b.how AS two, condition, b.late, bgjob_enqueue('t_end', '["ran"]', after => ARRAY[a.id, b.id], condition => condition) AS id,
		CASE condition WHEN 'any' THEN 'succeeded' IN (a.how, b.how) WHEN 'finished' THEN true ELSE condition = a.how AND condition = b.how END AS runs
	FROM parent a, (SELECT how, late, CASE WHEN late THEN t_ended(how, 'hold2') ELSE id END AS id FROM parent OFFSET 0) AS b, (SELECT DISTINCT condition FROM ends) AS c WHERE NOT a.late;
SELECT tap_end(id) FROM pair \g /dev/null
SELECT is((SELECT string_agg(concat_ws(' ', one, two, pair.condition, late, state), ', ') FROM bgjob.jobs JOIN pair USING (id) WHERE state <> CASE WHEN runs THEN 'succeeded' ELSE 'deleted' END),
	NULL, 'each condition for each two ends');
SELECT is((SELECT string_agg(DISTINCT reason, ', ') FROM bgjob.jobs JOIN pair USING (id) WHERE NOT runs AND one <> two AND pair.condition = 'any'), 'Cannot run: none of the jobs that it awaits has succeeded', 'with "any" and several parents, the reason is that none has succeeded');

-- 'any' does not wait for the others; a hopeless one does not, either.
SELECT t_ended('succeeded', 'held') AS held, bgjob_queue_pause('held') AS x, t_ended('succeeded') AS good, t_ended('failed') AS bad \gset
SELECT bgjob_enqueue('t_end', '["ran"]', after => ARRAY[:good, :held]::bigint[], condition => 'any') AS any, bgjob_enqueue('t_end', '["ran"]', after => ARRAY[:bad, :held]::bigint[]) AS hopeless \gset
SELECT is(ARRAY[tap_end(:any), tap_end(:hopeless)], '{succeeded,deleted}', 'what is decided does not wait for other parents');
SELECT is(tap_is(:hopeless), 'deleted: Cannot run: job ' || :bad || ' failed', 'the culprit is the one that failed');
SELECT bgjob_enqueue('t_end', '["ran"]', after => '{}', condition => 'failed') AS none, bgjob_enqueue('t_end', '["ran"]', after_signal => '{}') AS nosignal, bgjob_enqueue('t_end', '["ran"]', after => ARRAY[:good, :good]::bigint[]) AS twice \gset
SELECT is(ARRAY[tap_end(:none), tap_end(:nosignal), tap_end(:twice)], '{succeeded,succeeded,succeeded}', 'an empty array awaits nothing, whatever the condition; a parent may be named twice');

----------------------------------------------------------------------------------------------------
-- Shapes
----------------------------------------------------------------------------------------------------

-- A chain of one transaction, whose first job fails.
CREATE TABLE chain (n int, id bigint);
DO $$
DECLARE
	last bigint := t_ended('failed');
BEGIN
	FOR n IN 0 .. 200 LOOP
		INSERT INTO chain VALUES (n, last);
		last := bgjob_enqueue('t_end', '["ran"]', after => ARRAY[last]);
	END LOOP;
	INSERT INTO chain VALUES (201, last);
END $$;
SELECT is(tap_end((SELECT id FROM chain WHERE n = 201)), 'deleted', 'the end of a chain ends with its beginning');
SELECT is((SELECT array_agg(DISTINCT reason) FROM bgjob.jobs JOIN chain USING (id) WHERE n > 0), ARRAY['Cannot run: job ' || (SELECT id FROM chain WHERE n = 0) || ' failed'], 'the reason of each job of a chain is the first culprit');
SELECT bgjob_enqueue('t_end', '["ran"]', after => ARRAY[id]) AS late FROM chain WHERE n = 201 \gset
SELECT is(tap_is(:late), 'deleted: Cannot run: job ' || (SELECT id FROM chain WHERE n = 0) || ' failed', 'so is that of a job that is enqueued later');

-- A chain in order, a diamond, fan-out and fan-in.
CREATE TABLE ran (n serial, label text);
CREATE FUNCTION t_run(label text) RETURNS text LANGUAGE sql AS $$ INSERT INTO ran (label) VALUES (label) RETURNING label $$;
BEGIN;
SELECT bgjob_enqueue('t_run', '["a"]') AS a \gset
SELECT bgjob_enqueue('t_run', '["b"]', after => ARRAY[:a]) AS b, bgjob_enqueue('t_run', '["c"]', after => ARRAY[:a]) AS c \gset
SELECT bgjob_enqueue('t_run', '["d"]', after => ARRAY[:b, :c]) AS d, bgjob_enqueue('t_run', '["never"]', after => ARRAY[:a], condition => 'failed') AS never \gset
SELECT bgjob_enqueue('t_run', '["e"]', after => ARRAY[:d, :a]) AS e \gset
COMMIT;
SELECT is(tap_end(:e), 'succeeded', 'a diamond ends');
SELECT matches((SELECT string_agg(label, '' ORDER BY n) FROM ran), '^a(bc|cb)de$', 'in order');
SELECT is(tap_end(:never), 'deleted', 'a job after the failure of what succeeds is deleted');
SELECT array_agg(id) AS fan FROM bgjob_enqueue_many('t_run', (SELECT array_agg('["x"]'::jsonb) FROM generate_series(1, 500)), after => ARRAY[bgjob_enqueue('t_run', '["first"]')]) AS id \gset
SELECT bgjob_enqueue('t_measure', after => :'fan') AS collect \gset
SELECT is(tap_end(:collect), 'succeeded', 'a job after 500 jobs after one');
SELECT is(bgjob_result(:collect), '[500, 500]', 'has the results of all');

-- A parent that fails, and succeeds later, has not ended.
CREATE SEQUENCE tries;
CREATE FUNCTION t_second() RETURNS void LANGUAGE plpgsql AS $$ BEGIN IF nextval('tries') = 1 THEN RAISE EXCEPTION 'first'; END IF; END $$;
SELECT bgjob_enqueue('t_second', max_retries => 1, retry_delays => '{1 h}') AS twice \gset
SELECT bgjob_enqueue('t_end', '["ran"]', after => ARRAY[:twice]) AS good, bgjob_enqueue('t_end', '["ran"]', after => ARRAY[:twice], condition => 'failed') AS bad \gset
CALL tap_state_is(:twice, 'scheduled');
SELECT is(ARRAY[tap_state(:good), tap_state(:bad)], '{awaiting,awaiting}', 'a failure with a retry left is no end');
SELECT bgjob_reschedule(:twice, delay => '0') AS x \gset
SELECT is(ARRAY[tap_end(:good), tap_end(:bad)], '{succeeded,deleted}', 'the last attempt is');

-- A rollback.
SELECT t_ended('succeeded') AS p \gset
BEGIN;
SELECT bgjob_enqueue('t_run', '["rolled back"]', after => ARRAY[:p]) AS gone, bgjob_enqueue('t_run', '["rolled back"]', after_signal => '{gone}') AS x, bgjob_signal('gone') AS y \gset
ROLLBACK;
SELECT is(tap_state(:gone), NULL, 'a rollback leaves nothing');
SELECT is((SELECT count(*) FROM bgjob.signals), 0::bigint, 'no signal, either');

----------------------------------------------------------------------------------------------------
-- Other options
----------------------------------------------------------------------------------------------------

CREATE TABLE source (id int);
CREATE TRIGGER t AFTER INSERT ON source FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('t_end', 'arguments=', 'after_signal={go}');
SELECT is(tap_try('INSERT INTO source VALUES (1) RETURNING id'), 'ERROR 22023', 'a trigger with an unknown option is refused');
DROP TRIGGER t ON source;
CREATE FUNCTION t_row(id int) RETURNS int LANGUAGE sql AS $$ SELECT id $$;
CREATE TRIGGER t AFTER INSERT ON source FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('t_row', 'after_signal={go,on}', 'await_timeout=1 h', 'condition=finished');
SELECT is(tap_try('INSERT INTO source VALUES (1) RETURNING id'), 'ERROR 22023', 'a trigger with a condition and only a signal');
DROP TRIGGER t ON source;
CREATE TRIGGER t AFTER INSERT ON source FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('t_row', 'after_signal={go,on}', 'await_timeout=1 h', 'tags={trigger}');
INSERT INTO source VALUES (7), (8);
DROP TRIGGER t ON source;
SELECT is((SELECT array_agg(after_signal) FROM bgjob.jobs WHERE tags = '{trigger}' AND state = 'awaiting'), '{{go,on},{go,on}}', 'a trigger passes after_signal and await_timeout');
SELECT is(bgjob_signal('go'), 0::bigint, 'one of two signals releases nobody');
SELECT is(bgjob_signal('on'), 2::bigint, 'the second one releases both');
SELECT is((SELECT array_agg(tap_end(id)) FROM bgjob.jobs WHERE tags = '{trigger}'), '{succeeded,succeeded}', 'they run');

SELECT t_ended('succeeded') AS p, bgjob_enqueue('t_end', '["ran"]', after_signal => '{later}', delay => '1 h') AS delayed, bgjob_enqueue('t_end', '["ran"]', after_signal => '{later}', run_at => now() + '2 h'::interval) AS fixed,
	bgjob_enqueue('t_end', '["ran"]', after_signal => '{later}', run_at => '2000-01-01') AS past, bgjob_enqueue('t_end', '["ran"]', after_signal => '{later}', start_within => '1 h') AS within \gset
SELECT is((SELECT array_agg(DISTINCT state) FROM bgjob.jobs WHERE id IN (:delayed, :fixed, :past, :within)), '{awaiting}', 'jobs with a time await');
SELECT clock_timestamp() AS before, bgjob_signal('later') AS n \gset
SELECT is(:n, 4, 'a signal releases them');
SELECT is(ARRAY[tap_state(:delayed), tap_state(:fixed), tap_end(:past), tap_end(:within)], '{scheduled,scheduled,succeeded,succeeded}', 'a later time is kept');
SELECT is((SELECT run_at >= :'before'::timestamptz + '59 min'::interval FROM bgjob.jobs WHERE id = :delayed), true, 'delay counts from the release');
SELECT is((SELECT run_at - created_at BETWEEN '1 h 59 min' AND '2 h' FROM bgjob.jobs WHERE id = :fixed), true, 'run_at is a fixed time');

-- await_timeout
SELECT bgjob_enqueue('t_end', '["ran"]', after_signal => '{too late}', await_timeout => '200 ms') AS signal, bgjob_enqueue('t_end', '["ran"]', after => ARRAY[:held], await_timeout => '200 ms') AS parent,
	bgjob_enqueue('t_end', '["ran"]', after_signal => '{in time}', await_timeout => '1 h') AS intime \gset
SELECT bgjob_enqueue('t_end', '["ran"]', after => ARRAY[:signal]) AS child \gset
SELECT is((SELECT until > now() FROM bgjob_why(:intime)), true, 'bgjob_why() tells until when it awaits');
SELECT is(ARRAY[tap_end(:signal), tap_end(:parent), tap_end(:child)], '{deleted,deleted,deleted}', 'after await_timeout a job is deleted, and so is its child');
SELECT matches(tap_is(:signal), 'Waited too long for.*too late', 'the reason names the signal');
SELECT matches(tap_is(:parent), 'Waited too long for.*' || :held, 'or the parent');
SELECT is(tap_is(:child), 'deleted: Cannot run: job ' || :signal || ' was deleted', 'that of the child is the first culprit');
SELECT is(bgjob_signal('in time'), 1::bigint, 'one that is released in time');
SELECT is(tap_end(:intime), 'succeeded', 'runs');

-- unique_key
SELECT bgjob_enqueue('t_end', '["ran"]', after_signal => '{k}', unique_key => 'k') AS one, bgjob_enqueue('t_end', '["ran"]', after_signal => '{other}', unique_key => 'k') AS two \gset
SELECT is(:one, :two, 'an awaiting job has its unique_key');
SELECT is(tap_try($$ SELECT bgjob_enqueue('t_end', '["ran"]', unique_key => 'k', on_duplicate => 'error') $$), 'ERROR 23505', 'on_duplicate => error');
SELECT is(bgjob_signal('other'), 0::bigint, 'what was skipped awaits nothing');
SELECT is(bgjob_signal('k'), 1::bigint, 'the first one awaits as before');
SELECT is(tap_end(:one), 'succeeded', 'and runs');

----------------------------------------------------------------------------------------------------
-- Control of parents and children
----------------------------------------------------------------------------------------------------

SELECT t_ended('succeeded', 'held') AS p \gset
SELECT bgjob_enqueue('t_end', '["ran"]', after => ARRAY[:p]) AS good, bgjob_enqueue('t_end', '["ran"]', after => ARRAY[:p], condition => 'deleted') AS other \gset
SELECT is(ARRAY[bgjob_reschedule(:p, delay => '1 h'), bgjob_change(:p, priority => 3), bgjob_requeue(:p)], '{t,t,t}', 'a parent is rescheduled, changed, requeued');
SELECT is(ARRAY[tap_state(:good), tap_state(:other)], '{awaiting,awaiting}', 'its children await it');
SELECT is(bgjob_delete(:p), true, 'it is deleted');
SELECT is(ARRAY[tap_end(:good), tap_end(:other)], '{deleted,succeeded}', 'then one child is deleted, and one runs');
SELECT is(bgjob_requeue(:p), true, 'the deleted parent is requeued');
SELECT is(tap_state(:good), 'deleted', 'which revives no child');
SELECT is(bgjob_requeue(:good), true, 'a hopeless child can be requeued');
SELECT is(tap_end(:good), 'succeeded', 'it runs without waiting');

SELECT pg_advisory_lock(2025) AS x \gset
SELECT bgjob_enqueue('t_block') AS p \gset
SELECT bgjob_enqueue('t_end', '["ran"]', after => ARRAY[:p]) AS child \gset
CALL tap_held(2025);
SELECT is(bgjob_requeue(:p), true, 'a running parent is requeued');
SELECT is(tap_state(:child), 'awaiting', 'its child awaits it');
SELECT is(bgjob_delete(:p), true, 'and deleted');
SELECT is(tap_end(:child), 'deleted', 'then the child is deleted');
SELECT pg_advisory_unlock(2025) AS x \gset

-- A parent that has ended and is rescheduled is awaited again.
SELECT t_ended('succeeded') AS p \gset
SELECT is(tap_end(:p), 'succeeded', 'a parent has succeeded');
SELECT bgjob_enqueue('t_end', '["ran"]', after => ARRAY[:p, :held]::bigint[]) AS child, bgjob_enqueue('t_end', '["ran"]', after => ARRAY[:p, :held]::bigint[]) AS child2 \gset
SELECT bgjob_reschedule(:p, delay => '1 h') AS x \gset
SELECT bgjob_run(:held) \g /dev/null
SELECT is(ARRAY[tap_state(:child), (SELECT reason FROM bgjob_why(:child))], '{awaiting,awaiting}', 'one that was rescheduled is awaited again');

-- Awaiting jobs.
SELECT is(bgjob_change(:child, 'other', 7), true, 'an awaiting job is changed');
SELECT is((SELECT queue || priority || state FROM bgjob.jobs WHERE id = :child), 'other7awaiting', 'and awaits');
SELECT is(tap_try(format('SELECT bgjob_run(%s)', :child)), 'ERROR 55000', 'it cannot be run by hand');
SELECT is(ARRAY[bgjob_delete(:child, 'enqueued'), bgjob_requeue(:child, 'scheduled')], '{f,f}', 'from_state of an awaiting job is awaiting');
SELECT is(bgjob_requeue(:child, 'awaiting'), true, 'it is requeued');
SELECT is(tap_end(:child), 'succeeded', 'and runs without waiting');
SELECT is(tap_states(:child), '{awaiting,enqueued,processing,succeeded}', 'its history');
SELECT is(bgjob_reschedule(:child2, delay => '1 h'), true, 'it is rescheduled');
SELECT is(ARRAY[tap_state(:child2), (SELECT reason FROM bgjob_why(:child2))], '{scheduled,scheduled}', 'and does not wait for its parent');
SELECT is(bgjob_delete(:child2), true, 'it is deleted');
SELECT is(bgjob_reschedule(:p, delay => '0'), true, 'its parent goes on');
SELECT is(tap_end(:p), 'succeeded', 'and ends');
SELECT is(tap_state(:child2), 'deleted', 'which releases no deleted child');

-- More parents and signals than are looked at by whoever ends one of them.
SELECT bgjob_queue_pause('many') AS x, t_ended('succeeded') AS p, ARRAY(SELECT 'many ' || i FROM generate_series(1, 20) i) AS names \gset
SELECT is(tap_end(:p), 'succeeded', 'a parent of a job with many parents');
SELECT array_agg(id) AS many FROM bgjob_enqueue_many('t_end', (SELECT array_agg('["ran"]'::jsonb) FROM generate_series(1, 40)), queue => 'many') AS id \gset
SELECT bgjob_enqueue('t_end', '["ran"]', after => :p || :'many'::bigint[]) AS all, bgjob_enqueue('t_end', '["ran"]', after => :'many'::bigint[] || :p::bigint, condition => 'any', after_signal => :'names') AS any,
	bgjob_enqueue('t_end', '["ran"]', after => ARRAY[:p], condition => 'any', after_signal => :'names') AS one,
	bgjob_enqueue('t_end', '["ran"]', after => (:'many'::bigint[])[1:1], condition => 'any', after_signal => :'names') AS late \gset
SELECT is((SELECT sum(bgjob_signal('many ' || i)) FROM generate_series(1, 10) i), 0::numeric, 'ten of twenty signals release nobody');
SELECT bgjob_queue_resume('many') AS x \gset
SELECT is(tap_end(:all), 'succeeded', 'a job after many');
SELECT is((SELECT sum(bgjob_signal('many ' || i)) FROM generate_series(11, 19) i), 0::numeric, 'nor do nine more signals');
SELECT is((SELECT array_agg(state ORDER BY id) FROM bgjob.jobs WHERE id IN (:any, :one, :late)), '{awaiting,awaiting,awaiting}', 'the jobs await the last one, although a parent has succeeded');
SELECT bgjob_signal('many 20') AS x \gset
SELECT is(ARRAY[tap_end(:any), tap_end(:one), tap_end(:late)], '{succeeded,succeeded,succeeded}', 'it releases them');

-- A purge.
SELECT t_ended('succeeded') AS p \gset
SELECT is(tap_end(:p), 'succeeded', 'a parent that is going to be purged');
SELECT bgjob_enqueue('t_seen', after => ARRAY[:p], after_signal => '{purged}') AS child \gset
SELECT bgjob_purge('succeeded') AS x, bgjob_purge('deleted') AS y \gset
SELECT is(tap_state(:p), 'succeeded', 'bgjob_purge() spares what an unfinished job awaits');
SELECT bgjob_signal('purged', '{"by": "Ada"}') AS x \gset
SELECT is(tap_end(:child), 'succeeded', 'the child runs');
SELECT is(bgjob_result(:child), jsonb_build_object(:p, '{"state": "succeeded", "result": "succeeded"}'::jsonb, 'signals', '{"purged": {"by": "Ada"}}'::jsonb), 'and has the result');
SELECT bgjob_purge('succeeded') AS x \gset
SELECT is(tap_state(:p), NULL, 'afterwards it is removed');
SELECT is(tap_try(format('SELECT bgjob_enqueue(%L, after => ARRAY[%s])', 't_seen', :p)), 'ERROR 22023', 'and is unknown');

----------------------------------------------------------------------------------------------------
-- Results of parents, signals
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('t_seen') AS none, t_ended('failed') AS bad, bgjob_enqueue('t_big', '[10240]') AS small, bgjob_enqueue('t_big', '[10485760]') AS big \gset
SELECT bgjob_enqueue('t_measure', after => ARRAY[:small, :big]) AS sizes, bgjob_enqueue('t_seen', after => ARRAY[:none, :bad], condition => 'finished') AS seen \gset
SELECT is(ARRAY[tap_end(:none), tap_end(:sizes), tap_end(:seen)], '{succeeded,succeeded,succeeded}', 'jobs that read what they awaited');
SELECT is(bgjob_result(:none), '{}', 'nothing is an empty object');
SELECT is(bgjob_result(:sizes), '[2, 10496000]', 'results of 10 kB and 10 MB');
SELECT is(bgjob_result(:seen), jsonb_build_object(:none, '{"state": "succeeded", "result": {}}'::jsonb, :bad, '{"state": "failed", "result": null}'::jsonb), 'a parent that has failed has no result');
SELECT is(tap_try('SELECT bgjob_antecedents()'), 'ERROR 55000', 'outside of a job');

SELECT is(ARRAY[bgjob_signal('s1', '1'), bgjob_signal('s1', '2'), bgjob_signal('s2')], '{0,0,0}', 'signals that nobody awaits');
SELECT is((SELECT array_agg(concat_ws(' ', name, role, payload) ORDER BY name) FROM bgjob.signals WHERE name ~ '^s\d'), '{"s1 postgres 2","s2 postgres"}', 'are kept, each with its last payload');
SELECT bgjob_enqueue('t_seen', after_signal => '{s1,s2}') AS kept, bgjob_enqueue('t_seen', after_signal => '{s1,s1,s3}') AS waits \gset
SELECT is(tap_end(:kept), 'succeeded', 'a job that comes later does not wait');
SELECT is(bgjob_result(:kept), '{"signals": {"s1": 2, "s2": null}}', 'and has the payloads');
SELECT is((SELECT detail ~ 's3' FROM bgjob_why(:waits)), true, 'bgjob_why() names the signal that is missing');
SELECT is(ARRAY[bgjob_signal_remove('s2'), bgjob_signal_remove('s2'), bgjob_signal_remove('s3')], '{t,f,f}', 'signals are removed once');
SELECT bgjob_enqueue('t_seen', after_signal => '{s2}') AS removed \gset
SELECT is(tap_state(:removed), 'awaiting', 'a removed one is forgotten');
SELECT is(ARRAY[bgjob_signal('s2', '"again"'), bgjob_signal('s3', '[3]')], '{1,1}', 'it may be sent again');
SELECT is(ARRAY[tap_end(:removed), tap_end(:waits)], '{succeeded,succeeded}', 'which releases');
SELECT is(bgjob_result(:waits), '{"signals": {"s1": 2, "s3": [3]}}', 'a name that is given twice is one');

-- In one transaction; a savepoint; names at their limits.
BEGIN;
SELECT bgjob_enqueue('t_seen', after_signal => '{t1}') AS j \gset
SELECT is(bgjob_signal('t1', '5'), 1::bigint, 'a signal of the same transaction');
SAVEPOINT s;
SELECT bgjob_signal_remove('t1') AS x \gset
ROLLBACK TO s;
COMMIT;
SELECT is(tap_end(:j), 'succeeded', 'releases the job');
SELECT is(bgjob_result(:j), '{"signals": {"t1": 5}}', 'the savepoint has taken the removal back');
SELECT bgjob_enqueue('t_seen', after_signal => ARRAY[repeat('ä', 500), E'a,"\n{}']) AS j \gset
SELECT is(ARRAY[bgjob_signal(repeat('ä', 500)), bgjob_signal(E'a,"\n{}')], '{0,1}', 'a name of 1000 bytes, and one with signs');
SELECT is(tap_end(:j), 'succeeded', 'release a job');

-- By which roles.
SELECT t_ended('succeeded') AS root \gset
SET ROLE tap25_a;
SELECT bgjob_enqueue('t_seen', after_signal => '{r}') AS a, bgjob_enqueue('t_seen', after_signal => '{r2}') AS a2 \gset
SET ROLE tap25_b;
SELECT is(bgjob_signal('r', '"b"'), 0::bigint, 'a signal of another role does not reach a job');
SELECT is((SELECT array_agg(name) FROM bgjob.signals), '{r}', 'a role sees its own signals');
SET ROLE tap25_a;
SELECT is((SELECT count(*) FROM bgjob.signals), 0::bigint, 'and no others');
SELECT is(bgjob_signal_remove('r'), false, 'nor removes others');
SELECT bgjob_enqueue('t_seen', after_signal => '{r}') AS later \gset
SELECT is(tap_state(:later), 'awaiting', 'nor does it reach a job that comes later');
SELECT bgjob_enqueue('t_seen', after => ARRAY[:later]) AS after_later \gset
SELECT is((SELECT array_agg(job_id) FROM bgjob.continuations WHERE awaited_id = :later), ARRAY[:after_later]::bigint[], 'bgjob.continuations shows which job awaits another one');
SET ROLE tap25_b;
SELECT is((SELECT count(*) FROM bgjob.continuations), 0::bigint, 'to those who may see it');
SET ROLE tap25_a;
SELECT is(tap_try(format('SELECT bgjob_enqueue(%L, after => ARRAY[%s])', 't_seen', :root)), 'ERROR 42501', 'the job of another role cannot be continued');
SET ROLE tap25_both;
SELECT is(bgjob_signal('r', '"both"'), 2::bigint, 'a signal of a member does');
RESET ROLE;
SELECT is(bgjob_signal('r2', '"admin"'), 1::bigint, 'that of an administrator, too');
SELECT is(ARRAY[tap_end(:a), tap_end(:a2), tap_end(:after_later)], '{succeeded,succeeded,succeeded}', 'they run');
SELECT is((SELECT count(*) FROM bgjob.continuations WHERE awaited_id = :later), 0::bigint, 'and the job has ended, so it awaits nothing any more');
SELECT is(bgjob_result(:a), '{"signals": {"r": "both"}}', 'with the payload of the signal that has reached them');

----------------------------------------------------------------------------------------------------
-- Wrong values
----------------------------------------------------------------------------------------------------

SELECT t_ended('succeeded') AS good \gset
SELECT is(tap_end(:good), 'succeeded', 'a job that has ended; what contradicts itself is refused all the same');
SELECT is(tap_try(format($$ SELECT bgjob_enqueue('t_seen', %s) $$, replace(call, 'GOOD', :good::text))), 'ERROR ' || code, call) FROM (VALUES
	($$after => '{0}'$$, '22023'), ($$after => '{-1}'$$, '22023'), ($$after => '{9223372036854775807}'$$, '22023'), ($$after => '{GOOD,NULL}'$$, '22004'), ($$after => '{GOOD,9000000000}'$$, '22023'),
	($$after => '{GOOD}', condition => ''$$, '22023'), ($$after => '{GOOD}', condition => 'Succeeded'$$, '22023'), ($$after => '{GOOD}', condition => repeat('x', 10000)$$, '22023'),
	($$condition => 'any'$$, '22023'), ($$after_signal => '{x}', condition => 'failed'$$, '22023'),
	($$after_batch => 0$$, '22023'), ($$after_batch => -5$$, '22023'), ($$batch => 0$$, '22023'), ($$after_signal => '{NULL}'$$, '22004'), ($$after_signal => '{""}'$$, '22023'),
	($$after_signal => ARRAY[repeat('x', 10240)]$$, '22023'), ($$await_timeout => '1 h'$$, '22023'), ($$after => '{GOOD}', await_timeout => '0'$$, '22023'), ($$after => '{GOOD}', await_timeout => '-1 s'$$, '22023'),
	($$after => '{GOOD}', unique_key => 'u', on_duplicate => 'replace'$$, '22023'), ($$after_signal => '{u}', unique_key => 'u', on_duplicate => 'reschedule'$$, '22023')) AS v (call, code);
SELECT is(tap_error($$ SELECT bgjob_signal(NULL) $$), '22004', 'a signal without a name');
SELECT is(tap_error($$ SELECT bgjob_signal('') $$), '22023', 'with an empty name');
SELECT is(tap_error($$ SELECT bgjob_signal(repeat('x', 1001)) $$), '22023', 'with a long name');
SELECT is((SELECT count(*) FROM pg_proc WHERE proname IN ('bgjob_recurring', 'bgjob_configure') AND proargnames && '{after,after_batch,after_signal,condition,await_timeout,batch}'), 0::bigint,
	'recurring jobs and configurations have no such options');
SELECT is((SELECT count(*) FROM pg_proc WHERE proname IN ('bgjob_enqueue', 'bgjob_enqueue_many') AND proargnames @> '{after,after_batch,after_signal,condition,await_timeout,batch}'), 2::bigint, 'what enqueues has them');

SELECT bgjob_delete(id) FROM bgjob.jobs WHERE state IN ('awaiting', 'scheduled', 'enqueued') \g /dev/null
CALL tap_idle();
\ir lib/check_counters.sql
SELECT * FROM finish();

ALTER SYSTEM RESET bgjob.workers;
SELECT pg_reload_conf() AS reloaded \gset
