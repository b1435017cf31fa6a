/*-------------------------------------------------------------------------
 *
 * queue.c
 *	  What can run now: putting jobs there, looking for them, claiming them.
 *
 * bgjob.queue has a row for each job that can run now and none for any other
 * (scheduled, awaiting, finished). A row is inserted and deleted, never
 * updated, so its ctid stands for it as long as it is there; a ctid that was
 * remembered is checked against the row's key before it is trusted, since
 * after a vacuum another row may have taken it.
 *
 * The claim is the deletion of the row in the transaction that performs the
 * job (never waiting: who meets a row that somebody else is at goes on to
 * the next). If that transaction ends badly, the row is there again.
 *
 * Where to look is told by the lanes (base/lane.h), which also explain why
 * no job is stranded and none claimed twice. A look reads at most
 * LOOK_AT_MOST index entries at a time, since it holds a lock during which
 * interrupts wait; it kills index entries of dead rows on its way and prunes
 * pages, as any index scan does. So does a step of the sweep, without a lock.
 *
 * Claiming is for workers; the rest is for any process. Inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/itup.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "base/change.h"
#include "base/compat.h"
#include "base/groupitems.h"
#include "base/registry.h"
#include "base/slot.h"
#include "base/wake.h"
#include "catalog/namespace.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "store/queue.h"
#include "store/relation.h"
#include "store/schedule.h"
#include "store/sequence.h"
#include "store/sidetables.h"
#include "rules/clock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define QUEUE_INDEX  "queue_pkey"
#define LOOK_AT_MOST 5000

/* Lanes that the scheduler sees to in one step. */
#define LANES_AT_A_TIME 100

/* Columns of bgjob.queue. */
enum
{
	Q_LANE = 1,
	Q_POS,
	Q_ROLE,
	Q_TID,
	Q_JOB,
	Q_QUEUE,
	Q_PRIORITY,
	Q_COUNT = Q_PRIORITY
};

/* Columns of its index. */
enum
{
	I_ROLE = 1,
	I_LANE,
	I_POS
};

/*
 * What stands for queue and priority in the index; as stable as hash indexes
 * need their function. That two lanes of a role have the same number is as good
 * as impossible (2^-64 for a pair), and no harm comes of it but that the second
 * may not be discovered: who reads the index compares the rows as well.
 */
static int64
lane_number(const char *queue, int priority)
{
	return (int64) hash_bytes_extended((const unsigned char *) queue, (int) strlen(queue),
									   (uint64) priority);
}

/* The row of a job. */
static void
fill_row(const BgjobJob *job, Datum *values, bool *nulls)
{
	memset(nulls, false, Q_COUNT * sizeof(bool));
	values[Q_ROLE - 1] = ObjectIdGetDatum(job->run_as);
	values[Q_LANE - 1] = Int64GetDatum(lane_number(job->queue, job->priority));
	values[Q_POS - 1] = Int64GetDatum(job->pos);
	values[Q_TID - 1] = PointerGetDatum(&job->tid);
	values[Q_PRIORITY - 1] = Int16GetDatum(job->priority);
	values[Q_JOB - 1] = Int64GetDatum(job->id);
	nulls[Q_JOB - 1] = job->id == job->pos;
	values[Q_QUEUE - 1] = CStringGetTextDatum(job->queue);
}

/* bgjob_queue_insert puts a job, whose row has been written, into the queue. */
void
bgjob_queue_insert(const BgjobJob *job)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	BgjobLaneItem item = {.pos = job->pos, .job = job->id};
	Datum values[Q_COUNT];
	bool nulls[Q_COUNT];

	fill_row(job, values, nulls);
	bgjob_rel_insert(rel, values, nulls);
	item.tid = rel->tid;
	bgjob_rel_close(rel);
	bgjob_change_ready(job->run_as, job->queue, job->priority, &item, 1);
}

