/*-------------------------------------------------------------------------
 *
 * heldback.c
 *	  Jobs that a restore has brought, and that wait for bgjob_adopt().
 *
 * A step of the scheduler's round (process/scheduler.c): it counts BATCH jobs at most
 * (store/restore.c), and logs the sum when it has come to the end.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/database.h"
#include "base/process.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "process/heldback.h"
#include "store/recurring.h"
#include "store/restore.h"
#include "store/sidetables.h"

/* Jobs in one step, and microseconds between two. */
#define BATCH 1000
#define PAUSE 10000

/* What a restore has brought, as far as it has been counted. */
static struct
{
	TimestampTz at; /* when to go on; DT_NOEND: all is counted */
	int64 after;
	int64 jobs;
	int64 recurring;
} held_back;

/* bgjob_heldback_count_anew restarts the count at a given time. */
void
bgjob_heldback_count_anew(TimestampTz at)
{
	held_back.at = at;
	held_back.after = PG_INT64_MIN;
	held_back.jobs = 0;
}

/* Counts some more jobs that are held back; false if all have been counted. */
static bool
count_held_back(void)
{
	bool all = !bgjob_restored_here();

	if (!all)
		held_back.jobs += bgjob_restore_count_held_back(&held_back.after, BATCH, &all);
	if (all)
		held_back.recurring = bgjob_recurring_count_restored();
	return !all;
}

/* bgjob_heldback_serve counts some of the jobs that are held back, and logs the result once. */
TimestampTz
bgjob_heldback_serve(TimestampTz now)
{
	BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);
	bool more;

	if (now < held_back.at)
		return held_back.at;
	bgjob_begin();
	more = count_held_back();
	bgjob_commit();
	held_back.at = more ? now + PAUSE : DT_NOEND;
	if (more || entry->held_back == held_back.jobs + held_back.recurring)
		return held_back.at;
	entry->held_back = held_back.jobs + held_back.recurring;
	if (entry->held_back == 0)
		return held_back.at;
	bgjob_begin();
	ereport(LOG, (errmsg("database \"%s\" holds back " INT64_FORMAT " jobs and " INT64_FORMAT
						 " recurring jobs of bgjob",
						 get_database_name(MyDatabaseId), held_back.jobs, held_back.recurring),
				  errdetail("They come from a dump or from a publisher, and do not run here."),
				  errhint("To run them, call bgjob_adopt() in that database.")));
	bgjob_commit();
	return held_back.at;
}
