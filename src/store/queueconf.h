/*-------------------------------------------------------------------------
 *
 * queueconf.h
 *	  What administrators have configured of queues.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_QUEUECONF_H
#define BGJOB_STORE_QUEUECONF_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* A row of bgjob_internal.queue_conf, or a change of one: fields that are not set stay. */
typedef struct BgjobQueueRow
{
	int64 version;
	bool has_paused;
	bool paused;
	int group_size;      /* 0: not set */
	Interval *retention; /* NULL: not set */
	bool has_max_running;
	int max_running; /* -1: any number */
	bool has_max_length;
	int max_length; /* -1: any number */
} BgjobQueueRow;

extern bool bgjob_queueconf_get(const char *queue, BgjobQueueRow *row);
extern void bgjob_queueconf_change(const char *queue, const BgjobQueueRow *change);
extern bool bgjob_queueconf_remove(const char *queue);
extern void bgjob_queueconf_load(void);

/* Called for each configured queue. */
typedef void (*BgjobQueueVisitor)(const char *queue, const BgjobQueueRow *row, void *arg);

extern void bgjob_queueconf_visit(BgjobQueueVisitor visitor, void *arg);

/* The names of the paused queues, in ascending order. */
typedef struct BgjobPausedQueues
{
	int n;
	int room;
	char **names;
} BgjobPausedQueues;

extern BgjobPausedQueues *bgjob_queueconf_paused(void);
extern bool bgjob_queue_is_paused(const BgjobPausedQueues *paused, const char *queue);

#endif /* BGJOB_STORE_QUEUECONF_H */
