/*-------------------------------------------------------------------------
 *
 * bulkorder.c
 *	  Unit tests of dashboard/bulkorder: which bodies are orders, which jobs they mean;
 *	  and random bodies, of which none may be an order without jobs.
 *
 *-------------------------------------------------------------------------
 */
#include "client/buffer.h"
#include "dashboard/bulkorder.h"
#include "tap.h"

#include <stdlib.h>
#include <string.h>

/* check compares what is said of a body: null if it is an order. The name of the test is the body. */
static void
check(const char *body, const char *expected)
{
	BulkOrder order = {0};
	const char *wrong = bulk_order_read(&order, body, strlen(body));

	is_true(expected == NULL ? wrong == NULL : wrong != NULL && strstr(wrong, expected) != NULL,
			*body != '\0' ? body : "an empty body");
	bulk_order_free(&order);
}

static void
check_bodies(void)
{
	check("{\"action\":\"delete\",\"query\":\"queue:mail\"}", NULL);
	check("{\"action\":\"requeue\",\"ids\":[\"1\",2],\"from_state\":\"failed\"}", NULL);
	check("{\"action\":\"reschedule\",\"ids\":[1],\"delay\":\"5 min\"}", NULL);
	check("{\"action\":\"reschedule\",\"ids\":[1],\"run_at\":\"tomorrow\",\"delay\":null}",
		  NULL);
	check("{\"action\":\"change\",\"query\":\"x\",\"ids\":null,\"priority\":-1}", NULL);
	check("", "early");
	check("[]", "not an object");
	check("{}", "action");
	check("{\"action\":7,\"query\":\"x\"}", "action");
	check("{\"action\":\"delete\",\"query\":\"\"}", "all jobs");
	check("{\"action\":\"delete\",\"query\":\" \\t\\n\"}", "all jobs");
	check("{\"action\":\"delete\",\"query\":5}", "not a text");
	check("{\"action\":\"delete\",\"query\":[\"x\"]}", "not a text");
	check("{\"action\":\"delete\",\"query\":null}", "either");
	check("{\"action\":\"delete\",\"query\":\"x\",\"ids\":[1]}", "either");
	check("{\"action\":\"delete\",\"ids\":{}}", "not an array");
	check("{\"action\":\"delete\",\"ids\":[]}", "empty");
	check("{\"action\":\"delete\",\"ids\":[0]}", "not the id");
	check("{\"action\":\"delete\",\"ids\":[1.5]}", "not the id");
	check("{\"action\":\"delete\",\"ids\":[\" 1\"]}", "not the id");
	check("{\"action\":\"delete\",\"ids\":[1,null]}", "not the id");
	check("{\"action\":\"delete\",\"ids\":[9223372036854775808]}", "not the id");
	check("{\"action\":\"delete\",\"ids\":[1],\"from_state\":\"Failed\"}", "not a state");
	check("{\"action\":\"delete\",\"ids\":[1],\"from_state\":true}", "not a state");
	check("{\"action\":\"delete\",\"ids\":[1],\"state\":\"failed\"}", "unknown member");
	check("{\"action\":\"delete\",\"ids\":[1],\"queue\":\"x\"}", "neither queue nor priority");
	check("{\"action\":\"requeue\",\"ids\":[1],\"delay\":\"1 h\"}", "no time");
	check("{\"action\":\"reschedule\",\"ids\":[1]}", "either");
	check("{\"action\":\"change\",\"ids\":[1]}", "needs");
	check("{\"action\":\"change\",\"ids\":[1],\"queue\":[\"x\"]}",
		  "neither a text nor a number");
}

static void
check_ids(void)
{
	static const char body[] =
		"{\"action\":\"delete\",\"ids\":[7,\"9223372036854775807\",3,\"7\",3]}";
	BulkOrder order = {0};
	char *array;

	is_true(bulk_order_read(&order, body, strlen(body)) == NULL && order.nids == 3,
			"each id is there once");
	array = bulk_order_ids(order.ids, order.nids);
	is_true(strcmp(array, "{3,7,9223372036854775807}") == 0, "in ascending order");
	free(array);
	array = bulk_order_ids(order.ids, 0);
	is_true(strcmp(array, "{}") == 0, "no ids are an empty array");
	free(array);
	bulk_order_free(&order);
}

/* check_limit reads a body with so many ids. */
static void
check_limit(int count, bool expected, const char *what)
{
	Buffer body = {0};
	BulkOrder order = {0};

	buffer_add_text(&body, "{\"action\":\"delete\",\"ids\":[1");
	for (int i = 2; i <= count; i++)
		buffer_print(&body, ",%d", i);
	buffer_add_text(&body, "]}");
	is_true((bulk_order_read(&order, body.data, body.len) == NULL) == expected, what);
	bulk_order_free(&order);
	buffer_free(&body);
}

/* check_random changes bytes of a body. What is still an order has an action and jobs. */
static void
check_random(void)
{
	static const char body[] = "{\"action\":\"change\",\"ids\":[\"12\",3],\"query\":null,"
							   "\"from_state\":\"failed\",\"queue\":\"x\"}";
	bool sound = true;

	srand(20);
	for (int i = 0; i < 100000; i++)
	{
		char *copy = malloc(sizeof(body) - 1);
		BulkOrder order = {0};

		memcpy(copy, body, sizeof(body) - 1);
		for (int changes = 1 + rand() % 4; changes > 0; changes--)
			copy[rand() % (sizeof(body) - 1)] =
				(char) (rand() % 2 ? body[rand() % 40] : rand());
		if (bulk_order_read(&order, copy, sizeof(body) - 1) == NULL)
			sound = sound && order.action != NULL && (order.query != NULL) != (order.nids > 0);
		bulk_order_free(&order);
		free(copy);
	}
	is_true(sound, "a random body is an order with jobs, or none");
}

int
main(void)
{
	check_bodies();
	check_ids();
	check_limit(10000, true, "ten thousand ids are an order");
	check_limit(10001, false, "one more is too many");
	check_random();
	return tap_end();
}
