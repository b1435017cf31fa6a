/*-------------------------------------------------------------------------
 *
 * database.h
 *	  Statements that wait for a connection: see database.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_DATABASE_H
#define BGJOB_DASHBOARD_DATABASE_H

#include "dashboard/login.h"
#include "dashboard/statement.h"

#include <libpq-fe.h>
#include <stdbool.h>

#define DATABASE_MOST_FOR_LOGIN 20 /* connections that are shared */

typedef struct Database Database;
typedef struct Work Work;

/* What became of a statement. What it points to is there during the call alone. */
typedef struct Outcome
{
	int status;      /* of HTTP; 200: it succeeded */
	int retry_after; /* seconds; 0: none */
	const char *sqlstate;
	const char *message;
	const char *detail;
	const char *hint;
	const char *said;       /* by the server or libpq, for the log; null: nothing more */
	const PGresult *result; /* null without one */
	const char *value;      /* the first column of the first row; null: none, or NULL */
	size_t value_len;
	const char *sql; /* as it was executed, with literals; null unless asked for */
	double ms;
	bool refused; /* the server takes the password no more */
	bool unasked; /* it did not ask for one */
} Outcome;

/* What is to be done. */
typedef struct WorkOrder
{
	const Statement *statement;
	char **values; /* one for each parameter; taken over */
	bool read_only;
	bool no_extension; /* also in a database without the extension */
	bool show_sql;
	bool preview; /* show the SQL, and do nothing */
	void (*done)(void *owner, const Outcome *outcome);
	void *owner;
} WorkOrder;

extern Database *database_get(Login *login, const char *name);
extern Database *database_get_live(Login *login, const char *name);
extern Database *database_open_own(Login *login, const char *name);
extern void database_close(Database *database);
extern void database_close_all(Login *login);
extern Work *database_run(Database *database, const WorkOrder *order);
extern void work_forget(Work *work);
extern WorkOrder database_order_list(void);
extern bool database_is_allowed(const char *name);
extern void database_end(void);

#endif
