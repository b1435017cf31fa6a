/*-------------------------------------------------------------------------
 *
 * queuestats.c
 *	  What has happened in each queue of each role, counted in shared memory.
 *
 * For the history (store/statshistory.c) and for bgjob.metrics. An entry belongs to a role
 * and a queue of a database, and has counts, and histograms of how long attempts have waited
 * and run. A clean restart keeps them (base/statsfile.c); after a crash they begin anew.
 *
 * COUNTING. A transaction adds what it did when it has committed (base/over.c): its counts and
 * the times of its attempts, all under one lock where they are of one queue. A process
 * remembers where its entries are (base/tallynotes.c).
 *
 * PENDING. What was counted is "pending" until the scheduler has written it into the
 * history, and is then moved to the totals: copied, written, and moved when that has
 * committed. So it is written once, whatever fails in between, and a scheduler that takes over
 * goes on. The first addition after that tells the scheduler; more do not.
 *
 * Which queues have an entry of their own, and what is locked: base/queuestatstable.c.
 *
 * Any process; no transaction is needed. Where the library is not preloaded nothing is
 * counted.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/database.h"
#include "base/queuestatstable.h"
#include "base/wake.h"
#include "miscadmin.h"
#include "rules/clock.h"

/* The entry that this process adds to, whose lock it holds; NULL: none. */
static BgjobQueueEntry *opened = NULL;

/* ---- sums ---- */

static void
subtract_sums(BgjobQueueSums *from, const BgjobQueueSums *what)
{
	for (int i = 0; i < BGJOB_NFLOWS; i++)
		from->flows[i] -= what->flows[i];
	from->cpu_time -= what->cpu_time;
	from->wal_bytes -= what->wal_bytes;
	bgjob_histogram_subtract(&from->run_time, &what->run_time);
	bgjob_histogram_subtract(&from->wait_time, &what->wait_time);
}

static bool
is_empty(const BgjobQueueSums *sums)
{
	static const BgjobQueueSums nothing;

	return memcmp(sums, &nothing, sizeof(nothing)) == 0;
}

/* ---- counting ---- */

/* Locks the entry that is remembered; NULL: it is another queue's by now. */
static BgjobQueueEntry *
lock_remembered(const BgjobQueueStatsRef *ref)
{
	BgjobQueueEntry *entry = bgjob_queue_entry_at(ref->entry);

	LWLockAcquire(&entry->lock, LW_EXCLUSIVE);
	if (entry->generation == ref->generation)
		return entry;
	LWLockRelease(&entry->lock);
	return NULL;
}

/* Finds an entry, locks it, and remembers it unless it is shared by several queues; NULL: there is no room. */
static BgjobQueueEntry *
lock_found(BgjobQueueStatsRef *ref, Oid role, const char *queue)
{
	BgjobQueueStatsKey key = bgjob_queue_stats_key(MyDatabaseId, role, queue);

	for (;;)
	{
		BgjobQueueStatsRef found;
		BgjobQueueEntry *entry = bgjob_queue_entry_find(&key, &found.generation);

		ref->entry = -1;
		if (entry == NULL)
			return NULL;
		found.entry = bgjob_queue_entry_position(entry);
		entry = lock_remembered(&found); /* it may have been evicted just now */
		if (entry == NULL)
			continue;
		if (!bgjob_queue_entry_stands_for_others(entry))
			*ref = found;
		return entry;
	}
}

/*
 * bgjob_queue_stats_open has what follows count in a queue of a role in this database;
 * "ref" remembers where that is. The caller must call bgjob_queue_stats_close soon, since a
 * lock is held. False: nothing is counted. Does not throw.
 */
bool
bgjob_queue_stats_open(BgjobQueueStatsRef *ref, Oid role, const char *queue)
{
	Assert(opened == NULL);
	if (!bgjob_queue_entries_exist())
		return false;
	if (ref->entry >= 0)
		opened = lock_remembered(ref);
	if (opened == NULL)
		opened = lock_found(ref, role, queue);
	return opened != NULL;
}

/* bgjob_queue_stats_add_flows counts what has happened in the queue that is open. */
void
bgjob_queue_stats_add_flows(const int64 *flows)
{
	for (int i = 0; i < BGJOB_NFLOWS; i++)
		opened->pending.flows[i] += flows[i];
}

/* bgjob_queue_stats_add_times counts how long an attempt has run and waited, in milliseconds; negative: not known. */
void
bgjob_queue_stats_add_times(double run_time, double wait_time)
{
	if (run_time >= 0)
		bgjob_histogram_add(&opened->pending.run_time, (int64) (run_time * 1000 + 0.5));
	if (wait_time >= 0)
		bgjob_histogram_add(&opened->pending.wait_time, (int64) (wait_time * 1000 + 0.5));
}

/* bgjob_queue_stats_add_usage counts what a process has used for the queue that is open; the time is in microseconds. */
void
bgjob_queue_stats_add_usage(int64 cpu_time, int64 wal_bytes)
{
	opened->pending.cpu_time += cpu_time;
	opened->pending.wal_bytes += wal_bytes;
}

