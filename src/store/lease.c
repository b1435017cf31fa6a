/*-------------------------------------------------------------------------
 *
 * lease.c
 *	  The jobs that external workers have fetched.
 *
 * bgjob_internal.lease has a row for each. It is inserted by the transaction that fetches
 * the job, which deletes the job's row in the queue, and deleted by the one that ends the
 * attempt. The row is the lock of the job meanwhile: as long as a worker of the
 * server performs a job in one transaction, the job's own row is not touched, and
 * says that the job is enqueued.
 *
 * Rows are found by where they are, which the lease in shared memory knows, else by
 * their key. The table is never read otherwise, but for the start of the server: an old
 * snapshot may keep millions of dead rows in it.
 *
 * AFTER A START the leases are not in memory. The first process that needs them reads
 * the table (bgjob_leases_ensure), whether it is the scheduler or the session of a worker
 * that has come back. A lease then lasts as long as it did when the job was fetched. One
 * that was bound to a session is lost.
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/tableam.h"
#include "access/xlog.h"
#include "base/change.h"
#include "base/database.h"
#include "base/leasenotes.h"
#include "base/process.h"
#include "base/slot.h"
#include "base/wake.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "store/gateneeds.h"
#include "store/lease.h"
#include "store/log.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define LEASE_INDEX "lease_pkey"

/* Columns of bgjob_internal.lease. */
enum
{
	LEASE_JOB = 1,
	LEASE_OWNER,
	LEASE_LEASE,
	LEASE_TIME_LIMIT,
	LEASE_BOUND,
	LEASE_STARTED_AT,
	LEASE_WORKER,
	LEASE_COLUMNS = LEASE_WORKER
};

/* bgjob_lease_insert inserts a row; rel->tid is where. */
void
bgjob_lease_insert(BgjobRel *rel, const BgjobLeaseRow *row)
{
	static const bool no_nulls[LEASE_COLUMNS] = {false};
	Datum values[LEASE_COLUMNS];

	values[LEASE_JOB - 1] = Int64GetDatum(row->job);
	values[LEASE_OWNER - 1] = ObjectIdGetDatum(row->owner);
	values[LEASE_LEASE - 1] = Int64GetDatum(row->lease);
	values[LEASE_TIME_LIMIT - 1] = Int64GetDatum(row->time_limit);
	values[LEASE_BOUND - 1] = BoolGetDatum(row->bound);
	values[LEASE_STARTED_AT - 1] = TimestampTzGetDatum(row->started_at);
	values[LEASE_WORKER - 1] = CStringGetTextDatum(row->worker);
	bgjob_rel_insert(rel, values, no_nulls);
}

/* Reads the row in rel->slot. */
static void
read_row(BgjobRel *rel, BgjobLeaseRow *row)
{
	const Datum *values = rel->slot->tts_values;

	slot_getallattrs(rel->slot);
	row->job = DatumGetInt64(values[LEASE_JOB - 1]);
	row->owner = DatumGetObjectId(values[LEASE_OWNER - 1]);
	row->lease = DatumGetInt64(values[LEASE_LEASE - 1]);
	row->time_limit = DatumGetInt64(values[LEASE_TIME_LIMIT - 1]);
	row->bound = DatumGetBool(values[LEASE_BOUND - 1]);
	row->started_at = DatumGetTimestampTz(values[LEASE_STARTED_AT - 1]);
	row->worker = TextDatumGetCString(values[LEASE_WORKER - 1]);
}

/* ---- taking ---- */

/* Deletes the row of a job that its key leads to. */
static BgjobTaken
take_by_key(BgjobRel *rel, int64 job, TransactionId *holder)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobTaken taken = BGJOB_NOT_THERE;
	ScanKeyData key;
	BgjobScan *scan;

	bgjob_key(&key, LEASE_JOB, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(job));
	scan = bgjob_scan_begin(rel, LEASE_INDEX, snapshot, &key, 1);
	if (bgjob_scan_next(scan))
		taken = bgjob_rel_delete(rel, &rel->slot->tts_tid, holder) ? BGJOB_TAKEN : BGJOB_BUSY;
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	return taken;
}

