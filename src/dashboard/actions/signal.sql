-- Sends a signal: jobs that await it go on.
-- params: name text, payload jsonb?
SELECT pg_catalog.to_jsonb(@bgjob@.bgjob_signal(name => :name, payload => :payload)::text)
