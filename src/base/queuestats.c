/*-------------------------------------------------------------------------
 *
 * queuestats.c
 *	  What has happened in each queue of each role, counted in shared memory.
 *
 * For the history (store/statshistory.c) and for bgjob.metrics. An entry belongs to a role
 * and a queue of a database, and has counts, and histograms of how long attempts have waited
 * and run. A clean restart keeps them (base/statsfile.c); after a crash they begin anew.
 *
 * COUNTING. A transaction adds what it did when it has committed (base/change.c): its counts
 * once for each queue, the times of its attempts all under one lock. A process remembers
 * where its entries are (base/tallynotes.c). Memory is fixed and reserved at start, since
 * nothing may fail there. What is never used is never touched.
 *
 * PENDING. What was counted is "pending" until the scheduler has written it into the
 * history, and is then moved to the totals: copied, written, and moved when that has
 * committed. So it is written once, whatever fails in between, and a scheduler that takes over
 * goes on. The first addition after that tells the scheduler; more do not.
 *
 * BOUNDS. A role may use many queues, one for each of its customers, say. It has
 * BGJOB_QUEUE_STATS_OF_ROLE entries at most, and BGJOB_QUEUE_STATS_WHEN_FULL once half of all
 * are in use; the other queues of the role share an entry of the name "*". Some room is
 * reserved for these. Should it not suffice, roles share one "*" of the database.
 * An entry in which nothing was counted for a day makes room for another queue, if there
 * is none else. Its totals then go to the "*" of its role, so that sums over queues never
 * decrease.
 *
 * LOCKS. table->lock protects which entry is whose; each entry has a lock for its contents.
 * Giving an entry to another queue takes both, in this order, and another entry's after them. Where
 * only an entry's lock is taken, its generation tells whether it is still the same queue's.
 * No other lock is taken under them.
 *
 * Any process; no transaction is needed. Where the library is not preloaded nothing is
 * counted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/database.h"
#include "base/queuestats.h"
#include "base/wake.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#define NBUCKETS 1024

/* The last unused entries are for the queues that share one. */
#define RESERVED (BGJOB_QUEUE_STATS / 16)

/* An entry in which nothing was counted for so long may be given to another queue, in microseconds. */
#define IDLE INT64CONST(86400000000)

/* For so long the other queues of a role that has no room are not looked at again, in microseconds. */
#define FULL INT64CONST(60000000)

typedef struct Entry
{
	LWLock lock;
	uint32 generation; /* grows when it becomes another queue's */
	bool in_use;       /* this, and the key, are written under both locks */
	BgjobQueueStatsKey key;

	/* under the table's lock */
	uint32 next; /* in its bucket, or in the list of unused ones: index + 1; 0: none */
	TimestampTz full_until; /* of a "*": the role gets no more entries */

	/* under its lock */
	TimestampTz since;
	TimestampTz moved_at; /* pending numbers were last moved to the totals, or it was taken */
	TimestampTz pending_since; /* 0: nothing is pending */
	BgjobQueueSums pending;
	BgjobQueueSums total; /* what is not pending any more */
	TimestampTz hour;     /* of the row of the history that was written last; a hint */
	ItemPointerData tid;  /* where that row is */
} Entry;

typedef struct Table
{
	LWLock lock;
	/* under the lock */
	int nunused;
	int used;      /* all entries from this one on have never been in use */
	uint32 unused; /* the first of the others that are not in use: index + 1; 0: none */
	uint32 buckets[NBUCKETS];
	Entry entries[BGJOB_QUEUE_STATS];
} Table;

static Table *table = NULL;

/* The entry that this process adds to, whose lock it holds; NULL: none. */
static Entry *opened = NULL;

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

/* ---- sums ---- */

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

