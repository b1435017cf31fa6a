-- Raises an error if a bulk of jobs cannot be meant: the query is malformed, or the delay, or the time. Looks at hardly a job.
-- Returns whether the query asks for arguments where they are hidden.
-- params: query text, delay interval, run_at timestamptz
SELECT coalesce(current_setting('bgjob_dashboard.hide_arguments', true) = 'on' AND :query ~* '(^|[[:space:]])-*args[.:]', false),
       CASE WHEN :query IS NOT NULL
            THEN (SELECT s.looked_through
                  FROM @bgjob@.bgjob_search(query => :query, before_id => NULL::bigint, max_rows => 1::integer, max_time => '1 ms'::interval) s)
            END,
       clock_timestamp() + :delay, :run_at
