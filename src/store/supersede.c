/*-------------------------------------------------------------------------
 *
 * supersede.c
 *	  on_duplicate 'supersede': the newest job of a key wins.
 *
 * The new job takes the key from the other one, and then:
 *
 *	 the other waits: it is deleted, in the same transaction.
 *	 a worker runs it: the new job follows it. It awaits the other's end (column follows),
 *	   whatever that is, and so is released by the transaction that ends the other one
 *	   (store/release.c): never beside it, and without a poll.
 *	 this very job enqueues the new one: it goes on. If its claim is committed, the new job follows
 *	   it; else the new job is there only when the transaction of the other one has committed.
 *
 * A job that follows another one and is superseded itself leaves that to the newest: so
 * any number may supersede, one job runs, and one follows.
 *
 * WHO CANCELS THE OTHER ONE. The new job's transaction may still be rolled back, so it asks
 * no worker. It asks for a review of the new job after its commit, and the scheduler, which sees the
 * new job only when it is committed, has the other one end (bgjob_supersede_cancel): asks
 * its worker, or deletes it where it waits for its next attempt. While it can do neither, since another
 * process is changing the job, the review is repeated. What awaits something is also reviewed after
 * a crash, and after the end of a prepared transaction. So no follower waits for a job that
 * nobody ends.
 *
 * THE KEY is the follower's while the other one runs. If the follower ends before
 * (somebody deletes it), the other one gets the key back (store/unique.c): a key is never
 * free while a job that had it runs.
 *
 * Any process, inside a transaction. Only the scheduler cancels.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/registry.h"
#include "base/request.h"
#include "base/running.h"
#include "base/slot.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "storage/lmgr.h"
#include "store/acquire.h"
#include "store/leased.h"
#include "store/supersede.h"
#include "store/unique.h"

/* Returns whether this process performs a job. */
static bool
is_own(int64 job)
{
	return job == (bgjob_my_slot != NULL ? bgjob_my_slot->job : bgjob_job_in_session);
}

/* Deletes a waiting job, which this transaction has locked. "leave": to a worker, if it has filters. */
static void
delete_superseded(BgjobRel *jobs, BgjobJob *job, int64 successor, bool leave)
{
	BgjobCircumstances what = {.at = bgjob_now(),
							   .reason = psprintf(BGJOB_SUPERSEDED_REASON, successor),
							   .elected = true, /* no filter can keep it: it has lost its key */
							   .leave = leave};

	bgjob_job_apply(job, BGJOB_EV_DELETE, &what);
	bgjob_job_save(jobs, job);
}

/* Returns the job that the successor of another one has to follow, since that one follows it; 0: none. */
static int64
inherited(BgjobRel *jobs, const BgjobJob *other)
{
	int64 followed = bgjob_job_followed(jobs, other);

	return is_own(followed) ? -followed : followed;
}

/*
 * Ends the other job where it waits. Returns the job that the new one has to follow: the
 * other, or that which the other has followed; negative: it is not to be canceled; 0: none.
 */
static int64
end_other(BgjobRel *jobs, int64 other, int64 job, bool wait)
{
	for (;;)
	{
		TransactionId holder = InvalidTransactionId;
		BgjobPhase phase;
		BgjobJob row;
		bool taken; /* by a worker, which may still fail to claim it */

		CommandCounterIncrement(); /* the job may be one of this transaction's */
		if (!bgjob_job_read(jobs, other, &row))
			return 0;
		if (bgjob_state_is_final(row.state))
			return inherited(jobs, &row);
		if (is_own(other))
			return row.state == BGJOB_PROCESSING ? -other : 0;
		taken = bgjob_slot_phase(MyDatabaseId, other, &phase);
		if (row.state == BGJOB_PROCESSING || (taken && phase != BGJOB_PHASE_CLAIMING))
			return other;
		if (!taken && bgjob_job_acquire(jobs, &row, &holder))
		{
			int64 followed = inherited(jobs, &row);

			delete_superseded(jobs, &row, job, false);
			return followed != 0 || bgjob_state_is_final(row.state) ? followed : other;
		}
		if (!wait)
			return other;
		bgjob_job_wait_for_holder(other, holder);
	}
}

/*
 * bgjob_supersede has a new job take the place of another one, which has its unique_key. False:
 * the caller looks again which job has the key. what->wait: wait for other transactions; the
 * scheduler does not, and has the new job follow one that another transaction is changing.
 */
bool
bgjob_supersede(BgjobRel *jobs, BgjobJob *job, int64 other, BgjobCircumstances *what)
{
	TransactionId holder;
	int64 followed;

	CommandCounterIncrement(); /* the other job may be one of this transaction's */
	if (!bgjob_unique_take_over(job, other, &holder))
	{
		if (what->wait && TransactionIdIsValid(holder))
			XactLockTableWait(holder, NULL, NULL, XLTW_None);
		return false;
	}
	followed = end_other(jobs, other, job->id, what->wait);
	if (followed == 0)
		return true;
	bgjob_job_set(job, BGJOB_C_FOLLOWS, Int64GetDatum(followed));
	if (what->run_at > what->at)
		bgjob_job_set_time(job, BGJOB_C_RUN_AT, what->run_at);
	what->reason =
		psprintf(followed > 0 ? "Follows job " INT64_FORMAT ", which it supersedes"
							  : "Follows job " INT64_FORMAT ", which has enqueued it",
				 bgjob_followed_id(followed));
	return true;
}

/*
 * bgjob_supersede_cancel has the job end that a job supersedes and follows. False: another
 * process is changing it, and the caller tries again later. Only the scheduler calls this.
 */
bool
bgjob_supersede_cancel(BgjobRel *jobs, const BgjobJob *job)
{
	int64 id = bgjob_job_is_null(job, BGJOB_C_FOLLOWS)
				   ? 0
				   : DatumGetInt64(bgjob_job_datum(job, BGJOB_C_FOLLOWS));
	BgjobRequestResult result;
	BgjobLease lease;
	BgjobJob other;

	if (id <= 0)
		return true;
	result = bgjob_slot_supersede(MyDatabaseId, id, job->id);
	if (result != BGJOB_REQUEST_NOT_RUNNING)
		return result == BGJOB_REQUEST_ACCEPTED;
	if (!bgjob_job_read(jobs, id, &other) || bgjob_state_is_final(other.state))
		return true;
	if (bgjob_leased_find(&other, &lease))
		return bgjob_leased_delete(jobs, &lease, psprintf(BGJOB_SUPERSEDED_REASON, job->id),
								   true);
	/* One that follows another job itself is not ended before that: this job would run beside it. */
	if (bgjob_job_followed(jobs, &other) != 0 || !bgjob_job_try_acquire(jobs, &other))
		return false;
	delete_superseded(jobs, &other, job->id, true);
	return true;
}
