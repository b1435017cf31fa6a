-- 28_limits.sql
--
-- What this file proves about the configuration of limits, and the options of jobs that need it (doc/manual.md):
--   * bgjob_limit(), bgjob_limit_remove(), bgjob_weight(): right and wrong values, replacing, rollback, 10,000 limits;
--   * limits, sequence_key and fairness_key: literal, with placeholders, in each function and trigger, configured, kept by a
--     recurring job, changed by a filter; what arguments contain is never read again;
--   * bgjob.limits, bgjob_limit_close(), bgjob_limit_used(): for whom, what stays after a failure and a rollback;
--   * bgjob_queue(): max_running and max_length, unset again; 53400 for each way to enqueue, and for whom not.
--
-- What limits do to jobs is tested elsewhere: here nearly all jobs wait in a paused queue.
-- Runs in autocommit, in a fresh database, as the bootstrap superuser.

\ir lib/session.sql

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

\ir lib/wait.sql
\ir lib/errors.sql

SELECT * FROM no_plan();

CREATE FUNCTION t_call(tenant int, what text DEFAULT 'x', more jsonb DEFAULT NULL) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION t_whole(args jsonb) RETURNS void LANGUAGE sql AS '';
-- Three options of a job.
CREATE FUNCTION tap_keys(id bigint) RETURNS text LANGUAGE sql AS $$ SELECT rtrim(format('[%s] %s %s', array_to_string(limits, ','), sequence_key, fairness_key)) FROM bgjob.jobs j WHERE j.id = $1 $$;
-- What tap_keys says of a job that is enqueued so; it does not stay.
CREATE FUNCTION tap_enqueued(arguments text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	job bigint;
BEGIN
	EXECUTE format('SELECT bgjob_enqueue(%s, queue => ''held'')', arguments) INTO job;
	RETURN tap_keys(job);
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT bgjob_queue('held', paused => true) \g /dev/null

----------------------------------------------------------------------------------------------------
-- Limits and weights
----------------------------------------------------------------------------------------------------

SELECT is((SELECT pg_typeof(bgjob_limit('smtp', 5))::text), 'void', 'bgjob_limit returns void');
SELECT bgjob_limit('tenant:*', max_running => 1), bgjob_limit('openai', rate => 1000, per => '1 min', algorithm => 'token_bucket', on_limit => 'delete'),
	bgjob_limit('both', 0, 1, '1 month', 'fixed_window'), bgjob_limit('longest', 1, 2147483647, '100 years'), bgjob_limit(repeat('n', 500), 2147483647) \g /dev/null
SELECT is((SELECT string_agg(concat_ws(' ', left(name, 8), max_running, rate, per, algorithm, on_limit), ', ' ORDER BY name) FROM bgjob_internal.limit_conf),
	'both 0 1 1 mon f w, longest 1 2147483647 100 years s w, nnnnnnnn 2147483647 s w, openai 1000 00:01:00 t d, smtp 5 s w, tenant:* 1 s w', 'limits are stored');
SELECT bgjob_limit('openai', 3) \g /dev/null
SELECT is((SELECT concat_ws(' ', max_running, rate, per, algorithm, on_limit) FROM bgjob_internal.limit_conf WHERE name = 'openai'), '3 s w', 'a limit is replaced as a whole');
SELECT is(bgjob_limit_remove('both'), true, 'a limit is removed');
SELECT is(bgjob_limit_remove('both'), false, 'and then it is not there');
SELECT is(bgjob_limit_remove('tenant:1'), false, 'a key of a pattern is no limit to remove');
SELECT cmp_ok((SELECT count(DISTINCT version) FROM bgjob_internal.limit_conf), '=', (SELECT count(*) FROM bgjob_internal.limit_conf), 'each change has a version');

CREATE TEMPORARY TABLE t_wrong (n int GENERATED ALWAYS AS IDENTITY, call text, code text, what text);
INSERT INTO t_wrong (call, code, what) VALUES
	($$bgjob_limit('x')$$, '22023', 'a limit of nothing'),
	($$bgjob_limit('x', rate => 1)$$, '22023', 'rate without per'),
	($$bgjob_limit('x', per => '1 s')$$, '22023', 'per without rate'),
	($$bgjob_limit('x', 1, per => '1 s')$$, '22023', 'per without rate, and max_running'),
	($$bgjob_limit('x', -1)$$, '22023', 'max_running -1'),
	($$bgjob_limit('x', rate => 0, per => '1 s')$$, '22023', 'a rate of 0'),
	($$bgjob_limit('x', rate => -5, per => '1 s')$$, '22023', 'a negative rate'),
	($$bgjob_limit('x', rate => 1, per => '0')$$, '22023', 'a per of 0'),
	($$bgjob_limit('x', rate => 1, per => '-1 s')$$, '22023', 'a negative per'),
	($$bgjob_limit('x', rate => 1, per => '1 day -25 hours')$$, '22023', 'a per whose sum is negative'),
	($$bgjob_limit('x', rate => 1, per => '101 years')$$, '22023', 'a per of 101 years'),
	($$bgjob_limit('x', rate => 1, per => '170000000 years')$$, '22023', 'the longest per'),
	($$bgjob_limit('', 1)$$, '22023', 'an empty name'),
	($$bgjob_limit(repeat('n', 501), 1)$$, '22023', 'a name of 501 bytes'),
	($$bgjob_limit(repeat('ä', 251), 1)$$, '22023', 'a name of 502 bytes in 251 characters'),
	($$bgjob_limit('a*b', 1)$$, '22023', '* in the middle'),
	($$bgjob_limit('a**', 1)$$, '22023', 'two *'),
	($$bgjob_limit('a=1', 1)$$, '22023', 'a name with ='),
	($$bgjob_limit('x', 1, algorithm => 'leaky_bucket')$$, '22023', 'an unknown algorithm'),
	($$bgjob_limit('x', 1, on_limit => '')$$, '22023', 'an empty on_limit'),
	($$bgjob_limit('x', 1, algorithm => NULL)$$, '22004', 'a null algorithm'),
	($$bgjob_limit('x', 1, on_limit => NULL)$$, '22004', 'a null on_limit'),
	($$bgjob_limit(NULL, 1)$$, '22004', 'a null name'),
	($$bgjob_limit_remove(NULL)$$, '22004', 'remove: a null name'),
	($$bgjob_limit_remove('')$$, '22023', 'remove: an empty name'),
	($$bgjob_weight(NULL, 1)$$, '22004', 'weight: a null key'),
	($$bgjob_weight('', 1)$$, '22023', 'weight: an empty key'),
	($$bgjob_weight('*x', 1)$$, '22023', 'weight: * at the beginning'),
	($$bgjob_weight(repeat('n', 501), NULL)$$, '22023', 'weight: a key of 501 bytes, to be removed'),
	($$bgjob_weight('x', 0)$$, '22023', 'a weight of 0'),
	($$bgjob_weight('x', -1)$$, '22023', 'a negative weight'),
	($$bgjob_weight('x', 'NaN')$$, '22023', 'a weight that is no number'),
	($$bgjob_weight('x', 'Infinity')$$, '22023', 'an infinite weight');
SELECT matches(tap_error('SELECT ' || call), '^' || code || '$', format('%s is refused with %s, message, detail and hint (%s)', what, code, call)) FROM t_wrong ORDER BY n;
SELECT is_empty($$ SELECT * FROM bgjob_internal.limit_conf WHERE name = 'x' $$, 'refused calls leave no limit');

SELECT bgjob_weight('tenant:*', 0.5), bgjob_weight('tenant:7', 3), bgjob_weight('k', 1), bgjob_weight('tenant:7', 4), bgjob_weight('k', NULL), bgjob_weight('k', NULL) \g /dev/null
SELECT is((SELECT string_agg(key || ' ' || weight, ', ' ORDER BY key) FROM bgjob_internal.weight_conf), 'tenant:* 0.5, tenant:7 4', 'weights are stored, replaced and removed');

----------------------------------------------------------------------------------------------------
-- The options, by bgjob_enqueue
----------------------------------------------------------------------------------------------------

SELECT is(tap_enqueued(arguments), expected, what) FROM (VALUES
	($$'t_call', '[7]', limits => '{smtp,tenant:7}', sequence_key => 's', fairness_key => 'f'$$, '[smtp,tenant:7] s f', 'literal keys'),
	($$'t_call', '[7]', limits => '{}'$$, '[]', 'an empty array is no limit'),
	($$'t_call', '[7]', limits => '{openai=1200,smtp=1,tenant:a=2147483647}'$$, '[openai=1200,smtp,tenant:a=2147483647]', 'units; 1 is left out'),
	($$'t_call', '[7]', limits => '{openai=0001200}'$$, '[openai=1200]', 'units with zeros before them'),
	($$'t_call', '[7, "w"]', limits => ARRAY['tenant:{tenant}', 'openai={1}'], sequence_key => '{what}', fairness_key => 'a{2}{{b}}'$$,
		'[tenant:7,openai=7] w aw{b}', 'placeholders by name and number, and braces'),
	($$'t_call', '{"tenant": 7, "more": {"k": [1]}}', limits => ARRAY['tenant:{more}'], sequence_key => '{3}'$$, '[tenant:{"k": [1]}] {"k": [1]}', 'named arguments, and JSON'),
	($$'t_call', '[7, null]', sequence_key => 's:{what}'$$, '[] s:null', 'a null argument'),
	($$'t_whole', '{"a": {"b": 1}, "c": "{d}"}', sequence_key => '{a}', fairness_key => '{c}'$$, '[] {"b": 1} {d}', 'members of an object that is taken whole'),
	($$'SELECT $1, $2', '["x", 5]', limits => ARRAY['openai={2}'], sequence_key => '{1}'$$, '[openai=5] x', 'parameters of a command'),
	-- what an argument contains
	($$'t_call', '[7, "{tenant}"]', sequence_key => '{what}', limits => ARRAY['tenant:{what}']$$, '[tenant:{tenant}] {tenant}', 'a placeholder in an argument is none'),
	($$'t_call', '[7, "a=99"]', limits => ARRAY['tenant:{what}']$$, '[tenant:a=99=1]', 'a = in an argument is a part of the name'),
	($$'t_call', '[7, "a=99"]', limits => ARRAY['tenant:{what}=3']$$, '[tenant:a=99=3]', 'and units follow'),
	($$'t_call', '[7, "*"]', limits => ARRAY['tenant:{what}']$$, '[tenant:*]', 'a * in an argument'),
	($$'t_call', '[7, "}{,\"x"]', limits => ARRAY['tenant:{what}']$$, '[tenant:}{,"x]', 'braces and quotes in an argument')
) AS v (arguments, expected, what);

SELECT matches(tap_error(format('SELECT bgjob_enqueue(%s, queue => ''held'')', arguments)), '^22023$', what || ' is refused') FROM (VALUES
	($$'t_call', '[7]', limits => '{nix}'$$, 'a limit that does not exist'),
	($$'t_call', '[7]', limits => '{tenant}'$$, 'a name that no pattern fits'),
	($$'t_call', '[7]', limits => '{smtp,smtp}'$$, 'the same limit twice'),
	($$'t_call', '[7]', limits => '{smtp,smtp=2}'$$, 'the same limit twice, with units'),
	($$'t_call', '[7, "7"]', limits => ARRAY['tenant:{1}', 'tenant:{2}']$$, 'the same key of a pattern twice'),
	($$'t_call', '[7]', limits => array_fill('tenant:{1}'::text, ARRAY[17])$$, 'seventeen limits'),
	($$'t_call', '[7]', limits => '{NULL}'$$, 'a null limit'),
	($$'t_call', '[7]', limits => '{""}'$$, 'an empty limit'),
	($$'t_call', '[7]', limits => '{=5}'$$, 'units without a name'),
	($$'t_call', '[7]', limits => '{smtp=}'$$, 'empty units'),
	($$'t_call', '[7]', limits => '{smtp=0}'$$, 'no units'),
	($$'t_call', '[7]', limits => '{smtp=-1}'$$, 'negative units'),
	($$'t_call', '[7]', limits => '{smtp=+1}'$$, 'units with a sign'),
	($$'t_call', '[7]', limits => '{smtp= 1}'$$, 'units with a space'),
	($$'t_call', '[7]', limits => '{smtp=1.5}'$$, 'units with a fraction'),
	($$'t_call', '[7]', limits => '{smtp=2147483648}'$$, 'too many units'),
	($$'t_call', '[7]', limits => '{smtp=99999999999999999999999999}'$$, 'very many units'),
	($$'t_call', '[7]', limits => ARRAY['smtp={what}']$$, 'units of an argument that is left out'),
	($$'t_call', '[7, "12x"]', limits => ARRAY['smtp={what}']$$, 'units that are no number'),
	($$'t_call', '[7, null]', limits => ARRAY['smtp={what}']$$, 'null units'),
	($$'t_call', '[7]', sequence_key => ''$$, 'an empty sequence_key'),
	($$'t_call', '[7, ""]', sequence_key => '{what}'$$, 'a sequence_key that an argument makes empty'),
	($$'t_call', '[7, ""]', limits => ARRAY['{what}']$$, 'a limit that an argument makes empty'),
	($$'t_call', '[7]', fairness_key => repeat('k', 501)$$, 'a fairness_key of 501 bytes'),
	($$'t_call', jsonb_build_array(7, repeat('k', 500)), fairness_key => 'x{what}'$$, 'a fairness_key that an argument makes too long'),
	($$'t_call', jsonb_build_array(7, repeat('k', 500)), limits => ARRAY['tenant:{what}']$$, 'a limit that an argument makes too long'),
	($$'t_call', '[7]', sequence_key => '{nix}'$$, 'a placeholder of no argument'),
	($$'t_call', '[7]', sequence_key => '{0}'$$, 'the number 0'),
	($$'t_call', '[7]', sequence_key => '{4}'$$, 'a number that is too high'),
	($$'t_call', '[7]', sequence_key => '{what}'$$, 'a placeholder of an argument that is left out'),
	($$'t_call', '[7]', sequence_key => '{'$$, 'an open brace'),
	($$'t_call', '[7]', limits => ARRAY['smtp}']$$, 'a closing brace'),
	($$'t_whole', '{"a": 1}', sequence_key => '{b}'$$, 'a member that is not there'),
	($$'t_whole', '[1]', sequence_key => '{1}'$$, 'the number of a member'),
	($$'t_whole', NULL, sequence_key => '{a}'$$, 'a member of nothing'),
	($$'SELECT $1', '[1]', sequence_key => '{2}'$$, 'a parameter that is not there'),
	($$'SELECT $1', '[1]', sequence_key => '{x}'$$, 'a name for a command'),
	($$'SELECT 1', NULL, sequence_key => '{1}'$$, 'a parameter of a command without any')
) AS v (arguments, what);
SELECT is(tap_enqueued($$'t_call', '[7]', limits => (SELECT array_agg('tenant:' || i) FROM generate_series(1, 16) i)$$) ~ 'tenant:16', true, 'sixteen limits');
SELECT is(tap_enqueued($$'t_call', '[7]', fairness_key => repeat('k', 500)$$), '[]  ' || repeat('k', 500), 'a key of 500 bytes');

----------------------------------------------------------------------------------------------------
-- In the other ways
----------------------------------------------------------------------------------------------------

SELECT is((SELECT string_agg(tap_keys(id), ', ' ORDER BY id) FROM bgjob_enqueue_many('t_call', ARRAY['[1, "a"]', '{"tenant": 2, "what": "b"}', '[3, "c"]']::jsonb[], queue => 'held',
	limits => ARRAY['smtp', 'tenant:{tenant}=2'], sequence_key => 's{what}', fairness_key => 'all') id),
	'[smtp,tenant:1=2] sa all, [smtp,tenant:2=2] sb all, [smtp,tenant:3=2] sc all', 'each job of bgjob_enqueue_many has its own keys');
SELECT matches(tap_error($$ SELECT bgjob_enqueue_many('t_call', ARRAY['[1, "a"]', '[1]']::jsonb[], queue => 'held', sequence_key => '{what}') $$), '^22023$', 'one element without the argument refuses all');

CREATE TABLE t_row (tenant int, what text, more jsonb);
CREATE TRIGGER t_row AFTER INSERT ON t_row FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('t_call', 'queue=held', 'limits={smtp,"tenant:{tenant}"}', 'sequence_key=row{what}', 'fairness_key={1}');
INSERT INTO t_row VALUES (8, 'w');
SELECT is((SELECT tap_keys(max(id)) FROM bgjob.jobs), '[smtp,tenant:8] roww 8', 'a row trigger');
DROP TRIGGER t_row ON t_row;
CREATE TRIGGER t_rows AFTER INSERT ON t_row REFERENCING NEW TABLE AS new FOR EACH STATEMENT EXECUTE FUNCTION bgjob_enqueue_trigger('t_call', 'queue=held', 'limits={"tenant:{tenant}"}', 'fairness_key={what}');
INSERT INTO t_row VALUES (9, 'x'), (10, 'y');
SELECT is((SELECT string_agg(tap_keys(id), ', ' ORDER BY id) FROM (SELECT id FROM bgjob.jobs ORDER BY id DESC LIMIT 2) j), '[tenant:9]  x, [tenant:10]  y', 'a statement trigger');

SELECT bgjob_configure('t_call', limits => ARRAY['tenant:{tenant}', 'unknown'], sequence_key => 'q{1}', fairness_key => '{what}') \g /dev/null
SELECT is((SELECT format('[%s] %s %s', array_to_string(limits, ','), sequence_key, fairness_key) FROM bgjob.functions), '[tenant:{tenant},unknown] q{1} {what}', 'a function is configured, also with a limit that does not exist yet');
SELECT is(tap_enqueued($$'t_call', '[5, "w"]', limits => '{smtp}'$$), '[smtp] q5 w', 'the call goes before the configuration');
SELECT is(tap_enqueued($$'t_call', '[5, "w"]', limits => '{}', fairness_key => 'own'$$), '[] q5 own', 'an empty array takes the configured limits away');
SELECT matches(tap_enqueued($$'t_call', '[5, "w"]'$$), '^22023 limit "unknown" does not exist$', 'the limit has to exist for the job');
SELECT bgjob_limit('unknown', 1) \g /dev/null
SELECT is(tap_enqueued($$'t_call', '[5, "w"]'$$), '[tenant:5,unknown] q5 w', 'then the job has all that is configured');
SELECT matches(tap_error('SELECT bgjob_configure(''t_call'', ' || options || ')'), '^22023$', what || ' is not configured') FROM (VALUES
	($$limits => ARRAY['tenant:{nix}']$$, 'a placeholder of no argument'), ($$limits => ARRAY['smtp={nix}']$$, 'one in the units'), ($$limits => '{smtp=0}'$$, 'a limit without units'),
	($$limits => '{=1}'$$, 'a limit without a name'), ($$limits => '{NULL}'$$, 'a null limit'), ($$sequence_key => '{9}'$$, 'a number that is too high'), ($$fairness_key => 'x}'$$, 'a single brace'),
	($$limits => array_fill('x'::text, ARRAY[17])$$, 'seventeen limits')) AS v (options, what);
SELECT bgjob_unconfigure('t_call') \g /dev/null

-- Recurring jobs: what was given stays, and is filled with the arguments of now.
SELECT bgjob_recurring('r', '@yearly', 't_call', '[3, "w"]', queue => 'held', limits => ARRAY['tenant:{tenant}'], sequence_key => 'k{what}', fairness_key => 'f') \g /dev/null
SELECT is(tap_keys(bgjob_recurring_trigger('r')), '[tenant:3] kw f', 'a recurring job');
SELECT is((SELECT format('%s %s %s %s', limits, sequence_key, fairness_key, given) FROM bgjob.recurring_jobs), '{tenant:3} kw f {queue,sequence_key,limits,fairness_key}', 'bgjob.recurring_jobs shows them');
SELECT bgjob_recurring('r', args => '[4, "v"]') \g /dev/null
SELECT is(tap_keys(bgjob_recurring_trigger('r')), '[tenant:4] kv f', 'with other arguments');
SELECT bgjob_recurring('r', limits => '{}', sequence_key => '', fairness_key => '') \g /dev/null
SELECT is(tap_keys(bgjob_recurring_trigger('r')), '[]', 'what is empty takes them away');
SELECT matches(tap_error($$ SELECT bgjob_recurring('r', limits => '{nix}') $$), '^22023$', 'a limit that does not exist');
SELECT bgjob_recurring('r', limits => '{unknown}') \g /dev/null
SELECT bgjob_limit_remove('unknown') \g /dev/null
SELECT is(tap_keys(bgjob_recurring_trigger('r')), '[unknown]', 'a recurring job whose limit was removed is enqueued all the same');
SELECT bgjob_recurring_remove('r') \g /dev/null

-- Filters: nothing is a placeholder.
CREATE FUNCTION t_filter(context jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT context #> '{parameters,answer}' $$;
CREATE FUNCTION t_echo(context jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_object('limits', context -> 'limits', 'fairness_key', context -> 'fairness_key') $$;
SELECT bgjob_filter('f', 'creating', 't_filter', '%t_call%') \g /dev/null
SELECT is(tap_enqueued($$'t_call', '[1]', limits => '{smtp}', parameters => '{"answer": {"limits": ["tenant:{x}", "openai=5", "tenant:a=1"], "fairness_key": "{tenant}"}}'$$),
	'[tenant:{x},openai=5,tenant:a]  {tenant}', 'a filter gives limits and a key, as they are');
SELECT is(tap_enqueued($$'t_call', '[1]', limits => '{smtp}', parameters => '{"answer": {"limits": []}}'$$), '[]', 'a filter takes limits away');
SELECT matches(tap_enqueued(format($$'t_call', '[1]', parameters => '{"answer": %s}'$$, answer)), '^22023 ', answer || ' is refused') FROM unnest(ARRAY['{"limits": ["nix"]}', '{"limits": ["smtp", "smtp=2"]}',
	'{"limits": ["smtp=0"]}', '{"limits": [null]}', '{"limits": "smtp"}', '{"fairness_key": ""}', '{"sequence_key": "s"}']) AS answer;
SELECT bgjob_filter('f', 'creating', 't_echo', '%t_call%') \g /dev/null
SELECT is(tap_enqueued($$'t_call', '[1, "{tenant}=7"]', limits => ARRAY['tenant:{what}', 'smtp=3'], fairness_key => '{what}'$$), '[tenant:{tenant}=7=1,smtp=3]  {tenant}=7', 'a filter may return what it was given');
SELECT bgjob_filter_remove('f') \g /dev/null

----------------------------------------------------------------------------------------------------
-- What is found: the exact name, else the longest pattern; changes, many limits
----------------------------------------------------------------------------------------------------

BEGIN;
SELECT bgjob_limit('mine', 1) \g /dev/null
SELECT is(tap_enqueued($$'t_call', '[1]', limits => '{mine}'$$), '[mine]', 'a limit is there in its own transaction');
SAVEPOINT s;
SELECT bgjob_limit_remove('mine') \g /dev/null
SELECT matches(tap_enqueued($$'t_call', '[1]', limits => '{mine}'$$), '^22023', 'and is not when it is removed there');
ROLLBACK TO s;
SELECT is(tap_enqueued($$'t_call', '[1]', limits => '{mine}'$$), '[mine]', 'and is after the savepoint is rolled back');
ROLLBACK;
SELECT matches(tap_enqueued($$'t_call', '[1]', limits => '{mine}'$$), '^22023', 'after a rollback it is not there');

SELECT bgjob_limit('*', 1) \g /dev/null
SELECT is(tap_enqueued($$'t_call', '[1]', limits => '{anything}'$$), '[anything]', 'the pattern * covers every name');
SELECT bgjob_limit_remove('*') \g /dev/null
SELECT count(bgjob_limit('many-' || i || CASE i % 2 WHEN 0 THEN '-*' ELSE '' END, 1)) FROM generate_series(1, 10000) i \g /dev/null
SELECT is(tap_enqueued($$'t_call', '[1]', limits => '{many-9999,many-10000-x}'$$), '[many-9999,many-10000-x]', 'ten thousand limits');
SELECT matches(tap_enqueued($$'t_call', '[1]', limits => '{many-9998}'$$), '^22023', 'a pattern needs its whole prefix');
SELECT count(bgjob_limit_remove('many-' || i || CASE i % 2 WHEN 0 THEN '-*' ELSE '' END)) FROM generate_series(1, 10000) i \g /dev/null

----------------------------------------------------------------------------------------------------
-- bgjob.limits; closing; what was really used
----------------------------------------------------------------------------------------------------

SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap28_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap28_' \gexec
CREATE ROLE tap28_a LOGIN;
CREATE ROLE tap28_b LOGIN;
CREATE ROLE tap28_watch LOGIN IN ROLE pg_monitor;
GRANT USAGE ON SCHEMA bgjob TO tap28_a, tap28_b;
SELECT bgjob_limit_remove(name) FROM bgjob.limits \g /dev/null
SELECT bgjob_limit('mutex', 1), bgjob_limit('key:*', max_running => 1, rate => 50, per => '1 hour'), bgjob_limit('rated', rate => 100, per => '1 hour', algorithm => 'fixed_window', on_limit => 'delete') \g /dev/null
-- Waits until this session releases the lock.
CREATE FUNCTION t_block(what text DEFAULT '') RETURNS void LANGUAGE sql AS $$ SELECT pg_advisory_xact_lock_shared(2028) $$;
CREATE FUNCTION t_close(name text, delay interval, how text DEFAULT '') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM bgjob_limit_close(name, delay => t_close.delay);
	IF how = 'fail' THEN RAISE EXCEPTION 'told to fail'; END IF;
END $$;
CREATE FUNCTION t_spend(name text, units int) RETURNS void LANGUAGE sql AS $$ SELECT bgjob_limit_used(name, units) $$;
-- The rows that a role sees.
CREATE FUNCTION tap_limits(role text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	rows text;
BEGIN
	IF role IS NOT NULL THEN EXECUTE format('SET LOCAL ROLE %I', role); END IF;
	SELECT string_agg(concat_ws(' ', name, coalesce(running::text, '-'), coalesce(waiting::text, '-'), coalesce(used::text, '-'), 'closed ' || (closed_until > now())), ', ' ORDER BY name) INTO rows FROM bgjob.limits;
	RESET ROLE;
	RETURN rows;
END $$;
CREATE FUNCTION tap_closed(name text) RETURNS boolean LANGUAGE sql AS $$ SELECT coalesce((SELECT closed_until > now() FROM bgjob.limits l WHERE l.name = $1), false) $$;

SELECT is((SELECT string_agg(concat_ws(' ', name, max_running, rate, per, algorithm, on_limit), ', ' ORDER BY name) FROM bgjob.limits),
	'key:* 1 50 01:00:00 sliding_window wait, mutex 1 wait, rated 100 01:00:00 fixed_window delete', 'bgjob.limits shows what is configured');
SELECT is(tap_limits('tap28_a'), 'key:* - - -, mutex 0 0 -, rated 0 0 0', 'to every role');
SELECT pg_advisory_lock(2028) \g /dev/null
SELECT count(bgjob_enqueue('t_block', limits => '{mutex}')) FROM generate_series(1, 3) \g /dev/null
SET ROLE tap28_a;
SELECT bgjob_enqueue('t_block', '["a"]', limits => ARRAY['key:{what}=7']), bgjob_enqueue('t_block', '["a"]', limits => ARRAY['key:{what}']) \g /dev/null
SET ROLE tap28_b;
SELECT bgjob_enqueue('t_block', '["b"]', limits => ARRAY['key:{what}', 'rated=20']) \g /dev/null
RESET ROLE;
CALL tap_wait_until($$ SELECT tap_limits() = 'key:* - - -, key:a 1 1 7, key:b 1 0 1, mutex 1 2 -, rated 1 0 20' $$);
SELECT is(tap_limits(), 'key:* - - -, key:a 1 1 7, key:b 1 0 1, mutex 1 2 -, rated 1 0 20', 'jobs that run and wait, units that are used, and keys of a pattern');
SELECT is(tap_limits('tap28_watch'), tap_limits(), 'pg_monitor sees all');
SELECT is(tap_limits('tap28_a'), 'key:* - - -, key:a 1 1 7, mutex 1 2 -, rated 1 0 20', 'a role sees the keys of its own jobs');
SELECT is(tap_limits('tap28_b'), 'key:* - - -, key:b 1 0 1, mutex 1 2 -, rated 1 0 20', 'and so does another');
SELECT pg_advisory_unlock(2028) \g /dev/null
CALL tap_wait_until($$ SELECT tap_limits() ~ 'key:a 0 0 .*key:b 0 0 .*mutex 0 0 ' $$);
SELECT is(tap_limits(), 'key:* - - -, key:a 0 0 8, key:b 0 0 1, mutex 0 0 -, rated 0 0 20', 'what was spent stays for a while, also of keys');
SELECT is(tap_limits('tap28_a'), 'key:* - - -, mutex 0 0 -, rated 0 0 20', 'keys without jobs are for those who see all');

-- Used.
SELECT bgjob_enqueue('t_spend', '["rated", 70]', limits => '{rated=10}') AS job \gset
SELECT is(bgjob_wait(:job, '20 s'), 'succeeded', 'a job says what it has used');
SELECT is((SELECT used FROM bgjob.limits WHERE name = 'rated'), 90, 'that counts instead of what it has announced');
SELECT bgjob_enqueue('SELECT bgjob_limit_used(''rated'', 50), bgjob_limit_used(''rated'', 0)', limits => '{rated=5}') AS job \gset
SELECT is(bgjob_wait(:job, '20 s'), 'succeeded', 'twice');
SELECT is((SELECT used FROM bgjob.limits WHERE name = 'rated'), 90, 'the last one counts');
SELECT bgjob_enqueue('t_spend', '["mutex", 5]', limits => '{mutex}') AS job \gset
SELECT is(bgjob_wait(:job, '20 s'), 'succeeded', 'a limit without a rate ignores it');
SELECT bgjob_enqueue('t_spend', '["rated", -1]', limits => '{rated}', max_retries => 0) AS job \gset
SELECT bgjob_wait(:job, '20 s') \g /dev/null
SELECT is((SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE id = :job), '22023', 'negative units are refused');
SELECT bgjob_enqueue('t_spend', '["mutex", 1]', limits => '{rated}', max_retries => 0) AS job \gset
SELECT bgjob_wait(:job, '20 s') \g /dev/null
SELECT is((SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE id = :job), '22023', 'so is a limit that the job is not under');
SELECT is(tap_try($$ SELECT bgjob_limit_used('rated', 1) $$), 'ERROR 55000', 'outside of a job there is nothing to correct');
SELECT is((SELECT used FROM bgjob.limits WHERE name = 'rated'), 92, 'failed attempts have spent their units');

-- Closed.
SELECT is(tap_try($$ SELECT bgjob_limit_close('mutex', delay => '1 hour') $$, 'tap28_a'), 'ERROR 42501', 'a role does not close a limit');
SET ROLE tap28_a;
SELECT bgjob_enqueue('t_close', '["mutex", "1 hour"]', limits => '{key:x}', max_retries => 0) AS wrong \gset
SELECT bgjob_wait(:wrong, '20 s') \g /dev/null
SELECT is((SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE id = :wrong), '42501', 'nor does its job, if it is not under the limit');
SELECT bgjob_enqueue('t_close', '["key:*", "1 hour"]', limits => '{key:x}', max_retries => 0) AS wrong \gset
SELECT bgjob_wait(:wrong, '20 s') \g /dev/null
SELECT is((SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE id = :wrong), '42501', 'nor the pattern of its key');
SELECT bgjob_enqueue('t_close', '["key:x", "1 hour", "fail"]', limits => '{key:x}', max_retries => 0) AS closer \gset
SELECT is(bgjob_wait(:closer, '20 s'), 'failed', 'a job closes its own key, and fails');
SELECT bgjob_enqueue('t_block', limits => '{key:x}') AS held, bgjob_enqueue('t_block', limits => '{key:y}') AS free \gset
SELECT is(bgjob_wait(:free, '20 s'), 'succeeded', 'another key is open');
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :held), 'enqueued', 'a job waits for the key that is closed');
RESET ROLE;
SELECT is(tap_closed('key:x'), true, 'bgjob.limits shows that');
SELECT bgjob_limit_close('key:x', delay => '0') \g /dev/null
SELECT is(bgjob_wait(:held, '20 s'), 'succeeded', 'an administrator opens it');
SELECT is(tap_closed('key:x'), false, 'then it is open');

GRANT EXECUTE ON FUNCTION bgjob_limit_close TO tap28_b;
SELECT is(tap_try($$ SELECT bgjob_limit_close('mutex', until => 'infinity') $$, 'tap28_b'), '', 'a role with EXECUTE by a grant closes a limit');
SELECT is((SELECT closed_until FROM bgjob.limits WHERE name = 'mutex'), 'infinity', 'for good');
SELECT bgjob_enqueue('t_block', limits => '{mutex}') AS held \gset
SELECT bgjob_limit('mutex', 2) \g /dev/null
SELECT is(tap_closed('mutex'), true, 'a limit that is configured again stays closed');
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :held), 'enqueued', 'its job waits');
SELECT bgjob_limit_close('mutex', '-infinity') \g /dev/null
SELECT is(bgjob_wait(:held, '20 s'), 'succeeded', 'until the limit is opened');
SELECT bgjob_limit_close('key:*', now() + interval '1 hour') \g /dev/null
SELECT bgjob_enqueue('t_block', limits => '{key:z}') AS held \gset
SELECT is((SELECT string_agg(name, ' ' ORDER BY name) FROM bgjob.limits WHERE closed_until > now()), 'key:* key:a key:b key:x key:y key:z', 'a pattern closes all its keys');
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :held), 'enqueued', 'also one that had no job yet');
SELECT bgjob_limit_close('key:*', delay => '300 ms') \g /dev/null
SELECT is(bgjob_wait(:held, '20 s'), 'succeeded', 'a limit opens by itself when the time has come');
SELECT matches(tap_error('SELECT ' || call), '^' || code || '$', call || ' is refused') FROM (VALUES
	($$bgjob_limit_close('nix', delay => '1 s')$$, '22023'), ($$bgjob_limit_close('mutex')$$, '22023'), ($$bgjob_limit_close('mutex', now(), '1 s')$$, '22023'),
	($$bgjob_limit_close('mutex', delay => '-1 s')$$, '22023'), ($$bgjob_limit_close('', delay => '1 s')$$, '22023'), ($$bgjob_limit_close(NULL, delay => '1 s')$$, '22004'),
	($$bgjob_limit_close(repeat('n', 501), delay => '1 s')$$, '22023')) AS v (call, code);
