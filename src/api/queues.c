/*-------------------------------------------------------------------------
 *
 * queues.c
 *	  Configures queues: their running and waiting jobs, groups, pausing, retention.
 *
 * A queue needs no configuration: enqueueing a job with a new name creates the
 * queue. A configuration takes effect with the first claim after commit. Needs
 * EXECUTE.
 *
 * Runs in the calling session.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/arguments.h"
#include "api/enqueue.h"
#include "api/rights.h"
#include "base/queues.h"
#include "base/registry.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "store/queueconf.h"
#include "utils/timestamp.h"

/* Returns the name of the queue. Raises 42501 or 25006 unless the caller may configure it, 22004 or 22023 for an invalid name. */
static char *
queue_to_change(FunctionCallInfo fcinfo, const char *function)
{
	char *name;

	bgjob_check_granted(function);
	name = bgjob_arg_required_text(fcinfo, 0, "name", "It names the queue to configure.");
	bgjob_check_queue_name(name);
	return name;
}

/* Raises 53400 if shared memory has no room for another queue. */
static void
check_room(const char *queue)
{
	if (bgjob_registry != NULL && bgjob_queues_get(MyDatabaseId, queue).version == 0 &&
		bgjob_queues_full())
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many queues have been configured"),
				 errdetail("There is room for a fixed number of them in the server."),
				 errhint("Use bgjob_queue_remove() to remove the configuration of unused "
						 "queues.")));
}

PG_FUNCTION_INFO_V1(bgjob_queue);

/* Reads an argument that is the largest number of something, -1 for any number; false if it is null. */
static bool
read_most(FunctionCallInfo fcinfo, int arg, const char *name, const char *meaning, int *most)
{
	if (PG_ARGISNULL(arg))
		return false;
	*most = PG_GETARG_INT32(arg);
	if (*most < -1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s %d is out of range", name, *most), errdetail("%s", meaning),
						errhint("Use -1 for any number.")));
	return true;
}

/*
 * bgjob_queue(name, max_running, group_size, paused, retention, max_length) configures a
 * queue; a null argument changes nothing. max_running is how many of its jobs may run at
 * a time, max_length how many may wait (both -1: any number); group_size (1 to 1000) is how many jobs
 * may run in one transaction; retention, how long finished jobs are kept,
 * overrides the server's settings. Errors: 22023 an invalid value; 42501 no
 * EXECUTE; 53400 too many queues.
 */
Datum
bgjob_queue(PG_FUNCTION_ARGS)
{
	char *name = queue_to_change(fcinfo, "bgjob_queue()");
	BgjobQueueRow change = {0};

	change.has_max_running =
		read_most(fcinfo, 1, "max_running", "It is how many jobs of the queue run at a time.",
				  &change.max_running);
	if (!PG_ARGISNULL(2))
	{
		change.group_size = PG_GETARG_INT32(2);
		if (change.group_size < 1 || change.group_size > BGJOB_GROUP_MAX)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("group_size %d is out of range", change.group_size),
							errdetail("It is how many jobs may run in one transaction."),
							errhint("Use a value from 1 to %d.", BGJOB_GROUP_MAX)));
	}
	change.has_paused = !PG_ARGISNULL(3);
	change.paused = change.has_paused && PG_GETARG_BOOL(3);
	if (!PG_ARGISNULL(4))
	{
		change.retention = PG_GETARG_INTERVAL_P(4);
		bgjob_check_retention(change.retention);
	}
	change.has_max_length =
		read_most(fcinfo, 5, "max_length", "It is how many jobs of the queue may wait.",
				  &change.max_length);
	check_room(name);
	bgjob_queueconf_change(name, &change);
	PG_RETURN_VOID();
}

/* A queue without a configuration may be one whose name is misspelt. */
static void
notice_unknown(const char *queue)
{
	ereport(NOTICE, (errmsg("queue \"%s\" has no configuration", queue)));
}

/* Pauses or resumes a queue. Returns whether that was a change. */
static bool
set_paused(const char *queue, bool paused)
{
	BgjobQueueRow row;
	BgjobQueueRow change = {.has_paused = true, .paused = paused};
	bool known = bgjob_queueconf_get(queue, &row);
	bool was_paused = known && row.paused;

	if (!known && !paused)
		notice_unknown(queue);
	if (was_paused == paused)
		return false;
	check_room(queue);
	bgjob_queueconf_change(queue, &change);
	if (!known && strcmp(queue, "default") != 0)
		ereport(NOTICE, (errmsg("queue \"%s\" had no configuration", queue),
						 errhint("If the name is wrong, use bgjob_queue_remove().")));
	return true;
}

PG_FUNCTION_INFO_V1(bgjob_queue_pause);

/* bgjob_queue_pause(name) pauses a queue: running jobs continue, no other starts. Returns false if it was paused already. */
Datum
bgjob_queue_pause(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(set_paused(queue_to_change(fcinfo, "bgjob_queue_pause()"), true));
}

PG_FUNCTION_INFO_V1(bgjob_queue_resume);

/* bgjob_queue_resume(name) resumes a queue. Returns false if it was not paused. */
Datum
bgjob_queue_resume(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(set_paused(queue_to_change(fcinfo, "bgjob_queue_resume()"), false));
}

PG_FUNCTION_INFO_V1(bgjob_queue_remove);

/*
 * bgjob_queue_remove(name) removes the configuration of a queue, not its jobs:
 * the defaults apply again. Returns false if there was none.
 */
Datum
bgjob_queue_remove(PG_FUNCTION_ARGS)
{
	char *queue = queue_to_change(fcinfo, "bgjob_queue_remove()");
	bool removed = bgjob_queueconf_remove(queue);

	if (!removed)
		notice_unknown(queue);
	PG_RETURN_BOOL(removed);
}
