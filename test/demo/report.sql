-- The report at the end: the views, and a search in the index that the jobs have built.
\pset null '-'

\echo
\echo 'bgjob.stats'
SELECT servers, workers, enqueued, scheduled, processing, succeeded, failed, deleted, retries FROM bgjob.stats;

\echo 'bgjob.queues'
SELECT queue, paused, enqueued, processing, scheduled, failed FROM bgjob.queues ORDER BY queue;

\echo 'bgjob.workers'
SELECT pid, server, role, state, jobs_done, pg_size_pretty(memory_bytes::bigint) AS memory FROM bgjob.workers ORDER BY pid;

\echo 'bgjob.jobs: the document that was indexed last, and all jobs of other kinds'
SELECT id, left(job, 20) || CASE WHEN length(job) > 20 THEN '...' ELSE '' END AS job, queue, state, retries AS retry, run_as,
	left(coalesce(result::text, error ->> 'message', reason), 31) AS "result or error"
FROM bgjob.jobs
WHERE queue <> 'index' OR state <> 'succeeded' OR id = (SELECT max(id) FROM bgjob.jobs WHERE queue = 'index' AND state = 'succeeded')
ORDER BY id;

\echo 'bgjob.job_states: the history of a job that was retried'
SELECT seq, state, to_char(at, 'HH24:MI:SS.MS') AS at,
	coalesce(left(reason, 70), jsonb_strip_nulls(data - 'context')::text) AS "reason or data"
FROM bgjob.job_states
WHERE job_id = (SELECT min(id) FROM bgjob.jobs WHERE queue = 'mail')
ORDER BY seq;

\echo 'Delayed jobs: how late they started'
SELECT id, left(job, 20) || CASE WHEN length(job) > 20 THEN '...' ELSE '' END AS job, to_char(due, 'HH24:MI:SS.MS') AS due,
	to_char(started_at, 'HH24:MI:SS.MS') AS started,
	round(1000 * extract(epoch FROM started_at - due), 1) || ' ms' AS late
FROM bgjob.jobs, LATERAL (
	SELECT (data ->> 'run_at')::timestamptz AS due FROM bgjob.job_states WHERE job_id = id AND state = 'scheduled'
) AS scheduled
WHERE queue = 'default' ORDER BY due;

\echo 'A search in the index that the jobs have built: "derivative works" patent'
SELECT path, words, round(ts_rank(search, query)::numeric, 3) AS rank,
	array_to_string(ARRAY(SELECT key FROM jsonb_each_text(most_frequent) ORDER BY value::int DESC LIMIT 3), ', ') AS "most frequent"
FROM document_index JOIN document ON document.id = document_id,
	websearch_to_tsquery('english', '"derivative works" patent') AS query
WHERE search @@ query
ORDER BY ts_rank(search, query) DESC, path LIMIT 5;
