-- 37_search.sql
--
-- What this file proves about bgjob_search() and bgjob_failures(), and about the reasons of those who change jobs:
--   * each qualifier finds the jobs that a condition on bgjob.jobs finds, also negated, combined, and for roles that see some of the jobs;
--   * pages go on where the last one ended, by rows and by time, and return each job once;
--   * of the jobs in a state that a small table names, no others are looked through;
--   * what a role does not see changes neither what it finds nor what it is told;
--   * groups of failures are complete, and their queries select them exactly;
--   * the role that deletes, requeues or reschedules another role's job is recorded, and so is a reason;
--   * wrong queries raise an error with a detail and a hint.
--
-- Runs in autocommit, in a fresh database, as the bootstrap superuser.

\ir lib/session.sql

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

SELECT format('DROP OWNED BY %I CASCADE', rolname) FROM pg_roles WHERE rolname ~ '^tap37_' \gexec
SELECT format('DROP ROLE %I', rolname) FROM pg_roles WHERE rolname ~ '^tap37_' \gexec
CREATE ROLE tap37_part LOGIN;
CREATE ROLE tap37_other LOGIN;
CREATE ROLE tap37_monitor LOGIN;
CREATE ROLE tap37_nobody LOGIN;			-- has no USAGE
GRANT pg_monitor TO tap37_monitor;
GRANT USAGE ON SCHEMA bgjob TO tap37_part, tap37_other;

\ir lib/wait.sql
\ir lib/errors.sql

