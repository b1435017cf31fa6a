/*-------------------------------------------------------------------------
 *
 * count.c
 *	  How many jobs are in each state.
 *
 * The counts are kept in shared memory and moved along by every transaction
 * that commits (base/change.c), so bgjob.stats is cheap at any size and no
 * row is written for them. After a start of the server, and where a prepared
 * transaction has changed jobs, they are counted once from the tables: the
 * counters are set to zero at the very moment of the snapshot and what has
 * been counted is added when that is done, so transactions that commit
 * meanwhile are counted too.
 *
 * Known hole: a transaction that commits between the two instructions
 * (microseconds) is counted twice or not at all, until the next start.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "miscadmin.h"
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

/* bgjob_count_jobs counts all jobs of this database anew, into its entry in the registry. */
void
bgjob_count_jobs(BgjobDatabase *entry)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_JOB);
	int64 counts[BGJOB_NSTATES] = {0};
	Snapshot snapshot;

	for (int state = 0; state < BGJOB_NSTATES; state++)
		pg_atomic_write_u64(&entry->counts[state], 0);
	snapshot = bgjob_rel_snapshot(rel);
	add_jobs(rel, snapshot, counts);
	add_removed(snapshot, counts);
	for (int state = 0; state < BGJOB_NSTATES; state++)
		pg_atomic_fetch_add_u64(&entry->counts[state], counts[state]);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	pg_atomic_write_u32(&entry->counts_valid, 1);
}

/* bgjob_count_tables counts from the tables, for where the registry cannot be asked. */
void
bgjob_count_tables(int64 *counts)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_JOB);
	Snapshot snapshot = bgjob_rel_snapshot(rel);

	add_jobs(rel, snapshot, counts);
	add_removed(snapshot, counts);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
}
