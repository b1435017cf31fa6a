/*-------------------------------------------------------------------------
 *
 * backend.c
 *	  One connection to the server: opened, set up, one statement at a time.
 *
 * Nothing here waits. The states:
 *
 *	  CLOSED ─► CONNECTING ─► SETTING_UP ─► IDLE ─► RUNNING ─► IDLE
 *	                                                  └─► ROLLING_BACK ─► IDLE
 *
 * and from each of them to CLOSED, when the connection is lost or is late; then the
 * owner is told (down). It opens the connection again when it wants to.
 *
 * A role's connection counts only if the server asked for the password: under trust or
 * peer anybody could be anybody. The rest of the security is the server's, and it
 * depends on names: search_path is pg_catalog alone before anything is looked up.
 * statement_timeout bounds every statement; a server that answers nothing at all for
 * longer than that is given up.
 *
 * One thing blocks: libpq looks up the names of servers with getaddrinfo(). Where the
 * name service hangs, addresses (hostaddr) keep the program going.
 *
 * Everything is sent as a pipeline: one round trip for the settings, one for a
 * statement with BEGIN READ ONLY and COMMIT around it. A statement that is not read
 * only is a transaction by itself. One that failed leaves a transaction block, which is
 * rolled back.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/backend.h"
#include "client/log.h"
#include "client/memory.h"
#include "client/refusal.h"
#include "dashboard/config.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CONNECT_TIME (10 * LOOP_SEC)
#define SETTING_TIME (10 * LOOP_SEC)
#define GRACE_TIME   (5 * LOOP_SEC) /* beyond statement_timeout */

static const char *const settings[] = {
	"SET search_path = pg_catalog, pg_temp",
	("SET statement_timeout = " BACKEND_STATEMENT_TIMEOUT),
	"SET idle_in_transaction_session_timeout = '30s'",
	"SET client_min_messages = error",
	"SET TimeZone = 'UTC'",
	"SET DateStyle = 'ISO, MDY'",
	"SET IntervalStyle = 'postgres'",
	"SET extra_float_digits = 1",
	"SET jit = off"}; /* what it would gain is far below what it costs with statements this short */
static const char read_only_setting[] = "SET default_transaction_read_only = on";
static const char hide_setting[] = "SET bgjob_dashboard.hide_arguments = 'on'";

static const char find_extension[] =
	"SELECT quote_ident(n.nspname) FROM pg_catalog.pg_extension AS e "
	"JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'bgjob'";

static void backend_ready(LoopFd *fd, int events);

/* read_clock returns milliseconds of the steady clock; loop_now() would be that of the turn's beginning. */
static double
read_clock(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double) time.tv_sec * 1e3 + (double) time.tv_nsec / 1e6;
}

/* backend_close closes a connection. The owner is not told. */
void
backend_close(Backend *backend)
{
	loop_forget(&backend->fd);
	loop_unset(&backend->timer);
	PQclear(backend->result);
	backend->result = NULL;
	if (backend->pg != NULL)
		PQfinish(backend->pg);
	backend->pg = NULL;
	free(backend->schema);
	backend->schema = NULL;
	backend->state = BACKEND_CLOSED;
}

/* fail closes a connection and tells the owner why. message null: what libpq says. */
static void
fail(Backend *backend, const char *message, bool unasked, bool late)
{
	char *copy = mem_copy(message != NULL ? message : PQerrorMessage(backend->pg));
	BackendFailure failure = {.message = copy, .unasked = unasked, .late = late};

	refusal_read(copy, failure.sqlstate);
	log_debug("connection of \"%s\" to \"%s\": %s", PQuser(backend->pg), backend->database,
			  copy);
	backend_close(backend);
	backend->down(backend, &failure);
	free(copy);
}

static void
backend_late(LoopTimer *timer)
{
	Backend *backend = timer->owner;
	bool connecting = backend->state == BACKEND_CONNECTING;

	/* The next attempt begins with the next server of a list. */
	if (connecting)
		target_rotate(&config.target);
	fail(backend,
		 connecting ? "the connection attempt timed out" : "the server does not answer", false,
		 true);
}

