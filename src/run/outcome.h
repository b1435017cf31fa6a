/*-------------------------------------------------------------------------
 *
 * outcome.h
 *	  The event that follows an attempt that did not succeed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_OUTCOME_H
#define BGJOB_RUN_OUTCOME_H

#include "postgres.h"

#include "base/registry.h"
#include "store/job.h"

extern const char *bgjob_outcome_interruption(BgjobInterruption why);
extern bool bgjob_outcome_requested(BgjobRequest request, int64 successor, const char *author,
									bool pending, BgjobEvent *event, BgjobCircumstances *what);
/* What a job has said is to become of it, by bgjob_snooze or bgjob_discard. */
typedef struct BgjobEnding
{
	bool given;
	BgjobEvent event;
	TimestampTz run_at;
	char *reason;
} BgjobEnding;

extern bool
bgjob_outcome_of_ending(const BgjobEnding *ending, BgjobEvent *event, BgjobCircumstances *what);
extern bool bgjob_outcome_is_group_deadlock(const BgjobJob *job, const ErrorData *error);
extern BgjobEvent
bgjob_outcome_of_error(const BgjobJob *job, const ErrorData *error, BgjobCircumstances *what);
extern BgjobEvent
bgjob_outcome_of_failure(const BgjobJob *job, int sqlstate, const char *message, bool retry,
						 BgjobCircumstances *what);
extern int64 bgjob_time_limit(const BgjobJob *job);
extern void bgjob_outcome_timed_out(int64 limit, ErrorData *error);

#endif /* BGJOB_RUN_OUTCOME_H */
