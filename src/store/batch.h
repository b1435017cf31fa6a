/*-------------------------------------------------------------------------
 *
 * batch.h
 *	  Batches: their rows, and their jobs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_BATCH_H
#define BGJOB_STORE_BATCH_H

#include "postgres.h"

#include "store/jobrow.h"
#include "store/member.h"

/* A row of bgjob_internal.batch. */
typedef struct BgjobBatch
{
	int64 id;
	Oid role;
	int64 parent; /* 0: none */
	TimestampTz created_at;
	TimestampTz finished_at; /* DT_NOBEGIN: never */
	const char *description;
	const Jsonb *parameters;
	const char *unique_key;
	bool mine; /* this transaction has inserted it */
	ItemPointerData tid;
} BgjobBatch;

extern void bgjob_batch_insert(const BgjobBatch *batch);
extern bool bgjob_batch_read(int64 id, BgjobBatch *batch);
extern int64 bgjob_batch_unfinished_with_key(Oid role, const char *key);
extern const int64 *bgjob_batch_chain(int64 id, int *n);
extern BgjobState bgjob_batch_state(int64 id);
extern int bgjob_batches_after(int64 after, int64 *ids, int max);
extern bool bgjob_batch_delete(int64 id);
extern bool bgjob_batch_note_finished(int64 id);

extern void bgjob_batch_join(const BgjobJob *job, int64 first, int n);
extern void bgjob_batch_restore(const BgjobJob *job);
extern void bgjob_batch_flip(const BgjobJob *job, BgjobState from);
extern void bgjob_batch_removed(int64 batch, int64 job, BgjobState state);

#endif /* BGJOB_STORE_BATCH_H */
