/*-------------------------------------------------------------------------
 *
 * servers.c
 *	  Configures servers: pools of workers with their own queues.
 *
 * Server "default" needs no configuration: it follows bgjob.queues and bgjob.workers,
 * unless bgjob_server() overrides them for this database. A change takes effect when it
 * commits: workers take by the new list from their next claim on, the scheduler starts
 * workers, and those that are too many, or whose server has gone, leave after their
 * jobs. Needs EXECUTE.
 *
 * External workers are paused, resumed and asked to leave by the same functions. They are known in shared memory alone
 * (base/externalworkers.c).
 *
 * Runs in the calling session.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/arguments.h"
#include "api/externalargs.h"
#include "api/queuelist.h"
#include "api/rights.h"
#include "base/externalnotes.h"
#include "base/registry.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "store/serverconf.h"
#include "utils/builtins.h"

/* Raises 22023 unless a name can be a server's: as for queues. */
static void
check_name(const char *name)
{
	size_t length = strlen(name);
	size_t allowed = strspn(name, BGJOB_QUEUE_CHARACTERS);

	if (length < 1 || length >= BGJOB_SERVER_NAME_SIZE || allowed != length)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid name of a server: \"%s\"", name),
				 allowed != length ? errdetail("It must not have the character \"%.*s\".",
											   pg_mblen(name + allowed), name + allowed)
								   : errdetail("It must have 1 to %d characters.",
											   BGJOB_SERVER_NAME_SIZE - 1),
				 errhint("Use lower-case letters, digits, \"_\" and \"-\".")));
}

/* Returns the name of the server. Raises 42501 or 25006 unless the caller may configure it, 22004 or 22023 for an invalid name. */
static char *
server_to_change(FunctionCallInfo fcinfo, const char *function)
{
	char *name;

	bgjob_check_granted(function);
	name = bgjob_arg_required_text(fcinfo, 0, "name", "It names the server to configure.");
	check_name(name);
	return name;
}

/* Raises 53400 if shared memory has no room for another server. */
static void
check_room(const char *name)
{
	if (bgjob_registry != NULL && bgjob_servers_full(MyDatabaseId, name))
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("too many servers have been configured"),
						errdetail("There is room for a fixed number of them, %d in a database.",
								  BGJOB_SERVERS_OF_DATABASE),
						errhint("Use bgjob_server_remove() to remove unused servers.")));
}

PG_FUNCTION_INFO_V1(bgjob_server);

/*
 * bgjob_server(name, queues, workers) adds a server, or replaces its configuration; one
 * that is paused stays so. Its workers take the queues in the order of the array, '*'
 * stands for all that it does not name. workers (1 to 1000) is how many it may have;
 * null: as bgjob.workers says. Errors: 22023 an invalid value; 22004 no name; 42501 no
 * EXECUTE; 53400 too many servers.
 */
Datum
bgjob_server(PG_FUNCTION_ARGS)
{
	char *name = server_to_change(fcinfo, "bgjob_server()");
	BgjobServerConf conf = {0};

	bgjob_arg_queues(fcinfo, 1, "server", conf.queues);
	if (!PG_ARGISNULL(2))
	{
		conf.workers = PG_GETARG_INT32(2);
		if (conf.workers < 1 || conf.workers > BGJOB_SERVER_WORKERS)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("workers %d is out of range", conf.workers),
							errdetail("It is how many workers the server may have."),
							errhint("Use a value from 1 to %d. bgjob_server_pause() has a "
									"server start no jobs.",
									BGJOB_SERVER_WORKERS)));
	}
	check_room(name);
	bgjob_serverconf_put(name, &conf);
	PG_RETURN_VOID();
}

/* ---- servers, and external workers ---- */

/* Returns a name that a server or an external worker may have. Raises 42501 or 25006 unless the caller may configure it, 22004 or 22023. */
static const char *
name_to_command(FunctionCallInfo fcinfo, const char *function)
{
	bgjob_check_granted(function);
	bgjob_arg_require(fcinfo, 0, "name", "It names the server to configure.");
	return bgjob_external_worker_name(fcinfo, 0);
}

/* Returns whether a name can be that of a server. */
static bool
is_server_name(const char *name)
{
	size_t length = strlen(name);

	return length < BGJOB_SERVER_NAME_SIZE && strspn(name, BGJOB_QUEUE_CHARACTERS) == length;
}

PG_FUNCTION_INFO_V1(bgjob_server_pause);

/*
 * bgjob_server_pause(name) pauses a server: running jobs end, no other starts. External workers of that name are asked to be quiet.
 * Returns false if it was paused already, or does not exist.
 */
Datum
bgjob_server_pause(PG_FUNCTION_ARGS)
{
	const char *name = name_to_command(fcinfo, "bgjob_server_pause()");
	bool paused;

	if (strcmp(name, BGJOB_DEFAULT_SERVER) == 0)
		check_room(name);
	paused = is_server_name(name) && bgjob_serverconf_set_paused(name, true);
	PG_RETURN_BOOL(bgjob_external_note(name, BGJOB_EXTERNAL_QUIET) || paused);
}

PG_FUNCTION_INFO_V1(bgjob_server_resume);

/* bgjob_server_resume(name) resumes a server, or external workers that were asked to be quiet. Returns false if it was not paused, or does not exist. */
Datum
bgjob_server_resume(PG_FUNCTION_ARGS)
{
	const char *name = name_to_command(fcinfo, "bgjob_server_resume()");
	bool resumed = is_server_name(name) && bgjob_serverconf_set_paused(name, false);

	PG_RETURN_BOOL(bgjob_external_note(name, BGJOB_EXTERNAL_GO_ON) || resumed);
}

PG_FUNCTION_INFO_V1(bgjob_server_remove);

/*
 * bgjob_server_remove(name) removes a server; "default" follows the settings again. External workers of that name are asked to
 * leave. Returns false if there was no configuration, and no such worker.
 */
Datum
bgjob_server_remove(PG_FUNCTION_ARGS)
{
	const char *name = name_to_command(fcinfo, "bgjob_server_remove()");
	bool removed = is_server_name(name) && bgjob_serverconf_remove(name);

	PG_RETURN_BOOL(bgjob_external_note(name, BGJOB_EXTERNAL_TERMINATE) || removed);
}
