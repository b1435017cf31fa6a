/*-------------------------------------------------------------------------
 *
 * performing.h
 *	  The filters around an attempt at a job.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_PERFORMING_H
#define BGJOB_RUN_PERFORMING_H

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
bgjob_performing_elect(const BgjobJob *job, TimestampTz at, BgjobDecision *decision);
extern bool bgjob_performing_begin(const BgjobJob *job, TimestampTz at, bool claim_committed,
								   BgjobDecision *decision);
extern void bgjob_performing_succeeded(const BgjobJob *job, const Jsonb *result);
extern void bgjob_performing_failed(const BgjobJob *job, const Jsonb *error);

#endif /* BGJOB_RUN_PERFORMING_H */
