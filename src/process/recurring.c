/*-------------------------------------------------------------------------
 *
 * recurring.c
 *	  Puts in the jobs of recurring jobs when it is their time.
 *
 * Run by the scheduler, which sleeps until the next occurrence of any. What is
 * due is dealt with in transactions of many: for each the row is locked, its
 * occurrences up to now are looked at, jobs are put in for those that are to
 * run, and the row gets its next occurrence. If that fails as a whole, each is
 * dealt with by itself, and the one that cannot be shows its error and is tried
 * again at its next time; it disturbs no other.
 *
 * MISSED OR LATE. An occurrence is missed if it lies before this scheduler
 * began to serve: then nobody was there. It is missed too if the clock was set
 * forward over it; that is seen by the clock having gone further than time has.
 * What is only late, because the machine is busy, is put in like any other. A
 * clock that is set back has nobody do anything twice: next_at is in the row.
 *
 * Of missed occurrences "once" puts in one job, for the last of them; "all" one
 * for each, up to MOST_MISSED; "skip" none.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "access/xact.h"
#include "base/change.h"
#include "base/interval.h"
#include "base/process.h"
#include "base/registry.h"
#include "base/zone.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "process/recurring.h"
#include "rules/clock.h"
#include "rules/cron.h"
#include "run/authority.h"
#include "run/function.h"
#include "store/queue.h"
#include "store/recurring.h"
#include "store/schedule.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

/* Rows per transaction. */
#define MANY 1000

/* Occurrences that one recurring job may put in at a time. */
#define MOST_MISSED 1000

/* Occurrences that may wait for the end of the job before them. */
#define MOST_QUEUED 1000

/* The clock may go so much further than time before it counts as set, in seconds. */
#define CLOCK_STEP 5

/* What cannot be dealt with at all is looked at again so much later, in seconds. */
#define PAUSE_AFTER_ERROR 60

static TimestampTz up_since; /* what lies before is missed */
static TimestampTz mark;     /* nothing is due before, but for what is announced */
static TimestampTz next_at;  /* of any */
static bool look_at_queued;
static TimestampTz last_clock; /* of the last call, by the clock and in time */
static int64 last_time;

/* Time that goes on whatever the clock is set to, in microseconds. */
static int64
steady_time(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * USECS_PER_SEC + now.tv_nsec / 1000;
}

/* bgjob_recurring_look_anew says that anything may have changed. */
void
bgjob_recurring_look_anew(void)
{
	mark = DT_NOBEGIN;
	next_at = DT_NOBEGIN;
	look_at_queued = true;
}

/* bgjob_recurring_look_at_queued says that a job has ended which others may wait for. */
void
bgjob_recurring_look_at_queued(void)
{
	look_at_queued = true;
}

/* Notices a clock that was set: forward, what it went over is missed; back, nothing is due before. */
static void
watch_clock(TimestampTz now)
{
	int64 time = steady_time();
	int64 gone_further = (now - last_clock) - (time - last_time);

	if (gone_further > CLOCK_STEP * USECS_PER_SEC)
	{
		ereport(LOG, (errmsg("the clock was set forward by about " INT64_FORMAT " s",
							 gone_further / USECS_PER_SEC),
					  errdetail("Occurrences of recurring jobs in between count as missed.")));
		up_since = now;
	}
	if (gone_further < -CLOCK_STEP * USECS_PER_SEC)
	{
		up_since = Min(up_since, now);
		bgjob_recurring_look_anew();
	}
	last_clock = now;
	last_time = time;
}

/* ---- one recurring job ---- */

/* Whether the last job that it has put in has not ended. */
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
	BgjobTaken taken = BGJOB_BUSY;
	BgjobJob job;

	if (bgjob_slot_request(MyDatabaseId, id, BGJOB_REQUEST_DELETE, 0) !=
			BGJOB_REQUEST_NOT_RUNNING ||
		!bgjob_job_read(jobs, id, &job))
		return; /* it ends, one way or the other */
	if (job.state == BGJOB_ENQUEUED)
		taken = bgjob_queue_take(job.run_as, job.queue, job.priority, job.pos, NULL);
	else if (job.state == BGJOB_SCHEDULED)
		taken = bgjob_schedule_take(DatumGetTimestampTz(bgjob_job_datum(&job, BGJOB_C_RUN_AT)),
									id, NULL);
	if (taken != BGJOB_TAKEN)
		return;
	bgjob_job_apply(&job, BGJOB_EV_DELETE, &what);
	bgjob_job_save(jobs, &job);
}

