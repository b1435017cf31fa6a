/*-------------------------------------------------------------------------
 *
 * registry.c
 *	  bgjob's processes and databases, in shared memory.
 *
 * What the registry is for and its locking protocol stand in registry.h.
 *
 * Life of a slot: the launcher (for schedulers) or a scheduler (for workers)
 * creates it and starts a background worker that carries the slot's index
 * and generation; that process attaches first thing. When it leaves, its
 * exit callback (process/common code) clears the pid and notifies; whoever
 * created the slot frees it. A process whose generation is no longer that of
 * the slot came too late and leaves at once.
 *
 * Every function here may be called without the library being preloaded
 * where it says so; then there is no registry and nothing to do.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "base/registry.h"
#include "base/compat.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

BgjobRegistry *bgjob_registry = NULL;
BgjobSlot *bgjob_my_slot = NULL;

/* bgjob_registry_size returns the bytes of shared memory that the registry takes. */
Size
bgjob_registry_size(void)
{
	Size size = offsetof(BgjobRegistry, slots);

	size = add_size(size, mul_size(max_worker_processes, sizeof(BgjobSlot)));
	size = MAXALIGN(size);
	size = add_size(size, MAXALIGN(mul_size(BGJOB_DATABASES, sizeof(BgjobDatabase))));
	size = add_size(size, MAXALIGN(mul_size(max_worker_processes, sizeof(BgjobBatch))));
	return add_size(size, mul_size(MaxBackends, sizeof(TransactionId)));
}

/* Initializes the registry. */
static void
create_registry(void)
{
	Size slots;
	BgjobBatch *batches;

	memset(bgjob_registry, 0, bgjob_registry_size());
	LWLockInitialize(&bgjob_registry->lock, LWLockNewTrancheId());
	bgjob_registry->batch_tranche = LWLockNewTrancheId();
	bgjob_registry->next_generation = 1;
	pg_atomic_init_u32(&bgjob_registry->filter_changes, 0);
	pg_atomic_init_u32(&bgjob_registry->filter_changers, 0);
	pg_atomic_init_u32(&bgjob_registry->settings_passes, 0);
	bgjob_registry->nslots = max_worker_processes;
	bgjob_registry->ndatabases = BGJOB_DATABASES;
	bgjob_registry->databases_used = 0;
	pg_atomic_init_u32(&bgjob_registry->schedulers_wanted, 0);
	pg_atomic_init_u32(&bgjob_registry->slot_wanted, 0);
	slots = offsetof(BgjobRegistry, slots) + max_worker_processes * sizeof(BgjobSlot);
	bgjob_registry->databases = (BgjobDatabase *) ((char *) bgjob_registry + MAXALIGN(slots));

	batches = (BgjobBatch *) ((char *) bgjob_registry->databases +
							  MAXALIGN(BGJOB_DATABASES * sizeof(BgjobDatabase)));
	bgjob_registry->movers =
		(TransactionId *) ((char *) batches +
						   MAXALIGN(max_worker_processes * sizeof(BgjobBatch)));
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		SpinLockInit(&bgjob_registry->slots[i].mutex);
		LWLockInitialize(&batches[i].lock, bgjob_registry->batch_tranche);
		bgjob_registry->slots[i].batch = &batches[i];
	}
	for (int i = 0; i < bgjob_registry->ndatabases; i++)
	{
		BgjobDatabase *entry = &bgjob_registry->databases[i];

		pg_atomic_init_u32(&entry->notices, 0);
		pg_atomic_init_u32(&entry->lost_lanes, 0);
		pg_atomic_init_u32(&entry->saturated, 0);
		pg_atomic_init_u32(&entry->doubts, 0);
		pg_atomic_init_u64(&entry->movers, 0);
		pg_atomic_init_u32(&entry->hungry, 0);
		pg_atomic_init_u64(&entry->leavers, 0);
		pg_atomic_init_u64(&entry->claim_failure, 0);
		pg_atomic_init_u64(&entry->settings_floor, 0);
		pg_atomic_init_u64(&entry->next_due, 0);
		pg_atomic_init_u64(&entry->low_due, 0);
		for (int state = 0; state < BGJOB_NSTATES; state++)
			pg_atomic_init_u64(&entry->moves[state], 0);
	}
}

/* bgjob_registry_startup creates or finds the registry; from shmem_startup_hook. */
void
bgjob_registry_startup(void)
{
	bool found;

	bgjob_registry = ShmemInitStruct("bgjob registry", bgjob_registry_size(), &found);
	if (!found)
		create_registry();
	LWLockRegisterTranche(bgjob_registry->lock.tranche, "BgjobRegistry");
	LWLockRegisterTranche(bgjob_registry->batch_tranche, "BgjobBatch");
}

