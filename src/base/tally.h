/*-------------------------------------------------------------------------
 *
 * tally.h
 *	  How many jobs each role has in each queue, in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_TALLY_H
#define BGJOB_BASE_TALLY_H

#include "postgres.h"

#include "base/queues.h"
#include "base/registry.h"
#include "port/atomics.h"
#include "rules/state.h"

/* Tallies in the server, and queues of a role: while less than half of all are in use, and then. */
#ifndef BGJOB_TALLIES
#define BGJOB_TALLIES           32768
#define BGJOB_TALLIES_OF_ROLE   4096
#define BGJOB_TALLIES_WHEN_FULL 64
#endif

/* What is counted by role and queue. Jobs that have succeeded or were deleted are not. */
typedef enum BgjobTallied
{
	BGJOB_TALLIED_WAITING, /* enqueued or processing: most running jobs are stored as enqueued */
	BGJOB_TALLIED_SCHEDULED,
	BGJOB_TALLIED_AWAITING,
	BGJOB_TALLIED_FAILED,
	BGJOB_TALLIED_NOT
} BgjobTallied;

#define BGJOB_NTALLIED BGJOB_TALLIED_NOT

/* Without padding. */
typedef struct BgjobTallyKey
{
	Oid database;
	Oid role;
	char queue[BGJOB_QUEUE_NAME_SIZE]; /* zero-filled; empty: the head of the role's tallies */
} BgjobTallyKey;

typedef struct BgjobTally
{
	/* under the lock of the tallies */
	BgjobTallyKey key;
	uint32 next; /* in its bucket, or in the list of free tallies: index + 1; 0: none */
	bool in_use;
	bool lost;   /* of a head: some queues of the role had no room */
	int nqueues; /* of a head: how many tallies follow it */
	int64 base[BGJOB_NTALLIED];

	uint64 generation; /* grows when the tally is freed; written under the lock, read without */
	pg_atomic_uint64 moves[BGJOB_NTALLIED];
} BgjobTally;

/* The moves of a tally at some moment. */
typedef struct BgjobTallyMoves
{
	BgjobTally *tally;
	uint64 generation;
	int64 moves[BGJOB_NTALLIED];
} BgjobTallyMoves;

/* What a tally says, or what was counted for it. */
typedef struct BgjobTallyRow
{
	Oid role;
	char queue[BGJOB_QUEUE_NAME_SIZE];
	bool lost; /* of a head */
	int64 counts[BGJOB_NTALLIED];
} BgjobTallyRow;

extern Size bgjob_tallies_size(void);
extern void bgjob_tallies_startup(void);

extern BgjobTallied bgjob_tallied(BgjobState state);
extern BgjobTally *bgjob_tally_get(Oid role, const char *queue, uint64 *generation);
extern void bgjob_tallies_lose(Oid role);
extern int bgjob_tallies_moves(BgjobTallyMoves *copy, int room);
extern void
bgjob_tallies_set(BgjobDatabase *entry, uint64 counted, const BgjobTallyMoves *before,
				  int nbefore, const BgjobTallyRow *rows, int nrows);
extern bool
bgjob_tallies_sum(BgjobDatabase *entry, const char *queue, BgjobTallied kind, int64 *sum);
extern int bgjob_tallies_read(BgjobDatabase *entry, BgjobTallyRow *rows, int room, bool *known);
extern void bgjob_tallies_renew(BgjobDatabase *entry);
extern void bgjob_tallies_forget(Oid database);

#endif /* BGJOB_BASE_TALLY_H */