/* bgjob_queue_insert_many does the same for n new jobs that are alike but for their ids, which follow each other. */
void
bgjob_queue_insert_many(BgjobBulk *bulk, const BgjobJob *job, int64 first,
						const ItemPointerData *tids, int n)
{
	BgjobLaneItem place = {.pos = first};
	Datum values[Q_COUNT];
	bool nulls[Q_COUNT];

	fill_row(job, values, nulls);
	nulls[Q_JOB - 1] = true;
	for (int i = 0; i < n; i++)
	{
		values[Q_POS - 1] = Int64GetDatum(first + i);
		values[Q_TID - 1] = PointerGetDatum(&tids[i]);
		if (bgjob_bulk_add(bulk, values, nulls) || i == n - 1)
		{
			int flushed;

			(void) bgjob_bulk_flush(bulk, &flushed);
		}
	}
	if (n > 0)
		bgjob_change_ready(job->run_as, job->queue, job->priority, &place, n);
}

/* Keys for a lane: the first two columns are equal, and pos compares as said. */
static void
lane_keys(ScanKey keys, Oid role, const char *queue, int priority, StrategyNumber strategy,
		  RegProcedure compare, int64 pos)
{
	bgjob_key(&keys[0], I_ROLE, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
	bgjob_key(&keys[1], I_LANE, BTEqualStrategyNumber, F_INT8EQ,
			  Int64GetDatum(lane_number(queue, priority)));
	bgjob_key(&keys[2], I_POS, strategy, compare, Int64GetDatum(pos));
}

/* What lane the row in a slot belongs to. */
static void
row_lane(TupleTableSlot *slot, BgjobLaneKey *key)
{
	slot_getallattrs(slot);
	bgjob_lane_key(key, MyDatabaseId, DatumGetObjectId(slot->tts_values[Q_ROLE - 1]),
				   TextDatumGetCString(slot->tts_values[Q_QUEUE - 1]),
				   DatumGetInt16(slot->tts_values[Q_PRIORITY - 1]));
}

/* Whether the row in a slot belongs to a lane, which has its role. */
static bool
is_of_lane(TupleTableSlot *slot, const BgjobLaneKey *key)
{
	const text *queue;

	slot_getallattrs(slot);
	queue = DatumGetTextPP(slot->tts_values[Q_QUEUE - 1]);
	return DatumGetInt16(slot->tts_values[Q_PRIORITY - 1]) == key->priority &&
		   VARSIZE_ANY_EXHDR(queue) == strlen(key->queue) &&
		   memcmp(VARDATA_ANY(queue), key->queue, VARSIZE_ANY_EXHDR(queue)) == 0;
}

/* The job of the row in a slot, all of whose columns have been read. */
static int64
row_job(TupleTableSlot *slot)
{
	return DatumGetInt64(slot->tts_values[slot->tts_isnull[Q_JOB - 1] ? Q_POS - 1 : Q_JOB - 1]);
}

/*
 * bgjob_queue_take takes a job out of the queue if nobody else is at it;
 * never waits. The job is the caller's until the transaction ends. Where the
 * answer is BGJOB_BUSY, *holder (which may be NULL) is who has it, if known.
 */
BgjobTaken
bgjob_queue_take(Oid role, const char *queue, int priority, int64 pos, TransactionId *holder)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobTaken taken = BGJOB_NOT_THERE;
	ScanKeyData keys[3];
	BgjobScan *scan;

	lane_keys(keys, role, queue, priority, BTEqualStrategyNumber, F_INT8EQ, pos);
	scan = bgjob_scan_begin(rel, QUEUE_INDEX, snapshot, keys, 3);
	if (bgjob_scan_next(scan))
		taken = bgjob_rel_delete(rel, &rel->slot->tts_tid, holder) ? BGJOB_TAKEN : BGJOB_BUSY;
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return taken;
}

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

/* A scan along a lane: of all rows, dead ones too, since their places are in the index. */
typedef struct LaneScan
{
	BgjobRel *rel;
	const BgjobLaneKey *key;
	Snapshot snapshot;
	int64 *in_flight;
	int nin_flight;
	IndexScanDesc scan;
	int64 pos;   /* of the row that has been reached */
	int visited; /* rows */
} LaneScan;

