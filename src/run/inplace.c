/*-------------------------------------------------------------------------
 *
 * inplace.c
 *	  Performing a job in the session and transaction of the caller (bgjob_run).
 *
 * The steps are those of a worker's attempt (run/perform.c), in a subtransaction:
 *
 *	 subtransaction: settings, time limit, the job between its filters, its success
 *	   -> the job has ended its attempt (bgjob_snooze, bgjob_discard): roll the
 *		  subtransaction back, and record that in the caller's transaction
 *	   -> any other error: roll it back, and raise the error
 *
 * So an error leaves nothing of the job, and the caller's transaction, or the
 * savepoint in which the caller handles the error, gives the job back: no retry
 * is used.
 *
 * A job with gates takes a place at each of them while it runs, as in a worker (base/gate.h); where there is none, it is not performed.
 *
 * A session has no slot in the registry. What a worker does with its slot is left
 * out: nobody can leave a request, the in-flight file does not know the job (a crash
 * is not counted against it), and the output is kept in memory (base/output.h).
 * Everywhere else in the library, an attempt without a slot is one of this kind.
 *
 * IDENTITY. The job's role is the current user. Where the session was opened by that
 * role, the job has the session as the role's own statements have it. In any
 * other (SET ROLE, SET SESSION AUTHORIZATION, a SECURITY DEFINER function), it
 * runs as a security-restricted operation: the job must not get at
 * the session's own role, by RESET ROLE or by code that is left behind for later. The
 * settings that it changes go with a nest level of their own. Deferred triggers that
 * it queues, temporary tables, cursors and prepared statements are the caller's
 * afterwards, as if the caller had called the function.
 *
 * A session, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/gate.h"
#include "base/output.h"
#include "base/slot.h"
#include "base/text.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "run/command.h"
#include "run/function.h"
#include "run/identity.h"
#include "run/inplace.h"
#include "run/perform.h"
#include "run/trace.h"
#include "run/underway.h"
#include "store/gateneeds.h"
#include "store/gating.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

/* bgjob_inplace_is_at returns whether this session performs that job. */
bool
bgjob_inplace_is_at(int64 id)
{
	const BgjobJob *job = bgjob_underway_job();

	return bgjob_my_slot == NULL && job != NULL && job->id == id;
}

/* bgjob_inplace_is_timed_out returns whether the job that this session performs has exceeded its time limit. */
bool
bgjob_inplace_is_timed_out(void)
{
	return bgjob_timed_out;
}

/*
 * Adds to the context of messages which job the session is at. The position of an
 * error in the job's command is not one in the caller's statement.
 */
static void
add_context(void *arg)
{
	int position = bgjob_underway.job.kind == BGJOB_KIND_SQL ? geterrposition() : 0;

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(bgjob_underway.job.job);
	}
	errcontext("bgjob job " INT64_FORMAT " (%s), performed by bgjob_run()",
			   bgjob_underway.job.id, bgjob_text_cut(bgjob_underway.job.job, BGJOB_TITLE_MAX));
}

/* ---- within the subtransaction ---- */

/* Isolates the job from a session that is not its role's own, and its settings from the session. */
static void
isolate(BgjobIdentity *before)
{
	Oid role = bgjob_underway.job.run_as;

	if (!bgjob_identity_is_own(role) || role != GetAuthenticatedUserId())
	{
		bgjob_identity_assume(before, role, true);
		return;
	}
	GetUserIdAndSecContext(&before->user, &before->security);
	before->settings = NewGUCNestLevel();
}

/* Reads the row of the job again. 55000: the job's own code has changed the job by other means than an attempt's. */
static void
read_again(BgjobRel *jobs)
{
	BgjobJob *job = &bgjob_underway.job;
	BgjobState state = job->state;
	int64 pos = job->pos;

	CommandCounterIncrement();
	if (!bgjob_job_read(jobs, job->id, job) || job->state != state || job->pos != pos)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("job " INT64_FORMAT " was changed while it was performed",
							   bgjob_underway.job.id)));
	bgjob_underway.changed = false;
}

/* Performs the job and records its success, or what filters wanted instead. Returns its result. */
static Jsonb *
perform(void)
{
	BgjobIdentity before;
	BgjobRel *jobs;
	Jsonb *result;

	isolate(&before);
	bgjob_perform_settings();
	bgjob_perform_start_clocks();
	result = bgjob_perform_run();
	bgjob_perform_stop_clocks();
	CHECK_FOR_INTERRUPTS();
	bgjob_identity_resume(&before);
	MemoryContextSwitchTo(bgjob_job_context);
	if (bgjob_underway.ending.given)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED), errmsg("the job has ended its attempt")));
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	read_again(jobs);
	bgjob_perform_record_success(jobs, result);
	bgjob_rel_close(jobs);
	return result;
}

