/*-------------------------------------------------------------------------
 *
 * behind.c
 *	  Which jobs a role's workers take before a given one.
 *
 * bgjob_behind counts the rows of the queue whose turn comes before that of a job
 * in the queue: those of the lanes that go first, and those of lanes of the same level
 * and priority with a lower position. Jobs that a worker has, and those of paused
 * queues, do not count.
 *
 * A lane in shared memory has its next jobs at hand, and says from where the queue
 * must be scanned for more; so rows that are dead, and that a held snapshot keeps,
 * are not visited. Lanes that are not in shared memory are found by walking along
 * the index, as workers find them.
 *
 * The cost is bounded, whatever there is: when enough jobs are counted, or the
 * entries and blocks that may be read are used up, the count is a lower bound. A
 * lane is scanned from the job towards its head: a job with many before it has
 * them near.
 *
 * bgjob_first_turn only finds the first one: mostly a lane has it at hand.
 *
 * Any process, inside a transaction, also on a standby and where the library is
 * not preloaded. No locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "base/database.h"
#include "base/lanesurvey.h"
#include "miscadmin.h"
#include "store/behind.h"
#include "store/lanescan.h"
#include "store/queue.h"
#include "store/queuerow.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

/* Maximal number of blocks read, about; for each scan so many are assumed for the descent. */
#define BLOCKS_AT_MOST    300
#define BLOCKS_OF_DESCENT 4

/* About so many index entries are in a block. */
#define ENTRIES_OF_BLOCK 200

typedef struct Count
{
	BgjobRel *rel;
	Relation index;
	const char *list; /* of queues, in the order of taking */
	const BgjobPausedQueues *paused;
	BgjobTurn turn; /* of the job */
	int64 jobs;
	int64 most;
	int entries; /* that may still be read */
	int blocks;  /* likewise */
} Count;

static bool
is_over(const Count *count)
{
	return count->jobs >= count->most || count->entries <= 0 || count->blocks <= 0;
}

/* Returns the position below which the jobs of a lane go before the job; PG_INT64_MIN: none does. */
static int64
limit_in(const Count *count, const BgjobLaneKey *key)
{
	BgjobTurn last = {.level = bgjob_queue_level(count->list, key->queue),
					  .priority = key->priority,
					  .pos = PG_INT64_MAX};
	BgjobTurn first = last;

	if (last.level < 0 || bgjob_queue_is_paused(count->paused, key->queue))
		return PG_INT64_MIN;
	first.pos = PG_INT64_MIN;
	if (bgjob_turn_is_before(&last, &count->turn))
		return PG_INT64_MAX;
	return bgjob_turn_is_before(&first, &count->turn) ? count->turn.pos : PG_INT64_MIN;
}

/* Counts the rows of a lane that are ready, from one position to below another. */
static void
count_rows(Count *count, const BgjobLaneKey *key, int64 from, int64 below)
{
	BlockNumber block = InvalidBlockNumber;
	BgjobLaneScan scan;
	BgjobLaneItem item;

	if (below <= from || is_over(count))
		return;
	bgjob_lanescan_begin(&scan, count->rel, count->index, key->group.role, key->number,
						 BTLessStrategyNumber, F_INT8LT, below);
	count->blocks -= BLOCKS_OF_DESCENT;
	while (!is_over(count) && bgjob_lanescan_next(&scan, BackwardScanDirection) &&
		   scan.pos >= from)
	{
		BlockNumber of_row = ItemPointerGetBlockNumber(&scan.scan->xs_heaptid);

		CHECK_FOR_INTERRUPTS();
		count->entries--;
		count->blocks -= (of_row != block) + (scan.visited % ENTRIES_OF_BLOCK == 0);
		block = of_row;
		if (bgjob_lanescan_item(&scan, key, &item))
			count->jobs++;
	}
	bgjob_lanescan_end(&scan);
}

/* Returns whether a row that a lane has at hand is still there. */
static bool
is_there(Count *count, Snapshot snapshot, const BgjobLaneItem *item)
{
	ItemPointerData tid = item->tid;
	bool isnull;
	bool there;

	if (!ItemPointerIsValid(&tid))
		return true;
	count->blocks--;
	there = bgjob_rel_fetch(count->rel, &tid, snapshot) &&
			DatumGetInt64(slot_getattr(count->rel->slot, BGJOB_Q_POS, &isnull)) == item->pos;
	ExecClearTuple(count->rel->slot);
	return there;
}

/* Counts the rows of a lane in shared memory that go before the job. */
static void
count_lane(Count *count, const BgjobLaneCopy *lane)
{
	int64 limit = limit_in(count, &lane->key);
	int64 mark = lane->more ? lane->mark : PG_INT64_MAX; /* a scan finds what is behind it */
	Snapshot snapshot;

	if (limit == PG_INT64_MIN)
		return;
	snapshot = bgjob_rel_snapshot(count->rel);
	for (int i = 0; i < lane->nitems && !is_over(count); i++)
		if (lane->items[i].pos < Min(limit, mark) && is_there(count, snapshot, &lane->items[i]))
			count->jobs++;
	UnregisterSnapshot(snapshot);
	count_rows(count, &lane->key, mark, limit);
}

static bool
is_known(const BgjobLaneCopy *lanes, int nlanes, int64 number)
{
	for (int i = 0; i < nlanes; i++)
		if (lanes[i].key.number == number)
			return true;
	return false;
}

