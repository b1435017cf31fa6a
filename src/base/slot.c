/*-------------------------------------------------------------------------
 *
 * slot.c
 *	  A process of bgjob, and the job that it is at.
 *
 * LIFE OF A SLOT. The launcher (for a scheduler) or a scheduler (for a worker)
 * creates the slot and starts a background worker that carries the slot's index
 * and generation; that process attaches first thing. When it leaves, its exit
 * callback (base/process.c) marks the slot as left and notifies the process that
 * created the slot, which frees it. A process whose generation is no longer that of
 * the slot came too late and leaves at once.
 *
 * WHAT A WORKER IS AT. The functions without a slot among their arguments are
 * the worker's own and act on bgjob_my_slot: it begins with a job (from then on
 * the job is in flight, and no other worker is given it), has claimed it (from then
 * on it takes requests), finishes it (the point of no return), ends. Others read
 * that with the functions of base/running.c.
 *
 * The fields and their locks are in base/registry.h. What others ask of a worker
 * is in base/request.c, the rest of a group of jobs in base/groupitems.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/database.h"
#include "base/slot.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "storage/proc.h"
#include "utils/timestamp.h"

BgjobSlot *bgjob_my_slot = NULL;

/* bgjob_slot_index returns the number of a slot, which a process is started with. */
int
bgjob_slot_index(const BgjobSlot *slot)
{
	return slot - bgjob_registry->slots;
}

/* bgjob_slots_used returns the number of slots in use, in all databases. */
int
bgjob_slots_used(void)
{
	int used = 0;

	for (int i = 0; i < bgjob_registry->nslots; i++)
		if (bgjob_registry->slots[i].in_use)
			used++;
	return used;
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

/* bgjob_count_workers_of counts the workers of a role that belong to the servers. */
int
bgjob_count_workers_of(Oid database, Oid role, const BgjobServerSet *servers)
{
	int n = 0;

	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (slot->in_use && slot->kind == BGJOB_WORKER && slot->database == database &&
			slot->role == role && bgjob_server_set_has(servers, slot->server))
			n++;
	}
	return n;
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
		slot->ngates = 0;
		slot->server = BGJOB_DEFAULT_SERVER_ID;
		strlcpy(slot->server_name, BGJOB_DEFAULT_SERVER, sizeof(slot->server_name));
		slot->server_state = NULL;
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
		slot->job = slot->pos = slot->jobs_done = slot->successor = 0;
		slot->phase = BGJOB_PHASE_CLAIMING;
		slot->request = BGJOB_REQUEST_NONE;
		slot->job_started_at = 0;
		slot->overdue_since = 0;
		slot->timed_out = false;
		slot->group->n = slot->group->next = slot->chunk = 0;
		slot->group_slow = false;
		slot->in_use = true;
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(&bgjob_registry->lock);
	return slot;
}

/* bgjob_slot_free frees a slot, after its process has left or was never started. */
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

/* bgjob_slot_give_up_start gives up a process that has not attached; returns false if it just has. */
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

/*
 * bgjob_slot_begin notes that this worker is about to claim a job. From here
 * on the job is in flight: no other worker is given it. But it need not be this
 * worker's, nor even be there any more; so no request is accepted before
 * bgjob_slot_claimed, and the caller tries again.
 */
void
bgjob_slot_begin(int64 job, int64 pos)
{
	SpinLockAcquire(&bgjob_my_slot->mutex);
	bgjob_my_slot->job = job;
	bgjob_my_slot->pos = pos;
	bgjob_my_slot->phase = BGJOB_PHASE_CLAIMING;
	bgjob_my_slot->request = BGJOB_REQUEST_NONE;
	bgjob_my_slot->successor = 0;
	bgjob_my_slot->job_started_at = 0;
	bgjob_my_slot->overdue_since = 0;
	bgjob_my_slot->timed_out = false;
	SpinLockRelease(&bgjob_my_slot->mutex);
}

/*
 * bgjob_slot_claim_failed records the SQLSTATE that a claim of this worker
 * failed with. Returns whether the failure is known: this worker's last claim,
 * or the last failed claim of its role, failed with the same.
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

/* bgjob_slot_claims_again records that a claim succeeded after claims that failed. */
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

