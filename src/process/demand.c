/*-------------------------------------------------------------------------
 *
 * demand.c
 *	  Who has work in a database, and who has workers.
 *
 * A worker serves one role and belongs to one server, so what is counted is counted
 * for each role at each server: the workers, and the jobs that are ready for them.
 *
 * A queue may be taken by several servers. Its jobs count once: for the workers of
 * any of these servers that are available; the rest where there is room for more
 * workers, "default" last; where there is none, at each of them, so that each knows
 * that the role has work. Jobs that fewer servers take go first. With one server all
 * of that comes to the sum of what is ready for a role.
 *
 * What this finds is a picture of a moment; all that it leads to is done again, by the
 * next balance, if the moment was a wrong one.
 *
 * By the scheduler. Times are those of the steady clock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/guc.h"
#include "base/lanes.h"
#include "base/slot.h"
#include "base/slots.h"
#include "base/wake.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "process/demand.h"
#include "process/roles.h"
#include "process/workers.h"
#include "rules/clock.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

static HTAB *states;

/* bgjob_demand_init prepares a scheduler; once. */
void
bgjob_demand_init(void)
{
	HASHCTL info = {.keysize = offsetof(BgjobDemandState, last_start),
					.entrysize = sizeof(BgjobDemandState),
					.hcxt = TopMemoryContext};

	states = hash_create("bgjob demands", 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* bgjob_demand_state returns what is kept of a role and a server; it is created with zeros. */
BgjobDemandState *
bgjob_demand_state(const BgjobBalance *balance, const BgjobRoleDemand *demand)
{
	BgjobDemandState key = {.role = demand->role,
							.server = bgjob_demand_of(balance, demand)->server->id};
	bool found;
	BgjobDemandState *state = hash_search(states, &key, HASH_ENTER, &found);

	if (!found)
		*state = key;
	return state;
}

/* bgjob_demand_forget forgets a role that has been dropped. */
void
bgjob_demand_forget(Oid role)
{
	HASH_SEQ_STATUS all;
	BgjobDemandState *state;

	hash_seq_init(&all, states);
	while ((state = hash_seq_search(&all)) != NULL)
		if (state->role == role)
			hash_search(states, state, HASH_REMOVE, NULL);
}

/* bgjob_demand_wanting_for returns the time for which a role has had work and no worker. */
int64
bgjob_demand_wanting_for(const BgjobBalance *balance, const BgjobRoleDemand *demand)
{
	const BgjobDemandState *state = bgjob_demand_state(balance, demand);

	return state->wanting_since == 0 ? 0 : balance->now - state->wanting_since;
}

/* Returns the place in the hash table where a role and a server are, or belong. */
static int *
place_of(const BgjobBalance *balance, Oid role, int server)
{
	uint32 at = hash_combine(murmurhash32(role), (uint32) server);

	for (;; at++)
	{
		int *place = &balance->places[at & balance->mask];
		const BgjobRoleDemand *demand = &balance->roles[*place - 1];

		if (*place == 0 || (demand->role == role && demand->server == server))
			return place;
	}
}

/* bgjob_demand_find returns the demand of a role at a server; NULL: there is none. */
BgjobRoleDemand *
bgjob_demand_find(BgjobBalance *balance, Oid role, int server)
{
	int place = *place_of(balance, role, server);

	return place == 0 ? NULL : &balance->roles[place - 1];
}

/* Returns the same, which is created if need be. */
static BgjobRoleDemand *
find_or_add(BgjobBalance *balance, Oid role, int server)
{
	int *place = place_of(balance, role, server);

	if (*place == 0)
	{
		balance->roles[balance->nroles] = (BgjobRoleDemand){.role = role, .server = server};
		*place = ++balance->nroles;
	}
	return &balance->roles[*place - 1];
}

/* Makes room for so many roles. */
static void
make_room(BgjobBalance *balance, int n)
{
	uint32 size = pg_nextpower2_32(2 * n + 1);

	balance->roles = palloc(n * sizeof(BgjobRoleDemand));
	balance->places = palloc0(size * sizeof(int));
	balance->mask = size - 1;
}

/* Returns the place of a server in the list; -1: it has been removed. */
static int
place_of_server(const BgjobBalance *balance, uint32 id)
{
	for (int i = 0; i < balance->nservers; i++)
		if (balance->servers[i].server->id == id)
			return i;
	return -1;
}

/* ---- the workers ---- */

/* Has a worker leave whose server has been removed: at once, or by itself after its job. */
static void
end_of_removed(BgjobBalance *balance, BgjobSlot *slot)
{
	if (bgjob_retire_if_idle(slot) || slot->job == 0)
		balance->leaving++;
	bgjob_wake_slot(slot);
}

/* Adds this database's workers up. */
static void
count_workers(BgjobBalance *balance)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];
		BgjobRoleDemand *demand;
		int server;

		if (!bgjob_worker_is_mine(slot))
			continue;
		if (slot->retire)
		{
			balance->leaving += slot->job == 0 ? 1 : 0;
			continue;
		}
		bgjob_role_serves(slot);
		server = place_of_server(balance, slot->server);
		if (server < 0)
		{
			end_of_removed(balance, slot);
			continue;
		}
		demand = find_or_add(balance, slot->role, server);
		balance->workers++;
		balance->servers[server].workers++;
		demand->workers++;
		if (slot->idle || !slot->ready)
			demand->available++;
	}
}

