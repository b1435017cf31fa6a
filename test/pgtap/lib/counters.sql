-- counters.sql
--
-- Compares bgjob's counts and tables with bgjob_internal.job, the reference: the columns of bgjob.stats, those of
-- bgjob.queues, also by role, the side tables (queue, schedule, failure, claim, unique_key) and the history. What the history of
-- queues counts is compared with the history of jobs by 35_stats_history; here it has to agree with itself.
--
-- Included by check_counters.sql, and read by check_counters() of test/t/lib/BgjobTest.pm. For a superuser.

-- tap_differences returns a line for each difference. A change between two reads shows as one, so callers retry for a while.
CREATE OR REPLACE FUNCTION pg_temp.tap_differences() RETURNS SETOF text LANGUAGE sql VOLATILE SET search_path = pg_catalog AS $$
	-- bgjob.stats. "processing" counts running jobs, so it is compared with bgjob.jobs.
	WITH truth AS (
		SELECT count(*) FILTER (WHERE state IN ('e', 'p')) AS unfinished,
			count(*) FILTER (WHERE state = 'p') AS claimed,
			count(*) FILTER (WHERE state = 's') AS scheduled,
			count(*) FILTER (WHERE state = 'a') AS awaiting,
			count(*) FILTER (WHERE state = 'k') + (SELECT coalesce(sum(jobs), 0) FROM bgjob_internal.total WHERE state = 'k') AS succeeded,
			count(*) FILTER (WHERE state = 'k') AS kept_succeeded,
			count(*) FILTER (WHERE state = 'd') AS kept_deleted,
			count(*) FILTER (WHERE state = 'f') AS failed,
			count(*) FILTER (WHERE state = 'd') + (SELECT coalesce(sum(jobs), 0) FROM bgjob_internal.total WHERE state = 'd') AS deleted,
			count(*) FILTER (WHERE state = 's' AND retries > 0) AS retries
		FROM bgjob_internal.job
	), stats AS (SELECT * FROM bgjob.stats
	), running AS (SELECT count(*) AS jobs FROM bgjob_internal.running_jobs())
	SELECT format('stats.%s is %s, should be %s', c.name, c.told, c.actual)
	FROM truth t, stats s, running r, LATERAL (VALUES
		('servers', s.servers, (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = current_database())
			* (1 + (SELECT count(*) FROM bgjob_internal.server_conf WHERE name <> 'default'))),
		('workers', s.workers, (SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'bgjob worker%' AND datname = current_database())),
		('enqueued', s.enqueued, t.unfinished - r.jobs),
		('processing', s.processing, r.jobs),
		('processing (with the claims)', s.processing, greatest(s.processing, t.claimed)),
		('scheduled', s.scheduled, t.scheduled),
		('awaiting', s.awaiting, t.awaiting),
		('succeeded', s.succeeded, t.succeeded),
		('failed', s.failed, t.failed),
		('deleted', s.deleted, t.deleted),
		('retries', s.retries, t.retries),
		('kept_succeeded', s.kept_succeeded, t.kept_succeeded),
		('kept_deleted', s.kept_deleted, t.kept_deleted),
		('recurring', s.recurring, (SELECT count(*) FROM bgjob_internal.recurring))) c (name, told, actual)
	WHERE c.told IS DISTINCT FROM c.actual
	UNION ALL
	-- bgjob.queues
	SELECT format('queues of %s are %s, should be %s', coalesce(q.queue, t.queue), q.told, t.actual)
	FROM (SELECT queue, format('%s unfinished, %s scheduled, %s failed', enqueued + processing, scheduled, failed) AS told FROM bgjob.queues
		WHERE enqueued + processing + scheduled + failed > 0) q
	FULL JOIN (SELECT queue::text AS queue, format('%s unfinished, %s scheduled, %s failed', count(*) FILTER (WHERE state IN ('e', 'p')),
			count(*) FILTER (WHERE state = 's'), count(*) FILTER (WHERE state = 'f')) AS actual
		FROM bgjob_internal.job WHERE state IN ('e', 'p', 's', 'f') GROUP BY 1) t USING (queue)
	WHERE q.told IS DISTINCT FROM t.actual
	UNION ALL
	-- The same by role: each tally.
	SELECT format('queue %s of role %s has %s, should have %s', coalesce(q.queue, t.queue), coalesce(q.role, t.role)::regrole, q.told, t.actual)
	FROM (SELECT r.role, c.queue, format('%s unfinished, %s scheduled, %s failed', c.enqueued + c.processing, c.scheduled, c.failed) AS told
		FROM (SELECT DISTINCT run_as::oid AS role FROM bgjob_internal.job) r, bgjob_internal.queue_counts(r.role::regrole) c
		WHERE c.enqueued + c.processing + c.scheduled + c.failed > 0) q
	FULL JOIN (SELECT run_as::oid AS role, queue::text AS queue, format('%s unfinished, %s scheduled, %s failed',
			count(*) FILTER (WHERE state IN ('e', 'p')), count(*) FILTER (WHERE state = 's'), count(*) FILTER (WHERE state = 'f')) AS actual
		FROM bgjob_internal.job WHERE state IN ('e', 'p', 's', 'f') GROUP BY 1, 2) t USING (role, queue)
	WHERE q.told IS DISTINCT FROM t.actual
	UNION ALL
	-- Each batch: what its view shows, and its members, from the jobs that name it or a batch in it.
	SELECT * FROM (
		WITH RECURSIVE up AS (
			SELECT id AS batch, id AS above FROM bgjob_internal.batch
			UNION ALL SELECT u.batch, b.parent FROM up u JOIN bgjob_internal.batch b ON b.id = u.above WHERE b.parent IS NOT NULL
		), truth AS (
			SELECT u.above AS id, count(*) FILTER (WHERE j.state NOT IN ('k', 'f', 'd')) AS open, count(*) FILTER (WHERE j.state = 'f') AS failed,
				count(*) FILTER (WHERE j.state = 'd') AS deleted, count(*) AS jobs
			FROM bgjob_internal.job j JOIN up u ON u.batch = j.batch_id GROUP BY 1
		), totals AS (
			SELECT batch AS id, sum(jobs) AS jobs, sum(failed) AS failed, sum(deleted) AS deleted FROM bgjob_internal.batch_total GROUP BY 1
		)
		SELECT format('batch %s has %s open, %s failed, %s deleted; should have %s, %s, %s', v.id, v.pending + v.processing, v.failed, v.deleted,
			coalesce(t.open, 0), coalesce(t.failed, 0) + coalesce(x.failed, 0), coalesce(t.deleted, 0) + coalesce(x.deleted, 0))
		FROM bgjob.batches v LEFT JOIN truth t USING (id) LEFT JOIN totals x USING (id)
		WHERE (v.pending + v.processing, v.failed, v.deleted) IS DISTINCT FROM
			(coalesce(t.open, 0), coalesce(t.failed, 0) + coalesce(x.failed, 0), coalesce(t.deleted, 0) + coalesce(x.deleted, 0))
			OR v.total < coalesce(t.jobs, 0) OR v.succeeded < 0 OR v.pending < 0
			OR v.total <> v.pending + v.processing + v.succeeded + v.failed + v.deleted
			OR (v.state = 'processing') IS DISTINCT FROM (coalesce(t.open, 0) > 0)
			OR (v.finished_at IS NULL) IS DISTINCT FROM (coalesce(t.open, 0) > 0)
		UNION ALL
		SELECT format('member %s of batch %s is %s, its job is %s in batch %s', m.job, m.batch, m.state, j.state, j.batch_id)
		FROM bgjob_internal.member m LEFT JOIN bgjob_internal.job j ON j.id = m.job
		LEFT JOIN up u ON u.batch = j.batch_id AND u.above = m.batch
		WHERE u.above IS NULL OR m.state <> CASE WHEN j.state IN ('f', 'd') THEN j.state ELSE 'o' END OR j.state = 'k'
	) b
	UNION ALL
	-- A job awaits only while something can release it; what it awaits has an edge to it.
	SELECT format('job %s awaits, but all of what it awaits has ended: %s', j.id, j.after)
	FROM bgjob_internal.job j
	WHERE j.state = 'a' AND j.after_signal IS NULL
		AND NOT EXISTS (SELECT FROM unnest(j.after) a LEFT JOIN bgjob_internal.job p ON p.id = a WHERE p.state NOT IN ('k', 'f', 'd'))
		AND NOT EXISTS (SELECT FROM bgjob_internal.member m WHERE m.batch = j.after_batch AND m.state = 'o')
	UNION ALL
	SELECT format('job %s in state %s has %s edges, should have %s', j.id, j.state, (SELECT count(*) FROM bgjob_internal.edge e WHERE e.dependant = j.id), n.edges)
	FROM bgjob_internal.job j,
		LATERAL (SELECT coalesce(cardinality(j.after), 0) + (j.after_batch IS NOT NULL)::integer + coalesce(cardinality(j.after_signal), 0)) n (edges)
	WHERE n.edges > 0 AND n.edges < 1000 AND j.state IN ('a', 'e', 's', 'p', 'f') AND (SELECT count(*) FROM bgjob_internal.edge e WHERE e.dependant = j.id) <> n.edges
	UNION ALL
	SELECT format('an edge leads from %s to job %s, which is not there, or over', e.target, e.dependant)
	FROM bgjob_internal.edge e LEFT JOIN bgjob_internal.job j ON j.id = e.dependant
	WHERE j.id IS NULL OR j.state = 'k' OR j.state = 'd' AND j.reason NOT LIKE 'Cannot run: %'
	UNION ALL
	-- A job has a row in the side table of its state, and in no other.
	SELECT format('job %s is in state %s, in queue: %s, in schedule: %s, in failure: %s, in claim: %s, in awaiting: %s', id, j.state, q.places, s.places, f.places, c.places, w.places)
	FROM (SELECT * FROM bgjob_internal.job WHERE state NOT IN ('k', 'd')) j
	FULL JOIN (SELECT id, count(*) AS places, min(pos) AS pos, min(queue) AS queue, min(priority) AS priority, min(role) AS role
		FROM (SELECT coalesce(job, pos) AS id, pos, queue::text, priority, role::oid FROM bgjob_internal.queue
			UNION ALL -- one that waits at a gate has its row there instead
			SELECT g.job, coalesce(w.pos, w.id), w.queue::text, w.priority, w.run_as::oid
			FROM bgjob_internal.gate g LEFT JOIN bgjob_internal.job w ON w.id = g.job AND w.gate = g.gate
			UNION ALL -- and one that an external worker has
			SELECT l.job, coalesce(w.pos, w.id), w.queue::text, w.priority, w.run_as::oid
			FROM bgjob_internal.lease l LEFT JOIN bgjob_internal.job w ON w.id = l.job) x GROUP BY 1) q USING (id)
	FULL JOIN (SELECT job AS id, count(*) AS places, min(at) AS at, min(queue::text) AS queue FROM bgjob_internal.schedule GROUP BY 1) s USING (id)
	FULL JOIN (SELECT job AS id, count(*) AS places, min(queue::text) AS queue FROM bgjob_internal.failure GROUP BY 1) f USING (id)
	FULL JOIN (SELECT job AS id, count(*) AS places FROM bgjob_internal.claim GROUP BY 1) c USING (id)
	FULL JOIN (SELECT job AS id, count(*) AS places FROM bgjob_internal.awaiting GROUP BY 1) w USING (id)
	WHERE (j.state = 'e', j.state = 's', j.state = 'f', j.state = 'p', j.state = 'a') IS DISTINCT FROM
			(coalesce(q.places, 0) = 1, coalesce(s.places, 0) = 1, coalesce(f.places, 0) = 1, coalesce(c.places, 0) = 1, coalesce(w.places, 0) = 1)
		OR j.state = 'e' AND (q.pos, q.queue, q.priority, q.role) IS DISTINCT FROM (coalesce(j.pos, j.id), j.queue::text, j.priority, j.run_as::oid)
		OR j.state = 's' AND (s.at, s.queue) IS DISTINCT FROM (j.run_at, j.queue::text)
		OR j.state = 'f' AND f.queue IS DISTINCT FROM j.queue::text
	UNION ALL
	-- A job stands in its sequence from when it is first ready until it is over; also while it is failed, or waits for a retry.
	SELECT format('job %s in state %s stands in a sequence: %s', coalesce(j.id, s.job), j.state, s.job IS NOT NULL)
	FROM (SELECT id, state, retries FROM bgjob_internal.job WHERE sequence_key IS NOT NULL) j FULL JOIN bgjob_internal.sequence s ON s.job = j.id
	WHERE CASE WHEN j.state IN ('e', 'p', 'f') OR j.state = 's' AND j.retries > 0 THEN s.job IS NULL
		ELSE s.job IS NOT NULL AND coalesce(j.state IN ('k', 'd'), true) END
	UNION ALL
	SELECT format('claim of job %s by process %s, which is not at it', c.job, c.pid)
	FROM bgjob_internal.claim c LEFT JOIN bgjob_internal.worker_slots() w ON w.job = c.job AND w.pid = c.pid WHERE w.job IS NULL
	UNION ALL
	-- Memory has each lease of the table, and no other.
	SELECT format('lease of job %s by %s in the table, by %s in memory', coalesce(l.job, m.job), l.worker, m.server)
	FROM bgjob_internal.lease l
	FULL JOIN (SELECT r.job, r.server FROM bgjob_internal.running_jobs() r JOIN bgjob_internal.job j ON j.id = r.job AND j.kind = 'e') m USING (job)
	WHERE l.worker IS DISTINCT FROM m.server
	UNION ALL
	-- Each running job exists.
	SELECT format('worker %s is at job %s, which is in state %s', w.pid, w.job, j.state)
	FROM bgjob_internal.running_jobs() w LEFT JOIN bgjob_internal.job j ON j.id = w.job WHERE w.job IS NOT NULL AND coalesce(j.state NOT IN ('e', 'p'), true)
	UNION ALL
	SELECT format('unique_key %s of %s is of job %s, should be of job %s', key, owner, u.job, j.id)
	FROM bgjob_internal.unique_key u FULL JOIN (SELECT run_as::regrole AS owner, unique_key COLLATE "C" AS key, id FROM bgjob_internal.job
		WHERE unique_key IS NOT NULL AND state IN ('e', 's', 'a', 'p')) j USING (owner, key)
	WHERE u.job IS DISTINCT FROM j.id
	UNION ALL
	-- The history has the entries that the job's row counts, in order.
	SELECT format('job %s has %s entries of history, numbered to %s, should be %s', job, s.entries, s.last, j.states)
	FROM (SELECT id AS job, states FROM bgjob_internal.job WHERE states IS NOT NULL) j
	FULL JOIN (SELECT job, count(*) AS entries, min(seq) AS first, max(seq) AS last FROM bgjob_internal.state WHERE seq > 0 GROUP BY 1) s USING (job)
	WHERE (s.entries, s.first, s.last) IS DISTINCT FROM (j.states::bigint, 1, j.states)
	UNION ALL
	SELECT format('job %s has log lines to %s, should be %s', job, l.last, j.logs)
	FROM (SELECT id AS job, logs FROM bgjob_internal.job WHERE logs > 0) j FULL JOIN (SELECT job, max(seq) AS last FROM bgjob_internal.log GROUP BY 1) l USING (job)
	WHERE l.last IS DISTINCT FROM j.logs
	UNION ALL
	SELECT format('job %s: state %s, but started %s, finished %s, retries %s of %s', id, state, started_at, finished_at, retries, max_retries)
	FROM bgjob_internal.job
	WHERE (state IN ('k', 'f', 'd')) IS DISTINCT FROM (finished_at IS NOT NULL) OR state = 'k' AND started_at IS NULL
		OR state = 's' AND run_at IS NULL OR retries < 0
	UNION ALL
	-- In the history of queues, a day is the sum of its hours that are in it.
	SELECT format('%s of queue %s of role %s has %s, its hours have %s', coalesce(d.at, h.at), coalesce(d.queue, h.queue), coalesce(d.role, h.role), d.told, h.told)
	FROM (SELECT at, role::oid AS role, queue, ROW(enqueued, succeeded, failed, deleted, retried, interrupted, lost, throttled, cpu_time, wal_bytes, runs, run_time, waits, wait_time, run_histogram, wait_histogram)::text AS told
		FROM bgjob_internal.stats_day WHERE at > now() - interval '30 days') d
	FULL JOIN (SELECT date_trunc('day', at, 'UTC') AS at, role::oid AS role, queue, ROW(sum(enqueued), sum(succeeded), sum(failed), sum(deleted), sum(retried), sum(interrupted), sum(lost), sum(throttled),
			sum(cpu_time), sum(wal_bytes), sum(runs), sum(run_time), sum(waits), sum(wait_time), bgjob_internal.histogram_sum(run_histogram), bgjob_internal.histogram_sum(wait_histogram))::text AS told
		FROM bgjob_internal.stats_hour WHERE in_day AND date_trunc('day', at, 'UTC') > now() - interval '30 days' GROUP BY 1, 2, 3) h USING (at, role, queue)
	WHERE d.told IS DISTINCT FROM h.told
	UNION ALL
	-- Nothing is counted twice, or taken away: no number is negative.
	SELECT format('history of queue %s of role %s at %s: %s', queue, role, at, h)
	FROM bgjob_internal.stats_hour h
	WHERE least(enqueued, succeeded, failed, deleted, retried, interrupted, lost, throttled, cpu_time, wal_bytes, runs, run_time, waits, wait_time) < 0
		OR (runs > 0) IS DISTINCT FROM (bgjob_internal.histogram_percentile(run_histogram, 0.5) IS NOT NULL)
		OR (waits > 0) IS DISTINCT FROM (bgjob_internal.histogram_percentile(wait_histogram, 0.5) IS NOT NULL)
	UNION ALL
	-- Shared settings of jobs exist.
	SELECT format('job %s names settings %s, which are not there', j.id, n.setting)
	FROM bgjob_internal.job j, LATERAL (VALUES (call_id), (settings_id), (policy_id)) n (setting)
	WHERE n.setting IS NOT NULL AND NOT EXISTS (SELECT FROM bgjob_internal.settings s WHERE s.id = n.setting)
	UNION ALL
	SELECT format('sequence %s is at %s, behind %s', n.name, n.at, n.last)
	FROM (SELECT 'job_id_seq', (SELECT last_value FROM bgjob_internal.job_id_seq), (SELECT max(greatest(id, pos)) FROM bgjob_internal.job)
		UNION ALL SELECT 'settings_id_seq', (SELECT last_value FROM bgjob_internal.settings_id_seq), (SELECT max(id) FROM bgjob_internal.settings)) n (name, at, last)
	WHERE n.at < n.last;
$$;