/*
 * Begins a scan along a lane; the strategy, and its function, say how the places
 * compare with "pos". The order of the two first steps matters: the snapshot is
 * older than the list of what is in flight, so a row that is visible and not in
 * that list may be stale (its deletion committed in between), but never in
 * somebody's hands.
 */
static void
lane_scan_begin(LaneScan *scan, BgjobRel *rel, Relation index, const BgjobLaneKey *key,
				StrategyNumber strategy, RegProcedure compare, int64 pos)
{
	ScanKeyData keys[3];

	scan->rel = rel;
	scan->key = key;
	scan->snapshot = bgjob_rel_snapshot(rel);
	scan->in_flight = bgjob_slots_in_flight(key->database, &scan->nin_flight);
	scan->scan = bgjob_index_beginscan(rel->rel, index, bgjob_scan_snapshot(scan->snapshot),
									   lengthof(keys));
	scan->scan->xs_want_itup = true; /* the places of dead rows are in the index only */
	lane_keys(keys, key->role, key->queue, key->priority, strategy, compare, pos);
	index_rescan(scan->scan, keys, lengthof(keys), NULL, 0);
	scan->pos = pos;
	scan->visited = 0;
}

/* Goes on to the next row, whether it is ready or not; false if that was all. */
static bool
lane_scan_next(LaneScan *scan, ScanDirection direction)
{
	bool isnull;

	if (index_getnext_tid(scan->scan, direction) == NULL)
		return false;
	scan->pos = DatumGetInt64(
		index_getattr(scan->scan->xs_itup, I_POS, scan->scan->xs_itupdesc, &isnull));
	scan->visited++;
	return true;
}

/* Gives the row as an item, if it is ready, and nobody is at it. */
static bool
lane_scan_item(LaneScan *scan, BgjobLaneItem *item)
{
	TupleTableSlot *slot = scan->rel->slot;

	if (!index_fetch_heap(scan->scan, slot) ||
		!bgjob_scan_sees(scan->rel, scan->scan, scan->snapshot) ||
		is_in_flight(scan->pos, scan->in_flight, scan->nin_flight) ||
		!is_of_lane(slot, scan->key))
		return false;
	item->pos = scan->pos;
	item->job = row_job(slot);
	item->tid = slot->tts_tid;
	return true;
}

static void
lane_scan_end(LaneScan *scan)
{
	ExecClearTuple(scan->rel->slot);
	index_endscan(scan->scan);
	UnregisterSnapshot(scan->snapshot);
	pfree(scan->in_flight);
}

/* Looks along a lane from place "start" and collects what is ready, at most "max" items. */
static int
look(BgjobRel *rel, Relation index, const BgjobLaneKey *key, int64 start, BgjobLaneItem *items,
	 int max, int64 *next, bool *more)
{
	LaneScan scan;
	int nitems = 0;

	lane_scan_begin(&scan, rel, index, key, BTGreaterEqualStrategyNumber, F_INT8GE, start);
	*next = start;
	*more = false;
	while (!*more && lane_scan_next(&scan, ForwardScanDirection))
	{
		*next = scan.pos + 1;
		if (lane_scan_item(&scan, &items[nitems]))
			nitems++;
		*more = nitems == max || scan.visited == LOOK_AT_MOST;
	}
	lane_scan_end(&scan);
	return nitems;
}

/* Adds items to this worker's group. */
static void
queue_add_to_group(const BgjobLaneItem *items, int n)
{
	int64 positions[BGJOB_GROUP_MAX] = {0};

	for (int i = 0; i < n; i++)
		positions[i] = items[i].pos;
	bgjob_group_items_add(positions, n);
}

/*
 * Fills a lane that has nothing at hand from the queue. The first "wanted" of
 * what is found are for this worker's group: they go into "items", which must
 * have room for BGJOB_LANE_AHEAD more; how many they are.
 */
