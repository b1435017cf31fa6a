-- Resumes a queue.
-- params: name text
SELECT to_jsonb(@bgjob@.bgjob_queue_resume(name => :name))
