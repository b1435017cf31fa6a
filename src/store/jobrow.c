/*-------------------------------------------------------------------------
 *
 * jobrow.c
 *	  The row of a job: reading, decoding and locking it.
 *
 * The often used columns of a row are decoded into fields of BgjobJob; the others
 * are read and set by their numbers. Nothing here changes the stored row:
 * bgjob_job_save (store/job.c) writes it.
 *
 * Runs in any process, inside a transaction. It names no column by a string,
 * and calls no function that a job could have replaced.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "store/call.h"
#include "store/jobrow.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

int64 bgjob_job_reserved = 0;
int64 bgjob_job_in_session = 0;

/* bgjob_job_check_reserved raises 55000 if a filter tries to change the job that it is called for. */
void
bgjob_job_check_reserved(int64 id)
{
	if (id == bgjob_job_reserved && id != 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("a filter cannot change the job that it is called for"),
						errdetail("Job " INT64_FORMAT " is being changed already.", id),
						errhint("Return the changes from the filter instead.")));
}

/* bgjob_job_jsonb returns a jsonb column, NULL if it is null. */
Jsonb *
bgjob_job_jsonb(const BgjobJob *job, BgjobColumn column)
{
	return bgjob_job_is_null(job, column) ? NULL : DatumGetJsonbP(bgjob_job_datum(job, column));
}

/* bgjob_job_set_text sets a text column; NULL is null. */
void
bgjob_job_set_text(BgjobJob *job, BgjobColumn column, const char *text)
{
	if (text != NULL)
		bgjob_job_set(job, column, CStringGetTextDatum(text));
	else
		bgjob_job_set_null(job, column);
}

/* bgjob_job_set_jsonb sets a jsonb column; NULL is null. */
void
bgjob_job_set_jsonb(BgjobJob *job, BgjobColumn column, const Jsonb *value)
{
	if (value != NULL)
		bgjob_job_set(job, column, JsonbPGetDatum(value));
	else
		bgjob_job_set_null(job, column);
}

/* bgjob_job_text returns a text column, NULL if it is null. */
const char *
bgjob_job_text(const BgjobJob *job, BgjobColumn column)
{
	return bgjob_job_is_null(job, column) ? NULL
										  : TextDatumGetCString(bgjob_job_datum(job, column));
}

/* bgjob_job_set_call sets the columns of a job's row for its call, from its job and func. */
void
bgjob_job_set_call(BgjobJob *job)
{
	bgjob_job_set_null(job, BGJOB_C_CALL_ID);
	bgjob_job_set_null(job, BGJOB_C_JOB);
	if (job->func != NULL)
		bgjob_job_set(job, BGJOB_C_CALL_ID,
					  Int64GetDatum(bgjob_call_store(job->job, job->func)));
	else
		bgjob_job_set_text(job, BGJOB_C_JOB, job->job);
}

/*
 * Sets an empty name for a missing job or func. A row that was written by hand
 * may lack them, and code that performs, lists and describes jobs expects both.
 */
static void
job_complete_call(BgjobJob *job)
{
	if (job->kind == BGJOB_KIND_FUNCTION && job->func == NULL)
		job->func = "";
	if (job->job == NULL)
		job->job = "";
}

/* Decodes the often used columns of the row itself; a null number as 0. */
static void
decode_columns(BgjobJob *job)
{
	job->to_place = false;
	job->behind_batch = true; /* it may be */
	job->id = DatumGetInt64(bgjob_job_datum(job, BGJOB_C_ID));
	job->pos = bgjob_job_is_null(job, BGJOB_C_POS)
				   ? job->id
				   : DatumGetInt64(bgjob_job_datum(job, BGJOB_C_POS));
	job->state = bgjob_state_by_letter(DatumGetChar(bgjob_job_datum(job, BGJOB_C_STATE)));
	job->kind = (BgjobKind) DatumGetChar(bgjob_job_datum(job, BGJOB_C_KIND));
	job->run_as = DatumGetObjectId(bgjob_job_datum(job, BGJOB_C_RUN_AS));
	job->priority = DatumGetInt16(bgjob_job_datum(job, BGJOB_C_PRIORITY));
	job->retries = DatumGetInt32(bgjob_job_datum(job, BGJOB_C_RETRIES));
	job->max_retries = DatumGetInt32(bgjob_job_datum(job, BGJOB_C_MAX_RETRIES));
	job->crashes = DatumGetInt32(bgjob_job_datum(job, BGJOB_C_CRASHES));
	job->queue = bgjob_job_text(job, BGJOB_C_QUEUE);
}

