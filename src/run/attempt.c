/*-------------------------------------------------------------------------
 *
 * attempt.c
 *	  One attempt at a job, from the claim to its outcome.
 *
 * Run by workers, outside of any transaction. The way of an attempt:
 *
 *	 start a transaction, clean the session of the job before, claim
 *	   -> [kinds that cannot live in one transaction: commit the claim]
 *	   -> settings, time limits, the job itself
 *	   -> point of no return -> outcome -> commit
 *
 * so that a function's effects and its success are one commit. On an error
 * that transaction is aborted (the row is in the queue again, but the slot
 * still names the job, so nobody else is given it), and a second transaction
 * takes it out of the queue once more and records what is to become of it:
 * what somebody has asked for meanwhile (delete, requeue, interrupt), else a
 * retry or the failure.
 *
 * A GROUP of jobs of one queue (bgjob_queue(group_size => …)) is performed in
 * one transaction, each job in a subtransaction: one commit, and one flush, for
 * all of them. What a job does to the session is undone before the next. A job
 * that fails is recorded in the same transaction, which goes on. What cannot be
 * undone (a failure at commit, the end of the worker) aborts the transaction of
 * all; none of them has happened then, and each is performed by itself. A group
 * ends early if it takes too long, so that a slow job holds up no others, or
 * if many of its subtransactions have written: more than 64 are a burden to
 * every snapshot in the server.
 *
 * The job runs as the role that the worker is connected as, and so does all
 * of this: the bookkeeping below SQL needs no rights (store/relation.c), and
 * nothing here is looked up along a search_path.
 *
 * The state of the attempt is static: variables that change within PG_TRY
 * would have to be volatile otherwise, and there is one attempt at a time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/captured.h"
#include "base/change.h"
#include "base/console.h"
#include "base/guc.h"
#include "base/inflight.h"
#include "base/queues.h"
#include "base/registry.h"
#include "base/session.h"
#include "commands/trigger.h"
#include "jit/jit.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "rules/clock.h"
#include "run/attempt.h"
#include "run/command.h"
#include "run/filter.h"
#include "run/filtercall.h"
#include "run/function.h"
#include "run/invoke.h"
#include "run/outcome.h"
#include "run/performing.h"
#include "run/trace.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "store/log.h"
#include "store/queue.h"
#include "store/settings.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

/* A group that lasts longer ends with the job that it is at, in milliseconds. */
#define GROUP_LASTS 300

/* So many jobs of a group may have written something. */
#define GROUP_WRITERS 60

static struct
{
	BgjobJob job;
	bool claimed;   /* the slot names the job, *job is filled in */
	bool committed; /* the claim is committed: the job is stored as processing */
	TimestampTz started_at;
	bool give_back; /* announce the job once the slot no longer names it */
	bool pause;     /* but not at once */
	bool changed;   /* the job itself may have changed its row */
	BgjobEnding ending;
	BgjobDecision decision; /* of filters, which do not want it performed */
} attempt;

static struct
{
	bool begun;   /* the running transaction is that of a group */
	bool is_over; /* no other job may follow in it */
	int writers;  /* jobs that have written something */
} group;

static MemoryContext attempt_context = NULL; /* of a transaction, group or not */
static MemoryContext job_context = NULL;     /* of a job, within that */
static TimeoutId job_timeout;
static TimeoutId group_timeout;
static volatile sig_atomic_t timed_out = false;

