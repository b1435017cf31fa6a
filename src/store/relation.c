/*-------------------------------------------------------------------------
 *
 * relation.c
 *	  Rows of bgjob's tables, read and written directly.
 *
 * The storage layer reads and writes bgjob's tables below SQL: no parsing,
 * no plans, no rights to raise and drop, and no look-up along a search_path. So it
 * does not depend on the session's state (settings, role, read-only transactions). Privileges have
 * been checked before: at enqueue, by the control functions, by the claim.
 *
 * Indexes and constraints are maintained by the executor's own functions for
 * simple changes (those that logical replication applies rows with), so an
 * index that an administrator adds to a table is kept up too.
 *
 * Any process; inside a transaction. Locks: RowExclusiveLock on a table,
 * kept to the end of the transaction; AccessShareLock, given up at once, where
 * a table is only read: a session that waits for a job is in no maintenance's
 * way. Tables are always opened in the order of enum BgjobTable where several
 * are needed, and DROP EXTENSION stops bgjob's processes first (api/utility.c),
 * so these locks do not deadlock.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "base/compat.h"
#include "catalog/pg_collation.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/smgr.h"
#include "store/relation.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"

static BgjobRel *
open_table(BgjobTable table, LOCKMODE lock, LOCKMODE release)
{
	BgjobRel *opened = palloc(sizeof(BgjobRel));

	opened->rel = bgjob_table_open(table, lock, &opened->large);
	opened->slot = table_slot_create(opened->rel, NULL);
	opened->context = CurrentMemoryContext;
	opened->estate = NULL;
	opened->result = NULL;
	opened->release = release;
	return opened;
}

/*
 * bgjob_rel_open opens a table to be read and written; on a standby only to be
 * read. 42704: there is none; 55000: it is not the one that this library knows;
 * 55P03: it is locked, and this process does not wait.
 */
BgjobRel *
bgjob_rel_open(BgjobTable table)
{
	return open_table(table, RecoveryInProgress() ? AccessShareLock : RowExclusiveLock, NoLock);
}

/* bgjob_rel_open_read opens a table only to be read, by what may then wait for long. Errors as above. */
BgjobRel *
bgjob_rel_open_read(BgjobTable table)
{
	return open_table(table, AccessShareLock, AccessShareLock);
}

/* bgjob_rel_close closes a table. The lock stays until the transaction ends, but for one that was only read. */
void
bgjob_rel_close(BgjobRel *rel)
{
	if (rel->result != NULL)
	{
		ExecCloseIndices(rel->result);
		FreeExecutorState(rel->estate);
	}
	ExecDropSingleTupleTableSlot(rel->slot);
	table_close(rel->rel, rel->release);
	pfree(rel);
}

/*
 * bgjob_rel_snapshot returns a registered snapshot of this moment, in any isolation
 * level: bookkeeping needs the present state, and must neither fix the transaction's
 * own snapshot nor take part in serializable conflicts. The caller unregisters it.
 */
Snapshot
bgjob_rel_snapshot(BgjobRel *rel)
{
	return RegisterSnapshot(GetCatalogSnapshot(RelationGetRelid(rel->rel)));
}

/* bgjob_rel_prepare_to_write makes what the executor's functions want to be called with. */
void
bgjob_rel_prepare_to_write(BgjobRel *rel)
{
	MemoryContext old;

	if (rel->result != NULL)
		return;
	old = MemoryContextSwitchTo(rel->context);
	rel->estate = CreateExecutorState();
	rel->result = makeNode(ResultRelInfo);
	InitResultRelInfo(rel->result, rel->rel, 0, NULL, 0);
	rel->result->ri_TrigDesc = NULL; /* no trigger may see, or steer, bookkeeping */
	ExecOpenIndices(rel->result, false);
	MemoryContextSwitchTo(old);
}

static void
fill_slot(TupleTableSlot *slot, const Datum *values, const bool *nulls)
{
	int natts = slot->tts_tupleDescriptor->natts;

	ExecClearTuple(slot);
	memcpy(slot->tts_values, values, natts * sizeof(Datum));
	memcpy(slot->tts_isnull, nulls, natts * sizeof(bool));
	ExecStoreVirtualTuple(slot);
}

