/*-------------------------------------------------------------------------
 *
 * filtercontext.h
 *	  What a filter is told of a job.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_FILTERCONTEXT_H
#define BGJOB_RUN_FILTERCONTEXT_H

#include "postgres.h"

#include "include/bgjob.h"
#include "store/job.h"

extern void bgjob_filter_describe(BgjobHookJob *told, const BgjobJob *job, BgjobState state);
extern Jsonb *bgjob_filter_context(const BgjobHookJob *told);

#endif /* BGJOB_RUN_FILTERCONTEXT_H */
