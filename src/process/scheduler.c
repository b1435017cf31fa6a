/*-------------------------------------------------------------------------
 *
 * scheduler.c
 *	  Serves one database: due jobs, workers, lost jobs, retention.
 *
 * One per database that has the extension, connected as the bootstrap superuser; it runs no code
 * but bgjob's own, and hooks of libraries: jobs with filters are left to workers (run/pending.c).
 * It performs no jobs: it moves due jobs into the queue, starts workers where there is work,
 * returns the jobs of lost workers and removes expired jobs, and sleeps until the next of these
 * tasks is due or another process wakes it.
 *
 * Each step of a round processes a bounded number of rows. If there are more, the next round
 * follows at once. So no role's jobs wait long for another role's.
 *
 * It never waits for a lock: tables are locked only if that can be done at once, rows that other
 * transactions have locked are skipped, and any other wait ends after LOCK_TIMEOUT. Then the step
 * is aborted and tried again after LOCK_PAUSE; the other steps go on.
 *
 * While other databases wait for a scheduler, one that has nothing to do rests: it gives up its
 * slot, and is started again when it is notified, when something is due, or after LONGEST_REST.
 * One whose turn (TURN) is over does the same, once its workers are done.
 *
 * An error ends the process; the launcher starts it again. At shutdown, and for a command such as
 * DROP DATABASE, it ends its workers and leaves.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "base/compat.h"
#include "base/database.h"
#include "base/forget.h"
#include "base/guc.h"
#include "base/process.h"
#include "base/registry.h"
#include "base/session.h"
#include "base/slot.h"
#include "base/wake.h"
#include "commands/dbcommands.h"
#include "common/hashfn.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "process/census.h"
#include "process/clockset.h"
#include "process/leftover.h"
#include "process/duejobs.h"
#include "process/expiry.h"
#include "process/gates.h"
#include "process/heldback.h"
#include "process/leases.h"
#include "process/mapping.h"
#include "process/pool.h"
#include "process/recovery.h"
#include "process/recurring.h"
#include "process/renewal.h"
#include "process/review.h"
#include "process/scheduler.h"
#include "process/statsflush.h"
#include "process/unannounced.h"
#include "process/workers.h"
#include "rules/clock.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "store/queueconf.h"
#include "store/relation.h"
#include "store/serverconf.h"
#include "store/sidetables.h"
#include "store/trust.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

/* While other databases wait, in seconds: a scheduler's turn, and its longest and shortest rest. */
#define TURN          10
#define LONGEST_REST  60
#define SHORTEST_REST 1

/* Maximal wait for a lock on anything but tables and rows, and the pause that follows, in microseconds. */
#define LOCK_TIMEOUT "100ms"
#define LOCK_PAUSE   250000

static BgjobDatabase *entry; /* this database's */
static volatile sig_atomic_t in_service = false;
static uint32 wants;               /* entry->wants at the last check for the extension */
static bool gone = false;          /* the extension has been dropped */
static bool resting = false;       /* gives up the slot for another database */
static TimestampTz began_at;       /* start of service by this process */
static TimestampTz serving_since;  /* start of service, not counting rests as interruptions */
static bool unwanted = false;      /* bgjob.databases no longer names this database */
static char database[NAMEDATALEN]; /* it cannot be renamed while this process is connected */

/* Returns whether this process must end its workers and leave. */
static bool
must_end(void)
{
	return ShutdownRequestPending || gone || unwanted || resting || !bgjob_enabled ||
		   entry->blocked_by != 0;
}

/* Returns whether this process must leave. */
static bool
must_leave(void)
{
	return must_end() || bgjob_renewal_is_due();
}

