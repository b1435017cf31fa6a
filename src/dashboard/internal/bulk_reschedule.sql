-- Reschedules some hundred jobs of a bulk, in one transaction. Returns how many were changed; the others are not in the state any more.
-- params: ids bigint[], from_state text, reason text, delay interval, run_at timestamptz
SELECT count(*) FILTER (WHERE d.changed)
FROM (SELECT @bgjob@.bgjob_reschedule(id => u.id, run_at => :run_at, delay => :delay, from_state => :from_state, reason => :reason) AS changed
      FROM unnest(:ids) WITH ORDINALITY AS u(id, n) ORDER BY u.n) d
