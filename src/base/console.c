/*-------------------------------------------------------------------------
 *
 * console.c
 *	  The output of running jobs: their progress, and the lines of their log.
 *
 * Other sessions must see both at once, and the log must be kept if the job fails,
 * although the job's transaction is open and may be rolled back. So they are kept in
 * shared memory during the attempt, in a console for each slot of the registry. The
 * process that records the outcome of the attempt (the worker, or the scheduler if
 * the worker was lost) writes them to the tables in the same transaction
 * (store/log.c). A crash of the server loses the lines of the attempts that it ends.
 *
 * Lines are in chunks of dynamic shared memory, so a console costs a few
 * hundred bytes until its job logs something. An attempt may log
 * BGJOB_LOG_MAX bytes.
 *
 * Locks: the lock of a console protects all of it. Its worker writes, and
 * allocates before it takes the lock. Any process reads. The scheduler clears it
 * when the worker has left.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/console.h"
#include "base/slot.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/dsa.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* A chunk, and the least of shared memory that there is for all of them. */
#define CHUNK_SIZE   (16 * 1024)
#define INITIAL_SIZE (128 * 1024)

typedef struct Chunk
{
	dsa_pointer next;
	uint32 size; /* of data */
	uint32 used;
	char data[FLEXIBLE_ARRAY_MEMBER];
} Chunk;

/* A line: this, then level and message, each with its closing zero. */
typedef struct LineHead
{
	TimestampTz at;
	uint32 length; /* of all, aligned */
	uint32 level_size;
} LineHead;

typedef struct Console
{
	LWLock lock;
	int64 job; /* whose all of this is; 0: nothing is here */
	bool has_progress;
	double percent;
	char message[BGJOB_PROGRESS_MESSAGE_MAX + 1];
	dsa_pointer first;
	dsa_pointer last;
	int first_seq;
	int nlines;
	uint32 bytes;
	bool cut; /* nothing more is taken */
} Console;

typedef struct Control
{
	int tranche;
	Console consoles[FLEXIBLE_ARRAY_MEMBER];
	/* then the initial area */
} Control;

static Control *control = NULL;
static dsa_area *area = NULL; /* attached when it is needed first */

static Size
consoles_size(void)
{
	return MAXALIGN(offsetof(Control, consoles) +
					mul_size(max_worker_processes, sizeof(Console)));
}

static void *
initial_area(void)
{
	return (char *) control + consoles_size();
}

/* bgjob_console_size returns the bytes of shared memory that consoles take. */
Size
bgjob_console_size(void)
{
	return add_size(consoles_size(), INITIAL_SIZE);
}

/* bgjob_console_startup creates or finds them; from shmem_startup_hook. */
void
bgjob_console_startup(void)
{
	bool found;
	dsa_area *created;

	control = ShmemInitStruct("bgjob consoles", bgjob_console_size(), &found);
	if (!found)
	{
		control->tranche = LWLockNewTrancheId();
		for (int i = 0; i < max_worker_processes; i++)
		{
			Console *console = &control->consoles[i];

			memset(console, 0, sizeof(Console));
			LWLockInitialize(&console->lock, control->tranche);
		}
		created = dsa_create_in_place(initial_area(), INITIAL_SIZE, control->tranche, NULL);
		dsa_pin(created);
		dsa_detach(created); /* the postmaster allocates nothing in it */
	}
	LWLockRegisterTranche(control->tranche, "BgjobConsole");
}

/* Returns the area of the chunks, for the rest of this process's life. */
static dsa_area *
chunks(void)
{
	if (area == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		area = dsa_attach_in_place(initial_area(), NULL);
		dsa_pin_mapping(area);
		MemoryContextSwitchTo(old);
	}
	return area;
}

static Console *
my_console(void)
{
	return &control->consoles[bgjob_slot_index(bgjob_my_slot)];
}

