/*-------------------------------------------------------------------------
 *
 * map_model.c
 *	  The map of jobs (src/base/jobmap.c) in all interleavings of a few processes.
 *
 * The code of the map is compiled in as it is, with two ranges in a chunk. Stubs
 * replace its locks and its memory. Around it is a model of the table: rows that are
 * there from a step of a writer on.
 *
 * A process runs one step at a time: one that the code does under a lock, by one access to
 * what others may change, or by reading a row. From a few starts, all orders of steps are
 * tried, each state once. Whenever a writer has made its note, the map must promise
 * the state of its row, from then on.
 *
 * A test of the model has processes go in a wrong order: then rows must be missed.
 *
 *-------------------------------------------------------------------------
 */
#define BGJOB_MAP_RANGES 2

#include "postgres.h"

#undef printf
#undef fprintf
#undef snprintf

#include "base/registry.h"

#undef BGJOB_DATABASES
#define BGJOB_DATABASES 2

#include "../../src/base/mapchunks.c"
#include "../../src/base/jobmap.c"

#include "tap.h"

#define PROCESSES  4
#define MEMORY     8192
#define STATES_MAX (1 << 20)

typedef enum Role
{
	WRITER,    /* writes a row and notes it */
	BEGINNER,  /* begins the map */
	CLEANER,   /* cleans range 0 */
	FORGETTER, /* forgets the map, and begins another */
	GIVER      /* gives the lowest chunk away */
} Role;

typedef enum Flaw
{
	NO_FLAW,
	NOTES_FIRST,  /* the writer, before its row is there */
	READS_FIRST,  /* the beginner reads the highest id before it begins */
	SCANS_FIRST,  /* the cleaner reads the rows before it begins */
	LEAVES_SINCE, /* the cleaner leaves out what was noted meanwhile */
	KEEPS_FLOOR   /* the giver does not raise the floor */
} Flaw;

/* A row that a writer inserts, or one that is there and changes its state. */
typedef struct Row
{
	int64 id;
	uint64 before; /* the bit of its state before; 0: it is not there */
	uint64 after;
} Row;

static const Row rows[] = {{10, 0, 1 << BGJOB_ENQUEUED},
						   {20, 1 << BGJOB_ENQUEUED, 1 << BGJOB_SUCCEEDED},
						   {600, 0, 1 << BGJOB_SCHEDULED}};

typedef struct Process
{
	Role role;
	int row;  /* of a writer */
	int step; /* -1: it has ended */
	BgjobMap *map;
	BgjobMapChunk *chunk;
	uint64 born;
	int64 highest;
	BgjobMapNote found;
} Process;

typedef struct World
{
	char memory[MEMORY] pg_attribute_aligned(MAXIMUM_ALIGNOF);
	bool written[lengthof(rows)];
	bool noted[lengthof(rows)];
	int n;
	Process processes[PROCESSES];
} World;

static World world;
static Flaw flaw;
static uint64 *seen;
static int64 nseen;
static bool missed;

/* ---- what the code needs of the server ---- */

Oid MyDatabaseId = 1;
int bgjob_list_memory = 1;

void
LWLockInitialize(LWLock *lock, int tranche)
{
}

bool
LWLockAcquire(LWLock *lock, LWLockMode mode)
{
	return true;
}

bool
LWLockConditionalAcquire(LWLock *lock, LWLockMode mode)
{
	return true;
}

