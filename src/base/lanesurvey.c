/*-------------------------------------------------------------------------
 *
 * lanesurvey.c
 *	  What the lanes tell about the jobs that wait.
 *
 * For sessions that ask why a job does not run (api/why.c). They only read: no
 * group or lane is added or pinned on their account, and what they copy is as of
 * one instant for each lane.
 *
 * The order of turns is that of base/taker.c: the level of the queue, then the
 * higher priority, then the lower position.
 *
 * Any process, also where the library is not preloaded: there are no lanes then.
 * Locks: shared, those of base/lanegroup.h in their order. What is needed is
 * allocated before.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/lanesurvey.h"
#include "base/overflow.h"
#include "base/registry.h"

/* bgjob_turn_is_before returns whether the turn of a job comes before that of another job of the same role. */
bool
bgjob_turn_is_before(const BgjobTurn *a, const BgjobTurn *b)
{
	if (a->level != b->level)
		return a->level < b->level;
	if (a->priority != b->priority)
		return a->priority > b->priority;
	return a->pos < b->pos;
}

typedef struct Copies
{
	const BgjobLaneGroupKey *key;
	BgjobLaneCopy *lanes;
	int n;
	bool all;
} Copies;

/* Copies a lane. While a scan is under way, what it will find counts as not yet read. */
static void
copy_lane(BgjobLane *lane, BgjobLaneCopy *copy)
{
	LWLockAcquire(&lane->mutex, LW_SHARED);
	copy->key = lane->key;
	copy->mark = lane->mark;
	copy->more = lane->more || lane->users > 0;
	copy->nitems = lane->nitems - lane->head;
	memcpy(copy->items, &lane->items[lane->head], copy->nitems * sizeof(BgjobLaneItem));
	LWLockRelease(&lane->mutex);
}

static void
copy_lanes(BgjobLaneGroup *group, void *arg)
{
	Copies *copies = arg;

	if (memcmp(&group->key, copies->key, sizeof(BgjobLaneGroupKey)) != 0)
		return;
	LWLockAcquire(&group->lock, LW_SHARED);
	for (BgjobLane *lane = group->lanes; lane != NULL && copies->n < BGJOB_LANES_OF_GROUP;
		 lane = lane->next)
		copy_lane(lane, &copies->lanes[copies->n++]);
	copies->all = bgjob_overflow_is_empty(group);
	LWLockRelease(&group->lock);
}

/*
 * bgjob_lanes_copy returns copies of the lanes of a group, in the current memory
 * context, and their number. *all: there are no jobs in other lanes of the group,
 * except for those that have not been announced.
 */
BgjobLaneCopy *
bgjob_lanes_copy(const BgjobLaneGroupKey *key, int *n, bool *all)
{
	Copies copies = {.key = key, .all = false};

	copies.lanes = palloc(BGJOB_LANES_OF_GROUP * sizeof(BgjobLaneCopy));
	if (bgjob_registry != NULL)
		bgjob_lane_groups_visit(key->database, copy_lanes, &copies);
	*n = copies.n;
	*all = copies.all;
	return copies.lanes;
}
