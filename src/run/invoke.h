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

/* From where a job is called. */
typedef enum BgjobCaller
{
	BGJOB_CALLER_CLAIM,     /* a worker, in the transaction of its claim */
	BGJOB_CALLER_COMMITTED, /* a worker that has committed its claim */
	BGJOB_CALLER_STATEMENT  /* a statement of a session, by bgjob_run() */
} BgjobCaller;

extern Jsonb *bgjob_invoke(Oid func, const Jsonb *args, BgjobCaller caller);
extern const char *bgjob_invoke_chunk_misfit(Oid func);
extern void bgjob_invoke_chunk(Oid func, const Jsonb *const *args, int n, Jsonb **results);
extern void bgjob_run_in_portal(List *plans, ParamListInfo params, const char *source,
								CommandTag tag, DestReceiver *receiver, BgjobCaller caller);

#endif /* BGJOB_RUN_INVOKE_H */
