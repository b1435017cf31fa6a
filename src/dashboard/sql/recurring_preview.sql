-- What a schedule means, and its next times: while it is being written.
-- Cost: five occurrences.
-- params: schedule text, time_zone text, day_match text = any, name text
SELECT pg_catalog.jsonb_build_object(
    'description', @bgjob@.bgjob_cron_describe(schedule => :schedule, day_match => :day_match, name => :name),
    'time_zone', coalesce(:time_zone, pg_catalog.current_setting('bgjob.time_zone')),
    'next', coalesce((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('at', o.at,
            'local', pg_catalog.to_char(pg_catalog.timezone(coalesce(:time_zone, pg_catalog.current_setting('bgjob.time_zone')), o.at), 'Dy, DD Mon YYYY HH24:MI:SS')) ORDER BY o.at)
        FROM (SELECT @bgjob@.bgjob_cron_occurrences(schedule => :schedule, since => pg_catalog.now(), until => pg_catalog.now() + interval '12 years',
            time_zone => :time_zone, day_match => :day_match, name => :name) AS at LIMIT 5) o), '[]'))
