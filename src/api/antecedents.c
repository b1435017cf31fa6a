/*-------------------------------------------------------------------------
 *
 * antecedents.c
 *	  What a running job awaited: states and results of other jobs, and signals.
 *
 * Called by a job, about itself. What the caller of bgjob_enqueue() named it may read:
 * the caller controlled the jobs, and signals reach only jobs that their sender controls.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/inside.h"
#include "base/json.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "store/prerequisite.h"
#include "store/signalrow.h"
#include "utils/builtins.h"

/* Adds a job: {"state": …, "result": …}. One that has been removed is deleted. */
static void
add_job(JsonbParseState **all, BgjobRel *jobs, int64 id)
{
	JsonbParseState *one = NULL;
	BgjobJob job;
	bool found = bgjob_job_read(jobs, id, &job);

	bgjob_json_begin(&one);
	bgjob_json_text(&one, "state", bgjob_state_name(found ? job.state : BGJOB_DELETED));
	if (found && job.state == BGJOB_SUCCEEDED && !bgjob_job_is_null(&job, BGJOB_C_RESULT))
		bgjob_json_member(&one, "result", bgjob_job_jsonb(&job, BGJOB_C_RESULT));
	else
		bgjob_json_text(&one, "result", NULL);
	bgjob_json_member(all, psprintf(INT64_FORMAT, id), bgjob_json_end(&one));
}

/* Adds the signals that are there: {"name": payload}. */
static void
add_signals(JsonbParseState **all, const BgjobPrerequisites *prerequisites)
{
	JsonbParseState *signals = NULL;

	bgjob_json_begin(&signals);
	for (int i = 0; i < prerequisites->nsignals; i++)
	{
		const char *name = prerequisites->signals[i];
		Jsonb *payload;

		if (!bgjob_signal_payload(name, prerequisites->role, &payload))
			continue;
		if (payload != NULL)
			bgjob_json_member(&signals, name, payload);
		else
			bgjob_json_text(&signals, name, NULL);
	}
	bgjob_json_member(all, "signals", bgjob_json_end(&signals));
}

PG_FUNCTION_INFO_V1(bgjob_antecedents);

/*
 * bgjob_antecedents() returns what the job has awaited: {"<id>": {"state": …,
 * "result": …}} for each job, and {"signals": {"<name>": payload}} if it awaited signals. Raises 55000
 * outside of a job.
 */
Datum
bgjob_antecedents(PG_FUNCTION_ARGS)
{
	const BgjobJob *job = bgjob_this_job("bgjob_antecedents()");
	JsonbParseState *all = NULL;
	BgjobPrerequisites prerequisites;
	BgjobRel *jobs;

	bgjob_json_begin(&all);
	if (bgjob_prerequisites_read(job, &prerequisites))
	{
		jobs = bgjob_rel_open_read(BGJOB_TABLE_JOB);
		for (int i = 0; i < prerequisites.njobs; i++)
		{
			CHECK_FOR_INTERRUPTS();
			add_job(&all, jobs, prerequisites.targets[i]);
		}
		bgjob_rel_close(jobs);
		if (prerequisites.nsignals > 0)
			add_signals(&all, &prerequisites);
	}
	PG_RETURN_JSONB_P(bgjob_json_end(&all));
}