/* Returns whether the row of a job is at a tid. */
static bool
is_at(BgjobRel *rel, ItemPointer tid, int64 job)
{
	bool isnull;
	bool there = bgjob_rel_fetch(rel, tid, SnapshotSelf) &&
				 DatumGetInt64(slot_getattr(rel->slot, LEASE_JOB, &isnull)) == job;

	ExecClearTuple(rel->slot);
	return there;
}

/*
 * bgjob_lease_take ends a lease for the running transaction, which has the job then: at its
 * commit the lease is freed. Never waits. If the result is BGJOB_BUSY, *holder
 * (which may be NULL) is the transaction that has it, if known.
 */
BgjobTaken
bgjob_lease_take(const BgjobLease *lease, TransactionId *holder)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_LEASE);
	ItemPointerData tid = lease->row;
	BgjobTaken taken;

	if (holder != NULL)
		*holder = InvalidTransactionId;
	bgjob_change_begin();
	if (is_at(rel, &tid, lease->job))
		taken = bgjob_rel_delete(rel, &tid, holder) ? BGJOB_TAKEN : BGJOB_BUSY;
	else
		taken = take_by_key(rel, lease->job, holder);
	bgjob_rel_close(rel);
	if (taken == BGJOB_TAKEN)
		bgjob_lease_note_ended(lease->number, lease->serial);
	return taken;
}

/* bgjob_lease_take_of does the same for a job that no lease in memory is known of. */
BgjobTaken
bgjob_lease_take_of(int64 job, TransactionId *holder)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_LEASE);
	BgjobTaken taken = take_by_key(rel, job, holder);

	bgjob_rel_close(rel);
	return taken;
}

/* bgjob_lease_holds returns whether a job has a row at this moment. */
bool
bgjob_lease_holds(int64 job)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_LEASE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData key;
	BgjobScan *scan;
	bool found;

	bgjob_key(&key, LEASE_JOB, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(job));
	scan = bgjob_scan_begin(rel, LEASE_INDEX, snapshot, &key, 1);
	found = bgjob_scan_next(scan);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return found;
}

/* ---- after a start of the server ---- */

/* Returns when something that lasts so many microseconds from "since" is over, by the steady clock. */
static int64
over_at(int64 duration)
{
	int64 now = bgjob_steady_now();

	return duration >= PG_INT64_MAX - now ? PG_INT64_MAX : now + Max(duration, 0);
}

static int64
deadline_of(const BgjobLeaseRow *row)
{
	if (row->time_limit <= 0 || row->time_limit > PG_INT64_MAX / 1000000)
		return PG_INT64_MAX;
	return over_at(row->time_limit * 1000 - Max(bgjob_now() - row->started_at, 0));
}

/* Has a lease hold places at the gates of its job again, whether there is room or not. */
static void
hold_gates(int number, const BgjobJob *job, TimestampTz started_at)
{
	BgjobGateNeed needs[BGJOB_GATES_MAX];
	int n = bgjob_gate_may_need(job) ? bgjob_gate_needs(job, needs) : 0;

	if (n > 0 && bgjob_lease_set_gates(number, needs, n))
		bgjob_gates_hold(needs, n, started_at);
}

/* Puts the lease of a row into memory. False: there is no room. */
static bool
restore_lease(BgjobRel *jobs, const BgjobLeaseRow *row, const ItemPointerData *tid)
{
	BgjobLaneItem item = {.job = row->job};
	BgjobLaneGroupKey group;
	BgjobLeaseTerms terms = {.owner = row->owner,
							 .worker = row->worker,
							 .started_at = row->started_at,
							 .until = bgjob_now() + row->lease,
							 .ends_at = row->bound ? 0 : over_at(row->lease),
							 .deadline = deadline_of(row),
							 .time_limit = row->time_limit,
							 .row = tid};
	BgjobJob job;
	int64 ends_at;
	int number;

	if (bgjob_lease_is_there(MyDatabaseId, row->job) || !bgjob_job_read(jobs, row->job, &job) ||
		job.state != BGJOB_ENQUEUED)
		return true; /* a row that was written by hand stands for no attempt */
	if (bgjob_leases_reserve(1) < 1)
		return false;
	bgjob_lane_group_key(&group, MyDatabaseId, job.run_as, BGJOB_LANE_EXTERNAL);
	item.pos = job.pos;
	terms.attempt = job.retries + 1;
	terms.logged = bgjob_log_last(row->job);
	terms.job_row = &job.tid;
	number = bgjob_lease_name(&group, &item);
	if (number == BGJOB_LEASE_NONE)
		return true;
	bgjob_lease_set(number, &terms);
	hold_gates(number, &job, row->started_at);
	(void) bgjob_lease_hold(number, &ends_at);
	bgjob_lease_announce_end(MyDatabaseId, ends_at);
	return true;
}

