-- The functions, in the extension's schema. Each checks that its caller has USAGE on schema bgjob.
-- The options of jobs, where a line says so, are those of src/store/optionlist.h (expand.awk).

CREATE FUNCTION @extschema@.bgjob_enqueue(
    job text, args jsonb DEFAULT NULL, kind text DEFAULT NULL,
    @options ENQUEUE condition='succeeded'@)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_enqueue IS 'enqueues a background job; it exists, and runs, when the transaction commits';

CREATE FUNCTION @extschema@.bgjob_enqueue_many(
    job text, args jsonb[], kind text DEFAULT NULL,
    @options ENQUEUE condition='succeeded'@)
    RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_enqueue_many IS 'enqueues one background job for each element of args';

CREATE FUNCTION @extschema@.bgjob_enqueue_trigger()
    RETURNS trigger LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_enqueue_trigger IS 'trigger function: enqueues a background job for each changed row';

CREATE FUNCTION @extschema@.bgjob_delete(id bigint, from_state text DEFAULT NULL, reason text DEFAULT NULL)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_delete IS 'deletes a job; a running job is canceled';

CREATE FUNCTION @extschema@.bgjob_requeue(id bigint, from_state text DEFAULT NULL, reason text DEFAULT NULL)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_requeue IS 'makes a job run now, whatever its state; a running job is canceled first';

CREATE FUNCTION @extschema@.bgjob_reschedule(id bigint, run_at timestamptz DEFAULT NULL, delay interval DEFAULT NULL, from_state text DEFAULT NULL, reason text DEFAULT NULL)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_reschedule IS 'makes a job run at a given time, whatever its state';

CREATE FUNCTION @extschema@.bgjob_change(id bigint, queue text DEFAULT NULL, priority integer DEFAULT NULL)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_change IS 'moves a waiting job to another queue or priority; null: stays as it is';

CREATE FUNCTION @extschema@.bgjob_wait(id bigint, timeout interval DEFAULT NULL)
    RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_wait IS 'waits until a job has succeeded, failed or been deleted, and returns its state; null after the timeout';

CREATE FUNCTION @extschema@.bgjob_result(id bigint)
    RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_result IS 'returns the result of a job that has succeeded';

CREATE FUNCTION @extschema@.bgjob_purge(state text, older_than interval DEFAULT '0')
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_purge IS 'removes jobs that ended in a state longer ago than an interval; returns their number';

CREATE FUNCTION @extschema@.bgjob_current_id()
    RETURNS bigint LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_current_id IS 'returns the id of the job that this session runs; null outside of a job';

CREATE FUNCTION @extschema@.bgjob_progress(percent numeric, message text DEFAULT NULL)
    RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_progress IS 'inside a job: reports its progress, from 0 to 100; other sessions see it at once';

CREATE FUNCTION @extschema@.bgjob_log(message text, level text DEFAULT 'info')
    RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_log IS 'inside a job: adds a line to its log; the line is kept even if the job fails';

CREATE FUNCTION @extschema@.bgjob_cancel_requested()
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_cancel_requested IS 'inside a job: returns whether it has to end, because it was deleted or requeued, has timed out, or is shut down';

CREATE FUNCTION @extschema@.bgjob_parameter(name text)
    RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_parameter IS 'inside a job: returns one of its parameters';

CREATE FUNCTION @extschema@.bgjob_set_parameter(name text, value jsonb)
    RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_set_parameter IS 'inside a job: sets one of its parameters, as a part of its transaction; null removes it';

CREATE FUNCTION @extschema@.bgjob_snooze(delay interval)
    RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_snooze IS 'inside a job: ends the attempt, whose effects are rolled back; it runs again later, with no retry used';

CREATE FUNCTION @extschema@.bgjob_discard(reason text DEFAULT NULL)
    RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_discard IS 'inside a job: ends the attempt, whose effects are rolled back, for good; the job is deleted';

CREATE FUNCTION @extschema@.bgjob_adopt()
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_adopt IS 'makes the waiting jobs of a restored or copied database run here; returns their number';

CREATE FUNCTION @extschema@.bgjob_queue(
    name text, max_running integer DEFAULT NULL, group_size integer DEFAULT NULL, paused boolean DEFAULT NULL, retention interval DEFAULT NULL,
    max_length integer DEFAULT NULL)
    RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_queue IS 'configures a queue: jobs that run and wait, jobs per transaction, pausing, how long finished jobs are kept';

