/*-------------------------------------------------------------------------
 *
 * pool.c
 *	  The workers of a database: how many, and for whom.
 *
 * A worker serves one role, so roles share the workers: while there may be more
 * (bgjob.workers, and what base/slots.c allows), each role that has jobs gets
 * another one, the role with the fewest first.
 *
 * When there may be no more, room is made for a role that has jobs and fewer than
 * its fair share (the workers divided by the roles that have jobs): a worker that
 * idles for a role without jobs leaves at once, else the role with the most
 * workers loses one. Nobody knows which job ends first, so any worker of that role
 * leaves that has ended its job (base/registry.h). A role that has had no worker
 * for EXTRA_AFTER gets one beyond bgjob.workers, one only; so no role waits for jobs
 * that do not end. Where there is no slot for that, roles take turns (PATIENCE).
 *
 * Workers whose jobs have all been short may borrow slots that are kept for roles
 * and databases that have none. They give them back when jobs become longer, or
 * when such a role or database has jobs; a job that does not end then is
 * interrupted, and goes back to the head of its queue.
 *
 * Workers leave by themselves when they are idle, and when there are more than
 * there may be (bgjob.workers was lowered). The jobs of a role that was dropped
 * are failed.
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
#include "base/request.h"
#include "base/slot.h"
#include "base/slots.h"
#include "base/wake.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "process/pool.h"
#include "process/recovery.h"
#include "process/roles.h"
#include "process/workers.h"
#include "rules/clock.h"
#include "utils/timestamp.h"

/* Times in microseconds. */
#define PATIENCE     300000 /* wait of a role without a worker for one of another role's */
#define EXTRA_AFTER  50000  /* and for a worker beyond bgjob.workers */
#define TENURE       500000 /* minimal stay of a role's only worker */
#define SHORT_JOB    200000 /* longest job of a worker in a borrowed slot */
#define LOAN_RECHECK 200000 /* between two checks of borrowed slots */
#define RETRY        250000 /* pause before a role whose workers fail is checked again */
#define RAMP         10000  /* pause before a role is checked for short jobs again */

/* Number of jobs after which a worker counts as one with short jobs, if none runs longer than SHORT_JOB. */
#define SHORT_JOBS 10

static BgjobDatabase *entry;  /* this database's */
static bool yielding = false; /* another database is to have its turn */
static bool warned_of_slots = false;
static int64 wanted_since = 0; /* by another database, which has no worker */
static int64 denied_since = 0; /* a worker that bgjob.workers allows */

/* bgjob_pool_init prepares a scheduler; once. */
void
bgjob_pool_init(void)
{
	bgjob_roles_init();
	bgjob_workers_init();
	entry = bgjob_database_find(MyDatabaseId);
}

/* A role that has work, or workers. */
typedef struct RoleDemand
{
	Oid role;
	int64 ready;
	int workers;   /* but for those that are to leave */
	int available; /* of these, those that will take jobs by themselves */
} RoleDemand;

typedef struct Balance
{
	int64 now;      /* by the steady clock */
	int64 wake;     /* likewise: when to balance again by itself */
	uint64 leavers; /* entry->leavers before the workers were counted */
	RoleDemand *roles;
	int nroles;
	int nhungry; /* roles that have work */
	int workers; /* of all roles */
	int leaving; /* workers that are about to leave */
	int poorest; /* fewest workers of the other databases that want a slot; -1: none wants one */
} Balance;

static RoleDemand *
role_demand(Balance *balance, Oid role)
{
	for (int i = 0; i < balance->nroles; i++)
		if (balance->roles[i].role == role)
			return &balance->roles[i];
	return NULL;
}

/* Adds this database's workers up. */
static void
count_workers(Balance *balance)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];
		RoleDemand *demand;

		if (!bgjob_worker_is_mine(slot))
			continue;
		if (slot->retire)
		{
			balance->leaving += slot->job == 0 ? 1 : 0;
			continue;
		}
		bgjob_role_serves(slot);
		demand = role_demand(balance, slot->role);
		if (demand == NULL)
		{
			demand = &balance->roles[balance->nroles++];
			*demand = (RoleDemand){.role = slot->role};
		}
		balance->workers++;
		demand->workers++;
		if (slot->idle || !slot->ready)
			demand->available++;
	}
}

