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

/* The parameters of bgjob_recurring() that are no options of a job. */
typedef struct BgjobRecurringOptions
{
	const char *name;
	const char *schedule;
	const char *time_zone; /* NULL: the setting */
	BgjobMisfire misfire;
	BgjobOverlap overlap;
	Interval *jitter; /* NULL: none */
	TimestampTz starts_at;
	TimestampTz ends_at;
	BgjobDayMatch day_match;
	bool active;
} BgjobRecurringOptions;

extern void bgjob_recurring_adopt(void);
extern void bgjob_recurring_add(Oid owner, const BgjobRecurringOptions *recurring,
								const BgjobOptions *options, const Jsonb *args);

#endif /* BGJOB_API_RECURRING_H */
