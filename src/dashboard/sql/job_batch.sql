-- The batch that a job is in, and how far it is: a part of the job's page of its own, since it need not be quick.
--
-- Cost: counts the jobs of the batch that have not succeeded, some tenths of a second for a million.
-- params: id bigint
SELECT json_build_object('id', b.id::text, 'description', left(b.description, 300), 'state', b.state, 'total', b.total, 'ended', b.succeeded + b.failed + b.deleted, 'failed', b.failed)
FROM bgjob.batches b
WHERE b.id = :id