/* Notes since when a role has work and no worker. */
static void
note_wanting(const RoleDemand *demand, int64 now)
{
	BgjobRoleState *state = bgjob_role_state(demand->role);

	if (demand->workers > 0 || demand->ready == 0)
		state->wanting_since = 0;
	else if (state->wanting_since == 0)
		state->wanting_since = now;
}

/* Collects the roles that have work and may be served now, and those that have workers. */
static void
begin_balance(Balance *balance)
{
	int64 now = bgjob_steady_now();
	int n;
	BgjobDemand *demands = bgjob_lanes_demand(MyDatabaseId, &n);

	memset(balance, 0, sizeof(*balance));
	balance->now = now;
	balance->wake = DT_NOEND;
	balance->poorest = bgjob_slots_poorest(MyDatabaseId);
	balance->roles = palloc((n + bgjob_registry->nslots) * sizeof(RoleDemand));
	balance->leavers = pg_atomic_read_u64(&entry->leavers);
	pg_read_barrier();
	for (int i = 0; i < n; i++)
		if (!bgjob_role_is_paused(demands[i].role, now, &balance->wake))
			balance->roles[balance->nroles++] =
				(RoleDemand){.role = demands[i].role, .ready = demands[i].ready};
	balance->nhungry = balance->nroles;
	pfree(demands);
	count_workers(balance);
	for (int i = 0; i < balance->nroles; i++)
		note_wanting(&balance->roles[i], now);
}

/* Returns whether one demand comes before another: it has fewer workers, or has waited longer. */
static bool
comes_before(const RoleDemand *a, const RoleDemand *b)
{
	if (a->workers != b->workers)
		return a->workers < b->workers;
	return bgjob_role_state(a->role)->last_start < bgjob_role_state(b->role)->last_start;
}

/*
 * Returns the demand with the fewest workers among those that could use another; NULL:
 * none. One whose workers have failed has only one, until that serves.
 */
static RoleDemand *
next_demand(Balance *balance)
{
	RoleDemand *best = NULL;

	for (int i = 0; i < balance->nroles; i++)
	{
		RoleDemand *demand = &balance->roles[i];

		if (demand->ready <= demand->available)
			continue;
		if (demand->workers > 0 && bgjob_role_is_failing(demand->role))
			balance->wake = Min(balance->wake, balance->now + RETRY);
		else if (best == NULL || comes_before(demand, best))
			best = demand;
	}
	return best;
}

/* Returns the time for which a role has had work and no worker. */
static int64
wanting_for(const RoleDemand *demand, int64 now)
{
	BgjobRoleState *state = bgjob_role_state(demand->role);

	return state->wanting_since == 0 ? 0 : now - state->wanting_since;
}

/* Returns whether a worker of this database runs a job that is not short. */
static bool
has_long_job(void)
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
	return !has_long_job();
}

/* Starts a worker for a role that has some already, in a borrowed slot if there is no other. */
static bool
start_another(Balance *balance, const RoleDemand *demand)
{
	if (balance->poorest >= 0 && balance->poorest < balance->workers)
		return false; /* it is another database's turn */
	if (bgjob_worker_start(demand->role, BGJOB_NEED_MORE))
		return true;
	if (bgjob_slots_used() >= bgjob_slots_most(BGJOB_NEED_LOAN))
		return false;
	if (jobs_are_short())
		return bgjob_worker_start(demand->role, BGJOB_NEED_LOAN);
	balance->wake = Min(balance->wake, balance->now + RAMP);
	return false;
}

