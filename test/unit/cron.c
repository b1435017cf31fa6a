/*-------------------------------------------------------------------------
 *
 * cron.c
 *	  Unit tests of rules/cron: reading schedules, next times, descriptions.
 *
 * Zones are tables of changes, made by hand here; real ones are tested with
 * the server (test/pgtap) and against another implementation (test/t). Random
 * schedules are in cron_brute.c, random bytes in cron_fuzz.c.
 *
 *-------------------------------------------------------------------------
 */
#include "cron_time.h"
#include "tap.h"

#include <string.h>

static Table tables[16];
static int table_count;

/* Makes a zone: the offset at first, then changes, up to one of NULL. */
typedef struct ChangeText
{
	const char *when;
	int32_t offset;
} ChangeText;

static BgjobZone
make_zone(int32_t first, const ChangeText *changes)
{
	Table *table = &tables[table_count++];
	BgjobZone zone = {table_offset, table};

	add_change(table, INT64_MIN, first);
	for (; changes->when != NULL; changes++)
		add_change(table, at(changes->when), changes->offset);
	return zone;
}

static BgjobZone zones[16];

enum
{
	UTC,
	BERLIN,
	NEW_YORK,
	LORD_HOWE,
	SAO_PAULO,
	APIA,
	SITKA,
	ODD,
	NERVOUS,
	NZONES
};

static void
make_zones(void)
{
	static const ChangeText none[] = {{NULL, 0}};
	static const ChangeText berlin[] = {{"2023-03-26 01:00", 7200},
										{"2023-10-29 01:00", 3600},
										{"2024-03-31 01:00", 7200},
										{"2024-10-27 01:00", 3600},
										{"2025-03-30 01:00", 7200},
										{"2025-10-26 01:00", 3600},
										{NULL, 0}};
	static const ChangeText new_york[] = {{"2023-03-12 07:00", -14400},
										  {"2023-11-05 06:00", -18000},
										  {"2024-03-10 07:00", -14400},
										  {"2024-11-03 06:00", -18000},
										  {"2025-03-09 07:00", -14400},
										  {"2025-11-02 06:00", -18000},
										  {NULL, 0}};
	/* Half an hour. */
	static const ChangeText lord_howe[] = {{"2023-10-01 15:30", 39600},
										   {"2024-04-06 15:00", 37800},
										   {"2024-10-05 15:30", 39600},
										   {"2025-04-05 15:00", 37800},
										   {NULL, 0}};
	/* At midnight: 2018-11-04 has no 00:00, 2019-02-16 has 23:00 to 24:00 twice. */
	static const ChangeText sao_paulo[] = {{"2018-02-18 02:00", -10800},
										   {"2018-11-04 03:00", -7200},
										   {"2019-02-17 02:00", -10800},
										   {NULL, 0}};
	/* There was no 2011-12-30. */
	static const ChangeText apia[] = {
		{"2011-09-24 14:00", -36000}, {"2011-12-30 10:00", 50400}, {NULL, 0}};
	/* 1867-10-18 twice, by 14:58:47 in Sitka; the offsets are local mean time. */
	static const ChangeText sitka[] = {{"1867-10-19 00:31:13", -32473}, {NULL, 0}};
	/* Odd seconds, and a change in the middle of a minute. */
	static const ChangeText odd[] = {{"2024-05-01 10:20:30", 1172},
									 {"2024-05-02 11:11:11", 1200},
									 {"2024-05-03 12:00:00", -75},
									 {NULL, 0}};
	/* A gap, and its times again two hours later; then two gaps in one hour. */
	static const ChangeText nervous[] = {
		{"2024-06-01 02:00", 3600},  {"2024-06-01 03:00", 0},    {"2024-06-10 01:00", 7200},
		{"2024-06-10 01:30", 10800}, {"2024-06-10 02:00", 0},    {"2024-06-10 02:10", -3600},
		{"2024-06-10 02:20", 3600},  {"2024-06-20 00:00", 3600}, {NULL, 0}};

	zones[UTC] = make_zone(0, none);
	zones[BERLIN] = make_zone(3600, berlin);
	zones[NEW_YORK] = make_zone(-18000, new_york);
	zones[LORD_HOWE] = make_zone(37800, lord_howe);
	zones[SAO_PAULO] = make_zone(-7200, sao_paulo);
	zones[APIA] = make_zone(-39600, apia);
	zones[SITKA] = make_zone(53927, sitka);
	zones[ODD] = make_zone(-17762, odd);
	zones[NERVOUS] = make_zone(0, nervous);
}

/*
 * Reading
 */

static char name_of_test[1200];

