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
 * still names the job, so no other worker is given it), and a second transaction
 * takes it out of the queue once more and records how the job goes on: as a request
 * says that was accepted meanwhile (delete, requeue, interrupt), else with a retry
 * or the failure.
 *
 * A job with an event that the scheduler has left to a worker is not performed:
 * the event is settled (pending.c), and the job goes on from there.
 *
 * A group of jobs is performed in one transaction: see group.c; or in one call: chunk.c. What
 * they have in common is in perform.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/announce.h"
#include "base/gate.h"
#include "base/inflight.h"
#include "base/queueusage.h"
#include "base/registry.h"
#include "base/request.h"
#include "base/session.h"
#include "base/slot.h"
#include "base/text.h"
#include "base/waits.h"
#include "jit/jit.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "run/attempt.h"
#include "run/authority.h"
#include "run/chunk.h"
#include "run/group.h"
#include "run/notices.h"
#include "run/pending.h"
#include "rules/clock.h"
#include "run/perform.h"
#include "storage/latch.h"
#include "store/claim.h"
#include "store/gateneeds.h"
#include "store/gating.h"
#include "store/queue.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

/* Number of consecutive failed claims after which the worker leaves. */
#define MOST_FAILED_CLAIMS 5

static int failed_claims = 0;
static bool recording = false;       /* the failure of a job */
static uint32 inherited_failure = 0; /* SQLSTATE that the worker before left for; 0: none */

/* bgjob_attempt_init prepares a worker; once, when it has connected. */
void
bgjob_attempt_init(void)
{
	inherited_failure = bgjob_my_slot->failure;
	bgjob_claim_init();
	bgjob_perform_init();
	bgjob_group_init();
	bgjob_authority_init();
}

/*
 * bgjob_attempt_end ends the running attempt as the job itself wants; it never
 * returns. The job's effects are rolled back, and "event" is applied to it with its
 * reason (copied). The error is one that WHEN OTHERS
 * does not catch; a job that catches it all the same does not escape.
 */
void
bgjob_attempt_end(BgjobEvent event, TimestampTz run_at, const char *reason)
{
	bgjob_underway.ending = (BgjobEnding){.given = true, .event = event, .run_at = run_at};
	reason = bgjob_text_cut(reason, BGJOB_REASON_MAX);
	bgjob_underway.ending.reason = MemoryContextStrdup(bgjob_attempt_context, reason);
	ereport(ERROR,
			(errcode(ERRCODE_QUERY_CANCELED), errmsg("attempt ended by the job: %s", reason)));
}

/* Performs the claimed job and records its success; the caller commits. */
static void
perform(void)
{
	BgjobRel *jobs;
	Jsonb *result;

	bgjob_perform_begin();
	if (bgjob_perform_commits())
		bgjob_perform_commit_claim();
	bgjob_perform_settings();
	bgjob_perform_start_clocks();
	result = bgjob_perform_run();
	bgjob_perform_complete();
	bgjob_perform_stop_clocks();
	MemoryContextSwitchTo(bgjob_job_context);

	bgjob_perform_check_request();
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	bgjob_perform_record_success(jobs, result);
	bgjob_rel_close(jobs);
}

/*
 * Settles the event of the claimed job that was left to this worker, instead of
 * performing it; the caller commits. If that fails, nothing has happened.
 */
static void
settle(BgjobRel *jobs)
{
	bgjob_underway.settling = true;
	bgjob_perform_begin();
	XactReadOnly = false; /* whatever default_transaction_read_only says */
	bgjob_pending_settle(jobs, &bgjob_underway.job);
	bgjob_perform_complete();
	MemoryContextSwitchTo(bgjob_job_context);
	bgjob_perform_check_request();
	bgjob_underway.give_back = bgjob_underway.job.state == BGJOB_ENQUEUED;
}

/*
 * Has a claimed job that found no room at a gate wait there, or deletes it, if its limit says so; the
 * caller commits. Nobody need wait for the flush of that commit: without it, the job is claimed again.
 */
