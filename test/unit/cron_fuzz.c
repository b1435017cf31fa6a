/*-------------------------------------------------------------------------
 *
 * cron_fuzz.c
 *	  Random and damaged schedules: each is parsed or rejected, without a crash.
 *
 * The sanitizers of the Makefile turn a read beyond the end, an overflow or a
 * shift too far into a failure. A parsed schedule must be within its bounds,
 * have a next time after the given one (or never) in limited time, and a
 * description that fits. The numbers are the same in every run.
 *
 *-------------------------------------------------------------------------
 */
#include "cron_time.h"
#include "tap.h"

#include <string.h>

#define ROUNDS 300000

static uint64_t random_state = 8765309;

/* A number from 0 to n - 1. */
static int
dice(int n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (int) ((random_state >> 33) % (uint64_t) n);
}

static const char *const seeds[] = {"* * * * *",
									"*/15 9-17 * * MON-FRI",
									"0 0 1,15,L * *",
									"30 5/15 22-2 28-3 NOV-FEB 5-7",
									"0 0 L-3,LW,15W,L-2W,$ * *",
									"0 9 * * MON#1,MON#3,FRIL,0#5,7L",
									"H H(0-29)/10 H/6 H * H(1-5)",
									"? ? ? jan,feb/2 sat-sun/2",
									"30 seconds",
									"90 minutes",
									"8760 hours",
									"@every_second",
									"@reboot",
									"@daily",
									"59 59 23 31 12 7",
									"0 0 29 2 1"};

static const char *const pieces[] = {
	"*",   "?",    "L",       "W",       "H",           "#",
	"-",   "/",    ",",       "(",       ")",           "$",
	"0",   "1",    "5",       "7",       "9",           "31",
	"60",  " ",    "\t",      "MON",     "fri",         "JAN",
	"dec", "@",    "minutes", " second", "99999999999", "18446744073709551617",
	"\n",  "\x80", "\xff",    "L-",      "#5",          "*/",
	"H(",  "LW"};

#define COUNT(array) ((int) (sizeof(array) / sizeof(array[0])))

/* Bytes of any kind. */
static void
random_bytes(char *text, int size)
{
	int length = dice(size);

	for (int i = 0; i < length; i++)
		text[i] = (char) (1 + dice(255));
	text[length] = '\0';
}

/* The pieces that schedules are made of, in any order. */
static void
random_pieces(char *text, int size)
{
	int length = 0;

	text[0] = '\0';
	for (int i = dice(30); i > 0; i--)
	{
		const char *piece = dice(4) == 0 ? " " : pieces[dice(COUNT(pieces))];

		if (length + (int) strlen(piece) >= size)
			return;
		length += sprintf(text + length, "%s", piece);
	}
}

/* A valid schedule, a little damaged. */
static void
mutated(char *text, int size)
{
	int length = sprintf(text, "%s", seeds[dice(COUNT(seeds))]);

	for (int i = dice(3); i > 0; i--)
	{
		const char *piece = pieces[dice(COUNT(pieces))];
		int more = (int) strlen(piece);
		int where = length > 0 ? dice(length) : 0;

		switch (dice(4))
		{
			case 0: /* another byte */
				if (length > 0)
					text[where] = (char) (dice(4) ? ' ' + dice(95) : 1 + dice(255));
				break;
			case 1: /* one less */
				if (length > 0)
					memmove(text + where, text + where + 1, (size_t) (length-- - where));
				break;
			case 2: /* a piece more */
				if (length + more >= size)
					break;
				memmove(text + where + more, text + where, (size_t) (length - where + 1));
				memcpy(text + where, piece, (size_t) more);
				length += more;
				break;
			default: /* cut */
				if (dice(8) == 0)
					text[length = where] = '\0';
		}
	}
}

