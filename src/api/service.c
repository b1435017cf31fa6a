/*-------------------------------------------------------------------------
 *
 * service.c
 *	  Who serves the jobs of this database: what can be said without reading jobs.
 *
 * A BgjobService collects what a session asks of shared memory, the settings and
 * the catalogs, to say why jobs do not run (api/causes.c): of the database, of
 * roles and of queues. Each thing is read when it is first asked for, and kept; so
 * a view of a million jobs asks once for each role and queue. It is as of the
 * moment when it was read, and is made anew for each statement.
 *
 * Of tables it reads the small ones of configured queues and servers, for each role the first
 * rows of the queue, if the lanes do not have them at hand, and, where the database
 * has no scheduler, the table of the installation.
 *
 * Runs in the calling session, also where the library is not preloaded and on a
 * standby. No locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/rights.h"
#include "api/service.h"
#include "base/database.h"
#include "base/guc.h"
#include "base/process.h"
#include "base/slot.h"
#include "base/slots.h"
#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "run/authority.h"
#include "store/behind.h"
#include "store/serverconf.h"
#include "store/sidetables.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

struct BgjobService
{
	MemoryContext context;
	TimestampTz at;
	bool allowed;         /* bgjob.databases names the database */
	BgjobDatabase *entry; /* NULL: none */
	bool copy_known;
	bool copy;                 /* the tables are a copy of another database's */
	BgjobPausedQueues *paused; /* NULL: not yet read; likewise below */
	int64 *in_flight;
	int nin_flight;
	BgjobServer *servers; /* "default" is the first */
	int nservers;
	HTAB *roles;
	HTAB *queues;
	BgjobRoleService *last_role; /* the one that was asked for last; NULL: none */
	BgjobQueueService *last_queue;
};

