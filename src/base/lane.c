/*-------------------------------------------------------------------------
 *
 * lane.c
 *	  A lane: the cursor through one line of the queue, in shared memory.
 *
 * The functions here change one lane; each is one hold of its mutex. The
 * caller has found the lane in its group (base/lanegroup.c) and holds the
 * group's lock, so that the lane stays.
 *
 * WHY NO JOB IS EVER STRANDED. A row can become visible below the mark: ids
 * are drawn before commits, and a worker that dies gives its row back. The
 * process that makes such a row visible announces its position afterwards,
 * under the lane's mutex, and lowers "mark" and "late" both. A scan reads the
 * mark and sets late to infinity in one hold of the mutex, takes its snapshot
 * after that, and at the end sets the mark to the lower of what it has reached
 * and late. A position announced before the scan began has lowered the mark
 * that the scan starts from; one announced while it runs is in "late"; one
 * announced after it has ended lowers the new mark. There is one scan at a
 * time in a lane.
 *
 * A row that becomes ready again (its worker was lost, a transaction that had
 * taken it is rolled back), and one that the sweep finds, is inserted among the
 * items, in order, and the mark stays where it is. With a snapshot held there
 * may be millions of dead rows between the row and the mark, which a scan would
 * have to read once more. Only if there is no room among the items is the mark
 * lowered. A scan that is under way keeps what is inserted meanwhile.
 *
 * A single row is not only announced but handed over, so that no worker has to
 * scan for it: it becomes the last item, and the mark goes beyond it. Only
 * where a scan would do the same: all that is ready is known (there is no
 * "more", and no scan under way), and the row is neither below the mark, where
 * a scan may have found it before it was announced, nor before the last item.
 * If a row between the mark and the item becomes visible later, it lowers the
 * mark again.
 *
 * THE SWEEP goes through a lane from its end to its beginning, since unannounced rows
 * are mostly recent, a bounded number of rows at a time. It inserts the visible rows
 * that are not in flight. It need not read the rows that a scan will read: those from
 * the mark on, if there is "more".
 *
 * WHY NO JOB IS CLAIMED TWICE. A job is in flight from the moment that it is
 * popped until its outcome has committed: its taker names it somewhere, in the
 * same hold of the mutex (base/taker.c). Scans and sweeps leave out the rows
 * whose positions are in flight. Should a row come out twice nevertheless (its
 * worker committed between snapshot and scan), deleting it fails and the worker
 * goes on to the next: the row lock decides.
 *
 * test/unit/lane_model.c runs these functions through all interleavings of a
 * few processes.
 *
 * LOCKS. lane->scan_lock (LWLock): held during a scan, which may do I/O.
 * lane->mutex (LWLock): the fields, for a microsecond; no spinlock, since a
 * worker names in its slot what it pops, and a group's items are many. Order:
 * scan_lock, lock of the group, mutex. Nothing here throws.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/lane.h"
#include "common/hashfn.h"
#include "miscadmin.h"

/* The priority is in the highest bits of a lane's number, then the kind, the name of the queue in the others. */
#define KIND_BIT   47
#define QUEUE_BITS 47

/*
 * bgjob_lane_number_first returns the lowest number that a lane of a priority and a
 * kind can have. Behind the internal lanes of a priority come its external ones.
 */
int64
bgjob_lane_number_first(int priority, BgjobLaneKind kind)
{
	return (int64) (((uint64) (int64) (-1 - priority) << (KIND_BIT + 1)) |
					((uint64) kind << KIND_BIT));
}

/*
 * bgjob_lane_number returns what stands for queue, priority and kind in the index of
 * bgjob_internal.queue; as stable as hash indexes need their function. Lanes of a higher
 * priority have lower numbers. Two queues of a role may have the same number
 * (2^-47 for a pair): the rows are compared as well.
 */
int64
bgjob_lane_number(const char *queue, int priority, BgjobLaneKind kind)
{
	uint64 hash = hash_bytes_extended((const unsigned char *) queue, (int) strlen(queue), 0);

	return bgjob_lane_number_first(priority, kind) |
		   (int64) (hash & ((UINT64CONST(1) << QUEUE_BITS) - 1));
}

/* bgjob_lane_number_priority returns the priority of the lanes with a number. */
int
bgjob_lane_number_priority(int64 number)
{
	return -1 - (int) (number >> (KIND_BIT + 1));
}

/* bgjob_lane_number_kind returns the kind of the lanes with a number. */
BgjobLaneKind
bgjob_lane_number_kind(int64 number)
{
	return (BgjobLaneKind) ((uint64) number >> KIND_BIT & 1);
}

/* bgjob_lane_init makes a lane of which nothing is known. Its locks have been initialized. */
void
bgjob_lane_init(BgjobLane *lane, const BgjobLaneKey *key)
{
	lane->key = *key;
	lane->next = NULL;
	lane->mark = lane->late = lane->sweep = PG_INT64_MIN;
	lane->more = true;
	lane->singly = lane->chunk = 0;
	lane->backlog = lane->taken = 0;
	lane->users = 0;
	lane->head = lane->nitems = 0;
}

