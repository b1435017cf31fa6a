/*-------------------------------------------------------------------------
 *
 * scheduler.c
 *	  Looks after one database: due jobs, workers, lost jobs, retention.
 *
 * One per database that has the extension, connected as the bootstrap
 * superuser; it runs no code but bgjob's own, and hooks of libraries: what has
 * filters is left to workers (run/pending.c). It performs no jobs: it moves
 * what is due into the queue, starts workers where there is work, returns the
 * jobs of workers that were lost and removes what has expired, and sleeps
 * until the next of these has to be done or somebody wakes it.
 *
 * Now and then (SLOW_POLL) it looks for what nobody announced: rows that came
 * by COMMIT PREPARED after a restart, by hand, by replication, or that an
 * outsider had locked. It does so only if some transaction has written since
 * the last time, so an idle server has no transactions at all.
 *
 * Each step of a round does a bounded amount of work (so many rows), whatever
 * there is; if there is more, the next round follows at once. So nothing that
 * one role has put in keeps another's jobs waiting for long.
 *
 * It never waits for anybody's lock: tables are locked only if that can be done
 * at once, rows that somebody has are passed over, and whatever else would have
 * to wait ends after LOCK_TIMEOUT. The step is broken off then and tried again
 * after LOCK_PAUSE; the others go on.
 *
 * Where other databases wait for a scheduler, one that has nothing to do rests:
 * it gives its slot up, and is started again when somebody calls, when
 * something is due, or after LONGEST_REST. One that has had its turn (TURN) does
 * so too, when its workers have ended their jobs.
 *
 * An error ends the process; the launcher starts it again, and the workers go
 * on meanwhile. At shutdown, and when its database is needed by a command
 * such as DROP DATABASE, it sees all its workers off before it leaves.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "base/compat.h"
#include "base/database.h"
#include "base/guc.h"
#include "base/announce.h"
#include "base/lanes.h"
#include "base/prepared.h"
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
#include "portability/instr_time.h"
#include "postmaster/interrupt.h"
#include "process/clockset.h"
#include "process/leftover.h"
#include "process/pool.h"
#include "process/workers.h"
#include "process/recovery.h"
#include "process/recurring.h"
#include "process/scheduler.h"
#include "rules/clock.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "store/due.h"
#include "store/queue.h"
#include "store/sweep.h"
#include "store/queueconf.h"
#include "store/recurring.h"
#include "store/relation.h"
#include "store/restore.h"
#include "store/retention.h"
#include "store/schedule.h"
#include "store/sidetables.h"
#include "store/trust.h"
#include "store/unused.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

/* Where others wait, in seconds: a scheduler's turn, the longest rest, and what is too short for one. */
#define TURN          10
#define LONGEST_REST  60
#define SHORTEST_REST 1

/* Seconds between two looks for what nobody announced. */
#define SLOW_POLL 10

/* Rows per round when moving due jobs, and when removing what has expired or is unused. */
#define DUE_BATCH   1000
#define SWEEP_BATCH 2000

/* What is not tables and rows is waited for so long; then so long a pause follows, in microseconds. */
#define LOCK_TIMEOUT "100ms"
#define LOCK_PAUSE   250000

/* Seconds between two discoveries, where a role had no room for its lanes. */
#define SEARCH_PAUSE 1

/* Microseconds between two steps along the lanes, which may be very many. */
#define DISCOVER_PAUSE 10000

/* The pause after a step of sweeping the queue, in times of what the step took. */
#define SWEEP_PAUSE 19

