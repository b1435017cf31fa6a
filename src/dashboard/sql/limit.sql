-- One limit: the jobs that hold it, and those that wait for it, as far as they are among the newest 300 enqueued ones under it.
--
-- Cost: bgjob.limits; the rows of up to 500 jobs that run; bgjob_search() for at most 150 ms. How many hold it and wait in all
-- comes from shared memory.
-- params: name text
WITH lim AS MATERIALIZED (
    SELECT l.name, l.max_running, l.running, l.waiting, l.rate, l.per, l.algorithm, l.used, l.closed_until, l.on_limit
    FROM bgjob.limits l WHERE l.name = :name
), busy AS MATERIALIZED (
    SELECT ARRAY(SELECT w.job_id FROM bgjob.workers w WHERE w.job_id IS NOT NULL LIMIT 500) || s.ids AS ids
    FROM @bgjob@.bgjob_search(query => 'state:processing'::text, max_rows => 500::integer, max_time => '50 ms'::interval) s
), holders AS MATERIALIZED (
    SELECT j.id, j.job, j.queue, j.run_as::text AS run_as, j.started_at, j.progress
    FROM bgjob.jobs j
    WHERE j.id = ANY ((SELECT b.ids FROM busy b)::bigint[]) AND j.state = 'processing'
      AND EXISTS (SELECT FROM unnest(j.limits) u WHERE u = :name OR starts_with(u, :name || '='))
    ORDER BY j.started_at, j.id LIMIT 100
), found AS MATERIALIZED (
    SELECT s.ids, s.next_before_id
    FROM @bgjob@.bgjob_search(query => ('state:enqueued limit:"' || replace(replace(:name, '\', '\\'), '"', '\"') || '"')::text,
                              before_id => NULL::bigint, max_rows => 300::integer, max_time => '100 ms'::interval) s
), waiters AS MATERIALIZED (
    SELECT j.id, j.job, j.queue, j.run_as::text AS run_as, j.created_at, j.priority
    FROM bgjob.jobs j WHERE j.id = ANY ((SELECT f.ids FROM found f)::bigint[]) AND j.reason = 'limit'
    ORDER BY j.priority DESC, j.id LIMIT 100
), may AS MATERIALIZED (
    -- everybody may call bgjob_limit_close(), for jobs; all limits may be closed by those to whom it was granted
    SELECT p.proname AS name, bool_or(CASE p.proname WHEN 'bgjob_limit_close'
               THEN EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee <> 0 AND pg_has_role(a.grantee, 'USAGE'))
               ELSE has_function_privilege(p.oid, 'EXECUTE') END) AS granted
    FROM pg_proc p JOIN pg_extension e ON e.extname = 'bgjob' AND p.pronamespace = e.extnamespace
    WHERE p.proname IN ('bgjob_limit', 'bgjob_limit_remove', 'bgjob_limit_close')
    GROUP BY p.proname
)
SELECT json_build_object(
    'limit', (SELECT json_build_object('name', l.name, 'max_running', l.max_running, 'running', l.running, 'waiting', l.waiting,
                  'rate', l.rate, 'per', l.per::text, 'algorithm', l.algorithm, 'used', l.used, 'on_limit', l.on_limit,
                  'closed_until', CASE WHEN l.closed_until > clock_timestamp() THEN l.closed_until END,
                  'closed_for_ever', l.closed_until = 'infinity') FROM lim l),
    'holders', (SELECT json_agg(json_build_object('id', h.id::text, 'job', h.job, 'queue', h.queue, 'run_as', h.run_as,
                    'started_at', h.started_at, 'progress', h.progress) ORDER BY h.started_at, h.id) FROM holders h),
    'waiters', (SELECT json_agg(json_build_object('id', w.id::text, 'job', w.job, 'queue', w.queue, 'run_as', w.run_as,
                    'created_at', w.created_at, 'priority', w.priority) ORDER BY w.priority DESC, w.id) FROM waiters w),
    'may', (SELECT json_object_agg(m.name, m.granted) FROM may m))
