/*-------------------------------------------------------------------------
 *
 * queue.c
 *	  What can run now.
 *
 * bgjob_internal.queue has a row for each job that can run now and none for any other
 * (scheduled, awaiting, finished). A row is inserted and deleted, never
 * updated, so its ctid stands for it as long as it is there.
 *
 * Whoever inserts rows notes them for the lanes (base/change.c), which lead the
 * workers to them (store/claim.c).
 *
 * Any process. Inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "base/change.h"
#include "miscadmin.h"
#include "store/queue.h"
#include "store/queuerow.h"
#include "store/relation.h"
#include "store/schedule.h"
#include "store/sequence.h"
#include "store/sidetables.h"
#include "rules/clock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* The row of a job. */
static void
queue_fill_row(const BgjobJob *job, Datum *values, bool *nulls)
{
	memset(nulls, false, BGJOB_Q_COUNT * sizeof(bool));
	values[BGJOB_Q_ROLE - 1] = ObjectIdGetDatum(job->run_as);
	values[BGJOB_Q_LANE - 1] = Int64GetDatum(bgjob_lane_number(job->queue, job->priority));
	values[BGJOB_Q_POS - 1] = Int64GetDatum(job->pos);
	values[BGJOB_Q_TID - 1] = PointerGetDatum(&job->tid);
	values[BGJOB_Q_PRIORITY - 1] = Int16GetDatum(job->priority);
	values[BGJOB_Q_JOB - 1] = Int64GetDatum(job->id);
	nulls[BGJOB_Q_JOB - 1] = job->id == job->pos;
	values[BGJOB_Q_QUEUE - 1] = CStringGetTextDatum(job->queue);
}

/* bgjob_queue_insert puts a job, whose row has been written, into the queue. */
void
bgjob_queue_insert(const BgjobJob *job)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	BgjobLaneItem item = {.pos = job->pos, .job = job->id};
	Datum values[BGJOB_Q_COUNT];
	bool nulls[BGJOB_Q_COUNT];

	queue_fill_row(job, values, nulls);
	bgjob_rel_insert(rel, values, nulls);
	item.tid = rel->tid;
	bgjob_rel_close(rel);
	bgjob_change_ready(job->run_as, job->queue, job->priority, &item, 1);
}

/* bgjob_queue_insert_many does the same for n new jobs that are alike but for their ids, which follow each other. */
void
bgjob_queue_insert_many(BgjobBulk *bulk, const BgjobJob *job, int64 first,
						const ItemPointerData *tids, int n)
{
	BgjobLaneItem place = {.pos = first};
	Datum values[BGJOB_Q_COUNT];
	bool nulls[BGJOB_Q_COUNT];

	queue_fill_row(job, values, nulls);
	nulls[BGJOB_Q_JOB - 1] = true;
	for (int i = 0; i < n; i++)
	{
		values[BGJOB_Q_POS - 1] = Int64GetDatum(first + i);
		values[BGJOB_Q_TID - 1] = PointerGetDatum(&tids[i]);
		if (bgjob_bulk_add(bulk, values, nulls) || i == n - 1)
		{
			int flushed;

			(void) bgjob_bulk_flush(bulk, &flushed);
		}
	}
	if (n > 0)
		bgjob_change_ready(job->run_as, job->queue, job->priority, &place, n);
}

/*
 * bgjob_queue_take takes a job out of the queue if nobody else is at it;
 * never waits. The job is the caller's until the transaction ends. Where the
 * answer is BGJOB_BUSY, *holder (which may be NULL) is who has it, if known.
 */
BgjobTaken
bgjob_queue_take(Oid role, const char *queue, int priority, int64 pos, TransactionId *holder)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobTaken taken = BGJOB_NOT_THERE;
	ScanKeyData keys[3];
	BgjobScan *scan;

	bgjob_queue_keys(keys, role, bgjob_lane_number(queue, priority), BTEqualStrategyNumber,
					 F_INT8EQ, pos);
	scan = bgjob_scan_begin(rel, BGJOB_QUEUE_INDEX, snapshot, keys, 3);
	if (bgjob_scan_next(scan))
		taken = bgjob_rel_delete(rel, &rel->slot->tts_tid, holder) ? BGJOB_TAKEN : BGJOB_BUSY;
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return taken;
}