static BgjobDatabase *entry;                 /* this database's */
static TimestampTz blocked_from = DT_NOEND;  /* somebody has had some of those from here on */
static TimestampTz blocked_until = DT_NOEND; /* and they are looked at again then */
static TimestampTz next_due;                 /* of what is in the schedule */
static TimestampTz next_poll;
static uint64 polled_at; /* completed transactions, at the last poll */
static uint32 prepared;  /* the prepared transactions with jobs, likewise */
static BgjobSweep sweep;
static TimestampTz next_sweep;
static uint64 swept_at; /* completed transactions, at the last round's end */
static TimestampTz next_search;
static TimestampTz sweep_at = DT_NOEND; /* the next step; DT_NOEND: no sweep is under way */
static bool sweep_wanted = false;       /* another one is to begin */
static bool unsettled; /* jobs of a crash, or claims, that somebody was changing */
static volatile sig_atomic_t in_service = false;
static uint32 wants;              /* entry->wants when the extension was last looked for */
static bool gone = false;         /* the extension has been dropped */
static bool resting = false;      /* another database is to have the slot */
static TimestampTz began_at;      /* this process, to serve */
static TimestampTz serving_since; /* the first of those that only had a rest between them */
static bool unwanted = false;     /* bgjob.databases no longer names this database */
static char
	database[NAMEDATALEN]; /* its name; nobody can rename it while this process is there */

/* Whether this process is to see its workers off and leave. */
static bool
must_leave(void)
{
	return ShutdownRequestPending || gone || unwanted || resting || !bgjob_enabled ||
		   entry->blocked_by != 0;
}

/* Whether the extension is in this database, and is not a copy of another's. */
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
					  errdetail("Not as this library knows it is %s", why),
					  errhint("Run ALTER EXTENSION bgjob UPDATE, or undo what was changed "
							  "by hand and run SELECT bgjob_adopt().")));
	if (genuine == BGJOB_GENUINE && !here)
		ereport(LOG, (errmsg("database \"%s\" is a copy of another one with jobs of bgjob",
							 database),
					  errdetail("The jobs are not performed here."),
					  errhint("To have them performed, run SELECT bgjob_adopt() in it.")));
	bgjob_commit();
	return here;
}

/* Adds to the context of a message whose scheduler it is of; a callback. */
static void
add_context(void *arg)
{
	if (database[0] != '\0')
		errcontext("bgjob scheduler, database \"%s\"", database);
}

/* bgjob_try, where messages say which database they are about. */
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
look_for_extension(void *arg)
{
	gone = !has_extension();
}

/*
 * ---- the steps of a round ----
 *
 * Each returns when it is to be done again by itself: not later than "now" if
 * there is more to do at once, DT_NOEND when told.
 */

/* Has everything looked at that is in the queue and in the schedule. */
static void
rescan(void)
{
	bgjob_begin();
	bgjob_queueconf_load();
	bgjob_commit();
	sweep_wanted = true;
	bgjob_discover_anew();
	bgjob_schedule_look_anew();
	next_due = DT_NOBEGIN;
	bgjob_recurring_look_anew();
	polled_at = bgjob_completed_transactions();
}

static void sweep_anew(void);
static void count_held_back_anew(TimestampTz at);

/* What others have told, and what of it could not be seen to yet. */
static uint32 told = 0;

/* Serves what others have told. */
static TimestampTz
serve_notices(TimestampTz now)
{
	told |= pg_atomic_exchange_u32(&entry->notices, 0);
	if (told & BGJOB_NOTICE_EXTENSION)
		gone = !has_extension();
	if (gone)
		return now;
	if (told & BGJOB_NOTICE_RESCAN)
		rescan();
	if (told & BGJOB_NOTICE_RECURRING)
		bgjob_recurring_look_anew();
	if (told & BGJOB_NOTICE_ENDED)
		bgjob_recurring_look_at_queued();
	if (told & BGJOB_NOTICE_QUEUES)
		sweep_anew();
	if (told & BGJOB_NOTICE_FUNCTIONS)
	{
		bgjob_retention_advance(&sweep);
		next_sweep = 0;
		swept_at = 0;
	}
	if (told & BGJOB_NOTICE_RESTORED) /* more of a restore may follow */
		count_held_back_anew(now + USECS_PER_SEC);
	told = 0;
	return DT_NOEND;
}

