/*-------------------------------------------------------------------------
 *
 * await.c
 *	  bgjob_await(): waits until there may be work for an external worker.
 *
 * A procedure, since it ends the caller's transaction before it waits, as COMMIT does, and begins another
 * one afterwards: so a client that waits for half a minute holds neither a transaction nor a snapshot, and is in nobody's
 * way. It can be called wherever COMMIT could. Called as a statement of its own it has no transaction while it waits;
 * within a procedure, or a DO block, it has an empty one, since only SPI can end a transaction there.
 *
 * The session sleeps on its latch. The commit that makes a job ready wakes it
 * (base/awaiters.c). An error must be raised within a transaction, so interrupts end the wait, and are served after
 * it. The roles whose jobs the caller controls are looked up before the wait: a role that is granted meanwhile counts at the next call.
 *
 * Runs in the calling session. Takes no locks that last.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "api/externalargs.h"
#include "api/rights.h"
#include "base/awaiters.h"
#include "base/interval.h"
#include "base/registry.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "rules/clock.h"
#include "storage/sinval.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* The longest wait, in microseconds. */
#define AWAIT_MAX (INT64CONST(3600) * USECS_PER_SEC)

/* Raises 2D000 unless the caller's transaction can be ended here. */
static void
check_transaction(FunctionCallInfo fcinfo)
{
	bool can = fcinfo->context != NULL && IsA(fcinfo->context, CallContext) &&
			   !((CallContext *) fcinfo->context)->atomic && !IsSubTransaction();

	if (!can)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
						errmsg("bgjob_await() cannot be called within a transaction block"),
						errdetail("It ends the transaction before it waits, as COMMIT does."),
						errhint("Call it as a statement of its own.")));
}

/* Returns the longest time to wait, in microseconds. Raises 22023. */
static int64
read_timeout(FunctionCallInfo fcinfo)
{
	int64 timeout = PG_ARGISNULL(1)
						? 0
						: bgjob_interval_microseconds(PG_GETARG_INTERVAL_P(1), DAYS_PER_MONTH);

	if (timeout <= 0 || timeout > AWAIT_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid timeout of bgjob_await()"),
						errdetail("It must be more than 0 and at most 1 hour."),
						errhint("Call it again when it has returned.")));
	return timeout;
}

/* Raises 55000 where nothing would ever wake the session. */
static void
check_server(void)
{
	if (bgjob_registry == NULL || RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("cannot wait for jobs on a server that runs no jobs"),
						errdetail("The server is a standby, or the library \"bgjob\" is not in "
								  "shared_preload_libraries."),
						errhint("On a primary, add \"bgjob\" to shared_preload_libraries and "
								"restart the server.")));
}

/* Ends the caller's transaction; SPI begins another one, which is empty. */
static void
end_transaction(bool by_spi)
{
	if (by_spi)
		SPI_commit();
	else
	{
		HoldPinnedPortals();
		ForgetPortalSnapshots();
		CommitTransactionCommand();
	}
}

/* Begins another transaction, if there is none, in which errors can be raised. */
static void
begin_transaction(bool by_spi, MemoryContext context)
{
	if (!by_spi)
		StartTransactionCommand();
	MemoryContextSwitchTo(context);
}

/* Serves the interrupts that have ended a wait. The session that fails does not fetch. */
static void
serve_interrupts(void)
{
	if (QueryCancelPending || ProcDiePending)
		bgjob_awaiters_decline();
	CHECK_FOR_INTERRUPTS();
}

/* Waits, without a transaction, until there may be work or the time is up. */
static void
await(const BgjobAwaited *awaited, int64 until, bool by_spi)
{
	MemoryContext context = CurrentMemoryContext;
	BgjobAwaitEnd end;

	do
	{
		end_transaction(by_spi);
		end = bgjob_awaiters_sleep(awaited, until);
		if (catchupInterruptPending && !by_spi)
			ProcessCatchupInterrupt();
		begin_transaction(by_spi, context);
		serve_interrupts();
	} while (end == BGJOB_AWAIT_INTERRUPT);
}

PG_FUNCTION_INFO_V1(bgjob_await);

/*
 * bgjob_await(queues, timeout) returns when there may be an external job for the caller in one of the queues,
 * or when the timeout (at most an hour) has passed. Errors: 2D000 in a transaction block, 22023 for an invalid
 * argument, 42501 without USAGE on schema bgjob, 55000 on a server that runs no jobs.
 */
Datum
bgjob_await(PG_FUNCTION_ARGS)
{
	BgjobAwaited awaited;
	bool by_spi = SPI_inside_nonatomic_context();
	int64 timeout;

	bgjob_check_usage();
	awaited.queues = bgjob_external_queues(fcinfo, 0);
	timeout = read_timeout(fcinfo);
	check_transaction(fcinfo);
	check_server();
	awaited.all_roles = bgjob_is_administrator();
	awaited.nroles =
		awaited.all_roles ? 0 : bgjob_roles_controlled(awaited.roles, BGJOB_AWAITED_ROLES);
	bgjob_awaiters_prepare();
	if (by_spi)
		SPI_connect_ext(SPI_OPT_NONATOMIC);
	await(&awaited, bgjob_steady_now() + timeout, by_spi);
	if (by_spi)
		SPI_finish();
	PG_RETURN_VOID();
}
