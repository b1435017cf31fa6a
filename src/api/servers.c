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
 * Runs in the calling session.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/arguments.h"
#include "api/enqueue.h"
#include "api/rights.h"
#include "base/registry.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "store/serverconf.h"
#include "utils/array.h"
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

/* Raises 22023 for the queues of a server. */
static void
refuse_queues(const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("invalid queues of a server: %s", what),
					errdetail("It takes 1 to %d queues, in the order of the array.",
							  BGJOB_SERVER_QUEUES),
					errhint("Name each queue once; '*' stands for all that are not named.")));
}

/* Adds a queue to the list of a server. Raises 22023. */
static void
add_queue(char *list, const char *queue)
{
	size_t used = strlen(list);

	if (strcmp(queue, "*") != 0)
		bgjob_check_queue_name(queue);
	if (list[0] != '\0' && bgjob_queue_names(list, queue))
		refuse_queues(psprintf("\"%s\" is there twice", queue));
	snprintf(list + used, BGJOB_SERVER_LIST_SIZE - used, "%s%s", used > 0 ? "," : "", queue);
}

/* Makes a list of the queues of a server. Raises 22023. */
static void
read_queues(ArrayType *array, char *list)
{
	Datum *names;
	bool *nulls;
	int n;

	if (ARR_NDIM(array) > 1)
		refuse_queues("the array has more than one dimension");
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls, &n);
	if (n == 0)
		refuse_queues("the array is empty");
	if (n > BGJOB_SERVER_QUEUES)
		refuse_queues(psprintf("the array has %d elements", n));
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			refuse_queues("the array has a null");
		add_queue(list, TextDatumGetCString(names[i]));
	}
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

	if (PG_ARGISNULL(1))
		refuse_queues("the array is null");
	read_queues(PG_GETARG_ARRAYTYPE_P(1), conf.queues);
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

PG_FUNCTION_INFO_V1(bgjob_server_pause);

/* bgjob_server_pause(name) pauses a server: running jobs end, no other starts. Returns false if it was paused already, or does not exist. */
Datum
bgjob_server_pause(PG_FUNCTION_ARGS)
{
	char *name = server_to_change(fcinfo, "bgjob_server_pause()");

	if (strcmp(name, BGJOB_DEFAULT_SERVER) == 0)
		check_room(name);
	PG_RETURN_BOOL(bgjob_serverconf_set_paused(name, true));
}

PG_FUNCTION_INFO_V1(bgjob_server_resume);

/* bgjob_server_resume(name) resumes a server. Returns false if it was not paused, or does not exist. */
Datum
bgjob_server_resume(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(
		bgjob_serverconf_set_paused(server_to_change(fcinfo, "bgjob_server_resume()"), false));
}

PG_FUNCTION_INFO_V1(bgjob_server_remove);

/* bgjob_server_remove(name) removes a server; "default" follows the settings again. Returns false if there was no configuration. */
Datum
bgjob_server_remove(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(bgjob_serverconf_remove(server_to_change(fcinfo, "bgjob_server_remove()")));
}
