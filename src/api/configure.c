/*-------------------------------------------------------------------------
 *
 * configure.c
 *	  Configures functions: bgjob_configure() and bgjob_unconfigure().
 *
 * The options are those of bgjob_enqueue() that make sense for all jobs of a
 * function, the policy for failed jobs, and chunks (run/chunk.c). They are defaults. The order of
 * precedence is: the call of bgjob_enqueue(), the function's configuration, the
 * queue's configuration, the settings. Each call of bgjob_configure() replaces
 * the whole configuration of the function. Jobs that are already enqueued do
 * not change.
 *
 * The owner of a function may configure it: the owner controls what its jobs
 * do anyway. Administrators and roles with EXECUTE granted by name may
 * configure any function.
 *
 * Runs in the calling session.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/arguments.h"
#include "api/enqueue.h"
#include "api/jobkeys.h"
#include "api/options.h"
#include "api/rights.h"
#include "base/compat.h"
#include "base/interval.h"
#include "base/text.h"
#include "catalog/namespace.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "run/function.h"
#include "run/functionname.h"
#include "run/invoke.h"
#include "run/jobkind.h"
#include "run/placeholders.h"
#include "run/policy.h"
#include "store/functionconf.h"
#include "utils/array.h"
#include "utils/regproc.h"
#include "utils/timestamp.h"

/* Parameters of bgjob_configure, in their order. */
enum
{
	P_JOB,
	P_KIND,
	P_OPTIONS
};

/* The detail of the error for a parameter that must not be null. */
#define WHAT_FOR "It determines what is configured, or how."

static char *
required(FunctionCallInfo fcinfo, int arg, const char *name)
{
	return bgjob_arg_required_text(fcinfo, arg, name, WHAT_FOR);
}

/* Returns whether a kind is that of external workers. Raises 22023 for one that cannot be configured. */
static bool
is_external(const char *kind)
{
	if (strcmp(kind, "function") != 0 && strcmp(kind, "external") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("jobs of kind '%s' cannot be configured", kind),
				 errdetail("Only functions, procedures and jobs for external workers can "
						   "be configured."),
				 errhint("Omit kind, or use 'function' or 'external'.")));
	return strcmp(kind, "external") == 0;
}

/* Reads the options and checks them like those of bgjob_enqueue(). */
static void
read_options(FunctionCallInfo fcinfo, BgjobOptionSet *set)
{
	(void) bgjob_args_options(fcinfo, P_OPTIONS, BGJOB_IN_CONFIGURE, set);
	bgjob_option_require(set, BGJOB_O_ON_EXHAUSTED, WHAT_FOR);
	bgjob_options_check(set);
}

static ArrayType *
array(const BgjobOptionSet *set, BgjobOption option)
{
	return set->given[option] ? DatumGetArrayTypeP(set->values[option]) : NULL;
}

/* Returns the policy that the options describe. */
static const Jsonb *
make_policy(const BgjobOptionSet *set)
{
	BgjobPolicyParts parts = {.delays = array(set, BGJOB_O_RETRY_DELAYS),
							  .retry_on = array(set, BGJOB_O_RETRY_ON),
							  .no_retry_on = array(set, BGJOB_O_NO_RETRY_ON),
							  .deletes = DatumGetBool(set->values[BGJOB_O_ON_EXHAUSTED])};

	if (set->given[BGJOB_O_CHUNK_SIZE])
		parts.chunk_size = DatumGetInt32(set->values[BGJOB_O_CHUNK_SIZE]);
	if (set->given[BGJOB_O_CHUNK_WAIT])
		parts.chunk_wait = bgjob_interval_microseconds(
			DatumGetIntervalP(set->values[BGJOB_O_CHUNK_WAIT]), DAYS_PER_MONTH);
	return bgjob_policy_make(&parts);
}

/* Raises 22023 if the options are of chunks and the function cannot be called once for several jobs. */
static void
check_chunks(Oid func, const BgjobOptionSet *set)
{
	const char *misfit;

	if (!set->given[BGJOB_O_CHUNK_SIZE])
	{
		if (set->given[BGJOB_O_CHUNK_WAIT])
			bgjob_invalid("chunk_wait needs chunk_size",
						  "It is how long a job waits until that many have come.",
						  "Give chunk_size as well.");
		return;
	}
	if (func == BGJOB_ANY_ARGUMENTS)
		bgjob_invalid("chunk_size is for functions", "An external worker is given single jobs.",
					  "Have the worker fetch many jobs at once, by max_jobs.");
	misfit = bgjob_invoke_chunk_misfit(func);
	if (misfit != NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("function %s cannot be called once for several jobs",
					bgjob_function_describe(func)->signature),
			 errdetail("%s", misfit),
			 errhint("Have it take one parameter of type jsonb[], the arguments of the jobs, "
					 "and return void, or jsonb[] with a result for each.")));
}