/* Starts a worker for a role if it may have one. */
static bool
start_for(Balance *balance, const RoleDemand *next)
{
	if (bgjob_workers == 0 || yielding)
		return false;
	if (bgjob_workers_no_slot_until() > balance->now)
	{
		balance->wake = Min(balance->wake, bgjob_workers_no_slot_until());
		return false;
	}
	if (balance->workers == 0)
		return bgjob_worker_start(next->role, BGJOB_NEED_DATABASE);
	if (balance->workers < bgjob_workers)
		return next->workers == 0 ? bgjob_worker_start(next->role, BGJOB_NEED_ROLE)
								  : start_another(balance, next);
	if (next->workers > 0)
		return false;
	if (wanting_for(next, balance->now) >= EXTRA_AFTER)
		return bgjob_worker_start(next->role, BGJOB_NEED_ROLE);
	balance->wake = Min(balance->wake, balance->now + EXTRA_AFTER);
	return false;
}

static void
warn_of_slots(const Balance *balance)
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
					   balance->workers, bgjob_workers),
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
		bgjob_role_forget(role);
	}
	return all;
}

/* Starts workers where there are jobs, as far as there may be more. Returns the role that gets none; NULL: there is none. */
static RoleDemand *
start_workers(Balance *balance)
{
	RoleDemand *next;

	while ((next = next_demand(balance)) != NULL)
	{
		if (next->workers == 0 && !bgjob_role_exists(next->role))
		{
			if (!fail_orphans(next->role))
				balance->wake = balance->now;
			next->ready = 0;
			continue;
		}
		if (!start_for(balance, next))
			return next;
		bgjob_role_state(next->role)->last_start = balance->now;
		bgjob_role_state(next->role)->wanting_since = 0;
		balance->workers++;
		next->workers++;
		next->available++;
	}
	return NULL;
}

/* ---- giving up ---- */

/* Has one idle worker leave whose role has no work, or as well is one of many; false if there is none. */
static bool
retire_idle(Balance *balance)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];
		RoleDemand *demand;

		if (!bgjob_worker_is_mine(slot) || !slot->idle || slot->retire)
			continue;
		demand = role_demand(balance, slot->role);
		if (demand == NULL || demand->ready > 0 || !bgjob_retire_if_idle(slot))
			continue;
		balance->workers--;
		balance->leaving++;
		demand->workers--;
		return true;
	}
	return false;
}

/* Returns the demand that has the most workers; NULL: there are no workers. */
static RoleDemand *
find_richest(const Balance *balance)
{
	RoleDemand *rich = NULL;

	for (int i = 0; i < balance->nroles; i++)
		if (balance->roles[i].workers > 0 &&
			(rich == NULL || balance->roles[i].workers > rich->workers))
			rich = &balance->roles[i];
	return rich;
}

/* Asks n workers of a role to leave, those that end their jobs first; replaces the previous request. */
static void
ask_to_leave(Balance *balance, Oid role, int n)
{
	uint64 leavers = bgjob_leavers(role, n);

	if (leavers != balance->leavers &&
		!pg_atomic_compare_exchange_u64(&entry->leavers, &balance->leavers, leavers))
	{
		balance->wake = balance->now; /* one has just left: count again */
		return;
	}
	for (int i = 0; n > 0 && i < bgjob_registry->nslots; i++)
		if (bgjob_worker_is_mine(&bgjob_registry->slots[i]) &&
			bgjob_registry->slots[i].role == role)
			bgjob_registry->slots[i].asked = true;
}

/* Returns whether the richest role is to lose a worker to one that has work. */
static bool
must_share(Balance *balance, const RoleDemand *next, const RoleDemand *rich)
{
	int share = Max(1, balance->workers / Max(1, balance->nhungry));
	int64 tenure;

	if (next == NULL || next == rich || next->workers >= share)
		return false;
	if (rich->workers > next->workers + 1)
		return true;
	if (next->workers > 0 || wanting_for(next, balance->now) < PATIENCE)
		return false;
	tenure = bgjob_role_state(rich->role)->last_start + TENURE; /* at worst they take turns */
	if (tenure > balance->now)
		balance->wake = Min(balance->wake, tenure);
	return tenure <= balance->now;
}

/*
 * Retires workers that idle in borrowed slots. Returns how many more slots must be
 * given back, since jobs have become longer, or a slot is wanted.
 */
static int
count_due_loans(Balance *balance, bool wanted)
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
	return wanted || has_long_job() ? n : 0;
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