/* Copies the row from rel->slot and decodes it, with what the job calls. */
static void
job_decode(BgjobRel *rel, BgjobJob *job)
{
	bgjob_rel_take(rel, job->values, job->nulls, &job->external);
	job->tid = rel->slot->tts_tid;
	decode_columns(job);
	job->job = bgjob_job_text(job, BGJOB_C_JOB);
	job->func = NULL;
	if (!bgjob_job_is_null(job, BGJOB_C_CALL_ID))
		bgjob_call_read(rel->slot->tts_tableOid,
						DatumGetInt64(bgjob_job_datum(job, BGJOB_C_CALL_ID)), &job->job,
						&job->func);
	if (job->job == NULL || job->func == NULL)
		job_complete_call(job);
}

/* bgjob_job_load reads a job from rel->slot, which holds its row. */
void
bgjob_job_load(BgjobRel *rel, BgjobJob *job)
{
	job_decode(rel, job);
	ExecClearTuple(rel->slot);
}

/* bgjob_job_read reads a job as it is at this moment. False if there is no job with that id. */
bool
bgjob_job_read(BgjobRel *rel, int64 id, BgjobJob *job)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData key;
	BgjobScan *scan;
	bool found;

	bgjob_key(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	scan = bgjob_scan_begin(rel, "job_pkey", snapshot, &key, 1);
	found = bgjob_scan_next(scan);
	if (found)
		bgjob_job_load(rel, job);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	return found;
}

/* bgjob_job_role returns the role that a job runs as, InvalidOid if the running query sees no job with that id. */
Oid
bgjob_job_role(int64 id)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	ScanKeyData key;
	BgjobScan *scan;
	Oid role = InvalidOid;
	bool isnull;

	bgjob_key(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	scan = bgjob_scan_begin(rel, "job_pkey", GetActiveSnapshot(), &key, 1);
	if (bgjob_scan_next(scan))
		role = DatumGetObjectId(slot_getattr(rel->slot, BGJOB_C_RUN_AS, &isnull));
	bgjob_scan_end(scan);
	bgjob_rel_close(rel);
	return role;
}

/*
 * bgjob_job_read_standing reads where a job stands: its row without what it calls,
 * and without fetching what is stored out of line, however long its arguments and
 * results are. For reading only, while a snapshot is held. False if there is no
 * job with that id.
 */
bool
bgjob_job_read_standing(BgjobRel *rel, int64 id, BgjobJob *job)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData key;
	BgjobScan *scan;
	bool found;

	bgjob_key(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	scan = bgjob_scan_begin(rel, "job_pkey", snapshot, &key, 1);
	found = bgjob_scan_next(scan);
	if (found)
	{
		heap_deform_tuple(ExecCopySlotHeapTuple(rel->slot), rel->slot->tts_tupleDescriptor,
						  job->values, job->nulls);
		job->external = NULL;
		job->tid = rel->slot->tts_tid;
		decode_columns(job);
		job->job = job->func = NULL;
		ExecClearTuple(rel->slot);
	}
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	return found;
}

/*
 * bgjob_job_peek reads the row of a job, as it is at this moment, into rel->slot,
 * where it stays until something else is read. Large values are not fetched. "tid"
 * (which may be NULL) is where the row was. False if there is no job with that id.
 */
bool
bgjob_job_peek(BgjobRel *rel, int64 id, ItemPointer tid)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData key;
	BgjobScan *scan;
	bool isnull;
	bool found = tid != NULL && bgjob_rel_fetch(rel, tid, snapshot) &&
				 DatumGetInt64(slot_getattr(rel->slot, BGJOB_C_ID, &isnull)) == id;

	if (!found)
	{
		bgjob_key(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
		scan = bgjob_scan_begin(rel, "job_pkey", snapshot, &key, 1);
		found = bgjob_scan_next(scan);
		bgjob_scan_end(scan);
	}
	UnregisterSnapshot(snapshot);
	return found;
}

/*
 * bgjob_job_read_at reads the job that is at a tid as it is at this moment.
 * False if the job is not there, for example because it has been updated.
 */
