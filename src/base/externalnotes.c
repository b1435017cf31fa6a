/*-------------------------------------------------------------------------
 *
 * externalnotes.c
 *	  What the running transaction asks of external workers.
 *
 * An administrator has workers be quiet, go on, or leave. That is noted, and applied to shared memory
 * (base/externalworkers.c) when the transaction commits; a rollback, also of a savepoint, drops it. PREPARE TRANSACTION drops it, too: nothing of
 * a worker is stored.
 *
 * The backend that runs the transaction. The notes are in TopTransactionContext. What runs at the end of the transaction does not throw.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/awaiterlist.h"
#include "base/externalnotes.h"
#include "miscadmin.h"
#include "utils/memutils.h"

typedef struct Note
{
	struct Note *next;
	SubTransactionId subid;
	BgjobExternalCommand command;
	char name[BGJOB_WORKER_NAME_SIZE];
} Note;

static Note *notes = NULL; /* the latest first */

/* Applies the notes, the first first. */
static void
apply(const Note *note)
{
	if (note == NULL)
		return;
	apply(note->next);
	(void) bgjob_external_workers_command(MyDatabaseId, note->name, note->command, true);
	if (note->command != BGJOB_EXTERNAL_QUIET)
		bgjob_awaiters_wake_refused(MyDatabaseId);
}

static void
at_xact_event(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT)
		apply(notes);
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		notes = NULL;
}

static void
at_subxact_event(SubXactEvent event, SubTransactionId my, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		while (notes != NULL && notes->subid >= my)
			notes = notes->next;
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		for (Note *note = notes; note != NULL && note->subid == my; note = note->next)
			note->subid = parent;
}

/* Returns the latest note on the workers of a name; NULL: there is none. */
static const Note *
find(const char *name)
{
	const Note *note = notes;

	while (note != NULL && strcmp(note->name, name) != 0)
		note = note->next;
	return note;
}

/*
 * bgjob_external_note notes what an administrator wants of the external workers of a name. Returns whether that is
 * new to one of them: false if there is none.
 */
bool
bgjob_external_note(const char *name, BgjobExternalCommand command)
{
	static bool registered = false;
	const Note *before = find(name);
	Note *note;

	if (before != NULL
			? before->command == command || before->command == BGJOB_EXTERNAL_TERMINATE
			: !bgjob_external_workers_command(MyDatabaseId, name, command, false))
		return false;
	if (!registered)
	{
		RegisterXactCallback(at_xact_event, NULL);
		RegisterSubXactCallback(at_subxact_event, NULL);
	}
	registered = true;
	note = MemoryContextAlloc(TopTransactionContext, sizeof(Note));
	note->subid = GetCurrentSubTransactionId();
	note->command = command;
	strlcpy(note->name, name, sizeof(note->name));
	note->next = notes;
	notes = note;
	return true;
}
