/*-------------------------------------------------------------------------
 *
 * pool.c
 *	  The workers of a database: how many, for whom, and what becomes of
 *	  their jobs when they are lost.
 *
 * Run by the scheduler. A worker serves one role, so roles share the places:
 * while there are places (bgjob.workers, and what process/slots.c allows),
 * whoever has work gets another worker, the role with the fewest first.
 *
 * When there are none left, a role that has work and fewer than its fair share
 * (the places divided by the roles that have work) is made room for: a worker
 * that idles for a role without work leaves at once, else the role with the
 * most workers loses one. Which one is not decided here, since nobody knows
 * whose job ends first: any of them leaves that has ended its job
 * (base/registry.h). A role that has had no worker for PATIENCE gets one beyond
 * bgjob.workers, one only; so nobody waits for jobs that do not end. Where there
 * is no slot for that either, roles take turns.
 *
 * Workers whose jobs have all been short may borrow slots that are kept for who
 * has none. They give them back when jobs become longer or somebody has none;
 * one whose job does not end then is interrupted, and the job goes back to the
 * head of its queue.
 *
 * Times are those of the steady clock, so that somebody who sets the clock
 * neither stops nor hastens anything here.
 *
 * Workers leave by themselves when idle, and when there are more than there
 * may be (bgjob.workers has been lowered).
 *
 * A role whose workers cannot connect (NOLOGIN since, CONNECT revoked), or cannot
 * take jobs (a damaged table), is paused for a while, longer each time, up to a
 * minute, with one message; then one worker tries. The jobs of a role that has
 * been dropped are failed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "base/announce.h"
#include "base/database.h"
#include "base/groupitems.h"
#include "base/guc.h"
#include "base/lanes.h"
#include "base/process.h"
#include "base/registry.h"
#include "base/request.h"
#include "base/slot.h"
#include "base/slots.h"
#include "base/waits.h"
#include "base/wake.h"
#include "commands/dbcommands.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "process/pool.h"
#include "process/recovery.h"
#include "rules/clock.h"
#include "replication/syncrep.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define LONGEST_PAUSE 60 /* seconds */

/* In microseconds. */
#define PATIENCE     300000 /* a role without a worker waits so long for one of the others' */
#define TENURE       500000 /* a role's only worker stays so long at least */
#define SHORT_JOB    200000 /* no job of who borrows slots may last longer */
#define LOAN_RECHECK 200000 /* borrowed slots are looked at so often */
#define RETRY        250000 /* what would have to wait for a lock, or a service, is tried again */
#define RAMP         10000 /* after so long who has short jobs is seen to have them */

/* A worker has short jobs when it has performed so many, and is at none for SHORT_JOB. */
#define SHORT_JOBS 10

/* What is known of a role here. */
typedef struct RoleState
{
	Oid role;            /* must be first */
	int64 last_start;    /* of a worker: the role that has waited longest comes first */
	int64 wanting_since; /* has work and no worker; 0: that is not so */
	int failures;        /* of its workers to start or to take jobs, one after the other */
	uint32 failure;      /* the SQLSTATE that they could not take jobs for; 0: they have */
	int64 paused_until;  /* after these */
} RoleState;

static HTAB *roles;
static BackgroundWorkerHandle **handles; /* by slot */
static BgjobDatabase *entry;             /* this database's */
static bool yielding = false;            /* another database is to have its turn */
static bool warned_of_slots = false;
static int64 no_slot_until = 0; /* max_worker_processes was reached: do not try before */
static int64 wanted_since = 0;  /* by another database, which has no worker */
static int64 denied_since = 0;  /* a worker that bgjob.workers allows */
static int64 last_left = 0;     /* a worker: the postmaster may need a moment to notice */

