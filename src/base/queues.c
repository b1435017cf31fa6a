/*-------------------------------------------------------------------------
 *
 * queues.c
 *	  The configuration of queues, in shared memory.
 *
 * bgjob_internal.queue_conf is the truth; this is the copy that workers and schedulers read,
 * since they read it for every lane. A session that changes a queue applies the
 * change here when it commits (base/change.c), so the next claim obeys it. The
 * scheduler applies the whole table at its start and when changes may be
 * missing (COMMIT PREPARED). Two changes of one queue may be applied in the wrong
 * order: each has a version, and an older one does not replace a newer one.
 *
 * There is room for MAX_QUEUES configured queues in the cluster; configuring one
 * more is refused before anything is changed.
 *
 * Any process. One LWLock, held for the look-up of a hash table only; it may be
 * taken while the lock of a lane group is held, and nothing is taken under it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/queues.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"

#define MAX_QUEUES 1024

typedef struct QueueKey
{
	Oid database;
	char name[BGJOB_QUEUE_NAME_SIZE]; /* zero-filled */
} QueueKey;

typedef struct QueueEntry
{
	QueueKey key; /* must be first */
	BgjobQueueConf conf;
} QueueEntry;

typedef struct QueueControl
{
	LWLock lock;
	pg_atomic_uint64 generation; /* grows whenever an entry changes */
	pg_atomic_uint32 bounded;    /* entries with a max_length; written under the lock */
	pg_atomic_uint32 limited;    /* with max_running, likewise */
} QueueControl;

static QueueControl *control = NULL;
static HTAB *queues = NULL;

/* bgjob_queues_size returns the bytes of shared memory that this takes. */
Size
bgjob_queues_size(void)
{
	return add_size(MAXALIGN(sizeof(QueueControl)),
					hash_estimate_size(MAX_QUEUES, sizeof(QueueEntry)));
}

