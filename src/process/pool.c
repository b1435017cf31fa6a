/*-------------------------------------------------------------------------
 *
 * pool.c
 *	  The workers of a database: how many, and for whom.
 *
 * A worker serves one role and belongs to one server. The roles share the workers of
 * each server: while it may have more (bgjob.workers, or what bgjob_server() says,
 * and what base/slots.c allows), each role that has jobs for it gets another one, the
 * role with the fewest first. process/demand.c counts who has jobs and workers.
 *
 * When there may be no more, room is made for a role that has fewer than its share
 * (process/sharing.c). A role that has had no worker for EXTRA_AFTER gets one beyond
 * the number of the server, one only; so no role waits for jobs that do not end.
 *
 * Workers whose jobs have all been short may borrow slots that are kept for roles
 * and databases that have none (process/sharing.c has them given back).
 *
 * Workers leave by themselves when they are idle, when there are more than there
 * may be (the number was lowered), and when their server is paused or has been
 * removed. The jobs of a role that was dropped are failed.
 *
 * By the scheduler. Times are those of the steady clock: setting the clock neither
 * delays nor hastens anything here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/database.h"
#include "base/guc.h"
#include "base/lanes.h"
#include "base/process.h"
#include "base/slot.h"
#include "base/slots.h"
#include "base/wake.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "process/demand.h"
#include "process/pool.h"
#include "process/recovery.h"
#include "process/roles.h"
#include "process/sharing.h"
#include "process/workers.h"
#include "rules/clock.h"
#include "utils/timestamp.h"

/* Times in microseconds. */
#define EXTRA_AFTER                                                                            \
	50000 /* wait of a role without a worker for one beyond the number of the server */
#define RETRY   250000 /* pause before a role whose workers fail is checked again */
#define RAMP    10000  /* pause before a role is checked for short jobs again */
#define RECOUNT 1000 /* pause before jobs that several servers take are given to another one */

/* Number of jobs after which a worker counts as one with short jobs, if none runs longer than BGJOB_SHORT_JOB. */
#define SHORT_JOBS 10

static bool yielding = false; /* another database is to have its turn */
static bool warned_of_slots = false;
static int64 denied_since = 0; /* a worker that the number of a server allows */

/* bgjob_pool_init prepares a scheduler; once. */
void
bgjob_pool_init(void)
{
	bgjob_roles_init();
	bgjob_demand_init();
	bgjob_workers_init();
}

/* Returns whether one demand comes before another: it has fewer workers, or has waited longer. */
static bool
comes_before(const BgjobBalance *balance, const BgjobRoleDemand *a, const BgjobRoleDemand *b)
{
	if (a->workers != b->workers)
		return a->workers < b->workers;
	return bgjob_demand_state(balance, a)->last_start <
		   bgjob_demand_state(balance, b)->last_start;
}

/*
 * Returns the demand with the fewest workers among those that could use another, of
 * servers that have not denied one; NULL: none. One whose workers have failed has only
 * one, until that serves.
 */
static BgjobRoleDemand *
next_demand(BgjobBalance *balance)
{
	BgjobRoleDemand *best = NULL;

	for (int i = 0; i < balance->nroles; i++)
	{
		BgjobRoleDemand *demand = &balance->roles[i];

		if (demand->ready <= demand->available ||
			bgjob_demand_of(balance, demand)->next != NULL)
			continue;
		if (demand->workers > 0 && bgjob_role_is_failing(demand->role))
			balance->wake = Min(balance->wake, balance->now + RETRY);
		else if (best == NULL || comes_before(balance, demand, best))
			best = demand;
	}
	return best;
}

/* Returns whether all workers of this database have performed jobs that were short. */
static bool
jobs_are_short(void)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (!bgjob_worker_is_mine(slot) || slot->retire || slot->lent)
			continue;
		if (slot->jobs_done < SHORT_JOBS)
			return false;
	}
	return !bgjob_sharing_has_long_job();
}

/* Starts a worker for a role that has some already, in a borrowed slot if there is no other. */
static bool
start_another(BgjobBalance *balance, const BgjobRoleDemand *demand)
{
	const BgjobServer *server = bgjob_demand_of(balance, demand)->server;

	if (balance->poorest >= 0 && balance->poorest < balance->workers)
		return false; /* it is another database's turn */
	if (bgjob_worker_start(demand->role, server, BGJOB_NEED_MORE))
		return true;
	if (bgjob_slots_used() >= bgjob_slots_most(BGJOB_NEED_LOAN))
		return false;
	if (jobs_are_short())
		return bgjob_worker_start(demand->role, server, BGJOB_NEED_LOAN);
	balance->wake = Min(balance->wake, balance->now + RAMP);
	return false;
}

/* Starts a worker for a role if it may have one. */
static bool
start_for(BgjobBalance *balance, const BgjobRoleDemand *next)
{
	const BgjobServerDemand *server = bgjob_demand_of(balance, next);
	bool has_none = next->workers == 0 && !next->covered;

	if (server->most == 0 || yielding)
		return false;
	if (bgjob_workers_no_slot_until() > balance->now)
	{
		balance->wake = Min(balance->wake, bgjob_workers_no_slot_until());
		return false;
	}
	if (balance->workers == 0)
		return bgjob_worker_start(next->role, server->server, BGJOB_NEED_DATABASE);
	if (server->workers < server->most)
		return has_none ? bgjob_worker_start(next->role, server->server, BGJOB_NEED_ROLE)
						: start_another(balance, next);
	if (!has_none)
		return false;
	if (bgjob_demand_wanting_for(balance, next) >= EXTRA_AFTER)
		return bgjob_worker_start(next->role, server->server, BGJOB_NEED_ROLE);
	balance->wake = Min(balance->wake, balance->now + EXTRA_AFTER);
	return false;
}

