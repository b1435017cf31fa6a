/*-------------------------------------------------------------------------
 *
 * scheduler.h
 *	  Serves one database: due jobs, workers, lost jobs, retention.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_SCHEDULER_H
#define BGJOB_PROCESS_SCHEDULER_H

#include "postgres.h"

/* A scheduler that fails sooner than this after its start, in microseconds, has failed again. */
#define BGJOB_FAILURE_MEMORY USECS_PER_MINUTE

extern PGDLLEXPORT void bgjob_scheduler_main(Datum arg);

#endif /* BGJOB_PROCESS_SCHEDULER_H */