CREATE FUNCTION @extschema@.bgjob_queue_pause(name text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_queue_pause IS 'pauses a queue: starts no more of its jobs; false if it was paused already';

CREATE FUNCTION @extschema@.bgjob_queue_resume(name text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_queue_resume IS 'resumes a queue: starts its jobs again; false if it was not paused';

CREATE FUNCTION @extschema@.bgjob_queue_remove(name text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_queue_remove IS 'removes the configuration of a queue, not its jobs; false if there was none';

CREATE FUNCTION @extschema@.bgjob_configure(
    job text, kind text DEFAULT 'function',
    @options CONFIGURE on_exhausted='fail'@)
    RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_configure IS 'configures a function: defaults for the jobs that call it, and their retries';

CREATE FUNCTION @extschema@.bgjob_unconfigure(job text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_unconfigure IS 'removes the configuration of a function; false if there was none';

-- Functions for the views. A view needs no USAGE on their schema, but its reader needs EXECUTE on them. They show no more than
-- the views do.

CREATE FUNCTION bgjob_internal.may_see(role regrole)
    RETURNS boolean LANGUAGE c STABLE STRICT PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'bgjob_may_see_sql';
COMMENT ON FUNCTION bgjob_internal.may_see IS 'returns whether the current user sees the jobs of a role';

CREATE FUNCTION bgjob_internal.may_see_job(job bigint)
    RETURNS boolean LANGUAGE c STABLE STRICT PARALLEL SAFE COST 100 AS 'MODULE_PATHNAME', 'bgjob_may_see_job';
COMMENT ON FUNCTION bgjob_internal.may_see_job IS 'returns whether the current user sees a job';

CREATE FUNCTION bgjob_internal.job_ids(states text[])
    RETURNS bigint[] LANGUAGE c STABLE STRICT PARALLEL RESTRICTED COST 1000 AS 'MODULE_PATHNAME', 'bgjob_job_ids';
COMMENT ON FUNCTION bgjob_internal.job_ids IS 'returns the ids of the jobs in states that few jobs are in';

-- Cheap, so that a condition on the name is checked before others: they may fail for jobs of other functions.
CREATE FUNCTION bgjob_internal.call_name(call_id bigint)
    RETURNS text LANGUAGE c STABLE STRICT PARALLEL SAFE COST 0.1 AS 'MODULE_PATHNAME', 'bgjob_call_name';
COMMENT ON FUNCTION bgjob_internal.call_name IS 'returns the name of the function that a job calls';

CREATE FUNCTION bgjob_internal.newest_ids(n integer)
    RETURNS bigint[] LANGUAGE c STABLE STRICT PARALLEL RESTRICTED COST 1000 AS 'MODULE_PATHNAME', 'bgjob_newest_ids';
COMMENT ON FUNCTION bgjob_internal.newest_ids IS 'returns the ids of the newest jobs that the current user may see';

CREATE FUNCTION bgjob_internal.in_queue(role regrole, queue text, priority smallint, pos bigint, kind "char")
    RETURNS boolean LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'bgjob_in_queue_sql';
COMMENT ON FUNCTION bgjob_internal.in_queue IS 'returns whether a job is at a position of the queue';

-- Not STRICT: then the planner writes it into the query.
CREATE FUNCTION bgjob_internal.state_name(state "char")
    RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE state WHEN 'e' THEN 'enqueued' WHEN 's' THEN 'scheduled' WHEN 'a' THEN 'awaiting' WHEN 'p' THEN 'processing'
                      WHEN 'k' THEN 'succeeded' WHEN 'f' THEN 'failed' WHEN 'd' THEN 'deleted' END;
COMMENT ON FUNCTION bgjob_internal.state_name IS 'returns the name of a state that the tables store as a letter';

-- Does not subtract timestamps: an infinite time has no difference.
CREATE FUNCTION bgjob_internal.milliseconds(since timestamptz, until timestamptz)
    RETURNS numeric LANGUAGE sql STABLE STRICT PARALLEL SAFE
    RETURN pg_catalog.round((EXTRACT(epoch FROM until) OPERATOR(pg_catalog.-) EXTRACT(epoch FROM since)) OPERATOR(pg_catalog.*) 1000, 3);
COMMENT ON FUNCTION bgjob_internal.milliseconds IS 'returns a duration in milliseconds';

CREATE FUNCTION bgjob_internal.later(at timestamptz, span interval)
    RETURNS timestamptz LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'bgjob_later_sql';
COMMENT ON FUNCTION bgjob_internal.later IS 'adds an interval to a time; null if the sum is out of range';

CREATE FUNCTION bgjob_internal.worker_slots(
    OUT pid integer, OUT role regrole, OUT started_at timestamptz, OUT job bigint, OUT job_started_at timestamptz,
    OUT jobs_done bigint, OUT retiring boolean, OUT memory_bytes bigint, OUT server text)
    RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 20 AS 'MODULE_PATHNAME', 'bgjob_worker_slots';
COMMENT ON FUNCTION bgjob_internal.worker_slots IS 'returns the workers of this database that the current user may see';

CREATE FUNCTION bgjob_internal.running_jobs(OUT job bigint, OUT pid integer, OUT started_at timestamptz, OUT progress numeric, OUT progress_message text,
    OUT server text)
    RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 20 AS 'MODULE_PATHNAME', 'bgjob_running_jobs';
COMMENT ON FUNCTION bgjob_internal.running_jobs IS 'returns the jobs that workers are at, as far as the current user may see them';

CREATE FUNCTION bgjob_internal.is_running(job bigint)
    RETURNS boolean LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'bgjob_is_running_sql';
COMMENT ON FUNCTION bgjob_internal.is_running IS 'returns whether a worker is at a job that the current user may see';

CREATE FUNCTION bgjob_internal.worker_logs(OUT job bigint, OUT seq integer, OUT at timestamptz, OUT level text, OUT message text)
    RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 100 AS 'MODULE_PATHNAME', 'bgjob_worker_logs';
COMMENT ON FUNCTION bgjob_internal.worker_logs IS 'returns the lines that running jobs have logged in this attempt, as far as the current user may see them';

CREATE FUNCTION bgjob_internal.counts(
    OUT enqueued bigint, OUT scheduled bigint, OUT awaiting bigint, OUT processing bigint,
    OUT succeeded bigint, OUT failed bigint, OUT deleted bigint, OUT retries bigint)
    RETURNS record LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'bgjob_counts';
COMMENT ON FUNCTION bgjob_internal.counts IS 'returns the number of jobs in each state';

CREATE FUNCTION bgjob_internal.queue_counts(
    role regrole DEFAULT NULL, OUT queue text, OUT enqueued bigint, OUT processing bigint, OUT scheduled bigint, OUT failed bigint)
    RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 100 AS 'MODULE_PATHNAME', 'bgjob_queue_counts';
COMMENT ON FUNCTION bgjob_internal.queue_counts IS 'returns the queues, and the number of their jobs that the current user may see';

CREATE FUNCTION bgjob_internal.oldest_enqueued(queue text)
    RETURNS timestamptz LANGUAGE c STABLE STRICT PARALLEL RESTRICTED COST 1000 AS 'MODULE_PATHNAME', 'bgjob_oldest_enqueued';
COMMENT ON FUNCTION bgjob_internal.oldest_enqueued IS 'returns since when the oldest waiting job of a queue waits';

CREATE FUNCTION bgjob_internal.installed()
    RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bgjob_installed';
COMMENT ON FUNCTION bgjob_internal.installed IS 'announces the extension; called only by its script';
REVOKE ALL ON FUNCTION bgjob_internal.installed() FROM PUBLIC;

-- Only a restore inserts rows into bgjob_internal.job through SQL (bgjob itself writes below it). The counts lack these rows.
CREATE FUNCTION bgjob_internal.count_again()
    RETURNS trigger LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bgjob_count_again';
COMMENT ON FUNCTION bgjob_internal.count_again IS 'trigger function: requests a recount of the jobs';
REVOKE ALL ON FUNCTION bgjob_internal.count_again() FROM PUBLIC;
CREATE TRIGGER count_again AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON bgjob_internal.job FOR EACH STATEMENT EXECUTE FUNCTION bgjob_internal.count_again();
ALTER TABLE bgjob_internal.job ENABLE ALWAYS TRIGGER count_again;
CREATE TRIGGER count_again AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON bgjob_internal.total FOR EACH STATEMENT EXECUTE FUNCTION bgjob_internal.count_again();
ALTER TABLE bgjob_internal.total ENABLE ALWAYS TRIGGER count_again;

