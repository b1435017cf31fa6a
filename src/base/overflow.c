/*-------------------------------------------------------------------------
 *
 * overflow.c
 *	  The lanes of a group for which it has no room.
 *
 * The overflow of a group is a lane itself (base/lane.c), whose line is that of
 * the lanes in the index of bgjob_internal.queue, and whose positions are their numbers.
 * Its items are numbers of lanes with jobs; its mark is the number from which the
 * index must be walked to find more. So nothing is stranded here for the same
 * reason as there. Since higher priorities have lower numbers, they come first.
 *
 * A worker brings a lane in (store/lanescan.c) when there is room, when it is of a
 * higher priority than what the worker would take next, or when that lane has
 * had its turn: BGJOB_LANE_TURN jobs. A lane that has to give way, or that gets
 * jobs while others of its priority wait, goes behind these: "behind" is the
 * lowest number of such lanes, and is walked from when the others have come in.
 *
 * Where a database has several servers, a worker may take none of the lanes that are
 * in the group. Then it walks along the whole index for lanes that it takes, and brings
 * these in; others give way. It does so again when "noted" of the group has grown.
 *
 * What this cannot keep, where a role has more lanes with jobs than a group may
 * have: of these lanes those of one priority are served in turns, not by the
 * age of their jobs, and their priority counts before the order of queues.
 *
 * Any process. The caller holds the lock of the group where it is said.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/overflow.h"

/* bgjob_overflow_is_empty returns whether all lanes with jobs have room, at this instant. */
bool
bgjob_overflow_is_empty(const BgjobLaneGroup *group)
{
	return group->behind == PG_INT64_MAX && bgjob_lane_is_empty(&group->overflow);
}

/* Returns the lowest number that may have jobs, of those that come next; PG_INT64_MAX: none. */
static int64
lowest_number(BgjobLaneGroup *group)
{
	int64 number = PG_INT64_MAX;

	if (bgjob_lane_peek(&group->overflow, &number) == BGJOB_LANE_UNKNOWN)
		number = group->overflow.mark;
	return number;
}

/*
 * bgjob_overflow_note notes that a lane which is not in the group has "count"
 * more jobs. It goes behind those of its priority that are waiting already, but
 * for one that a walk will come to. The lock of the group is held, exclusively.
 * Does not throw.
 */
void
bgjob_overflow_note(BgjobLaneGroup *group, int64 number, int64 count)
{
	BgjobLaneItem item = {.pos = number};
	BgjobLane *overflow = &group->overflow;
	int64 lowest = lowest_number(group);

	if (lowest == PG_INT64_MAX ||
		bgjob_lane_number_priority(number) != bgjob_lane_number_priority(lowest) ||
		(overflow->more && number >= overflow->mark))
		bgjob_lane_insert(overflow, &item);
	else
		group->behind = Min(group->behind, number);
	overflow->backlog += count;
	group->noted++;
}

/* Returns whether the lanes that were put behind come next. */
static bool
is_turn_of_behind(const BgjobLaneGroup *group, int64 lowest)
{
	return group->behind != PG_INT64_MAX &&
		   (lowest == PG_INT64_MAX ||
			bgjob_lane_number_priority(group->behind) > bgjob_lane_number_priority(lowest));
}

static bool
has_empty_lane(const BgjobLaneGroup *group)
{
	for (const BgjobLane *lane = group->lanes; lane != NULL; lane = lane->next)
		if (lane->users == 0 && bgjob_lane_is_empty(lane))
			return true;
	return false;
}

/*
 * bgjob_overflow_may_come_in returns whether lanes should be brought in before
 * anything is taken from "first" (NULL: there is nothing to take), whose queue goes
 * before those that are not named in the list of queues (named). The lock of
 * the group is held.
 */
bool
bgjob_overflow_may_come_in(BgjobLaneGroup *group, const BgjobLane *first, bool named)
{
	int64 lowest;
	int priority;

	if (bgjob_overflow_is_empty(group))
		return false;
	if (first == NULL || has_empty_lane(group))
		return true;
	if (named)
		return false;
	lowest = lowest_number(group);
	if (is_turn_of_behind(group, lowest))
		lowest = group->behind;
	priority = bgjob_lane_number_priority(lowest);
	return priority > first->key.priority ||
		   (priority == first->key.priority && first->taken >= BGJOB_LANE_TURN);
}

/*
 * bgjob_overflow_pop takes the number of the lane that is next. False if none is
 * known: the index is to be walked, if bgjob_overflow_is_empty says that there may
 * be one. Takes the lock of the group. Does not throw.
 */
bool
bgjob_overflow_pop(BgjobLaneGroup *group, int64 *number)
{
	BgjobLane *overflow = &group->overflow;
	BgjobLaneItem item;
	int one = 1;
	bool more;
	int n;

	LWLockAcquire(&group->lock, LW_EXCLUSIVE);
	if (is_turn_of_behind(group, lowest_number(group)))
	{
		item = (BgjobLaneItem){.pos = group->behind};
		group->behind = PG_INT64_MAX;
		bgjob_lane_note(overflow, &item, 1, 0);
	}
	LWLockAcquire(&overflow->mutex, LW_EXCLUSIVE);
	n = bgjob_lane_pop(overflow, &item, &one, &more);
	LWLockRelease(&overflow->mutex);
	LWLockRelease(&group->lock);
	*number = item.pos;
	return n > 0;
}

/*
 * bgjob_overflow_put_back notes a number again that was popped, and whose lane has
 * not been brought in. Takes the lock of the group. Does not throw.
 */
void
bgjob_overflow_put_back(BgjobLaneGroup *group, int64 number)
{
	LWLockAcquire(&group->lock, LW_EXCLUSIVE);
	bgjob_overflow_note(group, number, 1);
	LWLockRelease(&group->lock);
}

/*
 * bgjob_overflow_bring_in adds the lane of a number that was popped. Returns false if
 * there is no room now: the number is to be put back. "takes": see bgjob_lane_add. Takes the lock of the group.
 * Does not throw.
 */
bool
bgjob_overflow_bring_in(BgjobLaneGroup *group, const BgjobLaneKey *key, BgjobLaneTakes takes)
{
	bool there;

	LWLockAcquire(&group->lock, LW_EXCLUSIVE);
	there = bgjob_lane_find(group, key) != NULL || bgjob_lane_add(group, key, takes) != NULL;
	LWLockRelease(&group->lock);
	return there;
}
