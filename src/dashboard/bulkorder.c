/*-------------------------------------------------------------------------
 *
 * bulkorder.c
 *	  What a bulk is to do, and to which jobs, as a request's body says it.
 *
 *	  {"action": "delete" | "requeue" | "reschedule" | "change",
 *	   "query": "queue:mail state:failed"  or  "ids": ["12", 13, …],
 *	   "from_state": "failed",					the others are left alone
 *	   "delay": "5 min"  or  "run_at": "…",		of reschedule
 *	   "queue": "slow", "priority": -1}			of change
 *
 * A query that is empty would mean every job there is, and is refused, as is a name
 * that is not in the list: a body with a misspelled "from_state" must not do more than
 * was meant. What a query, a delay or a time says is the server's to check.
 *
 * Pure functions.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/bulkorder.h"
#include "client/json.h"
#include "client/memory.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MOST_IDS  10000
#define MOST_TEXT 4000 /* bytes of a query, or of another text */

static const BulkAction actions[] = {
	{"delete", "bulk_delete", false, false},
	{"requeue", "bulk_requeue", false, false},
	{"reschedule", "bulk_reschedule", true, false},
	{"change", "bulk_change", false, true},
};

static const char *const states[] = {"enqueued",  "scheduled", "awaiting", "processing",
									 "succeeded", "failed",    "deleted"};

/* The members of the body. */
typedef enum Member
{
	MEMBER_ACTION,
	MEMBER_QUERY,
	MEMBER_IDS,
	MEMBER_FROM_STATE,
	MEMBER_DELAY,
	MEMBER_RUN_AT,
	MEMBER_QUEUE,
	MEMBER_PRIORITY,
	MEMBER_COUNT
} Member;

static const char *const members[MEMBER_COUNT] = {"action", "query",  "ids",   "from_state",
												  "delay",  "run_at", "queue", "priority"};

static bool
is_given(JsonValue value)
{
	return value.start != NULL && !json_is(value, "null");
}

/* text_of returns the text of a string, or the digits of a number; null for everything else, and if it is too long. */
static char *
text_of(JsonValue value)
{
	Buffer text = {0};
	char *copy = NULL;

	if (!is_given(value) || value.len > MOST_TEXT)
		return NULL;
	if (json_is_number(value))
		return mem_copy_part(value.start, value.len);
	if (json_string(value, &text))
		copy = mem_copy_part(text.data, text.len);
	buffer_free(&text);
	return copy;
}

/* read_id reads an id that is written as a number or as a string of digits. */
static bool
read_id(JsonValue value, int64_t *id)
{
	char *text = text_of(value);
	char *end = text;
	bool valid = false;

	if (text != NULL && isdigit((unsigned char) text[0]))
	{
		errno = 0;
		*id = strtoll(text, &end, 10);
		valid = *end == '\0' && errno == 0 && *id > 0;
	}
	free(text);
	return valid;
}

static int
compare_ids(const void *left, const void *right)
{
	int64_t a = *(const int64_t *) left;
	int64_t b = *(const int64_t *) right;

	return a < b ? -1 : a > b;
}

/* sort_ids puts the ids in their order, each once. */
static void
sort_ids(BulkOrder *order)
{
	int kept = 0;

	qsort(order->ids, order->nids, sizeof(*order->ids), compare_ids);
	for (int i = 0; i < order->nids; i++)
		if (kept == 0 || order->ids[i] != order->ids[kept - 1])
			order->ids[kept++] = order->ids[i];
	order->nids = kept;
}

static const char *
read_ids(BulkOrder *order, JsonValue array)
{
	JsonValue element = {0};

	if (!json_is_array(array))
		return "\"ids\" is not an array";
	order->ids = mem_alloc(MOST_IDS * sizeof(*order->ids));
	while (json_next(array, &element))
	{
		if (order->nids == MOST_IDS)
			return "there are more than 10000 ids";
		if (!read_id(element, &order->ids[order->nids]))
			return "an element of \"ids\" is not the id of a job";
		order->nids++;
	}
	if (order->nids == 0)
		return "\"ids\" is empty";
	sort_ids(order);
	return NULL;
}

static bool
is_blank(const char *text)
{
	return text[strspn(text, " \t\r\n\f\v")] == '\0';
}

