-- elsewhere.sql
--
-- Queries in another session. Creates the extension dblink, which it needs.
--
-- Included by 10_groups and 12_control.

CREATE EXTENSION dblink;

-- tap_elsewhere runs a query in another session, which commits at once, and returns its value, or 'ERROR …'.
-- The query fails after five seconds, since it may wait for the caller.
CREATE FUNCTION tap_elsewhere(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	name text := format('elsewhere %s', pg_backend_pid());
	answer text;
BEGIN
	PERFORM public.dblink_connect(name, format('dbname=%s host=%s port=%s user=%s options=''-c statement_timeout=5s''', current_database(),
		split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), session_user));
	BEGIN
		SELECT * FROM public.dblink(name, query) AS d (a text) INTO answer;
	EXCEPTION WHEN OTHERS OR query_canceled THEN
		answer := 'ERROR ' || SQLSTATE;
	END;
	PERFORM public.dblink_disconnect(name);
	RETURN answer;
END $$;
