/*-------------------------------------------------------------------------
 *
 * control.c
 *	  Changes jobs: delete, requeue, reschedule, change, purge; returns results.
 *
 * How a job is changed depends on its state, which may change at any moment.
 * So each change is a loop of attempts, and no attempt waits while it holds a
 * lock. An attempt reads the job. If a worker runs the job, the attempt leaves
 * a request with that worker; once accepted, the worker carries the request
 * out. Otherwise the attempt locks the row that belongs to the state (in the
 * queue, in the schedule, or the job's own row if the job has ended) and changes
 * the job. If another session was faster, the loop tries again.
 *
 * from_state is compared with the state at that moment; a job that a worker
 * runs is processing.
 *
 * The history tells who has changed a job that runs as another role, and why if
 * that is given: in the reason, which begins with the event and the role, so that no
 * given text passes for a reason of bgjob's own.
 *
 * Runs in the calling session, in its transaction. A rollback does not take
 * back a request that a worker has accepted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "api/arguments.h"
#include "api/control.h"
#include "api/options.h"
#include "api/recurring.h"
#include "api/rights.h"
#include "base/change.h"
#include "base/interval.h"
#include "base/registry.h"
#include "base/request.h"
#include "base/running.h"
#include "base/slot.h"
#include "base/text.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "rules/clock.h"
#include "run/attempt.h"
#include "run/inplace.h"
#include "run/outcome.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "store/acquire.h"
#include "store/leased.h"
#include "store/restore.h"
#include "store/retention.h"
#include "store/sidetables.h"
#include "store/unique.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* A requested change of a job: an event, or other options for a waiting job. */
typedef struct Change
{
	const char *function; /* the SQL function, for messages */
	BgjobEvent event;
	BgjobRequest request;          /* the same as a request to a worker */
	BgjobState from;               /* BGJOB_NONE: any */
	TimestampTz run_at;            /* of RESCHEDULE */
	const char *reason;            /* NULL: the event, and its author */
	const char *why;               /* part of the author's record; NULL: not given */
	const BgjobOptionSet *options; /* NULL: an event */
} Change;

typedef enum Outcome
{
	OUTCOME_DONE,
	OUTCOME_REFUSED, /* no such job, wrong state, or another job has its unique_key */
	OUTCOME_AGAIN    /* another session was faster */
} Outcome;

/*
 * Gives an ended job that is to run again its unique_key. If another job has
 * the key, raises a notice and returns false: an error would abort a statement
 * that requeues many jobs.
 */
static bool
regain_key(const BgjobJob *job, const Change *change)
{
	int64 other;

	if (change->options != NULL || !bgjob_state_is_final(job->state) ||
		bgjob_state_is_final(bgjob_transition(job->state, change->event)))
		return true;
	other = bgjob_unique_try_reenter(job);
	if (other == 0)
		return true;
	ereport(NOTICE,
			(errmsg("job " INT64_FORMAT " cannot run again because another job has "
					"its unique_key",
					job->id),
			 errdetail("Job " INT64_FORMAT " has the key and has not finished.", other)));
	return false;
}

/* Returns the author of a change, for the history; NULL: the job's own role, without saying why. */
static const char *
author_of(const BgjobJob *job, const Change *change)
{
	const char *role;

	if (change->options != NULL || change->reason != NULL ||
		(change->why == NULL && job->run_as == GetUserId()))
		return NULL;
	role = GetUserNameFromId(GetUserId(), false);
	if (change->why == NULL)
		return psprintf("by role \"%s\"", role);
	return psprintf("by role \"%s\": %s", role, change->why);
}

/* Returns the reason of an event that happens at once. */
static const char *
reason_of(const BgjobJob *job, const Change *change)
{
	const char *author = author_of(job, change);

	if (author == NULL)
		return change->reason;
	return psprintf("%s %s",
					change->event == BGJOB_EV_DELETE    ? "Deleted"
					: change->event == BGJOB_EV_REQUEUE ? "Requeued"
														: "Rescheduled",
					author);
}

static void
apply(BgjobRel *jobs, BgjobJob *job, const Change *change)
{
	BgjobCircumstances what = {
		.at = bgjob_now(), .reason = reason_of(job, change), .run_at = change->run_at};
	bool had_ended = bgjob_state_is_final(job->state);

	bgjob_job_apply(job, change->event, &what);
	if (change->event != BGJOB_EV_DELETE && had_ended && bgjob_state_is_final(job->state) &&
		!bgjob_job_is_null(job, BGJOB_C_UNIQUE_KEY))
		bgjob_unique_leave(job); /* a filter kept the job in a final state */
	bgjob_job_save(jobs, job);
}