/* The attempt has taken too long: cancel it. A timeout handler. */
static void
on_job_timeout(void)
{
	timed_out = true;
	bgjob_slot_timed_out(GetCurrentTimestamp());
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

/* bgjob_attempt_init prepares a worker; once, before it connects. */
void
bgjob_attempt_init(void)
{
	attempt_context =
		AllocSetContextCreate(TopMemoryContext, "bgjob attempt", ALLOCSET_DEFAULT_SIZES);
	job_context = AllocSetContextCreate(TopMemoryContext, "bgjob job", ALLOCSET_DEFAULT_SIZES);
	job_timeout = RegisterTimeout(USER_TIMEOUT, on_job_timeout);
	group_timeout = RegisterTimeout(USER_TIMEOUT, bgjob_slot_batch_slow);
}

/* bgjob_attempt_job returns the job that this process is performing, NULL if it is at none. */
const BgjobJob *
bgjob_attempt_job(void)
{
	return attempt.claimed ? &attempt.job : NULL;
}

/*
 * bgjob_attempt_end ends the running attempt in a way that the job itself
 * wants: never returns. What the job has done is rolled back, and "event"
 * happens to it with its reason (copied). The error is one that WHEN OTHERS
 * does not catch; a job that catches it all the same does not escape.
 */
void
bgjob_attempt_end(BgjobEvent event, TimestampTz run_at, const char *reason)
{
	attempt.ending = (BgjobEnding){.given = true, .event = event, .run_at = run_at};
	attempt.ending.reason = MemoryContextStrdup(attempt_context, reason);
	ereport(ERROR,
			(errcode(ERRCODE_QUERY_CANCELED), errmsg("the job ends its attempt: %s", reason)));
}

/*
 * bgjob_attempt_read_row reads the running job's row as the running
 * transaction has it. bgjob_attempt_save_row writes it: a part of the job's
 * own transaction, undone with it.
 */
void
bgjob_attempt_read_row(BgjobRel *jobs, BgjobJob *job)
{
	if (!bgjob_job_read(jobs, attempt.job.id, job))
		elog(ERROR, "job " INT64_FORMAT " has gone", attempt.job.id);
}

void
bgjob_attempt_save_row(BgjobRel *jobs, BgjobJob *job)
{
	bgjob_filter_check_target(job->id);
	bgjob_job_save(jobs, job);
	CommandCounterIncrement();
	attempt.changed = true;
}

/* Adds to the context of every message that the job causes which job it is. */
static void
add_context(void *arg)
{
	errcontext("bgjob job " INT64_FORMAT " (%s)", attempt.job.id, attempt.job.job);
}

static void
start_transaction(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	MemoryContextSwitchTo(job_context);
}

/* ---- limits in time ---- */

/* Starts the clocks: the job's own limit, and the role's statement_timeout as for any statement. */
static void
start_clocks(void)
{
	int64 limit = bgjob_time_limit(&attempt.job);

	timed_out = false;
	if (limit > 0)
		enable_timeout_at(job_timeout,
						  TimestampTzPlusMilliseconds(GetCurrentTimestamp(), limit));
	if (StatementTimeout > 0)
		enable_timeout_after(STATEMENT_TIMEOUT, StatementTimeout);
}

static void
stop_clocks(void)
{
	disable_timeout(job_timeout, false);
	disable_timeout(STATEMENT_TIMEOUT, false);
}

/* ---- performing ---- */

/* Whether the claim must be committed before the job may run. */
static bool
needs_committed_claim(void)
{
	if (attempt.job.kind == BGJOB_KIND_FUNCTION)
		return bgjob_function_is_procedure(bgjob_function_find(attempt.job.func));
	return !bgjob_command_is_plain(attempt.job.job);
}

/* Commits the claim, and goes on in a new transaction; unless filters want something else of the job. */
static void
commit_claim(void)
{
	BgjobCircumstances what = {.at = attempt.started_at,
							   .started_at = attempt.started_at,
							   .worker_pid = MyProcPid,
							   .worker_since = bgjob_my_slot->started_at,
							   .elected = true};
	BgjobRel *jobs;

	if (bgjob_filter_any() &&
		!bgjob_performing_elect(&attempt.job, attempt.started_at, &attempt.decision))
		return;
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	bgjob_job_apply(&attempt.job, BGJOB_EV_START, &what);
	bgjob_job_save(jobs, &attempt.job);
	bgjob_rel_close(jobs);
	CommitTransactionCommand();
	attempt.committed = true;
	start_transaction();
}

static void
apply_settings(void)
{
	const Jsonb *listed = NULL;

	if (!bgjob_job_is_null(&attempt.job, BGJOB_C_SETTINGS_ID))
		listed = bgjob_settings_read(
			DatumGetInt64(bgjob_job_datum(&attempt.job, BGJOB_C_SETTINGS_ID)));
	bgjob_captured_apply(listed, bgjob_job_jsonb(&attempt.job, BGJOB_C_CUSTOM_SETTINGS));
	bgjob_trace_begin(bgjob_job_jsonb(&attempt.job, BGJOB_C_PARAMETERS));
}

static Jsonb *
run_itself(void)
{
	Jsonb *args = bgjob_job_jsonb(&attempt.job, BGJOB_C_ARGS);

	if (attempt.job.kind == BGJOB_KIND_FUNCTION)
		return bgjob_invoke(bgjob_function_find(attempt.job.func), args);
	return bgjob_command_run(attempt.job.job, args);
}

/* Runs the job between its filters. They may not want that: attempt.decision. */
static Jsonb *
run_job(void)
{
	Jsonb *result;

	if (attempt.decision.given)
		return NULL;
	if (!bgjob_filter_any())
		return run_itself();
	if (!bgjob_performing_begin(&attempt.job, attempt.started_at, attempt.committed,
								&attempt.decision))
		return NULL;
	result = run_itself();
	MemoryContextSwitchTo(job_context);
	bgjob_performing_succeeded(&attempt.job, result);
	return result;
}

static void
report_activity(void)
{
	char activity[256];

	snprintf(activity, sizeof(activity), "job " INT64_FORMAT ": %s", attempt.job.id,
			 attempt.job.func != NULL ? attempt.job.func : attempt.job.job);
	debug_query_string = MemoryContextStrdup(job_context, activity);
	pgstat_report_activity(STATE_RUNNING, activity);
}

/* Records the success, or what filters wanted instead; in the job's own transaction. */
static void
record_success(BgjobRel *jobs, const Jsonb *result)
{
	BgjobCircumstances what = {.at = bgjob_now(),
							   .started_at = attempt.started_at,
							   .worker_pid = MyProcPid,
							   .result = result};
	BgjobEvent event = BGJOB_EV_SUCCEED;

	if (attempt.decision.given)
	{
		event = attempt.decision.event;
		what.run_at = attempt.decision.what.run_at;
		what.reason = attempt.decision.what.reason;
		what.error = attempt.decision.what.error;
		what.elected = attempt.decision.what.elected;
		if (what.elected) /* before it was processing */
			what.started_at = 0;
	}
	if (attempt.committed || attempt.changed)
		bgjob_attempt_read_row(jobs, &attempt.job);
	bgjob_log_store(&attempt.job, bgjob_slot_index(bgjob_my_slot));
	bgjob_job_apply(&attempt.job, event, &what);
	bgjob_job_save(jobs, &attempt.job);
}

/*
 * Does what is left to do of the job when its statement has ended, and what
 * would else run at commit, when nobody could interrupt it or take its failure
 * for the job's: deferred triggers, and cursors that are held beyond the commit.
 * The server does it in the same way and finds nothing left.
 */
static void
complete(void)
{
	do
		AfterTriggerFireDeferred();
	while (PreCommit_Portals(false));
	CHECK_FOR_INTERRUPTS();
}

/* What the job has told is in the tables, or has nothing to say any more. */
static void
forget_told(void)
{
	int slot = bgjob_slot_index(bgjob_my_slot);

	if (bgjob_console_in_use(slot))
		bgjob_console_clear(slot);
}

/* Says to all whom it concerns what this worker is at from now on. */
static void
begin_attempt(void)
{
	attempt.started_at = bgjob_now();
	bgjob_slot_start_clock(attempt.started_at);
	bgjob_inflight_begin(MyDatabaseId, attempt.job.id, attempt.job.pos, attempt.started_at);
	report_activity();
}

/* Has what others or the job itself have asked for end the attempt, although the job went on. */
static void
check_request(void)
{
	if (attempt.ending.given)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED), errmsg("the job has ended its attempt")));
	if (!bgjob_slot_finish())
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("canceling job on request")));
}

