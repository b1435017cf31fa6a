/*-------------------------------------------------------------------------
 *
 * queue.h
 *	  What can run now.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_QUEUE_H
#define BGJOB_STORE_QUEUE_H

#include "postgres.h"

#include "store/job.h"

/* What became of an attempt to take a job out of the queue. */
typedef enum BgjobTaken
{
	BGJOB_TAKEN,     /* its row is deleted by this transaction: the job is the caller's */
	BGJOB_NOT_THERE, /* it is not in the queue */
	BGJOB_BUSY       /* somebody else is at it */
} BgjobTaken;

extern void bgjob_queue_insert(const BgjobJob *job);
extern void bgjob_queue_insert_many(BgjobBulk *bulk, const BgjobJob *job, int64 first,
									const ItemPointerData *tids, int n);
extern BgjobTaken
bgjob_queue_take(Oid role, const char *queue, int priority, int64 pos, TransactionId *holder);

extern bool bgjob_queue_has(Oid role, const char *queue, int priority, int64 pos);
extern int64 bgjob_queue_count_held_back(int64 *after, int max, bool *all);
extern int64 bgjob_queue_rebuild(void);
extern int bgjob_queue_jobs_of_role(Oid role, int64 *jobs, int max);

#endif /* BGJOB_STORE_QUEUE_H */
