/*-------------------------------------------------------------------------
 *
 * retention.c
 *	  Removing finished jobs.
 *
 * A succeeded or deleted job expires some time after it has finished: the time
 * that the job itself names, or its queue, or bgjob.retention; a failed one
 * bgjob.retention_failed after; -1 is never. bgjob_purge() removes at once
 * what its caller may control; the rest is the scheduler's.
 *
 * THE SWEEP costs what expires, not what exists. Jobs are visited in the order
 * of their ids, up to the first that was created too recently to have expired
 * (the frontier). What is not removed is remembered by ranges of ids, each with
 * the time when the next of its jobs expires, or, where they have not finished,
 * when one could have; nothing is visited before that, and ranges where there
 * is nothing to remove ever more rarely. Ranges live in the scheduler's memory:
 * a new scheduler visits everything once, some thousand rows at a time.
 *
 * A row that another transaction is changing is left for the next time; nothing
 * here waits. Removed jobs are counted in bgjob_internal.total in the same
 * transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/tableam.h"
#include "base/change.h"
#include "base/dependants.h"
#include "base/guc.h"
#include "base/interval.h"
#include "miscadmin.h"
#include "store/batch.h"
#include "store/edge.h"
#include "store/functionconf.h"
#include "store/gating.h"
#include "store/history.h"
#include "store/job.h"
#include "store/log.h"
#include "store/place.h"
#include "store/prerequisite.h"
#include "store/queueconf.h"
#include "store/retention.h"
#include "store/sidetables.h"
#include "store/summary.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define SHORTEST_MONTH 28 /* days */

/* Upper bound of the age of a job, in days, for the arithmetic of the sweep. */
#define OLDEST_JOB 100000

/* Number of ids in a range. */
#define RANGE_SIZE 16384

/* Limits of the pause between two visits of a range, in seconds; long retentions have longer ones. */
#define SHORTEST_PAUSE 1
#define LONGEST_PAUSE  3600

/* Pause before an expired job is visited again that another one still needs, in seconds. */
#define NEEDED_PAUSE 60

/* Pause before scanning for jobs again where there were none, in seconds. */
#define IDLE_PAUSE 10

/* Removed jobs, by state. */
typedef struct Removed
{
	int64 jobs[BGJOB_NSTATES];
} Removed;

static void
add_totals(const Removed *removed)
{
	if (removed->jobs[BGJOB_SUCCEEDED] > 0)
		bgjob_total_add(BGJOB_SUCCEEDED, removed->jobs[BGJOB_SUCCEEDED]);
	if (removed->jobs[BGJOB_DELETED] > 0)
		bgjob_total_add(BGJOB_DELETED, removed->jobs[BGJOB_DELETED]);
}

static int64
count_removed(const Removed *removed)
{
	int64 n = 0;

	for (int state = 0; state < BGJOB_NSTATES; state++)
		n += removed->jobs[state];
	return n;
}

/* The columns of a row that the sweep and the purge need. */
typedef struct Finished
{
	int64 id;
	BgjobState state;
	Oid run_as;
	const text *queue; /* in the row */
	TimestampTz created_at;
	TimestampTz finished_at; /* 0: not finished */
	bool has_history;
	bool has_logs;
	int64 batch;               /* 0: none */
	const Interval *retention; /* NULL: that of the queue, or the setting */
} Finished;

/* The queues that have a retention of their own. */
typedef struct QueueRetention
{
	const char *queue;
	Interval retention;
} QueueRetention;

static QueueRetention *queues;
static int nqueues;
static int queues_room;

static int64 shortest_of_functions;

static int64
lower_age(int64 a, int64 b)
{
	return a < 0 ? b : Min(a, b);
}

/* Returns the least that an interval can be, in microseconds. */
static int64
age(const Interval *interval)
{
	return Max(bgjob_interval_microseconds(interval, SHORTEST_MONTH), 0);
}

