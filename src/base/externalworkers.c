/*-------------------------------------------------------------------------
 *
 * externalworkers.c
 *	  The external workers that are known, in shared memory.
 *
 * An external worker is a role and a name. It is known from its first fetch or heartbeat on, until it holds no lease and
 * has not been heard of for FORGET_AFTER. Nothing of it is in a table: after a restart of the server it is known again
 * with its next call. The entry says what bgjob.servers shows, what an
 * administrator has asked of the worker, and which session its leases are bound to.
 *
 * BINDING. A worker with a connection of its own loses its leases with it, at once. So a fetch binds the
 * worker to its session (bgjob.bind_leases), and the leases that it gets then. When the session ends, its exit callback
 * marks these leases lost (base/lease.c), and the scheduler does the rest. Connections may be pooled, though, and the
 * end of a session says nothing then. A worker is unbound, for as long as it is known, when
 *   - it calls from another session while the one that it is bound to lives;
 *   - its session serves another worker, too (then both are);
 *   - it answers for a job that it has lost with its session: the worker lived on.
 * Leases that are not bound end by their time alone.
 *
 * The number of entries is fixed. If there is no room, or a role has more than its part, the one that was heard of longest ago
 * and holds no lease gives way; if all hold leases, the worker works on without an entry, and unbound.
 *
 * The session that calls, and readers. One LWLock, for a few microseconds; the functions of base/lease.c are called
 * without it. Nothing throws but bgjob_external_workers_list, which allocates.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/externalworkers.h"
#include "base/guc.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

/* Number of entries in the cluster, and of one role in a database. */
#define MAX_WORKERS  1024
#define ROLE_WORKERS 256

/* A worker without leases is forgotten after so long, in microseconds. */
#define FORGET_AFTER (INT64CONST(300) * USECS_PER_SEC)

/* Number of entries that are considered when one must give way. */
#define CANDIDATES 8

/* Without padding. */
typedef struct WorkerKey
{
	Oid database;
	Oid role;
	char name[BGJOB_WORKER_NAME_SIZE]; /* zero-filled */
} WorkerKey;

typedef struct Entry
{
	WorkerKey key; /* must be first */
	int64 heard;   /* by the steady clock */
	bool pooled;   /* never bound again */
	bool lost;     /* the session that it was bound to has ended */
	BgjobExternalWorker shown;
} Entry;

/* An entry that may have to give way. */
typedef struct Candidate
{
	WorkerKey key;
	int64 heard;
} Candidate;

typedef struct WorkerControl
{
	LWLock lock;
} WorkerControl;

static WorkerControl *control = NULL;
static HTAB *workers = NULL;

/* The worker that this session serves; role InvalidOid: none yet. */
static WorkerKey served;

/* bgjob_external_workers_size returns the bytes of shared memory that this takes. */
Size
bgjob_external_workers_size(void)
{
	return add_size(MAXALIGN(sizeof(WorkerControl)),
					hash_estimate_size(MAX_WORKERS, sizeof(Entry)));
}

