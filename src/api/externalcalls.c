/*-------------------------------------------------------------------------
 *
 * externalcalls.c
 *	  What external workers tell of the jobs that they have: heartbeats, progress, lines of the log.
 *
 * A call counts only if the worker has the job: the caller controls the role that fetched it, the name is the same, and the lease
 * is not over (base/lease.c). Heartbeats and progress are noted in shared memory, at once, whatever becomes of the
 * caller's transaction. A line of the log is a row, and part of that transaction.
 *
 * Runs in the session of the worker.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/arguments.h"
#include "api/external.h"
#include "api/externalargs.h"
#include "api/rights.h"
#include "base/externalworkers.h"
#include "base/lease.h"
#include "base/text.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "store/jobrow.h"
#include "store/lease.h"
#include "store/log.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

/* What a line of the log counts besides its message, in bytes. */
#define LINE_OVERHEAD 32

/* What a worker is told of a job that it does not have. */
#define LOST   "lost"
#define CANCEL "cancel"

/* Returns whether a job has gone to the next attempt since the lease of the one before was lost. */
static bool
was_lost(const BgjobJob *job)
{
	const char *reason = bgjob_job_text(job, BGJOB_C_ENTRY_REASON);

	return job->state == BGJOB_SUCCEEDED ||
		   (reason != NULL && job->state != BGJOB_DELETED && job->state != BGJOB_FAILED &&
			strncmp(reason, BGJOB_LOST_REASON, strlen(BGJOB_LOST_REASON)) == 0);
}

/* Returns what to tell of a job that nobody has, from its row. Of jobs that the caller does not control nothing is told. */
static const char *
command_by_row(int64 id)
{
	BgjobRel *jobs = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	const char *command = CANCEL;
	BgjobJob job;

	if (bgjob_job_read(jobs, id, &job) && bgjob_may_control(job.run_as) && was_lost(&job))
		command = LOST;
	bgjob_rel_close(jobs);
	return command;
}

/* Returns what to tell a worker of a job that it does not have, or whose lease is over. */
static const char *
command_for_other(int64 id, const char *worker)
{
	BgjobLease lease;

	if (!bgjob_lease_find(MyDatabaseId, id, &lease) || lease.phase != BGJOB_LEASE_HELD)
		return command_by_row(id);
	if (!bgjob_may_control(lease.role))
		return CANCEL;
	if (strcmp(lease.worker, worker) == 0 && bgjob_may_control(lease.owner) &&
		lease.deadline <= bgjob_steady_now())
		return CANCEL; /* out of time */
	return LOST;
}

/* Extends the lease of a job. Returns what to tell the worker of it. */
static const char *
beat(int64 id, const char *worker, int64 microseconds)
{
	BgjobLease lease;
	TimestampTz until;

	if (bgjob_external_holds(id, worker, &lease) &&
		bgjob_lease_extend(&lease, microseconds, &until))
		return "continue";
	return command_for_other(id, worker);
}

/* Returns a row of the result; id NULL: for the worker as a whole. */
static void
put_row(ReturnSetInfo *result, const int64 *id, const char *command)
{
	Datum values[2] = {Int64GetDatum(id != NULL ? *id : 0), CStringGetTextDatum(command)};
	bool nulls[2] = {id == NULL, false};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Sees to the leases of some jobs. Returns whether one of the jobs was lost. Raises 22023. */
static bool
beat_for(ReturnSetInfo *result, ArrayType *ids, const char *worker, int64 microseconds)
{
	bool lost = false;
	Datum *elements;
	bool *nulls;
	int n;

	deconstruct_array(ids, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elements,
					  &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		int64 id = DatumGetInt64(elements[i]);
		const char *command;

		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("ids must not contain nulls"),
							errdetail("They are the jobs that the worker has."),
							errhint("Leave out what is no job.")));
		command = beat(id, worker, microseconds);
		lost |= strcmp(command, LOST) == 0;
		put_row(result, &id, command);
	}
	return lost;
}

PG_FUNCTION_INFO_V1(bgjob_heartbeat);

