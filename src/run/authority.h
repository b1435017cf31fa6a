/*-------------------------------------------------------------------------
 *
 * authority.h
 *	  By which right a job runs, asked for when it is about to.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_AUTHORITY_H
#define BGJOB_RUN_AUTHORITY_H

#include "postgres.h"

#include "store/job.h"

extern bool bgjob_role_is_administrator(Oid role);
extern bool bgjob_role_can_log_in(Oid role);
extern bool bgjob_role_may_connect(Oid role);
extern void bgjob_authority_init(void);
extern bool bgjob_authority_of_session(void);
extern bool bgjob_authority_is_lost(void);
extern const char *bgjob_authority_denial_reason(Oid enqueued_by, Oid run_as);
extern void bgjob_authority_check(Oid enqueued_by, Oid run_as);
extern void bgjob_authority_check_job(const BgjobJob *job);
extern bool bgjob_authority_may_exceed(const BgjobJob *job);

#endif /* BGJOB_RUN_AUTHORITY_H */
