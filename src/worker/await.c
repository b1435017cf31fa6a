/*-------------------------------------------------------------------------
 *
 * await.c
 *	  Waiting for work, in a connection of its own.
 *
 * CALL bgjob_await() occupies its session until there may be work, so it has a
 * connection beside the one that answers and fetches. It is opened when it is needed
 * for the first time. The wait is asked for only while slots are free and the last
 * fetch found fewer jobs than it asked for; so the server wakes nobody who has no
 * hands. When the worker becomes quiet, the wait is canceled.
 *
 * Without that connection, or if the call fails, the worker looks for work every
 * POLL, half of it at random. A wait that returns at once again and again without
 * work for us (jobs that a limit holds back) is asked for more and more seldom.
 *
 *-------------------------------------------------------------------------
 */
#include "worker/await.h"
#include "client/connection.h"
#include "client/log.h"
#include "worker/config.h"
#include "worker/session.h"
#include "worker/statements.h"
#include "worker/worker.h"

#include <stdlib.h>
#include <string.h>

#define WAIT        "30 seconds"
#define WAIT_LIMIT  (45 * LOOP_SEC) /* a server that does not answer by then is gone */
#define POLL        (5 * LOOP_SEC)
#define QUICK       (50 * LOOP_MS) /* a wait that is over so soon did not wait */
#define PAUSE_FIRST (5 * LOOP_MS)
#define PAUSE_LAST  LOOP_SEC

static Connection connection;
static bool waiting = false;
static bool canceled = false;
static int64_t began;
static int in_vain = 0;       /* waits in a row that were over at once, and no job was there */
static LoopTimer limit_timer; /* of a wait */
static LoopTimer poll_timer;  /* until work is looked for without having been told */

static void
poll_due(LoopTimer *timer)
{
	session_expect_work();
}

/* poll_later has work looked for after some time. */
static void
poll_later(int64_t after)
{
	if (poll_timer.place == 0)
		loop_set(&poll_timer,
				 loop_now() + after / 2 + (int64_t) (drand48() * (double) (after / 2)),
				 poll_due, NULL);
}

static void
limit_due(LoopTimer *timer)
{
	connection_lost(&connection, "the server does not answer");
}

/* waited notes that a wait is over, and has the jobs fetched; later, if such waits brought nothing. */
static void
waited(void)
{
	int64_t pause = 0;

	waiting = false;
	loop_unset(&limit_timer);
	if (loop_now() - began >= QUICK)
		in_vain = 0;
	else if (in_vain++ > 0)
		pause = in_vain < 10 ? PAUSE_FIRST << in_vain : PAUSE_LAST;
	if (pause == 0)
		session_expect_work();
	else
		loop_set(&poll_timer, loop_now() + (pause < PAUSE_LAST ? pause : PAUSE_LAST), poll_due,
				 NULL);
}

/* await_worked notes that a fetch has found jobs. */
void
await_worked(void)
{
	in_vain = 0;
}

static void
await_readable(Connection *conn)
{
	while (conn->is_up && !PQisBusy(conn->pg))
	{
		PGresult *result = PQgetResult(conn->pg);
		ExecStatusType status;

		if (result == NULL)
			break;
		status = PQresultStatus(result);
		if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
			waited();
		else
		{
			if (!canceled)
				log_warning("could not wait for work: %s", PQresultErrorMessage(result));
			waiting = false;
			loop_unset(&limit_timer);
			poll_later(POLL);
		}
		PQclear(result);
		if (PQstatus(conn->pg) == CONNECTION_BAD)
			connection_lost(conn, NULL);
	}
}

static void
await_down(Connection *conn)
{
	loop_unset(&limit_timer);
	if (waiting)
		poll_later(POLL / 5);
	waiting = false;
}

static void
await_failed(Connection *conn, const ConnectionFailure *failure)
{
	log_warning("could not connect to wait for work: %s", failure->message);
	poll_later(POLL);
}

static void
await_up(Connection *conn)
{
	worker.changed = true;
}

static void
open_connection(void)
{
	connection.purpose = "waiting for work";
	connection.target = &config.target;
	connection.attempt_timeout = config.connect_timeout;
	connection.up = await_up;
	connection.readable = await_readable;
	connection.down = await_down;
	connection.failed = await_failed;
	connection_open(&connection);
}

/* ask sends the call. */
static void
ask(void)
{
	const char *values[2] = {config.queue_array, WAIT};

	if (!PQsendQueryParams(connection.pg, statement_text(STATEMENT_AWAIT), 2, NULL, values,
						   NULL, NULL, 0))
	{
		connection_lost(&connection, NULL);
		return;
	}
	waiting = true;
	canceled = false;
	began = loop_now();
	loop_set(&limit_timer, loop_now() + WAIT_LIMIT, limit_due, NULL);
	connection_flush(&connection);
}

/* await_turn begins a wait if there is something to wait for, and ends one if there is not. */
void
await_turn(void)
{
	bool useful = worker.mode == WORKER_RUNNING && !worker.paused && session_is_ready() &&
				  !config.once && !config.drain && worker_wanted() > 0;

	if (waiting && !canceled && (worker.mode != WORKER_RUNNING || worker.paused))
	{
		canceled = true;
		session_cancel(PQbackendPID(connection.pg));
	}
	if (!useful || waiting || !session_found_none() || poll_timer.place > 0)
		return;
	if (connection.owner == NULL)
	{
		connection.owner = &connection;
		open_connection();
	}
	else if (connection.is_up)
		ask();
	else
		poll_later(POLL);
}

void
await_close(void)
{
	connection_close(&connection);
}
