/*-------------------------------------------------------------------------
 *
 * restore.c
 *	  Jobs of a restored or copied database, which are not in their places.
 *
 * A dump has the rows of bgjob_internal.job alone. The rows of its places (queue,
 * schedule, claims, failures) are not part of it, so that no restored job runs by
 * itself. bgjob_adopt() inserts them again. Until then the scheduler counts the
 * jobs that are held back, and warns.
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "store/batch.h"
#include "store/edge.h"
#include "store/job.h"
#include "store/place.h"
#include "store/restore.h"
#include "store/sequence.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* Returns whether the job whose row is in a slot has a place. */
static bool
has_place(TupleTableSlot *slot)
{
	bool isnull;
	char letter = DatumGetChar(slot_getattr(slot, BGJOB_C_STATE, &isnull));

	return bgjob_place_of_state(bgjob_state_by_letter(letter)) != BGJOB_PLACE_NONE;
}

/*
 * Puts a job into the place of its state, if it is missing there. A job that
 * another process has is in its place, or will be; so only a job that is missing
 * at both checks, the second with its row locked, is put there. Returns whether
 * the job is unfinished, and so can be performed again.
 */
static bool
rebuild_one(BgjobRel *jobs, int64 id)
{
	BgjobCircumstances what = {.at = bgjob_now(), .reason = "Restored from a copy"};
	BgjobJob job;

	if (!bgjob_job_read(jobs, id, &job) || bgjob_place_has(&job) ||
		!bgjob_job_lock(jobs, &job) || bgjob_place_has(&job))
		return false;
	if (bgjob_transition(job.state, BGJOB_EV_INTERRUPT) !=
		BGJOB_NONE) /* its process is not here */
	{
		bgjob_job_apply(&job, BGJOB_EV_INTERRUPT, &what);
		bgjob_job_save(jobs, &job);
	}
	else
		bgjob_place_put(&job);
	return !bgjob_state_is_final(job.state);
}

/* Connects a job again with what it awaits, and with its batch. */
static void
rejoin_one(BgjobRel *jobs, int64 id)
{
	BgjobJob job;

	if (!bgjob_job_read(jobs, id, &job))
		return;
	if (job.state != BGJOB_SUCCEEDED && job.state != BGJOB_DELETED)
		bgjob_edges_restore(&job);
	bgjob_batch_restore(&job);
}

/* Returns whether the job whose row is in a slot awaits something, or is in a batch. */
static bool
is_joined(TupleTableSlot *slot)
{
	static const BgjobColumn columns[] = {BGJOB_C_AFTER, BGJOB_C_AFTER_BATCH,
										  BGJOB_C_AFTER_SIGNAL, BGJOB_C_FOLLOWS,
										  BGJOB_C_BATCH_ID};

	for (int i = 0; i < lengthof(columns); i++)
		if (!slot_attisnull(slot, columns[i]))
			return true;
	return false;
}

/*
 * Returns whether a job would be performed if it were in the place of its state.
 * It must be missing at both checks: a worker may perform it between the reading
 * and the check of its place.
 */
static bool
is_held_back(BgjobRel *jobs, int64 id)
{
	BgjobJob job;

	for (int look = 0; look < 2; look++)
		if (!bgjob_job_read(jobs, id, &job) || bgjob_state_is_final(job.state) ||
			bgjob_place_has(&job))
			return false;
	return true;
}

/*
 * bgjob_restore_count_held_back counts the jobs that bgjob_restore_rebuild would
 * put into their places, among "max" jobs after the id *after, which is advanced.
 * Returns their number; *all: no jobs follow.
 */
int64
bgjob_restore_count_held_back(int64 *after, int max, bool *all)
{
	BgjobRel *jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	int64 *ids = palloc(max * sizeof(int64));
	Snapshot snapshot = bgjob_rel_snapshot(jobs);
	ScanKeyData key;
	BgjobScan *scan;
	int visited = 0;
	int n = 0;
	int64 held = 0;

	bgjob_key(&key, 1, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(*after));
	scan = bgjob_scan_begin(jobs, "job_pkey", snapshot, &key, 1);
	while (visited < max && bgjob_scan_next(scan))
	{
		bool isnull;

		visited++;
		*after = DatumGetInt64(slot_getattr(jobs->slot, BGJOB_C_ID, &isnull));
		if (!bgjob_state_is_final(bgjob_state_by_letter(
				DatumGetChar(slot_getattr(jobs->slot, BGJOB_C_STATE, &isnull)))))
			ids[n++] = *after;
	}
	*all = visited < max;
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (is_held_back(jobs, ids[i]))
			held++;
	}
	bgjob_rel_close(jobs);
	pfree(ids);
	return held;
}

/*
 * bgjob_restore_rebuild puts every job that is missing from its place there,
 * after a restore. Returns their number. Ids that are drawn afterwards are higher
 * than all existing ones.
 */
int64
bgjob_restore_rebuild(void)
{
	BgjobRel *jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	Snapshot snapshot = bgjob_rel_snapshot(jobs);
	TableScanDesc scan = table_beginscan(jobs->rel, snapshot, 0, NULL);
	TupleTableSlot *slot = table_slot_create(jobs->rel, NULL);
	MemoryContext per_row =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob rebuild", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(per_row);
	int64 highest = 0;
	int64 n = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool isnull;

		CHECK_FOR_INTERRUPTS();
		highest = Max(highest, DatumGetInt64(slot_getattr(slot, BGJOB_C_ID, &isnull)));
		highest = Max(highest, DatumGetInt64(slot_getattr(slot, BGJOB_C_POS, &isnull)));
		if (is_joined(slot))
			rejoin_one(jobs, DatumGetInt64(slot_getattr(slot, BGJOB_C_ID, &isnull)));
		if (has_place(slot) &&
			rebuild_one(jobs, DatumGetInt64(slot_getattr(slot, BGJOB_C_ID, &isnull))))
			n++;
		MemoryContextReset(per_row);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(per_row);
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(jobs);
	bgjob_ids_reach(highest);
	return n;
}
