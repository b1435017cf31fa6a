/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  Keeps a scheduler in each database that has bgjob.
 *
 * One per cluster, the only static background worker of bgjob; connected to
 * no database, so it is in the way of no command. At its start it reads
 * pg_database and starts a scheduler in every database that bgjob.databases
 * allows, a few at a time; a scheduler that finds no extension notes that and
 * leaves. From then on it is notified: by CREATE EXTENSION at commit
 * (base/change.c), by commands on databases, after which it reads pg_database again
 * (api/utility.c), and by the server when a scheduler stops. Otherwise it sleeps
 * without limit.
 *
 * There may be more databases than slots. Then they take turns: those that wait
 * for a scheduler are counted in the registry, schedulers that have nothing to
 * do, or have had their turn, give up their slots (process/scheduler.c), and the
 * database that has waited longest is next.
 *
 * Known hole: a database that gets the extension by COMMIT PREPARED, or is
 * copied by other means than CREATE DATABASE, is found at the next restart.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/database.h"
#include "base/forget.h"
#include "base/guc.h"
#include "base/inflight.h"
#include "base/process.h"
#include "base/registry.h"
#include "base/request.h"
#include "base/slot.h"
#include "base/slots.h"
#include "base/wake.h"
#include "catalog/pg_database.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "process/launcher.h"
#include "process/scheduler.h"
#include "rules/clock.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Maximal wait for a lock, and the pause that follows, in milliseconds. */
#define LOCK_TIMEOUT "100ms"
#define LOCK_PAUSE   250

/* Pause between attempts to get a slot, and time after which the lack of one is logged, in milliseconds. */
#define SLOT_PAUSE    200
#define SLOT_PATIENCE 10000

/* Maximal wait for a scheduler to connect, in milliseconds. */
#define SLOW_PROBE 5000

/* Maximal number of schedulers that check for the extension at the same time. */
#define PROBES_AT_ONCE 3

/* Pause after the first failure of a scheduler, and maximal pause after repeated ones, in milliseconds. */
#define FIRST_PAUSE   100
#define LONGEST_PAUSE 60000

static BackgroundWorkerHandle **handles; /* of the schedulers, by database entry */
static List *waiting = NIL;              /* databases that the registry had no room for */
static bool warned_of_slots = false;

static void
on_exit_of_launcher(int code, Datum arg)
{
	bgjob_registry->launcher = NULL;
}

/* Lists the databases that may have bgjob; admit_waiting() enters them into the registry. */
static void
find_databases(void *arg)
{
	Relation rel;
	TableScanDesc scan;
	HeapTuple tuple;

	list_free(waiting);
	waiting = NIL;
	bgjob_begin();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (!database->datallowconn || !bgjob_database_allowed(NameStr(database->datname)))
			continue;
		waiting = lappend_oid(waiting, database->oid);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	bgjob_commit();
}

/* Enters databases that wait into the registry as far as there is room. */
static void
admit_waiting(void)
{
	while (waiting != NIL)
	{
		if (bgjob_database_want(linitial_oid(waiting)) == NULL)
			return;
		waiting = list_delete_first(waiting);
	}
}

/* Returns how long to wait before starting a scheduler once more, in milliseconds. */
static long
pause_after(int failures)
{
	return failures >= 10 ? LONGEST_PAUSE : Min(FIRST_PAUSE << (failures - 1), LONGEST_PAUSE);
}

/* Frees the slot of a scheduler that has left, and decides when the next one is started. */
static void
reap_scheduler(BgjobDatabase *entry, BgjobSlot *slot)
{
	bool served = slot->ready && entry->ready;
	int64 lived = bgjob_steady_now() - slot->created_at;
	int index = entry - bgjob_registry->databases;

	if (handles[index] != NULL)
		pfree(handles[index]);
	handles[index] = NULL;
	entry->scheduler = -1;
	entry->ready = false;
	bgjob_slot_free(slot);
	if (entry->status == BGJOB_DATABASE_RESTING)
		return;
	if (entry->status == BGJOB_DATABASE_ABSENT)
	{
		bgjob_database_forget(entry, BGJOB_DATABASE_ABSENT);
		if (entry->in_use)
			entry->retry_at = 0; /* the extension was created again */
		return;
	}
	entry->status = BGJOB_DATABASE_WANTED;
	if (entry->failed && lived < BGJOB_FAILURE_MEMORY)
		served = false;
	entry->failed = false;
	if (entry->blocked_by == 0 && bgjob_enabled)
	{
		entry->failures = served ? 1 : entry->failures + 1;
		entry->retry_at = bgjob_steady_now() + pause_after(entry->failures) * 1000;
	}
}

typedef struct Presence
{
	Oid database;
	bool there;
} Presence;

/*
 * Sets presence->there: whether the database exists and is allowed. This is read
 * from the catalog, since the session that drops a database invalidates the caches
 * only after it has unblocked the database.
 */
