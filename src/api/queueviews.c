/*-------------------------------------------------------------------------
 *
 * queueviews.c
 *	  SQL functions that return the parts of bgjob.queues.
 *
 * The view (src/sql/30_views.sql) calls them as the role that reads it, so every role
 * may call them, and they return no more than the view: jobs of roles whose jobs the
 * reader may see. All roles see which queues are configured.
 *
 * Runs in the session that reads the view. The numbers are those of this moment,
 * not of the session's snapshot; changes of the running transaction are included.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/counts.h"
#include "api/rights.h"
#include "base/database.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "store/oldest.h"
#include "store/queuecount.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

/* Returns whether the current user sees the jobs of a role, and asks for them; InvalidOid: for all. */
static bool
sees(Oid role, void *wanted)
{
	Oid only = wanted != NULL ? *(Oid *) wanted : InvalidOid;

	return (!OidIsValid(only) || role == only) && bgjob_may_see(role);
}

PG_FUNCTION_INFO_V1(bgjob_queue_counts);

/*
 * bgjob_internal.queue_counts(role) returns a row for each queue that has jobs that the
 * current user sees, or is configured: queue, enqueued, processing, scheduled,
 * failed. Null: not counted yet. With a role: only its jobs count.
 */
Datum
bgjob_queue_counts(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);
	Oid role = PG_ARGISNULL(0) ? InvalidOid : PG_GETARG_OID(0);
	BgjobQueueCount *queues;
	bool known;
	int n;

	InitMaterializedSRF(fcinfo, 0);
	queues = bgjob_count_queues(entry, bgjob_counted_later(entry), sees, &role, &n, &known);
	if (!known)
		bgjob_counted_request();
	for (int i = 0; i < n; i++)
	{
		const int64 *counts = queues[i].counts;
		int64 running =
			known ? Min(queues[i].running, counts[BGJOB_TALLIED_WAITING]) : queues[i].running;
		Datum values[5] = {CStringGetTextDatum(queues[i].queue),
						   Int64GetDatum(counts[BGJOB_TALLIED_WAITING] - running),
						   Int64GetDatum(running),
						   Int64GetDatum(counts[BGJOB_TALLIED_SCHEDULED]),
						   Int64GetDatum(counts[BGJOB_TALLIED_FAILED])};
		bool nulls[5] = {false, !known, false, !known, !known};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* Since when the oldest job of a queue waits. */
typedef struct Oldest
{
	char queue[BGJOB_QUEUE_NAME_SIZE]; /* zero-filled; must be first */
	TimestampTz since;
} Oldest;

static void
note_oldest(const char *queue, TimestampTz since, void *arg)
{
	char key[BGJOB_QUEUE_NAME_SIZE] = {0};
	Oldest *oldest;
	bool found;

	strlcpy(key, queue, sizeof(key));
	oldest = hash_search(arg, key, HASH_ENTER, &found);
	if (!found || since < oldest->since)
		oldest->since = since;
}

/* Looks all queues up; in the memory context of the call. */
static HTAB *
find_oldest(MemoryContext context)
{
	HASHCTL info = {
		.keysize = BGJOB_QUEUE_NAME_SIZE, .entrysize = sizeof(Oldest), .hcxt = context};
	HTAB *oldest =
		hash_create("bgjob oldest", 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	bgjob_oldest_visit(sees, NULL, note_oldest, oldest);
	return oldest;
}

PG_FUNCTION_INFO_V1(bgjob_oldest_enqueued);

/*
 * bgjob_internal.oldest_enqueued(queue) returns since when the oldest job of a queue
 * waits that the current user sees and no worker is at; null: there is none. The first
 * call of a statement looks up all queues, the others only their result. A
 * statement that does not ask for it does not pay for it.
 */
Datum
bgjob_oldest_enqueued(PG_FUNCTION_ARGS)
{
	char key[BGJOB_QUEUE_NAME_SIZE] = {0};
	const Oldest *oldest;

	if (fcinfo->flinfo->fn_extra == NULL)
		fcinfo->flinfo->fn_extra = find_oldest(fcinfo->flinfo->fn_mcxt);
	text_to_cstring_buffer(PG_GETARG_TEXT_PP(0), key, sizeof(key));
	oldest = hash_search(fcinfo->flinfo->fn_extra, key, HASH_FIND, NULL);
	if (oldest == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(oldest->since);
}