static int
priority_given(const BgjobJob *job, const BgjobOptionSet *options)
{
	return options->given[BGJOB_O_PRIORITY] ? DatumGetInt16(options->values[BGJOB_O_PRIORITY])
											: job->priority;
}

/* Gives a job that is locked another queue or priority. */
static void
move(BgjobRel *jobs, BgjobJob *job, const BgjobOptionSet *options, bool there)
{
	char *queue = bgjob_option_text(options, BGJOB_O_QUEUE);

	bgjob_job_move(job, queue != NULL ? queue : job->queue, priority_given(job, options),
				   there);
	bgjob_job_save(jobs, job);
}

static bool
is_wanted(BgjobState state, const Change *change)
{
	if (change->options != NULL)
		return state != BGJOB_PROCESSING && !bgjob_state_is_final(state);
	if (change->from != BGJOB_NONE && state != change->from)
		return false;
	return bgjob_transition(state, change->event) != BGJOB_NONE;
}

/*
 * Leaves a request with the worker that runs the job, if there is one. A worker
 * that is still claiming the job may fail to get it: then the caller tries again.
 */
static Outcome
ask_worker(const BgjobJob *job, const Change *change, bool *running)
{
	BgjobRequest request =
		is_wanted(BGJOB_PROCESSING, change) ? change->request : BGJOB_REQUEST_NONE;
	BgjobRequestResult result;
	BgjobPhase phase;

	if (request == BGJOB_REQUEST_NONE)
	{
		*running = bgjob_slot_phase(MyDatabaseId, job->id, &phase);
		return *running && phase == BGJOB_PHASE_CLAIMING ? OUTCOME_AGAIN : OUTCOME_REFUSED;
	}
	result = bgjob_slot_request(MyDatabaseId, job->id, request, change->run_at,
								author_of(job, change));
	*running = result != BGJOB_REQUEST_NOT_RUNNING;
	return result == BGJOB_REQUEST_ACCEPTED ? OUTCOME_DONE : OUTCOME_AGAIN;
}

/*
 * Ends the attempt of an external worker, if one has the job: that is done at once, and the worker
 * hears of it. False: none has.
 */
static bool
change_leased(BgjobRel *jobs, BgjobJob *job, const Change *change, TransactionId *holder,
			  Outcome *outcome)
{
	BgjobLease lease;
	BgjobCircumstances what;
	BgjobEvent event;

	if (!bgjob_leased_find(job, &lease))
		return false;
	*outcome = OUTCOME_REFUSED;
	if (!is_wanted(BGJOB_PROCESSING, change))
		return true;
	*outcome = OUTCOME_AGAIN;
	if (bgjob_lease_take(&lease, holder) != BGJOB_TAKEN ||
		!bgjob_leased_read(jobs, &lease, job))
		return true;
	bgjob_leased_circumstances(&lease, &what);
	what.run_at = change->run_at;
	if (bgjob_outcome_requested(change->request, 0, author_of(job, change), false, &event,
								&what))
		bgjob_leased_end(jobs, &lease, job, event, &what);
	*outcome = OUTCOME_DONE;
	return true;
}

/* Attempts a change once. */
static Outcome
try_change(BgjobRel *jobs, int64 id, const Change *change, TransactionId *holder)
{
	BgjobJob job;
	bool running;
	bool there;
	Outcome outcome;

	CommandCounterIncrement(); /* see this transaction's own changes */
	if (!bgjob_job_read(jobs, id, &job))
		return OUTCOME_REFUSED;
	bgjob_check_control(id, job.run_as);

	if (change_leased(jobs, &job, change, holder, &outcome))
		return outcome;
	outcome = ask_worker(&job, change, &running);
	if (running)
		return outcome;
	if (!is_wanted(job.state, change))
		return OUTCOME_REFUSED;
	if (!bgjob_job_acquire_there(jobs, &job, holder, &there))
		return OUTCOME_AGAIN;
	if (!regain_key(&job, change))
		return OUTCOME_REFUSED;
	if (change->options != NULL)
		move(jobs, &job, change->options, there);
	else
		apply(jobs, &job, change);
	return OUTCOME_DONE;
}

/* Ends the attempt at the job that this session itself performs, as a worker's would be; never returns. */
static void
end_own_attempt(const Change *change)
{
	BgjobCircumstances what = {0};
	BgjobEvent event;

	if (bgjob_outcome_requested(change->request, 0, NULL, false, &event, &what))
		bgjob_attempt_end(event, change->run_at, what.reason);
}

