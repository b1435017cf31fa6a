/*-------------------------------------------------------------------------
 *
 * retry.c
 *	  When a failed job is tried again.
 *
 * The default back-off grows with the fourth power of the number of the
 * retry, so that a short disturbance is over by the second or third and ten
 * retries span some seven hours; the random part grows along, so that jobs
 * that failed together do not come back together.
 *
 * Pure: no SPI, no shared memory, no allocation, no errors; linked by the
 * unit tests without a server.
 *
 *-------------------------------------------------------------------------
 */
#include "rules/retry.h"

/* bgjob_retry_delay returns the seconds to wait before retry number "retry". */
int64_t
bgjob_retry_delay(int retry, int random)
{
	int64_t past = retry > 1 ? retry - 1 : 0;
	int64_t delay;

	if (past > 10000) /* its fourth power would overflow */
		return BGJOB_RETRY_DELAY_MAX;

	delay = past * past * past * past + 15 + (int64_t) random * (past + 1);
	return delay < BGJOB_RETRY_DELAY_MAX ? delay : BGJOB_RETRY_DELAY_MAX;
}
