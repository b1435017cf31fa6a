/*-------------------------------------------------------------------------
 *
 * overlap.c
 *	  Inserts the job of an occurrence, as the job before it allows.
 *
 * Run by the scheduler (process/recurring.c), in its transaction, with the row
 * of the recurring job locked. If the last job of the recurring job has not
 * ended, its option "overlap" decides: the occurrence is skipped, waits in the
 * row for the end of that job, cancels it, or does not mind.
 *
 * A job that cannot be inserted (its role or function is gone, or lacks a
 * privilege) leaves the reason in the row instead. The change of the row is
 * the caller's to save.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/interval.h"
#include "base/request.h"
#include "base/totalnotes.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "process/overlap.h"
#include "rules/clock.h"
#include "run/authority.h"
#include "run/function.h"
#include "store/acquire.h"
#include "store/leased.h"
#include "store/recurring.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* Occurrences that may wait for the end of the job before them. */
#define MOST_QUEUED 1000

/* Returns whether the last job of a recurring one has not ended. */
static bool
is_going(BgjobRel *jobs, const BgjobRecurring *row)
{
	BgjobJob job;

	if (bgjob_recurring_is_null(row, BGJOB_R_LAST_JOB))
		return false;
	CommandCounterIncrement(); /* it may be one of this transaction's */
	return bgjob_job_read(jobs, DatumGetInt64(bgjob_recurring_datum(row, BGJOB_R_LAST_JOB)),
						  &job) &&
		   !bgjob_state_is_final(job.state);
}

/* Ends the last job, if it has not ended: it is asked to, or deleted where it waits. */
static void
cancel_last(BgjobRel *jobs, const BgjobRecurring *row)
{
	int64 id = DatumGetInt64(bgjob_recurring_datum(row, BGJOB_R_LAST_JOB));
	BgjobCircumstances what = {.at = bgjob_now(), .reason = "The next one was due"};
	BgjobLease lease;
	BgjobJob job;

	if (bgjob_slot_request(MyDatabaseId, id, BGJOB_REQUEST_DELETE, 0, NULL) !=
			BGJOB_REQUEST_NOT_RUNNING ||
		!bgjob_job_read(jobs, id, &job))
		return; /* it ends, one way or the other */
	if (bgjob_leased_find(&job, &lease))
	{
		(void) bgjob_leased_delete(jobs, &lease, what.reason, false);
		return;
	}
	if (bgjob_state_is_final(job.state) || !bgjob_job_try_acquire(jobs, &job))
		return;
	bgjob_job_apply(&job, BGJOB_EV_DELETE, &what);
	bgjob_job_save(jobs, &job);
}

/* Returns why its job cannot be enqueued, NULL if it can. Throws nothing that the look-up does not. */
static const char *
refusal_reason(const BgjobRecurring *row)
{
	Oid role = DatumGetObjectId(bgjob_recurring_datum(row, BGJOB_R_RUN_AS));
	Oid owner = DatumGetObjectId(bgjob_recurring_datum(row, BGJOB_R_OWNER));
	const char *reason;

	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)))
		return "The role that was to run the job has been dropped";
	if (DatumGetChar(bgjob_recurring_datum(row, BGJOB_R_KIND)) == BGJOB_KIND_EXTERNAL)
		return bgjob_authority_denial_reason(owner, role);
	if (!bgjob_role_can_log_in(role))
		return "The role that is to run the job is not permitted to log in";
	if (!bgjob_role_may_connect(role))
		return "The role that is to run the job may not connect to this database";
	reason = bgjob_authority_denial_reason(owner, role);
	if (reason != NULL)
		return reason;
	if (!bgjob_recurring_is_null(row, BGJOB_R_FUNC))
		return bgjob_function_unusable_reason(bgjob_recurring_text(row, BGJOB_R_FUNC), role);
	return NULL;
}

