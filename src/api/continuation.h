/*-------------------------------------------------------------------------
 *
 * continuation.h
 *	  What a new job awaits, and the batch that it joins.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_CONTINUATION_H
#define BGJOB_API_CONTINUATION_H

#include "postgres.h"

#include "api/options.h"
#include "store/prerequisite.h"

/* What the new jobs of a call have in common. */
typedef struct BgjobContinuation
{
	bool any;             /* they await something */
	BgjobAwaited awaited; /* whether that is there */
	bool foreign; /* another transaction may be ending one of the targets that are not there */
	bool recheck; /* they are to be searched for cycles once more at the commit */
	BgjobPrerequisites all;
} BgjobContinuation;

extern void bgjob_check_batch(int64 id);
extern void bgjob_continuation_read(const BgjobOptionSet *set, BgjobJob *job,
									BgjobContinuation *continuation);
extern void bgjob_continuation_ask(const BgjobContinuation *continuation, int64 job, bool many);

#endif /* BGJOB_API_CONTINUATION_H */
