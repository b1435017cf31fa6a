-- Deletes a job; one that runs is canceled. With from_state only a job in that state, so that a stale page does no harm.
-- false: there is no such job, or it is in another state.
-- params: id bigint, from_state text?
SELECT to_json(@bgjob@.bgjob_delete(id => :id, from_state => :from_state))
