/*-------------------------------------------------------------------------
 *
 * failure.c
 *	  What an error of the server means for this program, by its SQLSTATE; and whether
 *	  the extension is one that it can work with.
 *
 * An error is of one of these kinds:
 *	  - the session cannot be used any more: a server that has become a standby, an
 *		extension that was created anew. The connection is opened again.
 *	  - it passes: a conflict, a shortage, a canceled statement. The statement is
 *		repeated after a pause.
 *	  - it stays: the statement would fail again, and is not repeated.
 * At the start, errors that stay end the program with an exit code of sysexits.h.
 *
 *-------------------------------------------------------------------------
 */
#include "worker/failure.h"
#include "client/log.h"
#include "worker/config.h"
#include "worker/statements.h"
#include "worker/worker.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

/* failure_ends_session returns whether an error shows that this is not the server, or the extension, that it was. */
bool
failure_ends_session(const char *sqlstate)
{
	static const char *const states[] = {"25006", "26000", "42883", "3F000", "42P01",
										 "0A000", "08P01", "57P01", "57P02", "57P03"};

	for (int i = 0; i < (int) (sizeof(states) / sizeof(states[0])); i++)
		if (strcmp(sqlstate, states[i]) == 0)
			return true;
	return false;
}

/* failure_passes returns whether a statement that failed so may succeed when it is repeated. */
bool
failure_passes(const char *sqlstate)
{
	static const char *const classes[] = {"40", "53", "55", "57", "58"};

	for (int i = 0; i < (int) (sizeof(classes) / sizeof(classes[0])); i++)
		if (strncmp(sqlstate, classes[i], 2) == 0)
			return true;
	return false;
}

/* failure_exit_code returns the exit code for a first attempt to connect that would fail again; EX_OK: try again. */
int
failure_exit_code(const ConnectionFailure *failure)
{
	if (failure->wants_password || strncmp(failure->sqlstate, "28", 2) == 0 ||
		strcmp(failure->sqlstate, "42501") == 0)
		return EX_NOPERM;
	if (strcmp(failure->sqlstate, "3D000") == 0)
		return EX_CONFIG;
	if (config.once || config.drain)
		return EX_UNAVAILABLE;
	return EX_OK;
}

/* identity_told takes the row that describes the extension. */
void
identity_told(const PGresult *result, const char *database)
{
	if (PQntuples(result) == 0)
	{
		log_error("extension \"bgjob\" is not installed in database \"%s\"", database);
		log_hint("Use CREATE EXTENSION bgjob.");
		worker_fail(EX_PROTOCOL);
		return;
	}
	if (atoi(PQgetvalue(result, 0, 1)) < 2)
	{
		log_error("extension \"bgjob\" %s in database \"%s\" is too old for this program",
				  PQgetvalue(result, 0, 5), database);
		log_hint("Use ALTER EXTENSION bgjob UPDATE.");
		worker_fail(EX_PROTOCOL);
		return;
	}
	statements_set_schema(PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 2)[0] == 't');
}

/* identity_protocol_told compares the protocol of the extension with this program's. */
void
identity_protocol_told(const PGresult *result)
{
	int protocol = PQntuples(result) == 1 ? atoi(PQgetvalue(result, 0, 0)) : 0;

	if (protocol == STATEMENTS_PROTOCOL)
		return;
	log_error("the extension speaks protocol %d, this program %d", protocol,
			  STATEMENTS_PROTOCOL);
	log_hint("Install the program of the same version as the extension.");
	worker_fail(EX_PROTOCOL);
}
