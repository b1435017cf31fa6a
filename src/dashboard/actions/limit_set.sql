-- Adds a limit, or replaces the one of that name as a whole.
-- params: name text, max_running int?, rate int?, per interval?, algorithm text = sliding_window, on_limit text = wait
SELECT to_jsonb(true) FROM @bgjob@.bgjob_limit(name => :name, max_running => :max_running, rate => :rate, per => :per, algorithm => :algorithm, on_limit => :on_limit)
