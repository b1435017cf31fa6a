/*-------------------------------------------------------------------------
 *
 * service.h
 *	  Who serves the jobs of this database: what can be said without reading jobs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_SERVICE_H
#define BGJOB_API_SERVICE_H

#include "postgres.h"

#include "base/lanesurvey.h"
#include "base/registry.h"
#include "store/queueconf.h"

/* A role, and its workers of some servers. */
typedef struct BgjobRoleService
{
	Oid role;       /* these must be first */
	uint64 servers; /* a set of bits: places in the list of servers */
	bool visible;   /* the current user sees its jobs */
	bool exists;
	bool may_log_in;
	bool may_connect;
	uint32 failure;  /* SQLSTATE that its workers' claims fail with; 0: none */
	int workers;     /* that take jobs */
	int free;        /* of these, those that have none */
	bool has_first;  /* its workers have a job to take next, */
	BgjobTurn first; /* whose turn this is */
} BgjobRoleService;

typedef struct BgjobQueueService
{
	char name[BGJOB_QUEUE_NAME_SIZE]; /* must be first; zero-filled */
	bool paused;
	bool server_paused; /* servers take it, and all of them are paused */
	uint64 servers;     /* those that take it and are not paused, or else the paused ones */
	int nservers;       /* their number */
	const char *server; /* the name of the first one of them */
	const char *list;   /* its queues, in the order of taking */
	int level;          /* the place of this queue there; -1: no server takes it */
	int allowed;        /* workers that these servers may have */
	int workers;        /* that they have, of all roles */
	bool saturated;     /* they cannot have more now */
} BgjobQueueService;

typedef struct BgjobService BgjobService;

extern BgjobService *bgjob_service_create(void);
extern void bgjob_service_free(BgjobService *service);
extern BgjobRoleService *
bgjob_service_role(BgjobService *service, Oid role, const BgjobQueueService *queue);
extern bool bgjob_service_has_servers(BgjobService *service);
extern BgjobQueueService *
bgjob_service_queue(BgjobService *service, const char *name, int length);
extern bool bgjob_service_has_in_flight(BgjobService *service, int64 pos);
extern bool bgjob_service_is_copy(BgjobService *service);
extern const BgjobPausedQueues *bgjob_service_paused(BgjobService *service);
extern TimestampTz bgjob_service_time(const BgjobService *service);
extern bool bgjob_service_is_allowed(const BgjobService *service);
extern BgjobDatabase *bgjob_service_entry(const BgjobService *service);

#endif /* BGJOB_API_SERVICE_H */
