/*-------------------------------------------------------------------------
 *
 * committing.h
 *	  What shared memory shows of a transaction while it commits.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_COMMITTING_H
#define BGJOB_BASE_COMMITTING_H

#include "postgres.h"

#include "base/registry.h"

extern void bgjob_committing_cached(BgjobCached what);
extern void bgjob_committing_moves(void);
extern void bgjob_committed_cached(void);
extern void bgjob_committed_moves(void);
extern bool bgjob_cached_may_differ(BgjobCached what, uint32 *seen);

#endif /* BGJOB_BASE_COMMITTING_H */
