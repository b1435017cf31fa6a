/*-------------------------------------------------------------------------
 *
 * configure.c
 *	  What is configured of functions: bgjob_configure and its kin.
 *
 * The options are those of bgjob_enqueue() that make sense for all jobs of a
 * function, and what becomes of one that fails. They are defaults: what a call
 * of bgjob_enqueue() says goes before them, they go before what is configured
 * of the queue, and that before the settings. Each call states all that is
 * configured of the function. Jobs that have been enqueued keep what they have.
 *
 * The owner of a function configures it: jobs that call it are at his mercy
 * anyway. Whoever has been granted EXECUTE by name, and administrators, configure
 * any.
 *
 * Runs in the session that calls.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/arguments.h"
#include "api/enqueue.h"
#include "api/rights.h"
#include "base/compat.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "run/function.h"
#include "run/places.h"
#include "run/policy.h"
#include "store/functionconf.h"
#include "utils/array.h"
#include "utils/timestamp.h"

/* Parameters of bgjob_configure, in their order. */
enum
{
	P_JOB,
	P_KIND,
	P_QUEUE,
	P_PRIORITY,
	P_MAX_RETRIES,
	P_TIMEOUT,
	P_UNIQUE_KEY,
	P_ON_DUPLICATE,
	P_SEQUENCE_KEY,
	P_LIMITS,
	P_TAGS,
	P_PARAMETERS,
	P_RETRY_DELAYS,
	P_RETRY_ON,
	P_NO_RETRY_ON,
	P_ON_EXHAUSTED,
	P_RETENTION
};

static char *
required(FunctionCallInfo fcinfo, int arg, const char *name)
{
	return bgjob_arg_required_text(fcinfo, arg, name, "It says what is configured, or how.");
}

static ArrayType *
array_arg(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : PG_GETARG_ARRAYTYPE_P(arg);
}

static void
check_kind(const char *kind)
{
	if (strcmp(kind, "function") == 0)
		return;
	if (strcmp(kind, "external") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("jobs of kind 'external' are not supported by this version"),
				 errdetail("They are for external workers, which a later version brings."),
				 errhint("What can be configured are functions and procedures.")));
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("jobs of kind '%s' cannot be configured", kind),
					errdetail("What can be configured are functions and procedures."),
					errhint("Leave kind out, or use 'function'.")));
}

/* The options that bgjob_enqueue() has as well, checked as there. */
static void
read_options(FunctionCallInfo fcinfo, BgjobOptions *options)
{
	static const BgjobOptionArgs args = {.queue = P_QUEUE,
										 .priority = P_PRIORITY,
										 .max_retries = P_MAX_RETRIES,
										 .timeout = P_TIMEOUT,
										 .unique_key = P_UNIQUE_KEY,
										 .on_duplicate = P_ON_DUPLICATE,
										 .tags = P_TAGS,
										 .parameters = P_PARAMETERS,
										 .sequence_key = P_SEQUENCE_KEY,
										 .limits = P_LIMITS};

	memset(options, 0, sizeof(*options));
	(void) required(fcinfo, P_ON_DUPLICATE, "on_duplicate");
	bgjob_args_options(fcinfo, &args, options);
	bgjob_options_check(options);
}

/* Raises 42501 unless the caller may configure a function; "by" is the function that it calls to do so. */
static void
check_may_configure(Oid func, Oid by)
{
	if (!bgjob_function_owner(func, GetUserId()) && !bgjob_is_granted_by_name(by))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of function %s", bgjob_function_signature(func)),
				 errdetail("Only its owner, administrators and roles with a right of their own "
						   "configure a function."),
				 errhint("Have an administrator GRANT EXECUTE ON FUNCTION bgjob_configure.")));
}

PG_FUNCTION_INFO_V1(bgjob_configure);

/*
 * bgjob_configure configures a function: parameters and defaults are in api.md
 * and the manual. Errors: 42501 not the owner of the function; 22023, 22004 a value
 * that is not allowed; 42883, 42725 there is no such function, or several;
 * 0A000 an option that this version does not know.
 */
Datum
bgjob_configure(PG_FUNCTION_ARGS)
{
	static const char *const when_exhausted[] = {"fail", "delete", NULL};
	BgjobFunctionConf conf;
	BgjobOptions options;
	Oid func;

	bgjob_check_granted("bgjob_configure()");
	func = bgjob_function_by_name(required(fcinfo, P_JOB, "job"), GetUserId());
	check_may_configure(func, fcinfo->flinfo->fn_oid);
	check_kind(required(fcinfo, P_KIND, "kind"));
	read_options(fcinfo, &options);
	if (options.unique_key != NULL)
		bgjob_places_check(func, options.unique_key);
	conf = (BgjobFunctionConf){.func = bgjob_function_signature(func),
							   .queue = options.queue,
							   .has_priority = options.has_priority,
							   .priority = options.priority,
							   .has_max_retries = options.has_max_retries,
							   .max_retries = options.max_retries,
							   .timeout = options.timeout,
							   .unique_key = options.unique_key,
							   .on_duplicate = bgjob_duplicate_by_name(options.on_duplicate),
							   .tags = options.tags,
							   .parameters = options.parameters};
	conf.policy = bgjob_policy_make(
		array_arg(fcinfo, P_RETRY_DELAYS), array_arg(fcinfo, P_RETRY_ON),
		array_arg(fcinfo, P_NO_RETRY_ON),
		bgjob_choice("on_exhausted", required(fcinfo, P_ON_EXHAUSTED, "on_exhausted"),
					 when_exhausted) == 1);
	if (!PG_ARGISNULL(P_RETENTION))
	{
		conf.retention = PG_GETARG_INTERVAL_P(P_RETENTION);
		bgjob_check_retention(conf.retention);
	}
	bgjob_functionconf_set(&conf);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(bgjob_unconfigure);

/*
 * bgjob_unconfigure(job) removes what is configured of a function. False:
 * nothing was. Errors as bgjob_configure(). One that has gone is meant by its
 * signature, as bgjob.functions has it.
 */
Datum
bgjob_unconfigure(PG_FUNCTION_ARGS)
{
	char *name;
	Oid func;

	bgjob_check_granted("bgjob_unconfigure()");
	name = required(fcinfo, P_JOB, "job");
	if (bgjob_is_granted_by_name(fcinfo->flinfo->fn_oid) && bgjob_functionconf_remove(name))
		PG_RETURN_BOOL(true);
	func = bgjob_function_by_name(name, GetUserId());
	check_may_configure(func, fcinfo->flinfo->fn_oid);
	PG_RETURN_BOOL(bgjob_functionconf_remove(bgjob_function_signature(func)));
}