/* Returns whether the extension is here, and is not a copy of another's. */
static bool
has_extension(void)
{
	BgjobGenuine genuine;
	const char *why;
	bool here = false;

	wants = entry->wants;
	pg_memory_barrier();
	bgjob_begin();
	strlcpy(database, get_database_name(MyDatabaseId), sizeof(database));
	genuine = bgjob_trust_database(&why);
	if (genuine == BGJOB_GENUINE)
		here = bgjob_installed_here();
	if (genuine == BGJOB_NOT_GENUINE)
		ereport(LOG, (errmsg("extension \"bgjob\" of database \"%s\" is not served", database),
					  errdetail("It differs from what this library expects: %s", why),
					  errhint("Run ALTER EXTENSION bgjob UPDATE, or revert the manual changes "
							  "and run SELECT bgjob_adopt().")));
	if (genuine == BGJOB_GENUINE && !here)
		ereport(LOG, (errmsg("database \"%s\" is a copy of another one with jobs of bgjob",
							 database),
					  errdetail("The jobs do not run here."),
					  errhint("To run them, call bgjob_adopt() in that database.")));
	bgjob_commit();
	return here;
}

/* Adds the database to the context of a message; a callback. */
static void
add_context(void *arg)
{
	if (database[0] != '\0')
		errcontext("bgjob scheduler, database \"%s\"", database);
}

/* Runs a step by bgjob_try, with the database in the context of its messages. */
static bool
try_here(void (*step)(void *arg), void *arg)
{
	ErrorContextCallback context = {.previous = error_context_stack, .callback = add_context};
	bool done;

	error_context_stack = &context;
	done = bgjob_try(step, arg);
	error_context_stack = context.previous;
	return done;
}

static void
find_extension(void *arg)
{
	gone = !has_extension();
	if (!gone)
		bgjob_renewal_begin();
}

/* ---- the steps of a round: each returns when it is to be done again by itself; DT_NOEND: when notified ---- */

/* Has the queue and the schedule scanned again. */
static void
rescan(void)
{
	bgjob_begin();
	bgjob_queueconf_load();
	bgjob_serverconf_load();
	bgjob_commit();
	bgjob_unannounced_rescan();
	bgjob_duejobs_rescan();
	bgjob_recurring_rescan();
	bgjob_gates_rescan();
}

/* Notices that were received and have not been served yet. */
static uint32 notices = 0;

/* Serves the notices of other processes. */
static TimestampTz
serve_notices(TimestampTz now)
{
	notices |= pg_atomic_exchange_u32(&entry->notices, 0);
	if (notices & BGJOB_NOTICE_EXTENSION)
		gone = !has_extension();
	if (gone)
		return now;
	if (notices & BGJOB_NOTICE_RESCAN)
		rescan();
	if (notices & BGJOB_NOTICE_LEASES)
		bgjob_leases_check();
	if (notices & (BGJOB_NOTICE_GATES | BGJOB_NOTICE_QUEUES))
		bgjob_gates_rescan();
	if (notices & BGJOB_NOTICE_RECURRING)
		bgjob_recurring_rescan();
	if (notices & BGJOB_NOTICE_ENDED)
		bgjob_recurring_rescan_queued();
	if (notices & BGJOB_NOTICE_QUEUES)
		bgjob_expiry_anew();
	if (notices & BGJOB_NOTICE_FUNCTIONS)
		bgjob_expiry_advance();
	if (notices & BGJOB_NOTICE_RESTORED) /* more of a restore may follow */
		bgjob_heldback_count_anew(now + USECS_PER_SEC);
	notices = 0;
	return DT_NOEND;
}

/* Recovers jobs that lost their worker while others were changing them. */
static TimestampTz
recover_put_off(TimestampTz now)
{
	return bgjob_recover_put_off() ? DT_NOEND : now + LOCK_PAUSE;
}

typedef struct Step
{
	TimestampTz (*run)(TimestampTz now);
	TimestampTz not_before; /* a lock was not available */
	TimestampTz now;
	TimestampTz wake;
} Step;

