/*-------------------------------------------------------------------------
 *
 * options.c
 *	  Unit tests of client/options and client/loop's timers: values on the command
 *	  line; the order in which timers are due.
 *
 *-------------------------------------------------------------------------
 */
#include "client/loop.h"
#include "client/options.h"
#include "tap.h"

#include <stdlib.h>
#include <string.h>

#define TIMERS 500

static void
is_duration(const char *text, int64_t expected)
{
	int64_t value = -1;

	if (!option_duration(text, &value))
		value = -1;
	is_number(value, expected, text);
}

static void
check_durations(void)
{
	is_duration("300", 300000000);
	is_duration("5min", 300000000);
	is_duration("5 min", 300000000);
	is_duration("1.5 h", INT64_C(5400000000));
	is_duration("20ms", 20000);
	is_duration("7us", 7);
	is_duration("1d", INT64_C(86400000000));
	is_duration("0", 0);
	is_duration("-1", -1);
	is_duration("", -1);
	is_duration("s", -1);
	is_duration("5 weeks", -1);
	is_duration("1e300", -1);
	is_duration("nan", -1);
	is_duration("inf", -1);
	is_duration("5s ", -1);
}

static void
check_others(void)
{
	int64_t bytes = 0;
	int number = 0;
	char **list = option_list(" a, b ,c");

	is_true(option_bytes("64kB", &bytes) && bytes == 65536, "a size");
	is_true(!option_bytes("64kb", &bytes), "units are case-sensitive, as in postgresql.conf");
	is_true(option_int("7", 1, 10, &number) && number == 7, "a number");
	is_true(!option_int("11", 1, 10, &number) && !option_int("7x", 1, 10, &number) &&
				!option_int("", 1, 10, &number),
			"numbers that are none, or too large");
	is_true(strcmp(list[0], "a") == 0 && strcmp(list[1], "b") == 0 &&
				strcmp(list[2], "c") == 0 && list[3] == NULL,
			"a list without its spaces");
	option_list_free(list);
	is_true(option_list("a,,b") == NULL && option_list("") == NULL,
			"empty elements are refused");
}

static int64_t last_at = 0;
static int due_count = 0;
static bool in_order = true;

static void
note_due(LoopTimer *timer)
{
	in_order = in_order && timer->at >= last_at;
	last_at = timer->at;
	due_count++;
}

/* check_timers sets, moves and unsets timers at random; those that are left are due in order. */
static void
check_timers(void)
{
	static LoopTimer timers[TIMERS];
	int set = 0;
	int64_t start = loop_now();

	srand(1);
	for (int i = 0; i < 20 * TIMERS; i++)
	{
		LoopTimer *timer = &timers[rand() % TIMERS];

		if (rand() % 3 == 0)
			loop_unset(timer);
		else
			loop_set(timer, start - rand() % 1000, note_due, NULL);
	}
	for (int i = 0; i < TIMERS; i++)
		set += timers[i].place > 0;
	loop_turn();
	is_number(due_count, set, "every timer that is set is due once");
	is_true(in_order, "in the order of their times");
	loop_free();
}

int
main(void)
{
	check_durations();
	check_others();
	check_timers();
	return tap_end();
}
