/*-------------------------------------------------------------------------
 *
 * externalargs.h
 *	  The arguments that the calls of external workers have in common.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_EXTERNALARGS_H
#define BGJOB_API_EXTERNALARGS_H

#include "postgres.h"

#include "fmgr.h"

extern const char *bgjob_external_worker_name(FunctionCallInfo fcinfo, int arg);
extern int64 bgjob_external_lease(FunctionCallInfo fcinfo, int arg);
extern char *bgjob_external_queues(FunctionCallInfo fcinfo, int arg);

#endif /* BGJOB_API_EXTERNALARGS_H */
