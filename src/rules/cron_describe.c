/*-------------------------------------------------------------------------
 *
 * cron_describe.c
 *	  What a schedule means, in English.
 *
 * The text is made from the masks, not from the text of the schedule: so it shows the
 * meaning of "5/15", and two schedules with the same
 * meaning read the same. It has three parts, each of which may be missing:
 * when in the day ("every 15 minutes between 09:00 and 17:59"), which days
 * ("on the last day of the month"), which months ("in January").
 *
 * Pure: no SPI, no shared memory, no allocation, no errors raised; linked by
 * the unit tests without a server. Nothing is written beyond the buffer, and
 * no text is longer than BGJOB_CRON_DESCRIPTION_SIZE allows.
 *
 *-------------------------------------------------------------------------
 */
#include "rules/cron.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ALL_MINUTES  ((UINT64_C(1) << 60) - 1) /* and seconds */
#define ALL_HOURS    ((UINT64_C(1) << 24) - 1)
#define ALL_DAYS     ((UINT64_C(1) << 32) - 2)
#define ALL_MONTHS   ((UINT64_C(1) << 13) - 2)
#define ALL_WEEKDAYS ((UINT64_C(1) << 7) - 1)

/* Maximum number of times of day that are listed one by one. */
#define TIMES_MAX 6

static const char *const months[] = {"",        "January",  "February", "March",  "April",
									 "May",     "June",     "July",     "August", "September",
									 "October", "November", "December"};

static const char *const weekdays[] = {"Sunday",   "Monday", "Tuesday",  "Wednesday",
									   "Thursday", "Friday", "Saturday", "Sunday"};

static const char *const ordinals[] = {"first", "second", "third", "fourth", "fifth"};

/* The text, as far as it is written. */
typedef struct Text
{
	char *buffer;
	size_t size;
	size_t length;
} Text;