SELECT bgjob_limit_remove('mutex'), bgjob_limit_remove('rated'), bgjob_limit_remove('key:*') \g /dev/null
SELECT is_empty('SELECT * FROM bgjob.limits', 'removed limits are not shown, nor keys of their patterns');

----------------------------------------------------------------------------------------------------
-- Queues: max_running and max_length
----------------------------------------------------------------------------------------------------

CREATE FUNCTION tap_queue(queue text) RETURNS text LANGUAGE sql AS $$ SELECT coalesce((SELECT format('%s/%s/%s', max_running, max_length, group_size) FROM bgjob.queues q WHERE q.queue = $1), 'not shown') $$;
SELECT bgjob_queue('q', max_running => 3, paused => true, max_length => 2) \g /dev/null
SELECT is(tap_queue('q'), '3/2/1', 'bgjob.queues shows max_running and max_length');
SELECT bgjob_queue('q', group_size => 5) \g /dev/null
SELECT is(tap_queue('q'), '3/2/5', 'what is null stays');
SELECT bgjob_queue('q', max_running => 0, max_length => 0) \g /dev/null
SELECT is(tap_queue('q'), '0/0/5', '0 is a number');
SELECT is(tap_try($$ SELECT bgjob_enqueue('t_call', '[1]', queue => 'q') $$), 'ERROR 53400', 'a queue that no job may wait in');
SELECT bgjob_queue('q', max_running => -1, max_length => -1) \g /dev/null
SELECT is(tap_queue('q'), '//5', '-1 takes both away');
SELECT bgjob_queue('q', max_length => 3) \g /dev/null

