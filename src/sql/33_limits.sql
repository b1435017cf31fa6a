CREATE VIEW bgjob.limits WITH (security_barrier) AS
SELECT l.name, l.max_running, l.running, l.waiting, l.rate, l.per, l.algorithm, l.used, l.closed_until, l.on_limit
FROM bgjob_internal.limits() l;
COMMENT ON VIEW bgjob.limits IS 'limits, and the keys of patterns that are in use';
GRANT SELECT ON bgjob.limits TO PUBLIC;