static void
check_presence(void *arg)
{
	Presence *presence = arg;
	Relation rel;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple tuple;

	bgjob_begin();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_database_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(presence->database));
	scan = systable_beginscan(rel, DatabaseOidIndexId, criticalSharedRelcachesBuilt, NULL, 1,
							  &key);
	tuple = systable_getnext(scan);
	presence->there =
		HeapTupleIsValid(tuple) &&
		bgjob_database_allowed(NameStr(((Form_pg_database) GETSTRUCT(tuple))->datname));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	bgjob_commit();
}

/*
 * Ends the workers of a database in which no scheduler will do so, and frees
 * their slots. False if some are still there.
 */
static bool
free_slots(Oid database)
{
	bool all = true;

	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];

		if (!slot->in_use || slot->database != database)
			continue;
		if (bgjob_process_left(slot, NULL))
			bgjob_slot_free(slot);
		else
		{
			bgjob_slot_terminate(slot);
			all = false;
		}
	}
	return all;
}

/*
 * Forgets a database that is not to be served any more, as soon as no process of
 * bgjob is there and no command holds it; else it is tried again in a second.
 */
static void
forget(BgjobDatabase *entry, TimestampTz now)
{
	if (free_slots(entry->database))
	{
		bgjob_inflight_forget(entry->database);
		bgjob_forget(entry->database);
		bgjob_database_forget(entry, entry->status);
	}
	if (entry->in_use)
		entry->retry_at = now + USECS_PER_SEC;
}

/* Starts a scheduler. False if there is no room for another process. */
static bool
start_scheduler(BgjobDatabase *entry)
{
	BgjobSlot *slot;
	int index = entry - bgjob_registry->databases;

	if (!bgjob_slots_for_scheduler())
		return false;
	slot =
		bgjob_slot_create(BGJOB_SCHEDULER, entry->database, InvalidOid, bgjob_registry->nslots);
	if (slot == NULL)
		return entry->blocked_by != 0;
	entry->ready = false;
	entry->scheduler = bgjob_slot_index(slot);
	if (!bgjob_process_start(slot, BGJOB_SCHEDULER_TYPE, "bgjob_scheduler_main",
							 &handles[index]))
	{
		entry->scheduler = -1;
		bgjob_slot_free(slot);
		return false;
	}
	entry->status = BGJOB_DATABASE_STARTED;
	entry->waiting_since = 0;
	return true;
}

static int
count_probes(void)
{
	int n = 0;

	for (int i = 0; i < bgjob_registry->databases_used; i++)
	{
		BgjobDatabase *entry = &bgjob_registry->databases[i];

		if (entry->in_use && entry->scheduler >= 0 && !entry->ready &&
			bgjob_steady_now() - bgjob_registry->slots[entry->scheduler].created_at <
				SLOW_PROBE * (int64) 1000)
			n++;
	}
	return n;
}

static void
warn_of_slots(int wanted)
{
	if (warned_of_slots)
		return;
	warned_of_slots = true;
	ereport(
		WARNING,
		(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
		 errmsg("out of background worker slots for the schedulers of bgjob"),
		 errdetail_plural("%d database waits for a scheduler.",
						  "%d databases wait for a scheduler.", wanted, wanted),
		 errhint("Consider increasing the configuration parameter \"max_worker_processes\".")));
}

/* Reaps the schedulers that have left. */
static void
reap_schedulers(void)
{
	for (int i = 0; i < bgjob_registry->databases_used; i++)
	{
		BgjobDatabase *entry = &bgjob_registry->databases[i];

		if (entry->in_use && entry->scheduler >= 0 &&
			bgjob_process_left(&bgjob_registry->slots[entry->scheduler], handles[i]))
			reap_scheduler(entry, &bgjob_registry->slots[entry->scheduler]);
	}
}

/* Returns the time, by the steady clock, at which a database gets its next scheduler; DT_NOEND: when notified. */
static int64
due_at(BgjobDatabase *entry)
{
	if (!entry->in_use || entry->scheduler >= 0 || entry->blocked_by != 0 || !bgjob_enabled)
		return DT_NOEND;
	if (entry->status != BGJOB_DATABASE_RESTING)
		return entry->retry_at;
	if (pg_atomic_read_u32(&entry->notices) != 0)
		return DT_NOBEGIN;
	return entry->rest_until;
}

/* Returns the database whose scheduler is to be started next: the one that has waited longest. NULL: there is none. */
static BgjobDatabase *
next_database(int64 now, int *wanted, int64 *wake)
{
	BgjobDatabase *next = NULL;

	*wanted = 0;
	for (int i = 0; i < bgjob_registry->databases_used; i++)
	{
		BgjobDatabase *entry = &bgjob_registry->databases[i];
		int64 due = due_at(entry);

		if (due > now)
		{
			*wake = Min(*wake, due);
			continue;
		}
		(*wanted)++;
		if (entry->waiting_since == 0)
			entry->waiting_since = now;
		if (next == NULL || entry->waiting_since < next->waiting_since)
			next = entry;
	}
	return next;
}