static int
refill(BgjobRel *rel, const BgjobLaneKey *key, BgjobLaneItem *items, int wanted)
{
	Relation index = index_open(bgjob_relation_oid(QUEUE_INDEX), AccessShareLock);
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
				look(rel, index, key, start, items, wanted + BGJOB_LANE_AHEAD, &next, &more);

			mine = Min(nitems, wanted);
			if (mine > 0) /* before anybody else can look */
				queue_add_to_group(items, mine);
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

/*
 * Reads an item's row of the queue, if it is still that: *tid is where the job
 * was when the row was written. With no snapshot but the present: whoever
 * deletes the row has the last word.
 */
static bool
read_row(BgjobRel *rel, const BgjobLaneItem *item, const BgjobLaneKey *key,
		 ItemPointerData *tid)
{
	ItemPointerData at = item->tid;
	Datum *values;
	bool found;

	if (!bgjob_rel_fetch(rel, &at, SnapshotSelf))
		return false;
	slot_getallattrs(rel->slot);
	values = rel->slot->tts_values;
	found = DatumGetInt64(values[Q_POS - 1]) == item->pos && row_job(rel->slot) == item->job &&
			DatumGetObjectId(values[Q_ROLE - 1]) == key->role && is_of_lane(rel->slot, key);
	*tid = *(ItemPointer) DatumGetPointer(values[Q_TID - 1]);
	ExecClearTuple(rel->slot);
	return found;
}

/* What this worker has taken. In a group, the number of an item is its number in the slot's group. */
static BgjobLaneItem taken[BGJOB_GROUP_MAX + BGJOB_LANE_AHEAD];
static BgjobTaking taking;
static bool is_popped = false; /* a single one, of which nothing is known yet */

typedef enum Claimed
{
	CLAIMED,
	NOT_CLAIMED, /* somebody else was faster */
	DOES_NOT_FIT /* it cannot be in this group */
} Claimed;

/*
 * Claims the job of one item: reads it, and deletes its row from the queue. The
 * row of the job is found where it was when it was enqueued, as a rule; by its
 * key, where VACUUM FULL has moved it or it has been through a retry.
 */
static Claimed
claim_item(BgjobRel *rel, BgjobRel *jobs, const BgjobLaneItem *item, BgjobJob *job,
		   BgjobFits fits)
{
	const BgjobLaneKey *key = &taking.key;
	ItemPointerData at = item->tid;
	ItemPointerData tid;
	bool in_place = read_row(rel, item, key, &tid);

	if ((!in_place || !bgjob_job_read_at(jobs, &tid, item->job, job)) &&
		!bgjob_job_read(jobs, item->job, job))
	{
		if (bgjob_queue_take(key->role, key->queue, key->priority, item->pos, NULL) ==
			BGJOB_TAKEN)
			ereport(LOG, (errmsg("removed job " INT64_FORMAT " from queue \"%s\"", item->job,
								 key->queue),
						  errdetail("There is no such job any more.")));
		return NOT_CLAIMED;
	}
	if (fits != NULL && !fits(job))
		return DOES_NOT_FIT;
	if (!(in_place && bgjob_rel_delete(rel, &at, NULL)) &&
		bgjob_queue_take(key->role, key->queue, key->priority, item->pos, NULL) != BGJOB_TAKEN)
		return NOT_CLAIMED;
	/* A row that stands for nothing (somebody wrote it by hand) goes unperformed. */
	return job->state == BGJOB_ENQUEUED && job->pos == item->pos ? CLAIMED : NOT_CLAIMED;
}

/*
 * Claims the next job of what has been taken; false if there is none. Its slot
 * names the job and interrupts are held, if it is true.
 */
static bool
claim_next(BgjobRel *rel, BgjobRel *jobs, BgjobJob *job, BgjobFits fits)
{
	int next;

	for (;;)
	{
		Claimed claimed;

		CHECK_FOR_INTERRUPTS();
		if (fits != NULL && bgjob_lane_has_better(&taking.key))
			return false;
		HOLD_INTERRUPTS();
		next = bgjob_group_items_next();
		if (next < 0)
			break;
		bgjob_slot_begin(taken[next].job, taken[next].pos);
		claimed = claim_item(rel, jobs, &taken[next], job, fits);
		if (claimed == CLAIMED)
		{
			bgjob_slot_claimed();
			return true;
		}
		bgjob_slot_end(false);
		if (claimed == DOES_NOT_FIT)
		{
			bgjob_group_items_keep();
			break;
		}
		RESUME_INTERRUPTS();
	}
	RESUME_INTERRUPTS();
	return false;
}

/*
 * bgjob_queue_claim_next claims the next job of the group that this worker has
 * begun, if there is one, it fits in, and nothing has come that goes before
 * it; otherwise as bgjob_queue_claim.
 */
bool
bgjob_queue_claim_next(BgjobRel *jobs, BgjobJob *job, BgjobFits fits)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	bool claimed = claim_next(rel, jobs, job, fits);

	bgjob_rel_close(rel);
	return claimed;
}

