/*-------------------------------------------------------------------------
 *
 * due.h
 *	  Jobs that come due, and those whose times a clock has got wrong.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BGJOB_STORE_DUE_H
#define BGJOB_STORE_DUE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "store/schedule.h"

extern TimestampTz bgjob_due_enqueue(TimestampTz now, int max, TimestampTz *blocked_from);
extern bool bgjob_due_correct(BgjobScheduled *after, TimestampTz now, int max, int64 *number);

#endif /* BGJOB_STORE_DUE_H */
