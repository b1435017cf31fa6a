-- Recurring jobs.

CREATE FUNCTION @extschema@.bgjob_recurring(
    name text, schedule text DEFAULT NULL, job text DEFAULT NULL, args jsonb DEFAULT NULL,
    kind text DEFAULT NULL,
    @options RECURRING@,
    time_zone text DEFAULT NULL, misfire text DEFAULT NULL, overlap text DEFAULT NULL,
    jitter interval DEFAULT NULL, starts_at timestamptz DEFAULT NULL, ends_at timestamptz DEFAULT NULL,
    day_match text DEFAULT NULL, active boolean DEFAULT NULL)
    RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_recurring IS 'adds a recurring job, or updates the one with that name; what is null stays as it is';

CREATE FUNCTION @extschema@.bgjob_recurring_remove(name text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_recurring_remove IS 'removes a recurring job; false if there is none';

CREATE FUNCTION @extschema@.bgjob_recurring_trigger(name text)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_recurring_trigger IS 'enqueues the job of a recurring job now; its schedule stays as it is';

CREATE FUNCTION @extschema@.bgjob_recurring_pause(name text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_recurring_pause IS 'pauses a recurring job; false if it was paused already';

CREATE FUNCTION @extschema@.bgjob_recurring_resume(name text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_recurring_resume IS 'resumes a recurring job; false if it was not paused';

CREATE FUNCTION @extschema@.bgjob_import_pg_cron()
    RETURNS SETOF text LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_import_pg_cron IS 'takes over the jobs of pg_cron as recurring jobs; returns those that were not taken over, and why';

-- Only a restore inserts rows into bgjob_internal.recurring through SQL (bgjob itself writes below it). They wait for bgjob_adopt().
CREATE FUNCTION bgjob_internal.restored_recurring()
    RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.next_at := 'infinity'; NEW.queued := NULL; RETURN NEW; END$$;
COMMENT ON FUNCTION bgjob_internal.restored_recurring IS 'trigger function: makes a restored recurring job wait for bgjob_adopt()';
REVOKE ALL ON FUNCTION bgjob_internal.restored_recurring() FROM PUBLIC;
CREATE TRIGGER restored BEFORE INSERT ON bgjob_internal.recurring FOR EACH ROW EXECUTE FUNCTION bgjob_internal.restored_recurring();
ALTER TABLE bgjob_internal.recurring ENABLE ALWAYS TRIGGER restored;
CREATE TRIGGER count_again AFTER INSERT ON bgjob_internal.recurring FOR EACH STATEMENT EXECUTE FUNCTION bgjob_internal.count_again();
ALTER TABLE bgjob_internal.recurring ENABLE ALWAYS TRIGGER count_again;
