/*-------------------------------------------------------------------------
 *
 * gatestate.c
 *	  Reading and setting what is known of a gate, besides its places.
 *
 * Whether jobs wait in its line, when the scheduler looks at it, until when it is closed, and how it is used. Places
 * are held in base/gate.c, which says what gates are.
 *
 * Any process. LOCKS: that of the entry's partition, for a microsecond. Nothing here throws.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/gate.h"
#include "base/gateasks.h"
#include "base/gatetable.h"
#include "base/registry.h"
#include "miscadmin.h"
#include "rules/clock.h"

/*
 * bgjob_gate_found_empty notes that nobody stands in a gate's line, as a reader has found who had read the moment of
 * the entry before it took its snapshot: whoever has come since has changed that.
 */
void
bgjob_gate_found_empty(int64 gate, uint64 moment)
{
	BgjobGatePartition *partition = bgjob_gate_partition_of(gate);
	BgjobGateEntry *entry;

	LWLockAcquire(&partition->lock, LW_EXCLUSIVE);
	entry = bgjob_gate_find(partition, gate);
	if (entry != NULL && entry->moment == moment)
		entry->waiting = 0;
	LWLockRelease(&partition->lock);
}

/* bgjob_gate_running returns how many places of a gate are held. */
int
bgjob_gate_running(int64 gate)
{
	BgjobGatePartition *partition;
	const BgjobGateEntry *entry;
	int running;

	if (bgjob_registry == NULL)
		return 0;
	partition = bgjob_gate_partition_of(gate);
	LWLockAcquire(&partition->lock, LW_SHARED);
	entry = bgjob_gate_find(partition, gate);
	running = entry != NULL ? entry->running : 0;
	LWLockRelease(&partition->lock);
	return running;
}

/*
 * bgjob_gates_hold takes places that an attempt has held before the server was started, whether
 * there is room or not. What it has spent of rates is known otherwise (store/limituse.c).
 */
void
bgjob_gates_hold(const BgjobGateNeed *needs, int n, TimestampTz since)
{
	for (int i = 0; i < n; i++)
	{
		BgjobGatePartition *partition = bgjob_gate_partition_of(needs[i].gate);
		BgjobGateEntry *entry;

		LWLockAcquire(&partition->lock, LW_EXCLUSIVE);
		entry = bgjob_gate_find_or_add(partition, needs[i].gate, since);
		if (entry != NULL)
			entry->running++;
		if (entry != NULL && needs[i].kind == BGJOB_GATE_LIMIT)
			bgjob_gate_set_name(entry, needs[i].name);
		LWLockRelease(&partition->lock);
	}
}

/* bgjob_gate_promise notes when the scheduler looks at a gate's line; before, nobody need ask it to because of the time. */
void
bgjob_gate_promise(int64 gate, TimestampTz when)
{
	BgjobGatePartition *partition = bgjob_gate_partition_of(gate);
	BgjobGateEntry *entry;

	LWLockAcquire(&partition->lock, LW_EXCLUSIVE);
	entry = bgjob_gate_find(partition, gate);
	if (entry != NULL)
		entry->look_at = when;
	LWLockRelease(&partition->lock);
}

/* bgjob_gate_read tells how a gate is used at this moment. */
void
bgjob_gate_read(const BgjobGateNeed *need, BgjobGateState *state)
{
	BgjobGatePartition *partition;
	const BgjobGateEntry *entry;
	TimestampTz now = bgjob_now();

	memset(state, 0, sizeof(*state));
	if (bgjob_registry == NULL)
		return;
	partition = bgjob_gate_partition_of(need->gate);
	LWLockAcquire(&partition->lock, LW_SHARED);
	entry = bgjob_gate_find(partition, need->gate);
	if (entry != NULL)
	{
		state->running = entry->running;
		state->closed_until = entry->closed_until > now ? entry->closed_until : 0;
		if (need->rate.algorithm != BGJOB_RATE_NONE && entry->use != BGJOB_GATE_NOTHING)
			state->used = bgjob_rate_used(&partition->uses[entry->use], &need->rate, now);
	}
	LWLockRelease(&partition->lock);
}

/* bgjob_gate_close closes a gate until a time, whatever becomes of the running transaction; a time that has passed opens it. */
void
bgjob_gate_close(const BgjobGateNeed *need, TimestampTz until)
{
	BgjobGatePartition *partition = bgjob_gate_partition_of(need->gate);
	TimestampTz now = bgjob_now();
	BgjobGateEntry *entry;

	LWLockAcquire(&partition->lock, LW_EXCLUSIVE);
	entry = bgjob_gate_find_or_add(partition, need->gate, now);
	if (entry != NULL)
	{
		entry->closed_until = until;
		bgjob_gate_set_name(entry, need->name);
	}
	LWLockRelease(&partition->lock);
	bgjob_gate_ask(MyDatabaseId, need->gate);
}
