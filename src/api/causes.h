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

#include "api/service.h"
#include "datatype/timestamp.h"
#include "rules/state.h"
#include "store/jobrow.h"

/* A job that has not ended, or has, and what is known of who serves it. */
typedef struct BgjobSituation
{
	BgjobService *service;
	BgjobState state;
	int priority;
	int64 pos;
	TimestampTz run_at; /* of a scheduled job */
	const BgjobRoleService *role;
	const BgjobQueueService *queue;
	int64 gate;          /* in whose line the job waits; 0: in none */
	const BgjobJob *job; /* NULL: no row of a job may be read */
	bool missing;        /* it is not in its place; likewise below, only with a job */
	bool uncommitted;    /* the running transaction has enqueued it */
} BgjobSituation;

/* What is said of a cause. */
typedef struct BgjobAnswer
{
	const char *detail;
	const char *hint;  /* NULL: none */
	TimestampTz until; /* 0: unknown */
} BgjobAnswer;

typedef struct BgjobCause
{
	const char *reason;
	bool (*holds)(const BgjobSituation *situation,
				  BgjobAnswer *answer); /* answer: may be NULL */
	const char *shown; /* in bgjob.jobs, instead of the reason; NULL: the reason */
} BgjobCause;

extern const BgjobCause bgjob_causes[];
extern const int bgjob_ncauses;

#endif /* BGJOB_API_CAUSES_H */
