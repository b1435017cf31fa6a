/*-------------------------------------------------------------------------
 *
 * gatenotes.h
 *	  What a transaction has done at gates.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_GATENOTES_H
#define BGJOB_BASE_GATENOTES_H

#include "postgres.h"

#include "base/gate.h"
#include "base/sequencemark.h"
#include "utils/hsearch.h"

typedef struct BgjobGateNote
{
	int64 gate; /* must be first; or the line of a fairness key */
	BgjobGateNeed need;
	/* jobs that go to the queue, and will need a place, less those that left it; of a fairness key, without having waited */
	int passed;
	int filed;          /* that were put into the line */
	int taken;          /* that were taken out of it */
	int64 first_placed; /* the best place at which a row was inserted; PG_INT64_MAX: none was */
	int64 first_taken;  /* at which one was deleted */
	bool ask;           /* the scheduler is to look at the line after the commit */
	bool left;          /* a sequence has lost a job */
	struct BgjobGateNote
		*next_left; /* whose line is still to be looked at in this transaction */
} BgjobGateNote;

/* The notes of one subtransaction, in TopTransactionContext; NULL: there are none. */
typedef struct BgjobGateNotes
{
	const struct BgjobGateNotes *outer; /* of the transaction around this one */
	HTAB *gates;
	BgjobGateNote *left;
	BgjobSequenceNotes sequences;
} BgjobGateNotes;

extern BgjobGateNote *bgjob_gate_note(BgjobGateNotes *notes, const BgjobGateNeed *need);
extern BgjobGateNote *bgjob_gate_noted(const BgjobGateNotes *notes, int64 gate);
extern BgjobGateNote *bgjob_gate_note_line(BgjobGateNotes *notes, const BgjobGateNeed *need);
extern void bgjob_gate_note_left(BgjobGateNotes *notes, const BgjobGateNeed *need);
extern bool bgjob_gate_notes_take_left(BgjobGateNotes *notes, int64 *gate);
extern void bgjob_gate_notes_merge(BgjobGateNotes *inner, BgjobGateNotes *outer);
extern void bgjob_gate_notes_free(BgjobGateNotes *notes);
extern void bgjob_gate_notes_abort(const BgjobGateNotes *notes);
extern void bgjob_gate_notes_commit(const BgjobGateNotes *notes);
extern void bgjob_gate_notes_prepare(const BgjobGateNotes *notes);

#endif /* BGJOB_BASE_GATENOTES_H */
