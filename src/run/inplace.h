/*-------------------------------------------------------------------------
 *
 * inplace.h
 *	  Performing a job in the session and transaction of the caller.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_INPLACE_H
#define BGJOB_RUN_INPLACE_H

#include "postgres.h"

#include "store/job.h"

/* What has become of the job, in the caller's memory context. */
typedef struct BgjobInplaceOutcome
{
	BgjobState state;
	const char *reason; /* NULL: none */
	Jsonb *result;      /* NULL: none */
} BgjobInplaceOutcome;

extern bool bgjob_inplace_is_at(int64 id);
extern bool bgjob_inplace_is_timed_out(void);
extern void bgjob_inplace_perform(const BgjobJob *job, BgjobInplaceOutcome *outcome);

#endif /* BGJOB_RUN_INPLACE_H */
