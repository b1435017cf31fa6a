/*-------------------------------------------------------------------------
 *
 * queuestats.c
 *	  What has happened in each queue of each role, counted in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/queuestats.h"

/* bgjob_queue_stats_size returns the bytes of shared memory that the statistics take. */
Size
bgjob_queue_stats_size(void)
{
	return 0;
}

/* bgjob_queue_stats_startup creates or finds them; from shmem_startup_hook. */
void
bgjob_queue_stats_startup(void)
{
}

/*
 * bgjob_queue_stats_next copies the next statistics of a database; *position is 0 at first.
 * Returns false if there are no more.
 */
bool
bgjob_queue_stats_next(int *position, Oid database, BgjobQueueStats *stats)
{
	return false;
}
