/*-------------------------------------------------------------------------
 *
 * groupitems.c
 *	  The jobs that a worker has taken to perform in one transaction.
 *
 * A worker that performs a group (run/group.c) names the positions of its jobs
 * here when it takes them from a lane. All of them are in flight: no other worker is
 * given them. The worker begins one after the other (bgjob_group_items_next).
 *
 * A group that takes too long must not keep the jobs that it has not begun. The
 * worker's timer sets "group_slow" and wakes the scheduler, which takes those
 * jobs out (bgjob_group_items_take_back) and announces them. Both work under the
 * lock of the group, so each job is either begun or taken back.
 *
 * What is not begun when the group ends, or all of it if the transaction was
 * rolled back, is handed out as a BgjobGroupRest, to be announced again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/groupitems.h"
#include "base/slot.h"
#include "base/wake.h"

/*
 * bgjob_group_items_begin begins a group of jobs of one lane; bgjob_group_items_add
 * adds positions to it, which are in flight from then on. They need not ascend.
 */
void
bgjob_group_items_begin(Oid role, const char *queue, int priority)
{
	BgjobGroupItems *items = bgjob_my_slot->group;

	LWLockAcquire(&items->lock, LW_EXCLUSIVE);
	items->role = role;
	items->priority = priority;
	strlcpy(items->queue, queue, sizeof(items->queue));
	items->n = items->next = 0;
	bgjob_my_slot->group_slow = false;
	LWLockRelease(&items->lock);
}

/* bgjob_group_items_add: see bgjob_group_items_begin. */
void
bgjob_group_items_add(const BgjobLaneItem *added, int n)
{
	BgjobGroupItems *items = bgjob_my_slot->group;

	LWLockAcquire(&items->lock, LW_EXCLUSIVE);
	Assert(items->n + n <= BGJOB_GROUP_MAX);
	for (int i = 0; i < n; i++)
	{
		items->pos[items->n + i] = added[i].pos;
		items->job[items->n + i] = added[i].job;
	}
	items->n += n;
	LWLockRelease(&items->lock);
}

/* bgjob_group_items_next begins the next job of the group. Returns its index, or -1 if there is none. */
int
bgjob_group_items_next(void)
{
	BgjobGroupItems *items = bgjob_my_slot->group;
	int next = -1;

	LWLockAcquire(&items->lock, LW_EXCLUSIVE);
	if (items->next < items->n)
		next = items->next++;
	LWLockRelease(&items->lock);
	return next;
}

/* bgjob_group_items_keep undoes bgjob_group_items_next: the job was not begun after all. */
void
bgjob_group_items_keep(void)
{
	LWLockAcquire(&bgjob_my_slot->group->lock, LW_EXCLUSIVE);
	bgjob_my_slot->group->next--;
	LWLockRelease(&bgjob_my_slot->group->lock);
}

/* Takes the jobs from index "first" on out of a group; returns whether there were any. Its lock is held. */
static bool
cut_items(BgjobGroupItems *items, int first, BgjobGroupRest *rest)
{
	int count = items->n - first;

	if (count <= 0)
		return false;
	rest->role = items->role;
	rest->priority = items->priority;
	strlcpy(rest->queue, items->queue, sizeof(rest->queue));
	rest->pos = items->pos[first];
	for (int i = first + 1; i < items->n; i++)
		rest->pos = Min(rest->pos, items->pos[i]);
	rest->count = count;
	items->n = first;
	return true;
}

/*
 * bgjob_group_items_end ends a group. *rest is set to the jobs that were not
 * begun or, with "all" (the transaction was aborted), to the whole group.
 * Returns false if there are none.
 */
bool
bgjob_group_items_end(BgjobSlot *slot, bool all, BgjobGroupRest *rest)
{
	bool any;

	LWLockAcquire(&slot->group->lock, LW_EXCLUSIVE);
	any = cut_items(slot->group, all ? 0 : slot->group->next, rest);
	slot->group->n = slot->group->next = 0;
	slot->group_slow = false;
	if (slot->chunk != 0)
	{
		SpinLockAcquire(&slot->mutex);
		slot->chunk = 0;
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(&slot->group->lock);
	return any;
}

/* bgjob_group_items_slow asks the scheduler to take back the jobs that were not begun. For a timer's handler. */
void
bgjob_group_items_slow(void)
{
	bgjob_my_slot->group_slow = true;
	bgjob_notify_scheduler(bgjob_my_slot->database, 0);
}

/* bgjob_group_items_take_back takes back what a slow worker has not begun; returns whether there was anything. */
bool
bgjob_group_items_take_back(BgjobSlot *slot, BgjobGroupRest *rest)
{
	bool any = false;

	if (!slot->group_slow)
		return false;
	LWLockAcquire(&slot->group->lock, LW_EXCLUSIVE);
	if (slot->group_slow)
		any = cut_items(slot->group, slot->group->next, rest);
	LWLockRelease(&slot->group->lock);
	return any;
}
