/*-------------------------------------------------------------------------
 *
 * policy.h
 *	  What happens to failed jobs: the policies of functions, and the delays before retries.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_POLICY_H
#define BGJOB_RUN_POLICY_H

#include "postgres.h"

#include "utils/array.h"
#include "utils/jsonb.h"

/* The most elements of retry_delays. */
#define BGJOB_MOST_RETRY_DELAYS 100

extern void bgjob_policy_check_delays(ArrayType *delays);
extern const Jsonb *
bgjob_policy_make(ArrayType *delays, ArrayType *retry_on, ArrayType *no_retry_on, bool deletes);
extern bool bgjob_policy_may_retry(const Jsonb *policy, int sqlerrcode);
extern int64 bgjob_policy_delay(const Jsonb *policy, int retry);
extern int64 bgjob_policy_own_delay(ArrayType *delays, int retry);
extern bool bgjob_policy_deletes(const Jsonb *policy);

#endif /* BGJOB_RUN_POLICY_H */
