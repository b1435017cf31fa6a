-- 15_options.sql
--
-- What this file proves (api.md, "Jobs"): the options of jobs are parameters of all functions that take them, with the names, types,
-- order and defaults of api.md; an option has the same effect wherever it is given. start_within: a job that has not started in time
-- is deleted, wherever the option was given; no other job is.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser. It drops and creates the extension.

\ir lib/session.sql

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

\ir lib/wait.sql
\ir lib/states.sql
\ir lib/errors.sql

SELECT * FROM no_plan();

----------------------------------------------------------------------------------------------------
-- Signatures
----------------------------------------------------------------------------------------------------

CREATE FUNCTION tap_parameters(function_name text) RETURNS text LANGUAGE sql AS
	$$ SELECT string_agg(pg_get_function_arguments(oid), '; ') FROM pg_proc WHERE proname = function_name $$;

SELECT is(tap_parameters('bgjob_enqueue'),
	'job text, args jsonb DEFAULT NULL::jsonb, kind text DEFAULT NULL::text, queue text DEFAULT NULL::text, priority integer DEFAULT NULL::integer, '
	'delay interval DEFAULT NULL::interval, run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, max_retries integer DEFAULT NULL::integer, '
	'retry_delays interval[] DEFAULT NULL::interval[], timeout interval DEFAULT NULL::interval, unique_key text DEFAULT NULL::text, on_duplicate text DEFAULT NULL::text, start_within interval DEFAULT NULL::interval, '
	'sequence_key text DEFAULT NULL::text, limits text[] DEFAULT NULL::text[], fairness_key text DEFAULT NULL::text, after bigint[] DEFAULT NULL::bigint[], after_batch bigint DEFAULT NULL::bigint, after_signal text[] DEFAULT NULL::text[], '
	'condition text DEFAULT ''succeeded''::text, await_timeout interval DEFAULT NULL::interval, batch bigint DEFAULT NULL::bigint, run_as text DEFAULT NULL::text, '
	'tags text[] DEFAULT NULL::text[], parameters jsonb DEFAULT NULL::jsonb',
	'bgjob_enqueue has these parameters');
SELECT is(tap_parameters('bgjob_enqueue_many'),
	replace(tap_parameters('bgjob_enqueue'), 'args jsonb DEFAULT NULL::jsonb', 'args jsonb[]'), 'bgjob_enqueue_many has the same, but an array of args');
SELECT is(tap_parameters('bgjob_configure'),
	'job text, kind text DEFAULT ''function''::text, queue text DEFAULT NULL::text, priority integer DEFAULT NULL::integer, max_retries integer DEFAULT NULL::integer, '
	'retry_delays interval[] DEFAULT NULL::interval[], timeout interval DEFAULT NULL::interval, unique_key text DEFAULT NULL::text, on_duplicate text DEFAULT NULL::text, start_within interval DEFAULT NULL::interval, '
	'sequence_key text DEFAULT NULL::text, limits text[] DEFAULT NULL::text[], fairness_key text DEFAULT NULL::text, tags text[] DEFAULT NULL::text[], parameters jsonb DEFAULT NULL::jsonb, '
	'retry_on text[] DEFAULT NULL::text[], no_retry_on text[] DEFAULT NULL::text[], '
	'on_exhausted text DEFAULT ''fail''::text, chunk_size integer DEFAULT NULL::integer, chunk_wait interval DEFAULT NULL::interval, retention interval DEFAULT NULL::interval',
	'bgjob_configure has these');
