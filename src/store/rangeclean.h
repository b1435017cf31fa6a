/*-------------------------------------------------------------------------
 *
 * rangeclean.h
 *	  Computing the map of jobs (base/jobmap.h) from their rows.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_RANGECLEAN_H
#define BGJOB_STORE_RANGECLEAN_H

#include "postgres.h"

#include "store/relation.h"

extern bool bgjob_ranges_settle(BgjobRel *jobs);
extern bool bgjob_range_clean(BgjobRel *jobs, Relation index, int64 range, bool wait);
extern uint64 bgjob_full_transaction(TransactionId xid);
extern bool bgjob_ranges_clean_some(int64 *from, int max, bool wait);

#endif /* BGJOB_STORE_RANGECLEAN_H */
