/*-------------------------------------------------------------------------
 *
 * tap.h
 *	  The functions with which a unit test prints TAP.
 *
 * A test program calls is_true() and is_number() and ends with
 * "return tap_end();", which prints the plan.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_TEST_TAP_H
#define BGJOB_TEST_TAP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

static int tap_tests;
static int tap_failures;

/* is_true says whether a condition holds, and returns it. */
static inline bool
is_true(bool condition, const char *what)
{
	tap_failures += condition ? 0 : 1;
	printf("%s %d - %s\n", condition ? "ok" : "not ok", ++tap_tests, what);
	return condition;
}

/* is_number compares two numbers. */
static inline bool
is_number(int64_t have, int64_t want, const char *what)
{
	bool same = is_true(have == want, what);

	if (!same)
		printf("# have %lld, want %lld\n", (long long) have, (long long) want);
	return same;
}

/* tap_end prints the plan and returns the program's exit status. */
static inline int
tap_end(void)
{
	printf("1..%d\n", tap_tests);
	return tap_failures > 0;
}

#endif /* BGJOB_TEST_TAP_H */
