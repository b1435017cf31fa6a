-- The servers (pools of workers and external workers), and the worker processes with the job of each.
--
-- Cost: shared memory; the rows of the jobs that run now, at most 1,000. Of external ones only some are found while the map of jobs is
-- made, after a start of the server.
-- params:
WITH busy AS MATERIALIZED (
    SELECT ARRAY(SELECT w.job_id FROM bgjob.workers w WHERE w.job_id IS NOT NULL LIMIT 1000) || s.ids AS ids
    FROM @bgjob@.bgjob_search(query => 'state:processing'::text, max_rows => 1000::integer, max_time => '50 ms'::interval) s
), running AS MATERIALIZED (
    SELECT j.id, j.job, j.started_at, j.progress, j.server, j.kind
    FROM bgjob.jobs j
    WHERE j.id = ANY ((SELECT b.ids FROM busy b)::bigint[]) AND j.state = 'processing'
), servers AS MATERIALIZED (
    SELECT s.name, s.kind, s.queues, s.workers, s.busy, s.started_at, s.heartbeat_at, s.paused
    FROM bgjob.servers s
    ORDER BY s.kind DESC, s.name LIMIT 500
), workers AS MATERIALIZED (
    SELECT w.pid, w.server, w.role::text AS role, w.state, w.job_id, w.started_at, w.jobs_done, w.memory_bytes
    FROM bgjob.workers w
    ORDER BY w.server, w.started_at, w.pid LIMIT 300
), may AS MATERIALIZED (
    SELECT p.proname AS name, bool_or(has_function_privilege(p.oid, 'EXECUTE')) AS granted
    FROM pg_proc p JOIN pg_extension e ON e.extname = 'bgjob' AND p.pronamespace = e.extnamespace
    WHERE p.proname IN ('bgjob_server', 'bgjob_server_pause', 'bgjob_server_resume', 'bgjob_server_remove')
    GROUP BY p.proname
)
SELECT json_build_object(
    'at', clock_timestamp(),
    'rows', (SELECT json_agg(json_build_object('name', s.name, 'kind', s.kind, 'queues', s.queues, 'workers', s.workers, 'busy', s.busy,
                 'started_at', s.started_at, 'heartbeat_at', s.heartbeat_at, 'paused', s.paused) ORDER BY s.kind DESC, s.name)
             FROM servers s),
    'workers', (SELECT json_agg(json_build_object('pid', w.pid, 'server', w.server, 'role', w.role, 'state', w.state,
                    'job_id', w.job_id::text, 'job', r.job, 'progress', r.progress, 'job_started_at', r.started_at,
                    'started_at', w.started_at, 'jobs_done', w.jobs_done, 'memory_bytes', w.memory_bytes)
                    ORDER BY w.server, w.started_at, w.pid)
                FROM workers w LEFT JOIN running r ON r.id = w.job_id),
    'workers_total', (SELECT count(*) FROM bgjob.workers),
    'slots', (SELECT setting::integer FROM pg_settings WHERE name = 'max_worker_processes'),
    'enabled', current_setting('bgjob.enabled', true),
    'standby', pg_is_in_recovery(),
    'may', (SELECT json_object_agg(m.name, m.granted) FROM may m))
