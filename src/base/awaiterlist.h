/*-------------------------------------------------------------------------
 *
 * awaiterlist.h
 *	  The lists of sessions that wait for external jobs, in shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_AWAITERLIST_H
#define BGJOB_BASE_AWAITERLIST_H

#include "postgres.h"

#include "base/servers.h"
#include "lib/ilist.h"
#include "storage/latch.h"

/* Number of roles whose jobs wake a session. Jobs of further ones are found at the end of its wait. */
#define BGJOB_AWAITED_ROLES 128

/* Milliseconds that a session that was woken is expected to need until it fetches. */
#define BGJOB_DEBT_LIFE 1000

/* Number of sessions that are woken in one hold of a lock. */
#define BGJOB_WAKE_AT_ONCE 64

typedef enum BgjobAwaiterState
{
	BGJOB_AWAITER_AWAY,
	BGJOB_AWAITER_WAITS, /* in the list of those that wait */
	BGJOB_AWAITER_OWES   /* in the list of those that owe */
} BgjobAwaiterState;

/* A session. It writes all but node, state and woken_at, while it is in no list. */
typedef struct BgjobAwaiter
{
	dlist_node node;
	BgjobAwaiterState state;
	Oid database;
	bool refused;   /* it waits for the end of a pause, and for no job */
	bool all_roles; /* then without roles */
	bool rest;      /* queues that it does not name, too */
	int nroles;
	int nqueues;
	Latch *latch;
	int64 woken_at; /* by the steady clock */
	Oid roles[BGJOB_AWAITED_ROLES];
	uint64 queues[BGJOB_SERVER_QUEUES]; /* hashes of their names */
} BgjobAwaiter;

/* What has jobs. */
typedef struct BgjobReady
{
	Oid database;
	Oid role;
	uint64 queue; /* a hash; 0: any */
} BgjobReady;

/* Sessions that are being woken. */
typedef struct BgjobWoken
{
	int n;
	Latch *latches[BGJOB_WAKE_AT_ONCE];
} BgjobWoken;

extern Size bgjob_awaiters_size(void);
extern void bgjob_awaiters_startup(void);
extern BgjobAwaiter *bgjob_awaiter_mine(void);
extern uint64 bgjob_awaiter_hash(const char *queue, size_t length);
extern bool bgjob_awaiter_has_role(const BgjobAwaiter *awaiter, Oid role);
extern bool bgjob_awaiter_has_queue(const BgjobAwaiter *awaiter, uint64 queue);
extern bool bgjob_awaiters_are_none(Oid database);
extern void bgjob_awaiter_enter(BgjobAwaiter *awaiter);
extern BgjobAwaiterState bgjob_awaiter_leave(BgjobAwaiter *awaiter, bool owing);
extern void
bgjob_awaiters_choose(const BgjobReady *ready, int64 count, bool but_owing, BgjobWoken *woken);
extern void bgjob_awaiters_set_latches(const BgjobWoken *woken);
extern void bgjob_awaiters_wake_refused(Oid database);

#endif /* BGJOB_BASE_AWAITERLIST_H */