void
LWLockRelease(LWLock *lock)
{
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

Size
add_size(Size a, Size b)
{
	return a + b;
}

Size
mul_size(Size a, Size b)
{
	return a * b;
}

void *
ShmemInitStruct(const char *name, Size size, bool *found)
{
	if (size > MEMORY)
		abort();
	*found = false;
	return world.memory;
}

/* ---- the processes ---- */

static int64
range_of_row(int row)
{
	return bgjob_jobmap_range_of(rows[row].id);
}

static void
end(Process *process)
{
	process->step = -1;
	if (process->role == WRITER)
	{
		world.written[process->row] = true;
		world.noted[process->row] = true;
	}
}

/* A step of a writer, as in note_range(). */
static void
step_writer(Process *process)
{
	int64 range = range_of_row(process->row);
	BgjobMapNote note = {.states = rows[process->row].after};

	switch (process->step++)
	{
		case 0:
			world.written[process->row] = flaw != NOTES_FIRST;
			break;
		case 1:
			process->map = bgjob_map_own();
			if (process->map == NULL)
				end(process);
			break;
		case 2:
			if (pg_atomic_read_u64(&process->map->cleaning) == (uint64) range + 1)
				process->step = 5;
			break;
		case 3:
			process->chunk = bgjob_map_find(process->map, range / BGJOB_MAP_RANGES);
			if (process->chunk != NULL)
				process->step = 6;
			break;
		case 4:
			process->chunk = add_chunk_for(process->map, range);
			if (process->chunk == NULL)
				end(process);
			else
				process->step = 6;
			break;
		case 5:
			note_cleaned_range(process->map, range, &note);
			end(process);
			break;
		default:
			add_to_summary(process->chunk, range, &note);
			end(process);
			break;
	}
}

static int64
read_highest(void)
{
	int64 highest = -1;

	for (int row = 0; row < lengthof(rows); row++)
		if (rows[row].before != 0 || world.written[row])
			highest = Max(highest, rows[row].id);
	return highest;
}

static void
step_beginner(Process *process)
{
	bool first = flaw == READS_FIRST;

	switch (process->step++)
	{
		case 0:
			if (first)
				process->highest = read_highest();
			else if (!bgjob_jobmap_begin(&process->born))
				end(process);
			break;
		case 1:
			if (!first)
				process->highest = read_highest();
			else if (!bgjob_jobmap_begin(&process->born))
				end(process);
			break;
		default:
			bgjob_jobmap_settle(process->born, process->highest);
			end(process);
			break;
	}
}

/* Adds a row that a cleaner reads: what is not committed, or not noted yet, may still be as before. */
static void
read_row(Process *process, int row)
{
	if (range_of_row(row) != 0)
		return;
	if (world.written[row])
		process->found.states |= rows[row].after;
	if (!world.noted[row])
		process->found.states |= rows[row].before;
}

static void
step_cleaner(Process *process)
{
	/* which of its parts comes when: 0 begins, 1 and 2 read */
	static const int right[] = {0, 1, 2};
	static const int wrong[] = {1, 2, 0};
	int part = process->step < 3 ? (flaw == SCANS_FIRST ? wrong : right)[process->step] : 3;

	process->step++;
	if (part == 0 && !bgjob_jobmap_clean_begin(0, false))
		end(process);
	else if (part == 1 || part == 2)
		read_row(process, part - 1);
	else if (part == 3)
	{
		if (flaw == LEAVES_SINCE)
			memset(&cleaned.map->since, 0, sizeof(BgjobMapNote));
		bgjob_jobmap_clean_end(&process->found);
		end(process);
	}
}

static void
step_forgetter(Process *process)
{
	if (process->step > 0)
	{
		process->step--;
		step_beginner(process);
		process->step += process->step < 0 ? 0 : 1;
		return;
	}
	bgjob_jobmap_forget(MyDatabaseId);
	process->step = 1;
}

static void
step_giver(Process *process)
{
	BgjobMap *map = find_map(MyDatabaseId);
	int index = map == NULL ? -1 : search_lowest(map);
	int64 lost = map == NULL ? 0 : map->lost;

	if (index >= 0)
		free_chunk(index);
	if (index >= 0 && flaw == KEEPS_FLOOR)
	{
		map->lost = lost;
		set_floor(map);
	}
	end(process);
}

/* Runs a step of a process; what it has remembered of the map is as of now. */
static void
run_step(Process *process)
{
	static void (*const steps[])(Process * process) = {
		[WRITER] = step_writer,       [BEGINNER] = step_beginner, [CLEANER] = step_cleaner,
		[FORGETTER] = step_forgetter, [GIVER] = step_giver,
	};

	known_generation = PG_UINT64_MAX;
	memset(recent, 0, sizeof(recent));
	steps[process->role](process);
}

/* ---- all orders ---- */

/* Whether the map promises every row that has been noted, in the state that it has then. */
static bool
promises_all(void)
{
	known_generation = PG_UINT64_MAX;
	memset(recent, 0, sizeof(recent));
	for (int row = 0; row < lengthof(rows); row++)
	{
		BgjobMapProbe probe = {.states = rows[row].after};
		BgjobMapSpan span;

		if (world.noted[row] && (!bgjob_jobmap_next(range_of_row(row), &probe, &span) ||
								 span.last < range_of_row(row)))
			return false;
	}
	return true;
}

static uint64
hash_world(void)
{
	const unsigned char *bytes = (const unsigned char *) &world;
	uint64 hash = UINT64CONST(0xcbf29ce484222325);

	for (size_t i = 0; i < sizeof(world); i++)
		hash = (hash ^ bytes[i]) * UINT64CONST(0x100000001b3) ^ (hash >> 29);
	return hash | 1;
}

/* Whether this state comes for the first time. */
static bool
is_new(void)
{
	uint64 hash = hash_world();
	uint64 place = hash % STATES_MAX;

	while (seen[place] != 0 && seen[place] != hash)
		place = (place + 1) % STATES_MAX;
	if (seen[place] == hash)
		return false;
	seen[place] = hash;
	if (++nseen > STATES_MAX / 2)
		abort();
	return true;
}

static void
try_all(void)
{
	World *before;

	if (!promises_all())
		missed = true;
	if (missed || !is_new())
		return;
	before = malloc(sizeof(World));
	*before = world;
	for (int i = 0; i < before->n; i++)
	{
		if (before->processes[i].step < 0)
			continue;
		cleaned.map =
			find_map(MyDatabaseId) != NULL ? find_map(MyDatabaseId) : &control->maps[0];
		cleaned.range = 0;
		for (int j = 0; j < before->n; j++)
			if (before->processes[j].role == CLEANER)
				cleaned.born = before->processes[j].born;
		run_step(&world.processes[i]);
		if (world.processes[i].role == CLEANER)
			world.processes[i].born = cleaned.born;
		try_all();
		world = *before;
	}
	free(before);
}

/* Begins the map, if "mapped", and cleans range 0. */
static void
begin_world(bool mapped)
{
	BgjobMapNote found = {.states = rows[1].before};
	uint64 born;

	memset(&world, 0, sizeof(world));
	known_generation = PG_UINT64_MAX;
	bgjob_jobmap_startup();
	if (!mapped)
		return;
	if (bgjob_jobmap_begin(&born))
		bgjob_jobmap_settle(born, read_highest());
	if (bgjob_jobmap_clean_begin(0, true))
		bgjob_jobmap_clean_end(&found);
}

typedef struct Start
{
	bool mapped;
	int n;
	struct
	{
		Role role;
		int row;
	} processes[PROCESSES];
} Start;

static const Start starts[] = {
	{false, 4, {{BEGINNER, 0}, {WRITER, 0}, {WRITER, 1}, {CLEANER, 0}}},
	{false, 4, {{BEGINNER, 0}, {WRITER, 0}, {WRITER, 2}, {GIVER, 0}}},
	{true, 4, {{CLEANER, 0}, {WRITER, 0}, {WRITER, 1}, {GIVER, 0}}},
	{true, 4, {{CLEANER, 0}, {WRITER, 2}, {WRITER, 1}, {GIVER, 0}}},
	{true, 4, {{FORGETTER, 0}, {WRITER, 0}, {WRITER, 1}, {CLEANER, 0}}},
	{true, 4, {{FORGETTER, 0}, {WRITER, 2}, {GIVER, 0}, {BEGINNER, 0}}},
};

/* Whether a row is missed in some order, from some start. */
static bool
misses(Flaw of)
{
	flaw = of;
	missed = false;
	for (int i = 0; i < lengthof(starts) && !missed; i++)
	{
		begin_world(starts[i].mapped);
		world.n = starts[i].n;
		for (int j = 0; j < starts[i].n; j++)
			world.processes[j] = (Process){.role = starts[i].processes[j].role,
										   .row = starts[i].processes[j].row};
		memset(seen, 0, STATES_MAX * sizeof(uint64));
		nseen = 0;
		try_all();
		if (of == NO_FLAW)
			printf("# start %d: %lld states\n", i, (long long) nseen);
	}
	return missed;
}

int
main(void)
{
	seen = malloc(STATES_MAX * sizeof(uint64));
	is_true(!misses(NO_FLAW), "no order of steps misses a row");
	is_true(misses(NOTES_FIRST), "the model notices a note before its row");
	is_true(misses(READS_FIRST), "the model notices a highest id that is read too early");
	is_true(misses(SCANS_FIRST), "the model notices a range that is read too early");
	is_true(misses(LEAVES_SINCE),
			"the model notices notes that are lost while a range is read");
	is_true(misses(KEEPS_FLOOR), "the model notices a chunk that is lost without a trace");
	free(seen);
	return tap_end();
}
