-- The newest jobs of a batch.
-- Cost: of a search that ends after 20 jobs or 100 ms.
-- params: id bigint
SELECT pg_catalog.jsonb_build_object('looked_through', s.looked_through::text, 'rows', coalesce((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'id', j.id::text, 'job', j.job, 'state', j.state, 'reason', j.reason, 'created_at', j.created_at) ORDER BY j.id DESC)
    FROM bgjob.jobs j WHERE j.id = ANY (s.ids)), '[]'))
FROM @bgjob@.bgjob_search(query => 'batch:' || :id::text, max_rows => 20) s
