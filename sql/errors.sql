-- How errors read: each has a SQLSTATE, a detail and a hint, and leaves nothing behind.
\set SHOW_CONTEXT never
CREATE FUNCTION add(a int, b int DEFAULT 1) RETURNS int LANGUAGE sql AS 'SELECT a + b';
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql AS 'SELECT 2 * $1';
CREATE FUNCTION twice(text) RETURNS text LANGUAGE sql AS 'SELECT $1 || $1';
CREATE FUNCTION many(VARIADIC items int[]) RETURNS int LANGUAGE sql AS 'SELECT cardinality(items)';
DO $$
DECLARE
	command text;
	state text; message text; detail text; hint text;
BEGIN
	FOREACH command IN ARRAY ARRAY[
		$c$bgjob_enqueue('no_such_function')$c$,
		$c$bgjob_enqueue('no_such_schema.f')$c$,
		$c$bgjob_enqueue('public.gone()')$c$,
		$c$bgjob_enqueue('add(1)')$c$,
		$c$bgjob_enqueue('SELEC 1')$c$,
		$c$bgjob_enqueue('')$c$,
		$c$bgjob_enqueue('SELECT 1; SELECT 2')$c$,
		$c$bgjob_enqueue('SELECT 1', kind => 'function')$c$,
		$c$bgjob_enqueue('checkpoint')$c$,
		$c$bgjob_enqueue('add(text)', '[1]')$c$,
		$c$bgjob_enqueue('twice', '[1]')$c$,
		$c$bgjob_enqueue('twice', '[1, 2]')$c$,
		$c$bgjob_enqueue('add', '[]')$c$,
		$c$bgjob_enqueue('add', '[1, 2, 3]')$c$,
		$c$bgjob_enqueue('add', '{"b": 1}')$c$,
		$c$bgjob_enqueue('add', '{"a": 1, "c": 1}')$c$,
		$c$bgjob_enqueue('add', '7')$c$,
		$c$bgjob_enqueue('add', '["x"]')$c$,
		$c$bgjob_enqueue('many', '[1, "y"]')$c$,
		$c$bgjob_enqueue('count')$c$,
		$c$bgjob_enqueue('array_append', '[[1], 2]')$c$,
		$c$bgjob_enqueue('bgjob_enqueue_trigger')$c$,
		$c$bgjob_enqueue(NULL)$c$,
		$c$bgjob_enqueue('add', '[1]', kind => 'magic')$c$,
		$c$bgjob_enqueue('', '[1]', kind => 'external')$c$,
		$c$bgjob_enqueue('add', '[1]', queue => 'No Good')$c$,
		$c$bgjob_enqueue('add', '[1]', queue => 'Mail')$c$,
		$c$bgjob_enqueue('add', '[1]', priority => 40000)$c$,
		$c$bgjob_enqueue('add', '[1]', delay => '1 s', run_at => now())$c$,
		$c$bgjob_enqueue('add', '[1]', delay => '-1 s')$c$,
		$c$bgjob_enqueue('add', '[1]', run_at => 'infinity')$c$,
		$c$bgjob_enqueue('add', '[1]', max_retries => -1)$c$,
		$c$bgjob_enqueue('add', '[1]', timeout => '-1 s')$c$,
		$c$bgjob_enqueue('add', '[1]', on_duplicate => 'maybe')$c$,
		$c$bgjob_enqueue('add', '[1]', unique_key => '')$c$,
		$c$bgjob_enqueue('add', '[1]', sequence_key => '')$c$,
		$c$bgjob_log('x')$c$,
		$c$bgjob_snooze('1 s')$c$,
		$c$bgjob_configure('add', unique_key => '{c}')$c$,
		$c$bgjob_configure('add', unique_key => '{a')$c$,
		$c$bgjob_configure('add', retry_on => '{4000}')$c$,
		$c$bgjob_configure('add', retry_delays => '{}')$c$,
		$c$bgjob_configure('add', on_exhausted => 'explode')$c$,
		$c$bgjob_configure('add', kind => 'sql')$c$,
		$c$bgjob_enqueue('add', '[1]', batch => 1)$c$,
		$c$bgjob_enqueue('add', '[1]', parameters => '[]')$c$,
		$c$bgjob_enqueue('add', '[1]', run_as => 'no_such_role')$c$,
		$c$bgjob_enqueue('add', '[1]', run_as => 'pg_monitor')$c$,
		$c$bgjob_enqueue('SELEKT 1', kind => 'sql')$c$,
		$c$bgjob_enqueue('SELECT 1; SELECT 2', kind => 'sql')$c$,
		$c$bgjob_enqueue('', kind => 'sql')$c$,
		$c$bgjob_enqueue('COMMIT', kind => 'sql')$c$,
		$c$bgjob_enqueue('COPY pg_class TO STDOUT', kind => 'sql')$c$,
		$c$bgjob_enqueue('SELECT $1::int', kind => 'sql')$c$,
		$c$bgjob_enqueue('SELECT $1::int', '["x"]', kind => 'sql')$c$,
		$c$bgjob_enqueue('VACUUM', '[1]', kind => 'sql')$c$,
		$c$bgjob_delete(0, 'lost')$c$,
		$c$bgjob_reschedule(0)$c$,
		$c$bgjob_reschedule(0, now(), '1 s')$c$,
		$c$bgjob_purge('enqueued')$c$,
		$c$bgjob_purge('failed', '-1 s')$c$,
		$c$bgjob_wait(0)$c$,
		$c$bgjob_wait(0, '-1 s')$c$]
	LOOP
		BEGIN
			EXECUTE 'SELECT ' || command;
			RAISE INFO '%: no error', command;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
			RAISE INFO E'%\n  % %\n  DETAIL %\n  HINT %', command, state, message, detail, hint;
		END;
	END LOOP;
