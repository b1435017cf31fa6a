/*-------------------------------------------------------------------------
 *
 * arguments.c
 *	  Arguments of the SQL functions, and what is said of wrong ones.
 *
 * No function is STRICT that has defaults: null means that an option is not
 * given. What must be given is asked for here, with one error for all.
 *
 * Runs in the session that calls; locks nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/arguments.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* bgjob_arg_text returns a text, NULL where it is null. */
char *
bgjob_arg_text(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

/* bgjob_arg_require raises 22004 if an argument is null; "detail" says what it is for. */
void
bgjob_arg_require(FunctionCallInfo fcinfo, int arg, const char *name, const char *detail)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name),
				 errdetail("%s", detail), errhint("Give a value.")));
}

/* bgjob_arg_required_text returns a text that must not be null: 22004. */
char *
bgjob_arg_required_text(FunctionCallInfo fcinfo, int arg, const char *name, const char *detail)
{
	bgjob_arg_require(fcinfo, arg, name, detail);
	return bgjob_arg_text(fcinfo, arg);
}

/*
 * bgjob_args_options reads the options that bgjob_enqueue(), bgjob_recurring()
 * and bgjob_configure() have in common; the others are left as they are. 0A000:
 * one that a later version brings.
 */
void
bgjob_args_options(FunctionCallInfo fcinfo, const BgjobOptionArgs *args, BgjobOptions *options)
{
	if (!PG_ARGISNULL(args->sequence_key))
		bgjob_option_refuse("sequence_key");
	if (!PG_ARGISNULL(args->limits))
		bgjob_option_refuse("limits");
	options->queue = bgjob_arg_text(fcinfo, args->queue);
	options->has_priority = !PG_ARGISNULL(args->priority);
	options->priority = options->has_priority ? PG_GETARG_INT32(args->priority) : 0;
	options->has_max_retries = !PG_ARGISNULL(args->max_retries);
	options->max_retries = options->has_max_retries ? PG_GETARG_INT32(args->max_retries) : 0;
	options->timeout = PG_ARGISNULL(args->timeout) ? NULL : PG_GETARG_INTERVAL_P(args->timeout);
	options->unique_key = bgjob_arg_text(fcinfo, args->unique_key);
	options->on_duplicate = bgjob_arg_text(fcinfo, args->on_duplicate);
	options->tags = PG_ARGISNULL(args->tags) ? (Datum) 0 : PG_GETARG_DATUM(args->tags);
	options->parameters =
		PG_ARGISNULL(args->parameters) ? NULL : PG_GETARG_JSONB_P(args->parameters);
}
