-- 35_stats_history.sql
--
-- What this file proves (doc/manual.md, "bgjob.stats_history"):
--   * the view has its columns, each with a comment;
--   * its counts are those of the history of jobs, by queue: single jobs, groups, chunks, commands, external jobs, runs in a session,
--     prepared transactions; of a savepoint that was rolled back nothing is counted;
--   * jobs that were deleted before they ran are counted as deleted, and have no times;
--   * its means are exact, and its percentiles within 9.1 % of those that the server computes;
--   * a role sees the roles whose jobs it sees, added up by queue;
--   * a day is the sum of its hours; what is asked of the view is what is read.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser.

\ir lib/session.sql

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap35_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap35_' \gexec
CREATE ROLE tap35_app LOGIN;
CREATE ROLE tap35_other LOGIN;
CREATE ROLE tap35_monitor LOGIN;
GRANT pg_monitor TO tap35_monitor;
GRANT USAGE ON SCHEMA bgjob TO tap35_app, tap35_other;
GRANT USAGE, CREATE ON SCHEMA public TO tap35_app, tap35_other;

----------------------------------------------------------------------------------------------------
-- Helpers
----------------------------------------------------------------------------------------------------

\ir lib/wait.sql
\ir lib/errors.sql

-- The entries of the history of jobs, with those before and after.
CREATE VIEW tap_entry AS
SELECT j.queue, s.job_id, s.seq, s.state, s.at, s.reason, lag(s.at) OVER w AS since, lag(s.state) OVER w AS before, lead(s.at) OVER w AS until, lead(s.state) OVER w AS after,
	lead(s.reason) OVER w AS reason_after
FROM bgjob.jobs j JOIN bgjob.job_states s ON s.job_id = j.id WINDOW w AS (PARTITION BY s.job_id ORDER BY s.seq);
-- What the view should say of each queue, by the history.
CREATE VIEW tap_expected AS
SELECT queue, count(DISTINCT job_id) AS enqueued, count(*) FILTER (WHERE state = 'succeeded') AS succeeded,
	count(*) FILTER (WHERE state = 'failed' AND reason_after NOT LIKE 'Retry attempt%' IS NOT FALSE) AS failed,
	count(*) FILTER (WHERE state = 'failed' AND reason_after LIKE 'Retry attempt%') AS retried,
	count(*) FILTER (WHERE state = 'deleted') AS deleted,
	count(*) FILTER (WHERE state = 'processing' AND after IS NOT NULL) AS runs,
	sum(EXTRACT(epoch FROM until - at) * 1000) FILTER (WHERE state = 'processing') AS run_time,
	sum(EXTRACT(epoch FROM at - since) * 1000) FILTER (WHERE state = 'processing' AND after IS NOT NULL) AS wait_time
FROM tap_entry GROUP BY 1;
-- What it says, over all hours and roles. The mean times the number of attempts is compared with their sum.
CREATE VIEW tap_told AS
SELECT v.*, t.runs, t.waits FROM (SELECT queue, sum(enqueued) AS enqueued, sum(succeeded) AS succeeded, sum(failed) AS failed, sum(retried) AS retried, sum(deleted) AS deleted
	FROM bgjob.stats_history WHERE bucket = 'hour' GROUP BY 1) v
JOIN (SELECT queue::text AS queue, sum(runs) AS runs, sum(waits) AS waits FROM bgjob_internal.stats_hour GROUP BY 1) t USING (queue);
CREATE FUNCTION tap_wrong() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' ', coalesce(e.queue, t.queue), ':', t.enqueued, t.succeeded, t.failed, t.retried, t.deleted, t.runs, t.waits,
		'instead of', e.enqueued, e.succeeded, e.failed, e.retried, e.deleted, e.runs)
	FROM tap_expected e FULL JOIN tap_told t USING (queue)
	WHERE (e.enqueued, e.succeeded, e.failed, e.retried, e.deleted, e.runs, e.runs) IS DISTINCT FROM (t.enqueued, t.succeeded, t.failed, t.retried, t.deleted, t.runs, t.waits)
	UNION ALL
	-- Days have what hours have.
	SELECT format('%s %s: %s', coalesce(d.queue, h.queue), coalesce(d.at, h.at), d.all IS NOT NULL)
	FROM (SELECT queue, at, ROW(enqueued, succeeded, failed, deleted, retried, interrupted, lost, throttled, wal_bytes)::text AS all FROM bgjob.stats_history WHERE bucket = 'day') d
	FULL JOIN (SELECT queue, date_trunc('day', at, 'UTC') AS at, ROW(sum(enqueued), sum(succeeded), sum(failed), sum(deleted), sum(retried), sum(interrupted), sum(lost), sum(throttled), sum(wal_bytes))::text AS all
		FROM bgjob.stats_history WHERE bucket = 'hour' GROUP BY 1, 2) h USING (queue, at)
	WHERE d.all IS DISTINCT FROM h.all $$;

