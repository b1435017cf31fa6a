/*-------------------------------------------------------------------------
 *
 * totals.c
 *	  Totals of a database since the start of the server, in shared memory.
 *
 * For bgjob.metrics: occurrences of recurring jobs that were missed, and how late the
 * scheduler has enqueued what was due. (What happens in each queue is counted by base/queuestats.c.) The totals are in
 * the entry of the database (base/registry.h), begin at zero with it, and only grow. Counters of Prometheus may begin
 * anew at any time, so nothing keeps them over a restart.
 *
 * Written by the scheduler (base/totalnotes.c), read by any process. No locks: each number is added to by itself, so a
 * reader may see one that another one does not match yet.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/totals.h"

/* Calls a function for each number. */
static void
each(BgjobTotals *totals, void (*visit)(volatile pg_atomic_uint64 *number, uint64 value))
{
	for (int i = 0; i < BGJOB_NMISSED; i++)
		visit(&totals->missed[i], 0);
	for (int i = 0; i < BGJOB_DURATION_BUCKETS; i++)
		visit(&totals->late[i], 0);
	visit(&totals->late_sum, 0);
}

/* bgjob_totals_init initializes the totals of an entry that has never been in use. */
void
bgjob_totals_init(BgjobTotals *totals)
{
	each(totals, pg_atomic_init_u64);
}

/* bgjob_totals_reset begins them anew, for another database. */
void
bgjob_totals_reset(BgjobTotals *totals)
{
	each(totals, pg_atomic_write_u64);
}
