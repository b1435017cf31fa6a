/*-------------------------------------------------------------------------
 *
 * rangeclean.c
 *	  Computing the map of jobs (base/jobmap.h) from their rows.
 *
 * A map begins with the highest id in bgjob_internal.job, in any version of a row, also
 * of transactions that have not been committed. A range is cleaned by reading its rows:
 * all versions but those that are dead to new snapshots. Old snapshots do not use the
 * summary where these were left out.
 *
 * A session that lists jobs cleans ranges which promised something and held nothing of
 * it (store/listing.c); the scheduler cleans what is unknown and what has come to
 * rest (process/mapping.c). None of that is ever written to disk, and all of it may
 * stop at any point.
 *
 * Any process, inside a transaction, but not in recovery: there is no map then. Locks:
 * those of base/jobmap.h; while they are held nothing is waited for but the disk.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "base/compat.h"
#include "base/jobmap.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "store/jobrow.h"
#include "store/rangeclean.h"
#include "store/summary.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

/* bgjob_full_transaction returns the full id of a transaction that is not in the future, as a number. */
uint64
bgjob_full_transaction(TransactionId xid)
{
	FullTransactionId next = ReadNextFullTransactionId();
	uint32 epoch = EpochFromFullTransactionId(next);

	if (xid > XidFromFullTransactionId(next))
		epoch--;
	return U64FromFullTransactionId(FullTransactionIdFromEpochAndXid(epoch, xid));
}

/* Fills in two keys for the ids of a span of ranges. */
static void
span_keys(ScanKey keys, const BgjobMapSpan *span)
{
	bgjob_key(&keys[0], 1, BTGreaterEqualStrategyNumber, F_INT8GE,
			  Int64GetDatum(bgjob_jobmap_first_id(span->first)));
	bgjob_key(&keys[1], 1, BTLessEqualStrategyNumber, F_INT8LE,
			  Int64GetDatum(bgjob_jobmap_last_id(span->last)));
}

/* Returns the highest id that any version of a row has, in a span or (NULL) at all; -1 if there is none. */
static int64
highest_id(BgjobRel *jobs, Relation index, const BgjobMapSpan *span)
{
	ScanKeyData keys[2];
	int nkeys = span == NULL ? 0 : 2;
	IndexScanDesc scan = bgjob_index_beginscan(jobs->rel, index, SnapshotAny, nkeys);
	int64 id = -1;
	bool isnull;

	if (span != NULL)
		span_keys(keys, span);
	index_rescan(scan, keys, nkeys, NULL, 0);
	if (index_getnext_slot(scan, BackwardScanDirection, jobs->slot))
		id = DatumGetInt64(slot_getattr(jobs->slot, BGJOB_C_ID, &isnull));
	ExecClearTuple(jobs->slot);
	index_endscan(scan);
	return id;
}

/* bgjob_ranges_settle makes sure that this database has a map. False: there is none, as in recovery. */
bool
bgjob_ranges_settle(BgjobRel *jobs)
{
	uint64 born;

	if (RecoveryInProgress())
		return false;
	if (bgjob_jobmap_current() == 0 && bgjob_jobmap_begin(&born))
	{
		Relation index = index_open(bgjob_relation_oid("job_pkey"), AccessShareLock);

		bgjob_jobmap_settle(born, highest_id(jobs, index, NULL));
		index_close(index, AccessShareLock);
	}
	return bgjob_jobmap_current() != 0;
}

/* Returns whether the version of a row that a scan has read has been deleted, or replaced, by a transaction that has committed. */
static bool
is_dead(TupleTableSlot *slot)
{
	BufferHeapTupleTableSlot *read = (BufferHeapTupleTableSlot *) slot;
	TransactionId deleter;
	HTSV_Result state;

	Assert(TTS_IS_BUFFERTUPLE(slot));
	LockBuffer(read->buffer, BUFFER_LOCK_SHARE);
	state = HeapTupleSatisfiesVacuumHorizon(read->base.tuple, read->buffer, &deleter);
	LockBuffer(read->buffer, BUFFER_LOCK_UNLOCK);
	return state == HEAPTUPLE_RECENTLY_DEAD || state == HEAPTUPLE_DEAD;
}

