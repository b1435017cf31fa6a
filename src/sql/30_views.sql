-- The views: the contract. Each shows what the current user may see; security_barrier keeps a function in the
-- reader's own conditions from seeing more.
--
-- src/api/viewplan.c opens jobs, job_states, job_logs and batches (33_composition.sql) to the planner, and moves their barrier down to
-- their tables. So in these: the condition is may_see() or may_see_job() of a column of a table; functions in FROM return only what
-- the reader may see; other subqueries are LATERAL; and no column shows another table's value by itself, not even to an operator
-- that asks for statistics. That table is on no nullable side of an outer join.

CREATE VIEW bgjob.jobs WITH (security_barrier) AS
SELECT j.id,
       CASE j.kind WHEN 'f' THEN 'function' WHEN 's' THEN 'sql' ELSE 'external' END AS kind,
       coalesce(j.job, bgjob_internal.call_name(j.call_id)) AS job,
       j.args,
       j.queue::text AS queue,
       j.priority::integer AS priority,
       CASE WHEN w.job IS NOT NULL AND j.state IN ('e', 'p') THEN 'processing' ELSE bgjob_internal.state_name(j.state) END AS state,
       CASE WHEN w.job IS NOT NULL AND j.state IN ('e', 'p') THEN NULL
            WHEN j.state = 'a' AND NOT EXISTS (SELECT FROM bgjob_internal.awaiting a WHERE a.job = j.id)
            THEN 'Not adopted: run bgjob_adopt()'
            WHEN j.state = 's' AND NOT EXISTS (SELECT FROM bgjob_internal.schedule d WHERE d.role = j.run_as AND d.at = j.run_at AND d.job = j.id)
            THEN 'Not adopted: run bgjob_adopt()'
            -- of the others only a restore brings some that are held back
            WHEN (SELECT EXISTS (SELECT FROM bgjob_internal.installation i WHERE i.database = 0))
             AND (j.state = 'e' AND NOT bgjob_internal.in_queue(j.run_as, j.queue, j.priority, coalesce(j.pos, j.id), j.kind)
               OR j.state = 'p' AND NOT EXISTS (SELECT FROM bgjob_internal.claim c WHERE c.job = j.id))
            THEN 'Not adopted: run bgjob_adopt()'
            WHEN j.state = 'p' THEN NULL
            WHEN j.state IN ('e', 's', 'a')
            THEN coalesce(j.entry_reason, bgjob_internal.waiting_reason(j.state, j.run_as, j.queue, j.priority, coalesce(j.pos, j.id), coalesce(j.run_at, '-infinity'), CASE WHEN j.state = 'e' THEN coalesce(j.gate, 0) ELSE 0 END, j.id, j.kind))
            ELSE j.reason END AS reason,
       j.created_at,
       j.run_at,
       coalesce(w.started_at, j.started_at) AS started_at,
       j.finished_at,
       coalesce(j.retries, 0) AS retries,
       j.max_retries,
       coalesce(j.interruptions, 0) AS interruptions,
       j.run_as,
       j.error,
       j.result,
       CASE WHEN w.job IS NOT NULL THEN w.progress ELSE j.progress END AS progress,
       CASE WHEN w.job IS NOT NULL THEN w.progress_message ELSE j.progress_message END AS progress_message,
       CASE WHEN coalesce(w.started_at, j.started_at) IS NOT NULL THEN coalesce(w.server, j.server, 'default') END AS server,
       CASE WHEN w.job IS NOT NULL THEN w.pid ELSE j.worker_pid END AS worker_pid,
       j.unique_key,
       j.sequence_key,
       j.limits,
       j.fairness_key,
       j.batch_id,
       j.recurring_name,
       j.after,
       j.tags,
       j.parameters,
       coalesce(s.settings, '{}') || coalesce(j.custom_settings, '{}') AS settings,
       j.timeout,
       CASE WHEN j.state = 'f' THEN bgjob_internal.later(j.finished_at, nullif(current_setting('bgjob.retention_failed'), '-1')::interval)
            WHEN j.state IN ('k', 'd')
            THEN bgjob_internal.later(j.finished_at, coalesce(j.retention, c.retention, nullif(current_setting('bgjob.retention'), '-1')::interval))
            END AS expires_at,
       j.after_batch,
       j.after_signal,
       CASE WHEN j.after IS NOT NULL OR j.after_batch IS NOT NULL
            THEN CASE j.condition WHEN 'e' THEN 'finished' WHEN 'f' THEN 'failed' WHEN 'd' THEN 'deleted' WHEN 'a' THEN 'any' ELSE 'succeeded' END
            END AS condition,
       j.await_timeout,
       j.retry_delays
FROM bgjob_internal.job j
LEFT JOIN bgjob_internal.running_jobs() w ON w.job = j.id
LEFT JOIN bgjob_internal.settings s ON s.id = j.settings_id
LEFT JOIN bgjob_internal.queue_conf c ON c.queue = j.queue
WHERE bgjob_internal.may_see(j.run_as);
COMMENT ON VIEW bgjob.jobs IS 'jobs and their states';

