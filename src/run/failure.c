/*-------------------------------------------------------------------------
 *
 * failure.c
 *	  An error, as it is stored with a job.
 *
 * {"sqlstate", "message", "detail", "hint", "context"}; what an error does
 * not have is null, so that every failure has the same keys. Texts are cut at
 * a length that nobody reads beyond: a job must not fill its history with a
 * megabyte of context at each attempt.
 *
 * Runs in workers and in the scheduler.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "run/failure.h"

#define LONGEST_TEXT 8192 /* bytes */

static void
push(JsonbParseState **state, const char *key, const char *text)
{
	JsonbValue name = {.type = jbvString};
	JsonbValue value = {.type = jbvNull};

	name.val.string.val = unconstify(char *, key);
	name.val.string.len = strlen(key);
	pushJsonbValue(state, WJB_KEY, &name);
	if (text != NULL)
	{
		value.type = jbvString;
		value.val.string.val = unconstify(char *, text);
		value.val.string.len = pg_mbcliplen(text, strlen(text), LONGEST_TEXT);
	}
	pushJsonbValue(state, WJB_VALUE, &value);
}

/* bgjob_failure_json returns an error as it is stored with a job. */
Jsonb *
bgjob_failure_json(const ErrorData *error)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push(&state, "sqlstate", unpack_sql_state(error->sqlerrcode));
	push(&state, "message", error->message != NULL ? error->message : "");
	push(&state, "detail", error->detail);
	push(&state, "hint", error->hint);
	push(&state, "context", error->context);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}