/* Makes a console that of a job. Its lock is held. */
static void
take(Console *console, int64 job)
{
	if (console->job == job)
		return;
	console->job = job;
	console->has_progress = false;
	console->first = console->last = InvalidDsaPointer;
	console->nlines = 0;
	console->bytes = 0;
	console->cut = false;
}

/*
 * bgjob_console_progress stores the progress of this worker's job, in percent, and its
 * message (NULL: none), cut to BGJOB_PROGRESS_MESSAGE_MAX bytes.
 */
void
bgjob_console_progress(int64 job, double percent, const char *message)
{
	Console *console = my_console();
	int length = 0;

	if (message != NULL)
		length = pg_mbcliplen(message, strlen(message), BGJOB_PROGRESS_MESSAGE_MAX);
	LWLockAcquire(&console->lock, LW_EXCLUSIVE);
	take(console, job);
	console->has_progress = true;
	console->percent = percent;
	memcpy(console->message, message != NULL ? message : "", length);
	console->message[length] = '\0';
	LWLockRelease(&console->lock);
}

/* Appends a chunk with room for "size" bytes; false if there is no memory. */
static bool
add_chunk(Console *console, Size size)
{
	dsa_pointer new;
	Chunk *chunk;

	size = Max(size, CHUNK_SIZE - offsetof(Chunk, data));
	new = dsa_allocate_extended(chunks(), offsetof(Chunk, data) + size, DSA_ALLOC_NO_OOM);
	if (!DsaPointerIsValid(new))
		return false;
	chunk = dsa_get_address(chunks(), new);
	chunk->next = InvalidDsaPointer;
	chunk->size = size;
	chunk->used = 0;
	LWLockAcquire(&console->lock, LW_EXCLUSIVE);
	if (DsaPointerIsValid(console->last))
		((Chunk *) dsa_get_address(chunks(), console->last))->next = new;
	else
		console->first = new;
	console->last = new;
	LWLockRelease(&console->lock);
	return true;
}

/* Returns whether the last chunk has room. Only the console's worker changes that. */
static bool
has_room(const Console *console, Size size)
{
	const Chunk *chunk;

	if (!DsaPointerIsValid(console->last))
		return false;
	chunk = dsa_get_address(chunks(), console->last);
	return chunk->used + size <= chunk->size;
}

/* Appends a line, of which message gives "length" bytes; false if there is no memory. */
static bool
append(Console *console, const char *level, const char *message, Size length)
{
	Size level_size = strlen(level) + 1;
	Size size = MAXALIGN(sizeof(LineHead) + level_size + length + 1);
	LineHead head = {.at = GetCurrentTimestamp(),
					 .length = (uint32) size,
					 .level_size = (uint32) level_size};
	Chunk *chunk;
	char *to;

	if (!has_room(console, size) && !add_chunk(console, size))
		return false;
	LWLockAcquire(&console->lock, LW_EXCLUSIVE);
	chunk = dsa_get_address(chunks(), console->last);
	to = chunk->data + chunk->used;
	memcpy(to, &head, sizeof(head));
	memcpy(to + sizeof(head), level, level_size);
	memcpy(to + sizeof(head) + level_size, message, length);
	to[sizeof(head) + level_size + length] = '\0';
	chunk->used += size;
	console->bytes += size;
	console->nlines++;
	LWLockRelease(&console->lock);
	return true;
}

/*
 * bgjob_console_log adds a line to the log of this worker's job. first_seq is
 * the number of the first line of this attempt in that log. When the attempt
 * has reached the limit, or there is no memory, one more line says that the rest is
 * left out.
 */
