-- What all pages show live. Runs once a second for each role and database that somebody looks at, however many look.
--
-- Counts, queues and workers come from shared memory; since when the oldest job of a queue waits is left out, which would have to be
-- looked up in the table of each. Of at most 50 running jobs the row is read, for their names; values
-- that are stored out of line are not. So the cost is the same at any number of jobs, and small at 10,000 queues.
--
-- "changes" is another text when jobs were added, moved or ended, or a queue was paused: a page that lists them fetches again
-- then. Progress and console of jobs do not change it. "failures" are the attempts that have failed, retried ones included.
-- Counts are null until the server has counted. A count is a number; ids are strings. What waits, runs or has failed is counted for the
-- roles that the viewer sees, as the lists have it; the other states are counted for all roles ("sees_all": that is the same).
WITH stats AS MATERIALIZED (
    SELECT s.servers, s.workers, s.enqueued, s.scheduled, s.awaiting, s.processing, s.succeeded, s.failed, s.deleted, s.retries,
           s.recurring, s.kept_succeeded, s.kept_deleted
    FROM bgjob.stats s
), every_queue AS MATERIALIZED (
    SELECT q.queue, q.paused, q.enqueued, q.processing, q.scheduled, q.failed
    FROM bgjob.queues q
), queues AS MATERIALIZED (
    SELECT q.* FROM every_queue q
    ORDER BY q.enqueued DESC NULLS LAST, q.queue
    LIMIT 50
), seen AS MATERIALIZED (
    SELECT sum(q.enqueued) AS enqueued, sum(q.processing) AS processing, sum(q.scheduled) AS scheduled, sum(q.failed) AS failed
    FROM every_queue q
), busy AS MATERIALIZED (
    -- After a restore, until bgjob_adopt(), the search may not find all of them in its time. Those of the server's own workers are
    -- known without it.
    SELECT ARRAY(SELECT w.job_id FROM bgjob.workers w WHERE w.job_id IS NOT NULL ORDER BY w.job_id DESC LIMIT 50) || s.ids AS ids
    FROM @bgjob@.bgjob_search(query => 'state:processing'::text, max_rows => 50::integer, max_time => '20 ms'::interval) s
), running AS MATERIALIZED (
    SELECT j.id::text AS id, j.job, j.queue, j.run_as::text AS run_as, j.started_at, j.progress,
           CASE WHEN current_setting('bgjob_dashboard.hide_arguments', true) IS DISTINCT FROM 'on' THEN j.progress_message END
               AS progress_message,
           j.server
    FROM bgjob.jobs j
    WHERE j.id = ANY ((SELECT b.ids FROM busy b)::bigint[]) AND j.state = 'processing'
    ORDER BY j.id DESC
    LIMIT 50
)
SELECT json_build_object(
    'at', clock_timestamp(),
    'changes', hashtextextended(concat(s.*, (SELECT string_agg(concat(q.*), ',') FROM queues q)), 0)::text,
    'stats', to_jsonb(s) || jsonb_build_object(
        'enqueued', CASE WHEN s.enqueued IS NOT NULL THEN coalesce(n.enqueued, 0) END, 'processing', CASE WHEN s.processing IS NOT NULL THEN coalesce(n.processing, 0) END,
        'scheduled', CASE WHEN s.scheduled IS NOT NULL THEN coalesce(n.scheduled, 0) END, 'failed', CASE WHEN s.failed IS NOT NULL THEN coalesce(n.failed, 0) END,
        'sees_all', (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)
            OR pg_catalog.pg_has_role('pg_monitor'::name, 'USAGE')
            OR pg_catalog.pg_has_role((SELECT e.extowner FROM pg_catalog.pg_extension e WHERE e.extname = 'bgjob'), 'USAGE'),
        'failures', (SELECT coalesce(sum(f.failures), 0) FROM bgjob.function_stats f)),
    'busy', (SELECT count(*) FROM bgjob.workers w WHERE w.state = 'busy'),
    'queues', (SELECT coalesce(json_agg(row_to_json(q)), '[]') FROM queues q),
    'running', (SELECT coalesce(json_agg(row_to_json(r)), '[]') FROM running r))
FROM stats s, seen n
