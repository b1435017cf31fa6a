/*-------------------------------------------------------------------------
 *
 * gatechange.c
 *	  Noting what the running transaction does at gates.
 *
 * The notes (base/gatenotes.c) are kept with those of everything else that a transaction changes (base/change.c). Where
 * there is no process to tell, nothing is noted.
 *
 * Any process, inside a transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/change.h"
#include "base/gatechange.h"

/*
 * bgjob_change_gate_passed notes that a job goes to the queue, and will need a place at a gate. "turn": its fairness key
 * has been given a turn, and been charged for it.
 */
void
bgjob_change_gate_passed(const BgjobGateNeed *need, bool turn)
{
	BgjobGateNotes *notes = bgjob_change_gates();

	if (notes == NULL || need->kind == BGJOB_GATE_SEQUENCE) /* that is known from its table */
		return;
	bgjob_gate_note(notes, need)->passed++;
	if (need->kind == BGJOB_GATE_FAIR && !turn)
		bgjob_gate_note_line(notes, need)->passed++;
}

/* bgjob_change_gate_passed_back notes that such a job has left the queue, and needs no place any more. */
void
bgjob_change_gate_passed_back(const BgjobGateNeed *need)
{
	BgjobGateNotes *notes = bgjob_change_gates();

	if (notes == NULL || need->kind == BGJOB_GATE_SEQUENCE)
		return;
	bgjob_gate_note(notes, need)->passed--;
	if (need->kind == BGJOB_GATE_FAIR)
		bgjob_gate_note_line(notes, need)->passed--;
}

/* bgjob_change_gate_filed notes that a job was put into the line of a gate. */
void
bgjob_change_gate_filed(const BgjobGateNeed *need)
{
	BgjobGateNotes *notes = bgjob_change_gates();

	if (notes == NULL)
		return;
	if (need->kind == BGJOB_GATE_FAIR)
		bgjob_gate_note_line(notes, need)->filed++;
	else
		bgjob_gate_note(notes, need)->filed++;
}

/* Returns the note of a line or gate of which nothing else need be known; NULL: nothing is noted. */
static BgjobGateNote *
plain_note(int64 gate)
{
	BgjobGateNeed need = {.kind = BGJOB_GATE_LIMIT, .gate = gate, .max_running = -1};
	BgjobGateNotes *notes = bgjob_change_gates();
	BgjobGateNote *note;

	if (notes == NULL)
		return NULL;
	note = bgjob_gate_noted(notes, gate);
	return note != NULL ? note : bgjob_gate_note(notes, &need);
}

/* bgjob_change_gate_took notes that a job was taken out of a line. */
void
bgjob_change_gate_took(int64 line)
{
	BgjobGateNote *note = plain_note(line);

	if (note != NULL)
		note->taken++;
}

/* bgjob_change_gate_placed notes that a row was inserted into a line at a place. */
void
bgjob_change_gate_placed(int64 line, int64 place)
{
	BgjobGateNote *note = plain_note(line);

	if (note != NULL)
		note->first_placed = Min(note->first_placed, place);
}

/* bgjob_change_gate_has_placed returns whether the running transaction has inserted a row into a line. */
bool
bgjob_change_gate_has_placed(int64 line)
{
	for (const BgjobGateNotes *notes = bgjob_change_gates_first(); notes != NULL;
		 notes = notes->outer)
	{
		const BgjobGateNote *note = bgjob_gate_noted(notes, line);

		if (note != NULL && note->first_placed != PG_INT64_MAX)
			return true;
	}
	return false;
}

/* bgjob_change_gate_displaced notes that the row at a place was deleted. */
void
bgjob_change_gate_displaced(int64 line, int64 place)
{
	BgjobGateNote *note = plain_note(line);

	if (note != NULL)
		note->first_taken = Min(note->first_taken, place);
}

/* bgjob_change_gate_ask has the scheduler look at a gate after the commit. */
void
bgjob_change_gate_ask(int64 gate)
{
	BgjobGateNote *note = plain_note(gate);

	if (note != NULL)
		note->ask = true;
}

/* bgjob_change_sequence_entered notes that a job stands in a sequence. */
void
bgjob_change_sequence_entered(int64 gate, int64 job)
{
	BgjobGateNotes *notes = bgjob_change_gates();

	if (notes != NULL)
		bgjob_sequence_note_entered(&notes->sequences, gate, job);
}

/* bgjob_change_sequence_left notes that it stands there no longer. */
void
bgjob_change_sequence_left(int64 gate, int64 job)
{
	BgjobGateNotes *notes = bgjob_change_gates();

	if (notes != NULL)
		bgjob_sequence_note_left(&notes->sequences, gate, job);
}

/* bgjob_change_gate_left notes that a sequence has lost a job. */
void
bgjob_change_gate_left(const BgjobGateNeed *need)
{
	BgjobGateNotes *notes = bgjob_change_gates();

	if (notes != NULL)
		bgjob_gate_note_left(notes, need);
}

/* bgjob_change_gate_take_left takes one of these sequences; all subtransactions have ended. */
bool
bgjob_change_gate_take_left(int64 *gate)
{
	BgjobGateNotes *notes = bgjob_change_gates_first();

	return notes != NULL && bgjob_gate_notes_take_left(notes, gate);
}

/* bgjob_change_gate_count returns how many jobs the running transaction has let through a gate. */
int
bgjob_change_gate_count(int64 gate)
{
	int passed = 0;

	for (const BgjobGateNotes *notes = bgjob_change_gates_first(); notes != NULL;
		 notes = notes->outer)
	{
		const BgjobGateNote *note = bgjob_gate_noted(notes, gate);

		passed += note == NULL ? 0 : note->passed;
	}
	return passed;
}