static void
add_queue(const char *queue, const BgjobQueueRow *row, void *arg)
{
	if (row->retention == NULL)
		return;
	if (nqueues == queues_room)
	{
		queues_room = Max(8, queues_room * 2);
		queues = queues == NULL ? palloc(queues_room * sizeof(QueueRetention))
								: repalloc(queues, queues_room * sizeof(QueueRetention));
	}
	queues[nqueues++] = (QueueRetention){queue, *row->retention};
}

/*
 * Returns the least that a retention configured of a function can be, in microseconds;
 * -1: none is. Intervals are ordered as if a month had 30 days.
 */
static int64
read_shortest_of_functions(void)
{
	Interval shortest;

	if (!bgjob_functionconf_shortest(&shortest))
		return -1;
	return Max(bgjob_interval_microseconds(&shortest, DAYS_PER_MONTH), 0) / DAYS_PER_MONTH *
		   SHORTEST_MONTH;
}

/* Reads what queues and functions say; it stays for the caller's memory context. */
static void
read_queues(void)
{
	queues = NULL;
	nqueues = queues_room = 0;
	bgjob_queueconf_visit(add_queue, NULL);
	shortest_of_functions = read_shortest_of_functions();
}

/* Returns the retention of a row's queue; NULL: it has none of its own. */
static const Interval *
queue_retention(TupleTableSlot *slot)
{
	text *queue;

	if (nqueues == 0)
		return NULL;
	queue = DatumGetTextPP(slot->tts_values[BGJOB_C_QUEUE - 1]);
	for (int i = 0; i < nqueues; i++)
		if (strlen(queues[i].queue) == VARSIZE_ANY_EXHDR(queue) &&
			memcmp(queues[i].queue, VARDATA_ANY(queue), VARSIZE_ANY_EXHDR(queue)) == 0)
			return &queues[i].retention;
	return NULL;
}

static void
read_finished(TupleTableSlot *slot, Finished *row)
{
	Datum *values;
	bool *nulls;

	slot_getsomeattrs(slot, BGJOB_C_RETENTION); /* the last of those below */
	values = slot->tts_values - 1;
	nulls = slot->tts_isnull - 1;
	row->id = DatumGetInt64(values[BGJOB_C_ID]);
	row->state = bgjob_state_by_letter(DatumGetChar(values[BGJOB_C_STATE]));
	row->run_as = DatumGetObjectId(values[BGJOB_C_RUN_AS]);
	row->queue = (const text *) DatumGetPointer(values[BGJOB_C_QUEUE]);
	row->created_at = DatumGetTimestampTz(values[BGJOB_C_CREATED_AT]);
	row->finished_at = nulls[BGJOB_C_FINISHED_AT] || !bgjob_state_is_final(row->state)
						   ? 0
						   : DatumGetTimestampTz(values[BGJOB_C_FINISHED_AT]);
	row->batch = nulls[BGJOB_C_BATCH_ID] ? 0 : DatumGetInt64(values[BGJOB_C_BATCH_ID]);
	row->has_history = DatumGetInt32(values[BGJOB_C_STATES]) > 0 ||
					   (DatumGetChar(values[BGJOB_C_KIND]) == BGJOB_KIND_EXTERNAL &&
						row->state != BGJOB_SUCCEEDED); /* it may have notes alone */
	row->has_logs = DatumGetInt32(values[BGJOB_C_LOGS]) > 0;
	row->retention = nulls[BGJOB_C_RETENTION] ? queue_retention(slot)
											  : DatumGetIntervalP(values[BGJOB_C_RETENTION]);
}

/* Deletes the edges that are left of a job in rel->slot, which is being removed, and has it leave its sequence. */
static void
remove_ties(BgjobRel *rel)
{
	BgjobJob job;

	slot_getallattrs(rel->slot);
	memcpy(job.values, rel->slot->tts_values, sizeof(job.values));
	memcpy(job.nulls, rel->slot->tts_isnull, sizeof(job.nulls));
	job.id = DatumGetInt64(job.values[BGJOB_C_ID - 1]);
	job.run_as = DatumGetObjectId(job.values[BGJOB_C_RUN_AS - 1]);
	if (bgjob_has_prerequisites(&job))
		bgjob_edges_delete(&job);
	if (!bgjob_job_is_null(&job, BGJOB_C_SEQUENCE_KEY))
		bgjob_gating_leave_sequence(&job);
}

