-- Reschedules some hundred jobs of a bulk, in one transaction. The
-- reason of each begins with what was done and by which role. Returns how many were changed; the others are not in the state any more.
-- params: ids bigint[], from_state text, delay interval, run_at timestamptz
SELECT count(*) FILTER (WHERE d.changed)
FROM (SELECT @bgjob@.bgjob_reschedule(id => u.id, run_at => :run_at, delay => :delay, from_state => :from_state, reason => 'bulk action in the dashboard'::text) AS changed
      FROM unnest(:ids) WITH ORDINALITY AS u(id, n) ORDER BY u.n) d
