-- 06_rights.sql
--
-- What this file proves (design.md section 4, promise 5):
--   * GRANT USAGE ON SCHEMA bgjob is the only grant that a role needs; without it a role can do nothing;
--   * a job runs in a session whose session_user and current_user are its role, and gains no privileges: not by
--     RESET ROLE, SET ROLE, SET SESSION AUTHORIZATION, in a deferred constraint trigger at commit, nor through
--     functions that the bookkeeping might call;
--   * run_as needs membership and a role that may log in;
--   * a role sees and controls the jobs of the roles that it is a member of, pg_monitor sees all, and a leaky
--     function reveals no hidden rows of the views;
--   * PUBLIC has no rights on tables; EXECUTE is checked again at run time; a SECURITY DEFINER function
--     enqueues as its owner.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser. Roles are named tap06_*. pgTAP's own
-- tables belong to the superuser, so a role only tries things, and the superuser asserts.

\ir lib/session.sql

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

SELECT current_user AS superuser \gset

-- Roles belong to the cluster and may be left from an earlier run that failed.
SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap06_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap06_' \gexec
CREATE ROLE tap06_app LOGIN;
CREATE ROLE tap06_other LOGIN;
CREATE ROLE tap06_boss LOGIN;			-- is a member of tap06_app
CREATE ROLE tap06_nobody LOGIN;			-- has no USAGE
CREATE ROLE tap06_nologin NOLOGIN;
CREATE ROLE tap06_monitor LOGIN;
GRANT tap06_app TO tap06_boss;
GRANT tap06_nologin TO tap06_app;
GRANT pg_monitor TO tap06_monitor;
GRANT USAGE ON SCHEMA bgjob TO tap06_app, tap06_other, tap06_boss, tap06_nologin, tap06_monitor;

----------------------------------------------------------------------------------------------------
-- Helpers
----------------------------------------------------------------------------------------------------

\ir lib/wait.sql
\ir lib/errors.sql

----------------------------------------------------------------------------------------------------
-- What the jobs of this file call
----------------------------------------------------------------------------------------------------

CREATE TABLE t_log (label text, su text, cu text, super text);
GRANT INSERT, SELECT ON t_log TO PUBLIC;
CREATE FUNCTION t_who() RETURNS text LANGUAGE sql AS
	$$ SELECT format('%s/%s/%s', session_user, current_user, current_setting('is_superuser')) $$;

