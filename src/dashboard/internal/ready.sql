-- Whether the extension answers, for /readyz: reads shared memory.
SELECT to_json(servers IS NOT NULL) FROM bgjob.stats