/* Of a row that this process has inserted itself: it may have stored anything out of line. */
static const BgjobExternal nothing_fetched = {.n = 0};

/*
 * bgjob_rel_begin_write returns a snapshot if the rows concerned may have values that
 * are stored out of line, which the server reads and removes only under a snapshot;
 * else NULL, as a rule. bgjob_rel_end_write releases the snapshot.
 */
Snapshot
bgjob_rel_begin_write(BgjobRel *rel, bool external)
{
	return external || bgjob_asserts_snapshot(rel->rel) ? bgjob_rel_snapshot(rel) : NULL;
}

/* bgjob_rel_end_write: see above. */
void
bgjob_rel_end_write(Snapshot snapshot)
{
	if (snapshot != NULL)
		UnregisterSnapshot(snapshot);
}

/* bgjob_rel_insert inserts a row. */
void
bgjob_rel_insert(BgjobRel *rel, const Datum *values, const bool *nulls)
{
	Snapshot snapshot = bgjob_rel_begin_write(rel, false);

	bgjob_rel_prepare_to_write(rel);
	fill_slot(rel->slot, values, nulls);
	ExecSimpleRelationInsert(rel->result, rel->estate, rel->slot);
	bgjob_rel_end_write(snapshot);
	rel->tid = rel->slot->tts_tid;
	ExecClearTuple(rel->slot);
	ResetPerTupleExprContext(rel->estate);
}

/* Replaces a row; there is a snapshot if the old one has values that are stored out of line. */
static void
replace_row(BgjobRel *rel, const ItemPointerData *tid, const Datum *values, const bool *nulls)
{
	ItemPointerData otid = *tid;
	bgjob_update_indexes update_indexes;

	fill_slot(rel->slot, values, nulls);
	simple_table_tuple_update(rel->rel, &otid, rel->slot, InvalidSnapshot, &update_indexes);
	rel->tid = rel->slot->tts_tid;
	if (bgjob_must_update_indexes(update_indexes))
	{
		bgjob_rel_prepare_to_write(rel); /* not before: most updates are HOT */
		list_free(bgjob_exec_insert_index_tuples(rel->result, rel->slot, rel->estate,
												 update_indexes));
		ResetPerTupleExprContext(rel->estate);
	}
	ExecClearTuple(rel->slot);
}

/*
 * bgjob_rel_update replaces a row that no other transaction can be changing: the
 * caller holds the job's row in the queue or in the schedule, or has locked the row
 * itself. Raises an error otherwise.
 */
void
bgjob_rel_update(BgjobRel *rel, const ItemPointerData *tid, const Datum *values,
				 const bool *nulls)
{
	Snapshot snapshot = bgjob_rel_begin_write(rel, rel->large);

	replace_row(rel, tid, values, nulls);
	bgjob_rel_end_write(snapshot);
}

/* Returns whether several transactions have locked a row; the number that it has for them is none of a transaction. */
static bool
is_locked_by_several(BgjobRel *rel, ItemPointer tid)
{
	TupleTableSlot *slot = table_slot_create(rel->rel, NULL);
	bool several = false;

	if (table_tuple_fetch_row_version(rel->rel, tid, SnapshotAny, slot))
		several = (((HeapTupleTableSlot *) slot)->tuple->t_data->t_infomask &
				   HEAP_XMAX_IS_MULTI) != 0;
	ExecDropSingleTupleTableSlot(slot);
	return several;
}

/*
 * bgjob_rel_delete deletes a row unless another transaction has locked, changed or
 * deleted it; never waits. Returns whether it did; if not, *holder (which may
 * be NULL) is the transaction that has the row, where one can be named.
 */
