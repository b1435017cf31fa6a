/*-------------------------------------------------------------------------
 *
 * lane_model.c
 *	  The lanes (src/base) in all interleavings of a few processes.
 *
 * The code of the lanes is compiled in as it is, with room for two lanes a group
 * and two items a lane, so that lanes overflow early. Stubs replace its locks,
 * its hash table and its memory. All shared memory is in one struct, World, which
 * is copied to return to an earlier state.
 *
 * Around it is a model of the rest: rows that become visible when their
 * transaction commits, processes that announce them, workers that take, scan,
 * claim, and commit or give back, a scheduler that sweeps and tidies up. A process
 * runs one step at a time. A step is the code within one acquisition of the locks,
 * or one scan of the rows. A process that would have to wait for a lock has no
 * step.
 *
 * All orders of steps are tried, each state once. From each state all processes
 * then run to their end: no row may be left, and none may run twice.
 *
 * A test of the model runs the steps of a process in a wrong order: then rows must
 * be left.
 *
 *-------------------------------------------------------------------------
 */
#define BGJOB_LANE_AHEAD      2
#define BGJOB_LANE_GROUPS     2
#define BGJOB_LANES           6
#define BGJOB_LANES_OF_GROUP  2
#define BGJOB_LANES_WHEN_FULL 2
#define BGJOB_LANE_TURN       1

#include "postgres.h"

#include <setjmp.h>

#undef printf
#undef fprintf
#undef snprintf
#undef qsort

#include "../../src/base/lane.c"
#include "../../src/base/lanegroup.c"
#include "../../src/base/overflow.c"
#undef goes_before
#define goes_before taker_goes_before
#include "../../src/base/lanes.c"
#include "../../src/base/taker.c"

#include "tap.h"

#define ROWS      4
#define PROCESSES 5
#define TAKERS    2

typedef enum Role
{
	ENQUEUER, /* rows become visible, then they are announced */
	REVOKER,  /* takes a row, and rolls back */
	WORKER,
	SWEEPER,
	TIDIER
} Role;

/* What a process does in a wrong order, or leaves out, to show that the model notices. */
typedef enum Flaw
{
	NO_FLAW,
	ANNOUNCES_EARLY,  /* before its rows can be seen */
	SNAPSHOT_EARLY,   /* before the scan begins */
	GIVES_BACK_EARLY, /* announces while its slot still names the job */
	FORGETS_LATE,     /* gives back without announcing */
	LOSES_POPPED      /* fails with the number of a lane that it has popped */
} Flaw;

typedef struct Row
{
	int lane; /* 0.. */
	bool visible;
	bool busy; /* some transaction has deleted it, and may roll back */
	int performed;
} Row;

typedef struct Process
{
	Role role;
	int step;
	int first, last; /* rows of an enqueuer or revoker */
	bool handed;     /* with its tid */
	/* of a worker, or a sweeper */
	BgjobTaker *taker;
	BgjobLane *lane;
	BgjobLaneKey key;
	int64 start;
	bool seen[ROWS];
	bool flying[ROWS];
	bool in_flight[ROWS]; /* what its slot names */
	int64 taken[BGJOB_LANE_AHEAD];
	int ntaken;
	int64 number;
	int gives_back; /* so many more jobs */
	int errors;     /* while it brings a lane in, so many more */
} Process;

/* All that there is. */
typedef struct World
{
	char control[sizeof(LaneControl)];
	BgjobLaneGroup groups[BGJOB_LANE_GROUPS];
	bool used[BGJOB_LANE_GROUPS];
	BgjobLaneGroup *current;
	Row rows[ROWS];
	Process processes[PROCESSES];
	int nprocesses;
	int ntakers;
	char takers[TAKERS][offsetof(BgjobTaker, shares) + sizeof(Share)];
} World;

static World world;
static Flaw flaw;
static Process *acting; /* whose step it is */
static jmp_buf blocked;

/* ---- what the server would do ---- */

char *bgjob_queues = "*";
Oid MyDatabaseId = 1;
MemoryContext TopMemoryContext = NULL;
BgjobRegistry *bgjob_registry = NULL;
static int rescans;

#define EXCLUSIVE (1U << 24)

