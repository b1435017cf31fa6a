/*-------------------------------------------------------------------------
 *
 * action.c
 *	  What a user can do: one statement each, executed as the role that is signed in.
 *
 * An action is a file in actions. Its values are the members of the request's body, a
 * JSON object. Whether the role may do it, the server decides. The answer is
 * {"result": …, "sql": "SELECT …"}, where sql is what was executed, with the values
 * written as literals, to be copied; with ?preview=1 it is that alone, and nothing is
 * executed.
 *
 * An action is executed once or not at all as far as the program knows: if the
 * connection is lost meanwhile, the answer is 503, and the statement is not repeated.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/action.h"
#include "client/json.h"
#include "dashboard/database.h"
#include "dashboard/session.h"
#include "dashboard/values.h"

#include <string.h>

static void
action_done(void *owner, const Outcome *outcome)
{
	Request *request = owner;
	Buffer body = {0};

	if (outcome->status != 200)
	{
		request_fail_as(request, outcome);
		return;
	}
	buffer_add_text(&body, "{");
	if (outcome->result != NULL)
	{
		buffer_add_text(&body, "\"result\": ");
		if (outcome->value != NULL)
			buffer_add(&body, outcome->value, outcome->value_len);
		else
			buffer_add_text(&body, "null");
		buffer_add_text(&body, ", ");
	}
	buffer_add_text(&body, "\"sql\": ");
	request_add_text(&body, outcome->sql);
	buffer_add_text(&body, "}\n");
	request_answer(request, 200, "application/json", &body);
}

/* action_request answers POST /api/d/DATABASE/do/NAME. */
void
action_request(Request *request, const char *name)
{
	WorkOrder order = {.statement = statement_find(STATEMENT_ACTION, name),
					   .show_sql = true,
					   .preview = request_flag(request, "preview"),
					   .done = action_done,
					   .owner = request};
	JsonValue object = {"{}", 2};

	if (order.statement == NULL)
	{
		request_fail(request, 404, NULL, "there is no such action", NULL, NULL);
		return;
	}
	if (request->body.len > 0 &&
		(json_check(request->body.data, request->body.len, &object) != NULL ||
		 !json_is_object(object)))
	{
		request_fail(request, 400, NULL, "the body is no JSON object", NULL, NULL);
		return;
	}
	order.values = values_from_json(order.statement, object);
	if (database_run(database_get(request->session->login, request->database), &order) == NULL)
		request_fail_busy(request);
}