/* Adds all versions of the rows of a range that a new snapshot may see, now or when transactions in progress have ended. */
static void
read_range(BgjobRel *jobs, Relation index, int64 range, BgjobMapNote *found)
{
	BgjobMapSpan span = {range, range};
	SnapshotData versions;
	ScanKeyData keys[2];
	IndexScanDesc scan;

	memset(&versions, 0, sizeof(versions));
	InitNonVacuumableSnapshot(versions, GlobalVisTestFor(jobs->rel));
	span_keys(keys, &span);
	scan = bgjob_index_beginscan(jobs->rel, index, &versions, 2);
	index_rescan(scan, keys, 2, NULL, 0);
	while (index_getnext_slot(scan, ForwardScanDirection, jobs->slot))
	{
		if (is_dead(jobs->slot))
		{
			found->states |= BGJOB_MAP_DEAD;
			continue;
		}
		slot_getsomeattrs(jobs->slot, BGJOB_C_TAGS);
		bgjob_summary_add(found, jobs->slot->tts_values, jobs->slot->tts_isnull);
	}
	ExecClearTuple(jobs->slot);
	index_endscan(scan);
	/* After the deletions: see OLD SNAPSHOTS in base/jobmap.c. */
	if ((found->states & BGJOB_MAP_DEAD) != 0)
		found->dead_to = U64FromFullTransactionId(ReadNextFullTransactionId());
}

/*
 * bgjob_range_clean computes the summary of a range anew. False: there is no room for
 * it, or, unless "wait", another process is cleaning.
 */
bool
bgjob_range_clean(BgjobRel *jobs, Relation index, int64 range, bool wait)
{
	BgjobMapNote found = {.states = 0};
	Snapshot snapshot = bgjob_rel_snapshot(jobs); /* keeps versions that it sees from going */
	bool begun = bgjob_jobmap_clean_begin(range, wait);

	if (begun)
	{
		read_range(jobs, index, range, &found);
		bgjob_jobmap_clean_end(&found);
	}
	UnregisterSnapshot(snapshot);
	return begun;
}

/* Returns the highest range of a span that is worth cleaning, -1 if there is none. Those without a chunk may be far more than the rows. */
static int64
next_range(BgjobRel *jobs, Relation index, const BgjobMapSpan *span)
{
	int64 id;

	if (span->last - span->first < BGJOB_MAP_SPAN)
		return span->last;
	id = highest_id(jobs, index, span);
	return id < 0 ? -1 : bgjob_jobmap_range_of(id);
}

/*
 * bgjob_ranges_clean_some cleans at most "max" ranges that are worth it, from the range
 * *from on downwards. Returns whether there may be more: then *from is where to go
 * on. "wait" as for bgjob_range_clean.
 */
bool
bgjob_ranges_clean_some(int64 *from, int max, bool wait)
{
	static const BgjobMapProbe unclean = {.unclean = true};
	BgjobRel *jobs = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	Relation index = index_open(bgjob_relation_oid("job_pkey"), AccessShareLock);
	BgjobMapSpan span;

	while (max-- > 0 && bgjob_jobmap_current() != 0 &&
		   bgjob_jobmap_next(*from, &unclean, &span))
	{
		int64 range = next_range(jobs, index, &span);

		CHECK_FOR_INTERRUPTS();
		if (range >= 0)
			(void) bgjob_range_clean(jobs, index, range, wait);
		*from = (range >= 0 ? range : span.first) - 1;
	}
	if (max >= 0)
		*from = -1;
	index_close(index, AccessShareLock);
	bgjob_rel_close(jobs);
	return *from >= 0;
}
