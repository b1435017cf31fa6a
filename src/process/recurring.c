/*-------------------------------------------------------------------------
 *
 * recurring.c
 *	  Enqueues the jobs of recurring jobs when they are due.
 *
 * Run by the scheduler, which sleeps until the next occurrence of any. Rows that
 * are due are processed in transactions of many: each row is locked, a job is
 * enqueued for each of its occurrences up to now that is to run, and the row gets
 * its next occurrence. If the transaction fails, each row is processed by itself. A
 * row that fails shows its error and is tried again at its next time; it disturbs
 * no other.
 *
 * A round processes a bounded number of rows and occurrences. A row that another
 * transaction has locked is skipped and announces itself later, so it is not
 * in the way of those behind it. Occurrences that are on time ("late") go before
 * those that were missed ("missed"), and a row with one missed occurrence before
 * those with many: so years of missed occurrences delay nothing.
 *
 * MISSED OR LATE. An occurrence is missed if it lies before the moment that this
 * scheduler began to serve, or if the clock was set forward over it
 * (process/clockset.c). An occurrence that is only late, because the machine is
 * busy, is enqueued like any other.
 *
 * AHEAD. After a clock that was ahead has been set right, and when the server
 * starts, all rows are scanned, a bounded number in a round, for those whose next
 * occurrence lies later than it should (run/occurrence.c). Only these
 * are locked and changed.
 *
 * For missed occurrences "once" enqueues one job, for the last of them; "all" one
 * for each, up to MOST_MISSED; "skip" none.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/process.h"
#include "base/totalnotes.h"
#include "base/text.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "process/overlap.h"
#include "process/recurring.h"
#include "rules/clock.h"
#include "run/occurrence.h"
#include "store/recurring.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

/* Number of rows processed in a round, and read at a time. */
#define MANY 200

/* Number of occurrences after which a transaction ends. */
#define ENOUGH 500

/* Duration after which it ends, in microseconds. */
#define LONG_ENOUGH 300000

/* Maximal number of occurrences of one recurring job that are enqueued at a time. */
#define MOST_MISSED 1000

/* Pause before a row that could not be processed is tried again, in seconds. */
#define PAUSE_AFTER_ERROR 60
#define PAUSE_AFTER_LOCK  1

static TimestampTz up_since; /* what lies before is missed */
static bool scan_queued;
static int64 queued_after; /* rows that wait have been processed up to this number */
static bool scan_reboot;
static int64 reboot_after;   /* likewise those that run at a start */
static TimestampTz again_at; /* everything is scanned again then: something was locked */

/* The progress through the rows, in the order of their next occurrences. */
typedef struct Cursor
{
	BgjobDue done;    /* all rows up to this one have been processed, except announced ones */
	TimestampTz next; /* of the one behind it */
} Cursor;

static Cursor missed;     /* occurrences before up_since */
static Cursor missed_all; /* the same, of those that make up for each */
static Cursor late;       /* and later ones */

/* The number of occurrences processed in the running transaction, and its start. */
static int occurrences;
static int64 began_at;

/* The scan for rows whose next occurrence is too late. */
static bool correcting;
static int64 set_back;      /* by how much the clock has gone back; 0: unknown */
static int64 correct_after; /* they have been scanned up to this number */
static bool passed_over;    /* one of them was locked */
static TimestampTz correct_at;

/* bgjob_recurring_rescan makes the next rounds scan all rows, since any of them may have changed. */
void
bgjob_recurring_rescan(void)
{
	missed = missed_all = (Cursor){{DT_NOBEGIN, 0}, DT_NOBEGIN};
	late = (Cursor){{up_since - 1, PG_INT64_MAX}, DT_NOBEGIN};
	again_at = DT_NOEND;
	bgjob_recurring_rescan_queued();
}

/* bgjob_recurring_rescan_queued makes the next rounds scan the rows that wait, since a job has ended. */
void
bgjob_recurring_rescan_queued(void)
{
	scan_queued = true;
	queued_after = 0;
}

