-- What the search box completes: the queues, functions, roles, tags and names that there are.
--
-- Cost: shared memory and small tables, and the 200 newest jobs by the primary key, as far as they are found in 20 ms. At most 200 values of each kind.
-- params:
WITH recent AS MATERIALIZED (
	SELECT left(l.job, 200) AS job, l.kind, l.run_as,
		CASE WHEN pg_column_size(l.args) <= 2000 AND jsonb_typeof(l.args) = 'object' AND pg_catalog.current_setting('bgjob_dashboard.hide_arguments', true) IS DISTINCT FROM 'on'
			THEN l.args END AS args, l.tags[1:10] AS tags, l.server, l.error ->> 'sqlstate' AS sqlstate, l.limits[1:5] AS limits
	FROM @bgjob@.bgjob_search(query => ''::text, max_rows => 200::integer, max_time => '20 ms'::interval) f
		CROSS JOIN LATERAL unnest(f.ids) u (id) JOIN bgjob.jobs l ON l.id = u.id
)
SELECT json_build_object(
	'queues', (SELECT json_agg(x.v ORDER BY x.v) FROM (SELECT q.queue AS v FROM bgjob.queues q LIMIT 200) x),
	'jobs', (SELECT json_agg(x.v ORDER BY x.v) FROM (
		SELECT regexp_replace(a.job, '\([^()"]*\)$', '') AS v
		FROM (SELECT f.job FROM bgjob.function_stats f WHERE f.kind <> 'sql' UNION SELECT f.job FROM bgjob.functions f
			UNION SELECT r.job FROM recent r WHERE r.kind <> 'sql') a
		GROUP BY 1 LIMIT 200) x),
	'args', (SELECT json_agg(x.v ORDER BY x.n DESC, x.v) FROM (
		SELECT k.v, count(*) AS n FROM recent r, jsonb_object_keys(r.args) k (v) WHERE length(k.v) <= 60 GROUP BY 1 LIMIT 200) x),
	'roles', (SELECT json_agg(x.v ORDER BY x.v) FROM (
		SELECT f.run_as::text AS v FROM bgjob.function_stats f UNION SELECT r.run_as::text FROM recent r LIMIT 200) x),
	'tags', (SELECT json_agg(x.v ORDER BY x.n DESC, x.v) FROM (
		SELECT left(t.v, 100) AS v, count(*) AS n FROM recent r, unnest(r.tags) t (v) GROUP BY 1 LIMIT 200) x),
	'recurring', (SELECT json_agg(x.v ORDER BY x.v) FROM (SELECT r.name AS v FROM bgjob.recurring_jobs r LIMIT 200) x),
	'limits', (SELECT json_agg(x.v ORDER BY x.v) FROM (SELECT l.name AS v FROM bgjob.limits l LIMIT 200) x),
	'servers', (SELECT json_agg(x.v ORDER BY x.v) FROM (SELECT s.name AS v FROM bgjob.servers s LIMIT 200) x),
	'sqlstates', (SELECT json_agg(x.v ORDER BY x.v) FROM (
		SELECT f.last_sqlstate AS v FROM bgjob.function_stats f WHERE f.last_sqlstate IS NOT NULL
		UNION SELECT r.sqlstate FROM recent r WHERE r.sqlstate IS NOT NULL LIMIT 200) x))
