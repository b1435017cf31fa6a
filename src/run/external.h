/*-------------------------------------------------------------------------
 *
 * external.h
 *	  One attempt of an external worker at a job.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_EXTERNAL_H
#define BGJOB_RUN_EXTERNAL_H

#include "postgres.h"

#include "store/job.h"
#include "store/lease.h"

/* A failure that a worker reports. */
typedef struct BgjobExternalFailure
{
	int sqlstate;
	const char *message;
	const Jsonb *error; /* as it is stored with the job */
	bool retry;         /* as the job's policy says; else never */
} BgjobExternalFailure;

extern void bgjob_external_begin_fetch(void);
extern void bgjob_external_end_fetch(void);
extern bool bgjob_external_start(BgjobRel *jobs, BgjobJob *job, int number, const char *worker,
								 TimestampTz *at);
extern void bgjob_external_succeed(BgjobRel *jobs, const BgjobLease *lease, BgjobJob *job,
								   const Jsonb *result);
extern void bgjob_external_fail(BgjobRel *jobs, const BgjobLease *lease, BgjobJob *job,
								const BgjobExternalFailure *failure);
extern void bgjob_external_release(BgjobRel *jobs, const BgjobLease *lease, BgjobJob *job,
								   TimestampTz run_at);
extern void bgjob_external_lose(BgjobRel *jobs, const BgjobLease *lease, BgjobJob *job);

#endif /* BGJOB_RUN_EXTERNAL_H */
