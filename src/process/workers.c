/*-------------------------------------------------------------------------
 *
 * workers.c
 *	  The processes of a database's workers: starting, reaping and ending them.
 *
 * process/pool.c decides how many workers each role gets, and of which server. A worker that has left
 * keeps its slot until its job has been recovered (process/recovery.c).
 *
 * Workers are ended in steps. They are asked to leave, and leave after their jobs.
 * When their time is up they are interrupted: the job is canceled and goes back to
 * the head of its queue. A worker whose job does not end then is terminated
 * (bgjob_slot_force).
 *
 * By the scheduler. Times are those of the steady clock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "base/announce.h"
#include "base/database.h"
#include "base/groupitems.h"
#include "base/process.h"
#include "base/registry.h"
#include "base/request.h"
#include "base/slot.h"
#include "base/slots.h"
#include "base/waits.h"
#include "base/wake.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "process/recovery.h"
#include "process/roles.h"
#include "process/runninglog.h"
#include "process/workers.h"
#include "rules/clock.h"
#include "replication/syncrep.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Pause before a step that did not get a lock is tried again, in microseconds. */
#define RETRY 250000

static BackgroundWorkerHandle **handles; /* by slot */
static int64 no_slot_until = 0; /* max_worker_processes was reached: no attempt before */
static int64 last_left = 0;     /* when a worker left: the postmaster notices a little later */

/* bgjob_workers_init prepares a scheduler; once. */
void
bgjob_workers_init(void)
{
	handles = MemoryContextAllocZero(TopMemoryContext,
									 bgjob_registry->nslots * sizeof(BackgroundWorkerHandle *));
}

/* bgjob_worker_is_mine returns whether a slot is that of a worker of this database. */
bool
bgjob_worker_is_mine(const BgjobSlot *slot)
{
	return slot->in_use && slot->kind == BGJOB_WORKER && slot->database == MyDatabaseId;
}

/* bgjob_workers_no_slot_until returns the time before which bgjob_worker_start need not be tried, by the steady clock. */
int64
bgjob_workers_no_slot_until(void)
{
	return no_slot_until;
}

/* bgjob_by_clock translates a time of the steady clock to one of the clock, which is "now". */
TimestampTz
bgjob_by_clock(int64 steady, TimestampTz now)
{
	return steady == DT_NOEND ? DT_NOEND : now + (steady - bgjob_steady_now());
}

/* Recovers the job of a worker that has left, and frees its slot. */
static void
reap(void *left)
{
	BgjobSlot *slot = left;
	int index = bgjob_slot_index(slot);

	bgjob_role_serves(slot);
	bgjob_recover_lost(slot);
	if (slot->failing)
		bgjob_role_failed_claims(slot);
	else if (!slot->ready && !slot->retire && !slot->term)
		bgjob_role_failed_start(slot->role);
	if (handles[index] != NULL)
		pfree(handles[index]);
	handles[index] = NULL;
	bgjob_slot_free(slot);
}

/*
 * bgjob_workers_reap recovers the jobs of workers that have left, and frees their
 * slots. Returns when to try again (DT_NOEND: when notified): a worker whose job cannot
 * be recovered now, since tables are locked, keeps its slot.
 */
TimestampTz
bgjob_workers_reap(TimestampTz now)
{
	int64 left_at = bgjob_steady_now();
	TimestampTz wake = DT_NOEND;

	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (!bgjob_worker_is_mine(slot) || !bgjob_process_left(slot, handles[i]))
			continue;
		if (bgjob_try(reap, slot))
			last_left = left_at;
		else
			wake = now + RETRY;
	}
	if (last_left == left_at)
		no_slot_until = 0;
	return wake;
}

/*
 * bgjob_worker_start starts a worker for a role, of a server. False if there is no room for it
 * (base/slots.c), or the server has no slot, or no memory, for another process.
 */
bool
bgjob_worker_start(Oid role, const BgjobServer *server, BgjobNeed need)
{
	BgjobSlot *slot;

	if (bgjob_slots_workers() >= bgjob_slots_worker_limit(need))
		return false;
	slot = bgjob_slot_create(BGJOB_WORKER, MyDatabaseId, role, bgjob_slots_most(need));
	if (slot == NULL)
		return false;
	slot->server = server->id;
	strlcpy(slot->server_name, server->name, sizeof(slot->server_name));
	slot->server_state = server->state;
	slot->lent = need == BGJOB_NEED_LOAN;
	slot->failure = bgjob_role_state(role)->failure;
	if (bgjob_process_start(slot, BGJOB_WORKER_TYPE, "bgjob_worker_main",
							&handles[bgjob_slot_index(slot)]))
		return true;
	bgjob_slot_free(slot);
	no_slot_until =
		bgjob_steady_now() +
		(bgjob_steady_now() - last_left < USECS_PER_SEC ? USECS_PER_SEC / 50 : USECS_PER_SEC);
	return false;
}