/* Looks after jobs that lost their worker while somebody was changing them. */
static TimestampTz
recover_put_off(TimestampTz now)
{
	return bgjob_recover_put_off() ? DT_NOEND : now + LOCK_PAUSE;
}

/* Discovers lanes that nobody has announced: some of them, then a pause. */
static TimestampTz
discover(TimestampTz now)
{
	bool all;

	if (bgjob_discover_is_done())
	{
		if (!bgjob_discover_has_missed() || now < next_search)
			return bgjob_discover_has_missed() ? next_search : DT_NOEND;
		bgjob_discover_anew();
	}
	bgjob_begin();
	all = bgjob_discover();
	bgjob_commit();
	if (!all)
		return now + DISCOVER_PAUSE;
	next_search = now + SEARCH_PAUSE * USECS_PER_SEC;
	return bgjob_discover_has_missed() ? next_search : DT_NOEND;
}

/*
 * Sweeps the queue for what nobody has announced: a step, then a pause that is
 * longer the longer the step took. With a snapshot held there are millions of
 * dead rows to go over; that must not take a processor. One that is under way
 * comes to its end before the next begins.
 */
static TimestampTz
sweep_lanes(TimestampTz now)
{
	instr_time began;
	instr_time took;
	bool more;

	if (!bgjob_discover_is_done() || (sweep_at == DT_NOEND && !sweep_wanted))
		return DT_NOEND;
	if (sweep_at != DT_NOEND && sweep_at > now)
		return sweep_at;
	if (sweep_at == DT_NOEND)
	{
		sweep_wanted = false;
		bgjob_lanes_sweep_anew(MyDatabaseId);
	}
	INSTR_TIME_SET_CURRENT(began);
	bgjob_begin();
	more = bgjob_sweep();
	bgjob_commit();
	INSTR_TIME_SET_CURRENT(took);
	INSTR_TIME_SUBTRACT(took, began);
	sweep_at = DT_NOEND;
	if (more)
		sweep_at = now + SWEEP_PAUSE * (int64) INSTR_TIME_GET_MICROSEC(took);
	return sweep_wanted && !more ? now : sweep_at;
}

/*
 * Looks into the queue for roles that have no worker, so that none is started
 * just to find that there is nothing.
 */
static TimestampTz
look_for_the_absent(TimestampTz now)
{
	BgjobLaneKey any;
	bool all;

	if (bgjob_lanes_unknown(MyDatabaseId, &any, 1) == 0)
		return DT_NOEND;
	bgjob_begin();
	all = bgjob_look_for_absent(MyDatabaseId);
	bgjob_commit();
	return all ? DT_NOEND : now;
}

/* Moves some of what is due into the queue, of each role as much. */
static TimestampTz
enqueue_due(TimestampTz now)
{
	TimestampTz low = (TimestampTz) pg_atomic_exchange_u64(&entry->low_due, (uint64) DT_NOEND);

	if (blocked_until <= now)
	{
		low = Min(low, blocked_from);
		blocked_from = blocked_until = DT_NOEND;
	}
	if (low != DT_NOEND)
		bgjob_schedule_look_from(low);
	next_due = Min(next_due, low);
	if (next_due <= now)
	{
		bgjob_begin();
		pgstat_report_activity(STATE_RUNNING, "enqueuing due jobs");
		next_due = bgjob_due_enqueue(now, DUE_BATCH, &blocked_from);
		bgjob_commit();
	}
	if (blocked_from != DT_NOEND && blocked_until == DT_NOEND && next_due > now)
		blocked_until =
			now + USECS_PER_SEC; /* somebody else has some of them; they may come back */
	return Min(next_due, blocked_until);
}