CREATE FUNCTION tap_work(args jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT args';
CREATE FUNCTION tap_fail(n int, code text) RETURNS int LANGUAGE plpgsql AS $$BEGIN
	RAISE 'host "h%" did not answer within % s', n, n + 1 USING ERRCODE = code, DETAIL = 'It was asked from ' || gen_random_uuid() || '.';
END$$;

-- tap_found returns all ids that a query finds, in their order.
CREATE FUNCTION tap_found(query text) RETURNS bigint[] LANGUAGE sql AS $$
	SELECT s.ids FROM bgjob_search($1, max_rows => 10000, max_time => '1 min') s WHERE s.next_before_id IS NULL
$$;

-- tap_truth returns the ids that a condition on bgjob.jobs finds.
CREATE FUNCTION tap_truth(condition text) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
	truth bigint[];
BEGIN
	EXECUTE format('SELECT coalesce(array_agg(j.id ORDER BY j.id DESC), ''{}'') FROM bgjob.jobs j WHERE %s', condition) INTO truth;
	RETURN truth;
END $$;

-- tap_agrees says whether a query finds what a condition finds, and whether that is something.
CREATE FUNCTION tap_agrees(query text, condition text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	truth bigint[] := tap_truth(condition);
BEGIN
	RETURN NEXT is(tap_found(query), truth, query || ' finds what it says');
	RETURN NEXT isnt(truth, '{}', 'which is something');
END $$;

SELECT no_plan();

----------------------------------------------------------------------------------------------------
-- Jobs of all kinds
----------------------------------------------------------------------------------------------------

SELECT bgjob_queue_pause('tap_wait'), bgjob_limit('tap_limit', max_running => 5), bgjob_limit('tap_rate:*', rate => 1000, per => '1 h');
SELECT bgjob_batch('tap') AS batch \gset
CREATE PROCEDURE tap_jobs() LANGUAGE plpgsql AS $$
DECLARE
	role text;
BEGIN
	FOR i IN 1 .. 400 LOOP
		role := CASE i % 10 WHEN 3 THEN 'tap37_part' WHEN 7 THEN 'tap37_other' END;
		PERFORM bgjob_enqueue('tap_work', jsonb_build_object('n', i, 'tenant', jsonb_build_object('id', i % 7, 'name', 'Tenant ' || i % 7),
				'list', jsonb_build_array(i % 3, 'x' || i % 3, NULL, i % 2 = 0), 'a.b', i % 5, 'big', 1e20::numeric + i),
			queue => (ARRAY['default', 'tap_wait', 'tap_a', 'tap_b'])[1 + i % 4], run_as => role,
			tags => CASE i % 3 WHEN 1 THEN '{odd}' WHEN 2 THEN '{even,"two words"}'::text[] END,
			sequence_key => CASE WHEN i % 200 = 1 THEN 'order-7' END, unique_key => CASE WHEN i % 100 = 1 THEN 'key' || i END,
			limits => CASE i % 20 WHEN 1 THEN '{tap_limit}' WHEN 2 THEN '{tap_rate:a=2}'::text[] END);
		IF i % 20 = 0 THEN
			PERFORM bgjob_enqueue('tap_fail', jsonb_build_array(i, (ARRAY['40001', '40P01', 'P0001'])[1 + i / 20 % 3]), max_retries => 0, run_as => role);
			PERFORM bgjob_enqueue('SELECT ' || i || '/0', max_retries => 0, run_as => role);
			PERFORM bgjob_delete(bgjob_enqueue('tap_work', 'null', queue => 'tap_wait', run_as => role));
			COMMIT;
		END IF;
	END LOOP;
END $$;
CALL tap_jobs();
SELECT bgjob_recurring('tap nightly', '@yearly', 'tap_work', '{"n": "recurring"}'), bgjob_recurring_trigger('tap nightly') \g /dev/null
SELECT bgjob_enqueue('tap_work', jsonb_build_object('n', 'in the batch'), batch => :batch) FROM generate_series(1, 3) \g /dev/null
SELECT bgjob_enqueue('tap_remote', '{"n": "external"}', kind => 'external', queue => 'tap_x') AS external \gset
CALL tap_wait_until($$SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE queue NOT IN ('tap_wait', 'tap_x') AND state IN ('enqueued', 'processing'))$$);

----------------------------------------------------------------------------------------------------
-- Each qualifier
----------------------------------------------------------------------------------------------------

SELECT is(tap_found(''), tap_truth('true'), 'an empty query finds all jobs');
SELECT tap_agrees('state:' || s, format('state = %L', s)) FROM unnest('{enqueued,succeeded,failed,deleted}'::text[]) s;
SELECT tap_agrees('state:failed,deleted', $$state IN ('failed', 'deleted')$$);
SELECT tap_agrees('-state:failed,deleted', $$state NOT IN ('failed', 'deleted')$$);
SELECT is(tap_found('state:failed -state:failed') || tap_found('state:failed state:deleted'), '{}', 'a job is in one state');
SELECT is(tap_found('state:failed -state:failed state:failed'), '{}', 'whatever follows');
SELECT tap_agrees('queue:tap_a,tap_wait', $$queue IN ('tap_a', 'tap_wait')$$);
SELECT tap_agrees('-queue:tap_a,tap_wait', $$queue NOT IN ('tap_a', 'tap_wait')$$);
SELECT is(tap_found('queue:tap_a queue:tap_b'), '{}', 'terms of one kind must hold all');
SELECT tap_agrees('queue:tap_a queue:tap_a,tap_b', $$queue = 'tap_a'$$);
SELECT tap_agrees('job:tap_work', $$job = 'tap_work'$$);
SELECT tap_agrees('job:public.tap_fail', $$job = 'tap_fail'$$);
SELECT tap_agrees('job:"public.tap_fail(integer, text)" -job:tap_work', $$job = 'tap_fail'$$);
SELECT tap_agrees('job:"SELECT 20/0"', $$job = 'SELECT 20/0'$$);
SELECT is(tap_found('job:tap_work job:tap_fail'), '{}', 'a job is of one function');
SELECT tap_agrees('-job:tap_work', $$job <> 'tap_work'$$);
SELECT tap_agrees('role:tap37_part,tap37_other', $$run_as::text IN ('tap37_part', 'tap37_other')$$);
SELECT tap_agrees('-role:tap37_part', $$run_as::text <> 'tap37_part'$$);
SELECT tap_agrees('tag:odd', $$'odd' = ANY (tags)$$);
SELECT tap_agrees('tag:"two words" tag:even', $$'two words' = ANY (tags)$$);
SELECT tap_agrees('-tag:odd', $$('odd' = ANY (tags)) IS NOT TRUE$$);
SELECT is(tap_found('tag:words') || tap_found('tag:odd tag:even'), '{}', 'a tag is compared as a whole, and all must be there');
SELECT tap_agrees('batch:' || :batch, 'batch_id = ' || :batch);
SELECT tap_agrees('-batch:' || :batch, 'batch_id IS NULL');
SELECT tap_agrees('id:17,4,4,999999', 'id IN (4, 17, 999999)');
SELECT tap_agrees('-id:17', 'id <> 17');
SELECT tap_agrees('id:4,17,30 -id:17 id:17,30', 'id = 30');
SELECT tap_agrees('args.n:17', $$args -> 'n' = '17'$$);
SELECT tap_agrees('args.n:17.00', $$args -> 'n' = '17'$$);
SELECT is(tap_found('args.n:"17"'), '{}', 'a text is no number');
SELECT tap_agrees('args.n:recurring', $$args ->> 'n' = 'recurring'$$);
SELECT tap_agrees('args.tenant.id:3', $$args #> '{tenant,id}' = '3'$$);
SELECT tap_agrees('args.tenant.name:"Tenant 3"', $$args #>> '{tenant,name}' = 'Tenant 3'$$);
SELECT tap_agrees('args.list.0:2', $$args #> '{list,0}' = '2'$$);
SELECT tap_agrees('args.list.1:x2 args.list.3:true', $$args #> '{list,1}' = '"x2"' AND args #> '{list,3}' = 'true'$$);
SELECT tap_agrees('args.list.2:null', $$args #> '{list,2}' = 'null'$$);
SELECT tap_agrees('args."a.b":3', $$args -> 'a.b' = '3'$$);
SELECT tap_agrees('args.big:100000000000000000017', $$args -> 'big' = '100000000000000000017'$$);
SELECT tap_agrees('-args.n:17', $$args -> 'n' IS DISTINCT FROM '17'$$);
SELECT is(tap_found(q), '{}', q || ' finds nothing')
	FROM unnest('{args.n.0:17,args.list.4:x,args.list.-1:true,args.list.01x:1,args.list:x,args.none:1,args.tenant:3,args.list.99999999999:1,args.n:1e9999}'::text[]) q;
SELECT tap_agrees('args:"tenant 3"', $$args::text ILIKE '%tenant 3%'$$);
SELECT tap_agrees('error:ANSWER', $$error ->> 'message' ILIKE '%answer%'$$);
SELECT tap_agrees('error:"was asked"', $$error ->> 'detail' ILIKE '%was asked%'$$);
SELECT tap_agrees('error:40p', $$error ->> 'sqlstate' ILIKE '%40p%'$$);
SELECT tap_agrees('-error:answer state:failed', $$state = 'failed' AND error ->> 'message' NOT LIKE '%answer%'$$);
SELECT is(tap_found('error:context'), '{}', 'nothing else of an error is looked at');
SELECT tap_agrees('sqlstate:40001,p0001', $$error ->> 'sqlstate' IN ('40001', 'P0001')$$);
SELECT tap_agrees('sqlstate:40', $$error ->> 'sqlstate' LIKE '40%'$$);
SELECT tap_agrees('recurring:"tap nightly"', $$recurring_name = 'tap nightly'$$);
SELECT tap_agrees('sequence:order-7', $$sequence_key = 'order-7'$$);
SELECT tap_agrees('-sequence:order-7', $$sequence_key IS NULL$$);
SELECT tap_agrees('unique:key101', $$unique_key = 'key101'$$);
SELECT tap_agrees('limit:tap_limit', $$'tap_limit' = ANY (limits)$$);
SELECT tap_agrees('limit:tap_rate:a', $$'tap_rate:a=2' = ANY (limits)$$);
SELECT tap_agrees('server:default', $$server = 'default'$$);
SELECT tap_agrees('-server:default', $$server IS DISTINCT FROM 'default'$$);

----------------------------------------------------------------------------------------------------
-- Words
----------------------------------------------------------------------------------------------------

-- tap_words returns the condition for a word.
CREATE FUNCTION tap_words(word text) RETURNS text LANGUAGE sql AS $$
	SELECT format('position(%L IN lower(concat_ws('' '', job, args, tags, reason, error))) > 0', lower(word)) $$;
SELECT tap_agrees(w, tap_words(w)) FROM unnest('{answer,TENANT,odd,select,40001,17,x2,tap_f}'::text[]) w;
SELECT tap_agrees('-' || w, 'NOT ' || tap_words(w)) FROM unnest('{answer,odd,17}'::text[]) w;
SELECT tap_agrees('"tenant 3" odd', tap_words('tenant 3') || ' AND ' || tap_words('odd'));
SELECT is(tap_found('"name\": \"tenant 3\""'), tap_truth(tap_words('"tenant 3"')), 'a phrase may have quotes');
SELECT is(s.ids, tap_truth('position(''odd'' IN lower(concat_ws('' '', job, tags, reason, error))) > 0'), 'words in arguments need not count')
	FROM bgjob_search('odd', max_rows => 10000, max_time => '1 min', search_args => false) s;
SELECT is((s.ids, s.next_before_id), ('{}'::bigint[], NULL::bigint), 'then what is there alone is not found') FROM bgjob_search('"tenant 3"', max_time => '1 min', search_args => false) s;
SELECT is(tap_error(format('SELECT bgjob_search(%L, search_args => false)', q)), '22023', q || ' is refused then') FROM unnest('{args:x,-ARGS.a:1,"x args.\"a\":7"}'::text[]) q;
SELECT is(tap_found('nowhere'), '{}', 'what is nowhere is not found');
SELECT bgjob_enqueue('SELECT ''Ärger und Maß''', queue => 'tap_wait') AS umlaut \gset
SELECT is(tap_found('ÄRGER'), ARRAY[:umlaut]::bigint[], 'letters beyond ASCII have cases, too');

----------------------------------------------------------------------------------------------------
-- Times
----------------------------------------------------------------------------------------------------

SELECT is(tap_found('since:1h'), tap_truth('true'), 'all jobs are of the last hour');
SELECT is(tap_found('until:1h') || tap_found('-since:1h') || tap_found('since:2999-01-01'), '{}', 'none is older, none of the future');
SELECT is(tap_found('-until:1h'), tap_truth('true'), 'what is not until a time is since');
SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') AS moment, created_at AS created FROM bgjob.jobs WHERE id = 200 \gset
SELECT tap_agrees(format('since:%sZ', :'moment'), format('created_at >= %L', :'created'));
SELECT tap_agrees(format('until:%s+00', :'moment'), format('created_at < %L', :'created'));
SELECT tap_agrees(format('since:%sZ -id:200 until:%sZ', :'moment', '2999-01-01T00:00'), format('created_at >= %L AND id <> 200', :'created'));
SET TimeZone = 'Asia/Kathmandu';
SELECT is(tap_found(format('since:%s', to_char(:'created'::timestamptz, 'YYYY-MM-DD"T"HH24:MI:SS.US'))), tap_truth(format('created_at >= %L', :'created')),
	'a time without a zone is of the session''s');
RESET TimeZone;

----------------------------------------------------------------------------------------------------
-- Running jobs
----------------------------------------------------------------------------------------------------

SELECT pg_advisory_lock(37);
SELECT bgjob_enqueue('SELECT pg_advisory_xact_lock(37)', queue => 'tap_run') AS run \gset
CALL tap_held(37);
SELECT is(tap_found('state:processing'), ARRAY[:run]::bigint[], 'a running job is processing');
SELECT is(tap_found('state:processing,failed'), tap_truth($$state IN ('processing', 'failed')$$), 'among others');
SELECT is(tap_found('state:enqueued queue:tap_run'), '{}', 'and not enqueued');
SELECT is(tap_found('server:default queue:tap_run'), ARRAY[:run]::bigint[], 'its server is known');
SELECT count(*) AS fetched FROM bgjob_fetch('{tap_x}', 'tap worker') \gset
SELECT is(tap_found('state:processing server:"tap worker"'), ARRAY[:external]::bigint[], 'so is the external worker that has a job');

-- The reason of a running job tells who has ended it.
SELECT bgjob_delete(:run, reason => 'not needed ' || repeat('€', 300)) \g /dev/null
SELECT pg_advisory_unlock(37) \g /dev/null
CALL tap_state_is(:run, 'deleted');
SELECT matches(reason, '^Deleted while it was performed, by role "' || current_user || '": not needed €{50,90}$', 'a running job keeps the beginning of the reason, in whole characters')
	FROM bgjob.jobs WHERE id = :run;
SELECT ok(bgjob_requeue(:external, reason => 'too slow'), 'a job of an external worker is requeued');
SELECT is(reason, 'Requeued while it was performed, by role "' || current_user || '": too slow', 'with the reason') FROM bgjob.jobs WHERE id = :external;

----------------------------------------------------------------------------------------------------
-- Pages
----------------------------------------------------------------------------------------------------

-- tap_pages returns what a query finds, page by page, and checks that each page tells the truth about itself.
CREATE FUNCTION tap_pages(query text, step int, max_time interval) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
	page record;
	found bigint[] := '{}';
	before bigint;
	looked bigint := 0;
BEGIN
	LOOP
		SELECT * INTO page FROM bgjob_search(query, before, step, max_time);
		found := found || page.ids;
		looked := looked + page.looked_through;
		IF page.next_before_id >= before OR cardinality(page.ids) > step OR page.looked_through < cardinality(page.ids) THEN
			RAISE 'page % before %', page, before;
		END IF;
		before := page.next_before_id;
		EXIT WHEN before IS NULL;
	END LOOP;
	IF query = '' AND looked <> (SELECT count(*) FROM bgjob.jobs) THEN
		RAISE 'looked through %', looked;
	END IF;
	RETURN found;
END $$;
SELECT is(tap_pages(q, step, t::interval), tap_found(q), format('pages of %s rows and %s of "%s" return each job once', step, t, q))
	FROM unnest('{"",state:failed,queue:tap_a -tag:odd,args.tenant.id:3,nowhere,"id:3,20,100,250"}'::text[]) q, unnest('{1,7,10000}'::int[]) step, unnest('{0,1 min}'::text[]) t;
SELECT is((s.ids, s.looked_through), ('{}'::bigint[], 0::bigint), 'there is nothing before the first') FROM bgjob_search('', before_id => -1) s;

-- Small tables name the jobs in a state; no other rows are read.
SELECT is(s.looked_through, count(*), 'jobs in state ' || j.state || ': only these are looked through')
	FROM bgjob.jobs j, bgjob_search('state:' || j.state, max_rows => 10000, max_time => '1 min') s
	WHERE j.state NOT IN ('succeeded', 'deleted') GROUP BY j.state, s.looked_through;
SELECT is(s.looked_through, (SELECT count(*) FROM bgjob.jobs WHERE state = 'failed'), 'also where nothing more is found')
	FROM bgjob_search('state:failed nowhere', max_time => '1 min') s;

----------------------------------------------------------------------------------------------------
-- Rights
----------------------------------------------------------------------------------------------------

-- tap_all returns all that a search says, as text.
CREATE FUNCTION tap_all(query text) RETURNS text LANGUAGE sql AS $$ SELECT s::text FROM bgjob_search($1, max_rows => 10000, max_time => '1 min') s $$;
SELECT is(tap_try(format('SELECT tap_found(%L) = tap_truth(%L)', q, c), r), 'true', format('%s finds with "%s" what it sees', r, q))
	FROM unnest('{tap37_part,tap37_other,tap37_monitor}'::text[]) r,
		(VALUES ('', 'true'), ('state:failed', 'state = ''failed'''), ('tag:odd', '''odd'' = ANY (tags)'), ('-queue:tap_a', 'queue <> ''tap_a'''), ('nowhere', 'false')) t (q, c);
SELECT is(tap_try('SELECT tap_found(''role:tap37_other'')', 'tap37_part'), '{}', 'a role finds nothing of another role');
SELECT is(tap_try('SELECT looked_through = (SELECT count(*) FROM bgjob.jobs) FROM bgjob_search(''-queue:nowhere nowhere'')', 'tap37_part'), 'true',
	'and looks through its own jobs alone');
SELECT is(tap_try('SELECT bgjob_search('''')', 'tap37_nobody'), 'ERROR 42501', 'a role without USAGE gets an error');
SELECT is(tap_try('SELECT count(*) FROM bgjob_failures()', 'tap37_nobody'), 'ERROR 42501', 'also for groups of failures');

SELECT array_agg(tap_try(format('SELECT tap_all(%L)', q), 'tap37_part') ORDER BY q) AS before FROM unnest('{"",nowhere,state:failed,tag:odd,args.n:17}'::text[]) q \gset
SELECT bgjob_enqueue('tap_work', '{"n": 17}', tags => '{odd}', queue => 'tap_wait', run_as => 'tap37_other') FROM generate_series(1, 500) \g /dev/null
SELECT is(array_agg(tap_try(format('SELECT tap_all(%L)', q), 'tap37_part') ORDER BY q), :'before', 'jobs of others change nothing that a role is told')
	FROM unnest('{"",nowhere,state:failed,tag:odd,args.n:17}'::text[]) q;

----------------------------------------------------------------------------------------------------
-- Groups of failures
----------------------------------------------------------------------------------------------------

SELECT is(string_agg(format('%s %s %s %s', jobs, job, sqlstate, message), E'\n' ORDER BY jobs DESC, sqlstate), $$20 SELECT 400/0 22012 division by zero
7 tap_fail 40P01 host "?" did not answer within # s
7 tap_fail P0001 host "?" did not answer within # s
6 tap_fail 40001 host "?" did not answer within # s$$, 'failures are grouped by function, SQLSTATE and the pattern of the message') FROM bgjob_failures(max_time => '1 min');
SELECT is(sum(jobs), (SELECT count(*)::numeric FROM bgjob.jobs WHERE state = 'failed'), 'each failed job is in one group') FROM bgjob_failures(max_time => '1 min');
SELECT ok(bool_and(complete AND first_at <= last_at AND query = 'state:failed failure:' || failure
		AND jobs = (SELECT sum(h) FROM unnest(histogram) h) AND cardinality(histogram) = 24 AND queues = '{default}'), 'what it says of them is consistent') FROM bgjob_failures(max_time => '1 min');
SELECT ok(bool_and((SELECT j.error ->> 'message' = f.sample AND j.job = f.job AND j.finished_at BETWEEN f.first_at AND f.last_at FROM bgjob.jobs j WHERE j.id = f.sample_id)), 'the sample is the newest job')
	FROM bgjob_failures(max_time => '1 min') f;
SELECT ok(bool_and(cardinality(tap_found(query)) = jobs AND sample_id = ANY (tap_found(query))), 'the query of a group selects its jobs') FROM bgjob_failures(max_time => '1 min');
SELECT is(ARRAY(SELECT unnest(tap_found(query)) FROM bgjob_failures(max_time => '1 min') ORDER BY 1 DESC), tap_truth('state = ''failed'''), 'and no other''s');
SELECT is((sum(jobs)::int, bool_or(complete)), (11, false), 'fewer jobs are looked at, the newest ones, which it says') FROM bgjob_failures(11, '1 min');
SELECT is((sum(jobs)::int, bool_and(complete)), (40, true), 'as many as there are are complete') FROM bgjob_failures(40, '1 min');
SELECT ok(coalesce(sum(jobs), 0) < 40 AND bool_or(complete) IS NOT TRUE, 'without time it looks at some, and says so') FROM bgjob_failures(max_time => '0');
SELECT is(tap_try('SELECT count(*) FROM bgjob_failures()', 'tap37_part'), '0', 'a role has its own failures alone');
SELECT is(tap_found('failure:0000000000000000'), '{}', 'no other group is found');
SELECT query AS grouped FROM bgjob_failures(max_time => '1 min') WHERE sqlstate = '40001' \gset
SELECT is(count(*) FILTER (WHERE bgjob_delete(id, 'failed', 'the host has gone')), 6::bigint, 'a group is deleted by its query') FROM unnest(tap_found(:'grouped')) id;
SELECT is(tap_found(:'grouped'), '{}', 'then it has gone');

----------------------------------------------------------------------------------------------------
-- Who did it
----------------------------------------------------------------------------------------------------

SET ROLE tap37_part;
SELECT bgjob_enqueue('tap_work', '1', queue => 'tap_wait') AS own \gset
SELECT bgjob_delete(:own) \g /dev/null
SELECT is(reason, NULL, 'a role''s own job has no reason if none is given') FROM bgjob.jobs WHERE id = :own;
SELECT bgjob_requeue(:own, reason => 'Snoozed for ever') \g /dev/null
SELECT is(reason, 'Requeued by role "tap37_part": Snoozed for ever', 'a given reason begins with who gives it') FROM bgjob.jobs WHERE id = :own;
SELECT bgjob_delete(:own, reason => '') \g /dev/null
SELECT is(reason, NULL, 'an empty one is none') FROM bgjob.jobs WHERE id = :own;
RESET ROLE;
SELECT bgjob_requeue(:own) \g /dev/null
SELECT is(reason, 'Requeued by role "' || current_user || '"', 'another role is recorded') FROM bgjob.jobs WHERE id = :own;
SELECT bgjob_reschedule(:own, delay => '1 day', from_state => 'enqueued', reason => 'later') \g /dev/null
SELECT is(reason, 'Rescheduled by role "' || current_user || '": later', 'with the reason') FROM bgjob.jobs WHERE id = :own;
SELECT bgjob_delete(:own, 'scheduled', repeat('€', 10000)) \g /dev/null
SELECT ok(starts_with(reason, 'Deleted by role "' || current_user || '": €') AND octet_length(reason) BETWEEN 8180 AND 8192, 'a long one is cut') FROM bgjob.jobs WHERE id = :own;
SELECT is(string_agg(concat_ws(' ', state, substring(reason FROM '^[^"]*"[^"]*"')), ', ' ORDER BY seq),
	replace('enqueued, deleted, enqueued Requeued by role "tap37_part", deleted, enqueued Requeued by role "me", scheduled Rescheduled by role "me", deleted Deleted by role "me"', 'me', current_user),
	'the history has all of them') FROM bgjob.job_states WHERE job_id = :own;

----------------------------------------------------------------------------------------------------
-- Transactions
----------------------------------------------------------------------------------------------------

BEGIN;
SELECT bgjob_enqueue('tap_work', '"mine"', queue => 'tap_wait', tags => '{mine}') AS mine \gset
SELECT is(tap_found('tag:mine'), ARRAY[:mine]::bigint[], 'a transaction finds its own job');
ROLLBACK;
SELECT is(tap_found('tag:mine'), '{}', 'afterwards there is none');
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY;
SELECT is(tap_found('state:failed'), tap_truth('state = ''failed'''), 'it works in a serializable read-only transaction');
SELECT ok(count(*) > 0, 'so do the groups of failures') FROM bgjob_failures(max_time => '1 min');
COMMIT;

----------------------------------------------------------------------------------------------------
-- Errors
----------------------------------------------------------------------------------------------------

SELECT is(tap_error(format('SELECT bgjob_search(%L)', q)), '22023', left(q, 20) || ' is refused')
	FROM unnest(ARRAY['colour:red', 'state:none', 'id:x', 'since:noon', 'sqlstate:4', 'failure:1', '"open', 'tag:', '-job:', 'args..x:1', 'http://example.com', 'queue:Mail', '-queue:tap_a,"x y"', 'state:failed -state:none', 'error:""', 'args:""', '-job:""', 'role:tap37,""', repeat('x ', 65), repeat('€', 6000), 'id:' || repeat('1,', 600) || '1']) q;
SELECT is(tap_error('SELECT bgjob_search(''Moon €€ state:none'')'), '22023', 'a position is counted in characters');
SELECT throws_ok('SELECT bgjob_search(''Moon €€ state:none'')', '22023', 'invalid value of "state" in a query for jobs', 'the message names the qualifier');
SELECT is(tap_error('SELECT bgjob_search(NULL)'), '22004', 'no query is refused');
SELECT is(tap_error('SELECT bgjob_search('''', max_rows => 10001)'), '22023', 'so are too many rows');
SELECT is(tap_error('SELECT bgjob_search('''', max_time => ''-1 s'')'), '22023', 'a time before now');
SELECT is(tap_error('SELECT bgjob_search('''', max_time => NULL)'), '22004', 'and none');
SELECT is(tap_try('SELECT bgjob_search(''role:tap37_none'')'), 'ERROR 42704', 'there is no such role');
SELECT is(tap_error('SELECT bgjob_failures(0)'), '22023', 'no failures are none to group');
SELECT is(tap_error('SELECT bgjob_failures(NULL)'), '22004', 'nor is an unknown number');

SELECT bgjob_delete(id) FROM bgjob.jobs WHERE state IN ('enqueued', 'scheduled') \g /dev/null
SELECT bgjob_recurring_remove('tap nightly') \g /dev/null
\ir lib/check_counters.sql
SELECT finish();
