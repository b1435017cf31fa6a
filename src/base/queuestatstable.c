/*-------------------------------------------------------------------------
 *
 * queuestatstable.c
 *	  The statistics of queues: whose each entry is.
 *
 * An entry belongs to a role and a queue of a database; base/queuestats.c counts in it. Memory is
 * fixed and reserved at start, since entries are added after a commit, where nothing may
 * throw. What is never used is never touched.
 *
 * BOUNDS. A role may use many queues, one for each of its customers, say. It has
 * BGJOB_QUEUE_STATS_OF_ROLE entries at most, and BGJOB_QUEUE_STATS_WHEN_FULL once half of all
 * are in use; the other queues of the role share an entry of the name "*". Some room is
 * reserved for these. Should it not suffice, roles share one "*" of the database, for which
 * the last room is reserved.
 * An entry in which nothing was counted for a day makes room for another queue, if there
 * is none else. Its totals then go to the "*" of its role, so that sums over queues never
 * decrease.
 *
 * LOCKS. table->lock protects which entry is whose; each entry has a lock for its contents.
 * Giving an entry to another queue takes both, in this order, and another entry's after them. Where
 * only an entry's lock is taken, its generation tells whether it is still the same queue's.
 * No other lock is taken under them.
 *
 * Any process; no transaction is needed. Does not throw.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/queuestatstable.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "storage/shmem.h"

#define NBUCKETS 1024

/* The last unused entries are for the queues that share one, and the very last for the roles that do. */
#define RESERVED           (BGJOB_QUEUE_STATS / 16)
#define RESERVED_FOR_ROLES (RESERVED / 4)

/* An entry in which nothing was counted for so long may be given to another queue, in microseconds. */
#define IDLE INT64CONST(86400000000)

/* For so long the other queues of a role that has no room are not looked at again, in microseconds. */
#define FULL INT64CONST(60000000)

typedef struct Table
{
	LWLock lock;
	/* under the lock */
	int nunused;
	int used;      /* all entries from this one on have never been in use */
	uint32 unused; /* the first of the others that are not in use: index + 1; 0: none */
	uint32 buckets[NBUCKETS];
	BgjobQueueEntry entries[BGJOB_QUEUE_STATS];
} Table;

static Table *table = NULL;

/* bgjob_queue_sums_add adds sums to others. */
void
bgjob_queue_sums_add(BgjobQueueSums *into, const BgjobQueueSums *from)
{
	for (int i = 0; i < BGJOB_NFLOWS; i++)
		into->flows[i] += from->flows[i];
	into->cpu_time += from->cpu_time;
	into->wal_bytes += from->wal_bytes;
	bgjob_histogram_merge(&into->run_time, &from->run_time);
	bgjob_histogram_merge(&into->wait_time, &from->wait_time);
}

/* ---- shared memory ---- */

/* bgjob_queue_stats_size returns the bytes of shared memory that the statistics take. */
Size
bgjob_queue_stats_size(void)
{
	return sizeof(Table);
}

/* bgjob_queue_stats_startup creates or finds them; from shmem_startup_hook. */
void
bgjob_queue_stats_startup(void)
{
	bool found;

	table = ShmemInitStruct("bgjob queue stats", sizeof(Table), &found);
	if (!found)
	{
		LWLockInitialize(&table->lock, LWLockNewTrancheId());
		table->nunused = BGJOB_QUEUE_STATS;
		table->used = 0;
		table->unused = 0;
		memset(table->buckets, 0, sizeof(table->buckets));
	}
	LWLockRegisterTranche(table->lock.tranche, "BgjobQueueStats");
}

/* bgjob_queue_entries_exist returns whether there are any statistics: the library is preloaded. */
bool
bgjob_queue_entries_exist(void)
{
	return table != NULL;
}

/* bgjob_queue_entries_used returns how many entries have ever been in use. */
int
bgjob_queue_entries_used(void)
{
	int used;

	if (table == NULL)
		return 0;
	LWLockAcquire(&table->lock, LW_SHARED);
	used = table->used;
	LWLockRelease(&table->lock);
	return used;
}

/* bgjob_queue_entry_at returns an entry that has been in use by its position; NULL: it has not. */
BgjobQueueEntry *
bgjob_queue_entry_at(int position)
{
	return position < table->used ? &table->entries[position] : NULL;
}