static void
bounce(BgjobRel *jobs, const BgjobGateNeed *full)
{
	BgjobJob *job = &bgjob_underway.job;
	BgjobCircumstances what = {.at = bgjob_now()};

	bgjob_underway.settling = true;
	XactReadOnly = false; /* whatever default_transaction_read_only says */
	(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
	if (full->deletes)
	{
		what.reason = psprintf("Limit \"%s\" was reached", full->name);
		bgjob_job_apply(job, BGJOB_EV_DELETE, &what);
		bgjob_job_save(jobs, job);
	}
	else
		bgjob_gating_bounce(jobs, job, full);
	bgjob_perform_check_request();
}

/* Acquires places for the claimed job at its gates. False: it waits, and the caller commits that. */
static bool
pass_gates(BgjobRel *jobs)
{
	BgjobGateNeed full;

	if (!bgjob_gate_may_need(&bgjob_underway.job))
		return true;
	bgjob_underway.started_at = bgjob_now();
	if (bgjob_gating_enter(&bgjob_underway.job, &bgjob_underway.started_at, &full))
		return true;
	bgjob_underway.started_at = 0;
	bounce(jobs, &full);
	return false;
}

/* ---- when it went wrong ---- */

/*
 * Returns whether a claim has failed with the same error as the one before it, which
 * the log already has. The same applies if the failure of a job cannot be recorded.
 */
static bool
is_known_failure(int sqlerrcode)
{
	return (recording || (!bgjob_underway.claimed && !bgjob_group.begun)) &&
		   bgjob_slot_claim_failed((uint32) sqlerrcode);
}

/*
 * Recovers from an error as PostgresMain does, and returns it, copied. The
 * error is in the server's log, as any statement's would be; not so where the
 * job was ended on request.
 */
static ErrorData *
recover(void)
{
	ErrorData *error;

	error_context_stack = NULL;
	HOLD_INTERRUPTS();
	bgjob_notices_pause();
	disable_all_timeouts(false);
	QueryCancelPending = false;
	MemoryContextSwitchTo(bgjob_job_context);
	error = CopyErrorData();
	if (bgjob_slot_request_seen() == BGJOB_REQUEST_NONE && !bgjob_underway.ending.given &&
		!is_known_failure(error->sqlerrcode))
		bgjob_notices_report_error();
	AbortOutOfAnyTransaction();
	PortalErrorCleanup();
	bgjob_session_release_slot();
	jit_reset_after_error();
	FlushErrorState();
	MemoryContextSwitchTo(bgjob_job_context);
	RESUME_INTERRUPTS();
	if (bgjob_timed_out && bgjob_underway.claimed &&
		error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		bgjob_outcome_timed_out(bgjob_underway.time_limit, error);
	return error;
}

/* Gets hold of the job once more, in a new transaction; false if it is no longer this worker's. */
static bool
reclaim(BgjobRel *jobs, bool leave_in_queue)
{
	BgjobJob *job = &bgjob_underway.job;
	BgjobLaneKey lane;

	bgjob_queue_lane(job, &lane);
	if (!bgjob_underway.committed && !leave_in_queue &&
		bgjob_queue_take(&lane, job->pos, NULL) != BGJOB_TAKEN)
		return false;
	return bgjob_job_read(jobs, job->id, job) &&
		   job->state == (bgjob_underway.committed ? BGJOB_PROCESSING : BGJOB_ENQUEUED);
}

/* Records what became of the job after an error; in a transaction of its own. */
static void
record_failure(ErrorData *error)
{
	BgjobCircumstances what;
	BgjobRequest request = bgjob_perform_give_up(&what);
	BgjobRel *jobs;

	if (request == BGJOB_REQUEST_NONE && !bgjob_underway.ending.given &&
		bgjob_outcome_is_group_deadlock(&bgjob_underway.job, error))
	{
		request = BGJOB_REQUEST_INTERRUPT;
		what.reason = "Interrupted by a deadlock with a group of jobs";
	}
	what.in_queue = request == BGJOB_REQUEST_INTERRUPT && !bgjob_underway.committed;
	bgjob_perform_start_transaction();
	XactReadOnly = false; /* whatever default_transaction_read_only says */
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	if (reclaim(jobs, what.in_queue))
	{
		bgjob_perform_settle(jobs, request, error, &what);
		bgjob_underway.give_back = request == BGJOB_REQUEST_INTERRUPT;
	}
	else
		ereport(LOG, (errmsg("job " INT64_FORMAT " was changed while its failure was recorded",
							 bgjob_underway.job.id)));
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

	recording = true;
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
	recording = false;

	if (!recorded)
		bgjob_underway.give_back = bgjob_underway.pause = true;
}

/* ---- the attempt ---- */

/*
 * Waits after a claim that failed, longer each time. A worker that fails again
 * and again leaves: the reason may be its own session's, and its successor
 * starts with another. One that fails with what its predecessor has failed with
 * leaves at once; the scheduler starts them later and later.
 */
static void
pause_after_failed_claim(void)
{
	if (++failed_claims == MOST_FAILED_CLAIMS || bgjob_my_slot->failure == inherited_failure)
	{
		bgjob_my_slot->failing = true;
		bgjob_my_slot->retire = true;
		return;
	}
	(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 1000L * Min(failed_claims, 2),
					 bgjob_wait_event(BGJOB_WAIT_WORKER_PAUSE));
}

/* Announces a job that is in its queue again. */
static void
give_back(const BgjobJob *job)
{
	BgjobLaneKey lane;

	bgjob_queue_lane(job, &lane);
	bgjob_announce(&lane, job->pos, job->id);
}

/* Ends the attempt in the worker's slot, and cleans up after the job. */
static void
end_attempt(bool performed)
{
	MemoryContextSwitchTo(bgjob_attempt_context);
	bgjob_underway.claimed = false;
	bgjob_perform_forget_output();
	bgjob_inflight_end();
	bgjob_gates_release();
	bgjob_slot_end(performed && !bgjob_group.begun && !bgjob_underway.settling);
	QueryCancelPending = false; /* was meant for the job that has just ended */
	debug_query_string = NULL;
	if (performed)
		bgjob_session_clean();
	if (bgjob_underway.pause)
		(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 1000,
						 bgjob_wait_event(BGJOB_WAIT_WORKER_PAUSE));
	if (bgjob_underway.give_back)
		give_back(&bgjob_underway.job);
}

/* Claims what there is next and performs it, in one transaction. False if there was nothing. */
static bool
claim_and_perform(void)
{
	BgjobRel *jobs;
	bool may_group;
	bool claimed;
	bool chunk;

	while (!bgjob_session_clean_in_transaction())
	{
		CommitTransactionCommand();
		CHECK_FOR_INTERRUPTS();
		bgjob_perform_start_transaction();
	}
	if (!bgjob_authority_of_session())
	{
		CommitTransactionCommand();
		return false; /* the worker leaves */
	}
	MemoryContextSwitchTo(bgjob_attempt_context);
	jobs = bgjob_rel_open(BGJOB_TABLE_JOB);
	MemoryContextSwitchTo(bgjob_job_context);
	bgjob_underway.claimed = claimed = bgjob_claim(jobs, &bgjob_underway.job, &may_group);
	if (claimed)
	{
		RESUME_INTERRUPTS(); /* held by the claim */
		bgjob_queue_usage_begin(bgjob_underway.job.run_as, bgjob_underway.job.queue,
								GetCurrentStatementStartTimestamp());
	}
	chunk = claimed && bgjob_chunk_collect(jobs);

	if (chunk)
	{
		bgjob_chunk_perform(jobs);
		bgjob_rel_close(jobs);
	}
	else if (claimed && bgjob_job_is_pending(&bgjob_underway.job))
	{
		settle(jobs);
		bgjob_rel_close(jobs);
	}
	else if (claimed && !pass_gates(jobs))
		bgjob_rel_close(jobs);
	/* With a snapshot older than itself a job would not see others' changes. */
	else if (claimed && may_group && bgjob_group_fits(&bgjob_underway.job) &&
			 !IsolationUsesXactSnapshot())
	{
		bgjob_group_perform(jobs);
		bgjob_rel_close(jobs);
	}
	else
	{
		bgjob_rel_close(jobs);
		if (claimed)
			perform();
	}
	CommitTransactionCommand();
	MemoryContextSwitchTo(bgjob_job_context);
	bgjob_perform_log_duration();
	return claimed;
}

/*
 * Ends the attempt, with an error or not. A group that has failed is performed again singly;
 * but a request that was accepted is honored, and is no fault of a chunk.
 */
static void
end_with(ErrorData *error, bool performed)
{
	bool requested = false;

	if (bgjob_underway.claimed && error != NULL)
	{
		requested = bgjob_group.chunk ? bgjob_chunk_answer()
									  : bgjob_slot_request_seen() != BGJOB_REQUEST_NONE;
		if ((!bgjob_group.begun && !bgjob_underway.settling) || requested)
			record_failure_safely(error);
		else if (bgjob_underway.settling)
			bgjob_underway.give_back = bgjob_underway.pause = true;
	}
	end_attempt(performed);
	bgjob_group_end(error != NULL, error != NULL && !(bgjob_group.chunk && requested));
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
	bool taken;
	ErrorContextCallback context = {.previous = error_context_stack,
									.callback = bgjob_perform_context};

	error_context_stack = &context;
	memset(&bgjob_underway, 0, sizeof(bgjob_underway));
	memset(&bgjob_group, 0, sizeof(bgjob_group));
	MemoryContextReset(bgjob_attempt_context);
	MemoryContextReset(bgjob_job_context);
	bgjob_perform_start_transaction();
	PG_TRY();
	{
		performed = claim_and_perform();
	}
	PG_CATCH();
	{
		error = recover();
		performed = bgjob_underway.claimed || bgjob_group.begun;
	}
	PG_END_TRY();

	if (error != NULL && performed) /* before its end can be seen */
		bgjob_session_clean();
	end_with(error, performed);
	taken = performed && (!bgjob_underway.pause || bgjob_underway.settling);
	if (error != NULL && !taken)
	{
		/* The claim itself failed, or nothing could be recorded. */
		bgjob_claim_give_back();
		pause_after_failed_claim();
	}
	else if (taken && bgjob_my_slot->failure != 0)
	{
		bgjob_slot_claims_again();
		inherited_failure = 0;
	}
	if (taken || error == NULL)
		failed_claims = 0;
	error_context_stack = context.previous;
	return performed || error != NULL;
}
