-- bgjob_search(): the ids of jobs that match what a user has typed.

CREATE FUNCTION @extschema@.bgjob_search(
    query text, before_id bigint DEFAULT NULL, max_rows integer DEFAULT 20, max_time interval DEFAULT '100 ms',
    OUT ids bigint[], OUT looked_through bigint, OUT next_before_id bigint)
    RETURNS record LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_search IS 'returns the ids of the newest jobs that match a query, how many were looked through, and where to go on';
