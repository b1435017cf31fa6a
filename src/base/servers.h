/*-------------------------------------------------------------------------
 *
 * servers.h
 *	  The servers (pools of workers) of the databases, in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_SERVERS_H
#define BGJOB_BASE_SERVERS_H

#include "postgres.h"

#include "base/queues.h"
#include "port/atomics.h"

/* The name of the server that is always there, and its number. */
#define BGJOB_DEFAULT_SERVER    "default"
#define BGJOB_DEFAULT_SERVER_ID 0

/* Names of servers are like those of queues. */
#define BGJOB_SERVER_NAME_SIZE BGJOB_QUEUE_NAME_SIZE

/* Maximal number of servers of a database, "default" included; of queues that one names; of workers of one. */
#define BGJOB_SERVERS_OF_DATABASE 64
#define BGJOB_SERVER_QUEUES       64
#define BGJOB_SERVER_WORKERS      1000

/* Room for the list of its queues. */
#define BGJOB_SERVER_LIST_SIZE (BGJOB_SERVER_QUEUES * (BGJOB_QUEUE_NAME_MAX + 1))

/* What is configured of a server. */
typedef struct BgjobServerConf
{
	int64 version; /* grows with every change */
	bool paused;
	int workers;                         /* 0: as bgjob.workers says */
	char queues[BGJOB_SERVER_LIST_SIZE]; /* as in bgjob.queues; empty: as that says */
} BgjobServerConf;

/* What the scheduler tells of a server, and the workers ask. */
typedef struct BgjobServerState
{
	pg_atomic_uint64
		leavers; /* a role, and the number of its workers that are to leave after their jobs */
	pg_atomic_uint32 saturated; /* no more workers can be started now */
} BgjobServerState;

/* A copy of what is known of a server. */
typedef struct BgjobServer
{
	uint32 id; /* no other server ever has the same; BGJOB_DEFAULT_SERVER_ID: "default" */
	char name[BGJOB_SERVER_NAME_SIZE];
	BgjobServerState *state;
	BgjobServerConf conf;
} BgjobServer;

/* The servers that take a queue. */
typedef struct BgjobServerSet
{
	bool all;       /* there is no server but "default": all workers are its */
	bool saturated; /* none of them can have more workers now; not if all */
	int level;      /* the lowest position of the queue in their lists; not if all */
	int n;
	uint32 ids[BGJOB_SERVERS_OF_DATABASE];
} BgjobServerSet;

extern Size bgjob_servers_size(void);
extern void bgjob_servers_startup(void);
extern void bgjob_servers_set(Oid database, const char *name, const BgjobServerConf *conf);
extern void bgjob_servers_remove(Oid database, const char *name, int64 version);
extern void bgjob_servers_forget(Oid database);
extern bool bgjob_servers_full(Oid database, const char *name);
extern uint64 bgjob_servers_generation(void);
extern bool bgjob_servers_get(Oid database, uint32 id, BgjobServerConf *conf);
extern BgjobServer *bgjob_servers_list(Oid database, int *n);
extern int bgjob_servers_count(Oid database);
extern int bgjob_servers_level(Oid database, const char *queue);
extern void bgjob_servers_taking(Oid database, const char *queue, BgjobServerSet *set);
extern bool bgjob_server_set_has(const BgjobServerSet *set, uint32 id);

#endif /* BGJOB_BASE_SERVERS_H */
