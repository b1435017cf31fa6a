/*-------------------------------------------------------------------------
 *
 * lane.c
 *	  The cursors through the queues, in shared memory.
 *
 * Who calls what: a transaction that put jobs into the queue announces them
 * at commit (base/change.c); a worker takes the next job (process/worker.c)
 * and, when its lane has none at hand, looks into the queue (store/queue.c)
 * between bgjob_lane_scan_begin and _end; the scheduler asks for the demand,
 * and sweeps the queue for what nobody has announced.
 *
 * WHY NO JOB IS EVER STRANDED. A row can become visible below the mark: ids
 * are drawn before commits, and a worker that dies gives its row back. Who
 * makes such a row visible announces its place afterwards, under the lane's
 * mutex, lowering "mark" and "late" both. A look notes mark and sets late to
 * infinity in one hold of the mutex, takes its snapshot after that, and at
 * the end sets the mark to the lower of what it has seen and late. A place
 * announced before the look began has lowered the mark that the look starts
 * from; one announced while it runs is in "late"; one announced after it has
 * ended lowers the new mark. There is one look at a time in a lane.
 *
 * A row that becomes ready again (its worker was lost, a transaction that had
 * taken it is rolled back), and one that the sweep finds, is offered: it goes
 * among the items, in order, and the mark stays where it is. With a snapshot held
 * there may be millions of dead rows between the row and the mark, over which
 * a look would have to go once more. Only if there is no room among the items is
 * the mark lowered. A look that is under way keeps what is offered meanwhile.
 *
 * THE SWEEP goes through a lane from its end to its beginning, since what nobody
 * announced is mostly recent, a bounded number of rows at a time. It offers what
 * it sees and is not in flight. What has been taken since it looked is offered
 * in vain. It need not look where a look is due: from the mark on, if there is
 * "more".
 *
 * A single row is not only announced but handed over, so that nobody has to
 * look for it: it becomes the last item, and the mark goes beyond it. Only
 * where that is what a look would do: all that is ready is known (there is no
 * "more", and no look under way), and the row is neither below the mark, where
 * a look may have found it before it was announced, nor before the last item.
 * A row between the mark and it that becomes visible later lowers the mark
 * again, as ever.
 *
 * WHY NO JOB IS CLAIMED TWICE. A worker's slot names the job from the moment
 * it is popped, in one hold of the mutex, until its outcome has committed;
 * the look leaves out the rows whose places are in flight. Should a row come
 * out twice nevertheless (its worker committed between snapshot and look),
 * deleting it fails and the worker goes on to the next: the row lock decides.
 *
 * LOCKS. "lane_lock" (LWLock): shared to find lanes and use them, exclusively
 * to add or evict one. lane->scan_lock (LWLock): held during a look, may do
 * I/O. lane->mutex (LWLock): the fields, for a microsecond; no spinlock, since a
 * worker names in its slot what it pops, and a group's items are many. Order:
 * scan_lock, lane_lock, mutex, the lock of the slot's group, slot mutex.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "base/compat.h"
#include "base/database.h"
#include "base/groupitems.h"
#include "base/guc.h"
#include "base/lane.h"
#include "base/registry.h"
#include "base/slot.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Who was refused a lane is not considered again for so long, in microseconds. */
#define REFUSED_FOR 100000

/* Between the names in bgjob.queues. */
#define SEPARATORS ", \t\n\""

typedef struct LaneControl
{
	LWLock lock; /* the lane lock */
	int scan_tranche;
	int mutex_tranche;
	uint64 generation; /* changes whenever a lane comes or goes */
	/* whom there was no room for, and when: that need not be found out for each of its lanes */
	Oid refused_database;
	Oid refused_role;
	int refused_priority;
	TimestampTz refused_at;
} LaneControl;

static LaneControl *control = NULL;
static HTAB *lanes = NULL;

/* How many lanes a role has in a database. */
typedef struct Holder
{
	Oid database;
	Oid role;
	int lanes;
} Holder;

/* This worker's lanes in the order of taking; valid for one generation and list of queues. */
typedef struct MyLane
{
	BgjobLane *lane;
	int level;
	int group_size;
} MyLane;

static MyLane *my_lanes = NULL;
static int my_nlanes = 0;
static uint64 my_generation = 0;
static uint64 my_conf_generation = 0;
static char *my_queues = NULL;

