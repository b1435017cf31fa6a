/*-------------------------------------------------------------------------
 *
 * pool.h
 *	  The workers of a database: how many, and for whom.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_POOL_H
#define BGJOB_PROCESS_POOL_H

#include "postgres.h"

#include "datatype/timestamp.h"

extern void bgjob_pool_init(void);
extern TimestampTz bgjob_pool_balance(TimestampTz now);
extern void bgjob_pool_yield(bool yield);
extern bool bgjob_pool_is_empty(bool *has_work);

#endif /* BGJOB_PROCESS_POOL_H */
