/*-------------------------------------------------------------------------
 *
 * attempt.h
 *	  One attempt at a job, from the claim to its outcome.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_ATTEMPT_H
#define BGJOB_RUN_ATTEMPT_H

#include "postgres.h"

#include "store/job.h"

extern void bgjob_attempt_init(void);
extern bool bgjob_attempt_next(void);
extern void bgjob_attempt_end(BgjobEvent event, TimestampTz run_at, const char *reason);

#endif /* BGJOB_RUN_ATTEMPT_H */