/* bgjob_lane_is_empty returns whether a lane has no jobs, at this instant. */
bool
bgjob_lane_is_empty(const BgjobLane *lane)
{
	return lane->head == lane->nitems && !lane->more;
}

/* bgjob_lane_peek returns whether a lane has an item at hand, and sets *pos to its position. */
BgjobLanePeek
bgjob_lane_peek(BgjobLane *lane, int64 *pos)
{
	BgjobLanePeek peek = BGJOB_LANE_EMPTY;

	LWLockAcquire(&lane->mutex, LW_SHARED);
	if (lane->head < lane->nitems)
	{
		peek = BGJOB_LANE_HAS;
		*pos = lane->items[lane->head].pos;
	}
	else if (lane->more)
		peek = BGJOB_LANE_UNKNOWN;
	LWLockRelease(&lane->mutex);
	return peek;
}

/*
 * bgjob_lane_start returns the position below which nothing is ready, but for jobs
 * that somebody has taken and gives back, and those that nobody has announced.
 */
int64
bgjob_lane_start(BgjobLane *lane)
{
	int64 start;

	LWLockAcquire(&lane->mutex, LW_SHARED);
	start = lane->mark;
	if (lane->head < lane->nitems)
		start = Min(start, lane->items[lane->head].pos);
	LWLockRelease(&lane->mutex);
	return start;
}

/* bgjob_lane_ready estimates how many jobs are ready; 0: there is none. */
int64
bgjob_lane_ready(BgjobLane *lane)
{
	int64 ready = 0;

	LWLockAcquire(&lane->mutex, LW_SHARED);
	if (!bgjob_lane_is_empty(lane))
		ready = Max(lane->backlog, Max(1, lane->nitems - lane->head));
	LWLockRelease(&lane->mutex);
	return ready;
}

/* bgjob_lane_known returns how many jobs are known to be ready, of those that a scan may find one; 0: there is none. */
int64
bgjob_lane_known(BgjobLane *lane)
{
	int64 known;

	LWLockAcquire(&lane->mutex, LW_SHARED);
	known = lane->nitems - lane->head + (lane->more ? 1 : 0);
	LWLockRelease(&lane->mutex);
	return known;
}

/* Makes a row the last item of a lane, if a scan would do so. Under the mutex. */
static bool
hand_over(BgjobLane *lane, const BgjobLaneItem *item)
{
	if (lane->more || lane->users > 0 || item->pos < lane->mark)
		return false;
	if (lane->head == lane->nitems)
		lane->head = lane->nitems = 0;
	else if (lane->nitems == BGJOB_LANE_AHEAD || item->pos <= lane->items[lane->nitems - 1].pos)
		return false;
	lane->items[lane->nitems++] = *item;
	lane->mark = item->pos + 1;
	return true;
}

/* Notes that there are rows to be scanned for, the lowest of them at "pos". Under the mutex. */
static void
note_more(BgjobLane *lane, int64 pos)
{
	lane->mark = Min(lane->mark, pos);
	lane->late = Min(lane->late, pos);
	lane->more = true;
	if (lane->head < lane->nitems && pos < lane->items[lane->head].pos)
		lane->head = lane->nitems = 0; /* it comes first, and is found with them */
}

/*
 * Inserts a row among the items, in the order of their positions. False if there
 * is no room. Under the mutex.
 */
static bool
insert_item(BgjobLane *lane, const BgjobLaneItem *item)
{
	int at;

	if (lane->more && item->pos >= lane->mark)
		return true; /* the next scan finds it */
	if (lane->head > 0)
	{
		lane->nitems -= lane->head;
		memmove(lane->items, lane->items + lane->head, lane->nitems * sizeof(BgjobLaneItem));
		lane->head = 0;
	}
	for (at = lane->nitems; at > 0 && lane->items[at - 1].pos >= item->pos; at--)
		;
	if (at < lane->nitems && lane->items[at].pos == item->pos)
		return true;
	if (lane->nitems == BGJOB_LANE_AHEAD)
		return false;
	memmove(&lane->items[at + 1], &lane->items[at],
			(lane->nitems - at) * sizeof(BgjobLaneItem));
	lane->items[at] = *item;
	lane->nitems++;
	return true;
}

/*
 * bgjob_lane_note notes that "count" rows, the lowest of them "first", have become
 * visible, and that "singly" of them must not be taken in groups.
 */
void
bgjob_lane_note(BgjobLane *lane, const BgjobLaneItem *first, int64 count, int singly)
{
	LWLockAcquire(&lane->mutex, LW_EXCLUSIVE);
	if (count != 1 || !ItemPointerIsValid(&first->tid) || !hand_over(lane, first))
		note_more(lane, first->pos);
	lane->backlog += count;
	lane->singly += singly;
	LWLockRelease(&lane->mutex);
}

/*
 * bgjob_lane_insert inserts a ready row, which may lie below the mark, without causing
 * a scan. Without a tid the row is found by its position.
 */
