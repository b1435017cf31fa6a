/*-------------------------------------------------------------------------
 *
 * transition.h
 *	  The filters around a change of state.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_TRANSITION_H
#define BGJOB_RUN_TRANSITION_H

#include "postgres.h"

#include "store/job.h"

extern bool
bgjob_transition_apply(BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what);
extern BgjobEvent
bgjob_transition_elect(const BgjobJob *job, BgjobEvent event, BgjobCircumstances *what);
extern void bgjob_transition_started(const BgjobJob *job);

#endif /* BGJOB_RUN_TRANSITION_H */
