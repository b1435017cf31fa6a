/*-------------------------------------------------------------------------
 *
 * leasetable.c
 *	  The table of leases in shared memory.
 *
 * Leases are found by a hash of database and job. They are of fixed number
 * (bgjob.max_leases), and so are the places at gates that they hold. What is never used
 * is never touched.
 *
 * A session reserves leases before it takes jobs from lanes, names each taken job in
 * one, claims the job, and sets the terms. What becomes of them is base/leasenotes.c's;
 * base/lease.c says what a lease is.
 *
 * LOCKS. The chains of the hash are in partitions, each with an LWLock, under which the
 * leases in them are read and written. It is held for a microsecond; the mutex of a lane
 * may be held by the caller. The free ones are under a lock of their own. No other lock is
 * taken under these. Nothing here throws, but for memory of the process.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/guc.h"
#include "base/leasetable.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define PARTITIONS 64
#define NOTHING    BGJOB_LEASE_NONE

/* Gates at which leases hold a place, for each lease in the cluster. */
#define GATES_PER_LEASE 2

typedef struct LeaseCell
{
	BgjobLease lease;
	int next; /* in its chain, or of the free ones */
} LeaseCell;

/* A place at a gate. */
typedef struct GateCell
{
	BgjobGateNeed need;
	int next;
} GateCell;

typedef struct LeaseControl
{
	LWLockPadded locks[PARTITIONS];
	LWLock free_lock;
	LWLock load_lock; /* held while the leases of a database are read from its table */
	pg_atomic_uint64 next_serial;
	/* under free_lock */
	int nfree;
	int freed;
	int untouched; /* all from this one on have never been in use; read without it, too */
	int gates_freed;
	int gates_untouched;
	int nleases;
	int nchains; /* a power of two */
	int chains[FLEXIBLE_ARRAY_MEMBER];
} LeaseControl;

static LeaseControl *control = NULL;
static LeaseCell *cells = NULL;
static GateCell *gates = NULL;

/* Leases that this process has taken out of the free ones, and not used yet. */
static int *reserved = NULL;
static int nreserved = 0;
static int reserved_room = 0;

static int
chains_of(int nleases)
{
	int n = PARTITIONS;

	while (n < nleases)
		n *= 2;
	return n;
}

static Size
control_size(void)
{
	return MAXALIGN(offsetof(LeaseControl, chains) + chains_of(bgjob_max_leases) * sizeof(int));
}

/* bgjob_leases_size returns the bytes of shared memory that all leases take. */
Size
bgjob_leases_size(void)
{
	Size gate_size = mul_size(bgjob_max_leases, GATES_PER_LEASE * sizeof(GateCell));

	return add_size(control_size(),
					add_size(mul_size(bgjob_max_leases, sizeof(LeaseCell)), gate_size));
}

/* bgjob_leases_startup creates or finds them; from shmem_startup_hook. */
void
bgjob_leases_startup(void)
{
	bool found;

	control = ShmemInitStruct("bgjob leases", bgjob_leases_size(), &found);
	cells = (LeaseCell *) ((char *) control + control_size());
	gates = (GateCell *) (cells + bgjob_max_leases);
	if (!found)
	{
		int tranche = LWLockNewTrancheId();

		for (int i = 0; i < PARTITIONS; i++)
			LWLockInitialize(&control->locks[i].lock, tranche);
		LWLockInitialize(&control->free_lock, LWLockNewTrancheId());
		LWLockInitialize(&control->load_lock, control->free_lock.tranche);
		pg_atomic_init_u64(&control->next_serial, 1);
		control->nleases = control->nfree = bgjob_max_leases;
		control->freed = control->gates_freed = NOTHING;
		control->untouched = control->gates_untouched = 0;
		control->nchains = chains_of(bgjob_max_leases);
		for (int i = 0; i < control->nchains; i++)
			control->chains[i] = NOTHING;
	}
	LWLockRegisterTranche(control->locks[0].lock.tranche, "BgjobLeases");
	LWLockRegisterTranche(control->free_lock.tranche, "BgjobFreeLeases");
}

/* ---- the hash ---- */

