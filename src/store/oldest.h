/*-------------------------------------------------------------------------
 *
 * oldest.h
 *	  The job that has waited longest, in each queue.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_OLDEST_H
#define BGJOB_STORE_OLDEST_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "store/queuecount.h"

/* Called for each lane of a queue that has a job which no worker is at, with the time since when it waits. */
typedef void (*BgjobOldestVisit)(const char *queue, TimestampTz since, void *arg);

extern void
bgjob_oldest_visit(BgjobSees sees, void *sees_arg, BgjobOldestVisit visit, void *arg);

#endif /* BGJOB_STORE_OLDEST_H */
