-- The latest jobs that a recurring job has enqueued, newest first.
-- Cost: of a search that ends after 15 jobs or 100 ms.
-- params: query text
SELECT pg_catalog.jsonb_build_object('looked_through', s.looked_through::text, 'rows', coalesce((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'id', j.id::text, 'state', j.state, 'created_at', j.created_at, 'duration_ms', pg_catalog.extract('epoch', j.finished_at - j.started_at) * 1000) ORDER BY j.id DESC)
    FROM bgjob.jobs j WHERE j.id = ANY (s.ids)), '[]'))
FROM @bgjob@.bgjob_search(query => :query, max_rows => 15) s
