/*-------------------------------------------------------------------------
 *
 * supersede.h
 *	  on_duplicate 'supersede': the newest job of a key wins.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_SUPERSEDE_H
#define BGJOB_STORE_SUPERSEDE_H

#include "postgres.h"

#include "store/job.h"

extern bool
bgjob_supersede(BgjobRel *jobs, BgjobJob *job, int64 other, BgjobCircumstances *what);
extern bool bgjob_supersede_cancel(BgjobRel *jobs, const BgjobJob *job);

#endif /* BGJOB_STORE_SUPERSEDE_H */
