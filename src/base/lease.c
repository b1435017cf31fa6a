/*-------------------------------------------------------------------------
 *
 * lease.c
 *	  Leases: which external worker has which job.
 *
 * A job that an external worker has fetched has a lease here, and a row in
 * bgjob_internal.lease (store/lease.c). The row is what counts: the transaction that deletes
 * it ends the attempt. The memory is what is read: by the calls of the worker, by
 * views, and by scans of the queue, which leave out the jobs that have a lease. It is
 * filled from the table after a start of the server.
 *
 * LIFE OF A LEASE. A session reserves leases before it takes jobs from lanes, names
 * each taken job in one (PENDING; from then on the job is in flight), claims the job,
 * and sets the terms. When its transaction commits the lease is HELD; when that, or
 * a subtransaction, is rolled back, the lease is freed, and then the job is
 * announced again (base/leasenotes.c). A held lease is freed after the commit of the
 * transaction that has ended it. So a job that has a lease is in no other session's
 * hands, and a job without one is either in the queue or ended.
 *
 * "serial" tells a lease from a later one of the same job: what was read of a lease
 * is compared with it before something is changed.
 *
 * Any process; base/leasetable.c has the locks. Nothing here throws, but for what
 * returns copies in palloc'd memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/database.h"
#include "base/lease.h"
#include "base/registry.h"
#include "base/wake.h"
#include "rules/clock.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* The same for a lease that was read before. */
static BgjobLease *
lock_again(const BgjobLease *lease, LWLock **lock)
{
	return bgjob_lease_lock(lease->database, lease->job, lease->serial, LW_EXCLUSIVE, lock);
}

/* bgjob_lease_note_end notes when a lease is to be looked at, by the steady clock. Returns whether none was to be before. */
bool
bgjob_lease_note_end(Oid database, int64 ends_at)
{
	BgjobDatabase *entry = bgjob_database_find(database);
	uint64 known;

	if (entry == NULL)
		return false;
	known = pg_atomic_read_u64(&entry->low_lease);
	while ((int64) known > ends_at)
		if (pg_atomic_compare_exchange_u64(&entry->low_lease, &known, (uint64) ends_at))
			return true;
	return false;
}

/* bgjob_lease_announce_end does so, and wakes the scheduler unless it looks before that anyway. Does not throw. */
void
bgjob_lease_announce_end(Oid database, int64 ends_at)
{
	if (bgjob_lease_note_end(database, ends_at))
		bgjob_notify_scheduler(database, 0);
}

/* bgjob_lease_is_there returns whether a job has a lease. */
bool
bgjob_lease_is_there(Oid database, int64 job)
{
	LWLock *lock;

	if (bgjob_registry == NULL || bgjob_lease_lock(database, job, 0, LW_SHARED, &lock) == NULL)
		return false;
	LWLockRelease(lock);
	return true;
}

/* bgjob_lease_find copies the lease of a job; false: it has none. */
bool
bgjob_lease_find(Oid database, int64 job, BgjobLease *lease)
{
	LWLock *lock;
	const BgjobLease *found;

	if (bgjob_registry == NULL)
		return false;
	found = bgjob_lease_lock(database, job, 0, LW_SHARED, &lock);
	if (found == NULL)
		return false;
	*lease = *found;
	LWLockRelease(lock);
	return true;
}

/* bgjob_lease_index returns the number of a lease of a job; -1: it has ended. */
int
bgjob_lease_index(Oid database, int64 job, uint64 serial)
{
	LWLock *lock;
	const BgjobLease *found = bgjob_lease_lock(database, job, serial, LW_SHARED, &lock);

	if (found == NULL)
		return BGJOB_LEASE_NONE;
	LWLockRelease(lock);
	return found->number;
}

/* bgjob_lease_is_over returns whether the time of a lease, or of its attempt, is over, or its session has ended. */
bool
bgjob_lease_is_over(const BgjobLease *lease)
{
	return lease->lost || bgjob_steady_now() >= Min(lease->ends_at, lease->deadline);
}

/*
 * bgjob_lease_extend has a lease end so many microseconds from now; *until is then. False:
 * it is another one by now, or over.
 */
bool
bgjob_lease_extend(const BgjobLease *lease, int64 microseconds, TimestampTz *until)
{
	int64 ends_at = bgjob_steady_now() + microseconds;
	LWLock *lock;
	BgjobLease *held;
	bool extended;

	*until = bgjob_now() + microseconds;
	held = lock_again(lease, &lock);
	if (held == NULL)
		return false;
	extended = !bgjob_lease_is_over(held);
	if (extended)
	{
		held->ends_at = ends_at;
		held->until = *until;
	}
	LWLockRelease(lock);
	if (extended)
		bgjob_lease_announce_end(lease->database, ends_at);
	return extended;
}

/*
 * bgjob_lease_add_line counts a line of a job's log, up to BGJOB_LOG_MAX bytes in an attempt, and returns its number there; 0: the lease is
 * another one by now.
 */
