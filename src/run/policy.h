/*-------------------------------------------------------------------------
 *
 * policy.h
 *	  The policy of a function for its failed jobs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_POLICY_H
#define BGJOB_RUN_POLICY_H

#include "postgres.h"

#include "utils/jsonb.h"

extern const Jsonb *
bgjob_policy_make(ArrayType *delays, ArrayType *retry_on, ArrayType *no_retry_on, bool deletes);
extern bool bgjob_policy_may_retry(const Jsonb *policy, int sqlerrcode);
extern int64 bgjob_policy_delay(const Jsonb *policy, int retry);
extern bool bgjob_policy_deletes(const Jsonb *policy);

#endif /* BGJOB_RUN_POLICY_H */
