/*-------------------------------------------------------------------------
 *
 * cron_next.c
 *	  When a schedule's next occurrence is.
 *
 * There are two clocks here: seconds of UTC, since 1970, and the seconds that
 * a clock on the wall of the zone shows, counted in the same way. The wall's
 * clock is UTC's plus an offset that changes now and then, so it jumps forward
 * (a gap: times that no clock shows) or back (times shown twice).
 *
 * next_match() finds the first time of the wall's clock that a schedule
 * matches, by arithmetic on the masks: hours, minutes and seconds by their
 * next set bit, days month by month. The calendar repeats after 400 years, so
 * a schedule that has not matched by then never will. It ignores time zones.
 *
 * On top of it, every expression happens when the wall's clock reaches or
 * passes a matching time for the first time, so once at its first showing if
 * there are two, and at the end of the gap if there is none (once, however many
 * of its times are in the gap): next_fixed(). One that "repeats" also happens
 * whenever the wall's clock shows a matching time: next_repeating(). That is
 * Cronos's rule, and so Hangfire's. Both walk from one change of the offset to the next, but where nothing
 * matches for long they leap.
 *
 * Pure: no SPI, no shared memory, no allocation, no errors raised; linked by
 * the unit tests without a server.
 *
 *-------------------------------------------------------------------------
 */
#include "rules/cron.h"

#include <string.h>

#define DAY_SECONDS    INT64_C(86400)
#define USECS          INT64_C(1000000)
#define EPOCH_DAY      INT64_C(719162)        /* 1970-01-01, counted from 0001-01-01 */
#define CYCLE_YEARS    400                    /* after which the calendar repeats, … */
#define CYCLE_DAYS     INT64_C(146097)        /* … weekdays included: this is 7 * 20871 */
#define POSTGRES_EPOCH INT64_C(946684800)     /* 2000-01-01 */
#define SECONDS_END    INT64_C(9224318016000) /* 294277-01-01, where PostgreSQL's timestamps end */
#define EPOCH_WEEKDAY  4                      /* 1970-01-01 was a Thursday */
#define NEVER          INT64_MAX
#define BIT(n)         (UINT64_C(1) << (n))

/* Divides and rounds down, also below zero. */
static int64_t
floor_divide(int64_t number, int64_t by)
{
	return number / by - (number % by < 0);
}

/* Returns the lowest bit of a mask that is at least "from"; -1: there is none. */
static int
next_bit(uint64_t mask, int from)
{
	mask = from < 64 ? mask >> from << from : 0;
	return mask != 0 ? __builtin_ctzll(mask) : -1;
}

/* Days from 1970-01-01 to the first day of a year. */
static int64_t
day_of_year(int64_t year)
{
	int64_t past = year - 1;

	return past * 365 + floor_divide(past, 4) - floor_divide(past, 100) +
		   floor_divide(past, 400) - EPOCH_DAY;
}

static bool
is_leap(int64_t year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Returns how many days a month (1 to 12) has. */
static int
month_length(int64_t year, int month)
{
	static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return lengths[month - 1] + (month == 2 && is_leap(year));
}

/* Days from 1970-01-01 to the first day of a month. */
static int64_t
day_of_month(int64_t year, int month)
{
	static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};

	return day_of_year(year) + before[month - 1] + (month > 2 && is_leap(year));
}

/* Year and month of a day, counted from 1970-01-01, and its number in the month. */
static void
date_of_day(int64_t day, int64_t *year, int *month, int *number)
{
	/* The mean length of a year gives the year, or one beside it. */
	*year = floor_divide((day + EPOCH_DAY) * CYCLE_YEARS, CYCLE_DAYS) + 1;
	while (day < day_of_year(*year))
		(*year)--;
	while (day >= day_of_year(*year + 1))
		(*year)++;
	for (*month = 12; day < day_of_month(*year, *month); (*month)--)
		;
	*number = (int) (day - day_of_month(*year, *month)) + 1;
}

/* A month, as far as its days are concerned. */
typedef struct Month
{
	int first; /* weekday of its first day */
	int length;
} Month;

/* Returns the weekday of a day of the month. */
static int
weekday_of(const Month *month, int day)
{
	return (month->first + day - 1) % 7;
}

/* Returns the first day of the month that is a weekday. */
static int
first_of(const Month *month, int weekday)
{
	return 1 + (weekday - month->first + 7) % 7;
}

/* Returns the Monday to Friday nearest to a day, within the month. */
static int
nearest_weekday(const Month *month, int day)
{
	switch (weekday_of(month, day))
	{
		case 6: /* Saturday */
			return day > 1 ? day - 1 : day + 2;
		case 0: /* Sunday */
			return day < month->length ? day + 1 : day - 2;
		default:
			return day;
	}
}

