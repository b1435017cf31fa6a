/*-------------------------------------------------------------------------
 *
 * relation.h
 *	  Rows of bgjob's tables, read and written directly.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_RELATION_H
#define BGJOB_STORE_RELATION_H

#include "postgres.h"

#include "access/genam.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "storage/lockdefs.h"
#include "store/tables.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

typedef struct BgjobRel
{
	Relation rel;
	bool large;            /* its rows may hold values that are stored out of line */
	TupleTableSlot *slot;  /* a row read or to be written */
	ItemPointerData tid;   /* where the last insertion or update has put the row */
	MemoryContext context; /* of opening: what lives as long as this does */
	EState *estate;
	ResultRelInfo *result;
	LOCKMODE release; /* at closing */
} BgjobRel;

/* The values of a row that were stored out of line: their pointers, and the fetched values. */
typedef struct BgjobExternal
{
	int n;
	struct
	{
		int column; /* from 0 */
		Datum stored;
		Datum value;
	} columns[FLEXIBLE_ARRAY_MEMBER];
} BgjobExternal;

/* A scan along an index of a table, in its order. */
typedef struct BgjobScan
{
	BgjobRel *rel;
	Relation index;
	IndexScanDesc scan;
	Snapshot snapshot;
} BgjobScan;

extern BgjobRel *bgjob_rel_open(BgjobTable table);
extern BgjobRel *bgjob_rel_open_read(BgjobTable table);
extern void bgjob_rel_close(BgjobRel *rel);
extern Snapshot bgjob_rel_snapshot(BgjobRel *rel);
extern void bgjob_rel_prepare_to_write(BgjobRel *rel);
extern Snapshot bgjob_rel_begin_write(BgjobRel *rel, bool external);
extern void bgjob_rel_end_write(Snapshot snapshot);
extern void bgjob_rel_insert(BgjobRel *rel, const Datum *values, const bool *nulls);
extern void bgjob_rel_update(BgjobRel *rel, const ItemPointerData *tid, const Datum *values,
							 const bool *nulls);
extern bool bgjob_rel_delete(BgjobRel *rel, ItemPointer tid, TransactionId *holder);
extern void bgjob_rel_delete_locked(BgjobRel *rel, ItemPointer tid);
extern bool bgjob_rel_find_locked(BgjobRel *rel, const char *index, const char *text);
extern bool bgjob_rel_delete_of(BgjobTable table, const char *index, int64 job);
extern bool bgjob_rel_fetch(BgjobRel *rel, ItemPointer tid, Snapshot snapshot);
extern void
bgjob_rel_take(BgjobRel *rel, Datum *values, bool *nulls, const BgjobExternal **external);
extern void bgjob_rel_insert_taken(BgjobRel *rel, const Datum *values, const bool *nulls,
								   const BgjobExternal **external);
extern void bgjob_rel_update_taken(BgjobRel *rel, const ItemPointerData *tid, Datum *values,
								   const bool *nulls, const BgjobExternal *external);

extern Snapshot bgjob_scan_snapshot(Snapshot snapshot);
extern bool bgjob_scan_sees(BgjobRel *rel, IndexScanDesc scan, Snapshot snapshot);
extern BgjobScan *
bgjob_scan_begin(BgjobRel *rel, const char *index, Snapshot snapshot, ScanKey keys, int nkeys);
extern bool bgjob_scan_next(BgjobScan *scan);
extern bool bgjob_scan_previous(BgjobScan *scan);
extern void bgjob_scan_end(BgjobScan *scan);
extern int bgjob_rel_read_ids(BgjobRel *rel, const char *index, ScanKey key, AttrNumber column,
							  int64 *ids, int max);
extern void bgjob_key(ScanKey key, AttrNumber column, StrategyNumber strategy,
					  RegProcedure proc, Datum value);

#endif /* BGJOB_STORE_RELATION_H */
