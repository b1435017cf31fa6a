/*-------------------------------------------------------------------------
 *
 * due.c
 *	  Jobs that become due, and jobs whose times come from a wrong clock.
 *
 * The scheduler scans the schedule (store/schedule.c) and enqueues the jobs that
 * are due. After the clock has been set back, it scans the whole schedule once,
 * and corrects the times that were computed as an interval from a wrong now.
 *
 * By the scheduler, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/totalnotes.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "store/acquire.h"
#include "store/due.h"
#include "store/history.h"
#include "store/job.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* bgjob_internal.job, open while bgjob_due_enqueue is running. */
static BgjobRel *due_jobs;

/* Notes by how much a job is late. */
static void
note_late(const BgjobJob *job)
{
	TimestampTz run_at = bgjob_job_is_null(job, BGJOB_C_RUN_AT)
							 ? DT_NOBEGIN
							 : bgjob_job_time(job, BGJOB_C_RUN_AT);

	if (!TIMESTAMP_NOT_FINITE(run_at))
		bgjob_totals_note_late(bgjob_now() - run_at);
}

/* Moves one job, whose row in the schedule has been deleted, into the queue. */
static void
enqueue_one(int64 id, TimestampTz now)
{
	BgjobCircumstances what = {.at = now};
	BgjobJob job;

	if (!bgjob_job_read(due_jobs, id, &job) || job.state != BGJOB_SCHEDULED)
		return;
	note_late(&job);
	bgjob_job_apply(&job, BGJOB_EV_DUE, &what);
	bgjob_job_save(due_jobs, &job);
}

/* bgjob_due_enqueue enqueues jobs that are due; arguments and result as of bgjob_schedule_take_due. */
TimestampTz
bgjob_due_enqueue(TimestampTz now, int max, TimestampTz *blocked_from)
{
	TimestampTz next;

	due_jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	next = bgjob_schedule_take_due(now, max, blocked_from, enqueue_one);
	bgjob_rel_close(due_jobs);
	return next;
}

/* Moves one job before it is due; unless another transaction has it, which then decides. */
static void
enqueue_early(BgjobRel *jobs, const BgjobScheduled *place, TimestampTz now)
{
	BgjobCircumstances what = {.at = now};
	BgjobJob job;
	const char *reason;

	if (!bgjob_job_read(jobs, place->job, &job) || job.state != BGJOB_SCHEDULED)
		return;
	reason = bgjob_job_text(&job, BGJOB_C_ENTRY_REASON);
	if (reason == NULL || strcmp(reason, BGJOB_CHUNK_REASON) != 0 ||
		bgjob_schedule_take(place->role, place->at, place->job, NULL) != BGJOB_TAKEN)
		return;
	bgjob_job_apply(&job, BGJOB_EV_DUE, &what);
	if (job.state == BGJOB_ENQUEUED)
		bgjob_job_set_time(&job, BGJOB_C_RUN_AT, now);
	bgjob_job_save(jobs, &job);
}

/* bgjob_due_enqueue_waiting enqueues the jobs of a role that wait for others until "at", and no longer need to; at most "max". */
void
bgjob_due_enqueue_waiting(Oid role, TimestampTz at, TimestampTz now, int max)
{
	BgjobScheduled *places = palloc(max * sizeof(BgjobScheduled));
	int n = bgjob_schedule_at(role, at, places, max);
	BgjobRel *jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	MemoryContext per_row =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob due", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(per_row);

	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		enqueue_early(jobs, &places[i], now);
		MemoryContextReset(per_row);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(per_row);
	bgjob_rel_close(jobs);
	pfree(places);
}

/* ---- a clock that was ahead ---- */

/*
 * Returns whether a job's time was computed as an interval from a clock that was
 * ahead: the job waits for a retry or for others, has snoozed, or belongs to a recurring job,
 * which may add a random delay. A time that a caller asked for stays.
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
		   strncmp(reason, BGJOB_SNOOZE_REASON, strlen(BGJOB_SNOOZE_REASON)) == 0 ||
		   strcmp(reason, BGJOB_CHUNK_REASON) == 0;
}

/* Reschedules a job that is ahead: its interval counts from now. False: it is not ahead, or another process has it. */
static bool
correct(BgjobRel *jobs, int64 id, TimestampTz now)
{
	BgjobCircumstances what = {.at = now};
	BgjobJob job;

	if (!bgjob_job_read(jobs, id, &job) || !is_ahead(&job, now) ||
		!bgjob_job_try_acquire(jobs, &job))
		return false;
	what.run_at =
		now + (bgjob_job_time(&job, BGJOB_C_RUN_AT) - bgjob_history_waiting_since(&job));
	what.reason = bgjob_job_text(&job, BGJOB_C_ENTRY_REASON);
	bgjob_job_apply_unfiltered(&job, BGJOB_EV_RESCHEDULE, &what);
	bgjob_job_save(jobs, &job);
	return true;
}

/*
 * bgjob_due_correct reads the jobs behind *after in the schedule, at most "max".
 * It corrects the times that were computed by a clock that was ahead, and adds
 * the number of corrected jobs to *number. *after becomes the last job that was
 * read. False: there are more jobs behind it.
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
