/*-------------------------------------------------------------------------
 *
 * process.c
 *	  What every process of bgjob starts with, and how it is started.
 *
 * Schedulers and workers are dynamic background workers that are never
 * restarted by the postmaster: after a crash of the server everything starts
 * from the launcher, the one static process, and shared memory is fresh. A
 * process is started with the index of its slot and the slot's generation; it
 * attaches before anything else, so that the process which created the slot
 * learns of its end in every case: by the exit callback here, or (where it died before
 * it could attach) from the postmaster.
 *
 * The exit callback is registered before the connection is made, so it runs
 * after the transaction has been aborted and its locks are free: when the
 * scheduler is notified that a worker has left, the worker's job can be claimed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/guc.h"
#include "base/inflight.h"
#include "base/lanegroup.h"
#include "base/process.h"
#include "base/request.h"
#include "base/slot.h"
#include "base/wake.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "rules/clock.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/pmsignal.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#define BGJOB_LIBRARY "bgjob"

/* Time after which a started process that has not attached is given up, in milliseconds. */
#define LONGEST_START 10000

/* Travels with a process, in bgw_extra. */
typedef struct StartData
{
	uint64 generation;
	Oid database;
	Oid role;
} StartData;

/*
 * bgjob_process_start starts a process for a slot: "type" is what
 * pg_stat_activity will show, "function" the C function to run. Returns false
 * if max_worker_processes does not allow another one; the slot stays the
 * caller's. The caller is woken when the process has started or stopped.
 */
bool
bgjob_process_start(BgjobSlot *slot, const char *type, const char *function,
					BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker = {0};
	StartData start = {slot->generation, slot->database, slot->role};
	MemoryContext old;
	bool started;

	StaticAssertStmt(sizeof(StartData) <= BGW_EXTRALEN, "must fit");
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	worker.bgw_main_arg = Int32GetDatum(bgjob_slot_index(slot));
	strlcpy(worker.bgw_library_name, BGJOB_LIBRARY, sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, function, sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_type, type, sizeof(worker.bgw_type));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "%s, database %u", type, slot->database);
	memcpy(worker.bgw_extra, &start, sizeof(start));

	old = MemoryContextSwitchTo(TopMemoryContext); /* the handle is kept */
	started = RegisterDynamicBackgroundWorker(&worker, handle);
	MemoryContextSwitchTo(old);
	return started;
}

/* Ends the workers that got SIGTERM and wait for their scheduler, which leaves now. */
static void
end_deserted(Oid database)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (slot->in_use && slot->kind == BGJOB_WORKER && slot->database == database &&
			slot->term)
			bgjob_slot_terminate(slot);
	}
}

/* Marks the slot of this process as left; by before_shmem_exit. */
static void
detach(int code, Datum arg)
{
	BgjobSlot *slot = bgjob_my_slot;
	BgjobProcessKind kind;
	Oid database;

	if (slot == NULL)
		return;
	kind = slot->kind;
	database = slot->database;
	if (PostmasterIsAliveInternal())
		bgjob_inflight_end();
	else
		bgjob_inflight_mark_bystander(); /* the next server recovers its job */
	bgjob_my_slot = NULL;
	slot->pid = 0;
	pg_memory_barrier();
	slot->stage = BGJOB_STAGE_LEFT; /* from here on it may belong to another process */
	pg_memory_barrier();
	if (kind != BGJOB_SCHEDULER)
		bgjob_notify_scheduler(database, kind == BGJOB_WORKER ? BGJOB_NOTICE_REAP : 0);
	else
	{
		end_deserted(database);
		bgjob_notify_launcher(false);
	}
}

#if defined(USE_POSTMASTER_DEATH_SIGNAL) && defined(BGJOB_FAST_DEATH)

/* The signal that the server has chosen for it, in pmsignal.c. */
#ifdef SIGINFO
#define DEATH_SIGNAL SIGINFO
#else
#define DEATH_SIGNAL SIGPWR
#endif

/*
 * Handles the death of the postmaster: this process leaves at the next opportunity.
 * A server cannot be started again before all processes have left.
 */
static void
on_postmaster_death(SIGNAL_ARGS)
{
	int save_errno = errno;

	postmaster_possibly_dead = true; /* what the server's own handler does */
	InterruptPending = true;
	ProcDiePending = true;
	SetLatch(MyLatch);
	errno = save_errno;
}

#endif

/* Has the death of the postmaster end this process. Elsewhere than here it is noticed by waiting, and between jobs. */
static void
leave_with_postmaster(void)
{
#if defined(USE_POSTMASTER_DEATH_SIGNAL) && defined(BGJOB_FAST_DEATH)
	pqsignal(DEATH_SIGNAL, on_postmaster_death);
#endif
}

/*
 * bgjob_process_attach makes the slot that this process was started for its
 * own. False if it has been given up: the caller leaves.
 */
