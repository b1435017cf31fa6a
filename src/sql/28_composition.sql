-- Batches and signals.

CREATE FUNCTION @extschema@.bgjob_batch(description text DEFAULT NULL, parent bigint DEFAULT NULL, parameters jsonb DEFAULT NULL, unique_key text DEFAULT NULL)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_batch IS 'creates a batch of jobs and returns its id';

CREATE FUNCTION @extschema@.bgjob_batch_cancel(id bigint)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_batch_cancel IS 'deletes the unfinished jobs of a batch, and of those in it; returns their number';

CREATE FUNCTION @extschema@.bgjob_batch_retry(id bigint, which text DEFAULT 'failed')
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_batch_retry IS 'makes jobs of a batch run again: failed, unsuccessful or all; returns their number';

CREATE FUNCTION @extschema@.bgjob_current_batch()
    RETURNS bigint LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_current_batch IS 'inside a job: returns the batch that it is in';

CREATE FUNCTION @extschema@.bgjob_antecedents()
    RETURNS jsonb LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_antecedents IS 'inside a job: returns states and results of the jobs that it continues, and its signals';

CREATE FUNCTION @extschema@.bgjob_signal(name text, payload jsonb DEFAULT NULL)
    RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_signal IS 'sends a signal, which jobs await by its name; returns the number of jobs that it releases';

CREATE FUNCTION @extschema@.bgjob_signal_remove(name text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_signal_remove IS 'removes a signal that was sent; false if there is none';
