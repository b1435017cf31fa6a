/*-------------------------------------------------------------------------
 *
 * pending.h
 *	  Events that the scheduler leaves to a worker, because of their filters.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_PENDING_H
#define BGJOB_RUN_PENDING_H

#include "postgres.h"

#include "store/job.h"

extern bool bgjob_pending_is_for_worker(const BgjobJob *job, int events);
extern bool
bgjob_pending_leave(BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what);
extern BgjobState bgjob_pending_from(const BgjobJob *job);
extern void bgjob_pending_settle(BgjobRel *jobs, BgjobJob *job);

#endif /* BGJOB_RUN_PENDING_H */
