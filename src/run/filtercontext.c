/*-------------------------------------------------------------------------
 *
 * filtercontext.c
 *	  The description of a job that a filter receives.
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

/* Returns the options of a job that filters receive by their names; NULL: it has none. */
static const Jsonb *
context_options(const BgjobJob *job)
{
	JsonbParseState *state = NULL;

	for (int option = 0; option < BGJOB_NOPTIONS; option++)
	{
		const BgjobOptionInfo *info = &bgjob_options[option];
		BgjobColumn column = (BgjobColumn) info->job;

		if (!info->in_context || bgjob_job_is_null(job, column))
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
bgjob_filter_describe(BgjobHookJob *hook_job, const BgjobJob *job, BgjobState state)
{
	memset(hook_job, 0, sizeof(*hook_job));
	hook_job->id = job->id;
	hook_job->job = job->job;
	hook_job->func = job->func;
	hook_job->kind = kind_name(job->kind);
	hook_job->args = bgjob_job_jsonb(job, BGJOB_C_ARGS);
	hook_job->queue = job->queue;
	hook_job->priority = job->priority;
	hook_job->state = bgjob_state_name(state);
	hook_job->run_as = job->run_as;
	hook_job->max_retries = job->max_retries;
	hook_job->retries = job->retries;
	hook_job->has_run_at = !bgjob_job_is_null(job, BGJOB_C_RUN_AT);
	if (hook_job->has_run_at)
		hook_job->run_at = DatumGetTimestampTz(bgjob_job_datum(job, BGJOB_C_RUN_AT));
	if (!bgjob_job_is_null(job, BGJOB_C_TAGS))
		hook_job->tags = DatumGetArrayTypeP(bgjob_job_datum(job, BGJOB_C_TAGS));
	hook_job->parameters = bgjob_job_jsonb(job, BGJOB_C_PARAMETERS);
	hook_job->options = context_options(job);
}

/* ---- as jsonb ---- */

static void
push_number(JsonbParseState **state, const char *key, int64 number)
{
	bgjob_json_number(state, key, int64_to_numeric(number));
}

/* Adds the members of an object. */
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

/* Adds the members that all events have. */
static void
push_job(JsonbParseState **state, const BgjobHookJob *hook_job)
{
	bgjob_json_text(state, "event", hook_job->event);
	if (hook_job->id != 0)
		push_number(state, "id", hook_job->id);
	else
		bgjob_json_text(state, "id", NULL);
	bgjob_json_text(state, "job", hook_job->job);
	bgjob_json_text(state, "function", hook_job->func);
	bgjob_json_text(state, "kind", hook_job->kind);
	bgjob_json_member(state, "args", hook_job->args);
	bgjob_json_text(state, "queue", hook_job->queue);
	push_number(state, "priority", hook_job->priority);
	bgjob_json_text(state, "state", hook_job->state);
	bgjob_json_text(state, "run_as", GetUserNameFromId(hook_job->run_as, true));
	push_number(state, "max_retries", hook_job->max_retries);
	push_number(state, "retries", hook_job->retries);
	bgjob_json_member(
		state, "run_at",
		hook_job->has_run_at
			? bgjob_to_jsonb(TimestampTzGetDatum(hook_job->run_at), TIMESTAMPTZOID)
			: NULL);
	bgjob_json_member(state, "tags",
					  hook_job->tags != NULL
						  ? bgjob_to_jsonb(PointerGetDatum(hook_job->tags), TEXTARRAYOID)
						  : NULL);
	bgjob_json_member(state, "parameters", hook_job->parameters);
	if (hook_job->options != NULL)
		push_members(state, hook_job->options);
}

/* bgjob_filter_context returns what a filter in SQL is called with. */
Jsonb *
bgjob_filter_context(const BgjobHookJob *hook_job)
{
	JsonbParseState *state = NULL;
	bool election = strcmp(hook_job->event, "electing") == 0;

	bgjob_json_begin(&state);
	push_job(&state, hook_job);
	if (election || strcmp(hook_job->event, "applied") == 0)
	{
		bgjob_json_text(&state, "from", hook_job->from);
		bgjob_json_text(&state, "reason", hook_job->reason);
	}
	if (hook_job->to != NULL)
		bgjob_json_text(&state, "to", hook_job->to);
	if (hook_job->error != NULL || election)
		bgjob_json_member(&state, "error", hook_job->error);
	else if (strcmp(hook_job->event, "performed") == 0)
		bgjob_json_member(&state, "result", hook_job->result);
	return bgjob_json_end(&state);
}
