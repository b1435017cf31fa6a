-- Pauses a server, or asks an external worker of that name to fetch no more jobs.
-- params: name text
SELECT to_jsonb(@bgjob@.bgjob_server_pause(name => :name))
