/*-------------------------------------------------------------------------
 *
 * bulk.h
 *	  Rows that are inserted many at a time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_BULK_H
#define BGJOB_STORE_BULK_H

#include "postgres.h"

#include "store/relation.h"

/* So many at a time. */
#define BGJOB_BULK_ROWS 500

typedef struct BgjobBulk BgjobBulk;

extern BgjobBulk *bgjob_bulk_begin(BgjobRel *rel);
extern bool bgjob_bulk_add(BgjobBulk *bulk, const Datum *values, const bool *nulls);
extern const ItemPointerData *bgjob_bulk_flush(BgjobBulk *bulk, int *n);
extern void bgjob_bulk_end(BgjobBulk *bulk);

#endif /* BGJOB_STORE_BULK_H */
