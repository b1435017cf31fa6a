/*-------------------------------------------------------------------------
 *
 * statefilters.c
 *	  The filters around a change of state.
 *
 * store/job.c calls bgjob_statefilters_apply for everything that happens to a
 * job, in whichever process. Filters are asked first which state the job is to
 * get (electing: any that the table of transitions has from where it is, but
 * succeeded only if that is the candidate), then notified that it leaves the old one
 * (unapplied); then the event happens that leads to the state that was chosen, and
 * they are notified of the new one (applied). The row of the job is written after that.
 *
 * A filter that raises an error fails what caused the change, as any error would.
 * Where that must not be, it is called guarded (run/filtercall.c): a worker that
 * records a failure does that without the filter; one that settles what the
 * scheduler has left to it (run/pending.c) makes the job a failed one, with the
 * filter's error.
 *
 * That a job is being performed is no event where the claim is not committed:
 * run/attemptfilters.c then asks and tells on its own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/interval.h"
#include "base/text.h"
#include "run/failure.h"
#include "run/filter.h"
#include "run/filtercall.h"
#include "run/filtercontext.h"
#include "run/pending.h"
#include "run/statefilters.h"
#include "store/history.h"
#include "store/place.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

typedef struct Transition
{
	BgjobJob *job;
	BgjobState from; /* processing, also where the row does not say so */
	BgjobEvent event;
	BgjobCircumstances what;
} Transition;

/* Returns the state that a job is in, as the table of transitions takes it, and as filters know it. */
static BgjobState
state_before(const BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what)
{
	if (bgjob_job_is_pending(job))
		return bgjob_pending_from(job);
	if (job->state == BGJOB_ENQUEUED && what->started_at != 0 && event != BGJOB_EV_START)
		return BGJOB_PROCESSING;
	return job->state;
}

/* Returns why the job gets its state: the caller's reason, or its error. */
static const char *
reason_of(const BgjobCircumstances *what)
{
	if (what->reason != NULL || what->error == NULL)
		return what->reason;
	return bgjob_history_message(what->error);
}

static const char *
name_or_null(BgjobState state)
{
	return state == BGJOB_NONE ? NULL : bgjob_state_name(state);
}

/* ---- electing ---- */

static void
refuse_state(const char *filter, const Transition *transition, const char *name)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		 errmsg("filter \"%s\" chose an invalid state: \"%s\"", filter, name),
		 errdetail("The job is %s, and is about to be %s.",
				   transition->from == BGJOB_NONE ? "new" : bgjob_state_name(transition->from),
				   bgjob_state_name(bgjob_transition(transition->from, transition->event))),
		 errhint("A filter may choose enqueued, scheduled, failed or deleted, if the job "
				 "can change to that state.")));
}

/* Returns the event that leads to a state; the caller checks that it can happen. */
static BgjobEvent
event_to(const Transition *transition, BgjobState state)
{
	bool is_new = transition->from == BGJOB_NONE;

	switch (state)
	{
		case BGJOB_ENQUEUED:
			return is_new ? BGJOB_EV_ENQUEUE : BGJOB_EV_REQUEUE;
		case BGJOB_SCHEDULED:
			if (is_new)
				return BGJOB_EV_SCHEDULE;
			/* After an error it is a retry, which keeps that in the history. */
			return transition->what.error != NULL && transition->from == BGJOB_PROCESSING
					   ? BGJOB_EV_RETRY
					   : BGJOB_EV_RESCHEDULE;
		case BGJOB_FAILED:
			return BGJOB_EV_FAIL;
		default:
			return BGJOB_EV_DELETE;
	}
}

/* Chooses another state than the candidate. */
static void
choose(Transition *transition, const char *filter, const char *name)
{
	BgjobState state = bgjob_state_by_name(name);
	BgjobEvent event;

	if (state == bgjob_transition(transition->from, transition->event))
		return;
	event = event_to(transition, state);
	if (state == BGJOB_NONE || bgjob_transition(transition->from, event) != state)
		refuse_state(filter, transition, name);
	transition->event = event;
	transition->what.reason = NULL;
}