/* bgjob_slot_index returns the number of a slot, which a process is started with. */
int
bgjob_slot_index(const BgjobSlot *slot)
{
	return slot - bgjob_registry->slots;
}

/* bgjob_slot_wake wakes the process of a slot, if it has one; the slot may change hands meanwhile. */
void
bgjob_slot_wake(const BgjobSlot *slot)
{
	Latch *latch = *(Latch *volatile const *) &slot->latch;

	if (latch != NULL)
		SetLatch(latch);
}

/* bgjob_slots_used returns how many slots are in use, in all databases. */
int
bgjob_slots_used(void)
{
	int used = 0;

	for (int i = 0; i < bgjob_registry->nslots; i++)
		if (bgjob_registry->slots[i].in_use)
			used++;
	return used;
}

/*
 * bgjob_slot_create hands out a slot for a process that is about to be
 * started. Returns NULL if more than "most" would be in use then, or if the
 * database is blocked.
 */
BgjobSlot *
bgjob_slot_create(BgjobProcessKind kind, Oid database, Oid role, int most)
{
	BgjobSlot *slot = NULL;
	BgjobDatabase *entry;
	int64 now = bgjob_steady_now();

	LWLockAcquire(&bgjob_registry->lock, LW_EXCLUSIVE);
	entry = bgjob_database_find(database);
	if (entry != NULL && entry->blocked_by == 0 && bgjob_slots_used() < most)
		for (int i = 0; i < bgjob_registry->nslots && slot == NULL; i++)
			if (!bgjob_registry->slots[i].in_use)
				slot = &bgjob_registry->slots[i];
	if (slot != NULL)
	{
		SpinLockAcquire(&slot->mutex);
		slot->kind = kind;
		slot->generation = bgjob_registry->next_generation++;
		slot->database = database;
		slot->role = role;
		slot->created_at = now;
		slot->stage = BGJOB_STAGE_STARTING;
		slot->pid = slot->last_pid = 0;
		slot->latch = NULL;
		slot->started_at = 0;
		slot->ready = slot->retire = slot->term = slot->die = false;
		slot->asked = slot->lent = false;
		slot->failure = 0;
		slot->failing = false;
		slot->idle = false;
		slot->job = slot->pos = slot->jobs_done = 0;
		slot->phase = BGJOB_PHASE_CLAIMING;
		slot->request = BGJOB_REQUEST_NONE;
		slot->job_started_at = 0;
		slot->overdue_since = 0;
		slot->timed_out = false;
		slot->batch->n = slot->batch->next = 0;
		slot->batch_slow = false;
		slot->in_use = true;
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(&bgjob_registry->lock);
	return slot;
}

/* bgjob_slot_free takes a slot back, after its process has gone or was never there. */
void
bgjob_slot_free(BgjobSlot *slot)
{
	LWLockAcquire(&bgjob_registry->lock, LW_EXCLUSIVE);
	slot->in_use = false;
	LWLockRelease(&bgjob_registry->lock);
}

/*
 * bgjob_slot_attach makes a slot this process's own. Returns false if the
 * slot has been given up in the meantime.
 */
bool
bgjob_slot_attach(int index, uint64 generation)
{
	BgjobSlot *slot = &bgjob_registry->slots[index];
	bool ours;

	LWLockAcquire(&bgjob_registry->lock, LW_EXCLUSIVE);
	ours =
		slot->in_use && slot->generation == generation && slot->stage == BGJOB_STAGE_STARTING;
	if (ours)
	{
		slot->latch = &MyProc->procLatch;
		slot->started_at = GetCurrentTimestamp();
		slot->pid = slot->last_pid = MyProcPid;
		slot->stage = BGJOB_STAGE_ATTACHED;
		bgjob_my_slot = slot;
	}
	LWLockRelease(&bgjob_registry->lock);
	return ours;
}

/* bgjob_slot_give_up_start gives a process up that has not attached; false if it just has. */
bool
bgjob_slot_give_up_start(BgjobSlot *slot)
{
	bool left;

	LWLockAcquire(&bgjob_registry->lock, LW_EXCLUSIVE);
	if (slot->stage == BGJOB_STAGE_STARTING)
		slot->stage = BGJOB_STAGE_LEFT;
	left = slot->stage == BGJOB_STAGE_LEFT;
	LWLockRelease(&bgjob_registry->lock);
	return left;
}

/* bgjob_slot_set_idle says whether this worker waits for work, and may be woken for it. */
void
bgjob_slot_set_idle(bool idle)
{
	SpinLockAcquire(&bgjob_my_slot->mutex);
	bgjob_my_slot->idle = idle;
	SpinLockRelease(&bgjob_my_slot->mutex);
}

/* bgjob_slot_retire_idle has a worker leave at once if it is idle, and says whether it was. */
bool
bgjob_slot_retire_idle(BgjobSlot *slot)
{
	bool idle;

	SpinLockAcquire(&slot->mutex);
	idle = slot->idle && !slot->retire;
	if (idle)
	{
		slot->idle = false;
		slot->retire = true;
	}
	SpinLockRelease(&slot->mutex);
	if (idle)
		bgjob_slot_wake(slot);
	return idle;
}

/* bgjob_leavers returns what BgjobDatabase.leavers holds for so many workers of a role. */
uint64
bgjob_leavers(Oid role, int n)
{
	return n == 0 ? 0 : ((uint64) role << 32) | (uint32) n;
}

/*
 * bgjob_slot_may_leave tells whether this worker, which is between two jobs, is
 * the one to leave where any of its role was asked to; its slot says so then.
 */
bool
bgjob_slot_may_leave(void)
{
	BgjobSlot *slot = bgjob_my_slot;
	BgjobDatabase *entry = bgjob_database_find(slot->database);
	uint64 leavers;

	slot->asked = false; /* before the number is read: it is set after that was written */
	slot->retire = true;
	pg_memory_barrier();
	leavers = entry == NULL ? 0 : pg_atomic_read_u64(&entry->leavers);
	while ((Oid) (leavers >> 32) == slot->role && (uint32) leavers > 0)
		if (pg_atomic_compare_exchange_u64(
				&entry->leavers, &leavers,
				bgjob_leavers(slot->role, (int) ((uint32) leavers) - 1)))
			return true;
	slot->retire = false;
	return false;
}

/*
 * bgjob_slot_begin notes that this worker is about to claim a job. From here
 * on the job is in flight: nobody else is given it. But it need not be this
 * worker's, nor even be there any more; so no request is accepted before
 * bgjob_slot_claimed, and who has one tries again.
 */
void
bgjob_slot_begin(int64 job, int64 pos)
{
	SpinLockAcquire(&bgjob_my_slot->mutex);
	bgjob_my_slot->job = job;
	bgjob_my_slot->pos = pos;
	bgjob_my_slot->phase = BGJOB_PHASE_CLAIMING;
	bgjob_my_slot->request = BGJOB_REQUEST_NONE;
	bgjob_my_slot->job_started_at = 0;
	bgjob_my_slot->overdue_since = 0;
	bgjob_my_slot->timed_out = false;
	SpinLockRelease(&bgjob_my_slot->mutex);
}

/*
 * bgjob_slot_batch_begin begins a group of jobs of one lane; bgjob_slot_batch_add
 * adds places to it, which are in flight from then on. They need not ascend.
 */
void
bgjob_slot_batch_begin(Oid role, const char *queue, int priority)
{
	BgjobBatch *batch = bgjob_my_slot->batch;

	LWLockAcquire(&batch->lock, LW_EXCLUSIVE);
	batch->role = role;
	batch->priority = priority;
	strlcpy(batch->queue, queue, sizeof(batch->queue));
	batch->n = batch->next = 0;
	bgjob_my_slot->batch_slow = false;
	LWLockRelease(&batch->lock);
}

/* bgjob_slot_batch_add: see bgjob_slot_batch_begin. */
void
bgjob_slot_batch_add(const int64 *positions, int n)
{
	BgjobBatch *batch = bgjob_my_slot->batch;

	LWLockAcquire(&batch->lock, LW_EXCLUSIVE);
	Assert(batch->n + n <= BGJOB_GROUP_MAX);
	memcpy(&batch->pos[batch->n], positions, n * sizeof(int64));
	batch->n += n;
	LWLockRelease(&batch->lock);
}

/* bgjob_slot_batch_next begins the next of the group; its number from 0, or -1: there is none. */
int
bgjob_slot_batch_next(void)
{
	BgjobBatch *batch = bgjob_my_slot->batch;
	int next = -1;

	LWLockAcquire(&batch->lock, LW_EXCLUSIVE);
	if (batch->next < batch->n)
		next = batch->next++;
	LWLockRelease(&batch->lock);
	return next;
}

/* bgjob_slot_batch_keep undoes bgjob_slot_batch_next: that one has not been begun. */
void
bgjob_slot_batch_keep(void)
{
	LWLockAcquire(&bgjob_my_slot->batch->lock, LW_EXCLUSIVE);
	bgjob_my_slot->batch->next--;
	LWLockRelease(&bgjob_my_slot->batch->lock);
}

/* Takes the places from "first" on out of a batch; false if there are none. Its lock held. */
static bool
cut_batch(BgjobBatch *batch, int first, BgjobRest *rest)
{
	int count = batch->n - first;

	if (count <= 0)
		return false;
	rest->role = batch->role;
	rest->priority = batch->priority;
	strlcpy(rest->queue, batch->queue, sizeof(rest->queue));
	rest->pos = batch->pos[first];
	for (int i = first + 1; i < batch->n; i++)
		rest->pos = Min(rest->pos, batch->pos[i]);
	rest->count = count;
	batch->n = first;
	return true;
}

/*
 * bgjob_slot_batch_end ends a group: *rest is what has not been begun, or (all)
 * the whole of it, if its transaction was aborted. False if that is nothing.
 */
bool
bgjob_slot_batch_end(BgjobSlot *slot, bool all, BgjobRest *rest)
{
	bool any;

	LWLockAcquire(&slot->batch->lock, LW_EXCLUSIVE);
	any = cut_batch(slot->batch, all ? 0 : slot->batch->next, rest);
	slot->batch->n = slot->batch->next = 0;
	slot->batch_slow = false;
	LWLockRelease(&slot->batch->lock);
	return any;
}

/* bgjob_slot_batch_slow has what this worker has not begun taken back. By the handler of a timer. */
void
bgjob_slot_batch_slow(void)
{
	bgjob_my_slot->batch_slow = true;
	bgjob_notify_scheduler(bgjob_my_slot->database, 0);
}

/* bgjob_slot_batch_take_back takes what a slow worker has not begun. False if there is nothing. */
bool
bgjob_slot_batch_take_back(BgjobSlot *slot, BgjobRest *rest)
{
	bool any = false;

	if (!slot->batch_slow)
		return false;
	LWLockAcquire(&slot->batch->lock, LW_EXCLUSIVE);
	if (slot->batch_slow)
		any = cut_batch(slot->batch, slot->batch->next, rest);
	LWLockRelease(&slot->batch->lock);
	return any;
}

/*
 * bgjob_slot_claim_failed notes the SQLSTATE that a claim of this worker has
 * failed with. True if that is known: the one before it, or one of another worker
 * of its role, has failed with the same.
 */
bool
bgjob_slot_claim_failed(uint32 failure)
{
	BgjobSlot *slot = bgjob_my_slot;
	BgjobDatabase *entry = bgjob_database_find(slot->database);
	uint64 of_role = ((uint64) slot->role << 32) | failure;
	bool known = slot->failure == failure;

	slot->failure = failure;
	if (entry != NULL && pg_atomic_exchange_u64(&entry->claim_failure, of_role) == of_role)
		known = true;
	return known;
}

/* bgjob_slot_claims_again notes that a claim has not failed after all that did. */
void
bgjob_slot_claims_again(void)
{
	BgjobSlot *slot = bgjob_my_slot;
	BgjobDatabase *entry = bgjob_database_find(slot->database);
	uint64 of_role = ((uint64) slot->role << 32) | slot->failure;

	slot->failure = 0;
	if (entry != NULL)
		(void) pg_atomic_compare_exchange_u64(&entry->claim_failure, &of_role, 0);
}

/* bgjob_slot_claimed notes that the job is this worker's: it answers for it from here on. */
void
bgjob_slot_claimed(void)
{
	SpinLockAcquire(&bgjob_my_slot->mutex);
	bgjob_my_slot->phase = BGJOB_PHASE_PERFORMING;
	SpinLockRelease(&bgjob_my_slot->mutex);
}

/* bgjob_slot_start_clock notes when the job itself was started. */
void
bgjob_slot_start_clock(TimestampTz now)
{
	SpinLockAcquire(&bgjob_my_slot->mutex);
	bgjob_my_slot->job_started_at = now;
	SpinLockRelease(&bgjob_my_slot->mutex);
}

/*
 * bgjob_slot_finish passes the point of no return: from here on no request
 * is accepted. Returns false if one has been: the caller must honour it.
 */
bool
bgjob_slot_finish(void)
{
	bool clear;

	SpinLockAcquire(&bgjob_my_slot->mutex);
	clear = bgjob_my_slot->request == BGJOB_REQUEST_NONE;
	if (clear)
		bgjob_my_slot->phase = BGJOB_PHASE_FINISHING;
	SpinLockRelease(&bgjob_my_slot->mutex);
	return clear;
}

/*
 * bgjob_slot_give_up ends an attempt that failed: no request is accepted any
 * more. Returns the one that has been, which stays in the slot in case that
 * this worker is lost before it could honour it.
 */
BgjobRequest
bgjob_slot_give_up(TimestampTz *run_at)
{
	BgjobRequest request;

	SpinLockAcquire(&bgjob_my_slot->mutex);
	request = bgjob_my_slot->request;
	*run_at = bgjob_my_slot->request_run_at;
	bgjob_my_slot->phase = BGJOB_PHASE_FINISHING;
	SpinLockRelease(&bgjob_my_slot->mutex);
	return request;
}

/*
 * bgjob_slot_timed_out notes that the job has been at it longer than it may.
 * Called by the handler of a timer, so it takes no lock. "now" is by the steady
 * clock, as in bgjob_slot_force.
 */
void
bgjob_slot_timed_out(int64 now)
{
	if (bgjob_my_slot->phase != BGJOB_PHASE_PERFORMING)
		return;
	bgjob_my_slot->timed_out = true;
	if (bgjob_my_slot->overdue_since == 0)
		bgjob_my_slot->overdue_since = now;
	bgjob_notify_scheduler(bgjob_my_slot->database, 0);
}

/* bgjob_slot_end notes that this worker is at no job any more. */
void
bgjob_slot_end(bool done)
{
	SpinLockAcquire(&bgjob_my_slot->mutex);
	bgjob_my_slot->job = 0;
	bgjob_my_slot->pos = 0;
	bgjob_my_slot->phase = BGJOB_PHASE_CLAIMING;
	bgjob_my_slot->request = BGJOB_REQUEST_NONE;
	bgjob_my_slot->job_started_at = 0;
	bgjob_my_slot->overdue_since = 0;
	bgjob_my_slot->timed_out = false;
	if (done)
		bgjob_my_slot->jobs_done++;
	SpinLockRelease(&bgjob_my_slot->mutex);
}

/* bgjob_slot_request_seen returns what has been asked of this worker's job. */
BgjobRequest
bgjob_slot_request_seen(void)
{
	BgjobRequest request;

	SpinLockAcquire(&bgjob_my_slot->mutex);
	request = bgjob_my_slot->request;
	SpinLockRelease(&bgjob_my_slot->mutex);
	return request;
}

/*
 * Leaves a request with a slot if it is at that job; the mutex is not held.
 * What somebody has been promised is not overwritten by an interruption.
 */
static BgjobRequestResult
leave_request(BgjobSlot *slot, Oid database, int64 job, BgjobRequest request,
			  TimestampTz run_at, BgjobInterruption why)
{
	BgjobRequestResult result = BGJOB_REQUEST_NOT_RUNNING;
	int64 now = bgjob_steady_now();
	pid_t pid = 0;

	SpinLockAcquire(&slot->mutex);
	if (slot->in_use && slot->database == database && slot->pid != 0 && slot->job == job)
	{
		result = slot->phase == BGJOB_PHASE_PERFORMING ? BGJOB_REQUEST_ACCEPTED
													   : BGJOB_REQUEST_NOT_NOW;
		if (result == BGJOB_REQUEST_ACCEPTED)
		{
			if (request != BGJOB_REQUEST_INTERRUPT || slot->request == BGJOB_REQUEST_NONE)
			{
				slot->request = request;
				slot->request_run_at = run_at;
				slot->interruption = why;
			}
			pid = slot->pid;
		}
		/* One that is to leave may also hang in its commit. */
		if ((pid != 0 || request == BGJOB_REQUEST_INTERRUPT) && slot->overdue_since == 0)
			slot->overdue_since = now;
	}
	SpinLockRelease(&slot->mutex);

	/* The handler looks for the request itself: a signal that comes late does nothing. */
	if (pid != 0)
		kill(pid, SIGUSR2);
	if (pid != 0 && request != BGJOB_REQUEST_INTERRUPT) /* which is the scheduler's own */
		bgjob_notify_scheduler(database, 0);
	return result;
}

/*
 * bgjob_slot_request asks the worker that is at a job to end it. Works, and
 * finds nothing running, without a registry.
 */
BgjobRequestResult
bgjob_slot_request(Oid database, int64 job, BgjobRequest request, TimestampTz run_at)
{
	BgjobRequestResult result = BGJOB_REQUEST_NOT_RUNNING;

	if (bgjob_registry == NULL)
		return result;
	for (int i = 0; i < bgjob_registry->nslots && result == BGJOB_REQUEST_NOT_RUNNING; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (slot->in_use && slot->database == database && slot->job == job)
			result = leave_request(slot, database, job, request, run_at, BGJOB_BY_SHUTDOWN);
	}
	return result;
}

/*
 * bgjob_slot_is_at tells whether a worker is at a job. *finishing (which may
 * be NULL) is the transaction in which it records what became of the job;
 * invalid if it is not at that point, or has no transaction at this instant.
 */
bool
bgjob_slot_is_at(Oid database, int64 job, TransactionId *finishing)
{
	if (finishing != NULL)
		*finishing = InvalidTransactionId;
	for (int i = 0; bgjob_registry != NULL && i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];
		TransactionId xid = InvalidTransactionId;
		bool there;

		if (!slot->in_use || slot->database != database || slot->job != job)
			continue;
		if (slot->pid != 0 && slot->phase == BGJOB_PHASE_FINISHING)
		{
			PGPROC *process = BackendPidGetProc(slot->pid);

			xid = process != NULL ? process->xid : InvalidTransactionId;
		}
		/*
		 * Still there, and at that point: then the transaction ends soon. It would
		 * not if the worker had begun with the same job anew in the meantime.
		 */
		SpinLockAcquire(&slot->mutex);
		there = slot->in_use && slot->database == database && slot->job == job;
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

/* bgjob_slot_phase tells whether a worker is at a job, and how far it is with it. */
bool
bgjob_slot_phase(Oid database, int64 job, BgjobPhase *phase)
{
	for (int i = 0; bgjob_registry != NULL && i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];
		bool there;

		if (!slot->in_use || slot->database != database || slot->job != job)
			continue;
		SpinLockAcquire(&slot->mutex);
		there = slot->in_use && slot->database == database && slot->job == job;
		*phase = slot->phase;
		SpinLockRelease(&slot->mutex);
		if (there)
			return true;
	}
	return false;
}

/* bgjob_slot_lives tells whether the process of bgjob that had this pid since that time is there. */
bool
bgjob_slot_lives(pid_t pid, TimestampTz started_at)
{
	for (int i = 0; bgjob_registry != NULL && i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (slot->in_use && slot->pid == pid && slot->started_at == started_at)
			return true;
	}
	return false;
}

/* bgjob_slot_interrupt has a worker give its job back, and leave; now, or when it gets there. "why" is for the history. */
void
bgjob_slot_interrupt(BgjobSlot *slot, BgjobInterruption why)
{
	int64 job;
	pid_t pid;

	slot->retire = true;
	SpinLockAcquire(&slot->mutex);
	job = slot->job;
	pid = slot->pid;
	SpinLockRelease(&slot->mutex);
	if (job == 0)
	{
		if (pid != 0)
			kill(pid, SIGUSR2); /* sets its latch */
	}
	else
		leave_request(slot, slot->database, job, BGJOB_REQUEST_INTERRUPT, 0, why);
}

/*
 * bgjob_slot_force ends a worker by force if the job that it is at ought to
 * have ended BGJOB_FORCE_AFTER ago; true if it has. Else *wake is lowered to
 * when that will be. A worker that is told so takes no other job, so no other
 * job can be hit.
 */
bool
bgjob_slot_force(BgjobSlot *slot, int64 now, int64 *wake)
{
	int64 until = PG_INT64_MAX;
	bool forced;

	SpinLockAcquire(&slot->mutex);
	if (slot->overdue_since != 0 && slot->pid != 0 && !slot->die)
		until = slot->overdue_since + BGJOB_FORCE_AFTER * (int64) 1000;
	forced = until <= now;
	if (forced)
		slot->retire = true;
	SpinLockRelease(&slot->mutex);
	if (forced)
		bgjob_slot_terminate(slot);
	else
		*wake = Min(*wake, until);
	return forced;
}

/* bgjob_slot_terminate ends a process at once, whatever it is at. Its job goes back to the queue. */
void
bgjob_slot_terminate(BgjobSlot *slot)
{
	pid_t pid = slot->pid;

	slot->retire = true;
	slot->die = true;
	pg_memory_barrier();
	if (pid != 0)
		kill(pid, SIGTERM);
}

static int
compare_positions(const void *a, const void *b)
{
	int64 left = *(const int64 *) a;
	int64 right = *(const int64 *) b;

	return left < right ? -1 : left > right;
}

/* Adds the places that a slot has in flight, as far as there is room; how many there are. */
static int
add_in_flight(BgjobSlot *slot, int64 *positions, int room)
{
	int64 pos;
	bool any;
	int n;

	LWLockAcquire(&slot->batch->lock, LW_SHARED);
	n = slot->batch->n;
	if (n <= room)
		memcpy(positions, slot->batch->pos, n * sizeof(int64));
	LWLockRelease(&slot->batch->lock);
	SpinLockAcquire(&slot->mutex);
	any = slot->job != 0;
	pos = slot->pos;
	SpinLockRelease(&slot->mutex);
	if (any && ++n <= room)
		positions[n - 1] = pos;
	return n;
}

/*
 * bgjob_slots_in_flight returns the places in the queue of the jobs that
 * workers of a database are at, in ascending order, and their number; in the
 * current memory context.
 */
int64 *
bgjob_slots_in_flight(Oid database, int *n)
{
	int room = bgjob_registry->nslots;
	int64 *positions;

	for (;;)
	{
		positions = palloc(room * sizeof(int64));
		*n = 0;
		for (int i = 0; i < bgjob_registry->nslots; i++)
		{
			BgjobSlot *slot = &bgjob_registry->slots[i];

			if (slot->in_use && slot->database == database)
				*n += add_in_flight(slot, positions + Min(*n, room), Max(0, room - *n));
		}
		if (*n <= room)
			break;
		pfree(positions);
		room = *n * 2;
	}
	qsort(positions, *n, sizeof(int64), compare_positions);
	return positions;
}

/* Whether a slot is that of a worker of a role that takes jobs. */
static bool
is_worker_of(const BgjobSlot *slot, Oid database, Oid role)
{
	return slot->in_use && slot->database == database && slot->role == role &&
		   slot->kind == BGJOB_WORKER && !slot->retire;
}

/*
 * bgjob_alert_worker rouses the worker that bgjob_wake_worker is going to wake
 * when the running transaction has committed: until the commit is on disk, its
 * processor has left whatever sleep it was in, and what the worker needs is in
 * its caches. It finds nothing and waits again, idle all the time. Not where
 * some worker of the role is awake: then there are enough jobs to keep them so.
 */
void
bgjob_alert_worker(Oid database, Oid role)
{
	BgjobSlot *first = NULL;

	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (!is_worker_of(slot, database, role))
			continue;
		if (!slot->idle)
			return;
		if (first == NULL)
			first = slot;
	}
	if (first != NULL)
		bgjob_slot_wake(first);
}

