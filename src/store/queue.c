/*-------------------------------------------------------------------------
 *
 * queue.c
 *	  The queue: jobs that can run now.
 *
 * bgjob_internal.queue has a row for each job that can run now and none for any other
 * (scheduled, awaiting, finished). A row is inserted and deleted, never
 * updated, so its ctid identifies it as long as it exists.
 *
 * Each insertion is noted for the lanes (base/change.c), which lead the workers
 * to the rows (store/claim.c).
 *
 * Any process. Inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/change.h"
#include "base/lanegroup.h"
#include "miscadmin.h"
#include "store/queue.h"
#include "store/queuerow.h"
#include "store/relation.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

/* bgjob_queue_lane fills in the lane of a job: external workers take from lanes of their own. */
void
bgjob_queue_lane(const BgjobJob *job, BgjobLaneKey *lane)
{
	BgjobLaneGroupKey group;

	bgjob_lane_group_key(&group, MyDatabaseId, job->run_as,
						 job->kind == BGJOB_KIND_EXTERNAL ? BGJOB_LANE_EXTERNAL
														  : BGJOB_LANE_INTERNAL);
	bgjob_lane_key(lane, &group, job->queue, job->priority);
}

/* Fills the columns of a job's row. */
static void
queue_fill_row(const BgjobJob *job, const BgjobLaneKey *lane, Datum *values, bool *nulls)
{
	memset(nulls, false, BGJOB_Q_COUNT * sizeof(bool));
	values[BGJOB_Q_ROLE - 1] = ObjectIdGetDatum(job->run_as);
	values[BGJOB_Q_LANE - 1] = Int64GetDatum(lane->number);
	values[BGJOB_Q_POS - 1] = Int64GetDatum(job->pos);
	values[BGJOB_Q_TID - 1] = PointerGetDatum(&job->tid);
	values[BGJOB_Q_PRIORITY - 1] = Int16GetDatum(job->priority);
	values[BGJOB_Q_JOB - 1] = Int64GetDatum(job->id);
	nulls[BGJOB_Q_JOB - 1] = job->id == job->pos;
	values[BGJOB_Q_QUEUE - 1] = CStringGetTextDatum(job->queue);
}

/* bgjob_queue_insert inserts a job, whose row has been written, into the queue. */
void
bgjob_queue_insert(const BgjobJob *job)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	BgjobLaneItem item = {.pos = job->pos, .job = job->id};
	Datum values[BGJOB_Q_COUNT];
	bool nulls[BGJOB_Q_COUNT];
	BgjobLaneKey lane;

	bgjob_queue_lane(job, &lane);
	queue_fill_row(job, &lane, values, nulls);
	bgjob_rel_insert(rel, values, nulls);
	item.tid = rel->tid;
	bgjob_rel_close(rel);
	bgjob_change_ready(&lane, &item, 1);
}

/* bgjob_queue_insert_many does the same for n new jobs that differ only in their consecutive ids. */
void
bgjob_queue_insert_many(BgjobBulk *bulk, const BgjobJob *job, int64 first,
						const ItemPointerData *tids, int n)
{
	BgjobLaneItem place = {.pos = first};
	Datum values[BGJOB_Q_COUNT];
	bool nulls[BGJOB_Q_COUNT];
	BgjobLaneKey lane;

	bgjob_queue_lane(job, &lane);
	queue_fill_row(job, &lane, values, nulls);
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
		bgjob_change_ready(&lane, &place, n);
}

/* Begins a scan for the row at a position of a lane. */
static BgjobScan *
begin_at(BgjobRel *rel, Snapshot snapshot, const BgjobLaneKey *lane, int64 pos)
{
	ScanKeyData keys[3];

	bgjob_queue_keys(keys, lane->group.role, lane->number, BTEqualStrategyNumber, F_INT8EQ,
					 pos);
	return bgjob_scan_begin(rel, BGJOB_QUEUE_INDEX, snapshot, keys, 3);
}

/*
 * bgjob_queue_take takes a job out of the queue unless another transaction has
 * it; never waits. The job is the caller's until the transaction ends. If the
 * result is BGJOB_BUSY, *holder (which may be NULL) is that transaction, if known.
 */
BgjobTaken
bgjob_queue_take(const BgjobLaneKey *lane, int64 pos, TransactionId *holder)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_QUEUE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobScan *scan = begin_at(rel, snapshot, lane, pos);
	BgjobTaken taken = BGJOB_NOT_THERE;

	if (bgjob_scan_next(scan))
		taken = bgjob_rel_delete(rel, &rel->slot->tts_tid, holder) ? BGJOB_TAKEN : BGJOB_BUSY;
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return taken;
}

/* bgjob_queue_jobs_of_role reads at most max jobs of a role in the queue; returns their number. */
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
has_row(BgjobRel *rel, Snapshot snapshot, const BgjobLaneKey *lane, int64 pos)
{
	BgjobScan *scan = begin_at(rel, snapshot, lane, pos);
	bool found = bgjob_scan_next(scan);

	bgjob_scan_end(scan);
	return found;
}

/* bgjob_queue_has returns whether the queue has a row at a position of a lane, as a query sees it. */
bool
bgjob_queue_has(const BgjobLaneKey *lane, int64 pos)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_QUEUE);
	bool found = has_row(rel, GetActiveSnapshot(), lane, pos);

	bgjob_rel_close(rel);
	return found;
}

/* bgjob_queue_holds returns whether a waiting job has its row in the queue at this moment. */
bool
bgjob_queue_holds(const BgjobJob *job)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_QUEUE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobLaneKey lane;
	bool found;

	bgjob_queue_lane(job, &lane);
	found = has_row(rel, snapshot, &lane, job->pos);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return found;
}