/* bgjob_pool_init prepares a scheduler; once. */
void
bgjob_pool_init(void)
{
	HASHCTL info = {
		.keysize = sizeof(Oid), .entrysize = sizeof(RoleState), .hcxt = TopMemoryContext};

	handles = MemoryContextAllocZero(TopMemoryContext,
									 bgjob_registry->nslots * sizeof(BackgroundWorkerHandle *));
	roles = hash_create("bgjob roles", 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	entry = bgjob_database_find(MyDatabaseId);
}

static bool
is_mine(const BgjobSlot *slot)
{
	return slot->in_use && slot->kind == BGJOB_WORKER && slot->database == MyDatabaseId;
}

/* Translates a time of the steady clock to one of the clock, which is "now". */
static TimestampTz
by_clock(int64 steady, TimestampTz now)
{
	return steady == DT_NOEND ? DT_NOEND : now + (steady - bgjob_steady_now());
}

/* ---- roles that cannot be served ---- */

static RoleState *
state_of(Oid role)
{
	bool found;
	RoleState *state = hash_search(roles, &role, HASH_ENTER, &found);

	if (!found)
	{
		memset(state, 0, sizeof(*state));
		state->role = role;
	}
	return state;
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

/* Pauses a role after a failure of a worker; what others fail of meanwhile is the same one. */
static void
pause_role(RoleState *state)
{
	int64 now = bgjob_steady_now();

	if (state->paused_until > now)
		return;
	state->failures++;
	state->paused_until =
		now + Min(1 << Min(state->failures - 1, 6), LONGEST_PAUSE) * USECS_PER_SEC;
}

/* A worker of a role has left before it could serve. */
static void
note_failed_start(Oid role)
{
	RoleState *state = state_of(role);

	if (!role_exists(role))
		return; /* seen to before the next is started */
	if (state->failures == 0)
		ereport(WARNING,
				(errmsg("could not start a worker for role with OID %u", role),
				 errdetail("Its jobs wait; the message of the worker stands before this one."),
				 errhint("The role must have LOGIN, and CONNECT on the database.")));
	pause_role(state);
}

/* A worker has left because it could not take jobs. */
static void
note_failed_claims(const BgjobSlot *slot)
{
	RoleState *state = state_of(slot->role);

	if (state->failures == 0)
		ereport(LOG, (errmsg("a worker for role with OID %u cannot take jobs", slot->role),
					  errdetail("The message of the worker stands before this one. Others are "
								"started, later and later; the same failure is not logged "
								"any more.")));
	state->failure = slot->failure;
	pause_role(state);
}

/* Forgets the failures of a role when one of its workers serves. */
static void
note_service(const BgjobSlot *slot)
{
	RoleState *state = hash_search(roles, &slot->role, HASH_FIND, NULL);

	if (state == NULL || state->failures == 0 || !slot->ready)
		return;
	if (state->failure != 0 && (slot->failure != 0 || slot->jobs_done == 0))
		return; /* it has taken no job yet */
	state->failures = 0;
	state->failure = 0;
	state->paused_until = 0;
}

/* Whether workers of a role have failed, and none has served since. */
static bool
is_failing(Oid role)
{
	RoleState *state = hash_search(roles, &role, HASH_FIND, NULL);

	return state != NULL && state->failures > 0;
}

/* Fails jobs of a role that has been dropped. False if there may be more to do at once. */
static bool
fail_orphans(Oid role)
{
	bool all = bgjob_fail_jobs_of_role(role);

	if (all)
	{
		/* Should a transaction with more of them still commit, its lane comes back, and so do we. */
		bgjob_lane_groups_forget(MyDatabaseId, role);
		(void) hash_search(roles, &role, HASH_REMOVE, NULL);
	}
	return all;
}

/* Whether a role is not to be tried now; *wake is lowered to when it is. */
static bool
is_paused(Oid role, int64 now, int64 *wake)
{
	RoleState *state = hash_search(roles, &role, HASH_FIND, NULL);

	if (state == NULL || state->paused_until <= now)
		return false;
	*wake = Min(*wake, state->paused_until);
	return true;
}

/* ---- workers that have left ---- */

static void
take_leave(BgjobSlot *slot)
{
	int index = bgjob_slot_index(slot);

	note_service(slot);
	bgjob_recover_lost(slot);
	if (slot->failing)
		note_failed_claims(slot);
	else if (!slot->ready && !slot->retire && !slot->term)
		note_failed_start(slot->role);
	if (handles[index] != NULL)
		pfree(handles[index]);
	handles[index] = NULL;
	bgjob_slot_free(slot);
}

static void
take_leave_of(void *slot)
{
	take_leave(slot);
}

/*
 * bgjob_pool_reap looks after the jobs of workers that have left. Returns when
 * to do so again by itself: one whose job cannot be looked after now, since
 * tables are locked, keeps its slot.
 */
TimestampTz
bgjob_pool_reap(TimestampTz now)
{
	int64 left_at = bgjob_steady_now();
	TimestampTz wake = DT_NOEND;

	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (!is_mine(slot) || !bgjob_process_left(slot, handles[i]))
			continue;
		if (bgjob_try(take_leave_of, slot))
			last_left = left_at;
		else
			wake = now + RETRY;
	}
	if (last_left == left_at)
		no_slot_until = 0;
	return wake;
}

/* ---- how many ---- */

/* A role that has work, or workers. */
typedef struct Claimant
{
	Oid role;
	int64 ready;
	int workers;   /* but for those that are to leave */
	int available; /* of these, those that will look for work by themselves */
} Claimant;

typedef struct Balance
{
	int64 now;      /* by the steady clock */
	int64 wake;     /* likewise: when to balance again by itself */
	uint64 leavers; /* what was asked for before the workers were counted */
	Claimant *claimants;
	int nclaimants;
	int nhungry; /* those that have work */
	int workers; /* of all */
	int leaving; /* that will have left in a moment */
	int poorest; /* of the other databases that want a slot: it has so many workers; -1: none does */
} Balance;

static Claimant *
claimant_of(Balance *balance, Oid role)
{
	for (int i = 0; i < balance->nclaimants; i++)
		if (balance->claimants[i].role == role)
			return &balance->claimants[i];
	return NULL;
}

/* Adds this database's workers up. */
static void
count_workers(Balance *balance)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];
		Claimant *claimant;

		if (!is_mine(slot))
			continue;
		if (slot->retire)
		{
			balance->leaving += slot->job == 0 ? 1 : 0;
			continue;
		}
		note_service(slot);
		claimant = claimant_of(balance, slot->role);
		if (claimant == NULL)
		{
			claimant = &balance->claimants[balance->nclaimants++];
			*claimant = (Claimant){.role = slot->role};
		}
		balance->workers++;
		claimant->workers++;
		if (slot->idle || !slot->ready)
			claimant->available++;
	}
}

