-- 36_metrics.sql
--
-- What this file proves (doc/manual.md, "bgjob.metrics"):
--   * names, types and labels follow Prometheus' rules, and the samples of a metric follow each other;
--   * the values are those of the views, and the sums over what has happened to jobs;
--   * the scheduler's lag and missed occurrences are counted;
--   * a role sees the metrics of the roles whose jobs it sees;
--   * of hundreds of queues, limits and recurring jobs, each of the first hundred has samples of its own, and no job is missing from the sums.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser.

\ir lib/session.sql

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap36_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap36_' \gexec
CREATE ROLE tap36_app LOGIN;
CREATE ROLE tap36_other LOGIN;
CREATE ROLE tap36_monitor LOGIN;
GRANT pg_monitor TO tap36_monitor;
GRANT USAGE ON SCHEMA bgjob TO tap36_app, tap36_other;

----------------------------------------------------------------------------------------------------
-- Helpers
----------------------------------------------------------------------------------------------------

\ir lib/wait.sql
\ir lib/errors.sql

-- tap_metric returns the sum of the samples of a metric that have these labels.
CREATE FUNCTION tap_metric(metric text, labels jsonb = '{}') RETURNS double precision LANGUAGE sql AS
	$$ SELECT sum(m.value) FROM bgjob.metrics m WHERE m.name = tap_metric.metric AND m.labels @> tap_metric.labels $$;

-- tap_metric_of returns the same, as a role sees it.
CREATE FUNCTION tap_metric_of(role name, metric text, labels jsonb = '{}') RETURNS double precision LANGUAGE plpgsql AS $$
DECLARE
	sum double precision;
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', role);
	SELECT sum(m.value) INTO sum FROM bgjob.metrics m WHERE m.name = metric AND m.labels @> tap_metric_of.labels;
	RESET ROLE;
	RETURN sum;
END $$;

-- tap_base returns the name of a metric, without what the samples of a histogram have behind it.
CREATE FUNCTION tap_base(name text, type text) RETURNS text LANGUAGE sql IMMUTABLE AS
	$$ SELECT CASE type WHEN 'histogram' THEN regexp_replace(name, '_(bucket|sum|count)$', '') ELSE name END $$;

-- tap_jobs returns the numbers of jobs by queue and state, by the metrics and by the view, where they differ.
CREATE FUNCTION tap_differing() RETURNS SETOF text LANGUAGE sql AS $$
	WITH metrics AS MATERIALIZED (SELECT labels ->> 'queue' AS queue, labels ->> 'state' AS state, value FROM bgjob.metrics WHERE name = 'bgjob_jobs'),
	queues AS MATERIALIZED (SELECT q.queue, s.state, s.n FROM bgjob.queues q, LATERAL (VALUES ('enqueued', q.enqueued), ('processing', q.processing), ('scheduled', q.scheduled), ('failed', q.failed)) AS s(state, n))
	SELECT concat_ws(' ', m.queue, q.queue, m.state, q.state, m.value, q.n) FROM metrics m FULL JOIN queues q ON q.queue = m.queue AND q.state = m.state
	WHERE coalesce(m.state, '') <> 'awaiting' AND m.value IS DISTINCT FROM q.n
$$;

CREATE FUNCTION t_work(n int) RETURNS int LANGUAGE sql AS 'SELECT 10 / n';
CREATE FUNCTION t_slow() RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_lock(360), pg_advisory_unlock(360)';

SELECT * FROM no_plan();

----------------------------------------------------------------------------------------------------
-- Something of everything
----------------------------------------------------------------------------------------------------

