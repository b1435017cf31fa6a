-- What has happened in each queue, by hour and by day.

-- Histograms (src/rules/histogram.h) are added up by the view.
CREATE FUNCTION bgjob_internal.histogram_add(internal, bytea)
    RETURNS internal LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'bgjob_histogram_add_sql';
COMMENT ON FUNCTION bgjob_internal.histogram_add IS 'transition function of histogram_sum()';
CREATE FUNCTION bgjob_internal.histogram_end(internal)
    RETURNS bytea LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'bgjob_histogram_end_sql';
COMMENT ON FUNCTION bgjob_internal.histogram_end IS 'final function of histogram_sum()';
CREATE AGGREGATE bgjob_internal.histogram_sum(bytea) (
    SFUNC = bgjob_internal.histogram_add, STYPE = internal, SSPACE = 1400, FINALFUNC = bgjob_internal.histogram_end
);
COMMENT ON AGGREGATE bgjob_internal.histogram_sum(bytea) IS 'adds up histograms';
CREATE FUNCTION bgjob_internal.histogram_percentile(histogram bytea, fraction double precision)
    RETURNS double precision LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'bgjob_histogram_percentile_sql';
COMMENT ON FUNCTION bgjob_internal.histogram_percentile IS 'returns the duration in milliseconds that a fraction of all in a histogram do not exceed';

CREATE VIEW bgjob.stats_history WITH (security_barrier) AS
SELECT s.bucket, s.at, s.queue,
       s.succeeded, s.failed, s.deleted, s.retried,
       (s.run_time / nullif(s.runs, 0) / 1000)::double precision AS avg_duration_ms,
       bgjob_internal.histogram_percentile(s.run_histogram, 0.95) AS p95_duration_ms,
       (s.wait_time / nullif(s.waits, 0) / 1000)::double precision AS avg_latency_ms,
       bgjob_internal.histogram_percentile(s.wait_histogram, 0.95) AS p95_latency_ms,
       bgjob_internal.histogram_percentile(s.run_histogram, 0.5) AS p50_duration_ms,
       bgjob_internal.histogram_percentile(s.run_histogram, 0.99) AS p99_duration_ms,
       bgjob_internal.histogram_percentile(s.wait_histogram, 0.5) AS p50_latency_ms,
       bgjob_internal.histogram_percentile(s.wait_histogram, 0.99) AS p99_latency_ms,
       s.enqueued, s.interrupted, s.lost, s.throttled,
       (s.cpu_time / 1000)::double precision AS cpu_ms,
       s.wal_bytes
