/*-------------------------------------------------------------------------
 *
 * chunkwaits.c
 *	  Jobs that wait for others to be performed with, in shared memory.
 *
 * A job of a function with a chunk_wait is enqueued as scheduled, so it starts in time
 * whatever happens. All that wait together are scheduled for the same moment, which the
 * first of them has chosen: its end of chunk_wait. An entry here says which moment that is,
 * and how many have joined. When as many as the function takes have been committed, the
 * scheduler moves them into the queue without waiting for that moment
 * (process/duejobs.c), and who comes next begins a new entry.
 *
 * WHY NONE IS STRANDED. The entries are hints. The schedule has the time of each job, and
 * nobody who joins is scheduled later than his own chunk_wait allows. If an entry is
 * lost (a crash, no room), if some that have joined are rolled back, or commit late or in
 * a prepared transaction, the others run at that moment.
 *
 * Any process may join. What has been inserted is noted, and counted after the commit
 * (base/change.c). The scheduler of the database takes what is full. One LWLock, for microseconds.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/chunkwaits.h"
#include "base/wake.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

/*
 * Number of entries. A key has its entries among a few neighbours, chosen by its hash. Where there is
 * no room, those that wait longest do so to the end.
 */
#define ENTRIES    1024
#define NEIGHBOURS 16

/* Jobs that wait together. */
typedef struct Waiting
{
	Oid database; /* InvalidOid: free */
	Oid role;
	uint64 hash;
	TimestampTz at; /* when they are due */
	int size;       /* so many make it full */
	int joined;
	int come; /* of these, committed */
	bool full;
} Waiting;

typedef struct ChunkWaits
{
	LWLock lock;
	pg_atomic_uint32 full; /* number of entries that are full */
	Waiting entries[ENTRIES];
} ChunkWaits;

static ChunkWaits *waits = NULL;

/* bgjob_chunkwaits_size returns the bytes of shared memory that the entries take. */
Size
bgjob_chunkwaits_size(void)
{
	return sizeof(ChunkWaits);
}

/* bgjob_chunkwaits_startup creates or finds them; from shmem_startup_hook. */
void
bgjob_chunkwaits_startup(void)
{
	bool found;

	waits = ShmemInitStruct("bgjob chunk waits", bgjob_chunkwaits_size(), &found);
	if (!found)
	{
		memset(waits, 0, bgjob_chunkwaits_size());
		LWLockInitialize(&waits->lock, LWLockNewTrancheId());
		pg_atomic_init_u32(&waits->full, 0);
	}
	LWLockRegisterTranche(waits->lock.tranche, "BgjobChunkWaits");
}

/* Returns the first of the entries that a key can have. */
static Waiting *
entries_of(const BgjobChunkKey *key)
{
	return &waits->entries[key->hash % (ENTRIES / NEIGHBOURS) * NEIGHBOURS];
}

static bool
is_of(const Waiting *entry, const BgjobChunkKey *key)
{
	return entry->database == MyDatabaseId && entry->role == key->role &&
		   entry->hash == key->hash;
}

/* Frees an entry. The lock is held. */
static void
free_entry(Waiting *entry)
{
	if (entry->full)
		pg_atomic_fetch_sub_u32(&waits->full, 1);
	*entry = (Waiting){.database = InvalidOid};
}

/* Returns the moment from which on an entry can be used for others: those that it is of have run, or are due. */
static TimestampTz
usable_from(const Waiting *entry)
{
	return entry->database == InvalidOid ? DT_NOBEGIN : entry->at;
}

/*
 * Returns the entry that a job of a key can join if it waits until "latest" at most, else a free
 * one. If there is none, the entry with the longest wait is given up, unless that
 * ends before "latest": then NULL. The lock is held.
 */
static Waiting *
find_entry(const BgjobChunkKey *key, TimestampTz now, TimestampTz latest)
{
	Waiting *entries = entries_of(key);
	Waiting *first = entries;
	Waiting *last = entries;

	for (int i = 0; i < NEIGHBOURS; i++)
	{
		Waiting *entry = &entries[i];

		if (is_of(entry, key) && entry->at > now && entry->at <= latest &&
			entry->joined < entry->size && !entry->full)
			return entry;
		if (usable_from(entry) < usable_from(first))
			first = entry;
		if (usable_from(entry) > usable_from(last))
			last = entry;
	}
	if (usable_from(first) > now)
		first = usable_from(last) > latest && !last->full ? last : NULL;
	if (first != NULL)
		free_entry(first);
	return first;
}

