/*-------------------------------------------------------------------------
 *
 * relation.c
 *	  bgjob's tables, opened and written directly.
 *
 * The storage layer reads and writes bgjob's tables below SQL: no parsing,
 * no plans, no rights to raise and drop, and nothing that is looked up along
 * a search_path, so it works the same whatever a job has done to its session
 * (settings, role, read-only transactions). Who may do what has been decided
 * before: at enqueue, by the control functions, by the claim.
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
#include "access/tupdesc_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "base/compat.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/smgr.h"
#include "store/relation.h"
#include "store/trust.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

/* What users see is in one schema, the tables in the other: nobody has USAGE on that. */
#define VIEWS_SCHEMA  "bgjob"
#define TABLES_SCHEMA "bgjob_internal"

#define WRONG_VERSION_HINT                                                                     \
	"The library and the extension's script are of different versions, or the extension is "   \
	"damaged."

/* The rows of a large one may hold values that are stored out of line. */
static const struct
{
	const char *name;
	bool large;
} tables[] = {
	[BGJOB_TABLE_JOB] = {"job", true},
	[BGJOB_TABLE_QUEUE] = {"queue"},
	[BGJOB_TABLE_SCHEDULE] = {"schedule"},
	[BGJOB_TABLE_FAILURE] = {"failure"},
	[BGJOB_TABLE_CLAIM] = {"claim"},
	[BGJOB_TABLE_UNIQUE_KEY] = {"unique_key"},
	[BGJOB_TABLE_STATE] = {"state", true},
	[BGJOB_TABLE_LOG] = {"log", true},
	[BGJOB_TABLE_SETTINGS] = {"settings", true},
	[BGJOB_TABLE_TOTAL] = {"total"},
	[BGJOB_TABLE_QUEUE_CONF] = {"queue_conf"},
	[BGJOB_TABLE_FUNCTION_CONF] = {"function_conf", true},
	[BGJOB_TABLE_RECURRING] = {"recurring", true},
	[BGJOB_TABLE_FILTER] = {"filter", true},
	[BGJOB_TABLE_INSTALLATION] = {"installation"},
};

static Oid
schema_oid(const char *name, bool missing_ok)
{
	Oid schema = get_namespace_oid(name, true);

	if (schema == InvalidOid && !missing_ok)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("extension \"bgjob\" is not installed in this database"),
						errhint("Run CREATE EXTENSION bgjob.")));
	return schema;
}

/*
 * bgjob_schema_oid returns schema bgjob: the views, and the right to use bgjob.
 * 42704 if there is none, or InvalidOid.
 */
Oid
bgjob_schema_oid(bool missing_ok)
{
	return schema_oid(VIEWS_SCHEMA, missing_ok);
}

/* bgjob_tables_schema_oid returns the schema of the tables; 42704 if there is none, or InvalidOid. */
Oid
bgjob_tables_schema_oid(bool missing_ok)
{
	return schema_oid(TABLES_SCHEMA, missing_ok);
}

/* OIDs that have been looked up; each is forgotten when its relation, or any schema, changes. The names are constants. */
#define KNOWN_MAX 48

static struct
{
	const char *name;
	Oid oid;
	uint32 hash; /* by which the server says that the relation has changed */
} known[KNOWN_MAX];
static int nknown = 0;
static uint64 invalidations = 0;

static void
forget_known(Datum arg, int cacheid, uint32 hashvalue)
{
	invalidations++;
	for (int i = nknown - 1; i >= 0; i--)
		if (hashvalue == 0 || cacheid != RELOID || known[i].hash == hashvalue)
			known[i] = known[--nknown];
}

/* Remembers an OID, unless something has changed since "before". */
static void
remember(const char *name, Oid oid, uint64 before)
{
	if (invalidations != before || nknown == KNOWN_MAX)
		return;
	known[nknown].name = name;
	known[nknown].oid = oid;
	known[nknown].hash = GetSysCacheHashValue1(RELOID, ObjectIdGetDatum(oid));
	nknown++;
}