/* Removes what has expired, a batch at a time; not while nobody writes and nothing is known to expire. */
static TimestampTz
remove_expired(TimestampTz now)
{
	uint64 completed = bgjob_completed_transactions();

	if (now < next_sweep)
		return next_sweep;
	if (sweep.nranges == 0 && swept_at == completed)
	{
		next_sweep = now + SLOW_POLL * USECS_PER_SEC;
		return next_sweep;
	}
	bgjob_begin();
	pgstat_report_activity(STATE_RUNNING, "removing expired jobs");
	next_sweep = bgjob_retention_sweep(&sweep, now, SWEEP_BATCH);
	bgjob_commit();
	if (next_sweep > now)
		swept_at = completed;
	return next_sweep;
}

/* Removes settings that no job uses any more, some rows at a time. */
static TimestampTz
remove_unused(TimestampTz now)
{
	TimestampTz wake;

	if (!bgjob_unused_is_due(entry, now, &wake))
		return wake;
	bgjob_begin();
	pgstat_report_activity(STATE_RUNNING, "removing unused settings");
	wake = bgjob_unused_step(entry, now, SWEEP_BATCH);
	bgjob_commit();
	return wake;
}

/* What expires when may have changed. */
static void
sweep_anew(void)
{
	bgjob_retention_restart(&sweep);
	next_sweep = 0;
	swept_at = 0;
}

/* What a restore has brought, as far as it has been counted. */
static struct
{
	TimestampTz at; /* when to go on; DT_NOEND: all is counted */
	int64 after;
	int64 jobs;
	int64 recurring;
} held_back;

static void
count_held_back_anew(TimestampTz at)
{
	held_back.at = at;
	held_back.after = PG_INT64_MIN;
	held_back.jobs = 0;
}

/* Counts some more of what is held back; false if that was all. */
static bool
count_held_back(void)
{
	bool all = !bgjob_restored_here();

	if (!all)
		held_back.jobs += bgjob_restore_count_held_back(&held_back.after, DUE_BATCH, &all);
	if (all)
		held_back.recurring = bgjob_recurring_count_restored();
	return !all;
}

/* Tells the log once what is held back until bgjob_adopt(). */
static TimestampTz
tell_of_held_back(TimestampTz now)
{
	bool more;

	if (now < held_back.at)
		return held_back.at;
	bgjob_begin();
	more = count_held_back();
	bgjob_commit();
	held_back.at = more ? now + DISCOVER_PAUSE : DT_NOEND;
	if (more || entry->held_back == held_back.jobs + held_back.recurring)
		return held_back.at;
	entry->held_back = held_back.jobs + held_back.recurring;
	if (entry->held_back == 0)
		return held_back.at;
	bgjob_begin();
	ereport(LOG, (errmsg("database \"%s\" holds back " INT64_FORMAT " jobs and " INT64_FORMAT
						 " recurring jobs of bgjob",
						 get_database_name(MyDatabaseId), held_back.jobs, held_back.recurring),
				  errdetail(
					  "They come from a dump or from a publisher, and are not performed here."),
				  errhint("To have them performed, run SELECT bgjob_adopt() in it.")));
	bgjob_commit();
	return held_back.at;
}

/* A prepared transaction with jobs may have ended without a command, and without being announced. */
static void
look_at_prepared(void)
{
	uint32 before = prepared;

	prepared = bgjob_prepared_all();
	if (prepared != before)
		bgjob_announce_unknown(true);
}

/* Keeps the table of removed jobs small. */
static void
add_up_totals(void)
{
	bgjob_begin();
	bgjob_total_add_up();
	bgjob_commit();
}

/* Looks for what nobody announced, if anybody has written since the last time. */
static TimestampTz
poll_slowly(TimestampTz now)
{
	TimestampTz wake;

	if (now < next_poll)
		return next_poll;
	bgjob_lane_groups_tidy(MyDatabaseId);
	wake = next_poll = now + SLOW_POLL * USECS_PER_SEC;
	if (unsettled)
	{
		bool settled = bgjob_recover_wrecks();

		unsettled = !bgjob_recover_claims() || !settled;
	}
	if (bgjob_completed_transactions() != polled_at)
	{
		look_at_prepared();
		add_up_totals();
		rescan();
		wake = now; /* the other steps are to see to it at once */
	}
	return wake;
}

