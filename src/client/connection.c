/*-------------------------------------------------------------------------
 *
 * connection.c
 *	  A connection to the server that never blocks, and that is opened again when it
 *	  is lost.
 *
 * The states are: waiting for the next attempt (pg is null, the timer is set),
 * connecting (pg, not is_up, the timer ends the attempt), and up. The owner is told
 * when it is up, when there is something to read, and when it is down. It may call
 * connection_lost in any of its callbacks; that calls down.
 *
 * The pause before an attempt grows from BACKOFF_FIRST to BACKOFF_LAST. Half of it is
 * random, so that the clients of a server that was restarted do not come back as one.
 *
 * The SQLSTATE of a refused connection is read from its text (refusal.c), which is
 * verbose as soon as the attempt has begun.
 *
 * One thing blocks: libpq looks up the names of servers with getaddrinfo(). Where the
 * name service hangs, addresses (hostaddr) keep the program going.
 *
 *-------------------------------------------------------------------------
 */
#include "client/connection.h"
#include "client/log.h"
#include "client/memory.h"
#include "client/refusal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BACKOFF_FIRST (200 * LOOP_MS)
#define BACKOFF_LAST  (15 * LOOP_SEC)

static void attempt_due(LoopTimer *timer);
static void connection_ready(LoopFd *fd, int events);

/* backoff returns the pause before the next attempt. */
static int64_t
backoff(int failures)
{
	int64_t pause = BACKOFF_LAST;

	if (failures < 10 && (BACKOFF_FIRST << failures) < BACKOFF_LAST)
		pause = BACKOFF_FIRST << failures;
	return pause / 2 + (int64_t) (drand48() * (double) (pause / 2));
}

/* drop closes the socket and plans the next attempt. */
static void
drop(Connection *connection)
{
	loop_forget(&connection->fd);
	PQfinish(connection->pg);
	connection->pg = NULL;
	connection->is_up = false;
	loop_set(&connection->timer, loop_now() + backoff(connection->failures), attempt_due,
			 connection);
	connection->failures++;
}

/* attempt_failed tells the owner, and tries again later unless the owner has ended the program. */
static void
attempt_failed(Connection *connection, const char *why)
{
	char *message = mem_copy(why != NULL ? why : PQerrorMessage(connection->pg));
	ConnectionFailure failure = {.message = message,
								 .wants_password = PQconnectionNeedsPassword(connection->pg),
								 .first = !connection->was_up};

	refusal_read(message, failure.sqlstate);
	drop(connection);
	connection->failed(connection, &failure);
	free(message);
}

static void
attempt_timed_out(LoopTimer *timer)
{
	Connection *connection = timer->owner;

	target_rotate(connection->target);
	attempt_failed(connection, "the connection attempt timed out");
}

/* poll_attempt goes on with an attempt. The socket may be another one after each step. */
static void
poll_attempt(Connection *connection)
{
	PostgresPollingStatusType status = PQconnectPoll(connection->pg);

	loop_forget(&connection->fd);
	switch (status)
	{
		case PGRES_POLLING_OK:
			loop_unset(&connection->timer);
			connection->is_up = connection->was_up = true;
			PQsetnonblocking(connection->pg, 1);
			PQsetErrorVerbosity(connection->pg, PQERRORS_DEFAULT);
			loop_watch(&connection->fd, PQsocket(connection->pg), POLLIN, connection_ready,
					   connection);
			connection->up(connection);
			break;
		case PGRES_POLLING_FAILED:
			attempt_failed(connection, NULL);
			break;
		default:
			loop_watch(&connection->fd, PQsocket(connection->pg),
					   status == PGRES_POLLING_READING ? POLLIN : POLLOUT, connection_ready,
					   connection);
			break;
	}
}

static void
attempt_due(LoopTimer *timer)
{
	Connection *connection = timer->owner;
	Target *target = connection->target;

	connection->pg =
		PQconnectStartParams(target->names, (const char *const *) target->values, 0);
	if (connection->pg == NULL || PQstatus(connection->pg) == CONNECTION_BAD)
	{
		attempt_failed(connection, connection->pg == NULL ? "out of memory" : NULL);
		return;
	}
	PQsetErrorVerbosity(connection->pg, PQERRORS_VERBOSE);
	loop_set(&connection->timer, loop_now() + connection->attempt_timeout, attempt_timed_out,
			 connection);
	loop_watch(&connection->fd, PQsocket(connection->pg), POLLOUT, connection_ready,
			   connection);
}

static void
connection_ready(LoopFd *fd, int events)
{
	Connection *connection = fd->owner;

	if (!connection->is_up)
	{
		poll_attempt(connection);
		return;
	}
	if (events & POLLOUT)
	{
		connection_flush(connection);
		if (!connection->is_up)
			return;
	}
	if (events & (POLLIN | POLLHUP | POLLERR))
	{
		if (!PQconsumeInput(connection->pg))
			connection_lost(connection, NULL);
		else
			connection->readable(connection);
	}
}

/* connection_flush sends what libpq has gathered; the rest when the socket takes it. */
void
connection_flush(Connection *connection)
{
	int left = PQflush(connection->pg);

	if (left < 0)
		connection_lost(connection, NULL);
	else
		loop_want(&connection->fd, left > 0 ? POLLIN | POLLOUT : POLLIN);
}

/* connection_open begins the first attempt at once. */
void
connection_open(Connection *connection)
{
	loop_set(&connection->timer, loop_now(), attempt_due, connection);
}

/* connection_lost closes a connection that is up, and opens it again. why: null for what libpq says. */
void
connection_lost(Connection *connection, const char *why)
{
	char *message = mem_copy(why != NULL ? why : PQerrorMessage(connection->pg));

	message[strcspn(message, "\n")] = '\0';
	log_warning("lost the connection (%s): %s", connection->purpose, message);
	free(message);
	connection->failures = 0;
	drop(connection);
	connection->down(connection);
}

/* connection_close closes a connection for good. The owner is not told. */
void
connection_close(Connection *connection)
{
	loop_forget(&connection->fd);
	loop_unset(&connection->timer);
	if (connection->pg != NULL)
		PQfinish(connection->pg);
	connection->pg = NULL;
	connection->is_up = false;
}
