-- One large value of a job, whole: its arguments, result, parameters or settings as the text of JSON, up to 16 MB of it.
--
-- Cost: reads the value, about 0.1 s for 10 MB. The page asks for it when the viewer does.
-- params: id bigint, name text
WITH value AS MATERIALIZED (
	SELECT jsonb_pretty(CASE :name WHEN 'args' THEN j.args WHEN 'result' THEN j.result WHEN 'parameters' THEN j.parameters WHEN 'settings' THEN j.settings END) AS text
	FROM bgjob.jobs j
	WHERE j.id = :id AND pg_catalog.current_setting('bgjob_dashboard.hide_arguments', true) IS DISTINCT FROM 'on'
)
SELECT json_build_object('text', left(v.text, 16777216), 'characters', length(v.text))
FROM value v
