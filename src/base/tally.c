/*-------------------------------------------------------------------------
 *
 * tally.c
 *	  How many jobs each role has in each queue, in shared memory.
 *
 * For bgjob.queues. A tally belongs to a role and a queue of a database, and counts
 * as the database's own sums do: base + moves (store/count.c). A transaction adds
 * its moves after its commit (base/tallynotes.c); the bases of all tallies of a
 * database are set together, by whoever has counted the tables.
 *
 * Memory is fixed and reserved at start, since tallies are added after a commit,
 * where nothing may throw. What is never used is never touched.
 *
 * BOUNDS. A role may use many queues, one for each of its customers, say. It has
 * BGJOB_TALLIES_OF_ROLE tallies at most, and BGJOB_TALLIES_WHEN_FULL while more than
 * half of all are in use, so other roles always find room. A role that needs more is
 * "lost": its head says so, and its queues are counted from the tables until the
 * jobs are counted anew. The sums of the database have no such bound.
 *
 * LIFE OF A TALLY. Sessions remember where their tallies are, so one that is freed
 * must not be used for another queue while some session may still add to it. A
 * session looks at the generation, and adds, while it is named among the movers
 * (base/database.c). bgjob_tallies_renew unlinks tallies, waits for the movers of
 * that moment, and frees the tallies after that. The tallies of a database that was
 * dropped are freed at once (api/utility.c): no session is connected to it.
 *
 * LOCKS. control->lock: shared to find and read tallies, exclusively to add and
 * free some and to set bases; held for some milliseconds where there are very many.
 * Moves are added without it. Order: registry->lock, this lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "base/database.h"
#include "base/tally.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#define NBUCKETS 16384

/* The last tallies are for the heads of roles. */
#define RESERVED (BGJOB_TALLIES / 16)

/* How long to wait for transactions that may be adding to a tally that was unlinked, in milliseconds. */
#define GRACE 1000

typedef struct TallyControl
{
	LWLock lock;
	/* under lock */
	int nfree;
	int used;    /* all tallies from this one on have never been in use */
	uint32 free; /* the first of the others that are not in use: index + 1; 0: none */
	uint32 buckets[NBUCKETS];
	BgjobTally tallies[BGJOB_TALLIES];
} TallyControl;

static TallyControl *control = NULL;

/* bgjob_tallies_size returns the bytes of shared memory that tallies take. */
Size
bgjob_tallies_size(void)
{
	return sizeof(TallyControl);
}

/* bgjob_tallies_startup creates or finds them; from shmem_startup_hook. */
void
bgjob_tallies_startup(void)
{
	bool found;

	control = ShmemInitStruct("bgjob tallies", sizeof(TallyControl), &found);
	if (!found)
	{
		LWLockInitialize(&control->lock, LWLockNewTrancheId());
		control->nfree = BGJOB_TALLIES;
		control->used = 0;
		control->free = 0;
		memset(control->buckets, 0, sizeof(control->buckets));
	}
	LWLockRegisterTranche(control->lock.tranche, "BgjobTallies");
}

/* bgjob_tallied returns as what the jobs of a state are counted. */
BgjobTallied
bgjob_tallied(BgjobState state)
{
	static const BgjobTallied tallied[BGJOB_NSTATES] = {
		[BGJOB_NONE] = BGJOB_TALLIED_NOT,
		[BGJOB_ENQUEUED] = BGJOB_TALLIED_WAITING,
		[BGJOB_SCHEDULED] = BGJOB_TALLIED_SCHEDULED,
		[BGJOB_AWAITING] = BGJOB_TALLIED_AWAITING,
		[BGJOB_PROCESSING] = BGJOB_TALLIED_WAITING,
		[BGJOB_SUCCEEDED] = BGJOB_TALLIED_NOT,
		[BGJOB_FAILED] = BGJOB_TALLIED_FAILED,
		[BGJOB_DELETED] = BGJOB_TALLIED_NOT,
	};

	return tallied[state];
}

/* ---- finding, adding and freeing; the lock is held ---- */

