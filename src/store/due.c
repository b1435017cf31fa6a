/*-------------------------------------------------------------------------
 *
 * due.c
 *	  Jobs that come due, and those whose times a clock has got wrong.
 *
 * The scheduler goes along the schedule (store/schedule.c) and enqueues what
 * is due. After the clock has been set back it goes along all of it once, and
 * corrects the times that were computed as a span from a wrong now.
 *
 * By the scheduler, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "store/due.h"
#include "store/history.h"
#include "store/hold.h"
#include "store/job.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* bgjob_internal.job, while bgjob_due_enqueue is running. */
static BgjobRel *due_jobs;

/* Moves one job, whose row in the schedule has been deleted, into the queue. */
static void
enqueue_one(int64 id, TimestampTz now)
{
	BgjobCircumstances what = {.at = now};
	BgjobJob job;

	if (!bgjob_job_read(due_jobs, id, &job) || job.state != BGJOB_SCHEDULED)
		return;
	bgjob_job_apply(&job, BGJOB_EV_DUE, &what);
	bgjob_job_save(due_jobs, &job);
}

/* bgjob_due_enqueue enqueues jobs that are due; arguments and answer as of bgjob_schedule_go_along. */
TimestampTz
bgjob_due_enqueue(TimestampTz now, int max, TimestampTz *blocked_from)
{
	TimestampTz next;

	due_jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	next = bgjob_schedule_go_along(now, max, blocked_from, enqueue_one);
	bgjob_rel_close(due_jobs);
	return next;
}

/* ---- a clock that was ahead ---- */

/*
 * Tells whether a job got its time, by a clock that was ahead, as a span from
 * then on: one that waits for a retry, has snoozed, or is a recurring one's,
 * which may be a random while late. A time that somebody has asked for stays.
 */
static bool
is_ahead(const BgjobJob *job, TimestampTz now)
{
	const char *reason;

	if (job->state != BGJOB_SCHEDULED || bgjob_job_is_null(job, BGJOB_C_RUN_AT) ||
		bgjob_history_waiting_since(job) <= now)
		return false;
	if (!bgjob_job_is_null(job, BGJOB_C_RECURRING_NAME))
		return true;
	reason = bgjob_job_text(job, BGJOB_C_ENTRY_REASON);
	if (reason == NULL)
		return false;
	return strncmp(reason, BGJOB_RETRY_REASON, strlen(BGJOB_RETRY_REASON)) == 0 ||
		   strncmp(reason, BGJOB_SNOOZE_REASON, strlen(BGJOB_SNOOZE_REASON)) == 0;
}

/* Has a job that is ahead wait for as long as it was to, from now on. False: it is not, or somebody has it. */
static bool
correct(BgjobRel *jobs, int64 id, TimestampTz now)
{
	BgjobCircumstances what = {.at = now};
	BgjobJob job;

	if (!bgjob_job_read(jobs, id, &job) || !is_ahead(&job, now) || !bgjob_hold_try(jobs, &job))
		return false;
	what.run_at =
		now + (bgjob_job_time(&job, BGJOB_C_RUN_AT) - bgjob_history_waiting_since(&job));
	what.reason = bgjob_job_text(&job, BGJOB_C_ENTRY_REASON);
	bgjob_job_apply_unfiltered(&job, BGJOB_EV_RESCHEDULE, &what);
	bgjob_job_save(jobs, &job);
	return true;
}

/*
 * bgjob_due_correct looks at the jobs behind a place of the schedule, at most
 * "max", for those whose time was computed by a clock that was ahead, sets that
 * right and adds their number to *number. *after becomes the last place that it has looked
 * at. False: there are more behind that.
 */
bool
bgjob_due_correct(BgjobScheduled *after, TimestampTz now, int max, int64 *number)
{
	BgjobScheduled *places = palloc(max * sizeof(BgjobScheduled));
	int n = bgjob_schedule_behind(after, places, max);
	BgjobRel *jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	MemoryContext per_row =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob clock", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(per_row);

	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		*number += correct(jobs, places[i].job, now) ? 1 : 0;
		MemoryContextReset(per_row);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(per_row);
	bgjob_rel_close(jobs);
	if (n > 0)
		*after = places[n - 1];
	pfree(places);
	return n < max;
}
