/*-------------------------------------------------------------------------
 *
 * awaiting.c
 *	  Jobs that await others, a batch or signals.
 *
 * bgjob_internal.awaiting has a row for each job in state awaiting; the row is the
 * lock, as in the queue and in the schedule. It says how many targets the job has, so a
 * process that has ended one of very many need not read the others.
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "base/change.h"
#include "base/interval.h"
#include "miscadmin.h"
#include "store/awaiting.h"
#include "store/bulk.h"
#include "store/history.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#define AWAITING_INDEX "awaiting_pkey"
#define DEADLINE_INDEX "awaiting_deadline_idx"

/* Columns of bgjob_internal.awaiting. */
enum
{
	A_JOB = 1,
	A_ROLE,
	A_QUEUE,
	A_PREREQUISITES,
	A_CONDITION,
	A_DEADLINE,
	A_BEHIND_BATCH,
	A_JOB_TID
};

#define A_COUNT A_JOB_TID

/* bgjob_awaiting_deadline returns until when a job may await; DT_NOEND: there is no limit. */
TimestampTz
bgjob_awaiting_deadline(const BgjobJob *job)
{
	TimestampTz since = bgjob_history_waiting_since(job);

	if (bgjob_job_is_null(job, BGJOB_C_AWAIT_TIMEOUT) || since == DT_NOBEGIN)
		return DT_NOEND;
	return bgjob_time_plus(since,
						   DatumGetIntervalP(bgjob_job_datum(job, BGJOB_C_AWAIT_TIMEOUT)));
}

/*
 * bgjob_awaiting_insert_many inserts n jobs that differ only in their ids, which are
 * consecutive from "first" on. The scheduler learns of a deadline by a review of the
 * first of them.
 */
void
bgjob_awaiting_insert_many(const BgjobJob *job, int64 first, const ItemPointerData *tids, int n)
{
	BgjobDependantNotes *notes = bgjob_change_dependants();
	TimestampTz deadline = bgjob_awaiting_deadline(job);
	BgjobPrerequisites all;
	BgjobRel *rel;
	BgjobBulk *bulk;
	Datum values[A_COUNT];
	bool nulls[A_COUNT] = {false};
	int flushed;

	if (n == 0 || !bgjob_prerequisites_read(job, &all))
		return;
	rel = bgjob_rel_open(BGJOB_TABLE_AWAITING);
	values[A_ROLE - 1] = ObjectIdGetDatum(job->run_as);
	values[A_QUEUE - 1] = CStringGetTextDatum(job->queue);
	values[A_PREREQUISITES - 1] = Int32GetDatum(all.n);
	values[A_CONDITION - 1] = CharGetDatum((char) all.condition);
	values[A_DEADLINE - 1] = TimestampTzGetDatum(deadline);
	nulls[A_DEADLINE - 1] = deadline == DT_NOEND;
	values[A_BEHIND_BATCH - 1] = BoolGetDatum(job->behind_batch || all.nbatches > 0);
	bulk = n > 1 ? bgjob_bulk_begin(rel) : NULL;
	for (int i = 0; i < n; i++)
	{
		values[A_JOB - 1] = Int64GetDatum(first + i);
		values[A_JOB_TID - 1] = PointerGetDatum(&tids[i]);
		if (bulk == NULL)
			bgjob_rel_insert(rel, values, nulls);
		else if (bgjob_bulk_add(bulk, values, nulls) || i == n - 1)
			(void) bgjob_bulk_flush(bulk, &flushed);
	}
	if (bulk != NULL)
		bgjob_bulk_end(bulk);
	bgjob_rel_close(rel);
	bgjob_prerequisites_free(&all);
	if (notes != NULL && deadline != DT_NOEND)
		bgjob_dependant_note_review(notes, first);
}

/* bgjob_awaiting_insert inserts a job. */
void
bgjob_awaiting_insert(const BgjobJob *job)
{
	bgjob_awaiting_insert_many(job, job->id, &job->tid, 1);
}

