-- session.sql
--
-- Settings of psql and the session: only TAP is printed. Each test file includes it first.

\set QUIET 1
\pset format unaligned
\pset tuples_only true
\pset pager off
SET client_min_messages = warning;
