/*-------------------------------------------------------------------------
 *
 * attemptfilters.h
 *	  The filters around an attempt at a job.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_ATTEMPTFILTERS_H
#define BGJOB_RUN_ATTEMPTFILTERS_H

#include "postgres.h"

#include "store/job.h"

/* What filters want of a job instead of having it performed. */
typedef struct BgjobDecision
{
	bool given;
	BgjobEvent event;
	BgjobCircumstances what;
} BgjobDecision;

extern bool
bgjob_attemptfilters_elect(const BgjobJob *job, TimestampTz at, BgjobDecision *decision);
extern bool bgjob_attemptfilters_begin(const BgjobJob *job, TimestampTz at,
									   bool claim_committed, BgjobDecision *decision);
extern void bgjob_attemptfilters_succeeded(const BgjobJob *job, const Jsonb *result);
extern void bgjob_attemptfilters_failed(const BgjobJob *job, const Jsonb *error);

#endif /* BGJOB_RUN_ATTEMPTFILTERS_H */
