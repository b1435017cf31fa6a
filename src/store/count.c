/*-------------------------------------------------------------------------
 *
 * count.c
 *	  The number of jobs in each state.
 *
 * bgjob.stats is cheap at any size, and no row is written for it. Every
 * transaction adds its moves between states to shared memory when it has
 * committed (base/change.c). The base, the jobs from before, is counted from
 * the tables by the first session that asks, and anew after each doubt: a start
 * of the server, rows inserted or deleted by SQL, a commit of a prepared
 * transaction. The number of jobs is base + moves.
 *
 * THE MOMENT. The base is what the snapshot shows, less the moves at that
 * moment. Both must cover exactly the same transactions. A transaction adds its
 * moves a little after it becomes visible, and names itself in
 * bgjob_registry->movers from before until after that. So the session reads the
 * moves, and then takes the snapshot. If moves were added meanwhile, or the
 * snapshot shows a named transaction, the session tries again. A session that
 * finds no such moment counts for itself alone.
 *
 * Runs in the session that asks. No locks are held while counting; several
 * sessions may count at a time, with the same result.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "base/compat.h"
#include "miscadmin.h"
#include "store/count.h"
#include "store/job.h"
#include "store/relation.h"
#include "utils/snapmgr.h"

/* Number of attempts to find a moment at which no transaction adds moves, and the pause between, in microseconds. */
#define MOMENT_TRIES 1000
#define MOMENT_PAUSE 50

/* Adds the jobs of the table to the counts; [BGJOB_NONE] is for the retries among the scheduled ones. */
static void
add_jobs(BgjobRel *rel, Snapshot snapshot, int64 *counts)
{
	TableScanDesc scan = table_beginscan(rel->rel, snapshot, 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, rel->slot))
	{
		BgjobState state;
		bool isnull;
		int retries;

		CHECK_FOR_INTERRUPTS();
		state = bgjob_state_by_letter(
			DatumGetChar(slot_getattr(rel->slot, BGJOB_C_STATE, &isnull)));
		counts[state]++;
		if (state != BGJOB_SCHEDULED)
			continue;
		retries = DatumGetInt32(slot_getattr(rel->slot, BGJOB_C_RETRIES, &isnull));
		if (!isnull && retries > 0)
			counts[BGJOB_NONE]++;
	}
	table_endscan(scan);
}

/* Adds the jobs that have been removed. */
static void
add_removed(Snapshot snapshot, int64 *counts)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_TOTAL);
	TableScanDesc scan = table_beginscan(rel->rel, snapshot, 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, rel->slot))
	{
		slot_getallattrs(rel->slot);
		counts[bgjob_state_by_letter(DatumGetChar(rel->slot->tts_values[0]))] +=
			DatumGetInt64(rel->slot->tts_values[1]);
	}
	table_endscan(scan);
	bgjob_rel_close(rel);
}

/* Returns whether a snapshot shows a transaction, or may show it. */
static bool
may_show(Snapshot snapshot, TransactionId xid)
{
#ifdef BGJOB_FAST_MOVERS
	return !XidInMVCCSnapshot(xid, snapshot);
#else
	return true;
#endif
}

/* Returns whether a transaction that a snapshot shows has not added its moves yet. */
static bool
has_mover(Snapshot snapshot)
{
	for (int i = 0; i < MaxBackends; i++)
	{
		TransactionId xid = *(volatile TransactionId *) &bgjob_registry->movers[i];

		if (TransactionIdIsValid(xid) && may_show(snapshot, xid))
			return true;
	}
	return false;
}

/*
 * Takes a snapshot, and the moves of exactly the transactions that it shows.
 * *exact: whether such a moment was found.
 */
static Snapshot
take_moment(BgjobRel *rel, BgjobDatabase *entry, int64 *moves, bool *exact)
{
	for (int tries = 0;; tries++)
	{
		uint64 movers = pg_atomic_read_u64(&entry->movers);
		Snapshot snapshot;

		pg_memory_barrier();
		for (int state = 0; state < BGJOB_NSTATES; state++)
			moves[state] = (int64) pg_atomic_read_u64(&entry->moves[state]);
		pg_memory_barrier();
		snapshot = bgjob_rel_snapshot(rel);
		*exact = !has_mover(snapshot);
		pg_memory_barrier();
		*exact = *exact && pg_atomic_read_u64(&entry->movers) == movers;
		if (*exact || tries == MOMENT_TRIES)
			return snapshot;
		UnregisterSnapshot(snapshot);
		pg_usleep(MOMENT_PAUSE);
	}
}

/* Publishes the counts as the shared base, unless a doubt has arisen since. */
static void
set_base(BgjobDatabase *entry, uint32 doubts, const int64 *counts, const int64 *moves)
{
	LWLockAcquire(&bgjob_registry->lock, LW_EXCLUSIVE);
	if (pg_atomic_read_u32(&entry->doubts) == doubts)
	{
		for (int state = 0; state < BGJOB_NSTATES; state++)
			entry->base[state] = counts[state] - moves[state];
		entry->counted = (uint64) doubts + 1;
	}
	LWLockRelease(&bgjob_registry->lock);
}

/*
 * Counts from the tables, and publishes the base if there is an entry; not in a
 * transaction with changes of its own, whose moves are not added yet.
 */
static void
count_tables(BgjobDatabase *entry, int64 *counts)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	bool for_all = entry != NULL && !TransactionIdIsValid(GetTopTransactionIdIfAny());
	uint32 doubts = for_all ? pg_atomic_read_u32(&entry->doubts) : 0;
	int64 moves[BGJOB_NSTATES];
	Snapshot snapshot;

	if (for_all)
		snapshot = take_moment(rel, entry, moves, &for_all);
	else
		snapshot = bgjob_rel_snapshot(rel);
	add_jobs(rel, snapshot, counts);
	add_removed(snapshot, counts);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	if (for_all)
		set_base(entry, doubts, counts, moves);
}

/* bgjob_count_read reads the counts from shared memory; false if the jobs have not been counted yet. */
bool
bgjob_count_read(BgjobDatabase *entry, int64 *counts)
{
	bool known;

	LWLockAcquire(&bgjob_registry->lock, LW_SHARED);
	known = entry->counted == (uint64) pg_atomic_read_u32(&entry->doubts) + 1;
	for (int state = 0; known && state < BGJOB_NSTATES; state++)
		counts[state] = entry->base[state] + (int64) pg_atomic_read_u64(&entry->moves[state]);
	LWLockRelease(&bgjob_registry->lock);
	return known;
}

/*
 * bgjob_count_jobs counts the jobs in each state; [BGJOB_NONE] is that
 * of the retries among the scheduled ones. "counts" must be zero. "entry" is
 * the database's, NULL if it has none.
 */
void
bgjob_count_jobs(BgjobDatabase *entry, int64 *counts)
{
	if (entry == NULL || !bgjob_count_read(entry, counts))
		count_tables(entry, counts);
}
