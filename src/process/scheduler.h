/*-------------------------------------------------------------------------
 *
 * scheduler.h
 *	  Looks after one database: due jobs, workers, lost jobs, retention.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_SCHEDULER_H
#define BGJOB_PROCESS_SCHEDULER_H

#include "postgres.h"

extern PGDLLEXPORT void bgjob_scheduler_main(Datum arg);

#endif /* BGJOB_PROCESS_SCHEDULER_H */