static BgjobTallyKey
make_key(Oid role, const char *queue)
{
	BgjobTallyKey key;

	memset(&key, 0, sizeof(key));
	key.database = MyDatabaseId;
	key.role = role;
	strlcpy(key.queue, queue, sizeof(key.queue));
	return key;
}

static uint32 *
bucket_of(const BgjobTallyKey *key)
{
	return &control->buckets[hash_bytes((const unsigned char *) key, sizeof(*key)) % NBUCKETS];
}

static BgjobTally *
find(const BgjobTallyKey *key)
{
	uint32 at = *bucket_of(key);

	while (at != 0 && memcmp(&control->tallies[at - 1].key, key, sizeof(*key)) != 0)
		at = control->tallies[at - 1].next;
	return at == 0 ? NULL : &control->tallies[at - 1];
}

/* Adds a tally that is not there, with nothing in it; NULL: no more than "leave" are free. */
static BgjobTally *
add(const BgjobTallyKey *key, int leave)
{
	BgjobTally *tally;
	uint32 *bucket = bucket_of(key);

	if (control->nfree <= leave)
		return NULL;
	control->nfree--;
	if (control->free != 0)
	{
		tally = &control->tallies[control->free - 1];
		control->free = tally->next;
	}
	else
	{
		tally = &control->tallies[control->used++];
		tally->generation = 1;
		for (int i = 0; i < BGJOB_NTALLIED; i++)
			pg_atomic_init_u64(&tally->moves[i], 0);
	}
	for (int i = 0; i < BGJOB_NTALLIED; i++)
	{
		pg_atomic_write_u64(&tally->moves[i], 0);
		tally->base[i] = 0;
	}
	tally->key = *key;
	tally->lost = false;
	tally->nqueues = 0;
	tally->in_use = true;
	tally->next = *bucket;
	*bucket = tally - control->tallies + 1;
	return tally;
}

/* Takes a tally out of its bucket. From now on no session finds it. */
static void
unlink_tally(BgjobTally *tally)
{
	uint32 number = tally - control->tallies + 1;
	uint32 *at = bucket_of(&tally->key);

	while (*at != number)
		at = &control->tallies[*at - 1].next;
	*at = tally->next;
	tally->in_use = false;
	tally->generation++;
}

static void
put_free(BgjobTally *tally)
{
	tally->next = control->free;
	control->free = tally - control->tallies + 1;
	control->nfree++;
}

/* How many queues a role may have. */
static int
most_queues(void)
{
	return control->nfree < BGJOB_TALLIES / 2 ? BGJOB_TALLIES_WHEN_FULL : BGJOB_TALLIES_OF_ROLE;
}

/* Finds the head of a role's tallies, or adds it. NULL: there is no room, which is noted. */
static BgjobTally *
find_head(const BgjobTallyKey *key)
{
	BgjobTally *head = find(key);
	BgjobDatabase *entry;

	if (head == NULL)
		head = add(key, 0);
	if (head != NULL)
		return head;
	entry = bgjob_database_find(MyDatabaseId);
	if (entry != NULL)
		entry->tallies_lost = true;
	return NULL;
}

/* Finds the tally of a queue of a role, or adds it, and its head. NULL: there is no room, which is noted. */
static BgjobTally *
find_or_add(const BgjobTallyKey *key)
{
	BgjobTallyKey head_key = make_key(key->role, "");
	BgjobTally *tally = find(key);
	BgjobTally *head;

	if (tally != NULL)
		return tally;
	head = find_head(&head_key);
	if (head == NULL)
		return NULL;
	if (!head->lost && head->nqueues < most_queues())
		tally = add(key, RESERVED);
	if (tally == NULL)
		head->lost = true;
	else
		head->nqueues++;
	return tally;
}

/* Returns whether a role gets no other tally, as has been noted already. */
static bool
has_no_room(Oid role)
{
	BgjobTallyKey key = make_key(role, "");
	const BgjobTally *head = find(&key);

	return head != NULL && head->lost;
}

/*
 * bgjob_tally_get returns the tally of a queue of a role in this database, which is
 * added if need be, and its generation. NULL if there is no room for it. Does not
 * throw.
 */