static const char *
test_name(const char *format, const char *first, const char *second)
{
	snprintf(name_of_test, sizeof(name_of_test), format, first, second);
	for (char *c = name_of_test; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '.'; /* TAP has a test to a line */
	return name_of_test;
}

static bool
parse(const char *text, BgjobDayMatch match, BgjobCron *cron)
{
	BgjobCronError error;

	return bgjob_cron_parse(text, match, "a name", cron, &error);
}

/* Whether two schedules mean the same, daylight saving aside. */
static bool
same_meaning(const BgjobCron *a, const BgjobCron *b)
{
	return a->kind == b->kind && a->every == b->every && a->seconds == b->seconds &&
		   a->minutes == b->minutes && a->hours == b->hours && a->months == b->months &&
		   a->days == b->days && a->from_last == b->from_last && a->nearest == b->nearest &&
		   a->nearest_from_last == b->nearest_from_last && a->weekdays == b->weekdays &&
		   memcmp(a->nth, b->nth, sizeof(a->nth)) == 0 && a->last == b->last &&
		   a->either == b->either;
}

static void
test_equal(void)
{
	static const char *const pairs[][2] = {
		{"* * * * *", "? ? ? ? ?"},
		{"* * * * *", "0 * * * * *"},
		{" \t* \t * * *   *\t", "* * * * *"},
		{"0-59 0-23 * 1-12 *", "* * * * *"},
		{"*/5 * * * *", "0,5,10,15,20,25,30,35,40,45,50,55 * * * *"},
		{"?/20 * * * *", "0,20,40 * * * *"},
		{"10-40/3 * * * *", "10,13,16,19,22,25,28,31,34,37,40 * * * *"},
		{"5/15 * * * *", "5,20,35,50 * * * *"},
		{"50-10/5 * * * *", "50,55,0,5,10 * * * *"},
		{"7-7 * * * *", "7 * * * *"},
		{"*/59 * * * *", "0,59 * * * *"},
		{"0 */23 * * *", "0 0,23 * * *"},
		{"0 0 */31 * *", "0 0 1 * *"},
		{"0 0 1 */12 *", "0 0 1 1 *"},
		{"0 0 * * */7", "0 0 * * 0"},
		{"007 * * * *", "7 * * * *"},
		{"1,1,1-2 * * * *", "1,2 * * * *"},
		{"*,3 * * * *", "* * * * *"},
		{"0 22-2 * * *", "0 22,23,0,1,2 * * *"},
		{"0 22-2/2 * * *", "0 22,0,2 * * *"},
		{"0 22-3/4 * * *", "0 22,2 * * *"},
		{"0 0 28-3 * *", "0 0 28,29,30,31,1,2,3 * *"},
		{"0 0 28-3/2 * *", "0 0 28,30,1,3 * *"},
		{"0 0 */10 1 *", "0 0 1,11,21,31 1 *"},
		{"0 0 1 NOV-FEB *", "0 0 1 11,12,1,2 *"},
		{"0 0 1 jan,Feb,MAR *", "0 0 1 1-3 *"},
		{"0 0 1 jul/2 *", "0 0 1 7,9,11 *"},
		{"0 0 1 11-4/3 *", "0 0 1 11,2 *"},
		{"0 0 * * 7", "0 0 * * 0"},
		{"0 0 * * 7", "0 0 * * sun"},
		{"0 0 * * FRI-MON", "0 0 * * 5,6,0,1"},
		{"0 0 * * 5-7", "0 0 * * 5,6,0"},
		{"0 0 * * 5-0", "0 0 * * 5,6,0"},
		{"0 0 * * 7-2", "0 0 * * 0,1,2"},
		{"0 0 * * 0-7", "0 0 * * 0-6"},
		{"0 0 * * 1-7", "0 0 * * 0-6"},
		{"0 0 * * 6-1/2", "0 0 * * 6,1"},
		{"0 0 * * 5-7/2", "0 0 * * 5,0"},
		{"0 0 * * 0-7/7", "0 0 * * 0"},
		{"0 0 * * 7/2", "0 0 * * 0,2,4,6"},
		{"0 0 * * mon/2", "0 0 * * 1,3,5"},
		{"0 0 * * Mon-fRi", "0 0 * * 1-5"},
		{"0 0 * * MON-5", "0 0 * * 1,2,3,4,5"},
		{"0 0 l * *", "0 0 L * *"},
		{"0 0 $ * *", "0 0 L * *"},
		{"0 0 $-3 * *", "0 0 L-3 * *"},
		{"0 0 $w * *", "0 0 LW * *"},
		{"0 0 l-3w,15w * *", "0 0 15W,L-3W * *"},
		{"0 0 * * mon#2", "0 0 * * 1#2"},
		{"0 0 * * sun#5", "0 0 * * 7#5"},
		{"0 0 * * 0L", "0 0 * * 7l"},
		{"0 0 * * FRIL", "0 0 * * 5L"},
		{"@every_second", "* * * * * *"},
		{"@every_minute", "* * * * *"},
		{"@hourly", "0 * * * *"},
		{"@daily", "0 0 * * *"},
		{"@Midnight", "0 0 * * *"},
		{"@WEEKLY", "0 0 * * 0"},
		{"@monthly", "0 0 1 * *"},
		{"@yearly", "0 0 1 1 *"},
		{" @annually ", "0 0 1 1 *"},
		{"60 seconds", "1 minute"},
		{"60 Minutes", "1 HOUR"},
		{"1 minutes", "60 second"},
		{"8760 hours", "31536000 seconds"},
		{"H(3-3) * * * *", "3 * * * *"},
		{"H(3-12)/10 * * * *", "H(3-12)/10 * * * *"},
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
	{
		BgjobCron a;
		BgjobCron b;
		bool both =
			parse(pairs[i][0], BGJOB_DAY_ALL, &a) && parse(pairs[i][1], BGJOB_DAY_ALL, &b);

		is_true(both && same_meaning(&a, &b),
				test_name("\"%s\" is the same as \"%s\"", pairs[i][0], pairs[i][1]));
	}
}

static void
test_errors(void)
{
	static const char *const wrong[][2] = {
		{"60 * * * *", "minute"},
		{"-1 * * * *", "minute"},
		{"1- * * * *", "minute"},
		{"1-60 * * * *", "minute"},
		{"1-2-3 * * * *", "minute"},
		{"*-3 * * * *", "minute"},
		{"** * * * *", "minute"},
		{"*/ * * * *", "minute"},
		{"*/0 * * * *", "minute"},
		{"*/60 * * * *", "minute"},
		{"1/60 * * * *", "minute"},
		{"0-59/60 * * * *", "minute"},
		{"H/60 * * * *", "minute"},
		{"*/61 * * * *", "minute"},
		{"*/60 * * * * *", "second"},
		{"0 */24 * * *", "hour"},
		{"0 1/24 * * *", "hour"},
		{"0 0 1 */13 *", "month"},
		{"0 0 * * */8", "day of week"},
		{"*/90 * * * *", "minute"},
		{"*/-5 * * * *", "minute"},
		{"*/2/3 * * * *", "minute"},
		{"5/ * * * *", "minute"},
		{"/5 * * * *", "minute"},
		{", * * * *", "minute"},
		{"1,,2 * * * *", "minute"},
		{"1, * * * *", "minute"},
		{",1 * * * *", "minute"},
		{"L * * * *", "minute"},
		{"5L * * * *", "minute"},
		{"5W * * * *", "minute"},
		{"5#1 * * * *", "minute"},
		{"$ * * * *", "minute"},
		{"1.5 * * * *", "minute"},
		{"0x5 * * * *", "minute"},
		{"+5 * * * *", "minute"},
		{"99999999999999999999999999 * * * *", "minute"},
		{"*/4294967297 * * * *", "minute"},
		{"18446744073709551616 * * * *", "minute"},
		{"H(30-10) * * * *", "minute"},
		{"H(0-60) * * * *", "minute"},
		{"H( * * * *", "minute"},
		{"H() * * * *", "minute"},
		{"H(5) * * * *", "minute"},
		{"H(1-2 * * * *", "minute"},
		{"H(1-2)3 * * * *", "minute"},
		{"H(1-3)/5 * * * *", "minute"},
		{"H/0 * * * *", "minute"},
		{"H-5 * * * *", "minute"},
		{"HH * * * *", "minute"},
		{"mon * * * *", "minute"},
		{"60 * * * * *", "second"},
		{"L * * * * *", "second"},
		{"x * * * * *", "second"},
		{"0 24 * * *", "hour"},
		{"0 0-24 * * *", "hour"},
		{"0 */25 * * *", "hour"},
		{"0 am * * *", "hour"},
		{"0 0 0 * *", "day of month"},
		{"0 0 32 * *", "day of month"},
		{"0 0 0-5 * *", "day of month"},
		{"0 0 */32 * *", "day of month"},
		{"0 0 0W * *", "day of month"},
		{"0 0 32W * *", "day of month"},
		{"0 0 W * *", "day of month"},
		{"0 0 1-5W * *", "day of month"},
		{"0 0 15W/2 * *", "day of month"},
		{"0 0 LL * *", "day of month"},
		{"0 0 L- * *", "day of month"},
		{"0 0 L-0 * *", "day of month"},
		{"0 0 L-31 * *", "day of month"},
		{"0 0 L-3-1 * *", "day of month"},
		{"0 0 L/2 * *", "day of month"},
		{"0 0 1-L * *", "day of month"},
		{"0 0 5L * *", "day of month"},
		{"0 0 5#1 * *", "day of month"},
		{"0 0 L5 * *", "day of month"},
		{"0 0 H/30 * *", "day of month"},
		{"0 0 mon * *", "day of month"},
		{"0 0 * 0 *", "month"},
		{"0 0 * 13 *", "month"},
		{"0 0 * FOO *", "month"},
		{"0 0 * MON *", "month"},
		{"0 0 * JANUARY *", "month"},
		{"0 0 * JA *", "month"},
		{"0 0 * L *", "month"},
		{"0 0 * JAN- *", "month"},
		{"0 0 * */13 *", "month"},
		{"0 0 * * 8", "day of week"},
		{"0 0 * * 1-8", "day of week"},
		{"0 0 * * MO", "day of week"},
		{"0 0 * * FRIDAY", "day of week"},
		{"0 0 * * JAN", "day of week"},
		{"0 0 * * L", "day of week"},
		{"0 0 * * L5", "day of week"},
		{"0 0 * * MON#", "day of week"},
		{"0 0 * * MON#0", "day of week"},
		{"0 0 * * MON#6", "day of week"},
		{"0 0 * * MON#2L", "day of week"},
		{"0 0 * * #2", "day of week"},
		{"0 0 * * MON-FRI#2", "day of week"},
		{"0 0 * * MON-FRIL", "day of week"},
		{"0 0 * * FRILL", "day of week"},
		{"0 0 * * 5W", "day of week"},
		{"0 0 * * */8", "day of week"},
		{"", "schedule"},
		{"   ", "schedule"},
		{"*", "schedule"},
		{"* *", "schedule"},
		{"* * *", "schedule"},
		{"* * * *", "schedule"},
		{"* * * * * * *", "schedule"},
		{"* * * * * * * * * * *", "schedule"},
		{"@", "schedule"},
		{"@dayly", "schedule"},
		{"@daily2", "schedule"},
		{"@dail", "schedule"},
		{"@daily * * * *", "minute"},
		{"@daily 5", "schedule"},
		{"5 days", "schedule"},
		{"5 minutess", "schedule"},
		{"5 m", "schedule"},
		{"five minutes", "schedule"},
		{"-5 minutes", "schedule"},
		{"1.5 hours", "schedule"},
		{"0 seconds", "schedule"},
		{"8761 hours", "schedule"},
		{"31536001 seconds", "schedule"},
		{"99999999999999999999 hours", "schedule"},
		{"5minutes", "schedule"},
		{"5 minutes 3 seconds", "schedule"},
		{"0 0 * * MON\n", "schedule"},
		{"0 0\v* * *", "schedule"},
		{"0 0 * * \001", "schedule"},
		{"0 0 * * \177", "schedule"},
		{"0 0 * * M\xc3\x96N", "schedule"},
		{"\xff", "schedule"},
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
	{
		BgjobCron cron;
		BgjobCronError error;
		bool refused = !bgjob_cron_parse(wrong[i][0], BGJOB_DAY_ANY, "a name", &cron, &error) &&
					   strcmp(error.field, wrong[i][1]) == 0 && strlen(error.message) > 5 &&
					   error.message[strlen(error.message) - 1] == '.' &&
					   strlen(error.hint) > 10 && error.hint[strlen(error.hint) - 1] == '.';

		if (!is_true(refused, test_name("\"%s\" is refused: %s", wrong[i][0], wrong[i][1])))
			printf("# field %s, message %s, hint %s\n", error.field, error.message, error.hint);
	}
}

static void
test_length(void)
{
	char text[BGJOB_CRON_TEXT_MAX + 2];
	BgjobCron cron;

	/* "* * * * 1,1,1,…" */
	for (size_t i = 0; i < sizeof(text) - 1; i++)
		text[i] = i < 8 ? "* * * * "[i] : i % 2 == 0 ? '1' : ',';
	text[BGJOB_CRON_TEXT_MAX - 1] = '\0';
	is_true(parse(text, BGJOB_DAY_ANY, &cron), "almost as long as allowed");
	text[BGJOB_CRON_TEXT_MAX - 1] = '1';
	text[BGJOB_CRON_TEXT_MAX - 2] = '1';
	text[BGJOB_CRON_TEXT_MAX - 3] = ',';
	text[BGJOB_CRON_TEXT_MAX - 4] = '1';
	text[BGJOB_CRON_TEXT_MAX - 5] = ' ';
	for (int i = 0; i < BGJOB_CRON_TEXT_MAX - 4; i++)
		text[i] = i < 8 ? "* * * * "[i] : ' ';
	text[BGJOB_CRON_TEXT_MAX - 2] = '2';
	text[BGJOB_CRON_TEXT_MAX - 1] = ' ';
	text[BGJOB_CRON_TEXT_MAX] = '\0';
	is_true(parse(text, BGJOB_DAY_ANY, &cron), "as long as allowed");
	text[BGJOB_CRON_TEXT_MAX] = ' ';
	text[BGJOB_CRON_TEXT_MAX + 1] = '\0';
	is_true(!parse(text, BGJOB_DAY_ANY, &cron), "longer");
}

static void
test_flags(void)
{
	static const struct
	{
		const char *text;
		bool repeats;
		bool either;
	} cases[] = {
		{"0 2 * * *", false, false},      {"0,30 2,3 * * *", false, false},
		{"* 2 * * *", true, false},       {"0 * * * *", true, false},
		{"0 ? * * *", true, false},       {"0-5 2 * * *", true, false},
		{"0 2-4 * * *", true, false},     {"5/15 2 * * *", true, false},
		{"0 */12 * * *", true, false},    {"30 0 2 * * *", false, false},
		{"*/30 0 2 * * *", true, false},  {"H H * * *", false, false},
		{"H/15 2 * * *", true, false},    {"H(0-29) 2 * * *", false, false},
		{"0 2 1-5 1-3 1-5", false, true}, {"0 2 1 * MON", false, true},
		{"0 2 */2 * MON", false, false},  {"0 2 1 * */2", false, false},
		{"0 2 ? * MON", false, false},    {"0 2 1 * ?", false, false},
		{"0 2 1-31 * MON", false, true},  {"0 2 L * MON#1", false, true},
		{"0 2 1,* * MON", false, true},   {"@hourly", true, false},
		{"@daily", false, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		BgjobCron cron;

		is_true(parse(cases[i].text, BGJOB_DAY_ANY, &cron) && cron.repeats == cases[i].repeats,
				test_name("\"%s\" is %s interval expression", cases[i].text,
						  cases[i].repeats ? "an" : "no"));
		is_true(cron.either == cases[i].either,
				test_name("\"%s\": %s", cases[i].text,
						  cases[i].either ? "one of the days is enough" : "both must match"));
		is_true(parse(cases[i].text, BGJOB_DAY_ALL, &cron) && !cron.either,
				test_name("\"%s\": both must match by 'all'%s", cases[i].text, ""));
	}
}

static int
bits(uint64_t mask)
{
	return __builtin_popcountll(mask);
}

static void
test_hash(void)
{
	uint64_t minutes = 0;
	uint64_t days = 0;
	bool same_field = true;
	bool inside = true;
	BgjobCron cron;
	BgjobCron again;
	BgjobCronError error;
	char name[40];

	for (int i = 0; i < 2000; i++)
	{
		snprintf(name, sizeof(name), "job %d", i);
		if (!bgjob_cron_parse("H H H H H", BGJOB_DAY_ALL, name, &cron, &error))
			break;
		inside = inside && bits(cron.minutes) == 1 && bits(cron.hours) == 1 &&
				 bits(cron.days) == 1 && bits(cron.months) == 1 && bits(cron.weekdays) == 1 &&
				 cron.hours < 1 << 24 && cron.months >= 2 && cron.months < 1 << 13 &&
				 cron.weekdays < 1 << 7 && cron.hashed && !cron.repeats;
		minutes |= cron.minutes;
		days |= cron.days;
		if (!bgjob_cron_parse("H H H H H", BGJOB_DAY_ALL, name, &again, &error) ||
			!same_meaning(&cron, &again))
			inside = false;
		same_field = same_field && cron.minutes == cron.hours;
	}
	is_true(inside, "H is one value of each field, the same for the same name");
	is_true(bits(minutes) == 60, "H: names are spread over all minutes");
	is_true(days == (UINT64_C(1) << 29) - 2, "H: days are 1 to 28");
	is_true(!same_field, "H: fields differ");

	inside = true;
	for (int i = 0; i < 2000 && inside; i++)
	{
		snprintf(name, sizeof(name), "%d", i);
		inside = bgjob_cron_parse("H(10-29) H/6 H(3-5) * H(MON-FRI)", BGJOB_DAY_ALL, name,
								  &cron, &error) &&
				 (cron.minutes & ~(((UINT64_C(1) << 20) - 1) << 10)) == 0 &&
				 bits(cron.hours) == 4 && (cron.days & ~UINT64_C(0x38)) == 0 &&
				 (cron.weekdays & ~UINT64_C(0x3e)) == 0 && bits(cron.weekdays) == 1;
	}
	is_true(inside, "H: ranges and steps are kept to");
	inside = true;
	for (int i = 0; i < 2000 && inside; i++)
	{
		snprintf(name, sizeof(name), "%d", i);
		inside = bgjob_cron_parse("H(0-29)/10 * * * *", BGJOB_DAY_ALL, name, &cron, &error) &&
				 bits(cron.minutes) == 3 && cron.minutes < UINT64_C(1) << 30;
	}
	is_true(inside, "H: a step in a range");
	is_true(bgjob_cron_parse("H * * * *", BGJOB_DAY_ANY, NULL, &cron, &error) &&
				bgjob_cron_parse("H * * * *", BGJOB_DAY_ANY, "", &again, &error) &&
				same_meaning(&cron, &again),
			"H: no name is the empty name");
	/* Released values: a job must not move when the server is upgraded. */
	bgjob_cron_parse("H H H H H", BGJOB_DAY_ALL, "nightly report", &cron, &error);
	is_number(__builtin_ctzll(cron.minutes), 0, "H: minute of \"nightly report\"");
	is_number(__builtin_ctzll(cron.hours), 15, "H: hour of \"nightly report\"");
	is_number(__builtin_ctzll(cron.days), 6, "H: day of \"nightly report\"");
	is_number(__builtin_ctzll(cron.months), 7, "H: month of \"nightly report\"");
	is_number(__builtin_ctzll(cron.weekdays), 2, "H: weekday of \"nightly report\"");
}

/*
 * Next times
 */

/* The times of a schedule after "from" are these, of UTC and separated by ", "; "never" ends them. */
typedef struct NextTimes
{
	const char *schedule;
	int zone;
	const char *from;
	const char *times;
} NextTimes;

static void
is_next(const NextTimes *wanted, BgjobDayMatch match)
{
	BgjobCron cron;
	int64_t after = micros(at(wanted->from));
	char name[1200];

	snprintf(name, sizeof(name), "\"%s\"%s in zone %d from %s: %s", wanted->schedule,
			 match == BGJOB_DAY_ALL ? " (all)" : "", wanted->zone, wanted->from, wanted->times);
	if (!parse(wanted->schedule, match, &cron))
	{
		is_true(false, name);
		return;
	}
	for (const char *time = wanted->times; time != NULL;)
	{
		int64_t want = strncmp(time, "never", 5) == 0 ? BGJOB_CRON_NEVER : micros(at(time));
		int64_t have = bgjob_cron_next(&cron, &zones[wanted->zone], after);

		if (have != want)
		{
			is_number(have / 1000000 + EPOCH_2000, want / 1000000 + EPOCH_2000, name);
			return;
		}
		after = have;
		time = strstr(time, ", ");
		time = time != NULL ? time + 2 : NULL;
	}
	is_true(true, name);
}

static void
test_calendar(void)
{
	static const NextTimes cases[] = {
		{"* * * * *", UTC, "2024-01-01 00:00", "2024-01-01 00:01, 2024-01-01 00:02"},
		{"* * * * *", UTC, "2023-12-31 23:59:59", "2024-01-01 00:00"},
		{"* * * * * *", UTC, "2024-02-28 23:59:59", "2024-02-29 00:00:00, 2024-02-29 00:00:01"},
		{"30 2 * * *", UTC, "2024-01-01 02:29:59", "2024-01-01 02:30, 2024-01-02 02:30"},
		{"30 2 * * *", UTC, "2024-01-01 02:30", "2024-01-02 02:30"},
		{"5/15 * * * *", UTC, "2024-01-01 00:35", "2024-01-01 00:50, 2024-01-01 01:05"},
		{"15,45 59 23 31 12 *", UTC, "2023-12-31 23:59:30",
		 "2023-12-31 23:59:45, 2024-12-31 23:59:15"},
		{"0 0 29 2 *", UTC, "2023-01-01 00:00", "2024-02-29 00:00, 2028-02-29 00:00"},
		{"0 0 29 2 *", UTC, "1896-03-01 00:00", "1904-02-29 00:00"},
		{"0 0 29 2 *", UTC, "2096-03-01 00:00", "2104-02-29 00:00"},
		{"0 0 29 2 *", UTC, "1996-03-01 00:00", "2000-02-29 00:00"},
		{"0 0 31 * *", UTC, "2024-01-31 00:00",
		 "2024-03-31 00:00, 2024-05-31 00:00, 2024-07-31 00:00"},
		{"0 0 30 2 *", UTC, "2024-01-01 00:00", "never"},
		{"0 0 31 2,4,6,9,11 *", UTC, "2024-01-01 00:00", "never"},
		{"0 0 L-30 2,4 *", UTC, "2024-01-01 00:00", "never"},
		{"0 0 * * MON#5", UTC, "2024-02-01 00:00", "2024-04-29 00:00, 2024-07-29 00:00"},
		{"0 0 * 2 MON#5", UTC, "2024-01-01 00:00", "2044-02-29 00:00"},
		{"@reboot", UTC, "2024-01-01 00:00", "never"},
		{"0 0 1 1 *", UTC, "1850-06-01 00:00", "1851-01-01 00:00"},

		{"0 0 L * *", UTC, "2024-01-31 00:00",
		 "2024-02-29 00:00, 2024-03-31 00:00, 2024-04-30 00:00"},
		{"0 0 L-3 * *", UTC, "2023-01-31 00:00", "2023-02-25 00:00, 2023-03-28 00:00"},
		{"0 0 1,15,L * *", UTC, "2023-02-01 00:00",
		 "2023-02-15 00:00, 2023-02-28 00:00, 2023-03-01 00:00"},
		/* 2024-03-31 is a Sunday, 2024-06-30 too; 2024-08-31 is a Saturday. */
		{"0 0 LW * *", UTC, "2024-02-29 00:00", "2024-03-29 00:00, 2024-04-30 00:00"},
		{"0 0 LW 8 *", UTC, "2024-01-01 00:00", "2024-08-30 00:00"},
		{"0 0 L-1W 3 *", UTC, "2024-01-01 00:00", "2024-03-29 00:00"},
		/* 2024-06-01 is a Saturday, 2024-09-01 a Sunday. */
		{"0 0 1W 6,9 *", UTC, "2024-01-01 00:00", "2024-06-03 00:00, 2024-09-02 00:00"},
		{"0 0 15W * *", UTC, "2024-05-31 00:00",
		 "2024-06-14 00:00, 2024-07-15 00:00, 2024-08-15 00:00, 2024-09-16 00:00"},
		{"0 0 31W * *", UTC, "2024-02-01 00:00", "2024-03-29 00:00, 2024-05-31 00:00"},
		{"0 0 * * FRIL", UTC, "2024-01-01 00:00",
		 "2024-01-26 00:00, 2024-02-23 00:00, 2024-03-29 00:00"},
		{"0 0 * * MON#1,MON#3", UTC, "2024-01-01 00:00", "2024-01-15 00:00, 2024-02-05 00:00"},
		{"0 0 * * MON#1,WED", UTC, "2024-01-01 00:00",
		 "2024-01-03 00:00, 2024-01-10 00:00, 2024-01-17 00:00, 2024-01-24 00:00, "
		 "2024-01-31 00:00, 2024-02-05 00:00"},

		/* The trap: both days restricted. */
		{"0 0 13 * FRI", UTC, "2024-09-07 00:00",
		 "2024-09-13 00:00, 2024-09-20 00:00, 2024-09-27 00:00, 2024-10-04 00:00, "
		 "2024-10-11 00:00, 2024-10-13 00:00"},
		{"0 0 */2 * MON", UTC, "2024-01-01 00:00",
		 "2024-01-15 00:00, 2024-01-29 00:00, 2024-02-05 00:00"},
		{"0 0 1 * */2", UTC, "2024-01-01 00:00", "2024-02-01 00:00, 2024-06-01 00:00"},
		{"0 0 ? * MON", UTC, "2024-01-01 00:00", "2024-01-08 00:00"},

		{"30 seconds", BERLIN, "2024-01-01 00:00:29",
		 "2024-01-01 00:00:30, 2024-01-01 00:01:00"},
		{"30 seconds", ODD, "2024-01-01 00:00:30", "2024-01-01 00:01:00"},
		{"90 minutes", UTC, "1970-01-01 00:00", "1970-01-01 01:30, 1970-01-01 03:00"},
		{"90 minutes", UTC, "1969-12-31 22:29", "1969-12-31 22:30, 1970-01-01 00:00"},
		{"2 hours", BERLIN, "2024-03-31 00:30", "2024-03-31 02:00, 2024-03-31 04:00"},
		{"7 hours", UTC, "2024-01-01 00:00", "2024-01-01 02:00, 2024-01-01 09:00"},
		{"1 second", UTC, "2024-01-01 00:00", "2024-01-01 00:00:01"},
	};
	/* Both days must match. */
	static const NextTimes both[] = {
		{"0 0 29 2 MON", UTC, "2000-01-01 00:00", "2016-02-29 00:00, 2044-02-29 00:00"},
		{"0 0 29 2 MON", UTC, "2072-03-01 00:00", "2112-02-29 00:00"},
		{"0 0 15 * MON#1", UTC, "2024-01-01 00:00", "never"},
		{"0 0 1 * 1L", UTC, "2024-01-01 00:00", "never"},
		{"0 0 13 * FRI", UTC, "2024-01-01 00:00", "2024-09-13 00:00, 2024-12-13 00:00"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		is_next(&cases[i], BGJOB_DAY_ANY);
	for (size_t i = 0; i < sizeof(both) / sizeof(both[0]); i++)
		is_next(&both[i], BGJOB_DAY_ALL);
}

static void
test_daylight_saving(void)
{
	static const NextTimes cases[] = {
		/* Berlin: 02:00 to 03:00 is missing on 2024-03-31 and there twice on 2024-10-27. */
		{"30 2 * * *", BERLIN, "2024-03-30 00:00",
		 "2024-03-30 01:30, 2024-03-31 01:00, 2024-04-01 00:30"},
		{"30 2 * * *", BERLIN, "2024-03-31 01:00", "2024-04-01 00:30"},
		{"0,15,30 2 * * *", BERLIN, "2024-03-31 00:00", "2024-03-31 01:00, 2024-04-01 00:00"},
		{"0 2,3 * * *", BERLIN, "2024-03-31 00:00", "2024-03-31 01:00, 2024-04-01 00:00"},
		{"30 1,2,3 * * *", BERLIN, "2024-03-31 00:00",
		 "2024-03-31 00:30, 2024-03-31 01:00, 2024-03-31 01:30"},
		{"15 30 2 * * *", BERLIN, "2024-03-30 12:00",
		 "2024-03-31 01:00:00, 2024-04-01 00:30:15"},
		{"30 2 31 3 *", BERLIN, "2024-01-01 00:00", "2024-03-31 01:00, 2025-03-31 00:30"},
		{"0 2 * * *", BERLIN, "2024-10-26 12:00", "2024-10-27 00:00, 2024-10-28 01:00"},
		{"30 2 * * *", BERLIN, "2024-10-26 12:00", "2024-10-27 00:30, 2024-10-28 01:30"},
		{"30 2 * * *", BERLIN, "2024-10-27 00:45", "2024-10-28 01:30"},
		{"30 2 * * *", BERLIN, "2024-10-27 01:15", "2024-10-28 01:30"},
		{"0 3 * * *", BERLIN, "2024-10-26 12:00", "2024-10-27 02:00"},
		{"0 * * * *", BERLIN, "2024-03-30 23:30",
		 "2024-03-31 00:00, 2024-03-31 01:00, 2024-03-31 02:00"},
		{"0 * * * *", BERLIN, "2024-10-26 23:30",
		 "2024-10-27 00:00, 2024-10-27 01:00, 2024-10-27 02:00"},
		{"*/30 2 * * *", BERLIN, "2024-10-26 12:00",
		 "2024-10-27 00:00, 2024-10-27 00:30, 2024-10-27 01:00, 2024-10-27 01:30, "
		 "2024-10-28 01:00"},
		{"*/30 2 * * *", BERLIN, "2024-03-30 12:00", "2024-03-31 01:00, 2024-04-01 00:00"},
		{"20-40/20 * * * *", BERLIN, "2024-03-31 00:40", "2024-03-31 01:00, 2024-03-31 01:20"},
		{"0 1-3 * * *", BERLIN, "2024-03-30 12:00",
		 "2024-03-31 00:00, 2024-03-31 01:00, 2024-03-31 23:00"},
		{"0 2-4 * * *", BERLIN, "2024-10-26 12:00",
		 "2024-10-27 00:00, 2024-10-27 01:00, 2024-10-27 02:00, 2024-10-27 03:00, "
		 "2024-10-28 01:00"},
		/* Every time of it is in a gap, as long as the rules are known, and never again. */
		{"*/10 2 31 3 *", BERLIN, "2024-01-01 00:00", "2024-03-31 01:00, 2025-03-31 00:00"},

		{"30 1 * * *", NEW_YORK, "2024-11-03 05:00", "2024-11-03 05:30, 2024-11-04 06:30"},
		{"30 1 * * *", NEW_YORK, "2024-11-03 05:30", "2024-11-04 06:30"},
		{"30 2 * * *", NEW_YORK, "2024-03-10 00:00", "2024-03-10 07:00, 2024-03-11 06:30"},

		/* Lord Howe: 02:00 to 02:30 is missing on 2024-10-06; 01:30 to 02:00 is there twice on 2024-04-07. */
		{"15 2 * * *", LORD_HOWE, "2024-10-05 12:00", "2024-10-05 15:30, 2024-10-06 15:15"},
		{"30 2 * * *", LORD_HOWE, "2024-10-05 12:00", "2024-10-05 15:30, 2024-10-06 15:30"},
		{"15,30 2 * * *", LORD_HOWE, "2024-10-05 12:00", "2024-10-05 15:30, 2024-10-06 15:15"},
		{"45 1 * * *", LORD_HOWE, "2024-04-06 12:00", "2024-04-06 14:45, 2024-04-07 15:15"},
		{"*/15 1-2 * * *", LORD_HOWE, "2024-04-06 14:00",
		 "2024-04-06 14:15, 2024-04-06 14:30, 2024-04-06 14:45, 2024-04-06 15:00, "
		 "2024-04-06 15:15, 2024-04-06 15:30"},
		{"*/15 * * * *", LORD_HOWE, "2024-10-05 15:00", "2024-10-05 15:15, 2024-10-05 15:30"},

		{"0 0 * * *", SAO_PAULO, "2018-11-03 12:00", "2018-11-04 03:00, 2018-11-05 02:00"},
		{"30 0 * * *", SAO_PAULO, "2018-11-03 12:00", "2018-11-04 03:00, 2018-11-05 02:30"},
		{"0 0 * * SUN", SAO_PAULO, "2018-11-03 12:00", "2018-11-04 03:00, 2018-11-11 02:00"},
		{"0 */12 * * *", SAO_PAULO, "2018-11-03 12:00",
		 "2018-11-03 15:00, 2018-11-04 03:00, 2018-11-04 14:00, 2018-11-05 02:00"},
		{"30 23 * * *", SAO_PAULO, "2019-02-16 12:00", "2019-02-17 01:30, 2019-02-18 02:30"},
		{"0 0 * * *", SAO_PAULO, "2019-02-16 12:00", "2019-02-17 03:00, 2019-02-18 03:00"},
		{"* * * * SAT", SAO_PAULO, "2019-02-17 01:58",
		 "2019-02-17 01:59, 2019-02-17 02:00, 2019-02-17 02:01"},
		{"59 * * * SAT", SAO_PAULO, "2019-02-17 01:30",
		 "2019-02-17 01:59, 2019-02-17 02:59, 2019-02-23 03:59"},

		/* Apia: the 30th is missing; all that is due on it happens when the 31st begins. */
		{"0 9 * * *", APIA, "2011-12-29 18:00",
		 "2011-12-29 19:00, 2011-12-30 10:00, 2011-12-30 19:00"},
		{"0 9 30 12 *", APIA, "2011-01-01 00:00", "2011-12-30 10:00, 2012-12-29 19:00"},
		{"0 0 * * *", APIA, "2011-12-29 18:00", "2011-12-30 10:00, 2011-12-31 10:00"},
		{"0 6,12,18 * * *", APIA, "2011-12-30 04:00", "2011-12-30 10:00, 2011-12-30 16:00"},
		{"0 * 30 12 *", APIA, "2011-01-01 00:00", "2011-12-30 10:00, 2012-12-29 10:00"},
		{"0 0 * * FRI", APIA, "2011-12-24 00:00", "2011-12-30 10:00, 2012-01-05 10:00"},

		/* Sitka: a day is there twice, and nearly whole. */
		{"0 9 * * *", SITKA, "1867-10-16 12:00",
		 "1867-10-16 18:01:13, 1867-10-17 18:01:13, 1867-10-18 18:01:13, "
		 "1867-10-20 18:01:13"},
		{"0 16 * * *", SITKA, "1867-10-17 12:00", "1867-10-18 01:01:13, 1867-10-20 01:01:13"},
		{"0 9-9 * * *", SITKA, "1867-10-18 12:00", "1867-10-18 18:01:13, 1867-10-19 18:01:13"},

		{"0 12 * * *", ODD, "2024-04-30 00:00", "2024-04-30 16:56:02, 2024-05-01 11:40:28"},
		{"* * * * *", ODD, "2024-05-01 10:20:00",
		 "2024-05-01 10:20:02, 2024-05-01 10:20:30, 2024-05-01 10:21:28, 2024-05-01 10:22:28"},

		/* The time in the gap comes later, by a change back; the end of the gap was its instant. */
		{"30 2 * * *", NERVOUS, "2024-06-01 00:00", "2024-06-01 02:00, 2024-06-02 02:30"},
		{"*/30 2-2 * * *", NERVOUS, "2024-06-01 00:00", "2024-06-01 02:00, 2024-06-02 02:00"},
		{"15 2,3,4 * * *", NERVOUS, "2024-06-09 12:00",
		 "2024-06-10 01:00, 2024-06-10 01:15, 2024-06-10 01:30, 2024-06-11 01:15"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		is_next(&cases[i], BGJOB_DAY_ANY);
}

static void
test_ends(void)
{
	int64_t year_end = micros(utc(2999, 12, 31, 23, 59, 59));
	int64_t last = INT64_C(9223371331199999999); /* of PostgreSQL's timestamps */
	const struct
	{
		const char *schedule;
		int zone;
		int64_t after;
		int64_t next;
		const char *what;
	} cases[] = {
		{"* * * * * *", BERLIN, year_end, year_end + 1000000, "every second, in the year 3000"},
		{"* * * * * *", UTC, year_end + 999999, year_end + 1000000, "fractions of a second"},
		{"* * * * * *", UTC, -1, 0, "fractions before 2000"},
		{"* * * * * *", UTC, -1000000, 0, "strictly after"},
		{"* * * * * *", UTC, last, BGJOB_CRON_NEVER, "the end of time"},
		{"* * * * * *", UTC, last - 1000000, last - 999999, "just before the end of time"},
		{"* * * * * *", UTC, INT64_MAX, BGJOB_CRON_NEVER, "infinity"},
		{"0 0 29 2 *", UTC, last - INT64_C(86400000000), BGJOB_CRON_NEVER,
		 "no occurrence after the end of time"},
		{"365 minutes", UTC, last - 1000000, BGJOB_CRON_NEVER,
		 "no interval goes on after the end of time"},
	};
	BgjobCron cron;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		parse(cases[i].schedule, BGJOB_DAY_ANY, &cron);
		is_number(bgjob_cron_next(&cron, &zones[cases[i].zone], cases[i].after), cases[i].next,
				  cases[i].what);
	}
	parse("* * * * * *", BGJOB_DAY_ANY, &cron);
	is_true(bgjob_cron_next(&cron, &zones[UTC], INT64_MIN) < micros(utc(1800, 1, 1, 0, 0, 0)),
			"minus infinity");
}

/* A zone with one change each half year, for ever: as rules without an end are. */
static int32_t
rule_offset(void *data, int64_t second, int64_t *change)
{
	int64_t half = 182 * DAY;
	int64_t past = second >= 0 ? second / half : -((-second + half - 1) / half);

	++*(int *) data;
	*change = (past + 1) * half;
	return past % 2 != 0 ? 7200 : 3600;
}

static void
test_effort(void)
{
	static const char *const hard[] = {"0 0 30 2 *",  "* * 31 2,4,6,9,11 *", "0 0 L-30 2 *",
									   "0 0 29 2 *",  "* * 29 2 *",          "0 0 31W 2 *",
									   "* 1 29 2 */7"};
	int asked = 0;
	BgjobZone zone = {rule_offset, &asked};
	BgjobCron cron;
	int months = 0;

	for (size_t i = 0; i < sizeof(hard) / sizeof(hard[0]); i++)
	{
		months = asked = 0;
		parse(hard[i], BGJOB_DAY_ALL, &cron);
		bgjob_cron_next_counted(&cron, &zone, micros(at("2072-03-01 00:00")), &months);
		is_true(months <= 4200, test_name("\"%s\": few months are looked at%s", hard[i], ""));
		is_true(asked <= 10, test_name("\"%s\": the zone is asked a few times%s", hard[i], ""));
	}
	months = 0;
	parse("0 0 15 * MON#1", BGJOB_DAY_ALL, &cron);
	is_number(bgjob_cron_next_counted(&cron, &zone, 0, &months), BGJOB_CRON_NEVER,
			  "impossible in every month");
	is_true(months <= 401 * 12, "each month of 400 years is looked at once");

	/* The zone's gap, one hour at 01:00 UTC… */
	months = asked = 0;
	parse("* * * * *", BGJOB_DAY_ALL, &cron);
	bgjob_cron_next_counted(&cron, &zone, 0, &months);
	is_true(asked <= 2 && months <= 2, "the ordinary case is two questions and one month");
	parse("0 2 * * *", BGJOB_DAY_ALL, &cron);
	months = asked = 0;
	bgjob_cron_next_counted(&cron, &zone, 0, &months);
	is_true(asked <= 2 && months <= 2, "also for a fixed time");
}

/* A zone whose clock leaves out 02:00 to 03:00 of each 31 March, for ever, and goes back on 31 October. */
static int32_t
march_offset(void *data, int64_t second, int64_t *change)
{
	static int64_t begins[2][3000];
	int year = 1970;

	if (begins[0][0] == 0)
		for (int i = 0; i < 3000; i++)
		{
			begins[0][i] = i == 0
							   ? utc(1970, 3, 31, 2, 0, 0)
							   : begins[0][i - 1] + (length_of_month(1970 + i, 2) + 337) * DAY;
			begins[1][i] = begins[0][i] + 214 * DAY;
		}
	++*(int *) data;
	while (year < 4969 && begins[0][year - 1969] <= second)
		year++;
	if (second < begins[0][year - 1970])
	{
		*change = begins[0][year - 1970];
		return 0;
	}
	*change = second < begins[1][year - 1970] ? begins[1][year - 1970] : begins[0][year - 1969];
	return second < begins[1][year - 1970] ? 3600 : 0;
}

static void
test_gap_for_ever(void)
{
	int asked = 0;
	BgjobZone zone = {march_offset, &asked};
	BgjobCron cron;

	parse("*/10 2 31 3 *", BGJOB_DAY_ANY, &cron);
	is_number(bgjob_cron_next(&cron, &zone, micros(at("2024-01-01 00:00"))),
			  micros(at("2024-03-31 02:00")),
			  "times that are in a gap every year happen at its end");
	is_true(asked < 5000, "which is known without asking for centuries");
	parse("30 2 31 3 *", BGJOB_DAY_ANY, &cron);
	is_number(bgjob_cron_next(&cron, &zone, micros(at("2024-01-01 00:00"))),
			  micros(at("2024-03-31 02:00")), "a fixed time happens at the gap's end");
}

/*
 * Descriptions
 */

/* No text of 500 characters can say more than this, which is read in parts and put together. */
static void
test_longest_description(void)
{
	BgjobCron cron;
	char *buffer = malloc(4 * BGJOB_CRON_DESCRIPTION_SIZE);
	size_t length;

	parse("1,2,4 1,2,4 1,2,4 1,2,4 1,2,4 1,2,4", BGJOB_DAY_ANY, &cron);
	cron.seconds = cron.minutes = ((UINT64_C(1) << 60) - 1) & ~UINT64_C(2);
	cron.hours = ((UINT64_C(1) << 24) - 1) & ~UINT64_C(2);
	cron.months = ((UINT64_C(1) << 13) - 2) & ~UINT64_C(4);
	cron.days = ((UINT64_C(1) << 32) - 2) & ~UINT64_C(4);
	cron.from_last = cron.nearest_from_last = (UINT64_C(1) << 31) - 1;
	cron.nearest = (UINT64_C(1) << 32) - 2;
	cron.weekdays = 0x7d;
	for (int n = 0; n < 5; n++)
		cron.nth[n] = 0x7f;
	cron.last = 0x7f;
	length = bgjob_cron_describe(&cron, buffer, 4 * BGJOB_CRON_DESCRIPTION_SIZE);
	if (!is_true(length < BGJOB_CRON_DESCRIPTION_SIZE && length > 1000,
				 "the longest description fits into what is promised"))
		printf("# %zu\n%s", length, buffer);
	free(buffer);
}

static void
test_descriptions(void)
{
	static const char *const cases[][2] = {
		{"*/15 * * * MON-FRI", "every 15 minutes, Monday to Friday"},
		{"30 2 * * *", "at 02:30"},
		{"0 9 L * *", "at 09:00 on the last day of the month"},
		{"* * * * * *", "every second"},
		{"*/5 9-17 * * *", "every 5 minutes between 09:00 and 17:59"},
		{"* * * * *", "every minute"},
		{"0 * * * *", "every hour"},
		{"30 * * * *", "every hour at minute 30"},
		{"15 0 * * * *", "every hour at minute 0, second 15"},
		{"0 */2 * * *", "every 2 hours"},
		{"30 */2 * * *", "every 2 hours at minute 30"},
		{"0 */5 * * *", "every 5 hours from 00:00 to 20:00"},
		{"30 8-18/2 * * *", "every 2 hours from 08:30 to 18:30"},
		{"0 9-17 * * *", "every hour from 09:00 to 17:00"},
		{"0 22-2 * * *", "every hour from 22:00 to 02:00"},
		{"0 9,17 * * *", "at 09:00 and 17:00"},
		{"0,30 9,17 * * *", "at 09:00, 09:30, 17:00 and 17:30"},
		{"15 30 2 * * *", "at 02:30:15"},
		{"*/30 * * * *", "every 30 minutes"},
		{"0,15,30 * * * *", "every 15 minutes from minute 0 to 30"},
		{"0,15,30 2 * * *", "at 02:00, 02:15 and 02:30"},
		{"5/15 * * * *", "every 15 minutes from minute 5 to 50"},
		{"*/7 * * * *", "every 7 minutes from minute 0 to 56"},
		{"10-40/3 * * * *", "every 3 minutes from minute 10 to 40"},
		{"10-20 * * * *", "every minute from minute 10 to 20"},
		{"50-10 * * * *", "every minute from minute 50 to 10"},
		{"1-5,10 * * * *", "at minutes 1, 2, 3, 4, 5 and 10 of every hour"},
		{"0,7 * * * *", "at minutes 0 and 7 of every hour"},
		{"1,4,9 8-10 * * *", "at minutes 1, 4 and 9 between 08:00 and 10:59"},
		{"*/15 */2 * * *",
		 "every 15 minutes in the hours 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20 and 22"},
		{"*/15 9,10,14 * * *", "every 15 minutes in the hours 9, 10 and 14"},
		{"*/10 2 * * *", "every 10 minutes between 02:00 and 02:59"},
		{"* 2 * * *", "every minute between 02:00 and 02:59"},
		{"* 9,10 * * *", "every minute between 09:00 and 10:59"},
		{"*/5 22-2 * * *", "every 5 minutes between 22:00 and 02:59"},
		{"*/10 * * * * *", "every 10 seconds"},
		{"0,30 * * * * *", "every 30 seconds"},
		{"15 * * * * *", "at second 15 of every minute"},
		{"15,45 * * * * *", "at seconds 15 and 45 of every minute"},
		{"0-5 * * * * *", "every second from second 0 to 5 of every minute"},
		{"* 5 * * * *", "every second in minute 5 of every hour"},
		{"5 */20 * * * *", "at second 5 in the minutes 0, 20 and 40 of every hour"},
		{"0-10 3-7 9 * * *",
		 "every second from second 0 to 10 in minutes 3 to 7 between 09:00 and 09:59"},
		{"*/10 */20 9-17 * * MON-FRI", "every 10 seconds in the minutes 0, 20 and 40 between "
									   "09:00 and 17:59, Monday to Friday"},
		{"0 0 1 * *", "at 00:00 on day 1 of the month"},
		{"0 0 1,15 * *", "at 00:00 on days 1 and 15 of the month"},
		{"0 0 10-20 * *", "at 00:00 on days 10 to 20 of the month"},
		{"0 0 28-3 * *", "at 00:00 on days 28 to 3 of the month"},
		{"0 0 */2 * *", "at 00:00 on every 2nd day from 1 to 31 of the month"},
		{"0 0 2-30/4 * *", "at 00:00 on every 4th day from 2 to 30 of the month"},
		{"0 0 1,15,L * *", "at 00:00 on days 1 and 15 and the last day of the month"},
		{"0 0 LW * *", "at 00:00 on the last weekday of the month"},
		{"0 0 15W * *", "at 00:00 on the weekday nearest to day 15 of the month"},
		{"0 0 1W,15W * *", "at 00:00 on the weekdays nearest to days 1 and 15 of the month"},
		{"0 0 L-3 * *", "at 00:00 on the 3rd day before the last day of the month"},
		{"0 0 L-1,L-2 * *",
		 "at 00:00 on the 1st and 2nd days before the last day of the month"},
		{"0 0 L-3W,L-21W * *", "at 00:00 on the weekdays nearest to the 3rd and 21st days "
							   "before the last day of the month"},
		{"0 0 * * MON", "at 00:00 on Monday"},
		{"0 0 * * MON,WED,FRI", "at 00:00 on Monday, Wednesday and Friday"},
		{"0 0 * * SUN,SAT", "at 00:00 on Saturday and Sunday"},
		{"0 0 * * FRI-MON", "at 00:00, Friday to Monday"},
		{"0 0 * * 5-7", "at 00:00, Friday to Sunday"},
		{"0 0 * * MON#2", "at 00:00 on the second Monday of the month"},
		{"0 0 * * MON#1,MON#3",
		 "at 00:00 on the first Monday and the third Monday of the month"},
		{"0 0 * * FRIL", "at 00:00 on the last Friday of the month"},
		{"0 0 * * SUN,MON#1,FRI#1,SUNL",
		 "at 00:00 on Sunday, the first Monday and Friday and the last Sunday of the month"},
		{"0 0 13 * FRI", "at 00:00 on day 13 of the month or on Friday"},
		{"0 0 */2 * MON",
		 "at 00:00 on every 2nd day from 1 to 31 of the month if it is Monday"},
		{"0 0 1-31 * 1-5", "at 00:00 on days 1 to 31 of the month or on Monday to Friday"},
		{"0 0 * 2 *", "at 00:00 in February"},
		{"0 0 * 1,7 *", "at 00:00 in January and July"},
		{"0 12 * 3-10 SAT,SUN", "at 12:00 on Saturday and Sunday, March to October"},
		{"0 0 1 1 *", "at 00:00 on day 1 of January"},
		{"0 0 1 */3 *", "at 00:00 on day 1 of January, April, July and October"},
		{"0 0 1 NOV-FEB *", "at 00:00 on day 1 of the month, November to February"},
		{"0 0 13 3 FRI", "at 00:00 on day 13 of March or on Friday in March"},
		{"0 0 13 3-5 FRI", "at 00:00 on day 13 of the month or on Friday, March to May"},
		{"0 0 L 2 MON#1", "at 00:00 on the last day of February or on the first Monday of the "
						  "month in February"},
		{"1 0 0 1,L,LW,3W,L-3,L-4W 1,3,5 1,3#3,5L",
		 "at 00:00:01 on day 1, the weekday nearest to day 3, the 3rd day before the last day, "
		 "the weekday nearest to the 4th day before the last day, the last weekday and the "
		 "last day of January, March and May or on Monday, the third Wednesday and the last "
		 "Friday of the month in January, March and May"},
		{"30 seconds", "every 30 seconds"},
		{"1 second", "every second"},
		{"5 minutes", "every 5 minutes"},
		{"60 seconds", "every minute"},
		{"90 minutes", "every 90 minutes"},
		{"2 hours", "every 2 hours"},
		{"24 hours", "every 24 hours"},
		{"8760 hours", "every 8760 hours"},
		{"@reboot", "when the server starts"},
		{"@hourly", "every hour"},
		{"@daily", "at 00:00"},
		{"@weekly", "at 00:00 on Sunday"},
		{"@yearly", "at 00:00 on day 1 of January"},
		{"@every_second", "every second"},
	};
	char buffer[BGJOB_CRON_DESCRIPTION_SIZE];
	BgjobCron cron;
	bool bounded = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		size_t length = 0;

		buffer[0] = '\0';
		if (parse(cases[i][0], BGJOB_DAY_ANY, &cron))
			length = bgjob_cron_describe(&cron, buffer, sizeof(buffer));
		if (!is_true(length == strlen(cases[i][1]) && strcmp(buffer, cases[i][1]) == 0,
					 test_name("\"%s\": %s", cases[i][0], cases[i][1])))
			printf("# have %s\n", buffer);
		for (size_t size = 0; size <= length + 1; size++)
		{
			char *small = malloc(size > 0 ? size : 1); /* so that the sanitizer sees its end */
			size_t written = bgjob_cron_describe(&cron, small, size);

			bounded = bounded &&
					  (size == 0 ? written == 0 : written < size && small[written] == '\0') &&
					  memcmp(small, buffer, written) == 0;
			free(small);
		}
	}
	is_true(bounded, "descriptions are cut where the buffer ends");
	test_longest_description();
	parse("0 0 13 * FRI", BGJOB_DAY_ALL, &cron);
	bgjob_cron_describe(&cron, buffer, sizeof(buffer));
	is_true(strcmp(buffer, "at 00:00 on day 13 of the month if it is Friday") == 0, buffer);
}

int
main(void)
{
	make_zones();
	test_equal();
	test_errors();
	test_length();
	test_flags();
	test_hash();
	test_calendar();
	test_daylight_saving();
	test_ends();
	test_effort();
	test_gap_for_ever();
	test_descriptions();
	return tap_end();
}
