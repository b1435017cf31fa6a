/*-------------------------------------------------------------------------
 *
 * outcome.c
 *	  The event that follows an attempt that did not succeed.
 *
 * Decided by the worker; or by the scheduler, where the worker had to be
 * ended by force before it could. A request that was accepted (deletion,
 * requeueing, rescheduling, interruption) comes first, then the job's own wish
 * (bgjob_snooze, bgjob_discard): the error may only be how the job ended because of
 * that. Else the job is tried again after a while, or fails if it has no retries
 * left.
 *
 * Nothing is written here; the caller applies the event (store/job.h).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/guc.h"
#include "base/interval.h"
#include "base/queues.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "rules/retry.h"
#include "run/authority.h"
#include "run/failure.h"
#include "run/outcome.h"
#include "run/policy.h"
#include "store/settings.h"
#include "utils/timestamp.h"

/* Number of interruptions from which on a job's deadlocks count as failures. */
#define MOST_DEADLOCKS 10

/* bgjob_outcome_interruption returns the reason of an interruption, as the history has it. */
const char *
bgjob_outcome_interruption(BgjobInterruption why)
{
	switch (why)
	{
		case BGJOB_BY_SHUTDOWN:
			break;
		case BGJOB_BY_TERMINATION:
			return "Interrupted by the termination of its worker";
		case BGJOB_BY_COMMAND:
			return "Interrupted by a command on its database";
		case BGJOB_BY_SETTINGS:
			return "Interrupted by bgjob.enabled or bgjob.databases";
		case BGJOB_BY_NEED:
			return "Interrupted for others that had no worker";
	}
	return "Interrupted by shutdown";
}

/* Returns the reason of an event that was requested, with its author (NULL or empty: not recorded). */
static const char *
requested_reason(const char *what, bool pending, const char *author)
{
	const char *when = pending ? "its filters were called" : "it was performed";

	if (author == NULL || author[0] == '\0')
		return psprintf("%s while %s", what, when);
	return psprintf("%s while %s, %s", what, when, author);
}

/*
 * bgjob_outcome_requested returns the event of a request, with its reason;
 * what->run_at is the caller's, and so are the reason of an interruption, the
 * "author" of the request, and
 * "successor": the job that supersedes the deleted one; 0: none. A job whose
 * pending event was being settled has not been started. False if
 * there is no request.
 */
bool
bgjob_outcome_requested(BgjobRequest request, int64 successor, const char *author, bool pending,
						BgjobEvent *event, BgjobCircumstances *what)
{
	if (pending && request != BGJOB_REQUEST_NONE && request != BGJOB_REQUEST_INTERRUPT)
	{
		what->started_at = 0;
		what->worker_pid = 0;
		what->server = NULL;
	}
	switch (request)
	{
		case BGJOB_REQUEST_DELETE:
			*event = BGJOB_EV_DELETE;
			what->elected = successor != 0; /* no filter can keep it: it has lost its key */
			what->reason = successor != 0 ? psprintf(BGJOB_SUPERSEDED_REASON, successor)
										  : requested_reason("Deleted", pending, author);
			return true;
		case BGJOB_REQUEST_REQUEUE:
			*event = BGJOB_EV_REQUEUE;
			what->reason = requested_reason("Requeued", pending, author);
			return true;
		case BGJOB_REQUEST_RESCHEDULE:
			*event = BGJOB_EV_RESCHEDULE;
			what->reason = requested_reason("Rescheduled", pending, author);
			return true;
		case BGJOB_REQUEST_INTERRUPT:
			*event = BGJOB_EV_INTERRUPT;
			return true;
		case BGJOB_REQUEST_NONE:
			break;
	}
	return false;
}

/* bgjob_outcome_of_ending returns the event of the job's own wish. False if it has none. */
bool
bgjob_outcome_of_ending(const BgjobEnding *ending, BgjobEvent *event, BgjobCircumstances *what)
{
	if (!ending->given)
		return false;
	*event = ending->event;
	what->run_at = ending->run_at;
	what->reason = ending->reason;
	return true;
}

