/*-------------------------------------------------------------------------
 *
 * fairtable.c
 *	  The lanes and keys among which workers are shared out, in shared memory.
 *
 * base/fair.c says what is done with them. Here they are found, made and dropped. Two hash
 * tables of fixed size have them.
 *
 * IDLE. A lane or a key without waiting and without running jobs is idle, and in a list:
 * the one that has been used last is at its end. An idle lane is dropped when
 * another one needs its place. An idle key is dropped if it has no debt: its virtual time is
 * not above its lane's, or there is no such lane. So dropping it changes nothing but
 * that its mean is forgotten. Keys and lanes with jobs are never dropped, but with their database.
 *
 * The keys of a lane that is dropped stay: it was idle, so its time is not
 * below theirs, and every later lane begins at the highest time of those that were dropped.
 *
 * OVERFLOW. Keys for which there is no room share the lane's overflow keys, which are part of the lane. If
 * there is no room for a lane, its jobs are not shared out at all.
 *
 * Any process, under one LWLock, which is held for about a microsecond: a job with a
 * fairness key takes it three or four times, others never. Nothing is taken under it.
 * Nothing is allocated, nothing throws: commit callbacks come here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <float.h>

#include "base/fairtable.h"
#include "common/hashfn.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#define LANE_BUCKETS BGJOB_FAIR_LANES
#define KEY_BUCKETS  BGJOB_FAIR_KEYS

/* Which share of the time that passes an idle key is forgiven of its debt: one in so many. */
#define FORGIVEN 16

/* So many of the longest idle keys are tried when one is to be dropped. */
#define TRIED 8

/* What a lane expects of its jobs before one has ended, in µs. */
#define FIRST_MEAN 1000

typedef struct FairTable
{
	LWLock lock;
	uint64 moment;
	double highest; /* virtual time of the lanes that were dropped */
	dlist_head free_lanes;
	dlist_head idle_lanes;
	dlist_head free_keys;
	dlist_head idle_keys;
	BgjobFairLane *lane_buckets[LANE_BUCKETS];
	BgjobFairKey *key_buckets[KEY_BUCKETS];
	BgjobFairLane lanes[BGJOB_FAIR_LANES];
	BgjobFairKey keys[BGJOB_FAIR_KEYS];
} FairTable;

static FairTable *table = NULL;

/* bgjob_fair_table_size returns the bytes of shared memory that this takes. */
Size
bgjob_fair_table_size(void)
{
	return sizeof(FairTable);
}

/* bgjob_fair_table_startup creates or finds it; from shmem_startup_hook. */
void
bgjob_fair_table_startup(void)
{
	bool found;

	table = ShmemInitStruct("bgjob fair turns", sizeof(FairTable), &found);
	if (!found)
	{
		memset(table, 0, sizeof(FairTable));
		LWLockInitialize(&table->lock, LWLockNewTrancheId());
		dlist_init(&table->free_lanes);
		dlist_init(&table->idle_lanes);
		dlist_init(&table->free_keys);
		dlist_init(&table->idle_keys);
		for (int i = 0; i < BGJOB_FAIR_LANES; i++)
			dlist_push_tail(&table->free_lanes, &table->lanes[i].idle);
		for (int i = 0; i < BGJOB_FAIR_KEYS; i++)
			dlist_push_tail(&table->free_keys, &table->keys[i].idle);
	}
	LWLockRegisterTranche(table->lock.tranche, "BgjobFair");
}

/* bgjob_fair_table_exists returns false where the library is not in shared_preload_libraries. */
bool
bgjob_fair_table_exists(void)
{
	return table != NULL;
}

/* bgjob_fair_lock takes the lock. */
void
bgjob_fair_lock(bool exclusive)
{
	LWLockAcquire(&table->lock, exclusive ? LW_EXCLUSIVE : LW_SHARED);
}

/* bgjob_fair_unlock releases it. */
void
bgjob_fair_unlock(void)
{
	LWLockRelease(&table->lock);
}

/* bgjob_fair_moment returns a number that is higher than all that were returned before. */
uint64
bgjob_fair_moment(void)
{
	return ++table->moment;
}

/* ---- lanes ---- */

static BgjobFairLane **
lane_bucket(Oid database, int64 lane)
{
	return &table->lane_buckets[hash_combine64(database, (uint64) lane) % LANE_BUCKETS];
}

static bool
lane_is_idle(const BgjobFairLane *lane)
{
	return lane->waiting == 0 && lane->running == 0;
}

