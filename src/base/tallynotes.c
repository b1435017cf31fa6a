/*-------------------------------------------------------------------------
 *
 * tallynotes.c
 *	  What the running transaction moves, by role and queue.
 *
 * Part of the notes of a transaction (base/change.c), which has them for each
 * subtransaction. When it has committed, they are added to the tallies (base/tally.c) and to
 * the statistics of queues (base/queuestats.c).
 *
 * Most transactions move the jobs of one role in one queue, and so did the one
 * before. That costs a comparison of names when a move is noted, and one atomic
 * addition at commit: no lock, no look-up, no allocation. A process remembers the
 * roles and queues that it has met ("refs"), and where their tallies are. A ref
 * also says which notes of the running subtransaction and its parent are its own, so a
 * transaction with ten thousand queues costs no more for each.
 *
 * Any process, inside a transaction; the addition after its commit does not throw.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/tallynotes.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

/* More refs than this are forgotten between two transactions. */
#define MOST_REFS 1024

/* How many notes there is room for at first, where one does not suffice. */
#define FIRST_ROOM 8

typedef struct RefKey
{
	Oid role;
	char queue[BGJOB_QUEUE_NAME_SIZE]; /* zero-filled */
} RefKey;

/* Where a note is. */
typedef struct NotePlace
{
	uint64 serial; /* of the notes; 0: nowhere */
	int index;
} NotePlace;

typedef struct BgjobTallyRef
{
	RefKey key;        /* must be first */
	BgjobTally *tally; /* NULL: not looked for yet, or there was no room */
	uint64 generation; /* of the tally, when it was found */
	NotePlace latest;  /* its note that was used last */
	NotePlace before;  /* the one before: mostly that of the parent */
	BgjobQueueStatsRef stats;
} BgjobTallyRef;

static HTAB *refs = NULL;
static BgjobTallyRef *last = NULL;
static uint64 last_serial = 0;

/* bgjob_tally_refs_trim forgets the refs if there are very many. No notes may be there. */
void
bgjob_tally_refs_trim(void)
{
	if (refs == NULL || hash_get_num_entries(refs) <= MOST_REFS)
		return;
	hash_destroy(refs);
	refs = NULL;
	last = NULL;
}

/*
 * bgjob_tally_ref returns the ref of a role and a queue, which may be new. It stays there as
 * long as there are any notes.
 */
BgjobTallyRef *
bgjob_tally_ref(Oid role, const char *queue)
{
	HASHCTL info = {.keysize = sizeof(RefKey), .entrysize = sizeof(BgjobTallyRef)};
	RefKey key;
	bool found;

	if (last != NULL && last->key.role == role && strcmp(last->key.queue, queue) == 0)
		return last;
	if (refs == NULL)
		refs = hash_create("bgjob tally refs", 16, &info, HASH_ELEM | HASH_BLOBS);
	memset(&key, 0, sizeof(key));
	key.role = role;
	strlcpy(key.queue, queue, sizeof(key.queue));
	last = hash_search(refs, &key, HASH_ENTER, &found);
	if (!found)
	{
		last->tally = NULL;
		last->generation = 0;
		last->latest.serial = last->before.serial = 0;
		last->stats.entry = -1;
	}
	return last;
}

/* Makes room for one more note. */
static void
make_room(BgjobTallyNotes *notes)
{
	int room = notes->room * 2;

	if (notes->n < notes->room)
		return;
	if (notes->room == 0)
	{
		notes->serial = ++last_serial;
		notes->items = &notes->first;
		notes->room = 1;
		return;
	}
	room = Max(room, FIRST_ROOM);
	if (notes->items == &notes->first)
	{
		notes->items = MemoryContextAlloc(TopTransactionContext, room * sizeof(BgjobTallyNote));
		notes->items[0] = notes->first;
	}
	else
		notes->items = repalloc_huge(notes->items, room * sizeof(BgjobTallyNote));
	notes->room = room;
}

/*
 * Returns the note of a ref, which may be new. Where subtransactions are nested or
 * roll back, a ref may get a second note in the same notes, which does no harm.
 */
static BgjobTallyNote *
note_of(BgjobTallyNotes *notes, BgjobTallyRef *ref)
{
	if (notes->n > 0 && ref->latest.serial == notes->serial)
		return &notes->items[ref->latest.index];
	if (notes->n > 0 && ref->before.serial == notes->serial)
	{
		ref->latest = ref->before;
		return &notes->items[ref->latest.index];
	}
	make_room(notes);
	notes->items[notes->n] = (BgjobTallyNote){.ref = ref};
	ref->before = ref->latest;
	ref->latest = (NotePlace){notes->serial, notes->n++};
	return &notes->items[ref->latest.index];
}

