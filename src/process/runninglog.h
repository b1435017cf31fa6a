/*-------------------------------------------------------------------------
 *
 * runninglog.h
 *	  The jobs that a scheduler waits for before it leaves, in the server's log.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_RUNNINGLOG_H
#define BGJOB_PROCESS_RUNNINGLOG_H

#include "postgres.h"

#include "base/registry.h"

extern bool bgjob_runninglog_wait(const char *database, int grace_ms);
extern bool bgjob_runninglog_interrupt(const char *database, BgjobInterruption why);

#endif /* BGJOB_PROCESS_RUNNINGLOG_H */
