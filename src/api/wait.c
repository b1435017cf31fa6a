/*-------------------------------------------------------------------------
 *
 * wait.c
 *	  bgjob_wait(): sleeps until a job has ended.
 *
 * The session sleeps on a condition variable. The transaction that ends the job
 * wakes the session after commit (base/waiters.c); nothing polls. If the library
 * is not preloaded, no process would wake the session, so bgjob_wait() fails.
 *
 * The caller's statement holds a snapshot while it waits, like any long
 * statement. The job is read with fresh snapshots.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "api/rights.h"
#include "base/interval.h"
#include "base/registry.h"
#include "base/waiters.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "store/job.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Returns the state of a job that has ended, else BGJOB_NONE. */
static BgjobState
final_state(int64 id, bool *found)
{
	BgjobRel *jobs = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	BgjobState state = BGJOB_NONE;
	BgjobJob job;

	*found = bgjob_job_read(jobs, id, &job);
	if (*found)
	{
		if (!bgjob_may_see(job.run_as))
			bgjob_check_control(id, job.run_as);
		if (bgjob_state_is_final(job.state))
			state = job.state;
	}
	bgjob_rel_close(jobs);
	return state;
}

/* Returns the time to stop waiting, by the steady clock, or DT_NOEND. Raises 22023 for a negative timeout. */
static TimestampTz
deadline(FunctionCallInfo fcinfo)
{
	TimestampTz now = bgjob_now();
	TimestampTz until;

	if (PG_ARGISNULL(1))
		return DT_NOEND;
	until = bgjob_time_plus(now, PG_GETARG_INTERVAL_P(1));
	if (until < now)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("timeout must not be negative"),
						errdetail("It is the longest time to wait."),
						errhint("Omit timeout to wait until the job has ended.")));
	return until == DT_NOEND ? DT_NOEND : until - now + bgjob_steady_now();
}

/* Raises 55000 if this transaction has enqueued the job. */
static void
check_waitable(int64 id)
{
	BgjobRel *jobs = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	bool mine;

	CommandCounterIncrement();
	mine = bgjob_job_inserted_by_me(jobs, id);
	bgjob_rel_close(jobs);
	if (mine)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("cannot wait for a job that this transaction has enqueued"),
						errdetail("Workers see the job only after the transaction commits."),
						errhint("Commit the transaction before waiting for the job.")));
}

static pg_noinline BgjobState
wait_for(int64 id, TimestampTz until)
{
	MemoryContext per_check =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob wait", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(per_check);
	BgjobState state;
	bool found = true;

	for (;;)
	{
		int64 rest;

		MemoryContextReset(per_check);
		state = final_state(id, &found);
		rest = until == DT_NOEND ? 60000 : (until - bgjob_steady_now() + 999) / 1000;
		if (state != BGJOB_NONE || !found || rest <= 0)
			break;
		(void) bgjob_waiters_sleep(id, (long) Min(rest, 60000));
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(per_check);
	return state;
}

/* Waits as a registered waiter, and unregisters also on error. Not inlined: see -Wclobbered. */
static pg_noinline BgjobState
wait_as_waiter(int64 id, TimestampTz until)
{
	volatile BgjobState state = BGJOB_NONE;

	PG_TRY();
	{
		bgjob_waiters_prepare(id);
		state = wait_for(id, until);
	}
	PG_CATCH();
	{
		bgjob_waiters_leave();
		PG_RE_THROW();
	}
	PG_END_TRY();
	bgjob_waiters_leave();
	return state;
}

PG_FUNCTION_INFO_V1(bgjob_wait);

/*
 * bgjob_wait(id, timeout) sleeps until a job has succeeded, failed or been
 * deleted and returns that state; null if the timeout passes first or the job is
 * removed meanwhile. Errors: 22023 no such job; 42501 the caller may not see the
 * job; 55000 this transaction has enqueued the job, or no job runs on this server.
 */
Datum
bgjob_wait(PG_FUNCTION_ARGS)
{
	TimestampTz until;
	BgjobState state;
	bool found;
	int64 id;

	bgjob_check_sight();
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	id = PG_GETARG_INT64(0);
	until = deadline(fcinfo);
	check_waitable(id);
	state = final_state(id, &found);
	if (!found)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("job " INT64_FORMAT " does not exist", id),
						errdetail("It was never enqueued, or has been removed."),
						errhint("The view bgjob.jobs lists the existing jobs.")));
	if (state == BGJOB_NONE && (bgjob_registry == NULL || RecoveryInProgress()))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("cannot wait for a job on a server that runs no jobs"),
						errdetail("The server is a standby, or the library \"bgjob\" is not in "
								  "shared_preload_libraries."),
						errhint("On a primary, add \"bgjob\" to shared_preload_libraries and "
								"restart the server.")));
	if (state == BGJOB_NONE)
		state = wait_as_waiter(id, until);
	if (state == BGJOB_NONE)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(bgjob_state_name(state)));
}
