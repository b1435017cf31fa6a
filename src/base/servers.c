/*-------------------------------------------------------------------------
 *
 * servers.c
 *	  The servers (pools of workers) of the databases, in shared memory.
 *
 * A server is a number of workers, and the list of the queues that they take. Each
 * database has server "default", whose list and number are bgjob.queues and
 * bgjob.workers; bgjob_server() adds others, and may override those of "default".
 *
 * bgjob_internal.server_conf is the truth; this is the copy that workers, schedulers
 * and sessions read. A session that changes a server applies the change here when
 * it commits (base/change.c). The scheduler applies the whole table at its start,
 * and when changes may be missing (store/serverconf.c). An older change does not
 * replace a newer one: each has a version.
 *
 * A server has a number (id) that no other one ever gets until the next start, so
 * that a worker of a server that was removed is not taken for one of a later server
 * with the same name. The memory of an entry stays where it is: a pointer to the
 * state of a server is valid for ever, although it may be another server's then.
 *
 * Databases that have no server but "default" pay one read of an atomic: the number
 * of entries in use in the cluster; or, where other databases have some, a search
 * through the entries.
 *
 * Any process. One LWLock, held for a search through a few entries; it may be taken
 * while the lock of a lane group is held, and nothing is taken under it. Nothing
 * here throws, except for bgjob_servers_list, which allocates.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/database.h"
#include "base/guc.h"
#include "base/servers.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

/* Number of configured servers in the cluster. */
#define MAX_SERVERS 256

typedef struct Entry
{
	Oid database; /* InvalidOid: the entry is free */
	BgjobServer server;
	BgjobServerState state;
} Entry;

typedef struct ServerControl
{
	LWLock lock;
	pg_atomic_uint64 generation; /* grows whenever an entry changes */
	pg_atomic_uint32 used;       /* entries in use */
	uint32 next_id;
	int touched; /* all entries behind these have never been in use */
	Entry entries[MAX_SERVERS];
} ServerControl;

static ServerControl *control = NULL;

/* bgjob_servers_size returns the bytes of shared memory that this takes. */
Size
bgjob_servers_size(void)
{
	return MAXALIGN(sizeof(ServerControl));
}

/* bgjob_servers_startup creates or finds it; from shmem_startup_hook. */
void
bgjob_servers_startup(void)
{
	bool found;

	control = ShmemInitStruct("bgjob servers", bgjob_servers_size(), &found);
	if (!found)
	{
		LWLockInitialize(&control->lock, LWLockNewTrancheId());
		pg_atomic_init_u64(&control->generation, 1);
		pg_atomic_init_u32(&control->used, 0);
		control->next_id = BGJOB_DEFAULT_SERVER_ID + 1;
		control->touched = 0;
		for (int i = 0; i < MAX_SERVERS; i++)
		{
			control->entries[i].database = InvalidOid;
			pg_atomic_init_u64(&control->entries[i].state.leavers, 0);
			pg_atomic_init_u32(&control->entries[i].state.saturated, 0);
		}
	}
	LWLockRegisterTranche(control->lock.tranche, "BgjobServers");
}

/* Returns whether no server is configured anywhere, or there is no shared memory. */
static bool
are_none(void)
{
	return control == NULL || pg_atomic_read_u32(&control->used) == 0;
}

/* Returns the next entry of a database after another one (NULL: the first); NULL: there is none. The lock is held. */
static Entry *
next_entry(Oid database, Entry *after)
{
	Entry *entry = after == NULL ? control->entries : after + 1;

	for (; entry < control->entries + control->touched; entry++)
		if (entry->database == database)
			return entry;
	return NULL;
}

/* Returns the entry of a server by its name; NULL: there is none. The lock is held. */
static Entry *
find_name(Oid database, const char *name)
{
	Entry *entry = NULL;

	while ((entry = next_entry(database, entry)) != NULL)
		if (strcmp(entry->server.name, name) == 0)
			return entry;
	return NULL;
}

