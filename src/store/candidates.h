/*-------------------------------------------------------------------------
 *
 * candidates.h
 *	  The ids of the jobs in a state, in descending order.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_CANDIDATES_H
#define BGJOB_STORE_CANDIDATES_H

#include "postgres.h"

#include "store/listing.h"
#include "utils/snapshot.h"

/* Instead of an id: it is not known. */
#define BGJOB_CANDIDATE_UNKNOWN (-2)

typedef struct BgjobCandidates BgjobCandidates;

extern BgjobCandidates *
bgjob_candidates_begin(const BgjobListFilter *filter, Snapshot snapshot);
extern void bgjob_candidates_seek(BgjobCandidates *candidates, int64 lowest, int64 highest);
extern int64 bgjob_candidates_highest(BgjobCandidates *candidates, int64 up_to);
extern int64 bgjob_candidates_next(BgjobCandidates *candidates);
extern void bgjob_candidates_end(BgjobCandidates *candidates);

#endif /* BGJOB_STORE_CANDIDATES_H */