void
bgjob_lane_insert(BgjobLane *lane, const BgjobLaneItem *item)
{
	LWLockAcquire(&lane->mutex, LW_EXCLUSIVE);
	if (!insert_item(lane, item))
		note_more(lane, item->pos);
	lane->backlog++;
	LWLockRelease(&lane->mutex);
}

/*
 * bgjob_lane_pop takes the first items, at most *group_size; returns their
 * number. *group_size becomes 1 where they are not to be performed in one
 * transaction. *more: there is something behind them. The caller holds the mutex,
 * and names the items as in flight before it releases it.
 */
int
bgjob_lane_pop(BgjobLane *lane, BgjobLaneItem *items, int *group_size, bool *more)
{
	int n;

	if (lane->singly > 0)
		*group_size = 1;
	n = Min(*group_size, lane->nitems - lane->head);
	memcpy(items, &lane->items[lane->head], n * sizeof(BgjobLaneItem));
	lane->head += n;
	lane->backlog = Max(0, lane->backlog - n);
	lane->taken += n;
	if (lane->singly > 0)
		lane->singly -= n;
	*more = !bgjob_lane_is_empty(lane);
	return n;
}

/* bgjob_lane_use counts one scan more (by: 1), or one less (-1), that uses a lane. */
void
bgjob_lane_use(BgjobLane *lane, int by)
{
	LWLockAcquire(&lane->mutex, LW_EXCLUSIVE);
	lane->users += by;
	LWLockRelease(&lane->mutex);
}

/*
 * bgjob_lane_scan_start begins a scan: *start is the position to begin at, and
 * the snapshot must be taken afterwards. False if none is needed, since another
 * process has scanned in the meantime. The caller holds the scan lock.
 */
bool
bgjob_lane_scan_start(BgjobLane *lane, int64 *start)
{
	bool needed;

	LWLockAcquire(&lane->mutex, LW_EXCLUSIVE);
	needed = lane->head == lane->nitems && lane->more;
	if (needed)
	{
		*start = lane->mark;
		lane->late = PG_INT64_MAX;
		lane->more = false;
	}
	LWLockRelease(&lane->mutex);
	return needed;
}

/*
 * bgjob_lane_scan_finish ends a scan: these items were found in the order of
 * their positions, "next" is the first position that was not read, and "more"
 * whether there may be something there.
 */
void
bgjob_lane_scan_finish(BgjobLane *lane, const BgjobLaneItem *items, int nitems, int64 next,
					   bool more)
{
	BgjobLaneItem inserted[BGJOB_LANE_AHEAD];
	int ninserted;

	LWLockAcquire(&lane->mutex, LW_EXCLUSIVE);
	while (nitems > 0 && items[nitems - 1].pos > lane->late)
		nitems--; /* something came that is before it: scan again when it is its turn */
	lane->mark = Min(next, lane->late);
	lane->more = more || lane->late != PG_INT64_MAX;
	ninserted = lane->nitems - lane->head;
	memcpy(inserted, &lane->items[lane->head], ninserted * sizeof(BgjobLaneItem));
	memcpy(lane->items, items, nitems * sizeof(BgjobLaneItem));
	lane->head = 0;
	lane->nitems = nitems;
	for (int i = 0; i < ninserted; i++)
		if (!insert_item(lane, &inserted[i]))
			note_more(lane, inserted[i].pos);
	lane->backlog = lane->more ? Max(lane->backlog, lane->nitems + 1) : lane->nitems;
	LWLockRelease(&lane->mutex);
}

/* bgjob_lane_scan_fail ends a scan that has thrown, as if it had not been: the mark is still where it began, or lower. */
void
bgjob_lane_scan_fail(BgjobLane *lane)
{
	LWLockAcquire(&lane->mutex, LW_EXCLUSIVE);
	lane->more = true;
	LWLockRelease(&lane->mutex);
}

/*
 * bgjob_lane_sweep_set notes that a lane has been swept from below one position down
 * to another; "to" = PG_INT64_MAX: that the sweep must begin again.
 */
void
bgjob_lane_sweep_set(BgjobLane *lane, int64 from, int64 to)
{
	LWLockAcquire(&lane->mutex, LW_EXCLUSIVE);
	if (to == PG_INT64_MAX)
		lane->sweep = to;
	else if (lane->sweep <= from) /* the sweep was not restarted */
		lane->sweep = Min(lane->sweep, to);
	LWLockRelease(&lane->mutex);
}

/* bgjob_lane_sweep_below returns the position below which a lane is to be swept; PG_INT64_MIN: it has been. */
int64
bgjob_lane_sweep_below(BgjobLane *lane)
{
	int64 below;

	LWLockAcquire(&lane->mutex, LW_EXCLUSIVE);
	if (lane->more) /* the next scan reads what lies there */
		lane->sweep = Min(lane->sweep, lane->mark);
	below = lane->sweep;
	LWLockRelease(&lane->mutex);
	return below;
}
