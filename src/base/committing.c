/*-------------------------------------------------------------------------
 *
 * committing.c
 *	  What shared memory shows of a transaction while it commits.
 *
 * A transaction tells other processes what it did after its rows have become
 * visible to them. Two kinds of changes must not be missed in between: of filters,
 * which a worker may need for a job of the same commit, and moves of jobs, which a
 * process that counts must not miss. So shared memory shows from before the commit until
 * the others have been told that such a change is under way.
 *
 * Called by the callbacks of base/change.c, once or several times before a commit, and
 * after its end, however it ended. Nothing here throws.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/committing.h"
#include "base/database.h"
#include "base/registry.h"

/* Whether this process is counted in bgjob_registry->cached_changers. */
static bool changing[BGJOB_NCACHED];

/* Whether it is named in bgjob_registry->movers. */
static bool moving = false;

/* bgjob_committing_cached shows that this process is about to commit a change of what processes cache. */
void
bgjob_committing_cached(BgjobCached what)
{
	if (changing[what])
		return;
	changing[what] = true;
	pg_atomic_fetch_add_u32(&bgjob_registry->cached_changers[what], 1);
}

/*
 * bgjob_committed_cached shows that there were such changes. A process that finds no
 * change under way must find that there was one: the order matters.
 */
void
bgjob_committed_cached(void)
{
	for (int i = 0; i < BGJOB_NCACHED; i++)
	{
		if (!changing[i])
			continue;
		changing[i] = false;
		pg_atomic_fetch_add_u32(&bgjob_registry->cached_changes[i], 1);
		pg_atomic_fetch_sub_u32(&bgjob_registry->cached_changers[i], 1);
	}
}

/*
 * bgjob_cached_may_differ returns whether what this process has cached may have
 * changed since the last call with the same "seen": a change is under way, or there
 * was one. The server's own message of it may come later than a job of the same commit.
 */
bool
bgjob_cached_may_differ(BgjobCached what, uint32 *seen)
{
	bool under_way = pg_atomic_read_u32(&bgjob_registry->cached_changers[what]) != 0;
	uint32 changes;
	bool differ;

	pg_read_barrier();
	changes = pg_atomic_read_u32(&bgjob_registry->cached_changes[what]);
	differ = under_way || changes != *seen;
	*seen = changes;
	return differ;
}

/*
 * bgjob_committing_moves shows that this process is about to commit a transaction that
 * moves jobs: a process that counts knows by it that the moves of visible rows are
 * still to come. The server's own locks order that before the commit can be seen.
 */
void
bgjob_committing_moves(void)
{
	if (moving)
		return;
	moving = true;
	bgjob_database_pass_gate();
	bgjob_database_moving(GetTopTransactionIdIfAny());
}

/* bgjob_committed_moves withdraws that: the moves were added, or never will be. */
void
bgjob_committed_moves(void)
{
	if (!moving)
		return;
	moving = false;
	bgjob_database_moving(InvalidTransactionId);
}
