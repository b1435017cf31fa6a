/*-------------------------------------------------------------------------
 *
 * cron_brute.c
 *	  Random schedules, compared with a simple oracle.
 *
 * The oracle goes through every minute (or second) and checks for each element
 * of a schedule whether it matches. It shares no code with the tested files, and
 * neither their masks nor their computation of days and weekdays. Some of the
 * zones are wilder than any real one.
 *
 *-------------------------------------------------------------------------
 */
#include "cron_time.h"
#include "tap.h"

#include <string.h>

typedef enum Form
{
	STAR,
	ONE,
	RANGE,
	FROM,
	LAST,
	LAST_WEEKDAY,
	NEAREST,
	NTH,
	LAST_OF_MONTH
} Form;

typedef struct Element
{
	Form form;
	int a;
	int b;
	int step; /* 0: none */
} Element;

#define ELEMENTS_MAX 3

typedef struct RandomField
{
	int count;
	Element elements[ELEMENTS_MAX];
	int min;
	int size;
} RandomField;

typedef struct RandomSchedule
{
	RandomField fields[6]; /* second, minute, hour, day, month, weekday */
	bool with_seconds;
	BgjobDayMatch match;
	char text[400];
} RandomSchedule;

static uint64_t random_state = 20240331;

/* A number from 0 to n - 1; the same ones in every run. */
static int
dice(int n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (int) ((random_state >> 33) % (uint64_t) n);
}

static Element
random_element(int field, int min, int size)
{
	int longest = field <= 2 ? size - 1 : size; /* of steps */
	Element e = {
		.a = min + dice(size), .b = min + dice(size), .step = dice(3) ? 0 : 1 + dice(longest)};
	int form = dice(10);

	if (field == 3 && form < 3)
	{
		e.form = form == 0 ? LAST : form == 1 ? LAST_WEEKDAY : NEAREST;
		e.b = dice(3) ? 0 : 1 + dice(30);
		return e;
	}
	if (field == 5 && form < 3)
	{
		e.form = form == 0 ? LAST_OF_MONTH : NTH;
		e.b = 1 + dice(5);
		return e;
	}
	e.form = form < 5 ? STAR : form < 7 ? ONE : form < 9 ? RANGE : FROM;
	if (e.form == FROM && e.step == 0)
		e.step = 1 + dice(longest);
	return e;
}

static int
write_value(char *text, int field, int value, bool end_of_range)
{
	static const char *const weekday[] = {"sun", "MON", "Tue", "WED", "thu", "FRI", "sAT"};
	static const char *const month[] = {"",    "jan", "FEB", "Mar", "APR", "may", "JUN",
										"jul", "AUG", "sep", "OCT", "NoV", "DEC"};

	if (field == 5 && value == 0 && end_of_range && dice(2))
		return sprintf(text, "7");
	if (field == 5 && dice(2))
		return sprintf(text, "%s", weekday[value]);
	if (field == 4 && dice(2))
		return sprintf(text, "%s", month[value]);
	return sprintf(text, dice(9) ? "%d" : "%02d", value);
}

static int
write_element(char *text, int field, const Element *e)
{
	char *start = text;

	switch (e->form)
	{
		case STAR:
			*text++ = dice(8) ? '*' : '?';
			break;
		case ONE:
			return write_value(text, field, e->a, true);
		case RANGE:
			text += write_value(text, field, e->a, false);
			*text++ = '-';
			text += write_value(text, field, e->b, e->a != 0);
			break;
		case FROM:
			text += write_value(text, field, e->a, false);
			break;
		case LAST:
		case LAST_WEEKDAY:
			*text++ = "Ll$"[dice(3)];
			if (e->b > 0)
				text += sprintf(text, "-%d", e->b);
			if (e->form == LAST_WEEKDAY)
				*text++ = 'W';
			return (int) (text - start);
		case NEAREST:
			return sprintf(text, "%dW", e->a);
		case NTH:
			text += write_value(text, field, e->a, true);
			return (int) (text - start) + sprintf(text, "#%d", e->b);
		case LAST_OF_MONTH:
			text += write_value(text, field, e->a, true);
			*text++ = 'L';
			return (int) (text - start);
	}
	if (e->step > 0)
		text += sprintf(text, "/%d", e->step);
	return (int) (text - start);
}

