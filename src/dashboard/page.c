/*-------------------------------------------------------------------------
 *
 * page.c
 *	  The data of a page: what its statement returns.
 *
 * A page is a file in sql, whose statement is executed as the role that is signed in, in
 * a transaction that can only read, and with the values of the query string. The
 * answer is {"data": …, "ms": …}: the JSON of the server as it is, so that no number is
 * read and written on its way, and the time from sending the statement to its result.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/page.h"
#include "dashboard/database.h"
#include "dashboard/session.h"
#include "dashboard/values.h"

#include <string.h>

static void
page_done(void *owner, const Outcome *outcome)
{
	Request *request = owner;
	Buffer body = {0};

	if (outcome->status != 200)
	{
		request_fail_as(request, outcome);
		return;
	}
	buffer_room(&body, outcome->value_len + 64);
	buffer_add_text(&body, "{\"data\": ");
	if (outcome->value != NULL)
		buffer_add(&body, outcome->value, outcome->value_len);
	else
		buffer_add_text(&body, "null");
	buffer_print(&body, ", \"ms\": %.2f}\n", outcome->ms);
	request_answer(request, 200, "application/json", &body);
}

/* refuse answers that a parameter has a wrong value. */
static void
refuse(Request *request, const Parameter *parameter)
{
	Buffer detail = {0};

	buffer_print(&detail, "\"%s\" is one of %s", parameter->name, parameter->choices);
	request_fail(request, 400, NULL, "a parameter has a wrong value", detail.data, NULL);
	buffer_free(&detail);
}

/* page_request answers GET /api/d/DATABASE/NAME. */
void
page_request(Request *request, const char *name)
{
	WorkOrder order = {.statement = statement_find(STATEMENT_PAGE, name),
					   .read_only = true,
					   .done = page_done,
					   .owner = request};
	const Parameter *wrong;

	if (order.statement == NULL)
	{
		request_fail(request, 404, NULL, "there is no such page", NULL, NULL);
		return;
	}
	wrong = values_wrong_in_query(order.statement, request);
	if (wrong != NULL)
	{
		refuse(request, wrong);
		return;
	}
	order.values = values_from_query(order.statement, request);
	if (database_run(database_get(request->session->login, request->database), &order) == NULL)
		request_fail_busy(request);
}
