/*-------------------------------------------------------------------------
 *
 * pool.c
 *	  The workers of a database: how many, for whom, and what becomes of
 *	  their jobs when they are lost.
 *
 * Run by the scheduler. A worker serves one role, so roles share the places:
 * while there are places (bgjob.workers, and what max_worker_processes
 * leaves), whoever has work gets another worker, the role with the fewest
 * first. When there are none left, a role that has work and fewer than its
 * fair share (the places divided by the roles that have work) is made room
 * for: the role with the most workers loses one, an idle one at once, else
 * one that ends its job first.
 *
 * Workers leave by themselves when idle; the pool only grows here.
 *
 * A role whose workers cannot connect (NOLOGIN since, CONNECT revoked) is
 * paused for a while, longer each time, up to a minute, with one warning; the
 * jobs of a role that has been dropped are failed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/change.h"
#include "base/guc.h"
#include "base/lane.h"
#include "base/process.h"
#include "base/registry.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "process/pool.h"
#include "process/recovery.h"
#include "rules/clock.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define MAX_ROLES     256
#define LONGEST_PAUSE 60 /* seconds */

/* A role whose workers fail to start. */
typedef struct RolePause
{
	Oid role; /* InvalidOid: unused */
	int failures;
	TimestampTz until;
} RolePause;

static RolePause pauses[MAX_ROLES];
static BackgroundWorkerHandle **handles; /* by slot */
static bool warned_of_slots = false;
static TimestampTz no_slot_until = 0; /* max_worker_processes was reached: do not try before */
static TimestampTz last_left = 0;     /* a worker: the postmaster may need a moment to notice */

/* When a worker was last started for a role: who has waited longest comes first. */
typedef struct RoleTurn
{
	Oid role; /* InvalidOid: unused */
	TimestampTz at;
} RoleTurn;

static RoleTurn turns[MAX_ROLES];

/* bgjob_pool_init prepares a scheduler; once. */
void
bgjob_pool_init(void)
{
	handles = MemoryContextAllocZero(TopMemoryContext,
									 bgjob_registry->nslots * sizeof(BackgroundWorkerHandle *));
}

static bool
is_mine(const BgjobSlot *slot)
{
	return slot->in_use && slot->kind == BGJOB_WORKER && slot->database == MyDatabaseId;
}

/* ---- roles that cannot be served ---- */

static RolePause *
find_pause(Oid role)
{
	for (int i = 0; i < MAX_ROLES; i++)
		if (pauses[i].role == role)
			return &pauses[i];
	return NULL;
}

static bool
role_exists(Oid role)
{
	bool exists;

	bgjob_begin();
	exists = SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role));
	bgjob_commit();
	return exists;
}

/* A worker of a role has left before it could serve. */
static void
note_failed_start(Oid role)
{
	RolePause *pause = find_pause(role);

	if (!role_exists(role))
	{
		/* Should a transaction with more of them still commit, its lane comes back, and so do we. */
		bgjob_lanes_forget(MyDatabaseId, role);
		bgjob_fail_jobs_of_role(role);
		return;
	}
	if (pause == NULL)
		pause = find_pause(InvalidOid);
	if (pause == NULL)
		return;
	if (pause->role == InvalidOid)
	{
		pause->role = role;
		pause->failures = 0;
		ereport(WARNING,
				(errmsg("could not start a worker for role with OID %u", role),
				 errdetail("Its jobs wait; the message of the worker stands before this one."),
				 errhint("The role must have LOGIN, and CONNECT on the database.")));
	}
	pause->failures++;
	pause->until =
		bgjob_now() + Min(1 << Min(pause->failures - 1, 6), LONGEST_PAUSE) * USECS_PER_SEC;
}

/* Whether a role is not to be tried now; *wake is lowered to when it is. */
static bool
is_paused(Oid role, TimestampTz now, TimestampTz *wake)
{
	RolePause *pause = find_pause(role);

	if (pause == NULL || pause->until <= now)
		return false;
	*wake = Min(*wake, pause->until);
	return true;
}

/* ---- workers that have left ---- */

static void
take_leave(BgjobSlot *slot)
{
	int index = bgjob_slot_index(slot);
	RolePause *pause = find_pause(slot->role);

	if (slot->ready && pause != NULL)
		pause->role = InvalidOid;
	bgjob_recover_lost(slot);
	if (!slot->ready && !slot->retire)
		note_failed_start(slot->role);
	if (handles[index] != NULL)
		pfree(handles[index]);
	handles[index] = NULL;
	bgjob_slot_free(slot);
}

/* bgjob_pool_reap looks after the jobs of workers that have left. Returns whether any had. */
bool
bgjob_pool_reap(void)
{
	bool any = false;

	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (is_mine(slot) && bgjob_process_left(slot, handles[i]))
		{
			take_leave(slot);
			any = true;
		}
	}
	if (any)
	{
		no_slot_until = 0;
		last_left = bgjob_now();
	}
	return any;
}

