/*-------------------------------------------------------------------------
 *
 * statements.c
 *	  The protocol's calls, as SQL.
 *
 * Every name is qualified, operators included, since the search path of the role may
 * be anything, also one in which somebody else has put functions. The functions of
 * the protocol are in the schema that the extension was created in, which the first
 * statement finds.
 *
 * Answers, log lines and progress go to the server in sets, as arrays in the binary
 * form of the protocol: it needs no quotes, so that no result can break out of its
 * place, and a result is copied as it is.
 *
 *-------------------------------------------------------------------------
 */
#include "worker/statements.h"
#include "client/memory.h"

#include <stdlib.h>
#include <string.h>

/* %1 is the schema of the functions, %2 the deadline or null. */
static const char *const templates[STATEMENT_COUNT] = {
	[STATEMENT_IDENTIFY] =
		"SELECT pg_catalog.quote_ident(n.nspname), pg_catalog.count(p.oid), "
		"pg_catalog.bool_or(p.proname OPERATOR(pg_catalog.=) 'bgjob_external_deadline'), "
		"pg_catalog.current_setting('server_version'), pg_catalog.current_database(), "
		"e.extversion "
		"FROM pg_catalog.pg_extension e "
		"JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace "
		"LEFT JOIN pg_catalog.pg_proc p ON p.pronamespace OPERATOR(pg_catalog.=) n.oid "
		"AND p.proname OPERATOR(pg_catalog.=) ANY "
		"('{bgjob_protocol,bgjob_fetch,bgjob_external_deadline}'::pg_catalog.name[]) "
		"WHERE e.extname OPERATOR(pg_catalog.=) 'bgjob' GROUP BY 1, e.extversion",
	[STATEMENT_PROTOCOL] = "SELECT %1.bgjob_protocol()",
	[STATEMENT_UNBIND] = "SELECT pg_catalog.set_config('bgjob.bind_leases', 'off', true)",
	[STATEMENT_LOG] =
		"SELECT %1.bgjob_external_log(l.id, $1::pg_catalog.text, l.message, l.level) FROM ROWS "
		"FROM "
		"(pg_catalog.unnest($2::pg_catalog.int8[]), pg_catalog.unnest($3::pg_catalog.text[]), "
		"pg_catalog.unnest($4::pg_catalog.text[])) AS l(id, message, level)",
	[STATEMENT_PROGRESS] =
		"SELECT %1.bgjob_external_progress(p.id, $1::pg_catalog.text, "
		"p.percent::pg_catalog.numeric, "
		"p.message) FROM ROWS FROM (pg_catalog.unnest($2::pg_catalog.int8[]), "
		"pg_catalog.unnest($3::pg_catalog.text[]), pg_catalog.unnest($4::pg_catalog.text[])) "
		"AS p(id, percent, message)",
	[STATEMENT_HEARTBEAT] =
		"SELECT h.id, h.command FROM %1.bgjob_heartbeat($1::pg_catalog.text, "
		"$2::pg_catalog.int8[], $3::pg_catalog.interval) AS h",
	[STATEMENT_BOUND] = "SELECT pg_catalog.bool_and(s.workers OPERATOR(pg_catalog.=) 1) FROM "
						"bgjob.servers AS s "
						"WHERE s.kind OPERATOR(pg_catalog.=) 'external' "
						"AND s.name OPERATOR(pg_catalog.=) $1::pg_catalog.text",
	[STATEMENT_CANCEL] = "SELECT pg_catalog.pg_cancel_backend($1::pg_catalog.int4)",
	[STATEMENT_COMPLETE] =
		"SELECT c.id FROM ROWS FROM (pg_catalog.unnest($2::pg_catalog.int8[]), "
		"pg_catalog.unnest($3::pg_catalog.jsonb[])) AS c(id, result) "
		"WHERE NOT %1.bgjob_complete(c.id, $1::pg_catalog.text, c.result)",
	[STATEMENT_FAIL] =
		"SELECT f.id FROM ROWS FROM (pg_catalog.unnest($2::pg_catalog.int8[]), "
		"pg_catalog.unnest($3::pg_catalog.text[]), pg_catalog.unnest($4::pg_catalog.jsonb[]), "
		"pg_catalog.unnest($5::pg_catalog.bool[])) AS f(id, error, detail, retry) "
		"WHERE NOT %1.bgjob_fail(f.id, $1::pg_catalog.text, f.error, f.detail, f.retry)",
	[STATEMENT_RELEASE] =
		"SELECT r.id FROM ROWS FROM (pg_catalog.unnest($2::pg_catalog.int8[]), "
		"pg_catalog.unnest($3::pg_catalog.float8[])) AS r(id, delay) "
		"WHERE NOT %1.bgjob_release(r.id, $1::pg_catalog.text, CASE WHEN r.delay IS NOT NULL "
		"THEN pg_catalog.make_interval(secs => r.delay) END)",
	[STATEMENT_FETCH] =
		"SELECT f.id, f.job, f.args, f.queue, f.attempt, pg_catalog.to_json(f.lease_until), "
		"f.parameters, pg_catalog.to_json(d.deadline), pg_catalog.date_part('epoch', "
		"d.deadline OPERATOR(pg_catalog.-) pg_catalog.clock_timestamp()) "
		"FROM %1.bgjob_fetch($1::pg_catalog.text[], $2::pg_catalog.text, $3::pg_catalog.int4, "
		"$4::pg_catalog.interval) AS f CROSS JOIN LATERAL (SELECT %2 AS deadline OFFSET 0) AS "
		"d",
	[STATEMENT_AWAIT] = "CALL %1.bgjob_await($1::pg_catalog.text[], $2::pg_catalog.interval)"};

