-- Deletes the unfinished jobs of a batch, and of those in it.
-- params: id bigint
SELECT pg_catalog.to_jsonb(@bgjob@.bgjob_batch_cancel(id => :id)::text)
