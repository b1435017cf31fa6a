/*-------------------------------------------------------------------------
 *
 * chunkjobs.c
 *	  The jobs that a worker performs in one call, in shared memory.
 *
 * A chunk (run/chunk.c) is a group (base/groupitems.c) of which all jobs that were begun
 * are performed in one call. The worker shows each job here before it claims it, so
 * whoever looks for the worker of a claimed job finds it. The slot names one of the jobs:
 * the first, or the one that a request was left for. Who wants to leave a request for
 * another one has the slot name that first (bgjob_chunk_name); not if there is a request
 * already. So all that base/registry.h says of requests holds for chunks, too.
 *
 * The jobs are shown until the group ends. The worker alone writes the list, under the
 * lock of the group, and the length under the slot's mutex as well. Readers use
 * either; the functions that take a slot are for any process.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/chunkjobs.h"
#include "base/slot.h"

/* Sets how many jobs of this worker's group are begun, and shown. The lock of the group is held. */
static void
set_begun(BgjobGroupItems *items, int n)
{
	items->next = n;
	SpinLockAcquire(&bgjob_my_slot->mutex);
	bgjob_my_slot->chunk = n;
	SpinLockRelease(&bgjob_my_slot->mutex);
}

/* Removes n jobs of this worker's group, from an index on. Its lock is held. */
static void
remove_items(BgjobGroupItems *items, int first, int n)
{
	int rest = items->n - first - n;

	memmove(&items->pos[first], &items->pos[first + n], rest * sizeof(int64));
	memmove(&items->job[first], &items->job[first + n], rest * sizeof(int64));
	items->n -= n;
}

/* bgjob_chunk_begin begins a chunk with the job at an index of this worker's group; those before it are removed. */
void
bgjob_chunk_begin(int first)
{
	BgjobGroupItems *items = bgjob_my_slot->group;

	LWLockAcquire(&items->lock, LW_EXCLUSIVE);
	remove_items(items, 0, first);
	set_begun(items, 1);
	LWLockRelease(&items->lock);
}

/* bgjob_chunk_next shows the next job of the group, which the worker is about to claim. False: there is none. */
bool
bgjob_chunk_next(void)
{
	BgjobGroupItems *items = bgjob_my_slot->group;
	bool any;

	LWLockAcquire(&items->lock, LW_EXCLUSIVE);
	any = items->next < items->n;
	if (any)
		set_begun(items, items->next + 1);
	LWLockRelease(&items->lock);
	return any;
}

/* bgjob_chunk_drop removes the job that was shown last: it was not there to be claimed. */
void
bgjob_chunk_drop(void)
{
	BgjobGroupItems *items = bgjob_my_slot->group;

	LWLockAcquire(&items->lock, LW_EXCLUSIVE);
	set_begun(items, items->next - 1);
	remove_items(items, items->next, 1);
	LWLockRelease(&items->lock);
}

/* bgjob_chunk_keep hides the job that was shown last: it does not fit, and is not begun. */
void
bgjob_chunk_keep(void)
{
	BgjobGroupItems *items = bgjob_my_slot->group;

	LWLockAcquire(&items->lock, LW_EXCLUSIVE);
	set_begun(items, items->next - 1);
	LWLockRelease(&items->lock);
}

/* bgjob_chunk_cut hands out the jobs of this worker's group that are not begun. False: there are none. */
bool
bgjob_chunk_cut(BgjobGroupRest *rest)
{
	BgjobGroupItems *items = bgjob_my_slot->group;

	LWLockAcquire(&items->lock, LW_EXCLUSIVE);
	*rest = (BgjobGroupRest){.role = items->role,
							 .priority = items->priority,
							 .pos = PG_INT64_MAX,
							 .count = items->n - items->next};
	strlcpy(rest->queue, items->queue, sizeof(rest->queue));
	for (int i = items->next; i < items->n; i++)
		rest->pos = Min(rest->pos, items->pos[i]);
	items->n = items->next;
	LWLockRelease(&items->lock);
	return rest->count > 0;
}

/* Returns the index of a job in the chunk of a slot, -1 if it is not in it. The lock of the group is held. */
static int
find_in_chunk(const BgjobSlot *slot, int64 job)
{
	for (int i = 0; i < slot->chunk; i++)
		if (slot->group->job[i] == job)
			return i;
	return -1;
}

/* bgjob_chunk_has returns whether a worker performs a job in a chunk. */
bool
bgjob_chunk_has(BgjobSlot *slot, int64 job)
{
	bool has;

	if (slot->chunk == 0)
		return false;
	LWLockAcquire(&slot->group->lock, LW_SHARED);
	has = find_in_chunk(slot, job) >= 0;
	LWLockRelease(&slot->group->lock);
	return has;
}

/* bgjob_chunk_jobs copies the jobs of the chunk of a slot, at most BGJOB_GROUP_MAX; returns their number. */
int
bgjob_chunk_jobs(BgjobSlot *slot, int64 *jobs)
{
	int n;

	if (slot->chunk == 0)
		return 0;
	LWLockAcquire(&slot->group->lock, LW_SHARED);
	n = slot->chunk;
	memcpy(jobs, slot->group->job, n * sizeof(int64));
	LWLockRelease(&slot->group->lock);
	return n;
}

/*
 * bgjob_chunk_name makes a slot name another job of its chunk, so that a request can be
 * left for it. Not if there is a request already, or the worker is past the point of no
 * return. Returns whether the job is in the chunk.
 */
bool
bgjob_chunk_name(BgjobSlot *slot, int64 job)
{
	int i;

	if (slot->chunk == 0)
		return false;
	LWLockAcquire(&slot->group->lock, LW_SHARED);
	i = find_in_chunk(slot, job);
	if (i >= 0)
	{
		SpinLockAcquire(&slot->mutex);
		if (slot->phase == BGJOB_PHASE_PERFORMING && slot->request == BGJOB_REQUEST_NONE)
		{
			slot->job = job;
			slot->pos = slot->group->pos[i];
		}
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(&slot->group->lock);
	return i >= 0;
}
