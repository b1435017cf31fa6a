-- The limits by name, a page of 100: their use, and how many jobs wait.
--
-- Cost: bgjob.limits, which counts the jobs that wait in shared memory.
-- params: after text, find text, max_rows int = 100
WITH limits AS MATERIALIZED (
    SELECT l.name, l.max_running, l.running, l.waiting, l.rate, l.per, l.algorithm, l.used, l.closed_until, l.on_limit
    FROM bgjob.limits l
), page AS MATERIALIZED (
    SELECT l.* FROM limits l
    WHERE (:after IS NULL OR l.name COLLATE "C" > :after COLLATE "C") AND (:find IS NULL OR strpos(lower(l.name), lower(:find)) > 0)
    ORDER BY l.name COLLATE "C"
    LIMIT least(:max_rows, 200) + 1
), shown AS MATERIALIZED (
    SELECT p.* FROM page p ORDER BY p.name COLLATE "C" LIMIT least(:max_rows, 200)
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
    'rows', (SELECT json_agg(json_build_object('name', s.name, 'max_running', s.max_running, 'running', s.running, 'waiting', s.waiting,
                 'rate', s.rate, 'per', s.per::text, 'algorithm', s.algorithm, 'used', s.used, 'on_limit', s.on_limit,
                 'closed_until', CASE WHEN s.closed_until > clock_timestamp() THEN s.closed_until END,
                 'closed_for_ever', s.closed_until = 'infinity')
                 ORDER BY s.name COLLATE "C")
             FROM shown s),
    'next', CASE WHEN (SELECT count(*) > least(:max_rows, 200) FROM page) THEN (SELECT s.name FROM shown s ORDER BY s.name COLLATE "C" DESC LIMIT 1) END,
    'total', (SELECT count(*) FROM limits),
    'may', (SELECT json_object_agg(m.name, m.granted) FROM may m))
