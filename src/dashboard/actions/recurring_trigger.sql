-- Enqueues the job of a recurring job now; its schedule stays as it is.
-- params: name text
SELECT pg_catalog.to_jsonb(@bgjob@.bgjob_recurring_trigger(name => :name)::text)
