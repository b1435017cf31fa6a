/*-------------------------------------------------------------------------
 *
 * mapchunks.c
 *	  The memory of the maps of jobs: maps of databases, and chunks of ranges.
 *
 * base/jobmap.c says what a map is, and why it misses no job. A map has chunks of 1,024
 * ranges of ids from a pool that is reserved at start (bgjob.list_memory). So a writer
 * neither allocates nor throws. When the pool is used up, the database with the most
 * chunks gives its lowest: what one database does costs others nothing that they need
 * more. What is never used is never touched.
 *
 * A process that has just found a chunk may write it although it has been given
 * away: that adds to a superset. Whoever takes something away does so under the lock
 * and checks first whose the chunk is.
 *
 * Any process. LOCKS: one lock for all of it, shared to find chunks, else exclusively;
 * held for the time of a chunk's initialization at most. Maps and chunks in use are
 * found without it by their generation and by their keys.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/guc.h"
#include "base/mapchunks.h"
#include "base/registry.h"
#include "miscadmin.h"
#include "storage/shmem.h"

/* Bits of a chunk's key for its number; the rest is for the map. */
#define NUMBER_BITS 48

typedef struct Control
{
	LWLock lock;
	int cleaner_tranche;
	pg_atomic_uint64 generation; /* grows when a map is made or forgotten */
	int nchunks;
	int used; /* all chunks from this one on have never been in use */
	BgjobMap maps[BGJOB_DATABASES];
	/* then the keys of the chunks (0: free), then the chunks */
} Control;

static Control *control = NULL;
static pg_atomic_uint64 *keys;
static BgjobMapChunk *chunks;

/* This database's map, as of a generation; NULL: there is none. */
static BgjobMap *known_map = NULL;
static uint64 known_generation = PG_UINT64_MAX;

/* Chunks that this process has used last. */
static struct
{
	uint64 key;
	int index;
} recent[4];

/* ---- shared memory ---- */

/* Returns how many chunks the setting has room for. */
static int
count_chunks(void)
{
	return (int) ((int64) bgjob_list_memory * 1024 / (int64) sizeof(BgjobMapChunk));
}

/* bgjob_jobmap_size returns the bytes of shared memory that the maps take. */
Size
bgjob_jobmap_size(void)
{
	Size size = MAXALIGN(sizeof(Control));

	size = add_size(size, MAXALIGN(mul_size(count_chunks(), sizeof(pg_atomic_uint64))));
	return add_size(size, mul_size(count_chunks(), sizeof(BgjobMapChunk)));
}

static void
create_control(void)
{
	memset(control, 0, sizeof(Control));
	LWLockInitialize(&control->lock, LWLockNewTrancheId());
	control->cleaner_tranche = LWLockNewTrancheId();
	pg_atomic_init_u64(&control->generation, 0);
	control->nchunks = count_chunks();
	for (int i = 0; i < BGJOB_DATABASES; i++)
	{
		pg_atomic_init_u64(&control->maps[i].floor, 0);
		pg_atomic_init_u64(&control->maps[i].cleaning, 0);
		LWLockInitialize(&control->maps[i].cleaner, control->cleaner_tranche);
	}
	for (int i = 0; i < control->nchunks; i++)
		pg_atomic_init_u64(&keys[i], 0);
}

/* bgjob_jobmap_startup creates or finds the maps; from shmem_startup_hook. */
void
bgjob_jobmap_startup(void)
{
	bool found;

	control = ShmemInitStruct("bgjob job maps", bgjob_jobmap_size(), &found);
	keys = (pg_atomic_uint64 *) ((char *) control + MAXALIGN(sizeof(Control)));
	chunks =
		(BgjobMapChunk *) ((char *) keys + MAXALIGN(count_chunks() * sizeof(pg_atomic_uint64)));
	if (!found)
		create_control();
	LWLockRegisterTranche(control->lock.tranche, "BgjobMap");
	LWLockRegisterTranche(control->cleaner_tranche, "BgjobMapCleaner");
}

/* bgjob_map_lock takes the lock of the maps. */
void
bgjob_map_lock(LWLockMode mode)
{
	LWLockAcquire(&control->lock, mode);
}

/* bgjob_map_unlock releases it. */
void
bgjob_map_unlock(void)
{
	LWLockRelease(&control->lock);
}

/* ---- maps ---- */

/* Returns the map of a database, NULL if there is none. The lock is held. */
static BgjobMap *
find_map(Oid database)
{
	for (int i = 0; i < BGJOB_DATABASES; i++)
		if (control->maps[i].database == database)
			return &control->maps[i];
	return NULL;
}

/* bgjob_map_own returns this database's map, NULL if there is none. */
BgjobMap *
bgjob_map_own(void)
{
	if (control == NULL)
		return NULL;
	if (pg_atomic_read_u64(&control->generation) != known_generation)
	{
		bgjob_map_lock(LW_SHARED);
		known_map = find_map(MyDatabaseId);
		known_generation = pg_atomic_read_u64(&control->generation);
		bgjob_map_unlock();
	}
	return known_map;
}

