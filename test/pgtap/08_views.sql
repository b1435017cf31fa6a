-- 08_views.sql
--
-- What this file proves:
--   * the views jobs, job_states, queues, servers, workers and stats have the columns of api.md, in that order,
--     with types that a client can rely on;
--   * their counts are right while jobs wait, run, are scheduled, have failed, succeeded or been deleted;
--   * stats.succeeded and stats.deleted count all jobs ever, also purged ones;
--   * bgjob.enabled = off starts no more jobs, on resumes, both by a reload;
--   * pg_stat_activity shows the process that runs a job.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser. It changes bgjob.workers and
-- bgjob.enabled with ALTER SYSTEM and resets them at its end: do not run it beside other files.

\ir lib/session.sql

-- Set before CREATE EXTENSION, so that the scheduler of the database starts with it.
ALTER SYSTEM SET bgjob.workers = 3;
ALTER SYSTEM RESET bgjob.enabled;
SELECT pg_reload_conf() AS reloaded \gset

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

----------------------------------------------------------------------------------------------------
-- Helpers
----------------------------------------------------------------------------------------------------

\ir lib/wait.sql

-- The columns that api.md names, in order, each with a pattern for its type.
CREATE TABLE tap_column (view text, position int, name text, type text);
CREATE PROCEDURE tap_columns(view text, columns text[]) LANGUAGE sql AS $$
	INSERT INTO tap_column SELECT view, o, split_part(c, ' ', 1), '^(' || substr(c, strpos(c, ' ') + 1) || ')$'
	FROM unnest(columns) WITH ORDINALITY AS u (c, o) $$;
CALL tap_columns('jobs', ARRAY['id bigint', 'kind text', 'job text', 'args jsonb', 'queue text', 'priority integer|smallint', 'state text',
	'reason text', 'created_at timestamp with time zone', 'run_at timestamp with time zone', 'started_at timestamp with time zone',
	'finished_at timestamp with time zone', 'retries integer|smallint', 'max_retries integer|smallint', 'interruptions integer|smallint',
	'run_as text|name|regrole', 'error jsonb', 'result jsonb', 'progress numeric|real|double precision', 'progress_message text',
	'server text', 'worker_pid integer', 'unique_key text', 'sequence_key text', 'limits text\[\]', 'fairness_key text', 'batch_id bigint',
	'recurring_name text', 'after bigint\[\]', 'tags text\[\]', 'parameters jsonb', 'settings jsonb|text\[\]', 'timeout interval',
	'expires_at timestamp with time zone', 'after_batch bigint', 'after_signal text\[\]', 'condition text', 'await_timeout interval', 'retry_delays interval\[\]']);
CALL tap_columns('job_states', ARRAY['job_id bigint', 'seq integer|bigint', 'state text', 'reason text', 'at timestamp with time zone',
	'data jsonb']);
CALL tap_columns('queues', ARRAY['queue text', 'paused boolean', 'enqueued bigint', 'processing bigint', 'scheduled bigint', 'failed bigint',
	'oldest_enqueued_at timestamp with time zone', 'max_running integer', 'group_size integer', 'max_length integer']);
CALL tap_columns('limits', ARRAY['name text', 'max_running integer', 'running integer|bigint', 'waiting integer|bigint', 'rate integer', 'per interval', 'algorithm text', 'used integer|bigint',
	'closed_until timestamp with time zone', 'on_limit text']);
CALL tap_columns('servers', ARRAY['name text', 'kind text', 'queues text\[\]', 'workers integer|bigint', 'busy integer|bigint',
	'started_at timestamp with time zone', 'heartbeat_at timestamp with time zone', 'paused boolean']);
CALL tap_columns('workers', ARRAY['pid integer', 'server text', 'role text|name|regrole', 'state text', 'job_id bigint',
	'started_at timestamp with time zone', 'jobs_done bigint', 'memory_bytes bigint']);
CALL tap_columns('stats', ARRAY['servers integer|bigint', 'workers integer|bigint', 'enqueued bigint', 'scheduled bigint', 'awaiting bigint',
	'processing bigint', 'succeeded bigint', 'failed bigint', 'deleted bigint', 'retries bigint', 'recurring integer|bigint', 'kept_succeeded bigint', 'kept_deleted bigint']);

----------------------------------------------------------------------------------------------------
-- What the jobs of this file call
----------------------------------------------------------------------------------------------------

-- Runs until this session releases the lock.
CREATE FUNCTION t_block() RETURNS int LANGUAGE sql AS $$ SELECT pg_backend_pid() FROM pg_advisory_xact_lock(8008) $$;

SELECT plan(47);

----------------------------------------------------------------------------------------------------
-- Columns
----------------------------------------------------------------------------------------------------

SELECT is((SELECT relkind FROM pg_class WHERE oid = to_regclass('bgjob.' || v)), 'v'::"char", format('bgjob.%s is a view', v))
FROM unnest('{jobs,job_states,queues,servers,workers,stats}'::text[]) v;

