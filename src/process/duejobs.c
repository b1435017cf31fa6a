/*-------------------------------------------------------------------------
 *
 * duejobs.c
 *	  Moving jobs that are due into the queue.
 *
 * A step of the scheduler's round (process/scheduler.c). It moves DUE_BATCH jobs at
 * most, of each role as many (store/due.c), so no role waits for another's. Jobs
 * that another transaction has locked are skipped and tried again after a second. It also moves
 * jobs that wait for others (base/chunkwaits.c), and are enough.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/chunkwaits.h"
#include "base/database.h"
#include "base/process.h"
#include "base/totalnotes.h"
#include "miscadmin.h"
#include "process/duejobs.h"
#include "store/due.h"
#include "store/schedule.h"
#include "utils/backend_status.h"
#include "utils/timestamp.h"

/* Jobs in one step. */
#define DUE_BATCH 1000

/* Jobs that wait together, at most: those of a full chunk, and what one statement has added. */
#define WAITING_BATCH (2 * BGJOB_GROUP_MAX)

static BgjobDatabase *entry;                 /* this database's */
static TimestampTz next_due;                 /* of the jobs in the schedule */
static TimestampTz blocked_from = DT_NOEND;  /* the first job that was skipped */
static TimestampTz blocked_until = DT_NOEND; /* when skipped jobs are tried again */

/* bgjob_duejobs_begin prepares a scheduler. */
void
bgjob_duejobs_begin(void)
{
	entry = bgjob_database_find(MyDatabaseId);
	pg_atomic_write_u64(&entry->low_due, (uint64) DT_NOEND);
}

/* bgjob_duejobs_rescan makes the next step scan the schedule from its beginning. */
void
bgjob_duejobs_rescan(void)
{
	bgjob_schedule_rescan();
	next_due = DT_NOBEGIN;
}

/* bgjob_duejobs_clock_set forgets times of a clock that has been set; it is "now". */
void
bgjob_duejobs_clock_set(TimestampTz now)
{
	if (blocked_from != DT_NOEND)
		blocked_until = now;
}

/* Moves jobs that have waited for others into the queue, where enough have come. */
static void
serve_waiting(TimestampTz now)
{
	Oid role;
	TimestampTz at;

	while (bgjob_chunkwaits_take_full(&role, &at))
	{
		bgjob_begin();
		pgstat_report_activity(STATE_RUNNING, "enqueuing jobs that are enough for a chunk");
		bgjob_due_enqueue_waiting(role, at, now, WAITING_BATCH);
		bgjob_commit();
	}
}

/* bgjob_duejobs_serve moves some due jobs into the queue, of each role the same number. */
TimestampTz
bgjob_duejobs_serve(TimestampTz now)
{
	TimestampTz low = (TimestampTz) pg_atomic_exchange_u64(&entry->low_due, (uint64) DT_NOEND);

	serve_waiting(now);
	if (blocked_until <= now)
	{
		low = Min(low, blocked_from);
		blocked_from = blocked_until = DT_NOEND;
	}
	if (low != DT_NOEND)
		bgjob_schedule_rescan_from(low);
	next_due = Min(next_due, low);
	if (next_due <= now)
	{
		bgjob_totals_begin();
		bgjob_begin();
		pgstat_report_activity(STATE_RUNNING, "enqueuing due jobs");
		next_due = bgjob_due_enqueue(now, DUE_BATCH, &blocked_from);
		bgjob_commit();
		bgjob_totals_commit();
	}
	if (blocked_from != DT_NOEND && blocked_until == DT_NOEND && next_due > now)
		blocked_until = now + USECS_PER_SEC;
	return Min(next_due, blocked_until);
}
