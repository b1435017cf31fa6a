/*-------------------------------------------------------------------------
 *
 * backend.h
 *	  One connection to the server: see backend.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_DASHBOARD_BACKEND_H
#define BGJOB_DASHBOARD_BACKEND_H

#include "client/loop.h"
#include "dashboard/login.h"

#include <libpq-fe.h>
#include <stdbool.h>

/* statement_timeout, in milliseconds. */
#define BACKEND_STATEMENT_TIMEOUT "5000"

typedef enum BackendState
{
	BACKEND_CLOSED,
	BACKEND_CONNECTING,
	BACKEND_SETTING_UP,
	BACKEND_IDLE,
	BACKEND_RUNNING,
	BACKEND_ROLLING_BACK
} BackendState;

/* Why there is no connection. */
typedef struct BackendFailure
{
	char sqlstate[6]; /* "" where the server said nothing */
	const char *message;
	bool unasked; /* the server did not ask for the password */
	bool late;    /* it did not answer in time */
} BackendFailure;

typedef struct Backend Backend;

/* Zeros, but for the first members, which the owner sets. */
struct Backend
{
	Login *login;
	const char *database;
	void (*up)(Backend *backend);
	void (*done)(Backend *backend, const PGresult *result);
	void (*down)(Backend *backend, const BackendFailure *failure);
	void *owner;

	PGconn *pg;
	BackendState state;
	LoopFd fd;
	LoopTimer timer; /* until then it has to be connected, or to have answered */
	char *
		schema; /* of the extension's functions, quoted where it has to be; null: it is not there */
	bool bytes;       /* the database has no encoding (SQL_ASCII) */
	PGresult *result; /* of the statement that runs */
	double ms;        /* what the last statement took; while one runs, when it was sent */
};

extern void backend_open(Backend *backend);
extern void
backend_run(Backend *backend, const char *sql, int count, char *const *values, bool read_only);
extern void backend_close(Backend *backend);

#endif
