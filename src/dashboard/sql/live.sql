-- What the live stream sends once a second: the counts of jobs by state, from shared memory alone.
-- Cost: independent of the number of jobs.
-- params:
SELECT pg_catalog.to_jsonb(s) || pg_catalog.jsonb_build_object('at', pg_catalog.clock_timestamp()) FROM bgjob.stats s