/* Returns whether an unfinished job needs, or may need again, the result of a finished one. */
static bool
is_needed(int64 id)
{
	bool needed = false;
	int n = 0;
	int64 *dependants;

	if (bgjob_dependants_count(id) == 0)
		return false;
	dependants = bgjob_edges_of(id, &n);
	for (int i = 0; i < n && !needed; i++)
		needed = !bgjob_job_is_over(dependants[i]);
	pfree(dependants);
	return needed;
}

/* Removes a job; false if another transaction is changing it. */
static bool
remove_job(BgjobRel *rel, ItemPointer tid, const Finished *row, Removed *removed)
{
	char queue[BGJOB_QUEUE_NAME_SIZE];
	BgjobCounted was = {.role = row->run_as, .queue = queue, .state = row->state};
	BgjobCounted gone = {.state = BGJOB_NONE};

	text_to_cstring_buffer(row->queue, queue, sizeof(queue));
	if (!bgjob_rel_delete(rel, tid, NULL))
		return false;
	if (row->state != BGJOB_SUCCEEDED)
		remove_ties(rel);
	if (row->batch != 0)
		bgjob_batch_removed(row->batch, row->id, row->state);
	bgjob_summary_removed(row->id);
	if (row->has_history)
		bgjob_history_delete(row->id);
	if (row->has_logs)
		bgjob_log_delete(row->id);
	bgjob_place_leave(bgjob_place_of_state(row->state), row->id);
	if (row->state == BGJOB_FAILED) /* the others are in the totals from now on */
		bgjob_change_count(&was, &gone);
	removed->jobs[row->state]++;
	return true;
}

/* Returns the time when a finished job expires; DT_NOEND: never. */
static TimestampTz
expiry(const Finished *row)
{
	int seconds = row->state == BGJOB_FAILED ? bgjob_retention_failed : bgjob_retention;

	if (row->finished_at == 0)
		return DT_NOEND;
	if (row->retention != NULL && row->state != BGJOB_FAILED)
		return bgjob_time_plus(row->finished_at, row->retention);
	return seconds < 0 ? DT_NOEND : bgjob_time_later(row->finished_at, seconds * USECS_PER_SEC);
}

/* No job younger than this can have expired, in microseconds; -1: none ever does. */
static int64
youngest_expiry(void)
{
	int64 youngest = -1;

	if (bgjob_retention >= 0)
		youngest = bgjob_retention * USECS_PER_SEC;
	if (bgjob_retention_failed >= 0)
		youngest = lower_age(youngest, bgjob_retention_failed * USECS_PER_SEC);
	for (int i = 0; i < nqueues; i++)
		youngest = lower_age(youngest, age(&queues[i].retention));
	if (shortest_of_functions >= 0)
		youngest = lower_age(youngest, shortest_of_functions);
	return Min(youngest, OLDEST_JOB * USECS_PER_DAY);
}

/* ---- the sweep ---- */

/* Returns the number of the range that an id is in. */
static int64
range_of(int64 id)
{
	return id / RANGE_SIZE;
}

/* Adds a range behind all others. */
static BgjobRange *
add_range(BgjobSweep *sweep, int64 number)
{
	BgjobRange *range;

	if (sweep->nranges == sweep->room)
	{
		sweep->room = Max(64, sweep->room * 2);
		if (sweep->ranges == NULL)
			sweep->ranges =
				MemoryContextAlloc(TopMemoryContext, sweep->room * sizeof(BgjobRange));
		else
			sweep->ranges = repalloc_huge(sweep->ranges, sweep->room * sizeof(BgjobRange));
	}
	range = &sweep->ranges[sweep->nranges++];
	*range = (BgjobRange){.number = number, .next_visit = DT_NOEND};
	return range;
}