SELECT bgjob_queue('held', paused => true);
SELECT bgjob_limit('closed', max_running => 2);
SELECT bgjob_limit_close('closed', delay => '1 hour');
SELECT bgjob_limit('rated', rate => 100, per => '1 minute');
SELECT bgjob_limit('tenant:*', max_running => 1);
SELECT bgjob_server('side', '{side}', workers => 1);
SELECT bgjob_recurring('daily', '@daily', 't_work', '[1]');
SELECT bgjob_recurring('paused', '@daily', 't_work', '[1]', active => false);
SELECT count(*) AS ignored FROM bgjob_enqueue_many('t_work', ARRAY(SELECT jsonb_build_array(n) FROM generate_series(0, 9) n), queue => 'work', max_retries => 0) \gset
SELECT count(bgjob_enqueue('t_work', '[1]', queue => 'held')) AS ignored FROM generate_series(1, 3) \gset
SELECT count(bgjob_enqueue('t_work', '[1]', queue => 'work', limits => '{closed}')) AS ignored FROM generate_series(1, 4) \gset
SELECT bgjob_enqueue('t_work', '[1]', queue => 'work', delay => '1 day') AS scheduled \gset
SELECT bgjob_enqueue('t_work', '[1]', queue => 'work', after => ARRAY[:scheduled::bigint]) AS ignored \gset
SELECT pg_advisory_lock(360) AS ignored \gset
SELECT bgjob_enqueue('t_slow', queue => 'side', limits => '{rated,tenant:1}') AS slow \gset
SELECT bgjob_enqueue('resize', kind => 'external', queue => 'external') AS ignored \gset
SELECT count(*) AS ignored FROM bgjob_fetch('{external}', 'worker-1') \gset
CALL tap_held(360);
CALL tap_wait_until($$ SELECT tap_metric('bgjob_jobs_finished_total', '{"queue": "work"}') = 10 $$);

----------------------------------------------------------------------------------------------------
-- The view
----------------------------------------------------------------------------------------------------

SELECT columns_are('bgjob', 'metrics', '{name,labels,value,help,type}'::name[], 'the view has its columns');
SELECT is((SELECT count(*) FROM pg_attribute WHERE attrelid = 'bgjob.metrics'::regclass AND attnum > 0 AND col_description(attrelid, attnum) IS NULL), 0::bigint, 'each column has a comment');

CREATE TABLE sample AS SELECT row_number() OVER () AS row, m.*, tap_base(m.name, m.type) AS base FROM bgjob.metrics m;

SELECT is_empty($$ SELECT name FROM sample WHERE name !~ '^bgjob_[a-z]+(_[a-z]+)*$' $$, 'names are of lower-case words, the first one is bgjob');
SELECT is_empty($$ SELECT name FROM sample WHERE type NOT IN ('counter', 'gauge', 'histogram') $$, 'each type is one of Prometheus');
SELECT is_empty($$ SELECT name FROM sample WHERE (type = 'counter') <> (name ~ '_total$') $$, 'the names of counters, and only these, end with _total');
SELECT is_empty($$ SELECT name FROM sample WHERE name ~ '_(milliseconds|minutes|hours|kilobytes|megabytes|percent|ms|kb|mb)(_|$)' $$, 'units are base units');
SELECT is_empty($$ SELECT name FROM sample WHERE type <> 'histogram' AND name ~ '_(bucket|sum|count|info)$' AND name <> 'bgjob_build_info' $$, 'only histograms have names that end as those of histograms');
SELECT is_empty($$ SELECT name FROM sample WHERE type = 'histogram' AND name !~ '_seconds_(bucket|sum|count)$' $$, 'histograms are of seconds');
SELECT is_empty($$ SELECT base FROM sample GROUP BY base HAVING count(DISTINCT type) > 1 OR count(DISTINCT help) > 1 $$, 'each metric has one type and one help text');
SELECT is_empty($$ SELECT help FROM sample WHERE help !~ '^[A-Z].*\.$' OR help ~ '[\n\\]' $$, 'help texts are sentences');
SELECT is_empty($$ SELECT base FROM sample GROUP BY base HAVING count(*) <> max(row) - min(row) + 1 $$, 'the samples of a metric follow each other');
SELECT is((SELECT array_agg(base ORDER BY row) FROM (SELECT base, min(row) AS row FROM sample GROUP BY base) f), (SELECT array_agg(DISTINCT base COLLATE "C") FROM sample), 'metrics are in the order of their names');
SELECT is_empty($$ SELECT name, labels FROM sample GROUP BY name, labels HAVING count(*) > 1 $$, 'no sample is there twice');
SELECT is_empty($$ SELECT name FROM sample WHERE jsonb_typeof(labels) <> 'object' $$, 'labels are an object');
SELECT is_empty($$ SELECT l.key FROM sample, jsonb_each(labels) l WHERE l.key !~ '^[a-z]+(_[a-z]+)*$' OR jsonb_typeof(l.value) <> 'string' $$, 'the labels are strings with names of lower-case words');
SELECT is_empty($$ SELECT name FROM sample WHERE (labels ? 'le') <> (name ~ '_bucket$') $$, 'buckets, and only these, have the label le');
SELECT is_empty($$ SELECT name FROM sample WHERE value IS NULL OR value = 'NaN' $$, 'each sample has a value');
SELECT is_empty($$ SELECT name FROM sample WHERE type <> 'gauge' AND value < 0 $$, 'no counter is negative');
SELECT is_empty($$ SELECT name FROM sample WHERE name <> 'bgjob_build_info' AND labels ->> 'database' IS DISTINCT FROM current_database() $$, 'all but the build names its database');
SELECT is((SELECT array_agg(labels - 'server_version') FROM sample WHERE name = 'bgjob_build_info'), ARRAY[jsonb_build_object('version', (SELECT extversion FROM pg_extension WHERE extname = 'bgjob'))], 'the build tells the version of bgjob');