/* Counts the rows of the lanes of a role that are in the index and not in shared memory. */
static void
count_other_lanes(Count *count, const BgjobLaneGroupKey *group, const BgjobLaneCopy *lanes,
				  int nlanes)
{
	int64 number = PG_INT64_MIN;
	BgjobLanePlace place;

	while (!is_over(count) && bgjob_lanes_from(count->rel, group->role, number, &place))
	{
		count->blocks -= BLOCKS_OF_DESCENT + 1;
		place.lane.number = place.number;
		if (place.lane.group.kind == group->kind && !is_known(lanes, nlanes, place.number))
			count_rows(count, &place.lane, PG_INT64_MIN, limit_in(count, &place.lane));
		if (place.number == PG_INT64_MAX)
			break;
		number = place.number + 1;
	}
}

/* Returns whether the lanes in shared memory are all that have jobs: a scheduler has discovered them. */
static bool
is_discovered(void)
{
	const BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);

	return entry != NULL && entry->ready;
}

/*
 * bgjob_behind counts the jobs that the workers of a role take before a job of the
 * role that is in the queue, but not more than "most". "list" is that of the queues that
 * the workers take.
 */
BgjobBehind
bgjob_behind(const BgjobJob *job, const char *list, const BgjobPausedQueues *paused, int64 most)
{
	Count count = {.list = list,
				   .paused = paused,
				   .turn = {bgjob_queue_level(list, job->queue), job->priority, job->pos},
				   .most = most,
				   .entries = BGJOB_SCAN_AT_MOST,
				   .blocks = BLOCKS_AT_MOST};
	BgjobLaneGroupKey group;
	BgjobLaneCopy *lanes;
	BgjobLaneKey lane;
	int nlanes;
	bool all;

	bgjob_queue_lane(job, &lane);
	group = lane.group;
	lanes = bgjob_lanes_copy(&group, &nlanes, &all);
	count.rel = bgjob_rel_open_read(BGJOB_TABLE_QUEUE);
	count.index = index_open(bgjob_relation_oid(BGJOB_QUEUE_INDEX), AccessShareLock);
	for (int i = 0; i < nlanes && !is_over(&count); i++)
		count_lane(&count, &lanes[i]);
	if (!all || !is_discovered())
		count_other_lanes(&count, &group, lanes, nlanes);
	index_close(count.index, AccessShareLock);
	bgjob_rel_close(count.rel);
	pfree(lanes);
	return (BgjobBehind){.jobs = count.jobs, .all = !is_over(&count)};
}

/* ---- the first one ---- */

/* Maximal number of lanes of a role that are scanned for the first job, and of the rows visited there. */
#define FIRST_LANES 8
#define FIRST_ROWS  64

/* Sets *pos to the position of the first ready row of a lane, from a position on; false: none is near. */
static bool
find_first_row(BgjobRel *rel, Relation index, const BgjobLaneKey *key, int64 from, int64 *pos)
{
	BgjobLaneScan scan;
	BgjobLaneItem item;
	bool found = false;

	bgjob_lanescan_begin(&scan, rel, index, key->group.role, key->number,
						 BTGreaterEqualStrategyNumber, F_INT8GE, from);
	while (!found && scan.visited < FIRST_ROWS &&
		   bgjob_lanescan_next(&scan, ForwardScanDirection))
		found = bgjob_lanescan_item(&scan, key, &item);
	bgjob_lanescan_end(&scan);
	if (found)
		*pos = item.pos;
	return found;
}

/* Sets *pos to the position of the first job of a lane in shared memory; false: there is none, or it is not known. */
static bool
first_of_lane(const BgjobLaneCopy *lane, BgjobRel *rel, Relation index, int *scans, int64 *pos)
{
	if (lane->nitems > 0)
		*pos = lane->items[0].pos;
	else if (*scans == FIRST_LANES)
		return false;
	else
	{
		(*scans)++;
		return find_first_row(rel, index, &lane->key, lane->mark, pos);
	}
	return true;
}

/*
 * bgjob_first_turn sets *first to the turn of the job that the workers of a role, of
 * a server with this list of queues, take next. False: there is none in the lanes in shared memory, or it is not known.
 */
bool
bgjob_first_turn(Oid role, const char *list, const BgjobPausedQueues *paused, BgjobTurn *first)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_QUEUE);
	Relation index = index_open(bgjob_relation_oid(BGJOB_QUEUE_INDEX), AccessShareLock);
	BgjobLaneGroupKey group;
	bool found = false;
	int scans = 0;
	BgjobLaneCopy *lanes;
	int nlanes;
	bool all;

	bgjob_lane_group_key(&group, MyDatabaseId, role, BGJOB_LANE_INTERNAL);
	lanes = bgjob_lanes_copy(&group, &nlanes, &all);
	for (int i = 0; i < nlanes; i++)
	{
		const BgjobLaneCopy *lane = &lanes[i];
		BgjobTurn turn = {.level = bgjob_queue_level(list, lane->key.queue),
						  .priority = lane->key.priority,
						  .pos = lane->nitems > 0 ? lane->items[0].pos : lane->mark};

		if (turn.level < 0 || (lane->nitems == 0 && !lane->more) ||
			(found && !bgjob_turn_is_before(&turn, first)) ||
			bgjob_queue_is_paused(paused, lane->key.queue) ||
			!first_of_lane(lane, rel, index, &scans, &turn.pos) ||
			(found && !bgjob_turn_is_before(&turn, first)))
			continue;
		*first = turn;
		found = true;
	}
	pfree(lanes);
	index_close(index, AccessShareLock);
	bgjob_rel_close(rel);
	return found;
}
