/*-------------------------------------------------------------------------
 *
 * leased.h
 *	  Ending attempts of external workers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_LEASED_H
#define BGJOB_STORE_LEASED_H

#include "postgres.h"

#include "store/job.h"
#include "store/lease.h"

extern bool bgjob_leased_find(const BgjobJob *job, BgjobLease *lease);
extern bool bgjob_leased_read(BgjobRel *jobs, const BgjobLease *lease, BgjobJob *job);
extern void bgjob_leased_circumstances(const BgjobLease *lease, BgjobCircumstances *what);
extern void bgjob_leased_end(BgjobRel *jobs, const BgjobLease *lease, BgjobJob *job,
							 BgjobEvent event, const BgjobCircumstances *what);
extern bool
bgjob_leased_delete(BgjobRel *jobs, const BgjobLease *lease, const char *reason, bool elected);

#endif /* BGJOB_STORE_LEASED_H */