void
LWLockInitialize(LWLock *lock, int tranche)
{
	lock->tranche = tranche;
	pg_atomic_init_u32(&lock->state, 0);
}

bool
LWLockAcquire(LWLock *lock, LWLockMode mode)
{
	uint32 state = pg_atomic_read_u32(&lock->state);

	if (state >= EXCLUSIVE || (mode == LW_EXCLUSIVE && state > 0))
		longjmp(blocked, 1);
	pg_atomic_write_u32(&lock->state, state + (mode == LW_EXCLUSIVE ? EXCLUSIVE : 1));
	return true;
}

void
LWLockRelease(LWLock *lock)
{
	uint32 state = pg_atomic_read_u32(&lock->state);

	pg_atomic_write_u32(&lock->state, state >= EXCLUSIVE ? 0 : state - 1);
}

int
LWLockNewTrancheId(void)
{
	return 1;
}

void
LWLockRegisterTranche(int tranche, const char *name)
{
}

int
s_lock(volatile slock_t *lock, const char *file, int line, const char *function)
{
	abort();
}

Size
add_size(Size a, Size b)
{
	return a + b;
}

Size
hash_estimate_size(long n, Size size)
{
	return n * size;
}

void *
ShmemInitStruct(const char *name, Size size, bool *found)
{
	*found = false;
	return world.control;
}

HTAB *
ShmemInitHash(const char *name, long init, long max, HASHCTL *info, int flags)
{
	return (HTAB *) world.groups;
}

void *
hash_search(HTAB *table, const void *key, HASHACTION action, bool *found)
{
	for (int i = 0; i < BGJOB_LANE_GROUPS; i++)
		if (world.used[i] && memcmp(&world.groups[i].key, key, sizeof(BgjobLaneGroupKey)) == 0)
		{
			if (found != NULL)
				*found = true;
			world.used[i] = action != HASH_REMOVE;
			return &world.groups[i];
		}
	if (found != NULL)
		*found = false;
	for (int i = 0; i < BGJOB_LANE_GROUPS && action == HASH_ENTER_NULL; i++)
		if (!world.used[i])
		{
			world.used[i] = true;
			world.groups[i].key = *(const BgjobLaneGroupKey *) key;
			return &world.groups[i];
		}
	return NULL;
}

void
hash_seq_init(HASH_SEQ_STATUS *status, HTAB *table)
{
	status->curBucket = 0;
}

void *
hash_seq_search(HASH_SEQ_STATUS *status)
{
	while (status->curBucket < BGJOB_LANE_GROUPS)
		if (world.used[status->curBucket++])
			return &world.groups[status->curBucket - 1];
	return NULL;
}

long
hash_get_num_entries(HTAB *table)
{
	return BGJOB_LANE_GROUPS;
}

void
on_shmem_exit(pg_on_exit_callback function, Datum arg)
{
}

void *
palloc(Size size)
{
	return malloc(size);
}

void
pfree(void *pointer)
{
	free(pointer);
}

void *
MemoryContextAllocZero(MemoryContext context, Size size)
{
	if (size != sizeof(world.takers[0]) || world.ntakers == TAKERS)
		abort();
	return memset(world.takers[world.ntakers++], 0, size);
}

char *
MemoryContextStrdup(MemoryContext context, const char *string)
{
	return (char *) string; /* the list of queues never changes here */
}

#ifndef HAVE_STRLCPY
size_t
strlcpy(char *to, const char *from, size_t size)
{
	snprintf(to, size, "%s", from);
	return strlen(from);
}
#endif

uint64
hash_bytes_extended(const unsigned char *bytes, int n, uint64 seed)
{
	return n == 0 ? 0 : bytes[0];
}

int
bgjob_queue_level(const char *list, const char *queue)
{
	return 0;
}

BgjobQueueConf
bgjob_queues_get(Oid database, const char *queue)
{
	return (BgjobQueueConf){.group_size = 2};
}

int
bgjob_servers_level(Oid database, const char *queue)
{
	return 0;
}

static const char *
all_queues(void)
{
	return "*";
}

uint64
bgjob_queues_generation(void)
{
	return 1;
}

