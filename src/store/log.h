/*-------------------------------------------------------------------------
 *
 * log.h
 *	  Job output: the log of jobs, and their last progress.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_LOG_H
#define BGJOB_STORE_LOG_H

#include "postgres.h"

#include "store/job.h"

/* The job has no slot: a session performs it. */
#define BGJOB_NO_SLOT (-1)

extern void bgjob_log_store(BgjobJob *job, int slot);
extern void bgjob_log_add(int64 job, int seq, const char *level, const char *message);
extern int bgjob_log_last(int64 job);
extern void bgjob_log_delete(int64 job);

#endif /* BGJOB_STORE_LOG_H */
