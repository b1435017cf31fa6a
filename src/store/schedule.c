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
 * The scheduler starts each look where the last one ended ("from"), so that
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

/*
 * bgjob_schedule_enqueue_due moves the jobs that are due at "now", from time
 * "from" on and at most "max" of them, into the queue. Returns their number;
 * *next is when the next one is due (DT_NOEND: there is none; not later than
 * now: there are more); *blocked is set if one is in somebody else's hands.
 */
int
bgjob_schedule_enqueue_due(TimestampTz from, TimestampTz now, int max, TimestampTz *next,
						   bool *blocked)
{
	BgjobRel *jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	BgjobRel *rel = bgjob_rel_open(BGJOB_TABLE_SCHEDULE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	MemoryContext per_row =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob due", ALLOCSET_DEFAULT_SIZES);
	ScanKeyData key;
	BgjobScan *scan;
	int n = 0;

	bgjob_key(&key, S_AT, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE,
			  TimestampTzGetDatum(from));
	scan = bgjob_scan_begin(rel, SCHEDULE_INDEX, snapshot, &key, 1);
	*next = DT_NOEND;
	while (bgjob_scan_next(scan))
	{
		MemoryContext old;
		ItemPointerData tid;
		int64 id;

		slot_getallattrs(rel->slot);
		*next = DatumGetTimestampTz(rel->slot->tts_values[S_AT - 1]);
		id = DatumGetInt64(rel->slot->tts_values[S_JOB - 1]);
		if (*next > now || n == max)
			break;
		*next = DT_NOEND;
		tid = rel->slot->tts_tid;
		if (!bgjob_rel_fetch(rel, &tid, SnapshotSelf))
			continue; /* a filter of a job before it has taken it out */
		if (!bgjob_rel_delete(rel, &tid, NULL))
		{
			*blocked = true;
			continue;
		}
		old = MemoryContextSwitchTo(per_row);
		enqueue_one(jobs, id, now);
		MemoryContextSwitchTo(old);
		MemoryContextReset(per_row);
		n++;
	}
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	MemoryContextDelete(per_row);
	bgjob_rel_close(rel);
	bgjob_rel_close(jobs);
	return n;
}
