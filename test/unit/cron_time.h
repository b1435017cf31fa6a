/*-------------------------------------------------------------------------
 *
 * cron_time.h
 *	  Dates and time zones for the tests of schedules, in the simplest way.
 *
 * Shares no code with the tested files. A zone is a table of changes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_TEST_CRON_TIME_H
#define BGJOB_TEST_CRON_TIME_H

#include "rules/cron.h"

#include <stdio.h>
#include <stdlib.h>

#define EPOCH_2000 INT64_C(946684800)
#define DAY        INT64_C(86400)

typedef struct Date
{
	int year;
	int month;
	int day;
	int weekday; /* 0 is Sunday */
	int length;  /* of the month */
} Date;

static inline int
length_of_month(int year, int month)
{
	if (month == 2)
		return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28;
	return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

/* The day after. */
static inline void
tomorrow(Date *date)
{
	date->weekday = (date->weekday + 1) % 7;
	if (++date->day > date->length)
	{
		date->day = 1;
		if (++date->month > 12)
		{
			date->month = 1;
			date->year++;
		}
		date->length = length_of_month(date->year, date->month);
	}
}

/* Seconds since 1970 of a time of UTC; from 1800 on. */
static inline int64_t
utc(int year, int month, int day, int hour, int minute, int second)
{
	int64_t days = 0;

	for (int y = 1970; y < year; y++)
		days += length_of_month(y, 2) == 29 ? 366 : 365;
	for (int y = year; y < 1970; y++)
		days -= length_of_month(y, 2) == 29 ? 366 : 365;
	for (int m = 1; m < month; m++)
		days += length_of_month(year, m);
	return (days + day - 1) * DAY + hour * 3600 + minute * 60 + second;
}

/* The same of a text like "2024-03-31 01:00:00"; the seconds may be missing. */
static inline int64_t
at(const char *text)
{
	int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;

	if (sscanf(text, "%d-%d-%d %d:%d:%d", &year, &month, &day, &hour, &minute, &second) < 5)
		abort();
	return utc(year, month, day, hour, minute, second);
}

static inline int64_t
micros(int64_t second)
{
	return (second - EPOCH_2000) * 1000000;
}

typedef struct Change
{
	int64_t at;
	int32_t offset;
} Change;

#define CHANGES_MAX 64

typedef struct Table
{
	int count;
	Change changes[CHANGES_MAX]; /* the first one holds from ever */
	int asked;
} Table;

static inline int32_t
table_offset(void *data, int64_t second, int64_t *change)
{
	Table *table = data;
	int i = 0;

	table->asked++;
	while (i + 1 < table->count && table->changes[i + 1].at <= second)
		i++;
	*change = i + 1 < table->count ? table->changes[i + 1].at : INT64_MAX;
	return table->changes[i].offset;
}

static inline void
add_change(Table *table, int64_t when, int32_t offset)
{
	table->changes[table->count].at = when;
	table->changes[table->count++].offset = offset;
}

#endif /* BGJOB_TEST_CRON_TIME_H */
