/*-------------------------------------------------------------------------
 *
 * answers.c
 *	  Answers on their way to the server.
 *
 * An answer waits, is sent, and is freed when the transaction that it was sent in has
 * been confirmed. All that wait go in one transaction, up to SET_BYTES, one statement
 * for each kind. If the server refuses that, they are sent apart, one in each
 * transaction, until all of them are through. One that is refused alone is replaced:
 * a result that cannot be stored by a failure that says so, a failure by one without
 * its detail. Then it is given up: the lease ends by itself.
 *
 * The server returns the jobs that were not ours any more. That is no error: somebody
 * else has them, or the answer was received before a connection broke.
 *
 *-------------------------------------------------------------------------
 */
#include "worker/answers.h"
#include "client/log.h"
#include "client/loop.h"
#include "client/memory.h"
#include "client/utf8.h"
#include "worker/config.h"
#include "worker/pipeline.h"
#include "worker/worker.h"

#include <stdlib.h>
#include <string.h>

#define SET_COUNT 1000
#define SET_BYTES (4 * 1024 * 1024)

static AnswerList waiting;
static AnswerList sent;
static int apart = 0; /* answers that are sent one by one */

/* answers_give takes an answer over. */
void
answers_give(Answer *answer)
{
	answers_add(&waiting, answer);
}

/* answers_left returns how many answers have not been confirmed. */
int
answers_left(void)
{
	return waiting.count + sent.count;
}

bool
answers_to_send(void)
{
	return waiting.count > 0;
}

/* answers_are_apart returns whether answers are sent one by one, without a fetch. */
bool
answers_are_apart(void)
{
	return apart > 0 && waiting.count > 0;
}

static void
add_ids_of(Buffer *ids, const AnswerList *list)
{
	for (const Answer *answer = list->first; answer != NULL; answer = answer->next)
		array_add_int64(ids, answer->id);
}

/* answers_add_ids adds the jobs of all answers that have not been confirmed to an array. */
void
answers_add_ids(Buffer *ids)
{
	add_ids_of(ids, &waiting);
	add_ids_of(ids, &sent);
}

static void
send_complete(int count)
{
	static Buffer ids, results;
	PipelineValue values[3] = {pipeline_text(config.name)};

	array_begin(&ids, TYPE_INT8, count);
	array_begin(&results, TYPE_JSONB, count);
	for (const Answer *answer = sent.first; answer != NULL; answer = answer->next)
		if (answer->kind == ANSWER_COMPLETE)
		{
			array_add_int64(&ids, answer->id);
			array_add_jsonb(&results, answer->text, answer->len);
		}
	values[1] = pipeline_array(&ids);
	values[2] = pipeline_array(&results);
	pipeline_send(STATEMENT_COMPLETE, values, 3);
}

static void
send_fail(int count)
{
	static Buffer ids, errors, details, retries;
	PipelineValue values[5] = {pipeline_text(config.name)};

	array_begin(&ids, TYPE_INT8, count);
	array_begin(&errors, TYPE_TEXT, count);
	array_begin(&details, TYPE_JSONB, count);
	array_begin(&retries, TYPE_BOOL, count);
	for (const Answer *answer = sent.first; answer != NULL; answer = answer->next)
		if (answer->kind == ANSWER_FAIL)
		{
			array_add_int64(&ids, answer->id);
			array_add_text(&errors, answer->text, answer->len);
			array_add_jsonb(&details, answer->detail,
							answer->detail != NULL ? strlen(answer->detail) : 0);
			array_add_bool(&retries, answer->retry);
		}
	values[1] = pipeline_array(&ids);
	values[2] = pipeline_array(&errors);
	values[3] = pipeline_array(&details);
	values[4] = pipeline_array(&retries);
	pipeline_send(STATEMENT_FAIL, values, 5);
}

static void
send_release(int count)
{
	static Buffer ids, delays;
	PipelineValue values[3] = {pipeline_text(config.name)};

	array_begin(&ids, TYPE_INT8, count);
	array_begin(&delays, TYPE_FLOAT8, count);
	for (const Answer *answer = sent.first; answer != NULL; answer = answer->next)
		if (answer->kind == ANSWER_RELEASE)
		{
			array_add_int64(&ids, answer->id);
			if (answer->delay >= 0)
				array_add_double(&delays, answer->delay);
			else
				array_add_null(&delays);
		}
	values[1] = pipeline_array(&ids);
	values[2] = pipeline_array(&delays);
	pipeline_send(STATEMENT_RELEASE, values, 3);
}

