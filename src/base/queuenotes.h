/*-------------------------------------------------------------------------
 *
 * queuenotes.h
 *	  What a transaction has configured of queues.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_QUEUENOTES_H
#define BGJOB_BASE_QUEUENOTES_H

#include "postgres.h"

#include "base/queues.h"

/* A queue has been configured; or, with a group size of 0, is no longer. */
typedef struct BgjobQueueNote
{
	struct BgjobQueueNote *next;
	char queue[BGJOB_QUEUE_NAME_SIZE];
	BgjobQueueConf conf;
} BgjobQueueNote;

extern BgjobQueueNote *
bgjob_queue_note(BgjobQueueNote *notes, const char *queue, const BgjobQueueConf *conf);
extern BgjobQueueNote *bgjob_queue_notes_concat(BgjobQueueNote *inner, BgjobQueueNote *outer);
extern void bgjob_queue_notes_free(BgjobQueueNote *notes);
extern void bgjob_queue_notes_commit(const BgjobQueueNote *notes);

#endif /* BGJOB_BASE_QUEUENOTES_H */