-- Tries every way of a session to change its role, and reports the role after each.
CREATE FUNCTION t_escalate(superuser text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	command text;
	answers jsonb := '{}';
BEGIN
	FOREACH command IN ARRAY ARRAY['RESET ROLE', 'SET ROLE NONE', 'RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION DEFAULT',
			'SET ROLE superuser', 'SET SESSION AUTHORIZATION superuser', 'SET LOCAL SESSION AUTHORIZATION superuser', 'RESET ALL'] LOOP
		BEGIN
			EXECUTE replace(command, 'superuser', quote_ident(superuser));
		EXCEPTION WHEN OTHERS THEN
			answers := answers || jsonb_build_object(command || ' fails', SQLSTATE);
		END;
		answers := answers || jsonb_build_object(command, public.t_who());
	END LOOP;
	RETURN answers;
END $$;

-- A deferred constraint trigger of the role: it runs at the commit of the job.
CREATE TABLE t_deferred (id int);
ALTER TABLE t_deferred OWNER TO tap06_app;
CREATE FUNCTION t_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	superuser text := (SELECT rolname FROM pg_catalog.pg_roles WHERE oid = 10);
BEGIN
	INSERT INTO public.t_log VALUES ('at commit', session_user, current_user, current_setting('is_superuser'));
	BEGIN
		EXECUTE 'SET SESSION AUTHORIZATION ' || quote_ident(superuser);
	EXCEPTION WHEN OTHERS THEN
		NULL;
	END;
	INSERT INTO public.t_log VALUES ('at commit, after a try', session_user, current_user, current_setting('is_superuser'));
	RETURN NULL;
END $$;
ALTER FUNCTION t_at_commit() OWNER TO tap06_app;
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON t_deferred DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION t_at_commit();
CREATE FUNCTION t_insert_deferred() RETURNS void LANGUAGE sql AS $$ INSERT INTO t_deferred VALUES (1) $$;

-- Functions and an operator that the bookkeeping would call if it used the job's search_path.
CREATE SCHEMA tap06_evil AUTHORIZATION tap06_app;
CREATE TABLE tap06_evil.caught (what text, who text);
GRANT INSERT, SELECT ON tap06_evil.caught TO PUBLIC;
GRANT USAGE ON SCHEMA tap06_evil TO PUBLIC;
CREATE FUNCTION tap06_evil.now() RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN INSERT INTO tap06_evil.caught VALUES ('now', current_user); RETURN pg_catalog.now(); END $$;
CREATE FUNCTION tap06_evil.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN INSERT INTO tap06_evil.caught VALUES ('clock_timestamp', current_user); RETURN pg_catalog.now(); END $$;
CREATE FUNCTION tap06_evil.to_jsonb(anyelement) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN INSERT INTO tap06_evil.caught VALUES ('to_jsonb', current_user); RETURN pg_catalog.to_jsonb($1); END $$;
CREATE FUNCTION tap06_evil.eq(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN INSERT INTO tap06_evil.caught VALUES ('=', current_user); RETURN $1 OPERATOR(pg_catalog.=) $2; END $$;
CREATE OPERATOR tap06_evil.= (FUNCTION = tap06_evil.eq, LEFTARG = bigint, RIGHTARG = bigint);
CREATE FUNCTION t_hostile_path() RETURNS text LANGUAGE sql AS
	$$ SELECT set_config('search_path', 'tap06_evil, pg_catalog, public', false) $$;

CREATE FUNCTION t_revoked() RETURNS text LANGUAGE sql AS $$ SELECT 'ran'::text $$;
CREATE FUNCTION t_definer() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
	$$ SELECT bgjob_enqueue('t_who') $$;
ALTER FUNCTION t_definer() OWNER TO tap06_app;
CREATE FUNCTION t_definer_nologin() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS
	$$ SELECT bgjob_enqueue('t_who') $$;
ALTER FUNCTION t_definer_nologin() OWNER TO tap06_nologin;

CREATE TABLE t_triggered (id int);
GRANT INSERT ON t_triggered TO tap06_app;
CREATE FUNCTION t_by_id(id int) RETURNS text LANGUAGE sql AS $$ SELECT public.t_who() $$;
CREATE TRIGGER t AFTER INSERT ON t_triggered FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('t_by_id', 'columns=id');

SELECT plan(78);

----------------------------------------------------------------------------------------------------
-- The only grant
----------------------------------------------------------------------------------------------------

SET ROLE tap06_app;
SELECT tap_try($$ SELECT bgjob_enqueue('t_who') $$) AS app_id \gset
SELECT tap_try($$ SELECT count(*) FROM bgjob_enqueue_many('t_by_id', '{"[1]","[2]"}') $$) AS app_many \gset
RESET ROLE;
SELECT matches(:'app_id'::text, '^\d+$', 'with USAGE on schema bgjob a role can enqueue');
SELECT is(:'app_many'::text, '2', 'with USAGE a role can call bgjob_enqueue_many');
SELECT is(bgjob_wait(:app_id, '20 s'), 'succeeded', 'the job of the role runs');
SELECT is(bgjob_result(:app_id), '"tap06_app/tap06_app/off"', 'session_user and current_user of the job are the role, no superuser');
SELECT is((SELECT run_as::text FROM bgjob.jobs WHERE id = :app_id), 'tap06_app', 'run_as of the job is the role');

SET ROLE tap06_app;
SELECT tap_try(format('SELECT state FROM bgjob.jobs WHERE id = %s', :'app_id')) AS app_jobs,
	tap_try(format('SELECT count(*) FROM bgjob.job_states WHERE job_id = %s', :'app_id')) AS app_states,
	tap_try('SELECT count(*) >= 0 FROM bgjob.queues') AS app_queues,
	tap_try('SELECT count(*) >= 1 FROM bgjob.servers') AS app_servers,
	tap_try('SELECT count(*) >= 0 FROM bgjob.workers') AS app_workers,
	tap_try('SELECT count(*) FROM bgjob.stats') AS app_stats,
	tap_try(format('SELECT bgjob_result(%s)', :'app_id')) AS app_result,
	tap_try(format('SELECT bgjob_wait(%s, ''1 s'')', :'app_id')) AS app_wait,
	tap_try(format('SELECT bgjob_requeue(%s)', :'app_id')) AS app_requeue \gset
RESET ROLE;
SELECT is(:'app_jobs'::text, 'succeeded', 'the role reads its job in bgjob.jobs');
SELECT is(:'app_states'::text, '3', 'the role reads the history of its job');
SELECT is(:'app_queues'::text, 'true', 'the role reads bgjob.queues');
SELECT is(:'app_servers'::text, 'true', 'the role reads bgjob.servers');
SELECT is(:'app_workers'::text, 'true', 'the role reads bgjob.workers');
SELECT is(:'app_stats'::text, '1', 'the role reads bgjob.stats');
SELECT is(:'app_result'::text, '"tap06_app/tap06_app/off"', 'the role reads the result of its job');
SELECT is(:'app_wait'::text, 'succeeded', 'the role can wait for its job');
SELECT is(:'app_requeue'::text, 'true', 'the role can requeue its job');
SELECT is(bgjob_wait(:app_id, '20 s'), 'succeeded', 'the requeued job runs');

SET ROLE tap06_nobody;
SELECT tap_try($$ SELECT bgjob_enqueue('t_who') $$) AS no_enqueue,
	tap_try($$ SELECT count(*) FROM bgjob_enqueue_many('t_by_id', '{"[1]"}') $$) AS no_many,
	tap_try('SELECT count(*) FROM bgjob.jobs') AS no_jobs,
	tap_try('SELECT count(*) FROM bgjob.stats') AS no_stats,
	tap_try(format('SELECT bgjob_delete(%s)', :'app_id')) AS no_delete \gset
RESET ROLE;
SELECT is(:'no_enqueue'::text, 'ERROR 42501', 'without USAGE a role cannot enqueue');
SELECT is(:'no_many'::text, 'ERROR 42501', 'without USAGE a role cannot call bgjob_enqueue_many');
SELECT is(:'no_jobs'::text, 'ERROR 42501', 'without USAGE a role cannot read bgjob.jobs');
SELECT is(:'no_stats'::text, 'ERROR 42501', 'without USAGE a role cannot read bgjob.stats');
SELECT ok(:'no_delete' IN ('false', 'ERROR 42501'), 'without USAGE a role cannot delete a job');

SELECT is_empty($$
	SELECT nspname FROM pg_namespace, aclexplode(nspacl) a WHERE nspname ~ '^bgjob' AND a.grantee = 0 $$,
	'PUBLIC has no right on schema bgjob, nor on bgjob_internal');
SELECT is_empty($$
	SELECT a.grantee::regrole, a.privilege_type FROM pg_namespace, aclexplode(nspacl) a WHERE nspname = 'bgjob_internal' AND a.grantee <> nspowner $$,
	'only its owner has a right on schema bgjob_internal');
SELECT is_empty($$
	SELECT c.relname, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a
	WHERE c.relnamespace = 'bgjob_internal'::regnamespace AND c.relkind IN ('r', 'p', 'S') AND a.grantee = 0 $$,
	'PUBLIC has no right on any table or sequence in that');
SELECT is_empty($$
	SELECT c.relname, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a
	WHERE c.relnamespace = 'bgjob'::regnamespace AND c.relkind IN ('v', 'm') AND a.grantee = 0 AND a.privilege_type <> 'SELECT' $$,
	'and can write through no view in schema bgjob');
SELECT is_empty($$
	SELECT c.relname FROM pg_class c
	WHERE c.relnamespace = 'bgjob_internal'::regnamespace AND c.relkind IN ('r', 'p')
		AND (has_table_privilege('tap06_app', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
			OR has_any_column_privilege('tap06_app', c.oid, 'SELECT, INSERT, UPDATE')) $$,
	'a role with USAGE has no right on any table');
SELECT is_empty($$
	SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
	WHERE p.prosecdef AND l.lanname IN ('sql', 'plpgsql') AND (p.pronamespace = 'bgjob_internal'::regnamespace OR p.proname ~ '^bgjob_')
		AND NOT coalesce(array_to_string(p.proconfig, ' ') ~ 'search_path=', false) $$,
	'every SECURITY DEFINER function in SQL or PL/pgSQL pins its search_path');

-- Schema bgjob has only the views; the objects behind them cannot be named.
SELECT is_empty($$
	SELECT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_depend d
	LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
	LEFT JOIN pg_type t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
	WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = 'bgjob'::regnamespace AND d.deptype = 'n' AND c.relkind IS DISTINCT FROM 'v' $$,
	'schema bgjob has views and nothing else');
SET ROLE tap06_app;
SELECT is((SELECT array_agg(DISTINCT tap_try(format('SELECT count(t::text) >= 0 FROM %s t', c.oid::regclass))) FROM pg_class c
		WHERE c.relnamespace = 'bgjob'::regnamespace), '{true}', 'a role with USAGE on schema bgjob reads every view');
SELECT is((SELECT array_agg(DISTINCT tap_try(q)) FROM (
		SELECT format('SELECT FROM bgjob_internal.%I LIMIT 0', c.relname) FROM pg_class c WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'bgjob_internal') AND c.relkind IN ('r', 'S')
		UNION ALL SELECT format('SELECT %L::regclass', 'bgjob_internal.' || c.relname) FROM pg_class c WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'bgjob_internal')
		UNION ALL SELECT format('SELECT bgjob_internal.%I(%s)', p.proname, (SELECT string_agg(format('NULL::%s', format_type(a, NULL)), ', ' ORDER BY n) FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS u (a, n)))
			FROM pg_proc p WHERE p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'bgjob_internal')
				AND 'internal'::regtype <> ALL (p.proargtypes::oid[])) AS s (q)), '{ERROR 42501}', -- no value of that type can be written
	'and cannot name anything of schema bgjob_internal');
