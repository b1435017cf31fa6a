/*-------------------------------------------------------------------------
 *
 * clock.c
 *	  What time it is: the one seam through which bgjob reads the clock.
 *
 * The default reads the system's clock, in PostgreSQL's reckoning. A test
 * replaces the pointer before it starts a scheduler; nothing else writes it.
 * The steady clock is the system's monotonic one, which cannot be set.
 *
 * Pure: no SPI, no shared memory, no errors; linked by the unit tests
 * without a server.
 *
 *-------------------------------------------------------------------------
 */
#include "rules/clock.h"

#include <time.h>

/* Seconds from 1970-01-01 to 2000-01-01. */
#define POSTGRES_EPOCH INT64_C(946684800)

static int64_t
system_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return ((int64_t) now.tv_sec - POSTGRES_EPOCH) * INT64_C(1000000) + now.tv_nsec / 1000;
}

int64_t (*bgjob_now)(void) = system_clock;

int64_t
bgjob_steady_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}