/*
 * bgjob_relation_oid returns the OID of the relation of that name in the
 * tables' schema: a table, an index or a sequence. The name must be a constant. 42704:
 * there is none; 55000: it is not the extension's (store/trust.h).
 */
Oid
bgjob_relation_oid(const char *name)
{
	static bool registered = false;
	uint64 before;
	Oid relation;
	const char *why;

	for (int i = 0; i < nknown; i++)
		if (known[i].name == name)
			return known[i].oid;
	if (!registered)
	{
		CacheRegisterSyscacheCallback(RELOID, forget_known, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, forget_known, (Datum) 0);
	}
	registered = true;
	before = invalidations;
	relation = get_relname_relid(name, bgjob_tables_schema_oid(false));
	if (relation == InvalidOid)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("relation \"%s.%s\" does not exist", TABLES_SCHEMA, name),
						errhint(WRONG_VERSION_HINT)));
	why = bgjob_trust_refusal(name, relation);
	if (why != NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("relation \"%s.%s\" is not the one that bgjob knows",
							   TABLES_SCHEMA, name),
						errdetail("%s", why), errhint(WRONG_VERSION_HINT)));
	remember(name, relation, before);
	return relation;
}

/* bgjob_table_oid returns the OID of a table, which changes when the extension is made anew. */
Oid
bgjob_table_oid(BgjobTable table)
{
	return bgjob_relation_oid(tables[table].name);
}

/*
 * Raises 55000 unless a table has as many columns as the files know that read
 * and write it: a row with more would not fit into theirs.
 */
static void
check_columns(Relation rel, BgjobTable table)
{
	static int known_columns[lengthof(tables)];
	int ncolumns = known_columns[table];

	if (ncolumns == 0)
		ncolumns = known_columns[table] = bgjob_trust_columns(tables[table].name);
	if (RelationGetNumberOfAttributes(rel) != ncolumns)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" has %d columns, not %d", TABLES_SCHEMA,
						tables[table].name, RelationGetNumberOfAttributes(rel), ncolumns),
				 errhint(WRONG_VERSION_HINT)));
}

bool bgjob_rel_nowait = false;

/* Locks a table; without waiting, in a process that does not wait. */
static void
lock_table(Oid relation, BgjobTable table, LOCKMODE lock)
{
	if (!bgjob_rel_nowait)
		LockRelationOid(relation, lock);
	else if (!ConditionalLockRelationOid(relation, lock))
		ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE),
						errmsg("could not obtain lock on relation \"%s.%s\"", TABLES_SCHEMA,
							   tables[table].name)));
}

static void
refuse_dropped(void)
{
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
					errmsg("extension \"bgjob\" is being dropped")));
}

/*
 * bgjob_sequence_lock locks a sequence and returns its OID: the server's own
 * functions would raise an internal error if it is dropped meanwhile. 42704 then.
 */
Oid
bgjob_sequence_lock(const char *name)
{
	Oid sequence = bgjob_relation_oid(name);

	LockRelationOid(sequence, RowExclusiveLock);
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(sequence)))
		refuse_dropped();
	return sequence;
}

/*
 * bgjob_table_lock locks a table as bgjob_rel_open does, for what is remembered
 * of its rows. 42704 and 55P03 as there.
 */
void
bgjob_table_lock(BgjobTable table)
{
	Oid relation = bgjob_table_oid(table);

	lock_table(relation, table, RowExclusiveLock);
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relation)))
		refuse_dropped();
}

/*
 * bgjob_tables_lock_for_drop locks what sessions lock first of all, in their
 * order. DROP takes its locks in another one, with which a session that is
 * enqueuing would be in a deadlock; so it waits for these sessions here, before it
 * has any lock that they need.
 */
void
bgjob_tables_lock_for_drop(void)
{
	static const BgjobTable first[] = {BGJOB_TABLE_SETTINGS, BGJOB_TABLE_JOB};

	for (int i = 0; i < lengthof(first); i++)
	{
		Oid relation = get_relname_relid(tables[first[i]].name, bgjob_tables_schema_oid(true));

		if (OidIsValid(relation) && bgjob_trust_table("bgjob", relation))
			LockRelationOid(relation, AccessExclusiveLock);
	}
}