int
bgjob_lease_add_line(const BgjobLease *lease, Size bytes, BgjobLogged *logged)
{
	LWLock *lock;
	BgjobLease *held = lock_again(lease, &lock);
	int seq;

	if (held == NULL)
		return 0;
	*logged = held->log_cut                              ? BGJOB_LOGGED_NOT
			  : bytes <= BGJOB_LOG_MAX - held->log_bytes ? BGJOB_LOGGED
														 : BGJOB_LOGGED_CUT;
	if (*logged == BGJOB_LOGGED)
		held->log_bytes += bytes;
	else
		held->log_cut = true;
	if (*logged != BGJOB_LOGGED_NOT)
		held->lines++;
	seq = held->logged + held->lines;
	LWLockRelease(lock);
	return seq;
}

/* bgjob_lease_set_progress sets how far a job is; message: NULL: none. False: the lease is another one by now. */
bool
bgjob_lease_set_progress(const BgjobLease *lease, double percent, const char *message)
{
	LWLock *lock;
	BgjobLease *held = lock_again(lease, &lock);

	if (held == NULL)
		return false;
	held->has_progress = true;
	held->percent = percent;
	strlcpy(held->message, message != NULL ? message : "", sizeof(held->message));
	LWLockRelease(lock);
	return true;
}

typedef struct Visiting
{
	BgjobLeaseVisit visit;
	void *arg;
} Visiting;

static void
visit_one(BgjobLease *lease, void *arg)
{
	Visiting *visiting = arg;

	visiting->visit(lease, visiting->arg);
}

/* bgjob_leases_visit calls a function for each lease of a database, in no order. It must not throw. */
void
bgjob_leases_visit(Oid database, BgjobLeaseVisit visit, void *arg)
{
	Visiting visiting = {visit, arg};

	bgjob_leases_each(database, visit_one, &visiting);
}

typedef struct Copies
{
	BgjobLease *leases;
	int n;
	int room;
} Copies;

static void
copy_one(const BgjobLease *lease, void *arg)
{
	Copies *copies = arg;

	if (copies->n < copies->room)
		copies->leases[copies->n] = *lease;
	copies->n++;
}

/* bgjob_leases_list returns copies of the leases of a database, and their number; in the current memory context. */
BgjobLease *
bgjob_leases_list(Oid database, int *n)
{
	Copies copies = {.room = 64};

	for (;;)
	{
		copies.leases =
			MemoryContextAllocHuge(CurrentMemoryContext, copies.room * sizeof(BgjobLease));
		copies.n = 0;
		bgjob_leases_visit(database, copy_one, &copies);
		if (copies.n <= copies.room)
			break;
		pfree(copies.leases);
		copies.room = copies.n + copies.n / 4;
	}
	*n = copies.n;
	return copies.leases;
}

/* ---- the leases of a worker, of a session, of a database ---- */

typedef struct Chosen
{
	Oid owner;
	const char *worker;
	int session;
	int n;
} Chosen;

static bool
is_of_worker(const BgjobLease *lease, const Chosen *chosen)
{
	return lease->owner == chosen->owner && strcmp(lease->worker, chosen->worker) == 0;
}

static void
count_one(const BgjobLease *lease, void *arg)
{
	Chosen *chosen = arg;

	chosen->n += is_of_worker(lease, chosen);
}

/* bgjob_leases_count returns how many leases a worker has. */
int
bgjob_leases_count(Oid database, Oid owner, const char *worker)
{
	Chosen chosen = {.owner = owner, .worker = worker};

	bgjob_leases_visit(database, count_one, &chosen);
	return chosen.n;
}

static void
lose_one(BgjobLease *lease, void *arg)
{
	Chosen *chosen = arg;

	if (lease->session != chosen->session || lease->phase != BGJOB_LEASE_HELD)
		return;
	lease->lost = true;
	chosen->n++;
}

/* bgjob_leases_lose marks the leases that are bound to a session as lost, since it ends: the scheduler has the jobs go back. */
void
bgjob_leases_lose(Oid database, int session)
{
	Chosen chosen = {.session = session};

	bgjob_leases_each(database, lose_one, &chosen);
	if (chosen.n > 0)
		bgjob_lease_announce_end(database, 0);
}

static void
unbind_one(BgjobLease *lease, void *arg)
{
	if (is_of_worker(lease, arg) && !lease->lost)
		lease->session = 0;
}

/* bgjob_leases_unbind has the leases of a worker count alone, whatever becomes of sessions. */
void
bgjob_leases_unbind(Oid database, Oid owner, const char *worker)
{
	Chosen chosen = {.owner = owner, .worker = worker};

	bgjob_leases_each(database, unbind_one, &chosen);
}

/* bgjob_leases_forget frees the leases of a database that bgjob has left. Their places at gates are forgotten with its gates. */
void
bgjob_leases_forget(Oid database)
{
	int n;
	BgjobLease *leases = bgjob_leases_list(database, &n);

	for (int i = 0; i < n; i++)
	{
		int index = bgjob_lease_index(database, leases[i].job, leases[i].serial);
		BgjobGateNeed needs[BGJOB_GATES_MAX];
		TimestampTz since;

		if (index != BGJOB_LEASE_NONE && leases[i].phase == BGJOB_LEASE_HELD)
			(void) bgjob_lease_free(index, leases[i].serial, needs, &since);
	}
	pfree(leases);
}
