/*-------------------------------------------------------------------------
 *
 * dependants.c
 *	  For which jobs, batches and signals others may wait, in shared memory.
 *
 * A job that ends must release what awaits it. Most jobs have no dependants, and
 * must not pay for a look into the table of edges (store/edge.c). So the edges of
 * each target are counted here, in a count-min sketch: two rows of counters, and
 * the lower one of a target's two counters is its count. It may be too high, since
 * targets share counters, but it is never too low:
 *
 *	 - an edge is counted before the transaction that inserts it commits, and
 *	   taken off after the transaction that deletes it has committed;
 *	 - a transaction that is prepared, and then rolled back, leaves its edges counted;
 *	 - after a start of the server nothing is known. Until the scheduler has counted
 *	   the edges of its database, the count of every target is unknown, and
 *	   edges that are deleted are not taken off. Before it begins, edges that are inserted are not counted either:
 *	   it finds their rows, also those of transactions that have not ended. Who inserts an edge looks after that whether the
 *	   scheduler has begun, and it reads the table after it has said so: so one of them counts the edge, and rarely both;
 *	 - a counter that has reached its highest value stays there.
 *
 * The memory is fixed, and shared by all databases. With a million edges, half of the jobs without dependants
 * share a counter with a target, and pay for a look into the table.
 *
 * Nothing here throws or locks: it is called from commit callbacks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/database.h"
#include "base/dependants.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/shmem.h"

#define ROWS    2
#define COLUMNS (1 << 19)

/* A counter that has come so far stays as it is. */
#define HIGHEST (PG_UINT32_MAX / 2)

typedef struct Sketch
{
	pg_atomic_uint32 counters[ROWS][COLUMNS];
} Sketch;

static Sketch *sketch = NULL;

/* bgjob_dependants_size returns the bytes of shared memory that the counters take. */
Size
bgjob_dependants_size(void)
{
	return sizeof(Sketch);
}

/* bgjob_dependants_startup creates or finds them; from shmem_startup_hook. */
void
bgjob_dependants_startup(void)
{
	bool found;

	sketch = ShmemInitStruct("bgjob dependants", bgjob_dependants_size(), &found);
	for (int row = 0; row < ROWS && !found; row++)
		for (int column = 0; column < COLUMNS; column++)
			pg_atomic_init_u32(&sketch->counters[row][column], 0);
}

/* Finds the two counters of a target. */
static void
find_counters(int64 target, pg_atomic_uint32 **counters)
{
	uint64 hash =
		hash_bytes_extended((const unsigned char *) &target, sizeof(target), MyDatabaseId);

	counters[0] = &sketch->counters[0][hash % COLUMNS];
	counters[1] = &sketch->counters[1][(hash >> 32) % COLUMNS];
}

/* Returns this database's entry; NULL if there is none. It is found once: it is asked for with each job that ends. */
static BgjobDatabase *
my_entry(void)
{
	static BgjobDatabase *entry = NULL;

	if (entry == NULL || entry->database != MyDatabaseId || !entry->in_use)
		entry = bgjob_database_find(MyDatabaseId);
	return entry;
}

/* bgjob_dependants_known returns whether the edges of this database have been counted. */
bool
bgjob_dependants_known(void)
{
	BgjobDatabase *entry = my_entry();

	return entry != NULL && entry->edges_known;
}

/* bgjob_dependants_counted returns whether this transaction has to count the edges that it has inserted. */
bool
bgjob_dependants_counted(void)
{
	BgjobDatabase *entry = my_entry();

	pg_memory_barrier(); /* after the rows were inserted */
	return entry != NULL && entry->edges_counted;
}

/* bgjob_dependants_begin_count says that those inserted from now on are counted by who inserts them; by the scheduler. */
void
bgjob_dependants_begin_count(void)
{
	BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);

	if (entry != NULL)
		entry->edges_counted = true;
	pg_memory_barrier(); /* before the table is read */
}

/* bgjob_dependants_set_known says whether they have been; by the scheduler. */
void
bgjob_dependants_set_known(bool known)
{
	BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);

	pg_memory_barrier(); /* after all that was counted */
	if (entry != NULL)
		entry->edges_known = known;
}

/*
 * bgjob_dependants_count returns an upper bound of the number of edges of a target
 * that are committed or about to be; BGJOB_DEPENDANTS_UNKNOWN: not known.
 */
uint32
bgjob_dependants_count(int64 target)
{
	pg_atomic_uint32 *counters[ROWS];
	uint32 first;
	uint32 second;

	if (sketch == NULL || !bgjob_dependants_known())
		return BGJOB_DEPENDANTS_UNKNOWN;
	pg_memory_barrier();
	if (pg_atomic_read_u64(&my_entry()->edges) == 0)
		return 0; /* as a rule: nothing in this database awaits anything */
	find_counters(target, counters);
	first = pg_atomic_read_u32(counters[0]);
	if (first == 0)
		return 0;
	second = pg_atomic_read_u32(counters[1]);
	return Min(first, second);
}

/* Adds to a counter, unless it has got stuck at its highest value. */
static void
count(pg_atomic_uint32 *counter, int64 by)
{
	uint32 old = pg_atomic_read_u32(counter);
	uint32 new;

	do
	{
		if (old >= HIGHEST)
			return;
		new = (uint32) Min(Max((int64) old + by, 0), (int64) HIGHEST);
	} while (!pg_atomic_compare_exchange_u32(counter, &old, new));
}

/* bgjob_dependants_add counts edges that are about to be committed. */
void
bgjob_dependants_add(int64 target, uint32 edges)
{
	pg_atomic_uint32 *counters[ROWS];
	BgjobDatabase *entry = my_entry();

	find_counters(target, counters);
	for (int row = 0; row < ROWS; row++)
		count(counters[row], edges);
	if (entry != NULL)
		pg_atomic_fetch_add_u64(&entry->edges, edges);
}

/* bgjob_dependants_remove takes off edges that are gone, and were counted. */
void
bgjob_dependants_remove(int64 target, uint32 edges)
{
	pg_atomic_uint32 *counters[ROWS];
	BgjobDatabase *entry = my_entry();

	find_counters(target, counters);
	for (int row = 0; row < ROWS; row++)
		count(counters[row], -(int64) edges);
	if (entry != NULL)
		pg_atomic_fetch_sub_u64(&entry->edges, edges);
}
