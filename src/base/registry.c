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
#include "storage/proc.h"
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
	return add_size(size, mul_size(max_worker_processes, sizeof(BgjobDatabase)));
}

/* bgjob_registry_startup creates or finds the registry; from shmem_startup_hook. */
void
bgjob_registry_startup(void)
{
	bool found;
	Size slots;

	bgjob_registry = ShmemInitStruct("bgjob registry", bgjob_registry_size(), &found);
	if (found)
		return;

	memset(bgjob_registry, 0, bgjob_registry_size());
	LWLockInitialize(&bgjob_registry->lock, LWLockNewTrancheId());
	bgjob_registry->next_generation = 1;
	bgjob_registry->nslots = max_worker_processes;
	bgjob_registry->ndatabases = max_worker_processes;
	slots = offsetof(BgjobRegistry, slots) + max_worker_processes * sizeof(BgjobSlot);
	bgjob_registry->databases = (BgjobDatabase *) ((char *) bgjob_registry + MAXALIGN(slots));

	for (int i = 0; i < bgjob_registry->nslots; i++)
		SpinLockInit(&bgjob_registry->slots[i].mutex);
	for (int i = 0; i < bgjob_registry->ndatabases; i++)
	{
		BgjobDatabase *entry = &bgjob_registry->databases[i];

		pg_atomic_init_u32(&entry->notices, 0);
		pg_atomic_init_u32(&entry->saturated, 0);
		pg_atomic_init_u32(&entry->counts_valid, 0);
		pg_atomic_init_u32(&entry->prepared, 0);
		pg_atomic_init_u64(&entry->next_due, 0);
		pg_atomic_init_u64(&entry->low_due, 0);
		for (int state = 0; state < BGJOB_NSTATES; state++)
			pg_atomic_init_u64(&entry->counts[state], 0);
	}
}

/* bgjob_slot_index returns the number of a slot, which a process is started with. */
int
bgjob_slot_index(const BgjobSlot *slot)
{
	return slot - bgjob_registry->slots;
}

/*
 * bgjob_slot_create hands out a slot for a process that is about to be
 * started. Returns NULL if none is free, or if the database is blocked.
 */
BgjobSlot *
bgjob_slot_create(BgjobProcessKind kind, Oid database, Oid role)
{
	BgjobSlot *slot = NULL;
	BgjobDatabase *entry;

	LWLockAcquire(&bgjob_registry->lock, LW_EXCLUSIVE);
	entry = bgjob_database_find(database);
	if (entry != NULL && entry->blocked_by == 0)
		for (int i = 0; i < bgjob_registry->nslots && slot == NULL; i++)
			if (!bgjob_registry->slots[i].in_use)
				slot = &bgjob_registry->slots[i];
	if (slot != NULL)
	{
		slot->kind = kind;
		slot->generation = bgjob_registry->next_generation++;
		slot->database = database;
		slot->role = role;
		slot->created_at = GetCurrentTimestamp();
		slot->pid = 0;
		slot->latch = NULL;
		slot->started_at = 0;
		slot->ready = slot->retire = slot->term = false;
		slot->idle = slot->finishing = false;
		slot->job = slot->pos = slot->jobs_done = 0;
		slot->request = BGJOB_REQUEST_NONE;
		slot->in_use = true;
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
	ours = slot->in_use && slot->generation == generation && slot->pid == 0;
	if (ours)
	{
		slot->latch = &MyProc->procLatch;
		slot->started_at = GetCurrentTimestamp();
		slot->pid = MyProcPid;
		bgjob_my_slot = slot;
	}
	LWLockRelease(&bgjob_registry->lock);
	return ours;
}

/* bgjob_slot_set_idle says whether this worker waits for work, and may be woken for it. */
void
bgjob_slot_set_idle(bool idle)
{
	SpinLockAcquire(&bgjob_my_slot->mutex);
	bgjob_my_slot->idle = idle;
	SpinLockRelease(&bgjob_my_slot->mutex);
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
	bgjob_my_slot->finishing = true;
	bgjob_my_slot->request = BGJOB_REQUEST_NONE;
	bgjob_my_slot->job_started_at = 0;
	SpinLockRelease(&bgjob_my_slot->mutex);
}

/* bgjob_slot_claimed notes that the job is this worker's: it answers for it from here on. */
void
bgjob_slot_claimed(void)
{
	SpinLockAcquire(&bgjob_my_slot->mutex);
	bgjob_my_slot->finishing = false;
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
	bgjob_my_slot->finishing = clear;
	SpinLockRelease(&bgjob_my_slot->mutex);
	return clear;
}

/* bgjob_slot_end notes that this worker is at no job any more. */
void
bgjob_slot_end(bool done)
{
	SpinLockAcquire(&bgjob_my_slot->mutex);
	bgjob_my_slot->job = 0;
	bgjob_my_slot->pos = 0;
	bgjob_my_slot->finishing = false;
	bgjob_my_slot->request = BGJOB_REQUEST_NONE;
	bgjob_my_slot->job_started_at = 0;
	if (done)
		bgjob_my_slot->jobs_done++;
	SpinLockRelease(&bgjob_my_slot->mutex);
}

/* bgjob_slot_request_seen returns what has been asked of this worker's job. */
BgjobRequest
bgjob_slot_request_seen(TimestampTz *run_at)
{
	BgjobRequest request;

	SpinLockAcquire(&bgjob_my_slot->mutex);
	request = bgjob_my_slot->request;
	if (run_at != NULL)
		*run_at = bgjob_my_slot->request_run_at;
	SpinLockRelease(&bgjob_my_slot->mutex);
	return request;
}

/* Leaves a request with a slot if it is at that job; the mutex is not held. */
static BgjobRequestResult
leave_request(BgjobSlot *slot, int64 job, BgjobRequest request, TimestampTz run_at)
{
	BgjobRequestResult result = BGJOB_REQUEST_NOT_RUNNING;
	pid_t pid = 0;

	SpinLockAcquire(&slot->mutex);
	if (slot->in_use && slot->pid != 0 && slot->job == job)
	{
		result = slot->finishing ? BGJOB_REQUEST_FINISHING : BGJOB_REQUEST_ACCEPTED;
		if (result == BGJOB_REQUEST_ACCEPTED)
		{
			slot->request = request;
			slot->request_run_at = run_at;
			pid = slot->pid;
		}
	}
	SpinLockRelease(&slot->mutex);

	/* The handler looks for the request itself: a signal that comes late does nothing. */
	if (pid != 0)
		kill(pid, SIGUSR2);
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
			result = leave_request(slot, job, request, run_at);
	}
	return result;
}

