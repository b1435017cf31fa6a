/*-------------------------------------------------------------------------
 *
 * bulk.c
 *	  Actions on many jobs, in the background: /api/d/<database>/bulk.
 *
 *	  POST			begins one; the body is that of bulkorder.c. {"bulk": "7"}
 *	  POST ?preview=1	how many jobs there are by now: {"count", "complete", …}
 *	  GET			those of the role in the database, with their progress
 *	  DELETE /7		stops one, after the batch that runs
 *
 * Before a bulk begins or is previewed, the server checks the query and the times, in the
 * connection that the session's pages use, so that what is wrong with them is the answer.
 *
 * A bulk goes on when its session ends. It is the role's: whoever signs in as that role
 * sees it, and may stop it. A session may have SESSION_BULKS on their way, a role
 * ROLE_BULKS, however often it signs in, all together ALL_BULKS: each has a connection.
 * What has ended is listed for KEPT_FOR, or until there are too many.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/bulk.h"
#include "client/memory.h"
#include "dashboard/bulkrun.h"
#include "dashboard/login.h"
#include "dashboard/statement.h"

#include <stdlib.h>
#include <string.h>

#define SESSION_BULKS 2
#define ROLE_BULKS    4
#define ALL_BULKS     32
#define ROLE_LISTED   20
#define ALL_LISTED    200
#define KEPT_FOR      (600 * LOOP_SEC)

/* A preview looks so long for matching jobs, in steps. */
#define PREVIEW_TIME (1500 * LOOP_MS)
#define PREVIEW_STEP "300 ms"
#define PREVIEW_ROWS "10000"

/* A request that waits for what the server says of its order. */
typedef struct Asked
{
	BulkOrder order;
	Work *work;
	/* Of a preview. */
	int64_t until;
	int64_t count;
	int64_t looked_through;
	char *before_id;
} Asked;

static Bulk *bulks = NULL;
static int64_t last_number = 0;

static void count_more(Request *request);

/* ---- the list ---- */

static void
remove_bulk(Bulk *bulk)
{
	Bulk **link = &bulks;

	while (*link != bulk)
		link = &(*link)->next;
	*link = bulk->next;
	bulk_close(bulk);
	bulk_free(bulk);
}

static void
forget_due(LoopTimer *timer)
{
	remove_bulk(timer->owner);
}

/* ended is called when a bulk is over. It stays in the list for a while. */
static void
ended(Bulk *bulk)
{
	loop_set(&bulk->timer, loop_now() + KEPT_FOR, forget_due, bulk);
}

/* find_ended returns the bulk that ended first, of a role (null: of any); and how many of it are in the list. */
static Bulk *
find_ended(const char *user, int *count)
{
	Bulk *first = NULL;

	*count = 0;
	for (Bulk *bulk = bulks; bulk != NULL; bulk = bulk->next)
	{
		if (user != NULL && strcmp(bulk->login->user, user) != 0)
			continue;
		(*count)++;
		if (bulk->state != BULK_RUNNING)
			first = bulk; /* the list has the newest first */
	}
	return first;
}

/* make_room keeps the list within its bounds: nobody pushes others' out as long as there is one of the role itself. */
static void
make_room(const char *user)
{
	int count;
	Bulk *first = find_ended(user, &count);

	if (first != NULL && count >= ROLE_LISTED)
		remove_bulk(first);
	first = find_ended(NULL, &count);
	if (first != NULL && count >= ALL_LISTED)
		remove_bulk(first);
}

static bool
is_of_role(const Bulk *bulk, const Request *request)
{
	return strcmp(bulk->login->user, request->session->login->user) == 0 &&
		   strcmp(bulk->database_name, request->database) == 0;
}

/* may_begin returns whether few enough are on their way. */
static bool
may_begin(const Request *request)
{
	int of_session = 0;
	int of_role = 0;
	int of_all = 0;

	for (const Bulk *bulk = bulks; bulk != NULL; bulk = bulk->next)
	{
		if (bulk->state != BULK_RUNNING)
			continue;
		of_session += bulk->session == request->session;
		of_role += strcmp(bulk->login->user, request->session->login->user) == 0;
		of_all++;
	}
	return of_session < SESSION_BULKS && of_role < ROLE_BULKS && of_all < ALL_BULKS;
}

static void
add_time(Buffer *to, const char *name, time_t at)
{
	struct tm parts;
	char text[32] = "null";

	if (at != 0)
	{
		gmtime_r(&at, &parts);
		strftime(text, sizeof(text), "\"%Y-%m-%dT%H:%M:%SZ\"", &parts);
	}
	buffer_print(to, ", \"%s\": %s", name, text);
}