/* read_jobs reads to which jobs it is to be done. */
static const char *
read_jobs(BulkOrder *order, const JsonValue *values)
{
	bool by_query = is_given(values[MEMBER_QUERY]);

	if (by_query == is_given(values[MEMBER_IDS]))
		return "either \"query\" or \"ids\" says which jobs are meant";
	if (!by_query)
		return read_ids(order, values[MEMBER_IDS]);
	order->query = text_of(values[MEMBER_QUERY]);
	if (order->query == NULL || !json_is_string(values[MEMBER_QUERY]))
		return "\"query\" is not a text, or too long";
	return is_blank(order->query) ? "an empty query would mean all jobs" : NULL;
}

static const char *
read_action(BulkOrder *order, JsonValue value)
{
	char *name = text_of(value);

	for (size_t i = 0; name != NULL && i < sizeof(actions) / sizeof(actions[0]); i++)
		if (strcmp(name, actions[i].name) == 0)
			order->action = &actions[i];
	free(name);
	return order->action != NULL
			   ? NULL
			   : "\"action\" is none of delete, requeue, reschedule and change";
}

static const char *
read_state(BulkOrder *order, JsonValue value)
{
	if (!is_given(value))
		return NULL;
	order->from_state = text_of(value);
	for (size_t i = 0; order->from_state != NULL && i < sizeof(states) / sizeof(states[0]); i++)
		if (strcmp(order->from_state, states[i]) == 0)
			return NULL;
	return "\"from_state\" is not a state of jobs";
}

/* read_details reads what the action needs beside the jobs, and refuses what it does not take. */
static const char *
read_details(BulkOrder *order, const JsonValue *values)
{
	char **texts[] = {&order->delay, &order->run_at, &order->queue, &order->priority};
	const Member of[] = {MEMBER_DELAY, MEMBER_RUN_AT, MEMBER_QUEUE, MEMBER_PRIORITY};
	bool times;
	bool places;

	for (int i = 0; i < 4; i++)
	{
		*texts[i] = text_of(values[of[i]]);
		if (is_given(values[of[i]]) && *texts[i] == NULL)
			return "a member is neither a text nor a number, or too long";
	}
	times = (order->delay != NULL) != (order->run_at != NULL);
	places = order->queue != NULL || order->priority != NULL;
	if (order->action->takes_time && !times)
		return "reschedule needs either \"delay\" or \"run_at\"";
	if (order->action->takes_place && !places)
		return "change needs \"queue\" or \"priority\"";
	if (!order->action->takes_time && (order->delay != NULL || order->run_at != NULL))
		return "the action takes no time";
	if (!order->action->takes_place && places)
		return "the action takes neither queue nor priority";
	return NULL;
}

/* read_body reads a body whose JSON is well-formed. */
static const char *
read_body(BulkOrder *order, JsonValue body)
{
	JsonValue values[MEMBER_COUNT];
	const char *wrong;

	if (!json_is_object(body))
		return "the body is not an object";
	if (json_members(body, members, values, MEMBER_COUNT) > 0)
		return "the body has an unknown member";
	if ((wrong = read_action(order, values[MEMBER_ACTION])) == NULL &&
		(wrong = read_state(order, values[MEMBER_FROM_STATE])) == NULL &&
		(wrong = read_details(order, values)) == NULL)
		wrong = read_jobs(order, values);
	return wrong;
}

/*
 * bulk_order_read reads a body into an empty order. Returns null, or what is wrong with
 * the body; the order is to be freed in both cases.
 */
const char *
bulk_order_read(BulkOrder *order, const char *text, size_t len)
{
	JsonValue body;
	const char *wrong = json_check(text, len, &body);

	return wrong != NULL ? wrong : read_body(order, body);
}

/* bulk_order_ids writes ids as an array of PostgreSQL. */
char *
bulk_order_ids(const int64_t *ids, int count)
{
	Buffer array = {0};
	char *copy;

	buffer_add(&array, "{", 1);
	for (int i = 0; i < count; i++)
		buffer_print(&array, i > 0 ? ",%lld" : "%lld", (long long) ids[i]);
	buffer_add(&array, "}", 1);
	copy = mem_copy_part(array.data, array.len);
	buffer_free(&array);
	return copy;
}

void
bulk_order_free(BulkOrder *order)
{
	free(order->query);
	free(order->ids);
	free(order->from_state);
	free(order->delay);
	free(order->run_at);
	free(order->queue);
	free(order->priority);
	memset(order, 0, sizeof(*order));
}