/* Notes since when a role has work and no worker. */
static void
note_wanting(const Claimant *claimant, int64 now)
{
	RoleState *state;

	if (claimant->workers > 0 || claimant->ready == 0)
	{
		state = hash_search(roles, &claimant->role, HASH_FIND, NULL);
		if (state != NULL)
			state->wanting_since = 0;
		return;
	}
	state = state_of(claimant->role);
	if (state->wanting_since == 0)
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
	balance->claimants = palloc((n + bgjob_registry->nslots) * sizeof(Claimant));
	balance->leavers = pg_atomic_read_u64(&entry->leavers);
	pg_read_barrier();
	for (int i = 0; i < n; i++)
		if (!is_paused(demands[i].role, now, &balance->wake))
			balance->claimants[balance->nclaimants++] =
				(Claimant){.role = demands[i].role, .ready = demands[i].ready};
	balance->nhungry = balance->nclaimants;
	pfree(demands);
	count_workers(balance);
	for (int i = 0; i < balance->nclaimants; i++)
		note_wanting(&balance->claimants[i], now);
}

/* Whether one claimant comes before another: it has fewer workers, or has waited longer. */
static bool
comes_before(const Claimant *a, const Claimant *b)
{
	if (a->workers != b->workers)
		return a->workers < b->workers;
	return state_of(a->role)->last_start < state_of(b->role)->last_start;
}

