-- x
-- params:
SELECT pg_catalog.jsonb_build_object('rows', '[]'::jsonb)
