/*-------------------------------------------------------------------------
 *
 * count.c
 *	  The number of jobs in each state, and by role and queue.
 *
 * bgjob.stats and bgjob.queues are cheap at any size, and no row is written for
 * them. Every transaction adds its moves between states to shared memory when it
 * has committed (base/change.c): to the sums of the database, and to the tally of
 * the role and queue (base/tally.c). The bases, the jobs from before, are counted
 * from the tables, all in one scan, and anew after each doubt: a start of the server,
 * rows inserted or deleted by SQL, the commit of a prepared transaction of which
 * nothing is known (base/preparedmoves.c). The number of jobs is base + moves. store/moment.c says how both are made to fit.
 *
 * Who counts? A small table whoever needs the numbers first, at once: a session
 * that reads a view, or the scheduler. A large one is counted by a process of its
 * own (process/census.c); until it has, the numbers are not known, and the views
 * say so. Where no scheduler serves the database, and on a standby, sessions count
 * large tables, too.
 *
 * Of some doubts it is known that they concern one transaction, and so a few jobs at
 * most. Even so the old numbers are not shown any more: that they are wrong would be an error that
 * no reader can see; a number that is missing can be seen to be.
 *
 * Any process. No locks are held while counting; several processes may count at a
 * time, with the same result.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "base/change.h"
#include "base/database.h"
#include "base/tally.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "store/count.h"
#include "store/job.h"
#include "store/moment.h"
#include "store/relation.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* A table with so many blocks at most is small: it takes some milliseconds. */
#define SMALL 1000

/* Number of rows between two looks whether to stop. */
#define ROWS_PER_LOOK 1000

/* A count that is under way. */
typedef struct Count
{
	int64 *counts; /* by state; [BGJOB_NONE] is for the retries among the scheduled ones */
	HTAB *tallies; /* BgjobTallyRow by role and queue; NULL: not wanted */
	HTAB *heads;   /* Head by role */
	BgjobTallyRow *last;
} Count;

/* How many queues of a role have been met. */
typedef struct Head
{
	Oid role; /* must be first */
	int nqueues;
} Head;

/* The key of BgjobTallyRow: its first two members. */
typedef struct RowKey
{
	Oid role;
	char queue[BGJOB_QUEUE_NAME_SIZE];
} RowKey;

static HTAB *
make_hash(const char *name, Size key, Size entry)
{
	HASHCTL info = {.keysize = key, .entrysize = entry, .hcxt = CurrentMemoryContext};

	return hash_create(name, 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/*
 * Finds the count of a role and queue, or adds it. NULL: the role has so many queues
 * that there are no tallies for all; one too many has been added.
 */
static BgjobTallyRow *
row_of(Count *count, Oid role, const text *queue)
{
	RowKey key;
	Head *head;
	bool found;

	memset(&key, 0, sizeof(key));
	key.role = role;
	text_to_cstring_buffer(queue, key.queue, sizeof(key.queue));
	if (count->last != NULL && memcmp(count->last, &key, sizeof(key)) == 0)
		return count->last;
	count->last = hash_search(count->tallies, &key, HASH_FIND, NULL);
	if (count->last != NULL)
		return count->last;
	head = hash_search(count->heads, &role, HASH_ENTER, &found);
	if (!found)
		head->nqueues = 0;
	if (head->nqueues > BGJOB_TALLIES_OF_ROLE)
		return NULL;
	head->nqueues++;
	count->last = hash_search(count->tallies, &key, HASH_ENTER, NULL);
	memset(count->last->counts, 0, sizeof(count->last->counts));
	return count->last;
}

/* Adds a job, whose row is in a slot. */
static void
add_job(Count *count, TupleTableSlot *slot)
{
	bool isnull;
	BgjobState state =
		bgjob_state_by_letter(DatumGetChar(slot_getattr(slot, BGJOB_C_STATE, &isnull)));
	BgjobTallied kind = bgjob_tallied(state);
	BgjobTallyRow *row;

	count->counts[state]++;
	if (kind == BGJOB_TALLIED_NOT)
		return;
	if (count->tallies != NULL)
	{
		row = row_of(count, DatumGetObjectId(slot_getattr(slot, BGJOB_C_RUN_AS, &isnull)),
					 DatumGetTextPP(slot_getattr(slot, BGJOB_C_QUEUE, &isnull)));
		if (row != NULL)
			row->counts[kind]++;
	}
	if (state != BGJOB_SCHEDULED)
		return;
	if (DatumGetInt32(slot_getattr(slot, BGJOB_C_RETRIES, &isnull)) > 0 && !isnull)
		count->counts[BGJOB_NONE]++;
}

/* Adds the jobs of the table. False: it was stopped. */
static bool
add_jobs(BgjobRel *rel, Snapshot snapshot, Count *count, bool (*stop)(void))
{
	TableScanDesc scan = table_beginscan(rel->rel, snapshot, 0, NULL);
	int rows = 0;
	bool stopped = false;

	while (!stopped && table_scan_getnextslot(scan, ForwardScanDirection, rel->slot))
	{
		CHECK_FOR_INTERRUPTS();
		add_job(count, rel->slot);
		if (stop != NULL && ++rows % ROWS_PER_LOOK == 0)
			stopped = stop();
	}
	ExecClearTuple(rel->slot);
	table_endscan(scan);
	return !stopped;
}

/* Adds the jobs that have been removed. */
static void
add_removed(Snapshot snapshot, int64 *counts)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_TOTAL);
	TableScanDesc scan = table_beginscan(rel->rel, snapshot, 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, rel->slot))
	{
		slot_getallattrs(rel->slot);
		counts[bgjob_state_by_letter(DatumGetChar(rel->slot->tts_values[0]))] +=
			DatumGetInt64(rel->slot->tts_values[1]);
	}
	table_endscan(scan);
	bgjob_rel_close(rel);
}