/*
 * The claimant with the fewest workers among those that could use another; NULL:
 * none. One whose workers have failed has only one, until that serves.
 */
static Claimant *
neediest(Balance *balance)
{
	Claimant *needy = NULL;

	for (int i = 0; i < balance->nclaimants; i++)
	{
		Claimant *claimant = &balance->claimants[i];

		if (claimant->ready <= claimant->available)
			continue;
		if (claimant->workers > 0 && is_failing(claimant->role))
			balance->wake = Min(balance->wake, balance->now + RETRY);
		else if (needy == NULL || comes_before(claimant, needy))
			needy = claimant;
	}
	return needy;
}

/* How long a role has had work and no worker. */
static int64
wanting_for(const Claimant *claimant, int64 now)
{
	RoleState *state = state_of(claimant->role);

	return state->wanting_since == 0 ? 0 : now - state->wanting_since;
}

/* Whether some worker of this database is at a job that is not short. */
static bool
has_long_job(void)
{
	TimestampTz now = bgjob_now();

	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];
		TimestampTz started = slot->job_started_at;

		if (is_mine(slot) && slot->job != 0 && started != 0 && now - started > SHORT_JOB)
			return true;
	}
	return false;
}

/* Whether all workers of this database have performed jobs that were short. */
static bool
jobs_are_short(void)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (!is_mine(slot) || slot->retire || slot->lent)
			continue;
		if (slot->jobs_done < SHORT_JOBS)
			return false;
	}
	return !has_long_job();
}

/* ---- starting ---- */

static bool
start_worker(Oid role, BgjobNeed need)
{
	BgjobSlot *slot;

	if (bgjob_slots_workers() >= bgjob_slots_worker_limit(need))
		return false;
	slot = bgjob_slot_create(BGJOB_WORKER, MyDatabaseId, role, bgjob_slots_most(need));
	if (slot == NULL)
		return false;
	slot->lent = need == BGJOB_NEED_LOAN;
	slot->failure = state_of(role)->failure;
	if (bgjob_process_start(slot, BGJOB_WORKER_TYPE, "bgjob_worker_main",
							&handles[bgjob_slot_index(slot)]))
		return true;
	bgjob_slot_free(slot);
	no_slot_until =
		bgjob_steady_now() +
		(bgjob_steady_now() - last_left < USECS_PER_SEC ? USECS_PER_SEC / 50 : USECS_PER_SEC);
	return false;
}

/* Starts a worker for a role that has some already, in a borrowed slot if there is no other. */
static bool
start_another(Balance *balance, const Claimant *claimant)
{
	if (balance->poorest >= 0 && balance->poorest < balance->workers)
		return false; /* it is another database's turn */
	if (start_worker(claimant->role, BGJOB_NEED_MORE))
		return true;
	if (bgjob_slots_used() >= bgjob_slots_most(BGJOB_NEED_LOAN))
		return false;
	if (jobs_are_short())
		return start_worker(claimant->role, BGJOB_NEED_LOAN);
	balance->wake = Min(balance->wake, balance->now + RAMP);
	return false;
}

