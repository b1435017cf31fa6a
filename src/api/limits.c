/*-------------------------------------------------------------------------
 *
 * limits.c
 *	  Configures limits, and the weights of fairness keys.
 *
 * A limit has to be there before a job may name it; a pattern 'tenant:*' covers every name with
 * that prefix, each as a limit of its own. A change is in force from its commit on, also for
 * jobs that wait. Needs EXECUTE.
 *
 * Runs in the calling session. Locks the row that it changes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "api/arguments.h"
#include "api/limits.h"
#include "api/options.h"
#include "api/rights.h"
#include "base/change.h"
#include "base/interval.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "store/limitconf.h"
#include "store/weightconf.h"
#include "utils/inval.h"
#include "utils/timestamp.h"

/* Raises 22023 unless a text is the name or a pattern of something: 1 to 500 bytes, * only at its end. */
static void
check_name(const char *what, const char *name)
{
	const char *star = strchr(name, '*');

	if (name[0] == '\0' || strlen(name) > BGJOB_PATTERN_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid %s: it has %zu bytes", what, strlen(name)),
						errdetail("It must have 1 to %d bytes.", BGJOB_PATTERN_MAX),
						errhint("Use a name such as smtp, or a pattern such as tenant:*.")));
	if (star != NULL && star[1] != '\0')
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid %s: \"%s\"", what, name),
			 errdetail("A * stands for all that follows, so it must be the last character."),
			 errhint("Use a name such as smtp, or a pattern such as tenant:*.")));
}

/*
 * bgjob_check_limit_name raises 22023 if a text is longer than the name of a limit can be, or empty. A key of
 * a pattern may have any characters.
 */
void
bgjob_check_limit_name(const char *name)
{
	if (name[0] == '\0' || strlen(name) > BGJOB_LIMIT_NAME_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid name of a limit: it has %zu bytes", strlen(name)),
						errdetail("It must have 1 to %d bytes.", BGJOB_LIMIT_NAME_MAX),
						errhint("Use a name such as smtp or tenant:17.")));
}

/* Returns the name of a limit. Raises 42501 or 25006 unless the caller may configure it, 22004 or 22023 for an invalid name. */
static char *
limit_to_change(FunctionCallInfo fcinfo, const char *function)
{
	char *name;

	bgjob_check_granted(function);
	name = bgjob_arg_required_text(fcinfo, 0, "name", "It names the limit to configure.");
	check_name("name of a limit", name);
	if (strchr(name, '=') != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid name of a limit: \"%s\"", name),
						errdetail("In the limits of a job, units follow the character =."),
						errhint("Use a name such as smtp, or a pattern such as tenant:*.")));
	return name;
}

/* Reads max_running; -1: it is null. */
static int
read_max_running(FunctionCallInfo fcinfo, int arg)
{
	if (PG_ARGISNULL(arg))
		return -1;
	if (PG_GETARG_INT32(arg) < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("max_running %d is out of range", PG_GETARG_INT32(arg)),
						errdetail("It is how many jobs under the limit run at a time."),
						errhint("Use 0 to start none, and null for any number.")));
	return PG_GETARG_INT32(arg);
}

/* Reads rate and per, which go together; 0 and NULL: there is none. */
static void
read_rate(FunctionCallInfo fcinfo, BgjobLimitChange *change)
{
	static const char *const meaning = "A rate is a number of units in each interval.";
	int64 per;

	if (PG_ARGISNULL(2) != PG_ARGISNULL(3))
		bgjob_invalid("rate and per must be given together", meaning,
					  "Write rate => 100, per => '1 minute'.");
	if (PG_ARGISNULL(2))
		return;
	change->rate = PG_GETARG_INT32(2);
	if (change->rate < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("rate %d is out of range", change->rate), errdetail("%s", meaning),
				 errhint("To start no jobs, use max_running => 0.")));
	change->per = PG_GETARG_INTERVAL_P(3);
	per = bgjob_interval_microseconds(change->per, DAYS_PER_MONTH);
	if (per <= 0)
		bgjob_invalid("per must be positive", meaning, "Write rate => 100, per => '1 minute'.");
	if (per > BGJOB_LIMIT_PER_MAX)
		bgjob_invalid("per is out of range", meaning, "The longest value is 100 years.");
}

