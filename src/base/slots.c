/*-------------------------------------------------------------------------
 *
 * slots.c
 *	  How many of the server's background workers a database or a role may have.
 *
 * max_worker_processes is for the whole server: the schedulers and workers of
 * all databases, parallel queries, logical replication, other extensions. A
 * job may never end, so a slot that was given away need not come back. Hence
 * some slots are reserved. How many stay free depends on the need:
 *
 *	 a database without workers	may take any slot
 *	 a role without workers		leaves FOR_DATABASES: a scheduler and a worker
 *								for a database that has none
 *	 any other need				leaves an eighth of all besides, at least one:
 *								for roles without workers, and for queries
 *
 * A server with very few slots (FEW) reserves none for other databases when a
 * role has none. A database that is served and has no worker needs only one.
 *
 * Schedulers have at most two thirds of the slots that other software leaves, so
 * that there are workers, too; where there are more databases, they take turns
 * (process/launcher.c).
 *
 * A database that needs a slot and gets none notes that in its entry ("hungry"),
 * with the number of its workers. Then idle workers of all databases leave, no
 * database with as many workers gets another one, and the database with the most
 * workers gives up one (process/pool.c).
 *
 * Workers with short jobs may borrow most of the reserve: they give it back when
 * it is needed, or when their jobs become longer (process/pool.c).
 *
 * bgjob.max_workers limits the workers of all databases in the same way: its
 * last one is for a database or role that has none.
 *
 * Run by the scheduler, the launcher and sessions that read the views. The registry
 * is read without its lock here; bgjob_slot_create counts again under it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "base/compat.h"
#include "base/database.h"
#include "base/guc.h"
#include "base/registry.h"
#include "base/slot.h"
#include "base/slots.h"
#include "base/wake.h"
#include "miscadmin.h"

/* Number of slots that stay free for databases without workers: a scheduler's and a worker's. */
#define FOR_DATABASES 2

/* Number of slots below which none is reserved for other databases. */
#define FEW 8

static bool
is_ours(pid_t pid)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
		if (bgjob_registry->slots[i].in_use && bgjob_registry->slots[i].pid == pid)
			return true;
	return false;
}

/* Counts the background workers of others, and the launcher. */
static int
count_others(void)
{
	int n = 0;

	pgstat_clear_backend_activity_snapshot();
	for (int i = 1; i <= pgstat_fetch_stat_numbackends(); i++)
	{
		const PgBackendStatus *status = bgjob_backend_status(i);

		if (status->st_procpid != 0 && status->st_backendType == B_BG_WORKER &&
			!is_ours(status->st_procpid))
			n++;
	}
	pgstat_clear_backend_activity_snapshot();
	return n;
}

/* Returns whether some database is served and has no worker. */
static bool
has_waiting_scheduler(void)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (slot->in_use && slot->kind == BGJOB_SCHEDULER &&
			bgjob_count_workers(slot->database, InvalidOid) == 0)
			return true;
	}
	return false;
}

/* Returns how many slots have to stay free. */
static int
to_leave(BgjobNeed need)
{
	int for_databases = FOR_DATABASES - (has_waiting_scheduler() ? 1 : 0);

	switch (need)
	{
		case BGJOB_NEED_DATABASE:
			return 0;
		case BGJOB_NEED_ROLE:
			return max_worker_processes < FEW ? 0 : for_databases;
		case BGJOB_NEED_LOAN:
			return max_worker_processes / 16;
		case BGJOB_NEED_MORE:
			break;
	}
	return for_databases + Max(1, max_worker_processes / 8);
}

/* bgjob_slots_most returns how many slots of the registry may be in use after one is taken for a need. */
int
bgjob_slots_most(BgjobNeed need)
{
	return max_worker_processes - count_others() - to_leave(need);
}

/* bgjob_slots_workers returns how many workers there are in all databases. */
int
bgjob_slots_workers(void)
{
	int n = 0;

	for (int i = 0; i < bgjob_registry->nslots; i++)
		if (bgjob_registry->slots[i].in_use && bgjob_registry->slots[i].kind == BGJOB_WORKER)
			n++;
	return n;
}