-- Histograms.
CREATE VIEW bucket AS SELECT base, labels - 'le' AS labels, (labels ->> 'le') AS le, replace(labels ->> 'le', '+Inf', 'Infinity')::double precision AS bound, value FROM sample WHERE labels ? 'le';
SELECT is_empty($$ SELECT base FROM (SELECT base, value - lag(value, 1, 0) OVER (PARTITION BY base, labels ORDER BY bound) AS more FROM bucket) b WHERE more < 0 $$, 'buckets are cumulative');
SELECT is_empty($$ SELECT b.base FROM bucket b LEFT JOIN sample c ON c.name = b.base || '_count' AND c.labels = b.labels WHERE b.le = '+Inf' AND b.value IS DISTINCT FROM c.value $$, 'the last bucket has the count of its histogram');
SELECT is_empty($$ SELECT base, labels FROM bucket GROUP BY 1, 2 HAVING count(*) NOT BETWEEN 12 AND 16 OR max(bound) <> 'Infinity' $$, 'a histogram has 12 to 16 buckets, the last of them for everything');
SELECT is_empty($$ SELECT s.base FROM sample s JOIN sample c ON c.name = s.base || '_count' AND c.labels = s.labels WHERE s.name ~ '_sum$' AND (s.value > 0) <> (c.value > 0) $$, 'a histogram has a sum where it has a count');
SELECT is((SELECT array_agg(DISTINCT base COLLATE "C") FROM bucket), '{bgjob_job_run_seconds,bgjob_job_wait_seconds,bgjob_scheduler_lag_seconds}', 'the waits and runs of attempts and the lag of the scheduler are histograms');

----------------------------------------------------------------------------------------------------
-- The values
----------------------------------------------------------------------------------------------------

SELECT is_empty($$ SELECT * FROM tap_differing() $$, 'the numbers of jobs are those of bgjob.queues');
SELECT is(tap_metric('bgjob_jobs', '{"state": "awaiting"}'), (SELECT awaiting::float8 FROM bgjob.stats), 'and of bgjob.stats, where jobs await others');
SELECT is(tap_metric('bgjob_jobs', '{"queue": "work", "state": "failed"}'), 1::float8, 'a job has failed');
SELECT is(tap_metric('bgjob_jobs', '{"queue": "side", "state": "processing"}'), 1::float8, 'a job runs');
SELECT is(tap_metric('bgjob_jobs_enqueued_total', jsonb_build_object('queue', queue)), n::float8, format('all jobs of queue %s were counted', queue)) FROM (SELECT queue, count(*) AS n FROM bgjob.jobs GROUP BY queue) q ORDER BY queue;
SELECT is(tap_metric('bgjob_jobs_finished_total', jsonb_build_object('queue', 'work', 'outcome', outcome)), n, format('so were those that have %s', outcome)) FROM (VALUES ('succeeded', 9::float8), ('failed', 1), ('deleted', 0)) AS o(outcome, n);
SELECT is(tap_metric('bgjob_job_run_seconds_count', '{"queue": "work"}'), 10::float8, 'the runs of ten attempts are in the histogram');
SELECT is(tap_metric('bgjob_job_wait_seconds_count', '{"queue": "work"}'), 10::float8, 'and their waits');
SELECT ok(abs(tap_metric('bgjob_job_run_seconds_sum', '{"queue": "work"}') - (SELECT total_run_time / 1000 FROM bgjob.function_stats WHERE job ~ 't_work')) < 0.001, 'the sum of the runs is that of bgjob.function_stats');
SELECT ok(tap_metric('bgjob_job_cpu_seconds_total', '{"queue": "work"}') > 0, 'attempts have taken processor time');
SELECT ok(tap_metric('bgjob_job_wal_bytes_total', '{"queue": "work"}') > 0, 'and have written write-ahead log');
SELECT ok(tap_metric('bgjob_jobs_throttled_total', '{"queue": "work"}') >= 4, 'jobs had to wait for the limit');

