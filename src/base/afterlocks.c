/*-------------------------------------------------------------------------
 *
 * afterlocks.c
 *	  A call when the locks of a committed transaction have been released.
 *
 * The server calls transaction callbacks before it releases the locks of the transaction. A job that is given the place of
 * another one at a gate could start in between, and find a lock of that one: an advisory lock, or that of a table.
 * So the end of an attempt with places at gates is told to others later, by a callback of the server's resource owners.
 * In a worker, the advisory locks that the job has left in the session are released, too: the job is over.
 *
 * Any process. The call must not throw nor allocate, as from a commit callback.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/afterlocks.h"
#include "base/slot.h"
#include "storage/lock.h"
#include "utils/resowner.h"

static void (*to_call)(void) = NULL;

static void
at_release(ResourceReleasePhase phase, bool is_commit, bool is_top_level, void *arg)
{
	void (*call)(void) = to_call;

	if (call == NULL || phase != RESOURCE_RELEASE_AFTER_LOCKS || !is_top_level)
		return;
	to_call = NULL;
	if (bgjob_my_slot != NULL)
		LockReleaseAll(USER_LOCKMETHOD, true);
	call();
}

/* bgjob_after_locks_init registers the callback; once in a process. */
void
bgjob_after_locks_init(void)
{
	RegisterResourceReleaseCallback(at_release, NULL);
}

/* bgjob_after_locks has a function called once the committing transaction has released its locks; from its commit callback. */
void
bgjob_after_locks(void (*call)(void))
{
	to_call = call;
}