/* bgjob_queue_entry_position returns the position of an entry. */
int
bgjob_queue_entry_position(const BgjobQueueEntry *entry)
{
	return entry - table->entries;
}

/* ---- entries; the table's lock is held ---- */

/* bgjob_queue_stats_key returns the key of an entry. */
BgjobQueueStatsKey
bgjob_queue_stats_key(Oid database, Oid role, const char *queue)
{
	BgjobQueueStatsKey key;

	memset(&key, 0, sizeof(key));
	key.database = database;
	key.role = role;
	strlcpy(key.queue, queue, sizeof(key.queue));
	return key;
}

static uint32 *
bucket_of(const BgjobQueueStatsKey *key)
{
	return &table->buckets[hash_bytes((const unsigned char *) key, sizeof(*key)) % NBUCKETS];
}

/* Returns the entry of a key, NULL if it has none. */
static BgjobQueueEntry *
look_up(const BgjobQueueStatsKey *key)
{
	uint32 at = *bucket_of(key);

	while (at != 0 && memcmp(&table->entries[at - 1].key, key, sizeof(*key)) != 0)
		at = table->entries[at - 1].next;
	return at == 0 ? NULL : &table->entries[at - 1];
}

/* Gives an unused entry, of which there are some, to a key. */
static BgjobQueueEntry *
take_unused(const BgjobQueueStatsKey *key, TimestampTz now)
{
	uint32 *bucket = bucket_of(key);
	BgjobQueueEntry *entry;

	table->nunused--;
	if (table->unused != 0)
	{
		entry = &table->entries[table->unused - 1];
		table->unused = entry->next;
	}
	else
	{
		entry = &table->entries[table->used];
		LWLockInitialize(&entry->lock, table->lock.tranche);
		entry->generation = 1;
		table->used++;
	}
	LWLockAcquire(&entry->lock, LW_EXCLUSIVE);
	entry->key = *key;
	entry->in_use = true;
	entry->since = entry->moved_at = now;
	entry->pending_since = 0;
	memset(&entry->pending, 0, sizeof(entry->pending));
	memset(&entry->total, 0, sizeof(entry->total));
	entry->hour = 0;
	ItemPointerSetInvalid(&entry->tid);
	LWLockRelease(&entry->lock);
	entry->full_until = 0;
	entry->next = *bucket;
	*bucket = entry - table->entries + 1;
	return entry;
}

/* Takes an entry from its queue. Its lock is held, too. */
static void
release_entry(BgjobQueueEntry *entry)
{
	uint32 number = entry - table->entries + 1;
	uint32 *at = bucket_of(&entry->key);

	while (*at != number)
		at = &table->entries[*at - 1].next;
	*at = entry->next;
	entry->in_use = false;
	entry->generation++;
	entry->next = table->unused;
	table->unused = number;
	table->nunused++;
}

/*
 * Returns the "*" of a role, or, without room for it, that of the database; NULL: there is no
 * room for that either.
 */
static BgjobQueueEntry *
find_other_queues(Oid database, Oid role, TimestampTz now)
{
	BgjobQueueStatsKey key = bgjob_queue_stats_key(database, role, BGJOB_OTHER_QUEUES);
	BgjobQueueEntry *entry = look_up(&key);

	if (entry == NULL && table->nunused > (OidIsValid(role) ? RESERVED_FOR_ROLES : 0))
		entry = take_unused(&key, now);
	if (entry == NULL && OidIsValid(role))
		entry = find_other_queues(database, InvalidOid, now);
	return entry;
}

/* bgjob_queue_entry_stands_for_others returns whether an entry is that of several queues. */
bool
bgjob_queue_entry_stands_for_others(const BgjobQueueEntry *entry)
{
	return strcmp(entry->key.queue, BGJOB_OTHER_QUEUES) == 0;
}

/* Takes an entry from its queue if nothing was counted there for long; its totals go to the "*" of its role. */
static bool
evict(BgjobQueueEntry *entry, TimestampTz now)
{
	BgjobQueueEntry *others = find_other_queues(entry->key.database, entry->key.role, now);
	bool idle;

	LWLockAcquire(&entry->lock, LW_EXCLUSIVE);
	idle = entry->pending_since == 0 && entry->moved_at < now - IDLE;
	if (idle && others != NULL)
	{
		LWLockAcquire(&others->lock, LW_EXCLUSIVE);
		bgjob_queue_sums_add(&others->total, &entry->total);
		LWLockRelease(&others->lock);
	}
	if (idle)
		release_entry(entry);
	LWLockRelease(&entry->lock);
	return idle;
}

