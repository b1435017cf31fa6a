-- The number of jobs in each state, for the tabs of the list: as many as the list has.
--
-- What waits, runs or has failed is counted by queue for the roles that the viewer sees. The other states are counted for all roles
-- together, so who does not see all of them gets null. Cost: shared memory alone, whatever the number of jobs.
-- params:
WITH seen AS (
	SELECT coalesce(sum(q.enqueued), 0)::bigint AS enqueued, coalesce(sum(q.processing), 0)::bigint AS processing,
		coalesce(sum(q.scheduled), 0)::bigint AS scheduled, coalesce(sum(q.failed), 0)::bigint AS failed
	FROM bgjob.queues q
), viewer AS (
	SELECT (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)
		OR pg_catalog.pg_has_role('pg_monitor'::name, 'USAGE')
		OR pg_catalog.pg_has_role((SELECT e.extowner FROM pg_catalog.pg_extension e WHERE e.extname = 'bgjob'), 'USAGE') AS sees_all
)
SELECT json_build_object('enqueued', n.enqueued, 'scheduled', n.scheduled, 'processing', n.processing, 'failed', n.failed,
	'awaiting', CASE WHEN v.sees_all THEN s.awaiting END,
	'succeeded', CASE WHEN v.sees_all THEN s.kept_succeeded END,
	'deleted', CASE WHEN v.sees_all THEN s.kept_deleted END)
FROM seen n, viewer v, bgjob.stats s
