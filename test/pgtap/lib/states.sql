-- states.sql
--
-- A job's state and its history, as a value to compare.
--
-- Included by 03_states, 09_queues, 10_groups, 12_control, 13_unique, 14_filters, 15_options and 30_chunks.

-- tap_state returns the state of a job, NULL if there is no such job.
CREATE FUNCTION tap_state(id bigint) RETURNS text LANGUAGE sql AS
	$$ SELECT j.state FROM bgjob.jobs j WHERE j.id = $1 $$;

-- tap_states returns the states in the history of a job, first to last.
CREATE FUNCTION tap_states(id bigint) RETURNS text[] LANGUAGE sql AS
	$$ SELECT array_agg(s.state ORDER BY s.seq) FROM bgjob.job_states s WHERE s.job_id = $1 $$;