SELECT ok(abs(m.value - EXTRACT(epoch FROM clock_timestamp() - q.oldest_enqueued_at)) < 60 AND m.value > 0, format('the oldest job of queue %s waits', q.queue)) FROM bgjob.queues q JOIN bgjob.metrics m ON m.name = 'bgjob_queue_oldest_ready_age_seconds' AND m.labels ->> 'queue' = q.queue WHERE q.oldest_enqueued_at IS NOT NULL ORDER BY q.queue;
SELECT is(tap_metric('bgjob_queue_oldest_ready_age_seconds', '{"queue": "default"}'), 0::float8, 'in a queue without ready jobs none does');
SELECT is((SELECT array_agg(labels ->> 'queue' ORDER BY 1) FROM bgjob.metrics WHERE name = 'bgjob_queue_paused' AND value = 1), '{held}', 'one queue is paused');

SELECT is(tap_metric('bgjob_limit_closed', jsonb_build_object('limit', name)), (closed_until IS NOT NULL)::int::float8, format('whether limit %s is closed', name)) FROM bgjob.limits WHERE name !~ '\d' ORDER BY name;
SELECT is(tap_metric('bgjob_limit_max_running', jsonb_build_object('limit', name)), max_running::float8, format('how many may run under limit %s', name)) FROM bgjob.limits WHERE name !~ '\d' ORDER BY name;
SELECT is(tap_metric('bgjob_limit_rate_units', jsonb_build_object('limit', name)), rate::float8, format('what the rate of limit %s is', name)) FROM bgjob.limits WHERE name !~ '\d' ORDER BY name;
SELECT is(tap_metric('bgjob_limit_waiting', '{"limit": "closed"}'), 4::float8, 'jobs wait at the closed limit');
SELECT is(tap_metric('bgjob_limit_running', '{"limit": "rated"}'), 1::float8, 'a job runs under the rate');
SELECT is(tap_metric('bgjob_limit_rate_used_units', '{"limit": "rated"}'), 1::float8, 'and has used a unit of it');
SELECT is(tap_metric('bgjob_limit_rate_period_seconds', '{"limit": "rated"}'), 60::float8, 'its period is in seconds');
SELECT is(tap_metric('bgjob_limit_running', '{"limit": "tenant:*"}'), 1::float8, 'and under a key of the pattern');
SELECT is_empty($$ SELECT labels FROM bgjob.metrics WHERE labels ->> 'limit' = 'tenant:1' $$, 'a key is no label');

SELECT is((SELECT array_agg(labels ->> 'recurring_job' ORDER BY 1) FROM bgjob.metrics WHERE name = 'bgjob_recurring_next_run_timestamp_seconds'), '{daily}', 'a recurring job that is not paused is due');
SELECT is((SELECT to_timestamp(value) FROM bgjob.metrics WHERE name = 'bgjob_recurring_next_run_timestamp_seconds'), (SELECT next_run_at FROM bgjob.recurring_jobs WHERE name = 'daily'), 'at the time that bgjob.recurring_jobs tells');
SELECT is((SELECT array_agg(DISTINCT labels ->> 'owner') FROM bgjob.metrics WHERE name = 'bgjob_recurring_failing'), ARRAY[current_user::text], 'recurring jobs have the label of their owner');
SELECT is(tap_metric('bgjob_recurring_jobs', jsonb_build_object('state', state)), n, format('so many recurring jobs are %s', state)) FROM (VALUES ('active', 1::float8), ('paused', 1), ('failing', 0)) AS s(state, n);