SELECT is(tap_parameters('bgjob_recurring'),
	'name text, schedule text DEFAULT NULL::text, job text DEFAULT NULL::text, args jsonb DEFAULT NULL::jsonb, kind text DEFAULT NULL::text, queue text DEFAULT NULL::text, '
	'priority integer DEFAULT NULL::integer, max_retries integer DEFAULT NULL::integer, retry_delays interval[] DEFAULT NULL::interval[], timeout interval DEFAULT NULL::interval, '
	'unique_key text DEFAULT NULL::text, on_duplicate text DEFAULT NULL::text, start_within interval DEFAULT NULL::interval, '
	'sequence_key text DEFAULT NULL::text, limits text[] DEFAULT NULL::text[], fairness_key text DEFAULT NULL::text, '
	'run_as text DEFAULT NULL::text, tags text[] DEFAULT NULL::text[], parameters jsonb DEFAULT NULL::jsonb, '
	'time_zone text DEFAULT NULL::text, misfire text DEFAULT NULL::text, overlap text DEFAULT NULL::text, jitter interval DEFAULT NULL::interval, '
	'starts_at timestamp with time zone DEFAULT NULL::timestamp with time zone, ends_at timestamp with time zone DEFAULT NULL::timestamp with time zone, '
	'day_match text DEFAULT NULL::text, active boolean DEFAULT NULL::boolean',
	'bgjob_recurring has these');

----------------------------------------------------------------------------------------------------
-- The same option, given in each way
----------------------------------------------------------------------------------------------------

CREATE FUNCTION t_any(who text) RETURNS text LANGUAGE sql AS 'SELECT who';
CREATE FUNCTION t_configured(who text) RETURNS text LANGUAGE sql AS 'SELECT who';
-- The options of a job that bgjob.jobs shows.
CREATE FUNCTION tap_options(id bigint) RETURNS text LANGUAGE sql AS
	$$ SELECT format('%s %s %s %s %s %s', queue, priority, max_retries, timeout, tags, parameters - 'scheduled_for') FROM bgjob.jobs j WHERE j.id = $1 $$;
\set options 'queue => \'q\', priority => -7, max_retries => 3, timeout => \'90 s\', tags => \'{a,b c}\', parameters => \'{"k": [1]}\''
\set shown '\'q -7 3 00:01:30 {a,"b c"} {"k": [1]}\''

SELECT bgjob_queue_pause('q') AS paused \gset
SELECT is(tap_options(bgjob_enqueue('t_any', '["one"]', :options)), :shown, 'a job has the options given to bgjob_enqueue');
SELECT is(tap_options(max(id)), :shown, 'a job has the options given to bgjob_enqueue_many') FROM bgjob_enqueue_many('t_any', ARRAY['["a"]', '["b"]']::jsonb[], :options) id;
SELECT bgjob_configure('t_configured', :options) AS configured \gset
SELECT is(tap_options(bgjob_enqueue('t_configured', '["one"]')), :shown, 'a job has the options configured by bgjob_configure');
SELECT is(tap_options(bgjob_enqueue('t_configured', '["one"]', priority => 5, tags => '{}')), 'q 5 3 00:01:30 {} {"k": [1]}', 'options of the call have precedence over configured ones');
SELECT bgjob_recurring('r', '@yearly', 't_any', '["r"]', :options) AS added \gset
SELECT is(tap_options(bgjob_recurring_trigger('r')), :shown, 'a job has the options given to bgjob_recurring');
CREATE TABLE t_row (who text);
CREATE TRIGGER t AFTER INSERT ON t_row FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('t_any', 'queue=q', 'priority=-7', 'max_retries=3',
	'timeout=90 s', 'tags={a,b c}', 'parameters={"k": [1]}');
INSERT INTO t_row VALUES ('row');
SELECT is(tap_options(max(id)), :shown, 'a job has the options given to bgjob_enqueue_trigger') FROM bgjob.jobs;
CREATE FUNCTION t_filter(context jsonb) RETURNS jsonb LANGUAGE sql AS
	$$ SELECT '{"queue": "q", "priority": -7, "max_retries": 3, "timeout": "90 s", "tags": ["a", "b c"], "parameters": {"k": [1]}}'::jsonb $$;
SELECT bgjob_filter('t', 'creating', 't_filter', jobs => '%t_any%') AS filtered \gset
SELECT is(tap_options(bgjob_enqueue('t_any', '["one"]')), :shown, 'a job has the options that a filter returns');
SELECT bgjob_filter_remove('t') AS removed \gset
SELECT bgjob_enqueue('t_any', '["first"]', unique_key => 'k', delay => '1 hour') AS first \gset
SELECT is(bgjob_enqueue('t_any', '["second"]', :options, unique_key => 'k', on_duplicate => 'replace'), :first::bigint, 'a job is replaced');
SELECT is(tap_options(:first), :shown, 'the replaced job has the new options');

