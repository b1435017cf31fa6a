/*-------------------------------------------------------------------------
 *
 * running.c
 *	  Which jobs are being performed: by workers of the server, and by external ones.
 *
 * The slots of workers (base/slot.c) and the leases (base/lease.c) tell. What is
 * returned is of a moment, and each is looked at by itself: a job may begin or end
 * meanwhile.
 *
 * Any process. Locks: the mutex of a slot, or the partition of a lease, one at a time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "base/chunkjobs.h"
#include "base/lease.h"
#include "base/leasenotes.h"
#include "base/running.h"
#include "base/slot.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/memutils.h"

/* Returns whether a worker is at a job, by itself or in a chunk. No lock is held: the caller looks again. */
static bool
is_at(BgjobSlot *slot, Oid database, int64 job)
{
	return slot->in_use && slot->database == database &&
		   (slot->job == job || (slot->chunk > 0 && bgjob_chunk_has(slot, job)));
}

/*
 * bgjob_slot_is_at returns whether a worker runs a job. *finishing (which may
 * be NULL) is set to the transaction in which the worker records the job's end,
 * or to an invalid one if the worker is not that far or has none at this instant.
 */
bool
bgjob_slot_is_at(Oid database, int64 job, TransactionId *finishing)
{
	if (finishing != NULL)
		*finishing = InvalidTransactionId;
	if (bgjob_lease_is_there(database, job))
		return true;
	for (int i = 0; bgjob_registry != NULL && i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];
		TransactionId xid = InvalidTransactionId;
		bool there;

		if (!is_at(slot, database, job))
			continue;
		if (slot->pid != 0 && slot->phase == BGJOB_PHASE_FINISHING)
		{
			PGPROC *process = BackendPidGetProc(slot->pid);

			xid = process != NULL ? process->xid : InvalidTransactionId;
		}
		/*
		 * Still there, and at that point: then the transaction ends soon. It would
		 * not if the worker had begun with the same job again in the meantime.
		 */
		SpinLockAcquire(&slot->mutex);
		there =
			slot->in_use && slot->database == database && (slot->job == job || slot->chunk > 0);
		if (slot->phase != BGJOB_PHASE_FINISHING)
			xid = InvalidTransactionId;
		SpinLockRelease(&slot->mutex);
		if (!there)
			continue;
		if (finishing != NULL)
			*finishing = xid;
		return true;
	}
	return false;
}

/*
 * Returns whether an external worker has a job. Whether it gets one that a transaction is about to
 * fetch, the row of the job in the queue tells.
 */
static bool
is_leased(Oid database, int64 job)
{
	BgjobLease lease;

	return bgjob_lease_find(database, job, &lease) &&
		   (lease.phase == BGJOB_LEASE_HELD || bgjob_lease_notes_has(&lease));
}

/* bgjob_slot_phase returns whether a worker runs a job, and sets *phase to the phase of that job. */
bool
bgjob_slot_phase(Oid database, int64 job, BgjobPhase *phase)
{
	if (is_leased(database, job))
	{
		*phase = BGJOB_PHASE_PERFORMING;
		return true;
	}
	for (int i = 0; bgjob_registry != NULL && i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];
		bool there;

		if (!is_at(slot, database, job))
			continue;
		SpinLockAcquire(&slot->mutex);
		there =
			slot->in_use && slot->database == database && (slot->job == job || slot->chunk > 0);
		*phase = slot->phase;
		SpinLockRelease(&slot->mutex);
		if (there)
			return true;
	}
	return false;
}

/*
 * bgjob_running_server gets the name of the server whose worker runs a job, or of the external
 * worker that has it. False: none has.
 */
bool
bgjob_running_server(Oid database, int64 job, char *name, Size size)
{
	BgjobLease lease;

	if (bgjob_lease_find(database, job, &lease))
	{
		strlcpy(name, lease.worker, size);
		return true;
	}
	for (int i = 0; bgjob_registry != NULL && i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (!is_at(slot, database, job))
			continue;
		strlcpy(name, slot->server_name, size);
		return true;
	}
	return false;
}

static int
compare_running(const void *a, const void *b)
{
	int64 left = ((const BgjobRunning *) a)->job;
	int64 right = ((const BgjobRunning *) b)->job;

	return left < right ? -1 : left > right;
}

/* Adds the jobs that a worker is at to "running", behind n others, where there must be room for a chunk. Returns their number. */
static int
add_running(BgjobSlot *slot, BgjobRunning *running, int n)
{
	int64 job = *(volatile const int64 *) &slot->job;
	int64 *chunk;
	int count;

	if (job == 0)
		return n;
	running[n++] = (BgjobRunning){slot->role, job};
	if (slot->chunk == 0)
		return n;
	chunk = palloc(BGJOB_GROUP_MAX * sizeof(int64));
	count = bgjob_chunk_jobs(slot, chunk);
	for (int i = 0; i < count; i++)
		running[n++] = (BgjobRunning){slot->role, chunk[i]};
	pfree(chunk);
	return n;
}

typedef struct Leased
{
	BgjobRunning *running;
	int n;
	int room;
} Leased;

static void
add_leased(const BgjobLease *lease, void *arg)
{
	Leased *leased = arg;

	if (leased->n < leased->room)
		leased->running[leased->n++] = (BgjobRunning){lease->role, lease->job};
}

/* Adds the jobs that external workers have to "running", which has n others. Returns their number. */
static int
add_all_leased(Oid database, BgjobRunning **running, int n)
{
	Leased leased = {.n = n, .room = n + bgjob_leases_used() + 100};

	leased.running = repalloc_huge(*running, leased.room * sizeof(BgjobRunning));
	bgjob_leases_visit(database, add_leased, &leased);
	*running = leased.running;
	return leased.n;
}

/*
 * bgjob_slots_running returns the jobs that workers of a database are at, each once and
 * in ascending order, and sets *n to their number; in the current memory context.
 */
BgjobRunning *
bgjob_slots_running(Oid database, int *n)
{
	int nslots = bgjob_registry != NULL ? bgjob_registry->nslots : 0;
	int room = nslots + BGJOB_GROUP_MAX + 1;
	BgjobRunning *running = palloc(room * sizeof(BgjobRunning));
	int count = 0;

	for (int i = 0; i < nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (!slot->in_use || slot->kind != BGJOB_WORKER || slot->database != database ||
			slot->pid == 0)
			continue;
		if (room - count <= BGJOB_GROUP_MAX)
		{
			room = 2 * room + BGJOB_GROUP_MAX;
			running = repalloc(running, room * sizeof(BgjobRunning));
		}
		count = add_running(slot, running, count);
	}
	count = add_all_leased(database, &running, count);
	qsort(running, count, sizeof(BgjobRunning), compare_running);
	*n = 0;
	for (int i = 0; i < count; i++)
		if (*n == 0 || running[*n - 1].job != running[i].job)
			running[(*n)++] = running[i];
	return running;
}

/*
 * bgjob_slots_jobs returns the jobs that workers of a database are at, in ascending
 * order, and sets *n to their number; in the current memory context.
 */
int64 *
bgjob_slots_jobs(Oid database, int *n)
{
	BgjobRunning *running = bgjob_slots_running(database, n);
	int64 *jobs = palloc(Max(*n, 1) * sizeof(int64));

	for (int i = 0; i < *n; i++)
		jobs[i] = running[i].job;
	pfree(running);
	return jobs;
}
