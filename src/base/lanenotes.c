/*-------------------------------------------------------------------------
 *
 * lanenotes.c
 *	  What a transaction has put into lanes, and taken out of them.
 *
 * base/change.c keeps these notes for each subtransaction. When the transaction
 * commits, the rows that it has inserted are announced, lane by lane; when it, or a
 * subtransaction, is rolled back, the rows that it had taken out are announced
 * again, since a worker may have skipped them meanwhile.
 *
 * Each lane is noted by itself, up to MANY_LANES of them; rows of further ones are
 * noted by their groups alone. Of the rows taken out of a lane, the first few are
 * noted individually.
 *
 * The backend that runs the transaction. The notes are in TopTransactionContext.
 * The functions that run at the end of the transaction do not throw.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/lanenotes.h"
#include "base/lanes.h"
#include "base/wake.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/* Number of lanes of a transaction up to which they are searched without a hash table. */
#define FEW_LANES 16

/* Number of lanes that are noted individually; of more, only the fact is noted. */
#define MANY_LANES 1024

/* A lane that has been noted. */
typedef struct NotedLane
{
	BgjobLaneKey key; /* must be first */
	BgjobReadyNote *note;
} NotedLane;

/* Enters a note into a table of the lanes of these notes. */
static void
enter_lane(BgjobLaneNotes *notes, BgjobReadyNote *note)
{
	NotedLane *lane = hash_search(notes->lanes, &note->key, HASH_ENTER, NULL);

	lane->note = note;
}

