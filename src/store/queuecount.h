/*-------------------------------------------------------------------------
 *
 * queuecount.h
 *	  The number of jobs in each queue, of the roles that somebody sees.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_QUEUECOUNT_H
#define BGJOB_STORE_QUEUECOUNT_H

#include "postgres.h"

#include "base/tally.h"

typedef struct BgjobQueueCount
{
	char queue[BGJOB_QUEUE_NAME_SIZE]; /* zero-filled; must be first */
	bool named;                        /* it is configured, or "default" */
	int64 counts[BGJOB_NTALLIED];
	int64 running; /* workers are at so many of the waiting ones */
} BgjobQueueCount;

/* Returns whether the jobs of a role are to be counted. */
typedef bool (*BgjobSees)(Oid role, void *arg);

extern bool bgjob_count_exceeds(const char *queue, int64 most);
extern BgjobQueueCount *bgjob_count_queues(BgjobDatabase *entry, bool later, BgjobSees sees,
										   void *arg, int *n, bool *known);

extern BgjobQueueCount *
bgjob_count_queues_in_memory(BgjobDatabase *entry, BgjobSees sees, void *arg, bool sees_all,
							 int *n, BgjobQueueCount *rest);

#endif /* BGJOB_STORE_QUEUECOUNT_H */
