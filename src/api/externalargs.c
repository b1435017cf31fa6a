/*-------------------------------------------------------------------------
 *
 * externalargs.c
 *	  The arguments that the calls of external workers have in common.
 *
 * A name, a lease, and a list of queues. What is not valid raises 22023, null included.
 *
 * Runs in the session of the worker.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/externalargs.h"
#include "api/queuelist.h"
#include "base/interval.h"
#include "base/leasetable.h"
#include "base/servers.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* Returns whether a text has a control character: of ASCII, or of those that Unicode has after it. */
static bool
has_control_character(const char *text)
{
	bool utf8 = GetDatabaseEncoding() == PG_UTF8;

	for (const unsigned char *c = (const unsigned char *) text; *c != '\0'; c++)
		if (*c < ' ' || *c == 0x7f || (utf8 && c[0] == 0xc2 && c[1] < 0xa0))
			return true;
	return false;
}

/* bgjob_external_worker_name returns the name of an external worker. Raises 22023. */
const char *
bgjob_external_worker_name(FunctionCallInfo fcinfo, int arg)
{
	char *name = PG_ARGISNULL(arg) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(arg));

	if (name[0] == '\0' || strlen(name) > BGJOB_WORKER_NAME_MAX || has_control_character(name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid name of a worker"),
				 errdetail("It must have 1 to %d bytes and no control characters.",
						   BGJOB_WORKER_NAME_MAX),
				 errhint("Give each process that fetches jobs a name of its own.")));
	return name;
}

/* bgjob_external_lease returns the length of a lease, in microseconds. Raises 22023. */
int64
bgjob_external_lease(FunctionCallInfo fcinfo, int arg)
{
	int64 lease = PG_ARGISNULL(arg)
					  ? 0
					  : bgjob_interval_microseconds(PG_GETARG_INTERVAL_P(arg), DAYS_PER_MONTH);

	if (lease <= 0 || lease > INT64CONST(366) * USECS_PER_DAY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("lease is out of range"),
				 errdetail("It must be more than 0 and at most a year."),
				 errhint("A worker extends its leases with bgjob_heartbeat().")));
	return lease;
}

/* bgjob_external_queues returns a list of queues, as in bgjob.queues. Raises 22023. */
char *
bgjob_external_queues(FunctionCallInfo fcinfo, int arg)
{
	char *list = palloc(BGJOB_SERVER_LIST_SIZE);

	list[0] = '\0';
	bgjob_arg_queues(fcinfo, arg, "worker", list);
	return list;
}