/* Builds a hash table of the lanes, so that finding one of many does not scan them all. */
static void
index_lanes(BgjobLaneNotes *notes)
{
	HASHCTL info = {.keysize = sizeof(BgjobLaneKey),
					.entrysize = sizeof(NotedLane),
					.hcxt = TopTransactionContext};

	notes->lanes = hash_create("bgjob lanes of a transaction", 4 * FEW_LANES, &info,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (BgjobReadyNote *note = notes->ready; note != NULL; note = note->next)
		enter_lane(notes, note);
}

/* Finds the note of a lane, NULL if there is none. */
static BgjobReadyNote *
find_ready(BgjobLaneNotes *notes, const BgjobLaneKey *key)
{
	if (notes->lanes != NULL)
	{
		NotedLane *lane = hash_search(notes->lanes, key, HASH_FIND, NULL);

		return lane == NULL ? NULL : lane->note;
	}
	for (BgjobReadyNote *note = notes->ready; note != NULL; note = note->next)
		if (memcmp(&note->key, key, sizeof(*key)) == 0)
			return note;
	return NULL;
}

/* bgjob_lane_notes_ready notes that rows of a lane were inserted, the lowest of them "first". */
void
bgjob_lane_notes_ready(BgjobLaneNotes *notes, const BgjobLaneKey *key,
					   const BgjobLaneItem *first, int64 count)
{
	BgjobReadyNote *note = find_ready(notes, key);
	BgjobLaneKey any = {.group = key->group};

	if (note == NULL && notes->nready >= MANY_LANES)
	{
		key = &any;
		note = find_ready(notes, key);
	}
	if (note == NULL)
	{
		note = MemoryContextAlloc(TopTransactionContext, sizeof(BgjobReadyNote));
		note->key = *key;
		note->first = *first;
		note->count = 0;
		note->next = notes->ready;
		notes->ready = note;
		notes->nready++;
		if (notes->lanes != NULL)
			enter_lane(notes, note);
		else if (notes->nready > FEW_LANES)
			index_lanes(notes);
	}
	if (first->pos < note->first.pos)
		note->first = *first;
	note->count += count;
}

/* Orders by priority, higher first, then by position. */
static int
compare_ready(const void *left, const void *right)
{
	const BgjobReadyNote *a = *(BgjobReadyNote *const *) left;
	const BgjobReadyNote *b = *(BgjobReadyNote *const *) right;

	if (a->key.priority != b->key.priority)
		return a->key.priority > b->key.priority ? -1 : 1;
	return a->first.pos < b->first.pos ? -1 : a->first.pos > b->first.pos;
}

/* Puts the notes of lanes into the order in which they are announced. */
static void
sort_ready(BgjobLaneNotes *notes)
{
	BgjobReadyNote **sorted;
	int n = 0;

	if (notes->nready < 2)
		return;
	sorted =
		MemoryContextAlloc(TopTransactionContext, notes->nready * sizeof(BgjobReadyNote *));
	for (BgjobReadyNote *note = notes->ready; note != NULL; note = note->next)
		sorted[n++] = note;
	qsort(sorted, n, sizeof(BgjobReadyNote *), compare_ready);
	notes->ready = NULL;
	while (n > 0)
	{
		sorted[--n]->next = notes->ready;
		notes->ready = sorted[n];
	}
	pfree(sorted);
}

/* Returns the note of the rows taken out of a lane, new if there was none; NULL: there are too many. */
static BgjobTakenNote *
find_taken(BgjobLaneNotes *notes, const BgjobLaneKey *key)
{
	BgjobTakenNote *note;

	for (note = notes->taken; note != NULL; note = note->next)
		if (memcmp(&note->key, key, sizeof(*key)) == 0)
			return note;
	if (notes->ntaken == FEW_LANES)
	{
		notes->took_more = true;
		return NULL;
	}
	note = MemoryContextAlloc(TopTransactionContext, sizeof(BgjobTakenNote));
	note->key = *key;
	note->count = 0;
	note->lowest = PG_INT64_MAX;
	note->next = notes->taken;
	notes->taken = note;
	notes->ntaken++;
	return note;
}

static void
merge_taken(const BgjobTakenNote *inner, BgjobLaneNotes *outer)
{
	BgjobTakenNote *note = find_taken(outer, &inner->key);

	if (note == NULL)
		return;
	for (int i = 0;
		 i < Min(inner->count, BGJOB_ANNOUNCE_FEW) && note->count + i < BGJOB_ANNOUNCE_FEW; i++)
		note->items[note->count + i] = inner->items[i];
	note->count += inner->count;
	note->lowest = Min(note->lowest, inner->lowest);
}

/* bgjob_lane_notes_taken notes that a row was taken out of a lane. */
void
bgjob_lane_notes_taken(BgjobLaneNotes *notes, const BgjobLaneKey *key,
					   const BgjobLaneItem *item)
{
	BgjobTakenNote *note = find_taken(notes, key);

	if (note == NULL)
		return;
	if (note->count < BGJOB_ANNOUNCE_FEW)
		note->items[note->count] = *item;
	note->count++;
	note->lowest = Min(note->lowest, item->pos);
}

/* bgjob_lane_notes_merge adds the notes of a committed subtransaction to those of its parent, and frees them. */
void
bgjob_lane_notes_merge(BgjobLaneNotes *inner, BgjobLaneNotes *outer)
{
	for (const BgjobReadyNote *note = inner->ready; note != NULL; note = note->next)
		bgjob_lane_notes_ready(outer, &note->key, &note->first, note->count);
	for (const BgjobTakenNote *note = inner->taken; note != NULL; note = note->next)
		merge_taken(note, outer);
	outer->took_more |= inner->took_more;
	bgjob_lane_notes_free(inner);
}

/* bgjob_lane_notes_free frees the notes of a subtransaction. */
void
bgjob_lane_notes_free(BgjobLaneNotes *notes)
{
	if (notes->lanes != NULL)
		hash_destroy(notes->lanes);
	for (BgjobReadyNote *note = notes->ready, *next; note != NULL; note = next)
	{
		next = note->next;
		pfree(note);
	}
	for (BgjobTakenNote *note = notes->taken, *next; note != NULL; note = next)
	{
		next = note->next;
		pfree(note);
	}
}

/* bgjob_lane_notes_prewake pre-wakes workers for the jobs that are about to be committed. May throw. */
void
bgjob_lane_notes_prewake(BgjobLaneNotes *notes)
{
	int n = 0;

	sort_ready(notes);
	for (const BgjobReadyNote *note = notes->ready; note != NULL && n < FEW_LANES;
		 note = note->next, n++)
	{
		BgjobServerSet servers;

		if (note->key.group.kind == BGJOB_LANE_EXTERNAL)
			continue;
		bgjob_servers_taking(note->key.group.database, note->key.queue, &servers);
		bgjob_prewake_worker(note->key.group.database, note->key.group.role, &servers);
	}
}

/* bgjob_lane_notes_commit announces all inserted rows, before any worker is woken: the first job may be in the last lane. */
void
bgjob_lane_notes_commit(const BgjobLaneNotes *notes)
{
	for (BgjobReadyNote *note = notes->ready; note != NULL; note = note->next)
	{
		note->workers = note->count;
		if (note->key.queue[0] != '\0')
			note->workers = bgjob_lane_announce(&note->key, &note->first, note->count);
		else
			bgjob_lane_announce_all(&note->key.group);
	}
	for (const BgjobReadyNote *note = notes->ready; note != NULL; note = note->next)
		bgjob_wake_for(&note->key, note->workers);
}

/* bgjob_lane_notes_abort announces again the rows that were taken out. */
void
bgjob_lane_notes_abort(const BgjobLaneNotes *notes)
{
	for (const BgjobTakenNote *note = notes->taken; note != NULL; note = note->next)
		bgjob_announce_again(&note->key, note->items, note->count, note->lowest);
	if (notes->took_more)
		bgjob_notify_scheduler(MyDatabaseId, BGJOB_NOTICE_RESCAN);
}
