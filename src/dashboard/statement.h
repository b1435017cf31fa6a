/*-------------------------------------------------------------------------
 *
 * statement.h
 *	  The statements of the dashboard: see statement.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_STATEMENT_H
#define BGJOB_DASHBOARD_STATEMENT_H

#include "client/buffer.h"

#include <libpq-fe.h>
#include <stdbool.h>

typedef struct Parameter
{
	const char *name;
	const char *type;
	const char *fallback; /* value where none is given; null: NULL */
	const char *choices;  /* the values that it may have, as "a|b"; null: any */
	bool optional;        /* an argument that need not be shown where it is null */
} Parameter;

/* Made by statements.awk, which says what the text has in the places of parameters. */
typedef struct Statement
{
	const char *name;
	const char *text;
	int count;
	const Parameter *parameters;
} Statement;

typedef struct StatementTable
{
	const char *folder;
	const Statement *statements;
	int count;
} StatementTable;

/* The last one has no folder. */
extern const StatementTable statement_tables[];

#define STATEMENT_PAGE     "sql"
#define STATEMENT_ACTION   "actions"
#define STATEMENT_INTERNAL "internal"

extern const Statement *statement_find(const char *folder, const char *name);
extern char *statement_sql(const Statement *statement, const char *schema);
extern char *statement_with_literals(const Statement *statement, const char *schema, PGconn *pg,
									 char *const *values);
extern bool parameter_is_array(const Parameter *parameter);

#endif
