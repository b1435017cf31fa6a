/*-------------------------------------------------------------------------
 *
 * why.c
 *	  bgjob_why(): what holds a job up.
 *
 * bgjob_why() goes through all causes (api/causes.c) and returns a row for each
 * that holds. bgjob.jobs shows the reason of the first one for each job that
 * waits; it asks for that once for each role and queue in a statement, so that it
 * costs a row next to nothing.
 *
 * Runs in the calling session, also where the library is not preloaded and on a
 * standby. The job is read as of this moment, as bgjob_wait() does.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "api/causes.h"
#include "api/gatecauses.h"
#include "api/rights.h"
#include "base/lease.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "store/place.h"
#include "store/sidetables.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

/* Reads a job that the caller may see. Errors as those of bgjob_wait(). */
static void
read_job(BgjobRel *jobs, int64 id, BgjobJob *job)
{
	if (!bgjob_job_read_standing(jobs, id, job))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("job " INT64_FORMAT " does not exist", id),
						errdetail("It was never enqueued, or has been removed."),
						errhint("The view bgjob.jobs lists the existing jobs.")));
	if (!bgjob_may_see(job->run_as))
		bgjob_check_control(id, job->run_as);
}

/* Returns whether a job is not in the place of its state, as after a restore. A claim of a process that has gone is a place. */
static bool
is_out_of_place(const BgjobJob *job)
{
	if (bgjob_state_is_final(job->state))
		return false;
	if (job->state == BGJOB_PROCESSING)
		return !bgjob_claim_is_there(job->id);
	return !bgjob_place_has(job);
}

/*
 * Reads a job, and whether it is missing from its place. A worker may take and end
 * it in between; so it is missing only if it is at both of two looks.
 */
static void
look_at_job(BgjobRel *jobs, int64 id, BgjobJob *job, BgjobSituation *situation)
{
	situation->missing = true;
	for (int look = 0; look < 2 && situation->missing; look++)
	{
		read_job(jobs, id, job);
		situation->missing = is_out_of_place(job);
	}
	situation->uncommitted = bgjob_job_inserted_by_me(jobs, id);
}

static void
describe(const BgjobJob *job, BgjobSituation *situation)
{
	BgjobService *service = situation->service;

	situation->job = job;
	situation->gate = bgjob_gate_waited_at(job);
	situation->state = job->state;
	situation->priority = job->priority;
	situation->pos = job->pos;
	situation->run_at = bgjob_job_is_null(job, BGJOB_C_RUN_AT)
							? DT_NOBEGIN
							: bgjob_job_time(job, BGJOB_C_RUN_AT);
	situation->external = job->kind == BGJOB_KIND_EXTERNAL;
	situation->queue = bgjob_service_queue(service, job->queue, strlen(job->queue));
	situation->role = bgjob_service_role(service, job->run_as, situation->queue);
}

