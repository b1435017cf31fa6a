/*-------------------------------------------------------------------------
 *
 * leftover.c
 *	  Removing what is configured of functions that have gone.
 *
 * bgjob_internal.function_conf has a row for each function that its owner has configured,
 * by its signature. When the function, or a type of its arguments, is dropped or
 * renamed, the row stays: a function that is dropped and created again, as
 * installation scripts do, is configured as before. So that leftover rows do not add
 * up, rows of functions that are missing in two consecutive passes are removed. A pass reads some rows a step, in the order of the signatures, and
 * notes those of missing functions by a hash, at most MOST of them; the pause
 * before the next pass is the retention of finished jobs, an hour at most.
 *
 * By the scheduler, whose memory has the notes. It looks up functions in the catalogs
 * and calls none; it waits for no lock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/guc.h"
#include "base/process.h"
#include "common/hashfn.h"
#include "process/leftover.h"
#include "run/function.h"
#include "store/functionconf.h"
#include "utils/memutils.h"

/* Rows that a step reads, and microseconds between two steps. */
#define STEP       100
#define STEP_PAUSE 10000

/* The time between two passes, in seconds. */
#define SHORTEST_PAUSE 1
#define LONGEST_PAUSE  3600

/* Missing functions that are noted. */
#define MOST 65536

static uint64 *missing; /* in the pass before, ascending */
static int nmissing = 0;
static uint64 *noted; /* in this one */
static int nnoted = 0;
static char *cursor = NULL; /* this pass has come to this signature; NULL: it has not begun */
static TimestampTz step_at = 0;   /* the next step of this pass */
static TimestampTz passed_at = 0; /* the end of the last one */
static uint64 completed = 0;      /* transactions of the server, when the pass began */

static int
compare_hashes(const void *a, const void *b)
{
	uint64 left = *(const uint64 *) a;
	uint64 right = *(const uint64 *) b;

	return left < right ? -1 : left > right;
}

/* Sees to a function that is missing. */
static void
handle_missing(const char *signature)
{
	uint64 hash =
		hash_bytes_extended((const unsigned char *) signature, (int) strlen(signature), 0);

	if (nmissing > 0 &&
		bsearch(&hash, missing, nmissing, sizeof(uint64), compare_hashes) != NULL)
		bgjob_functionconf_drop(signature);
	else if (nnoted < MOST)
		noted[nnoted++] = hash;
}

/* Remembers how far the pass has come. */
static void
move_cursor(const char *to)
{
	if (cursor != NULL)
		pfree(cursor);
	cursor = to == NULL ? NULL : MemoryContextStrdup(TopMemoryContext, to);
}

static void
end_pass(TimestampTz now)
{
	uint64 *free_again = missing;

	passed_at = now;
	if (nnoted > 1)
		qsort(noted, nnoted, sizeof(uint64), compare_hashes);
	missing = noted;
	nmissing = nnoted;
	noted = free_again;
	nnoted = 0;
	move_cursor(NULL);
}

/* Does a step of a pass; true: that was the last. */
static bool
do_step(void)
{
	const char *signatures[STEP];
	int n = bgjob_functionconf_list(cursor, signatures, STEP);

	if (n > 0 && noted == NULL)
	{
		noted = MemoryContextAllocHuge(TopMemoryContext, MOST * sizeof(uint64));
		missing = MemoryContextAllocHuge(TopMemoryContext, MOST * sizeof(uint64));
	}
	for (int i = 0; i < n; i++)
		if (!bgjob_functionconf_is_external(signatures[i]) &&
			bgjob_function_is_gone(signatures[i]))
			handle_missing(signatures[i]);
	if (n > 0)
		move_cursor(signatures[n - 1]);
	return n < STEP;
}

/* Returns when the next pass is to begin; at once, if the clock was ahead at the end of the last. */
static TimestampTz
next_pass(TimestampTz now)
{
	int64 pause = bgjob_retention < 0
					  ? LONGEST_PAUSE
					  : Min(Max(bgjob_retention, SHORTEST_PAUSE), LONGEST_PAUSE);

	return passed_at > now ? now : passed_at + pause * USECS_PER_SEC;
}

/* Returns when the next step is to be done; DT_NOEND: not before some transaction has written. */
static TimestampTz
next_step(TimestampTz now)
{
	if (cursor != NULL)
		return step_at;
	if (nmissing == 0 && completed == bgjob_completed_transactions())
		return DT_NOEND;
	return next_pass(now);
}

/* bgjob_leftover_serve does a step if it is time for one. Returns when to call it again. */
TimestampTz
bgjob_leftover_serve(TimestampTz now)
{
	if (next_step(now) > now)
		return next_step(now);
	if (cursor == NULL)
		completed = bgjob_completed_transactions();
	bgjob_begin();
	if (do_step())
		end_pass(now);
	bgjob_commit();
	step_at = now + STEP_PAUSE;
	return next_step(now);
}