/* Starts a worker for a role if it may have one. */
static bool
start_for(Balance *balance, const Claimant *needy)
{
	if (bgjob_workers == 0 || yielding)
		return false;
	if (no_slot_until > balance->now)
	{
		balance->wake = Min(balance->wake, no_slot_until);
		return false;
	}
	if (balance->workers == 0)
		return start_worker(needy->role, BGJOB_NEED_DATABASE);
	if (balance->workers < bgjob_workers)
		return needy->workers == 0 ? start_worker(needy->role, BGJOB_NEED_ROLE)
								   : start_another(balance, needy);
	if (needy->workers > 0)
		return false;
	if (wanting_for(needy, balance->now) >= PATIENCE)
		return start_worker(needy->role, BGJOB_NEED_ROLE);
	balance->wake = Min(balance->wake, balance->now + PATIENCE);
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

/* Starts workers where there is work, as far as there may be more. Returns who gets none; NULL: nobody. */
static Claimant *
start_workers(Balance *balance)
{
	Claimant *needy;

	while ((needy = neediest(balance)) != NULL)
	{
		if (needy->workers == 0 && !role_exists(needy->role))
		{
			if (!fail_orphans(needy->role))
				balance->wake = balance->now;
			needy->ready = 0;
			continue;
		}
		if (!start_for(balance, needy))
			return needy;
		state_of(needy->role)->last_start = balance->now;
		state_of(needy->role)->wanting_since = 0;
		balance->workers++;
		needy->workers++;
		needy->available++;
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
		Claimant *claimant;

		if (!is_mine(slot) || !slot->idle || slot->retire)
			continue;
		claimant = claimant_of(balance, slot->role);
		if (claimant == NULL || claimant->ready > 0 || !bgjob_retire_if_idle(slot))
			continue;
		balance->workers--;
		balance->leaving++;
		claimant->workers--;
		return true;
	}
	return false;
}

/* The claimant that has the most workers; NULL: there are no workers. */
static Claimant *
richest(const Balance *balance)
{
	Claimant *rich = NULL;

	for (int i = 0; i < balance->nclaimants; i++)
		if (balance->claimants[i].workers > 0 &&
			(rich == NULL || balance->claimants[i].workers > rich->workers))
			rich = &balance->claimants[i];
	return rich;
}

/* Asks for n workers of a role, whichever end their jobs first, instead of what was asked for before. */
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
		if (is_mine(&bgjob_registry->slots[i]) && bgjob_registry->slots[i].role == role)
			bgjob_registry->slots[i].asked = true;
}

/* Whether the richest role is to lose a worker to one that has work. */
static bool
must_share(Balance *balance, const Claimant *needy, const Claimant *rich)
{
	int share = Max(1, balance->workers / Max(1, balance->nhungry));
	int64 tenure;

	if (needy == NULL || needy == rich || needy->workers >= share)
		return false;
	if (rich->workers > needy->workers + 1)
		return true;
	if (needy->workers > 0 || wanting_for(needy, balance->now) < PATIENCE)
		return false;
	tenure = state_of(rich->role)->last_start + TENURE; /* at worst they take turns */
	if (tenure > balance->now)
		balance->wake = Min(balance->wake, tenure);
	return tenure <= balance->now;
}

/*
 * Looks after borrowed slots: a worker that idles in one leaves. Returns how
 * many must be given back, since jobs have become longer, or somebody wants one.
 */
static int
count_due_loans(Balance *balance, bool wanted)
{
	bool enough = bgjob_slots_used() <= bgjob_slots_most(BGJOB_NEED_MORE);
	int n = 0;

	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (!is_mine(slot) || !slot->lent || slot->retire)
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

		if (!is_mine(slot) || !slot->lent)
			continue;
		if (slot->retire)
			return;
		if (slot->ready && (chosen == NULL || slot->job_started_at > chosen->job_started_at))
			chosen = slot;
	}
	if (chosen != NULL)
		bgjob_slot_interrupt(chosen, BGJOB_BY_NEED);
}

/* Whether this database is to lose a worker to another one that wants a slot. */
static bool
must_give(Balance *balance, const Claimant *rich)
{
	int64 tenure;

	if (balance->poorest < 0 || !bgjob_slots_is_richest(MyDatabaseId))
		return false;
	if (balance->workers > balance->poorest + 1)
		return true;
	if (balance->poorest > 0)
		return false;
	tenure = state_of(rich->role)->last_start + 2 * TENURE; /* at worst they take turns */
	balance->wake = Min(balance->wake, Max(tenure, balance->now + TENURE));
	return tenure <= balance->now;
}

/* Whether somebody has wanted a slot for a while; *wake is lowered to when that will be so. */
static bool
has_waited(Balance *balance, const Claimant *needy)
{
	if (balance->poorest != 0)
		wanted_since = 0;
	else if (wanted_since == 0)
		wanted_since = balance->now;
	if (needy != NULL && needy->workers == 0 && wanting_for(needy, balance->now) >= PATIENCE)
		return true;
	if (wanted_since != 0 && balance->now - wanted_since >= PATIENCE)
		return true;
	balance->wake = Min(balance->wake, balance->now + PATIENCE);
	return false;
}