static BgjobRel *
open_table(BgjobTable table, LOCKMODE lock, LOCKMODE release)
{
	BgjobRel *opened = palloc(sizeof(BgjobRel));
	Oid relation = bgjob_relation_oid(tables[table].name);

	lock_table(relation, table, lock);
	/* try_table_open would ask the catalog each time; the relation cache knows by now if it has gone. */
	opened->rel = RelationIdGetRelation(relation);
	if (!RelationIsValid(opened->rel)) /* dropped while its lock was waited for */
		refuse_dropped();
	pgstat_init_relation(opened->rel);
	check_columns(opened->rel, table);
	opened->large = tables[table].large;
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
 * bgjob_rel_snapshot returns a registered snapshot of this very moment,
 * whatever the isolation level of the transaction: bookkeeping works on what
 * is, and must neither fix the transaction's own snapshot nor take part in
 * serializable conflicts. The caller unregisters it.
 */
Snapshot
bgjob_rel_snapshot(BgjobRel *rel)
{
	return RegisterSnapshot(GetCatalogSnapshot(RelationGetRelid(rel->rel)));
}

/* What the executor's functions want to be called with. */
static void
prepare_to_write(BgjobRel *rel)
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
 * The server reads and removes values that are stored out of line only while
 * there is a snapshot. begin_write returns one where the rows concerned may
 * have such values, else NULL, as a rule; end_write gives it up.
 */
static Snapshot
begin_write(BgjobRel *rel, bool external)
{
	return external || bgjob_asserts_snapshot(rel->rel) ? bgjob_rel_snapshot(rel) : NULL;
}

static void
end_write(Snapshot snapshot)
{
	if (snapshot != NULL)
		UnregisterSnapshot(snapshot);
}

/* bgjob_rel_insert inserts a row. */
void
bgjob_rel_insert(BgjobRel *rel, const Datum *values, const bool *nulls)
{
	Snapshot snapshot = begin_write(rel, false);

	prepare_to_write(rel);
	fill_slot(rel->slot, values, nulls);
	ExecSimpleRelationInsert(rel->result, rel->estate, rel->slot);
	end_write(snapshot);
	rel->tid = rel->slot->tts_tid;
	ExecClearTuple(rel->slot);
	ResetPerTupleExprContext(rel->estate);
}

/* ---- many rows at a time ---- */

struct BgjobBulk
{
	BgjobRel *rel;
	int last_default; /* the last column that is not null where a row ends before it; 0: none */
	TupleDesc stored; /* of the first columns, as many as any row has needed */
	int n;
	TupleTableSlot *slots[BGJOB_BULK_ROWS]; /* made as they are needed */
	ItemPointerData tids[BGJOB_BULK_ROWS];
};

/* Whether a column reads as something else than null where a row ends before it. */
static bool
has_default(TupleDesc desc, int column)
{
	return TupleDescAttr(desc, column - 1)->atthasmissing &&
		   desc->constr->missing[column - 1].am_present;
}

/* The last such column; 0: there is none. */
static int
find_last_default(TupleDesc desc)
{
	int column = desc->natts;

	while (column > 0 && !has_default(desc, column))
		column--;
	return column;
}

/* Whether a column reads the same where a row ends before it. */
static bool
may_be_left_out(TupleDesc desc, int column, Datum value, bool isnull)
{
	Form_pg_attribute attribute = TupleDescAttr(desc, column - 1);

	if (!has_default(desc, column))
		return isnull;
	return !isnull && datum_image_eq(value, desc->constr->missing[column - 1].am_value,
									 attribute->attbyval, attribute->attlen);
}

/* How many columns a row is stored with: see form_row. */
static int
columns_to_store(const BgjobBulk *bulk, const Datum *values, const bool *nulls)
{
	TupleDesc desc = RelationGetDescr(bulk->rel->rel);
	int n = desc->natts;

	while (n > 1 && n > bulk->last_default && nulls[n - 1]) /* most of them, and quickly */
		n--;
	if (n == bulk->last_default)
		while (n > 1 && may_be_left_out(desc, n, values[n - 1], nulls[n - 1]))
			n--;
	return n;
}

/* A descriptor of the first columns of a table. */
static TupleDesc
describe_columns(TupleDesc table, int n)
{
	TupleDesc desc = CreateTemplateTupleDesc(n);

	for (int i = 1; i <= n; i++)
		TupleDescCopyEntry(desc, i, table, i);
	return desc;
}

/*
 * Forms a row without the columns at its end that need not be stored, as the
 * server stores rows from before a column was added. That makes a new job
 * cheaper, most of whose columns are for what will become of it. (After a
 * VACUUM FULL the server has forgotten what such columns are to be read as;
 * then those with a default are stored.)
 */
static HeapTuple
form_row(BgjobBulk *bulk, const Datum *values, const bool *nulls)
{
	int n = columns_to_store(bulk, values, nulls);

	if (bulk->stored == NULL || bulk->stored->natts < n)
		bulk->stored = describe_columns(RelationGetDescr(bulk->rel->rel), n);
	/* which does not change them */
	return heap_form_tuple(bulk->stored, unconstify(Datum *, values),
						   unconstify(bool *, nulls));
}

/*
 * bgjob_bulk_begin prepares for inserting many rows into a table: fewer WAL
 * records, and each page is locked once. They are there when they are flushed.
 */
BgjobBulk *
bgjob_bulk_begin(BgjobRel *rel)
{
	BgjobBulk *bulk = palloc0(sizeof(BgjobBulk));

	prepare_to_write(rel);
	bulk->rel = rel;
	bulk->last_default = find_last_default(RelationGetDescr(rel->rel));
	return bulk;
}

/* bgjob_bulk_add takes a row along, copied. True: there is no room for another, flush them. */
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

/* bgjob_bulk_flush inserts the rows; returns where, in their order, and their number. */
const ItemPointerData *
bgjob_bulk_flush(BgjobBulk *bulk, int *n)
{
	BgjobRel *rel = bulk->rel;
	Snapshot snapshot;

	*n = bulk->n;
	bulk->n = 0;
	if (*n == 0)
		return bulk->tids;
	snapshot = begin_write(rel, false);
	/* With no ring of buffers of their own: others are about to read these rows. */
	table_multi_insert(rel->rel, bulk->slots, *n, GetCurrentCommandId(true), 0, NULL);
	end_write(snapshot);
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

/* bgjob_bulk_end ends it; the rows must have been flushed. */
void
bgjob_bulk_end(BgjobBulk *bulk)
{
	Assert(bulk->n == 0);
	for (int i = 0; i < BGJOB_BULK_ROWS && bulk->slots[i] != NULL; i++)
		ExecDropSingleTupleTableSlot(bulk->slots[i]);
	table_finish_bulk_insert(bulk->rel->rel, 0);
	pfree(bulk);
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
		prepare_to_write(rel); /* not before: most updates are HOT */
		list_free(bgjob_exec_insert_index_tuples(rel->result, rel->slot, rel->estate,
												 update_indexes));
		ResetPerTupleExprContext(rel->estate);
	}
	ExecClearTuple(rel->slot);
}

/*
 * bgjob_rel_update replaces a row that nobody else may be changing; that is
 * so for the holder of a job's row in the queue or in the schedule, and for
 * who has locked the row. An error otherwise.
 */
void
bgjob_rel_update(BgjobRel *rel, const ItemPointerData *tid, const Datum *values,
				 const bool *nulls)
{
	Snapshot snapshot = begin_write(rel, rel->large);

	replace_row(rel, tid, values, nulls);
	end_write(snapshot);
}

/* Whether several transactions have locked a row; the number that it has for them is none of a transaction. */
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
 * bgjob_rel_delete deletes a row unless somebody else has locked, changed or
 * deleted it; never waits. Returns whether it did; if not, *holder (which may
 * be NULL) is the transaction that has the row, where one can be named.
 */
bool
bgjob_rel_delete(BgjobRel *rel, ItemPointer tid, TransactionId *holder)
{
	TM_FailureData failure = {.xmax = InvalidTransactionId};
	Snapshot snapshot = begin_write(rel, rel->large);
	TM_Result result =
		table_tuple_delete(rel->rel, tid, GetCurrentCommandId(true), InvalidSnapshot,
						   InvalidSnapshot, false, &failure, false);

	end_write(snapshot);
	if (holder != NULL)
		*holder = result == TM_Ok || is_locked_by_several(rel, tid) ? InvalidTransactionId
																	: failure.xmax;
	return result == TM_Ok;
}

/* bgjob_rel_delete_locked deletes a row that this transaction has locked. */
void
bgjob_rel_delete_locked(BgjobRel *rel, ItemPointer tid)
{
	Snapshot snapshot = begin_write(rel, rel->large);

	simple_table_tuple_delete(rel->rel, tid, InvalidSnapshot);
	end_write(snapshot);
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
		CHECK_FOR_INTERRUPTS(); /* somebody has changed it meanwhile: read it again */
	}
}