/* Returns the days of a month, as bits, that the field "day of month" means. */
static uint64_t
days_by_number(const BgjobCron *cron, const Month *month)
{
	uint64_t days = cron->days;

	for (int k = next_bit(cron->from_last, 0); k >= 0 && k < month->length;
		 k = next_bit(cron->from_last, k + 1))
		days |= BIT(month->length - k);
	for (int day = next_bit(cron->nearest, 0); day >= 0 && day <= month->length;
		 day = next_bit(cron->nearest, day + 1))
		days |= BIT(nearest_weekday(month, day));
	for (int k = next_bit(cron->nearest_from_last, 0); k >= 0 && k < month->length;
		 k = next_bit(cron->nearest_from_last, k + 1))
		days |= BIT(nearest_weekday(month, month->length - k));
	return days;
}

/* Returns the days of a month, as bits, that the field "day of week" means. */
static uint64_t
days_by_weekday(const BgjobCron *cron, const Month *month)
{
	/* Bit 0 is the first of the month: the weekdays, turned so that its weekday comes first. */
	uint64_t week = (cron->weekdays | cron->weekdays << 7) >> month->first & 0x7f;
	uint64_t days = (week | week << 7 | week << 14 | week << 21 | week << 28) << 1;

	for (int n = 0; n < 5; n++)
		for (int w = next_bit(cron->nth[n], 0); w >= 0; w = next_bit(cron->nth[n], w + 1))
			days |= BIT(first_of(month, w) + 7 * n);
	for (int w = next_bit(cron->last, 0); w >= 0; w = next_bit(cron->last, w + 1))
	{
		int day = first_of(month, w);

		days |= BIT(day + (month->length - day) / 7 * 7);
	}
	return days;
}

/* Returns the days of a month, as bits, that a schedule matches. */
static uint64_t
matching_days(const BgjobCron *cron, int64_t year, int number)
{
	Month month = {.length = month_length(year, number)};
	int64_t first = (day_of_month(year, number) + EPOCH_WEEKDAY) % 7;
	uint64_t by_number;
	uint64_t by_weekday;

	month.first = (int) (first < 0 ? first + 7 : first);
	by_number = days_by_number(cron, &month);
	by_weekday = days_by_weekday(cron, &month);
	return (cron->either ? by_number | by_weekday : by_number & by_weekday) &
		   (BIT(month.length + 1) - 2);
}

/* Returns the first day, from this one on, that a schedule matches; both counted from 1970-01-01. */
static int64_t
next_day(const BgjobCron *cron, int64_t day, int *months)
{
	int64_t year;
	int64_t end;
	int month;
	int number;

	date_of_day(day, &year, &month, &number);
	for (end = year + CYCLE_YEARS; year <= end; year++, month = 1, number = 1)
		for (month = next_bit(cron->months, month); month > 0;
			 month = next_bit(cron->months, month + 1), number = 1)
		{
			int found;
			int64_t first = day_of_month(year, month);

			if (first > day)
				number = 1; /* the month of the given day was not among them */
			(*months)++;
			found = next_bit(matching_days(cron, year, month), number);
			if (found > 0)
				return first + found - 1;
		}
	return NEVER;
}

/* Returns the first second of a day, from this one on, that a schedule matches; -1: none of this day. */
static int
next_second_of_day(const BgjobCron *cron, int second)
{
	int hour = second / 3600;
	int minute = second / 60 % 60;
	int found;

	second %= 60;
	if ((cron->hours & BIT(hour)) != 0)
	{
		if ((cron->minutes & BIT(minute)) != 0 &&
			(found = next_bit(cron->seconds, second)) >= 0)
			return hour * 3600 + minute * 60 + found;
		if ((found = next_bit(cron->minutes, minute + 1)) >= 0)
			return hour * 3600 + found * 60 + next_bit(cron->seconds, 0);
	}
	if ((found = next_bit(cron->hours, hour + 1)) >= 0)
		return found * 3600 + next_bit(cron->minutes, 0) * 60 + next_bit(cron->seconds, 0);
	return -1;
}

/* Returns the first time of the wall's clock, from this one on, that a schedule matches. */
static int64_t
next_match(const BgjobCron *cron, int64_t from, int *months)
{
	int64_t today = floor_divide(from, DAY_SECONDS);
	int64_t day = next_day(cron, today, months);
	int second = 0;

	if (day == today)
	{
		second = next_second_of_day(cron, (int) (from - today * DAY_SECONDS));
		if (second >= 0)
			return today * DAY_SECONDS + second;
		day = next_day(cron, today + 1, months);
	}
	return day == NEVER ? NEVER : day * DAY_SECONDS + next_second_of_day(cron, 0);
}