/* Returns the index of a choice. Raises 22004 if it is null. */
static int
read_choice(FunctionCallInfo fcinfo, int arg, const char *name, const char *const *values)
{
	return bgjob_choice(
		name, bgjob_arg_required_text(fcinfo, arg, name, "It determines how the limit works."),
		values);
}

PG_FUNCTION_INFO_V1(bgjob_limit);

/*
 * bgjob_limit(name, max_running, rate, per, algorithm, on_limit) adds a limit, or replaces
 * the one of that name as a whole. max_running is how many jobs may run at a time (0: none), rate how many
 * units may be spent in each "per". Errors: 22023 an invalid value, neither of both, or rate without per;
 * 22004 a null name, algorithm or on_limit; 42501 no EXECUTE.
 */
Datum
bgjob_limit(PG_FUNCTION_ARGS)
{
	static const char *const algorithms[] = {"sliding_window", "fixed_window", "token_bucket",
											 NULL};
	static const BgjobRateAlgorithm values[] = {
		BGJOB_RATE_SLIDING_WINDOW, BGJOB_RATE_FIXED_WINDOW, BGJOB_RATE_TOKEN_BUCKET};
	static const char *const actions[] = {"wait", "delete", NULL};
	char *name = limit_to_change(fcinfo, "bgjob_limit()");
	BgjobLimitChange change = {.max_running = read_max_running(fcinfo, 1)};

	read_rate(fcinfo, &change);
	if (change.max_running < 0 && change.rate == 0)
		bgjob_invalid("a limit needs max_running or a rate", "It would limit nothing.",
					  "To remove a limit, use bgjob_limit_remove().");
	change.algorithm = values[read_choice(fcinfo, 4, "algorithm", algorithms)];
	change.deletes = read_choice(fcinfo, 5, "on_limit", actions) == 1;
	bgjob_limitconf_set(name, &change);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(bgjob_limit_remove);

/* bgjob_limit_remove(name) removes a limit: jobs that are under it are no longer limited. Returns false if there is none. */
Datum
bgjob_limit_remove(PG_FUNCTION_ARGS)
{
	char *name = limit_to_change(fcinfo, "bgjob_limit_remove()");
	bool removed = bgjob_limitconf_remove(name);

	if (!removed)
		ereport(NOTICE, (errmsg("there is no limit \"%s\"", name)));
	PG_RETURN_BOOL(removed);
}

PG_FUNCTION_INFO_V1(bgjob_weight);

/*
 * bgjob_weight(fairness_key, weight) sets the weight of a fairness key or a pattern of keys; null removes it.
 * Errors: 22023 an invalid key, or a weight that is not positive; 22004 a null key; 42501 no EXECUTE.
 */
Datum
bgjob_weight(PG_FUNCTION_ARGS)
{
	char *key;

	bgjob_check_granted("bgjob_weight()");
	key = bgjob_arg_required_text(fcinfo, 0, "fairness_key", "It names the key to configure.");
	check_name("fairness_key", key);
	if (PG_ARGISNULL(1))
	{
		if (!bgjob_weightconf_remove(key))
			ereport(NOTICE, (errmsg("fairness_key \"%s\" has no weight", key)));
		PG_RETURN_VOID();
	}
	if (!isfinite(PG_GETARG_FLOAT4(1)) || PG_GETARG_FLOAT4(1) <= 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("weight %g is out of range", PG_GETARG_FLOAT4(1)),
						errdetail("A key gets workers in proportion to its weight."),
						errhint("Use a positive number; keys without a weight have 1.")));
	bgjob_weightconf_set(key, PG_GETARG_FLOAT4(1));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(bgjob_limits_changed);

/* bgjob_internal.limits_changed(), a trigger, notifies all backends of limits and weights that SQL has changed. */
Datum
bgjob_limits_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("this function must be called as a trigger")));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	bgjob_change_cached(BGJOB_CACHED_LIMITS);
	bgjob_change_cached(BGJOB_CACHED_WEIGHTS);
	bgjob_change_notice(MyDatabaseId, BGJOB_NOTICE_GATES);
	return PointerGetDatum(NULL);
}
