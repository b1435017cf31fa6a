-- Removes the configuration of a queue. Its jobs stay.
-- params: name text
SELECT to_jsonb(@bgjob@.bgjob_queue_remove(name => :name))
