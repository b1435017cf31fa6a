/*-------------------------------------------------------------------------
 *
 * lanegroup.h
 *	  The groups of lanes, one for each role in a database, in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_LANEGROUP_H
#define BGJOB_BASE_LANEGROUP_H

#include "postgres.h"

#include "base/lane.h"
#include "port/atomics.h"

/* Groups and lanes in the cluster. The first lane of a group always has room. */
#ifndef BGJOB_LANE_GROUPS
#define BGJOB_LANE_GROUPS 2048
#define BGJOB_LANES       8192
#endif

/* Maximal number of lanes of a group while less than half of all lanes are in use, and otherwise. */
#ifndef BGJOB_LANES_OF_GROUP
#define BGJOB_LANES_OF_GROUP  256
#define BGJOB_LANES_WHEN_FULL 16
#endif

/* Number of jobs taken from a lane before others of its priority have their turn. */
#ifndef BGJOB_LANE_TURN
#define BGJOB_LANE_TURN 1000
#endif

typedef struct BgjobLaneGroup
{
	BgjobLaneGroupKey key;   /* must be first */
	pg_atomic_uint32 users;  /* it stays as long as there are any */
	pg_atomic_uint32 wanted; /* so many jobs an external worker has asked for last */
	LWLock lock;             /* shared to use lanes, exclusive to add or drop one */
	/* under lock */
	uint64 generation; /* grows whenever a lane comes or goes */
	BgjobLane *lanes;
	int nlanes;
	int64 behind;       /* lowest number of the lanes that were dropped; PG_INT64_MAX: none */
	BgjobLane overflow; /* see base/overflow.c */
	uint64 noted;       /* grows whenever there are jobs in a lane that is not in the group */
	LWLock idle_lock;
	/* under idle_lock: see base/idle.c */
	struct BgjobSlot *idle;
	int nidle;
	int nworkers;
} BgjobLaneGroup;

/* Returns whether the calling worker takes the jobs of a lane. Called with the lock of the group held; must not throw. */
typedef bool (*BgjobLaneTakes)(const BgjobLaneKey *key);

typedef void (*BgjobLaneGroupVisit)(BgjobLaneGroup *group, void *arg);

extern Size bgjob_lane_groups_size(void);
extern void bgjob_lane_groups_startup(void);
extern void bgjob_lane_groups_prepare(void);

extern void
bgjob_lane_group_key(BgjobLaneGroupKey *key, Oid database, Oid role, BgjobLaneKind kind);
extern BgjobLaneGroup *bgjob_lane_group_pin(const BgjobLaneGroupKey *key);
extern void bgjob_lane_group_unpin(BgjobLaneGroup *group);
extern BgjobLaneGroup *bgjob_lane_group(const BgjobLaneGroupKey *key);
extern void bgjob_lane_groups_visit(Oid database, BgjobLaneGroupVisit visit, void *arg);
extern Oid *bgjob_lane_groups_roles(Oid database, BgjobLaneKind kind, int *n);
extern uint64 bgjob_lane_groups_generation(void);
extern void bgjob_lane_groups_tidy(Oid database);
extern void bgjob_lane_groups_forget(Oid database, Oid role);

extern void bgjob_lane_key(BgjobLaneKey *key, const BgjobLaneGroupKey *group, const char *queue,
						   int priority);
extern BgjobLane *bgjob_lane_find(BgjobLaneGroup *group, const BgjobLaneKey *key);
extern BgjobLane *bgjob_lane_find_number(BgjobLaneGroup *group, int64 number);
extern bool bgjob_lane_is_taken(const BgjobLaneKey *key);
extern BgjobLane *
bgjob_lane_add(BgjobLaneGroup *group, const BgjobLaneKey *key, BgjobLaneTakes takes);

#endif /* BGJOB_BASE_LANEGROUP_H */