/* bgjob_fair_lane_find finds a lane; NULL: there is none, so none of its jobs waits or runs. */
BgjobFairLane *
bgjob_fair_lane_find(Oid database, int64 lane)
{
	BgjobFairLane *found = *lane_bucket(database, lane);

	while (found != NULL && (found->lane != lane || found->database != database))
		found = found->next;
	return found;
}

/* Takes an idle lane, or one of a database that is forgotten, out of the table. */
static void
drop_lane(BgjobFairLane *lane)
{
	BgjobFairLane **link = lane_bucket(lane->database, lane->lane);

	while (*link != lane)
		link = &(*link)->next;
	*link = lane->next;
	table->highest = Max(table->highest, Max(lane->now, lane->highest));
	if (lane_is_idle(lane))
		dlist_delete(&lane->idle);
	lane->database = InvalidOid;
	dlist_push_tail(&table->free_lanes, &lane->idle);
}

/* Sets a key to its first state: it has neither jobs nor debts. */
static void
init_key(BgjobFairKey *key, const BgjobFairLane *lane, int64 line)
{
	memset(key, 0, sizeof(*key));
	key->database = lane->database;
	key->lane = lane->lane;
	key->line = line;
	key->weight = 1;
	key->came = lane->now;
	key->node.time = -DBL_MAX;
}

static void
init_lane(BgjobFairLane *lane, Oid database, int64 id)
{
	memset(lane, 0, sizeof(*lane));
	lane->database = database;
	lane->lane = id;
	lane->now = lane->highest = table->highest;
	lane->mean = FIRST_MEAN;
	for (int i = 0; i < BGJOB_FAIR_OVERFLOW; i++)
		init_key(&lane->overflow[i], lane, bgjob_fair_overflow_line(id, i));
}

/* bgjob_fair_lane_get finds or makes a lane; NULL: there is no room. An idle one is used last from now on. */
BgjobFairLane *
bgjob_fair_lane_get(Oid database, int64 id)
{
	BgjobFairLane *lane = bgjob_fair_lane_find(database, id);
	BgjobFairLane **bucket = lane_bucket(database, id);

	if (lane != NULL)
	{
		if (lane_is_idle(lane))
			dlist_move_tail(&table->idle_lanes, &lane->idle);
		return lane;
	}
	if (dlist_is_empty(&table->free_lanes) && !dlist_is_empty(&table->idle_lanes))
		drop_lane(dlist_head_element(BgjobFairLane, idle, &table->idle_lanes));
	if (dlist_is_empty(&table->free_lanes))
		return NULL;
	lane = dlist_container(BgjobFairLane, idle, dlist_pop_head_node(&table->free_lanes));
	init_lane(lane, database, id);
	lane->next = *bucket;
	*bucket = lane;
	dlist_push_tail(&table->idle_lanes, &lane->idle);
	return lane;
}

/* bgjob_fair_lane_work takes an idle lane out of the list of these, before it gets a job. */
void
bgjob_fair_lane_work(BgjobFairLane *lane)
{
	if (lane_is_idle(lane))
		dlist_delete(&lane->idle);
}

/* bgjob_fair_lane_rest adds a lane to the list if it has become idle. All debts are forgiven. */
void
bgjob_fair_lane_rest(BgjobFairLane *lane)
{
	if (!lane_is_idle(lane))
		return;
	lane->now = Max(lane->now, lane->highest);
	dlist_push_tail(&table->idle_lanes, &lane->idle);
}

/* ---- keys ---- */

/* The highest bits of a line say what it is, as those of its lane do (store/gateneeds.c). */
#define KIND_MASK (UINT64CONST(7) << 61)

/* The lines of the overflow keys differ in the lowest bits. */
static int64
overflow_base(int64 lane)
{
	uint64 hash = hash_combine64(UINT64CONST(0x6661697200000000), (uint64) lane);

	return (int64) (((uint64) lane & KIND_MASK) |
					(hash & ~KIND_MASK & ~(uint64) (BGJOB_FAIR_OVERFLOW - 1)));
}

/* bgjob_fair_overflow_line returns the line of the overflow key that a key of a lane shares. */
int64
bgjob_fair_overflow_line(int64 lane, int64 line)
{
	return overflow_base(lane) | (line & (BGJOB_FAIR_OVERFLOW - 1));
}

