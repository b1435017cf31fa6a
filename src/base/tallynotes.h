/*-------------------------------------------------------------------------
 *
 * tallynotes.h
 *	  What the running transaction moves, by role and queue.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_TALLYNOTES_H
#define BGJOB_BASE_TALLYNOTES_H

#include "postgres.h"

#include "base/queuestats.h"
#include "base/tally.h"

typedef struct BgjobTallyNote
{
	struct BgjobTallyRef *ref;
	int64 counts[BGJOB_NTALLIED];
	bool flowed; /* something of what follows is not 0 */
	int64 flows[BGJOB_NFLOWS];
} BgjobTallyNote;

/* The notes of a subtransaction; all zero: none. Must not be copied. */
typedef struct BgjobTallyNotes
{
	uint64 serial; /* tells them from all others of this process */
	int n;
	int room;
	BgjobTallyNote *items;
	BgjobTallyNote first; /* most transactions have no more */
} BgjobTallyNotes;

typedef void (*BgjobTallyVisit)(Oid role, const char *queue, const BgjobTallyNote *note,
								void *arg);

extern void bgjob_tally_refs_trim(void);
extern void bgjob_tally_note(BgjobTallyNotes *notes, Oid role, const char *queue,
							 BgjobTallied kind, int by);
extern void
bgjob_tally_note_flow(BgjobTallyNotes *notes, Oid role, const char *queue, BgjobFlow flow);
extern struct BgjobTallyRef *bgjob_tally_ref(Oid role, const char *queue);
extern bool bgjob_tally_ref_open(struct BgjobTallyRef *ref);
extern void bgjob_tally_ref_close(void);
extern void bgjob_tally_notes_merge(const BgjobTallyNotes *inner, BgjobTallyNotes *outer);
extern void bgjob_tally_notes_free(BgjobTallyNotes *notes);
extern void bgjob_tally_notes_commit(const BgjobTallyNotes *notes);
extern void bgjob_tally_notes_count(const BgjobTallyNotes *notes);
extern void
bgjob_tally_notes_visit(const BgjobTallyNotes *notes, BgjobTallyVisit visit, void *arg);

#endif /* BGJOB_BASE_TALLYNOTES_H */
