/*-------------------------------------------------------------------------
 *
 * failure.c
 *	  An error, as it is stored with a job.
 *
 * {"sqlstate", "message", "detail", "hint", "context"}; what an error does
 * not have is null, so that every failure has the same keys. Texts are cut at
 * a readable length: a job must not fill its history with a
 * megabyte of context at each attempt.
 *
 * Runs in workers and in the scheduler.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/json.h"
#include "base/text.h"
#include "run/failure.h"

/* Adds a text, cut to BGJOB_REASON_MAX; null for NULL. */
static void
push(JsonbParseState **state, const char *key, const char *text)
{
	bgjob_json_text(state, key, bgjob_text_cut(text, BGJOB_REASON_MAX));
}

/* bgjob_failure_json returns an error as it is stored with a job. */
Jsonb *
bgjob_failure_json(const ErrorData *error)
{
	JsonbParseState *state = NULL;

	bgjob_json_begin(&state);
	push(&state, "sqlstate", unpack_sql_state(error->sqlerrcode));
	push(&state, "message", error->message != NULL ? error->message : "");
	push(&state, "detail", error->detail);
	push(&state, "hint", error->hint);
	push(&state, "context", error->context);
	return bgjob_json_end(&state);
}
