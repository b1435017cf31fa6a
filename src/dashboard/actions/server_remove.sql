-- Removes a server; its workers leave after their jobs. Or asks an external worker of that name to end.
-- params: name text
SELECT to_jsonb(@bgjob@.bgjob_server_remove(name => :name))