typedef struct Step
{
	TimestampTz (*run)(TimestampTz now);
	TimestampTz not_before; /* it has met a lock */
	TimestampTz now;
	TimestampTz wake;
} Step;

static Step steps[] = {{serve_notices},      {bgjob_workers_reap},   {recover_put_off},
					   {enqueue_due},        {bgjob_clockset_serve}, {bgjob_recurring_serve},
					   {discover},           {sweep_lanes},          {look_for_the_absent},
					   {bgjob_pool_balance}, {remove_expired},       {remove_unused},
					   {tell_of_held_back},  {bgjob_leftover_serve}, {poll_slowly}};

static void
run_step(void *arg)
{
	Step *step = arg;

	step->wake = step->run(step->now);
}

/* The clock has been set: what was to be done at a time by the old one is looked at now. */
static void
forget_times(TimestampTz now)
{
	for (int i = 0; i < lengthof(steps); i++)
		steps[i].not_before = 0;
	if (blocked_from != DT_NOEND)
		blocked_until = now;
	next_poll = next_search = 0;
	if (sweep_at != DT_NOEND)
		sweep_at = now;
	began_at = now;
	sweep_anew();
}

/* Does a step, unless it has just met a lock. Returns when to do it again. */
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

/*
 * What this process writes waits for the disk, as the administrator wants it,
 * but for no standby, which may be gone: others wait for this process. Nothing
 * is lost by that. WAL is replayed in order, so where a job's end has reached
 * the standby, what was written before it has, too.
 */
static void
wait_for_no_standby(void)
{
	SetConfigOption("synchronous_commit", NULL, PGC_SUSET,
					PGC_S_SESSION); /* may have been changed */
	if (synchronous_commit > SYNCHRONOUS_COMMIT_LOCAL_FLUSH)
		SetConfigOption("synchronous_commit", "local", PGC_SUSET, PGC_S_SESSION);
}

/* Sleeps until something has to be done, or somebody calls. */
static void
sleep_until(TimestampTz wake)
{
	TimestampTz now;
	int64 rest;

	pg_atomic_write_u64(&entry->next_due, (uint64) wake);
	pg_memory_barrier();
	if ((TimestampTz) pg_atomic_read_u64(&entry->low_due) < wake)
		return; /* announced just before it could see when this process wakes */
	if (pg_atomic_read_u32(&entry->notices) != 0)
		return; /* called in the middle of the round */

	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	now = bgjob_now();
	wake = Max(wake, now); /* it may be the beginning of time */
	rest = Min((wake - now + 999) / 1000, SLOW_POLL * 1000);
	if (bgjob_process_wait((long) rest, BGJOB_WAIT_SCHEDULER_MAIN))
	{
		sweep_anew();
		pg_atomic_fetch_or_u32(&entry->notices, BGJOB_NOTICE_RESCAN); /* bgjob.queues */
		unwanted = !bgjob_database_allowed(database);
		wait_for_no_standby();
	}
}

/* Tells apart a shutdown, which this process is told of too, from a worker terminated by hand. */
static void
look_after_terminated(void)
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

/* ---- the log ---- */

/* Says that the database is served; once, although schedulers come and go. */
static void
log_begin(void)
{
	ereport(
		entry->announced ? DEBUG1 : LOG,
		(errmsg("bgjob %s serves database \"%s\"", BGJOB_VERSION, database),
		 errdetail("Up to %d workers take the queues \"%s\".", bgjob_workers, bgjob_queues)));
	entry->announced = true;
}

/* Says that it no longer is; not where that is for a while. */
static void
log_end(void)
{
	bool pauses = resting || entry->blocked_by != 0;

	ereport(pauses || !entry->announced ? DEBUG1 : LOG,
			(errmsg("bgjob no longer serves database \"%s\"", database)));
	entry->announced = entry->announced && pauses;
}