----------------------------------------------------------------------------------------------------
-- start_within
----------------------------------------------------------------------------------------------------

-- Jobs of a paused queue expire while no worker claims them; jobs without the option, or with more time, do not.
CREATE TABLE t_done (who text);
CREATE FUNCTION t_do(who text) RETURNS text LANGUAGE sql AS 'INSERT INTO public.t_done VALUES (who) RETURNING who';
CREATE FUNCTION t_do_configured(who text) RETURNS text LANGUAGE sql AS 'INSERT INTO public.t_done VALUES (who) RETURNING who';
CREATE PROCEDURE t_proc(who text) LANGUAGE plpgsql AS $$ BEGIN COMMIT; INSERT INTO public.t_done VALUES (who); END $$;
CREATE FUNCTION t_fails() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM 1 / 0; END $$;
CREATE FUNCTION t_snoozes() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	IF (SELECT count(*) FROM bgjob.job_states WHERE job_id = bgjob_current_id() AND state = 'processing') < 2 THEN
		PERFORM bgjob_snooze('1 day');
	END IF;
	RETURN 'done';
END $$;
CREATE TABLE t_job (who text PRIMARY KEY, id bigint);
CREATE TABLE t_other (who text);
-- The state, reason and history of a job.
CREATE FUNCTION tap_became(whose text) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s (%s) %s', j.state, j.reason, tap_states(j.id)) FROM t_job t JOIN bgjob.jobs j USING (id) WHERE t.who = whose $$;

-- Moves a job's times back by two days, as if the server had been down: it is noticed as due only now.
CREATE PROCEDURE tap_long_ago(id bigint) LANGUAGE plpgsql AS $$
DECLARE
	home regnamespace := (SELECT relnamespace FROM pg_class WHERE relname = 'schedule' AND relkind = 'r' AND relnamespace::regnamespace::text ~ '^bgjob');
BEGIN
	EXECUTE format('UPDATE %s.job SET created_at = created_at - interval ''2 days'', run_at = run_at - interval ''2 days'' WHERE id = %s', home, id);
	EXECUTE format('UPDATE %s.schedule SET at = at - interval ''2 days'' WHERE job = %s', home, id);
	PERFORM bgjob_enqueue('t_any', '["wakes the scheduler"]', delay => '1 ms');
END $$;

SELECT bgjob_queue_pause('late') AS paused \gset
SELECT bgjob_configure('t_do_configured', queue => 'late', start_within => '1 ms') AS configured \gset
SELECT is((SELECT start_within FROM bgjob.functions WHERE job ~ 't_do_configured'), '1 ms'::interval, 'bgjob.functions shows start_within');
INSERT INTO t_job VALUES
	('one', bgjob_enqueue('t_do', '["one"]', queue => 'late', start_within => '1 ms')),
	('scheduled', bgjob_enqueue('t_do', '["scheduled"]', queue => 'late', start_within => '1 ms', delay => '10 ms')),
	('command', bgjob_enqueue('INSERT INTO t_done VALUES (''command'')', kind => 'sql', queue => 'late', start_within => '1 ms')),
	('procedure', bgjob_enqueue('t_proc', '["procedure"]', queue => 'late', start_within => '1 ms')),
	('configured', bgjob_enqueue('t_do_configured', '["configured"]')),
	('in time', bgjob_enqueue('t_do', '["in time"]', queue => 'late', start_within => '1 day')),
	('as configured otherwise', bgjob_enqueue('t_do_configured', '["as configured otherwise"]', start_within => '1 day')),
	('without', bgjob_enqueue('t_do', '["without"]', queue => 'late'));
INSERT INTO t_job SELECT 'many ' || n, id FROM bgjob_enqueue_many('t_do', ARRAY['["a"]', '["b"]']::jsonb[], queue => 'late', start_within => '1 ms')
	WITH ORDINALITY AS m (id, n);