/*
 * bgjob_queue_claim claims the next job for this worker: its row is deleted
 * from the queue by the running transaction, this worker's slot names it, and
 * *job holds its row of bgjob.job. Interrupts are held then, since from the
 * moment that the slot names the job they may be meant for it: the caller
 * resumes them when it is ready to answer for the job. False if there is
 * nothing to do. *group: there may be more to perform in the same transaction
 * (bgjob_queue_claim_next), and the caller must end the slot's group.
 */
bool
bgjob_queue_claim(BgjobRel *jobs, BgjobJob *job, bool *group)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	bool claimed = false;

	*group = false;
	while (!claimed)
	{
		BgjobTake take;

		CHECK_FOR_INTERRUPTS();
		HOLD_INTERRUPTS();
		take = bgjob_lane_take(taken, &taking);
		is_popped = take == BGJOB_TAKE_ITEMS && taking.group_size == 1;
		if (take != BGJOB_TAKE_ITEMS)
		{
			RESUME_INTERRUPTS();
			if (take == BGJOB_TAKE_NONE)
				break;
			(void) refill(rel, &taking.key, taken, 0);
			continue;
		}
		if (taking.more) /* one wakes the next, as long as there is work */
			(void) bgjob_wake_worker(taking.key.database, taking.key.role);
		*group = taking.group_size > 1;
		if (*group)
		{
			RESUME_INTERRUPTS(); /* the slot names no job yet */
			if (taking.n < taking.group_size)
				(void) refill(rel, &taking.key, taken + taking.n, taking.group_size - taking.n);
			claimed = claim_next(rel, jobs, job, NULL);
			continue;
		}
		claimed = claim_item(rel, jobs, &taken[0], job, NULL) == CLAIMED;
		is_popped = false;
		if (claimed)
			bgjob_slot_claimed();
		else
		{
			bgjob_slot_end(false);
			RESUME_INTERRUPTS();
		}
	}
	bgjob_rel_close(rel);
	return claimed;
}

/* bgjob_queue_give_back has others find the job again that this worker had taken when its claim failed. */
void
bgjob_queue_give_back(void)
{
	if (is_popped)
		bgjob_announce_found(&taking.key, &taken[0], 1);
	is_popped = false;
}

/*
 * Where a lane is in the index. The number is the one of its first row: what
 * would follow from queue and priority is another one where somebody wrote the
 * row by hand, and would lead back to the same row, or past others.
 */
typedef struct Place
{
	BgjobLaneKey lane;
	int64 number;
} Place;

/* Reads the lane of the first row, dead or alive, that fits the keys; false if there is none. */
static bool
first_any(BgjobRel *rel, ScanKey keys, int nkeys, Place *place)
{
	BgjobScan *scan = bgjob_scan_begin(rel, QUEUE_INDEX, SnapshotAny, keys, nkeys);
	bool found = bgjob_scan_next(scan);

	if (found)
	{
		row_lane(rel->slot, &place->lane);
		place->number = DatumGetInt64(rel->slot->tts_values[Q_LANE - 1]);
	}
	ExecClearTuple(rel->slot);
	bgjob_scan_end(scan);
	return found;
}

