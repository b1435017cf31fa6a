/*-------------------------------------------------------------------------
 *
 * run.c
 *	  bgjob_run(): performs a waiting job in the caller's session and transaction.
 *
 * For tests of an application, and by hand. The job is taken out of its place as
 * by any other change of a job (api/control.c), but without waiting: if a worker
 * or another session has it, that is an error. A scheduled job becomes due first.
 * If the caller's transaction, or a savepoint in it, is rolled back, the job waits
 * where it was.
 *
 * Only a job of the current user is performed. A role that controls the jobs of
 * other roles, or a superuser, is not to run with its own rights what others have
 * enqueued.
 *
 * Runs in the calling session, in its transaction; also where no worker runs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "api/rights.h"
#include "base/running.h"
#include "base/slot.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "run/filter.h"
#include "run/inplace.h"
#include "run/underway.h"
#include "store/place.h"
#include "utils/jsonb.h"

/* Raises an error where no job can be run: inside a job or a filter (0A000), or with restricted rights (42501). */
static void
check_surroundings(void)
{
	if (bgjob_my_slot != NULL || bgjob_underway.claimed || bgjob_filters_running > 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("bgjob_run() cannot be called inside a job or a filter"),
						errdetail("A session performs one job at a time."),
						errhint("Enqueue the job, or call its function.")));
	if (InSecurityRestrictedOperation())
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("cannot execute %s within security-restricted operation",
							   "bgjob_run()")));
}

/* Reads a job. Errors: 22023 there is none; 42501 the caller does not control it; 0A000 it cannot run here. */
static void
read_job(BgjobRel *jobs, int64 id, BgjobJob *job)
{
	if (!bgjob_job_read(jobs, id, job))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("job " INT64_FORMAT " does not exist", id),
						errdetail("It was never enqueued, or has been removed."),
						errhint("The view bgjob.jobs lists the existing jobs.")));
	bgjob_check_control(id, job->run_as);
	if (job->run_as != GetUserId())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("job " INT64_FORMAT " is a job of another role", id),
				 errdetail("It belongs to role \"%s\".", GetUserNameFromId(job->run_as, true)),
				 errhint("Call bgjob_run() as that role.")));
	if (job->kind == BGJOB_KIND_EXTERNAL)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("job " INT64_FORMAT " is for external workers", id)));
}

/* Raises 55000: a job does not wait, or is not free, with the detail, and the hint unless it is NULL. */
static void
refuse(int64 id, const char *detail, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("job " INT64_FORMAT " cannot be performed now", id),
					errdetail_internal("%s", detail), hint != NULL ? errhint("%s", hint) : 0));
}

/* Takes a waiting job out of its place, for the running transaction; never waits. Raises 55000 if that cannot be done. */
static void
take(BgjobRel *jobs, BgjobJob *job)
{
	BgjobTaken taken;

	if (job->state != BGJOB_ENQUEUED && job->state != BGJOB_SCHEDULED)
		refuse(job->id, psprintf("It is %s.", bgjob_state_name(job->state)),
			   bgjob_state_is_final(job->state) ? "Enqueue the job again with bgjob_requeue()."
												: NULL);
	if (bgjob_slot_is_at(MyDatabaseId, job->id, NULL))
		refuse(job->id, "A worker is performing it.", NULL);
	if (bgjob_job_is_pending(job))
		refuse(job->id, "It has become due, and a worker has to call its filters first.", NULL);
	taken = bgjob_place_take(job, NULL);
	if (taken == BGJOB_TAKEN && !bgjob_job_refresh(jobs, job))
		taken = BGJOB_NOT_THERE;
	switch (taken)
	{
		case BGJOB_TAKEN:
			break;
		case BGJOB_BUSY:
			refuse(job->id, "A worker or another transaction has it.", NULL);
			break;
		case BGJOB_NOT_THERE:
			refuse(job->id, "It was restored, or came by replication, or has just been taken.",
				   "Adopt restored jobs with bgjob_adopt().");
			break;
	}
}

/* Makes a scheduled job an enqueued one, which is in no queue. False: filters wanted another state. */
static bool
make_due(BgjobRel *jobs, BgjobJob *job)
{
	BgjobCircumstances what = {.at = bgjob_now(), .reason = "Run by bgjob_run()"};

	if (job->state == BGJOB_ENQUEUED)
		return true;
	bgjob_job_apply(job, BGJOB_EV_DUE, &what);
	if (job->state == BGJOB_ENQUEUED)
		job->to_place = false;
	bgjob_job_save(jobs, job);
	CommandCounterIncrement();
	return job->state == BGJOB_ENQUEUED;
}

/* Tells the caller why there is no result. */
static void
report(int64 id, const BgjobInplaceOutcome *outcome)
{
	if (outcome->state != BGJOB_SUCCEEDED)
		ereport(NOTICE,
				(errmsg("job " INT64_FORMAT " is %s", id, bgjob_state_name(outcome->state)),
				 outcome->reason != NULL ? errdetail("Its reason is \"%s\".", outcome->reason)
										 : 0));
}

PG_FUNCTION_INFO_V1(bgjob_run);

/*
 * bgjob_run(id) performs a waiting job of the current user in the calling session
 * and transaction, and returns its result. Null, with a notice, if the job has ended
 * its attempt in another way than by success. Errors: the job's own; 22023 no such job;
 * 42501 the caller does not control it; 55000 it does not wait; 0A000 it cannot
 * run here; 25006 the transaction is read-only.
 */
Datum
bgjob_run(PG_FUNCTION_ARGS)
{
	BgjobInplaceOutcome outcome = {BGJOB_NONE, NULL, NULL};
	BgjobRel *jobs;
	BgjobJob job;
	bool performs;

	bgjob_check_usage();
	bgjob_check_writable("bgjob_run()");
	check_surroundings();
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	CommandCounterIncrement(); /* see this transaction's own changes */
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	read_job(jobs, PG_GETARG_INT64(0), &job);
	take(jobs, &job);
	performs = make_due(jobs, &job);
	bgjob_rel_close(jobs);
	if (performs)
		bgjob_inplace_perform(&job, &outcome);
	else
		outcome.state = job.state;
	report(job.id, &outcome);
	if (outcome.result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(outcome.result);
}