static void
random_schedule(RandomSchedule *s, bool with_seconds)
{
	static const int min[] = {0, 0, 0, 1, 1, 0};
	static const int size[] = {60, 60, 24, 31, 12, 7};
	char *text = s->text;

	memset(s, 0, sizeof(*s));
	s->with_seconds = with_seconds;
	s->match = dice(2) ? BGJOB_DAY_ALL : BGJOB_DAY_ANY;
	for (int f = with_seconds ? 0 : 1; f < 6; f++)
	{
		RandomField *field = &s->fields[f];

		field->min = min[f];
		field->size = size[f];
		field->count = dice(3) ? 1 : 1 + dice(ELEMENTS_MAX);
		for (int i = 0; i < field->count; i++)
		{
			field->elements[i] = random_element(f, min[f], size[f]);
			/* Half of the schedules have fixed times. */
			if (f < 3 && random_state >> 60 & 1)
				field->elements[i].form = ONE;
			if (i > 0)
				*text++ = ',';
			text += write_element(text, f, &field->elements[i]);
		}
		*text++ = ' ';
	}
	text[-1] = '\0';
}

/* Goes from a to b, around the end of the field if need be, and counts. */
static bool
naive_range(const RandomField *field, int a, int b, int step, int value)
{
	for (int count = 0;; count++)
	{
		if (a == value && count % (step > 0 ? step : 1) == 0)
			return true;
		if (a == b)
			return false;
		a = a == field->min + field->size - 1 ? field->min : a + 1;
	}
}

/* The Monday to Friday that is nearest to a day of the month, of all there are. */
static int
naive_nearest(const Date *date, int day)
{
	int best = 100;

	for (int d = 1; d <= date->length; d++)
	{
		int weekday = ((date->weekday + d - date->day) % 7 + 7) % 7;

		if (weekday != 0 && weekday != 6 && abs(d - day) < abs(best - day))
			best = d;
	}
	return best;
}

static bool
naive_element(const RandomField *field, const Element *e, int value, const Date *date)
{
	switch (e->form)
	{
		case STAR:
			return (value - field->min) % (e->step > 0 ? e->step : 1) == 0;
		case ONE:
			return value == e->a;
		case RANGE:
			return naive_range(field, e->a, e->b, e->step, value);
		case FROM:
			return naive_range(field, e->a, field->min + field->size - 1, e->step, value);
		case LAST:
			return date->day + e->b == date->length;
		case LAST_WEEKDAY:
			return e->b < date->length && date->day == naive_nearest(date, date->length - e->b);
		case NEAREST:
			return e->a <= date->length && date->day == naive_nearest(date, e->a);
		case NTH:
			return date->weekday == e->a && date->day > 7 * (e->b - 1) && date->day <= 7 * e->b;
		case LAST_OF_MONTH:
			return date->weekday == e->a && date->day + 7 > date->length;
	}
	return false;
}

static bool
naive_field(const RandomField *field, int value, const Date *date)
{
	for (int i = 0; i < field->count; i++)
		if (naive_element(field, &field->elements[i], value, date))
			return true;
	return false;
}

static bool
naive_day(const RandomSchedule *s, const Date *date)
{
	bool day = naive_field(&s->fields[3], date->day, date);
	bool weekday = naive_field(&s->fields[5], date->weekday, date);

	if (!naive_field(&s->fields[4], date->month, date))
		return false;
	if (s->match == BGJOB_DAY_ANY && s->fields[3].elements[0].form != STAR &&
		s->fields[5].elements[0].form != STAR)
		return day || weekday;
	return day && weekday;
}

/* Whether a daylight-saving hour that is there twice counts twice. */
static bool
naive_repeats(const RandomSchedule *s)
{
	for (int f = s->with_seconds ? 0 : 1; f < 3; f++)
		for (int i = 0; i < s->fields[f].count; i++)
			if (s->fields[f].elements[i].form != ONE)
				return true;
	return false;
}