void
bgjob_console_log(int64 job, int first_seq, const char *level, const char *message)
{
	Console *console = my_console();
	Size length = strlen(message);
	Size room;

	LWLockAcquire(&console->lock, LW_EXCLUSIVE);
	take(console, job);
	console->first_seq = first_seq;
	LWLockRelease(&console->lock);
	if (console->cut)
		return;
	room = BGJOB_LOG_MAX - Min(console->bytes, BGJOB_LOG_MAX);
	if (length <= room && append(console, level, message, length))
		return;
	length =
		pg_mbcliplen(message, (int) Min(length, room + MAX_MULTIBYTE_CHAR_LEN), (int) room);
	if (length > 0)
		(void) append(console, level, message, length);
	(void) append(console, "warning", BGJOB_LOG_CUT, strlen(BGJOB_LOG_CUT));
	console->cut = true;
}

/* bgjob_console_in_use returns whether a job of that slot has any output. Cheap. */
bool
bgjob_console_in_use(int index)
{
	return control->consoles[index].job != 0;
}

/* bgjob_console_clear clears the job output of a slot; called by its worker, or after the worker has gone. */
void
bgjob_console_clear(int index)
{
	Console *console = &control->consoles[index];
	dsa_pointer chunk;

	LWLockAcquire(&console->lock, LW_EXCLUSIVE);
	chunk = console->first;
	take(console, 0);
	LWLockRelease(&console->lock);
	while (DsaPointerIsValid(chunk))
	{
		dsa_pointer next = ((Chunk *) dsa_get_address(chunks(), chunk))->next;

		dsa_free(chunks(), chunk);
		chunk = next;
	}
}

static void
copy_progress(const Console *console, BgjobOutput *output)
{
	memset(output, 0, sizeof(*output));
	output->has_progress = console->has_progress;
	output->percent = console->percent;
	output->first_seq = console->first_seq;
	if (console->has_progress)
		strlcpy(output->message, console->message, sizeof(output->message));
}

/* Copies the lines; the lock is held, and there is room for them. */
static void
copy_lines(const Console *console, BgjobOutput *output, char *buffer)
{
	dsa_pointer next = console->first;

	while (DsaPointerIsValid(next))
	{
		const Chunk *chunk = dsa_get_address(chunks(), next);

		memcpy(buffer, chunk->data, chunk->used);
		for (uint32 at = 0; at < chunk->used;)
		{
			LineHead head;

			memcpy(&head, buffer + at, sizeof(head));
			output->lines[output->nlines++] =
				(BgjobLogLine){head.at, buffer + at + sizeof(head),
							   buffer + at + sizeof(head) + head.level_size};
			at += head.length;
		}
		buffer += chunk->used;
		next = chunk->next;
	}
}

/*
 * bgjob_console_read copies the output of a job into the current memory
 * context. False if that slot has nothing of the job.
 */
bool
bgjob_console_read(int index, int64 job, BgjobOutput *output)
{
	Console *console = &control->consoles[index];
	char *buffer = NULL;
	uint32 room = 0;
	int lines = 0;
	bool found;

	for (;;)
	{
		LWLockAcquire(&console->lock, LW_SHARED);
		found = job != 0 && console->job == job;
		if (!found || (console->bytes <= room && console->nlines <= lines))
			break;
		room = console->bytes;
		lines = console->nlines;
		LWLockRelease(&console->lock); /* nothing is allocated with the lock held */
		buffer = palloc(Max(room, 1));
		output->lines = palloc(Max(lines, 1) * sizeof(BgjobLogLine));
	}
	if (found)
	{
		BgjobLogLine *to = lines > 0 ? output->lines : NULL; /* else nothing was allocated */

		copy_progress(console, output);
		output->lines = to;
		copy_lines(console, output, buffer);
	}
	LWLockRelease(&console->lock);
	return found;
}

/* bgjob_console_read_progress does the same without the lines. */
bool
bgjob_console_read_progress(int index, int64 job, BgjobOutput *output)
{
	Console *console = &control->consoles[index];
	bool found;

	if (console->job != job || job == 0)
		return false;
	LWLockAcquire(&console->lock, LW_SHARED);
	found = console->job == job;
	if (found)
		copy_progress(console, output);
	LWLockRelease(&console->lock);
	return found;
}