/* bgjob_recurring_clock_set is called when the clock was set to "now": occurrences that it skipped are missed. */
void
bgjob_recurring_clock_set(TimestampTz now, bool forward)
{
	up_since = forward ? now : Min(up_since, now);
	bgjob_recurring_rescan();
}

/*
 * bgjob_recurring_correct begins a scan for rows whose next occurrence was
 * computed when the clock was ahead; by "by" microseconds, 0: that is unknown.
 */
void
bgjob_recurring_correct(int64 by)
{
	correcting = true;
	set_back = by;
	correct_after = 0;
	passed_over = false;
	correct_at = DT_NOBEGIN;
}

/* ---- one recurring job ---- */

/* Runs one occurrence, and counts it. */
static void
run_occurrence(BgjobRel *jobs, BgjobRecurring *row, TimestampTz occurrence, TimestampTz now)
{
	occurrences++;
	if (occurrence >= up_since)
		bgjob_totals_note_late(bgjob_now() - occurrence);
	bgjob_overlap_run(jobs, row, occurrence, now);
}

/*
 * Returns the last occurrence before a time; "first" is an earlier one. Schedules only
 * compute the next occurrence, so it is searched for in ever longer spans before that
 * time.
 */
static TimestampTz
last_before(const BgjobOccurrences *occurrences, TimestampTz first, TimestampTz before)
{
	static const int64 spans[] = {10, 600, 7200, 172800, 5356800, 63244800};
	TimestampTz last = first;

	for (int i = 0; i < lengthof(spans); i++)
	{
		TimestampTz from = before - spans[i] * USECS_PER_SEC;
		TimestampTz next;

		if (from <= first)
			break;
		next = bgjob_occurrences_next(occurrences, from);
		if (next < before)
		{
			last = next;
			break;
		}
	}
	for (TimestampTz next = last; next < before;
		 next = bgjob_occurrences_next(occurrences, next))
		last = next;
	return last;
}

/* Runs all due occurrences of one recurring job, and sets its next occurrence. */
static bool
deal_with(BgjobRel *jobs, BgjobRecurring *row, TimestampTz now)
{
	BgjobMisfire misfire =
		(BgjobMisfire) DatumGetChar(bgjob_recurring_datum(row, BGJOB_R_MISFIRE));
	TimestampTz end = bgjob_recurring_time(row, BGJOB_R_ENDS_AT, DT_NOEND);
	TimestampTz next = bgjob_recurring_time(row, BGJOB_R_NEXT_AT, DT_NOEND);
	BgjobOccurrences occurrences;
	bool lost = DatumGetBool(bgjob_recurring_datum(row, BGJOB_R_LOST));
	int done = 0;

	bgjob_occurrences_open(&occurrences, row);
	if (lost) /* next_at was but the time to try again */
	{
		bgjob_recurring_set(row, BGJOB_R_LOST, BoolGetDatum(false));
		next = bgjob_occurrences_next(&occurrences, now);
	}
	if (next < up_since && next <= end)
		bgjob_totals_note_missed(BGJOB_MISSED_NOT_SERVED);
	if (next < up_since && next <= end && misfire != BGJOB_MISFIRE_ALL)
	{
		if (misfire == BGJOB_MISFIRE_ONCE)
			run_occurrence(jobs, row,
						   last_before(&occurrences, next, end < up_since ? end + 1 : up_since),
						   now);
		next = bgjob_occurrences_next(&occurrences, up_since - 1);
	}
	for (; next <= now && next <= end && done < MOST_MISSED; done++)
	{
		run_occurrence(jobs, row, next, now);
		next = bgjob_occurrences_next(&occurrences, next);
	}
	if (next <= now) /* too many */
		next = bgjob_occurrences_next(&occurrences, now);
	bgjob_recurring_set_time(row, BGJOB_R_NEXT_AT, next <= end ? next : DT_NOEND);
	return true;
}

