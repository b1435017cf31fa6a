-- What each of some queues has done in each of the last 24 hours.
--
-- Cost: the rows of these queues and hours in bgjob.stats_history.
-- params: queues text[]
SELECT json_build_object('rows', (
    SELECT json_object_agg(q.queue, q.hours)
    FROM (SELECT h.queue, json_agg(json_build_object('at', h.at, 'succeeded', h.succeeded, 'failed', h.failed, 'avg_duration_ms', h.avg_duration_ms,
                     'p95_duration_ms', h.p95_duration_ms, 'avg_latency_ms', h.avg_latency_ms, 'p95_latency_ms', h.p95_latency_ms, 'cpu_ms', h.cpu_ms, 'wal_bytes', h.wal_bytes) ORDER BY h.at) AS hours
          FROM bgjob.stats_history h
          WHERE h.bucket = 'hour' AND h.at > now() - '24 hours'::interval AND h.queue = ANY (:queues)
          GROUP BY h.queue) q))