/* Returns the error of the attempt, NULL if there was none; the subtransaction has ended. */
static ErrorData *
attempt(Jsonb **result)
{
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;
	ErrorContextCallback context = {.previous = error_context_stack, .callback = add_context};

	error_context_stack = &context;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(bgjob_job_context);
	PG_TRY();
	{
		*result = perform();
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(bgjob_attempt_context);
		error = CopyErrorData();
		FlushErrorState();
		bgjob_perform_stop_clocks();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(bgjob_attempt_context);
	CurrentResourceOwner = owner;
	error_context_stack = context.previous;
	return error;
}

/* ---- after it ---- */

/* Returns whether the job might have ended transactions in a worker. */
static bool
needs_worker(void)
{
	const BgjobJob *job = &bgjob_underway.job;
	CommandTag tag;

	if (job->kind == BGJOB_KIND_SQL)
		return !bgjob_command_is_plain(job->job, &tag);
	return bgjob_function_is_procedure(bgjob_function_find(job->func));
}

/* Raises the error of the job. 0A000: only a worker can perform the job, because it ends transactions. */
static void
raise_error(ErrorData *error)
{
	int code = error->sqlerrcode;

	if (bgjob_timed_out)
	{
		QueryCancelPending = false; /* was meant for the job */
		if (code == ERRCODE_QUERY_CANCELED)
			bgjob_outcome_timed_out(bgjob_underway.time_limit, error);
	}
	if ((code == ERRCODE_ACTIVE_SQL_TRANSACTION ||
		 code == ERRCODE_INVALID_TRANSACTION_TERMINATION) &&
		needs_worker())
	{
		error->sqlerrcode = ERRCODE_FEATURE_NOT_SUPPORTED;
		error->detail = psprintf("The error is \"%s\".", error->message);
		error->message =
			psprintf("job " INT64_FORMAT " cannot run in the transaction of a session",
					 bgjob_underway.job.id);
		error->hint = "Commit, and have a worker perform the job.";
	}
	ReThrowError(error);
}

/* Records how the job has ended its attempt. */
static void
settle(void)
{
	BgjobRel *jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	BgjobCircumstances what = {.at = bgjob_now(),
							   .started_at = bgjob_underway.started_at,
							   .worker_pid = MyProcPid,
							   .command = bgjob_underway.command};

	QueryCancelPending = QueryCancelPending && !bgjob_timed_out;
	read_again(jobs);
	bgjob_perform_settle(jobs, BGJOB_REQUEST_NONE, NULL, &what);
	bgjob_rel_close(jobs);
}

static void
begin(const BgjobJob *job)
{
	bgjob_attempt_context =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob attempt", ALLOCSET_DEFAULT_SIZES);
	bgjob_job_context =
		AllocSetContextCreate(bgjob_attempt_context, "bgjob job", ALLOCSET_DEFAULT_SIZES);
	memset(&bgjob_underway, 0, sizeof(bgjob_underway));
	bgjob_underway.job = *job;
	bgjob_underway.claimed = true;
	bgjob_job_in_session = job->id;
	bgjob_underway.started_at = bgjob_now();
	bgjob_timed_out = false;
	bgjob_output_begin(bgjob_attempt_context);
}

/* Takes a place at each gate of the job. 55000: there is none. */
static void
enter_gates(const BgjobJob *job)
{
	static const char *const details[] = {
		[BGJOB_GATE_SEQUENCE] = "Another job of sequence_key \"%s\" is before it.",
		[BGJOB_GATE_QUEUE] = "Queue \"%s\" has no room for one more.",
		[BGJOB_GATE_LIMIT] = "Limit \"%s\" has no room for one more.",
		[BGJOB_GATE_FAIR] = "There is no room to note that fairness key \"%s\" has its turn.",
	};
	BgjobGateNeed full;

	if (!bgjob_gate_may_need(job) || bgjob_gating_enter(job, &bgjob_underway.started_at, &full))
		return;
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("job " INT64_FORMAT " cannot be performed now", job->id),
					errdetail_internal("%s", psprintf(details[full.kind], full.name))));
}

static void
end(void)
{
	bgjob_gates_release();
	bgjob_underway.claimed = false;
	bgjob_job_in_session = 0;
	bgjob_trace_end();
	bgjob_output_end();
	MemoryContextDelete(bgjob_attempt_context);
	bgjob_attempt_context = bgjob_job_context = NULL;
}

/* Copies what has become of the job into the current memory context. */
static void
describe(const Jsonb *result, BgjobInplaceOutcome *outcome)
{
	const BgjobJob *job = &bgjob_underway.job;

	outcome->state = job->state;
	outcome->reason = bgjob_job_text(
		job, bgjob_state_is_final(job->state) ? BGJOB_C_REASON : BGJOB_C_ENTRY_REASON);
	outcome->result = NULL;
	if (job->state == BGJOB_SUCCEEDED && result != NULL)
		outcome->result = memcpy(palloc(VARSIZE(result)), result, VARSIZE(result));
}

/*
 * bgjob_inplace_perform performs an enqueued job of the current user, which the
 * running transaction has taken out of the queue. Errors: the job's own; 0A000 it
 * ends transactions; 57014 its timeout; 42501 the role that has enqueued it is no
 * longer a member of its role; 55000 there is no room for it at a gate.
 */
void
bgjob_inplace_perform(const BgjobJob *job, BgjobInplaceOutcome *outcome)
{
	MemoryContext caller = CurrentMemoryContext;

	begin(job);
	PG_TRY();
	{
		Jsonb *result = NULL;
		ErrorData *error;

		if (job->kind == BGJOB_KIND_SQL)
			(void) bgjob_command_is_plain(job->job, &bgjob_underway.command);
		enter_gates(&bgjob_underway.job);
		error = attempt(&result);
		if (error != NULL && !bgjob_underway.ending.given)
			raise_error(error);
		if (error != NULL)
			settle();
		MemoryContextSwitchTo(caller);
		describe(result, outcome);
	}
	PG_FINALLY();
	{
		end();
	}
	PG_END_TRY();
}
