CREATE VIEW bgjob.recurring_jobs WITH (security_barrier) AS
SELECT r.name,
       r.owner,
       r.schedule,
       r.time_zone,
       bgjob_internal.schedule_description(r.schedule, r.all_days, r.name) AS description,
       r.job,
       r.args,
       r.queue::text AS queue,
       CASE WHEN NOT r.lost THEN nullif(r.next_at, 'infinity') END AS next_run_at,
       r.last_run_at,
       r.last_job AS last_job_id,
       -- As in bgjob.jobs, which reads more than the state. A subquery looks each job up by its id, however many jobs there are.
       (SELECT CASE WHEN j.state IN ('e', 'p') AND bgjob_internal.is_running(j.id) THEN 'processing' ELSE bgjob_internal.state_name(j.state) END
        FROM bgjob_internal.job j WHERE j.id = r.last_job AND bgjob_internal.may_see(j.run_as)) AS last_state,
       CASE r.misfire WHEN 'o' THEN 'once' WHEN 'a' THEN 'all' ELSE 'skip' END AS misfire,
       CASE r.overlap WHEN 'a' THEN 'allow' WHEN 's' THEN 'skip' WHEN 'q' THEN 'queue' ELSE 'cancel' END AS overlap,
       r.active,
       CASE WHEN r.next_at = 'infinity' AND NOT r.lost THEN 'Not adopted: run bgjob_adopt()' ELSE r.error END AS error,
       r.created_at,
       CASE r.kind WHEN 'f' THEN 'function' WHEN 's' THEN 'sql' ELSE 'external' END AS kind,
       r.run_as,
       r.priority::integer AS priority,
       r.max_retries,
       r.timeout,
       r.unique_key,
       CASE r.on_duplicate WHEN 's' THEN 'skip' WHEN 'r' THEN 'replace' WHEN 'd' THEN 'reschedule' WHEN 'n' THEN 'supersede' ELSE 'error' END AS on_duplicate,
       r.@column@,
       r.tags,
       r.parameters,
       coalesce((SELECT s.settings FROM bgjob_internal.settings s WHERE s.id = r.settings_id), '{}') || coalesce(r.custom_settings, '{}') AS settings,
       r.jitter,
       r.starts_at,
       r.ends_at,
       CASE WHEN r.all_days THEN 'all' ELSE 'any' END AS day_match,
       r.given,
       r.retry_delays
FROM bgjob_internal.recurring r
WHERE bgjob_internal.may_see(r.owner);
COMMENT ON VIEW bgjob.recurring_jobs IS 'recurring jobs, their next run, and the state of their last job';
GRANT SELECT ON bgjob.recurring_jobs TO PUBLIC;
