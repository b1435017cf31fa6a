/*-------------------------------------------------------------------------
 *
 * lanes.c
 *	  Telling the lanes what is ready, scanning for them, surveying them.
 *
 * A transaction that inserted jobs into the queue announces them after its
 * commit (base/change.c). A worker that has taken all known items of
 * a lane scans the queue (store/lanescan.c) between bgjob_lane_scan_begin and _end.
 * The scheduler asks for the demand, and sweeps the queue for unannounced rows
 * (store/sweep.c).
 *
 * An announcement finds its lane, or adds it, or, where the group has no room, is
 * noted in the overflow. Where there is no room for the group, the scheduler of the
 * database is notified to scan the queue.
 *
 * Any process. base/lanegroup.c has the order of locks; a scan holds the scan
 * lock of its lane, which is taken first. What is called after a commit does not
 * throw.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/lanes.h"
#include "base/overflow.h"
#include "base/registry.h"
#include "base/wake.h"
#include "miscadmin.h"

/* What is announced to a lane. */
typedef struct Tidings
{
	const BgjobLaneItem *item; /* NULL: nothing but that it is there */
	bool offered;              /* among the items, and no scan on account of it */
	int64 count;
	int singly;
	int *chunk; /* set to that of the lane, unless NULL */
} Tidings;

static void
tell_lane(BgjobLane *lane, const Tidings *tidings)
{
	if (tidings->item == NULL)
		return;
	if (tidings->chunk != NULL)
		*tidings->chunk = lane->chunk;
	if (tidings->offered)
		bgjob_lane_insert(lane, tidings->item);
	else
		bgjob_lane_note(lane, tidings->item, tidings->count, tidings->singly);
}

/* Tells a lane something, or else the overflow of its group. False: there is no room for the group. */
static bool
tell(const BgjobLaneKey *key, const Tidings *tidings)
{
	BgjobLaneGroup *group = bgjob_lane_group(&key->group);
	BgjobLane *lane;

	if (group == NULL)
		return false;
	LWLockAcquire(&group->lock, LW_SHARED);
	lane = bgjob_lane_find(group, key);
	if (lane != NULL)
		tell_lane(lane, tidings);
	LWLockRelease(&group->lock);
	if (lane != NULL)
		return true;

	LWLockAcquire(&group->lock, LW_EXCLUSIVE);
	lane = bgjob_lane_find(group, key);
	if (lane == NULL)
		lane = bgjob_lane_add(group, key, NULL);
	if (lane != NULL)
		tell_lane(lane, tidings);
	else
		bgjob_overflow_note(group, key->number, tidings->count);
	LWLockRelease(&group->lock);
	return true;
}

static void
tell_or_rescan(const BgjobLaneKey *key, const Tidings *tidings)
{
	if (!tell(key, tidings))
		bgjob_notify_scheduler(key->group.database, BGJOB_NOTICE_RESCAN);
}

/*
 * bgjob_lane_announce announces that "count" rows, the lowest of them "first", have
 * become visible in a lane. Returns how many workers they are worth: each takes several if
 * the last job of the lane could be in a chunk. Does not throw: it runs after commit.
 */
int64
bgjob_lane_announce(const BgjobLaneKey *key, const BgjobLaneItem *first, int64 count)
{
	int chunk = 0;

	tell_or_rescan(key, &(Tidings){.item = first, .count = count, .chunk = &chunk});
	return chunk > 1 ? (count + chunk - 1) / chunk : count;
}

/* bgjob_lane_announce_all announces that rows have become visible in any lanes of a group. Does not throw. */
void
bgjob_lane_announce_all(const BgjobLaneGroupKey *key)
{
	BgjobLaneGroup *group = bgjob_lane_group(key);
	BgjobLaneItem first = {.pos = PG_INT64_MIN};

	if (group == NULL)
	{
		bgjob_notify_scheduler(key->database, BGJOB_NOTICE_RESCAN);
		return;
	}
	LWLockAcquire(&group->lock, LW_EXCLUSIVE);
	for (BgjobLane *lane = group->lanes; lane != NULL; lane = lane->next)
		bgjob_lane_note(lane, &first, 1, 0);
	bgjob_lane_note(&group->overflow, &first, 1, 0);
	group->noted++;
	LWLockRelease(&group->lock);
}