static Step steps[] = {{serve_notices},
					   {bgjob_renewal_serve},
					   {bgjob_workers_reap},
					   {recover_put_off},
					   {bgjob_duejobs_serve},
					   {bgjob_leases_serve},
					   {bgjob_review_serve},
					   {bgjob_gates_serve},
					   {bgjob_clockset_serve},
					   {bgjob_recurring_serve},
					   {bgjob_unannounced_discover},
					   {bgjob_unannounced_sweep},
					   {bgjob_unannounced_scan_unknown},
					   {bgjob_census_serve},
					   {bgjob_pool_balance},
					   {bgjob_expiry_serve},
					   {bgjob_expiry_serve_composed},
					   {bgjob_expiry_serve_unused},
					   {bgjob_heldback_serve},
					   {bgjob_leftover_serve},
					   {bgjob_mapping_serve},
					   {bgjob_statsflush_serve},
					   {bgjob_unannounced_poll}};

static void
run_step(void *arg)
{
	Step *step = arg;

	step->wake = step->run(step->now);
}

/* Forgets the times by a clock that has been set. */
static void
forget_times(TimestampTz now)
{
	for (int i = 0; i < lengthof(steps); i++)
		steps[i].not_before = 0;
	bgjob_duejobs_clock_set(now);
	bgjob_unannounced_clock_set(now);
	bgjob_review_clock_set();
	bgjob_statsflush_clock_set();
	bgjob_gates_clock_set();
	began_at = now;
	bgjob_expiry_anew();
	bgjob_renewal_anew();
}

/* Runs a step, unless it has just failed to get a lock. Returns when to run it again. */
static TimestampTz
try_step(Step *step, TimestampTz now)
{
	if (step->not_before > now)
		return step->not_before;
	step->now = now;
	step->not_before = 0;
	if (try_here(run_step, step))
		return step->wake;
	step->not_before = now + LOCK_PAUSE;
	return step->not_before;
}

/* Sleeps until something has to be done, or this process is notified. */
static void
sleep_until(TimestampTz wake)
{
	TimestampTz now;
	int64 rest;

	pg_atomic_write_u64(&entry->next_due, (uint64) wake);
	pg_memory_barrier();
	if ((TimestampTz) pg_atomic_read_u64(&entry->low_due) < wake)
		return; /* announced before the other process could read next_due */
	if (pg_atomic_read_u32(&entry->notices) != 0)
		return; /* called in the middle of the round */

	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	now = bgjob_now();
	wake = Max(wake, now); /* it may be the beginning of time */
	rest = Min((wake - now + 999) / 1000, BGJOB_SLOW_POLL * 1000);
	if (bgjob_process_wait((long) rest, BGJOB_WAIT_SCHEDULER_MAIN))
	{
		bgjob_expiry_anew();
		bgjob_renewal_anew();
		pg_atomic_fetch_or_u32(&entry->notices, BGJOB_NOTICE_RESCAN); /* bgjob.queues */
		unwanted = !bgjob_database_allowed(database);
		bgjob_session_wait_for_no_standby();
	}
}

/* ---- the log ---- */

/* Logs that the database is served; once, although schedulers come and go. */
static void
log_begin(void)
{
	ereport(
		entry->announced ? DEBUG1 : LOG,
		(errmsg("bgjob %s serves database \"%s\"", BGJOB_VERSION, database),
		 errdetail("Up to %d workers take the queues \"%s\".", bgjob_workers, bgjob_queues)));
	entry->announced = true;
}

/* Logs that the database is no longer served, unless that is temporary. */
static void
log_end(void)
{
	bool pauses = resting || entry->blocked_by != 0 || !must_end();

	ereport(pauses || !entry->announced ? DEBUG1 : LOG,
			(errmsg("bgjob no longer serves database \"%s\"", database)));
	entry->announced = entry->announced && pauses;
}