/* bgjob_lane_size returns the bytes of shared memory that the lanes take. */
Size
bgjob_lane_size(void)
{
	return add_size(MAXALIGN(sizeof(LaneControl)),
					hash_estimate_size(BGJOB_LANES, sizeof(BgjobLane)));
}

/* bgjob_lane_startup creates or finds the lanes; from shmem_startup_hook. */
void
bgjob_lane_startup(void)
{
	HASHCTL info = {.keysize = sizeof(BgjobLaneKey), .entrysize = sizeof(BgjobLane)};
	bool found;

	control = ShmemInitStruct("bgjob lanes", sizeof(LaneControl), &found);
	if (!found)
	{
		LWLockInitialize(&control->lock, LWLockNewTrancheId());
		control->scan_tranche = LWLockNewTrancheId();
		control->mutex_tranche = LWLockNewTrancheId();
		control->generation = 1;
		control->refused_database = control->refused_role = InvalidOid;
	}
	LWLockRegisterTranche(control->lock.tranche, "BgjobLanes");
	LWLockRegisterTranche(control->scan_tranche, "BgjobLaneScan");
	LWLockRegisterTranche(control->mutex_tranche, "BgjobLane");
	lanes = ShmemInitHash("bgjob lane table", BGJOB_LANES, BGJOB_LANES, &info,
						  HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
}

/* bgjob_lane_key fills in a key; queue must not be longer than BGJOB_QUEUE_NAME_MAX. */
void
bgjob_lane_key(BgjobLaneKey *key, Oid database, Oid role, const char *queue, int priority)
{
	memset(key, 0, sizeof(*key));
	key->database = database;
	key->role = role;
	key->priority = priority;
	strlcpy(key->queue, queue, BGJOB_QUEUE_NAME_SIZE);
}

/* Whether a lane may have anything for a worker. An instant's look, without the mutex. */
static bool
is_empty(const BgjobLane *lane)
{
	return lane->head == lane->nitems && !lane->more;
}

/*
 * Returns the place of a queue in a list like 'critical, default, *', -1 if
 * it is not to be taken at all. "*" stands for all that are not named.
 * Neither allocates nor throws.
 */
static int
queue_level(const char *list, const char *queue)
{
	size_t length = strlen(queue);
	int level = 0;
	int others = -1;

	while (*(list += strspn(list, SEPARATORS)) != '\0')
	{
		size_t n = strcspn(list, SEPARATORS);

		if (n == length && memcmp(list, queue, n) == 0)
			return level;
		if (n == 1 && *list == '*')
			others = level;
		list += n;
		level++;
	}
	return others;
}

/* Notes that there may be something in a database that no lane leads to. */
static void
note_lost(Oid database)
{
	BgjobDatabase *entry = bgjob_database_find(database);

	if (entry != NULL)
		pg_atomic_write_u32(&entry->lost_lanes, 1);
}

/* Whether workers may take what is in a lane. */
static bool
is_taken(const BgjobLaneKey *key)
{
	return queue_level(bgjob_queues, key->queue) >= 0 &&
		   !bgjob_queues_get(key->database, key->queue).paused;
}

/* Counts the lanes of each role in each database, into "holders"; their number. Lane lock held. */
static int
count_holders(Holder *holders)
{
	HASH_SEQ_STATUS all;
	BgjobLane *lane;
	int n = 0;

	hash_seq_init(&all, lanes);
	while ((lane = hash_seq_search(&all)) != NULL)
	{
		int i = 0;

		while (i < n &&
			   (holders[i].database != lane->key.database || holders[i].role != lane->key.role))
			i++;
		if (i == n)
			holders[n++] = (Holder){lane->key.database, lane->key.role, 0};
		holders[i].lanes++;
	}
	return n;
}

static int
lanes_of(const Holder *holders, int n, const BgjobLaneKey *key)
{
	for (int i = 0; i < n; i++)
		if (holders[i].database == key->database && holders[i].role == key->role)
			return holders[i].lanes;
	return 0;
}

/*
 * What it would cost to evict a lane: nothing if there is nothing in it, or if
 * its queue is not taken; else the less, the more lanes its role has, and
 * among these the lower its priority.
 */
static int64
eviction_cost(const BgjobLane *lane, const Holder *holders, int n)
{
	if (is_empty(lane))
		return -2;
	if (!is_taken(&lane->key))
		return -1;
	return ((int64) (BGJOB_LANES - lanes_of(holders, n, &lane->key)) << 32) +
		   (lane->key.priority - (int64) PG_INT16_MIN);
}

/* Whether the lane of some role of no lower priority was refused a moment ago. Lane lock held. */
static bool
was_refused(const BgjobLaneKey *newcomer, TimestampTz now)
{
	return control->refused_role == newcomer->role &&
		   control->refused_database == newcomer->database &&
		   control->refused_priority >= newcomer->priority && now >= control->refused_at &&
		   now - control->refused_at < REFUSED_FOR;
}

/*
 * Makes room for a lane by evicting another one that nobody uses, if that is
 * fair: the newcomer's role has fewer lanes, or lower priorities. What is lost
 * is found again by the scheduler when there is room. Lane lock held.
 */
static bool
evict_for(const BgjobLaneKey *newcomer)
{
	static Holder holders[BGJOB_LANES];
	TimestampTz now = GetCurrentTimestamp();
	int nholders;
	int64 own;
	HASH_SEQ_STATUS all;
	BgjobLane *lane;
	BgjobLane *victim = NULL;
	int64 lowest = PG_INT64_MAX;

	if (was_refused(newcomer, now))
		return false;
	nholders = count_holders(holders);
	own = ((int64) (BGJOB_LANES - lanes_of(holders, nholders, newcomer)) << 32) +
		  (newcomer->priority - (int64) PG_INT16_MIN);
	hash_seq_init(&all, lanes);
	while ((lane = hash_seq_search(&all)) != NULL)
	{
		int64 cost = lane->users > 0 ? PG_INT64_MAX : eviction_cost(lane, holders, nholders);

		if (cost < lowest)
		{
			lowest = cost;
			victim = lane;
		}
	}
	if (victim == NULL || lowest >= own)
	{
		control->refused_database = newcomer->database;
		control->refused_role = newcomer->role;
		control->refused_priority = newcomer->priority;
		control->refused_at = now;
		return false;
	}
	if (lowest >= 0)
		note_lost(victim->key.database);
	hash_search(lanes, &victim->key, HASH_REMOVE, NULL);
	return true;
}

/*
 * Finds or adds a lane; false if there is no room, or if it would need some and
 * its queue is not taken. Takes the lane lock exclusively.
 */
static bool
add_lane(const BgjobLaneKey *key)
{
	BgjobLane *lane;
	bool found;

	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	lane = hash_search(lanes, key, HASH_ENTER_NULL, &found);
	if (lane == NULL && is_taken(key))
	{
		if (evict_for(key))
			lane = hash_search(lanes, key, HASH_ENTER_NULL, &found);
		else
			note_lost(key->database);
	}
	if (lane != NULL && !found)
	{
		LWLockInitialize(&lane->scan_lock, control->scan_tranche);
		LWLockInitialize(&lane->mutex, control->mutex_tranche);
		lane->mark = lane->late = lane->sweep = PG_INT64_MIN;
		lane->more = true;
		lane->backlog = 0;
		lane->head = lane->nitems = 0;
		lane->users = 0;
		lane->singly = 0;
		control->generation++;
	}
	LWLockRelease(&control->lock);
	return lane != NULL;
}

/* Makes a row the last item of a lane, if a look would do so. Under the mutex. */
static bool
hand_over(BgjobLane *lane, const BgjobLaneItem *item)
{
	if (lane->more || lane->users > 0 || item->pos < lane->mark)
		return false;
	if (lane->head == lane->nitems)
		lane->head = lane->nitems = 0;
	else if (lane->nitems == BGJOB_LANE_AHEAD || item->pos <= lane->items[lane->nitems - 1].pos)
		return false;
	lane->items[lane->nitems++] = *item;
	lane->mark = item->pos + 1;
	return true;
}

/* Notes that there are rows to be looked for, the lowest of them at "pos". Under the mutex. */
static void
note_more(BgjobLane *lane, int64 pos)
{
	lane->mark = Min(lane->mark, pos);
	lane->late = Min(lane->late, pos);
	lane->more = true;
	if (lane->head < lane->nitems && pos < lane->items[lane->head].pos)
		lane->head = lane->nitems = 0; /* it comes first, and is found with them */
}

/* Says that rows have become visible in a lane, if it is there. */
static bool
announce(const BgjobLaneKey *key, const BgjobLaneItem *first, int64 count, int singly)
{
	BgjobLane *lane;

	LWLockAcquire(&control->lock, LW_SHARED);
	lane = hash_search(lanes, key, HASH_FIND, NULL);
	if (lane != NULL)
	{
		LWLockAcquire(&lane->mutex, LW_EXCLUSIVE);
		if (count != 1 || !ItemPointerIsValid(&first->tid) || !hand_over(lane, first))
			note_more(lane, first->pos);
		lane->backlog += count;
		lane->singly += singly;
		LWLockRelease(&lane->mutex);
	}
	LWLockRelease(&control->lock);
	return lane != NULL;
}

/*
 * bgjob_lane_announce says that "count" rows, the lowest of them "first", have
 * become visible in a lane. Must not throw: it runs after commit.
 */
void
bgjob_lane_announce(const BgjobLaneKey *key, const BgjobLaneItem *first, int64 count)
{
	while (!announce(key, first, count, 0))
		if (!add_lane(key))
			return; /* no room: the scheduler finds it when there is */
}

/*
 * bgjob_lane_give_back says that jobs which a worker had taken as a group are
 * free again; singly: that they are not to be taken as a group once more, since
 * one of them has made the group fail.
 */
void
bgjob_lane_give_back(const BgjobGroupRest *rest, bool singly)
{
	BgjobLaneItem first = {.pos = rest->pos};
	BgjobLaneKey key;

	bgjob_lane_key(&key, MyDatabaseId, rest->role, rest->queue, rest->priority);
	while (!announce(&key, &first, rest->count, singly ? rest->count : 0))
		if (!add_lane(&key))
			return;
}

/*
 * Puts a row among the items, in the order of their places. False if there is no
 * room. Under the mutex.
 */
static bool
insert_item(BgjobLane *lane, const BgjobLaneItem *item)
{
	int at;

	if (lane->more && item->pos >= lane->mark)
		return true; /* the next look finds it */
	if (lane->head > 0)
	{
		lane->nitems -= lane->head;
		memmove(lane->items, lane->items + lane->head, lane->nitems * sizeof(BgjobLaneItem));
		lane->head = 0;
	}
	for (at = lane->nitems; at > 0 && lane->items[at - 1].pos >= item->pos; at--)
		;
	if (at < lane->nitems && lane->items[at].pos == item->pos)
		return true;
	if (lane->nitems == BGJOB_LANE_AHEAD)
		return false;
	memmove(&lane->items[at + 1], &lane->items[at],
			(lane->nitems - at) * sizeof(BgjobLaneItem));
	lane->items[at] = *item;
	lane->nitems++;
	return true;
}

/*
 * bgjob_lane_offer says that a row is ready which may lie before the mark,
 * without having anything else looked for. Without a tid it is found by its
 * place. Must not throw.
 */
void
bgjob_lane_offer(const BgjobLaneKey *key, const BgjobLaneItem *item)
{
	BgjobLane *lane;

	LWLockAcquire(&control->lock, LW_SHARED);
	lane = hash_search(lanes, key, HASH_FIND, NULL);
	if (lane != NULL)
	{
		LWLockAcquire(&lane->mutex, LW_EXCLUSIVE);
		if (!insert_item(lane, item))
			note_more(lane, item->pos);
		lane->backlog++;
		LWLockRelease(&lane->mutex);
	}
	LWLockRelease(&control->lock);
	if (lane == NULL)
		bgjob_lane_announce(key, item, 1);
}

/* bgjob_lane_ensure sees to it that there is a lane, if there is room; for the scheduler. */
void
bgjob_lane_ensure(const BgjobLaneKey *key)
{
	bool found;

	LWLockAcquire(&control->lock, LW_SHARED);
	(void) hash_search(lanes, key, HASH_FIND, &found);
	LWLockRelease(&control->lock);
	if (!found)
		(void) add_lane(key);
}

/*
 * bgjob_lanes_lost_any tells whether there is something in the queue of a
 * database that no lane leads to, and room for one now; once.
 */
bool
bgjob_lanes_lost_any(Oid database)
{
	BgjobDatabase *entry = bgjob_database_find(database);
	HASH_SEQ_STATUS all;
	BgjobLane *lane;
	bool room;

	if (entry == NULL || pg_atomic_read_u32(&entry->lost_lanes) == 0)
		return false;
	LWLockAcquire(&control->lock, LW_SHARED);
	room = hash_get_num_entries(lanes) < BGJOB_LANES;
	hash_seq_init(&all, lanes);
	while ((lane = hash_seq_search(&all)) != NULL)
		room = room || is_empty(lane);
	LWLockRelease(&control->lock);
	return room && pg_atomic_exchange_u32(&entry->lost_lanes, 0) != 0;
}

/* bgjob_lanes_sweep_anew has every lane of a database swept from its end. */
void
bgjob_lanes_sweep_anew(Oid database)
{
	HASH_SEQ_STATUS all;
	BgjobLane *lane;

	LWLockAcquire(&control->lock, LW_SHARED);
	hash_seq_init(&all, lanes);
	while ((lane = hash_seq_search(&all)) != NULL)
	{
		if (lane->key.database != database)
			continue;
		LWLockAcquire(&lane->mutex, LW_EXCLUSIVE);
		lane->sweep = PG_INT64_MAX;
		LWLockRelease(&lane->mutex);
	}
	LWLockRelease(&control->lock);
}

/*
 * bgjob_lanes_sweep_next finds what is to be swept next: of all lanes of a
 * database the one with the highest places, and below which of them. False:
 * everything has been.
 */
bool
bgjob_lanes_sweep_next(Oid database, BgjobLaneKey *key, int64 *below)
{
	HASH_SEQ_STATUS all;
	BgjobLane *lane;

	*below = PG_INT64_MIN;
	LWLockAcquire(&control->lock, LW_SHARED);
	hash_seq_init(&all, lanes);
	while ((lane = hash_seq_search(&all)) != NULL)
	{
		int64 sweep;

		if (lane->key.database != database)
			continue;
		LWLockAcquire(&lane->mutex, LW_EXCLUSIVE);
		if (lane->more) /* the next look sees what lies there */
			lane->sweep = Min(lane->sweep, lane->mark);
		sweep = lane->sweep;
		LWLockRelease(&lane->mutex);
		if (sweep <= *below)
			continue;
		*below = sweep;
		*key = lane->key;
	}
	LWLockRelease(&control->lock);
	return *below != PG_INT64_MIN;
}

/* bgjob_lane_swept says that a lane has been swept from below one place down to another. */
void
bgjob_lane_swept(const BgjobLaneKey *key, int64 from, int64 to)
{
	BgjobLane *lane;

	LWLockAcquire(&control->lock, LW_SHARED);
	lane = hash_search(lanes, key, HASH_FIND, NULL);
	if (lane != NULL)
	{
		LWLockAcquire(&lane->mutex, LW_EXCLUSIVE);
		if (lane->sweep <= from) /* it has not been told to begin anew */
			lane->sweep = Min(lane->sweep, to);
		LWLockRelease(&lane->mutex);
	}
	LWLockRelease(&control->lock);
}

/*
 * bgjob_lanes_forget drops the lanes of a role that is gone, or (InvalidOid) of
 * a whole database that bgjob has left.
 */
void
bgjob_lanes_forget(Oid database, Oid role)
{
	HASH_SEQ_STATUS all;
	BgjobLane *lane;

	LWLockAcquire(&control->lock, LW_EXCLUSIVE);
	hash_seq_init(&all, lanes);
	while ((lane = hash_seq_search(&all)) != NULL)
		if (lane->key.database == database && (role == InvalidOid || lane->key.role == role) &&
			lane->users == 0)
			hash_search(lanes, &lane->key, HASH_REMOVE, NULL);
	control->generation++;
	LWLockRelease(&control->lock);
}

/* By level, then higher priority first, then (only to be deterministic) by name. */
static int
compare_lanes(const void *left, const void *right)
{
	const MyLane *a = left;
	const MyLane *b = right;

	if (a->level != b->level)
		return a->level < b->level ? -1 : 1;
	if (a->lane->key.priority != b->lane->key.priority)
		return a->lane->key.priority > b->lane->key.priority ? -1 : 1;
	return strcmp(a->lane->key.queue, b->lane->key.queue);
}

/* Collects this worker's lanes anew if lanes or queues have changed. Lane lock held, shared. */
static void
refresh_my_lanes(void)
{
	HASH_SEQ_STATUS all;
	BgjobLane *lane;
	MemoryContext old;
	uint64 conf_generation = bgjob_queues_generation();

	if (my_generation == control->generation && my_conf_generation == conf_generation &&
		my_queues != NULL && strcmp(my_queues, bgjob_queues) == 0)
		return;

	old = MemoryContextSwitchTo(TopMemoryContext);
	if (my_lanes == NULL)
		my_lanes = palloc(BGJOB_LANES * sizeof(MyLane));
	if (my_queues != NULL)
		pfree(my_queues);
	my_queues = pstrdup(bgjob_queues);
	MemoryContextSwitchTo(old);

	my_nlanes = 0;
	hash_seq_init(&all, lanes);
	while ((lane = hash_seq_search(&all)) != NULL)
	{
		BgjobQueueConf conf;
		int level;

		if (lane->key.database != bgjob_my_slot->database ||
			lane->key.role != bgjob_my_slot->role)
			continue;
		level = queue_level(bgjob_queues, lane->key.queue);
		conf = bgjob_queues_get(lane->key.database, lane->key.queue);
		if (level >= 0 && !conf.paused)
			my_lanes[my_nlanes++] = (MyLane){lane, level, conf.group_size};
	}
	qsort(my_lanes, my_nlanes, sizeof(MyLane), compare_lanes);
	my_generation = control->generation;
	my_conf_generation = conf_generation;
}

/* What a lane has at hand. */
typedef enum LaneLook
{
	LANE_EMPTY,
	LANE_UNKNOWN, /* the queue must be looked into */
	LANE_HAS      /* *pos is the place of the first */
} LaneLook;

static LaneLook
look_at_lane(BgjobLane *lane, int64 *pos)
{
	LaneLook look = LANE_EMPTY;

	LWLockAcquire(&lane->mutex, LW_SHARED);
	if (lane->head < lane->nitems)
	{
		look = LANE_HAS;
		*pos = lane->items[lane->head].pos;
	}
	else if (lane->more)
		look = LANE_UNKNOWN;
	LWLockRelease(&lane->mutex);
	return look;
}

/*
 * Pops the first jobs of a lane, as many as may be performed in one
 * transaction, and notes them in this worker's slot, in one hold of the mutex.
 * False if somebody else was faster.
 */
static bool
pop(const MyLane *mine, BgjobLaneItem *items, BgjobTaking *taking)
{
	BgjobLane *lane = mine->lane;
	int n;

	LWLockAcquire(&lane->mutex, LW_EXCLUSIVE);
	taking->group_size = mine->group_size;
	if (taking->group_size > 1 && lane->singly > 0)
		taking->group_size = 1;
	n = Min(taking->group_size, lane->nitems - lane->head);
	memcpy(items, &lane->items[lane->head], n * sizeof(BgjobLaneItem));
	lane->head += n;
	lane->backlog = Max(0, lane->backlog - n);
	if (lane->singly > 0)
		lane->singly -= n;
	taking->n = n;
	taking->more = lane->head < lane->nitems || lane->more;
	if (n > 0 && taking->group_size == 1)
		bgjob_slot_begin(items[0].job, items[0].pos);
	else if (n > 0)
	{
		int64 positions[BGJOB_LANE_AHEAD];

		for (int i = 0; i < n; i++)
			positions[i] = items[i].pos;
		bgjob_group_items_begin(lane->key.role, lane->key.queue, lane->key.priority);
		bgjob_group_items_add(positions, n);
	}
	LWLockRelease(&lane->mutex);
	if (n > 0)
		taking->key = lane->key;
	return n > 0;
}

/*
 * bgjob_lane_take gives this worker its next job, or in a queue with groups its
 * next jobs: from the lane of the first queue in the server's order, the highest
 * priority there, and among the lanes of one level and priority the one whose
 * first job is the oldest. There must be room for BGJOB_LANE_AHEAD items.
 *
 * BGJOB_TAKE_ITEMS: a single one is named by this worker's slot; those of a
 * group are in the slot's group.
 * BGJOB_TAKE_REFILL: nothing can be said before the queue has been looked
 * into for the lane of taking->key.
 */
BgjobTake
bgjob_lane_take(BgjobLaneItem *items, BgjobTaking *taking)
{
	BgjobTake take = BGJOB_TAKE_NONE;

	LWLockAcquire(&control->lock, LW_SHARED);
	refresh_my_lanes();
	for (int i = 0; i < my_nlanes && take == BGJOB_TAKE_NONE;)
	{
		const MyLane *best = NULL;
		int64 best_pos = 0;
		int group = i;

		for (; i < my_nlanes && my_lanes[i].level == my_lanes[group].level &&
			   my_lanes[i].lane->key.priority == my_lanes[group].lane->key.priority;
			 i++)
		{
			int64 pos = 0;
			LaneLook look = look_at_lane(my_lanes[i].lane, &pos);

			if (look == LANE_UNKNOWN)
			{
				taking->key = my_lanes[i].lane->key;
				take = BGJOB_TAKE_REFILL;
				break;
			}
			if (look == LANE_HAS && (best == NULL || pos < best_pos))
			{
				best = &my_lanes[i];
				best_pos = pos;
			}
		}
		if (take == BGJOB_TAKE_NONE && best != NULL)
		{
			if (pop(best, items, taking))
				take = BGJOB_TAKE_ITEMS;
			else
				i = group; /* look at this group again */
		}
	}
	LWLockRelease(&control->lock);
	return take;
}

/* bgjob_lane_has_work tells whether there may be something for this worker. */
bool
bgjob_lane_has_work(void)
{
	return bgjob_lane_has_better(NULL);
}

/*
 * bgjob_lane_has_better tells whether there may be something for this worker
 * that goes before all of the lane "than": in a queue that its server serves
 * first, or of a higher priority. NULL: anything at all.
 */
bool
bgjob_lane_has_better(const BgjobLaneKey *than)
{
	int level = than != NULL ? queue_level(bgjob_queues, than->queue) : 0;
	bool better = false;

	LWLockAcquire(&control->lock, LW_SHARED);
	refresh_my_lanes();
	for (int i = 0; i < my_nlanes && !better; i++)
	{
		int64 pos;

		if (than != NULL &&
			(my_lanes[i].level > level ||
			 (my_lanes[i].level == level && my_lanes[i].lane->key.priority <= than->priority)))
			break; /* they are in the order in which they are served */
		better = look_at_lane(my_lanes[i].lane, &pos) != LANE_EMPTY;
	}
	LWLockRelease(&control->lock);
	return better;
}

/* Whether nothing is known of a lane that nobody but the scheduler could look into now. */
static bool
is_orphaned_unknown(BgjobLane *lane, Oid database)
{
	bool unknown;

	if (lane->key.database != database || !is_taken(&lane->key))
		return false;
	LWLockAcquire(&lane->mutex, LW_EXCLUSIVE);
	unknown = lane->head == lane->nitems && lane->more;
	LWLockRelease(&lane->mutex);
	return unknown && bgjob_count_workers(database, lane->key.role) == 0;
}

/*
 * bgjob_lanes_unknown finds lanes of roles without workers that have to be
 * looked into, at most "max" of them, and not the same ones each time if there
 * are more; returns their number.
 */
int
bgjob_lanes_unknown(Oid database, BgjobLaneKey *keys, int max)
{
	static uint32 turn = 0;
	HASH_SEQ_STATUS all;
	BgjobLane *lane;
	uint32 n = 0;

	LWLockAcquire(&control->lock, LW_SHARED);
	hash_seq_init(&all, lanes);
	while ((lane = hash_seq_search(&all)) != NULL)
	{
		if (!is_orphaned_unknown(lane, database))
			continue;
		/* The first ones fill the room, later ones replace them in turn. */
		if (n < max)
			keys[n] = lane->key;
		else if (++turn % 2 == 0)
			keys[turn / 2 % max] = lane->key;
		n++;
	}
	LWLockRelease(&control->lock);
	return Min(n, max);
}

/*
 * Ends a look. A lane without users may be removed by who holds the lane lock
 * exclusively: so this process has done with its locks before it gives that up.
 */
static void
end_scan(BgjobLane *lane)
{
	LWLockRelease(&lane->scan_lock);
	LWLockAcquire(&control->lock, LW_SHARED);
	LWLockAcquire(&lane->mutex, LW_EXCLUSIVE);
	lane->users--;
	LWLockRelease(&lane->mutex);
	LWLockRelease(&control->lock);
}

/*
 * bgjob_lane_scan_begin begins a look into the queue for a lane. Returns the
 * lane and the place to start at; the snapshot must be taken afterwards. NULL:
 * there is nothing to do, since somebody else has looked in the meantime, or
 * the lane has gone.
 */
BgjobLane *
bgjob_lane_scan_begin(const BgjobLaneKey *key, int64 *start)
{
	BgjobLane *lane;
	bool needed;

	LWLockAcquire(&control->lock, LW_SHARED);
	lane = hash_search(lanes, key, HASH_FIND, NULL);
	if (lane != NULL)
	{
		LWLockAcquire(&lane->mutex, LW_EXCLUSIVE);
		lane->users++; /* it stays */
		LWLockRelease(&lane->mutex);
	}
	LWLockRelease(&control->lock);
	if (lane == NULL)
		return NULL;

	LWLockAcquire(&lane->scan_lock, LW_EXCLUSIVE);
	LWLockAcquire(&lane->mutex, LW_EXCLUSIVE);
	needed = lane->head == lane->nitems && lane->more;
	if (needed)
	{
		*start = lane->mark;
		lane->late = PG_INT64_MAX;
		lane->more = false;
	}
	LWLockRelease(&lane->mutex);
	if (needed)
		return lane;
	end_scan(lane);
	return NULL;
}

/*
 * bgjob_lane_scan_end ends a look: these items were found in the order of
 * their places, "next" is the first place that was not looked at, and "more"
 * tells whether there may be something there.
 */
void
bgjob_lane_scan_end(BgjobLane *lane, const BgjobLaneItem *items, int nitems, int64 next,
					bool more)
{
	BgjobLaneItem offered[BGJOB_LANE_AHEAD];
	int noffered;

	LWLockAcquire(&lane->mutex, LW_EXCLUSIVE);
	while (nitems > 0 && items[nitems - 1].pos > lane->late)
		nitems--; /* something came that is before it: look again when it is its turn */
	lane->mark = Min(next, lane->late);
	lane->more = more || lane->late != PG_INT64_MAX;
	noffered = lane->nitems - lane->head;
	memcpy(offered, &lane->items[lane->head], noffered * sizeof(BgjobLaneItem));
	memcpy(lane->items, items, nitems * sizeof(BgjobLaneItem));
	lane->head = 0;
	lane->nitems = nitems;
	for (int i = 0; i < noffered; i++)
		if (!insert_item(lane, &offered[i]))
			note_more(lane, offered[i].pos);
	if (lane->more)
		lane->backlog = Max(lane->backlog, lane->nitems + 1);
	else
		lane->backlog = lane->nitems;
	LWLockRelease(&lane->mutex);
	end_scan(lane);
}

/*
 * bgjob_lane_scan_abort ends a look that has thrown, as if it had not been: the
 * mark is still where the look began, or lower. Called before the error is passed
 * on, so the scan lock is still held.
 */
void
bgjob_lane_scan_abort(BgjobLane *lane)
{
	LWLockAcquire(&lane->mutex, LW_EXCLUSIVE);
	lane->more = true;
	LWLockRelease(&lane->mutex);
	HOLD_INTERRUPTS(); /* the error has forgotten that the lock did so */
	end_scan(lane);
}

/*
 * bgjob_lane_demand adds up, for each role, how much is ready in the queues
 * that server "default" takes. Returns the number of roles that have any.
 */
int
bgjob_lane_demand(Oid database, BgjobDemand *demands, int max)
{
	HASH_SEQ_STATUS all;
	BgjobLane *lane;
	int n = 0;

	LWLockAcquire(&control->lock, LW_SHARED);
	hash_seq_init(&all, lanes);
	while ((lane = hash_seq_search(&all)) != NULL)
	{
		int64 ready = 0;
		int i;

		if (lane->key.database != database || !is_taken(&lane->key))
			continue;
		LWLockAcquire(&lane->mutex, LW_EXCLUSIVE);
		if (lane->head < lane->nitems || lane->more)
			ready = Max(lane->backlog, Max(1, lane->nitems - lane->head));
		LWLockRelease(&lane->mutex);
		if (ready == 0)
			continue;
		for (i = 0; i < n && demands[i].role != lane->key.role; i++)
			;
		if (i == n && n == max)
			continue;
		if (i == n)
			demands[n++] = (BgjobDemand){lane->key.role, 0};
		demands[i].ready += ready;
	}
	LWLockRelease(&control->lock);
	return n;
}
