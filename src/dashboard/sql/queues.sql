-- The queues by name, a page of 100, with what they have done in the last 24 hours.
--
-- Cost: shared memory for the counts, the oldest job of each queue and priority, their rows in bgjob.stats_history. Counts are
-- null until the server has counted.
-- params: after text, find text, max_rows int = 100
WITH counts AS MATERIALIZED (
    SELECT q.queue, q.paused, q.enqueued, q.processing, q.scheduled, q.failed, q.max_running, q.group_size, q.max_length
    FROM bgjob.queues q
), page AS MATERIALIZED (
    SELECT c.* FROM counts c
    WHERE (:after IS NULL OR c.queue COLLATE "C" > :after COLLATE "C") AND (:find IS NULL OR strpos(c.queue, lower(:find)) > 0)
    ORDER BY c.queue COLLATE "C"
    LIMIT least(:max_rows, 200) + 1
), shown AS MATERIALIZED (
    SELECT p.* FROM page p ORDER BY p.queue COLLATE "C" LIMIT least(:max_rows, 200)
), oldest AS MATERIALIZED (
    -- the first row has the oldest jobs of all queues looked up, the others cost nothing
    SELECT q.queue, q.oldest_enqueued_at FROM bgjob.queues q
    WHERE q.queue = ANY ((SELECT array_agg(s.queue) FROM shown s)::text[])
), servers AS MATERIALIZED (
    SELECT s.name, s.kind, s.queues, s.paused FROM bgjob.servers s
), may AS MATERIALIZED (
    SELECT p.proname AS name, bool_or(has_function_privilege(p.oid, 'EXECUTE')) AS granted
    FROM pg_proc p JOIN pg_extension e ON e.extname = 'bgjob' AND p.pronamespace = e.extnamespace
    WHERE p.proname IN ('bgjob_queue', 'bgjob_queue_pause', 'bgjob_queue_resume', 'bgjob_queue_remove')
    GROUP BY p.proname
)
SELECT json_build_object(
    'rows', (SELECT json_agg(json_build_object('queue', s.queue, 'paused', s.paused, 'enqueued', s.enqueued, 'processing', s.processing,
                 'scheduled', s.scheduled, 'failed', s.failed, 'max_running', s.max_running, 'group_size', s.group_size,
                 'max_length', s.max_length, 'oldest_enqueued_at', o.oldest_enqueued_at,
                 'servers', (SELECT json_agg(v.name || CASE WHEN v.paused THEN ' (paused)' ELSE '' END ORDER BY v.kind DESC, v.name)
                             FROM servers v WHERE v.queues && ARRAY[s.queue, '*']))
                 ORDER BY s.queue COLLATE "C")
             FROM shown s LEFT JOIN oldest o ON o.queue = s.queue),
    'next', CASE WHEN (SELECT count(*) > least(:max_rows, 200) FROM page) THEN (SELECT s.queue FROM shown s ORDER BY s.queue COLLATE "C" DESC LIMIT 1) END,
    'total', (SELECT count(*) FROM counts),
    'may', (SELECT json_object_agg(m.name, m.granted) FROM may m))