SELECT is((SELECT count(*) > 30 FROM pg_depend WHERE refclassid = 'pg_namespace'::regclass AND refobjid = (SELECT oid FROM pg_namespace WHERE nspname = 'bgjob_internal')), true, 'schema bgjob_internal has more than thirty objects');
RESET ROLE;

----------------------------------------------------------------------------------------------------
-- No privilege escalation
----------------------------------------------------------------------------------------------------

SET ROLE tap06_app;
SELECT bgjob_enqueue('t_escalate', jsonb_build_array(:'superuser'), max_retries => 0) AS esc \gset
SELECT bgjob_enqueue('t_insert_deferred', max_retries => 0) AS deferred \gset
SELECT bgjob_enqueue('t_hostile_path', max_retries => 0) AS hostile \gset
SELECT bgjob_enqueue(format('SET SESSION AUTHORIZATION %I', :'superuser'), kind => 'sql', max_retries => 0) AS sql_auth \gset
SELECT bgjob_enqueue(format('SET ROLE %I', :'superuser'), kind => 'sql', max_retries => 0) AS sql_role \gset
SELECT bgjob_enqueue('RESET SESSION AUTHORIZATION', kind => 'sql', max_retries => 0) AS sql_reset \gset
RESET ROLE;
SELECT is(bgjob_wait(:esc, '20 s'), 'succeeded', 'a job that tries to get more rights ends');
SELECT is(bgjob_result(:esc) ->> command, 'tap06_app/tap06_app/off', format('after %s it is still the role', command))
FROM unnest(ARRAY['RESET ROLE', 'SET ROLE NONE', 'RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION DEFAULT',
	'SET ROLE superuser', 'SET SESSION AUTHORIZATION superuser', 'SET LOCAL SESSION AUTHORIZATION superuser', 'RESET ALL']) AS command;