/* What a schedule means, for all days from one on: answers that are looked up, so that it takes no hours. */
#define DAYS_MAX 1300

typedef struct Answers
{
	int64_t first; /* seconds, at midnight */
	bool day[DAYS_MAX];
	bool hour[24];
	bool minute[60];
	bool second[60];
} Answers;

static Answers answers;

static void
make_answers(const RandomSchedule *s, int year)
{
	Date date = {.year = 1970, .month = 1, .day = 1, .weekday = 4, .length = 31};

	answers.first = 0;
	for (; date.year < year; answers.first += DAY)
		tomorrow(&date);
	for (int i = 0; i < DAYS_MAX; i++, tomorrow(&date))
		answers.day[i] = naive_day(s, &date);
	for (int i = 0; i < 60; i++)
	{
		if (i < 24)
			answers.hour[i] = naive_field(&s->fields[2], i, &date);
		answers.minute[i] = naive_field(&s->fields[1], i, &date);
		answers.second[i] = s->with_seconds ? naive_field(&s->fields[0], i, &date) : i == 0;
	}
}

static bool
naive_match(int64_t local)
{
	int64_t since = local - answers.first;

	if (since < 0 || since >= DAYS_MAX * DAY)
		abort();
	return answers.day[since / DAY] && answers.hour[since / 3600 % 24] &&
		   answers.minute[since / 60 % 60] && answers.second[since % 60];
}

/*
 * Goes through the time from "from" to "to" by "unit" seconds (60 or 1), and
 * compares what the rules say with bgjob_cron_next(). All changes of the zone
 * must be at whole units. Returns the number of occurrences, -1 for a mistake.
 */
static int
compare(const RandomSchedule *s, const BgjobZone *zone, int64_t from, int64_t to, int unit)
{
	BgjobCron cron;
	BgjobCronError error;
	bool repeats = naive_repeats(s);
	int64_t change;
	int64_t shown;
	int64_t reached = from - 20 * DAY + table_offset(zone->data, from - 20 * DAY, &change);
	int64_t next;
	int64_t offset = 0;
	int count = 0;

	if (!bgjob_cron_parse(s->text, s->match, "", &cron, &error))
	{
		printf("# \"%s\": %s: %s\n", s->text, error.field, error.message);
		return -1;
	}
	next = bgjob_cron_next(&cron, zone, micros(from) - 1);
	change = INT64_MIN;
	for (int64_t now = from - 20 * DAY; now < to; now += unit)
	{
		bool happens = false;

		if (now >= change)
			offset = table_offset(zone->data, now, &change);
		shown = now + offset;
		for (; reached < shown; reached += unit)
			happens = naive_match(reached + unit) || happens;
		if (repeats && now >= from)
			happens = happens || naive_match(shown);
		/* From anywhere else it is the same one, as long as it has not come. */
		if (now >= from && dice(3000) == 0 &&
			bgjob_cron_next(&cron, zone, micros(now) - 1) != next)
		{
			printf("# \"%s\": another one from %lld\n", s->text, (long long) now);
			return -1;
		}
		if (happens && now >= from)
		{
			if (next != micros(now))
			{
				printf("# \"%s\" (%s): have %lld, want %lld\n", s->text,
					   s->match == BGJOB_DAY_ALL ? "all" : "any",
					   (long long) (next / 1000000 + EPOCH_2000), (long long) now);
				return -1;
			}
			count++;
			next = bgjob_cron_next(&cron, zone, next);
		}
	}
	if (next < micros(to))
	{
		printf("# \"%s\": have %lld, want none\n", s->text,
			   (long long) (next / 1000000 + EPOCH_2000));
		return -1;
	}
	return count;
}

