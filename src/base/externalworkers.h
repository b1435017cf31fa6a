/*-------------------------------------------------------------------------
 *
 * externalworkers.h
 *	  The external workers that are known, in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_EXTERNALWORKERS_H
#define BGJOB_BASE_EXTERNALWORKERS_H

#include "postgres.h"

#include "base/lease.h"
#include "base/servers.h"
#include "datatype/timestamp.h"

/* What an administrator wants of an external worker. */
typedef enum BgjobExternalCommand
{
	BGJOB_EXTERNAL_GO_ON,
	BGJOB_EXTERNAL_QUIET,    /* fetch no more */
	BGJOB_EXTERNAL_TERMINATE /* leave */
} BgjobExternalCommand;

/* A copy of what is known of an external worker. */
typedef struct BgjobExternalWorker
{
	Oid role;
	char name[BGJOB_WORKER_NAME_SIZE];
	BgjobExternalCommand command;
	int session; /* the pid of the session that its leases are bound to; 0: none */
	TimestampTz started_at;
	TimestampTz heard_at;
	char queues[BGJOB_SERVER_LIST_SIZE]; /* of its last fetch; empty: it has not fetched yet */
} BgjobExternalWorker;

/* Called for a worker with the lock held; must not throw. */
typedef void (*BgjobExternalWorkerVisit)(const BgjobExternalWorker *worker, void *arg);

extern Size bgjob_external_workers_size(void);
extern void bgjob_external_workers_startup(void);
extern bool
bgjob_external_worker_fetches(Oid role, const char *name, const char *queues, bool *bound);
extern void bgjob_external_worker_answers(Oid role, const char *name, bool late);
extern BgjobExternalCommand bgjob_external_worker_beats(Oid role, const char *name, bool late);
extern BgjobExternalWorker *bgjob_external_workers_list(Oid database, int *n);
extern bool bgjob_external_workers_command(Oid database, const char *name,
										   BgjobExternalCommand command, bool apply);
extern void bgjob_external_workers_forget(Oid database);

#endif /* BGJOB_BASE_EXTERNALWORKERS_H */
