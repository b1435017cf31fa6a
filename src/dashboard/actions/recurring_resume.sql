-- Resumes a recurring job.
-- params: name text
SELECT pg_catalog.to_jsonb(@bgjob@.bgjob_recurring_resume(name => :name))
