/*-------------------------------------------------------------------------
 *
 * listmatch.h
 *	  Whether a job's row matches a filter.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_LISTMATCH_H
#define BGJOB_STORE_LISTMATCH_H

#include "postgres.h"

#include "store/listing.h"
#include "store/relation.h"

typedef struct BgjobMatcher BgjobMatcher;

extern BgjobMatcher *bgjob_matcher_create(const BgjobListFilter *filter, Oid jobs);
extern void bgjob_matcher_probe(const BgjobMatcher *matcher, BgjobMapProbe *probe);
extern bool bgjob_matcher_has_names(BgjobMatcher *matcher, TupleTableSlot *slot);
extern bool bgjob_matcher_is_seen(BgjobMatcher *matcher, TupleTableSlot *slot);
extern bool bgjob_matcher_has_words(BgjobMatcher *matcher, TupleTableSlot *slot);

#endif /* BGJOB_STORE_LISTMATCH_H */
