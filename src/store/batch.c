/*-------------------------------------------------------------------------
 *
 * batch.c
 *	  Batches: their rows, and their jobs.
 *
 * A batch has finished when none of its jobs, nor of the batches in it, is unfinished.
 * That is not stored: bgjob_internal.member has a row for each unfinished job, in its
 * batch and in each one above it, and a batch is unfinished while it has such a row.
 * So a batch that gets another job is open again, and so are those above it, without
 * anything to be changed; nothing counts down, and nothing serializes the jobs' ends. A failed
 * or deleted job has a row, too, which says that; a job that succeeds has none. The number
 * of jobs that were ever added is the sum of rows that are only inserted
 * (bgjob_internal.batch_total); how many have succeeded is what is left.
 *
 * A flip of a job's state changes its rows in the same transaction. So the figures of the
 * view are those of the jobs, at any moment.
 *
 * The row of a batch is updated only to note when it has finished. While the transaction that
 * inserted it has not ended, it counts as unfinished: its first jobs may be still to come.
 *
 * Any process, inside a transaction. Everything is read as it is at this moment. No row
 * is waited for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/change.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "store/batch.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* Columns of bgjob_internal.batch. */
enum
{
	B_ID = 1,
	B_ROLE,
	B_PARENT,
	B_CREATED_AT,
	B_FINISHED_AT,
	B_DESCRIPTION,
	B_PARAMETERS,
	B_UNIQUE_KEY
};

#define B_COUNT B_UNIQUE_KEY

/* The longest chain of batches that this process remembers. */
#define CHAIN_MAX 16

/* ---- rows of batches ---- */

/* bgjob_batch_insert inserts a batch, which has not finished. */
void
bgjob_batch_insert(const BgjobBatch *batch)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_BATCH);
	BgjobDependantNotes *notes = bgjob_change_dependants();
	Datum values[B_COUNT] = {0};
	bool nulls[B_COUNT] = {false};

	values[B_ID - 1] = Int64GetDatum(batch->id);
	values[B_ROLE - 1] = ObjectIdGetDatum(batch->role);
	values[B_PARENT - 1] = Int64GetDatum(batch->parent);
	nulls[B_PARENT - 1] = batch->parent == 0;
	values[B_CREATED_AT - 1] = TimestampTzGetDatum(batch->created_at);
	nulls[B_FINISHED_AT - 1] = true;
	nulls[B_DESCRIPTION - 1] = batch->description == NULL;
	if (batch->description != NULL)
		values[B_DESCRIPTION - 1] = CStringGetTextDatum(batch->description);
	nulls[B_PARAMETERS - 1] = batch->parameters == NULL;
	values[B_PARAMETERS - 1] = JsonbPGetDatum(batch->parameters);
	nulls[B_UNIQUE_KEY - 1] = batch->unique_key == NULL;
	if (batch->unique_key != NULL)
		values[B_UNIQUE_KEY - 1] = CStringGetTextDatum(batch->unique_key);
	bgjob_rel_insert(rel, values, nulls);
	bgjob_rel_close(rel);
	if (notes != NULL)
		bgjob_dependant_note_batch(notes, batch->id);
}

/* Reads the row of a batch from rel->slot. */
static void
load(BgjobRel *rel, BgjobBatch *batch)
{
	Datum *values;
	bool *nulls;
	bool isnull;

	slot_getallattrs(rel->slot);
	values = rel->slot->tts_values - 1;
	nulls = rel->slot->tts_isnull - 1;
	batch->id = DatumGetInt64(values[B_ID]);
	batch->role = DatumGetObjectId(values[B_ROLE]);
	batch->parent = nulls[B_PARENT] ? 0 : DatumGetInt64(values[B_PARENT]);
	batch->created_at = DatumGetTimestampTz(values[B_CREATED_AT]);
	batch->finished_at =
		nulls[B_FINISHED_AT] ? DT_NOBEGIN : DatumGetTimestampTz(values[B_FINISHED_AT]);
	batch->description =
		nulls[B_DESCRIPTION] ? NULL : TextDatumGetCString(values[B_DESCRIPTION]);
	batch->parameters = nulls[B_PARAMETERS] ? NULL : DatumGetJsonbPCopy(values[B_PARAMETERS]);
	batch->unique_key = nulls[B_UNIQUE_KEY] ? NULL : TextDatumGetCString(values[B_UNIQUE_KEY]);
	batch->tid = rel->slot->tts_tid;
	batch->mine = TransactionIdIsCurrentTransactionId(DatumGetTransactionId(
		slot_getsysattr(rel->slot, MinTransactionIdAttributeNumber, &isnull)));
}