/* bgjob_slot_is_at tells whether a worker is at a job. */
bool
bgjob_slot_is_at(Oid database, int64 job)
{
	for (int i = 0; bgjob_registry != NULL && i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (slot->in_use && slot->database == database && slot->job == job)
			return true;
	}
	return false;
}

/* bgjob_slot_interrupt has a worker give its job back, and leave. */
void
bgjob_slot_interrupt(BgjobSlot *slot)
{
	int64 job;
	pid_t pid;

	slot->retire = true;
	SpinLockAcquire(&slot->mutex);
	job = slot->job;
	pid = slot->pid;
	SpinLockRelease(&slot->mutex);
	if (job != 0)
		leave_request(slot, job, BGJOB_REQUEST_INTERRUPT, 0);
	else if (pid != 0)
		kill(pid, SIGUSR2);
}

/*
 * bgjob_slots_in_flight collects the places in the queue of the jobs that
 * workers of a database are at. Returns their number.
 */
int
bgjob_slots_in_flight(Oid database, int64 *positions, int max)
{
	int n = 0;

	for (int i = 0; i < bgjob_registry->nslots && n < max; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (!slot->in_use || slot->database != database)
			continue;
		SpinLockAcquire(&slot->mutex);
		if (slot->job != 0)
			positions[n++] = slot->pos;
		SpinLockRelease(&slot->mutex);
	}
	return n;
}

/* bgjob_wake_worker wakes one idle worker of a role, if there is one. */
bool
bgjob_wake_worker(Oid database, Oid role)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];
		bool woken;

		if (!slot->idle || !slot->in_use || slot->database != database || slot->role != role ||
			slot->kind != BGJOB_WORKER || slot->retire)
			continue;
		SpinLockAcquire(&slot->mutex);
		woken = slot->idle && slot->pid != 0;
		slot->idle = false;
		SpinLockRelease(&slot->mutex);
		if (woken)
		{
			SetLatch(slot->latch);
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
	for (int i = 0; i < bgjob_registry->ndatabases; i++)
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
	pg_atomic_write_u32(&entry->saturated, 0);
	pg_atomic_write_u32(&entry->counts_valid, 0);
	pg_atomic_write_u32(&entry->prepared, 0);
	entry->ready = false;
	pg_atomic_write_u64(&entry->next_due, 0);
	pg_atomic_write_u64(&entry->low_due, 0);
	for (int state = 0; state < BGJOB_NSTATES; state++)
		pg_atomic_write_u64(&entry->counts[state], 0);
	entry->in_use = true;
}

/*
 * bgjob_database_want makes sure that there is an entry for a database; a
 * new one asks the launcher for a scheduler. NULL if the registry is full.
 */
BgjobDatabase *
bgjob_database_want(Oid database)
{
	BgjobDatabase *entry;

	LWLockAcquire(&bgjob_registry->lock, LW_EXCLUSIVE);
	entry = bgjob_database_find(database);
	if (entry != NULL)
	{
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
				break;
			}
	}
	LWLockRelease(&bgjob_registry->lock);
	return entry;
}

/* bgjob_database_forget frees an entry that no process uses. */
void
bgjob_database_forget(BgjobDatabase *entry)
{
	LWLockAcquire(&bgjob_registry->lock, LW_EXCLUSIVE);
	if (entry->blocked_by == 0)
		entry->in_use = false;
	LWLockRelease(&bgjob_registry->lock);
}

/* bgjob_notify_scheduler tells the scheduler of a database something, and wakes it. */
void
bgjob_notify_scheduler(Oid database, uint32 notices)
{
	BgjobDatabase *entry = bgjob_database_find(database);
	int scheduler;

	if (entry == NULL)
		return;
	if (notices != 0)
		pg_atomic_fetch_or_u32(&entry->notices, notices);
	scheduler = entry->scheduler;
	if (scheduler >= 0 && bgjob_registry->slots[scheduler].latch != NULL)
		SetLatch(bgjob_registry->slots[scheduler].latch);
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
	pg_memory_barrier();
	launcher = bgjob_registry->launcher;
	if (launcher != NULL)
		SetLatch(launcher);
}
