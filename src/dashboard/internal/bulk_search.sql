-- Returns the next jobs of a bulk that match its query, newest first: their ids, how many they are, how many jobs were compared,
-- and before which id the next ones are (null: there are no more). Bounded in time.
-- params: query text, before_id bigint, max_rows int, max_time interval
SELECT s.ids, cardinality(s.ids), s.looked_through, s.next_before_id
FROM @bgjob@.bgjob_search(query => :query, before_id => :before_id, max_rows => :max_rows, max_time => :max_time,
    search_args => current_setting('bgjob_dashboard.hide_arguments', true) IS DISTINCT FROM 'on') s
