-- Pauses a queue: its jobs that run go on, no others start.
-- params: name text
SELECT to_jsonb(@bgjob@.bgjob_queue_pause(name => :name))
