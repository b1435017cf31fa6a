/*-------------------------------------------------------------------------
 *
 * functionstats.c
 *	  What the jobs of each function cost, counted in shared memory.
 *
 * An entry for each function that jobs have called, and for each kind of
 * command, by database and role: as pg_stat_statements has one for each
 * statement. The view bgjob.function_stats shows them, and a file keeps them
 * over a restart (base/statsfile.c). After a crash of the server they
 * begin anew.
 *
 * COUNTING. The process that records the end of an attempt (a worker, or the
 * scheduler if the worker was lost) finds the entry and notes the numbers to add.
 * They are added when the transaction has committed (base/change.c): so an attempt
 * is counted once, by its final outcome. A process caches the entries that it found
 * last, and finds these without a lock. At the commit the notes of a function are
 * summed up, and the sums added under the lock of the entry: once for each function
 * and transaction, also for a group of jobs. The commit allocates and evicts nothing.
 *
 * EVICTION. There is room for bgjob.function_stats_max entries. When all are in
 * use, the next new function evicts a twentieth of them: the least used entries of
 * the role that has the most, so that a role with ten thousand functions evicts its
 * own. A note whose entry was evicted before the commit is not counted; the
 * generation of the entry tells that.
 *
 * LOCKS. One LWLock protects the index of the entries and the list of unused ones;
 * each entry has a lock for its contents. Giving an entry to another function takes
 * both, in this order. Entries are never freed otherwise, so a reader takes the
 * entry's lock alone. No other lock is taken under them.
 *
 * Any process; no transaction is needed. Where the library is not preloaded
 * nothing is counted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/functionstats.h"
#include "base/guc.h"
#include "base/text.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"

/* Of the entries, so many are evicted at a time: so much in a hundred, and at least so many. */
#define EVICT_PERCENT 5
#define EVICT_LEAST   10

/* By so much the usage of all entries decreases then, so that old usage counts less than new. */
#define USAGE_DECREASE 0.99

/* Number of entries that a process finds without a lock; a power of two. */
#define REMEMBERED 64

typedef struct Entry
{
	LWLock lock;
	uint32 generation; /* grows when it is evicted; may be read without a lock */
	bool in_use;
	int next_unused; /* -1: none */
	BgjobFunctionStats stats;
} Entry;

/* An entry that may be evicted. */
typedef struct Candidate
{
	int entry;
	Oid database;
	Oid role;
	int rank; /* among the entries of its role in its database; the most used is 0 */
	double usage;
} Candidate;

typedef struct Table
{
	LWLock lock;
	int size;
	int unused;            /* the first unused entry, -1: none */
	Candidate *candidates; /* room for all */
	Entry entries[FLEXIBLE_ARRAY_MEMBER];
} Table;

typedef struct IndexEntry
{
	BgjobFunctionKey key; /* must be first */
	int entry;
} IndexEntry;

typedef struct Remembered
{
	BgjobFunctionKey key;
	BgjobFunctionRef function;
} Remembered;

static Table *table = NULL;
static HTAB *index_of_entries = NULL;

/* The entries that this process found last. */
static Remembered remembered[REMEMBERED];

/* What is to be added to an entry. */
static BgjobFunctionRef pending_for = {.entry = -1};
static BgjobFunctionSums pending;
static const char *pending_error;

/* ---- shared memory ---- */

static Size
table_size(void)
{
	Size size = offsetof(Table, entries);

	size = MAXALIGN(add_size(size, mul_size(bgjob_function_stats_max, sizeof(Entry))));
	return add_size(size, mul_size(bgjob_function_stats_max, sizeof(Candidate)));
}

/* bgjob_function_stats_size returns the bytes of shared memory that the statistics take. */
Size
bgjob_function_stats_size(void)
{
	return add_size(MAXALIGN(table_size()),
					hash_estimate_size(bgjob_function_stats_max, sizeof(IndexEntry)));
}

static void
create_table(void)
{
	int tranche = LWLockNewTrancheId();
	Size entries = offsetof(Table, entries) + bgjob_function_stats_max * sizeof(Entry);

	memset(table, 0, table_size());
	LWLockInitialize(&table->lock, tranche);
	table->size = bgjob_function_stats_max;
	table->candidates = (Candidate *) ((char *) table + MAXALIGN(entries));
	for (int i = 0; i < table->size; i++)
	{
		LWLockInitialize(&table->entries[i].lock, tranche);
		table->entries[i].next_unused = i + 1 < table->size ? i + 1 : -1;
	}
}

