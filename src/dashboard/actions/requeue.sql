-- Makes a job run now, whatever its state; one that runs is canceled first.
-- params: id bigint, from_state text?
SELECT to_json(@bgjob@.bgjob_requeue(id => :id, from_state => :from_state))
