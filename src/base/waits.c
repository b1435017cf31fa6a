/*-------------------------------------------------------------------------
 *
 * waits.c
 *	  The names under which pg_stat_activity shows what bgjob waits for.
 *
 * Every wait of bgjob has a name of its own in wait_event, from 17 on, where a
 * library can define wait events. Before, the server shows "Extension" for what
 * is none of its own waits. An event is defined by the process that waits for
 * it first, and shared by all.
 *
 * Any process. (The LWLocks have the names of their tranches, which are
 * registered where they are initialized, by the postmaster; every process of
 * the server inherits these.)
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/waits.h"

static const struct
{
	const char *name;
	uint32 before; /* what servers show that know no such names */
} waits[] = {
	[BGJOB_WAIT_LAUNCHER_MAIN] = {"BgjobLauncherMain", PG_WAIT_EXTENSION},
	[BGJOB_WAIT_SCHEDULER_MAIN] = {"BgjobSchedulerMain", PG_WAIT_EXTENSION},
	[BGJOB_WAIT_SCHEDULER_EXIT] = {"BgjobSchedulerExit", WAIT_EVENT_BGWORKER_SHUTDOWN},
	[BGJOB_WAIT_WORKER_MAIN] = {"BgjobWorkerMain", PG_WAIT_EXTENSION},
	[BGJOB_WAIT_WORKER_PAUSE] = {"BgjobWorkerPause", PG_WAIT_EXTENSION},
	[BGJOB_WAIT_JOB_END] = {"BgjobJobEnd", PG_WAIT_EXTENSION},
	[BGJOB_WAIT_JOB_FREE] = {"BgjobJobFree", PG_WAIT_EXTENSION},
	[BGJOB_WAIT_EXTERNAL_JOB] = {"BgjobExternalJob", PG_WAIT_EXTENSION},
	[BGJOB_WAIT_DATABASE_FREE] = {"BgjobDatabaseFree", WAIT_EVENT_BGWORKER_SHUTDOWN},
};

/* bgjob_wait_event returns the wait_event_info of a wait. Must not be called while a spinlock or an LWLock is held. */
uint32
bgjob_wait_event(BgjobWait wait)
{
	static uint32 events[lengthof(waits)]; /* 0: not asked for yet */

	if (events[wait] == 0)
		events[wait] = bgjob_wait_event_new(waits[wait].name, waits[wait].before);
	return events[wait];
}