SELECT is(bgjob_result(:esc) ->> 'SET ROLE superuser fails', '42501', 'SET ROLE to the superuser fails');
SELECT is(bgjob_result(:esc) ->> 'SET SESSION AUTHORIZATION superuser fails', '42501', 'SET SESSION AUTHORIZATION fails');

SELECT is(bgjob_wait(:deferred, '20 s'), 'succeeded', 'a job with a deferred constraint trigger succeeds');
SELECT results_eq('SELECT label, su, cu, super FROM t_log ORDER BY label',
	$$ VALUES ('at commit', 'tap06_app', 'tap06_app', 'off'), ('at commit, after a try', 'tap06_app', 'tap06_app', 'off') $$,
	'the trigger ran at commit, as the role, and could not become another role');

SELECT is(bgjob_wait(:hostile, '20 s'), 'succeeded', 'a job that leaves a hostile search_path behind succeeds');
SELECT is(bgjob_wait(:sql_auth, '20 s'), 'failed', 'SET SESSION AUTHORIZATION as a command fails');
SELECT is((SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE id = :sql_auth), '42501', 'SET SESSION AUTHORIZATION raises 42501');
SELECT is(bgjob_wait(:sql_role, '20 s'), 'failed', 'SET ROLE as a command fails');
SELECT bgjob_wait(:sql_reset, '20 s') AS sql_reset_state \gset
SET ROLE tap06_app;
SELECT bgjob_enqueue('t_who') AS afterwards \gset
RESET ROLE;
SELECT is(bgjob_wait(:afterwards, '20 s'), 'succeeded', 'the role''s next job runs');
SELECT is(bgjob_result(:afterwards), '"tap06_app/tap06_app/off"', 'the next job runs as the role');

