-- Removes a signal that was sent: jobs that come to await it later wait.
-- params: name text
SELECT pg_catalog.to_jsonb(@bgjob@.bgjob_signal_remove(name => :name))