/*
 * bgjob_workers_take_back takes from workers that are slow the jobs that they have
 * taken as a group and not begun, so that others perform them.
 */
void
bgjob_workers_take_back(void)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobGroupRest rest;

		if (bgjob_worker_is_mine(&bgjob_registry->slots[i]) &&
			bgjob_group_items_take_back(&bgjob_registry->slots[i], &rest))
			bgjob_announce_rest(&rest, false);
	}
}

/*
 * bgjob_workers_end_terminated ends the workers that got SIGTERM while the
 * server is not shutting down: they were terminated by hand.
 */
void
bgjob_workers_end_terminated(void)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (bgjob_worker_is_mine(slot) && slot->term && slot->pid != 0)
			bgjob_slot_interrupt(slot, BGJOB_BY_TERMINATION);
	}
}

/*
 * bgjob_workers_end_unresponsive terminates the workers whose jobs should have ended
 * BGJOB_FORCE_AFTER ago. Returns when to check again (DT_NOEND: when notified).
 */
TimestampTz
bgjob_workers_end_unresponsive(const char *database, TimestampTz now)
{
	int64 steady = bgjob_steady_now();
	int64 wake = DT_NOEND;

	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];
		int64 job = slot->job;

		if (bgjob_worker_is_mine(slot) && bgjob_slot_force(slot, steady, &wake))
			bgjob_runninglog_terminate(database, slot, job);
	}
	return bgjob_by_clock(wake, now);
}

static int
retire_all(void)
{
	int n = 0;

	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (!bgjob_worker_is_mine(slot))
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
		if (bgjob_worker_is_mine(&bgjob_registry->slots[i]))
			bgjob_slot_interrupt(&bgjob_registry->slots[i], why);
}

/* Milliseconds after which the wait for workers is logged: most jobs have ended by then. */
#define QUIET 200

/* Ends workers' waits for a synchronous standby, as a shutdown does those of the server's own backends. */
static void
stop_waiting_for_standbys(void)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		pid_t pid = bgjob_registry->slots[i].pid;
		PGPROC *proc = pid == 0 ? NULL : BackendPidGetProc(pid);

		if (proc != NULL && bgjob_worker_is_mine(&bgjob_registry->slots[i]) &&
			proc->syncRepState == SYNC_REP_WAITING)
			kill(pid, SIGTERM);
	}
}

/*
 * bgjob_workers_drain ends all workers. Running jobs get "grace_ms" at most, and no
 * time if a command needs the database for itself. Then they are interrupted and go
 * back to the head of their queue. A worker whose job does not end then is terminated.
 * Returns when the last worker has left.
 */
void
bgjob_workers_drain(const char *database, int grace_ms, BgjobInterruption why)
{
	BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);
	int64 begin = bgjob_steady_now();
	int64 until = begin + (int64) grace_ms * 1000;
	bool logged_wait = false;
	bool logged_interrupt = false;

	while (retire_all() > 0)
	{
		int64 now = bgjob_steady_now();
		long rest = entry->blocked_by != 0 ? 0 : (long) Max(0, (until - now + 999) / 1000);

		if (entry->blocked_by != 0)
			why = BGJOB_BY_COMMAND;
		if (rest == 0)
		{
			if (!logged_interrupt)
				logged_interrupt = bgjob_runninglog_interrupt(database, why);
			interrupt_all(why);
		}
		else if (!logged_wait && now - begin > QUIET * (int64) 1000)
			logged_wait = bgjob_runninglog_wait(database, grace_ms);
		if (rest == 0 || ShutdownRequestPending)
			stop_waiting_for_standbys();
		(void) bgjob_workers_end_unresponsive(database, bgjob_now());
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 rest == 0 ? 100 : Min(rest, logged_wait ? 1000 : 100),
						 bgjob_wait_event(BGJOB_WAIT_SCHEDULER_EXIT));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS(); /* also serves what others wait for, barriers for example */
		(void) bgjob_workers_reap(GetCurrentTimestamp());
	}
}

/* bgjob_workers_check_terminated distinguishes a shutdown, of which this process gets a signal too, from a worker that was terminated by hand. */
void
bgjob_workers_check_terminated(void)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (!slot->in_use || slot->database != MyDatabaseId || !slot->term || slot->pid == 0)
			continue;
		(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 50,
						 bgjob_wait_event(BGJOB_WAIT_SCHEDULER_MAIN));
		if (!ShutdownRequestPending)
			bgjob_workers_end_terminated();
		return;
	}
}
