-- bgjob_list(): pages of bgjob.jobs.

CREATE FUNCTION @extschema@.bgjob_list(
    state text DEFAULT NULL, queue text DEFAULT NULL, job text DEFAULT NULL, tag text DEFAULT NULL, search text DEFAULT NULL,
    run_as text DEFAULT NULL, since timestamptz DEFAULT NULL, before_id bigint DEFAULT NULL, max_rows integer DEFAULT 20)
    RETURNS SETOF bgjob.jobs LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 20 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_list IS 'returns a page of jobs, newest first; the next page: before_id => the last id';
