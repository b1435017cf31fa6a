/*-------------------------------------------------------------------------
 *
 * census.c
 *	  Counting the jobs of a database in the background.
 *
 * After a start of the server, and whenever the counts have come into doubt
 * (store/count.c), the scheduler has the jobs counted anew: it counts a small
 * table itself, and starts a process of its own for a large one, since that takes
 * seconds and the scheduler's steps are short. Until the census has been taken, the
 * views do not know the numbers.
 *
 * The census connects as the bootstrap superuser, as the scheduler does, and runs
 * no code but bgjob's own. It takes one of the slots that are free beyond what roles
 * and databases without workers may need (base/slots.c); where there is none, the
 * scheduler tries again later. It never waits for the lock of a table. It holds
 * a snapshot while it counts. When it has counted, it maps the jobs for bgjob_list()
 * (process/mapping.c). It leaves then, when a command needs the database to itself,
 * and at SIGTERM.
 *
 * Doubts may arise again and again, while a dump is restored for example. The pause
 * before the next census is as long as the last one took, and at least MIN_PAUSE.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "base/database.h"
#include "base/guc.h"
#include "base/process.h"
#include "base/registry.h"
#include "base/request.h"
#include "base/session.h"
#include "base/slot.h"
#include "base/slots.h"
#include "base/tally.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "process/census.h"
#include "process/mapping.h"
#include "process/workers.h"
#include "rules/clock.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "store/count.h"
#include "store/relation.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
#include "utils/timestamp.h"

/* The least pause between two counts, and before a process is started once more for which there was no slot, in microseconds. */
#define MIN_PAUSE  USECS_PER_SEC
#define SLOT_PAUSE (5 * USECS_PER_SEC)

/* ---- the scheduler's part ---- */

static BackgroundWorkerHandle *handle =
	NULL;                    /* NULL: a scheduler before this one has started it */
static int64 begun_at = 0;   /* by the steady clock; 0: no census is running */
static int64 not_before = 0; /* likewise: the next one */

/* Returns the slot of this database's census, NULL if none is running. */
static BgjobSlot *
find_slot(void)
{
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (slot->in_use && slot->kind == BGJOB_CENSUS && slot->database == MyDatabaseId)
			return slot;
	}
	return NULL;
}

/* Frees the slot of a census that has left. False: it is still there. */
static bool
reap(BgjobSlot *slot)
{
	if (!bgjob_process_left(slot, handle))
		return false;
	if (handle != NULL)
		pfree(handle);
	handle = NULL;
	bgjob_slot_free(slot);
	return true;
}

/* The pause after a count that began at a time. */
static int64
pause_after(int64 begun)
{
	int64 now = bgjob_steady_now();

	return now + Max(MIN_PAUSE, now - begun);
}

/* Starts a census. Returns whether there was a slot for it. */
static bool
start(void)
{
	BgjobSlot *slot = bgjob_slot_create(BGJOB_CENSUS, MyDatabaseId, InvalidOid,
										bgjob_slots_most(BGJOB_NEED_MORE));

	if (slot == NULL)
		return false;
	if (bgjob_process_start(slot, BGJOB_CENSUS_TYPE, "bgjob_census_main", &handle))
		return true;
	bgjob_slot_free(slot);
	return false;
}

/* Counts a small table; false: it is a large one. */
static bool
count_small(BgjobDatabase *entry)
{
	int64 counts[BGJOB_NSTATES] = {0};
	bool small;

	bgjob_begin();
	small = bgjob_count_is_small();
	if (small)
		(void) bgjob_count_tables(entry, counts, NULL);
	bgjob_commit();
	return small;
}

/* bgjob_census_serve, a step of the scheduler's round, has the jobs counted if that has to be. */
TimestampTz
bgjob_census_serve(TimestampTz now)
{
	BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);
	BgjobSlot *slot = find_slot();

	if (slot != NULL && !reap(slot))
		return DT_NOEND; /* its end wakes this process */
	if (begun_at != 0)
		not_before = pause_after(begun_at);
	begun_at = 0;
	if (bgjob_database_is_counted(entry))
		return DT_NOEND;
	if (bgjob_steady_now() < not_before)
		return bgjob_by_clock(not_before, now);
	begun_at = bgjob_steady_now();
	if (!count_small(entry))
	{
		if (start())
			return DT_NOEND;
		not_before = begun_at + SLOT_PAUSE;
	}
	else
		not_before = pause_after(begun_at);
	begun_at = 0;
	return bgjob_database_is_counted(entry) ? DT_NOEND : bgjob_by_clock(not_before, now);
}

/* bgjob_census_is_running returns whether a census is being taken of this database. */
bool
bgjob_census_is_running(void)
{
	return find_slot() != NULL;
}

/* bgjob_census_end ends the census, and returns when its process has left; by a scheduler that leaves. */
void
bgjob_census_end(void)
{
	BgjobSlot *slot;

	while ((slot = find_slot()) != NULL && !reap(slot))
	{
		bgjob_slot_terminate(slot);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 100,
						 bgjob_wait_event(BGJOB_WAIT_SCHEDULER_EXIT));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* ---- the process ---- */

static BgjobDatabase *counted; /* the database's entry */
static volatile sig_atomic_t counting = false;

static bool
must_stop(void)
{
	return ShutdownRequestPending || counted->blocked_by != 0;
}

/* SIGTERM: breaks off what is being read, without a message. */
static void
on_terminate(SIGNAL_ARGS)
{
	int save_errno = errno;

	ShutdownRequestPending = true;
	if (counting)
	{
		InterruptPending = true;
		QueryCancelPending = true;
	}
	SetLatch(MyLatch);
	errno = save_errno;
}

/* Counts the jobs; a step for bgjob_try. */
static void
count(void *arg)
{
	int64 counts[BGJOB_NSTATES] = {0};
	bool published;

	pgstat_report_activity(STATE_RUNNING, "counting jobs");
	bgjob_tallies_renew(counted);
	bgjob_begin();
	published = bgjob_count_tables(counted, counts, must_stop);
	bgjob_commit();
	ereport(DEBUG1, (errmsg(published ? "bgjob has counted the jobs of database %u"
									  : "bgjob could not count the jobs of database %u",
							MyDatabaseId)));
}

/* Maps the jobs; likewise. */
static void
map_jobs(void *arg)
{
	pgstat_report_activity(STATE_RUNNING, "mapping jobs");
	bgjob_mapping_fill(must_stop);
}

/* bgjob_census_main is a census; arg is the index of its slot. */
void
bgjob_census_main(Datum arg)
{
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	if (!bgjob_process_attach(arg))
		proc_exit(0);
	bgjob_process_connect(BGJOB_CENSUS_TYPE);
	pqsignal(SIGTERM, on_terminate);
	bgjob_session_pin_all();
	bgjob_rel_nowait = true;
	counted = bgjob_database_find(MyDatabaseId);
	if (counted == NULL)
		proc_exit(0);
	counting = true;
	PG_TRY();
	{
		if (!must_stop())
			(void) bgjob_try(count, NULL);
		if (!must_stop())
			(void) bgjob_try(map_jobs, NULL);
	}
	PG_CATCH();
	{
		if (!ShutdownRequestPending)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	proc_exit(0);
}
