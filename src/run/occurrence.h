/*-------------------------------------------------------------------------
 *
 * occurrence.h
 *	  When a recurring job is due, as its row says.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_RUN_OCCURRENCE_H
#define BGJOB_RUN_OCCURRENCE_H

#include "postgres.h"

#include "base/zone.h"
#include "store/recurring.h"

/* A row's schedule, in its time zone. It must stay where it is: the zone points into itself. */
typedef struct BgjobOccurrences
{
	BgjobCron cron;
	BgjobTimeZone zone;
} BgjobOccurrences;

extern void bgjob_occurrences_open(BgjobOccurrences *occurrences, const BgjobRecurring *row);
extern TimestampTz
bgjob_occurrences_next(const BgjobOccurrences *occurrences, TimestampTz after);
extern TimestampTz bgjob_occurrence_first(const BgjobRecurring *row, TimestampTz now);
extern TimestampTz
bgjob_occurrence_corrected(const BgjobRecurring *row, TimestampTz now, int64 set_back);

#endif /* BGJOB_RUN_OCCURRENCE_H */
