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

/* Whether this process is counted in bgjob_registry->filter_changers. */
static bool changing_filters = false;

/* Whether it is named in bgjob_registry->movers. */
static bool moving = false;

/* bgjob_committing_filters shows that this process is about to commit a change of filters. */
void
bgjob_committing_filters(void)
{
	if (changing_filters)
		return;
	changing_filters = true;
	pg_atomic_fetch_add_u32(&bgjob_registry->filter_changers, 1);
}

/*
 * bgjob_committed_filters shows that there was one. A process that finds no change
 * under way must find that there was one: the order matters.
 */
void
bgjob_committed_filters(void)
{
	if (!changing_filters)
		return;
	changing_filters = false;
	pg_atomic_fetch_add_u32(&bgjob_registry->filter_changes, 1);
	pg_atomic_fetch_sub_u32(&bgjob_registry->filter_changers, 1);
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
