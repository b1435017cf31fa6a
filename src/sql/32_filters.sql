CREATE VIEW bgjob.filters WITH (security_barrier) AS
SELECT f.name::text AS name, f.event, f.func AS function, f.jobs, f.ordering, f.created_at
FROM bgjob_internal.filter f;
COMMENT ON VIEW bgjob.filters IS 'functions that are called at events of jobs';
GRANT SELECT ON bgjob.filters TO PUBLIC;