/*
 * bgjob_heartbeat(worker, ids, lease) says that a worker lives and has these jobs: their leases end an interval from now. Returns for
 * each job, in the order of the array, 'continue', or, if the worker does not have it any more, 'cancel' or
 * 'lost'; and a row without id, 'quiet' or 'terminate', if an administrator has asked for it. Errors: 22023 for an
 * invalid argument, 42501 without USAGE on schema bgjob, 25006 on a standby.
 */
Datum
bgjob_heartbeat(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	BgjobExternalCommand command;
	const char *worker;
	int64 microseconds;
	bool lost = false;

	bgjob_check_usage();
	bgjob_check_writable("bgjob_heartbeat()");
	worker = bgjob_external_worker_name(fcinfo, 0);
	microseconds = bgjob_external_lease(fcinfo, 2);
	InitMaterializedSRF(fcinfo, 0);
	bgjob_leases_ensure();
	if (!PG_ARGISNULL(1))
		lost = beat_for(result, PG_GETARG_ARRAYTYPE_P(1), worker, microseconds);
	command = bgjob_external_worker_beats(GetUserId(), worker, lost);
	if (command != BGJOB_EXTERNAL_GO_ON)
		put_row(result, NULL, command == BGJOB_EXTERNAL_QUIET ? "quiet" : "terminate");
	return (Datum) 0;
}

/* Finds the lease of the job that the calling worker has: false, if it does not. Raises 42501 or 25006. */
static bool
find_own_lease(FunctionCallInfo fcinfo, const char *function, BgjobLease *lease)
{
	const char *worker;

	bgjob_check_usage();
	bgjob_check_writable(function);
	worker = bgjob_external_worker_name(fcinfo, 1);
	bgjob_leases_ensure();
	if (PG_ARGISNULL(0) || !bgjob_external_holds(PG_GETARG_INT64(0), worker, lease))
		return false;
	bgjob_external_worker_answers(GetUserId(), worker, false);
	return true;
}

PG_FUNCTION_INFO_V1(bgjob_external_log);

/*
 * bgjob_external_log(id, worker, message, level) adds a line to the log of a job that the worker has. The log of an attempt is
 * limited as that of bgjob_log(); beyond that one more line says that the rest is left out. Returns false if the worker does not have the job. Errors: 22004
 * message or level is null; 22023 an invalid level or name; 42501; 25006.
 */
Datum
bgjob_external_log(PG_FUNCTION_ARGS)
{
	char *message =
		bgjob_arg_required_text(fcinfo, 2, "message", "It is a line of the job's log.");
	const char *level = bgjob_arg_level(fcinfo, 3);
	BgjobLogged logged;
	BgjobLease lease;
	int seq;

	if (!find_own_lease(fcinfo, "bgjob_external_log()", &lease))
		PG_RETURN_BOOL(false);
	seq = bgjob_lease_add_line(&lease, strlen(message) + LINE_OVERHEAD, &logged);
	if (seq == 0)
		PG_RETURN_BOOL(false);
	if (logged == BGJOB_LOGGED)
		bgjob_log_add(lease.job, seq, level, message);
	else if (logged == BGJOB_LOGGED_CUT)
		bgjob_log_add(lease.job, seq, "warning", BGJOB_LOG_CUT);
	PG_RETURN_BOOL(true);
}

PG_FUNCTION_INFO_V1(bgjob_external_progress);

/*
 * bgjob_external_progress(id, worker, percent, message) reports the progress of a job that the worker has: 0 to 100, and a message, cut
 * to 255 bytes, or null. Returns false if the worker does not have the job. Errors: 22004, 22023, 42501, 25006 as above.
 */
Datum
bgjob_external_progress(PG_FUNCTION_ARGS)
{
	double percent = bgjob_arg_percent(fcinfo, 2);
	char *message = bgjob_arg_text(fcinfo, 3);
	BgjobLease lease;

	if (message != NULL)
		message[pg_mbcliplen(message, (int) strlen(message), BGJOB_PROGRESS_MESSAGE_MAX)] =
			'\0';
	if (!find_own_lease(fcinfo, "bgjob_external_progress()", &lease))
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(bgjob_lease_set_progress(&lease, percent, message));
}