/* Returns the tallies that were counted as an array, and their number. */
static BgjobTallyRow *
list_rows(HTAB *tallies, int *n)
{
	BgjobTallyRow *rows = palloc_extended(
		(hash_get_num_entries(tallies) + 1) * sizeof(BgjobTallyRow), MCXT_ALLOC_HUGE);
	HASH_SEQ_STATUS all;
	BgjobTallyRow *row;

	*n = 0;
	hash_seq_init(&all, tallies);
	while ((row = hash_seq_search(&all)) != NULL)
		rows[(*n)++] = *row;
	return rows;
}

/* Publishes the counts as the shared bases, unless a doubt has arisen since. Returns whether it did. */
static bool
set_bases(BgjobDatabase *entry, const BgjobMoment *moment, const Count *count)
{
	int n;
	BgjobTallyRow *rows = list_rows(count->tallies, &n);
	bool valid;

	LWLockAcquire(&bgjob_registry->lock, LW_EXCLUSIVE);
	valid = pg_atomic_read_u32(&entry->doubts) == moment->doubts;
	if (valid)
	{
		for (int state = 0; state < BGJOB_NSTATES; state++)
			entry->base[state] = count->counts[state] - moment->moves[state];
		bgjob_tallies_set(entry, (uint64) moment->doubts + 1, moment->tallies, moment->ntallies,
						  rows, n);
	}
	LWLockRelease(&bgjob_registry->lock);
	pfree(rows);
	return valid;
}

/* bgjob_count_is_small returns whether all jobs may be counted while somebody waits. */
bool
bgjob_count_is_small(void)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	bool small = RelationGetNumberOfBlocks(rel->rel) <= SMALL;

	bgjob_rel_close(rel);
	return small;
}

/*
 * bgjob_count_tables counts all jobs from the tables, and adds them to "counts".
 * With an entry of the database, the result is published for all, but not in a
 * transaction with changes of its own, whose moves are not added yet. "stop" (which
 * may be NULL) is asked now and then whether to stop. False: nothing was published.
 */
bool
bgjob_count_tables(BgjobDatabase *entry, int64 *counts, bool (*stop)(void))
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "bgjob count", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_JOB);
	BgjobMoment moment = {.exact = false};
	Count count = {.counts = counts};
	bool complete;

	if (entry != NULL && !TransactionIdIsValid(GetTopTransactionIdIfAny()))
		bgjob_moment_take(&moment, rel, entry);
	else
		moment.snapshot = bgjob_rel_snapshot(rel);
	if (moment.exact)
	{
		count.tallies = make_hash("bgjob counted", sizeof(RowKey), sizeof(BgjobTallyRow));
		count.heads = make_hash("bgjob counted roles", sizeof(Oid), sizeof(Head));
	}
	complete = add_jobs(rel, moment.snapshot, &count, stop);
	add_removed(moment.snapshot, counts);
	UnregisterSnapshot(moment.snapshot);
	bgjob_rel_close(rel);
	complete = complete && moment.exact && set_bases(entry, &moment, &count);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return complete;
}

/* bgjob_count_read reads the counts from shared memory; false if the jobs have not been counted yet. */
bool
bgjob_count_read(BgjobDatabase *entry, int64 *counts)
{
	bool known;

	LWLockAcquire(&bgjob_registry->lock, LW_SHARED);
	known = bgjob_database_is_counted(entry);
	for (int state = 0; known && state < BGJOB_NSTATES; state++)
		counts[state] = entry->base[state] + (int64) pg_atomic_read_u64(&entry->moves[state]);
	LWLockRelease(&bgjob_registry->lock);
	if (known)
		bgjob_change_add_own(counts);
	return known;
}

/*
 * bgjob_count_jobs counts the jobs in each state; [BGJOB_NONE] is that
 * of the retries among the scheduled ones. "counts" must be zero. "entry" is
 * the database's, NULL if it has none. "later": another process counts large tables.
 * False: it has not done so yet.
 */
bool
bgjob_count_jobs(BgjobDatabase *entry, bool later, int64 *counts)
{
	if (entry != NULL && bgjob_count_read(entry, counts))
		return true;
	if (later && !bgjob_count_is_small())
		return false;
	(void) bgjob_count_tables(entry, counts, NULL);
	return true;
}

/*
 * bgjob_count_early counts the jobs if that has not been done and they are still few,
 * before a session adds many: else a database that has just got them would have a table
 * that is counted in the background.
 */
void
bgjob_count_early(void)
{
	BgjobDatabase *entry = bgjob_database_find(MyDatabaseId);
	int64 counts[BGJOB_NSTATES] = {0};

	if (entry != NULL && !bgjob_database_is_counted(entry) &&
		!TransactionIdIsValid(GetTopTransactionIdIfAny()) && bgjob_count_is_small())
		(void) bgjob_count_tables(entry, counts, NULL);
}
