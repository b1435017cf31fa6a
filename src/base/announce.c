/*-------------------------------------------------------------------------
 *
 * announce.c
 *	  Telling at once that jobs can be performed.
 *
 * Jobs that a transaction makes ready are announced when it commits
 * (base/change.c). Jobs that become ready in another way are announced by the
 * functions here: the job of a worker that was lost, jobs that a worker gives back,
 * rows that a sweep finds. They wake workers, and the scheduler where there are too
 * few.
 *
 * Any process. They do not throw. Locks: those of base/lanegroup.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/announce.h"
#include "base/awaiters.h"
#include "base/database.h"
#include "base/lanes.h"
#include "base/slot.h"
#include "base/reviews.h"
#include "base/waiters.h"
#include "base/wake.h"
#include "miscadmin.h"

/* Returns whether one of the servers may have more workers, or none has a worker of the role. */
static bool
may_start(Oid database, Oid role, const BgjobServerSet *servers)
{
	const BgjobDatabase *entry = bgjob_database_find(database);
	bool saturated;

	if (entry == NULL || (!servers->all && servers->n == 0))
		return false;
	saturated =
		servers->all
			? pg_atomic_read_u32(&unconstify(BgjobDatabase *, entry)->server.saturated) != 0
			: servers->saturated;
	return !saturated || bgjob_count_workers_of(database, role, servers) == 0;
}

/*
 * bgjob_wake_for wakes workers for "count" jobs of a lane (without a queue: of any lanes of
 * its group), and the scheduler if there are too few workers; for external jobs, sessions in bgjob_await().
 */
void
bgjob_wake_for(const BgjobLaneKey *key, int64 count)
{
	Oid database = key->group.database;
	BgjobServerSet servers;
	int64 woken = 0;

	if (key->group.kind == BGJOB_LANE_EXTERNAL)
	{
		bgjob_awaiters_wake(key, count);
		return;
	}
	bgjob_servers_taking(database, key->queue, &servers);
	while (woken < count && bgjob_wake_worker(database, key->group.role, &servers))
		woken++;
	if (woken < count && may_start(database, key->group.role, &servers))
		bgjob_notify_scheduler(database, 0);
}

/*
 * bgjob_announce_again announces rows of a lane, the lowest of them at a position;
 * "items" are all of them, in the order of their positions, if there are no more
 * than BGJOB_ANNOUNCE_FEW.
 */
void
bgjob_announce_again(const BgjobLaneKey *key, const BgjobLaneItem *items, int64 count,
					 int64 lowest)
{
	BgjobLaneItem first = {.pos = lowest};

	if (count <= BGJOB_ANNOUNCE_FEW)
		for (int i = 0; i < count; i++)
			bgjob_lane_offer(key, &items[i]);
	else
		bgjob_lane_announce(key, &first, count);
	bgjob_wake_for(key, count);
}

/*
 * bgjob_announce announces a job at its old position: its worker was lost, or gave
 * it back. Must be called when no slot names it any more.
 */
void
bgjob_announce(const BgjobLaneKey *lane, int64 pos, int64 job)
{
	BgjobLaneItem item = {.pos = pos, .job = job};

	bgjob_announce_again(lane, &item, 1, pos);
}

/* bgjob_announce_lane fills in the lane of jobs which were taken as a group. */
void
bgjob_announce_lane(const BgjobGroupRest *rest, BgjobLaneKey *lane)
{
	BgjobLaneGroupKey group;

	bgjob_lane_group_key(&group, MyDatabaseId, rest->role, BGJOB_LANE_INTERNAL);
	bgjob_lane_key(lane, &group, rest->queue, rest->priority);
}

/*
 * bgjob_announce_rest announces jobs which were taken as a group and are free
 * again; singly: and are better not taken as one.
 */
void
bgjob_announce_rest(const BgjobGroupRest *rest, bool singly)
{
	BgjobLaneKey key;

	bgjob_announce_lane(rest, &key);
	bgjob_lane_give_back(&key, rest->pos, rest->count, singly);
	bgjob_wake_for(&key, rest->count);
}

/* bgjob_announce_due tells the scheduler of this database a due time, unless it will wake before that anyway. */
void
bgjob_announce_due(TimestampTz due)
{
	BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);
	uint64 known;

	if (entry == NULL)
		return;
	known = pg_atomic_read_u64(&entry->low_due);
	while ((TimestampTz) known > due &&
		   !pg_atomic_compare_exchange_u64(&entry->low_due, &known, (uint64) due))
		;
	if (due < (TimestampTz) pg_atomic_read_u64(&entry->next_due))
		bgjob_notify_scheduler(MyDatabaseId, 0);
}

/*
 * bgjob_announce_unknown announces the end of a prepared transaction, whose changes are
 * unknown, except for its moves if these have been added to the counts ("counted").
 */
void
bgjob_announce_unknown(bool committed, bool counted)
{
	uint32 notices = BGJOB_NOTICE_RESCAN | BGJOB_NOTICE_LEASES;

	bgjob_review_ask_all(MyDatabaseId);
	if (committed)
	{
		if (!counted)
			bgjob_database_recount(MyDatabaseId);
		for (int i = 0; i < BGJOB_NCACHED; i++)
			pg_atomic_fetch_add_u32(&bgjob_registry->cached_changes[i], 1);
		bgjob_waiters_wake_all();
		notices |= BGJOB_NOTICE_EXTENSION | BGJOB_NOTICE_QUEUES | BGJOB_NOTICE_RECURRING |
				   BGJOB_NOTICE_ENDED | BGJOB_NOTICE_GATES;
	}
	bgjob_notify_scheduler(MyDatabaseId, notices);
}
