/*-------------------------------------------------------------------------
 *
 * lateanswers.h
 *	  Answers of external workers that came too late, to be noted by the scheduler.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_LATEANSWERS_H
#define BGJOB_BASE_LATEANSWERS_H

#include "postgres.h"

#include "base/lease.h"

typedef struct BgjobLateAnswer
{
	Oid database;
	int64 job;
	char worker[BGJOB_WORKER_NAME_SIZE];
} BgjobLateAnswer;

extern Size bgjob_late_answers_size(void);
extern void bgjob_late_answers_startup(void);
extern void bgjob_external_answer_late(int64 job, const char *worker);
extern bool bgjob_late_answers_first(Oid database, BgjobLateAnswer *answer);
extern void bgjob_late_answers_remove(const BgjobLateAnswer *answer);
extern void bgjob_late_answers_forget(Oid database);

#endif /* BGJOB_BASE_LATEANSWERS_H */