bool
bgjob_process_attach(Datum slot_index)
{
	StartData start;

	memcpy(&start, MyBgworkerEntry->bgw_extra, sizeof(start));
	if (bgjob_registry == NULL ||
		!bgjob_slot_attach(DatumGetInt32(slot_index), start.generation))
		return false;
	before_shmem_exit(detach, 0);
	bgjob_lane_groups_prepare();
	leave_with_postmaster();
	return true;
}

static emit_log_hook_type next_log_hook = NULL;
static bool connecting = false;

/* Keeps the message out of the log that this process was terminated while it connected. An emit_log_hook; libraries may add theirs. */
static void
end_quietly(ErrorData *error)
{
	if (connecting && error->elevel == FATAL && error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
		error->output_to_server = false;
	if (next_log_hook)
		next_log_hook(error);
}

/*
 * bgjob_process_connect connects to the slot's database, as the slot's role
 * (InvalidOid: the bootstrap superuser), and shows "name" in
 * pg_stat_activity. FATAL if that cannot be. A process that is terminated
 * meanwhile, as at a shutdown, ends without a message.
 */
void
bgjob_process_connect(const char *name)
{
	next_log_hook = emit_log_hook;
	emit_log_hook = end_quietly;
	connecting = true;
	BackgroundWorkerInitializeConnectionByOid(bgjob_my_slot->database, bgjob_my_slot->role, 0);
	CHECK_FOR_INTERRUPTS();
	connecting = false;
	SetConfigOption("application_name", name, PGC_USERSET, PGC_S_OVERRIDE);
	pgstat_report_appname(name);
	bgjob_my_slot->ready = true;
}

/*
 * bgjob_process_wait sleeps until this process's latch is set or the time is
 * up (-1: no limit), shown as "wait", then resets the latch and serves interrupts. Returns
 * true if the settings have been read again.
 */
bool
bgjob_process_wait(long timeout_ms, BgjobWait wait)
{
	int events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (timeout_ms >= 0 ? WL_TIMEOUT : 0);

	(void) WaitLatch(MyLatch, events, timeout_ms, bgjob_wait_event(wait));
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (!ConfigReloadPending)
		return false;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	return true;
}

/*
 * bgjob_process_left returns whether the process of a slot has left, or was
 * never started. "handle" is NULL if another process started it; then a process
 * that has not attached within ten seconds is given up.
 */
bool
bgjob_process_left(BgjobSlot *slot, BackgroundWorkerHandle *handle)
{
	BgjobStage stage = *(volatile BgjobStage *) &slot->stage;
	pid_t pid;

	if (stage != BGJOB_STAGE_STARTING)
		return stage == BGJOB_STAGE_LEFT;
	if (handle != NULL ? GetBackgroundWorkerPid(handle, &pid) == BGWH_STOPPED
					   : bgjob_steady_now() - slot->created_at > LONGEST_START * (int64) 1000)
		return bgjob_slot_give_up_start(slot);
	return false;
}

/*
 * bgjob_begin starts a transaction of bgjob's own. The memory context of the caller
 * stays the current one, so allocations outlive the transaction.
 */
void
bgjob_begin(void)
{
	MemoryContext caller = CurrentMemoryContext;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	MemoryContextSwitchTo(caller);
}

/* bgjob_commit ends what bgjob_begin started. */
void
bgjob_commit(void)
{
	MemoryContext caller = CurrentMemoryContext;

	CommitTransactionCommand();
	MemoryContextSwitchTo(caller);
}

/*
 * bgjob_try runs a step in transactions of bgjob's own. Returns false where it
 * would have had to wait for a lock: it is rolled back, to be tried again later. Other errors are passed on. Not in a transaction.
 */
bool
bgjob_try(void (*step)(void *arg), void *arg)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool done = true;

	PG_TRY();
	{
		step(arg);
	}
	PG_CATCH();
	{
		if (ShutdownRequestPending || (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE &&
									   geterrcode() != ERRCODE_T_R_DEADLOCK_DETECTED))
			PG_RE_THROW();
		HOLD_INTERRUPTS();
		disable_all_timeouts(false);
		QueryCancelPending = false;
		AbortOutOfAnyTransaction();
		FlushErrorState();
		RESUME_INTERRUPTS();
		done = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	return done;
}

/* bgjob_database_allowed returns whether bgjob.databases lets a database have workers. */
bool
bgjob_database_allowed(const char *name)
{
	char *copy = pstrdup(bgjob_databases);
	List *names = NIL;
	ListCell *cell;
	bool allowed = false;

	if (strcmp(copy, "*") == 0)
		return true;
	if (SplitIdentifierString(copy, ',', &names))
		foreach (cell, names)
			allowed =
				allowed || strcmp(lfirst(cell), "*") == 0 || strcmp(lfirst(cell), name) == 0;
	list_free(names);
	pfree(copy);
	return allowed;
}
