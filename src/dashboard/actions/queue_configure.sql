-- Configures a queue. A null stays as it is; -1 means any number.
-- params: name text, max_running int?, group_size int?, max_length int?
SELECT to_jsonb(true) FROM @bgjob@.bgjob_queue(name => :name, max_running => :max_running, group_size => :group_size, max_length => :max_length)
