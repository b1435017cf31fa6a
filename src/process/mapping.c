/*-------------------------------------------------------------------------
 *
 * mapping.c
 *	  Keeping the map of jobs, by which bgjob_list() finds them.
 *
 * A step of the scheduler's round (process/scheduler.c). It begins the map of the
 * database, and cleans ranges of ids that are unknown or have come to rest
 * (base/jobmap.c): BATCH of them in a step, with a PAUSE between two steps, which is
 * some hundred thousand jobs in a second. After a start of the server, the process that
 * counts the jobs of a large database (process/census.c) does the same faster. A few ranges are left to the sessions that
 * list jobs, so a database with few jobs or with nothing to do costs nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/guc.h"
#include "base/jobmap.h"
#include "base/process.h"
#include "miscadmin.h"
#include "process/mapping.h"
#include "store/rangeclean.h"
#include "utils/backend_status.h"
#include "utils/timestamp.h"

/* Ranges in a step, and microseconds between two steps. */
#define BATCH 8
#define PAUSE 10000

/* Seconds of a round. */
#define ROUND 10

/* So many ranges are left to the sessions that list jobs. */
#define FEW BGJOB_MAP_SPAN

/* Ranges in one transaction of bgjob_mapping_fill. */
#define FILL_BATCH 100

static struct
{
	TimestampTz at; /* when to go on */
	int64 from;     /* the next range; -1: the next round has not begun */
	TimestampTz round_ends;
	uint64 map;       /* bgjob_jobmap_current() in this round */
	int64 left_alone; /* so many ranges of it could not be cleaned */
} mapping = {.from = -1};

/* Begins the map, unless it has begun. False: there can be none. */
static bool
begin_map(void)
{
	BgjobRel *jobs;
	bool begun;

	if (bgjob_list_memory == 0)
		return false;
	if (bgjob_jobmap_current() != 0)
		return true;
	bgjob_begin();
	jobs = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	begun = bgjob_ranges_settle(jobs);
	bgjob_rel_close(jobs);
	bgjob_commit();
	return begun;
}

/* Ends a round. Returns whether there is enough to clean. */
static bool
end_round(TimestampTz now)
{
	int64 unclean = bgjob_jobmap_unclean();

	bgjob_jobmap_end_round();
	mapping.round_ends = now + ROUND * USECS_PER_SEC;
	mapping.left_alone =
		mapping.map == bgjob_jobmap_current() ? Min(mapping.left_alone, unclean) : 0;
	mapping.map = bgjob_jobmap_current();
	if (unclean <= mapping.left_alone + FEW)
		return false;
	mapping.from = PG_INT64_MAX / BGJOB_MAP_RANGE;
	return true;
}

/* Cleans some ranges; returns whether there are more. */
static bool
clean_some(void)
{
	bool more;

	bgjob_begin();
	pgstat_report_activity(STATE_RUNNING, "mapping jobs");
	more = bgjob_ranges_clean_some(&mapping.from, BATCH, false);
	bgjob_commit();
	return more;
}

/* bgjob_mapping_serve does what is to be done of that. */
TimestampTz
bgjob_mapping_serve(TimestampTz now)
{
	if (now < mapping.at && mapping.at <= now + ROUND * USECS_PER_SEC)
		return mapping.from >= 0 ? mapping.at : DT_NOEND;
	mapping.at = now + ROUND * USECS_PER_SEC;
	if (!begin_map() || (mapping.from < 0 && !end_round(now)))
		return DT_NOEND; /* the scheduler comes by every few seconds */
	if (clean_some())
		mapping.at = now + PAUSE;
	else
	{
		mapping.left_alone = bgjob_jobmap_unclean();
		mapping.at = mapping.round_ends;
	}
	return mapping.from >= 0 ? mapping.at : DT_NOEND;
}

/*
 * bgjob_mapping_fill begins the map of the database and cleans all that is worth it, in
 * transactions of its own, unless it must stop; by a process that has nothing else to do.
 */
void
bgjob_mapping_fill(bool (*must_stop)(void))
{
	int64 from = PG_INT64_MAX / BGJOB_MAP_RANGE;
	bool more = begin_map();

	while (more && !must_stop())
	{
		CHECK_FOR_INTERRUPTS();
		bgjob_begin();
		more = bgjob_ranges_clean_some(&from, FILL_BATCH, true);
		bgjob_commit();
	}
}