/* Sets the time to run at that a filter returned: as run_at or as delay. */
static void
choose_time(Transition *transition, const char *filter, const char *run_at, const char *delay)
{
	TimestampTz at;

	if (run_at != NULL && delay != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("filter \"%s\" returned both delay and run_at", filter),
						errdetail("Both determine when the job runs."),
						errhint("Return only one of them.")));
	if (run_at != NULL)
		at = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(run_at),
													 ObjectIdGetDatum(InvalidOid),
													 Int32GetDatum(-1)));
	else if (delay != NULL)
		at = bgjob_time_plus(transition->what.at,
							 DatumGetIntervalP(DirectFunctionCall3(
								 interval_in, CStringGetDatum(delay),
								 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1))));
	else
		return;
	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("filter \"%s\" returned a time that is out of range", filter),
						errdetail("The time is infinite, or too far away."),
						errhint("Return a finite time.")));
	transition->what.run_at = at;
}

/* Returns the error of a job that a filter fails, if the job has none of its own. */
static const Jsonb *
error_of_choice(const char *filter, const char *reason)
{
	ErrorData error = {0};

	error.sqlerrcode = ERRCODE_RAISE_EXCEPTION;
	error.message =
		reason != NULL ? pstrdup(reason) : psprintf("Failed by filter \"%s\"", filter);
	return bgjob_failure_json(&error);
}

/* Takes the answer of one filter; the next one is asked about the state that it has chosen. */
static bool
elect(const char *filter, Jsonb *answer, BgjobHookJob *hook_job, void *arg)
{
	static const char *const keys[] = {"state", "reason", "run_at", "delay"};
	Transition *transition = arg;
	BgjobCircumstances *what = &transition->what;
	JsonbValue values[lengthof(keys)];
	char *texts[lengthof(keys)] = {NULL};
	BgjobState to;

	bgjob_filter_read(filter, answer, keys, lengthof(keys), values);
	for (int i = 0; i < lengthof(keys); i++)
		texts[i] = bgjob_filter_text(filter, keys[i], &values[i]);
	if (texts[0] != NULL)
		choose(transition, filter, texts[0]);
	if (texts[1] != NULL)
		what->reason = texts[1];
	choose_time(transition, filter, texts[2], texts[3]);
	to = bgjob_transition(transition->from, transition->event);
	if (to == BGJOB_SCHEDULED && what->run_at == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("filter \"%s\" must return run_at or delay", filter),
						errdetail("It chose the state \"scheduled\"."),
						errhint("Return one of them together with the state.")));
	if (to == BGJOB_FAILED && what->error == NULL)
		what->error = error_of_choice(filter, what->reason);
	if (to == BGJOB_FAILED && what->reason == NULL)
		what->reason = bgjob_history_message(what->error);
	hook_job->state = bgjob_state_name(to);
	hook_job->reason = reason_of(what);
	hook_job->has_run_at = to == BGJOB_SCHEDULED;
	hook_job->run_at = what->run_at;
	hook_job->error = what->error;
	return true;
}

static void
ask(Transition *transition)
{
	const BgjobCircumstances *what = &transition->what;
	BgjobState to = bgjob_transition(transition->from, transition->event);
	BgjobHookJob hook_job;

	bgjob_filter_describe(&hook_job, transition->job, to);
	hook_job.from = name_or_null(transition->from);
	hook_job.reason = reason_of(what);
	hook_job.has_run_at = to == BGJOB_SCHEDULED;
	hook_job.run_at = what->run_at;
	hook_job.error = what->error;
	bgjob_filter_call(BGJOB_ELECTING, transition->job, &hook_job, elect, transition);
}

/* ---- telling ---- */

static void
tell_unapplied(const BgjobJob *job, BgjobState from, BgjobState to)
{
	BgjobHookJob hook_job;

	if (from == BGJOB_NONE)
		return;
	bgjob_filter_describe(&hook_job, job, from);
	hook_job.to = bgjob_state_name(to);
	bgjob_filter_call(BGJOB_UNAPPLIED, job, &hook_job, NULL, NULL);
}

static void
tell_applied(const BgjobJob *job, BgjobState from, BgjobState to)
{
	bool ended = bgjob_state_is_final(to);
	BgjobColumn reason = ended ? BGJOB_C_REASON : BGJOB_C_ENTRY_REASON;
	BgjobHookJob hook_job;

	bgjob_filter_describe(&hook_job, job, to);
	hook_job.from = name_or_null(from);
	if (to != BGJOB_PROCESSING && !bgjob_job_is_null(job, reason))
		hook_job.reason = TextDatumGetCString(bgjob_job_datum(job, reason));
	bgjob_filter_call(BGJOB_APPLIED, job, &hook_job, NULL, NULL);
}

/* ---- the transition ---- */

/*
 * Takes an interrupted job out of its queue, where it would have stayed, because a
 * filter has chosen another event. False if another transaction has the job.
 */