/* bgjob_queue_jobs_of_role returns jobs of a role that are in the queue, at most max; their number. */
int
bgjob_queue_jobs_of_role(Oid role, int64 *jobs, int max)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_QUEUE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData key;
	BgjobScan *scan;
	int n = 0;

	bgjob_key(&key, BGJOB_QI_ROLE, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
	scan = bgjob_scan_begin(rel, BGJOB_QUEUE_INDEX, snapshot, &key, 1);
	while (n < max && bgjob_scan_next(scan))
	{
		slot_getallattrs(rel->slot);
		jobs[n++] = bgjob_queue_row_job(rel->slot);
	}
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return n;
}

static bool
has_row(BgjobRel *rel, Snapshot snapshot, Oid role, const char *queue, int priority, int64 pos)
{
	ScanKeyData keys[3];
	BgjobScan *scan;
	bool found;

	bgjob_queue_keys(keys, role, bgjob_lane_number(queue, priority), BTEqualStrategyNumber,
					 F_INT8EQ, pos);
	scan = bgjob_scan_begin(rel, BGJOB_QUEUE_INDEX, snapshot, keys, 3);
	found = bgjob_scan_next(scan);
	bgjob_scan_end(scan);
	return found;
}

/* bgjob_queue_has tells whether the queue has a row at a place, as a query sees it. */
bool
bgjob_queue_has(Oid role, const char *queue, int priority, int64 pos)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_QUEUE);
	bool found = has_row(rel, GetActiveSnapshot(), role, queue, priority, pos);

	bgjob_rel_close(rel);
	return found;
}

/* Whether a job that waits has its row in the queue. */
static bool
is_in_queue(BgjobRel *rel, const BgjobJob *job)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	bool found = has_row(rel, snapshot, job->run_as, job->queue, job->priority, job->pos);

	UnregisterSnapshot(snapshot);
	return found;
}

/* Whether a job is in the table that its state says. */
static bool
is_in_place(BgjobRel *queue, const BgjobJob *job)
{
	switch (job->state)
	{
		case BGJOB_ENQUEUED:
			return is_in_queue(queue, job);
		case BGJOB_SCHEDULED:
			return bgjob_schedule_has(job->run_as,
									  DatumGetTimestampTz(bgjob_job_datum(job, BGJOB_C_RUN_AT)),
									  job->id);
		case BGJOB_PROCESSING:
			return bgjob_claim_is_held(job->id);
		case BGJOB_FAILED:
			return bgjob_failure_has(job->id);
		default:
			return true;
	}
}

/* Whether jobs in a state are in some table besides bgjob_internal.job. */
static bool
has_place(char letter)
{
	BgjobState state = bgjob_state_by_letter(letter);

	return state == BGJOB_ENQUEUED || state == BGJOB_SCHEDULED || state == BGJOB_PROCESSING ||
		   state == BGJOB_FAILED;
}

/*
 * Puts one job to where its state says that it belongs, if it is not there.
 * Jobs that others are at are in their places, or become so; only what is
 * missing in both looks, the second with the row locked, is put there. Returns
 * whether something will be performed that would not have been.
 */
