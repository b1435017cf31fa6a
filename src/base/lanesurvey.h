/*-------------------------------------------------------------------------
 *
 * lanesurvey.h
 *	  What the lanes tell about the jobs that wait.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_LANESURVEY_H
#define BGJOB_BASE_LANESURVEY_H

#include "postgres.h"

#include "base/lanegroup.h"

/* When a job's turn comes among the jobs of its role. */
typedef struct BgjobTurn
{
	int level; /* of its queue in bgjob.queues */
	int priority;
	int64 pos;
} BgjobTurn;

/* The state of a lane. */
typedef struct BgjobLaneCopy
{
	BgjobLaneKey key;
	int64 mark;
	bool more; /* there may be jobs from mark on */
	int nitems;
	BgjobLaneItem items[BGJOB_LANE_AHEAD];
} BgjobLaneCopy;

extern bool bgjob_turn_is_before(const BgjobTurn *a, const BgjobTurn *b);
extern BgjobLaneCopy *bgjob_lanes_copy(const BgjobLaneGroupKey *key, int *n, bool *all);

#endif /* BGJOB_BASE_LANESURVEY_H */