/*
 * bgjob_rel_delete_of deletes the rows of a table that an index has for a job;
 * never waits. False: somebody else was changing one of them.
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
 * Whether a table has a block. VACUUM FULL, CLUSTER and TRUNCATE leave tids
 * behind that point beyond its end, which the server takes for a damaged disk.
 * The number of blocks that the storage manager remembers is a lower bound:
 * nobody can make the table shorter while this process has a lock on it.
 */
static bool
has_block(Relation rel, BlockNumber block)
{
	BlockNumber known = RelationGetSmgr(rel)->smgr_cached_nblocks[MAIN_FORKNUM];

	if (known != InvalidBlockNumber && block < known)
		return true;
	return block < RelationGetNumberOfBlocks(rel);
}

/*
 * bgjob_rel_fetch reads the row at a tid into rel->slot, if it is visible to
 * the snapshot there. The tid may be of another time, and point to another row
 * or to nothing: the caller compares what is read with what is wanted.
 */
bool
bgjob_rel_fetch(BgjobRel *rel, ItemPointer tid, Snapshot snapshot)
{
	return ItemPointerIsValid(tid) && has_block(rel->rel, ItemPointerGetBlockNumber(tid)) &&
		   table_tuple_fetch_row_version(rel->rel, tid, snapshot, rel->slot);
}

