/*-------------------------------------------------------------------------
 *
 * member.c
 *	  The jobs of batches that have not succeeded, and the number of all jobs of a batch.
 *
 * bgjob_internal.member has a row for each such job, in its batch and in each one above
 * it; bgjob_internal.batch_total has rows that are added up. store/batch.c says what
 * they mean.
 *
 * Any process, inside a transaction. Everything is read as it is at this moment. No row
 * is waited for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "store/bulk.h"
#include "store/member.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Columns of bgjob_internal.member, and of its index. */
enum
{
	M_BATCH = 1,
	M_STATE,
	M_JOB
};

/* Columns of bgjob_internal.batch_total. */
enum
{
	T_BATCH = 1,
	T_AT,
	T_JOBS,
	T_FAILED,
	T_DELETED
};

#define T_COUNT T_DELETED

/* Rows of jobs are deleted by one scan if it reads at most so many for each. */
#define SCAN_SPAN 8

/* ---- reading ---- */

static BgjobScan *
scan_members(BgjobRel *rel, Snapshot snapshot, int64 id, BgjobMember state, int64 after)
{
	ScanKeyData keys[3];

	bgjob_key(&keys[0], M_BATCH, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	bgjob_key(&keys[1], M_STATE, BTEqualStrategyNumber, F_CHAREQ, CharGetDatum((char) state));
	bgjob_key(&keys[2], M_JOB, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after));
	return bgjob_scan_begin(rel, "member_pkey", snapshot, keys, 3);
}

/* Returns whether a batch has members in a state. */
static bool
has_members(BgjobRel *rel, Snapshot snapshot, int64 id, BgjobMember state)
{
	BgjobScan *scan = scan_members(rel, snapshot, id, state, 0);
	bool found = bgjob_scan_previous(scan);

	ExecClearTuple(rel->slot);
	bgjob_scan_end(scan);
	return found;
}

/* bgjob_batch_totals adds up the rows of a batch in bgjob_internal.batch_total. */
void
bgjob_batch_totals(int64 id, BgjobBatchTotals *totals)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_BATCH_TOTAL);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData key;
	BgjobScan *scan;

	*totals = (BgjobBatchTotals){.at = DT_NOBEGIN};
	bgjob_key(&key, T_BATCH, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	scan = bgjob_scan_begin(rel, "batch_total_idx", snapshot, &key, 1);
	while (bgjob_scan_next(scan))
	{
		slot_getallattrs(rel->slot);
		totals->at = Max(totals->at, DatumGetTimestampTz(rel->slot->tts_values[T_AT - 1]));
		totals->failed += DatumGetInt64(rel->slot->tts_values[T_FAILED - 1]);
		totals->deleted += DatumGetInt64(rel->slot->tts_values[T_DELETED - 1]);
	}
	ExecClearTuple(rel->slot);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
}

/*
 * bgjob_members_state returns the state of a batch by its members: awaiting, if there is an unfinished
 * one; failed, if a job has failed; else deleted, if one was deleted; else succeeded.
 */
BgjobState
bgjob_members_state(int64 id)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_MEMBER);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobState state = BGJOB_SUCCEEDED;
	BgjobBatchTotals totals;

	if (has_members(rel, snapshot, id, BGJOB_MEMBER_OPEN))
		state = BGJOB_AWAITING;
	else
	{
		bgjob_batch_totals(id, &totals);
		if (totals.failed > 0 || has_members(rel, snapshot, id, BGJOB_MEMBER_FAILED))
			state = BGJOB_FAILED;
		else if (totals.deleted > 0 || has_members(rel, snapshot, id, BGJOB_MEMBER_DELETED))
			state = BGJOB_DELETED;
	}
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return state;
}

/* bgjob_members_last_open returns the unfinished job of a batch that was enqueued last; 0: there is none. */
int64
bgjob_members_last_open(int64 id)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_MEMBER);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobScan *scan = scan_members(rel, snapshot, id, BGJOB_MEMBER_OPEN, 0);
	int64 last = 0;
	bool isnull;

	if (bgjob_scan_previous(scan))
		last = DatumGetInt64(slot_getattr(rel->slot, M_JOB, &isnull));
	ExecClearTuple(rel->slot);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return last;
}

/* bgjob_members_read reads at most "max" members in a state, after an id; returns their number. */
int
bgjob_members_read(int64 id, BgjobMember state, int64 after, int64 *jobs, int max)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_MEMBER);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobScan *scan = scan_members(rel, snapshot, id, state, after);
	bool isnull;
	int n = 0;

	while (n < max && bgjob_scan_next(scan))
		jobs[n++] = DatumGetInt64(slot_getattr(rel->slot, M_JOB, &isnull));
	ExecClearTuple(rel->slot);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return n;
}

/* bgjob_member_is_open returns whether a job is an unfinished member of a batch. */
bool
bgjob_member_is_open(int64 id, int64 job)
{
	int64 found;

	return bgjob_members_read(id, BGJOB_MEMBER_OPEN, job - 1, &found, 1) == 1 && found == job;
}

