/*-------------------------------------------------------------------------
 *
 * group.c
 *	  Several jobs of one queue in one transaction.
 *
 * A group of jobs of one queue (bgjob_queue(group_size => …)) is performed in
 * one transaction, each job in a subtransaction: one commit, and one flush, for
 * all of them. What a job does to the session is undone before the next. A job
 * that fails is recorded in the same transaction, which goes on. A failure at commit,
 * or the end of the worker, aborts the transaction; then none of the jobs has
 * happened, and each is performed by itself. A group ends early if it takes too
 * long, so that a slow job does not delay others; for a job that precedes the rest
 * of the group; and before more than 64 of its subtransactions have written, since
 * these would slow down every snapshot in the server.
 *
 * Run by workers.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/announce.h"
#include "base/compat.h"
#include "base/groupitems.h"
#include "base/inflight.h"
#include "base/queues.h"
#include "base/registry.h"
#include "base/request.h"
#include "base/session.h"
#include "base/slot.h"
#include "jit/jit.h"
#include "miscadmin.h"
#include "run/chunk.h"
#include "run/command.h"
#include "run/filtercall.h"
#include "run/function.h"
#include "run/group.h"
#include "run/notices.h"
#include "run/perform.h"
#include "storage/proc.h"
#include "store/claim.h"
#include "store/gateneeds.h"
#include "store/queue.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timeout.h"

/* Duration after which a group ends with its current job, in milliseconds. */
#define GROUP_LASTS 300

BgjobGroup bgjob_group;
static TimeoutId group_timeout;

/* bgjob_group_init prepares a worker; once, before it connects. */
void
bgjob_group_init(void)
{
	group_timeout = RegisterTimeout(USER_TIMEOUT, bgjob_group_items_slow);
}

/*
 * bgjob_group_fits returns whether a job may be performed in one transaction with
 * others. It notes the kind of a command, which is parsed for that.
 */
bool
bgjob_group_fits(const BgjobJob *job)
{
	if (bgjob_job_is_pending(job) || bgjob_gate_has_any(job) || bgjob_chunk_may_begin(job))
		return false;
	if (job->kind == BGJOB_KIND_FUNCTION)
		return !bgjob_function_is_procedure(bgjob_function_find(job->func));
	return job->kind == BGJOB_KIND_SQL &&
		   bgjob_command_is_plain(job->job, &bgjob_underway.command);
}

#ifdef BGJOB_FAST_SUBXIDS

/* Returns how many subtransactions have written; if the server does not know, more than it caches. */
static int
writers(void)
{
	return MyProc->subxidStatus.overflowed ? PGPROC_MAX_CACHED_SUBXIDS + 1
										   : MyProc->subxidStatus.count;
}

#else

/* Returns the number of subtransactions, each of which may have written. */
static int
writers(void)
{
	ResourceOwner owner = CurrentResourceOwner;
	MemoryContext context = CurrentMemoryContext;
	SubTransactionId last;

	BeginInternalSubTransaction(NULL);
	last = GetCurrentSubTransactionId();
	ReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return (int) Min(last - TopSubTransactionId, PG_INT32_MAX / 2);
}

#endif

/*
 * Returns whether so many subtransactions have written that another job could bring
 * their number above what the server keeps at hand for snapshots, should it
 * have as many as that one of the group which has had the most.
 */
static bool
has_many_writers(int most)
{
	return writers() + Max(most, 1) > PGPROC_MAX_CACHED_SUBXIDS;
}

/* Rolls the job's effects back, and returns its error. */
static ErrorData *
recover_subtransaction(ResourceOwner owner)
{
	ErrorData *error;

	HOLD_INTERRUPTS();
	bgjob_notices_pause();
	bgjob_perform_stop_clocks();
	QueryCancelPending = false;
	MemoryContextSwitchTo(bgjob_job_context);
	error = CopyErrorData();
	if (bgjob_slot_request_seen() == BGJOB_REQUEST_NONE && !bgjob_underway.ending.given)
		bgjob_notices_report_error();
	FlushErrorState();
	RollbackAndReleaseCurrentSubTransaction();
	CurrentResourceOwner = owner;
	MemoryContextSwitchTo(bgjob_job_context);
	jit_reset_after_error();
	bgjob_session_release_slot();
	RESUME_INTERRUPTS();
	if (bgjob_timed_out && error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		bgjob_outcome_timed_out(bgjob_underway.time_limit, error);
	return error;
}

/*
 * Returns whether the job might not have failed by itself, which is then tried: in a
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
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(bgjob_job_context);
	PG_TRY();
	{
		bgjob_perform_settings();
		bgjob_perform_start_clocks();
		*result = bgjob_perform_run();
		MemoryContextSwitchTo(bgjob_job_context);
		CHECK_FOR_INTERRUPTS();
		bgjob_perform_check_pending();
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		if (may_be_due_to_group(geterrcode()))
			PG_RE_THROW();
		error = recover_subtransaction(owner);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(bgjob_job_context);
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
	bgjob_perform_begin();
	error = run_in_subtransaction(&result);
	if (error == NULL)
	{
		/* Its deferred triggers; what ends them makes the whole group fail (see the opening). */
		bgjob_perform_complete();
		bgjob_perform_stop_clocks();
		bgjob_perform_check_request();
		bgjob_perform_record_success(jobs, result);
		if (bgjob_filter_any())
			bgjob_perform_complete(); /* deferred triggers of filters, before they are forgotten */
		bgjob_perform_log_duration();
	}
	else
	{
		BgjobCircumstances what;
		BgjobRequest request = bgjob_perform_give_up(&what);

		bgjob_perform_settle(jobs, request, error, &what);
		if (request != BGJOB_REQUEST_NONE)
			bgjob_group.is_over = true; /* the request was accepted: commit it */
	}
	AtEOXact_GUC(false, settings);
	if (!bgjob_session_clean_between())
		bgjob_group.is_over = true;
	bgjob_perform_forget_output();
	bgjob_inflight_end();
	bgjob_slot_end(true);
	memset(&bgjob_underway, 0, sizeof(bgjob_underway));
}

/* bgjob_group_perform performs the claimed job and those that come with it. The caller commits. */
void
bgjob_group_perform(BgjobRel *jobs)
{
	uint64 conf = bgjob_queues_generation();
	int most_writers = 0;

	bgjob_group.begun = true;
	enable_timeout_after(group_timeout, GROUP_LASTS);
	do
	{
		int before = writers();

		perform_in_group(jobs);
		most_writers = Max(most_writers, writers() - before);
		MemoryContextReset(bgjob_job_context);
		MemoryContextSwitchTo(bgjob_job_context);
		if (bgjob_group.is_over || has_many_writers(most_writers) ||
			bgjob_my_slot->group_slow ||
			bgjob_queues_generation() != conf || /* the queue may have been paused */
			bgjob_my_slot->retire || bgjob_my_slot->term)
			break;
		bgjob_underway.claimed = bgjob_claim_next(jobs, &bgjob_underway.job, bgjob_group_fits);
		if (bgjob_underway.claimed)
			RESUME_INTERRUPTS(); /* held by the claim */
	} while (bgjob_underway.claimed);
	disable_timeout(group_timeout, false);
}

/*
 * bgjob_group_end gives back the jobs that were taken and not performed, or all of them if
 * the group has failed; singly: then they are not to be taken as one again.
 */
void
bgjob_group_end(bool failed, bool singly)
{
	BgjobGroupRest rest;

	if (bgjob_group_items_end(bgjob_my_slot, failed, &rest))
		bgjob_announce_rest(&rest, singly);
}
