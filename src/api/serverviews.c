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

#include "api/rights.h"
#include "base/database.h"
#include "base/externalworkers.h"
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

/* The columns of bgjob_internal.servers(). */
typedef enum ServerColumn
{
	SERVER_NAME,
	SERVER_KIND,
	SERVER_QUEUES,
	SERVER_WORKERS,
	SERVER_BUSY,
	SERVER_STARTED_AT,
	SERVER_HEARTBEAT_AT,
	SERVER_PAUSED
} ServerColumn;

#define SERVER_COLUMNS (SERVER_PAUSED + 1)

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

/* Returns a list of queues as an array. */
static Datum
queues_datum(const char *list)
{
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
	bool nulls[SERVER_COLUMNS] = {[SERVER_STARTED_AT] = true, [SERVER_HEARTBEAT_AT] = true};
	int allowed =
		server->conf.workers != 0 ? server->conf.workers : bgjob_slots_allowed(MyDatabaseId);
	Datum values[SERVER_COLUMNS];
	int workers;
	int busy;

	count_workers(server, &workers, &busy);
	values[SERVER_NAME] = CStringGetTextDatum(server->name);
	values[SERVER_KIND] = CStringGetTextDatum("internal");
	values[SERVER_QUEUES] =
		queues_datum(server->conf.queues[0] != '\0' ? server->conf.queues : bgjob_queues);
	values[SERVER_WORKERS] =
		Int32GetDatum(bgjob_slots_may_have(MyDatabaseId, workers, allowed));
	values[SERVER_BUSY] = Int32GetDatum(busy);
	if (entry->ready && entry->scheduler >= 0)
	{
		values[SERVER_STARTED_AT] =
			TimestampTzGetDatum(bgjob_registry->slots[entry->scheduler].started_at);
		values[SERVER_HEARTBEAT_AT] = TimestampTzGetDatum(GetCurrentTimestamp());
		nulls[SERVER_STARTED_AT] = nulls[SERVER_HEARTBEAT_AT] = false;
	}
	values[SERVER_PAUSED] = BoolGetDatum(server->conf.paused);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Returns the row of an external worker. */
static void
put_worker(ReturnSetInfo *result, const BgjobExternalWorker *worker)
{
	bool nulls[SERVER_COLUMNS] = {false};
	Datum values[SERVER_COLUMNS] = {
		[SERVER_NAME] = CStringGetTextDatum(worker->name),
		[SERVER_KIND] = CStringGetTextDatum("external"),
		[SERVER_QUEUES] = queues_datum(worker->queues),
		[SERVER_WORKERS] = Int32GetDatum(worker->session != 0 ? 1 : 0),
		[SERVER_BUSY] =
			Int32GetDatum(bgjob_leases_count(MyDatabaseId, worker->role, worker->name)),
		[SERVER_STARTED_AT] = TimestampTzGetDatum(worker->started_at),
		[SERVER_HEARTBEAT_AT] = TimestampTzGetDatum(worker->heard_at),
		[SERVER_PAUSED] = BoolGetDatum(worker->command != BGJOB_EXTERNAL_GO_ON)};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Returns the rows of the external workers that the current user may see. */
static void
put_workers(ReturnSetInfo *result)
{
	int n;
	const BgjobExternalWorker *workers = bgjob_external_workers_list(MyDatabaseId, &n);

	for (int i = 0; i < n; i++)
		if (bgjob_may_see(workers[i].role))
			put_worker(result, &workers[i]);
}

PG_FUNCTION_INFO_V1(bgjob_server_rows);

/*
 * bgjob_internal.servers() returns the servers of this database, if it is served: name, kind,
 * queues, workers (its maximum), busy, started_at and heartbeat_at (null without a
 * running scheduler), paused; and the external workers that the current user may see.
 */
Datum
bgjob_server_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);
	const BgjobServer *servers;
	int n;

	InitMaterializedSRF(fcinfo, 0);
	put_workers(result);
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
