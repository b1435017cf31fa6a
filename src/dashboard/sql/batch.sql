-- One batch: its counts, the batches above it and in it.
-- Cost: the counts of the batches that it returns, and of at most 1,000 that are in others and younger.
-- params: id bigint
WITH RECURSIVE up AS (
    SELECT b.id, b.parent_id, b.description, 0 AS height FROM bgjob.batches b WHERE b.id = :id
    UNION ALL
    SELECT p.id, p.parent_id, p.description, u.height + 1
    FROM up u CROSS JOIN LATERAL (SELECT v.id, v.parent_id, v.description FROM bgjob.batches v WHERE v.id = u.parent_id OFFSET 0) p
    WHERE u.height < 30
), inner_ones AS MATERIALIZED (
    SELECT b.id, b.parent_id FROM bgjob.batches b WHERE b.parent_id IS NOT NULL AND b.id > :id ORDER BY b.id LIMIT 1000
), tree AS (
    SELECT :id AS id, 0 AS depth, ARRAY[:id] AS path
    UNION ALL
    SELECT c.id, t.depth + 1, t.path || c.id FROM tree t JOIN inner_ones c ON c.parent_id = t.id WHERE t.depth < 8
), shown AS (
    SELECT * FROM tree WHERE depth > 0 ORDER BY path LIMIT 200
)
SELECT pg_catalog.jsonb_build_object(
    'id', b.id::text, 'parent_id', b.parent_id::text, 'description', b.description, 'state', b.state, 'role', pg_catalog.pg_get_userbyid(b.role)::text,
    'total', b.total, 'pending', b.pending, 'processing', b.processing, 'succeeded', b.succeeded, 'failed', b.failed, 'deleted', b.deleted,
    'created_at', b.created_at, 'finished_at', b.finished_at, 'unique_key', b.unique_key,
    'parameters', CASE WHEN pg_catalog.current_setting('bgjob_dashboard.hide_arguments', true) = 'on' THEN NULL ELSE pg_catalog.jsonb_pretty(b.parameters) END,
    'above', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('id', u.id::text, 'description', u.description) ORDER BY u.height DESC) FROM up u WHERE u.height > 0),
    'rows', coalesce((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'id', c.id::text, 'parent_id', c.parent_id::text, 'depth', s.depth - 1, 'description', c.description, 'state', c.state, 'role', pg_catalog.pg_get_userbyid(c.role)::text,
        'total', c.total, 'pending', c.pending, 'processing', c.processing, 'succeeded', c.succeeded, 'failed', c.failed, 'deleted', c.deleted,
        'created_at', c.created_at, 'finished_at', c.finished_at) ORDER BY s.path)
        FROM shown s CROSS JOIN LATERAL (SELECT * FROM bgjob.batches v WHERE v.id = s.id OFFSET 0) c), '[]'))
FROM bgjob.batches b WHERE b.id = :id