CREATE VIEW bgjob.job_states WITH (security_barrier) AS
SELECT j.id AS job_id, h.seq, h.state, h.reason, h.at, h.data
FROM bgjob_internal.job j
LEFT JOIN bgjob_internal.running_jobs() w ON w.job = j.id AND j.state = 'e'
CROSS JOIN LATERAL (
    SELECT u.seq, u.state, u.reason, u.at, u.data
    FROM (SELECT coalesce(j.entered_at, CASE WHEN j.states IS NULL THEN j.created_at END) AS since,
                 coalesce(w.started_at, j.started_at) AS started_at,
                 r.released,
                 least(coalesce(j.states, 0), 2147483600) + r.released::integer + r.notes AS archived
          FROM (SELECT j.states IS NULL AND j.entered_at IS NOT NULL AND j.state <> 'a'
                       AND (j.after IS NOT NULL OR j.after_batch IS NOT NULL OR j.after_signal IS NOT NULL OR j.follows IS NOT NULL),
                       CASE WHEN j.kind = 'e' THEN (SELECT count(*)::integer FROM bgjob_internal.state n WHERE n.job = j.id AND n.seq < 0) ELSE 0 END) r (released, notes)) c
    CROSS JOIN LATERAL (
        -- the transitions that the row of the job no longer carries
        -- (notes have negative numbers, and are shown behind these)
        SELECT CASE WHEN s.seq > 0 THEN s.seq ELSE least(coalesce(j.states, 0), 2147483600) + c.released::integer - s.seq END AS seq,
               bgjob_internal.state_name(s.state) AS state, s.reason, s.at,
               coalesce(s.data, CASE WHEN s.state IN ('a', 'd') THEN '{}'::jsonb END) AS data
        FROM bgjob_internal.state s WHERE s.job = j.id
        UNION ALL
        -- that it awaited something, before it was released
        SELECT 1, 'awaiting', NULL, j.created_at, '{}'
        WHERE c.released
        UNION ALL
        -- the beginning of the wait
        SELECT c.archived + 1,
               CASE WHEN j.state IN ('s', 'a') THEN bgjob_internal.state_name(j.state) ELSE 'enqueued' END,
               j.entry_reason, c.since,
               CASE j.state WHEN 's' THEN jsonb_build_object('run_at', j.run_at) WHEN 'a' THEN '{}'
                            ELSE jsonb_build_object('queue', j.queue) END
        WHERE c.since IS NOT NULL
        UNION ALL
        -- the beginning of the attempt
        SELECT c.archived + (c.since IS NOT NULL)::integer + 1, 'processing', NULL, c.started_at,
               jsonb_build_object('server', coalesce(w.server, j.server, 'default'), 'worker_pid', CASE WHEN w.job IS NOT NULL THEN w.pid ELSE j.worker_pid END, 'attempt', coalesce(j.retries, 0)::bigint + 1)
        WHERE c.started_at IS NOT NULL
        UNION ALL
        -- the end of the attempt
        SELECT c.archived + (c.since IS NOT NULL)::integer + (j.started_at IS NOT NULL)::integer + 1,
               bgjob_internal.state_name(j.state), j.reason, j.finished_at,
               CASE j.state WHEN 'k' THEN jsonb_build_object('duration_ms', bgjob_internal.milliseconds(j.started_at, j.finished_at),
                                                             'latency_ms', bgjob_internal.milliseconds(c.since, j.started_at))
                            WHEN 'f' THEN j.error ELSE '{}' END
        WHERE j.state IN ('k', 'f', 'd')
    ) u
) h
WHERE bgjob_internal.may_see(j.run_as);
COMMENT ON VIEW bgjob.job_states IS 'every state that a job has been in';

CREATE VIEW bgjob.job_logs WITH (security_barrier) AS
-- The union is not the query itself: the planner takes one apart without regard to security_barrier.
SELECT l.job_id, l.seq, l.at, l.level, l.message
FROM (
    SELECT t.job AS job_id, t.seq, t.at, t.level, t.message
    FROM bgjob_internal.log t WHERE bgjob_internal.may_see_job(t.job)
    UNION ALL
    -- of the attempts that are going on; what they have moved to the table meanwhile is not shown twice
    SELECT w.job, w.seq, w.at, w.level, w.message
    FROM bgjob_internal.worker_logs() w JOIN bgjob_internal.job j ON j.id = w.job AND w.seq > coalesce(j.logs, 0)
    WHERE bgjob_internal.may_see(j.run_as)
) l;
COMMENT ON VIEW bgjob.job_logs IS 'lines of the logs of jobs: of bgjob_log(), and messages that the jobs raised';

