-- Makes a database that looks like the one of a web shop: jobs of every kind and in every state, failures, batches, recurring
-- jobs, limits, sequences, external workers. For pictures of the dashboard and for its tests (test/t/084_browser.pl).
--
--   psql -X -q -f seed.sql -d DATABASE                as superuser, in a new database of a server that has bgjob preloaded
--   psql … -v traffic=1                               also has jobs arrive all the time, for the live graph
--
-- Takes some ten seconds. Roles app, reporting and admin are made if they do not exist; their passwords are their names, so
-- this is for private clusters alone. The jobs really run. Afterwards the times of those that have ended are spread over the last day:
-- that is why the script writes into bgjob's own tables, which nothing else should do.
-- The parts: seed/shop.sql the application, seed/past.sql what has ended, seed/present.sql what goes on, seed/history.sql the statistics.
\set ON_ERROR_STOP on
SET client_min_messages = warning;

SELECT format('CREATE ROLE %I LOGIN PASSWORD %L', name, name)
FROM unnest(ARRAY['app', 'reporting', 'admin']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec

-- The images are rendered by external workers; queue "legacy" is taken by no server.
CREATE EXTENSION IF NOT EXISTS bgjob;
SELECT format('ALTER DATABASE %I SET bgjob.retention = %L', current_database(), '8d') \gexec
SELECT bgjob_server('default', '{critical,mail,orders,default,index,search}', 6),
	bgjob_server('batch', '{imports,reports,exports}', 5) \g /dev/null

-- app owns the application; reporting only reads it; admin administers bgjob, as a member of the extension's owner.
GRANT USAGE ON SCHEMA bgjob TO app, reporting;
SELECT format('GRANT %I TO admin', extowner::regrole::name) FROM pg_extension WHERE extname = 'bgjob' \gexec

SELECT format('ALTER ROLE %I IN DATABASE %I SET search_path = %I, public', name, current_database(), schema)
FROM (VALUES ('app', 'shop'), ('reporting', 'report')) AS r (name, schema) \gexec

\ir seed/shop.sql
\ir seed/past.sql
\ir seed/present.sql
\ir seed/history.sql
