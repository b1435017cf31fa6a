-- One limit: the jobs that hold it, and jobs that wait for it.
--
-- Cost: bgjob.limits; bgjob_list() of up to 500 jobs that run, and of the newest 1,000 that wait. Among these alone the jobs that
-- wait for the limit are found; how many there are in all comes from shared memory.
-- params: name text
WITH lim AS MATERIALIZED (
    SELECT l.name, l.max_running, l.running, l.waiting, l.rate, l.per, l.algorithm, l.used, l.closed_until, l.on_limit
    FROM bgjob.limits l WHERE l.name = :name
), holders AS MATERIALIZED (
    SELECT j.id, j.job, j.queue, j.run_as::text AS run_as, j.started_at, j.progress, j.limits, j.state, j.created_at, j.reason
    FROM @bgjob@.bgjob_list(state => 'processing'::text, max_rows => 500::integer) j
    WHERE EXISTS (SELECT FROM unnest(j.limits) u WHERE u = :name OR starts_with(u, :name || '='))
    ORDER BY j.started_at LIMIT 100
), waiters AS MATERIALIZED (
    SELECT j.id, j.job, j.queue, j.run_as::text AS run_as, j.started_at, j.progress, j.limits, j.state, j.created_at, j.reason, j.priority
    FROM @bgjob@.bgjob_list(state => 'enqueued'::text, max_rows => 1000::integer) j
    WHERE EXISTS (SELECT FROM unnest(j.limits) u WHERE u = :name OR starts_with(u, :name || '='))
    ORDER BY j.priority DESC, j.id LIMIT 100
)
SELECT json_build_object(
    'limit', (SELECT json_build_object('name', l.name, 'max_running', l.max_running, 'running', l.running, 'waiting', l.waiting,
                  'rate', l.rate, 'per', l.per::text, 'algorithm', l.algorithm, 'used', l.used, 'on_limit', l.on_limit,
                  'closed_until', CASE WHEN l.closed_until > clock_timestamp() THEN l.closed_until END,
                  'closed_for_ever', l.closed_until = 'infinity') FROM lim l),
    'holders', (SELECT json_agg(json_build_object('id', h.id::text, 'job', h.job, 'queue', h.queue, 'run_as', h.run_as,
                    'started_at', h.started_at, 'progress', h.progress, 'limits', h.limits) ORDER BY h.started_at, h.id) FROM holders h),
    'waiters', (SELECT json_agg(json_build_object('id', w.id::text, 'job', w.job, 'queue', w.queue, 'run_as', w.run_as,
                    'created_at', w.created_at, 'reason', w.reason, 'priority', w.priority, 'limits', w.limits) ORDER BY w.priority DESC, w.id) FROM waiters w))