/* bgjob_external_workers_startup creates or finds it; from shmem_startup_hook. */
void
bgjob_external_workers_startup(void)
{
	HASHCTL info = {.keysize = sizeof(WorkerKey), .entrysize = sizeof(Entry)};
	bool found;

	control = ShmemInitStruct("bgjob external workers", sizeof(WorkerControl), &found);
	if (!found)
	{
		LWLockInitialize(&control->lock, LWLockNewTrancheId());
	}
	LWLockRegisterTranche(control->lock.tranche, "BgjobExternalWorkers");
	workers = ShmemInitHash("bgjob external worker entries", MAX_WORKERS, MAX_WORKERS, &info,
							HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
}

static void
make_key(WorkerKey *key, Oid role, const char *name)
{
	memset(key, 0, sizeof(*key));
	key->database = MyDatabaseId;
	key->role = role;
	strlcpy(key->name, name, sizeof(key->name));
}

/* ---- forgetting ---- */

/* Returns whether a worker has not been heard of for so long that it is forgotten, if it holds no lease. */
static bool
is_silent(const Entry *entry, int64 now)
{
	return now - entry->heard > FORGET_AFTER;
}

static bool
holds_leases(const WorkerKey *key)
{
	return bgjob_leases_count(key->database, key->role, key->name) > 0;
}

/* Keeps the oldest entries, in the order of their age. */
static void
add_candidate(Candidate *oldest, int *n, const Entry *entry)
{
	int at = *n;

	while (at > 0 && oldest[at - 1].heard > entry->heard)
		at--;
	if (at == CANDIDATES)
		return;
	if (*n < CANDIDATES)
		(*n)++;
	memmove(&oldest[at + 1], &oldest[at], (*n - 1 - at) * sizeof(Candidate));
	oldest[at] = (Candidate){entry->key, entry->heard};
}

/*
 * Finds the entries that were heard of longest ago, of a role in a database, or of all (key: NULL). Returns their number;
 * *total: of all that were considered.
 */
static int
find_oldest(const WorkerKey *key, Candidate *oldest, int *total)
{
	HASH_SEQ_STATUS seq;
	Entry *entry;
	int n = 0;

	*total = 0;
	LWLockAcquire(&control->lock, LW_SHARED);
	hash_seq_init(&seq, workers);
	while ((entry = hash_seq_search(&seq)) != NULL)
		if (key == NULL ||
			(entry->key.database == key->database && entry->key.role == key->role))
		{
			add_candidate(oldest, &n, entry);
			(*total)++;
		}
	LWLockRelease(&control->lock);
	return n;
}

/* Removes the first of some entries that holds no lease and has not been heard of meanwhile. */
static bool
remove_idle(const Candidate *oldest, int n)
{
	bool removed = false;

	for (int i = 0; i < n && !removed; i++)
	{
		Entry *entry;

		if (holds_leases(&oldest[i].key))
			continue;
		LWLockAcquire(&control->lock, LW_EXCLUSIVE);
		entry = hash_search(workers, &oldest[i].key, HASH_FIND, NULL);
		removed = entry != NULL && entry->heard == oldest[i].heard;
		if (removed)
			hash_search(workers, &oldest[i].key, HASH_REMOVE, NULL);
		LWLockRelease(&control->lock);
	}
	return removed;
}

/* Makes room for an entry. False: there is none. */
static bool
make_room(const WorkerKey *key)
{
	Candidate oldest[CANDIDATES];
	int total;
	int n;

	if (hash_get_num_entries(workers) < ROLE_WORKERS)
		return true;
	n = find_oldest(key, oldest, &total);
	if (total >= ROLE_WORKERS)
		return remove_idle(oldest, n);
	if (hash_get_num_entries(workers) < MAX_WORKERS)
		return true;
	n = find_oldest(NULL, oldest, &total);
	return remove_idle(oldest, n);
}

static void
init_entry(Entry *entry)
{
	entry->pooled = entry->lost = false;
	entry->heard = bgjob_steady_now();
	entry->shown.role = entry->key.role;
	strlcpy(entry->shown.name, entry->key.name, sizeof(entry->shown.name));
	entry->shown.command = BGJOB_EXTERNAL_GO_ON;
	entry->shown.session = 0;
	entry->shown.started_at = entry->shown.heard_at = GetCurrentTimestamp();
	entry->shown.queues[0] = '\0';
}

/* Finds the entry of a worker, adds it if it is not known, and locks the entries. NULL, and no lock: there is no room. */
static Entry *
enter(const WorkerKey *key)
{
	bool forget = false;
	Entry *entry;
	bool found;

	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	entry = hash_search(workers, key, HASH_FIND, NULL);
	if (entry != NULL && !is_silent(entry, bgjob_steady_now()))
		return entry;
	LWLockRelease(&control->lock);

	if (entry != NULL)
		forget = !holds_leases(key);
	else if (!make_room(key))
		return NULL;
	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	entry = hash_search(workers, key, HASH_ENTER_NULL, &found);
	if (entry == NULL)
		LWLockRelease(&control->lock);
	else if (!found || (forget && is_silent(entry, bgjob_steady_now())))
		init_entry(entry);
	return entry;
}

/* ---- binding ---- */

/* Unbinds a worker until it is forgotten. Returns whether it was bound. The lock is held. */
static bool
unbind(Entry *entry)
{
	bool was_bound = !entry->pooled;

	entry->pooled = true;
	entry->shown.session = 0;
	return was_bound;
}

/* Unbinds the worker that this session has served, since it serves another one. Returns whether it was bound. The lock is held. */
static bool
unbind_served(void)
{
	Entry *entry = hash_search(workers, &served, HASH_FIND, NULL);

	return entry != NULL && unbind(entry);
}

/* A session ends: its worker is bound no more, and its leases are lost. */
static void
leave(int code, Datum arg)
{
	Entry *entry;
	bool bound;

	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	entry = hash_search(workers, &served, HASH_FIND, NULL);
	bound = entry != NULL && entry->shown.session == MyProcPid;
	if (bound)
	{
		entry->shown.session = 0;
		entry->lost = true;
	}
	LWLockRelease(&control->lock);
	if (bound)
		bgjob_leases_lose(MyDatabaseId, MyProcPid);
}

/* Notes that this session serves a worker, from now on. */
static void
serve(const WorkerKey *key)
{
	if (!OidIsValid(served.role))
		before_shmem_exit(leave, (Datum) 0);
	served = *key;
}

/*
 * Notes a call of a worker. late: for a job that it has no more. Returns whether it turns out that sessions are pooled, for this
 * worker and (*other) for the one that this session has served before. The lock is held.
 */
static bool
hear(Entry *entry, bool late, bool *other)
{
	bool another =
		OidIsValid(served.role) && memcmp(&served, &entry->key, sizeof(WorkerKey)) != 0;
	bool moved = entry->shown.session != 0 && entry->shown.session != MyProcPid;

	entry->heard = bgjob_steady_now();
	entry->shown.heard_at = GetCurrentTimestamp();
	*other = another && unbind_served();
	return (another || moved || (late && entry->lost)) && unbind(entry);
}

/* Unbinds the leases of workers that turn out to use pooled sessions. The lock has been released. */
static void
unbind_leases(const WorkerKey *key, bool pooled, const WorkerKey *before, bool other)
{
	if (pooled)
		bgjob_leases_unbind(key->database, key->role, key->name);
	if (other)
		bgjob_leases_unbind(before->database, before->role, before->name);
}

/*
 * bgjob_external_worker_fetches notes that a worker is about to fetch jobs of some queues. False: it is to get
 * none, since an administrator has asked it to be quiet, or to leave. *bound: the leases that it gets
 * are bound to this session.
 */
bool
bgjob_external_worker_fetches(Oid role, const char *name, const char *queues, bool *bound)
{
	WorkerKey before = served;
	WorkerKey key;
	Entry *entry;
	bool pooled;
	bool other;
	bool may_fetch;

	*bound = false;
	make_key(&key, role, name);
	entry = enter(&key);
	if (entry == NULL)
		return true;
	pooled = hear(entry, false, &other);
	if (strcmp(entry->shown.queues, queues) != 0)
		strlcpy(entry->shown.queues, queues, sizeof(entry->shown.queues));
	may_fetch = entry->shown.command == BGJOB_EXTERNAL_GO_ON;
	*bound = bgjob_bind_leases && !entry->pooled && may_fetch;
	if (*bound)
		entry->shown.session = MyProcPid;
	LWLockRelease(&control->lock);
	serve(&key);
	unbind_leases(&key, pooled, &before, other);
	return may_fetch;
}

/* Notes a call of a worker other than a fetch. Returns what an administrator wants of it. */
static BgjobExternalCommand
call(Oid role, const char *name, bool late)
{
	WorkerKey before = served;
	BgjobExternalCommand command;
	WorkerKey key;
	Entry *entry;
	bool pooled;
	bool other;

	make_key(&key, role, name);
	entry = enter(&key);
	if (entry == NULL)
		return BGJOB_EXTERNAL_GO_ON;
	pooled = hear(entry, late, &other);
	command = entry->shown.command;
	LWLockRelease(&control->lock);
	serve(&key);
	unbind_leases(&key, pooled, &before, other);
	return command;
}

/* bgjob_external_worker_answers notes that a worker has answered for a job; late: which it has no more. */
void
bgjob_external_worker_answers(Oid role, const char *name, bool late)
{
	(void) call(role, name, late);
}

/* bgjob_external_worker_beats notes a heartbeat of a worker; late: also for a job that it has no more. Returns what an administrator wants of it. */
BgjobExternalCommand
bgjob_external_worker_beats(Oid role, const char *name, bool late)
{
	return call(role, name, late);
}

/* ---- readers, and administrators ---- */

/*
 * bgjob_external_workers_list returns copies of the entries of the workers of a database that are not forgotten, and their number, in the
 * current memory context.
 */
BgjobExternalWorker *
bgjob_external_workers_list(Oid database, int *n)
{
	BgjobExternalWorker *list;
	HASH_SEQ_STATUS seq;
	int64 now = bgjob_steady_now();
	bool *silent;
	Entry *entry;
	int total = 0;
	int room;

	*n = 0;
	if (control == NULL || hash_get_num_entries(workers) == 0)
		return NULL;
	room = hash_get_num_entries(workers) + 16; /* some may be added meanwhile */
	list = palloc(room * sizeof(BgjobExternalWorker));
	silent = palloc(room * sizeof(bool));
	LWLockAcquire(&control->lock, LW_SHARED);
	hash_seq_init(&seq, workers);
	while ((entry = hash_seq_search(&seq)) != NULL)
		if (entry->key.database == database && total < room)
		{
			silent[total] = is_silent(entry, now);
			list[total++] = entry->shown;
		}
	LWLockRelease(&control->lock);
	for (int i = 0; i < total; i++)
		if (!silent[i] || bgjob_leases_count(database, list[i].role, list[i].name) > 0)
			list[(*n)++] = list[i];
	pfree(silent);
	return list;
}

/*
 * bgjob_external_workers_command notes (apply) what an administrator wants of the workers of a name, of any role. Returns
 * whether that is new to one of them. What it was asked to leave, it cannot be asked to go on or to be quiet.
 */
bool
bgjob_external_workers_command(Oid database, const char *name, BgjobExternalCommand command,
							   bool apply)
{
	HASH_SEQ_STATUS seq;
	bool changed = false;
	Entry *entry;

	if (control == NULL || hash_get_num_entries(workers) == 0)
		return false;
	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	hash_seq_init(&seq, workers);
	while ((entry = hash_seq_search(&seq)) != NULL)
		if (entry->key.database == database && strcmp(entry->key.name, name) == 0 &&
			entry->shown.command != command && entry->shown.command != BGJOB_EXTERNAL_TERMINATE)
		{
			if (apply)
				entry->shown.command = command;
			changed = true;
		}
	LWLockRelease(&control->lock);
	return changed;
}

/* bgjob_external_workers_forget drops the entries of a database that bgjob has left. */
void
bgjob_external_workers_forget(Oid database)
{
	HASH_SEQ_STATUS seq;
	Entry *entry;

	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	hash_seq_init(&seq, workers);
	while ((entry = hash_seq_search(&seq)) != NULL)
		if (entry->key.database == database)
			hash_search(workers, &entry->key, HASH_REMOVE, NULL);
	LWLockRelease(&control->lock);
}
