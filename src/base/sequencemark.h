/*-------------------------------------------------------------------------
 *
 * sequencemark.h
 *	  From where on the sequences have jobs, in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_SEQUENCEMARK_H
#define BGJOB_BASE_SEQUENCEMARK_H

#include "postgres.h"

/* A low-water mark as it was read. */
typedef struct BgjobSequenceMark
{
	int64
		job; /* no job with a lower id stands in the sequence; PG_INT64_MIN: nothing is known */
	uint64 moment; /* of the gate's entry */
	uint64 epoch;  /* of the database; 0: there are no marks */
} BgjobSequenceMark;

/* The jobs of one sequence that a transaction has entered there, or had leave it. */
typedef struct BgjobSequenceNote
{
	int64 gate;
	int64 entered; /* the lowest id; PG_INT64_MAX: none */
	int64 left;
} BgjobSequenceNote;

/* The notes of one subtransaction, in TopTransactionContext. */
typedef struct BgjobSequenceNotes
{
	BgjobSequenceNote *notes; /* NULL: there are none */
	int n;
	bool many; /* too many sequences to list */
} BgjobSequenceNotes;

extern BgjobSequenceMark bgjob_sequence_mark(int64 gate);
extern void bgjob_sequence_mark_advance(int64 gate, const BgjobSequenceMark *read, int64 first);
extern void bgjob_sequence_marks_renew(void);

extern void bgjob_sequence_note_entered(BgjobSequenceNotes *notes, int64 gate, int64 job);
extern void bgjob_sequence_note_left(BgjobSequenceNotes *notes, int64 gate, int64 job);
extern void bgjob_sequence_notes_merge(BgjobSequenceNotes *inner, BgjobSequenceNotes *outer);
extern void bgjob_sequence_notes_free(BgjobSequenceNotes *notes);
extern void bgjob_sequence_notes_commit(const BgjobSequenceNotes *notes);
extern void bgjob_sequence_notes_abort(const BgjobSequenceNotes *notes);
extern void bgjob_sequence_notes_prepare(const BgjobSequenceNotes *notes);

#endif /* BGJOB_BASE_SEQUENCEMARK_H */
