/*-------------------------------------------------------------------------
 *
 * runninglog.h
 *	  The jobs that a scheduler waits for and interrupts, in the server's log.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_PROCESS_RUNNINGLOG_H
#define BGJOB_PROCESS_RUNNINGLOG_H

#include "postgres.h"

#include "base/slot.h"

extern bool bgjob_runninglog_wait(const char *database, int grace_ms);
extern bool bgjob_runninglog_interrupt(const char *database, BgjobInterruption why);
extern void bgjob_runninglog_terminate(const char *database, const BgjobSlot *slot, int64 job);

#endif /* BGJOB_PROCESS_RUNNINGLOG_H */