/*
 * bgjob_chunkwaits_join has a job wait for others, so that there are "size", for at most "wait"
 * microseconds. Returns the time that it is to be scheduled for.
 */
TimestampTz
bgjob_chunkwaits_join(const BgjobChunkKey *key, int size, int64 wait, TimestampTz now)
{
	TimestampTz at = now + wait;
	Waiting *entry;

	if (waits == NULL)
		return at;
	LWLockAcquire(&waits->lock, LW_EXCLUSIVE);
	entry = find_entry(key, now, at);
	if (entry != NULL && entry->database == InvalidOid)
		*entry = (Waiting){.database = MyDatabaseId,
						   .role = key->role,
						   .hash = key->hash,
						   .at = at,
						   .size = size};
	if (entry != NULL)
	{
		entry->joined++;
		at = entry->at;
	}
	LWLockRelease(&waits->lock);
	return at;
}

/* Counts n jobs that wait until "at", and have been committed. Does not throw. */
static void
count_come(const BgjobChunkKey *key, TimestampTz at, int n)
{
	Waiting *entries = entries_of(key);
	bool full = false;

	LWLockAcquire(&waits->lock, LW_EXCLUSIVE);
	for (int i = 0; i < NEIGHBOURS; i++)
	{
		Waiting *entry = &entries[i];

		if (!is_of(entry, key) || entry->at != at || entry->full)
			continue;
		entry->come += n;
		entry->full = full = entry->come >= entry->size;
		break;
	}
	if (full)
		pg_atomic_fetch_add_u32(&waits->full, 1);
	LWLockRelease(&waits->lock);
	if (full)
		bgjob_notify_scheduler(MyDatabaseId, 0);
}

/* bgjob_chunkwaits_take_full takes jobs of this database that wait although they are enough; false: there are none. */
bool
bgjob_chunkwaits_take_full(Oid *role, TimestampTz *at)
{
	bool found = false;

	if (pg_atomic_read_u32(&waits->full) == 0)
		return false;
	LWLockAcquire(&waits->lock, LW_EXCLUSIVE);
	for (int i = 0; i < ENTRIES && !found; i++)
	{
		Waiting *entry = &waits->entries[i];

		found = entry->full && entry->database == MyDatabaseId;
		if (!found)
			continue;
		*role = entry->role;
		*at = entry->at;
		free_entry(entry);
	}
	LWLockRelease(&waits->lock);
	return found;
}

/* ---- what a transaction notes ---- */

/* bgjob_wait_notes_add notes that n jobs which wait until "at" have been inserted. */
void
bgjob_wait_notes_add(BgjobWaitNote **notes, const BgjobChunkKey *key, TimestampTz at, int n)
{
	BgjobWaitNote *note = *notes;

	if (note == NULL || note->key.role != key->role || note->key.hash != key->hash ||
		note->at != at)
	{
		note = MemoryContextAlloc(TopTransactionContext, sizeof(BgjobWaitNote));
		*note = (BgjobWaitNote){.next = *notes, .key = *key, .at = at};
		*notes = note;
	}
	note->n += n;
}

/* bgjob_wait_notes_merge adds the notes of a committed subtransaction to those of its parent, and frees them. */
void
bgjob_wait_notes_merge(BgjobWaitNote *inner, BgjobWaitNote **outer)
{
	for (const BgjobWaitNote *note = inner; note != NULL; note = note->next)
		bgjob_wait_notes_add(outer, &note->key, note->at, note->n);
	bgjob_wait_notes_free(inner);
}

/* bgjob_wait_notes_free frees the notes of a subtransaction. */
void
bgjob_wait_notes_free(BgjobWaitNote *notes)
{
	while (notes != NULL)
	{
		BgjobWaitNote *next = notes->next;

		pfree(notes);
		notes = next;
	}
}

/* bgjob_wait_notes_commit counts what has been committed. Does not throw. */
void
bgjob_wait_notes_commit(const BgjobWaitNote *notes)
{
	for (; notes != NULL; notes = notes->next)
		count_come(&notes->key, notes->at, notes->n);
}
