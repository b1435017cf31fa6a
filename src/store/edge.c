/*-------------------------------------------------------------------------
 *
 * edge.c
 *	  Who awaits whom.
 *
 * bgjob_internal.edge has a row for each target of a job that awaits or has awaited
 * something, from its insertion until nothing can need the results of the targets any
 * more: until it has succeeded or was deleted, or, if it was deleted because it could
 * not run, until it is removed, since bgjob_batch_retry() may revive it. Retention
 * spares a target that has an unfinished dependant (store/retention.c).
 *
 * A row is never updated. Rows are found by the target alone; a job's own row has its targets.
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/tableam.h"
#include "base/change.h"
#include "base/dependants.h"
#include "miscadmin.h"
#include "store/bulk.h"
#include "store/edge.h"
#include "store/prerequisite.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#define EDGE_INDEX "edge_pkey"

/* Columns of bgjob_internal.edge, and of its index. */
enum
{
	E_TARGET = 1,
	E_DEPENDANT
};

static void
note(int64 target, int by)
{
	BgjobDependantNotes *notes = bgjob_change_dependants();

	if (notes != NULL)
		bgjob_dependant_note_edge(notes, target, by);
}

/*
 * bgjob_edges_insert_many inserts the edges of n new jobs that differ only in their ids, which
 * are consecutive from "first" on.
 */
void
bgjob_edges_insert_many(const BgjobJob *job, int64 first, int n)
{
	BgjobPrerequisites all;
	BgjobRel *rel;
	BgjobBulk *bulk;
	Datum values[E_DEPENDANT];
	bool nulls[E_DEPENDANT] = {false};
	int flushed;

	if (n == 0 || !bgjob_prerequisites_read(job, &all))
		return;
	rel = bgjob_rel_open(BGJOB_TABLE_EDGE);
	bulk = (int64) n * all.nedges > 1 ? bgjob_bulk_begin(rel) : NULL;
	for (int i = 0; i < all.nedges; i++)
	{
		values[E_TARGET - 1] = Int64GetDatum(all.targets[i]);
		for (int j = 0; j < n; j++)
		{
			values[E_DEPENDANT - 1] = Int64GetDatum(first + j);
			if (bulk == NULL)
				bgjob_rel_insert(rel, values, nulls);
			else if (bgjob_bulk_add(bulk, values, nulls))
				(void) bgjob_bulk_flush(bulk, &flushed);
		}
		note(all.targets[i], n);
	}
	if (bulk != NULL)
	{
		(void) bgjob_bulk_flush(bulk, &flushed);
		bgjob_bulk_end(bulk);
	}
	bgjob_rel_close(rel);
	bgjob_prerequisites_free(&all);
}

static BgjobScan *
scan_one(BgjobRel *rel, Snapshot snapshot, int64 target, int64 dependant)
{
	ScanKeyData keys[2];

	bgjob_key(&keys[0], E_TARGET, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(target));
	bgjob_key(&keys[1], E_DEPENDANT, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(dependant));
	return bgjob_scan_begin(rel, EDGE_INDEX, snapshot, keys, 2);
}

/* Returns whether there is an edge. */
static bool
has_edge(BgjobRel *rel, int64 target, int64 dependant)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobScan *scan = scan_one(rel, snapshot, target, dependant);
	bool found = bgjob_scan_next(scan);

	ExecClearTuple(rel->slot);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	return found;
}

/* Deletes one edge, unless it is not there, or another transaction is deleting it. */
static void
delete_one(BgjobRel *rel, Snapshot snapshot, int64 target, int64 dependant)
{
	BgjobScan *scan = scan_one(rel, snapshot, target, dependant);

	if (bgjob_scan_next(scan) && bgjob_rel_delete(rel, &rel->slot->tts_tid, NULL))
		note(target, -1);
	bgjob_scan_end(scan);
}

/* bgjob_edges_delete deletes the edges of a job to its targets, if it has any. */
void
bgjob_edges_delete(const BgjobJob *job)
{
	BgjobPrerequisites all;
	BgjobRel *rel;
	Snapshot snapshot;

	if (!bgjob_prerequisites_read(job, &all))
		return;
	rel = bgjob_rel_open(BGJOB_TABLE_EDGE);
	snapshot = bgjob_rel_snapshot(rel);
	for (int i = 0; i < all.nedges; i++)
		delete_one(rel, snapshot, all.targets[i], job->id);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	bgjob_prerequisites_free(&all);
}

/* bgjob_edges_restore inserts those edges of a job that are missing: after a restore, or because it had ended and runs again. */
void
bgjob_edges_restore(const BgjobJob *job)
{
	BgjobPrerequisites all;
	BgjobRel *rel;
	Datum values[E_DEPENDANT];
	bool nulls[E_DEPENDANT] = {false};

	if (!bgjob_prerequisites_read(job, &all))
		return;
	rel = bgjob_rel_open(BGJOB_TABLE_EDGE);
	values[E_DEPENDANT - 1] = Int64GetDatum(job->id);
	for (int i = 0; i < all.nedges; i++)
	{
		if (has_edge(rel, all.targets[i], job->id))
			continue;
		values[E_TARGET - 1] = Int64GetDatum(all.targets[i]);
		bgjob_rel_insert(rel, values, nulls);
		note(all.targets[i], 1);
	}
	bgjob_rel_close(rel);
	bgjob_prerequisites_free(&all);
}

/* bgjob_edges_of returns the dependants of a target at this moment, in the current memory context, and their number. */
int64 *
bgjob_edges_of(int64 target, int *n)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_EDGE);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	int room = 8;
	int64 *dependants = palloc(room * sizeof(int64));
	ScanKeyData key;
	BgjobScan *scan;

	*n = 0;
	bgjob_key(&key, E_TARGET, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(target));
	scan = bgjob_scan_begin(rel, EDGE_INDEX, snapshot, &key, 1);
	while (bgjob_scan_next(scan))
	{
		bool isnull;

		CHECK_FOR_INTERRUPTS();
		if (*n == room)
		{
			room *= 2;
			dependants = repalloc_huge(dependants, room * sizeof(int64));
		}
		dependants[(*n)++] = DatumGetInt64(slot_getattr(rel->slot, E_DEPENDANT, &isnull));
	}
	ExecClearTuple(rel->slot);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return dependants;
}

/*
 * bgjob_edges_count counts all edges in shared memory (base/dependants.h), also those of
 * transactions that have not ended; by the scheduler, when it begins.
 */
void
bgjob_edges_count(void)
{
	BgjobRel *rel = bgjob_rel_open_read(BGJOB_TABLE_EDGE);
	SnapshotData dirty;
	TableScanDesc scan;

	bgjob_dependants_begin_count();
	InitDirtySnapshot(dirty);
	scan = table_beginscan(rel->rel, &dirty, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, rel->slot))
	{
		bool isnull;

		CHECK_FOR_INTERRUPTS();
		bgjob_dependants_add(DatumGetInt64(slot_getattr(rel->slot, E_TARGET, &isnull)), 1);
	}
	ExecClearTuple(rel->slot);
	table_endscan(scan);
	bgjob_rel_close(rel);
	bgjob_dependants_set_known(true);
}