/*
 * bgjob_lane_give_back gives back "count" jobs that a worker had taken as a group, the
 * lowest of them at a position; singly: they must not be taken as a group again, since
 * one of them has made the group fail. Does not throw.
 */
void
bgjob_lane_give_back(const BgjobLaneKey *key, int64 lowest, int64 count, bool singly)
{
	BgjobLaneItem first = {.pos = lowest};

	tell_or_rescan(
		key, &(Tidings){.item = &first, .count = count, .singly = singly ? (int) count : 0});
}

/*
 * bgjob_lane_offer inserts a ready row, which may lie below the mark, without causing
 * a scan. Without a tid the row is found by its position. Does not throw.
 */
void
bgjob_lane_offer(const BgjobLaneKey *key, const BgjobLaneItem *item)
{
	tell_or_rescan(key, &(Tidings){.item = item, .offered = true, .count = 1});
}

/* bgjob_lane_ensure sees to it that a lane, which has rows, is known. False: there is no room for its group. */
bool
bgjob_lane_ensure(const BgjobLaneKey *key)
{
	return tell(key, &(Tidings){.count = 1});
}

/* ---- scans ---- */

/* Ends the use of a lane by a scan. The scan lock is given up first: then the lane may go. */
static void
end_use(BgjobLane *lane)
{
	BgjobLaneGroup *group = bgjob_lane_group(&lane->key.group);

	LWLockRelease(&lane->scan_lock);
	LWLockAcquire(&group->lock, LW_SHARED);
	bgjob_lane_use(lane, -1);
	LWLockRelease(&group->lock);
}

/* Begins a scan of a lane that is in use; NULL: none is needed. */
static BgjobLane *
begin_scan(BgjobLaneGroup *group, BgjobLane *lane, int64 *start)
{
	bool needed;

	LWLockAcquire(&lane->scan_lock, LW_EXCLUSIVE);
	LWLockAcquire(&group->lock, LW_SHARED);
	needed = bgjob_lane_scan_start(lane, start);
	LWLockRelease(&group->lock);
	if (needed)
		return lane;
	end_use(lane);
	return NULL;
}

/*
 * bgjob_lane_scan_begin begins a scan of the queue for a lane. Returns the
 * lane and the position to start at; the snapshot must be taken afterwards. NULL:
 * there is nothing to do, since another process has scanned in the meantime, or
 * the lane has gone.
 */
BgjobLane *
bgjob_lane_scan_begin(const BgjobLaneKey *key, int64 *start)
{
	BgjobLaneGroup *group = bgjob_lane_group(&key->group);
	BgjobLane *lane;

	if (group == NULL)
		return NULL;
	LWLockAcquire(&group->lock, LW_SHARED);
	lane = bgjob_lane_find(group, key);
	if (lane != NULL)
		bgjob_lane_use(lane, 1);
	LWLockRelease(&group->lock);
	return lane == NULL ? NULL : begin_scan(group, lane, start);
}

/* bgjob_overflow_scan_begin does the same for the overflow of a group; it scans lanes. */
BgjobLane *
bgjob_overflow_scan_begin(const BgjobLaneGroupKey *key, int64 *start)
{
	BgjobLaneGroup *group = bgjob_lane_group(key);

	if (group == NULL)
		return NULL;
	bgjob_lane_use(&group->overflow, 1);
	return begin_scan(group, &group->overflow, start);
}

/* bgjob_lane_scan_end ends a scan; see bgjob_lane_scan_finish. */
void
bgjob_lane_scan_end(BgjobLane *lane, const BgjobLaneItem *items, int nitems, int64 next,
					bool more)
{
	BgjobLaneGroup *group = bgjob_lane_group(&lane->key.group);

	LWLockAcquire(&group->lock, LW_SHARED);
	bgjob_lane_scan_finish(lane, items, nitems, next, more);
	LWLockRelease(&group->lock);
	end_use(lane);
}