/* Says how many databases wait for a scheduler; the schedulers that there are see to it. */
static void
call_for_slots(int wanted)
{
	uint32 before = pg_atomic_exchange_u32(&bgjob_registry->schedulers_wanted, wanted);
	bool no_slot = wanted > 0 && bgjob_slots_used() >= bgjob_slots_most(BGJOB_NEED_DATABASE);

	no_slot =
		pg_atomic_exchange_u32(&bgjob_registry->slot_wanted, no_slot) != no_slot && no_slot;
	if (wanted == 0 || ((uint32) wanted <= before && !no_slot))
		return;
	for (int i = 0; i < bgjob_registry->databases_used; i++)
		if (bgjob_registry->databases[i].in_use && bgjob_registry->databases[i].scheduler >= 0)
			bgjob_notify_scheduler(bgjob_registry->databases[i].database, 0);
}

/*
 * Reaps schedulers that have left, and starts those that are wanted, in every
 * database. Returns how long to sleep, in milliseconds; -1: until notified.
 */
static long
serve_databases(void)
{
	int64 now = bgjob_steady_now();
	int64 wake = DT_NOEND;
	BgjobDatabase *entry;
	int wanted;
	bool waits = false;

	reap_schedulers();
	while ((entry = next_database(now, &wanted, &wake)) != NULL)
	{
		Presence presence = {entry->database};

		if (count_probes() >= PROBES_AT_ONCE)
		{
			wake = Min(wake, now + 100 * 1000);
			wanted = 0;
			break;
		}
		if (!bgjob_try(check_presence, &presence))
		{
			wake = Min(wake, now + LOCK_PAUSE * 1000);
			break;
		}
		if (!presence.there)
			forget(entry, now);
		else if (!start_scheduler(entry))
		{
			waits = true;
			wake = Min(wake, now + SLOT_PAUSE * 1000);
			if (now - entry->waiting_since > SLOT_PATIENCE * (int64) 1000)
				warn_of_slots(wanted);
			break;
		}
	}
	call_for_slots(waits ? wanted : 0);
	if (waiting != NIL)
		wake = Min(wake, now + 1000 * 1000);
	return wake == DT_NOEND ? -1 : (long) Max(0, (wake - bgjob_steady_now()) / 1000) + 1;
}

/* bgjob_launcher_register has the postmaster start the launcher; from _PG_init. */
void
bgjob_launcher_register(void)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 1;
	strlcpy(worker.bgw_library_name, "bgjob", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "bgjob_launcher_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, BGJOB_LAUNCHER_TYPE, sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, BGJOB_LAUNCHER_TYPE, sizeof(worker.bgw_type));
	RegisterBackgroundWorker(&worker);
}

/* Keeps the schedulers of the previous launcher, whose handles are lost. */
static void
adopt_schedulers(void)
{
	handles = MemoryContextAllocZero(TopMemoryContext, bgjob_registry->ndatabases *
														   sizeof(BackgroundWorkerHandle *));
	bgjob_registry->launcher = &MyProc->procLatch;
	bgjob_registry->rediscover = true;
	before_shmem_exit(on_exit_of_launcher, 0);
}

/* bgjob_launcher_main is the main function of the launcher. */
void
bgjob_launcher_main(Datum arg)
{
	MemoryContext loop;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	pgstat_report_appname(BGJOB_LAUNCHER_TYPE);
	SetConfigOption("lock_timeout", LOCK_TIMEOUT, PGC_SUSET, PGC_S_OVERRIDE);
	adopt_schedulers();

	loop = AllocSetContextCreate(TopMemoryContext, "bgjob launcher", ALLOCSET_DEFAULT_SIZES);
	while (!ShutdownRequestPending)
	{
		long sleep;

		MemoryContextSwitchTo(loop);
		bgjob_registry->called = false;
		pg_memory_barrier();
		if (bgjob_registry->rediscover)
		{
			bgjob_registry->rediscover = false;
			bgjob_registry->rediscover = !bgjob_try(find_databases, NULL);
		}
		admit_waiting();
		sleep = serve_databases();
		if (bgjob_registry->rediscover)
			sleep = LOCK_PAUSE;
		if (bgjob_registry->called) /* while it waited for something else */
			continue;
		if (bgjob_process_wait(
				sleep,
				BGJOB_WAIT_LAUNCHER_MAIN)) /* bgjob.databases or bgjob.enabled may have changed */
			bgjob_registry->rediscover = true;
		if (waiting == NIL)
			MemoryContextReset(loop);
	}
	proc_exit(1); /* ended by hand: come back; at shutdown the postmaster restarts nothing */
}
