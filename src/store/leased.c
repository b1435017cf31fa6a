/*-------------------------------------------------------------------------
 *
 * leased.c
 *	  Ending attempts of external workers.
 *
 * Whoever ends one takes the row of the lease first (bgjob_lease_take), and then has the
 * job. Its own row still says that it is enqueued, and an event happens to it as at
 * the end of an attempt in one transaction (store/job.h). The output of the attempt is in
 * the lease until then, but for the lines of the log.
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/leasenotes.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "store/gating.h"
#include "store/leased.h"
#include "store/place.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/*
 * bgjob_leased_find returns whether an external worker has a job, and copies the lease. False also
 * while another transaction fetches the job: it has the job's row in the queue then.
 */
bool
bgjob_leased_find(const BgjobJob *job, BgjobLease *lease)
{
	if (job->kind != BGJOB_KIND_EXTERNAL || job->state != BGJOB_ENQUEUED)
		return false;
	bgjob_leases_ensure();
	return bgjob_lease_find(MyDatabaseId, job->id, lease) &&
		   (lease->phase == BGJOB_LEASE_HELD || bgjob_lease_notes_has(lease));
}

/*
 * bgjob_leased_read reads the job of a lease that the running transaction has taken. False: the
 * row does not say that an attempt is under way; it was modified by hand.
 */
bool
bgjob_leased_read(BgjobRel *jobs, const BgjobLease *lease, BgjobJob *job)
{
	ItemPointerData tid = lease->job_row;

	return (bgjob_job_read_at(jobs, &tid, lease->job, job) ||
			bgjob_job_read(jobs, lease->job, job)) &&
		   job->state == BGJOB_ENQUEUED && job->pos == lease->pos;
}

/* bgjob_leased_circumstances describes the end of an attempt, now. */
void
bgjob_leased_circumstances(const BgjobLease *lease, BgjobCircumstances *what)
{
	*what = (BgjobCircumstances){.at = bgjob_now(),
								 .started_at = lease->started_at,
								 .worker_pid = lease->session,
								 .server = lease->worker};
}

/* Adds the output of the attempt to the job's row, and limits its start no more. */
static void
note_output(const BgjobLease *lease, BgjobJob *job)
{
	bgjob_job_set_null(job, BGJOB_C_START_WITHIN);
	if (lease->has_progress)
	{
		bgjob_job_set(job, BGJOB_C_PROGRESS,
					  DirectFunctionCall1(float8_numeric, Float8GetDatum(lease->percent)));
		bgjob_job_set_text(job, BGJOB_C_PROGRESS_MESSAGE,
						   lease->message[0] != '\0' ? lease->message : NULL);
	}
	if (lease->logged + lease->lines > DatumGetInt32(bgjob_job_datum(job, BGJOB_C_LOGS)))
		bgjob_job_set(job, BGJOB_C_LOGS, Int32GetDatum(lease->logged + lease->lines));
}

/*
 * Saves a job that goes back to the head of its queue. It is ahead of those that wait at its gates, since it
 * has held a place at each of them.
 */
static void
save_at_head(BgjobRel *jobs, BgjobJob *job)
{
	bgjob_gating_pass(job);
	job->to_place = false;
	bgjob_job_save(jobs, job);
	bgjob_place_put(job);
}

/* bgjob_leased_end applies an event to the job of a lease that the running transaction has taken. */
void
bgjob_leased_end(BgjobRel *jobs, const BgjobLease *lease, BgjobJob *job, BgjobEvent event,
				 const BgjobCircumstances *what)
{
	note_output(lease, job);
	bgjob_job_apply(job, event, what);
	if (job->state == BGJOB_ENQUEUED && job->pos == lease->pos && job->to_place &&
		!bgjob_job_is_pending(job))
		save_at_head(jobs, job);
	else
		bgjob_job_save(jobs, job);
}

/*
 * bgjob_leased_delete deletes a job that an external worker has, for a reason; "elected": no filter
 * can keep it. A worker calls its filters, if this is the scheduler. False: another transaction is about to end the
 * attempt.
 */
bool
bgjob_leased_delete(BgjobRel *jobs, const BgjobLease *lease, const char *reason, bool elected)
{
	BgjobCircumstances what;
	BgjobJob job;

	if (bgjob_lease_take(lease, NULL) != BGJOB_TAKEN || !bgjob_leased_read(jobs, lease, &job))
		return false;
	bgjob_leased_circumstances(lease, &what);
	what.reason = reason;
	what.elected = elected;
	what.leave = true;
	bgjob_leased_end(jobs, lease, &job, BGJOB_EV_DELETE, &what);
	return true;
}
