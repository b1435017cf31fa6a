-- Moves a job that waits to another queue or priority; what is null stays as it is.
-- params: id bigint, queue text?, priority int?
SELECT to_json(@bgjob@.bgjob_change(id => :id, queue => :queue, priority => :priority))