/* What is known of the entries when one is to be added. */
typedef struct Survey
{
	int nqueues;                /* entries of the role */
	BgjobQueueEntry *oldest;    /* that of the role which was used least recently; NULL: none */
	BgjobQueueEntry *of_others; /* likewise, of all roles */
} Survey;

static Survey
survey(const BgjobQueueStatsKey *key)
{
	Survey found = {0, NULL, NULL};

	for (int i = 0; i < table->used; i++)
	{
		BgjobQueueEntry *entry = &table->entries[i];

		if (!entry->in_use || bgjob_queue_entry_stands_for_others(entry))
			continue;
		if (found.of_others == NULL || entry->moved_at < found.of_others->moved_at)
			found.of_others = entry;
		if (entry->key.database != key->database || entry->key.role != key->role)
			continue;
		found.nqueues++;
		if (found.oldest == NULL || entry->moved_at < found.oldest->moved_at)
			found.oldest = entry;
	}
	return found;
}

/* Returns how many entries a role may have. */
static int
most_queues(void)
{
	return table->nunused < BGJOB_QUEUE_STATS / 2 ? BGJOB_QUEUE_STATS_WHEN_FULL
												  : BGJOB_QUEUE_STATS_OF_ROLE;
}

/* Returns an entry for a key that has none, which may be one for several queues. NULL: there is no room. */
static BgjobQueueEntry *
add_entry(const BgjobQueueStatsKey *key)
{
	TimestampTz now = bgjob_now();
	Survey found = survey(key);
	BgjobQueueEntry *others;

	if (found.nqueues < most_queues())
	{
		if (table->nunused > RESERVED ||
			(found.of_others != NULL && evict(found.of_others, now)))
			return take_unused(key, now);
	}
	else if (evict(found.oldest, now))
		return take_unused(key, now);
	others = find_other_queues(key->database, key->role, now);
	if (others != NULL)
		others->full_until = now + FULL;
	return others;
}

/* Returns the entry of a key; else the "*" of its role if that has no room, as was found a short while ago. */
static BgjobQueueEntry *
look_up_any(const BgjobQueueStatsKey *key)
{
	BgjobQueueEntry *entry = look_up(key);
	BgjobQueueStatsKey others;

	if (entry != NULL)
		return entry;
	others = bgjob_queue_stats_key(key->database, key->role, BGJOB_OTHER_QUEUES);
	entry = look_up(&others);
	if (entry == NULL || entry->full_until == 0)
		return NULL;
	return entry->full_until > bgjob_now() ? entry : NULL;
}

/* bgjob_queue_entry_find finds the entry of a key, or adds one, and its generation. NULL: there is no room. */
BgjobQueueEntry *
bgjob_queue_entry_find(const BgjobQueueStatsKey *key, uint32 *generation)
{
	BgjobQueueEntry *entry;

	LWLockAcquire(&table->lock, LW_SHARED);
	entry = look_up_any(key);
	if (entry == NULL)
	{
		LWLockRelease(&table->lock);
		LWLockAcquire(&table->lock, LW_EXCLUSIVE);
		entry = look_up_any(key);
		if (entry == NULL)
			entry = add_entry(key);
	}
	if (entry != NULL)
		*generation = entry->generation;
	LWLockRelease(&table->lock);
	return entry;
}

/* bgjob_queue_entry_add_kept adds an entry for a key from a file; NULL: it has one, or there is no room. */
BgjobQueueEntry *
bgjob_queue_entry_add_kept(const BgjobQueueStatsKey *key, TimestampTz since)
{
	BgjobQueueEntry *entry = NULL;

	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	if (look_up(key) == NULL && table->nunused > 0)
		entry = take_unused(key, since);
	LWLockRelease(&table->lock);
	return entry;
}

/* bgjob_queue_stats_forget frees the entries of a database that was dropped, or has lost the extension. */
void
bgjob_queue_stats_forget(Oid database)
{
	if (table == NULL)
		return;
	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	for (int i = 0; i < table->used; i++)
	{
		BgjobQueueEntry *entry = &table->entries[i];

		LWLockAcquire(&entry->lock, LW_EXCLUSIVE);
		if (entry->in_use && entry->key.database == database)
			release_entry(entry);
		LWLockRelease(&entry->lock);
	}
	LWLockRelease(&table->lock);
}