SELECT is((SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute
		WHERE attrelid = to_regclass('bgjob.' || v) AND attnum > 0 AND NOT attisdropped),
	(SELECT array_agg(name ORDER BY position) FROM tap_column WHERE view = v), format('columns of bgjob.%s, in order', v))
FROM unnest('{jobs,job_states,queues,servers,workers,stats}'::text[]) v;

SELECT is((SELECT string_agg(format('%s: %s is not %s', name, coalesce(format_type(atttypid, NULL), 'missing'), type), '; ' ORDER BY position)
		FROM tap_column LEFT JOIN pg_attribute ON attrelid = to_regclass('bgjob.' || view) AND attname = name
		WHERE view = v AND coalesce(format_type(atttypid, NULL), 'missing') !~ type),
	NULL, format('types of bgjob.%s', v))
FROM unnest('{jobs,job_states,queues,servers,workers,stats}'::text[]) v;

----------------------------------------------------------------------------------------------------
-- servers
----------------------------------------------------------------------------------------------------

CALL tap_wait_until($$ SELECT EXISTS (SELECT FROM bgjob.servers WHERE started_at IS NOT NULL) $$);
SELECT is((SELECT array_agg(format('%s %s %s %s', name, kind, queues, paused)) FROM bgjob.servers), ARRAY['default internal {*} f'],
	'there is one server: default, internal, of all queues, not paused');
SELECT is((SELECT workers::int FROM bgjob.servers), 3, 'with as many workers as bgjob.workers says');
SELECT ok((SELECT heartbeat_at >= started_at AND started_at <= clock_timestamp() FROM bgjob.servers), 'started and alive');

----------------------------------------------------------------------------------------------------
-- While jobs run: two running, one scheduled, one failed, one succeeded
----------------------------------------------------------------------------------------------------

-- The file has enqueued no job so far, so the stats start at zero.
SELECT is((SELECT format('%s %s %s %s %s %s %s %s', enqueued, scheduled, awaiting, processing, succeeded, failed, deleted, recurring) FROM bgjob.stats),
	'0 0 0 0 0 0 0 0', 'at first all counts are zero');
SELECT is((SELECT count(*) FROM bgjob.jobs), 0::bigint, 'and there is no job');

SELECT pg_advisory_lock(8008) AS locked \gset
SELECT bgjob_enqueue('t_block', queue => 'mail') AS b1, bgjob_enqueue('t_block') AS b2 \gset
SELECT bgjob_enqueue('SELECT 1', kind => 'sql', queue => 'mail', delay => '1 hour') AS later \gset
SELECT bgjob_enqueue('SELECT 1 / 0', kind => 'sql', queue => 'mail', max_retries => 0) AS bad \gset
SELECT bgjob_enqueue('SELECT 1', kind => 'sql') AS good \gset
SELECT bgjob_delete(bgjob_enqueue('SELECT 1', kind => 'sql', delay => '1 hour')) AS deleted \gset
CALL tap_wait_until($$ SELECT processing = 2 AND failed = 1 AND succeeded = 1 AND deleted = 1 AND enqueued = 0 FROM bgjob.stats $$);
SELECT is((SELECT format('%s %s %s %s %s %s %s', enqueued, scheduled, awaiting, processing, succeeded, failed, deleted) FROM bgjob.stats),
	'0 1 0 2 1 1 1', 'stats: one scheduled, two processing, one succeeded, one failed, one deleted');
SELECT is((SELECT array_agg(format('%s %s %s %s %s %s', queue, paused, enqueued, processing, scheduled, failed) ORDER BY queue) FROM bgjob.queues
		WHERE queue IN ('default', 'mail')),
	ARRAY['default f 0 1 0 0', 'mail f 0 1 1 1'], 'queues: the same, by queue');
SELECT is((SELECT count(*) FROM bgjob.workers WHERE job_id IN (:b1, :b2)), 2::bigint, 'workers: two perform these jobs');
SELECT is((SELECT array_agg(DISTINCT format('%s %s', server, role)) FROM bgjob.workers), ARRAY[format('default %s', current_user)],
	'they belong to server default and run as the role of the jobs');
SELECT ok((SELECT bool_and(started_at <= clock_timestamp() AND jobs_done >= 0 AND memory_bytes > 0 AND state IS NOT NULL) FROM bgjob.workers),
	'each with its start, its count of jobs and its memory');
SELECT is((SELECT count(*) FROM bgjob.workers w JOIN bgjob.jobs j ON j.id = w.job_id AND j.worker_pid = w.pid AND j.state = 'processing'
		WHERE j.id IN (:b1, :b2)), 2::bigint, 'jobs and workers point to each other');
SELECT is((SELECT count(*) FROM bgjob.workers w JOIN pg_stat_activity a USING (pid)
		WHERE w.job_id IN (:b1, :b2) AND a.datname = current_database() AND a.usename = current_user AND a.backend_type ILIKE '%bgjob%'),
	2::bigint, 'pg_stat_activity has these processes, of a type named after bgjob, in this database, as this role');
