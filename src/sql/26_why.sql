-- Why a job does not run.

CREATE FUNCTION @extschema@.bgjob_why(id bigint)
    RETURNS TABLE (reason text, detail text, hint text, until timestamptz) LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 2 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_why IS 'returns what holds a job up, the most important first; no row: nothing does';

-- For the view.
CREATE FUNCTION bgjob_internal.waiting_reason(state "char", role regrole, queue text, priority smallint, pos bigint, run_at timestamptz, gate bigint, id bigint, kind "char")
    RETURNS text LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'bgjob_waiting_reason_sql';
COMMENT ON FUNCTION bgjob_internal.waiting_reason IS 'returns the reason why a job waits, as far as it is known without reading the job';
