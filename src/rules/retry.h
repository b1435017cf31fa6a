/*-------------------------------------------------------------------------
 *
 * retry.h
 *	  When a failed job is tried again.
 *
 * Pure: no SPI, no shared memory; the caller brings the randomness. Any
 * process may call it, and the unit tests link it without a server.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RULES_RETRY_H
#define BGJOB_RULES_RETRY_H

#include <stdbool.h>
#include <stdint.h>

/* The random part is drawn from 0 … BGJOB_RETRY_SPREAD - 1. */
#define BGJOB_RETRY_SPREAD 30

/*
 * bgjob_retry_delay returns the seconds to wait before retry "retry" (1 is
 * the first), given a random number from 0 to BGJOB_RETRY_SPREAD - 1:
 * (retry - 1)^4 + 15 + random * retry, the rule of Hangfire and of Sidekiq
 * before it. It never exceeds BGJOB_RETRY_DELAY_MAX.
 */
extern int64_t bgjob_retry_delay(int retry, int random);

/* Ten years, in seconds: the longest delay. */
#define BGJOB_RETRY_DELAY_MAX INT64_C(315360000)

#endif /* BGJOB_RULES_RETRY_H */
