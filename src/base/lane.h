/*-------------------------------------------------------------------------
 *
 * lane.h
 *	  A lane: the cursor through one line of the queue, in shared memory.
 *
 * A lane is a first-in, first-out line: the ready jobs of one role in one queue at
 * one priority. Its cursor has a low-water mark, the position from which
 * bgjob_internal.queue must be scanned, and holds the next few jobs that the last scan
 * has found. That keeps the cost of a claim flat: no worker ever scans the
 * rows of jobs that have ended, however many dead ones a held snapshot keeps.
 *
 * The rows of bgjob_internal.queue are the truth; a lane only says where to scan. A row
 * that becomes ready below the mark is announced with its position by the process
 * that made it so, and the mark stays where it is. Unannounced rows (written by hand,
 * or by a prepared transaction) are found by the scheduler, which sweeps the queue a
 * little at a time. A lane may be lost at any time and is then filled again.
 *
 * Which lanes there are, and who may use them, is base/lanegroup.h's; what a
 * worker takes from them, base/taker.h's.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_LANE_H
#define BGJOB_BASE_LANE_H

#include "postgres.h"

#include "base/queues.h"
#include "storage/itemptr.h"
#include "storage/lwlock.h"

/* How many jobs one scan of the queue takes along. */
#ifndef BGJOB_LANE_AHEAD
#define BGJOB_LANE_AHEAD 32
#endif

/* What kind of process performs the jobs of a lane. */
typedef enum BgjobLaneKind
{
	BGJOB_LANE_INTERNAL, /* a worker of this server */
	BGJOB_LANE_EXTERNAL  /* a process that takes them through SQL */
} BgjobLaneKind;

/* The jobs that the same processes can take: these have one group of lanes. Without padding. */
typedef struct BgjobLaneGroupKey
{
	Oid database;
	Oid role;
	uint16 server; /* the one server whose workers may take them; 0: any that takes the queue */
	uint16 kind;   /* a BgjobLaneKind */
} BgjobLaneGroupKey;

typedef struct BgjobLaneKey
{
	BgjobLaneGroupKey group;
	int32 priority;
	int64 number; /* stands for queue, priority and kind: bgjob_lane_number */
	char queue[BGJOB_QUEUE_NAME_SIZE]; /* zero-filled */
} BgjobLaneKey;

/* A row of bgjob_internal.queue that was ready when it was read, or announced. Without a tid: just a position. */
typedef struct BgjobLaneItem
{
	int64 pos;
	int64 job;
	ItemPointerData tid;
} BgjobLaneItem;

typedef struct BgjobLane
{
	BgjobLaneKey key;
	struct BgjobLane *next; /* of its group, or of the free ones */
	LWLock scan_lock;       /* held by the process that scans the queue */
	LWLock mutex;
	/* under mutex */
	int64 mark; /* nothing that can be claimed lies below, but for "late" and the items */
	int64 late; /* lowest position announced since the running scan began */
	bool more;  /* there may be something from mark on */
	int singly; /* number of the next items that must not be taken in groups, since one has failed */
	int64 backlog; /* about how many are ready: announced less taken */
	int64 sweep;   /* what lies below has still to be swept; PG_INT64_MIN: nothing */
	int chunk; /* in one call with how many its last job could be performed; 0: it could not */
	int64 taken; /* number taken since the lane was added */
	int users;   /* scans that are under way; changed with the lock of the group held, too */
	int head;    /* items[head] is the next one */
	int nitems;
	BgjobLaneItem items[BGJOB_LANE_AHEAD];
} BgjobLane;

/* What a lane has at hand. */
typedef enum BgjobLanePeek
{
	BGJOB_LANE_EMPTY,
	BGJOB_LANE_UNKNOWN, /* the queue must be scanned */
	BGJOB_LANE_HAS      /* *pos is the position of the first */
} BgjobLanePeek;

extern int64 bgjob_lane_number(const char *queue, int priority, BgjobLaneKind kind);
extern int bgjob_lane_number_priority(int64 number);
extern BgjobLaneKind bgjob_lane_number_kind(int64 number);
extern int64 bgjob_lane_number_first(int priority, BgjobLaneKind kind);
extern void bgjob_lane_init(BgjobLane *lane, const BgjobLaneKey *key);
extern bool bgjob_lane_is_empty(const BgjobLane *lane);
extern BgjobLanePeek bgjob_lane_peek(BgjobLane *lane, int64 *pos);
extern int64 bgjob_lane_start(BgjobLane *lane);
extern int64 bgjob_lane_ready(BgjobLane *lane);
extern int64 bgjob_lane_known(BgjobLane *lane);
extern void
bgjob_lane_note(BgjobLane *lane, const BgjobLaneItem *first, int64 count, int singly);
extern void bgjob_lane_insert(BgjobLane *lane, const BgjobLaneItem *item);
extern int bgjob_lane_pop(BgjobLane *lane, BgjobLaneItem *items, int *group_size, bool *more);
extern void bgjob_lane_use(BgjobLane *lane, int by);
extern bool bgjob_lane_scan_start(BgjobLane *lane, int64 *start);
extern void bgjob_lane_scan_finish(BgjobLane *lane, const BgjobLaneItem *items, int nitems,
								   int64 next, bool more);
extern void bgjob_lane_scan_fail(BgjobLane *lane);
extern void bgjob_lane_sweep_set(BgjobLane *lane, int64 from, int64 to);
extern int64 bgjob_lane_sweep_below(BgjobLane *lane);

#endif /* BGJOB_BASE_LANE_H */