static void
add_member(Buffer *to, const char *name, const char *text)
{
	buffer_print(to, ", \"%s\": ", name);
	request_add_text(to, text);
}

static void
add_bulk(Buffer *to, const Bulk *bulk)
{
	bool stopping = bulk->state == BULK_RUNNING && bulk->stop;

	buffer_print(to, "{\"bulk\": \"%lld\"", (long long) bulk->number);
	add_member(to, "action", bulk->order.action->name);
	add_member(to, "query", bulk->order.query);
	add_member(to, "from_state", bulk->order.from_state);
	add_member(to, "state", stopping ? "stopping" : bulk_state_name(bulk->state));
	add_member(to, "user", bulk->login->user);
	add_time(to, "started_at", bulk->started_at);
	add_time(to, "ended_at", bulk->ended_at);
	buffer_print(to, ", \"percent\": %.1f, \"looked_at\": %lld, \"changed\": %lld",
				 bulk->percent, (long long) bulk->looked_at, (long long) bulk->changed);
	buffer_print(to, ", \"refused\": %lld, \"errors\": %lld, \"total\": ",
				 (long long) bulk->refused, (long long) bulk->errors);
	if (bulk->order.query == NULL)
		buffer_print(to, "%d", bulk->order.nids);
	else
		buffer_add_text(to, "null");
	add_member(to, "last_error", bulk->last_error);
	add_member(to, "last_sqlstate", bulk->last_error != NULL ? bulk->last_sqlstate : NULL);
	buffer_add_text(to, "}");
}

static void
answer_list(Request *request)
{
	Buffer body = {0};
	bool some = false;

	buffer_add_text(&body, "{\"bulks\": [");
	for (const Bulk *bulk = bulks; bulk != NULL; bulk = bulk->next)
		if (is_of_role(bulk, request))
		{
			buffer_add_text(&body, some ? ",\n" : "");
			add_bulk(&body, bulk);
			some = true;
		}
	buffer_add_text(&body, "]}\n");
	request_answer(request, 200, "application/json", &body);
}

/* ---- beginning ---- */

static void
asked_gone(Request *request)
{
	Asked *asked = request->owner;

	if (asked->work != NULL)
		work_forget(asked->work);
	bulk_order_free(&asked->order);
	free(asked->before_id);
	free(asked);
}

static void
refuse(Request *request, const char *wrong)
{
	request_fail(request, 400, "22023", wrong, NULL, NULL);
}

/* begin begins what a request has ordered, which the server has checked. */
static void
begin(Request *request)
{
	Asked *asked = request->owner;
	Bulk *bulk;
	Buffer body = {0};

	/* Again: two requests may have been checked at the same time. */
	if (!may_begin(request))
	{
		request->retry_after = 30;
		request_fail(request, 429, NULL, "too many bulks are on their way", NULL,
					 "Wait for one to end, or stop it.");
		return;
	}
	make_room(request->session->login->user);
	bulk = mem_zero(sizeof(*bulk));
	bulk->number = ++last_number;
	bulk->login = login_keep(request->session->login);
	bulk->session = request->session;
	bulk->database_name = mem_copy(request->database);
	bulk->order = asked->order;
	memset(&asked->order, 0, sizeof(asked->order));
	bulk->ended = ended;
	bulk->next = bulks;
	bulks = bulk;
	bulk_run(bulk);
	buffer_print(&body, "{\"bulk\": \"%lld\"}\n", (long long) bulk->number);
	request_answer(request, 202, "application/json", &body);
}

/* ask executes a statement for a request that waits; without room for it the request is answered at once. */
static void
ask(Request *request, const char *name, char *const *values, int count,
	void (*done)(void *, const Outcome *))
{
	Asked *asked = request->owner;
	WorkOrder order = {.statement = statement_find(STATEMENT_INTERNAL, name),
					   .read_only = true,
					   .done = done,
					   .owner = request};

	order.values = mem_zero(order.statement->count * sizeof(char *));
	for (int i = 0; i < count; i++)
		order.values[i] = mem_copy(values[i]);
	asked->work =
		database_run(database_get(request->session->login, request->database), &order);
	if (asked->work == NULL)
		request_fail_busy(request);
}

/* ---- previews ---- */

static void
answer_count(Request *request)
{
	const Asked *asked = request->owner;
	Buffer body = {0};

	buffer_print(&body,
				 "{\"count\": \"%lld\", \"complete\": %s, \"looked_through\": \"%lld\"}\n",
				 (long long) asked->count, asked->before_id == NULL ? "true" : "false",
				 (long long) asked->looked_through);
	request_answer(request, 200, "application/json", &body);
}