bool
bgjob_rel_delete(BgjobRel *rel, ItemPointer tid, TransactionId *holder)
{
	TM_FailureData failure = {.xmax = InvalidTransactionId};
	Snapshot snapshot = bgjob_rel_begin_write(rel, rel->large);
	TM_Result result =
		table_tuple_delete(rel->rel, tid, GetCurrentCommandId(true), InvalidSnapshot,
						   InvalidSnapshot, false, &failure, false);

	bgjob_rel_end_write(snapshot);
	if (holder != NULL)
		*holder = result == TM_Ok || is_locked_by_several(rel, tid) ? InvalidTransactionId
																	: failure.xmax;
	return result == TM_Ok;
}

/* bgjob_rel_delete_locked deletes a row that this transaction has locked. */
void
bgjob_rel_delete_locked(BgjobRel *rel, ItemPointer tid)
{
	Snapshot snapshot = bgjob_rel_begin_write(rel, rel->large);

	simple_table_tuple_delete(rel->rel, tid, InvalidSnapshot);
	bgjob_rel_end_write(snapshot);
}

/*
 * bgjob_rel_find_locked finds the row that a unique index has for a text and
 * locks it, however often others change it meanwhile. rel->slot holds it, and
 * rel->tid says where it is; false if there is none.
 */
bool
bgjob_rel_find_locked(BgjobRel *rel, const char *index, const char *text)
{
	ScanKeyData key;

	bgjob_key(&key, 1, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(text));
	for (;;)
	{
		Snapshot snapshot = bgjob_rel_snapshot(rel);
		BgjobScan *scan = bgjob_scan_begin(rel, index, snapshot, &key, 1);
		bool found = bgjob_scan_next(scan);
		TM_Result result = TM_Ok;
		TM_FailureData failure;

		if (found)
		{
			rel->tid = rel->slot->tts_tid;
			result = table_tuple_lock(rel->rel, &rel->tid, snapshot, rel->slot,
									  GetCurrentCommandId(true), LockTupleExclusive,
									  LockWaitBlock, 0, &failure);
		}
		bgjob_scan_end(scan);
		UnregisterSnapshot(snapshot);
		if (result == TM_Ok)
			return found;
		CHECK_FOR_INTERRUPTS(); /* another transaction has changed it: read it again */
	}
}

/*
 * bgjob_rel_delete_of deletes the rows of a table that an index has for a job;
 * never waits. False: another transaction was changing one of them.
 */
bool
bgjob_rel_delete_of(BgjobTable table, const char *index, int64 job)
{
	BgjobRel *rel = bgjob_rel_open(table);
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	ScanKeyData key;
	BgjobScan *scan;
	bool all = true;

	bgjob_key(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(job));
	scan = bgjob_scan_begin(rel, index, snapshot, &key, 1);
	while (bgjob_scan_next(scan))
		all = bgjob_rel_delete(rel, &rel->slot->tts_tid, NULL) && all;
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	bgjob_rel_close(rel);
	return all;
}

/*
 * Returns whether a table has a block. VACUUM FULL, CLUSTER and TRUNCATE leave tids
 * behind that point beyond its end, which the server takes for a damaged disk.
 * The number of blocks that the storage manager remembers is a lower bound:
 * no process can make the table shorter while this process has a lock on it.
 */
static bool
has_block(Relation rel, BlockNumber block)
{
#ifdef BGJOB_FAST_BLOCKS
	BlockNumber known = RelationGetSmgr(rel)->smgr_cached_nblocks[MAIN_FORKNUM];

	if (known != InvalidBlockNumber && block < known)
		return true;
#endif
	return block < RelationGetNumberOfBlocks(rel);
}

/*
 * bgjob_rel_fetch reads the row at a tid into rel->slot, if it is visible to
 * the snapshot there. The tid may be stale, and point to another row or to
 * none: the caller checks the row.
 */
bool
bgjob_rel_fetch(BgjobRel *rel, ItemPointer tid, Snapshot snapshot)
{
	return ItemPointerIsValid(tid) && has_block(rel->rel, ItemPointerGetBlockNumber(tid)) &&
		   table_tuple_fetch_row_version(rel->rel, tid, snapshot, rel->slot);
}

