/*-------------------------------------------------------------------------
 *
 * lanescan.h
 *	  Scans of the queue: along a lane, and from lane to lane.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_LANESCAN_H
#define BGJOB_STORE_LANESCAN_H

#include "postgres.h"

#include "access/relscan.h"
#include "base/lanegroup.h"
#include "store/relation.h"

/* Maximal number of index entries that one scan reads. */
#define BGJOB_SCAN_AT_MOST 5000

/* A scan along a lane; it visits dead rows too, whose positions are in the index. */
typedef struct BgjobLaneScan
{
	BgjobRel *rel;
	Snapshot snapshot;
	bool external;    /* external workers take from the lane */
	int64 *in_flight; /* NULL if they do */
	int nin_flight;
	IndexScanDesc scan;
	int64 pos;   /* of the current row */
	int visited; /* number of rows */
} BgjobLaneScan;

/*
 * Where a lane is in the index. "number" is that of its first row, not the one
 * computed from queue and priority. If the row was written by hand, the two may
 * differ, and the computed number would lead back to the same row or past others.
 */
typedef struct BgjobLanePlace
{
	BgjobLaneKey lane;
	int64 number;
} BgjobLanePlace;

extern void
bgjob_lanescan_begin(BgjobLaneScan *scan, BgjobRel *rel, Relation index, Oid role, int64 lane,
					 StrategyNumber strategy, RegProcedure compare, int64 pos);
extern bool bgjob_lanescan_next(BgjobLaneScan *scan, ScanDirection direction);
extern bool
bgjob_lanescan_item(BgjobLaneScan *scan, const BgjobLaneKey *key, BgjobLaneItem *item);
extern void bgjob_lanescan_end(BgjobLaneScan *scan);

extern bool bgjob_lanes_next(BgjobRel *rel, BgjobLanePlace *place);
extern bool bgjob_lanes_from(BgjobRel *rel, Oid role, int64 number, BgjobLanePlace *place);

extern int bgjob_lane_refill(BgjobRel *rel, const BgjobLaneKey *key, BgjobLaneItem *items,
							 int wanted, void (*name)(const BgjobLaneItem *items, int n));
extern bool bgjob_lane_bring_own_in(BgjobRel *rel, const BgjobLaneGroupKey *key,
									const char *queues, BgjobLaneTakes takes, int64 *number);
extern void bgjob_lane_bring_in(BgjobRel *rel, const BgjobLaneGroupKey *key);

#endif /* BGJOB_STORE_LANESCAN_H */