/* What has to be done before the first worker starts. */
static void
begin_service(void *arg)
{
	bool settled = bgjob_recover_wrecks();

	unsettled = !bgjob_recover_claims() || !settled;
	bgjob_unused_reset(entry);
	count_held_back_anew(DT_NOBEGIN);
	sweep_anew();
	began_at = bgjob_now();
	if (serving_since == 0)
		serving_since = entry->serving_since != 0 ? entry->serving_since : began_at;
	entry->serving_since = 0; /* but for a rest, what is due while nobody serves is missed */
	bgjob_recurring_begin(serving_since);
	bgjob_clockset_begin(entry);
	next_poll = bgjob_now() + SLOW_POLL * USECS_PER_SEC;
	pg_atomic_write_u64(&entry->low_due, (uint64) DT_NOEND);
	rescan();
	entry->ready = true;
	bgjob_notify_launcher(false);
}

/* Does something that others may have locks against, as soon as that can be; false if it is not to be any more. */
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

/* Sees the workers off. */
static void
end_service(void)
{
	bool at_once = entry->blocked_by != 0 || gone;

	bgjob_unused_reset(entry);
	bgjob_workers_drain(database, at_once ? 0 : bgjob_shutdown_timeout,
						ShutdownRequestPending ? BGJOB_BY_SHUTDOWN
						: at_once              ? BGJOB_BY_COMMAND
											   : BGJOB_BY_SETTINGS);
	if (gone || unwanted)
	{
		bgjob_lane_groups_forget(MyDatabaseId, InvalidOid);
		bgjob_queues_forget(MyDatabaseId);
	}
}

/*
 * Gives this process's slot up until "until", unless somebody calls at this
 * very moment: who calls later finds the database resting, and has the launcher
 * start a scheduler.
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

/* Rests if others wait and there is nothing to do before "wake", or the turn is over. */
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
	empty = bgjob_pool_is_empty(&has_work);
	if (turn_is_over && empty)
		rest(now);
	else if (empty && !has_work && wake > now + SHORTEST_REST * USECS_PER_SEC)
		rest(Min(wake, now + LONGEST_REST * USECS_PER_SEC));
}

/* Does what has to be done, and sleeps until there is more. */
static void
do_round(void)
{
	TimestampTz now = bgjob_now();
	TimestampTz wake = DT_NOEND;
	TimestampTz forced;

	if (bgjob_clockset_watch(now))
		forget_times(now);
	look_after_terminated();
	bgjob_workers_take_back();
	for (int i = 0; i < lengthof(steps) && !must_leave(); i++)
	{
		TimestampTz again = try_step(&steps[i], now); /* Min() would do it twice */

		wake = Min(wake, again);
		CHECK_FOR_INTERRUPTS();
	}
	forced = bgjob_workers_end_unresponsive(GetCurrentTimestamp());
	wake = Min(wake, forced);
	make_way(now, wake);
	if (!must_leave())
		sleep_until(wake);
}

/* Forgets an error that came of being told to leave. */
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
 * Ends this process because of an error. The launcher starts another one, later
 * and later if each fails at once (see there); one that fails of the same as the
 * one before does not tell the log again.
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
		ereport(LOG, (errmsg("a scheduler of bgjob has failed again: %s", error->message),
					  errdetail("It is started again, later and later; the same failure is not "
								"logged any more.")));
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

/* SIGTERM: leave in order, but do not wait for what the round is at, such as a lock. */
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

/* bgjob_scheduler_main is a scheduler; arg is the index of its slot. */
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
	wait_for_no_standby();
	bgjob_rel_nowait = true;
	bgjob_pool_init();
	if (!do_when_possible(look_for_extension))
		proc_exit(0);
	if (gone)
		end_service(); /* what a scheduler that failed has left behind */
	else
		serve();
	if (gone || unwanted)
		(void) bgjob_database_leave(entry, wants);
	proc_exit(0);
}
