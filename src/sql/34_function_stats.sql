CREATE VIEW bgjob.function_stats WITH (security_barrier) AS
SELECT s.job, s.kind, s.run_as,
       s.jobs, s.attempts, s.failures, s.retries, s.interruptions,
       s.total_run_time, s.min_run_time, s.max_run_time, s.mean_run_time, s.stddev_run_time,
       s.total_wait_time, s.min_wait_time, s.max_wait_time, s.mean_wait_time, s.stddev_wait_time,
       s.last_run_at, s.last_failed_at, s.last_sqlstate, s.last_error, s.stats_since
FROM bgjob_internal.function_stats() s;
COMMENT ON VIEW bgjob.function_stats IS 'what the jobs of each function, or kind of command, have cost since the last reset; times in milliseconds';
COMMENT ON COLUMN bgjob.function_stats.job IS 'the function, as schema.name(types); the kind of command, such as SELECT';
COMMENT ON COLUMN bgjob.function_stats.kind IS 'the kind of the jobs: function, sql or external';
COMMENT ON COLUMN bgjob.function_stats.run_as IS 'the role that the jobs run as';
COMMENT ON COLUMN bgjob.function_stats.jobs IS 'jobs that have ended: succeeded, failed without another retry, or deleted while they ran';
COMMENT ON COLUMN bgjob.function_stats.attempts IS 'attempts that have ended, whatever their outcome';
COMMENT ON COLUMN bgjob.function_stats.failures IS 'attempts that have failed, or ended their worker';
COMMENT ON COLUMN bgjob.function_stats.retries IS 'failed attempts after which the job is tried again';
COMMENT ON COLUMN bgjob.function_stats.interruptions IS 'attempts that were interrupted, such as by a shutdown; they use up no retry';
COMMENT ON COLUMN bgjob.function_stats.total_run_time IS 'time that the attempts have run, in milliseconds';
COMMENT ON COLUMN bgjob.function_stats.min_run_time IS 'shortest run of an attempt, in milliseconds';
COMMENT ON COLUMN bgjob.function_stats.max_run_time IS 'longest run of an attempt, in milliseconds';
COMMENT ON COLUMN bgjob.function_stats.mean_run_time IS 'mean run of an attempt, in milliseconds';
COMMENT ON COLUMN bgjob.function_stats.stddev_run_time IS 'standard deviation of the runs, in milliseconds';
COMMENT ON COLUMN bgjob.function_stats.total_wait_time IS 'time that the attempts have waited before their start, in milliseconds';
COMMENT ON COLUMN bgjob.function_stats.min_wait_time IS 'shortest wait of an attempt, in milliseconds';
COMMENT ON COLUMN bgjob.function_stats.max_wait_time IS 'longest wait of an attempt, in milliseconds';
COMMENT ON COLUMN bgjob.function_stats.mean_wait_time IS 'mean wait of an attempt, in milliseconds';
COMMENT ON COLUMN bgjob.function_stats.stddev_wait_time IS 'standard deviation of the waits, in milliseconds';
COMMENT ON COLUMN bgjob.function_stats.last_run_at IS 'start of the attempt that ended last';
COMMENT ON COLUMN bgjob.function_stats.last_failed_at IS 'end of the last attempt that failed';
COMMENT ON COLUMN bgjob.function_stats.last_sqlstate IS 'SQLSTATE of its error';
COMMENT ON COLUMN bgjob.function_stats.last_error IS 'message of its error, cut at 255 bytes';
COMMENT ON COLUMN bgjob.function_stats.stats_since IS 'when counting began: at the first attempt, or at the last reset';
GRANT SELECT ON bgjob.function_stats TO PUBLIC;
