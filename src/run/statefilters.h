/*-------------------------------------------------------------------------
 *
 * statefilters.h
 *	  The filters around a change of state.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_STATEFILTERS_H
#define BGJOB_RUN_STATEFILTERS_H

#include "postgres.h"

#include "store/job.h"

extern bool
bgjob_statefilters_apply(BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what);
extern BgjobEvent
bgjob_statefilters_elect(const BgjobJob *job, BgjobEvent event, BgjobCircumstances *what);
extern void bgjob_statefilters_started(const BgjobJob *job);

#endif /* BGJOB_RUN_STATEFILTERS_H */
