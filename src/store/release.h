/*-------------------------------------------------------------------------
 *
 * release.h
 *	  Jobs that go on because what they await is there, or cannot run any more.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_RELEASE_H
#define BGJOB_STORE_RELEASE_H

#include "postgres.h"

#include "base/change.h"
#include "store/prerequisite.h"

/* What became of a job that was looked at. */
typedef enum BgjobReviewed
{
	BGJOB_REVIEWED_AWAITS, /* it awaits something that is not there yet */
	BGJOB_REVIEWED_RELEASED,
	BGJOB_REVIEWED_DELETED,
	BGJOB_REVIEWED_GONE, /* it does not await anything */
	BGJOB_REVIEWED_BUSY  /* another transaction has it */
} BgjobReviewed;

extern uint32 bgjob_release_dependants(int64 target, BgjobState state);
extern int64 bgjob_release_signalled(int64 target);
extern BgjobReviewed bgjob_review_job(int64 id, TimestampTz *deadline);
extern bool bgjob_review(int64 id, TimestampTz *deadline);

#endif /* BGJOB_STORE_RELEASE_H */
