-- One job: its row, the states that it has been in, and why it waits. The page asks again while the job changes.
--
-- Arguments and the like are cut at 64 kB, and not read if they take more than 64 kB in the table: job_value has them whole. Of the history there
-- are the first 20 and the last 180 entries. Cost: looks into primary keys; bgjob_why() is cheap at any size.
-- The answer is null if there is no such job, or the viewer may not see it.
-- params: id bigint
WITH hidden AS MATERIALIZED (
	SELECT coalesce(pg_catalog.current_setting('bgjob_dashboard.hide_arguments', true) = 'on', false) AS args
), entries AS MATERIALIZED (
	SELECT s.seq, s.state, s.reason, s.at, s.data, row_number() OVER (ORDER BY s.seq) AS n, count(*) OVER () AS total
	FROM bgjob.job_states s WHERE s.job_id = :id
)
SELECT json_build_object(
	'id', j.id::text, 'kind', j.kind, 'job', left(j.job, 65536), 'state', j.state, 'reason', left(j.reason, 4000), 'queue', j.queue, 'priority', j.priority,
	'args', CASE WHEN NOT h.args AND pg_column_size(j.args) <= 65536 THEN left(jsonb_pretty(j.args), 65536) END,
	'args_bytes', CASE WHEN NOT h.args THEN pg_column_size(j.args) END,
	'result', CASE WHEN NOT h.args AND pg_column_size(j.result) <= 65536 THEN left(jsonb_pretty(j.result), 65536) END,
	'result_bytes', CASE WHEN NOT h.args THEN pg_column_size(j.result) END,
	'parameters', CASE WHEN NOT h.args AND pg_column_size(j.parameters) <= 65536 THEN left(jsonb_pretty(j.parameters), 65536) END,
	'parameters_bytes', CASE WHEN NOT h.args THEN pg_column_size(j.parameters) END,
	'settings', CASE WHEN NOT h.args AND pg_column_size(j.settings) <= 65536 THEN left(jsonb_pretty(j.settings), 65536) END,
	'hidden', h.args,
	'created_at', j.created_at, 'run_at', j.run_at, 'started_at', j.started_at, 'finished_at', j.finished_at, 'expires_at', j.expires_at,
	'duration_ms', extract(epoch FROM j.finished_at - j.started_at) * 1000,
	'retries', j.retries, 'max_retries', j.max_retries, 'retry_delays', j.retry_delays::text[], 'interruptions', j.interruptions, 'timeout', j.timeout::text,
	'run_as', j.run_as::text, 'server', j.server, 'worker_pid', j.worker_pid, 'progress', j.progress, 'progress_message', left(j.progress_message, 1000),
	'unique_key', left(j.unique_key, 1000), 'sequence_key', left(j.sequence_key, 1000), 'limits', j.limits[1:50], 'fairness_key', left(j.fairness_key, 1000),
	'recurring', j.recurring_name, 'tags', j.tags[1:100],
	'after', cardinality(j.after), 'after_batch', j.after_batch::text, 'after_signal', j.after_signal[1:50], 'condition', j.condition, 'await_timeout', j.await_timeout::text,
	'error', CASE WHEN j.error IS NOT NULL THEN json_build_object('sqlstate', j.error ->> 'sqlstate', 'message', left(j.error ->> 'message', 16384), 'hint', left(j.error ->> 'hint', 4000),
		'detail', CASE WHEN NOT h.args THEN left(j.error ->> 'detail', 16384) END, 'context', CASE WHEN NOT h.args THEN left(j.error ->> 'context', 16384) END) END,
	'batch_id', j.batch_id::text,
	'states', (SELECT json_agg(json_build_object('seq', e.seq, 'state', e.state, 'reason', left(e.reason, 2000), 'at', e.at,
			'queue', e.data ->> 'queue', 'run_at', e.data ->> 'run_at', 'server', e.data ->> 'server', 'worker_pid', e.data ->> 'worker_pid', 'attempt', e.data ->> 'attempt',
			'duration_ms', (e.data ->> 'duration_ms')::float8, 'latency_ms', (e.data ->> 'latency_ms')::float8,
			'sqlstate', e.data ->> 'sqlstate', 'message', left(e.data ->> 'message', 4000), 'hint', left(e.data ->> 'hint', 1000),
			'detail', CASE WHEN NOT h.args THEN left(e.data ->> 'detail', 4000) END, 'context', CASE WHEN NOT h.args THEN left(e.data ->> 'context', 4000) END) ORDER BY e.seq)
		FROM entries e WHERE e.n <= 20 OR e.n > e.total - 180),
	'states_total', (SELECT count(*) FROM entries),
	'why', CASE WHEN j.state IN ('enqueued', 'scheduled', 'awaiting') THEN (
		SELECT json_agg(json_build_object('reason', w.reason, 'detail', left(w.detail, 2000), 'hint', left(w.hint, 1000), 'until', w.until) ORDER BY w.n)
		FROM @bgjob@.bgjob_why(id => :id) WITH ORDINALITY w (reason, detail, hint, until, n)) END,
	'may_change', pg_catalog.pg_has_role(j.run_as::oid, 'USAGE')
		OR pg_catalog.pg_has_role((SELECT e.extowner FROM pg_catalog.pg_extension e WHERE e.extname = 'bgjob'), 'USAGE'))
FROM bgjob.jobs j, hidden h
WHERE j.id = :id
