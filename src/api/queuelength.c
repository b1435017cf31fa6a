/*-------------------------------------------------------------------------
 *
 * queuelength.c
 *	  Whether a queue has room for more jobs (max_length).
 *
 * Sessions that enqueue ask for it; recurring jobs, retries and jobs that become due
 * are never refused. How many jobs wait is known from the tallies in shared memory
 * (store/queuecount.c), and from what the session's own transaction has enqueued. Other transactions
 * count when they commit, so several at a time may exceed max_length together. Where the numbers
 * are not known (yet), nothing is refused.
 *
 * Runs in the session that enqueues. Locks: those of base/queues.c and base/tally.c. Where no queue
 * has a max_length, it costs a read of memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "api/queuelength.h"
#include "base/queues.h"
#include "miscadmin.h"
#include "store/queuecount.h"

/* bgjob_queuelength_check raises 53400 if a queue has no room for n jobs that would wait in it. */
void
bgjob_queuelength_check(const char *queue, int n)
{
	int most;

	if (n == 0 || !bgjob_queues_bounded())
		return;
	most = bgjob_queues_get(MyDatabaseId, queue).max_length;
	if (most < 0 || !bgjob_count_exceeds(queue, (int64) most - n))
		return;
	ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					errmsg("queue \"%s\" is full", queue),
					errdetail("No more than %d jobs may wait in it (max_length).", most),
					errhint("Enqueue the job later, or have an administrator raise max_length "
							"with bgjob_queue().")));
}