-- tap_counted waits until no job runs, and the view agrees with the history: it is a second behind.
CREATE PROCEDURE tap_counted() LANGUAGE plpgsql AS $$
BEGIN
	CALL tap_idle();
	CALL tap_wait_until('SELECT NOT EXISTS (SELECT FROM tap_wrong())', 20);
END $$;

-- tap_queue returns the counts of a queue.
CREATE FUNCTION tap_queue(name text) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s enqueued, %s succeeded, %s failed, %s retried, %s deleted', enqueued, succeeded, failed, retried, deleted) FROM tap_told WHERE queue = name $$;

-- The queues that a role sees, with the jobs that have succeeded.
CREATE FUNCTION tap_seen_by(role name) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
	seen text[];
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', role);
	seen := ARRAY(SELECT format('%s %s', queue, sum(succeeded)) FROM bgjob.stats_history WHERE bucket = 'hour' GROUP BY queue ORDER BY queue COLLATE "C");
	RESET ROLE;
	RETURN seen;
END $$;

-- The indexes that a query reads, tables that it reads whole, and whether it finds rows of the time by an index.
CREATE FUNCTION tap_reads(query text) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
	line text;
	reads text[] := '{}';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || query LOOP
		IF line ~ 'stats_(hour|day)_' OR line ~ 'Seq Scan' THEN
			reads := reads || substring(line, 'stats_(?:hour|day)\w*');
		END IF;
		IF line ~ 'Index Cond: .*at >' THEN
			reads := reads || 'by time'::text;
		END IF;
	END LOOP;
	RETURN ARRAY(SELECT DISTINCT r FROM unnest(reads) r ORDER BY 1);
END $$;

----------------------------------------------------------------------------------------------------
-- What the jobs of this file call
----------------------------------------------------------------------------------------------------

CREATE TABLE t_effect (n int);
CREATE FUNCTION t_work(n int) RETURNS void LANGUAGE sql AS $$ INSERT INTO t_effect VALUES (n) $$;
CREATE FUNCTION t_sleep(seconds float8) RETURNS void LANGUAGE sql AS $$ SELECT pg_sleep(seconds) $$;
CREATE FUNCTION t_divide(n int) RETURNS int LANGUAGE sql AS $$ SELECT 10 / n $$;
CREATE FUNCTION t_snooze() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF (SELECT count(*) = 1 FROM bgjob.job_states WHERE job_id = bgjob_current_id() AND state = 'processing') THEN
		PERFORM bgjob_snooze('10 ms');
	END IF;
END $$;
CREATE FUNCTION t_burn() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO t_effect SELECT n FROM generate_series(1, 1000) n;
	WHILE clock_timestamp() < now() + interval '100 ms' LOOP NULL; END LOOP;
END $$;
CREATE FUNCTION t_all(jobs jsonb[]) RETURNS void LANGUAGE sql AS $$ INSERT INTO t_effect SELECT (j->>0)::int FROM unnest(jobs) j $$;

SELECT plan(38);

----------------------------------------------------------------------------------------------------
-- The view
----------------------------------------------------------------------------------------------------

SELECT is((SELECT array_agg(attname || ' ' || format_type(atttypid, NULL) ORDER BY attnum) FROM pg_attribute
		WHERE attrelid = 'bgjob.stats_history'::regclass AND attnum > 0),
	ARRAY['bucket text', 'at timestamp with time zone', 'queue text', 'succeeded bigint', 'failed bigint', 'deleted bigint', 'retried bigint',
		'avg_duration_ms double precision', 'p95_duration_ms double precision', 'avg_latency_ms double precision', 'p95_latency_ms double precision',
		'p50_duration_ms double precision', 'p99_duration_ms double precision', 'p50_latency_ms double precision', 'p99_latency_ms double precision',
		'enqueued bigint', 'interrupted bigint', 'lost bigint', 'throttled bigint', 'cpu_ms double precision', 'wal_bytes bigint'],
	'the columns of bgjob.stats_history, in order');
