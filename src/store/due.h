/*-------------------------------------------------------------------------
 *
 * due.h
 *	  Jobs that become due, and jobs whose times come from a wrong clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_DUE_H
#define BGJOB_STORE_DUE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "store/schedule.h"

extern TimestampTz bgjob_due_enqueue(TimestampTz now, int max, TimestampTz *blocked_from);
extern void bgjob_due_enqueue_waiting(Oid role, TimestampTz at, TimestampTz now, int max);
extern bool bgjob_due_correct(BgjobScheduled *after, TimestampTz now, int max, int64 *number);

#endif /* BGJOB_STORE_DUE_H */
