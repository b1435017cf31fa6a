-- External workers: waiting for jobs, heartbeats, and what a worker tells of its jobs.

CREATE PROCEDURE @extschema@.bgjob_await(queues text[], timeout interval DEFAULT '30 seconds')
    LANGUAGE c AS 'MODULE_PATHNAME';
COMMENT ON PROCEDURE @extschema@.bgjob_await IS 'waits until there may be an external job in one of the queues, or the timeout has passed; ends the transaction before it waits';
