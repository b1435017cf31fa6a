/*-------------------------------------------------------------------------
 *
 * runninglog.c
 *	  The jobs that a scheduler waits for and interrupts, in the server's log.
 *
 * A shutdown, a command such as ALTER DATABASE … RENAME or a changed setting has
 * the scheduler end its workers. Two lines say what it does to their jobs: that it
 * waits, and that it interrupts them. Each names the first JOBS_NAMED jobs: id, job, role
 * and running time. Job and role are read from the tables. Where that cannot be done
 * (they are locked, or the extension has been dropped) the ids must do.
 *
 * A third line names a job that did not end when it was canceled.
 *
 * By the scheduler, outside of any transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/process.h"
#include "base/slot.h"
#include "base/text.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "process/runninglog.h"
#include "rules/clock.h"
#include "storage/spin.h"
#include "store/jobrow.h"
#include "utils/memutils.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

/* Maximal number of jobs that a line names. */
#define JOBS_NAMED 10

typedef struct Running
{
	int64 job;
	TimestampTz since; /* 0: not known */
	char *name;        /* (send_mail), role "app"; empty: not known */
} Running;

static Running running[JOBS_NAMED];
static int nrunning; /* may be more than there is room for */

/* Collects the jobs of this database's workers. */
static void
collect(void)
{
	nrunning = 0;
	for (int i = 0; i < bgjob_registry->nslots; i++)
	{
		BgjobSlot *slot = &bgjob_registry->slots[i];
		Running one = {.name = ""};

		if (!slot->in_use || slot->kind != BGJOB_WORKER || slot->database != MyDatabaseId)
			continue;
		SpinLockAcquire(&slot->mutex);
		one.job = slot->job;
		one.since = slot->job_started_at;
		SpinLockRelease(&slot->mutex);
		if (one.job == 0)
			continue;
		if (nrunning < JOBS_NAMED)
			running[nrunning] = one;
		nrunning++;
	}
}

/* Reads what jobs these are, and whose. */
static void
read_names(void)
{
	BgjobRel *jobs;
	BgjobJob job;

	bgjob_begin();
	jobs = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	for (int i = 0; i < Min(nrunning, JOBS_NAMED); i++)
		if (bgjob_job_read(jobs, running[i].job, &job))
		{
			char *role = GetUserNameFromId(job.run_as, true);

			running[i].name =
				psprintf(" (%s), role \"%s\"", bgjob_text_cut(job.job, BGJOB_TITLE_MAX),
						 role != NULL ? role : "?");
		}
	bgjob_rel_close(jobs);
	bgjob_commit();
}

/* Does so, unless the tables cannot be read: that is no reason for this process to fail now. */
static void
try_read_names(void)
{
	MemoryContext caller = CurrentMemoryContext;

	PG_TRY();
	{
		read_names();
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		disable_all_timeouts(false);
		QueryCancelPending = false;
		AbortOutOfAnyTransaction();
		FlushErrorState();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
}

/* Returns the list of the jobs; NULL if no job is running. */
static char *
describe(void)
{
	TimestampTz now = bgjob_now();
	StringInfoData list;

	collect();
	if (nrunning == 0)
		return NULL;
	try_read_names();
	initStringInfo(&list);
	for (int i = 0; i < Min(nrunning, JOBS_NAMED); i++)
	{
		appendStringInfo(&list, "%sjob " INT64_FORMAT "%s", i > 0 ? "; " : "", running[i].job,
						 running[i].name);
		if (running[i].since != 0)
			appendStringInfo(&list, ", running for " INT64_FORMAT " s",
							 Max(0, now - running[i].since) / USECS_PER_SEC);
	}
	if (nrunning > JOBS_NAMED)
		appendStringInfo(&list, "; and %d more", nrunning - JOBS_NAMED);
	return list.data;
}

/*
 * bgjob_runninglog_wait logs the jobs that the scheduler waits for, grace_ms at most.
 * Returns false if there are none.
 */
bool
bgjob_runninglog_wait(const char *database, int grace_ms)
{
	char *list = describe();

	if (list == NULL)
		return false;
	ereport(LOG,
			(errmsg_plural("waiting for %d job in database \"%s\" to end",
						   "waiting for %d jobs in database \"%s\" to end", nrunning, nrunning,
						   database),
			 errdetail("Running: %s.", list),
			 errhint("Jobs are interrupted after %d ms (bgjob.shutdown_timeout), and run again "
					 "later.",
					 grace_ms)));
	return true;
}

static const char *
cause_of(BgjobInterruption why)
{
	switch (why)
	{
		case BGJOB_BY_COMMAND:
			return "a command needs the database, or the extension, for itself";
		case BGJOB_BY_SETTINGS:
			return "bgjob.enabled or bgjob.databases has been changed";
		default:
			return "the server is shutting down";
	}
}

/* bgjob_runninglog_interrupt logs the jobs that the scheduler interrupts. Returns false if there are none. */
bool
bgjob_runninglog_interrupt(const char *database, BgjobInterruption why)
{
	char *list = describe();

	if (list == NULL)
		return false;
	ereport(LOG, (errmsg_plural("interrupting %d job in database \"%s\": %s",
								"interrupting %d jobs in database \"%s\": %s", nrunning,
								nrunning, database, cause_of(why)),
				  errdetail("Running: %s.", list)));
	return true;
}

/* bgjob_runninglog_terminate logs that the worker of a job that did not end is terminated. */
void
bgjob_runninglog_terminate(const char *database, const BgjobSlot *slot, int64 job)
{
	running[0] = (Running){.job = job, .name = ""};
	nrunning = 1;
	try_read_names();
	ereport(LOG, (errmsg("job " INT64_FORMAT " did not end when it was canceled", job),
				  errdetail("Its worker, with PID %d, is terminated.", (int) slot->last_pid),
				  errcontext("bgjob job " INT64_FORMAT "%s, database \"%s\"", job,
							 running[0].name, database)));
}
