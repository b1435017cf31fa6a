/*-------------------------------------------------------------------------
 *
 * queuenotes.c
 *	  What a transaction has configured of queues.
 *
 * A list that base/change.c keeps for each subtransaction. After the commit, the queues in shared memory
 * (base/queues.h) are set accordingly; the versions of the configurations tell their order.
 *
 * The backend that runs the transaction. The notes are in TopTransactionContext.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/queuenotes.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/* bgjob_queue_note adds a note to a list, and returns the list. */
BgjobQueueNote *
bgjob_queue_note(BgjobQueueNote *notes, const char *queue, const BgjobQueueConf *conf)
{
	BgjobQueueNote *note = MemoryContextAlloc(TopTransactionContext, sizeof(BgjobQueueNote));

	strlcpy(note->queue, queue, sizeof(note->queue));
	note->conf = *conf;
	note->next = notes;
	return note;
}

/* bgjob_queue_notes_concat adds the notes of a subtransaction to those of its parent, and returns them all. */
BgjobQueueNote *
bgjob_queue_notes_concat(BgjobQueueNote *inner, BgjobQueueNote *outer)
{
	for (BgjobQueueNote *next; inner != NULL; inner = next)
	{
		next = inner->next;
		inner->next = outer;
		outer = inner;
	}
	return outer;
}

/* bgjob_queue_notes_free frees a list. */
void
bgjob_queue_notes_free(BgjobQueueNote *notes)
{
	for (BgjobQueueNote *next; notes != NULL; notes = next)
	{
		next = notes->next;
		pfree(notes);
	}
}

/* bgjob_queue_notes_commit sets the queues in shared memory. From the commit callback: does not throw. */
void
bgjob_queue_notes_commit(const BgjobQueueNote *notes)
{
	for (const BgjobQueueNote *note = notes; note != NULL; note = note->next)
		if (note->conf.group_size > 0)
			bgjob_queues_set(MyDatabaseId, note->queue, &note->conf);
		else
			bgjob_queues_remove(MyDatabaseId, note->queue, note->conf.version);
}