/* A zone as nobody has ever seen one: changes of any size, some days or hours apart. */
static void
random_zone(Table *table, int64_t from, int64_t to, int unit)
{
	static const int sizes[] = {60, 600, 1800, 3600, 3600, 3600, 7200, 86400};
	int64_t when = from - 30 * DAY;
	int32_t offset = 0;

	table->count = 0;
	add_change(table, INT64_MIN, (dice(1441) - 720) * 60);
	while (table->count < CHANGES_MAX && when < to)
	{
		offset = (dice(2) ? 1 : -1) * sizes[dice(8)] * (1 + dice(2)) / (unit < 60 ? 7 : 1);
		offset += dice(2) ? 0 : table->changes[table->count - 1].offset;
		if (unit == 60)
			offset = offset / 60 * 60;
		add_change(table, when, offset);
		when += ((to - from) / 20 * dice(3) + 60 * (1 + dice(1440))) / unit * unit;
	}
}

/* The first three are as in Berlin, New York and Lord Howe Island from 2023 to 2025. */
static void
real_zone(Table *table, int which)
{
	static const struct
	{
		const char *when;
		int32_t offsets[3];
	} changes[] = {
		{"2023-03-12 07:00", {0, -14400, 0}}, {"2023-03-26 01:00", {7200, 0, 0}},
		{"2023-04-01 15:00", {0, 0, 37800}},  {"2023-09-30 15:30", {0, 0, 39600}},
		{"2023-10-29 01:00", {3600, 0, 0}},   {"2023-11-05 06:00", {0, -18000, 0}},
		{"2024-03-10 07:00", {0, -14400, 0}}, {"2024-03-31 01:00", {7200, 0, 0}},
		{"2024-04-06 15:00", {0, 0, 37800}},  {"2024-10-05 15:30", {0, 0, 39600}},
		{"2024-10-27 01:00", {3600, 0, 0}},   {"2024-11-03 06:00", {0, -18000, 0}},
		{"2025-03-09 07:00", {0, -14400, 0}}, {"2025-03-30 01:00", {7200, 0, 0}},
		{"2025-04-05 15:00", {0, 0, 37800}},  {"2025-10-04 15:30", {0, 0, 39600}},
		{"2025-10-26 01:00", {3600, 0, 0}},   {"2025-11-02 06:00", {0, -18000, 0}},
	};
	static const int32_t first[] = {3600, -18000, 39600};

	table->count = 0;
	add_change(table, INT64_MIN, first[which]);
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
		if (changes[i].offsets[which] != 0)
			add_change(table, at(changes[i].when), changes[i].offsets[which]);
}

static void
test_against_oracle(void)
{
	RandomSchedule schedule;
	Table table = {0};
	BgjobZone zone = {table_offset, &table};
	int64_t from = utc(2023, 2, 1, 0, 0, 0);
	int good = 0;
	int all = 0;
	int64_t occurrences = 0;

	for (int i = 0; i < 160; i++)
	{
		int which = i % 5;
		int count;

		random_schedule(&schedule, false);
		make_answers(&schedule, 2023);
		if (which > 0)
			random_zone(&table, from, from + 400 * DAY, 60);
		else
			real_zone(&table, i / 5 % 3);
		count = compare(&schedule, &zone, from, from + (which == 0 ? 1050 : 400) * DAY, 60);
		all++;
		good += count >= 0;
		occurrences += count > 0 ? count : 0;
	}
	is_number(good, all, "schedules of five fields, minute by minute over years");
	is_true(occurrences > 10000, "with many occurrences");

	good = all = 0;
	occurrences = 0;
	for (int i = 0; i < 160; i++)
	{
		int64_t begin = from + dice(300) * DAY;
		int count;

		random_schedule(&schedule, true);
		make_answers(&schedule, 2023);
		random_zone(&table, begin, begin + 6 * DAY, 1);
		count = compare(&schedule, &zone, begin, begin + 6 * DAY, 1);
		all++;
		good += count >= 0;
		occurrences += count > 0 ? count : 0;
	}
	is_number(good, all, "schedules of six fields, second by second over days");
	is_true(occurrences > 10000, "with many occurrences");
}

int
main(void)
{
	test_against_oracle();
	return tap_end();
}