/* Returns the visited range that is to be visited first, if it is its time; NULL: none. */
static BgjobRange *
due_range(BgjobSweep *sweep, TimestampTz now)
{
	BgjobRange *due = NULL;

	for (int64 i = 0; i < sweep->nranges; i++)
		if (sweep->ranges[i].next_visit <= now &&
			(due == NULL || sweep->ranges[i].next_visit < due->next_visit))
			due = &sweep->ranges[i];
	return due;
}

/* Returns the time of the next visit. */
static TimestampTz
next_visit(const BgjobSweep *sweep)
{
	TimestampTz next = sweep->frontier_at;

	for (int64 i = 0; i < sweep->nranges; i++)
		next = Min(next, sweep->ranges[i].next_visit);
	return next;
}

/*
 * Removes a row if it has expired; else notes in its range when to visit it again:
 * when it expires, if that is known. An unfinished job cannot expire before the
 * shortest retention has passed. A range without anything to remove, such as one of
 * jobs that are scheduled far ahead, is visited less often.
 */
static void
visit_row(BgjobRel *rel, BgjobRange *range, TimestampTz now, TimestampTz unknown,
		  Removed *removed)
{
	Finished row;
	TimestampTz expires;

	read_finished(rel->slot, &row);
	expires = expiry(&row);
	if (expires <= now)
	{
		bool needed = is_needed(row.id);

		range->empty_visits = 0;
		if (!needed && remove_job(rel, &rel->slot->tts_tid, &row, removed))
			return;
		expires = now + (needed ? NEEDED_PAUSE : SHORTEST_PAUSE) * USECS_PER_SEC;
	}
	range->rows = true;
	range->next_visit = Min(range->next_visit, expires == DT_NOEND ? unknown : expires);
}

/* Visits a range that has been visited before, until "max" rows have been removed. */
static void
revisit(BgjobRel *rel, Snapshot snapshot, BgjobSweep *sweep, BgjobRange *range, TimestampTz now,
		int64 youngest, int max, Removed *removed)
{
	ScanKeyData keys[2];
	BgjobScan *scan;
	int64 pause = youngest;

	if (youngest < LONGEST_PAUSE * USECS_PER_SEC)
		pause =
			Max(SHORTEST_PAUSE * USECS_PER_SEC,
				Min(youngest << Min(range->empty_visits, 20), LONGEST_PAUSE * USECS_PER_SEC));
	range->empty_visits++;
	range->next_visit = DT_NOEND;
	range->rows = false;
	bgjob_key(&keys[0], 1, BTGreaterEqualStrategyNumber, F_INT8GE,
			  Int64GetDatum(range->number * RANGE_SIZE));
	bgjob_key(&keys[1], 1, BTLessStrategyNumber, F_INT8LT,
			  Int64GetDatum(Min((range->number + 1) * RANGE_SIZE, sweep->frontier)));
	scan = bgjob_scan_begin(rel, "job_pkey", snapshot, keys, 2);
	while (bgjob_scan_next(scan))
	{
		CHECK_FOR_INTERRUPTS();
		visit_row(rel, range, now, now + pause, removed);
		if (count_removed(removed) >= max)
		{
			range->next_visit = now; /* there may be more */
			range->rows = true;
			break;
		}
	}
	bgjob_scan_end(scan);
	if (!range->rows && range->number < range_of(sweep->frontier))
		*range = sweep->ranges[--sweep->nranges]; /* nothing will come there again */
}

