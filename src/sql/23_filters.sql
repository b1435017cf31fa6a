-- Filters.

CREATE FUNCTION @extschema@.bgjob_filter(name text, event text, function text, jobs text DEFAULT '%', ordering integer DEFAULT 0)
    RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_filter IS 'calls a function at an event of jobs; replaces the filter of that name';

CREATE FUNCTION @extschema@.bgjob_filter_remove(name text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_filter_remove IS 'removes a filter; false if there is none';

-- Only a restore changes rows of bgjob_internal.filter through SQL (bgjob itself writes below it). All backends must notice them.
CREATE FUNCTION bgjob_internal.filters_changed()
    RETURNS trigger LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bgjob_filters_changed';
COMMENT ON FUNCTION bgjob_internal.filters_changed IS 'trigger function: makes every backend read the filters again';
REVOKE ALL ON FUNCTION bgjob_internal.filters_changed() FROM PUBLIC;
CREATE TRIGGER filters_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON bgjob_internal.filter
    FOR EACH STATEMENT EXECUTE FUNCTION bgjob_internal.filters_changed();
ALTER TABLE bgjob_internal.filter ENABLE ALWAYS TRIGGER filters_changed;