/* Has workers leave that are too many, or in the way of a role that has fewer than its share. */
static void
give_up(Balance *balance, const Claimant *needy)
{
	bool wanted = (needy != NULL && needy->workers == 0) || balance->poorest == 0;
	int n = count_due_loans(balance, wanted);
	Claimant *rich;

	if (wanted && n > 0 && balance->leaving == 0 && has_waited(balance, needy))
		call_loan_in();
	while ((balance->workers > bgjob_workers || balance->poorest >= 0 || yielding) &&
		   retire_idle(balance))
		;
	if (needy != NULL && balance->leaving == 0)
		(void) retire_idle(balance);
	rich = richest(balance);
	if (rich == NULL)
	{
		ask_to_leave(balance, InvalidOid, 0);
		return;
	}
	n = Max(n, balance->workers - bgjob_workers);
	if (bgjob_workers > 0)
		n = Min(n, rich->workers - 1); /* beyond bgjob.workers each role keeps one */
	if (balance->leaving == 0 && (must_share(balance, needy, rich) || must_give(balance, rich)))
		n = Max(n, 1);
	if (yielding)
		n = rich->workers;
	ask_to_leave(balance, rich->role, Max(n, 0));
}

/* Whether somebody here could have a worker if there were a slot for it. */
static bool
wants_slot(const Balance *balance, const Claimant *needy)
{
	return needy != NULL && !yielding && bgjob_workers > 0 &&
		   (balance->workers < bgjob_workers || needy->workers == 0);
}

/*
 * bgjob_pool_balance starts workers where there is work, and makes room for
 * roles that have less than their share. Returns when to look again by itself
 * (DT_NOEND: when told).
 */
TimestampTz
bgjob_pool_balance(TimestampTz now)
{
	Balance balance;
	Claimant *needy;

	begin_balance(&balance);
	needy = start_workers(&balance);
	for (int i = 0; i < balance.nclaimants; i++)
		if (balance.claimants[i].ready > 0 && balance.claimants[i].available > 0)
			(void) bgjob_wake_worker(MyDatabaseId, balance.claimants[i].role);
	if (needy != NULL && balance.nclaimants > 1) /* shares may have to be put right */
		balance.wake = Min(balance.wake, balance.now + TENURE);
	if (needy != NULL && balance.workers < bgjob_workers)
	{
		warn_of_slots(&balance);
		balance.wake =
			Min(balance.wake, balance.now + (needy->workers == 0 ? PATIENCE : USECS_PER_SEC));
	}
	else
		denied_since = 0;
	bgjob_slots_want(MyDatabaseId, wants_slot(&balance, needy) ? balance.workers : -1);
	give_up(&balance, needy);
	pg_atomic_write_u32(&entry->saturated, needy != NULL ? 1 : 0);
	pfree(balance.claimants);
	return by_clock(balance.wake, now);
}

/* bgjob_pool_yield has all workers leave after their jobs, and none start, or no longer so. */
void
bgjob_pool_yield(bool yield)
{
	yielding = yield;
}

/* bgjob_pool_is_empty tells whether there is no worker; *has_work, whether there is something to do for one. */
bool
bgjob_pool_is_empty(bool *has_work)
{
	int n;

	pfree(bgjob_lanes_demand(MyDatabaseId, &n));
	*has_work = n > 0;
	return bgjob_count_workers(MyDatabaseId, InvalidOid) == 0;
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
		BgjobGroupRest rest;

		if (is_mine(&bgjob_registry->slots[i]) &&
			bgjob_group_items_take_back(&bgjob_registry->slots[i], &rest))
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
			bgjob_slot_interrupt(slot, BGJOB_BY_TERMINATION);
	}
}