/* Returns an unused entry, which it takes; NULL: there is none. The lock is held, exclusively. */
static Entry *
take_entry(Oid database, const char *name)
{
	Entry *entry = control->entries;

	while (entry < control->entries + MAX_SERVERS && OidIsValid(entry->database))
		entry++;
	if (entry == control->entries + MAX_SERVERS)
		return NULL;
	control->touched = Max(control->touched, (int) (entry - control->entries) + 1);
	entry->database = database;
	entry->server.id =
		strcmp(name, BGJOB_DEFAULT_SERVER) == 0 ? BGJOB_DEFAULT_SERVER_ID : control->next_id++;
	strlcpy(entry->server.name, name, sizeof(entry->server.name));
	entry->server.state = &entry->state;
	pg_atomic_write_u64(&entry->state.leavers, 0);
	pg_atomic_write_u32(&entry->state.saturated, 0);
	pg_atomic_fetch_add_u32(&control->used, 1);
	return entry;
}

static void
free_entry(Entry *entry)
{
	entry->database = InvalidOid;
	pg_atomic_fetch_sub_u32(&control->used, 1);
	pg_atomic_fetch_add_u64(&control->generation, 1);
}

/* bgjob_servers_set applies a change, unless a newer one has been. Does not throw. */
void
bgjob_servers_set(Oid database, const char *name, const BgjobServerConf *conf)
{
	Entry *entry;
	bool found;

	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	entry = find_name(database, name);
	found = entry != NULL;
	if (!found)
		entry = take_entry(database, name);
	if (entry != NULL && (!found || entry->server.conf.version < conf->version))
	{
		entry->server.conf = *conf;
		pg_atomic_fetch_add_u64(&control->generation, 1);
	}
	LWLockRelease(&control->lock);
}

/* bgjob_servers_remove removes a server, or has "default" follow the settings again, unless there is a newer change. Does not throw. */
void
bgjob_servers_remove(Oid database, const char *name, int64 version)
{
	Entry *entry;

	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	entry = find_name(database, name);
	if (entry != NULL && entry->server.conf.version < version)
		free_entry(entry);
	LWLockRelease(&control->lock);
}

/* bgjob_servers_forget drops the servers of a database that bgjob has left. */
void
bgjob_servers_forget(Oid database)
{
	Entry *entry = NULL;

	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	while ((entry = next_entry(database, entry)) != NULL)
		free_entry(entry);
	LWLockRelease(&control->lock);
}

/* bgjob_servers_full returns whether there is no room for another server of a name. */
bool
bgjob_servers_full(Oid database, const char *name)
{
	int n = 1; /* "default" */
	Entry *entry = NULL;
	bool known = false;
	bool full;

	LWLockAcquire(&control->lock, LW_SHARED);
	while ((entry = next_entry(database, entry)) != NULL)
	{
		known |= strcmp(entry->server.name, name) == 0;
		n += entry->server.id != BGJOB_DEFAULT_SERVER_ID;
	}
	full = !known && (n >= BGJOB_SERVERS_OF_DATABASE ||
					  pg_atomic_read_u32(&control->used) >= MAX_SERVERS);
	LWLockRelease(&control->lock);
	return full;
}

/* bgjob_servers_generation returns a number that changes whenever a server does. */
uint64
bgjob_servers_generation(void)
{
	return control == NULL ? 0 : pg_atomic_read_u64(&control->generation);
}

/* bgjob_servers_get copies the configuration of a server; false: it has none, or has been removed. */
bool
bgjob_servers_get(Oid database, uint32 id, BgjobServerConf *conf)
{
	Entry *entry = NULL;

	if (are_none())
		return false;
	LWLockAcquire(&control->lock, LW_SHARED);
	while ((entry = next_entry(database, entry)) != NULL && entry->server.id != id)
		;
	if (entry != NULL)
		*conf = entry->server.conf;
	LWLockRelease(&control->lock);
	return entry != NULL;
}

/* Returns the state of server "default" of a database; NULL: the database has no entry. */
static BgjobServerState *
default_state(Oid database)
{
	BgjobDatabase *entry = bgjob_database_find(database);

	return entry == NULL ? NULL : &entry->server;
}

/* Returns an array with server "default", as it is without a configuration, and room for more. */
static BgjobServer *
begin_list(Oid database, int room)
{
	BgjobServer *list = palloc0((room + 1) * sizeof(BgjobServer));

	strlcpy(list[0].name, BGJOB_DEFAULT_SERVER, sizeof(list[0].name));
	list[0].state = default_state(database);
	return list;
}

