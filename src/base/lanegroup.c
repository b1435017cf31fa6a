/*-------------------------------------------------------------------------
 *
 * lanegroup.c
 *	  The groups of lanes, one for each role in a database, in shared memory.
 *
 * A group has all that concerns the ready jobs of one role in one database:
 * its own lock, its lanes, and its generation, which tells workers that lanes
 * have come or gone. Whatever one role does with queues and priorities, the
 * processes of other roles neither wait for it nor notice it.
 *
 * A group may have a limited number of lanes. A role with more queues and
 * priorities than that keeps those that go first; the others are known by
 * number (base/overflow.c) and come in when there is room, or when those that
 * are there have had their turn. A lane without jobs gives way to any other. One
 * with jobs that has to give way is remembered in "behind".
 *
 * Any process. Memory is fixed and reserved at start, since lanes are added
 * after a commit, where nothing may throw: not the allocation of dynamic shared
 * memory, nor the mapping of a segment of it. What is never used is never
 * touched. Where there is no room for another group, the scheduler finds
 * its jobs later (store/sweep.c).
 *
 * A group stays while it is pinned: a worker its own, any other
 * process the one that it has used last. The scheduler drops empty groups and lanes when
 * more than half of the memory is in use (bgjob_lane_groups_tidy).
 *
 * LOCKS. groups_lock: shared to find a group, exclusively to add or remove one.
 * group->lock: see base/lanegroup.h. Order: groups_lock, group->lock, the mutex
 * of a lane. The spinlock of the pool is held for a few instructions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "base/lanegroup.h"
#include "base/servers.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/hsearch.h"

typedef struct LaneControl
{
	LWLock groups_lock;
	pg_atomic_uint64 generation; /* grows whenever a group comes or goes */
	int group_tranche;
	int scan_tranche;
	int mutex_tranche;
	slock_t mutex;
	/* under mutex: the lanes that are in no group */
	BgjobLane *freed;
	int nfree;
	int untouched; /* all from this one on have never been in use */
	BgjobLane lanes[BGJOB_LANES];
} LaneControl;

static LaneControl *control = NULL;
static HTAB *groups = NULL;

/* The group that this process has used last, and pinned. */
static BgjobLaneGroup *current = NULL;
static bool prepared = false;

/* bgjob_lane_groups_size returns the bytes of shared memory that lanes and their groups take. */
Size
bgjob_lane_groups_size(void)
{
	return add_size(MAXALIGN(sizeof(LaneControl)),
					hash_estimate_size(BGJOB_LANE_GROUPS, sizeof(BgjobLaneGroup)));
}

