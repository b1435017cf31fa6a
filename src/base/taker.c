/*-------------------------------------------------------------------------
 *
 * taker.c
 *	  Taking jobs from the lanes of some roles, in the order of queues.
 *
 * A taker is a value in the memory of one process: the groups of lanes that it
 * takes from (for a worker the one of its role), the list of queues in the
 * order of taking, and the function that names taken items. It keeps the lanes that
 * fit sorted, and sorts them again only when the group's lanes, the configuration of
 * queues, or the list have changed.
 *
 * It takes from the first queue in the list, the highest priority there, and
 * among the lanes of one queue's level and priority from the one whose first job
 * is the oldest.
 *
 * Taking and naming are one step: no other process can scan between them (base/lane.c
 * says why no job is claimed twice). Locks: those of one group at a time, as in
 * base/lanegroup.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/overflow.h"
#include "base/taker.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

/* A lane that a taker takes from; valid for one generation of its group. */
typedef struct OwnLane
{
	BgjobLane *lane;
	int level;
	int group_size;
} OwnLane;

/* One group of a taker. */
typedef struct Share
{
	BgjobLaneGroup *group; /* NULL: there was no room for it so far */
	BgjobLaneGroupKey key;
	uint64 generation; /* of the group when the lanes were sorted; 0: never */
	uint64 conf_generation;
	uint64
		searched; /* group->noted when all lanes were searched for those of this taker; 0: never */
	int nlanes;
	OwnLane lanes[BGJOB_LANES_OF_GROUP]; /* in the order of taking */
} Share;

struct BgjobTaker
{
	BgjobTaker *next;         /* of those of this process */
	BgjobTakingQueues queues; /* the list now */
	char *sorted_by;          /* the list that the lanes were sorted by */
	BgjobTakingName name;
	bool brought; /* lanes were brought in since the last job was taken */
	int wanted;   /* so many items are taken at a time; 0: as the queue says */
	int nshares;
	Share shares[FLEXIBLE_ARRAY_MEMBER];
};

/* What a share has to offer. */
typedef struct Offer
{
	const Share *share;
	BgjobTake take;
	bool none;        /* of BGJOB_TAKE_LANES: it has nothing else */
	uint64 noted;     /* likewise: "noted" of the group */
	OwnLane own;      /* not of BGJOB_TAKE_LANES */
	BgjobLaneKey key; /* of its lane */
	int64 pos;        /* of BGJOB_TAKE_ITEMS */
	int64
		before; /* likewise: the first job of another lane that is not behind; PG_INT64_MAX: none */
	uint64 generation;
} Offer;

static BgjobTaker *takers = NULL;

static void
unpin_groups(BgjobTaker *taker)
{
	for (int i = 0; i < taker->nshares; i++)
		if (taker->shares[i].group != NULL)
			bgjob_lane_group_unpin(taker->shares[i].group);
}

static void
unpin_at_exit(int code, Datum arg)
{
	for (BgjobTaker *taker = takers; taker != NULL; taker = taker->next)
		unpin_groups(taker);
}

/* Has the groups of a taker unpinned when this process exits. */
static void
enter_taker(BgjobTaker *taker)
{
	static bool registered = false;

	if (!registered)
		on_shmem_exit(unpin_at_exit, (Datum) 0);
	registered = true;
	taker->next = takers;
	takers = taker;
}

/*
 * bgjob_taker_create makes a taker from these groups, for the life of this
 * process or until it is freed. "queues" is asked for the list of queues each time; "name" is called with
 * the taken items. Raises 53200.
 */
BgjobTaker *
bgjob_taker_create(const BgjobLaneGroupKey *groups, int ngroups, BgjobTakingQueues queues,
				   BgjobTakingName name)
{
	BgjobTaker *taker = MemoryContextAllocZero(TopMemoryContext, offsetof(BgjobTaker, shares) +
																	 ngroups * sizeof(Share));

	taker->queues = queues;
	taker->sorted_by = MemoryContextStrdup(TopMemoryContext, queues());
	taker->name = name;
	taker->nshares = ngroups;
	for (int i = 0; i < ngroups; i++)
		taker->shares[i].key = groups[i];
	enter_taker(taker);
	return taker;
}

/* By level, then higher priority first, then (only to be deterministic) by name. */
static int
compare_lanes(const void *left, const void *right)
{
	const OwnLane *a = left;
	const OwnLane *b = right;

	if (a->level != b->level)
		return a->level < b->level ? -1 : 1;
	if (a->lane->key.priority != b->lane->key.priority)
		return a->lane->key.priority > b->lane->key.priority ? -1 : 1;
	return strcmp(a->lane->key.queue, b->lane->key.queue);
}

