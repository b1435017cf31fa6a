-- External workers: waiting for jobs, heartbeats, and what a worker tells of its jobs.

CREATE PROCEDURE @extschema@.bgjob_await(queues text[], timeout interval DEFAULT '30 seconds')
    LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON PROCEDURE @extschema@.bgjob_await IS 'waits until there may be an external job in one of the queues, or the timeout has passed; ends the transaction before it waits';

CREATE FUNCTION @extschema@.bgjob_heartbeat(worker text, ids bigint[] DEFAULT NULL, lease interval DEFAULT '5 minutes')
    RETURNS TABLE (id bigint, command text) LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_heartbeat IS 'says that an external worker has these jobs for a while longer; returns continue, cancel or lost for each, and quiet or terminate for the worker';

CREATE FUNCTION @extschema@.bgjob_external_log(id bigint, worker text, message text, level text DEFAULT 'info')
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_external_log IS 'adds a line to the log of a job that an external worker has; false if it has lost the job';

CREATE FUNCTION @extschema@.bgjob_external_progress(id bigint, worker text, percent numeric, message text DEFAULT NULL)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_external_progress IS 'reports the progress of a job that an external worker has; false if it has lost the job';