static void add(Text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void
add(Text *text, const char *format, ...)
{
	va_list args;
	int length;

	if (text->length + 1 >= text->size)
		return;
	va_start(args, format);
	length = vsnprintf(text->buffer + text->length, text->size - text->length, format, args);
	va_end(args);
	if (length > 0)
		text->length += (size_t) length;
	if (text->length >= text->size)
		text->length = text->size - 1;
}

/* What the values of a mask have in common. */
typedef struct Shape
{
	int count;
	int first; /* of a run that wraps: the one it begins with */
	int last;
	int step;     /* the same between all of them; 0: there is none */
	bool follows; /* three or more, one after the other, perhaps around the end of the field */
} Shape;

static int
next_value(uint64_t mask, int from)
{
	mask = from < 64 ? mask >> from << from : 0;
	return mask != 0 ? __builtin_ctzll(mask) : -1;
}

/* Finds a run that wraps: the field has "size" values from "min" on. */
static void
find_wrapping_run(uint64_t mask, int min, int size, Shape *shape)
{
	int from = min + size - 1;
	int to = min;

	if (shape->count == size || (mask >> from & 1) == 0 || (mask >> min & 1) == 0)
		return;
	while (mask >> (from - 1) & 1)
		from--;
	while (mask >> (to + 1) & 1)
		to++;
	if (min + size - from + to - min + 1 != shape->count)
		return;
	shape->first = from;
	shape->last = to;
	shape->step = 1;
	shape->follows = true;
}

static Shape
shape_of(uint64_t mask, int min, int size)
{
	Shape shape = {.first = next_value(mask, 0), .count = 1};
	int next;

	shape.last = shape.first;
	while ((next = next_value(mask, shape.last + 1)) >= 0)
	{
		int step = next - shape.last;

		shape.step = shape.count == 1 || step == shape.step ? step : 0;
		if (shape.step == 0 && shape.count > 1)
			shape.step = -1; /* and it stays so */
		shape.last = next;
		shape.count++;
	}
	if (shape.step < 0)
		shape.step = 0;
	shape.follows = shape.count > 2 && shape.step == 1;
	if (shape.count > 2 && !shape.follows)
		find_wrapping_run(mask, min, size, &shape);
	return shape;
}

/* Returns what stands between the elements of a list. */
static const char *
between(int index, int count)
{
	return index == 0 ? "" : index == count - 1 ? " and " : ", ";
}

static int
count_of(uint64_t mask)
{
	return __builtin_popcountll(mask);
}

/* Adds "5", "5 and 20", "5, 20 and 35", or by their names. */
static void
add_list(Text *text, uint64_t mask, const char *const *names)
{
	int count = count_of(mask);
	int index = 0;

	for (int value = next_value(mask, 0); value >= 0; value = next_value(mask, value + 1))
	{
		add(text, "%s", between(index++, count));
		if (names != NULL)
			add(text, "%s", names[value]);
		else
			add(text, "%d", value);
	}
}

/* Adds "every second", "every 5 seconds", "every 5 seconds from second 3 to 58", "at seconds 5 and 20"; true for the last. */
static bool
add_seconds_or_minutes(Text *text, uint64_t mask, const char *unit)
{
	Shape shape = shape_of(mask, 0, 60);

	if (mask == ALL_MINUTES)
		add(text, "every %s", unit);
	else if (shape.follows)
		add(text, "every %s from %s %d to %d", unit, unit, shape.first, shape.last);
	else if (shape.count > 2 && shape.step > 0 && shape.first == 0 &&
			 shape.last + shape.step == 60)
		add(text, "every %d %ss", shape.step, unit);
	else if (shape.count == 2 && shape.first == 0 && shape.last == 30)
		add(text, "every 30 %ss", unit);
	else if (shape.count > 2 && shape.step > 0)
		add(text, "every %d %ss from %s %d to %d", shape.step, unit, unit, shape.first,
			shape.last);
	else
	{
		add(text, "at %s%s ", unit, shape.count > 1 ? "s" : "");
		add_list(text, mask, NULL);
		return true;
	}
	return false;
}

static void
add_time(Text *text, int hour, int minute, int second)
{
	add(text, "%02d:%02d", hour, minute);
	if (second > 0)
		add(text, ":%02d", second);
}

/* Adds "at 02:30", "at 09:00 and 17:00": every time by itself. */
static void
add_times(Text *text, const BgjobCron *cron)
{
	int count = count_of(cron->hours) * count_of(cron->minutes) * count_of(cron->seconds);
	int index = 0;

	add(text, "at ");
	for (int hour = next_value(cron->hours, 0); hour >= 0;
		 hour = next_value(cron->hours, hour + 1))
		for (int minute = next_value(cron->minutes, 0); minute >= 0;
			 minute = next_value(cron->minutes, minute + 1))
			for (int second = next_value(cron->seconds, 0); second >= 0;
				 second = next_value(cron->seconds, second + 1))
			{
				add(text, "%s", between(index++, count));
				add_time(text, hour, minute, second);
			}
}

/* Adds "every hour", "every 2 hours at minute 30", "every hour from 09:05 to 17:05"; false: it is not so simple. */
static bool
add_hours_with_minute(Text *text, const BgjobCron *cron)
{
	Shape shape = shape_of(cron->hours, 0, 24);
	int minute = next_value(cron->minutes, 0);
	int second = next_value(cron->seconds, 0);

	if (shape.count < 3 || shape.step == 0)
		return false;
	add(text, "every ");
	if (shape.step == 1)
		add(text, "hour");
	else
		add(text, "%d hours", shape.step);
	if (shape.count == 24 || (shape.first == 0 && shape.last + shape.step == 24))
	{
		if (minute > 0 || second > 0)
			add(text, " at minute %d", minute);
		if (second > 0)
			add(text, ", second %d", second);
	}
	else
	{
		add(text, " from ");
		add_time(text, shape.first, minute, second);
		add(text, " to ");
		add_time(text, shape.last, minute, second);
	}
	return true;
}

/* Adds "between 09:00 and 17:59", "in the hours 9, 10 and 12": what follows minutes; nothing for all hours. */
static void
add_hours(Text *text, uint64_t mask)
{
	Shape shape = shape_of(mask, 0, 24);

	if (mask == ALL_HOURS)
		return;
	if (shape.follows || shape.count == 1 || (shape.count == 2 && shape.step == 1))
		add(text, " between %02d:00 and %02d:59", shape.first, shape.last);
	else
	{
		add(text, " in the hours ");
		add_list(text, mask, NULL);
	}
}

/* Adds "in the minutes 0, 20 and 40 of every hour": what follows seconds. */
static void
add_minutes_of_seconds(Text *text, const BgjobCron *cron)
{
	Shape shape = shape_of(cron->minutes, 0, 60);
	Shape seconds = shape_of(cron->seconds, 0, 60);
	bool said_whole =
		cron->seconds == ALL_MINUTES || (seconds.count > 1 && seconds.first == 0 &&
										 seconds.step > 0 && seconds.last + seconds.step == 60);

	if (cron->minutes == ALL_MINUTES)
	{
		if (!said_whole)
			add(text, " of every minute");
		return;
	}
	add(text, " in %sminute%s ", shape.count > 1 && !shape.follows ? "the " : "",
		shape.count > 1 ? "s" : "");
	if (shape.follows)
		add(text, "%d to %d", shape.first, shape.last);
	else
		add_list(text, cron->minutes, NULL);
	if (cron->hours == ALL_HOURS)
		add(text, " of every hour");
}

/* Returns whether the times are few, and no rule tells them better than a list. */
static bool
is_list_of_times(const BgjobCron *cron)
{
	Shape hours = shape_of(cron->hours, 0, 24);
	Shape minutes = shape_of(cron->minutes, 0, 60);

	if (hours.count * minutes.count * count_of(cron->seconds) > TIMES_MAX)
		return false;
	return !(hours.count > 2 && hours.step > 0) && !minutes.follows &&
		   !(minutes.count > 3 && minutes.step > 0);
}

/* Adds the times of day. */
static void
add_time_of_day(Text *text, const BgjobCron *cron)
{
	bool one_of_hour = count_of(cron->minutes) == 1 && count_of(cron->seconds) == 1;

	if (is_list_of_times(cron))
		add_times(text, cron);
	else if (one_of_hour && add_hours_with_minute(text, cron))
		return;
	else if (one_of_hour)
		add_times(text, cron);
	else if (cron->seconds != 1)
	{
		(void) add_seconds_or_minutes(text, cron->seconds, "second");
		add_minutes_of_seconds(text, cron);
		add_hours(text, cron->hours);
	}
	else
	{
		if (add_seconds_or_minutes(text, cron->minutes, "minute") && cron->hours == ALL_HOURS)
			add(text, " of every hour");
		add_hours(text, cron->hours);
	}
}

/* Returns the ending of an ordinal number below 32. */
static const char *
ordinal_ending(int number)
{
	static const char *const endings[] = {"th", "st", "nd", "rd"};

	return number / 10 != 1 && number % 10 <= 3 ? endings[number % 10] : "th";
}

/* Adds "the 3rd day before the last day", "the 1st and 3rd days before the last day" */
static void
add_before_last(Text *text, uint64_t mask)
{
	int count = count_of(mask);
	int index = 0;

	add(text, "the ");
	for (int value = next_value(mask, 0); value >= 0; value = next_value(mask, value + 1))
		add(text, "%s%d%s", between(index++, count), value, ordinal_ending(value));
	add(text, " day%s before the last day", count > 1 ? "s" : "");
}

/* Adds "day 1", "days 1 and 15", "days 10 to 20", "every 2nd day from 1 to 31" */
static void
add_day_numbers(Text *text, uint64_t mask)
{
	Shape shape = shape_of(mask, 1, 31);

	if (shape.follows)
		add(text, "days %d to %d", shape.first, shape.last);
	else if (shape.count > 3 && shape.step > 1)
		add(text, "every %d%s day from %d to %d", shape.step, ordinal_ending(shape.step),
			shape.first, shape.last);
	else
	{
		add(text, "day%s ", shape.count > 1 ? "s" : "");
		add_list(text, mask, NULL);
	}
}

/* Adds the field "day of month"; the caller adds "of the month" and the like. */
static void
add_days(Text *text, const BgjobCron *cron)
{
	uint64_t before = cron->from_last & ~UINT64_C(1);
	uint64_t nearest_before = cron->nearest_from_last & ~UINT64_C(1);
	int count = (cron->days != 0) + (cron->from_last & 1) + (before != 0) +
				(cron->nearest != 0) + (cron->nearest_from_last & 1) + (nearest_before != 0);
	int index = 0;

	if (cron->days != 0)
	{
		index++;
		add_day_numbers(text, cron->days);
	}
	if (cron->nearest != 0)
	{
		bool many = count_of(cron->nearest) > 1;

		add(text, "%sthe weekday%s nearest to day%s ", between(index++, count), many ? "s" : "",
			many ? "s" : "");
		add_list(text, cron->nearest, NULL);
	}
	if (before != 0)
	{
		add(text, "%s", between(index++, count));
		add_before_last(text, before);
	}
	if (nearest_before != 0)
	{
		add(text, "%sthe weekday%s nearest to ", between(index++, count),
			count_of(nearest_before) > 1 ? "s" : "");
		add_before_last(text, nearest_before);
	}
	if (cron->nearest_from_last & 1)
		add(text, "%sthe last weekday", between(index++, count));
	if (cron->from_last & 1)
		add(text, "%sthe last day", between(index, count));
}

/* Weekdays as a list, Sunday last. */
static void
add_weekday_list(Text *text, uint64_t mask)
{
	add_list(text, (mask & ~UINT64_C(1)) | (mask & 1) << 7, weekdays);
}

/* Adds "Monday", "Monday to Friday", "Monday and Friday" */
static void
add_weekdays(Text *text, uint64_t mask)
{
	Shape shape = shape_of(mask, 0, 7);

	if (shape.follows)
		add(text, "%s to %s", weekdays[shape.first], weekdays[shape.last]);
	else
		add_weekday_list(text, mask);
}

/* Adds the field "day of week". */
static void
add_days_of_week(Text *text, const BgjobCron *cron)
{
	int count = (cron->weekdays != 0) + (cron->last != 0);
	int index = 0;
	bool of_month = cron->last != 0;

	for (int n = 0; n < 5; n++)
		count += cron->nth[n] != 0;
	if (cron->weekdays != 0)
	{
		index++;
		add_weekdays(text, cron->weekdays);
	}
	for (int n = 0; n < 5; n++)
		if (cron->nth[n] != 0)
		{
			add(text, "%sthe %s ", between(index++, count), ordinals[n]);
			add_weekday_list(text, cron->nth[n]);
			of_month = true;
		}
	if (cron->last != 0)
	{
		add(text, "%sthe last ", between(index, count));
		add_weekday_list(text, cron->last);
	}
	if (of_month)
		add(text, " of the month");
}

/* Adds "January", "March to October", "January and July" */
static void
add_months(Text *text, uint64_t mask)
{
	Shape shape = shape_of(mask, 1, 12);

	if (shape.follows)
		add(text, "%s to %s", months[shape.first], months[shape.last]);
	else
		add_list(text, mask, months);
}

/* Which days and months. */
static void
add_date(Text *text, const BgjobCron *cron)
{
	bool any_day = cron->days == ALL_DAYS && !cron->either;
	bool any_weekday = cron->weekdays == ALL_WEEKDAYS && !cron->either;
	bool special_weekday = cron->last != 0;
	bool month_said = cron->months == ALL_MONTHS;

	for (int n = 0; n < 5; n++)
		special_weekday = special_weekday || cron->nth[n] != 0;
	if (!any_day)
	{
		add(text, " on ");
		add_days(text, cron);
		add(text, " of ");
		if (!month_said && !shape_of(cron->months, 1, 12).follows)
		{
			add_months(text, cron->months);
			month_said = true;
		}
		else
			add(text, "the month");
		if (!any_weekday)
			add(text, cron->either ? " or on " : " if it is ");
	}
	else if (!any_weekday)
		add(text, shape_of(cron->weekdays, 0, 7).follows && !special_weekday ? ", " : " on ");
	if (!any_weekday)
		add_days_of_week(text, cron);
	if (!month_said || (cron->either && cron->months != ALL_MONTHS))
	{
		add(text, shape_of(cron->months, 1, 12).follows ? ", " : " in ");
		add_months(text, cron->months);
	}
}

/* Adds "every 90 minutes": the largest unit of which it is a multiple. */
static void
add_interval(Text *text, int64_t seconds)
{
	const char *unit = seconds % 3600 == 0 ? "hour" : seconds % 60 == 0 ? "minute" : "second";
	int64_t count = seconds % 3600 == 0 ? seconds / 3600
					: seconds % 60 == 0 ? seconds / 60
										: seconds;

	if (count == 1)
		add(text, "every %s", unit);
	else
		add(text, "every %lld %ss", (long long) count, unit);
}

/* bgjob_cron_describe writes what a schedule means; see cron.h. */
size_t
bgjob_cron_describe(const BgjobCron *cron, char *buffer, size_t size)
{
	Text text = {.buffer = buffer, .size = size};

	if (size > 0)
		buffer[0] = '\0';
	switch (cron->kind)
	{
		case BGJOB_CRON_REBOOT:
			add(&text, "when the server starts");
			break;
		case BGJOB_CRON_INTERVAL:
			add_interval(&text, cron->every);
			break;
		case BGJOB_CRON_CALENDAR:
			add_time_of_day(&text, cron);
			add_date(&text, cron);
			break;
	}
	return text.length;
}
