/*-------------------------------------------------------------------------
 *
 * waits.h
 *	  The names under which pg_stat_activity shows what bgjob waits for.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_WAITS_H
#define BGJOB_BASE_WAITS_H

#include "postgres.h"

typedef enum BgjobWait
{
	BGJOB_WAIT_LAUNCHER_MAIN,  /* the launcher, until it is called */
	BGJOB_WAIT_SCHEDULER_MAIN, /* a scheduler, until there is something to do */
	BGJOB_WAIT_SCHEDULER_EXIT, /* a scheduler that leaves, for its workers */
	BGJOB_WAIT_WORKER_MAIN,    /* a worker, for a job */
	BGJOB_WAIT_WORKER_PAUSE,   /* a worker, before it retries after a failure */
	BGJOB_WAIT_JOB_END,        /* bgjob_wait() */
	BGJOB_WAIT_JOB_FREE,       /* a session, until a worker lets go of a job */
	BGJOB_WAIT_EXTERNAL_JOB,   /* bgjob_await() */
	BGJOB_WAIT_DATABASE_FREE   /* a command, until bgjob has left a database */
} BgjobWait;

extern uint32 bgjob_wait_event(BgjobWait wait);

#endif /* BGJOB_BASE_WAITS_H */