/* bgjob_map_is_own returns whether a map is still this database's. The lock is held. */
bool
bgjob_map_is_own(const BgjobMap *map)
{
	return map->database == MyDatabaseId;
}

/* bgjob_map_floor returns the highest id that may be unknown; PG_INT64_MAX: the map cannot be used yet. */
int64
bgjob_map_floor(BgjobMap *map)
{
	return (int64) pg_atomic_read_u64(&map->floor);
}

/* bgjob_map_unknown_up_to returns the highest range that may contain anything if it has no chunk, -1 if there is none. */
int64
bgjob_map_unknown_up_to(BgjobMap *map)
{
	int64 id = bgjob_map_floor(map);

	return id < 0 ? -1 : bgjob_jobmap_range_of(id);
}

/* bgjob_map_is_unknown returns whether a range may contain anything if it has no chunk. */
bool
bgjob_map_is_unknown(BgjobMap *map, int64 range)
{
	return range <= bgjob_map_unknown_up_to(map);
}

static void
set_floor(BgjobMap *map)
{
	pg_atomic_write_u64(&map->floor, (uint64) Max(map->settled, map->lost));
}

/* bgjob_map_lose makes all ranges up to this one unknown, where they have no chunk. The lock is held. */
void
bgjob_map_lose(BgjobMap *map, int64 range)
{
	map->lost = Max(map->lost, bgjob_jobmap_last_id(range));
	set_floor(map);
}

/* Initializes a map for this database in a free place. The lock is held. */
static void
make_map(BgjobMap *map)
{
	map->nchunks = 0;
	map->settled = PG_INT64_MAX;
	map->lost = -1;
	set_floor(map);
	pg_atomic_write_u64(&map->cleaning, 0);
	map->database = MyDatabaseId;
	map->born = pg_atomic_add_fetch_u64(&control->generation, 1);
}

/* bgjob_jobmap_current returns a number for this database's map, another one for each new map; 0: it has none that can be used. */
uint64
bgjob_jobmap_current(void)
{
	BgjobMap *map = bgjob_map_own();

	return map == NULL || bgjob_map_floor(map) == PG_INT64_MAX ? 0 : map->born;
}

/*
 * bgjob_jobmap_begin makes sure that this database has a map. True: the caller reads
 * the highest id of the table, in any version, and calls bgjob_jobmap_settle with
 * *born. False: that has been done, or there is no room for a map.
 */
bool
bgjob_jobmap_begin(uint64 *born)
{
	BgjobMap *map;
	bool unsettled;

	if (control == NULL || control->nchunks == 0)
		return false;
	bgjob_map_lock(LW_EXCLUSIVE);
	map = find_map(MyDatabaseId);
	if (map == NULL)
	{
		map = find_map(InvalidOid);
		if (map != NULL)
			make_map(map);
	}
	unsettled = map != NULL && map->settled == PG_INT64_MAX;
	*born = map != NULL ? map->born : 0;
	bgjob_map_unlock();
	pg_memory_barrier(); /* the map before the table: see base/jobmap.c */
	return unsettled;
}

/* bgjob_jobmap_settle tells the map that was begun the highest id at its beginning. */
void
bgjob_jobmap_settle(uint64 born, int64 highest)
{
	BgjobMap *map;

	bgjob_map_lock(LW_EXCLUSIVE);
	map = find_map(MyDatabaseId);
	if (map != NULL && map->born == born && map->settled == PG_INT64_MAX)
	{
		map->settled = highest;
		set_floor(map);
	}
	bgjob_map_unlock();
}

/* ---- chunks ---- */

static uint64
key_of(const BgjobMap *map, int64 number)
{
	return ((uint64) (map - control->maps + 1) << NUMBER_BITS) | (uint64) number;
}

/* Returns the map of a chunk in use. */
static BgjobMap *
map_of(uint64 key)
{
	return &control->maps[(key >> NUMBER_BITS) - 1];
}

static int64
number_of(uint64 key)
{
	return (int64) (key & ((UINT64CONST(1) << NUMBER_BITS) - 1));
}

static uint64
key_at(int index)
{
	return pg_atomic_read_u64(&keys[index]);
}

/* Returns the index of a chunk, -1 if it is missing. The lock is held. */
static int
search(const BgjobMap *map, int64 number)
{
	uint64 key = key_of(map, number);

	for (int i = 0; i < control->used; i++)
		if (key_at(i) == key)
			return i;
	return -1;
}

/* bgjob_map_search returns a chunk, NULL if it is missing. The lock is held. */
BgjobMapChunk *
bgjob_map_search(const BgjobMap *map, int64 number)
{
	int index = search(map, number);

	return index < 0 ? NULL : &chunks[index];
}

/* bgjob_map_find does the same without the lock. */
BgjobMapChunk *
bgjob_map_find(const BgjobMap *map, int64 number)
{
	uint64 key = key_of(map, number);
	int place = (int) (number % lengthof(recent));
	int index = recent[place].index;

	if (recent[place].key == key && key_at(index) == key)
		return &chunks[index];
	bgjob_map_lock(LW_SHARED);
	index = search(map, number);
	bgjob_map_unlock();
	if (index < 0)
		return NULL;
	recent[place].key = key;
	recent[place].index = index;
	return &chunks[index];
}