bool
bgjob_job_read_at(BgjobRel *rel, ItemPointer tid, int64 id, BgjobJob *job)
{
	bool isnull;
	bool found = bgjob_rel_fetch(rel, tid, SnapshotSelf) &&
				 DatumGetInt64(slot_getattr(rel->slot, BGJOB_C_ID, &isnull)) == id;

	if (found)
		job_decode(rel, job);
	ExecClearTuple(rel->slot);
	return found;
}

/*
 * bgjob_job_refresh reads a job again, which the caller has locked by its place since it was read:
 * its row may have been replaced before. False: it has been removed.
 */
bool
bgjob_job_refresh(BgjobRel *rel, BgjobJob *job)
{
	ItemPointerData tid = job->tid;

	return bgjob_job_read_at(rel, &tid, job->id, job) || bgjob_job_read(rel, job->id, job);
}

static TM_Result
job_lock_row(BgjobRel *rel, BgjobJob *job, LockWaitPolicy policy)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	TM_FailureData failure;
	TM_Result result =
		table_tuple_lock(rel->rel, &job->tid, snapshot, rel->slot, GetCurrentCommandId(true),
						 LockTupleExclusive, policy, 0, &failure);

	ExecClearTuple(rel->slot);
	UnregisterSnapshot(snapshot);
	return result;
}

/*
 * bgjob_job_lock locks the row of a job that has just been read, and waits for
 * other transactions that change it. False if the row has been changed or
 * removed meanwhile: the caller reads it again.
 */
bool
bgjob_job_lock(BgjobRel *rel, BgjobJob *job)
{
	return job_lock_row(rel, job, LockWaitBlock) == TM_Ok;
}

/* bgjob_job_try_lock does the same without waiting: false also if another transaction has locked the row. */
bool
bgjob_job_try_lock(BgjobRel *rel, BgjobJob *job)
{
	return job_lock_row(rel, job, LockWaitSkip) == TM_Ok;
}

/* bgjob_has_prerequisites returns whether a job awaits, or has awaited, anything. */
bool
bgjob_has_prerequisites(const BgjobJob *job)
{
	return !bgjob_job_is_null(job, BGJOB_C_AFTER) ||
		   !bgjob_job_is_null(job, BGJOB_C_AFTER_BATCH) ||
		   !bgjob_job_is_null(job, BGJOB_C_AFTER_SIGNAL) ||
		   !bgjob_job_is_null(job, BGJOB_C_FOLLOWS);
}

/* bgjob_job_followed returns the job that a job follows (store/supersede.c) and that has not ended; 0: none. */
int64
bgjob_job_followed(BgjobRel *rel, const BgjobJob *job)
{
	BgjobState state = BGJOB_DELETED;
	int64 id;
	bool isnull;

	if (bgjob_job_is_null(job, BGJOB_C_FOLLOWS))
		return 0;
	id = bgjob_followed_id(DatumGetInt64(bgjob_job_datum(job, BGJOB_C_FOLLOWS)));
	if (bgjob_job_peek(rel, id, NULL))
		state = bgjob_state_by_letter(
			DatumGetChar(slot_getattr(rel->slot, BGJOB_C_STATE, &isnull)));
	ExecClearTuple(rel->slot);
	return bgjob_state_is_final(state) ? 0 : id;
}

/* bgjob_job_is_over returns whether a job has succeeded or was deleted, or is no longer there. */
bool
bgjob_job_is_over(int64 id)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	bool over = true;
	bool isnull;

	if (bgjob_job_peek(rel, id, NULL))
	{
		BgjobState state = bgjob_state_by_letter(
			DatumGetChar(slot_getattr(rel->slot, BGJOB_C_STATE, &isnull)));

		over = state == BGJOB_SUCCEEDED || state == BGJOB_DELETED;
	}
	ExecClearTuple(rel->slot);
	bgjob_rel_close(rel);
	return over;
}

/* bgjob_job_inserted_by_me returns whether the running transaction has inserted a job. */
bool
bgjob_job_inserted_by_me(BgjobRel *rel, int64 id)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData key;
	BgjobScan *scan;
	bool mine = false;

	bgjob_key(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	scan = bgjob_scan_begin(rel, "job_pkey", snapshot, &key, 1);
	if (bgjob_scan_next(scan))
	{
		bool isnull;
		Datum xmin = slot_getsysattr(rel->slot, MinTransactionIdAttributeNumber, &isnull);

		mine = TransactionIdIsCurrentTransactionId(DatumGetTransactionId(xmin));
		ExecClearTuple(rel->slot);
	}
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	return mine;
}
