/*-------------------------------------------------------------------------
 *
 * gatemark.c
 *	  From where on the lines of gates have rows, in shared memory.
 *
 * The head of a line is where rows are deleted. While some session holds an old snapshot, the deleted ones cannot be removed,
 * and each look at the line would go along all of them. So the entry of a gate has a low-water mark: no row that can be
 * seen stands before it. It is a hint with one duty: never to be above a row that can be seen, or will be
 * seen again, but for transactions that were prepared. The scheduler goes through all lines without it (process/gates.c).
 *
 * A reader takes the mark, then its snapshot, and goes along the line. Where it finds the first row, whoever has it, the mark may
 * be from then on; a row that it takes itself is still there if its transaction fails. Two things may have happened meanwhile:
 * (1) A transaction has committed a row before that. It lowers the mark after its commit, and changes the
 * moment of the entry: an advance with an older moment is refused, one that came before is undone. (2) A transaction that
 * has taken several rows has gone along the line more than once, and moved the mark beyond rows that it had taken. When it
 * fails, or a savepoint of it, it lowers the mark to the first of them.
 * An entry that is dropped and added again has another moment.
 *
 * A reader that finds no row at all moves the mark to the end, by the same rule. Then an attempt that ends need not look at
 * the line: a job that comes into it later is seen when the place is given back, or by who puts it there (base/gate.c), exactly as one
 * that is not committed yet when somebody looks. So a limit that never binds costs its jobs no look.
 *
 * LOCKS. That of the entry's partition, for a microsecond. Nothing here throws.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/gatemark.h"
#include "base/gatetable.h"
#include "base/registry.h"
#include "rules/clock.h"

/* bgjob_gate_mark reads the mark of a line. "add": an entry is added for it if there is none. */
BgjobGateMark
bgjob_gate_mark(int64 gate, bool add)
{
	BgjobGateMark mark = {.place = PG_INT64_MIN, .moment = 0};
	BgjobGatePartition *partition;
	const BgjobGateEntry *entry;

	if (bgjob_registry == NULL)
		return mark;
	partition = bgjob_gate_partition_of(gate);
	LWLockAcquire(&partition->lock, add ? LW_EXCLUSIVE : LW_SHARED);
	entry = add ? bgjob_gate_find_or_add(partition, gate, bgjob_now())
				: bgjob_gate_find(partition, gate);
	if (entry != NULL)
		mark = (BgjobGateMark){.place = entry->mark, .moment = entry->moment};
	LWLockRelease(&partition->lock);
	return mark;
}

/*
 * bgjob_gate_mark_advance says that "first" is the place of the first row that a reader has found, who had read the mark before
 * it took its snapshot. If it stands before the mark, the mark was wrong.
 */
void
bgjob_gate_mark_advance(int64 gate, const BgjobGateMark *read, int64 first)
{
	BgjobGatePartition *partition;
	BgjobGateEntry *entry;

	if (bgjob_registry == NULL || first == read->place)
		return;
	partition = bgjob_gate_partition_of(gate);
	LWLockAcquire(&partition->lock, LW_EXCLUSIVE);
	entry = bgjob_gate_find(partition, gate);
	if (entry != NULL && (first < entry->mark || entry->moment == read->moment))
		entry->mark = first;
	LWLockRelease(&partition->lock);
}

/* bgjob_gate_mark_empty says that a reader, who had read the mark before it took its snapshot, has found no row. */
void
bgjob_gate_mark_empty(int64 gate, const BgjobGateMark *read)
{
	BgjobGatePartition *partition;
	BgjobGateEntry *entry;

	if (bgjob_registry == NULL)
		return;
	partition = bgjob_gate_partition_of(gate);
	LWLockAcquire(&partition->lock, LW_EXCLUSIVE);
	entry = bgjob_gate_find(partition, gate);
	if (entry != NULL && entry->moment == read->moment)
	{
		entry->mark = PG_INT64_MAX;
		entry->waiting = 0;
	}
	LWLockRelease(&partition->lock);
}

/* bgjob_gate_line_is_empty returns whether it is known that nobody stands in a line, but for rows of prepared transactions. */
bool
bgjob_gate_line_is_empty(int64 gate)
{
	BgjobGatePartition *partition;
	const BgjobGateEntry *entry;
	bool empty;

	if (bgjob_registry == NULL)
		return false;
	partition = bgjob_gate_partition_of(gate);
	LWLockAcquire(&partition->lock, LW_SHARED);
	entry = bgjob_gate_find(partition, gate);
	empty = entry != NULL && entry->mark == PG_INT64_MAX;
	LWLockRelease(&partition->lock);
	return empty;
}

/* bgjob_gate_mark_lower says that a row stands at a place, which was not seen before. From callbacks of transactions. */
void
bgjob_gate_mark_lower(int64 gate, int64 place)
{
	BgjobGatePartition *partition = bgjob_gate_partition_of(gate);
	BgjobGateEntry *entry;

	LWLockAcquire(&partition->lock, LW_EXCLUSIVE);
	entry = bgjob_gate_find(partition, gate);
	if (entry != NULL)
	{
		entry->mark = Min(entry->mark, place);
		entry->moment = ++partition->moment;
	}
	LWLockRelease(&partition->lock);
}