/* Returns whether this database is to lose a worker to another one that wants a slot. */
static bool
must_give(Balance *balance, const RoleDemand *rich)
{
	int64 tenure;

	if (balance->poorest < 0 || !bgjob_slots_is_richest(MyDatabaseId))
		return false;
	if (balance->workers > balance->poorest + 1)
		return true;
	if (balance->poorest > 0)
		return false;
	tenure =
		bgjob_role_state(rich->role)->last_start + 2 * TENURE; /* at worst they take turns */
	balance->wake = Min(balance->wake, Max(tenure, balance->now + TENURE));
	return tenure <= balance->now;
}

/* Returns whether a slot has been wanted for a while; *wake is lowered to when that will be so. */
static bool
has_waited(Balance *balance, const RoleDemand *next)
{
	if (balance->poorest != 0)
		wanted_since = 0;
	else if (wanted_since == 0)
		wanted_since = balance->now;
	if (next != NULL && next->workers == 0 && wanting_for(next, balance->now) >= PATIENCE)
		return true;
	if (wanted_since != 0 && balance->now - wanted_since >= PATIENCE)
		return true;
	balance->wake = Min(balance->wake, balance->now + PATIENCE);
	return false;
}

/* Has workers leave that are too many, or in the way of a role that has fewer than its share. */
static void
give_up(Balance *balance, const RoleDemand *next)
{
	bool wanted = (next != NULL && next->workers == 0) || balance->poorest == 0;
	int n = count_due_loans(balance, wanted);
	RoleDemand *rich;

	if (wanted && n > 0 && balance->leaving == 0 && has_waited(balance, next))
		call_loan_in();
	while ((balance->workers > bgjob_workers || balance->poorest >= 0 || yielding) &&
		   retire_idle(balance))
		;
	if (next != NULL && balance->leaving == 0)
		(void) retire_idle(balance);
	rich = find_richest(balance);
	if (rich == NULL)
	{
		ask_to_leave(balance, InvalidOid, 0);
		return;
	}
	n = Max(n, balance->workers - bgjob_workers);
	if (bgjob_workers > 0)
		n = Min(n, rich->workers - 1); /* beyond bgjob.workers each role keeps one */
	if (balance->leaving == 0 && (must_share(balance, next, rich) || must_give(balance, rich)))
		n = Max(n, 1);
	if (yielding)
		n = rich->workers;
	ask_to_leave(balance, rich->role, Max(n, 0));
}

/* Returns whether a role of this database could have a worker if there were a slot for it. */
static bool
wants_slot(const Balance *balance, const RoleDemand *next)
{
	return next != NULL && !yielding && bgjob_workers > 0 &&
		   (balance->workers < bgjob_workers || next->workers == 0);
}

/*
 * bgjob_pool_balance starts workers where there is work, and makes room for
 * roles that have less than their share. Returns the time of the next balance
 * (DT_NOEND: when notified).
 */
TimestampTz
bgjob_pool_balance(TimestampTz now)
{
	Balance balance;
	RoleDemand *next;

	begin_balance(&balance);
	next = start_workers(&balance);
	for (int i = 0; i < balance.nroles; i++)
		if (balance.roles[i].ready > 0 && balance.roles[i].available > 0)
			(void) bgjob_wake_worker(MyDatabaseId, balance.roles[i].role);
	if (next != NULL && balance.nroles > 1) /* shares may have to be put right */
		balance.wake = Min(balance.wake, balance.now + TENURE);
	if (next != NULL && balance.workers < bgjob_workers)
	{
		warn_of_slots(&balance);
		balance.wake =
			Min(balance.wake, balance.now + (next->workers == 0 ? PATIENCE : USECS_PER_SEC));
	}
	else
		denied_since = 0;
	bgjob_slots_want(MyDatabaseId, wants_slot(&balance, next) ? balance.workers : -1);
	give_up(&balance, next);
	pg_atomic_write_u32(&entry->saturated, next != NULL ? 1 : 0);
	pfree(balance.roles);
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
	int n;

	pfree(bgjob_lanes_demand(MyDatabaseId, &n));
	*has_work = n > 0;
	return bgjob_count_workers(MyDatabaseId, InvalidOid) == 0;
}
