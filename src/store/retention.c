/*-------------------------------------------------------------------------
 *
 * retention.c
 *	  Removing finished jobs.
 *
 * A succeeded or deleted job expires some time after it has finished: the time
 * that the job itself names, or its queue, or bgjob.retention; a failed one
 * bgjob.retention_failed after; -1 is never. The scheduler sweeps
 * through bgjob.job in the order of the ids, a bounded number of rows in each
 * transaction, and stops at the first job that was created too recently to
 * have expired: what is young costs nothing. bgjob_purge() removes at once
 * what its caller may control.
 *
 * A row that somebody is changing is left for the next time; nothing here
 * waits. What is removed is added to bgjob.total in the same transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/tableam.h"
#include "base/change.h"
#include "base/guc.h"
#include "miscadmin.h"
#include "store/history.h"
#include "store/job.h"
#include "store/queueconf.h"
#include "store/retention.h"
#include "store/sidetables.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define SHORTEST_MONTH 28 /* days */

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

/* What the sweep and the purge need to know of a row. */
typedef struct Finished
{
	int64 id;
	BgjobState state;
	Oid run_as;
	TimestampTz created_at;
	TimestampTz finished_at; /* 0: not finished */
	bool has_history;
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

/* Reads what queues say; it stays for the caller's memory context. */
static void
read_queues(void)
{
	queues = NULL;
	nqueues = queues_room = 0;
	bgjob_queueconf_visit(add_queue, NULL);
}

/* What the queue of a row says; NULL: nothing. */
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

	slot_getsomeattrs(slot, BGJOB_C_QUEUE);
	values = slot->tts_values - 1;
	nulls = slot->tts_isnull - 1;
	row->id = DatumGetInt64(values[BGJOB_C_ID]);
	row->state = bgjob_state_by_letter(DatumGetChar(values[BGJOB_C_STATE]));
	row->run_as = DatumGetObjectId(values[BGJOB_C_RUN_AS]);
	row->created_at = DatumGetTimestampTz(values[BGJOB_C_CREATED_AT]);
	row->finished_at = nulls[BGJOB_C_FINISHED_AT] || !bgjob_state_is_final(row->state)
						   ? 0
						   : DatumGetTimestampTz(values[BGJOB_C_FINISHED_AT]);
	row->has_history = DatumGetInt32(values[BGJOB_C_STATES]) > 0;
	row->retention = nulls[BGJOB_C_RETENTION] ? queue_retention(slot)
											  : DatumGetIntervalP(values[BGJOB_C_RETENTION]);
}

/* Removes a job unless somebody is changing it. */
static void
remove_job(BgjobRel *rel, ItemPointer tid, const Finished *row, Removed *removed)
{
	if (!bgjob_rel_delete(rel, tid, NULL))
		return;
	if (row->has_history)
		bgjob_history_delete(row->id);
	if (row->state == BGJOB_FAILED)
		bgjob_failure_delete(row->id);
	bgjob_change_count(row->state == BGJOB_FAILED ? BGJOB_FAILED : BGJOB_NONE, BGJOB_NONE,
					   false, false);
	removed->jobs[row->state]++;
}

/* When a finished job expires; DT_NOEND: never. */
static TimestampTz
expiry(const Finished *row)
{
	int seconds = row->state == BGJOB_FAILED ? bgjob_retention_failed : bgjob_retention;

	if (row->finished_at == 0)
		return DT_NOEND;
	if (row->retention != NULL && row->state != BGJOB_FAILED)
		return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
													   TimestampTzGetDatum(row->finished_at),
													   IntervalPGetDatum(row->retention)));
	return seconds < 0 ? DT_NOEND : row->finished_at + seconds * USECS_PER_SEC;
}

static int64
lower_age(int64 a, int64 b)
{
	return a < 0 ? b : Min(a, b);
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
		youngest =
			lower_age(youngest, queues[i].retention.time +
									((int64) queues[i].retention.day +
									 (int64) queues[i].retention.month * SHORTEST_MONTH) *
										USECS_PER_DAY);
	return youngest;
}

/*
 * bgjob_retention_sweep goes on with a round of removing what has expired at
 * "now", for at most "max" rows; one transaction. Returns true when the round
 * is complete: sweep->earliest then is when the next job expires (DT_NOEND:
 * none that the round has seen), and the next call begins a new round.
 */
bool
bgjob_retention_sweep(BgjobSweep *sweep, TimestampTz now, int max)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_JOB);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	Removed removed = {{0}};
	ScanKeyData key;
	BgjobScan *scan;
	int64 youngest;
	bool complete = true;
	int visited = 0;

	read_queues();
	youngest = youngest_expiry();
	if (sweep->next_id == 0)
		sweep->earliest = DT_NOEND;
	bgjob_key(&key, 1, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(sweep->next_id));
	scan = bgjob_scan_begin(rel, "job_pkey", snapshot, &key, 1);
	while (bgjob_scan_next(scan))
	{
		Finished row;
		TimestampTz expires;

		CHECK_FOR_INTERRUPTS();
		read_finished(rel->slot, &row);
		if (youngest < 0 || row.created_at > now - youngest)
		{
			if (youngest >= 0)
				sweep->earliest = Min(sweep->earliest, row.created_at + youngest);
			break; /* nor has anything that was created later */
		}
		sweep->next_id = row.id + 1;
		expires = expiry(&row);
		if (expires <= now)
			remove_job(rel, &rel->slot->tts_tid, &row, &removed);
		else
			sweep->earliest = Min(sweep->earliest, expires);
		if (++visited == max)
		{
			complete = false;
			break;
		}
	}
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	add_totals(&removed);
	bgjob_rel_close(rel);
	if (complete)
		sweep->next_id = 0;
	return complete;
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
			(role == InvalidOid || has_privs_of_role(role, row.run_as)))
			remove_job(rel, &rel->slot->tts_tid, &row, &removed);
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	add_totals(&removed);
	bgjob_rel_close(rel);
	return removed.jobs[state];
}
