/*-------------------------------------------------------------------------
 *
 * oldest.c
 *	  The job that has waited longest, in each queue.
 *
 * The index of the queue has the jobs of a lane in their order. So the first of each
 * lane that no worker has is looked up, and the others are passed over: the cost is
 * a few blocks for each lane. A lane that workers know says where its first one is
 * (base/lane.h); the dead rows before it, of which a held snapshot keeps millions, are
 * not read. Of a lane that they do not know, or have forgotten, BGJOB_SCAN_AT_MOST
 * rows are read at most, and ROWS_AT_MOST of all lanes together; what is not found by
 * then is left out.
 *
 * Runs in the session that reads bgjob.queues. Locks: those of base/lanegroup.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/lanes.h"
#include "miscadmin.h"
#include "store/jobrow.h"
#include "store/lanescan.h"
#include "store/oldest.h"
#include "store/queuerow.h"
#include "utils/fmgroids.h"

/* Maximal number of rows of the queue that are read for all lanes together. */
#define ROWS_AT_MOST 100000

/* A walk that is under way. */
typedef struct Walk
{
	BgjobRel *rel;
	BgjobRel *jobs;
	Relation index;
	const BgjobLaneStart *starts;
	int nstarts;
	int rows; /* that may still be read */
} Walk;

/* Returns the position from which on a lane is to be scanned. */
static int64
start_of(const Walk *walk, Oid role, int64 number)
{
	int low = 0;
	int high = walk->nstarts;

	while (low < high)
	{
		int middle = (low + high) / 2;
		const BgjobLaneStart *start = &walk->starts[middle];

		if (start->role == role && start->number == number)
			return start->pos;
		if (start->role < role || (start->role == role && start->number < number))
			low = middle + 1;
		else
			high = middle;
	}
	return PG_INT64_MIN;
}

/* Finds the first job of a lane that no worker is at; false if there is none, or it was not found soon enough. */
static bool
first_of(Walk *walk, const BgjobLanePlace *place, BgjobLaneItem *item, ItemPointer job_tid)
{
	Oid role = place->lane.group.role;
	int most = Min(BGJOB_SCAN_AT_MOST, walk->rows);
	BgjobLaneScan scan;
	bool found = false;

	bgjob_lanescan_begin(&scan, walk->rel, walk->index, role, place->number,
						 BTGreaterEqualStrategyNumber, F_INT8GE,
						 start_of(walk, role, place->number));
	while (!found && scan.visited < most && bgjob_lanescan_next(&scan, ForwardScanDirection))
		found = bgjob_lanescan_item(&scan, &place->lane, item);
	if (found)
		*job_tid = *(ItemPointer) DatumGetPointer(walk->rel->slot->tts_values[BGJOB_Q_TID - 1]);
	walk->rows -= scan.visited;
	bgjob_lanescan_end(&scan);
	return found;
}

/* Reads since when a job waits; false if it is not there any more. */
static bool
waiting_since(BgjobRel *jobs, int64 id, ItemPointer tid, TimestampTz *since)
{
	Datum at;
	bool isnull;

	if (!bgjob_job_peek(jobs, id, tid))
		return false;
	at = slot_getattr(jobs->slot, BGJOB_C_ENTERED_AT, &isnull);
	if (isnull)
		at = slot_getattr(jobs->slot, BGJOB_C_CREATED_AT, &isnull);
	*since = DatumGetTimestampTz(at);
	return true;
}

/* bgjob_oldest_visit calls a function for the first job of each lane of the roles that "sees" accepts. */
void
bgjob_oldest_visit(BgjobSees sees, void *sees_arg, BgjobOldestVisit visit, void *arg)
{
	Walk walk = {.rows = ROWS_AT_MOST};
	BgjobLanePlace place = {.number = 0};
	Oid role = InvalidOid;
	bool seen = false;
	BgjobLaneItem item;
	ItemPointerData tid;
	TimestampTz since;

	walk.jobs = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	walk.rel = bgjob_rel_open_read(BGJOB_TABLE_QUEUE);
	walk.index = index_open(bgjob_relation_oid(BGJOB_QUEUE_INDEX), AccessShareLock);
	walk.starts = bgjob_lanes_starts(MyDatabaseId, &walk.nstarts);
	while (bgjob_lanes_next(walk.rel, &place))
	{
		CHECK_FOR_INTERRUPTS();
		if (place.lane.group.role != role)
			seen = sees(place.lane.group.role, sees_arg);
		role = place.lane.group.role;
		if (!seen)
			place.number = PG_INT64_MAX; /* on to the next role */
		else if (first_of(&walk, &place, &item, &tid) &&
				 waiting_since(walk.jobs, item.job, &tid, &since))
			visit(place.lane.queue, since, arg);
	}
	index_close(walk.index, AccessShareLock);
	bgjob_rel_close(walk.rel);
	bgjob_rel_close(walk.jobs);
}
