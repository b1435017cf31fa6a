/*-------------------------------------------------------------------------
 *
 * awaiters.h
 *	  Sessions that wait for external jobs: those in bgjob_await().
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_BASE_AWAITERS_H
#define BGJOB_BASE_AWAITERS_H

#include "postgres.h"

#include "base/awaiterlist.h"
#include "base/lanegroup.h"

/* What a session waits for. */
typedef struct BgjobAwaited
{
	const char *queues; /* a list, as in bgjob.queues */
	bool all_roles;
	int nroles;
	Oid roles[BGJOB_AWAITED_ROLES];
} BgjobAwaited;

/* How a wait has ended. */
typedef enum BgjobAwaitEnd
{
	BGJOB_AWAIT_WORK, /* there may be work */
	BGJOB_AWAIT_TIME, /* the time is up */
	BGJOB_AWAIT_INTERRUPT
} BgjobAwaitEnd;

extern void bgjob_awaiters_prepare(void);
extern BgjobAwaitEnd bgjob_awaiters_sleep(const BgjobAwaited *awaited, int64 until);
extern void bgjob_awaiters_fetched(int taken, bool refused_it);
extern void bgjob_awaiters_decline(void);
extern void bgjob_awaiters_wake(const BgjobLaneKey *key, int64 count);
extern void bgjob_awaiters_offer(Oid database);

#endif /* BGJOB_BASE_AWAITERS_H */
