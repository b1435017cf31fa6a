/*-------------------------------------------------------------------------
 *
 * process.h
 *	  What every process of bgjob starts with, and how it is started.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_PROCESS_H
#define BGJOB_BASE_PROCESS_H

#include "postgres.h"

#include "base/registry.h"
#include "base/waits.h"
#include "postmaster/bgworker.h"

/* The backend types that pg_stat_activity shows. */
#define BGJOB_LAUNCHER_TYPE  "bgjob launcher"
#define BGJOB_SCHEDULER_TYPE "bgjob scheduler"
#define BGJOB_WORKER_TYPE    "bgjob worker"
#define BGJOB_CENSUS_TYPE    "bgjob census"

extern bool bgjob_process_start(BgjobSlot *slot, const char *type, const char *function,
								BackgroundWorkerHandle **handle);
extern bool bgjob_process_attach(Datum slot_index);
extern void bgjob_process_connect(const char *name);
extern bool bgjob_process_wait(long timeout_ms, BgjobWait wait);
extern bool bgjob_process_left(BgjobSlot *slot, BackgroundWorkerHandle *handle);
extern void bgjob_begin(void);
extern void bgjob_commit(void);
extern bool bgjob_try(void (*step)(void *arg), void *arg);
extern bool bgjob_database_allowed(const char *name);

#endif /* BGJOB_BASE_PROCESS_H */
