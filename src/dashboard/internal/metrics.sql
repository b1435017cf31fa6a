-- The metrics of the database and of the cluster, for /metrics. Reads shared memory.
SELECT name, labels, value, help, type FROM bgjob.metrics