/*
 * bgjob_lane_scan_abort ends a scan that has thrown. Called before the error is
 * passed on, so the scan lock is still held.
 */
void
bgjob_lane_scan_abort(BgjobLane *lane)
{
	bgjob_lane_scan_fail(lane);
	HOLD_INTERRUPTS(); /* the error has forgotten that the lock did so */
	end_use(lane);
}

/* ---- surveys, by the scheduler ---- */

typedef struct Survey
{
	BgjobDemand *demands;
	BgjobLaneServers servers_of;
	void *arg;
	int max;
	int n;
	BgjobLaneKey *keys;
	uint32 *turn;
	int64 below;
} Survey;

/* Adds ready jobs to the demand of a role and some servers. What there is no room for waits until other roles have been served. */
static void
add_ready(Survey *survey, Oid role, uint64 servers, int64 ready)
{
	BgjobDemand *demand = survey->demands + survey->n;

	if (servers == 0 || ready <= 0)
		return;
	while (demand > survey->demands && demand[-1].role == role)
		if ((--demand)->servers == servers)
		{
			demand->ready += ready;
			return;
		}
	if (survey->n < survey->max)
		survey->demands[survey->n++] = (BgjobDemand){role, servers, ready};
}

/* Adds what is in the overflow of a group: for servers that take any queue; others may find one job there. */
static void
add_overflow(Survey *survey, BgjobLaneGroup *group)
{
	BgjobLaneKey any = {.group = group->key};
	uint64 takers = survey->servers_of(&any, survey->arg);

	add_ready(survey, group->key.role, takers, Max(1, group->overflow.backlog));
	add_ready(survey, group->key.role, survey->servers_of(NULL, survey->arg) & ~takers, 1);
}

static void
add_demand(BgjobLaneGroup *group, void *arg)
{
	Survey *survey = arg;
	Oid role = group->key.role;

	if (group->key.kind != BGJOB_LANE_INTERNAL)
		return;
	LWLockAcquire(&group->lock, LW_SHARED);
	for (BgjobLane *lane = group->lanes; lane != NULL; lane = lane->next)
		if (!bgjob_lane_is_empty(lane))
			add_ready(survey, role, survey->servers_of(&lane->key, survey->arg),
					  bgjob_lane_ready(lane));
	if (!bgjob_overflow_is_empty(group))
		add_overflow(survey, group);
	LWLockRelease(&group->lock);
}

/*
 * bgjob_lanes_demand adds up, for each role and for the servers that take the same
 * queues, how much is ready. "servers_of" returns the servers that take a lane as a set
 * of bits, 0: none; of NULL, all servers, and of a lane without a queue, those that take
 * queues which they do not name. It is called with
 * locks held, and must not throw. Returns the demands, those of a role side by side, in
 * the current memory context, and their number.
 */
BgjobDemand *
bgjob_lanes_demand(Oid database, BgjobLaneServers servers_of, void *arg, int *n)
{
	Survey survey = {.max = 2 * BGJOB_LANE_GROUPS, .servers_of = servers_of, .arg = arg};

	survey.demands = palloc(survey.max * sizeof(BgjobDemand));
	bgjob_lane_groups_visit(database, add_demand, &survey);
	*n = survey.n;
	return survey.demands;
}

static void
add_unknown(BgjobLaneGroup *group, void *arg)
{
	Survey *survey = arg;
	int64 pos;

	if (group->key.kind != BGJOB_LANE_INTERNAL || group->nworkers > 0)
		return;
	LWLockAcquire(&group->lock, LW_SHARED);
	for (BgjobLane *lane = group->lanes; lane != NULL; lane = lane->next)
	{
		if (bgjob_lane_peek(lane, &pos) != BGJOB_LANE_UNKNOWN ||
			!bgjob_lane_is_taken(&lane->key))
			continue;
		/* The first ones fill the room, later ones replace them in turn. */
		if (survey->n < survey->max)
			survey->keys[survey->n] = lane->key;
		else if (++*survey->turn % 2 == 0)
			survey->keys[*survey->turn / 2 % survey->max] = lane->key;
		survey->n++;
	}
	LWLockRelease(&group->lock);
}