/* ---- writing ---- */

/* bgjob_member_of_state returns as what a batch counts a job in a state. */
BgjobMember
bgjob_member_of_state(BgjobState state)
{
	switch (state)
	{
		case BGJOB_NONE:
		case BGJOB_SUCCEEDED:
			return BGJOB_MEMBER_NONE;
		case BGJOB_FAILED:
			return BGJOB_MEMBER_FAILED;
		case BGJOB_DELETED:
			return BGJOB_MEMBER_DELETED;
		default:
			return BGJOB_MEMBER_OPEN;
	}
}

static void
insert_one(BgjobRel *rel, int64 batch, BgjobMember state, int64 job)
{
	Datum values[] = {Int64GetDatum(batch), CharGetDatum((char) state), Int64GetDatum(job)};
	bool nulls[lengthof(values)] = {false};

	bgjob_rel_insert(rel, values, nulls);
}

/* bgjob_member_delete deletes the row of a job, unless another transaction is deleting it. */
void
bgjob_member_delete(BgjobRel *rel, int64 batch, BgjobMember state, int64 job)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData keys[3];
	BgjobScan *scan;

	bgjob_key(&keys[0], M_BATCH, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(batch));
	bgjob_key(&keys[1], M_STATE, BTEqualStrategyNumber, F_CHAREQ, CharGetDatum((char) state));
	bgjob_key(&keys[2], M_JOB, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(job));
	scan = bgjob_scan_begin(rel, "member_pkey", snapshot, keys, 3);
	if (bgjob_scan_next(scan))
		(void) bgjob_rel_delete(rel, &rel->slot->tts_tid, NULL);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
}

/* Deletes the rows of unfinished jobs of a batch by one scan. The ids ascend. */
static void
leave_by_scan(BgjobRel *rel, int64 batch, const int64 *jobs, int n)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData keys[4];
	BgjobScan *scan;
	int i = 0;

	bgjob_key(&keys[0], M_BATCH, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(batch));
	bgjob_key(&keys[1], M_STATE, BTEqualStrategyNumber, F_CHAREQ,
			  CharGetDatum((char) BGJOB_MEMBER_OPEN));
	bgjob_key(&keys[2], M_JOB, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(jobs[0]));
	bgjob_key(&keys[3], M_JOB, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(jobs[n - 1]));
	scan = bgjob_scan_begin(rel, "member_pkey", snapshot, keys, lengthof(keys));
	while (i < n && bgjob_scan_next(scan))
	{
		bool isnull;
		int64 job = DatumGetInt64(slot_getattr(rel->slot, M_JOB, &isnull));

		while (i < n && jobs[i] < job)
			i++;
		if (i < n && jobs[i] == job)
		{
			(void) bgjob_rel_delete(rel, &rel->slot->tts_tid, NULL);
			i++;
		}
	}
	ExecClearTuple(rel->slot);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
}

/* bgjob_members_leave deletes the rows of n jobs of a batch that were unfinished. Their ids ascend; mostly they are close together. */
void
bgjob_members_leave(int64 batch, const int64 *jobs, int n)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_MEMBER);

	if (n > 1 && jobs[n - 1] - jobs[0] < SCAN_SPAN * (int64) n)
		leave_by_scan(rel, batch, jobs, n);
	else
		for (int i = 0; i < n; i++)
			bgjob_member_delete(rel, batch, BGJOB_MEMBER_OPEN, jobs[i]);
	bgjob_rel_close(rel);
}

/* bgjob_batch_totals_add adds numbers to those of a batch; also the time: it is open again. */
void
bgjob_batch_totals_add(int64 batch, int64 jobs, int64 failed, int64 deleted)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_BATCH_TOTAL);
	Datum values[T_COUNT] = {Int64GetDatum(batch), TimestampTzGetDatum(bgjob_now()),
							 Int64GetDatum(jobs), Int64GetDatum(failed),
							 Int64GetDatum(deleted)};
	bool nulls[T_COUNT] = {false};

	bgjob_rel_insert(rel, values, nulls);
	bgjob_rel_close(rel);
}

/* bgjob_members_insert inserts the rows of n jobs of a batch, whose ids are consecutive. */
void
bgjob_members_insert(BgjobRel *rel, int64 batch, BgjobMember state, int64 first, int n)
{
	BgjobBulk *bulk;
	Datum values[] = {Int64GetDatum(batch), CharGetDatum((char) state), (Datum) 0};
	bool nulls[lengthof(values)] = {false};
	int flushed;

	if (n == 1)
	{
		insert_one(rel, batch, state, first);
		return;
	}
	bulk = bgjob_bulk_begin(rel);
	for (int i = 0; i < n; i++)
	{
		values[M_JOB - 1] = Int64GetDatum(first + i);
		if (bgjob_bulk_add(bulk, values, nulls) || i == n - 1)
			(void) bgjob_bulk_flush(bulk, &flushed);
	}
	bgjob_bulk_end(bulk);
}
