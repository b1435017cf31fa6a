/*-------------------------------------------------------------------------
 *
 * servernotes.h
 *	  Servers that a transaction has configured.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_SERVERNOTES_H
#define BGJOB_BASE_SERVERNOTES_H

#include "postgres.h"

#include "base/servers.h"

typedef struct BgjobServerNote BgjobServerNote;

extern BgjobServerNote *bgjob_server_note_add(BgjobServerNote *notes, const char *name,
											  int64 version, const BgjobServerConf *conf);
extern BgjobServerNote *
bgjob_server_notes_concat(BgjobServerNote *newer, BgjobServerNote *older);
extern void bgjob_server_notes_commit(const BgjobServerNote *notes);
extern void bgjob_server_notes_free(BgjobServerNote *notes);

#endif /* BGJOB_BASE_SERVERNOTES_H */
