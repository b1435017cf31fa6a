/*-------------------------------------------------------------------------
 *
 * arguments.h
 *	  Arguments of the SQL functions, and what is said of wrong ones.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_ARGUMENTS_H
#define BGJOB_API_ARGUMENTS_H

#include "postgres.h"

#include "api/options.h"
#include "fmgr.h"

/* Which parameters of a function are the options that several functions have in common. */
typedef struct BgjobOptionArgs
{
	int queue;
	int priority;
	int max_retries;
	int timeout;
	int unique_key;
	int on_duplicate;
	int tags;
	int parameters;
	int sequence_key;
	int limits;
} BgjobOptionArgs;

extern char *bgjob_arg_text(FunctionCallInfo fcinfo, int arg);
extern void
bgjob_arg_require(FunctionCallInfo fcinfo, int arg, const char *name, const char *detail);
extern char *
bgjob_arg_required_text(FunctionCallInfo fcinfo, int arg, const char *name, const char *detail);
extern void
bgjob_args_options(FunctionCallInfo fcinfo, const BgjobOptionArgs *args, BgjobOptions *options);

#endif /* BGJOB_API_ARGUMENTS_H */
