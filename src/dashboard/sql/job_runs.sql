-- The newest jobs that call what a job calls and have run: the history of that function.
--
-- Cost: bgjob_search() finds them by the map of jobs, within 50 ms; 50 looks into the primary key. Commands have no name in common, so only those with
-- the same text are listed.
-- params: id bigint, rows int = 50
WITH this AS MATERIALIZED (
	SELECT j.id, j.job FROM bgjob.jobs j WHERE j.id = :id AND octet_length(j.job) <= 8192
)
SELECT json_build_object('job', left(t.job, 300),
	'rows', coalesce((SELECT json_agg(json_build_object('id', l.id::text, 'state', l.state, 'created_at', l.created_at, 'started_at', l.started_at, 'finished_at', l.finished_at,
			'duration_ms', extract(epoch FROM l.finished_at - l.started_at) * 1000, 'retries', l.retries, 'error', left(l.error ->> 'message', 160)) ORDER BY l.id DESC)
		FROM @bgjob@.bgjob_search(
				query => ('job:"' || replace(replace(t.job, E'\\', E'\\\\'), '"', E'\\"') || '" state:processing,succeeded,failed')::text,
				before_id => NULL::bigint, max_rows => least(greatest(:rows, 1), 100), max_time => '50 ms'::interval, search_args => false) f,
			LATERAL unnest(f.ids) u (id) JOIN bgjob.jobs l ON l.id = u.id), '[]'))
FROM this t
