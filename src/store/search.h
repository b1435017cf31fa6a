/*-------------------------------------------------------------------------
 *
 * search.h
 *	  Whether a job's row matches a query.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_SEARCH_H
#define BGJOB_STORE_SEARCH_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "rules/query.h"
#include "store/listing.h"

typedef struct BgjobSearch BgjobSearch;

extern bool
bgjob_search_prepare(const BgjobQuery *query, TimestampTz now, BgjobListFilter *filter);
extern void bgjob_search_probe(const BgjobSearch *search, BgjobMapProbe *probe);
extern const int64 *bgjob_search_ids(const BgjobSearch *search, int *n);
extern bool bgjob_search_has_names(BgjobSearch *search, TupleTableSlot *slot);
extern bool bgjob_search_has_rest(BgjobSearch *search, TupleTableSlot *slot);

#endif /* BGJOB_STORE_SEARCH_H */
