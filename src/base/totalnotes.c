/*-------------------------------------------------------------------------
 *
 * totalnotes.c
 *	  What a transaction of the scheduler adds to the totals of its database.
 *
 * The scheduler notes what a transaction does, and adds it to the totals (base/totals.c) after the
 * commit: what was rolled back is not counted. After a crash between the two, all
 * totals are zero anyway.
 *
 * By the scheduler. Nothing here throws or locks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/database.h"
#include "base/totalnotes.h"
#include "miscadmin.h"

/* What the running transaction of the scheduler has done. */
typedef struct Notes
{
	int missed[BGJOB_NMISSED];
	int late[BGJOB_DURATION_BUCKETS];
	int64 late_sum;
} Notes;

static Notes notes;

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