SELECT bgjob_enqueue('t_call', '[1]', queue => 'q'), bgjob_enqueue('t_call', '[1]', queue => 'q') \g /dev/null
SELECT matches(tap_error($$ SELECT bgjob_enqueue_many('t_call', ARRAY['[1]', '[1]']::jsonb[], queue => 'q') $$), '^53400$', 'of an array all jobs count');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE queue = 'q'), 2::bigint, 'none of them is enqueued');
SELECT is((SELECT count(*) FROM bgjob_enqueue_many('t_call', ARRAY['[1]']::jsonb[], queue => 'q')), 1::bigint, 'one more has room');
SELECT matches(tap_error($$ SELECT bgjob_enqueue('t_call', '[1]', queue => 'q') $$), '^53400$', 'then the queue is full');
SELECT is((SELECT count(*) FROM bgjob_enqueue_many('t_call', '{}', queue => 'q')), 0::bigint, 'nothing always has room');
SELECT isnt(bgjob_enqueue('t_call', '[1]', queue => 'q', delay => '1 hour'), NULL, 'a job with a future time is not refused');
SELECT isnt(bgjob_enqueue('t_call', '[1]', queue => 'q', after_signal => '{nix}'), NULL, 'nor is one that awaits something');
SELECT bgjob_recurring('r', '@yearly', 't_call', '[1]', queue => 'q') \g /dev/null
SELECT isnt(bgjob_recurring_trigger('r'), NULL, 'nor is a recurring job');
SELECT isnt(bgjob_enqueue('t_call', '[1]', queue => 'held'), NULL, 'another queue has room');
DROP TRIGGER t_rows ON t_row;
CREATE TRIGGER t_row AFTER INSERT ON t_row FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('t_call', 'queue=q');
SELECT matches(tap_error('INSERT INTO t_row VALUES (1)'), '^53400$', 'a row trigger is refused');
SELECT bgjob_queue('q', max_length => 6) \g /dev/null
SELECT matches(tap_error('INSERT INTO t_row VALUES (1), (2), (3)'), '^53400$', 'so is the third row of three, when two have room');
SELECT is((SELECT count(*) FROM t_row WHERE tenant < 4), 0::bigint, 'and the statement with it');
BEGIN;
SELECT bgjob_enqueue('t_call', '[1]', queue => 'q'), bgjob_enqueue('t_call', '[1]', queue => 'q') \g /dev/null
SELECT matches(tap_error($$ SELECT bgjob_enqueue('t_call', '[1]', queue => 'q') $$), '^53400$', 'jobs of the own transaction count');
ROLLBACK;
SELECT isnt(bgjob_enqueue('t_call', '[1]', queue => 'q'), NULL, 'after a rollback there is room');
SELECT is((SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE queue = 'q' AND state = 'enqueued'), 5::bigint, 'the jobs are deleted');
SELECT is((SELECT count(*) FROM bgjob_enqueue_many('t_call', array_fill('[1]'::jsonb, ARRAY[6]), queue => 'q')), 6::bigint, 'then there is room again');
SELECT bgjob_queue_remove('q') \g /dev/null
SELECT isnt(bgjob_enqueue('t_call', '[1]', queue => 'q'), NULL, 'a queue without a configuration is never full');

-- Running jobs do not wait.
SELECT bgjob_queue('busy', max_length => 1) \g /dev/null
SELECT bgjob_enqueue('SELECT pg_sleep(60)', queue => 'busy') AS running \gset
CALL tap_wait_until(format($$ SELECT state = 'processing' FROM bgjob.jobs WHERE id = %s $$, :running));
SELECT bgjob_queue_pause('busy') \g /dev/null
SELECT isnt(bgjob_enqueue('t_call', '[1]', queue => 'busy'), NULL, 'a running job takes no room');
SELECT is(tap_try($$ SELECT bgjob_enqueue('t_call', '[1]', queue => 'busy') $$), 'ERROR 53400', 'a waiting one does');
SELECT bgjob_delete(:running), bgjob_wait(:running, '20 s') \g /dev/null
SELECT bgjob_delete(id) FROM bgjob.jobs WHERE state IN ('enqueued', 'scheduled', 'awaiting') \g /dev/null

\ir lib/check_counters.sql
SELECT * FROM finish();