/* ---- how many ---- */

/* The workers of a role, and those among them that will look for work by themselves. */
static void
count_role(Oid role, int *all, int *available)
{
	*all = *available = 0;
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (!is_mine(slot) || slot->role != role || slot->retire)
			continue;
		(*all)++;
		if (slot->idle || !slot->ready)
			(*available)++;
	}
}

static bool
start_worker(Oid role)
{
	BgjobSlot *slot = bgjob_slot_create(BGJOB_WORKER, MyDatabaseId, role);

	if (slot == NULL)
		return false;
	if (bgjob_process_start(slot, BGJOB_WORKER_TYPE, "bgjob_worker_main",
							&handles[bgjob_slot_index(slot)]))
		return true;
	bgjob_slot_free(slot);
	return false;
}

static void
warn_of_slots(int workers)
{
	if (warned_of_slots)
		return;
	warned_of_slots = true;
	ereport(
		WARNING,
		(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
		 errmsg("out of background worker slots"),
		 errdetail("bgjob goes on with %d of %d workers in this database.", workers,
				   bgjob_workers),
		 errhint("Consider increasing the configuration parameter \"max_worker_processes\".")));
}

/* A role that has work. */
typedef struct Claimant
{
	Oid role;
	int64 ready;
	int workers;
	int available;
} Claimant;

/* The roles that have work and may be served now; their number. */
static int
collect_claimants(Claimant *claimants, TimestampTz now, TimestampTz *wake)
{
	BgjobDemand *demands = palloc(MAX_ROLES * sizeof(BgjobDemand));
	int n = bgjob_lane_demand(MyDatabaseId, demands, MAX_ROLES);
	int kept = 0;

	for (int i = 0; i < n; i++)
	{
		Claimant *claimant = &claimants[kept];

		if (is_paused(demands[i].role, now, wake))
			continue;
		claimant->role = demands[i].role;
		claimant->ready = demands[i].ready;
		count_role(claimant->role, &claimant->workers, &claimant->available);
		kept++;
	}
	pfree(demands);
	return kept;
}

/* When a role last got a worker; 0: not that anybody remembers. */
static TimestampTz
last_turn(Oid role)
{
	for (int i = 0; i < MAX_ROLES; i++)
		if (turns[i].role == role)
			return turns[i].at;
	return 0;
}

/* Notes that a role has got a worker; the oldest note makes room for it. */
static void
note_turn(Oid role, TimestampTz now)
{
	RoleTurn *turn = &turns[0];

	for (int i = 0; i < MAX_ROLES; i++)
	{
		if (turns[i].role == role)
		{
			turn = &turns[i];
			break;
		}
		if (turns[i].at < turn->at)
			turn = &turns[i];
	}
	turn->role = role;
	turn->at = now;
}

/* Whether one claimant comes before another: it has fewer workers, or has waited longer. */
static bool
comes_before(const Claimant *a, const Claimant *b)
{
	if (a->workers != b->workers)
		return a->workers < b->workers;
	return last_turn(a->role) < last_turn(b->role);
}

/* The claimant with the fewest workers among those that could use another; NULL: none. */
static Claimant *
neediest(Claimant *claimants, int n)
{
	Claimant *needy = NULL;

	for (int i = 0; i < n; i++)
		if (claimants[i].ready > claimants[i].available &&
			(needy == NULL || comes_before(&claimants[i], needy)))
			needy = &claimants[i];
	return needy;
}

/* Has one worker of a role leave: an idle one, else one after its job. */
static void
retire_one(Oid role)
{
	BgjobSlot *chosen = NULL;

	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (is_mine(slot) && slot->role == role && !slot->retire && slot->ready &&
			(chosen == NULL || (slot->idle && !chosen->idle)))
			chosen = slot;
	}
	if (chosen == NULL)
		return;
	chosen->retire = true;
	bgjob_slot_wake(chosen);
}

/* The role, with or without work, that has the most workers. */
static Oid
richest(int *workers)
{
	Oid rich = InvalidOid;

	*workers = 0;
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];
		int all;
		int available;

		if (!is_mine(slot) || slot->retire || slot->role == rich)
			continue;
		count_role(slot->role, &all, &available);
		if (all > *workers)
		{
			*workers = all;
			rich = slot->role;
		}
	}
	return rich;
}

static bool
somebody_is_leaving(void)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
		if (is_mine(&bgjob_registry->slots[i]) && bgjob_registry->slots[i].retire)
			return true;
	return false;
}

/* A role that holds an idle worker and has no work; InvalidOid: there is none. */
static Oid
idler(const Claimant *claimants, int n)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];
		bool has_work = false;

		if (!is_mine(slot) || !slot->idle || slot->retire)
			continue;
		for (int k = 0; k < n; k++)
			has_work = has_work || claimants[k].role == slot->role;
		if (!has_work)
			return slot->role;
	}
	return InvalidOid;
}

