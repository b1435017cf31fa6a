/*-------------------------------------------------------------------------
 *
 * underway.c
 *	  The attempt at a job that is under way in this process.
 *
 * A worker performs one job at a time. What is known of the attempt is here,
 * below the parts of the attempt (run/perform.c) and below the functions that
 * the job itself calls (api/inside.c), so that both can ask for it. Filled in
 * by run/attempt.c and run/group.c when the job has been claimed. In any other
 * process there is no attempt, and no job.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "run/underway.h"

BgjobUnderway bgjob_underway;

/*
 * bgjob_underway_job returns the job that this process is performing, NULL if it
 * is at none. A filter that is called while an event is settled is in no
 * attempt, just as where the scheduler or another session calls it.
 */
const BgjobJob *
bgjob_underway_job(void)
{
	return bgjob_underway.claimed && !bgjob_underway.settling ? &bgjob_underway.job : NULL;
}

/*
 * bgjob_underway_read_row reads the running job's row as the running
 * transaction has it. bgjob_underway_save_row writes it: a part of the job's
 * own transaction, undone with it.
 */
void
bgjob_underway_read_row(BgjobRel *jobs, BgjobJob *job)
{
	if (!bgjob_job_read(jobs, bgjob_underway.job.id, job))
		elog(ERROR, "job " INT64_FORMAT " has gone", bgjob_underway.job.id);
}

void
bgjob_underway_save_row(BgjobRel *jobs, BgjobJob *job)
{
	bgjob_job_check_reserved(job->id);
	bgjob_job_save(jobs, job);
	CommandCounterIncrement();
	bgjob_underway.changed = true;
}
