/*-------------------------------------------------------------------------
 *
 * batchjobs.c
 *	  The jobs of a batch that its members do not tell.
 *
 * A job that has succeeded is no member any more (store/batch.c). Those of a batch are
 * found among all jobs that were enqueued after the batch was created. That is slow where
 * there are millions, and done only to run a whole batch again.
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "miscadmin.h"
#include "store/batch.h"
#include "store/batchjobs.h"
#include "store/prerequisite.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

/* bgjob_job_could_not_run returns whether a job was deleted because it could not run. */
bool
bgjob_job_could_not_run(int64 id)
{
	BgjobRel *jobs = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	BgjobJob job;
	const char *reason = NULL;

	if (bgjob_job_read_standing(jobs, id, &job) && job.state == BGJOB_DELETED)
		reason = bgjob_job_text(&job, BGJOB_C_REASON);
	bgjob_rel_close(jobs);
	return bgjob_is_hopeless_reason(reason);
}

/* Returns whether the job in a slot has succeeded, and is in a batch or in one that is in it. */
static bool
has_succeeded_in(TupleTableSlot *slot, int64 batch)
{
	bool isnull;
	Datum in = slot_getattr(slot, BGJOB_C_BATCH_ID, &isnull);
	const int64 *chain;
	int n;

	if (isnull || bgjob_state_by_letter(DatumGetChar(
					  slot_getattr(slot, BGJOB_C_STATE, &isnull))) != BGJOB_SUCCEEDED)
		return false;
	chain = bgjob_batch_chain(DatumGetInt64(in), &n);
	for (int i = 0; i < n; i++)
		if (chain[i] == batch)
			return true;
	return false;
}

/*
 * bgjob_batch_succeeded reads at most "max" jobs of a batch, and of those in it, that have succeeded, after the id
 * *after, which is advanced. Returns their number; -1: there are no more jobs.
 */
int
bgjob_batch_succeeded(int64 batch, int64 *after, int64 *jobs, int max)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData key;
	BgjobScan *scan;
	bool any = false;
	int n = 0;

	bgjob_key(&key, 1, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(*after));
	scan = bgjob_scan_begin(rel, "job_pkey", snapshot, &key, 1);
	while (n < max && bgjob_scan_next(scan))
	{
		bool isnull;

		CHECK_FOR_INTERRUPTS();
		any = true;
		*after = DatumGetInt64(slot_getattr(rel->slot, BGJOB_C_ID, &isnull));
		if (has_succeeded_in(rel->slot, batch))
			jobs[n++] = *after;
	}
	ExecClearTuple(rel->slot);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return any ? n : -1;
}