SELECT is(tap_metric('bgjob_workers', jsonb_build_object('server', server, 'state', 'busy')), 1::float8, 'the worker at a job is busy') FROM bgjob.workers WHERE job_id = :slow;
SELECT is(tap_metric('bgjob_server_max_workers', jsonb_build_object('server', name)), workers::float8, format('server %s may have so many workers', name)) FROM bgjob.servers WHERE kind = 'internal' ORDER BY name;
SELECT is(tap_metric('bgjob_external_workers', '{"state": "active"}'), 1::float8, 'an external worker is known');
SELECT is(tap_metric('bgjob_leases'), 1::float8, 'and has a job');
SELECT is(tap_metric('bgjob_scheduler_up'), 1::float8, 'a scheduler serves the database');
SELECT ok(EXTRACT(epoch FROM clock_timestamp()) - tap_metric('bgjob_scheduler_last_round_timestamp_seconds') BETWEEN -1 AND 60, 'and has begun a round lately');

-- The scheduler.
SELECT tap_metric('bgjob_scheduler_lag_seconds_count') AS lags \gset
SELECT bgjob_enqueue('t_work', '[1]', delay => '10 ms') AS id \gset
SELECT is(bgjob_wait(:id, '60 s'), 'succeeded', 'a job becomes due');
CALL tap_wait_until(format($$ SELECT tap_metric('bgjob_scheduler_lag_seconds_count') = %s + 1 $$, :lags));
SELECT is(tap_metric('bgjob_scheduler_lag_seconds_count'), :lags + 1::float8, 'the scheduler counts by how much it was late');
SELECT tap_metric('bgjob_recurring_missed_total', '{"reason": "overlap"}') AS missed \gset
SELECT bgjob_recurring('over', '@every_second', 't_slow', overlap => 'skip');
CALL tap_wait_until(format($$ SELECT tap_metric('bgjob_recurring_missed_total', '{"reason": "overlap"}') > %s $$, :missed));
SELECT ok(tap_metric('bgjob_recurring_missed_total', '{"reason": "overlap"}') > :missed, 'an occurrence is missed while the job before it runs');
SELECT bgjob_recurring_remove('over') AS ignored \gset
SELECT pg_advisory_unlock(360) AS ignored \gset
CREATE FUNCTION t_gone() RETURNS void LANGUAGE sql AS '';
SELECT bgjob_recurring('gone', '@every_second', 't_gone');
DROP FUNCTION t_gone;
CALL tap_wait_until($$ SELECT tap_metric('bgjob_recurring_missed_total', '{"reason": "refused"}') > 0 AND tap_metric('bgjob_recurring_failing', '{"recurring_job": "gone"}') = 1 $$);
SELECT ok(tap_metric('bgjob_recurring_missed_total', '{"reason": "refused"}') > 0, 'an occurrence is missed whose job cannot be enqueued');
SELECT is(tap_metric('bgjob_recurring_failing', '{"recurring_job": "gone"}'), 1::float8, 'and the recurring job fails');
SELECT bgjob_recurring_remove('gone') AS ignored \gset

