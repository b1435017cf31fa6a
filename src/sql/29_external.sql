-- The protocol of external workers: a worker takes jobs of kind 'external', and says what became of them.

CREATE FUNCTION @extschema@.bgjob_fetch(queues text[], worker text, max_jobs integer DEFAULT 1, lease interval DEFAULT '5 minutes')
    RETURNS TABLE (id bigint, job text, args jsonb, queue text, attempt integer, lease_until timestamptz, parameters jsonb)
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_fetch IS 'gives jobs of kind external to a worker, which has them until it ends them or the lease is over';

CREATE FUNCTION @extschema@.bgjob_complete(id bigint, worker text, result jsonb DEFAULT NULL)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_complete IS 'says that a worker has performed a job; false: it no longer had the job, and nothing has changed';

CREATE FUNCTION @extschema@.bgjob_fail(id bigint, worker text, error text, detail jsonb DEFAULT NULL, retry boolean DEFAULT true)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_fail IS 'says that an attempt of a worker has failed; false: it no longer had the job, and nothing has changed';

CREATE FUNCTION @extschema@.bgjob_release(id bigint, worker text, delay interval DEFAULT NULL)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_release IS 'gives a job back that a worker has fetched, without using a retry; false: it no longer had the job';

CREATE FUNCTION @extschema@.bgjob_external_deadline(id bigint, worker text)
    RETURNS timestamptz LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_external_deadline IS 'returns when the attempt of a worker at a job is out of time; null: never, or it does not have the job';

CREATE FUNCTION @extschema@.bgjob_protocol()
    RETURNS integer LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_protocol IS 'returns the version of the protocol of external workers';
