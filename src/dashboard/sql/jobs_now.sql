-- What has become of the rows of a page of jobs, and how many newer ones there are: keeps a list up to date without moving it.
--
-- Cost: one look into the primary key for each id (200 at most), and a page of 100 ids. Without newest, newer jobs are not counted.
-- The answer: rows (those that are no more are missing), newer (100: at least).
-- params: ids bigint[], state text, q text, newest bigint
WITH found AS MATERIALIZED (
	SELECT f.ids
	FROM @bgjob@.bgjob_search(
		query => concat_ws(' ', 'state:' || nullif(:state, ''), nullif(:q, ''))::text,
		before_id => NULL::bigint, max_rows => 100, max_time => '50 ms'::interval,
		search_args => pg_catalog.current_setting('bgjob_dashboard.hide_arguments', true) IS DISTINCT FROM 'on') f
	WHERE :newest IS NOT NULL
)
SELECT json_build_object(
	'rows', coalesce((
		SELECT json_agg(json_build_object(
			'id', j.id::text, 'state', j.state, 'queue', j.queue, 'priority', j.priority, 'reason', left(j.reason, 240),
			'error', left(j.error ->> 'message', 240), 'sqlstate', j.error ->> 'sqlstate',
			'run_at', j.run_at, 'started_at', j.started_at, 'finished_at', j.finished_at,
			'duration_ms', extract(epoch FROM j.finished_at - j.started_at) * 1000, 'retries', j.retries, 'max_retries', j.max_retries,
			'progress', j.progress, 'progress_message', left(j.progress_message, 120), 'server', j.server))
		FROM unnest((:ids)[1:200]) u (id) JOIN bgjob.jobs j ON j.id = u.id), '[]'),
	'newer', (SELECT count(*) FROM found f, unnest(f.ids) n (id) WHERE n.id > :newest))