SELECT is((SELECT array_agg(attname) FROM pg_attribute WHERE attrelid = 'bgjob.stats_history'::regclass AND attnum > 0
		AND col_description(attrelid, attnum) IS NULL), NULL, 'each column of the view has a comment');
SELECT isnt(obj_description('bgjob.stats_history'::regclass), NULL, 'the view has a comment');
SELECT is((SELECT count(*) FROM bgjob.stats_history), 0::bigint, 'in a new database the view has no rows');

----------------------------------------------------------------------------------------------------
-- Ends of jobs
----------------------------------------------------------------------------------------------------

SELECT count(bgjob_enqueue('t_sleep', jsonb_build_array(n * 0.002), queue => 'slow')) AS enqueued FROM generate_series(1, 40) n \gset
CALL tap_counted();
SELECT is(ARRAY(SELECT tap_wrong()), '{}', 'jobs that succeed are counted as in the history');
SELECT is(tap_queue('slow'), '40 enqueued, 40 succeeded, 0 failed, 0 retried, 0 deleted', 'forty jobs succeed');
SELECT is((SELECT array_agg(at ORDER BY at) FROM bgjob.stats_history WHERE bucket = 'hour' AND queue = 'slow'),
	(SELECT array_agg(DISTINCT date_trunc('hour', at, 'UTC') ORDER BY date_trunc('hour', at, 'UTC')) FROM bgjob.job_states WHERE state IN ('enqueued', 'succeeded')), 'in the hours of UTC in which that was');

-- Percentiles, over all hours: the row of an attempt is an entry "processing" and the one after it.
SELECT ok(bool_and(abs(told / exact - 1) < 0.091 OR abs(told - exact) < 0.001), format('percentiles are within 9.1 %%: %s', string_agg(format('%s %s', told, exact), ', ')))
FROM (SELECT bgjob_internal.histogram_percentile(h.runs, f) AS told, e.runs AS exact
	FROM unnest('{0.5,0.95,0.99}'::float8[]) f,
		LATERAL (SELECT bgjob_internal.histogram_sum(run_histogram) AS runs FROM bgjob_internal.stats_hour WHERE queue = 'slow') h,
		LATERAL (SELECT percentile_disc(f) WITHIN GROUP (ORDER BY EXTRACT(epoch FROM until - at) * 1000) AS runs FROM tap_entry WHERE queue = 'slow' AND state = 'processing') e
	UNION ALL
	SELECT bgjob_internal.histogram_percentile(h.waits, f), e.waits
	FROM unnest('{0.5,0.95,0.99}'::float8[]) f,
		LATERAL (SELECT bgjob_internal.histogram_sum(wait_histogram) AS waits FROM bgjob_internal.stats_hour WHERE queue = 'slow') h,
		LATERAL (SELECT percentile_disc(f) WITHIN GROUP (ORDER BY EXTRACT(epoch FROM at - since) * 1000) AS waits FROM tap_entry WHERE queue = 'slow' AND state = 'processing') e) x;
SELECT ok(abs(t.run_time - e.run_time) < 0.1 AND abs(t.wait_time - e.wait_time) < 0.1, format('sums of times are exact: %s, %s', t, e))
FROM (SELECT sum(run_time) / 1000 AS run_time, sum(wait_time) / 1000 AS wait_time FROM bgjob_internal.stats_hour WHERE queue = 'slow') t, (SELECT run_time, wait_time FROM tap_expected WHERE queue = 'slow') e;
SELECT ok(bool_and(p50_duration_ms <= p95_duration_ms AND p95_duration_ms <= p99_duration_ms AND p50_latency_ms <= p95_latency_ms AND p95_latency_ms <= p99_latency_ms
	AND avg_duration_ms BETWEEN 1 AND p99_duration_ms AND avg_latency_ms <= p99_latency_ms * 1.1), 'the view has them in their order') FROM bgjob.stats_history WHERE queue = 'slow';

