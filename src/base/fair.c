/*-------------------------------------------------------------------------
 *
 * fair.c
 *	  Which fairness key's job is next, in shared memory.
 *
 * This is start-time fair queueing (Goyal, Vin and Cheng, 1996), with the additions below. Each key of a lane
 * has a virtual time: the time that workers have spent on its jobs, divided by its weight.
 * Of the keys with waiting jobs, the one with the least virtual time is next. So keys that always have waiting jobs get
 * time in proportion to their weights, and a lone key gets everything.
 *
 * EXPECTED DURATIONS. A job is charged when it is chosen, by the mean duration of its key's jobs, or of the lane's
 * while none of the key has ended. Otherwise a key with long jobs would get all workers before
 * the first one ends. When the job ends, what it was charged is replaced by what it took.
 *
 * THE LANE'S TIME is the virtual time of the key that was chosen last, or would be chosen now: keys that always wait
 * are never far from it. A key that comes, or comes back, begins at the lane's time, if
 * its own is less. So nobody saves up time. While nobody waits, a job that starts
 * moves the lane's time on. When the lane has become idle, its time becomes the
 * highest of its keys. So nobody pays for what no other key wanted.
 *
 * LIGHT KEYS go first: keys that come with a single job, and are not above the lane's time. Otherwise such a key would
 * wait for one job of each of a thousand keys that always wait, since these have all the same time. Its next job is
 * light only when the lane's time has come to its own, or when it is away for long:
 * of the debt of an idle key, a 16th of the time that passes is forgiven. Heavy keys
 * are safe from many light ones: what the light ones get while others wait must be less than what these
 * have got lately, so it is half of the time at most.
 *
 * NO KEY IS STRANDED by new ones that come all the time: each job that ends moves the lane's time on by
 * half of what each waiting key would have got of it, so new keys begin behind those that have waited for long.
 *
 * COUNTS. The waiting jobs of a key may be counted wrongly for a moment: a transaction commits its rows first, and
 * changes the counts afterwards. No count is ever below 0. A caller that has found no job in
 * a line says so (bgjob_fair_back), and the count becomes 0, unless jobs were filed meanwhile.
 *
 * Any process; the lock, the memory and what happens when it is full are described in base/fairtable.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "base/fair.h"
#include "base/fairtable.h"

/* A new duration changes the mean of a key, or of a lane, by one in so many of the difference. */
#define KEY_MEMORY  8
#define LANE_MEMORY 32

/* The light keys may get so many times the mean duration in advance of the others. */
#define CREDIT_JOBS 16

/* Weights out of this range would make the times inexact. */
#define WEIGHT_MIN 1e-6
#define WEIGHT_MAX 1e6

/* bgjob_fair_size returns the bytes of shared memory that this takes. */
Size
bgjob_fair_size(void)
{
	return bgjob_fair_table_size();
}

/* bgjob_fair_startup creates or finds it; from shmem_startup_hook. */
void
bgjob_fair_startup(void)
{
	bgjob_fair_table_startup();
}

/* Moves the lane's time on to that of the key that is next, and returns it. */
static double
now_of(BgjobFairLane *lane)
{
	if (lane->first != NULL)
		lane->now = Max(lane->now, lane->first->time);
	return lane->now;
}

/* Returns how long a key's job will take, in µs, as far as is known. */
static double
expected(const BgjobFairLane *lane, const BgjobFairKey *key)
{
	return key->mean > 0 ? key->mean : lane->mean;
}

/* Takes a key out of its heap and out of the lane's sums, before it is changed. */
static void
leave(BgjobFairLane *lane, BgjobFairKey *key)
{
	bgjob_fair_lane_work(lane);
	bgjob_fair_key_work(key);
	lane->waiting -= key->waiting;
	lane->running -= key->running;
	if (key->waiting == 0)
		return;
	bgjob_fair_heap_remove(key->light ? &lane->light : &lane->first, &key->node);
	lane->weights = lane->waiting == 0 ? 0 : lane->weights - key->weight;
}

/* Adds it again, changed. */
static void
enter(BgjobFairLane *lane, BgjobFairKey *key)
{
	lane->waiting += key->waiting;
	lane->running += key->running;
	lane->highest = Max(lane->highest, key->node.time);
	if (key->waiting > 0)
	{
		bgjob_fair_heap_insert(key->light ? &lane->light : &lane->first, &key->node);
		lane->weights += key->weight;
	}
	bgjob_fair_key_rest(key);
	bgjob_fair_lane_rest(lane);
}

/* Sets a weight. What a key is ahead of its lane stays the same amount of time, at the new weight. */
static void
set_weight(BgjobFairLane *lane, BgjobFairKey *key, double weight)
{
	double now = now_of(lane);
	double before = key->weight;
	double ahead = key->node.time - now;
	bool idle = key->waiting == 0 && key->running == 0;

	weight = isnan(weight) ? 1 : Min(Max(weight, WEIGHT_MIN), WEIGHT_MAX);
	if (weight == before)
		return;
	if (!idle)
		leave(lane, key);
	key->weight = weight;
	key->charged *= before / weight;
	if (ahead > 0)
		key->node.time = now + ahead * before / weight;
	if (!idle)
		enter(lane, key);
}