/* Raises 42501 unless the caller may configure "func". "by" is the SQL function being called. */
static void
check_may_configure(Oid func, Oid by)
{
	if (!bgjob_function_owner(func, GetUserId()) && !bgjob_is_granted_by_name(by))
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("must be owner of function %s", bgjob_function_describe(func)->signature),
			 errdetail("Only its owner, administrators and roles with EXECUTE granted by "
					   "name may configure a function."),
			 errhint("Have an administrator GRANT EXECUTE ON FUNCTION bgjob_configure.")));
}

/*
 * Returns the function that a call names, whose signature *signature is. A job for external workers
 * has no owner: 42501 unless the caller may configure the functions of all.
 */
static Oid
named(FunctionCallInfo fcinfo, const char **signature)
{
	const char *job = required(fcinfo, P_JOB, "job");
	Oid func;

	if (is_external(required(fcinfo, P_KIND, "kind")))
	{
		if (!bgjob_is_granted_by_name(fcinfo->flinfo->fn_oid))
			ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
							errmsg("permission denied to configure jobs for external workers"),
							errhint("Have an administrator GRANT EXECUTE ON FUNCTION "
									"bgjob_configure.")));
		(void) bgjob_kind_by_name("external", job);
		*signature = bgjob_functionconf_external(job);
		return BGJOB_ANY_ARGUMENTS;
	}
	func = bgjob_function_by_name(job, GetUserId());
	check_may_configure(func, fcinfo->flinfo->fn_oid);
	*signature = bgjob_function_signature(func);
	return func;
}

PG_FUNCTION_INFO_V1(bgjob_configure);

/*
 * bgjob_configure configures a function. The manual lists parameters and
 * defaults. Errors: 42501 not the owner of the function; 22023, 22004 an
 * invalid value; 42883, 42725 no such function, or several.
 */
Datum
bgjob_configure(PG_FUNCTION_ARGS)
{
	BgjobFunctionConf conf;
	Oid func;

	bgjob_check_granted("bgjob_configure()");
	func = named(fcinfo, &conf.func);
	read_options(fcinfo, &conf.options);
	bgjob_jobkeys_check(func, &conf.options);
	check_chunks(func, &conf.options);
	conf.policy = make_policy(&conf.options);
	bgjob_functionconf_set(&conf);
	PG_RETURN_VOID();
}

static bool
is_unknown(const char *name)
{
	if (*bgjob_text_find_unquoted(name, "(") != '\0')
		return bgjob_function_is_gone(name);
	return FuncnameGetCandidates(bgjob_qualified_name(name), -1, NIL, false, false, false,
								 true) == NULL;
}

/* Returns the signature of the configured function that begins so; NULL: there is none. Raises 42725 if there are several. */
static const char *
find_configured(const char *name, const char *beginning)
{
	const char *found[2];
	int n = bgjob_functionconf_list(beginning, found, 2);

	while (n > 0 && strncmp(found[n - 1], beginning, strlen(beginning)) != 0)
		n--;
	if (n > 1)
		ereport(ERROR, (errcode(ERRCODE_AMBIGUOUS_FUNCTION),
						errmsg("function name \"%s\" is not unique", name),
						errdetail("Several functions of that name, which no longer exist, are "
								  "configured."),
						errhint("Specify the types of the arguments, as in %s.", found[0])));
	return n == 1 ? found[0] : NULL;
}

/* Removes the configuration of a function that no longer exists, however its name and types are written. */
static bool
remove_gone(const char *name)
{
	ListCell *cell;

	foreach (cell, bgjob_name_signatures(name))
	{
		const char *signature = lfirst(cell);

		if (signature[strlen(signature) - 1] == '(')
			signature = find_configured(name, signature);
		if (signature != NULL && bgjob_functionconf_remove(signature))
			return true;
	}
	return false;
}

PG_FUNCTION_INFO_V1(bgjob_unconfigure);

/*
 * bgjob_unconfigure(job) removes the configuration of a function. Returns false
 * if there is none. A function that no longer exists may be named in any way that
 * it could be when it existed. Errors as bgjob_configure().
 */
Datum
bgjob_unconfigure(PG_FUNCTION_ARGS)
{
	char *name;
	Oid func;
	bool removed;

	bgjob_check_granted("bgjob_unconfigure()");
	name = required(fcinfo, P_JOB, "job");
	if (bgjob_is_granted_by_name(fcinfo->flinfo->fn_oid) &&
		(bgjob_functionconf_remove(bgjob_functionconf_external(name)) ||
		 bgjob_functionconf_remove(name) || (is_unknown(name) && remove_gone(name))))
		PG_RETURN_BOOL(true);
	func = bgjob_function_by_name(name, GetUserId());
	check_may_configure(func, fcinfo->flinfo->fn_oid);
	removed = bgjob_functionconf_remove(bgjob_function_signature(func));
	if (!removed)
		ereport(NOTICE, (errmsg("function %s is not configured",
								bgjob_function_describe(func)->signature)));
	PG_RETURN_BOOL(removed);
}