/* bgjob_slot_claimed marks the job as claimed by this worker: requests are accepted from here on. */
void
bgjob_slot_claimed(void)
{
	SpinLockAcquire(&bgjob_my_slot->mutex);
	bgjob_my_slot->phase = BGJOB_PHASE_PERFORMING;
	SpinLockRelease(&bgjob_my_slot->mutex);
}

/* bgjob_slot_start_clock records when the job itself was started. */
void
bgjob_slot_start_clock(TimestampTz now)
{
	SpinLockAcquire(&bgjob_my_slot->mutex);
	bgjob_my_slot->job_started_at = now;
	SpinLockRelease(&bgjob_my_slot->mutex);
}

/*
 * bgjob_slot_finish passes the point of no return: from here on no request
 * is accepted. Returns false if one was accepted before: the caller must honour it.
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
 * more. Returns the request that was accepted before, if any. It stays in the
 * slot in case this worker is lost before it could honour it.
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
 * bgjob_slot_answer ends an attempt at a chunk that failed. Returns the job of the chunk
 * for which a request was accepted before; 0: there is none, and none is accepted any more.
 */
int64
bgjob_slot_answer(void)
{
	int64 job = 0;

	SpinLockAcquire(&bgjob_my_slot->mutex);
	if (bgjob_my_slot->request != BGJOB_REQUEST_NONE)
		job = bgjob_my_slot->job;
	else
		bgjob_my_slot->phase = BGJOB_PHASE_FINISHING;
	SpinLockRelease(&bgjob_my_slot->mutex);
	return job;
}

/* bgjob_slot_count_done counts jobs that this worker has performed. */
void
bgjob_slot_count_done(int jobs)
{
	SpinLockAcquire(&bgjob_my_slot->mutex);
	bgjob_my_slot->jobs_done += jobs;
	SpinLockRelease(&bgjob_my_slot->mutex);
}

/* bgjob_slot_end marks this worker as being at no job; with "done" the job is counted. */
void
bgjob_slot_end(bool done)
{
	SpinLockAcquire(&bgjob_my_slot->mutex);
	bgjob_my_slot->job = 0;
	bgjob_my_slot->pos = 0;
	bgjob_my_slot->phase = BGJOB_PHASE_CLAIMING;
	bgjob_my_slot->request = BGJOB_REQUEST_NONE;
	bgjob_my_slot->successor = 0;
	bgjob_my_slot->job_started_at = 0;
	bgjob_my_slot->overdue_since = 0;
	bgjob_my_slot->timed_out = false;
	if (done)
		bgjob_my_slot->jobs_done++;
	SpinLockRelease(&bgjob_my_slot->mutex);
}

/* bgjob_slot_lives returns whether the process of bgjob that was started at that time with this pid runs. */
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

static int
compare_positions(const void *a, const void *b)
{
	int64 left = *(const int64 *) a;
	int64 right = *(const int64 *) b;

	return left < right ? -1 : left > right;
}

/* Adds the positions that a slot has in flight, as far as there is room; returns their number. */
static int
add_in_flight(BgjobSlot *slot, int64 *positions, int room)
{
	int64 pos;
	bool any;
	int n;

	LWLockAcquire(&slot->group->lock, LW_SHARED);
	n = slot->group->n;
	if (n <= room)
		memcpy(positions, slot->group->pos, n * sizeof(int64));
	LWLockRelease(&slot->group->lock);
	SpinLockAcquire(&slot->mutex);
	any = slot->job != 0;
	pos = slot->pos;
	SpinLockRelease(&slot->mutex);
	if (any && ++n <= room)
		positions[n - 1] = pos;
	return n;
}

/*
 * bgjob_slots_in_flight returns the positions in the queue of the jobs that
 * workers of a database are at, in ascending order, and sets *n to their number;
 * in the current memory context.
 */
int64 *
bgjob_slots_in_flight(Oid database, int *n)
{
	int nslots = bgjob_registry != NULL ? bgjob_registry->nslots : 0;
	int room = Max(nslots, 1);
	int64 *positions;

	for (;;)
	{
		positions = palloc(room * sizeof(int64));
		*n = 0;
		for (int i = 0; i < nslots; i++)
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