/* Goes on to the next lane that the index has any entry of; from one without a role to the first. */
static bool
next_lane(BgjobRel *rel, Place *place)
{
	ScanKeyData keys[2];

	bgjob_key(&keys[0], I_ROLE, BTEqualStrategyNumber, F_OIDEQ,
			  ObjectIdGetDatum(place->lane.role));
	bgjob_key(&keys[1], I_LANE, BTGreaterStrategyNumber, F_INT8GT,
			  Int64GetDatum(place->number));
	if (OidIsValid(place->lane.role) && first_any(rel, keys, 2, place))
		return true;
	bgjob_key(&keys[0], I_ROLE, BTGreaterStrategyNumber, F_OIDGT,
			  ObjectIdGetDatum(place->lane.role));
	return first_any(rel, keys, 1, place);
}

/* How far the scheduler has come; without a role: everything has been discovered. */
static Place discovered;
static bool discovering = false;

/* bgjob_queue_discover_anew has bgjob_queue_discover begin at the first lane. */
void
bgjob_queue_discover_anew(void)
{
	memset(&discovered, 0, sizeof(discovered));
	discovering = true;
}

/* bgjob_queue_is_discovered tells whether bgjob_queue_discover has come to the last lane. */
bool
bgjob_queue_is_discovered(void)
{
	return !discovering;
}

/*
 * bgjob_queue_discover makes sure that there is a lane for all that is in the
 * queue, whoever put it there, and has what is in these lanes swept
 * (bgjob_queue_sweep). It steps from lane to lane along the index
 * without regard to visibility, so dead rows cost it nothing. It goes on where
 * it stopped the last time, LANES_AT_A_TIME further; true if that was the end.
 */
bool
bgjob_queue_discover(void)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_QUEUE);
	bool found = true;

	for (int i = 0; i < LANES_AT_A_TIME && found; i++)
	{
		CHECK_FOR_INTERRUPTS();
		found = next_lane(rel, &discovered);
		if (found)
			bgjob_lane_ensure(&discovered.lane);
	}
	bgjob_rel_close(rel);
	discovering = found;
	return !found;
}

/*
 * Goes back along a lane from below a place, at most LOOK_AT_MOST rows. Counts
 * what is ready, and keeps the lowest of it, at most "max", in the order of their
 * places. *reached is the last place that was looked at, PG_INT64_MIN at the end.
 */
static int
sweep_lane(BgjobRel *rel, Relation index, const BgjobLaneKey *key, int64 below,
		   BgjobLaneItem *items, int max, int64 *reached)
{
	LaneScan scan;
	BgjobLaneItem item;
	int n = 0;

	lane_scan_begin(&scan, rel, index, key, BTLessStrategyNumber, F_INT8LT, below);
	*reached = PG_INT64_MIN;
	while (*reached == PG_INT64_MIN && lane_scan_next(&scan, BackwardScanDirection))
	{
		CHECK_FOR_INTERRUPTS();
		if (lane_scan_item(&scan, &item))
		{
			memmove(items + 1, items, Min(n, max - 1) * sizeof(BgjobLaneItem));
			items[0] = item;
			n++;
		}
		if (scan.visited == LOOK_AT_MOST)
			*reached = scan.pos;
	}
	lane_scan_end(&scan);
	return n;
}

/*
 * bgjob_queue_sweep takes a step of looking for what is in the queue and has not
 * been announced (base/lane.c). By the scheduler. False: everything has been looked at.
 */
bool
bgjob_queue_sweep(void)
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
	index = index_open(bgjob_relation_oid(QUEUE_INDEX), AccessShareLock);
	n = sweep_lane(rel, index, &key, below, items, lengthof(items), &reached);
	index_close(index, AccessShareLock);
	bgjob_rel_close(rel);
	if (n > 0)
		bgjob_announce_found(&key, items, n);
	bgjob_lane_swept(&key, below, reached);
	return true;
}

