-- Batches and signals.

-- src/api/viewplan.c opens batches to the planner: the rules in 30_views.sql hold here, too. Each subquery returns one row, whatever it
-- finds. So the outer joins are as good as CROSS JOIN, and the planner removes those of whose columns a query has none.

CREATE VIEW bgjob.batches WITH (security_barrier) AS
SELECT b.id,
       b.parent AS parent_id,
       b.description,
       CASE WHEN m.open > 0 THEN 'processing'
            WHEN m.failed + t.failed > 0 THEN 'failed'
            WHEN m.deleted + t.deleted > 0 THEN 'deleted'
            ELSE 'succeeded' END AS state,
       t.jobs AS total,
       m.open - r.running AS pending,
       r.running AS processing,
       t.jobs - m.open - m.failed - t.failed - m.deleted - t.deleted AS succeeded,
       m.failed + t.failed AS failed,
       m.deleted + t.deleted AS deleted,
       b.created_at,
       CASE WHEN m.open = 0 THEN b.finished_at END AS finished_at,
       b.role,
       b.parameters,
       b.unique_key::text AS unique_key
FROM bgjob_internal.batch b
LEFT JOIN LATERAL (
    SELECT coalesce(sum(x.jobs), 0)::bigint AS jobs, coalesce(sum(x.failed), 0)::bigint AS failed, coalesce(sum(x.deleted), 0)::bigint AS deleted
    FROM bgjob_internal.batch_total x WHERE x.batch = b.id
) t ON true
LEFT JOIN LATERAL (
    SELECT count(*) FILTER (WHERE x.state = 'o') AS open, count(*) FILTER (WHERE x.state = 'f') AS failed,
           count(*) FILTER (WHERE x.state = 'd') AS deleted
    FROM bgjob_internal.member x WHERE x.batch = b.id
) m ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS running
    FROM bgjob_internal.running_jobs() w JOIN bgjob_internal.member x ON x.batch = b.id AND x.state = 'o' AND x.job = w.job
) r ON true
WHERE bgjob_internal.may_see(b.role);
COMMENT ON VIEW bgjob.batches IS 'batches, and how far their jobs are, with those of the batches in them';

CREATE VIEW bgjob.signals WITH (security_barrier) AS
SELECT DISTINCT ON (s.name, s.role) s.name::text AS name, s.role, s.at, s.payload
FROM bgjob_internal.signal s
WHERE bgjob_internal.may_see(s.role)
ORDER BY s.name, s.role, s.id DESC;
COMMENT ON VIEW bgjob.signals IS 'signals that were sent and have not expired';

CREATE VIEW bgjob.continuations WITH (security_barrier) AS
SELECT e.target AS awaited_id, e.dependant AS job_id
FROM bgjob_internal.edge e
WHERE e.target > 0 AND bgjob_internal.may_see_job(e.dependant);
COMMENT ON VIEW bgjob.continuations IS 'which jobs await a job or a batch, until they have succeeded or were deleted';

GRANT SELECT ON bgjob.batches, bgjob.signals, bgjob.continuations TO PUBLIC;
