-- wait_here.sql
--
-- Waits until this session has reloaded the configuration: a session does so only between two commands of the client.
-- The variable "condition" is an SQL condition on its settings. Sleeps 10 ms at a time, 10 s at most.
--
--   \set condition 'current_setting(''bgjob.enabled'') = ''off'''
--   \ir lib/wait_here.sql
--
-- Included by 18_why.

\if :{?stop}
\else
SELECT clock_timestamp() + interval '10 s' AS stop \gset
\endif
SELECT (:condition) OR clock_timestamp() > :'stop' AS here \gset
\if :here
\unset stop
\else
SELECT pg_sleep(0.01) AS x \gset
\ir wait_here.sql
\endif
