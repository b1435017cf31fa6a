-- The overview: the deepest queues, and what needs attention.
--
-- Cost: shared memory for servers, queues and limits; the oldest job of each queue and priority; at most 20 ms of bgjob_failures();
-- the newest 50 failed jobs and 200 that wait, by bgjob_list(); bgjob_why() for at most 8 queues whose jobs wait while none runs. That
-- is independent of the number of jobs.
-- Counts are null until the server has counted.
-- params:
WITH queues AS MATERIALIZED (
    SELECT q.queue, q.paused, q.enqueued, q.processing, q.scheduled, q.failed, q.max_running, q.max_length
    FROM bgjob.queues q
), deepest AS MATERIALIZED (
    SELECT q.* FROM queues q ORDER BY q.enqueued DESC NULLS LAST, q.processing DESC, q.queue LIMIT 10
), still AS MATERIALIZED (
    -- jobs wait and none runs
    SELECT q.queue, q.enqueued FROM queues q WHERE q.enqueued > 0 AND q.processing = 0 AND NOT q.paused ORDER BY q.enqueued DESC, q.queue LIMIT 8
), oldest AS MATERIALIZED (
    -- the first row has the oldest jobs of all queues looked up, the others cost nothing
    SELECT q.queue, q.oldest_enqueued_at FROM bgjob.queues q
    WHERE q.queue = ANY ((SELECT array_agg(d.queue) FROM (SELECT d.queue FROM deepest d UNION SELECT s.queue FROM still s) d)::text[])
), servers AS MATERIALIZED (
    SELECT s.name, s.kind, s.queues, s.started_at, s.heartbeat_at, s.paused FROM bgjob.servers s
), groups AS MATERIALIZED (
    SELECT f.job, f.sqlstate, f.message, f.sample, f.jobs, f.last_at, f.query, f.complete
    FROM @bgjob@.bgjob_failures(max_jobs => 300::integer, max_time => '20 ms'::interval) f
    ORDER BY f.jobs DESC, f.last_at DESC LIMIT 5
), failed AS MATERIALIZED (
    SELECT j.id, j.finished_at, j.sequence_key, j.run_as
    FROM @bgjob@.bgjob_list(state => 'failed'::text, max_rows => 50::integer) j
    WHERE j.sequence_key IS NOT NULL
), waiting AS MATERIALIZED (
    SELECT j.sequence_key, j.run_as FROM @bgjob@.bgjob_list(state => 'enqueued'::text, max_rows => 200::integer) j
    WHERE j.sequence_key IS NOT NULL
), sequences AS MATERIALIZED (
    SELECT f.sequence_key, min(f.id) AS id, min(f.finished_at) AS since,
           (SELECT count(*) FROM waiting w WHERE w.sequence_key = f.sequence_key AND w.run_as = f.run_as) AS waiting
    FROM failed f
    GROUP BY f.sequence_key, f.run_as
    ORDER BY 4 DESC, 3 DESC LIMIT 5
), stuck AS MATERIALIZED (
    -- for half a minute: workers may be busy, or about to start
    SELECT q.queue, q.enqueued, w.reason, w.detail, w.hint
    FROM still q JOIN oldest o ON o.queue = q.queue AND o.oldest_enqueued_at < now() - '30 seconds'::interval
    CROSS JOIN LATERAL (SELECT j.id FROM @bgjob@.bgjob_list(state => 'enqueued'::text, queue => q.queue::text, max_rows => 1::integer) j) j
    CROSS JOIN LATERAL (SELECT w.reason, w.detail, w.hint FROM @bgjob@.bgjob_why(id => j.id) w
                        WHERE w.reason IN ('no worker', 'not adopted') LIMIT 1) w
), recurring AS MATERIALIZED (
    SELECT r.name, r.owner::text AS owner, r.error, r.next_run_at,
           r.active AND r.next_run_at < now() - '1 minute'::interval AS overdue
    FROM bgjob.recurring_jobs r
    WHERE r.error IS NOT NULL OR r.active AND r.next_run_at < now() - '1 minute'::interval
    ORDER BY r.error IS NULL, r.name LIMIT 5
), limits AS MATERIALIZED (
    SELECT l.name, l.closed_until, l.waiting FROM bgjob.limits l
    WHERE l.closed_until > now() OR l.max_running = 0
    ORDER BY l.waiting DESC NULLS LAST, l.name LIMIT 5
)
SELECT json_build_object(
    'queues', (SELECT json_agg(json_build_object('queue', d.queue, 'paused', d.paused, 'enqueued', d.enqueued,
                   'processing', d.processing, 'scheduled', d.scheduled, 'failed', d.failed, 'max_running', d.max_running,
                   'max_length', d.max_length, 'oldest_enqueued_at', o.oldest_enqueued_at)
                   ORDER BY d.enqueued DESC NULLS LAST, d.processing DESC, d.queue)
               FROM deepest d LEFT JOIN oldest o ON o.queue = d.queue),
    'queues_total', (SELECT count(*) FROM queues),
    'attention', json_build_object(
        'scheduler', CASE WHEN pg_is_in_recovery() THEN 'standby'
                          WHEN current_setting('bgjob.enabled', true) = 'off' THEN 'disabled'
                          WHEN NOT EXISTS (SELECT FROM servers s WHERE s.kind = 'internal') THEN 'missing'
                          WHEN EXISTS (SELECT FROM servers s WHERE s.kind = 'internal' AND s.started_at IS NOT NULL
                                       HAVING max(s.heartbeat_at) < clock_timestamp() - '2 minutes'::interval) THEN 'silent' END,
        'failures', (SELECT json_agg(json_build_object('job', g.job, 'sqlstate', g.sqlstate, 'jobs', g.jobs, 'last', g.last_at, 'query', g.query,
                         'complete', g.complete,
                         'message', left(CASE WHEN current_setting('bgjob_dashboard.hide_arguments', true) IS DISTINCT FROM 'on'
                                              THEN g.sample ELSE g.message END, 300)) ORDER BY g.jobs DESC, g.last_at DESC) FROM groups g),
        'sequences', (SELECT json_agg(json_build_object('key', s.sequence_key, 'id', s.id::text, 'since', s.since,
                          'waiting', s.waiting)) FROM sequences s),
        'stuck', (SELECT json_agg(json_build_object('queue', s.queue, 'enqueued', s.enqueued, 'reason', s.reason,
                      'detail', s.detail, 'hint', s.hint)) FROM stuck s),
        'paused_queues', (SELECT json_agg(json_build_object('queue', q.queue, 'enqueued', q.enqueued) ORDER BY q.enqueued DESC, q.queue)
                          FROM (SELECT q.queue, q.enqueued FROM queues q WHERE q.paused ORDER BY 2 DESC, 1 LIMIT 5) q),
        'full_queues', (SELECT json_agg(json_build_object('queue', q.queue, 'enqueued', q.enqueued, 'max_length', q.max_length))
                        FROM (SELECT q.* FROM queues q WHERE q.enqueued >= q.max_length ORDER BY q.queue LIMIT 5) q),
        'paused_servers', (SELECT json_agg(s.name ORDER BY s.name)
                           FROM (SELECT s.name FROM servers s WHERE s.paused ORDER BY 1 LIMIT 5) s),
        'limits', (SELECT json_agg(json_build_object('name', l.name, 'closed_until', l.closed_until, 'waiting', l.waiting)) FROM limits l),
        'recurring', (SELECT json_agg(row_to_json(r)) FROM recurring r)))