/* Returns the configuration of the job's function when the job was enqueued; NULL: none. */
static const Jsonb *
policy_of(const BgjobJob *job)
{
	if (bgjob_job_is_null(job, BGJOB_C_POLICY_ID))
		return NULL;
	return bgjob_settings_read(DatumGetInt64(bgjob_job_datum(job, BGJOB_C_POLICY_ID)));
}

/*
 * bgjob_outcome_is_group_deadlock returns whether a job may have been the victim
 * of a deadlock that it had no part in but by waiting: groups of jobs, and chunks, hold
 * their locks longer than any of their jobs would. Such a job is tried again
 * as if it had been interrupted; not without end, since it may be the job.
 */
bool
bgjob_outcome_is_group_deadlock(const BgjobJob *job, const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED &&
		   DatumGetInt32(bgjob_job_datum(job, BGJOB_C_INTERRUPTIONS)) < MOST_DEADLOCKS &&
		   (bgjob_queues_get(MyDatabaseId, job->queue).group_size > 1 ||
			bgjob_policy_chunk_size(policy_of(job)) > 1);
}

/* Returns how long to wait before the next retry of a job, in microseconds. */
static int64
delay_of_retry(const BgjobJob *job, const Jsonb *policy)
{
	int retry = job->retries + 1;
	int random = (int) pg_prng_uint64_range(&pg_global_prng_state, 0, BGJOB_RETRY_SPREAD - 1);
	int64 delay;

	if (bgjob_job_is_null(job, BGJOB_C_RETRY_DELAYS))
		delay = bgjob_policy_delay(policy, retry);
	else
		delay = bgjob_policy_own_delay(
			DatumGetArrayTypeP(bgjob_job_datum(job, BGJOB_C_RETRY_DELAYS)), retry);
	return delay >= 0 ? delay : bgjob_retry_delay(retry, random) * USECS_PER_SEC;
}

/*
 * bgjob_outcome_of_failure gives what a failed attempt leads to; what->at and what->error must be
 * set. Without "retry" the job is not tried again.
 */
BgjobEvent
bgjob_outcome_of_failure(const BgjobJob *job, int sqlstate, const char *message, bool retry,
						 BgjobCircumstances *what)
{
	const Jsonb *policy = policy_of(job);

	if (!retry || job->retries >= job->max_retries || !bgjob_policy_may_retry(policy, sqlstate))
	{
		what->reason = message;
		return bgjob_policy_deletes(policy) ? BGJOB_EV_DELETE : BGJOB_EV_FAIL;
	}
	what->run_at =
		Min(bgjob_time_later(what->at, delay_of_retry(job, policy)), END_TIMESTAMP - 1);
	return BGJOB_EV_RETRY;
}

/* bgjob_outcome_of_error gives what an error of the job's own leads to; what->at must be set. */
BgjobEvent
bgjob_outcome_of_error(const BgjobJob *job, const ErrorData *error, BgjobCircumstances *what)
{
	what->error = bgjob_failure_json(error);
	return bgjob_outcome_of_failure(job, error->sqlerrcode, error->message, true, what);
}

/*
 * bgjob_time_limit returns how long an attempt at a job may take, in
 * milliseconds; 0: any time. What is less than a millisecond is one. What the
 * job says has precedence over bgjob.job_timeout where that is longer, or the
 * job may exceed it.
 */
int64
bgjob_time_limit(const BgjobJob *job)
{
	const Interval *limit;
	int64 us;

	if (bgjob_job_is_null(job, BGJOB_C_TIMEOUT))
		return bgjob_job_timeout;
	limit = DatumGetIntervalP(bgjob_job_datum(job, BGJOB_C_TIMEOUT));
	us = Max(bgjob_interval_microseconds(limit, DAYS_PER_MONTH), 0);
	us = us / 1000 + (us % 1000 > 0);
	if (bgjob_job_timeout > 0 && (us == 0 || us > bgjob_job_timeout) &&
		!bgjob_authority_may_exceed(job))
		return bgjob_job_timeout;
	return us;
}

/* bgjob_outcome_timed_out makes an error say that the job has exceeded its time limit, in milliseconds. */
void
bgjob_outcome_timed_out(int64 limit, ErrorData *error)
{
	error->sqlerrcode = ERRCODE_QUERY_CANCELED;
	error->message = psprintf("canceling job due to its timeout of " INT64_FORMAT " ms", limit);
}
