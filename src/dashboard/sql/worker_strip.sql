-- What each worker did in the last minutes: the attempts that have ended lately, and those that run.
--
-- Cost: bgjob_list() of the newest finished and failed jobs, and of those that run. Attempts that were followed by a retry, and
-- earlier attempts of a job, are not among them: a job's row has its last attempt.
-- params: minutes int = 5, max_rows int = 800
WITH jobs AS MATERIALIZED (
    SELECT j.id, j.job, j.state, j.server, j.worker_pid, j.started_at, j.finished_at
    FROM @bgjob@.bgjob_list(state => 'processing'::text, max_rows => 500::integer) j
    UNION ALL
    SELECT j.id, j.job, j.state, j.server, j.worker_pid, j.started_at, j.finished_at
    FROM @bgjob@.bgjob_list(state => 'succeeded'::text, max_rows => least(greatest(:max_rows, 1), 2000)) j
    UNION ALL
    SELECT j.id, j.job, j.state, j.server, j.worker_pid, j.started_at, j.finished_at
    FROM @bgjob@.bgjob_list(state => 'failed'::text, max_rows => 100::integer) j
    UNION ALL
    SELECT j.id, j.job, j.state, j.server, j.worker_pid, j.started_at, j.finished_at
    FROM @bgjob@.bgjob_list(state => 'deleted'::text, max_rows => 100::integer) j
)
SELECT json_build_object(
    'at', clock_timestamp(),
    'capped', (SELECT count(*) >= least(greatest(:max_rows, 1), 2000) FROM jobs j WHERE j.state = 'succeeded'),
    'rows', (SELECT json_agg(json_build_array(j.id::text, j.job, j.state, j.server, j.worker_pid, j.started_at, j.finished_at) ORDER BY j.started_at, j.id)
             FROM jobs j
             WHERE j.started_at IS NOT NULL AND (j.finished_at IS NULL OR j.finished_at > now() - '1 minute'::interval * least(:minutes, 60))))
