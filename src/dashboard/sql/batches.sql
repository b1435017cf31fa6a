-- Batches, newest first: 25 that are in no other, each with the batches in it, and signals.
-- Cost: of the rows that it returns, and of finding the batches in others, for which all batches are read once for each depth.
-- params: state text, before_id bigint
WITH RECURSIVE top AS (
    SELECT b.id FROM bgjob.batches b
    WHERE b.parent_id IS NULL AND (:before_id IS NULL OR b.id < :before_id) AND (:state IS NULL OR b.state = :state)
    ORDER BY b.id DESC LIMIT 26
), page AS (
    SELECT id FROM top ORDER BY id DESC LIMIT 25
), tree AS (
    SELECT p.id, 0 AS depth, ARRAY[-p.id] AS path FROM page p
    UNION ALL
    SELECT c.id, t.depth + 1, t.path || c.id
    FROM tree t JOIN bgjob.batches c ON c.parent_id = t.id
    WHERE t.depth < 8
), shown AS (
    SELECT * FROM tree ORDER BY path LIMIT 400
)
SELECT pg_catalog.jsonb_build_object(
    'next_before_id', CASE WHEN (SELECT pg_catalog.count(*) > 25 FROM top) THEN (SELECT pg_catalog.min(id)::text FROM page) END,
    'rows', coalesce((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'id', b.id::text, 'parent_id', b.parent_id::text, 'depth', s.depth, 'description', b.description, 'state', b.state, 'role', pg_catalog.pg_get_userbyid(b.role)::text,
        'total', b.total, 'pending', b.pending, 'processing', b.processing, 'succeeded', b.succeeded, 'failed', b.failed, 'deleted', b.deleted,
        'created_at', b.created_at, 'finished_at', b.finished_at) ORDER BY s.path)
        FROM shown s JOIN bgjob.batches b ON b.id = s.id), '[]'))
