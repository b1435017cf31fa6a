/*-------------------------------------------------------------------------
 *
 * external.h
 *	  The calls of external workers that concern one job.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_EXTERNAL_H
#define BGJOB_API_EXTERNAL_H

#include "postgres.h"

#include "base/lease.h"

extern bool bgjob_external_holds(int64 id, const char *worker, BgjobLease *lease);

#endif /* BGJOB_API_EXTERNAL_H */
