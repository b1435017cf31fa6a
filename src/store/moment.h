/*-------------------------------------------------------------------------
 *
 * moment.h
 *	  A snapshot of the jobs, and the moves that it shows.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_MOMENT_H
#define BGJOB_STORE_MOMENT_H

#include "postgres.h"

#include "base/tally.h"
#include "store/relation.h"

typedef struct BgjobMoment
{
	Snapshot snapshot; /* registered */
	bool exact;    /* the moves are those of the transactions that it shows, and of no others */
	uint32 doubts; /* entry->doubts before */
	int64 moves[BGJOB_NSTATES];
	BgjobTallyMoves *tallies;
	int ntallies;
	int room;
} BgjobMoment;

extern void bgjob_moment_take(BgjobMoment *moment, BgjobRel *rel, BgjobDatabase *entry);

#endif /* BGJOB_STORE_MOMENT_H */
