/*-------------------------------------------------------------------------
 *
 * recurring.h
 *	  Adds and changes recurring jobs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_API_RECURRING_H
#define BGJOB_API_RECURRING_H

#include "postgres.h"

#include "api/enqueue.h"
#include "rules/cron.h"
#include "store/recurring.h"

/* What a call of bgjob_recurring() gives. */
typedef struct BgjobRecurringCall
{
	const char *name;
	BgjobRecurring columns; /* those that parameters set directly; null: not given */
	BgjobOptions options;   /* job and kind are NULL if not given */
	const Jsonb *args;      /* NULL: not given */
} BgjobRecurringCall;

extern TimestampTz bgjob_recurring_first(const BgjobRecurring *row);
extern void bgjob_recurring_announce(void);
extern void bgjob_recurring_adopt(void);
extern void bgjob_recurring_add(Oid owner, const BgjobRecurringCall *call);

#endif /* BGJOB_API_RECURRING_H */
