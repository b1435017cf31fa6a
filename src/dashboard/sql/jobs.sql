-- A page of jobs, the newest first: those of a state that match a query of bgjob_search().
--
-- Cost: bgjob_search() finds the ids by the map of jobs, within 100 ms; each row is one look into the primary key. Arguments are cut, and
-- those that take more than 8 kB in the table are not read. So a page costs the same at ten million jobs as at ten.
-- Where arguments are hidden, they are not searched either: that would tell what they are.
-- The answer: rows, looked_through, next (the before of the next page; null: this is the last one), hidden.
-- params: state text, q text, before bigint, rows int = 50
WITH hidden AS MATERIALIZED (
	SELECT coalesce(pg_catalog.current_setting('bgjob_dashboard.hide_arguments', true) = 'on', false) AS args
), found AS MATERIALIZED (
	SELECT f.ids, f.looked_through, f.next_before_id
	FROM hidden h, LATERAL @bgjob@.bgjob_search(
		query => concat_ws(' ', 'state:' || nullif(:state, ''), nullif(:q, ''))::text,
		before_id => :before, max_rows => least(greatest(:rows, 1), 200), max_time => '100 ms'::interval, search_args => NOT h.args) f
)
SELECT json_build_object(
	'rows', coalesce((
		SELECT json_agg(json_build_object(
			'id', j.id::text, 'kind', j.kind, 'job', left(j.job, 300), 'state', j.state, 'queue', j.queue, 'priority', j.priority,
			'args', CASE WHEN NOT h.args AND pg_column_size(j.args) <= 8192 THEN left(j.args::text, 240) END,
			'args_bytes', CASE WHEN NOT h.args THEN pg_column_size(j.args) END,
			'reason', left(j.reason, 240), 'error', left(j.error ->> 'message', 240), 'sqlstate', j.error ->> 'sqlstate',
			'created_at', j.created_at, 'run_at', j.run_at, 'started_at', j.started_at, 'finished_at', j.finished_at,
			'duration_ms', extract(epoch FROM j.finished_at - j.started_at) * 1000,
			'retries', j.retries, 'max_retries', j.max_retries, 'run_as', j.run_as::text,
			'progress', j.progress, 'progress_message', left(j.progress_message, 120), 'server', j.server,
			'tags', j.tags[1:6], 'batch', j.batch_id::text, 'recurring', j.recurring_name) ORDER BY j.id DESC)
		FROM unnest(f.ids) u (id) JOIN bgjob.jobs j ON j.id = u.id), '[]'),
	'looked_through', f.looked_through::text, 'next', f.next_before_id::text, 'hidden', h.args)
FROM found f, hidden h
