/*-------------------------------------------------------------------------
 *
 * filtercontext.c
 *	  What a filter is told of a job.
 *
 * The same in two shapes: a structure for hooks in C (include/bgjob.h), and
 * made from that, where a filter in SQL is called, a jsonb object. Keys of the
 * job are always there, null where it has nothing of the kind; those of the
 * event are there where the event has them, and those of options that are a
 * BGJOB_OPTION_COLUMN (store/optionlist.h) where the job has them.
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/json.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "run/filtercontext.h"
#include "run/tojson.h"
#include "store/option.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

static const char *
kind_name(BgjobKind kind)
{
	switch (kind)
	{
		case BGJOB_KIND_FUNCTION:
			return "function";
		case BGJOB_KIND_SQL:
			return "sql";
		case BGJOB_KIND_EXTERNAL:
			return "external";
	}
	return "unknown"; /* written by hand */
}

/* The options of a job that are told by their names; NULL: it has none. */
static const Jsonb *
told_options(const BgjobJob *job)
{
	JsonbParseState *state = NULL;

	for (int option = 0; option < BGJOB_NOPTIONS; option++)
	{
		const BgjobOptionInfo *info = &bgjob_options[option];
		BgjobColumn column = (BgjobColumn) info->job;

		if (!info->told || bgjob_job_is_null(job, column))
			continue;
		if (state == NULL)
			bgjob_json_begin(&state);
		bgjob_json_member(&state, info->name,
						  bgjob_to_jsonb(bgjob_job_datum(job, column), info->type));
	}
	return state == NULL ? NULL : bgjob_json_end(&state);
}

/* bgjob_filter_describe fills in the description of the job for every event; the caller adds the rest. */
void
bgjob_filter_describe(BgjobHookJob *told, const BgjobJob *job, BgjobState state)
{
	memset(told, 0, sizeof(*told));
	told->id = job->id;
	told->job = job->job;
	told->func = job->func;
	told->kind = kind_name(job->kind);
	told->args = bgjob_job_jsonb(job, BGJOB_C_ARGS);
	told->queue = job->queue;
	told->priority = job->priority;
	told->state = bgjob_state_name(state);
	told->run_as = job->run_as;
	told->max_retries = job->max_retries;
	told->retries = job->retries;
	told->has_run_at = !bgjob_job_is_null(job, BGJOB_C_RUN_AT);
	if (told->has_run_at)
		told->run_at = DatumGetTimestampTz(bgjob_job_datum(job, BGJOB_C_RUN_AT));
	if (!bgjob_job_is_null(job, BGJOB_C_TAGS))
		told->tags = DatumGetArrayTypeP(bgjob_job_datum(job, BGJOB_C_TAGS));
	told->parameters = bgjob_job_jsonb(job, BGJOB_C_PARAMETERS);
	told->options = told_options(job);
}

/* ---- as jsonb ---- */

static void
push_number(JsonbParseState **state, const char *key, int64 number)
{
	bgjob_json_number(state, key, int64_to_numeric(number));
}

/* The members of an object. */
static void
push_members(JsonbParseState **state, const Jsonb *object)
{
	JsonbIterator *iterator = JsonbIteratorInit(unconstify(JsonbContainer *, &object->root));
	JsonbIteratorToken token;
	JsonbValue value;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
		if (token == WJB_KEY || token == WJB_VALUE)
			pushJsonbValue(state, token, &value);
}

/* What every event has. */
static void
push_job(JsonbParseState **state, const BgjobHookJob *told)
{
	bgjob_json_text(state, "event", told->event);
	if (told->id != 0)
		push_number(state, "id", told->id);
	else
		bgjob_json_text(state, "id", NULL);
	bgjob_json_text(state, "job", told->job);
	bgjob_json_text(state, "function", told->func);
	bgjob_json_text(state, "kind", told->kind);
	bgjob_json_member(state, "args", told->args);
	bgjob_json_text(state, "queue", told->queue);
	push_number(state, "priority", told->priority);
	bgjob_json_text(state, "state", told->state);
	bgjob_json_text(state, "run_as", GetUserNameFromId(told->run_as, true));
	push_number(state, "max_retries", told->max_retries);
	push_number(state, "retries", told->retries);
	bgjob_json_member(state, "run_at",
					  told->has_run_at
						  ? bgjob_to_jsonb(TimestampTzGetDatum(told->run_at), TIMESTAMPTZOID)
						  : NULL);
	bgjob_json_member(
		state, "tags",
		told->tags != NULL ? bgjob_to_jsonb(PointerGetDatum(told->tags), TEXTARRAYOID) : NULL);
	bgjob_json_member(state, "parameters", told->parameters);
	if (told->options != NULL)
		push_members(state, told->options);
}

/* bgjob_filter_context returns what a filter in SQL is called with. */
Jsonb *
bgjob_filter_context(const BgjobHookJob *told)
{
	JsonbParseState *state = NULL;
	bool election = strcmp(told->event, "electing") == 0;

	bgjob_json_begin(&state);
	push_job(&state, told);
	if (election || strcmp(told->event, "applied") == 0)
	{
		bgjob_json_text(&state, "from", told->from);
		bgjob_json_text(&state, "reason", told->reason);
	}
	if (told->to != NULL)
		bgjob_json_text(&state, "to", told->to);
	if (told->error != NULL || election)
		bgjob_json_member(&state, "error", told->error);
	else if (strcmp(told->event, "performed") == 0)
		bgjob_json_member(&state, "result", told->result);
	return bgjob_json_end(&state);
}
