/*-------------------------------------------------------------------------
 *
 * clockset.c
 *	  Notices that the clock was set, and sets right what was computed by it.
 *
 * Run by the scheduler. In each round the clock and the steady clock, which
 * cannot be set, are compared with those of the round before: if they differ by more than
 * CLOCK_STEP, the clock was set. Both are
 * kept in shared memory, so a new scheduler notices changes since the last
 * round of the previous one.
 *
 * FORWARD. Occurrences of recurring jobs that the clock has skipped are missed.
 *
 * BACK. The clock was ahead. Next occurrences that were computed then are recomputed
 * (run/occurrence.c), and the difference is logged. Jobs that wait for a retry or a
 * snooze wait their full time from now on. Times given by users (run_at) stay.
 *
 * WHEN THE SERVER STARTS, changes of the clock since the stop are unknown. If the last
 * checkpoint is in the future, the clock has gone back by at least that much. In any
 * case all recurring jobs are scanned once.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "base/process.h"
#include "miscadmin.h"
#include "process/clockset.h"
#include "process/recurring.h"
#include "rules/clock.h"
#include "storage/lwlock.h"
#include "store/due.h"
#include "utils/timestamp.h"

/* The difference between the clock and the steady clock from which on the clock counts as set, in seconds. */
#define CLOCK_STEP 5

/* Number of waiting jobs that are read in a round. */
#define MANY 500

static BgjobDatabase *entry; /* this database's */
static int64 recurring;      /* number of recurring jobs that were corrected */
static int64 waiting;        /* likewise, of waiting jobs */
static BgjobScheduled after; /* the last waiting job that has been read */
static bool all_waiting;     /* all of them have been read */

/* Returns how far the last checkpoint, as the server found it at its start, lies in the future. */
static int64
measure_by_checkpoint(TimestampTz now)
{
	ControlFileData *control;
	bool valid;
	int64 ahead = 0;

	LWLockAcquire(ControlFileLock, LW_SHARED);
	control = get_controlfile(DataDir, &valid);
	LWLockRelease(ControlFileLock);
	if (valid)
		ahead = time_t_to_timestamptz(control->checkPointCopy.time) - now;
	pfree(control);
	return ahead > CLOCK_STEP * USECS_PER_SEC ? ahead : 0;
}

static void
begin_setting_right(void)
{
	entry->set_right = false;
	recurring = waiting = 0;
	after = (BgjobScheduled){InvalidOid, DT_NOBEGIN, 0};
	all_waiting = entry->set_back == 0; /* then no job is known to wait too long */
	bgjob_recurring_correct(entry->set_back);
}

/* bgjob_clockset_begin begins to watch the clock for a database. */
void
bgjob_clockset_begin(BgjobDatabase *database)
{
	TimestampTz now = bgjob_now();

	entry = database;
	if (entry->steady_at == 0)
	{
		entry->clock_at = now;
		entry->steady_at = bgjob_steady_now();
		entry->set_back = measure_by_checkpoint(now);
	}
	if (!entry->set_right)
		begin_setting_right();
}

/* bgjob_clockset_watch returns whether the clock was set since the last call. */
bool
bgjob_clockset_watch(TimestampTz now)
{
	int64 steady = bgjob_steady_now();
	int64 forward = (now - entry->clock_at) - (steady - entry->steady_at);

	entry->clock_at = now;
	entry->steady_at = steady;
	if (forward > CLOCK_STEP * USECS_PER_SEC)
	{
		ereport(LOG, (errmsg("the clock was set forward by about " INT64_FORMAT " s",
							 forward / USECS_PER_SEC),
					  errdetail("Occurrences of recurring jobs in between count as missed.")));
		bgjob_recurring_clock_set(now, true);
		return true;
	}
	if (forward < -CLOCK_STEP * USECS_PER_SEC)
	{
		entry->set_back -= forward;
		bgjob_recurring_clock_set(now, false);
		begin_setting_right();
		return true;
	}
	return false;
}

static void
correct_waiting(TimestampTz now)
{
	int64 n = 0;

	bgjob_begin();
	all_waiting = bgjob_due_correct(&after, now, MANY, &n);
	bgjob_commit();
	waiting += n;
}

/* Logs the number of corrected times. */
static void
report(void)
{
	if (entry->set_back != 0)
		ereport(LOG, (errmsg("the clock was set back by about " INT64_FORMAT " s",
							 entry->set_back / USECS_PER_SEC),
					  errdetail("The next occurrences of " INT64_FORMAT
								" recurring jobs and the times of " INT64_FORMAT
								" waiting jobs were recomputed.",
								recurring, waiting)));
	else if (recurring > 0)
		ereport(LOG, (errmsg("the next occurrences of " INT64_FORMAT " recurring jobs were "
							 "too late, as after the clock was set back",
							 recurring),
					  errdetail("They were recomputed.")));
}

/*
 * bgjob_clockset_serve corrects some of the times that were computed while the clock
 * was ahead. Returns when to go on; DT_NOEND: all have been corrected.
 */
TimestampTz
bgjob_clockset_serve(TimestampTz now)
{
	TimestampTz again;

	if (entry->set_right)
		return DT_NOEND;
	again = bgjob_recurring_serve_correction(now, &recurring);
	if (again != DT_NOEND)
		return again;
	if (!all_waiting)
		correct_waiting(now);
	if (!all_waiting)
		return now;
	report();
	entry->set_back = 0;
	entry->set_right = true;
	return DT_NOEND;
}
