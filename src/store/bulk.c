/*-------------------------------------------------------------------------
 *
 * bulk.c
 *	  Rows that are inserted many at a time.
 *
 * Any process; inside a transaction, in tables that are open to be written
 * (store/relation.h).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/tupdesc_details.h"
#include "access/xact.h"
#include "base/compat.h"
#include "store/bulk.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"

struct BgjobBulk
{
	BgjobRel *rel;
	int last_default; /* the last column that is not null where a row ends before it; 0: none */
	TupleDesc stored; /* of the first columns, as many as any row has needed */
	int n;
	TupleTableSlot *slots[BGJOB_BULK_ROWS]; /* made as they are needed */
	ItemPointerData tids[BGJOB_BULK_ROWS];
};

/* Returns whether a column does not read as null in a row that ends before it. */
static bool
has_default(TupleDesc desc, int column)
{
	return TupleDescAttr(desc, column - 1)->atthasmissing &&
		   desc->constr->missing[column - 1].am_present;
}

/* Returns the last such column; 0: there is none. */
static int
find_last_default(TupleDesc desc)
{
	int column = desc->natts;

	while (column > 0 && !has_default(desc, column))
		column--;
	return column;
}

/* Returns whether a column reads the same in a row that ends before it. */
static bool
may_be_left_out(TupleDesc desc, int column, Datum value, bool isnull)
{
	Form_pg_attribute attribute = TupleDescAttr(desc, column - 1);

	if (!has_default(desc, column))
		return isnull;
	return !isnull && datum_image_eq(value, desc->constr->missing[column - 1].am_value,
									 attribute->attbyval, attribute->attlen);
}

/* Returns the number of columns to store of a row: see form_row. */
static int
columns_to_store(const BgjobBulk *bulk, const Datum *values, const bool *nulls)
{
	TupleDesc desc = RelationGetDescr(bulk->rel->rel);
	int n = desc->natts;

#ifndef BGJOB_FAST_ROWS
	return n;
#endif
	while (n > 1 && n > bulk->last_default && nulls[n - 1]) /* most columns end here */
		n--;
	if (n == bulk->last_default)
		while (n > 1 && may_be_left_out(desc, n, values[n - 1], nulls[n - 1]))
			n--;
	return n;
}

/* Returns a descriptor of the first n columns of a table. */
static TupleDesc
describe_columns(TupleDesc table, int n)
{
	TupleDesc desc = CreateTemplateTupleDesc(n);

	for (int i = 1; i <= n; i++)
		TupleDescCopyEntry(desc, i, table, i);
	return desc;
}

/*
 * Forms a row without the columns at its end that need not be stored, like a
 * row from before a column was added. A new job is cheaper so: most of its
 * columns are filled later. (VACUUM FULL drops the values that the server
 * reads for missing columns; then columns with a default are stored.)
 */
static HeapTuple
form_row(BgjobBulk *bulk, const Datum *values, const bool *nulls)
{
	int n = columns_to_store(bulk, values, nulls);

	if (n == RelationGetDescr(bulk->rel->rel)->natts)
		return heap_form_tuple(RelationGetDescr(bulk->rel->rel), unconstify(Datum *, values),
							   unconstify(bool *, nulls));
	if (bulk->stored == NULL || bulk->stored->natts < n)
		bulk->stored = describe_columns(RelationGetDescr(bulk->rel->rel), n);
	/* The call does not change the arrays. */
	return heap_form_tuple(bulk->stored, unconstify(Datum *, values),
						   unconstify(bool *, nulls));
}

/*
 * bgjob_bulk_begin begins to insert many rows into a table, with fewer WAL
 * records and one lock per page. Rows are inserted when they are flushed.
 */
BgjobBulk *
bgjob_bulk_begin(BgjobRel *rel)
{
	BgjobBulk *bulk = palloc0(sizeof(BgjobBulk));

	bgjob_rel_prepare_to_write(rel);
	bulk->rel = rel;
	bulk->last_default = find_last_default(RelationGetDescr(rel->rel));
	return bulk;
}

/* bgjob_bulk_add buffers a copy of a row. True: the buffer is full, and the caller must flush it. */
bool
bgjob_bulk_add(BgjobBulk *bulk, const Datum *values, const bool *nulls)
{
	MemoryContext old = MemoryContextSwitchTo(bulk->rel->context);
	TupleTableSlot **slot = &bulk->slots[bulk->n];

	if (*slot == NULL)
		*slot = MakeSingleTupleTableSlot(RelationGetDescr(bulk->rel->rel), &TTSOpsHeapTuple);
	ExecStoreHeapTuple(form_row(bulk, values, nulls), *slot, true);
	MemoryContextSwitchTo(old);
	return ++bulk->n == BGJOB_BULK_ROWS;
}

/* bgjob_bulk_flush inserts the buffered rows; returns their tids, in their order, and their number. */
const ItemPointerData *
bgjob_bulk_flush(BgjobBulk *bulk, int *n)
{
	BgjobRel *rel = bulk->rel;
	Snapshot snapshot;

	*n = bulk->n;
	bulk->n = 0;
	if (*n == 0)
		return bulk->tids;
	snapshot = bgjob_rel_begin_write(rel, false);
	/* No bulk-insert ring of buffers: workers are about to read these rows. */
	table_multi_insert(rel->rel, bulk->slots, *n, GetCurrentCommandId(true), 0, NULL);
	bgjob_rel_end_write(snapshot);
	for (int i = 0; i < *n; i++)
	{
		bulk->tids[i] = bulk->slots[i]->tts_tid;
		list_free(
			bgjob_exec_insert_index_tuples_of_new(rel->result, bulk->slots[i], rel->estate));
		ExecClearTuple(bulk->slots[i]);
	}
	ResetPerTupleExprContext(rel->estate);
	return bulk->tids;
}

/* bgjob_bulk_end ends a bulk insertion; the rows must have been flushed. */
void
bgjob_bulk_end(BgjobBulk *bulk)
{
	Assert(bulk->n == 0);
	for (int i = 0; i < BGJOB_BULK_ROWS && bulk->slots[i] != NULL; i++)
		ExecDropSingleTupleTableSlot(bulk->slots[i]);
	table_finish_bulk_insert(bulk->rel->rel, 0);
	pfree(bulk);
}