/* Runs the due occurrences, unless each missed one is to be made up for: such rows are processed later. */
static bool
deal_with_once_missed(BgjobRel *jobs, BgjobRecurring *row, TimestampTz now)
{
	return DatumGetChar(bgjob_recurring_datum(row, BGJOB_R_MISFIRE)) != BGJOB_MISFIRE_ALL &&
		   deal_with(jobs, row, now);
}

/* Runs the one occurrence of a recurring job that runs when the server starts. */
static bool
deal_with_reboot(BgjobRel *jobs, BgjobRecurring *row, TimestampTz now)
{
	run_occurrence(jobs, row, PgStartTime, now);
	bgjob_recurring_set_time(row, BGJOB_R_LAST_AT, PgStartTime); /* once for each start */
	return true;
}

/* Returns the next_at that a row should have, if the clock was ahead when next_at was computed. */
static TimestampTz
corrected(const BgjobRecurring *row, TimestampTz now)
{
	TimestampTz next = bgjob_recurring_time(row, BGJOB_R_NEXT_AT, DT_NOEND);

	if (DatumGetBool(bgjob_recurring_datum(row, BGJOB_R_LOST)))
		return Min(next, now + PAUSE_AFTER_ERROR * USECS_PER_SEC);
	return bgjob_occurrence_corrected(row, now, set_back);
}

/* Returns whether the next occurrence of a row is later than it should be. Restored rows wait for bgjob_adopt(). */
static bool
is_ahead(const BgjobRecurring *row, TimestampTz now)
{
	TimestampTz next = bgjob_recurring_time(row, BGJOB_R_NEXT_AT, DT_NOEND);
	bool restored = !bgjob_recurring_is_null(row, BGJOB_R_NEXT_AT) && next == DT_NOEND;

	return DatumGetBool(bgjob_recurring_datum(row, BGJOB_R_ACTIVE)) && !restored &&
		   corrected(row, now) < next;
}

/* Corrects the next occurrence of a row. */
static bool
correct(BgjobRel *jobs, BgjobRecurring *row, TimestampTz now)
{
	bgjob_recurring_set_time(row, BGJOB_R_NEXT_AT, corrected(row, now));
	return true;
}

/* ---- many ---- */

/* A way of processing a row. */
typedef struct Deal
{
	/* Returns whether the row is to be processed; NULL: always. The row is not locked yet. */
	bool (*concerns)(const BgjobRecurring *row, TimestampTz now);
	/* Processes the row; false if the row is left unchanged. */
	bool (*run)(BgjobRel *jobs, BgjobRecurring *row, TimestampTz now);
} Deal;

static const Deal due_deal = {.run = deal_with};
static const Deal once_missed_deal = {.run = deal_with_once_missed};
static const Deal reboot_deal = {.run = deal_with_reboot};
static const Deal queued_deal = {.run = bgjob_overlap_run_queued};
static const Deal correction = {.concerns = is_ahead, .run = correct};

static int touched; /* rows, by the running transaction */
static int changed; /* and by those that have been committed */

/* Returns whether the running transaction has processed as much as one transaction may. */
static bool
is_enough(void)
{
	return occurrences >= ENOUGH || bgjob_steady_now() - began_at > LONG_ENOUGH;
}

/* Processes one row. One that another transaction is changing announces itself later. */
static void
deal_with_one(BgjobRel *rel, BgjobRel *jobs, int64 id, const Deal *deal, TimestampTz now)
{
	BgjobRecurring row;

	CHECK_FOR_INTERRUPTS();
	if (!bgjob_recurring_read(rel, id, &row) ||
		(deal->concerns != NULL && !deal->concerns(&row, now)))
		return;
	if (!bgjob_recurring_lock(rel, &row, false))
		passed_over = true;
	else if (deal->run(jobs, &row, now))
	{
		bgjob_recurring_save(rel, &row);
		touched++;
	}
}