/* bgjob_wake_worker wakes one idle worker of a role, if there is one. */
bool
bgjob_wake_worker(Oid database, Oid role)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];
		bool woken;

		if (!slot->idle || !is_worker_of(slot, database, role))
			continue;
		SpinLockAcquire(&slot->mutex);
		woken = slot->idle && slot->pid != 0;
		slot->idle = false;
		SpinLockRelease(&slot->mutex);
		if (woken)
		{
			bgjob_slot_wake(slot);
			return true;
		}
	}
	return false;
}

/* bgjob_count_workers counts the workers of a role, or of all if it is InvalidOid. */
int
bgjob_count_workers(Oid database, Oid role)
{
	int n = 0;

	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (slot->in_use && slot->kind == BGJOB_WORKER && slot->database == database &&
			(role == InvalidOid || slot->role == role))
			n++;
	}
	return n;
}

/*
 * bgjob_database_find returns the entry of a database, NULL if there is
 * none. The entry itself may be read without the lock: entries of other
 * databases never take its place while a process is connected to it.
 */
BgjobDatabase *
bgjob_database_find(Oid database)
{
	if (bgjob_registry == NULL)
		return NULL;
	for (int i = 0; i < bgjob_registry->databases_used; i++)
	{
		BgjobDatabase *entry = &bgjob_registry->databases[i];

		if (entry->in_use && entry->database == database)
			return entry;
	}
	return NULL;
}