/* Reads the row of a batch in an open table. */
static bool
read_in(BgjobRel *rel, int64 id, BgjobBatch *batch)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData key;
	BgjobScan *scan;
	bool found;

	bgjob_key(&key, B_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	scan = bgjob_scan_begin(rel, "batch_pkey", snapshot, &key, 1);
	found = bgjob_scan_next(scan);
	if (found)
		load(rel, batch);
	ExecClearTuple(rel->slot);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	return found;
}

/* bgjob_batch_read reads a batch; false if there is none with that id. */
bool
bgjob_batch_read(int64 id, BgjobBatch *batch)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_BATCH);
	bool found = read_in(rel, id, batch);

	bgjob_rel_close(rel);
	return found;
}

/* bgjob_batch_unfinished_with_key returns the unfinished batch of a role that has a unique_key; 0: there is none. */
int64
bgjob_batch_unfinished_with_key(Oid role, const char *key)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_BATCH);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData keys[2];
	BgjobScan *scan;
	int64 found = 0;

	bgjob_key(&keys[0], 1, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
	bgjob_key(&keys[1], 2, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(key));
	scan = bgjob_scan_begin(rel, "batch_key_idx", snapshot, keys, 2);
	while (found == 0 && bgjob_scan_next(scan))
	{
		bool isnull;
		int64 id = DatumGetInt64(slot_getattr(rel->slot, B_ID, &isnull));

		if (!bgjob_state_is_final(bgjob_batch_state(id)))
			found = id;
	}
	ExecClearTuple(rel->slot);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return found;
}

/*
 * bgjob_batch_chain returns a batch and those above it, from the inside out, and their
 * number, until the next call. The parent of a batch never changes.
 */
const int64 *
bgjob_batch_chain(int64 id, int *n)
{
	static int64 chain[CHAIN_MAX];
	static int known = 0;
	static Oid relation = InvalidOid; /* the extension may have been made again */
	static int64 *longer = NULL;
	int room = CHAIN_MAX;
	int64 *all = chain;
	BgjobBatch batch;

	if (known > 0 && chain[0] == id && relation == bgjob_table_oid(BGJOB_TABLE_BATCH))
	{
		*n = known;
		return chain;
	}
	known = *n = 0;
	for (int64 next = id; next != 0 && bgjob_batch_read(next, &batch); next = batch.parent)
	{
		if (*n == room)
		{
			room *= 2;
			if (longer == NULL)
				longer = MemoryContextAlloc(TopMemoryContext, room * sizeof(int64));
			else
				longer = repalloc_huge(longer, room * sizeof(int64));
			if (all == chain)
				memcpy(longer, chain, sizeof(chain));
			all = longer;
		}
		all[(*n)++] = next;
		if (batch.parent >= next)
			break; /* a row that was written by hand: a parent is older */
	}
	if (all == chain && *n > 0 && !batch.mine)
	{
		known = *n;
		relation = bgjob_table_oid(BGJOB_TABLE_BATCH);
	}
	return all;
}

/* ---- states ---- */

/*
 * bgjob_batch_state returns the state of a batch: awaiting, if it has not finished; failed, if a job
 * has failed; else deleted, if one was deleted; else succeeded. A batch that is not there counts as deleted.
 */
BgjobState
bgjob_batch_state(int64 id)
{
	BgjobBatch batch;

	if (!bgjob_batch_read(id, &batch))
		return BGJOB_DELETED;
	if (batch.mine && !bgjob_change_is_settling())
		return BGJOB_AWAITING;
	return bgjob_members_state(id);
}

/* bgjob_batches_after reads the ids of at most "max" batches after an id; returns their number. */
int
bgjob_batches_after(int64 after, int64 *ids, int max)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_BATCH);
	ScanKeyData key;
	int n;

	bgjob_key(&key, B_ID, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after));
	n = bgjob_rel_read_ids(rel, "batch_pkey", &key, B_ID, ids, max);
	bgjob_rel_close(rel);
	return n;
}

/*
 * bgjob_batch_note_finished notes in the row of a batch, which has finished, when it did. False:
 * another transaction is doing that.
 */
bool
bgjob_batch_note_finished(int64 id)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_BATCH);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	TM_Result result = TM_Ok;
	TM_FailureData failure;
	BgjobBatch batch;
	BgjobBatchTotals totals;
	bool found = read_in(rel, id, &batch);

	bgjob_batch_totals(id, &totals);
	if (found && (batch.finished_at == DT_NOBEGIN || batch.finished_at < totals.at))
		result = table_tuple_lock(rel->rel, &batch.tid, snapshot, rel->slot,
								  GetCurrentCommandId(true), LockTupleNoKeyExclusive,
								  LockWaitSkip, 0, &failure);
	else
		found = false;
	if (found && result == TM_Ok)
	{
		Datum values[B_COUNT];
		bool nulls[B_COUNT];
		const BgjobExternal *external;

		bgjob_rel_take(rel, values, nulls, &external);
		values[B_FINISHED_AT - 1] = TimestampTzGetDatum(Max(bgjob_now(), totals.at));
		nulls[B_FINISHED_AT - 1] = false;
		bgjob_rel_update_taken(rel, &batch.tid, values, nulls, external);
	}
	ExecClearTuple(rel->slot);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return result == TM_Ok;
}