-- The same path in the enqueuing session, and captured with a job.
SET ROLE tap06_app;
SET search_path = tap06_evil, pg_catalog, public;
SELECT public.bgjob_enqueue('public.t_who') AS evil_path \gset
SELECT public.bgjob_delete(public.bgjob_enqueue('public.t_who', delay => '1 hour')) AS evil_delete \gset
RESET search_path;
RESET ROLE;
SELECT is(bgjob_wait(:evil_path, '20 s'), 'succeeded', 'a job with a hostile search_path captured succeeds');
SELECT is_empty($$ SELECT DISTINCT what, who FROM tap06_evil.caught $$,
	'the bookkeeping called no function or operator of the role');

----------------------------------------------------------------------------------------------------
-- run_as
----------------------------------------------------------------------------------------------------

SET ROLE tap06_app;
SELECT count(*) AS jobs_before FROM bgjob.jobs \gset
SELECT tap_try($$ SELECT bgjob_enqueue('t_who', run_as => 'tap06_other') $$) AS as_other,
	tap_try(format($$ SELECT bgjob_enqueue('t_who', run_as => %L) $$, :'superuser')) AS as_super,
	tap_try($$ SELECT bgjob_enqueue('t_who', run_as => 'tap06_nologin') $$) AS as_nologin,
	tap_try($$ SELECT bgjob_enqueue('t_who', run_as => 'tap06_does_not_exist') $$) AS as_missing \gset
SELECT count(*) AS jobs_after FROM bgjob.jobs \gset
RESET ROLE;
SELECT is(:'as_other'::text, 'ERROR 42501', 'run_as without membership raises 42501');
SELECT is(:'as_super'::text, 'ERROR 42501', 'run_as the superuser raises 42501');
SELECT matches(:'as_nologin'::text, '^ERROR', 'run_as a role that cannot log in raises an error at enqueue');
SELECT is(:'as_missing'::text, 'ERROR 42704', 'run_as a missing role raises 42704');
SELECT is(:jobs_after::bigint, :jobs_before::bigint, 'refused calls leave no job');

SET ROLE tap06_boss;
SELECT tap_try($$ SELECT bgjob_enqueue('t_who', run_as => 'tap06_app') $$) AS boss_id \gset
RESET ROLE;
SELECT bgjob_wait(:boss_id, '20 s') AS boss_state \gset
SELECT is(bgjob_result(:boss_id), '"tap06_app/tap06_app/off"', 'a member may run a job as the role');
SELECT bgjob_enqueue('t_who', run_as => 'tap06_other') AS super_id \gset
SELECT bgjob_wait(:super_id, '20 s') AS super_state \gset
SELECT is(bgjob_result(:super_id), '"tap06_other/tap06_other/off"', 'a superuser may run a job as any role');

SET ROLE tap06_nologin;
SELECT tap_try($$ SELECT bgjob_enqueue('t_who') $$) AS nologin_self \gset
RESET ROLE;
SELECT matches(:'nologin_self'::text, '^ERROR', 'a role that cannot log in cannot enqueue for itself');
SELECT matches(tap_try('SELECT t_definer_nologin()'), '^ERROR', 'a SECURITY DEFINER function of such a role cannot enqueue');

SET ROLE tap06_other;
SELECT t_definer() AS definer_id \gset
RESET ROLE;
SELECT bgjob_wait(:definer_id, '20 s') AS definer_state \gset
SELECT is(bgjob_result(:definer_id), '"tap06_app/tap06_app/off"', 'a SECURITY DEFINER function enqueues as its owner');

SET ROLE tap06_app;
INSERT INTO t_triggered VALUES (1);
RESET ROLE;
CALL tap_wait_until($$ SELECT state = 'succeeded' FROM bgjob.jobs WHERE job LIKE '%t_by_id%' AND args = '{"id": 1}' $$);
SELECT is((SELECT result FROM bgjob.jobs WHERE job LIKE '%t_by_id%' AND args = '{"id": 1}'), '"tap06_app/tap06_app/off"',
	'a trigger enqueues as the role that fires it');