/* bgjob_database_reset makes an entry that is in no use a new database's. */
static void
bgjob_database_reset(BgjobDatabase *entry, Oid database)
{
	entry->database = database;
	entry->status = BGJOB_DATABASE_WANTED;
	entry->scheduler = -1;
	entry->blocked_by = 0;
	entry->failures = 0;
	entry->retry_at = 0;
	pg_atomic_write_u32(&entry->notices, 0);
	pg_atomic_write_u32(&entry->lost_lanes, 0);
	pg_atomic_write_u32(&entry->saturated, 0);
	entry->counted = 0;
	pg_atomic_write_u32(&entry->hungry, 0);
	pg_atomic_write_u64(&entry->leavers, 0);
	pg_atomic_write_u64(&entry->claim_failure, 0);
	pg_atomic_write_u64(&entry->settings_floor, 0);
	entry->settings_seen = entry->held_back = 0;
	entry->settings_looked = 0;
	entry->waiting_since = entry->serving_since = 0;
	entry->steady_at = 0;
	entry->set_right = false;
	entry->ready = entry->announced = false;
	entry->wants = 0;
	pg_atomic_write_u64(&entry->next_due, 0);
	pg_atomic_write_u64(&entry->low_due, 0);
	for (int state = 0; state < BGJOB_NSTATES; state++)
		pg_atomic_write_u64(&entry->moves[state], 0);
	entry->in_use = true;
}

