/*-------------------------------------------------------------------------
 *
 * over.c
 *	  Jobs and attempts that are over in the running transaction.
 *
 * Part of the notes of a transaction (base/change.c), which has a list of them for each
 * subtransaction. After the commit they go to the
 * statistics of functions and of queues, to sessions that wait for a job, and to the scheduler, if more jobs may await one
 * than the transaction has seen.
 *
 * Any process, inside a transaction; what runs after its end does not throw.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/dependants.h"
#include "base/over.h"
#include "base/reviews.h"
#include "base/tallynotes.h"
#include "base/waiters.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/* bgjob_over_add puts a copy before a list, in the memory of the transaction. Returns the list. */
BgjobOver *
bgjob_over_add(BgjobOver *list, const BgjobOver *over, const BgjobAttempt *attempt)
{
	Size size = sizeof(BgjobOver) + (attempt != NULL ? sizeof(BgjobAttempt) : 0);
	BgjobOver *note = MemoryContextAlloc(TopTransactionContext, size);

	*note = *over;
	note->next = list;
	note->attempt = NULL;
	if (attempt != NULL)
	{
		BgjobAttempt *copy = (BgjobAttempt *) (note + 1);

		*copy = *attempt;
		if (attempt->error != NULL)
			copy->error = MemoryContextStrdup(TopTransactionContext, attempt->error);
		note->attempt = copy;
	}
	return note;
}

/* bgjob_over_concat puts the elements of a list before another one, in no order. Returns the list. */
BgjobOver *
bgjob_over_concat(BgjobOver *first, BgjobOver *rest)
{
	for (BgjobOver *next; first != NULL; first = next)
	{
		next = first->next;
		first->next = rest;
		rest = first;
	}
	return rest;
}

/* bgjob_over_free frees a list. */
void
bgjob_over_free(BgjobOver *list)
{
	for (BgjobOver *next; list != NULL; list = next)
	{
		next = list->next;
		if (list->attempt != NULL && list->attempt->error != NULL)
			pfree(unconstify(char *, list->attempt->error));
		pfree(list);
	}
}

/* Has the scheduler review what awaits a job, if that may be more than settling has found. */
static void
review_dependants(const BgjobOver *over)
{
	uint32 edges = bgjob_dependants_count(over->job);

	if (edges > over->edges && edges != BGJOB_DEPENDANTS_UNKNOWN)
		bgjob_review_ask(MyDatabaseId, over->job);
}

/*
 * Adds what the transaction did to the statistics of queues: its notes of them, and how long attempts
 * have waited and run. That is one lock if all was in one queue.
 */
static void
count_in_queues(const BgjobOver *list, const BgjobTallyNotes *notes)
{
	bgjob_tally_notes_count(notes);
	for (const BgjobOver *over = list; over != NULL; over = over->next)
		if (over->attempt != NULL && bgjob_tally_ref_open(over->queue))
			bgjob_queue_stats_add_times(over->attempt->run_time, over->attempt->wait_time);
	bgjob_tally_ref_close();
}

/* bgjob_over_tell tells others of what is over, and of the transaction's notes of queues, after the commit. */
void
bgjob_over_tell(const BgjobOver *list, const BgjobTallyNotes *notes)
{
	for (const BgjobOver *over = list; over != NULL; over = over->next)
		if (over->attempt != NULL)
			bgjob_function_stats_add(over->attempt);
	bgjob_function_stats_flush();
	count_in_queues(list, notes);
	for (const BgjobOver *over = list; over != NULL; over = over->next)
		if (bgjob_state_is_final(over->state))
		{
			bgjob_waiters_wake(over->job);
			review_dependants(over);
		}
}