BgjobTally *
bgjob_tally_get(Oid role, const char *queue, uint64 *generation)
{
	BgjobTallyKey key = make_key(role, queue);
	BgjobTally *tally;
	bool no_room;

	LWLockAcquire(&control->lock, LW_SHARED);
	tally = find(&key);
	if (tally != NULL)
		*generation = tally->generation;
	no_room = tally == NULL && has_no_room(role);
	LWLockRelease(&control->lock);
	if (tally != NULL || no_room)
		return tally;

	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	tally = find_or_add(&key);
	if (tally != NULL)
		*generation = tally->generation;
	LWLockRelease(&control->lock);
	return tally;
}

/* bgjob_tallies_lose marks a role of this database as lost, since not all of its moves are known. */
void
bgjob_tallies_lose(Oid role)
{
	BgjobTallyKey key = make_key(role, "");
	BgjobTally *head;

	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	head = find_head(&key);
	if (head != NULL)
		head->lost = true;
	LWLockRelease(&control->lock);
}

/* ---- all of a database ---- */

static bool
is_of(const BgjobTally *tally, Oid database)
{
	return tally->in_use && tally->key.database == database;
}

/*
 * bgjob_tallies_moves copies the moves of all tallies of this database. Returns
 * their number; if that is more than there is room for, the copy is not complete.
 */
int
bgjob_tallies_moves(BgjobTallyMoves *copy, int room)
{
	int n = 0;

	LWLockAcquire(&control->lock, LW_SHARED);
	for (int i = 0; i < control->used; i++)
	{
		BgjobTally *tally = &control->tallies[i];

		if (!is_of(tally, MyDatabaseId) || n++ >= room)
			continue;
		copy[n - 1].tally = tally;
		copy[n - 1].generation = tally->generation;
		for (int kind = 0; kind < BGJOB_NTALLIED; kind++)
			copy[n - 1].moves[kind] = (int64) pg_atomic_read_u64(&tally->moves[kind]);
	}
	LWLockRelease(&control->lock);
	return n;
}

/*
 * bgjob_tallies_set sets the bases of all tallies of this database, and its
 * entry->counted: "rows" is what was counted at a moment, "before" the moves at that
 * moment. Tallies that were added since then had no jobs and no moves. The caller
 * holds registry->lock, and has set the bases of the sums.
 */
void
bgjob_tallies_set(BgjobDatabase *entry, uint64 counted, const BgjobTallyMoves *before,
				  int nbefore, const BgjobTallyRow *rows, int nrows)
{
	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	entry->counted = counted;
	for (int i = 0; i < nbefore; i++)
		for (int kind = 0; kind < BGJOB_NTALLIED; kind++)
			if (before[i].tally->generation == before[i].generation)
				before[i].tally->base[kind] = -before[i].moves[kind];
	for (int i = 0; i < nrows; i++)
	{
		BgjobTallyKey key = make_key(rows[i].role, rows[i].queue);
		BgjobTally *tally = find_or_add(&key);

		for (int kind = 0; tally != NULL && kind < BGJOB_NTALLIED; kind++)
			tally->base[kind] += rows[i].counts[kind];
	}
	LWLockRelease(&control->lock);
}

/*
 * bgjob_tallies_read copies what the tallies of this database say, heads among
 * them. Returns their number; if that is more than there is room for, the copy is
 * not complete. *known: their bases are, as of the same moment.
 */
int
bgjob_tallies_read(BgjobDatabase *entry, BgjobTallyRow *rows, int room, bool *known)
{
	int n = 0;

	LWLockAcquire(&control->lock, LW_SHARED);
	*known = bgjob_database_is_counted(entry);
	for (int i = 0; i < control->used; i++)
	{
		BgjobTally *tally = &control->tallies[i];

		if (!is_of(tally, MyDatabaseId) || n++ >= room)
			continue;
		rows[n - 1].role = tally->key.role;
		memcpy(rows[n - 1].queue, tally->key.queue, BGJOB_QUEUE_NAME_SIZE);
		rows[n - 1].lost = tally->lost;
		for (int kind = 0; kind < BGJOB_NTALLIED; kind++)
			rows[n - 1].counts[kind] =
				tally->base[kind] + (int64) pg_atomic_read_u64(&tally->moves[kind]);
	}
	LWLockRelease(&control->lock);
	return n;
}

