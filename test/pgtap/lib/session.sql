-- session.sql
--
-- How psql and the session of every test file are: nothing is said but TAP. Each file includes it first.

\set QUIET 1
\pset format unaligned
\pset tuples_only true
\pset pager off
SET client_min_messages = warning;
