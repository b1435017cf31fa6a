/*-------------------------------------------------------------------------
 *
 * waiters.h
 *	  Sessions that wait for a job to end.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_WAITERS_H
#define BGJOB_BASE_WAITERS_H

#include "postgres.h"

extern Size bgjob_waiters_size(void);
extern void bgjob_waiters_startup(void);
extern void bgjob_waiters_prepare(int64 job);
extern bool bgjob_waiters_sleep(int64 job, long timeout_ms);
extern void bgjob_waiters_leave(void);
extern void bgjob_waiters_wake(int64 job);
extern void bgjob_waiters_wake_all(void);

#endif /* BGJOB_BASE_WAITERS_H */