/* set_time sets the time after which the connection is given up. */
static void
set_time(Backend *backend, int64_t time)
{
	loop_set(&backend->timer, loop_now() + time, backend_late, backend);
}

/* flush sends what libpq has gathered; the rest when the socket takes it. */
static void
flush(Backend *backend)
{
	int left = PQflush(backend->pg);

	/* A failure is noticed when it is read. */
	loop_want(&backend->fd, left > 0 ? POLLIN | POLLOUT : POLLIN);
}

static void
send(Backend *backend, const char *sql)
{
	PQsendQueryParams(backend->pg, sql, 0, NULL, NULL, NULL, NULL, 0);
}

/* set_up begins with the settings, and with the question where the extension is. */
static void
set_up(Backend *backend)
{
	PQsetnonblocking(backend->pg, 1);
	PQsetErrorVerbosity(backend->pg, PQERRORS_DEFAULT);
	PQenterPipelineMode(backend->pg);
	for (int i = 0; i < (int) (sizeof(settings) / sizeof(settings[0])); i++)
		send(backend, settings[i]);
	if (config.read_only)
		send(backend, read_only_setting);
	if (config.hide_arguments)
		send(backend, hide_setting);
	send(backend, find_extension);
	PQpipelineSync(backend->pg);
	backend->state = BACKEND_SETTING_UP;
	set_time(backend, SETTING_TIME);
	flush(backend);
}

static void
connected(Backend *backend)
{
	const char *encoding = PQparameterStatus(backend->pg, "server_encoding");

	if (!login_is_own(backend->login) && !PQconnectionUsedPassword(backend->pg))
	{
		fail(backend, "the server did not ask for the password", true, false);
		return;
	}
	backend->bytes = encoding != NULL && strcmp(encoding, "SQL_ASCII") == 0;
	loop_watch(&backend->fd, PQsocket(backend->pg), POLLIN, backend_ready, backend);
	set_up(backend);
}

/* poll_attempt goes on with an attempt to connect. The socket may be another one after each step. */
static void
poll_attempt(Backend *backend)
{
	PostgresPollingStatusType status = PQconnectPoll(backend->pg);

	loop_forget(&backend->fd);
	if (status == PGRES_POLLING_OK)
		connected(backend);
	else if (status == PGRES_POLLING_FAILED)
		fail(backend, NULL, false, false);
	else
		loop_watch(&backend->fd, PQsocket(backend->pg),
				   status == PGRES_POLLING_READING ? POLLIN : POLLOUT, backend_ready, backend);
}

/* ignore_notice drops what the server says beside; the settings ask for none. */
static void
ignore_notice(void *arg, const PGresult *result)
{
}

static int64_t
connect_time(void)
{
	const char *seconds = target_get(&config.target, "connect_timeout");
	int given = seconds != NULL ? atoi(seconds) : 0;

	return given > 0 ? given * LOOP_SEC : CONNECT_TIME;
}

static void
open_due(LoopTimer *timer)
{
	Backend *backend = timer->owner;
	LoginParameters parameters;

	login_parameters(backend->login, backend->database, &parameters);
	backend->pg = PQconnectStartParams(parameters.names, parameters.values, 0);
	explicit_bzero(&parameters, sizeof(parameters));
	if (backend->pg == NULL || PQstatus(backend->pg) == CONNECTION_BAD)
	{
		fail(backend, backend->pg == NULL ? "out of memory" : NULL, false, false);
		return;
	}
	PQsetErrorVerbosity(backend->pg, PQERRORS_VERBOSE);
	PQsetNoticeReceiver(backend->pg, ignore_notice, NULL);
	set_time(backend, connect_time());
	loop_watch(&backend->fd, PQsocket(backend->pg), POLLOUT, backend_ready, backend);
}

/* backend_open begins to connect, in this turn of the loop or the next; so the owner is never told before this returns. */
void
backend_open(Backend *backend)
{
	backend->state = BACKEND_CONNECTING;
	loop_set(&backend->timer, loop_now(), open_due, backend);
}

