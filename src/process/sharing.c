/*-------------------------------------------------------------------------
 *
 * sharing.c
 *	  Making room for roles, servers and databases that have too few workers.
 *
 * When there may be no more workers, room is made for a role that has jobs and fewer
 * than its fair share (the workers divided by the roles that have jobs): a worker that
 * idles for a role without jobs leaves at once, else the role with the most
 * workers loses one. Nobody knows which job ends first, so any worker of that role
 * leaves that has ended its job (base/registry.h). Where there is no slot, roles take
 * turns (BGJOB_PATIENCE).
 *
 * Where a server has as many workers as it may have, its roles share these. Where slots
 * are short, the roles of all servers share the workers of the database: what is said of
 * a role holds for each role at each server.
 *
 * Workers whose jobs have all been short may borrow slots that are kept for roles
 * and databases that have none. They give them back when jobs become longer, or
 * when such a role or database has jobs; a job that does not end then is
 * interrupted, and goes back to the head of its queue.
 *
 * By the scheduler. Times are those of the steady clock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/request.h"
#include "base/slot.h"
#include "base/slots.h"
#include "base/wake.h"
#include "miscadmin.h"
#include "process/sharing.h"
#include "process/workers.h"
#include "rules/clock.h"
#include "utils/timestamp.h"

/* Times in microseconds. */
#define SHORT_JOB    200000 /* longest job of a worker in a borrowed slot */
#define LOAN_RECHECK 200000 /* between two checks of borrowed slots */

/* Stands for all servers, in place of one. */
#define ALL_SERVERS (-1)

static int64 wanted_since = 0; /* a slot, by another database, which has no worker */

/* bgjob_sharing_has_long_job returns whether a worker of this database runs a job that is not short. */
bool
bgjob_sharing_has_long_job(void)
{
	TimestampTz now = bgjob_now();

	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];
		TimestampTz started = slot->job_started_at;

		if (bgjob_worker_is_mine(slot) && slot->job != 0 && started != 0 &&
			now - started > SHORT_JOB)
			return true;
	}
	return false;
}

/* Returns the demand of a worker at a server of the scope; NULL: it belongs to another, or is to leave. */
static BgjobRoleDemand *
demand_of_worker(BgjobBalance *balance, const BgjobSlot *slot, int scope)
{
	if (!bgjob_worker_is_mine(slot) || slot->retire)
		return NULL;
	for (int i = 0; i < balance->nservers; i++)
		if (balance->servers[i].server->id == slot->server)
			return scope == ALL_SERVERS || scope == i
					   ? bgjob_demand_find(balance, slot->role, i)
					   : NULL;
	return NULL;
}

/* Has one idle worker leave whose role has no work, or as well is one of many; false if there is none. */
static bool
retire_idle(BgjobBalance *balance, int scope)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];
		BgjobRoleDemand *demand;

		if (!slot->idle)
			continue;
		demand = demand_of_worker(balance, slot, scope);
		if (demand == NULL || demand->ready > 0 || !bgjob_retire_if_idle(slot))
			continue;
		balance->workers--;
		balance->leaving++;
		bgjob_demand_of(balance, demand)->workers--;
		demand->workers--;
		return true;
	}
	return false;
}

/* Returns the demand that has the most workers; NULL: there are no workers. */
static BgjobRoleDemand *
find_richest(const BgjobBalance *balance, int scope)
{
	BgjobRoleDemand *rich = NULL;

	for (int i = 0; i < balance->nroles; i++)
		if (balance->roles[i].workers > 0 &&
			(scope == ALL_SERVERS || balance->roles[i].server == scope) &&
			(rich == NULL || balance->roles[i].workers > rich->workers))
			rich = &balance->roles[i];
	return rich;
}

