/*-------------------------------------------------------------------------
 *
 * chunkwaits.h
 *	  Jobs that wait for others to be performed with, in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_CHUNKWAITS_H
#define BGJOB_BASE_CHUNKWAITS_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* The jobs that can be performed in one call, as far as can be told when they are enqueued. */
typedef struct BgjobChunkKey
{
	Oid role;
	uint64 hash; /* of what else they have in common */
} BgjobChunkKey;

/* Notes of a transaction: jobs that it has inserted, and that wait until a moment. */
typedef struct BgjobWaitNote
{
	struct BgjobWaitNote *next;
	BgjobChunkKey key;
	TimestampTz at;
	int n;
} BgjobWaitNote;

extern Size bgjob_chunkwaits_size(void);
extern void bgjob_chunkwaits_startup(void);
extern TimestampTz
bgjob_chunkwaits_join(const BgjobChunkKey *key, int size, int64 wait, TimestampTz now);
extern bool bgjob_chunkwaits_take_full(Oid *role, TimestampTz *at);

extern void
bgjob_wait_notes_add(BgjobWaitNote **notes, const BgjobChunkKey *key, TimestampTz at, int n);
extern void bgjob_wait_notes_merge(BgjobWaitNote *inner, BgjobWaitNote **outer);
extern void bgjob_wait_notes_free(BgjobWaitNote *notes);
extern void bgjob_wait_notes_commit(const BgjobWaitNote *notes);

#endif /* BGJOB_BASE_CHUNKWAITS_H */
