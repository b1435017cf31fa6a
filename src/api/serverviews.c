/*-------------------------------------------------------------------------
 *
 * serverviews.c
 *	  SQL functions that return the parts of bgjob.servers and bgjob.stats.
 *
 * The views (src/sql/30_views.sql) call them as the role that reads them, so every role
 * may call them. What is configured comes from the table, as of the session's snapshot;
 * the workers are those of this moment.
 *
 * Runs in the session that reads a view. Slots are read without a lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/database.h"
#include "base/guc.h"
#include "base/registry.h"
#include "base/slots.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "store/serverconf.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

/* Counts the workers of a server, and those of them that run a job. */
static void
count_workers(const BgjobServer *server, int *workers, int *busy)
{
	*workers = *busy = 0;
	for (int i = 0; bgjob_registry != NULL && i < bgjob_registry->nslots; i++)
	{
		const BgjobSlot *slot = &bgjob_registry->slots[i];

		if (!slot->in_use || slot->kind != BGJOB_WORKER || slot->database != MyDatabaseId ||
			strcmp(slot->server_name, server->name) != 0)
			continue;
		(*workers)++;
		*busy += slot->pid != 0 && slot->job != 0;
	}
}

/* Returns the queues that a server takes, as an array. */
static Datum
queues_datum(const BgjobServer *server)
{
	const char *list = server->conf.queues[0] != '\0' ? server->conf.queues : bgjob_queues;
	ArrayBuildState *queues = initArrayResult(TEXTOID, CurrentMemoryContext, false);

	while (*(list += strspn(list, BGJOB_QUEUE_SEPARATORS)) != '\0')
	{
		size_t length = strcspn(list, BGJOB_QUEUE_SEPARATORS);

		queues = accumArrayResult(queues,
								  PointerGetDatum(cstring_to_text_with_len(list, (int) length)),
								  false, TEXTOID, CurrentMemoryContext);
		list += length;
	}
	return makeArrayResult(queues, CurrentMemoryContext);
}

/* Returns whether a database has a scheduler, or gets one when it has work. */
static bool
is_served(const BgjobDatabase *entry)
{
	return entry != NULL && (entry->ready || entry->status == BGJOB_DATABASE_RESTING);
}

/* Returns the row of a server. */
static void
put_server(ReturnSetInfo *result, const BgjobServer *server, const BgjobDatabase *entry)
{
	bool nulls[7] = {false, false, false, false, true, true, false};
	int allowed =
		server->conf.workers != 0 ? server->conf.workers : bgjob_slots_allowed(MyDatabaseId);
	Datum values[7];
	int workers;
	int busy;

	count_workers(server, &workers, &busy);
	values[0] = CStringGetTextDatum(server->name);
	values[1] = queues_datum(server);
	values[2] = Int32GetDatum(bgjob_slots_may_have(MyDatabaseId, workers, allowed));
	values[3] = Int32GetDatum(busy);
	if (entry->ready && entry->scheduler >= 0)
	{
		values[4] = TimestampTzGetDatum(bgjob_registry->slots[entry->scheduler].started_at);
		values[5] = TimestampTzGetDatum(GetCurrentTimestamp());
		nulls[4] = nulls[5] = false;
	}
	values[6] = BoolGetDatum(server->conf.paused);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(bgjob_server_rows);

/*
 * bgjob_internal.servers() returns the servers of this database, if it is served: name,
 * queues, workers (its maximum), busy, started_at and heartbeat_at (null without a
 * running scheduler), paused.
 */
Datum
bgjob_server_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);
	const BgjobServer *servers;
	int n;

	InitMaterializedSRF(fcinfo, 0);
	if (!is_served(entry) || !bgjob_enabled)
		return (Datum) 0;
	servers = bgjob_serverconf_list(&n);
	for (int i = 0; i < n; i++)
		put_server(result, &servers[i], entry);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(bgjob_server_count);

/* bgjob_internal.server_count() returns how many servers this database has, 0 if it is not served. */
Datum
bgjob_server_count(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(
		is_served(bgjob_database_find(MyDatabaseId)) ? bgjob_servers_count(MyDatabaseId) : 0);
}