/* counted is called with a part of the jobs that match a query. */
static void
counted(void *owner, const Outcome *outcome)
{
	Request *request = owner;
	Asked *asked = request->owner;
	const PGresult *result = outcome->result;

	asked->work = NULL;
	if (outcome->status != 200)
	{
		request_fail_as(request, outcome);
		return;
	}
	asked->count += strtoll(PQgetvalue(result, 0, 1), NULL, 10);
	asked->looked_through += strtoll(PQgetvalue(result, 0, 2), NULL, 10);
	free(asked->before_id);
	asked->before_id = PQgetisnull(result, 0, 3) ? NULL : mem_copy(PQgetvalue(result, 0, 3));
	if (asked->before_id != NULL && loop_now() < asked->until)
		count_more(request);
	else
		answer_count(request);
}

/* given_counted is called with how many of the given jobs there are. */
static void
given_counted(void *owner, const Outcome *outcome)
{
	Request *request = owner;
	Asked *asked = request->owner;

	asked->work = NULL;
	if (outcome->status != 200)
	{
		request_fail_as(request, outcome);
		return;
	}
	asked->count = strtoll(PQgetvalue(outcome->result, 0, 0), NULL, 10);
	asked->looked_through = asked->order.nids;
	answer_count(request);
}

static void
count_more(Request *request)
{
	Asked *asked = request->owner;
	char *const values[] = {asked->order.query, asked->before_id, PREVIEW_ROWS, PREVIEW_STEP};

	ask(request, "bulk_search", values, 4, counted);
}

static void
preview(Request *request)
{
	Asked *asked = request->owner;
	char *ids;

	asked->until = loop_now() + PREVIEW_TIME;
	if (asked->order.query != NULL)
	{
		count_more(request);
		return;
	}
	ids = bulk_order_ids(asked->order.ids, asked->order.nids);
	ask(request, "bulk_count", (char *const[]){ids, asked->order.from_state}, 2, given_counted);
	free(ids);
}

/* ---- the interface ---- */

/* checked is called with what the server says of an order. It says that it is over, if the session ends meanwhile. */
static void
checked(void *owner, const Outcome *outcome)
{
	Request *request = owner;
	Asked *asked = request->owner;

	asked->work = NULL;
	if (outcome->status != 200)
		request_fail_as(request, outcome);
	else if (request_flag(request, "preview"))
		preview(request);
	else
		begin(request);
}

static void
check(Request *request)
{
	const BulkOrder *order = &((Asked *) request->owner)->order;
	char *const values[] = {order->query, order->delay, order->run_at};

	ask(request, "bulk_check", values, 3, checked);
}

static void
answer_post(Request *request)
{
	Asked *asked = mem_zero(sizeof(*asked));
	const char *wrong;

	request->owner = asked;
	request->gone = asked_gone;
	wrong = bulk_order_read(&asked->order, request->body.data, request->body.len);
	if (wrong != NULL)
		refuse(request, wrong);
	else
		check(request);
}

static void
answer_stop(Request *request, const char *number)
{
	char *end;
	long long wanted = strtoll(number, &end, 10);

	for (Bulk *bulk = bulks; bulk != NULL && *end == '\0'; bulk = bulk->next)
		if (is_of_role(bulk, request) && bulk->number == wanted)
		{
			bulk_stop(bulk);
			answer_list(request);
			return;
		}
	request_fail(request, 404, NULL, "there is no such bulk", NULL, NULL);
}

/* bulk_request deals with a request whose session and token are right. number: that of a bulk, or empty. */
void
bulk_request(Request *request, const char *number)
{
	bool one = *number != '\0';

	if (request->method == METHOD_GET && !one)
		answer_list(request);
	else if (request->method == METHOD_POST && !one)
		answer_post(request);
	else if (request->method == METHOD_DELETE && one)
		answer_stop(request, number);
	else
		request_fail(request, 405, NULL, "the method is not allowed here", NULL, NULL);
}

/* bulk_session_ended notes that a session has ended. Its bulks go on. */
void
bulk_session_ended(Session *session)
{
	for (Bulk *bulk = bulks; bulk != NULL; bulk = bulk->next)
		if (bulk->session == session)
			bulk->session = NULL;
}

/* bulks_close ends all of them, at the end of the program. A batch that runs is rolled back. */
void
bulks_close(void)
{
	while (bulks != NULL)
		remove_bulk(bulks);
}
