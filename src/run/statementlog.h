/*-------------------------------------------------------------------------
 *
 * statementlog.h
 *	  Jobs in the server's log, as log_statement and log_min_duration_statement want them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_STATEMENTLOG_H
#define BGJOB_RUN_STATEMENTLOG_H

#include "postgres.h"

#include "store/job.h"
#include "utils/jsonb.h"

extern bool bgjob_log_statement(const BgjobJob *job, Jsonb *args);
extern void bgjob_log_duration(const BgjobJob *job, bool was_logged);

#endif /* BGJOB_RUN_STATEMENTLOG_H */
