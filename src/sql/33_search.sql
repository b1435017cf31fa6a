-- bgjob_search(): the ids of jobs that match what a user has typed; bgjob_failures(): failed jobs, grouped by their errors.

CREATE FUNCTION @extschema@.bgjob_search(
    query text, before_id bigint DEFAULT NULL, max_rows integer DEFAULT 20, max_time interval DEFAULT '100 ms', search_args boolean DEFAULT true,
    OUT ids bigint[], OUT looked_through bigint, OUT next_before_id bigint)
    RETURNS record LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_search IS 'returns the ids of the newest jobs that match a query, how many were looked through, and where to go on';

CREATE FUNCTION @extschema@.bgjob_failures(max_jobs integer DEFAULT 10000, max_time interval DEFAULT '100 ms')
    RETURNS TABLE (failure text, job text, sqlstate text, message text, jobs bigint, first_at timestamptz, last_at timestamptz,
                   sample_id bigint, sample text, queues text[], histogram integer[], query text, complete boolean)
    LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 100 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_failures IS 'returns the newest failed jobs, grouped by their errors; query selects the jobs of a group';