static char *texts[STATEMENT_COUNT];

/* expand writes a template's schema and deadline into it. */
static char *
expand(const char *template, const char *schema, const char *deadline)
{
	Buffer text = {0};
	char *expanded;

	while (*template != '\0')
	{
		size_t len = strcspn(template, "%");

		buffer_add(&text, template, len);
		template += len;
		if (*template == '%')
		{
			buffer_add_text(&text, template[1] == '1' ? schema : deadline);
			template += 2;
		}
	}
	expanded = mem_copy_part(text.data, text.len);
	buffer_free(&text);
	return expanded;
}

/* statements_set_schema makes the statements for a schema, whose name is quoted where it needs to be. */
void
statements_set_schema(const char *schema, bool has_deadline)
{
	char *deadline = has_deadline ? mem_print("%s.bgjob_external_deadline(f.id, $2)", schema)
								  : mem_copy("NULL::pg_catalog.timestamptz");

	statements_free();
	for (int i = 0; i < STATEMENT_COUNT; i++)
		texts[i] = expand(templates[i], schema, deadline);
	free(deadline);
}

const char *
statement_text(Statement statement)
{
	return texts[statement] != NULL ? texts[statement] : templates[statement];
}

void
statements_free(void)
{
	for (int i = 0; i < STATEMENT_COUNT; i++)
	{
		free(texts[i]);
		texts[i] = NULL;
	}
}

/* array_begin begins an array of one dimension; count elements have to follow. */
void
array_begin(Buffer *array, int element_type, int count)
{
	buffer_clear(array);
	buffer_add_int32(array, count > 0 ? 1 : 0);
	buffer_add_int32(array, 1); /* there may be nulls */
	buffer_add_int32(array, element_type);
	if (count > 0)
	{
		buffer_add_int32(array, count);
		buffer_add_int32(array, 1);
	}
}

void
array_add_null(Buffer *array)
{
	buffer_add_int32(array, -1);
}

void
array_add_int64(Buffer *array, int64_t value)
{
	buffer_add_int32(array, 8);
	buffer_add_int64(array, value);
}

void
array_add_double(Buffer *array, double value)
{
	int64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	array_add_int64(array, bits);
}

void
array_add_bool(Buffer *array, bool value)
{
	buffer_add_int32(array, 1);
	buffer_add(array, value ? "\1" : "\0", 1);
}

/* array_add_text adds a text; null is null. */
void
array_add_text(Buffer *array, const char *text, size_t len)
{
	if (text == NULL)
	{
		array_add_null(array);
		return;
	}
	buffer_add_int32(array, (int32_t) len);
	buffer_add(array, text, len);
}

/* array_add_jsonb adds JSON, as the text that it is; null is null. */
void
array_add_jsonb(Buffer *array, const char *json, size_t len)
{
	if (json == NULL)
	{
		array_add_null(array);
		return;
	}
	buffer_add_int32(array, (int32_t) len + 1);
	buffer_add(array, "\1", 1); /* the version of the form */
	buffer_add(array, json, len);
}
