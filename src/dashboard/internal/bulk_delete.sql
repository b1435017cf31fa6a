-- Deletes some hundred jobs of a bulk, in one transaction. The
-- reason of each begins with what was done and by which role. Returns how many were changed; the others are not in the state any more.
-- params: ids bigint[], from_state text
SELECT count(*) FILTER (WHERE d.changed)
FROM (SELECT @bgjob@.bgjob_delete(id => u.id, from_state => :from_state, reason => 'bulk action in the dashboard'::text) AS changed
      FROM unnest(:ids) WITH ORDINALITY AS u(id, n) ORDER BY u.n) d
