-- A job in the caller's own session, for tests and by hand.

CREATE FUNCTION @extschema@.bgjob_run(id bigint)
    RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_run IS 'performs a waiting job of the caller in this session and transaction; returns its result';
