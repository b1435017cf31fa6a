/*-------------------------------------------------------------------------
 *
 * queuestatstable.h
 *	  The statistics of queues: whose each entry is.
 *
 * For base/queuestats.c, which says what the fields of an entry mean.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_QUEUESTATSTABLE_H
#define BGJOB_BASE_QUEUESTATSTABLE_H

#include "postgres.h"

#include "base/queuestats.h"
#include "storage/lwlock.h"

/* What is counted of a queue. */
typedef struct BgjobQueueEntry
{
	LWLock lock;
	uint32 generation; /* grows when it becomes another queue's */
	bool in_use;       /* this, and the key, are written under both locks */
	BgjobQueueStatsKey key;

	/* under the table's lock */
	uint32 next; /* in its bucket, or in the list of unused ones: index + 1; 0: none */
	TimestampTz full_until; /* of a "*": the role gets no more entries */

	/* under its lock */
	TimestampTz since;
	TimestampTz moved_at; /* pending numbers were last moved to the totals, or it was taken */
	TimestampTz pending_since; /* 0: nothing is pending */
	BgjobQueueSums pending;
	BgjobQueueSums total; /* what is not pending any more */
	TimestampTz hour;     /* of the row of the history that was written last; a hint */
	ItemPointerData tid;  /* where that row is */
} BgjobQueueEntry;

extern void bgjob_queue_sums_add(BgjobQueueSums *into, const BgjobQueueSums *from);

extern Size bgjob_queue_stats_size(void);
extern void bgjob_queue_stats_startup(void);
extern bool bgjob_queue_entries_exist(void);
extern int bgjob_queue_entries_used(void);
extern BgjobQueueEntry *bgjob_queue_entry_at(int position);
extern int bgjob_queue_entry_position(const BgjobQueueEntry *entry);
extern bool bgjob_queue_entry_stands_for_others(const BgjobQueueEntry *entry);
extern BgjobQueueStatsKey bgjob_queue_stats_key(Oid database, Oid role, const char *queue);
extern BgjobQueueEntry *
bgjob_queue_entry_find(const BgjobQueueStatsKey *key, uint32 *generation);
extern BgjobQueueEntry *
bgjob_queue_entry_add_kept(const BgjobQueueStatsKey *key, TimestampTz since);
extern void bgjob_queue_stats_forget(Oid database);

#endif /* BGJOB_BASE_QUEUESTATSTABLE_H */