/* Returns the time at which the job of an occurrence is to run: the occurrence plus a random part of the jitter. */
static TimestampTz
jittered(const BgjobRecurring *row, TimestampTz occurrence)
{
	Interval *jitter;
	int64 width;

	if (bgjob_recurring_is_null(row, BGJOB_R_JITTER))
		return occurrence;
	jitter = DatumGetIntervalP(bgjob_recurring_datum(row, BGJOB_R_JITTER));
	width = bgjob_interval_microseconds(jitter, DAYS_PER_MONTH);
	if (width <= 0)
		return occurrence;
	return bgjob_time_later(occurrence,
							(int64) pg_prng_uint64_range(&pg_global_prng_state, 0, width));
}

/* Reads the occurrences that wait; returns their number. */
static int
read_queued(const BgjobRecurring *row, Datum **queued)
{
	int n = 0;

	*queued = NULL;
	if (!bgjob_recurring_is_null(row, BGJOB_R_QUEUED))
		deconstruct_array(DatumGetArrayTypeP(bgjob_recurring_datum(row, BGJOB_R_QUEUED)),
						  TIMESTAMPTZOID, sizeof(TimestampTz), true, TYPALIGN_DOUBLE, queued,
						  NULL, &n);
	return n;
}

static void
write_queued(BgjobRecurring *row, Datum *queued, int n)
{
	if (n == 0)
		bgjob_recurring_set_null(row, BGJOB_R_QUEUED);
	else
		bgjob_recurring_set(
			row, BGJOB_R_QUEUED,
			PointerGetDatum(construct_array(queued, n, TIMESTAMPTZOID, sizeof(TimestampTz),
											true, TYPALIGN_DOUBLE)));
}

/* Adds an occurrence to those that wait for the end of the last job. */
static void
add_queued(BgjobRecurring *row, TimestampTz occurrence)
{
	Datum *old;
	int n = read_queued(row, &old);
	Datum *queued = palloc((n + 1) * sizeof(Datum));

	if (n >= MOST_QUEUED)
	{
		bgjob_totals_note_missed(BGJOB_MISSED_OVERLAP);
		bgjob_recurring_set_text(
			row, BGJOB_R_ERROR, "Too many occurrences wait for the end of the job before them");
		return;
	}
	for (int i = 0; i < n; i++)
		queued[i] = old[i];
	queued[n] = TimestampTzGetDatum(occurrence);
	write_queued(row, queued, n + 1);
}

static void
enqueue_occurrence(BgjobRel *jobs, BgjobRecurring *row, TimestampTz occurrence, TimestampTz now)
{
	const char *reason = refusal_reason(row);

	if (reason == NULL)
		(void) bgjob_recurring_enqueue(jobs, row, occurrence, jittered(row, occurrence), now,
									   false);
	else
	{
		bgjob_totals_note_missed(BGJOB_MISSED_REFUSED);
		bgjob_recurring_set_text(row, BGJOB_R_ERROR, reason);
	}
}

/* Enqueues the job of one occurrence, or does what "overlap" says if the job before it has not ended. */
void
bgjob_overlap_run(BgjobRel *jobs, BgjobRecurring *row, TimestampTz occurrence, TimestampTz now)
{
	BgjobOverlap overlap =
		(BgjobOverlap) DatumGetChar(bgjob_recurring_datum(row, BGJOB_R_OVERLAP));

	if (overlap != BGJOB_OVERLAP_ALLOW && is_going(jobs, row))
		switch (overlap)
		{
			case BGJOB_OVERLAP_SKIP:
				bgjob_totals_note_missed(BGJOB_MISSED_OVERLAP);
				return;
			case BGJOB_OVERLAP_QUEUE:
				add_queued(row, occurrence);
				return;
			case BGJOB_OVERLAP_CANCEL:
				if (refusal_reason(row) == NULL)
					cancel_last(jobs, row);
				break;
			case BGJOB_OVERLAP_ALLOW:
				break;
		}
	enqueue_occurrence(jobs, row, occurrence, now);
}

/* Enqueues the first of the occurrences that wait for the last job, if that job has ended. */
bool
bgjob_overlap_run_queued(BgjobRel *jobs, BgjobRecurring *row, TimestampTz now)
{
	Datum *queued;
	int n = read_queued(row, &queued);

	if (n == 0 || is_going(jobs, row))
		return false;
	enqueue_occurrence(jobs, row, DatumGetTimestampTz(queued[0]), now);
	write_queued(row, queued + 1, n - 1);
	return true;
}
