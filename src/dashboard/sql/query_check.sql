-- Whether a search is understood: if not, the error says why.
-- Cost: of reading the query; there is no job before the first one.
-- params: q text
SELECT json_build_object('looked_through', s.looked_through::text)
FROM @bgjob@.bgjob_search(query => coalesce(:q, '')::text, before_id => 1::bigint, max_rows => 1::integer, max_time => '1 ms'::interval,
	search_args => pg_catalog.current_setting('bgjob_dashboard.hide_arguments', true) IS DISTINCT FROM 'on') s