/* Sorts the lanes of a share, if anything has changed. The lock of the group is held, shared. */
static void
sort_lanes(const BgjobTaker *taker, Share *share)
{
	uint64 conf_generation = bgjob_queues_generation();

	if (share->generation == share->group->generation &&
		share->conf_generation == conf_generation)
		return;
	if (share->generation == 0 || share->conf_generation != conf_generation)
		share->searched = 0; /* it may take other lanes now */
	share->nlanes = 0;
	for (BgjobLane *lane = share->group->lanes; lane != NULL; lane = lane->next)
	{
		int level = bgjob_queue_level(taker->sorted_by, lane->key.queue);
		BgjobQueueConf conf = bgjob_queues_get(lane->key.group.database, lane->key.queue);

		if (level >= 0 && !conf.paused)
			share->lanes[share->nlanes++] = (OwnLane){lane, level, conf.group_size};
	}
	qsort(share->lanes, share->nlanes, sizeof(OwnLane), compare_lanes);
	share->generation = share->group->generation;
	share->conf_generation = conf_generation;
}

/* Pins the groups that had no room before, and has all lanes sorted again if the list of queues has changed. */
static void
refresh(BgjobTaker *taker)
{
	const char *queues = taker->queues();
	bool changed = strcmp(taker->sorted_by, queues) != 0;

	if (changed)
	{
		char *list = MemoryContextStrdup(TopMemoryContext, queues);

		pfree(taker->sorted_by);
		taker->sorted_by = list;
	}
	for (int i = 0; i < taker->nshares; i++)
	{
		Share *share = &taker->shares[i];

		if (changed)
			share->generation = 0;
		if (share->group == NULL)
			share->group = bgjob_lane_group_pin(&share->key);
	}
}

static bool
is_same_class(const OwnLane *a, const OwnLane *b)
{
	return a->level == b->level && a->lane->key.priority == b->lane->key.priority;
}

/* Finds the first lane in order that has, or may have, a job. The lock of the group is held. */
static void
find_first(const Share *share, Offer *offer)
{
	for (int i = 0; i < share->nlanes; i++)
	{
		const OwnLane *own = &share->lanes[i];
		BgjobLanePeek peek;
		int64 pos = 0;

		if (offer->take == BGJOB_TAKE_ITEMS && !is_same_class(own, &offer->own))
			return;
		peek = bgjob_lane_peek(own->lane, &pos);
		if (peek == BGJOB_LANE_UNKNOWN)
		{
			/* It may have a job older than the first ones of the other lanes of its level and priority. */
			offer->take = BGJOB_TAKE_SCAN;
			offer->own = *own;
			return;
		}
		if (peek == BGJOB_LANE_HAS && offer->take == BGJOB_TAKE_ITEMS)
			offer->before = Min(offer->before, Max(pos, offer->pos));
		if (peek == BGJOB_LANE_HAS && (offer->take == BGJOB_TAKE_NONE || pos < offer->pos))
		{
			offer->take = BGJOB_TAKE_ITEMS;
			offer->own = *own;
			offer->pos = pos;
		}
	}
}

/*
 * Returns whether lanes of the overflow should be brought in first. Where there is something
 * to take, only once before it is taken: so taking goes on in any case.
 */
static bool
may_come_in(const BgjobTaker *taker, const Share *share, const Offer *offer)
{
	BgjobLaneGroup *group = share->group;

	if (offer->take == BGJOB_TAKE_NONE)
		return share->searched != group->noted &&
			   bgjob_overflow_may_come_in(group, NULL, false);
	return !taker->brought && bgjob_overflow_may_come_in(
								  group, offer->own.lane,
								  offer->own.level < bgjob_queue_level(taker->sorted_by, "*"));
}

/* Finds what a share has to offer; with the lanes of its overflow, if so said. */
static void
make_offer(const BgjobTaker *taker, Share *share, bool overflow, Offer *offer)
{
	BgjobLaneGroup *group = share->group;

	memset(offer, 0, sizeof(*offer));
	offer->share = share;
	offer->before = PG_INT64_MAX;
	if (group == NULL)
		return;
	LWLockAcquire(&group->lock, LW_SHARED);
	sort_lanes(taker, share);
	offer->generation = share->generation;
	find_first(share, offer);
	if (offer->take != BGJOB_TAKE_NONE)
		offer->key = offer->own.lane->key;
	if (overflow && may_come_in(taker, share, offer))
	{
		offer->none = offer->take == BGJOB_TAKE_NONE;
		offer->noted = group->noted;
		offer->take = BGJOB_TAKE_LANES;
	}
	LWLockRelease(&group->lock);
}

