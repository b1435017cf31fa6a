-- What has succeeded, failed, been deleted and retried, by hour or by day, over all queues or of one.
--
-- Percentiles are those of the slowest queue: they cannot be added.
-- Cost: the rows of bgjob.stats_history in that time, one for each bucket and queue.
-- params: bucket text(hour|day) = hour, buckets int = 48, queue text
WITH buckets AS (
    SELECT h.at, sum(h.succeeded)::bigint AS succeeded, sum(h.failed)::bigint AS failed,
           sum(h.deleted)::bigint AS deleted, sum(h.retried)::bigint AS retried,
           max(h.p50_duration_ms) AS p50_duration_ms, max(h.p95_duration_ms) AS p95_duration_ms, max(h.p99_duration_ms) AS p99_duration_ms,
           max(h.p50_latency_ms) AS p50_latency_ms, max(h.p95_latency_ms) AS p95_latency_ms, max(h.p99_latency_ms) AS p99_latency_ms
    FROM bgjob.stats_history h
    WHERE h.bucket = :bucket AND (:queue IS NULL OR h.queue = :queue)
      AND h.at > now() - CASE :bucket WHEN 'day' THEN '1 day'::interval ELSE '1 hour' END * :buckets
    GROUP BY h.at
)
SELECT json_build_object('rows', (SELECT json_agg(row_to_json(b) ORDER BY b.at) FROM buckets b))