SELECT bgjob_configure('t_divide', retry_delays => '{10 ms}') \gset ignored_
SELECT bgjob_enqueue('t_divide', '[0]', max_retries => 2, queue => 'ends'), bgjob_enqueue('t_divide', '[5]', queue => 'ends'), bgjob_enqueue('t_snooze', queue => 'ends'),
	bgjob_enqueue('SELECT 1 / 0', kind => 'sql', max_retries => 0, queue => 'ends'), bgjob_enqueue('VACUUM t_effect', kind => 'sql', queue => 'ends'),
	bgjob_enqueue('SELECT bgjob_discard()', kind => 'sql', queue => 'ends') \gset ignored_
CALL tap_wait_until($$ SELECT count(*) = 6 FROM bgjob.jobs WHERE queue = 'ends' AND state IN ('succeeded', 'failed', 'deleted') $$);
CALL tap_counted();
SELECT is(ARRAY(SELECT tap_wrong()), '{}', 'failures, retries, a snooze, commands and a discard are counted as in the history');
SELECT is(tap_queue('ends'), '6 enqueued, 3 succeeded, 2 failed, 2 retried, 1 deleted', 'of three failed attempts two are retried');
SELECT bgjob_requeue(id) FROM bgjob.jobs WHERE queue = 'ends' AND state = 'failed' AND job = 't_divide' \gset ignored_
CALL tap_wait_until($$ SELECT failed = 3 FROM tap_told WHERE queue = 'ends' $$);
SELECT is(tap_queue('ends'), '6 enqueued, 3 succeeded, 3 failed, 4 retried, 1 deleted', 'a job that is requeued and fails again has failed twice');

-- Jobs that never run.
SELECT bgjob_queue('held', paused => true) \gset ignored_
SELECT bgjob_enqueue('t_work', '[1]', queue => 'held'), bgjob_enqueue('t_work', '[1]', queue => 'held', delay => '1 day'), bgjob_enqueue('t_work', '[1]', queue => 'held', start_within => '1 ms') \gset ignored_
SELECT count(bgjob_delete(id)) AS deleted FROM bgjob.jobs WHERE queue = 'held' AND (state = 'scheduled' OR id = (SELECT min(id) FROM bgjob.jobs WHERE queue = 'held')) \gset
SELECT pg_sleep(0.01) AS slept \gset
SELECT bgjob_queue('held', paused => false) \gset ignored_
CALL tap_wait_until($$ SELECT count(*) = 3 FROM bgjob.jobs WHERE queue = 'held' AND state = 'deleted' $$);
CALL tap_counted();
SELECT is(ARRAY(SELECT tap_wrong()), '{}', 'jobs that were deleted or expired before they ran are counted as in the history');
SELECT is(tap_queue('held'), '3 enqueued, 0 succeeded, 0 failed, 0 retried, 3 deleted', 'as deleted');
SELECT ok(bool_and(avg_duration_ms IS NULL AND p95_duration_ms IS NULL AND avg_latency_ms IS NULL AND p99_latency_ms IS NULL), 'and have no times') FROM bgjob.stats_history WHERE queue = 'held';

-- What is rolled back.
BEGIN;
SELECT bgjob_enqueue('t_work', '[1]', queue => 'rolled') AS kept \gset
SAVEPOINT s;
SELECT count(bgjob_enqueue('t_work', '[1]', queue => 'rolled')) AS lost FROM generate_series(1, 7) \gset
ROLLBACK TO s;
SAVEPOINT s;
SELECT bgjob_enqueue('t_work', '[1]', queue => 'rolled'), bgjob_enqueue('t_work', '[1]', queue => 'ends') \gset ignored_
SAVEPOINT t;
SELECT bgjob_delete(:kept) \gset ignored_
ROLLBACK TO t;
RELEASE s;
COMMIT;
BEGIN;
SELECT bgjob_enqueue('t_work', '[1]', queue => 'never') \gset ignored_
ROLLBACK;
CALL tap_counted();
SELECT is(ARRAY(SELECT tap_wrong()), '{}', 'of savepoints and transactions that were rolled back nothing is counted');
SELECT is(tap_queue('rolled'), '2 enqueued, 2 succeeded, 0 failed, 0 retried, 0 deleted', 'what was not rolled back is');

