-- What the jobs of each function cost.

CREATE FUNCTION @extschema@.bgjob_function_stats_reset(job text DEFAULT NULL)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'bgjob_function_stats_reset_sql';
COMMENT ON FUNCTION @extschema@.bgjob_function_stats_reset IS 'begins the statistics of a function, or of all, anew; returns how many rows bgjob.function_stats loses';

-- For the view, whose columns it returns.
CREATE FUNCTION bgjob_internal.function_stats(
    OUT job text, OUT kind text, OUT run_as regrole,
    OUT jobs bigint, OUT attempts bigint, OUT failures bigint, OUT retries bigint, OUT interruptions bigint,
    OUT total_run_time double precision, OUT min_run_time double precision, OUT max_run_time double precision,
    OUT mean_run_time double precision, OUT stddev_run_time double precision,
    OUT total_wait_time double precision, OUT min_wait_time double precision, OUT max_wait_time double precision,
    OUT mean_wait_time double precision, OUT stddev_wait_time double precision,
    OUT last_run_at timestamptz, OUT last_failed_at timestamptz, OUT last_sqlstate text, OUT last_error text, OUT stats_since timestamptz)
    RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 100 AS 'MODULE_PATHNAME', 'bgjob_function_stats';
COMMENT ON FUNCTION bgjob_internal.function_stats IS 'returns the statistics of functions that the current user may see';