/* bgjob_fair_weight sets the weight of a key, if it is in use; otherwise it is set when a job is filed. */
void
bgjob_fair_weight(Oid database, int64 lane, int64 line, double weight)
{
	BgjobFairLane *at;
	BgjobFairKey *key;

	bgjob_fair_lock(true);
	at = bgjob_fair_lane_find(database, lane);
	key = at == NULL ? NULL : bgjob_fair_key_find(at, line);
	if (key != NULL)
		set_weight(at, key, weight);
	bgjob_fair_unlock();
}

/*
 * bgjob_fair_line returns the line in which a job of a key is to be filed: that of the key, or, if there is no room for
 * it, one that it shares with others. BGJOB_FAIR_NONE: the job goes to the queue at once.
 */
int64
bgjob_fair_line(Oid database, int64 lane, int64 line)
{
	BgjobFairLane *at;

	if (!bgjob_fair_table_exists())
		return BGJOB_FAIR_NONE;
	bgjob_fair_lock(true);
	at = bgjob_fair_lane_get(database, lane);
	if (at == NULL)
		line = BGJOB_FAIR_NONE;
	else if (bgjob_fair_key_get(at, line) == NULL)
		line = bgjob_fair_overflow_line(lane, line);
	bgjob_fair_unlock();
	return line;
}

/* ---- jobs that wait ---- */

/* Adds waiting jobs to a key. If there were none, the key comes now. */
static void
file(BgjobFairLane *lane, BgjobFairKey *key, uint32 n)
{
	double now = now_of(lane);
	double own = bgjob_fair_key_own_time(key);

	leave(lane, key);
	key->filed = bgjob_fair_moment();
	key->light = key->waiting == 0 && n == 1 && own <= now;
	if (key->waiting == 0)
	{
		key->came = now;
		key->node.time = Max(own, now);
		key->node.moment = key->filed;
	}
	key->waiting += n;
	enter(lane, key);
}

/* Adds n waiting jobs to a line, or as many as are missing to n. */
static bool
file_line(Oid database, int64 lane, int64 line, double weight, int n, bool at_least)
{
	BgjobFairLane *at;
	BgjobFairKey *key;

	bgjob_fair_lock(true);
	at = bgjob_fair_lane_get(database, lane);
	key = at == NULL ? NULL : bgjob_fair_key_get(at, line);
	if (key != NULL)
	{
		int64 missing = at_least ? (int64) n - key->waiting : n;

		set_weight(at, key, weight);
		if (missing > 0)
			file(at, key, (uint32) missing);
	}
	bgjob_fair_unlock();
	return key != NULL;
}

/*
 * bgjob_fair_filed says that n more jobs wait in a line; after the commit. It returns false if the memory that
 * bgjob_fair_line found has been given to others meanwhile. Then nobody will ask for these jobs: the
 * caller has the scheduler look, which files them in another line or moves them to the queue.
 */
bool
bgjob_fair_filed(Oid database, int64 lane, int64 line, double weight, int n)
{
	return file_line(database, lane, line, weight, n, false);
}

/*
 * bgjob_fair_at_least says that at least n jobs wait in a line, as its rows show; by the scheduler. It
 * returns false as bgjob_fair_filed does.
 */
bool
bgjob_fair_at_least(Oid database, int64 lane, int64 line, double weight, int n)
{
	return file_line(database, lane, line, weight, n, true);
}

/* bgjob_fair_taken says that n jobs have left a line, and not since it was their turn. */
void
bgjob_fair_taken(Oid database, int64 lane, int64 line, int n)
{
	BgjobFairLane *at;
	BgjobFairKey *key;

	bgjob_fair_lock(true);
	at = bgjob_fair_lane_find(database, lane);
	key = at == NULL ? NULL : bgjob_fair_key_find(at, line);
	if (key != NULL && key->waiting > 0 && n > 0)
	{
		leave(at, key);
		key->waiting -= Min(key->waiting, (uint32) n);
		enter(at, key);
	}
	bgjob_fair_unlock();
}

/* bgjob_fair_waits returns whether jobs of a lane wait. */
bool
bgjob_fair_waits(Oid database, int64 lane)
{
	BgjobFairLane *at;
	bool waits;

	bgjob_fair_lock(false);
	at = bgjob_fair_lane_find(database, lane);
	waits = at != NULL && at->waiting > 0;
	bgjob_fair_unlock();
	return waits;
}

/* ---- jobs that run ---- */

/* Charges a key for one job more. */
static void
charge(BgjobFairLane *lane, BgjobFairKey *key)
{
	double cost = expected(lane, key) / key->weight;

	key->node.time += cost;
	key->node.moment = bgjob_fair_moment();
	key->charged += cost;
	key->running++;
}

/*
 * Replaces what a key was charged for one of its running jobs. What it gets back does not take it behind where it
 * began when it came last.
 */