static void
put_answer(ReturnSetInfo *result, const char *reason, const BgjobAnswer *answer)
{
	Datum values[4];
	bool nulls[4] = {false, false, answer->hint == NULL, answer->until == 0};

	values[0] = CStringGetTextDatum(reason);
	values[1] = CStringGetTextDatum(answer->detail);
	values[2] = nulls[2] ? (Datum) 0 : CStringGetTextDatum(answer->hint);
	values[3] = TimestampTzGetDatum(answer->until);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Returns a row for each cause that holds up a job. */
static void
put_answers(ReturnSetInfo *result, const BgjobSituation *situation)
{
	bool ended = bgjob_state_is_final(situation->state);

	if (!ended && (bgjob_service_has_in_flight(situation->service, situation->pos) ||
				   bgjob_lease_is_there(MyDatabaseId, situation->job->id)))
		return; /* a worker has it */
	for (int i = 0; i < (ended ? 1 : bgjob_ncauses); i++)
	{
		BgjobAnswer answer = {0};

		if (bgjob_cause_concerns(&bgjob_causes[i], situation) &&
			bgjob_causes[i].holds(situation, &answer))
			put_answer(result, bgjob_causes[i].reason, &answer);
	}
}

PG_FUNCTION_INFO_V1(bgjob_why);

/*
 * bgjob_why(id) returns what holds a job up, a row for each thing, the most
 * important first: reason, detail, hint, until. No row: nothing does, or a worker
 * has the job. Errors: 22023 no such job; 42501 the caller may not see the job.
 */
Datum
bgjob_why(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	BgjobSituation situation = {0};
	BgjobRel *jobs;
	BgjobJob job;

	bgjob_check_sight();
	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	CommandCounterIncrement(); /* this statement may have enqueued it */
	jobs = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	look_at_job(jobs, PG_GETARG_INT64(0), &job, &situation);
	bgjob_rel_close(jobs);
	situation.service = bgjob_service_create();
	describe(&job, &situation);
	put_answers(result, &situation);
	bgjob_service_free(situation.service);
	return (Datum) 0;
}

/* ---- for the view ---- */

/* What is kept from row to row. */
typedef struct Kept
{
	TimestampTz statement; /* when the statement began that it was made for */
	BgjobService *service;
} Kept;

/* Returns what is known of who serves the jobs, as of the running statement. */
static BgjobService *
service_of_statement(FmgrInfo *call)
{
	Kept *kept = call->fn_extra;
	MemoryContext old;

	if (kept != NULL && kept->statement == GetCurrentStatementStartTimestamp())
		return kept->service;
	old = MemoryContextSwitchTo(call->fn_mcxt);
	if (kept == NULL)
		call->fn_extra = kept = palloc0(sizeof(Kept));
	if (kept->service != NULL)
		bgjob_service_free(kept->service);
	kept->service = NULL;
	kept->service = bgjob_service_create();
	kept->statement = GetCurrentStatementStartTimestamp();
	MemoryContextSwitchTo(old);
	return kept->service;
}

/* Returns what bgjob.jobs shows as the reason of a job that waits; NULL: no reason is known. */
static const char *
first_reason(const BgjobSituation *situation)
{
	for (int i = 0; i < bgjob_ncauses; i++)
		if (bgjob_cause_concerns(&bgjob_causes[i], situation) &&
			bgjob_causes[i].holds(situation, NULL))
			return bgjob_causes[i].shown != NULL ? bgjob_causes[i].shown
												 : bgjob_causes[i].reason;
	return NULL;
}

PG_FUNCTION_INFO_V1(bgjob_waiting_reason_sql);

/*
 * bgjob_internal.waiting_reason(state, role, queue, priority, pos, run_at, gate, id, kind) returns
 * the reason in the first row of bgjob_why() for a job that waits, as far as it is
 * known without reading the job; else null.
 */
Datum
bgjob_waiting_reason_sql(PG_FUNCTION_ARGS)
{
	BgjobSituation situation = {.priority = PG_GETARG_INT16(3), .pos = PG_GETARG_INT64(4)};
	const text *queue = PG_GETARG_TEXT_PP(2);
	const char *reason;

	situation.service = service_of_statement(fcinfo->flinfo);
	situation.state = bgjob_state_by_letter(PG_GETARG_CHAR(0));
	situation.queue = bgjob_service_queue(situation.service, VARDATA_ANY(queue),
										  (int) VARSIZE_ANY_EXHDR(queue));
	situation.role = bgjob_service_role(situation.service, PG_GETARG_OID(1), situation.queue);
	situation.run_at = PG_GETARG_TIMESTAMPTZ(5);
	situation.external = PG_GETARG_CHAR(8) == BGJOB_KIND_EXTERNAL;
	if (!situation.role->visible || bgjob_state_is_final(situation.state) ||
		bgjob_service_has_in_flight(situation.service, situation.pos))
		PG_RETURN_NULL();
	if (PG_GETARG_INT64(6) != 0)
		situation.gate = bgjob_gate_waits_at(PG_GETARG_INT64(6), PG_GETARG_INT64(7),
											 situation.priority, situation.pos);
	reason = first_reason(&situation);
	if (reason == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(reason));
}
