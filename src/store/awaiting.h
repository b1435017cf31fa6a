/*-------------------------------------------------------------------------
 *
 * awaiting.h
 *	  Jobs that await others, a batch or signals.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_AWAITING_H
#define BGJOB_STORE_AWAITING_H

#include "postgres.h"

#include "store/prerequisite.h"
#include "store/taken.h"

/* A row of bgjob_internal.awaiting, without the queue. */
typedef struct BgjobAwaiting
{
	int64 job;
	Oid role; /* that the job runs as */
	int prerequisites;
	BgjobCondition condition;
	TimestampTz deadline; /* DT_NOEND: none */
	ItemPointerData tid;
	ItemPointerData job_tid; /* where the row of the job was: a hint */
	bool behind_batch;       /* it awaits a batch, directly or over others */
} BgjobAwaiting;

extern TimestampTz bgjob_awaiting_deadline(const BgjobJob *job);
extern void bgjob_awaiting_insert(const BgjobJob *job);
extern void bgjob_awaiting_insert_many(const BgjobJob *job, int64 first,
									   const ItemPointerData *tids, int n);
extern BgjobTaken bgjob_awaiting_take(int64 job, TransactionId *holder);
extern bool bgjob_awaiting_take_found(BgjobRel *rel, BgjobAwaiting *row);
extern bool bgjob_awaiting_find_in(BgjobRel *rel, int64 job, BgjobAwaiting *row);
extern bool bgjob_awaiting_find(int64 job, BgjobAwaiting *row);
extern int bgjob_awaiting_after(int64 after, int64 *jobs, int max);
extern int bgjob_awaiting_overdue(TimestampTz now, int64 *jobs, int max, TimestampTz *next);

#endif /* BGJOB_STORE_AWAITING_H */
