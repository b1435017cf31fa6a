-- Schedules: their next times, and what they mean. Nothing is stored.

CREATE FUNCTION @extschema@.bgjob_cron_next(
    schedule text, after timestamptz DEFAULT pg_catalog.now(), time_zone text DEFAULT NULL, day_match text DEFAULT 'any', name text DEFAULT NULL)
    RETURNS timestamptz LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'bgjob_cron_next_sql';
COMMENT ON FUNCTION @extschema@.bgjob_cron_next IS 'returns the first time of a schedule after a given time; null if there is none';

CREATE FUNCTION @extschema@.bgjob_cron_occurrences(
    schedule text, since timestamptz, until timestamptz, time_zone text DEFAULT NULL, day_match text DEFAULT 'any', name text DEFAULT NULL)
    RETURNS SETOF timestamptz LANGUAGE c STABLE PARALLEL SAFE ROWS 1000 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_cron_occurrences IS 'returns the times of a schedule between two times, both included';

CREATE FUNCTION @extschema@.bgjob_cron_describe(schedule text, day_match text DEFAULT 'any', name text DEFAULT NULL)
    RETURNS text LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'bgjob_cron_describe_sql';
COMMENT ON FUNCTION @extschema@.bgjob_cron_describe IS 'describes a schedule in English';

-- For the view: one row with a malformed schedule must not hide the others.
CREATE FUNCTION bgjob_internal.schedule_description(schedule text, all_days boolean, name text)
    RETURNS text LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'bgjob_schedule_description';
COMMENT ON FUNCTION bgjob_internal.schedule_description IS 'describes a stored schedule in English; null if it is malformed';