/* Finds the row of a job; rel->slot holds it. */
static bool
find(BgjobRel *rel, Snapshot snapshot, int64 job)
{
	ScanKeyData key;
	BgjobScan *scan;
	bool found;

	bgjob_key(&key, A_JOB, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(job));
	scan = bgjob_scan_begin(rel, AWAITING_INDEX, snapshot, &key, 1);
	found = bgjob_scan_next(scan);
	if (found)
		ExecMaterializeSlot(rel->slot);
	bgjob_scan_end(scan);
	return found;
}

/*
 * bgjob_awaiting_take takes a job out unless another transaction has it; never waits.
 * The job is the caller's until the transaction ends. *holder as in bgjob_queue_take.
 */
BgjobTaken
bgjob_awaiting_take(int64 job, TransactionId *holder)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_AWAITING);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobTaken taken = BGJOB_NOT_THERE;

	if (find(rel, snapshot, job))
		taken = bgjob_rel_delete(rel, &rel->slot->tts_tid, holder) ? BGJOB_TAKEN : BGJOB_BUSY;
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return taken;
}

/* bgjob_awaiting_find_in reads the row of a job as it is at this moment, in the table, which the caller has opened; false if there is none. */
bool
bgjob_awaiting_find_in(BgjobRel *rel, int64 job, BgjobAwaiting *row)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	bool found = find(rel, snapshot, job);

	if (found)
	{
		slot_getallattrs(rel->slot);
		row->job = job;
		row->role = DatumGetObjectId(rel->slot->tts_values[A_ROLE - 1]);
		row->tid = rel->slot->tts_tid;
		row->job_tid = *(ItemPointer) DatumGetPointer(rel->slot->tts_values[A_JOB_TID - 1]);
		row->prerequisites = DatumGetInt32(rel->slot->tts_values[A_PREREQUISITES - 1]);
		row->condition = (BgjobCondition) DatumGetChar(rel->slot->tts_values[A_CONDITION - 1]);
		row->behind_batch = DatumGetBool(rel->slot->tts_values[A_BEHIND_BATCH - 1]);
		row->deadline = rel->slot->tts_isnull[A_DEADLINE - 1]
							? DT_NOEND
							: DatumGetTimestampTz(rel->slot->tts_values[A_DEADLINE - 1]);
	}
	UnregisterSnapshot(snapshot);
	return found;
}

/* bgjob_awaiting_find does the same for who reads one row. */
bool
bgjob_awaiting_find(int64 job, BgjobAwaiting *row)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_AWAITING);
	bool found = bgjob_awaiting_find_in(rel, job, row);

	bgjob_rel_close(rel);
	return found;
}

/* bgjob_awaiting_take_found takes out the job of a row that has just been read, like bgjob_awaiting_take. False: another transaction has it. */
bool
bgjob_awaiting_take_found(BgjobRel *rel, BgjobAwaiting *row)
{
	return bgjob_rel_delete(rel, &row->tid, NULL);
}

/* bgjob_awaiting_after reads the ids of at most "max" jobs after an id, in their order; returns their number. */
int
bgjob_awaiting_after(int64 after, int64 *jobs, int max)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_AWAITING);
	ScanKeyData key;
	int n;

	bgjob_key(&key, A_JOB, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after));
	n = bgjob_rel_read_ids(rel, AWAITING_INDEX, &key, A_JOB, jobs, max);
	bgjob_rel_close(rel);
	return n;
}

/*
 * bgjob_awaiting_overdue reads the ids of at most "max" jobs whose deadline has passed; returns
 * their number. *next is the next deadline after these; DT_NOEND: there is none.
 */
int
bgjob_awaiting_overdue(TimestampTz now, int64 *jobs, int max, TimestampTz *next)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_AWAITING);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobScan *scan = bgjob_scan_begin(rel, DEADLINE_INDEX, snapshot, NULL, 0);
	int n = 0;

	*next = DT_NOEND;
	while (*next == DT_NOEND && bgjob_scan_next(scan))
	{
		TimestampTz deadline;

		slot_getallattrs(rel->slot);
		deadline = DatumGetTimestampTz(rel->slot->tts_values[A_DEADLINE - 1]);
		if (deadline <= now && n < max)
			jobs[n++] = DatumGetInt64(rel->slot->tts_values[A_JOB - 1]);
		else
			*next = deadline;
	}
	ExecClearTuple(rel->slot);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return n;
}
