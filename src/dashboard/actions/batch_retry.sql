-- Makes jobs of a batch run again, and of those in it: failed, unsuccessful or all.
-- params: id bigint, which text = failed
SELECT pg_catalog.to_jsonb(@bgjob@.bgjob_batch_retry(id => :id, which => :which)::text)