/* bgjob_batch_delete removes a batch and its numbers; false if another transaction is changing it. */
bool
bgjob_batch_delete(int64 id)
{
	return bgjob_rel_delete_of(BGJOB_TABLE_BATCH, "batch_pkey", id) &&
		   bgjob_rel_delete_of(BGJOB_TABLE_BATCH_TOTAL, "batch_total_idx", id);
}

/* ---- jobs ---- */

static int64
batch_of(const BgjobJob *job)
{
	return bgjob_job_is_null(job, BGJOB_C_BATCH_ID)
			   ? 0
			   : DatumGetInt64(bgjob_job_datum(job, BGJOB_C_BATCH_ID));
}

/*
 * bgjob_batch_join enters n new jobs, which differ only in their consecutive ids, into the
 * batch of the job, if it has one, and into those above it.
 */
void
bgjob_batch_join(const BgjobJob *job, int64 first, int n)
{
	int64 batch = batch_of(job);
	BgjobMember state = bgjob_member_of_state(job->state);
	BgjobRel *rel;
	const int64 *chain;
	int length;

	if (batch == 0 || n == 0)
		return;
	chain = bgjob_batch_chain(batch, &length);
	rel = bgjob_rel_open(BGJOB_TABLE_MEMBER);
	for (int i = 0; i < length && state != BGJOB_MEMBER_NONE; i++)
		bgjob_members_insert(rel, chain[i], state, first, n);
	bgjob_rel_close(rel);
	for (int i = 0; i < length; i++)
		bgjob_batch_totals_add(chain[i], n, 0, 0);
}

/* bgjob_batch_restore enters a job into its batch, and into those above it, where it is missing after a restore. */
void
bgjob_batch_restore(const BgjobJob *job)
{
	int64 batch = batch_of(job);
	BgjobMember state = bgjob_member_of_state(job->state);
	BgjobRel *rel;
	const int64 *chain;
	int length;
	int64 found;

	if (batch == 0 || state == BGJOB_MEMBER_NONE)
		return;
	chain = bgjob_batch_chain(batch, &length);
	rel = bgjob_rel_open(BGJOB_TABLE_MEMBER);
	for (int i = 0; i < length; i++)
		if (bgjob_members_read(chain[i], state, job->id - 1, &found, 1) == 0 ||
			found != job->id)
			bgjob_members_insert(rel, chain[i], state, job->id, 1);
	bgjob_rel_close(rel);
}

/* bgjob_batch_flip notes that a job of a batch has another state than "from". */
void
bgjob_batch_flip(const BgjobJob *job, BgjobState from)
{
	int64 batch = batch_of(job);
	BgjobMember was = bgjob_member_of_state(from);
	BgjobMember is = bgjob_member_of_state(job->state);
	BgjobRel *rel;
	const int64 *chain;
	int length;

	if (batch == 0 || was == is)
		return;
	chain = bgjob_batch_chain(batch, &length);
	rel = bgjob_rel_open(BGJOB_TABLE_MEMBER);
	for (int i = 0; i < length; i++)
	{
		if (was != BGJOB_MEMBER_NONE)
			bgjob_member_delete(rel, chain[i], was, job->id);
		if (is != BGJOB_MEMBER_NONE)
			bgjob_members_insert(rel, chain[i], is, job->id, 1);
	}
	bgjob_rel_close(rel);
	for (int i = 0; i < length && is == BGJOB_MEMBER_OPEN; i++)
		bgjob_batch_totals_add(chain[i], 0, 0, 0); /* the time: it is open again */
}

/* bgjob_batch_removed notes that a finished job of a batch is being removed. */
void
bgjob_batch_removed(int64 batch, int64 job, BgjobState state)
{
	BgjobMember was = bgjob_member_of_state(state);
	BgjobRel *rel;
	const int64 *chain;
	int length;

	if (was != BGJOB_MEMBER_FAILED && was != BGJOB_MEMBER_DELETED)
		return;
	chain = bgjob_batch_chain(batch, &length);
	rel = bgjob_rel_open(BGJOB_TABLE_MEMBER);
	for (int i = 0; i < length; i++)
		bgjob_member_delete(rel, chain[i], was, job);
	bgjob_rel_close(rel);
	for (int i = 0; i < length; i++)
		bgjob_batch_totals_add(chain[i], 0, was == BGJOB_MEMBER_FAILED ? 1 : 0,
							   was == BGJOB_MEMBER_DELETED ? 1 : 0);
}
