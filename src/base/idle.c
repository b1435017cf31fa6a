/*-------------------------------------------------------------------------
 *
 * idle.c
 *	  The workers of a lane group, and those of them that wait for work.
 *
 * A worker joins the group of its role when it begins to serve, and leaves it at
 * its exit, before its slot can be given to another process. While it waits for
 * work it is in the group's list, and "idle" is set in its slot. Exactly one process
 * takes it out of the list, to wake it or to retire it: each of two wakers wakes
 * another worker, and a worker that is retired while it is idle takes no job before
 * it leaves.
 *
 * The list is last in, first out, so that workers with warm caches go on and
 * superfluous workers reach their time-out.
 *
 * Any process. Lock: that of the list, held for a few instructions; no other is
 * taken under it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/idle.h"
#include "base/slot.h"
#include "storage/ipc.h"

/* Takes a slot out of the list of its group. Its lock is held. */
static void
unlink_slot(BgjobLaneGroup *group, BgjobSlot *slot)
{
	if (slot->idle_before != NULL)
		slot->idle_before->idle_after = slot->idle_after;
	else
		group->idle = slot->idle_after;
	if (slot->idle_after != NULL)
		slot->idle_after->idle_before = slot->idle_before;
	slot->idle = false;
	group->nidle--;
}

static void
leave(int code, Datum arg)
{
	BgjobLaneGroup *group = bgjob_my_slot->lanes;

	bgjob_idle_set(false);
	LWLockAcquire(&group->idle_lock, LW_EXCLUSIVE);
	group->nworkers--;
	LWLockRelease(&group->idle_lock);
	bgjob_my_slot->lanes = NULL;
	bgjob_lane_group_unpin(group);
}

/*
 * bgjob_idle_join makes this worker one of the group of its role, until it exits.
 * Raises 53200 if there is no room for the group.
 */
void
bgjob_idle_join(void)
{
	BgjobLaneGroupKey key;
	BgjobLaneGroup *group;

	bgjob_lane_group_key(&key, bgjob_my_slot->database, bgjob_my_slot->role,
						 BGJOB_LANE_INTERNAL);
	group = bgjob_lane_group_pin(&key);
	if (group == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY),
						errmsg("out of shared memory for the jobs of another role")));
	bgjob_my_slot->lanes = group;
	LWLockAcquire(&group->idle_lock, LW_EXCLUSIVE);
	group->nworkers++;
	LWLockRelease(&group->idle_lock);
	before_shmem_exit(leave, (Datum) 0);
}

/* bgjob_idle_set sets whether this worker waits for work. */
void
bgjob_idle_set(bool idle)
{
	BgjobSlot *slot = bgjob_my_slot;
	BgjobLaneGroup *group = slot->lanes;

	LWLockAcquire(&group->idle_lock, LW_EXCLUSIVE);
	if (idle && !slot->idle)
	{
		slot->idle_before = NULL;
		slot->idle_after = group->idle;
		if (group->idle != NULL)
			group->idle->idle_before = slot;
		group->idle = slot;
		slot->idle = true;
		group->nidle++;
	}
	else if (!idle && slot->idle)
		unlink_slot(group, slot);
	LWLockRelease(&group->idle_lock);
}

/* Returns the first worker in the list, from one on, that belongs to a server; NULL: there is none. The lock is held. */
static BgjobSlot *
first_of(BgjobSlot *slot, const BgjobServerSet *servers)
{
	while (slot != NULL && !bgjob_server_set_has(servers, slot->server))
		slot = slot->idle_after;
	return slot;
}

/*
 * bgjob_idle_take takes a worker of one of the servers out of the list that is not to
 * leave, to be woken; NULL: there is none.
 */
BgjobSlot *
bgjob_idle_take(BgjobLaneGroup *group, const BgjobServerSet *servers)
{
	BgjobSlot *slot;

	LWLockAcquire(&group->idle_lock, LW_EXCLUSIVE);
	do
	{
		slot = first_of(group->idle, servers);
		if (slot != NULL)
			unlink_slot(group, slot);
	} while (slot != NULL && slot->retire);
	LWLockRelease(&group->idle_lock);
	return slot;
}

/* bgjob_idle_first returns the worker that bgjob_idle_take would, if all of the group are idle; else NULL. */
BgjobSlot *
bgjob_idle_first(BgjobLaneGroup *group, const BgjobServerSet *servers)
{
	BgjobSlot *slot;

	LWLockAcquire(&group->idle_lock, LW_EXCLUSIVE);
	slot = group->nidle == group->nworkers ? first_of(group->idle, servers) : NULL;
	LWLockRelease(&group->idle_lock);
	return slot;
}

/* bgjob_idle_retire tells a worker to leave if it is idle, and returns whether it was; the caller wakes it. */
bool
bgjob_idle_retire(BgjobSlot *slot)
{
	BgjobLaneGroup *group = slot->lanes;
	bool idle;

	if (group == NULL)
		return false;
	LWLockAcquire(&group->idle_lock, LW_EXCLUSIVE);
	idle = slot->lanes == group && slot->idle && !slot->retire;
	if (idle)
	{
		unlink_slot(group, slot);
		slot->retire = true;
	}
	LWLockRelease(&group->idle_lock);
	return idle;
}
