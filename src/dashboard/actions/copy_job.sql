-- Enqueues a job with the call and the options of another one; with other arguments, if they are given. It is of no batch, awaits nothing, and has
-- no unique_key, which the other one may still hold. Returns its id.
-- @join_role@ restores the settings of the role (the function is looked up as the role's own session would, and its settings are captured)
-- params: id bigint, args jsonb
SELECT pg_catalog.to_json(@bgjob@.bgjob_enqueue(
	job => j.job, args => coalesce(:args, j.args), kind => j.kind, queue => j.queue, priority => j.priority, max_retries => j.max_retries,
	retry_delays => j.retry_delays, timeout => j.timeout, sequence_key => j.sequence_key, limits => j.limits, fairness_key => j.fairness_key,
	run_as => j.run_as::text, tags => j.tags, parameters => j.parameters)::text)
FROM bgjob.jobs j
@join_role@
WHERE j.id = :id
