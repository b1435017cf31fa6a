/*-------------------------------------------------------------------------
 *
 * acquire.c
 *	  Locking a job that no worker has.
 *
 * A transaction that changes a job must lock it (store/job.h): by deleting the row
 * in the job's place where that row is the lock (store/place.c), else by locking
 * the job's own row. Locking a waiting job never blocks, since a worker may be
 * about to take the job as well. A caller that is too late waits for the holder
 * (bgjob_job_wait_for_holder), without any lock on the job, and then reads the job again.
 *
 * A job may have left its place and come back to it between being read and being locked:
 * it waited at a gate, say, or its attempt was interrupted. So it is read again then.
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/lease.h"
#include "base/running.h"
#include "base/waits.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "store/acquire.h"
#include "store/place.h"
#include "utils/timestamp.h"

/*
 * bgjob_job_acquire_there locks a job that has just been read, and that no worker has,
 * for the running transaction. False: another process was faster, and the caller
 * reads the job again; *holder is the other transaction, if there is one. 55000:
 * the caller is a filter of that very job.
 *
 * A waiting job may be missing from its place: in a restored database before
 * bgjob_adopt(), and in a replica. If it is still missing when its own row is
 * locked, the job's own row is the lock. *there is whether the job was taken out of
 * its place.
 */
bool
bgjob_job_acquire_there(BgjobRel *jobs, BgjobJob *job, TransactionId *holder, bool *there)
{
	BgjobTaken taken;

	bgjob_job_check_reserved(job->id);
	taken = bgjob_place_take(job, holder);
	if (taken == BGJOB_TAKEN && !bgjob_job_refresh(jobs, job))
		taken = BGJOB_BUSY;
	if (taken == BGJOB_NOT_THERE)
		taken = bgjob_job_lock(jobs, job) ? bgjob_place_take(job, holder) : BGJOB_BUSY;
	*there = taken == BGJOB_TAKEN;
	return taken != BGJOB_BUSY;
}

/* bgjob_job_acquire does the same for a caller that does not need to know whether the job was in its place. */
bool
bgjob_job_acquire(BgjobRel *jobs, BgjobJob *job, TransactionId *holder)
{
	bool there;

	return bgjob_job_acquire_there(jobs, job, holder, &there);
}

/*
 * bgjob_job_try_acquire does the same for bgjob's own processes, and never waits. False
 * also if a job is missing from its place: bgjob_adopt() will put it there.
 */
bool
bgjob_job_try_acquire(BgjobRel *jobs, BgjobJob *job)
{
	if (bgjob_place_is_lock(bgjob_place_of(job)))
		return bgjob_place_take(job, NULL) == BGJOB_TAKEN && bgjob_job_refresh(jobs, job);
	return bgjob_job_try_lock(jobs, job) && bgjob_place_take(job, NULL) != BGJOB_BUSY;
}

/*
 * bgjob_job_wait_for_holder waits for the holder of a job: a session that is changing the
 * job, or a worker past the point of no return. It waits for the holder's
 * transaction as for any row lock, so a deadlock is detected. If no transaction
 * is known (a worker before that point, the scheduler), it waits a moment.
 */
void
bgjob_job_wait_for_holder(int64 id, TransactionId holder)
{
	TransactionId finishing;

	CHECK_FOR_INTERRUPTS();
	if (!bgjob_lease_is_there(MyDatabaseId, id) &&
		bgjob_slot_is_at(MyDatabaseId, id, &finishing))
		holder = finishing;
	if (TransactionIdIsValid(holder))
		XactLockTableWait(holder, NULL, NULL, XLTW_None);
	else
		(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 1,
						 bgjob_wait_event(BGJOB_WAIT_JOB_FREE));
}
