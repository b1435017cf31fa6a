-- 10_cron.sql
--
-- What this file proves:
--   * bgjob_cron_next, bgjob_cron_occurrences and bgjob_cron_describe have the signatures and defaults of api.md;
--   * the server's own time zones are used, with gaps and repetitions of an hour, half an hour and a day, at midnight too;
--   * invalid input raises 22023 that names the field, with a detail and a hint;
--   * schedules without an end, and those that never match, return at once.
--
-- No job is enqueued here. test/unit/cron.c tests parsing in detail.

\ir lib/session.sql
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

----------------------------------------------------------------------------------------------------
-- Helpers
----------------------------------------------------------------------------------------------------

-- times() returns occurrences in UTC.
CREATE FUNCTION times(schedule text, since timestamptz, until timestamptz, zone text, day_match text = 'any') RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(to_char(t AT TIME ZONE 'UTC', 'MM-DD HH24:MI') || CASE WHEN extract(second FROM t) > 0 THEN to_char(t, ':SS') ELSE '' END, ', ' ORDER BY t)
	FROM bgjob_cron_occurrences(schedule, since, until, zone, day_match) t
$$;

-- local_times() returns occurrences in the local time of the zone.
CREATE FUNCTION local_times(schedule text, since timestamptz, until timestamptz, zone text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(to_char(t AT TIME ZONE zone, 'MM-DD HH24:MI'), ', ' ORDER BY t) FROM bgjob_cron_occurrences(schedule, since, until, zone) t
$$;

-- error_of() returns the error of a command: SQLSTATE, message, and whether it has detail and hint.
CREATE FUNCTION error_of(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text; message text; detail text; hint text;
BEGIN
	EXECUTE command;
	RETURN 'no error';
EXCEPTION WHEN query_canceled OR OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', state, message, CASE WHEN detail ~ '\.$' THEN 'detail' END, CASE WHEN hint ~ '\.$' THEN 'hint' END);
END $$;

SELECT no_plan();

----------------------------------------------------------------------------------------------------
-- Signatures and defaults
----------------------------------------------------------------------------------------------------

SELECT is(pg_get_function_result('bgjob_cron_next'::regproc), 'timestamp with time zone', 'bgjob_cron_next returns timestamptz');
SELECT is(pg_get_function_result('bgjob_cron_occurrences'::regproc), 'SETOF timestamp with time zone', 'bgjob_cron_occurrences returns a set');
SELECT is(pg_get_function_result('bgjob_cron_describe'::regproc), 'text', 'bgjob_cron_describe returns text');
SELECT is(string_agg(format('%s:%s%s', proname, provolatile, proparallel), ' ' ORDER BY proname),
	'bgjob_cron_describe:is bgjob_cron_next:ss bgjob_cron_occurrences:ss', 'describe is immutable, the others are stable, all parallel safe')
FROM pg_proc WHERE proname LIKE 'bgjob\_cron\_%';
SELECT is(count(*), 3::bigint, 'each has a comment') FROM pg_proc WHERE proname LIKE 'bgjob\_cron\_%' AND obj_description(oid, 'pg_proc') <> '';

BEGIN;
SELECT is(bgjob_cron_next('0 0 1 1 *'), date_trunc('year', now()) + interval '1 year', 'after defaults to now(), the zone to UTC');
SELECT is(bgjob_cron_next(schedule => '* * * * *'), date_trunc('minute', now()) + interval '1 minute', 'the next minute');
SELECT is(bgjob_cron_next('* * * * * *'), date_trunc('second', now()) + interval '1 second', 'the next second');
COMMIT;
SELECT is(bgjob_cron_next('0 9 * * *', '2024-07-01', 'Europe/Berlin'), '2024-07-01 07:00+00'::timestamptz, 'time_zone');
SELECT is(bgjob_cron_next('0 9 * * *', '2024-07-01', 'europe/berlin'), '2024-07-01 07:00+00'::timestamptz, 'time zones in any case');
SELECT is(bgjob_cron_next('0 9 * * *', '2024-07-01', 'CET-1CEST'), '2024-07-01 07:00+00'::timestamptz, 'a POSIX time zone');
SET TimeZone = 'America/New_York';
SELECT is(bgjob_cron_next('0 9 * * *', '2024-07-01 00:00+00'), '2024-07-01 09:00+00'::timestamptz, 'the session''s TimeZone does not count');
SET bgjob.time_zone = 'Asia/Kathmandu';
SELECT is(bgjob_cron_next('0 9 * * *', '2024-07-01 00:00+00'), '2024-07-01 03:15+00'::timestamptz, 'bgjob.time_zone does');
SELECT is(bgjob_cron_next('0 9 * * *', '2024-07-01 00:00+00', NULL), '2024-07-01 03:15+00'::timestamptz, 'time_zone NULL is the same');
SELECT throws_ok($$SET bgjob.time_zone = 'Nowhere/Land'$$, '22023', 'invalid value for parameter "bgjob.time_zone": "Nowhere/Land"', 'a wrong bgjob.time_zone');
SELECT lives_ok($$SELECT bgjob_cron_next('0 9 * * *', time_zone => 'UTC')$$, 'it does not matter where a zone is given');
RESET bgjob.time_zone;
SET TimeZone = 'UTC';
SELECT is(bgjob_cron_next('0 0 13 * FRI', '2024-01-01', day_match => 'any'), '2024-01-05'::timestamptz, 'day_match any');
SELECT is(bgjob_cron_next('0 0 13 * FRI', '2024-01-01', day_match => 'all'), '2024-09-13'::timestamptz, 'day_match all');
SELECT is(bgjob_cron_next('0 0 13 * FRI', '2024-01-01'), '2024-01-05'::timestamptz, 'day_match is any by default');

SELECT is(bgjob_cron_next(NULL), NULL, 'no schedule, no time');
SELECT is(bgjob_cron_next('* * * * *', NULL), NULL, 'after nothing, nothing');
SELECT is(bgjob_cron_describe(NULL), NULL, 'no schedule, no description');
SELECT is(count(*), 0::bigint, 'no schedule, no occurrences') FROM bgjob_cron_occurrences(NULL, now(), now());
SELECT is(count(*), 0::bigint, 'since nothing') FROM bgjob_cron_occurrences('* * * * *', NULL, now());
SELECT is(count(*), 0::bigint, 'until nothing') FROM bgjob_cron_occurrences('* * * * *', now(), NULL);
SELECT is(bgjob_cron_next('@reboot'), NULL, '@reboot has no time');
SELECT is(bgjob_cron_next('0 0 30 2 *'), NULL, 'the 30th of February never comes');
SELECT is(bgjob_cron_next('0 0 29 2 MON', '2024-01-01', day_match => 'all'), '2044-02-29'::timestamptz, 'it can be far');
SELECT is(bgjob_cron_next('* * * * *', '2024-01-01 00:00:00'), '2024-01-01 00:01'::timestamptz, 'strictly after');
SELECT is(bgjob_cron_next('* * * * *', '2023-12-31 23:59:59.999999'), '2024-01-01 00:00'::timestamptz, 'fractions of a second');
SELECT is(bgjob_cron_next('0 0 * * *', '4713-01-02 BC'), '4713-01-03 BC'::timestamptz, 'long ago');
SELECT is(bgjob_cron_next('0 0 1 1 *', '294276-06-01'), NULL, 'no year after the last one');
SELECT is(bgjob_cron_next('59 59 23 31 12 *', '294276-06-01'), '294276-12-31 23:59:59+00'::timestamptz, 'the last second');
SELECT is(bgjob_cron_next('59 59 23 31 12 *', '294276-12-31 23:59:59.5+00'), NULL, 'and then none');

SELECT is(times('0 9 * * *', '2024-01-01 09:00', '2024-01-03 09:00', 'UTC'), '01-01 09:00, 01-02 09:00, 01-03 09:00', 'occurrences: both ends count');
SELECT is(times('0 9 * * *', '2024-01-01 09:00:00.000001', '2024-01-03 08:59:59.999999', 'UTC'), '01-02 09:00', 'occurrences: only what is between');
SELECT is(times('0 9 * * *', '2024-01-02', '2024-01-01', 'UTC'), NULL, 'occurrences: until before since');
SELECT is(array_agg(t), ARRAY['2024-01-01 00:00', '2024-01-01 00:01', '2024-01-01 00:02']::timestamptz[], 'occurrences stop where LIMIT does')
FROM (SELECT bgjob_cron_occurrences('* * * * *', '2024-01-01', '290000-01-01') AS t LIMIT 3) s;
SELECT is(count(*), 1051201::bigint, 'a million occurrences') FROM bgjob_cron_occurrences('* * * * *', '2024-01-01', '2025-12-31', 'Europe/Berlin');
SET statement_timeout = '300ms';
SELECT is(error_of($$SELECT count(*) FROM bgjob_cron_occurrences('* * * * * *', '2024-01-01', '290000-01-01')$$), '57014 | canceling statement due to statement timeout', 'they can be interrupted');
RESET statement_timeout;

-- H
SELECT is(bgjob_cron_next('H H * * *', '2024-01-01', name => 'nightly report'), '2024-01-01 15:00'::timestamptz, 'H is made of the name');
SELECT isnt(bgjob_cron_next('H H * * *', '2024-01-01', name => 'x'), bgjob_cron_next('H H * * *', '2024-01-01', name => 'y'), 'another name, another time');
SELECT is(bgjob_cron_describe('H H * * *', name => 'nightly report'), 'at 15:00', 'H is described as what it is');
SELECT is((SELECT count(*) FROM bgjob_cron_occurrences('H/15 * * * *', '2024-01-01', '2024-01-01 23:59:59', name => 'a')), 96::bigint, 'H/15: every 15 minutes');
SELECT is(bgjob_cron_next('H H * * *', '2024-01-01'), bgjob_cron_next('H H * * *', '2024-01-01', name => ''), 'H without a name: the empty one');
SELECT is(bgjob_cron_describe('H H * * *'), bgjob_cron_describe('H H * * *', name => ''), 'in descriptions too');

----------------------------------------------------------------------------------------------------
-- Daylight saving
----------------------------------------------------------------------------------------------------

-- Europe/Berlin: 2024-03-31 02:00 to 03:00 is missing, 2024-10-27 02:00 to 03:00 is there twice.
SELECT is(times('30 2 * * *', '2024-03-30', '2024-04-01 23:00', 'Europe/Berlin'), '03-30 01:30, 03-31 01:00, 04-01 00:30', 'Berlin: a fixed time in the gap happens at its end');
SELECT is(times('0,20,40 2 * * *', '2024-03-31', '2024-03-31 23:00', 'Europe/Berlin'), '03-31 01:00', 'Berlin: several in the gap happen once');
SELECT is(local_times('0 * * * *', '2024-03-30 23:00', '2024-03-31 03:00', 'Europe/Berlin'), '03-31 00:00, 03-31 01:00, 03-31 03:00, 03-31 04:00, 03-31 05:00', 'Berlin: an interval goes on as the clock does');
SELECT is(times('30 2 * * *', '2024-10-26 12:00', '2024-10-28 12:00', 'Europe/Berlin'), '10-27 00:30, 10-28 01:30', 'Berlin: a fixed time that is there twice happens once');
SELECT is(times('0 * * * *', '2024-10-26 23:00', '2024-10-27 02:00', 'Europe/Berlin'), '10-26 23:00, 10-27 00:00, 10-27 01:00, 10-27 02:00', 'Berlin: an interval happens in both passes');
SELECT is(times('*/30 2 * * *', '2024-10-27', '2024-10-27 23:00', 'Europe/Berlin'), '10-27 00:00, 10-27 00:30, 10-27 01:00, 10-27 01:30', 'Berlin: minutes with a step are an interval');
SELECT is(times('0 2-2 * * *', '2024-10-27', '2024-10-27 23:00', 'Europe/Berlin'), '10-27 00:00, 10-27 01:00', 'Berlin: hours with a range are one');
SELECT is(times('*/30 2 * * *', '2024-03-31', '2024-03-31 23:00', 'Europe/Berlin'), '03-31 01:00', 'Berlin: an interval within the gap happens at its end');
SELECT is(times('20-40/20 * * * *', '2024-03-31 00:30', '2024-03-31 01:30', 'Europe/Berlin'), '03-31 00:40, 03-31 01:00, 03-31 01:20', 'Berlin: so does one of which some times are in the gap');
SELECT is(times('@daily', '2024-03-30', '2024-04-02', 'Europe/Berlin'), '03-30 23:00, 03-31 22:00, 04-01 22:00', 'Berlin: midnight');
SELECT is(times('2 hours', '2024-03-31', '2024-03-31 06:00', 'Europe/Berlin'), '03-31 00:00, 03-31 02:00, 03-31 04:00, 03-31 06:00', 'Berlin: plain intervals do not care');

SELECT is(times('30 2 * * *', '2024-03-09 12:00', '2024-03-11 12:00', 'America/New_York'), '03-10 07:00, 03-11 06:30', 'New York: the gap');
SELECT is(times('30 1 * * *', '2024-11-02 12:00', '2024-11-04 12:00', 'America/New_York'), '11-03 05:30, 11-04 06:30', 'New York: the repetition');
SELECT is(bgjob_cron_next('30 1 * * *', '2024-11-03 05:45', 'America/New_York'), '2024-11-04 06:30'::timestamptz, 'New York: asked between both');

-- Half an hour: 2024-10-06 02:00 to 02:30 is missing, 2024-04-07 01:30 to 02:00 is there twice.
SELECT is(times('15 2 * * *', '2024-10-05', '2024-10-07', 'Australia/Lord_Howe'), '10-05 15:30, 10-06 15:15', 'Lord Howe: the gap');
SELECT is(times('45 1 * * *', '2024-04-06', '2024-04-08', 'Australia/Lord_Howe'), '04-06 14:45, 04-07 15:15', 'Lord Howe: the repetition');
SELECT is(times('45 * * * *', '2024-04-06 14:00', '2024-04-06 16:00', 'Australia/Lord_Howe'), '04-06 14:45, 04-06 15:15', 'Lord Howe: an interval');
SELECT is(local_times('*/15 1-2 * * *', '2024-10-05 14:30', '2024-10-05 16:00', 'Australia/Lord_Howe'), '10-06 01:00, 10-06 01:15, 10-06 01:30, 10-06 01:45, 10-06 02:30, 10-06 02:45', 'Lord Howe: quarters of an hour');

-- At midnight.
SELECT is(times('0 0 * * *', '2018-11-03', '2018-11-05 12:00', 'America/Sao_Paulo'), '11-03 03:00, 11-04 03:00, 11-05 02:00', 'Sao Paulo: midnight is missing, the day begins at 01:00');
SELECT is(times('@weekly', '2018-11-03', '2018-11-12', 'America/Sao_Paulo'), '11-04 03:00, 11-11 02:00', 'Sao Paulo: the week begins at 01:00');
SELECT is(times('30 23 * * *', '2018-02-17', '2018-02-19', 'America/Sao_Paulo'), '02-17 01:30, 02-18 01:30', 'Sao Paulo: the hour before midnight is there twice')
WHERE bgjob_cron_next('0 0 * * *', '2018-02-18 00:00', 'America/Sao_Paulo') = '2018-02-18 03:00';
SELECT is(times('0 0 * * *', '2024-04-24 12:00', '2024-04-27', 'Africa/Cairo'), '04-24 22:00, 04-25 22:00, 04-26 21:00', 'Cairo: Friday begins at 01:00')
WHERE ('2024-05-01 00:00+00'::timestamptz AT TIME ZONE 'Africa/Cairo')::time = '03:00';	-- old tzdata: no summer time

-- A day.
SELECT is(times('0 9 * * *', '2011-12-29 12:00', '2011-12-31 20:00', 'Pacific/Apia'), '12-29 19:00, 12-30 10:00, 12-30 19:00, 12-31 19:00', 'Apia: what is due on the missing day happens at its end');
SELECT is(times('0 * 30 12 *', '2011-12-01', '2012-01-31', 'Pacific/Apia'), '12-30 10:00', 'Apia: the hours of the missing day happen together, at its end');
SELECT is(times('0 */6 * * *', '2011-12-30', '2011-12-31', 'Pacific/Apia'), '12-30 04:00, 12-30 10:00, 12-30 16:00, 12-30 22:00', 'Apia: an interval goes on');

-- No daylight saving, and an odd offset.
SELECT is(times('0 0 * * *', '2024-01-01', '2024-01-02 23:00', 'Asia/Kathmandu'), '01-01 18:15, 01-02 18:15', 'Kathmandu');
SELECT is(times('0 0 * * *', '1850-01-01', '1850-01-02 12:00', 'Europe/Berlin'), '01-01 23:06:32', 'Berlin, before there were time zones');

-- The server's own idea of the time in a zone agrees, wherever the clock shows a time just once.
SELECT is((SELECT count(*) FROM pg_timezone_names z,
		LATERAL bgjob_cron_occurrences('15 12 1,11,21 * *', '2023-12-31', '2025-01-02', z.name) t
	WHERE z.name !~ '^(posix|right|localtime|Factory)' AND z.name NOT IN (SELECT abbrev FROM pg_timezone_abbrevs) AND (t AT TIME ZONE z.name)::time <> '12:15'), 0::bigint, 'every zone that the server knows');
SELECT cmp_ok((SELECT count(*) FROM pg_timezone_names z, LATERAL bgjob_cron_occurrences('15 12 1,11,21 * *', '2023-12-31', '2025-01-02', z.name) t
	WHERE z.name !~ '^(posix|right|localtime|Factory)'), '>', 10000::bigint, 'and there are many');

----------------------------------------------------------------------------------------------------
-- Errors
----------------------------------------------------------------------------------------------------

SELECT is(error_of(format('SELECT bgjob_cron_next(%L)', schedule)), '22023 | ' || message || ' | detail | hint', message)
FROM (VALUES
	('60 * * * *', 'invalid minute in schedule "60 * * * *"'),
	('0 24 * * *', 'invalid hour in schedule "0 24 * * *"'),
	('0 0 32 * *', 'invalid day of month in schedule "0 0 32 * *"'),
	('0 0 * 13 *', 'invalid month in schedule "0 0 * 13 *"'),
	('0 0 * * 8', 'invalid day of week in schedule "0 0 * * 8"'),
	('60 * * * * *', 'invalid second in schedule "60 * * * * *"'),
	('*/90 * * * *', 'invalid minute in schedule "*/90 * * * *"'),
	('', 'invalid schedule ""'),
	('* * * *', 'invalid schedule "* * * *"'),
	('* * * * * * *', 'invalid schedule "* * * * * * *"'),
	('@never', 'invalid schedule "@never"'),
	('5 days', 'invalid schedule "5 days"'),
	('täglich', 'invalid schedule "täglich"'),
	(repeat('ä', 600), 'invalid schedule "' || repeat('ä', 60) || '..."')
) AS v(schedule, message);
SELECT is(error_of($$SELECT bgjob_cron_describe('60 * * * *')$$), '22023 | invalid minute in schedule "60 * * * *" | detail | hint', 'describe refuses too');
SELECT is(error_of($$SELECT * FROM bgjob_cron_occurrences('60 * * * *', now(), now())$$), '22023 | invalid minute in schedule "60 * * * *" | detail | hint', 'occurrences refuses too');
SELECT is(error_of($$SELECT bgjob_cron_next('* * * * *', time_zone => 'Mars/Phobos')$$), '22023 | time zone "Mars/Phobos" not recognized | detail | hint', 'an unknown time zone');
SELECT is(error_of($$SELECT bgjob_cron_next('* * * * *', time_zone => '')$$), '22023 | time zone "" not recognized | detail | hint', 'no time zone');
SELECT is(error_of(format('SELECT bgjob_cron_next(%L, time_zone => %L)', '* * * * *', repeat('x', 1000))), '22023 | time zone "' || repeat('x', 1000) || '" not recognized | detail | hint', 'a long time zone');
SELECT is(error_of($$SELECT bgjob_cron_next('* * * * *', time_zone => '../../etc/passwd')$$), '22023 | time zone "../../etc/passwd" not recognized | detail | hint', 'a path');
SELECT is(error_of($$SELECT bgjob_cron_next('* * * * *', day_match => 'both')$$), '22023 | day_match "both" is not known | detail | hint', 'a wrong day_match');
SELECT is(error_of($$SELECT bgjob_cron_next('* * * * *', day_match => NULL)$$), '22004 | day_match must not be null | detail | hint', 'day_match null');
SELECT is(error_of($$SELECT bgjob_cron_next('* * * * *', 'infinity')$$), '22023 | after must be finite | detail | hint', 'after infinity');
SELECT is(error_of($$SELECT bgjob_cron_next('* * * * *', '-infinity')$$), '22023 | after must be finite | detail | hint', 'after minus infinity');
SELECT is(error_of($$SELECT * FROM bgjob_cron_occurrences('* * * * *', '-infinity', now())$$), '22023 | since must be finite | detail | hint', 'since minus infinity');
SELECT is(error_of($$SELECT * FROM bgjob_cron_occurrences('* * * * *', now(), 'infinity')$$), '22023 | until must be finite | detail | hint', 'until infinity');

CREATE ROLE tap10_plain;
SET ROLE tap10_plain;
SELECT is(error_of($$SELECT public.bgjob_cron_next('* * * * *')$$), '42501 | permission denied for schema bgjob | detail | hint', 'next: who may not use bgjob may not ask');
SELECT is(error_of($$SELECT public.bgjob_cron_describe('* * * * *')$$), '42501 | permission denied for schema bgjob | detail | hint', 'describe');
SELECT is(error_of($$SELECT public.bgjob_cron_occurrences('* * * * *', now(), now())$$), '42501 | permission denied for schema bgjob | detail | hint', 'occurrences');
RESET ROLE;
GRANT USAGE ON SCHEMA bgjob TO tap10_plain;
SET ROLE tap10_plain;
SELECT lives_ok($$SELECT public.bgjob_cron_next('* * * * *'), public.bgjob_cron_describe('* * * * *'), public.bgjob_cron_occurrences('* * * * *', now(), now())$$, 'USAGE on schema bgjob is enough');
RESET ROLE;

----------------------------------------------------------------------------------------------------
-- Read-only, parallel, descriptions
----------------------------------------------------------------------------------------------------

BEGIN READ ONLY;
SELECT lives_ok($$SELECT bgjob_cron_next('* * * * *')$$, 'in a read-only transaction');
COMMIT;

CREATE TABLE schedules AS SELECT i % 60 || ' ' || i % 24 || ' * * *' AS schedule FROM generate_series(1, 20000) i;
ANALYZE schedules;
SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
SELECT is((SELECT count(DISTINCT bgjob_cron_next(schedule, '2024-01-01', 'Europe/Berlin')) FROM schedules), 120::bigint, 'in parallel workers');
RESET max_parallel_workers_per_gather; RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size;

SELECT is(bgjob_cron_describe(schedule), description, schedule)
FROM (VALUES
	('*/15 * * * MON-FRI', 'every 15 minutes, Monday to Friday'),
	('30 2 * * *', 'at 02:30'),
	('0 9 L * *', 'at 09:00 on the last day of the month'),
	('* * * * * *', 'every second'),
	('*/5 9-17 * * *', 'every 5 minutes between 09:00 and 17:59'),
	('0 0 13 * FRI', 'at 00:00 on day 13 of the month or on Friday'),
	('90 minutes', 'every 90 minutes'),
	('@reboot', 'when the server starts')
) AS v(schedule, description);
SELECT is(bgjob_cron_describe('0 0 13 * FRI', 'all'), 'at 00:00 on day 13 of the month if it is Friday', 'described with day_match all');

SELECT * FROM finish();
SELECT 'DROP OWNED BY tap10_plain' \gexec
DROP ROLE tap10_plain;
