/*-------------------------------------------------------------------------
 *
 * arguments.h
 *	  Reads the arguments of the SQL functions and raises their errors.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_ARGUMENTS_H
#define BGJOB_API_ARGUMENTS_H

#include "postgres.h"

#include "api/options.h"
#include "fmgr.h"
#include "rules/state.h"

extern char *bgjob_arg_text(FunctionCallInfo fcinfo, int arg);
extern void
bgjob_arg_require(FunctionCallInfo fcinfo, int arg, const char *name, const char *detail);
extern char *
bgjob_arg_required_text(FunctionCallInfo fcinfo, int arg, const char *name, const char *detail);
extern double bgjob_arg_percent(FunctionCallInfo fcinfo, int arg);
extern char *bgjob_arg_level(FunctionCallInfo fcinfo, int arg);
extern BgjobState bgjob_arg_state(FunctionCallInfo fcinfo, int arg);
extern int
bgjob_args_options(FunctionCallInfo fcinfo, int first, int place, BgjobOptionSet *set);
extern void
bgjob_option_require(const BgjobOptionSet *set, BgjobOption option, const char *detail);

#endif /* BGJOB_API_ARGUMENTS_H */
