/*-------------------------------------------------------------------------
 *
 * latenotes.c
 *	  Noting late answers of external workers in the history of their jobs.
 *
 * A step of the scheduler's round. A note is an entry of bgjob_internal.state that changes nothing of the
 * job (store/history.c); so no lock of the job is needed, and nobody waits. An answer of a worker is noted once for each job, and logged. A round notes BATCH answers at most.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/lateanswers.h"
#include "base/lease.h"
#include "base/process.h"
#include "miscadmin.h"
#include "process/latenotes.h"
#include "rules/clock.h"
#include "store/history.h"
#include "store/jobrow.h"

/* Answers that are noted in one round. */
#define BATCH 50

/* Returns the state that the views show of a job. */
static BgjobState
shown_state(const BgjobJob *job)
{
	BgjobLease lease;

	return bgjob_lease_find(MyDatabaseId, job->id, &lease) && lease.phase == BGJOB_LEASE_HELD
			   ? BGJOB_PROCESSING
			   : job->state;
}

/* Notes an answer, unless the job has been removed, or has that note already. */
static void
note(const BgjobLateAnswer *answer)
{
	char *reason = psprintf("Late answer of worker \"%s\" ignored", answer->worker);
	BgjobRel *jobs;
	BgjobJob job;
	bool noted;

	bgjob_begin();
	jobs = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	noted = bgjob_job_read(jobs, answer->job, &job) &&
			bgjob_history_note(job.id, shown_state(&job), bgjob_now(), reason);
	bgjob_rel_close(jobs);
	bgjob_commit();
	if (noted)
		ereport(LOG,
				(errmsg("external worker \"%s\" has answered too late for job " INT64_FORMAT,
						answer->worker, answer->job),
				 errdetail("It no longer had the job. The answer does not count.")));
}

/* bgjob_latenotes_serve notes some answers. Returns when to call it again. */
TimestampTz
bgjob_latenotes_serve(TimestampTz now)
{
	BgjobLateAnswer answer;

	for (int i = 0; i < BATCH; i++)
	{
		if (!bgjob_late_answers_first(MyDatabaseId, &answer))
			return DT_NOEND;
		note(&answer);
		bgjob_late_answers_remove(&answer);
	}
	return now;
}