/*
 * Reads the row in a slot into values and nulls, where "copy" is a copy of its tuple. Rows may lack columns at their end
 * (store/bulk.c), which heap_deform_tuple() would ask for one by one. The slot knows all values by then, or reads them faster; those
 * that are not passed by value are at the same places in the copy.
 */
static void
deform_copy(TupleTableSlot *slot, HeapTuple copy, Datum *values, bool *nulls)
{
	TupleDesc desc = slot->tts_tupleDescriptor;
	const char *from;

	if (desc->constr != NULL && desc->constr->missing != NULL)
	{
		heap_deform_tuple(copy, desc, values, nulls); /* some are not in the tuple */
		return;
	}
	from = (const char *) ExecFetchSlotHeapTuple(slot, false, NULL)->t_data;
	slot_getallattrs(slot);
	memcpy(values, slot->tts_values, desc->natts * sizeof(Datum));
	memcpy(nulls, slot->tts_isnull, desc->natts * sizeof(bool));
	for (int i = 0; i < desc->natts; i++)
		if (!nulls[i] && !TupleDescAttr(desc, i)->attbyval)
			values[i] =
				PointerGetDatum((char *) copy->t_data + (DatumGetPointer(values[i]) - from));
}

/*
 * bgjob_rel_take copies the row in rel->slot into values and nulls, in the
 * current context. Values that are stored out of line are fetched now: later there may
 * be no snapshot, which the server requires for that, and the row may have been
 * replaced and its values vacuumed away. *external lists the fetched values; NULL, as a
 * rule: none.
 */
void
bgjob_rel_take(BgjobRel *rel, Datum *values, bool *nulls, const BgjobExternal **external)
{
	TupleDesc desc = rel->slot->tts_tupleDescriptor;
	HeapTuple tuple = ExecCopySlotHeapTuple(rel->slot);
	BgjobExternal *fetched;
	Snapshot snapshot;

	deform_copy(rel->slot, tuple, values, nulls);
	*external = NULL;
	if (!HeapTupleHasExternal(tuple))
		return;
	fetched =
		palloc(offsetof(BgjobExternal, columns) + desc->natts * sizeof(fetched->columns[0]));
	fetched->n = 0;
	snapshot = bgjob_rel_snapshot(rel);
	for (int i = 0; i < desc->natts; i++)
	{
		if (nulls[i] || TupleDescAttr(desc, i)->attlen != -1 ||
			!VARATT_IS_EXTERNAL(DatumGetPointer(values[i])))
			continue;
		fetched->columns[fetched->n].column = i;
		fetched->columns[fetched->n].stored = values[i];
		values[i] = PointerGetDatum(
			detoast_external_attr((struct varlena *) DatumGetPointer(values[i])));
		fetched->columns[fetched->n++].value = values[i];
	}
	UnregisterSnapshot(snapshot);
	*external = fetched;
}

/*
 * bgjob_rel_insert_taken inserts a row that may be replaced by
 * bgjob_rel_update_taken; *external is for that.
 */
void
bgjob_rel_insert_taken(BgjobRel *rel, const Datum *values, const bool *nulls,
					   const BgjobExternal **external)
{
	bgjob_rel_insert(rel, values, nulls);
	*external = &nothing_fetched;
}

/*
 * bgjob_rel_update_taken replaces a row that bgjob_rel_take has read, as
 * bgjob_rel_update does. What was fetched and has not been changed stays where
 * it is stored, instead of being written once more.
 */
void
bgjob_rel_update_taken(BgjobRel *rel, const ItemPointerData *tid, Datum *values,
					   const bool *nulls, const BgjobExternal *external)
{
	Snapshot snapshot = bgjob_rel_begin_write(rel, external != NULL);
	int n = external == NULL ? 0 : external->n;

	for (int i = 0; i < n; i++)
		if (values[external->columns[i].column] == external->columns[i].value)
			values[external->columns[i].column] = external->columns[i].stored;
	replace_row(rel, tid, values, nulls);
	for (int i = 0; i < n; i++)
		if (values[external->columns[i].column] == external->columns[i].stored)
			values[external->columns[i].column] = external->columns[i].value;
	bgjob_rel_end_write(snapshot);
}