/*
 * bgjob_rel_take copies the row in rel->slot into values and nulls, in the
 * current context. What is stored out of line is fetched now: later there may
 * be no snapshot, without which the server refuses to, and the row may have
 * been replaced and its values vacuumed away. *external says what was fetched;
 * NULL, as a rule: nothing.
 */
void
bgjob_rel_take(BgjobRel *rel, Datum *values, bool *nulls, const BgjobExternal **external)
{
	TupleDesc desc = rel->slot->tts_tupleDescriptor;
	HeapTuple tuple = ExecCopySlotHeapTuple(rel->slot);
	BgjobExternal *fetched;
	Snapshot snapshot;

	heap_deform_tuple(tuple, desc, values, nulls);
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
	Snapshot snapshot = begin_write(rel, external != NULL);
	int n = external == NULL ? 0 : external->n;

	for (int i = 0; i < n; i++)
		if (values[external->columns[i].column] == external->columns[i].value)
			values[external->columns[i].column] = external->columns[i].stored;
	replace_row(rel, tid, values, nulls);
	for (int i = 0; i < n; i++)
		if (values[external->columns[i].column] == external->columns[i].stored)
			values[external->columns[i].column] = external->columns[i].value;
	end_write(snapshot);
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

/* bgjob_scan_sees tells whether the row that a scan has put into rel->slot is visible to "snapshot". */
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

/* bgjob_scan_next reads the next row into rel->slot; false if there is none. */
bool
bgjob_scan_next(BgjobScan *scan)
{
	while (index_getnext_slot(scan->scan, ForwardScanDirection, scan->rel->slot))
		if (bgjob_scan_sees(scan->rel, scan->scan, scan->snapshot))
			return true;
	return false;
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
