/*-------------------------------------------------------------------------
 *
 * limitkeys.h
 *	  The limits that jobs are under which run or wait at them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_LIMITKEYS_H
#define BGJOB_STORE_LIMITKEYS_H

#include "postgres.h"

#include "store/jobrow.h"

/* Returns whether the jobs of a role count. */
typedef bool (*BgjobLimitSees)(Oid role);

/* Called with the name of a limit, maybe more than once; the name is valid during the call only. */
typedef void (*BgjobLimitVisit)(const char *name, void *arg);

extern bool bgjob_limits_find(const BgjobJob *job, const char *name, int *units);
extern void bgjob_limitkeys_visit(BgjobLimitSees sees, BgjobLimitVisit visit, void *arg);

#endif /* BGJOB_STORE_LIMITKEYS_H */
