/*-------------------------------------------------------------------------
 *
 * attemptstats.c
 *	  What the end of an attempt adds to the statistics of its function and its queue.
 *
 * The statistics are in shared memory (base/functionstats.c), by function or kind
 * of command. bgjob_job_apply() describes each attempt that ends, in any process,
 * and the attempt is counted when the transaction has committed.
 *
 * The times are those of bgjob.job_states: an attempt waits from the moment at which
 * its job was enqueued, or became due, and runs until its outcome is known; the
 * commit is not included. If the worker was lost, another process records the
 * attempt and does not know its end: the attempt has no run time. Jobs that are performed in
 * one call (run/chunk.c) share its time equally. The same times are counted for the queue
 * (base/queuestats.c), and what happens to its jobs besides, such as that one is created.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/change.h"
#include "base/text.h"
#include "miscadmin.h"
#include "store/attemptstats.h"
#include "store/history.h"
#include "utils/timestamp.h"

/* Returns the name that attempts at a job are counted by. */
static const char *
name_of(const BgjobJob *job, const BgjobCircumstances *what)
{
	switch (job->kind)
	{
		case BGJOB_KIND_FUNCTION:
			return job->func;
		case BGJOB_KIND_SQL:
			return GetCommandTagName(what->command);
		case BGJOB_KIND_EXTERNAL:
			break;
	}
	return job->job;
}

/* Returns the milliseconds between two times, negative if one of them is not known. A clock that was set back counts as 0. */
static double
milliseconds(TimestampTz since, TimestampTz until)
{
	if (TIMESTAMP_NOT_FINITE(since) || TIMESTAMP_NOT_FINITE(until))
		return -1;
	return Max(0, ((double) until - (double) since) / 1000);
}

static void
describe_times(const BgjobJob *job, const BgjobCircumstances *what, BgjobAttempt *attempt)
{
	TimestampTz started_at = bgjob_job_is_null(job, BGJOB_C_STARTED_AT)
								 ? DT_NOBEGIN
								 : bgjob_job_time(job, BGJOB_C_STARTED_AT);

	attempt->started_at = started_at;
	attempt->over_at = what->at;
	attempt->wait_time = milliseconds(bgjob_history_waiting_since(job), started_at);
	attempt->run_time = what->worker_pid == MyProcPid || job->kind == BGJOB_KIND_EXTERNAL
							? milliseconds(started_at, what->at)
							: -1;
	if (attempt->run_time > 0)
		attempt->run_time /= 1 + what->company;
}

/* Describes a failure: its error, or what the attempt did to its worker or to the server. */
static void
describe_failure(const BgjobCircumstances *what, BgjobAttempt *attempt)
{
	char *message = bgjob_history_message(what->error);

	if (message[0] == '\0' && what->reason != NULL)
		message = pstrdup(what->reason);
	attempt->error = bgjob_text_cut(message, BGJOB_FUNCTION_ERROR_SIZE - 1);
	strlcpy(attempt->sqlstate, bgjob_history_sqlstate(what->error), sizeof(attempt->sqlstate));
}

/*
 * bgjob_attemptstats_describe describes the attempt that an event ends, which leads to
 * the state "to". The row of the job still has the times of the attempt.
 */
void
bgjob_attemptstats_describe(const BgjobJob *job, BgjobEvent event, BgjobState to,
							const BgjobCircumstances *what, BgjobAttempt *attempt)
{
	memset(attempt, 0, sizeof(*attempt));
	if (!bgjob_function_stats_find(job->run_as, (char) job->kind, name_of(job, what),
								   &attempt->function))
		return;
	attempt->ended = bgjob_state_is_final(to);
	attempt->failed = what->error != NULL || what->crashed || event == BGJOB_EV_FAIL;
	attempt->retried = event == BGJOB_EV_RETRY;
	attempt->interrupted = event == BGJOB_EV_INTERRUPT && !what->crashed;
	describe_times(job, what, attempt);
	if (attempt->failed)
		describe_failure(what, attempt);
}

/*
 * Returns whether an event ends an attempt whose worker, or whose lease, was lost: another process
 * than the worker records it, or it is held against the job.
 */
static bool
is_lost(const BgjobJob *job, const BgjobCircumstances *what)
{
	return what->crashed || (job->kind != BGJOB_KIND_EXTERNAL && what->worker_pid != MyProcPid);
}

static void
note_flow(const BgjobJob *job, BgjobFlow flow)
{
	bgjob_change_flow(job->run_as, job->queue, flow);
}

/*
 * bgjob_attemptstats_note_flows notes for the statistics of its queue what an event has done
 * to a job, which was in the state "from".
 */
void
bgjob_attemptstats_note_flows(const BgjobJob *job, BgjobState from, BgjobEvent event,
							  const BgjobCircumstances *what, bool ends_attempt)
{
	if (from == BGJOB_NONE)
		note_flow(job, BGJOB_FLOW_ENQUEUED);
	if (job->state == BGJOB_SUCCEEDED)
		note_flow(job, BGJOB_FLOW_SUCCEEDED);
	else if (job->state == BGJOB_FAILED)
		note_flow(job, BGJOB_FLOW_FAILED);
	else if (job->state == BGJOB_DELETED)
		note_flow(job, BGJOB_FLOW_DELETED);
	else if (event == BGJOB_EV_RETRY)
		note_flow(job, BGJOB_FLOW_RETRIED);
	else if (event == BGJOB_EV_INTERRUPT)
		note_flow(job, BGJOB_FLOW_INTERRUPTED);
	if (ends_attempt && is_lost(job, what))
		note_flow(job, BGJOB_FLOW_LOST);
}