/*
 * bgjob_queue_look looks into the queue for lanes of a database that nothing is
 * known of, and that no worker could look into. By the scheduler. False if there
 * are more than it looks at in one go.
 */
bool
bgjob_queue_look(Oid database)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_QUEUE);
	BgjobLaneKey keys[LANES_AT_A_TIME];
	int n = bgjob_lanes_unknown(database, keys, LANES_AT_A_TIME);

	for (int i = 0; i < n; i++)
	{
		(void) refill(rel, &keys[i], taken, 0);
		CHECK_FOR_INTERRUPTS();
	}
	bgjob_rel_close(rel);
	return bgjob_lanes_unknown(database, keys, 1) == 0;
}

/* bgjob_queue_jobs_of_role returns jobs of a role that are in the queue, at most max; their number. */
int
bgjob_queue_jobs_of_role(Oid role, int64 *jobs, int max)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_QUEUE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData key;
	BgjobScan *scan;
	int n = 0;

	bgjob_key(&key, I_ROLE, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
	scan = bgjob_scan_begin(rel, QUEUE_INDEX, snapshot, &key, 1);
	while (n < max && bgjob_scan_next(scan))
	{
		slot_getallattrs(rel->slot);
		jobs[n++] = row_job(rel->slot);
	}
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return n;
}

static bool
has_row(BgjobRel *rel, Snapshot snapshot, Oid role, const char *queue, int priority, int64 pos)
{
	ScanKeyData keys[3];
	BgjobScan *scan;
	bool found;

	lane_keys(keys, role, queue, priority, BTEqualStrategyNumber, F_INT8EQ, pos);
	scan = bgjob_scan_begin(rel, QUEUE_INDEX, snapshot, keys, 3);
	found = bgjob_scan_next(scan);
	bgjob_scan_end(scan);
	return found;
}

/* bgjob_queue_has tells whether the queue has a row at a place, as a query sees it. */
bool
bgjob_queue_has(Oid role, const char *queue, int priority, int64 pos)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_QUEUE);
	bool found = has_row(rel, GetActiveSnapshot(), role, queue, priority, pos);

	bgjob_rel_close(rel);
	return found;
}

/* Whether a job that waits has its row in the queue. */
static bool
is_in_queue(BgjobRel *rel, const BgjobJob *job)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	bool found = has_row(rel, snapshot, job->run_as, job->queue, job->priority, job->pos);

	UnregisterSnapshot(snapshot);
	return found;
}

/* Whether a job is in the table that its state says. */
static bool
is_in_place(BgjobRel *queue, const BgjobJob *job)
{
	switch (job->state)
	{
		case BGJOB_ENQUEUED:
			return is_in_queue(queue, job);
		case BGJOB_SCHEDULED:
			return bgjob_schedule_has(job->run_as,
									  DatumGetTimestampTz(bgjob_job_datum(job, BGJOB_C_RUN_AT)),
									  job->id);
		case BGJOB_PROCESSING:
			return bgjob_claim_is_held(job->id);
		case BGJOB_FAILED:
			return bgjob_failure_has(job->id);
		default:
			return true;
	}
}

/* Whether jobs in a state are in some table besides bgjob.job. */
static bool
has_place(char letter)
{
	BgjobState state = bgjob_state_by_letter(letter);

	return state == BGJOB_ENQUEUED || state == BGJOB_SCHEDULED || state == BGJOB_PROCESSING ||
		   state == BGJOB_FAILED;
}

/*
 * Puts one job to where its state says that it belongs, if it is not there.
 * Jobs that others are at are in their places, or become so; only what is
 * missing in both looks, the second with the row locked, is put there. Returns
 * whether something will be performed that would not have been.
 */