/* Asks n workers of a role at a server to leave, those that end their jobs first; replaces the previous request. */
static void
ask_to_leave(BgjobBalance *balance, int server, Oid role, int n)
{
	BgjobServerDemand *of = &balance->servers[server];
	uint64 leavers = bgjob_leavers(role, n);

	if (leavers != of->leavers &&
		!pg_atomic_compare_exchange_u64(&of->server->state->leavers, &of->leavers, leavers))
	{
		balance->wake = balance->now; /* one has just left: count again */
		return;
	}
	for (int i = 0; n > 0 && i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (bgjob_worker_is_mine(slot) && slot->role == role && slot->server == of->server->id)
			slot->asked = true;
	}
}

/* Returns whether the richest role is to lose a worker to one that has work; they share "workers" among "nhungry". */
static bool
must_share(BgjobBalance *balance, const BgjobRoleDemand *next, const BgjobRoleDemand *rich,
		   int workers, int nhungry)
{
	int share = Max(1, workers / Max(1, nhungry));
	int64 tenure;

	if (next == NULL || next == rich || next->workers >= share)
		return false;
	if (rich->workers > next->workers + 1)
		return true;
	if (next->workers > 0 || bgjob_demand_wanting_for(balance, next) < BGJOB_PATIENCE)
		return false;
	tenure = bgjob_demand_state(balance, rich)->last_start +
			 BGJOB_TENURE; /* at worst they take turns */
	if (tenure > balance->now)
		balance->wake = Min(balance->wake, tenure);
	return tenure <= balance->now;
}

/* ---- borrowed slots ---- */

/*
 * Retires workers that idle in borrowed slots. Returns how many more slots must be
 * given back, since jobs have become longer, or a slot is wanted.
 */
static int
count_due_loans(BgjobBalance *balance, bool wanted)
{
	bool enough = bgjob_slots_used() <= bgjob_slots_most(BGJOB_NEED_MORE);
	int n = 0;

	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (!bgjob_worker_is_mine(slot) || !slot->lent || slot->retire)
			continue;
		if (enough)
			slot->lent = false; /* it is none any more */
		else if (bgjob_retire_if_idle(slot))
			balance->leaving++;
		else
			n++;
	}
	if (n > 0)
		balance->wake = Min(balance->wake, balance->now + LOAN_RECHECK);
	return wanted || bgjob_sharing_has_long_job() ? n : 0;
}

/* Interrupts one job whose worker is in a borrowed slot; one at a time. */
static void
call_loan_in(void)
{
	BgjobSlot *chosen = NULL;

	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (!bgjob_worker_is_mine(slot) || !slot->lent)
			continue;
		if (slot->retire)
			return;
		if (slot->ready && (chosen == NULL || slot->job_started_at > chosen->job_started_at))
			chosen = slot;
	}
	if (chosen != NULL)
		bgjob_slot_interrupt(chosen, BGJOB_BY_NEED);
}

/* Returns whether a role without a worker has waited for long. */
static bool
has_waited(BgjobBalance *balance)
{
	for (int i = 0; i < balance->nservers; i++)
	{
		const BgjobRoleDemand *next = balance->servers[i].next;

		if (next != NULL && next->workers == 0 &&
			bgjob_demand_wanting_for(balance, next) >= BGJOB_PATIENCE)
			return true;
	}
	return false;
}

/* Returns whether a slot has been wanted for a while; *wake is lowered to when that will be so. */
static bool
is_urgent(BgjobBalance *balance)
{
	if (balance->poorest != 0)
		wanted_since = 0;
	else if (wanted_since == 0)
		wanted_since = balance->now;
	if (has_waited(balance))
		return true;
	if (wanted_since != 0 && balance->now - wanted_since >= BGJOB_PATIENCE)
		return true;
	balance->wake = Min(balance->wake, balance->now + BGJOB_PATIENCE);
	return false;
}

