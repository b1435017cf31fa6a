-- Recurring jobs with their occurrences within the strip, which begins four hours ago and ends in twenty.
-- Cost: what the 500 rows that it returns cost; a row has at most 49 occurrences, so one that runs every second costs no more.
-- params: search text
WITH r AS (
    SELECT * FROM bgjob.recurring_jobs
    WHERE :search IS NULL OR pg_catalog.strpos(pg_catalog.lower(name), pg_catalog.lower(:search)) > 0
    ORDER BY name, owner LIMIT 501
), shown AS (
    SELECT r.*, row_number() OVER (ORDER BY name, owner) AS n FROM r ORDER BY name, owner LIMIT 500
)
SELECT pg_catalog.jsonb_build_object(
    'at', pg_catalog.now(),
    'more', (SELECT pg_catalog.count(*) > 500 FROM r),
    'rows', coalesce((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'name', s.name, 'owner', s.owner::text, 'schedule', s.schedule, 'time_zone', s.time_zone, 'description', s.description, 'day_match', s.day_match,
        'job', s.job, 'kind', s.kind, 'queue', s.queue, 'next_run_at', s.next_run_at, 'last_run_at', s.last_run_at, 'last_job_id', s.last_job_id::text,
        'last_state', s.last_state, 'active', s.active, 'error', s.error, 'jitter', s.jitter::text, 'starts_at', s.starts_at, 'ends_at', s.ends_at,
        'planned', CASE WHEN s.active AND s.next_run_at IS NOT NULL THEN (
            SELECT pg_catalog.jsonb_agg(o.at ORDER BY o.at) FROM (
                SELECT @bgjob@.bgjob_cron_occurrences(schedule => s.schedule, since => greatest(s.next_run_at, s.starts_at),
                    until => least(pg_catalog.now() + interval '20 hours', s.ends_at), time_zone => s.time_zone, day_match => s.day_match, name => s.name) AS at
                LIMIT 49) o) END) ORDER BY s.n)
        FROM shown s), '[]'))