/* Changes a job: repeats attempts until one of them decides. */
static bool
change_job(int64 id, const Change *change)
{
	TransactionId holder = InvalidTransactionId;
	MemoryContext per_attempt;
	MemoryContext old;
	BgjobRel *jobs;
	Outcome outcome;

	bgjob_check_usage();
	bgjob_check_writable(change->function);
	bgjob_job_check_reserved(id);
	if (bgjob_inplace_is_at(id))
	{
		if (!is_wanted(BGJOB_PROCESSING, change))
			return false;
		end_own_attempt(change);
	}
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	per_attempt =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob change", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(per_attempt);
	while ((outcome = try_change(jobs, id, change, &holder)) == OUTCOME_AGAIN)
	{
		bgjob_job_wait_for_holder(id, holder);
		holder = InvalidTransactionId;
		MemoryContextReset(per_attempt);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(per_attempt);
	bgjob_rel_close(jobs);
	return outcome == OUTCOME_DONE;
}

/* bgjob_control_delete deletes a job, as bgjob_delete() does, with a reason. */
bool
bgjob_control_delete(const char *function, int64 id, const char *reason)
{
	Change change = {.function = function,
					 .event = BGJOB_EV_DELETE,
					 .request = BGJOB_REQUEST_DELETE,
					 .reason = reason};

	return change_job(id, &change);
}

/* bgjob_control_requeue enqueues a job again, as bgjob_requeue() does, if it is in a state. */
bool
bgjob_control_requeue(const char *function, int64 id, BgjobState from)
{
	Change change = {.function = function,
					 .event = BGJOB_EV_REQUEUE,
					 .request = BGJOB_REQUEST_REQUEUE,
					 .from = from};

	return change_job(id, &change);
}

/* Returns the argument reason; NULL if it is null or empty. */
static const char *
why_arg(FunctionCallInfo fcinfo, int number)
{
	const char *why = bgjob_text_cut(bgjob_arg_text(fcinfo, number), BGJOB_REASON_MAX);

	return why == NULL || why[0] == '\0' ? NULL : why;
}

PG_FUNCTION_INFO_V1(bgjob_delete);

/* bgjob_delete(id, from_state, reason) deletes a job; a running job is canceled. Returns whether it was deleted or will be. */
Datum
bgjob_delete(PG_FUNCTION_ARGS)
{
	Change change = {.function = "bgjob_delete()",
					 .event = BGJOB_EV_DELETE,
					 .request = BGJOB_REQUEST_DELETE};

	change.from = bgjob_arg_state(fcinfo, 1);
	change.why = why_arg(fcinfo, 2);
	PG_RETURN_BOOL(!PG_ARGISNULL(0) && change_job(PG_GETARG_INT64(0), &change));
}

PG_FUNCTION_INFO_V1(bgjob_requeue);

/* bgjob_requeue(id, from_state, reason) enqueues a job again, whatever its state; a running job is canceled first. */
Datum
bgjob_requeue(PG_FUNCTION_ARGS)
{
	Change change = {.function = "bgjob_requeue()",
					 .event = BGJOB_EV_REQUEUE,
					 .request = BGJOB_REQUEST_REQUEUE};

	change.from = bgjob_arg_state(fcinfo, 1);
	change.why = why_arg(fcinfo, 2);
	PG_RETURN_BOOL(!PG_ARGISNULL(0) && change_job(PG_GETARG_INT64(0), &change));
}

PG_FUNCTION_INFO_V1(bgjob_reschedule);

/* bgjob_reschedule(id, run_at, delay, from_state, reason) schedules a job. Raises 22023 unless exactly one of run_at and delay is given. */
Datum
bgjob_reschedule(PG_FUNCTION_ARGS)
{
	Change change = {.function = "bgjob_reschedule()",
					 .event = BGJOB_EV_RESCHEDULE,
					 .request = BGJOB_REQUEST_RESCHEDULE};

	if (PG_ARGISNULL(1) == PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("exactly one of run_at and delay must be given"),
				 errdetail("%s", PG_ARGISNULL(1) ? "Neither is given." : "Both are given."),
				 errhint("Use run_at for a point in time, delay for an interval from now.")));
	if (!PG_ARGISNULL(1))
		change.run_at = PG_GETARG_TIMESTAMPTZ(1);
	else
		change.run_at = bgjob_delayed(bgjob_now(), PG_GETARG_INTERVAL_P(2));
	if (TIMESTAMP_NOT_FINITE(change.run_at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("run_at must be finite"),
				 errdetail("The value is infinite."), errhint("Use a finite timestamp.")));
	change.from = bgjob_arg_state(fcinfo, 3);
	change.why = why_arg(fcinfo, 4);
	PG_RETURN_BOOL(!PG_ARGISNULL(0) && change_job(PG_GETARG_INT64(0), &change));
}