/* bgjob_map_next_below returns the highest number of a chunk below "number", -1 if there is none. The lock is held. */
int64
bgjob_map_next_below(const BgjobMap *map, int64 number)
{
	int64 next = -1;

	for (int i = 0; i < control->used; i++)
	{
		uint64 key = key_at(i);

		if (key != 0 && map_of(key) == map && number_of(key) < number)
			next = Max(next, number_of(key));
	}
	return next;
}

/* Returns the index of the lowest chunk of a map, -1 if it has none. The lock is held. */
static int
search_lowest(const BgjobMap *map)
{
	int lowest = -1;

	for (int i = 0; i < control->used; i++)
	{
		uint64 key = key_at(i);

		if (key != 0 && map_of(key) == map &&
			(lowest < 0 || number_of(key) < number_of(key_at(lowest))))
			lowest = i;
	}
	return lowest;
}

/* Takes a chunk from its map. The lock is held. */
static void
free_chunk(int index)
{
	uint64 key = key_at(index);
	BgjobMap *map = map_of(key);

	bgjob_map_lose(map, number_of(key) * BGJOB_MAP_RANGES + BGJOB_MAP_RANGES - 1);
	map->nchunks--;
	pg_atomic_write_u64(&keys[index], 0);
}

/*
 * Frees a chunk of the database that has the most, of this one if it has as many; never
 * one above that which this one wants. Returns its index, -1 if there is none.
 */
static int
take_lowest(const BgjobMap *map, int64 number)
{
	const BgjobMap *victim = map;
	int index;

	for (int i = 0; i < BGJOB_DATABASES; i++)
		if (control->maps[i].database != InvalidOid &&
			control->maps[i].nchunks > victim->nchunks)
			victim = &control->maps[i];
	index = search_lowest(victim);
	if (index < 0 || (victim == map && number_of(key_at(index)) > number))
		return -1;
	free_chunk(index);
	return index;
}

/* Initializes a chunk that has never been in use. */
static void
init_chunk(BgjobMapChunk *chunk)
{
	for (int i = 0; i < BGJOB_MAP_RANGES; i++)
	{
		pg_atomic_init_u64(&chunk->states[i], 0);
		for (int word = 0; word < BGJOB_MAP_WORDS; word++)
			pg_atomic_init_u64(&chunk->summaries[i].names[word], 0);
		pg_atomic_init_u64(&chunk->summaries[i].created_at, 0);
		pg_atomic_init_u64(&chunk->summaries[i].dead_to, 0);
	}
}

/* Returns the index of a free chunk for a map, -1 if there is none to be had. The lock is held. */
static int
get_free_chunk(const BgjobMap *map, int64 number)
{
	for (int i = 0; i < control->used; i++)
		if (key_at(i) == 0)
			return i;
	if (control->used == control->nchunks)
		return take_lowest(map, number);
	init_chunk(&chunks[control->used]);
	return control->used++;
}

/* Clears a chunk, and marks its ranges that are unknown without it. */
static void
clear_chunk(BgjobMapChunk *chunk, BgjobMap *map, int64 number)
{
	for (int i = 0; i < BGJOB_MAP_RANGES; i++)
	{
		bool unknown = bgjob_map_is_unknown(map, number * BGJOB_MAP_RANGES + i);

		pg_atomic_write_u64(&chunk->states[i], unknown ? BGJOB_MAP_UNKNOWN : 0);
		for (int word = 0; word < BGJOB_MAP_WORDS; word++)
			pg_atomic_write_u64(&chunk->summaries[i].names[word], 0);
		pg_atomic_write_u64(&chunk->summaries[i].created_at, 0);
		pg_atomic_write_u64(&chunk->summaries[i].dead_to, 0);
	}
}

/* bgjob_map_add adds a missing chunk to a map. NULL: there is no room. The lock is held. */
BgjobMapChunk *
bgjob_map_add(BgjobMap *map, int64 number)
{
	int index = get_free_chunk(map, number);

	if (index < 0)
		return NULL;
	clear_chunk(&chunks[index], map, number);
	map->nchunks++;
	pg_write_barrier();
	pg_atomic_write_u64(&keys[index], key_of(map, number));
	return &chunks[index];
}

/* bgjob_jobmap_forget drops the map of a database: its ids are unknown until another map begins. */
void
bgjob_jobmap_forget(Oid database)
{
	BgjobMap *map;

	if (control == NULL)
		return;
	bgjob_map_lock(LW_EXCLUSIVE);
	map = find_map(database);
	for (int i = 0; map != NULL && i < control->used; i++)
		if (key_at(i) != 0 && map_of(key_at(i)) == map)
			pg_atomic_write_u64(&keys[i], 0);
	if (map != NULL)
	{
		map->database = InvalidOid;
		map->nchunks = 0;
		pg_atomic_fetch_add_u64(&control->generation, 1);
	}
	bgjob_map_unlock();
}
