/*-------------------------------------------------------------------------
 *
 * statshistory.h
 *	  What has happened in each queue, by hour and by day.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_STATSHISTORY_H
#define BGJOB_STORE_STATSHISTORY_H

#include "postgres.h"

#include "base/queuestats.h"

extern TimestampTz bgjob_statshistory_hour(TimestampTz at);
extern void bgjob_statshistory_write(BgjobQueuePending *pending, int n);
extern int bgjob_statshistory_sum_up(TimestampTz before, int limit);
extern bool bgjob_statshistory_expire_hours(TimestampTz now, int limit);
extern bool bgjob_statshistory_expire_days(TimestampTz now, int limit);

#endif /* BGJOB_STORE_STATSHISTORY_H */
