/*-------------------------------------------------------------------------
 *
 * acquire.h
 *	  Locking a job that no worker has.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_ACQUIRE_H
#define BGJOB_STORE_ACQUIRE_H

#include "postgres.h"

#include "store/jobrow.h"

extern bool bgjob_job_acquire(BgjobRel *jobs, BgjobJob *job, TransactionId *holder);
extern bool
bgjob_job_acquire_there(BgjobRel *jobs, BgjobJob *job, TransactionId *holder, bool *there);
extern bool bgjob_job_try_acquire(BgjobRel *jobs, BgjobJob *job);
extern void bgjob_job_wait_for_holder(int64 id, TransactionId holder);

#endif /* BGJOB_STORE_ACQUIRE_H */
