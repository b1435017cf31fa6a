/*-------------------------------------------------------------------------
 *
 * cycle.h
 *	  Whether a job of a batch would await itself.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_CYCLE_H
#define BGJOB_STORE_CYCLE_H

#include "postgres.h"

#include "store/prerequisite.h"

/* So many jobs are searched at most. */
#define BGJOB_CYCLE_SEARCH_MAX 100000

typedef enum BgjobCycleFound
{
	BGJOB_NO_CYCLE,
	BGJOB_CYCLE,
	BGJOB_CYCLE_UNKNOWN /* there are too many jobs to search */
} BgjobCycleFound;

/* What a cycle leads over. */
typedef struct BgjobCycle
{
	int64 batch;   /* that the job is in */
	int64 by;      /* a job that awaits it, and that the job awaits, directly or over others */
	bool searched; /* there could have been one */
} BgjobCycle;

extern BgjobCycleFound bgjob_cycle_find(BgjobRel *jobs, int64 self, int64 batch,
										const BgjobPrerequisites *all, BgjobCycle *cycle);
extern void bgjob_cycle_check(int64 id);

#endif /* BGJOB_STORE_CYCLE_H */
