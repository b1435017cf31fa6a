/*-------------------------------------------------------------------------
 *
 * preparedmoves.h
 *	  What prepared transactions move, for the counts of jobs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_PREPAREDMOVES_H
#define BGJOB_BASE_PREPAREDMOVES_H

#include "postgres.h"

#include "access/xact.h"
#include "base/tallynotes.h"

/* So many queues of a prepared transaction have room; see preparedmoves.c for what becomes of more. */
#define BGJOB_PREPARED_QUEUES 8

typedef struct BgjobPreparedQueue
{
	BgjobTallyRow tally;
	int64 flows[BGJOB_NFLOWS];
} BgjobPreparedQueue;

typedef struct BgjobPreparedMoves
{
	Oid database;      /* invalid: not in use */
	TransactionId xid; /* of the prepared transaction */
	char gid[GIDSIZE];
	bool doubtful; /* it has done more than is noted here */
	int64 counts[BGJOB_NSTATES];
	int n;
	BgjobPreparedQueue items[BGJOB_PREPARED_QUEUES];
} BgjobPreparedMoves;

extern Size bgjob_prepared_moves_size(void);
extern void bgjob_prepared_moves_startup(void);

extern void bgjob_prepared_moves_name(const char *gid);
extern void bgjob_prepared_moves_begin(TransactionId xid);
extern void bgjob_prepared_moves_add(const int64 *counts, bool doubtful);
extern void bgjob_prepared_moves_add_tally(Oid role, const char *queue,
										   const BgjobTallyNote *note, void *arg);
extern void bgjob_prepared_moves_keep(void);

extern bool bgjob_prepared_moves_find(const char *gid, BgjobPreparedMoves *moves);
extern void bgjob_prepared_moves_commit(const BgjobPreparedMoves *moves);
extern void bgjob_prepared_moves_forget(const BgjobPreparedMoves *moves);

#endif /* BGJOB_BASE_PREPAREDMOVES_H */