/* backend_run sends a statement; the connection is idle. */
void
backend_run(Backend *backend, const char *sql, int count, char *const *values, bool read_only)
{
	if (read_only)
		send(backend, "BEGIN READ ONLY");
	PQsendQueryParams(backend->pg, sql, count, NULL, (const char *const *) values, NULL, NULL,
					  0);
	if (read_only)
		send(backend, "COMMIT");
	PQpipelineSync(backend->pg);
	backend->ms = read_clock();
	backend->state = BACKEND_RUNNING;
	set_time(backend, atoi(BACKEND_STATEMENT_TIMEOUT) * LOOP_MS + GRACE_TIME);
	flush(backend);
}

static void
become_idle(Backend *backend)
{
	loop_unset(&backend->timer);
	backend->state = BACKEND_IDLE;
}

/* synced goes on when everything that was sent has been answered. */
static void
synced(Backend *backend)
{
	PGresult *result = backend->result;

	backend->result = NULL;
	switch (backend->state)
	{
		case BACKEND_SETTING_UP:
			if (PQresultStatus(result) != PGRES_TUPLES_OK)
			{
				fail(backend, result != NULL ? PQresultErrorMessage(result) : NULL, false,
					 false);
				break;
			}
			if (PQntuples(result) == 1)
				backend->schema = mem_copy(PQgetvalue(result, 0, 0));
			become_idle(backend);
			backend->up(backend);
			break;
		case BACKEND_RUNNING:
			backend->ms = read_clock() - backend->ms;
			if (PQtransactionStatus(backend->pg) != PQTRANS_IDLE)
			{
				/* The next one has to wait for that; the owner is told afterwards. */
				backend->result = result;
				send(backend, "ROLLBACK");
				PQpipelineSync(backend->pg);
				backend->state = BACKEND_ROLLING_BACK;
				flush(backend);
				return;
			}
			become_idle(backend);
			backend->done(backend, result);
			break;
		case BACKEND_ROLLING_BACK:
			become_idle(backend);
			backend->done(backend, result);
			break;
		default:
			break;
	}
	PQclear(result);
}

/*
 * keep keeps the result that counts: the first error, else the rows. That of a
 * statement which was skipped after an error counts nothing.
 */
static void
keep(Backend *backend, PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);
	ExecStatusType kept = PQresultStatus(backend->result);

	if (backend->state == BACKEND_ROLLING_BACK || status == PGRES_PIPELINE_ABORTED ||
		(backend->result != NULL && (kept == PGRES_FATAL_ERROR || status == PGRES_COMMAND_OK)))
	{
		PQclear(result);
		return;
	}
	PQclear(backend->result);
	backend->result = result;
}

/* read_results takes what has arrived. The owner may close the connection when it is told of it. */
static void
read_results(Backend *backend)
{
	int nulls = 0;

	/* A null ends the results of one statement; two in a row are the end of all. */
	while (backend->pg != NULL && nulls < 2 && !PQisBusy(backend->pg))
	{
		PGresult *result = PQgetResult(backend->pg);

		nulls = result == NULL ? nulls + 1 : 0;
		if (result == NULL)
			continue;
		if (PQresultStatus(result) == PGRES_PIPELINE_SYNC)
		{
			PQclear(result);
			synced(backend);
		}
		else
			keep(backend, result);
	}
}

static void
backend_ready(LoopFd *fd, int events)
{
	Backend *backend = fd->owner;

	if (backend->state == BACKEND_CONNECTING)
	{
		poll_attempt(backend);
		return;
	}
	if (events & POLLOUT)
		flush(backend);
	if ((events & (POLLIN | POLLHUP | POLLERR)) == 0)
		return;
	if (!PQconsumeInput(backend->pg))
	{
		fail(backend, NULL, false, false);
		return;
	}
	read_results(backend);
	if (backend->pg != NULL && PQstatus(backend->pg) == CONNECTION_BAD)
		fail(backend, NULL, false, false);
}
