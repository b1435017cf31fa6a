/*-------------------------------------------------------------------------
 *
 * wake.c
 *	  Wakes the processes of bgjob: workers, schedulers, the launcher.
 *
 * Any process may call these functions, also while it commits: they do not
 * throw. Latches are set without a lock: at worst, a process that has left, or the
 * new owner of a slot, is woken without need.
 *
 * base/idle.c knows which workers wait for work. Schedulers and the launcher have
 * flags besides their latches: a latch that is set while they wait for a lock is
 * consumed by that wait.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/database.h"
#include "base/idle.h"
#include "base/wake.h"
#include "storage/latch.h"

/* bgjob_wake_slot wakes the process of a slot, if it has one; the slot may change hands meanwhile. */
void
bgjob_wake_slot(const BgjobSlot *slot)
{
	Latch *latch = *(Latch *volatile const *) &slot->latch;

	if (latch != NULL)
		SetLatch(latch);
}

/* Returns the group whose workers perform the jobs of a role; NULL: there is none, and no worker. */
static BgjobLaneGroup *
group_of(Oid database, Oid role)
{
	BgjobLaneGroupKey key;

	bgjob_lane_group_key(&key, database, role, BGJOB_LANE_INTERNAL);
	return bgjob_lane_group(&key);
}

/* bgjob_wake_worker wakes one idle worker of a role, of one of the servers, if there is one. */
bool
bgjob_wake_worker(Oid database, Oid role, const BgjobServerSet *servers)
{
	BgjobLaneGroup *group = group_of(database, role);
	BgjobSlot *slot = group == NULL ? NULL : bgjob_idle_take(group, servers);

	if (slot != NULL)
		bgjob_wake_slot(slot);
	return slot != NULL;
}

/*
 * bgjob_prewake_worker wakes, before the running transaction commits, the worker
 * that bgjob_wake_worker will wake afterwards. By the time the commit is on
 * disk, its processor has left any sleep state, and its caches are warm. The
 * worker finds nothing and waits again; it stays idle throughout. Does nothing
 * while a worker of the role is awake: there are enough jobs then.
 */
void
bgjob_prewake_worker(Oid database, Oid role, const BgjobServerSet *servers)
{
	BgjobLaneGroup *group = group_of(database, role);
	BgjobSlot *slot = group == NULL ? NULL : bgjob_idle_first(group, servers);

	if (slot != NULL)
		bgjob_wake_slot(slot);
}

/* bgjob_retire_if_idle makes a worker leave at once if it is idle; returns whether it was idle. */
bool
bgjob_retire_if_idle(BgjobSlot *slot)
{
	bool idle = bgjob_idle_retire(slot);

	if (idle)
		bgjob_wake_slot(slot);
	return idle;
}

/* bgjob_notify_launcher wakes the launcher; with "rediscover" it reads pg_database again. */
void
bgjob_notify_launcher(bool rediscover)
{
	Latch *launcher;

	if (bgjob_registry == NULL)
		return;
	if (rediscover)
		bgjob_registry->rediscover = true;
	bgjob_registry->called = true;
	pg_memory_barrier();
	launcher = bgjob_registry->launcher;
	if (launcher != NULL)
		SetLatch(launcher);
}

/*
 * bgjob_notify_scheduler sets notices for the scheduler of a database and
 * wakes it. The latch alone does not suffice: if it is set while the scheduler
 * waits in a commit or for a lock, that wait consumes it.
 */
void
bgjob_notify_scheduler(Oid database, uint32 notices)
{
	BgjobDatabase *entry = bgjob_database_find(database);
	int scheduler;

	if (entry == NULL)
		return;
	pg_atomic_fetch_or_u32(&entry->notices, notices | BGJOB_NOTICE_WAKE);
	scheduler = entry->scheduler;
	if (scheduler >= 0)
		bgjob_wake_slot(&bgjob_registry->slots[scheduler]);
	else if (entry->status == BGJOB_DATABASE_RESTING)
		bgjob_notify_launcher(false);
}