void
bgjob_notify_scheduler(Oid database, uint32 notices)
{
	rescans++;
}

void
pg_qsort(void *base, size_t n, size_t size, int (*compare)(const void *, const void *))
{
	qsort(base, n, size, compare);
}

void
#if PG_VERSION_NUM >= 160000 /* no longer with the type of the error */
ExceptionalCondition(const char *condition, const char *file, int line)
#else
ExceptionalCondition(const char *condition, const char *type, const char *file, int line)
#endif
{
	abort();
}

volatile uint32 InterruptHoldoffCount;

/* ---- the rows ---- */

static void
lane_of(int row, BgjobLaneKey *key)
{
	char queue[2] = {(char) ('a' + world.rows[row].lane), '\0'};
	BgjobLaneGroupKey group;

	bgjob_lane_group_key(&group, MyDatabaseId, 1, BGJOB_LANE_INTERNAL);
	bgjob_lane_key(key, &group, queue, 0);
}

static BgjobLaneItem
item_of(int row, bool tid)
{
	BgjobLaneItem item = {.pos = row, .job = row};

	if (tid)
		ItemPointerSet(&item.tid, row, 1);
	else
		ItemPointerSetInvalid(&item.tid);
	return item;
}

static bool
is_in_flight(int row)
{
	for (int i = 0; i < world.nprocesses; i++)
		if (world.processes[i].in_flight[row])
			return true;
	return false;
}

static void
name_taken(const BgjobLaneItem *items, const BgjobTaking *taking)
{
	acting->ntaken = taking->n;
	for (int i = 0; i < taking->n; i++)
	{
		acting->taken[i] = items[i].pos;
		acting->in_flight[items[i].pos] = true;
	}
}

static void
see(void)
{
	for (int row = 0; row < ROWS; row++)
		acting->seen[row] = world.rows[row].visible && world.rows[row].performed == 0;
}

static void
list_in_flight(void)
{
	for (int row = 0; row < ROWS; row++)
		acting->flying[row] = is_in_flight(row);
}

/* Whether a scan of the process that acts finds a row of its lane. */
static bool
finds(int row)
{
	BgjobLaneKey key;

	lane_of(row, &key);
	return acting->seen[row] && !acting->flying[row] &&
		   memcmp(&key, &acting->key, sizeof(key)) == 0;
}

/* ---- the processes ---- */

enum
{
	DONE = 99
};

static void
step_of_enqueuer(Process *self)
{
	bool announces = self->step == (flaw == ANNOUNCES_EARLY ? 0 : 1);

	for (int row = self->first; row <= self->last && !announces; row++)
		world.rows[row].visible = true;
	if (announces)
	{
		BgjobLaneItem item = item_of(self->first, self->handed);
		BgjobLaneKey key;

		lane_of(self->first, &key);
		bgjob_lane_announce(&key, &item, self->last - self->first + 1);
	}
	self->step = self->step == 1 ? DONE : self->step + 1;
}

static void
step_of_revoker(Process *self)
{
	Row *row = &world.rows[self->first];
	BgjobLaneItem item = item_of(self->first, false);
	BgjobLaneKey key;

	switch (self->step++)
	{
		case 0:
			if (!row->visible || row->busy || row->performed > 0)
				self->step = DONE;
			else
				row->busy = true;
			break;
		case 1:
			row->busy = false;
			break;
		default:
			lane_of(self->first, &key);
			if (flaw != FORGETS_LATE)
				bgjob_lane_offer(&key, &item);
			self->step = DONE;
	}
}

/* Steps of a worker. */
enum
{
	TAKE,
	SCAN,
	SCAN_SEES,
	SCAN_LISTS,
	SCAN_ENDS,
	CLAIM,
	COMMIT,
	FORGET,
	BRING,
	PEEK,
	WALK,
	WALK_ENDS,
	GIVE_BACK,
	ANNOUNCE
};

static void
take(Process *self)
{
	BgjobLaneItem items[BGJOB_LANE_AHEAD];
	BgjobTaking taking;

	switch (bgjob_taker_take(self->taker, items, &taking))
	{
		case BGJOB_TAKE_NONE:
			break;
		case BGJOB_TAKE_ITEMS:
			self->step = CLAIM;
			break;
		case BGJOB_TAKE_SCAN:
			self->key = taking.key;
			self->step = SCAN;
			if (flaw == SNAPSHOT_EARLY)
				see();
			break;
		case BGJOB_TAKE_LANES:
			self->step = BRING;
			break;
	}
}

