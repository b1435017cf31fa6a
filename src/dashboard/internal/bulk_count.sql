-- Returns how many of the given jobs there are, in a state or in any.
-- params: ids bigint[], from_state text
SELECT count(*)
FROM bgjob.jobs j
WHERE j.id = ANY (:ids) AND (:from_state IS NULL OR j.state = :from_state)