END $$;
SELECT count(*) FROM bgjob.jobs;
SELECT bgjob_delete(0), bgjob_requeue(0), bgjob_reschedule(0, delay => '1 s'), bgjob_change(0, 'q'), bgjob_result(0), bgjob_current_id();
-- What names nothing that exists is said, so that a misspelt name is noticed.
SELECT bgjob_queue_resume('mial'), bgjob_queue_remove('mial'), bgjob_filter_remove('nope'), bgjob_unconfigure('add');
SELECT bgjob_recurring_trigger('nope'), bgjob_recurring_pause('nope'), bgjob_recurring_resume('nope'), bgjob_recurring_remove('nope');
SELECT bgjob_queue_pause('mial');
SELECT bgjob_queue_remove('mial');
SELECT bgjob_recurring('never', '0 0 31 2 *', 'SELECT 1'), bgjob_recurring('over', '@daily', 'SELECT 1', ends_at => '2000-01-01');
SELECT bgjob_recurring('never', '@reboot', 'SELECT 1'), bgjob_recurring('over', '0 0 31 2 *', 'SELECT 1', ends_at => 'infinity', active => false);
SELECT count(bgjob_recurring_remove(name)) FROM bgjob.recurring_jobs;
-- An error has its position in the command, and names the argument.
\set SHOW_CONTEXT errors
SELECT bgjob_enqueue('SELECT 1 FRM x WHERE');
SELECT bgjob_enqueue('add', '{"b": "x", "a": 1}');
SELECT bgjob_enqueue_many('twice(int)', '{[1],"[\"x\"]"}');
\set SHOW_CONTEXT never
-- A read-only transaction changes nothing, although bgjob writes below SQL.
BEGIN READ ONLY;
SELECT bgjob_enqueue('add', '[1]');
ROLLBACK;
BEGIN READ ONLY;
SELECT bgjob_delete(1);
ROLLBACK;
BEGIN READ ONLY;
SELECT bgjob_purge('failed');
ROLLBACK;