/*
 * bgjob_scan_snapshot returns the snapshot to scan an index with where rows
 * visible to "snapshot" are wanted. In a serializable transaction a scan with
 * an MVCC snapshot would take predicate locks, and two sessions that change
 * different jobs would fail with 40001. A scan with SnapshotAny takes none; the
 * caller then asks bgjob_scan_sees for each row.
 */
Snapshot
bgjob_scan_snapshot(Snapshot snapshot)
{
	return IsolationIsSerializable() && IsMVCCSnapshot(snapshot) ? SnapshotAny : snapshot;
}

/* bgjob_scan_sees returns whether the row that a scan has read into rel->slot is visible to "snapshot". */
bool
bgjob_scan_sees(BgjobRel *rel, IndexScanDesc scan, Snapshot snapshot)
{
	return scan->xs_snapshot == snapshot ||
		   table_tuple_satisfies_snapshot(rel->rel, rel->slot, snapshot);
}

/* bgjob_scan_begin starts a forward scan along an index; rows come in rel->slot. */
BgjobScan *
bgjob_scan_begin(BgjobRel *rel, const char *index, Snapshot snapshot, ScanKey keys, int nkeys)
{
	BgjobScan *scan = palloc(sizeof(BgjobScan));

	scan->rel = rel;
	scan->snapshot = snapshot;
	scan->index = index_open(bgjob_relation_oid(index), AccessShareLock);
	scan->scan =
		bgjob_index_beginscan(rel->rel, scan->index, bgjob_scan_snapshot(snapshot), nkeys);
	index_rescan(scan->scan, keys, nkeys, NULL, 0);
	return scan;
}

static bool
next_in(BgjobScan *scan, ScanDirection direction)
{
	while (index_getnext_slot(scan->scan, direction, scan->rel->slot))
		if (bgjob_scan_sees(scan->rel, scan->scan, scan->snapshot))
			return true;
	return false;
}

/* bgjob_scan_next reads the next row into rel->slot; false if there is none. */
bool
bgjob_scan_next(BgjobScan *scan)
{
	return next_in(scan, ForwardScanDirection);
}

/* bgjob_scan_previous reads the previous row, at first the last one; for scans that only go backwards. */
bool
bgjob_scan_previous(BgjobScan *scan)
{
	return next_in(scan, BackwardScanDirection);
}

/* bgjob_scan_end ends a scan. */
void
bgjob_scan_end(BgjobScan *scan)
{
	index_endscan(scan->scan);
	index_close(scan->index, AccessShareLock);
	pfree(scan);
}

/*
 * bgjob_rel_read_ids reads the ids in a column of at most "max" rows, those that an index has for a
 * key, in its order; returns their number.
 */
int
bgjob_rel_read_ids(BgjobRel *rel, const char *index, ScanKey key, AttrNumber column, int64 *ids,
				   int max)
{
	Snapshot snapshot = bgjob_rel_snapshot(rel);
	BgjobScan *scan = bgjob_scan_begin(rel, index, snapshot, key, 1);
	bool isnull;
	int n = 0;

	while (n < max && bgjob_scan_next(scan))
	{
		CHECK_FOR_INTERRUPTS();
		ids[n++] = DatumGetInt64(slot_getattr(rel->slot, column, &isnull));
	}
	ExecClearTuple(rel->slot);
	bgjob_scan_end(scan);
	UnregisterSnapshot(snapshot);
	return n;
}

/*
 * bgjob_key fills in a key of a scan: column (of the index, from 1), strategy,
 * the function of the comparison, and the value to compare with. Texts are
 * compared by their bytes, as the columns are declared.
 */
void
bgjob_key(ScanKey key, AttrNumber column, StrategyNumber strategy, RegProcedure proc,
		  Datum value)
{
	ScanKeyEntryInitialize(key, 0, column, strategy, InvalidOid, C_COLLATION_OID, proc, value);
}
