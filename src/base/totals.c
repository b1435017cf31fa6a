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
 * The scheduler notes what a transaction does, and adds it after the commit: what was rolled
 * back is not counted. After a crash between the two, all totals are zero anyway.
 *
 * Written by the scheduler, read by any process. No locks: each number is added to by itself, so a
 * reader may see one that another one does not match yet.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/database.h"
#include "base/totals.h"
#include "miscadmin.h"

/* What the running transaction of the scheduler has done. */
typedef struct Notes
{
	int missed[BGJOB_NMISSED];
	int late[BGJOB_DURATION_BUCKETS];
	int64 late_sum;
} Notes;

static Notes notes;

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

static void
add(pg_atomic_uint64 *total, int64 number)
{
	if (number != 0)
		pg_atomic_fetch_add_u64(total, number);
}

/* bgjob_totals_begin forgets the notes of a transaction that was rolled back. */
void
bgjob_totals_begin(void)
{
	memset(&notes, 0, sizeof(notes));
}

/* bgjob_totals_note_missed notes an occurrence that was missed. */
void
bgjob_totals_note_missed(BgjobMissed why)
{
	notes.missed[why]++;
}

/* bgjob_totals_note_late notes by how much something was enqueued after it was due. */
void
bgjob_totals_note_late(int64 microseconds)
{
	int bucket = 0;

	microseconds = Max(microseconds, 0); /* the clock may have been set back */
	while (bucket < BGJOB_DURATION_BOUNDS && microseconds > BGJOB_DURATION_BOUND(bucket))
		bucket++;
	notes.late[bucket]++;
	notes.late_sum += microseconds;
}

/* bgjob_totals_commit adds what was noted, when the transaction has committed. */
void
bgjob_totals_commit(void)
{
	BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);

	for (int i = 0; entry != NULL && i < BGJOB_NMISSED; i++)
		add(&entry->totals.missed[i], notes.missed[i]);
	for (int i = 0; entry != NULL && i < BGJOB_DURATION_BUCKETS; i++)
		add(&entry->totals.late[i], notes.late[i]);
	if (entry != NULL)
		add(&entry->totals.late_sum, notes.late_sum);
	bgjob_totals_begin();
}