/*
 * bgjob_database_want makes sure that there is an entry for a database, and
 * that a scheduler that is about to leave it is followed by another one; a
 * new entry asks the launcher for one. NULL if the registry is full.
 */
BgjobDatabase *
bgjob_database_want(Oid database)
{
	BgjobDatabase *entry;

	LWLockAcquire(&bgjob_registry->lock, LW_EXCLUSIVE);
	entry = bgjob_database_find(database);
	if (entry != NULL)
	{
		entry->wants++;
		entry->failures = 0; /* what its scheduler failed of may have gone */
		entry->retry_at = 0;
		if (entry->status == BGJOB_DATABASE_ABSENT)
			entry->status = BGJOB_DATABASE_WANTED;
	}
	else
	{
		for (int i = 0; i < bgjob_registry->ndatabases; i++)
			if (!bgjob_registry->databases[i].in_use)
			{
				entry = &bgjob_registry->databases[i];
				bgjob_database_reset(entry, database);
				bgjob_registry->databases_used = Max(bgjob_registry->databases_used, i + 1);
				break;
			}
	}
	LWLockRelease(&bgjob_registry->lock);
	return entry;
}

/*
 * bgjob_database_leave notes that a scheduler has found no extension in its
 * database, unless that has got it since ("wants" is what entry->wants was
 * before the scheduler looked). Returns whether it was so.
 */
