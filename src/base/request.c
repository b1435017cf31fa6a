/*-------------------------------------------------------------------------
 *
 * request.c
 *	  What others ask of a worker about its job, and how one is ended.
 *
 * Whoever runs bgjob_delete, bgjob_requeue or bgjob_reschedule asks a worker to
 * end its job (bgjob_slot_request); the scheduler asks it to end one that has been
 * superseded (bgjob_slot_supersede), or to give its job back
 * and leave (bgjob_slot_interrupt). The request is left in the slot under its
 * mutex, and a SIGUSR2 has the worker read it. It is accepted only while the
 * worker performs that very job, and then always honoured: see the locking
 * protocol in base/registry.h.
 *
 * A worker that does not end its job for that, or within the job's time limit,
 * is ended by force (bgjob_slot_force). A worker that is idle, or between two
 * jobs, can be asked to leave without a job being hurt (bgjob_retire_if_idle,
 * bgjob_slot_may_leave).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "base/chunkjobs.h"
#include "base/database.h"
#include "base/request.h"
#include "base/slot.h"
#include "base/text.h"
#include "base/wake.h"
#include "miscadmin.h"
#include "rules/clock.h"

/* A request for one job. */
typedef struct Wish
{
	Oid database;
	int64 job;
	BgjobRequest request;
	TimestampTz run_at; /* of RESCHEDULE */
	BgjobRequestAuthor author;
	int64 successor;       /* of DELETE: the job that supersedes this one; 0: none */
	BgjobInterruption why; /* of INTERRUPT */
} Wish;

/*
 * Leaves a request in a slot if its worker runs that job. The mutex is not
 * held. An interruption does not overwrite a request that was accepted before, and a
 * job that is superseded is not asked to run again.
 */
static BgjobRequestResult
leave_request(BgjobSlot *slot, const Wish *wish)
{
	BgjobRequest request = wish->request;
	bool ends = request == BGJOB_REQUEST_DELETE || request == BGJOB_REQUEST_INTERRUPT;
	BgjobRequestResult result = BGJOB_REQUEST_NOT_RUNNING;
	int64 now = bgjob_steady_now();
	pid_t pid = 0;

	SpinLockAcquire(&slot->mutex);
	if (slot->in_use && slot->database == wish->database && slot->pid != 0 &&
		slot->job == wish->job)
	{
		result = slot->phase == BGJOB_PHASE_PERFORMING && (slot->successor == 0 || ends)
					 ? BGJOB_REQUEST_ACCEPTED
					 : BGJOB_REQUEST_NOT_NOW;
		if (result == BGJOB_REQUEST_ACCEPTED)
		{
			if (request != BGJOB_REQUEST_INTERRUPT || slot->request == BGJOB_REQUEST_NONE)
			{
				slot->request = request;
				slot->request_run_at = wish->run_at;
				slot->request_author = wish->author;
				slot->interruption = wish->why;
				slot->successor = wish->successor != 0 ? wish->successor : slot->successor;
			}
			pid = slot->pid;
		}
		/* A worker that is to leave may also hang in its commit. */
		if ((pid != 0 || request == BGJOB_REQUEST_INTERRUPT) && slot->overdue_since == 0)
			slot->overdue_since = now;
	}
	SpinLockRelease(&slot->mutex);

	/* The handler reads the request from the slot: a signal that comes late does nothing. */
	if (pid != 0)
		kill(pid, SIGUSR2);
	if (pid != 0 && request != BGJOB_REQUEST_INTERRUPT) /* which is the scheduler's own */
		bgjob_notify_scheduler(wish->database, 0);
	return result;
}

