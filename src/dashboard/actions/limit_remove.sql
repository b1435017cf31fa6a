-- Removes a limit. Jobs that name it are no longer held up by it.
-- params: name text
SELECT to_jsonb(@bgjob@.bgjob_limit_remove(name => :name))
