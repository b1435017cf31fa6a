/*-------------------------------------------------------------------------
 *
 * external.c
 *	  One attempt of an external worker at a job.
 *
 * What a worker of the server does in one transaction (run/attempt.c) is divided here
 * between two: that of bgjob_fetch(), and the one that ends the attempt.
 *
 *	 fetch: the job is claimed -> an event that was left to a worker -> time to start,
 *	   gates, authority, filters -> its lease
 *	 end: the lease is taken -> filters -> success, failure, release, loss -> its row
 *
 * A job that is not to be started goes on in the transaction of the fetch: it waits at a
 * gate, is deleted, or has failed. An error of a filter there is the job's, not that of
 * the fetch, which may have other jobs. An error of a filter at the end is the
 * caller's: the attempt goes on, and the worker may report a failure.
 *
 * The places that a job holds at gates pass to its lease (base/lease.h), and are free
 * when the transaction that ends the attempt has committed.
 *
 * Sessions, and the scheduler for what is lost. Inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/gatechange.h"
#include "base/guc.h"
#include "base/registry.h"
#include "base/text.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "run/attemptfilters.h"
#include "run/authority.h"
#include "run/external.h"
#include "run/failure.h"
#include "run/filter.h"
#include "run/filtercall.h"
#include "run/outcome.h"
#include "run/pending.h"
#include "run/perform.h"
#include "store/gateneeds.h"
#include "store/gating.h"
#include "store/leased.h"
#include "utils/timestamp.h"

/* ---- turns of fairness keys ---- */

/* Lanes of fairness keys from which the running fetch has started jobs, and how many. */
#define MOST_TURNS 32

static struct
{
	int64 lane;
	int jobs;
} turns[MOST_TURNS];
static int nturns = 0;

/* Notes that a job has had its turn. What there is no room for, the scheduler looks at. */
static void
note_turn(const BgjobGateNeed *needs, int n)
{
	int i = 0;

	if (n == 0 || needs[n - 1].kind != BGJOB_GATE_FAIR)
		return;
	while (i < nturns && turns[i].lane != needs[n - 1].gate)
		i++;
	if (i == MOST_TURNS)
		bgjob_change_gate_ask(needs[n - 1].gate);
	else
	{
		if (i == nturns)
			turns[nturns++].jobs = 0;
		turns[i].lane = needs[n - 1].gate;
		turns[i].jobs++;
	}
}

/* bgjob_external_begin_fetch begins a fetch. */
void
bgjob_external_begin_fetch(void)
{
	nturns = 0;
}

/* bgjob_external_end_fetch lets as many jobs with fairness keys take their turns as have been started. */
void
bgjob_external_end_fetch(void)
{
	BgjobAdmitted result;

	if (nturns > 0)
		CommandCounterIncrement();
	while (nturns > 0)
	{
		nturns--;
		bgjob_gating_give_turns(turns[nturns].lane, turns[nturns].jobs, &result);
		if (result.busy || result.more)
			bgjob_change_gate_ask(turns[nturns].lane);
	}
}

/* ---- the fetch ---- */

/* Applies an event to a claimed job instead of starting it. */
static void
apply_instead(BgjobRel *jobs, BgjobJob *job, BgjobEvent event, BgjobCircumstances *what)
{
	what->guarded = true;
	bgjob_job_apply(job, event, what);
	bgjob_job_save(jobs, job);
}

/* Deletes a job that was to be started earlier. */
static void
expire(BgjobRel *jobs, BgjobJob *job, TimestampTz at)
{
	BgjobCircumstances what = {.at = at, .reason = "Expired"};

	apply_instead(jobs, job, BGJOB_EV_DELETE, &what);
}

/* Has a job wait at a gate that has no room for it, or deletes it, if its limit says so. */
static void
bounce(BgjobRel *jobs, BgjobJob *job, const BgjobGateNeed *full, TimestampTz at)
{
	BgjobCircumstances what = {.at = at};

	if (!full->deletes)
	{
		bgjob_gating_bounce(jobs, job, full);
		return;
	}
	what.reason = psprintf("Limit \"%s\" was reached", full->name);
	apply_instead(jobs, job, BGJOB_EV_DELETE, &what);
}

