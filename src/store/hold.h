/*-------------------------------------------------------------------------
 *
 * hold.h
 *	  Locking a job that no worker has.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_HOLD_H
#define BGJOB_STORE_HOLD_H

#include "postgres.h"

#include "store/jobrow.h"

extern bool bgjob_hold_take(BgjobRel *jobs, BgjobJob *job, TransactionId *holder);
extern bool bgjob_hold_try(BgjobRel *jobs, BgjobJob *job);
extern void bgjob_hold_wait(int64 id, TransactionId holder);

#endif /* BGJOB_STORE_HOLD_H */
