CREATE FUNCTION bareworker_start(role regrole) RETURNS integer LANGUAGE c STRICT AS 'MODULE_PATHNAME';