/* bgjob_queues_startup creates or finds it; from shmem_startup_hook. */
void
bgjob_queues_startup(void)
{
	HASHCTL info = {.keysize = sizeof(QueueKey), .entrysize = sizeof(QueueEntry)};
	bool found;

	control = ShmemInitStruct("bgjob queues", sizeof(QueueControl), &found);
	if (!found)
	{
		LWLockInitialize(&control->lock, LWLockNewTrancheId());
		pg_atomic_init_u64(&control->generation, 1);
		pg_atomic_init_u32(&control->bounded, 0);
		pg_atomic_init_u32(&control->limited, 0);
	}
	LWLockRegisterTranche(control->lock.tranche, "BgjobQueues");
	queues = ShmemInitHash("bgjob queue table", MAX_QUEUES, MAX_QUEUES, &info,
						   HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
}

static QueueKey
make_key(Oid database, const char *queue)
{
	QueueKey key;

	memset(&key, 0, sizeof(key));
	key.database = database;
	strlcpy(key.name, queue, sizeof(key.name));
	return key;
}

/* bgjob_queues_get returns the configuration of a queue, or the defaults. */
BgjobQueueConf
bgjob_queues_get(Oid database, const char *queue)
{
	BgjobQueueConf conf = {.group_size = 1, .max_running = -1, .max_length = -1};
	QueueKey key = make_key(database, queue);
	QueueEntry *entry;

	LWLockAcquire(&control->lock, LW_SHARED);
	entry = hash_search(queues, &key, HASH_FIND, NULL);
	if (entry != NULL)
		conf = entry->conf;
	LWLockRelease(&control->lock);
	return conf;
}

/* Counts an entry that has a max_length or max_running, or no longer does. The lock is held. */
static void
count_bounded(const QueueEntry *entry, int by)
{
	if (entry->conf.max_length >= 0)
		pg_atomic_fetch_add_u32(&control->bounded, by);
	if (entry->conf.max_running >= 0)
		pg_atomic_fetch_add_u32(&control->limited, by);
}

/* bgjob_queues_set applies a change, unless a newer one has been. Does not throw. */
void
bgjob_queues_set(Oid database, const char *queue, const BgjobQueueConf *conf)
{
	QueueKey key = make_key(database, queue);
	QueueEntry *entry;
	bool found;

	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	entry = hash_search(queues, &key, HASH_ENTER_NULL, &found);
	if (entry != NULL && (!found || entry->conf.version < conf->version))
	{
		if (found)
			count_bounded(entry, -1);
		entry->conf = *conf;
		count_bounded(entry, 1);
		pg_atomic_fetch_add_u64(&control->generation, 1);
	}
	LWLockRelease(&control->lock);
}

/* bgjob_queues_remove goes back to the defaults, unless there is a newer change. Does not throw. */
void
bgjob_queues_remove(Oid database, const char *queue, int64 version)
{
	QueueKey key = make_key(database, queue);
	QueueEntry *entry;

	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	entry = hash_search(queues, &key, HASH_FIND, NULL);
	if (entry != NULL && entry->conf.version < version)
	{
		count_bounded(entry, -1);
		hash_search(queues, &key, HASH_REMOVE, NULL);
		pg_atomic_fetch_add_u64(&control->generation, 1);
	}
	LWLockRelease(&control->lock);
}

/* bgjob_queues_forget drops the queues of a database that bgjob has left. */
void
bgjob_queues_forget(Oid database)
{
	HASH_SEQ_STATUS all;
	QueueEntry *entry;

	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	hash_seq_init(&all, queues);
	while ((entry = hash_seq_search(&all)) != NULL)
		if (entry->key.database == database)
		{
			count_bounded(entry, -1);
			hash_search(queues, &entry->key, HASH_REMOVE, NULL);
		}
	pg_atomic_fetch_add_u64(&control->generation, 1);
	LWLockRelease(&control->lock);
}

/* bgjob_queues_full returns whether there is no room for another queue. */
bool
bgjob_queues_full(void)
{
	bool full;

	LWLockAcquire(&control->lock, LW_SHARED);
	full = hash_get_num_entries(queues) >= MAX_QUEUES;
	LWLockRelease(&control->lock);
	return full;
}

/* bgjob_queues_bounded returns whether some queue has a max_length; a read of memory. */
bool
bgjob_queues_bounded(void)
{
	return control != NULL && pg_atomic_read_u32(&control->bounded) > 0;
}

/* bgjob_queues_limited returns whether some queue has max_running; a read of memory. */
bool
bgjob_queues_limited(void)
{
	return control != NULL && pg_atomic_read_u32(&control->limited) > 0;
}

/* bgjob_queues_generation returns a number that changes whenever a queue does. */
uint64
bgjob_queues_generation(void)
{
	return pg_atomic_read_u64(&control->generation);
}

/*
 * bgjob_queue_next_name copies the next name of a list of queues, which may be "*", and moves *list behind it. False: there
 * is none any more. A name that is too long for a queue is cut. Neither allocates nor throws.
 */
bool
bgjob_queue_next_name(const char **list, char *name)
{
	const char *start = *list + strspn(*list, BGJOB_QUEUE_SEPARATORS);
	size_t n = strcspn(start, BGJOB_QUEUE_SEPARATORS);

	*list = start + n;
	strlcpy(name, start, Min(n + 1, BGJOB_QUEUE_NAME_SIZE));
	return n > 0;
}

/* bgjob_queue_names returns whether a list like that of bgjob_queue_level has a name, or "*", as an element. */
bool
bgjob_queue_names(const char *list, const char *name)
{
	size_t length = strlen(name);

	while (*(list += strspn(list, BGJOB_QUEUE_SEPARATORS)) != '\0')
	{
		size_t n = strcspn(list, BGJOB_QUEUE_SEPARATORS);

		if (n == length && memcmp(list, name, n) == 0)
			return true;
		list += n;
	}
	return false;
}

/*
 * bgjob_queue_level returns the position of a queue in a list like 'critical,
 * default, *', -1 if it is not to be taken at all. "*" stands for all that are
 * not named. Neither allocates nor throws.
 */
int
bgjob_queue_level(const char *list, const char *queue)
{
	size_t length = strlen(queue);
	int level = 0;
	int others = -1;

	while (*(list += strspn(list, BGJOB_QUEUE_SEPARATORS)) != '\0')
	{
		size_t n = strcspn(list, BGJOB_QUEUE_SEPARATORS);

		if (n == length && memcmp(list, queue, n) == 0)
			return level;
		if (n == 1 && *list == '*')
			others = level;
		list += n;
		level++;
	}
	return others;
}
