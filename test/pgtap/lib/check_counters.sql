-- check_counters.sql
--
-- One assertion, the last of a file: bgjob's numbers and side tables agree with bgjob_internal.job (counters.sql says which).
-- Running work has 20 seconds to end.
--
-- Included at the end of every file, before finish(). Needs wait.sql.

\ir counters.sql
RESET ROLE;
CALL tap_wait_until('SELECT NOT EXISTS (SELECT FROM pg_temp.tap_differences())', 20);
SELECT is(ARRAY(SELECT pg_temp.tap_differences() LIMIT 20), '{}'::text[], 'the counters agree with the tables');
