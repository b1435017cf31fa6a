-- Raises an error if a bulk of jobs cannot be meant: the query is malformed or asks for arguments that are hidden, or the delay or the time
-- is malformed. Looks at hardly a job.
-- params: query text, delay interval, run_at timestamptz
SELECT CASE WHEN :query IS NOT NULL
            THEN (SELECT s.looked_through
                  FROM @bgjob@.bgjob_search(query => :query, before_id => NULL::bigint, max_rows => 1::integer, max_time => '1 ms'::interval,
                      search_args => current_setting('bgjob_dashboard.hide_arguments', true) IS DISTINCT FROM 'on') s)
            END,
       clock_timestamp() + :delay, :run_at
