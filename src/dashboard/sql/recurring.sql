-- Recurring jobs with their next runs within the strip, which ends in sixteen hours: minutes from now. Of runs that are less than a
-- quarter of an hour apart, one in a quarter of an hour is there. Past runs: recurring_past.sql.
-- Cost: of the 200 rows that it returns, each with 65 runs at most, so one that runs every second costs no more.
-- params: search text
WITH r AS (
    SELECT * FROM bgjob.recurring_jobs
    WHERE :search IS NULL OR pg_catalog.strpos(pg_catalog.lower(name), pg_catalog.lower(:search)) > 0
    ORDER BY name, owner LIMIT 201
), shown AS (
    SELECT r.*, pg_catalog.row_number() OVER (ORDER BY name, owner) AS n FROM r ORDER BY name, owner LIMIT 200
)
SELECT pg_catalog.json_build_object(
    'at', pg_catalog.now(),
    'more', (SELECT pg_catalog.count(*) > 200 FROM r),
    'rows', coalesce((SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', s.name, 'owner', pg_catalog.pg_get_userbyid(s.owner)::text, 'schedule', s.schedule, 'time_zone', s.time_zone, 'description', s.description, 'day_match', s.day_match,
        'job', s.job, 'kind', s.kind, 'queue', s.queue, 'next_run_at', s.next_run_at, 'last_run_at', s.last_run_at, 'last_job_id', s.last_job_id::text,
        'last_state', s.last_state, 'active', s.active, 'created_at', s.created_at, 'error', s.error, 'jitter', nullif(s.jitter, interval '0')::text, 'starts_at', s.starts_at, 'ends_at', s.ends_at,
        'planned', CASE WHEN s.active THEN (
            WITH RECURSIVE run (at) AS (
                SELECT greatest(s.next_run_at, s.starts_at)
                UNION ALL
                SELECT @bgjob@.bgjob_cron_next(schedule => s.schedule, after => at + interval '14 minutes 59 seconds', time_zone => s.time_zone,
                    day_match => s.day_match, name => s.name)
                FROM run WHERE at < pg_catalog.now() + interval '16 hours'
            )
            SELECT pg_catalog.to_json(pg_catalog.array_agg((pg_catalog.date_part('epoch', at - pg_catalog.now()) / 60)::integer))
            FROM run WHERE at <= least(pg_catalog.now() + interval '16 hours', s.ends_at)) END) ORDER BY s.n)
        FROM shown s), '[]'))