/* bgjob_tally_note notes that there is one job more (by: 1), or less (-1), of a role in a queue. */
void
bgjob_tally_note(BgjobTallyNotes *notes, Oid role, const char *queue, BgjobTallied kind, int by)
{
	note_of(notes, bgjob_tally_ref(role, queue))->counts[kind] += by;
}

/* bgjob_tally_note_flow notes that something has happened to a job of a role in a queue. */
void
bgjob_tally_note_flow(BgjobTallyNotes *notes, Oid role, const char *queue, BgjobFlow flow)
{
	BgjobTallyNote *note = note_of(notes, bgjob_tally_ref(role, queue));

	note->flowed = true;
	note->flows[flow]++;
}

/* bgjob_tally_notes_merge adds the notes of a subtransaction to those of its parent. */
void
bgjob_tally_notes_merge(const BgjobTallyNotes *inner, BgjobTallyNotes *outer)
{
	for (int i = 0; i < inner->n; i++)
	{
		BgjobTallyNote *to = note_of(outer, inner->items[i].ref);

		for (int kind = 0; kind < BGJOB_NTALLIED; kind++)
			to->counts[kind] += inner->items[i].counts[kind];
		if (!inner->items[i].flowed)
			continue;
		to->flowed = true;
		for (int flow = 0; flow < BGJOB_NFLOWS; flow++)
			to->flows[flow] += inner->items[i].flows[flow];
	}
}

/* bgjob_tally_notes_free frees what notes have allocated. */
void
bgjob_tally_notes_free(BgjobTallyNotes *notes)
{
	if (notes->room > 1)
		pfree(notes->items);
	notes->n = notes->room = 0;
}

/* Returns the tally of a ref. NULL: there is no room for it. */
static BgjobTally *
tally_of(BgjobTallyRef *ref)
{
	if (ref->tally == NULL || ref->tally->generation != ref->generation)
		ref->tally = bgjob_tally_get(ref->key.role, ref->key.queue, &ref->generation);
	return ref->tally;
}

/* The ref whose queue's statistics are open; NULL: none. */
static BgjobTallyRef *opened = NULL;

/*
 * bgjob_tally_ref_open opens the statistics of the queue of a ref (base/queuestats.h), unless they are, and
 * closes those of another one. The caller ends with bgjob_tally_ref_close. Does not throw.
 */
bool
bgjob_tally_ref_open(BgjobTallyRef *ref)
{
	if (opened == ref)
		return true;
	bgjob_tally_ref_close();
	if (bgjob_queue_stats_open(&ref->stats, ref->key.role, ref->key.queue))
		opened = ref;
	return opened != NULL;
}

/* bgjob_tally_ref_close closes what is open. */
void
bgjob_tally_ref_close(void)
{
	if (opened != NULL)
		bgjob_queue_stats_close();
	opened = NULL;
}

/* bgjob_tally_notes_count adds the notes to the statistics of queues; those of the last one stay open. Does not throw. */
void
bgjob_tally_notes_count(const BgjobTallyNotes *notes)
{
	for (int i = 0; i < notes->n; i++)
		if (notes->items[i].flowed && bgjob_tally_ref_open(notes->items[i].ref))
			bgjob_queue_stats_add_flows(notes->items[i].flows);
}

/*
 * bgjob_tally_notes_commit adds the notes to the tallies. The process is named among
 * the movers (base/database.c). Does not throw.
 */
void
bgjob_tally_notes_commit(const BgjobTallyNotes *notes)
{
	for (int i = 0; i < notes->n; i++)
	{
		const BgjobTallyNote *note = &notes->items[i];
		BgjobTally *tally = NULL;

		for (int kind = 0; kind < BGJOB_NTALLIED; kind++)
		{
			if (note->counts[kind] == 0)
				continue;
			if (tally == NULL && (tally = tally_of(note->ref)) == NULL)
				break;
			pg_atomic_fetch_add_u64(&tally->moves[kind], note->counts[kind]);
		}
	}
}

/* bgjob_tally_notes_visit calls a function for each role and queue that is noted. */
void
bgjob_tally_notes_visit(const BgjobTallyNotes *notes, BgjobTallyVisit visit, void *arg)
{
	for (int i = 0; i < notes->n; i++)
		visit(notes->items[i].ref->key.role, notes->items[i].ref->key.queue, &notes->items[i],
			  arg);
}
