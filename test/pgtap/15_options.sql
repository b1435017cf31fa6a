-- 15_options.sql
--
-- What this file proves (api.md, "Jobs"): the options of jobs are parameters of all functions that take them, with the names, types,
-- order and defaults of api.md; and an option has the same effect wherever it is given.
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
	'job text, args jsonb DEFAULT NULL::jsonb, kind text DEFAULT ''function''::text, queue text DEFAULT NULL::text, priority integer DEFAULT NULL::integer, '
	'delay interval DEFAULT NULL::interval, run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, max_retries integer DEFAULT NULL::integer, '
	'timeout interval DEFAULT NULL::interval, unique_key text DEFAULT NULL::text, on_duplicate text DEFAULT NULL::text, '
	'sequence_key text DEFAULT NULL::text, limits text[] DEFAULT NULL::text[], after bigint[] DEFAULT NULL::bigint[], after_batch bigint DEFAULT NULL::bigint, '
	'condition text DEFAULT ''succeeded''::text, batch bigint DEFAULT NULL::bigint, run_as text DEFAULT NULL::text, '
	'tags text[] DEFAULT NULL::text[], parameters jsonb DEFAULT NULL::jsonb',
	'bgjob_enqueue has these parameters');
SELECT is(tap_parameters('bgjob_enqueue_many'),
	replace(tap_parameters('bgjob_enqueue'), 'args jsonb DEFAULT NULL::jsonb', 'args jsonb[]'), 'bgjob_enqueue_many has the same, but an array of args');
SELECT is(tap_parameters('bgjob_configure'),
	'job text, kind text DEFAULT ''function''::text, queue text DEFAULT NULL::text, priority integer DEFAULT NULL::integer, max_retries integer DEFAULT NULL::integer, '
	'timeout interval DEFAULT NULL::interval, unique_key text DEFAULT NULL::text, on_duplicate text DEFAULT ''skip''::text, '
	'sequence_key text DEFAULT NULL::text, limits text[] DEFAULT NULL::text[], tags text[] DEFAULT NULL::text[], parameters jsonb DEFAULT NULL::jsonb, '
	'retry_delays interval[] DEFAULT NULL::interval[], retry_on text[] DEFAULT NULL::text[], no_retry_on text[] DEFAULT NULL::text[], '
	'on_exhausted text DEFAULT ''fail''::text, retention interval DEFAULT NULL::interval',
	'bgjob_configure has these');
SELECT is(tap_parameters('bgjob_recurring'),
	'name text, schedule text, job text, args jsonb DEFAULT NULL::jsonb, kind text DEFAULT ''function''::text, queue text DEFAULT NULL::text, '
	'priority integer DEFAULT NULL::integer, max_retries integer DEFAULT NULL::integer, timeout interval DEFAULT NULL::interval, '
	'unique_key text DEFAULT NULL::text, on_duplicate text DEFAULT NULL::text, '
	'sequence_key text DEFAULT NULL::text, limits text[] DEFAULT NULL::text[], '
	'run_as text DEFAULT NULL::text, tags text[] DEFAULT NULL::text[], parameters jsonb DEFAULT NULL::jsonb, '
	'time_zone text DEFAULT NULL::text, misfire text DEFAULT ''once''::text, overlap text DEFAULT ''allow''::text, jitter interval DEFAULT NULL::interval, '
	'starts_at timestamp with time zone DEFAULT NULL::timestamp with time zone, ends_at timestamp with time zone DEFAULT NULL::timestamp with time zone, '
	'day_match text DEFAULT ''any''::text, active boolean DEFAULT true',
	'bgjob_recurring has these');

----------------------------------------------------------------------------------------------------
-- The same option, from each side
----------------------------------------------------------------------------------------------------

CREATE FUNCTION t_any(who text) RETURNS text LANGUAGE sql AS 'SELECT who';
CREATE FUNCTION t_configured(who text) RETURNS text LANGUAGE sql AS 'SELECT who';
-- The options of a job, as far as bgjob.jobs has them.
CREATE FUNCTION tap_options(id bigint) RETURNS text LANGUAGE sql AS
	$$ SELECT format('%s %s %s %s %s %s', queue, priority, max_retries, timeout, tags, parameters - 'scheduled_for') FROM bgjob.jobs j WHERE j.id = $1 $$;
\set options 'queue => \'q\', priority => -7, max_retries => 3, timeout => \'90 s\', tags => \'{a,b c}\', parameters => \'{"k": [1]}\''
\set shown '\'q -7 3 00:01:30 {a,"b c"} {"k": [1]}\''

SELECT bgjob_queue_pause('q') AS paused \gset
SELECT is(tap_options(bgjob_enqueue('t_any', '["one"]', :options)), :shown, 'options of bgjob_enqueue are the job''s');
SELECT is(tap_options(max(id)), :shown, 'those of bgjob_enqueue_many') FROM bgjob_enqueue_many('t_any', ARRAY['["a"]', '["b"]']::jsonb[], :options) id;
SELECT bgjob_configure('t_configured', :options) AS configured \gset
SELECT is(tap_options(bgjob_enqueue('t_configured', '["one"]')), :shown, 'those of bgjob_configure');
SELECT is(tap_options(bgjob_enqueue('t_configured', '["one"]', priority => 5, tags => '{}')), 'q 5 3 00:01:30 {} {"k": [1]}', 'of which some are given otherwise');
SELECT bgjob_recurring('r', '@yearly', 't_any', '["r"]', :options) AS added \gset
SELECT is(tap_options(bgjob_recurring_trigger('r')), :shown, 'those of bgjob_recurring');
CREATE TABLE t_row (who text);
CREATE TRIGGER t AFTER INSERT ON t_row FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('t_any', 'queue=q', 'priority=-7', 'max_retries=3',
	'timeout=90 s', 'tags={a,b c}', 'parameters={"k": [1]}');
INSERT INTO t_row VALUES ('row');
SELECT is(tap_options(max(id)), :shown, 'those of bgjob_enqueue_trigger') FROM bgjob.jobs;
CREATE FUNCTION t_filter(context jsonb) RETURNS jsonb LANGUAGE sql AS
	$$ SELECT '{"queue": "q", "priority": -7, "max_retries": 3, "timeout": "90 s", "tags": ["a", "b c"], "parameters": {"k": [1]}}'::jsonb $$;
SELECT bgjob_filter('t', 'creating', 't_filter', jobs => '%t_any%') AS filtered \gset
SELECT is(tap_options(bgjob_enqueue('t_any', '["one"]')), :shown, 'those that a filter returns');
SELECT bgjob_filter_remove('t') AS removed \gset
SELECT bgjob_enqueue('t_any', '["first"]', unique_key => 'k', delay => '1 hour') AS first \gset
SELECT is(bgjob_enqueue('t_any', '["second"]', :options, unique_key => 'k', on_duplicate => 'replace'), :first::bigint, 'a job is replaced');
SELECT is(tap_options(:first), :shown, 'with its options');

\ir lib/check_counters.sql
SELECT * FROM finish();