bool
bgjob_database_leave(BgjobDatabase *entry, uint32 wants)
{
	bool absent;

	LWLockAcquire(&bgjob_registry->lock, LW_EXCLUSIVE);
	absent = entry->wants == wants;
	if (absent)
		entry->status = BGJOB_DATABASE_ABSENT;
	LWLockRelease(&bgjob_registry->lock);
	return absent;
}

/* bgjob_database_forget frees an entry that no process uses, if its status still is this one. */
void
bgjob_database_forget(BgjobDatabase *entry, BgjobDatabaseStatus status)
{
	LWLockAcquire(&bgjob_registry->lock, LW_EXCLUSIVE);
	if (entry->blocked_by == 0 && entry->status == status)
		entry->in_use = false;
	LWLockRelease(&bgjob_registry->lock);
}

/* bgjob_database_recount says that the counts of a database may be wrong. */
void
bgjob_database_recount(Oid database)
{
	BgjobDatabase *entry = bgjob_database_find(database);

	if (entry != NULL)
		pg_atomic_fetch_add_u32(&entry->doubts, 1);
}

/*
 * bgjob_database_moving says which transaction of this process is about to
 * commit and has moves to add after that; invalid: none any more.
 */
void
bgjob_database_moving(TransactionId xid)
{
	int process = MyProc - ProcGlobal->allProcs;

	*(volatile TransactionId *) &bgjob_registry->movers[process] = xid;
}

/*
 * bgjob_notify_scheduler tells the scheduler of a database something, and
 * wakes it. The latch alone would not do: what sets it while the scheduler
 * waits in a commit or for a lock is taken for that wait's own.
 */
void
bgjob_notify_scheduler(Oid database, uint32 notices)
{
	BgjobDatabase *entry = bgjob_database_find(database);
	int scheduler;

	if (entry == NULL)
		return;
	pg_atomic_fetch_or_u32(&entry->notices, notices | BGJOB_NOTICE_WAKE);
	scheduler = entry->scheduler;
	if (scheduler >= 0)
		bgjob_slot_wake(&bgjob_registry->slots[scheduler]);
	else if (entry->status == BGJOB_DATABASE_RESTING)
		bgjob_notify_launcher(false);
}

/* bgjob_notify_launcher wakes the launcher, to look at pg_database again if so said. */
void
bgjob_notify_launcher(bool rediscover)
{
	Latch *launcher;

	if (bgjob_registry == NULL)
		return;
	if (rediscover)
		bgjob_registry->rediscover = true;
	bgjob_registry->called = true;
	pg_memory_barrier();
	launcher = bgjob_registry->launcher;
	if (launcher != NULL)
		SetLatch(launcher);
}
