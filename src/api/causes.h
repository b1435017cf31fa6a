/*-------------------------------------------------------------------------
 *
 * causes.h
 *	  What may hold a job up.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_CAUSES_H
#define BGJOB_API_CAUSES_H

#include "postgres.h"

#include "api/situation.h"

typedef struct BgjobCause
{
	const char *reason;
	bool (*holds)(const BgjobSituation *situation,
				  BgjobAnswer *answer); /* answer: may be NULL */
	const char *shown; /* in bgjob.jobs, instead of the reason; NULL: the reason */
	bool internal;     /* only of jobs for workers of the server */
} BgjobCause;

extern const BgjobCause bgjob_causes[];
extern const int bgjob_ncauses;

extern bool bgjob_cause_concerns(const BgjobCause *cause, const BgjobSituation *situation);

#endif /* BGJOB_API_CAUSES_H */
