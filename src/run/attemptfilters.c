/*-------------------------------------------------------------------------
 *
 * attemptfilters.c
 *	  The filters around an attempt at a job.
 *
 * Before the job runs, in its own transaction and under its settings: it is
 * about to be processing (electing), which it is then (unapplied, applied; where
 * the claim is committed, that was done with it), and "performing", which may
 * cancel it. After it: "performed", in the same transaction if it has succeeded;
 * if it has failed, in the one that records that, guarded (run/filtercall.c).
 *
 * An error of a filter before the job, or after its success, is the attempt's.
 *
 * Run by workers.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "run/attemptfilters.h"
#include "run/filtercall.h"
#include "run/filtercontext.h"
#include "run/statefilters.h"

/*
 * bgjob_attemptfilters_elect asks the filters whether a job that was claimed "at"
 * a time is to be processing. False: they want something else, the decision.
 */
bool
bgjob_attemptfilters_elect(const BgjobJob *job, TimestampTz at, BgjobDecision *decision)
{
	decision->what = (BgjobCircumstances){.at = at};
	decision->event = bgjob_statefilters_elect(job, BGJOB_EV_START, &decision->what);
	decision->given = decision->event != BGJOB_EV_START;
	return !decision->given;
}

/* Takes the answer of one filter of "performing": nothing, or why the job is not to be performed. */
static bool
take_answer(const char *filter, Jsonb *answer, BgjobHookJob *hook_job, void *arg)
{
	static const char *const keys[] = {"cancel"};
	BgjobDecision *decision = arg;
	JsonbValue value;
	char *why;

	bgjob_filter_read(filter, answer, keys, lengthof(keys), &value);
	why = bgjob_filter_text(filter, "cancel", &value);
	if (why == NULL)
		return true;
	decision->given = true;
	decision->event = BGJOB_EV_DELETE;
	decision->what.reason = why;
	return false;
}

/*
 * bgjob_attemptfilters_begin calls the filters of a job that was claimed "at" a
 * time and is about to be performed. False: it is not to be, but see the
 * decision. Errors: as bgjob_filter_call.
 */
bool
bgjob_attemptfilters_begin(const BgjobJob *job, TimestampTz at, bool claim_committed,
						   BgjobDecision *decision)
{
	BgjobHookJob hook_job;

	if (!bgjob_filter_concerns(job, BGJOB_FILTERS_OF_ATTEMPTS))
		return true;
	if (!claim_committed)
	{
		if (!bgjob_attemptfilters_elect(job, at, decision))
			return false;
		bgjob_statefilters_started(job);
	}
	bgjob_filter_describe(&hook_job, job, BGJOB_PROCESSING);
	bgjob_filter_call(BGJOB_PERFORMING, job, &hook_job, take_answer, decision);
	decision->what.elected = false;
	return !decision->given;
}

/* bgjob_attemptfilters_succeeded calls the filters of a job that has just run. */
void
bgjob_attemptfilters_succeeded(const BgjobJob *job, const Jsonb *result)
{
	BgjobHookJob hook_job;

	if (!bgjob_filter_concerns(job, BGJOB_FILTER(BGJOB_PERFORMED)))
		return;
	bgjob_filter_describe(&hook_job, job, BGJOB_PROCESSING);
	hook_job.result = result;
	bgjob_filter_call(BGJOB_PERFORMED, job, &hook_job, NULL, NULL);
}

/* Calls the filters after a failure; an action for bgjob_filter_guard. */
typedef struct Failed
{
	const BgjobJob *job;
	const Jsonb *error;
} Failed;

static void
tell_failed(void *arg)
{
	const Failed *failed = arg;
	BgjobHookJob hook_job;

	bgjob_filter_describe(&hook_job, failed->job, BGJOB_PROCESSING);
	hook_job.error = failed->error;
	bgjob_filter_call(BGJOB_PERFORMED, failed->job, &hook_job, NULL, NULL);
}

/* bgjob_attemptfilters_failed calls the filters of a job that has failed. An error of theirs is but a warning. */
void
bgjob_attemptfilters_failed(const BgjobJob *job, const Jsonb *error)
{
	Failed failed = {job, error};
	ErrorData *of_filter;

	if (!bgjob_filter_concerns(job, BGJOB_FILTER(BGJOB_PERFORMED)))
		return;
	of_filter = bgjob_filter_guard(tell_failed, &failed);
	if (of_filter != NULL)
		ereport(WARNING, (errmsg("a filter of job " INT64_FORMAT " (%s) raised an error: %s",
								 job->id, job->job, of_filter->message),
						  errdetail("The failure is recorded without calling the filter.")));
}
