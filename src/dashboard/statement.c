/*-------------------------------------------------------------------------
 *
 * statement.c
 *	  The statements that the dashboard executes, which are in the program.
 *
 * All SQL on jobs is in files: sql (a page each, read only), actions (what a user can
 * do) and internal (what the program itself asks). statements.awk writes them into C
 * when the program is built. No statement is composed of what a request has; that
 * comes as parameters alone.
 *
 * The text has marks: the byte 1, where the name of the extension's schema belongs,
 * which differs between databases; for a parameter the byte 2 and a character, 'A' for
 * the first one, which is always cast to its declared type; and the bytes 3 and 4, FROM
 * and CROSS JOIN with what restores the role's own settings.
 *
 * That has to happen within the statement. The program's search_path is safe, and the
 * role's is not: the owner of a database can set it for all that connect to it, so that names and
 * operators of the statement would mean something else. They are looked up when it is
 * parsed, the settings are restored when it is executed, and its transaction, which it
 * has for itself, ends that.
 *
 * For "copy as SQL" the parameters are written as literals instead, and optional
 * arguments that are null are left out. That text is for reading; what is executed has
 * parameters.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/statement.h"
#include "client/memory.h"

#include <string.h>

#define MARK_SCHEMA    '\001'
#define MARK_PARAMETER '\002'
#define MARK_FROM      '\003'

/* Restores the settings that bgjob captures, and looks names up by. The count is never used, but volatile, so it is computed. */
static const char role_settings[] =
	" (SELECT count(set_config(s.name, s.reset_val, true)) FROM pg_catalog.pg_settings AS s "
	"WHERE s.name IN ('search_path', 'TimeZone', 'DateStyle', 'IntervalStyle')) AS "
	"role_settings";

/* statement_find returns the statement of a file, without its suffix; null if there is none. */
const Statement *
statement_find(const char *folder, const char *name)
{
	for (const StatementTable *table = statement_tables; table->folder != NULL; table++)
	{
		if (strcmp(table->folder, folder) != 0)
			continue;
		for (int i = 0; i < table->count; i++)
			if (strcmp(table->statements[i].name, name) == 0)
				return &table->statements[i];
	}
	return NULL;
}

bool
parameter_is_array(const Parameter *parameter)
{
	return strchr(parameter->type, '[') != NULL;
}

/* is_plain_number returns whether a value needs no quotes as a literal of its type. */
static bool
is_plain_number(const Parameter *parameter, const char *value)
{
	return (strcmp(parameter->type, "bigint") == 0 || strcmp(parameter->type, "int") == 0) &&
		   *value != '\0' && strlen(value) <= 18 && value[strspn(value, "0123456789")] == '\0';
}

/* add_literal writes a value as a literal of the parameter's type. */
static void
add_literal(Buffer *sql, const Parameter *parameter, PGconn *pg, const char *value)
{
	if (value == NULL)
		buffer_add_text(sql, "NULL");
	else if (is_plain_number(parameter, value))
		buffer_add_text(sql, value);
	else
	{
		char *literal = PQescapeLiteral(pg, value, strlen(value));

		/* Null: the value is not in the encoding of the connection, and the server will say so. */
		buffer_add_text(sql, literal != NULL ? literal : "NULL");
		PQfreemem(literal);
	}
	buffer_print(sql, "::%s", parameter->type);
}

static void
add_parameter(Buffer *sql, const Statement *statement, int i, PGconn *pg, char *const *values)
{
	if (values != NULL)
		add_literal(sql, &statement->parameters[i], pg, values[i]);
	else
		buffer_print(sql, "$%d::%s", i + 1, statement->parameters[i].type);
}

/*
 * leave_out takes ", name => " back, which stands before an argument. False: there is no
 * comma, so it is the first one.
 */
static bool
leave_out(Buffer *sql)
{
	size_t len = sql->len;

	while (len > 0 && sql->data[len - 1] != ',')
		len--;
	if (len == 0)
		return false;
	sql->len = len - 1;
	return true;
}

/* write_out writes a statement; values: null for what is executed, else for reading. */
static char *
write_out(const Statement *statement, const char *schema, PGconn *pg, char *const *values)
{
	Buffer sql = {0};
	const char *at = statement->text;
	char *text;

	while (true)
	{
		char mark;
		size_t plain = strcspn(at, "\001\002\003\004");

		buffer_add(&sql, at, plain);
		at += plain;
		if (*at == '\0')
			break;
		mark = *at++;
		if (mark == MARK_SCHEMA)
			buffer_add_text(&sql, schema);
		else if (mark == MARK_PARAMETER)
		{
			int i = *at++ - 'A';

			if (values == NULL || values[i] != NULL || !statement->parameters[i].optional ||
				!leave_out(&sql))
				add_parameter(&sql, statement, i, pg, values);
		}
		else if (values == NULL)
		{
			buffer_add_text(&sql, mark == MARK_FROM ? "FROM" : "CROSS JOIN");
			buffer_add_text(&sql, role_settings);
		}
	}
	text = mem_copy_part(sql.data, sql.len);
	buffer_free(&sql);
	return text;
}

/* statement_sql returns what is executed, with $1 and so on. schema: quoted where it has to be. */
char *
statement_sql(const Statement *statement, const char *schema)
{
	return write_out(statement, schema, NULL, NULL);
}

/*
 * statement_with_literals returns the same for reading, with the values written in, and
 * without the clause that restores the settings: a session of psql has not changed them.
 */
char *
statement_with_literals(const Statement *statement, const char *schema, PGconn *pg,
						char *const *values)
{
	return write_out(statement, schema, pg, values);
}
