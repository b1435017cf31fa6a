/*-------------------------------------------------------------------------
 *
 * schedule.h
 *	  Jobs that are to run at a known time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_SCHEDULE_H
#define BGJOB_STORE_SCHEDULE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "store/queue.h"

/* A row of the schedule; they are in the order of these. */
typedef struct BgjobPlanned
{
	TimestampTz at;
	int64 job;
} BgjobPlanned;

extern void bgjob_schedule_insert(TimestampTz at, int64 job, const char *queue);
extern BgjobTaken bgjob_schedule_take(TimestampTz at, int64 job, TransactionId *holder);
extern bool bgjob_schedule_has(TimestampTz at, int64 job);
extern TimestampTz bgjob_schedule_enqueue_due(BgjobPlanned *after, TimestampTz now, int max,
											  TimestampTz *blocked_from);

#endif /* BGJOB_STORE_SCHEDULE_H */