SELECT bgjob_recurring('late', '@yearly', 't_do', '["recurring"]', queue => 'late', start_within => '1 ms') AS added \gset
INSERT INTO t_job VALUES ('recurring', bgjob_recurring_trigger('late'));
CREATE TRIGGER t AFTER INSERT ON t_other FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('t_do', 'queue=late', 'start_within=1 ms');
INSERT INTO t_other VALUES ('trigger');
INSERT INTO t_job SELECT 'trigger', max(id) FROM bgjob.jobs;
CREATE TABLE t_context (context jsonb);
CREATE FUNCTION t_limits(context jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{"start_within": "1 ms"}'::jsonb $$;
CREATE FUNCTION t_notes(context jsonb) RETURNS jsonb LANGUAGE sql AS $$ INSERT INTO public.t_context VALUES (context); SELECT NULL::jsonb $$;
SELECT bgjob_filter('limits', 'creating', 't_limits', jobs => 't_do') AS f1, bgjob_filter('notes', 'created', 't_notes', jobs => 't_do') AS f2 \gset
INSERT INTO t_job VALUES ('filter', bgjob_enqueue('t_do', '["filter"]', queue => 'late'));
SELECT bgjob_filter_remove('limits') AS f1, bgjob_filter_remove('notes') AS f2 \gset
SELECT is((SELECT context ->> 'start_within' FROM t_context), '00:00:00.001', 'the context of filters has start_within');
SELECT bgjob_enqueue('t_do', '["replaced"]', queue => 'late', unique_key => 'late') AS replaced \gset
INSERT INTO t_job VALUES ('replaced', bgjob_enqueue('t_do', '["replaced"]', queue => 'late', unique_key => 'late', on_duplicate => 'replace', start_within => '1 ms'));
SELECT is((SELECT id FROM t_job WHERE who = 'replaced'), :replaced::bigint, 'a replaced job gets start_within');
INSERT INTO t_job VALUES ('due long ago', bgjob_enqueue('t_do', '["due long ago"]', queue => 'late', start_within => '1 hour', delay => '1 day'));
SELECT format('CALL tap_long_ago(%s)', id) FROM t_job WHERE who = 'due long ago' \gexec

CALL tap_wait_until($$ SELECT count(*) = 0 FROM t_job JOIN bgjob.jobs USING (id) WHERE state = 'scheduled' $$);
SELECT pg_sleep(0.01) AS slept \gset
SELECT is((SELECT count(*) FROM t_job JOIN bgjob.jobs USING (id) WHERE queue = 'late' AND state = 'deleted'), 0::bigint, 'no expired job is deleted before a worker claims it');
SELECT bgjob_queue_resume('late') AS resumed \gset
CALL tap_wait_until($$ SELECT count(*) = 0 FROM t_job JOIN bgjob.jobs USING (id) WHERE queue = 'late' AND state IN ('enqueued', 'processing') $$);
SELECT is(tap_became(who), 'deleted (Expired) {enqueued,deleted}', who) FROM unnest('{one,command,procedure,configured,many 1,many 2,recurring,trigger,filter}'::text[]) who;
SELECT is(tap_became('replaced'), 'deleted (Expired) {enqueued,enqueued,deleted}', 'a replaced job expires');
SELECT is(tap_became('scheduled'), 'deleted (Expired) {scheduled,enqueued,deleted}', 'a scheduled job expires after its time');
SELECT is(tap_became('due long ago'), 'deleted (Expired) {scheduled,enqueued,deleted}', 'a scheduled job expires however late it becomes due');
SELECT is(tap_became(who), 'succeeded () {enqueued,processing,succeeded}', who) FROM unnest('{in time,as configured otherwise,without}'::text[]) who;
SELECT is(ARRAY(SELECT who FROM t_done ORDER BY who COLLATE "C"), '{as configured otherwise,in time,without}'::text[], 'no expired job was performed');

-- In a group.
SELECT bgjob_queue('late', group_size => 10, paused => true) AS grouped \gset
TRUNCATE t_done, t_job;
INSERT INTO t_job SELECT 'expired ' || n, bgjob_enqueue('t_do', '["no"]', queue => 'late', start_within => '1 ms') FROM generate_series(1, 5) n;
INSERT INTO t_job SELECT 'good ' || n, bgjob_enqueue('t_do', '["yes"]', queue => 'late', start_within => '1 day') FROM generate_series(1, 5) n;
SELECT pg_sleep(0.01) AS slept \gset
SELECT bgjob_queue_resume('late') AS resumed \gset
CALL tap_wait_until($$ SELECT count(*) = 0 FROM t_job JOIN bgjob.jobs USING (id) WHERE state IN ('enqueued', 'processing') $$);
SELECT is((SELECT array_agg(DISTINCT split_part(who, ' ', 1) || ' ' || tap_became(who)) FROM t_job),
	'{"expired deleted (Expired) {enqueued,deleted}","good succeeded () {enqueued,processing,succeeded}"}', 'expired jobs of a group are deleted');
SELECT is((SELECT array_agg(who) FROM t_done), array_fill('yes'::text, '{5}'), 'the other jobs of the group are performed');

-- Only the first start is limited, not later attempts; a requeued job starts the time again.
SELECT bgjob_queue('late', group_size => 1, paused => true) AS paused \gset
TRUNCATE t_job;
INSERT INTO t_job VALUES
	('fails', bgjob_enqueue('t_fails', max_retries => 1, start_within => '1 hour')),
	('snoozes', bgjob_enqueue('t_snoozes', start_within => '1 hour')),
	('old', bgjob_enqueue('t_do', '["old"]', queue => 'late', start_within => '1 hour')),
	('requeued', bgjob_enqueue('t_do', '["requeued"]', queue => 'late', start_within => '1 hour')),
	('elected', bgjob_enqueue('t_do', '["elected"]', queue => 'late', start_within => '1 hour'));
CALL tap_wait_until($$ SELECT count(*) = 2 FROM t_job JOIN bgjob.jobs USING (id) WHERE state = 'scheduled' $$);
SELECT format('CALL tap_long_ago(%s)', id) FROM t_job \gexec
SELECT bgjob_requeue(id) AS requeued FROM t_job WHERE who = 'requeued' \gset
CREATE FUNCTION t_elects(context jsonb) RETURNS jsonb LANGUAGE sql AS
	$$ SELECT CASE WHEN context ->> 'reason' = 'Expired' THEN '{"state": "scheduled", "delay": "1 day", "reason": "Another day"}'::jsonb END WHERE context #>> '{args,0}' = 'elected' $$;
SELECT bgjob_filter('elects', 'electing', 't_elects', jobs => 't_do') AS f \gset
SELECT bgjob_queue_resume('late') AS resumed \gset
CALL tap_wait_until($$ SELECT count(*) = 5 FROM t_job JOIN bgjob.jobs USING (id) WHERE state IN ('succeeded', 'failed', 'deleted') OR who = 'elected' AND state = 'scheduled' $$);
SELECT bgjob_filter_remove('elects') AS f \gset
SELECT is(tap_became('fails'), 'failed (division by zero) {enqueued,processing,failed,scheduled,enqueued,processing,failed}', 'start_within does not limit retries');
SELECT is(tap_became('snoozes'), 'succeeded () {enqueued,processing,scheduled,enqueued,processing,succeeded}', 'start_within does not limit the run after a snooze');
SELECT is(tap_became('old'), 'deleted (Expired) {enqueued,deleted}', 'an old job expires');
SELECT is(tap_became('requeued'), 'succeeded () {enqueued,enqueued,processing,succeeded}', 'bgjob_requeue restarts start_within');
SELECT is(tap_became('elected'), 'scheduled (Another day) {enqueued,scheduled}', 'a filter may choose another state for an expired job');

SELECT is(tap_error(format('SELECT bgjob_enqueue(''t_do'', ''["x"]'', start_within => %L)', v)), '22023', format('start_within %s', v))
FROM unnest('{0,-1 s,1 mon -30 days,200000 years}'::text[]) v;
SELECT is(tap_error($$SELECT bgjob_configure('t_do', start_within => '-1 s')$$), '22023', 'bgjob_configure checks start_within');
SELECT is(tap_error($$SELECT bgjob_recurring('wrong', '@daily', 't_do', '["x"]', start_within => '0')$$), '22023', 'bgjob_recurring checks start_within');

\ir lib/check_counters.sql
SELECT * FROM finish();
