/*-------------------------------------------------------------------------
 *
 * database.c
 *	  The databases that have, or may have, the extension.
 *
 * Each has an entry in the registry: its scheduler, the notices for that scheduler,
 * the number of jobs in each state. The launcher makes entries for the databases in
 * pg_database; CREATE EXTENSION makes one when it commits, and after a start of the server
 * a session that needs one does not wait for the launcher. The
 * launcher forgets the entries of databases without the extension.
 *
 * Entries are made and freed under registry->lock. Only functions whose comments say
 * so may be called if the library is not preloaded; then there are no entries.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/database.h"
#include "base/jobmap.h"
#include "storage/proc.h"

/*
 * bgjob_database_find returns the entry of a database, NULL if there is
 * none. The entry itself may be read without the lock: entries of other
 * databases never take its place while a process is connected to it.
 */
BgjobDatabase *
bgjob_database_find(Oid database)
{
	if (bgjob_registry == NULL)
		return NULL;
	for (int i = 0; i < bgjob_registry->databases_used; i++)
	{
		BgjobDatabase *entry = &bgjob_registry->databases[i];

		if (entry->in_use && entry->database == database)
			return entry;
	}
	return NULL;
}

/* Initializes an unused entry for a database. */
static void
reset_entry(BgjobDatabase *entry, Oid database)
{
	entry->database = database;
	entry->status = BGJOB_DATABASE_WANTED;
	entry->scheduler = -1;
	entry->blocked_by = 0;
	entry->failures = 0;
	entry->retry_at = 0;
	pg_atomic_write_u32(&entry->notices, 0);
	pg_atomic_write_u32(&entry->server.saturated, 0);
	entry->counted = 0;
	entry->tallies_lost = false;
	entry->strangers = true; /* from before the start of the server */
	pg_atomic_write_u32(&entry->hungry, 0);
	pg_atomic_write_u64(&entry->server.leavers, 0);
	pg_atomic_write_u64(&entry->claim_failure, 0);
	pg_atomic_write_u64(&entry->settings_floor, 0);
	entry->settings_seen = entry->held_back = 0;
	entry->settings_checked = 0;
	entry->workers = -1;
	entry->own_settings = 0;
	entry->waiting_since = entry->serving_since = 0;
	entry->steady_at = 0;
	entry->set_right = false;
	entry->ready = entry->announced = entry->edges_known = false;
	entry->edges_counted = false;
	entry->wants = 0;
	pg_atomic_write_u64(&entry->next_due, 0);
	pg_atomic_write_u64(&entry->sequence_epoch, 0);
	pg_atomic_write_u64(&entry->edges, 0);
	pg_atomic_write_u64(&entry->low_due, 0);
	pg_atomic_write_u64(&entry->low_lease, 0);
	pg_atomic_write_u32(&entry->leases_known, 0);
	pg_atomic_write_u32(&entry->stats_pending, 1); /* from before the start of the server */
	for (int state = 0; state < BGJOB_NSTATES; state++)
		pg_atomic_write_u64(&entry->moves[state], 0);
	bgjob_totals_reset(&entry->totals);
	entry->in_use = true;
}

/*
 * bgjob_database_want makes sure that there is an entry for a database. A new
 * entry asks the launcher for a scheduler; one that is about to leave is
 * followed by another. Returns NULL if the registry is full.
 */
BgjobDatabase *
bgjob_database_want(Oid database)
{
	BgjobDatabase *entry;

	LWLockAcquire(&bgjob_registry->lock, LW_EXCLUSIVE);
	entry = bgjob_database_find(database);
	if (entry != NULL)
	{
		entry->wants++;
		entry->failures = 0; /* the cause of the failure may be gone */
		entry->retry_at = 0;
		if (entry->status == BGJOB_DATABASE_ABSENT)
			entry->status = BGJOB_DATABASE_WANTED;
	}
	else
	{
		for (int i = 0; i < bgjob_registry->ndatabases; i++)
			if (!bgjob_registry->databases[i].in_use)
			{
				entry = &bgjob_registry->databases[i];
				reset_entry(entry, database);
				bgjob_registry->databases_used = Max(bgjob_registry->databases_used, i + 1);
				break;
			}
	}
	LWLockRelease(&bgjob_registry->lock);
	return entry;
}

/*
 * bgjob_database_leave marks a database as being without the extension, for its
 * scheduler that found none. It does nothing if the extension was created since:
 * "wants" is entry->wants as of before the scheduler's check. Returns whether
 * the entry was marked.
 */
bool
bgjob_database_leave(BgjobDatabase *entry, uint32 wants)
{
	bool absent;

	LWLockAcquire(&bgjob_registry->lock, LW_EXCLUSIVE);
	absent = entry->wants == wants;
	if (absent)
		entry->status = BGJOB_DATABASE_ABSENT;
	LWLockRelease(&bgjob_registry->lock);
	return absent;
}

/* bgjob_database_forget frees an entry that no process uses, if its status is still the given one. */
void
bgjob_database_forget(BgjobDatabase *entry, BgjobDatabaseStatus status)
{
	Oid database = entry->database;
	bool forgotten;

	LWLockAcquire(&bgjob_registry->lock, LW_EXCLUSIVE);
	forgotten = entry->blocked_by == 0 && entry->status == status;
	if (forgotten)
		entry->in_use = false;
	LWLockRelease(&bgjob_registry->lock);
	if (forgotten)
		bgjob_jobmap_forget(database);
}

/* bgjob_database_recount records that the counts of a database may be wrong. */
void
bgjob_database_recount(Oid database)
{
	BgjobDatabase *entry = bgjob_database_find(database);

	if (entry != NULL)
		pg_atomic_fetch_add_u32(&entry->doubts, 1);
}

/*
 * bgjob_database_is_counted returns whether the jobs of a database have been counted
 * since the last doubt. The caller holds registry->lock or that of the tallies, if
 * the answer must stay true.
 */
bool
bgjob_database_is_counted(BgjobDatabase *entry)
{
	return entry->counted == (uint64) pg_atomic_read_u32(&entry->doubts) + 1;
}

/*
 * bgjob_database_pass_gate waits, before a commit that moves jobs, for a process that
 * looks for a moment at which nothing moves: some milliseconds at most. Only
 * such a process needs it, to find the moment sooner; so it may be passed unnoticed.
 */
void
bgjob_database_pass_gate(void)
{
	if (likely(pg_atomic_read_u32(&bgjob_registry->gated) == 0))
		return;
	LWLockAcquire(&bgjob_registry->gate, LW_SHARED);
	LWLockRelease(&bgjob_registry->gate);
}

/*
 * bgjob_database_moving publishes the transaction of this process that is about
 * to commit and will add its moves afterwards; invalid when they are added.
 */
void
bgjob_database_moving(TransactionId xid)
{
	int process = MyProc - ProcGlobal->allProcs;

	*(volatile TransactionId *) &bgjob_registry->movers[process] = xid;
}