/* Why its job cannot be put in, NULL if it can. Throws nothing that the look-up does not. */
static const char *
why_not(const BgjobRecurring *row)
{
	Oid role = DatumGetObjectId(bgjob_recurring_datum(row, BGJOB_R_RUN_AS));
	Oid owner = DatumGetObjectId(bgjob_recurring_datum(row, BGJOB_R_OWNER));
	const char *reason;

	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)))
		return "The role that was to run the job has been dropped";
	if (!bgjob_role_can_log_in(role))
		return "The role that is to run the job is not permitted to log in";
	reason = bgjob_authority_why_not(owner, role);
	if (reason != NULL)
		return reason;
	if (!bgjob_recurring_is_null(row, BGJOB_R_FUNC))
		return bgjob_function_why_not(bgjob_recurring_text(row, BGJOB_R_FUNC), role);
	return NULL;
}

/* When the job of an occurrence is to run: at once, or a random while later. */
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

/* The occurrences that wait; their number. */
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

/* Has an occurrence wait for the end of the last job. */
static void
add_queued(BgjobRecurring *row, TimestampTz occurrence)
{
	Datum *old;
	int n = read_queued(row, &old);
	Datum *queued = palloc((n + 1) * sizeof(Datum));

	if (n >= MOST_QUEUED)
	{
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
put_in(BgjobRel *jobs, BgjobRecurring *row, TimestampTz occurrence, TimestampTz now)
{
	const char *reason = why_not(row);

	if (reason == NULL)
		(void) bgjob_recurring_put_in(jobs, row, occurrence, jittered(row, occurrence), now,
									  false);
	else
		bgjob_recurring_set_text(row, BGJOB_R_ERROR, reason);
}

/* Deals with one occurrence that is to run, as the job before it allows. */
static void
run_occurrence(BgjobRel *jobs, BgjobRecurring *row, TimestampTz occurrence, TimestampTz now)
{
	BgjobOverlap overlap =
		(BgjobOverlap) DatumGetChar(bgjob_recurring_datum(row, BGJOB_R_OVERLAP));

	if (overlap != BGJOB_OVERLAP_ALLOW && is_going(jobs, row))
		switch (overlap)
		{
			case BGJOB_OVERLAP_SKIP:
				return;
			case BGJOB_OVERLAP_QUEUE:
				add_queued(row, occurrence);
				return;
			case BGJOB_OVERLAP_CANCEL:
				cancel_last(jobs, row);
				break;
			case BGJOB_OVERLAP_ALLOW:
				break;
		}
	put_in(jobs, row, occurrence, now);
}

/*
 * The last occurrence before a time, of which "first" is one: it is looked for
 * in ever longer spans before that time, since schedules only know the next.
 */
static TimestampTz
last_before(const BgjobCron *cron, const BgjobZone *zone, TimestampTz first, TimestampTz before)
{
	static const int64 spans[] = {10, 600, 7200, 172800, 5356800, 63244800};
	TimestampTz last = first;

	for (int i = 0; i < lengthof(spans); i++)
	{
		TimestampTz from = before - spans[i] * USECS_PER_SEC;
		TimestampTz next;

		if (from <= first)
			break;
		next = bgjob_cron_next(cron, zone, from);
		if (next < before)
		{
			last = next;
			break;
		}
	}
	for (TimestampTz next = last; next < before; next = bgjob_cron_next(cron, zone, next))
		last = next;
	return last;
}

/* Deals with all that is due of one recurring job, and sets its next occurrence. */
static void
deal_with(BgjobRel *jobs, BgjobRecurring *row, TimestampTz now)
{
	BgjobMisfire misfire =
		(BgjobMisfire) DatumGetChar(bgjob_recurring_datum(row, BGJOB_R_MISFIRE));
	TimestampTz end = bgjob_recurring_time(row, BGJOB_R_ENDS_AT, DT_NOEND);
	TimestampTz next = bgjob_recurring_time(row, BGJOB_R_NEXT_AT, DT_NOEND);
	BgjobCronError error;
	BgjobCron cron;
	BgjobTimeZone zone;
	bool lost = DatumGetBool(bgjob_recurring_datum(row, BGJOB_R_LOST));
	int done = 0;

	if (!bgjob_cron_parse(bgjob_recurring_text(row, BGJOB_R_SCHEDULE),
						  DatumGetBool(bgjob_recurring_datum(row, BGJOB_R_ALL_DAYS))
							  ? BGJOB_DAY_ALL
							  : BGJOB_DAY_ANY,
						  bgjob_recurring_text(row, BGJOB_R_NAME), &cron, &error))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", error.message)));
	bgjob_time_zone_open(&zone, bgjob_recurring_text(row, BGJOB_R_TIME_ZONE));

	if (lost) /* next_at was but the time to try again */
	{
		bgjob_recurring_set(row, BGJOB_R_LOST, BoolGetDatum(false));
		next = bgjob_cron_next(&cron, &zone.zone, now);
	}
	if (next < up_since && next <= end && misfire != BGJOB_MISFIRE_ALL)
	{
		if (misfire == BGJOB_MISFIRE_ONCE)
			run_occurrence(
				jobs, row,
				last_before(&cron, &zone.zone, next, end < up_since ? end + 1 : up_since), now);
		next = bgjob_cron_next(&cron, &zone.zone, up_since - 1);
	}
	for (; next <= now && next <= end && done < MOST_MISSED; done++)
	{
		run_occurrence(jobs, row, next, now);
		next = bgjob_cron_next(&cron, &zone.zone, next);
	}
	if (next <= now) /* more than anybody wants */
		next = bgjob_cron_next(&cron, &zone.zone, now);
	bgjob_recurring_set_time(row, BGJOB_R_NEXT_AT, next <= end ? next : DT_NOEND);
}

/* The same for one that runs when the server starts. */
static void
deal_with_reboot(BgjobRel *jobs, BgjobRecurring *row, TimestampTz now)
{
	run_occurrence(jobs, row, PgStartTime, now);
	bgjob_recurring_set_time(row, BGJOB_R_LAST_AT, PgStartTime); /* once for each start */
}

/* Puts in the first of those that wait for the last job, if that has ended. */
static void
deal_with_queued(BgjobRel *jobs, BgjobRecurring *row, TimestampTz now)
{
	Datum *queued;
	int n = read_queued(row, &queued);

	if (n == 0 || is_going(jobs, row))
		return;
	put_in(jobs, row, DatumGetTimestampTz(queued[0]), now);
	write_queued(row, queued + 1, n - 1);
}

/* ---- many ---- */

typedef void (*Deal)(BgjobRel *jobs, BgjobRecurring *row, TimestampTz now);

/* Deals with some, in one transaction. What somebody is changing now announces itself. */
static void
deal_with_many(const int64 *ids, int n, Deal deal, TimestampTz now)
{
	BgjobRel *jobs;
	BgjobRel *rel;
	MemoryContext per_row;
	MemoryContext old;

	bgjob_begin();
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	rel = bgjob_rel_open(BGJOB_TABLE_RECURRING);
	per_row =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob recurring", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(per_row);
	for (int i = 0; i < n; i++)
	{
		BgjobRecurring row;

		CHECK_FOR_INTERRUPTS();
		if (bgjob_recurring_read(rel, ids[i], &row) && bgjob_recurring_lock(rel, &row, false))
		{
			deal(jobs, &row, now);
			bgjob_recurring_save(rel, &row);
		}
		MemoryContextReset(per_row);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(per_row);
	bgjob_rel_close(rel);
	bgjob_rel_close(jobs);
	bgjob_commit();
}

/* Notes why one could not be dealt with, and when it is to be looked at again. */
static void
note_error(int64 id, const char *message, TimestampTz now)
{
	BgjobRel *rel;
	BgjobRecurring row;

	bgjob_begin();
	rel = bgjob_rel_open(BGJOB_TABLE_RECURRING);
	if (bgjob_recurring_read(rel, id, &row) && bgjob_recurring_lock(rel, &row, false))
	{
		bgjob_recurring_set_text(&row, BGJOB_R_ERROR, message);
		bgjob_recurring_set(&row, BGJOB_R_LOST, BoolGetDatum(true));
		if (!bgjob_recurring_is_null(&row, BGJOB_R_NEXT_AT))
			bgjob_recurring_set_time(&row, BGJOB_R_NEXT_AT,
									 now + PAUSE_AFTER_ERROR * USECS_PER_SEC);
		bgjob_recurring_set_null(&row, BGJOB_R_QUEUED);
		bgjob_recurring_save(rel, &row);
	}
	bgjob_rel_close(rel);
	bgjob_commit();
}

/* Deals with some; returns the error, copied, if that failed. */
static ErrorData *
try_many(const int64 *ids, int n, Deal deal, TimestampTz now)
{
	MemoryContext caller = CurrentMemoryContext;
	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		deal_with_many(ids, n, deal, now);
	}
	PG_CATCH();
	{
		if (QueryCancelPending || ProcDiePending || geterrcode() == ERRCODE_QUERY_CANCELED)
			PG_RE_THROW(); /* this process is to leave */
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		HOLD_INTERRUPTS();
		disable_all_timeouts(false);
		AbortOutOfAnyTransaction();
		FlushErrorState();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	return error;
}

/* Deals with some in one transaction, or if that fails one by one. */
static void
deal_safely(const int64 *ids, int n, Deal deal, TimestampTz now)
{
	if (n == 0 || try_many(ids, n, deal, now) == NULL)
		return;
	for (int i = 0; i < n; i++)
	{
		ErrorData *error = try_many(&ids[i], 1, deal, now);

		if (error != NULL)
			note_error(ids[i], error->message, now);
	}
}

/* bgjob_recurring_begin begins service: what lies before is missed. Puts in what runs at a start of the server. */
void
bgjob_recurring_begin(void)
{
	int64 *ids = palloc(MANY * sizeof(int64));
	int64 after = 0;
	int n;

	up_since = last_clock = bgjob_now();
	last_time = steady_time();
	bgjob_recurring_look_anew();
	do
	{
		BgjobRel *rel;

		bgjob_begin();
		rel = bgjob_rel_open(BGJOB_TABLE_RECURRING);
		n = bgjob_recurring_at_reboot(rel, PgStartTime, after, ids, MANY);
		bgjob_rel_close(rel);
		bgjob_commit();
		deal_safely(ids, n, deal_with_reboot, up_since);
		if (n > 0)
			after = ids[n - 1];
	} while (n == MANY);
	pfree(ids);
}

/* Looks up what is due, or what waits. */
static int
look_up(bool queued, TimestampTz now, int64 *ids)
{
	BgjobRel *rel;
	int n;

	bgjob_begin();
	pgstat_report_activity(STATE_RUNNING, "putting in recurring jobs");
	rel = bgjob_rel_open(BGJOB_TABLE_RECURRING);
	n = queued ? bgjob_recurring_queued(rel, ids, MANY)
			   : bgjob_recurring_due(rel, mark, now, ids, MANY, &next_at);
	bgjob_rel_close(rel);
	bgjob_commit();
	return n;
}

/*
 * bgjob_recurring_serve puts in what is due at "now". Returns when the next
 * is; not later than "now" if there is more to do at once.
 */
TimestampTz
bgjob_recurring_serve(TimestampTz now)
{
	int64 *ids;
	int64 first = 0;
	int n;

	watch_clock(now);
	if (next_at > now && !look_at_queued)
		return next_at;
	ids = palloc(MANY * sizeof(int64));
	if (look_at_queued)
	{
		look_at_queued = false;
		n = look_up(true, now, ids);
		deal_safely(ids, n, deal_with_queued, now);
	}
	while (next_at <= now && (n = look_up(false, now, ids)) > 0)
	{
		deal_safely(ids, n, deal_with, now);
		if (n < MANY)
			mark = now + 1; /* all of these are due later now, or announce themselves */
		next_at = mark;
		if (ids[0] == first)
			break; /* somebody holds a thousand of them: let him */
		first = ids[0];
	}
	pfree(ids);
	return next_at <= now ? now + USECS_PER_SEC : next_at;
}
