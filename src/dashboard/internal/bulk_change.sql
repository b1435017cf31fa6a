-- Moves some hundred jobs of a bulk to another queue or priority, in one transaction. Returns how many were changed; the others do
-- not wait any more, or are in another state than expected.
-- params: ids bigint[], from_state text, queue text, priority int
SELECT count(*) FILTER (WHERE d.changed)
FROM (SELECT CASE WHEN :from_state IS NULL OR (SELECT j.state FROM bgjob.jobs j WHERE j.id = u.id) = :from_state
                  THEN @bgjob@.bgjob_change(id => u.id, queue => :queue, priority => :priority) END AS changed
      FROM unnest(:ids) WITH ORDINALITY AS u(id, n) ORDER BY u.n) d
