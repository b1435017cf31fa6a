-- A logical subscriber of all tables must not run the publisher's jobs again. Rows of the publisher must never collide with rows
-- of the subscriber: one row that cannot be applied stops the whole subscription. So of the rows that are applied here
--   * the queue, the schedule, lines at gates, claims, leases, totals and configuration are not stored;
--   * jobs, their history and recurring jobs are stored, but do not run before bgjob_adopt(). They are stored only until this
--     database has jobs of its own, since both could have the same ids. Until then the sequences stay ahead of the stored ids.
-- bgjob itself writes below SQL, where no triggers fire.

CREATE FUNCTION bgjob_internal.ignore_row()
    RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
COMMENT ON FUNCTION bgjob_internal.ignore_row IS 'trigger function: ignores the row of a publisher';
REVOKE ALL ON FUNCTION bgjob_internal.ignore_row() FROM PUBLIC;

CREATE FUNCTION bgjob_internal.applied_row()
    RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id bigint;
BEGIN
    IF (SELECT j.is_called OR s.is_called FROM bgjob_internal.job_id_seq j, bgjob_internal.settings_id_seq s) THEN
        RETURN NULL;
    ELSIF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    IF TG_TABLE_NAME = 'settings' THEN
        id := NEW.id;
        PERFORM setval('bgjob_internal.settings_id_seq', id + 1, false) FROM bgjob_internal.settings_id_seq s WHERE s.last_value <= id;
    ELSIF TG_TABLE_NAME IN ('job', 'recurring', 'batch', 'signal') THEN
        id := NEW.id;
        IF TG_TABLE_NAME = 'job' THEN
            id := greatest(id, NEW.pos);
        ELSIF TG_TABLE_NAME = 'recurring' THEN
            NEW.next_at := 'infinity';
            NEW.queued := NULL;
        END IF;
        PERFORM setval('bgjob_internal.job_id_seq', id + 1, false) FROM bgjob_internal.job_id_seq s WHERE s.last_value <= id;
    END IF;
    RETURN NEW;
END$$;
COMMENT ON FUNCTION bgjob_internal.applied_row IS 'trigger function: stores rows of the jobs of a publisher only if this database has no jobs of its own';
REVOKE ALL ON FUNCTION bgjob_internal.applied_row() FROM PUBLIC;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['queue', 'schedule', 'gate', 'limit_use', 'awaiting', 'edge', 'member', 'claim', 'lease', 'total', 'stats_hour', 'stats_day', 'queue_conf', 'server_conf', 'limit_conf', 'weight_conf', 'function_conf', 'filter', 'installation'] LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER not_on_subscribers BEFORE INSERT OR UPDATE OR DELETE ON bgjob_internal.%I
            FOR EACH ROW EXECUTE FUNCTION bgjob_internal.ignore_row()', name);
        EXECUTE pg_catalog.format('ALTER TABLE bgjob_internal.%I ENABLE REPLICA TRIGGER not_on_subscribers', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['job', 'failure', 'unique_key', 'sequence', 'state', 'log', 'settings', 'recurring', 'batch', 'batch_total', 'signal'] LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER on_subscribers BEFORE INSERT OR UPDATE OR DELETE ON bgjob_internal.%I
            FOR EACH ROW EXECUTE FUNCTION bgjob_internal.applied_row()', name);
        EXECUTE pg_catalog.format('ALTER TABLE bgjob_internal.%I ENABLE REPLICA TRIGGER on_subscribers', name);
    END LOOP;
END $$;

-- Tells the map of jobs (src/base/jobmap.c) and the counts what is applied: for rows that are applied no trigger of a statement fires.
CREATE FUNCTION bgjob_internal.note_applied()
    RETURNS trigger LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'bgjob_note_applied';
COMMENT ON FUNCTION bgjob_internal.note_applied IS 'trigger function: notes where a publisher''s jobs are, and counts them';
REVOKE ALL ON FUNCTION bgjob_internal.note_applied() FROM PUBLIC;
CREATE TRIGGER note_applied AFTER INSERT OR UPDATE OR DELETE ON bgjob_internal.job FOR EACH ROW EXECUTE FUNCTION bgjob_internal.note_applied();
ALTER TABLE bgjob_internal.job ENABLE REPLICA TRIGGER note_applied;
