/*-------------------------------------------------------------------------
 *
 * pool.h
 *	  The workers of a database: how many, for whom, and what becomes of
 *	  their jobs when they are lost.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_POOL_H
#define BGJOB_PROCESS_POOL_H

#include "postgres.h"

#include "datatype/timestamp.h"

extern void bgjob_pool_init(void);
extern TimestampTz bgjob_pool_reap(TimestampTz now);
extern TimestampTz bgjob_pool_balance(TimestampTz now);
extern void bgjob_pool_yield(bool yield);
extern bool bgjob_pool_is_empty(bool *has_work);
extern void bgjob_pool_take_back(void);
extern void bgjob_pool_end_terminated(void);
extern TimestampTz bgjob_pool_end_stubborn(TimestampTz now);
extern void bgjob_pool_drain(const char *database, int grace_ms, BgjobInterruption why);

#endif /* BGJOB_PROCESS_POOL_H */
