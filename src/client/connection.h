/*-------------------------------------------------------------------------
 *
 * connection.h
 *	  A connection that comes back by itself: see connection.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_CLIENT_CONNECTION_H
#define BGJOB_CLIENT_CONNECTION_H

#include "client/loop.h"
#include "client/target.h"

#include <libpq-fe.h>

typedef struct Connection Connection;

/* What an attempt to connect came to. */
typedef struct ConnectionFailure
{
	char sqlstate[6]; /* "" where the server said nothing */
	const char *message;
	bool wants_password;
	bool first; /* there has been no connection so far */
} ConnectionFailure;

/* Zeros, but for the first members, which the owner sets. */
struct Connection
{
	const char *purpose; /* for the log */
	Target *target;
	int64_t attempt_timeout;
	void (*up)(Connection *connection);
	void (*readable)(Connection *connection); /* called with input consumed */
	void (*down)(Connection *connection);
	void (*failed)(Connection *connection, const ConnectionFailure *failure);
	void *owner;

	PGconn *pg; /* null between attempts */
	bool is_up;
	bool was_up;
	int failures; /* in a row */
	LoopFd fd;
	LoopTimer timer; /* end of the attempt, or the next attempt */
};

extern void connection_open(Connection *connection);
extern void connection_lost(Connection *connection, const char *why);
extern void connection_close(Connection *connection);
extern void connection_flush(Connection *connection);

#endif
