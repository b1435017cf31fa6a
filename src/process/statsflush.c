/*-------------------------------------------------------------------------
 *
 * statsflush.c
 *	  Writing what was counted in queues into the history.
 *
 * A step of the scheduler's round (process/scheduler.c). While jobs go through the queues of the
 * database, it writes what was counted (base/queuestats.c) into the history (store/statshistory.c)
 * once a second, and when an hour ends. After a second in which nothing was counted it rests, until
 * the first process that counts something calls it.
 *
 * So a crash of the server costs the history a second. At a clean shutdown the scheduler writes
 * once more when its workers have left; what sessions count after that is in the file
 * that the postmaster writes (base/statsfile.c).
 *
 * When an hour is over, the step also adds it to its day, and removes what is kept no
 * longer. That waits for the next job in a database where nothing happens.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/database.h"
#include "base/process.h"
#include "miscadmin.h"
#include "process/statsflush.h"
#include "rules/clock.h"
#include "store/statshistory.h"
#include "utils/backend_status.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Queues in one transaction. */
#define BATCH 128

/* Rows in one step of what is done when an hour is over. */
#define TIDY_BATCH 256

static BgjobDatabase *entry; /* this database's */

/* The copies of what is being written. */
static BgjobQueuePending *batch = NULL;

static struct
{
	bool active;      /* something was counted in the last second */
	TimestampTz next; /* when to write */
	int position;     /* where the next batch begins */
	bool wrote;       /* in this pass over all queues */
} flush;

/* What is done when an hour is over, in this order. */
typedef enum Tidying
{
	TIDY_DAYS,  /* the rows of hours are added to those of days */
	TIDY_HOURS, /* old ones are removed */
	TIDY_OLD_DAYS,
	TIDY_NOTHING
} Tidying;

static struct
{
	TimestampTz hour; /* that it was done in last */
	Tidying stage;
} tidy;

/* bgjob_statsflush_begin prepares a scheduler. What another one has left is written at once. */
void
bgjob_statsflush_begin(void)
{
	entry = bgjob_database_find(MyDatabaseId);
	flush.active = true;
	flush.next = DT_NOBEGIN;
	flush.position = 0;
	flush.wrote = false;
	tidy.hour = DT_NOBEGIN;
	tidy.stage = TIDY_NOTHING;
	if (batch == NULL)
		batch = MemoryContextAlloc(TopMemoryContext, BATCH * sizeof(BgjobQueuePending));
}

/* bgjob_statsflush_clock_set forgets the times by a clock that has been set. */
void
bgjob_statsflush_clock_set(void)
{
	flush.next = DT_NOBEGIN;
	tidy.hour = DT_NOBEGIN;
}

/* Writes what is pending in some queues. Returns whether there may be more. */
static bool
write_batch(void)
{
	int position = flush.position;
	int n = 0;

	while (n < BATCH && bgjob_queue_stats_pending(&position, &batch[n]))
		n++;
	if (n > 0)
	{
		bgjob_begin();
		pgstat_report_activity(STATE_RUNNING, "writing the history of statistics");
		bgjob_statshistory_write(batch, n);
		bgjob_commit();
		for (int i = 0; i < n; i++)
			bgjob_queue_stats_written(&batch[i]);
		flush.wrote = true;
	}
	flush.position = n < BATCH ? 0 : position;
	return n == BATCH;
}

/* Returns when to write the next time: in a second, but not after the end of the hour. */
static TimestampTz
next_time(TimestampTz now)
{
	return Min(now + USECS_PER_SEC, bgjob_statshistory_hour(now) + USECS_PER_HOUR);
}

/* Rests until something is counted. Returns whether something was counted meanwhile. */
static bool
rest(void)
{
	int position = 0;

	flush.active = false;
	pg_atomic_write_u32(&entry->stats_pending, 0);
	pg_memory_barrier();
	if (!bgjob_queue_stats_pending(&position, &batch[0]))
		return false;
	pg_atomic_write_u32(&entry->stats_pending, 1);
	return true;
}

/* Does a part of what is to be done when an hour is over. */
static void
tidy_up(TimestampTz now)
{
	bool more = false;

	bgjob_begin();
	pgstat_report_activity(STATE_RUNNING, "tidying the history of statistics");
	switch (tidy.stage)
	{
		case TIDY_DAYS:
			more = bgjob_statshistory_sum_up(bgjob_statshistory_hour(now), TIDY_BATCH) ==
				   TIDY_BATCH;
			break;
		case TIDY_HOURS:
			more = bgjob_statshistory_expire_hours(now, TIDY_BATCH);
			break;
		case TIDY_OLD_DAYS:
			more = bgjob_statshistory_expire_days(now, TIDY_BATCH);
			break;
		case TIDY_NOTHING:
			break;
	}
	bgjob_commit();
	if (!more)
		tidy.stage++;
}

/* Writes what is due. Returns when to go on. */
static TimestampTz
write_due(TimestampTz now)
{
	bool wrote;

	if (now < flush.next && flush.next <= now + USECS_PER_SEC)
		return flush.next;
	if (write_batch())
		return now;
	wrote = flush.wrote;
	flush.wrote = false;
	flush.next = next_time(now);
	if (wrote && tidy.hour != bgjob_statshistory_hour(now))
	{
		tidy.hour = bgjob_statshistory_hour(now);
		tidy.stage = TIDY_DAYS;
	}
	if (!wrote && !rest())
		return DT_NOEND;
	flush.active = true;
	return flush.next;
}

/* bgjob_statsflush_serve writes what was counted, if that is due. */
TimestampTz
bgjob_statsflush_serve(TimestampTz now)
{
	TimestampTz again;

	if (tidy.stage != TIDY_NOTHING)
		tidy_up(now);
	if (!flush.active)
	{
		if (pg_atomic_read_u32(&entry->stats_pending) == 0)
			return tidy.stage != TIDY_NOTHING ? now : DT_NOEND;
		flush.active = true;
		flush.next = next_time(now);
	}
	again = write_due(now);
	return tidy.stage != TIDY_NOTHING ? now : again;
}

/* bgjob_statsflush_end writes what was counted until now, when the workers have left; a step for bgjob_try. */
void
bgjob_statsflush_end(void *arg)
{
	if (entry == NULL)
		return;
	flush.position = 0;
	while (write_batch())
		;
}
