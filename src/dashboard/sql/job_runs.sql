-- The newest jobs that call what a job calls and have run: the history of that function.
--
-- Cost: bgjob_list() finds them by the map of jobs, 50 rows in each of three states. Commands have no name in common, so only those with the same text
-- are listed.
-- params: id bigint, rows int = 50
WITH this AS MATERIALIZED (
	SELECT j.id, j.job FROM bgjob.jobs j WHERE j.id = :id AND octet_length(j.job) <= 8192
)
SELECT json_build_object('job', left(t.job, 300),
	'rows', coalesce((SELECT json_agg(json_build_object('id', l.id::text, 'state', l.state, 'created_at', l.created_at, 'started_at', l.started_at, 'finished_at', l.finished_at,
			'duration_ms', extract(epoch FROM l.finished_at - l.started_at) * 1000, 'retries', l.retries, 'error', left(l.error ->> 'message', 160)) ORDER BY l.id DESC)
		FROM (SELECT j.id, j.state, j.created_at, j.started_at, j.finished_at, j.retries, j.error
			FROM unnest('{processing,succeeded,failed}'::text[]) s (state),
				LATERAL @bgjob@.bgjob_list(state => s.state, job => t.job, max_rows => least(greatest(:rows, 1), 100)) j
			ORDER BY j.id DESC LIMIT least(greatest(:rows, 1), 100)) l), '[]'),
	'stats', (SELECT json_build_object('attempts', sum(s.attempts), 'failures', sum(s.failures), 'mean_ms', sum(s.total_run_time) / nullif(sum(s.attempts), 0), 'max_ms', max(s.max_run_time))
		FROM bgjob.function_stats s WHERE s.job = t.job))
FROM this t
