-- The databases that the role may connect to, the current one first. Cheap: a row for each database of the cluster.
-- only: those of --databases, else null. absent: those known to be without the extension.
-- params: only text[], absent text[]
SELECT coalesce(json_agg(d.datname ORDER BY d.datname <> current_database(), d.datname), '[]')
FROM pg_catalog.pg_database AS d
WHERE d.datallowconn AND NOT d.datistemplate
	AND has_database_privilege(d.oid, 'CONNECT')
	AND (:only IS NULL OR d.datname = ANY (:only))
	AND (:absent IS NULL OR d.datname <> ALL (:absent))