/* answers_send sends the next set; the caller ends the transaction. */
void
answers_send(void)
{
	int counts[ANSWER_RELEASE + 1] = {0};
	int most = apart > 0 ? 1 : SET_COUNT;

	while (waiting.count > 0 && sent.count < most &&
		   (sent.count == 0 || sent.bytes + waiting.first->len <= SET_BYTES))
	{
		Answer *answer = answers_take(&waiting);

		answer->counts = true;
		counts[answer->kind]++;
		answers_add(&sent, answer);
	}
	if (counts[ANSWER_COMPLETE] > 0)
		send_complete(counts[ANSWER_COMPLETE]);
	if (counts[ANSWER_FAIL] > 0)
		send_fail(counts[ANSWER_FAIL]);
	if (counts[ANSWER_RELEASE] > 0)
		send_release(counts[ANSWER_RELEASE]);
}

/* answers_too_late takes jobs that were not ours any more when their answers came; they are in the order of the answers. */
void
answers_too_late(const PGresult *result)
{
	Answer *answer = sent.first;

	for (int row = 0; row < PQntuples(result); row++)
	{
		int64_t id = strtoll(PQgetvalue(result, row, 0), NULL, 10);

		while (answer != NULL && answer->id != id)
			answer = answer->next;
		if (answer == NULL)
			return;
		answer->counts = false;
	}
}

/* count_answer counts an answer that was confirmed. */
static void
count_answer(const Answer *answer)
{
	if (!answer->counts)
	{
		worker.counts.lost++;
		log_warning("job %lld: its answer does not count, since its lease was lost",
					(long long) answer->id);
		return;
	}
	switch (answer->kind)
	{
		case ANSWER_COMPLETE:
			worker.counts.succeeded++;
			break;
		case ANSWER_FAIL:
			worker.counts.failed++;
			log_info("job %lld: failed: %.200s", (long long) answer->id, answer->text);
			break;
		case ANSWER_RELEASE:
			worker.counts.released++;
			break;
	}
}

/* answers_confirmed frees the answers that were sent: their transaction is committed. */
void
answers_confirmed(void)
{
	Answer *answer;

	if (apart > 0 && sent.count > 0)
		apart--;
	while ((answer = answers_take(&sent)) != NULL)
	{
		count_answer(answer);
		answer_free(answer);
	}
}

/* soften replaces an answer that the server refuses; false: there is nothing left to say. */
static bool
soften(Answer *answer, const char *refusal)
{
	char *text;

	answer->tries++;
	if (answer->kind == ANSWER_RELEASE || answer->tries > 2)
		return false;
	if (answer->kind == ANSWER_COMPLETE)
		text = mem_print("the result cannot be stored: %s", refusal);
	else
		text = mem_print("the error cannot be stored: %s", refusal);
	free(answer->text);
	free(answer->detail);
	answer->kind = ANSWER_FAIL;
	answer->text = text;
	answer->len = strlen(text);
	answer->detail = NULL;
	return true;
}

/*
 * answers_again has what was sent sent again. refusal: what the server says is wrong
 * with it; null: nothing is wrong with the answers.
 */
void
answers_again(const char *refusal)
{
	Answer *only = sent.count == 1 ? sent.first : NULL;

	if (refusal != NULL && only != NULL)
	{
		log_warning("job %lld: its answer was refused: %s", (long long) only->id, refusal);
		answers_take(&sent);
		if (soften(only, refusal))
			answers_add(&sent, only);
		else
			answer_free(only);
	}
	else if (refusal != NULL)
		apart = sent.count;
	answers_prepend(&waiting, &sent);
}

/* answers_drop drops an answer that was not sent: its job has begun again. */
void
answers_drop(int64_t job)
{
	AnswerList kept = {0};
	Answer *answer;

	if (waiting.count == 0)
		return;
	while ((answer = answers_take(&waiting)) != NULL)
		if (answer->id == job)
			answer_free(answer);
		else
			answers_add(&kept, answer);
	answers_prepend(&waiting, &kept);
}

/* answers_lose drops all answers: their jobs are gone with the connection. */
void
answers_lose(void)
{
	Answer *answer;

	answers_prepend(&waiting, &sent);
	apart = 0;
	while ((answer = answers_take(&waiting)) != NULL)
	{
		worker.counts.lost++;
		log_warning("job %lld: the connection was lost before its answer was confirmed; "
					"unless it was received, the job is performed again",
					(long long) answer->id);
		answer_free(answer);
	}
}

void
answers_free(void)
{
	answers_clear(&waiting);
	answers_clear(&sent);
}
