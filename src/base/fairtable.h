/*-------------------------------------------------------------------------
 *
 * fairtable.h
 *	  The lanes and keys among which workers are shared out, in shared memory.
 *
 * For base/fair.c alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_FAIRTABLE_H
#define BGJOB_BASE_FAIRTABLE_H

#include "postgres.h"

#include "base/fairheap.h"
#include "datatype/timestamp.h"
#include "lib/ilist.h"

/* The memory is fixed; about 3 MB. The unit test has less. */
#ifndef BGJOB_FAIR_LANES
#define BGJOB_FAIR_LANES 256
#define BGJOB_FAIR_KEYS  16384
#endif

/* The keys of a lane for which there is no room share this many overflow keys; a power of 2. */
#define BGJOB_FAIR_OVERFLOW 16

/* A key of a lane. It is in one of the lane's heaps while jobs of it wait. node.time is its virtual time. */
typedef struct BgjobFairKey
{
	BgjobFairNode node; /* must be first */
	dlist_node idle;    /* in the list of idle keys, or of those without a use */
	struct BgjobFairKey *next;
	Oid database;
	uint32 waiting; /* jobs in its line that nobody has been given by bgjob_fair_next() */
	uint32 running; /* jobs for which it is charged, and that have not ended */
	int64 lane;
	int64 line;
	bool light; /* it is in the heap of the light keys */
	double weight;
	double came;    /* the lane's virtual time when the first of the waiting jobs was filed */
	double charged; /* for the running ones, in virtual time */
	double mean;    /* duration of its jobs in µs; 0: none has ended */
	uint64 filed;   /* the moment of the last filing */
	TimestampTz since; /* when it had nothing to do any more */
} BgjobFairKey;

typedef struct BgjobFairLane
{
	dlist_node idle; /* in the list of idle lanes, or of those without a use */
	struct BgjobFairLane *next;
	Oid database;
	uint32 waiting; /* the sums of its keys */
	uint32 running;
	int64 lane;
	BgjobFairNode *first; /* the heaps of the keys with waiting jobs, but for the light ones, */
	BgjobFairNode *light; /* and of these */
	double credit;        /* the light ones go first while it is not negative; µs */
	double weights;       /* the sum of the keys with waiting jobs */
	double now;           /* virtual time; it never goes back */
	double highest;       /* virtual time of any key */
	double mean;          /* duration of its jobs in µs */
	BgjobFairKey overflow[BGJOB_FAIR_OVERFLOW];
} BgjobFairLane;

extern Size bgjob_fair_table_size(void);
extern void bgjob_fair_table_startup(void);
extern bool bgjob_fair_table_exists(void);
extern void bgjob_fair_lock(bool exclusive);
extern void bgjob_fair_unlock(void);

/* Under the lock: */
extern uint64 bgjob_fair_moment(void);
extern BgjobFairLane *bgjob_fair_lane_find(Oid database, int64 lane);
extern BgjobFairLane *bgjob_fair_lane_get(Oid database, int64 lane);
extern void bgjob_fair_lane_work(BgjobFairLane *lane);
extern void bgjob_fair_lane_rest(BgjobFairLane *lane);
extern BgjobFairKey *bgjob_fair_key_find(BgjobFairLane *lane, int64 line);
extern BgjobFairKey *bgjob_fair_key_get(BgjobFairLane *lane, int64 line);
extern void bgjob_fair_key_work(BgjobFairKey *key);
extern void bgjob_fair_key_rest(BgjobFairKey *key);
extern int64 bgjob_fair_overflow_line(int64 lane, int64 line);
extern double bgjob_fair_key_own_time(const BgjobFairKey *key);
extern void bgjob_fair_table_forget(Oid database);

#endif /* BGJOB_BASE_FAIRTABLE_H */