/* Returns how many borrowed slots must be given back; has one called in, if that is urgent. */
static int
settle_loans(BgjobBalance *balance)
{
	bool wanted = balance->poorest == 0;
	int n;

	for (int i = 0; i < balance->nservers; i++)
		wanted |= balance->servers[i].next != NULL && balance->servers[i].next->workers == 0 &&
				  !balance->servers[i].next->covered;
	n = count_due_loans(balance, wanted);
	if (wanted && n > 0 && balance->leaving == 0 && is_urgent(balance))
		call_loan_in();
	return n;
}

/* ---- giving up ---- */

/* Returns whether this database is to lose a worker to another one that wants a slot. */
static bool
must_give(BgjobBalance *balance, const BgjobRoleDemand *rich)
{
	int64 tenure;

	if (balance->poorest < 0 || !bgjob_slots_is_richest(MyDatabaseId))
		return false;
	if (balance->workers > balance->poorest + 1)
		return true;
	if (balance->poorest > 0)
		return false;
	tenure = bgjob_demand_state(balance, rich)->last_start +
			 2 * BGJOB_TENURE; /* at worst they take turns */
	balance->wake = Min(balance->wake, Max(tenure, balance->now + BGJOB_TENURE));
	return tenure <= balance->now;
}

/* Returns among which workers room is made for the role that a server has denied one. */
static int
scope_of(const BgjobBalance *balance, int server)
{
	return balance->servers[server].workers >= balance->servers[server].most ? server
																			 : ALL_SERVERS;
}

/* Has workers leave that idle, where there are too many, or others are denied one. */
static void
retire_superfluous(BgjobBalance *balance, bool yielding)
{
	while ((balance->poorest >= 0 || yielding) && retire_idle(balance, ALL_SERVERS))
		;
	for (int i = 0; i < balance->nservers; i++)
		while (balance->servers[i].workers > balance->servers[i].most &&
			   retire_idle(balance, i))
			;
	for (int i = 0; i < balance->nservers && balance->leaving == 0; i++)
		if (balance->servers[i].next != NULL)
			(void) retire_idle(balance, scope_of(balance, i));
}

/* Returns the demand that is to lose a worker to another one; NULL: none. */
static BgjobRoleDemand *
find_loser(BgjobBalance *balance)
{
	BgjobRoleDemand *rich;

	if (balance->leaving > 0)
		return NULL;
	for (int i = 0; i < balance->nservers; i++)
	{
		const BgjobServerDemand *server = &balance->servers[i];
		int scope = scope_of(balance, i);

		rich = find_richest(balance, scope);
		if (rich != NULL &&
			must_share(balance, server->next, rich,
					   scope == ALL_SERVERS ? balance->workers : server->workers,
					   scope == ALL_SERVERS ? balance->nhungry : server->nhungry))
			return rich;
	}
	rich = find_richest(balance, ALL_SERVERS);
	return rich != NULL && must_give(balance, rich) ? rich : NULL;
}

/*
 * bgjob_sharing_give_up has workers leave that are too many, or in the way of a role that
 * has fewer than its share. "yielding": all of them.
 */
void
bgjob_sharing_give_up(BgjobBalance *balance, bool yielding)
{
	int loans = settle_loans(balance);
	const BgjobRoleDemand *richest;
	const BgjobRoleDemand *loser;

	retire_superfluous(balance, yielding);
	richest = find_richest(balance, ALL_SERVERS);
	loser = find_loser(balance);
	for (int i = 0; i < balance->nservers; i++)
	{
		const BgjobServerDemand *server = &balance->servers[i];
		const BgjobRoleDemand *rich =
			loser != NULL && loser->server == i ? loser : find_richest(balance, i);
		int n;

		if (rich == NULL)
		{
			ask_to_leave(balance, i, InvalidOid, 0);
			continue;
		}
		n = Max(rich == richest ? loans : 0, server->workers - server->most);
		if (server->most > 0)
			n = Min(n, rich->workers -
						   1); /* beyond the number of the server each role keeps one */
		if (rich == loser)
			n = Max(n, 1);
		if (yielding)
			n = rich->workers;
		ask_to_leave(balance, i, rich->role, Max(n, 0));
	}
}
