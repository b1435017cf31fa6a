/*-------------------------------------------------------------------------
 *
 * lanes.h
 *	  Telling the lanes what is ready, scanning for them, surveying them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_LANES_H
#define BGJOB_BASE_LANES_H

#include "postgres.h"

#include "base/lanegroup.h"

extern int64
bgjob_lane_announce(const BgjobLaneKey *key, const BgjobLaneItem *first, int64 count);
extern void bgjob_lane_announce_all(const BgjobLaneGroupKey *key);
extern void
bgjob_lane_give_back(const BgjobLaneKey *key, int64 lowest, int64 count, bool singly);
extern void bgjob_lane_offer(const BgjobLaneKey *key, const BgjobLaneItem *item);
extern bool bgjob_lane_ensure(const BgjobLaneKey *key);

extern BgjobLane *bgjob_lane_scan_begin(const BgjobLaneKey *key, int64 *start);
extern BgjobLane *bgjob_overflow_scan_begin(const BgjobLaneGroupKey *key, int64 *start);
extern void bgjob_lane_scan_end(BgjobLane *lane, const BgjobLaneItem *items, int nitems,
								int64 next, bool more);
extern void bgjob_lane_scan_abort(BgjobLane *lane);

/* What a scheduler wants to know: for each role how much is ready in the queues that the same servers take. */
typedef struct BgjobDemand
{
	Oid role;
	uint64 servers; /* a set of bits */
	int64 ready;    /* estimate; at least 1 if there is anything to scan for */
} BgjobDemand;

typedef uint64 (*BgjobLaneServers)(const BgjobLaneKey *key, void *arg);

extern BgjobDemand *
bgjob_lanes_demand(Oid database, BgjobLaneServers servers_of, void *arg, int *n);
extern int bgjob_lanes_unknown(Oid database, BgjobLaneKey *keys, int max);
extern void bgjob_lanes_sweep_anew(Oid database);
extern bool bgjob_lanes_sweep_next(Oid database, BgjobLaneKey *key, int64 *below);

/* From which position on a lane has jobs that no worker has taken, as far as is known. */
typedef struct BgjobLaneStart
{
	Oid role;
	int64 number;
	int64 pos;
} BgjobLaneStart;

extern BgjobLaneStart *bgjob_lanes_starts(Oid database, int *n);
extern void bgjob_lane_swept(const BgjobLaneKey *key, int64 from, int64 to);

#endif /* BGJOB_BASE_LANES_H */
