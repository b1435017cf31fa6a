/*-------------------------------------------------------------------------
 *
 * behind.h
 *	  Which jobs a role's workers take before a given one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_BEHIND_H
#define BGJOB_STORE_BEHIND_H

#include "postgres.h"

#include "base/lanesurvey.h"
#include "store/jobrow.h"
#include "store/queueconf.h"

typedef struct BgjobBehind
{
	int64 jobs;
	bool all; /* they are all that there are; else there may be more */
} BgjobBehind;

extern BgjobBehind bgjob_behind(const BgjobJob *job, const char *list,
								const BgjobPausedQueues *paused, int64 most);
extern bool
bgjob_first_turn(Oid role, const char *list, const BgjobPausedQueues *paused, BgjobTurn *first);

#endif /* BGJOB_STORE_BEHIND_H */