SELECT is((SELECT count(*) FROM pg_stat_activity a JOIN bgjob.jobs j ON j.worker_pid = a.pid AND j.id IN (:b1, :b2)
		WHERE a.state = 'active' AND (a.query LIKE '%t_block%' OR a.application_name LIKE '%t_block%')), 2::bigint,
	'and shows the job that each performs');
SELECT is((SELECT busy::int FROM bgjob.servers), 2, 'servers: two busy');
SELECT is((SELECT servers::int FROM bgjob.stats), 1, 'stats: one server');
SELECT ok((SELECT workers BETWEEN 2 AND 3 FROM bgjob.stats), 'and the workers that there are');

SELECT pg_advisory_unlock(8008) AS unlocked \gset
SELECT is(ARRAY[bgjob_wait(:b1, '20 s'), bgjob_wait(:b2, '20 s')], '{succeeded,succeeded}'::text[], 'the running jobs end');
CALL tap_wait_until($$ SELECT processing = 0 AND succeeded = 3 FROM bgjob.stats $$);
SELECT is((SELECT format('%s %s', processing, succeeded) FROM bgjob.stats), '0 3', 'and stats know it');

----------------------------------------------------------------------------------------------------
-- Totals: purging does not lower the counts
----------------------------------------------------------------------------------------------------

SELECT bgjob_purge('succeeded') + bgjob_purge('deleted') AS purged \gset
SELECT is((SELECT format('%s %s %s', succeeded, deleted, failed) FROM bgjob.stats), '3 1 1',
	'after a purge stats still count every job that succeeded or was deleted');
SELECT is((SELECT array_agg(state ORDER BY state) FROM bgjob.jobs), '{failed,scheduled}'::text[], 'though the jobs are gone');
SELECT bgjob_requeue(:bad) AS requeued \gset
SELECT bgjob_wait(:bad, '20 s') AS bad_again \gset
CALL tap_wait_until($$ SELECT failed = 1 AND enqueued = 0 AND processing = 0 FROM bgjob.stats $$);
SELECT is((SELECT failed FROM bgjob.stats), 1::bigint, 'failed counts the jobs that are failed now, not the failures');

----------------------------------------------------------------------------------------------------
-- bgjob.enabled, and waiting jobs
----------------------------------------------------------------------------------------------------

ALTER SYSTEM SET bgjob.enabled = off;
SELECT pg_reload_conf() AS reloaded \gset
CALL tap_wait_stopped('probe');
SELECT count(*) AS n FROM bgjob_enqueue_many('pg_catalog.int4pl', ARRAY(SELECT '[1, 1]'::jsonb FROM generate_series(1, 100)), queue => 'waiting') \gset
SELECT is((SELECT format('%s %s', enqueued, processing) FROM bgjob.stats), '100 0', 'bgjob.enabled = off: 100 jobs stay enqueued');
SELECT is((SELECT format('%s %s %s', enqueued, processing, oldest_enqueued_at = (SELECT min(created_at) FROM bgjob.jobs WHERE queue = 'waiting'))
	FROM bgjob.queues WHERE queue = 'waiting'), '100 0 t', 'queues: 100 enqueued, and since when');
BEGIN;
SELECT count(*) AS n FROM bgjob_enqueue_many('pg_catalog.int4pl', '{"[1,1]","[1,1]"}', queue => 'waiting') \gset
ROLLBACK;
SELECT is((SELECT enqueued FROM bgjob.stats), 100::bigint, 'a rolled back job is not counted');
SELECT bgjob_delete(max(id)) AS one_deleted FROM bgjob.jobs WHERE queue = 'waiting' \gset
SELECT is((SELECT enqueued FROM bgjob.stats), 99::bigint, 'a deleted one no longer');

ALTER SYSTEM RESET bgjob.enabled;
SELECT pg_reload_conf() AS reloaded \gset
CALL tap_wait_until($$ SELECT count(*) = 99 FROM bgjob.jobs WHERE queue = 'waiting' AND state = 'succeeded' $$);
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE queue = 'waiting' AND state = 'succeeded'), 99::bigint, 'bgjob.enabled = on: they run');
CALL tap_wait_until($$ SELECT succeeded >= 102 FROM bgjob.stats $$);
SELECT cmp_ok((SELECT succeeded FROM bgjob.stats), '>=', 102::bigint, 'and are counted');
SELECT is((SELECT oldest_enqueued_at FROM bgjob.queues WHERE queue = 'waiting'), NULL::timestamptz, 'nothing is waiting any more');

\ir lib/check_counters.sql
SELECT * FROM finish();

ALTER SYSTEM RESET bgjob.workers;
ALTER SYSTEM RESET bgjob.enabled;
SELECT pg_reload_conf() AS reloaded \gset