/* Performs the claimed job and records its success; the caller commits. */
static void
perform(void)
{
	ErrorContextCallback context = {.callback = add_context};
	BgjobRel *jobs;
	Jsonb *result;

	begin_attempt();
	context.previous = error_context_stack;
	error_context_stack = &context;
	if (needs_committed_claim())
		commit_claim();
	apply_settings();
	start_clocks();
	result = run_job();
	complete();
	stop_clocks();
	MemoryContextSwitchTo(job_context);
	error_context_stack = context.previous;

	check_request();
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	record_success(jobs, result);
	bgjob_rel_close(jobs);
}

/* ---- when it went wrong ---- */

/*
 * Recovers from an error as PostgresMain does, and returns it, copied. The
 * error is in the server's log, as any statement's would be; not so where the
 * job was ended because somebody asked for that.
 */
static ErrorData *
recover(void)
{
	ErrorData *error;

	error_context_stack = NULL;
	HOLD_INTERRUPTS();
	disable_all_timeouts(false);
	QueryCancelPending = false;
	MemoryContextSwitchTo(job_context);
	error = CopyErrorData();
	if (bgjob_slot_request_seen() == BGJOB_REQUEST_NONE && !attempt.ending.given)
		EmitErrorReport();
	AbortOutOfAnyTransaction();
	PortalErrorCleanup();
	bgjob_session_release_slot();
	jit_reset_after_error();
	FlushErrorState();
	MemoryContextSwitchTo(job_context);
	RESUME_INTERRUPTS();
	if (timed_out && attempt.claimed && error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		bgjob_outcome_timed_out(&attempt.job, error);
	return error;
}

/* Gets hold of the job once more, in a new transaction; false if it is no longer this worker's. */
static bool
reclaim(BgjobRel *jobs, bool leave_in_queue)
{
	BgjobJob *job = &attempt.job;

	if (!attempt.committed && !leave_in_queue &&
		bgjob_queue_take(job->run_as, job->queue, job->priority, job->pos, NULL) != BGJOB_TAKEN)
		return false;
	return bgjob_job_read(jobs, job->id, job) &&
		   job->state == (attempt.committed ? BGJOB_PROCESSING : BGJOB_ENQUEUED);
}

/* Takes what has been asked for, after which nothing more can be, and what there is to say. */
static BgjobRequest
give_up(BgjobCircumstances *what)
{
	BgjobRequest request;

	memset(what, 0, sizeof(*what));
	request = bgjob_slot_give_up(&what->run_at);
	QueryCancelPending = false; /* was meant for the attempt that has failed */
	what->at = bgjob_now();
	what->started_at = attempt.started_at != 0 ? attempt.started_at : what->at;
	what->worker_pid = MyProcPid;
	return request;
}

/* Has happen what was asked for, else what follows from the error. */
static void
settle(BgjobRel *jobs, BgjobRequest request, const ErrorData *error, BgjobCircumstances *what)
{
	BgjobEvent event;

	bgjob_log_store(&attempt.job, bgjob_slot_index(bgjob_my_slot));
	if (!bgjob_outcome_requested(request, &event, what) &&
		!bgjob_outcome_of_ending(&attempt.ending, &event, what))
	{
		event = bgjob_outcome_of_error(&attempt.job, error, what);
		bgjob_performing_failed(&attempt.job, what->error);
	}
	what->certain = true;
	bgjob_job_apply(&attempt.job, event, what);
	bgjob_job_save(jobs, &attempt.job);
}

/* Records what became of the job after an error; in a transaction of its own. */
static void
record_failure(ErrorData *error)
{
	BgjobCircumstances what;
	BgjobRequest request = give_up(&what);
	BgjobRel *jobs;

	if (request == BGJOB_REQUEST_NONE && !attempt.ending.given &&
		bgjob_outcome_is_group_deadlock(&attempt.job, error))
	{
		request = BGJOB_REQUEST_INTERRUPT;
		what.reason = "Interrupted by a deadlock with a group of jobs";
	}
	what.in_queue = request == BGJOB_REQUEST_INTERRUPT && !attempt.committed;
	start_transaction();
	XactReadOnly = false; /* whatever default_transaction_read_only says */
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	if (reclaim(jobs, what.in_queue))
	{
		settle(jobs, request, error, &what);
		attempt.give_back = request == BGJOB_REQUEST_INTERRUPT;
	}
	else
		ereport(LOG, (errmsg("job " INT64_FORMAT " was changed while its failure was recorded",
							 attempt.job.id)));
	bgjob_rel_close(jobs);
	CommitTransactionCommand();
}

/*
 * Records a failure, and if that fails too (no space left, say), leaves the
 * job where it is: it stays in the queue and is tried again, but not at once.
 */
static void
record_failure_safely(ErrorData *error)
{
	bool recorded = false;

	PG_TRY();
	{
		record_failure(error);
		recorded = true;
	}
	PG_CATCH();
	{
		(void) recover();
	}
	PG_END_TRY();

	if (!recorded)
		attempt.give_back = attempt.pause = true;
}

/* ---- groups ---- */

/* Whether a job may be performed in one transaction with others. */
static bool
fits(const BgjobJob *job)
{
	if (job->kind == BGJOB_KIND_FUNCTION)
		return !bgjob_function_is_procedure(bgjob_function_find(job->func));
	return job->kind == BGJOB_KIND_SQL && bgjob_command_is_plain(job->job);
}

/* Undoes what the job has done, and returns its error. */
static ErrorData *
recover_subtransaction(ResourceOwner owner)
{
	ErrorData *error;

	HOLD_INTERRUPTS();
	stop_clocks();
	QueryCancelPending = false;
	MemoryContextSwitchTo(job_context);
	error = CopyErrorData();
	if (bgjob_slot_request_seen() == BGJOB_REQUEST_NONE && !attempt.ending.given)
		EmitErrorReport();
	FlushErrorState();
	RollbackAndReleaseCurrentSubTransaction();
	CurrentResourceOwner = owner;
	MemoryContextSwitchTo(job_context);
	jit_reset_after_error();
	bgjob_session_release_slot();
	RESUME_INTERRUPTS();
	if (timed_out && error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		bgjob_outcome_timed_out(&attempt.job, error);
	return error;
}

/*
 * Whether the job might not have failed by itself, which is then tried: in a
 * deadlock the locks that a group keeps may have their part; some things may
 * not be done in subtransactions; and bgjob_wait cannot wait for a job that the
 * group has performed, but not committed.
 */
static bool
may_be_due_to_group(int sqlerrcode)
{
	return sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED ||
		   sqlerrcode == ERRCODE_ACTIVE_SQL_TRANSACTION ||
		   sqlerrcode == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
}

/* Runs the job in a subtransaction. Returns its error, NULL if it had none; then it cannot be undone alone. */
static ErrorData *
run_in_subtransaction(Jsonb **result)
{
	ResourceOwner owner = CurrentResourceOwner;
	ErrorContextCallback context = {.callback = add_context};
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(job_context);
	PG_TRY();
	{
		context.previous = error_context_stack;
		error_context_stack = &context;
		apply_settings();
		start_clocks();
		*result = run_job();
		MemoryContextSwitchTo(job_context);
		CHECK_FOR_INTERRUPTS();
		check_request();
		if (TransactionIdIsValid(GetCurrentTransactionIdIfAny()))
			group.writers++;
		ReleaseCurrentSubTransaction();
		error_context_stack = context.previous;
	}
	PG_CATCH();
	{
		if (may_be_due_to_group(geterrcode()))
			PG_RE_THROW();
		error = recover_subtransaction(owner);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(job_context);
	CurrentResourceOwner = owner;
	return error;
}

/* Performs the claimed job as one of a group, and leaves the session as the job found it. */
static void
perform_in_group(BgjobRel *jobs)
{
	int settings = NewGUCNestLevel();
	ErrorData *error;
	Jsonb *result = NULL;

	SetCurrentStatementStartTimestamp();
	begin_attempt();
	error = run_in_subtransaction(&result);
	if (error == NULL)
	{
		complete();
		stop_clocks();
		record_success(jobs, result);
		if (bgjob_filter_any())
			complete(); /* deferred triggers of filters, before they are forgotten */
	}
	else
	{
		BgjobCircumstances what;
		BgjobRequest request = give_up(&what);

		settle(jobs, request, error, &what);
		if (request != BGJOB_REQUEST_NONE)
			group.is_over = true; /* somebody counts on it: commit it */
	}
	AtEOXact_GUC(false, settings);
	if (!bgjob_session_clean_between())
		group.is_over = true;
	forget_told();
	bgjob_inflight_end();
	bgjob_slot_end(true);
	memset(&attempt, 0, sizeof(attempt));
}

/* Performs the claimed job and those that come with it. The caller commits. */
static void
perform_group(BgjobRel *jobs)
{
	uint64 conf = bgjob_queues_generation();

	group.begun = true;
	enable_timeout_after(group_timeout, GROUP_LASTS);
	do
	{
		perform_in_group(jobs);
		MemoryContextReset(job_context);
		MemoryContextSwitchTo(job_context);
		if (group.is_over || group.writers >= GROUP_WRITERS || bgjob_my_slot->batch_slow ||
			bgjob_queues_generation() != conf || /* the queue may have been paused */
			bgjob_my_slot->retire || bgjob_my_slot->term)
			break;
		attempt.claimed = bgjob_queue_claim_next(jobs, &attempt.job, fits);
		if (attempt.claimed)
			RESUME_INTERRUPTS(); /* held by the claim */
	} while (attempt.claimed);
	disable_timeout(group_timeout, false);
}

/* Gives back what has been taken, but not performed; all of it, if the group has failed. */
static void
end_group(bool failed)
{
	BgjobRest rest;

	if (bgjob_slot_batch_end(bgjob_my_slot, failed, &rest))
		bgjob_announce_rest(&rest, failed);
}

/* ---- the attempt ---- */

/* The worker is at nothing any more: says so, and cleans up behind the job. */
static void
end_attempt(bool performed)
{
	MemoryContextSwitchTo(attempt_context);
	attempt.claimed = false;
	forget_told();
	bgjob_inflight_end();
	bgjob_slot_end(performed && !group.begun);
	QueryCancelPending = false; /* was meant for the job that has just ended */
	debug_query_string = NULL;
	if (performed)
		bgjob_session_clean();
	if (attempt.pause)
		(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 1000, PG_WAIT_EXTENSION);
	if (attempt.give_back)
		bgjob_announce(attempt.job.run_as, attempt.job.queue, attempt.job.priority,
					   attempt.job.pos);
}

/* Claims what there is next and performs it, in one transaction. False if there was nothing. */
static bool
claim_and_perform(void)
{
	BgjobRel *jobs;
	bool may_group;
	bool claimed;

	bgjob_session_clean_in_transaction();
	MemoryContextSwitchTo(attempt_context);
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	MemoryContextSwitchTo(job_context);
	attempt.claimed = claimed = bgjob_queue_claim(jobs, &attempt.job, &may_group);
	if (claimed)
		RESUME_INTERRUPTS(); /* held by the claim */

	/* In a snapshot older than itself a job would miss what others have done. */
	if (claimed && may_group && fits(&attempt.job) && !IsolationUsesXactSnapshot())
	{
		perform_group(jobs);
		bgjob_rel_close(jobs);
	}
	else
	{
		bgjob_rel_close(jobs);
		if (claimed)
			perform();
	}
	CommitTransactionCommand();
	return claimed;
}

/*
 * bgjob_attempt_next claims the next job, or group of jobs, for this worker and
 * performs it. Returns false if there was none. Never throws because of the job;
 * leaves no transaction behind.
 */
bool
bgjob_attempt_next(void)
{
	ErrorData *volatile error = NULL;
	volatile bool performed = false;

	memset(&attempt, 0, sizeof(attempt));
	memset(&group, 0, sizeof(group));
	MemoryContextReset(attempt_context);
	MemoryContextReset(job_context);
	start_transaction();
	PG_TRY();
	{
		performed = claim_and_perform();
	}
	PG_CATCH();
	{
		error = recover();
		performed = attempt.claimed || group.begun;
	}
	PG_END_TRY();

	if (attempt.claimed && error != NULL && !group.begun)
		record_failure_safely(error);
	end_attempt(performed);
	end_group(error != NULL);
	if (error != NULL && !performed)
	{
		/* The claim itself failed. What was popped must be found again; and do not spin. */
		bgjob_notify_scheduler(MyDatabaseId, BGJOB_NOTICE_RESCAN);
		(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 1000, PG_WAIT_EXTENSION);
	}
	return performed || error != NULL;
}