/*
 * bgjob_tallies_sum adds up the jobs of all roles in a queue of this database. False if
 * the numbers are not known, or those of some role are not.
 */
bool
bgjob_tallies_sum(BgjobDatabase *entry, const char *queue, BgjobTallied kind, int64 *sum)
{
	bool known;

	*sum = 0;
	LWLockAcquire(&control->lock, LW_SHARED);
	known = bgjob_database_is_counted(entry) && !entry->tallies_lost;
	for (int i = 0; known && i < control->used; i++)
	{
		const BgjobTally *tally = &control->tallies[i];

		if (!is_of(tally, MyDatabaseId))
			continue;
		known = !tally->lost;
		if (strcmp(tally->key.queue, queue) == 0)
			*sum +=
				tally->base[kind] +
				(int64) pg_atomic_read_u64(unconstify(pg_atomic_uint64 *, &tally->moves[kind]));
	}
	LWLockRelease(&control->lock);
	return known;
}

/* Waits for the transactions that may have found a tally before it was unlinked. False: some have not ended in time. */
static bool
wait_for_movers(void)
{
	int left = GRACE;

	pg_memory_barrier();
	for (int i = 0; i < MaxBackends; i++)
	{
		volatile TransactionId *mover = &bgjob_registry->movers[i];
		TransactionId xid = *mover;

		while (TransactionIdIsValid(xid) && *mover == xid)
		{
			if (left-- == 0)
				return false;
			CHECK_FOR_INTERRUPTS();
			pg_usleep(1000);
		}
	}
	return true;
}

/* Unlinks the tallies of this database whose roles are lost, and the mark of that; returns their number. */
static int
unlink_lost(BgjobDatabase *entry, BgjobTally **unlinked)
{
	int n = 0;

	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	for (int i = 0; i < control->used; i++)
	{
		BgjobTally *tally = &control->tallies[i];
		BgjobTallyKey head_key = make_key(tally->key.role, "");
		BgjobTally *head;

		if (!is_of(tally, MyDatabaseId) || tally->key.queue[0] == '\0')
			continue;
		head = find(&head_key);
		if (head == NULL || !head->lost)
			continue;
		unlink_tally(tally);
		unlinked[n++] = tally;
	}
	for (int i = 0; i < control->used; i++)
		if (is_of(&control->tallies[i], MyDatabaseId) && control->tallies[i].lost)
		{
			control->tallies[i].lost = false;
			control->tallies[i].nqueues = 0;
		}
	if (control->nfree > 0)
		entry->tallies_lost = false;
	if (n > 0)
		pg_atomic_fetch_add_u32(&entry->doubts, 1); /* what others count now is void */
	LWLockRelease(&control->lock);
	return n;
}

/*
 * bgjob_tallies_renew gives roles of this database that are lost another chance,
 * before the jobs are counted anew; the counts are in doubt.
 */
void
bgjob_tallies_renew(BgjobDatabase *entry)
{
	BgjobTally **unlinked = palloc(BGJOB_TALLIES * sizeof(BgjobTally *));
	int n = unlink_lost(entry, unlinked);

	/* Those that some transaction may still add to are never used again. */
	if (n > 0 && wait_for_movers())
	{
		LWLockAcquire(&control->lock, LW_EXCLUSIVE);
		for (int i = 0; i < n; i++)
			put_free(unlinked[i]);
		LWLockRelease(&control->lock);
	}
	pfree(unlinked);
}

/* bgjob_tallies_forget frees the tallies of a database that was dropped. */
void
bgjob_tallies_forget(Oid database)
{
	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	for (int i = 0; i < control->used; i++)
		if (is_of(&control->tallies[i], database))
		{
			unlink_tally(&control->tallies[i]);
			put_free(&control->tallies[i]);
		}
	LWLockRelease(&control->lock);
}
