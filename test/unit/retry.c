/*-------------------------------------------------------------------------
 *
 * retry.c
 *	  Unit tests of rules/retry: the default back-off.
 *
 * The rule is (n-1)^4 + 15 + random * n seconds before retry n, random being
 * 0 to 29. The numbers below were worked out by hand.
 *
 *-------------------------------------------------------------------------
 */
#include "rules/retry.h"
#include "tap.h"

#include <limits.h>

int
main(void)
{
	bool grows = true;

	is_number(BGJOB_RETRY_SPREAD, 30, "the random number is one of 30");
	is_number(bgjob_retry_delay(1, 0), 15, "first retry, at least 15 s");
	is_number(bgjob_retry_delay(1, 29), 44, "first retry, at most 44 s");
	is_number(bgjob_retry_delay(2, 0), 16, "second retry: 1 + 15");
	is_number(bgjob_retry_delay(2, 29), 74, "second retry: 1 + 15 + 58");
	is_number(bgjob_retry_delay(3, 10), 61, "third retry: 16 + 15 + 30");
	is_number(bgjob_retry_delay(10, 0), 6576, "tenth retry: 6561 + 15");
	is_number(bgjob_retry_delay(10, 29), 6866, "tenth retry, at most 6866 s");

	for (int retry = 1; retry < 200; retry++)
		grows = grows && bgjob_retry_delay(retry, 0) < bgjob_retry_delay(retry + 1, 0) &&
				bgjob_retry_delay(retry, 0) <= bgjob_retry_delay(retry, BGJOB_RETRY_SPREAD - 1);
	is_true(grows || bgjob_retry_delay(200, 0) == BGJOB_RETRY_DELAY_MAX,
			"it grows until its limit");

	is_number(bgjob_retry_delay(132, 0), 294499936, "the last one below the limit is exact");
	is_number(bgjob_retry_delay(135, 0), BGJOB_RETRY_DELAY_MAX, "then it stays at ten years");
	is_number(bgjob_retry_delay(65537, 29), BGJOB_RETRY_DELAY_MAX, "no overflow at 2^64");
	is_number(bgjob_retry_delay(INT_MAX, 29), BGJOB_RETRY_DELAY_MAX,
			  "no overflow at the largest number");
	is_number(bgjob_retry_delay(0, 0), 15, "retry 0 is treated as the first");
	return tap_end();
}
