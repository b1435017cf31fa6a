-- Resumes a server, or an external worker.
-- params: name text
SELECT to_jsonb(@bgjob@.bgjob_server_resume(name => :name))
