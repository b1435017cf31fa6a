/*-------------------------------------------------------------------------
 *
 * occurrence.c
 *	  When a recurring job is due, as its row says.
 *
 * The next occurrence of a row (next_at) is computed once and stored. If the
 * clock was ahead then, it is later than the schedule says, and no job would run
 * before that time. bgjob_occurrence_corrected() computes the right time.
 *
 * A RUN THAT CAME TOO EARLY. While the clock is ahead, occurrences run before
 * their true time. Such a run counts for the occurrence next to the true time at
 * which it took place. So a daily job that ran ten minutes early has done its
 * day's work and does not run again; one that ran a whole day early has done the
 * work of the day before. Only the last run has to be considered, since
 * earlier ones were further in the past.
 *
 * Used by the scheduler and by sessions; writes nothing, locks nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/guc.h"
#include "rules/cron.h"
#include "run/occurrence.h"
#include "utils/timestamp.h"

/* The clock is wrong by no more than this: a bound that keeps the arithmetic from overflowing. */
#define LONGEST_SET_BACK (100 * INT64_C(365) * USECS_PER_DAY)

/* bgjob_occurrences_open reads a row's schedule. 22023: the schedule or the time zone is no longer valid. */
void
bgjob_occurrences_open(BgjobOccurrences *occurrences, const BgjobRecurring *row)
{
	BgjobDayMatch match = DatumGetBool(bgjob_recurring_datum(row, BGJOB_R_ALL_DAYS))
							  ? BGJOB_DAY_ALL
							  : BGJOB_DAY_ANY;
	BgjobCronError error;

	if (!bgjob_cron_parse(bgjob_recurring_text(row, BGJOB_R_SCHEDULE), match,
						  bgjob_recurring_text(row, BGJOB_R_NAME), &occurrences->cron, &error))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", error.message)));
	bgjob_time_zone_open(&occurrences->zone, bgjob_recurring_text(row, BGJOB_R_TIME_ZONE),
						 bgjob_time_zone);
}

/* bgjob_occurrences_next returns the first occurrence after a time; DT_NOEND: there is none. */
TimestampTz
bgjob_occurrences_next(const BgjobOccurrences *occurrences, TimestampTz after)
{
	return bgjob_cron_next(&occurrences->cron, &occurrences->zone.zone, after);
}

/* Returns the first occurrence after a time that lies between starts_at and ends_at. */
static TimestampTz
first_between(const BgjobRecurring *row, const BgjobOccurrences *occurrences, TimestampTz after)
{
	TimestampTz start = bgjob_recurring_time(row, BGJOB_R_STARTS_AT, DT_NOBEGIN);
	TimestampTz next = bgjob_occurrences_next(occurrences, start > after ? start - 1 : after);

	return next <= bgjob_recurring_time(row, BGJOB_R_ENDS_AT, DT_NOEND) ? next : DT_NOEND;
}

/*
 * bgjob_occurrence_first returns the first occurrence of a row after "now";
 * DT_NOEND: there is none. 22023 as bgjob_occurrences_open.
 */
TimestampTz
bgjob_occurrence_first(const BgjobRecurring *row, TimestampTz now)
{
	BgjobOccurrences occurrences;

	bgjob_occurrences_open(&occurrences, row);
	return first_between(row, &occurrences, now);
}

/*
 * Tells whether the last run, which took place at "ran" by the false clock,
 * counts for "first", the first occurrence after "now": no other one lies as
 * near to its true time.
 */
static bool
counts_for(const BgjobOccurrences *occurrences, TimestampTz ran, int64 set_back,
		   TimestampTz first, TimestampTz now)
{
	TimestampTz truly = Min(Max(ran, now) - Min(set_back, LONGEST_SET_BACK), now);

	return bgjob_occurrences_next(occurrences, truly - (first - truly)) == first;
}

/*
 * bgjob_occurrence_corrected returns what next_at of an active row should be
 * at "now"; never later than the stored time. "set_back" is by how much the clock
 * has gone back, in microseconds; 0: unknown, then the last run was at "now" or
 * before, and at least as much too early as it lies in the future. 22023 as
 * bgjob_occurrences_open.
 */
TimestampTz
bgjob_occurrence_corrected(const BgjobRecurring *row, TimestampTz now, int64 set_back)
{
	TimestampTz stored = bgjob_recurring_time(row, BGJOB_R_NEXT_AT, DT_NOEND);
	TimestampTz last = bgjob_recurring_time(row, BGJOB_R_LAST_AT, DT_NOBEGIN);
	TimestampTz ran = bgjob_recurring_time(row, BGJOB_R_LAST_RUN_AT, DT_NOBEGIN);
	BgjobOccurrences occurrences;
	TimestampTz first;

	if (stored <= now)
		return stored;
	bgjob_occurrences_open(&occurrences, row);
	first = first_between(row, &occurrences, now);
	if (first < stored && last >= first && counts_for(&occurrences, ran, set_back, first, now))
		first = first_between(row, &occurrences, first);
	return Min(first, stored);
}