/* Acquires places for a job at its gates, and passes them to its lease. False: the job waits at one. */
static bool
pass_gates(BgjobRel *jobs, BgjobJob *job, int number, TimestampTz *at)
{
	const BgjobGateNeed *held;
	BgjobGateNeed needs[BGJOB_GATES_MAX];
	BgjobGateNeed full;
	int n;

	if (!bgjob_gate_may_need(job))
		return true;
	if (!bgjob_gating_enter(job, at, &full))
	{
		bounce(jobs, job, &full, *at);
		return false;
	}
	n = bgjob_gates_own(&held);
	if (n == 0 || bgjob_lease_set_gates(number, held, n))
	{
		note_turn(held, n);
		bgjob_gates_pass();
		return true;
	}
	bgjob_gates_release(); /* there is no room to note them: it waits as if the first was full */
	if (bgjob_gate_needs(job, needs) == 0)
		return true;
	bounce(jobs, job, &needs[0], *at);
	return false;
}

/* Asks the filters whether a job is to be performed; an action for bgjob_filter_guard. */
typedef struct Begin
{
	const BgjobJob *job;
	TimestampTz at;
	BgjobDecision decision;
} Begin;

static void
ask_filters(void *arg)
{
	Begin *begin = arg;

	(void) bgjob_attemptfilters_begin(begin->job, begin->at, false, &begin->decision);
}

/* Fails an attempt that could not begin. */
static void
fail_to_start(BgjobRel *jobs, BgjobJob *job, const ErrorData *error, const char *worker,
			  TimestampTz at)
{
	BgjobCircumstances what = {.at = at, .started_at = at, .server = worker};
	BgjobEvent event = bgjob_outcome_of_error(job, error, &what);

	what.certain = true;
	apply_instead(jobs, job, event, &what);
}

/* Does what filters want of a job instead of its being performed. */
static void
follow(BgjobRel *jobs, BgjobJob *job, const BgjobDecision *decision, const char *worker)
{
	BgjobCircumstances what = decision->what;

	if (!what.elected) /* it was processing then */
	{
		what.started_at = what.at;
		what.server = worker;
	}
	apply_instead(jobs, job, decision->event, &what);
}

/* Asks filters and authority. False: the job is not performed, and has gone on otherwise. */
static bool
may_start(BgjobRel *jobs, BgjobJob *job, const char *worker, TimestampTz at)
{
	Begin begin = {.job = job, .at = at};
	ErrorData *error = NULL;
	const char *denial =
		bgjob_job_is_null(job, BGJOB_C_ENQUEUED_BY)
			? NULL
			: bgjob_authority_denial_reason(
				  DatumGetObjectId(bgjob_job_datum(job, BGJOB_C_ENQUEUED_BY)), job->run_as);
	ErrorData denied = {.sqlerrcode = ERRCODE_INSUFFICIENT_PRIVILEGE,
						.message = unconstify(char *, denial)};

	if (denial != NULL)
	{
		fail_to_start(jobs, job, &denied, worker, at);
		return false;
	}
	if (!bgjob_filter_any() || !bgjob_filter_concerns(job, BGJOB_FILTERS_OF_ATTEMPTS))
		return true;
	begin.decision.what.at = at;
	error = bgjob_filter_guard(ask_filters, &begin);
	if (error != NULL)
		fail_to_start(jobs, job, error, worker, at);
	else if (begin.decision.given)
		follow(jobs, job, &begin.decision, worker);
	return error == NULL && !begin.decision.given;
}

/*
 * bgjob_external_start begins an attempt at a job that the running transaction has claimed for
 * an external worker, whose name this is. *at is the time of the start; it becomes a later one if the job has
 * to have places first. False: the job does not go to the worker, and has gone on otherwise.
 */
