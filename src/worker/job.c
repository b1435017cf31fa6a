/*-------------------------------------------------------------------------
 *
 * job.c
 *	  A job that this worker has leased, and the answer to it.
 *
 * A job belongs to the slot that performs it (slot.c). Its answer outlives it: it
 * waits in a list until the server has confirmed the transaction that it was sent in
 * (session.c). Arguments and results are texts that nobody here changes.
 *
 * Data and lists only; nothing here looks at the clock or the connection.
 *
 *-------------------------------------------------------------------------
 */
#include "worker/job.h"
#include "client/memory.h"

#include <stdlib.h>

/* answer_make makes an answer to a job; the caller fills in what belongs to its kind. */
Answer *
answer_make(const Job *job, AnswerKind kind)
{
	Answer *answer = mem_zero(sizeof(*answer));

	answer->kind = kind;
	answer->id = job->id;
	answer->lease_end = job->lease_end;
	answer->retry = true;
	answer->delay = -1;
	return answer;
}

void
answer_free(Answer *answer)
{
	free(answer->text);
	free(answer->detail);
	free(answer);
}

void
answers_add(AnswerList *list, Answer *answer)
{
	if (list->first == NULL)
		list->end = &list->first;
	answer->next = NULL;
	*list->end = answer;
	list->end = &answer->next;
	list->count++;
	list->bytes += answer->len;
}

/* answers_take removes the first answer; null if there is none. */
Answer *
answers_take(AnswerList *list)
{
	Answer *answer = list->first;

	if (answer == NULL)
		return NULL;
	list->first = answer->next;
	list->count--;
	list->bytes -= answer->len;
	answer->next = NULL;
	return answer;
}

/* answers_prepend puts the answers of another list in front, which is empty afterwards. */
void
answers_prepend(AnswerList *list, AnswerList *before)
{
	Answer *answer;

	while ((answer = answers_take(list)) != NULL)
		answers_add(before, answer);
	while ((answer = answers_take(before)) != NULL)
		answers_add(list, answer);
}

void
answers_clear(AnswerList *list)
{
	Answer *answer;

	while ((answer = answers_take(list)) != NULL)
		answer_free(answer);
}
