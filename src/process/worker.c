/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  Performs the jobs of one role in one database.
 *
 * A worker is connected as the role whose jobs it performs, and never was connected
 * as another role. Its loop: perform jobs, wait on the latch, leave when there was no
 * job for bgjob.worker_idle_timeout, when the scheduler asks for it, or after many
 * jobs (the state of an interpreter such as PL/Perl cannot be reset).
 *
 * SIGNALS. SIGUSR2 means that there may be a request concerning the running job
 * (base/request.c); the handler reads the request itself, so a late signal does
 * nothing. SIGINT (pg_cancel_backend) cancels the running job, or the wait of its
 * commit for a synchronous standby. SIGTERM comes at shutdown and from
 * pg_terminate_backend. The worker cannot distinguish the two: it notes the signal in
 * its slot, and the scheduler, which knows, makes it end its job in time or at once.
 * The worker ends at once if there is no scheduler, or if the scheduler has sent the
 * signal itself because a job did not end when it was canceled (base/registry.h).
 * SIGQUIT: base/inflight.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "base/database.h"
#include "base/guc.h"
#include "base/idle.h"
#include "base/inflight.h"
#include "base/ownserver.h"
#include "base/process.h"
#include "base/queueusage.h"
#include "base/registry.h"
#include "base/request.h"
#include "base/session.h"
#include "base/slot.h"
#include "base/slots.h"
#include "base/wake.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "process/worker.h"
#include "rules/clock.h"
#include "run/attempt.h"
#include "run/authority.h"
#include "store/claim.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "replication/syncrep.h"
#include "storage/pmsignal.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Number of jobs after which a worker leaves, and another one replaces it. */
#define JOBS_PER_WORKER 100000

/*
 * Memory from which on it leaves, in bytes, checked after every JOBS_PER_CHECK jobs:
 * jobs can fill caches that a session never empties, such as those of time zones
 * and row types.
 */
#define MOST_MEMORY    (256 * 1024 * 1024)
#define JOBS_PER_CHECK 256

static bool grown = false; /* to MOST_MEMORY */
static BgjobDatabase *entry;
static uint32 renewals; /* entry->renewals before this process connected */

static void
cancel_current(void)
{
	InterruptPending = true;
	QueryCancelPending = true;
}

/* Handles SIGUSR2: there may be a request. */
static void
on_request(SIGNAL_ARGS)
{
	int save_errno = errno;

	if (bgjob_my_slot != NULL && bgjob_my_slot->phase == BGJOB_PHASE_PERFORMING &&
		bgjob_my_slot->request != BGJOB_REQUEST_NONE)
		cancel_current();
	SetLatch(MyLatch);
	errno = save_errno;
}

/* Returns whether this worker has committed, and waits for a synchronous standby to confirm it. */
static bool
waits_for_standby(void)
{
	return MyProc != NULL && MyProc->syncRepState == SYNC_REP_WAITING;
}

/* Handles SIGINT: cancels the running job, or ends the wait for a standby, as in any backend. */
static void
on_cancel(SIGNAL_ARGS)
{
	int save_errno = errno;

	if (waits_for_standby() || (bgjob_my_slot != NULL && bgjob_my_slot->job != 0 &&
								bgjob_my_slot->phase == BGJOB_PHASE_PERFORMING))
		cancel_current();
	SetLatch(MyLatch);
	errno = save_errno;
}

/*
 * Handles SIGTERM: the scheduler decides how much time the job gets. Without a
 * scheduler, or if the scheduler has sent the signal, it gets none. (A scheduler that
 * leaves now sees "term", or is seen to have left.) A job that sends the signal to its
 * own worker is ended and blamed at once, as for any other way of ending its worker.
 * A wait for a synchronous standby, which may never come, ends at once, too.
 */
static void
on_terminate(int number, siginfo_t *info, void *context)
{
	int save_errno = errno;
	BgjobDatabase *database = NULL;
	bool by_itself = info->si_code == SI_USER && info->si_pid == MyProcPid;

	if (waits_for_standby())
		cancel_current();
	if (bgjob_my_slot != NULL && !by_itself)
	{
		bgjob_my_slot->term = true;
		pg_memory_barrier();
		database = bgjob_database_find(bgjob_my_slot->database);
	}
	if (database != NULL && database->scheduler >= 0 &&
		bgjob_registry->slots[database->scheduler].pid != 0 && !bgjob_my_slot->die)
		bgjob_notify_scheduler(database->database, BGJOB_NOTICE_REAP);
	else
	{
		InterruptPending = true;
		ProcDiePending = true;
	}
	SetLatch(MyLatch);
	errno = save_errno;
}

