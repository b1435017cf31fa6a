/*-------------------------------------------------------------------------
 *
 * metrics.c
 *	  /metrics: the rows of bgjob.metrics in all databases, as text for Prometheus.
 *
 * The databases are asked one after the other, each on the program's own connection to
 * it (health.c): first which there are, then those that have the extension, as far as
 * that is known. One that turns out to have none, or that the program's role may not
 * connect to, is passed over. Any other failure ends the scrape with 503, so that
 * Prometheus sees a gap rather than sums that lack a part.
 *
 * The number of databases is bounded by that of the connections of a login.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/metrics.h"
#include "client/json.h"
#include "client/memory.h"
#include "client/options.h"
#include "dashboard/database.h"
#include "dashboard/prometheus.h"
#include "dashboard/values.h"

#include <stdlib.h>
#include <string.h>

/* A scrape. */
typedef struct Scrape
{
	Request *request;
	Login *own;
	Prometheus *page;
	char **names; /* of the databases that are left; ends with null */
	int at;
} Scrape;

static void ask_next(Scrape *scrape);

/* end answers, and frees the scrape. failure null: with the page. */
static void
end(Scrape *scrape, const char *failure)
{
	Buffer body = {0};

	prometheus_end(scrape->page, &body);
	if (failure == NULL)
		request_answer(scrape->request, 200, PROMETHEUS_CONTENT_TYPE, &body);
	else
	{
		buffer_free(&body);
		request_answer_text(scrape->request, 503, failure);
	}
	option_list_free(scrape->names);
	free(scrape);
}

/* ask executes a statement in a database. */
static void
ask(Scrape *scrape, const char *database, WorkOrder *order)
{
	order->read_only = true;
	order->owner = scrape;
	if (database_run(database_get(scrape->own, database), order) == NULL)
		end(scrape, "too many ask at the same time");
}

/* add_rows adds the metrics of a database. */
static void
add_rows(Prometheus *page, const PGresult *result)
{
	for (int row = 0; row < PQntuples(result); row++)
	{
		const char *columns[5];

		for (int i = 0; i < 5; i++)
			columns[i] = PQgetisnull(result, row, i) ? NULL : PQgetvalue(result, row, i);
		prometheus_add(page, columns[0], columns[1], columns[2], columns[3], columns[4]);
	}
}

static void
asked(void *owner, const Outcome *outcome)
{
	Scrape *scrape = owner;

	if (outcome->status == 200)
		add_rows(scrape->page, outcome->result);
	else if (outcome->status != 404 && outcome->status != 403)
	{
		end(scrape, outcome->message);
		return;
	}
	scrape->at++;
	ask_next(scrape);
}

/* ask_next asks the next database, or ends the scrape. */
static void
ask_next(Scrape *scrape)
{
	WorkOrder order = {.statement = statement_find(STATEMENT_INTERNAL, "metrics"),
					   .done = asked};

	if (scrape->names[scrape->at] == NULL)
	{
		end(scrape, NULL);
		return;
	}
	order.values = values_of(order.statement);
	ask(scrape, scrape->names[scrape->at], &order);
}

/* read_names reads the list of databases, a JSON array of strings. */
static char **
read_names(const Outcome *outcome)
{
	JsonValue array = {outcome->value, outcome->value_len};
	JsonValue element = {0};
	char **names = mem_zero((DATABASE_MOST_FOR_LOGIN + 1) * sizeof(char *));
	int count = 0;

	while (count < DATABASE_MOST_FOR_LOGIN && json_next(array, &element))
	{
		Buffer name = {0};

		json_string(element, &name);
		names[count++] = mem_copy_part(name.data, name.len);
		buffer_free(&name);
	}
	return names;
}

static void
listed(void *owner, const Outcome *outcome)
{
	Scrape *scrape = owner;

	if (outcome->status != 200 || outcome->value == NULL)
	{
		end(scrape, outcome->message);
		return;
	}
	scrape->names = read_names(outcome);
	ask_next(scrape);
}

/* metrics_answer answers /metrics, by the program's own login. */
void
metrics_answer(Request *request, Login *own)
{
	Scrape *scrape = mem_zero(sizeof(*scrape));
	WorkOrder order = database_order_list();

	scrape->request = request;
	scrape->own = own;
	scrape->page = prometheus_begin();
	order.done = listed;
	ask(scrape, login_first_database(), &order);
}
