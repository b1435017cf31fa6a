/*-------------------------------------------------------------------------
 *
 * sequencekey.c
 *	  The jobs of a sequence_key: bgjob_internal.sequence.
 *
 * A job enters its sequence when it first becomes ready to run, and leaves it when it has succeeded or was
 * deleted; so while it waits for a retry, and while it is failed, it goes on to stand there. Of those that stand
 * there, only the one with the lowest id may run (store/gating.c).
 *
 * Any process, inside a transaction. Nothing here waits: rows of different jobs never conflict.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "store/jobrow.h"
#include "store/sequencekey.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#define SEQUENCE_INDEX "sequence_pkey"

/* Columns of bgjob_internal.sequence. */
enum
{
	S_ROLE = 1,
	S_HASH,
	S_JOB
};

#define S_COUNT S_JOB

static void
sequence_keys(ScanKey keys, Oid role, int64 hash)
{
	bgjob_key(&keys[0], S_ROLE, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
	bgjob_key(&keys[1], S_HASH, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(hash));
}

/* Finds the row of a job; rel->slot holds it. */
static bool
find(BgjobRel *rel, Snapshot snapshot, Oid role, int64 hash, int64 job)
{
	ScanKeyData keys[3];
	BgjobScan *scan;
	bool found;

	sequence_keys(keys, role, hash);
	bgjob_key(&keys[2], S_JOB, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(job));
	scan = bgjob_scan_begin(rel, SEQUENCE_INDEX, snapshot, keys, 3);
	found = bgjob_scan_next(scan);
	if (found)
		ExecMaterializeSlot(rel->slot);
	bgjob_scan_end(scan);
	return found;
}

/* bgjob_sequence_enter has a job, which the caller has locked, stand in its sequence, if it does not yet. */
void
bgjob_sequence_enter(Oid role, int64 hash, int64 job)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_SEQUENCE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	Datum values[S_COUNT] = {ObjectIdGetDatum(role), Int64GetDatum(hash), Int64GetDatum(job)};
	bool nulls[S_COUNT] = {false};

	if (!find(rel, snapshot, role, hash, job))
		bgjob_rel_insert(rel, values, nulls);
	ExecClearTuple(rel->slot);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
}

/* bgjob_sequence_leave has a job leave its sequence; false: it does not stand there. */
bool
bgjob_sequence_leave(Oid role, int64 hash, int64 job)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_SEQUENCE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	bool there = find(rel, snapshot, role, hash, job) &&
				 bgjob_rel_delete(rel, &rel->slot->tts_tid, NULL);

	ExecClearTuple(rel->slot);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return there;
}

/*
 * bgjob_sequence_before returns the job with the lowest id in a sequence, if that is lower than a given one; else 0.
 * A row whose job is over, or has been removed, stands for nothing.
 */
int64
bgjob_sequence_before(Oid role, int64 hash, int64 job)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_SEQUENCE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData keys[3];
	BgjobScan *scan;
	int64 before = 0;
	bool isnull;

	sequence_keys(keys, role, hash);
	bgjob_key(&keys[2], S_JOB, BTLessStrategyNumber, F_INT8LT, Int64GetDatum(job));
	scan = bgjob_scan_begin(rel, SEQUENCE_INDEX, snapshot, keys, 3);
	while (before == 0 && bgjob_scan_next(scan))
	{
		int64 other = DatumGetInt64(slot_getattr(rel->slot, S_JOB, &isnull));

		if (!bgjob_job_is_over(other))
			before = other;
	}
	ExecClearTuple(rel->slot);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return before;
}