/* Returns the number of workers that all servers may have. */
static int
most_of_all(const BgjobBalance *balance)
{
	int most = 0;

	for (int i = 0; i < balance->nservers; i++)
		most += balance->servers[i].most;
	return most;
}

static void
warn_of_slots(const BgjobBalance *balance)
{
	char *name;

	if (denied_since == 0)
		denied_since = balance->now;
	if (warned_of_slots || balance->now - denied_since < USECS_PER_SEC)
		return;
	warned_of_slots = true;
	bgjob_begin();
	name = get_database_name(MyDatabaseId);
	bgjob_commit();
	ereport(WARNING,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("out of background worker slots for database \"%s\"", name ? name : "?"),
			 errdetail("bgjob goes on with %d of %d workers in this database.",
					   balance->workers, most_of_all(balance)),
			 errhint("Consider increasing the configuration parameter \"%s\".",
					 bgjob_max_workers < 0 ? "max_worker_processes" : "bgjob.max_workers")));
}

/* Fails jobs of a role that has been dropped. False if there may be more to do at once. */
static bool
fail_orphans(Oid role)
{
	bool all = bgjob_fail_jobs_of_role(role);

	if (all)
	{
		/* Should a transaction with more of them still commit, its lane comes back, and this with it. */
		bgjob_lane_groups_forget(MyDatabaseId, role);
		bgjob_demand_forget(role);
		bgjob_role_forget(role);
	}
	return all;
}

/*
 * Starts workers where there are jobs, as far as there may be more, and notes at each
 * server the role that gets none. Returns whether it has started any.
 */
static bool
start_workers(BgjobBalance *balance)
{
	bool started = false;
	BgjobRoleDemand *next;

	while ((next = next_demand(balance)) != NULL)
	{
		BgjobServerDemand *server = bgjob_demand_of(balance, next);
		BgjobDemandState *state;

		if (next->workers == 0 && !bgjob_role_exists(next->role))
		{
			if (!fail_orphans(next->role))
				balance->wake = balance->now;
			next->ready = 0;
			continue;
		}
		if (!start_for(balance, next))
		{
			server->next = next;
			continue;
		}
		state = bgjob_demand_state(balance, next);
		state->last_start = balance->now;
		state->wanting_since = 0;
		balance->workers++;
		server->workers++;
		next->workers++;
		next->available++;
		started = true;
	}
	return started;
}

/* Wakes workers that are idle although there are jobs for them. */
static void
wake_workers(const BgjobBalance *balance)
{
	for (int i = 0; i < balance->nroles; i++)
	{
		const BgjobRoleDemand *demand = &balance->roles[i];
		BgjobServerSet server = {.n = 1};

		server.ids[0] = bgjob_demand_of(balance, demand)->server->id;
		if (demand->ready > 0 && demand->available > 0)
			(void) bgjob_wake_worker(MyDatabaseId, demand->role, &server);
	}
}

/* Decides when to balance again, where a server has denied a role a worker, and what to tell others. Returns whether a slot is wanted. */
static bool
note_denied(BgjobBalance *balance, bool started)
{
	bool lacks_slot = false;
	bool wants = false;

	for (int i = 0; i < balance->nservers; i++)
	{
		const BgjobServerDemand *server = &balance->servers[i];
		bool full = server->workers >= server->most;
		bool has_none = server->next != NULL && server->next->workers == 0;

		pg_atomic_write_u32(&server->server->state->saturated, server->next != NULL ? 1 : 0);
		if (server->next == NULL)
			continue;
		if (balance->nroles > 1) /* shares may have to be put right */
			balance->wake = Min(balance->wake, balance->now + BGJOB_TENURE);
		if (started && balance->nservers > 1) /* another server may have room for its jobs */
			balance->wake = Min(balance->wake, balance->now + RECOUNT);
		if (!full)
			balance->wake =
				Min(balance->wake, balance->now + (has_none ? BGJOB_PATIENCE : USECS_PER_SEC));
		lacks_slot |= !full;
		wants |= server->most > 0 && (!full || (has_none && !server->next->covered));
	}
	if (lacks_slot)
		warn_of_slots(balance);
	else
		denied_since = 0;
	return wants && !yielding;
}

/*
 * bgjob_pool_balance starts workers where there is work, and makes room for
 * roles that have less than their share. Returns the time of the next balance
 * (DT_NOEND: when notified).
 */
TimestampTz
bgjob_pool_balance(TimestampTz now)
{
	BgjobBalance balance;
	bool started;
	bool wants;

	bgjob_demand_begin(&balance);
	started = start_workers(&balance);
	wake_workers(&balance);
	wants = note_denied(&balance, started);
	bgjob_slots_want(MyDatabaseId, wants ? balance.workers : -1);
	bgjob_sharing_give_up(&balance, yielding);
	return bgjob_by_clock(balance.wake, now);
}

/* bgjob_pool_yield has all workers leave after their jobs, and none start, or no longer so. */
void
bgjob_pool_yield(bool yield)
{
	yielding = yield;
}

/* bgjob_pool_is_empty returns whether there is no worker; *has_work, whether there are jobs for one. */
bool
bgjob_pool_is_empty(bool *has_work)
{
	*has_work = bgjob_demand_is_there();
	return bgjob_count_workers(MyDatabaseId, InvalidOid) == 0;
}
