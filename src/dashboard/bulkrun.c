/*-------------------------------------------------------------------------
 *
 * bulkrun.c
 *	  A bulk of jobs on its way: batch after batch, over a connection of its own.
 *
 * A batch is some hundred ids, dealt with by one statement, which is one transaction:
 *
 *	  bulk_run ──► step ──► search for the next ids ──► step ──► the batch's statement ──┐
 *	                ▲                                                                    │
 *	                └────────────────────────────────────────────────────────────────────┘
 *
 * If a batch fails, because of one of its jobs, its jobs are dealt with one by one, and
 * those that fail are counted. Whether a job is still in the expected state is for the
 * server to say, in that transaction.
 *
 * The search goes from newer jobs to older ones, by their ids, and never back. So no job
 * is met twice, whatever becomes of it, and a job that is enqueued while the bulk is on
 * its way has a higher id than those that are still looked at.
 *
 * A bulk ends when there are no more jobs, when it is stopped, when its connection is
 * lost (what it has done stays done), after MOST_ERRORS errors in a row, or after
 * MOST_TIME.
 *
 *-------------------------------------------------------------------------
 */
#include "dashboard/bulkrun.h"
#include "client/log.h"
#include "client/memory.h"
#include "client/utf8.h"
#include "dashboard/login.h"
#include "dashboard/statement.h"

#include <stdlib.h>
#include <string.h>

#define BATCH       200
#define BATCH_TEXT  "200"
#define SEARCH_TIME "1 s"
#define MOST_ERRORS 1000
#define MOST_ERROR  1000 /* bytes of a message */
#define MOST_TIME   (6 * 3600 * LOOP_SEC)

static void step(Bulk *bulk);

/* ---- the end ---- */

const char *
bulk_state_name(BulkState state)
{
	static const char *const names[] = {"running", "done", "stopped", "failed"};

	return names[state];
}

static void
end_bulk(Bulk *bulk, BulkState state)
{
	bulk->state = state;
	bulk->ended_at = time(NULL);
	if (state == BULK_DONE)
		bulk->percent = 100;
	log_info("bulk %lld (%s) of \"%s\" in database \"%s\" %s: %lld jobs changed, %lld refused, "
			 "%lld errors",
			 (long long) bulk->number, bulk->order.action->name, bulk->login->user,
			 bulk->database_name, bulk_state_name(state), (long long) bulk->changed,
			 (long long) bulk->refused, (long long) bulk->errors);
	bulk_close(bulk);
	bulk->ended(bulk);
}

static void
note_error(Bulk *bulk, const Outcome *outcome)
{
	free(bulk->last_error);
	bulk->last_error = mem_copy_part(
		outcome->message, utf8_cut(outcome->message, strlen(outcome->message), MOST_ERROR));
	snprintf(bulk->last_sqlstate, sizeof(bulk->last_sqlstate), "%s",
			 outcome->sqlstate != NULL ? outcome->sqlstate : "");
}

static void
fail(Bulk *bulk, const Outcome *outcome)
{
	note_error(bulk, outcome);
	end_bulk(bulk, BULK_FAILED);
}

/* ---- the ids ---- */

/* read_ids reads an array of PostgreSQL into the batch, in ascending order: the search has the newest first. */
static void
read_ids(Bulk *bulk, const char *text)
{
	int count = 0;

	for (const char *at = text + strspn(text, "{"); *at >= '0' && *at <= '9' && count < BATCH;
		 count++)
	{
		char *end;

		bulk->batch[count] = strtoll(at, &end, 10);
		at = end + (*end == ',');
	}
	for (int i = 0; i < count / 2; i++)
	{
		int64_t id = bulk->batch[i];

		bulk->batch[i] = bulk->batch[count - 1 - i];
		bulk->batch[count - 1 - i] = id;
	}
	bulk->batch_size = count;
}

static int64_t
number_at(const PGresult *result, int column)
{
	return PQgetisnull(result, 0, column) ? 0
										  : strtoll(PQgetvalue(result, 0, column), NULL, 10);
}

/* searched is called with the next ids. */
static void
searched(void *owner, const Outcome *outcome)
{
	Bulk *bulk = owner;

	bulk->work = NULL;
	if (outcome->status != 200)
	{
		fail(bulk, outcome);
		return;
	}
	read_ids(bulk, PQgetvalue(outcome->result, 0, 0));
	bulk->looked_at += number_at(outcome->result, 2);
	bulk->before_id = number_at(outcome->result, 3);
	bulk->searched = bulk->before_id == 0;
	if (bulk->first_id == 0)
		bulk->first_id =
			bulk->batch_size > 0 ? bulk->batch[bulk->batch_size - 1] : bulk->before_id;
	if (bulk->first_id > 0)
		bulk->percent =
			100.0 * (double) (bulk->first_id - bulk->before_id) / (double) bulk->first_id;
	step(bulk);
}

static void
search(Bulk *bulk)
{
	WorkOrder order = {.statement = statement_find(STATEMENT_INTERNAL, "bulk_search"),
					   .read_only = true,
					   .done = searched,
					   .owner = bulk};

	order.values = mem_zero(order.statement->count * sizeof(char *));
	order.values[0] = mem_copy(bulk->order.query);
	order.values[1] =
		bulk->before_id > 0 ? mem_print("%lld", (long long) bulk->before_id) : NULL;
	order.values[2] = mem_copy(BATCH_TEXT);
	order.values[3] = mem_copy(SEARCH_TIME);
	bulk->work = database_run(bulk->database, &order);
}