/*
 * Makes room for a claimant, one worker at a time: by one that idles for a
 * role without work; else, if it has less than its fair share of "places", by
 * one of the role that has the most.
 */
static void
make_room(const Claimant *needy, const Claimant *claimants, int n, int places)
{
	int share = Max(1, places / n);
	int most;
	Oid rich = idler(claimants, n);

	if (somebody_is_leaving())
		return;
	if (rich != InvalidOid)
	{
		retire_one(rich);
		return;
	}
	rich = richest(&most);
	if (rich == InvalidOid || rich == needy->role || needy->workers >= share)
		return;
	if (most > needy->workers + 1 || needy->workers == 0) /* at worst they take turns */
		retire_one(rich);
}

/*
 * bgjob_pool_balance starts workers where there is work, and makes room for
 * roles that have less than their share. Returns when to look again by itself
 * (DT_NOEND: when told).
 */
TimestampTz
bgjob_pool_balance(TimestampTz now)
{
	Claimant *claimants = palloc(MAX_ROLES * sizeof(Claimant));
	TimestampTz wake = DT_NOEND;
	int n = collect_claimants(claimants, now, &wake);
	BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);
	Claimant *needy;
	int workers = bgjob_count_workers(MyDatabaseId, InvalidOid);
	bool full = false;

	while ((needy = neediest(claimants, n)) != NULL)
	{
		full = workers >= bgjob_workers || no_slot_until > now;
		if (!full && !start_worker(needy->role))
		{
			warn_of_slots(workers);
			no_slot_until =
				now + (now - last_left < USECS_PER_SEC ? USECS_PER_SEC / 50 : USECS_PER_SEC);
			full = true;
		}
		if (full)
			break;
		note_turn(needy->role, now);
		workers++;
		needy->workers++;
		needy->available++;
	}
	for (int i = 0; i < n; i++)
		if (claimants[i].available > 0)
			(void) bgjob_wake_worker(MyDatabaseId, claimants[i].role);
	if (full)
	{
		make_room(needy, claimants, n, workers);
		if (no_slot_until > now)
			wake = Min(wake, no_slot_until);
		else if (n > 1)
			wake = Min(wake, now + USECS_PER_SEC / 2); /* shares may have to be put right */
	}
	pg_atomic_write_u32(&entry->saturated, full ? 1 : 0);
	pfree(claimants);
	return wake;
}

/*
 * bgjob_pool_take_back takes from workers that are slow the jobs that they have
 * taken as a group and not begun, so that others perform them.
 */
void
bgjob_pool_take_back(void)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobRest rest;

		if (is_mine(&bgjob_registry->slots[i]) &&
			bgjob_slot_batch_take_back(&bgjob_registry->slots[i], &rest))
			bgjob_announce_rest(&rest, false);
	}
}

/* ---- ending workers ---- */

/*
 * bgjob_pool_end_terminated ends the workers that got SIGTERM while the
 * server is not shutting down: somebody has terminated them by hand.
 */
void
bgjob_pool_end_terminated(void)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (is_mine(slot) && slot->term && slot->pid != 0)
			bgjob_slot_interrupt(slot);
	}
}

/*
 * bgjob_pool_end_stubborn ends by force the workers whose jobs ought to have
 * ended BGJOB_FORCE_AFTER ago. Returns when to look again (DT_NOEND: when told).
 */
TimestampTz
bgjob_pool_end_stubborn(TimestampTz now)
{
	TimestampTz wake = DT_NOEND;

	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];
		int64 job = slot->job;

		if (is_mine(slot) && bgjob_slot_force(slot, now, &wake))
			ereport(LOG, (errmsg("job " INT64_FORMAT " did not end when it was canceled", job),
						  errdetail("Its worker is terminated.")));
	}
	return wake;
}

static int
retire_all(void)
{
	int n = 0;

	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (!is_mine(slot))
			continue;
		slot->retire = true;
		bgjob_slot_wake(slot);
		n++;
	}
	return n;
}

static void
interrupt_all(void)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
		if (is_mine(&bgjob_registry->slots[i]))
			bgjob_slot_interrupt(&bgjob_registry->slots[i]);
}

/*
 * bgjob_pool_drain has all workers leave: running jobs get "grace_ms", then
 * they are interrupted and go back to the head of their queue, and what does
 * not end then is ended by force. Returns when the last worker has gone.
 */
void
bgjob_pool_drain(int grace_ms)
{
	TimestampTz until = GetCurrentTimestamp() + (int64) grace_ms * 1000;

	while (retire_all() > 0)
	{
		long rest = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);

		if (rest == 0)
			interrupt_all();
		(void) bgjob_pool_end_stubborn(GetCurrentTimestamp());
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 rest == 0 ? 100 : Min(rest, 1000), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS(); /* also serves what others wait for, barriers for example */
		(void) bgjob_pool_reap();
	}
}