static void
end_scan_of_worker(Process *self)
{
	BgjobLaneItem items[BGJOB_LANE_AHEAD];
	int64 next = self->start;
	bool more = false;
	int n = 0;

	for (int row = (int) Max(self->start, 0); row < ROWS && !more; row++)
		if (finds(row))
		{
			items[n++] = item_of(row, true);
			next = row + 1;
			more = n == BGJOB_LANE_AHEAD;
		}
	bgjob_lane_scan_end(self->lane, items, n, next, more);
	self->step = TAKE;
}

/* Claims what can be had of what was taken; the rest is no longer there, or busy. */
static void
claim(Process *self)
{
	int n = 0;

	for (int i = 0; i < self->ntaken; i++)
	{
		Row *row = &world.rows[self->taken[i]];

		if (row->visible && !row->busy && row->performed == 0)
		{
			row->busy = true;
			self->taken[n++] = self->taken[i];
		}
		else
			self->in_flight[self->taken[i]] = false;
	}
	self->ntaken = n;
	self->step = n == 0 ? TAKE : self->gives_back > 0 ? GIVE_BACK : COMMIT;
}

static void
forget(Process *self)
{
	for (int i = 0; i < self->ntaken; i++)
		self->in_flight[self->taken[i]] = false;
}

static void
announce_again(Process *self)
{
	for (int i = 0; i < self->ntaken; i++)
	{
		BgjobLaneItem item = item_of((int) self->taken[i], false);
		BgjobLaneKey key;

		lane_of((int) self->taken[i], &key);
		if (self->ntaken == 1)
			bgjob_lane_offer(&key, &item);
		else if (i == 0)
			bgjob_lane_give_back(&key, Min(self->taken[0], self->taken[1]), 2, true);
	}
}

/* Whether a lane of the only group has a row that is ready; its key. */
static bool
peeks(int64 number, BgjobLaneKey *key)
{
	for (int row = 0; row < ROWS; row++)
	{
		lane_of(row, key);
		if (key->number == number && acting->seen[row] && !is_in_flight(row))
			return true;
	}
	return false;
}

static void
end_walk(Process *self)
{
	BgjobLaneItem items[BGJOB_LANE_AHEAD];
	int64 next = self->start;
	bool more = false;
	BgjobLaneKey key;
	int n = 0;

	for (int lane = 0; lane < ROWS && !more; lane++)
	{
		char queue[2] = {(char) ('a' + lane), '\0'};
		int64 number = bgjob_lane_number(queue, 0, BGJOB_LANE_INTERNAL);

		if (number < self->start)
			continue;
		if (bgjob_lane_find_number(bgjob_lane_group(&self->key.group), number) == NULL &&
			peeks(number, &key))
			items[n++] = (BgjobLaneItem){.pos = number};
		next = number + 1;
		more = n == BGJOB_LANE_AHEAD;
	}
	bgjob_lane_scan_end(self->lane, items, n, next, more);
	self->step = TAKE;
}

