/*-------------------------------------------------------------------------
 *
 * composed.c
 *	  Removing batches and signals that have expired.
 *
 * A batch expires bgjob.retention after it has finished, and a signal so long after it was sent. A batch
 * stays while there are failed or deleted jobs of it, and both stay while an unfinished
 * job awaits them.
 *
 * By the scheduler, inside a transaction. A row that another transaction is changing is left for
 * the next time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/dependants.h"
#include "miscadmin.h"
#include "store/batch.h"
#include "store/composed.h"
#include "store/edge.h"
#include "store/relation.h"
#include "store/signalrow.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Returns whether an unfinished job awaits, or has awaited, a batch or signal. */
static bool
is_needed(int64 target)
{
	bool needed = false;
	int n = 0;
	int64 *dependants;

	if (bgjob_dependants_count(target) == 0)
		return false;
	dependants = bgjob_edges_of(target, &n);
	for (int i = 0; i < n && !needed; i++)
		needed = !bgjob_job_is_over(dependants[i]);
	pfree(dependants);
	return needed;
}

/* Returns whether a batch has expired, if it finished before a time. */
static bool
has_expired(int64 id, TimestampTz before)
{
	BgjobBatch batch;
	int64 job;

	return bgjob_batch_read(id, &batch) && batch.finished_at != DT_NOBEGIN &&
		   batch.finished_at < before &&
		   bgjob_members_read(id, BGJOB_MEMBER_OPEN, 0, &job, 1) == 0 &&
		   bgjob_members_read(id, BGJOB_MEMBER_FAILED, 0, &job, 1) == 0 &&
		   bgjob_members_read(id, BGJOB_MEMBER_DELETED, 0, &job, 1) == 0 && !is_needed(id);
}

/*
 * bgjob_batches_expire removes batches that finished before a time, among "max" batches
 * after the id *after, which is advanced; from the beginning again, when it is at the end. Returns their number.
 */
int64
bgjob_batches_expire(TimestampTz before, int64 *after, int max)
{
	int64 *ids = palloc(max * sizeof(int64));
	int n = bgjob_batches_after(*after, ids, max);
	MemoryContext each =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob batch", ALLOCSET_DEFAULT_SIZES);
	int64 removed = 0;

	for (int i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(each);

		CHECK_FOR_INTERRUPTS();
		if (has_expired(ids[i], before) && bgjob_batch_delete(ids[i]))
			removed++;
		MemoryContextSwitchTo(old);
		MemoryContextReset(each);
	}
	*after = n < max ? 0 : ids[n - 1];
	MemoryContextDelete(each);
	pfree(ids);
	return removed;
}

/* bgjob_signals_expire removes signals that were sent before a time, "max" at most; their number. */
int64
bgjob_signals_expire(TimestampTz before, int max)
{
	return bgjob_signal_expire(before, max, is_needed);
}
