/*-------------------------------------------------------------------------
 *
 * limitcontrol.c
 *	  Closes limits for a time, and corrects what a job has spent of one.
 *
 * A job that is told to come back later ("Retry-After") closes its limit, and may fail then: the
 * limit is closed in shared memory at once, whatever becomes of its transaction. An administrator closes a
 * limit, or all keys of a pattern, in its configuration, too, so that it stays closed over a restart.
 *
 * Runs in workers, and in the calling session. Locks the row of a limit that an administrator closes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/arguments.h"
#include "api/inside.h"
#include "api/limits.h"
#include "api/options.h"
#include "api/rights.h"
#include "base/gate.h"
#include "base/interval.h"
#include "base/registry.h"
#include "fmgr.h"
#include "rules/clock.h"
#include "run/underway.h"
#include "store/gateneeds.h"
#include "store/limitconf.h"
#include "store/limitkeys.h"
#include "utils/timestamp.h"

/* Returns until when a limit is to be closed, as until or delay says. */
static TimestampTz
read_until(FunctionCallInfo fcinfo)
{
	const Interval *delay;
	TimestampTz until;

	if (PG_ARGISNULL(1) == PG_ARGISNULL(2))
		bgjob_invalid("either until or delay must be given",
					  "It determines when jobs under the limit may start again.",
					  "Write delay => '30 seconds'; '0' opens the limit.");
	if (!PG_ARGISNULL(2))
	{
		delay = PG_GETARG_INTERVAL_P(2);
		bgjob_check_interval("delay", delay, "It is counted from now.",
							 "Use '0' to open the limit.");
		return bgjob_time_plus(bgjob_now(), delay);
	}
	until = PG_GETARG_TIMESTAMPTZ(1);
	return until == DT_NOBEGIN ? bgjob_now() : until;
}

/* Closes a limit in shared memory. */
static void
close_at_once(const char *name, TimestampTz until)
{
	BgjobGateNeed need;

	if (bgjob_registry == NULL || bgjob_is_pattern(name))
		return;
	bgjob_gate_need_of_limit(name, 1, &need);
	bgjob_gate_close(&need, until);
}

/* Raises 22023 unless a name is that of a limit, or of a key of a pattern. */
static void
check_exists(const char *name)
{
	if (bgjob_limitconf_find(name) == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("limit \"%s\" does not exist", name),
						errdetail("No limit has this name, and no pattern of limits fits it."),
						errhint("Have an administrator add it with bgjob_limit().")));
}

/* Closes a limit for an administrator. */
static void
close_configured(const char *name, TimestampTz until)
{
	bgjob_check_writable("bgjob_limit_close()");
	if (!bgjob_limitconf_close(name, until))
		check_exists(name);
	close_at_once(name, until);
}

PG_FUNCTION_INFO_V1(bgjob_limit_close);

/*
 * bgjob_limit_close(name, until, delay) keeps jobs under a limit from starting before a time; one that has passed opens the
 * limit. For administrators and roles with EXECUTE by a grant, and for a job that is under the limit. Errors: 22023 no such
 * limit, or not one of until and delay; 22004 a null name; 42501 neither.
 */
Datum
bgjob_limit_close(PG_FUNCTION_ARGS)
{
	const BgjobJob *job = bgjob_underway_job();
	TimestampTz until;
	char *name;
	int units;

	bgjob_check_usage();
	name = bgjob_arg_required_text(fcinfo, 0, "name", "It names the limit to close.");
	bgjob_check_limit_name(name);
	until = read_until(fcinfo);
	if (job != NULL && bgjob_limits_find(job, name, &units))
		close_at_once(name, until);
	else if (bgjob_is_granted_by_name(fcinfo->flinfo->fn_oid))
		close_configured(name, until);
	else
		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to close limit \"%s\"", name),
			 errdetail("Only administrators, roles with EXECUTE granted by name, and jobs "
					   "under the limit may close it."),
			 errhint("Have an administrator GRANT EXECUTE ON FUNCTION bgjob_limit_close.")));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(bgjob_limit_used);

/*
 * bgjob_limit_used(name, units): the running job has taken so many units of a limit, instead of those that it has announced. Errors: 55000
 * outside of a job; 22023 the job is not under the limit, or negative units; 22004 null.
 */
Datum
bgjob_limit_used(PG_FUNCTION_ARGS)
{
	const BgjobJob *job = bgjob_this_job("bgjob_limit_used()");
	char *name = bgjob_arg_required_text(fcinfo, 0, "name", "It names a limit of the job.");
	int units;

	bgjob_arg_require(fcinfo, 1, "units", "It is what the job has taken of the limit.");
	bgjob_check_limit_name(name);
	if (!bgjob_limits_find(job, name, &units))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the job is not under limit \"%s\"", name),
						errdetail("A job corrects what it has taken of its own limits."),
						errhint("The column limits of bgjob.jobs shows them.")));
	units = PG_GETARG_INT32(1);
	if (units < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("units %d are out of range", units),
						errdetail("They are what the job has taken of the limit."),
						errhint("Use 0 if it has taken nothing.")));
	bgjob_gate_correct(bgjob_gate_of(BGJOB_GATE_LIMIT, InvalidOid, name), units);
	PG_RETURN_VOID();
}
