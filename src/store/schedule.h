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
#include "store/relation.h"
#include "store/taken.h"

extern void bgjob_schedule_insert(Oid role, TimestampTz at, int64 job, const char *queue);
extern BgjobTaken
bgjob_schedule_take(Oid role, TimestampTz at, int64 job, TransactionId *holder);
extern bool bgjob_schedule_has(Oid role, TimestampTz at, int64 job);

/* An entry of the schedule; the fields are in its order. */
typedef struct BgjobScheduled
{
	Oid role;
	TimestampTz at;
	int64 job;
} BgjobScheduled;

/* Called for a job that was due at "now", and whose row in the schedule has been deleted. */
typedef void (*BgjobScheduleDue)(int64 job, TimestampTz now);

extern void bgjob_schedule_rescan(void);
extern void bgjob_schedule_rescan_from(TimestampTz at);
extern TimestampTz bgjob_schedule_take_due(TimestampTz now, int max, TimestampTz *blocked_from,
										   BgjobScheduleDue due);
extern int bgjob_schedule_at(Oid role, TimestampTz at, BgjobScheduled *places, int max);
extern int bgjob_schedule_behind(const BgjobScheduled *after, BgjobScheduled *places, int max);

/* Called for each scheduled job, with its role and queue. */
typedef void (*BgjobScheduleVisit)(Oid role, const text *queue, void *arg);

extern void bgjob_schedule_visit(BgjobScheduleVisit visit, void *arg);

#endif /* BGJOB_STORE_SCHEDULE_H */
