/*-------------------------------------------------------------------------
 *
 * dependantnotes.c
 *	  What the running transaction changes about who awaits whom.
 *
 * Part of the notes of a transaction (base/change.c), which has them for each
 * subtransaction. The edges that it inserts are counted (base/dependants.h) when its
 * commit begins; those that it deletes are taken off afterwards. The reviews
 * that it asks for are asked after its commit, when the scheduler can see what it did.
 *
 * Any process, inside a transaction; what runs after its end does not throw.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/dependantnotes.h"
#include "base/dependants.h"
#include "base/reviews.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#define FIRST_ROOM 8

/* Makes room for one more element of an array in the memory of the transaction. */
static void *
make_room(void *array, int n, int *room, Size element)
{
	if (n < *room)
		return array;
	*room = Max(FIRST_ROOM, *room * 2);
	if (array == NULL)
		return MemoryContextAlloc(TopTransactionContext, *room * element);
	return repalloc_huge(array, *room * element);
}

static void
add_edges(BgjobDependantNotes *notes, int64 target, int64 by)
{
	BgjobEdgeNote *last = notes->nedges > 0 ? &notes->edges[notes->nedges - 1] : NULL;

	if (last != NULL && last->target == target && (last->by > 0) == (by > 0))
	{
		last->by += by;
		return;
	}
	notes->edges =
		make_room(notes->edges, notes->nedges, &notes->edges_room, sizeof(BgjobEdgeNote));
	notes->edges[notes->nedges++] = (BgjobEdgeNote){target, by};
}

/*
 * bgjob_dependant_note_edge notes edges of a target that are inserted (by > 0) or deleted
 * (by < 0). One that may not have been counted is not taken off.
 */
void
bgjob_dependant_note_edge(BgjobDependantNotes *notes, int64 target, int by)
{
	if (by > 0 || bgjob_dependants_known())
		add_edges(notes, target, by);
}

/* bgjob_dependant_note_target notes that a batch has ended, or that a signal was sent, and that it has so many edges. */
void
bgjob_dependant_note_target(BgjobDependantNotes *notes, int64 target, uint32 edges)
{
	notes->targets = make_room(notes->targets, notes->ntargets, &notes->targets_room,
							   sizeof(BgjobTargetNote));
	notes->targets[notes->ntargets++] = (BgjobTargetNote){target, edges};
}

/*
 * bgjob_dependant_note_ended asks for a review of a job or batch after the commit, unless it
 * watches a target whose id is not one from "first" to "last" (base/reviews.h): these have ended.
 */
void
bgjob_dependant_note_ended(BgjobDependantNotes *notes, int64 id, int64 first, int64 last)
{
	BgjobReviewNote note = {id, first, last};

	if (notes->nreviews > 0 &&
		memcmp(&notes->reviews[notes->nreviews - 1], &note, sizeof(note)) == 0)
		return;
	notes->reviews = make_room(notes->reviews, notes->nreviews, &notes->reviews_room,
							   sizeof(BgjobReviewNote));
	notes->reviews[notes->nreviews++] = note;
}

/* bgjob_dependant_note_review asks for a review of a job, batch or target after the commit. */
void
bgjob_dependant_note_review(BgjobDependantNotes *notes, int64 id)
{
	bgjob_dependant_note_ended(notes, id, 0, 0);
}

/* bgjob_dependant_note_batch notes that a batch may have finished, to be settled before the commit. */
void
bgjob_dependant_note_batch(BgjobDependantNotes *notes, int64 batch)
{
	for (int i = 0; i < Min(notes->nbatches, FIRST_ROOM); i++)
		if (notes->batches[notes->nbatches - 1 - i] == batch)
			return;
	notes->batches =
		make_room(notes->batches, notes->nbatches, &notes->batches_room, sizeof(int64));
	notes->batches[notes->nbatches++] = batch;
}

