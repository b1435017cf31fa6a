/*-------------------------------------------------------------------------
 *
 * command.h
 *	  Jobs of kind 'sql': one SQL command.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_COMMAND_H
#define BGJOB_RUN_COMMAND_H

#include "postgres.h"

#include "run/invoke.h"
#include "tcop/cmdtag.h"
#include "tcop/tcopprot.h"
#include "utils/jsonb.h"

extern void bgjob_command_check(const char *sql, const Jsonb *args);
extern bool bgjob_command_is_plain(const char *sql, CommandTag *tag);
extern LogStmtLevel bgjob_command_log_level(const char *sql);
extern Jsonb *bgjob_command_run(const char *sql, const Jsonb *args, BgjobCaller caller);

#endif /* BGJOB_RUN_COMMAND_H */
