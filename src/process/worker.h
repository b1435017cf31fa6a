/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  Performs the jobs of one role in one database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_WORKER_H
#define BGJOB_PROCESS_WORKER_H

#include "postgres.h"

extern PGDLLEXPORT void bgjob_worker_main(Datum arg);

#endif /* BGJOB_PROCESS_WORKER_H */