/* bgjob_lane_groups_startup creates or finds them; from shmem_startup_hook. */
void
bgjob_lane_groups_startup(void)
{
	HASHCTL info = {.keysize = sizeof(BgjobLaneGroupKey), .entrysize = sizeof(BgjobLaneGroup)};
	bool found;

	control = ShmemInitStruct("bgjob lanes", sizeof(LaneControl), &found);
	if (!found)
	{
		LWLockInitialize(&control->groups_lock, LWLockNewTrancheId());
		control->group_tranche = LWLockNewTrancheId();
		control->scan_tranche = LWLockNewTrancheId();
		control->mutex_tranche = LWLockNewTrancheId();
		SpinLockInit(&control->mutex);
		pg_atomic_init_u64(&control->generation, 1);
		control->freed = NULL;
		control->nfree = BGJOB_LANES;
		control->untouched = 0;
	}
	LWLockRegisterTranche(control->groups_lock.tranche, "BgjobLaneGroups");
	LWLockRegisterTranche(control->group_tranche, "BgjobLaneGroup");
	LWLockRegisterTranche(control->scan_tranche, "BgjobLaneScan");
	LWLockRegisterTranche(control->mutex_tranche, "BgjobLane");
	groups = ShmemInitHash("bgjob lane groups", BGJOB_LANE_GROUPS, BGJOB_LANE_GROUPS, &info,
						   HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
}

/* ---- the pool of lanes ---- */

/* Takes a lane out of the pool; NULL: there is none. Each group is sure of one, its first. */
static BgjobLane *
pool_get(bool first)
{
	BgjobLane *lane = NULL;

	SpinLockAcquire(&control->mutex);
	if (control->nfree > (first ? 0 : BGJOB_LANE_GROUPS))
	{
		lane = control->freed;
		if (lane != NULL)
			control->freed = lane->next;
		else
			lane = &control->lanes[control->untouched++];
		control->nfree--;
	}
	SpinLockRelease(&control->mutex);
	if (lane != NULL)
	{
		LWLockInitialize(&lane->scan_lock, control->scan_tranche);
		LWLockInitialize(&lane->mutex, control->mutex_tranche);
	}
	return lane;
}

static void
pool_put(BgjobLane *lane)
{
	SpinLockAcquire(&control->mutex);
	lane->next = control->freed;
	control->freed = lane;
	control->nfree++;
	SpinLockRelease(&control->mutex);
}

/* Returns whether more than half of the lanes that are not reserved are in use. */
static bool
is_scarce(void)
{
	return *(volatile int *) &control->nfree < (BGJOB_LANES + BGJOB_LANE_GROUPS) / 2;
}

/* ---- groups ---- */

/* bgjob_lane_group_key fills in the key of the group of a role's jobs of one kind. */
void
bgjob_lane_group_key(BgjobLaneGroupKey *key, Oid database, Oid role, BgjobLaneKind kind)
{
	memset(key, 0, sizeof(*key));
	key->database = database;
	key->role = role;
	key->kind = kind;
}

static void
init_group(BgjobLaneGroup *group)
{
	BgjobLaneKey all = {.group = group->key};

	pg_atomic_init_u32(&group->users, 0);
	pg_atomic_init_u32(&group->wanted, 1);
	LWLockInitialize(&group->lock, control->group_tranche);
	group->generation = 1;
	group->lanes = NULL;
	group->nlanes = 0;
	group->behind = PG_INT64_MAX;
	LWLockInitialize(&group->overflow.scan_lock, control->scan_tranche);
	LWLockInitialize(&group->overflow.mutex, control->mutex_tranche);
	bgjob_lane_init(&group->overflow, &all);
	group->overflow.more = false;
	group->noted = 1;
	LWLockInitialize(&group->idle_lock, control->mutex_tranche);
	group->idle = NULL;
	group->nidle = group->nworkers = 0;
}

/*
 * bgjob_lane_group_pin finds a group, or adds it, and has it stay until
 * bgjob_lane_group_unpin. NULL if there is no room for it. Does not throw.
 */
BgjobLaneGroup *
bgjob_lane_group_pin(const BgjobLaneGroupKey *key)
{
	BgjobLaneGroup *group;
	bool found;

	LWLockAcquire(&control->groups_lock, LW_SHARED);
	group = hash_search(groups, key, HASH_FIND, NULL);
	if (group != NULL)
		pg_atomic_fetch_add_u32(&group->users, 1);
	LWLockRelease(&control->groups_lock);
	if (group != NULL)
		return group;

	LWLockAcquire(&control->groups_lock, LW_EXCLUSIVE);
	group = hash_search(groups, key, HASH_ENTER_NULL, &found);
	if (group != NULL && !found)
	{
		init_group(group);
		pg_atomic_fetch_add_u64(&control->generation, 1);
	}
	if (group != NULL)
		pg_atomic_fetch_add_u32(&group->users, 1);
	LWLockRelease(&control->groups_lock);
	return group;
}

/* bgjob_lane_group_unpin: see bgjob_lane_group_pin. */
void
bgjob_lane_group_unpin(BgjobLaneGroup *group)
{
	pg_atomic_fetch_sub_u32(&group->users, 1);
}

static void
unpin_current(int code, Datum arg)
{
	if (current != NULL)
		bgjob_lane_group_unpin(current);
	current = NULL;
}

/*
 * bgjob_lane_groups_prepare must be called once in a process before
 * bgjob_lane_group is, where it may throw.
 */
void
bgjob_lane_groups_prepare(void)
{
	if (prepared)
		return;
	on_shmem_exit(unpin_current, 0);
	prepared = true;
}

/*
 * bgjob_lane_group returns a group, which is added if need be, and stays until
 * this process asks for another one. NULL if there is no room for it. Does not throw.
 */
BgjobLaneGroup *
bgjob_lane_group(const BgjobLaneGroupKey *key)
{
	if (current != NULL && memcmp(&current->key, key, sizeof(*key)) == 0)
		return current;
	unpin_current(0, (Datum) 0);
	current = bgjob_lane_group_pin(key);
	return current;
}

/* bgjob_lane_groups_visit calls a function for each group of a database, with the groups lock held, shared. */
void
bgjob_lane_groups_visit(Oid database, BgjobLaneGroupVisit visit, void *arg)
{
	HASH_SEQ_STATUS all;
	BgjobLaneGroup *group;

	LWLockAcquire(&control->groups_lock, LW_SHARED);
	hash_seq_init(&all, groups);
	while ((group = hash_seq_search(&all)) != NULL)
		if (group->key.database == database)
			visit(group, arg);
	LWLockRelease(&control->groups_lock);
}

/* The roles of groups of one kind. */
typedef struct Roles
{
	BgjobLaneKind kind;
	Oid *roles;
	int n;
} Roles;

static void
add_role(BgjobLaneGroup *group, void *arg)
{
	Roles *found = arg;

	if (group->key.kind == found->kind && found->n < BGJOB_LANE_GROUPS)
		found->roles[found->n++] = group->key.role;
}

/* bgjob_lane_groups_roles returns the roles that have a group of that kind in a database, palloc'd, and their number. */
Oid *
bgjob_lane_groups_roles(Oid database, BgjobLaneKind kind, int *n)
{
	Roles found = {.kind = kind, .roles = palloc(BGJOB_LANE_GROUPS * sizeof(Oid)), .n = 0};

	bgjob_lane_groups_visit(database, add_role, &found);
	*n = found.n;
	return found.roles;
}

/* bgjob_lane_groups_generation returns a number that grows whenever a group comes or goes. */
uint64
bgjob_lane_groups_generation(void)
{
	return pg_atomic_read_u64(&control->generation);
}

/* ---- lanes ---- */

/* bgjob_lane_key fills in a key; queue must not be longer than BGJOB_QUEUE_NAME_MAX. */
void
bgjob_lane_key(BgjobLaneKey *key, const BgjobLaneGroupKey *group, const char *queue,
			   int priority)
{
	memset(key, 0, sizeof(*key));
	key->group = *group;
	key->priority = priority;
	key->number = bgjob_lane_number(queue, priority, (BgjobLaneKind) group->kind);
	strlcpy(key->queue, queue, BGJOB_QUEUE_NAME_SIZE);
}

/* bgjob_lane_find returns a lane of a group, NULL if it is not there. The lock of the group is held. */
BgjobLane *
bgjob_lane_find(BgjobLaneGroup *group, const BgjobLaneKey *key)
{
	BgjobLane *lane = group->lanes;

	while (lane != NULL && (lane->key.number != key->number ||
							memcmp(&lane->key, key, sizeof(BgjobLaneKey)) != 0))
		lane = lane->next;
	return lane;
}

/* bgjob_lane_find_number returns a lane by its number, NULL if it is not there. The lock of the group is held. */
BgjobLane *
bgjob_lane_find_number(BgjobLaneGroup *group, int64 number)
{
	BgjobLane *lane = group->lanes;

	while (lane != NULL && lane->key.number != number)
		lane = lane->next;
	return lane;
}

/*
 * Returns where a lane stands in the order of taking, of the server that takes it first; INT_MAX: none
 * takes it. To external workers, which name the queues when they fetch, all are equal.
 */
static int
level_of(const BgjobLaneKey *key)
{
	int level = key->group.kind == BGJOB_LANE_EXTERNAL
					? 0
					: bgjob_servers_level(key->group.database, key->queue);

	return level < 0 || bgjob_queues_get(key->group.database, key->queue).paused ? INT_MAX
																				 : level;
}

/* bgjob_lane_is_taken returns whether the workers of some server may take jobs from a lane. */
bool
bgjob_lane_is_taken(const BgjobLaneKey *key)
{
	return level_of(key) != INT_MAX;
}

/* Returns whether lane a goes before lane b, of these levels; of equal ones that of which less was taken. */
static bool
goes_before(const BgjobLane *a, int level_a, const BgjobLane *b, int level_b)
{
	if (level_a != level_b)
		return level_a < level_b;
	if (a->key.priority != b->key.priority)
		return a->key.priority > b->key.priority;
	return a->taken < b->taken;
}

/* Chooses the lane of a group that gives way to one of the caller's: of those that the caller does not take, that of which most was taken. */
static BgjobLane *
choose_of_others(const BgjobLaneGroup *group, BgjobLaneTakes takes)
{
	BgjobLane *most = NULL;

	for (BgjobLane *lane = group->lanes; lane != NULL; lane = lane->next)
		if (lane->users == 0 && !takes(&lane->key) &&
			(most == NULL || lane->taken > most->taken))
			most = lane;
	return most;
}

/*
 * Chooses the lane of a group that gives way to another one: an empty one, or
 * else the last in the order of taking, if it goes behind the newcomer, or has
 * had its turn. NULL: none. Scans keep their lanes.
 */
static BgjobLane *
choose_to_drop(const BgjobLaneGroup *group, const BgjobLaneKey *newcomer)
{
	BgjobLane *last = NULL;
	int last_level = 0;
	int level;

	for (BgjobLane *lane = group->lanes; lane != NULL; lane = lane->next)
		if (lane->users == 0 && bgjob_lane_is_empty(lane))
			return lane;
	for (BgjobLane *lane = group->lanes; lane != NULL; lane = lane->next)
	{
		if (lane->users > 0)
			continue;
		level = level_of(&lane->key);
		if (last == NULL || goes_before(last, last_level, lane, level))
		{
			last = lane;
			last_level = level;
		}
	}
	if (last == NULL)
		return NULL;
	level = level_of(newcomer);
	if (level != last_level)
		return level < last_level ? last : NULL;
	if (newcomer->priority != last->key.priority)
		return newcomer->priority > last->key.priority ? last : NULL;
	return last->taken >= BGJOB_LANE_TURN ? last : NULL;
}

/* Takes a lane out of its group, and remembers that it has jobs, if it may. The lock of the group is held, exclusively. */
static void
unlink_lane(BgjobLaneGroup *group, BgjobLane *lane)
{
	BgjobLane **link = &group->lanes;

	while (*link != lane)
		link = &(*link)->next;
	*link = lane->next;
	group->nlanes--;
	group->generation++;
	if (bgjob_lane_is_empty(lane))
		return;
	group->behind = Min(group->behind, lane->key.number);
	group->noted++;
}

/*
 * bgjob_lane_add adds a lane that is not there to a group. Where the group has
 * as many as it may, another one gives way (choose_to_drop). NULL if none does. With
 * "takes", one that the caller does not take gives way to one of its own. The lock of the group is held, exclusively. Does not throw.
 */
BgjobLane *
bgjob_lane_add(BgjobLaneGroup *group, const BgjobLaneKey *key, BgjobLaneTakes takes)
{
	int most = is_scarce() ? BGJOB_LANES_WHEN_FULL : BGJOB_LANES_OF_GROUP;
	BgjobLane *lane = NULL;

	if (group->nlanes < most)
		lane = pool_get(group->nlanes == 0);
	if (lane == NULL)
	{
		lane = choose_to_drop(group, key);
		if (lane == NULL && takes != NULL)
			lane = choose_of_others(group, takes);
		if (lane == NULL)
			return NULL;
		unlink_lane(group, lane);
	}
	bgjob_lane_init(lane, key);
	lane->next = group->lanes;
	group->lanes = lane;
	group->nlanes++;
	group->generation++;
	return lane;
}

/* Drops the lanes of a group that are not being scanned: those that are empty, or all. Returns whether none is left. */
static bool
drop_lanes(BgjobLaneGroup *group, bool all)
{
	BgjobLane *next;

	for (BgjobLane *lane = group->lanes; lane != NULL; lane = next)
	{
		next = lane->next;
		if (lane->users > 0 || !(all || bgjob_lane_is_empty(lane)))
			continue;
		unlink_lane(group, lane);
		pool_put(lane);
	}
	if (all)
	{
		group->behind = PG_INT64_MAX;
		group->overflow.head = group->overflow.nitems = 0;
		group->overflow.more = false;
	}
	return group->lanes == NULL;
}

/* Removes a group if it is not pinned, has no lanes and an empty overflow. The caller holds the groups lock exclusively. */
static void
remove_unused(BgjobLaneGroup *group)
{
	if (pg_atomic_read_u32(&group->users) == 0 && group->lanes == NULL &&
		group->behind == PG_INT64_MAX && group->overflow.users == 0 &&
		bgjob_lane_is_empty(&group->overflow))
	{
		hash_search(groups, &group->key, HASH_REMOVE, NULL);
		pg_atomic_fetch_add_u64(&control->generation, 1);
	}
}

static void
tidy(Oid database, Oid role, bool all)
{
	HASH_SEQ_STATUS seq;
	BgjobLaneGroup *group;

	LWLockAcquire(&control->groups_lock, LW_EXCLUSIVE);
	hash_seq_init(&seq, groups);
	while ((group = hash_seq_search(&seq)) != NULL)
	{
		bool none;

		if (group->key.database != database || (OidIsValid(role) && group->key.role != role))
			continue;
		LWLockAcquire(&group->lock, LW_EXCLUSIVE);
		none = drop_lanes(group, all);
		LWLockRelease(&group->lock);
		if (none)
			remove_unused(group);
	}
	LWLockRelease(&control->groups_lock);
}

/*
 * bgjob_lane_groups_tidy drops empty groups and lanes of a database, if more than half
 * of the memory is in use; by the scheduler, now and then.
 */
void
bgjob_lane_groups_tidy(Oid database)
{
	if (is_scarce() || hash_get_num_entries(groups) > BGJOB_LANE_GROUPS / 2)
		tidy(database, InvalidOid, false);
}

/*
 * bgjob_lane_groups_forget drops the lanes of a role that is gone, or
 * (InvalidOid) of a whole database that bgjob has left.
 */
void
bgjob_lane_groups_forget(Oid database, Oid role)
{
	tidy(database, role, true);
}
