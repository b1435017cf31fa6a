-- Closes a limit: no job under it starts for so long. A delay of 0 opens it.
-- params: name text, delay interval?
SELECT to_jsonb(true) FROM @bgjob@.bgjob_limit_close(name => :name, delay => :delay)
