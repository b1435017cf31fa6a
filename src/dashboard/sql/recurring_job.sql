-- One recurring job: its options, next times, and its latest runs.
-- Cost: of the row; and a search for the jobs that it has enqueued, newest first, which ends after 100 ms.
-- params: name text, owner text
SELECT pg_catalog.jsonb_build_object(
    'hidden', EXISTS (SELECT FROM bgjob.recurring_jobs o WHERE o.name = r.name AND pg_catalog.pg_get_userbyid(o.owner) = current_user),
    'name', r.name, 'owner', pg_catalog.pg_get_userbyid(r.owner)::text, 'schedule', r.schedule, 'time_zone', r.time_zone, 'description', r.description, 'day_match', r.day_match,
    'job', r.job, 'kind', r.kind, 'queue', r.queue, 'priority', r.priority, 'max_retries', r.max_retries, 'timeout', nullif(r.timeout, interval '0')::text, 'run_as', pg_catalog.pg_get_userbyid(r.run_as)::text,
    'misfire', r.misfire, 'overlap', r.overlap, 'jitter', nullif(r.jitter, interval '0')::text, 'starts_at', r.starts_at, 'ends_at', r.ends_at, 'active', r.active,
    'next_run_at', r.next_run_at, 'last_run_at', r.last_run_at, 'last_job_id', r.last_job_id::text, 'last_state', r.last_state, 'error', r.error,
    'created_at', r.created_at, 'tags', r.tags, 'unique_key', r.unique_key, 'sequence_key', r.sequence_key, 'limits', r.limits, 'fairness_key', r.fairness_key,
    'args', CASE WHEN pg_catalog.current_setting('bgjob_dashboard.hide_arguments', true) = 'on' THEN NULL ELSE pg_catalog.jsonb_pretty(r.args) END,
    'parameters', CASE WHEN pg_catalog.current_setting('bgjob_dashboard.hide_arguments', true) = 'on' THEN NULL ELSE pg_catalog.jsonb_pretty(r.parameters) END,
    'next', CASE WHEN r.active AND r.next_run_at IS NOT NULL THEN (
        SELECT pg_catalog.jsonb_agg(o.at ORDER BY o.at) FROM (
            SELECT @bgjob@.bgjob_cron_occurrences(schedule => r.schedule, since => greatest(r.next_run_at, r.starts_at),
                until => least(pg_catalog.now() + interval '12 years', r.ends_at), time_zone => r.time_zone, day_match => r.day_match, name => r.name) AS at
            LIMIT 8) o) END)
FROM bgjob.recurring_jobs r
WHERE r.name = :name AND (:owner IS NULL OR pg_catalog.pg_get_userbyid(r.owner)::text = :owner)
ORDER BY pg_catalog.pg_get_userbyid(r.owner)::text LIMIT 1
