/*-------------------------------------------------------------------------
 *
 * gatenotes.c
 *	  What a transaction has done at gates.
 *
 * base/change.c keeps these notes for each subtransaction. When the transaction commits,
 * the gates are told (base/gate.c). When it is rolled back, nothing has happened. A transaction
 * that lets many jobs through also reads here how many it has let through before.
 *
 * The backend that runs the transaction. The notes are in TopTransactionContext.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/fair.h"
#include "base/gateasks.h"
#include "base/gatemark.h"
#include "base/gatenotes.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/* Finds or adds the note of a gate, or of the line of a fairness key. */
static BgjobGateNote *
note_of(BgjobGateNotes *notes, int64 gate, const BgjobGateNeed *need)
{
	BgjobGateNote *note;
	bool found;

	if (notes->gates == NULL)
	{
		HASHCTL info = {.keysize = sizeof(int64),
						.entrysize = sizeof(BgjobGateNote),
						.hcxt = TopTransactionContext};

		notes->gates = hash_create("bgjob gates of a transaction", 16, &info,
								   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	note = hash_search(notes->gates, &gate, HASH_ENTER, &found);
	if (!found)
	{
		note->passed = note->filed = note->taken = 0;
		note->ask = note->left = false;
		note->first_placed = note->first_taken = PG_INT64_MAX;
		note->next_left = NULL;
	}
	note->need = *need;
	note->need.name = NULL;
	return note;
}

/* bgjob_gate_note finds or adds the note of a gate. */
BgjobGateNote *
bgjob_gate_note(BgjobGateNotes *notes, const BgjobGateNeed *need)
{
	return note_of(notes, need->gate, need);
}

/* bgjob_gate_note_line finds or adds the note of the line of a fairness key. */
BgjobGateNote *
bgjob_gate_note_line(BgjobGateNotes *notes, const BgjobGateNeed *need)
{
	return note_of(notes, need->line, need);
}

/* bgjob_gate_noted returns the note of a gate; NULL: there is none. */
BgjobGateNote *
bgjob_gate_noted(const BgjobGateNotes *notes, int64 gate)
{
	return notes->gates == NULL ? NULL : hash_search(notes->gates, &gate, HASH_FIND, NULL);
}

/* bgjob_gate_note_left notes that a sequence has lost a job. */
void
bgjob_gate_note_left(BgjobGateNotes *notes, const BgjobGateNeed *need)
{
	BgjobGateNote *note = bgjob_gate_note(notes, need);

	if (note->next_left != NULL || notes->left == note)
		return;
	note->left = true;
	note->next_left = notes->left;
	notes->left = note;
}

/* bgjob_gate_notes_take_left takes one of the sequences whose line is still to be looked at. */
bool
bgjob_gate_notes_take_left(BgjobGateNotes *notes, int64 *gate)
{
	BgjobGateNote *note = notes->left;

	if (note == NULL)
		return false;
	notes->left = note->next_left;
	note->next_left = NULL;
	*gate = note->gate;
	return true;
}

/* Returns whether nothing but a name is known of a gate. */
static bool
is_plain(const BgjobGateNeed *need)
{
	return need->kind == BGJOB_GATE_LIMIT && need->max_running < 0 &&
		   need->rate.algorithm == BGJOB_RATE_NONE;
}

/* bgjob_gate_notes_merge adds the notes of a committed subtransaction to those of its parent, and frees them. */
void
bgjob_gate_notes_merge(BgjobGateNotes *inner, BgjobGateNotes *outer)
{
	HASH_SEQ_STATUS all;
	const BgjobGateNote *from;

	bgjob_sequence_notes_merge(&inner->sequences, &outer->sequences);
	if (inner->gates == NULL)
		return;
	if (outer->gates == NULL)
	{
		outer->gates = inner->gates;
		outer->left = inner->left;
		inner->gates = NULL;
		return;
	}
	hash_seq_init(&all, inner->gates);
	while ((from = hash_seq_search(&all)) != NULL)
	{
		BgjobGateNote *to = bgjob_gate_noted(outer, from->gate);

		if (to == NULL || !is_plain(&from->need))
			to = note_of(outer, from->gate, &from->need);
		to->passed += from->passed;
		to->filed += from->filed;
		to->taken += from->taken;
		to->ask |= from->ask;
		to->first_placed = Min(to->first_placed, from->first_placed);
		to->first_taken = Min(to->first_taken, from->first_taken);
		if (from->left)
			bgjob_gate_note_left(outer, &from->need);
	}
	bgjob_gate_notes_free(inner);
}

/* bgjob_gate_notes_free frees the notes of a subtransaction. */
void
bgjob_gate_notes_free(BgjobGateNotes *notes)
{
	if (notes->gates != NULL)
		hash_destroy(notes->gates);
	notes->gates = NULL;
	bgjob_sequence_notes_free(&notes->sequences);
}

/*
 * bgjob_gate_notes_abort tells that rows stand in their lines again, when a transaction, or one within it, has
 * been rolled back. From the callback: does not throw.
 */
void
bgjob_gate_notes_abort(const BgjobGateNotes *notes)
{
	HASH_SEQ_STATUS all;
	const BgjobGateNote *note;

	bgjob_sequence_notes_abort(&notes->sequences);
	if (notes->gates == NULL)
		return;
	hash_seq_init(&all, notes->gates);
	while ((note = hash_seq_search(&all)) != NULL)
		if (note->first_taken != PG_INT64_MAX)
			bgjob_gate_mark_lower(note->gate, note->first_taken);
}

/* Tells a lane of fairness keys what has become of one key. */
static void
tell_line(const BgjobGateNote *note)
{
	const BgjobGateNeed *need = &note->need;
	BgjobFairTurn turn = {.line = need->line};

	for (int i = 0; i < note->passed; i++)
		bgjob_fair_started(MyDatabaseId, need->gate, need->line, need->weight);
	for (int i = 0; i > note->passed; i--)
		bgjob_fair_back(MyDatabaseId, need->gate, &turn, BGJOB_FAIR_GONE);
	if (note->filed > 0)
		(void) bgjob_fair_filed(MyDatabaseId, need->gate, need->line, need->weight,
								note->filed);
	if (note->taken > 0)
		bgjob_fair_taken(MyDatabaseId, need->gate, need->line, note->taken);
	if (note->filed > 0 && bgjob_gate_room(need, 0, NULL) > 0)
		bgjob_gate_ask(MyDatabaseId, need->gate);
}

/* bgjob_gate_notes_commit tells the gates. From the commit callback: does not throw. */
void
bgjob_gate_notes_commit(const BgjobGateNotes *notes)
{
	HASH_SEQ_STATUS all;
	const BgjobGateNote *note;

	bgjob_sequence_notes_commit(&notes->sequences); /* before anybody is asked to look */
	if (notes->gates == NULL)
		return;
	hash_seq_init(&all, notes->gates);
	while ((note = hash_seq_search(&all)) != NULL)
	{
		if (note->first_placed != PG_INT64_MAX) /* before anybody is asked to look */
			bgjob_gate_mark_lower(note->gate, note->first_placed);
		if (note->need.kind == BGJOB_GATE_FAIR && note->gate == note->need.line)
			tell_line(note);
		else if (note->passed != 0 || note->filed + note->taken > 0)
			bgjob_gate_changed(&note->need, note->passed, note->filed, note->taken);
		/* Who holds a place looks when it gives the place back. */
		if (note->ask || (note->left && !bgjob_gate_is_own(note->gate)))
			bgjob_gate_ask(MyDatabaseId, note->gate);
	}
}

/* bgjob_gate_notes_prepare: the transaction is being prepared, and these notes will be forgotten. */
void
bgjob_gate_notes_prepare(const BgjobGateNotes *notes)
{
	bgjob_sequence_notes_prepare(&notes->sequences);
}