----------------------------------------------------------------------------------------------------
-- Rights
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('t_work', '[1]', queue => 'held', run_as => 'tap36_app') AS ignored \gset
SELECT bgjob_enqueue('t_work', '[1]', queue => 'held', run_as => 'tap36_other') AS ignored \gset
SELECT is(tap_metric_of(role, 'bgjob_jobs', '{"queue": "held", "state": "enqueued"}'), n, format('the jobs that %s sees', role)) FROM (VALUES ('tap36_app', 1::float8), ('tap36_other', 1), ('tap36_monitor', 5)) AS r(role, n);
CALL tap_wait_until($$ SELECT tap_metric('bgjob_jobs_enqueued_total', '{"queue": "held"}') = 5 $$);
SELECT is(tap_metric_of(role, 'bgjob_jobs_enqueued_total', '{"queue": "held"}'), n, format('what has happened to the jobs that %s sees', role)) FROM (VALUES ('tap36_app', 1::float8), ('tap36_other', 1), ('tap36_monitor', 5)) AS r(role, n);
SELECT is(tap_metric_of(role, 'bgjob_recurring_jobs'), n, format('the recurring jobs that %s sees', role)) FROM (VALUES ('tap36_app', 0::float8), ('tap36_monitor', 2)) AS r(role, n);
SELECT is(tap_metric_of(role, 'bgjob_leases'), n, format('the leases that %s sees', role)) FROM (VALUES ('tap36_app', 0::float8), ('tap36_monitor', 1)) AS r(role, n);
SELECT is(coalesce(tap_metric_of(role, 'bgjob_queue_oldest_ready_age_seconds', '{"queue": "external"}'), 0), 0::float8, format('%s sees no job of another role wait', role)) FROM unnest('{tap36_app,tap36_other}'::text[]) AS role;
GRANT tap36_other TO tap36_app;
SELECT is(tap_metric_of('tap36_app', 'bgjob_jobs', '{"queue": "held", "state": "enqueued"}'), 2::float8, 'a member of a role sees the jobs of both');
REVOKE tap36_other FROM tap36_app;
SELECT is(tap_try('SELECT bgjob_internal.metrics()', 'tap36_app'), 'ERROR 42501', 'the function behind the view is private');

----------------------------------------------------------------------------------------------------
-- A greedy neighbour
----------------------------------------------------------------------------------------------------

SELECT count(bgjob_enqueue('t_work', '[1]', queue => 'greedy-' || i, delay => '1 day')) AS ignored FROM generate_series(1, 300) i \gset
SELECT count(bgjob_limit('greedy-' || i, max_running => 1)) AS ignored FROM generate_series(1, 150) i \gset
SELECT bgjob_limit('*', max_running => 1);
SELECT count(bgjob_recurring('greedy-' || i, '@daily', 't_work', '[1]')) AS ignored FROM generate_series(1, 150) i \gset
SELECT bgjob_recurring('*', '@daily', 't_work', '[1]');
SELECT cmp_ok(count(DISTINCT labels ->> label), '=', 101::bigint, format('a hundred values of label %s, and the rest', label)) FROM bgjob.metrics, unnest('{queue,limit,recurring_job}'::text[]) AS label WHERE labels ? label GROUP BY label ORDER BY label;
SELECT is_empty($$ SELECT name, labels FROM bgjob.metrics GROUP BY name, labels HAVING count(*) > 1 $$, 'no sample is there twice');
SELECT is(tap_metric('bgjob_jobs', '{"state": "scheduled"}'), (SELECT scheduled::float8 FROM bgjob.stats), 'no scheduled job is missing');
SELECT cmp_ok(tap_metric('bgjob_jobs', '{"state": "scheduled", "queue": "*"}'), '>=', 200::float8, 'most are of the rest');
SELECT is(tap_metric('bgjob_jobs_enqueued_total'), (SELECT count(*)::float8 FROM bgjob.jobs), 'all jobs were counted');
SELECT is(tap_metric('bgjob_queue_paused', '{"queue": "held"}'), 1::float8, 'a queue that is configured keeps samples of its own');
SELECT is(tap_metric('bgjob_recurring_jobs'), (SELECT count(*)::float8 FROM bgjob.recurring_jobs), 'no recurring job is missing');

SELECT bgjob_recurring_remove(name) AS ignored FROM bgjob.recurring_jobs \g /dev/null
SELECT bgjob_limit_remove(name) AS ignored FROM bgjob.limits WHERE name ~ '^greedy|^\*' \g /dev/null
SELECT bgjob_complete(id, 'worker-1') AS ignored FROM bgjob.jobs WHERE kind = 'external' \g /dev/null
SELECT bgjob_delete(id) AS ignored FROM bgjob.jobs WHERE state IN ('enqueued', 'scheduled', 'awaiting') \g /dev/null
SELECT bgjob_server_remove('side') AS ignored \gset
SELECT bgjob_wait(:slow, '60 s') AS ignored \gset

\ir lib/check_counters.sql
SELECT * FROM finish();
