/*-------------------------------------------------------------------------
 *
 * signals.c
 *	  Sends and removes signals, which jobs await by name.
 *
 * A signal is part of the transaction that sends it. It reaches the jobs that its sender
 * controls: those that await it now go on when it commits, and later ones find it
 * until it expires (store/signalrow.c).
 *
 * Runs in the calling session.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "api/arguments.h"
#include "api/options.h"
#include "api/rights.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "store/awaiting.h"
#include "store/release.h"
#include "store/signalrow.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

static char *
name_argument(FunctionCallInfo fcinfo)
{
	char *name = bgjob_arg_required_text(fcinfo, 0, "name", "It is what jobs await.");

	bgjob_check_signal_name(name);
	return name;
}

PG_FUNCTION_INFO_V1(bgjob_signal);

/*
 * bgjob_signal(name, payload) sends a signal. Returns the number of jobs that it
 * releases when the transaction commits. Raises 22004 or 22023 for an invalid name,
 * 25006 in a read-only transaction.
 */
Datum
bgjob_signal(PG_FUNCTION_ARGS)
{
	char *name;

	bgjob_check_usage();
	bgjob_check_writable("bgjob_signal()");
	name = name_argument(fcinfo);
	bgjob_signal_insert(name, GetUserId(), bgjob_now(),
						PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1));
	CommandCounterIncrement(); /* the signal is to be seen */
	PG_RETURN_INT64(bgjob_release_signalled(bgjob_signal_target(name)));
}

PG_FUNCTION_INFO_V1(bgjob_signal_remove);

/*
 * bgjob_signal_remove(name) removes the signals of a name that roles have sent which
 * the caller controls: later jobs do not find them. Returns whether there were any. Errors as bgjob_signal().
 */
Datum
bgjob_signal_remove(PG_FUNCTION_ARGS)
{
	char *name;

	bgjob_check_usage();
	bgjob_check_writable("bgjob_signal_remove()");
	name = name_argument(fcinfo);
	CommandCounterIncrement();
	PG_RETURN_BOOL(bgjob_signal_delete(name, bgjob_may_control));
}
