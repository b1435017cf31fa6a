-- Shows the jobs that wait for a retry.
SELECT id, state, retries,
	round(extract(epoch FROM run_at - clock_timestamp())) || ' s' AS "due in", reason
FROM bgjob.jobs WHERE queue = 'mail' ORDER BY id;
