/*-------------------------------------------------------------------------
 *
 * schedule.c
 *	  Jobs that are to run at a known time.
 *
 * bgjob.schedule has a row for each job in state scheduled, in the order of
 * their times; the row is the lock, as in the queue. The scheduler moves what
 * is due into the queue, in order, and gives each a new place there: jobs
 * that become due are the newest in the line.
 *
 * The scheduler starts each look where the last one ended ("after"), so that
 * the dead rows of what has long run cost nothing; jobs that are announced
 * earlier than that lower it (base/change.c), and now and then it looks from
 * the beginning.
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "base/change.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "store/job.h"
#include "store/schedule.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define SCHEDULE_INDEX "schedule_pkey"

/* So many rows are looked at for each that may be moved: others may have them in their hands. */
#define VISITS 5

/* Columns of bgjob.schedule; the first two are its index. */
enum
{
	S_AT = 1,
	S_JOB,
	S_QUEUE
};

/* bgjob_schedule_insert enters a job that is to run at a time. */
void
bgjob_schedule_insert(TimestampTz at, int64 job, const char *queue)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_SCHEDULE);
	Datum values[] = {TimestampTzGetDatum(at), Int64GetDatum(job), CStringGetTextDatum(queue)};
	bool nulls[lengthof(values)] = {false};

	bgjob_rel_insert(rel, values, nulls);
	bgjob_rel_close(rel);
	bgjob_change_due(at);
}

/* Looks up the row of a job, and deletes it if so told. */
static BgjobTaken
look_up(TimestampTz at, int64 job, bool take, TransactionId *holder)
{
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_SCHEDULE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobTaken taken = BGJOB_NOT_THERE;
	ScanKeyData keys[2];
	BgjobScan *scan;

	bgjob_key(&keys[0], S_AT, BTEqualStrategyNumber, F_TIMESTAMPTZ_EQ, TimestampTzGetDatum(at));
	bgjob_key(&keys[1], S_JOB, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(job));
	scan = bgjob_scan_begin(rel, SCHEDULE_INDEX, snapshot, keys, lengthof(keys));
	if (bgjob_scan_next(scan))
		taken = !take || bgjob_rel_delete(rel, &rel->slot->tts_tid, holder) ? BGJOB_TAKEN
																			: BGJOB_BUSY;
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return taken;
}

/*
 * bgjob_schedule_take takes a job out of the schedule if nobody else is at
 * it; never waits. The job is the caller's until the transaction ends. *holder
 * as in bgjob_queue_take.
 */
BgjobTaken
bgjob_schedule_take(TimestampTz at, int64 job, TransactionId *holder)
{
	return look_up(at, job, true, holder);
}

/* bgjob_schedule_has tells whether a job is in the schedule. */
bool
bgjob_schedule_has(TimestampTz at, int64 job)
{
	return look_up(at, job, false, NULL) == BGJOB_TAKEN;
}

/* Moves one job, whose row in the schedule has been deleted, into the queue. */
static void
enqueue_one(BgjobRel *jobs, int64 id, TimestampTz now)
{
	BgjobCircumstances what = {.at = now};
	BgjobJob job;

	if (!bgjob_job_read(jobs, id, &job) || job.state != BGJOB_SCHEDULED)
		return;
	bgjob_job_apply(&job, BGJOB_EV_DUE, &what);
	bgjob_job_save(jobs, &job);
}

/* A look at what is due. */
typedef struct Look
{
	BgjobRel *jobs;
	BgjobRel *rel;
	Snapshot snapshot;
	MemoryContext per_row;
	TimestampTz now;
	int max;
	int moved;
	int visited;
	BgjobPlanned last; /* that has been visited */
	TimestampTz next;  /* the time of the one behind it; DT_NOEND: there is none */
	TimestampTz blocked_from;
} Look;

/* Moves a job into the queue if it is still there, and nobody has it. */
static void
visit(Look *look, int64 id, ItemPointer tid)
{
	MemoryContext old;

	look->visited++;
	if (!bgjob_rel_fetch(look->rel, tid, SnapshotSelf))
		return; /* a hook that was called for a job before it has taken it out */
	if (!bgjob_rel_delete(look->rel, tid, NULL))
	{
		look->blocked_from = Min(look->blocked_from, look->last.at);
		return;
	}
	old = MemoryContextSwitchTo(look->per_row);
	enqueue_one(look->jobs, id, look->now);
	MemoryContextSwitchTo(old);
	MemoryContextReset(look->per_row);
	look->moved++;
}

/* Goes along the schedule as the keys say; false if it stopped before the end. */
static bool
go_along(Look *look, ScanKey keys, int nkeys)
{
	BgjobScan *scan = bgjob_scan_begin(look->rel, SCHEDULE_INDEX, look->snapshot, keys, nkeys);
	bool end = true;

	while (end && bgjob_scan_next(scan))
	{
		TupleTableSlot *slot = look->rel->slot;
		ItemPointerData tid = slot->tts_tid;
		BgjobPlanned row;

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		row.at = DatumGetTimestampTz(slot->tts_values[S_AT - 1]);
		row.job = DatumGetInt64(slot->tts_values[S_JOB - 1]);
		end = row.at <= look->now && look->moved < look->max &&
			  look->visited < VISITS * look->max;
		if (!end)
			look->next = row.at;
		else
		{
			look->last = row;
			visit(look, row.job, &tid);
		}
	}
	bgjob_scan_end(scan);
	return end;
}

/*
 * bgjob_schedule_enqueue_due moves the jobs that are due at "now", from the one
 * behind *after on and at most "max" of them, into the queue. *after becomes the
 * last one that it has looked at. Returns when the next one is due (DT_NOEND:
 * there is none; not later than now: there are more). *blocked_from is lowered
 * to the time of those that are in somebody else's hands, which are passed over.
 */
TimestampTz
bgjob_schedule_enqueue_due(BgjobPlanned *after, TimestampTz now, int max,
						   TimestampTz *blocked_from)
{
	Look look = {.now = now,
				 .max = max,
				 .last = *after,
				 .next = DT_NOEND,
				 .blocked_from = *blocked_from};
	ScanKeyData keys[2];

	look.jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	look.rel = bgjob_rel_open(BGJOB_TABLE_SCHEDULE);
	look.snapshot = bgjob_rel_snapshot(look.rel);
	look.per_row =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob due", ALLOCSET_DEFAULT_SIZES);
	bgjob_key(&keys[0], S_AT, BTEqualStrategyNumber, F_TIMESTAMPTZ_EQ,
			  TimestampTzGetDatum(after->at));
	bgjob_key(&keys[1], S_JOB, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after->job));
	if (go_along(&look, keys, 2))
	{
		bgjob_key(&keys[0], S_AT, BTGreaterStrategyNumber, F_TIMESTAMPTZ_GT,
				  TimestampTzGetDatum(after->at));
		(void) go_along(&look, keys, 1);
	}
	UnregisterSnapshot(look.snapshot);
	MemoryContextDelete(look.per_row);
	bgjob_rel_close(look.rel);
	bgjob_rel_close(look.jobs);
	*after = look.last;
	*blocked_from = look.blocked_from;
	return look.next;
}
