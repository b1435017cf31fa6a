/*-------------------------------------------------------------------------
 *
 * situation.h
 *	  A job, and what is known of who serves it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_SITUATION_H
#define BGJOB_API_SITUATION_H

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
	bool external;       /* an external worker is to perform it */
} BgjobSituation;

/* What is said of a cause. */
typedef struct BgjobAnswer
{
	const char *detail;
	const char *hint;  /* NULL: none */
	TimestampTz until; /* 0: unknown */
} BgjobAnswer;

/* Hints. */
#define BGJOB_HINT_RELOAD "Change the setting and reload the configuration."
#define BGJOB_HINT_SLOTS  "Increase max_worker_processes and restart the server."

extern bool bgjob_answer_say(BgjobAnswer *answer, const char *detail, const char *hint);
extern const char *bgjob_situation_role(const BgjobSituation *situation);
extern bool bgjob_situation_in_queue(const BgjobSituation *situation);
extern bool bgjob_situation_queue_is_taken(const BgjobSituation *situation);
extern bool bgjob_situation_to_be_served(const BgjobSituation *situation);

#endif /* BGJOB_API_SITUATION_H */
