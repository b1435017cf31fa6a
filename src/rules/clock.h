/*-------------------------------------------------------------------------
 *
 * clock.h
 *	  What time it is: the one seam through which bgjob reads the clock.
 *
 * Everything that decides by the time (due jobs, back-off, retention) asks
 * bgjob_now(); a test may put another function there and have hours pass in
 * a microsecond.
 *
 * How long something lasts, and until when to wait, is measured by
 * bgjob_steady_now() instead: the clock may be set at any time, to any time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RULES_CLOCK_H
#define BGJOB_RULES_CLOCK_H

#include <stdint.h>

/* Microseconds since 2000-01-01 00:00 UTC, as PostgreSQL's TimestampTz. */
extern int64_t (*bgjob_now)(void);

/* Microseconds since some time before; they go on whatever the clock is set to. The same in all processes. */
extern int64_t bgjob_steady_now(void);

#endif /* BGJOB_RULES_CLOCK_H */