/* Returns whether one offer goes before another one. */
static bool
goes_before(const Offer *a, const Offer *b)
{
	if (a->take == BGJOB_TAKE_NONE || b->take == BGJOB_TAKE_NONE)
		return a->take != BGJOB_TAKE_NONE;
	if ((a->take == BGJOB_TAKE_LANES) != (b->take == BGJOB_TAKE_LANES))
		return a->take == BGJOB_TAKE_LANES;
	if (a->take == BGJOB_TAKE_LANES)
		return false;
	if (a->own.level != b->own.level)
		return a->own.level < b->own.level;
	if (a->key.priority != b->key.priority)
		return a->key.priority > b->key.priority;
	if ((a->take == BGJOB_TAKE_SCAN) != (b->take == BGJOB_TAKE_SCAN))
		return a->take == BGJOB_TAKE_SCAN;
	return a->pos < b->pos;
}

/* Sets *group_size to how many items of a lane go before a position, as many as are wanted. Under the mutex. */
static void
limit_items(const BgjobLane *lane, int wanted, int64 before, int *group_size)
{
	int n = 1;

	while (n < wanted && lane->head + n < lane->nitems &&
		   lane->items[lane->head + n].pos < before)
		n++;
	*group_size = n;
}

/* Takes what an offer has, and names it, in one hold of the lane's mutex. False: it is no longer so. */
static bool
pop(const BgjobTaker *taker, const Offer *offer, BgjobLaneItem *items, BgjobTaking *taking)
{
	BgjobLaneGroup *group = offer->share->group;
	BgjobLane *lane = offer->own.lane;
	bool same;

	taking->n = 0;
	LWLockAcquire(&group->lock, LW_SHARED);
	same = group->generation == offer->generation;
	if (same)
	{
		taking->key = offer->key;
		taking->group_size = offer->own.group_size;
		LWLockAcquire(&lane->mutex, LW_EXCLUSIVE);
		taking->alone = lane->singly > 0;
		taking->in_chunk = taker->wanted == 0 && taking->group_size == 1 && lane->chunk > 1;
		if (taker->wanted > 0)
			limit_items(lane, taker->wanted, offer->before, &taking->group_size);
		taking->between = offer->before != PG_INT64_MAX;
		if (taking->in_chunk)
			taking->group_size = lane->chunk;
		taking->n = bgjob_lane_pop(lane, items, &taking->group_size, &taking->more);
		taking->in_chunk &= taking->group_size > 1;
		if (taking->n > 0)
			taker->name(items, taking);
		LWLockRelease(&lane->mutex);
	}
	LWLockRelease(&group->lock);
	return taking->n > 0;
}

/* Notes in an offer of items the first job of another one of the same class. */
static void
note_rival(Offer *offer, const Offer *other)
{
	if (offer->take == BGJOB_TAKE_ITEMS && other->take == BGJOB_TAKE_ITEMS &&
		is_same_class(&offer->own, &other->own))
		offer->before = Min(offer->before, other->pos);
}

/* bgjob_taker_want has so many items taken at a time, as far as they go before those of other lanes. */
void
bgjob_taker_want(BgjobTaker *taker, int items)
{
	taker->wanted = items;
	for (int i = 0; i < taker->nshares; i++)
	{
		BgjobLaneGroup *group = taker->shares[i].group;

		if (group != NULL && pg_atomic_read_u32(&group->wanted) != items)
			pg_atomic_write_u32(&group->wanted, items);
	}
}

/* bgjob_taker_free frees a taker. */
void
bgjob_taker_free(BgjobTaker *taker)
{
	BgjobTaker **link = &takers;

	while (*link != taker)
		link = &(*link)->next;
	*link = taker->next;
	unpin_groups(taker);
	pfree(taker->sorted_by);
	pfree(taker);
}

/*
 * bgjob_taker_take takes the next job, or from a queue with groups the next
 * jobs. There must be room for BGJOB_LANE_AHEAD items.
 *
 * BGJOB_TAKE_ITEMS: they are named.
 * BGJOB_TAKE_SCAN: nothing can be said before the queue has been scanned for the
 * lane of taking->key. BGJOB_TAKE_LANES: nor before lanes of the group of
 * taking->key have been brought in.
 */