-- A prepared transaction is counted by the session that commits it.
BEGIN;
SELECT bgjob_enqueue('t_work', '[1]', queue => 'prepared'), bgjob_enqueue('t_work', '[1]', queue => 'prepared', delay => '1 day') \gset ignored_
SELECT bgjob_delete(:ignored_bgjob_enqueue) \gset ignored_
PREPARE TRANSACTION 'tap35';
COMMIT PREPARED 'tap35';
BEGIN;
SELECT bgjob_enqueue('t_work', '[1]', queue => 'prepared') \gset ignored_
PREPARE TRANSACTION 'tap35';
ROLLBACK PREPARED 'tap35';
CALL tap_counted();
SELECT is(ARRAY(SELECT tap_wrong()), '{}', 'a prepared transaction counts when it is committed');
SELECT is(tap_queue('prepared'), '2 enqueued, 1 succeeded, 0 failed, 0 retried, 1 deleted', 'one that is rolled back does not');

----------------------------------------------------------------------------------------------------
-- Groups, chunks, sessions, external workers
----------------------------------------------------------------------------------------------------

SELECT bgjob_queue('group', group_size => 100, paused => true) \gset ignored_
SELECT count(bgjob_enqueue('t_divide', jsonb_build_array(n % 10), queue => 'group', max_retries => 0)) AS enqueued FROM generate_series(1, 300) n \gset
SELECT bgjob_queue_resume('group') AS resumed \gset
CALL tap_wait_until($$ SELECT count(*) = 300 FROM bgjob.jobs WHERE queue = 'group' AND state IN ('succeeded', 'failed') $$);
CALL tap_counted();
SELECT is(ARRAY(SELECT tap_wrong()), '{}', 'jobs in groups are counted as in the history');
SELECT is(tap_queue('group'), '300 enqueued, 270 succeeded, 30 failed, 0 retried, 0 deleted', 'each once');

SELECT bgjob_configure('t_all', chunk_size => 50, max_retries => 0) \gset ignored_
SELECT bgjob_queue('chunk', paused => true) \gset ignored_
SELECT count(*) AS enqueued FROM bgjob_enqueue_many('t_all', ARRAY(SELECT jsonb_build_array(n) FROM generate_series(1, 200) n), queue => 'chunk') \gset
SELECT bgjob_queue_resume('chunk') AS resumed \gset
CALL tap_wait_until($$ SELECT count(*) = 200 FROM bgjob.jobs WHERE queue = 'chunk' AND state = 'succeeded' $$);
CALL tap_wait_until($$ SELECT succeeded = 200 FROM tap_told WHERE queue = 'chunk' $$, 20);
SELECT is(tap_queue('chunk'), '200 enqueued, 200 succeeded, 0 failed, 0 retried, 0 deleted', 'jobs that are performed in one call are counted each');
SELECT is((SELECT sum(runs) FROM bgjob_internal.stats_hour WHERE queue = 'chunk'), 200::numeric, 'and share its time');

SELECT bgjob_queue('held', paused => true) \gset ignored_
SELECT bgjob_enqueue('t_work', '[1]', queue => 'held') AS id \gset
SELECT bgjob_run(:id) \gset ignored_
CALL tap_wait_until($$ SELECT succeeded = 1 FROM tap_told WHERE queue = 'held' $$, 20);
SELECT is(tap_queue('held'), '4 enqueued, 1 succeeded, 0 failed, 0 retried, 3 deleted', 'a job that a session runs is counted');

SELECT count(bgjob_enqueue('fetch-me', kind => 'external', queue => 'ext', max_retries => 0)) AS enqueued FROM generate_series(1, 4) \gset
SELECT array_agg(id ORDER BY id) AS ids FROM bgjob_fetch('{ext}', 'w', 4) \gset
SELECT bgjob_complete((:'ids'::bigint[])[1], 'w'), bgjob_fail((:'ids'::bigint[])[2], 'w', 'no'), bgjob_release((:'ids'::bigint[])[3], 'w', '1 day'), bgjob_delete((:'ids'::bigint[])[4]) \gset ignored_
CALL tap_wait_until($$ SELECT enqueued = 4 AND succeeded = 1 AND failed = 1 AND deleted = 1 FROM tap_told WHERE queue = 'ext' $$, 20);
SELECT is(tap_queue('ext'), '4 enqueued, 1 succeeded, 1 failed, 0 retried, 1 deleted', 'external jobs are counted by what their workers say');
SELECT is((SELECT format('%s runs, %s lost', sum(runs), sum(lost)) FROM bgjob_internal.stats_hour WHERE queue = 'ext'), '4 runs, 0 lost', 'each attempt with its time; none is lost');

