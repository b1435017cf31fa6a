/*-------------------------------------------------------------------------
 *
 * lanescan.c
 *	  Scans of the queue: along a lane, and from lane to lane.
 *
 * A scan along a lane fills it with jobs that are ready (bgjob_lane_refill). It
 * reads at most BGJOB_SCAN_AT_MOST index entries at a time, since it holds a lock
 * during which interrupts wait. It kills index entries of dead rows and prunes
 * pages, as any index scan does. The sweep (store/sweep.c) uses the same scan
 * without a lock.
 *
 * A walk goes from lane to lane along the index, with one descent for each lane.
 * It ignores visibility, so the dead rows within a lane cost nothing. It finds
 * the lanes that a group had no room for (base/overflow.c); the scheduler's
 * discovery uses the same steps.
 *
 * Workers, and the scheduler. Inside a transaction. Locks: the scan lock of a
 * lane, while it is filled.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/itup.h"
#include "access/tableam.h"
#include "base/compat.h"
#include "base/lanes.h"
#include "base/lease.h"
#include "base/overflow.h"
#include "base/slot.h"
#include "miscadmin.h"
#include "store/lanescan.h"
#include "store/queuerow.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

/* Maximal number of lanes that a walk visits, and that are brought in, at a time. */
#define WALK_AT_MOST     500
#define BRING_IN_AT_MOST 8

/* Maximal number of rows read to find out whether a lane has one that is ready. */
#define PEEK_AT_MOST 64

/* ---- along a lane ---- */

static bool
is_in_flight(int64 pos, const int64 *positions, int n)
{
	int low = 0;

	while (low < n)
	{
		int middle = (low + n) / 2;

		if (positions[middle] == pos)
			return true;
		if (positions[middle] < pos)
			low = middle + 1;
		else
			n = middle;
	}
	return false;
}

/*
 * bgjob_lanescan_begin begins a scan along a lane; the strategy, and its function,
 * determine how the positions compare with "pos". The order of the two first steps
 * matters: the snapshot is older than the list of jobs in flight. So a row that is
 * visible and not in that list may be stale (its deletion committed in between),
 * but no worker has it. Leases are looked up row by row instead, which is later still.
 */
void
bgjob_lanescan_begin(BgjobLaneScan *scan, BgjobRel *rel, Relation index, Oid role, int64 lane,
					 StrategyNumber strategy, RegProcedure compare, int64 pos)
{
	ScanKeyData keys[3];

	scan->rel = rel;
	scan->snapshot = bgjob_rel_snapshot(rel);
	scan->external = bgjob_lane_number_kind(lane) == BGJOB_LANE_EXTERNAL;
	scan->in_flight =
		scan->external ? NULL : bgjob_slots_in_flight(MyDatabaseId, &scan->nin_flight);
	scan->scan = bgjob_index_beginscan(rel->rel, index, bgjob_scan_snapshot(scan->snapshot),
									   lengthof(keys));
	scan->scan->xs_want_itup = true; /* the positions of dead rows are in the index only */
	bgjob_queue_keys(keys, role, lane, strategy, compare, pos);
	index_rescan(scan->scan, keys, lengthof(keys), NULL, 0);
	scan->pos = pos;
	scan->visited = 0;
}

/* bgjob_lanescan_next goes on to the next row, ready or not; false at the end. */
bool
bgjob_lanescan_next(BgjobLaneScan *scan, ScanDirection direction)
{
	bool isnull;

	if (index_getnext_tid(scan->scan, direction) == NULL)
		return false;
	scan->pos = DatumGetInt64(
		index_getattr(scan->scan->xs_itup, BGJOB_QI_POS, scan->scan->xs_itupdesc, &isnull));
	scan->visited++;
	return true;
}