BgjobTake
bgjob_taker_take(BgjobTaker *taker, BgjobLaneItem *items, BgjobTaking *taking)
{
	refresh(taker);
	for (;;)
	{
		Offer best = {.take = BGJOB_TAKE_NONE};

		for (int i = 0; i < taker->nshares; i++)
		{
			Offer offer;

			make_offer(taker, &taker->shares[i], true, &offer);
			if (goes_before(&offer, &best))
			{
				note_rival(&offer, &best);
				best = offer;
			}
			else
				note_rival(&best, &offer);
		}
		switch (best.take)
		{
			case BGJOB_TAKE_NONE:
				return BGJOB_TAKE_NONE;
			case BGJOB_TAKE_SCAN:
				taking->key = best.key;
				return BGJOB_TAKE_SCAN;
			case BGJOB_TAKE_LANES:
				taking->key.group = best.share->key;
				taking->none = best.none;
				taking->noted = best.noted;
				taker->brought = true;
				return BGJOB_TAKE_LANES;
			case BGJOB_TAKE_ITEMS:
				if (pop(taker, &best, items, taking))
				{
					taker->brought = false;
					return BGJOB_TAKE_ITEMS;
				}
				break; /* another process was faster */
		}
	}
}

/*
 * bgjob_taker_take_more takes more items of a lane that something was taken from, for the
 * same chunk: as many as are at hand, at most "wanted". Returns their number. "name" is
 * called with them while no other process can scan. None if some are to be performed singly.
 */
int
bgjob_taker_take_more(const BgjobLaneKey *key, BgjobLaneItem *items, int wanted,
					  void (*name)(const BgjobLaneItem *items, int n))
{
	BgjobLaneGroup *group = bgjob_lane_group(&key->group);
	BgjobLane *lane;
	bool more;
	int n = 0;

	if (group == NULL)
		return 0;
	LWLockAcquire(&group->lock, LW_SHARED);
	lane = bgjob_lane_find(group, key);
	if (lane != NULL)
	{
		LWLockAcquire(&lane->mutex, LW_EXCLUSIVE);
		if (lane->singly == 0)
			n = bgjob_lane_pop(lane, items, &wanted, &more);
		if (n > 0)
			name(items, n);
		LWLockRelease(&lane->mutex);
	}
	LWLockRelease(&group->lock);
	return n;
}

/* bgjob_taker_note_chunk notes with how many others the last job of a lane could be performed; 0: it could not. */
void
bgjob_taker_note_chunk(const BgjobLaneKey *key, int size)
{
	BgjobLaneGroup *group = bgjob_lane_group(&key->group);
	BgjobLane *lane;

	if (group == NULL)
		return;
	LWLockAcquire(&group->lock, LW_SHARED);
	lane = bgjob_lane_find(group, key);
	if (lane != NULL && lane->chunk != size)
	{
		LWLockAcquire(&lane->mutex, LW_EXCLUSIVE);
		lane->chunk = size;
		LWLockRelease(&lane->mutex);
	}
	LWLockRelease(&group->lock);
}

/*
 * bgjob_taker_found_all says that the lanes of a group have been searched for those that
 * the taker takes, since "noted" of the group was so. When it has nothing to take, it
 * does not ask for lanes again before "noted" grows.
 */
void
bgjob_taker_found_all(BgjobTaker *taker, const BgjobLaneGroupKey *key, uint64 noted)
{
	for (int i = 0; i < taker->nshares; i++)
		if (memcmp(&taker->shares[i].key, key, sizeof(*key)) == 0)
			taker->shares[i].searched = noted;
}

/* bgjob_taker_has_work returns whether there may be something to take. */
bool
bgjob_taker_has_work(BgjobTaker *taker)
{
	return bgjob_taker_has_better(taker, NULL);
}

/*
 * bgjob_taker_has_better returns whether there may be something to take that goes
 * before all of the lane "than": in a queue that comes first, or of a higher
 * priority. NULL: anything at all. (What goes before others is not in an overflow
 * for long: bgjob_lane_add makes room for it.)
 */
bool
bgjob_taker_has_better(BgjobTaker *taker, const BgjobLaneKey *than)
{
	bool better = false;
	int level;

	refresh(taker);
	level = than != NULL ? bgjob_queue_level(taker->sorted_by, than->queue) : 0;
	for (int i = 0; i < taker->nshares && !better; i++)
	{
		Offer offer;

		make_offer(taker, &taker->shares[i], than == NULL, &offer);
		if (offer.take == BGJOB_TAKE_NONE)
			continue;
		better = than == NULL || offer.own.level < level ||
				 (offer.own.level == level && offer.key.priority > than->priority);
	}
	return better;
}