/* bgjob_slots_worker_limit returns how many workers all databases may have after one is started for a need. */
int
bgjob_slots_worker_limit(BgjobNeed need)
{
	if (bgjob_max_workers < 0)
		return INT_MAX;
	return need >= BGJOB_NEED_LOAN && bgjob_max_workers > 1 ? bgjob_max_workers - 1
															: bgjob_max_workers;
}

/*
 * bgjob_slots_allowed returns bgjob.workers as it is in force in a database: as its
 * scheduler has it, since the session may have connected before it was changed.
 */
int
bgjob_slots_allowed(Oid database)
{
	BgjobDatabase *entry = bgjob_database_find(database);

	return entry != NULL && entry->workers >= 0 ? entry->workers : bgjob_workers;
}

/*
 * bgjob_slots_may_have returns how many workers a server of a database, which has "has" and
 * is allowed "allowed", may have now, those that it has included.
 */
int
bgjob_slots_may_have(Oid database, int has, int allowed)
{
	int used = bgjob_slots_used();
	int more = Min(bgjob_slots_most(BGJOB_NEED_MORE) - used,
				   bgjob_slots_worker_limit(BGJOB_NEED_MORE) - bgjob_slots_workers());

	if (allowed == 0)
		return 0;
	if (has == 0 && more < 1 &&
		bgjob_slots_most(bgjob_count_workers(database, InvalidOid) == 0
							 ? BGJOB_NEED_DATABASE
							 : BGJOB_NEED_ROLE) > used)
		more = 1;
	return Max(has, Min(allowed, has + Max(0, more)));
}

static int
count_schedulers(void)
{
	int n = 0;

	for (int i = 0; i < bgjob_registry->nslots; i++)
		if (bgjob_registry->slots[i].in_use && bgjob_registry->slots[i].kind == BGJOB_SCHEDULER)
			n++;
	return n;
}

/* bgjob_slots_for_scheduler returns whether there may be another scheduler. */
bool
bgjob_slots_for_scheduler(void)
{
	int room = bgjob_slots_most(BGJOB_NEED_DATABASE);
	int schedulers = count_schedulers();

	return schedulers < Max(1, room * 2 / 3) && bgjob_slots_used() < room;
}

/*
 * bgjob_slots_poorest returns how many workers the database has that has the
 * fewest of those that want another slot, besides this one; -1: none does.
 */
int
bgjob_slots_poorest(Oid database)
{
	int poorest = pg_atomic_read_u32(&bgjob_registry->slot_wanted) ? 0 : -1;

	for (int i = 0; i < bgjob_registry->databases_used; i++)
	{
		BgjobDatabase *entry = &bgjob_registry->databases[i];
		int hungry = (int) pg_atomic_read_u32(&entry->hungry);

		if (entry->in_use && entry->database != database && hungry > 0 &&
			entry->scheduler >= 0 && (poorest < 0 || hungry - 1 < poorest))
			poorest = hungry - 1;
	}
	return poorest;
}

/* bgjob_slots_is_richest returns whether no other database has more workers; of several with the same number, the first counts as the richest. */
bool
bgjob_slots_is_richest(Oid database)
{
	int mine = bgjob_count_workers(database, InvalidOid);
	bool before = true;

	for (int i = 0; i < bgjob_registry->databases_used; i++)
	{
		BgjobDatabase *entry = &bgjob_registry->databases[i];
		int others;

		if (!entry->in_use)
			continue;
		if (entry->database == database)
		{
			before = false;
			continue;
		}
		others = bgjob_count_workers(entry->database, InvalidOid);
		if (others > mine || (others == mine && before))
			return false;
	}
	return true;
}

/*
 * bgjob_slots_want notes that a database with "workers" workers wants a slot (-1: it
 * wants none), and notifies the other databases if that is new.
 */
void
bgjob_slots_want(Oid database, int workers)
{
	BgjobDatabase *entry = bgjob_database_find(database);

	if (entry == NULL || pg_atomic_exchange_u32(&entry->hungry, (uint32) (workers + 1)) ==
							 (uint32) (workers + 1))
		return;
	if (workers < 0)
		return;
	for (int i = 0; i < bgjob_registry->databases_used; i++)
		if (bgjob_registry->databases[i].in_use &&
			bgjob_registry->databases[i].database != database &&
			bgjob_registry->databases[i].scheduler >= 0)
			bgjob_notify_scheduler(bgjob_registry->databases[i].database, 0);
}
