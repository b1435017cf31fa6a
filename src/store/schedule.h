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

extern void bgjob_schedule_insert(Oid role, TimestampTz at, int64 job, const char *queue);
extern BgjobTaken
bgjob_schedule_take(Oid role, TimestampTz at, int64 job, TransactionId *holder);
extern bool bgjob_schedule_has(Oid role, TimestampTz at, int64 job);
/* A place in the schedule; it is in the order of these. */
typedef struct BgjobPlace
{
	Oid role;
	TimestampTz at;
	int64 job;
} BgjobPlace;

extern bool bgjob_schedule_correct(BgjobPlace *after, TimestampTz now, int max, int64 *number);
extern void bgjob_schedule_look_anew(void);
extern void bgjob_schedule_look_from(TimestampTz at);
extern TimestampTz
bgjob_schedule_enqueue_due(TimestampTz now, int max, TimestampTz *blocked_from);

#endif /* BGJOB_STORE_SCHEDULE_H */