static void
step_of_worker(Process *self)
{
	BgjobLaneGroupKey own;
	BgjobLaneKey key;

	bgjob_lane_group_key(&own, MyDatabaseId, 1, BGJOB_LANE_INTERNAL);
	switch (self->step)
	{
		case TAKE:
			take(self);
			break;
		case SCAN:
			self->lane = bgjob_lane_scan_begin(&self->key, &self->start);
			self->step = self->lane == NULL       ? TAKE
						 : flaw == SNAPSHOT_EARLY ? SCAN_LISTS
												  : SCAN_SEES;
			break;
		case SCAN_SEES:
			see();
			self->step = SCAN_LISTS;
			break;
		case SCAN_LISTS:
			list_in_flight();
			self->step = SCAN_ENDS;
			break;
		case SCAN_ENDS:
			end_scan_of_worker(self);
			break;
		case CLAIM:
			claim(self);
			break;
		case COMMIT:
			for (int i = 0; i < self->ntaken; i++)
				world.rows[self->taken[i]].performed++;
			self->step = FORGET;
			break;
		case FORGET:
			forget(self);
			self->step = TAKE;
			break;
		case GIVE_BACK:
			for (int i = 0; i < self->ntaken; i++)
				world.rows[self->taken[i]].busy = false;
			if (flaw == GIVES_BACK_EARLY)
				announce_again(self);
			else
				forget(self);
			self->gives_back--;
			self->step = ANNOUNCE;
			break;
		case ANNOUNCE:
			if (flaw == GIVES_BACK_EARLY)
				forget(self);
			else
				announce_again(self);
			self->step = TAKE;
			break;
		case BRING:
			if (bgjob_overflow_pop(bgjob_lane_group(&own), &self->number))
				self->step = PEEK;
			else
			{
				self->lane = bgjob_overflow_scan_begin(&own, &self->start);
				self->step = self->lane == NULL ? TAKE : WALK;
			}
			break;
		case PEEK:
			see();
			if (self->errors > 0)
			{
				self->errors--;
				if (flaw != LOSES_POPPED)
					bgjob_overflow_put_back(bgjob_lane_group(&own), self->number);
			}
			else if (peeks(self->number, &key) &&
					 !bgjob_overflow_bring_in(bgjob_lane_group(&own), &key, NULL))
				bgjob_overflow_put_back(bgjob_lane_group(&own), self->number);
			self->step = TAKE;
			break;
		case WALK:
			see();
			self->key.group = own;
			self->step = WALK_ENDS;
			break;
		case WALK_ENDS:
			end_walk(self);
			break;
	}
}

static void
step_of_sweeper(Process *self)
{
	switch (self->step++)
	{
		case 0:
			bgjob_lanes_sweep_anew(MyDatabaseId);
			break;
		case 1:
			if (!bgjob_lanes_sweep_next(MyDatabaseId, &self->key, &self->start))
				self->step = DONE;
			break;
		case 2:
			see();
			break;
		case 3:
			list_in_flight();
			break;
		default:
			for (int row = 0; row < ROWS; row++)
			{
				BgjobLaneItem item = item_of(row, true);

				if (row < self->start && finds(row))
					bgjob_lane_offer(&self->key, &item);
			}
			bgjob_lane_swept(&self->key, self->start, PG_INT64_MIN);
			self->step = 1;
	}
}

/* ---- what makes no difference is made equal, so that there are fewer states ---- */

static void
normalize_lane(BgjobLane *lane)
{
	int n = lane->nitems - lane->head;
	BgjobLaneItem items[BGJOB_LANE_AHEAD];

	memset(items, 0, sizeof(items));
	memcpy(items, &lane->items[lane->head], n * sizeof(BgjobLaneItem));
	memcpy(lane->items, items, sizeof(items));
	lane->head = 0;
	lane->nitems = n;
	lane->backlog = 0;
	lane->taken = Min(lane->taken, BGJOB_LANE_TURN);
	if (lane->users == 0)
		lane->late = 0;
}

static void
normalize_takers(BgjobLaneGroup *group)
{
	for (int i = 0; i < world.ntakers; i++)
	{
		BgjobTaker *taker = (BgjobTaker *) world.takers[i];
		Share *share = &taker->shares[0];

		if (share->group != group)
			continue;
		if (share->generation == group->generation)
			share->generation = 2;
		else
		{
			share->generation = 1;
			share->nlanes = 0;
			memset(share->lanes, 0, sizeof(share->lanes));
		}
	}
	group->generation = 2;
	group->noted = 1;
}

static void
normalize(void)
{
	for (int i = 0; i < BGJOB_LANE_GROUPS; i++)
	{
		if (!world.used[i])
			continue;
		normalize_lane(&world.groups[i].overflow);
		for (BgjobLane *lane = world.groups[i].lanes; lane != NULL; lane = lane->next)
			normalize_lane(lane);
		normalize_takers(&world.groups[i]);
	}
	for (int i = 0; i < world.nprocesses; i++)
	{
		Process *process = &world.processes[i];

		if (process->role != WORKER || process->step != TAKE)
			continue;
		memset(process->seen, 0, sizeof(process->seen));
		memset(process->flying, 0, sizeof(process->flying));
		memset(process->taken, 0, sizeof(process->taken));
		memset(&process->key, 0, sizeof(process->key));
		process->lane = NULL;
		process->start = process->number = 0;
		process->ntaken = 0;
	}
}

