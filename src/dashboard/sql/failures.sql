-- The failed jobs, grouped by their errors, the largest groups first or those that have failed last.
--
-- Cost: bgjob_failures() looks at failed jobs, the newest first, for 45 ms and at 5,000 at most; "complete" says whether these were all. The query of
-- a group finds all of its jobs. At most 200 groups.
-- params: sort text(jobs|last) = jobs
WITH groups AS MATERIALIZED (
	SELECT f.* FROM @bgjob@.bgjob_failures(max_jobs => 5000, max_time => '45 ms'::interval) f
)
SELECT json_build_object(
	'rows', coalesce((SELECT json_agg(json_build_object('id', g.failure, 'job', left(g.job, 300), 'sqlstate', g.sqlstate, 'message', g.message,
			'jobs', g.jobs::text, 'first_at', g.first_at, 'last_at', g.last_at, 'sample_id', g.sample_id::text, 'sample', left(g.sample, 400),
			'queues', g.queues, 'histogram', g.histogram, 'query', g.query) ORDER BY g.place)
		FROM (SELECT x.*, row_number() OVER (ORDER BY CASE WHEN :sort = 'last' THEN NULL ELSE x.jobs END DESC NULLS LAST, x.last_at DESC, x.sample_id DESC) AS place FROM groups x) g
		WHERE g.place <= 200), '[]'),
	'groups', (SELECT count(*) FROM groups), 'jobs', (SELECT coalesce(sum(g.jobs), 0)::text FROM groups g),
	'complete', (SELECT coalesce(bool_and(g.complete), true) FROM groups g))
