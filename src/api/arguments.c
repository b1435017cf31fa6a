/*-------------------------------------------------------------------------
 *
 * arguments.c
 *	  Reads the arguments of the SQL functions and raises their errors.
 *
 * A function with defaults is not STRICT: null means that an option is not
 * given. Required arguments are checked here, with the same error for all.
 *
 * Runs in the calling session; takes no locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "api/arguments.h"
#include "base/console.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

/* bgjob_arg_text returns a text argument, NULL if it is null. */
char *
bgjob_arg_text(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

static void
refuse_null(const char *name, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name),
			 errdetail("%s", detail), errhint("Specify a value for %s.", name)));
}

/* bgjob_arg_require raises 22004 if an argument is null. "detail" becomes the error's detail. */
void
bgjob_arg_require(FunctionCallInfo fcinfo, int arg, const char *name, const char *detail)
{
	if (PG_ARGISNULL(arg))
		refuse_null(name, detail);
}

/* bgjob_option_require raises 22004 if an option is null whose default is another value. */
void
bgjob_option_require(const BgjobOptionSet *set, BgjobOption option, const char *detail)
{
	if (!set->given[option])
		refuse_null(bgjob_options[option].name, detail);
}

/* bgjob_arg_required_text returns a text argument. Raises 22004 if it is null. */
char *
bgjob_arg_required_text(FunctionCallInfo fcinfo, int arg, const char *name, const char *detail)
{
	bgjob_arg_require(fcinfo, arg, name, detail);
	return bgjob_arg_text(fcinfo, arg);
}

/* bgjob_arg_percent returns the progress of a job that an argument says. Raises 22004 if it is null, 22023 unless it is between 0 and 100. */
double
bgjob_arg_percent(FunctionCallInfo fcinfo, int arg)
{
	double percent;

	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("percent must not be null"),
				 errdetail("It is the progress of the job in percent."),
				 errhint("Use a number from 0 to 100.")));
	percent =
		DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, PG_GETARG_DATUM(arg)));
	if (isnan(percent) || percent < 0 || percent > 100)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("percent is out of range: %s", DatumGetCString(DirectFunctionCall1(
														   numeric_out, PG_GETARG_DATUM(arg)))),
				 errdetail("It is the progress of the job in percent."),
				 errhint("Use a number from 0 to 100.")));
	return percent;
}

/* bgjob_arg_level returns the level of a line that is logged. Raises 22004 if it is null, 22023 if it is empty or too long. */
char *
bgjob_arg_level(FunctionCallInfo fcinfo, int arg)
{
	char *level =
		bgjob_arg_required_text(fcinfo, arg, "level", "It is the level of the log line.");

	if (level[0] == '\0' || strlen(level) > BGJOB_LEVEL_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid level of a line in the log: \"%s\"", level),
						errdetail("It must have 1 to %d bytes.", BGJOB_LEVEL_MAX),
						errhint("Usual levels are debug, info, warning and error.")));
	return level;
}

/* bgjob_arg_state returns the state that an argument names, BGJOB_NONE if it is null. Raises 22023 if there is no such state. */
BgjobState
bgjob_arg_state(FunctionCallInfo fcinfo, int arg)
{
	char *name;
	BgjobState state;

	if (PG_ARGISNULL(arg))
		return BGJOB_NONE;
	name = text_to_cstring(PG_GETARG_TEXT_PP(arg));
	state = bgjob_state_by_name(name);
	if (state == BGJOB_NONE)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("there is no state \"%s\"", name),
						errdetail("A job is always in one of seven states."),
						errhint("The states are enqueued, scheduled, awaiting, processing, "
								"succeeded, failed and deleted.")));
	return state;
}

/*
 * bgjob_args_options reads the options of a function. The parameters from
 * "first" on are the options that bgjob_options lists for "place", in its
 * order. A null parameter is not given. Returns the number of the next parameter.
 */
int
bgjob_args_options(FunctionCallInfo fcinfo, int first, int place, BgjobOptionSet *set)
{
	int arg = first;

	memset(set->given, 0, sizeof(set->given));
	for (int option = 0; option < BGJOB_NOPTIONS; option++)
	{
		Oid type = bgjob_options[option].type;
		Datum value;

		if ((bgjob_options[option].places & place) == 0)
			continue;
		if (!PG_ARGISNULL(arg))
		{
			value = PG_GETARG_DATUM(arg);
			if (type != INT4OID && type != INT8OID && type != TIMESTAMPTZOID &&
				type != INTERVALOID)
				value = PointerGetDatum(PG_DETOAST_DATUM(value));
			bgjob_option_set(set, (BgjobOption) option, value);
		}
		arg++;
	}
	return arg;
}
