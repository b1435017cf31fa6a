/*-------------------------------------------------------------------------
 *
 * hold.c
 *	  Taking hold of a job that no worker is at.
 *
 * Who wants to change a job must hold what stands for it (store/job.h): its row
 * in its place where that is the lock (store/place.c), or else its own row. Taking hold
 * never waits for a waiting job, since a worker may be about to take it as
 * well; who was too late waits for the other (bgjob_hold_wait), holding
 * nothing, and looks at the job again.
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/slot.h"
#include "base/waits.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "store/hold.h"
#include "store/place.h"
#include "utils/timestamp.h"

/*
 * bgjob_hold_take takes hold of a job that has just been read and that no
 * worker is at, for the running transaction. False: somebody was faster, look
 * again; *holder is who, where that is a transaction. 55000: a filter of that
 * very job wants it.
 *
 * A waiting job need not be in its place: not in a restored database before
 * bgjob_adopt(), nor in a replica. If it is missing there when its own row is
 * locked, that row is all there is.
 */
bool
bgjob_hold_take(BgjobRel *jobs, BgjobJob *job, TransactionId *holder)
{
	BgjobTaken taken;

	bgjob_job_check_reserved(job->id);
	taken = bgjob_place_take(job, holder);
	if (taken != BGJOB_NOT_THERE)
		return taken == BGJOB_TAKEN;
	return bgjob_job_lock(jobs, job) && bgjob_place_take(job, holder) != BGJOB_BUSY;
}

/*
 * bgjob_hold_try does the same for one of bgjob's own processes, which waits for
 * nobody. False also if a job is not in a place where it should be: it is left
 * to whoever puts it there.
 */
bool
bgjob_hold_try(BgjobRel *jobs, BgjobJob *job)
{
	if (bgjob_place_is_lock(bgjob_place_of(job)))
		return bgjob_place_take(job, NULL) == BGJOB_TAKEN;
	return bgjob_job_try_lock(jobs, job) && bgjob_place_take(job, NULL) != BGJOB_BUSY;
}

/*
 * bgjob_hold_wait waits for who has a job: another session that is changing
 * it, or a worker that is past the point of no return. Their transactions are
 * waited for as for any row, so that a deadlock is noticed; where there is
 * none to wait for (a worker before that point, the scheduler), a moment.
 */
void
bgjob_hold_wait(int64 id, TransactionId holder)
{
	TransactionId finishing;

	CHECK_FOR_INTERRUPTS();
	if (bgjob_slot_is_at(MyDatabaseId, id, &finishing))
		holder = finishing;
	if (TransactionIdIsValid(holder))
		XactLockTableWait(holder, NULL, NULL, XLTW_None);
	else
		(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 1,
						 bgjob_wait_event(BGJOB_WAIT_JOB_FREE));
}