/* Takes a step of one process. False if it has none: it has ended, or waits for a lock. */
static bool
take_step(int i)
{
	static World before;

	acting = &world.processes[i];
	if (acting->step == DONE)
		return false;
	before = world;
	current = world.current;
	if (setjmp(blocked) != 0)
	{
		world = before;
		return false;
	}
	switch (acting->role)
	{
		case ENQUEUER:
			step_of_enqueuer(acting);
			break;
		case REVOKER:
			step_of_revoker(acting);
			break;
		case WORKER:
			step_of_worker(acting);
			break;
		case SWEEPER:
			step_of_sweeper(acting);
			break;
		case TIDIER:
			tidy(MyDatabaseId, InvalidOid, false);
			acting->step = DONE;
			break;
	}
	world.current = current;
	normalize();
	return memcmp(&before, &world, sizeof(world)) != 0;
}

/* ---- all orders ---- */

#define STATES (1 << 22)

static uint64 *visited;
static long nvisited;
static long left;  /* states that leave a row */
static long twice; /* or perform one twice */
static long endless;

/* Notes a state; false if it was there before. */
static bool
is_new(void)
{
	const unsigned char *bytes = (const unsigned char *) &world;
	uint64 hash = UINT64CONST(14695981039346656037);
	uint64 at;

	for (size_t i = 0; i < sizeof(world); i += sizeof(uint32))
	{
		uint32 word;

		memcpy(&word, bytes + i, sizeof(word));
		hash = (hash ^ word) * UINT64CONST(1099511628211);
		hash ^= hash >> 29;
	}
	hash |= 1;
	for (at = hash % STATES; visited[at] != 0; at = (at + 1) % STATES)
		if (visited[at] == hash)
			return false;
	visited[at] = hash;
	if (++nvisited > STATES / 2)
	{
		fprintf(stderr, "too many states\n");
		exit(1);
	}
	return true;
}

/* Runs everything to its end and looks what has become of the rows. */
static void
run_to_end(void)
{
	static World before;
	bool any = true;
	int rounds = 0;

	before = world;
	while (any && ++rounds < 500)
	{
		any = false;
		for (int i = 0; i < world.nprocesses; i++)
			any |= take_step(i);
	}
	endless += any ? 1 : 0;
	for (int row = 0; row < ROWS; row++)
	{
		left += world.rows[row].visible && world.rows[row].performed == 0 ? 1 : 0;
		twice += world.rows[row].performed > 1 ? 1 : 0;
	}
	world = before;
}

static void
explore(void)
{
	World *before = malloc(sizeof(World));

	*before = world;
	run_to_end();
	for (int i = 0; i < before->nprocesses; i++)
	{
		if (take_step(i) && is_new())
			explore();
		world = *before;
	}
	free(before);
}

/* ---- the worlds ---- */

static void
begin(Flaw with, const int *lanes)
{
	memset(&world, 0, sizeof(world));
	current = NULL;
	flaw = with;
	for (int row = 0; row < ROWS; row++)
		world.rows[row].lane = lanes[row];
	bgjob_lane_groups_startup();
	memset(visited, 0, STATES * sizeof(*visited));
	nvisited = left = twice = endless = 0;
}

static Process *
add(Role role, int first, int last)
{
	Process *process = &world.processes[world.nprocesses++];

	process->role = role;
	process->first = first;
	process->last = last;
	if (role == WORKER)
	{
		BgjobLaneGroupKey key;

		bgjob_lane_group_key(&key, MyDatabaseId, 1, BGJOB_LANE_INTERNAL);
		process->taker = bgjob_taker_create(&key, 1, all_queues, name_taken);
		process->gives_back = first;
		process->errors = last;
	}
	return process;
}