static bool
rebuild_one(BgjobRel *jobs, BgjobRel *queue, int64 id)
{
	BgjobCircumstances what = {.at = bgjob_now(), .reason = "Restored from a copy"};
	TimestampTz run_at;
	BgjobJob job;

	if (!bgjob_job_read(jobs, id, &job) || is_in_place(queue, &job) ||
		!bgjob_job_lock(jobs, &job) || is_in_place(queue, &job))
		return false;
	switch (job.state)
	{
		case BGJOB_ENQUEUED:
			bgjob_queue_insert(&job);
			return true;
		case BGJOB_PROCESSING:
			bgjob_job_apply(&job, BGJOB_EV_INTERRUPT, &what);
			bgjob_job_save(jobs, &job);
			return true;
		case BGJOB_SCHEDULED:
			run_at = DatumGetTimestampTz(bgjob_job_datum(&job, BGJOB_C_RUN_AT));
			bgjob_schedule_insert(job.run_as, run_at, job.id, job.queue);
			return true;
		default:
			bgjob_failure_insert(job.id, job.queue);
			return false;
	}
}

/*
 * Whether a job would be performed if it were where its state says. What is
 * missing in both looks is: in between a worker may have performed it.
 */
static bool
is_held_back(BgjobRel *jobs, BgjobRel *queue, int64 id)
{
	BgjobJob job;

	for (int look = 0; look < 2; look++)
		if (!bgjob_job_read(jobs, id, &job) || bgjob_state_is_final(job.state) ||
			is_in_place(queue, &job))
			return false;
	return true;
}

/*
 * bgjob_queue_count_held_back counts jobs that bgjob_queue_rebuild would put
 * into place: among "max" that follow the id *after, which is moved on. Returns
 * their number; *all: these were the last.
 */
int64
bgjob_queue_count_held_back(int64 *after, int max, bool *all)
{
	BgjobRel *jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	BgjobRel *queue = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	int64 *ids = palloc(max * sizeof(int64));
	Snapshot snapshot = bgjob_rel_snapshot(jobs);
	ScanKeyData key;
	BgjobScan *scan;
	int visited = 0;
	int n = 0;
	int64 held = 0;

	bgjob_key(&key, 1, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(*after));
	scan = bgjob_scan_begin(jobs, "job_pkey", snapshot, &key, 1);
	while (visited < max && bgjob_scan_next(scan))
	{
		bool isnull;

		visited++;
		*after = DatumGetInt64(slot_getattr(jobs->slot, BGJOB_C_ID, &isnull));
		if (!bgjob_state_is_final(bgjob_state_by_letter(
				DatumGetChar(slot_getattr(jobs->slot, BGJOB_C_STATE, &isnull)))))
			ids[n++] = *after;
	}
	*all = visited < max;
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (is_held_back(jobs, queue, ids[i]))
			held++;
	}
	bgjob_rel_close(queue);
	bgjob_rel_close(jobs);
	pfree(ids);
	return held;
}

/*
 * bgjob_queue_rebuild puts every job that is waiting, but is in neither queue
 * nor schedule, where it belongs: after a restore. Returns their number. Ids
 * that are drawn afterwards are higher than all that are there.
 */
int64
bgjob_queue_rebuild(void)
{
	BgjobRel *jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	BgjobRel *queue = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	Snapshot snapshot = bgjob_rel_snapshot(jobs);
	TableScanDesc scan = table_beginscan(jobs->rel, snapshot, 0, NULL);
	TupleTableSlot *slot = table_slot_create(jobs->rel, NULL);
	MemoryContext per_row =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob rebuild", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(per_row);
	int64 highest = 0;
	int64 n = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool isnull;

		CHECK_FOR_INTERRUPTS();
		highest = Max(highest, DatumGetInt64(slot_getattr(slot, BGJOB_C_ID, &isnull)));
		highest = Max(highest, DatumGetInt64(slot_getattr(slot, BGJOB_C_POS, &isnull)));
		if (has_place(DatumGetChar(slot_getattr(slot, BGJOB_C_STATE, &isnull))) &&
			rebuild_one(jobs, queue, DatumGetInt64(slot_getattr(slot, BGJOB_C_ID, &isnull))))
			n++;
		MemoryContextReset(per_row);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(per_row);
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(queue);
	bgjob_rel_close(jobs);
	bgjob_ids_reach(highest);
	return n;
}