/* Goes on where no visit has been, as far as jobs are old enough, for at most "max" rows. */
static void
advance(BgjobRel *rel, Snapshot snapshot, BgjobSweep *sweep, TimestampTz now, int64 youngest,
		int max, Removed *removed)
{
	BgjobRange *range = NULL;
	ScanKeyData key;
	BgjobScan *scan;

	for (int64 i = 0; i < sweep->nranges; i++)
		if (sweep->ranges[i].number == range_of(sweep->frontier))
			range = &sweep->ranges[i];
	bgjob_key(&key, 1, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(sweep->frontier));
	scan = bgjob_scan_begin(rel, "job_pkey", snapshot, &key, 1);
	sweep->frontier_at = now + IDLE_PAUSE * USECS_PER_SEC;
	while (bgjob_scan_next(scan))
	{
		Datum *values = rel->slot->tts_values - 1;
		TimestampTz created_at;
		int64 id;

		CHECK_FOR_INTERRUPTS();
		slot_getsomeattrs(rel->slot, BGJOB_C_CREATED_AT);
		id = DatumGetInt64(values[BGJOB_C_ID]);
		created_at = DatumGetTimestampTz(values[BGJOB_C_CREATED_AT]);
		if (created_at > now - youngest || max-- == 0)
		{
			sweep->frontier_at = Max(bgjob_time_later(created_at, youngest),
									 now + (max < 0 ? 0 : SHORTEST_PAUSE * USECS_PER_SEC));
			break; /* nor has anything expired that was created later */
		}
		if (range == NULL || range->number != range_of(id))
			range = add_range(sweep, range_of(id));
		sweep->frontier = id + 1;
		visit_row(rel, range, now, now + Max(youngest, SHORTEST_PAUSE * USECS_PER_SEC),
				  removed);
	}
	bgjob_scan_end(scan);
}

/* bgjob_retention_restart makes the sweep visit all jobs again, since the times of expiry have changed. */
void
bgjob_retention_restart(BgjobSweep *sweep)
{
	sweep->nranges = 0;
	sweep->frontier = 0;
	sweep->frontier_at = DT_NOBEGIN;
}

/* bgjob_retention_advance has the sweep go on at once: jobs that come from now on may expire earlier than was known. */
void
bgjob_retention_advance(BgjobSweep *sweep)
{
	sweep->frontier_at = DT_NOBEGIN;
}

/*
 * bgjob_retention_sweep removes jobs that have expired at "now", as many as one
 * transaction may. Returns when to call it again: not later than "now" if
 * there is more to do at once; DT_NOEND: not before something changes.
 */
TimestampTz
bgjob_retention_sweep(BgjobSweep *sweep, TimestampTz now, int max)
{
	BgjobRel *rel;
	Snapshot snapshot;
	Removed removed = {{0}};
	BgjobRange *due;
	int64 youngest;

	read_queues();
	youngest = youngest_expiry();
	if (youngest < 0)
		return DT_NOEND;
	rel = bgjob_rel_open(BGJOB_TABLE_JOB);
	snapshot = bgjob_rel_snapshot(rel);
	due = due_range(sweep, now);
	if (due != NULL)
		revisit(rel, snapshot, sweep, due, now, youngest, max, &removed);
	else
		advance(rel, snapshot, sweep, now, youngest, max, &removed);
	UnregisterSnapshot(snapshot);
	add_totals(&removed);
	bgjob_rel_close(rel);
	return next_visit(sweep);
}

/*
 * bgjob_retention_purge removes the jobs in a final state that finished
 * before a time and that "role" has the privileges of (InvalidOid: all); their number.
 */
int64
bgjob_retention_purge(BgjobState state, TimestampTz finished_before, Oid role)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_JOB);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	TableScanDesc scan = table_beginscan(rel->rel, snapshot, 0, NULL);
	Removed removed = {{0}};

	nqueues = 0; /* the caller names the time */
	while (table_scan_getnextslot(scan, ForwardScanDirection, rel->slot))
	{
		Finished row;

		CHECK_FOR_INTERRUPTS();
		read_finished(rel->slot, &row);
		if (row.state == state && row.finished_at != 0 && row.finished_at <= finished_before &&
			(role == InvalidOid || has_privs_of_role(role, row.run_as)) && !is_needed(row.id))
			(void) remove_job(rel, &rel->slot->tts_tid, &row, &removed);
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	add_totals(&removed);
	bgjob_rel_close(rel);
	return removed.jobs[state];
}
