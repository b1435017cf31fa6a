/*-------------------------------------------------------------------------
 *
 * lane.h
 *	  The cursors through the queues, in shared memory.
 *
 * A lane is what is ready in one database for one role in one queue at one
 * priority: a first-in, first-out line. Its cursor says from which place on
 * bgjob.queue must be looked at ("mark"), and holds the next few jobs that
 * the last look has found. That keeps the cost of a claim flat: no worker
 * ever looks at the rows of jobs that are done, however many dead ones a
 * held snapshot keeps there.
 *
 * The rows of bgjob.queue are the truth; lanes only say where to look. What
 * becomes ready behind a mark is announced by whoever knows of it, with its
 * place, so that no mark goes back. What nobody knows of (a row that was written
 * by hand, a transaction that was prepared) is found by the scheduler, which
 * sweeps the queue a little at a time. Lanes may be lost at any time (crash,
 * eviction) and are then filled anew. There is room for a fixed number of them;
 * who has the most makes room for others, so a role with thousands of queues is
 * in nobody's way but its own.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_LANE_H
#define BGJOB_BASE_LANE_H

#include "postgres.h"

#include "base/queues.h"
#include "base/registry.h"
#include "storage/itemptr.h"
#include "storage/lwlock.h"

/* As many lanes as ordinary use will ever see. */
#define BGJOB_LANES 2048

/* How many jobs a look into the queue takes along. */
#define BGJOB_LANE_AHEAD 32

typedef struct BgjobLaneKey
{
	Oid database;
	Oid role;
	int32 priority;
	char queue[BGJOB_QUEUE_NAME_SIZE]; /* zero-filled */
} BgjobLaneKey;

/* A row of bgjob.queue that was ready when it was looked at, or announced. Without a tid: just a place. */
typedef struct BgjobLaneItem
{
	int64 pos;
	int64 job;
	ItemPointerData tid;
} BgjobLaneItem;

typedef struct BgjobLane
{
	BgjobLaneKey key; /* must be first */
	LWLock scan_lock; /* held by the worker that is looking into the queue */
	LWLock mutex;
	/* under mutex */
	int64 mark;    /* nothing that can be claimed lies below, but for "late" */
	int64 late;    /* lowest place announced since the running look began */
	bool more;     /* there may be something from mark on */
	int singly;    /* so many of the next are not to be taken in groups: one has failed */
	int64 backlog; /* about how many are ready: announced less taken */
	int64 sweep;   /* what lies below has still to be swept; PG_INT64_MIN: nothing */
	int head;      /* items[head] is the next one */
	int nitems;
	BgjobLaneItem items[BGJOB_LANE_AHEAD];
	int users; /* looks that are under way; changed with the lane lock held, too, shared */
} BgjobLane;

/* What bgjob_lane_take found. */
typedef enum BgjobTake
{
	BGJOB_TAKE_NONE,  /* there is nothing for this worker */
	BGJOB_TAKE_ITEMS, /* there are items; they are in flight in this worker's slot */
	BGJOB_TAKE_REFILL /* look into the queue for the lane, then ask again */
} BgjobTake;

/* What bgjob_lane_take has taken, or asks to be looked into. */
typedef struct BgjobTaking
{
	BgjobLaneKey key; /* the lane */
	int n;            /* items */
	int group_size;   /* so many could be performed in one transaction; 1: no group */
	bool more;        /* there was something behind them */
} BgjobTaking;

extern Size bgjob_lane_size(void);
extern void bgjob_lane_startup(void);

extern void
bgjob_lane_key(BgjobLaneKey *key, Oid database, Oid role, const char *queue, int priority);
extern void
bgjob_lane_announce(const BgjobLaneKey *key, const BgjobLaneItem *first, int64 count);
extern void bgjob_lane_offer(const BgjobLaneKey *key, const BgjobLaneItem *item);
extern void bgjob_lane_ensure(const BgjobLaneKey *key);
extern void bgjob_lanes_sweep_anew(Oid database);
extern bool bgjob_lanes_sweep_next(Oid database, BgjobLaneKey *key, int64 *below);
extern void bgjob_lane_swept(const BgjobLaneKey *key, int64 from, int64 to);
extern void bgjob_lane_give_back(const BgjobGroupRest *rest, bool singly);
extern BgjobTake bgjob_lane_take(BgjobLaneItem *items, BgjobTaking *taking);
extern bool bgjob_lane_has_work(void);
extern bool bgjob_lane_has_better(const BgjobLaneKey *than);
extern int bgjob_lanes_unknown(Oid database, BgjobLaneKey *keys, int max);
extern bool bgjob_lanes_lost_any(Oid database);
extern BgjobLane *bgjob_lane_scan_begin(const BgjobLaneKey *key, int64 *start);
extern void bgjob_lane_scan_end(BgjobLane *lane, const BgjobLaneItem *items, int nitems,
								int64 next, bool more);
extern void bgjob_lane_scan_abort(BgjobLane *lane);

/* What a scheduler wants to know: for each role how much is ready. */
typedef struct BgjobDemand
{
	Oid role;
	int64 ready; /* estimate; at least 1 if there is anything to look at */
} BgjobDemand;

extern int bgjob_lane_demand(Oid database, BgjobDemand *demands, int max);
extern void bgjob_lanes_forget(Oid database, Oid role);

#endif /* BGJOB_BASE_LANE_H */
