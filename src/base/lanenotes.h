/*-------------------------------------------------------------------------
 *
 * lanenotes.h
 *	  What a transaction has put into lanes, and taken out of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_LANENOTES_H
#define BGJOB_BASE_LANENOTES_H

#include "postgres.h"

#include "base/announce.h"
#include "utils/hsearch.h"

/* Rows of a lane that have been inserted. */
typedef struct BgjobReadyNote
{
	struct BgjobReadyNote *next;
	BgjobLaneKey key;    /* without a queue: any lanes of its group */
	BgjobLaneItem first; /* the lowest */
	int64 count;
	int64 workers; /* so many are woken; set when the rows are announced */
} BgjobReadyNote;

/* Rows that were taken out of a lane, which a rollback makes ready again. */
typedef struct BgjobTakenNote
{
	struct BgjobTakenNote *next;
	BgjobLaneKey key;
	int64 count;
	int64 lowest;
	BgjobLaneItem items[BGJOB_ANNOUNCE_FEW]; /* the first of them */
} BgjobTakenNote;

/* The notes of one subtransaction. All zero: none. */
typedef struct BgjobLaneNotes
{
	BgjobReadyNote *ready; /* in order from the beginning of the commit on */
	int nready;
	HTAB *lanes; /* the same by their lanes, where there are many; else NULL */
	BgjobTakenNote *taken;
	int ntaken;
	bool took_more; /* rows of more lanes than are noted */
} BgjobLaneNotes;

extern void bgjob_lane_notes_ready(BgjobLaneNotes *notes, const BgjobLaneKey *key,
								   const BgjobLaneItem *first, int64 count);
extern void bgjob_lane_notes_taken(BgjobLaneNotes *notes, const BgjobLaneKey *key,
								   const BgjobLaneItem *item);
extern void bgjob_lane_notes_merge(BgjobLaneNotes *inner, BgjobLaneNotes *outer);
extern void bgjob_lane_notes_free(BgjobLaneNotes *notes);
extern void bgjob_lane_notes_prewake(BgjobLaneNotes *notes);
extern void bgjob_lane_notes_commit(const BgjobLaneNotes *notes);
extern void bgjob_lane_notes_abort(const BgjobLaneNotes *notes);

#endif /* BGJOB_BASE_LANENOTES_H */