static void
settle(BgjobFairKey *key, double cost)
{
	double charged = key->running > 0 ? key->charged / key->running : 0;

	key->running -= key->running > 0 ? 1 : 0;
	key->charged = key->running > 0 ? key->charged - charged : 0;
	key->node.time = Max(key->node.time - charged + cost, key->came);
}

/* Returns the key that is next; NULL: none waits. Light keys must leave half of the time to others that wait. */
static BgjobFairKey *
choose(BgjobFairLane *lane)
{
	bool light = lane->light != NULL && (lane->first == NULL || lane->credit >= 0);
	BgjobFairKey *key = (BgjobFairKey *) (light ? lane->light : lane->first);

	if (key == NULL || lane->first == NULL)
		return key;
	if (light)
		lane->credit -= expected(lane, key);
	else
		lane->credit = Min(lane->credit + expected(lane, key), CREDIT_JOBS * lane->mean);
	return key;
}

/*
 * bgjob_fair_next returns the line whose first job is next, and charges its key for it. The job counts as one that
 * does not wait any more. False: none waits.
 */
bool
bgjob_fair_next(Oid database, int64 lane, BgjobFairTurn *turn)
{
	BgjobFairLane *at;
	BgjobFairKey *key;

	bgjob_fair_lock(true);
	at = bgjob_fair_lane_find(database, lane);
	key = at == NULL ? NULL : choose(at);
	if (key != NULL)
	{
		now_of(at);
		leave(at, key);
		key->light = false;
		key->waiting--;
		charge(at, key);
		enter(at, key);
		turn->line = key->line;
		turn->moment = bgjob_fair_moment();
	}
	bgjob_fair_unlock();
	return key != NULL;
}

/*
 * bgjob_fair_back takes back the charge for a job that has not been performed. "Why" says what has become of it. A line
 * that was found empty has no waiting jobs any more, but for those that were filed since its turn.
 */
void
bgjob_fair_back(Oid database, int64 lane, const BgjobFairTurn *turn, BgjobFairBack why)
{
	BgjobFairLane *at;
	BgjobFairKey *key;

	bgjob_fair_lock(true);
	at = bgjob_fair_lane_find(database, lane);
	key = at == NULL ? NULL : bgjob_fair_key_find(at, turn->line);
	if (key != NULL)
	{
		leave(at, key);
		settle(key, 0);
		if (why == BGJOB_FAIR_WAITS)
		{
			key->waiting++;
			key->light = key->waiting == 1 && key->node.time <= at->now;
		}
		else if (why == BGJOB_FAIR_EMPTY && key->filed < turn->moment)
			key->waiting = 0;
		enter(at, key);
	}
	bgjob_fair_unlock();
}

/* Charges a key for a job that did not wait. */
static void
start(BgjobFairLane *lane, BgjobFairKey *key)
{
	double now = now_of(lane);
	double own = bgjob_fair_key_own_time(key);

	leave(lane, key);
	if (key->waiting == 0)
	{
		key->came = now;
		key->node.time = Max(own, now);
	}
	if (lane->waiting + key->waiting == 0)
		lane->now = key->node.time;
	charge(lane, key);
	enter(lane, key);
}

/*
 * bgjob_fair_started says that a job has gone to the queue at once: its key is charged. If there is no room for the
 * key, the overflow key is. While nobody waits, the lane's time goes on with it.
 */
void
bgjob_fair_started(Oid database, int64 lane, int64 line, double weight)
{
	BgjobFairLane *at;
	BgjobFairKey *key;

	bgjob_fair_lock(true);
	at = bgjob_fair_lane_get(database, lane);
	key = at == NULL ? NULL : bgjob_fair_key_get(at, line);
	if (key != NULL)
	{
		set_weight(at, key, weight);
		start(at, key);
	}
	bgjob_fair_unlock();
}

/* Moves a mean towards a value. */
static void
learn(double *mean, double value, int memory)
{
	*mean += (value - *mean) / memory;
}

/* bgjob_fair_ended says how long a job that bgjob_fair_next or _started had charged its key for has taken. */
void
bgjob_fair_ended(Oid database, int64 lane, int64 line, double weight, int64 microseconds)
{
	double took = Max(microseconds, 1);
	BgjobFairLane *at;
	BgjobFairKey *key;

	bgjob_fair_lock(true);
	at = bgjob_fair_lane_find(database, lane);
	key = at == NULL ? NULL : bgjob_fair_key_find(at, line);
	if (at != NULL)
	{
		learn(&at->mean, took, LANE_MEMORY);
		if (at->weights > 0)
			at->now = now_of(at) + took / (2 * at->weights);
	}
	if (key != NULL)
	{
		set_weight(at, key, weight);
		if (key->mean == 0)
			key->mean = took;
		learn(&key->mean, took, KEY_MEMORY);
		leave(at, key);
		settle(key, took / key->weight);
		enter(at, key);
	}
	bgjob_fair_unlock();
}

/* bgjob_fair_forget drops all that is remembered of a database that bgjob has left. */
void
bgjob_fair_forget(Oid database)
{
	bgjob_fair_lock(true);
	bgjob_fair_table_forget(database);
	bgjob_fair_unlock();
}
