-- What recurring jobs have enqueued in the last eight hours, for their strips: the newest jobs of each; and where these do not reach back
-- so far, the newest failed ones before them. "since": only from then on are all there; minutes from now, like each run.
-- Cost: one search of the jobs for each of at most 40 recurring jobs, a second one where there are many runs, 10 ms each at most; none is
-- begun after 25 ms. What there was no time for is not in the answer. 40 looks into the primary key for each.
-- params: owners text[], names text[]
WITH wanted AS MATERIALIZED (
    SELECT w.n, w.owner, w.name, pg_catalog.format('recurring:"%s" role:"%s" since:8h', pg_catalog.regexp_replace(w.name, '(["\\])', '\\\1', 'g'),
        pg_catalog.regexp_replace(pg_catalog.pg_get_userbyid(r.run_as)::text, '(["\\])', '\\\1', 'g')) AS query
    FROM unnest((:owners)[1:40], (:names)[1:40]) WITH ORDINALITY w (owner, name, n)
    JOIN bgjob.recurring_jobs r ON r.name = w.name AND pg_catalog.pg_get_userbyid(r.owner)::text = w.owner
    ORDER BY w.n
), newest AS MATERIALIZED (
    SELECT w.*, s.ids, s.next_before_id
    FROM (SELECT * FROM wanted WHERE pg_catalog.clock_timestamp() < pg_catalog.statement_timestamp() + interval '25 ms' OFFSET 0) w,
        LATERAL @bgjob@.bgjob_search(query => w.query, max_rows => 32, max_time => '10 ms') s
), failed AS MATERIALIZED (
    SELECT n.n, s.ids
    FROM (SELECT * FROM newest WHERE next_before_id IS NOT NULL
              AND pg_catalog.clock_timestamp() < pg_catalog.statement_timestamp() + interval '25 ms' OFFSET 0) n,
        LATERAL @bgjob@.bgjob_search(query => 'state:failed ' || n.query, before_id => n.next_before_id, max_rows => 8, max_time => '10 ms') s
), runs AS (
    SELECT i.n, i.newest, j.state, (pg_catalog.date_part('epoch', j.created_at - pg_catalog.now()) / 6)::integer / 10.0 AS at
    FROM (SELECT n, true AS newest, unnest(ids) AS id FROM newest UNION ALL SELECT n, false, unnest(ids) FROM failed) i
    JOIN bgjob.jobs j ON j.id = i.id
)
SELECT pg_catalog.json_build_object('at', pg_catalog.now(), 'rows', coalesce((
    SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', n.name, 'owner', n.owner,
        'since', CASE WHEN n.next_before_id IS NOT NULL THEN coalesce((SELECT min(r.at) FROM runs r WHERE r.n = n.n AND r.newest), 0)::double precision END,
        'runs', coalesce((SELECT pg_catalog.json_agg(pg_catalog.json_build_array(r.at::double precision, r.state) ORDER BY r.at) FROM runs r WHERE r.n = n.n), '[]')))
    FROM newest n), '[]'))