/* ---- the jobs ---- */

/* Returns the servers that take the jobs of a lane now, as a set of bits. For bgjob_lanes_demand. */
static uint64
servers_of_lane(const BgjobLaneKey *key, void *arg)
{
	const BgjobBalance *balance = arg;
	uint64 set = 0;

	if (key != NULL && bgjob_queues_get(key->group.database, key->queue).paused)
		return 0;
	for (int i = 0; i < balance->nservers; i++)
	{
		const BgjobServerConf *conf = &balance->servers[i].server->conf;
		const char *list = conf->queues[0] != '\0' ? conf->queues : bgjob_queues;

		if (!conf->paused && (key == NULL || bgjob_queue_level(list, key->queue) >= 0))
			set |= UINT64CONST(1) << i;
	}
	return set;
}

/* Returns the next server of a set after one (-1: the first), "default" as the last; -1: there is none. */
static int
next_of(const BgjobBalance *balance, uint64 set, int after)
{
	if (after == 0)
		return -1;
	for (int i = Max(after + 1, 1); i < balance->nservers; i++)
		if (set & (UINT64CONST(1) << i))
			return i;
	return set & 1 ? 0 : -1;
}

/* Gives ready jobs to the workers of a role that are available. Returns how many are left. */
static int64
give_to_workers(BgjobBalance *balance, const BgjobDemand *jobs)
{
	int64 rest = jobs->ready;

	for (int i = -1; rest > 0 && (i = next_of(balance, jobs->servers, i)) >= 0;)
	{
		BgjobRoleDemand *demand = find_or_add(balance, jobs->role, i);
		int64 n = Min(rest, Max(0, demand->available - demand->ready));

		demand->ready += n;
		rest -= n;
	}
	return rest;
}

/* Gives ready jobs to the servers that may have more workers. Returns the last one that got some; -1: none has room. */
static int
give_to_room(BgjobBalance *balance, const BgjobDemand *jobs, int64 *rest)
{
	int last = -1;

	for (int i = -1; *rest > 0 && (i = next_of(balance, jobs->servers, i)) >= 0;)
	{
		int64 n = Min(*rest, balance->servers[i].most - balance->servers[i].workers);

		if (n <= 0)
			continue;
		find_or_add(balance, jobs->role, i)->ready += n;
		*rest -= n;
		last = i;
	}
	return last;
}