/* A time during which the offset is the same. */
typedef struct Span
{
	int64_t from; /* UTC, or later than its true beginning */
	int64_t to;   /* UTC, exclusive */
	int64_t offset;
} Span;

static Span
span_at(const BgjobZone *zone, int64_t second)
{
	Span span = {.from = second};

	span.offset = zone->offset_at(zone->data, second, &span.to);
	return span;
}

/*
 * Returns the end of a search: schedules and zones repeat after 400 years, and the
 * search for a schedule all of whose times are in a gap would never end.
 */
static int64_t
horizon(int64_t from)
{
	int64_t end = from + (CYCLE_DAYS + 366) * DAY_SECONDS;

	return end < SECONDS_END ? end : SECONDS_END;
}

/* Returns the first second of UTC, from this one on, at which the wall's clock shows a matching time. */
static int64_t
next_repeating(const BgjobCron *cron, const BgjobZone *zone, int64_t from, int *months)
{
	int64_t end = horizon(from);

	while (from < end)
	{
		Span span = span_at(zone, from);
		int64_t shown = from + span.offset;
		int64_t match = next_match(cron, shown, months);

		if (match == NEVER || span.to == INT64_MAX || match < span.to + span.offset)
			return match == NEVER ? NEVER : match - span.offset;

		/* From "shown" to "match" the calendar has nothing; leap if no clock can go behind it. */
		from = span.to;
		if (from - BGJOB_ZONE_OFFSET_MAX >= shown && match - BGJOB_ZONE_OFFSET_MAX > from)
			from = match - BGJOB_ZONE_OFFSET_MAX;
	}
	return NEVER;
}

/*
 * Returns the first second of UTC, from this one on, at which the wall's clock for the
 * first time reaches or passes a matching time. "reached" is the latest time
 * that the clock has shown; to know it, the walk begins so long before "from" that
 * the clock cannot have shown a later time before.
 */
static int64_t
next_fixed(const BgjobCron *cron, const BgjobZone *zone, int64_t from, int *months)
{
	int64_t end = horizon(from);
	Span span = span_at(zone, from - 2 * BGJOB_ZONE_OFFSET_MAX);
	int64_t reached = span.from + span.offset;

	while (span.from < end)
	{
		if (span.to > from)
		{
			int64_t match;

			/* Times in a gap, from "reached" to the time shown now, happen at its end. */
			if (span.from < from && reached < from + span.offset)
				reached = from + span.offset;
			match = next_match(cron, reached, months);
			if (match == NEVER)
				return NEVER;
			if (match < span.from + span.offset)
				return span.from;
			if (span.to == INT64_MAX || match < span.to + span.offset)
				return match - span.offset;

			if (match - 3 * BGJOB_ZONE_OFFSET_MAX > span.to)
			{
				from = match - BGJOB_ZONE_OFFSET_MAX;
				span = span_at(zone, from - 2 * BGJOB_ZONE_OFFSET_MAX);
				reached = span.from + span.offset;
				continue;
			}
		}
		if (reached < span.to + span.offset)
			reached = span.to + span.offset;
		span = span_at(zone, span.to);
	}
	return NEVER;
}

static int64_t
earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* bgjob_cron_next_counted returns the next occurrence; see cron.h. */
int64_t
bgjob_cron_next_counted(const BgjobCron *cron, const BgjobZone *zone, int64_t after,
						int *months)
{
	int64_t from;
	int64_t next = NEVER;

	if (after >= (SECONDS_END - POSTGRES_EPOCH - 1) * USECS)
		return BGJOB_CRON_NEVER;
	from = floor_divide(after, USECS) + 1 + POSTGRES_EPOCH;
	switch (cron->kind)
	{
		case BGJOB_CRON_REBOOT:
			break;
		case BGJOB_CRON_INTERVAL:
			next = (floor_divide(from - 1, cron->every) + 1) * cron->every;
			break;
		case BGJOB_CRON_CALENDAR:
			if (cron->repeats)
			{
				next = next_repeating(cron, zone, from, months);
				if (next != NEVER && span_at(zone, from - 1).to > next)
					break; /* there is no gap before it */
			}
			next = earlier(next, next_fixed(cron, zone, from, months));
			break;
	}
	return next < SECONDS_END ? (next - POSTGRES_EPOCH) * USECS : BGJOB_CRON_NEVER;
}

/* bgjob_cron_next returns the next occurrence; see cron.h. */
int64_t
bgjob_cron_next(const BgjobCron *cron, const BgjobZone *zone, int64_t after)
{
	int months = 0;

	return bgjob_cron_next_counted(cron, zone, after, &months);
}