static BgjobFairKey **
key_bucket(Oid database, int64 lane, int64 line)
{
	uint64 hash = hash_combine64((uint64) lane + database, (uint64) line);

	return &table->key_buckets[hash % KEY_BUCKETS];
}

static bool
key_is_idle(const BgjobFairKey *key)
{
	return key->waiting == 0 && key->running == 0;
}

static bool
is_overflow(const BgjobFairKey *key)
{
	return key < table->keys || key >= table->keys + BGJOB_FAIR_KEYS;
}

/* bgjob_fair_key_find finds a key, which may be an overflow key, by its line; NULL: there is none. */
BgjobFairKey *
bgjob_fair_key_find(BgjobFairLane *lane, int64 line)
{
	BgjobFairKey *key = *key_bucket(lane->database, lane->lane, line);

	if ((line & ~(int64) (BGJOB_FAIR_OVERFLOW - 1)) == overflow_base(lane->lane))
		return &lane->overflow[line & (BGJOB_FAIR_OVERFLOW - 1)];
	while (key != NULL &&
		   (key->line != line || key->lane != lane->lane || key->database != lane->database))
		key = key->next;
	return key;
}

/* bgjob_fair_key_own_time returns a key's virtual time. While a key is idle, its debt is forgiven bit by bit. */
double
bgjob_fair_key_own_time(const BgjobFairKey *key)
{
	double away = key_is_idle(key) ? (double) (GetCurrentTimestamp() - key->since) : 0;

	return key->node.time - Max(away, 0) / FORGIVEN;
}

/* Takes an idle key, or one of a database that is forgotten, out of the table. */
static void
drop_key(BgjobFairKey *key)
{
	BgjobFairKey **link = key_bucket(key->database, key->lane, key->line);

	while (*link != key)
		link = &(*link)->next;
	*link = key->next;
	if (key_is_idle(key))
		dlist_delete(&key->idle);
	key->database = InvalidOid;
	dlist_push_tail(&table->free_keys, &key->idle);
}

/* Drops an idle key without debts. */
static void
drop_some_key(void)
{
	int tried = 0;
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &table->idle_keys)
	{
		BgjobFairKey *key = dlist_container(BgjobFairKey, idle, iter.cur);
		BgjobFairLane *lane = bgjob_fair_lane_find(key->database, key->lane);

		if (lane == NULL || bgjob_fair_key_own_time(key) <= lane->now)
		{
			drop_key(key);
			return;
		}
		if (++tried == TRIED)
			return;
	}
}

/* bgjob_fair_key_get finds or makes a key; NULL: there is no room. An idle one is used last from now on. */
BgjobFairKey *
bgjob_fair_key_get(BgjobFairLane *lane, int64 line)
{
	BgjobFairKey *key = bgjob_fair_key_find(lane, line);
	BgjobFairKey **bucket = key_bucket(lane->database, lane->lane, line);

	if (key != NULL)
	{
		if (key_is_idle(key) && !is_overflow(key))
			dlist_move_tail(&table->idle_keys, &key->idle);
		return key;
	}
	if (dlist_is_empty(&table->free_keys))
		drop_some_key();
	if (dlist_is_empty(&table->free_keys))
		return NULL;
	key = dlist_container(BgjobFairKey, idle, dlist_pop_head_node(&table->free_keys));
	init_key(key, lane, line);
	key->since = GetCurrentTimestamp();
	key->next = *bucket;
	*bucket = key;
	dlist_push_tail(&table->idle_keys, &key->idle);
	return key;
}

/* bgjob_fair_key_work takes an idle key out of the list of these, before it gets a job. */
void
bgjob_fair_key_work(BgjobFairKey *key)
{
	if (key_is_idle(key) && !is_overflow(key))
		dlist_delete(&key->idle);
}

/* bgjob_fair_key_rest adds a key to the list if it has become idle. */
void
bgjob_fair_key_rest(BgjobFairKey *key)
{
	if (!key_is_idle(key))
		return;
	key->since = GetCurrentTimestamp();
	if (!is_overflow(key))
		dlist_push_tail(&table->idle_keys, &key->idle);
}

/* bgjob_fair_table_forget drops all lanes and keys of a database. */
void
bgjob_fair_table_forget(Oid database)
{
	for (int i = 0; i < BGJOB_FAIR_KEYS; i++)
		if (table->keys[i].database == database)
			drop_key(&table->keys[i]);
	for (int i = 0; i < BGJOB_FAIR_LANES; i++)
		if (table->lanes[i].database == database)
			drop_lane(&table->lanes[i]);
}