/* bgjob_function_stats_startup creates or finds them; from shmem_startup_hook. */
void
bgjob_function_stats_startup(void)
{
	HASHCTL info = {.keysize = sizeof(BgjobFunctionKey), .entrysize = sizeof(IndexEntry)};
	bool found;

	table = ShmemInitStruct("bgjob function stats", table_size(), &found);
	if (!found)
		create_table();
	LWLockRegisterTranche(table->lock.tranche, "BgjobFunctionStats");
	index_of_entries = ShmemInitHash("bgjob function stats index", bgjob_function_stats_max,
									 bgjob_function_stats_max, &info,
									 HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
}

/* ---- eviction; under the table's lock ---- */

/* Orders entries by database and role, those of a role by usage, the most used first. */
static int
compare_in_role(const void *a, const void *b)
{
	const Candidate *one = a;
	const Candidate *other = b;

	if (one->database != other->database)
		return one->database < other->database ? -1 : 1;
	if (one->role != other->role)
		return one->role < other->role ? -1 : 1;
	return (one->usage < other->usage) - (one->usage > other->usage);
}

/* Orders entries by their ranks, the highest first, those of a rank by usage, the least used first. */
static int
compare_by_rank(const void *a, const void *b)
{
	const Candidate *one = a;
	const Candidate *other = b;

	if (one->rank != other->rank)
		return one->rank > other->rank ? -1 : 1;
	return (one->usage > other->usage) - (one->usage < other->usage);
}

/* Collects the entries in use, and lets their usage decrease. Returns their number. */
static int
collect_candidates(void)
{
	int n = 0;

	for (int i = 0; i < table->size; i++)
	{
		Entry *entry = &table->entries[i];

		if (!entry->in_use)
			continue;
		LWLockAcquire(&entry->lock, LW_EXCLUSIVE);
		entry->stats.usage *= USAGE_DECREASE;
		table->candidates[n++] = (Candidate){.entry = i,
											 .database = entry->stats.key.database,
											 .role = entry->stats.key.role,
											 .usage = entry->stats.usage};
		LWLockRelease(&entry->lock);
	}
	return n;
}

/* Brings the candidates into the order in which they are evicted. */
static void
order_candidates(Candidate *candidates, int n)
{
	qsort(candidates, n, sizeof(Candidate), compare_in_role);
	for (int i = 1; i < n; i++)
		if (candidates[i].database == candidates[i - 1].database &&
			candidates[i].role == candidates[i - 1].role)
			candidates[i].rank = candidates[i - 1].rank + 1;
	qsort(candidates, n, sizeof(Candidate), compare_by_rank);
}

static void
put_to_unused(int i)
{
	table->entries[i].next_unused = table->unused;
	table->unused = i;
}

static void
evict(int i)
{
	Entry *entry = &table->entries[i];

	(void) hash_search(index_of_entries, &entry->stats.key, HASH_REMOVE, NULL);
	LWLockAcquire(&entry->lock, LW_EXCLUSIVE);
	entry->generation++;
	entry->in_use = false;
	LWLockRelease(&entry->lock);
	put_to_unused(i);
}

static void
make_room(void)
{
	int n = collect_candidates();
	int victims = Max(n * EVICT_PERCENT / 100, EVICT_LEAST);

	order_candidates(table->candidates, n);
	for (int i = 0; i < Min(victims, n); i++)
		evict(table->candidates[i].entry);
}

/* Gives an unused entry to a function, which has none. */
static int
take_entry(const BgjobFunctionKey *key, const char *name)
{
	IndexEntry *in_index;
	Entry *entry;
	int i;

	if (table->unused < 0)
		make_room();
	i = table->unused;
	entry = &table->entries[i];
	in_index = hash_search(index_of_entries, key, HASH_ENTER, NULL);
	in_index->entry = i;
	table->unused = entry->next_unused;
	LWLockAcquire(&entry->lock, LW_EXCLUSIVE);
	memset(&entry->stats, 0, sizeof(BgjobFunctionStats));
	entry->stats.key = *key;
	strlcpy(entry->stats.name, name, sizeof(entry->stats.name));
	entry->stats.usage = 1;
	entry->stats.since = bgjob_now();
	entry->in_use = true;
	LWLockRelease(&entry->lock);
	return i;
}

/* ---- finding an entry ---- */

/* Returns the entry of a function, -1 if it has none. */
static int
look_up(const BgjobFunctionKey *key)
{
	const IndexEntry *found = hash_search(index_of_entries, key, HASH_FIND, NULL);

	return found != NULL ? found->entry : -1;
}

/* Finds the entry of a function in shared memory, and takes one if there is none. */
static BgjobFunctionRef
find_shared(const BgjobFunctionKey *key, const char *name)
{
	BgjobFunctionRef function;

	LWLockAcquire(&table->lock, LW_SHARED);
	function.entry = look_up(key);
	if (function.entry < 0)
	{
		LWLockRelease(&table->lock);
		name = bgjob_text_cut(name, BGJOB_FUNCTION_NAME_SIZE - 1);
		LWLockAcquire(&table->lock, LW_EXCLUSIVE);
		function.entry = look_up(key);
		if (function.entry < 0)
			function.entry = take_entry(key, name);
	}
	function.generation = table->entries[function.entry].generation;
	LWLockRelease(&table->lock);
	return function;
}

/* Returns the current generation of an entry, read without a lock: a late one is noticed when it is counted. */
static uint32
generation_of(int entry)
{
	return *(volatile uint32 *) &table->entries[entry].generation;
}

/*
 * bgjob_function_stats_find finds the entry that jobs of this database are
 * counted in which run as a role: "kind" is a letter of BgjobKind, "name" that
 * of the function, or of the kind of command. Takes an entry if there is none,
 * and evicts others for it. Returns false where nothing is counted.
 */
bool
bgjob_function_stats_find(Oid role, char kind, const char *name, BgjobFunctionRef *function)
{
	BgjobFunctionKey key = {
		.database = MyDatabaseId, .role = role, .kind = (unsigned char) kind};
	Remembered *known;

	function->entry = -1;
	if (table == NULL)
		return false;
	key.hash = hash_bytes_extended((const unsigned char *) name, (int) strlen(name), 0);
	known = &remembered[key.hash % REMEMBERED];
	if (memcmp(&known->key, &key, sizeof(key)) != 0 ||
		known->function.generation != generation_of(known->function.entry))
	{
		known->function = find_shared(&key, name);
		known->key = key;
	}
	*function = known->function;
	return true;
}

/* ---- counting ---- */

/* Adds an attempt to sums. */
static void
count(BgjobFunctionSums *sums, const BgjobAttempt *attempt)
{
	sums->attempts++;
	sums->jobs += attempt->ended;
	sums->failures += attempt->failed;
	sums->retries += attempt->retried;
	sums->interruptions += attempt->interrupted;
	if (attempt->run_time >= 0)
		bgjob_moments_add(&sums->run_time, attempt->run_time);
	if (attempt->wait_time >= 0)
		bgjob_moments_add(&sums->wait_time, attempt->wait_time);
	if (attempt->started_at != DT_NOBEGIN)
		sums->last_run_at = attempt->started_at;
	if (attempt->failed)
	{
		sums->last_failed_at = attempt->over_at;
		strlcpy(sums->last_sqlstate, attempt->sqlstate, sizeof(sums->last_sqlstate));
	}
}

/* Adds sums of later attempts to sums. */
static void
add_sums(BgjobFunctionSums *into, const BgjobFunctionSums *from)
{
	into->jobs += from->jobs;
	into->attempts += from->attempts;
	into->failures += from->failures;
	into->retries += from->retries;
	into->interruptions += from->interruptions;
	bgjob_moments_merge(&into->run_time, &from->run_time);
	bgjob_moments_merge(&into->wait_time, &from->wait_time);
	if (from->last_run_at != 0)
		into->last_run_at = from->last_run_at;
	if (from->last_failed_at != 0)
	{
		into->last_failed_at = from->last_failed_at;
		strlcpy(into->last_sqlstate, from->last_sqlstate, sizeof(into->last_sqlstate));
	}
}

/* bgjob_function_stats_flush adds to the shared memory what bgjob_function_stats_add has summed up. Does not throw. */
void
bgjob_function_stats_flush(void)
{
	Entry *entry;

	if (pending_for.entry < 0)
		return;
	entry = &table->entries[pending_for.entry];
	LWLockAcquire(&entry->lock, LW_EXCLUSIVE);
	if (entry->generation == pending_for.generation)
	{
		add_sums(&entry->stats.sums, &pending);
		entry->stats.usage += (double) pending.attempts;
		if (pending_error != NULL)
			strlcpy(entry->stats.last_error, pending_error, sizeof(entry->stats.last_error));
	}
	LWLockRelease(&entry->lock);
	memset(&pending, 0, sizeof(pending));
	pending_error = NULL;
	pending_for.entry = -1;
}

/*
 * bgjob_function_stats_add counts an attempt, when the transaction that records
 * its end has committed. The error that it points to must stay there until
 * bgjob_function_stats_flush, which the caller calls after the last one. Does not
 * throw.
 */
void
bgjob_function_stats_add(const BgjobAttempt *attempt)
{
	const BgjobFunctionRef *function = &attempt->function;

	if (function->entry < 0)
		return;
	if (function->entry != pending_for.entry || function->generation != pending_for.generation)
		bgjob_function_stats_flush();
	pending_for = *function;
	count(&pending, attempt);
	if (attempt->failed)
		pending_error = attempt->error;
}

/* ---- reading ---- */

/*
 * bgjob_function_stats_next copies the next statistics of a database that have
 * counted anything; *position is 0 at first. Returns false if there are no more.
 */
bool
bgjob_function_stats_next(int *position, Oid database, BgjobFunctionStats *stats)
{
	while (table != NULL && *position < table->size)
	{
		Entry *entry = &table->entries[(*position)++];
		bool found;

		/* One that is being taken at this moment has counted nothing. */
		if (!entry->in_use)
			continue;
		LWLockAcquire(&entry->lock, LW_SHARED);
		found = entry->in_use && entry->stats.key.database == database &&
				entry->stats.sums.attempts > 0;
		if (found)
			*stats = entry->stats;
		LWLockRelease(&entry->lock);
		if (found)
			return true;
	}
	return false;
}

/*
 * bgjob_function_stats_reset begins the statistics of a database anew: of what
 * has a name, NULL: of all. Returns how many had counted anything. Entries stay
 * with their functions, so that attempts which are about to be counted are.
 */
int64
bgjob_function_stats_reset(Oid database, const char *name)
{
	const char *kept = bgjob_text_cut(name, BGJOB_FUNCTION_NAME_SIZE - 1);
	TimestampTz now = bgjob_now();
	int64 n = 0;

	for (int i = 0; table != NULL && i < table->size; i++)
	{
		Entry *entry = &table->entries[i];
		BgjobFunctionStats *stats = &entry->stats;

		LWLockAcquire(&entry->lock, LW_EXCLUSIVE);
		if (entry->in_use && stats->key.database == database &&
			(kept == NULL || strcmp(stats->name, kept) == 0))
		{
			n += stats->sums.attempts > 0;
			memset(&stats->sums, 0, sizeof(stats->sums));
			stats->last_error[0] = '\0';
			stats->since = now;
			stats->usage = 0;
		}
		LWLockRelease(&entry->lock);
	}
	return n;
}

/* ---- for the file ---- */

/*
 * bgjob_function_stats_at returns the statistics at a position; NULL: none that
 * have counted anything. For the postmaster, when the other processes have gone:
 * it takes no lock, since one of them may have been killed while it held it.
 */
const BgjobFunctionStats *
bgjob_function_stats_at(int position)
{
	const Entry *entry = &table->entries[position];

	return entry->in_use && entry->stats.sums.attempts > 0 ? &entry->stats : NULL;
}

/* bgjob_function_stats_restore adds statistics from a file, unless there are some of that function. */
void
bgjob_function_stats_restore(const BgjobFunctionStats *stats)
{
	LWLockAcquire(&table->lock, LW_EXCLUSIVE);
	if (look_up(&stats->key) < 0)
	{
		Entry *entry = &table->entries[take_entry(&stats->key, stats->name)];

		LWLockAcquire(&entry->lock, LW_EXCLUSIVE);
		entry->stats = *stats;
		LWLockRelease(&entry->lock);
	}
	LWLockRelease(&table->lock);
}
