/*-------------------------------------------------------------------------
 *
 * unused.c
 *	  Removing settings that no job refers to any more.
 *
 * bgjob_internal.settings has a row for each combination of settings, each call and each
 * policy that any job was ever enqueued with (store/settings.c). A role that
 * changes its search_path before each job makes as many rows as jobs. Jobs are
 * removed by retention; a PASS then removes the rows that are left over.
 *
 * References are the columns call_id, settings_id and policy_id of bgjob_internal.job and
 * bgjob_internal.recurring. No index leads from a row to them, so a pass reads both
 * tables, in steps of a bounded number of rows. It is safe since no reference to the
 * rows in question can appear meanwhile:
 *
 *	1. CANDIDATES. The rows that were there at the last scan already, at most
 *	   MOST of them, in the order of their numbers.
 *	2. The highest of their numbers is published as the FLOOR of the database,
 *	   and then settings_passes is raised. From here on sessions give out no
 *	   number below the floor: they clear their caches, pass these rows
 *	   over and store the same again.
 *	3. A session that was given a number before has locked bgjob_internal.settings until
 *	   its transaction ends, and did so before it read settings_passes. So
 *	   the sessions that may still make references are those that have that lock
 *	   after step 2, prepared transactions among them. The pass notes them and
 *	   goes on when all have ended. (It also waits for those that have a lock on
 *	   bgjob_internal.job, except the workers, which all have one: a restore may have loaded
 *	   the settings, and still be loading the jobs.)
 *	4. REFERENCES. All are visible now, and only the scheduler, which is this
 *	   process, copies numbers: from a recurring job to a new job, whose id is
 *	   higher than all others. So the pass reads bgjob_internal.recurring first, and then
 *	   bgjob_internal.job in the order of ids.
 *	5. The candidates without a reference are deleted. When that is committed,
 *	   the floor is taken away.
 *
 * Numbers are never given out twice, so what a worker remembers by its number
 * stays right. A pass is kept in memory only. If the scheduler ends, the next
 * one begins again; the floor that it finds does no harm and is taken away. If
 * the server ends, all processes that remembered numbers have ended too, but for
 * prepared transactions, which have their locks again (step 3).
 *
 * No pass begins in a database where no number has been drawn: its jobs are
 * another's, which it follows as a logical replica, or are just being restored.
 *
 * The scheduler's alone, inside a transaction. Nothing here waits.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/transam.h"
#include "base/compat.h"
#include "base/guc.h"
#include "base/registry.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "store/job.h"
#include "store/recurring.h"
#include "store/relation.h"
#include "store/sequence.h"
#include "store/unused.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* Number of rows below which there is no pass. */
#define FEW 16

/* Maximal number of candidates of one pass. */
#define MOST 262144

/* Seconds between two checks whether a pass is worth while: as long as jobs are kept, within these limits. */
#define SHORTEST_PAUSE 1
#define LONGEST_PAUSE  3600

/* Maximal number of pauses after passes that have removed hardly any rows. */
#define MOST_PAUSES 24

/* Microseconds between two steps of a pass, and between two checks of the transactions that it waits for. */
#define STEP_PAUSE  10000
#define WAIT_PAUSE  1000000
#define WAIT_LONGER 10000000

typedef enum Stage
{
	STAGE_NONE,
	STAGE_WAITING,   /* for the holders */
	STAGE_RECURRING, /* reading references */
	STAGE_JOBS,
	STAGE_REMOVING,
	STAGE_REMOVED /* the floor must be reset */
} Stage;

/* The pass that is under way. */
static struct
{
	Stage stage;
	MemoryContext context; /* of the allocations of a pass */
	int n;
	int64 *ids; /* of the candidates, ascending */
	bool *used;
	int nholders;
	VirtualTransactionId *holders;
	TimestampTz waiting_since;
	int64 cursor; /* the reading has come before this id; the removal, to this candidate */
	int64 last_found;
	int removed;
	TimestampTz next_step;
} pass;

