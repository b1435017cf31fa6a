/*-------------------------------------------------------------------------
 *
 * policy.h
 *	  The policies of functions: what happens to failed jobs, the delays before retries, chunks.
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
/* What a policy is made of; zero: not given. */
typedef struct BgjobPolicyParts
{
	ArrayType *delays; /* intervals, which have been checked */
	ArrayType *retry_on;
	ArrayType *no_retry_on;
	bool deletes;     /* jobs without retries left are deleted, rather than failed */
	int chunk_size;   /* of run/chunk.c */
	int64 chunk_wait; /* in microseconds */
} BgjobPolicyParts;

extern const Jsonb *bgjob_policy_make(const BgjobPolicyParts *parts);
extern bool bgjob_policy_may_retry(const Jsonb *policy, int sqlerrcode);
extern int64 bgjob_policy_delay(const Jsonb *policy, int retry);
extern int64 bgjob_policy_own_delay(ArrayType *delays, int retry);
extern bool bgjob_policy_deletes(const Jsonb *policy);
extern int bgjob_policy_chunk_size(const Jsonb *policy);
extern int64 bgjob_policy_chunk_wait(const Jsonb *policy);

#endif /* BGJOB_RUN_POLICY_H */
