/*-------------------------------------------------------------------------
 *
 * invoke.h
 *	  Calling the function or procedure of a job.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_INVOKE_H
#define BGJOB_RUN_INVOKE_H

#include "postgres.h"

#include "tcop/cmdtag.h"
#include "tcop/dest.h"
#include "nodes/params.h"
#include "utils/jsonb.h"

extern Jsonb *bgjob_invoke(Oid func, const Jsonb *args, bool may_commit);
extern void bgjob_run_in_portal(List *plans, ParamListInfo params, const char *source,
								CommandTag tag, DestReceiver *receiver);

#endif /* BGJOB_RUN_INVOKE_H */
