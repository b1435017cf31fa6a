-- What a job awaits and what awaits it, up to three steps each way: the nodes and edges of the graph on its page.
--
-- At most 1,000 jobs one step away, 300 and 100 further on; the others are counted (10,000: at least). Antecedents are known from the rows of the jobs.
-- Who awaits a job is in bgjob.continuations while it waits; those that have ended are looked for among the 2,000 ids behind this one.
-- Cost: looks into primary keys, one range of 2,000 ids; with 1,000 continuations less than 0.2 s on a busy machine.
-- The answer: nodes (id, job, kind, state, level: below 0 it is awaited), edges (from, to), totals (before, after), batch, signals.
-- params: id bigint
WITH RECURSIVE this AS MATERIALIZED (
	SELECT j.id, j.after, j.after_batch, j.after_signal, j.batch_id FROM bgjob.jobs j WHERE j.id = :id
), near AS MATERIALIZED (
	SELECT j.id, j.after[1:1000] AS after, j.after_batch
	FROM bgjob.jobs j
	WHERE j.id > :id AND j.id <= :id + 2000 AND (j.after IS NOT NULL OR j.after_batch IS NOT NULL)
), before (level, ids) AS (
	SELECT 0, ARRAY[t.id] FROM this t
	UNION ALL
	SELECT b.level + 1, n.ids
	FROM before b CROSS JOIN LATERAL (
		SELECT array_agg(x.id) AS ids
		FROM (SELECT DISTINCT a.id
			FROM unnest(b.ids) i (id) JOIN bgjob.jobs j ON j.id = i.id CROSS JOIN LATERAL unnest(j.after[1:1000]) a (id)
			LIMIT CASE b.level WHEN 0 THEN 1000 WHEN 1 THEN 300 ELSE 100 END) x) n
	WHERE b.level < 3 AND n.ids IS NOT NULL
), after (level, ids) AS (
	SELECT 0, array_remove(ARRAY[t.id, t.batch_id], NULL) FROM this t
	UNION ALL
	SELECT a.level + 1, n.ids
	FROM after a CROSS JOIN LATERAL (
		SELECT array_agg(x.id) AS ids
		FROM (SELECT DISTINCT y.id
			-- one search for all ids: one for each would scan the table as often, where its statistics are out of date
			FROM ((SELECT c.job_id AS id FROM bgjob.continuations c WHERE c.awaited_id = ANY (a.ids) LIMIT 1000)
				UNION ALL
				SELECT r.id FROM near r WHERE r.after && a.ids OR r.after_batch = ANY (a.ids)) y
			LIMIT CASE a.level WHEN 0 THEN 1000 WHEN 1 THEN 300 ELSE 100 END) x) n
	WHERE a.level < 3 AND n.ids IS NOT NULL
), levels AS MATERIALIZED (
	-- a job that can be reached over several ways stands at the longest one
	SELECT l.id, CASE WHEN min(l.level) < 0 THEN min(l.level) ELSE max(l.level) END AS level
	FROM (SELECT u.id, -b.level AS level FROM before b, unnest(b.ids) u (id)
		UNION ALL SELECT u.id, a.level FROM after a, unnest(a.ids) u (id) WHERE a.level > 0) l
	GROUP BY l.id
), nodes AS MATERIALIZED (
	SELECT l.id, l.level, left(j.job, 200) AS job, j.kind, j.state, j.after, j.after_batch
	FROM levels l LEFT JOIN bgjob.jobs j ON j.id = l.id
), edges AS MATERIALIZED (
	SELECT a.id AS source, n.id AS target
	FROM nodes n CROSS JOIN LATERAL unnest(n.after[1:1000]) a (id) JOIN levels l ON l.id = a.id
	LIMIT 6000
)
SELECT json_build_object(
	'nodes', (SELECT json_agg(json_build_array(n.id::text, n.job, n.kind, n.state, n.level) ORDER BY n.level, n.id) FROM nodes n),
	'edges', (SELECT json_agg(json_build_array(e.source::text, e.target::text)) FROM edges e),
	'batch_edges', (SELECT json_agg(json_build_array(n.after_batch::text, n.id::text)) FROM nodes n WHERE n.after_batch IS NOT NULL),
	'batch', t.batch_id::text, 'signals', t.after_signal[1:20],
	'before', coalesce(cardinality(t.after), 0),
	'after', (SELECT CASE WHEN count(*) < 1000 THEN count(*)
			ELSE (SELECT count(*) FROM (SELECT FROM bgjob.continuations c WHERE c.awaited_id = :id LIMIT 10000) c) END
		FROM nodes n WHERE n.level = 1))
FROM this t