/*
 * bgjob_servers_list returns the servers of a database, "default" as the first, and
 * their number; in the current memory context.
 */
BgjobServer *
bgjob_servers_list(Oid database, int *n)
{
	int used = are_none() ? 0 : (int) pg_atomic_read_u32(&control->used);
	int room = Min(used, BGJOB_SERVERS_OF_DATABASE -
							 1); /* who adds one now wakes the scheduler again */
	BgjobServer *list = begin_list(database, room);
	Entry *entry = NULL;

	*n = 1;
	if (room == 0)
		return list;
	LWLockAcquire(&control->lock, LW_SHARED);
	while ((entry = next_entry(database, entry)) != NULL)
		if (entry->server.id == BGJOB_DEFAULT_SERVER_ID)
			list[0].conf = entry->server.conf;
		else if (*n <= room)
			list[(*n)++] = entry->server;
	LWLockRelease(&control->lock);
	return list;
}

/* bgjob_servers_count returns the number of servers of a database. */
int
bgjob_servers_count(Oid database)
{
	int n = 1;
	Entry *entry = NULL;

	if (are_none())
		return n;
	LWLockAcquire(&control->lock, LW_SHARED);
	while ((entry = next_entry(database, entry)) != NULL)
		n += entry->server.id != BGJOB_DEFAULT_SERVER_ID;
	LWLockRelease(&control->lock);
	return n;
}

/* Returns the position of a queue in the list of a server; -1: it is not taken now. */
static int
level_in(const BgjobServerConf *conf, const char *queue)
{
	if (conf->paused)
		return -1;
	return bgjob_queue_level(conf->queues[0] != '\0' ? conf->queues : bgjob_queues, queue);
}

/* Adds a server to those that take a queue ("": any), if it does. */
static void
add_taking(uint32 id, const BgjobServerConf *conf, BgjobServerState *state, const char *queue,
		   BgjobServerSet *set)
{
	int level = queue[0] == '\0' ? 0 : level_in(conf, queue);

	if (level < 0 || set->n == BGJOB_SERVERS_OF_DATABASE)
		return;
	set->level = set->n == 0 ? level : Min(set->level, level);
	set->ids[set->n++] = id;
	set->saturated &= state != NULL && pg_atomic_read_u32(&state->saturated) != 0;
}

/* Finds the servers that take a queue ("": any), where some are configured. The lock is held. */
static void
find_taking(Oid database, const char *queue, BgjobServerSet *set)
{
	static const BgjobServerConf no_conf = {0};
	const BgjobServerConf *of_default = &no_conf;
	Entry *entry = NULL;

	while ((entry = next_entry(database, entry)) != NULL)
		if (entry->server.id == BGJOB_DEFAULT_SERVER_ID)
			of_default = &entry->server.conf;
		else
			add_taking(entry->server.id, &entry->server.conf, &entry->state, queue, set);
	add_taking(BGJOB_DEFAULT_SERVER_ID, of_default, default_state(database), queue, set);
}

/*
 * bgjob_servers_level returns the lowest position that a queue has in the list of a
 * server of a database that is not paused; -1: none takes it.
 */
int
bgjob_servers_level(Oid database, const char *queue)
{
	BgjobServerSet set;

	bgjob_servers_taking(database, queue, &set);
	return set.all ? bgjob_queue_level(bgjob_queues, queue) : set.level;
}

/*
 * bgjob_servers_taking finds the servers of a database that take a queue now ("": any
 * queue). Where no server is configured it finds all without a look at their lists.
 */
void
bgjob_servers_taking(Oid database, const char *queue, BgjobServerSet *set)
{
	set->all = are_none();
	set->n = 0;
	set->level = -1;
	set->saturated = !set->all;
	if (set->all)
		return;
	LWLockAcquire(&control->lock, LW_SHARED);
	if (next_entry(database, NULL) == NULL)
		set->all = true;
	else
		find_taking(database, queue, set);
	LWLockRelease(&control->lock);
}

/* bgjob_server_set_has returns whether a server is among those that take a queue. */
bool
bgjob_server_set_has(const BgjobServerSet *set, uint32 id)
{
	for (int i = 0; i < set->n; i++)
		if (set->ids[i] == id)
			return true;
	return set->all;
}