static bool
rebuild_one(BgjobRel *jobs, BgjobRel *queue, int64 id)
{
	BgjobCircumstances what = {.at = bgjob_now(), .reason = "Restored from a copy"};
	TimestampTz run_at;
	BgjobJob job;

	if (!bgjob_job_read(jobs, id, &job) || is_in_place(queue, &job) ||
		!bgjob_job_lock(jobs, &job) || is_in_place(queue, &job))
		return false;
	switch (job.state)
	{
		case BGJOB_ENQUEUED:
			bgjob_queue_insert(&job);
			return true;
		case BGJOB_PROCESSING:
			bgjob_job_apply(&job, BGJOB_EV_INTERRUPT, &what);
			bgjob_job_save(jobs, &job);
			return true;
		case BGJOB_SCHEDULED:
			run_at = DatumGetTimestampTz(bgjob_job_datum(&job, BGJOB_C_RUN_AT));
			bgjob_schedule_insert(job.run_as, run_at, job.id, job.queue);
			return true;
		default:
			bgjob_failure_insert(job.id, job.queue);
			return false;
	}
}

/*
 * Whether a job would be performed if it were where its state says. What is
 * missing in both looks is: in between a worker may have performed it.
 */
static bool
is_held_back(BgjobRel *jobs, BgjobRel *queue, int64 id)
{
	BgjobJob job;

	for (int look = 0; look < 2; look++)
		if (!bgjob_job_read(jobs, id, &job) || bgjob_state_is_final(job.state) ||
			is_in_place(queue, &job))
			return false;
	return true;
}

/*
 * bgjob_queue_count_held_back counts jobs that bgjob_queue_rebuild would put
 * into place: among "max" that follow the id *after, which is moved on. Returns
 * their number; *all: these were the last.
 */
int64
bgjob_queue_count_held_back(int64 *after, int max, bool *all)
{
	BgjobRel *jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	BgjobRel *queue = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	int64 *ids = palloc(max * sizeof(int64));
	Snapshot snapshot = bgjob_rel_snapshot(jobs);
	ScanKeyData key;
	BgjobScan *scan;
	int visited = 0;
	int n = 0;
	int64 held = 0;

	bgjob_key(&key, 1, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(*after));
	scan = bgjob_scan_begin(jobs, "job_pkey", snapshot, &key, 1);
	while (visited < max && bgjob_scan_next(scan))
	{
		bool isnull;

		visited++;
		*after = DatumGetInt64(slot_getattr(jobs->slot, BGJOB_C_ID, &isnull));
		if (!bgjob_state_is_final(bgjob_state_by_letter(
				DatumGetChar(slot_getattr(jobs->slot, BGJOB_C_STATE, &isnull)))))
			ids[n++] = *after;
	}
	*all = visited < max;
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (is_held_back(jobs, queue, ids[i]))
			held++;
	}
	bgjob_rel_close(queue);
	bgjob_rel_close(jobs);
	pfree(ids);
	return held;
}

/*
 * bgjob_queue_rebuild puts every job that is waiting, but is in neither queue
 * nor schedule, where it belongs: after a restore. Returns their number. Ids
 * that are drawn afterwards are higher than all that are there.
 */
int64
bgjob_queue_rebuild(void)
{
	BgjobRel *jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	BgjobRel *queue = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	Snapshot snapshot = bgjob_rel_snapshot(jobs);
	TableScanDesc scan = table_beginscan(jobs->rel, snapshot, 0, NULL);
	TupleTableSlot *slot = table_slot_create(jobs->rel, NULL);
	MemoryContext per_row =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob rebuild", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(per_row);
	int64 highest = 0;
	int64 n = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool isnull;

		CHECK_FOR_INTERRUPTS();
		highest = Max(highest, DatumGetInt64(slot_getattr(slot, BGJOB_C_ID, &isnull)));
		highest = Max(highest, DatumGetInt64(slot_getattr(slot, BGJOB_C_POS, &isnull)));
		if (has_place(DatumGetChar(slot_getattr(slot, BGJOB_C_STATE, &isnull))) &&
			rebuild_one(jobs, queue, DatumGetInt64(slot_getattr(slot, BGJOB_C_ID, &isnull))))
			n++;
		MemoryContextReset(per_row);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(per_row);
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(queue);
	bgjob_rel_close(jobs);
	bgjob_ids_reach(highest);
	return n;
}