/* Processes some rows in one transaction, until is_enough(); returns their number. */
static int
deal_with_many(const int64 *ids, int n, const Deal *deal, TimestampTz now)
{
	BgjobRel *jobs;
	BgjobRel *rel;
	MemoryContext per_row;
	MemoryContext old;
	int dealt = 0;

	occurrences = touched = 0;
	bgjob_totals_begin();
	bgjob_begin();
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	rel = bgjob_rel_open(BGJOB_TABLE_RECURRING);
	per_row =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob recurring", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(per_row);
	do
	{
		deal_with_one(rel, jobs, ids[dealt], deal, now);
		MemoryContextReset(per_row);
	} while (++dealt < n && !is_enough());
	MemoryContextSwitchTo(old);
	MemoryContextDelete(per_row);
	bgjob_rel_close(rel);
	bgjob_rel_close(jobs);
	bgjob_commit();
	bgjob_totals_commit();
	changed += touched;
	return dealt;
}

/* Notes why a row could not be processed, and when it is tried again. */
static void
note_error(int64 id, const char *message, TimestampTz now)
{
	BgjobRel *rel;
	BgjobRecurring row;

	bgjob_totals_begin();
	bgjob_begin();
	rel = bgjob_rel_open(BGJOB_TABLE_RECURRING);
	if (bgjob_recurring_read(rel, id, &row) && bgjob_recurring_lock(rel, &row, false))
	{
		bgjob_recurring_set_text(&row, BGJOB_R_ERROR,
								 bgjob_text_cut(message, BGJOB_REASON_MAX));
		bgjob_recurring_set(&row, BGJOB_R_LOST, BoolGetDatum(true));
		if (!bgjob_recurring_is_null(&row, BGJOB_R_NEXT_AT))
			bgjob_recurring_set_time(&row, BGJOB_R_NEXT_AT,
									 now + PAUSE_AFTER_ERROR * USECS_PER_SEC);
		bgjob_recurring_set_null(&row, BGJOB_R_QUEUED);
		bgjob_recurring_save(rel, &row);
		bgjob_totals_note_missed(BGJOB_MISSED_REFUSED);
	}
	bgjob_rel_close(rel);
	bgjob_commit();
	bgjob_totals_commit();
}