/*
 * bgjob_lanes_unknown finds lanes of roles without workers that have to be
 * scanned for, at most "max" of them, and not the same ones each time if there
 * are more; returns their number.
 */
int
bgjob_lanes_unknown(Oid database, BgjobLaneKey *keys, int max)
{
	static uint32 turn = 0;
	Survey survey = {.keys = keys, .max = max, .turn = &turn};

	bgjob_lane_groups_visit(database, add_unknown, &survey);
	return Min(survey.n, max);
}

static void
sweep_anew(BgjobLaneGroup *group, void *arg)
{
	LWLockAcquire(&group->lock, LW_SHARED);
	for (BgjobLane *lane = group->lanes; lane != NULL; lane = lane->next)
		bgjob_lane_sweep_set(lane, 0, PG_INT64_MAX);
	LWLockRelease(&group->lock);
}

/* bgjob_lanes_sweep_anew makes the sweep of every lane of a database begin at its end again. */
void
bgjob_lanes_sweep_anew(Oid database)
{
	bgjob_lane_groups_visit(database, sweep_anew, NULL);
}

static void
find_to_sweep(BgjobLaneGroup *group, void *arg)
{
	Survey *survey = arg;

	LWLockAcquire(&group->lock, LW_SHARED);
	for (BgjobLane *lane = group->lanes; lane != NULL; lane = lane->next)
	{
		int64 below = bgjob_lane_sweep_below(lane);

		if (below <= survey->below)
			continue;
		survey->below = below;
		*survey->keys = lane->key;
	}
	LWLockRelease(&group->lock);
}

/*
 * bgjob_lanes_sweep_next finds the next part to be swept: of all lanes of a database
 * the one with the highest position left, and that position. False: all lanes have
 * been swept.
 */
bool
bgjob_lanes_sweep_next(Oid database, BgjobLaneKey *key, int64 *below)
{
	Survey survey = {.keys = key, .below = PG_INT64_MIN};

	bgjob_lane_groups_visit(database, find_to_sweep, &survey);
	*below = survey.below;
	return survey.below != PG_INT64_MIN;
}

/* bgjob_lane_swept notes that a lane has been swept from below one position down to another. */
void
bgjob_lane_swept(const BgjobLaneKey *key, int64 from, int64 to)
{
	BgjobLaneGroup *group = bgjob_lane_group(&key->group);
	BgjobLane *lane;

	if (group == NULL)
		return;
	LWLockAcquire(&group->lock, LW_SHARED);
	lane = bgjob_lane_find(group, key);
	if (lane != NULL)
		bgjob_lane_sweep_set(lane, from, to);
	LWLockRelease(&group->lock);
}

/* ---- for views ---- */

typedef struct Starts
{
	BgjobLaneStart *starts;
	int n;
} Starts;

static void
add_starts(BgjobLaneGroup *group, void *arg)
{
	Starts *all = arg;

	LWLockAcquire(&group->lock, LW_SHARED);
	for (BgjobLane *lane = group->lanes; lane != NULL && all->n < BGJOB_LANES;
		 lane = lane->next)
		all->starts[all->n++] =
			(BgjobLaneStart){group->key.role, lane->key.number, bgjob_lane_start(lane)};
	LWLockRelease(&group->lock);
}

static int
compare_starts(const void *a, const void *b)
{
	const BgjobLaneStart *left = a;
	const BgjobLaneStart *right = b;

	if (left->role != right->role)
		return left->role < right->role ? -1 : 1;
	return left->number < right->number ? -1 : left->number > right->number;
}

/*
 * bgjob_lanes_starts returns the starts of all lanes of a database, in the order of
 * the index of the queue, and their number; in the current memory context.
 */
BgjobLaneStart *
bgjob_lanes_starts(Oid database, int *n)
{
	Starts all = {.n = 0};

	all.starts = palloc(BGJOB_LANES * sizeof(BgjobLaneStart));
	if (bgjob_registry != NULL)
		bgjob_lane_groups_visit(database, add_starts, &all);
	qsort(all.starts, all.n, sizeof(BgjobLaneStart), compare_starts);
	*n = all.n;
	return all.starts;
}
