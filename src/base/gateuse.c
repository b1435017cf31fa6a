/*-------------------------------------------------------------------------
 *
 * gateuse.c
 *	  What was spent of rates, out of shared memory and back into it.
 *
 * For the scheduler, which saves it for the next start of the server (store/limituse.c). Locks: one
 * partition of base/gatetable.c at a time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/gatetable.h"
#include "base/gateuse.h"
#include "miscadmin.h"
#include "rules/clock.h"
#include "storage/lwlock.h"

/* Finds an entry of this database whose use is to be saved; NULL: the partition has none. */
static BgjobGateEntry *
find_unsaved(BgjobGatePartition *partition)
{
	for (int i = 0; i < BGJOB_GATE_ENTRIES; i++)
	{
		BgjobGateEntry *entry = &partition->entries[i];

		if (entry->use != BGJOB_GATE_NOTHING && entry->unsaved &&
			entry->database == MyDatabaseId && entry->rate.per > BGJOB_SHORT_PERIOD)
			return entry;
	}
	return NULL;
}

/*
 * bgjob_gate_next_unsaved copies what has been spent of a rate since it was copied last; false: there is
 * nothing more. *cursor says where the caller is: 0 at first.
 */
bool
bgjob_gate_next_unsaved(int *cursor, BgjobGateUse *use)
{
	bool found = false;

	while (!found && *cursor < BGJOB_GATE_PARTITIONS)
	{
		BgjobGatePartition *partition = bgjob_gate_partition(*cursor);
		BgjobGateEntry *entry;

		LWLockAcquire(&partition->lock, LW_EXCLUSIVE);
		entry = find_unsaved(partition);
		if (entry != NULL)
		{
			use->gate = entry->gate;
			use->rate = entry->rate;
			use->use = partition->uses[entry->use];
			entry->unsaved = false;
			found = true;
		}
		LWLockRelease(&partition->lock);
		if (!found)
			(*cursor)++;
	}
	return found;
}

/* bgjob_gate_restore_use has what was spent before a start of the server count again. */
void
bgjob_gate_restore_use(const BgjobGateUse *use)
{
	BgjobGatePartition *partition = bgjob_gate_partition_of(use->gate);
	TimestampTz now = bgjob_now();
	BgjobGateEntry *entry;

	LWLockAcquire(&partition->lock, LW_EXCLUSIVE);
	entry = bgjob_gate_find_or_add(partition, use->gate, now);
	if (entry != NULL && entry->use == BGJOB_GATE_NOTHING &&
		bgjob_gate_have_use(partition, entry, now))
	{
		entry->rate = use->rate;
		partition->uses[entry->use] = use->use;
	}
	LWLockRelease(&partition->lock);
}
