-- Adds a server, or replaces its configuration.
-- params: name text, queues text[], workers int?
SELECT to_jsonb(true) FROM @bgjob@.bgjob_server(name => :name, queues => :queues, workers => :workers)
