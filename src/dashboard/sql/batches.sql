-- Batches, newest first: 25 that are in no other, each with the batches in it. state: of the outermost ones.
-- Cost: the counts of the batches that are looked at: 26, or, to find those in a state, at most 1,000 (the next page goes on behind
-- them); and at most 1,000 in others, from the oldest of the page on, since a batch is younger than the one that it is in.
-- params: state text(processing|succeeded|failed|deleted), before_id bigint
WITH RECURSIVE newest AS MATERIALIZED (
    -- their ids alone, along the index: nothing is counted for these
    SELECT b.id FROM bgjob.batches b
    WHERE b.parent_id IS NULL AND b.id < coalesce(:before_id, 9223372036854775807)
    ORDER BY b.id DESC LIMIT CASE WHEN :state IS NULL THEN 26 ELSE 1000 END
), looked AS MATERIALIZED (
    SELECT n.id, c.state
    FROM newest n LEFT JOIN LATERAL (SELECT v.state FROM bgjob.batches v WHERE v.id = n.id OFFSET 0) c ON :state IS NOT NULL
), top AS MATERIALIZED (
    SELECT l.id FROM looked l WHERE :state IS NULL OR l.state = :state ORDER BY l.id DESC LIMIT 26
), page AS MATERIALIZED (
    SELECT t.id FROM top t ORDER BY t.id DESC LIMIT 25
), inner_ones AS MATERIALIZED (
    SELECT b.id, b.parent_id FROM bgjob.batches b
    WHERE b.parent_id IS NOT NULL AND b.id > (SELECT pg_catalog.min(p.id) FROM page p)
    ORDER BY b.id LIMIT 1000
), tree AS (
    SELECT p.id, 0 AS depth, ARRAY[-p.id] AS path FROM page p
    UNION ALL
    SELECT c.id, t.depth + 1, t.path || c.id
    FROM tree t JOIN inner_ones c ON c.parent_id = t.id
    WHERE t.depth < 8
), shown AS (
    SELECT * FROM tree ORDER BY path LIMIT 400
)
SELECT pg_catalog.jsonb_build_object(
    'next_before_id', CASE WHEN (SELECT pg_catalog.count(*) > 25 FROM top) THEN (SELECT pg_catalog.min(p.id)::text FROM page p)
                           WHEN (SELECT pg_catalog.count(*) = 1000 FROM looked) THEN (SELECT pg_catalog.min(l.id)::text FROM looked l) END,
    'rows', coalesce((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'id', b.id::text, 'parent_id', b.parent_id::text, 'depth', s.depth, 'description', b.description, 'state', b.state, 'role', pg_catalog.pg_get_userbyid(b.role)::text,
        'total', b.total, 'pending', b.pending, 'processing', b.processing, 'succeeded', b.succeeded, 'failed', b.failed, 'deleted', b.deleted,
        'created_at', b.created_at, 'finished_at', b.finished_at) ORDER BY s.path)
        FROM shown s CROSS JOIN LATERAL (SELECT * FROM bgjob.batches v WHERE v.id = s.id OFFSET 0) b), '[]'))
