/*-------------------------------------------------------------------------
 *
 * recurringlist.h
 *	  How all recurring jobs stand.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_RECURRINGLIST_H
#define BGJOB_STORE_RECURRINGLIST_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* How a recurring job stands. */
typedef struct BgjobRecurringState
{
	int64 id;
	Oid owner;
	const char *name; /* valid during the call */
	bool active;
	bool failing;            /* its last occurrence enqueued no job, or it was not adopted */
	TimestampTz next_at;     /* 0: it will not run */
	TimestampTz last_run_at; /* 0: it has not run yet */
} BgjobRecurringState;

typedef void (*BgjobRecurringVisit)(const BgjobRecurringState *state, void *arg);

extern void bgjob_recurring_visit(BgjobRecurringVisit visit, void *arg);

#endif /* BGJOB_STORE_RECURRINGLIST_H */