static HTAB *
make_table(MemoryContext context, const char *name, Size key, Size entry)
{
	HASHCTL info = {.keysize = key, .entrysize = entry, .hcxt = context};

	return hash_create(name, 16, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* bgjob_service_create starts a collection, in a context below the current one. */
BgjobService *
bgjob_service_create(void)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob service", ALLOCSET_SMALL_SIZES);
	BgjobService *service = MemoryContextAllocZero(context, sizeof(BgjobService));
	const char *database = get_database_name(MyDatabaseId);

	service->context = context;
	service->at = bgjob_now();
	service->allowed = database != NULL && bgjob_database_allowed(database);
	service->entry = bgjob_database_find(MyDatabaseId);
	service->roles = make_table(context, "bgjob service roles",
								offsetof(BgjobRoleService, visible), sizeof(BgjobRoleService));
	service->queues = make_table(context, "bgjob service queues", BGJOB_QUEUE_NAME_SIZE,
								 sizeof(BgjobQueueService));
	return service;
}

/* bgjob_service_free drops a collection. */
void
bgjob_service_free(BgjobService *service)
{
	MemoryContextDelete(service->context);
}

/* bgjob_service_time returns when the collection was started. */
TimestampTz
bgjob_service_time(const BgjobService *service)
{
	return service->at;
}

/* bgjob_service_is_allowed returns whether bgjob.databases lets the database have workers. */
bool
bgjob_service_is_allowed(const BgjobService *service)
{
	return service->allowed;
}

/* bgjob_service_entry returns the database's entry in the registry, NULL if there is none. */
BgjobDatabase *
bgjob_service_entry(const BgjobService *service)
{
	return service->entry;
}

/*
 * bgjob_service_is_copy returns whether the tables are a copy of another
 * database's. A database with a scheduler is none: only there the table is not read.
 */
bool
bgjob_service_is_copy(BgjobService *service)
{
	if (!service->copy_known)
		service->copy =
			!(service->entry != NULL && service->entry->ready) && !bgjob_installed_here();
	service->copy_known = true;
	return service->copy;
}

/* bgjob_service_paused returns which queues are paused. */
const BgjobPausedQueues *
bgjob_service_paused(BgjobService *service)
{
	if (service->paused == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(service->context);

		service->paused = bgjob_queueconf_paused();
		MemoryContextSwitchTo(old);
	}
	return service->paused;
}

/* ---- servers ---- */

/* Reads the servers of the database, when they are first asked for. */
static const BgjobServer *
servers_of(BgjobService *service)
{
	if (service->servers == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(service->context);

		service->servers = bgjob_serverconf_list(&service->nservers);
		MemoryContextSwitchTo(old);
	}
	return service->servers;
}

/* bgjob_service_has_servers returns whether a server is configured, or "default" does not follow the settings. */
bool
bgjob_service_has_servers(BgjobService *service)
{
	const BgjobServer *servers = servers_of(service);

	return service->nservers > 1 || servers[0].conf.version != 0;
}

static const char *
list_of(const BgjobServer *server)
{
	return server->conf.queues[0] != '\0' ? server->conf.queues : bgjob_queues;
}

/* Adds a server to those that take a queue. */
static void
add_server(BgjobQueueService *queue, const BgjobServer *server, int place)
{
	queue->servers |= UINT64CONST(1) << place;
	queue->allowed +=
		server->conf.workers != 0 ? server->conf.workers : bgjob_slots_allowed(MyDatabaseId);
	if (queue->nservers++ > 0)
		return;
	queue->server = server->name;
	queue->list = list_of(server);
	queue->level = bgjob_queue_level(queue->list, queue->name);
}

/* Finds the servers that take a queue and are paused, or are not. */
static void
find_servers(BgjobService *service, BgjobQueueService *queue, bool paused)
{
	const BgjobServer *servers = servers_of(service);

	for (int i = 0; i < service->nservers; i++)
		if (servers[i].conf.paused == paused &&
			bgjob_queue_level(list_of(&servers[i]), queue->name) >= 0)
			add_server(queue, &servers[i], i);
}

/* Returns whether a slot is that of a worker of one of the servers. */
static bool
is_worker_of(BgjobService *service, const BgjobSlot *slot, uint64 set)
{
	const BgjobServer *servers = servers_of(service);

	if (!slot->in_use || slot->kind != BGJOB_WORKER || slot->database != MyDatabaseId)
		return false;
	for (int i = 0; i < service->nservers; i++)
		if ((set & (UINT64CONST(1) << i)) != 0 &&
			strcmp(slot->server_name, servers[i].name) == 0)
			return true;
	return false;
}

/* Finds who takes a queue. */
static void
fill_queue(BgjobService *service, BgjobQueueService *queue)
{
	BgjobServerSet set;

	find_servers(service, queue, false);
	if (queue->nservers == 0)
	{
		find_servers(service, queue, true);
		queue->server_paused = queue->nservers > 0;
	}
	if (queue->nservers == 0)
		queue->allowed = bgjob_slots_allowed(MyDatabaseId);
	if (bgjob_registry == NULL)
		return;
	for (int i = 0; i < bgjob_registry->nslots; i++)
		queue->workers += is_worker_of(service, &bgjob_registry->slots[i], queue->servers);
	bgjob_servers_taking(MyDatabaseId, queue->name, &set);
	queue->saturated = set.all ? service->entry != NULL &&
									 pg_atomic_read_u32(&service->entry->server.saturated) != 0
							   : set.saturated;
}

/* bgjob_service_queue returns what is known of a queue; the name need not end with a zero. */
BgjobQueueService *
bgjob_service_queue(BgjobService *service, const char *name, int length)
{
	BgjobQueueService *queue = service->last_queue;
	char key[BGJOB_QUEUE_NAME_SIZE] = {0};
	bool found;

	length =
		Min(length, BGJOB_QUEUE_NAME_MAX); /* a row that was written by hand may have more */
	if (queue != NULL && memcmp(queue->name, name, length) == 0 && queue->name[length] == '\0')
		return queue;
	memcpy(key, name, length);
	queue = hash_search(service->queues, key, HASH_FIND, NULL);
	if (queue == NULL)
	{
		BgjobQueueService filled = {.level = -1};

		memcpy(filled.name, key, sizeof(key));
		filled.paused = bgjob_queue_is_paused(bgjob_service_paused(service), key);
		fill_queue(service, &filled);
		queue = hash_search(service->queues, key, HASH_ENTER, &found);
		*queue = filled;
	}
	service->last_queue = queue;
	return queue;
}

/* Counts the workers of a role that take jobs, and those of them that have none. */
static void
count_workers(BgjobService *service, BgjobRoleService *role)
{
	int nslots = bgjob_registry != NULL ? bgjob_registry->nslots : 0;

	for (int i = 0; i < nslots; i++)
	{
		const BgjobSlot *slot = &bgjob_registry->slots[i];

		if (!is_worker_of(service, slot, role->servers) || slot->role != role->role ||
			slot->retire || slot->term)
			continue;
		role->workers++;
		if (slot->job == 0)
			role->free++;
	}
}

static void
fill_role(BgjobService *service, BgjobRoleService *role, const BgjobQueueService *queue)
{
	uint64 failure =
		service->entry != NULL ? pg_atomic_read_u64(&service->entry->claim_failure) : 0;

	role->visible = bgjob_may_see(role->role);
	role->exists = SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role->role));
	role->may_log_in = bgjob_role_can_log_in(role->role);
	role->may_connect = role->exists && bgjob_role_may_connect(role->role);
	if ((Oid) (failure >> 32) == role->role)
		role->failure = (uint32) failure;
	count_workers(service, role);
	role->has_first =
		bgjob_registry != NULL && queue->list != NULL &&
		bgjob_first_turn(role->role, queue->list, bgjob_service_paused(service), &role->first);
}

/* bgjob_service_role returns what is known of a role, and of its workers that take a queue. */
BgjobRoleService *
bgjob_service_role(BgjobService *service, Oid role, const BgjobQueueService *queue)
{
	BgjobRoleService *known = service->last_role;
	BgjobRoleService filled;
	bool found;

	if (known != NULL && known->role == role && known->servers == queue->servers)
		return known;
	memset(&filled, 0, sizeof(filled));
	filled.role = role;
	filled.servers = queue->servers;
	known = hash_search(service->roles, &filled, HASH_FIND, NULL);
	if (known == NULL)
	{
		fill_role(service, &filled, queue);
		known = hash_search(service->roles, &filled, HASH_ENTER, &found);
		*known = filled;
	}
	service->last_role = known;
	return known;
}

static int
compare_positions(const void *a, const void *b)
{
	int64 left = *(const int64 *) a;
	int64 right = *(const int64 *) b;

	return left < right ? -1 : left > right;
}

/* bgjob_service_has_in_flight returns whether a worker has the job at a position of the queue. */
bool
bgjob_service_has_in_flight(BgjobService *service, int64 pos)
{
	if (service->in_flight == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(service->context);

		service->in_flight = bgjob_slots_in_flight(MyDatabaseId, &service->nin_flight);
		MemoryContextSwitchTo(old);
	}
	return bsearch(&pos, service->in_flight, service->nin_flight, sizeof(int64),
				   compare_positions) != NULL;
}