/* Processes some rows, and sets *dealt to their number; returns the error, copied, if that failed. */
static ErrorData *
try_many(const int64 *ids, int n, const Deal *deal, TimestampTz now, int *dealt)
{
	MemoryContext caller = CurrentMemoryContext;
	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		*dealt = deal_with_many(ids, n, deal, now);
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

/* Processes some rows in one transaction, or, if that fails, each in its own. Returns their number. */
static int
deal_safely(const int64 *ids, int n, const Deal *deal, TimestampTz now)
{
	int dealt = 0;
	int one;

	changed = 0;
	began_at = bgjob_steady_now();
	if (n == 0 || try_many(ids, n, deal, now, &dealt) == NULL)
		return dealt;
	began_at = bgjob_steady_now();
	for (dealt = 0; dealt < n && bgjob_steady_now() - began_at < LONG_ENOUGH; dealt++)
	{
		ErrorData *error = try_many(&ids[dealt], 1, deal, now, &one);

		if (error == NULL)
			continue;
		if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
			again_at = now + PAUSE_AFTER_LOCK * USECS_PER_SEC;
		else
			note_error(ids[dealt], error->message, now);
	}
	return dealt;
}

/* bgjob_recurring_begin begins service: what lies before "since" is missed. */
void
bgjob_recurring_begin(TimestampTz since)
{
	up_since = since;
	scan_reboot = true;
	reboot_after = 0;
	bgjob_recurring_rescan();
}

/* Reads the ids of some rows, those greater than "after", in ascending order. */
typedef int (*Reader)(BgjobRel *rel, int64 after, int64 *ids, int max);

/* Processes some of the rows that a reader returns, those after *after, which is raised. True: there are more. */
static bool
serve_some(Reader read, int64 *after, const Deal *deal, TimestampTz now)
{
	int64 ids[MANY] = {0};
	BgjobRel *rel;
	int n;
	int dealt;

	bgjob_begin();
	rel = bgjob_rel_open(BGJOB_TABLE_RECURRING);
	n = read(rel, *after, ids, MANY);
	bgjob_rel_close(rel);
	bgjob_commit();
	dealt = deal_safely(ids, n, deal, now);
	if (dealt > 0)
		*after = ids[dealt - 1];
	return n == MANY || dealt < n;
}

static int
read_at_reboot(BgjobRel *rel, int64 after, int64 *ids, int max)
{
	return bgjob_recurring_at_reboot(rel, PgStartTime, after, ids, max);
}

/* Processes some of the rows that are due after a cursor, and not later than "until". */
static void
serve_due(Cursor *cursor, TimestampTz until, const Deal *deal, TimestampTz now)
{
	BgjobDue due[MANY];
	int64 ids[MANY] = {0};
	BgjobRel *rel;
	int n;
	int dealt;

	bgjob_begin();
	pgstat_report_activity(STATE_RUNNING, "enqueuing recurring jobs");
	rel = bgjob_rel_open(BGJOB_TABLE_RECURRING);
	n = bgjob_recurring_due(rel, &cursor->done, until, due, MANY, &cursor->next);
	bgjob_rel_close(rel);
	bgjob_commit();
	for (int i = 0; i < n; i++)
		ids[i] = due[i].id;
	dealt = deal_safely(ids, n, deal, now);
	if (n == 0)
		return;
	/* The processed rows have other times now: read again, also the later ones. */
	cursor->next = late.next = DT_NOBEGIN;
	if (dealt > 0)
		cursor->done = due[dealt - 1];
}

/*
 * bgjob_recurring_serve_correction scans some rows for next occurrences that are too
 * late, and adds the number of rows that it has corrected to *number. Returns when
 * to go on; DT_NOEND: all rows have been scanned.
 */
TimestampTz
bgjob_recurring_serve_correction(TimestampTz now, int64 *number)
{
	bool more;

	if (!correcting || now < correct_at)
		return correcting ? correct_at : DT_NOEND;
	more = serve_some(bgjob_recurring_ids, &correct_after, &correction, now);
	if (changed > 0)
		bgjob_recurring_rescan();
	*number += changed;
	if (more)
		return now;
	correcting = passed_over;
	if (correcting) /* from the beginning, when others have let them go */
	{
		bgjob_recurring_correct(set_back);
		correct_at = now + PAUSE_AFTER_LOCK * USECS_PER_SEC;
	}
	return correcting ? correct_at : DT_NOEND;
}

/*
 * bgjob_recurring_serve processes a bounded number of rows that are due at "now".
 * Returns when the next row is due; not later than "now" if more rows are due.
 */
TimestampTz
bgjob_recurring_serve(TimestampTz now)
{
	if (again_at <= now)
		bgjob_recurring_rescan();
	if (scan_reboot) /* what runs at a start of the server */
		scan_reboot = serve_some(read_at_reboot, &reboot_after, &reboot_deal, up_since);
	if (scan_queued) /* what waited for other jobs to end */
		scan_queued = serve_some(bgjob_recurring_queued, &queued_after, &queued_deal, now);
	if (late.next <= now)
		serve_due(&late, now, &due_deal, now);
	if (missed.next < up_since)
		serve_due(&missed, up_since - 1, &once_missed_deal, now);
	else if (missed_all.next < up_since)
		serve_due(&missed_all, up_since - 1, &due_deal, now);
	if (scan_reboot || scan_queued || missed.next < up_since || missed_all.next < up_since)
		return now;
	return Min(late.next, again_at);
}
