/*-------------------------------------------------------------------------
 *
 * cron.h
 *	  Schedules: when a recurring job runs.
 *
 * A schedule is read once into a BgjobCron (cron_parse.c), which is then asked
 * for the next occurrence in a time zone (cron_next.c) or described in English
 * (cron_describe.c). The syntax is in doc/cron.md.
 *
 * Pure: no SPI, no shared memory, no allocation, no global state, no errors
 * raised. Any process may call it; a BgjobCron is a plain value that can be
 * copied. The unit tests link it without a server.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RULES_CRON_H
#define BGJOB_RULES_CRON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Maximum length of the text of a schedule, in characters. */
#define BGJOB_CRON_TEXT_MAX 500

/* Maximum interval, in seconds: a year of 365 days. */
#define BGJOB_CRON_INTERVAL_MAX INT64_C(31536000)

/* Size of the buffer for bgjob_cron_describe, with the terminating zero. */
#define BGJOB_CRON_DESCRIPTION_SIZE 2048

/* What bgjob_cron_next returns when there is no further occurrence. */
#define BGJOB_CRON_NEVER INT64_MAX

/* Maximum offset of a zone from UTC, in seconds: that of a POSIX zone. */
#define BGJOB_ZONE_OFFSET_MAX INT64_C(604800)

/*
 * When day of month and day of week are both restricted, and neither field
 * begins with "*" or "?":
 *
 * ANY: a day that matches one of them is enough. It is what POSIX says of
 *      crontab, and what Vixie's cron, whose parser pg_cron has, does. That a
 *      field that begins with a star is never "restricted", not even one with a
 *      step, is Vixie's too: then both must match, as if one said ALL.
 * ALL: a day must match both, always. It is Hangfire's rule (its parser,
 *      Cronos, reads "0 0 13 * FRI" as every Friday the 13th).
 */
typedef enum BgjobDayMatch
{
	BGJOB_DAY_ANY,
	BGJOB_DAY_ALL
} BgjobDayMatch;

typedef enum BgjobCronKind
{
	BGJOB_CRON_CALENDAR, /* fields */
	BGJOB_CRON_INTERVAL, /* "5 minutes" */
	BGJOB_CRON_REBOOT    /* "@reboot" */
} BgjobCronKind;

/*
 * A schedule, read. In the masks bit n stands for the value n; Sunday is 0.
 * Everything but kind and "every" is meaningful for BGJOB_CRON_CALENDAR only.
 */
typedef struct BgjobCron
{
	BgjobCronKind kind;
	int64_t every; /* BGJOB_CRON_INTERVAL: seconds */

	uint64_t seconds;
	uint64_t minutes;
	uint64_t hours;
	uint64_t months; /* bits 1 to 12 */

	uint64_t days;              /* bits 1 to 31 */
	uint64_t from_last;         /* bit k: k days before the last day of the month */
	uint64_t nearest;           /* bit d: the weekday nearest to day d */
	uint64_t nearest_from_last; /* bit k: the weekday nearest to k days before the last day */

	uint64_t weekdays; /* bits 0 to 6, and so are the next two */
	uint64_t nth[5];   /* nth[0]: the first such day of the month, … */
	uint64_t last;     /* the last such day of the month */

	bool either;  /* one of day of month and day of week is enough */
	bool repeats; /* what daylight saving shows twice runs twice: second, minute or hour
				   * has "*", "?", a range or a step */
	bool hashed;  /* "H" was used, so it means what the name says */
} BgjobCron;

/* Why a schedule was refused. */
typedef struct BgjobCronError
{
	const char *field; /* "second", "minute", …, "day of week", or "schedule" for all of it */
	char message[200]; /* a sentence */
	char hint[300];    /* a sentence */
} BgjobCronError;

/*
 * A time zone: offset_at returns the offset from UTC (seconds, east is positive)
 * in force at a second (since 1970-01-01 00:00 UTC) and in *change the first
 * later second at which another one may be, or INT64_MAX.
 */
typedef struct BgjobZone
{
	int32_t (*offset_at)(void *data, int64_t second, int64_t *change);
	void *data;
} BgjobZone;

/*
 * bgjob_cron_parse reads a schedule. "name" determines the value of H; NULL
 * counts as the empty name. True: *cron is set; false: *error is set.
 */
extern bool bgjob_cron_parse(const char *text, BgjobDayMatch day_match, const char *name,
							 BgjobCron *cron, BgjobCronError *error);

/*
 * bgjob_cron_next returns the first occurrence strictly after "after", both in
 * microseconds since 2000-01-01 00:00 UTC, or BGJOB_CRON_NEVER. Years are
 * those of the Gregorian calendar, also before it was in use.
 */
extern int64_t bgjob_cron_next(const BgjobCron *cron, const BgjobZone *zone, int64_t after);

/* bgjob_cron_next_counted does the same, and raises *months by the number of months that it has examined. */
extern int64_t bgjob_cron_next_counted(const BgjobCron *cron, const BgjobZone *zone,
									   int64_t after, int *months);

/*
 * bgjob_cron_describe writes what a schedule means, in English, and returns
 * the length. What does not fit is left out; there is always a terminating
 * zero if size is at least 1.
 */
extern size_t bgjob_cron_describe(const BgjobCron *cron, char *buffer, size_t size);

#endif /* BGJOB_RULES_CRON_H */
