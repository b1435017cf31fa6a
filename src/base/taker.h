/*-------------------------------------------------------------------------
 *
 * taker.h
 *	  Taking jobs from the lanes of some roles, in the order of queues.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_TAKER_H
#define BGJOB_BASE_TAKER_H

#include "postgres.h"

#include "base/lanegroup.h"

/* What bgjob_taker_take found. */
typedef enum BgjobTake
{
	BGJOB_TAKE_NONE,  /* there is nothing for this taker */
	BGJOB_TAKE_ITEMS, /* there are items; they are in flight */
	BGJOB_TAKE_SCAN,  /* scan the queue for the lane, then ask again */
	BGJOB_TAKE_LANES  /* bring lanes of the group in, then ask again */
} BgjobTake;

/* What was taken, or is to be scanned for. */
typedef struct BgjobTaking
{
	BgjobLaneKey key; /* the lane; of BGJOB_TAKE_LANES only its group */
	int n;            /* items */
	int group_size;   /* how many could be performed in one transaction; 1: no group */
	bool more;        /* there were more items behind them */
	bool between;     /* a job of another lane comes before the next one */
	bool alone;       /* it is to be performed by itself: a group or chunk with it has failed */
	bool
		in_chunk; /* there may be several because the last job of the lane could be in a chunk; it is no group */
	bool none;    /* of BGJOB_TAKE_LANES: there is nothing to take before */
	uint64 noted; /* likewise: "noted" of the group */
} BgjobTaking;

/*
 * Names the items that are being taken as in flight, where other processes see them.
 * Called under the lane's mutex, so it must not throw nor take locks of lanes.
 */
typedef void (*BgjobTakingName)(const BgjobLaneItem *items, const BgjobTaking *taking);

/* Returns the list of queues in the order of taking; asked each time. */
typedef const char *(*BgjobTakingQueues)(void);

typedef struct BgjobTaker BgjobTaker;

extern BgjobTaker *bgjob_taker_create(const BgjobLaneGroupKey *groups, int ngroups,
									  BgjobTakingQueues queues, BgjobTakingName name);
extern BgjobTake bgjob_taker_take(BgjobTaker *taker, BgjobLaneItem *items, BgjobTaking *taking);
extern int bgjob_taker_take_more(const BgjobLaneKey *key, BgjobLaneItem *items, int wanted,
								 void (*name)(const BgjobLaneItem *items, int n));
extern void bgjob_taker_note_chunk(const BgjobLaneKey *key, int size);
extern void
bgjob_taker_found_all(BgjobTaker *taker, const BgjobLaneGroupKey *key, uint64 noted);
extern void bgjob_taker_want(BgjobTaker *taker, int items);
extern void bgjob_taker_free(BgjobTaker *taker);
extern bool bgjob_taker_has_work(BgjobTaker *taker);
extern bool bgjob_taker_has_better(BgjobTaker *taker, const BgjobLaneKey *than);

#endif /* BGJOB_BASE_TAKER_H */
