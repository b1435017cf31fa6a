-- 16_plans.sql
--
-- What this file proves (design.md, promise 7, for readers):
--   * queries on jobs, job_states, job_logs and batches use the indexes of the tables: by id, by several ids, the newest n, joined
--     with the user's tables, in a view, a function or a prepared statement, and by a state that few jobs are in;
--   * the figures of a batch are counted only for the batches that a query returns, and only if it asks for them;
--   * the rows are the same as without these plans;
--   * no plan shows a hidden row to a function or an operator in the reader's own conditions, however the planner is set;
--   * a scheduled job keeps its run_at when it has run; every column and function has a comment.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser. Roles are named tap16_*.

\ir lib/session.sql

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;
SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap16_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap16_' \gexec
CREATE ROLE tap16_reader LOGIN;
CREATE ROLE tap16_other LOGIN;
GRANT USAGE ON SCHEMA bgjob TO tap16_reader, tap16_other;
GRANT CREATE ON SCHEMA public TO tap16_reader;

\ir lib/wait.sql

SELECT * FROM no_plan();

----------------------------------------------------------------------------------------------------
-- Jobs in every state, of two roles: those of the other role have a secret in every column that can hold one.
----------------------------------------------------------------------------------------------------

CREATE FUNCTION tap16_log(args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	PERFORM bgjob_log(args ->> 'text');
	PERFORM bgjob_progress(50, args ->> 'text');
	IF args ? 'fail' THEN RAISE EXCEPTION '%', args ->> 'text'; END IF;
	RETURN args;
END $$;

SELECT bgjob_queue('tap16_paused', paused => true) AS done \gset
SET tap16.setting = 'seen';
SELECT count(*) AS n FROM bgjob_enqueue_many('tap16_log', (SELECT array_agg(jsonb_build_object('text', 'mine ' || i)) FROM generate_series(1, 300) i), run_as => 'tap16_reader') \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('tap16_log', (SELECT array_agg(jsonb_build_object('text', 'mine ' || i, 'fail', true)) FROM generate_series(1, 4) i), max_retries => 0, run_as => 'tap16_reader') \gset
SET tap16.setting = 'secret';
SELECT count(*) AS n FROM bgjob_enqueue_many('tap16_log', (SELECT array_agg(jsonb_build_object('text', 'secret ' || i)) FROM generate_series(1, 300) i),
	tags => '{secret}', parameters => '{"secret": 1}', run_as => 'tap16_other') \gset
SELECT count(*) AS n FROM bgjob_enqueue_many('tap16_log', (SELECT array_agg(jsonb_build_object('text', 'secret ' || i, 'fail', true)) FROM generate_series(1, 4) i),
	max_retries => 0, run_as => 'tap16_other') \gset
CALL tap_idle();
SELECT bgjob_enqueue('tap16_log', '{"text": "secret"}', delay => '1 day', run_as => 'tap16_other') AS other_later \gset
SELECT bgjob_enqueue('tap16_log', '{"text": "secret"}', queue => 'tap16_paused', run_as => 'tap16_other') AS other_waits \gset
SET tap16.setting = 'seen';
SELECT bgjob_enqueue('tap16_log', '{"text": "mine"}', delay => '1 day', run_as => 'tap16_reader') AS later \gset
SELECT bgjob_enqueue('tap16_log', '{"text": "mine"}', queue => 'tap16_paused', run_as => 'tap16_reader') AS waits \gset
SELECT bgjob_delete(bgjob_enqueue('tap16_log', '{"text": "mine"}', queue => 'tap16_paused', run_as => 'tap16_reader')) AS deleted \gset
RESET tap16.setting;
-- Batches of both roles, each with another one in it and two jobs.
CREATE FUNCTION tap16_batches(word text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	outer_one bigint;
BEGIN
	FOR i IN 1 .. 20 LOOP
		outer_one := bgjob_batch(word || i, parameters => jsonb_build_object('text', word || i), unique_key => word || i);
		PERFORM bgjob_enqueue('VALUES (1)', kind => 'sql', queue => 'tap16_paused', batch => b)
		FROM unnest(ARRAY[outer_one, bgjob_batch(word || i, parent => outer_one)]) b;
	END LOOP;
END $$;
SET ROLE tap16_reader;
SELECT tap16_batches('mine ') AS done \gset
SET ROLE tap16_other;
SELECT tap16_batches('secret ') AS done \gset
RESET ROLE;
VACUUM ANALYZE;

CREATE TABLE tap16_ref AS SELECT id AS job_id, 'row ' || id AS note FROM bgjob.jobs ORDER BY id LIMIT 10;
GRANT SELECT ON tap16_ref TO PUBLIC;

----------------------------------------------------------------------------------------------------
-- Plans
----------------------------------------------------------------------------------------------------

-- tap16_plan returns the plan of a query without the rows that explain more.
CREATE FUNCTION tap16_plan(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	plan text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS off, VERBOSE) ' || query LOOP
		plan := plan || line || E'\n';
	END LOOP;
	RETURN plan;
END $$;

-- tap16_no_scan asserts that a query reads no table of jobs from end to end.
CREATE FUNCTION tap16_no_scan(query text, description text) RETURNS text LANGUAGE sql AS $$
	SELECT unalike(tap16_plan(query), '%Seq Scan on bgjob_internal.job %', description) $$;

-- Small tables are scanned at any rate; the planner decides as it does for large ones if that costs more.
SET enable_seqscan = off;
SELECT matches(tap16_plan('SELECT * FROM bgjob.jobs WHERE id = 5'), 'Index Cond: \(\(?j\.id = ', 'jobs by id: an index');
SELECT matches(tap16_plan('SELECT * FROM bgjob.jobs WHERE id IN (5, 6, 7)'), 'Index Cond: \(\(?j\.id = ANY', 'jobs by several ids: an index');
SELECT matches(tap16_plan('SELECT * FROM bgjob.job_states WHERE job_id = 5'), 'Index Cond: \(j\.id = ', 'job_states by job: an index');
SELECT matches(tap16_plan('SELECT * FROM bgjob.job_logs WHERE job_id = 5'), 'Index Cond: \(t\.job = ', 'job_logs by job: an index');
SELECT matches(tap16_plan('SELECT * FROM bgjob.jobs ORDER BY id DESC LIMIT 20'), 'Index Scan Backward using job_pkey', 'the newest jobs: the index backwards');
SELECT unalike(tap16_plan('SELECT * FROM bgjob.jobs ORDER BY id DESC LIMIT 20'), '%Sort Key: j.id%', 'the newest jobs: they are not sorted');
SELECT tap16_no_scan('SELECT r.note, j.state FROM tap16_ref r JOIN bgjob.jobs j ON j.id = r.job_id WHERE r.note = ''row 3''', 'joined with a table of the user: an index');
SELECT tap16_no_scan('SELECT r.note, h.state FROM tap16_ref r JOIN bgjob.job_states h USING (job_id) WHERE r.note = ''row 3''', 'the history, joined: an index');
SELECT tap16_no_scan('SELECT * FROM bgjob.jobs WHERE id = (SELECT max(job_id) FROM tap16_ref)', 'by the id that a subquery returns: an index');
SELECT tap16_no_scan('WITH j AS (SELECT * FROM bgjob.jobs) SELECT * FROM j WHERE id = 3', 'in a CTE: an index');
SELECT tap16_no_scan('SELECT (SELECT state FROM bgjob.jobs WHERE id = job_id) FROM tap16_ref', 'in a subquery of the target list: an index');
CREATE VIEW tap16_view AS SELECT id, job, args, state FROM bgjob.jobs;
SELECT tap16_no_scan('SELECT * FROM tap16_view WHERE id = 4', 'in a view of the user: an index');
SELECT matches(tap16_plan('SELECT * FROM bgjob.batches WHERE id = 5'), 'Index Cond: \(b\.id = ', 'batches by id: an index');
SELECT matches(tap16_plan('SELECT * FROM bgjob.batches ORDER BY id DESC LIMIT 20'), 'Index Scan Backward using batch_pkey', 'the newest batches: the index backwards');
SELECT unalike(tap16_plan('SELECT * FROM bgjob.batches ORDER BY id DESC LIMIT 20'), '%Sort Key%', 'the newest batches: they are not sorted, so only these are counted');
RESET enable_seqscan;
-- batch, batch_total and member are the tables of the batches.
SELECT is(ARRAY(SELECT DISTINCT m[1] FROM regexp_matches(tap16_plan(query), 'Scan[^\n]* on bgjob_internal\.(\w+)', 'g') m ORDER BY 1), tables, query || ': no other table')
FROM (VALUES ('SELECT id, parent_id, description, created_at, role, parameters, unique_key FROM bgjob.batches ORDER BY id DESC LIMIT 26', '{batch}'::text[]),
	('SELECT count(*) FROM bgjob.batches', '{batch}'), ('SELECT b.id, c.id FROM bgjob.batches b JOIN bgjob.batches c ON c.parent_id = b.id', '{batch}'),
	('SELECT total FROM bgjob.batches', '{batch,batch_total}'), ('SELECT finished_at FROM bgjob.batches', '{batch,member}')) q (query, tables);

SELECT matches(tap16_plan(format('SELECT * FROM bgjob.jobs WHERE state = %L', state)), 'job_ids\(''\{' || state || '\}''(.|\n)*Index Cond: \(\(?j\.id = ANY \(',
		'state ' || state || ': by the ids of its jobs')
FROM unnest('{enqueued,scheduled,awaiting,processing,failed}'::text[]) state;
SELECT matches(tap16_plan('SELECT count(*) FROM bgjob.jobs WHERE state IN (''failed'', ''scheduled'') AND queue = ''default'''),
	'job_ids\(''\{scheduled,failed\}''(.|\n)*Index Cond: \(\(?j\.id = ANY \(', 'several states: likewise');
SELECT unalike(tap16_plan(format('SELECT * FROM bgjob.jobs WHERE %s', condition)), '%job_ids%', condition || ': no list of ids')
FROM unnest(ARRAY['state = ''succeeded''', 'state IN (''failed'', ''deleted'')', 'state <> ''failed''', 'state = ''Failed''', 'state = NULL', 'state > ''failed''',
	'id = 5 AND state = ''failed''', 'state = ''failed'' AND id IN (5, 6)', 'state = ''failed'' AND id = (SELECT max(job_id) FROM tap16_ref)', 'state = ''failed'' OR queue = ''x''', 'state = reason', 'NOT state = ''failed''']) condition;
PREPARE tap16_by_state(text) AS SELECT id FROM bgjob.jobs WHERE state = $1;
SELECT alike(tap16_plan('EXECUTE tap16_by_state(''failed'')'), '%job_ids%', 'the parameter of a prepared statement: by the ids');
PREPARE tap16_by_states(text[]) AS SELECT id FROM bgjob.jobs WHERE state = ANY ($1);
SELECT alike(tap16_plan('EXECUTE tap16_by_states(''{failed,enqueued}'')'), '%job_ids%', 'an array as parameter: by the ids');
SELECT unalike(tap16_plan('EXECUTE tap16_by_states(''{failed,succeeded}'')'), '%job_ids%', 'an array with a state that many jobs are in: all jobs are read');

CREATE TABLE tap16_plans (plan text);
GRANT INSERT ON tap16_plans TO tap16_reader;
SET ROLE tap16_reader;
INSERT INTO tap16_plans SELECT tap16_plan('SELECT * FROM bgjob.jobs WHERE state = ''failed''');
RESET ROLE;
SELECT alike(plan, '%job_ids%', 'a role that sees a part has the same plan') FROM tap16_plans;
DELETE FROM tap16_plans;
SET ROLE tap16_reader;
INSERT INTO tap16_plans SELECT tap16_plan(query) FROM unnest(ARRAY['SELECT * FROM bgjob.jobs ORDER BY id DESC LIMIT 20', 'SELECT id FROM bgjob.jobs v ORDER BY v.id DESC OFFSET 10 FETCH FIRST 5 ROWS ONLY']) query;
RESET ROLE;
SELECT alike(plan, '%newest_ids%', 'the newest jobs, for a role that sees a part: their ids are listed') FROM tap16_plans;
DELETE FROM tap16_plans;
SET ROLE tap16_reader;
INSERT INTO tap16_plans SELECT tap16_plan('SELECT ' || query) FROM unnest(ARRAY['id FROM bgjob.jobs ORDER BY id LIMIT 20', 'id FROM bgjob.jobs ORDER BY id DESC', 'count(*) FROM bgjob.jobs ORDER BY 1 DESC LIMIT 1',
	'id FROM bgjob.jobs WHERE queue = ''x'' ORDER BY id DESC LIMIT 20', 'DISTINCT id FROM bgjob.jobs ORDER BY id DESC LIMIT 20', 'id FROM bgjob.jobs GROUP BY id ORDER BY id DESC LIMIT 20',
	'id FROM bgjob.jobs ORDER BY id DESC, queue LIMIT 20', 'id FROM bgjob.jobs ORDER BY id DESC FETCH FIRST 3 ROWS WITH TIES', 'id FROM bgjob.jobs, tap16_ref ORDER BY id DESC LIMIT 20',
	'id FROM bgjob.jobs ORDER BY id DESC LIMIT 20000', 'id, generate_series(1, 2) FROM bgjob.jobs ORDER BY id DESC LIMIT 20', '-id AS id FROM bgjob.jobs ORDER BY 1 DESC LIMIT 20']) query;
RESET ROLE;
SELECT unalike(plan, '%newest_ids%', 'other queries: no list of the newest') FROM tap16_plans;

----------------------------------------------------------------------------------------------------
-- The same rows
----------------------------------------------------------------------------------------------------

-- The reference: the view, read into a table without any condition.
CREATE TABLE tap16_all AS SELECT * FROM bgjob.jobs;
CREATE TABLE tap16_history AS SELECT * FROM bgjob.job_states;
CREATE TABLE tap16_lines AS SELECT * FROM bgjob.job_logs;
CREATE TABLE tap16_batch AS SELECT * FROM bgjob.batches;
GRANT SELECT ON tap16_all, tap16_history, tap16_lines, tap16_batch TO PUBLIC;
SELECT cmp_ok((SELECT count(*) FROM tap16_lines), '>=', 608::bigint, 'every job has logged');

-- tap16_same compares a query on the views with the same on the tables, of the rows that a role sees.
CREATE FUNCTION tap16_same(query text, description text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	reader text;
	seen text;
	truth text;
BEGIN
	FOREACH reader IN ARRAY ARRAY[current_user::text, 'tap16_reader', 'tap16_other'] LOOP
		EXECUTE format('SET LOCAL ROLE %I', reader);
		EXECUTE format('SELECT string_agg(r::text, E''\n'' ORDER BY r::text) FROM (%s) r', query) INTO seen;
		EXECUTE format('SELECT string_agg(r::text, E''\n'' ORDER BY r::text) FROM (%s) r',
			replace(replace(replace(replace(query,
				'bgjob.batches', '(SELECT * FROM tap16_batch WHERE pg_has_role(role, ''USAGE''))'),
				'bgjob.jobs', '(SELECT * FROM tap16_all WHERE pg_has_role(run_as, ''USAGE''))'),
				'bgjob.job_states', '(SELECT h.* FROM tap16_history h JOIN tap16_all a ON a.id = h.job_id WHERE pg_has_role(a.run_as, ''USAGE''))'),
				'bgjob.job_logs', '(SELECT l.* FROM tap16_lines l JOIN tap16_all a ON a.id = l.job_id WHERE pg_has_role(a.run_as, ''USAGE''))')) INTO truth;
		RESET ROLE;
		RETURN NEXT is(seen, truth, format('%s, as %s', description, CASE WHEN reader ~ '^tap16' THEN reader ELSE 'a superuser' END));
	END LOOP;
END $$;
SELECT tap16_same(format('SELECT j.* FROM bgjob.jobs j WHERE j.state = %L', state), 'state ' || state || ': the same rows')
FROM unnest('{enqueued,scheduled,awaiting,processing,succeeded,failed,deleted}'::text[]) state;
SELECT tap16_same(query, query) FROM unnest(ARRAY[
	'SELECT j.* FROM bgjob.jobs j WHERE j.state IN (''failed'', ''enqueued'') AND j.id % 2 = 0',
	'SELECT r.note, j.state FROM tap16_ref r LEFT JOIN bgjob.jobs j ON j.id = r.job_id',
	'SELECT r.note, j.state FROM tap16_ref r LEFT JOIN bgjob.jobs j ON j.id = r.job_id WHERE j.state = ''failed''',
	'SELECT r.note, j.id FROM tap16_ref r FULL JOIN bgjob.jobs j ON j.id = r.job_id WHERE j.state = ''failed'' OR r.note IS NULL',
	'SELECT r.note, j.id FROM bgjob.jobs j RIGHT JOIN tap16_ref r ON j.id = r.job_id AND j.state = ''succeeded''',
	'SELECT j.id, (SELECT count(*) FROM bgjob.job_states h WHERE h.job_id = j.id) FROM bgjob.jobs j ORDER BY j.id DESC LIMIT 30',
	'SELECT j.* FROM bgjob.jobs j ORDER BY j.id DESC LIMIT 20', 'SELECT j.id FROM bgjob.jobs j ORDER BY j.id DESC LIMIT 1000', 'SELECT j.id FROM bgjob.jobs j ORDER BY j.id DESC LIMIT 7 OFFSET 295',
	'SELECT * FROM (SELECT j.id FROM bgjob.jobs j ORDER BY j.id DESC LIMIT 20) t WHERE t.id % 2 = 0', 'SELECT j.id FROM bgjob.jobs j ORDER BY j.id DESC LIMIT 0',
	'SELECT h.* FROM bgjob.job_states h WHERE h.job_id BETWEEN 290 AND 310',
	'SELECT h.job_id, h.state FROM bgjob.jobs j JOIN bgjob.job_states h ON h.job_id = j.id WHERE j.state = ''failed''',
	'SELECT l.* FROM bgjob.job_logs l JOIN bgjob.jobs j ON j.id = l.job_id WHERE j.state = ''failed''',
	'SELECT j.state, count(*), sum(j.id) FROM bgjob.jobs j GROUP BY 1',
	'SELECT r.note, v.id FROM tap16_ref r JOIN (SELECT x.* FROM bgjob.jobs x WHERE x.state = ''succeeded'') v ON v.id = r.job_id',
	'SELECT r.note, (SELECT count(*) FROM bgjob.jobs j WHERE j.state = ''failed'' AND j.id > r.job_id) FROM tap16_ref r',
	'SELECT count(*) FROM bgjob.jobs a JOIN bgjob.jobs b ON a.id = b.id + 1 WHERE a.state = ''succeeded'' AND b.state = ''failed''',
	'SELECT j.id FROM bgjob.jobs j WHERE EXISTS (SELECT FROM bgjob.job_logs l WHERE l.job_id = j.id AND l.message LIKE ''%7%'')',
	'SELECT b.* FROM bgjob.batches b', 'SELECT b.id, b.total FROM bgjob.batches b ORDER BY b.id DESC LIMIT 7 OFFSET 3', 'SELECT b.id, c.pending FROM bgjob.batches b LEFT JOIN bgjob.batches c ON c.parent_id = b.id AND c.state = ''processing''',
	'SELECT b.state, count(*), sum(b.total) FROM bgjob.batches b WHERE b.parent_id IS NULL GROUP BY 1', 'SELECT j.id, b.pending FROM bgjob.jobs j JOIN bgjob.batches b ON b.id = j.batch_id']) query;

-- A condition that fails for the jobs of other functions comes after the one on the name, as it would on a table.
SELECT bgjob_enqueue('pg_catalog.int4pl', '[1, 2]') AS sum \gset
CALL tap_state_is(:sum, 'succeeded');
SELECT is(ARRAY(SELECT id FROM bgjob.jobs WHERE (result #>> '{}')::int = 3 AND job = 'pg_catalog.int4pl'), ARRAY[:sum]::bigint[], 'a condition on the name comes first');
SELECT is(ARRAY(SELECT id FROM bgjob.jobs WHERE (args ->> 0)::int = 1 AND job ~ 'int4pl'), ARRAY[:sum]::bigint[], 'a pattern for the name comes first');

-- The condition of a MERGE's join does not filter its source.
CREATE TABLE tap16_target (id bigint, state text);
MERGE INTO tap16_target t USING bgjob.jobs v ON t.id = v.id AND v.state = 'failed'
WHEN MATCHED THEN UPDATE SET state = v.state WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.state);
SELECT is((SELECT count(*) FROM tap16_target), (SELECT count(*) FROM bgjob.jobs), 'MERGE sees all jobs');

-- Jobs that are held back after a restore are in no list of their state.
BEGIN;
INSERT INTO bgjob_internal.job (id, created_at, run_as, queue, state, job, kind)
SELECT nextval('bgjob_internal.job_id_seq'), now(), 'tap16_reader'::regrole, 'tap16_paused', state, 'SELECT 1', 's' FROM unnest('{e,s,f}'::"char"[]) state;
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE state = wanted AND job = 'SELECT 1'), 1::bigint, 'a restored job is found by its state, ' || wanted)
FROM unnest('{enqueued,scheduled,failed}'::text[]) wanted;
ROLLBACK;

----------------------------------------------------------------------------------------------------
-- Hidden rows
----------------------------------------------------------------------------------------------------

-- A function, and an operator, that tell everything that they are called with; both seem to be as cheap as nothing else.
CREATE TABLE tap16_leaked (what text);
GRANT INSERT ON tap16_leaked TO tap16_reader;
CREATE FUNCTION tap16_leak(what text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
BEGIN
	INSERT INTO tap16_leaked VALUES (what);
	RETURN true;
END $$;
CREATE FUNCTION tap16_leak_two(what text, other text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
BEGIN
	INSERT INTO tap16_leaked VALUES (what), (other);
	RETURN true;
END $$;
CREATE OPERATOR public.### (FUNCTION = tap16_leak_two, LEFTARG = text, RIGHTARG = text);

-- The planner calls the operator of a condition on the values that it has in its statistics, if the operator asks for that.
CREATE OPERATOR public.==# (FUNCTION = tap16_leak_two, LEFTARG = text, RIGHTARG = text, RESTRICT = eqsel, JOIN = eqjoinsel);
CREATE OPERATOR public.<<# (FUNCTION = tap16_leak_two, LEFTARG = text, RIGHTARG = text, RESTRICT = scalarltsel, JOIN = scalarltjoinsel);

CREATE TABLE tap16_attack (query text);
INSERT INTO tap16_attack
SELECT format('SELECT count(*) FROM bgjob.%s v WHERE tap16_leak(v.%s::text)', v, c)
FROM (SELECT 'jobs', unnest('{args,job,reason,queue,error,result,progress_message,worker_pid,tags,parameters,settings,state,started_at}'::text[])
	UNION ALL SELECT 'job_states', unnest('{reason,data,state,at,seq}'::text[]) UNION ALL SELECT 'job_logs', unnest('{message,level,seq,job_id}'::text[])
	UNION ALL SELECT 'batches', unnest('{description,parameters,unique_key}'::text[])) a (v, c)
UNION ALL SELECT format('SELECT count(*) FROM bgjob.%s v WHERE tap16_leak(v::text)', v) FROM unnest('{jobs,job_states,job_logs,batches}'::text[]) v
UNION ALL SELECT format('SELECT count(*) FROM bgjob.%s v WHERE v.%s %s ''x''', v, c, o)
FROM (SELECT 'jobs', unnest('{job,reason,queue,progress_message,state,recurring_name}'::text[])
	UNION ALL SELECT 'job_states', unnest('{reason,state}'::text[]) UNION ALL SELECT 'job_logs', unnest('{message,level}'::text[])
	UNION ALL SELECT 'batches', unnest('{description,unique_key}'::text[])) a (v, c), unnest('{==#,<<#}'::text[]) o
UNION ALL SELECT unnest(ARRAY[
	'SELECT count(*) FROM bgjob.jobs v WHERE v.args::text ### ''x''',
	'SELECT count(*) FROM bgjob.jobs v WHERE v.state = ''failed'' AND tap16_leak(v.args::text)',
	'SELECT count(*) FROM bgjob.jobs v WHERE v.state IN (''enqueued'', ''scheduled'') AND tap16_leak(v.args::text)',
	'SELECT count(*) FROM tap16_ref r JOIN bgjob.jobs v ON v.args::text ### r.note',
	'SELECT count(*) FROM tap16_ref r JOIN bgjob.job_logs v ON v.message ==# r.note',
	'SELECT count(*) FROM tap16_ref r JOIN bgjob.jobs v ON v.progress_message ==# r.note',
	'SELECT count(*) FROM tap16_ref r LEFT JOIN bgjob.jobs v ON tap16_leak_two(v.args::text, r.note)',
	'SELECT count(*) FROM tap16_ref r JOIN bgjob.job_states v ON tap16_leak_two(v.data::text, r.note)',
	'SELECT count(*) FROM tap16_ref r JOIN bgjob.job_states v ON v.job_id = r.job_id AND tap16_leak(v.data::text)',
	'SELECT count(*) FROM tap16_ref r JOIN bgjob.job_logs v ON tap16_leak_two(v.message, r.note)',
	'SELECT count(*) FROM bgjob.jobs a JOIN bgjob.jobs b ON tap16_leak_two(a.args::text, b.args::text) WHERE a.id < 4',
	'SELECT count(*) FROM bgjob.job_logs l JOIN bgjob.job_states h USING (job_id) WHERE tap16_leak_two(l.message, h.data::text)',
	'SELECT count(*) FROM tap16_ref r JOIN bgjob.batches v ON tap16_leak_two(v.description, r.note)',
	'SELECT count(*) FROM tap16_ref r LEFT JOIN bgjob.batches v ON v.unique_key ==# r.note AND v.total > 0',
	'SELECT count(*) FROM bgjob.batches v WHERE tap16_leak(concat(v.total, v.pending, v.state, v.description))',
	'SELECT count(*) FROM bgjob.jobs v WHERE CASE WHEN v.id > 0 THEN tap16_leak(v.args::text) ELSE tap16_leak(v.result::text) END',
	'SELECT count(*) FROM bgjob.jobs v WHERE tap16_leak(v.args::text) OR v.id = 3',
	'SELECT count(*) FROM bgjob.jobs v WHERE EXISTS (SELECT FROM tap16_ref r WHERE tap16_leak_two(v.args::text, r.note))',
	'SELECT count(*) FROM bgjob.jobs v, LATERAL (SELECT v.args::text AS text OFFSET 0) t WHERE tap16_leak(t.text)',
	'SELECT count(tap16_leak(v.args::text)) FROM bgjob.jobs v',
	'SELECT tap16_leak(v.args::text) FROM bgjob.jobs v ORDER BY v.id DESC LIMIT 50',
	'SELECT count(*) FROM (SELECT args, row_number() OVER () AS n FROM bgjob.jobs) v WHERE tap16_leak(v.args::text)',
	'SELECT v.queue FROM bgjob.jobs v GROUP BY v.queue, v.args HAVING tap16_leak(v.args::text)',
	'WITH v AS MATERIALIZED (SELECT * FROM bgjob.jobs WHERE tap16_leak(args::text)) SELECT count(*) FROM v',
	'SELECT count(*) FROM tap16_view v WHERE tap16_leak(v.args::text)',
	'SELECT count(*) FROM (SELECT args::text AS t FROM bgjob.jobs UNION ALL SELECT message FROM bgjob.job_logs UNION ALL SELECT data::text FROM bgjob.job_states) v WHERE tap16_leak(v.t)']);
GRANT SELECT ON tap16_attack, tap16_view TO tap16_reader;

-- tap16_try runs all attacks as the reader.
CREATE FUNCTION tap16_try() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	attack text;
	n bigint := 0;
BEGIN
	FOR attack IN SELECT query FROM tap16_attack LOOP
		EXECUTE attack;
		n := n + 1;
	END LOOP;
	RETURN n;
END $$;

-- tap16_hidden runs them with one setting of the planner.
CREATE FUNCTION tap16_hidden(settings text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	setting text;
	n bigint;
BEGIN
	DELETE FROM tap16_leaked;
	FOREACH setting IN ARRAY settings LOOP
		PERFORM set_config(setting, 'off', true);
	END LOOP;
	SET LOCAL ROLE tap16_reader;
	n := tap16_try();
	RESET ROLE;
	RETURN NEXT is((SELECT count(*) FROM tap16_attack), n, format('all attacks ran, %s off', settings));
	RETURN NEXT ok((SELECT count(*) > 1000 FROM tap16_leaked WHERE what ~ 'mine'), format('the function saw the reader''s own rows, %s off', settings));
	RETURN NEXT is(ARRAY(SELECT DISTINCT what FROM tap16_leaked WHERE what ~ 'secret' LIMIT 5), '{}', format('and no hidden ones, %s off', settings));
	FOREACH setting IN ARRAY settings LOOP
		PERFORM set_config(setting, 'on', true);
	END LOOP;
END $$;
SELECT tap16_hidden(settings::text[])
FROM unnest(ARRAY['{}', '{enable_seqscan}', '{enable_indexscan,enable_bitmapscan,enable_material}', '{enable_nestloop,enable_hashjoin}',
	'{enable_nestloop,enable_mergejoin,enable_seqscan}']) settings;

----------------------------------------------------------------------------------------------------
-- run_at, comments
----------------------------------------------------------------------------------------------------

SELECT bgjob_enqueue('SELECT 1', kind => 'sql', delay => '10 ms') AS due \gset
CALL tap_state_is(:due, 'succeeded');
SELECT ok((SELECT run_at > created_at AND started_at >= run_at FROM bgjob.jobs WHERE id = :due), 'a job that was scheduled keeps its run_at');
SELECT bgjob_requeue(:due) AS requeued \gset
CALL tap_state_is(:due, 'succeeded');
SELECT is((SELECT run_at FROM bgjob.jobs WHERE id = :due), NULL, 'a job that was requeued has none');

SELECT is_empty($$ SELECT c.oid::regclass, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
	WHERE c.relnamespace = 'bgjob'::regnamespace AND c.relkind = 'v' AND a.attnum > 0 AND col_description(c.oid, a.attnum) IS NULL $$, 'every column of the views has a comment');
SELECT is_empty($$ SELECT oid::regclass FROM pg_class WHERE relnamespace = 'bgjob'::regnamespace AND relkind = 'v' AND obj_description(oid, 'pg_class') IS NULL $$,
	'every view has a comment');
SELECT is_empty($$ SELECT p.oid::regprocedure FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid JOIN pg_extension e ON e.oid = d.refobjid
	WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'bgjob' AND obj_description(p.oid, 'pg_proc') IS NULL $$,
	'every function has a comment');

\ir lib/check_counters.sql
SELECT * FROM finish();
DROP OWNED BY tap16_reader, tap16_other CASCADE;
DROP ROLE tap16_reader, tap16_other;
