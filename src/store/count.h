/*-------------------------------------------------------------------------
 *
 * count.h
 *	  The number of jobs in each state.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_COUNT_H
#define BGJOB_STORE_COUNT_H

#include "postgres.h"

#include "base/registry.h"

extern bool bgjob_count_read(BgjobDatabase *entry, int64 *counts);
extern void bgjob_count_jobs(BgjobDatabase *entry, int64 *counts);

#endif /* BGJOB_STORE_COUNT_H */
