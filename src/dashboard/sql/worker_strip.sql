-- What each worker did in the last minutes: the attempts that have ended lately, and those that run.
--
-- Of each of the 24 busiest queues the newest finished jobs are read, some 600 in all: the newest jobs of all queues together may
-- be those of one that is quick. Attempts that were followed by a retry, and earlier attempts of a job, are not among them: a
-- job's row has its last attempt.
--
-- Cost: bgjob_list() of at most 24 queues, of failed and deleted jobs, and of up to 500 jobs that run.
-- params: minutes int = 5, max_rows int = 600
WITH queues AS MATERIALIZED (
    SELECT q.queue FROM bgjob.queues q ORDER BY q.processing DESC NULLS LAST, q.enqueued DESC NULLS LAST, q.queue LIMIT 24
), share AS MATERIALIZED (
    SELECT greatest(40, least(:max_rows, 2000) / greatest(1, count(*)::integer)) AS n FROM queues
), jobs AS MATERIALIZED (
    SELECT j.id, j.job, j.state, j.server, j.worker_pid, j.started_at, j.finished_at, j.queue
    FROM @bgjob@.bgjob_list(state => 'processing'::text, max_rows => 500::integer) j
    UNION ALL
    SELECT j.id, j.job, j.state, j.server, j.worker_pid, j.started_at, j.finished_at, j.queue
    FROM share s CROSS JOIN queues q
    CROSS JOIN LATERAL @bgjob@.bgjob_list(state => 'succeeded'::text, queue => q.queue::text, max_rows => s.n::integer) j
    UNION ALL
    SELECT j.id, j.job, j.state, j.server, j.worker_pid, j.started_at, j.finished_at, j.queue
    FROM @bgjob@.bgjob_list(state => 'failed'::text, max_rows => 100::integer) j
    UNION ALL
    SELECT j.id, j.job, j.state, j.server, j.worker_pid, j.started_at, j.finished_at, j.queue
    FROM @bgjob@.bgjob_list(state => 'deleted'::text, max_rows => 100::integer) j
), recent AS MATERIALIZED (
    SELECT j.* FROM jobs j
    WHERE j.started_at IS NOT NULL AND (j.finished_at IS NULL OR j.finished_at > now() - '1 minute'::interval * least(:minutes, 60))
)
SELECT json_build_object(
    'at', clock_timestamp(),
    -- of how many jobs of a queue the newest are shown, if there may be more in these minutes
    'newest', (SELECT s.n FROM share s WHERE EXISTS (SELECT FROM recent r WHERE r.state = 'succeeded' GROUP BY r.queue HAVING count(*) >= s.n)),
    'rows', (SELECT json_agg(json_build_array(r.id::text, r.job, r.state, r.server, r.worker_pid, r.started_at, r.finished_at) ORDER BY r.started_at, r.id)
             FROM recent r))