/* Prepares the steps of the round, before the first worker starts. */
static void
begin_service(void *arg)
{
	bgjob_leases_begin();
	bgjob_unannounced_begin();
	bgjob_heldback_count_anew(DT_NOBEGIN);
	bgjob_expiry_begin();
	bgjob_duejobs_begin();
	bgjob_review_begin();
	bgjob_gates_begin();
	bgjob_statsflush_begin();
	began_at = bgjob_now();
	if (serving_since == 0)
		serving_since = entry->serving_since != 0 ? entry->serving_since : began_at;
	entry->serving_since =
		0; /* occurrences while no scheduler serves are missed, except during a rest */
	bgjob_recurring_begin(serving_since);
	bgjob_clockset_begin(entry);
	rescan();
	entry->ready = true;
	bgjob_notify_launcher(false);
}

/* Runs a step until it succeeds; false if this process must leave before. */
static bool
do_when_possible(void (*step)(void *arg))
{
	while (!must_leave())
	{
		if (try_here(step, NULL))
			return true;
		(void) bgjob_process_wait(LOCK_PAUSE / 1000, BGJOB_WAIT_SCHEDULER_MAIN);
	}
	return false;
}

/* Ends all workers, unless another scheduler follows at once. */
static void
end_service(void)
{
	bool at_once = entry->blocked_by != 0 || gone;

	bgjob_expiry_end();
	bgjob_census_end();
	if (!must_end())
	{
		bgjob_renewal_leave(entry, serving_since, database);
		return;
	}
	entry->workers = -1;
	bgjob_workers_drain(database, at_once ? 0 : bgjob_shutdown_timeout,
						ShutdownRequestPending ? BGJOB_BY_SHUTDOWN
						: at_once              ? BGJOB_BY_COMMAND
											   : BGJOB_BY_SETTINGS);
	if (!gone)
		(void) try_here(bgjob_gates_end, NULL);
	if (!gone)
		(void) try_here(bgjob_statsflush_end, NULL);
	if (gone || unwanted)
		bgjob_forget(MyDatabaseId);
}

/*
 * Gives up this process's slot until "until", unless a notice arrives meanwhile. Who
 * notifies later finds the database resting, and has the launcher start a scheduler.
 */
static void
rest(TimestampTz until)
{
	LWLockAcquire(&bgjob_registry->lock, LW_EXCLUSIVE);
	entry->status = BGJOB_DATABASE_RESTING;
	entry->serving_since = serving_since;
	entry->rest_until = bgjob_steady_now() + Max(0, until - bgjob_now());
	LWLockRelease(&bgjob_registry->lock);
	pg_atomic_write_u64(&entry->next_due, (uint64) until);
	pg_memory_barrier();
	resting = pg_atomic_read_u32(&entry->notices) == 0 &&
			  (TimestampTz) pg_atomic_read_u64(&entry->low_due) >= until;
	if (resting)
		return;
	entry->status = BGJOB_DATABASE_STARTED;
	entry->serving_since = 0;
}

/* Rests if other databases wait and there is nothing to do before "wake", or the turn is over. */
static void
make_way(TimestampTz now, TimestampTz wake)
{
	bool others_wait = pg_atomic_read_u32(&bgjob_registry->schedulers_wanted) > 0;
	bool turn_is_over = others_wait && now - began_at > TURN * USECS_PER_SEC;
	bool has_work;
	bool empty;

	bgjob_pool_yield(turn_is_over);
	if (!others_wait)
		return;
	empty = bgjob_pool_is_empty(&has_work) && !bgjob_census_is_running();
	if (turn_is_over && empty)
		rest(now);
	else if (empty && !has_work && wake > now + SHORTEST_REST * USECS_PER_SEC)
		rest(Min(wake, now + LONGEST_REST * USECS_PER_SEC));
}