static bool
take_out(const BgjobJob *job, BgjobCircumstances *what)
{
	if (what->in_queue && bgjob_place_take(job, NULL) != BGJOB_TAKEN)
		return false;
	what->in_queue = false;
	return true;
}

/* Applies the transition and calls the filters; an action for bgjob_filter_guard. */
static void
apply(void *arg)
{
	Transition *transition = arg;
	BgjobJob *job = transition->job;
	BgjobEvent candidate = transition->event;
	BgjobCircumstances meant = transition->what;

	if (!transition->what.elected)
		ask(transition);
	if (transition->event != candidate && !take_out(job, &transition->what))
	{
		transition->event = candidate;
		transition->what = meant;
	}
	tell_unapplied(job, transition->from,
				   bgjob_transition(transition->from, transition->event));
	bgjob_job_apply_unfiltered(job, transition->event, &transition->what);
	tell_applied(job, transition->from, job->state);
}

/* Makes a job a failed one because of a filter's error. */
static void
fail(BgjobJob *job, BgjobEvent event, BgjobCircumstances what, const ErrorData *error)
{
	BgjobState from = state_before(job, event, &what);

	if (bgjob_transition(from, BGJOB_EV_FAIL) == BGJOB_NONE || !take_out(job, &what))
	{
		bgjob_job_apply_unfiltered(job, event, &what);
		return;
	}
	what.error = bgjob_failure_json(error);
	what.reason = error->message;
	bgjob_job_apply_unfiltered(job, BGJOB_EV_FAIL, &what);
}

/* Does it where no filter may fail it. */
static void
apply_guarded(Transition *transition)
{
	BgjobJob *job = transition->job;
	BgjobJob before = *job;
	BgjobEvent event = transition->event;
	BgjobCircumstances what = transition->what;
	ErrorData *error = bgjob_filter_guard(apply, transition);

	if (error == NULL)
		return;
	*job = before;
	ereport(WARNING,
			(errmsg("a filter of job " INT64_FORMAT " (%s) raised an error: %s", job->id,
					bgjob_text_cut(job->job, BGJOB_TITLE_MAX), error->message),
			 what.certain ? errdetail("The new state is recorded without calling the filter.")
						  : errdetail("The job is marked as failed.")));
	if (what.certain)
		bgjob_job_apply_unfiltered(job, event, &what);
	else
		fail(job, event, what, error);
}

/*
 * bgjob_statefilters_apply applies an event, or the event that filters choose,
 * to a job, as bgjob_job_apply does. False if there is no filter for it, or the event
 * is not allowed: then nothing was done. Errors: 22023 a filter has chosen an event
 * that is not allowed; any error of a filter.
 */
bool
bgjob_statefilters_apply(BgjobJob *job, BgjobEvent event, const BgjobCircumstances *what)
{
	Transition transition = {.job = job, .event = event, .what = *what};

	if (!bgjob_filter_concerns(job, BGJOB_FILTERS_OF_STATES))
		return false;
	transition.from = state_before(job, event, what);
	if (bgjob_transition(transition.from, event) == BGJOB_NONE)
		return false;
	if (bgjob_pending_leave(job, event, what))
		return true;
	if ((what->certain || what->guarded || bgjob_filter_in_scheduler()) &&
		!bgjob_filter_is_guarded())
		apply_guarded(&transition);
	else
		apply(&transition);
	return true;
}

/*
 * bgjob_statefilters_elect asks the filters about an event. Returns the event that
 * they choose, which the caller then applies, and changes the circumstances.
 */
BgjobEvent
bgjob_statefilters_elect(const BgjobJob *job, BgjobEvent event, BgjobCircumstances *what)
{
	Transition transition = {.job = unconstify(BgjobJob *, job), .event = event, .what = *what};

	if (bgjob_filter_concerns(job, BGJOB_FILTER(BGJOB_ELECTING)))
	{
		transition.from = state_before(job, event, what);
		ask(&transition);
	}
	*what = transition.what;
	what->elected = true;
	return transition.event;
}

/* bgjob_statefilters_started notifies the filters that a job is being performed; its row does not show it. */
void
bgjob_statefilters_started(const BgjobJob *job)
{
	if (!bgjob_filter_concerns(job, BGJOB_FILTERS_OF_STATES))
		return;
	tell_unapplied(job, BGJOB_ENQUEUED, BGJOB_PROCESSING);
	tell_applied(job, BGJOB_ENQUEUED, BGJOB_PROCESSING);
}
