-- What a Prometheus exporter needs.

CREATE FUNCTION bgjob_internal.metrics(OUT name text, OUT labels jsonb, OUT value double precision, OUT help text, OUT type text)
    RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 1000 AS 'MODULE_PATHNAME', 'bgjob_metrics';
COMMENT ON FUNCTION bgjob_internal.metrics IS 'returns the metrics that the current user may see';

CREATE VIEW bgjob.metrics WITH (security_barrier) AS
SELECT m.name, m.labels, m.value, m.help, m.type
FROM bgjob_internal.metrics() m;
COMMENT ON VIEW bgjob.metrics IS 'samples for Prometheus, those of a metric one after the other';
COMMENT ON COLUMN bgjob.metrics.name IS 'the metric; of a histogram with _bucket, _sum or _count';
COMMENT ON COLUMN bgjob.metrics.labels IS 'the labels, as an object of strings';
COMMENT ON COLUMN bgjob.metrics.value IS 'the value; times in seconds';
COMMENT ON COLUMN bgjob.metrics.help IS 'what the metric says';
COMMENT ON COLUMN bgjob.metrics.type IS 'counter, gauge or histogram';
GRANT SELECT ON bgjob.metrics TO PUBLIC;
