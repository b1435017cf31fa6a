/*-------------------------------------------------------------------------
 *
 * interval.c
 *	  Arithmetic with intervals and times that never overflows.
 *
 * The server's own operators raise an error where a result lies beyond the
 * end of time. That is right for a statement, and wrong for a process that
 * reads a stored value: it would fail again at each start. Here such a result
 * is the end of time (DT_NOEND), or its beginning (DT_NOBEGIN), which the
 * callers read as "never". Options are checked when they are set
 * (bgjob_interval_is_too_long), so this is for stored values.
 *
 * Pure; any process may call this, in a transaction or not. The one setting
 * that the arithmetic of months and days depends on is the session's time zone.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/interval.h"
#include "common/int.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* A sum this near to the ends of time counts as beyond them, because of a zone's offset and daylight saving. */
#define MARGIN (3 * USECS_PER_DAY)

#define LONGEST_MONTH 31 /* days */

/* Returns the microseconds of an interval as a number without a bound, near enough to compare it by. */
static double
length(const Interval *interval, int days_per_month)
{
	return (double) interval->time +
		   ((double) interval->day + (double) interval->month * days_per_month) * USECS_PER_DAY;
}

/* Returns the most that the positive, or the negative, parts of an interval can add, in microseconds. */
static double
reach(const Interval *interval, bool negative)
{
	int sign = negative ? -1 : 1;

	return Max(0.0, sign * (double) interval->time) +
		   (Max(0.0, sign * (double) interval->day) +
			Max(0.0, sign * (double) interval->month) * LONGEST_MONTH) *
			   USECS_PER_DAY;
}

/*
 * bgjob_interval_microseconds returns an interval in microseconds, with months of
 * days_per_month days; the least or the greatest int64 if that would overflow.
 */
int64
bgjob_interval_microseconds(const Interval *interval, int days_per_month)
{
	int64 days = (int64) interval->month * days_per_month + interval->day;
	int64 sum;

	if (pg_mul_s64_overflow(days, USECS_PER_DAY, &sum) ||
		pg_add_s64_overflow(sum, interval->time, &sum))
		return length(interval, days_per_month) < 0 ? PG_INT64_MIN : PG_INT64_MAX;
	return sum;
}

/* bgjob_time_later adds microseconds to a time; DT_NOEND, DT_NOBEGIN: beyond the ends of time. */
TimestampTz
bgjob_time_later(TimestampTz at, int64 microseconds)
{
	TimestampTz sum;

	if (TIMESTAMP_NOT_FINITE(at))
		return at;
	if (pg_add_s64_overflow(at, microseconds, &sum))
		return microseconds < 0 ? DT_NOBEGIN : DT_NOEND;
	if (sum < MIN_TIMESTAMP)
		return DT_NOBEGIN;
	return sum >= END_TIMESTAMP ? DT_NOEND : sum;
}

/* Adds an interval to a time, or subtracts it, by the server's operator where that cannot fail. */
static TimestampTz
shift(PGFunction operator, TimestampTz at, const Interval *interval, bool back)
{
	if (TIMESTAMP_NOT_FINITE(at))
		return at;
	if (reach(interval, back) + MARGIN >= (double) END_TIMESTAMP - (double) at ||
		reach(interval, !back) + MARGIN >= (double) at - (double) MIN_TIMESTAMP)
	{
		int64 span = bgjob_interval_microseconds(interval, LONGEST_MONTH);

		if (back)
			span = span == PG_INT64_MIN ? PG_INT64_MAX : -span;
		return bgjob_time_later(at, span);
	}
	return DatumGetTimestampTz(
		DirectFunctionCall2(operator, TimestampTzGetDatum(at), IntervalPGetDatum(interval)));
}

/* bgjob_time_plus returns a time later by an interval; DT_NOEND, DT_NOBEGIN: beyond the ends of time. */
TimestampTz
bgjob_time_plus(TimestampTz at, const Interval *interval)
{
	return shift(timestamptz_pl_interval, at, interval, false);
}

/* bgjob_time_minus returns a time earlier by an interval; DT_NOEND, DT_NOBEGIN: beyond the ends of time. */
TimestampTz
bgjob_time_minus(TimestampTz at, const Interval *interval)
{
	return shift(timestamptz_mi_interval, at, interval, true);
}

/* bgjob_interval_is_negative returns whether an interval is less than zero. */
bool
bgjob_interval_is_negative(const Interval *interval)
{
	return bgjob_interval_microseconds(interval, DAYS_PER_MONTH) < 0;
}

/* bgjob_interval_is_too_long returns whether an interval, or a part of it, exceeds BGJOB_LONGEST_YEARS. */
bool
bgjob_interval_is_too_long(const Interval *interval)
{
	return reach(interval, false) + reach(interval, true) >
		   (double) BGJOB_LONGEST_YEARS * 12 * LONGEST_MONTH * USECS_PER_DAY;
}
