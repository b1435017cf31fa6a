/*-------------------------------------------------------------------------
 *
 * unique.h
 *	  One job at a time for a key.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_UNIQUE_H
#define BGJOB_STORE_UNIQUE_H

#include "postgres.h"

#include "store/jobrow.h"

/* Longest key, in bytes. */
#define BGJOB_UNIQUE_KEY_MAX 1000

extern int64 bgjob_unique_enter(const BgjobJob *job, bool wait);
extern bool bgjob_unique_take_over(const BgjobJob *job, int64 other, TransactionId *holder);
extern void bgjob_unique_refuse(const BgjobJob *job, int64 other);
extern int64 bgjob_unique_try_reenter(const BgjobJob *job);
extern void bgjob_unique_reenter(const BgjobJob *job);
extern void bgjob_unique_leave(const BgjobJob *job);

#endif /* BGJOB_STORE_UNIQUE_H */