/* Tells all servers of jobs that there is no room for; a role that has a worker at one of them is covered at the others. */
static void
give_to_all(BgjobBalance *balance, const BgjobDemand *jobs, int64 rest)
{
	bool covered = false;

	for (int i = -1; (i = next_of(balance, jobs->servers, i)) >= 0;)
	{
		BgjobRoleDemand *demand = find_or_add(balance, jobs->role, i);

		demand->ready += rest;
		covered |= demand->workers > 0;
	}
	for (int i = -1; covered && (i = next_of(balance, jobs->servers, i)) >= 0;)
		bgjob_demand_find(balance, jobs->role, i)->covered = true;
}

/* Notes what is ready at which servers. */
static void
add_jobs(BgjobBalance *balance, const BgjobDemand *jobs)
{
	int64 rest = give_to_workers(balance, jobs);
	int last = give_to_room(balance, jobs, &rest);

	if (rest > 0 && last >= 0)
		bgjob_demand_find(balance, jobs->role, last)->ready += rest;
	else if (rest > 0)
		give_to_all(balance, jobs, rest);
}

/* Orders by the number of servers that take the jobs. */
static int
compare_choice(const void *left, const void *right)
{
	int a = pg_popcount64(((const BgjobDemand *) left)->servers);
	int b = pg_popcount64(((const BgjobDemand *) right)->servers);

	return a < b ? -1 : a > b;
}

/* Notes since when a role has work and no worker. */
static void
note_wanting(const BgjobBalance *balance, const BgjobRoleDemand *demand)
{
	BgjobDemandState *state = bgjob_demand_state(balance, demand);

	if (demand->workers > 0 || demand->ready == 0 || demand->covered)
		state->wanting_since = 0;
	else if (state->wanting_since == 0)
		state->wanting_since = balance->now;
}

/* ---- all of it ---- */

/* Fills in the servers of this database, and how many workers each may have. */
static void
add_servers(BgjobBalance *balance)
{
	const BgjobServer *servers = bgjob_servers_list(MyDatabaseId, &balance->nservers);

	balance->servers = palloc0(balance->nservers * sizeof(BgjobServerDemand));
	for (int i = 0; i < balance->nservers; i++)
	{
		BgjobServerDemand *server = &balance->servers[i];
		const BgjobServerConf *conf = &servers[i].conf;

		server->server = &servers[i];
		server->most = conf->workers != 0 ? conf->workers : bgjob_workers;
		if (conf->paused)
			server->most = 0;
		server->leavers = pg_atomic_read_u64(&servers[i].state->leavers);
	}
}

/* bgjob_demand_begin finds the roles that have work and may be served now, and those that have workers. */
void
bgjob_demand_begin(BgjobBalance *balance)
{
	BgjobDemand *jobs;
	int njobs;

	memset(balance, 0, sizeof(*balance));
	balance->now = bgjob_steady_now();
	balance->wake = DT_NOEND;
	balance->poorest = bgjob_slots_poorest(MyDatabaseId);
	add_servers(balance);
	jobs = bgjob_lanes_demand(MyDatabaseId, servers_of_lane, balance, &njobs);
	make_room(balance, njobs * balance->nservers + bgjob_registry->nslots);
	pg_read_barrier();
	count_workers(balance);
	if (balance->nservers > 1)
		qsort(jobs, njobs, sizeof(BgjobDemand), compare_choice);
	for (int i = 0; i < njobs; i++)
		if (!bgjob_role_is_paused(jobs[i].role, balance->now, &balance->wake))
			add_jobs(balance, &jobs[i]);
	pfree(jobs);
	for (int i = 0; i < balance->nroles; i++)
	{
		note_wanting(balance, &balance->roles[i]);
		balance->nhungry += balance->roles[i].ready > 0;
		bgjob_demand_of(balance, &balance->roles[i])->nhungry += balance->roles[i].ready > 0;
	}
}

/* bgjob_demand_is_there returns whether there are jobs that a worker could take. */
bool
bgjob_demand_is_there(void)
{
	BgjobBalance balance = {0};
	int n;

	add_servers(&balance);
	pfree(bgjob_lanes_demand(MyDatabaseId, servers_of_lane, &balance, &n));
	return n > 0;
}
