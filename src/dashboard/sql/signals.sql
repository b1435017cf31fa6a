-- Signals that were sent and have not expired, the latest first.
-- Cost: of all signals that are kept.
-- params:
SELECT pg_catalog.jsonb_build_object('rows', coalesce((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'id', s.role || '/' || s.name, 'name', s.name, 'role', pg_catalog.pg_get_userbyid(s.role)::text, 'at', s.at,
        'payload', CASE WHEN pg_catalog.current_setting('bgjob_dashboard.hide_arguments', true) = 'on' THEN NULL ELSE s.payload::text END) ORDER BY s.at DESC)
    FROM (SELECT * FROM bgjob.signals ORDER BY at DESC LIMIT 200) s), '[]'))