static void
check(const char *what)
{
	char name[200];

	explore();
	snprintf(name, sizeof(name), "%s: no job is left, none is performed twice", what);
	if (!is_true(left == 0 && twice == 0 && endless == 0, name))
		printf("# %ld left, %ld twice, %ld endless\n", left, twice, endless);
	printf("# %ld states\n", nvisited);
}

static void
check_noticed(const char *what)
{
	char name[200];

	explore();
	snprintf(name, sizeof(name), "the model notices %s", what);
	is_true(left > 0, name);
}

int
main(void)
{
	static const int one[ROWS] = {0, 0, 0, 0};
	static const int two[ROWS] = {0, 0, 1, 1};
	static const int four[ROWS] = {0, 1, 2, 3};

	visited = malloc(STATES * sizeof(*visited));

	begin(NO_FLAW, one);
	add(ENQUEUER, 0, 0)->handed = true;
	add(ENQUEUER, 1, 1)->handed = true;
	add(ENQUEUER, 2, 3);
	add(WORKER, 0, 0);
	check("three transactions and a worker, one lane");

	begin(NO_FLAW, one);
	add(ENQUEUER, 0, 1);
	add(ENQUEUER, 2, 2)->handed = true;
	add(WORKER, 1, 0);
	add(WORKER, 0, 0);
	check("two transactions and two workers, of which one gives a job back");

	begin(NO_FLAW, one);
	add(ENQUEUER, 0, 0)->handed = true;
	add(ENQUEUER, 1, 2);
	add(REVOKER, 1, 1);
	add(WORKER, 0, 0);
	add(SWEEPER, 0, 0);
	check("a transaction that rolls back, a worker and a sweep");

	begin(NO_FLAW, two);
	add(ENQUEUER, 0, 1);
	add(ENQUEUER, 2, 3);
	add(WORKER, 1, 0);
	add(TIDIER, 0, 0);
	add(WORKER, 0, 0);
	check("two lanes, which are dropped when they are empty");

	begin(NO_FLAW, four);
	add(ENQUEUER, 0, 0);
	add(ENQUEUER, 1, 1)->handed = true;
	add(ENQUEUER, 2, 2);
	add(ENQUEUER, 3, 3);
	add(WORKER, 0, 0);
	check("more lanes than there is room for");

	begin(NO_FLAW, four);
	add(ENQUEUER, 0, 0);
	add(ENQUEUER, 1, 1);
	add(ENQUEUER, 2, 2);
	add(WORKER, 1, 0);
	add(WORKER, 0, 0);
	check("more lanes than there is room for, and two workers");

	begin(NO_FLAW, four);
	add(ENQUEUER, 0, 0);
	add(ENQUEUER, 1, 1);
	add(ENQUEUER, 2, 2);
	add(TIDIER, 0, 0);
	add(WORKER, 1, 0);
	check("the same, and lanes are dropped");

	begin(NO_FLAW, four);
	add(ENQUEUER, 0, 0);
	add(ENQUEUER, 1, 1);
	add(ENQUEUER, 2, 2);
	add(WORKER, 0, 1);
	check("the same, and a worker fails while it brings a lane in");

	begin(ANNOUNCES_EARLY, one);
	add(ENQUEUER, 0, 0);
	add(WORKER, 0, 0);
	check_noticed("an announcement before the commit");

	begin(SNAPSHOT_EARLY, one);
	add(ENQUEUER, 0, 0);
	add(ENQUEUER, 1, 1);
	add(WORKER, 0, 0);
	check_noticed("a snapshot that is older than its scan");

	begin(GIVES_BACK_EARLY, one);
	add(ENQUEUER, 0, 1);
	add(WORKER, 1, 0);
	add(WORKER, 0, 0);
	check_noticed("a job that is announced while it is in flight");

	begin(FORGETS_LATE, one);
	add(ENQUEUER, 0, 0);
	add(REVOKER, 0, 0);
	add(WORKER, 0, 0);
	check_noticed("a rollback that nobody announces");

	begin(LOSES_POPPED, four);
	add(ENQUEUER, 0, 0);
	add(ENQUEUER, 1, 1);
	add(ENQUEUER, 2, 2);
	add(WORKER, 0, 1);
	check_noticed("a lane that is lost with an error of the worker that popped it");

	free(visited);
	return tap_end();
}