----------------------------------------------------------------------------------------------------
-- What else is counted
----------------------------------------------------------------------------------------------------

SELECT bgjob_limit('tap35', max_running => 1) \gset ignored_
SELECT count(bgjob_enqueue('t_sleep', '[0.05]', queue => 'limited', limits => '{tap35}')) AS enqueued FROM generate_series(1, 3) \gset
CALL tap_wait_until($$ SELECT succeeded = 3 AND (SELECT sum(throttled) > 0 FROM bgjob.stats_history WHERE queue = 'limited') FROM tap_told WHERE queue = 'limited' $$);
SELECT cmp_ok((SELECT sum(throttled) FROM bgjob.stats_history WHERE queue = 'limited' AND bucket = 'hour'), '>=', 2::numeric, 'jobs that had to wait at a limit are counted');
SELECT is((SELECT sum(throttled) FROM bgjob.stats_history WHERE queue <> 'limited'), 0::numeric, 'no others');

SELECT count(bgjob_enqueue('t_burn', queue => 'burn')) AS enqueued FROM generate_series(1, 3) \gset
CALL tap_wait_until($$ SELECT sum(succeeded) = 3 AND sum(cpu_ms) > 0 FROM bgjob.stats_history WHERE queue = 'burn' AND bucket = 'hour' $$);
CALL tap_wait_until($$ SELECT sum(wal_bytes) > 150000 FROM bgjob.stats_history WHERE queue = 'burn' AND bucket = 'hour' $$, 20);
SELECT ok(cpu BETWEEN 1 AND 60000, format('three jobs that count for 100 ms take %s ms of CPU time', cpu)) FROM (SELECT sum(cpu_ms) AS cpu FROM bgjob.stats_history WHERE queue = 'burn' AND bucket = 'hour') s;
SELECT cmp_ok(sum(wal_bytes), '>', 150000::numeric, 'and write WAL for 3,000 rows') FROM bgjob.stats_history WHERE queue = 'burn' AND bucket = 'hour';

----------------------------------------------------------------------------------------------------
-- Roles
----------------------------------------------------------------------------------------------------

GRANT ALL ON t_effect TO tap35_app, tap35_other;
SELECT bgjob_enqueue('t_work', '[1]', run_as => 'tap35_app', queue => 'shared'), bgjob_enqueue('t_work', '[1]', run_as => 'tap35_other', queue => 'shared'),
	bgjob_enqueue('t_work', '[1]', run_as => 'tap35_other', queue => 'others') \gset ignored_
CALL tap_wait_until($$ SELECT sum(succeeded) = 3 FROM tap_told WHERE queue IN ('shared', 'others') $$);
SELECT is(tap_seen_by('tap35_app'), '{shared 1}', 'a role sees what its own jobs did');
GRANT tap35_other TO tap35_app;
SELECT is(tap_seen_by('tap35_app'), '{others 1,shared 2}', 'a member of a role sees those of both, added up by queue');
REVOKE tap35_other FROM tap35_app;
SELECT is(tap_seen_by('tap35_monitor'), ARRAY(SELECT format('%s %s', queue, succeeded) FROM tap_told ORDER BY queue COLLATE "C"), 'a member of pg_monitor sees all');
SELECT is(ARRAY(SELECT DISTINCT tap_try(q, 'tap35_app') FROM unnest(ARRAY['SELECT bgjob_internal.histogram_percentile('''', 0.5)', 'TABLE bgjob_internal.stats_hour', 'TABLE bgjob_internal.stats_day']) q),
	'{ERROR 42501}', 'what is behind the view is private');

----------------------------------------------------------------------------------------------------
-- Reading costs what it returns
----------------------------------------------------------------------------------------------------

SET enable_seqscan = off; -- the tables are small
SELECT is(tap_reads($$ SELECT * FROM bgjob.stats_history WHERE bucket = 'hour' AND at > now() - interval '1 day' AND queue = 'slow' $$), '{"by time",stats_hour_pkey}',
	'the hours of a day are read by the index on the time, and no days');
SELECT is(tap_reads($$ SELECT * FROM bgjob.stats_history WHERE bucket = 'day' AND at > now() - interval '1 year' $$), '{"by time",stats_day_pkey,stats_hour_open_idx}',
	'of the hours, days need only those that are not in their days yet');
RESET enable_seqscan;

\ir lib/check_counters.sql
SELECT * FROM finish();