/* Runs all steps once, and sleeps until the next one is due. */
static void
do_round(void)
{
	TimestampTz now = bgjob_now();
	TimestampTz wake = DT_NOEND;
	TimestampTz forced;

	if (bgjob_clockset_watch(now))
		forget_times(now);
	bgjob_workers_check_terminated();
	bgjob_workers_take_back();
	for (int i = 0; i < lengthof(steps) && !must_leave(); i++)
	{
		TimestampTz again = try_step(&steps[i], now); /* Min() would run it twice */

		wake = Min(wake, again);
		CHECK_FOR_INTERRUPTS();
	}
	forced = bgjob_workers_end_unresponsive(database, GetCurrentTimestamp());
	wake = Min(wake, forced);
	make_way(now, wake);
	if (!must_leave())
		sleep_until(wake);
}

/* Forgets an error that the request to leave has caused. */
static void
recover(void)
{
	HOLD_INTERRUPTS();
	disable_all_timeouts(false);
	AbortOutOfAnyTransaction();
	FlushErrorState();
	RESUME_INTERRUPTS();
}

/*
 * Ends this process because of an error. The launcher starts another one, later and later
 * if each fails at once. A repeated failure is not logged again.
 */
static void
leave_failed(MemoryContext context)
{
	ErrorData *error;
	uint32 failure;
	bool again;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	failure = hash_bytes((const unsigned char *) error->message, strlen(error->message)) | 1;
	again = entry->failure == failure &&
			bgjob_steady_now() - bgjob_my_slot->created_at < BGJOB_FAILURE_MEMORY;
	entry->failure = failure;
	entry->failed = true;
	if (!again)
		PG_RE_THROW();
	recover();
	if (entry->failures == 1)
		ereport(LOG,
				(errmsg("a scheduler of bgjob has failed again: %s", error->message),
				 errdetail("It is restarted at growing intervals. Repeated failures are not "
						   "logged.")));
	proc_exit(0);
}

static void
serve(void)
{
	MemoryContext loop =
		AllocSetContextCreate(TopMemoryContext, "bgjob scheduler", ALLOCSET_DEFAULT_SIZES);

	MemoryContextSwitchTo(loop);
	PG_TRY();
	{
		in_service = true;
		if (do_when_possible(begin_service))
			log_begin();
		while (!must_leave())
		{
			do_round();
			MemoryContextReset(loop);
		}
	}
	PG_CATCH();
	{
		if (!ShutdownRequestPending)
			leave_failed(loop);
		recover();
	}
	PG_END_TRY();
	in_service = false;
	QueryCancelPending = false;
	MemoryContextSwitchTo(loop);
	end_service();
	log_end();
}

/* Handles SIGTERM: this process leaves in order, but does not finish a wait of its round, such as for a lock. */
static void
on_terminate(SIGNAL_ARGS)
{
	int save_errno = errno;

	ShutdownRequestPending = true;
	if (in_service)
	{
		InterruptPending = true;
		QueryCancelPending = true;
	}
	SetLatch(MyLatch);
	errno = save_errno;
}

/* bgjob_scheduler_main is the main function of a scheduler; arg is the index of its slot. */
void
bgjob_scheduler_main(Datum arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	if (!bgjob_process_attach(arg))
		proc_exit(0);
	bgjob_process_connect(BGJOB_SCHEDULER_TYPE);
	pqsignal(SIGTERM, on_terminate);
	bgjob_session_pin_all();

	entry = bgjob_database_find(MyDatabaseId);
	if (entry == NULL)
		proc_exit(0);
	SetConfigOption("lock_timeout", LOCK_TIMEOUT, PGC_SUSET, PGC_S_OVERRIDE);
	bgjob_session_wait_for_no_standby();
	bgjob_rel_nowait = true;
	bgjob_pool_init();
	if (!do_when_possible(find_extension))
		proc_exit(0);
	if (gone)
		end_service(); /* what a scheduler that failed has left behind */
	else
		serve();
	if (gone || unwanted)
		(void) bgjob_database_leave(entry, wants);
	proc_exit(0);
}