/* next_given takes the next of the ids that were given; there are some. */
static void
next_given(Bulk *bulk)
{
	int left = bulk->order.nids - (int) bulk->looked_at;

	bulk->batch_size = left < BATCH ? left : BATCH;
	memcpy(bulk->batch, bulk->order.ids + bulk->looked_at,
		   bulk->batch_size * sizeof(*bulk->batch));
	bulk->looked_at += bulk->batch_size;
	bulk->searched = bulk->looked_at == bulk->order.nids;
	bulk->percent = 100.0 * (double) bulk->looked_at / bulk->order.nids;
}

/* ---- the batch ---- */

/* batch_failed deals with an error: of a batch, which is tried again job by job, or of a job. */
static void
batch_failed(Bulk *bulk, const Outcome *outcome)
{
	if (outcome->status == 503)
	{
		fail(bulk, outcome);
		return;
	}
	if (bulk->batch_sent > 1)
	{
		bulk->one_by_one = true;
		step(bulk);
		return;
	}
	note_error(bulk, outcome);
	bulk->errors++;
	bulk->batch_at++;
	if (++bulk->errors_in_a_row == MOST_ERRORS)
		end_bulk(bulk, BULK_FAILED);
	else
		step(bulk);
}

static void
batch_done(void *owner, const Outcome *outcome)
{
	Bulk *bulk = owner;
	int64_t changed;

	bulk->work = NULL;
	if (outcome->status != 200)
	{
		batch_failed(bulk, outcome);
		return;
	}
	changed = number_at(outcome->result, 0);
	bulk->changed += changed;
	bulk->refused += bulk->batch_sent - changed;
	bulk->batch_at += bulk->batch_sent;
	bulk->errors_in_a_row = 0;
	step(bulk);
}

/* value_of returns the value of a parameter of the action's statement, by its name. */
static char *
value_of(const Bulk *bulk, const char *name)
{
	const BulkOrder *order = &bulk->order;

	if (strcmp(name, "ids") == 0)
		return bulk_order_ids(bulk->batch + bulk->batch_at, bulk->batch_sent);
	if (strcmp(name, "from_state") == 0)
		return mem_copy(order->from_state);
	if (strcmp(name, "delay") == 0)
		return mem_copy(order->delay);
	if (strcmp(name, "run_at") == 0)
		return mem_copy(order->run_at);
	if (strcmp(name, "queue") == 0)
		return mem_copy(order->queue);
	return mem_copy(order->priority);
}

static void
send_batch(Bulk *bulk)
{
	const char *name = bulk->order.action->statement;
	WorkOrder order = {.statement = statement_find(STATEMENT_INTERNAL, name),
					   .done = batch_done,
					   .owner = bulk};

	bulk->batch_sent = bulk->one_by_one ? 1 : bulk->batch_size - bulk->batch_at;
	order.values = mem_zero(order.statement->count * sizeof(char *));
	for (int i = 0; i < order.statement->count; i++)
		order.values[i] = value_of(bulk, order.statement->parameters[i].name);
	bulk->work = database_run(bulk->database, &order);
}

/* step does what comes next. */
static void
step(Bulk *bulk)
{
	if (bulk->stop || loop_now() > bulk->deadline)
	{
		end_bulk(bulk, BULK_STOPPED);
		return;
	}
	if (bulk->batch_at == bulk->batch_size)
	{
		bulk->batch_at = bulk->batch_size = 0;
		bulk->one_by_one = false;
		if (bulk->searched)
		{
			end_bulk(bulk, BULK_DONE);
			return;
		}
		if (bulk->order.query != NULL)
		{
			search(bulk);
			return;
		}
		next_given(bulk);
	}
	if (bulk->batch_size > 0)
		send_batch(bulk);
	else
		step(bulk);
}

/* ---- the interface ---- */

/* bulk_run begins a bulk whose order is given. bulk->ended is called when it is over. */
void
bulk_run(Bulk *bulk)
{
	bulk->state = BULK_RUNNING;
	bulk->started_at = time(NULL);
	bulk->deadline = loop_now() + MOST_TIME;
	bulk->batch = mem_alloc(BATCH * sizeof(*bulk->batch));
	bulk->database = database_open_own(bulk->login, bulk->database_name);
	step(bulk);
}

/* bulk_stop has a bulk end after the batch that runs. */
void
bulk_stop(Bulk *bulk)
{
	bulk->stop = true;
}

/* bulk_close ends the connection of a bulk, in the middle of a batch if need be; that is rolled back then. */
void
bulk_close(Bulk *bulk)
{
	loop_unset(&bulk->timer);
	if (bulk->work != NULL)
		work_forget(bulk->work);
	bulk->work = NULL;
	if (bulk->database != NULL)
		database_close(bulk->database);
	bulk->database = NULL;
}

/* bulk_free frees a bulk that is closed. */
void
bulk_free(Bulk *bulk)
{
	bulk_order_free(&bulk->order);
	login_release(bulk->login);
	free(bulk->database_name);
	free(bulk->last_error);
	free(bulk->batch);
	free(bulk);
}