/*
 * bgjob_pool_end_stubborn ends by force the workers whose jobs ought to have
 * ended BGJOB_FORCE_AFTER ago. Returns when to look again (DT_NOEND: when told).
 */
TimestampTz
bgjob_pool_end_stubborn(TimestampTz now)
{
	int64 steady = bgjob_steady_now();
	int64 wake = DT_NOEND;

	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];
		int64 job = slot->job;

		if (is_mine(slot) && bgjob_slot_force(slot, steady, &wake))
			ereport(LOG, (errmsg("job " INT64_FORMAT " did not end when it was canceled", job),
						  errdetail("Its worker is terminated.")));
	}
	return by_clock(wake, now);
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
		bgjob_wake_slot(slot);
		n++;
	}
	return n;
}

static void
interrupt_all(BgjobInterruption why)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
		if (is_mine(&bgjob_registry->slots[i]))
			bgjob_slot_interrupt(&bgjob_registry->slots[i], why);
}

/* So long workers are waited for without a word, in milliseconds, and so many jobs are named then. */
#define QUIET      1000
#define JOBS_NAMED 10

/* Says what a scheduler waits for before it leaves. False if no worker is at a job. */
static bool
log_wait(const char *database, int grace_ms)
{
	StringInfoData jobs;
	int n = 0;

	initStringInfo(&jobs);
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		int64 job = bgjob_registry->slots[i].job;

		if (!is_mine(&bgjob_registry->slots[i]) || job == 0)
			continue;
		if (n++ < JOBS_NAMED)
			appendStringInfo(&jobs, "%s" INT64_FORMAT, n > 1 ? ", " : "", job);
	}
	if (n > 0)
		ereport(LOG,
				(errmsg_plural("waiting for %d job in database \"%s\" to end",
							   "waiting for %d jobs in database \"%s\" to end", n, n, database),
				 errdetail("Running: %s%s. They are interrupted after %d ms "
						   "(bgjob.shutdown_timeout) and are performed again later.",
						   jobs.data, n > JOBS_NAMED ? ", ..." : "", grace_ms)));
	pfree(jobs.data);
	return n > 0;
}

/* Has workers that wait for a synchronous standby wait no longer, as the server's own backends at a shutdown. */
static void
stop_waiting_for_standbys(void)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		pid_t pid = bgjob_registry->slots[i].pid;
		PGPROC *proc = pid == 0 ? NULL : BackendPidGetProc(pid);

		if (proc != NULL && is_mine(&bgjob_registry->slots[i]) &&
			proc->syncRepState == SYNC_REP_WAITING)
			kill(pid, SIGTERM);
	}
}

/*
 * bgjob_pool_drain has all workers leave: running jobs get "grace_ms" at most
 * (none where somebody needs the database to itself), then
 * they are interrupted and go back to the head of their queue, and what does
 * not end then is ended by force. Returns when the last worker has gone.
 */
void
bgjob_pool_drain(const char *database, int grace_ms, BgjobInterruption why)
{
	BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);
	int64 begin = bgjob_steady_now();
	int64 until = begin + (int64) grace_ms * 1000;
	bool told = false;

	while (retire_all() > 0)
	{
		int64 now = bgjob_steady_now();
		long rest = entry->blocked_by != 0 ? 0 : (long) Max(0, (until - now + 999) / 1000);

		if (rest == 0)
			interrupt_all(entry->blocked_by != 0 ? BGJOB_BY_COMMAND : why);
		else if (!told && now - begin > QUIET * (int64) 1000)
			told = log_wait(database, grace_ms);
		if (rest == 0 || ShutdownRequestPending)
			stop_waiting_for_standbys();
		(void) bgjob_pool_end_stubborn(bgjob_now());
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 rest == 0 ? 100 : Min(rest, 1000),
						 bgjob_wait_event(BGJOB_WAIT_SCHEDULER_EXIT));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS(); /* also serves what others wait for, barriers for example */
		(void) bgjob_pool_reap(GetCurrentTimestamp());
	}
}
