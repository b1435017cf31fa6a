-- What each worker did in the last minutes: the attempts that have ended lately, and those that run.
--
-- Of each of the 24 busiest queues the newest finished jobs are read, some 600 in all: the newest jobs of all queues together may
-- be those of one that is quick. Attempts that were followed by a retry, and earlier attempts of a job, are not among them: a
-- job's row has its last attempt.
--
-- Cost: bgjob_search() for at most 24 queues, for failed and deleted jobs, and for up to 500 jobs that run, 10 ms each at most: after a
-- start of the server some may be missing until the map of jobs has been made. Each row is one look into the primary key.
-- params: minutes int = 5, max_rows int = 600
WITH queues AS MATERIALIZED (
    SELECT q.queue FROM bgjob.queues q ORDER BY q.processing DESC NULLS LAST, q.enqueued DESC NULLS LAST, q.queue LIMIT 24
), share AS MATERIALIZED (
    SELECT greatest(40, least(:max_rows, 2000) / greatest(1, count(*)::integer)) AS n FROM queues
), searched AS MATERIALIZED (
    SELECT format('state:succeeded queue:"%s"', q.queue) AS query, s.n FROM share s CROSS JOIN queues q
    UNION ALL
    SELECT * FROM (VALUES ('state:processing', 500), ('state:failed', 100), ('state:deleted', 100)) v
), found AS MATERIALIZED (
    SELECT f.ids
    FROM searched s
    CROSS JOIN LATERAL @bgjob@.bgjob_search(query => s.query::text, max_rows => s.n::integer, max_time => '10 ms'::interval, search_args => false) f
), jobs AS MATERIALIZED (
    SELECT j.id, j.job, j.state, j.server, j.worker_pid, j.started_at, j.finished_at, j.queue
    FROM bgjob.jobs j WHERE j.id = ANY (ARRAY(SELECT u.id FROM found f CROSS JOIN LATERAL unnest(f.ids) u (id)))
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
