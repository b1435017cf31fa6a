/*-------------------------------------------------------------------------
 *
 * hold.c
 *	  Taking hold of a job that no worker is at.
 *
 * Who wants to change a job must hold what stands for its state (store/job.h):
 * its row in the queue or in the schedule, or else its own row. Taking hold
 * never waits for a waiting job, since a worker may be about to take it as
 * well; who was too late waits for the other (bgjob_hold_wait), holding
 * nothing, and looks at the job again.
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/change.h"
#include "base/slot.h"
#include "base/waits.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "store/hold.h"
#include "store/queue.h"
#include "store/schedule.h"
#include "store/sidetables.h"
#include "utils/timestamp.h"

/* Takes what stands for a waiting job in the queue or in the schedule. */
static BgjobTaken
take_waiting(const BgjobJob *job, TransactionId *holder)
{
	if (job->state == BGJOB_ENQUEUED)
		return bgjob_queue_take(job->run_as, job->queue, job->priority, job->pos, holder);
	return bgjob_schedule_take(job->run_as,
							   DatumGetTimestampTz(bgjob_job_datum(job, BGJOB_C_RUN_AT)),
							   job->id, holder);
}

/* Notes what a rollback gives back. */
static void
note_taken(const BgjobJob *job)
{
	if (job->state == BGJOB_ENQUEUED)
		bgjob_change_took(job->run_as, job->queue, job->priority, job->pos, job->id);
	else
		bgjob_change_took_scheduled(DatumGetTimestampTz(bgjob_job_datum(job, BGJOB_C_RUN_AT)));
}

/*
 * bgjob_hold_take takes hold of a job that has just been read and that no
 * worker is at, for the running transaction. False: somebody was faster, look
 * again; *holder is who, where that is a transaction. 55000: a filter of that
 * very job wants it.
 *
 * A waiting job need not be in the queue or the schedule: not in a restored
 * database before bgjob_adopt(), nor in a replica. If it is missing there when
 * its own row is locked, that row is all there is.
 */
bool
bgjob_hold_take(BgjobRel *jobs, BgjobJob *job, TransactionId *holder)
{
	bgjob_job_check_reserved(job->id);
	if (job->state == BGJOB_PROCESSING && bgjob_claim_is_held(job->id))
		return false; /* somebody was between two looks */
	if (job->state == BGJOB_ENQUEUED || job->state == BGJOB_SCHEDULED)
	{
		BgjobTaken taken = take_waiting(job, holder);

		if (taken == BGJOB_TAKEN)
			note_taken(job);
		if (taken != BGJOB_NOT_THERE)
			return taken == BGJOB_TAKEN;
		return bgjob_job_lock(jobs, job) && take_waiting(job, holder) != BGJOB_BUSY;
	}
	return bgjob_job_lock(jobs, job);
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
