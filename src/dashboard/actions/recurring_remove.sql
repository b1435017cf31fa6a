-- Removes a recurring job. The jobs that it has enqueued stay.
-- params: name text
SELECT pg_catalog.to_jsonb(@bgjob@.bgjob_recurring_remove(name => :name))
