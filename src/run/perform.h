/*-------------------------------------------------------------------------
 *
 * perform.h
 *	  The parts of an attempt at a job.
 *
 * For attempt.c, group.c, chunk.c, inplace.c and external.c alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_PERFORM_H
#define BGJOB_RUN_PERFORM_H

#include "postgres.h"

#include <signal.h>

#include "run/outcome.h"
#include "run/underway.h"
#include "store/job.h"

extern MemoryContext bgjob_attempt_context; /* of a transaction, group or not */
extern MemoryContext bgjob_job_context;     /* of a job, within that */
extern volatile sig_atomic_t bgjob_timed_out;

extern void bgjob_perform_init(void);
extern void bgjob_perform_start_transaction(void);
extern void bgjob_perform_context(void *arg);
extern void bgjob_perform_begin(void);
extern void bgjob_perform_settings(void);
extern void bgjob_perform_start_clocks(void);
extern void bgjob_perform_stop_clocks(void);
extern bool bgjob_perform_commits(void);
extern void bgjob_perform_commit_claim(void);
extern Jsonb *bgjob_perform_run(void);
extern void bgjob_perform_complete(void);
extern void bgjob_perform_log_duration(void);
extern void bgjob_perform_check_request(void);
extern void bgjob_perform_check_pending(void);
extern bool bgjob_perform_is_expired(const BgjobJob *job);
extern void bgjob_perform_record_success(BgjobRel *jobs, const Jsonb *result);
extern void bgjob_perform_record_company(BgjobRel *jobs, BgjobJob *job, const Jsonb *result,
										 TimestampTz at);
extern BgjobRequest bgjob_perform_give_up(BgjobCircumstances *what);
extern void bgjob_perform_settle(BgjobRel *jobs, BgjobRequest request, const ErrorData *error,
								 BgjobCircumstances *what);
extern void bgjob_perform_forget_output(void);

#endif /* BGJOB_RUN_PERFORM_H */
