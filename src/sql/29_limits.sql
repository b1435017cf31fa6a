-- Limits, and the weights of fairness keys.

CREATE FUNCTION @extschema@.bgjob_limit(
    name text, max_running integer DEFAULT NULL, rate integer DEFAULT NULL, per interval DEFAULT NULL,
    algorithm text DEFAULT 'sliding_window', on_limit text DEFAULT 'wait')
    RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_limit IS 'limits how many jobs run at a time, or start in a span of time; replaces the limit of that name';

CREATE FUNCTION @extschema@.bgjob_limit_remove(name text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_limit_remove IS 'removes a limit; false if there is none';

CREATE FUNCTION @extschema@.bgjob_weight(fairness_key text, weight real)
    RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_weight IS 'sets the share of the workers that a fairness key gets; null removes it';

CREATE FUNCTION @extschema@.bgjob_limit_close(name text, until timestamptz DEFAULT NULL, delay interval DEFAULT NULL)
    RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_limit_close IS 'starts no job under a limit before a time; for administrators, and for a job that is under the limit';

CREATE FUNCTION @extschema@.bgjob_limit_used(name text, units integer)
    RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_limit_used IS 'inside a job: corrects how many units it has taken of the rate of a limit';

CREATE FUNCTION bgjob_internal.limits(
    OUT name text, OUT max_running integer, OUT running integer, OUT waiting bigint, OUT rate integer, OUT per interval,
    OUT algorithm text, OUT used integer, OUT closed_until timestamptz, OUT on_limit text)
    RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 100 AS 'MODULE_PATHNAME', 'bgjob_limit_rows';
COMMENT ON FUNCTION bgjob_internal.limits IS 'returns the limits, and the keys of patterns that are in use and that the current user may see';

-- Only a restore changes these tables through SQL (bgjob itself writes below it). All backends must notice the rows.
CREATE FUNCTION bgjob_internal.limits_changed()
    RETURNS trigger LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bgjob_limits_changed';
COMMENT ON FUNCTION bgjob_internal.limits_changed IS 'trigger function: makes every backend read limits and weights again';
REVOKE ALL ON FUNCTION bgjob_internal.limits_changed() FROM PUBLIC;
CREATE TRIGGER limits_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON bgjob_internal.limit_conf
    FOR EACH STATEMENT EXECUTE FUNCTION bgjob_internal.limits_changed();
ALTER TABLE bgjob_internal.limit_conf ENABLE ALWAYS TRIGGER limits_changed;
CREATE TRIGGER limits_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON bgjob_internal.weight_conf
    FOR EACH STATEMENT EXECUTE FUNCTION bgjob_internal.limits_changed();
ALTER TABLE bgjob_internal.weight_conf ENABLE ALWAYS TRIGGER limits_changed;
