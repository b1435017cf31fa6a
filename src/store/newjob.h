/*-------------------------------------------------------------------------
 *
 * newjob.h
 *	  Jobs that are created: their keys, and their first state.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_NEWJOB_H
#define BGJOB_STORE_NEWJOB_H

#include "postgres.h"

#include "store/job.h"

extern BgjobEvent bgjob_job_first_event(const BgjobCircumstances *what);
extern bool bgjob_job_enter(BgjobRel *rel, BgjobJob *job, BgjobCircumstances *what);
extern bool bgjob_job_insert(BgjobRel *rel, BgjobJob *job, BgjobCircumstances *what);
extern void bgjob_job_fail_new(BgjobJob *job, const BgjobCircumstances *what);

#endif /* BGJOB_STORE_NEWJOB_H */
