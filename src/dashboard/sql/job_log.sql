-- Lines of a job's console: those after a number, or the last ones.
--
-- Cost: a range of the primary key of the log; of a running job also what it keeps in shared memory. Lines are cut at 4,000 characters.
-- The answer: rows in order, first (the number of the first line that there is), last.
-- params: id bigint, after int, before int, rows int = 500, level text
WITH lines AS MATERIALIZED (
	SELECT l.seq, l.at, l.level, left(l.message, 4000) AS message, length(l.message) > 4000 AS cut
	FROM bgjob.job_logs l
	WHERE l.job_id = :id AND (:after IS NULL OR l.seq > :after) AND (:before IS NULL OR l.seq < :before)
		AND (nullif(:level, '') IS NULL OR l.level = ANY (CASE :level WHEN 'error' THEN '{error}'::text[] WHEN 'warning' THEN '{warning,error}'::text[]
			WHEN 'info' THEN '{info,notice,warning,error}'::text[] ELSE ARRAY[:level] END))
	ORDER BY CASE WHEN :after IS NULL THEN -l.seq ELSE l.seq END
	LIMIT least(greatest(:rows, 1), 1000)
)
SELECT json_build_object(
	'rows', coalesce((SELECT json_agg(json_build_object('seq', l.seq, 'at', l.at, 'level', l.level, 'message', l.message, 'cut', l.cut) ORDER BY l.seq) FROM lines l), '[]'),
	'more', (SELECT count(*) = least(greatest(:rows, 1), 1000) FROM lines))