static int64 resume_at =
	0;                  /* the next pass begins with this number; the one before had too many */
static int64 drawn = 0; /* the last number, at the last pass */
static int kept = 0;    /* rows that it has left */
static int pauses = 1;  /* that follow on it */
static TimestampTz rest_until = 0;
static uint64 completed = 0; /* transactions of the server, when nothing was new any more */

/* Returns the time between two checks, in microseconds. */
static int64
pause_between(void)
{
	if (bgjob_retention < 0)
		return LONGEST_PAUSE * USECS_PER_SEC;
	return Min(Max(bgjob_retention, SHORTEST_PAUSE), LONGEST_PAUSE) * USECS_PER_SEC;
}

/* bgjob_unused_reset forgets the pass that this scheduler, or an earlier one of this database, was at. */
void
bgjob_unused_reset(BgjobDatabase *entry)
{
	pass.stage = STAGE_NONE;
	pg_atomic_write_u64(&entry->settings_floor, 0);
}

/* ---- the candidates ---- */

/* Makes room for another pass. */
static void
forget_pass(void)
{
	if (pass.context == NULL)
		pass.context = AllocSetContextCreate(TopMemoryContext, "bgjob unused settings",
											 ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(pass.context);
	pass.stage = STAGE_NONE;
	pass.n = pass.nholders = pass.removed = 0;
	pass.ids = NULL;
	pass.holders = NULL;
	pass.last_found = 0;
}

/* Adds a candidate. */
static void
add_candidate(int64 id)
{
	if (pass.n == 0)
		pass.ids = MemoryContextAlloc(pass.context, 1024 * sizeof(int64));
	else if (pass.n >= 1024 && (pass.n & (pass.n - 1)) == 0) /* a power of two: it is full */
		pass.ids = repalloc(pass.ids, 2 * pass.n * sizeof(int64));
	pass.ids[pass.n++] = id;
}

/* Reads the numbers of the rows between two, at most MOST. */
static void
read_candidates(int64 from, int64 to)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_SETTINGS);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData keys[2];
	BgjobScan *scan;

	bgjob_key(&keys[0], 1, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(from));
	bgjob_key(&keys[1], 1, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(to));
	scan = bgjob_scan_begin(rel, "settings_pkey", snapshot, keys, 2);
	while (pass.n < MOST && bgjob_scan_next(scan))
	{
		bool isnull;

		CHECK_FOR_INTERRUPTS();
		add_candidate(DatumGetInt64(slot_getattr(rel->slot, 1, &isnull)));
	}
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	if (pass.n > 0)
		pass.used = MemoryContextAllocZero(pass.context, pass.n * sizeof(bool));
}

/* ---- transactions that may still refer to them ---- */

/* Returns whether a transaction is that of one of bgjob's own processes. */
static bool
is_of_bgjob(const VirtualTransactionId *holder)
{
	PGPROC *proc = bgjob_virtual_transaction_proc(*holder);
	pid_t pid = proc == NULL ? 0 : proc->pid;

	for (int i = 0; i < bgjob_registry->nslots; i++)
		if (pid != 0 && bgjob_registry->slots[i].in_use && bgjob_registry->slots[i].pid == pid)
			return true;
	return false;
}

/* Notes the transactions that have a lock on a table. */
static void
note_holders(BgjobTable table, bool all)
{
	LOCKTAG tag;
	VirtualTransactionId *found;
	int n;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, bgjob_table_oid(table));
	found = GetLockConflicts(&tag, ShareLock, &n);
	if (pass.holders == NULL)
		pass.holders = MemoryContextAlloc(pass.context, (n + 1) * sizeof(*found));
	else
		pass.holders = repalloc(pass.holders, (pass.nholders + n + 1) * sizeof(*found));
	for (int i = 0; i < n; i++)
		if (all || !is_of_bgjob(&found[i]))
			pass.holders[pass.nholders++] = found[i];
	pfree(found);
}