/* Calls a function for each row of the table that is there at this moment. It returns false to end that. */
static void
visit_rows(BgjobRel *rel, bool (*visit)(BgjobRel *rel, void *arg), void *arg)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	TableScanDesc scan = table_beginscan(rel->rel, snapshot, 0, NULL);
	MemoryContext each =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob leases", ALLOCSET_DEFAULT_SIZES);
	bool more = true;

	while (more && table_scan_getnextslot(scan, ForwardScanDirection, rel->slot))
	{
		MemoryContext old = MemoryContextSwitchTo(each);

		more = visit(rel, arg);
		MemoryContextSwitchTo(old);
		MemoryContextReset(each);
	}
	MemoryContextDelete(each);
	ExecClearTuple(rel->slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
}

static bool
restore_row(BgjobRel *rel, void *jobs)
{
	ItemPointerData tid = rel->slot->tts_tid;
	BgjobLeaseRow row;

	read_row(rel, &row);
	return restore_lease(jobs, &row, &tid);
}

/*
 * Returns the entry of this database. After a start of the server a worker may come before the
 * launcher: then this makes the entry. NULL: there is no room, the database is not to be served,
 * or the server is a standby.
 */
static BgjobDatabase *
own_database(void)
{
	BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);
	char *name;

	if (entry != NULL || bgjob_registry == NULL || RecoveryInProgress())
		return entry;
	name = get_database_name(MyDatabaseId);
	if (name == NULL || !bgjob_database_allowed(name))
		return NULL;
	entry = bgjob_database_want(MyDatabaseId);
	if (entry != NULL)
		bgjob_notify_launcher(false);
	return entry;
}

/*
 * bgjob_leases_ensure sees to it that the leases of this database are in memory. To be
 * called before anything is asked of them. If there are more than fit, the scheduler
 * has the jobs of the others go back (bgjob_leases_unknown).
 */
void
bgjob_leases_ensure(void)
{
	BgjobDatabase *entry = own_database();
	LWLock *lock;

	if (entry == NULL || pg_atomic_read_u32(&entry->leases_known) != 0 || RecoveryInProgress())
		return;
	lock = bgjob_leases_load_lock();
	LWLockAcquire(lock, LW_EXCLUSIVE); /* an error releases it */
	if (pg_atomic_read_u32(&entry->leases_known) == 0)
	{
		BgjobRel *jobs = bgjob_rel_open_read(BGJOB_TABLE_JOB);
		BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_LEASE);

		visit_rows(rel, restore_row, jobs);
		bgjob_leases_unreserve();
		bgjob_rel_close(rel);
		bgjob_rel_close(jobs);
		pg_atomic_write_u32(&entry->leases_known, 1);
	}
	LWLockRelease(lock);
}

/* The jobs of rows without a lease in memory. */
typedef struct Unknown
{
	MemoryContext context;
	int64 *jobs;
	int n;
	int room;
} Unknown;

static bool
add_unknown(BgjobRel *rel, void *arg)
{
	Unknown *unknown = arg;
	bool isnull;
	int64 job = DatumGetInt64(slot_getattr(rel->slot, LEASE_JOB, &isnull));

	CHECK_FOR_INTERRUPTS();
	if (bgjob_lease_is_there(MyDatabaseId, job))
		return true;
	if (unknown->n == unknown->room)
		return false;
	unknown->jobs[unknown->n++] = job;
	return true;
}

/*
 * bgjob_leases_unknown returns jobs that have a row and no lease in memory, some of them if
 * there are many, and their number: there was no room, or a prepared transaction that had
 * ended a lease was rolled back. It reads the whole table.
 */
int64 *
bgjob_leases_unknown(int *n)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_LEASE);
	Unknown unknown = {.context = CurrentMemoryContext, .room = 1000};

	unknown.jobs = palloc(unknown.room * sizeof(int64));
	visit_rows(rel, add_unknown, &unknown);
	bgjob_rel_close(rel);
	*n = unknown.n;
	return unknown.jobs;
}
