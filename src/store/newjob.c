/*-------------------------------------------------------------------------
 *
 * newjob.c
 *	  Jobs that are created: their keys, and their first state.
 *
 * If another unfinished job has the unique_key of a new job, on_duplicate of the
 * new job decides: the other job is changed, superseded (store/supersede.c), the new one is refused, or nothing
 * is done.
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/change.h"
#include "base/registry.h"
#include "base/running.h"
#include "miscadmin.h"
#include "store/acquire.h"
#include "store/newjob.h"
#include "store/supersede.h"
#include "store/unique.h"

/* Returns whether a job that is created or changed is to run later. */
static bool
is_later(const BgjobCircumstances *what)
{
	return what->run_at > what->at;
}

/*
 * bgjob_job_first_event returns the event that creates a job: it awaits something
 * (what->awaits), or is to run at what->run_at if that is later than what->at, else now.
 */
BgjobEvent
bgjob_job_first_event(const BgjobCircumstances *what)
{
	if (what->awaits)
		return BGJOB_EV_AWAIT;
	return is_later(what) ? BGJOB_EV_SCHEDULE : BGJOB_EV_ENQUEUE;
}

/* Notifies the session that its change of a running job comes too late. */
static void
note_running(int64 job, bool replace)
{
	if (replace)
		ereport(NOTICE, (errmsg("job " INT64_FORMAT " is running and was not replaced", job),
						 errdetail("The new arguments and options were dropped."),
						 errhint("Enqueue it again when that job has finished, or without its "
								 "unique_key.")));
	else
		ereport(NOTICE, (errmsg("job " INT64_FORMAT " is running and was not rescheduled", job),
						 errdetail("Nothing was enqueued.")));
}

/* Notifies the session that its change of a job that follows a running one comes too early: the two would run at once. */
static void
note_following(int64 job, int64 followed, bool replace)
{
	ereport(NOTICE,
			(errmsg("job " INT64_FORMAT " follows one that is running and was not %s", job,
					replace ? "replaced" : "rescheduled"),
			 errdetail("It runs when job " INT64_FORMAT ", which it supersedes, has ended.",
					   followed),
			 errhint("Use on_duplicate 'supersede' again.")));
}

/*
 * Replaces the contents, or the time, of the other job by those of the new job. A
 * running job is left unchanged. False: the other job has ended.
 */
static bool
change_other(BgjobRel *jobs, int64 other, const BgjobJob *job, const BgjobCircumstances *what)
{
	bool replace = what->on_duplicate == BGJOB_DUPLICATE_REPLACE;
	BgjobCircumstances change = {.at = what->at,
								 .run_at = what->run_at,
								 .reason = replace ? "Replaced by one with its unique_key"
												   : "Rescheduled by one with its unique_key",
								 .contents = replace ? job : NULL};

	for (;;)
	{
		TransactionId holder = InvalidTransactionId;
		BgjobPhase phase;
		BgjobJob row;
		int64 followed;
		bool taken; /* by a worker, which may still fail to claim it */

		CommandCounterIncrement(); /* the job may be one of this transaction's */
		if (!bgjob_job_read(jobs, other, &row) || bgjob_state_is_final(row.state))
			return false;
		followed = row.state == BGJOB_AWAITING ? bgjob_job_followed(jobs, &row) : 0;
		if (followed != 0)
		{
			note_following(other, followed, replace);
			return true;
		}
		taken = bgjob_slot_phase(MyDatabaseId, other, &phase);
		if (row.state == BGJOB_PROCESSING || (taken && phase != BGJOB_PHASE_CLAIMING))
		{
			note_running(other, replace);
			return true;
		}
		if (!taken && bgjob_job_acquire(jobs, &row, &holder))
		{
			bgjob_job_apply(&row, is_later(what) ? BGJOB_EV_RESCHEDULE : BGJOB_EV_REQUEUE,
							&change);
			bgjob_job_save(jobs, &row);
			return true;
		}
		if (!what->wait)
			return true;
		bgjob_job_wait_for_holder(other, holder);
	}
}

/*
 * Enters a new job for its key, or applies what->on_duplicate to the other job
 * that has the key. Returns the job that has the key now: the new job, which the
 * caller then inserts, or the other job. what->wait: wait for other transactions;
 * the scheduler never waits, and leaves the other job unchanged instead.
 */
static int64
enter_key(BgjobRel *jobs, BgjobJob *job, BgjobCircumstances *what)
{
	for (;;)
	{
		int64 other = bgjob_unique_enter(job, what->wait);

		CHECK_FOR_INTERRUPTS();
		if (other == 0)
			return job->id;
		if (what->on_duplicate == BGJOB_DUPLICATE_ERROR)
			bgjob_unique_refuse(job, other);
		if (what->on_duplicate != BGJOB_DUPLICATE_SUPERSEDE)
		{
			if (what->on_duplicate == BGJOB_DUPLICATE_SKIP ||
				change_other(jobs, other, job, what))
				return other;
		}
		else if (bgjob_supersede(jobs, job, other, what))
			return job->id;
		else if (!what->wait)
			return other;
	}
}

/* Has a new job that follows another one await it. */
static void
follow(const BgjobJob *job, BgjobCircumstances *what)
{
	BgjobDependantNotes *notes = bgjob_change_dependants();

	if (bgjob_job_is_null(job, BGJOB_C_FOLLOWS))
		return;
	what->awaits = true;
	if (notes != NULL)
		bgjob_dependant_note_review(notes, job->id);
}

/*
 * bgjob_job_enter enters a new job for its unique_key, if it has one. False:
 * another job has the key, and job->id is set to its id. If the new job has to follow another
 * one, what->awaits is set. 23505 if on_duplicate asks for an error.
 */
bool
bgjob_job_enter(BgjobRel *rel, BgjobJob *job, BgjobCircumstances *what)
{
	int64 id = job->id;

	if (bgjob_job_is_null(job, BGJOB_C_UNIQUE_KEY))
		return true;
	job->id = enter_key(rel, job, what);
	if (job->id == id)
		follow(job, what);
	return job->id == id;
}

/*
 * bgjob_job_insert inserts a new job, which is to run at what->run_at if that is
 * later than what->at, else now. False if a filter refused it; what->reason is
 * the reason. If another job has its unique_key, job->id becomes the other's.
 * Errors: as bgjob_job_enter, and those of filters.
 */
bool
bgjob_job_insert(BgjobRel *rel, BgjobJob *job, BgjobCircumstances *what)
{
	bool is_in;

	if (bgjob_job_filters.insert != NULL && bgjob_job_filters.insert(rel, job, what, &is_in))
		return is_in;
	if (!bgjob_job_enter(rel, job, what))
		return true;
	bgjob_job_apply_unfiltered(job, bgjob_job_first_event(what), what);
	bgjob_job_save(rel, job);
	return true;
}

/* bgjob_job_fail_new creates a job as failed: it runs only after a user requeues it. */
void
bgjob_job_fail_new(BgjobJob *job, const BgjobCircumstances *what)
{
	BgjobCircumstances entered = {.at = what->at};

	bgjob_job_apply_unfiltered(job, BGJOB_EV_ENQUEUE, &entered);
	bgjob_job_apply_unfiltered(job, BGJOB_EV_FAIL, what);
}
