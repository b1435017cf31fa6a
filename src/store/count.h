/*-------------------------------------------------------------------------
 *
 * count.h
 *	  The number of jobs in each state, and by role and queue.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_COUNT_H
#define BGJOB_STORE_COUNT_H

#include "postgres.h"

#include "base/registry.h"

extern bool bgjob_count_read(BgjobDatabase *entry, int64 *counts);
extern bool bgjob_count_is_small(void);
extern bool bgjob_count_tables(BgjobDatabase *entry, int64 *counts, bool (*stop)(void));
extern void bgjob_count_early(void);
extern bool bgjob_count_jobs(BgjobDatabase *entry, bool later, int64 *counts);

#endif /* BGJOB_STORE_COUNT_H */
