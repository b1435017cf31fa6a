/*-------------------------------------------------------------------------
 *
 * claim.h
 *	  Claiming jobs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_CLAIM_H
#define BGJOB_STORE_CLAIM_H

#include "postgres.h"

#include "base/lane.h"
#include "store/jobrow.h"

/* Returns whether a job may be performed in one transaction with others. */
typedef bool (*BgjobFits)(const BgjobJob *job);

extern bool bgjob_claim_item(BgjobRel *rel, BgjobRel *jobs, const BgjobLaneKey *key,
							 const BgjobLaneItem *item, BgjobJob *job);
extern void bgjob_claim_init(void);
extern bool bgjob_claim_has_work(void);
extern bool bgjob_claim(BgjobRel *jobs, BgjobJob *job, bool *group);
extern bool bgjob_claim_next(BgjobRel *jobs, BgjobJob *job, BgjobFits fits);
extern bool bgjob_claim_begin_chunk(int size);
extern bool
bgjob_claim_company(BgjobRel *jobs, int n, int wanted, BgjobJob *job, BgjobFits fits);
extern void bgjob_claim_end_company(bool alone);
extern void bgjob_claim_no_chunk(void);
extern void bgjob_claim_give_back(void);

#endif /* BGJOB_STORE_CLAIM_H */
