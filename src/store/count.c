/*-------------------------------------------------------------------------
 *
 * count.c
 *	  How many jobs are in each state.
 *
 * The counts are kept in shared memory and moved along by every transaction
 * that commits (base/change.c), so bgjob.stats is cheap at any size and no
 * row is written for them. After a start of the server, and where a prepared
 * transaction has changed jobs, the first who asks counts from the tables: the
 * counters are set to zero at the very moment of his snapshot and what he has
 * counted is added when that is done, so transactions that commit meanwhile
 * are counted too. Whoever asks while he counts, counts for himself.
 *
 * Known hole: a transaction that commits between the two instructions
 * (microseconds) is counted twice or not at all, until the next start.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "store/count.h"
#include "store/job.h"
#include "store/relation.h"
#include "utils/snapmgr.h"

/* Adds up the jobs by state; [BGJOB_NONE] are the retries among the scheduled ones. */
static void
add_jobs(BgjobRel *rel, Snapshot snapshot, int64 *counts)
{
	TableScanDesc scan = table_beginscan(rel->rel, snapshot, 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, rel->slot))
	{
		BgjobState state;

		CHECK_FOR_INTERRUPTS();
		slot_getsomeattrs(rel->slot, BGJOB_C_STATE);
		state = bgjob_state_by_letter(DatumGetChar(rel->slot->tts_values[BGJOB_C_STATE - 1]));
		counts[state]++;
		if (state == BGJOB_SCHEDULED &&
			DatumGetInt32(rel->slot->tts_values[BGJOB_C_RETRIES - 1]) > 0)
			counts[BGJOB_NONE]++;
	}
	table_endscan(scan);
}

/* Adds the jobs that have been removed. */
static void
add_removed(Snapshot snapshot, int64 *counts)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_TOTAL);
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

/* Counts from the tables; with "entry", into its counters. */
static void
count_tables(int64 *counts, BgjobDatabase *entry)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_JOB);
	Snapshot snapshot;

	for (int state = 0; entry != NULL && state < BGJOB_NSTATES; state++)
		pg_atomic_write_u64(&entry->counts[state], 0);
	snapshot = bgjob_rel_snapshot(rel);
	add_jobs(rel, snapshot, counts);
	add_removed(snapshot, counts);
	for (int state = 0; entry != NULL && state < BGJOB_NSTATES; state++)
		pg_atomic_fetch_add_u64(&entry->counts[state], counts[state]);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
}

/* Whoever counts has been cancelled, or has left: the next one begins anew. */
static void
give_up(int code, Datum entry)
{
	uint32 counting = BGJOB_COUNTS_UNDERWAY;

	(void) pg_atomic_compare_exchange_u32(
		&((BgjobDatabase *) DatumGetPointer(entry))->counts_status, &counting,
		BGJOB_COUNTS_UNKNOWN);
}

/*
 * Counts for all, unless somebody does already. False if so; or if this
 * transaction has changes of its own, which are added when it commits.
 */
static bool
count_for_all(BgjobDatabase *entry, int64 *counts)
{
	uint32 status = BGJOB_COUNTS_UNKNOWN;

	if (TransactionIdIsValid(GetTopTransactionIdIfAny()) ||
		!pg_atomic_compare_exchange_u32(&entry->counts_status, &status, BGJOB_COUNTS_UNDERWAY))
		return false;
	PG_ENSURE_ERROR_CLEANUP(give_up, PointerGetDatum(entry));
	{
		count_tables(counts, entry);
	}
	PG_END_ENSURE_ERROR_CLEANUP(give_up, PointerGetDatum(entry));
	status = BGJOB_COUNTS_UNDERWAY; /* unless they have become doubtful meanwhile */
	(void) pg_atomic_compare_exchange_u32(&entry->counts_status, &status, BGJOB_COUNTS_VALID);
	return true;
}

/*
 * bgjob_count_jobs gives the number of jobs in each state, [BGJOB_NONE] being
 * that of the retries among the scheduled ones; "counts" must be zero. "entry"
 * is the database's, NULL if it has none.
 */
void
bgjob_count_jobs(BgjobDatabase *entry, int64 *counts)
{
	if (entry != NULL && pg_atomic_read_u32(&entry->counts_status) == BGJOB_COUNTS_VALID)
		for (int state = 0; state < BGJOB_NSTATES; state++)
			counts[state] = (int64) pg_atomic_read_u64(&entry->counts[state]);
	else if (entry == NULL || !count_for_all(entry, counts))
		count_tables(counts, NULL);
}