static uint32
chain_of(Oid database, int64 job)
{
	return murmurhash32((uint32) job ^ (uint32) (job >> 32) ^ murmurhash32(database)) &
		   (uint32) (control->nchains - 1);
}

static LWLock *
lock_of(uint32 chain)
{
	return &control->locks[chain % PARTITIONS].lock;
}

/* Returns the lease of a job in a chain; NOTHING: there is none. The partition is locked. */
static int
find_in(uint32 chain, Oid database, int64 job)
{
	int index = control->chains[chain];

	while (index != NOTHING &&
		   (cells[index].lease.job != job || cells[index].lease.database != database))
		index = cells[index].next;
	return index;
}

/*
 * bgjob_lease_lock locks the partition of a job and returns its lease; NULL: there is none,
 * and nothing is locked. "serial": only this one; 0: any.
 */
BgjobLease *
bgjob_lease_lock(Oid database, int64 job, uint64 serial, LWLockMode mode, LWLock **lock)
{
	uint32 chain = chain_of(database, job);
	int index;

	*lock = lock_of(chain);
	LWLockAcquire(*lock, mode);
	index = find_in(chain, database, job);
	if (index != NOTHING && (serial == 0 || cells[index].lease.serial == serial))
		return &cells[index].lease;
	LWLockRelease(*lock);
	return NULL;
}

/* bgjob_leases_load_lock returns the lock that is held while leases are read from their table. */
LWLock *
bgjob_leases_load_lock(void)
{
	return &control->load_lock;
}

/* ---- free ones ---- */

static void
unreserve_at_exit(int code, Datum arg)
{
	bgjob_leases_unreserve();
}

/* Makes room in the memory of this process; may throw. */
static void
have_room(int n)
{
	if (reserved == NULL)
	{
		reserved_room = Max(n, 16);
		reserved = MemoryContextAlloc(TopMemoryContext, reserved_room * sizeof(int));
		before_shmem_exit(unreserve_at_exit, (Datum) 0);
	}
	else if (reserved_room < n)
	{
		reserved = repalloc(reserved, n * sizeof(int));
		reserved_room = n;
	}
}

/*
 * bgjob_leases_reserve reserves leases for jobs that are about to be taken, so that this
 * process has n of them. Returns how many it has: there may be fewer. Throws where
 * memory of this process is lacking.
 */
int
bgjob_leases_reserve(int n)
{
	have_room(n);
	if (nreserved >= n)
		return nreserved;
	LWLockAcquire(&control->free_lock, LW_EXCLUSIVE);
	while (nreserved < n && control->nfree > 0)
	{
		int index = control->freed;

		if (index != NOTHING)
			control->freed = cells[index].next;
		else
			index = control->untouched++;
		control->nfree--;
		reserved[nreserved++] = index;
	}
	LWLockRelease(&control->free_lock);
	return nreserved;
}

/* bgjob_leases_unreserve gives back those that were not used. */
void
bgjob_leases_unreserve(void)
{
	if (nreserved == 0)
		return;
	LWLockAcquire(&control->free_lock, LW_EXCLUSIVE);
	while (nreserved > 0)
	{
		int index = reserved[--nreserved];

		cells[index].next = control->freed;
		control->freed = index;
		control->nfree++;
	}
	LWLockRelease(&control->free_lock);
}

/* Frees cells of gates. The lock of the free ones is held. */
static void
free_gates(int first)
{
	for (int next; first != NOTHING; first = next)
	{
		next = gates[first].next;
		gates[first].next = control->gates_freed;
		control->gates_freed = first;
	}
}

/* ---- a session fetches ---- */

/*
 * bgjob_lease_name names a job that is being taken from a lane in a reserved lease: it
 * is in flight from here on. Returns the number of the lease; -1: the job has one
 * already, which the other process ends or gives back. The mutex of the lane is held.
 */
