/*-------------------------------------------------------------------------
 *
 * inside.c
 *	  Functions that a running job calls about itself.
 *
 * They concern the job that their process runs. Outside of a job they raise
 * 55000, but bgjob_current_id() returns null. Other sessions see progress and
 * log at once, and both are kept even if the attempt fails (base/console.h).
 * Parameters are part of the job's transaction. bgjob_snooze() and
 * bgjob_discard() do not return.
 *
 * Runs in workers, and in sessions within bgjob_run(), called by the job's own code.
 * There, the output is kept in the session until the job has ended (base/output.h). No
 * function here can name another job, so none checks rights.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/arguments.h"
#include "api/inside.h"
#include "api/options.h"
#include "api/rights.h"
#include "base/console.h"
#include "base/interval.h"
#include "base/json.h"
#include "base/output.h"
#include "base/registry.h"
#include "base/request.h"
#include "base/slot.h"
#include "fmgr.h"
#include "rules/clock.h"
#include "run/attempt.h"
#include "run/inplace.h"
#include "run/underway.h"
#include "store/job.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

/* The shortest delay of a snooze, in seconds. */
#define SHORTEST_SNOOZE 1

/* bgjob_this_job returns the running job. Raises 55000 outside of a job. */
const BgjobJob *
bgjob_this_job(const char *function)
{
	const BgjobJob *job = bgjob_underway_job();

	if (job == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("%s can be called only inside a job", function),
						errdetail("This session runs no job."),
						errhint("Call it in the function or command of a job.")));
	return job;
}

PG_FUNCTION_INFO_V1(bgjob_current_id);

/* bgjob_current_id() returns the id of the running job, null outside of a job. */
Datum
bgjob_current_id(PG_FUNCTION_ARGS)
{
	const BgjobJob *job = bgjob_underway_job();

	if (job == NULL)
		PG_RETURN_NULL();
	PG_RETURN_INT64(job->id);
}

PG_FUNCTION_INFO_V1(bgjob_progress);

/*
 * bgjob_progress(percent, message) reports the progress of the job: 0 to 100,
 * and a message, cut to 255 bytes, or null. Raises 22023 for any other percent.
 */
