/*-------------------------------------------------------------------------
 *
 * sweep.c
 *	  Finding jobs in the queue that have not been announced.
 *
 * Rows that were written by hand or by a prepared transaction, and all rows after
 * a start of the server, have not been announced. The scheduler discovers the
 * lanes that have rows in the queue, and sweeps each lane from its end
 * (base/lane.c). It takes small steps with pauses between them
 * (process/scheduler.c), so that neither 200,000 lanes nor millions of dead rows
 * delay its other work.
 *
 * By the scheduler. Inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "base/announce.h"
#include "base/lanes.h"
#include "miscadmin.h"
#include "store/lanescan.h"
#include "store/queuerow.h"
#include "store/relation.h"
#include "store/sweep.h"
#include "utils/fmgroids.h"

/* Number of lanes that the scheduler visits in one step. */
#define LANES_AT_A_TIME 100

/* The last lane that the scheduler has discovered; without a role: discovery is complete. */
static BgjobLanePlace discovered;
static bool discovering = false;
static bool missed = false; /* a lane whose group had no room */

/* bgjob_discover_anew makes bgjob_discover begin at the first lane. */
void
bgjob_discover_anew(void)
{
	memset(&discovered, 0, sizeof(discovered));
	discovering = true;
	missed = false;
}

/* bgjob_discover_is_done returns whether bgjob_discover has reached the last lane. */
bool
bgjob_discover_is_done(void)
{
	return !discovering;
}

/* bgjob_discover_has_missed returns whether a group had no room for a lane: discovery must be repeated. */
bool
bgjob_discover_has_missed(void)
{
	return missed;
}

/*
 * bgjob_discover makes sure that each row of the queue has a lane in shared
 * memory, or that the overflow of its group knows the lane. It goes on where it
 * stopped the last time, by LANES_AT_A_TIME; returns true at the end.
 */
bool
bgjob_discover(void)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_QUEUE);
	bool found = true;

	for (int i = 0; i < LANES_AT_A_TIME && found; i++)
	{
		CHECK_FOR_INTERRUPTS();
		found = bgjob_lanes_next(rel, &discovered);
		if (found && !bgjob_lane_ensure(&discovered.lane))
			missed = true;
	}
	bgjob_rel_close(rel);
	discovering = found;
	return !found;
}

/*
 * Scans a lane backwards from below a position, at most BGJOB_SCAN_AT_MOST rows.
 * Counts the jobs that are ready, and keeps the lowest of them, at most "max", in
 * the order of their positions. *reached is the last position that was read,
 * PG_INT64_MIN at the end.
 */
static int
sweep_lane(BgjobRel *rel, Relation index, const BgjobLaneKey *key, int64 below,
		   BgjobLaneItem *items, int max, int64 *reached)
{
	BgjobLaneScan scan;
	BgjobLaneItem item;
	int n = 0;

	bgjob_lanescan_begin(&scan, rel, index, key->group.role, key->number, BTLessStrategyNumber,
						 F_INT8LT, below);
	*reached = PG_INT64_MIN;
	while (*reached == PG_INT64_MIN && bgjob_lanescan_next(&scan, BackwardScanDirection))
	{
		CHECK_FOR_INTERRUPTS();
		if (bgjob_lanescan_item(&scan, key, &item))
		{
			memmove(items + 1, items, Min(n, max - 1) * sizeof(BgjobLaneItem));
			items[0] = item;
			n++;
		}
		if (scan.visited == BGJOB_SCAN_AT_MOST)
			*reached = scan.pos;
	}
	bgjob_lanescan_end(&scan);
	return n;
}

/*
 * bgjob_sweep takes a step of the sweep for jobs in the queue that have not been
 * announced (base/lane.c). By the scheduler. False: all lanes have been swept.
 */
bool
bgjob_sweep(void)
{
	BgjobLaneItem items[BGJOB_LANE_AHEAD];
	BgjobLaneKey key;
	BgjobRel *rel;
	Relation index;
	int64 below;
	int64 reached;
	int n;

	if (!bgjob_lanes_sweep_next(MyDatabaseId, &key, &below))
		return false;
	rel = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	index = index_open(bgjob_relation_oid(BGJOB_QUEUE_INDEX), AccessShareLock);
	n = sweep_lane(rel, index, &key, below, items, lengthof(items), &reached);
	index_close(index, AccessShareLock);
	bgjob_rel_close(rel);
	if (n > 0)
		bgjob_announce_again(&key, items, n, items[0].pos);
	bgjob_lane_swept(&key, below, reached);
	return true;
}

/*
 * bgjob_scan_unknown_lanes scans the queue for lanes of a database that have not been
 * scanned yet, and whose roles have no worker. By the scheduler. False if there are
 * more than it scans at a time.
 */
bool
bgjob_scan_unknown_lanes(Oid database)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_QUEUE);
	BgjobLaneKey keys[LANES_AT_A_TIME];
	BgjobLaneItem items[BGJOB_LANE_AHEAD];
	int n = bgjob_lanes_unknown(database, keys, LANES_AT_A_TIME);

	for (int i = 0; i < n; i++)
	{
		(void) bgjob_lane_refill(rel, &keys[i], items, 0, NULL);
		CHECK_FOR_INTERRUPTS();
	}
	bgjob_rel_close(rel);
	return bgjob_lanes_unknown(database, keys, 1) == 0;
}