/* bgjob_dependant_note_cycle notes that a job is to be searched for cycles when the transaction commits (store/cycle.h). */
void
bgjob_dependant_note_cycle(BgjobDependantNotes *notes, int64 job)
{
	notes->cycles =
		make_room(notes->cycles, notes->ncycles, &notes->cycles_room, sizeof(int64));
	notes->cycles[notes->ncycles++] = job;
}

/* bgjob_dependant_notes_merge adds the notes of a committed subtransaction to those of its parent. */
void
bgjob_dependant_notes_merge(BgjobDependantNotes *inner, BgjobDependantNotes *outer)
{
	for (int i = 0; i < inner->nedges; i++)
		add_edges(outer, inner->edges[i].target, inner->edges[i].by);
	for (int i = 0; i < inner->ntargets; i++)
		bgjob_dependant_note_target(outer, inner->targets[i].target, inner->targets[i].edges);
	for (int i = 0; i < inner->nreviews; i++)
		bgjob_dependant_note_ended(outer, inner->reviews[i].id, inner->reviews[i].first,
								   inner->reviews[i].last);
	for (int i = 0; i < inner->nbatches; i++)
		bgjob_dependant_note_batch(outer, inner->batches[i]);
	for (int i = 0; i < inner->ncycles; i++)
		bgjob_dependant_note_cycle(outer, inner->cycles[i]);
	outer->reopened |= inner->reopened;
	bgjob_dependant_notes_free(inner);
}

/* bgjob_dependant_notes_free frees the notes of a subtransaction. */
void
bgjob_dependant_notes_free(BgjobDependantNotes *notes)
{
	if (notes->edges != NULL)
		pfree(notes->edges);
	if (notes->targets != NULL)
		pfree(notes->targets);
	if (notes->reviews != NULL)
		pfree(notes->reviews);
	if (notes->batches != NULL)
		pfree(notes->batches);
	if (notes->cycles != NULL)
		pfree(notes->cycles);
	memset(notes, 0, sizeof(*notes));
}

/* bgjob_dependant_notes_show counts the inserted edges: the transaction is about to commit. */
void
bgjob_dependant_notes_show(BgjobDependantNotes *notes)
{
	if (notes->shown || notes->nedges == 0 || !bgjob_dependants_counted())
		return; /* in the last case the scheduler will count them */
	for (int i = 0; i < notes->nedges; i++)
		if (notes->edges[i].by > 0)
			bgjob_dependants_add(notes->edges[i].target, notes->edges[i].by);
	notes->shown = true;
}

/* Takes the edges off that were inserted and counted (sign 1), or deleted (-1). */
static void
take_off(const BgjobDependantNotes *notes, int sign)
{
	for (int i = 0; i < notes->nedges; i++)
		if (notes->edges[i].by * sign > 0)
			bgjob_dependants_remove(notes->edges[i].target, notes->edges[i].by * sign);
}

/* bgjob_dependant_notes_commit takes the deleted edges off, and asks for reviews. */
void
bgjob_dependant_notes_commit(const BgjobDependantNotes *notes)
{
	take_off(notes, -1);
	if (notes->reopened)
		bgjob_review_reopened(MyDatabaseId);
	for (int i = 0; i < notes->ntargets; i++)
	{
		uint32 edges = bgjob_dependants_count(notes->targets[i].target);

		if (edges > notes->targets[i].edges && edges != BGJOB_DEPENDANTS_UNKNOWN)
			bgjob_review_ask(MyDatabaseId, notes->targets[i].target);
	}
	for (int i = 0; i < notes->nreviews; i++)
	{
		const BgjobReviewNote *note = &notes->reviews[i];

		if (note->last == 0 || bgjob_review_is_due(note->id, note->first, note->last))
			bgjob_review_ask(MyDatabaseId, note->id);
	}
}

/* bgjob_dependant_notes_abort takes the inserted edges off, if they have been counted. */
void
bgjob_dependant_notes_abort(const BgjobDependantNotes *notes)
{
	if (notes->shown)
		take_off(notes, 1);
}