/* Stops giving out numbers up to the last candidate, and notes the transactions that may have got one. */
static void
publish_floor(BgjobDatabase *entry)
{
	pg_atomic_write_u64(&entry->settings_floor, (uint64) pass.ids[pass.n - 1] + 1);
	pg_memory_barrier();
	pg_atomic_fetch_add_u32(&bgjob_registry->settings_passes, 1);
	note_holders(BGJOB_TABLE_SETTINGS, true);
	note_holders(BGJOB_TABLE_JOB, false);
}

/* Returns whether to leave out a pass, because the last one has found little and there are not many more rows since. */
static bool
is_in_vain(TimestampTz now, int64 last)
{
	return now < rest_until && rest_until - now <= MOST_PAUSES * pause_between() &&
		   last - drawn <= Max(kept, FEW);
}

/* Begins a pass, unless there is too little for one. */
static TimestampTz
begin_pass(BgjobDatabase *entry, TimestampTz now)
{
	int64 last = bgjob_last_settings_id();
	int64 seen = entry->settings_seen;
	uint64 written = bgjob_completed_transactions();

	entry->settings_seen = last;
	entry->settings_checked = now;
	pg_atomic_write_u64(&entry->settings_floor, 0); /* of a beginning that failed */
	if (last == 0 || seen == 0 || is_in_vain(now, last))
		return now + pause_between();
	if (seen == last)
		completed = written; /* no new rows before a transaction writes */
	forget_pass();
	read_candidates(resume_at, seen);
	if (pass.n < FEW && resume_at == 0)
		return now + pause_between();
	drawn = last;
	resume_at = 0;
	if (pass.n == 0)
		return now + pause_between(); /* there are none after those of the last pass */
	publish_floor(entry);
	pass.stage = STAGE_WAITING;
	pass.waiting_since = now;
	return now;
}

/* Forgets the transactions that have ended; goes on when all have. */
static TimestampTz
wait_for_holders(TimestampTz now)
{
	int left = 0;

	for (int i = 0; i < pass.nholders; i++)
		if (!VirtualXactLock(pass.holders[i], false))
			pass.holders[left++] = pass.holders[i];
	pass.nholders = left;
	if (left > 0)
		return now + (now - pass.waiting_since < 10 * WAIT_LONGER ? WAIT_PAUSE : WAIT_LONGER);
	pass.stage = STAGE_RECURRING;
	pass.cursor = PG_INT64_MIN;
	return now;
}

/* ---- the references ---- */

/* Notes that a candidate, if it is one, is referred to. */
static void
mark_used(int64 id)
{
	int low = 0;
	int high = pass.n - 1;

	if (id == pass.last_found || id > pass.ids[high]) /* as most jobs have */
		return;
	while (low <= high)
	{
		int middle = low + (high - low) / 2;

		if (pass.ids[middle] == id)
		{
			pass.used[middle] = true;
			pass.last_found = id;
			return;
		}
		if (pass.ids[middle] < id)
			low = middle + 1;
		else
			high = middle - 1;
	}
}

static void
mark_column(TupleTableSlot *slot, int column)
{
	if (!slot->tts_isnull[column - 1])
		mark_used(DatumGetInt64(slot->tts_values[column - 1]));
}

/* Marks the candidates that some rows of a table refer to, from the cursor on; columns: 0 at their end. True: these were the last. */
static bool
read_references(BgjobTable table, const char *index, const int *columns, int max)
{
	BgjobRel *rel = bgjob_rel_open(table);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData key;
	BgjobScan *scan;
	bool all = false;

	bgjob_key(&key, 1, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(pass.cursor));
	scan = bgjob_scan_begin(rel, index, snapshot, &key, 1);
	for (int n = 0; n < max && !all; n++)
	{
		CHECK_FOR_INTERRUPTS();
		all = !bgjob_scan_next(scan);
		if (all)
			break;
		slot_getallattrs(rel->slot);
		pass.cursor = DatumGetInt64(rel->slot->tts_values[0]) + 1;
		for (int i = 0; columns[i] != 0; i++)
			mark_column(rel->slot, columns[i]);
	}
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return all;
}

