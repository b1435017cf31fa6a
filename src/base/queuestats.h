/*-------------------------------------------------------------------------
 *
 * queuestats.h
 *	  What has happened in each queue of each role, counted in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_QUEUESTATS_H
#define BGJOB_BASE_QUEUESTATS_H

#include "postgres.h"

#include "base/queues.h"
#include "datatype/timestamp.h"
#include "rules/histogram.h"
#include "storage/itemptr.h"

/* Entries in the server, and queues of a role: while less than half of all are in use, and then. */
#ifndef BGJOB_QUEUE_STATS
#define BGJOB_QUEUE_STATS           2048
#define BGJOB_QUEUE_STATS_OF_ROLE   256
#define BGJOB_QUEUE_STATS_WHEN_FULL 32
#endif

/* The name that stands for the queues of a role which have no entry of their own. No queue can have it. */
#define BGJOB_OTHER_QUEUES "*"

/* What is counted. A job may fail, be requeued and fail again: that counts twice. */
typedef enum BgjobFlow
{
	BGJOB_FLOW_ENQUEUED,    /* jobs that were created, in whatever state */
	BGJOB_FLOW_SUCCEEDED,   /* jobs */
	BGJOB_FLOW_FAILED,      /* jobs that have failed, and are not tried again */
	BGJOB_FLOW_DELETED,     /* jobs that were deleted, whether or not they had begun to run */
	BGJOB_FLOW_RETRIED,     /* attempts that have failed, and are tried again */
	BGJOB_FLOW_INTERRUPTED, /* attempts that were interrupted, or lost, and are made again */
	BGJOB_FLOW_LOST, /* attempts whose worker was lost, or whose lease; among them those that crashed the server */
	BGJOB_FLOW_THROTTLED, /* times that a job had to wait at a gate */
	BGJOB_NFLOWS
} BgjobFlow;

/* Sums over what has happened in a queue. */
typedef struct BgjobQueueSums
{
	int64 flows[BGJOB_NFLOWS];
	int64 cpu_time; /* of workers of the server, in microseconds */
	int64 wal_bytes;
	BgjobHistogram run_time; /* of the attempts of which it is known */
	BgjobHistogram wait_time;
} BgjobQueueSums;

/* Without padding, since it is compared as bytes. */
typedef struct BgjobQueueStatsKey
{
	Oid database;
	Oid role; /* that the jobs run as; InvalidOid: roles for which there was no room */
	char queue[BGJOB_QUEUE_NAME_SIZE]; /* zero-filled */
} BgjobQueueStatsKey;

/* What has happened in a queue since the server was started for the first time, or had crashed. */
typedef struct BgjobQueueStats
{
	BgjobQueueStatsKey key;
	TimestampTz since;
	BgjobQueueSums sums;
} BgjobQueueStats;

/* An entry as it is now; with another generation, it is another queue's. */
typedef struct BgjobQueueStatsRef
{
	int entry; /* -1: not looked for yet, or shared with other queues */
	uint32 generation;
} BgjobQueueStatsRef;

/* What is still to be written into the history. */
typedef struct BgjobQueuePending
{
	BgjobQueueStatsRef ref;
	BgjobQueueStatsKey key;
	TimestampTz since; /* the first of it was counted */
	BgjobQueueSums sums;
	TimestampTz hour;    /* of the row that was written last; a hint */
	ItemPointerData tid; /* where that row is */
} BgjobQueuePending;

/* An entry as a file keeps it. */
typedef struct BgjobQueueKept
{
	BgjobQueueStatsKey key;
	TimestampTz since;
	TimestampTz moved_at;
	TimestampTz pending_since;
	BgjobQueueSums pending;
	BgjobQueueSums total;
} BgjobQueueKept;

extern bool bgjob_queue_stats_open(BgjobQueueStatsRef *ref, Oid role, const char *queue);
extern void bgjob_queue_stats_add_flows(const int64 *flows);
extern void bgjob_queue_stats_add_times(double run_time, double wait_time);
extern void bgjob_queue_stats_add_usage(int64 cpu_time, int64 wal_bytes);
extern void bgjob_queue_stats_close(void);

extern bool bgjob_queue_stats_next(int *position, Oid database, BgjobQueueStats *stats);
extern bool bgjob_queue_stats_pending(int *position, BgjobQueuePending *pending);
extern void bgjob_queue_stats_written(const BgjobQueuePending *pending);

extern bool bgjob_queue_stats_kept(int position, BgjobQueueKept *kept);
extern void bgjob_queue_stats_restore(const BgjobQueueKept *kept);

#endif /* BGJOB_BASE_QUEUESTATS_H */