SET ROLE tap06_app;
SELECT bgjob_enqueue('t_revoked', delay => '1 hour', max_retries => 0) AS revoked \gset
RESET ROLE;
REVOKE EXECUTE ON FUNCTION t_revoked() FROM PUBLIC;
SELECT bgjob_requeue(:revoked) AS revoked_requeued \gset
SELECT is(bgjob_wait(:revoked, '20 s'), 'failed', 'EXECUTE revoked after the enqueue: the job fails');
SELECT is((SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE id = :revoked), '42501', 'the job without EXECUTE fails with 42501');

----------------------------------------------------------------------------------------------------
-- Which roles see and control which jobs
----------------------------------------------------------------------------------------------------

SET ROLE tap06_app;
SELECT bgjob_enqueue('t_by_id', '[4711]', delay => '1 hour', tags => '{secret}') AS secret \gset
RESET ROLE;

-- Raises an error on any row of another role; cheap, so that the planner would call it first.
CREATE FUNCTION t_leak(args jsonb) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$
BEGIN
	IF args @> '[4711]' THEN
		RAISE EXCEPTION 'seen: %', args USING ERRCODE = 'TAP01';
	END IF;
	RETURN true;
END $$;

SET ROLE tap06_other;
SELECT tap_try($$ SELECT count(*) FROM bgjob.jobs WHERE run_as::text = 'tap06_app' $$) AS o_jobs,
	tap_try(format('SELECT count(*) FROM bgjob.jobs WHERE id = %s', :secret)) AS o_job,
	tap_try(format('SELECT count(*) FROM bgjob.job_states WHERE job_id = %s', :secret)) AS o_states,
	tap_try('SELECT count(*) >= 0 FROM bgjob.jobs WHERE t_leak(args)') AS o_leak,
	tap_try(format('SELECT bgjob_delete(%s)', :secret)) AS o_delete,
	tap_try(format('SELECT bgjob_requeue(%s)', :secret)) AS o_requeue,
	tap_try(format('SELECT bgjob_reschedule(%s, now())', :secret)) AS o_reschedule,
	tap_try(format('SELECT bgjob_result(%s)', :app_id)) AS o_result,
	tap_try(format('SELECT bgjob_wait(%s, ''100 ms'')', :app_id)) AS o_wait,
	tap_try($$ SELECT bgjob_purge('succeeded') $$) AS o_purge \gset
RESET ROLE;
SELECT is(ARRAY[:'o_jobs', :'o_job', :'o_states'], '{0,0,0}'::text[], 'another role''s jobs and their history are invisible');
SELECT is(:'o_leak'::text, 'true', 'a leaky function in WHERE does not see the jobs of another role');
SELECT ok(:'o_delete' IN ('false', 'ERROR 42501'), 'another role''s job cannot be deleted');
SELECT ok(:'o_requeue' IN ('false', 'ERROR 42501'), 'the job of another role cannot be requeued');
SELECT ok(:'o_reschedule' IN ('false', 'ERROR 42501'), 'the job of another role cannot be rescheduled');
SELECT ok(:'o_result' IN ('NULL', 'ERROR 42501'), 'the result of the job of another role cannot be read');
SELECT matches(:'o_wait'::text, '^(NULL|ERROR)', 'bgjob_wait does not show the state of the job of another role');
SELECT is((SELECT state FROM bgjob.jobs WHERE id = :secret), 'scheduled', 'the job of the other role is unchanged');
SELECT is((SELECT count(*) FROM bgjob.jobs WHERE id = :app_id), 1::bigint, 'purge by another role leaves the role''s jobs alone');

SET ROLE tap06_monitor;
SELECT tap_try(format('SELECT count(*) FROM bgjob.jobs WHERE id = %s', :secret)) AS m_job,
	tap_try(format('SELECT bgjob_delete(%s)', :secret)) AS m_delete \gset
RESET ROLE;
SELECT is(:'m_job'::text, '1', 'a member of pg_monitor sees every job');
SELECT ok(:'m_delete' IN ('false', 'ERROR 42501'), 'a member of pg_monitor cannot delete a job');
SET ROLE tap06_boss;
SELECT tap_try(format('SELECT count(*) FROM bgjob.jobs WHERE id = %s', :secret)) AS b_job,
	tap_try(format('SELECT bgjob_delete(%s)', :secret)) AS b_delete \gset
RESET ROLE;
SELECT is(:'b_job'::text, '1', 'a member of the role sees its jobs');
SELECT is(:'b_delete'::text, 'true', 'a member of the role can delete its jobs');

\ir lib/check_counters.sql
SELECT * FROM finish();

SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap06_' \gexec
CALL tap_idle();
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap06_' \gexec
