/*-------------------------------------------------------------------------
 *
 * health.c
 *	  For those that watch the program and the server: /healthz, /readyz, /metrics.
 *
 * /healthz answers as long as the loop turns. /readyz and /metrics (metrics.c) ask the server, over
 * connections of the program itself, by its connection options; they are made when one of
 * them is asked for, and closed when that has not happened for some minutes. Nobody who
 * signs in uses it, so the program may also run without.
 *
 * Nobody has to sign in for them. They tell what the program's own role may see, so
 * that should be one with few rights (a member of bgjob_monitor, or none).
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/health.h"
#include "client/memory.h"
#include "dashboard/database.h"
#include "dashboard/metrics.h"
#include "dashboard/values.h"

#include <stdlib.h>
#include <string.h>

static Login *own;

void
health_open(void)
{
	own = login_new(NULL, NULL);
}

void
health_close(void)
{
	database_close_all(own);
	login_release(own);
}

/* ask executes a statement on the program's own connection. */
static void
ask(Request *request, const char *name, void (*done)(void *owner, const Outcome *outcome))
{
	WorkOrder order = {.statement = statement_find(STATEMENT_INTERNAL, name),
					   .read_only = true,
					   .done = done,
					   .owner = request};

	order.values = values_of(order.statement);
	if (database_run(database_get(own, login_first_database()), &order) == NULL)
		request_answer_text(request, 503, "too many ask at the same time");
}

/* health_request answers /healthz. */
void
health_request(Request *request)
{
	request_answer_text(request, 200, "ok");
}

static void
ready_done(void *owner, const Outcome *outcome)
{
	if (outcome->status == 200)
		request_answer_text(owner, 200, "ok");
	else
		request_answer_text(owner, 503, outcome->message);
}

/* metrics_request answers /metrics. */
void
metrics_request(Request *request)
{
	metrics_answer(request, own);
}

/* ready_request answers /readyz. */
void
ready_request(Request *request)
{
	ask(request, "ready", ready_done);
}