/* Returns whether a worker has the job of the row in the slot of the table. */
static bool
is_taken(BgjobLaneScan *scan)
{
	if (!scan->external)
		return is_in_flight(scan->pos, scan->in_flight, scan->nin_flight);
	slot_getallattrs(scan->rel->slot);
	return bgjob_lease_is_there(MyDatabaseId, bgjob_queue_row_job(scan->rel->slot));
}

/* Returns whether the row is ready and no worker has it; if so, the row is in the slot of the table. */
static bool
is_ready(BgjobLaneScan *scan)
{
	return index_fetch_heap(scan->scan, scan->rel->slot) &&
		   bgjob_scan_sees(scan->rel, scan->scan, scan->snapshot) && !is_taken(scan);
}

/* bgjob_lanescan_item returns the row as an item; false if it is of another lane, not ready, or a worker has it. */
bool
bgjob_lanescan_item(BgjobLaneScan *scan, const BgjobLaneKey *key, BgjobLaneItem *item)
{
	TupleTableSlot *slot = scan->rel->slot;

	if (!is_ready(scan) || !bgjob_queue_row_is_of(slot, key))
		return false;
	item->pos = scan->pos;
	item->job = bgjob_queue_row_job(slot);
	item->tid = slot->tts_tid;
	return true;
}

/* bgjob_lanescan_end ends a scan along a lane. */
void
bgjob_lanescan_end(BgjobLaneScan *scan)
{
	ExecClearTuple(scan->rel->slot);
	index_endscan(scan->scan);
	UnregisterSnapshot(scan->snapshot);
	if (scan->in_flight != NULL)
		pfree(scan->in_flight);
}

/* Scans along a lane from a position and collects at most "max" items that are ready. */
static int
collect(BgjobRel *rel, Relation index, const BgjobLaneKey *key, int64 start,
		BgjobLaneItem *items, int max, int64 *next, bool *more)
{
	BgjobLaneScan scan;
	int nitems = 0;

	bgjob_lanescan_begin(&scan, rel, index, key->group.role, key->number,
						 BTGreaterEqualStrategyNumber, F_INT8GE, start);
	*next = start;
	*more = false;
	while (!*more && bgjob_lanescan_next(&scan, ForwardScanDirection))
	{
		*next = scan.pos + 1;
		if (bgjob_lanescan_item(&scan, key, &items[nitems]))
			nitems++;
		*more = nitems == max || scan.visited == BGJOB_SCAN_AT_MOST;
	}
	bgjob_lanescan_end(&scan);
	return nitems;
}

/*
 * bgjob_lane_refill fills an empty lane from the queue. The first "wanted" items
 * are the caller's: they go into "items", which must have room for
 * BGJOB_LANE_AHEAD more, and "name" is called with them before another process
 * can scan. Returns their number.
 */
int
bgjob_lane_refill(BgjobRel *rel, const BgjobLaneKey *key, BgjobLaneItem *items, int wanted,
				  void (*name)(const BgjobLaneItem *items, int n))
{
	Relation index = index_open(bgjob_relation_oid(BGJOB_QUEUE_INDEX), AccessShareLock);
	int64 start;
	BgjobLane *lane = bgjob_lane_scan_begin(key, &start);
	volatile int mine = 0;

	if (lane != NULL)
	{
		PG_TRY();
		{
			int64 next;
			bool more;
			int nitems =
				collect(rel, index, key, start, items, wanted + BGJOB_LANE_AHEAD, &next, &more);

			mine = Min(nitems, wanted);
			if (mine > 0)
				name(items, mine);
			bgjob_lane_scan_end(lane, items + mine, nitems - mine, next, more);
		}
		PG_CATCH();
		{
			bgjob_lane_scan_abort(lane);
			PG_RE_THROW();
		}
		PG_END_TRY();
	}
	index_close(index, AccessShareLock);
	return mine;
}

/* ---- from lane to lane ---- */

