/*-------------------------------------------------------------------------
 *
 * rowmatch.h
 *	  Comparing the columns of a job's row with texts.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_ROWMATCH_H
#define BGJOB_STORE_ROWMATCH_H

#include "postgres.h"

#include "base/jobmap.h"
#include "executor/tuptable.h"
#include "store/jobrow.h"

/* What the name of a job means: calls, in ascending order, and a command of that text. */
typedef struct BgjobCallsMeant
{
	const char *job;
	int64 *ids;
	int n;
	int room;
} BgjobCallsMeant;

extern bool bgjob_is_among(int64 id, const int64 *ids, int n);
extern bool bgjob_text_is(Datum value, const char *wanted);
extern Datum *bgjob_text_elements(Datum array, bool **nulls, int *n);
extern bool bgjob_row_has_text(TupleTableSlot *slot, BgjobColumn column, const char *wanted);
extern bool bgjob_row_has_tag(TupleTableSlot *slot, const char *tag);
extern void bgjob_calls_meant(const char *job, BgjobCallsMeant *calls);
extern void bgjob_calls_probe(const BgjobCallsMeant *calls, BgjobMapChoice *choice);
extern bool bgjob_calls_has(const BgjobCallsMeant *calls, TupleTableSlot *slot);

#endif /* BGJOB_STORE_ROWMATCH_H */
