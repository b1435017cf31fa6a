/*-------------------------------------------------------------------------
 *
 * queues.h
 *	  What has been configured of queues, in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_QUEUES_H
#define BGJOB_BASE_QUEUES_H

#include "postgres.h"

/* Longest name of a queue, and the room for it. */
#define BGJOB_QUEUE_NAME_MAX  63
#define BGJOB_QUEUE_NAME_SIZE (BGJOB_QUEUE_NAME_MAX + 1)

/* What the name of a queue consists of, and what stands between names in bgjob.queues. */
#define BGJOB_QUEUE_CHARACTERS "abcdefghijklmnopqrstuvwxyz0123456789_-"
#define BGJOB_QUEUE_SEPARATORS ", \t\n\r\f\v\""

/* The largest number of jobs that may be performed in one transaction. */
#define BGJOB_GROUP_MAX 1000

typedef struct BgjobQueueConf
{
	int64 version; /* grows with every change; 0: nothing is configured */
	bool paused;
	int group_size;  /* jobs per transaction; 0: it is configured no longer */
	int max_running; /* jobs that may run at a time; -1: any number */
	int max_length;  /* jobs that may wait; -1: any number */
} BgjobQueueConf;

extern Size bgjob_queues_size(void);
extern void bgjob_queues_startup(void);
extern BgjobQueueConf bgjob_queues_get(Oid database, const char *queue);
extern void bgjob_queues_set(Oid database, const char *queue, const BgjobQueueConf *conf);
extern void bgjob_queues_remove(Oid database, const char *queue, int64 version);
extern void bgjob_queues_forget(Oid database);
extern bool bgjob_queues_full(void);
extern bool bgjob_queues_bounded(void);
extern bool bgjob_queues_limited(void);
extern uint64 bgjob_queues_generation(void);
extern bool bgjob_queue_next_name(const char **list, char *name);
extern bool bgjob_queue_names(const char *list, const char *name);
extern int bgjob_queue_level(const char *list, const char *queue);

#endif /* BGJOB_BASE_QUEUES_H */