int
bgjob_lease_name(const BgjobLaneGroupKey *group, const BgjobLaneItem *item)
{
	uint32 chain = chain_of(group->database, item->job);
	LWLock *lock = lock_of(chain);
	int index;
	BgjobLease *lease;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	if (nreserved == 0 || find_in(chain, group->database, item->job) != NOTHING)
	{
		LWLockRelease(lock);
		return NOTHING;
	}
	index = reserved[--nreserved];
	lease = &cells[index].lease;
	lease->serial = pg_atomic_fetch_add_u64(&control->next_serial, 1);
	lease->number = index;
	lease->database = group->database;
	lease->job = item->job;
	lease->pos = item->pos;
	lease->phase = BGJOB_LEASE_PENDING;
	lease->role = group->role;
	lease->owner = InvalidOid;
	lease->worker[0] = '\0';
	lease->session = 0;
	lease->lost = false;
	lease->started_at = 0;
	lease->ends_at = lease->deadline = PG_INT64_MAX;
	lease->lines = 0;
	lease->log_bytes = 0;
	lease->log_cut = false;
	lease->has_progress = false;
	lease->ngates = 0;
	lease->gates = NOTHING;
	cells[index].next = control->chains[chain];
	control->chains[chain] = index;
	LWLockRelease(lock);
	return index;
}

/* bgjob_lease_serial returns the serial of a lease of this process's own transaction. */
uint64
bgjob_lease_serial(int index)
{
	return cells[index].lease.serial;
}

static LWLock *
lock_own(int index)
{
	const BgjobLease *lease = &cells[index].lease;
	LWLock *lock = lock_of(chain_of(lease->database, lease->job));

	LWLockAcquire(lock, LW_EXCLUSIVE);
	return lock;
}

/* bgjob_lease_set sets the terms of a lease whose job this process has claimed. */
void
bgjob_lease_set(int index, const BgjobLeaseTerms *terms)
{
	LWLock *lock = lock_own(index);
	BgjobLease *lease = &cells[index].lease;

	lease->owner = terms->owner;
	strlcpy(lease->worker, terms->worker, sizeof(lease->worker));
	lease->attempt = terms->attempt;
	lease->session = terms->session;
	lease->started_at = terms->started_at;
	lease->until = terms->until;
	lease->ends_at = terms->ends_at;
	lease->deadline = terms->deadline;
	lease->time_limit = terms->time_limit;
	lease->logged = terms->logged;
	lease->row = *terms->row;
	lease->job_row = *terms->job_row;
	LWLockRelease(lock);
}

/* Takes n free cells for gates; false: there are not so many. */
static bool
take_gates(int *taken, int n)
{
	int got = 0;

	LWLockAcquire(&control->free_lock, LW_EXCLUSIVE);
	while (got < n)
	{
		if (control->gates_freed != NOTHING)
		{
			taken[got++] = control->gates_freed;
			control->gates_freed = gates[control->gates_freed].next;
		}
		else if (control->gates_untouched < GATES_PER_LEASE * control->nleases)
			taken[got++] = control->gates_untouched++;
		else
			break;
	}
	if (got < n)
		while (got > 0)
		{
			gates[taken[--got]].next = control->gates_freed;
			control->gates_freed = taken[got];
		}
	LWLockRelease(&control->free_lock);
	return got == n;
}

/* bgjob_lease_set_gates has a lease hold the places that this process has acquired for its job. False: there is no room for them. */
bool
bgjob_lease_set_gates(int index, const BgjobGateNeed *needs, int n)
{
	int taken[BGJOB_GATES_MAX];
	LWLock *lock;

	if (!take_gates(taken, n))
		return false;
	for (int i = 0; i < n; i++)
	{
		gates[taken[i]].need = needs[i];
		gates[taken[i]].need.name = NULL;
		gates[taken[i]].next = i + 1 < n ? taken[i + 1] : NOTHING;
	}
	lock = lock_own(index);
	cells[index].lease.ngates = n;
	cells[index].lease.gates = n > 0 ? taken[0] : NOTHING;
	LWLockRelease(lock);
	return true;
}

/* Copies the places of a lease at gates; returns their number. The partition is locked. */
static int
copy_gates(const BgjobLease *lease, BgjobGateNeed *needs)
{
	int n = 0;

	for (int gate = lease->gates; gate != NOTHING; gate = gates[gate].next)
		needs[n++] = gates[gate].need;
	return n;
}

