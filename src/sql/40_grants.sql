-- Who may administer: EXECUTE is the right, as with the server's own functions. The extension's owner has it as theirs. A
-- database's owner administers its queues. Filters and adopting are granted to nobody: the manual says why.
REVOKE EXECUTE ON FUNCTION @extschema@.bgjob_queue, @extschema@.bgjob_queue_pause, @extschema@.bgjob_queue_resume,
    @extschema@.bgjob_queue_remove, @extschema@.bgjob_filter, @extschema@.bgjob_filter_remove, @extschema@.bgjob_adopt FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.bgjob_queue, @extschema@.bgjob_queue_pause, @extschema@.bgjob_queue_resume,
    @extschema@.bgjob_queue_remove, @extschema@.bgjob_configure, @extschema@.bgjob_unconfigure TO pg_database_owner;

-- To use bgjob, a role needs USAGE on its schema. What pg_monitor has is for the views alone (bgjob_check_usage).
GRANT USAGE ON SCHEMA bgjob TO pg_database_owner, pg_monitor;