static TimestampTz
read_recurring(TimestampTz now, int max)
{
	static const int columns[] = {BGJOB_R_SETTINGS_ID, BGJOB_R_POLICY_ID, 0};

	if (!read_references(BGJOB_TABLE_RECURRING, "recurring_pkey", columns, max))
		return now + STEP_PAUSE;
	pass.stage = STAGE_JOBS;
	pass.cursor = PG_INT64_MIN;
	return now;
}

static TimestampTz
read_jobs(TimestampTz now, int max)
{
	static const int columns[] = {BGJOB_C_CALL_ID, BGJOB_C_SETTINGS_ID, BGJOB_C_POLICY_ID, 0};

	if (!read_references(BGJOB_TABLE_JOB, "job_pkey", columns, max))
		return now + STEP_PAUSE;
	pass.stage = STAGE_REMOVING;
	pass.cursor = 0;
	return now;
}

/* ---- the removal ---- */

static void
remove_row(BgjobRel *rel, Snapshot snapshot, int64 id)
{
	ScanKeyData key;
	BgjobScan *scan;

	bgjob_key(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	scan = bgjob_scan_begin(rel, "settings_pkey", snapshot, &key, 1);
	if (bgjob_scan_next(scan) && bgjob_rel_delete(rel, &rel->slot->tts_tid, NULL))
		pass.removed++;
	bgjob_scan_end(scan);
}

static TimestampTz
remove_unused(TimestampTz now, int max)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_SETTINGS);
	Snapshot snapshot = bgjob_rel_snapshot(rel);

	for (int n = 0; n < max && pass.cursor < pass.n; pass.cursor++)
		if (!pass.used[pass.cursor])
		{
			CHECK_FOR_INTERRUPTS();
			remove_row(rel, snapshot, pass.ids[pass.cursor]);
			n++;
		}
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	if (pass.cursor == pass.n)
		pass.stage = STAGE_REMOVED;
	return now;
}

/* Lets all rows be used again. The last deletion has been committed. */
static TimestampTz
end_pass(BgjobDatabase *entry, TimestampTz now)
{
	bool more = pass.n == MOST;

	pg_atomic_write_u64(&entry->settings_floor, 0);
	kept = pass.n - pass.removed;
	pauses = pass.removed > pass.n / 10 ? 1 : Min(2 * pauses, MOST_PAUSES);
	rest_until = now + (more ? 0 : pauses * pause_between());
	resume_at = more ? pass.ids[pass.n - 1] + 1 : 0;
	forget_pass();
	return more ? now : now + pause_between();
}

/* bgjob_unused_is_due returns whether it is time for bgjob_unused_step; if not, *wake is when. */
bool
bgjob_unused_is_due(const BgjobDatabase *entry, TimestampTz now, TimestampTz *wake)
{
	*wake = DT_NOEND;
	if (pass.stage != STAGE_NONE)
		*wake = pass.next_step;
	else if (completed != bgjob_completed_transactions()) /* else no transaction has written */
		*wake = resume_at != 0 || entry->settings_checked > now
					? now
					: entry->settings_checked + pause_between();
	return *wake <= now;
}

static TimestampTz
do_step(BgjobDatabase *entry, TimestampTz now, int max)
{
	switch (pass.stage)
	{
		case STAGE_NONE:
			return begin_pass(entry, now);
		case STAGE_WAITING:
			return wait_for_holders(now);
		case STAGE_RECURRING:
			return read_recurring(now, max);
		case STAGE_JOBS:
			return read_jobs(now, max);
		case STAGE_REMOVING:
			return remove_unused(now, max);
		case STAGE_REMOVED:
			return end_pass(entry, now);
	}
	pg_unreachable();
}

/*
 * bgjob_unused_step begins a pass or does some more of one: it reads or removes
 * "max" rows. Returns when to call it again.
 */
TimestampTz
bgjob_unused_step(BgjobDatabase *entry, TimestampTz now, int max)
{
	pass.next_step = do_step(entry, now, max);
	return pass.next_step;
}