bool
bgjob_external_start(BgjobRel *jobs, BgjobJob *job, int number, const char *worker,
					 TimestampTz *at)
{
	if (bgjob_job_is_pending(job))
	{
		bgjob_pending_settle(jobs, job);
		return false;
	}
	if (bgjob_perform_is_expired(job))
	{
		expire(jobs, job, *at);
		return false;
	}
	return pass_gates(jobs, job, number, at) && may_start(jobs, job, worker, *at);
}

/* ---- the end ---- */

/* bgjob_external_succeed records the success of an attempt. */
void
bgjob_external_succeed(BgjobRel *jobs, const BgjobLease *lease, BgjobJob *job,
					   const Jsonb *result)
{
	BgjobCircumstances what;

	bgjob_leased_circumstances(lease, &what);
	what.result = result;
	if (bgjob_filter_any())
		bgjob_attemptfilters_succeeded(job, result);
	bgjob_leased_end(jobs, lease, job, BGJOB_EV_SUCCEED, &what);
}

/* Forgets how often in a row workers have lost a job. */
static void
forget_losses(BgjobJob *job)
{
	if (job->crashes == 0)
		return;
	job->crashes = 0;
	bgjob_job_set_null(job, BGJOB_C_CRASHES);
}

/* bgjob_external_fail records a failure. */
void
bgjob_external_fail(BgjobRel *jobs, const BgjobLease *lease, BgjobJob *job,
					const BgjobExternalFailure *failure)
{
	BgjobCircumstances what;
	BgjobEvent event;

	bgjob_leased_circumstances(lease, &what);
	what.error = failure->error;
	event = bgjob_outcome_of_failure(job, failure->sqlstate, failure->message, failure->retry,
									 &what);
	bgjob_attemptfilters_failed(job, what.error);
	what.certain = true;
	forget_losses(job);
	bgjob_leased_end(jobs, lease, job, event, &what);
}

/* bgjob_external_release gives a job back: to the head of its queue, or (run_at: not 0) for later. No retry is used. */
void
bgjob_external_release(BgjobRel *jobs, const BgjobLease *lease, BgjobJob *job,
					   TimestampTz run_at)
{
	BgjobCircumstances what;

	bgjob_leased_circumstances(lease, &what);
	what.reason = psprintf("Released by worker \"%s\"", lease->worker);
	what.run_at = run_at;
	bgjob_leased_end(jobs, lease, job, run_at != 0 ? BGJOB_EV_RESCHEDULE : BGJOB_EV_INTERRUPT,
					 &what);
}

/* Fails an attempt with an error. */
static void
fail_with(BgjobRel *jobs, const BgjobLease *lease, BgjobJob *job, const ErrorData *error,
		  bool crashed)
{
	BgjobCircumstances what;
	BgjobEvent event;

	bgjob_leased_circumstances(lease, &what);
	what.crashed = crashed;
	event = bgjob_outcome_of_error(job, error, &what);
	bgjob_leased_end(jobs, lease, job, event, &what);
}

/*
 * bgjob_external_lose ends an attempt whose lease is over: the time limit of the attempt has
 * passed, which is a failure; or its worker is lost. Then the job goes back to the head of its queue,
 * unless workers have lost it bgjob.max_crashes times in a row: then this is a failure, too.
 */
void
bgjob_external_lose(BgjobRel *jobs, const BgjobLease *lease, BgjobJob *job)
{
	BgjobCircumstances what;
	ErrorData error = {.sqlerrcode = ERRCODE_CONNECTION_FAILURE};

	if (!lease->lost && lease->deadline <= lease->ends_at)
	{
		bgjob_outcome_timed_out(lease->time_limit, &error);
		forget_losses(job);
		fail_with(jobs, lease, job, &error, false);
		return;
	}
	error.message = psprintf(BGJOB_LOST_REASON "\"%s\": %s", lease->worker,
							 lease->lost ? "its session has ended" : "its lease has expired");
	if (job->crashes + 1 >= bgjob_max_crashes)
	{
		fail_with(jobs, lease, job, &error, true);
		return;
	}
	bgjob_leased_circumstances(lease, &what);
	what.reason = error.message;
	what.crashed = true;
	bgjob_leased_end(jobs, lease, job, BGJOB_EV_INTERRUPT, &what);
}
