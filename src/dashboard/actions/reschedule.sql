-- Makes a job run at a time, or after a delay.
-- params: id bigint, run_at timestamptz?, delay interval?, from_state text?
SELECT to_json(@bgjob@.bgjob_reschedule(id => :id, run_at => :run_at, delay => :delay, from_state => :from_state))