/* Handles SIGTERM before this process serves: it leaves, and that does not count as a failed connection. */
static void
on_early_terminate(SIGNAL_ARGS)
{
	if (bgjob_my_slot != NULL)
		bgjob_my_slot->term = true;
	die(postgres_signal_arg);
}

static bool
must_leave(void)
{
	return !PostmasterIsAlive() || bgjob_authority_is_lost() || bgjob_my_slot->retire ||
		   bgjob_my_slot->term || !bgjob_enabled || grown || bgjob_own_server_is_gone() ||
		   pg_atomic_read_u32(&entry->renewals) != renewals ||
		   bgjob_my_slot->jobs_done >= JOBS_PER_WORKER ||
		   (bgjob_my_slot->asked && bgjob_slot_may_leave());
}

/* Returns whether other databases want the slot of a worker that has nothing to do. */
static bool
others_want_slot(void)
{
	return pg_atomic_read_u32(&bgjob_registry->schedulers_wanted) > 0 ||
		   bgjob_slots_poorest(bgjob_my_slot->database) >= 0;
}

/*
 * Waits for work. Returns false if there was none for
 * bgjob.worker_idle_timeout, or there is none and another database wants the slot.
 * The order matters: the worker is idle first, then it checks once more; a session
 * that enqueues announces the job first and then wakes an idle worker.
 */
static bool
wait_for_work(void)
{
	int64 since = bgjob_steady_now();
	bool work = false;

	pgstat_report_stat(true);
	bgjob_queue_usage_end();
	pgstat_report_activity(STATE_IDLE, NULL);
	while (!must_leave())
	{
		int64 until = since + bgjob_worker_idle_timeout * USECS_PER_SEC;
		long rest;

		bgjob_idle_set(true);
		work = bgjob_claim_has_work();
		rest = (long) Max(0, (until - bgjob_steady_now() + 999) / 1000);
		if (work || rest == 0 || others_want_slot())
			break;
		(void) bgjob_process_wait(rest + 1, BGJOB_WAIT_WORKER_MAIN);
	}
	bgjob_idle_set(false);
	return work || bgjob_claim_has_work();
}

/* Performs all there is. Wakes others along the way, where there is more than one can do. */
static void
perform_all(void)
{
	static int attempts = 0;

	while (!must_leave() && bgjob_attempt_next())
	{
		if (++attempts % JOBS_PER_CHECK == 0)
			grown = MemoryContextMemAllocated(TopMemoryContext, true) > MOST_MEMORY;
		CHECK_FOR_INTERRUPTS();
		pgstat_report_stat(false);
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
}

/* bgjob_worker_main is a worker; arg is the index of its slot. */
void
bgjob_worker_main(Datum arg)
{
	struct sigaction terminate = {.sa_flags = SA_RESTART | SA_SIGINFO};

	terminate.sa_sigaction = on_terminate; /* it wants to know the sender */
	sigemptyset(&terminate.sa_mask);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGINT, SIG_IGN);
	pqsignal(SIGTERM, on_early_terminate);
	pqsignal(SIGUSR2, SIG_IGN);
	BackgroundWorkerUnblockSignals();

	if (!bgjob_process_attach(arg))
		proc_exit(0);
	entry = bgjob_database_find(bgjob_my_slot->database);
	if (entry == NULL)
		proc_exit(0);
	renewals = pg_atomic_read_u32(&entry->renewals);
	bgjob_inflight_attach(bgjob_slot_index(bgjob_my_slot), bgjob_my_slot->server_name);
	bgjob_process_connect(BGJOB_WORKER_TYPE);
	bgjob_session_pin();
	bgjob_inflight_tell_parallel(bgjob_slot_index(bgjob_my_slot));
	bgjob_idle_join();
	bgjob_attempt_init();
	pqsignal(SIGINT, on_cancel);
	pqsignal(SIGUSR2, on_request);
	sigaction(SIGTERM, &terminate, NULL);

	do
		perform_all();
	while (!must_leave() && wait_for_work());
	bgjob_queue_usage_end();
	proc_exit(0);
}