FROM (
    -- The planner takes conditions on these three columns into each part of the union, and those on "at" into the indexes.
    SELECT u.bucket, u.at, u.queue,
           sum(u.enqueued)::bigint AS enqueued, sum(u.succeeded)::bigint AS succeeded, sum(u.failed)::bigint AS failed,
           sum(u.deleted)::bigint AS deleted, sum(u.retried)::bigint AS retried, sum(u.interrupted)::bigint AS interrupted,
           sum(u.lost)::bigint AS lost, sum(u.throttled)::bigint AS throttled,
           sum(u.cpu_time) AS cpu_time, sum(u.wal_bytes)::bigint AS wal_bytes,
           sum(u.runs) AS runs, sum(u.run_time) AS run_time, sum(u.waits) AS waits, sum(u.wait_time) AS wait_time,
           bgjob_internal.histogram_sum(u.run_histogram) AS run_histogram, bgjob_internal.histogram_sum(u.wait_histogram) AS wait_histogram
    FROM (
        SELECT 'hour'::text AS bucket, h.at, h.queue::text AS queue,
               h.enqueued, h.succeeded, h.failed, h.deleted, h.retried, h.interrupted, h.lost, h.throttled,
               h.cpu_time, h.wal_bytes, h.runs, h.run_time, h.waits, h.wait_time, h.run_histogram, h.wait_histogram
        FROM bgjob_internal.stats_hour h WHERE bgjob_internal.may_see(h.role)
        UNION ALL
        SELECT 'day', d.at, d.queue::text,
               d.enqueued, d.succeeded, d.failed, d.deleted, d.retried, d.interrupted, d.lost, d.throttled,
               d.cpu_time, d.wal_bytes, d.runs, d.run_time, d.waits, d.wait_time, d.run_histogram, d.wait_histogram
        FROM bgjob_internal.stats_day d WHERE bgjob_internal.may_see(d.role)
        UNION ALL
        SELECT 'day', date_trunc('day', h.at, 'UTC'), h.queue::text,
               h.enqueued, h.succeeded, h.failed, h.deleted, h.retried, h.interrupted, h.lost, h.throttled,
               h.cpu_time, h.wal_bytes, h.runs, h.run_time, h.waits, h.wait_time, h.run_histogram, h.wait_histogram
        FROM bgjob_internal.stats_hour h WHERE NOT h.in_day AND bgjob_internal.may_see(h.role)
    ) u
    GROUP BY u.bucket, u.at, u.queue
) s;
COMMENT ON VIEW bgjob.stats_history IS 'what has happened in each queue, by hours and by days of UTC; at most a second behind';
COMMENT ON COLUMN bgjob.stats_history.bucket IS '"hour", kept for 35 days, or "day", kept for three years';
COMMENT ON COLUMN bgjob.stats_history.at IS 'when the hour or the day began';
COMMENT ON COLUMN bgjob.stats_history.queue IS 'the queue; "*": queues of roles that use too many to count each by itself';
COMMENT ON COLUMN bgjob.stats_history.succeeded IS 'jobs that have succeeded';
COMMENT ON COLUMN bgjob.stats_history.failed IS 'jobs that have failed, and are not tried again';
COMMENT ON COLUMN bgjob.stats_history.deleted IS 'jobs that were deleted, whether or not they had begun to run';
COMMENT ON COLUMN bgjob.stats_history.retried IS 'attempts that have failed, after which the job is tried again';
COMMENT ON COLUMN bgjob.stats_history.avg_duration_ms IS 'mean run of an attempt, in milliseconds';
COMMENT ON COLUMN bgjob.stats_history.p95_duration_ms IS 'time that 95 % of the attempts did not exceed, in milliseconds; correct within 9.1 %';
COMMENT ON COLUMN bgjob.stats_history.avg_latency_ms IS 'mean wait of an attempt before its start, in milliseconds';
COMMENT ON COLUMN bgjob.stats_history.p95_latency_ms IS 'wait that 95 % of the attempts did not exceed; likewise';
COMMENT ON COLUMN bgjob.stats_history.p50_duration_ms IS 'the median of the runs; likewise';
COMMENT ON COLUMN bgjob.stats_history.p99_duration_ms IS 'time that 99 % of the attempts did not exceed; likewise';
COMMENT ON COLUMN bgjob.stats_history.p50_latency_ms IS 'the median of the waits; likewise';
COMMENT ON COLUMN bgjob.stats_history.p99_latency_ms IS 'wait that 99 % of the attempts did not exceed; likewise';
COMMENT ON COLUMN bgjob.stats_history.enqueued IS 'jobs that were created, in whatever state';
COMMENT ON COLUMN bgjob.stats_history.interrupted IS 'attempts that were interrupted, such as by a shutdown; they use up no retry';
COMMENT ON COLUMN bgjob.stats_history.lost IS 'attempts whose worker, or whose lease, was lost';
COMMENT ON COLUMN bgjob.stats_history.throttled IS 'times that a job had to wait at a limit, a sequence_key or the max_running of its queue';
COMMENT ON COLUMN bgjob.stats_history.cpu_ms IS 'CPU time of the server''s workers, in milliseconds; not that of sessions, parallel workers and external workers';
COMMENT ON COLUMN bgjob.stats_history.wal_bytes IS 'bytes of WAL that the server''s workers have written';
GRANT SELECT ON bgjob.stats_history TO PUBLIC;