PG_FUNCTION_INFO_V1(bgjob_change);

/*
 * bgjob_change(id, queue, priority) moves a waiting job to another queue or
 * priority; null: it stays. Returns false for a job that does not wait. Raises
 * 22023 if neither is given, or one is invalid.
 */
Datum
bgjob_change(PG_FUNCTION_ARGS)
{
	BgjobOptionSet options = {0};
	Change change = {.function = "bgjob_change()", .options = &options};

	if (!PG_ARGISNULL(1))
		bgjob_option_set(&options, BGJOB_O_QUEUE, PG_GETARG_DATUM(1));
	if (!PG_ARGISNULL(2))
		bgjob_option_set(&options, BGJOB_O_PRIORITY, PG_GETARG_DATUM(2));
	if (PG_ARGISNULL(1) && PG_ARGISNULL(2))
		bgjob_invalid("queue or priority must be given", "Both are null.",
					  "What is null stays as it is.");
	bgjob_options_check(&options);
	PG_RETURN_BOOL(!PG_ARGISNULL(0) && change_job(PG_GETARG_INT64(0), &change));
}

PG_FUNCTION_INFO_V1(bgjob_result);

/* bgjob_result(id) returns the result of a succeeded job, else null. Raises 42501 if the caller may not see the job. */
Datum
bgjob_result(PG_FUNCTION_ARGS)
{
	BgjobRel *jobs;
	BgjobJob job;
	Jsonb *result = NULL;

	bgjob_check_sight();
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	jobs = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	if (bgjob_job_read(jobs, PG_GETARG_INT64(0), &job))
	{
		if (!bgjob_may_see(job.run_as))
			bgjob_check_control(job.id, job.run_as);
		if (job.state == BGJOB_SUCCEEDED)
			result = bgjob_job_jsonb(&job, BGJOB_C_RESULT);
	}
	bgjob_rel_close(jobs);
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(result);
}

PG_FUNCTION_INFO_V1(bgjob_purge);

/*
 * bgjob_purge(state, older_than) removes those jobs in a final state that ended
 * longer ago and that the caller controls. Returns their number. Raises 22023
 * for a state that is not final, or a negative interval.
 */
Datum
bgjob_purge(PG_FUNCTION_ARGS)
{
	BgjobState state;
	TimestampTz before;
	TimestampTz now = bgjob_now();

	bgjob_check_usage();
	bgjob_check_writable("bgjob_purge()");
	state = bgjob_arg_state(fcinfo, 0);
	if (!bgjob_state_is_final(state))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("only jobs that have ended can be purged"),
						errdetail("Jobs in other states have not ended."),
						errhint("The states to purge are succeeded, failed and deleted.")));
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("older_than must not be null"),
				 errdetail("It is the shortest time since the end of a job."),
				 errhint("Use '0' to purge all jobs in that state.")));
	before = bgjob_time_minus(
		now, PG_GETARG_INTERVAL_P(1)); /* before the beginning of time: purges nothing */
	if (before > now)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("older_than must not be negative"),
						errdetail("It is the shortest time since the end of a job."),
						errhint("Use '0' to purge all jobs in that state.")));
	CommandCounterIncrement();
	PG_RETURN_INT64(bgjob_retention_purge(state, before,
										  bgjob_is_administrator() ? InvalidOid : GetUserId()));
}

PG_FUNCTION_INFO_V1(bgjob_adopt);

/*
 * bgjob_adopt() lets the jobs of a restored or copied database run here: inserts
 * waiting jobs into the queue again and returns their number. Needs EXECUTE.
 */
Datum
bgjob_adopt(PG_FUNCTION_ARGS)
{
	int64 n;

	bgjob_check_granted("bgjob_adopt()");
	if (!bgjob_installed_here())
		bgjob_install_here();
	bgjob_forget_restored(); /* before the jobs are read: more may be restored meanwhile */
	n = bgjob_restore_rebuild();
	bgjob_recurring_adopt();
	bgjob_change_want(MyDatabaseId);
	bgjob_change_notice(MyDatabaseId, BGJOB_NOTICE_RESCAN | BGJOB_NOTICE_RESTORED);
	PG_RETURN_INT64(n);
}
