/*-------------------------------------------------------------------------
 *
 * sequencekey.c
 *	  The jobs of a sequence_key: bgjob_internal.sequence.
 *
 * A job enters its sequence when it first becomes ready to run, and leaves it when it has succeeded or was
 * deleted; so while it waits for a retry, and while it is failed, it goes on to stand there. Of those that stand
 * there, only the one with the lowest id may run (store/gating.c). Before which job nobody stands is
 * remembered in shared memory (base/sequencemark.c).
 *
 * Any process, inside a transaction. Nothing here waits: rows of different jobs never conflict.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "base/gatechange.h"
#include "base/sequencemark.h"
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
	bgjob_change_sequence_entered(hash, job); /* maybe also a row of a restore */
	ExecClearTuple(rel->slot);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
}

/* Returns the job of the row that was read last. */
static int64
job_of_row(const BgjobRel *rel)
{
	bool isnull;

	return DatumGetInt64(slot_getattr(rel->slot, S_JOB, &isnull));
}

/* Where the row is of the job that was looked for last, so that it can be deleted without another look. */
static struct
{
	Oid role;
	int64 hash;
	int64 job; /* 0: none */
	ItemPointerData tid;
	bool others; /* stood behind it */
} own;

/* Notes where the row is that a scan has just read, and whether another one follows. */
static void
note_own(BgjobRel *rel, BgjobScan *scan, Oid role, int64 hash, int64 job)
{
	own.role = role;
	own.hash = hash;
	own.job = job;
	own.tid = rel->slot->tts_tid;
	own.others = bgjob_scan_next(scan);
}

/* Reads the row of a job where it was, if it is still there. */
static bool
is_there(BgjobRel *rel, Oid role, int64 hash, int64 job)
{
	bool there;

	if (own.job != job || own.hash != hash || own.role != role)
		return false;
	there = bgjob_rel_fetch(rel, &own.tid, SnapshotSelf);
	if (there)
	{
		slot_getallattrs(rel->slot);
		there = DatumGetObjectId(rel->slot->tts_values[S_ROLE - 1]) == role &&
				DatumGetInt64(rel->slot->tts_values[S_HASH - 1]) == hash &&
				DatumGetInt64(rel->slot->tts_values[S_JOB - 1]) == job;
	}
	ExecClearTuple(rel->slot);
	return there;
}

/* Looks for the row of a job, and whether others stand behind it. */
static void
look_for(BgjobRel *rel, Oid role, int64 hash, int64 job)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData keys[3];
	BgjobScan *scan;

	own.job = 0;
	sequence_keys(keys, role, hash);
	bgjob_key(&keys[2], S_JOB, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(job));
	scan = bgjob_scan_begin(rel, SEQUENCE_INDEX, snapshot, keys, 3);
	if (bgjob_scan_next(scan) && job_of_row(rel) == job)
		note_own(rel, scan, role, hash, job);
	ExecClearTuple(rel->slot);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
}

/* bgjob_sequence_leave has a job leave its sequence. */
BgjobSequenceLeft
bgjob_sequence_leave(Oid role, int64 hash, int64 job)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_SEQUENCE);
	BgjobSequenceLeft left = BGJOB_SEQUENCE_NOT_THERE;

	if (!is_there(rel, role, hash, job))
		look_for(rel, role, hash, job);
	if (own.job != 0 && bgjob_rel_delete(rel, &own.tid, NULL))
		left = own.others ? BGJOB_SEQUENCE_OTHERS : BGJOB_SEQUENCE_NO_OTHERS;
	own.job = 0;
	bgjob_rel_close(rel);
	if (left != BGJOB_SEQUENCE_NOT_THERE)
		bgjob_change_sequence_left(hash, job);
	return left;
}

/* Looks along the jobs that stand before a job, from the mark on, up to its own row. */
static int64
find_before(BgjobRel *rel, Oid role, int64 hash, int64 job, const BgjobSequenceMark *mark)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData keys[3];
	BgjobScan *scan;
	int64 before = 0;
	int64 first = job; /* at which somebody stands */
	bool more = true;

	sequence_keys(keys, role, hash);
	bgjob_key(&keys[2], S_JOB, BTGreaterEqualStrategyNumber, F_INT8GE,
			  Int64GetDatum(mark->job));
	scan = bgjob_scan_begin(rel, SEQUENCE_INDEX, snapshot, keys, 3);
	while (before == 0 && more && bgjob_scan_next(scan))
	{
		int64 other = job_of_row(rel);

		first = Min(first, other);
		more = other < job;
		if (other == job)
			note_own(rel, scan, role, hash, job);
		else if (more && !bgjob_job_is_over(other))
			before = other;
	}
	ExecClearTuple(rel->slot);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_sequence_mark_advance(hash, mark, first);
	return before;
}

/*
 * bgjob_sequence_before returns the job with the lowest id in a sequence, if that is lower than a given one; else 0.
 * A row whose job is over, or has been removed, stands for nothing.
 */
int64
bgjob_sequence_before(Oid role, int64 hash, int64 job)
{
	BgjobSequenceMark mark = bgjob_sequence_mark(hash); /* before the snapshot */
	BgjobRel *rel;
	int64 before;

	own.job = 0;
	if (mark.job >= job)
		return 0;
	rel = bgjob_rel_open_read(BGJOB_TABLE_SEQUENCE);
	before = find_before(rel, role, hash, job, &mark);
	bgjob_rel_close(rel);
	return before;
}