CREATE VIEW bgjob.queues WITH (security_barrier) AS
SELECT n.queue,
       coalesce(c.paused, false) AS paused,
       n.enqueued,
       n.processing,
       n.scheduled,
       n.failed,
       bgjob_internal.oldest_enqueued(n.queue) AS oldest_enqueued_at,
       c.max_running,
       coalesce(c.group_size, 1) AS group_size,
       c.max_length
FROM bgjob_internal.queue_counts() n
LEFT JOIN bgjob_internal.queue_conf c ON c.queue = n.queue;
COMMENT ON VIEW bgjob.queues IS 'queues that have jobs or are configured, and the number of their jobs';

CREATE VIEW bgjob.functions WITH (security_barrier) AS
SELECT CASE WHEN starts_with(c.func, 'external:') THEN substr(c.func, 10) ELSE c.func END AS job,
       c.queue::text AS queue,
       c.priority::integer AS priority,
       c.max_retries,
       c.timeout,
       c.unique_key,
       CASE c.on_duplicate WHEN 's' THEN 'skip' WHEN 'r' THEN 'replace' WHEN 'd' THEN 'reschedule' WHEN 'e' THEN 'error' WHEN 'n' THEN 'supersede' END AS on_duplicate,
       c.tags,
       c.parameters,
       CASE WHEN jsonb_typeof(c.policy -> 'retry_delays') = 'array'
            THEN ARRAY(SELECT CASE jsonb_typeof(d.value) WHEN 'number' THEN make_interval(secs => greatest(least(d.value::numeric, 1e12), 0)::double precision) END
                       FROM jsonb_array_elements(c.policy -> 'retry_delays') WITH ORDINALITY AS d(value, n) ORDER BY d.n)
            END AS retry_delays,
       CASE WHEN jsonb_typeof(c.policy -> 'retry_on') = 'array' THEN ARRAY(SELECT jsonb_array_elements_text(c.policy -> 'retry_on')) END AS retry_on,
       CASE WHEN jsonb_typeof(c.policy -> 'no_retry_on') = 'array' THEN ARRAY(SELECT jsonb_array_elements_text(c.policy -> 'no_retry_on')) END AS no_retry_on,
       coalesce(c.policy ->> 'on_exhausted', 'fail') AS on_exhausted,
       CASE WHEN jsonb_typeof(c.policy -> 'chunk_size') = 'number' THEN least((c.policy ->> 'chunk_size')::numeric, 2147483647)::integer END AS chunk_size,
       CASE WHEN jsonb_typeof(c.policy -> 'chunk_wait') = 'number'
            THEN make_interval(secs => least((c.policy ->> 'chunk_wait')::numeric / 1000000, 1e12)::double precision) END AS chunk_wait,
       c.@column@,
       c.retention,
       CASE WHEN starts_with(c.func, 'external:') THEN 'external' ELSE 'function' END AS kind
FROM bgjob_internal.function_conf c;
COMMENT ON VIEW bgjob.functions IS 'functions configured by bgjob_configure()';

CREATE VIEW bgjob.servers WITH (security_barrier) AS
SELECT s.name,
       s.kind,
       s.queues,
       s.workers,
       s.busy,
       s.started_at,
       s.heartbeat_at,
       s.paused
FROM bgjob_internal.servers() s;
COMMENT ON VIEW bgjob.servers IS 'the pools of workers of this database, and its external workers';

CREATE VIEW bgjob.workers WITH (security_barrier) AS
SELECT w.pid,
       w.server,
       w.role,
       CASE WHEN w.retiring THEN 'leaving' WHEN w.job IS NOT NULL THEN 'busy' ELSE 'idle' END AS state,
       w.job AS job_id,
       w.started_at,
       w.jobs_done,
       w.memory_bytes
FROM bgjob_internal.worker_slots() w
WHERE bgjob_internal.may_see(w.role);
COMMENT ON VIEW bgjob.workers IS 'the processes that run jobs in this database';

CREATE VIEW bgjob.stats WITH (security_barrier) AS
SELECT bgjob_internal.server_count()::bigint AS servers,
       (SELECT count(*) FROM bgjob_internal.worker_slots()) AS workers,
       c.enqueued, c.scheduled, c.awaiting, c.processing, c.succeeded, c.failed, c.deleted, c.retries,
       (SELECT count(*) FROM bgjob_internal.recurring) AS recurring,
       greatest(c.succeeded - coalesce((SELECT sum(t.jobs) FROM bgjob_internal.total t WHERE t.state = 'k'), 0), 0)::bigint AS kept_succeeded,
       greatest(c.deleted - coalesce((SELECT sum(t.jobs) FROM bgjob_internal.total t WHERE t.state = 'd'), 0), 0)::bigint AS kept_deleted
FROM bgjob_internal.counts() c;
COMMENT ON VIEW bgjob.stats IS 'the number of jobs in each state, and other totals; succeeded and deleted include removed jobs';

GRANT SELECT ON bgjob.jobs, bgjob.job_states, bgjob.job_logs, bgjob.queues, bgjob.functions, bgjob.servers, bgjob.workers, bgjob.stats TO PUBLIC;