Datum
bgjob_progress(PG_FUNCTION_ARGS)
{
	const BgjobJob *job = bgjob_this_job("bgjob_progress()");
	char *message;
	double percent;

	percent = bgjob_arg_percent(fcinfo, 0);
	message = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (bgjob_my_slot == NULL)
		bgjob_output_progress(percent, message);
	else
		bgjob_console_progress(job->id, percent, message);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(bgjob_log);

/*
 * bgjob_log(message, level) adds a line to the job's log. Raises 22004 if an
 * argument is null, 22023 if the level is empty or longer than 31 bytes. The log
 * of an attempt is limited (base/console.h).
 */
Datum
bgjob_log(PG_FUNCTION_ARGS)
{
	const BgjobJob *job = bgjob_this_job("bgjob_log()");
	char *message =
		bgjob_arg_required_text(fcinfo, 0, "message", "It is a line of the job's log.");
	char *level = bgjob_arg_level(fcinfo, 1);

	if (bgjob_my_slot == NULL)
		bgjob_output_log(level, message);
	else
		bgjob_console_log(job->id, DatumGetInt32(bgjob_job_datum(job, BGJOB_C_LOGS)) + 1, level,
						  message);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(bgjob_cancel_requested);

/*
 * bgjob_cancel_requested() returns whether the attempt is to end: the job was
 * deleted, requeued or rescheduled, its timeout has passed, or the server shuts
 * down. The statement that it runs is canceled then; a job that has trapped the
 * cancel asks here.
 */
Datum
bgjob_cancel_requested(PG_FUNCTION_ARGS)
{
	(void) bgjob_this_job("bgjob_cancel_requested()");
	if (bgjob_my_slot == NULL)
		PG_RETURN_BOOL(bgjob_inplace_is_timed_out());
	PG_RETURN_BOOL(bgjob_slot_request_seen() != BGJOB_REQUEST_NONE ||
				   bgjob_my_slot->timed_out || bgjob_my_slot->term);
}

/* Reads the row of the running job as its transaction sees it, with the parameters that it has set. */
static void
read_row(BgjobJob *job)
{
	BgjobRel *jobs = bgjob_rel_open_read(BGJOB_TABLE_JOB);

	bgjob_underway_read_row(jobs, job);
	bgjob_rel_close(jobs);
}

PG_FUNCTION_INFO_V1(bgjob_parameter);

/* bgjob_parameter(name) returns a parameter of the job, null if there is none of that name. */
Datum
bgjob_parameter(PG_FUNCTION_ARGS)
{
	BgjobJob job;
	Jsonb *parameters;
	JsonbValue *value = NULL;

	(void) bgjob_this_job("bgjob_parameter()");
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	read_row(&job);
	parameters = bgjob_job_jsonb(&job, BGJOB_C_PARAMETERS);
	if (parameters != NULL && JB_ROOT_IS_OBJECT(parameters))
		value =
			getKeyJsonValueFromContainer(&parameters->root, VARDATA_ANY(PG_GETARG_TEXT_PP(0)),
										 VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(0)), NULL);
	if (value == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(JsonbValueToJsonb(value));
}

/* Returns {"name": value}. */
static Jsonb *
one_pair(const char *name, const Jsonb *value)
{
	JsonbParseState *state = NULL;

	bgjob_json_begin(&state);
	bgjob_json_member(&state, name, value);
	return bgjob_json_end(&state);
}

/* Sets or, with a null value, removes a parameter. */
static void
change_parameter(BgjobJob *job, char *name, Jsonb *value)
{
	Jsonb *parameters = bgjob_job_jsonb(job, BGJOB_C_PARAMETERS);
	Datum changed;

	if (value == NULL && parameters == NULL)
		return;
	if (value == NULL)
		changed = DirectFunctionCall2(jsonb_delete, JsonbPGetDatum(parameters),
									  CStringGetTextDatum(name));
	else if (parameters == NULL)
		changed = JsonbPGetDatum(one_pair(name, value));
	else
		changed = DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(parameters),
									  JsonbPGetDatum(one_pair(name, value)));
	bgjob_job_set(job, BGJOB_C_PARAMETERS, changed);
}

PG_FUNCTION_INFO_V1(bgjob_set_parameter);

/*
 * bgjob_set_parameter(name, value) sets a parameter of the job; a null value
 * removes it. The change is part of the job's transaction. Raises 22004 if the
 * name is null, 25006 if the transaction is read-only.
 */
Datum
bgjob_set_parameter(PG_FUNCTION_ARGS)
{
	char *name;
	BgjobRel *jobs;
	BgjobJob job;

	(void) bgjob_this_job("bgjob_set_parameter()");
	bgjob_check_writable("bgjob_set_parameter()");
	name = bgjob_arg_required_text(fcinfo, 0, "name", "It names the parameter.");
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	bgjob_underway_read_row(jobs, &job);
	change_parameter(&job, name, PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1));
	bgjob_underway_save_row(jobs, &job);
	bgjob_rel_close(jobs);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(bgjob_snooze);

/*
 * bgjob_snooze(delay) ends the attempt and rolls it back. The job runs again
 * after the delay and uses no retry. Raises 22004 if the delay is null, 22023 if
 * it is negative or out of range. A delay below one second becomes one second:
 * otherwise the job would fill its history.
 */
Datum
bgjob_snooze(PG_FUNCTION_ARGS)
{
	TimestampTz now = bgjob_now();
	TimestampTz run_at;
	char *text;

	(void) bgjob_this_job("bgjob_snooze()");
	bgjob_arg_require(fcinfo, 0, "delay", "The job runs again after this time.");
	bgjob_check_interval("delay", PG_GETARG_INTERVAL_P(0),
						 "The job runs again after this time.",
						 "Use '0' to run the job again as soon as possible.");
	run_at = bgjob_time_plus(now, PG_GETARG_INTERVAL_P(0));
	run_at = Max(run_at, now + SHORTEST_SNOOZE * USECS_PER_SEC);
	text = DatumGetCString(DirectFunctionCall1(interval_out, PG_GETARG_DATUM(0)));
	bgjob_attempt_end(BGJOB_EV_RESCHEDULE, run_at, psprintf(BGJOB_SNOOZE_REASON "%s", text));
	PG_RETURN_VOID(); /* not reached */
}

PG_FUNCTION_INFO_V1(bgjob_discard);

/*
 * bgjob_discard(reason) ends the attempt, rolls it back and deletes the job.
 */
Datum
bgjob_discard(PG_FUNCTION_ARGS)
{
	(void) bgjob_this_job("bgjob_discard()");
	bgjob_attempt_end(BGJOB_EV_DELETE, 0,
					  PG_ARGISNULL(0) ? "Discarded by itself"
									  : text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID(); /* not reached */
}
