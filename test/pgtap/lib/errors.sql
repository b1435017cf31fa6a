-- errors.sql
--
-- Returns the answer of a query, or its error, as a value to compare. The query runs in a subtransaction, which an
-- error rolls back; without an error it has its effects.
--
-- Included by 06_rights, 09_queues, 12_control, 13_unique, 14_filters, 15_options and 19_function_stats.

-- tap_try runs a query, as the given role or else the current one, and returns its one value as text,
-- 'NULL', or 'ERROR ' and the SQLSTATE. (Never a NULL: \gset would unset the variable.)
CREATE FUNCTION tap_try(query text, role text = NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	IF role IS NOT NULL THEN
		EXECUTE format('SET LOCAL ROLE %I', role);
	END IF;
	EXECUTE query INTO answer;
	IF role IS NOT NULL THEN
		RESET ROLE;
	END IF;
	RETURN coalesce(answer, 'NULL');
EXCEPTION WHEN OTHERS THEN
	RETURN 'ERROR ' || SQLSTATE;
END $$;

-- tap_lacks returns which of message, detail and hint the error of a query lacks; empty: none.
CREATE FUNCTION tap_lacks(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m text; d text; h text;
BEGIN
	EXECUTE query;
	RETURN 'an error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
	RETURN concat_ws(' and ', CASE WHEN m = '' THEN 'a message' END, CASE WHEN d = '' THEN 'a detail' END, CASE WHEN h = '' THEN 'a hint' END);
END $$;

-- tap_error returns the SQLSTATE of a query's error, and its faults of style: a message must begin in lower case, detail
-- and hint must be sentences.
CREATE FUNCTION tap_error(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m text; d text; h text;
BEGIN
	EXECUTE query;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || CASE WHEN m = '' OR m ~ '^[A-Z][a-z]' OR m ~ '\.$' THEN ', message: ' || m ELSE '' END
		|| CASE WHEN d !~ '^[^a-z].*\.$' THEN ', detail: ' || d ELSE '' END || CASE WHEN h !~ '^[^a-z].*\.$' THEN ', hint: ' || h ELSE '' END;
END $$;
