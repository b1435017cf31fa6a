/*-------------------------------------------------------------------------
 *
 * filtercontext.h
 *	  The description of a job that a filter receives.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_FILTERCONTEXT_H
#define BGJOB_RUN_FILTERCONTEXT_H

#include "postgres.h"

#include "include/bgjob.h"
#include "store/job.h"

extern void
bgjob_filter_describe(BgjobHookJob *hook_job, const BgjobJob *job, BgjobState state);
extern Jsonb *bgjob_filter_context(const BgjobHookJob *hook_job);

#endif /* BGJOB_RUN_FILTERCONTEXT_H */