/* bgjob_lease_get_gates returns the places that a lease holds, at most BGJOB_GATES_MAX, and their number. */
int
bgjob_lease_get_gates(int index, uint64 serial, BgjobGateNeed *needs)
{
	LWLock *lock = lock_own(index);
	const BgjobLease *lease = &cells[index].lease;
	int n = lease->serial == serial ? copy_gates(lease, needs) : 0;

	LWLockRelease(lock);
	return n;
}

/* bgjob_lease_hold marks a lease as held: the fetch has committed. *ends_at is when it has to be looked at. Returns whether it has terms. */
bool
bgjob_lease_hold(int index, int64 *ends_at)
{
	LWLock *lock = lock_own(index);
	BgjobLease *lease = &cells[index].lease;

	lease->phase = BGJOB_LEASE_HELD;
	*ends_at = Min(lease->ends_at, lease->deadline);
	LWLockRelease(lock);
	return OidIsValid(cells[index].lease.owner);
}

/* Takes a lease out of its chain. The partition is locked. */
static void
unlink_lease(uint32 chain, int index)
{
	int *link = &control->chains[chain];

	while (*link != index)
		link = &cells[*link].next;
	*link = cells[index].next;
	cells[index].lease.phase = BGJOB_LEASE_FREE;
	cells[index].lease.serial = 0;
	cells[index].lease.database = InvalidOid;
}

/*
 * bgjob_lease_free frees a lease, if it is still this one. The places that it has held at gates
 * since *since are the caller's to give back; returns their number.
 */
int
bgjob_lease_free(int index, uint64 serial, BgjobGateNeed *needs, TimestampTz *since)
{
	BgjobLease *lease = &cells[index].lease;
	uint32 chain = chain_of(lease->database, lease->job);
	LWLock *lock = lock_of(chain);
	int its_gates = NOTHING;
	int n = 0;
	bool freed;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	freed = lease->serial == serial && chain == chain_of(lease->database, lease->job);
	if (freed)
	{
		n = copy_gates(lease, needs);
		*since = lease->started_at;
		its_gates = lease->gates;
		unlink_lease(chain, index);
	}
	LWLockRelease(lock);
	if (!freed)
		return 0;
	LWLockAcquire(&control->free_lock, LW_EXCLUSIVE);
	free_gates(its_gates);
	cells[index].next = control->freed;
	control->freed = index;
	control->nfree++;
	LWLockRelease(&control->free_lock);
	return n;
}

/* ---- of all ---- */

/* bgjob_leases_each calls a function for each lease of a database, with its partition locked. It may change the lease, and must not throw. */
void
bgjob_leases_each(Oid database, void (*visit)(BgjobLease *lease, void *arg), void *arg)
{
	int n = control == NULL ? 0 : *(volatile int *) &control->untouched;

	for (int i = 0; i < n; i++)
	{
		volatile BgjobLease *seen =
			&cells[i].lease; /* a first look; below it is looked at again */
		int64 job = seen->job;
		uint64 serial = seen->serial;
		LWLock *lock;
		BgjobLease *lease;

		if (seen->database != database || serial == 0)
			continue;
		lease = bgjob_lease_lock(database, job, serial, LW_EXCLUSIVE, &lock);
		if (lease == NULL)
			continue;
		visit(lease, arg);
		LWLockRelease(lock);
	}
}

/* bgjob_leases_used returns the number of leases in use, in all databases. */
int
bgjob_leases_used(void)
{
	return control == NULL ? 0 : control->nleases - *(volatile int *) &control->nfree;
}

/* A role may have so many times the leases that are free: so no role ever has the last ones. */
#define SHARE 3

/* bgjob_leases_allowed returns how many of the leases that it wants a role may take now. */
int
bgjob_leases_allowed(Oid owner, int wanted)
{
	int nfree = *(volatile int *) &control->nfree;
	int n = *(volatile int *) &control->untouched;
	int held = 0;

	/* As long as most are free, no role can have too many. */
	if ((int64) control->nleases - nfree + wanted <= SHARE * (int64) (nfree - wanted))
		return wanted;
	for (int i = 0; i < n; i++) /* without locks: it is a hint */
	{
		const volatile BgjobLease *lease = &cells[i].lease;

		held += lease->serial != 0 && lease->owner == owner;
	}
	return (int) Max(Min(wanted, ((int64) SHARE * nfree - held) / (SHARE + 1)), 0);
}