static void
subtract_sums(BgjobQueueSums *from, const BgjobQueueSums *what)
{
	for (int i = 0; i < BGJOB_NFLOWS; i++)
		from->flows[i] -= what->flows[i];
	from->cpu_time -= what->cpu_time;
	from->wal_bytes -= what->wal_bytes;
	bgjob_histogram_subtract(&from->run_time, &what->run_time);
	bgjob_histogram_subtract(&from->wait_time, &what->wait_time);
}

static bool
is_empty(const BgjobQueueSums *sums)
{
	static const BgjobQueueSums nothing;

	return memcmp(sums, &nothing, sizeof(nothing)) == 0;
}

/* ---- entries; the table's lock is held ---- */

static BgjobQueueStatsKey
make_key(Oid database, Oid role, const char *queue)
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
static Entry *
look_up(const BgjobQueueStatsKey *key)
{
	uint32 at = *bucket_of(key);

	while (at != 0 && memcmp(&table->entries[at - 1].key, key, sizeof(*key)) != 0)
		at = table->entries[at - 1].next;
	return at == 0 ? NULL : &table->entries[at - 1];
}

/* Gives an unused entry, of which there are some, to a key. */
static Entry *
take_unused(const BgjobQueueStatsKey *key, TimestampTz now)
{
	uint32 *bucket = bucket_of(key);
	Entry *entry;

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
release_entry(Entry *entry)
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
static Entry *
find_other_queues(Oid database, Oid role, TimestampTz now)
{
	BgjobQueueStatsKey key = make_key(database, role, BGJOB_OTHER_QUEUES);
	Entry *entry = look_up(&key);

	if (entry == NULL && table->nunused > 0)
		entry = take_unused(&key, now);
	if (entry == NULL && OidIsValid(role))
		entry = find_other_queues(database, InvalidOid, now);
	return entry;
}

static bool
stands_for_others(const Entry *entry)
{
	return strcmp(entry->key.queue, BGJOB_OTHER_QUEUES) == 0;
}

/* Takes an entry from its queue if nothing was counted there for long; its totals go to the "*" of its role. */
static bool
evict(Entry *entry, TimestampTz now)
{
	Entry *others = find_other_queues(entry->key.database, entry->key.role, now);
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
	int nqueues;      /* entries of the role */
	Entry *oldest;    /* that of the role which was used least recently; NULL: none */
	Entry *of_others; /* likewise, of all roles */
} Survey;

static Survey
survey(const BgjobQueueStatsKey *key)
{
	Survey found = {0, NULL, NULL};

	for (int i = 0; i < table->used; i++)
	{
		Entry *entry = &table->entries[i];

		if (!entry->in_use || stands_for_others(entry))
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
static Entry *
add_entry(const BgjobQueueStatsKey *key)
{
	TimestampTz now = bgjob_now();
	Survey found = survey(key);
	Entry *others;

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
static Entry *
look_up_any(const BgjobQueueStatsKey *key)
{
	Entry *entry = look_up(key);
	BgjobQueueStatsKey others;

	if (entry != NULL)
		return entry;
	others = make_key(key->database, key->role, BGJOB_OTHER_QUEUES);
	entry = look_up(&others);
	if (entry == NULL || entry->full_until == 0)
		return NULL;
	return entry->full_until > bgjob_now() ? entry : NULL;
}

/* Finds the entry of a key in shared memory, or adds one, and its generation. NULL: there is no room. */
static Entry *
find_shared(const BgjobQueueStatsKey *key, uint32 *generation)
{
	Entry *entry;

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

/* ---- counting ---- */

/* Locks the entry that is remembered; NULL: it is another queue's by now. */
static Entry *
lock_remembered(const BgjobQueueStatsRef *ref)
{
	Entry *entry = &table->entries[ref->entry];

	LWLockAcquire(&entry->lock, LW_EXCLUSIVE);
	if (entry->generation == ref->generation)
		return entry;
	LWLockRelease(&entry->lock);
	return NULL;
}

/* Finds an entry, locks it, and remembers it unless it is shared by several queues; NULL: there is no room. */
static Entry *
lock_found(BgjobQueueStatsRef *ref, Oid role, const char *queue)
{
	BgjobQueueStatsKey key = make_key(MyDatabaseId, role, queue);

	for (;;)
	{
		BgjobQueueStatsRef found;
		Entry *entry = find_shared(&key, &found.generation);

		ref->entry = -1;
		if (entry == NULL)
			return NULL;
		found.entry = entry - table->entries;
		entry = lock_remembered(&found); /* it may have been evicted just now */
		if (entry == NULL)
			continue;
		if (!stands_for_others(entry))
			*ref = found;
		return entry;
	}
}

/*
 * bgjob_queue_stats_open has what follows count in a queue of a role in this database;
 * "ref" remembers where that is. The caller must call bgjob_queue_stats_close soon, since a
 * lock is held. False: nothing is counted. Does not throw.
 */
bool
bgjob_queue_stats_open(BgjobQueueStatsRef *ref, Oid role, const char *queue)
{
	Assert(opened == NULL);
	if (table == NULL)
		return false;
	if (ref->entry >= 0)
		opened = lock_remembered(ref);
	if (opened == NULL)
		opened = lock_found(ref, role, queue);
	return opened != NULL;
}

/* bgjob_queue_stats_add_flows counts what has happened in the queue that is open. */
void
bgjob_queue_stats_add_flows(const int64 *flows)
{
	for (int i = 0; i < BGJOB_NFLOWS; i++)
		opened->pending.flows[i] += flows[i];
}

/* bgjob_queue_stats_add_times counts how long an attempt has run and waited, in milliseconds; negative: not known. */
void
bgjob_queue_stats_add_times(double run_time, double wait_time)
{
	if (run_time >= 0)
		bgjob_histogram_add(&opened->pending.run_time, (int64) (run_time * 1000 + 0.5));
	if (wait_time >= 0)
		bgjob_histogram_add(&opened->pending.wait_time, (int64) (wait_time * 1000 + 0.5));
}

/* bgjob_queue_stats_add_usage counts what a process has used for the queue that is open; the time is in microseconds. */
void
bgjob_queue_stats_add_usage(int64 cpu_time, int64 wal_bytes)
{
	opened->pending.cpu_time += cpu_time;
	opened->pending.wal_bytes += wal_bytes;
}

/* Tells the scheduler that something is pending, unless it knows that of this database. */
static void
tell_scheduler(void)
{
	BgjobDatabase *database = bgjob_database_find(MyDatabaseId);

	if (database != NULL && pg_atomic_exchange_u32(&database->stats_pending, 1) == 0)
		bgjob_notify_scheduler(MyDatabaseId, 0);
}

/* bgjob_queue_stats_close ends what bgjob_queue_stats_open has begun. */
void
bgjob_queue_stats_close(void)
{
	Entry *entry = opened;
	bool first;

	opened = NULL;
	if (entry == NULL)
		return;
	first = entry->pending_since == 0;
	if (first)
		entry->pending_since = bgjob_now();
	LWLockRelease(&entry->lock);
	if (first)
		tell_scheduler();
}

/* ---- reading ---- */

/* Copies an entry of a database; false: it is another's. The lock is held. */
static bool
copy_entry(const Entry *entry, Oid database, BgjobQueueStats *stats)
{
	if (!entry->in_use || entry->key.database != database)
		return false;
	stats->key = entry->key;
	stats->since = entry->since;
	stats->sums = entry->total;
	bgjob_queue_sums_add(&stats->sums, &entry->pending);
	return true;
}

/* Returns how many entries have ever been in use. */
static int
entries_used(void)
{
	int used;

	if (table == NULL)
		return 0;
	LWLockAcquire(&table->lock, LW_SHARED);
	used = table->used;
	LWLockRelease(&table->lock);
	return used;
}

/*
 * bgjob_queue_stats_next copies the next statistics of a database; *position is 0 at first.
 * Returns false if there are no more.
 */
bool
bgjob_queue_stats_next(int *position, Oid database, BgjobQueueStats *stats)
{
	int used = entries_used();

	while (*position < used)
	{
		Entry *entry = &table->entries[(*position)++];
		bool found;

		LWLockAcquire(&entry->lock, LW_SHARED);
		found = copy_entry(entry, database, stats);
		LWLockRelease(&entry->lock);
		if (found)
			return true;
	}
	return false;
}

/* ---- for the history ---- */

/* bgjob_queue_stats_pending copies the next numbers of this database that are pending, as bgjob_queue_stats_next does. */
bool
bgjob_queue_stats_pending(int *position, BgjobQueuePending *pending)
{
	int used = entries_used();

	while (*position < used)
	{
		Entry *entry = &table->entries[*position];
		bool found;

		LWLockAcquire(&entry->lock, LW_SHARED);
		found =
			entry->in_use && entry->key.database == MyDatabaseId && entry->pending_since != 0;
		if (found)
		{
			pending->ref.entry = *position;
			pending->ref.generation = entry->generation;
			pending->key = entry->key;
			pending->since = entry->pending_since;
			pending->sums = entry->pending;
			pending->hour = entry->hour;
			pending->tid = entry->tid;
		}
		LWLockRelease(&entry->lock);
		(*position)++;
		if (found)
			return true;
	}
	return false;
}

/*
 * bgjob_queue_stats_written moves numbers that were pending to the totals: they have been
 * written into the history, and the transaction has committed. Does not throw.
 */
void
bgjob_queue_stats_written(const BgjobQueuePending *pending)
{
	Entry *entry = lock_remembered(&pending->ref);

	if (entry == NULL)
		return;
	bgjob_queue_sums_add(&entry->total, &pending->sums);
	subtract_sums(&entry->pending, &pending->sums);
	entry->moved_at = bgjob_now();
	entry->pending_since = is_empty(&entry->pending) ? 0 : entry->moved_at;
	entry->hour = pending->hour;
	entry->tid = pending->tid;
	LWLockRelease(&entry->lock);
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
		Entry *entry = &table->entries[i];

		LWLockAcquire(&entry->lock, LW_EXCLUSIVE);
		if (entry->in_use && entry->key.database == database)
			release_entry(entry);
		LWLockRelease(&entry->lock);
	}
	LWLockRelease(&table->lock);
}

/* ---- for the file ---- */

/*
 * bgjob_queue_stats_kept copies the statistics at a position; false: there are none. For the
 * postmaster, when the other processes have gone: it takes no lock, since one of them may
 * have been killed while it held it.
 */
bool
bgjob_queue_stats_kept(int position, BgjobQueueKept *kept)
{
	const Entry *entry = &table->entries[position];

	if (position >= table->used || !entry->in_use)
		return false;
	memset(kept, 0, sizeof(*kept));
	kept->key = entry->key;
	kept->since = entry->since;
	kept->moved_at = entry->moved_at;
	kept->pending_since = entry->pending_since;
	kept->pending = entry->pending;
	kept->total = entry->total;
	return true;
}

/* bgjob_queue_stats_restore takes over statistics from a file, unless there are some of that queue. */
void
bgjob_queue_stats_restore(const BgjobQueueKept *kept)
{
	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	if (look_up(&kept->key) == NULL && table->nunused > 0)
	{
		Entry *entry = take_unused(&kept->key, kept->since);

		LWLockAcquire(&entry->lock, LW_EXCLUSIVE);
		entry->moved_at = kept->moved_at;
		entry->pending_since = kept->pending_since;
		entry->pending = kept->pending;
		entry->total = kept->total;
		LWLockRelease(&entry->lock);
	}
	LWLockRelease(&table->lock);
}
