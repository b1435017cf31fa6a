/*-------------------------------------------------------------------------
 *
 * queue.h
 *	  The queue: jobs that can run now.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_QUEUE_H
#define BGJOB_STORE_QUEUE_H

#include "postgres.h"

#include "base/lane.h"
#include "store/bulk.h"
#include "store/jobrow.h"
#include "store/taken.h"

extern void bgjob_queue_insert(const BgjobJob *job);
extern void bgjob_queue_insert_many(BgjobBulk *bulk, const BgjobJob *job, int64 first,
									const ItemPointerData *tids, int n);
extern void bgjob_queue_lane(const BgjobJob *job, BgjobLaneKey *lane);
extern BgjobTaken bgjob_queue_take(const BgjobLaneKey *lane, int64 pos, TransactionId *holder);

extern bool bgjob_queue_holds(const BgjobJob *job);
extern bool bgjob_queue_has(const BgjobLaneKey *lane, int64 pos);
extern int bgjob_queue_jobs_of_role(Oid role, int64 *jobs, int max);

#endif /* BGJOB_STORE_QUEUE_H */