/* Asks the worker that runs a job, if there is one. */
static BgjobRequestResult
ask(const Wish *wish)
{
	BgjobRequestResult result = BGJOB_REQUEST_NOT_RUNNING;

	if (bgjob_registry == NULL)
		return result;
	for (int i = 0; i < bgjob_registry->nslots && result == BGJOB_REQUEST_NOT_RUNNING; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];
		bool in_chunk;

		if (!slot->in_use || slot->database != wish->database)
			continue;
		in_chunk = bgjob_chunk_name(slot, wish->job);
		if (in_chunk || slot->job == wish->job)
			result = leave_request(slot, wish);
		if (in_chunk && result == BGJOB_REQUEST_NOT_RUNNING)
			result = BGJOB_REQUEST_NOT_NOW; /* the chunk ends for another one of its jobs */
	}
	return result;
}

/*
 * bgjob_slot_request asks the worker that runs a job to end it. "author" is for the
 * job's history (NULL: not recorded). Without a registry it returns that no worker
 * runs the job.
 */
BgjobRequestResult
bgjob_slot_request(Oid database, int64 job, BgjobRequest request, TimestampTz run_at,
				   const char *author)
{
	Wish wish = {.database = database, .job = job, .request = request, .run_at = run_at};

	if (author != NULL)
		strlcpy(wish.author.text, bgjob_text_cut(author, sizeof(wish.author.text) - 1),
				sizeof(wish.author.text));
	return ask(&wish);
}

/* bgjob_slot_supersede asks it to delete the job, since another one has superseded it. */
BgjobRequestResult
bgjob_slot_supersede(Oid database, int64 job, int64 successor)
{
	Wish wish = {.database = database,
				 .job = job,
				 .request = BGJOB_REQUEST_DELETE,
				 .successor = successor};

	return ask(&wish);
}

/* bgjob_slot_request_seen returns the request that was left for this worker's job. */
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
 * bgjob_slot_interrupt asks a worker to give its job back and leave, at once or
 * as soon as it can. "why" is for the job's history.
 */
void
bgjob_slot_interrupt(BgjobSlot *slot, BgjobInterruption why)
{
	Wish wish = {.database = slot->database, .request = BGJOB_REQUEST_INTERRUPT, .why = why};
	pid_t pid;

	slot->retire = true;
	SpinLockAcquire(&slot->mutex);
	wish.job = slot->job;
	pid = slot->pid;
	SpinLockRelease(&slot->mutex);
	if (wish.job == 0)
	{
		if (pid != 0)
			kill(pid, SIGUSR2); /* sets its latch */
	}
	else
		leave_request(slot, &wish);
}

/*
 * bgjob_slot_timed_out records that the job has run longer than it may.
 * Called by a timer's handler, so it takes no lock. "now" is by the steady
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

/*
 * bgjob_slot_force ends a worker by force if the job that it is at ought to
 * have ended BGJOB_FORCE_AFTER ago, and returns whether it did. Otherwise it
 * lowers *wake to when that will be. The worker takes no other job, so no other
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

/* bgjob_slot_terminate ends a process at once, whatever it does. Its job goes back to the queue. */
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

/* bgjob_leavers encodes a role and a number of its workers as BgjobServerState.leavers holds them. */
uint64
bgjob_leavers(Oid role, int n)
{
	return n == 0 ? 0 : ((uint64) role << 32) | (uint32) n;
}

/*
 * bgjob_slot_may_leave returns whether this worker, which is between two jobs,
 * is to leave because one of its role and server was asked to; its slot is retiring then.
 */
bool
bgjob_slot_may_leave(void)
{
	BgjobSlot *slot = bgjob_my_slot;
	BgjobServerState *server = slot->server_state;
	uint64 leavers;

	slot->asked = false; /* before the number is read: it is set after that was written */
	slot->retire = true;
	pg_memory_barrier();
	leavers = server == NULL ? 0 : pg_atomic_read_u64(&server->leavers);
	while ((Oid) (leavers >> 32) == slot->role && (uint32) leavers > 0)
		if (pg_atomic_compare_exchange_u64(
				&server->leavers, &leavers,
				bgjob_leavers(slot->role, (int) ((uint32) leavers) - 1)))
			return true;
	slot->retire = false;
	return false;
}
