/*-------------------------------------------------------------------------
 *
 * dependantnotes.h
 *	  What the running transaction changes about who awaits whom.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_DEPENDANTNOTES_H
#define BGJOB_BASE_DEPENDANTNOTES_H

#include "postgres.h"

/* Edges of a target that are inserted (by > 0) or deleted (by < 0). */
typedef struct BgjobEdgeNote
{
	int64 target;
	int64 by;
} BgjobEdgeNote;

/* A batch that has finished, or a signal: what awaits it has been looked for. */
typedef struct BgjobTargetNote
{
	int64 target;
	uint32 edges; /* that were found */
} BgjobTargetNote;

/* A review to ask for. */
typedef struct BgjobReviewNote
{
	int64 id;
	int64 first; /* not if the dependant watches a target that is not among the ids from here */
	int64 last;  /* to here; 0: in any case */
} BgjobReviewNote;

/* The notes of one subtransaction. All zero: none. */
typedef struct BgjobDependantNotes
{
	BgjobEdgeNote *edges;
	int nedges;
	int edges_room;
	bool shown;    /* the inserted ones have been counted, as the commit begins */
	bool reopened; /* a job that others await had ended, and goes on again */
	BgjobTargetNote *targets;
	int ntargets;
	int targets_room;
	BgjobReviewNote *reviews;
	int nreviews;
	int reviews_room;
	int64 *batches; /* that may have finished, still to be settled */
	int nbatches;
	int batches_room;
	int64 *cycles; /* jobs that are to be searched for cycles at the commit */
	int ncycles;
	int cycles_room;
} BgjobDependantNotes;

extern void bgjob_dependant_note_edge(BgjobDependantNotes *notes, int64 target, int by);
extern void bgjob_dependant_note_target(BgjobDependantNotes *notes, int64 target, uint32 edges);
extern void
bgjob_dependant_note_ended(BgjobDependantNotes *notes, int64 id, int64 first, int64 last);
extern void bgjob_dependant_note_review(BgjobDependantNotes *notes, int64 id);
extern void bgjob_dependant_note_cycle(BgjobDependantNotes *notes, int64 job);
extern void bgjob_dependant_note_batch(BgjobDependantNotes *notes, int64 batch);
extern void bgjob_dependant_notes_merge(BgjobDependantNotes *inner, BgjobDependantNotes *outer);
extern void bgjob_dependant_notes_free(BgjobDependantNotes *notes);
extern void bgjob_dependant_notes_show(BgjobDependantNotes *notes);
extern void bgjob_dependant_notes_commit(const BgjobDependantNotes *notes);
extern void bgjob_dependant_notes_abort(const BgjobDependantNotes *notes);

#endif /* BGJOB_BASE_DEPENDANTNOTES_H */