/* Reads the lane of the first row, dead or alive, that matches the keys; false if there is none. */
static bool
first_any(BgjobRel *rel, ScanKey keys, int nkeys, BgjobLanePlace *place)
{
	BgjobScan *scan = bgjob_scan_begin(rel, BGJOB_QUEUE_INDEX, SnapshotAny, keys, nkeys);
	bool found = bgjob_scan_next(scan);

	if (found)
	{
		bgjob_queue_row_lane(rel->slot, &place->lane);
		place->number = DatumGetInt64(rel->slot->tts_values[BGJOB_Q_LANE - 1]);
	}
	ExecClearTuple(rel->slot);
	bgjob_scan_end(scan);
	return found;
}

/* bgjob_lanes_from finds the first lane of a role, from a number on, that has an index entry. */
bool
bgjob_lanes_from(BgjobRel *rel, Oid role, int64 number, BgjobLanePlace *place)
{
	ScanKeyData keys[2];

	bgjob_key(&keys[0], BGJOB_QI_ROLE, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
	bgjob_key(&keys[1], BGJOB_QI_LANE, BTGreaterEqualStrategyNumber, F_INT8GE,
			  Int64GetDatum(number));
	return first_any(rel, keys, 2, place);
}

/* bgjob_lanes_next goes on to the next lane that has an index entry; from a place without a role to the first lane. */
bool
bgjob_lanes_next(BgjobRel *rel, BgjobLanePlace *place)
{
	Oid role = place->lane.group.role;
	ScanKeyData key;

	if (OidIsValid(role) && place->number != PG_INT64_MAX &&
		bgjob_lanes_from(rel, role, place->number + 1, place))
		return true;
	bgjob_key(&key, BGJOB_QI_ROLE, BTGreaterStrategyNumber, F_OIDGT, ObjectIdGetDatum(role));
	return first_any(rel, &key, 1, place);
}

/* The result of reading the first rows of a lane. */
typedef enum Peek
{
	PEEK_NOTHING, /* none is ready */
	PEEK_READY,   /* one is: *key is its lane */
	PEEK_UNKNOWN  /* none of the rows read is, and there are more */
} Peek;

static Peek
peek(BgjobRel *rel, Relation index, Oid role, int64 number, BgjobLaneKey *key)
{
	BgjobLaneScan scan;
	Peek found = PEEK_NOTHING;

	bgjob_lanescan_begin(&scan, rel, index, role, number, BTGreaterEqualStrategyNumber,
						 F_INT8GE, PG_INT64_MIN);
	while (found == PEEK_NOTHING && bgjob_lanescan_next(&scan, ForwardScanDirection))
	{
		if (is_ready(&scan))
		{
			bgjob_queue_row_lane(rel->slot, key);
			found = PEEK_READY;
		}
		else if (scan.visited == PEEK_AT_MOST)
			found = PEEK_UNKNOWN;
	}
	bgjob_lanescan_end(&scan);
	return found;
}

static bool
is_in_group(BgjobLaneGroup *group, int64 number)
{
	bool in;

	LWLockAcquire(&group->lock, LW_SHARED);
	in = bgjob_lane_find_number(group, number) != NULL;
	LWLockRelease(&group->lock);
	return in;
}

static bool
is_of_kind(const BgjobLaneGroupKey *key, int64 number)
{
	return bgjob_lane_number_kind(number) == key->kind;
}

/*
 * Sets *next to where the lanes of a group go on behind a number. Those of the other kind,
 * which stand in between for each priority, are passed by at once. False: there are none.
 */
static bool
lane_after(const BgjobLaneGroupKey *key, int64 number, int64 *next)
{
	int priority = bgjob_lane_number_priority(number);

	if (number == PG_INT64_MAX)
		return false;
	*next = number + 1;
	if (is_of_kind(key, number))
		return true;
	if (key->kind == BGJOB_LANE_EXTERNAL) /* it stands before those of its priority */
		*next = bgjob_lane_number_first(priority, BGJOB_LANE_EXTERNAL);
	else if (priority == PG_INT16_MIN)
		return false;
	else
		*next = bgjob_lane_number_first(priority - 1, BGJOB_LANE_INTERNAL);
	return true;
}

/* Walks along the index from a lane and collects the numbers of lanes that have jobs and are not in the group. */
static int
walk(BgjobRel *rel, Relation index, BgjobLaneGroup *group, int64 start, BgjobLaneItem *items,
	 int64 *next, bool *more)
{
	Oid role = group->key.role;
	BgjobLanePlace place;
	BgjobLaneKey key;
	int steps = 0;
	int n = 0;

	*next = start;
	*more = false;
	while (!*more && bgjob_lanes_from(rel, role, *next, &place))
	{
		if (is_of_kind(&group->key, place.number) && !is_in_group(group, place.number) &&
			peek(rel, index, role, place.number, &key) != PEEK_NOTHING)
			items[n++] = (BgjobLaneItem){.pos = place.number};
		if (!lane_after(&group->key, place.number, next))
			break;
		*more = n == BGJOB_LANE_AHEAD || ++steps == WALK_AT_MOST;
	}
	return n;
}

/* Fills the overflow of a group with the numbers of its lanes. */
static void
refill_overflow(BgjobRel *rel, Relation index, BgjobLaneGroup *group)
{
	BgjobLaneItem items[BGJOB_LANE_AHEAD];
	int64 start;
	BgjobLane *overflow = bgjob_overflow_scan_begin(&group->key, &start);

	if (overflow == NULL)
		return;
	PG_TRY();
	{
		int64 next;
		bool more;
		int n = walk(rel, index, group, start, items, &next, &more);

		bgjob_lane_scan_end(overflow, items, n, next, more);
	}
	PG_CATCH();
	{
		bgjob_lane_scan_abort(overflow);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/*
 * Brings in the lane of a number, if it has jobs that may be taken. The scheduler
 * finds other jobs again when they may be taken. False if there is no room.
 */
static bool
bring_in(BgjobRel *rel, Relation index, BgjobLaneGroup *group, int64 number)
{
	BgjobLanePlace place;

	switch (peek(rel, index, group->key.role, number, &place.lane))
	{
		case PEEK_NOTHING:
			return true;
		case PEEK_UNKNOWN:
			if (!bgjob_lanes_from(rel, group->key.role, number, &place))
				return true;
			break;
		case PEEK_READY:
			break;
	}
	return !bgjob_lane_is_taken(&place.lane) ||
		   bgjob_overflow_bring_in(group, &place.lane, NULL);
}

/*
 * Pops the number of the next lane, and brings that in; false if none is known, or
 * there is no room. Meanwhile only this process knows of the lane: interrupts wait,
 * and an error puts the number back.
 */
static bool
bring_next_in(BgjobRel *rel, Relation index, BgjobLaneGroup *group, int *popped)
{
	int64 number;
	volatile bool in = false;

	HOLD_INTERRUPTS();
	if (bgjob_overflow_pop(group, &number))
	{
		(*popped)++;
		PG_TRY();
		{
			in = bring_in(rel, index, group, number);
		}
		PG_CATCH();
		{
			bgjob_overflow_put_back(group, number);
			PG_RE_THROW();
		}
		PG_END_TRY();
		if (!in)
			bgjob_overflow_put_back(group, number);
	}
	RESUME_INTERRUPTS();
	return in;
}

/*
 * bgjob_lane_bring_in brings in some lanes that a group had no room for, when
 * BGJOB_TAKE_LANES asks for it.
 */
void
bgjob_lane_bring_in(BgjobRel *rel, const BgjobLaneGroupKey *key)
{
	Relation index = index_open(bgjob_relation_oid(BGJOB_QUEUE_INDEX), AccessShareLock);
	BgjobLaneGroup *group = bgjob_lane_group(key);
	int n = 0;

	while (group != NULL && n < BRING_IN_AT_MOST && bring_next_in(rel, index, group, &n))
		;
	if (group != NULL && n == 0)
		refill_overflow(rel, index, group);
	index_close(index, AccessShareLock);
}

/* The lanes of the queues that a list names: of each queue, the low part of its lanes' numbers. */
typedef struct NamedLanes
{
	bool all; /* the list has "*" */
	int n;
	int64 *low;
} NamedLanes;

/* Finds the lanes that a list of queues names, for a group. */
static void
name_lanes(NamedLanes *named, const char *queues, const BgjobLaneGroupKey *key)
{
	const char *list = queues;
	char name[BGJOB_QUEUE_NAME_SIZE];
	int64 first = bgjob_lane_number_first(0, (BgjobLaneKind) key->kind);

	named->all = false;
	named->n = 0;
	named->low = palloc((strlen(queues) / 2 + 1) * sizeof(int64));
	while (bgjob_queue_next_name(&list, name))
	{
		if (strcmp(name, "*") == 0)
			named->all = true;
		named->low[named->n++] = bgjob_lane_number(name, 0, (BgjobLaneKind) key->kind) - first;
	}
}

/*
 * Returns the lowest number that a named lane can have, from a number on. So a worker that takes few of very many lanes
 * passes by the others of a priority at once.
 */
static int64
first_named(const NamedLanes *named, const BgjobLaneGroupKey *key, int64 number)
{
	int priority = bgjob_lane_number_priority(number);
	int64 first = bgjob_lane_number_first(priority, (BgjobLaneKind) key->kind);
	int64 lowest = PG_INT64_MAX;

	if (named->all)
		return number;
	for (int i = 0; i < named->n; i++)
		if (first + named->low[i] >= number)
			lowest = Min(lowest, first + named->low[i]);
	if (lowest == PG_INT64_MAX && priority > PG_INT16_MIN)
		lowest = bgjob_lane_number_first(priority - 1, BGJOB_LANE_INTERNAL);
	return lowest;
}

/* Brings in the lane at a place, if it is one that the caller takes and has something ready. Returns how many came in. */
static int
bring_own_in(BgjobRel *rel, Relation index, BgjobLaneGroup *group, BgjobLanePlace *place,
			 BgjobLaneTakes takes)
{
	const BgjobLaneGroupKey *key = &group->key;
	BgjobLaneKey lane;

	bgjob_lane_key(&lane, key, place->lane.queue, place->lane.priority);
	if (!is_of_kind(key, place->number) || !takes(&lane) || is_in_group(group, place->number) ||
		peek(rel, index, key->role, place->number, &place->lane) == PEEK_NOTHING)
		return 0;
	return bgjob_overflow_bring_in(group, &lane, takes);
}

/*
 * bgjob_lane_bring_own_in walks along the lanes of a role, from *number on, and brings in
 * some that the caller takes, which are of the queues of a list. *number is where to go on. Returns whether it has
 * come to the end.
 */
bool
bgjob_lane_bring_own_in(BgjobRel *rel, const BgjobLaneGroupKey *key, const char *queues,
						BgjobLaneTakes takes, int64 *number)
{
	Relation index = index_open(bgjob_relation_oid(BGJOB_QUEUE_INDEX), AccessShareLock);
	BgjobLaneGroup *group = bgjob_lane_group(key);
	BgjobLanePlace place;
	NamedLanes named;
	bool more = group != NULL;

	name_lanes(&named, queues, key);
	for (int n = 0; more && n < BRING_IN_AT_MOST;)
	{
		int64 wanted;

		CHECK_FOR_INTERRUPTS();
		more = bgjob_lanes_from(rel, key->role, *number, &place);
		if (!more)
			break;
		wanted = first_named(&named, key, place.number);
		if (wanted == place.number)
		{
			n += bring_own_in(rel, index, group, &place, takes);
			more = lane_after(key, place.number, number);
		}
		else
		{
			*number = wanted;
			more = wanted != PG_INT64_MAX;
		}
	}
	pfree(named.low);
	index_close(index, AccessShareLock);
	return !more;
}