/* Whether the masks of what was read have no bits where there are no values. */
static bool
within_bounds(const BgjobCron *cron)
{
	uint64_t weekdays = cron->weekdays | cron->last;

	for (int n = 0; n < 5; n++)
		weekdays |= cron->nth[n];
	if (cron->kind == BGJOB_CRON_INTERVAL)
		return cron->every >= 1 && cron->every <= BGJOB_CRON_INTERVAL_MAX;
	if (cron->kind == BGJOB_CRON_REBOOT)
		return true;
	return cron->seconds != 0 && cron->minutes != 0 && cron->hours != 0 && cron->months != 0 &&
		   weekdays != 0 && (cron->seconds | cron->minutes) >> 60 == 0 &&
		   cron->hours >> 24 == 0 && cron->months >> 13 == 0 && (cron->months & 1) == 0 &&
		   weekdays >> 7 == 0 && (cron->days | cron->nearest) >> 32 == 0 &&
		   ((cron->days | cron->nearest) & 1) == 0 &&
		   (cron->from_last | cron->nearest_from_last) >> 31 == 0 &&
		   (cron->days | cron->nearest | cron->from_last | cron->nearest_from_last) != 0;
}

static int accepted;
static int refused;
static char reason[100];

static bool
mistake(const char *what)
{
	snprintf(reason, sizeof(reason), "%s", what);
	return false;
}

/* Reads a schedule and does all with it that can be done. */
static bool
try_schedule(const char *text, const BgjobZone *zone)
{
	BgjobCron cron;
	BgjobCronError error;
	char description[BGJOB_CRON_DESCRIPTION_SIZE];
	int64_t after =
		((int64_t) dice(1 << 30) * 600 - (INT64_C(1) << 38)) * 1000000 + dice(3) - 1;
	int64_t next;
	int months = 0;
	size_t length;

	if (!bgjob_cron_parse(text, dice(2) ? BGJOB_DAY_ANY : BGJOB_DAY_ALL, dice(2) ? "x" : NULL,
						  &cron, &error))
	{
		refused++;
		if (error.field == NULL || error.message[0] == '\0' || error.hint[0] == '\0')
			return mistake("the error says nothing");
		for (const char *c = error.message; *c; c++)
			if (*c < ' ' || *c > '~')
				return mistake("the error has a byte that cannot be shown");
		return true;
	}
	accepted++;
	if (!within_bounds(&cron))
		return mistake("out of bounds");
	length = bgjob_cron_describe(&cron, description, sizeof(description));
	if (length == 0 || length != strlen(description) || length > sizeof(description) - 100)
		return mistake("the description does not fit");
	next = bgjob_cron_next_counted(&cron, zone, after, &months);
	if (next <= after)
		return mistake("the next time is not later");
	if (months > 401 * 12 * 3)
		return mistake("too many months were looked at");
	if (next != BGJOB_CRON_NEVER && bgjob_cron_next(&cron, zone, next - 1) != next)
		return mistake("the next time is not its own next time");
	return true;
}

int
main(void)
{
	static char text[BGJOB_CRON_TEXT_MAX + 100];
	static Table table;
	BgjobZone zone = {table_offset, &table};
	bool good = true;

	add_change(&table, INT64_MIN, 1172);
	for (int i = 1; i < CHANGES_MAX; i++)
		add_change(&table, at("2000-01-01 00:00") + i * 200 * DAY - dice(1000),
				   (dice(240) - 120) * 300);
	for (int i = 0; i < ROUNDS && good; i++)
	{
		char *exact; /* so that the sanitizer sees its end */

		if (i % 10 == 0)
			random_bytes(text, i % 100 == 0 ? sizeof(text) : 40);
		else if (i % 10 < 4)
			random_pieces(text, sizeof(text));
		else
			mutated(text, sizeof(text));
		exact = strdup(text);
		good = try_schedule(exact, &zone);
		free(exact);
	}
	is_true(good, "random schedules are read or refused");
	if (!good)
		printf("# %s: %s\n", reason, text);
	is_true(accepted > ROUNDS / 10, "many of them are read");
	is_true(refused > ROUNDS / 10, "many of them are refused");
	printf("# %d read, %d refused\n", accepted, refused);
	return tap_end();
}
