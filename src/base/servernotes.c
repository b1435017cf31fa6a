/*-------------------------------------------------------------------------
 *
 * servernotes.c
 *	  Servers that a transaction has configured.
 *
 * base/change.c keeps a list of notes for each subtransaction, the latest first. When
 * the transaction commits, they are applied to shared memory: in any order, since each
 * has a version.
 *
 * The backend that runs the transaction. The notes are in TopTransactionContext.
 * bgjob_server_notes_commit does not throw. Locks: that of base/servers.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/servernotes.h"
#include "miscadmin.h"
#include "utils/memutils.h"

struct BgjobServerNote
{
	BgjobServerNote *next;
	char name[BGJOB_SERVER_NAME_SIZE];
	bool removed;
	BgjobServerConf conf; /* removed: only its version */
};

/* bgjob_server_note_add returns a list of notes with one more, of a server that was configured, or (conf: NULL) removed. */
BgjobServerNote *
bgjob_server_note_add(BgjobServerNote *notes, const char *name, int64 version,
					  const BgjobServerConf *conf)
{
	BgjobServerNote *note =
		MemoryContextAllocZero(TopTransactionContext, sizeof(BgjobServerNote));

	strlcpy(note->name, name, sizeof(note->name));
	note->removed = conf == NULL;
	if (conf != NULL)
		note->conf = *conf;
	note->conf.version = version;
	note->next = notes;
	return note;
}

/* bgjob_server_notes_concat adds the notes of a committed subtransaction to those of its parent. */
BgjobServerNote *
bgjob_server_notes_concat(BgjobServerNote *newer, BgjobServerNote *older)
{
	BgjobServerNote **end = &newer;

	while (*end != NULL)
		end = &(*end)->next;
	*end = older;
	return newer;
}

/* bgjob_server_notes_commit applies the notes to shared memory. */
void
bgjob_server_notes_commit(const BgjobServerNote *notes)
{
	for (const BgjobServerNote *note = notes; note != NULL; note = note->next)
		if (note->removed)
			bgjob_servers_remove(MyDatabaseId, note->name, note->conf.version);
		else
			bgjob_servers_set(MyDatabaseId, note->name, &note->conf);
}

/* bgjob_server_notes_free frees the notes of a subtransaction that has been rolled back. */
void
bgjob_server_notes_free(BgjobServerNote *notes)
{
	for (BgjobServerNote *next; notes != NULL; notes = next)
	{
		next = notes->next;
		pfree(notes);
	}
}