/* Tells the scheduler that something is pending, unless it knows that of this database. */
static void
tell_scheduler(void)
{
	BgjobDatabase *database = bgjob_database_find(MyDatabaseId);

	if (database != NULL && pg_atomic_exchange_u32(&database->stats_pending, 1) == 0)
		bgjob_notify_scheduler(MyDatabaseId, 0);
}

/* bgjob_queue_stats_close ends what bgjob_queue_stats_open has begun. */
void
bgjob_queue_stats_close(void)
{
	BgjobQueueEntry *entry = opened;
	bool first;

	opened = NULL;
	if (entry == NULL)
		return;
	first = entry->pending_since == 0;
	if (first)
		entry->pending_since = bgjob_now();
	LWLockRelease(&entry->lock);
	if (first)
		tell_scheduler();
}

/* ---- reading ---- */

/* Copies an entry of a database; false: it is another's. The lock is held. */
static bool
copy_entry(const BgjobQueueEntry *entry, Oid database, BgjobQueueStats *stats)
{
	if (!entry->in_use || entry->key.database != database)
		return false;
	stats->key = entry->key;
	stats->since = entry->since;
	stats->sums = entry->total;
	bgjob_queue_sums_add(&stats->sums, &entry->pending);
	return true;
}

/*
 * bgjob_queue_stats_next copies the next statistics of a database; *position is 0 at first.
 * Returns false if there are no more.
 */
bool
bgjob_queue_stats_next(int *position, Oid database, BgjobQueueStats *stats)
{
	int used = bgjob_queue_entries_used();

	while (*position < used)
	{
		BgjobQueueEntry *entry = bgjob_queue_entry_at((*position)++);
		bool found;

		LWLockAcquire(&entry->lock, LW_SHARED);
		found = copy_entry(entry, database, stats);
		LWLockRelease(&entry->lock);
		if (found)
			return true;
	}
	return false;
}

/* ---- for the history ---- */

/* bgjob_queue_stats_pending copies the next numbers of this database that are pending, as bgjob_queue_stats_next does. */
bool
bgjob_queue_stats_pending(int *position, BgjobQueuePending *pending)
{
	int used = bgjob_queue_entries_used();

	while (*position < used)
	{
		BgjobQueueEntry *entry = bgjob_queue_entry_at(*position);
		bool found;

		LWLockAcquire(&entry->lock, LW_SHARED);
		found =
			entry->in_use && entry->key.database == MyDatabaseId && entry->pending_since != 0;
		if (found)
		{
			pending->ref.entry = *position;
			pending->ref.generation = entry->generation;
			pending->key = entry->key;
			pending->since = entry->pending_since;
			pending->sums = entry->pending;
			pending->hour = entry->hour;
			pending->tid = entry->tid;
		}
		LWLockRelease(&entry->lock);
		(*position)++;
		if (found)
			return true;
	}
	return false;
}

/*
 * bgjob_queue_stats_written moves numbers that were pending to the totals: they have been
 * written into the history, and the transaction has committed. Does not throw.
 */
void
bgjob_queue_stats_written(const BgjobQueuePending *pending)
{
	BgjobQueueEntry *entry = lock_remembered(&pending->ref);

	if (entry == NULL)
		return;
	bgjob_queue_sums_add(&entry->total, &pending->sums);
	subtract_sums(&entry->pending, &pending->sums);
	entry->moved_at = bgjob_now();
	entry->pending_since = is_empty(&entry->pending) ? 0 : entry->moved_at;
	entry->hour = pending->hour;
	entry->tid = pending->tid;
	LWLockRelease(&entry->lock);
}

/* ---- for the file ---- */

/*
 * bgjob_queue_stats_kept copies the statistics at a position; false: there are none. For the
 * postmaster, when the other processes have gone: it takes no lock, since one of them may
 * have been killed while it held it.
 */
bool
bgjob_queue_stats_kept(int position, BgjobQueueKept *kept)
{
	const BgjobQueueEntry *entry = bgjob_queue_entry_at(position);

	if (entry == NULL || !entry->in_use)
		return false;
	memset(kept, 0, sizeof(*kept));
	kept->key = entry->key;
	kept->since = entry->since;
	kept->moved_at = entry->moved_at;
	kept->pending_since = entry->pending_since;
	kept->pending = entry->pending;
	kept->total = entry->total;
	return true;
}

/* bgjob_queue_stats_restore takes over statistics from a file, unless there are some of that queue. */
void
bgjob_queue_stats_restore(const BgjobQueueKept *kept)
{
	BgjobQueueEntry *entry = bgjob_queue_entry_add_kept(&kept->key, kept->since);

	if (entry == NULL)
		return;
	LWLockAcquire(&entry->lock, LW_EXCLUSIVE);
	entry->moved_at = kept->moved_at;
	entry->pending_since = kept->pending_since;
	entry->pending = kept->pending;
	entry->total = kept->total;
	LWLockRelease(&entry->lock);
}
