/*-------------------------------------------------------------------------
 *
 * clock.c
 *	  Unit tests of rules/clock: the seam through which bgjob reads the time.
 *
 *-------------------------------------------------------------------------
 */
#include "rules/clock.h"
#include "tap.h"

#include <time.h>

static int64_t
an_hour_after_the_epoch(void)
{
	return INT64_C(3600000000);
}

int
main(void)
{
	int64_t before = ((int64_t) time(NULL) - 946684800) * 1000000;
	int64_t now = bgjob_now();
	int64_t after = ((int64_t) time(NULL) - 946684800 + 1) * 1000000;

	is_true(before <= now && now <= after,
			"it is the system's time, in microseconds since 2000");
	is_true(bgjob_now() >= now, "it does not go back");
	bgjob_now = an_hour_after_the_epoch;
	is_number(bgjob_now(), INT64_C(3600000000), "a test puts its own clock there");
	return tap_end();
}
