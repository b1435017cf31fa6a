/*-------------------------------------------------------------------------
 *
 * counts.c
 *	  SQL functions about the number of jobs in each state.
 *
 * For bgjob.stats, and the trigger that puts the numbers in doubt when SQL changes
 * rows of bgjob's tables, or counts them. The numbers come from shared memory (store/count.c). Where
 * they are not known yet, the scheduler is told that somebody asks for them.
 *
 * Every role may call bgjob_internal.counts(): bgjob.stats is for all roles.
 *
 * Runs in the session that reads the view, or changes the rows.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "api/counts.h"
#include "base/change.h"
#include "base/database.h"
#include "base/guc.h"
#include "base/jobmap.h"
#include "base/running.h"
#include "base/wake.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "store/count.h"
#include "store/jobrow.h"
#include "store/relation.h"
#include "store/sidetables.h"
#include "utils/builtins.h"
#include "utils/rel.h"

/*
 * bgjob_counted_later returns whether a scheduler serves this database, or will, so
 * that large tables are counted in the background.
 */
bool
bgjob_counted_later(const BgjobDatabase *entry)
{
	return entry != NULL && entry->status != BGJOB_DATABASE_ABSENT && bgjob_enabled &&
		   !RecoveryInProgress();
}

/* bgjob_counted_request has the scheduler see to it that the jobs are counted. */
void
bgjob_counted_request(void)
{
	bgjob_notify_scheduler(MyDatabaseId, 0);
}

PG_FUNCTION_INFO_V1(bgjob_counts);

/*
 * bgjob_internal.counts() returns the numbers of jobs: enqueued, scheduled,
 * awaiting, processing, succeeded, failed, deleted, retries. They come from shared
 * memory; null: the jobs are still being counted (store/count.c).
 */
Datum
bgjob_counts(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);
	int64 counts[BGJOB_NSTATES] = {0};
	Datum values[8];
	bool nulls[8];
	int64 waiting;
	int64 busy;
	int running;
	bool known;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	pfree(bgjob_slots_running(MyDatabaseId, &running));
	busy = running;
	known = bgjob_count_jobs(entry, bgjob_counted_later(entry), counts);
	if (!known)
		bgjob_counted_request();
	memset(nulls, !known, sizeof(nulls));
	nulls[3] = false; /* the slots tell how many run */

	/* A running job is stored as enqueued if it runs in one transaction. */
	waiting = counts[BGJOB_ENQUEUED] + counts[BGJOB_PROCESSING];
	if (known)
		busy = Min(busy, waiting);
	values[0] = Int64GetDatum(waiting - busy);
	values[1] = Int64GetDatum(counts[BGJOB_SCHEDULED]);
	values[2] = Int64GetDatum(counts[BGJOB_AWAITING]);
	values[3] = Int64GetDatum(busy);
	values[4] = Int64GetDatum(counts[BGJOB_SUCCEEDED]);
	values[5] = Int64GetDatum(counts[BGJOB_FAILED]);
	values[6] = Int64GetDatum(counts[BGJOB_DELETED]);
	values[7] = Int64GetDatum(counts[BGJOB_NONE]);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

PG_FUNCTION_INFO_V1(bgjob_count_again);

/*
 * bgjob_internal.count_again(), a trigger, makes the scheduler count the jobs
 * again after SQL changed rows of bgjob_internal.job. Inserted jobs and recurring
 * jobs are held back, which the scheduler logs.
 */
Datum
bgjob_count_again(PG_FUNCTION_ARGS)
{
	TriggerData *trigger;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("this function must be called as a trigger")));
	bgjob_change_recount();
	trigger = (TriggerData *) fcinfo->context;
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ||
		TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		bgjob_jobmap_forget(MyDatabaseId);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
	{
		if (RelationGetRelid(trigger->tg_relation) == bgjob_table_oid(BGJOB_TABLE_JOB))
			bgjob_note_restored();
		bgjob_change_notice(MyDatabaseId, BGJOB_NOTICE_RESTORED);
	}
	return PointerGetDatum(NULL);
}

/* Returns as what a job is counted, by its row. NULL: it is not there. */
static BgjobCounted
counted_row(HeapTuple row, TupleDesc desc)
{
	BgjobCounted counted = {.state = BGJOB_NONE};
	Datum retries;
	bool isnull;

	if (row == NULL)
		return counted;
	counted.role = DatumGetObjectId(heap_getattr(row, BGJOB_C_RUN_AS, desc, &isnull));
	counted.queue = TextDatumGetCString(heap_getattr(row, BGJOB_C_QUEUE, desc, &isnull));
	counted.state =
		bgjob_state_by_letter(DatumGetChar(heap_getattr(row, BGJOB_C_STATE, desc, &isnull)));
	retries = heap_getattr(row, BGJOB_C_RETRIES, desc, &isnull);
	counted.retry = counted.state == BGJOB_SCHEDULED && !isnull && DatumGetInt32(retries) > 0;
	return counted;
}

/*
 * bgjob_count_applied counts a row of bgjob_internal.job that logical replication has
 * changed. Where a job was removed by the publisher, all jobs are counted anew: it
 * is among the totals there, which come on their own.
 */
void
bgjob_count_applied(const TriggerData *trigger)
{
	TupleDesc desc = RelationGetDescr(trigger->tg_relation);
	bool inserted = TRIGGER_FIRED_BY_INSERT(trigger->tg_event);
	HeapTuple new = inserted ? trigger->tg_trigtuple : trigger->tg_newtuple;
	BgjobCounted was;
	BgjobCounted is;

	if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
	{
		bgjob_change_recount();
		return;
	}
	was = counted_row(inserted ? NULL : trigger->tg_trigtuple, desc);
	is = counted_row(new, desc);
	bgjob_change_count(&was, &is);
}
