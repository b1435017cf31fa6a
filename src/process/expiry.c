/*-------------------------------------------------------------------------
 *
 * expiry.c
 *	  Removing finished jobs that have expired, and settings that no job uses.
 *
 * Steps of the scheduler's round (process/scheduler.c), each of BATCH rows at most.
 * store/retention.c and store/unused.c do the work; here is when.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/database.h"
#include "base/guc.h"
#include "base/process.h"
#include "miscadmin.h"
#include "process/expiry.h"
#include "process/unannounced.h"
#include "store/composed.h"
#include "store/retention.h"
#include "store/unused.h"
#include "utils/backend_status.h"
#include "utils/timestamp.h"

/* Pause between two looks at batches and signals, in seconds. */
#define COMPOSED_PAUSE 10

/* Rows in one step. */
#define BATCH 2000

static BgjobDatabase *entry; /* this database's */
static BgjobSweep sweep;
static TimestampTz next_sweep;
static TimestampTz next_composed;
static uint64 composed_at; /* completed transactions, at the last look at batches and signals */
static int64 batches_after; /* where the next look at batches begins */
static uint64 swept_at;     /* completed transactions, at the last round's end */

/* bgjob_expiry_anew restarts the sweep, since the times of expiry may have changed. */
void
bgjob_expiry_anew(void)
{
	bgjob_retention_restart(&sweep);
	next_sweep = 0;
	swept_at = 0;
}

/* bgjob_expiry_advance does so for functions whose retention has been configured. */
void
bgjob_expiry_advance(void)
{
	bgjob_retention_advance(&sweep);
	next_sweep = 0;
	swept_at = 0;
}

/* bgjob_expiry_begin prepares a scheduler. */
void
bgjob_expiry_begin(void)
{
	entry = bgjob_database_find(MyDatabaseId);
	bgjob_unused_reset(entry);
	bgjob_expiry_anew();
}

/* bgjob_expiry_end gives up a removal that is under way. */
void
bgjob_expiry_end(void)
{
	entry = bgjob_database_find(MyDatabaseId);
	bgjob_unused_reset(entry);
}

/* bgjob_expiry_serve removes a batch of expired jobs; nothing is done while no transaction writes and no job is known to expire. */
TimestampTz
bgjob_expiry_serve(TimestampTz now)
{
	uint64 completed = bgjob_completed_transactions();

	if (now < next_sweep)
		return next_sweep;
	if (sweep.nranges == 0 && swept_at == completed)
	{
		next_sweep = now + BGJOB_SLOW_POLL * USECS_PER_SEC;
		return next_sweep;
	}
	bgjob_begin();
	pgstat_report_activity(STATE_RUNNING, "removing expired jobs");
	next_sweep = bgjob_retention_sweep(&sweep, now, BATCH);
	bgjob_commit();
	if (next_sweep > now)
		swept_at = completed;
	return next_sweep;
}

/* bgjob_expiry_serve_composed removes batches and signals that have expired, some rows at a time, now and then. */
TimestampTz
bgjob_expiry_serve_composed(TimestampTz now)
{
	TimestampTz before;

	if (bgjob_retention < 0 || now < next_composed)
		return bgjob_retention < 0 ? DT_NOEND : next_composed;
	next_composed = now + COMPOSED_PAUSE * USECS_PER_SEC;
	if (composed_at == bgjob_completed_transactions() && batches_after == 0)
		return next_composed;
	before = now - bgjob_retention * USECS_PER_SEC;
	bgjob_begin();
	pgstat_report_activity(STATE_RUNNING, "removing expired batches");
	(void) bgjob_batches_expire(before, &batches_after, BATCH);
	(void) bgjob_signals_expire(before, BATCH);
	bgjob_commit();
	composed_at = bgjob_completed_transactions();
	return next_composed;
}

/* bgjob_expiry_serve_unused removes settings that no job uses any more, some rows at a time. */
TimestampTz
bgjob_expiry_serve_unused(TimestampTz now)
{
	TimestampTz wake;

	if (!bgjob_unused_is_due(entry, now, &wake))
		return wake;
	bgjob_begin();
	pgstat_report_activity(STATE_RUNNING, "removing unused settings");
	wake = bgjob_unused_step(entry, now, BATCH);
	bgjob_commit();
	return wake;
}
