/*-------------------------------------------------------------------------
 *
 * queuerow.h
 *	  The rows of bgjob_internal.queue and of its index.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_QUEUEROW_H
#define BGJOB_STORE_QUEUEROW_H

#include "postgres.h"

#include "access/skey.h"
#include "base/lane.h"
#include "executor/tuptable.h"

#define BGJOB_QUEUE_INDEX "queue_pkey"

/* Columns of bgjob_internal.queue. */
enum
{
	BGJOB_Q_LANE = 1,
	BGJOB_Q_POS,
	BGJOB_Q_ROLE,
	BGJOB_Q_TID,
	BGJOB_Q_JOB,
	BGJOB_Q_QUEUE,
	BGJOB_Q_PRIORITY,
	BGJOB_Q_COUNT = BGJOB_Q_PRIORITY
};

/* Columns of its index. */
enum
{
	BGJOB_QI_ROLE = 1,
	BGJOB_QI_LANE,
	BGJOB_QI_POS
};

extern void bgjob_queue_keys(ScanKey keys, Oid role, int64 lane, StrategyNumber strategy,
							 RegProcedure compare, int64 pos);
extern void bgjob_queue_row_lane(TupleTableSlot *slot, BgjobLaneKey *key);
extern bool bgjob_queue_row_is_of(TupleTableSlot *slot, const BgjobLaneKey *key);
extern int64 bgjob_queue_row_job(TupleTableSlot *slot);

#endif /* BGJOB_STORE_QUEUEROW_H */
